"""The tasks of a run and the handles to them: every way to end, who learns of it, and that none is left."""

from __future__ import annotations

import gc
import inspect
from typing import Any

import anyio
import pytest

from structmode._engine import LifecycleEvent, Starting, Task, current_run, subscribe, work_done

from .unit import Unit, doing, hanging, raising, settle, stubborn, yielding


async def answer(value: object = 42, after: anyio.Event | None = None) -> object:
    """Return `value`, after an event if one is given."""
    if after is not None:
        await after.wait()
    return value


async def running() -> Unit:
    """Start a unit."""
    unit = Unit("a", [])
    await unit.life.start()
    return unit


# --- The handle -----------------------------------------------------------------------------------


async def test_result() -> None:
    """A task's handle gives its result to all who await it, during and after."""
    unit, event = await running(), anyio.Event()
    results: list[object] = []
    task = unit.run.spawn(Task(answer(42, event), "answer"))

    async def waiter() -> None:
        results.append(await task)

    async with anyio.create_task_group() as group:
        group.start_soon(waiter)
        group.start_soon(waiter)
        await settle()
        assert results == []
        assert not task.done()
        with pytest.raises(anyio.TaskNotFinished, match="answer"):
            task.result()
        with pytest.raises(anyio.TaskNotFinished, match="answer"):
            task.exception()
        event.set()
    assert [*results, await task, task.result()] == [42] * 4
    assert task.done()
    assert not task.cancelled()
    assert not task.cancelling
    assert task.exception() is None
    assert "finished" in repr(task)
    assert task.cancel() is False
    await unit.life.stop()


async def test_error() -> None:
    """A task's handle gives its error, the very object, to all who await it; the run crashes of it too."""
    error = ValueError("boom")
    unit = Unit("a", [])
    caught: list[BaseException] = []
    task: Task[Any] | None = None
    with pytest.raises(ValueError, match="boom") as left:
        async with unit.life.block():
            task = unit.begin(raising(error), "bad")
            try:
                await task
            except ValueError as exc:
                caught.append(exc)
            await anyio.sleep_forever()
    assert left.value is error
    assert caught in ([], [error])  # the body may have been cancelled first
    assert task is not None
    assert task.exception() is error
    with pytest.raises(ValueError, match="boom") as again:
        await task
    assert again.value is error
    assert "failed: ValueError('boom')" in repr(task)


async def test_cancelled_awaiter() -> None:
    """An awaiter that is cancelled does not cancel the task."""
    unit, event = await running(), anyio.Event()
    task = unit.run.spawn(Task(answer(42, event), "answer"))
    with anyio.move_on_after(0.01) as scope:
        await task
    assert scope.cancelled_caught
    event.set()
    assert await task == 42
    await unit.life.stop()


async def test_cancel_before_start() -> None:
    """A task that is cancelled before its run begins never begins, and its coroutine is closed."""
    unit, coroutine = Unit("a", []), answer()
    task = unit.run.spawn(Task(coroutine, "early"))
    assert task.cancel()
    await unit.life.start()
    await task.ended.wait()
    assert task.cancelled()
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
    await unit.life.stop()


async def test_cancel_before_it_begins() -> None:
    """A task that is cancelled right after it was added never begins."""
    unit, coroutine = await running(), answer()
    task = unit.run.spawn(Task(coroutine, "early"))
    assert task.cancel()
    assert task.cancelling
    assert "cancelling" in repr(task)
    await settle()
    assert task.cancelled()
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
    await unit.life.stop()


async def test_cancel_while_it_runs() -> None:
    """A cancelled task ends where it waits; the run goes on, and whoever awaits the handle learns it."""
    unit = await running()
    task = unit.begin(hanging, "hanging")
    await settle()
    assert "pending" in repr(task)
    assert task.cancel()
    assert task.cancel()
    with pytest.raises(anyio.TaskCancelled, match="hanging was cancelled"):
        await task
    with pytest.raises(anyio.TaskCancelled):
        task.result()
    with pytest.raises(anyio.TaskCancelled):
        task.exception()
    assert task.cancelled()
    assert "cancelled" in repr(task)
    assert unit.state == "running"
    assert unit.run.failures == []
    await unit.life.stop()


async def test_cancel_that_is_refused() -> None:
    """A task that answers its cancellation with a result was not cancelled."""
    unit = await running()

    async def stay() -> str:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            return "result"
        raise AssertionError

    task = unit.run.spawn(Task(stay(), "stay"))
    await settle()
    task.cancel()
    assert await task == "result"
    assert not task.cancelled()
    assert unit.state == "running"
    await unit.life.stop()


async def test_error_while_cancelled() -> None:
    """What a cancelled task raises on its way out is a failure like any other."""
    error = KeyError("on its way out")
    unit = Unit("a", [])

    async def clumsy() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise error

    with pytest.raises(KeyError) as caught:
        async with unit.life.block():
            task = unit.run.spawn(Task(clumsy(), "clumsy"))
            await settle()
            task.cancel()
            await anyio.sleep_forever()
    assert caught.value is error
    assert task.exception() is error


async def test_group_that_mixes_cancellation_and_errors() -> None:
    """Of a group with cancellations in it, only the errors are the failure; a group of errors stays as raised."""
    unit = Unit("a", [])

    async def mixed() -> None:
        cancelled: list[BaseException] = []
        with anyio.CancelScope() as scope:
            scope.cancel()
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class() as exc:
                cancelled.append(exc)
                raise
        raise BaseExceptionGroup("mixed", [KeyError("inside"), *cancelled])

    with pytest.raises(BaseExceptionGroup) as caught:
        async with unit.life.block():
            unit.run.spawn(Task(mixed(), "mixed"))
            await anyio.sleep_forever()
    assert [repr(exc) for exc in caught.value.exceptions] == ["KeyError('inside')"]

    group = ExceptionGroup("plain", [ValueError(), KeyError()])
    with pytest.raises(ExceptionGroup) as plain:
        async with unit.life.block():
            unit.begin(raising(group))
            await anyio.sleep_forever()
    assert plain.value is group


# --- Callbacks ------------------------------------------------------------------------------------


async def test_callbacks() -> None:
    """Callbacks are called once, in order, with the handle, when the task has ended; a late one at once."""
    unit, event = await running(), anyio.Event()
    task = unit.run.spawn(Task(answer(42, event), "answer"))
    called: list[tuple[str, object]] = []

    def note(name: str) -> Any:
        return lambda handle: called.append((name, handle.result()))

    removed = note("removed")
    task.add_done_callback(note("first"))
    task.add_done_callback(removed)
    task.add_done_callback(removed)
    task.add_done_callback(note("second"))
    assert task.remove_done_callback(removed) == 2
    assert task.remove_done_callback(removed) == 0
    event.set()
    await task
    assert called == [("first", 42), ("second", 42)]
    task.add_done_callback(note("late"))
    assert called[2:] == [("late", 42)]
    await unit.life.stop()


async def test_callback_of_a_task_that_never_runs() -> None:
    """A task that is refused counts as ended: its callbacks are called."""
    unit = await running()
    await unit.life.stop()
    called: list[bool] = []
    task = Task(answer(), "late")
    task.add_done_callback(lambda handle: called.append(handle.cancelled()))
    unit.run.spawn(task)
    assert called == [True]


@pytest.mark.parametrize("late", [False, True])
async def test_callback_that_raises(late: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A callback that raises keeps neither the other callbacks nor the stop from their way, and is not lost."""
    unit, error = Unit("a", []), KeyError("callback")
    called: list[object] = []
    task: Task[Any] | None = None

    def bad(handle: object) -> None:
        raise error

    caught: list[BaseException] = []
    try:
        async with unit.life.block():
            task = unit.begin(hanging if late else yielding)
            task.add_done_callback(bad)
            task.add_done_callback(called.append)
            await settle()
    except KeyError as exc:  # pragma: no cover - it may leave, or be kept
        caught.append(exc)
    assert task is not None
    assert called == [task]
    assert unit.state == "stopped"
    told: list[object] = [*caught, *unit.run.failures, *(failure for failure, _, _ in unit.failed)]
    told += [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert error in told


# --- In a run -------------------------------------------------------------------------------------


async def test_order_of_begin_and_end() -> None:
    """Own tasks begin in order before anything added to the run; all are cancelled youngest first."""
    log: list[str] = []

    def noting(name: str) -> Any:
        async def act(unit: Unit) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                log.append(f"end {name}")

        return act

    names = [f"own{n}" for n in range(5)]
    unit = Unit("a", log, Unit("child", log), work={name: noting(name) for name in names})
    for n in range(2):
        unit.begin(noting(f"pending{n}"), f"pending{n}")
    await unit.life.start()
    for n in range(2):
        unit.begin(noting(f"added{n}"), f"added{n}")
        await settle()
    names += ["pending0", "pending1"]
    order = [
        *(f"a:{name}" for name in names),
        "child.first",
        "child.set_up",
        "child.ready",
        "a.ready",
    ]
    assert log == ["a.first", "a.set_up", *order, "a:added0", "a:added1"]
    log.clear()
    await unit.life.stop()
    names += ["added0", "added1"]
    assert log == [
        "a.tear_down",
        "child.tear_down",
        "child.farewell",
        *(f"end {name}" for name in reversed(names)),
        "a.farewell",
    ]


async def test_added_in_a_hook() -> None:
    """A task added in a hook of the start runs at once, and is cancelled by the stop."""
    log: list[str] = []

    async def set_up(unit: Unit) -> None:
        unit.begin(hanging, "helper")
        await settle()

    unit = Unit("a", log, set_up=set_up)
    await unit.life.start()
    await unit.life.stop()
    assert log == ["a.first", "a.set_up", "a:helper", "a.ready", "a.tear_down", "a.farewell"]


@pytest.mark.parametrize("step", ["tear_down", "farewell"])
async def test_added_while_stopping(step: str) -> None:
    """A run that stops takes no new task: the coroutine is closed, and the handle counts as cancelled."""
    made: list[Task[Any]] = []
    coroutine = answer()

    async def add(unit: Unit) -> None:
        made.append(unit.run.spawn(Task(coroutine, "late")))

    unit = Unit("a", [], **doing({step: add}))
    await unit.life.start()
    await unit.life.stop()
    assert made[0].cancelled()
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


async def test_added_after_the_stop() -> None:
    """What is added to a run that has ended is closed and counts as cancelled."""
    unit, coroutine = await running(), answer()
    await unit.life.stop()
    task = unit.run.spawn(Task(coroutine, "late"))
    assert task.cancelled()
    with pytest.raises(anyio.TaskCancelled):
        await task
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


async def test_added_before_a_start_that_fails() -> None:
    """What waits for a start that fails before it could begin is closed and counts as cancelled."""
    unit, coroutine = Unit("a", [], first=raising(ValueError("no"))), answer()
    task = unit.run.spawn(Task(coroutine, "waiting"))
    with pytest.raises(ValueError, match="no"):
        await unit.life.start()
    assert task.cancelled()
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


@pytest.mark.parametrize("how", ["stop", "fail", "raise"])
async def test_start_that_ends_while_work_begins(how: str) -> None:
    """When the first task ends the start, no coroutine of those that follow is dropped, and no handle hangs."""

    async def end(unit: Unit) -> None:
        match how:
            case "stop":
                await unit.life.stop()
            case "fail":
                unit.life.fail(ValueError("no"), "test")
            case _:
                raise ValueError("no")

    unit = Unit("a", [], work={"one": end, "two": yielding, "three": yielding})
    pending = unit.begin(yielding, "pending")
    with pytest.raises((ValueError, RuntimeError)):
        await unit.life.start()
    assert pending.cancelled()
    gc.collect()


async def test_work_that_can_not_be_made() -> None:
    """When making the work fails, the start fails of it, and what waited for the start is closed."""
    error = ValueError("no work")

    class Lazy(Unit):
        def work(self) -> list[Task[Any]]:
            raise error

    log: list[str] = []
    unit = Lazy("a", log)
    pending = unit.run.spawn(Task(answer(), "pending"))
    with pytest.raises(ValueError, match="no work") as caught:
        await unit.life.start()
    assert caught.value is error
    assert pending.cancelled()
    assert log == ["a.first", "a.set_up", "a.tear_down", "a.farewell"]


async def test_belongs_to_its_run() -> None:
    """A task belongs to the run it was added to, whoever added it, from whichever run or hook."""
    log: list[str] = []
    other = Unit("other", log)
    seen: dict[str, object] = {}

    def look(name: str) -> Any:
        async def act(unit: Unit) -> None:
            seen[name] = current_run()

        return act

    async def add(unit: Unit) -> None:
        await other.begin(look("hook of another"))

    await other.life.start()
    unit = Unit("a", log, work={"own": look("own")}, set_up=add)
    await unit.life.start()
    await other.begin(look("outside"))
    assert seen == {"own": unit.run, "hook of another": other.run, "outside": other.run}
    assert current_run() is None
    await unit.life.stop()
    await other.life.stop()


async def test_task_that_stays_until_released() -> None:
    """A stop waits for a task that ignores its cancellation for a while, and nothing is left then."""
    unit, event = await running(), anyio.Event()

    async def stay(unit: Unit) -> None:
        await stubborn(event)

    task = unit.begin(stay)
    await settle()
    async with anyio.create_task_group() as group:
        group.start_soon(unit.life.stop)
        await settle()
        assert unit.state == "stopping"
        assert task.cancelling
        event.set()
    assert unit.state == "stopped"
    assert task.done()
    assert not task.cancelled()


async def test_stacks() -> None:
    """A run can tell where each of its tasks stands, also a task in itself."""

    async def where_am_i(unit: Unit) -> None:
        unit.log.append(dict(unit.run.stacks())["inner"])

    log: list[str] = []
    unit = Unit("a", log, work={"own": hanging})
    await unit.life.start()
    await settle()
    stacks = dict(unit.run.stacks())
    assert "in hanging" in stacks["own"]
    log.clear()
    await unit.begin(where_am_i, "inner")
    assert "in where_am_i" in log[1]
    await unit.life.stop()
    assert unit.run.stacks() == []


async def test_work_done() -> None:
    """One can wait until no finite task is left in a tree; timers and the like do not count."""
    child = Unit("b", [])
    unit, event = Unit("a", [], child), anyio.Event()
    await unit.life.start()
    child.run.spawn(Task(anyio.sleep_forever(), "timer", finite=False))
    order: list[str] = []

    async def wait() -> None:
        await work_done(unit.run)
        order.append("done")

    async def more() -> None:
        await event.wait()
        unit.run.spawn(Task(answer(), "grandchild"))
        order.append("worked")

    child.run.spawn(Task(more(), "work"))
    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await settle()
        assert order == []
        event.set()
    assert order == ["worked", "done"]
    await work_done(unit.run)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await work_done(unit.run)
    assert scope.cancelled_caught
    await unit.life.stop()


class Weird(BaseException):
    """No `Exception`."""


@pytest.mark.parametrize("cancelled", [True, False])
async def test_callback_that_raises_what_is_no_exception(cancelled: bool) -> None:
    """What a done-callback raises beyond exceptions is a crash of the run, and its stop is not held up."""
    weird = Weird()
    unit = Unit("a", [])

    def callback(task: object) -> None:
        raise weird

    with pytest.raises(Weird) as caught:
        async with unit.life.block():
            task = unit.begin(hanging if cancelled else yielding)
            task.add_done_callback(callback)
            if cancelled:
                task.cancel()
            await anyio.sleep_forever()
    assert caught.value is weird
    assert unit.run.crash_reason is weird
    assert unit.run.failures == [weird]


async def test_task_added_when_the_start_has_just_been_asked_for() -> None:
    """Between the call of start() and the first step of the run, a task is kept, and begun in its turn."""
    unit, tasks = Unit("a", []), list[Task[Any]]()

    def listen(event: LifecycleEvent) -> None:
        if isinstance(event, Starting):
            tasks.append(unit.begin(yielding, "early"))

    unsubscribe = subscribe(listen)
    async with unit.life.block():
        unsubscribe()
        await settle()
    assert unit.log[:4] == ["a.first", "a.set_up", "a:early", "a.ready"]
    assert not tasks[0].cancelled()
