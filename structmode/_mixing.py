"""How the faces take each other: each of their objects has a life of the engine, and that is all that others need."""

from __future__ import annotations

from typing import Any, Protocol, cast

from structmode import _engine as engine

__all__ = ("HasLife", "life_of")


class HasLife(Protocol):
    """Whatever can be a part of something else: a `Service`, or a `ServiceMixin`. For annotations of what may be either."""

    def _structmode_life(self) -> Any:
        """Return the life by which its owner holds it."""
        ...


HasLife.__module__ = "structmode.facet"


def life_of(candidate: object) -> engine.Life | None:
    """Return the life of an object of any face; None if it is something else, such as a class."""
    if isinstance(candidate, type) or not hasattr(candidate, "_structmode_life"):
        return None
    return cast("engine.Life", cast("HasLife", candidate)._structmode_life())
