"""The life of a service in a thread of its own: where its hooks run, and what start, stop and restart do."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest

from structmode import EventLoopMismatch, LifecycleError, Service, StartAborted
from structmode.events import (
    LifecycleEvent,
    Restarting,
    Started,
    Starting,
    Stopped,
    Stopping,
    subscribe,
)
from structmode.threads import QueueServiceThread, WorkerThread

from .things import START, STOP, Noting, Plain, here, threads_of, until


async def test_hooks_run_in_the_thread(inside: str) -> None:
    """All hooks run in one thread, which is not the owner's, in the order of any service; then the thread is gone."""
    service = Noting(backend=inside)
    assert service.state == "init"
    async with service:
        assert service.state == "running"
        assert service.started
        assert not service.should_stop
        assert service.calls == ["on_first_start", *START]
        (thread,) = threads_of(service)
        assert service.threads == {thread.ident}
        assert here() not in service.threads
    assert service.calls == ["on_first_start", *START, *STOP]
    assert service.threads == {thread.ident}
    assert service.state == "shutdown"
    assert not service.started
    assert not thread.is_alive()


async def test_kind_of_loop(inside: str) -> None:
    """The thread runs the event loop that was asked for."""

    class Kind(Plain):
        async def on_start(self) -> None:
            self.kind = anyio.get_current_task().coro.__class__, self._loop_name()

        def _loop_name(self) -> str:
            try:
                return type(self.loop).__module__.partition(".")[0]
            except RuntimeError:
                return "trio"

    service = Kind(backend=inside)
    async with service:
        assert service.kind[1] == {"asyncio+uvloop": "uvloop"}.get(inside, inside)


@pytest.mark.parametrize("bare", [True, False])
async def test_start_and_stop_again(inside: str, bare: bool) -> None:
    """It can be started again and again, and each time has another event loop; the first start is only once."""
    service = Noting(backend=inside)
    tokens: set[object] = set()
    for _ in range(3):
        if bare:
            await service.start()
        else:
            await service.__aenter__()
        tokens.add(await service.call_thread(anyio.lowlevel.current_token))
        if bare:
            await service.stop()
        else:
            await service.__aexit__(None, None, None)
        assert not threads_of(service)
    assert service.calls == ["on_first_start", *(START + STOP) * 3]
    assert len(tokens) == 3


async def test_maybe_start(inside: str) -> None:
    """It starts what does not run, and only that; also when the thread itself asks."""
    service = Noting(backend=inside)
    assert await service.maybe_start()
    assert not await service.maybe_start()
    assert not await service.call_thread(service.maybe_start)
    await service.stop()
    await service.stop()
    assert service.calls.count("on_start") == 1


async def test_second_start_refused(inside: str) -> None:
    """A service that runs is not started again, from neither side."""
    async with Noting(backend=inside) as service:
        for start in (service.start(), service.call_thread(service.start)):
            with pytest.raises(LifecycleError, match="can't be started"):
                await start
        assert service.state == "running"


# --- Failing starts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where", ["on_first_start", "on_start", "on_started", "on_thread_started"]
)
async def test_failed_start(inside: str, where: str) -> None:
    """What fails in the thread leaves start() as it was raised, with where it was raised; all is undone."""
    error = ValueError("in the thread")

    class Failing(Noting):
        fails = True

    async def fail(self: Failing) -> None:
        if self.fails:
            raise error

    setattr(Failing, where, fail)
    service = Failing(backend=inside)
    with pytest.raises(ValueError, match="in the thread") as caught:
        await service.start()
    assert caught.value is error
    assert caught.traceback[-1].name == "fail"
    assert service.state == "init"
    assert not threads_of(service)
    assert ("on_stop" in service.calls) == (where in {"on_started", "on_thread_started"})
    service.fails = False
    async with service:
        assert service.state == "running"


async def test_failed_start_in_block(inside: str) -> None:
    """So it does in `async with`."""

    class Failing(Plain):
        async def on_start(self) -> None:
            raise ValueError("in the thread")

    service = Failing(backend=inside)
    with pytest.raises(ValueError, match="in the thread"):
        async with service:
            raise AssertionError
    assert not threads_of(service)


@pytest.mark.parametrize("parent_is_thread", [True, False])
async def test_failed_start_of_child(inside: str, parent_is_thread: bool) -> None:
    """It makes the parent's start fail, and what had been started before it is undone."""

    class Failing(Plain):
        async def on_start(self) -> None:
            raise ValueError("in the thread")

    first = Noting(backend=inside)
    root: Service = Noting(backend=inside) if parent_is_thread else Service()
    root.add_dependency(first)
    root.add_dependency(Failing(backend=inside))
    with pytest.raises(ValueError, match="in the thread"):
        await root.start()
    assert first.calls == ["on_first_start", *START, *STOP]
    assert first.state == "shutdown"
    assert root.state == "init"
    assert not threads_of(first)


async def test_start_cancelled(inside: str) -> None:
    """A start whose caller is cancelled is undone in the thread, before the cancellation goes on."""

    class Slow(Noting):
        async def on_started(self) -> None:
            self.note("on_started begins")
            try:
                await anyio.sleep_forever()
            finally:
                self.note("on_started ends")

    service = Slow(backend=inside)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def cancel() -> None:
                await until(lambda: "on_started begins" in service.calls)
                scope.cancel()

            group.start_soon(cancel)
            await service.start()
    assert scope.cancelled_caught
    assert service.calls[-4:] == ["on_started ends", *STOP]
    assert not threads_of(service)
    assert service.state == "init"


@pytest.mark.parametrize("from_inside", [True, False])
async def test_stopped_while_starting(inside: str, from_inside: bool) -> None:
    """A stop during the start makes start() raise StartAborted."""

    class Slow(Noting):
        async def on_start(self) -> None:
            self.note("on_start")
            if from_inside:
                await self.stop()
            else:
                await anyio.sleep_forever()

    service = Slow(backend=inside)
    async with anyio.create_task_group() as group:
        if not from_inside:

            async def stop() -> None:
                await until(lambda: "on_start" in service.calls)
                assert service.state == "starting"
                await service.stop()

            group.start_soon(stop)
        with pytest.raises(StartAborted):
            await service.start()
    assert not threads_of(service)
    assert service.state == "init"


async def test_unknown_backend() -> None:
    """A backend that does not exist is refused by the start, in words."""
    with pytest.raises(ValueError, match="there is no backend 'curio'"):
        await Plain(backend="curio").start()


async def test_without_waiting_for_thread(inside: str) -> None:
    """With `wait_for_thread` off, the start does not wait; the service is "starting" until all is up."""
    go = threading.Event()

    class Slow(Noting):
        wait_for_thread = False

        async def on_start(self) -> None:
            await anyio.to_thread.run_sync(go.wait)

    async with Slow(backend=inside) as service:
        assert service.state == "starting"
        go.set()
        await until(lambda: service.state == "running")
        assert await service.call_thread(here) in service.threads


async def test_failure_without_waiting_for_thread(inside: str) -> None:
    """With `wait_for_thread` off, a start that fails is a crash."""

    class Failing(Plain):
        wait_for_thread = False

        async def on_start(self) -> None:
            raise ValueError("in the thread")

    service = Failing(backend=inside)
    with pytest.raises(ValueError, match="in the thread"):
        async with service:
            await anyio.sleep_forever()
    assert service.crashed
    assert not threads_of(service)


@pytest.mark.parametrize("how", ["hook", "task"])
async def test_failure_without_waiting_is_told_once(
    inside: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Such a crash is logged once, as that of any service, whatever of the start has failed."""

    class Failing(Plain):
        wait_for_thread = False

        async def on_started(self) -> None:
            if how == "hook":
                raise ValueError("in the thread")
            await anyio.sleep_forever()  # pragma: no cover - it may have crashed before

        @Service.task
        async def work(self) -> None:
            if how == "task":
                raise ValueError("in the thread")

    with pytest.raises(ValueError, match="in the thread"):
        async with Failing(backend=inside):
            await anyio.sleep_forever()
    said = [record.getMessage() for record in caplog.records]
    (about,) = [text for text in said if "ValueError('in the thread')" in text]
    assert "Crashed in " in about


async def test_stop_without_waiting_for_thread(inside: str) -> None:
    """With `wait_for_thread` off, a stop may come before anything is up in the thread: it is no failure."""

    class Slow(Noting):
        wait_for_thread = False

        async def on_start(self) -> None:
            await anyio.sleep_forever()

    service = Slow(backend=inside)
    await service.start()
    await service.stop()
    assert not threads_of(service)


# --- Stops ----------------------------------------------------------------------------------------


async def test_stop_from_a_task_in_the_thread(inside: str) -> None:
    """A task in the thread may stop its own service; it is cancelled as part of the stop."""

    class Stopping(Noting):
        @Service.task
        async def end(self) -> None:
            await until(lambda: self.state == "running")
            try:
                await self.stop()
            finally:
                self.note("task ends")

    service = Stopping(backend=inside)
    await service.start()
    await until(lambda: service.state == "shutdown")
    await until(lambda: not threads_of(service))
    assert service.calls[-4:] == ["on_stop", "on_thread_stop", "task ends", "on_shutdown"]


@pytest.mark.parametrize("hook", ["on_started", "on_stop", "on_shutdown"])
async def test_stop_from_a_hook(inside: str, hook: str) -> None:
    """A hook may stop its own service: the call returns at once."""
    returned: list[str] = []

    class Stopping(Plain):
        pass

    async def stop(self: Plain) -> None:
        await self.stop()
        returned.append(hook)

    setattr(Stopping, hook, stop)
    service = Stopping(backend=inside)
    await service.start()
    if hook != "on_started":
        await service.stop()
    await until(lambda: service.state == "shutdown")
    assert returned == [hook]
    assert not threads_of(service)


async def test_stop_from_a_call(inside: str) -> None:
    """What is called from outside may stop the service: it goes on, and the stop follows."""
    service = Noting(backend=inside)
    await service.start()
    await service.call_thread(service.stop)
    await until(lambda: service.state == "shutdown")
    await until(lambda: not threads_of(service))


async def test_many_stops(inside: str) -> None:
    """One stop serves all who ask for it."""
    service = Noting(backend=inside)
    await service.start()
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(service.stop)
    assert service.calls.count("on_stop") == 1
    assert not threads_of(service)


async def test_stop_from_another_thread(inside: str) -> None:
    """Another thread may stop it through the owner's event loop; without that, it is refused in words."""
    service = Noting(backend=inside)
    await service.start()
    token = anyio.lowlevel.current_token()

    def refused() -> None:
        with pytest.raises(EventLoopMismatch):
            anyio.run(service.stop)

    await anyio.to_thread.run_sync(refused)
    assert service.state == "running"

    def stop() -> None:
        anyio.from_thread.run(service.stop, token=token)

    thread = threading.Thread(target=stop)
    thread.start()
    await until(lambda: service.state == "shutdown")
    await anyio.to_thread.run_sync(thread.join)


async def test_failing_stop(inside: str) -> None:
    """What goes wrong in the stop is raised by stop(), as it was raised, once the thread has ended."""
    error = ValueError("while stopping")

    class Failing(Noting):
        async def on_stop(self) -> None:
            raise error

    service = Failing(backend=inside)
    await service.start()
    with pytest.raises(ValueError, match="while stopping") as caught:
        await service.stop()
    assert caught.value is error
    assert service.failures == (error,)
    assert service.calls[-2:] == ["on_thread_stop", "on_shutdown"]
    assert not threads_of(service)


async def test_block_cancelled(inside: str) -> None:
    """Cancellation around the block is an orderly stop of the thread, and goes on."""
    service = Noting(backend=inside)
    with anyio.CancelScope() as scope:
        async with service:
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert service.calls[-3:] == STOP
    assert not threads_of(service)


async def test_set_shutdown(inside: str) -> None:
    """A stop waits for the permission, which may come from the owner's side or from the thread."""
    for from_inside in (True, False):

        class Waiting(Noting):
            wait_for_shutdown = True

            async def on_stop(self) -> None:
                self.note("on_stop")
                if from_inside:  # noqa: B023
                    self.set_shutdown()

        service = Waiting(backend=inside)
        await service.start()
        async with anyio.create_task_group() as group:
            group.start_soon(service.stop)
            await until(lambda: "on_thread_stop" in service.calls)  # noqa: B023
            if not from_inside:
                await anyio.sleep(0.02)
                assert service.state == "stopping"
                service.set_shutdown()
        assert service.state == "shutdown"


async def test_set_shutdown_before_the_thread_has_a_loop(inside: str) -> None:
    """A permission counts for a start that goes on, however far the thread has come: it is not given in vain."""
    go = threading.Event()

    class Late(WorkerThread):
        def run(self) -> None:
            go.wait()
            super().run()

    class Permitted(Noting):
        wait_for_shutdown = True
        Worker = Late

    service = Permitted(backend=inside)
    for _ in range(2):
        go.clear()
        async with anyio.create_task_group() as group:
            group.start_soon(service.start)
            await until(lambda: threads_of(service))
            service.set_shutdown()
            go.set()
        await service.stop()
    assert service.state == "shutdown"


async def test_owner_never_blocks(inside: str) -> None:
    """While the thread takes its time to start, to work and to stop, the owner's event loop goes on."""
    go = threading.Event()

    class Slow(QueueServiceThread):
        async def on_start(self) -> None:
            go.wait()  # blocks the thread's event loop
            go.clear()

        async def on_stop(self) -> None:
            go.wait()
            go.clear()

    service = Slow(backend=inside)

    async def tick_and_go() -> None:
        for _ in range(10):  # would not come to an end if the event loop were blocked
            await anyio.lowlevel.checkpoint()
        await anyio.sleep(0.01)
        go.set()

    def work() -> None:
        go.wait()
        go.clear()

    for step in (service.start, lambda: service.call_thread(work), service.stop):
        async with anyio.create_task_group() as group:
            group.start_soon(tick_and_go)
            await step()
        assert not go.is_set()


# --- Restarts -------------------------------------------------------------------------------------


async def test_restart(inside: str) -> None:
    """A restart takes a new thread with a new event loop, in the same owner."""
    async with Noting(backend=inside) as service:
        (old,) = threads_of(service)
        token = await service.call_thread(anyio.lowlevel.current_token)
        await service.restart()
        (new,) = threads_of(service)
        assert new is not old
        assert await service.call_thread(anyio.lowlevel.current_token) != token
        assert service.restart_count == 1
        assert service.state == "running"
    assert service.calls == ["on_first_start", *START, *STOP, "on_restart", *START, *STOP]


@pytest.mark.parametrize("from_call", [True, False])
async def test_restart_from_inside(inside: str, from_call: bool) -> None:
    """Code in the thread may restart its own service: it is cancelled, and the new run follows."""
    service = Noting(backend=inside)
    async with service:
        if from_call:
            await service.call_thread(service.restart)
        else:
            await service.cast_thread(lambda: None)
            await service.call_thread(lambda: service.add_future(service.restart).done())
        await until(lambda: service.restart_count == 1 and service.state == "running")
        assert await service.call_thread(here) in service.threads


async def test_restart_of_stopped(inside: str) -> None:
    """A restart starts what does not run."""
    service = Noting(backend=inside)
    await service.restart()
    assert service.calls == ["on_restart", "on_first_start", *START]
    await service.stop()


async def test_failed_restart(inside: str) -> None:
    """What makes the new start fail leaves restart()."""

    class Failing(Noting):
        async def on_restart(self) -> None:
            raise ValueError("again")

    service = Failing(backend=inside)
    await service.start()
    with pytest.raises(ValueError, match="again"):
        await service.restart()
    assert not threads_of(service)


async def test_events(inside: str) -> None:
    """Each event of its life is told once, and about the service; in order."""
    service = Noting(backend=inside)
    told: list[LifecycleEvent] = []
    end = subscribe(told.append)
    async with service:
        await service.restart()
    end()
    kinds = [type(event) for event in told if event.subject is service]
    kinds = [kind for kind in kinds if kind in {Restarting, Starting, Started, Stopping, Stopped}]
    assert kinds == [
        *(Starting, Started, Stopping, Stopped),
        *(Restarting, Starting, Started, Stopping, Stopped),
    ]
    subjects = {type(event.subject).__name__ for event in told}
    assert subjects == {"Noting", "MethodQueue"}


async def test_service_reset(inside: str) -> None:
    """A crash is forgotten by a reset."""
    service = Noting(backend=inside)
    with pytest.raises(ValueError, match="crash"):
        async with service:
            await service.crash(ValueError("crash"))
            await anyio.sleep_forever()
    assert service.state == "crashed"
    service.service_reset()
    assert service.state == "init"
    assert service.failures == ()
    async with service:
        assert not service.crashed


# --- What belongs to the thread -------------------------------------------------------------------


async def test_calls_that_belong_to_the_thread(inside: str) -> None:
    """What belongs to the thread's event loop is refused elsewhere, in words; in the thread it is welcome."""
    async with Noting(backend=inside) as service:
        calls: list[Any] = [
            lambda: service.add_future(anyio.sleep(0)),
            lambda: service.add_dependency(Service()),
            lambda: service.exit_stack,
        ]
        for call in calls:
            with pytest.raises(EventLoopMismatch):
                call()
        for wait in (service.sleep(1), service.wait(anyio.sleep(0))):
            with pytest.raises(EventLoopMismatch):
                await wait
        for call in calls:
            await service.call_thread(call)


async def test_calls_that_belong_to_the_thread_while_it_starts(inside: str) -> None:
    """So it is while the thread is about to start, and nothing is kept for the next run by mistake."""

    class Slow(Noting):
        async def on_start(self) -> None:
            await anyio.sleep(0.01)

    service = Slow(backend=inside)
    begun: list[str] = []

    async def note() -> None:  # pragma: no cover - it is refused
        begun.append("begun")

    async with anyio.create_task_group() as group:
        group.start_soon(service.start)
        while service.state != "running":
            if service.started:
                with pytest.raises(EventLoopMismatch):
                    service.add_future(note())
            await anyio.lowlevel.checkpoint()
    await service.stop()
    async with service:
        assert await service.call_thread(lambda: 1) == 1
    assert begun == []


async def test_tasks_and_timers(inside: str) -> None:
    """Tasks, timers, futures and contexts of the service run in the thread, and end with it."""

    class Busy(Noting):
        @Service.task
        async def work(self) -> None:
            self.note("task")
            try:
                await anyio.sleep_forever()
            finally:
                self.note("task ends")

        @Service.timer(0.001)
        async def tick(self) -> None:
            self.note("tick")

        async def on_started(self) -> None:
            self.add_future(self.later())

        async def later(self) -> None:
            self.note("future")
            await self.sleep(1000.0)
            self.note("future told")

    service = Busy(backend=inside)
    service.drain_timeout = 1.0
    async with service:
        await until(lambda: {"task", "tick", "future"} <= set(service.calls))
    assert len(service.threads) == 1
    assert "future told" in service.calls
    assert service.calls[-2:] == ["task ends", "on_shutdown"]


async def test_own_thread_class(inside: str) -> None:
    """`Worker` may be another class of threads; what it does after the event loop is waited for."""
    done: list[str] = []

    class Lingering(WorkerThread):
        def run(self) -> None:
            super().run()
            assert self.is_stopped.is_set()
            threading.Event().wait(0.02)
            done.append(self.name)

    async with Plain(backend=inside, Worker=Lingering):
        pass
    assert done == ["Plain-thread"]


async def test_last_wakeup(inside: str) -> None:
    """`last_wakeup_at` tells when the thread last began or was told something."""
    service = Noting(backend=inside)
    assert service.last_wakeup_at == 0.0
    async with service:
        began = service.last_wakeup_at
        assert began > 0.0
    assert service.last_wakeup_at >= began
