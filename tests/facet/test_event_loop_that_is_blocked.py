"""A service whose task blocks the event loop for longer than its stop may take: that is told, and by a name."""

from __future__ import annotations

import time

import anyio
import pytest

from structmode.exceptions import ShutdownTimeout
from structmode.facet import ServiceMixin


class Blocking(ServiceMixin):
    """Its task does not let go of the event loop when it is cancelled."""

    graceful_shutdown_timeout = 0.01

    def __init__(self) -> None:
        self.works = anyio.Event()

    async def start(self) -> None:
        self.add_task(self.work())

    async def work(self) -> None:
        self.works.set()
        try:
            await anyio.sleep_forever()
        finally:
            until = time.monotonic() + 5 * self.graceful_shutdown_timeout
            while time.monotonic() < until:
                pass


async def test_it_is_told_where_time_ran_out() -> None:
    """Nobody can cut short what blocks the event loop; what the stop was at when it was let go again has a name."""
    service = Blocking()
    with pytest.raises(ShutdownTimeout) as caught:
        async with service:
            await service.works.wait()
    (late,) = caught.value.stuck
    assert (late.owner, late.task) == ("Blocking", "hold")
