"""Spawning: a coroutine that does nothing is run in a service, by the hundred, and has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from benchmarks.clock import now
from benchmarks.floor import KeptTask
from benchmarks.library import Event, Service, ServiceMixin, hand, open_group
from benchmarks.model import ELSEWHERE, Row, times_by_hand

#: How many are running at a time.
TOGETHER = 100


class Spawner(Service):
    """A service that runs nothing by itself."""


class FacetSpawner(ServiceMixin):
    """The same for facet."""


class Batch:
    """Coroutines that have been spawned together.

    Args:
        count: How many they are.
        done: Called when the last one ends.
    """

    def __init__(self, count: int, done: Callable[[], object]) -> None:
        self._left = count
        self._done = done

    async def trivial(self) -> None:
        """End at once."""
        self._left -= 1
        if not self._left:
            self._done()


def batches(units: int, together: int = TOGETHER) -> list[int]:
    """Cut so many into hundreds, or whatever else."""
    return [min(together, units - begun) for begun in range(0, units, together)]


async def add_future(units: int, together: int = TOGETHER) -> float:
    """Run coroutines as futures of a service."""
    async with Spawner() as service:
        began = now()
        for count in batches(units, together):
            done = Event()
            batch = Batch(count, done.set)
            for _ in range(count):
                service.add_future(batch.trivial())
            await done.wait()
        return (now() - began) / units


async def add_task_with_facet(units: int) -> float:
    """Run coroutines as tasks of a service of facet's."""
    async with FacetSpawner() as service:
        began = now()
        for count in batches(units):
            done = asyncio.Event()
            batch = Batch(count, done.set)
            for _ in range(count):
                service.add_task(batch.trivial())
            await done.wait()
        return (now() - began) / units


async def start_soon(units: int) -> float:
    """Run functions in a task group."""
    async with open_group() as group:
        began = now()
        for count in batches(units):
            done = hand.Event()
            batch = Batch(count, done.set)
            for _ in range(count):
                group.start_soon(batch.trivial)
            await done.wait()
        spent = now() - began
    return spent / units


async def start_soon_kept(units: int) -> float:
    """Run functions in a task group, and keep what the laws ask for."""
    owned: set[KeptTask] = set()
    failures: list[Exception] = []
    async with open_group() as group:
        began = now()
        for count in batches(units):
            done = hand.Event()
            batch = Batch(count, done.set)
            for _ in range(count):
                group.start_soon(KeptTask(batch.trivial, owned, failures.append).run)
            await done.wait()
        spent = now() - began
    return spent / units


async def create_task(units: int) -> float:
    """Run coroutines in a task group of asyncio's own."""
    async with asyncio.TaskGroup() as group:
        began = now()
        for count in batches(units):
            done = asyncio.Event()
            batch = Batch(count, done.set)
            for _ in range(count):
                group.create_task(batch.trivial())
            await done.wait()
        spent = now() - began
    return spent / units


ROWS: Sequence[Row] = (
    Row(
        name="add-future",
        work="`add_future` of a trivial coroutine, spawned and finished",
        codes={
            "services": add_future,
            "facet": add_task_with_facet,
            "hand": start_soon,
            "floor": start_soon_kept,
            "asyncio": create_task,
        },
        size=2000,
        goals=(times_by_hand(0.87), *ELSEWHERE),
    ),
)
