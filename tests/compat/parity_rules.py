"""Reads `parity.toml`, and says what of it does not hold in the package.

A name that is kept is found in the module of the same path under structmode, and whoever uses it as mode's manual says can go
on doing so:

- what mode takes by position is taken in the same place, and by the same name;
- what mode takes by keyword is taken by that keyword;
- what may be left out in mode may be left out, and where its default is a number, a string, a truth value or None, the
  default is the same; where it is a class or a function, it is one of the same name;
- ``*args`` and ``**kwargs`` are still taken;
- nothing more is required;
- what is awaited in mode can be awaited, and what is read as an attribute can be read.

More may be taken, and more may be there.
"""

from __future__ import annotations

import ast
import collections.abc
import contextlib
import dataclasses
import inspect
import tomllib
from collections.abc import Iterator, Mapping
from functools import cached_property
from inspect import Parameter
from pathlib import Path
from types import ModuleType
from typing import Any

FILE = Path(__file__).with_name("parity.toml")
#: A default that is no plain value: it may be anything.
ANYTHING = object()


@dataclasses.dataclass(frozen=True)
class Named:
    """A default that is a class or a function: it must be one of this name."""

    name: str


@dataclasses.dataclass(frozen=True)
class Entry:
    """A name in the record.

    Attributes:
        module: mode's module.
        name: The name in it; that of a member has its class before it.
        was: What it is in mode: "class", "property", "attribute", "value", "export", or a signature, with "async" before it for what is
            awaited.
        now: What it is in structmode; as in mode, if it is kept.
        why: Why it is changed; empty if it is kept.
    """

    module: str
    name: str
    was: str
    now: str
    why: str = ""

    @property
    def path(self) -> str:
        """The whole name in mode."""
        return f"{self.module}.{self.name}"

    @property
    def home(self) -> str:
        """The name of structmode's module."""
        return f"struct{self.module}"


def read(file: Path = FILE) -> list[Entry]:
    """Return all names in the record, in its order."""
    record: Mapping[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    return [entry for module, names in record.items() for entry in _entries(module, names)]


def _entries(module: str, names: Mapping[str, Any]) -> Iterator[Entry]:
    for name, form in names.get("kept", {}).items():
        yield Entry(module, name, form, form)
    for name, change in names.get("changed", {}).items():
        yield Entry(module, name, change["was"], change["now"], change["why"])


def faults(module: ModuleType, name: str, form: str) -> list[str]:
    """Return what about a name in a module is not of this form."""
    return list(_Found(module, name, form).faults())


class _Found:
    """What stands in the package for a name.

    Args:
        module: Where it should be.
        name: The name.
        form: What it is to be.
    """

    def __init__(self, module: ModuleType, name: str, form: str) -> None:
        self.module = module
        self.form = form
        self.class_name, _, self.member = name.rpartition(".")

    @cached_property
    def cls(self) -> type[Any]:
        """The class that a member is looked for in."""
        cls: type[Any] = getattr(self.module, self.class_name)
        return cls

    def faults(self) -> Iterator[str]:
        form = self.form
        if self.class_name and not hasattr(self.module, self.class_name):
            yield "its class is missing"
        elif not (self._has_member() if self.class_name else hasattr(self.module, self.member)):
            yield "it is missing"
        elif form.startswith("class"):
            yield from self._faults_of_class(form.removeprefix("class").strip("()"))
        elif form == "property":
            if callable(self._static()):
                yield "it is a method"
        elif form.endswith(")"):
            yield from self._faults_of_call(form)

    def _faults_of_class(self, bases: str) -> Iterator[str]:
        cls = getattr(self.module, self.member)
        if not isinstance(cls, type):
            yield "it is no class"
            return
        for name in filter(None, bases.split(", ")):
            if all(base.__name__ != name for base in cls.__mro__) and not _counts_as(cls, name):
                yield f"it is no {name}"

    def _has_member(self) -> bool:
        cls = self.cls
        if hasattr(cls, self.member):
            return True
        annotated = any(
            self.member in vars(base).get("__annotations__", {}) for base in cls.__mro__
        )
        return annotated or any(self._is_set_in(base) for base in cls.__mro__)

    def _is_set_in(self, cls: type[Any]) -> bool:
        """Whether the code of a class sets it on its instances."""
        try:
            source = inspect.cleandoc("\n" + inspect.getsource(cls))
        except (OSError, TypeError):  # it is not written in Python
            return False
        return any(
            isinstance(node, ast.Attribute)
            and node.attr == self.member
            and isinstance(node.ctx, ast.Store)
            for node in ast.walk(ast.parse(source))
        )

    def _static(self) -> Any:
        owner: Any = self.cls if self.class_name else self.module
        try:
            return inspect.getattr_static(owner, self.member)
        except AttributeError:  # found at run time only
            return getattr(owner, self.member, None)

    def _faults_of_call(self, form: str) -> Iterator[str]:
        raw = self._static()
        if not callable(raw) and not isinstance(raw, classmethod | staticmethod | property):
            raw = getattr(self.cls if self.class_name else self.module, self.member, None)
        call = raw.__func__ if isinstance(raw, classmethod | staticmethod) else raw
        if not callable(call):
            yield f"it can't be called: {call!r}"
            return
        bound = bool(self.class_name) and not isinstance(raw, staticmethod)
        try:
            ours = list(inspect.signature(call).parameters.values())[1 if bound else 0 :]
        except ValueError:  # one of C's, on older Pythons: it takes its arguments by position
            if not form.endswith("/)"):
                yield "it does not tell its parameters"
            return
        yield from _faults_of_parameters(wanted(form), ours)
        if form.startswith("async") and not _is_awaited(call):
            yield "it can't be awaited, or does not say so"


def _counts_as(cls: type[Any], name: str) -> bool:
    """Whether a class counts as an abstract one of the standard library, by its methods."""
    abstract = getattr(contextlib, name, None) or getattr(collections.abc, name, None)
    return abstract is not None and issubclass(cls, abstract)


def _is_awaited(call: Any) -> bool:
    if inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call):
        return True
    returned = str(inspect.signature(call).return_annotation)
    return any(word in returned for word in ("Awaitable", "Coroutine", "AsyncI", "AsyncGen"))


def wanted(form: str) -> list[Parameter]:
    """Return the parameters in a form."""
    head = f"def call{form.removeprefix('async ')}: ..."
    definition = ast.parse(head).body[0]
    assert isinstance(definition, ast.FunctionDef)
    return list(_parameters(definition.args))


def _parameters(args: ast.arguments) -> Iterator[Parameter]:
    positional = [*args.posonlyargs, *args.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(args.defaults))
    defaults += args.defaults
    for number, (arg, default) in enumerate(zip(positional, defaults, strict=True)):
        only = number < len(args.posonlyargs)
        kind = Parameter.POSITIONAL_ONLY if only else Parameter.POSITIONAL_OR_KEYWORD
        yield Parameter(arg.arg, kind, default=_value(default))
    if args.vararg is not None:
        yield Parameter(args.vararg.arg, Parameter.VAR_POSITIONAL)
    for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        yield Parameter(arg.arg, Parameter.KEYWORD_ONLY, default=_value(default))
    if args.kwarg is not None:
        yield Parameter(args.kwarg.arg, Parameter.VAR_KEYWORD)


def _value(default: ast.expr | None) -> Any:
    if default is None:
        return Parameter.empty
    if isinstance(default, ast.Name):
        return Named(default.id)
    value = ast.literal_eval(default)
    return ANYTHING if value is ... else value


def _faults_of_parameters(mode: list[Parameter], ours: list[Parameter]) -> Iterator[str]:
    by_name = {p.name: p for p in ours}
    positional = [p for p in ours if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    takes_more = any(p.kind is p.VAR_POSITIONAL for p in ours)
    takes_any_name = any(p.kind is p.VAR_KEYWORD for p in ours)
    known: set[str] = set()
    for place, theirs in enumerate(mode):
        if theirs.kind is theirs.VAR_POSITIONAL:
            if not takes_more:
                yield "takes no *args"
            continue
        if theirs.kind is theirs.VAR_KEYWORD:
            if not takes_any_name:
                yield "takes no **kwargs"
            continue
        by_position = theirs.kind is not theirs.KEYWORD_ONLY
        mine = by_name.get(theirs.name)
        if by_position:
            at_place = positional[place] if place < len(positional) else None
            if theirs.kind is theirs.POSITIONAL_ONLY and at_place is not None:
                mine = at_place
            elif at_place is None and not takes_more:
                yield f"does not take {theirs.name} by position"
            elif at_place is not None and at_place.name != theirs.name:
                yield f"takes {at_place.name} where mode takes {theirs.name}"
        if mine is None or (
            mine.kind is mine.POSITIONAL_ONLY and theirs.kind is not theirs.POSITIONAL_ONLY
        ):
            if not takes_any_name:
                yield f"does not take {theirs.name} by name"
            if mine is None:
                continue
        known.add(mine.name)
        yield from _faults_of_default(theirs, mine)
    for mine in ours:
        if mine.kind in {mine.VAR_POSITIONAL, mine.VAR_KEYWORD} or mine.name in known:
            continue
        if mine.default is Parameter.empty:
            yield f"requires {mine.name}"


def _faults_of_default(theirs: Parameter, mine: Parameter) -> Iterator[str]:
    if theirs.default is Parameter.empty:
        return
    if mine.default is Parameter.empty:
        yield f"requires {theirs.name}"
    elif not _is_default(theirs.default, mine.default):
        yield f"takes {mine.default!r} for {theirs.name}, and mode {theirs.default!r}"


def _is_default(theirs: Any, mine: Any) -> bool:
    if isinstance(theirs, Named):
        return getattr(mine, "__name__", None) == theirs.name
    return theirs is ANYTHING or (type(theirs) is type(mine) and theirs == mine)
