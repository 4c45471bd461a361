"""What iterators have and async iterators lack: counting, slicing, chunks.

What Python has by now, `anext`, is Python's own, and a checkpoint. The others are async iterators, and no async generators: to leave a loop over
one of them early leaves nothing of it behind, on any event loop.

What they iterate over may be an async generator, and that has to be closed when its loop is left early; otherwise the garbage
collector comes upon it at some time, and its ``finally`` runs late or not at all. What one of these has opened by itself it
closes at its end. When a loop may be left early, say so:

    async with contextlib.aclosing(chunks(source(), 10)) as parts:
        async for part in parts:
            ...

which closes the source too.

Each step over what is not async is a checkpoint, so that a loop over it can be cancelled and starves nobody.
"""

from __future__ import annotations

import builtins
import itertools
from abc import abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import suppress
from typing import Any, Generic, TypeVar, cast, overload

import anyio
import anyio.lowlevel

__all__ = ("aenumerate", "aiter", "alist", "anext", "arange", "aslice", "chunks")

_T = TypeVar("_T")
_DefaultT = TypeVar("_DefaultT")


class _Stepping(AsyncIterator[_T]):
    """An async iterator over something that is not async."""

    def __init__(self, iterator: Iterator[_T]) -> None:
        self._iterator = iterator

    def __aiter__(self) -> _Stepping[_T]:
        return self

    async def __anext__(self) -> _T:
        await anyio.lowlevel.checkpoint()
        try:
            return next(self._iterator)
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        """End the iteration; a generator is closed."""
        close = getattr(self._iterator, "close", None)
        self._iterator = iter(())
        if close is not None:
            close()
        await anyio.lowlevel.checkpoint()


class _Over(AsyncIterator[_T]):
    """An async iterator over another one, the source, which it closes if nobody else can."""

    def __init__(self, it: AsyncIterable[Any]) -> None:
        self._source: AsyncIterator[Any] = aiter(it)
        # If it was an iterator to begin with, it is the caller's, who may go on with it.
        self._is_ours = self._source is not it
        self._ended = False

    def __aiter__(self) -> _Over[_T]:
        return self

    async def __anext__(self) -> _T:
        if self._ended:
            await anyio.lowlevel.checkpoint()
            raise StopAsyncIteration
        with suppress(StopAsyncIteration):
            return await self._step()
        self._ended = True
        if self._is_ours:
            await self._close_source()
        raise StopAsyncIteration

    @abstractmethod
    async def _step(self) -> _T:
        """Return the next item, or raise `StopAsyncIteration`."""

    async def aclose(self) -> None:
        """End the iteration, and close what is iterated over; a checkpoint."""
        self._ended = True
        await self._close_source()
        await anyio.lowlevel.checkpoint()

    async def _close_source(self) -> None:
        close = getattr(self._source, "aclose", None)
        if close is not None:
            await close()


def aiter(it: AsyncIterable[_T] | Iterable[_T]) -> AsyncIterator[_T]:  # noqa: A001 - mode's name
    """Return an async iterator over something, which may be async or not.

    Differs from the function of this name in Python in that it takes what is not async too.

    Args:
        it: What to iterate over. An async iterator is returned as it is.

    Raises:
        TypeError: If it can't be iterated over.
    """
    if hasattr(type(it), "__aiter__"):
        return builtins.aiter(cast("AsyncIterable[_T]", it))
    try:
        return _Stepping(iter(cast("Iterable[_T]", it)))
    except TypeError:
        raise TypeError(
            f"can't iterate over {it!r}: pass an async iterable, or a plain one"
        ) from None


@overload
async def anext(it: AsyncIterator[_T], /) -> _T: ...  # noqa: A001 - mode's name
@overload
async def anext(it: AsyncIterator[_T], default: _DefaultT, /) -> _T | _DefaultT: ...  # noqa: A001


async def anext(it: AsyncIterator[Any], *default: Any) -> Any:  # noqa: A001 - mode's name
    """Return the next item of an async iterator: Python's own ``anext``, at a checkpoint.

    Args:
        it: The async iterator.
        default: What to return if it has ended.

    Raises:
        StopAsyncIteration: If it has ended, and there is no default.
    """
    await anyio.lowlevel.checkpoint()
    return await builtins.anext(it, *default)


class _Enumerated(_Over[tuple[int, _T]], Generic[_T]):
    def __init__(self, it: AsyncIterable[_T], start: int) -> None:
        super().__init__(it)
        self._count = itertools.count(start)

    async def _step(self) -> tuple[int, _T]:
        item = await builtins.anext(self._source)
        return next(self._count), item


def aenumerate(it: AsyncIterable[_T], start: int = 0) -> AsyncIterator[tuple[int, _T]]:
    """Count the items of an async iterable, as `enumerate` does for others.

    Args:
        it: The async iterable.
        start: The number of the first item.

    Returns:
        An async iterator over pairs of number and item, with an ``aclose()``.
    """
    return _Enumerated(it, start)


class arange(AsyncIterable[int]):  # noqa: N801 - mode's name
    """Numbers that can be iterated over with ``async for``, any number of times: what `range` is for ``for``.

    Args:
        slice_args: As for `range`: the end, or begin and end, or begin, end and step.
        slice_kwargs: The same by name: ``start``, ``stop``, ``step``.

    Raises:
        TypeError: If there is no end, or an argument is no integer.
        ValueError: If the step is zero.
    """

    def __init__(self, *slice_args: int | None, **slice_kwargs: int | None) -> None:
        self._range = _range_of(slice_args, slice_kwargs)

    def __repr__(self) -> str:
        return f"a{self._range!r}"

    def __eq__(self, other: object) -> bool:
        return self._range == other._range if isinstance(other, arange) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._range)

    def __len__(self) -> int:
        return len(self._range)

    def __contains__(self, n: object) -> bool:
        return n in self._range

    def __aiter__(self) -> AsyncIterator[int]:
        return _Stepping(iter(self._range))

    def count(self, n: int) -> int:
        """Return how often a number is among these: once, or not at all."""
        return self._range.count(n)

    def index(self, n: int) -> int:
        """Return at which place a number is.

        Raises:
            ValueError: If it is not among these.
        """
        return self._range.index(n)


def _range_of(args: tuple[int | None, ...], by_name: dict[str, int | None]) -> range:
    unknown = sorted(by_name.keys() - {"start", "stop", "step"})
    if unknown:
        raise TypeError(
            f"arange() takes start, stop and step by name, and no {', '.join(unknown)}"
        )
    if not args and "stop" not in by_name:
        raise TypeError("arange() needs an end: arange(10), arange(0, 10, 2) or arange(stop=10)")
    names = ("stop",) if len(args) == 1 and "stop" not in by_name else ("start", "stop", "step")
    given = dict(zip(names, args, strict=False))
    twice = sorted(given.keys() & by_name.keys())
    if len(args) > len(names) or twice:
        raise TypeError(f"arange() was given too much: {args}, {by_name}")
    values = {name: value for name, value in {**given, **by_name}.items() if value is not None}
    if "stop" not in values:
        raise TypeError("arange() needs an end, and None is none")
    return range(values.get("start", 0), values["stop"], values.get("step", 1))


async def alist(ait: AsyncIterable[_T]) -> list[_T]:
    """Return the items of an async iterable in a list; a checkpoint in any case.

    Args:
        ait: The async iterable.
    """
    await anyio.lowlevel.checkpoint()
    return [item async for item in ait]


class _Sliced(_Over[_T]):
    def __init__(self, it: AsyncIterable[_T], bounds: slice) -> None:
        # What is wrong with the bounds is said by the one who knows: at once, and in Python's words.
        self._places = itertools.islice(itertools.count(), bounds.start, bounds.stop, bounds.step)
        super().__init__(it)
        # How many are taken in all, if there are so many: those that the step leaves out at the end too.
        self._end = None if bounds.stop is None else max(bounds.start or 0, bounds.stop)
        self._taken = 0
        # Kept until it is taken, so that a step which is cancelled and made again goes on where it was.
        self._wanted = next(self._places, None)

    async def _step(self) -> _T:
        place = self._end if self._wanted is None else self._wanted
        while place is not None and self._taken < place:
            await self._take()
        if self._wanted is None:
            raise StopAsyncIteration
        item = await self._take()
        self._wanted = next(self._places, None)
        return item

    async def _take(self) -> _T:
        item: _T = await builtins.anext(self._source)
        self._taken += 1
        return item


def aslice(ait: AsyncIterable[_T], *slice_args: int | None) -> AsyncIterator[_T]:
    """Return some of the items of an async iterable, as `itertools.islice` does for others.

    From an async iterator, no more is taken than what is in the slice and before it, and it is left open: the caller may go on
    with it.

    Args:
        ait: The async iterable.
        slice_args: As for ``islice``: the end, or begin and end, or begin, end and step; None is no bound.

    Returns:
        An async iterator, with an ``aclose()``.

    Raises:
        TypeError: If there are none or too many.
        ValueError: If one is no integer, or is negative, or the step is zero.
    """
    return _Sliced(ait, slice(*slice_args))


class _Chunked(_Over[list[_T]], Generic[_T]):
    def __init__(self, it: AsyncIterable[_T], size: int) -> None:
        super().__init__(it)
        self._size = size
        self._drained = False
        self._part: list[_T] = []

    async def _step(self) -> list[_T]:
        # What has been taken is kept, so that a step which is cancelled and made again goes on where it was.
        while not self._drained and len(self._part) < self._size:
            try:
                self._part.append(await builtins.anext(self._source))
            except StopAsyncIteration:
                self._drained = True
        if not self._part:
            raise StopAsyncIteration
        part, self._part = self._part, []
        return part


def chunks(it: AsyncIterable[_T], n: int) -> AsyncIterator[list[_T]]:
    """Divide the items of an async iterable into lists of the same length; the last one may be shorter.

    Args:
        it: The async iterable.
        n: How many items to a list.

    Returns:
        An async iterator over the lists, with an ``aclose()``.

    Raises:
        ValueError: If `n` is less than one.
    """
    if n < 1:
        raise ValueError(f"chunks() needs lists of one item at least, not of {n!r}")
    return _Chunked(it, n)
