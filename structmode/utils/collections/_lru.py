"""A cache that keeps what was used last.

Theory: an ordered dictionary holds the keys in the order of their last use, the one to go next first. To use a key moves
it to the end; what is too much goes at the front. Each is one step, whatever the size.
"""

import operator
from collections import OrderedDict
from collections.abc import Container, ItemsView, Iterator, KeysView, ValuesView
from contextlib import AbstractContextManager, nullcontext
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from structmode.utils.collections._proxies import FastUserDict

__all__ = ("LRUCache",)

_T = TypeVar("_T")
_KT = TypeVar("_KT")
_VT = TypeVar("_VT")

_NONE: Any = object()


class LRUCache(FastUserDict[_KT, _VT]):
    """A dictionary of bounded size: when there is one key too many, the one that was not used for longest goes.

    To read or to set a key is to use it. ``in``, iteration and the views use nothing. Iteration, over a view too, goes
    over what was there when it began, so a loop may use the cache and change it.

    With `thread_safety`, each method is one step for all threads. Without, and with several threads, what is read may be
    half done. It can be pickled and copied either way.

    Differs from mode: to set a key that is there already drops no other, and makes it the one used last; `incr` keeps
    the kind of the value; ``__missing__`` is asked as by any `FastUserDict`.

    Args:
        limit: The number of keys to keep; no limit if `None` or 0.
        thread_safety: Whether several threads use it at once.

    Raises:
        ValueError: If the limit is negative.
    """

    thread_safety: bool
    data: OrderedDict[_KT, _VT]

    def __init__(self, limit: int | None = None, *, thread_safety: bool = False) -> None:
        self.limit = limit
        self.thread_safety = thread_safety
        self.data = OrderedDict()  # pyright: ignore[reportIncompatibleVariableOverride]
        self._mutex = self._new_mutex()

    @property
    def limit(self) -> int | None:
        """The number of keys to keep, if there is a limit. It may be set, and counts from the next key on that is set."""
        return self._limit

    @limit.setter
    def limit(self, limit: int | None) -> None:
        if limit is not None and limit < 0:
            raise ValueError(
                f"limit={limit!r}: an LRUCache keeps 1 key or more; without a limit, it is limit=None"
            )
        self._limit = limit

    def __getitem__(self, key: _KT) -> _VT:
        with self._mutex:
            value = super().__getitem__(key)
            if key in self.data:  # `__missing__` need not keep what it returns
                self.data.move_to_end(key)
            return value

    def __setitem__(self, key: _KT, value: _VT) -> None:
        with self._mutex:
            self.data[key] = value
            self.data.move_to_end(key)
            while self.limit and len(self.data) > self.limit:
                self.data.popitem(last=False)

    def __delitem__(self, key: _KT) -> None:
        with self._mutex:
            del self.data[key]

    def __contains__(self, key: object) -> bool:
        with self._mutex:
            return key in self.data

    def __len__(self) -> int:
        with self._mutex:
            return len(self.data)

    def __iter__(self) -> Iterator[_KT]:
        return iter(self.copy())

    def __repr__(self) -> str:
        return repr(self.copy())

    def copy(self) -> dict[_KT, _VT]:
        """Return a `dict` with the same keys and values, the one used last at the end."""
        with self._mutex:
            return dict(self.data)

    def keys(self) -> KeysView[_KT]:
        """Return a view of the keys, the one used last at the end."""
        return KeysView(self)

    def values(self) -> ValuesView[_VT]:
        """Return a view of the values, the one used last at the end."""
        return _Values(self)

    def items(self) -> ItemsView[_KT, _VT]:
        """Return a view of the keys with their values, the one used last at the end."""
        return _Items(self)

    # The types are those of the base, which are many.
    if not TYPE_CHECKING:  # pragma: no branch - true wherever it runs

        def update(self, /, *args: Any, **kwargs: Any) -> None:
            """Set the keys and values of a mapping, of an iterable of pairs, and of keywords."""
            new = dict(*args, **kwargs)  # outside: what is read may have a lock of its own
            with self._mutex:
                for key, value in new.items():
                    self[key] = value

    def clear(self) -> None:
        """Take all keys away."""
        with self._mutex:
            self.data.clear()

    @overload
    def pop(self, key: _KT) -> _VT: ...
    @overload
    def pop(self, key: _KT, default: _VT) -> _VT: ...
    @overload
    def pop(self, key: _KT, default: _T) -> _VT | _T: ...

    def pop(self, key: _KT, default: Any = _NONE) -> Any:
        """Take a key away, and return its value.

        Args:
            key: The key.
            default: What to return if it is not there.

        Raises:
            KeyError: If it is not there, and there is no default.
        """
        with self._mutex:
            return self.data.pop(key) if default is _NONE else self.data.pop(key, default)

    def popitem(self, *, last: bool = True) -> tuple[_KT, _VT]:
        """Take a key away, and return it with its value.

        Args:
            last: Whether it is the one used last; otherwise, the one that was not used for longest.

        Raises:
            KeyError: If there is none.
        """
        with self._mutex:
            return self.data.popitem(last)

    def setdefault(self, key: _KT, default: _VT = None) -> _VT:  # type: ignore[assignment]
        """Return the value of a key, which is set first if it is not there.

        Args:
            key: The key.
            default: The value that it gets.
        """
        with self._mutex:
            return super().setdefault(key, default)

    def incr(self, key: _KT, delta: int = 1) -> int:
        """Add to a value that is a whole number, or a string of one, which stays a string.

        Args:
            key: The key.
            delta: What to add.

        Returns:
            The sum.

        Raises:
            KeyError: If the key is not there.
            ValueError: If its value is no whole number; it stays as it is.
        """
        with self._mutex:
            value: Any = self.data[key]
            try:
                number = (int(value) if isinstance(value, str) else operator.index(value)) + delta
            except (TypeError, ValueError):
                raise ValueError(f"incr({key!r}): {value!r} is no whole number") from None
            self[key] = cast("_VT", str(number) if isinstance(value, str) else number)
            return number

    def __getstate__(self) -> dict[str, Any]:
        with self._mutex:
            return {**super().__getstate__(), "_mutex": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._mutex = self._new_mutex()

    def _new_mutex(self) -> AbstractContextManager[Any]:
        return RLock() if self.thread_safety else nullcontext()


class _Values(ValuesView[_VT]):
    """The values of a cache; to look at them uses no key."""

    def __init__(self, cache: LRUCache[Any, _VT]) -> None:
        super().__init__(cache)
        self._cache = cache

    def __contains__(self, value: object) -> bool:
        return value in self._cache.copy().values()

    def __iter__(self) -> Iterator[_VT]:
        return iter(self._cache.copy().values())


class _Items(ItemsView[_KT, _VT]):
    """The keys of a cache with their values; to look at them uses no key."""

    def __init__(self, cache: LRUCache[_KT, _VT]) -> None:
        super().__init__(cache)
        self._cache = cache

    def __contains__(self, item: object) -> bool:
        with self._cache._mutex:
            return item in cast("Container[object]", self._cache.data.items())

    def __iter__(self) -> Iterator[tuple[_KT, _VT]]:
        return iter(self._cache.copy().items())
