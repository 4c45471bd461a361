"""Idling: what a service with a timer costs that does nothing else, in memory and in time of the processor.

Memory is what Python has allocated, by `tracemalloc`, for many services, one of them each: unlike what the system says of a
process, it is the same on any machine, busy or not. What libraries in C allocate by themselves is not in it; of uvloop, that
is the loop's own bookkeeping.
"""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TypeAlias

from benchmarks.clock import settle
from benchmarks.floor import Kept, all_of
from benchmarks.library import Service, ServiceMixin, hand, open_group, sleep
from benchmarks.model import ELSEWHERE, Row, share_of_mode
from benchmarks.topics.trees import Empty, FacetEmpty

#: Of the timers, in seconds.
INTERVAL = 1.0

#: Makes so many services that run inside.
Many: TypeAlias = Callable[[int], AbstractAsyncContextManager[None]]


class Ticking(Service):
    """A service with a timer."""

    @Service.timer(INTERVAL)
    async def tick(self) -> None:
        """Do nothing."""


class FacetTicking(ServiceMixin):
    """A service of facet's with a task that does what a timer does."""

    async def start(self) -> None:
        """Begin."""
        self.add_task(self._tick())

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += INTERVAL
            await asyncio.sleep(due - loop.time())


async def tick_by_hand() -> None:
    """Do what a timer does."""
    due = hand.current_time()
    while True:
        due += INTERVAL
        await hand.sleep_until(due)


@asynccontextmanager
async def services(count: int) -> AsyncGenerator[None]:
    """Have so many services run."""
    root = Empty()
    for _ in range(count):
        root.add_dependency(Ticking())
    async with root:
        yield


@asynccontextmanager
async def facet_services(count: int) -> AsyncGenerator[None]:
    """Have so many services of facet's run."""
    async with FacetEmpty(*(FacetTicking() for _ in range(count))):
        yield


@asynccontextmanager
async def tasks(count: int) -> AsyncGenerator[None]:
    """Have so many tasks run."""
    async with open_group() as group:
        for _ in range(count):
            group.start_soon(tick_by_hand)
        yield
        group.cancel_scope.cancel()


@asynccontextmanager
async def kept(count: int) -> AsyncGenerator[None]:
    """Have so many run of what keeps the laws by hand."""
    async with all_of([Kept(tick_by_hand) for _ in range(count)]):
        yield


async def memory(many: Many, count: int) -> float:
    """Return the bytes that each takes."""
    async with many(count):  # what is allocated once, and kept, is there then
        await settle()
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        async with many(count):
            await settle()
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (after - before) / count


async def processor(many: Many, count: int) -> float:
    """Return the time of the processor that each takes in a second, while the timers go on."""
    # Whole seconds, so that every timer ticks as often as every other.
    seconds = min(5, count // 50) or count / 200
    async with many(count):
        await sleep(min(INTERVAL, seconds))
        before, began = time.process_time(), time.perf_counter()
        await sleep(seconds)
        spent, passed = time.process_time() - before, time.perf_counter() - began
    return spent / passed / count


ROWS: Sequence[Row] = (
    Row(
        name="memory",
        work="memory of an idle service with a timer",
        codes={
            "services": partial(memory, services),
            "facet": partial(memory, facet_services),
            "hand": partial(memory, tasks),
            "floor": partial(memory, kept),
        },
        size=1000,
        kind="share",
        unit="B",
        goals=(share_of_mode(0.6), *ELSEWHERE),
        turns=1,
        warm=False,
    ),
    Row(
        name="processor",
        work="CPU of 1,000 of them, idle, each",
        codes={
            "services": partial(processor, services),
            "facet": partial(processor, facet_services),
            "hand": partial(processor, tasks),
            "floor": partial(processor, kept),
        },
        size=1000,
        kind="share",
        goals=(share_of_mode(0.35), *ELSEWHERE),
        turns=1,
        warm=False,
    ),
)
