"""The chapter `mode.utils.typing` of mode's manual: what is now in Python's own `typing`."""

from __future__ import annotations

import typing

from structmode.utils.typing import Protocol

T_co = typing.TypeVar("T_co", covariant=True)


class Metered(Protocol):
    """Whatever has this method."""

    def meter(self) -> int: ...


class Box(Protocol[T_co]):
    """The same, of any type."""

    def meter(self) -> T_co: ...


class Gas:
    """Has it, and derives from nothing."""

    def meter(self) -> int:
        return 7


def read(thing: Metered) -> int:
    """Take whatever has the method."""
    return thing.meter()


def unbox(thing: Box[int]) -> int:
    """Take it by the generic protocol."""
    return thing.meter()


def test_protocols() -> None:
    """Protocols, generic ones too, are those of Python, and what has their methods will do for them."""
    assert Protocol is typing.Protocol
    assert read(Gas()) == unbox(Gas()) == 7
