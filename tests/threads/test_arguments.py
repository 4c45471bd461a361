"""What a thread service is made with."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from structmode import LifecycleError, Service
from structmode._engine import on_trio
from structmode.testing import VirtualClock, virtual_backend
from structmode.threads import MethodQueue, QueueServiceThread, ServiceThread, WorkerThread

from .things import Noting, Plain, threads_of, until


def test_names_of_mode() -> None:
    """The names and the settings of mode's module are there."""
    assert not ServiceThread.abstract
    assert not QueueServiceThread.abstract
    assert ServiceThread.Worker is WorkerThread
    assert ServiceThread.wait_for_thread
    assert ServiceThread.last_wakeup_at == 0.0
    assert issubclass(QueueServiceThread, ServiceThread)
    assert issubclass(WorkerThread, threading.Thread)


def test_no_event_loop_needed() -> None:
    """It can be made anywhere, and asked for its state."""
    service = QueueServiceThread(executor=None, loop=None, thread_loop=None, Worker=None)
    assert service.state == "init"
    assert not service.started
    assert not service.crashed
    assert not service.should_stop
    assert repr(service) == "<QueueServiceThread: init>"
    assert service.method_queue.state == "init"


def test_not_initialised() -> None:
    """One whose `__init__` forgot to call that of its base says so when it is used."""

    class Forgetful(ServiceThread):
        def __init__(self) -> None:
            pass

    with pytest.raises(LifecycleError, match=r"must call super\(\).__init__"):
        _ = Forgetful().state


def test_executor_refused() -> None:
    """An executor is refused, in words that say what to pass instead."""
    with pytest.raises(TypeError, match="takes no executor"):
        Plain(executor=object())


@pytest.mark.parametrize(("backend", "error"), [("curio", ValueError), (5, TypeError)])
def test_a_backend_that_there_is_not(backend: Any, error: type[Exception]) -> None:
    """It is refused when the service is made."""
    with pytest.raises(error, match="backend"):
        Plain(backend=backend)
    with pytest.raises(error, match="backend"):
        type("Wrong", (Plain,), {"backend": backend})()


@pytest.mark.parametrize("number", [2.5, float("inf"), float("nan"), "2", None])
def test_a_number_of_workers_that_is_not_whole(number: Any) -> None:
    """It is refused when the queue is made."""
    with pytest.raises(TypeError, match="a whole number of workers, not"):
        MethodQueue(number)


def test_hooks_are_checked() -> None:
    """A hook of the thread that is not async is refused while the class is made."""
    with pytest.raises(TypeError, match="must be async"):

        class Wrong(ServiceThread):
            def on_thread_stop(self) -> None:  # type: ignore[override]  # pragma: no cover - the class is refused
                pass


async def test_thread_made_by_hand() -> None:
    """The thread is made by the start alone."""
    service = Plain()
    with pytest.raises(LifecycleError, match="made by its start"):
        WorkerThread(service)


async def test_worker_stop() -> None:
    """`WorkerThread.stop` waits for the end of the thread; for others than event loops."""
    service = Plain()
    await service.start()
    (thread,) = threads_of(service)
    assert isinstance(thread, WorkerThread)
    assert thread.service is service
    assert not thread.is_stopped.is_set()
    await service.stop()
    thread.stop()
    assert thread.is_stopped.is_set()


async def test_thread_loop() -> None:
    """`thread_loop` is the asyncio event loop of the thread, while it runs; and on trio there is none."""
    service = Noting()
    with pytest.raises(LifecycleError, match="has no asyncio event loop"):
        _ = service.thread_loop
    async with service:
        loop = service.thread_loop
        assert await service.call_thread(lambda: service.loop) is loop
        future = asyncio.run_coroutine_threadsafe(asyncio.sleep(0, "from outside"), loop)
        await until(future.done)
        assert future.result() == "from outside"
    assert loop.is_closed()
    with pytest.raises(LifecycleError, match="has no asyncio event loop"):
        _ = service.thread_loop
    async with Noting(backend="trio") as other:
        with pytest.raises(LifecycleError, match="has no asyncio event loop"):
            _ = other.thread_loop


async def test_parent_loop(inside: str) -> None:
    """`parent_loop` is the asyncio event loop of the owner, while the service runs, in all its hooks; and on trio there is none."""
    seen: list[object] = []

    class Telling(Noting):
        async def on_start(self) -> None:
            self.look()

        async def on_shutdown(self) -> None:
            self.look()

        def look(self) -> None:
            try:
                seen.append(self.parent_loop)
            except LifecycleError as exc:
                assert str(exc).startswith("Telling has no asyncio event loop of an owner now")
                seen.append(None)

    service = Telling(backend=inside)
    service.look()
    async with service:
        if not on_trio():
            told = asyncio.run_coroutine_threadsafe(asyncio.sleep(0, "told"), service.parent_loop)
            await until(told.done)
            assert told.result() == "told"
    service.look()
    own = None if on_trio() else asyncio.get_running_loop()
    assert seen == [None, own, own, None]


async def test_parent_loop_after_a_failed_start() -> None:
    """There is none, as before the start."""

    class Failing(Noting):
        async def on_start(self) -> None:
            raise ValueError("no")

    service = Failing()
    with pytest.raises(ValueError, match="no"):
        await service.start()
    with pytest.raises(LifecycleError, match="has no asyncio event loop of an owner now"):
        _ = service.parent_loop


async def test_given_thread_loop() -> None:
    """A loop that is passed in runs in the thread, and is closed with it; a restart takes another."""
    loop = asyncio.new_event_loop()
    service = Noting(thread_loop=loop)
    assert service.thread_loop is loop
    async with service:
        assert await service.call_thread(asyncio.get_running_loop) is loop
        await service.restart()
        assert loop.is_closed()
        assert await service.call_thread(asyncio.get_running_loop) is not loop


def test_thread_loop_on_trio() -> None:
    """A loop for trio is refused."""
    with pytest.raises(ValueError, match="thread_loop is an event loop of asyncio"):
        Plain(backend="trio", thread_loop=object())


async def test_backend_of_the_class(inside: str) -> None:
    """The backend may be a class attribute."""

    class OnTrio(Noting):
        backend = "trio"

    async with OnTrio() as service:
        kind = await service.call_thread(lambda: anyio.lowlevel.current_token().backend_class)
        assert kind.__module__.endswith("_trio")


@asynccontextmanager
async def virtual_time() -> AsyncIterator[None]:
    """Make time virtual, in a task of its own."""
    with VirtualClock():
        yield


@pytest.mark.parametrize("name", ["asyncio", "trio"])
async def test_virtual_clock_in_the_thread(name: Any) -> None:
    """The time of the thread can be virtual, whatever that of its owner is."""

    class Sleeper(Noting):
        async def on_start(self) -> None:
            await self.add_async_context(virtual_time())

        @Service.task
        async def work(self) -> None:
            await self.sleep(86400.0)
            self.note("a day later")

    async with Sleeper(**virtual_backend(name)) as service:
        await until(lambda: "a day later" in service.calls)


@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_virtual_clock_of_the_owner(name: Any) -> None:
    """While the owner's time is virtual, so is that of a thread which is started then, and it is the same."""

    async def main() -> float:
        with VirtualClock() as clock:
            async with Noting() as service:
                with anyio.fail_after(3600):
                    await service.call_thread(anyio.sleep, 0.05)
                    await service.restart()
            await anyio.sleep(10.0)
            return clock.elapsed

    assert anyio.run(main, **virtual_backend(name)) == pytest.approx(10.05)
