"""What a hot path costs in instructions, which are the same on a busy machine as on an idle one.

    python -m benchmarks.counting BACKEND [PATH UNITS]

Two means, whose figures have nothing to do with each other:

- *bytecode*: the instructions of Python's virtual machine, and the calls of Python functions, counted by `sys.settrace`. It
  works anywhere, and for the same minor version of Python, the same anyio and the same trio it gives the same figures on any
  machine. What is done in C, it does not see: asyncio's futures and tasks, and all of uvloop.
- *callgrind*: the instructions of the processor, counted by valgrind. It sees all, and its figures are worth something on
  the machine alone on which they were taken, and for the very same interpreter.

Either counts a path for many units and for few, and divides the difference: so whatever is done once cancels out. Hashes
are not random, the garbage collector is off, and the order in which trio runs tasks that could run at the same time, which it
draws, is always the same.
"""

from __future__ import annotations

import functools
import gc
import json
import logging
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from types import FrameType
from typing import Any, Literal, NamedTuple, TypeAlias

import anyio

from structmode.testing import VirtualClock, virtual_backend
from structmode.testing._taps_on_trio import _settle_chance as settle_chance

from .contenders import VARIABLE, contender, run_arguments
from .rounds import ROOT, path_with
from .topics import signals, spawning, supervision, timers, trees, waiting

Means: TypeAlias = Literal["bytecode", "callgrind"]
MEANS: tuple[Means, ...] = ("bytecode", "callgrind")
#: Whose instructions are counted by each of the means.
BACKENDS: Mapping[Means, tuple[str, ...]] = {
    "bytecode": ("asyncio", "trio"),
    "callgrind": ("asyncio", "asyncio+uvloop", "trio"),
}

SEED = 1
#: Of the small tree.
CHILDREN = 5


async def timer_tick(units: int) -> float:
    """Have a timer tick so many times, in virtual time."""
    with VirtualClock():
        return max(await timers.ticks(units))


async def small_tree(units: int) -> float:
    """Start and stop a service with five children that have a task each, so many times."""
    spent = 0.0
    for _ in range(units):
        spent += sum(await trees.start_and_stop(trees.tree_of(trees.Sleeper, CHILDREN)))
    return spent


class Path(NamedTuple):
    """A hot path.

    Attributes:
        run: Goes it so many times.
        few: How many times is few.
        many: And how many is many.
    """

    run: Callable[[int], Awaitable[float]]
    few: int = 20
    many: int = 120


PATHS: Mapping[str, Path] = {
    "sleep(0)": Path(waiting.sleep_zero),
    "wait on a set event": Path(waiting.wait_set),
    "wait_first of two": Path(waiting.wait_first_of_two),
    # Ten at a time: in which order trio takes them makes a difference, and so that is chance ten times.
    "add_future": Path(functools.partial(spawning.add_future, together=10)),
    "timer tick": Path(timer_tick),
    "Signal.send": Path(signals.send),
    "small tree": Path(small_tree, 2, 12),
    "crash to restarted": Path(supervision.crash_to_restarted, 5, 35),
}


def arguments_of(path: str, backend: str) -> dict[str, Any]:
    """Return what `anyio.run` takes for a path: for the timer, an event loop whose time can be virtual."""
    if path != "timer tick":
        return run_arguments(backend)
    return virtual_backend("trio" if backend == "trio" else "asyncio")


def paths_of(backend: str) -> list[str]:
    """Return the paths that can be counted on an event loop: uvloop's time can't be virtual."""
    return [path for path in PATHS if path != "timer tick" or "uvloop" not in backend]


# --- In the process that is counted ---------------------------------------------------------------


class Tracer:
    """Counts the instructions of Python's virtual machine, and the calls of functions written in Python."""

    def __init__(self) -> None:
        self.count = 0

    def called(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        """Count a call, or a step of a coroutine, and have what is in it counted."""
        self.count += 1
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        return self.executed

    def executed(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        """Count an instruction."""
        if event == "opcode":
            self.count += 1
        return self.executed


def run_path(path: str, backend: str, units: int) -> None:
    """Run a path in an event loop of its own."""
    if backend == "trio":
        settle_chance(SEED)
    anyio.run(PATHS[path].run, units, **arguments_of(path, backend))


def bytecode(path: str, backend: str, units: int) -> int:
    """Return how many instructions a path takes in all."""
    tracer, before = Tracer(), sys.gettrace()
    sys.settrace(tracer.called)
    try:
        run_path(path, backend, units)
    finally:
        sys.settrace(before)
    return tracer.count


def per_unit(path: Path, count: Callable[[int], int]) -> float:
    """Return what one unit takes, given what any number of units take in all."""
    return (count(path.many) - count(path.few)) / (path.many - path.few)


def main(arguments: list[str]) -> None:
    """Count all paths on an event loop, and print what one unit takes, as JSON; or just run one, to be counted."""
    gc.disable()
    logging.getLogger().addHandler(logging.NullHandler())
    backend, *rest = arguments
    if rest:
        run_path(rest[0], backend, int(rest[1]))
        return
    figures: dict[str, float] = {}
    for name in paths_of(backend):
        path = PATHS[name]
        # What is done once, the first time, is done then; and what has never been traced, Python 3.12 does not count.
        bytecode(name, backend, path.few)
        figures[name] = per_unit(path, functools.partial(bytecode, name, backend))
    print(json.dumps(figures))


# --- In the process that wants to know ------------------------------------------------------------


def count_paths(means: Means, backend: str) -> dict[str, float]:
    """Return what one unit of each path takes on an event loop.

    Raises:
        RuntimeError: If what was to be counted failed.
    """
    if means == "bytecode":
        figures: dict[str, float] = json.loads(_output([], [backend]))
        return figures
    return {
        name: per_unit(PATHS[name], functools.partial(_callgrind, name, backend))
        for name in paths_of(backend)
    }


def _callgrind(path: str, backend: str, units: int) -> int:
    with tempfile.TemporaryDirectory() as room:
        log = pathlib.Path(room, "log")
        valgrind = ("valgrind", "--tool=callgrind", f"--log-file={log}")
        _output(
            [*valgrind, f"--callgrind-out-file={pathlib.Path(room, 'out')}"],
            [backend, path, str(units)],
        )
        found = re.search(r"Collected : (\d+)", log.read_text(encoding="utf-8"))
    if found is None:
        raise RuntimeError("valgrind has counted nothing")
    return int(found[1])


def _output(before: list[str], arguments: list[str]) -> str:
    """Run this module in a process in which nothing is random; return what it prints."""
    library = next(one for one in ("asyncio", "uvloop", "trio") if arguments[0].endswith(one))
    done = subprocess.run(
        [*before, sys.executable, "-P", "-m", "benchmarks.counting", *arguments],
        env={
            # Coverage would trace as well.
            **{name: of for name, of in os.environ.items() if not name.startswith("COVERAGE")},
            VARIABLE: contender(f"structmode, {library}").name,
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": path_with(ROOT),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"counting on {arguments[0]} failed:\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main(sys.argv[1:])
