"""How long stop() waits for a tree that unwinds after its kill, on a virtual clock: what matters is that it goes on."""

from __future__ import annotations

from typing import Any, Literal

import anyio
import pytest

from structmode.exceptions import ShutdownTimeout
from structmode.testing import VirtualClock, virtual_backend

from .unit import Unit


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
