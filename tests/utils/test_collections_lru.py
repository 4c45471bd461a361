"""A cache keeps what was used last, also for several threads."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from structmode.utils.collections import FastUserDict, LRUCache

KEYS = st.integers(0, 5)
VALUES = st.integers()
BOTH = pytest.mark.parametrize("thread_safety", [False, True])


def pickled(thing: Any) -> Any:
    """Return what is read back after pickling."""
    return pickle.loads(pickle.dumps(thing))  # noqa: S301 - it is ours


class CacheMachine(RuleBasedStateMachine):
    """Compares a cache with a list of pairs, the one used last at the end."""

    @initialize(limit=st.none() | st.integers(0, 4), thread_safety=st.booleans())
    def begin(self, limit: int | None, thread_safety: bool) -> None:
        """Make both."""
        self.cache: LRUCache[int, int] = LRUCache(limit, thread_safety=thread_safety)
        self.model: list[tuple[int, int]] = []

    def use(self, key: int, value: int) -> None:
        """Have a key at the end, and no more keys than there may be."""
        self.model = [*((k, v) for k, v in self.model if k != key), (key, value)]
        limit = self.cache.limit or len(self.model)
        self.model = self.model[-limit:]

    @rule(key=KEYS, value=VALUES)
    def set(self, key: int, value: int) -> None:
        """Set a key."""
        self.cache[key] = value
        self.use(key, value)

    @rule(pairs=st.lists(st.tuples(KEYS, VALUES), max_size=6, unique_by=lambda pair: pair[0]))
    def update(self, pairs: list[tuple[int, int]]) -> None:
        """Set several."""
        self.cache.update(pairs)
        for key, value in pairs:
            self.use(key, value)

    @rule(key=KEYS)
    def read(self, key: int) -> None:
        """Read a key that may be there."""
        there = dict(self.model)
        assert (key in self.cache) == (key in there)
        assert self.cache.get(key) == there.get(key)
        if key in there:
            assert self.cache[key] == there[key]
            self.use(key, there[key])
        else:
            with pytest.raises(KeyError):
                self.cache[key]

    @rule(key=KEYS, default=VALUES)
    def set_default(self, key: int, default: int) -> None:
        """Read a key, or set it."""
        value = dict(self.model).get(key, default)
        assert self.cache.setdefault(key, default) == value
        self.use(key, value)

    @rule(key=KEYS, default=VALUES)
    def pop(self, key: int, default: int) -> None:
        """Take a key away, if it is there."""
        assert self.cache.pop(key, default) == dict(self.model).get(key, default)
        assert self.cache.pop(key, default=None) is None
        self.model = [(k, v) for k, v in self.model if k != key]

    @rule(key=KEYS)
    def delete(self, key: int) -> None:
        """Delete a key that may be there."""
        if key in dict(self.model):
            del self.cache[key]
            self.model = [(k, v) for k, v in self.model if k != key]
            return
        with pytest.raises(KeyError):
            del self.cache[key]

    @rule(last=st.booleans())
    def pop_item(self, last: bool) -> None:
        """Take away the one used last, or not for longest."""
        if self.model:
            assert self.cache.popitem(last=last) == self.model.pop(-1 if last else 0)
            return
        with pytest.raises(KeyError):
            self.cache.popitem(last=last)

    @rule(key=KEYS, delta=VALUES)
    def increase(self, key: int, delta: int) -> None:
        """Add to a value that may be there."""
        there = dict(self.model)
        if key in there:
            assert self.cache.incr(key, delta) == there[key] + delta
            self.use(key, there[key] + delta)
            return
        with pytest.raises(KeyError):
            self.cache.incr(key, delta)

    @rule()
    def clear(self) -> None:
        """Empty it."""
        self.cache.clear()
        self.model = []

    @invariant()
    def the_same_is_in_both(self) -> None:
        """What is in it, in which order; looking changes nothing of that."""
        assert list(self.cache.items()) == self.model
        assert list(self.cache) == list(self.cache.keys()) == [key for key, _ in self.model]
        assert list(self.cache.values()) == [value for _, value in self.model]
        assert self.cache == dict(self.model)
        assert self.cache.copy() == dict(self.model)
        assert len(self.cache) == len(self.cache.items()) == len(self.model)


CacheMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestCache = CacheMachine.TestCase


@BOTH
def test_a_new_key_drops_the_one_not_used_for_longest(thread_safety: bool) -> None:
    """Reading and setting a key keeps it; the other one goes."""
    cache = LRUCache[str, int](limit=2, thread_safety=thread_safety)
    cache["a"], cache["b"] = 1, 2
    assert cache["a"] == 1
    cache["c"] = 3
    assert list(cache) == ["a", "c"]


@BOTH
def test_setting_a_key_that_is_there_drops_none(thread_safety: bool) -> None:
    """A full cache stays as it is when one of its keys gets another value."""
    cache = LRUCache[str, int](limit=2, thread_safety=thread_safety)
    cache.update(a=1, b=2)
    cache["a"] = 3
    assert cache.copy() == {"a": 3, "b": 2}


@BOTH
def test_views_use_nothing(thread_safety: bool) -> None:
    """Views show the cache as it is, later on too; what is looked for in them is not used by that."""
    cache = LRUCache[str, int](limit=2, thread_safety=thread_safety)
    keys, values, items = cache.keys(), cache.values(), cache.items()
    cache.update(a=1, b=2)
    assert "a" in cache
    assert "a" in keys
    assert keys & {"a", "z"} == {"a"}
    assert 1 in values
    assert ("a", 1) in items
    assert ("a", 2) not in items
    assert ("z", 1) not in items
    assert list(items) == [("a", 1), ("b", 2)]
    assert list(values) == [1, 2]
    assert len(values) == 2
    cache["c"] = 3
    assert list(keys) == ["b", "c"]


@pytest.mark.parametrize("limit", [None, 0])
def test_without_a_limit_all_stay(limit: int | None) -> None:
    """No limit, or one of 0, is none."""
    cache = LRUCache[int, int](limit)
    cache.update(zip(range(1000), range(1000), strict=True))
    assert len(cache) == 1000


def test_a_negative_limit_is_refused() -> None:
    """A negative limit is a mistake, and the error says what to pass."""
    with pytest.raises(ValueError, match=r"LRUCache\(limit=-1\).*limit=None"):
        LRUCache(limit=-1)


def test_a_limit_set_later_counts_from_the_next_change_on() -> None:
    """What is too much by a new limit goes when a key is set."""
    cache = LRUCache[str, int]()
    cache.update(a=1, b=2, c=3)
    cache.limit = 2
    assert len(cache) == 3
    cache["d"] = 4
    assert list(cache) == ["c", "d"]


def test_numbers_are_increased_in_kind() -> None:
    """A number stays a number, a string of one stays a string; what is neither stays as it is, with an error."""
    cache = LRUCache[str, Any]()
    cache.update(a=1, b="2", c="x")
    assert (cache.incr("a"), cache["a"]) == (2, 2)
    assert (cache.incr("b", 5), cache["b"]) == (7, "7")
    with pytest.raises(ValueError, match="x"):
        cache.incr("c")
    assert cache["c"] == "x"
    with pytest.raises(KeyError):
        cache.incr("z")


def test_popping_what_is_not_there() -> None:
    """Without a default it is a `KeyError`; `None` is a default."""
    cache = LRUCache[str, int]()
    with pytest.raises(KeyError, match="a"):
        cache.pop("a")
    assert cache.pop("a", None) is None


@BOTH
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
def test_it_can_be_copied_and_pickled(
    duplicate: Callable[[Any], Any], thread_safety: bool
) -> None:
    """A copy has the same keys in the same order, the same limit, and a life of its own."""
    cache = LRUCache[str, int](limit=2, thread_safety=thread_safety)
    cache.update(a=1, b=2)
    assert cache["a"] == 1
    other = duplicate(cache)
    assert type(other) is LRUCache
    assert list(other.items()) == [("b", 2), ("a", 1)]
    assert (other.limit, other.thread_safety) == (2, thread_safety)
    other["c"] = 3
    assert list(other) == ["a", "c"]
    assert list(cache) == ["b", "a"]


def test_it_is_a_dictionary_like_the_others() -> None:
    """It is a `FastUserDict`, made from keys, and shown as what is in it."""
    cache = LRUCache[str, int].fromkeys("ab", 1)
    assert isinstance(cache, LRUCache)
    assert isinstance(cache, FastUserDict)
    assert repr(cache) == "{'a': 1, 'b': 1}"


@given(limit=st.integers(1, 5))
@settings(max_examples=3, deadline=None)
def test_threads_use_it_at_once(limit: int) -> None:
    """Several threads that read, set, add up, look at and drop keys get whole answers, and never more keys than may be."""
    cache: LRUCache[int, int] = LRUCache(limit, thread_safety=True)
    threads, rounds = 4, 150
    barrier = Barrier(threads)
    switching = sys.getswitchinterval()

    def use(number: int) -> None:
        barrier.wait()
        for turn in range(rounds):
            cache[turn % 7] = number
            cache.get(turn % 5)
            cache.setdefault(turn % 3, number)
            cache.update({turn % 11: turn})
            cache.pop(turn % 13, None)
            assert len(list(cache.items())) <= limit
            assert len(pickled(cache)) <= limit
            assert all(value is not None for value in cache.values())

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(use, range(threads)))
    finally:
        sys.setswitchinterval(switching)
    assert len(cache) <= limit


def test_threads_lose_no_count() -> None:
    """What several threads add to one value adds up."""
    cache: LRUCache[str, int] = LRUCache(thread_safety=True)
    cache["hits"] = 0
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: cache.incr("hits"), range(800)))
    finally:
        sys.setswitchinterval(switching)
    assert cache["hits"] == 800


def test_caches_that_read_each_other_do_not_deadlock() -> None:
    """An update reads its source before it locks the cache: two that are updated from each other both return."""

    class Reading:
        """Has the cache used, by another thread, while it is read itself."""

        def keys(self) -> list[str]:
            with ThreadPoolExecutor(1) as pool:
                pool.submit(cache.__setitem__, "from the other thread", 1).result(timeout=30)
            return ["a"]

        def __getitem__(self, key: str) -> int:
            return len(key)

    cache: LRUCache[str, int] = LRUCache(thread_safety=True)
    cache.update(Reading())
    assert cache.copy() == {"from the other thread": 1, "a": 1}
