"""Containers, names and imports as users write them, for the type checkers: it is checked, and never run.

As in `test_public_types.py`: `assert_type` says what they must infer, and `type: ignore[...]` marks what must be an error.
"""

from __future__ import annotations

# An ignored error that is none would be a hole in the types.
# pyright: reportUnnecessaryTypeIgnoreComment=true
from collections.abc import ItemsView, KeysView, Mapping, ValuesView
from typing import Any, assert_type

from structmode import label, shortlabel
from structmode.utils.collections import (
    AttributeDict,
    DictAttribute,
    FastUserDict,
    FastUserList,
    FastUserSet,
    Heap,
    LRUCache,
    ManagedUserDict,
    ManagedUserSet,
    force_mapping,
)
from structmode.utils.compat import DummyContext, want_bytes, want_str
from structmode.utils.imports import FactoryMapping, SymbolArg, smart_import, symbol_by_name
from structmode.utils.objects import (
    Unordered,
    annotations as fields_of,
    cached_property,
    guess_polymorphic_type,
    is_optional,
)
from structmode.utils.text import FuzzyMatch, fuzzymatch_best, fuzzymatch_iter, maybecat


class Driver:
    """What a plugin is."""


class Words(ManagedUserDict[str, int]):
    """Is told of its keys."""

    def on_key_set(self, key: str, value: int) -> None:
        """Is called with the right types."""


class Letters(ManagedUserSet[str]):
    """Is told of its elements."""

    def on_change(self, added: set[str], removed: set[str]) -> None:
        """Is called with the right types."""


def dictionaries(words: Words, plain: FastUserDict[str, int]) -> None:
    """Keys and values keep their types."""
    assert_type(words["a"], int)
    assert_type(words.get("a"), int | None)
    assert_type(words.copy(), dict[str, int])
    assert_type(words.keys(), KeysView[str])
    assert_type(words.values(), ValuesView[int])
    assert_type(words.items(), ItemsView[str, int])
    assert_type(words.pop("a", None), int | None)
    assert_type(Words.fromkeys("ab", 1), Words)
    words.update({"a": 1}, b=2)
    words.update([("a", 1)])
    words[1] = 1  # type: ignore[index]
    words["a"] = "a"  # type: ignore[assignment]
    plain.update({1: 2})  # type: ignore[dict-item]


def sets(letters: Letters) -> None:
    """Elements keep their type; what the methods return is a `set`."""
    assert_type(letters.union("ab"), set[str])
    assert_type(letters.copy(), set[str])
    assert_type(letters.pop(), str)
    letters |= {"a"}
    assert_type(letters, Letters)
    letters.add(1)  # type: ignore[arg-type]
    assert letters == {"a"}
    assert_type(FastUserSet[int]().intersection([1, "x"]), set[int])
    assert_type(FastUserList([1])[0], int)


def caches() -> None:
    """A cache is generic, made with a limit."""
    cache = LRUCache[str, int](10, thread_safety=True)
    assert_type(cache["a"], int)
    assert_type(cache.pop("a"), int)
    assert_type(cache.pop("a", default=None), int | None)
    assert_type(cache.popitem(last=False), tuple[str, int])
    assert_type(cache.incr("a"), int)
    assert_type(cache.items(), ItemsView[str, int])
    LRUCache[str, int](10, True)  # type: ignore[call-arg]
    LRUCache[str, int]("10")  # type: ignore[arg-type]


def heaps() -> None:
    """A heap is a sequence of its items."""
    heap = Heap([3, 1])
    assert_type(heap, Heap[int])
    assert_type(heap[0], int)
    assert_type(heap[:1], list[int])
    assert_type(heap.pop(), int)
    assert_type(heap.nsmallest(1, key=lambda item: -item), list[int])
    heap.push("a")  # type: ignore[arg-type]
    assert_type(Unordered(1).value, int)


def attributes(options: AttributeDict[int]) -> None:
    """Attributes may be anything."""
    assert_type(options["a"], int)
    assert_type(options.a, Any)
    assert_type(DictAttribute[int](options)["a"], int)
    assert_type(force_mapping(options), Mapping[Any, Any])


class Client:
    """Has cached properties."""

    @cached_property
    def driver(self) -> Driver:
        """Made when it is needed."""
        return Driver()


def properties(client: Client) -> None:
    """Of the object it is the value, of the class the property."""
    assert_type(client.driver, Driver)
    assert_type(Client.driver, cached_property[Driver])
    assert_type(Client.driver.is_set(client), bool)
    client.driver = Driver()
    del client.driver
    client.driver = 5  # type: ignore[assignment]


def imports(driver: SymbolArg[type[Driver]]) -> None:
    """A thing or its name is the thing; a name alone may be anything."""
    assert_type(symbol_by_name(driver), type[Driver])
    assert_type(symbol_by_name(Driver), type[Driver])
    assert_type(symbol_by_name("package:Driver"), Any)
    assert_type(smart_import("package"), Any)
    drivers: FactoryMapping[type[Driver]] = FactoryMapping({"kafka": "x:Driver"}, redis="y:Driver")
    assert_type(drivers.by_name("kafka"), type[Driver])
    assert_type(drivers.by_url("kafka://"), type[Driver])
    assert_type(list(drivers.iterate()), list[type[Driver]])
    assert_type(drivers["kafka"], str)
    drivers["kafka"] = Driver  # type: ignore[assignment]


def texts(thing: object) -> None:
    """Texts are texts."""
    assert_type(label(thing), str)
    assert_type(shortlabel(thing), str)
    assert_type(want_str(b"a"), str)
    assert_type(want_bytes("a"), bytes)
    assert_type(maybecat("a", "b"), str | None)
    assert_type(fuzzymatch_best(["a"], "a"), str | None)
    assert_type(list(fuzzymatch_iter(["a"], "a")), list[FuzzyMatch])
    with DummyContext(5) as five:
        assert_type(five, int)


def types() -> None:
    """Types are asked for by whatever is a type."""
    fields, defaults = fields_of(Driver, stop=object, skip_classvar=True)
    assert_type(fields, Mapping[str, Any])
    assert_type(defaults, Mapping[str, Any])
    assert_type(is_optional(int | None), bool)
    assert_type(guess_polymorphic_type(list[int]), tuple[type, Any])
