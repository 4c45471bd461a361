"""The chapter `mode.utils.objects` of mode's manual: pickling by keywords, annotations, types, cached properties."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, List, Optional  # noqa: UP035 - the manual's types are those of its time

import pytest

from structmode.utils import objects
from structmode.utils.objects import (
    KeywordReduce,
    cached_property,
    eval_type,
    guess_polymorphic_type,
    iter_mro_reversed,
)


class ByHand:
    """Says how it is pickled in the way that Python has for it."""

    def __init__(self, arg: int, kw: str | None = None) -> None:
        self.arg = arg
        self.kw = kw

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return type(self), (self.arg, self.kw)


class ByKeywords(KeywordReduce):
    """Says it as a mapping of keywords."""

    def __init__(self, arg: int, kw: str | None = None) -> None:
        self.arg = arg
        self.kw = kw

    def __reduce_keywords__(self) -> Mapping[str, Any]:
        return {"arg": self.arg, "kw": self.kw}


@pytest.mark.parametrize("cls", [ByHand, ByKeywords])
def test_pickling(cls: type[ByHand | ByKeywords]) -> None:
    """What was pickled is made again, with the same arguments."""
    copy = pickle.loads(pickle.dumps(cls(1, kw="two")))  # noqa: S301 - of our own
    assert type(copy) is cls
    assert (copy.arg, copy.kw) == (1, "two")


class Point:
    """A class with fields."""

    x: float
    y: float


class SpacePoint(Point):
    """One with more of them."""

    z: float = 0.0


def test_the_fields_of_a_class() -> None:
    """All fields in order, those of the bases first, and the defaults that there are."""
    fields, defaults = objects.annotations(SpacePoint)
    assert dict(fields) == {"x": float, "y": float, "z": float}
    assert list(fields) == ["x", "y", "z"]
    assert dict(defaults) == {"z": 0.0}


def test_a_type_in_a_string() -> None:
    """A type that is given as a string is what the string says."""
    assert eval_type("List[int]", globalns={"List": List}) == List[int]  # noqa: UP006


def test_a_type_of_typing_in_a_string() -> None:
    """Names of `typing` need not be explained."""
    assert eval_type("List[int]") == List[int]  # noqa: UP006


class A:
    """The top."""


class B(A):
    """The middle."""


class C(B):
    """The bottom."""


def test_bases_in_reverse_order() -> None:
    """The bases come from the top down, those above the one that it stops at left out."""
    assert list(iter_mro_reversed(C, object)) == [A, B, C]
    assert list(iter_mro_reversed(C, A)) == [B, C]


@pytest.mark.parametrize(
    ("typ", "expected"),
    [
        (List[int], (list, int)),  # noqa: UP006
        (Optional[List[int]], (list, int)),  # noqa: UP006, UP045
        (MutableMapping[int, str], (dict, str)),
    ],
)
def test_what_a_type_is_made_of(typ: Any, expected: tuple[type, type]) -> None:
    """The concrete type of a container, and the type of what is in it."""
    assert guess_polymorphic_type(typ) == expected


class Client:
    """Makes a connection when it is first asked for one."""

    made = 0

    def __init__(self) -> None:
        self.deleted: list[Any] = []

    @cached_property
    def connection(self) -> Any:  # pyright: ignore[reportRedeclaration]
        self.made += 1
        return f"connection {self.made}"

    @connection.setter  # type: ignore[no-redef]
    def connection(self, value: Any) -> Any:  # pyright: ignore[reportRedeclaration]
        if value is None:
            raise TypeError("a connection can't be None")
        return value

    @connection.deleter  # type: ignore[no-redef]
    def connection(self, value: Any) -> None:
        self.deleted.append(value)


def test_a_cached_property() -> None:
    """It is made once; a setter prepares what is stored, and a deleter is told what is deleted."""
    client: Any = Client()
    assert client.connection == client.connection == "connection 1"
    client.connection = "another"
    assert client.connection == "another"
    with pytest.raises(TypeError, match="can't be None"):
        client.connection = None
    del client.connection
    assert client.deleted == ["another"]
    assert client.connection == "connection 2"


def test_whether_it_is_cached() -> None:
    """From an instance one can find out whether the property has been asked for."""
    client: Any = Client()
    assert not type(client).connection.is_set(client)
    assert client.connection
    assert type(client).connection.is_set(client)
