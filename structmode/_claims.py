"""What is handed to a service to be run: a coroutine runs only once, whoever is given it."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Sequence
from typing import Any

from structmode import _engine as engine

__all__ = ("claim", "is_claimed", "name_of", "refuse_claimed")

# The coroutines that have been handed to a service.
_claimed: weakref.WeakSet[Any] = weakref.WeakSet()


def is_claimed(thing: object) -> bool:
    """Whether it is a coroutine that has been handed to a service before."""
    return inspect.iscoroutine(thing) and thing in _claimed


def claim(coro: object) -> None:
    """Take a coroutine for the one time that it can run.

    Raises:
        TypeError: If it can't be run.
        ValueError: If it runs already, or was passed before.
    """
    engine.check_awaitable(coro)
    if not inspect.iscoroutine(coro):
        return
    if coro in _claimed:
        raise ValueError(
            f"{coro!r} was passed to a service before; a coroutine runs only once, so make another"
        )
    _claimed.add(coro)


def refuse_claimed(claimed: Sequence[object]) -> None:
    """Refuse to wait for what has been handed to a service.

    Raises:
        ValueError: If there is any.
    """
    if claimed:
        raise ValueError(
            f"{claimed[0]!r} was passed to a service before, and runs only once: wait for its handle"
        )


def name_of(thing: object) -> str:
    """Return how a piece of work is called in reports."""
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None)
    return name if isinstance(name, str) else type(thing).__name__
