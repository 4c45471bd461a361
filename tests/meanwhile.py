"""Something that happens in the middle of something else, as what a finaliser does, or another thread."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

__all__ = ("meanwhile",)


def meanwhile(
    work: Callable[[], object], what: Callable[[], object], *, at: int | None = None
) -> bool:
    """Do `what` at each call that `work` makes, or at one of them; return whether it came to that."""
    calls, busy, done = 0, False, False

    def at_call(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls, busy, done
        if busy:
            return
        calls += 1
        if at is None or calls == at:
            busy = done = True
            what()
            busy = False

    before = sys.gettrace()
    sys.settrace(at_call)
    try:
        work()
    finally:
        sys.settrace(before)
    return done
