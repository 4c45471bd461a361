"""The laws that hold for every log of a tree of units, whatever was done to it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from .unit import Unit

# One run of a unit: what its steps may be, in this order.
_RUN = re.compile(r"(renew )?(first )?(set_up (ready )?)?(tear_down (hold )?farewell )?")


def steps_of(label: str, log: Iterable[str]) -> list[str]:
    """Return the steps of one unit, in order."""
    return [line.partition(".")[2] for line in log if line.startswith(f"{label}.")]


def runs_of(label: str, log: Iterable[str]) -> list[list[str]]:
    """Return the steps of one unit, run by run."""
    runs: list[list[str]] = []
    order = ["renew", "first", "set_up", "ready", "tear_down", "hold", "farewell"]
    last = len(order)
    for step in steps_of(label, log):
        position = order.index(step)
        if position <= last:
            runs.append([])
        runs[-1].append(step)
        last = position
    return runs


def check(units: Iterable[Unit], log: list[str]) -> None:
    """See that no unit runs, and that each run of each unit was legal and complete."""
    for unit in units:
        assert unit.state in {"new", "stopped"}, f"{unit.label} is {unit.state}: {log}"
        for steps in runs_of(unit.label, log):
            text = "".join(f"{step} " for step in steps)
            assert _RUN.fullmatch(text), f"{unit.label}: {text}in {log}"
        # What was set up is torn down, and nothing else.
        done = Counter(unit.returned)
        begun = Counter(steps_of(unit.label, log))
        counts = done["set_up"], begun["tear_down"], begun["farewell"]
        assert len(set(counts)) == 1, f"{unit.label}: {counts} in {log}"
        assert not unit.run.subtree()[1:]
        assert len(unit.run.tasks) == len(unit.run.keepers) == 0
