"""Each fault at each moment of a program: all of them, one run for each.

Theory: the runs of a scenario are alike, since time is virtual and trio's dice are settled. So the moments of a run in
which nothing goes wrong can be counted, and each fault be tried at each of them. There are as many runs as moments times
faults, so a run must be short; but nothing is left to luck. A sweep that is too long for every day can be thinned out: each
day it takes every n-th moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import anyio
import anyio.lowlevel

from ._clock import virtual_backend
from ._faults import FAULTS, Fault, Ownership, Scenario
from ._trial import Trial

__all__ = ("LawBroken", "Sweep", "inject_faults")

# How many broken runs are told of before a sweep is given up.
_ENOUGH = 5
# How much of what happened is told of each.
_LINES = 60


class LawBroken(AssertionError):
    """A program did not keep the laws when something went wrong; the text tells what, where, and how to repeat it."""


@dataclass
class Sweep:
    """What a sweep has tried.

    Attributes:
        scenario: The name of the program.
        backend: The event loop it ran on.
        moments: How many moments there were, for each ownership.
        runs: How many runs had a fault that applied, for each fault.
        skipped: How many runs had a fault that did not apply to the moment, for each fault.
    """

    scenario: str
    backend: str
    moments: dict[Ownership, int] = field(default_factory=dict[Ownership, int])
    runs: Counter[str] = field(default_factory=Counter[str])
    skipped: Counter[str] = field(default_factory=Counter[str])

    def __str__(self) -> str:
        moments = " and ".join(f"{count:,} ({name})" for name, count in self.moments.items())
        return (
            f"{self.scenario} on {self.backend}: {self.runs.total():,} faults at {moments} moments"
        )


def inject_faults(
    scenario: Scenario,
    backend: Literal["asyncio", "trio"],
    *,
    faults: Sequence[Fault] = FAULTS,
    ownerships: Sequence[Ownership] = ("block", "bare"),
    every: int = 1,
    offset: int = 0,
    only: tuple[Ownership, str, int] | None = None,
    seed: int = 0,
) -> Sweep:
    """Run a program once for each of its moments and each fault, and see that the laws hold each time.

    To be called from a plain function: each run has an event loop of its own.

    Args:
        scenario: The program.
        backend: What to run it on.
        faults: What is to go wrong; by default, all that is known to.
        ownerships: How the service is owned: "block" (``async with``), "bare" (`start()` and `stop()`).
        every: Take every n-th moment only.
        offset: The moments to leave out at the beginning, less than `every`: so that all have their turn in the end.
        only: Repeat this one run: the ownership, the name of the fault, the moment.
        seed: Settles trio's order of tasks, and that in which the event loops of threads have their turns; another one gives
            other orders.

    Returns:
        What was tried.

    Raises:
        LawBroken: If a law was broken, be it by the run in which nothing goes wrong.
        ValueError: If the arguments leave nothing to try.
        RuntimeError: If it is called in an event loop.
    """
    _check_arguments(backend, faults, every, offset, only)
    sweep = Sweep(type(scenario).__name__, backend)
    broken: list[str] = []
    for trial in _trials(sweep, scenario, backend, faults, ownerships, every, offset, only, seed):
        wrong = trial.run(backend, seed)
        name = trial.fault.name if trial.fault is not None else "nothing"
        (sweep.runs if trial.struck else sweep.skipped)[name] += 1
        if wrong:
            broken.append(_report(trial, name, wrong))
        if len(broken) == _ENOUGH:
            break
    if only is not None and not sweep.runs.total() + sweep.skipped.total():
        raise ValueError(f"there is no moment {only[2]} in {sweep}")
    if broken:
        raise LawBroken(f"{sweep}\n\n" + "\n\n".join(broken))
    return sweep


def _check_arguments(
    backend: str,
    faults: Sequence[Fault],
    every: int,
    offset: int,
    only: tuple[Ownership, str, int] | None,
) -> None:
    virtual_backend(cast(Any, backend))
    if every < 1:
        raise ValueError(f"every is to be 1 or more; not {every}")
    if not 0 <= offset < every:
        raise ValueError(f"offset is to be from 0 to {every - 1}; not {offset}")
    names = [fault.name for fault in faults]
    if only is not None and only[1] not in names:
        raise ValueError(f"there is no fault {only[1]!r}; there are {', '.join(map(repr, names))}")
    try:
        anyio.lowlevel.current_token()
    except anyio.NoEventLoopError:
        return
    raise RuntimeError(
        "inject_faults() makes event loops of its own: call it from a plain function, not from an async one"
    )


def _trials(
    sweep: Sweep,
    scenario: Scenario,
    backend: Literal["asyncio", "trio"],
    faults: Sequence[Fault],
    ownerships: Sequence[Ownership],
    every: int,
    offset: int,
    only: tuple[Ownership, str, int] | None,
    seed: int,
) -> Iterator[Trial]:
    for ownership in ownerships:
        calm = Trial(scenario, ownership)
        if wrong := calm.run(backend, seed):
            raise LawBroken(_report(calm, "nothing", wrong))
        sweep.moments[ownership] = calm.moments
        for fault in faults:
            if fault.ownership not in {None, ownership}:
                continue
            for position in range(1 + offset, calm.moments + 1, every):
                if only in {None, (ownership, fault.name, position)}:
                    yield Trial(scenario, ownership, fault, position)


def _report(trial: Trial, fault: str, wrong: Sequence[str]) -> str:
    lines = [
        f"{fault} at moment {trial.position} ({trial.ownership}) of {type(trial.scenario).__name__}:"
    ]
    lines += [f"  - {one}" for one in wrong]
    seed = f", seed={trial.seed}" if trial.seed else ""
    lines += [f"  repeat it with only=({trial.ownership!r}, {fault!r}, {trial.position}){seed}"]
    lines += ["  about to be resumed was:", trial.where.rstrip()]
    lines += ["  what happened, the last of it:", trial.witness.text(_LINES)]
    return "\n".join(lines)
