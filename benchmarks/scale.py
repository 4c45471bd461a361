"""How far one process goes: very many services, timers, futures and threads, on each event loop.

    python -m benchmarks.scale [--only services]... [--backend trio]... [--share 100] [--write]

Each is measured in a process of its own, once: these are sizes and not comparisons. With ``--share 100`` there is a hundredth
of everything, which shows that it runs. With ``--write`` the table goes into the docs.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import math
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import TypeAlias

import anyio
import anyio.lowlevel

from structmode import QueueServiceThread, Service, Timer

from .contenders import run_arguments
from .rounds import ROOT

BACKENDS = ("asyncio", "asyncio+uvloop", "trio")
TABLE = ROOT / "docs" / "explanation" / "scale-table.inc"

#: How long it is watched how services idle, and how timers tick, in seconds.
WATCHED = 10.0
#: How long timers take, at the most, until they have made up for what kept them waiting while all were started: a tenth of
#: their interval at each tick.
SETTLED = 15.0
#: How many futures there are at a time.
TOGETHER = 1000

#: What was measured, in words, each with its figure.
Figures: TypeAlias = dict[str, str]


class Empty(Service):
    """A service that runs nothing."""

    mundane_level = "debug"


class Clock(Service):
    """A service with a timer of one second.

    Args:
        late: Where to note how late each tick is, in seconds.
    """

    mundane_level = "debug"

    def __init__(self, late: list[float]) -> None:
        super().__init__()
        self._late = late

    @Service.task
    async def tick(self) -> None:
        """Note it, once a second."""
        timer = Timer(1.0, sleep=self.sleep)
        async for _ in timer:
            if self.should_stop:
                return
            self._late.append(timer.late)


class Remote(QueueServiceThread):
    """A service in a thread of its own."""

    mundane_level = "debug"


def memory() -> float:
    """Return what the process occupies, in bytes; no number where the system does not tell, as only Linux does."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return math.nan
    return pages * os.sysconf("SC_PAGE_SIZE")


async def watched() -> tuple[float, float]:
    """Look on for some seconds; returns how many it was, and the share of them in which the processor was busy."""
    before, began = time.process_time(), anyio.current_time()
    await anyio.sleep(WATCHED)
    # More than that, if there is so much to do that who sleeps is woken late.
    seconds = anyio.current_time() - began
    return seconds, (time.process_time() - before) / seconds


@contextmanager
def collector_off() -> Generator[None]:
    """Start what lives long as the docs say: with the garbage collector off, and out of its sight from then on."""
    gc.collect()
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


async def services(count: int) -> Figures:
    """Start, have and stop services."""
    before, began = memory(), time.perf_counter()
    root = tree_of(count, Empty)
    async with root:
        started = time.perf_counter() - began
        gc.collect()
        taken = memory() - before
        _, busy = await watched()
        stopping = time.perf_counter()
    stopped = time.perf_counter() - stopping
    began = time.perf_counter()
    with collector_off():
        root = tree_of(count, Empty)
        await root.start()
        started_unseen = time.perf_counter() - began
    await root.stop()
    gc.unfreeze()
    return {
        "memory of each": f"{taken / count / 1024:.1f} KiB",
        "start of all": f"{started:.1f} s",
        "start of all, the collector being off": f"{started_unseen:.1f} s",
        "processor while idle": f"{100 * busy:.1f} %",
        "stop of all": f"{stopped:.1f} s",
    }


def tree_of(count: int, make: Callable[[], Service]) -> Service:
    """Return a service with so many children."""
    root = Empty()
    for _ in range(count):
        root.add_dependency(make())
    return root


async def timers(count: int) -> Figures:
    """Have timers of one second tick."""
    late: list[float] = []
    with collector_off():
        root = tree_of(count, lambda: Clock(late))
        await root.start()
    await anyio.sleep(min(SETTLED, count / 100))
    late.clear()
    seconds, busy = await watched()
    ticks = quantiles(late, n=100)
    await root.stop()
    gc.unfreeze()
    return {
        "ticks": f"{len(late) / seconds:,.0f} a second",
        "late, median": f"{1000 * ticks[49]:.1f} ms",
        "late, 99 of 100": f"{1000 * ticks[98]:.1f} ms",
        "processor": f"{100 * busy:.0f} %",
    }


async def futures(count: int) -> Figures:
    """Run futures of one service, so many at a time."""

    async def work() -> None:
        await anyio.lowlevel.checkpoint()

    async with Empty() as service:
        for future in [service.add_future(work()) for _ in range(TOGETHER)]:
            await future
        gc.collect()
        before, began = memory(), time.perf_counter()
        for _ in range(max(1, count // TOGETHER)):
            for future in [service.add_future(work()) for _ in range(TOGETHER)]:
                await future
        each = (time.perf_counter() - began) / count
        gc.collect()
        grown = memory() - before
    return {"time of each": f"{1e6 * each:.0f} µs", "memory grown by": f"{grown / 2**20:.1f} MiB"}


async def threads(count: int) -> Figures:
    """Have services in threads, and call each."""

    async def nothing() -> None:
        pass

    before, began = memory(), time.perf_counter()
    root = Empty()
    remotes = [root.add_dependency(Remote()) for _ in range(count)]
    async with root:
        started, taken = time.perf_counter() - began, memory() - before
        began = time.perf_counter()
        async with anyio.create_task_group() as group:
            for remote in remotes:
                group.start_soon(remote.call_thread, nothing)
        called = time.perf_counter() - began
        stopping = time.perf_counter()
    return {
        "memory of each": f"{taken / count / 1024:.0f} KiB",
        "start of all": f"{started:.2f} s",
        "a call into each": f"{1000 * called:.0f} ms",
        "stop of all": f"{time.perf_counter() - stopping:.2f} s",
    }


#: What there is very much of, and how much.
MEASURES: Mapping[str, tuple[int, Callable[[int], Awaitable[Figures]]]] = {
    "services": (100_000, services),
    "timers": (10_000, timers),
    "futures": (1_000_000, futures),
    "threads": (100, threads),
}


def main(arguments: Sequence[str]) -> None:
    """Do what the command line says."""
    options = _options(arguments)
    if options.here:
        _measure_here(options.here, options.backend[0], options.share)
        return
    found = {
        name: {
            backend: _measure_apart(name, backend, options.share) for backend in options.backend
        }
        for name in options.only
    }
    text = as_markdown(found, options.share)
    print(text, end="")
    if options.write:
        TABLE.write_text(text, encoding="utf-8")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--only", action="append", choices=MEASURES)
    parser.add_argument("--backend", action="append", choices=BACKENDS)
    parser.add_argument("--share", type=int, default=1, help="measure such a part of everything")
    parser.add_argument("--write", action="store_true", help="write the table into the docs")
    parser.add_argument("--here", choices=MEASURES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.only, options.backend = options.only or [*MEASURES], options.backend or [*BACKENDS]
    return options


def _size(name: str, share: int) -> int:
    return max(1, MEASURES[name][0] // share)


def _measure_here(name: str, backend: str, share: int) -> None:
    logging.getLogger().addHandler(logging.NullHandler())
    Remote.backend = backend
    figures = anyio.run(MEASURES[name][1], _size(name, share), **run_arguments(backend))
    print(json.dumps(figures))


def _measure_apart(name: str, backend: str, share: int) -> Figures:
    command = [sys.executable, "-m", "benchmarks.scale", "--here", name, "--backend", backend]
    done = subprocess.run(
        [*command, "--share", str(share)], check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    figures: Figures = json.loads(done.stdout)
    return figures


def as_markdown(found: Mapping[str, Mapping[str, Figures]], share: int) -> str:
    """Return the table: a row for each figure, a column for each event loop."""
    backends = list(next(iter(found.values())))
    lines = [f"| | | {' | '.join(backends)} |", f"| --- | --- |{' --- |' * len(backends)}"]
    for name, by_backend in found.items():
        for what in by_backend[backends[0]]:
            figures = " | ".join(by_backend[backend][what] for backend in backends)
            lines.append(f"| {_size(name, share):,} {name} | {what} | {figures} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
