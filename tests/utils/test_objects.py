"""Names of objects, cached properties, pickling by keywords, and what has no order."""

from __future__ import annotations

import collections
import copy
import functools
import heapq
import pickle
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from threading import Barrier, Thread
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import structmode
from structmode import Service
from structmode.utils import objects
from structmode.utils.objects import (
    KeywordReduce,
    Unordered,
    abc_compatible_with_init_subclass,
    cached_property,
    canoname,
    canonshortname,
    label,
    qualname,
    shortlabel,
    shortname,
)


class Labelled:
    """Has labels."""

    @property
    def label(self) -> str:
        """Its label."""
        return "the label"

    @property
    def shortlabel(self) -> str:
        """Its shorter label."""
        return "short"


class Outer:
    """Has a class in it."""

    class Inner:
        """Is in another class."""

        def method(self) -> None:
            """Is in a class in another class."""


# --- Labels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thing", "expected"),
    [
        ("text", "text"),
        ("", ""),
        (5, "5"),
        (1.5, "1.5"),
        (Decimal("2.50"), "2.50"),
        (None, "NoneType"),
        (b"x", "bytes"),
        ([1], "list"),
        (object(), "object"),
        (str, "str"),
        (len, "len"),
        (Outer.Inner, "Outer.Inner"),
        (Outer.Inner(), "Outer.Inner"),
        (Outer.Inner.method, "Outer.Inner.method"),
        (Labelled, "Labelled"),
        (SimpleNamespace(name="named"), "named"),
        (SimpleNamespace(name=5), "SimpleNamespace"),
        (SimpleNamespace(name="named", label="", shortlabel=""), "named"),
        (sys, "sys"),
    ],
)
def test_labels(thing: object, expected: str) -> None:
    """A thing without a label goes by its name, and one without a name by that of its class."""
    assert label(thing) == shortlabel(thing) == expected


def test_labels_of_ones_own() -> None:
    """A thing with labels goes by them; a service has both."""
    assert (label(Labelled()), shortlabel(Labelled())) == ("the label", "short")

    class Feed(Service):
        @property
        def label(self) -> str:
            return "Feed: prices"

        @property
        def shortlabel(self) -> str:
            return "Feed"

    assert (label(Feed()), shortlabel(Feed())) == ("Feed: prices", "Feed")


def test_labels_are_exported() -> None:
    """They are names of the package, too."""
    assert structmode.label is label
    assert structmode.shortlabel is shortlabel


# --- Names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thing", "long", "short"),
    [
        ("text", "builtins.str", "builtins.str"),
        (str, "builtins.str", "builtins.str"),
        (len, "builtins.len", "builtins.len"),
        (qualname, "structmode.utils.objects.qualname", "structmode.utils.objects.qualname"),
        (collections.OrderedDict, "collections.OrderedDict", "collections.OrderedDict"),
        (Outer.Inner, f"{__name__}.Outer.Inner", f"{__name__}.Inner"),
        (Outer.Inner(), f"{__name__}.Outer.Inner", f"{__name__}.Inner"),
        (Outer.Inner.method, f"{__name__}.Outer.Inner.method", f"{__name__}.method"),
        (Outer.Inner().method, f"{__name__}.Outer.Inner.method", f"{__name__}.method"),
        (functools.partial(len), "functools.partial", "functools.partial"),
        ([].append, "list.append", "append"),
        (collections, "collections", "collections"),
    ],
)
def test_names(thing: object, long: str, short: str) -> None:
    """The module and the name; the long one has all that it is in."""
    assert qualname(thing) == canoname(thing) == long
    assert shortname(thing) == canonshortname(thing) == short


def in_main(cls_name: str = "App") -> type:
    """Make a class as a main module would."""
    made = type(cls_name, (), {})
    made.__module__ = "__main__"
    made.__qualname__ = f"outer.{cls_name}"
    return made


def run_main(monkeypatch: pytest.MonkeyPatch, file: str | None, spec: Any = None) -> None:
    """Have another main module."""
    main = ModuleType("__main__")
    main.__spec__ = spec
    if file is not None:
        main.__file__ = file
    monkeypatch.setitem(sys.modules, "__main__", main)


def test_the_main_module_may_be_given_a_name() -> None:
    """What is in the main module is named by the name that is given."""
    assert qualname(in_main()) == "__main__.outer.App"
    assert canoname(in_main(), main_name="proj.app") == "proj.app.outer.App"
    assert canonshortname(in_main(), main_name="proj.app") == "proj.app.App"
    assert canoname(str, main_name="proj.app") == "builtins.str"


def test_the_main_module_is_known_by_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A script in a package, and in one in that, is named as an import would; one beside packages by itself."""
    inner = tmp_path / "proj" / "sub"
    inner.mkdir(parents=True)
    for directory in (inner, inner.parent):
        (directory / "__init__.py").touch()
    run_main(monkeypatch, str(inner / "app.py"))
    assert canoname(in_main()) == "proj.sub.app.outer.App"
    assert canonshortname(in_main()) == "proj.sub.app.App"
    run_main(monkeypatch, str(tmp_path / "script.py"))
    assert canonshortname(in_main()) == "script.App"


def test_the_main_module_is_known_by_the_name_it_was_run_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With `python -m`, it is that name."""
    run_main(monkeypatch, "/elsewhere/file.py", SimpleNamespace(name="proj.app"))
    assert canonshortname(in_main()) == "proj.app.App"


def test_a_console_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file there is no other name; without a main module neither."""
    run_main(monkeypatch, None)
    assert canonshortname(in_main()) == "__main__.App"
    monkeypatch.delitem(sys.modules, "__main__")
    assert canonshortname(in_main()) == "__main__.App"


# --- cached_property ------------------------------------------------------------------------------


class Client:
    """Has a connection, which is made when it is needed."""

    default = "of the class"

    def __init__(self) -> None:
        self.made: list[str] = []
        self.deleted: list[object] = []

    @cached_property
    def connection(self) -> str:
        """The connection."""
        self.made.append("connection")
        return "connected"

    def _checked(self, value: str) -> str:
        if not value:
            raise ValueError("no connection")
        return value.upper()

    checked = connection.setter(_checked).deleter(lambda self, value: self.deleted.append(value))
    with_default = cached_property(
        lambda self: "of the object", class_attribute="default", doc="!"
    )
    first = cached_property(lambda self: 1)
    second = cached_property(lambda self: 2)


def test_it_is_computed_once() -> None:
    """The value is computed when it is first read, and kept; each object has its own."""
    client, other = Client(), Client()
    assert not Client.connection.is_set(client)
    assert client.made == []
    assert client.connection == client.connection == "connected"
    assert client.made == ["connection"]
    assert other.made == []
    assert Client.connection.is_set(client)
    assert not Client.connection.is_set(other)


def test_one_that_overrides_another_may_ask_it() -> None:
    """What an override makes of the value of its base is the value, and is kept; the base is asked once."""
    asked: list[str] = []

    class Base:
        @cached_property
        def names(self) -> list[str]:
            asked.append("base")
            return ["base"]

    class Middle(Base):
        @cached_property
        def names(self) -> list[str]:
            return [*super().names, "middle"]

    class Lowest(Middle):
        @cached_property
        def names(self) -> list[str]:
            return [*super().names, "lowest"]

        def names_of_base(self) -> list[str]:
            return super().names

    lowest = Lowest()
    assert lowest.names == ["base", "middle", "lowest"]
    assert lowest.names is lowest.names
    assert lowest.names_of_base() is lowest.names  # as with functools.cached_property
    assert asked == ["base"]
    assert Middle().names == ["base", "middle"]


def test_one_that_a_plain_property_overrides_keeps_its_value() -> None:
    """The property is computed each time, what it asks is not."""
    asked: list[str] = []

    class Base:
        @cached_property
        def number(self) -> int:
            asked.append("base")
            return 1

    class Lowest(Base):
        @property
        def number(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
            return super().number + 1

    lowest = Lowest()
    assert (lowest.number, lowest.number) == (2, 2)
    assert asked == ["base"]


def test_it_can_be_set_and_deleted() -> None:
    """What is set is kept; what is deleted is computed again; deleting what is not there does nothing."""
    client = Client()
    client.connection = "set"
    assert client.connection == "set"
    del client.connection
    del client.connection
    assert client.connection == "connected"
    assert client.made == ["connection"]


def test_it_may_check_what_is_set_and_hear_what_is_deleted() -> None:
    """The setter's value is kept, what it raises leaves the assignment; the deleter gets the value, if there was one."""
    client = Client()
    client.checked = "set"
    assert client.checked == "SET"
    with pytest.raises(ValueError, match="no connection"):
        client.checked = ""
    assert client.checked == "SET"
    del client.checked
    del client.checked
    assert client.deleted == ["SET"]
    assert client.checked == "connected"
    assert not Client.connection.is_set(client)


def test_of_the_class_it_is_the_property() -> None:
    """The class has the property itself, with the docstring; or another attribute, if one is named."""
    assert isinstance(Client.connection, cached_property)
    assert Client.connection.__doc__ == "The connection."
    assert Client.checked.__doc__ == "The connection."
    assert Client.connection.__name__ == "connection"
    assert Client.with_default == "of the class"  # type: ignore[comparison-overlap]
    assert Client().with_default == "of the object"
    assert vars(Client)["with_default"].__doc__ == "!"
    assert vars(Client)["with_default"].setter(str).class_attribute == "default"


def test_two_functions_of_one_name_are_two_properties() -> None:
    """It goes by the name of the attribute."""
    client = Client()
    assert (client.first, client.second) == (1, 2)


def test_it_needs_somewhere_to_keep_the_value() -> None:
    """A class with slots and without `__dict__` gets an error that says what to add."""

    class Slotted:
        __slots__ = ()

        @cached_property
        def value(self) -> int:
            """Has nowhere to be kept."""
            raise AssertionError

    with pytest.raises(TypeError, match=r"Slotted has no __dict__ .*'value'.*__slots__"):
        _ = Slotted().value


def test_threads_get_the_same_value() -> None:
    """Two threads that read it first at once may both compute it, and get one value."""
    barrier = Barrier(2)

    class Shared:
        @cached_property
        def value(self) -> object:
            """Computed by both threads: each waits for the other."""
            barrier.wait(timeout=30)
            return object()

    shared = Shared()
    seen: list[object] = []
    threads = [Thread(target=lambda: seen.append(shared.value)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen[0] is seen[1] is shared.value


# --- Unordered ------------------------------------------------------------------------------------


def test_what_has_no_order_is_no_less_and_no_more() -> None:
    """Any two have the same rank, and each equals itself alone; with anything else there is no comparison."""
    one, two = Unordered(1), Unordered(2)
    for left, right in ((one, two), (two, one), (one, one)):
        assert not left < right
        assert not left > right
        assert left <= right
        assert left >= right
    assert one == one
    assert one != Unordered(1)
    assert len({one, two}) == 2
    assert repr(one) == "<Unordered: 1>"
    comparisons: list[Callable[[Any, Any], bool]] = [
        lambda a, b: a < b,
        lambda a, b: a <= b,
        lambda a, b: a > b,
        lambda a, b: a >= b,
    ]
    for compare in comparisons:
        with pytest.raises(TypeError):
            compare(one, 1)


def test_what_has_no_order_goes_through_heaps_and_sorts() -> None:
    """What can't be compared stands beside what can; a sort leaves equals in their order."""
    jobs: list[tuple[int, Unordered[dict[str, int]]]] = []
    for number in (3, 1, 2, 1):
        heapq.heappush(jobs, (number, Unordered({"n": number})))
    popped = [heapq.heappop(jobs) for _ in range(4)]
    assert [job.value["n"] for _, job in popped] == [1, 1, 2, 3]
    equal = [(1, Unordered(name)) for name in "abcd"]
    assert [job.value for _, job in sorted(equal)] == ["a", "b", "c", "d"]


# --- KeywordReduce --------------------------------------------------------------------------------


class Point(KeywordReduce):
    """Is pickled by keywords."""

    def __init__(self, *, x: int, **rest: int) -> None:
        self.x, self.rest = x, rest

    def __reduce_keywords__(self) -> dict[str, int]:
        return {"x": self.x, **self.rest}


class Mute(KeywordReduce):
    """Forgets to say by which."""


def pickled(thing: Any) -> Any:
    """Return what is read back after pickling."""
    return pickle.loads(pickle.dumps(thing))  # noqa: S301 - it is ours


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
def test_it_is_restored_by_keywords(duplicate: Callable[[Any], Any]) -> None:
    """The constructor is called with the keywords that the object gives, in a copy as well."""
    point = duplicate(Point(x=1, y=2))
    assert type(point) is Point
    assert (point.x, point.rest) == (1, {"y": 2})


def test_it_must_say_by_which_keywords() -> None:
    """Without `__reduce_keywords__` the error says what to define."""
    with pytest.raises(NotImplementedError, match=r"Mute .*__reduce_keywords__.*dict"):
        pickle.dumps(Mute())


def test_what_is_pickled_names_a_public_module() -> None:
    """What restores an object is found where mode has it, so that what was pickled can be read after a move."""
    restore, (cls, keywords) = Point(x=1).__reduce__()
    assert (cls, keywords) == (Point, {"x": 1})
    assert getattr(objects, restore.__name__) is restore
    assert restore.__module__ == "structmode.utils.objects"
    assert restore.__name__ == "_restore_from_keywords"


def test_abstract_classes_take_keywords() -> None:
    """mode asks whether they do; they have for long."""
    assert abc_compatible_with_init_subclass is True
