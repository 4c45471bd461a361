"""Law 2, one task runs it: all hooks run in the service's own task, so its methods may be called from any task."""

from __future__ import annotations

import contextvars
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from structmode import Service

var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="default")


def here() -> int:
    """Return the task that calls."""
    return anyio.get_current_task().id


class Tracked(Service):
    """Notes in which task each hook runs."""

    def __init__(self) -> None:
        self.tasks: dict[str, int] = {}
        super().__init__()

    def on_init_dependencies(self) -> list[Service]:
        self.tasks["on_init_dependencies"] = here()
        return []

    async def on_first_start(self) -> None:
        self.tasks["on_first_start"] = here()

    async def on_start(self) -> None:
        self.tasks["on_start"] = here()

    async def on_started(self) -> None:
        self.tasks["on_started"] = here()

    async def on_stop(self) -> None:
        self.tasks["on_stop"] = here()

    async def on_shutdown(self) -> None:
        self.tasks["on_shutdown"] = here()

    async def on_restart(self) -> None:
        self.tasks["on_restart"] = here()


async def test_all_hooks_run_in_one_task() -> None:
    """All hooks of a run are called in one and the same task, which is not the caller's."""
    service = Tracked()
    await service.start()
    await service.stop()
    assert len(service.tasks) == 6
    assert len(set(service.tasks.values())) == 1
    assert here() not in service.tasks.values()


async def test_hooks_of_a_restart_run_in_one_task() -> None:
    """So are those of a restart."""
    async with Tracked() as service:
        service.tasks.clear()
        await service.restart()
        again = {service.tasks[hook] for hook in ("on_restart", "on_start", "on_started")}
        assert len(again) == 1


async def test_each_service_has_a_task_of_its_own() -> None:
    """A child's hooks run in the child's own task."""
    parent, child = Tracked(), Tracked()
    parent.add_dependency(child)
    async with parent:
        pass
    assert set(parent.tasks.values()).isdisjoint(child.tasks.values())


async def test_messages_from_many_tasks() -> None:
    """start, restart, crash and stop may each come from another task, and those tasks may be gone by then."""

    @asynccontextmanager
    async def scoped() -> AsyncIterator[None]:
        with anyio.CancelScope():
            async with anyio.create_task_group():
                yield

    class Scoped(Service):
        async def on_start(self) -> None:
            await self.add_async_context(scoped())

    service = Scoped()
    for call in (service.start, service.restart, service.stop, service.start, service.stop):
        async with anyio.create_task_group() as group:
            group.start_soon(call)
    assert (service.state, service.failures) == ("shutdown", ())


async def test_stop_in_another_scope_than_start() -> None:
    """A service may be started under one cancel scope and stopped under another."""
    service = Tracked()
    with anyio.CancelScope():
        await service.start()
    with anyio.CancelScope():
        async with anyio.create_task_group():
            await service.stop()
    assert service.state == "shutdown"


async def test_async_contexts_may_overlap() -> None:
    """Contexts that hold scopes may be added by different hooks and tasks: none is left out of turn."""
    left: list[str] = []

    @asynccontextmanager
    async def scoped(name: str) -> AsyncIterator[None]:
        with anyio.CancelScope():
            yield
        left.append(name)

    class Scoped(Service):
        async def on_first_start(self) -> None:
            await self.add_async_context(scoped("first"))

        async def on_start(self) -> None:
            await self.add_async_context(scoped("second"))

        @Service.task
        async def work(self) -> None:
            await self.add_async_context(scoped("third"))

    async with Scoped() as service:
        await anyio.wait_all_tasks_blocked()
        await service.add_async_context(scoped("fourth"))
    assert left == ["fourth", "third", "second", "first"]


async def test_context_variables_of_a_hook() -> None:
    """A context variable that a hook sets is seen by the later hooks, by tasks, timers, futures and children."""
    seen: dict[str, str] = {}
    ticked = anyio.Event()

    class Child(Service):
        async def on_start(self) -> None:
            seen["child"] = var.get()

    class Parent(Service):
        async def on_start(self) -> None:
            var.set("set in on_start")
            self.add_dependency(Child())

        @Service.task
        async def work(self) -> None:
            seen["task"] = var.get()

        @Service.timer(0.001)
        async def tick(self) -> None:
            seen["timer"] = var.get()
            ticked.set()

        async def on_started(self) -> None:
            seen["on_started"] = var.get()
            self.add_future(self.look("future"))

        async def look(self, where: str) -> None:
            seen[where] = var.get()

        async def on_stop(self) -> None:
            seen["on_stop"] = var.get()

        async def on_shutdown(self) -> None:
            seen["on_shutdown"] = var.get()

    async with Parent():
        await ticked.wait()
        assert var.get() == "default"
    assert seen == dict.fromkeys(
        ["task", "child", "on_started", "timer", "future", "on_stop", "on_shutdown"],
        "set in on_start",
    )


async def test_context_variables_of_a_task_stay_there() -> None:
    """What a task sets is not seen by hooks, nor by other tasks."""
    seen: list[str] = []

    class Setting(Service):
        @Service.task
        async def sets(self) -> None:
            var.set("set in a task")

        @Service.task
        async def looks(self) -> None:
            seen.append(var.get())

        async def on_stop(self) -> None:
            seen.append(var.get())

    async with Setting():
        await anyio.wait_all_tasks_blocked()
    assert seen == ["default", "default"]


class Seeing(Service):
    """Notes a context variable in its hooks."""

    def on_init(self) -> None:
        self.seen: list[str] = []

    async def on_start(self) -> None:
        self.seen.append(var.get())

    async def on_stop(self) -> None:
        self.seen.append(var.get())


@pytest.mark.parametrize("how", ["block", "start", "child"])
async def test_context_variables_of_the_caller(how: str) -> None:
    """Hooks see the context variables of whoever started the service, in whichever way."""
    service, parent = Seeing(), Seeing()

    async def run_it() -> None:
        var.set("set by the caller")
        if how == "block":
            async with service:
                pass
        elif how == "start":
            await service.start()
            await service.stop()
        else:
            await parent.add_runtime_dependency(service)

    async with parent, anyio.create_task_group() as group:
        group.start_soon(run_it)
    assert service.seen == ["set by the caller"] * 2
    assert parent.seen == ["default"] * 2


async def test_context_variables_of_add_future() -> None:
    """A future sees the context variables of whoever added it."""
    seen: list[str] = []

    async def look() -> None:
        seen.append(var.get())

    async def add(service: Service) -> None:
        var.set("set by the caller")
        await service.add_future(look)

    async with Seeing() as service, anyio.create_task_group() as group:
        group.start_soon(add, service)
    assert seen == ["set by the caller"]
