"""Stops that take too long: they are bounded, the rest is cut short, and the error tells who was stuck, and where."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from structmode._engine._run import _FIRST_LOOK
from structmode.exceptions import ShutdownTimeout, StartAborted

from .laws import check
from .oracle import interrupted_start
from .unit import STOP, Unit, doing, family, hanging, raising, settle, stubborn

SHORT, LONG = 0.1, 1e6


async def too_long(unit: Unit) -> ShutdownTimeout:
    """Stop a unit, and return the timeout that it must raise."""
    with pytest.raises(ShutdownTimeout) as caught:
        await unit.life.stop()
    return caught.value


async def started(units: dict[str, Unit], **timeouts: float) -> None:
    """Start a tree, whose units have the timeouts given, and the others long ones."""
    for name, unit in units.items():
        unit.stop_timeout = timeouts.get(name, LONG)
    await units["a"].life.start()
    units["a"].log.clear()


# --- What may hang --------------------------------------------------------------------------------


@pytest.mark.parametrize("hanging_step", STOP)
@pytest.mark.parametrize("bounded", ["a", "the hanging one"])
async def test_hanging_hook(hanging_step: str, bounded: str) -> None:
    """A hook that hangs is cut short when time is up; every other hook is still called, and the error names it."""
    log: list[str] = []
    label, step = hanging_step.split(".")
    units = family(log, **{label: {step: hanging}})
    limit = "a" if bounded == "a" else label
    await started(units, **{limit: SHORT})
    error = await too_long(units["a"])
    assert error.label == limit
    assert error.timeout == SHORT
    assert isinstance(error, TimeoutError)
    (stuck,) = error.stuck
    assert stuck.owner == label
    assert "in hanging" in stuck.stack
    assert f"{limit} did not stop within {SHORT} s" in str(error)
    assert stuck.task in str(error)
    assert sorted(log) == sorted(STOP)
    check(units.values(), log)


@pytest.mark.parametrize(
    ("parent", "child"), [(SHORT, LONG), (LONG, SHORT), (SHORT, SHORT), (SHORT, 2 * SHORT)]
)
async def test_child_that_hangs(parent: float, child: float) -> None:
    """Of the limits of a parent and its child, whichever passes first ends the wait."""
    log: list[str] = []
    units = family(log, c={"tear_down": hanging})
    await started(units, b=parent, c=child)
    error = await too_long(units["a"])
    first = {"b"} if parent < child else {"c"} if child < parent else {"b", "c"}
    assert error.label in first
    assert error.stuck[0].owner == "c"
    assert log == STOP
    assert {unit.state for unit in units.values()} == {"stopped"}


async def test_hook_names() -> None:
    """The error calls a hook that hangs by the name it has in reports, in the parent's words as in the unit's own."""
    names: list[str] = []
    for limit in "ab":
        units = family([], b={"tear_down": hanging})
        await started(units, **{limit: SHORT})
        names.append((await too_long(units["a"])).stuck[0].task)
    assert names == ["on_stop", "on_stop"]


async def test_hanging_sibling() -> None:
    """One that hangs keeps its siblings from nothing: they stop in order, with time to wait in their hooks."""
    log: list[str] = []

    async def tidy(unit: Unit) -> None:
        await anyio.sleep(0.001)
        log.append(f"{unit.label} tidied")

    units = family(log, b={"tear_down": tidy}, c={"farewell": tidy}, d={"tear_down": hanging})
    await started(units, d=SHORT)
    error = await too_long(units["a"])
    assert error.label == "d"
    assert [line for line in log if "tidied" not in line] == STOP
    assert "b tidied" in log
    assert "c tidied" in log
    assert units["a"].run.failures == [error]


async def test_hanging_hold() -> None:
    """A permission that never comes does not keep a stop for ever."""
    unit = Unit("a", [], hold=lambda unit: unit.run.permission.wait())
    unit.stop_timeout = SHORT
    await unit.life.start()
    error = await too_long(unit)
    assert "set_shutdown" in error.stuck[0].task
    assert unit.state == "stopped"


async def test_task_that_takes_its_time() -> None:
    """A task that is slow to end is waited for until time is up, then named with its stack."""
    units = family([])
    await started(units, a=SHORT)
    event = anyio.Event()
    units["c"].begin(lambda _: stubborn(event), "slow one")
    await settle()
    async with anyio.create_task_group() as group:

        async def release() -> None:
            while not any(unit.failed for unit in units.values()):
                await anyio.sleep(SHORT / 3)
            event.set()

        group.start_soon(release)
        error = await too_long(units["a"])
    (stuck,) = error.stuck
    assert (stuck.owner, stuck.task) == ("c", "slow one")
    assert "in stubborn" in stuck.stack
    assert {unit.state for unit in units.values()} == {"stopped"}


async def test_task_that_cleans_up_for_ever() -> None:
    """A task that hangs in its clean-up, unshielded, is ended by the hard cancel."""

    async def clean_up(unit: Unit) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True) as scope:
                scopes.append(scope)
                await anyio.sleep_forever()

    scopes: list[anyio.CancelScope] = []
    unit = Unit("a", [], work={"t": clean_up})
    unit.stop_timeout = SHORT
    await unit.life.start()
    await settle()
    async with anyio.create_task_group() as group:

        async def release() -> None:
            await anyio.sleep(3 * SHORT)
            scopes[0].cancel()

        group.start_soon(release)
        error = await too_long(unit)
    assert error.stuck[0].task == "t"
    assert "in clean_up" in error.stuck[0].stack


async def test_context_that_hangs() -> None:
    """A context that hangs while it is left is cut short, those below it are left, and the error names it."""
    log: list[str] = []

    @asynccontextmanager
    async def noting(name: str, *, hang: bool = False) -> AsyncIterator[None]:
        try:
            yield
        finally:
            log.append(f"-{name}")
            if hang:
                await anyio.sleep_forever()

    units = family(log)
    await started(units, b=SHORT)
    for name in ("one", "two", "three"):
        await units["b"].run.contexts.enter_async_context(noting(name, hang=name == "two"))
    error = await too_long(units["a"])
    assert error.label == "b"
    assert "noting" in error.stuck[0].task
    assert [line for line in log if line.startswith("-")] == ["-three", "-two", "-one"]
    assert [line for line in log if not line.startswith("-")] == STOP


async def test_several_that_hang() -> None:
    """All that are stuck are named, each with its own stack."""
    units = family([], d={"tear_down": hanging})
    await started(units, a=2 * SHORT)
    event = anyio.Event()
    units["b"].stop_timeout = LONG
    for name in ("one", "two"):
        units["d"].begin(lambda _: stubborn(event), name)
    await settle()
    async with anyio.create_task_group() as group:

        async def release() -> None:
            await anyio.sleep(6 * SHORT)
            event.set()

        group.start_soon(release)
        error = await too_long(units["a"])
    assert error.stuck[0].owner == "d"
    assert {unit.state for unit in units.values()} == {"stopped"}


# --- What ignores even the hard cancel ------------------------------------------------------------


@pytest.mark.usefixtures("short_grace")
@pytest.mark.parametrize("place", ["task", "hook", "context", "child's task", "child's hook"])
async def test_stubborn(place: str) -> None:
    """What ignores even the hard cancel keeps stop() no longer than a grace; released, it ends in order."""
    log: list[str] = []
    event = anyio.Event()
    units = family(log)

    @asynccontextmanager
    async def clinging() -> AsyncIterator[None]:
        yield
        await stubborn(event)

    units["b" if place == "hook" else "c"].steps["tear_down"] = (
        (lambda _: stubborn(event)) if "hook" in place else lambda _: anyio.lowlevel.checkpoint()
    )
    await started(units, b=SHORT, a=LONG)
    b = units["b"]
    if place.endswith("task"):
        units["b" if place == "task" else "c"].begin(lambda _: stubborn(event), "stubborn")
        await settle()
    if place == "context":
        await b.run.contexts.enter_async_context(clinging())
    error = await too_long(b)
    assert error.label == "b"
    assert any("in stubborn" in stuck.stack for stuck in error.stuck)
    assert b.state == "stopping"
    assert units["a"].state == "running"
    again = await too_long(b)
    assert again.stuck
    event.set()
    await b.run.finished.wait()
    assert units["c"].state == "stopped"
    try:
        await units["a"].life.stop()
    except ShutdownTimeout:  # pragma: no cover - both outcomes are right
        pass
    assert sorted(line for line in log if ":" not in line) == sorted(STOP)
    check(units.values(), [line for line in log if ":" not in line])


@pytest.mark.usefixtures("short_grace")
async def test_stubborn_keeps_no_sibling() -> None:
    """One that ignores even the hard cancel does not keep its siblings from stopping."""
    event = anyio.Event()
    units = family([])
    await started(units, a=SHORT)
    units["d"].begin(lambda _: stubborn(event), "stubborn")
    await settle()
    error = await too_long(units["a"])
    assert [stuck.owner for stuck in error.stuck] == ["d"]
    await settle()
    assert units["b"].state == units["c"].state == "stopped"
    event.set()
    await units["a"].run.finished.wait()


@pytest.mark.usefixtures("short_grace")
async def test_stubborn_in_a_block() -> None:
    """A block does not let go of what ignores its cancellation; it waits until that has ended."""
    event = anyio.Event()
    unit = Unit("a", [])
    unit.stop_timeout = SHORT

    async def release() -> None:
        await anyio.sleep(8 * SHORT)
        assert unit.state == "stopping"
        event.set()

    async with anyio.create_task_group() as group:
        with pytest.raises(ShutdownTimeout) as caught:
            async with unit.life.block():
                unit.begin(lambda _: stubborn(event), "stubborn")
                await settle()
                group.start_soon(release)
        assert unit.state == "stopped"
        assert caught.value.stuck[0].task == "stubborn"


async def test_stubborn_hook_leaves_its_children_time() -> None:
    """A hook that ignores its deadline for a while does not cost the others their hooks."""
    log: list[str] = []
    event = anyio.Event()
    units = family(log, a={"tear_down": lambda _: stubborn(event)})
    await started(units, a=SHORT)
    async with anyio.create_task_group() as group:

        async def release() -> None:
            await anyio.sleep(3 * SHORT)
            event.set()

        group.start_soon(release)
        try:
            await units["a"].life.stop()
        except ShutdownTimeout:
            pass
    assert sorted(log) == sorted(STOP)
    check(units.values(), log)


# --- Starts that are called off -------------------------------------------------------------------


@pytest.mark.parametrize("step", ["first", "set_up", "ready"])
async def test_hook_that_hangs_after_its_own_stop(step: str) -> None:
    """A hook of the start that asks for a stop, and then hangs, is cut short when time is up."""

    async def act(unit: Unit) -> None:
        await unit.life.stop()
        await anyio.sleep_forever()

    log: list[str] = []
    unit = Unit("a", log, **doing({step: act}))
    unit.stop_timeout = SHORT
    with pytest.raises((StartAborted, ShutdownTimeout)):
        await unit.life.start()
    check([unit], log)


async def test_stop_of_others_after_its_own() -> None:
    """A stop from outside gets through to a hook that has asked for its own stop and then hangs."""

    async def set_up(unit: Unit) -> None:
        await unit.life.stop()
        await anyio.sleep_forever()

    unit = Unit("a", [], set_up=set_up)
    unit.stop_timeout = SHORT
    async with anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises((StartAborted, ShutdownTimeout)):
                await unit.life.start()

        group.start_soon(start)
        await settle()
        try:
            await unit.life.stop()
        except ShutdownTimeout:  # pragma: no cover - both outcomes are right
            pass
    assert unit.state == "stopped"


async def test_rollback_that_hangs() -> None:
    """The limit of a parent bounds the rollback of a child that was just starting."""
    log: list[str] = []
    units = family(log, c={"ready": hanging, "tear_down": hanging})
    for unit in units.values():
        unit.stop_timeout = LONG
    units["a"].stop_timeout = SHORT
    async with anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises((StartAborted, ShutdownTimeout)):
                await units["a"].life.start()

        group.start_soon(start)
        await settle()
        try:
            await units["a"].life.stop()
        except ShutdownTimeout as exc:
            assert exc.label == "a"
            assert exc.stuck[0].owner == "c"
    assert sorted(log) == sorted(interrupted_start(("c", "ready")))
    check(units.values(), log)


async def test_failing_start_whose_rollback_hangs() -> None:
    """A start that fails and whose rollback hangs is undone in bounded time; the first error leaves."""
    log: list[str] = []
    error = ValueError("no")
    units = family(log, a={"ready": raising(error)}, c={"tear_down": hanging})
    for unit in units.values():
        unit.stop_timeout = LONG
    units["a"].stop_timeout = SHORT
    with pytest.raises(ValueError, match="no") as caught:
        await units["a"].life.start()
    assert caught.value is error
    assert any("ShutdownTimeout" in note for note in error.__notes__)
    check(units.values(), log)


async def test_cancelled_start_that_hangs() -> None:
    """A cancelled start whose rollback hangs is given up in bounded time, and the cancellation goes on."""
    log: list[str] = []
    units = family(log, c={"ready": hanging, "tear_down": hanging})
    for unit in units.values():
        unit.stop_timeout = LONG
    units["a"].stop_timeout = SHORT
    with anyio.move_on_after(0.01) as scope:
        await units["a"].life.start()
    assert scope.cancelled_caught
    check(units.values(), log)


# --- Crashes and cancellations --------------------------------------------------------------------


async def test_crash_whose_stop_hangs() -> None:
    """When the stop after a crash hangs, the crash reason leaves all the same, with the timeout noted on it."""
    log: list[str] = []
    error = ValueError("boom")
    units = family(log, b={"tear_down": hanging})
    for unit in units.values():
        unit.stop_timeout = LONG
    units["a"].stop_timeout = SHORT
    with pytest.raises(ValueError, match="boom") as caught:
        async with units["a"].life.block():
            units["d"].life.fail(error, "test")
            await anyio.sleep_forever()
    assert caught.value is error
    assert any("ShutdownTimeout" in note for note in error.__notes__)
    check(units.values(), log)


async def test_cancelled_block_whose_stop_hangs() -> None:
    """A cancelled block whose stop hangs is left in bounded time: with the timeout, since that must not be lost."""
    units = family([], b={"tear_down": hanging})
    for unit in units.values():
        unit.stop_timeout = LONG
    units["a"].stop_timeout = SHORT
    with pytest.raises(ShutdownTimeout), anyio.CancelScope() as scope:
        async with units["a"].life.block():
            scope.cancel()
            await anyio.sleep_forever()
    check(units.values(), [line for line in units["a"].log if ":" not in line])


async def test_timeout_that_nobody_waits_for() -> None:
    """A child's stop that takes too long, and for which nobody waits, is a crash of its owner."""
    units = family([], c={"tear_down": hanging})
    for unit in units.values():
        unit.stop_timeout = LONG
    units["c"].stop_timeout = SHORT
    with pytest.raises(ShutdownTimeout) as caught:
        async with units["a"].life.block():
            units["c"].run.request_stop()
            await anyio.sleep_forever()
    assert caught.value.label == "c"


async def test_infinite_limit() -> None:
    """A stop without a limit may take as long as it takes."""
    event = anyio.Event()
    unit = Unit("a", [], tear_down=lambda _: event.wait())
    unit.stop_timeout = float("inf")
    await unit.life.start()
    async with anyio.create_task_group() as group:
        group.start_soon(unit.life.stop)
        await anyio.sleep(SHORT)
        assert unit.state == "stopping"
        event.set()
    assert unit.run.failures == []


@pytest.mark.parametrize("limit", [0.0, -1.0])
async def test_no_time(limit: float) -> None:
    """A unit without any time to stop still has all its hooks called; what waits for nothing is no failure."""
    log: list[str] = []
    unit = Unit("a", log, Unit("b", log))
    unit.stop_timeout = limit
    await unit.life.start()
    unit.begin(hanging)
    await settle()
    try:
        await unit.life.stop()
    except ShutdownTimeout:
        pass
    check([unit], [line for line in log if ":" not in line])
    assert "a.farewell" in log


async def test_time_counts_from_the_request() -> None:
    """The time of a stop counts from the moment it was asked for, not anew for each step."""
    log: list[str] = []

    async def slow(unit: Unit) -> None:
        log.append("slow")
        await anyio.sleep(2 * SHORT)
        log.append("done")

    steps: dict[str, Any] = {"tear_down": slow, "hold": slow, "farewell": slow}
    unit = Unit("a", log, **steps)
    unit.stop_timeout = 3 * SHORT
    await unit.life.start()
    error = await too_long(unit)
    assert log.count("slow") == 3
    assert log.count("done") == 1
    assert error.stuck[0].task == "wait for set_shutdown()"


async def test_limit_is_read_when_asked() -> None:
    """The limit may be set while the unit runs; what counts is its value when the stop is asked for."""
    unit = Unit("a", [], tear_down=hanging)
    unit.stop_timeout = LONG
    await unit.life.start()
    unit.stop_timeout = SHORT
    error = await too_long(unit)
    assert error.timeout == SHORT


@pytest.mark.usefixtures("short_grace")
async def test_stuck_child_of_a_running_parent() -> None:
    """A child that ignores even its kill is named, goes on with its stop, and leaves its parent alone."""
    event = anyio.Event()
    log: list[str] = []
    units = family(log)
    async with units["a"].life.block():
        c = units["c"]
        c.stop_timeout = SHORT
        c.begin(lambda _: stubborn(event), "stubborn")
        await settle()
        with pytest.raises(ShutdownTimeout) as caught:
            await c.life.stop()
        assert [stuck.task for stuck in caught.value.stuck] == ["stubborn"]
        while "c.farewell" not in log:
            await anyio.sleep(0.01)  # pragma: no cover - it has come by then, if stop() was slow
        assert c.state == "stopping"
        assert units["b"].state == "running"
        event.set()
        await c.run.finished.wait()
    assert units["a"].run.crash_reason is None


@pytest.mark.parametrize("ticks", range(3))
def test_end_at_the_first_look(fresh_loop: dict[str, Any], ticks: int) -> None:
    """A stop that ends in the very turns of the loop in which its caller looks for progress has ended."""

    async def late(unit: Unit) -> None:
        until = unit.run.deadline + _FIRST_LOOK
        with anyio.CancelScope(shield=True):
            await anyio.sleep_until(until - 0.005)
            while anyio.current_time() <= until:
                pass
            for _ in range(ticks):
                await anyio.lowlevel.checkpoint()

    async def main() -> None:
        unit = Unit("a", [], farewell=late)
        unit.stop_timeout = SHORT
        await unit.life.start()
        error = await too_long(unit)
        assert [stuck.task for stuck in error.stuck] == ["on_shutdown"]
        assert unit.state == "stopped"

    anyio.run(main, **fresh_loop)
