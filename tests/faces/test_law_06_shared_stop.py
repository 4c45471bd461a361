"""Law 6, stop() is idempotent and shared: one stop for all who ask, from inside and outside, without a deadlock."""

from __future__ import annotations

import anyio
import pytest

from structmode import Service


class Counted(Service):
    """Counts the calls of its hooks."""

    def on_init(self) -> None:
        self.calls: list[str] = []

    async def on_start(self) -> None:
        self.calls.append("on_start")

    async def on_stop(self) -> None:
        self.calls.append("on_stop")
        await anyio.wait_all_tasks_blocked()

    async def on_shutdown(self) -> None:
        self.calls.append("on_shutdown")


async def test_many_stops_at_once() -> None:
    """Any number of tasks may stop a service: the hooks run once, and all return after the one stop."""
    service = Counted()
    await service.start()
    states: list[str] = []

    async def stop() -> None:
        await service.stop()
        states.append(service.state)

    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(stop)
    assert states == ["shutdown"] * 100
    assert service.calls == ["on_start", "on_stop", "on_shutdown"]


async def test_a_stop_that_comes_late_waits_too() -> None:
    """Who asks while the stop is under way waits for its end as well."""
    stopping, gate = anyio.Event(), anyio.Event()

    class Slow(Counted):
        async def on_shutdown(self) -> None:
            stopping.set()
            await gate.wait()

    service = Slow()
    await service.start()
    states: list[str] = []

    async def stop() -> None:
        await service.stop()
        states.append(service.state)

    async with anyio.create_task_group() as group:
        group.start_soon(service.stop)
        await stopping.wait()
        group.start_soon(stop)
        await anyio.wait_all_tasks_blocked()
        assert states == []
        gate.set()
    assert states == ["shutdown"]


async def test_a_caller_that_gives_up() -> None:
    """A caller of stop() that is cancelled does not take the stop with it."""
    gate = anyio.Event()

    class Slow(Counted):
        async def on_shutdown(self) -> None:
            await gate.wait()
            self.calls.append("on_shutdown")

    service = Slow()
    await service.start()
    with anyio.move_on_after(0.01) as scope:
        await service.stop()
    assert scope.cancelled_caught
    assert service.state == "stopping"
    gate.set()
    await service.stop()
    assert service.calls == ["on_start", "on_stop", "on_shutdown"]


HOOKS = ["on_first_start", "on_start", "on_started", "on_stop", "on_shutdown", "on_restart"]


class StopsItself(Service):
    """Calls stop() of some service in one of its hooks."""

    def __init__(self, hook: str, target: Service | None = None) -> None:
        self.hook = hook
        self.target = target or self
        self.returned: list[str] = []
        super().__init__()

    async def maybe_stop(self, hook: str) -> None:
        """Stop the target, if here is the place."""
        if hook == self.hook:
            await self.target.stop()
            self.returned.append(hook)

    async def on_first_start(self) -> None:
        await self.maybe_stop("on_first_start")

    async def on_start(self) -> None:
        await self.maybe_stop("on_start")

    async def on_started(self) -> None:
        await self.maybe_stop("on_started")

    async def on_stop(self) -> None:
        await self.maybe_stop("on_stop")

    async def on_shutdown(self) -> None:
        await self.maybe_stop("on_shutdown")

    async def on_restart(self) -> None:
        await self.maybe_stop("on_restart")


@pytest.mark.parametrize("hook", HOOKS)
async def test_stop_in_a_hook(hook: str) -> None:
    """stop() in a hook returns to it at once, and the stop follows."""
    service = StopsItself(hook)
    try:
        await service.start()
        await service.restart()
        await service.stop()
    except RuntimeError as exc:
        assert "was stopped before it had started" in str(exc)
    await service.stop()
    assert service.returned
    assert not service.started
    assert service.failures == ()


@pytest.mark.parametrize("hook", HOOKS[:5])
async def test_stop_of_a_parent_in_a_hook(hook: str) -> None:
    """stop() of the parent in a child's hook returns at once too, and the whole tree stops."""
    parent = Counted()
    child = StopsItself(hook, parent)
    parent.add_dependency(child)
    try:
        await parent.start()
    except RuntimeError as exc:
        assert "was stopped before it had started" in str(exc)
    await parent.stop()
    assert child.returned == [hook]
    assert not parent.started
    assert not child.started


async def test_stop_in_a_task() -> None:
    """stop() in a task of the service: the task is cancelled as part of the stop, and does not go on."""
    after: list[str] = []

    class Quits(Counted):
        @Service.task
        async def work(self) -> None:
            await up.wait()
            try:
                await self.stop()
            except anyio.get_cancelled_exc_class():
                self.calls.append("cancelled")
                raise
            after.append("went on")  # pragma: no cover - must not be reached

    up = anyio.Event()
    service = Quits()
    await service.start()
    up.set()
    await service.wait_until_stopped()
    await service.stop()
    assert after == []
    assert service.calls == ["on_start", "on_stop", "cancelled", "on_shutdown"]
    assert service.failures == ()


async def test_stop_in_a_task_of_a_child() -> None:
    """A child's task may stop the parent, and all of it stops."""

    class Child(Counted):
        def __init__(self, parent: Service) -> None:
            self.parent = parent
            super().__init__()

        @Service.task
        async def work(self) -> None:
            await up.wait()
            await self.parent.stop()

    up = anyio.Event()
    parent = Counted()
    child = parent.add_dependency(Child(parent))
    async with parent:
        up.set()
        await parent.wait_until_stopped()
        await parent.stop()
    assert (parent.state, child.state) == ("shutdown", "shutdown")
    assert child.calls == ["on_start", "on_stop", "on_shutdown"]


async def test_stop_of_a_child_in_a_task_of_the_parent() -> None:
    """A parent's task may stop a child: it waits for that, and goes on."""
    steps: list[str] = []

    class Parent(Counted):
        def __post_init__(self) -> None:
            self.child = self.add_dependency(Counted())

        async def work(self) -> None:
            await self.child.stop()
            steps.append(self.child.state)

    async with Parent() as parent:
        await parent.add_future(parent.work())
        assert parent.state == "running"
    assert steps == ["shutdown"]


async def test_stop_of_a_child_in_a_hook_of_the_parent() -> None:
    """In a hook too: on_stop may stop a child first, and wait for it."""
    steps: list[str] = []

    class Parent(Counted):
        def __post_init__(self) -> None:
            self.child = self.add_dependency(Counted())
            self.other = self.add_dependency(Counted())

        async def on_stop(self) -> None:
            await self.child.stop()
            steps.extend([self.child.state, self.other.state])

    async with Parent():
        pass
    assert steps == ["shutdown", "running"]


async def test_stop_of_a_sibling() -> None:
    """A child's task may stop a sibling, and goes on."""
    steps: list[str] = []

    class Child(Counted):
        async def stop_other(self, other: Service) -> None:
            await other.stop()
            steps.append(other.state)

    parent, one, two = Counted(), Child(), Child()
    parent.add_dependency(one)
    parent.add_dependency(two)
    async with parent:
        await one.add_future(one.stop_other(two))
        assert (parent.state, one.state) == ("running", "running")
    assert steps == ["shutdown"]


async def test_two_tasks_that_stop_each_others_services() -> None:
    """Two services whose tasks stop each other at the same time both stop."""

    class Rival(Counted):
        other: Service

        @Service.task
        async def work(self) -> None:
            await up.wait()
            await self.other.stop()

    up = anyio.Event()
    one, two = Rival(), Rival()
    one.other, two.other = two, one
    with anyio.fail_after(20.0):
        async with one, two:
            up.set()
            await one.wait_until_stopped()
            await two.wait_until_stopped()
    assert (one.state, two.state) == ("shutdown", "shutdown")


async def test_stop_while_a_task_is_cancelled() -> None:
    """A task may call stop() in its clean-up, while it is being cancelled by the stop."""
    steps: list[str] = []

    class Tidy(Counted):
        @Service.task
        async def work(self) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.lowlevel.checkpoint()
                steps.append("cleaned up")
                await self.stop()
                steps.append("went on")  # pragma: no cover - must not be reached

    async with Tidy() as service:
        await anyio.wait_all_tasks_blocked()
    assert steps == ["cleaned up"]
    assert (service.state, service.failures) == ("shutdown", ())


async def test_stop_in_a_timer() -> None:
    """A timer's body may stop its service."""

    class Timed(Counted):
        @Service.timer(0.001)
        async def tick(self) -> None:
            await self.stop()

    service = Timed()
    await service.start()
    await service.wait_until_stopped()
    await service.stop()
    assert service.calls == ["on_start", "on_stop", "on_shutdown"]


async def test_stop_again_and_again() -> None:
    """After a stop further stops do nothing; after another start there is another stop."""
    service = Counted()
    for _ in range(3):
        await service.start()
        for _ in range(3):
            await service.stop()
    assert service.calls == ["on_start", "on_stop", "on_shutdown"] * 3


async def test_stop_and_crash_at_once() -> None:
    """A crash in the midst of a stop, and a stop in the midst of a crash, are each one stop."""
    service = Counted()
    await service.start()
    async with anyio.create_task_group() as group:

        async def stop() -> None:
            try:
                await service.stop()
            except EOFError:
                service.calls.append("raised")

        group.start_soon(stop)
        group.start_soon(service.crash, EOFError("crash"))
        group.start_soon(stop)
    assert [call for call in service.calls if call != "raised"] == [
        "on_start",
        "on_stop",
        "on_shutdown",
    ]
    assert not service.started
