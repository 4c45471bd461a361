"""The chapter `mode.utils.collections` of mode's manual: heaps, containers by their type, attributes for keys."""

from __future__ import annotations

from structmode.utils.collections import (
    AttributeDict,
    DictAttribute,
    FastUserDict,
    FastUserSet,
    Heap,
    LRUCache,
    ManagedUserDict,
    ManagedUserSet,
)


def test_replace_the_smallest_unless_it_is_larger() -> None:
    """What is larger than the smallest item may take its place; what comes back is the smallest of all."""
    heap = Heap([5, 3, 8])
    kept: list[int] = []
    for item in (1, 4, 9):
        if item > heap[0]:
            item = heap.replace(item)
        kept.append(item)
    assert kept == [1, 3, 4]
    assert [heap.pop() for _ in range(len(heap))] == [5, 8, 9]


class Ages(FastUserDict[str, int]):
    """A dictionary by its types."""

    def __init__(self) -> None:
        self.data = {}


class Watched(ManagedUserDict[str, int]):
    """One that tells of its changes."""

    def __init__(self) -> None:
        self.data = {}
        self.told: list[str] = []

    def on_key_set(self, key: str, value: int) -> None:
        self.told.append(f"{key}={value}")


class Names(FastUserSet[str]):
    """A set by its type."""

    def __init__(self) -> None:
        self.data = set()


class WatchedNames(ManagedUserSet[str]):
    """One that tells of its changes."""

    def __init__(self) -> None:
        self.data = set()
        self.told: list[str] = []

    def on_add(self, value: str) -> None:
        self.told.append(value)


def test_containers_by_their_types() -> None:
    """The classes are generic: subclasses say what is in them."""
    ages, watched = Ages(), Watched()
    ages["cat"] = watched["cat"] = 7
    assert dict(ages) == dict(watched) == {"cat": 7}
    assert watched.told == ["cat=7"]
    names, watched_names = Names(), WatchedNames()
    names.add("cat")
    watched_names.add("cat")
    assert names | {"dog"} == {"cat", "dog"}
    assert watched_names.told == ["cat"]


def test_attributes_and_keys() -> None:
    """`d.key` is `d[key]` in one, and `d[key]` is `obj.key` in the other."""
    attributes = AttributeDict({"key": 1})
    attributes.other = 2
    assert (attributes.key, attributes["other"]) == (1, 2)

    class Thing:
        key = 1

    thing = Thing()
    keys: DictAttribute[int] = DictAttribute(thing)
    keys["other"] = 2
    assert (keys["key"], keys["other"], vars(thing)) == (1, 2, {"other": 2})


def test_a_cache() -> None:
    """When the limit has been exceeded, what has not been used for longest is discarded."""
    cache: LRUCache[str, int] = LRUCache(limit=2)
    cache["a"], cache["b"] = 1, 2
    assert cache["a"] == 1
    cache["c"] = 3
    assert sorted(cache) == ["a", "c"]
