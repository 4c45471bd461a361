"""Several who wait for the same restart: who gives up waiting takes nothing from the others."""

from __future__ import annotations

import anyio
import pytest

from .unit import Unit, settle


@pytest.mark.parametrize("staying", [1, 2])
async def test_one_gives_up(staying: int) -> None:
    """If the new start fails, those who wait still have received that: it is no crash, and the owner goes on."""
    log: list[str] = []
    error = OSError("not again")
    fail = anyio.Event()

    async def fail_when_told(unit: Unit) -> None:
        await fail.wait()
        raise error

    received: list[BaseException] = []

    async def restart() -> None:
        with pytest.raises(OSError, match="not again") as caught:
            await unit.life.restart()
        received.append(caught.value)

    unit = Unit("a", log)
    async with unit.life.block(), anyio.create_task_group() as group:
        unit.steps["set_up"] = fail_when_told
        for _ in range(staying):
            group.start_soon(restart)
        with anyio.CancelScope() as scope:
            group.start_soon(_cancel_when_settled, scope)
            await unit.life.restart()
        assert scope.cancelled_caught
        fail.set()
        await settle()
        assert received == [error] * staying
        assert unit.state == "stopped"
        await anyio.sleep(0)  # nobody has cancelled the body
    assert unit.run.crash_reason is None


async def _cancel_when_settled(scope: anyio.CancelScope) -> None:
    await settle()
    scope.cancel()
