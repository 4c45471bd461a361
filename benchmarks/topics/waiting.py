"""Waiting in a service: for time to pass, for what has already happened, for whichever is first; and for a stop as well.

By hand, whoever waits does so in a cancel scope that a stop would cancel, and that is all it takes to wait for one thing.
Two things need a task each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from benchmarks.clock import per_unit
from benchmarks.library import Event, Service, hand, open_group, sleep
from benchmarks.model import ELSEWHERE, Row, times_by_hand, times_mode


class Waiter(Service):
    """A service that runs nothing."""


class Stoppable:
    """Waits, by hand, until something has happened or a stop has come."""

    def __init__(self) -> None:
        self._scopes: set[hand.CancelScope] = set()

    def stop(self) -> None:
        """Have all who wait give up."""
        for scope in self._scopes:
            scope.cancel()

    async def wait(self, work: Callable[[], Awaitable[object]]) -> None:
        """Wait for one thing."""
        with hand.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                await work()
            finally:
                self._scopes.discard(scope)

    async def wait_first(self, *works: Callable[[], Awaitable[object]]) -> None:
        """Wait for whichever is done first; the others are cancelled."""
        async with open_group() as group:
            scope = group.cancel_scope
            self._scopes.add(scope)
            try:
                for work in works:
                    group.start_soon(self._race, work, scope)
                await hand.sleep_forever()
            finally:
                self._scopes.discard(scope)

    async def wait_first_here(
        self, here: Callable[[], Awaitable[object]], *others: Callable[[], Awaitable[object]]
    ) -> None:
        """Do the same with the least that it takes: one of them needs no task of its own."""
        async with open_group() as group:
            scope = group.cancel_scope
            self._scopes.add(scope)
            try:
                for work in others:
                    group.start_soon(self._race, work, scope)
                await self._race(here, scope)
            finally:
                self._scopes.discard(scope)

    @staticmethod
    async def _race(work: Callable[[], Awaitable[object]], scope: hand.CancelScope) -> None:
        await work()
        scope.cancel()


async def sleep_zero(units: int) -> float:
    """Sleep for no time, in a service."""
    async with Waiter() as service:
        return await per_unit(units, partial(service.sleep, 0))


async def sleep_zero_by_hand(units: int) -> float:
    """Sleep for no time, unless a stop comes."""
    return await per_unit(units, partial(Stoppable().wait, partial(hand.sleep, 0)))


async def wait_set(units: int) -> float:
    """Wait for an event that is set, in a service."""
    event = Event()
    event.set()
    async with Waiter() as service:
        return await per_unit(units, partial(service.wait, event))


async def wait_first_set(units: int) -> float:
    """Wait for the first of one event, which is set, in a service."""
    event = Event()
    event.set()
    async with Waiter() as service:
        return await per_unit(units, partial(service.wait_first, event))


async def wait_set_by_hand(units: int) -> float:
    """Wait for an event that is set, unless a stop comes."""
    event = hand.Event()
    event.set()
    return await per_unit(units, partial(Stoppable().wait, event.wait))


async def wait_first_of_two(units: int) -> float:
    """Wait for the first of two coroutines, in a service."""
    async with Waiter() as service:
        return await per_unit(units, lambda: service.wait_first(sleep(0), sleep(3600)))


async def wait_first_of_two_by_hand(units: int) -> float:
    """Wait for the first of two functions, unless a stop comes."""
    return await per_unit(
        units, partial(Stoppable().wait_first, partial(sleep, 0), partial(sleep, 3600))
    )


async def wait_first_of_two_at_least(units: int) -> float:
    """Wait for the first of two functions, one of them in the caller's own task, unless a stop comes."""
    return await per_unit(
        units, partial(Stoppable().wait_first_here, partial(sleep, 0), partial(sleep, 3600))
    )


async def wait_first_of_two_on_asyncio(units: int) -> float:
    """Wait for the first of two tasks; the other is cancelled, and waited for."""

    async def first() -> None:
        tasks = [asyncio.create_task(asyncio.sleep(delay)) for delay in (0, 3600)]
        _, losers = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for loser in losers:
            loser.cancel()
        await asyncio.wait(losers)

    return await per_unit(units, first)


ROWS: Sequence[Row] = (
    Row(
        name="sleep-zero",
        work="`sleep(0)` in a service",
        codes={"services": sleep_zero, "hand": sleep_zero_by_hand},
        size=4000,
        goals=(times_mode(3), *ELSEWHERE),
    ),
    Row(
        name="wait-set",
        work="`wait` for an event already set",
        codes={"services": wait_set, "hand": wait_set_by_hand},
        size=2000,
        goals=(times_mode(20), *ELSEWHERE),
    ),
    Row(
        name="wait-first-set",
        work="`wait_first` of an event already set",
        codes={"services": wait_first_set, "hand": wait_set_by_hand},
        size=2000,
        goals=(times_mode(20), *ELSEWHERE),
    ),
    Row(
        name="wait-first-of-two",
        work="`wait_first` of two coroutines",
        codes={
            "services": wait_first_of_two,
            "hand": wait_first_of_two_by_hand,
            "floor": wait_first_of_two_at_least,
            "asyncio": wait_first_of_two_on_asyncio,
        },
        size=500,
        goals=(times_mode(0.8), times_by_hand(1.5), *ELSEWHERE),
    ),
)
