"""What happens at the edges of a thread's life: before its event loop has begun, when there is none, and when it breaks."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import anyio
import anyio.to_thread
import pytest

from structmode import LifecycleError, Service, ShutdownTimeout, StartAborted
from structmode._engine import Run, current_run, on_trio
from structmode.exceptions import CallAborted
from structmode.threads import MethodQueue, QueueServiceThread, ServiceThread, WorkerThread

from .things import ON_ASYNCIO, START, STOP, Noting, threads_of, until

# --- Before the event loop has begun --------------------------------------------------------------


class Held(WorkerThread):
    """A thread that waits before it begins."""

    def __init__(self, service: Any, **kwargs: Any) -> None:
        super().__init__(service, **kwargs)
        self.go = threading.Event()

    def run(self) -> None:
        self.go.wait()
        super().run()


def held_of(service: ServiceThread) -> Held:
    """Return the thread of a service."""
    (thread,) = threads_of(service)
    assert isinstance(thread, Held)
    return thread


async def test_stopped_before_the_thread_begins(inside: str) -> None:
    """A stop that comes before the thread has an event loop is no failure, and nothing is started any more."""

    class Hasty(Noting):
        wait_for_thread = False

    service = Hasty(backend=inside, Worker=Held)
    await service.start()
    thread = held_of(service)
    with pytest.raises(LifecycleError, match="no asyncio event loop"):
        _ = service.thread_loop
    async with anyio.create_task_group() as group:
        group.start_soon(service.stop)
        await until(lambda: service.should_stop)
        await anyio.sleep(0.01)
        thread.go.set()
    assert service.calls == []
    assert service.failures == ()
    assert not threads_of(service)


async def test_start_stopped_before_the_thread_begins(inside: str) -> None:
    """A start that is called off before the thread has an event loop says so, by the service's name."""
    service = Noting(backend=inside, Worker=Held)
    async with anyio.create_task_group() as group:

        async def stop() -> None:
            await until(lambda: threads_of(service))
            thread = held_of(service)
            group.start_soon(service.stop)
            await until(lambda: service.should_stop)
            await anyio.sleep(0.01)
            thread.go.set()

        group.start_soon(stop)
        with pytest.raises(StartAborted, match="Noting was stopped before it had started"):
            await service.start()
    assert service.calls == []
    assert not threads_of(service)


async def test_start_called_off_inside(inside: str) -> None:
    """A start that its own hook calls off says so, by the service's name."""

    class Leaving(Noting):
        async def on_start(self) -> None:
            await self.stop()

    with pytest.raises(StartAborted, match="Leaving was stopped before it had started"):
        await Leaving(backend=inside).start()


# --- When there is no event loop ------------------------------------------------------------------


async def test_thread_that_cannot_begin(inside: str) -> None:
    """What keeps the thread from being begun leaves start(), and the service can be started again."""
    error = RuntimeError("can't start new thread")

    class Refused(WorkerThread):
        def start(self) -> None:
            raise error

    service = Noting(backend=inside, Worker=Refused)
    with pytest.raises(RuntimeError, match="can't start new thread") as caught:
        await service.start()
    assert caught.value is error
    assert service.state == "init"
    service.Worker = WorkerThread
    async with service:
        assert service.state == "running"


@pytest.mark.parametrize("wait", [True, False])
async def test_no_event_loop(inside: str, wait: bool, caplog: pytest.LogCaptureFixture) -> None:
    """What keeps the event loop from being made leaves start(), or, if that did not wait, is a crash."""

    class Loopless(Noting):
        wait_for_thread = wait

    def fail() -> None:
        raise TypeError("no loop")

    options = {"no loop": True} if inside == "trio" else {"loop_factory": fail}
    service = Loopless(backend=inside, backend_options=options)
    with anyio.fail_after(5):
        with pytest.raises(TypeError, match="no loop") as caught:
            async with service:
                await anyio.sleep_forever()
    assert service.crashed == (not wait)
    assert service.crash_reason is (None if wait else caught.value)
    assert ("Crashed in Loopless: TypeError(" in caplog.text) == (not wait)
    assert service.calls == []
    assert not threads_of(service)


@ON_ASYNCIO
@pytest.mark.parametrize("fails_before", [False, True])
async def test_event_loop_that_can_not_be_closed(inside: str, fails_before: bool) -> None:
    """Who stops the service is told what went wrong in its thread; of two such things, the first."""

    class Unclosable(asyncio.SelectorEventLoop):
        def close(self) -> None:
            super().close()
            raise OSError("can't be closed")

    class Failing(Noting):
        async def on_shutdown(self) -> None:
            if fails_before:
                raise ValueError("on_shutdown fails")

    service = Failing(backend="asyncio", backend_options={"loop_factory": Unclosable})
    await service.start()
    with pytest.raises(ValueError if fails_before else OSError, match=r"fails|can.t be closed"):
        await service.stop()
    assert service.state == "shutdown"
    assert not threads_of(service)


@ON_ASYNCIO
async def test_event_loop_that_is_stopped(inside: str) -> None:
    """Whoever stops the event loop of asyncio itself crashes the service; what runs there still stops in order."""
    service = Noting(backend=inside)
    with anyio.fail_after(5):
        with pytest.raises(RuntimeError, match="Event loop stopped before Future completed"):
            async with service:
                service.thread_loop.call_soon_threadsafe(service.thread_loop.stop)
                await anyio.sleep_forever()
    assert service.calls == ["on_first_start", *START, *STOP]
    assert not threads_of(service)


# --- What is seen from outside --------------------------------------------------------------------


async def test_names_of_tasks(inside: str) -> None:
    """Each task of the thread has a name that says what it is, for who looks at a dump of them."""
    async with Noting(backend=inside) as service:
        names = await service.call_thread(
            lambda: {task.name for task in anyio.get_running_tasks()}
        )
    home = "the thread of Noting"
    assert {home, "porter", f"{home}: watch_life"} <= names


async def test_whose_a_call_is(inside: str) -> None:
    """A call is part of what does it, whoever it was made by."""
    seen: list[Run | None] = []
    service = Noting(backend=inside)

    class Caller(Service):
        async def on_started(self) -> None:
            seen.append(await service.call_thread(current_run))

    async with service, Caller():
        seen.append(await service.call_thread(current_run))
    assert seen[0] is seen[1] is not None


async def test_library_of_the_caller(inside: str) -> None:
    """Which async library the caller has told sniffio of stays with the caller: in the thread it may be another."""
    sniffio = pytest.importorskip("sniffio")
    variable = sniffio.current_async_library_cvar
    async with Noting(backend=inside) as service:
        before = await service.call_thread(variable.get)
        token = variable.set("trio" if on_trio() else "asyncio")
        seen = await service.call_thread(variable.get)
        variable.reset(token)
    assert seen == before


async def test_where_a_crash_came_from(inside: str, caplog: pytest.LogCaptureFixture) -> None:
    """A crash in the thread that nobody receives is logged with whose it is."""

    class Failing(Noting):
        async def on_thread_started(self) -> None:
            self.add_future(self.fail())

        async def fail(self) -> None:
            await until(lambda: self.state == "running")
            raise ValueError("in the thread")

    service = Failing(backend=inside)
    await service.start()
    await until(lambda: service.state == "crashed" and not service.started)
    assert "A failure that nobody receives, in Failing" in caplog.text


async def test_one_failure_after_another(inside: str) -> None:
    """What fails in the thread before it hears of a failure above is the reason there, and that above for its owner."""
    above, inside_error = ValueError("above"), ValueError("inside")
    go = threading.Event()
    begun: list[str] = []
    reasons: list[BaseException | None] = []

    class Failing(Noting):
        async def fail(self) -> None:
            begun.append("begun")
            go.wait()
            raise inside_error

        async def on_stop(self) -> None:
            reasons.append(self.crash_reason)

    service, root = Failing(backend=inside), Service()
    root.add_dependency(service)
    with pytest.raises(ValueError, match="above") as caught:
        async with root:
            await service.call_thread(lambda: service.add_future(service.fail()).done())
            await until(lambda: begun)
            await root.crash(above)
            go.set()  # before the event loop can have told the thread
            await anyio.sleep_forever()
    assert caught.value is above
    assert reasons == [inside_error]
    assert set(service.failures) <= {above, inside_error}
    assert any("in Failing of Failing: ValueError('inside')" in one for one in above.__notes__)


# --- Who waits for what ---------------------------------------------------------------------------


async def test_box_that_nobody_closes(inside: str) -> None:
    """Who waits for a queue of the thread that forgets to answer is told when the thread has ended."""

    class Forgetful(MethodQueue):
        drain_timeout = 0.01

        async def on_shutdown(self) -> None:
            pass

    class Owner(QueueServiceThread):
        async def on_start(self) -> None:
            self.queue = Forgetful(1)
            await self.add_runtime_dependency(self.queue)

    owner = Owner(backend=inside)
    told: list[str] = []

    async def call(expected: str) -> None:
        with pytest.raises(CallAborted, match=expected):
            await owner.queue.perform(anyio.sleep_forever)
        told.append(expected)

    await owner.start()
    async with anyio.create_task_group() as group:
        group.start_soon(call, "it was cancelled there")
        await anyio.sleep(0.02)
        group.start_soon(call, "Forgetful came to no end: its thread has ended")
        await anyio.sleep(0.02)
        await owner.stop()
    assert sorted(told) == [
        "Forgetful came to no end: its thread has ended",
        "it was cancelled there",
    ]


async def test_no_turn_for_the_join(inside: str) -> None:
    """A stop does not wait in line with what else the owner does in threads."""
    go = threading.Event()

    def wait() -> None:
        go.wait()

    service = Noting(backend=inside)
    await service.start()
    limiter = anyio.to_thread.current_default_thread_limiter()
    before, limiter.total_tokens = limiter.total_tokens, 1
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, wait)
        await until(lambda: limiter.available_tokens <= 0)
        with anyio.move_on_after(5) as scope:
            await service.stop()
        go.set()
    limiter.total_tokens = before
    assert not scope.cancel_called
    assert not threads_of(service)


# --- With less time -------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [1.0, 5.0])
async def test_start_undone_in_the_time_of_the_parent(inside: str, own: float) -> None:
    """A start that is called off by a parent with less time is undone in that time, by force: no thread is left."""

    class Slow(Noting):
        shutdown_timeout = own

        async def on_started(self) -> None:
            self.note("on_started")
            await anyio.sleep_forever()

        async def on_stop(self) -> None:
            self.note("on_stop")
            await anyio.sleep_forever()

    service, root = Slow(backend=inside), Service()
    root.shutdown_timeout = 0.1
    root.add_dependency(service)

    async def stop() -> None:
        await until(lambda: "on_started" in service.calls)
        with pytest.raises(ShutdownTimeout):
            await root.stop()

    async with anyio.create_task_group() as group:
        group.start_soon(stop)
        with pytest.raises((StartAborted, ShutdownTimeout)):
            await root.start()
    # What is between them is cut short.
    assert service.calls[-2:] == ["on_stop", "on_shutdown"]
    assert not threads_of(service)


async def test_stopped_in_the_time_of_the_parent(inside: str) -> None:
    """If the stop of a parent has no more time, those in the thread are cut short, and are done before it goes on."""

    class Slow(Noting):
        shutdown_timeout = 60.0

        async def on_stop(self) -> None:
            self.note("on_stop")
            await anyio.sleep_forever()

    service, root = Slow(backend=inside), Service()
    root.shutdown_timeout = 0.05
    root.add_dependency(service)
    await root.start()
    with pytest.raises(ShutdownTimeout, match="Service did not stop"):
        await root.stop()
    assert service.calls[-2:] == ["on_stop", "on_shutdown"]
    assert not threads_of(service)


@ON_ASYNCIO
async def test_all_tasks_cancelled_while_starting(inside: str) -> None:
    """If somebody cancels all tasks of the thread's asyncio, the start is called off, and says so by its name."""

    class Cancelling(Noting):
        async def on_start(self) -> None:
            for task in asyncio.all_tasks():
                task.cancel()
            await anyio.sleep_forever()

    service = Cancelling(backend=inside)
    with anyio.fail_after(5):
        with pytest.raises(StartAborted, match="Cancelling was stopped before it had started"):
            await service.start()
    assert not threads_of(service)


# --- Failures from above --------------------------------------------------------------------------


async def test_later_failure_in_the_thread(inside: str, caplog: pytest.LogCaptureFixture) -> None:
    """What fails in the thread after a failure above is a later one there too: logged so, and noted on the first."""
    first = ValueError("above")

    class Failing(Noting):
        async def on_stop(self) -> None:
            raise ValueError("in the thread")

    service, root = Failing(backend=inside), Service()
    root.add_dependency(service)
    with pytest.raises(ValueError, match="above"):
        async with root:
            await root.crash(first)
            await anyio.sleep_forever()
    assert "One more failure, in on_stop: ValueError('in the thread')" in caplog.text
    assert any("in the thread" in one for one in first.__notes__)


async def test_removed_from_its_parent(inside: str) -> None:
    """A service in a thread that is removed has stopped, and is no longer part of its parent's tree."""
    service, root = Noting(backend=inside), Service()
    root.add_dependency(service)
    async with root:
        assert service.beacon in root.beacon.children
        await root.remove_dependency(service)
        assert service.beacon not in root.beacon.children
        assert service.beacon.parent is None
        assert service.calls[-3:] == STOP
        assert not threads_of(service)


async def test_crash_in_the_instant_of_being_up(inside: str) -> None:
    """What fails when all has started in the thread, and nobody knows that yet, is undone or stopped, and is raised."""
    error = ValueError("in the instant")

    class Failing(Noting):
        async def on_start(self) -> None:
            self.up = anyio.Event()

        async def on_thread_started(self) -> None:
            self.up.set()

        @Service.task
        async def work(self) -> None:
            await self.up.wait()
            raise error

    service = Failing(backend=inside)
    with anyio.fail_after(5):
        with pytest.raises(ValueError, match="in the instant") as caught:
            async with service:
                await anyio.sleep_forever()  # pragma: no cover - it may have crashed before
    assert caught.value is error
    assert service.calls[-3:] == STOP
    assert not threads_of(service)
