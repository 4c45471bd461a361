"""Trees: how long it takes to start and to stop what is made of many services, in breadth and in depth.

By hand, a service of a flat tree is a task in one group; a service in a chain is a task with a group of its own, in which
the next one runs, and which is there when the next one is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from benchmarks.clock import now, settle
from benchmarks.floor import Kept, Work, all_of
from benchmarks.library import Event, Service, ServiceMixin, hand, open_group, sleep
from benchmarks.model import ELSEWHERE, Row, times_mode

#: Longer than any benchmark takes, in seconds.
LONG = 3600.0


class Blown(Exception):
    """What a service crashes with."""


class Empty(Service):
    """A service that runs nothing."""


class Sleeper(Service):
    """A service with a task that sleeps."""

    @Service.task
    async def nap(self) -> None:
        """Sleep until the service stops."""
        await self.sleep(LONG)


class Bomb(Service):
    """A service with a task that raises when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.fuse = Event()

    @Service.task
    async def wait_for_it(self) -> None:
        """Raise when it is time."""
        await self.fuse.wait()
        raise Blown


class FacetEmpty(ServiceMixin):
    """A service of facet's that runs nothing, and may need others.

    Args:
        *needs: The others; they start at the same time, which is what facet does best.
    """

    def __init__(self, *needs: ServiceMixin) -> None:
        self._needs = list(needs)

    @property
    def graceful_shutdown_timeout(self) -> float:
        """As long as mode and structmode have by default, in seconds."""
        return 60

    @property
    def dependencies(self) -> list[list[ServiceMixin]]:
        """What it needs."""
        return [self._needs] if self._needs else []


class FacetSleeper(FacetEmpty):
    """A service of facet's with a task that sleeps."""

    async def start(self) -> None:
        """Begin to sleep."""
        self.add_task(sleep(LONG))


class FacetBomb(FacetEmpty):
    """A service of facet's with a task that raises when it is told to."""

    async def start(self) -> None:
        """Begin to wait."""
        self.fuse = asyncio.Event()
        self.add_task(self._wait_for_it())

    async def _wait_for_it(self) -> None:
        await self.fuse.wait()
        raise Blown


# --- Flat trees -----------------------------------------------------------------------------------


def tree_of(kind: type[Service], count: int) -> Empty:
    """Return a service with so many children."""
    root = Empty()
    for _ in range(count):
        root.add_dependency(kind())
    return root


async def start_and_stop(root: Service | ServiceMixin) -> tuple[float, float]:
    """Return how long a tree takes to start, and to stop once all in it have begun."""
    began = now()
    async with root:
        started = now() - began
        await settle()
        stopping = now()
    return started, now() - stopping


async def start_sleepers(count: int) -> float:
    """Start services with tasks."""
    return (await start_and_stop(tree_of(Sleeper, count)))[0] / count


async def stop_sleepers(count: int) -> float:
    """Stop services with tasks in mid-sleep."""
    return (await start_and_stop(tree_of(Sleeper, count)))[1] / count


async def start_empty(count: int) -> float:
    """Start services that run nothing."""
    return (await start_and_stop(tree_of(Empty, count)))[0] / count


async def stop_empty(count: int) -> float:
    """Stop services that run nothing."""
    return (await start_and_stop(tree_of(Empty, count)))[1] / count


def facet_tree_of(kind: type[FacetEmpty], count: int) -> FacetEmpty:
    """Return a service of facet's that needs so many others."""
    return FacetEmpty(*(kind() for _ in range(count)))


async def start_facet_sleepers(count: int) -> float:
    """Start services of facet's with tasks."""
    return (await start_and_stop(facet_tree_of(FacetSleeper, count)))[0] / count


async def stop_facet_sleepers(count: int) -> float:
    """Stop services of facet's with tasks in mid-sleep."""
    return (await start_and_stop(facet_tree_of(FacetSleeper, count)))[1] / count


async def start_facet_empty(count: int) -> float:
    """Start services of facet's that run nothing."""
    return (await start_and_stop(facet_tree_of(FacetEmpty, count)))[0] / count


async def stop_facet_empty(count: int) -> float:
    """Stop services of facet's that run nothing."""
    return (await start_and_stop(facet_tree_of(FacetEmpty, count)))[1] / count


async def start_and_stop_by_hand(count: int) -> tuple[float, float]:
    """Return how long so many tasks take to start, one after the other, and to stop once all of them have begun."""
    began = now()
    async with open_group() as group:
        for _ in range(count):
            group.start_soon(sleep, LONG)
        started = now() - began
        await settle()
        stopping = now()
        group.cancel_scope.cancel()
    return started, now() - stopping


async def start_by_hand(count: int) -> float:
    """Start tasks."""
    return (await start_and_stop_by_hand(count))[0] / count


async def stop_by_hand(count: int) -> float:
    """Stop tasks."""
    return (await start_and_stop_by_hand(count))[1] / count


async def start_and_stop_the_floor(work: Work | None, count: int) -> tuple[float, float]:
    """Return the same of what keeps the laws by hand."""
    services = [Kept(work) for _ in range(count)]
    began = now()
    async with all_of(services):
        started = now() - began
        await settle()
        stopping = now()
    return started, now() - stopping


async def nap() -> None:
    """Sleep until the service stops."""
    await sleep(LONG)


async def start_floor(work: Work | None, count: int) -> float:
    """Start what keeps the laws by hand."""
    return (await start_and_stop_the_floor(work, count))[0] / count


async def stop_floor(work: Work | None, count: int) -> float:
    """Stop what keeps the laws by hand."""
    return (await start_and_stop_the_floor(work, count))[1] / count


async def start_and_stop_on_asyncio(count: int) -> tuple[float, float]:
    """Return the same of asyncio's own tasks."""
    began = now()
    tasks = [asyncio.create_task(asyncio.sleep(LONG)) for _ in range(count)]
    started = now() - began
    await settle()
    stopping = now()
    for task in reversed(tasks):
        task.cancel()
    await asyncio.wait(tasks)
    return started, now() - stopping


async def start_on_asyncio(count: int) -> float:
    """Start asyncio's own tasks."""
    return (await start_and_stop_on_asyncio(count))[0] / count


async def stop_on_asyncio(count: int) -> float:
    """Stop asyncio's own tasks."""
    return (await start_and_stop_on_asyncio(count))[1] / count


# --- A crash --------------------------------------------------------------------------------------


async def crash_tree(count: int) -> float:
    """Have one service of many crash, and stop them all."""
    root, bomb = tree_of(Sleeper, count - 1), Bomb()
    root.add_dependency(bomb)
    began = 0.0
    try:
        async with root:
            await settle()
            began = now()
            bomb.fuse.set()
            await root.wait_until_stopped()
    except Blown:
        pass
    return now() - began


async def crash_facet_tree(count: int) -> float:
    """Have one service of facet's crash, of many, and stop them all."""
    bomb = FacetBomb()
    root = FacetEmpty(*(FacetSleeper() for _ in range(count - 1)), bomb)
    began = 0.0
    try:
        async with root:
            await settle()
            began = now()
            bomb.fuse.set()
            await root.wait()
    except Blown:
        pass
    return now() - began


async def crash_by_hand(count: int) -> float:
    """Have one task of many raise, and stop them all."""
    fuse, began = hand.Event(), 0.0

    async def wait_for_it() -> None:
        await fuse.wait()
        raise Blown

    try:
        async with open_group() as group:
            for _ in range(count - 1):
                group.start_soon(sleep, LONG)
            group.start_soon(wait_for_it)
            await settle()
            began = now()
            fuse.set()
    except* Blown:
        pass
    return now() - began


async def crash_the_floor(count: int) -> float:
    """Have one of those that keep the laws by hand crash, of many, and stop them all, in order."""
    fuse, crashed, began = hand.Event(), hand.Event(), 0.0

    async def wait_for_it() -> None:
        try:
            await wait_and_raise()
        except Blown:
            crashed.set()

    async def wait_and_raise() -> None:
        await fuse.wait()
        raise Blown

    async with all_of([*(Kept(nap) for _ in range(count - 1)), Kept(wait_for_it)]):
        await settle()
        began = now()
        fuse.set()
        await crashed.wait()
    return now() - began


# --- One service ----------------------------------------------------------------------------------


async def one_service(units: int) -> float:
    """Start and stop one service with one task, again and again; a new one each time."""
    services = [Sleeper() for _ in range(units)]
    began = now()
    for service in services:
        async with service:
            pass
    return (now() - began) / units


async def one_facet_service(units: int) -> float:
    """Start and stop one service of facet's with one task, again and again; a new one each time."""
    services = [FacetSleeper() for _ in range(units)]
    began = now()
    for service in services:
        async with service:
            pass
    return (now() - began) / units


async def one_by_hand(units: int) -> float:
    """Open a group with one task, and cancel it."""
    began = now()
    for _ in range(units):
        async with open_group() as group:
            group.start_soon(sleep, LONG)
            group.cancel_scope.cancel()
    return (now() - began) / units


async def one_floor(units: int) -> float:
    """Start and stop what keeps the laws by hand."""
    services = [Kept(nap) for _ in range(units)]
    began = now()
    for service in services:
        async with all_of([service]):
            pass
    return (now() - began) / units


async def one_on_asyncio(units: int) -> float:
    """Create one task of asyncio's own, and cancel it."""
    began = now()
    for _ in range(units):
        task = asyncio.create_task(asyncio.sleep(LONG))
        task.cancel()
        await asyncio.wait([task])
    return (now() - began) / units


# --- Chains ---------------------------------------------------------------------------------------


class Count:
    """How many links of a chain were started and stopped."""

    def __init__(self) -> None:
        self.started = self.stopped = 0

    def check(self, depth: int) -> None:
        """Raise unless it was all of them."""
        if (self.started, self.stopped) != (depth, depth):
            raise RuntimeError(
                f"of {depth} services, {self.started} were started and {self.stopped} stopped"
            )


class Link(Service):
    """A service in a chain, above the next one.

    Args:
        count: Where to count.
    """

    def __init__(self, count: Count) -> None:
        super().__init__()
        self._count = count

    async def on_start(self) -> None:
        """Count."""
        self._count.started += 1

    async def on_shutdown(self) -> None:
        """Count."""
        self._count.stopped += 1


class FacetLink(FacetEmpty):
    """The same for facet.

    Args:
        count: Where to count.
        *needs: The next one.
    """

    def __init__(self, count: Count, *needs: ServiceMixin) -> None:
        super().__init__(*needs)
        self._count = count

    async def start(self) -> None:
        """Count."""
        self._count.started += 1

    async def stop(self) -> None:
        """Count."""
        self._count.stopped += 1


async def chain(depth: int) -> float:
    """Start and stop services each of which is the only child of another."""
    count = Count()
    top = last = Link(count)
    for _ in range(depth - 1):
        last = last.add_dependency(Link(count))
    began = now()
    async with top:
        pass
    spent = now() - began
    count.check(depth)
    return spent / depth


async def facet_chain(depth: int) -> float:
    """Start and stop services of facet's each of which needs another."""
    count = Count()
    top = FacetLink(count)
    for _ in range(depth - 1):
        top = FacetLink(count, top)
    began = now()
    async with top:
        pass
    spent = now() - began
    count.check(depth)
    return spent / depth


async def chain_by_hand(depth: int) -> float:
    """Open task groups each of which is in a task of another."""
    count = Count()

    async def link(below: int, running: hand.Event) -> None:
        try:
            async with open_group() as group:
                count.started += 1
                if below:
                    next_one = hand.Event()
                    group.start_soon(link, below - 1, next_one)
                    await next_one.wait()
                running.set()
                await hand.sleep_forever()
        finally:
            count.stopped += 1

    began = now()
    async with open_group() as group:
        all_run = hand.Event()
        group.start_soon(link, depth - 1, all_run)
        await all_run.wait()
        group.cancel_scope.cancel()
    spent = now() - began
    count.check(depth)
    return spent / depth


async def chain_of_the_floor(depth: int) -> float:
    """Start and stop what keeps the laws by hand, each in another."""
    top = Kept()
    for _ in range(depth - 1):
        top = Kept(child=top)
    began = now()
    async with all_of([top]):
        pass
    return (now() - began) / depth


ROWS: Sequence[Row] = (
    Row(
        name="crash-tree",
        work="crash of one in a tree of 1,000 to all stopped",
        codes={
            "services": crash_tree,
            "facet": crash_facet_tree,
            "hand": crash_by_hand,
            "floor": crash_the_floor,
        },
        size=1000,
        goals=(times_mode(2), *ELSEWHERE),
    ),
    Row(
        name="stop-sleepers",
        work="stop of 1,000 services with tasks in mid-sleep, each",
        codes={
            "services": stop_sleepers,
            "facet": stop_facet_sleepers,
            "hand": stop_by_hand,
            "floor": partial(stop_floor, nap),
            "asyncio": stop_on_asyncio,
        },
        size=1000,
        goals=(times_mode(2), *ELSEWHERE),
    ),
    Row(
        name="start-sleepers",
        work="start of the same, each",
        codes={
            "services": start_sleepers,
            "facet": start_facet_sleepers,
            "hand": start_by_hand,
            "floor": partial(start_floor, nap),
            "asyncio": start_on_asyncio,
        },
        size=1000,
        goals=(times_mode(1.3), *ELSEWHERE),
    ),
    Row(
        name="one-service",
        work="one service with one task, start and stop",
        codes={
            "services": one_service,
            "facet": one_facet_service,
            "hand": one_by_hand,
            "floor": one_floor,
            "asyncio": one_on_asyncio,
        },
        size=500,
        goals=(times_mode(0.6), *ELSEWHERE),
    ),
    Row(
        name="flat-start",
        work="flat tree of 1,000, start per service",
        codes={
            "services": start_empty,
            "facet": start_facet_empty,
            "hand": start_by_hand,
            "floor": partial(start_floor, None),
        },
        size=1000,
        goals=(times_mode(0.6), *ELSEWHERE),
    ),
    Row(
        name="flat-stop",
        work="flat tree of 1,000, stop per service",
        codes={
            "services": stop_empty,
            "facet": stop_facet_empty,
            "hand": stop_by_hand,
            "floor": partial(stop_floor, None),
        },
        size=1000,
        goals=(times_mode(0.8), *ELSEWHERE),
    ),
    Row(
        name="chain",
        work="chain 200 deep, start and stop per service",
        codes={
            "services": chain,
            "facet": facet_chain,
            "hand": chain_by_hand,
            "floor": chain_of_the_floor,
        },
        size=200,
        goals=(times_mode(0.8), *ELSEWHERE),
    ),
)
