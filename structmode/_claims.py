"""What is handed to a service to be run: a coroutine runs only once, whoever is given it."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Sequence
from types import CoroutineType
from typing import Any

__all__ = ("claim", "is_claimed", "name_of", "refuse_claimed")

# The coroutines that have been handed to a service, by their ids; those that are gone, or have begun, are left here until
# there are too many. A set of weak references does the same, and takes as long as to begin a task.
_claimed: dict[int, weakref.ref[CoroutineType[Any, Any, Any]]] = {}
_SWEPT_AT = 256
_sweep_at = _SWEPT_AT


def is_claimed(thing: object) -> bool:
    """Whether it is a coroutine that has been handed to a service before."""
    if not inspect.iscoroutine(thing):
        return False
    claimed = _claimed.get(id(thing))
    return claimed is not None and claimed() is thing


def claim(coro: object) -> None:
    """Take a coroutine, which has not begun, for the one time that it can run; of other things nothing is taken.

    Raises:
        ValueError: If it was passed before.
    """
    if not inspect.iscoroutine(coro):
        return
    if is_claimed(coro):
        raise ValueError(
            f"{coro!r} was passed to a service before; a coroutine runs only once, so make another"
        )
    if len(_claimed) >= _sweep_at:
        _sweep()
    _claimed[id(coro)] = weakref.ref(coro)


def _sweep() -> None:
    """Forget those that are gone, or have begun: what has begun is refused for that."""
    global _sweep_at
    for key, reference in list(_claimed.items()):
        coro = reference()
        if coro is None or inspect.getcoroutinestate(coro) != inspect.CORO_CREATED:
            _claimed.pop(key, None)
    _sweep_at = max(_SWEPT_AT, 2 * len(_claimed))


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
