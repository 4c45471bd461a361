"""The chapter `mode.utils.aiter` of mode's manual: what iterators have, for async iterators."""

from __future__ import annotations

import pytest

from structmode.utils import aiter as of_mode
from structmode.utils.aiter import aenumerate, alist, arange, aslice, chunks


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (2, [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]),
        (3, [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]),
    ],
)
async def test_chunks(size: int, expected: list[list[int]]) -> None:
    """What is iterated over comes in lists of a size, the last of which may be shorter."""
    assert [chunk async for chunk in chunks(arange(10), size)] == expected


async def test_chunks_of_many() -> None:
    """A hundred numbers are ten chunks of ten."""
    got = [chunk async for chunk in chunks(arange(100), 10)]
    assert got == [list(range(n, n + 10)) for n in range(0, 100, 10)]


async def test_arange() -> None:
    """`arange` counts like `range`."""
    assert [n async for n in arange(0, 10, 2)] == [0, 2, 4, 6, 8]


async def test_the_others() -> None:
    """The functions that Python has for iterators exist for async ones."""
    assert await alist(aslice(arange(10), 2, 5)) == [2, 3, 4]
    assert [pair async for pair in aenumerate(arange(5, 7), 1)] == [(1, 5), (2, 6)]
    it = of_mode.aiter(["only"])
    assert await of_mode.anext(it) == "only"
    assert await of_mode.anext(it, "default") == "default"
    with pytest.raises(StopAsyncIteration):
        await of_mode.anext(it)
