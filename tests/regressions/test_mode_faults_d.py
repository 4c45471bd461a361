"""The faults of mode's threads, by their numbers in the survey: each test states the opposite of one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from structmode import LifecycleError, Service
from structmode.threads import MethodQueue, QueueServiceThread, ServiceThread


class Thread(QueueServiceThread):
    """A service thread that can be looked at."""

    def living(self) -> list[threading.Thread]:
        return [t for t in threading.enumerate() if getattr(t, "service", None) is self]


# --- D1: a ServiceThread cannot restart -----------------------------------------------------------


@pytest.mark.fault("D1")
async def test_d01_restart() -> None:
    """It restarts, as often as need be, and each time has an event loop that is open."""
    async with Thread() as service:
        for round_ in range(3):
            await service.restart()
            assert service.restart_count == round_ + 1
            assert await service.call_thread(lambda: 1) == 1


@pytest.mark.fault("D1")
async def test_d01_start_after_stop() -> None:
    """It starts again after a stop."""
    service = Thread()
    for _ in range(2):
        await service.start()
        assert await service.call_thread(lambda: 1) == 1
        await service.stop()


@pytest.mark.fault("D1")
async def test_d01_restart_after_crash() -> None:
    """It starts again after a crash, which is what a supervisor asks for."""
    service = Thread()
    with pytest.raises(ValueError, match="crash"):
        async with service:
            await service.crash(ValueError("crash"))
            await anyio.sleep_forever()
    async with service:
        assert await service.call_thread(lambda: 1) == 1


# --- D2: stop() joins synchronously and freezes the parent's loop ---------------------------------


@pytest.mark.fault("D2")
@pytest.mark.parametrize("place", ["hook", "task", "context"])
async def test_d02_stop_does_not_block(place: str) -> None:
    """While the thread takes its time to stop, wherever that is, the owner's event loop goes on."""
    go = threading.Event()

    @contextmanager
    def slow_to_leave() -> Generator[None]:
        yield
        go.wait()

    class Slow(Thread):
        async def on_start(self) -> None:
            if place == "context":
                self.add_context(slow_to_leave())

        @Service.task
        async def work(self) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                if place == "task":
                    go.wait()

        async def on_thread_stop(self) -> None:
            if place == "hook":
                go.wait()

    service = Slow()
    await service.start()
    async with anyio.create_task_group() as group:
        group.start_soon(service.stop)
        for _ in range(100):
            await anyio.lowlevel.checkpoint()
        assert service.living()
        go.set()
    assert not service.living()


@pytest.mark.fault("D2")
async def test_d02_cleanup_that_needs_the_parent() -> None:
    """What the thread has to put away may need the parent's event loop."""
    queue = MethodQueue()
    told: list[str] = []

    class Polite(Thread):
        async def on_thread_stop(self) -> None:
            await queue.perform(told.append, "goodbye")

    async with queue:
        async with Polite():
            pass
    assert told == ["goodbye"]


# --- D3: call_thread after stop; cast() touches the queue across threads --------------------------


@pytest.mark.fault("D3")
async def test_d03_call_after_stop() -> None:
    """A call after the stop, or before the start, is an error that says what to do."""
    service = Thread()
    for _ in range(2):
        with pytest.raises(LifecycleError, match=r"takes no calls.*Start it first"):
            await service.call_thread(lambda: 1)
        async with service:
            pass


@pytest.mark.fault("D3")
async def test_d03_call_with_a_timeout() -> None:
    """A call can be given up, and what it has begun ends then."""
    log: list[str] = []

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            log.append("ends")

    async with Thread() as service:
        with anyio.move_on_after(0.02) as scope:
            await service.call_thread(work)
        assert scope.cancelled_caught
        assert log == ["ends"]


async def in_a_loop_of_its_own(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do some work in an event loop in a thread."""

    def run() -> None:
        anyio.run(work)

    await anyio.to_thread.run_sync(run)


@pytest.mark.fault("D3")
async def test_d03_casts_from_many_threads() -> None:
    """Casts from many event loops at once arrive, each once, and in the order of each loop."""
    arrived: list[tuple[int, int]] = []

    async with Thread(num_workers=1) as service:

        async def cast(place: int) -> None:
            for number in range(50):
                await service.cast_thread(arrived.append, (place, number))

        async with anyio.create_task_group() as group:
            for place in range(4):
                group.start_soon(in_a_loop_of_its_own, partial(cast, place))
    for place in range(4):
        assert [number for one, number in arrived if one == place] == list(range(50))


# --- D4: futures of the parent's loop are set from the thread -------------------------------------


@pytest.mark.fault("D4")
async def test_d04_nobody_polls() -> None:
    """A crash wakes the owner at once, from the thread, without a poll: no task of its own wakes up meanwhile."""
    error = ValueError("in the thread")

    class Failing(Thread):
        go = threading.Event()

        async def fail(self) -> None:
            await anyio.to_thread.run_sync(self.go.wait)
            raise error

    service = Failing()
    with pytest.raises(ValueError, match="in the thread") as caught:
        async with service:
            await service.cast_thread(service.fail)
            service.go.set()
            await anyio.Event().wait()
    assert caught.value is error


@pytest.mark.fault("D4")
async def test_d04_failed_start() -> None:
    """start() raises what failed in the thread, and neither hangs nor leaves a thread."""

    class Failing(Thread):
        async def on_start(self) -> None:
            raise ValueError("in the thread")

    service = Failing()
    with pytest.raises(ValueError, match="in the thread"):
        await service.start()
    assert not service.living()


# --- D5: a thread that is no daemon blocks the exit -----------------------------------------------


@pytest.mark.fault("D5")
async def test_d05_daemon() -> None:
    """The thread is a daemon, so it can't keep the process from ending; see also tests/threads/test_stuck.py."""

    class Parent(Service):
        def __post_init__(self) -> None:
            self.thread = self.add_dependency(Thread())

    async with Parent() as parent:
        (thread,) = parent.thread.living()
        assert thread.daemon
    assert isinstance(parent.thread, ServiceThread)
