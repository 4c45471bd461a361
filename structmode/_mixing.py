"""How the faces take each other: each of their objects has a life of the engine, and that is all that others need."""

from __future__ import annotations

from typing import Any, Protocol, cast

from structmode import _engine as engine

__all__ = ("HasLife", "life_of")


class HasLife(Protocol):
    """Whatever can be started as a part of something else: a `Service`, or an object of `structmode.facet`."""

    def __structmode_life__(self) -> Any:
        """Return the life by which its owner holds it."""
        ...


def life_of(candidate: object) -> engine.Life | None:
    """Return the life of an object of any face; None if it is something else, such as a class."""
    if isinstance(candidate, type) or not hasattr(candidate, "__structmode_life__"):
        return None
    return cast("engine.Life", cast("HasLife", candidate).__structmode_life__())
