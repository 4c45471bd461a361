"""A block that is left while somebody else waits for the same stop: what leaves it is the same as without."""

from __future__ import annotations

import anyio
import pytest

from .unit import Unit


@pytest.mark.parametrize("others", [0, 1, 2])
async def test_what_leaves_the_body_comes_first(others: int) -> None:
    """What leaves the body is the first failure, and leaves the block; what goes wrong in the stop after it is noted."""
    log: list[str] = []
    first, later = ValueError("the body"), OSError("the stop")
    go_on = anyio.Event()

    async def fail(unit: Unit) -> None:
        await go_on.wait()
        raise later

    async def stop() -> None:
        with pytest.raises(OSError, match="the stop"):
            await unit.life.stop()

    unit = Unit("a", log, tear_down=fail)
    async with anyio.create_task_group() as group:
        with pytest.raises(ValueError, match="the body") as caught:
            async with unit.life.block():
                for _ in range(others):
                    group.start_soon(stop)
                while others and unit.state == "running":
                    await anyio.sleep(0)
                group.start_soon(_set_soon, go_on)
                raise first
    assert caught.value is first
    assert first.__notes__ == [f"later, in the block of a: {later!r}"]
    assert unit.run.failures == [later]


async def _set_soon(event: anyio.Event) -> None:
    for _ in range(10):
        await anyio.sleep(0)
    event.set()
