"""A list with its smallest item first, whatever is done to it.

`heapq` keeps a list in that order as long as all changes go through it. This is the list that lets no change go another way.
"""

import heapq
from collections.abc import Callable, Iterable, MutableSequence
from typing import Any, NoReturn, TypeVar, cast, overload

from structmode.utils.collections._proxies import own_data

__all__ = ("Heap",)

_T = TypeVar("_T")


class Heap(MutableSequence[_T]):
    """The module ``heapq`` as an object: a sequence whose first item is the smallest.

    The items after the first are in the order of a heap, which is no order to rely on; take them out one by one with `pop`
    to get them sorted, or ask for `nsmallest`.

    Differs from mode: what sets, inserts or deletes by index leaves a heap behind, too, and `pop` takes any index.

    Args:
        data: What is in it at first; copied.

    Attributes:
        data: The list behind it; what changes it directly may break the order.
    """

    data: list[_T]

    def __init__(self, data: Iterable[_T] | None = None) -> None:
        self.data = list(() if data is None else data)
        heapq.heapify(cast("list[Any]", self.data))

    def pop(self, index: int = 0) -> _T:
        """Take away the smallest item, and return it.

        Args:
            index: The place of another item to take; that takes time in proportion to the size.

        Raises:
            IndexError: If there is none.
        """
        if index == 0:
            return cast("_T", heapq.heappop(cast("list[Any]", self.data)))
        item = self.data[index]
        del self[index]
        return item

    def push(self, item: _T) -> None:
        """Put an item in."""
        heapq.heappush(cast("list[Any]", self.data), item)

    def pushpop(self, item: _T) -> _T:
        """Put an item in, then take the smallest one away and return it: faster than both in turn."""
        return cast("_T", heapq.heappushpop(cast("list[Any]", self.data), item))

    def replace(self, item: _T) -> _T:
        """Take the smallest item away and return it, then put another one in: faster than both in turn.

        What is returned may be larger than the new item; if it must not be, that is `pushpop`.

        Raises:
            IndexError: If there is none.
        """
        return cast("_T", heapq.heapreplace(cast("list[Any]", self.data), item))

    def nlargest(self, n: int, key: Callable[[_T], Any] | None = None) -> list[_T]:
        """Return the largest items, the largest first.

        Args:
            n: How many.
            key: What of an item to compare; by default the item itself.
        """
        return heapq.nlargest(n, self.data, key=cast(Any, key))

    def nsmallest(self, n: int, key: Callable[[_T], Any] | None = None) -> list[_T]:
        """Return the smallest items, the smallest first.

        Args:
            n: How many.
            key: What of an item to compare; by default the item itself.
        """
        return heapq.nsmallest(n, self.data, key=cast(Any, key))

    def insert(self, index: int, object: _T) -> None:  # noqa: A002 - mode's name
        """Put an item in, at the place that the order gives it.

        Args:
            index: Not used; a sequence must have it.
            object: The item.
        """
        self.push(object)

    def reverse(self) -> NoReturn:
        """Refuse: a heap has one order.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            "a Heap has its smallest item first and can't be reversed; for the largest items, ask for nlargest(n)"
        )

    def __len__(self) -> int:
        return len(self.data)

    @overload
    def __getitem__(self, index: int) -> _T: ...
    @overload
    def __getitem__(self, index: slice) -> list[_T]: ...

    def __getitem__(self, index: int | slice) -> _T | list[_T]:
        return self.data[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self.data[index] = value
        heapq.heapify(cast("list[Any]", self.data))

    def __delitem__(self, index: int | slice) -> None:
        del self.data[index]
        heapq.heapify(cast("list[Any]", self.data))

    def __repr__(self) -> str:
        return repr(self.data)

    def __getstate__(self) -> Any:
        return own_data(super().__getstate__())
