"""Needs that ignore even the hard cancel: they are given up, and named for as long as they are there, on a virtual clock."""

from __future__ import annotations

from typing import Any, Literal

import anyio
import pytest

from structmode.exceptions import ShutdownTimeout
from structmode.testing import VirtualClock, virtual_backend

from .unit import Unit, stubborn


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The event loops whose time can be virtual."""
    name: Literal["asyncio", "trio"] = request.param
    return name, virtual_backend(name)["backend_options"]


async def stuck_in_stop_of(unit: Unit) -> list[tuple[str, str]]:
    """Ask a unit to stop; return owners and names of what is said to be stuck."""
    with pytest.raises(ShutdownTimeout) as caught:
        await unit.life.stop()
    return [(stuck.owner, stuck.task) for stuck in caught.value.stuck]


async def test_named_when_those_let_go_later_have_ended() -> None:
    """What was given up keeps none of the others from ending; whoever asks then is told of it still."""
    log: list[str] = []
    event = anyio.Event()
    first = Unit("first", log)
    last = Unit("last", log, tear_down=lambda _: stubborn(event))
    a = Unit("a", log, needs=[[first], [last]])
    a.stop_timeout = 0.1
    with VirtualClock():
        await a.life.start()
        try:
            assert await stuck_in_stop_of(a) == [("last", "on_stop")]
            await first.run.finished.wait()
            assert await stuck_in_stop_of(a) == [("last", "on_stop")]
        finally:
            event.set()
        await a.run.finished.wait()
    assert last.state == "stopped"
    assert a.run.tree() == [a.run]
