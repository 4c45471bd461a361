"""`MethodQueue` by itself: in an event loop of its owner, called from others."""

from __future__ import annotations

import asyncio
import gc
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest

from structmode import LifecycleError, Service
from structmode._engine import on_trio
from structmode.exceptions import CallAborted, EventLoopMismatch
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


async def test_flush(inside: str) -> None:
    """It does what waits, though the workers are busy, in order; what has begun goes on."""
    done: list[str] = []
    free = anyio.Event()
    async with MethodQueue(1) as queue:
        await queue.cast(free.wait)
        for name in ("first", "second"):
            await queue.cast(done.append, name)
        answer = await queue.call(None, raising)
        assert not done
        await queue.flush()
        assert done == ["first", "second"]
        with pytest.raises(ValueError, match="there"):
            await answer
        free.set()
    await queue.flush()
    await MethodQueue().flush()


async def test_flush_of_a_cast_that_fails() -> None:
    """Its failure leaves `flush`; those after it are done by the workers."""
    done: list[str] = []
    free = anyio.Event()
    async with MethodQueue(1) as queue:
        await queue.cast(free.wait)
        await queue.cast(raising)
        await queue.cast(done.append, "after it")
        with pytest.raises(ValueError, match="there"):
            await queue.flush()
        assert not done
        free.set()
    assert done == ["after it"]


async def test_flush_from_another_event_loop(inside: str) -> None:
    """It is refused: the calls are done in that of the queue."""
    async with MethodQueue() as queue, Noting(backend=inside) as thread:
        with pytest.raises(EventLoopMismatch, match=r"flush\(\) of MethodQueue"):
            await thread.call_thread(queue.flush)


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


# --- Promises that nobody awaits ------------------------------------------------------------------


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged about failures that nobody receives; each has its traceback."""
    records = [one for one in caplog.records if "nobody receives" in one.getMessage()]
    assert all(one.exc_info and one.exc_info[2] for one in records)
    return [one.getMessage() for one in records]


NOBODY = "A failure that nobody receives, in a call: ValueError('there')"


async def test_promise_dropped_after_the_failure(
    inside: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A failed call whose promise is dropped without having been awaited is logged, at once and once; the queue goes on."""
    async with Noting(backend=inside, num_workers=1) as thread:
        promise = await thread.method_queue.call(None, raising)
        await thread.call_thread(here)  # one after the other
        assert promise.done()
        assert told(caplog) == []
        del promise
        [message] = told(caplog)
        assert message.endswith(NOBODY)
        assert await thread.call_thread(lambda: "alive") == "alive"
    assert len(told(caplog)) == 1


async def test_promise_dropped_before_the_failure(
    inside: str, caplog: pytest.LogCaptureFixture
) -> None:
    """If the promise is dropped before the call has failed, that is logged when it does."""
    go = anyio.Event()

    async def work() -> None:
        await go.wait()
        raising()

    async with Noting(backend=inside) as thread, MethodQueue() as queue:

        async def call_and_forget() -> None:
            await queue.call(None, work)

        await thread.call_thread(call_and_forget)
        assert told(caplog) == []
        go.set()
        await until(lambda: told(caplog))
    assert len(told(caplog)) == 1


async def test_promises_that_are_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is logged of a failure that somebody has received, of a result, and of a call that is given up."""

    async def wait_until_cancelled() -> None:
        await anyio.sleep_forever()

    queue = MethodQueue(1)
    queue.drain_timeout = 0.01
    async with queue:
        promise = await queue.call(None, raising)
        for _ in range(2):
            with pytest.raises(ValueError, match="there"):
                await promise
        with pytest.raises(ValueError, match="there"):
            await (await queue.call(None, raising))
        with pytest.raises(ValueError, match="there"):
            await queue.perform(raising)
        await queue.call(None, here)
        with anyio.move_on_after(0.01):
            await (await queue.call(None, wait_until_cancelled))
        await queue.call(None, wait_until_cancelled)
        await queue.call(None, here)  # it is never begun
    with pytest.raises(LifecycleError, match="takes no calls"):
        await queue.call(None, raising)
    del promise
    gc.collect()
    assert told(caplog) == []


async def test_a_log_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A promise is dropped in the middle of anything, where a log that fails must do no harm."""
    asked: list[object] = []

    def refuse(*args: object, **kwargs: object) -> None:
        asked.append(args)
        raise RuntimeError("the log")

    async with MethodQueue(1) as queue:
        monkeypatch.setattr(queue.log, "error", refuse)
        promise = await queue.call(None, raising)
        await queue.perform(here)
        del promise
        assert asked
        await queue.call(None, raising)
        await until(lambda: len(asked) == 2)
        assert await queue.perform(lambda: "alive") == "alive"


async def test_an_error_that_the_call_got_from_another(caplog: pytest.LogCaptureFixture) -> None:
    """What a call raises because another one was given up, or something that it awaited was cancelled, is its failure."""

    async def ask() -> None:
        other = MethodQueue(1)
        other.drain_timeout = 0.0
        async with other:
            promise = await other.call(None, anyio.sleep_forever)
        await promise

    async with MethodQueue(1) as queue:
        await queue.call(None, ask)
        await until(lambda: told(caplog))
    [message] = told(caplog)
    assert "CallAborted" in message


async def test_awaiting_something_cancelled_is_a_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On asyncio, a call that awaits what somebody else has cancelled has failed, though nothing was raised in it."""
    if on_trio():
        return

    async def work() -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    async with MethodQueue(1) as queue:
        await queue.call(None, work)
        await until(lambda: "TaskCancelled" in caplog.text)


async def test_future_of_another_loop_gone(caplog: pytest.LogCaptureFixture) -> None:
    """A failure for a future whose event loop is over is logged, unless the future had a result by then."""
    go = anyio.Event()
    futures: list[asyncio.Future[object]] = []

    async def work() -> None:
        await go.wait()
        raising()

    async with MethodQueue(2) as queue:

        async def ask_and_go() -> None:
            futures.extend(asyncio.get_running_loop().create_future() for _ in range(2))
            for future in futures:
                await queue.call(future, work)
            futures[0].set_result("of somebody else")

        await anyio.to_thread.run_sync(partial(anyio.run, ask_and_go))
        assert told(caplog) == []
        go.set()
        await until(lambda: told(caplog))
    [message] = told(caplog)
    assert message.endswith(NOBODY)


async def test_one_that_never_opened() -> None:
    """A subclass that leaves out what the base does at the start has no queue, and stops like any service."""

    class Closed(MethodQueue):
        async def on_start(self) -> None:
            pass

    async with Closed() as queue:
        with pytest.raises(LifecycleError, match="Closed"):
            await queue.perform(anyio.sleep, 0)
    assert queue.state == "shutdown"
