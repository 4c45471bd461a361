"""A dictionary and a set that say what is about to change.

The method is called first, the change comes second. So what it raises prevents the change, and what it sees is the
container as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, MutableSet
from typing import TYPE_CHECKING, Any, TypeVar

from structmode.utils.collections._proxies import FastUserDict, FastUserSet

__all__ = ("ManagedUserDict", "ManagedUserSet")

_T = TypeVar("_T")
_KT = TypeVar("_KT")
_VT = TypeVar("_VT")


class ManagedUserDict(FastUserDict[_KT, _VT]):
    """A dictionary that calls a method of its own for each key that is read, set or deleted.

    Each is called before the thing happens; if it raises, the thing does not happen. All ways to read, set and delete
    by key count, ``pop`` and ``setdefault`` as well; iteration, views and ``in`` do not.

    Differs from mode: a key that is not there is not reported as deleted, and `update` takes pairs, too.
    """

    def on_key_get(self, key: _KT) -> None:
        """A key is about to be read, whether it is there or not."""

    def on_key_set(self, key: _KT, value: _VT) -> None:
        """A key is about to get a value."""

    def on_key_del(self, key: _KT) -> None:
        """A key is about to be deleted."""

    def on_clear(self) -> None:
        """All keys are about to be deleted at once; `on_key_del` is not called for them."""

    def __getitem__(self, key: _KT) -> _VT:
        self.on_key_get(key)
        return super().__getitem__(key)

    def __setitem__(self, key: _KT, value: _VT) -> None:
        self.on_key_set(key, value)
        self.data[key] = value

    def __delitem__(self, key: _KT) -> None:
        if key not in self.data:
            raise KeyError(key)
        self.on_key_del(key)
        del self.data[key]

    # The types are those of the base, which are many.
    if not TYPE_CHECKING:  # pragma: no branch - true wherever it runs

        def update(self, /, *args: Any, **kwargs: Any) -> None:
            """Set the keys and values of a mapping, of an iterable of pairs, and of keywords, one after the other."""
            MutableMapping.update(self, *args, **kwargs)

    def clear(self) -> None:
        """Delete all keys."""
        self.on_clear()
        self.data.clear()

    def raw_update(self, *args: Any, **kwargs: Any) -> None:
        """Set keys as `update` does, and call no method for it."""
        self.data.update(*args, **kwargs)


class ManagedUserSet(FastUserSet[_T]):
    """A set that calls a method of its own before its elements change.

    What changes nothing calls nothing, `clear` excepted. If the method raises, nothing changes.

    Differs from mode: `remove` calls `on_discard`, too, and `on_change` is not called without a change.
    """

    def on_add(self, value: _T) -> None:
        """An element that is not there yet is about to be added."""

    def on_discard(self, value: _T) -> None:
        """An element is about to be taken away; in `pop` it is away already, and comes back if this raises."""

    def on_clear(self) -> None:
        """All elements are about to be taken away."""

    def on_change(self, added: set[_T], removed: set[_T]) -> None:
        """Several elements are about to change at once, by an operator or by one of the methods with ``update``.

        Args:
            added: The elements that will be added; none of them is there yet.
            removed: The elements that will be taken away.
        """

    def add(self, element: _T) -> None:
        """Put an element in."""
        if element not in self.data:
            self.on_add(element)
            self.data.add(element)

    def clear(self) -> None:
        """Take all elements away."""
        self.on_clear()
        self.data.clear()

    def discard(self, element: _T) -> None:
        """Take an element away if it is there."""
        if element in self.data:
            self.on_discard(element)
            self.data.discard(element)

    def pop(self) -> _T:
        """Take any one element away, and return it.

        Raises:
            KeyError: If there is none.
        """
        element = self.data.pop()
        try:
            self.on_discard(element)
        except BaseException:
            self.data.add(element)
            raise
        return element

    def remove(self, element: _T) -> None:
        """Take an element away.

        Raises:
            KeyError: If it is not there.
        """
        if element not in self.data:
            raise KeyError(element)
        self.discard(element)

    def raw_update(self, *args: Any, **kwargs: Any) -> None:
        """Put elements in, as `update` does with each argument, and call no method for it."""
        elements: set[_T] = set()
        elements.update(*args, **kwargs)
        data = self.data
        data |= elements

    def difference_update(self, other: Iterable[Any], *others: Iterable[Any]) -> None:
        """Take away the elements of the others."""
        self._change(set(), self.intersection(set[Any]().union(other, *others)))

    def intersection_update(self, other: Iterable[Any], *others: Iterable[Any]) -> None:
        """Take away the elements that are not in all of the others."""
        self._change(set(), self.difference(self.intersection(other, *others)))

    def symmetric_difference_update(self, other: Iterable[_T]) -> None:
        """Take away what is in both, and put in what is in the other only."""
        others = set(other)
        self._change(others.difference(self.data), self.intersection(others))

    def update(self, other: Iterable[_T], *others: Iterable[_T]) -> None:
        """Put in the elements of the others."""
        self._change(set[_T]().union(other, *others).difference(self.data), set())

    def _change(self, added: set[_T], removed: set[_T]) -> None:
        if not added and not removed:
            return
        self.on_change(added, removed)
        data: MutableSet[_T] = self.data
        data -= removed
        data |= added
