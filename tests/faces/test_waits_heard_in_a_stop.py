"""A task without any drain timeout: it is told in its wait that the service stops, before it is cancelled."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from structmode import Service


async def clean_up_slowly() -> None:
    """Wait for ever, and take many turns to end."""
    try:
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            for _ in range(20):
                await anyio.lowlevel.checkpoint()


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


class Waiting(Service):
    """Waits for something that ends slowly, and notes how that went."""

    drain_timeout = 0.0

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.told: list[bool] = []

    @Service.task
    async def work(self) -> None:
        result = await self.wait(*[clean_up_slowly] * self.count)
        self.told.append(result.stopped)


@pytest.mark.parametrize("count", [1, 2])
async def test_a_wait_that_ends_slowly(count: int) -> None:
    """However long the awaited thing takes to end, the wait returns, and says why."""
    async with Waiting(count) as service:
        await settled()
    assert service.told == [True]


async def test_waits_of_others_count_for_nothing() -> None:
    """A stop does not wait for a task outside of the service that waits by its methods."""
    service, ended = Service(), anyio.Event()

    async def hold() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await ended.wait()

    async with anyio.create_task_group() as group:
        await service.start()
        service.add_future(anyio.sleep_forever)
        group.start_soon(service.wait, hold)
        await settled()
        with anyio.fail_after(5):
            await service.stop()
        ended.set()
