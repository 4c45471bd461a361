"""How the tasks of a run are called, for whoever lists the tasks of an event loop."""

from __future__ import annotations

import anyio

from .unit import Unit, hanging


def names() -> set[str | None]:
    """Return the names of all tasks that run now."""
    return {task.name for task in anyio.get_running_tasks()}


async def test_with_an_owner() -> None:
    """A run's task has the name of its unit, and those in it have their own."""
    before = names()
    unit = Unit("a unit", [], Unit("its child", []), work={"its work": hanging})
    async with unit.life.block():
        assert names() - before == {"a unit", "its child", "its work"}
    assert names() == before


async def test_without_an_owner() -> None:
    """Beside the run's task there is one that looks after it."""
    before = names()
    unit = Unit("a unit", [], work={"its work": hanging})
    await unit.life.start()
    assert names() - before == {"owner of a unit", "a unit", "its work"}
    await unit.life.stop()
