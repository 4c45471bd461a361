"""What is done for one of many takes no more instructions than for one of few: in those of Python's own machine."""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import anyio.lowlevel
import pytest

from benchmarks.counting import Tracer
from benchmarks.topics import spawning, trees
from structmode import OneForAllSupervisor, OneForOneSupervisor, Service, Signal

#: What the next one may take among many, where it takes 1 among few.
MORE = 1.25
ANY_NUMBER = 1e9


class Fragile(Service):
    """A service that crashes when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.fuse, self.up = anyio.Event(), anyio.Event()

    async def on_start(self) -> None:
        self.fuse = anyio.Event()
        self.up.set()

    @Service.task
    async def _wait_for_it(self) -> None:
        await self.fuse.wait()
        raise ValueError


async def crash(one: Fragile) -> None:
    """Have one crash, and wait until it is up again, and all is quiet."""
    one.up = anyio.Event()
    one.fuse.set()
    await one.up.wait()
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


async def restarts(count: int) -> None:
    """Have each of many services crash, one after the other; only that one is restarted."""
    fragile = [Fragile() for _ in range(count)]
    async with OneForOneSupervisor(*fragile, max_restarts=ANY_NUMBER):
        for one in fragile:
            await crash(one)


async def restart_of_all(count: int) -> None:
    """Have the last of many services crash, and all be restarted."""
    fragile = [Fragile() for _ in range(count)]
    async with OneForAllSupervisor(*fragile):
        fragile[0].up = anyio.Event()
        await crash(fragile[-1])


async def come_and_go(count: int) -> None:
    """Give services to a running supervisor, and take them away again."""
    async with OneForOneSupervisor() as supervisor:
        services = [Service() for _ in range(count)]
        for one in services:
            supervisor.add(one)
            while one.state != "running":
                await anyio.lowlevel.checkpoint()
        supervisor.discard(*services)


async def wait_for_all(count: int) -> None:
    """Wait for many coroutines."""
    async with Service() as service:
        await service.wait_many([anyio.sleep(0) for _ in range(count)])


async def flat_tree(count: int) -> None:
    """Start many children, and stop them."""
    _ = await trees.start_and_stop(trees.tree_of(trees.Sleeper, count))


async def futures(count: int) -> None:
    """Have many futures at the same time."""
    _ = await spawning.add_future(count, together=count)


async def composition(depth: int) -> None:
    """Make services each of which is below another."""
    service = Service()
    for _ in range(depth):
        service = service.add_dependency(Service())


async def connections(count: int) -> None:
    """Connect many receivers to a signal, each to all senders and to one, and disconnect them."""
    signal: Signal[object] = Signal()
    receivers = [partial(Service) for _ in range(count)]
    for sender in (None, Service()):
        for receiver in receivers:
            signal.connect(receiver, sender=sender)
        for receiver in receivers:
            signal.disconnect(receiver, sender=sender)


async def connections_of_one(count: int) -> None:
    """Connect one receiver to many senders, and disconnect it."""
    signal: Signal[object] = Signal()
    senders = [Service() for _ in range(count)]
    for sender in senders:
        signal.connect(Service, sender=sender)
    for sender in senders:
        signal.disconnect(Service, sender=sender)


def instructions(work: Callable[[int], Awaitable[None]], count: int, backend: str) -> int:
    """Return how many it takes in all."""
    tracer, before = Tracer(), sys.gettrace()
    sys.settrace(tracer.called)
    try:
        anyio.run(work, count, backend=backend)
    finally:
        sys.settrace(before)
    return tracer.count


@pytest.fixture(autouse=True)
def no_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have trio take tasks in the order in which they may go on.

    It turns that round every other time, and draws it where Hypothesis is about; either takes longer, by chance.
    """
    monkeypatch.setattr("trio._core._run._r.random", lambda: 1.0)
    monkeypatch.setattr("trio._core._run._r.shuffle", list[object].reverse)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    "work",
    [
        restarts,
        restart_of_all,
        come_and_go,
        wait_for_all,
        flat_tree,
        futures,
        composition,
        connections,
        connections_of_one,
    ],
)
def test_one_of_many(work: Callable[[int], Awaitable[None]], backend: str) -> None:
    """Twice as many take twice as much."""
    gc.collect()
    _ = instructions(work, 80, backend)  # what has never been traced, Python 3.12 does not count
    taken = {count: instructions(work, count, backend) for count in (10, 20, 40, 80)}
    among_few = (taken[20] - taken[10]) / 10
    among_many = (taken[80] - taken[40]) / 40
    assert among_many < MORE * among_few
