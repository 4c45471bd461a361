"""A wait for an event that is set already: it has ended, however little time there is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest
import trio

from structmode import Service
from structmode.utils.locks import Event


@pytest.fixture(params=["anyio", "structmode", "the loop's own"])
def event(request: pytest.FixtureRequest, anyio_backend: tuple[str, dict[str, Any]]) -> Any:
    """An event that is set, of each kind that this event loop knows."""
    kinds: dict[str, Callable[[], Any]] = {
        "anyio": anyio.Event,
        "structmode": Event,
        "the loop's own": asyncio.Event if anyio_backend[0] == "asyncio" else trio.Event,
    }
    event = kinds[request.param]()
    event.set()
    return event


async def test_without_any_time(event: Any) -> None:
    """A timeout of zero is enough for what has happened already."""
    async with Service() as service:
        result = await service.wait(event, timeout=0)
        assert (result.stopped, result.timed_out) == (False, False)
        many = await service.wait_many([event], timeout=0)
        assert (many.stopped, many.timed_out) == (False, False)
        first = await service.wait_first(event, timeout=0)
        assert first.done == [event]
        assert (first.stopped, first.timed_out) == (False, False)


async def test_its_own_result(event: Any) -> None:
    """The result is what the event's own wait gives."""
    expected = await event.wait()
    async with Service() as service:
        assert (await service.wait(event)).result is expected
        assert (await service.wait_many([event])).result == [expected]
        assert (await service.wait_first(event)).results == [expected]


async def test_a_cancellation_comes_through(event: Any) -> None:
    """Who has been cancelled does not go on because the event is set."""
    async with Service() as service:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await service.wait(event)
        assert scope.cancelled_caught


async def test_after_the_stop(event: Any) -> None:
    """Once the service has been told to stop, its waits say so, also of an event that is set."""
    async with Service() as service:
        await service.stop()
        assert await service.wait_for_stopped(event)
