"""The corners of a stop: whose time it takes, who receives what went wrong, and what the reports call it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from structmode._engine import LifecycleEvent, Stopped, Task, first_of, subscribe
from structmode.exceptions import LifecycleError, ShutdownTimeout, StartAborted

from .unit import Unit, doing, hanging, raising, settle, yielding

SHORT, LONG = 0.1, 1e6


# --- Whose time -----------------------------------------------------------------------------------


async def test_undoing_a_child_takes_the_time_of_its_parent() -> None:
    """A start that is called off while a child starts is undone in the parent's time, however long the child's is."""
    log: list[str] = []
    child = Unit("b", log, ready=hanging, tear_down=hanging)
    parent = Unit("a", log, child)
    parent.stop_timeout, child.stop_timeout = SHORT, LONG
    raised: list[BaseException] = []

    async def start() -> None:
        try:
            await parent.life.start()
        except BaseException as exc:
            raised.append(exc)

    async with anyio.create_task_group() as group:
        group.start_soon(start)
        await settle()
        assert log[-1] == "b.ready"
        began = anyio.current_time()
        with pytest.raises(ShutdownTimeout) as caught:
            await parent.life.stop()
        assert anyio.current_time() - began < LONG
    assert caught.value.label == "a"
    assert [(stuck.owner, stuck.task) for stuck in caught.value.stuck] == [("b", "on_stop")]
    assert log[-4:] == ["b.tear_down", "b.farewell", "a.tear_down", "a.farewell"]
    assert len(raised) == 1


class Unreadable(Unit):
    """Its timeout can be read until it has started, and then no more."""

    readable = True

    @property
    def stop_timeout(self) -> float:  # type: ignore[override]
        """The timeout, or an error."""
        if not self.readable:
            raise ValueError("unreadable")
        return SHORT

    async def ready(self) -> None:
        """From now on it can't be read."""
        self.readable = False
        await super().ready()


async def test_a_timeout_that_has_become_unreadable() -> None:
    """What the timeout was at the start counts then, and the unit is told why."""
    unit = Unreadable("a", [], tear_down=hanging)
    await unit.life.start()
    with pytest.raises(ShutdownTimeout) as caught:
        await unit.life.stop()
    assert caught.value.timeout == SHORT
    first = unit.failed[0]
    assert (str(first[0]), *first[1:]) == ("unreadable", "stop_timeout", "unreceived")


@pytest.mark.parametrize("seconds", [0.0, -1.0])
async def test_no_time_at_all(seconds: float) -> None:
    """With no time, or less, whatever waits is cut short at once; what does not wait is done."""
    log: list[str] = []
    unit = Unit("a", log, tear_down=hanging)
    unit.stop_timeout = seconds
    await unit.life.start()
    with pytest.raises(ShutdownTimeout) as caught:
        await unit.life.stop()
    assert caught.value.timeout == 0.0
    assert log[-2:] == ["a.tear_down", "a.farewell"]


# --- Who receives what went wrong -------------------------------------------------------------------


async def test_one_of_two_receivers_is_cancelled() -> None:
    """What goes wrong in a stop reaches the caller that still waits, and so counts as received."""
    event = anyio.Event()
    boom = ValueError("boom")

    async def fail(unit: Unit) -> None:
        await event.wait()
        raise boom

    unit = Unit("a", [], tear_down=fail)
    await unit.life.start()
    received: list[BaseException] = []
    scopes: list[anyio.CancelScope] = []

    async def stop() -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            try:
                await unit.life.stop()
            except ValueError as exc:
                received.append(exc)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(stop)
        await settle()
        scopes[0].cancel()
        scopes[2].cancel()
        await settle()
        event.set()
    assert received == [boom]
    assert unit.failed == [(boom, "on_stop", "stop")]


async def test_all_receivers_are_cancelled() -> None:
    """When nobody waits any more, the failure is told as one that nobody receives."""
    event = anyio.Event()
    boom = ValueError("boom")

    async def fail(unit: Unit) -> None:
        await event.wait()
        raise boom

    unit = Unit("a", [], tear_down=fail)
    await unit.life.start()
    for _ in range(2):
        with anyio.move_on_after(0.01):
            await unit.life.stop()
    event.set()
    while unit.life.alive:
        await settle()
    assert unit.failed == [(boom, "on_stop", "stop"), (boom, "a", "unreceived")]


# --- What reports call it ---------------------------------------------------------------------------


async def test_a_late_stop_is_told() -> None:
    """A stop that takes too long is told as what went wrong in the stop."""
    unit = Unit("a", [], tear_down=hanging)
    unit.stop_timeout = SHORT
    await unit.life.start()
    with pytest.raises(ShutdownTimeout) as caught:
        await unit.life.stop()
    assert unit.failed == [(caught.value, "stop", "stop")]


async def test_a_late_stop_after_a_crash_is_noted() -> None:
    """After a crash it is a later failure, and noted as such."""
    boom = ValueError("boom")
    unit = Unit("a", [], tear_down=hanging)
    unit.stop_timeout = SHORT
    with pytest.raises(ValueError, match="boom") as caught:
        async with unit.life.block():
            unit.life.fail(boom, "a test")
            await anyio.sleep_forever()
    assert caught.value is boom
    (note,) = boom.__notes__
    assert note.startswith("later, in stop of a: ShutdownTimeout(")
    assert [(origin, fate) for _, origin, fate in unit.failed] == [
        ("a test", "crash"),
        ("stop", "later"),
    ]


HOOKS = {
    "renew": "on_restart",
    "first": "on_first_start",
    "set_up": "on_start",
    "ready": "on_started",
}


@pytest.mark.parametrize(("step", "name"), HOOKS.items())
async def test_a_hook_that_calls_its_own_start_off_and_hangs(step: str, name: str) -> None:
    """It may go on within the time of the stop; then the report names it as its writer does."""
    log: list[str] = []

    async def call_off(unit: Unit) -> None:
        await unit.life.stop()
        await anyio.sleep_forever()

    unit = Unit("a", log, **doing({step: call_off}))
    unit.stop_timeout = SHORT
    if step == "renew":
        await unit.life.start()
        await unit.life.stop()
    with pytest.raises(ShutdownTimeout) as caught:
        await (unit.life.restart() if step == "renew" else unit.life.start())
    (stuck,) = caught.value.stuck
    assert (stuck.owner, stuck.task) == ("a", name)
    assert "in call_off" in stuck.stack
    assert unit.state == "stopped"


async def test_a_start_that_fails_twice() -> None:
    """The failure that ended the start leaves it; what its hook raises on the way out is noted, with its place."""
    first, later = ValueError("first"), KeyError("later")

    async def fail_on_the_way_out(unit: Unit) -> None:
        unit.begin(raising(first), "work")
        try:
            await anyio.sleep_forever()
        finally:
            raise later

    unit = Unit("a", [], set_up=fail_on_the_way_out)
    with pytest.raises(ValueError, match="first") as caught:
        await unit.life.start()
    assert caught.value is first
    assert first.__notes__ == ["later, in start of a: KeyError('later')"]
    assert unit.run.failures == [first, later]


async def test_the_names_of_the_tasks() -> None:
    """Each run's task has the name of its unit, whoever owns it; so have the tasks and contexts in it their own."""
    child = Unit("b", [])
    unit = Unit("a", [], child)

    def names() -> set[str]:
        return {str(task.name) for task in anyio.get_running_tasks()}

    async with unit.life.block():
        unit.begin(hanging, "a's work")
        await settle()
        assert {"a", "b", "a's work"} <= names()
        assert "owner of a" not in names()
    await unit.life.start()
    assert {"a", "b", "owner of a"} <= names()
    await unit.life.stop()
    await settle()
    assert not {"a", "b", "owner of a"} & names()


# --- How much work ----------------------------------------------------------------------------------


async def test_a_crash_of_everything_takes_work_in_proportion(
    count_calls: Callable[[], Any],
) -> None:
    """When all units of a chain fail at once, a chain of twice the length takes about twice the work."""

    async def calls_for(length: int) -> int:
        gate = anyio.Event()

        async def fail(unit: Unit) -> None:
            await gate.wait()
            raise ValueError(unit.label)

        unit: Unit | None = None
        for number in range(length):
            below = [] if unit is None else [unit]
            unit = Unit(f"u{number}", [], *below, work={"t": fail})
        assert unit is not None
        top = unit
        with pytest.raises(ValueError, match="u"):
            async with top.life.block():
                gate.set()
                with count_calls() as calls:
                    await top.run.finished.wait()
        assert len(top.run.failures) == length
        return int(calls[0])

    await calls_for(10)
    assert await calls_for(120) < 3 * await calls_for(60)


# --- What the error of a late stop names --------------------------------------------------------------


def culprits(error: ShutdownTimeout) -> list[tuple[str, str]]:
    """Return owner and name of what the error names, in its order."""
    return [(stuck.owner, stuck.task) for stuck in error.stuck]


async def overdue(unit: Unit) -> ShutdownTimeout:
    """Stop a unit that has started, and return the timeout that it must raise."""
    with pytest.raises(ShutdownTimeout) as caught:
        await unit.life.stop()
    return caught.value


async def test_the_hook_comes_first() -> None:
    """The hook that hangs is named before what hangs below it."""
    child = Unit("b", [], tear_down=hanging)
    unit = Unit("a", [], child, tear_down=hanging)
    unit.stop_timeout, child.stop_timeout = SHORT, LONG
    await unit.life.start()
    async with anyio.create_task_group() as group:
        group.start_soon(suppressing, child)
        await settle()
        error = await overdue(unit)
    assert culprits(error) == [("a", "on_stop"), ("b", "on_stop")]


async def suppressing(unit: Unit) -> None:
    """Stop a unit, whatever comes of it."""
    with suppress(ShutdownTimeout):
        await unit.life.stop()


async def test_a_callback_that_hangs() -> None:
    """What hangs while contexts are closed, and is none of them, is named as that."""
    unit = Unit("a", [])
    unit.stop_timeout = SHORT
    await unit.life.start()
    unit.run.contexts.push_async_callback(anyio.sleep_forever)
    error = await overdue(unit)
    assert culprits(error) == [("a", "close contexts")]
    assert "sleep_forever" in error.stuck[0].stack


async def test_a_context_that_hangs() -> None:
    """A context that hangs while it is left is named itself, by what made it, and nothing else is."""

    @asynccontextmanager
    async def sticky() -> AsyncIterator[None]:
        yield
        await anyio.sleep_forever()

    unit = Unit("a", [])
    unit.stop_timeout = SHORT
    await unit.life.start()
    await unit.run.contexts.enter_async_context(sticky())
    error = await overdue(unit)
    assert culprits(error) == [("a", f"context {sticky.__qualname__}")]


async def test_contexts_that_are_not_closed_yet() -> None:
    """A context is not to blame for a hook that hangs before contexts are closed; nor is a task that works."""

    @asynccontextmanager
    async def innocent() -> AsyncIterator[None]:
        yield

    unit = Unit("a", [], tear_down=hanging, work={"work": hanging})
    unit.stop_timeout = SHORT
    await unit.life.start()
    await unit.run.contexts.enter_async_context(innocent())
    assert culprits(await overdue(unit)) == [("a", "on_stop")]


async def test_the_names_of_what_hangs() -> None:
    """Each hook of a stop is named as its user knows it."""
    names = {
        "tear_down": "on_stop",
        "hold": "wait for set_shutdown()",
        "farewell": "on_shutdown",
    }
    for step, name in names.items():
        unit = Unit("a", [], **doing({step: hanging}))
        unit.stop_timeout = SHORT
        await unit.life.start()
        assert culprits(await overdue(unit)) == [("a", name)]


# --- In the very instant of the end -------------------------------------------------------------------


@pytest.mark.parametrize("others", [0, 1])
async def test_a_receiver_is_cancelled_in_the_instant_of_the_end(others: int) -> None:
    """What went wrong is told as received by nobody if nobody else waits for the stop, and only then."""
    boom = ValueError("boom")
    unit = Unit("a", [], tear_down=raising(boom))
    await unit.life.start()
    received: list[BaseException] = []
    scope = anyio.CancelScope()

    def at_the_end(event: LifecycleEvent) -> None:
        if isinstance(event, Stopped) and event.subject is unit:
            scope.cancel()

    async def stop() -> None:
        try:
            await unit.life.stop()
        except ValueError as exc:
            received.append(exc)

    async def cancelled_stop() -> None:
        with scope:
            await unit.life.stop()

    unsubscribe = subscribe(at_the_end)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(cancelled_stop)
            for _ in range(others):
                group.start_soon(stop)
    finally:
        unsubscribe()
    assert scope.cancelled_caught
    assert received == [boom] * others
    told = [(origin, fate) for _, origin, fate in unit.failed]
    assert told == [("on_stop", "stop"), ("a", "unreceived")][: 2 - others]


async def test_what_leaves_the_body_is_not_raised_again() -> None:
    """The body's own exception passes through: it is not raised anew, which its traceback would show."""
    unit = Unit("a", [])
    with pytest.raises(ValueError, match="boom") as caught:
        async with unit.life.block():
            raise ValueError("boom")
    names = [entry.name for entry in caught.traceback]
    assert "__aexit__" not in names


# --- Soft, before hard --------------------------------------------------------------------------------


async def test_waits_return_before_anything_is_cancelled() -> None:
    """A wait that the stop cuts short has returned, its losers and all, before any task is cancelled."""
    log: list[str] = []

    async def slow_loser() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            for _ in range(20):
                await anyio.lowlevel.cancel_shielded_checkpoint()

    async def wait(unit: Unit) -> None:
        await first_of(unit.life.signal, [slow_loser, anyio.sleep_forever])
        log.append("returned")

    async def work(unit: Unit) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            log.append("cancelled")

    unit = Unit("a", [], work={"wait": wait, "work": work})
    async with unit.life.block():
        await settle()
    assert log == ["returned", "cancelled"]


async def test_the_same_failure_again() -> None:
    """A hook that raises the reason of the crash once more tells nothing new."""
    boom = ValueError("boom")
    unit = Unit("a", [], work={"work": raising(boom)}, tear_down=raising(boom))
    with pytest.raises(ValueError, match="boom") as caught:
        async with unit.life.block():
            await anyio.sleep_forever()  # pragma: no cover - the crash may be faster
    assert caught.value is boom
    assert unit.failed == [(boom, "work", "crash")]
    assert unit.run.failures == [boom]
    assert not hasattr(boom, "__notes__")


async def test_a_child_dropped_while_the_others_start() -> None:
    """A child that is let go during the start shifts the others, but none is begun anew, not even one that has stopped."""
    log: list[str] = []
    units = {label: Unit(label, log) for label in "bcdef"}
    parent = Unit("a", log, *units.values())

    async def drop(unit: Unit) -> None:
        await units["b"].life.stop()
        await units["d"].life.stop()
        parent.life.drop_child(units["b"].life)

    units["e"].steps = doing({"ready": drop})
    async with parent.life.block():
        running = [label for label, unit in units.items() if unit.life.alive]
    assert running == ["c", "e", "f"]
    assert [log.count(f"{label}.set_up") for label in "bcdef"] == [1] * 5


async def test_a_start_in_a_block_that_is_left() -> None:
    """Nothing is started in a block that is being left; the error says so."""
    refused: list[str] = []

    async def start_again(unit: Unit) -> None:
        with pytest.raises(LifecycleError) as caught:
            await other.life.start()
        refused.append(caught.value.problem)

    other = Unit("b", [])
    async with other.life.block():
        await other.life.stop()
        assert other.life.owner is not None
        other.life.owner.open = False
        await start_again(other)
    assert refused == ["b can't be started: the block that owns it is stopping"]


# --- In between -------------------------------------------------------------------------------------------


async def test_a_failure_between_the_request_and_the_stop() -> None:
    """What fails once a stop has been asked for is part of the stop, and no crash, though the stop has not begun."""
    boom = ValueError("boom")
    child = Unit("b", [])
    parent = Unit("a", [], child)
    await parent.life.start()
    child.run.request_stop()
    assert child.state == "running"
    child.life.fail(boom, "a test")
    with pytest.raises(ValueError, match="boom") as caught:
        await child.life.stop()
    assert caught.value is boom
    assert child.run.crash_reason is None
    assert child.failed == [(boom, "a test", "stop")]
    assert parent.state == "running"
    await parent.life.stop()
    assert parent.run.crash_reason is None


async def test_a_task_that_outlives_the_hook_that_began_it() -> None:
    """It is no part of the hook: a stop that it asks for has come to its end when the call returns."""
    states: list[str] = []
    asked = anyio.Event()

    async def stop_later() -> None:
        await asked.wait()
        await unit.life.stop()
        states.append(unit.state)

    async def begin(_: Unit) -> None:
        group.start_soon(stop_later)

    unit = Unit("a", [], set_up=begin, tear_down=lambda _: anyio.sleep(0.01))
    async with anyio.create_task_group() as group:
        await unit.life.start()
        asked.set()
    assert states == ["stopped"]


async def test_a_join_after_a_pause() -> None:
    """Tasks that are begun when all others have ended are waited for, and without a busy loop."""

    async def take_time(_: Unit) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.05)

    unit = Unit("a", [], work={"work": yielding})
    await unit.life.start()
    await settle()
    assert len(unit.run.tasks) == 0
    task = unit.begin(take_time, "slow")
    await settle()
    await unit.life.stop()
    assert task.done()
    assert not task.cancelled()


async def test_a_callback_that_fails() -> None:
    """What a callback on the stack of contexts raises is told as having happened there."""
    boom = ValueError("boom")

    async def fail() -> None:
        raise boom

    unit = Unit("a", [])
    await unit.life.start()
    unit.run.contexts.push_async_callback(fail)
    with pytest.raises(ValueError, match="boom"):
        await unit.life.stop()
    assert unit.failed == [(boom, "close contexts", "stop")]


async def test_a_restart_in_a_block_that_is_left() -> None:
    """Asked for when the block is left already, a restart does not come."""
    log: list[str] = []
    unit = Unit("a", log, tear_down=lambda unit: unit.life.restart())
    async with unit.life.block():
        log.clear()
    assert log == ["a.tear_down", "a.farewell"]
    assert not unit.life.restarting


async def test_a_block_can_be_entered_again() -> None:
    """A block that was left leaves nothing behind: the unit may be in the next one, or be started bare."""
    unit = Unit("a", [])
    for _ in range(2):
        async with unit.life.block():
            assert unit.life.owner is not None
        assert unit.life.owner is None
    await unit.life.start()
    await unit.life.stop()


async def test_what_the_first_hook_adds_stays() -> None:
    """That hook runs once, so its children are there in every run; those of other hooks are added anew in each."""
    log: list[str] = []

    def adding(label: str) -> Any:
        async def add(unit: Unit) -> None:
            unit.life.add_child(Unit(label, log).life)

        return add

    unit = Unit("a", log, first=adding("first"), set_up=adding("again"))
    for _ in range(3):
        await unit.life.start()
        await unit.life.stop()
    assert log.count("first.set_up") == 3
    assert log.count("again.set_up") == 3
    assert log.count("again.first") == 3  # each time another
    assert log.count("first.first") == 1
    assert [child.unit.label for child in unit.life.children] == ["first"]
    # Each time it starts, what the last run had adopted is let go.
    assert [getattr(child, "label", None) for child in unit.released] == ["again", "again"]


async def test_the_first_failure_of_a_task_and_its_callbacks() -> None:
    """What a done-callback raises, if it is no mere `Exception`, is the failure of a task that has none itself."""

    class Fatal(BaseException):
        """Must not be lost."""

    def fail(task: Task[Any]) -> None:
        raise fatal

    fatal, boom = Fatal(), ValueError("boom")

    async def succeed() -> None:
        """Return."""

    async def fail_itself() -> None:
        raise boom

    for work, failure in ((succeed, fatal), (fail_itself, boom)):
        task: Task[None] = Task(work(), "work")
        task.add_done_callback(fail)
        assert await task.run() is failure


async def test_a_context_between_the_request_and_the_stop() -> None:
    """A unit that has been asked to stop takes no context any more, though its stop has not begun."""

    @asynccontextmanager
    async def held() -> AsyncIterator[None]:
        raise AssertionError
        yield

    unit = Unit("a", [])
    await unit.life.start()
    unit.run.request_stop()
    with pytest.raises(LifecycleError) as caught:
        await unit.run.contexts.enter_async_context(held())
    assert caught.value.problem == "a is stopping: it can't enter an async context now"
    await unit.life.stop()


async def test_a_reason_that_can_not_be_changed() -> None:
    """Also an exception that refuses every attribute leaves the block as it was raised."""

    class Frozen(Exception):
        """Can't be changed."""

        def __setattr__(self, name: str, value: object) -> None:
            raise TypeError(name)

    reason = Frozen("frozen")
    unit = Unit("a", [])
    with pytest.raises(Frozen) as caught:
        async with unit.life.block():
            unit.begin(raising(reason))
            await anyio.sleep_forever()
    assert caught.value is reason


async def test_tasks_make_their_first_steps_in_order() -> None:
    """On every event loop, also on one that runs what is new in random order."""
    order: list[int] = []

    def noting(number: int) -> Any:
        async def act(unit: Unit) -> None:
            order.append(number)

        return act

    unit = Unit("a", [])
    async with unit.life.block():
        for number in range(20):
            unit.begin(noting(number))
        await settle()
    assert order == list(range(20))


async def test_tasks_work_while_a_cancelled_block_tears_down() -> None:
    """A cancellation from outside reaches no task of the tree by itself: tasks work until it is their turn to end."""
    log: list[str] = []

    async def work(unit: Unit) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            log.append(f"{unit.label}: cancelled")

    async def take_time(unit: Unit) -> None:
        for _ in range(10):
            await anyio.lowlevel.checkpoint()

    child = Unit("b", log, work={"work": work}, tear_down=take_time)
    unit = Unit("a", log, child, work={"work": work}, tear_down=take_time)
    with anyio.CancelScope() as scope:
        async with unit.life.block():
            log.clear()
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert log == [
        *("a.tear_down", "b.tear_down", "b: cancelled", "b.farewell"),
        *("a: cancelled", "a.farewell"),
    ]


# --- What has not begun ---------------------------------------------------------------------------


@pytest.mark.parametrize("called_off_by", ["set_up", "its first task"])
async def test_what_has_not_begun_keeps_no_hook_waiting(called_off_by: str) -> None:
    """Where a start is called off before a task's turn comes, the task is discarded before anybody could wait for it."""
    seen: list[str] = []

    async def wait_for_it(unit: Unit) -> None:
        with pytest.raises(anyio.TaskCancelled):
            await waiting
        seen.append("discarded")

    async def call_off(unit: Unit) -> None:
        unit.life.request_stop()

    by_set_up = called_off_by == "set_up"
    unit = Unit(
        "a",
        [],
        work={} if by_set_up else {"first": raising(ValueError("boom"))},
        **doing({"tear_down": wait_for_it} | ({"set_up": call_off} if by_set_up else {})),
    )
    unit.stop_timeout = SHORT
    waiting = unit.begin(yielding)
    with pytest.raises(StartAborted if by_set_up else ValueError):
        await unit.life.start()
    assert seen == ["discarded"]
    assert len(unit.run.failures) == (0 if by_set_up else 1)


# --- Steps that await nothing ---------------------------------------------------------------------


class AtOnce(Unit):
    """A unit whose steps do at once what they do, and return nothing to be awaited; one of them fails."""

    def __init__(self, log: list[str], failing: str) -> None:
        super().__init__("a", log)
        self.failing = failing

    def _at_once(self, name: str) -> None:
        self.log.append(name)
        if name == self.failing:
            raise ValueError(name)

    def first_set_up(self) -> None:  # type: ignore[override]
        self._at_once("first_set_up")

    def set_up(self) -> None:  # type: ignore[override]
        self._at_once("set_up")

    def ready(self) -> None:  # type: ignore[override]
        self._at_once("ready")

    def tear_down(self) -> None:  # type: ignore[override]
        self._at_once("tear_down")

    def hold(self) -> None:  # type: ignore[override]
        self._at_once("hold")

    def farewell(self) -> None:  # type: ignore[override]
        self._at_once("farewell")


@pytest.mark.parametrize("failing", ["first_set_up", "set_up", "ready"])
async def test_start_whose_step_fails_at_once(failing: str) -> None:
    """As if it had been awaited: what was done is undone, and the failure is raised and told once."""
    log: list[str] = []
    unit = AtOnce(log, failing)
    with pytest.raises(ValueError, match=failing):
        await unit.life.start()
    undone = ["tear_down", "hold", "farewell"] if failing == "ready" else []
    assert log == [*["first_set_up", "set_up", "ready"][: log.index(failing) + 1], *undone]
    assert [str(exc) for exc in unit.run.failures] == [failing]


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize(
    ("failing", "step"),
    [("tear_down", "on_stop"), ("hold", "wait for set_shutdown()"), ("farewell", "on_shutdown")],
)
async def test_stop_whose_step_fails_at_once(failing: str, step: str, killed: bool) -> None:
    """The failure is told once, with the name of its step; the later steps still come, also those of a run that is killed."""
    log: list[str] = []
    unit = AtOnce(log, failing)
    await unit.life.start()
    if killed:
        unit.life.kill()
    with pytest.raises(ValueError, match=failing):
        await unit.life.stop()
    assert log == ["first_set_up", "set_up", "ready", "tear_down", "hold", "farewell"]
    assert [(str(exc), origin) for exc, origin, _ in unit.failed] == [(failing, step)]
