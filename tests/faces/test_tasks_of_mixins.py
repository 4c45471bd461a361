"""The tasks that a service of facet's face begins while it starts."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest

from structmode.facet import ServiceMixin


class Base(ServiceMixin):
    """Begins tasks in its start, which note that they were begun."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.begun: list[int] = []

    async def start(self) -> None:
        for number in range(self.count):
            self.add_task(self.note(number))

    async def note(self, number: int) -> None:
        """Note the first step, and go on until the stop."""
        self.begun.append(number)
        await anyio.sleep_forever()


class User(ServiceMixin):
    """Looks in its start at what it depends on."""

    def __init__(self, base: Base) -> None:
        self.base = base
        self.seen: list[int] = []

    @property
    def dependencies(self) -> Sequence[Base]:
        return [self.base]

    async def start(self) -> None:
        self.seen = list(self.base.begun)


@pytest.mark.parametrize("count", [1, 2, 20])
async def test_they_are_begun_when_the_start_is_over(count: int) -> None:
    """What depends on the service finds its tasks begun, in the order in which they were added."""
    user = User(Base(count))
    async with user:
        assert user.seen == user.base.begun == list(range(count))
