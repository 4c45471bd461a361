"""What is public is declared, documented, typed, and known by its public name."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Iterator
from operator import attrgetter
from types import ModuleType
from typing import Any

import pytest

import structmode


def public_modules() -> list[str]:
    """Return the dotted names of all modules without a part that begins with an underscore."""
    found = pkgutil.walk_packages(structmode.__path__, "structmode.")
    return ["structmode", *(module.name for module in found if "._" not in module.name)]


def own_exports(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield each class and function of ours that a module exports."""
    for name in module.__all__:
        value = getattr(module, name)
        is_ours = str(getattr(value, "__module__", "")).startswith("structmode")
        if is_ours and (inspect.isclass(value) or inspect.isroutine(value)):
            yield f"{module.__name__}.{name}", value


def own_members(cls: type[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the function behind each public method and property that a class itself defines."""
    for name, member in vars(cls).items():
        if name.startswith("_"):
            continue
        # What a property, a cached property, a class method or a static method wraps.
        behind = (getattr(member, attribute, None) for attribute in ("fget", "func", "__func__"))
        value = inspect.unwrap(next(filter(None, behind), member))
        if inspect.isfunction(value):
            yield name, value


@pytest.fixture(params=public_modules())
def module(request: pytest.FixtureRequest) -> ModuleType:
    """Each public module."""
    return importlib.import_module(request.param)


def test_a_module_says_what_it_exports(module: ModuleType) -> None:
    """Every public module has a docstring and an `__all__` in which each name exists once."""
    assert module.__doc__
    assert type(module.__all__) in {tuple, list}
    names: list[str] = list(module.__all__)
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(module, name)] == []


def test_exports_have_docstrings(module: ModuleType) -> None:
    """Every exported class and function, and every public method, says what it does."""
    silent: list[str] = []
    for path, value in own_exports(module):
        if not value.__doc__:
            silent.append(path)  # pragma: no cover - only if the test fails
        if inspect.isclass(value):
            members = own_members(value)
            silent += [
                f"{path}.{name}" for name, _ in members if not inspect.getdoc(getattr(value, name))
            ]
    assert silent == []


def test_type_hints_resolve(module: ModuleType) -> None:
    """`typing.get_type_hints` works on each exported class and function and each public method."""
    for _, value in own_exports(module):
        typing.get_type_hints(value)
        if inspect.isclass(value):
            for _, member in own_members(value):
                typing.get_type_hints(member)


def test_exports_are_known_by_a_public_path(module: ModuleType) -> None:
    """The `__module__` and `__qualname__` of an export lead back to it by a public path."""
    wrong: list[str] = []
    for path, value in own_exports(module):
        home, name = value.__module__, value.__qualname__
        if (
            "._" in home
            or "<" in name
            or attrgetter(name)(importlib.import_module(home))
            != value  # bound methods are made anew
        ):
            wrong.append(f"{path} is {home}.{name}")  # pragma: no cover - only if the test fails
    assert wrong == []


def test_exports_come_from_where_they_say(module: ModuleType) -> None:
    """Each class and function that a module exports is found in the module that it names as its own."""
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            home = importlib.import_module(value.__module__)
            assert attrgetter(value.__qualname__)(home) is value


def test_dir_has_all_public_names() -> None:
    """`dir()` of the package lists what it exports, also what has not been imported yet."""
    assert set(dir(structmode)) >= {*structmode.__all__, "__version__"}
