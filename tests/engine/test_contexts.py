"""Contexts of a run: entered from anywhere, each in a task of its own, left last-in first-out, whatever happens."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.lowlevel
import pytest

from structmode._engine import Task, current_run
from structmode.exceptions import LifecycleError, ShutdownTimeout, StartAborted

from .unit import Unit, doing, hanging, raising, settle, stubborn


@asynccontextmanager
async def noted(
    log: list[str],
    name: str,
    *,
    on_enter: BaseException | None = None,
    on_exit: BaseException | None = None,
) -> AsyncGenerator[str]:
    """Note when the context is entered and left."""
    await anyio.lowlevel.checkpoint()
    if on_enter is not None:
        raise on_enter
    log.append(f"+{name}")
    try:
        yield name
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.lowlevel.checkpoint()
        log.append(f"-{name}")
        if on_exit is not None:
            raise on_exit


@contextmanager
def noted_sync(log: list[str], name: str, on_exit: BaseException | None = None) -> Generator[str]:
    """Note when the context is entered and left."""
    log.append(f"+{name}")
    try:
        yield name
    finally:
        log.append(f"-{name}")
        if on_exit is not None:
            raise on_exit


async def running(log: list[str]) -> Unit:
    """Start a unit."""
    unit = Unit("a", log)
    await unit.life.start()
    log.clear()
    return unit


async def enter(unit: Unit, context: AbstractAsyncContextManager[Any, bool | None]) -> Any:
    """Enter an async context in the unit's run."""
    return await unit.run.contexts.enter_async_context(context)


# --- Order ----------------------------------------------------------------------------------------


async def test_last_in_first_out() -> None:
    """Sync and async contexts are left in the reverse of the order in which they were entered, before the last hook."""
    log: list[str] = []

    async def set_up(unit: Unit) -> None:
        contexts = unit.run.contexts
        assert await contexts.enter_async_context(noted(log, "async1")) == "async1"
        assert contexts.sync.enter_context(noted_sync(log, "sync2")) == "sync2"
        contexts.sync.callback(log.append, "-callback3")
        contexts.enter_context(noted_sync(log, "sync4"))
        await contexts.enter_async_context(noted(log, "async5"))

        async def leave() -> None:
            log.append("-callback6")

        contexts.push_async_callback(leave)
        contexts.sync.push(lambda *exc_info: log.append("-push7"))

    unit = Unit("a", log, set_up=set_up, work={"t": hanging})
    await unit.life.start()
    log.clear()
    await unit.life.stop()
    assert log == [
        "a.tear_down",
        "-push7",
        "-callback6",
        "-async5",
        "-sync4",
        "-callback3",
        "-sync2",
        "-async1",
        "a.farewell",
    ]


async def test_each_run_has_its_own() -> None:
    """A context belongs to one run: a restart leaves it, and the new run enters its own."""
    log: list[str] = []

    async def set_up(unit: Unit) -> None:
        await enter(unit, noted(log, "c"))

    unit = Unit("a", log, set_up=set_up)
    async with unit.life.block():
        await unit.life.restart()
    assert [line for line in log if "c" in line.partition(".")[0]] == ["+c", "-c", "+c", "-c"]


async def test_after_children_and_tasks() -> None:
    """A context is still held while children stop and tasks end."""
    log: list[str] = []

    async def task(unit: Unit) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            log.append("task ended")

    async def set_up(unit: Unit) -> None:
        await enter(unit, noted(log, "c"))

    unit = Unit("a", log, Unit("b", log), set_up=set_up, work={"t": task})
    await unit.life.start()
    log.clear()
    await unit.life.stop()
    assert log == ["a.tear_down", "b.tear_down", "b.farewell", "task ended", "-c", "a.farewell"]


async def test_sync_context_before_the_start() -> None:
    """A sync context entered before the start is left when the run that follows stops, or when its start fails."""
    log: list[str] = []
    unit = Unit("a", log)
    unit.run.contexts.sync.enter_context(noted_sync(log, "early"))
    assert log == ["+early"]
    await unit.life.start()
    await unit.life.stop()
    assert log[-2:] == ["-early", "a.farewell"]

    unit = Unit("a", log, first=raising(ValueError("no")))
    unit.run.contexts.sync.enter_context(noted_sync(log, "early"))
    log.clear()
    with pytest.raises(ValueError, match="no"):
        await unit.life.start()
    assert log == ["a.first", "-early"]


# --- What may be inside ---------------------------------------------------------------------------


@asynccontextmanager
async def with_task_group(log: list[str], name: str) -> AsyncIterator[str]:
    """Hold a task group with a task in it, under a scope."""

    async def member() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            log.append(f"{name}: task ended")

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(member)
            async with noted(log, name):
                yield name
            group.cancel_scope.cancel()
    assert not scope.cancel_called


async def test_scopes_inside() -> None:
    """A context may hold task groups and cancel scopes, entered in any order from hooks and tasks, under other scopes."""
    log: list[str] = []

    async def from_task(unit: Unit) -> None:
        with anyio.fail_after(5):
            assert await enter(unit, with_task_group(log, "task")) == "task"

    async def set_up(unit: Unit) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(enter, unit, with_task_group(log, "hook"))

    unit = Unit("a", log, set_up=set_up, work={"t": from_task})
    await unit.life.start()
    await settle()
    log.clear()
    await unit.life.stop()
    assert log == [
        "a.tear_down",
        "-task",
        "task: task ended",
        "-hook",
        "hook: task ended",
        "a.farewell",
    ]


async def test_cancelling_a_scope_in_the_caller() -> None:
    """A scope of the caller, cancelled after the context was entered, does not reach the context."""
    log: list[str] = []
    unit = await running(log)
    with anyio.CancelScope() as scope:
        await enter(unit, with_task_group(log, "c"))
        scope.cancel()
        await anyio.sleep_forever()
    await settle()
    assert log == ["+c"]
    await unit.life.stop()
    assert log == ["+c", "a.tear_down", "-c", "c: task ended", "a.farewell"]


async def test_code_inside_belongs_to_the_run() -> None:
    """What a context does belongs to its run."""
    log: list[str] = []
    seen: list[object] = []

    class Context(AbstractAsyncContextManager[None]):
        async def __aenter__(self) -> None:
            seen.append(current_run())

        async def __aexit__(self, *exc_info: object) -> None:
            seen.append(current_run())

    unit = await running(log)
    await enter(unit, Context())
    await unit.life.stop()
    assert seen == [unit.run, unit.run]


@pytest.mark.parametrize("call", ["stop", "restart"])
async def test_call_on_the_way_out(call: str) -> None:
    """A context that asks for a stop or restart of its own run while it is left waits for nobody: no deadlock."""
    log: list[str] = []

    @asynccontextmanager
    async def context(unit: Unit) -> AsyncIterator[None]:
        yield
        if "left" not in log:
            await getattr(unit.life, call)()
        log.append("left")

    async def set_up(unit: Unit) -> None:
        await enter(unit, context(unit))

    unit = Unit("a", log, set_up=set_up)
    async with unit.life.block():
        await unit.life.stop()
        await settle()
        assert unit.state == ("stopped" if call == "stop" else "running")
    assert unit.run.failures == []
    assert log.count("left") == log.count("a.set_up") == {"stop": 1, "restart": 2}[call]


async def test_call_of_a_callback() -> None:
    """An async callback on the stack of contexts that asks for a stop of its own run waits for nobody either."""
    unit = await running([])
    unit.run.contexts.push_async_callback(unit.life.stop)
    unit.stop_timeout = 0.05
    await unit.life.stop()
    assert unit.run.failures == []


async def test_call_while_it_is_entered() -> None:
    """A context that asks for a stop while a hook enters it calls the start off."""
    log: list[str] = []

    @asynccontextmanager
    async def context(unit: Unit) -> AsyncIterator[None]:
        await unit.life.stop()
        log.append("asked")
        yield
        log.append("left")

    async def set_up(unit: Unit) -> None:
        await enter(unit, context(unit))

    unit = Unit("a", log, set_up=set_up)
    with pytest.raises(StartAborted):
        await unit.life.start()
    assert unit.state == "stopped"
    assert log.count("left") == 1


# --- What fails -----------------------------------------------------------------------------------


async def test_failing_enter() -> None:
    """What entering raises is raised to the caller, and the run goes on without the context."""
    log: list[str] = []
    unit, error = await running(log), ValueError("not today")
    with pytest.raises(ValueError, match="not today") as caught:
        await enter(unit, noted(log, "c", on_enter=error))
    assert caught.value is error
    assert unit.run.failures == []
    await unit.life.stop()
    assert log == ["a.tear_down", "a.farewell"]


async def test_failing_enter_in_a_hook() -> None:
    """What entering raises in a hook of the start makes the start fail; the contexts entered so far are left."""
    log: list[str] = []
    error = ValueError("not today")

    async def set_up(unit: Unit) -> None:
        await enter(unit, noted(log, "first"))
        await enter(unit, noted(log, "second", on_enter=error))

    unit = Unit("a", log, set_up=set_up)
    with pytest.raises(ValueError, match="not today") as caught:
        await unit.life.start()
    assert caught.value is error
    assert log == ["a.first", "a.set_up", "+first", "-first"]


async def test_failing_exits() -> None:
    """A context that fails while it is left keeps no other from being left; the first failure leaves stop()."""
    log: list[str] = []
    unit = await running(log)
    first, second = ValueError("first"), KeyError("second")
    await enter(unit, noted(log, "c1"))
    await enter(unit, noted(log, "c2", on_exit=second))
    unit.run.contexts.sync.enter_context(noted_sync(log, "c3"))
    await enter(unit, noted(log, "c4", on_exit=first))
    log.clear()
    with pytest.raises(ValueError, match="first") as caught:
        await unit.life.stop()
    assert caught.value is first
    assert unit.run.failures == [first, second]
    assert any("KeyError('second')" in note for note in first.__notes__)
    assert log == ["a.tear_down", "-c4", "-c3", "-c2", "-c1", "a.farewell"]


async def test_failing_sync_exit() -> None:
    """A sync context that fails while it is left keeps no other from being left; its failure leaves stop()."""
    log: list[str] = []
    unit, error = await running(log), ValueError("sync")
    await enter(unit, noted(log, "c1"))
    unit.run.contexts.sync.enter_context(noted_sync(log, "c2", on_exit=error))
    await enter(unit, noted(log, "c3"))
    log.clear()
    with pytest.raises(ValueError, match="sync") as caught:
        await unit.life.stop()
    assert caught.value is error
    assert log == ["a.tear_down", "-c3", "-c2", "-c1", "a.farewell"]


@asynccontextmanager
async def breaking(
    log: list[str], event: anyio.Event, error: BaseException
) -> AsyncIterator[None]:
    """Hold a task group in which a task fails after an event."""

    async def member() -> None:
        await event.wait()
        raise error

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(member)
            yield
    except ExceptionGroup:
        log.append("broken")
        raise error from None


async def test_failing_while_held() -> None:
    """A context that fails by itself while it is held crashes the run; the failure leaves the block as it was raised."""
    log: list[str] = []
    unit, event, error = Unit("a", log), anyio.Event(), ValueError("inside")
    with pytest.raises(ValueError, match="inside") as caught:
        async with unit.life.block():
            await enter(unit, noted(log, "outer"))
            await enter(unit, breaking(log, event, error))
            log.clear()
            event.set()
            await anyio.sleep_forever()
    assert caught.value is error
    assert unit.run.crash_reason is error
    assert log == ["broken", "a.tear_down", "-outer", "a.farewell"]


async def test_ending_while_held() -> None:
    """A context that ends by itself while it is held, without an error, leaves the run as it is."""
    log: list[str] = []
    unit = await running(log)

    @asynccontextmanager
    async def brief() -> AsyncIterator[None]:
        with anyio.move_on_after(0.01):
            yield
        log.append("over")

    await enter(unit, brief())
    await anyio.sleep(0.03)
    assert log == ["over"]
    assert unit.state == "running"
    await unit.life.stop()
    assert log == ["over", "a.tear_down", "a.farewell"]


# --- Cancelled while entering ---------------------------------------------------------------------


class Slow(AbstractAsyncContextManager["Slow"]):
    """A context that takes long to enter, and notes what becomes of it."""

    def __init__(self, log: list[str], on_cancel: BaseException | None = None) -> None:
        self.log = log
        self.on_cancel = on_cancel

    async def __aenter__(self) -> Self:
        self.log.append("entering")
        try:
            await anyio.sleep_forever()
        finally:
            self.log.append("given up")
            if self.on_cancel is not None:
                raise self.on_cancel
        return self  # pragma: no cover - must not be reached

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.log.append("left")


async def test_cancelled_while_entering() -> None:
    """If the caller is cancelled, so is the entering, and the caller goes on when that is over."""
    log: list[str] = []
    unit = await running(log)
    with anyio.move_on_after(0.01) as scope:
        await enter(unit, Slow(log))
    assert scope.cancelled_caught
    assert log == ["entering", "given up"]
    assert unit.state == "running"
    await unit.life.stop()


async def test_cancelled_before_entering() -> None:
    """In a scope that is cancelled already, a context is not entered, or entered and left; and nothing hangs."""
    log: list[str] = []
    unit = await running(log)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await enter(unit, noted(log, "c"))
    assert scope.cancelled_caught
    assert log in ([], ["+c", "-c"])
    await unit.life.stop()


async def test_cancelled_in_the_instant_of_entering() -> None:
    """If the caller is cancelled just when the context has been entered, the context is left at once."""
    log: list[str] = []
    unit = await running(log)
    with anyio.CancelScope() as scope:

        class Treacherous(Slow):
            async def __aenter__(self) -> Self:
                scope.cancel()
                self.log.append("entered")
                return self

        await enter(unit, Treacherous(log))
        await anyio.lowlevel.checkpoint()  # pragma: no cover - it may have ended by then
    await settle()
    await unit.life.stop()
    assert log in (
        ["entered", "left", "a.tear_down", "a.farewell"],
        ["entered", "a.tear_down", "left", "a.farewell"],  # it was entered in time
    )


async def test_error_while_entering_is_cancelled() -> None:
    """What a context raises when its entering is given up is not lost."""
    log: list[str] = []
    error = ValueError("on its way out")
    unit = Unit("a", log)
    with pytest.raises(ValueError, match="on its way out") as caught:
        async with unit.life.block():
            with anyio.move_on_after(0.01):
                await enter(unit, Slow(log, error))
    assert caught.value is error
    assert unit.state == "stopped"


async def test_stopped_while_a_task_enters() -> None:
    """A stop gives up what a task is just entering."""
    log: list[str] = []

    async def task(unit: Unit) -> None:
        await enter(unit, Slow(log))

    unit = Unit("a", log, work={"t": task})
    await unit.life.start()
    while "entering" not in log:
        await anyio.lowlevel.checkpoint()  # pragma: no cover - it may have begun by then
    await unit.life.stop()
    assert log[-4:] == ["entering", "a.tear_down", "given up", "a.farewell"] or log[-3:] == [
        "a.tear_down",
        "given up",
        "a.farewell",
    ]


async def test_stopped_while_a_hook_enters() -> None:
    """A stop gives up what a hook of the start is just entering."""
    log: list[str] = []

    async def set_up(unit: Unit) -> None:
        await enter(unit, Slow(log))

    unit = Unit("a", log, set_up=set_up)
    with anyio.move_on_after(0.01) as scope:
        await unit.life.start()
    assert scope.cancelled_caught
    assert log == ["a.first", "a.set_up", "entering", "given up"]
    assert unit.state == "stopped"


# --- From elsewhere -------------------------------------------------------------------------------


async def test_entered_from_outside() -> None:
    """A context may be entered from a task that the run knows nothing of."""
    log: list[str] = []
    unit = await running(log)
    async with anyio.create_task_group() as group:
        group.start_soon(enter, unit, with_task_group(log, "c"))
    await unit.life.stop()
    assert log == ["+c", "a.tear_down", "-c", "c: task ended", "a.farewell"]


async def test_entering_from_outside_while_it_stops() -> None:
    """A stop is not kept waiting by a context that someone outside is just entering."""
    log: list[str] = []
    unit, event = await running(log), anyio.Event()

    @asynccontextmanager
    async def stays() -> AsyncIterator[None]:
        await stubborn(event)
        log.append("+c")
        try:
            yield
        finally:
            log.append("-c")

    async def outsider() -> None:
        try:
            await enter(unit, stays())
        except (LifecycleError, anyio.TaskCancelled):
            pass

    async with anyio.create_task_group() as group:
        group.start_soon(outsider)
        await settle()
        group.start_soon(unit.life.stop)
        await settle()
        event.set()
    assert unit.state == "stopped"
    assert log.count("+c") == log.count("-c")


async def test_entering_from_outside_is_given_up() -> None:
    """Someone outside whose context is just being entered when the run stops learns it; nobody waits for ever."""
    log: list[str] = []
    unit = await running(log)
    async with anyio.create_task_group() as group:

        async def outsider() -> None:
            with pytest.raises((LifecycleError, anyio.TaskCancelled)):
                await enter(unit, Slow(log))

        group.start_soon(outsider)
        await settle()
        await unit.life.stop()
    assert log == ["entering", "a.tear_down", "given up", "a.farewell"]


async def test_entered_too_early_or_too_late() -> None:
    """An async context can't be entered where no run could hold it: the error says so, and it is not entered."""
    log: list[str] = []
    unit = Unit("a", log)
    with pytest.raises(LifecycleError, match="a is not running yet"):
        await enter(unit, noted(log, "early"))
    await unit.life.start()
    await unit.life.stop()
    log.clear()
    with pytest.raises(LifecycleError, match="a is stopped"):
        await enter(unit, noted(log, "late"))
    assert log == []


@pytest.mark.parametrize("step", ["tear_down", "farewell"])
async def test_entered_while_stopping(step: str) -> None:
    """A run that stops takes no new async context."""
    log: list[str] = []

    async def add(unit: Unit) -> None:
        with pytest.raises(LifecycleError, match="a is stopping"):
            await enter(unit, noted(log, "late"))

    unit = Unit("a", log, **doing({step: add}))
    await unit.life.start()
    await unit.life.stop()
    assert "+late" not in log


async def test_sync_context_after_the_stop() -> None:
    """A sync context that comes after its run has ended is refused, not entered and forgotten."""
    log: list[str] = []
    unit = await running(log)
    run = unit.run
    await unit.life.stop()
    log.clear()
    with pytest.raises(LifecycleError):
        run.contexts.sync.enter_context(noted_sync(log, "late"))
    assert log in ([], ["+late", "-late"])


async def test_wrong_kind_of_context() -> None:
    """A context of the wrong kind is refused, and the error says which call is right."""
    unit = await running([])
    with pytest.raises(TypeError, match="add_context"):
        await unit.run.contexts.enter_async_context(noted_sync([], "c"))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="add_async_context"):
        unit.run.contexts.sync.enter_context(noted([], "c"))  # type: ignore[arg-type]
    await unit.life.stop()


async def test_parts_of_the_interface() -> None:
    """What a plain exit stack offers works on the common stack, or is refused with the right call."""
    log: list[str] = []
    unit = await running(log)
    contexts = unit.run.contexts
    with pytest.raises(LifecycleError, match="pop_all"):
        contexts.sync.pop_all()
    with pytest.raises(LifecycleError, match="aclose"):
        contexts.sync.close()
    contexts.sync.enter_context(noted_sync(log, "one"))
    await contexts.enter_async_context(noted(log, "two"))
    taken = contexts.pop_all()
    contexts.sync.callback(log.append, "-callback")
    await taken.aclose()
    assert log == ["+one", "+two", "-two", "-one"]
    await unit.life.stop()
    assert log[4:] == ["a.tear_down", "-callback", "a.farewell"]


async def test_keeper_appears_in_stacks() -> None:
    """Where a context hangs that does not let go is told by name and stack."""

    @asynccontextmanager
    async def clinging() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await hanging(unit)

    unit = await running([])
    unit.stop_timeout = 0.02
    await enter(unit, clinging())
    assert any("clinging" in name for name, _ in unit.run.stacks())
    with pytest.raises(ShutdownTimeout) as caught:
        await unit.life.stop()
    (stuck,) = caught.value.stuck
    assert stuck.owner == "a"
    assert "clinging" in stuck.task
    assert "in hanging" in stuck.stack


async def test_entered_from_a_task_that_ends() -> None:
    """A context that a task entered is held until the run stops, although the task has ended."""
    log: list[str] = []
    unit = await running(log)
    await unit.run.spawn(Task(enter(unit, with_task_group(log, "c")), "brief"))
    await settle()
    assert log == ["+c"]
    await unit.life.stop()
    assert log == ["+c", "a.tear_down", "-c", "c: task ended", "a.farewell"]


async def test_stack_taken_over_takes_more() -> None:
    """A stack that was taken over with pop_all() is a plain one: what it enters, it enters and leaves where it is told."""
    log: list[str] = []

    @asynccontextmanager
    async def noted(name: str) -> AsyncGenerator[str]:
        log.append(f"+{name}")
        yield name
        log.append(f"-{name}")

    unit = await running(log)
    await unit.run.contexts.enter_async_context(noted("first"))
    taken = unit.run.contexts.pop_all()
    task = anyio.get_current_task().id
    async with taken:
        assert await taken.enter_async_context(noted("second")) == "second"
        assert anyio.get_current_task().id == task
        taken.sync.enter_context(noted_sync(log, "third"))
    assert log == ["+first", "+second", "+third", "-third", "-second", "-first"]
    await unit.life.stop()


async def test_stack_taken_over_and_left_in_a_hurry() -> None:
    """Whoever closes a stack that was taken over may give that up; the context goes on being left in its own task."""
    event = anyio.Event()
    log: list[str] = []

    @asynccontextmanager
    async def slow_to_leave() -> AsyncIterator[None]:
        yield
        await event.wait()
        log.append("left")

    unit = await running(log)
    await enter(unit, slow_to_leave())
    taken = unit.run.contexts.pop_all()
    with anyio.move_on_after(0.01) as scope:
        await taken.aclose()
    assert scope.cancelled_caught
    assert log == []
    event.set()
    await settle()
    assert log == ["left"]
    await unit.life.stop()
