"""A failure that is a group of exceptions, with no cancellation in it, leaves as the very object that was raised."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from structmode import Service


@pytest.fixture
def error() -> ExceptionGroup[Exception]:
    """What fails: a group in a group."""
    return ExceptionGroup("outer", [ExceptionGroup("inner", [ValueError("x")]), KeyError("y")])


def failing(error: Exception) -> Callable[..., Awaitable[Any]]:
    """Make an async function that raises."""

    async def fail(*args: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("hook", ["on_first_start", "on_start", "on_started", "on_stop"])
async def test_of_a_hook(error: ExceptionGroup[Exception], hook: str) -> None:
    """So it is with what a hook raises."""
    service = type("Failing", (Service,), {hook: failing(error)})()
    with pytest.raises(ExceptionGroup) as caught:
        async with service:
            pass
    assert caught.value is error


async def test_of_a_task(error: ExceptionGroup[Exception]) -> None:
    """So it is with what a task raises."""
    service = Service()
    with pytest.raises(ExceptionGroup) as caught:
        async with service:
            service.add_future(failing(error))
            await anyio.sleep_forever()
    assert caught.value is error
    assert service.crash_reason is error


@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("call", ["wait", "wait_first"])
async def test_of_a_wait(error: ExceptionGroup[Exception], call: str, others: int) -> None:
    """So it is with what leaves one of the awaited things."""
    async with Service() as service:
        with pytest.raises(ExceptionGroup) as caught:
            await getattr(service, call)(failing(error), *[anyio.sleep_forever] * others)
    assert caught.value is error
