"""What asyncio cancels before its first step, where several are begun at once: nothing hangs, and nothing is dropped."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from structmode.exceptions import StartAborted

from .kinds import KINDS, backend_of
from .unit import Unit

OF_BOTH_KINDS = pytest.mark.parametrize("as_needs", [True, False])


@pytest.fixture(scope="module", params=KINDS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The backends that have such a thing."""
    return backend_of(request.param)


def beginning(log: list[str], as_needs: bool) -> tuple[Unit, list[Unit]]:
    """Make a unit that begins three others at the same time: what it needs, or its children."""
    others = [Unit(label, log) for label in ("one", "two", "three")]
    top = Unit("top", log, needs=[others] if as_needs else ())
    if not as_needs:
        for other in others:
            top.life.add_child(other.life, together=top)
    return top, others


@OF_BOTH_KINDS
@pytest.mark.parametrize("victim", ["one", "two", "three"])
async def test_one_of_several(as_needs: bool, victim: str) -> None:
    """If one of those that are begun together is cancelled then, the start fails with that, and may be done again."""
    log: list[str] = []
    top, others = beginning(log, as_needs)
    task = asyncio.create_task(top.life.start())
    while not (found := [t for t in asyncio.all_tasks() if t.get_name() == victim]):
        await asyncio.sleep(0)
    found[0].cancel()
    with anyio.fail_after(5), pytest.raises(StartAborted) as caught:
        await task
    assert caught.value.label == victim
    assert f"{victim}.first" not in log
    assert {unit.state for unit in (top, *others)} <= {"new", "stopped"}
    await top.life.start()
    assert {unit.state for unit in (top, *others)} == {"running"}
    await top.life.stop()


@OF_BOTH_KINDS
@pytest.mark.parametrize("begun", ["one", "two", "three"])
async def test_who_begins_them(as_needs: bool, begun: str) -> None:
    """If the one that begins the others is cancelled then, that is a stop: what has begun is undone, and nothing fails."""
    log: list[str] = []
    top, others = beginning(log, as_needs)
    task = asyncio.create_task(top.life.start())
    while not any(t.get_name() == begun for t in asyncio.all_tasks()):
        await asyncio.sleep(0)
    (beginner,) = [t for t in asyncio.all_tasks() if t.get_name() == "top"]
    beginner.cancel()
    with anyio.fail_after(5), pytest.raises(StartAborted) as caught:
        await task
    assert caught.value.label == "top"
    assert f"{begun}.first" in log
    assert {unit.state for unit in (top, *others)} <= {"new", "stopped"}
    for unit in (top, *others):
        assert unit.run.failures == []
        assert log.count(f"{unit.label}.set_up") == log.count(f"{unit.label}.farewell")
    await top.life.start()
    assert {unit.state for unit in (top, *others)} == {"running"}
    await top.life.stop()


@OF_BOTH_KINDS
@pytest.mark.parametrize("checkpoints", range(12))
def test_end_while_they_are_begun(
    fresh_loop: dict[str, Any], as_needs: bool, checkpoints: int
) -> None:
    """If the event loop ends while several are begun, all that was begun is undone."""
    log: list[str] = []
    top, others = beginning(log, as_needs)

    async def main() -> None:
        _ = asyncio.get_running_loop().create_task(top.life.start())
        for _ in range(checkpoints):
            await anyio.lowlevel.checkpoint()

    anyio.run(main, **fresh_loop)
    assert {unit.state for unit in (top, *others)} <= {"new", "stopped"}
    for unit in (top, *others):
        assert log.count(f"{unit.label}.set_up") == log.count(f"{unit.label}.farewell")
