"""What to call something: by its label, for people; by its place in a module, for finding it again.

A program's own main module is called ``__main__`` while it runs, and by its file when something else imports it. The two
functions with ``cano`` in their names give the latter in both cases.
"""

from __future__ import annotations

import sys
from decimal import Decimal
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ("canoname", "canonshortname", "label", "qualname", "shortlabel", "shortname")

_MAIN = "__main__"


def label(s: Any) -> str:
    """Return what to call an object.

    Args:
        s: The object. A string is its own label, and a number its digits; of others it is the first of ``label``, ``name``,
            ``__qualname__`` and ``__name__`` that is a string, or else the name of its class.
    """
    return _label("label", s)


def shortlabel(s: Any) -> str:
    """Return what to call an object in short.

    Args:
        s: The object, as in `label`, with ``shortlabel`` in place of ``label``.
    """
    return _label("shortlabel", s)


def _label(attribute: str, thing: Any) -> str:
    if isinstance(thing, str):
        return thing
    if isinstance(thing, int | float | Decimal):
        return str(thing)
    for name in (attribute, "name", "__qualname__", "__name__"):
        value = getattr(thing, name, None)
        # Of a class whose objects have a label, it is the property: no string.
        if isinstance(value, str) and value:
            return value
    return type(thing).__qualname__


def qualname(obj: Any) -> str:
    """Return the module and the name of an object, with the names of the classes and functions that it is in.

    Args:
        obj: A class, a function or a module; anything else stands for its class.
    """
    return _in_module(obj, "__qualname__")


def shortname(obj: Any) -> str:
    """Return the module and the name of an object, and not what it is in.

    Args:
        obj: A class, a function or a module; anything else stands for its class.
    """
    return _in_module(obj, "__name__")


def canoname(obj: Any, *, main_name: str | None = None) -> str:
    """Return what `qualname` does, with the real name of the main module in place of ``__main__``.

    Args:
        obj: A class, a function or a module; anything else stands for its class.
        main_name: The real name; found out by default.
    """
    return _with_main_name(qualname(obj), main_name)


def canonshortname(obj: Any, *, main_name: str | None = None) -> str:
    """Return what `shortname` does, with the real name of the main module in place of ``__main__``.

    Args:
        obj: A class, a function or a module; anything else stands for its class.
        main_name: The real name; found out by default.
    """
    return _with_main_name(shortname(obj), main_name)


def _in_module(thing: Any, attribute: str) -> str:
    if isinstance(thing, ModuleType):
        return thing.__name__
    named: Any = thing if hasattr(thing, "__name__") else thing.__class__
    name = getattr(named, attribute, None) or named.__name__
    module = getattr(named, "__module__", None)
    return f"{module}.{name}" if module else str(name)


def _with_main_name(name: str, main_name: str | None) -> str:
    module, dot, rest = name.partition(".")
    if module != _MAIN:
        return name
    return (main_name or _find_main_name()) + dot + rest


def _find_main_name() -> str:
    """Return the name under which another module would import the main one."""
    main = sys.modules.get(_MAIN)
    spec = getattr(main, "__spec__", None)
    if spec is not None:  # it was run by that name
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return _module_of(file) if file else _MAIN  # a console has none


@lru_cache(maxsize=1)
def _module_of(file: str) -> str:
    path = Path(file).absolute()
    packages = takewhile(lambda directory: (directory / "__init__.py").exists(), path.parents)
    return ".".join([*reversed([package.name for package in packages]), path.stem])
