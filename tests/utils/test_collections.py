"""Dictionaries, sets and lists that pass everything on: they do what the built-in ones do."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, MutableMapping, MutableSet
from inspect import getmembers
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from structmode.utils.collections import (
    AttributeDict,
    AttributeDictMixin,
    DictAttribute,
    FastUserDict,
    FastUserList,
    FastUserSet,
    Heap,
    ManagedUserDict,
    ManagedUserSet,
    force_mapping,
)

KEYS = st.integers(0, 4)
PAIRS = st.lists(st.tuples(KEYS, st.integers()), max_size=5)
SETS = st.frozensets(KEYS)

Step = tuple[str, tuple[Any, ...]]


class Words(FastUserDict[str, int]):
    """A dictionary with data of its own."""

    def __init__(self, *args: Any, **kwargs: int) -> None:
        self.data = dict(*args, **kwargs)


class Letters(FastUserSet[str]):
    """A set with data of its own."""

    def __init__(self, letters: Iterable[str] = ()) -> None:
        self.data = set(letters)


def outcome(function: Callable[..., Any], *args: Any) -> Any:
    """Return what a call returns, or the kind of error it raises."""
    try:
        return function(*args)
    except (KeyError, TypeError) as error:
        return type(error)


def pickled(thing: Any) -> Any:
    """Return what is read back after pickling."""
    return pickle.loads(pickle.dumps(thing))  # noqa: S301 - it is ours


# --- FastUserDict ---------------------------------------------------------------------------------

DICT_STEPS = st.one_of(
    st.tuples(st.just("__setitem__"), st.tuples(KEYS, st.integers())),
    st.tuples(
        st.sampled_from(
            ["__getitem__", "__delitem__", "__contains__", "get", "pop", "setdefault"]
        ),
        st.tuples(KEYS),
    ),
    st.tuples(st.sampled_from(["pop", "get", "setdefault"]), st.tuples(KEYS, st.integers())),
    st.tuples(st.just("update"), st.tuples(PAIRS)),
    st.tuples(st.just("update"), st.tuples(PAIRS.map(dict))),
    st.tuples(st.sampled_from(["clear", "copy", "__len__", "__repr__"]), st.just(())),
    st.tuples(st.just("update"), st.tuples(st.integers())),
)


@pytest.mark.parametrize("cls", [FastUserDict, ManagedUserDict])
@settings(max_examples=50)
@given(start=PAIRS, steps=st.lists(DICT_STEPS, max_size=12))
def test_it_does_what_a_dict_does(
    cls: type[FastUserDict[int, int]], start: list[tuple[int, int]], steps: list[Step]
) -> None:
    """Whatever is called, in whatever order, it returns or raises what a `dict` does, and has the same in it."""
    real: FastUserDict[int, int] = cls()
    model: dict[int, int] = {}
    for name, args in [("update", (start,)), *steps]:
        assert outcome(getattr(real, name), *args) == outcome(getattr(model, name), *args)
        assert real == model
        assert list(real) == list(model)
        assert list(real.items()) == list(model.items())
        assert list(real.values()) == list(model.values())
        assert real.keys() == model.keys()
        assert bool(real) == bool(model)


def test_the_data_may_be_any_mapping() -> None:
    """What a subclass sets as `data`, or has as a property, is what is changed."""
    ordered: MutableMapping[str, int] = OrderedDict(a=1)

    class Fixed(FastUserDict[str, int]):
        @property
        def data(self) -> MutableMapping[str, int]:  # type: ignore[override]
            return ordered

    fixed = Fixed()
    fixed["b"] = 2
    assert ordered == {"a": 1, "b": 2}
    assert fixed.copy() == {"a": 1, "b": 2}
    assert type(fixed.copy()) is dict


def test_each_has_data_of_its_own() -> None:
    """Without a constructor, each gets an empty dictionary, and no other's."""
    first, second = FastUserDict[str, int](), FastUserDict[str, int]()
    first["a"] = 1
    assert first.data == {"a": 1}
    assert second.data == {}
    assert not isinstance(
        dict(getmembers(FastUserDict))["data"], dict
    )  # none that all would share
    first.data = {"z": 26}
    assert first == {"z": 26}


def test_missing_keys_may_be_made() -> None:
    """`__missing__` is asked for what is not there, by `[]` and by `get`; what is there it is not asked for."""

    class Counting(FastUserDict[str, int]):
        def __missing__(self, key: str) -> int:
            self[key] = len(key)
            return self[key]

    counting = Counting()
    assert counting["abc"] == 3
    assert counting.get("de") == 2
    counting["abc"] = 0
    assert counting["abc"] == 0
    assert counting == {"abc": 0, "de": 2}


def test_from_keys() -> None:
    """`fromkeys` makes one of the same class, with one value for all."""
    words = Words.fromkeys("ab", 1)
    assert type(words) is Words
    assert words == {"a": 1, "b": 1}
    assert Words.fromkeys("ab") == {"a": None, "b": None}


def test_dicts_can_be_joined() -> None:
    """``|`` gives a built-in dict, from either side, ``|=`` changes what there is; and they can be gone through backwards."""
    words = Words(a=1, b=2)
    assert words | {"b": 3, "c": 4} == {"a": 1, "b": 3, "c": 4}
    assert {"b": 3, "c": 4} | words == {"b": 2, "c": 4, "a": 1}
    assert words | Words(d=5) == {"a": 1, "b": 2, "d": 5}
    assert type(words | words) is type({} | words) is dict
    assert list(reversed(words)) == ["b", "a"]
    same = words
    same |= {"b": 3}
    same |= [("c", 4)]
    assert same is words
    assert words == {"a": 1, "b": 3, "c": 4}
    other: Any = [("a", 1)]
    with pytest.raises(TypeError, match=r"\|"):
        _ = words | other
    with pytest.raises(TypeError, match=r"\|"):
        _ = other | words


def test_keywords_are_keys() -> None:
    """`update` takes keywords, `self` among them."""
    words = Words(a=1)
    words.update({"b": 2}, c=3, self=4)
    assert words == {"a": 1, "b": 2, "c": 3, "self": 4}


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
def test_they_can_be_copied_and_pickled(duplicate: Callable[[Any], Any]) -> None:
    """A copy, or what is read back, is of the same class and equal."""
    words, letters = Words(a=1), Letters("ab")
    assert type(duplicate(words)) is Words
    assert duplicate(words) == words
    assert type(duplicate(letters)) is Letters
    assert duplicate(letters) == letters
    untouched: FastUserDict[str, int] = FastUserDict()
    assert duplicate(untouched) == {}


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
def test_a_copy_has_data_of_its_own(duplicate: Callable[[Any], Any]) -> None:
    """What is done to a copy is not done to what it was copied from, as with the built-in containers."""
    words, letters, heap = Words(a=1), Letters("ab"), Heap([2, 1])
    more_words, more_letters, more_heap = map(duplicate, (words, letters, heap))
    more_words["b"] = 2
    more_letters.add("c")
    more_heap.push(0)
    assert (words.data, letters.data, heap.data) == ({"a": 1}, {"a", "b"}, [1, 2])
    assert (more_words.data, more_letters.data) == ({"a": 1, "b": 2}, {"a", "b", "c"})
    assert [more_heap.pop() for _ in range(3)] == [0, 1, 2]


def test_a_copy_keeps_what_else_there_is() -> None:
    """Other attributes are copied as they are, and data that are looked up elsewhere stay where they are."""
    ordered: OrderedDict[str, int] = OrderedDict(a=1)

    class Elsewhere(FastUserDict[str, int]):
        note = ["class"]  # noqa: RUF012 - not for the type checker

        @property
        def data(self) -> MutableMapping[str, int]:  # type: ignore[override]
            return ordered

    one = Elsewhere()
    one.note = ["own"]
    other = copy.copy(one)
    assert other.note is one.note
    assert other.data is ordered


# --- FastUserSet ----------------------------------------------------------------------------------

OTHERS: dict[str, Callable[[frozenset[int]], Any]] = {
    "frozenset": frozenset,
    "set": set,
    "list": list,
    "iterator": iter,
    "dict": dict.fromkeys,
    "keys": lambda elements: dict.fromkeys(elements).keys(),
    "same kind": lambda elements: set_of(FastUserSet, elements),
}
KINDS = st.sampled_from(list(OTHERS))
KINDS_OF_SETS = st.sampled_from(["frozenset", "set", "keys", "same kind"])
CLASSES = st.sampled_from([FastUserSet, ManagedUserSet])
READING = (
    "union intersection difference symmetric_difference isdisjoint issubset issuperset".split()
)
CHANGING = "update intersection_update difference_update symmetric_difference_update".split()
OPERATORS = "__and__ __or__ __sub__ __xor__ __le__ __lt__ __ge__ __gt__ __eq__ __ne__".split()
REFLECTED = "__rand__ __ror__ __rsub__ __rxor__".split()
IN_PLACE = "__iand__ __ior__ __isub__ __ixor__".split()


def set_of(cls: type[FastUserSet[int]], elements: Iterable[int]) -> FastUserSet[int]:
    """Make a set with some elements."""
    made = cls()
    made.data = set(elements)
    return made


@pytest.mark.parametrize("name", READING)
@settings(max_examples=50)
@given(kind=KINDS, elements=SETS, other=SETS)
def test_what_reads_a_set(
    name: str, kind: str, elements: frozenset[int], other: frozenset[int]
) -> None:
    """Each method returns what a `set` returns, for any iterable, as a built-in set, and changes nothing."""
    real = set_of(FastUserSet, elements)
    found = getattr(real, name)(OTHERS[kind](other))
    assert found == getattr(set(elements), name)(other)
    assert type(found) in {set, bool}
    assert real == elements


@pytest.mark.parametrize("name", CHANGING)
@settings(max_examples=50)
@given(kind=KINDS, cls=CLASSES, elements=SETS, other=SETS)
def test_what_changes_a_set(
    name: str,
    kind: str,
    cls: type[FastUserSet[int]],
    elements: frozenset[int],
    other: frozenset[int],
) -> None:
    """Each method that changes a set in place does so as with a `set`, for any iterable."""
    real, model = set_of(cls, elements), set(elements)
    assert getattr(real, name)(OTHERS[kind](other)) is None
    getattr(model, name)(other)
    assert real == model


@pytest.mark.parametrize("name", ["difference", "intersection", "union"])
@given(elements=SETS, others=st.lists(SETS, min_size=1, max_size=3))
def test_what_reads_several_sets(
    name: str, elements: frozenset[int], others: list[frozenset[int]]
) -> None:
    """Several sets may be given at once, as with a `set`."""
    real = set_of(FastUserSet, elements)
    assert getattr(real, name)(*map(list, others)) == getattr(set(elements), name)(*others)


@pytest.mark.parametrize("name", ["difference_update", "intersection_update", "update"])
@given(cls=CLASSES, elements=SETS, others=st.lists(SETS, min_size=1, max_size=3))
def test_what_changes_by_several_sets(
    name: str, cls: type[FastUserSet[int]], elements: frozenset[int], others: list[frozenset[int]]
) -> None:
    """Several sets may be given at once, as with a `set`; one that tells of it does so once."""
    real, model = set_of(cls, elements), set(elements)
    getattr(real, name)(*map(list, others))
    getattr(model, name)(*others)
    assert real == model
    told = ToldSet(elements)
    getattr(told, name)(*others)
    assert len(told.told) == (model != elements)


@pytest.mark.parametrize("name", OPERATORS)
@settings(max_examples=50)
@given(kind=KINDS_OF_SETS, elements=SETS, other=SETS)
def test_operators_of_sets(
    name: str, kind: str, elements: frozenset[int], other: frozenset[int]
) -> None:
    """Operators give what they give for built-in sets, with sets of any kind on the other side, both ways round."""
    real, them = set_of(FastUserSet, elements), OTHERS[kind](other)
    assert getattr(real, name)(them) == getattr(elements, name)(other)


@pytest.mark.parametrize("name", REFLECTED)
@settings(max_examples=50)
@given(elements=SETS, other=SETS)
def test_operators_with_a_built_in_set_on_the_left(
    name: str, elements: frozenset[int], other: frozenset[int]
) -> None:
    """The same holds if the built-in set is on the left."""
    expected = getattr(elements, name)(other)
    assert getattr(set_of(FastUserSet, elements), name)(other) == expected


@pytest.mark.parametrize("name", IN_PLACE)
@settings(max_examples=50)
@given(kind=KINDS_OF_SETS, cls=CLASSES, elements=SETS, other=SETS)
def test_operators_in_place(
    name: str,
    kind: str,
    cls: type[FastUserSet[int]],
    elements: frozenset[int],
    other: frozenset[int],
) -> None:
    """Operators with `=` change the set itself, and leave it the same object."""
    real, model = set_of(cls, elements), set(elements)
    assert getattr(real, name)(OTHERS[kind](other)) is real
    getattr(model, name)(other)
    assert real == model


@pytest.mark.parametrize("name", [*OPERATORS[:-2], *REFLECTED, *IN_PLACE])
@pytest.mark.parametrize("other", [5, [1], "b", {1: 2}], ids=repr)
@pytest.mark.parametrize("cls", [FastUserSet, ManagedUserSet])
def test_operators_take_sets_only(cls: type[FastUserSet[int]], other: object, name: str) -> None:
    """An operator does not take a list for a set, as built-in sets do not."""
    numbers = set_of(cls, [1])
    assert getattr({1}, name)(other) is NotImplemented
    assert getattr(numbers, name)(other) is NotImplemented
    assert numbers == {1}


def test_a_set_is_not_replaced_by_what_is_no_set() -> None:
    """With a list on the right, `|=` is a mistake, as with a built-in set: the name still means the set that tells of changes."""
    letters = ManagedUserSet[str]()
    listed: Any = ["a"]
    with pytest.raises(TypeError, match=r"\|=.*'ManagedUserSet' and 'list'"):
        letters |= listed
    assert type(letters) is ManagedUserSet
    letters.update(listed)
    assert letters == {"a"}


@pytest.mark.parametrize("cls", [FastUserSet, ManagedUserSet])
@settings(max_examples=50)
@given(
    elements=SETS,
    steps=st.lists(
        st.one_of(
            st.tuples(
                st.sampled_from(["add", "discard", "remove", "__contains__"]), st.tuples(KEYS)
            ),
            st.tuples(st.sampled_from(["clear", "copy", "__len__"]), st.just(())),
            st.tuples(st.just("add"), st.tuples(st.just([]))),
        ),
        max_size=12,
    ),
)
def test_it_does_what_a_set_does(
    cls: type[FastUserSet[int]], elements: frozenset[int], steps: list[Step]
) -> None:
    """Whatever is called, in whatever order, it returns or raises what a `set` does, and has the same in it."""
    real, model = set_of(cls, elements), set(elements)
    for name, args in steps:
        assert outcome(getattr(real, name), *args) == outcome(getattr(model, name), *args)
        assert real == model
        assert sorted(real) == sorted(model)
        assert repr(real) == repr(real.data)


@pytest.mark.parametrize("cls", [FastUserSet, ManagedUserSet])
@settings(max_examples=50)
@given(elements=SETS)
def test_pop_takes_each_element_once(
    cls: type[FastUserSet[int]], elements: frozenset[int]
) -> None:
    """`pop` gives all elements, one after the other, and then raises `KeyError`."""
    real = set_of(cls, elements)
    assert sorted(real.pop() for _ in elements) == sorted(elements)
    with pytest.raises(KeyError):
        real.pop()


def test_sets_without_data_are_empty() -> None:
    """Each gets an empty set, and no other's."""
    first, second = FastUserSet[str](), FastUserSet[str]()
    first.add("a")
    assert first == {"a"}
    assert second == set()
    assert isinstance(first.copy(), set)
    with pytest.raises(TypeError, match="unhashable"):
        hash(first)


def test_the_data_may_be_any_set() -> None:
    """A set that has nothing but what `MutableSet` asks for will do."""

    class Sorted(MutableSet[str]):
        def __init__(self, items: Iterable[str] = ()) -> None:
            self.items = sorted(set(items))

        def __contains__(self, item: object) -> bool:
            return item in self.items

        def __iter__(self) -> Any:
            return iter(self.items)

        def __len__(self) -> int:
            return len(self.items)

        def add(self, value: str) -> None:
            self.items = sorted({*self.items, value})

        def discard(self, value: str) -> None:
            self.items = [item for item in self.items if item != value]

    letters = ManagedUserSet[str]()
    letters.data = Sorted("ca")
    letters.update("bd")
    letters.raw_update("e")
    letters.difference_update("d")
    letters ^= {"a", "z"}
    assert list(letters) == ["b", "c", "e", "z"]
    assert "e" in letters
    assert letters & {"b", "x"} == {"b"}
    assert letters.issuperset("bc")


# --- Callbacks ------------------------------------------------------------------------------------


class ToldDict(ManagedUserDict[str, int]):
    """Writes down what it is told, and what it had in it at that time."""

    def __init__(self, **kwargs: int) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.data = dict(kwargs)

    def on_key_get(self, key: str) -> None:
        self.told.append(("get", key))

    def on_key_set(self, key: str, value: int) -> None:
        self.told.append(("set", key, value, self.data.get(key)))

    def on_key_del(self, key: str) -> None:
        self.told.append(("del", key, self.data.get(key)))

    def on_clear(self) -> None:
        self.told.append(("clear", len(self.data)))


def test_a_managed_dict_tells_before_it_happens() -> None:
    """Each way to read, set or delete a key is told, before it happens."""
    told = ToldDict(a=1)
    told["b"] = told["a"]
    told["b"] = 5
    del told["a"]
    told.update({"c": 3}, d=4)
    told.update([("e", 5)])
    told.clear()
    assert told.told == [
        ("get", "a"),
        ("set", "b", 1, None),
        ("set", "b", 5, 1),
        ("del", "a", 1),
        ("set", "c", 3, None),
        ("set", "d", 4, None),
        ("set", "e", 5, None),
        ("clear", 4),
    ]


def test_a_managed_dict_tells_of_combined_methods() -> None:
    """`get`, `pop`, `popitem` and `setdefault` read, set and delete; looking without reading is not told."""
    told = ToldDict(a=1, b=2)
    told.get("z")
    told.pop("a")
    told.setdefault("c", 3)
    told.popitem()
    assert told.told == [
        ("get", "z"),
        ("get", "a"),
        ("del", "a", 1),
        ("get", "c"),
        ("set", "c", 3, None),
        ("get", "b"),
        ("del", "b", 2),
    ]
    told.told.clear()
    assert "c" in told
    assert list(told) == ["c"]
    assert list(told.items()) == [("c", 3)]
    told.raw_update([("x", 1)], y=2)
    assert told.data == {"c": 3, "x": 1, "y": 2}
    assert told.told == []


def test_what_is_not_there_is_not_told_as_deleted() -> None:
    """Deleting a key that is not there raises `KeyError`, and nothing is told."""
    told = ToldDict()
    with pytest.raises(KeyError, match="z"):
        del told["z"]
    assert told.told == []


def test_a_callback_that_raises_prevents_the_change_of_a_dict() -> None:
    """What a callback raises leaves the call, and nothing has changed; an update keeps what came before."""

    class Positive(ManagedUserDict[str, int]):
        def on_key_set(self, key: str, value: int) -> None:
            if value < 0:
                raise ValueError(key)

        def on_key_del(self, key: str) -> None:
            raise ValueError(key)

        on_clear = on_key_get = None  # type: ignore[assignment]

    positive = Positive()
    with pytest.raises(ValueError, match="b"):
        positive.update({"a": 1, "b": -1, "c": 1})
    with pytest.raises(ValueError, match="a"):
        del positive["a"]
    with pytest.raises(TypeError):
        positive.clear()
    assert positive.data == {"a": 1}


class ToldSet(ManagedUserSet[int]):
    """Writes down what it is told, and what it had in it at that time."""

    def __init__(self, elements: Iterable[int] = ()) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.data = set(elements)

    def on_add(self, value: int) -> None:
        self.told.append(("add", value, value in self.data))

    def on_discard(self, value: int) -> None:
        self.told.append(("discard", value))

    def on_clear(self) -> None:
        self.told.append(("clear", len(self.data)))

    def on_change(self, added: set[int], removed: set[int]) -> None:
        assert added.isdisjoint(self.data)
        assert removed <= set(self.data)
        self.told.append(("change", added, removed))


def test_a_managed_set_tells_what_changes_one_element() -> None:
    """An element that comes or goes is told; what changes nothing is not."""
    told = ToldSet([1])
    told.add(1)
    told.add(2)
    told.discard(3)
    told.discard(1)
    told.add(4)
    told.remove(4)
    with pytest.raises(KeyError, match="4"):
        told.remove(4)
    assert told.pop() == 2
    told.clear()
    assert told.told == [
        ("add", 2, False),
        ("discard", 1),
        ("add", 4, False),
        ("discard", 4),
        ("discard", 2),
        ("clear", 0),
    ]


@pytest.mark.parametrize("name", [*CHANGING, *IN_PLACE])
@settings(max_examples=50)
@given(elements=SETS, other=SETS)
def test_a_managed_set_tells_what_changes_several(
    name: str, elements: frozenset[int], other: frozenset[int]
) -> None:
    """What comes and what goes is told at once: exactly the difference between before and after, if there is one."""
    told = ToldSet(elements)
    getattr(told, name)(other)
    added, removed = set(told.data - elements), set(elements - told.data)
    assert told.told == ([("change", added, removed)] if added or removed else [])


def test_raw_updates_of_a_set_tell_nothing() -> None:
    """`raw_update` takes several iterables, and refuses keywords as `set.update` does."""
    told = ToldSet()
    told.raw_update([1], [2, 3])
    assert told == {1, 2, 3}
    with pytest.raises(TypeError, match="keyword"):
        told.raw_update(a=1)
    assert told.told == []


def test_a_callback_that_raises_prevents_the_change_of_a_set() -> None:
    """What a callback raises leaves the call, and nothing has changed."""

    class Frozen(ManagedUserSet[int]):
        def on_add(self, value: int) -> None:
            raise ValueError(value)

        def on_change(self, added: set[int], removed: set[int]) -> None:
            raise ValueError(added | removed)

        on_discard = on_add

        def on_clear(self) -> None:
            raise ValueError("all")

    frozen = Frozen()
    frozen.raw_update([1])
    refused: list[Callable[[], object]] = [
        lambda: frozen.add(2),
        lambda: frozen.discard(1),
        lambda: frozen.remove(1),
        lambda: frozen.pop(),
        lambda: frozen.update([2]),
        lambda: frozen.clear(),
    ]
    for call in refused:
        with pytest.raises(ValueError, match=r"1|2|all"):
            call()
        assert frozen.data == {1}


def test_callbacks_that_are_not_overridden_do_nothing() -> None:
    """All callbacks have a body already."""
    words, letters = ManagedUserDict[str, int](), ManagedUserSet[str]()
    words.update(a=1, b=2)
    assert words.pop("a") == 1
    words.clear()
    letters.add("a")
    letters |= {"b"}
    letters.remove("a")
    assert letters == {"b"}
    letters.clear()
    assert not words
    assert not letters


# --- FastUserList, attributes ---------------------------------------------------------------------


def test_a_list() -> None:
    """It is a list like any other, with its items in `data`."""
    numbers = FastUserList([3, 1])
    numbers.append(2)
    numbers.sort()
    assert numbers == [1, 2, 3]
    assert numbers.data == [1, 2, 3]
    assert FastUserList[int]() == []


def test_keys_are_attributes() -> None:
    """A key is read, set and deleted as an attribute; an attribute that is no key is an `AttributeError`."""
    options: AttributeDict[Any] = AttributeDict(a=1)
    options.b = options.a + 1
    assert options == {"a": 1, "b": 2}
    del options.a
    assert options == {"b": 2}
    with pytest.raises(
        AttributeError, match=r"'AttributeDict' object has no attribute 'a'"
    ) as info:
        _ = options.a
    assert (info.value.name, info.value.obj) == ("a", options)
    with pytest.raises(AttributeError, match="'a'"):
        del options.a
    assert getattr(options, "a", 5) == 5
    assert isinstance(options, dict)


def test_methods_hide_keys() -> None:
    """A key that is called like a method is there as a key; as an attribute it is the method."""
    options: AttributeDict[Any] = AttributeDict()
    name = "items"
    setattr(options, name, 3)
    assert options["items"] == 3
    assert callable(options.items)


def test_attribute_dicts_can_be_copied_and_pickled() -> None:
    """A copy, or what is read back, is of the same class and equal."""
    options: AttributeDict[Any] = AttributeDict(a=AttributeDict(b=1))
    for duplicate in (
        copy.copy(options),
        copy.deepcopy(options),
        pickled(options),
    ):
        assert type(duplicate) is AttributeDict
        assert duplicate == options
        assert duplicate.a.b == 1


def test_the_mixin_works_with_any_mapping() -> None:
    """`AttributeDictMixin` gives attributes to other mappings."""

    class Ordered(OrderedDict[str, int], AttributeDictMixin):
        pass

    assert Ordered(a=1).a == 1


class Settings:
    """Something with attributes of all kinds."""

    __slots__ = ("__dict__", "unset")

    name = "app"

    def __init__(self) -> None:
        self.debug = False

    @property
    def broken(self) -> int:
        """Can't be read."""
        raise AttributeError("broken")


def test_attributes_are_keys() -> None:
    """What can be read of an object is a key, and only that; setting and deleting reach the object."""
    settings = Settings()
    keys = DictAttribute[Any](settings)
    assert keys["name"] == "app"
    keys["level"] = 3
    assert settings.level == 3  # type: ignore[attr-defined]
    keys.other = 4
    assert keys.other == settings.other == 4  # type: ignore[attr-defined]
    del keys["level"]
    assert not hasattr(settings, "level")
    assert keys.setdefault("debug", True) is False
    assert keys.setdefault("fresh", True) is True
    assert settings.fresh is True  # type: ignore[attr-defined]
    assert keys.get("nothing", 5) == 5
    assert keys.get("nothing") is None
    assert keys.obj is settings
    assert repr(keys) == f"<DictAttribute: {settings!r}>"


def test_attributes_that_can_not_be_read_are_no_keys() -> None:
    """Neither an unset slot, nor a property that raises, nor what is no string, is a key."""
    keys = DictAttribute[Any](Settings())
    for key in ("unset", "broken", "nothing"):
        assert key not in keys
        with pytest.raises(KeyError, match=key):
            keys[key]
        with pytest.raises(KeyError, match=key):
            del keys[key]
    number: Any = 5
    assert number not in keys
    with pytest.raises(KeyError, match="5"):
        keys[number]
    assert {"debug", "name", "__init__"} <= set(keys)
    assert len(keys) == len(list(keys)) == len(keys.items())
    assert dict(keys)["debug"] is False


def test_attributes_of_the_dictionary_are_those_of_the_object() -> None:
    """Attributes are passed on, special names excepted: they would make a copy of another kind."""
    keys = DictAttribute[Any](SimpleNamespace(a=[1], __deepcopy__=lambda _: 5))
    assert keys.a == [1]
    with pytest.raises(AttributeError, match="nothing"):
        _ = keys.nothing
    for duplicate in (copy.copy(keys), copy.deepcopy(DictAttribute[Any](SimpleNamespace(a=[1])))):
        assert type(duplicate) is DictAttribute
        assert duplicate["a"] == [1]
    with pytest.raises(AttributeError, match="'obj'"):
        _ = DictAttribute.__new__(DictAttribute).obj
    assert not hasattr(keys, "__deepcopy__")


@pytest.mark.parametrize(
    "make",
    [force_mapping, DictAttribute, DictAttribute[Any]],
    ids=["force_mapping", "plain", "of a type"],
)
def test_an_object_is_left_as_it_is(make: Callable[[Any], Mapping[str, Any]]) -> None:
    """To be looked at as a dictionary changes nothing of an object, whatever types are told."""

    class ReadOnly:
        a = 1

        def __setattr__(self, name: str, value: object) -> None:
            raise RuntimeError(f"{name} is set")

    thing = SimpleNamespace(a=1)
    assert make(thing)["a"] == 1
    assert vars(thing) == {"a": 1}
    assert make(ReadOnly())["a"] == 1


def test_a_dictionary_of_a_type_has_no_key_for_it() -> None:
    """Types are for type checkers."""
    assert AttributeDict[int](a=1) == {"a": 1}
    with pytest.raises(AttributeError, match="__orig_class__"):
        AttributeDict[int]().__orig_class__ = int


def test_a_mapping_is_made_where_there_is_none() -> None:
    """`force_mapping` returns mappings as they are, and wraps other objects."""
    plain: Mapping[str, int] = {"a": 1}
    assert force_mapping(plain) is plain
    words = Words(a=1)
    assert force_mapping(words) is words
    forced = force_mapping(SimpleNamespace(a=1))
    assert isinstance(forced, DictAttribute)
    assert forced["a"] == 1
