"""Law 1, one owner: what a service runs belongs to it, it belongs to one owner, and nothing is alive after its stop."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
import pytest

from structmode import Service


@asynccontextmanager
async def busy_context() -> AsyncIterator[None]:
    """Hold a task group with a task in it."""
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep_forever)
        yield
        group.cancel_scope.cancel()


class Busy(Service):
    """Runs one of everything, and a child that does so too."""

    def __init__(self, depth: int = 2) -> None:
        self.depth = depth
        super().__init__()

    def __post_init__(self) -> None:
        if self.depth:
            self.add_dependency(Busy(self.depth - 1))

    async def on_start(self) -> None:
        await self.add_async_context(busy_context())
        self.add_future(self.nest())

    async def nest(self) -> None:
        """Begin tasks in a task."""
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            group.start_soon(self.sleep, 1000.0)

    @Service.task
    async def work(self) -> None:
        await self.wait_first(anyio.sleep_forever, anyio.sleep_forever)

    @Service.timer(1000.0)
    async def tick(self) -> None:
        """Never come to this."""

    @Service.crontab("0 0 1 1 *")
    async def yearly(self) -> None:
        """Hardly ever come to this."""


def tasks() -> set[int]:
    """Return the tasks that exist."""
    return {task.id for task in anyio.get_running_tasks()}


async def stopped(service: Service) -> None:
    """Start and stop it."""
    await service.start()
    await anyio.wait_all_tasks_blocked()
    await service.stop()


async def left(service: Service) -> None:
    """Run it in a block."""
    async with service:
        await anyio.wait_all_tasks_blocked()


async def crashed(service: Service) -> None:
    """Crash it."""
    with pytest.raises(EOFError, match="crash"):
        async with service:
            await anyio.wait_all_tasks_blocked()
            await service.crash(EOFError("crash"))
            await anyio.sleep_forever()


async def cancelled(service: Service) -> None:
    """Cancel its block."""
    with anyio.CancelScope() as scope:
        async with service:
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            await anyio.sleep_forever()


async def failed_to_start(service: Service) -> None:
    """Let its start fail at its end."""

    async def fail() -> None:
        await anyio.wait_all_tasks_blocked()
        raise EOFError("start")

    service.on_started = fail  # type: ignore[method-assign]
    with pytest.raises(EOFError, match="start"):
        await service.start()


async def cancelled_in_its_start(service: Service) -> None:
    """Cancel its start."""
    service.on_started = anyio.sleep_forever  # type: ignore[method-assign]
    with anyio.move_on_after(0.05):
        await service.start()


async def restarted(service: Service) -> None:
    """Restart it a few times."""
    async with service:
        for _ in range(3):
            await service.restart()


ENDS = [stopped, left, crashed, cancelled, failed_to_start, cancelled_in_its_start, restarted]


@pytest.mark.parametrize("end", ENDS)
async def test_nothing_is_alive_after_the_end(end: Callable[[Service], Awaitable[None]]) -> None:
    """However a service ends, no task of it, nor of what it owns, exists when that is over."""
    before = tasks()
    service = Busy()
    await end(service)
    await anyio.wait_all_tasks_blocked()  # the task that owns a bare start makes its last steps
    assert tasks() == before
    nodes = list(service.beacon.traverse())
    assert {node.data.started for node in nodes} == {False}
    assert {len(node.data.tracebacks()) for node in nodes} == {0}


async def test_a_restart_leaves_no_task_of_the_old_run() -> None:
    """After a restart there are as many tasks as before it."""
    async with Busy() as service:
        await anyio.wait_all_tasks_blocked()
        first = tasks()
        await service.restart()
        await anyio.wait_all_tasks_blocked()
        second = tasks()
    assert len(second) == len(first)


async def test_a_stop_waits_for_threads() -> None:
    """A thread that a task waits for belongs to the service: the stop does not return before it has ended."""
    begun, end = threading.Event(), threading.Event()
    steps: list[str] = []

    def block() -> None:
        begun.set()
        end.wait(30.0)
        steps.append("thread")

    class Threaded(Service):
        @Service.task
        async def work(self) -> None:
            await anyio.to_thread.run_sync(block)

    service = Threaded()
    await service.start()
    await anyio.to_thread.run_sync(begun.wait)
    async with anyio.create_task_group() as group:

        async def stop() -> None:
            await service.stop()
            steps.append("stopped")

        group.start_soon(stop)
        await anyio.sleep(0.01)
        assert steps == []
        end.set()
    assert steps == ["thread", "stopped"]


async def test_a_bare_start_belongs_to_the_event_loop() -> None:
    """A service that another one's task starts, without being its parent, does not end with that one."""
    other = Busy(0)

    class Starter(Service):
        @Service.task
        async def work(self) -> None:
            await other.start()

    async with Starter():
        while other.state != "running":
            await anyio.lowlevel.checkpoint()
    assert other.state == "running"
    await other.stop()


async def test_a_bare_start_outlives_the_task_that_called_it() -> None:
    """A bare start does not belong to the task that called it, nor to that task's group or scope."""
    service = Busy(0)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(service.start)
        scope.cancel()
    await anyio.wait_all_tasks_blocked()
    assert service.state == "running"
    await service.stop()


async def test_a_child_that_is_started_by_hand_belongs_to_its_parent() -> None:
    """A child belongs to its running parent whoever starts it, and stops with it."""
    async with Busy(0) as parent:
        child = parent.add_dependency(Busy(0))
        async with anyio.create_task_group() as group:
            group.start_soon(child.start)
        assert child.state == "running"
    assert child.state == "shutdown"


async def test_blocks_nest() -> None:
    """Services in nested blocks are each owned by their own block: they stop from the inside out."""
    order: list[str] = []

    class Noted(Service):
        def __init__(self, name: str) -> None:
            self.name = name
            super().__init__()

        async def on_stop(self) -> None:
            order.append(self.name)

    async with Noted("outer"), Noted("inner"):
        pass
    assert order == ["inner", "outer"]


async def test_a_service_in_the_task_of_another() -> None:
    """A task may own a service by a block: that one has stopped when the task, and the service, ends."""
    inner = Busy(0)

    class Outer(Service):
        @Service.task
        async def work(self) -> None:
            async with inner:
                await anyio.sleep_forever()

    async with Outer():
        while inner.state != "running":
            await anyio.lowlevel.checkpoint()
    assert inner.state == "shutdown"
