"""Async iterators: counting, slicing, chunks; and nothing is left when a loop ends early."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings, strategies as st

from structmode.utils.aiter import (
    aenumerate,
    aiter,  # noqa: A004 - mode's name
    alist,
    anext,  # noqa: A004 - mode's name
    arange,
    aslice,
    chunks,
)

bounds = st.none() | st.integers(0, 12)
steps = st.none() | st.integers(1, 5)


class Source:
    """An async iterable that hands out a new async generator each time, and counts those that are open."""

    def __init__(self, size: int = 10) -> None:
        self.size = size
        self.open = 0

    async def __aiter__(self) -> AsyncGenerator[int]:
        self.open += 1
        try:
            for number in range(self.size):
                await anyio.lowlevel.checkpoint()
                yield number
        finally:
            self.open -= 1


MAKERS: dict[str, Callable[[AsyncIterable[int]], AsyncIterator[Any]]] = {
    "aenumerate": aenumerate,
    "aslice": lambda it: aslice(it, None),
    "chunks": lambda it: chunks(it, 2),
}


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Callable[[AsyncIterable[int]], AsyncIterator[Any]]:
    """Each that iterates over something."""
    return MAKERS[request.param]


# --- aiter, anext, alist --------------------------------------------------------------------------


async def test_what_is_not_async_can_be_iterated_over() -> None:
    """A list, a generator, and what has only `__getitem__`."""

    class Old:
        def __getitem__(self, index: int) -> int:
            return [1, 2][index]

    assert await alist(aiter([1, 2])) == [1, 2]
    assert await alist(aiter(number for number in (1, 2))) == [1, 2]
    old: Any = Old()
    assert await alist(aiter(old)) == [1, 2]


async def test_what_is_async_gives_its_own_iterator() -> None:
    """An async iterator is returned as it is."""
    source = aiter(Source(2))
    assert aiter(source) is source
    assert await alist(source) == [0, 1]
    stepping = aiter([1])
    assert aiter(stepping) is stepping


@pytest.mark.parametrize("wrong", [None, 1, object()])
def test_what_cannot_be_iterated_over_is_refused(wrong: Any) -> None:
    """At once, and the error says what can be passed."""
    with pytest.raises(TypeError, match="pass an async iterable, or a plain one"):
        aiter(wrong)


async def test_a_loop_over_what_is_not_async_can_be_cancelled() -> None:
    """Each step is a checkpoint."""
    with anyio.CancelScope() as scope:
        async for number in aiter(itertools.count()):  # pragma: no branch - it is cancelled
            if number == 100:
                scope.cancel()
    assert scope.cancelled_caught


async def test_a_generator_is_closed_with_its_async_iterator() -> None:
    """`aclose` ends it, and a second one does nothing."""
    closed: list[str] = []

    def generate() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            closed.append("closed")

    iterator: Any = aiter(generate())
    async with aclosing(iterator):
        assert await anext(iterator) == 0
    assert closed == ["closed"]
    await iterator.aclose()
    assert await alist(iterator) == []
    plain: Any = aiter([1])
    await plain.aclose()
    assert await alist(plain) == []


async def test_the_next_item_or_the_default() -> None:
    """As with Python's own: a default, None too, stands for the end."""
    iterator = aiter([1])
    assert await anext(iterator) == 1
    assert await anext(iterator, 2) == 2
    assert await anext(iterator, None) is None
    with pytest.raises(StopAsyncIteration):
        await anext(iterator)


async def test_a_list_is_made_at_a_checkpoint() -> None:
    """Also of what never waits."""

    class Never:
        def __aiter__(self) -> AsyncIterator[int]:
            return self

        async def __anext__(self) -> int:
            raise StopAsyncIteration

    assert await alist(Never()) == []
    with anyio.CancelScope() as scope:
        scope.cancel()
        await alist(Never())
    assert scope.cancelled_caught


# --- Counting, slicing, chunks --------------------------------------------------------------------


async def test_items_are_counted() -> None:
    """From zero, or from another number."""
    assert await alist(aenumerate(Source(2))) == [(0, 0), (1, 1)]
    assert await alist(aenumerate(aiter("ab"), 5)) == [(5, "a"), (6, "b")]
    assert await alist(aenumerate(aiter("ab"), start=-1)) == [(-1, "a"), (0, "b")]


@given(size=st.integers(0, 12), start=bounds, stop=bounds, step=steps)
@settings(deadline=None)
async def test_a_slice_is_that_of_itertools(
    size: int, start: int | None, stop: int | None, step: int | None
) -> None:
    """The same items, and as many taken from the source as itertools takes."""
    for args in ([stop], [start, stop], [start, stop, step]):
        plain, source = iter(range(size)), aiter(range(size))
        assert await alist(aslice(source, *args)) == list(itertools.islice(plain, *args))
        assert await alist(source) == list(plain)


async def test_a_slice_leaves_the_rest_in_an_iterator() -> None:
    """The caller's iterator goes on after the slice, with nothing lost."""
    source = aiter(range(10))
    assert await alist(aslice(source, 3)) == [0, 1, 2]
    assert await alist(aslice(source, 1, 3)) == [4, 5]
    assert await anext(source) == 6


@pytest.mark.parametrize("wrong", [(-1,), (0, 1, 0), ("a",), (), (1, 2, 3, 4)])
def test_wrong_bounds_are_refused_at_once(wrong: Any) -> None:
    """As itertools and `slice` refuse them."""
    with pytest.raises((TypeError, ValueError)):
        aslice(aiter([]), *wrong)


@given(size=st.integers(0, 30), n=st.integers(1, 8))
@settings(deadline=None)
async def test_chunks_are_of_one_length_but_the_last(size: int, n: int) -> None:
    """Put together, they are the items; only the last may be shorter, and none is empty."""
    parts = await alist(chunks(arange(size), n))
    assert list(itertools.chain(*parts)) == list(range(size))
    assert all(len(part) == n for part in parts[:-1])
    assert all(1 <= len(part) <= n for part in parts)


@pytest.mark.parametrize("wrong", [0, -1])
def test_chunks_of_nothing_are_refused(wrong: int) -> None:
    """They would never end."""
    with pytest.raises(ValueError, match="one item at least"):
        chunks(arange(3), wrong)


async def test_a_chunk_that_is_cancelled_half_way_loses_nothing() -> None:
    """What had been taken is in the next one."""
    go = anyio.Event()

    class Slow:
        def __init__(self) -> None:
            self.numbers = itertools.count()

        def __aiter__(self) -> AsyncIterator[int]:
            return self

        async def __anext__(self) -> int:
            if not go.is_set() and next(self.numbers) == 2:
                await go.wait()
            return 7

    parts = chunks(Slow(), 4)
    async with anyio.create_task_group() as group:
        group.start_soon(anext, parts)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    go.set()
    assert await anext(parts) == [7, 7, 7, 7]


# --- What is left behind --------------------------------------------------------------------------


async def test_what_was_opened_is_closed_at_the_end(make: Callable[..., Any]) -> None:
    """And asking again gives nothing more."""
    source = Source()
    iterator = make(source)
    assert await alist(iterator)
    assert source.open == 0
    assert await alist(iterator) == []
    with anyio.CancelScope() as scope:
        scope.cancel()
        await anext(iterator, None)
    assert scope.cancelled_caught


async def test_a_slice_closes_what_it_opened_before_its_end() -> None:
    """Nobody else could."""
    source = Source()
    assert await alist(aslice(source, 3)) == [0, 1, 2]
    assert source.open == 0


async def test_a_loop_that_is_left_early_leaves_nothing(make: Callable[..., Any]) -> None:
    """With `aclosing`, the source is closed too, whoever made it."""
    source = Source()
    for it in (source, aiter(source)):
        async with aclosing(make(it)) as iterator:
            async for _ in iterator:  # pragma: no branch - it is left at once
                assert source.open == 1
                break
        assert source.open == 0
        assert await alist(iterator) == []


async def test_a_loop_that_is_cancelled_leaves_nothing(make: Callable[..., Any]) -> None:
    """An async generator that is cancelled where it waits has ended."""
    source = Source()
    with anyio.CancelScope() as scope:
        async for _ in make(source):  # pragma: no branch - it is cancelled
            scope.cancel()
    assert scope.cancelled_caught
    assert source.open == 0


async def test_a_source_without_aclose_needs_none(make: Callable[..., Any]) -> None:
    """An async iterator of another kind is let go."""

    class Bare:
        def __aiter__(self) -> AsyncIterator[int]:
            return Numbers()

    class Numbers:
        def __init__(self) -> None:
            self.numbers = iter(range(2))

        def __aiter__(self) -> AsyncIterator[int]:
            return self  # pragma: no cover - nobody asks

        async def __anext__(self) -> int:
            try:
                return next(self.numbers)
            except StopIteration:
                raise StopAsyncIteration from None

    iterator = make(Bare())
    assert await alist(iterator)
    await iterator.aclose()


# --- arange ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "kwargs", "expected"),
    [
        ((5,), {}, range(5)),
        ((2, 5), {}, range(2, 5)),
        ((10, 0, -3), {}, range(10, 0, -3)),
        ((), {"stop": 5}, range(5)),
        ((), {"start": 1, "stop": 9, "step": 2}, range(1, 9, 2)),
        ((1,), {"stop": 9}, range(1, 9)),
        ((1, 9), {"step": 2}, range(1, 9, 2)),
        ((5,), {"step": 2}, range(0, 5, 2)),
        ((None, 5, None), {}, range(5)),
    ],
)
async def test_a_range_is_that_of_python(args: Any, kwargs: Any, expected: range) -> None:
    """The same numbers, as often as they are iterated over, with the same answers about them."""
    numbers = arange(*args, **kwargs)
    assert [number async for number in numbers] == list(expected)
    assert [number async for number in numbers] == list(expected)
    assert len(numbers) == len(expected)
    assert expected[1] in numbers
    assert 77 not in numbers
    assert (numbers.count(expected[1]), numbers.count(77)) == (1, 0)
    assert numbers.index(expected[1]) == 1
    with pytest.raises(ValueError, match="77"):
        numbers.index(77)
    assert numbers == arange(expected.start, expected.stop, expected.step)
    assert hash(numbers) == hash(arange(expected.start, expected.stop, expected.step))
    assert numbers != expected
    assert repr(numbers) == f"a{expected!r}"


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((), {}, "needs an end"),
        ((), {"start": 1}, "needs an end"),
        ((None,), {}, "needs an end"),
        ((1, 2, 3, 4), {}, "too much"),
        ((1, 2), {"stop": 3}, "too much"),
        ((1,), {"size": 3}, "no size"),
        (("a",), {}, "integer"),
    ],
)
def test_a_wrong_range_is_refused(args: Any, kwargs: Any, text: str) -> None:
    """At once, with a TypeError that says what is wrong."""
    with pytest.raises(TypeError, match=text):
        arange(*args, **kwargs)


def test_a_step_of_zero_is_refused() -> None:
    """As `range` refuses it."""
    with pytest.raises(ValueError, match="zero"):
        arange(0, 1, 0)


async def test_a_slice_that_is_cancelled_half_way_loses_nothing() -> None:
    """The next step gives the item that the cancelled one was for, wherever it was cancelled: before the slice or in it."""

    class Sluggish:
        """Gives the numbers from 0 on; every other time, it waits until it is cancelled first."""

        def __init__(self) -> None:
            self.numbers = itertools.count()
            self.steps = itertools.cycle([True, False])

        def __aiter__(self) -> AsyncIterator[int]:
            return self

        async def __anext__(self) -> int:
            if next(self.steps):
                await anyio.sleep_forever()
            return next(self.numbers)

    part = aslice(Sluggish(), 1, 6, 2)
    items: list[int] = []
    while True:
        with anyio.move_on_after(0.001):
            item = await anext(part, None)
            if item is None:
                break
            items.append(item)
    assert items == [1, 3, 5]


async def test_asking_for_the_next_item_is_a_checkpoint() -> None:
    """Also if the iterator never waits, or has ended."""

    class Ready:
        def __aiter__(self) -> AsyncIterator[int]:  # pragma: no cover - it is not asked
            return self

        async def __anext__(self) -> int:  # pragma: no cover - it is not asked
            return 1

    ended: AsyncIterator[int] = aiter(())
    assert await anext(ended, None) is None
    for iterator in (Ready(), ended):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anext(iterator, None)
        assert scope.cancelled_caught
