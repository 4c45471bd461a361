"""Event loops: a unit belongs to one at a time, and to none when it is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from structmode._engine import Task
from structmode.exceptions import EventLoopMismatch

from .unit import START, STOP, Unit, family


def test_made_without_a_loop() -> None:
    """Making units, adding children and work, and asking for states needs no event loop."""
    units = family([])
    assert {unit.state for unit in units.values()} == {"new"}
    assert not units["a"].life.signal.is_set()
    coroutine = anyio.sleep(0)
    task = units["a"].run.spawn(Task(coroutine, "early"))
    assert not task.done()
    task.discard()
    units["a"].life.kill()


@pytest.mark.parametrize("second", ["asyncio", "trio"])
def test_one_loop_after_another(fresh_loop: dict[str, Any], second: str) -> None:
    """A unit may run on one loop, and later on another, of another kind too."""
    log: list[str] = []
    units = family(log)

    async def main() -> None:
        async with units["a"].life.block():
            await units["a"].life.restart()

    anyio.run(main, **fresh_loop)
    anyio.run(main, backend=second)
    assert log.count("a.set_up") == log.count("a.farewell") == 4


@pytest.mark.parametrize("second", ["asyncio", "trio"])
def test_looked_at_on_one_loop_and_run_on_another(fresh_loop: dict[str, Any], second: str) -> None:
    """A unit that was only looked at on one loop, stopped or waited for there, may run on another."""
    log: list[str] = []
    units = family(log)

    async def look() -> None:
        for unit in units.values():
            assert unit.state == "new"
            assert not unit.life.signal.is_set()
            await unit.life.stop()
            with anyio.move_on_after(0):
                await unit.life.signal.wait()

    async def main() -> None:
        async with units["a"].life.block():
            pass

    anyio.run(look, **fresh_loop)
    anyio.run(main, backend=second)
    assert log == [*START, *STOP]


@pytest.mark.parametrize(
    "call",
    [
        lambda unit: unit.life.start(),
        lambda unit: unit.life.maybe_start(),
        lambda unit: unit.life.stop(),
        lambda unit: unit.life.restart(),
        lambda unit: unit.life.block().__aenter__(),
    ],
)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_called_from_another_loop(call: Callable[[Unit], Any], backend: str) -> None:
    """A call from another event loop, in another thread, is refused, and reaches nothing."""
    unit = Unit("a", [])

    async def elsewhere() -> None:
        with pytest.raises(EventLoopMismatch, match="outside the event loop"):
            await call(unit)

    async with unit.life.block():
        await anyio.to_thread.run_sync(lambda: anyio.run(elsewhere, backend=backend))
        assert unit.state == "running"
        assert not unit.run.stop_requested


async def test_child_of_another_loop() -> None:
    """A child can't be started in a parent that runs on another loop."""
    parent, child = Unit("parent", []), Unit("child", [])

    async def elsewhere() -> None:
        for call in (child.life.start, child.life.start_as_child):
            with pytest.raises(EventLoopMismatch):
                await call()

    async with parent.life.block():
        parent.life.add_child(child.life)
        await anyio.to_thread.run_sync(lambda: anyio.run(elsewhere))
        assert child.state == "new"


async def test_called_from_a_worker_thread() -> None:
    """A thread of the loop may call through it, as anyio offers."""
    unit = Unit("a", [])
    await unit.life.start()
    await anyio.to_thread.run_sync(lambda: anyio.from_thread.run(unit.life.restart))
    assert unit.state == "running"
    await anyio.to_thread.run_sync(lambda: anyio.from_thread.run(unit.life.stop))
    assert unit.state == "stopped"
