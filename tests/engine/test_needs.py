"""Needs: what is up before a unit sets up, and until it has gone; shared, counted, in groups, and hosted at the root."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import anyio
import anyio.to_thread
import pytest

from structmode._engine import Life, Starting, subscribe
from structmode.exceptions import (
    EventLoopMismatch,
    LifecycleError,
    ShutdownTimeout,
    StartAborted,
)

from .laws import check
from .unit import Act, Unit, doing, hanging, raising, settle

REPEAT = pytest.mark.parametrize("attempt", range(20))


class Waiting:
    """An act that waits for leave to go on."""

    def __init__(self, then: Act | None = None) -> None:
        self.reached = anyio.Event()
        self.go_on = anyio.Event()
        self._then = then

    async def __call__(self, unit: Unit) -> None:
        self.reached.set()
        await self.go_on.wait()
        if self._then is not None:
            await self._then(unit)


def up(*labels: str) -> list[str]:
    """The steps by which units come up, one after the other, after their first start."""
    return [f"{label}.{step}" for label in labels for step in ("first", "set_up", "ready")]


def down(*labels: str) -> list[str]:
    """The steps by which units go down, one after the other."""
    return [f"{label}.{step}" for label in labels for step in ("tear_down", "farewell")]


def without_first(log: list[str]) -> list[str]:
    """Return a log without the first hooks, whose place is before the needs."""
    return [line for line in log if not line.endswith(".first")]


def assert_over(units: Iterable[Unit]) -> None:
    """See that nothing of the units is left."""
    for unit in units:
        assert unit.state in {"new", "stopped"}
        assert unit.run.tree() == [unit.run]
        assert len(unit.run.tasks) == 0


def diamond(log: list[str], **steps: dict[str, Act]) -> dict[str, Unit]:
    """Make a top with two children, or needs, that both need a base; returns them by name."""
    base = Unit("base", log, **doing(steps.get("base", {})))
    one = Unit("one", log, needs=[[base]], **doing(steps.get("one", {})))
    two = Unit("two", log, needs=[[base]], **doing(steps.get("two", {})))
    return {"base": base, "one": one, "two": two}


# --- Order ----------------------------------------------------------------------------------------


async def test_order() -> None:
    """Needs come up before a unit sets up, group after group; they go in reverse, after all that is the unit's own."""
    log: list[str] = []
    child, b, c, d = (Unit(label, log) for label in ("child", "b", "c", "d"))
    a = Unit("a", log, child, needs=[[b, c], [d]], work={"look": hanging})
    async with a.life.block():
        assert without_first(log) == without_first(
            [*up("b", "c", "d"), "a.set_up", "a:look", *up("child"), "a.ready"]
        )
        assert {unit.state for unit in (a, b, c, d, child)} == {"running"}
        log.clear()
    assert log[:-4] == ["a.tear_down", *down("child"), "a.farewell", *down("d")]
    assert sorted(log[-4:]) == sorted(down("b", "c"))
    check([a, b, c, d, child], log)


async def test_chain() -> None:
    """A need may have needs; what is needed first is up first, and gone last."""
    log: list[str] = []
    c = Unit("c", log)
    b = Unit("b", log, needs=[[c]])
    a = Unit("a", log, needs=[[b]])
    for _ in range(2):  # and again
        log.clear()
        await a.life.start()
        assert [line for line in log if line.endswith("ready")] == [
            "c.ready",
            "b.ready",
            "a.ready",
        ]
        log.clear()
        await a.life.stop()
        assert log == down("a", "b", "c")


async def test_group_at_the_same_time() -> None:
    """Those of one group are all begun, in order, before one of them is up; and all asked to stop before one has gone."""
    log: list[str] = []
    waits = [Waiting() for _ in range(3)]
    leaves = [Waiting() for _ in range(3)]
    needs = [Unit(str(n), log, set_up=waits[n], tear_down=leaves[n]) for n in range(3)]
    a = Unit("a", log, needs=[needs])
    async with anyio.create_task_group() as group:
        group.start_soon(a.life.start)
        for wait in waits:
            await wait.reached.wait()
        assert log == [
            "a.first",
            *(f"{n}.{step}" for n in range(3) for step in ("first", "set_up")),
        ]
        for wait in reversed(waits):
            await settle()
            assert "a.set_up" not in log
            wait.go_on.set()
    log.clear()
    async with anyio.create_task_group() as group:
        group.start_soon(a.life.stop)
        for leave in leaves:
            await leave.reached.wait()
        assert log == ["a.tear_down", "a.farewell", *(f"{n}.tear_down" for n in (2, 1, 0))]
        for leave in leaves:
            leave.go_on.set()


async def test_named_twice() -> None:
    """What is named twice, in one group or in two, counts once, where it is named first."""
    log: list[str] = []
    b, c = Unit("b", log), Unit("c", log)
    a = Unit("a", log, needs=[[b, b], [c, b], []])
    await a.life.start()
    assert log.index("b.ready") < log.index("c.first")
    assert log.count("b.set_up") == 1
    await a.life.stop()
    assert b.state == c.state == "stopped"


async def test_asked_anew_at_each_start() -> None:
    """What a unit needs is asked at each start, and never in between."""
    log: list[str] = []
    b, c = Unit("b", log), Unit("c", log)
    a = Unit("a", log, needs=[[b]])
    await a.life.start()
    a.needed = [[c]]
    await a.life.stop()
    assert (b.state, c.state) == ("stopped", "new")
    await a.life.start()
    assert (b.state, c.state) == ("stopped", "running")
    await a.life.stop()
    assert c.state == "stopped"


async def test_needs_that_can_not_be_told() -> None:
    """If asking for the needs fails, the start does, and nothing has been set up."""
    log: list[str] = []
    a = Unit("a", log)

    def broken() -> Iterator[list[Unit]]:
        raise ValueError("no needs")
        yield []

    a.needed = broken()
    with pytest.raises(ValueError, match="no needs"):
        await a.life.start()
    assert log == ["a.first"]


# --- Shared ---------------------------------------------------------------------------------------


async def test_shared() -> None:
    """What two need is started once, before the first of them, and stopped once, after the last."""
    log: list[str] = []
    units = diamond(log)
    top = Unit("top", log, units["one"], units["two"])
    await top.life.start()
    assert log.count("base.set_up") == 1
    assert log.index("base.ready") < log.index("one.set_up")
    log.clear()
    await units["one"].life.stop()
    assert units["base"].state == "running"
    await units["two"].life.stop()
    assert units["base"].state == "stopped"
    assert log == [*down("one"), *down("two", "base")]
    await units["one"].life.start()
    assert units["base"].state == "running"
    await top.life.stop()
    assert_over([top, *units.values()])


@pytest.mark.parametrize("at_once", [True, False])
async def test_shared_by_needs(at_once: bool) -> None:
    """The same, where the two are needed in turn."""
    log: list[str] = []
    units = diamond(log)
    one, two = units["one"], units["two"]
    top = Unit("top", log, needs=[[one, two]] if at_once else [[one], [two]])
    async with top.life.block():
        assert log.count("base.set_up") == 1
        log.clear()
    assert log[-2:] == down("base")
    assert log.count("base.tear_down") == 1


@REPEAT
async def test_deep_and_shared_does_not_deadlock(attempt: int) -> None:
    """What is shared at several depths, by users that come and go in any order, is hosted where it outlives them all."""
    log: list[str] = []
    base = Unit("base", log)
    middle = [Unit(f"m{n}", log, needs=[[base]]) for n in range(3)]
    upper = [
        Unit(f"u{n}", log, needs=[[base, middle[n]], [middle[(n + 1) % 3]]]) for n in range(3)
    ]
    top = Unit("top", log, Unit("side", log, needs=[[middle[0], base]]), needs=[upper])
    with anyio.fail_after(5):
        async with top.life.block():
            await settle()
    assert log.count("base.set_up") == log.count("base.farewell") == 1
    assert log[-1] == "base.farewell"
    check([top, base, *middle, *upper], log)


async def test_hosted_at_the_root() -> None:
    """Whoever asks for it, a need belongs to the root of the tree; its users are above it."""
    log: list[str] = []
    units = diamond(log)
    branch = Unit("branch", log, units["one"])
    top = Unit("top", log, branch, units["two"])
    await top.life.start()
    base = units["base"].run
    assert base.parent is top.run
    assert list(base.above) == [units["one"].run, units["two"].run]
    assert list(base.lineage())[:3] == [base, *base.above]
    assert base.root is top.run
    assert base in top.run.tree()
    assert base not in top.run.subtree()
    await branch.life.stop()
    assert list(base.above) == [units["two"].run]
    await top.life.stop()


# --- At the same instant --------------------------------------------------------------------------


@REPEAT
async def test_two_start_at_the_same_moment(attempt: int) -> None:
    """Two that start together start what they share once, and both wait for it."""
    log: list[str] = []
    wait = Waiting()
    units = diamond(log, base={"set_up": wait})
    top = Unit("top", log, needs=[[units["one"], units["two"]]])
    async with anyio.create_task_group() as group:
        group.start_soon(top.life.start)
        await wait.reached.wait()
        await settle()
        assert "one.set_up" not in log
        assert "two.set_up" not in log
        assert len(units["base"].run.above) == 2
        wait.go_on.set()
    assert log.count("base.set_up") == 1
    await top.life.stop()
    assert log[-2:] == down("base")


@REPEAT
async def test_its_start_fails_for_both(attempt: int) -> None:
    """If its start fails, it fails for all who wait for it, with the same exception; and all can be started again."""
    log: list[str] = []
    error = OSError("no base")
    wait = Waiting(raising(error))
    units = diamond(log, base={"set_up": wait})
    top = Unit("top", log, needs=[[units["one"], units["two"]]])
    async with anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises(OSError, match="no base") as caught:
                await top.life.start()
            assert caught.value is error

        group.start_soon(start)
        await wait.reached.wait()
        await settle()
        wait.go_on.set()
    assert units["one"].run.start_error is units["two"].run.start_error is error
    assert log.count("base.set_up") == 1
    assert not {"one.set_up", "two.set_up", "top.set_up"} & set(log)
    units["base"].steps.clear()
    log.clear()
    await top.life.start()
    await top.life.stop()
    assert log[-2:] == down("base")
    assert_over([top, *units.values()])


@REPEAT
async def test_its_start_fails_at_once(attempt: int) -> None:
    """If its start has failed before the second has joined, that one fails with the same exception, and begins nothing."""
    log: list[str] = []
    error = OSError("no base")
    units = diamond(log, base={"set_up": raising(error)})
    top = Unit("top", log, needs=[[units["one"], units["two"]]])
    with pytest.raises(OSError, match="no base") as caught:
        await top.life.start()
    assert caught.value is error
    assert units["one"].run.start_error is error
    late = units["two"].run.start_error
    assert late in {None, error} or isinstance(late, StartAborted)
    assert log.count("base.set_up") == 1
    assert not {"one.set_up", "two.set_up", "top.set_up"} & set(log)
    assert_over([top, *units.values()])


async def test_one_is_called_off_while_the_other_waits() -> None:
    """If one of two who wait is stopped, the start of what they share goes on for the other."""
    log: list[str] = []
    wait = Waiting()
    units = diamond(log, base={"set_up": wait})
    top = Unit("top", log)
    await top.life.start()
    async with anyio.create_task_group() as group:
        errors: list[BaseException] = []

        async def start(unit: Unit) -> None:
            top.life.add_child(unit.life)
            try:
                await unit.life.start()
            except StartAborted as exc:
                errors.append(exc)

        group.start_soon(start, units["one"])
        await wait.reached.wait()
        group.start_soon(start, units["two"])
        await settle()
        await units["one"].life.stop()
        assert units["base"].state == "starting"
        wait.go_on.set()
    assert len(errors) == 1
    assert units["two"].state == units["base"].state == "running"
    assert log.count("base.set_up") == 1
    await units["two"].life.stop()
    assert units["base"].state == "stopped"
    await top.life.stop()


async def test_the_last_who_waits_is_called_off() -> None:
    """With the last who waits for it, the start of a need is called off and undone, before that one's stop is over."""
    log: list[str] = []
    units = diamond(log, base={"ready": hanging})
    with anyio.move_on_after(0.1):
        await units["one"].life.start()
    assert log == ["one.first", "base.first", "base.set_up", "base.ready", *down("base")]
    assert_over(units.values())
    units["base"].steps.clear()
    await units["one"].life.start()
    await units["one"].life.stop()


async def test_wanted_while_it_goes() -> None:
    """Who needs what is on its way down waits for its end, and begins it anew."""
    log: list[str] = []
    wait = Waiting()
    units = diamond(log, base={"farewell": wait})
    top = Unit("top", log, units["one"])
    await top.life.start()
    top.life.add_child(units["two"].life)
    former = units["base"].run
    async with anyio.create_task_group() as group:
        group.start_soon(units["one"].life.stop)
        await wait.reached.wait()
        group.start_soon(units["two"].life.start)
        await settle()
        assert units["base"].run is former
        assert "two.set_up" not in log
        wait.go_on.set()
    assert units["base"].run is not former
    assert list(units["base"].run.above) == [units["two"].run]
    await top.life.stop()
    assert units["base"].state == "stopped"


async def test_taken_up_again_while_the_last_waits_for_others() -> None:
    """What is begun anew while its former user still waits for others of its group is stopped when the new one goes."""
    log: list[str] = []
    wait = Waiting()
    slow, base = Unit("slow", log, farewell=wait), Unit("base", log)
    one = Unit("one", log, needs=[[base, slow]])
    two = Unit("two", log, needs=[[base]])
    top = Unit("top", log, one)
    await top.life.start()
    top.life.add_child(two.life)
    async with anyio.create_task_group() as group:
        group.start_soon(one.life.stop)
        await wait.reached.wait()
        await two.life.start()
        assert base.state == "running"
        await two.life.stop()
        assert base.state == "stopped"
        wait.go_on.set()
    await top.life.stop()


@REPEAT
async def test_one_goes_as_the_other_comes(attempt: int) -> None:
    """Users that come and go in the same instants always find it up, and leave it down."""
    log: list[str] = []
    units = diamond(log, base={"set_up": lambda _: anyio.sleep(0.001)})
    for name in ("one", "two"):

        async def look(unit: Unit) -> None:
            assert units["base"].state == "running"
            await anyio.sleep(0)

        units[name].steps = doing({"set_up": look, "farewell": look})
    top = Unit("top", log, units["one"], units["two"])
    await top.life.start()

    async def come_and_go(unit: Unit) -> None:
        for _ in range(5):
            await unit.life.stop()
            await anyio.sleep(0)
            await unit.life.start()

    async with anyio.create_task_group() as group:
        for name in ("one", "two"):
            group.start_soon(come_and_go, units[name])
    await top.life.stop()
    assert not top.run.failures
    assert_over([top, *units.values()])


# --- Starts that fail -----------------------------------------------------------------------------


async def test_first_failure_of_a_group() -> None:
    """The first failure in a group calls off the others at once; what is up is stopped, and nothing else was begun."""
    log: list[str] = []
    error = OSError("b")
    wait = Waiting(raising(error))
    up_by_then = Unit("up", log)
    bad = Unit("bad", log, set_up=wait)
    slow = Unit("slow", log, set_up=hanging)
    before, never = Unit("before", log), Unit("never", log)
    a = Unit("a", log, needs=[[before], [up_by_then, bad, slow], [never]])
    async with anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises(OSError, match="b") as caught:
                await a.life.start()
            assert caught.value is error

        group.start_soon(start)
        await wait.reached.wait()
        await settle()
        wait.go_on.set()
    assert log[-4:] == [*down("up"), *down("before")]
    assert not {"a.set_up", "never.first"} & set(log)
    check([a, up_by_then, bad, slow, before, never], log)


async def test_the_others_do_not_wait_for_the_undoing() -> None:
    """The others are called off when the first has failed, not when that has been undone."""
    log: list[str] = []
    undoing = Waiting()
    bad = Unit("bad", log, ready=raising(OSError("bad")), tear_down=undoing)
    slow = Unit("slow", log, ready=hanging)
    a = Unit("a", log, needs=[[slow, bad]])
    async with anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises(OSError, match="bad"):
                await a.life.start()

        group.start_soon(start)
        await undoing.reached.wait()
        await settle()
        assert slow.state == "stopped"
        assert a.state == "stopping"
        undoing.go_on.set()
    assert "a.set_up" not in log


async def test_a_failed_start_counts_right() -> None:
    """After a start that failed, what it needed is stopped by the next stop: the count is as if that start had not been."""
    log: list[str] = []
    base = Unit("base", log)
    bad = Unit("bad", log, set_up=raising(OSError("bad")))
    late = Unit("late", log, needs=[[base]])
    a = Unit("a", log, needs=[[bad], [late], [base]])
    for _ in range(2):
        with pytest.raises(OSError, match="bad"):
            await a.life.start()
    assert base.state == late.state == "new"
    bad.steps.clear()
    await a.life.start()
    assert {unit.state for unit in (a, base, bad, late)} == {"running"}
    await a.life.stop()
    assert {unit.state for unit in (a, base, bad, late)} == {"stopped"}


async def test_own_set_up_fails() -> None:
    """If the unit itself fails to start, its needs are stopped before the error leaves."""
    log: list[str] = []
    b = Unit("b", log)
    a = Unit("a", log, needs=[[b]], set_up=raising(OSError("a")))
    with pytest.raises(OSError, match="a"):
        await a.life.start()
    assert log[-2:] == down("b")


async def test_it_is_stopped_while_it_starts() -> None:
    """If somebody stops it while it starts, the start of who needs it fails with that."""
    log: list[str] = []
    wait = Waiting()
    b = Unit("b", log, set_up=wait)
    a = Unit("a", log, needs=[[b]])
    async with anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises(StartAborted, match="b was stopped"):
                await a.life.start()

        group.start_soon(start)
        await wait.reached.wait()
        await b.life.stop()
    assert a.state == "stopped"


async def test_it_is_restarted_while_it_starts() -> None:
    """If somebody restarts it while it starts, who needs it waits for the new start."""
    log: list[str] = []
    wait = Waiting()
    b = Unit("b", log, set_up=wait)
    a = Unit("a", log, needs=[[b]])
    async with anyio.create_task_group() as group:
        group.start_soon(a.life.start)
        await wait.reached.wait()
        b.steps.clear()
        await b.life.restart()
    assert a.state == b.state == "running"
    await a.life.stop()
    assert b.state == "stopped"


# --- Failures -------------------------------------------------------------------------------------


@REPEAT
async def test_its_failure_reaches_all_who_need_it(attempt: int) -> None:
    """Its failure crashes all its users and those above; it leaves as raised, and each user stops before it."""
    log: list[str] = []
    error = OSError("base fails")
    units = diamond(log)
    other = Unit("other", log)
    top = Unit("top", log, units["one"], units["two"], other)
    with pytest.raises(OSError, match="base fails") as caught:
        async with top.life.block():
            log.clear()
            units["base"].begin(raising(error))
            await anyio.sleep_forever()
    assert caught.value is error
    assert log == [
        "base:task",
        "top.tear_down",
        *down("other", "two", "one", "base"),
        "top.farewell",
    ]
    assert all(unit.run.crash_reason is error for unit in (top, *units.values()))
    assert other.run.crash_reason is None
    assert top.run.failures == [error]
    for unit in (top, units["one"], units["two"]):
        assert unit.failed == []
    assert units["base"].failed == [(error, "task", "crash")]


async def test_a_user_fails() -> None:
    """The failure of a user is none of the need's: that goes on until its turn, and is not marked as crashed."""
    log: list[str] = []
    error = OSError("one fails")
    units = diamond(log)
    top = Unit("top", log, units["one"], units["two"])
    with pytest.raises(OSError, match="one fails"):
        async with top.life.block():
            log.clear()
            units["one"].begin(raising(error))
            await anyio.sleep_forever()
    assert log[1:] == ["top.tear_down", *down("two", "one", "base"), "top.farewell"]
    assert units["base"].run.crash_reason is None
    assert (
        units["base"].run.alarm is error
    )  # it is told all the same that nobody should go on working


async def test_it_fails_while_a_user_starts() -> None:
    """A need that fails while a user is setting up makes that start fail, as it was raised."""
    log: list[str] = []
    error = OSError("b fails")
    b = Unit("b", log)
    a = Unit("a", log, needs=[[b]], set_up=Waiting())
    async with anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises(OSError, match="b fails") as caught:
                await a.life.start()
            assert caught.value is error

        group.start_soon(start)
        while "a.set_up" not in log:
            await anyio.sleep(0)
        b.begin(raising(error))
    assert log[-2:] == down("b")
    check([a, b], log)


async def test_it_fails_while_the_last_user_stops() -> None:
    """A need that fails while its last user is stopping is what went wrong in that stop."""
    log: list[str] = []
    error = OSError("b fails")

    async def fail(unit: Unit) -> None:
        b.begin(raising(error))
        await settle()

    b = Unit("b", log)
    a = Unit("a", log, needs=[[b]], tear_down=fail)
    await a.life.start()
    with pytest.raises(OSError, match="b fails") as caught:
        await a.life.stop()
    assert caught.value is error
    assert log[-4:] == ["b:task", "a.farewell", *down("b")]


async def test_it_fails_while_one_of_two_stops() -> None:
    """A need that fails while one user is stopping crashes the other."""
    log: list[str] = []
    error = OSError("base fails")
    wait = Waiting()
    units = diamond(log, one={"tear_down": wait})
    top = Unit("top", log, units["one"], units["two"])
    with pytest.raises(OSError, match="base fails"):
        async with top.life.block(), anyio.create_task_group() as group:
            group.start_soon(units["one"].life.stop)
            await wait.reached.wait()
            units["base"].begin(raising(error))
            while units["two"].run.crash_reason is None:
                await anyio.sleep(0)
            wait.go_on.set()  # pragma: no cover - it is known at once, most often
    assert units["two"].run.crash_reason is error
    assert units["one"].run.crash_reason is None


async def test_its_stop_fails() -> None:
    """What goes wrong in its stop leaves the stop of its last user; the first user's stop is none of it."""
    log: list[str] = []
    units = diamond(log, base={"tear_down": raising(OSError("no way down"))})
    top = Unit("top", log, units["one"], units["two"])
    await top.life.start()
    await units["one"].life.stop()
    with pytest.raises(OSError, match="no way down"):
        await units["two"].life.stop()
    await top.life.stop()


class Dealing(Unit):
    """A unit that deals with failures of its children: it restarts them."""

    def on_child_failed(self, child: object, exc: BaseException) -> bool:
        assert isinstance(child, Unit)
        child.life.request_restart()
        return True


@REPEAT
async def test_users_below_one_that_deals_with_failures(attempt: int) -> None:
    """If all users are restarted when it fails, it is restarted with them, once, and nobody else is touched."""
    log: list[str] = []
    units = diamond(log)
    other = Unit("other", log)
    middle = Dealing("middle", log, units["one"], units["two"])
    top = Unit("top", log, middle, other)
    async with top.life.block():
        log.clear()
        former = units["base"].run
        units["base"].begin(raising(OSError("base fails")))
        while units["base"].run is former or not all(
            unit.state == "running" for unit in units.values()
        ):
            await anyio.sleep(0)
        assert former.finished.is_set()
        assert log.count("base.set_up") == 1
        assert log.index("base.farewell") > max(
            log.index("one.farewell"), log.index("two.farewell")
        )
        assert log.index("base.set_up") < min(log.index("one.set_up"), log.index("two.set_up"))
        assert top.run.crash_reason is None
        assert "other.tear_down" not in log
    assert units["base"].state == "stopped"


async def test_restart_of_a_user() -> None:
    """A user that restarts takes along what it alone needs; what others need goes on."""
    log: list[str] = []
    shared, own = Unit("shared", log), Unit("own", log)
    one = Unit("one", log, needs=[[shared], [own]])
    two = Unit("two", log, needs=[[shared]])
    top = Unit("top", log, one, two)
    await top.life.start()
    log.clear()
    await one.life.restart()
    assert log == [
        *down("one", "own"),
        *("one.renew", "own.set_up", "own.ready", "one.set_up", "one.ready"),
    ]
    assert list(shared.run.above) == [two.run, one.run]
    await top.life.stop()
    assert shared.state == own.state == "stopped"


# --- By hand --------------------------------------------------------------------------------------


async def test_stopped_and_restarted_by_hand() -> None:
    """Who stops or restarts a need by hand takes it from its users, as with a child; they notice nothing."""
    log: list[str] = []
    units = diamond(log)
    top = Unit("top", log, units["one"])
    await top.life.start()
    top.life.add_child(units["two"].life)
    await units["base"].life.restart()
    assert list(units["base"].run.above) == [units["one"].run]
    await units["base"].life.stop()
    assert units["one"].state == "running"
    await units["two"].life.start()  # which starts it again
    assert list(units["base"].run.above) == [units["one"].run, units["two"].run]
    await units["two"].life.stop()
    assert units["base"].state == "running"
    await top.life.stop()
    assert units["base"].state == "stopped"


async def test_a_failed_restart_by_hand_crashes_the_users() -> None:
    """If nobody waits for a restart of a need and it fails, that is a crash of its users."""
    log: list[str] = []
    b = Unit("b", log)
    a = Unit("a", log, needs=[[b]])
    with pytest.raises(OSError, match="not again"):
        async with a.life.block():
            b.steps["set_up"] = raising(OSError("not again"))
            b.life.request_restart()
            await anyio.sleep_forever()
    assert a.run.crash_reason is not None


async def test_let_go_while_it_is_restarted_by_hand() -> None:
    """A restart of a need is called off when its last user lets go of it; nothing is begun for nobody."""
    log: list[str] = []
    leave = Waiting()
    b = Unit("b", log, tear_down=leave)
    a = Unit("a", log, needs=[[b]])
    top = Unit("top", log, a)
    await top.life.start()
    async with anyio.create_task_group() as group:

        async def restart() -> None:
            with pytest.raises(StartAborted):
                await b.life.restart()

        group.start_soon(restart)
        await leave.reached.wait()
        group.start_soon(a.life.stop)
        await settle()
        leave.go_on.set()
    assert b.state == a.state == "stopped"
    assert top.run.tree() == [top.run]
    await top.life.stop()


async def test_stop_from_the_hooks_and_tasks_of_a_need() -> None:
    """A hook of a need may stop its user and goes on; a task of it is cancelled as part of that."""
    log: list[str] = []

    async def stop_user(unit: Unit) -> None:
        await a.life.stop()
        log.append("returned")

    b = Unit("b", log, tear_down=stop_user)
    a = Unit("a", log, needs=[[b]])
    await a.life.start()
    log.clear()
    b.begin(stop_user)
    while a.state != "stopped":
        await anyio.sleep(0)
    assert log == ["b:task", *down("a"), "b.tear_down", "returned", "b.farewell"]


# --- Refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 2, 3])
async def test_circles(length: int) -> None:
    """What needs itself in the end can't be started; the error says so, and all is undone."""
    log: list[str] = []
    units = [Unit(str(n), log) for n in range(length)]
    for n, unit in enumerate(units):
        unit.needed = [[units[(n + 1) % length]]]
    with pytest.raises(LifecycleError, match="no circles"):
        await units[0].life.start()
    check(units, log)


@REPEAT
async def test_circle_of_two_that_start_together(attempt: int) -> None:
    """Two that need each other, and are started at the same moment, are found out, and not waited for for ever."""
    log: list[str] = []
    one, two = Unit("one", log), Unit("two", log)
    one.needed, two.needed = [[two]], [[one]]
    top = Unit("top", log, needs=[[one, two]])
    with anyio.fail_after(5), pytest.raises(LifecycleError, match="no circles"):
        await top.life.start()
    check([top, one, two], log)


async def test_needs_its_parent() -> None:
    """A child can't need what is above it."""
    log: list[str] = []
    child = Unit("child", log)
    parent = Unit("parent", log, child)
    child.needed = [[parent]]
    with pytest.raises(LifecycleError, match="no circles"):
        await parent.life.start()


async def test_a_child_can_not_be_needed() -> None:
    """What was added to one can't be needed by another, whether it runs or not."""
    log: list[str] = []
    child = Unit("child", log)
    parent = Unit("parent", log, child)
    a = Unit("a", log, needs=[[child]])
    with pytest.raises(LifecycleError, match=r"child can't be started for a.*added to parent"):
        await a.life.start()
    await parent.life.start()
    with pytest.raises(LifecycleError, match=r"child can't be started for a.*added to parent"):
        await a.life.start()
    await parent.life.stop()


async def test_what_is_needed_can_not_be_added() -> None:
    """What runs because it is needed can't be added as a child, not even to the root."""
    log: list[str] = []
    b = Unit("b", log)
    a = Unit("a", log, needs=[[b]])
    async with a.life.block():
        for life in (a.life, Unit("c", log).life):
            with pytest.raises(LifecycleError, match="it already runs for a"):
                life.add_child(b.life)
        with pytest.raises(
            LifecycleError, match="b can't be started: it is running already, for a"
        ):
            await b.life.start()


async def in_a_block(life: Life, use: Callable[[], Awaitable[None]]) -> None:
    async with life.block():
        await use()


async def bare(life: Life, use: Callable[[], Awaitable[None]]) -> None:
    await life.start()
    await use()
    await life.stop()


async def for_another_tree(life: Life, use: Callable[[], Awaitable[None]]) -> None:
    other = Unit("other", [])
    assert isinstance(life.unit, Unit)
    other.needed = [[life.unit]]
    async with other.life.block():
        await use()


@pytest.mark.parametrize("own", [in_a_block, bare, for_another_tree])
async def test_what_runs_in_another_tree(own: Any) -> None:
    """What runs in a tree of its own, or of another, can't be needed here; it goes on there unharmed."""
    log: list[str] = []
    b = Unit("b", log)
    a = Unit("a", log, needs=[[b]])

    async def use() -> None:
        with pytest.raises(LifecycleError, match=r"b can't be started for a.*put them under one"):
            await a.life.start()
        assert b.state == "running"

    await own(b.life, use)
    assert b.state == "stopped"
    await a.life.start()
    await a.life.stop()


async def test_in_a_block_whose_run_is_over() -> None:
    """While a block is not left, what it owns belongs to it, also if it does not run."""
    log: list[str] = []
    b = Unit("b", log)
    a = Unit("a", log, needs=[[b]])
    async with b.life.block():
        await b.life.stop()
        with pytest.raises(LifecycleError, match="in a block of its own"):
            await a.life.start()


async def test_in_another_thread(fresh_loop: dict[str, Any]) -> None:
    """What runs on another event loop can't be needed on this one."""
    log: list[str] = []
    b = Unit("b", log)
    a, other = Unit("a", log, needs=[[b]]), Unit("other", log, needs=[[b]])

    async def need_it_too() -> None:
        with pytest.raises(EventLoopMismatch, match="b was called outside the event loop"):
            await other.life.start()

    async with a.life.block():
        await anyio.to_thread.run_sync(lambda: anyio.run(need_it_too, **fresh_loop))
    assert other.state == "stopped"


# --- By force -------------------------------------------------------------------------------------


async def test_too_slow() -> None:
    """The time of a stop counts for the needs too: past it they are cut short, and named with their stacks."""
    log: list[str] = []
    b = Unit("b", log, tear_down=hanging)
    a = Unit("a", log, needs=[[b]])
    a.stop_timeout = 0.05
    await a.life.start()
    with pytest.raises(ShutdownTimeout) as caught:
        await a.life.stop()
    assert [(stuck.owner, stuck.task) for stuck in caught.value.stuck] == [("b", "tear_down")] or [
        (stuck.owner) for stuck in caught.value.stuck
    ] == ["b"]
    assert log[-3:] == ["a.farewell", *down("b")]


async def test_order_under_force() -> None:
    """Under a hard cancel too, each user is done before what it needs."""
    log: list[str] = []
    units = diamond(log, one={"tear_down": hanging}, base={"tear_down": hanging})
    top = Unit("top", log, units["one"], units["two"])
    top.stop_timeout = 0.05
    await top.life.start()
    log.clear()
    with pytest.raises(ShutdownTimeout):
        await top.life.stop()
    assert log == ["top.tear_down", *down("two", "one", "base"), "top.farewell"]
    assert not units["base"].run.subtree()[1:]


async def test_hard_cancel_of_one_user() -> None:
    """A hard cancel of one user leaves alone what others use."""
    log: list[str] = []
    units = diamond(log)
    top = Unit("top", log, units["one"], units["two"])
    await top.life.start()
    units["one"].life.kill()
    await units["one"].run.finished.wait()
    assert units["base"].state == units["two"].state == "running"
    await top.life.stop()


async def test_cancelled_from_outside() -> None:
    """A cancellation of the block is an orderly stop, of needs too."""
    log: list[str] = []
    units = diamond(log)
    top = Unit("top", log, needs=[[units["one"], units["two"]]])
    with anyio.move_on_after(0.05) as scope:
        async with top.life.block():
            log.clear()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert log[:2] == down("top")
    assert log[-2:] == down("base")


# --- Depth ----------------------------------------------------------------------------------------


async def test_long_chain() -> None:
    """A chain of needs may be long: nothing recurses, and no scope is nested in another."""
    log: list[str] = []
    units = [Unit("0", log)]
    for n in range(1, 300):
        units.append(Unit(str(n), log, needs=[[units[-1]]]))
    told: list[object] = []
    unsubscribe = subscribe(
        lambda event: told.append(event) if isinstance(event, Starting) else None
    )
    error = OSError("the first")
    with pytest.raises(OSError, match="the first"):
        async with units[-1].life.block():
            units[0].begin(raising(error))
            await anyio.sleep_forever()
    unsubscribe()
    assert len(told) == 300
    assert [line for line in log if line.endswith("farewell")] == [
        f"{n}.farewell" for n in reversed(range(300))
    ]
    assert_over(units)
