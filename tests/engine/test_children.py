"""The children of a unit: how they are added, started and let go while things run, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest

from structmode._engine import Life, LifecycleEvent, Starting, subscribe
from structmode.exceptions import LifecycleError

from .unit import Unit, hanging, raising, settle


def names(lives: Sequence[Life]) -> list[str]:
    """Return the names of units."""
    return [life.unit.label for life in lives]


# --- Before anything runs -------------------------------------------------------------------------


def test_added_before_the_start() -> None:
    """A child knows its parent, the parent its children in the order they were added; adding twice changes nothing."""
    log: list[str] = []
    one, two, parent = Unit("one", log), Unit("two", log), Unit("parent", log)
    for child in (one, two, one):
        parent.life.add_child(child.life)
    assert names(parent.life.children) == ["one", "two"]
    assert one.life.parent is two.life.parent is parent.life


def test_moved() -> None:
    """A child that is added elsewhere leaves its former parent, which is told."""
    log: list[str] = []
    child = Unit("child", log)
    old, new = Unit("old", log, child), Unit("new", log)
    new.life.add_child(child.life)
    assert names(old.life.children) == []
    assert names(new.life.children) == ["child"]
    assert child.life.parent is new.life
    assert old.released == [child]


def test_dropped() -> None:
    """A child that was dropped has no parent, and may be added anywhere."""
    log: list[str] = []
    child = Unit("child", log)
    parent = Unit("parent", log, child)
    parent.life.drop_child(child.life)
    assert child.life.parent is None
    assert parent.life.children == []
    parent.life.add_child(child.life)
    assert names(parent.life.children) == ["child"]


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_circles(depth: int) -> None:
    """No unit can be its own child, nor that of one below it."""
    log: list[str] = []
    top = bottom = Unit("top", log)
    for n in range(depth):
        below = Unit(str(n), log)
        bottom.life.add_child(below.life)
        bottom = below
    with pytest.raises(LifecycleError, match="top can't be a child of"):
        bottom.life.add_child(top.life)
    assert top.life.parent is None


# --- While something runs -------------------------------------------------------------------------


async def test_added_at_run_time() -> None:
    """A child that is added to what runs is not started by that, but starts in the parent, and stops with it first."""
    log: list[str] = []
    parent, late = Unit("parent", log, Unit("early", log)), Unit("late", log)
    await parent.life.start()
    parent.life.add_child(late.life)
    await settle()
    assert late.state == "new"
    await late.life.start_as_child()
    await late.life.start_as_child()
    assert late.run.parent is parent.run
    log.clear()
    await parent.life.stop()
    assert log == [
        *("parent.tear_down", "late.tear_down", "late.farewell"),
        *("early.tear_down", "early.farewell", "parent.farewell"),
    ]
    log.clear()
    await parent.life.start()
    assert "late.ready" in log
    await parent.life.stop()


async def test_start_chooses_the_parent() -> None:
    """A plain start of a child whose parent runs is a start in the parent."""
    parent, late = Unit("parent", []), Unit("late", [])
    await parent.life.start()
    parent.life.add_child(late.life)
    await late.life.start()
    assert late.run.parent is parent.run
    await parent.life.stop()
    assert late.state == "stopped"


async def test_child_without_its_parent() -> None:
    """A child whose parent does not run may be started alone; it is on its own then."""
    child = Unit("child", [])
    parent = Unit("parent", [], child)
    await child.life.start()
    assert child.run.parent is None
    with pytest.raises(LifecycleError, match="child can't be started by parent"):
        await parent.life.start()
    assert child.state == "running"
    assert parent.state == "stopped"
    await child.life.stop()
    await parent.life.start()
    assert child.run.parent is parent.run
    await parent.life.stop()


async def test_as_child_of_nobody() -> None:
    """Without a parent, or with one that does not run, nothing can be started as a child."""
    child = Unit("child", [])
    with pytest.raises(LifecycleError, match="child"):
        await child.life.start_as_child()
    Unit("parent", []).life.add_child(child.life)
    with pytest.raises(LifecycleError, match="parent"):
        await child.life.start_as_child()
    assert child.state == "new"


async def test_one_owner() -> None:
    """What runs, on its own or under another parent, can't be added elsewhere; the error names its owner."""
    child = Unit("child", [])
    parent, other = Unit("parent", [], child), Unit("other", [])
    await parent.life.start()
    with pytest.raises(LifecycleError, match=r"child can't be added to other.*parent"):
        other.life.add_child(child.life)
    await other.life.start()
    with pytest.raises(LifecycleError, match=r"child can't be added to other.*parent"):
        other.life.add_child(child.life)
    with pytest.raises(LifecycleError, match=r"other can't be added to parent.*on its own"):
        parent.life.add_child(other.life)
    await parent.life.stop()
    with pytest.raises(LifecycleError, match=r"other can't be added to parent.*on its own"):
        parent.life.add_child(other.life)
    assert child.life.parent is parent.life
    await other.life.stop()
    other.life.add_child(child.life)
    await other.life.start()
    assert child.run.parent is other.run
    await other.life.stop()


async def test_running_root_added_to_nothing_running() -> None:
    """What runs in a block of its own can't be added to a unit that does not run."""
    root, parent = Unit("root", []), Unit("parent", [])
    async with root.life.block():
        with pytest.raises(LifecycleError, match="root can't be added to parent"):
            parent.life.add_child(root.life)
    assert root.life.parent is None


async def test_two_starters() -> None:
    """A child that several start at once is started once, and all wait for it."""
    log: list[str] = []
    event = anyio.Event()
    late = Unit("late", log, set_up=lambda _: event.wait())
    parent = Unit("parent", log)
    async with parent.life.block():
        parent.life.add_child(late.life)
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(late.life.start_as_child)
            await settle()
            event.set()
        assert late.state == "running"
        assert log.count("late.set_up") == 1


async def test_failing_child_at_run_time() -> None:
    """A child that fails to start at run time raises to whoever started it; the parent goes on, and may try again."""
    error = ValueError("no")
    late, parent = Unit("late", [], ready=raising(error)), Unit("parent", [])
    async with parent.life.block():
        parent.life.add_child(late.life)
        with pytest.raises(ValueError, match="no") as caught:
            await late.life.start_as_child()
        assert caught.value is error
        assert parent.state == "running"
        assert parent.run.child_runs == {}
        late.steps.clear()
        await late.life.start_as_child()
    assert parent.run.failures == []


async def test_started_while_the_parent_stops() -> None:
    """A child is not started in a parent that stops, however it is asked for."""
    late = Unit("late", [])
    event = anyio.Event()
    parent = Unit("parent", [], tear_down=lambda _: event.wait())
    await parent.life.start()
    parent.life.add_child(late.life)
    async with anyio.create_task_group() as group:
        group.start_soon(parent.life.stop)
        await settle()
        for call in (late.life.start, late.life.start_as_child, late.life.maybe_start):
            with pytest.raises(LifecycleError, match="its parent parent is stopping"):
                await call()
        event.set()
    assert late.state == "new"
    assert parent.run.failures == []


async def test_starting_when_the_parent_stops() -> None:
    """A child that is not up yet when its parent stops was the last thing begun, and is the first to be undone."""
    log: list[str] = []
    late, parent = Unit("late", log, ready=hanging), Unit("parent", log)
    await parent.life.start()
    parent.life.add_child(late.life)
    async with anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises(LifecycleError, match="late was stopped before"):
                await late.life.start_as_child()

        group.start_soon(start)
        await settle()
        log.clear()
        await parent.life.stop()
    assert log == ["late.tear_down", "late.farewell", "parent.tear_down", "parent.farewell"]


async def test_sibling_starts_sibling() -> None:
    """A hook of one child may start the next, which then is not started again in its turn."""
    log: list[str] = []
    second = Unit("second", log)
    first = Unit("first", log, set_up=lambda _: second.life.start())
    parent = Unit("parent", log, first, second)
    await parent.life.start()
    assert log.count("second.set_up") == 1
    assert second.run.parent is parent.run
    log.clear()
    await parent.life.stop()
    assert sorted(log) == sorted(
        f"{name}.{step}"
        for name in ("first", "second", "parent")
        for step in ("tear_down", "farewell")
    )


async def test_removed() -> None:
    """A child that is removed is stopped, and forgotten when it has; its failure leaves the call."""
    log: list[str] = []
    child, other = Unit("child", log), Unit("other", log, tear_down=raising(ValueError("no")))
    parent = Unit("parent", log, child, other)
    await parent.life.start()
    await parent.life.remove_child(child.life)
    assert child.state == "stopped"
    with pytest.raises(ValueError, match="no"):
        await parent.life.remove_child(other.life)
    assert parent.life.children == []
    assert parent.released == [child, other]
    assert child.life.parent is other.life.parent is None
    log.clear()
    await parent.life.restart()
    assert "child.set_up" not in log
    parent.life.add_child(child.life)
    await child.life.start_as_child()
    await child.life.restart()
    assert child.life.parent is parent.life
    await parent.life.stop()


@pytest.mark.parametrize("who", ["hook of the child", "task of the child", "cancelled caller"])
async def test_removed_by_one_who_does_not_wait(who: str) -> None:
    """A child whose removal nobody waits for is forgotten when its stop is over."""
    event = anyio.Event()

    async def remove(_: Unit) -> None:
        await parent.life.remove_child(child.life)

    async def tear_down(unit: Unit) -> None:
        if who == "hook of the child":
            await remove(unit)
        await event.wait()

    child = Unit("child", [], tear_down=tear_down)
    parent = Unit("parent", [], child)
    async with parent.life.block():
        if who == "hook of the child":
            child.life.request_stop()
        if who == "task of the child":
            child.begin(remove)
        if who == "cancelled caller":
            with anyio.move_on_after(0.01):
                await remove(parent)
        await settle()
        assert child.state == "stopping"
        event.set()
        await settle()
        assert child.state == "stopped"
        assert parent.life.children == []
        assert parent.released == [child]


async def test_forget() -> None:
    """`forget` makes a stopped unit as new; what runs can't be forgotten."""
    unit = Unit("a", [])
    await unit.life.start()
    with pytest.raises(LifecycleError, match="can't be reset while it is running"):
        unit.life.forget()
    await unit.life.stop()
    unit.life.forget()
    assert unit.state == "new"
    assert not unit.life.signal.is_set()
    await unit.life.start()
    await unit.life.stop()


async def test_late_addition_of_a_former_run() -> None:
    """What is left of a former run adds no work to the new one."""
    unit, go = Unit("a", []), anyio.Event()
    seen: list[object] = []

    async def linger() -> None:
        await go.wait()
        seen.append(unit.life.addressed_or_upcoming())

    async def set_up(unit: Unit) -> None:
        if "a.renew" not in unit.log:
            group.start_soon(linger)

    unit.steps["set_up"] = set_up
    async with anyio.create_task_group() as group, unit.life.block():
        assert unit.life.addressed_or_upcoming() is unit.run
        await unit.life.restart()
        go.set()
        await settle()
        assert seen == [None]
    assert unit.life.addressed_or_upcoming() is not unit.run


@pytest.mark.parametrize("place", range(3))
async def test_removed_while_the_next_one_starts(place: int) -> None:
    """When a child is removed in the middle of the start, no other is left out or started twice."""
    log: list[str] = []
    children = [Unit(label, log) for label in "bcdefg"]
    parent = Unit("a", log, *children)

    async def remove(unit: Unit) -> None:
        await parent.life.remove_child(children[place].life)

    children[2].steps["set_up"] = remove  # c or b by now running; itself: its stop follows
    children[2].steps.pop("set_up") if place == 2 else None
    children[3].steps["ready"] = remove
    async with parent.life.block():
        up = [unit.label for unit in children if unit.state == "running"]
    assert up == [label for label in "bcdefg" if label != children[place].label]
    assert [line for line in log if line.endswith("set_up")] == [
        f"{one}.set_up" for one in "abcdefg"
    ]


async def test_removed_before_its_turn() -> None:
    """A child that is removed before its turn in a start is not started."""
    log: list[str] = []
    last = Unit("d", log)

    async def remove(unit: Unit) -> None:
        await parent.life.remove_child(last.life)

    parent = Unit("a", log, Unit("b", log, set_up=remove), Unit("c", log), last)
    async with parent.life.block():
        assert last.state == "new"
    assert "c.set_up" in log
    assert "d.set_up" not in log


async def test_a_stopped_child_is_not_started_again_when_others_are_removed() -> None:
    """What is removed while the parent starts makes it neither leave out a child nor start one for a second time."""
    log: list[str] = []

    async def meanwhile(unit: Unit) -> None:
        await stopped.life.stop()
        for child in removed:
            await parent.life.remove_child(child.life)

    stopped, last = Unit("stopped", log), Unit("last", log)
    removed = [Unit(f"removed{number}", log) for number in range(2)]
    parent = Unit("parent", log, stopped, *removed, Unit("busy", log, set_up=meanwhile), last)
    async with parent.life.block():
        assert stopped.state == "stopped"
        assert last.state == "running"
    assert log.count("stopped.set_up") == log.count("last.set_up") == 1


async def test_a_child_that_is_removed_before_the_first_has_started() -> None:
    """The others start in their order."""
    log: list[str] = []

    async def remove(unit: Unit) -> None:
        await parent.life.remove_child(removed.life)

    removed, others = Unit("removed", log), [Unit(label, log) for label in "bcd"]
    parent = Unit("a", log, removed, *others, set_up=remove)
    async with parent.life.block():
        assert [line for line in log if line.endswith("set_up")] == [
            "a.set_up",
            "b.set_up",
            "c.set_up",
            "d.set_up",
        ]


async def test_a_child_that_is_started_before_its_parent_has_made_a_step() -> None:
    """It is refused: there is nothing yet to start it in."""
    refused: list[BaseException] = []
    child = Unit("b", [])
    parent = Unit("a", [], child)

    def listen(event: LifecycleEvent) -> None:
        if isinstance(event, Starting) and event.subject is parent:
            try:
                child.life.start().send(None)
            except BaseException as exc:
                refused.append(exc)

    unsubscribe = subscribe(listen)
    async with parent.life.block():
        unsubscribe()
        assert child.state == "running"
    assert [type(exc) for exc in refused] == [LifecycleError]


# --- Placed and released, as by a supervisor ------------------------------------------------------


def test_placed_before_the_start() -> None:
    """A child comes in the place of another, or last; placing it again changes nothing, and it leaves its former parent."""
    log: list[str] = []
    one, two, three = Unit("one", log), Unit("two", log), Unit("three", log)
    elsewhere = Unit("elsewhere", log, two)
    parent = Unit("parent", log)
    parent.life.place_child(one.life)
    parent.life.place_child(two.life, one.life)
    parent.life.place_child(three.life, Unit("stranger", log).life)
    parent.life.place_child(one.life, two.life)
    assert names(parent.life.children) == ["two", "one", "three"]
    assert one.life.parent is two.life.parent is three.life.parent is parent.life
    assert elsewhere.life.children == []
    assert elsewhere.released == [two]
    with pytest.raises(LifecycleError, match="circles"):
        parent.life.place_child(parent.life)


async def test_placed_while_it_runs() -> None:
    """A child that is placed in a running unit is not started by that; it stops in its place, and is there next time."""
    log: list[str] = []
    first, last, between = Unit("first", log), Unit("last", log), Unit("between", log)
    parent = Unit("parent", log, first, last)
    async with parent.life.block():
        parent.life.place_child(between.life, last.life)
        await settle()
        assert between.state == "new"
        await between.life.start_as_child()
        log.clear()
    stops = [line for line in log if line.endswith("tear_down")]
    assert stops == [f"{name}.tear_down" for name in ("parent", "last", "between", "first")]
    log.clear()
    async with parent.life.block():
        starts = [line for line in log if line.endswith("ready")]
        assert starts == [f"{name}.ready" for name in ("first", "between", "last", "parent")]


@pytest.mark.parametrize(
    ("before", "started"),
    [
        ("a", ["a", "b", "c"]),
        ("b", ["a", "b", "c"]),
        ("c", ["a", "b", "new", "c"]),
        (None, ["a", "b", "c", "new"]),
    ],
)
async def test_placed_while_it_starts(before: str | None, started: list[str]) -> None:
    """What is placed where the start has not come to is started in its turn; what is placed before that, is not."""
    log: list[str] = []

    async def place(unit: Unit) -> None:
        parent.life.place_child(new.life, by_name[before].life if before is not None else None)

    new = Unit("new", log)
    units = [Unit("a", log), Unit("b", log, set_up=place), Unit("c", log)]
    by_name = {unit.label: unit for unit in units}
    parent = Unit("parent", log, *units)
    async with parent.life.block():
        assert [line[:-6] for line in log if line.endswith(".ready")] == [*started, "parent"]
        assert (new.state == "running") == ("new" in started)


async def test_released() -> None:
    """A child that is released is asked to stop, and forgotten when it has; nobody waits, and the others go on."""
    log: list[str] = []
    event = anyio.Event()
    child = Unit("child", log, tear_down=lambda _: event.wait())
    idle, other = Unit("idle", log), Unit("other", log)
    parent = Unit("parent", log, child, other)
    async with parent.life.block():
        parent.life.place_child(idle.life)
        parent.life.release_child(idle.life)
        assert names(parent.life.children) == ["child", "other"]
        parent.life.release_child(child.life)
        await settle()
        assert child.state == "stopping"
        assert names(parent.life.children) == ["child", "other"]
        event.set()
        await settle()
        assert child.state == "stopped"
        assert names(parent.life.children) == ["other"]
        assert child.life.parent is None
        assert other.state == "running"
    assert parent.released == [idle, child]
    log.clear()
    async with parent.life.block():
        assert "child.set_up" not in log


# --- Failures that the unit above deals with ------------------------------------------------------


class Lenient(Unit):
    """Deals with the failures of its children."""

    def __init__(self, *children: Unit) -> None:
        super().__init__("parent", [], *children)
        self.dealt_with: list[tuple[object, BaseException]] = []
        self.ended: list[object] = []

    def on_child_failed(self, child: object, exc: BaseException) -> bool:
        self.dealt_with.append((child, exc))
        return True

    def on_child_ended(self, child: object) -> None:
        self.ended.append(child)


async def test_crash_that_is_dealt_with() -> None:
    """The child that crashed stops, with its reason; the unit that deals with it goes on, and nothing above is told."""
    error = ValueError("crash")
    below = Unit("below", [])
    child, other = Unit("child", [], below), Unit("other", [])
    parent = Lenient(child, other)
    root = Unit("root", [], parent)
    async with root.life.block():
        child.begin(raising(error))
        await child.run.finished.wait()
        assert child.run.crash_reason is error
        assert child.run.failures == [error]
        assert below.state == "stopped"
        assert other.state == parent.state == root.state == "running"
    assert parent.dealt_with == [(child, error)]
    assert parent.ended == [child, other]
    assert parent.run.failures == root.run.failures == []
    assert parent.run.crash_reason is root.run.crash_reason is None


async def test_later_failures_of_what_is_dealt_with() -> None:
    """What goes wrong in the stop after such a crash is the child's own too."""
    first, later = ValueError("first"), ValueError("later")
    child = Unit("child", [], tear_down=raising(later))
    parent = Lenient(child)
    async with parent.life.block():
        child.begin(raising(first))
        await child.run.finished.wait()
        assert child.run.failures == [first, later]
    assert parent.run.failures == []


async def test_start_that_fails_in_the_stop() -> None:
    """A start that fails when the stop of the unit above calls it off is dealt with by that, and is told to who started."""
    error = ValueError("no")

    async def refuse(unit: Unit) -> None:
        try:
            await anyio.sleep_forever()
        except BaseException:
            raise error from None

    async def start() -> None:
        with pytest.raises(ValueError, match="no"):
            await late.life.start_as_child()

    late, parent = Unit("late", [], ready=refuse), Lenient()
    async with anyio.create_task_group() as group:
        async with parent.life.block():
            parent.life.place_child(late.life)
            group.start_soon(start)
            await settle()
    assert parent.dealt_with == [(late, error)]
    assert parent.run.failures == []


async def test_start_that_fails() -> None:
    """A start that fails while the unit above runs is told to whoever started it, and to nobody else."""
    error = ValueError("no")
    late, parent = Unit("late", [], ready=raising(error)), Lenient()
    async with parent.life.block():
        parent.life.place_child(late.life)
        with pytest.raises(ValueError, match="no"):
            await late.life.start_as_child()
        assert parent.state == "running"
    assert parent.run.failures == []


async def test_failure_in_a_stop_is_not_dealt_with() -> None:
    """What goes wrong in a child that the unit itself stops is the unit's, and leaves it."""
    error = ValueError("while stopping")
    child = Unit("child", [], tear_down=raising(error))
    parent = Lenient(child)
    with pytest.raises(ValueError, match="while stopping"):
        async with parent.life.block():
            pass
    assert parent.dealt_with == []
    assert parent.run.failures == [error]
