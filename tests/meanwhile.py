"""Something that happens in the middle of something else, as what a finaliser does, or another thread."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

__all__ = ("is_one_for_all", "meanwhile")

T = TypeVar("T")


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


def is_one_for_all(make: Callable[[], T], ask: Callable[[T], object]) -> bool:
    """Whether two who ask something new for the first time get the same, at whichever call of the one the other comes."""
    at = 0
    while True:
        at += 1
        new, seen = make(), list[object]()

        def look(new: T = new, seen: list[object] = seen) -> None:
            seen.append(ask(new))

        if not meanwhile(look, look, at=at):
            return at > 2  # or else it has not been asked in the middle of anything
        if len(seen) != 2 or any(one is not ask(new) for one in seen):
            return False
