"""What those in a thread know of a failure that is not theirs, when they are told to stop."""

from __future__ import annotations

import anyio
import pytest

from structmode import Service
from structmode.supervisors import OneForOneSupervisor

from .things import Noting


class Below(Service):
    """Is in the thread, and looks at what it knows when it stops."""

    def __post_init__(self) -> None:
        self.knew: list[bool] = []

    async def on_stop(self) -> None:
        self.knew.append(self.crashed)


async def test_a_crash_from_outside_is_known_inside(inside: str) -> None:
    """All in the thread are marked as crashed before they are told to stop, whichever task outside is faster."""
    below = Below()
    for _ in range(8):
        service = Noting(backend=inside)
        service.add_dependency(below)
        with pytest.raises(ValueError, match="from outside"):
            async with service:
                await service.crash(ValueError("from outside"))
                await anyio.sleep_forever()
    assert below.knew == [True] * 8


async def test_a_crash_that_is_dealt_with_is_known_inside(inside: str) -> None:
    """So they are if a supervisor deals with the crash."""
    below = Below()
    service = Noting(backend=inside)
    service.add_dependency(below)
    async with OneForOneSupervisor(service, max_restarts=100, over=60):
        for number in range(8):
            await service.crash(ValueError("from outside"))
            while service.restart_count <= number or service.state != "running":
                await anyio.sleep(0.001)
    assert below.knew == [*[True] * 8, False]
