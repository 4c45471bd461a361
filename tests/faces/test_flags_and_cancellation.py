"""Flags of what is cancelled: `transition_with` and `transitions_to` leave neither a flag nor a coroutine behind."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from structmode import Service


class Flagged(Service):
    """Has a method that sets a flag and waits."""

    @Service.transitions_to("waiting")
    async def wait_long(self) -> None:
        await anyio.sleep_forever()


async def wait_long() -> None:
    """Wait for ever."""
    await anyio.sleep_forever()


WAYS: dict[str, Callable[[Flagged], Any]] = {
    "transitions_to": lambda s: s.wait_long(),
    "transition_with a coroutine": lambda s: s.transition_with("waiting", wait_long()),
    "transition_with a callable": lambda s: s.transition_with("waiting", wait_long),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_a_flag_is_unset_when_its_task_is_cancelled(way: Callable[[Flagged], Any]) -> None:
    """While something waits its flag is set; when that is cancelled, it is not set any more."""
    service = Flagged()
    async with anyio.create_task_group() as group:
        group.start_soon(way, service)
        await anyio.wait_all_tasks_blocked()
        assert service.diag.flags == {"waiting"}
        group.cancel_scope.cancel()
    assert service.diag.flags == set()


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_a_flag_is_unset_when_the_service_stops(way: Callable[[Flagged], Any]) -> None:
    """A stop that cancels the task takes its flag away."""
    async with Flagged() as service:
        service.add_future(lambda: way(service))
        await anyio.wait_all_tasks_blocked()
        assert service.diag.flags == {"waiting"}
    assert service.diag.flags == set()


async def test_a_coroutine_that_does_not_come_to_run_is_closed() -> None:
    """Called in a scope that is cancelled, transition_with() closes its coroutine, and sets no flag."""
    service = Flagged()
    coroutine = wait_long()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await service.transition_with("waiting", coroutine)
    assert scope.cancelled_caught
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
    assert (service.diag.flags, service.diag.last_transition) == (set(), {})
