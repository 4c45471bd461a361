"""Trees of thousands of services, deep or wide: they start, crash and stop, at a cost that grows as they do.

Work is counted, not timed: each function call counts one. A tree four times as large may take some four times the work.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import anyio
import pytest

from structmode import Service

MANY = 3000


@pytest.fixture(scope="module")
def anyio_backend(anyio_backend: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """The backend, but without the debug mode of asyncio, which would make all this take three times as long."""
    name, options = anyio_backend
    return name, {key: value for key, value in options.items() if key != "debug"}


class Boom(Exception):
    """The crash of these tests."""


class Counted(Service):
    """Notes when it starts and stops in a journal that a tree shares."""

    def __init__(self, journal: list[str], *parts: Service) -> None:
        self.journal = journal
        self.parts = parts
        super().__init__()

    def on_init_dependencies(self) -> Iterable[Service]:
        return self.parts

    async def on_start(self) -> None:
        self.journal.append("start")

    async def on_stop(self) -> None:
        self.journal.append("stop")


class Growing(Counted):
    """Adds the one below it when it starts, until there are enough."""

    def __init__(self, journal: list[str], size: int) -> None:
        self.size = size
        super().__init__(journal)

    async def on_start(self) -> None:
        await super().on_start()
        if self.size > 1:
            self.add_dependency(Growing(self.journal, self.size - 1))


Shape = Callable[[int, list[str]], Service]
CountCalls = Callable[[], AbstractContextManager[list[int]]]


def deep(size: int, journal: list[str]) -> Service:
    """Make a chain of services; return its top."""
    service = Counted(journal)
    for _ in range(size - 1):
        service = Counted(journal, service)
    return service


def wide(size: int, journal: list[str]) -> Service:
    """Make a service with many children."""
    return Counted(journal, *[Counted(journal) for _ in range(size - 1)])


def growing(size: int, journal: list[str]) -> Service:
    """Make a service that becomes a chain as it starts."""
    return Growing(journal, size)


def last(service: Service) -> Service:
    """Return the service at the end of the last branch."""
    node = service.beacon
    while node.children:
        node = node.children[-1]
    found: Service = node.data
    return found


# --- What is done to them -------------------------------------------------------------------------


async def start_and_stop(service: Service) -> None:
    """Start and stop it."""
    await service.start()
    await service.stop()
    assert service.state == "shutdown"


async def crash_at_the_end(service: Service) -> None:
    """Crash it in its last service: the reason leaves the block at the top."""
    boom = Boom()
    with pytest.raises(Boom) as caught:
        async with service:
            await last(service).crash(boom)
            await anyio.sleep_forever()
    assert caught.value is boom
    assert service.state == "crashed"


DEEDS = [start_and_stop, crash_at_the_end]


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("shape", [deep, wide])
async def test_thousands_of_services(
    shape: Shape, deed: Callable[[Service], Awaitable[None]]
) -> None:
    """3,000 services, one below the other or side by side, start, crash and stop, each of them once."""
    journal: list[str] = []
    await deed(shape(MANY, journal))
    assert journal == ["start"] * MANY + ["stop"] * MANY


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("shape", [deep, wide, growing])
async def test_growth(
    shape: Shape, deed: Callable[[Service], Awaitable[None]], count_calls: CountCalls
) -> None:
    """A tree four times as large costs some four times the work, and not sixteen times."""
    counts: list[int] = []
    for size in (25, 100, 400):  # the first is for what happens once only
        service = shape(size, [])
        with count_calls() as calls:
            await deed(service)
        counts.append(calls[0])
        await anyio.wait_all_tasks_blocked()
    _, small, large = counts
    assert large < 6 * small, f"{small} calls for 100 services, {large} for 400"
