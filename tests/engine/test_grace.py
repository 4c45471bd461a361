"""How long stop() waits for a tree that unwinds after its kill, on a virtual clock: what matters is that it goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
import pytest

from structmode.exceptions import ShutdownTimeout
from structmode.testing import VirtualClock, virtual_backend

from .unit import Act, Unit


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The event loops whose time can be virtual."""
    name: Literal["asyncio", "trio"] = request.param
    return name, virtual_backend(name)["backend_options"]


async def slow(unit: Unit) -> None:
    """Take most of the grace, whatever is cancelled."""
    with anyio.CancelScope(shield=True):
        await anyio.sleep(0.8)


async def test_stop_waits_while_the_tree_unwinds() -> None:
    """As long as one run after the other ends, stop() waits, and raises when all is over."""
    units = [Unit("d", [], farewell=slow)]
    for label in "cba":
        units.append(Unit(label, [], units[-1], farewell=slow))
    top = units[-1]
    top.stop_timeout = 0.1
    with VirtualClock() as clock:
        await top.life.start()
        with pytest.raises(ShutdownTimeout):
            await top.life.stop()
        assert {unit.state for unit in units} == {"stopped"}
        assert clock.elapsed == pytest.approx(4 * 0.8, abs=0.05)


async def test_stop_waits_while_contexts_are_left() -> None:
    """Contexts are left one after the other, and each that has been left is progress."""

    @asynccontextmanager
    async def slowly_left() -> AsyncIterator[None]:
        yield
        await slow(unit)

    async def set_up(unit: Unit) -> None:
        for _ in range(3):
            await unit.run.contexts.enter_async_context(slowly_left())

    unit = Unit("a", [], set_up=set_up)
    unit.stop_timeout = 0.1
    with VirtualClock() as clock:
        await unit.life.start()
        with pytest.raises(ShutdownTimeout):
            await unit.life.stop()
        assert unit.state == "stopped"
        assert clock.elapsed == pytest.approx(3 * 0.8, abs=0.05)


async def test_stop_waits_while_tasks_end() -> None:
    """Tasks that ignore their cancellation end one after the other, and each that has ended is progress."""

    def ending_after(seconds: float) -> Act:
        async def act(unit: Unit) -> None:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(seconds)

        return act

    tasks = {f"t{seconds}": ending_after(seconds) for seconds in (0.9, 1.8, 2.7)}
    unit = Unit("a", [], work=tasks)
    unit.stop_timeout = 0.1
    with VirtualClock() as clock:
        await unit.life.start()
        with pytest.raises(ShutdownTimeout):
            await unit.life.stop()
        assert unit.state == "stopped"
        assert clock.elapsed == pytest.approx(2.7, abs=0.05)
