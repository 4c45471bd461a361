"""Dictionaries, sets and lists that pass everything on to the one in their ``data``.

Theory: the abstract classes of `collections.abc` have every method of a container, built on a handful of them: right for
any container, and slow. What stands here goes to ``data`` directly, where that makes a difference.

There is no ``__init__``: a subclass is often something else as well, a service for instance, and sets ``data`` itself,
or makes a property of it. Whoever does neither gets an empty container when it is first needed.
"""

from __future__ import annotations

from collections import UserList
from collections.abc import (
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    MutableMapping,
    MutableSet,
    Set as AbstractSet,
    ValuesView,
)
from copy import copy
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

__all__ = ("FastUserDict", "FastUserList", "FastUserSet", "own_data")

_T = TypeVar("_T")
_KT = TypeVar("_KT")
_VT = TypeVar("_VT")


class _Own(Generic[_T]):
    """The ``data`` of those that have set none: made when it is first asked for."""

    def __init__(self, factory: type[_T]) -> None:
        self._factory = factory

    def __get__(self, owner: object | None, cls: type[object]) -> Any:
        if owner is None:
            return self
        # In one step: of several threads that come here at once, all get the same.
        return vars(owner).setdefault("data", self._factory())


def own_data(state: Any) -> Any:
    """Return the state of a container for a copy of it, which gets ``data`` of its own, as copies of built-in ones have."""
    # Where it is a property there is none in the state: then it is where it is, for both.
    if not isinstance(state, dict) or "data" not in state:
        return cast("Any", state)
    return {**cast("dict[str, Any]", state), "data": copy(cast("Any", state["data"]))}


class FastUserDict(MutableMapping[_KT, _VT]):
    """A dictionary in front of another one: its ``data``.

    Like `collections.UserDict`, but without a constructor: a subclass sets ``data``, or has it as a property.

    - If a subclass has ``__missing__``, it is asked for keys that are not there, by ``[]`` and by ``get``.
    - `update` goes to the data at once, and calls no ``__setitem__``; and so does ``|=``.
    - What ``|`` returns is a built-in `dict`.

    Attributes:
        data: What everything is passed on to; a new `dict` if nothing else is set.
    """

    if TYPE_CHECKING:
        data: MutableMapping[_KT, _VT]
    else:
        data = _Own(dict)

    @classmethod
    def fromkeys(cls, iterable: Iterable[_KT], value: Any = None) -> Self:
        """Return a new one with a key for each item.

        Args:
            iterable: The keys.
            value: The value that all of them get.
        """
        made = cls()
        made.update(cast("dict[_KT, _VT]", dict.fromkeys(iterable, value)))
        return made

    def __getitem__(self, key: _KT) -> _VT:
        missing = getattr(type(self), "__missing__", None)
        if missing is None or key in self.data:
            return self.data[key]
        value: _VT = missing(self, key)
        return value

    def __setitem__(self, key: _KT, value: _VT) -> None:
        self.data[key] = value

    def __delitem__(self, key: _KT) -> None:
        del self.data[key]

    def __contains__(self, key: object) -> bool:
        return key in self.data

    def __iter__(self) -> Iterator[_KT]:
        return iter(self.data)

    def __reversed__(self) -> Iterator[_KT]:
        return reversed(cast("dict[_KT, _VT]", self.data))

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return repr(self.data)

    def __getstate__(self) -> Any:
        return own_data(super().__getstate__())

    def __or__(self, other: Mapping[_KT, _VT]) -> dict[_KT, _VT]:
        if not isinstance(other, Mapping):
            return NotImplemented
        return self.copy() | dict(other)

    def __ror__(self, other: Mapping[_KT, _VT]) -> dict[_KT, _VT]:
        if not isinstance(other, Mapping):
            return NotImplemented
        return dict(other) | self.copy()

    def __ior__(self, other: Mapping[_KT, _VT] | Iterable[tuple[_KT, _VT]]) -> Self:
        self.update(other)
        return self

    def copy(self) -> dict[_KT, _VT]:
        """Return a `dict` with the same keys and values."""
        return dict(self.data)

    # The types are those of the base, which are many.
    if not TYPE_CHECKING:  # pragma: no branch - true wherever it runs

        def update(self, /, *args: Any, **kwargs: Any) -> None:
            """Set the keys and values of a mapping, of an iterable of pairs, and of keywords."""
            self.data.update(*args, **kwargs)

    def clear(self) -> None:
        """Take all keys away."""
        self.data.clear()

    def keys(self) -> KeysView[_KT]:
        """Return a view of the keys."""
        return self.data.keys()

    def values(self) -> ValuesView[_VT]:
        """Return a view of the values."""
        return self.data.values()

    def items(self) -> ItemsView[_KT, _VT]:
        """Return a view of the keys with their values."""
        return self.data.items()


def _plain(other: Iterable[_T]) -> set[_T] | frozenset[_T]:
    """Return the elements as a built-in set, which is `other` itself if it is one."""
    if isinstance(other, FastUserSet):
        return _plain(other.data)
    return other if isinstance(other, set | frozenset) else set(other)


class FastUserSet(MutableSet[_T]):
    """A set in front of another one: its ``data``.

    There is no constructor: a subclass sets ``data``. What the operators and `union` and the like return is a built-in
    `set`. As with that, the operators take sets only, and the methods any iterable.

    Differs from mode, where operators don't take another such set, and where pickling and copying make a built-in set
    of it.

    Attributes:
        data: What everything is passed on to; a new `set` if nothing else is set.
    """

    if TYPE_CHECKING:
        data: MutableSet[_T]
    else:
        data = _Own(set)

    def __contains__(self, element: object) -> bool:
        return element in self.data

    def __iter__(self) -> Iterator[_T]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __eq__(self, other: object) -> bool:
        them: Any = other
        return (
            _plain(self.data) == _plain(them) if isinstance(other, AbstractSet) else NotImplemented
        )

    # What can change has no hash: of two that are equal now, one may not be later.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.data)

    def __getstate__(self) -> Any:
        return own_data(super().__getstate__())

    # --- What leaves it as it is ---

    def __and__(self, other: AbstractSet[Any]) -> set[_T]:
        if not isinstance(other, AbstractSet):
            return NotImplemented
        return self.intersection(other)

    def __or__(self, other: AbstractSet[_T]) -> set[_T]:  # type: ignore[override]
        if not isinstance(other, AbstractSet):
            return NotImplemented
        return self.union(other)

    def __sub__(self, other: AbstractSet[Any]) -> set[_T]:
        if not isinstance(other, AbstractSet):
            return NotImplemented
        return self.difference(other)

    def __xor__(self, other: AbstractSet[_T]) -> set[_T]:  # type: ignore[override]
        if not isinstance(other, AbstractSet):
            return NotImplemented
        return self.symmetric_difference(other)

    def __rand__(self, other: AbstractSet[Any]) -> set[_T]:
        return self.__and__(other)

    def __ror__(self, other: AbstractSet[_T]) -> set[_T]:
        return self.__or__(other)

    def __rxor__(self, other: AbstractSet[_T]) -> set[_T]:
        return self.__xor__(other)

    def __rsub__(self, other: AbstractSet[_T]) -> set[_T]:
        if not isinstance(other, AbstractSet):
            return NotImplemented
        return set(other).difference(self.data)

    def copy(self) -> set[_T]:
        """Return a `set` with the same elements."""
        return set(self.data)

    def difference(self, other: Iterable[Any], *others: Iterable[Any]) -> set[_T]:
        """Return the elements that are in none of the others."""
        return self.copy().difference(*map(_plain, (other, *others)))

    def intersection(self, other: Iterable[Any], *others: Iterable[Any]) -> set[_T]:
        """Return the elements that are in all of the others, too."""
        return self.copy().intersection(*map(_plain, (other, *others)))

    def isdisjoint(self, other: Iterable[Any]) -> bool:
        """Return whether no element is in the other."""
        return _plain(self.data).isdisjoint(_plain(other))

    def issubset(self, other: Iterable[Any]) -> bool:
        """Return whether all elements are in the other."""
        return _plain(self.data).issubset(_plain(other))

    def issuperset(self, other: Iterable[Any]) -> bool:
        """Return whether all elements of the other are here."""
        return _plain(self.data).issuperset(_plain(other))

    def symmetric_difference(self, other: Iterable[_T]) -> set[_T]:
        """Return the elements that are in one of both, and not in both."""
        return self.copy().symmetric_difference(_plain(other))

    def union(self, other: Iterable[_T], *others: Iterable[_T]) -> set[_T]:
        """Return the elements of all."""
        return self.copy().union(*map(_plain, (other, *others)))

    # --- What changes it ---

    def add(self, element: _T) -> None:
        """Put an element in."""
        self.data.add(element)

    def clear(self) -> None:
        """Take all elements away."""
        self.data.clear()

    def discard(self, element: _T) -> None:
        """Take an element away if it is there."""
        self.data.discard(element)

    def pop(self) -> _T:
        """Take any one element away, and return it.

        Raises:
            KeyError: If there is none.
        """
        return self.data.pop()

    def remove(self, element: _T) -> None:
        """Take an element away.

        Raises:
            KeyError: If it is not there.
        """
        self.data.remove(element)

    def difference_update(self, other: Iterable[Any], *others: Iterable[Any]) -> None:
        """Take away the elements of the others."""
        data = self.data
        for each in (other, *others):
            data -= _plain(each)

    def intersection_update(self, other: Iterable[Any], *others: Iterable[Any]) -> None:
        """Take away the elements that are not in all of the others."""
        data = self.data
        for each in (other, *others):
            data &= _plain(each)

    def symmetric_difference_update(self, other: Iterable[_T]) -> None:
        """Take away what is in both, and put in what is in the other only."""
        data = self.data
        data ^= _plain(other)

    def update(self, other: Iterable[_T], *others: Iterable[_T]) -> None:
        """Put in the elements of the others."""
        data = self.data
        for each in (other, *others):
            data |= _plain(each)

    def __isub__(self, other: AbstractSet[Any]) -> Self:
        if not isinstance(other, AbstractSet):
            return NotImplemented
        self.difference_update(other)
        return self

    def __iand__(self, other: AbstractSet[Any]) -> Self:
        if not isinstance(other, AbstractSet):
            return NotImplemented
        self.intersection_update(other)
        return self

    def __ixor__(self, other: AbstractSet[_T]) -> Self:  # type: ignore[override]
        if not isinstance(other, AbstractSet):
            return NotImplemented
        self.symmetric_difference_update(other)
        return self

    def __ior__(self, other: AbstractSet[_T]) -> Self:  # type: ignore[override]
        if not isinstance(other, AbstractSet):
            return NotImplemented
        self.update(other)
        return self


class FastUserList(UserList[_T]):
    """A list in front of another one, its ``data``: `collections.UserList` by mode's name."""
