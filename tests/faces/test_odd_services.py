"""Services that are odd as Python objects: falsy, equal to all, generic, short-lived; they work like any other."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio
import pytest

from structmode import LifecycleError, Service

T = TypeVar("T")


class Falsy(Service):
    """Is false, as an empty container is."""

    def __len__(self) -> int:
        return 0  # pragma: no cover - nothing asks, which is the point


class EqualToAll(Service):
    """Is equal to everything, and can't be hashed."""

    def __eq__(self, other: object) -> bool:
        return True  # pragma: no cover - nothing asks, which is the point

    __hash__ = None  # type: ignore[assignment]


class Holding(Service, Generic[T]):
    """Holds a value."""

    value: T


class Slotted(Service):
    """Has slots."""

    __slots__ = ("value",)


class Called(Service):
    """Can be called, and awaited."""

    def __call__(self) -> int:
        return 42  # pragma: no cover - never called


class Iterated(Service):
    """Can be iterated over."""

    def __iter__(self) -> None:
        raise AssertionError("nobody should")


@pytest.mark.parametrize(
    "kind", [Falsy, EqualToAll, Holding, Holding[int], Slotted, Called, Iterated]
)
async def test_odd_objects(kind: Callable[[], Service]) -> None:
    """Whatever a service is as an object, it starts, restarts, has children and loses them, and stops."""
    parent, child, late = kind(), kind(), kind()
    parent.add_dependency(child)
    async with parent:
        await parent.add_runtime_dependency(late)
        await child.restart()
        assert [node.data.state for node in parent.beacon.traverse()] == ["running"] * 3
        await parent.remove_dependency(child)
        assert await parent.wait_for_stopped(anyio.lowlevel.checkpoint) is False
        assert "running" in repr(parent)
    assert [service.state for service in (parent, child, late)] == ["shutdown"] * 3
    assert child.restart_count == 1


async def test_a_service_made_by_its_class_name() -> None:
    """Classes made at run time are services like those that are written down."""
    kind = type("Made", (Service,), {"shutdown_timeout": 5.0})
    async with kind() as service:
        assert repr(service) == "<Made: running, 0 tasks>"


async def test_methods_that_come_as_attributes() -> None:
    """An attribute set on an instance hides the method of the class, also where that is a task."""
    calls: list[str] = []

    class Working(Service):
        async def step(self) -> None:
            calls.append("class")  # pragma: no cover - must not be reached

        @Service.task
        async def work(self) -> None:
            await self.step()

    async def step() -> None:
        calls.append("instance")

    service = Working()
    service.step = step  # type: ignore[method-assign]
    async with service:
        await anyio.wait_all_tasks_blocked()
    assert calls == ["instance"]


async def used(service: Service) -> None:
    """Use it in a block."""
    service.add_future(anyio.lowlevel.checkpoint)
    async with service:
        await service.restart()


async def started_bare(service: Service) -> None:
    """Start and stop it."""
    await service.start()
    await service.stop()
    await anyio.wait_all_tasks_blocked()


async def crashed(service: Service) -> None:
    """Crash it."""
    with pytest.raises(EOFError):
        async with service:
            await service.crash(EOFError())
            await anyio.sleep_forever()


async def failed(service: Service) -> None:
    """Let its start fail."""

    async def fail() -> None:
        raise EOFError

    service.on_started = fail  # type: ignore[method-assign]
    with pytest.raises(EOFError):
        await service.start()
    await anyio.wait_all_tasks_blocked()


@pytest.mark.parametrize("use", [used, started_bare, crashed, failed])
async def test_services_are_given_back(use: Callable[[Service], Awaitable[None]]) -> None:
    """A service that nobody holds any more is collected, with its children, however it has ended."""

    async def use_and_forget() -> list[weakref.ref[Service]]:
        parent, child = Falsy(), Falsy()
        parent.add_dependency(child)
        await use(parent)
        return [weakref.ref(parent), weakref.ref(child)]

    refs = await use_and_forget()
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


async def test_a_start_of_the_parent_in_a_childs_hook() -> None:
    """A child that starts its parent, which is starting it, gets an error, and nothing hangs."""

    class Child(Service):
        def __init__(self, parent: Service) -> None:
            self.parent = parent
            super().__init__()

        async def on_start(self) -> None:
            await self.parent.start()

    parent = Falsy()
    parent.add_dependency(Child(parent))
    with pytest.raises(LifecycleError, match="Falsy can't be started: it is starting already"):
        await parent.start()
    assert parent.state == "init"


async def test_the_same_dependency_twice() -> None:
    """on_init_dependencies may name the same service twice: it is one child."""
    starts: list[str] = []

    class Child(Service):
        async def on_start(self) -> None:
            starts.append("child")

    child = Child()

    class Parent(Service):
        def on_init_dependencies(self) -> list[Service]:
            return [child, child]

    async with Parent() as parent:
        assert len(parent.beacon.children) == 1
    assert starts == ["child"]


async def test_two_blocks_at_once() -> None:
    """Of two tasks that enter the same service at the same time one succeeds; the other gets an error."""
    errors: list[str] = []
    gate = anyio.Event()
    service = Falsy()

    async def enter() -> None:
        try:
            async with service:
                await gate.wait()
        except LifecycleError as exc:
            errors.append(str(exc))
            gate.set()

    async with anyio.create_task_group() as group:
        group.start_soon(enter)
        group.start_soon(enter)
    assert len(errors) == 1
    assert "Falsy can't be entered with `async with`" in errors[0]
    assert service.state == "shutdown"


async def test_an_interrupt_in_a_stopping_hook() -> None:
    """A KeyboardInterrupt in on_stop does not keep the rest from stopping, and leaves stop()."""
    ended: list[str] = []

    class Interrupted(Service):
        async def on_stop(self) -> None:
            raise KeyboardInterrupt

        async def on_shutdown(self) -> None:
            ended.append("on_shutdown")

    class Child(Service):
        async def on_shutdown(self) -> None:
            ended.append("child")

    service = Interrupted()
    service.add_dependency(Child())
    await service.start()
    with pytest.raises(KeyboardInterrupt):
        await service.stop()
    assert ended == ["child", "on_shutdown"]
    assert service.state == "shutdown"


async def test_a_crash_in_the_last_hook() -> None:
    """A crash in on_shutdown, when all has stopped, still reaches whoever stops the service."""
    boom = EOFError("boom")

    class Late(Service):
        async def on_shutdown(self) -> None:
            await self.crash(boom)

    with pytest.raises(EOFError, match="boom") as caught:
        async with Late() as service:
            pass
    assert caught.value is boom
    assert not service.started
