"""A cache keeps what was used last, also for several threads."""

from __future__ import annotations

import copy
import pickle
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier, Thread
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st

from structmode.utils.collections import FastUserDict, LRUCache, ManagedUserDict

KEYS = st.integers(0, 5)
VALUES = st.integers()
BOTH = pytest.mark.parametrize("thread_safety", [False, True])


def pickled(thing: Any) -> Any:
    """Return what is read back after pickling."""
    return pickle.loads(pickle.dumps(thing))  # noqa: S301 - it is ours


class Slow:
    """What a cache does, on a list of pairs: the one used last is at the end."""

    def __init__(self, limit: int | None) -> None:
        self.pairs: list[tuple[int, int]] = []
        self.limit = limit or sys.maxsize

    def drop(self, key: int) -> int:
        """Take a key away, and return its value."""
        value = dict(self.pairs)[key]
        self.pairs = [pair for pair in self.pairs if pair[0] != key]
        return value

    def __setitem__(self, key: int, value: int) -> None:
        self.pairs = [*(pair for pair in self.pairs if pair[0] != key), (key, value)]
        self.pairs = self.pairs[-self.limit :]

    def __getitem__(self, key: int) -> int:
        self[key] = value = self.drop(key)
        return value

    def __delitem__(self, key: int) -> None:
        self.drop(key)

    def __contains__(self, key: int) -> bool:
        return key in dict(self.pairs)

    def get(self, key: int, default: int | None = None) -> int | None:
        """Read a key, if it is there."""
        return self[key] if key in dict(self.pairs) else default

    def setdefault(self, key: int, default: int) -> int:
        """Read a key, or set it."""
        self[key] = value = dict(self.pairs).get(key, default)
        return value

    def pop(self, key: int, *default: int) -> int:
        """Take a key away, if it is there."""
        return default[0] if default and key not in self else self.drop(key)

    def popitem(self, last: bool) -> tuple[int, int]:
        """Take away the one used last, or not for longest."""
        return self.pairs.pop(-1 if last else 0)

    def incr(self, key: int, delta: int) -> int:
        """Add to a value."""
        self[key] = value = self.drop(key) + delta
        return value

    def update(self, pairs: list[tuple[int, int]]) -> None:
        """Set several keys."""
        for key, value in pairs:
            self[key] = value

    def clear(self) -> None:
        """Take all away."""
        self.pairs = []


def outcome(function: Callable[[], Any]) -> Any:
    """Return what a call returns, or that it has not found what it looked for."""
    try:
        return function()
    except LookupError:
        return LookupError


STEPS = st.one_of(
    st.tuples(
        st.sampled_from(["__setitem__", "get", "setdefault", "pop", "incr"]),
        st.tuples(KEYS, VALUES),
    ),
    st.tuples(
        st.sampled_from(["__getitem__", "__delitem__", "__contains__", "get", "pop"]),
        st.tuples(KEYS),
    ),
    st.tuples(
        st.just("update"),
        st.tuples(st.lists(st.tuples(KEYS, VALUES), max_size=6, unique_by=lambda pair: pair[0])),
    ),
    st.tuples(st.just("clear"), st.just(())),
    st.tuples(st.just("popitem"), st.booleans()),
)


@BOTH
@given(limit=st.none() | st.integers(0, 4), steps=st.lists(STEPS, max_size=15))
@example(limit=None, steps=[("__setitem__", (1, 2)), ("incr", (1, 3))])
@settings(max_examples=60)
def test_it_does_what_a_cache_does(
    thread_safety: bool, limit: int | None, steps: list[tuple[str, Any]]
) -> None:
    """Whatever is called, in whatever order, it has the same keys in the same order as the slow one."""
    cache: LRUCache[int, int] = LRUCache(limit, thread_safety=thread_safety)
    slow = Slow(limit)
    for name, args in steps:
        keywords = {"last": args} if name == "popitem" else {}
        positional = () if keywords else args
        real = outcome(partial(getattr(cache, name), *positional, **keywords))
        assert real == outcome(partial(getattr(slow, name), *positional, **keywords))
        assert list(cache.items()) == slow.pairs
        assert list(cache) == list(cache.keys()) == [key for key, _ in slow.pairs]
        assert list(cache.values()) == [value for _, value in slow.pairs]
        assert cache == cache.copy() == dict(slow.pairs)
        assert len(cache) == len(cache.items()) == len(slow.pairs)


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


@BOTH
def test_what_is_iterated_over_may_be_used(thread_safety: bool) -> None:
    """A loop over the keys, the values or the items may read, set and drop keys: it goes over what was there at first."""
    cache = LRUCache[str, int](limit=4, thread_safety=thread_safety)
    cache.update(a=1, b=2, c=3)
    assert [cache[key] for key in cache] == [1, 2, 3]
    assert [cache[key] for key in cache.keys()] == [1, 2, 3]  # noqa: SIM118 - the view is what is tested
    for value in cache.values():
        cache["sum"] = cache.get("sum", 0) + value
    for key, value in cache.items():
        cache[key] = -value
    assert cache.copy() == {"a": -1, "b": -2, "c": -3, "sum": -6}
    for key in cache:
        del cache[key]
    assert not cache


@BOTH
def test_another_dictionary_may_be_made_of_it(thread_safety: bool) -> None:
    """Whatever reads a mapping key by key can read a cache, and gets all of it."""
    cache = LRUCache[str, int](thread_safety=thread_safety)
    cache.update(a=1, b=2, c=3)
    told, bare = ManagedUserDict[str, int](), FastUserDict[str, int]()
    told.update(cache)
    bare.update(cache)
    assert told == bare == dict(cache) == {**cache} == {"a": 1, "b": 2, "c": 3}
    assert list(cache) == ["a", "b", "c"]


@BOTH
def test_missing_keys_may_be_made(thread_safety: bool) -> None:
    """`__missing__` is asked for what is not there; what it puts in is used, and drops what is too much."""

    class Squares(LRUCache[int, int]):
        def __missing__(self, key: int) -> int:
            self[key] = key * key
            return self[key]

    class Guesses(LRUCache[int, int]):
        def __missing__(self, key: int) -> int:
            return key

    squares = Squares(limit=2, thread_safety=thread_safety)
    assert [squares[key] for key in (1, 2, 1, 3)] == [1, 4, 1, 9]
    assert squares.copy() == {1: 1, 3: 9}
    assert squares.get(4) == 16
    guesses = Guesses(thread_safety=thread_safety)
    assert (guesses[5], len(guesses)) == (5, 0)


@pytest.mark.parametrize("limit", [None, 0])
def test_without_a_limit_all_stay(limit: int | None) -> None:
    """No limit, or one of 0, is none."""
    cache = LRUCache[int, int](limit)
    cache.update(zip(range(1000), range(1000), strict=True))
    assert len(cache) == 1000


def test_a_negative_limit_is_refused() -> None:
    """A negative limit is a mistake, and the error says what to pass."""
    with pytest.raises(ValueError, match=r"limit=-1.*limit=None"):
        LRUCache(limit=-1)
    cache = LRUCache[str, int](limit=3)
    with pytest.raises(ValueError, match=r"limit=-1.*limit=None"):
        cache.limit = -1
    cache["a"] = 1
    assert (cache.limit, cache.copy()) == (3, {"a": 1})


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
    for value in ("x", "1.5", 1.5, b"1", None):
        cache["c"] = value
        with pytest.raises(
            ValueError, match=re.escape(f"incr('c'): {value!r} is no whole number")
        ):
            cache.incr("c")
        assert cache["c"] is value
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


def test_no_thread_sees_half_an_update() -> None:
    """What another thread asks for while a cache changes, it gets when the change is done."""
    cache: LRUCache[Any, int] = LRUCache(thread_safety=True)
    seen: list[int] = []
    asking: list[Thread] = []

    class Key:
        """Has another thread ask for the length, while it is put in."""

        def __hash__(self) -> int:
            if "first" in cache.data and not asking:
                asking.append(Thread(target=lambda: seen.append(len(cache))))
                asking[0].start()
                asking[0].join(timeout=0.05)
            return 1

    cache.update([("first", 1), (Key(), 2)])
    asking[0].join()
    assert seen == [2]


def test_caches_that_read_each_other_do_not_deadlock() -> None:
    """An update reads its source before it locks the cache: what the source waits for may need the cache itself."""

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
