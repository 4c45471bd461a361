"""Law 9, a restart is a new run in the same owner: nothing of the old run reaches the new one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

import anyio
import anyio.abc
import pytest

from structmode import LifecycleError, Service, StartAborted


class Plain(Service):
    """Does nothing by itself."""


class Leaky(Service):
    """Begins a task outside of itself, that lives on when the run that began it is over."""

    outside: anyio.abc.TaskGroup
    act: Callable[[], Awaitable[Any]]

    def on_init(self) -> None:
        self.begun = anyio.Event()
        self.go = anyio.Event()
        self.done = anyio.Event()
        self.result: Any = None
        self.wait_for_shutdown = False

    @Service.task
    async def leak(self) -> None:
        if not self.begun.is_set():
            self.outside.start_soon(self.left_behind)
            self.begun.set()

    async def left_behind(self) -> None:
        """Wait until the run is over, and then act."""
        await self.go.wait()
        self.result = await self.act()
        self.done.set()


async def act_late(act: Callable[[Leaky], Awaitable[Any]], check: Callable[[Leaky], None]) -> Any:
    """Restart a service; let what is left of its first run act then; check that the new run does not mind."""
    async with anyio.create_task_group() as group:
        service = Leaky()
        service.outside = group

        async def acting() -> Any:
            return await act(service)

        service.act = acting
        async with service:
            await service.begun.wait()
            await service.restart()
            service.go.set()
            await service.done.wait()
            await anyio.wait_all_tasks_blocked()
            assert (service.state, service.restart_count) == ("running", 1)
            check(service)
        assert service.failures == ()
    return service.result


def unconcerned(service: Leaky) -> None:
    """Check nothing more."""


LATE_CALLS: dict[str, Callable[[Leaky], Awaitable[Any]]] = {
    "stop": lambda s: s.stop(),
    "restart": lambda s: s.restart(),
    "crash": lambda s: s.crash(EOFError("late")),
}


@pytest.mark.parametrize("act", LATE_CALLS.values(), ids=LATE_CALLS)
async def test_late_calls_do_nothing(act: Callable[[Leaky], Awaitable[Any]]) -> None:
    """What is left of a former run can neither stop nor restart nor crash the present one."""
    assert await act_late(act, unconcerned) is None


async def test_a_late_future_does_not_run() -> None:
    """A future that is added by what is left of a former run is cancelled at once."""
    ran: list[str] = []

    async def run() -> None:
        ran.append("ran")  # pragma: no cover - must not be reached

    async def act(service: Leaky) -> Any:
        return service.add_future(run)

    handle = await act_late(act, unconcerned)
    assert (handle.done(), handle.cancelled(), ran) == (True, True, [])


async def test_a_late_set_shutdown_does_not_count() -> None:
    """set_shutdown() by what is left of a former run does not permit the present one's stop."""

    async def act(service: Leaky) -> None:
        service.set_shutdown()

    async with anyio.create_task_group() as group:
        service = Leaky()
        service.outside = group

        async def acting() -> None:
            await act(service)

        service.act = acting
        await service.start()
        await service.begun.wait()
        await service.restart()
        service.wait_for_shutdown = True
        service.go.set()
        await service.done.wait()
        group.start_soon(service.stop)
        await anyio.wait_all_tasks_blocked()
        state = service.state
        service.set_shutdown()
    assert state == "stopping"


async def test_late_children_are_not_added() -> None:
    """A child that is added by what is left of a former run belongs to no run, and does not start."""
    first, second = Plain(), Plain()

    async def act(service: Leaky) -> tuple[object, object]:
        return service.add_dependency(first), await service.add_runtime_dependency(second)

    def check(service: Leaky) -> None:
        assert not service.beacon.children
        assert (first.state, second.state) == ("init", "init")

    assert await act_late(act, check) == (first, second)
    async with first:  # nobody owns it
        assert first.state == "running"


LATE_CONTEXTS: dict[str, Callable[[Leaky], Awaitable[Any]]] = {
    "add_context()": lambda s: returned(lambda: s.add_context(nullcontext())),
    "add_async_context()": lambda s: s.add_async_context(nullcontext()),
    "exit_stack": lambda s: returned(lambda: s.exit_stack),
    "async_exit_stack": lambda s: returned(lambda: s.async_exit_stack),
}


async def returned(call: Callable[[], object]) -> object:
    """Make an async function of a plain one."""
    return call()


@pytest.mark.parametrize("name", LATE_CONTEXTS)
async def test_late_contexts_are_refused(name: str) -> None:
    """What is left of a former run can't have the new run hold its contexts: that is said, and what to do."""

    async def act(service: Leaky) -> str:
        with pytest.raises(LifecycleError) as raised:
            await LATE_CONTEXTS[name](service)
        return str(raised.value)

    said = await act_late(act, unconcerned)
    assert f"{name} of Leaky was called by what is left of a former run" in said


async def test_what_is_left_is_told_to_stop() -> None:
    """For what is left of a former run should_stop stays true: its loops end, and its waits return."""

    async def act(service: Leaky) -> tuple[bool, bool]:
        stop = service.should_stop
        with anyio.move_on_after(1.0) as scope:
            await service.sleep(3600.0)
        return stop, scope.cancelled_caught

    assert await act_late(act, unconcerned) == (True, False)


async def test_state_is_fresh() -> None:
    """The new run has no failures, no crash, no stop signal and none of the old tasks, futures and contexts."""
    service = Plain()
    with pytest.raises(EOFError, match="boom"):
        async with service:
            service.add_future(anyio.sleep_forever, name="old")
            await service.crash(EOFError("boom"))
            await anyio.sleep_forever()
    await service.restart()
    assert (service.state, service.crashed, service.crash_reason) == ("running", False, None)
    assert (service.failures, service.should_stop, service.tracebacks()) == ((), False, {})
    await service.stop()


async def test_a_wait_of_the_old_run_ends_with_it() -> None:
    """Who waited on the old run, from wherever, is woken by its end: the wait does not go over to the new run."""
    results: list[Any] = []

    async def wait(service: Service) -> None:
        results.append(await service.wait(anyio.sleep_forever))
        results.append(service.state)

    async with anyio.create_task_group() as group:
        async with Plain() as service:
            group.start_soon(wait, service)
            group.start_soon(service.wait_until_stopped)
            group.start_soon(service.sleep, 3600.0)
            await anyio.wait_all_tasks_blocked()
            await service.restart()
            await anyio.wait_all_tasks_blocked()
            assert results[0] == (None, True)
            assert len(results) == 2


async def test_the_handle_of_the_old_run_stays() -> None:
    """A handle belongs to its run: after a restart it is cancelled, and cancelling it does nothing to the new run."""
    async with Plain() as service:
        old = service.add_future(anyio.sleep_forever)
        done = service.add_future(anyio.lowlevel.checkpoint)
        await done
        await service.restart()
        assert (old.done(), old.cancelled(), old.cancel()) == (True, True, False)
        assert done.result() is None
        assert service.state == "running"


async def test_the_owner_stays() -> None:
    """After a restart the service belongs to the same block, parent or event loop, in the same place."""
    parent, child = Plain(), Plain()
    parent.add_dependency(child)
    async with parent:
        await child.restart()
        await child.restart()
        assert child.beacon.parent is parent.beacon
    assert (parent.state, child.state) == ("shutdown", "shutdown")
    with pytest.raises(EOFError, match="boom"):
        async with parent:
            await child.restart()
            await child.crash(EOFError("boom"))
            await anyio.sleep_forever()


HOOKS = ["on_first_start", "on_start", "on_started", "on_stop", "on_shutdown"]


class RestartsOnce(Service):
    """Calls restart() in one of its hooks, the first time."""

    def __init__(self, hook: str) -> None:
        self.hook = hook
        self.calls: list[str] = []
        super().__init__()

    async def play(self, hook: str) -> None:
        """Note the hook, and restart if here is the place."""
        self.calls.append(hook)
        if hook == self.hook and self.calls.count(hook) == 1:
            await self.restart()
            self.calls.append("returned")

    async def on_first_start(self) -> None:
        await self.play("on_first_start")

    async def on_start(self) -> None:
        await self.play("on_start")

    async def on_started(self) -> None:
        await self.play("on_started")

    async def on_stop(self) -> None:
        await self.play("on_stop")

    async def on_shutdown(self) -> None:
        await self.play("on_shutdown")


@pytest.mark.parametrize("hook", HOOKS)
async def test_restart_in_a_hook(hook: str) -> None:
    """restart() in a hook returns to it at once; the run ends, and a new one takes its place."""
    service = RestartsOnce(hook)
    await service.start()
    if hook in {"on_stop", "on_shutdown"}:
        await service.stop()
    while service.state != "running":
        await anyio.sleep(0.001)
    assert "returned" in service.calls
    assert service.restart_count == 1
    await service.stop()
    assert service.calls.count("on_started") == (
        1 if hook in {"on_first_start", "on_start"} else 2
    )
    assert service.failures == ()


async def test_restart_in_a_task_of_a_child() -> None:
    """A child's task may restart the parent: the task ends, and both run anew."""
    restarted = anyio.Event()

    class Child(Service):
        def __init__(self, parent: Service) -> None:
            self.parent = parent
            super().__init__()

        @Service.task
        async def work(self) -> None:
            await up.wait()
            if self.parent.restart_count:
                restarted.set()
                return
            await self.parent.restart()

    up = anyio.Event()
    parent = Plain()
    child = parent.add_dependency(Child(parent))
    async with parent:
        up.set()
        await restarted.wait()
        while parent.state != "running":
            await anyio.lowlevel.checkpoint()  # pragma: no cover - it may run by then
        assert (parent.restart_count, child.restart_count, child.state) == (1, 0, "running")


async def test_restart_that_is_cancelled() -> None:
    """If the caller of restart() is cancelled, the restart goes on."""
    gate = anyio.Event()

    class Slow(Service):
        async def on_shutdown(self) -> None:
            await gate.wait()

    async with Slow() as service:
        with anyio.move_on_after(0.01) as scope:
            await service.restart()
        assert scope.cancelled_caught
        gate.set()
        while service.state != "running":
            await anyio.lowlevel.checkpoint()
        assert service.restart_count == 1


async def test_a_restart_that_nobody_waits_for_and_fails() -> None:
    """If the caller of restart() has given up, and the new start fails, that is a crash of the owner."""
    gate = anyio.Event()
    boom = EOFError("start")

    class Slow(Service):
        async def on_shutdown(self) -> None:
            await gate.wait()

        async def on_restart(self) -> None:
            raise boom

    with pytest.raises(EOFError, match="start") as caught:
        async with Slow() as service:
            with anyio.move_on_after(0.01):
                await service.restart()
            gate.set()
            await anyio.sleep_forever()
    assert caught.value is boom


async def test_a_restart_of_a_child_whose_parent_stops() -> None:
    """A parent's stop calls a child's restart off: it does not start again."""
    gate, reached = anyio.Event(), anyio.Event()
    told: list[str] = []

    class Slow(Service):
        async def on_stop(self) -> None:
            reached.set()
            await gate.wait()

    async def restart(child: Service) -> None:
        try:
            await child.restart()
        except StartAborted as exc:
            told.append(exc.label)

    parent, child = Plain(), Slow()
    parent.add_dependency(child)
    async with anyio.create_task_group() as group:
        async with parent:
            group.start_soon(restart, child)
            await reached.wait()
            gate.set()
    assert told == ["Slow"]
    assert (parent.state, child.state, child.restart_count) == ("shutdown", "shutdown", 0)


async def test_a_crash_during_a_restart() -> None:
    """A crash while the old run stops is what restart() raises."""
    boom = EOFError("boom")

    class Bad(Service):
        async def on_stop(self) -> None:
            await self.crash(boom)

    async with Bad() as service:
        with pytest.raises(EOFError, match="boom") as caught:
            await service.restart()
        assert caught.value is boom
        assert not service.started


async def test_many_restarts() -> None:
    """A service may be restarted hundreds of times, and nothing piles up."""
    parent, child = Plain(), Plain()
    parent.add_dependency(child)
    async with parent:
        before = len(anyio.get_running_tasks())
        for _ in range(100):
            await child.restart()
        assert len(anyio.get_running_tasks()) == before
    assert child.restart_count == 100
