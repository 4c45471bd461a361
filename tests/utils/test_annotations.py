"""The fields of classes, and what kind of types they have."""

# ruff: noqa: UP006, UP007, UP035, UP045, PYI061 - all ways to write a type are what is tested
from __future__ import annotations

import collections
import collections.abc
import datetime
import importlib
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import (
    Annotated,
    Any,
    ClassVar,
    Dict,
    ForwardRef,
    FrozenSet,
    Generic,
    List,
    Literal,
    MutableMapping,
    NamedTuple,
    Optional,
    Set,
    Tuple,
    TypeVar,
    Union,
)

import pytest
from hypothesis import given, strategies as st

from structmode.utils.objects import (
    DICT_TYPES,
    LIST_TYPES,
    SET_TYPES,
    TUPLE_TYPES,
    InvalidAnnotation,
    annotations as fields_of,  # its name is taken by the import from `__future__`
    eval_type,
    guess_polymorphic_type,
    is_optional,
    is_union,
    iter_mro_reversed,
    local_annotations,
    remove_optional,
)

T: Any = TypeVar("T")  # type: ignore[misc] # to the type checkers, one like any other object
U: Any = TypeVar("U")  # type: ignore[misc]
V = TypeVar("V")

#: Makes what a `type` statement makes; absent from Python 3.11.
alias: Any = getattr(typing, "TypeAliasType", None)
needs_aliases = pytest.mark.skipif(alias is None, reason="`type` came with Python 3.12")


class Base:
    """Has fields whose types are texts, since all of this module's are."""

    x: int = 1
    date: datetime.date | None = None
    constant: ClassVar[int] = 3

    def method(self) -> None:
        """Is no field."""


class Derived(Base):
    """Has more fields, and another default for one of them."""

    class Inner:
        """Is named in the class itself."""

    y: List[Inner]
    z: Annotated[str, "note"] = "z"
    x = 2


ALL = {
    "x": int,
    "date": Optional[datetime.date],
    "constant": ClassVar[int],
    "y": List[Derived.Inner],
    "z": Annotated[str, "note"],
}


# --- annotations ----------------------------------------------------------------------------------


def test_fields_and_defaults() -> None:
    """All fields, those of the bases first, as types; and the defaults of those that have one."""
    fields, defaults = fields_of(Derived)
    assert fields == ALL
    assert list(fields) == list(ALL)
    assert defaults == {"x": 2, "date": None, "constant": 3, "z": "z"}


def test_class_variables_may_be_left_out() -> None:
    """With `skip_classvar` they are neither fields nor defaults; in `Annotated` neither."""

    class More(Derived):
        hidden: Annotated[ClassVar[int], "note"] = 1  # type: ignore[valid-type]
        bare: ClassVar = 2

    fields, defaults = fields_of(More, skip_classvar=True)
    assert set(fields) == {"x", "date", "y", "z"}
    assert "constant" not in defaults
    assert "hidden" not in defaults


def test_bases_up_to_one() -> None:
    """At `stop` and above it there are no fields."""
    assert set(fields_of(Derived, stop=Base)[0]) == {"y", "z"}
    assert fields_of(Base, stop=Base) == ({}, {})


def test_the_one_to_stop_at_must_be_a_base() -> None:
    """The error names the bases that there are."""
    with pytest.raises(ValueError, match=r"stop=str is no base of Derived.* Base, object"):
        fields_of(Derived, stop=str)


def test_a_class_without_annotations_has_none() -> None:
    """Its bases' are not its own."""

    class Empty(Base):
        pass

    assert list(local_annotations(Empty)) == []
    assert dict(local_annotations(Derived)) == {name: ALL[name] for name in ("y", "z")}


def test_slots_are_no_defaults() -> None:
    """A field that is a slot has none; a property has."""

    class Slotted:
        __slots__ = ("a",)
        a: int
        b: int = property(lambda _: 1)  # type: ignore[assignment]

    fields, defaults = fields_of(Slotted)
    assert fields == {"a": int, "b": int}
    assert set(defaults) == {"b"}


def test_a_default_from_below_or_above() -> None:
    """A default counts wherever it is, as attributes do."""

    class Above:
        a = 1
        b: int = 2

    class Below(Above):
        a: int
        b: int

    assert fields_of(Below)[1] == {"a": 1, "b": 2}


def test_invalid_types() -> None:
    """A type that is ruled out is an error, which has the type, and says of which field."""
    with pytest.raises(InvalidAnnotation) as info:
        fields_of(Base, invalid_types={int})
    assert info.value.args == (int,)
    assert info.value.__notes__ == ["This is about field 'x' of Base, annotated as 'int'."]

    class Flag:
        a: bool

    assert fields_of(Flag, invalid_types={int})[0] == {"a": bool}


def test_types_are_replaced() -> None:
    """A type is replaced by another one; what can't be looked up is none of them."""

    class Mixed:
        a: int
        b: Annotated[int, []]
        c: str

    fields, _ = fields_of(Mixed, alias_types={int: float}, invalid_types={bytes})
    assert fields == {"a": float, "b": Annotated[int, []], "c": str}


def test_names_come_from_where_they_are_told() -> None:
    """Names are looked for in the module and the class, or where the caller says."""

    class Node:
        parent: Node | None
        other: Nowhere  # type: ignore[name-defined] # noqa: F821

    with pytest.raises(NameError) as info:
        fields_of(Node)
    assert "field 'parent' of" in info.value.__notes__[0]
    fields, _ = fields_of(Node, localns={"Node": Node, "Nowhere": int})
    assert fields == {"parent": Optional[Node], "other": int}
    names: dict[str, Any] = {"Node": str, "Nowhere": bytes}
    assert fields_of(Node, globalns=names)[0] == {"parent": Optional[str], "other": bytes}
    assert set(names) == {"Node", "Nowhere"}


def test_a_field_may_be_called_like_its_type() -> None:
    """The module's name counts, and not the field's default."""

    class Event:
        datetime: datetime.datetime = None  # type: ignore[assignment]

    assert fields_of(Event)[0] == {"datetime": datetime.datetime}


def test_a_module_that_is_not_there() -> None:
    """A class whose module can't be found is still one with fields."""
    made = type("Made", (), {"__annotations__": {"a": int, "b": "int"}, "__module__": "kit.gone"})
    assert fields_of(made)[0] == {"a": int, "b": int}


def test_types_that_are_no_texts() -> None:
    """Forward references and texts inside of types are evaluated, too; what is a type stays."""
    made = type(
        "Made",
        (),
        {
            "__annotations__": {
                "a": ForwardRef("Base"),
                "b": list["Base"],
                "c": Optional["Base"],
                "d": None,
                "e": ForwardRef("ClassVar[Base]"),
                "f": Literal["Base"],
            },
            "__module__": __name__,
        },
    )
    assert fields_of(made)[0] == {
        "a": Base,
        "b": list[Base],
        "c": Optional[Base],
        "d": type(None),
        "e": ClassVar[Base],
        "f": Literal["Base"],
    }


def test_named_tuples_and_generic_classes() -> None:
    """Fields of a named tuple, and of a class with parameters."""

    class Pair(NamedTuple):
        a: int
        b: str = "b"

    class Box(Generic[V]):
        item: V
        items: list[V]

    item: Any = V
    assert fields_of(Pair) == ({"a": int, "b": str}, {"b": "b"})
    assert fields_of(Box)[0] == {"item": item, "items": list.__class_getitem__(item)}


def test_the_order_of_classes() -> None:
    """The most general class comes first, the class itself last, without the one to stop at and those above it."""
    assert list(iter_mro_reversed(Derived, object)) == [Base, Derived]
    assert list(iter_mro_reversed(Derived, Base)) == [Derived]
    assert list(iter_mro_reversed(Derived, stop=Derived)) == []


# --- eval_type ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("List[int]", List[int]),
        ("int | None", Optional[int]),
        ("list['int']", list[int]),
        (ForwardRef("Dict[str, int]"), Dict[str, int]),
        (ForwardRef("Base", module=__name__), Base),
        (int, int),
        (None, type(None)),
        ("None", type(None)),
        ("Annotated[int, 1]", Annotated[int, 1]),
        ("ClassVar[int]", ClassVar[int]),
        (Any, Any),
        (5, 5),
    ],
)
def test_texts_become_types(given: Any, expected: Any) -> None:
    """A text is evaluated with the names of `typing`, unless told otherwise."""
    assert eval_type(given) == expected


def test_texts_that_mean_nothing() -> None:
    """An unknown name is a `NameError`, what is no expression a `SyntaxError`."""
    with pytest.raises(NameError, match="Nowhere"):
        eval_type("Nowhere")
    for text in ("a b", "", " ", "list["):
        with pytest.raises(SyntaxError):
            eval_type(text)
    assert eval_type("Nowhere", {"Nowhere": int}) is int
    assert eval_type("Nowhere", {"Nowhere": int}, {"Nowhere": str}) is str


def test_types_ruled_out_and_replaced() -> None:
    """The arguments stand in mode's order."""
    with pytest.raises(InvalidAnnotation):
        eval_type("int", None, None, {int})
    assert eval_type("int", None, None, {str}, {int: float}) is float


# --- Kinds of types -------------------------------------------------------------------------------

UNIONS = [
    Union[int, str],
    int | str,
    Optional[int],
    int | None,
    Annotated[int | None, "note"],
    Optional["int"],
    Union[int, Annotated[None, "note"]],
]
OPTIONAL = UNIONS[2:]
OTHERS = [int, None, type(None), List[int], Any, Annotated[int, "note"], Literal[None], "int|None"]


@pytest.mark.parametrize("typ", [*UNIONS, *OTHERS], ids=repr)
def test_unions(typ: Any) -> None:
    """All ways to write a union are unions, and nothing else is; those with `None` in them are optional."""
    assert is_union(typ) == any(typ is one for one in UNIONS)
    assert is_optional(typ) == any(typ is one for one in OPTIONAL)


@pytest.mark.parametrize(
    ("typ", "expected"),
    [
        (Optional[int], int),
        (int | None, int),
        (Union[int, str, None], Union[int, str]),
        (int | str | None, int | str),
        (Annotated[int | None, "note"], int),
        (Optional[Annotated[int, "note"]], Annotated[int, "note"]),
        (Union[int, Annotated[None, "note"]], int),
        (Union[None, Annotated[None, "note"]], type(None)),
        (int | str, int | str),
        (int, int),
        (None, None),
    ],
)
def test_types_without_none(typ: Any, expected: Any) -> None:
    """`None` is taken out of a union; all the others stay."""
    assert remove_optional(typ) == expected


class Name(str):
    """A text of its own kind."""

    __slots__ = ()


class Row(tuple[int, str]):
    """A tuple of its own kind."""

    __slots__ = ()


@pytest.mark.parametrize(
    ("typ", "expected"),
    [
        (List[int], (list, int)),
        (list[int], (list, int)),
        (list, (list, Any)),
        (List, (list, Any)),
        (Optional[List[int]], (list, int)),
        (list[int] | None, (list, int)),
        (Annotated[list[int], "note"], (list, int)),
        (Optional[Annotated[list[int], "note"]], (list, int)),
        (collections.abc.Sequence[int], (list, int)),
        (collections.deque[int], (list, int)),
        (Tuple[int, ...], (tuple, int)),
        (tuple[int, str], (tuple, int)),
        (tuple, (tuple, Any)),
        (Row, (tuple, Any)),
        (Set[int], (set, int)),
        (set, (set, Any)),
        (FrozenSet[int], (set, int)),
        (collections.abc.Set[int], (set, int)),
        (collections.abc.MutableSet[int], (set, int)),
        (Dict[str, int], (dict, int)),
        (dict, (dict, Any)),
        (MutableMapping[int, str], (dict, str)),
        (collections.abc.Mapping[int, str], (dict, str)),
        (collections.defaultdict[int, str], (dict, str)),
        (collections.Counter[str], (dict, Any)),
    ],
)
def test_containers(typ: Any, expected: Any) -> None:
    """The built-in container, and what is in it."""
    assert guess_polymorphic_type(typ) == expected


@pytest.mark.parametrize(
    "typ", [int, str, bytes, Name, Union[list[int], str], Optional[int], Any, None, "list[int]"]
)
def test_what_is_no_container(typ: Any) -> None:
    """Texts are none, and a union of several neither."""
    with pytest.raises(TypeError, match="no set, list, tuple or dict"):
        guess_polymorphic_type(typ)


def test_what_counts_as_which_container() -> None:
    """The caller may say what counts as what."""
    assert guess_polymorphic_type(list[int], set_types=(list,)) == (set, int)
    assert guess_polymorphic_type(set[int], set_types=(), list_types=(set,)) == (list, int)
    assert guess_polymorphic_type(list[int], tuple_types=(list,)) == (tuple, int)
    assert guess_polymorphic_type(list[int], list_types=(), dict_types=(list,)) == (dict, Any)
    assert issubclass(list, LIST_TYPES)
    assert issubclass(tuple, TUPLE_TYPES)
    assert {set, frozenset} <= set(SET_TYPES)
    assert dict in DICT_TYPES


TYPES = st.recursive(
    st.sampled_from([int, str, bytes, float]),
    lambda inner: st.one_of(
        inner.map(lambda typ: list.__class_getitem__(typ)),
        st.tuples(inner, inner).map(lambda pair: pair[0] | pair[1]),
        inner.map(lambda typ: Annotated[typ, "note"]),
    ),
    max_leaves=4,
)


@given(typ=TYPES)
def test_optional_and_back(typ: Any) -> None:
    """`X | None` is optional, and without `None` it is no more; its text means the same."""
    optional = Optional[typ]
    assert is_optional(optional)
    assert not is_optional(remove_optional(optional))
    assert eval_type("it", {"it": optional}) == optional


# --- Python 3.12 ----------------------------------------------------------------------------------


@needs_aliases
def test_names_of_types() -> None:
    """A name of a `type` statement is the type that it stands for."""
    maybe, numbers = alias("maybe", int | None), alias("numbers", list[int])
    nested = alias("nested", maybe)
    assert eval_type(nested) == Optional[int]
    assert is_union(nested)
    assert is_optional(maybe)
    assert is_optional(maybe | str)
    assert remove_optional(maybe) is int
    assert remove_optional(maybe | str) == int | str
    assert guess_polymorphic_type(numbers) == (list, int)
    assert guess_polymorphic_type(numbers | None) == (list, int)
    assert guess_polymorphic_type(Annotated[numbers, "note"]) == (list, int)
    assert eval_type(Annotated[numbers, 1]) == Annotated[numbers, 1]
    inside = list.__class_getitem__(numbers)
    assert eval_type(inside) == inside


@needs_aliases
def test_none_by_another_name() -> None:
    """A name may stand for `None`, and is then as good as that."""
    nothing = alias("nothing", None)
    assert eval_type(nothing) is type(None)
    assert is_optional(int | nothing)
    assert remove_optional(int | nothing) is int
    assert remove_optional(nothing | None) is type(None)
    assert guess_polymorphic_type(list[int] | nothing) == (list, int)


@needs_aliases
def test_names_of_types_may_be_ruled_out_and_replaced() -> None:
    """Either the name is, or what it stands for."""
    numbers = alias("numbers", list[int])
    for invalid in (numbers, list[int]):
        with pytest.raises(InvalidAnnotation):
            eval_type(numbers, invalid_types={invalid})
        assert eval_type(numbers, alias_types={invalid: str}) is str


@needs_aliases
def test_names_of_types_with_parameters() -> None:
    """What is given to the name is given to the type, in the order of the name's parameters."""
    many = alias("many", list[T], type_params=(T,))
    swapped = alias("swapped", dict[U, T], type_params=(T, U))
    same = alias("same", T, type_params=(T,))
    constant = alias("constant", int, type_params=(T,))
    maybe = alias("maybe", Optional[T], type_params=(T,))
    assert eval_type(many[int]) == list[int]
    assert eval_type(swapped[int, str]) == dict[str, int]
    assert eval_type(same[int]) is int
    assert eval_type(constant[str]) is int
    assert eval_type(many) == list[T]
    assert remove_optional(maybe[int]) is int
    assert guess_polymorphic_type(swapped[int, str]) == (dict, int)
    assert eval_type(many[many[int]]) == list.__class_getitem__(many[int])


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module in the syntax of Python 3.12."""
    (tmp_path / "kit_modern.py").write_text(
        "type Selfish = Selfish\n"
        "type Numbers = list[int]\n"
        "type Boxes = list['Box']\n"
        "class Box[T]:\n"
        "    item: 'T'\n"
        "    numbers: Numbers\n"
        "    text: 'Numbers | None' = None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield importlib.import_module("kit_modern")
    del sys.modules["kit_modern"]


@needs_aliases
def test_classes_with_parameters(module: Any) -> None:
    """A text may name a parameter of its class, or a type by its name."""
    fields, defaults = fields_of(module.Box)
    (parameter,) = module.Box.__type_params__
    assert fields == {
        "item": parameter,
        "numbers": list[int],
        "text": Optional[module.Numbers],
    }
    assert defaults == {"text": None}
    assert is_optional(fields["text"])


@needs_aliases
def test_texts_in_what_a_name_stands_for(module: Any) -> None:
    """They mean what they mean in the module that the name is from, wherever it is used."""
    assert eval_type(module.Boxes) == list[module.Box]
    assert eval_type("Boxes", {"Boxes": module.Boxes, "Box": int}) == list[module.Box]
    boxes = list[module.Box]
    assert eval_type(module.Boxes, alias_types={boxes: str}) is str
    with pytest.raises(InvalidAnnotation):
        eval_type(module.Boxes, invalid_types={boxes})


@needs_aliases
def test_a_name_that_stands_for_itself(module: Any) -> None:
    """It is an error that says so, and no endless search."""
    with pytest.raises(TypeError, match="Selfish stands for nothing but itself"):
        eval_type(module.Selfish)
