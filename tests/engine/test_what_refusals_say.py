"""What a refusal says: for whom something runs already, and which call has come from the wrong event loop."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.to_thread
import pytest

from structmode.exceptions import EventLoopMismatch, LifecycleError

from .unit import Unit


async def test_all_who_need_it_are_named() -> None:
    """Who wants what several need for its own is told for whom it runs: all of them, in the order in which they came."""
    log: list[str] = []
    base = Unit("base", log)
    users = [Unit(label, log, needs=[[base]]) for label in ("one", "two", "three")]
    top = Unit("top", log, *users)
    async with top.life.block():
        with pytest.raises(LifecycleError, match="already runs for one and two and three, and a"):
            Unit("other", log).life.add_child(base.life)
        with pytest.raises(LifecycleError, match="running already, for one and two and three"):
            await base.life.start()


@pytest.mark.parametrize("needed", [True, False])
async def test_where_it_runs_already(needed: bool) -> None:
    """Who needs what runs elsewhere is told where: for somebody else, or for nobody."""
    log: list[str] = []
    b = Unit("b", log)
    a, other = (Unit(label, log, needs=[[b]]) for label in ("a", "other"))
    runs_it = other if needed else b
    await runs_it.life.start()
    where = "for other" if needed else "on its own"
    with pytest.raises(
        LifecycleError, match=f"b can't be started for a.*: it runs {where} already"
    ):
        await a.life.start()
    await runs_it.life.stop()


async def test_whose_start_has_come_from_another_loop(fresh_loop: dict[str, Any]) -> None:
    """Whose start on another event loop wants what runs here is told so by both names."""
    log: list[str] = []
    b = Unit("b", log)
    a, other = Unit("a", log, needs=[[b]]), Unit("other", log, needs=[[b]])

    async def need_it_too() -> None:
        said = "^a start for other, which needs it, of b was called outside the event loop"
        with pytest.raises(EventLoopMismatch, match=said):
            await other.life.start()

    async with a.life.block():
        await anyio.to_thread.run_sync(lambda: anyio.run(need_it_too, **fresh_loop))


async def test_what_has_added_a_child_from_another_loop(fresh_loop: dict[str, Any]) -> None:
    """Who has a child started at once, on another event loop than the parent's, finds the call by its public name."""
    parent, child = Unit("parent", []), Unit("child", [])

    async def elsewhere() -> None:
        said = r"^add_runtime_dependency\(\) of parent was called outside the event loop"
        with pytest.raises(EventLoopMismatch, match=said):
            await child.life.start_as_child()

    async with parent.life.block():
        parent.life.add_child(child.life)
        await anyio.to_thread.run_sync(lambda: anyio.run(elsewhere, **fresh_loop))
