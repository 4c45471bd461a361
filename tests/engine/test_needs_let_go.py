"""Needs at the instants between two users: who comes while another lets go, after a failure or when all is over."""

from __future__ import annotations

import gc
import weakref

import anyio
import anyio.lowlevel
import pytest

from structmode.exceptions import LifecycleError, StartAborted

from .laws import check
from .unit import Unit, hanging, settle


@pytest.mark.parametrize("turns", range(5))
@pytest.mark.parametrize("as_needs", [True, False])
async def test_who_comes_a_little_later_shares_the_failure(turns: int, as_needs: bool) -> None:
    """However soon the second comes after a start has failed for the first, nobody begins it again for that one alone."""
    for _ in range(10):  # on trio, the order of those who are woken together is left to chance
        await _fail_for_one_and_then_two(turns, as_needs)


async def _fail_for_one_and_then_two(turns: int, as_needs: bool) -> None:
    log: list[str] = []
    error = OSError("no base")
    come, fail = anyio.Event(), anyio.Event()

    async def fail_when_told(unit: Unit) -> None:
        await fail.wait()
        raise error

    async def come_later(unit: Unit) -> None:
        await come.wait()
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()

    base = Unit("base", log, set_up=fail_when_told)
    one = Unit("one", log, needs=[[base]])
    two = Unit("two", log, needs=[[base]], first=come_later)
    top = Unit("top", log, needs=[[one, two]] if as_needs else ())
    if not as_needs:
        for unit in (one, two):
            top.life.add_child(unit.life, together=top)
    async with anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises(OSError, match="no base") as caught:
                await top.life.start()
            assert caught.value is error

        group.start_soon(start)
        await settle()
        come.set()
        fail.set()
    assert log.count("base.first") == 1
    check([top, one, two, base], log)


async def test_who_comes_while_a_start_that_was_called_off_is_undone() -> None:
    """Who needs what somebody has stopped while it started waits until that is undone, and begins it anew."""
    log: list[str] = []
    leaving, left = anyio.Event(), anyio.Event()

    async def leave(unit: Unit) -> None:
        leaving.set()
        await left.wait()

    base = Unit("base", log, ready=hanging, tear_down=leave)
    one, two = (Unit(label, log, needs=[[base]]) for label in ("one", "two"))
    top = Unit("top", log)
    async with top.life.block(), anyio.create_task_group() as group:
        for unit in (one, two):
            top.life.add_child(unit.life)

        async def start() -> None:
            with pytest.raises(StartAborted, match="base was stopped"):
                await one.life.start()

        group.start_soon(start)
        while "base.ready" not in log:
            await anyio.lowlevel.checkpoint()
        base.life.request_stop()
        await leaving.wait()
        base.steps.clear()
        group.start_soon(two.life.start)
        await settle()
        assert two.state == "starting"
        left.set()
        await settle()
        assert base.state == two.state == "running"
        assert one.state == "stopped"
    check([top, one, two, base], log)


async def test_needed_by_who_starts_while_all_fails() -> None:
    """If all above have failed by the time that a need is to be begun, the start fails with that failure, as raised."""
    log: list[str] = []
    error = OSError("all fails")

    async def fail(unit: Unit) -> None:
        top.life.fail(error, "by hand")

    b = Unit("b", log)
    a = Unit("a", log, needs=[[b]], first=fail)
    top = Unit("top", log)
    with pytest.raises(OSError, match="all fails"):
        async with top.life.block():
            top.life.add_child(a.life)
            with pytest.raises(OSError, match="all fails") as caught:
                await a.life.start()
            assert caught.value is error
            assert a.run.failures == [error]
    assert top.run.failures == [error]
    assert b.state == "new"


async def test_needed_by_who_starts_while_all_stops() -> None:
    """If all above are asked to stop before a need is begun, its start says so, and that is all that went wrong."""
    log: list[str] = []

    async def stop(unit: Unit) -> None:
        top.life.request_stop()

    b = Unit("b", log)
    a = Unit("a", log, needs=[[b]], first=stop)
    top = Unit("top", log)
    await top.life.start()
    top.life.add_child(a.life)
    with pytest.raises(LifecycleError, match="b can't be started: its parent top is stopping"):
        await a.life.start()
    await top.run.finished.wait()
    assert a.run.failures == [a.run.start_error]
    assert b.state == "new"


async def test_what_nobody_needs_any_more_is_forgotten() -> None:
    """A tree that goes on keeps nothing of what was needed for a while: it may come and go any number of times."""
    log: list[str] = []
    top = Unit("top", log)
    async with top.life.block():
        base = Unit("base", log)
        user = Unit("user", log, needs=[[base]])
        top.life.add_child(user.life)
        await user.life.start()
        await top.life.remove_child(user.life)
        assert base.state == "stopped"
        gone = [weakref.ref(user), weakref.ref(base)]
        top.released.clear()
        del user, base
        await settle()
        gc.collect()
        assert [ref() for ref in gone] == [None, None]
