"""A recursion gone wrong, in what takes too long to stop: the report shows enough of it, and not all."""

from __future__ import annotations

import anyio
import pytest

from structmode.exceptions import ShutdownTimeout

from .unit import Unit

DEPTH = 100  # twice as many calls: more than is shown, and not too many for a tracer's recursion


async def dive(depth: int) -> None:
    """Call itself again and again, and then wait."""
    if depth:
        await dive_on(depth - 1)
    await anyio.sleep_forever()


async def dive_on(depth: int) -> None:
    """Call the other: the same line again and again would be shown once."""
    await dive(depth)


async def test_the_stack_of_a_hook() -> None:
    """It begins with the outermost call, and ends before it is longer than people read."""

    async def deep(unit: Unit) -> None:
        await dive(DEPTH)

    unit = Unit("a", [], tear_down=deep)
    unit.stop_timeout = 0.01
    await unit.life.start()
    with pytest.raises(ShutdownTimeout) as caught:
        await unit.life.stop()
    (stuck,) = caught.value.stuck
    assert "await dive(DEPTH)" in stuck.stack
    assert 100 < stuck.stack.count("  File ") <= 125
