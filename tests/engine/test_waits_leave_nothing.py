"""A wait that is given up leaves nothing behind in what it waited for, however often and however long that goes on."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from structmode._engine import StopSignal, all_of, first_of, sleep

from .unit import Unit, hanging

TIMES = 200


async def made_by(wait: Callable[[], Awaitable[Any]]) -> int:
    """Return how many more objects there are after many waits that are given up at once."""

    async def give_up() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await wait()

    await give_up()  # what is made once may stay
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(TIMES):
        await give_up()
    gc.collect()
    return len(gc.get_objects()) - before


@pytest.mark.parametrize(
    "wait",
    [
        StopSignal.wait,
        lambda signal: sleep(signal, 1e6),
        lambda signal: all_of(signal, [anyio.sleep_forever]),
        lambda signal: first_of(signal, [anyio.sleep_forever, anyio.sleep_forever]),
    ],
    ids=["for the signal", "sleep", "for one thing", "for several"],
)
async def test_waits_with_a_signal(wait: Callable[[StopSignal], Awaitable[Any]]) -> None:
    """A signal that is never given does not collect those who have waited with it."""
    signal = StopSignal()
    assert await made_by(lambda: wait(signal)) < TIMES


async def test_waits_for_a_task() -> None:
    """Neither does a task that has not ended collect those who have waited for it."""
    unit = Unit("a", [])
    async with unit.life.block():
        task = unit.begin(hanging)
        assert await made_by(lambda: task) < TIMES
