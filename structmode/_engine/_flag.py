"""A level that turns true once, on whatever event loop it is waited for.

Theory: an event of anyio belongs to the event loop in which it was made. What is made before a loop runs, or was looked at
on one loop and is used on the next, must not be tied to any: services may be made at module level, and asked for their
state anywhere. So a flag holds no event of its own; each who waits brings one, and takes it away again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio.lowlevel

from ._backend import bed


class Flag:
    """Turns true once; can be waited for. Must be set on the event loop on which it is waited for."""

    __slots__ = ("_set", "_waiting")

    def __init__(self) -> None:
        self._set = False
        # What wakes each who waits; made when the first does.
        self._waiting: dict[Callable[[], object], None] | None = None

    def is_set(self) -> bool:
        """Whether it has turned true."""
        return self._set

    def set(self) -> None:
        """Turn it true, and wake who waits, first come first."""
        if self._set:
            return
        self._set = True
        waiting, self._waiting = self._waiting, None
        for wake in waiting or ():
            wake()

    async def wait(self) -> None:
        """Wait until it is true; a checkpoint in any case."""
        if self._set:
            await anyio.lowlevel.checkpoint()
            return
        wake, woken = bed()
        self._note(wake)
        try:
            await woken
        finally:
            self._forget(wake)

    def _note(self, wake: Callable[[], object]) -> None:
        if self._waiting is None:
            self._waiting = {}
        self._waiting[wake] = None

    def _forget(self, wake: Callable[[], object]) -> None:
        if self._waiting is not None:
            self._waiting.pop(wake, None)


async def any_of(flags: Sequence[Flag]) -> None:
    """Wait until one of several is true; a checkpoint in any case. It takes no tasks."""
    if any(flag.is_set() for flag in flags):
        await anyio.lowlevel.checkpoint()
        return
    wake, woken = bed()
    for flag in flags:
        flag._note(wake)
    try:
        await woken
    finally:
        for flag in flags:
            flag._forget(wake)
