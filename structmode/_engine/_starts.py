"""Waits for starts that somebody else has begun.

Theory: a start is *decided* when it is known how it ends, and *settled* when what a failed one had done is undone. Who waits
for one start waits for the second, so that nothing of it is left when the error arrives. Who waits for several that come up
at the same time is told of the first failure as soon as it is decided, since the others can be called off then.

A restart that is asked for while a run is starting calls that start off and puts another in its place. Who waits is waiting
for the unit, so the wait goes on with the successor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self, TypeVar

import anyio.lowlevel

from structmode.exceptions import StartAborted

from ._flag import Flag, any_of

StartT = TypeVar("StartT", bound="Start")


class Start(Protocol):
    """What has been begun, and will have been started or have failed to."""

    @property
    def decided(self) -> Flag:
        """Set when it is known how the start ends."""
        ...

    @property
    def settled(self) -> Flag:
        """Set when the start is over, one way or the other."""
        ...

    @property
    def start_error(self) -> BaseException | None:
        """Why the start failed."""
        ...

    @property
    def successor(self) -> Self | None:
        """What a restart has put in its place."""
        ...


async def until_settled(run: StartT) -> StartT:
    """Wait until a start is over; returns the run that was started: a restart may have put another in its place."""
    while True:
        # Whoever comes here has made way for the run's task already.
        if run.settled.is_set():
            await anyio.lowlevel.checkpoint_if_cancelled()
        else:
            await run.settled.wait()
        if run.successor is None or not isinstance(run.start_error, StartAborted):
            return run
        run = run.successor


def way_to_go(run: Start) -> Flag | None:
    """Return what to wait for until a start is over; None if it is, and went well; raise why it did not, at once."""
    while True:
        if not run.decided.is_set():
            return run.decided
        if run.start_error is None:
            return None
        if not isinstance(run.start_error, StartAborted):
            raise run.start_error
        if not run.settled.is_set():
            return run.settled
        if run.successor is None:
            raise run.start_error
        run = run.successor


async def all_up(runs: Sequence[Start]) -> None:
    """Wait until several have started; what keeps the first of them from that is raised as soon as it is known."""
    await anyio.lowlevel.checkpoint()
    while flags := [flag for flag in map(way_to_go, runs) if flag is not None]:
        await any_of(flags)
