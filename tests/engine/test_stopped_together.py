"""Children that stop at the same time, as they were added with one mark, while their start is called off."""

from __future__ import annotations

from typing import Any, Literal

import anyio
import pytest

from structmode.exceptions import StartAborted
from structmode.testing import VirtualClock, virtual_backend

from .laws import check
from .unit import Unit, hanging, settle


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The event loops whose time can be virtual."""
    name: Literal["asyncio", "trio"] = request.param
    return name, virtual_backend(name)["backend_options"]


@pytest.mark.parametrize("again", range(5))
async def test_one_comes_up_while_they_are_asked(again: int) -> None:
    """One that comes up meanwhile is left for later; those beside it, still starting, are undone at the same time."""
    log: list[str] = []
    up, undoing = anyio.Event(), anyio.Event()

    async def come_up(unit: Unit) -> None:
        await up.wait()

    async def undo(unit: Unit) -> None:
        undoing.set()

    async def wait_for_the_other(unit: Unit) -> None:
        await undoing.wait()

    first = Unit("first", log, ready=hanging, tear_down=undo)
    second = Unit("second", log, ready=come_up)
    third = Unit("third", log, ready=hanging, tear_down=wait_for_the_other)
    parent = Unit("parent", log)
    for child in (first, second, third):
        parent.life.add_child(child.life, together=parent)

    async def start() -> None:
        with pytest.raises(StartAborted):
            await parent.life.start()

    with VirtualClock():
        async with anyio.create_task_group() as group:
            group.start_soon(start)
            await settle()
            assert third.state == second.state == first.state == "starting"
            parent.run.request_stop()
            up.set()
    assert second.returned[2] == "ready"
    assert log.index("parent.tear_down") < log.index("second.tear_down")
    assert third.run.failures == parent.run.failures == []
    check([parent, first, second, third], log)
