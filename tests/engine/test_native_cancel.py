"""asyncio's own cancellation, which passes all scopes and shields: an orderly stop of the tree, and never swallowed."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from structmode._engine import StopSignal, Task, all_of, first_of, work_done
from structmode.exceptions import ShutdownTimeout, StartAborted

from .kinds import KINDS, backend_of
from .oracle import EVERY_START_STEP, interrupted_start
from .unit import START, STOP, Unit, doing, family, hanging, raising, settle, stubborn, yielding


@pytest.fixture(scope="module", params=KINDS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The backends that have such a thing."""
    return backend_of(request.param)


def task_named(name: str) -> asyncio.Task[Any]:
    """Return the one task of that name."""
    (task,) = [task for task in asyncio.all_tasks() if task.get_name() == name]
    return task


# --- Around a block -------------------------------------------------------------------------------


async def test_cancelled_block() -> None:
    """`task.cancel()` of a task in a block stops in order, and the task ends as cancelled."""
    log: list[str] = []
    units = family(log, b={"tear_down": lambda _: anyio.sleep(0.005)})

    async def main() -> None:
        async with units["a"].life.block():
            await anyio.sleep_forever()

    task = asyncio.create_task(main())
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert log == [*START, *STOP]
    await units["a"].life.start()
    await units["a"].life.stop()


async def test_timeout_around_a_block() -> None:
    """`asyncio.timeout` around a block stops in order, and becomes its TimeoutError."""
    log: list[str] = []
    units = family(log)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as limit, units["a"].life.block():
            limit.reschedule(asyncio.get_running_loop().time())  # only now: a start takes its time
            await anyio.sleep_forever()
    assert log == [*START, *STOP]


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_cancelled_again_while_it_stops(times: int) -> None:
    """Being cancelled again and again while it stops changes nothing: the stop is completed, the cancellation goes on."""
    log: list[str] = []
    units = family(log, b={"tear_down": lambda _: anyio.sleep(0.02)}, a={"farewell": settling})

    async def main() -> None:
        async with units["a"].life.block():
            await anyio.sleep_forever()

    task = asyncio.create_task(main())
    await settle()
    for _ in range(times):
        task.cancel()
        await settle()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == [*START, *STOP]


async def settling(unit: Unit) -> None:
    """Take a few ticks."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("label", "step"), EVERY_START_STEP)
async def test_cancelled_caller_of_start(label: str, step: str) -> None:
    """A caller of start() that is cancelled natively, at whatever step, has all undone in order."""
    log: list[str] = []
    reached = anyio.Event()

    async def reach(unit: Unit) -> None:
        reached.set()
        await anyio.sleep_forever()

    units = family(log, **{label: {step: reach}})
    task = asyncio.create_task(units["a"].life.start())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == interrupted_start((label, step))


@pytest.mark.parametrize("ticks", range(12))
async def test_cancelled_at_every_distance(ticks: int) -> None:
    """A native cancellation some ticks after the begin of a block ends it in order, wherever it has come to."""
    log: list[str] = []
    units = family(log, c={"set_up": settling})

    async def main() -> None:
        async with units["a"].life.block():
            await anyio.sleep_forever()  # pragma: no cover - the longest distance ends before

    task = asyncio.create_task(main())
    for _ in range(ticks):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for label in "abcd":
        assert log.count(f"{label}.tear_down") == log.count(f"{label}.farewell")
    assert {unit.state for unit in units.values()} <= {"new", "stopped"}


async def test_cancelled_callers_of_stop_and_restart() -> None:
    """A caller of stop() or restart() that is cancelled natively gives up; the stop and the restart go on."""
    event = anyio.Event()
    unit = Unit("a", [], tear_down=lambda _: event.wait())
    await unit.life.start()
    for call in (unit.life.stop, unit.life.restart):
        task = asyncio.create_task(call())
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    event.set()
    await settle()
    assert unit.state == "running"
    await unit.life.stop()


async def test_cancelled_and_crashed() -> None:
    """A crash that comes with a native cancellation leaves; nothing is lost."""
    units, error = family([]), ValueError("boom")

    async def main() -> None:
        async with units["a"].life.block():
            units["c"].begin(raising(error))
            await anyio.sleep_forever()

    task = asyncio.create_task(main())
    await settle_a_little()
    task.cancel()
    with pytest.raises(ValueError, match="boom") as caught:
        await task
    assert caught.value is error


async def settle_a_little() -> None:
    """Let a block be entered and its body begin."""
    for _ in range(40):
        await asyncio.sleep(0)


# --- Inside a tree --------------------------------------------------------------------------------


@pytest.mark.parametrize("label", "abcd")
async def test_cancelled_run(label: str) -> None:
    """The native cancellation of any run's task is a stop of the tree from its root."""
    log: list[str] = []
    units = family(log)
    await units["a"].life.start()
    log.clear()
    task_named(label).cancel()
    await units["a"].run.finished.wait()
    assert log == STOP
    assert units["a"].run.failures == []


@pytest.mark.parametrize("label", "abcd")
async def test_cancelled_task(label: str) -> None:
    """The native cancellation of a background task is a stop of the tree from its root; its handle says cancelled."""
    log: list[str] = []
    units = family(log)
    await units["a"].life.start()
    task = units[label].begin(hanging, "background")
    await settle()
    log.clear()
    task_named("background").cancel()
    await units["a"].run.finished.wait()
    assert log == STOP
    assert task.cancelled()
    assert units["a"].run.failures == []


@pytest.mark.parametrize("owner", ["loop", "block", "parent"])
async def test_cancelled_run_before_its_first_step(owner: str) -> None:
    """A run whose task is cancelled before its first step has not started, and says so to whoever starts it."""
    log: list[str] = []
    unit = Unit("a", log)
    parent = Unit("parent", log)
    if owner == "parent":
        parent.life.add_child(unit.life)

    async def start() -> None:
        if owner == "block":
            async with unit.life.block():
                raise AssertionError("it has not started")
        await (parent if owner == "parent" else unit).life.start()

    task = asyncio.create_task(start())
    while not (found := [t for t in asyncio.all_tasks() if t.get_name() == "a"]):
        await asyncio.sleep(0)
    found[0].cancel()
    with pytest.raises(StartAborted) as caught:
        await task
    assert caught.value.label == "a"
    assert unit.state == "stopped"
    await unit.life.start()
    await unit.life.stop()


@pytest.mark.parametrize("successors", [0, 1])
async def test_cancelled_task_before_its_first_step(successors: int) -> None:
    """A background task that is cancelled before its first step has ended, as who waits for it sees; its tree stops."""
    unit = Unit("a", [])
    await unit.life.start()
    task = unit.begin(hanging, "victim")
    for _ in range(successors):
        unit.begin(yielding)
    task_named("victim").cancel()
    with anyio.fail_after(5):
        await work_done(unit.run)
    assert task.cancelled()
    await unit.life.stop()
    assert unit.run.failures == []


async def test_successor_of_a_task_cancelled_before_its_first_step() -> None:
    """It begins all the same, and is cancelled as all are when its unit stops: what it has to put away, it puts away."""
    put_away: list[str] = []

    async def successor(unit: Unit) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            put_away.append("it")

    unit = Unit("a", [])
    await unit.life.start()
    victim = unit.begin(hanging, "victim")
    _ = unit.begin(successor)
    task_named("victim").cancel()
    await settle()
    assert victim.cancelled()
    await unit.life.stop()
    assert put_away == ["it"]


async def test_hooks_after_a_task_was_cancelled_before_its_first_step() -> None:
    """The stop that comes of it is like any other: its hooks have the time that they take."""

    async def take_time(unit: Unit) -> None:
        await anyio.sleep(0.005)

    unit = Unit("a", [], tear_down=take_time, farewell=take_time)
    await unit.life.start()
    _ = unit.begin(hanging, "victim")
    task_named("victim").cancel()
    await settle()
    await unit.life.stop()
    assert unit.returned[-2:] == ["tear_down", "farewell"]
    assert unit.run.failures == []


async def test_cancelled_run_at_its_last_checkpoint() -> None:
    """The native cancellation of a run that has done all its steps is no failure, and nobody is told of any."""

    async def cancel_soon(unit: Unit) -> None:
        asyncio.get_running_loop().call_soon(task_named("a").cancel)

    unit = Unit("a", [], farewell=cancel_soon)
    await unit.life.start()
    run = unit.run
    await unit.life.stop()
    assert run.failures == []
    assert unit.failed == []


async def test_cancelled_run_in_the_grace() -> None:
    """The native cancellation of a run that has been killed, and waits for what ignores that, changes nothing."""
    event = anyio.Event()
    unit = Unit("a", [], work={"deaf": lambda _: stubborn(event)})
    unit.stop_timeout = 0.01
    await unit.life.start()

    async def stop() -> None:
        with pytest.raises(ShutdownTimeout):
            await unit.life.stop()

    async with anyio.create_task_group() as group:
        group.start_soon(stop)
        while not unit.failed:  # the first thing that is told is what is stuck
            await anyio.sleep(0.005)
        task_named("a").cancel()
        await settle()
        event.set()
    assert [type(exc) for exc in unit.run.failures] == [ShutdownTimeout]
    assert unit.returned[-1] == "farewell"


@pytest.mark.parametrize(("label", "step"), EVERY_START_STEP)
async def test_cancelled_run_while_starting(label: str, step: str) -> None:
    """The native cancellation of a run that is starting calls the start off; start() raises StartAborted."""
    log: list[str] = []
    reached = anyio.Event()

    async def reach(unit: Unit) -> None:
        reached.set()
        await anyio.sleep_forever()

    units = family(log, **{label: {step: reach}})
    async with anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises(StartAborted):
                await units["a"].life.start()

        group.start_soon(start)
        await reached.wait()
        task_named(label).cancel()
    assert log == interrupted_start((label, step))


@pytest.mark.parametrize("step", STOP)
@pytest.mark.parametrize("victim", "abc")
async def test_cancelled_run_while_stopping(victim: str, step: str) -> None:
    """The native cancellation of a run that is stopping cuts its hook short at most; every hook is still called."""
    log: list[str] = []
    reached = anyio.Event()

    async def reach(unit: Unit) -> None:
        reached.set()
        await anyio.sleep(0.005)

    label, name = step.split(".")
    units = family(log, **{label: {name: reach}})
    await units["a"].life.start()
    log.clear()
    async with anyio.create_task_group() as group:
        group.start_soon(units["a"].life.stop)
        await reached.wait()
        for task in asyncio.all_tasks():
            if task.get_name() == victim:
                task.cancel()
    assert log == STOP
    assert {unit.state for unit in units.values()} == {"stopped"}


async def test_everything_cancelled_at_once() -> None:
    """When every task is cancelled at once, as asyncio.run does in the end, the stop is still orderly."""
    log: list[str] = []
    units = family(log, c={"tear_down": settling}, d={"farewell": settling})
    await units["a"].life.start()
    for unit in units.values():
        unit.begin(hanging)
    await settle()
    log.clear()
    here = asyncio.current_task()
    for task in asyncio.all_tasks() - {here}:
        if not task.get_coro().__qualname__.startswith("TestRunner"):  # type: ignore[union-attr]
            task.cancel()
    await units["a"].run.finished.wait()
    assert log == STOP


async def test_swallowed_by_the_task() -> None:
    """A task that swallows a native cancellation has had its way: nothing stops."""
    unit = Unit("a", [])

    async def swallow() -> str:
        try:
            await anyio.sleep_forever()
        except asyncio.CancelledError:
            return "swallowed"
        raise AssertionError

    await unit.life.start()
    task = unit.run.spawn(Task(swallow(), "background"))
    await settle()
    task_named("background").cancel()
    assert await task == "swallowed"
    assert unit.state == "running"
    await unit.life.stop()


async def test_native_task_group_in_a_task() -> None:
    """A task may use asyncio's own task groups and timeouts; what they cancel inside stays inside."""
    unit = Unit("a", [])

    async def work() -> str:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.005):
                await anyio.sleep_forever()
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(10))
                raise KeyError
        inner = asyncio.create_task(asyncio.sleep(10))
        inner.cancel()
        await asyncio.wait([inner])
        return "done"

    await unit.life.start()
    assert await unit.run.spawn(Task(work(), "work")) == "done"
    assert unit.state == "running"
    await unit.life.stop()


async def test_native_timeout_in_hooks() -> None:
    """Hooks, too, may use asyncio's own timeouts, also in a run that has taken back a cancellation before."""

    async def hook(unit: Unit) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.002):
                await anyio.sleep_forever()

    names = ("first", "set_up", "ready", "tear_down", "farewell")
    unit = Unit("a", [], **doing(dict.fromkeys(names, hook)))
    await unit.life.start()
    task_named("a").cancel()
    await unit.run.finished.wait()
    assert unit.run.failures == []


async def test_cancelled_context() -> None:
    """The native cancellation of the task that holds a context ends it, and all is stopped in order."""
    log: list[str] = []
    unit = Unit("a", log)

    class Context:
        async def __aenter__(self) -> None:
            log.append("+")

        async def __aexit__(self, *exc_info: object) -> None:
            log.append("-")

    await unit.life.start()
    before = asyncio.all_tasks()
    await unit.run.contexts.enter_async_context(Context())
    (keeper,) = asyncio.all_tasks() - before
    keeper.cancel()
    await settle()
    await unit.life.stop()
    assert log.count("+") == log.count("-") == 1
    assert unit.state == "stopped"


@pytest.mark.usefixtures("short_grace")
async def test_stubborn() -> None:
    """What ignores native cancellation as well keeps the run, but not the callers of stop()."""
    event = anyio.Event()
    unit = Unit("a", [])
    unit.stop_timeout = 0.02
    await unit.life.start()
    unit.begin(lambda _: stubborn(event), "stubborn")
    await settle()
    task_named("stubborn").cancel()
    with pytest.raises(TimeoutError):
        await unit.life.stop()
    event.set()
    await unit.run.finished.wait()


# --- The end of the loop --------------------------------------------------------------------------


@pytest.mark.parametrize("ticks", range(10))
def test_end_of_the_loop_while_it_starts(fresh_loop: dict[str, Any], ticks: int) -> None:
    """However soon after its begin a loop ends, a start in a task of its own neither hangs nor leaves anything."""
    log: list[str] = []
    units = family(log, c={"set_up": settling})
    tasks: list[asyncio.Task[None]] = []

    async def main() -> None:
        tasks.append(asyncio.create_task(units["a"].life.start()))
        for _ in range(ticks):
            await asyncio.sleep(0)

    anyio.run(main, **fresh_loop)
    for label in "abcd":
        assert log.count(f"{label}.tear_down") == log.count(f"{label}.farewell")
    assert {unit.state for unit in units.values()} <= {"new", "stopped"}


@pytest.mark.parametrize("ticks", range(6))
def test_end_of_the_loop_while_it_restarts(fresh_loop: dict[str, Any], ticks: int) -> None:
    """A loop that ends while a restart is under way ends in order."""
    log: list[str] = []
    units = family(log, c={"set_up": settling})

    async def main() -> None:
        await units["a"].life.start()
        task = asyncio.create_task(units["a"].life.restart())
        for _ in range(ticks):
            await asyncio.sleep(0)
        del task

    with (
        warnings.catch_warnings()
    ):  # whether it was forgotten depends on how far the restart has come
        warnings.simplefilter("ignore", ResourceWarning)
        anyio.run(main, **fresh_loop)
    for label in "abcd":
        assert log.count(f"{label}.set_up") >= log.count(f"{label}.farewell")
        assert log.count(f"{label}.tear_down") == log.count(f"{label}.farewell")
    assert {unit.state for unit in units.values()} == {"stopped"}


def test_block_in_a_task_that_nobody_waits_for(fresh_loop: dict[str, Any]) -> None:
    """A block in a task that the end of the loop cancels stops in order."""
    log: list[str] = []
    units = family(log, b={"farewell": settling})

    async def service() -> None:
        async with units["a"].life.block():
            await anyio.sleep_forever()

    async def main() -> None:
        tasks.append(asyncio.create_task(service()))
        await settle()

    tasks: list[asyncio.Task[None]] = []
    anyio.run(main, **fresh_loop)
    assert log == [*START, *STOP]
    assert tasks[0].cancelled()


# --- Waiting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", [all_of, first_of])
@pytest.mark.parametrize("count", [1, 3])
async def test_wait_cancelled_natively(wait: Callable[..., Any], count: int) -> None:
    """A wait that is cancelled natively ends, with all it had begun, and the cancellation goes on."""
    ended: list[int] = []

    def thing(n: int) -> Callable[[], Coroutine[Any, Any, None]]:
        async def run() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                ended.append(n)

        return run

    task = asyncio.create_task(wait(StopSignal(), [thing(n) for n in range(count)]))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == list(range(count))


@pytest.mark.parametrize("wait", [all_of, first_of])
@pytest.mark.parametrize("others", [0, 2])
async def test_wait_for_what_is_cancelled(wait: Callable[..., Any], others: int) -> None:
    """A wait for something that somebody cancels raises, and not as if the waiting task had been cancelled."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    things = [anyio.sleep_forever] * others
    task = asyncio.create_task(wait(StopSignal(), [future, *things]))
    await settle()
    future.cancel()
    with pytest.raises(
        anyio.TaskCancelled, match="awaited something that was cancelled"
    ) as raised:
        await task
    assert isinstance(raised.value.__cause__, asyncio.CancelledError)


@pytest.mark.parametrize("cancelled_before", [True, False])
async def test_task_that_awaits_a_cancelled_future(cancelled_before: bool) -> None:
    """A task that ends because what it awaited was cancelled, though nobody cancelled the task, has failed."""
    unit = Unit("a", [])
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        await future

    if cancelled_before:
        future.cancel()
    with pytest.raises(anyio.TaskCancelled, match=r"^work awaited something"):
        async with unit.life.block():
            task = unit.run.spawn(Task(work(), "work"))
            await settle()
            future.cancel()
            await anyio.sleep_forever()
    assert task.done()
    assert not task.cancelled()
    assert task.exception() is unit.run.crash_reason


async def test_hook_that_awaits_a_cancelled_future() -> None:
    """A hook whose future somebody cancels has failed, and the start with it."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def hook(unit: Unit) -> None:
        await future

    log: list[str] = []
    units = family(log, d={"set_up": hook})
    task = asyncio.create_task(units["a"].life.start())
    await settle()
    future.cancel()
    with pytest.raises(anyio.TaskCancelled, match=r"^on_start awaited something"):
        await task
    assert units["a"].state == "stopped"
    assert log.count("a.farewell") == 1


async def test_count_of_cancellations_is_balanced() -> None:
    """A native cancellation that the engine takes back leaves no trace in the task's count."""
    counts: list[int] = []

    async def look(unit: Unit) -> None:
        this = asyncio.current_task()
        assert this is not None
        counts.append(this.cancelling())

    unit = Unit("a", [], tear_down=look, farewell=look)
    await unit.life.start()
    task_named("a").cancel()
    await unit.run.finished.wait()
    assert counts == [0, 0]


@pytest.mark.parametrize("ticks", range(1, 25))
async def test_cancelled_run_at_every_distance(ticks: int) -> None:
    """At whatever moment of its start or life a run's task is cancelled, the tree stops, and nothing swallows that."""
    log: list[str] = []
    units = family(log, a={"set_up": yielding})
    units["a"].tasks.update(one=hanging, two=hanging)
    victims: list[str] = []

    async def cancel() -> None:
        for _ in range(ticks):
            await asyncio.sleep(0)
        victims.extend(
            task.get_name()
            for task in asyncio.all_tasks()
            if task.get_name() == "a" and task.cancel()
        )

    killer = asyncio.create_task(cancel())
    with anyio.fail_after(5):
        try:
            await units["a"].life.start()
        except (StartAborted, asyncio.CancelledError):
            assert victims
        await killer
        assert victims == ["a"]
        await units["a"].run.finished.wait()
    for label in "abcd":
        assert log.count(f"{label}.tear_down") == log.count(f"{label}.farewell")


async def test_exit_callback_that_awaits_a_cancelled_future() -> None:
    """What fails so while contexts are closed is a failure of the stop, and no stop of the tree."""

    async def exit_callback() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    log: list[str] = []
    units = family(log)
    async with units["a"].life.block():
        units["d"].run.contexts.push_async_callback(exit_callback)
        with pytest.raises(anyio.TaskCancelled, match="awaited something"):
            await units["d"].life.stop()
        assert units["a"].state == "running"


@pytest.mark.parametrize("wait", [all_of, first_of])
async def test_part_of_a_wait_cancelled(wait: Callable[..., Any]) -> None:
    """When somebody cancels one of the tasks of a wait, the wait says so; the first thing is in the caller's task."""

    async def cancel_itself() -> None:
        this = asyncio.current_task()
        assert this is not None
        this.cancel()
        await anyio.sleep_forever()

    with pytest.raises(anyio.TaskCancelled, match="part of this wait"):
        await wait(StopSignal(), [anyio.sleep_forever, cancel_itself])
    caller = asyncio.create_task(wait(StopSignal(), [cancel_itself, anyio.sleep_forever]))
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert caller.cancelled()
