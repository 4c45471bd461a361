"""asyncio's own cancellation of everything, and again before the first has been dealt with: nothing is left of it."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import anyio
import pytest

from structmode._engine import Task

from .kinds import KINDS, backend_of
from .unit import Unit, hanging, settle

Passes: TypeAlias = tuple[int, ...]


@pytest.fixture(scope="module", params=KINDS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The backends that have such a thing."""
    return backend_of(request.param)


async def passes(count: int) -> None:
    """Let the event loop take so many turns."""
    for _ in range(count):
        await asyncio.sleep(0)


async def cancel_all(begin: Callable[[], Awaitable[object]], after: Passes) -> None:
    """Begin something, and cancel every task but this one, again and again, each time after so many turns of the loop."""
    others = asyncio.all_tasks()

    async def main() -> None:
        await begin()

    task = asyncio.create_task(main())
    for count in after:
        await passes(count)
        for one in asyncio.all_tasks() - others:
            one.cancel()
    await asyncio.wait([task], timeout=20)
    assert task.done()
    if not task.cancelled():
        task.exception()  # looked at: a failure of what was cancelled is none of ours


def tree(log: list[str]) -> Unit:
    """Make a tree with work."""
    return Unit("a", log, Unit("b", log, work={"t": hanging}), work={"s": hanging, "t": hanging})


AT_ANY_TIME: list[Passes] = [
    *((first, second) for first in range(14) for second in range(4)),
    *((first, 1, 1, 1) for first in range(6)),
]


async def check(unit: Unit, log: list[str]) -> None:
    """What was set up has been torn down, nothing runs, and the unit may be started again."""
    await unit.life.stop()
    await settle()
    assert not unit.life.alive
    for label in "ab":
        assert log.count(f"{label}.farewell") == log.count(f"{label}.tear_down")
    assert len(unit.run.tasks) == 0
    async with unit.life.block():
        assert unit.state == "running"
    assert unit.state == "stopped"


@pytest.mark.parametrize("after", AT_ANY_TIME)
async def test_bare_start(after: Passes) -> None:
    """So of a start that nobody owns."""
    log: list[str] = []
    unit = tree(log)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ResourceWarning
        )  # it may have started: then the loop stops it
        await cancel_all(unit.life.start, after)
        await check(unit, log)


@pytest.mark.parametrize("after", AT_ANY_TIME)
async def test_block(after: Passes) -> None:
    """So of a block."""
    log: list[str] = []
    unit = tree(log)

    async def hold() -> None:
        async with unit.life.block():
            await anyio.sleep_forever()

    await cancel_all(hold, after)
    await check(unit, log)


@pytest.mark.parametrize("after", AT_ANY_TIME)
async def test_child(after: Passes) -> None:
    """So of a start in a parent that runs: it takes the parent with it."""
    log: list[str] = []
    unit, parent = tree(log), Unit("parent", [])

    async def add() -> None:
        async with parent.life.block():
            parent.life.add_child(unit.life)
            await unit.life.start_as_child()
            await anyio.sleep_forever()

    await cancel_all(add, after)
    assert not parent.life.alive
    parent.life.drop_child(unit.life)
    await check(unit, log)


@pytest.mark.parametrize("after", AT_ANY_TIME)
async def test_work(after: Passes) -> None:
    """So of tasks that have just been begun: each ends, and counts as cancelled, whether it had its first step or not."""
    log: list[str] = []
    unit, begun = tree(log), list[Task[Any]]()

    async def hold() -> None:
        async with unit.life.block():
            begun.extend(unit.begin(hanging, name) for name in "xyz")
            await passes(2)
            begun.extend(unit.begin(hanging, name) for name in "uvw")
            await anyio.sleep_forever()

    await cancel_all(hold, after)
    assert all(task.done() and task.cancelled() for task in begun)
    await check(unit, log)


@pytest.mark.parametrize("late", range(4))
async def test_work_cancelled_one_by_one(late: int) -> None:
    """A task that is cancelled behind one that never began ends as that does, at the latest when the unit stops."""
    unit = Unit("a", [])
    await unit.life.start()
    others = asyncio.all_tasks()
    first, second = unit.begin(hanging, "x"), unit.begin(hanging, "y")
    of_first, of_second = sorted(asyncio.all_tasks() - others, key=asyncio.Task.get_name)
    of_first.cancel()
    await passes(late)
    of_second.cancel()
    await asyncio.wait([of_first, of_second], timeout=20)
    await unit.life.stop()
    assert first.cancelled()
    assert second.cancelled()
    assert unit.run.failures == []
