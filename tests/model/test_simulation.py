"""The clock and the processes that the model is written on."""

from __future__ import annotations

import pytest

from .simulation import Doing, Gate, Simulation, Stuck, Wait


def test_what_is_dropped_in_its_instant_is_not_done() -> None:
    """What was to come in the same instant for the same cause, and is dropped by what comes first, does not come."""
    done: list[str] = []
    simulation = Simulation()

    def first() -> None:
        done.append("first")
        second.drop()

    simulation.at(5, first, cause="both")
    second = simulation.at(5, lambda: done.append("second"), cause="both")
    simulation.at(5, lambda: done.append("third"), cause="both")
    simulation.run()
    assert done == ["first", "third"]


def test_no_end() -> None:
    """What goes on for ever is given up."""
    simulation = Simulation()

    def endless() -> Doing[None]:
        while True:
            yield Wait(until=simulation.now + 1)

    simulation.spawn(endless())
    with pytest.raises(Stuck):
        simulation.run()


def test_nothing_that_could_come() -> None:
    """So is what waits for something that nobody will bring about."""
    simulation = Simulation()

    def waiting() -> Doing[None]:
        yield Wait(Gate())

    simulation.spawn(waiting())
    with pytest.raises(Stuck):
        simulation.run()
