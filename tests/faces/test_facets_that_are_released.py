"""A service lets go of an object of facet's face as of one of its own kind, though that has no place in the tree of nodes."""

from __future__ import annotations

import anyio.lowlevel
import pytest

from structmode import LifecycleError, Service
from structmode.facet import ServiceMixin


class Part(ServiceMixin):
    """Notes when it starts and stops."""

    def __init__(self) -> None:
        self.journal: list[str] = []

    async def start(self) -> None:
        self.journal.append("start")

    async def stop(self) -> None:
        self.journal.append("stop")


async def test_removed() -> None:
    """It has stopped when it has been removed, and may be added again."""
    part = Part()
    async with Service() as service:
        await service.add_runtime_dependency(part)
        assert await service.remove_dependency(part) is part
        assert part.journal == ["start", "stop"]
        with pytest.raises(LifecycleError, match="not one of its dependencies"):
            await service.remove_dependency(part)
        await service.add_runtime_dependency(part)
    assert part.journal == ["start", "stop"] * 2


async def test_removed_before_a_start() -> None:
    """What has been removed is not started."""
    part, service = Part(), Service()
    service.add_dependency(part)
    await service.remove_dependency(part)
    async with service:
        await anyio.lowlevel.checkpoint()
    assert part.journal == []


async def test_dropped_in_a_restart() -> None:
    """Those that `__post_init__` has added are replaced by those that it adds again."""

    class Whole(Service):
        """Makes its part anew."""

        def __post_init__(self) -> None:
            self.part = self.add_dependency(Part())

    async with Whole() as service:
        first = service.part
        await service.restart()
        assert service.part is not first
        assert (first.journal, service.part.journal) == (["start", "stop"], ["start"])
