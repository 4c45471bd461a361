"""How long work takes, inside of the event loop that does it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter

from .library import sleep

__all__ = ("SETTLING", "now", "per_unit", "settle")

#: How many turns of the event loop are enough for what has begun to come to rest.
SETTLING = 10

now = perf_counter


async def per_unit(units: int, work: Callable[[], Awaitable[object]]) -> float:
    """Do something so many times, one after the other; return what one cost, in seconds."""
    began = now()
    for _ in range(units):
        await work()
    return (now() - began) / units


async def settle() -> None:
    """Let what has just begun come to where it waits."""
    for _ in range(SETTLING):
        await sleep(0)
