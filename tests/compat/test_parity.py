"""What the record says of mode's names is so in the package."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from types import ModuleType
from typing import Any

import pytest

from .parity_rules import Entry, faults, read

RECORD = read()
MODULES = {
    module: list(names) for module, names in groupby(RECORD, key=lambda entry: entry.module)
}


@pytest.fixture(params=MODULES)
def entries(request: pytest.FixtureRequest) -> list[Entry]:
    """The names of each of mode's modules."""
    return MODULES[request.param]


def of(entry: Entry) -> ModuleType:
    """Return structmode's module for a name."""
    return importlib.import_module(entry.home)


def test_no_name_is_missing() -> None:
    """The record has all modules, names and members that mode has, each once."""
    names = [entry for entry in RECORD if "." not in entry.name]
    assert len({entry.path for entry in RECORD}) == len(RECORD)
    assert (len(MODULES), len(names), len(RECORD) - len(names)) == (41, 254, 581)


def test_names_are_as_recorded(entries: Sequence[Entry]) -> None:
    """A name that is kept is there, and is used as in mode; one that is changed is what the record says it is now."""
    wrong = {entry.path: faults(of(entry), entry.name, entry.now) for entry in entries}
    assert {path: found for path, found in wrong.items() if found} == {}


def test_what_is_changed_is_not_as_in_mode(entries: Sequence[Entry]) -> None:
    """A name counts as changed only if it is, and the record says why."""
    changed = [entry for entry in entries if entry.why]
    assert [e.path for e in changed if not faults(of(e), e.name, e.was)] == []
    assert [e.path for e in changed if not e.why.endswith(".")] == []


def test_exports_are_what_their_home_has(entries: Sequence[Entry]) -> None:
    """What several of mode's modules export is the same thing in all of structmode's."""
    exports = [entry for entry in entries if entry.was == "export" and entry.name in homes()]
    strays = [
        entry.path
        for entry in exports
        if not any(getattr(of(entry), entry.name) == home for home in homes()[entry.name])
    ]
    assert strays == []


@cache
def homes() -> dict[str, list[Any]]:
    """Return what each name is where it is no export."""
    found: dict[str, list[Any]] = {}
    for entry in RECORD:
        if entry.was != "export" and "." not in entry.name:
            found.setdefault(entry.name, []).append(getattr(of(entry), entry.name))
    return found


# --- The rules themselves: what they are there to find, they find


class Sample:
    """Has one of each kind."""

    #: Not set here.
    annotated: int

    def __init__(self) -> None:  # pragma: no cover - none is made
        self.on_instances = 1

    @property
    def read(self) -> int:  # pragma: no cover - nobody reads it
        return 1

    def plain(self, first: int, second: int = 2, *, third: str = "3") -> None: ...

    async def awaited(self) -> None: ...

    @classmethod
    def of_class(cls, *args: int, **kwargs: int) -> None: ...

    @staticmethod
    def static(first: int, /) -> None: ...


sample = ModuleType("sample")
vars(sample).update(Sample=Sample, function=lambda first, kind=ValueError: None)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("Sample", "class"),
        ("Sample", "class(object)"),
        ("Sample.annotated", "attribute"),
        ("Sample.on_instances", "attribute"),
        ("Sample.read", "property"),
        ("Sample.annotated", "property"),
        ("Sample.plain", "(first, second=2, *, third='3')"),
        ("Sample.plain", "(first, second=..., *, third=...)"),
        ("Sample.plain", "(first)"),
        ("Sample.awaited", "async ()"),
        ("Sample.of_class", "(any, *args, more=1, **kwargs)"),
        ("Sample.static", "(one, /)"),
        ("function", "(first, kind=ValueError)"),
        ("function", "value"),
    ],
)
def test_the_rules_accept_what_fits(name: str, form: str) -> None:
    """What can be used as the form says is found to be of that form."""
    assert faults(sample, name, form) == []


@pytest.mark.parametrize(
    ("name", "form", "fault"),
    [
        ("nothing", "value", "it is missing"),
        ("Nothing.member", "attribute", "its class is missing"),
        ("Sample.nothing", "attribute", "it is missing"),
        ("function", "class", "it is no class"),
        ("Sample", "class(Sequence)", "it is no Sequence"),
        ("Sample", "class(ABC)", "it is no ABC"),
        ("Sample.plain", "property", "it is a method"),
        ("Sample.read", "()", "it can't be called"),
        ("Sample.annotated", "()", "it can't be called"),
        ("Sample.plain", "(second, first)", "takes first where mode takes second"),
        ("Sample.plain", "(first, second=3)", "takes 2 for second, and mode 3"),
        ("Sample.plain", "(first, second=2.0)", "takes 2 for second, and mode 2.0"),
        ("Sample.plain", "(first=1)", "requires first"),
        ("Sample.plain", "()", "requires first"),
        ("Sample.plain", "(first, second=2, third='3')", "does not take third by position"),
        ("Sample.plain", "(first, *, fourth)", "does not take fourth by name"),
        ("Sample.plain", "(first, *args)", "takes no *args"),
        ("Sample.plain", "(first, **kwargs)", "takes no **kwargs"),
        ("Sample.plain", "async (first)", "it can't be awaited"),
        ("Sample.static", "(first)", "does not take first by name"),
        ("function", "(first, kind=KeyError)", "and mode Named(name='KeyError')"),
    ],
)
def test_the_rules_find_what_does_not_fit(name: str, form: str, fault: str) -> None:
    """What can't be used as the form says is found, and the finding says what it is."""
    assert any(fault in found for found in faults(sample, name, form))


def test_what_tells_no_parameters_takes_them_by_position() -> None:
    """So it is with much of what is written in C."""
    silent = ModuleType("silent")
    vars(silent)["Silent"] = type("Silent", (), {"pop": dict.pop})
    assert faults(silent, "Silent.pop", "(key, default=None, /)") == []
    assert faults(silent, "Silent.pop", "(key)") == ["it does not tell its parameters"]
