"""Stopping: its order, that it is one stop however many ask for it, and what it raises to whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from structmode._engine import (
    Life,
    LifecycleEvent,
    Stopped,
    Task,
    all_of,
    sleep as engine_sleep,
    subscribe,
)
from structmode.exceptions import LifecycleError, StartAborted
from tests.meanwhile import is_one_for_all

from .oracle import EVERY_START_STEP, interrupted_start
from .unit import START, STOP, Unit, family, hanging, raising, settle, stubborn, yielding

Stop = Callable[[Life], Any]


async def started(log: list[str], **steps: Any) -> dict[str, Unit]:
    """Start the tree a(b(c), d)."""
    units = family(log, **steps)
    await units["a"].life.start()
    log.clear()
    return units


# --- Order ----------------------------------------------------------------------------------------


async def test_order() -> None:
    """A stop runs from the top down, children in reverse order, and comes back up."""
    log: list[str] = []
    slow = {"tear_down": yielding, "farewell": yielding}
    units = await started(log, a=slow, b=slow, c=slow, d=slow)
    await units["a"].life.stop()
    assert log == STOP
    assert {unit.state for unit in units.values()} == {"stopped"}


async def test_children_serve_until_told() -> None:
    """While a unit tears down, its children are running, and no one below has been told to stop."""
    seen: list[object] = []

    async def look(unit: Unit) -> None:
        seen.append([(name, units[name].state) for name in "bcd"])
        seen.append([units[name].life.signal.is_set() for name in "abcd"])

    units = await started([], a={"tear_down": look})
    await units["a"].life.stop()
    assert seen == [
        [("b", "running"), ("c", "running"), ("d", "running")],
        [True, False, False, False],
    ]


async def test_tasks_work_until_children_have_stopped() -> None:
    """Own tasks are cancelled when the children have stopped; the hold comes after that, the last hook at the end."""
    log: list[str] = []

    async def work(unit: Unit) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            log.append(f"{unit.label}: cancelled")

    async def hold(unit: Unit) -> None:
        pass

    child = Unit("b", log, work={"t": work}, hold=hold)
    unit = Unit("a", log, child, work={"t": work}, hold=hold)
    await unit.life.start()
    log.clear()
    await unit.life.stop()
    assert log == [
        "a.tear_down",
        "b.tear_down",
        "b: cancelled",
        "b.hold",
        "b.farewell",
        "a: cancelled",
        "a.hold",
        "a.farewell",
    ]


async def test_there_is_one_permission() -> None:
    """Also if two ask for it for the first time in the same instant, as threads may."""
    assert is_one_for_all(lambda: Unit("a", []).run, lambda run: run.permission)


async def test_hold() -> None:
    """A unit may keep its stop waiting for a permission; its tasks have been cancelled by then."""
    log: list[str] = []
    unit = Unit("a", log, hold=lambda unit: unit.run.permission.wait(), work={"t": hanging})
    await unit.life.start()
    async with anyio.create_task_group() as group:
        group.start_soon(unit.life.stop)
        await settle()
        assert log[-1] == "a.hold"
        assert len(unit.run.tasks) == 0
        unit.run.permission.set()
    assert log[-1] == "a.farewell"


async def test_one_child() -> None:
    """A child may be stopped alone, and started again where it was."""
    log: list[str] = []
    units = await started(log)
    await units["b"].life.stop()
    assert log == ["b.tear_down", "c.tear_down", "c.farewell", "b.farewell"]
    assert units["a"].state == units["d"].state == "running"
    log.clear()
    await units["b"].life.start()
    assert log == ["b.set_up", "c.set_up", "c.ready", "b.ready"]
    log.clear()
    await units["a"].life.stop()
    # In the reverse of the order in which they were added, though b was started last.
    assert log[:3] == ["a.tear_down", "d.tear_down", "d.farewell"]


async def test_nothing_is_left() -> None:
    """After a stop no task of the tree is left, and no child, task or context is held."""
    before = len(anyio.get_running_tasks())
    units = await started([])
    for unit in units.values():
        unit.begin(hanging)
    runs = [unit.run for unit in units.values()]
    await settle()
    assert len(anyio.get_running_tasks()) > before
    await units["a"].life.stop()
    await settle()
    assert len(anyio.get_running_tasks()) == before
    for run in runs:
        assert run.subtree() == [run]
        assert len(run.tasks) == len(run.keepers) == 0
        assert not run.accepts


# --- Again and again ------------------------------------------------------------------------------


async def test_before_the_start() -> None:
    """A stop before the first start does nothing, and spoils nothing."""
    log: list[str] = []
    unit = Unit("a", log)
    await unit.life.stop()
    assert log == []
    assert unit.state == "new"
    await unit.life.start()
    assert unit.state == "running"
    await unit.life.stop()


async def test_again() -> None:
    """A second stop does nothing."""
    log: list[str] = []
    unit = Unit("a", log)
    await unit.life.start()
    await unit.life.stop()
    await unit.life.stop()
    assert log.count("a.tear_down") == 1


@pytest.mark.parametrize("state", ["new", "stopped"])
async def test_is_a_checkpoint(state: str) -> None:
    """A stop that has nothing to do can be cancelled."""
    unit = Unit("a", [])
    if state == "stopped":
        await unit.life.start()
        await unit.life.stop()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await unit.life.stop()
    assert scope.cancelled_caught


async def test_shared() -> None:
    """Any number of callers share one stop, and none returns before it is over."""
    log: list[str] = []
    event = anyio.Event()
    unit = Unit("a", log, farewell=lambda _: event.wait())
    await unit.life.start()
    returned: list[str] = []

    async def stop() -> None:
        await unit.life.stop()
        returned.append(unit.state)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(stop)
        await settle()
        group.start_soon(stop)
        await settle()
        assert returned == []
        event.set()
    assert returned == ["stopped"] * 6
    assert log.count("a.tear_down") == log.count("a.farewell") == 1


async def test_parent_and_child_at_once() -> None:
    """Stops of a parent and of its children at the same time get along; each hook is called once."""
    log: list[str] = []
    units = await started(log)
    async with anyio.create_task_group() as group:
        for name in "cabd":
            group.start_soon(units[name].life.stop)
    assert sorted(log) == sorted(STOP)
    assert {unit.state for unit in units.values()} == {"stopped"}


async def test_cancelled_caller() -> None:
    """A caller that is cancelled leaves at once; the stop goes on, and others may wait for it."""
    event = anyio.Event()
    unit = Unit("a", [], tear_down=lambda _: event.wait())
    await unit.life.start()
    with anyio.move_on_after(0.01) as scope:
        await unit.life.stop()
    assert scope.cancelled_caught
    assert unit.state == "stopping"
    event.set()
    await unit.life.stop()
    assert unit.state == "stopped"


# --- During the start -----------------------------------------------------------------------------


@pytest.mark.parametrize(("label", "step"), EVERY_START_STEP)
async def test_during_the_start(label: str, step: str) -> None:
    """A stop from outside calls a start off at whatever step: start() raises StartAborted, stop() returns quietly."""
    log: list[str] = []
    reached = anyio.Event()

    async def reach(unit: Unit) -> None:
        reached.set()
        await anyio.sleep_forever()

    units = family(log, **{label: {step: reach}})
    async with anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises(StartAborted) as caught:
                await units["a"].life.start()
            assert caught.value.label == "a"

        group.start_soon(start)
        await reached.wait()
        await units["a"].life.stop()
    assert log == interrupted_start((label, step))
    assert not any(unit.run.failures for unit in units.values())
    assert not any(unit.failed for unit in units.values())
    assert units["a"].run.crash_reason is None


@pytest.mark.parametrize("steps", range(12))
async def test_at_every_distance(steps: int) -> None:
    """A stop some ticks after the begin of a start ends it, wherever it has come to; nothing is half done."""
    log: list[str] = []
    units = family(log, b={"set_up": yielding}, c={"first": yielding}, d={"ready": yielding})
    outcomes: list[str] = []
    async with anyio.create_task_group() as group:

        async def start() -> None:
            try:
                await units["a"].life.start()
                outcomes.append("started")
            except StartAborted as exc:
                outcomes.append(exc.label)

        group.start_soon(start)
        while units["a"].state == "new":
            await anyio.lowlevel.checkpoint()
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()
        await units["a"].life.stop()
    assert outcomes in (["started"], ["a"])
    assert {unit.state for unit in units.values()} <= {"stopped", "new"}
    assert log.count("a.set_up") == log.count("a.farewell")
    assert not any(unit.failed for unit in units.values())


async def test_between_two_children() -> None:
    """A stop in the tick between the starts of two children does not try the second."""
    log: list[str] = []
    event = anyio.Event()

    async def ready(unit: Unit) -> None:
        await event.wait()

    unit = Unit("a", log, Unit("b", log, ready=ready), Unit("c", log))
    async with anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises(StartAborted):
                await unit.life.start()

        async def stop() -> None:
            await event.wait()
            await unit.life.stop()

        group.start_soon(start)
        await settle()
        group.start_soon(stop)
        await settle()
        event.set()
    assert "c.set_up" not in log
    assert unit.run.failures == []
    assert log[-1] == "a.farewell"


async def test_child_stopped_during_the_start() -> None:
    """A child that is stopped while it starts makes its parent's start fail, with the child's StartAborted."""
    units = family([], c={"ready": hanging})
    async with anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises(StartAborted) as caught:
                await units["a"].life.start()
            assert caught.value.label == "c"

        group.start_soon(start)
        await settle()
        await units["c"].life.stop()
    assert units["a"].state == "stopped"


# --- What fails -----------------------------------------------------------------------------------


@pytest.mark.parametrize("failing", STOP)
async def test_failing_hook(failing: str) -> None:
    """A hook that fails keeps none of the others from being called; its error leaves stop(), as it was raised."""
    log: list[str] = []
    error = ValueError(failing)
    label, step = failing.split(".")
    units = await started(log, **{label: {step: raising(error)}})
    with pytest.raises(ValueError, match=failing) as caught:
        await units["a"].life.stop()
    assert caught.value is error
    assert log == STOP
    assert {unit.state for unit in units.values()} == {"stopped"}
    assert [fate for exc, _, fate in units[label].failed if exc is error] == ["stop"]
    assert units["a"].run.crash_reason is None
    await units["a"].life.stop()


async def test_every_hook_failing() -> None:
    """If everything fails, everything is still called, the first failure leaves, and all the others are noted on it."""
    log: list[str] = []
    errors = {line: ValueError(line) for line in STOP}
    steps: dict[str, dict[str, Any]] = {name: {} for name in "abcd"}
    for line, error in errors.items():
        label, step = line.split(".")
        steps[label][step] = raising(error)
    units = await started(log, **steps)
    with pytest.raises(ValueError, match="tear_down") as caught:
        await units["a"].life.stop()
    assert caught.value is errors[STOP[0]]
    assert log == STOP
    assert units["a"].run.failures[0] is errors[STOP[0]]
    assert set(units["a"].run.failures) == set(errors.values())
    notes = "\n".join(caught.value.__notes__)
    assert all(line in notes for line in STOP[1:])


async def test_failing_task() -> None:
    """A task that fails while it is cancelled by the stop: the failure leaves stop(), and is told as one of a stop."""
    error = ValueError("on its way out")

    async def clumsy(unit: Unit) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise error

    log: list[str] = []
    unit = Unit("a", log, work={"t": clumsy})
    await unit.life.start()
    with pytest.raises(ValueError, match="on its way out") as caught:
        await unit.life.stop()
    assert caught.value is error
    assert log[-1] == "a.farewell"
    assert unit.run.crash_reason is None
    assert [fate for _, _, fate in unit.failed] == ["stop"]


async def test_every_caller_gets_the_error() -> None:
    """Each caller of the stop that failed gets the error."""
    error = ValueError("no")
    unit = Unit("a", [], tear_down=raising(error))
    await unit.life.start()
    caught: list[BaseException] = []

    async def stop() -> None:
        try:
            await unit.life.stop()
        except ValueError as exc:
            caught.append(exc)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(stop)
    assert caught == [error] * 3


async def test_failing_stop_of_a_child() -> None:
    """The error of a child's own stop goes to its caller, and leaves the parent in peace."""
    error = ValueError("no")
    units = await started([], c={"tear_down": raising(error)})
    with pytest.raises(ValueError, match="no") as caught:
        await units["b"].life.stop()
    assert caught.value is error
    assert units["a"].state == "running"
    assert units["a"].run.failures == []
    await units["a"].life.stop()


async def test_failing_stop_that_nobody_waits_for() -> None:
    """The error of a child's stop that nobody waits for is a crash of its owner."""
    error = ValueError("no")
    units = family([], c={"farewell": raising(error)})
    with pytest.raises(ValueError, match="no") as caught:
        async with units["a"].life.block():
            units["c"].run.request_stop()
            await anyio.sleep_forever()
    assert caught.value is error
    assert units["b"].run.crash_reason is error
    assert units["a"].run.crash_reason is error


async def test_failing_stop_whose_caller_gave_up() -> None:
    """The error of a stop whose only caller was cancelled meanwhile is a crash of the owner."""
    error, event = ValueError("no"), anyio.Event()

    async def tear_down(unit: Unit) -> None:
        await event.wait()
        raise error

    units = family([], b={"tear_down": tear_down})
    with pytest.raises(ValueError, match="no") as caught:
        async with units["a"].life.block():
            with anyio.move_on_after(0.01):
                await units["b"].life.stop()
            event.set()
            await anyio.sleep_forever()
    assert caught.value is error


# --- Waits under the stop signal ------------------------------------------------------------------


async def test_waits_return_before_anything_is_cancelled() -> None:
    """What waits under the stop signal has returned before the first task is cancelled."""
    log: list[str] = []

    async def waits(unit: Unit) -> None:
        await engine_sleep(unit.life.signal, 1e6)
        log.append("returned")

    async def other(unit: Unit) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            log.append("cancelled")

    unit = Unit("a", [], work={"waits": waits, "other": other})
    await unit.life.start()
    await settle()
    await unit.life.stop()
    assert log == ["returned", "cancelled"]


async def test_outsider_who_waits_under_the_signal() -> None:
    """Somebody outside who waits under the stop signal, and is slow to return, does not keep the unit from stopping."""
    log: list[str] = []
    unit, event = Unit("a", log, farewell=yielding), anyio.Event()
    unit.stop_timeout = 0.05
    await unit.life.start()
    async with anyio.create_task_group() as group:
        group.start_soon(all_of, unit.life.signal, [lambda: stubborn(event)])
        await settle()
        try:
            await unit.life.stop()
        finally:
            event.set()
    assert unit.run.failures == []
    assert unit.returned[-1] == "farewell"


async def test_own_task_that_is_slow_to_return() -> None:
    """A task that waits under the signal, and is slow to return, is waited for; the stop goes on when it has."""
    log: list[str] = []
    unit, event = Unit("a", log, farewell=yielding), anyio.Event()

    async def waits(unit: Unit) -> None:
        await all_of(unit.life.signal, [lambda: stubborn(event)])
        log.append("returned")

    await unit.life.start()
    task = unit.begin(waits)
    await settle()
    async with anyio.create_task_group() as group:
        group.start_soon(unit.life.stop)
        await settle()
        assert unit.state == "stopping"
        event.set()
    assert task.done()
    assert log[-2:] == ["returned", "a.farewell"]
    assert unit.run.failures == []


# --- Drain ----------------------------------------------------------------------------------------


async def test_drain() -> None:
    """In the drain, tasks may end by themselves: one that heeds the signal is not cancelled."""
    log: list[str] = []

    async def work(unit: Unit) -> None:
        await unit.life.signal.wait()
        await anyio.sleep(0.01)
        log.append("ended by itself")

    unit = Unit("a", log, work={"t": work})
    unit.drain_timeout = 5.0
    await unit.life.start()
    log.clear()
    await unit.life.stop()
    assert log == ["a.tear_down", "ended by itself", "a.farewell"]


async def test_drain_is_over() -> None:
    """What has not ended after the drain is cancelled."""
    unit = Unit("a", [])
    unit.drain_timeout = 0.01
    await unit.life.start()
    task = unit.begin(hanging)
    await unit.life.stop()
    assert task.cancelled()
    assert unit.run.failures == []


async def test_drain_ends_early() -> None:
    """The drain lasts no longer than the tasks; without tasks there is none."""
    unit = Unit("a", [], work={"t": yielding})
    unit.drain_timeout = unit.stop_timeout = 1e6
    await unit.life.start()
    await unit.life.stop()
    assert unit.run.failures == []


async def test_drain_is_bounded_by_the_stop() -> None:
    """A drain longer than the stop may take does not prolong it."""
    unit = Unit("a", [])
    unit.drain_timeout, unit.stop_timeout = 1e6, 0.02
    await unit.life.start()
    task = unit.begin(hanging)
    try:
        await unit.life.stop()
    except TimeoutError:  # pragma: no cover - both outcomes are right
        pass
    assert task.cancelled()
    assert unit.state == "stopped"


async def test_failing_in_the_drain() -> None:
    """A task that fails in the drain is a failure of the stop."""
    error = ValueError("late")

    async def work(unit: Unit) -> None:
        await unit.life.signal.wait()
        raise error

    unit = Unit("a", [], work={"t": work})
    unit.drain_timeout = 1.0
    await unit.life.start()
    with pytest.raises(ValueError, match="late") as caught:
        await unit.life.stop()
    assert caught.value is error
    assert unit.state == "stopped"


# --- Kill -----------------------------------------------------------------------------------------


async def test_kill() -> None:
    """A kill calls every hook of the stop, but lets none wait."""
    log: list[str] = []

    async def tidy(unit: Unit) -> None:
        await anyio.lowlevel.checkpoint()
        log.append("waited")  # pragma: no cover - must not be reached

    steps = {"tear_down": tidy, "farewell": tidy}
    units = await started(log, a=steps, b=steps, c=steps, d=steps)
    for unit in units.values():
        unit.begin(hanging)
    units["a"].life.kill()
    await units["a"].run.finished.wait()
    hooks = [line for line in log if ":" not in line]
    assert sorted(hooks) == sorted(STOP)
    assert hooks[-1] == "a.farewell"
    assert hooks.index("c.farewell") < hooks.index("b.farewell")


async def test_kill_of_what_does_not_run() -> None:
    """A kill of what does not run does nothing."""
    unit = Unit("a", [])
    unit.life.kill()
    await unit.life.start()
    await unit.life.stop()
    unit.life.kill()
    await unit.life.start()
    assert unit.state == "running"
    await unit.life.stop()


async def test_kill_while_starting() -> None:
    """A kill ends a start too."""
    log: list[str] = []
    units = family(log, c={"ready": hanging, "tear_down": hanging})
    async with anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises(StartAborted):
                await units["a"].life.start()

        group.start_soon(start)
        await settle()
        units["a"].life.kill()
    assert log == interrupted_start(("c", "ready"))
    assert START[0] in log


async def test_request() -> None:
    """A stop may be asked for without waiting; a restart that was asked for is called off by it."""
    log: list[str] = []
    event = anyio.Event()
    unit = Unit("a", log, tear_down=lambda _: event.wait())
    unit.life.request_stop()
    await unit.life.start()
    async with anyio.create_task_group() as group:

        async def restart() -> None:
            with pytest.raises(StartAborted):
                await unit.life.restart()

        group.start_soon(restart)
        await settle()
        unit.life.request_stop()
        unit.life.request_stop()
        event.set()
        await unit.run.finished.wait()
    assert unit.state == "stopped"
    assert log.count("a.tear_down") == 1
    assert "a.renew" not in log


@pytest.mark.parametrize("bad", ["start_timeout", "stop_timeout", "drain_timeout"])
async def test_unreadable_limits(bad: str) -> None:
    """A limit that can't be read makes the start fail before anything runs; it never keeps a run from stopping."""
    log: list[str] = []

    class Vague(Unit):
        @property
        def start_timeout(self) -> float:  # type: ignore[override]
            return self._read("start_timeout", 5.0)

        @property
        def stop_timeout(self) -> float:  # type: ignore[override]
            return self._read("stop_timeout", 5.0)

        @property
        def drain_timeout(self) -> float:  # type: ignore[override]
            return self._read("drain_timeout", 0.0)

        def _read(self, name: str, value: float) -> float:
            if name == bad and self.vague:
                raise ValueError(f"{name} is unreadable")
            return value

        vague = True

    unit = Vague("a", log)
    with pytest.raises(ValueError, match="unreadable"):
        await unit.life.start()
    assert log == []
    unit.vague = False
    for call in (unit.life.start, unit.life.restart):
        await call()
    unit.vague = True
    try:
        await unit.life.stop()
    except ValueError:  # pragma: no cover - both outcomes are right
        pass
    assert unit.state == "stopped"
    assert log[-1] == "a.farewell"
    unit.vague = False
    await unit.life.start()
    unit.vague = True
    with pytest.raises(ValueError, match="unreadable"):
        await unit.life.restart()
    assert unit.state == "stopped"
    unit.vague = False
    await unit.life.start()
    await unit.life.stop()


async def test_unit_that_can_not_be_told() -> None:
    """A unit whose `on_failure` fails does no harm to its run."""

    class Deaf(Unit):
        def on_failure(self, exc: BaseException, origin: str, fate: object) -> None:
            raise KeyError("deaf")

    log: list[str] = []
    unit, error = Deaf("a", log), ValueError("boom")
    with pytest.raises(ValueError, match="boom") as caught:
        async with unit.life.block():
            unit.begin(raising(error))
            await anyio.sleep_forever()
    assert caught.value is error
    assert log[-1] == "a.farewell"


async def test_kill_of_a_child() -> None:
    """A child may be killed alone."""
    units = await started([], b={"tear_down": hanging})
    units["b"].life.kill()
    await units["b"].run.finished.wait()
    assert units["c"].state == "stopped"
    assert units["a"].state == "running"
    await units["a"].life.stop()


async def test_new_work_is_refused() -> None:
    """A unit that has been asked to stop starts no child."""
    log: list[str] = []
    late = Unit("late", log)

    async def tear_down(unit: Unit) -> None:
        unit.life.add_child(late.life)
        with pytest.raises(
            LifecycleError, match="late can't be started: its parent a is stopping"
        ):
            await late.life.start_as_child()

    unit = Unit("a", log, tear_down=tear_down)
    await unit.life.start()
    task = unit.run.spawn(Task(anyio.sleep_forever(), "t"))
    await unit.life.stop()
    assert unit.run.failures == []
    assert "late.set_up" not in log
    assert task.cancelled()


async def test_receiver_cancelled_in_the_instant_of_the_end() -> None:
    """A stop's failure is not lost with a caller who is cancelled just then: it is a crash of the owner."""
    failure = RuntimeError("in stop")
    child = Unit("b", [], farewell=raising(failure))
    parent = Unit("a", [], child)
    with pytest.raises(RuntimeError) as caught:
        async with parent.life.block():
            with anyio.CancelScope() as scope:

                def cancel(event: LifecycleEvent) -> None:
                    if isinstance(event, Stopped) and event.subject is child:
                        scope.cancel()

                unsubscribe = subscribe(cancel)
                try:
                    await child.life.stop()
                finally:
                    unsubscribe()
            assert scope.cancelled_caught  # pragma: no cover - the crash may be faster
            await anyio.sleep_forever()  # pragma: no cover - as above
    assert caught.value is failure
    assert parent.run.crash_reason is failure
