"""`MethodQueue` by itself: in an event loop of its owner, called from others."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest

from structmode import LifecycleError, Service
from structmode._engine import on_trio
from structmode.exceptions import CallAborted
from structmode.threads import MethodQueue, QueuedMethod

from .things import ON_ASYNCIO, Noting, here, until


async def test_called_from_a_thread(inside: str) -> None:
    """A queue in the owner's event loop takes calls of those in the thread, and answers them there."""
    queue, thread = MethodQueue(), Noting(backend=inside)
    async with queue, thread:
        assert await thread.call_thread(queue.perform, here) == here()
        with pytest.raises(ValueError, match="there"):
            await thread.call_thread(queue.perform, raising)


def raising() -> None:
    raise ValueError("there")


async def test_promise(inside: str) -> None:
    """`call` returns a promise at once, which can be awaited more than once."""
    async with MethodQueue() as queue:
        promise = await queue.call(None, lambda number: number + 1, 4)
        assert await promise == await promise == 5
        assert promise.done()


@ON_ASYNCIO
async def test_future_of_asyncio(inside: str) -> None:
    """As in mode, `call` fills a future that it is given; if that is cancelled, so is the call."""
    log: list[str] = []

    async def work() -> None:
        log.append("begins")
        try:
            await anyio.sleep_forever()
        finally:
            log.append("ends")

    async with MethodQueue() as queue, Noting(backend=inside) as thread:

        async def in_the_thread() -> Any:
            future = thread.loop.create_future()
            assert await queue.call(future, here) is future
            failed = thread.loop.create_future()
            await queue.call(failed, raising)
            with pytest.raises(ValueError, match="there"):
                await failed
            cancelled = thread.loop.create_future()
            await queue.call(cancelled, work)
            await until(lambda: log)
            cancelled.cancel()
            await until(lambda: len(log) == 2)
            return await future

        assert await thread.call_thread(in_the_thread) == here()
    assert log == ["begins", "ends"]


async def test_future_that_is_cancelled_already() -> None:
    """The call is made all the same, and the event loop of the caller has nothing to complain of."""
    if on_trio():
        return
    loop = asyncio.get_running_loop()
    complaints: list[object] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    future = loop.create_future()
    future.cancel()
    done: list[int] = []
    async with MethodQueue() as queue:
        assert await queue.call(future, done.append, 1) is future
    assert done == [1]
    assert complaints == []


async def test_as_a_dependency(inside: str) -> None:
    """It starts and stops with its owner, and does first what it has taken."""
    done: list[int] = []

    async def work() -> None:
        await anyio.sleep(0.005)
        done.append(1)

    class Owner(Service):
        def __post_init__(self) -> None:
            self.queue = self.add_dependency(MethodQueue(1))

    owner = Owner()
    async with owner:
        for _ in range(3):
            await owner.queue.cast(work)
    assert len(done) == 3
    with pytest.raises(LifecycleError, match="MethodQueue takes no calls: it is stopped"):
        await owner.queue.cast(work)


async def test_cut_short(inside: str) -> None:
    """What is not done in `drain_timeout` is cancelled, and what has not begun never is; both are told."""
    queue = MethodQueue(1)
    queue.drain_timeout = 0.01
    told: list[str] = []

    async def call() -> None:
        with pytest.raises(CallAborted):
            await queue.perform(anyio.sleep_forever)
        told.append("told")

    await queue.start()
    async with anyio.create_task_group() as group:
        group.start_soon(call)
        group.start_soon(call)
        await until(lambda: len(anyio.get_running_tasks()) > 3)
        await anyio.sleep(0.01)
        await queue.stop()
    assert told == ["told"] * 2


def test_at_least_one_worker() -> None:
    """A queue without workers is refused."""
    with pytest.raises(ValueError, match="at least one worker"):
        MethodQueue(0)


def test_queued_method() -> None:
    """`QueuedMethod` is mode's tuple."""
    assert QueuedMethod._fields == ("promise", "method", "args", "kwargs")
    assert QueuedMethod(None, print, (1,), {}) == (None, print, (1,), {})


async def test_promise_of_another_loop_gone(inside: str) -> None:
    """An answer that nobody can receive any more, because that event loop is over, harms nobody."""
    go = anyio.Event()
    async with MethodQueue(1) as queue:

        async def ask_and_go() -> None:
            await queue.call(None, go.wait)

        run = partial(anyio.run, ask_and_go, backend=inside.partition("+")[0])
        await anyio.to_thread.run_sync(run)
        go.set()
        assert await queue.perform(lambda: "alive") == "alive"


async def test_one_that_never_opened() -> None:
    """A subclass that leaves out what the base does at the start has no queue, and stops like any service."""

    class Closed(MethodQueue):
        async def on_start(self) -> None:
            pass

    async with Closed() as queue:
        with pytest.raises(LifecycleError, match="Closed"):
            await queue.perform(anyio.sleep, 0)
    assert queue.state == "shutdown"
