"""Steps that take no notice when they are cut short, and those that end in the very instant when time is up."""

from __future__ import annotations

from typing import Any, Literal

import anyio
import pytest

from structmode.exceptions import ShutdownTimeout
from structmode.testing import VirtualClock, virtual_backend

from .laws import check
from .unit import Act, Unit, doing, hanging, settle, yielding


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The event loops whose time can be virtual."""
    name: Literal["asyncio", "trio"] = request.param
    return name, virtual_backend(name)["backend_options"]


def ignoring(event: anyio.Event) -> Act:
    """Make an act that waits for an event, whatever is cancelled meanwhile."""

    async def act(unit: Unit) -> None:
        with anyio.CancelScope(shield=True):
            await event.wait()

    return act


def ignoring_for(seconds: float) -> Act:
    """Make an act that takes so long, whatever is cancelled meanwhile."""

    async def act(unit: Unit) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(seconds)

    return act


class Timed:
    """A log whose lines say when they were written."""

    def __init__(self, clock: VirtualClock) -> None:
        self.lines: list[tuple[float, str]] = []
        self._clock = clock

    def noting(self, line: str) -> Act:
        """Make an act that writes a line."""

        async def act(unit: Unit) -> None:
            self.lines.append((round(self._clock.elapsed, 3), line))

        return act


async def stop_with_another(late: Unit, log: Timed) -> None:
    """Stop a parent of a child that is late, and of another that stops after it; wait for the very end."""
    other = Unit("other", [], tear_down=log.noting("other stops"))
    top = Unit("top", [], other, late)
    await top.life.start()
    run = top.run
    run.request_stop()
    await run.finished.wait()


async def test_a_start_that_ends_in_spite_of_its_stop() -> None:
    """It was complete, so `start` returns; and the stop has its time: no step of it is cut short for what came before."""
    log: list[str] = []
    go_on = anyio.Event()
    unit = Unit("a", log, ready=ignoring(go_on), tear_down=yielding, farewell=yielding)
    async with anyio.create_task_group() as group:
        group.start_soon(unit.life.start)
        await settle()
        group.start_soon(unit.life.stop)
        await settle()
        assert unit.state == "starting"
        go_on.set()
    assert unit.returned == ["first", "set_up", "ready", "tear_down", "farewell"]
    assert unit.run.failures == []
    check([unit], log)


async def test_a_hook_that_ends_as_time_is_up() -> None:
    """Who ignores the end of its time, and is done in that very instant, is late."""
    with VirtualClock() as clock:
        unit = Unit("a", [], tear_down=ignoring_for(0.5))
        unit.stop_timeout = 0.5
        await unit.life.start()
        with pytest.raises(ShutdownTimeout) as caught:
            await unit.life.stop()
        assert clock.elapsed == pytest.approx(0.5)
    assert [(one.owner, one.task) for one in caught.value.stuck] == [("a", "on_stop")]


@pytest.mark.parametrize("again", range(10))
async def test_a_need_whose_time_is_up_with_that_of_its_user(again: int) -> None:
    """The error of the user tells what was stuck, also if that has just been ended, as the need's own time was up."""
    with VirtualClock():
        base = Unit("base", [], tear_down=hanging)
        user = Unit("user", [], needs=[[base]])
        base.stop_timeout = user.stop_timeout = 0.5
        await user.life.start()
        with pytest.raises(ShutdownTimeout) as caught:
            await user.life.stop()
    assert caught.value.label == "user"
    assert [(one.owner, one.task) for one in caught.value.stuck] == [("base", "on_stop")]


@pytest.mark.parametrize("again", range(5))
async def test_who_waits_for_one_that_ignores_is_not_given_up(again: int) -> None:
    """A child that is late, but only as it waits for one below, has the time to give that up, and to end in its turn."""
    with VirtualClock() as clock:
        log = Timed(clock)
        lowest = Unit("lowest", [], tear_down=ignoring_for(10.0))
        steps = {"tear_down": ignoring_for(0.6), "farewell": log.noting("late ends")}
        late = Unit("late", [], lowest, **doing(steps))
        late.stop_timeout = 0.5
        await stop_with_another(late, log)
    assert log.lines == [(2.1, "late ends"), (2.1, "other stops")]


@pytest.mark.parametrize("again", range(5))
async def test_who_has_waited_for_one_below_is_given_up(again: int) -> None:
    """A child that hangs by itself, after all below it has ended, is given up, and the next one has its turn."""
    with VirtualClock() as clock:
        log = Timed(clock)
        lowest = Unit("lowest", [], tear_down=log.noting("lowest stops"))
        late = Unit("late", [], lowest, farewell=ignoring_for(10.0))
        late.stop_timeout = 0.5
        await stop_with_another(late, log)
        assert clock.elapsed == pytest.approx(10.0)
    assert log.lines == [(0.0, "lowest stops"), (2.0, "other stops")]
