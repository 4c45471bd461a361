"""What a start that took too long names as still being started, where several start at the same time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import anyio
import pytest

from structmode import Service
from structmode.exceptions import StartTimeout
from structmode.testing import VirtualClock, virtual_backend


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """A loop whose time can be virtual."""
    name: Literal["asyncio", "trio"] = request.param
    return name, virtual_backend(name)["backend_options"]


class Slow(Service):
    """Takes longer to start than anybody waits."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__()

    @property
    def label(self) -> str:
        return self.name

    async def on_start(self) -> None:
        await anyio.sleep(100.0)


class Hasty(Service):
    """Starts a group at the same time, and gives that one second."""

    start_timeout = 1.0

    def __init__(self, group: Iterable[Slow]) -> None:
        self.group = list(group)
        super().__init__()

    def on_init_dependencies(self) -> Iterable[Any]:
        return [self.group]


@pytest.mark.parametrize("count", range(1, 6))
async def test_each_of_a_group(count: int) -> None:
    """Each is named, in the order in which they were added, one step below the one that starts them."""
    names = [f"slow {number}" for number in range(count)]
    with VirtualClock(), pytest.raises(StartTimeout) as caught:
        await Hasty(map(Slow, names)).start()
    found = [(one.label, one.depth) for one in caught.value.starting]
    assert found == [("Hasty", 0), *((name, 1) for name in names)]
