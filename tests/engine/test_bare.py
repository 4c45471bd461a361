"""A bare start, that only the event loop owns: used well it is like any other; forgotten, it is stopped in order."""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from structmode._engine import Task

from .unit import START, STOP, Unit, family, hanging, raising, settle, yielding

Main = Callable[[], Coroutine[Any, Any, Any]]
forgotten = pytest.warns(ResourceWarning, match="a was started and never stopped")


async def test_from_any_task() -> None:
    """Started in one task, stopped in another, long after the first has ended."""
    log: list[str] = []
    units = family(log)
    for call in (units["a"].life.start, units["a"].life.stop):
        async with anyio.create_task_group() as group:
            group.start_soon(call)
    assert log == [*START, *STOP]


async def test_outlives_the_scope_of_its_start() -> None:
    """What was started bare belongs to the loop, not to the scope or task group in which it was started."""
    unit = Unit("a", [], work={"t": hanging})
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(unit.life.start)
            await settle()
            scope.cancel()
    await settle()
    assert unit.state == "running"
    assert not unit.life.signal.is_set()
    await unit.life.stop()


def test_forgotten(fresh_loop: dict[str, Any]) -> None:
    """What was never stopped is stopped in order when the loop ends, and a ResourceWarning names it."""
    log: list[str] = []
    units = family(log, c={"tear_down": lambda _: anyio.sleep(0.01)}, a={"farewell": yielding})
    with forgotten:
        anyio.run(units["a"].life.start, **fresh_loop)
    assert log == [*START, *STOP]
    assert {unit.state for unit in units.values()} == {"stopped"}
    assert not any(unit.failed for unit in units.values())


def test_forgotten_by_everybody(fresh_loop: dict[str, Any]) -> None:
    """The event loop holds what it owns: a collection of what nobody refers to any more does not reach it."""
    log: list[str] = []

    async def main() -> None:
        await Unit("a", log).life.start()
        await settle()
        gc.collect()
        await settle()
        log.append("collected")

    with forgotten:
        anyio.run(main, **fresh_loop)
    assert log[-3:] == ["collected", "a.tear_down", "a.farewell"]


@pytest.mark.parametrize("repeat", range(5))
def test_forgotten_with_much_to_do(fresh_loop: dict[str, Any], repeat: int) -> None:
    """However much runs, and however asyncio shuffles its cancellations, the stop is orderly and the warning comes."""
    log: list[str] = []
    units = family(log)
    for unit in units.values():
        unit.tasks.update(dict.fromkeys("xyz", hanging))
    with forgotten:
        anyio.run(units["a"].life.start, **fresh_loop)
    assert [line for line in log if ":" not in line] == [*START, *STOP]


def test_forgotten_when_warnings_are_errors(fresh_loop: dict[str, Any]) -> None:
    """Where warnings are errors, nobody could catch this one: it is told to the unit instead."""
    log: list[str] = []
    unit = Unit("a", log)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        anyio.run(unit.life.start, **fresh_loop)
    ((exc, _, fate),) = unit.failed
    assert isinstance(exc, ResourceWarning)
    assert fate == "unreceived"
    assert log[-1] == "a.farewell"


def test_stopped_in_time(fresh_loop: dict[str, Any]) -> None:
    """What was stopped before the loop ends is not warned of."""
    unit = Unit("a", [])

    async def main() -> None:
        await unit.life.start()
        await unit.life.stop()

    anyio.run(main, **fresh_loop)
    assert unit.state == "stopped"


def test_crashed_in_time(fresh_loop: dict[str, Any]) -> None:
    """What has crashed, and stopped of it, is not warned of as forgotten."""
    unit, error = Unit("a", []), ValueError("boom")

    async def main() -> None:
        await unit.life.start()
        unit.begin(raising(error))
        await unit.run.finished.wait()

    anyio.run(main, **fresh_loop)
    assert (error, "a", "unreceived") in unit.failed


def test_stop_under_way(fresh_loop: dict[str, Any]) -> None:
    """A stop that is under way when the loop ends is completed; it was not forgotten."""
    log: list[str] = []
    unit = Unit("a", log, tear_down=lambda _: anyio.sleep(0.02))

    async def main() -> None:
        await unit.life.start()
        unit.run.request_stop()
        await settle()

    anyio.run(main, **fresh_loop)
    assert log[-1] == "a.farewell"
    assert unit.state == "stopped"


def test_main_fails(fresh_loop: dict[str, Any]) -> None:
    """If the main function fails, what it started is stopped in order, and its error leaves the loop."""
    log: list[str] = []
    units, error = family(log), KeyError("main")

    async def main() -> None:
        await units["a"].life.start()
        raise error

    with forgotten, pytest.raises(KeyError) as caught:
        anyio.run(main, **fresh_loop)
    assert caught.value is error
    assert log == [*START, *STOP]


def test_several_forgotten(fresh_loop: dict[str, Any]) -> None:
    """Each tree that was forgotten is stopped in its own order."""
    log: list[str] = []
    units = [Unit("a", log, Unit(f"a{n}", log)) for n in range(5)]

    async def main() -> None:
        for unit in units:
            await unit.life.start()

    with forgotten:
        anyio.run(main, **fresh_loop)
    assert {unit.state for unit in units} == {"stopped"}
    for n in range(5):
        assert log.count(f"a{n}.farewell") == 1


def test_end_while_it_starts(fresh_loop: dict[str, Any]) -> None:
    """If the loop ends while a start is under way, the start is undone."""
    log: list[str] = []
    units = family(log, c={"ready": hanging})

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(units["a"].life.start)
            await settle()
            group.cancel_scope.cancel()

    anyio.run(main, **fresh_loop)
    assert log[-2:] == ["a.tear_down", "a.farewell"]


@pytest.mark.parametrize("checkpoints", range(4))
def test_end_just_after_work_was_added(fresh_loop: dict[str, Any], checkpoints: int) -> None:
    """If the loop ends before a task that was just added has made its first step, nothing hangs and nothing is dropped."""
    unit = Unit("a", [])
    tasks: list[Task[Any]] = []

    async def main() -> None:
        await unit.life.start()
        tasks.extend(unit.begin(hanging, str(n)) for n in range(3))
        for _ in range(checkpoints):
            await anyio.lowlevel.checkpoint()

    with forgotten:
        anyio.run(main, **fresh_loop)
    assert all(task.done() for task in tasks)


@pytest.mark.parametrize("checkpoints", range(6))
def test_end_just_after_a_child_was_added(fresh_loop: dict[str, Any], checkpoints: int) -> None:
    """If the loop ends before the run of a child has made its first step, nothing hangs."""
    log: list[str] = []
    unit, child = Unit("a", log), Unit("b", log)

    async def adding(unit: Unit) -> None:
        unit.life.add_child(child.life)
        await child.life.start_as_child()

    async def main() -> None:
        await unit.life.start()
        unit.begin(adding)
        for _ in range(checkpoints):
            await anyio.lowlevel.checkpoint()

    with forgotten:
        anyio.run(main, **fresh_loop)
    assert unit.state == "stopped"
    assert child.state in {"new", "stopped"}
    assert log.count("b.set_up") == log.count("b.farewell")


def test_restart_at_the_end(fresh_loop: dict[str, Any]) -> None:
    """A restart that is asked for while the loop ends comes too late: the loop ends."""
    log: list[str] = []

    async def again(unit: Unit) -> None:
        if len(log) < 20:  # pragma: no branch - a loop without end is cut short
            await unit.life.restart()

    unit = Unit("a", log, tear_down=again)
    with forgotten:
        anyio.run(unit.life.start, **fresh_loop)
    assert "a.renew" not in log
    assert unit.state == "stopped"


def test_hook_that_fails_at_the_end(fresh_loop: dict[str, Any]) -> None:
    """What fails in the stop at the end of the loop is told; the loop ends in peace."""
    error = ValueError("no")
    unit = Unit("a", [], tear_down=raising(error))
    with forgotten:
        anyio.run(unit.life.start, **fresh_loop)
    assert error in [exc for exc, _, _ in unit.failed]


def test_stop_that_hangs_at_the_end(fresh_loop: dict[str, Any]) -> None:
    """A stop that hangs at the end of the loop is forced when time is up."""
    unit = Unit("a", [], tear_down=hanging)
    unit.stop_timeout = 0.03
    with forgotten:
        anyio.run(unit.life.start, **fresh_loop)
    assert unit.state == "stopped"


async def test_failing_stop_with_and_without_a_caller() -> None:
    """The error of a stop goes to its caller; without one it is told as a failure that nobody receives."""
    for caller in (True, False):
        error = ValueError("no")
        unit = Unit("a", [], farewell=raising(error))
        await unit.life.start()
        if caller:
            with pytest.raises(ValueError, match="no"):
                await unit.life.stop()
        else:
            unit.run.request_stop()
            await unit.run.finished.wait()
            await settle()
        fates = [fate for exc, _, fate in unit.failed if exc is error]
        assert ("unreceived" in fates) is not caller


def test_no_log_of_our_own(fresh_loop: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """The engine itself writes nothing to the log, whatever happens: telling is up to the unit."""
    unit = Unit("a", [], tear_down=raising(ValueError()))

    async def main() -> None:
        await unit.life.start()
        unit.begin(raising(KeyError("boom")))
        await unit.run.finished.wait()

    with caplog.at_level(logging.DEBUG, "structmode"):
        anyio.run(main, **fresh_loop)
    assert [record for record in caplog.records if record.name.startswith("structmode")] == []


def test_a_stop_under_way_is_not_warned_of(fresh_loop: dict[str, Any]) -> None:
    """Somebody has asked for the stop; that the event loop ends meanwhile makes it no forgotten service."""
    unit = Unit("a", [], tear_down=lambda _: anyio.sleep(0.02))

    async def main() -> None:
        await unit.life.start()
        unit.life.request_stop()
        await settle()

    anyio.run(main, **fresh_loop)
    assert unit.log[-1] == "a.farewell"
    assert unit.failed == []
