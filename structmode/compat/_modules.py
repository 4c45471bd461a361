"""Modules that are called as mode's are, and hold what structmode's hold.

Theory: a name in `sys.modules` that stands for another module is not enough. Programs look at `__name__` (Faust keeps a
table by it), have modules found by `importlib.util.find_spec`, and patch names in them in tests. So each is a module of its
own, with its own name and spec. But it keeps nothing: a name that is asked for is looked up where it is at home, and a name
that is set is set there. Whoever patches ``mode.services.Timer`` has patched `structmode.services.Timer`, and sees in the one
what was put into the other.

A name is at home in one of two places. Where mode and structmode mean different things by it, that is a *face*: the module of
the same name in `structmode.compat.faces`, for the names in its `__all__`. For all other names it is structmode's own module.
A class that has a face is replaced by it wherever it turns up, such as `Service` in ``mode.threads``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

from structmode.compat._names import names_for_star

__all__ = ("ModeFinder", "ModeModule")

HOME = "structmode"
FACES = "structmode.compat.faces"


class ModeModule(ModuleType):
    """A module of mode's: a name and a spec of its own, and all else is at home elsewhere."""

    def __getattr__(self, name: str) -> Any:
        try:
            value = getattr(_home_of(self.__name__, name), name)
        except AttributeError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None
        if isinstance(value, ModuleType):
            return self._mode_module(name, value)
        return _face_of(value)

    def _mode_module(self, name: str, module: ModuleType) -> ModuleType:
        """Return mode's module for a public one of structmode's that is inside this one's; for all others, themselves."""
        inside = module.__name__ == f"{_home(self.__name__)}.{name}" and not name.startswith("_")
        return import_module(f"{self.__name__}.{name}") if inside else module

    def __setattr__(self, name: str, value: Any) -> None:
        if _is_own(name, value) or name in vars(self):
            super().__setattr__(name, value)
        else:
            home = _home_of(self.__name__, name)
            setattr(home, name, value if _is_face(home) else _behind(value))

    def __delattr__(self, name: str) -> None:
        if name in vars(self):
            super().__delattr__(name)
        else:
            delattr(_home_of(self.__name__, name), name)

    def __dir__(self) -> list[str]:
        face = _face_module(self.__name__)
        return sorted({*vars(self), *dir(import_module(_home(self.__name__))), *_names_in(face)})


def _is_own(name: str, value: object) -> bool:
    """Whether something belongs to the module itself: what the import system sets, submodules among it."""
    return (name.startswith("__") and name.endswith("__")) or isinstance(value, ModeModule)


def _home(mode_name: str) -> str:
    """Return the name of structmode's module for one of mode's."""
    return HOME + mode_name.removeprefix("mode")


@cache
def _faces() -> frozenset[str]:
    """Return the names of all modules with faces."""
    package = import_module(FACES)
    return frozenset(module.name for module in walk_packages(package.__path__, f"{FACES}."))


def _face_module(mode_name: str) -> ModuleType | None:
    """Return the module with mode's own meaning of names, if the module has any."""
    name = FACES + mode_name.removeprefix("mode")
    return import_module(name) if name in _faces() else None


def _is_face(module: ModuleType) -> bool:
    return module.__name__.startswith(f"{FACES}.")


def _names_in(face: ModuleType | None) -> Sequence[str]:
    return face.__all__ if face is not None else ()


def _home_of(mode_name: str, name: str) -> ModuleType:
    """Return the module in which a name of one of mode's modules is at home."""
    face = _face_module(mode_name)
    if face is not None and name in _names_in(face):
        return face
    return import_module(_home(mode_name))


def _face_of(value: Any) -> Any:
    """Return what stands for something of structmode's in mode; for all else, itself."""
    place, name = getattr(value, "__module__", None), getattr(value, "__name__", None)
    if not isinstance(place, str) or not isinstance(name, str) or not place.startswith(f"{HOME}."):
        return value
    while place != HOME:
        face = _face_module(place.replace(HOME, "mode", 1))
        if name in _names_in(face) and getattr(sys.modules[place], name, None) is value:
            return getattr(face, name, value)
        place = place.rpartition(".")[0]
    return value


def _behind(value: Any) -> Any:
    """Return what of structmode's something in mode stands for; for all else, itself."""
    place, name = getattr(value, "__module__", None), getattr(value, "__name__", None)
    if (
        not isinstance(place, str)
        or not isinstance(name, str)
        or not place.startswith(f"{FACES}.")
    ):
        return value
    home = sys.modules.get(HOME + place.removeprefix(FACES))
    behind = getattr(home, name, value)
    return behind if _face_of(behind) is value else value


class ModeFinder(MetaPathFinder):
    """Finds ``mode`` and its modules, wherever structmode has one of the same name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of one of mode's modules, and None for any other."""
        first, *parts = fullname.split(".")
        if first != "mode" or any(part.startswith("_") for part in parts):
            return None
        real = find_spec(_home(fullname))
        if real is None:
            return None
        is_package = real.submodule_search_locations is not None
        return ModuleSpec(fullname, _LOADER, origin=real.origin, is_package=is_package)


class _ModeLoader(Loader):
    """Makes modules of mode's."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = ModeModule(spec.name)
        if spec.submodule_search_locations is not None:
            module.__path__ = []  # nothing is found there, or files of structmode would be loaded a second time
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Import what is behind the module; the rest comes when it is asked for."""
        module.__doc__ = import_module(_home(module.__name__)).__doc__
        names = names_for_star(module.__name__)
        if names is not None:
            module.__dict__["__all__"] = names


_LOADER = _ModeLoader()
