"""Starting is a transaction: its order, every way it can fail, and that it is undone to the last step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest

from structmode._engine import Life, LifecycleEvent, subscribe
from structmode.exceptions import LifecycleError, StartAborted

from .oracle import EVERY_START_STEP, interrupted_start
from .unit import START, STOP, Act, Unit, doing, family, hanging, raising, settle, yielding

Start = Callable[[Life], Awaitable[None]]
every_step = pytest.mark.parametrize(("label", "step"), EVERY_START_STEP)


async def bare(life: Life) -> None:
    """Start without an owner."""
    await life.start()


async def in_a_block(life: Life) -> None:
    """Start in a block."""
    async with life.block():
        pass


async def under_a_parent(life: Life) -> None:
    """Start at run time as the child of a unit that runs."""
    parent = Unit("parent", [])
    async with parent.life.block():
        parent.life.add_child(life)
        await life.start_as_child()


every_owner = pytest.mark.parametrize("start", [bare, in_a_block, under_a_parent])


def at(label: str, step: str, act: Act) -> tuple[list[str], dict[str, Unit]]:
    """Make the tree with something to do in one step of one unit."""
    log: list[str] = []
    return log, family(log, **{label: {step: act}})


async def assert_starts_again(units: dict[str, Unit], log: list[str]) -> None:
    """See that the tree starts as if never started: only those that had been up leave out their first hook."""
    once = {f"{name}.first" for name, unit in units.items() if unit.run.was_up}
    for unit in units.values():
        unit.steps.clear()
        assert unit.run.crash_reason is None
    log.clear()
    await units["a"].life.start()
    assert log == [line for line in START if line not in once]
    assert "a.first" not in once
    log.clear()
    await units["a"].life.stop()
    assert log == STOP


# --- Order ----------------------------------------------------------------------------------------


@every_owner
async def test_order(start: Start) -> None:
    """Hooks run parents first, in the order added, and `ready` when all below is; `start` returns after the last."""
    log: list[str] = []
    units = family(log, a={"ready": yielding}, c={"set_up": yielding}, d={"ready": yielding})
    units["a"].tasks["look"] = hanging
    await bare(units["a"].life)
    assert {unit.state for unit in units.values()} == {"running"}
    assert log == [*START[:2], "a:look", *START[2:]]
    await units["a"].life.stop()
    log.clear()
    units["a"].tasks.clear()
    await start(units["a"].life)
    if start is bare:
        await units["a"].life.stop()
    again = [line for line in START if not line.endswith(".first")]
    assert log == again + STOP


async def test_states_on_the_way() -> None:
    """A unit is starting while its hooks and children start, running after, stopping while it tears down, then stopped."""
    seen: list[str] = []

    async def look(unit: Unit) -> None:
        seen.append(unit.state)

    names = ("first", "set_up", "ready", "tear_down", "hold", "farewell")
    child = Unit("b", [], ready=lambda _: look(unit), farewell=lambda _: look(unit))
    unit = Unit("a", [], child, **doing(dict.fromkeys(names, look)))
    assert unit.state == "new"
    assert not unit.life.alive
    await unit.life.start()
    assert unit.state == "running"
    assert unit.life.alive
    await unit.life.stop()
    assert seen == ["starting"] * 4 + ["stopping"] * 4
    assert unit.state == "stopped"
    assert not unit.life.alive


async def test_one_task_runs_all_hooks() -> None:
    """All hooks of a run happen in one and the same task, which is not the caller's."""
    tasks: list[anyio.TaskInfo] = []

    async def look(unit: Unit) -> None:
        tasks.append(anyio.get_current_task())

    names = ("first", "set_up", "ready", "tear_down", "hold", "farewell")
    unit = Unit("a", [], **doing(dict.fromkeys(names, look)))
    async with anyio.create_task_group() as group:
        group.start_soon(unit.life.start)
    async with anyio.create_task_group() as group:
        group.start_soon(unit.life.stop)
    assert len(tasks) == 6
    assert len({task.id for task in tasks}) == 1
    assert tasks[0].name == "a"
    assert tasks[0] != anyio.get_current_task()


async def test_first_once() -> None:
    """The first hook belongs to the first start that is complete; a later start leaves it out."""
    log: list[str] = []
    unit = Unit("a", log)
    for _ in range(2):
        await unit.life.start()
        await unit.life.stop()
    rest = ["a.set_up", "a.ready", "a.tear_down", "a.farewell"]
    assert log == ["a.first", *rest, *rest]


async def test_children_added_while_starting() -> None:
    """A child that a hook of the start adds is started with the others, in its turn."""
    log: list[str] = []
    late = Unit("late", log)

    async def add(unit: Unit) -> None:
        unit.life.add_child(late.life)

    child = Unit("b", log)
    unit = Unit("a", log, child, set_up=add)
    child.steps["ready"] = lambda _: add_later(unit)
    later = Unit("later", log)

    async def add_later(parent: Unit) -> None:
        parent.life.add_child(later.life)

    await unit.life.start()
    assert [line for line in log if line.endswith(".ready")] == [
        "b.ready",
        "late.ready",
        "later.ready",
        "a.ready",
    ]
    await unit.life.stop()


# --- Failing --------------------------------------------------------------------------------------


@every_step
@every_owner
async def test_failing_step(start: Start, label: str, step: str) -> None:
    """If a step fails, all is undone in order, and the error leaves as it was raised; then it may be started again."""
    error = ValueError(f"{label}.{step}")
    log, units = at(label, step, raising(error))
    with pytest.raises(ValueError, match=f"{label}.{step}") as caught:
        await start(units["a"].life)
    assert caught.value is error
    assert log == interrupted_start((label, step))
    begun = {line.partition(".")[0] for line in log}
    assert all(units[name].state == "stopped" for name in begun)
    await assert_starts_again(units, log)


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(3), ExceptionGroup("g", [KeyError()])]
)
@every_owner
async def test_any_exception(start: Start, error: BaseException) -> None:
    """Whatever a hook raises leaves as it was raised."""
    log, units = at("c", "ready", raising(error))
    with pytest.raises(type(error)) as caught:
        await start(units["a"].life)
    assert caught.value is error
    assert log == interrupted_start(("c", "ready"))


@every_owner
async def test_failing_task_while_starting(start: Start) -> None:
    """A task that fails while the start is under way makes it fail, and cuts short the hook that is running."""
    error = ValueError("task")
    log, units = at("c", "ready", hanging)
    units["c"].tasks["bad"] = raising(error)
    with pytest.raises(ValueError, match="task") as caught:
        await start(units["a"].life)
    assert caught.value is error
    expected = interrupted_start(("c", "ready"))
    assert [line for line in log if line != "c:bad"] == [e for e in expected if e != "c.ready"]


async def test_failing_task_of_a_child_that_is_up() -> None:
    """A child that crashes while its parent is still starting makes the parent's start fail, everything in order."""
    error = ValueError("crash")
    log, units = at("a", "ready", hanging)
    async with anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises(ValueError, match="crash") as caught:
                await units["a"].life.start()
            assert caught.value is error

        group.start_soon(start)
        await settle()
        units["c"].begin(raising(error))
    assert [line for line in log if not line.startswith("c:")] == [*START, *STOP]


async def test_failure_just_as_the_start_ends() -> None:
    """A failure in the last instant of a start, when no checkpoint is left to interrupt, still makes it fail."""
    error = ValueError("last instant")
    log: list[str] = []

    async def ready(unit: Unit) -> None:
        unit.life.fail(error, "test")

    unit = Unit("a", log, ready=ready)
    with pytest.raises(ValueError, match="last instant") as caught:
        await unit.life.start()
    assert caught.value is error
    assert log[-2:] == ["a.tear_down", "a.farewell"]
    assert unit.state == "stopped"


async def test_task_failing_just_as_the_start_ends() -> None:
    """A task that fails in the very tick in which the last hook returns is not lost, whichever comes first."""
    for order in (1, -1):
        event, error = anyio.Event(), ValueError("same tick")
        unit = Unit("a", [])

        async def fail(unit: Unit, event: anyio.Event = event, error: Exception = error) -> None:
            await event.wait()
            raise error

        async def ready(unit: Unit, event: anyio.Event = event) -> None:
            await event.wait()

        unit.steps["ready"] = ready if order == 1 else hanging
        unit.tasks["t"] = fail
        caught: list[BaseException] = []

        async def owner(unit: Unit = unit, caught: list[BaseException] = caught) -> None:
            try:
                async with unit.life.block():
                    await anyio.sleep_forever()  # pragma: no cover - it may be cancelled before
            except ValueError as exc:
                caught.append(exc)

        async with anyio.create_task_group() as group:
            group.start_soon(owner)
            await settle()
            event.set()
        assert caught == [error]
        assert unit.state == "stopped"


@pytest.mark.parametrize("failing", ["a.tear_down", "b.farewell", "c.tear_down"])
async def test_failing_rollback(failing: str) -> None:
    """What fails in the rollback is told and noted, but the first failure leaves."""
    error, second = ValueError("first"), KeyError("rollback")
    log, units = at("a", "ready", raising(error))
    label, step = failing.split(".")
    units[label].steps[step] = raising(second)
    with pytest.raises(ValueError, match="first") as caught:
        await units["a"].life.start()
    assert caught.value is error
    assert log == [*START, *STOP]
    assert any("KeyError('rollback')" in note for note in error.__notes__)
    assert second in units["a"].run.failures
    assert (second in [exc for exc, _, _ in units[label].failed]) is True


async def test_shared_error() -> None:
    """Two services that fail of the same exception object do not disturb each other."""
    error = ValueError("shared")
    units = [Unit(str(n), [], set_up=raising(error)) for n in range(2)]
    for unit in units:
        with pytest.raises(ValueError, match="shared") as caught:
            await unit.life.start()
        assert caught.value is error
        assert unit.run.failures == [error]


# --- The caller is cancelled ----------------------------------------------------------------------


@every_step
@every_owner
async def test_cancelled_caller(start: Start, label: str, step: str) -> None:
    """If the caller is cancelled, all is undone in order before the cancellation goes on; then it may start again."""
    reached = anyio.Event()

    async def reach(unit: Unit) -> None:
        reached.set()
        await anyio.sleep_forever()

    log, units = at(label, step, reach)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def cancel() -> None:
                await reached.wait()
                scope.cancel()

            group.start_soon(cancel)
            await start(units["a"].life)
    assert scope.cancelled_caught
    assert log == interrupted_start((label, step))
    await assert_starts_again(units, log)


@every_owner
async def test_cancelled_from_the_beginning(start: Start) -> None:
    """In a scope that is cancelled already a start leaves nothing, and the cancellation goes on."""
    log: list[str] = []
    units = family(log)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await start(units["a"].life)
    assert scope.cancelled_caught
    assert log.count("a.set_up") == log.count("a.tear_down") == log.count("a.farewell")
    assert not units["a"].life.alive
    log.clear()
    await units["a"].life.start()
    await units["a"].life.stop()
    assert log[-len(STOP) :] == STOP


async def test_cancelled_caller_and_failing_rollback() -> None:
    """A cancelled start whose rollback fails tells of the failure; nothing is lost, nothing hangs."""
    error = KeyError("rollback")
    unit = Unit("a", [], ready=hanging, tear_down=raising(error))
    with anyio.move_on_after(0.01) as scope:
        await unit.life.start()
    assert scope.cancelled_caught
    assert error in [exc for exc, _, _ in unit.failed]
    assert unit.state == "stopped"


async def test_hook_that_answers_cancellation_with_an_error() -> None:
    """A hook that raises while the start is being called off makes no harm: all is undone."""
    error = ValueError("instead")

    async def clumsy(unit: Unit) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise error

    log, units = at("c", "ready", clumsy)
    with anyio.move_on_after(0.01) as scope:
        await units["a"].life.start()
    assert scope.cancelled_caught
    assert log == interrupted_start(("c", "ready"))
    assert error in [*units["c"].run.failures]


# --- Several callers ------------------------------------------------------------------------------


async def test_second_start() -> None:
    """A second start of what runs is refused, and the error names the state and the right calls."""
    unit = Unit("a", [])
    await unit.life.start()
    with pytest.raises(
        LifecycleError, match=r"a can't be started: it is running.*maybe_start\(\)"
    ):
        await unit.life.start()
    with pytest.raises(LifecycleError, match="a can't be entered"):
        async with unit.life.block():
            raise AssertionError
    assert unit.state == "running"
    await unit.life.stop()


@pytest.mark.parametrize("checkpoints", range(4))
async def test_two_starts_at_once(checkpoints: int) -> None:
    """Of two starts at the same time, at whatever distance, one wins and the other is refused."""
    log: list[str] = []
    unit, outcomes = Unit("a", log), []

    async def start(delay: int) -> None:
        for _ in range(delay):
            await anyio.lowlevel.checkpoint()
        try:
            await unit.life.start()
            outcomes.append("started")
        except LifecycleError:
            outcomes.append("refused")

    async with anyio.create_task_group() as group:
        group.start_soon(start, 0)
        group.start_soon(start, checkpoints)
    assert sorted(outcomes) == ["refused", "started"]
    assert log == ["a.first", "a.set_up", "a.ready"]
    await unit.life.stop()


async def test_start_while_it_stops() -> None:
    """A start of what is stopping is refused."""
    event = anyio.Event()
    unit = Unit("a", [], tear_down=lambda _: event.wait())
    await unit.life.start()
    async with anyio.create_task_group() as group:
        group.start_soon(unit.life.stop)
        await settle()
        with pytest.raises(LifecycleError, match="stopping"):
            await unit.life.start()
        assert await unit.life.maybe_start() is False
        event.set()


async def test_maybe_start() -> None:
    """`maybe_start` starts what does not run, waits for what is starting, and tells whether it was this call."""
    event = anyio.Event()
    unit = Unit("a", [], set_up=lambda _: event.wait())
    results: list[bool] = []

    async def maybe() -> None:
        results.append(await unit.life.maybe_start())
        assert unit.state == "running"

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(maybe)
        await settle()
        assert results == []
        event.set()
    assert sorted(results) == [False, False, True]
    assert await unit.life.maybe_start() is False
    with anyio.CancelScope() as scope:
        scope.cancel()
        await unit.life.maybe_start()
    assert scope.cancelled_caught
    await unit.life.stop()


async def test_maybe_start_of_a_start_that_fails() -> None:
    """Who waits for a start that fails gets the error too."""
    event, error = anyio.Event(), ValueError("no")

    async def set_up(unit: Unit) -> None:
        await event.wait()
        raise error

    unit = Unit("a", [], set_up=set_up)
    caught: list[BaseException] = []

    async def maybe() -> None:
        with pytest.raises(ValueError, match="no") as failed:
            await unit.life.maybe_start()
        caught.append(failed.value)

    async with anyio.create_task_group() as group:
        group.start_soon(maybe)
        group.start_soon(maybe)
        await settle()
        event.set()
    assert caught == [error, error]


async def test_maybe_start_from_inside() -> None:
    """From inside a unit that is starting, `maybe_start` returns at once: it would wait for itself."""
    results: list[bool] = []

    async def maybe(unit: Unit) -> None:
        results.append(await unit.life.maybe_start())

    unit = Unit("a", [], set_up=maybe, ready=yielding, work={"t": maybe})
    await unit.life.start()
    assert results == [False, False]
    await unit.life.stop()


async def test_child_started_by_a_hook() -> None:
    """A hook may start a child before its turn; the child is not started twice, and stops with the rest."""
    log: list[str] = []
    child = Unit("b", log)

    async def set_up(unit: Unit) -> None:
        await child.life.start()
        log.append("a set up")

    unit = Unit("a", log, child, set_up=set_up)
    await unit.life.start()
    assert log == ["a.first", "a.set_up", "b.first", "b.set_up", "b.ready", "a set up", "a.ready"]
    assert child.run.parent is unit.run
    await unit.life.stop()
    assert child.state == "stopped"


async def test_start_error_caught_by_the_parent() -> None:
    """A hook that starts a child and catches its failure goes on: the failure was the child's, and is dealt with."""
    child = Unit("b", [], set_up=raising(ValueError("no")))

    async def ready(unit: Unit) -> None:
        unit.life.add_child(child.life)
        with pytest.raises(ValueError, match="no"):
            await child.life.start()

    unit = Unit("a", [], ready=ready)
    async with unit.life.block():
        assert unit.state == "running"
        assert child.state == "stopped"
    assert unit.run.failures == []


async def test_start_aborted_says_who() -> None:
    """`StartAborted` names the service, and that it may be started again."""
    unit = Unit("a", [], ready=hanging)
    async with anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises(
                StartAborted, match=r"a was stopped.*may be started again"
            ) as caught:
                await unit.life.start()
            assert caught.value.label == "a"
            assert isinstance(caught.value, LifecycleError)

        group.start_soon(start)
        await settle()
        await unit.life.stop()


async def test_timeout_that_can_not_be_read() -> None:
    """A start that fails before its first step loses nothing of what was added for it."""
    entered: list[str] = []

    class Unreadable(Unit):
        readable = False

        @property
        def stop_timeout(self) -> float:  # type: ignore[override]
            if not self.readable:
                raise ValueError("unreadable")
            return 5.0

    unit = Unreadable("a", [])
    unit.run.contexts.callback(entered.append, "left")
    task = unit.begin(yielding)
    with pytest.raises(ValueError, match="unreadable"):
        await unit.life.start()
    unit.readable = True
    await unit.life.start()
    await task
    assert entered == []
    await unit.life.stop()
    assert entered == ["left"]


async def test_order_of_events_when_a_start_is_called_off_below() -> None:
    """Undoing is a stop like any other, from the top down: that of the parent begins before that of the child."""
    told: list[str] = []
    child = Unit("b", [], set_up=hanging)
    parent = Unit("a", [], child)

    def listen(event: LifecycleEvent) -> None:
        if isinstance(event.subject, Unit):  # pragma: no branch - all are
            told.append(f"{event.subject.label} {type(event).__name__}")

    unsubscribe = subscribe(listen)
    async with anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises(StartAborted):
                await parent.life.start()

        group.start_soon(start)
        await settle()
        await parent.life.stop()
    unsubscribe()
    assert told == [
        "a Starting",
        "b Starting",
        "a Stopping",
        "b Stopping",
        "b StartFailed",
        "a StartFailed",
    ]
