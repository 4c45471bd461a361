"""Coroutines that are dropped before anybody has awaited them, and when.

Theory: Python knows such a coroutine when it is freed, and has a function of `warnings` tell it. What becomes of the warning
is up to filters: it may be an error that nobody sees, or nothing at all. So that function is where to listen.

Most are freed at once, when the last name for them goes. One that is part of a cycle stays until somebody looks for cycles.
So that is done at the beginning, for those that others have left, and at the end. Those of others still reach whoever
records warnings, and nobody fails by them; those found at the end are told by who has listened, and not by a warning, too.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

__all__ = ("Dropped", "dropped_coroutines")

# The function of `warnings` that Python calls.
_HOOK = "_warn_unawaited_coroutine"
_warn: Callable[[Any], object] = getattr(warnings, _HOOK)

# Each returns whether it has told of the coroutine itself, so that there need be no warning.
_listeners: list[Callable[[Any], bool]] = []


class Dropped:
    """What has been dropped in a block.

    Attributes:
        texts: A text for each.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, coro: Any) -> None:
        """Note one, with the place where it was made, if Python remembers that, as in asyncio's debug mode."""
        origin: tuple[tuple[str, int, str], ...] = getattr(coro, "cr_origin", None) or ()
        made = "".join(f", made in {file}, line {line}" for file, line, _ in origin[:1])
        self.texts.append(f"coroutine {coro.__qualname__!r} was never awaited{made}")

    def look_into_cycles(self) -> None:
        """Free what nobody can reach any more."""

        def tell(_: Any) -> bool:
            return True  # those of the block have been noted by its own listener

        with _listening(tell):
            gc.collect()


@contextmanager
def dropped_coroutines() -> Generator[Dropped]:
    """Listen for coroutines that are dropped in a block; those in cycles that were left before do not count."""
    with _listening(_warn_and_no_more):
        gc.collect()
    dropped = Dropped()

    def note(coro: Any) -> bool:
        dropped.add(coro)
        return False

    with _listening(note):
        yield dropped


def _warn_and_no_more(coro: Any) -> bool:
    """Warn as the filters say, but not by an error: it would be that of whoever runs now."""
    try:
        _warn(coro)
    except RuntimeWarning:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            _warn(coro)
    return True


def _hear(coro: Any) -> None:
    if not any([listener(coro) for listener in tuple(_listeners)]):  # noqa: C419 - each is to hear of it
        _warn(coro)


@contextmanager
def _listening(listener: Callable[[Any], bool]) -> Generator[None]:
    _listeners.append(listener)
    setattr(warnings, _HOOK, _hear)
    try:
        yield
    finally:
        _listeners.remove(listener)
        if not _listeners:
            setattr(warnings, _HOOK, _warn)
