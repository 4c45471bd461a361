"""What ignores even the hard cancel is left behind: how long those wait who own it, on a virtual clock."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Literal

import anyio
import pytest

from structmode.exceptions import LifecycleError, ShutdownTimeout
from structmode.testing import VirtualClock, virtual_backend

from .unit import Unit, stubborn

SHORT, LONG = 0.1, 1e6


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The event loops whose time can be virtual."""
    name: Literal["asyncio", "trio"] = request.param
    return name, virtual_backend(name)["backend_options"]


async def test_a_child_that_is_busy_leaving_others_behind() -> None:
    """A parent waits on for a child whose time is over, as long as that one goes on from one of its own to the next."""
    log: list[str] = []
    event = anyio.Event()
    stuck = [Unit(f"c{n}", log, tear_down=lambda _: stubborn(event)) for n in range(4)]
    busy, sibling = Unit("b", log, *stuck), Unit("d", log)
    parent = Unit("a", log, sibling, busy)
    for unit in (parent, sibling, *stuck):
        unit.stop_timeout = LONG
    busy.stop_timeout = SHORT

    async def release() -> None:
        while "a.farewell" not in log:
            await anyio.sleep(0.01)
        event.set()

    with VirtualClock():
        await parent.life.start()
        log.clear()
        async with anyio.create_task_group() as group:
            group.start_soon(release)
            with pytest.raises(ShutdownTimeout) as caught:
                await parent.life.stop()
    assert caught.value.label == "b"
    assert log[:2] == ["a.tear_down", "b.tear_down"]
    # Each is told to stop, the youngest first, and only then the sibling: nothing is skipped for one that is stuck.
    order = [line for line in log if line.endswith("tear_down")][2:]
    assert (order[0], order[-1]) == ("c3.tear_down", "d.tear_down")
    assert sorted(order) == sorted(f"{unit.label}.tear_down" for unit in (sibling, *stuck))
    assert {unit.state for unit in (parent, busy, sibling, *stuck)} == {"stopped"}


async def test_a_child_that_is_stuck_itself() -> None:
    """A parent with all the time in the world does not wait for a child whose own time is over, and that is stuck."""
    log: list[str] = []
    event = anyio.Event()
    stuck = Unit("b", log, tear_down=lambda _: stubborn(event))
    sibling = Unit("d", log)
    parent = Unit("a", log, sibling, stuck)
    parent.stop_timeout = sibling.stop_timeout = LONG
    stuck.stop_timeout = SHORT

    async def release() -> None:
        while "a.farewell" not in log:
            await anyio.sleep(0.01)
        event.set()

    with VirtualClock() as clock:
        await parent.life.start()
        async with anyio.create_task_group() as group:
            group.start_soon(release)
            with suppress(ShutdownTimeout):
                await parent.life.stop()
        assert clock.elapsed < 10
    assert log[-3:] == ["d.farewell", "a.farewell", "b.farewell"]


async def test_what_a_stuck_child_runs_is_cancelled() -> None:
    """One that is left behind is killed: what it runs ends at once, though its hook does not."""
    log: list[str] = []
    event = anyio.Event()

    async def work(unit: Unit) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            log.append(f"{unit.label}: cancelled")

    below = Unit("c", log, work={"work": work})
    stuck = Unit("b", log, below, tear_down=lambda _: stubborn(event), work={"work": work})
    parent = Unit("a", log, stuck)
    parent.stop_timeout = below.stop_timeout = LONG
    stuck.stop_timeout = SHORT

    async def release() -> None:
        while "a.farewell" not in log:
            await anyio.sleep(0.01)
        await anyio.sleep(0.01)  # at once is in this instant, be it in its last step
        log.append("released")
        event.set()

    with VirtualClock():
        await parent.life.start()
        async with anyio.create_task_group() as group:
            group.start_soon(release)
            with suppress(ShutdownTimeout):
                await parent.life.stop()
    before = log[: log.index("released")]
    assert {"b: cancelled", "c: cancelled", "c.tear_down", "c.farewell"} <= set(before)


async def test_a_caller_is_not_kept_by_what_is_stuck() -> None:
    """Who called stop() is told in time what is stuck, though that goes on."""
    event = anyio.Event()
    unit = Unit("a", [], tear_down=lambda _: stubborn(event))
    unit.stop_timeout = SHORT
    with VirtualClock() as clock:
        await unit.life.start()
        with pytest.raises(ShutdownTimeout) as caught:
            await unit.life.stop()
        assert clock.elapsed < 10
        assert unit.state == "stopping"
        assert [(stuck.owner, stuck.task) for stuck in caught.value.stuck] == [("a", "on_stop")]
        event.set()
        await unit.run.finished.wait()
    assert unit.state == "stopped"


async def test_a_child_that_takes_its_time() -> None:
    """A child that is slow, but within its time, is neither left behind nor cut short."""
    log: list[str] = []

    async def take_time(unit: Unit) -> None:
        await anyio.sleep(4.5)
        log.append("taken")

    child = Unit("b", log, tear_down=take_time, farewell=take_time)
    parent = Unit("a", log, child)
    child.stop_timeout = parent.stop_timeout = 10.0
    with VirtualClock() as clock:
        await parent.life.start()
        log.clear()
        await parent.life.stop()
        assert clock.elapsed == pytest.approx(9.0, abs=0.1)
    assert log == ["a.tear_down", "b.tear_down", "taken", "b.farewell", "taken", "a.farewell"]


async def test_a_kill_while_a_child_is_waited_for() -> None:
    """Also then a child has some time to end, and its parent comes after it."""
    log: list[str] = []

    async def ignore_for_a_while(unit: Unit) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.5)

    child = Unit("b", log, tear_down=ignore_for_a_while)
    parent = Unit("a", log, child)
    with VirtualClock():
        await parent.life.start()
        async with anyio.create_task_group() as group:
            group.start_soon(parent.life.stop)
            await anyio.sleep(0.1)
            parent.life.kill()
    assert log[-4:] == ["a.tear_down", "b.tear_down", "b.farewell", "a.farewell"]


async def test_a_user_of_a_need_that_is_stuck() -> None:
    """What was needed by one that ignores even the hard cancel is stopped all the same, as the root's last act."""
    log: list[str] = []
    event = anyio.Event()
    need = Unit("n", log)
    stuck = Unit("b", log, needs=[[need]], tear_down=lambda _: stubborn(event))
    root = Unit("a", log, stuck)
    stuck.stop_timeout = SHORT

    with VirtualClock():
        await root.life.start()
        log.clear()
        with suppress(ShutdownTimeout):
            await root.life.stop()
        await root.run.unwound.wait()
        assert log == ["a.tear_down", "b.tear_down", "a.farewell", "n.tear_down", "n.farewell"]
        event.set()
        await root.run.finished.wait()
    assert log[-1] == "b.farewell"
    assert root.run.tree() == [root.run]


async def test_a_need_that_is_stuck() -> None:
    """A need that hangs for good is left behind by its last user, and can't be started for another until it has ended."""
    log: list[str] = []
    event = anyio.Event()
    need = Unit("n", log, tear_down=lambda _: stubborn(event))
    one, two = Unit("b", log, needs=[[need]]), Unit("c", log, needs=[[need]])
    root = Unit("a", log, one)
    need.stop_timeout = SHORT

    with VirtualClock():
        await root.life.start()
        root.life.add_child(two.life)
        try:
            with suppress(ShutdownTimeout):
                await one.life.stop()
            await one.run.finished.wait()
            assert need.run.above == (root.run,)
            with pytest.raises(LifecycleError, match="its last run was given up, and still hangs"):
                await two.life.start()
        finally:
            event.set()
        await need.run.finished.wait()
        await two.life.start()
        assert need.run.above == (two.run,)
        await root.life.stop()
    assert need.state == "stopped"


async def test_what_is_left_of_a_need_is_waited_for() -> None:
    """While something of a need goes on ending, callers of stop() wait, as they do for what is left of a child."""
    log: list[str] = []

    async def slowly(unit: Unit) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(2.4)

    need = Unit("n", log, work={"work": slowly})
    root = Unit("a", log, needs=[[need]])
    root.stop_timeout = SHORT

    with VirtualClock() as clock:
        await root.life.start()
        with pytest.raises(ShutdownTimeout):
            await root.life.stop()
        assert need.run in root.run.subtree()
        assert clock.elapsed < 2  # nothing of it had ended within a grace
        await root.run.finished.wait()
    assert root.run.subtree() == [root.run]
