"""The faults of mode's life cycle, by their numbers in the survey: each test states the opposite of one."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import (
    asynccontextmanager,
    contextmanager,
)
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from structmode import LifecycleError, Service, ShutdownTimeout
from structmode.events import LifecycleEvent, TaskEnded, subscribe
from structmode.utils.trees import Node

#: Longer than any test takes, in seconds: nothing here waits for it to pass.
FOREVER = 3600.0


@contextmanager
def context(events: list[str], name: str) -> Generator[str]:
    """A context that notes when it is entered and left."""
    events.append(f"enter {name}")
    try:
        yield name
    finally:
        events.append(f"leave {name}")


@asynccontextmanager
async def async_context(events: list[str], name: str) -> AsyncGenerator[str]:
    """An async context that notes when it is entered and left, and waits a little for both."""
    await anyio.lowlevel.checkpoint()
    events.append(f"enter {name}")
    try:
        yield name
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.lowlevel.checkpoint()
        events.append(f"leave {name}")


async def settle() -> None:
    """Let all happen that can happen without time passing."""
    for _ in range(50):
        await anyio.lowlevel.checkpoint()


class Probe(Service):
    """A service that notes all that happens to it, and does in its hooks what a test puts into `doing`."""

    def __init__(self, name: str, events: list[str], *children: Service) -> None:
        self.name = name
        self.events = events
        self.doing: dict[str, Callable[[], Awaitable[object]]] = {}
        super().__init__()
        for child in children:
            self.add_dependency(child)

    @property
    def label(self) -> str:
        return self.name

    async def note(self, what: str) -> None:
        """Note a hook, and do what the test wants done in it."""
        self.events.append(f"{self.name} {what}")
        if what in self.doing:
            await self.doing[what]()

    async def on_first_start(self) -> None:
        await self.note("on_first_start")

    async def on_start(self) -> None:
        await self.note("on_start")

    async def on_started(self) -> None:
        await self.note("on_started")

    async def on_stop(self) -> None:
        await self.note("on_stop")

    async def on_shutdown(self) -> None:
        await self.note("on_shutdown")

    @Service.task
    async def work(self) -> None:
        self.events.append(f"{self.name} task begins")
        try:
            await self.do_work()
        finally:
            self.events.append(f"{self.name} task ends")

    async def do_work(self) -> None:
        """What the task does; for subclasses."""
        await anyio.sleep_forever()


def raising(exc: BaseException) -> Callable[[], Awaitable[None]]:
    """Return something to do in a hook: raise."""

    async def fail() -> None:
        await anyio.lowlevel.checkpoint()
        raise exc

    return fail


def raising_later(exc: BaseException) -> Callable[[], Awaitable[None]]:
    """Return something to do in a hook: raise, when all tasks that have been started have begun."""

    async def fail() -> None:
        await settle()
        raise exc

    return fail


def begun_and_ended(events: Sequence[str], begun: str, ended: str) -> tuple[int, int]:
    """Count how many notes end in each of two ways."""
    return (
        sum(event.endswith(begun) for event in events),
        sum(event.endswith(ended) for event in events),
    )


# --- A1: a start that fails -----------------------------------------------------------------------

START_STEPS = ["on_start", "child", "on_started"]


def failing_at(step: str, events: list[str]) -> tuple[Probe, ValueError]:
    """Make a tree whose start fails at a step: in the parent's hook, or in its second child."""
    first, second = Probe("first", events), Probe("second", events)
    parent = Probe("parent", events, first, second)
    error = ValueError(step)
    culprit, hook = (second, "on_started") if step == "child" else (parent, step)
    culprit.doing[hook] = raising_later(error)
    return parent, error


def mend(parent: Probe) -> None:
    """Let the start of a tree succeed from now on."""
    for node in parent.beacon.traverse():
        node.data.doing.clear()


@pytest.mark.fault("A1")
@pytest.mark.parametrize("step", START_STEPS)
async def test_a01_failed_start_is_rolled_back(step: str) -> None:
    """When a start fails, no task, child, future or context is left when the error, unchanged, leaves `start`."""
    events: list[str] = []
    parent, error = failing_at(step, events)
    parent.add_context(context(events, "context"))
    future = parent.add_future(anyio.sleep_forever)
    with pytest.raises(ValueError, match=step) as caught:
        await parent.start()
    assert caught.value is error
    begun, ended = begun_and_ended(events, "task begins", "task ends")
    assert begun == ended
    assert begun == {"on_start": 0, "child": 3, "on_started": 3}[step]
    assert future.cancelled()
    assert events.index("leave context") > max(
        [i for i, event in enumerate(events) if event.endswith("task ends")], default=0
    )
    assert [child.data.started for child in parent.beacon.children] == [False, False]
    assert not parent.tracebacks()


@pytest.mark.fault("A1")
@pytest.mark.parametrize("step", START_STEPS)
async def test_a01_failed_start_leaves_it_not_started(step: str) -> None:
    """After a start that failed, a service is neither started, running nor crashed, but as if never started."""
    parent, _ = failing_at(step, [])
    with pytest.raises(ValueError, match=step):
        await parent.start()
    for service in (node.data for node in parent.beacon.traverse()):
        assert not service.started
        assert not service.crashed
        assert service.state in {"init", "shutdown"}
    assert parent.state == "init"


@pytest.mark.fault("A1")
@pytest.mark.parametrize("step", START_STEPS)
async def test_a01_start_after_failed_start(step: str) -> None:
    """A service whose start failed can be started again, and is complete then."""
    events: list[str] = []
    parent, _ = failing_at(step, events)
    with pytest.raises(ValueError, match=step):
        await parent.start()
    mend(parent)
    events.clear()
    await parent.start()
    assert parent.state == "running"
    assert [child.data.state for child in parent.beacon.children] == ["running", "running"]
    assert begun_and_ended(events, "task begins", "task ends") == (3, 0)
    assert "parent on_first_start" in events
    await parent.stop()


@pytest.mark.fault("A1")
@pytest.mark.parametrize("step", START_STEPS)
async def test_a01_maybe_start_after_failed_start(step: str) -> None:
    """After a start that failed, `maybe_start` starts the service, and says so."""
    parent, _ = failing_at(step, [])
    with pytest.raises(ValueError, match=step):
        await parent.maybe_start()
    mend(parent)
    assert await parent.maybe_start() is True
    assert parent.state == "running"
    assert await parent.maybe_start() is False
    await parent.stop()


@pytest.mark.fault("A1")
@pytest.mark.parametrize("step", START_STEPS)
async def test_a01_failed_start_in_async_with(step: str) -> None:
    """`async with` of a service that can't start raises the error itself, skips the body, and leaves nothing."""
    events: list[str] = []
    parent, error = failing_at(step, events)
    with pytest.raises(ValueError, match=step) as caught:
        async with parent:
            events.append("body")  # pragma: no cover - must not be reached
    assert caught.value is error
    assert "body" not in events
    begun, ended = begun_and_ended(events, "task begins", "task ends")
    assert begun == ended
    assert parent.state == "init"


@pytest.mark.fault("A1")
async def test_a01_rollback_runs_the_hooks_of_what_was_up() -> None:
    """The rollback calls the stop hooks of just those services whose `on_start` had returned, top down."""
    events: list[str] = []
    up, failing, never = (Probe(name, events) for name in ("up", "failing", "never"))
    parent = Probe("parent", events, up, failing, never)
    failing.doing["on_start"] = raising(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await parent.start()
    stopping = ("on_stop", "on_shutdown", "ends")
    assert [event for event in events if event.endswith(stopping)] == [
        "parent on_stop",
        "up on_stop",
        "up task ends",
        "up on_shutdown",
        "parent task ends",
        "parent on_shutdown",
    ]
    assert not any(event.startswith("never") for event in events)


@pytest.mark.fault("A1")
async def test_a01_cancelled_start_is_rolled_back() -> None:
    """A caller who is cancelled during `start` leaves nothing running either."""
    events: list[str] = []
    parent = Probe("parent", events, child := Probe("child", events))
    child.doing["on_started"] = anyio.sleep_forever
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(parent.start)
            await settle()
            scope.cancel()
    assert begun_and_ended(events, "task begins", "task ends") == (2, 2)
    assert (parent.state, child.state, parent.started) == ("init", "init", False)


# --- A2 -------------------------------------------------------------------------------------------


@pytest.mark.fault("A2")
async def test_a02_failure_of_on_first_start_closes_contexts() -> None:
    """Contexts entered before, or in, an `on_first_start` that fails are left; the hook runs again next time."""
    events: list[str] = []
    service = Probe("service", events)
    service.add_context(context(events, "early"))

    async def enter_and_fail() -> None:
        service.add_context(context(events, "sync"))
        await service.add_async_context(async_context(events, "async"))
        raise ValueError("no")

    service.doing["on_first_start"] = enter_and_fail
    with pytest.raises(ValueError, match="no"):
        await service.start()
    assert events[-3:] == ["leave async", "leave sync", "leave early"]
    service.doing.clear()
    events.clear()
    async with service:
        assert events[0] == "service on_first_start"


# --- A3 -------------------------------------------------------------------------------------------


@pytest.mark.fault("A3")
async def test_a03_crash_cancels_the_body() -> None:
    """A crash cancels the body of `async with`, and leaves the block as the exception that it is."""
    error = ValueError("crash")
    service = Probe("service", [])
    ended: list[str] = []
    with pytest.raises(ValueError, match="crash") as caught:
        async with service:
            service.add_future(raising(error))
            try:
                await anyio.sleep(1.0)
                ended.append("by itself")  # pragma: no cover - must not be reached
            except anyio.get_cancelled_exc_class():
                ended.append("cancelled")
                raise
    assert caught.value is error
    assert ended == ["cancelled"]


@pytest.mark.fault("A3")
async def test_a03_crash_reason_is_kept() -> None:
    """After the block the service still tells that it crashed, and of what."""
    error = ValueError("crash")
    service = Probe("service", [])
    with pytest.raises(ValueError, match="crash"):
        async with service:
            service.add_future(raising(error))
            await anyio.sleep_forever()
    assert (service.crashed, service.crash_reason, service.state) == (True, error, "crashed")
    assert list(service.failures) == [error]


@pytest.mark.fault("A3")
async def test_a03_crash_of_a_body_about_to_leave() -> None:
    """A crash whose body ends by itself at the same moment leaves the block all the same."""
    service = Probe("service", [])
    with pytest.raises(ValueError, match="crash"):
        async with service:
            await service.crash(ValueError("crash"))


# --- A4 -------------------------------------------------------------------------------------------


def family(events: list[str]) -> dict[str, Probe]:
    """Make a root with two children, the first of which has one."""
    leaf, sibling = Probe("leaf", events), Probe("sibling", events)
    child = Probe("child", events, leaf)
    root = Probe("root", events, child, sibling)
    return {service.name: service for service in (root, child, leaf, sibling)}


@pytest.mark.fault("A4")
async def test_a04_crash_stops_the_whole_tree_in_order() -> None:
    """A crash deep down stops every service of the tree, top down, and calls all stop hooks."""
    events: list[str] = []
    tree = family(events)
    with pytest.raises(ValueError, match="crash"):
        async with tree["root"]:
            events.clear()
            tree["leaf"].add_future(raising(ValueError("crash")))
            await anyio.sleep_forever()
    hooks = [event for event in events if not event.endswith("task ends")]
    assert hooks == [
        "root on_stop",
        "sibling on_stop",
        "sibling on_shutdown",
        "child on_stop",
        "leaf on_stop",
        "leaf on_shutdown",
        "child on_shutdown",
        "root on_shutdown",
    ]
    assert begun_and_ended(events, "task begins", "task ends") == (0, 4)


@pytest.mark.fault("A4")
async def test_a04_crash_does_not_mark_siblings() -> None:
    """A crash marks those above the one that failed, and no sibling, which merely stops."""
    tree = family([])
    with pytest.raises(ValueError, match="crash"):
        async with tree["root"]:
            await tree["leaf"].crash(ValueError("crash"))
            assert all(service.should_stop for service in tree.values())
            await anyio.sleep_forever()
    assert {name: service.state for name, service in tree.items()} == {
        "root": "crashed",
        "child": "crashed",
        "leaf": "crashed",
        "sibling": "shutdown",
    }


@pytest.mark.fault("A4")
async def test_a04_crash_after_a_bare_start(caplog: pytest.LogCaptureFixture) -> None:
    """A tree that nobody but the event loop owns is stopped by a crash too, and the log has the traceback."""
    events: list[str] = []
    tree = family(events)
    await tree["root"].start()
    error = ValueError("nobody receives this")
    await settle()
    tree["leaf"].add_future(raising(error))
    await settle()
    assert not any(service.started for service in tree.values())
    assert begun_and_ended(events, "on_stop", "on_shutdown") == (4, 4)
    assert begun_and_ended(events, "task begins", "task ends") == (4, 4)
    assert any(record.exc_info and record.exc_info[1] is error for record in caplog.records)


# --- A5 -------------------------------------------------------------------------------------------


@pytest.mark.fault("A5")
async def test_a05_stop_undoes_the_start_in_reverse() -> None:
    """Tasks begin in order of definition and then children; the stop takes away just that from the end backwards."""
    events: list[str] = []

    class Parent(Probe):
        @Service.task
        async def more_work(self) -> None:
            self.events.append("parent second task begins")
            try:
                await anyio.sleep_forever()
            finally:
                self.events.append("parent second task ends")

    first, second = Probe("first", events), Probe("second", events)
    async with Parent("parent", events, first, second):
        await settle()
    started = [event.removesuffix(" begins") for event in events if event.endswith("begins")]
    stopped = [event.removesuffix(" ends") for event in events if event.endswith("ends")]
    assert started == ["parent task", "parent second task", "first task", "second task"]
    assert stopped == started[::-1]


@pytest.mark.fault("A5")
async def test_a05_children_are_up_when_the_parent_takes_leave() -> None:
    """In its `on_started` and `on_stop` a service finds its children, and its own tasks, running and usable."""
    events: list[str] = []
    child = Probe("child", events)
    parent = Probe("parent", events, child)
    seen: list[tuple[str, object]] = []

    async def look() -> None:
        await settle()
        begun, ended = begun_and_ended(events, "task begins", "task ends")
        seen.append((child.state, begun - ended))

    async def ask_child() -> None:
        await look()
        seen.append(("answer", await child.add_future(answer)))

    async def answer() -> int:
        await anyio.lowlevel.checkpoint()
        return 42

    parent.doing = {"on_started": look, "on_stop": ask_child}
    async with parent:
        pass
    assert seen == [("running", 2), ("running", 2), ("answer", 42)]


# --- A6 -------------------------------------------------------------------------------------------


class Draining(Probe):
    """Its task finishes what it has begun, once it sees that the service stops."""

    drain_timeout = FOREVER

    async def do_work(self) -> None:
        await self.wait_until_stopped()
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        self.events.append(f"{self.name} finished")


@pytest.mark.fault("A6")
async def test_a06_tasks_may_end_by_themselves() -> None:
    """Within `drain_timeout` a task that ends by itself is not cancelled, and futures neither."""
    events: list[str] = []
    async with Draining("service", events) as service:
        future = service.add_future(service.do_work)
        await settle()
    assert events.count("service finished") == 2
    assert not future.cancelled()


@pytest.mark.fault("A6")
async def test_a06_drain_is_bounded() -> None:
    """A task that goes on past `drain_timeout` is cancelled then."""
    events: list[str] = []
    service = Probe("service", events)
    service.drain_timeout = 0.01
    await service.start()
    await settle()
    await service.stop()
    assert events[-2:] == ["service task ends", "service on_shutdown"]


# --- A7 -------------------------------------------------------------------------------------------


class Stubborn(Probe):
    """Its task ignores cancellation until it is let go."""

    shutdown_timeout = 0.1

    def __post_init__(self) -> None:
        self.let_go = anyio.Event()

    async def do_work(self) -> None:
        with anyio.CancelScope(shield=True):
            await self.let_go.wait()


@pytest.mark.fault("A7")
@pytest.mark.slow
async def test_a07_stop_does_not_hang_on_a_task_that_ignores_it() -> None:
    """`stop` of a service with a task that ignores even the hard cancel ends, by an error that names the task."""
    events: list[str] = []
    service = Stubborn("stubborn", events)
    await service.start()
    with pytest.raises(ShutdownTimeout) as caught:
        await service.stop()
    (stuck,) = caught.value.stuck
    assert (stuck.owner, stuck.task) == ("stubborn", "stubborn.work")
    assert "do_work" in stuck.stack
    assert caught.value.label == "stubborn"
    service.let_go.set()
    await settle()
    # What is left behind ends when it may; the hook has not waited for it.
    assert sorted(events[-2:]) == ["stubborn on_shutdown", "stubborn task ends"]


@pytest.mark.fault("A7")
async def test_a07_stop_has_a_deadline() -> None:
    """A hook that hangs is cancelled after `shutdown_timeout`; the rest of the stop happens, and stop() tells."""
    events: list[str] = []
    parent = Probe("parent", events, Probe("child", events))
    parent.doing["on_stop"] = anyio.sleep_forever
    parent.shutdown_timeout = 0.1
    await parent.start()
    await settle()
    with pytest.raises(ShutdownTimeout, match="on_stop"):
        await parent.stop()
    assert begun_and_ended(events, "task begins", "task ends") == (2, 2)
    assert events[-1] == "parent on_shutdown"


@pytest.mark.fault("A7")
async def test_a07_one_that_hangs_does_not_keep_its_siblings() -> None:
    """A child that hangs in its stop does not keep its siblings from stopping in order."""
    events: list[str] = []
    before, after = Probe("before", events), Probe("after", events)
    hanging = Probe("hanging", events)
    hanging.shutdown_timeout = 0.1
    hanging.doing["on_stop"] = anyio.sleep_forever
    root = Probe("root", events, before, hanging, after)
    await root.start()
    await settle()
    with pytest.raises(ShutdownTimeout, match="hanging"):
        await root.stop()
    ends = [event for event in events if event.endswith("on_shutdown")]
    assert ends == [f"{name} on_shutdown" for name in ("after", "hanging", "before", "root")]
    assert begun_and_ended(events, "task begins", "task ends") == (4, 4)


# --- A8 -------------------------------------------------------------------------------------------


@pytest.mark.fault("A8")
async def test_a08_cancelled_stop_is_cancelled() -> None:
    """A caller of `stop` who is cancelled gets the cancellation, while the stop goes on and can be waited for."""
    events: list[str] = []
    service = Probe("service", events)
    go_on = anyio.Event()
    service.doing["on_stop"] = go_on.wait
    await service.start()
    await settle()
    with anyio.move_on_after(0.01) as scope:
        await service.stop()
        events.append("not reached")  # pragma: no cover - must not be reached
    assert scope.cancelled_caught
    assert service.state == "stopping"
    assert "service.work" in service.tracebacks()  # nothing is forgotten
    go_on.set()
    await service.stop()
    assert events[-2:] == ["service task ends", "service on_shutdown"]
    assert "not reached" not in events


@pytest.mark.fault("A8")
async def test_a08_timeout_around_the_block_goes_on_outward() -> None:
    """A cancellation around `async with` becomes an orderly stop, and leaves the block as a cancellation."""
    events: list[str] = []
    with anyio.CancelScope() as scope:
        async with Probe("service", events) as service:
            service.doing["on_stop"] = anyio.lowlevel.checkpoint
            await settle()
            scope.cancel()
            await anyio.sleep_forever()
        events.append("not reached")  # pragma: no cover - must not be reached
    assert scope.cancelled_caught
    assert events[-3:] == ["service on_stop", "service task ends", "service on_shutdown"]


# --- A9 -------------------------------------------------------------------------------------------


@pytest.mark.fault("A9")
async def test_a09_every_caller_of_stop_waits_for_its_end() -> None:
    """Two tasks that stop one service both return when it has stopped, of one stop."""
    events: list[str] = []
    service = Probe("service", events)
    go_on = anyio.Event()
    service.doing["on_stop"] = go_on.wait

    async def stop(name: str) -> None:
        await service.stop()
        events.append(name)

    await service.start()
    await settle()
    async with anyio.create_task_group() as group:
        group.start_soon(stop, "caller")
        await settle()
        group.start_soon(stop, "caller")
        await settle()
        assert "caller" not in events
        go_on.set()
    assert events[-3:] == ["service on_shutdown", "caller", "caller"]
    assert events.count("service on_stop") == 1


# --- A10 ------------------------------------------------------------------------------------------


@pytest.mark.fault("A10")
async def test_a10_failing_on_stop_does_not_cut_the_stop_short() -> None:
    """When `on_stop` raises, children, tasks, futures and contexts end as ever, and the error leaves `stop`."""
    events: list[str] = []
    parent = Probe("parent", events, child := Probe("child", events))
    parent.doing["on_stop"] = raising(error := ValueError("on_stop"))
    parent.add_context(context(events, "context"))
    future = parent.add_future(anyio.sleep_forever)
    await parent.start()
    await settle()
    with pytest.raises(ValueError, match="on_stop") as caught:
        await parent.stop()
    assert caught.value is error
    assert future.cancelled()
    assert (parent.state, child.state) == ("shutdown", "shutdown")
    assert events[-7:] == [
        "parent on_stop",
        "child on_stop",
        "child task ends",
        "child on_shutdown",
        "parent task ends",
        "leave context",
        "parent on_shutdown",
    ]


@pytest.mark.fault("A10")
async def test_a10_second_stop_after_a_failed_one() -> None:
    """After a stop that went wrong nothing is left to stop: the next one does nothing, and a start works."""
    events: list[str] = []
    service = Probe("service", events)
    service.doing["on_stop"] = raising(ValueError("on_stop"))
    await service.start()
    with pytest.raises(ValueError, match="on_stop"):
        await service.stop()
    events.clear()
    await service.stop()
    assert events == []
    service.doing.clear()
    await service.start()
    assert service.state == "running"
    await service.stop()


@pytest.mark.fault("A10")
@pytest.mark.parametrize("hook", ["on_stop", "on_shutdown"])
async def test_a10_failing_child_does_not_cut_the_stop_short(hook: str) -> None:
    """When a child's stop goes wrong, its siblings and its parent stop as ever, and the parent's `stop` tells."""
    events: list[str] = []
    first, second = Probe("first", events), Probe("second", events)
    second.doing[hook] = raising(ValueError(hook))
    parent = Probe("parent", events, first, second)
    await parent.start()
    await settle()
    with pytest.raises(ValueError, match=hook):
        await parent.stop()
    assert begun_and_ended(events, "task begins", "task ends") == (3, 3)
    assert events[-1] == "parent on_shutdown"


# --- A11 ------------------------------------------------------------------------------------------


@pytest.mark.fault("A11")
async def test_a11_shutdown_flag_that_never_comes() -> None:
    """A `set_shutdown` that never comes makes `stop` raise in time, and nothing is left then."""
    events: list[str] = []
    service = Probe("service", events, Probe("child", events))
    service.wait_for_shutdown = True
    service.shutdown_timeout = 0.1
    service.add_context(context(events, "context"))
    await service.start()
    await settle()
    with pytest.raises(ShutdownTimeout, match="set_shutdown"):
        await service.stop()
    assert begun_and_ended(events, "task begins", "task ends") == (2, 2)
    assert events[-2:] == ["leave context", "service on_shutdown"]
    assert (service.started, service.state) == (False, "shutdown")


@pytest.mark.fault("A11")
async def test_a11_shutdown_flag_that_comes() -> None:
    """The flag is waited for, and a stop that gets it raises nothing."""
    events: list[str] = []
    service = Probe("service", events)
    service.wait_for_shutdown = True
    await service.start()
    async with anyio.create_task_group() as group:
        group.start_soon(service.stop)
        await settle()
        assert "service on_shutdown" not in events
        service.set_shutdown()
    assert events[-1] == "service on_shutdown"


# --- A12 ------------------------------------------------------------------------------------------


@pytest.mark.fault("A12")
async def test_a12_stop_before_start_does_nothing() -> None:
    """A stop before the start has no effect: the start that follows is a whole one."""
    events: list[str] = []
    service = Probe("service", events)
    await service.stop()
    assert (events, service.state, service.should_stop) == ([], "init", False)
    await service.start()
    await settle()
    assert sorted(events) == [
        "service on_first_start",
        "service on_start",
        "service on_started",
        "service task begins",
    ]
    assert (service.state, service.should_stop) == ("running", False)
    await service.stop()


# --- A13 ------------------------------------------------------------------------------------------


@pytest.mark.fault("A13")
async def test_a13_second_dependent_waits_until_the_shared_one_is_up() -> None:
    """Of two tasks that call `maybe_start`, one starts the service, and both return when it is up."""
    service = Probe("shared", [])
    go_on = anyio.Event()
    service.doing["on_start"] = go_on.wait
    results: list[tuple[bool, str]] = []

    async def depend() -> None:
        began = await service.maybe_start()
        results.append((began, service.state))

    async with anyio.create_task_group() as group:
        group.start_soon(depend)
        group.start_soon(depend)
        await settle()
        assert results == []
        go_on.set()
    assert sorted(results) == [(False, "running"), (True, "running")]
    await service.stop()


@pytest.mark.fault("A13")
async def test_a13_second_dependent_learns_of_a_failed_start() -> None:
    """One who waits in `maybe_start` for a start that fails gets the failure, too."""
    service = Probe("shared", [])
    go_on = anyio.Event()

    async def fail() -> None:
        await go_on.wait()
        raise ValueError("no")

    service.doing["on_start"] = fail
    errors: list[BaseException] = []

    async def depend() -> None:
        try:
            await service.maybe_start()
        except ValueError as exc:
            errors.append(exc)

    async with anyio.create_task_group() as group:
        group.start_soon(depend)
        group.start_soon(depend)
        await settle()
        go_on.set()
    assert len(errors) == 2
    assert errors[0] is errors[1]


@pytest.mark.fault("A13")
async def test_a13_running_child_has_one_owner() -> None:
    """A child that runs under one parent can't be taken, or stopped with it, by another."""
    events: list[str] = []
    child = Probe("child", events)
    owner, other = Probe("owner", events, child), Probe("other", events)
    await owner.start()
    await other.start()
    with pytest.raises(LifecycleError, match=r"child .*other.*owner"):
        other.add_dependency(child)
    with pytest.raises(LifecycleError, match=r"child .*other.*owner"):
        await other.add_runtime_dependency(child)
    await other.stop()
    assert child.state == "running"
    await owner.stop()
    assert child.state == "shutdown"


@pytest.mark.fault("A13")
async def test_a13_child_follows_its_last_parent_only() -> None:
    """A child that was given to another parent before any start is started and stopped by that one alone."""
    events: list[str] = []
    child = Probe("child", events)
    former, owner = Probe("former", events, child), Probe("owner", events)
    owner.add_dependency(child)
    await former.start()
    assert child.state == "init"
    await owner.start()
    await former.stop()
    assert child.state == "running"
    await owner.stop()
    assert child.state == "shutdown"


# --- A14 ------------------------------------------------------------------------------------------


@pytest.mark.fault("A14")
async def test_a14_runtime_dependency_of_a_stopped_parent() -> None:
    """What is added to a parent that has stopped is not started, but starts and stops with its next run."""
    events: list[str] = []
    parent, child = Probe("parent", events), Probe("child", events)
    await parent.start()
    await parent.stop()
    await parent.add_runtime_dependency(child)
    assert (child.started, child.state) == (False, "init")
    async with parent:
        assert child.state == "running"
    assert child.state == "shutdown"


@pytest.mark.fault("A14")
async def test_a14_runtime_dependency_of_a_stopping_parent() -> None:
    """What is added to a parent that is stopping is refused, does not start, and is not kept."""
    events: list[str] = []
    parent, child = Probe("parent", events), Probe("child", events)

    async def add() -> None:
        with pytest.raises(LifecycleError, match="parent is stopping"):
            await parent.add_runtime_dependency(child)

    parent.doing["on_stop"] = add
    async with parent:
        pass
    assert (child.state, child.beacon.parent) == ("init", None)
    assert not any(event.startswith("child") for event in events)


# --- A15 ------------------------------------------------------------------------------------------


@pytest.mark.fault("A15")
async def test_a15_states_of_a_life() -> None:
    """The state goes through init, starting, running and stopping, and ends in shutdown."""
    service = Probe("service", [])
    states = [service.state]

    async def look() -> None:
        await anyio.lowlevel.checkpoint()
        states.append(service.state)

    service.doing = dict.fromkeys(["on_start", "on_stop", "on_shutdown"], look)
    await service.start()
    await look()
    await service.stop()
    await look()
    assert states == ["init", "starting", "running", "stopping", "stopping", "shutdown"]


# --- A16 ------------------------------------------------------------------------------------------


@pytest.mark.fault("A16")
def test_a16_log_in_post_init(caplog: pytest.LogCaptureFixture) -> None:
    """A service can log in `__post_init__`, and in `on_init`, under its own name."""

    class Talkative(Service):
        def on_init(self) -> None:
            self.log.warning("on_init")

        def __post_init__(self) -> None:
            self.log.warning("__post_init__")

    Talkative()
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["[^Talkative]: on_init", "[^Talkative]: __post_init__"]


# --- A17, A18, A19 --------------------------------------------------------------------------------


class WithTask(Service):
    """A base class that has work of its own."""

    @Service.task
    async def work_of_base(self) -> None:
        await self.sleep(0)


def make_local_class(base: type[Service], events: list[str], names: Sequence[str]) -> Service:
    """Make an instance of a class that has the same module and qualified name each time."""

    async def work(self: Service) -> None:
        await self.sleep(0)
        events.append(str(names))

    methods: dict[str, Any] = {}
    for name in names:
        work.__name__ = name
        methods[name] = Service.task(work)
    local: type[Service] = type("Local", (base,), {"__module__": __name__, **methods})
    return local()


@pytest.mark.fault("A17")
@pytest.mark.parametrize("base", [Service, WithTask])
async def test_a17_same_named_classes_have_tasks_of_their_own(base: type[Service]) -> None:
    """Classes that share module, name and base, as local ones do, each run their own tasks and no other's."""
    events: list[str] = []
    one, two = (make_local_class(base, events, names) for names in (["a"], ["b", "c"]))
    assert type(one).__qualname__ == type(two).__qualname__
    async with one, two:
        await settle()
    assert sorted(events) == ["['a']", "['b', 'c']", "['b', 'c']"]


@pytest.mark.fault("A18")
async def test_a18_inherited_task_switched_off() -> None:
    """A subclass that sets an inherited task to None does not run it, and its own subclasses may again."""
    events: list[str] = []

    class Quiet(Probe):
        work = None  # type: ignore[assignment]

    class Loud(Quiet):
        @Service.task
        async def work(self) -> None:  # type: ignore[override]
            self.events.append("loud")

    async with Quiet("quiet", events):
        await settle()
    assert not any("task" in event for event in events)
    async with Loud("loud", events):
        await settle()
    assert "loud" in events


@pytest.mark.fault("A19")
async def test_a19_tasks_start_in_order_of_definition() -> None:
    """Tasks begin in the order in which they are defined, those of base classes first, overridden ones in place."""
    events: list[str] = []

    class Base(Service):
        @Service.task
        async def zebra(self) -> None:
            events.append("zebra")  # pragma: no cover - another takes its place

        @Service.task
        async def apple(self) -> None:
            events.append("apple")

        @Service.task
        async def mango(self) -> None:
            events.append("mango")

    class Derived(Base):
        @Service.task
        async def banana(self) -> None:
            events.append("banana")

        @Service.task
        async def zebra(self) -> None:
            events.append("zebra of Derived")

        @Service.task
        async def aardvark(self) -> None:
            events.append("aardvark")

    async with Derived():
        await settle()
    assert events == ["zebra of Derived", "apple", "mango", "banana", "aardvark"]


# --- A20 ------------------------------------------------------------------------------------------


@pytest.mark.fault("A20")
async def test_a20_task_that_returns_is_seen_to_have_ended() -> None:
    """A task that returns is no longer among what the service says it runs, while the others are."""

    class Brief(Probe):
        @Service.task
        async def brief(self) -> None:
            await done.wait()

    done = anyio.Event()
    async with Brief("service", []) as service:
        assert repr(service) == "<service: running, 2 tasks>"
        done.set()
        await settle()
        assert repr(service) == "<service: running, 1 task>"
        assert list(service.tracebacks()) == ["service.work"]


@pytest.mark.fault("A20")
async def test_a20_end_of_a_task_is_told() -> None:
    """That a task has ended, by itself or not, is told as an event, with its service, its name and its failure."""

    class Brief(Probe):
        @Service.task
        async def brief(self) -> None:
            pass

    told: list[tuple[object, str, BaseException | None]] = []

    def listen(event: LifecycleEvent) -> None:
        if isinstance(event, TaskEnded):
            told.append((event.subject, event.task, event.error))

    unsubscribe = subscribe(listen)
    service = Brief("service", [])
    error = ValueError("failed")
    with pytest.raises(ValueError, match="failed"):
        async with service:
            await settle()
            assert told == [(service, "service.brief", None)]
            service.add_future(anyio.sleep_forever, name="cancelled").cancel()
            await settle()
            service.add_future(raising(error), name="failing")
            await anyio.sleep_forever()
    unsubscribe()
    assert told[1:] == [
        (service, "cancelled", None),
        (service, "failing", error),
        (service, "service.work", None),
    ]


@pytest.mark.fault("A20")
async def test_a20_future_that_ends_tells_those_who_ask() -> None:
    """The handle of a future tells that it has ended, whether by itself or cancelled, to whoever asks or listens."""
    told: list[str] = []
    async with Probe("service", []) as service:
        returning = service.add_future(anyio.lowlevel.checkpoint)
        cancelled = service.add_future(anyio.sleep_forever)
        returning.add_done_callback(lambda handle: told.append("returning"))
        cancelled.add_done_callback(lambda handle: told.append("cancelled"))
        await settle()
        cancelled.cancel()
        await settle()
        assert (returning.done(), returning.cancelled()) == (True, False)
        assert (cancelled.done(), cancelled.cancelled()) == (True, True)
        assert told == ["returning", "cancelled"]
        assert service.state == "running"


@pytest.mark.fault("A20")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a20_task_cancelled_from_outside_stops_the_tree() -> None:
    """A task that asyncio itself cancels does not die under a service that goes on: its tree stops in order."""
    import asyncio

    events: list[str] = []
    native: list[asyncio.Task[Any] | None] = []

    class Child(Probe):
        async def do_work(self) -> None:
            native.append(asyncio.current_task())
            await anyio.sleep_forever()

    child = Child("child", events)
    parent = Probe("parent", events, child)
    await parent.start()
    await settle()
    (task,) = native
    assert task is not None
    task.cancel()
    await parent.wait_until_stopped()
    await parent.stop()
    assert (parent.state, child.state) == ("shutdown", "shutdown")
    assert events[-1] == "parent on_shutdown"


# --- A21 ------------------------------------------------------------------------------------------


@pytest.mark.fault("A21")
async def test_a21_event_loop_is_closed_is_an_error_as_any_other() -> None:
    """A RuntimeError of a task is a crash whatever its text says."""
    error = RuntimeError("Event loop is closed")
    with pytest.raises(RuntimeError, match="Event loop is closed") as caught:
        async with Probe("service", []) as service:
            service.add_future(raising(error))
            await anyio.sleep_forever()
    assert caught.value is error


# --- A22 ------------------------------------------------------------------------------------------


@pytest.mark.fault("A22")
async def test_a22_future_gives_its_result() -> None:
    """The handle that `add_future` returns can be awaited for the result, by several, and asked for it later."""

    async def answer() -> int:
        await anyio.lowlevel.checkpoint()
        return 42

    results: list[object] = []
    async with Probe("service", []) as service:
        handle = service.add_future(answer())

        async def ask() -> None:
            results.append(await handle)

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            group.start_soon(ask)
    assert results == [42, 42]
    assert handle.result() == 42
    assert handle.exception() is None


@pytest.mark.fault("A22")
async def test_a22_future_gives_its_exception() -> None:
    """Awaiting the handle raises what the future raised, which is also what the service crashes of."""
    error = ValueError("future")
    go_on = anyio.Event()

    async def fail() -> None:
        await go_on.wait()
        raise error

    service = Probe("service", [])
    handle = service.add_future(fail)
    with pytest.raises(ValueError, match="future"):
        async with service:
            go_on.set()
            with (
                anyio.CancelScope(shield=True),
                pytest.raises(ValueError, match="future") as caught,
            ):
                await handle
            assert caught.value is error
    assert handle.exception() is error
    assert service.crash_reason is error


@pytest.mark.fault("A22")
async def test_a22_future_added_before_the_start() -> None:
    """A future that was added before the start gives its result once the service has run it."""

    async def answer() -> int:
        await anyio.lowlevel.checkpoint()
        return 42

    service = Probe("service", [])
    handle = service.add_future(answer())
    assert not handle.done()
    async with service:
        assert await handle == 42


# --- A23 ------------------------------------------------------------------------------------------


@pytest.mark.fault("A23")
async def test_a23_wait_for_nothing_with_a_timeout() -> None:
    """`wait(timeout=)` waits for the stop alone, and returns when the timeout passes."""
    async with Probe("service", []) as service:
        result = await service.wait(timeout=0.001)
        assert tuple(result) == (None, False)
        assert result.timed_out


@pytest.mark.fault("A23")
async def test_a23_timeout_is_no_stop() -> None:
    """After a timeout a wait says that it timed out and not that the service stops."""
    async with Probe("service", []) as service:
        event = anyio.Event()
        result = await service.wait(event, timeout=0.001)
        assert (result.stopped, result.timed_out) == (False, True)
        first = await service.wait_first(event, anyio.sleep_forever, timeout=0.001)
        assert (first.done, first.stopped, first.timed_out) == ([], False, True)
        many = await service.wait_many([event, anyio.sleep_forever], timeout=0.001)
        assert (many.stopped, many.timed_out) == (False, True)
        assert await service.wait_for_stopped(event, timeout=0.001) is False


@pytest.mark.fault("A23")
async def test_a23_stop_is_no_timeout() -> None:
    """A wait that a stop has cut short says so, and not that it timed out, though it has a timeout."""
    results: list[tuple[bool, bool]] = []

    class Waiting(Probe):
        drain_timeout = FOREVER

        async def do_work(self) -> None:
            result = await self.wait(anyio.Event(), timeout=FOREVER)
            results.append((result.stopped, result.timed_out))
            first = await self.wait_first(anyio.Event(), timeout=FOREVER)
            results.append((first.stopped, first.timed_out))

    async with Waiting("service", []):
        await settle()
    assert results == [(True, False), (True, False)]


# --- A24 ------------------------------------------------------------------------------------------


@pytest.mark.fault("A24")
@pytest.mark.parametrize("kind", ["wait", "wait_many", "wait_first"])
async def test_a24_waits_leave_nothing_behind_on_stop(kind: str) -> None:
    """When a stop cuts a wait short, all that it waited for has been cancelled, and has ended, as it returns."""
    events: list[str] = []

    async def awaited() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
            events.append("ended")

    class Waiting(Probe):
        drain_timeout = FOREVER

        async def do_work(self) -> None:
            if kind == "wait":
                stopped = (await self.wait(awaited(), awaited())).stopped
            elif kind == "wait_many":
                stopped = (await self.wait_many([awaited(), awaited()])).stopped
            else:
                stopped = (await self.wait_first(awaited(), awaited())).stopped
            events.append(f"stopped: {stopped}")

    async with Waiting("service", []):
        await settle()
    assert events == ["ended", "ended", "stopped: True"]


@pytest.mark.fault("A24")
async def test_a24_losers_of_a_wait_have_ended() -> None:
    """When the first of several has ended, the others have been cancelled, and have ended, as the wait returns."""
    events: list[str] = []

    async def loser() -> None:
        try:
            await anyio.sleep(1.0)
            events.append("not cancelled")  # pragma: no cover - must not be reached
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
            events.append("ended")

    async with Probe("service", []) as service:
        result = await service.wait_first(loser(), anyio.lowlevel.checkpoint, loser())
        assert (result.done, result.stopped) == ([anyio.lowlevel.checkpoint], False)
        assert events == ["ended", "ended"]


@pytest.mark.fault("A24")
async def test_a24_waits_of_a_stopped_service_drop_no_coroutine() -> None:
    """A wait on a service that has stopped closes the coroutines that it was given, without a warning."""
    service = Probe("service", [])
    await service.start()
    await service.stop()
    assert (await service.wait_many([anyio.sleep(1), anyio.sleep(1)])).stopped
    assert (await service.wait_first(anyio.sleep(1), anyio.sleep(1))).stopped
    assert await service.wait_for_stopped(anyio.sleep(1))
    gc.collect()  # a coroutine that was never awaited says so now


# --- A25 ------------------------------------------------------------------------------------------


@pytest.mark.fault("A25")
async def test_a25_sleep_wakes_on_a_crash() -> None:
    """A crash anywhere in the tree ends the sleeps of all its services at once, before the stop comes to them."""
    woke: list[str] = []
    all_woke = anyio.Event()

    class Sleeping(Probe):
        async def do_work(self) -> None:
            await self.sleep(FOREVER)
            woke.append(self.name)
            if len(woke) == 3:
                all_woke.set()

    async def wait_for_all() -> None:
        with anyio.move_on_after(1.0):
            await all_woke.wait()
        woke.append("on_stop goes on")

    failing, sibling = Sleeping("failing", []), Sleeping("sibling", [])
    root = Sleeping("root", [], failing, sibling)
    root.doing["on_stop"] = wait_for_all
    with pytest.raises(ValueError, match="crash"):
        async with root:
            await settle()
            await failing.crash(ValueError("crash"))
            await anyio.sleep_forever()
    assert sorted(woke[:3]) == ["failing", "root", "sibling"]
    assert woke[3:] == ["on_stop goes on"]


@pytest.mark.fault("A25")
async def test_a25_sleep_of_others_wakes_on_a_crash() -> None:
    """Who sleeps with a service from outside of it, is woken by its crash too, and is not cancelled."""
    service = Probe("service", [])
    woke = anyio.Event()

    async def sleep() -> None:
        await service.sleep(FOREVER)
        woke.set()

    async with anyio.create_task_group() as group:
        with pytest.raises(ValueError, match="crash"):
            async with service:
                group.start_soon(sleep)
                await settle()
                await service.crash(ValueError("crash"))
                await anyio.sleep_forever()
        await woke.wait()


# --- A26, A27 -------------------------------------------------------------------------------------


@pytest.mark.fault("A26")
async def test_a26_contexts_close_last_in_first_out() -> None:
    """Sync and async contexts are left in exactly the reverse of the order in which they were entered."""
    events: list[str] = []
    service = Probe("service", [])
    service.add_context(context(events, "early"))
    async with service:
        service.add_context(context(events, "one"))
        await service.add_async_context(async_context(events, "two"))
        service.exit_stack.enter_context(context(events, "three"))
        await service.async_exit_stack.enter_async_context(async_context(events, "four"))
        service.add_context(context(events, "five"))
    names = ["early", "one", "two", "three", "four", "five"]
    assert events == [
        *(f"enter {name}" for name in names),
        *(f"leave {name}" for name in reversed(names)),
    ]


@asynccontextmanager
async def scopes(events: list[str]) -> AsyncGenerator[None]:
    """A context with a cancel scope and a task group inside, which must be left by the task that entered them."""
    entered = anyio.get_current_task().id
    with anyio.CancelScope():
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            yield
            group.cancel_scope.cancel()
    assert anyio.get_current_task().id == entered
    events.append("left")


@pytest.mark.fault("A27")
@pytest.mark.parametrize("place", ["on_first_start", "on_start", "on_started", "task", "outside"])
async def test_a27_contexts_with_scopes_inside(place: str) -> None:
    """A context that holds scopes may be added anywhere, and the service stopped from any task."""
    events: list[str] = []

    class Holder(Probe):
        async def do_work(self) -> None:
            if place == "task":
                await add()
            await anyio.sleep_forever()

    service = Holder("service", [])

    async def add() -> None:
        await service.add_async_context(scopes(events))
        await service.add_async_context(scopes(events))

    service.doing[place] = add
    await service.start()
    if place == "outside":
        await add()
    await settle()
    async with anyio.create_task_group() as group:  # noqa: ASYNC112 - from another task
        group.start_soon(service.stop)
    assert events == ["left", "left"]
    with anyio.CancelScope() as scope:  # the scopes of this task are in order
        scope.cancel()
        await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught


@pytest.mark.fault("A27")
async def test_a27_failure_inside_a_context_is_a_crash() -> None:
    """What fails inside a context that a service holds crashes the service, and leaves the block."""

    @asynccontextmanager
    async def failing() -> AsyncGenerator[anyio.Event]:
        go_on = anyio.Event()

        async def fail() -> None:
            await go_on.wait()
            raise ValueError("inside")

        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            yield go_on

    service = Probe("service", [])
    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="inside")) as caught:
        async with service:
            go_on = await service.add_async_context(failing())
            go_on.set()
            await anyio.sleep_forever()
    assert service.crash_reason is caught.value


# --- A28 ------------------------------------------------------------------------------------------


@pytest.mark.fault("A28")
async def test_a28_from_awaitable_does_not_block_the_start() -> None:
    """The start of a service made from an awaitable returns at once, and its stop ends the awaitable."""
    events: list[str] = []

    async def endless() -> None:
        events.append("begins")
        try:
            await anyio.sleep_forever()
        finally:
            events.append("ends")

    service = Service.from_awaitable(endless())
    await service.start()
    await settle()
    assert (service.state, events) == ("running", ["begins"])
    await service.stop()
    assert events == ["begins", "ends"]


@pytest.mark.fault("A28")
def test_a28_from_awaitable_passes_its_arguments_on() -> None:
    """Name and keyword arguments reach the service; one that no service knows is refused."""
    place = Node("place")
    service = Service.from_awaitable(anyio.sleep_forever, name="sleeper", beacon=place)
    assert service.label == "sleeper"
    assert service.beacon.parent is place
    with pytest.raises(TypeError, match="unknown"):
        Service.from_awaitable(anyio.sleep_forever, unknown=1)


@pytest.mark.fault("A28")
async def test_a28_from_awaitable_crashes_with_its_failure() -> None:
    """What leaves the awaitable is a crash of the service made of it."""
    with pytest.raises(ValueError, match="awaitable"):
        async with Service.from_awaitable(raising(ValueError("awaitable"))):
            await anyio.sleep_forever()


# --- A29 ------------------------------------------------------------------------------------------


@pytest.mark.fault("A29")
async def test_a29_flags_are_reentrant() -> None:
    """A flag that two tasks have set is there until both have unset it."""
    service = Probe("service", [])
    doors = [anyio.Event(), anyio.Event()]
    async with anyio.create_task_group() as group:
        for door in doors:
            group.start_soon(service.transition_with, "busy", door.wait)
        await settle()
        doors[0].set()
        await settle()
        assert service.diag.flags == {"busy"}
        doors[1].set()
    assert service.diag.flags == set()


@pytest.mark.fault("A29")
async def test_a29_transitions_with_exists() -> None:
    """The decorator that mode's manual speaks of exists under that name, and sets its flag during each call."""
    seen: list[set[str]] = []

    class Flagged(Service):
        @Service.transitions_with("busy")
        async def work(self, depth: int) -> str:
            if depth:
                await self.work(depth - 1)
            seen.append(set(self.diag.flags))
            return "done"

    service = Flagged()
    assert await service.work(2) == "done"
    assert seen == [{"busy"}] * 3
    assert service.diag.flags == set()


# --- A30 ------------------------------------------------------------------------------------------


@pytest.mark.fault("A30")
def test_a30_root_of_an_attached_subtree() -> None:
    """Each node of a subtree that is attached, or taken away again, knows its new root and depth."""
    root = Node("root")
    top = Node("top", children=[Node("middle", children=[Node("leaf")])])
    nodes = list(top.traverse())
    assert [node.root for node in nodes] == [None, top, top]
    top.reattach(root)
    assert [node.root for node in nodes] == [root, root, root]
    assert [node.depth for node in nodes] == [2, 3, 4]
    top.detach(root)
    assert [node.root for node in nodes] == [None, top, top]


@pytest.mark.fault("A30")
def test_a30_root_of_added_services() -> None:
    """A ready-made tree of services that is added to another is in that one's tree as a whole."""
    leaf = Probe("leaf", [])
    middle = Probe("middle", [], leaf)
    root = Probe("root", [], middle)
    assert leaf.beacon.root is middle.beacon.root is root.beacon
    assert leaf.beacon.path == "root/middle/leaf"


# --- A31 ------------------------------------------------------------------------------------------


@pytest.mark.fault("A31")
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_a31_interrupt_in_a_task_leaves_the_block(kind: type[BaseException]) -> None:
    """KeyboardInterrupt and SystemExit of a task stop the tree in order, and leave the block as they were raised."""
    events: list[str] = []
    error = kind("now")
    child = Probe("child", events)
    root = Probe("root", events, child)
    with pytest.raises(kind) as caught:
        async with root:
            await settle()
            child.add_future(raising(error))
            await anyio.sleep_forever()
    assert caught.value is error
    assert root.crash_reason is error
    assert events[-1] == "root on_shutdown"
    assert begun_and_ended(events, "task begins", "task ends") == (2, 2)


@pytest.mark.fault("A31")
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_a31_interrupt_in_a_hook_leaves_start(kind: type[BaseException]) -> None:
    """KeyboardInterrupt and SystemExit of a hook leave `start` as they were raised, after the rollback."""
    events: list[str] = []
    child = Probe("child", events)
    child.doing["on_started"] = raising_later(error := kind("now"))
    root = Probe("root", events, child)
    with pytest.raises(kind) as caught:
        await root.start()
    assert caught.value is error
    assert begun_and_ended(events, "task begins", "task ends") == (2, 2)
    assert root.state == "init"
