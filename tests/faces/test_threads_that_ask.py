"""Work that waits for a thread which asks anyio whether its caller has been cancelled: it ends as any other does."""

from __future__ import annotations

import time

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from structmode import Service, ServiceThread, ShutdownTimeout
from structmode.exceptions import StartAborted
from structmode.supervisors import Backoff
from structmode.threads import QueueServiceThread


class Poll:
    """Blocks a thread until its caller is cancelled."""

    def __init__(self) -> None:
        self.begun = anyio.Event()

    def _block(self) -> None:
        anyio.from_thread.run_sync(self.begun.set)
        while True:
            anyio.from_thread.check_cancelled()
            time.sleep(0.001)

    async def __call__(self) -> None:
        await anyio.to_thread.run_sync(self._block)


async def test_a_task() -> None:
    """A stop is no failure of it."""
    poll = Poll()
    async with Service() as service:
        task = service.add_future(poll())
        await poll.begun.wait()
    assert task.cancelled()
    assert service.failures == ()


async def test_a_task_with_a_policy(caplog: pytest.LogCaptureFixture) -> None:
    """Nor is it one for a policy."""
    poll = Poll()

    class Polling(Service):
        @Service.task(on_error="restart", backoff=Backoff(initial=0.0))
        async def work(self) -> None:
            await poll()

    async with Polling():
        await poll.begun.wait()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_task_that_is_cancelled_alone() -> None:
    """Its service goes on."""
    poll = Poll()
    async with Service() as service:
        task = service.add_future(poll())
        await poll.begun.wait()
        task.cancel()
        with pytest.raises(anyio.TaskCancelled):
            await task
        assert service.state == "running"


async def test_a_start() -> None:
    """It is called off, and undone."""
    poll = Poll()

    class Starting(Service):
        async def on_start(self) -> None:
            await poll()

    service = Starting()
    async with anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises(StartAborted):
                await service.start()

        group.start_soon(start)
        await poll.begun.wait()
        await service.stop()
    assert service.state == "init"


async def test_a_start_that_is_cancelled() -> None:
    """The cancellation goes on."""
    poll = Poll()

    class Starting(Service):
        async def on_start(self) -> None:
            await poll()

    async with anyio.create_task_group() as group:

        async def hold() -> None:
            async with Starting():
                pytest.fail("it has started")

        group.start_soon(hold)
        await poll.begun.wait()
        group.cancel_scope.cancel()
    assert group.cancel_scope.cancelled_caught


async def test_a_hook_that_takes_too_long() -> None:
    """The time of the stop ends it, and the error says where it stood."""
    poll = Poll()

    class Slow(Service):
        shutdown_timeout = 0.02

        async def on_stop(self) -> None:
            await poll()

    with pytest.raises(ShutdownTimeout) as caught:
        async with Slow():
            pass
    assert [stuck.task for stuck in caught.value.stuck] == ["on_stop"]


async def test_a_wait() -> None:
    """Its timeout is no failure."""
    async with Service() as service:
        assert (await service.wait(Poll(), timeout=0.01)).timed_out
        assert (await service.wait_first(Poll(), anyio.Event(), timeout=0.01)).timed_out


async def test_a_call_of_a_thread() -> None:
    """Its caller may be cancelled."""
    async with QueueServiceThread() as queue:
        with anyio.move_on_after(0.05) as scope:
            await queue.call_thread(anyio.to_thread.run_sync, block_until_cancelled)
        assert scope.cancelled_caught
        assert queue.state == "running"


def block_until_cancelled() -> None:
    """Block the calling thread until its caller is cancelled."""
    while True:
        anyio.from_thread.check_cancelled()
        time.sleep(0.001)


async def test_a_thread_that_stops_the_service() -> None:
    """So it may from anywhere; its caller ends with the service."""

    class Stopping(Service):
        @Service.task
        async def work(self) -> None:
            await anyio.to_thread.run_sync(lambda: anyio.from_thread.run(self.stop))

    async with Stopping() as service:
        await service.wait_until_stopped()
    assert service.failures == ()


async def test_a_task_in_a_thread_of_its_own() -> None:
    """All of that holds in a `ServiceThread`."""

    class Polling(ServiceThread):
        begun = False

        @Service.task
        async def work(self) -> None:
            self.begun = True
            await anyio.to_thread.run_sync(block_until_cancelled)

    async with Polling() as service:
        while not service.begun:
            await anyio.sleep(0.001)
    assert service.failures == ()
