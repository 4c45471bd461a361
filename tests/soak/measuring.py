"""Measuring: what a program holds - tasks, threads, file descriptors, memory - at a moment when it has nothing to do."""

from __future__ import annotations

import collections
import gc
import linecache
import os
import threading
import tracemalloc
from dataclasses import dataclass, replace

import anyio

#: How long to wait for what is about to end, in seconds; and how long nothing must have ended or begun.
PATIENCE, QUIET = 20.0, 1.0
_TICK = 0.05
#: How the threads of a pool are called.
_POOLS = ("Trio thread", "AnyIO worker thread", "asyncio_", "ThreadPoolExecutor")
#: Where Python makes tables that take a megabyte all at once: the source lines of what was in a traceback; all names that
#: are interned, as the parts of each path are, a table that doubles now and then.
_LIBRARY = os.path.dirname(linecache.__file__)
_TABLES = (linecache.__file__, os.path.join(_LIBRARY, "pathlib*"))
_DESCRIPTORS = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"

#: The memory that may be held more after some two hundred rounds, in bytes. What grows by right is little: up to a thousand
#: deadlines that trio no longer needs and forgets all at once (300 KiB), a row per minute in the history, what Python
#: keeps of code that runs for the first time, numbers that get longer. What would be kept by mistake is more: one run of
#: a service with a single timer takes 8 KiB, which in each of 180 rounds is 1400 KiB.
MAY_GROW = 512 * 1024


@dataclass(frozen=True)
class Measure:
    """What there is, by name, and how much memory it takes.

    Threads that wait for work in a pool do not count: how many there are tells what was the most at a time, and they end
    by themselves.
    """

    tasks: collections.Counter[str]
    threads: collections.Counter[str]
    descriptors: collections.Counter[str]
    memory: int = 0

    def counts(self) -> tuple[int, int, int]:
        """Return how many tasks, threads and descriptors there are."""
        return self.tasks.total(), self.threads.total(), self.descriptors.total()


async def look_when_quiet() -> Measure:
    """Return what there is, but for the memory, once that has been the same for a while."""
    found, since = look(), anyio.current_time()
    while anyio.current_time() - since < QUIET:
        await anyio.sleep(_TICK)
        if (now := look()) != found:
            found, since = (
                now,
                anyio.current_time(),
            )  # pragma: no cover - only where it has not come to rest
    return found


async def measure(idle: Measure) -> Measure:
    """Wait until there is no more than there was, but not for ever; return what there is then.

    Args:
        idle: What there was before there was anything to do.
    """
    give_up = anyio.current_time() + PATIENCE
    while (found := look()).counts() != idle.counts() and anyio.current_time() < give_up:
        await anyio.sleep(_TICK)
    return replace(found, memory=memory())


def look() -> Measure:
    """Return what there is at this moment, but for the memory; called in an event loop."""
    tasks = [getattr(task.coro, "__qualname__", str(task)) for task in anyio.get_running_tasks()]
    return Measure(collections.Counter(tasks), threads(), descriptors())


def memory() -> int:
    """Return how much memory is held, in bytes, but for tables of Python's own that a program has no hand in."""
    gc.collect()
    held = tracemalloc.take_snapshot().filter_traces(
        [tracemalloc.Filter(inclusive=False, filename_pattern=name) for name in _TABLES]
    )
    return sum(statistic.size for statistic in held.statistics("filename"))


def threads() -> collections.Counter[str]:
    """Return the threads that are no idle workers of a pool."""
    names = [thread.name for thread in threading.enumerate()]
    return collections.Counter(name for name in names if not name.startswith(_POOLS))


def descriptors() -> collections.Counter[str]:
    """Return the open file descriptors, by what they are of."""
    found: collections.Counter[str] = collections.Counter()
    for entry in os.listdir(_DESCRIPTORS):
        try:
            target = os.readlink(os.path.join(_DESCRIPTORS, entry))
        except (
            OSError
        ):  # the one that the directory was read with; and where there are no links, each
            target = "?"
        found[target.split(":[", 1)[0]] += 1
    return found


@dataclass
class Growth:
    """By how much there is more than there was."""

    tasks: int = 0
    threads: int = 0
    descriptors: int = 0
    memory: int = 0

    def add(self, before: Measure, after: Measure) -> list[str]:
        """Add what has come between two measures; returns what should not have.

        Args:
            before: The first.
            after: The last.
        """
        faults: list[str] = []
        for what in ("tasks", "threads", "descriptors"):
            old: collections.Counter[str] = getattr(before, what)
            new: collections.Counter[str] = getattr(after, what)
            setattr(self, what, getattr(self, what) + new.total() - old.total())
            if new.total() != old.total():
                faults.append(f"{what}: more are {dict(new - old)}, fewer {dict(old - new)}")
        grown = after.memory - before.memory
        self.memory = max(self.memory, grown)
        if grown > MAY_GROW:
            faults.append(f"memory: {grown / 1024:.0f} KiB more")
        return faults

    def __str__(self) -> str:
        return (
            f"tasks {self.tasks:+}, threads {self.threads:+}, descriptors {self.descriptors:+}, "
            f"memory {self.memory / 2**20:+.2f} MiB"
        )
