"""Futures and tasks: what works on every event loop, and what says that it needs asyncio."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
import pytest

from structmode import Service
from structmode.exceptions import AsyncioRequired, EventLoopMismatch
from structmode.utils import futures
from structmode.utils.futures import (
    all_tasks,
    current_task,
    done_future,
    maybe_async,
    maybe_cancel,
    maybe_set_exception,
    maybe_set_result,
    notify,
)

on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])
on_trio = pytest.mark.parametrize("anyio_backend", ["trio"])


# --- maybe_async ----------------------------------------------------------------------------------


async def test_what_can_be_awaited_is_and_what_cannot_is_returned() -> None:
    """A coroutine, another awaitable, and any object."""

    async def work() -> str:
        return "async"

    class Later:
        def __await__(self) -> Any:
            return work().__await__()

    assert await maybe_async(work()) == "async"
    assert await maybe_async(Later()) == "async"
    assert await maybe_async("plain") == "plain"
    nothing: Any = None
    assert await maybe_async(nothing) is None


async def test_maybe_async_raises_what_is_raised() -> None:
    """As it was raised."""

    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await maybe_async(fail())


@pytest.mark.parametrize("kind", ["coroutine", "object"])
async def test_maybe_async_is_a_checkpoint(kind: str) -> None:
    """A cancelled one leaves no coroutine that was never awaited, and has not begun it."""
    begun: list[str] = []

    async def work() -> None:
        begun.append("work")  # pragma: no cover - it does not begin

    with anyio.CancelScope() as scope:
        scope.cancel()
        await maybe_async(work() if kind == "coroutine" else None)
    assert scope.cancelled_caught
    assert begun == []


# --- Futures, with or without an outcome ----------------------------------------------------------


class Kinds:
    """Makes futures of each kind, and tells what has become of them."""

    @staticmethod
    def anyio() -> Any:
        return anyio.Future[Any]()

    @staticmethod
    def concurrent() -> Any:
        return concurrent.futures.Future[Any]()

    @staticmethod
    def asyncio() -> Any:
        return asyncio.get_running_loop().create_future()


async def outcome(future: Any) -> Any:
    """Return the result of a future, or the exception that it has."""
    if isinstance(future, anyio.Future):
        return future.return_value if future.status.name == "FINISHED" else future.exception
    return future.exception() or future.result()


KINDS = ["anyio", "concurrent"]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_outcome_is_set_once(kind: str) -> None:
    """The first one counts; the functions say whether they have set it; None is no future."""
    result, error = getattr(Kinds, kind)(), getattr(Kinds, kind)()
    failure = ValueError("no")
    assert maybe_set_result(result, 1)
    assert not maybe_set_result(result, 2)
    assert not maybe_set_exception(result, failure)
    assert maybe_set_exception(error, failure)
    assert not maybe_set_result(error, 1)
    assert (await outcome(result), await outcome(error)) == (1, failure)
    assert not maybe_cancel(result)
    assert not maybe_set_result(None, 1)
    assert not maybe_set_exception(None, failure)
    assert not maybe_cancel(None)


@on_asyncio
async def test_asyncio_futures_too() -> None:
    """The same for those of asyncio."""
    await test_an_outcome_is_set_once("asyncio")
    future = Kinds.asyncio()
    assert maybe_cancel(future)
    assert future.cancelled()
    assert not maybe_cancel(future)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_future_can_be_cancelled_once(kind: str) -> None:
    """`maybe_cancel` says whether there was something to cancel."""
    future = getattr(Kinds, kind)()
    assert maybe_cancel(future)
    assert not maybe_cancel(future)
    assert not maybe_set_result(future, 1)


async def test_notify_wakes_who_waits() -> None:
    """With a result or without; a second time, and None, do nothing."""
    future: anyio.Future[Any] = anyio.Future()
    async with anyio.create_task_group() as group:
        handle = group.start_soon(future.wait)
        await anyio.wait_all_tasks_blocked()
        notify(future, "now")
        await handle
    notify(future)
    notify(None)
    assert future.return_value == "now"


async def test_tasks_can_be_cancelled() -> None:
    """The handle of an anyio task, and that of a service's future."""
    async with anyio.create_task_group() as group:
        handle = group.start_soon(anyio.sleep_forever)
        assert maybe_cancel(handle)
        with pytest.raises(anyio.TaskCancelled):
            await handle
        assert not maybe_cancel(handle)
    service = Service()
    service.mundane_level = "debug"
    async with service:
        task = service.add_future(anyio.sleep_forever())
        assert maybe_cancel(task)
        with pytest.raises(anyio.TaskCancelled):
            await task
        assert not maybe_cancel(task)


@on_asyncio
async def test_a_foreign_thread_is_refused() -> None:
    """Whoever waits would not be woken; the error names the call that wakes them."""
    future = Kinds.asyncio()
    calls: list[Callable[[], object]] = [
        lambda: notify(future),
        lambda: maybe_set_exception(future, ValueError()),
        lambda: maybe_cancel(future),
    ]
    for call in calls:
        with pytest.raises(EventLoopMismatch, match="call_soon_threadsafe"):
            await anyio.to_thread.run_sync(call)
    asyncio.get_running_loop().call_soon_threadsafe(notify, future, 1)
    assert await future == 1


def test_a_future_whose_loop_does_not_run_can_be_set_anywhere() -> None:
    """Nobody is asleep."""
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    thread = threading.Thread(target=notify, args=(future, 1))
    thread.start()
    thread.join()
    assert loop.run_until_complete(future) == 1
    loop.close()


# --- What needs asyncio ---------------------------------------------------------------------------


@on_asyncio
async def test_tasks_of_asyncio() -> None:
    """The running task, and all of a loop, as asyncio has them."""
    loop = asyncio.get_running_loop()
    assert current_task() is current_task(loop) is asyncio.current_task()
    assert all_tasks() == all_tasks(loop) == asyncio.all_tasks()
    assert current_task() in all_tasks()


@on_asyncio
async def test_the_tasks_of_another_loop() -> None:
    """A loop that is given is looked at from wherever."""
    loop = asyncio.get_running_loop()
    assert await anyio.to_thread.run_sync(current_task, loop) is None  # it waits
    assert asyncio.current_task() in await anyio.to_thread.run_sync(all_tasks, loop)


def test_no_task_runs_where_no_loop_does() -> None:
    """`current_task` is None there, as the manual of mode has it."""
    assert current_task() is None


@on_asyncio
async def test_a_future_that_is_done() -> None:
    """It has its result already."""
    assert await done_future() is None
    assert done_future("a").result() == "a"
    loop = asyncio.get_running_loop()
    assert (await anyio.to_thread.run_sync(lambda: done_future(1, loop=loop))).get_loop() is loop


CALLS: dict[str, Callable[[], object]] = {
    "anyio.get_running_tasks()": all_tasks,
    "anyio.get_current_task()": current_task,
    "anyio.Future": done_future,
}


@on_trio
@pytest.mark.parametrize("instead", CALLS)
async def test_on_trio_they_name_what_works_there(instead: str) -> None:
    """The error says that it needs asyncio, and what works on every backend."""
    with pytest.raises(AsyncioRequired, match="needs asyncio") as caught:
        CALLS[instead]()
    assert instead in str(caught.value)
    assert instead in caught.value.instead
    assert isinstance(caught.value, RuntimeError)


@pytest.mark.parametrize("call", [all_tasks, done_future])
def test_without_a_loop_they_say_so(call: Callable[[], object]) -> None:
    """What can't be answered there is an error."""
    with pytest.raises(AsyncioRequired, match="does not run here"):
        call()


def test_what_there_is() -> None:
    """Each public name of mode's module is there."""
    assert {"stampede", "StampedeWrapper", "notify", "current_task"} <= set(futures.__all__)


@pytest.mark.parametrize("outcome", ["result", "exception"])
def test_another_thread_may_be_faster(outcome: str) -> None:
    """A future that gets its outcome in the instant after it was asked for it has just ended."""

    class Raced(concurrent.futures.Future[int]):
        def done(self) -> bool:
            done = super().done()
            if not done:  # pragma: no branch - it is asked again afterwards
                self.set_result(1)
            return done

    future = Raced()
    gives: Callable[[Any], bool] = (
        (lambda f: maybe_set_result(f, 2))
        if outcome == "result"
        else (lambda f: maybe_set_exception(f, ValueError("no")))
    )
    assert gives(future) is False
    assert future.result() == 1
