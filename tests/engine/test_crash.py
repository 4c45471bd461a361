"""Crashes: whom a failure marks, what it stops, and that the first failure leaves as it was raised."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from structmode._engine import Task
from structmode._engine._flag import Flag

from .unit import STOP, Act, Unit, doing, family, hanging, raising, settle


async def crash_in(units: dict[str, Unit], act: Callable[[], Any]) -> BaseException:
    """Run the tree in a block, let `act` make it crash, and return what left the block."""
    try:
        async with units["a"].life.block():
            units["a"].log.clear()
            result = act()
            if hasattr(result, "__await__"):
                await result
            await anyio.sleep_forever()
    except BaseException as exc:
        assert not isinstance(exc, anyio.get_cancelled_exc_class())
        return exc
    raise AssertionError("it did not crash")


def beginning(unit: Unit, act: Act, name: str = "task") -> Callable[[], None]:
    """Make what begins a task that does `act`, and does not wait for it."""

    def begin() -> None:
        unit.begin(act, name)

    return begin


# --- Where it comes from --------------------------------------------------------------------------


@pytest.mark.parametrize("label", "abcd")
async def test_failing_task(label: str) -> None:
    """A task that fails anywhere stops the tree in order from the top; the failure leaves the block as it was raised."""
    log: list[str] = []
    units, error = family(log), ValueError(label)
    left = await crash_in(units, beginning(units[label], raising(error)))
    assert left is error
    assert log == [f"{label}:task", *STOP]
    assert {unit.state for unit in units.values()} == {"stopped"}


@pytest.mark.parametrize("label", "abcd")
async def test_an_interrupt_meets_the_run_at_rest(
    label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is raised in a unit's own task, as Ctrl-C may be in any, while that waits to be stopped is a crash."""
    log: list[str] = []
    units, interrupt = family(log), KeyboardInterrupt()
    wait, now = Flag.wait, anyio.Event()
    pending: list[BaseException] = [interrupt]

    async def interrupted(flag: Flag) -> None:
        run = units[label].life.run
        if run is not None and flag is run._turn and pending:
            await now.wait()
            raise pending.pop()
        await wait(flag)

    monkeypatch.setattr(Flag, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        async with units["a"].life.block():
            log.clear()
            now.set()
            await anyio.sleep_forever()
    assert caught.value is interrupt
    assert not pending
    assert log == STOP
    assert {unit.state for unit in units.values()} == {"stopped"}


@pytest.mark.parametrize("label", "abcd")
async def test_report_from_outside(label: str) -> None:
    """A failure that is reported to a unit, by whomever, is a crash of it."""
    log: list[str] = []
    units, error = family(log), ValueError(label)
    left = await crash_in(units, lambda: units[label].life.fail(error, "test"))
    assert left is error
    assert log == STOP


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit(), StopAsyncIteration(1)]
)
async def test_any_exception(error: BaseException) -> None:
    """Any exception that leaves a task is the crash reason, and leaves the block as it was raised."""
    units = family([])
    left = await crash_in(units, beginning(units["c"], raising(error)))
    assert left is error


async def test_context_that_fails() -> None:
    """A context that fails while it is held crashes its run."""
    log: list[str] = []
    units, error = family(log), ValueError("context")
    event = anyio.Event()

    @asynccontextmanager
    async def context() -> AsyncIterator[None]:
        async def fail() -> None:
            await event.wait()
            raise error

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(fail)
                yield
        except BaseExceptionGroup:
            raise error from None

    async def act() -> None:
        await units["c"].run.contexts.enter_async_context(context())
        event.set()

    assert await crash_in(units, act) is error
    assert log == STOP


# --- Whom it marks --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "marked"), [("a", "abcd"), ("b", "abc"), ("c", "abc"), ("d", "ad")]
)
async def test_who_is_marked(label: str, marked: str) -> None:
    """A crash marks what failed, all below it and all above it; siblings are stopped, but not marked."""
    units, error = family([]), ValueError(label)
    await crash_in(units, beginning(units[label], raising(error)))
    reasons = {name: unit.run.crash_reason for name, unit in units.items()}
    assert reasons == {name: error if name in marked else None for name in "abcd"}


async def test_all_are_signalled_at_once() -> None:
    """The moment something crashes, everybody in the tree should stop, before anyone tears down."""
    log: list[str] = []
    seen: list[list[bool]] = []

    async def look(unit: Unit) -> None:
        seen.append([units[name].life.signal.is_set() for name in "abcd"])

    units = family(log, a={"tear_down": look})

    def act() -> None:
        units["d"].life.fail(ValueError(), "test")
        seen.append([units[name].life.signal.is_set() for name in "abcd"])
        assert log == []

    await crash_in(units, act)
    assert seen == [[True] * 4] * 2


async def test_told_to_the_unit() -> None:
    """The unit where it happened is told at once: the first failure as a crash, with its origin."""
    units, error = family([]), ValueError("boom")
    await crash_in(units, beginning(units["c"], raising(error), "worker"))
    assert units["c"].failed == [(error, "worker", "crash")]
    assert all(units[name].failed == [] for name in "abd")


async def test_children_may_be_used_while_tearing_down() -> None:
    """A parent that tears down after a crash finds its children still there."""
    seen: list[str] = []

    async def look(unit: Unit) -> None:
        seen.extend(units[name].state for name in "bcd")

    units = family([], a={"tear_down": look})
    await crash_in(units, lambda: units["c"].life.fail(ValueError(), "test"))
    assert seen == ["running"] * 3


@pytest.mark.parametrize("how", ["start", "restart", "task"])
async def test_new_work_in_a_crashed_tree(how: str) -> None:
    """What begins in a tree that has crashed knows at once that it should stop, or is refused."""
    event = anyio.Event()
    units = family([], a={"tear_down": lambda _: event.wait()})
    late = Unit("late", [])

    async def begin() -> None:
        units["b"].life.add_child(late.life)
        try:
            match how:
                case "start":
                    await late.life.start_as_child()
                case "restart":
                    late.life = units["c"].life
                    await units["c"].life.restart()
                case _:
                    units["b"].begin(hanging)
                    late.life = units["b"].life
        except RuntimeError:
            return
        if late.life.alive:  # pragma: no branch - on no backend so far it is over by then
            assert late.life.signal.is_set()

    async def act() -> None:
        async def outside() -> None:
            await settle()
            try:
                await begin()
            finally:
                event.set()

        group.start_soon(outside)
        units["d"].life.fail(ValueError("boom"), "test")

    async with anyio.create_task_group() as group:
        left = await crash_in(units, act)
    assert repr(left) == "ValueError('boom')"
    assert {unit.state for unit in units.values()} == {"stopped"}


# --- More than one --------------------------------------------------------------------------------


async def test_two_crashes() -> None:
    """Of two crashes the first leaves; the second is told, kept and noted."""
    units, first, second = family([]), ValueError("first"), KeyError("second")

    def act() -> None:
        units["c"].life.fail(first, "one")
        units["d"].life.fail(second, "two")

    assert await crash_in(units, act) is first
    assert units["c"].failed == [(first, "one", "crash")]
    assert units["d"].failed == [(second, "two", "later")]
    assert units["a"].run.failures == [first, second]
    assert any("KeyError('second')" in note for note in first.__notes__)
    assert len(first.__notes__) == len(set(first.__notes__))


async def test_same_failure_twice() -> None:
    """The same exception object, reported again or through a second task, counts once."""
    units, error = family([]), ValueError("same")

    def act() -> None:
        units["c"].life.fail(error, "one")
        units["c"].life.fail(error, "again")
        units["d"].life.fail(error, "elsewhere")

    assert await crash_in(units, act) is error
    assert units["a"].run.failures == [error]
    assert not getattr(error, "__notes__", ())


@pytest.mark.parametrize("failing", STOP)
async def test_failing_while_the_crashed_tree_stops(failing: str) -> None:
    """What fails while a crashed tree is being stopped does not replace the crash reason, and is not lost."""
    log: list[str] = []
    first, second = ValueError("first"), KeyError("second")
    label, step = failing.split(".")
    units = family(log, **{label: {step: raising(second)}})
    assert await crash_in(units, lambda: units["c"].life.fail(first, "test")) is first
    assert log == STOP
    assert second in units["a"].run.failures
    assert any("KeyError('second')" in note for note in first.__notes__)
    assert [exc for exc, _, _ in units[label].failed if exc is second] == [second]


async def test_crash_while_stopping() -> None:
    """A failure in a child while its parent tears down is collected in the child's turn, and leaves stop()."""
    log: list[str] = []
    error, event = ValueError("meanwhile"), anyio.Event()
    units = family(log, a={"tear_down": lambda _: event.wait()})
    await units["a"].life.start()
    log.clear()
    caught: list[BaseException] = []
    async with anyio.create_task_group() as group:

        async def stop() -> None:
            try:
                await units["a"].life.stop()
            except ValueError as exc:
                caught.append(exc)

        group.start_soon(stop)
        await settle()
        units["c"].begin(raising(error))
        await settle()
        event.set()
    assert caught == [error]
    assert [line for line in log if ":" not in line] == STOP


async def test_report_while_stopping() -> None:
    """A failure that is reported to a unit in its own last steps leaves stop()."""
    error = ValueError("in a hook")

    async def fail(unit: Unit) -> None:
        unit.life.fail(error, "test")

    for step in ("tear_down", "hold", "farewell"):
        unit = Unit("a", [], **doing({step: fail}))
        await unit.life.start()
        with pytest.raises(ValueError, match="in a hook") as caught:
            await unit.life.stop()
        assert caught.value is error
        assert unit.state == "stopped"


# --- While starting, and out of time --------------------------------------------------------------


@pytest.mark.parametrize("step", ["first", "set_up", "ready"])
@pytest.mark.parametrize("checkpoint", [False, True])
async def test_report_in_a_hook_of_the_start(step: str, checkpoint: bool) -> None:
    """A failure that a hook of the start reports makes the start fail, also if the hook goes on and returns."""
    log: list[str] = []
    error = ValueError("reported")

    async def fail(unit: Unit) -> None:
        unit.life.fail(error, "test")
        if checkpoint:
            await anyio.lowlevel.checkpoint()

    unit = Unit("a", log, **doing({step: fail}))
    with pytest.raises(ValueError, match="reported") as caught:
        await unit.life.start()
    assert caught.value is error
    assert unit.state == "stopped"
    assert unit.run.crash_reason is None
    assert log[-1] in ("a.farewell", f"a.{step}")


async def test_before_the_start_and_after_the_stop() -> None:
    """A failure that is reported to what does not run reaches nobody, so it is told as such; it harms no later run."""
    unit = Unit("a", [])
    early, late = ValueError("early"), ValueError("late")
    unit.life.fail(early, "test")
    await unit.life.start()
    assert unit.state == "running"
    await unit.life.stop()
    unit.life.fail(late, "test")
    assert (late, "test", "unreceived") in unit.failed
    assert (early, "test", "unreceived") in unit.failed
    assert unit.run.failures == []
    await unit.life.start()
    assert unit.run.failures == []
    await unit.life.stop()


async def test_late_failure_of_a_former_run() -> None:
    """What is left of a former run can't crash the new one."""
    log: list[str] = []
    unit, leave = Unit("a", log), anyio.Event()

    async def set_up(unit: Unit) -> None:
        async def linger() -> None:
            await leave.wait()
            unit.life.fail(ValueError("late"), "leftover")

        if "a.renew" not in log:
            group.start_soon(linger)

    unit.steps["set_up"] = set_up
    async with anyio.create_task_group() as group, unit.life.block():
        await unit.life.restart()
        leave.set()
        await settle()
        assert unit.state == "running"
        assert unit.run.failures == []


# --- Owners ---------------------------------------------------------------------------------------


async def test_stop_after_a_crash_is_quiet() -> None:
    """Who calls stop() after a crash gets no error: the crash leaves the owner's block."""
    error, event = ValueError("boom"), anyio.Event()
    units = family([], a={"tear_down": lambda _: event.wait()})
    quiet: list[str] = []

    async def stop() -> None:
        await settle()
        event.set()
        await units["a"].life.stop()
        quiet.append("quiet")

    async with anyio.create_task_group() as group:

        def act() -> None:
            units["c"].life.fail(error, "test")
            group.start_soon(stop)

        assert await crash_in(units, act) is error
    assert quiet == ["quiet"]


async def test_bare() -> None:
    """A crash of what nobody owns is told as one that nobody receives, and its tree is stopped."""
    log: list[str] = []
    units, error = family(log), ValueError("boom")
    await units["a"].life.start()
    log.clear()
    units["c"].begin(raising(error), "worker")
    await units["a"].run.finished.wait()
    assert log == ["c:worker", *STOP]
    assert (error, "worker", "crash") in units["c"].failed
    assert (error, "a", "unreceived") in units["a"].failed
    assert units["a"].run.crash_reason is error
    await units["a"].life.stop()


async def test_starts_again_after_a_crash() -> None:
    """What has crashed may be started again, as new: nothing of the crash is left in the new run."""
    units, error = family([]), ValueError("boom")
    assert await crash_in(units, lambda: units["c"].life.fail(error, "test")) is error
    async with units["a"].life.block():
        assert all(unit.run.crash_reason is None for unit in units.values())
        assert all(unit.run.failures == [] for unit in units.values())
        assert not any(unit.life.signal.is_set() for unit in units.values())


async def test_traceback_of_the_reason() -> None:
    """The traceback of the crash reason still shows where it was raised."""

    async def deep(unit: Unit) -> None:
        def deeper() -> None:
            raise ValueError("deep down")

        deeper()

    units = family([])
    left = await crash_in(units, beginning(units["c"], deep))
    names = []
    traceback = left.__traceback__
    while traceback is not None:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert names[-2:] == ["deep", "deeper"]


async def test_crash_of_a_child_started_at_run_time() -> None:
    """A child that was started later crashes its parent as any other."""
    units, error = family([]), ValueError("late child")
    late = Unit("late", [])

    async def act() -> None:
        units["d"].life.add_child(late.life)
        await late.life.start_as_child()
        late.run.spawn(Task(late._work("t", raising(error)), "t"))

    assert await crash_in(units, act) is error
    assert units["d"].run.crash_reason is error
    assert units["b"].run.crash_reason is None


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    """Takes no notes, and no context."""


class Shy(Exception):
    """Can't be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Empty(Exception):
    """Is false."""

    def __bool__(self) -> bool:
        return False  # pragma: no cover - nothing asks, which is the point


def name_of_type(value: object) -> str:
    """Return a name for a test's parameter."""
    return type(value).__name__


@pytest.mark.parametrize("first", [Frozen(), Shy(), Empty(), ValueError()], ids=name_of_type)
@pytest.mark.parametrize("second", [Frozen(), Shy(), Empty(), KeyError()], ids=name_of_type)
async def test_strange_exceptions(first: Exception, second: Exception) -> None:
    """Exceptions that can't be changed, shown or tested for truth leave as they were raised; all are kept."""

    async def fail_too(unit: Unit) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise second

    unit = Unit("a", [])
    with pytest.raises(type(first)) as caught:
        async with unit.life.block():
            unit.begin(fail_too)
            await settle()
            unit.begin(raising(first))
            await anyio.sleep_forever()
    assert caught.value is first
    assert unit.run.failures == [first, second]
    if not isinstance(first, Frozen):
        (note,) = first.__notes__
        assert type(second).__name__ in note
        del first.__notes__


async def test_start_that_fails_with_what_is_false() -> None:
    """An exception that is false leaves start() all the same."""
    unit = Unit("a", [], set_up=raising(Empty()))
    with pytest.raises(Empty):
        await unit.life.start()


async def test_same_error_in_the_stop() -> None:
    """What crashed the unit may be raised again by its hooks: it is one failure, told once."""
    error = KeyError("again and again")
    unit = Unit("a", [], tear_down=raising(error), farewell=raising(error))
    with pytest.raises(KeyError) as caught:
        async with unit.life.block():
            unit.begin(raising(error))
            await anyio.sleep_forever()
    assert caught.value is error
    assert unit.run.failures == [error]
    assert [(exc, fate) for exc, _, fate in unit.failed] == [(error, "crash")]


async def test_two_failures_of_a_child_while_its_parent_starts() -> None:
    """Each has reached the parent when the call that told of it returns, the second one too."""
    first, second = ValueError("first"), ValueError("second")
    seen: list[list[BaseException]] = []
    child = Unit("b", [])

    async def ready(unit: Unit) -> None:
        for exc in (first, second):
            child.life.fail(exc, "test")
            seen.append(unit.run.failures)

    parent = Unit("a", [], child, ready=ready)
    with pytest.raises(ValueError, match="first") as caught:
        await parent.life.start()
    assert caught.value is first
    assert seen == [[first], [first, second]]
    assert parent.run.failures == [first, second]
