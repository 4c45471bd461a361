"""What is owed before a cancellation goes on is done, whatever is cancelled around it."""

from __future__ import annotations

import anyio
import anyio.lowlevel

from structmode._engine import shielded


async def test_work_under_a_shield() -> None:
    """It is done to its end; then the cancellation goes on."""
    done: list[str] = []

    async def work() -> None:
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        done.append("work")

    with anyio.CancelScope() as scope:
        scope.cancel()
        await shielded(work)
        done.append("after it")
        await anyio.lowlevel.checkpoint()
        done.append("never")  # pragma: no cover - it must not come to this
    assert scope.cancelled_caught
    assert done == ["work", "after it"]
