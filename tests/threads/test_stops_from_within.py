"""Stops that begin in the thread, by a hook or by who cancels tasks there: the owner is told, and does what any owner does."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import anyio
import pytest

from structmode import Service, StartAborted

from .things import ON_ASYNCIO, START, STOP, Noting, threads_of, until


class Leaving(Noting):
    """Stops itself as the last step of its start, and fails in that stop if it is told to."""

    error: BaseException | None = None

    async def on_thread_started(self) -> None:
        self.note("on_thread_started")
        await self.stop()

    async def on_stop(self) -> None:
        self.note("on_stop")
        if self.error is not None:
            raise self.error


class NotWaitedFor(Leaving):
    """Its owner does not wait until it has come up."""

    wait_for_thread = False


# --- By a hook --------------------------------------------------------------------------------------


async def test_a_hook_stops_what_its_owner_takes_for_up(inside: str) -> None:
    """The owner, who has not waited for the start, is told of the stop, and no thread is left."""
    service = NotWaitedFor(backend=inside)
    await service.start()
    with anyio.move_on_after(5):
        await until(lambda: not service.started)
    assert not service.started
    assert service.state == "shutdown"
    assert service.calls == ["on_first_start", *START, *STOP]
    assert not threads_of(service)


@pytest.mark.parametrize("kind", [Leaving, NotWaitedFor])
async def test_a_stop_that_nobody_waits_for_fails(
    inside: str, kind: type[Leaving], caplog: pytest.LogCaptureFixture
) -> None:
    """What goes wrong in it leaves the owner's block, as it was raised; it is logged once, as a failure of a stop."""
    service = kind(backend=inside)
    service.error = error = ValueError("gone wrong")
    with anyio.fail_after(5):
        with pytest.raises(ValueError, match="gone wrong") as caught:
            async with service:
                await anyio.sleep_forever()
    assert caught.value is error
    assert service.failures == (error,)
    (told,) = (text for text in caplog.messages if "gone wrong" in text)
    assert "Failed while stopping, in on_stop" in told
    assert service.calls[-3:] == STOP
    assert not threads_of(service)


async def test_a_start_that_is_called_off_and_badly_undone(inside: str) -> None:
    """A start that the owner calls off ends as such, whatever goes wrong while it is undone; that is kept."""
    error = ValueError("while undone")

    class Slow(Noting):
        async def on_started(self) -> None:
            self.note("on_started")
            await anyio.sleep_forever()

        async def on_stop(self) -> None:
            self.note("on_stop")
            raise error

    service = Slow(backend=inside)
    async with anyio.create_task_group() as group:

        async def stop() -> None:
            await until(lambda: "on_started" in service.calls)
            with suppress(ValueError):
                await service.stop()

        _ = group.start_soon(stop)
        with pytest.raises(StartAborted, match="Slow was stopped before it had started"):
            await service.start()
    assert service.failures == (error,)
    assert service.calls[-3:] == STOP
    assert not threads_of(service)


# --- By who cancels tasks ---------------------------------------------------------------------------


@ON_ASYNCIO
async def test_a_task_that_is_cancelled_in_the_thread(inside: str) -> None:
    """Whoever cancels a task of the service stops it; but not before the owner has time for that."""
    stopping = threading.Event()
    tasks: list[asyncio.Task[object] | None] = []

    class Cancelled(Noting):
        async def on_started(self) -> None:
            self.note("on_started")
            self.add_future(self.work())

        async def work(self) -> None:
            tasks.append(asyncio.current_task())
            await anyio.sleep_forever()

        async def on_stop(self) -> None:
            self.note("on_stop")
            stopping.set()

    service = Cancelled(backend=inside)
    await service.start()
    await until(lambda: tasks)
    (task,) = tasks
    assert task is not None
    service.thread_loop.call_soon_threadsafe(task.cancel)
    assert not stopping.wait(0.1)  # nothing else runs in the owner's event loop meanwhile
    with anyio.move_on_after(5):
        await until(lambda: not service.started)
    assert service.state == "shutdown"
    assert service.calls[-3:] == STOP
    assert not threads_of(service)


@ON_ASYNCIO
async def test_the_task_that_takes_messages_is_cancelled(inside: str) -> None:
    """Nothing from the owner would arrive any more, so all in the thread stops in order, and the owner is told."""

    class Lively(Noting):
        async def on_start(self) -> None:
            self.note("on_start")
            self.porters = [task for task in asyncio.all_tasks() if task.get_name() == "porter"]

    service = Lively(backend=inside)
    await service.start()
    for porter in service.porters:
        service.thread_loop.call_soon_threadsafe(porter.cancel)
    with anyio.move_on_after(5):
        await until(lambda: not service.started)
    assert not service.started
    assert service.state == "shutdown"
    assert service.failures == ()
    assert service.calls == ["on_first_start", *START, *STOP]
    assert not threads_of(service)


# --- In its turn ------------------------------------------------------------------------------------


async def test_a_start_that_fails_unattended_is_stopped_in_its_turn(inside: str) -> None:
    """What has failed to come up in its thread stays what its owner has started, until those above have stopped."""
    seen: list[bool] = []

    class Failing(Noting):
        wait_for_thread = False

        async def on_start(self) -> None:
            raise ValueError("not in the mood")

    class Root(Service):
        async def on_stop(self) -> None:
            await until(lambda: not threads_of(child))
            for _ in range(20):
                await anyio.sleep(0.001)
                seen.append(child.started)

    root = Root()
    child = root.add_dependency(Failing(backend=inside))
    with pytest.raises(ValueError, match="not in the mood"):
        async with root:
            await anyio.sleep_forever()
    assert seen == [True] * 20
    assert not child.started


async def test_a_crash_in_the_thread_is_stopped_in_its_turn(inside: str) -> None:
    """The thread has passed up what failed there, and stops when those above have done what they do first."""
    seen: list[str] = []

    class Failing(Noting):
        @Service.task
        async def fail(self) -> None:
            await until(lambda: self.state == "running")
            raise ValueError("in the thread")

    class Root(Service):
        async def on_stop(self) -> None:
            for _ in range(20):
                await anyio.sleep(0.001)
                seen.append(child.calls[-1])

    root = Root()
    child = root.add_dependency(Failing(backend=inside))
    with pytest.raises(ValueError, match="in the thread"):
        async with root:
            await anyio.sleep_forever()
    assert set(seen) <= {*START}
    assert child.calls == ["on_first_start", *START, *STOP]
    assert not threads_of(child)
