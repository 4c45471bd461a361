"""What a package offers and seldom needs is loaded when it is first asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

__all__ = ("at_home", "loader")


def at_home(value: Any, package: str) -> Any:
    """Have a name be at home in the package it is imported from: to users the rooms of that are no places."""
    if getattr(value, "__module__", "").startswith(f"{package}."):
        value.__module__ = package
    return value


def loader(package: str, rooms: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return a package's ``__getattr__``.

    Args:
        package: The name of the package.
        rooms: The names that are loaded so, by the modules of the package that they are in.
    """
    homes = {name: f"{package}.{room}" for room, names in rooms.items() for name in names}

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = at_home(getattr(import_module(homes[name]), name), package)
        setattr(sys.modules[package], name, value)
        return value

    return load
