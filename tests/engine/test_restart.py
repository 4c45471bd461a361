"""Restarts: a new run in the same owner, asked for from anywhere, called off by a stop, and nothing of the old one left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from structmode._engine import Run, Task
from structmode.exceptions import LifecycleError, StartAborted

from .laws import check
from .unit import RESTART, START, STOP, Unit, doing, family, hanging, raising, settle, yielding

AGAIN = [line for line in RESTART if line != "a.renew"]


async def running(log: list[str], **steps: Any) -> dict[str, Unit]:
    """Start the tree a(b(c), d)."""
    units = family(log, **steps)
    await units["a"].life.start()
    log.clear()
    return units


# --- What it is -----------------------------------------------------------------------------------


async def test_order() -> None:
    """A restart is a stop and a start, in their orders, with the hook of the restart in between."""
    log: list[str] = []
    units = await running(log)
    await units["a"].life.restart()
    assert log == [*STOP, *RESTART]
    assert {unit.state for unit in units.values()} == {"running"}
    await units["a"].life.stop()


async def test_new_run() -> None:
    """A restart makes a new run: the old one is over, its state untouched."""
    unit = Unit("a", [])
    async with unit.life.block():
        old = unit.run
        await unit.life.restart()
        assert unit.run is not old
        assert old.finished.is_set()
        assert old.signal.is_set()
        assert not unit.run.signal.is_set()
        assert unit.run.restarting
        assert not old.restarting
        assert unit.run.host is old.host
        assert not unit.life.restarting


async def test_of_what_does_not_run() -> None:
    """A restart of what does not run starts it, with the hook of the restart."""
    log: list[str] = []
    unit = Unit("a", log)
    await unit.life.restart()
    assert log == ["a.renew", "a.first", "a.set_up", "a.ready"]
    await unit.life.stop()
    log.clear()
    await unit.life.restart()
    assert log == ["a.renew", "a.set_up", "a.ready"]
    await unit.life.stop()


async def test_of_a_child() -> None:
    """A child that restarts leaves its parent and siblings alone, and takes its own children along."""
    log: list[str] = []
    units = await running(log)
    await units["b"].life.restart()
    assert log == [
        *("b.tear_down", "c.tear_down", "c.farewell", "b.farewell"),
        *("b.renew", "b.set_up", "c.set_up", "c.ready", "b.ready"),
    ]
    assert units["b"].run.parent is units["a"].run
    await units["a"].life.stop()


async def test_keeps_its_place() -> None:
    """A child that was restarted keeps its place among its siblings, in the stop as in the next start."""
    log: list[str] = []
    children = [Unit(name, log) for name in "xyz"]
    unit = Unit("a", log, *children)
    await unit.life.start()
    for child in (children[0], children[1], children[0]):
        await child.life.restart()
    log.clear()
    await unit.life.restart()
    await unit.life.stop()
    stops = [line[0] for line in log if line.endswith("tear_down")]
    starts = [line[0] for line in log if line.endswith("ready")]
    assert stops == ["a", "z", "y", "x"] * 2
    assert starts == ["x", "y", "z", "a"]


async def test_fifty_in_a_row() -> None:
    """Restarts in a row leave nothing behind."""
    log: list[str] = []
    units = await running(log)
    tasks = len(anyio.get_running_tasks())
    for _ in range(50):
        await units["a"].life.restart()
    await settle()
    assert len(anyio.get_running_tasks()) == tasks
    assert log == [*STOP, *RESTART] * 50
    assert units["a"].run.parent is None
    assert list(units["a"].run.child_runs) == [units["b"].life, units["d"].life]
    await units["a"].life.stop()


async def test_is_bound_to_the_block() -> None:
    """In a block, each new run belongs to the block, and the last one is stopped when it is left."""
    log: list[str] = []
    unit = Unit("a", log)
    async with unit.life.block():
        await unit.life.restart()
        await unit.life.restart()
    assert unit.state == "stopped"
    check([unit], log)
    assert log.count("a.renew") == 2


# --- From where -----------------------------------------------------------------------------------


async def test_from_own_task() -> None:
    """A task may restart its own unit: it is cancelled as part of the stop, and the restart follows."""
    log: list[str] = []
    seen: list[str] = []

    async def work(unit: Unit) -> None:
        if len(seen) < 5:
            seen.append("restart")
            await unit.run.settled.wait()
            await unit.life.restart()
            raise AssertionError
        await anyio.sleep_forever()

    unit = Unit("a", log, work={"t": work})
    await unit.life.start()
    await settle()
    assert unit.state == "running"
    assert log.count("a.renew") == 5
    await unit.life.stop()


async def test_own_task_swallows_its_cancellation() -> None:
    """A task that asks for a restart and goes on after its cancellation does no harm."""
    log: list[str] = []

    async def work(unit: Unit) -> None:
        if "a.renew" in log:
            return
        await unit.run.settled.wait()
        try:
            await unit.life.restart()
        except anyio.get_cancelled_exc_class():
            log.append("swallowed")

    unit = Unit("a", log, work={"t": work})
    await unit.life.start()
    await settle()
    assert unit.state == "running"
    assert log.index("swallowed") < log.index("a.renew")
    await unit.life.stop()


async def test_from_a_hook_of_the_stop() -> None:
    """A hook of the stop may ask for a restart: the last call counts."""
    log: list[str] = []

    async def tear_down(unit: Unit) -> None:
        if log.count("a.tear_down") == 1:
            await unit.life.restart()

    unit = Unit("a", log, tear_down=tear_down)
    await unit.life.start()
    await unit.life.stop()
    await settle()
    assert unit.state == "running"
    await unit.life.stop()
    assert unit.state == "stopped"
    check([unit], log)


# --- Several calls --------------------------------------------------------------------------------


async def test_at_once() -> None:
    """Restarts at the same time are one, and all callers return when it is done."""
    log: list[str] = []
    unit = Unit("a", log)
    await unit.life.start()
    runs: list[Run] = []

    async def restart() -> None:
        await unit.life.restart()
        runs.append(unit.run)
        assert unit.state == "running"

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(restart)
    assert len(set(runs)) == 1
    assert log.count("a.renew") == 1
    await unit.life.stop()


async def test_during_a_start() -> None:
    """A restart of what is starting begins anew; who waits for the start waits for the new one."""
    log: list[str] = []
    started: list[str] = []

    async def set_up(unit: Unit) -> None:
        if "a.renew" not in log:
            await anyio.sleep_forever()

    unit = Unit("a", log, set_up=set_up)
    async with anyio.create_task_group() as group:

        async def start() -> None:
            await unit.life.start()
            started.append(unit.state)

        group.start_soon(start)
        await settle()
        await unit.life.restart()
    assert started == ["running"]
    assert log == ["a.first", "a.set_up", "a.renew", "a.first", "a.set_up", "a.ready"]
    await unit.life.stop()


async def test_during_a_stop() -> None:
    """A restart that is asked for while a stop is under way follows it; the stop's callers return before."""
    log: list[str] = []
    event = anyio.Event()
    unit = Unit("a", log, tear_down=lambda _: event.wait())
    await unit.life.start()
    old = unit.run
    async with anyio.create_task_group() as group:

        async def stop() -> None:
            await unit.life.stop()
            assert old.state.value == "stopped"

        group.start_soon(stop)
        await settle()
        group.start_soon(unit.life.restart)
        await settle()
        event.set()
    assert unit.state == "running"
    assert log.count("a.tear_down") == 1
    await unit.life.stop()


@pytest.mark.parametrize("when", ["stopping", "starting"])
async def test_called_off_by_a_stop(when: str) -> None:
    """A stop while a restart is under way calls it off: restart() raises StartAborted, stop() returns quietly."""
    event = anyio.Event()
    log: list[str] = []

    async def wait(unit: Unit) -> None:
        if when == "stopping" or "a.renew" in log:
            await event.wait()

    unit = Unit("a", log, **doing({"tear_down" if when == "stopping" else "set_up": wait}))
    await unit.life.start()
    async with anyio.create_task_group() as group:

        async def restart() -> None:
            with pytest.raises(StartAborted):
                await unit.life.restart()

        group.start_soon(restart)
        await settle()
        assert unit.state == when
        assert unit.life.restarting is (when == "stopping")
        group.start_soon(unit.life.stop)
        await settle()
        event.set()
    assert unit.state == "stopped"
    assert not unit.life.restarting
    check([unit], log)


async def test_stop_restart_stop() -> None:
    """Of calls in a row the last one counts."""
    event = anyio.Event()
    log: list[str] = []
    unit = Unit("a", log, tear_down=lambda _: event.wait())
    await unit.life.start()
    outcomes: list[str] = []

    async def restart() -> None:
        try:
            await unit.life.restart()
            outcomes.append("restarted")  # pragma: no cover - must not be reached
        except StartAborted:
            outcomes.append("called off")

    async with anyio.create_task_group() as group:
        for call in (unit.life.stop, restart, unit.life.stop, restart, unit.life.stop):
            group.start_soon(call)
            await settle()
        event.set()
    assert outcomes == ["called off"] * 2
    assert unit.state == "stopped"
    assert log.count("a.tear_down") == 1


async def test_restart_while_its_new_run_starts() -> None:
    """A restart while the new run of another restart starts begins once more; nobody waits for ever."""
    log: list[str] = []

    async def set_up(unit: Unit) -> None:
        if log.count("a.renew") == 1:
            await anyio.sleep_forever()

    unit = Unit("a", log, set_up=set_up)
    await unit.life.start()
    async with anyio.create_task_group() as group:

        async def restart() -> None:
            try:
                await unit.life.restart()
            except StartAborted:  # pragma: no cover - both outcomes are right
                log.append("called off")

        group.start_soon(restart)
        await settle()
        group.start_soon(restart)
    assert unit.state == "running"
    assert log.count("a.renew") == 2
    await unit.life.stop()


async def test_cancelled_caller() -> None:
    """A caller that is cancelled gives up waiting; the restart goes on."""
    event = anyio.Event()
    unit = Unit("a", [], tear_down=lambda _: event.wait())
    await unit.life.start()
    with anyio.move_on_after(0.01) as scope:
        await unit.life.restart()
    assert scope.cancelled_caught
    event.set()
    await settle()
    assert unit.state == "running"
    await unit.life.stop()


async def test_parent_and_child_at_once() -> None:
    """A child's restart that meets its parent's is part of it; nobody waits for ever."""
    log: list[str] = []
    units = await running(log)

    async def restart(unit: Unit) -> None:
        try:
            await unit.life.restart()
        except StartAborted:
            pass

    for count, order in enumerate(("ab", "ba", "ca", "acb"), 1):
        async with anyio.create_task_group() as group:
            for name in order:
                group.start_soon(restart, units[name])
        assert {unit.state for unit in units.values()} == {"running"}
        assert log.count("a.renew") == count
    await units["a"].life.stop()
    check(units.values(), [*START, *log])


@pytest.mark.parametrize("distance", range(8))
async def test_races_with_the_stop_of_the_parent(distance: int) -> None:
    """A child that restarts while its parent stops does not outlive it, however close the calls."""
    log: list[str] = []
    units = await running(log, c={"tear_down": yielding, "set_up": yielding})
    async with anyio.create_task_group() as group:

        async def restart() -> None:
            try:
                await units["b"].life.restart()
            except (StartAborted, LifecycleError):
                pass

        group.start_soon(restart)
        for _ in range(distance):
            await anyio.lowlevel.checkpoint()
        await units["a"].life.stop()
    assert {unit.state for unit in units.values()} == {"stopped"}
    assert units["a"].run.failures == []
    assert log[-1] == "a.farewell"


async def test_during_a_start_that_fails_anew() -> None:
    """If the new start fails, both who waits for the start and who waits for the restart get the error."""
    error = ValueError("again")

    async def set_up(unit: Unit) -> None:
        if "a.renew" in unit.log:
            raise error
        await anyio.sleep_forever()

    unit = Unit("a", [], set_up=set_up)
    caught: list[BaseException] = []

    async def expect(call: Any) -> None:
        with pytest.raises(ValueError, match="again") as failed:
            await call()
        caught.append(failed.value)

    async with anyio.create_task_group() as group:
        group.start_soon(expect, unit.life.start)
        await settle()
        group.start_soon(expect, unit.life.restart)
    assert caught == [error, error]
    assert unit.state == "stopped"


async def test_during_a_start_whose_caller_is_cancelled() -> None:
    """A caller that is cancelled while the start it waits for was taken over by a restart undoes that, too."""
    log: list[str] = []
    unit = Unit("a", log, set_up=hanging)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(unit.life.start)
            await settle()

            async def restart() -> None:
                try:
                    await unit.life.restart()
                except StartAborted:  # pragma: no cover - both outcomes are right
                    pass

            group.start_soon(restart)
            await settle()
            assert "a.renew" in log
            scope.cancel()
    assert scope.cancelled_caught
    assert unit.state == "stopped"


@pytest.mark.parametrize("distance", range(4))
async def test_of_a_child_while_the_parent_starts(distance: int) -> None:
    """A child that is restarted while its parent is still starting: both come up."""
    log: list[str] = []
    units = family(log, c={"ready": yielding})
    async with anyio.create_task_group() as group:

        async def restart() -> None:
            await units["b"].life.restart()

        group.start_soon(units["a"].life.start)
        while units["b"].state == "new":
            await anyio.lowlevel.checkpoint()
        for _ in range(distance):
            await anyio.lowlevel.checkpoint()
        group.start_soon(restart)
    assert {unit.state for unit in units.values()} == {"running"}
    assert "b.renew" in log
    await units["a"].life.stop()
    check(units.values(), log)


@pytest.mark.parametrize("call", ["start", "maybe_start", "restart", "stop"])
async def test_call_in_the_last_tick_of_a_restart(call: str) -> None:
    """A call in the very tick in which the old run ends, and its successor is about to begin, makes no second run."""
    log: list[str] = []
    together = 0

    async def set_up(unit: Unit) -> None:
        nonlocal together
        together += 1
        assert together == 1
        try:
            await yielding(unit)
        except BaseException:  # a set-up that is cut short is not torn down
            together -= 1
            raise

    async def tear_down(unit: Unit) -> None:
        nonlocal together
        together -= 1

    unit = Unit("a", log, set_up=set_up, tear_down=tear_down)
    await unit.life.start()
    old = unit.run
    async with anyio.create_task_group() as group:

        async def interfere() -> None:
            while unit.life.alive and unit.run is old:
                await anyio.lowlevel.checkpoint()
            try:
                await getattr(unit.life, call)()
            except (StartAborted, LifecycleError):
                pass

        async def restart() -> None:
            try:
                await unit.life.restart()
            except StartAborted:
                pass

        group.start_soon(interfere)
        group.start_soon(restart)
    await unit.life.stop()
    await settle()
    check([unit], log)
    assert not unit.failed


# --- What fails -----------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["renew", "set_up", "ready"])
async def test_failing_start_with_a_waiter(step: str) -> None:
    """If the new run's start fails, restart() raises it to its caller, and the owner has no part in it."""
    log: list[str] = []
    error = ValueError("no")
    units = await running(log)
    units["b"].steps[step] = raising(error)
    with pytest.raises(ValueError, match="no") as caught:
        await units["b"].life.restart()
    assert caught.value is error
    assert units["b"].state == units["c"].state == "stopped"
    assert units["a"].state == "running"
    assert units["a"].run.failures == []
    units["b"].steps.clear()
    await units["b"].life.restart()
    assert units["b"].state == "running"
    await units["a"].life.stop()


@pytest.mark.parametrize("step", ["renew", "set_up", "ready"])
@pytest.mark.parametrize("owner", ["block", "parent", "loop"])
async def test_failing_start_without_a_waiter(step: str, owner: str) -> None:
    """If the new run's start fails, and nobody waits for the restart, that is a crash of the owner."""
    error = ValueError("no")
    unit = Unit("a", [])
    root = unit if owner != "parent" else Unit("root", [], unit)
    left: list[BaseException] = []

    async def ask() -> None:
        unit.steps[step] = raising(error)

        async def work(unit: Unit) -> None:
            await unit.life.restart()

        unit.begin(work)

    if owner == "loop":
        await root.life.start()
        await ask()
        await settle()
        assert (error, "a", "unreceived") in root.failed
    else:
        try:
            async with root.life.block():
                await ask()
                await anyio.sleep_forever()
        except ValueError as exc:
            left.append(exc)
        assert left == [error]
    assert unit.state == root.state == "stopped"
    if owner == "parent":
        assert root.run.crash_reason is error


async def test_failing_start_whose_waiter_gave_up() -> None:
    """If the only waiter was cancelled meanwhile, the failing start of the new run is a crash of the owner."""
    error, event = ValueError("no"), anyio.Event()

    async def set_up(unit: Unit) -> None:
        if "a.renew" in unit.log:
            await event.wait()
            raise error

    unit = Unit("a", [], set_up=set_up)
    with pytest.raises(ValueError, match="no") as caught:
        async with unit.life.block():
            with anyio.move_on_after(0.01):
                await unit.life.restart()
            event.set()
            await anyio.sleep_forever()
    assert caught.value is error


@pytest.mark.parametrize("waiter", [True, False])
async def test_failing_stop(waiter: bool) -> None:
    """If the stop of the old run fails, there is no new run; the error leaves restart(), or is a crash of the owner."""
    error = ValueError("no")
    unit = Unit("a", [], tear_down=raising(error))
    with pytest.raises(ValueError, match="no") as caught:
        async with unit.life.block():
            if waiter:
                await unit.life.restart()
            unit.begin(lambda unit: unit.life.restart())
            await anyio.sleep_forever()
    assert caught.value is error
    assert "a.renew" not in unit.log
    assert unit.state == "stopped"


async def test_crash_while_restarting() -> None:
    """A crash of the parent calls the restart of a child off."""
    event, error = anyio.Event(), ValueError("boom")
    units = family([], b={"tear_down": lambda _: event.wait()})
    outcomes: list[str] = []

    async def restart() -> None:
        try:
            await units["b"].life.restart()
        except StartAborted:
            outcomes.append("called off")

    async with anyio.create_task_group() as group:
        with pytest.raises(ValueError, match="boom") as caught:
            async with units["a"].life.block():
                group.start_soon(restart)
                await settle()
                units["d"].life.fail(error, "test")
                event.set()
                await anyio.sleep_forever()
    assert caught.value is error
    assert outcomes == ["called off"]
    check(units.values(), [line for line in units["a"].log if ":" not in line])


# --- Nothing of the old run -----------------------------------------------------------------------


@pytest.mark.parametrize("call", ["stop", "restart", "fail"])
async def test_leftover_of_the_old_run(call: str) -> None:
    """Calls from what is left of an old run reach nothing; they are checkpoints all the same."""
    log: list[str] = []
    unit, go = Unit("a", log), anyio.Event()

    async def linger(unit: Unit) -> None:
        await go.wait()
        if call == "fail":
            unit.life.fail(ValueError("late"), "leftover")
            return
        await getattr(unit.life, call)()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await getattr(unit.life, call)()
        assert scope.cancelled_caught
        log.append("called")

    async def set_up(unit: Unit) -> None:
        if "a.renew" not in log:
            group.start_soon(linger, unit)

    unit.steps["set_up"] = set_up
    async with anyio.create_task_group() as group, unit.life.block():
        await unit.life.restart()
        new = unit.run
        go.set()
        await settle()
        assert unit.run is new
        assert unit.state == "running"
        assert new.failures == []


async def test_old_handles() -> None:
    """What the old run's handles are asked for after a restart concerns the old run only."""
    unit = Unit("a", [])
    await unit.life.start()
    old, task = unit.run, unit.begin(hanging)
    await unit.life.restart()
    assert task.cancelled()
    assert not task.cancel()
    old.request_stop()
    old.fail(ValueError("late"), "test")
    old.kill()
    late = old.spawn(Task(yielding(unit), "late"))
    assert late.cancelled()
    await settle()
    assert unit.state == "running"
    assert unit.run.failures == []
    await unit.life.stop()


async def test_task_of_another_run_may_restart_twice() -> None:
    """A task that a child's code adds to its parent is the parent's: it may restart the child again and again."""
    log: list[str] = []
    parent = Unit("parent", log)
    child = Unit("child", log)
    parent.life.add_child(child.life)

    async def watch() -> None:
        await parent.run.settled.wait()
        for _ in range(3):
            await child.life.restart()
        log.append("watched")

    async def set_up(unit: Unit) -> None:
        if "child.renew" not in log:
            parent.run.spawn(Task(watch(), "watch"))

    child.steps["set_up"] = set_up
    async with parent.life.block():
        await settle()
        assert "watched" in log
        assert log.count("child.renew") == 3


async def test_children_of_the_old_run() -> None:
    """Children that a run added on its way are dropped with it; those from outside or of the first hook stay."""
    log: list[str] = []

    def adding(name: str) -> Any:
        async def add(unit: Unit) -> None:
            unit.life.add_child(Unit(name, log).life)

        return add

    unit = Unit("a", log, Unit("given", log), first=adding("first"), set_up=adding("own"))
    await unit.life.start()
    outside = Unit("outside", log)
    unit.life.add_child(outside.life)
    await outside.life.start_as_child()
    own = unit.life.children
    assert [child.unit.label for child in own if child.unit.label == "own"] == []
    log.clear()
    await unit.life.restart()
    ready = [line.split(".")[0] for line in log if line.endswith(".ready")]
    assert sorted(ready) == sorted(["given", "first", "outside", "own", "a"])
    assert len(ready) == 5
    assert [child.label for child in unit.released if isinstance(child, Unit)] == ["own"]
    await unit.life.stop()


async def test_overlapping_restarts() -> None:
    """A restart that comes while another starts its run takes its place; both callers see the service come up."""
    release = anyio.Event()
    log: list[str] = []

    async def wait(unit: Unit) -> None:
        if log.count("a.set_up") == 2:
            await release.wait()

    unit = Unit("a", log, set_up=wait)
    done: list[str] = []

    async def call(name: str, act: Callable[[], Awaitable[object]]) -> None:
        await act()
        done.append(f"{name} {unit.state}")

    async with unit.life.block(), anyio.create_task_group() as group:
        group.start_soon(call, "first", unit.life.restart)
        await settle()
        group.start_soon(call, "maybe", unit.life.maybe_start)
        await settle()
        group.start_soon(call, "second", unit.life.restart)
        await settle()
        release.set()
    assert sorted(done) == ["first running", "maybe running", "second running"]
    assert log.count("a.set_up") == 3


@pytest.mark.parametrize("time", range(10))
async def test_start_after_a_start_that_was_called_off(time: int) -> None:
    """Who called a start that was stopped does not take another's start for its own."""
    unit = Unit("a", [], set_up=hanging)
    outcomes: list[str] = []

    async def start() -> None:
        with pytest.raises(StartAborted):
            await unit.life.start()
        outcomes.append("aborted")

    async with anyio.create_task_group() as group:
        group.start_soon(start)
        await settle()
        unit.steps.clear()
        await unit.life.stop()
        await unit.life.start()
    assert outcomes == ["aborted"]
    assert unit.state == "running"
    await unit.life.stop()
