"""Who is told of a failure, as what, and how often; and who is not."""

from __future__ import annotations

import gc
import re
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from structmode._engine import (
    Contexts,
    Fate,
    LifecycleEvent,
    Starting,
    StopSignal,
    Task,
    current_run,
    first_of,
    subscribe,
)
from structmode.exceptions import ShutdownTimeout, StartAborted

from .unit import Unit, doing, hanging, raising, settle, yielding


def told(unit: Unit) -> list[tuple[str, str, str]]:
    """Return what a unit was told: the failure as text, where it happened, and its fate."""
    return [(str(exc), origin, fate) for exc, origin, fate in unit.failed]


class Failing:
    """Fails in a hook when its gate is opened."""

    def __init__(self) -> None:
        self.gate = anyio.Event()
        self.boom = ValueError("boom")

    async def __call__(self, unit: Unit) -> None:
        await self.gate.wait()
        raise self.boom


async def test_a_bare_root_fails_twice() -> None:
    """With nobody to receive a crash it is logged once, as that; what follows is a later failure."""
    gates = {"one": anyio.Event(), "two": anyio.Event()}

    def fail(name: str) -> Any:
        async def work(unit: Unit) -> None:
            try:
                await gates[name].wait()
            finally:
                raise ValueError(name)

        return work

    unit = Unit("a", [], work={name: fail(name) for name in gates})
    await unit.life.start()
    gates["one"].set()
    await unit.run.finished.wait()
    assert told(unit) == [
        ("one", "one", "crash"),
        ("one", "a", "unreceived"),
        ("two", "two", "later"),
    ]


async def test_a_chain_fails_twice() -> None:
    """Each unit is told of what fails in it; the root's owner hears of the first failure only."""

    async def fail_late(unit: Unit) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("late")

    gate = anyio.Event()

    async def fail_first(unit: Unit) -> None:
        await gate.wait()
        raise ValueError("first")

    bottom = Unit("c", [], work={"first": fail_first})
    middle = Unit("b", [], bottom, work={"late": fail_late})
    top = Unit("a", [], middle)
    await top.life.start()
    gate.set()
    await top.run.finished.wait()
    assert told(bottom) == [("first", "first", "crash")]
    assert told(middle) == [("late", "late", "later")]
    assert told(top) == [("first", "a", "unreceived")]
    assert [str(exc) for exc in top.run.failures] == ["first", "late"]


async def test_a_child_whose_stop_fails_with_nobody_waiting() -> None:
    """The parent suffers it, and is told which child it was."""
    failing = Failing()
    child = Unit("b", [], tear_down=failing)
    parent = Unit("a", [], child)
    with pytest.raises(ValueError, match="boom") as caught:
        async with parent.life.block():
            with anyio.move_on_after(0.01):
                await child.life.stop()
            failing.gate.set()
            await anyio.sleep_forever()
    assert caught.value is failing.boom
    assert told(child) == [("boom", "on_stop", "stop")]
    assert told(parent) == [("boom", "b", "crash")]


@pytest.mark.parametrize("stops", [0, 1, 2])
async def test_a_stop_and_a_restart_whose_caller_has_left(stops: int) -> None:
    """What goes wrong in the stop of a restart is received by whoever waits for the stop; if nobody does, it is logged."""
    failing = Failing()
    unit = Unit("a", [], tear_down=failing)
    await unit.life.start()
    received: list[BaseException] = []

    async def stop() -> None:
        try:
            await unit.life.stop()
        except ValueError as exc:
            received.append(exc)

    async with anyio.create_task_group() as group:
        for _ in range(stops):
            group.start_soon(stop)
        await settle()
        with anyio.move_on_after(0.01):
            await unit.life.restart()
        failing.gate.set()
    while unit.life.alive:
        await settle()
    assert received == [failing.boom] * stops
    unreceived = [("boom", "a", "unreceived")] if not stops else []
    assert told(unit) == [("boom", "on_stop", "stop"), *unreceived]


@pytest.mark.parametrize("stops", [0, 1, 2])
async def test_a_restart_that_is_waited_for_receives_what_goes_wrong(stops: int) -> None:
    """So it is not logged as something that nobody receives, whether or not others wait for the stop."""
    failing = Failing()
    unit = Unit("a", [], tear_down=failing)
    await unit.life.start()
    received: list[BaseException] = []

    async def receive(call: Callable[[], Awaitable[None]]) -> None:
        try:
            await call()
        except ValueError as exc:
            received.append(exc)

    async with anyio.create_task_group() as group:
        for _ in range(stops):
            group.start_soon(receive, unit.life.stop)
        await settle()
        group.start_soon(receive, unit.life.restart)
        await settle()
        failing.gate.set()
    assert received == [failing.boom] * (stops + 1)
    assert told(unit) == [("boom", "on_stop", "stop")]


async def test_a_new_start_that_fails_with_nobody_waiting() -> None:
    """The start of a restart that fails, and that nobody waits for, is told to the owner."""
    boom = ValueError("boom")
    first = [True]

    async def fail_the_second_time(unit: Unit) -> None:
        if not first[0]:
            raise boom
        first[0] = False

    unit = Unit("a", [], set_up=fail_the_second_time, tear_down=lambda _: anyio.sleep(0.02))
    await unit.life.start()
    with anyio.move_on_after(0.01):
        await unit.life.restart()
    while unit.life.alive:
        await anyio.sleep(0.005)
    assert told(unit) == [("boom", "a", "unreceived")]


async def test_an_aborted_restart_is_no_failure() -> None:
    """A new start that is called off, with nobody waiting for it, is told to nobody."""
    starts: list[int] = []

    async def hang_the_second_time(unit: Unit) -> None:
        starts.append(1)
        if len(starts) == 2:
            await anyio.sleep_forever()

    unit = Unit("a", [], set_up=hang_the_second_time, tear_down=lambda _: anyio.sleep(0.02))
    await unit.life.start()
    with anyio.move_on_after(0.01):
        await unit.life.restart()
    while len(starts) < 2:
        await anyio.sleep(0.005)
    await unit.life.stop()
    assert isinstance(unit.run.start_error, StartAborted)
    assert told(unit) == []


async def test_what_losers_raise_is_noted() -> None:
    """Of several failures in one wait the first leaves, and the others are noted on it, each with its circumstances."""
    first = ValueError("first")

    async def fail() -> None:
        raise first

    async def fail_on_the_way_out() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise KeyError("later")

    with pytest.raises(ValueError, match="first") as caught:
        await first_of(StopSignal(), [fail_on_the_way_out, fail])
    assert caught.value is first
    assert first.__notes__ == ["also raised while this wait was being given up: KeyError('later')"]


async def test_a_failure_in_the_body_and_one_in_the_stop() -> None:
    """The body's failure leaves the block; what goes wrong in the stop is noted on it, with its place."""
    body, stop = ValueError("body"), KeyError("stop")
    unit = Unit("a", [], tear_down=raising(stop), work={"work": hanging})
    with pytest.raises(ValueError, match="body") as caught:
        async with unit.life.block():
            raise body
    assert caught.value is body
    assert body.__notes__ == ["later, in the block of a: KeyError('stop')"]


async def test_later_failures_are_noted_with_their_place() -> None:
    """On the first failure it is noted what failed after it, and where."""
    gate = anyio.Event()
    first = ValueError("first")

    async def fail_first(unit: Unit) -> None:
        await gate.wait()
        raise first

    async def fail_later(unit: Unit) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise KeyError("later")

    child = Unit("b", [], work={"one": fail_first, "two": fail_later}, farewell=raising(OSError()))
    parent = Unit("a", [], child, tear_down=raising(RuntimeError("last")))
    with pytest.raises(ValueError, match="first"):
        async with parent.life.block():
            gate.set()
            await anyio.sleep_forever()
    assert first.__notes__ == [
        "later, in on_stop of a: RuntimeError('last')",
        "later, in two of b: KeyError('later')",
        "later, in on_shutdown of b: OSError()",
    ]


async def test_a_parent_that_waits_beside_a_caller_who_leaves() -> None:
    """What goes wrong in the stop of a child is received by its parent, whoever else has waited for it, and left."""
    failing = Failing()
    child = Unit("b", [], tear_down=failing)
    parent = Unit("a", [], child)
    await parent.life.start()
    scope = anyio.CancelScope()
    received: list[BaseException] = []

    async def stop_child() -> None:
        with scope:
            await child.life.stop()

    async def stop_parent() -> None:
        try:
            await parent.life.stop()
        except ValueError as exc:
            received.append(exc)

    async with anyio.create_task_group() as group:
        group.start_soon(stop_child)
        await settle()
        group.start_soon(stop_parent)
        await settle()
        scope.cancel()
        await settle()
        failing.gate.set()
    assert received == [failing.boom]
    assert told(child) == [("boom", "on_stop", "stop")]
    assert told(parent) == []


async def test_a_parent_and_a_caller_who_both_wait() -> None:
    """Both receive what goes wrong in the stop of a child, and nobody is told anything besides."""
    failing = Failing()
    child = Unit("b", [], tear_down=failing)
    parent = Unit("a", [], child)
    await parent.life.start()
    received: list[BaseException] = []

    async def stop(unit: Unit) -> None:
        try:
            await unit.life.stop()
        except ValueError as exc:
            received.append(exc)

    async with anyio.create_task_group() as group:
        group.start_soon(stop, child)
        await settle()
        group.start_soon(stop, parent)
        await settle()
        failing.gate.set()
    assert received == [failing.boom] * 2
    assert told(child) == [("boom", "on_stop", "stop")]
    assert told(parent) == []


async def test_the_reason_of_a_crash_once_more_in_the_stop() -> None:
    """A task that raises it again does not make it an error of the stop: who waits for that is told nothing."""
    boom = ValueError("boom")
    gate = anyio.Event()

    async def fail_twice(unit: Unit) -> None:
        try:
            await gate.wait()
        finally:
            raise boom

    unit = Unit("a", [], work={"one": fail_twice, "two": fail_twice}, tear_down=yielding)
    await unit.life.start()
    unit.life.fail(boom, "a test")
    await unit.life.stop()
    assert unit.run.crash_reason is boom
    assert unit.run.stop_error is None
    assert unit.run.failures == [boom]


async def test_called_off_before_its_first_step_by_another_task() -> None:
    """A stop that is asked for between the call of start() and the run's first step is heard."""
    unit = Unit("a", [])

    async def watch() -> None:
        while unit.state == "new":
            await anyio.lowlevel.checkpoint()
        unit.life.request_stop()

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        await anyio.lowlevel.checkpoint()
        with pytest.raises(StartAborted):
            await unit.life.start()
    assert unit.state == "stopped"


async def test_a_later_failure_is_noted_once() -> None:
    """However often the same exception is raised."""
    gate = anyio.Event()
    first, later = ValueError("first"), KeyError("later")

    async def fail_first(unit: Unit) -> None:
        await gate.wait()
        raise first

    async def fail_later(unit: Unit) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise later

    unit = Unit("a", [], work={"one": fail_first, "two": fail_later, "three": fail_later})
    with pytest.raises(ValueError, match="first"):
        async with unit.life.block():
            gate.set()
            await anyio.sleep_forever()
    assert first.__notes__ == ["later, in three of a: KeyError('later')"]
    assert unit.run.failures == [first, later]


async def test_work_added_in_the_instant_of_the_start() -> None:
    """To add work then is no error, whatever becomes of it, and the start goes on."""
    tasks: list[Task[Any]] = []

    def at_once(event: LifecycleEvent) -> None:
        if isinstance(event, Starting) and event.subject is unit:
            tasks.append(unit.begin(hanging))

    unit = Unit("a", [])
    unsubscribe = subscribe(at_once)
    try:
        async with unit.life.block():
            assert unit.state == "running"
            await settle()
    finally:
        unsubscribe()
    (task,) = tasks
    assert task.cancelled()


async def test_nobody_holds_a_bare_start() -> None:
    """The event loop owns it: it runs on though no one else knows it any more."""

    async def start_one() -> weakref.ref[Unit]:
        unit = Unit("forgotten", [], work={"work": hanging})
        await unit.life.start()
        return weakref.ref(unit)

    known = await start_one()
    for _ in range(3):
        await settle()
        gc.collect()
    unit = known()
    assert unit is not None
    assert unit.state == "running"
    await unit.life.stop()


async def test_a_caller_who_leaves_after_the_failure() -> None:
    """That nobody receives it is told once, at the end: somebody might still have come to wait."""
    boom = ValueError("boom")
    gate = anyio.Event()
    unit = Unit("a", [], tear_down=raising(boom), farewell=lambda _: gate.wait())
    await unit.life.start()
    with anyio.move_on_after(0.01):
        await unit.life.stop()
    assert told(unit) == [("boom", "on_stop", "stop")]
    gate.set()
    while unit.life.alive:
        await settle()
    assert told(unit) == [("boom", "on_stop", "stop"), ("boom", "a", "unreceived")]


async def test_two_children_whose_stops_fail() -> None:
    """The failure of the one that stopped first leaves, and the other is noted on it once."""
    first, second = ValueError("first"), KeyError("second")
    children = [Unit("b", [], tear_down=raising(second)), Unit("c", [], tear_down=raising(first))]
    parent = Unit("a", [], *children)
    await parent.life.start()
    with pytest.raises(ValueError, match="first") as caught:
        await parent.life.stop()
    assert caught.value is first
    assert first.__notes__ == ["later, in on_stop of b: KeyError('second')"]
    assert parent.run.failures == [first, second]


async def test_a_child_that_failed_before_its_parent() -> None:
    """What went wrong in a child that somebody had stopped is noted on its parent's failure, when it is taken up."""
    first, second = ValueError("child"), KeyError("parent")
    gate = anyio.Event()
    child = Unit("b", [], tear_down=raising(first), farewell=lambda _: gate.wait())
    parent = Unit("a", [], child, tear_down=raising(second))
    await parent.life.start()
    received: list[BaseException] = []

    async def stop(unit: Unit) -> None:
        try:
            await unit.life.stop()
        except (KeyError, ValueError) as exc:
            received.append(exc)

    async with anyio.create_task_group() as group:
        group.start_soon(stop, child)
        await settle()
        group.start_soon(stop, parent)
        await settle()
        gate.set()
    assert set(received) == {first, second}
    (note,) = second.__notes__
    assert note.startswith("later, in stop of b")
    assert note.endswith("ValueError('child')")
    assert parent.run.failures == [second, first]


async def test_a_context_whose_task_is_gone_at_once() -> None:
    """Who waits for a context that will never be entered is told so."""

    class Context:
        """Is never entered."""

        async def __aenter__(self) -> None:
            raise AssertionError

        async def __aexit__(self, *exc_info: object) -> None:
            raise AssertionError

    def keep(keeper: Any) -> Any:
        keeper.gone()
        return lambda: None

    context: Any = Context()
    with pytest.raises(anyio.TaskCancelled, match="was cancelled while it was being entered"):
        await Contexts(keep).enter_async_context(context)


async def test_a_block_that_waits_beside_a_caller_who_leaves() -> None:
    """What goes wrong in the stop at the end of a block is received by the block, whoever else has waited, and left."""
    failing = Failing()
    unit = Unit("a", [], tear_down=failing)
    scope = anyio.CancelScope()

    async def stop() -> None:
        with scope:
            await unit.life.stop()

    async def leave() -> None:
        await settle()
        scope.cancel()
        await settle()
        failing.gate.set()

    async with anyio.create_task_group() as group:
        with pytest.raises(ValueError, match="boom") as caught:
            async with unit.life.block():
                group.start_soon(stop)
                await settle()
                group.start_soon(leave)
        assert caught.value is failing.boom
    assert told(unit) == [("boom", "on_stop", "stop")]


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_body_that_fails_beside_a_caller(leaves: bool) -> None:
    """The body's failure came first, and leaves the block, whoever else waits for the stop, or has left."""
    failing = Failing()
    unit = Unit("a", [], tear_down=failing)
    body = KeyError("body")
    scope = anyio.CancelScope()
    received: list[BaseException] = []

    async def stop() -> None:
        with scope:
            try:
                await unit.life.stop()
            except ValueError as exc:
                received.append(exc)

    async def go_on() -> None:
        await settle()
        if leaves:
            scope.cancel()
            await settle()
        failing.gate.set()

    async with anyio.create_task_group() as group:
        with pytest.raises(KeyError) as caught:
            async with unit.life.block():
                group.start_soon(stop)
                await settle()
                group.start_soon(go_on)
                raise body
    assert caught.value is body
    assert received == [failing.boom] * (not leaves)
    assert body.__notes__ == ["later, in the block of a: ValueError('boom')"]


async def test_a_context_that_fails_while_it_is_held() -> None:
    """It is told by its name where that happened."""
    gate = anyio.Event()

    @asynccontextmanager
    async def breaking() -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            yield

    async def fail() -> None:
        await gate.wait()
        raise ValueError("boom")

    unit = Unit("a", [])
    with pytest.raises(ExceptionGroup):
        async with unit.life.block():
            await unit.run.contexts.enter_async_context(breaking())
            gate.set()
            await anyio.sleep_forever()
    ((_, origin, fate),) = unit.failed
    assert (origin, fate) == (f"context {breaking.__qualname__}", "crash")


async def test_undoing_a_start_that_failed_is_bounded() -> None:
    """The error of the start leaves; what hung while it was undone is cut short, told, and noted on it."""
    boom = ValueError("boom")
    unit = Unit("a", [], ready=raising(boom), tear_down=hanging)
    unit.stop_timeout = 0.1
    with pytest.raises(ValueError, match="boom") as caught:
        await unit.life.start()
    assert caught.value is boom
    assert unit.log[-2:] == ["a.tear_down", "a.farewell"]
    (note,) = boom.__notes__
    assert note.startswith("later, in stop of a: ShutdownTimeout(")
    assert [(origin, fate) for _, origin, fate in unit.failed] == [("stop", "later")]


async def test_whose_code_a_context_is() -> None:
    """The code of an async context belongs to the run that holds it, when it is entered and when it is left."""
    seen: list[object] = []

    @asynccontextmanager
    async def look() -> AsyncIterator[None]:
        seen.append(current_run())
        yield
        seen.append(current_run())

    unit = Unit("a", [])
    async with unit.life.block():
        assert current_run() is None
        await unit.run.contexts.enter_async_context(look())
        run = unit.run
    assert seen == [run, run]


def test_a_run_that_has_not_begun() -> None:
    """It has no owner, nothing below it, nothing to tell, and can be shown."""
    unit = Unit("a", [])
    run = unit.run
    assert run.parent is None
    assert list(run.lineage()) == run.subtree() == [run]
    assert (run.failures, run.stacks(), run.stuck()) == ([], [], [])
    assert repr(run) == "<Run of a new>"
    assert not run.accepts
    assert not run.stop_requested


async def test_one_of_two_who_wait_for_a_restart_leaves() -> None:
    """What goes wrong in the stop of a restart is received by the one who still waits."""
    failing = Failing()
    unit = Unit("a", [], tear_down=failing)
    await unit.life.start()
    received: list[BaseException] = []
    scopes: list[anyio.CancelScope] = []

    async def restart() -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            try:
                await unit.life.restart()
            except ValueError as exc:
                received.append(exc)

    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(restart)
        await settle()
        scopes[1].cancel()
        await settle()
        failing.gate.set()
    assert received == [failing.boom]
    assert told(unit) == [("boom", "on_stop", "stop")]


async def test_a_start_called_off_by_its_own_hook() -> None:
    """The error names the unit; the last hook of all comes too late for that, and the stop just follows it."""
    unit = Unit("a", [], ready=lambda unit: unit.life.stop())
    await unit.life.start()
    await unit.run.finished.wait()
    for step in ("first", "set_up"):
        unit = Unit("a", [], **doing({step: lambda unit: unit.life.stop()}))
        with pytest.raises(StartAborted) as caught:
            await unit.life.start()
        assert caught.value.label == "a"


def test_a_warning_that_is_an_error_is_told(fresh_loop: dict[str, Any]) -> None:
    """It is told as what went wrong with the unit that was forgotten."""
    unit = Unit("a", [])
    anyio.run(unit.life.start, **fresh_loop)
    text = "a was started and never stopped; it has been stopped now, as the event loop ends"
    assert told(unit) == [(text, "a", "unreceived")]


async def test_a_drain_shorter_than_a_second() -> None:
    """However short it is, work that ends within it is not cancelled."""

    async def work(unit: Unit) -> None:
        await unit.life.signal.wait()
        await anyio.sleep(0.01)

    unit = Unit("a", [])
    unit.drain_timeout = 0.9
    await unit.life.start()
    task = unit.begin(work)
    await settle()
    await unit.life.stop()
    assert task.done()
    assert not task.cancelled()


@pytest.mark.parametrize("how", ["stop", "failure"])
async def test_called_off_before_its_first_step(how: str) -> None:
    """Not even the first hook of a start is called then, and nothing is undone."""
    boom = ValueError("boom")
    unit = Unit("a", [])

    def at_once(event: LifecycleEvent) -> None:
        if not isinstance(event, Starting) or event.subject is not unit:
            return
        if how == "stop":
            unit.life.request_stop()
        else:
            unit.life.fail(boom, "a test")

    unsubscribe = subscribe(at_once)
    try:
        with pytest.raises(StartAborted if how == "stop" else ValueError) as caught:
            await unit.life.start()
    finally:
        unsubscribe()
    assert unit.log == []
    assert unit.state == "stopped"
    if how == "failure":
        assert caught.value is boom
    await unit.life.start()
    await unit.life.stop()


async def test_the_same_failure_in_parent_and_child() -> None:
    """What is raised once more further down is noted nowhere: it says nothing new."""
    boom = ValueError("boom")
    child = Unit("b", [], tear_down=raising(boom))
    parent = Unit("a", [], child)
    with pytest.raises(ValueError, match="boom") as caught:
        async with parent.life.block():
            parent.life.fail(boom, "a test")
            await anyio.sleep_forever()
    assert caught.value is boom
    assert not hasattr(boom, "__notes__")
    assert parent.run.failures == [boom]


async def test_a_deep_recursion_that_hangs() -> None:
    """The stack in the error is cut, as a log of thousands of lines helps nobody."""

    async def descend(depth: int) -> None:
        if depth:
            await descend(depth - 1)
        await anyio.sleep_forever()

    unit = Unit("a", [], tear_down=lambda _: descend(300))
    unit.stop_timeout = 0.1
    await unit.life.start()
    with pytest.raises(ShutdownTimeout) as caught:
        await unit.life.stop()
    (stuck,) = caught.value.stuck
    assert "in descend" in stuck.stack
    repeated = re.findall(r"repeated (\d+) more times", stuck.stack)
    shown = stuck.stack.count("  File ") + sum(map(int, repeated))
    assert 100 < shown <= 125


# --- What is logged -------------------------------------------------------------------------------------


async def test_a_done_callback_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged with the name of the task, and the other callbacks are called all the same."""
    called: list[str] = []

    def fail(task: Task[Any]) -> None:
        raise ValueError("boom")

    async def work() -> None:
        """Return."""

    task: Task[None] = Task(work(), "work")
    task.add_done_callback(fail)
    task.add_done_callback(lambda task: called.append(task.name))
    assert await task.run() is None
    assert called == ["work"]
    (record,) = caplog.records
    assert record.getMessage() == "A done-callback of the task 'work' failed"
    assert record.exc_info


async def test_a_unit_that_fails_over_being_told(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged which unit, and what it was to be told of."""

    class Deaf(Unit):
        """Can't be told of anything."""

        def on_failure(self, exc: BaseException, origin: str, fate: Fate) -> None:
            raise ValueError("deaf")

    unit = Deaf("a", [], tear_down=raising(KeyError("boom")))
    await unit.life.start()
    with pytest.raises(KeyError):
        await unit.life.stop()
    (record,) = caplog.records
    assert record.getMessage() == (
        "A Deaf could not be told of what failed in on_stop: KeyError('boom')"
    )
    assert record.exc_info
