"""A heap has its smallest item first, whatever is done to it."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from structmode.utils.collections import Heap

NUMBERS = st.lists(st.integers(), max_size=20)


def drain(heap: Heap[int]) -> list[int]:
    """Take all items out, one by one."""
    return [heap.pop() for _ in range(len(heap))]


@settings(max_examples=50)
@given(NUMBERS)
def test_items_come_out_sorted(numbers: list[int]) -> None:
    """What is popped one by one is sorted, whether it was there at first or pushed."""
    assert drain(Heap(numbers)) == sorted(numbers)
    pushed = Heap[int]()
    for number in numbers:
        pushed.push(number)
        assert pushed[0] == min(pushed)
    assert drain(pushed) == sorted(numbers)


def test_the_list_it_is_made_of_is_left_alone() -> None:
    """The items are copied; any iterable will do."""
    numbers = [3, 2, 1]
    assert Heap(numbers)[0] == 1
    assert numbers == [3, 2, 1]
    assert drain(Heap(iter(numbers))) == [1, 2, 3]


@settings(max_examples=50)
@given(numbers=NUMBERS.filter(bool), item=st.integers())
def test_two_steps_in_one(numbers: list[int], item: int) -> None:
    """`pushpop` is a push and a pop, `replace` a pop and a push."""
    heap, model = Heap(numbers), sorted(numbers)
    assert heap.pushpop(item) == min(*model, item)
    assert drain(heap) == sorted([*model, item])[1:]
    heap = Heap(numbers)
    assert heap.replace(item) == model[0]
    assert drain(heap) == sorted([*model[1:], item])


@settings(max_examples=50)
@given(numbers=NUMBERS, n=st.integers(-1, 25))
def test_the_largest_and_the_smallest(numbers: list[int], n: int) -> None:
    """`nlargest` and `nsmallest` are those of `heapq`, with a key, too; they take nothing out."""
    heap = Heap(numbers)
    assert heap.nlargest(n) == heapq.nlargest(n, numbers)
    assert heap.nsmallest(n) == heapq.nsmallest(n, numbers)
    assert heap.nsmallest(n, key=lambda x: -x) == heapq.nlargest(n, numbers)
    assert heap.nlargest(n, lambda x: -x) == heapq.nsmallest(n, numbers)
    assert len(heap) == len(numbers)


CHANGES: dict[str, Callable[[Any, int], object]] = {
    "insert": lambda heap, index: heap.insert(index, 7),
    "append": lambda heap, _: heap.append(-7),
    "extend": lambda heap, _: heap.extend([5, -5]),
    "extend with itself": lambda heap, _: heap.extend(heap),
    "+=": lambda heap, _: heap.__iadd__([3]),
    "set": lambda heap, index: heap.__setitem__(index, -100),
    "set several": lambda heap, index: heap.__setitem__(slice(index), [9, -9, 0]),
    "delete": lambda heap, index: heap.__delitem__(index),
    "delete several": lambda heap, index: heap.__delitem__(slice(index)),
    "pop": lambda heap, index: heap.pop(index),
    "remove": lambda heap, index: heap.remove(heap[index]),
}


@pytest.mark.parametrize("change", CHANGES)
@settings(max_examples=50)
@given(numbers=NUMBERS.filter(bool), data=st.data())
def test_it_stays_a_heap(change: str, numbers: list[int], data: st.DataObject) -> None:
    """Whatever changes it, the items come out sorted, and they are those that a list has after the same change."""
    heap = Heap(numbers)
    model = list(heap)
    index = data.draw(st.integers(0, len(numbers) - 1))
    CHANGES[change](heap, index)
    CHANGES[change](model, index)
    assert heap[0:] == list(heap)
    assert drain(heap) == sorted(model)


@settings(max_examples=50)
@given(numbers=NUMBERS.filter(bool), data=st.data())
def test_any_item_can_be_popped(numbers: list[int], data: st.DataObject) -> None:
    """`pop` with an index takes the item at that place."""
    heap = Heap(numbers)
    index = data.draw(st.integers(-len(numbers), len(numbers) - 1))
    item = heap[index]
    assert heap.pop(index) == item
    rest = sorted(numbers)
    rest.remove(item)
    assert drain(heap) == rest


def test_an_empty_heap() -> None:
    """Taking from an empty heap is an `IndexError`; only `pushpop` needs nothing to be there."""
    heap = Heap[int]()
    empty: list[Callable[[], object]] = [
        heap.pop,
        lambda: heap.pop(3),
        lambda: heap.replace(1),
        lambda: heap[0],
    ]
    for call in empty:
        with pytest.raises(IndexError):
            call()
    assert heap.pushpop(5) == 5
    assert list(heap) == []
    heap.push(1)
    heap.clear()
    assert not heap


def test_a_heap_has_one_order() -> None:
    """It can't be reversed: the error says what to call for the largest."""
    heap = Heap([1, 2])
    with pytest.raises(TypeError, match="nlargest"):
        heap.reverse()
    assert drain(heap) == [1, 2]


def test_what_a_heap_looks_like() -> None:
    """Its `repr` is that of its list."""
    assert repr(Heap([2, 1])) == "[1, 2]"
    assert Heap([2, 1]).data == [1, 2]
    assert Heap([2, 1]).count(2) == 1
