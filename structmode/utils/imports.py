"""Things found by their names: in modules, in the current directory, in plugins.

A name is that of a module, then of something in it: ``"package.module:Class"``, or with a dot in place of the colon.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from importlib.metadata import EntryPoint, entry_points
from operator import attrgetter
from types import ModuleType
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar, cast, overload
from urllib.parse import urlsplit

from structmode.utils.collections import FastUserDict
from structmode.utils.text import didyoumean

__all__ = (
    "EntrypointExtension",
    "FactoryMapping",
    "RawEntrypointExtension",
    "SymbolArg",
    "cwd_in_path",
    "import_from_cwd",
    "load_extension_class_names",
    "load_extension_classes",
    "smart_import",
    "symbol_by_name",
)

_T = TypeVar("_T")

#: A thing, or its name.
SymbolArg: TypeAlias = _T | str


class _HasScheme(Protocol):
    """A URL as an object, yarl's for instance."""

    @property
    def scheme(self) -> str: ...


class EntrypointExtension(NamedTuple):
    """A plugin that has been loaded."""

    name: str
    """What its package calls it."""
    type: Any
    """The thing itself."""


class RawEntrypointExtension(NamedTuple):
    """A plugin that has not been loaded."""

    name: str
    """What its package calls it."""
    target: str
    """The name of the thing, for `symbol_by_name`."""


class FactoryMapping(FastUserDict[str, str], Generic[_T]):
    """Names, and the classes that they stand for; also as the scheme of URLs.

        drivers: FactoryMapping[type[Driver]] = FactoryMapping(
            kafka="my.drivers.kafka:Driver",
            redis="my.drivers.redis:Driver",
        )
        drivers.include_setuptools_namespace("my.drivers")
        drivers.by_url("redis://localhost:6379")

    Nothing is imported until it is asked for.

    Differs from mode: a namespace can be included at any time, plugins are there as keys, too, and a short name that is
    unknown is an error that says what may have been meant, also if there is a module of that name.

    Args:
        *args: A mapping of names to the names of classes, or pairs of them.
        **kwargs: The same, as keywords.

    Attributes:
        aliases: The names of classes by their short names.
        namespaces: Where plugins are looked for.
    """

    aliases: MutableMapping[str, str]
    namespaces: set[str]

    def __init__(
        self, *args: Mapping[str, str] | Iterable[tuple[str, str]], **kwargs: str
    ) -> None:
        self.aliases = dict(*args, **kwargs)
        self.namespaces = set()
        self._searched: set[str] = set()

    def __getstate__(self) -> Any:
        """Return the state of a copy, to which others can be added."""
        own = {
            "aliases": dict(self.aliases),
            "namespaces": set(self.namespaces),
            "_searched": set(self._searched),
        }
        state: Any = super().__getstate__()
        if isinstance(state, tuple):  # a subclass has slots
            attributes, slots = cast("tuple[dict[str, Any], Any]", state)
            return {**attributes, **own}, slots
        return {**state, **own}

    def iterate(self) -> Iterator[_T]:
        """Iterate over all classes, those of plugins included; each is imported when its turn comes."""
        return (self.by_name(name) for name in list(self.data))

    def by_url(self, url: str | _HasScheme) -> _T:
        """Return the class that the scheme of a URL stands for.

        Args:
            url: The URL, as a string or as an object with a ``scheme``.

        Raises:
            ValueError: If it has no scheme.
            ImportError: If the class can't be imported.
        """
        scheme = _scheme_of(url) if isinstance(url, str) else url.scheme
        if not scheme:
            raise ValueError(
                f"{url!r} is no URL with a scheme: write {next(iter(self.data), 'name')}://..., or call by_name()"
            )
        return self.by_name(scheme)

    def by_name(self, name: SymbolArg[_T]) -> _T:
        """Return the class that a name stands for.

        Args:
            name: The short name, or the name of a class for `symbol_by_name`; a class is returned as it is.

        Raises:
            ImportError: If it is an unknown short name, or can't be imported.
            AttributeError: If its module has no such class.
        """
        if isinstance(name, str) and not {".", ":"} & {*name} and name not in self.data:
            raise ModuleNotFoundError(self._describe_unknown(name), name=name)
        return symbol_by_name(name, self.data)

    def get_alias(self, name: str) -> str:
        """Return the name of a class.

        Args:
            name: Its short name.

        Raises:
            KeyError: If there is no such short name.
        """
        return self.data[name]

    def include_setuptools_namespace(self, namespace: str) -> None:
        """Have the plugins that installed packages offer here, too; they come before what was given by hand.

        They are looked for when a class is first asked for.

        Args:
            namespace: The group of entry points.
        """
        self.namespaces.add(namespace)

    @property
    def data(self) -> MutableMapping[str, str]:  # type: ignore[override]
        """The names of classes by their short names, those of plugins included."""
        for namespace in sorted(self.namespaces - self._searched):
            self.aliases.update(dict(load_extension_class_names(namespace)))
            self._searched.add(namespace)
        return self.aliases

    def _describe_unknown(self, name: str) -> str:
        known = sorted(self.data)
        question = didyoumean(known, name, fmt_none=f"It is one of {', '.join(known) or 'none'}.")
        return f"there is no {name!r} here. {question}"


def _scheme_of(url: str) -> str:
    # To `urlsplit` a scheme has no underscore, which a name that was given as a keyword may well have.
    before, separator, _ = url.partition("://")
    return urlsplit(url).scheme or (before if separator else "")


@overload
def symbol_by_name(
    name: str,
    aliases: Mapping[str, str] | None = None,
    imp: Callable[..., Any] | None = None,
    package: str | None = None,
    sep: str = ".",
    default: Any = None,
    **kwargs: Any,
) -> Any: ...
@overload
def symbol_by_name(
    name: SymbolArg[_T],
    aliases: Mapping[str, str] | None = None,
    imp: Callable[..., Any] | None = None,
    package: str | None = None,
    sep: str = ".",
    default: _T | None = None,
    **kwargs: Any,
) -> _T: ...


def symbol_by_name(
    name: Any,
    aliases: Mapping[str, str] | None = None,
    imp: Callable[..., Any] | None = None,
    package: str | None = None,
    sep: str = ".",
    default: Any = None,
    **kwargs: Any,
) -> Any:
    """Return what a name stands for, imported if need be.

    Differs from mode: after a colon, the name may go on with dots (``"module:Class.method"``), and ``":name"`` is looked
    for in the package.

    Args:
        name: ``"package.module:Class"``, ``"package.module.Class"``, or the name of a module alone; that of a module in a
            package takes a colon at its end then, or is one for `smart_import`. What is no string is returned as it is.
        aliases: Names by their short names; a short name is looked up here first.
        imp: What imports a module, called with its name and ``package=``; `importlib.import_module` by default.
        package: What a name that begins with a dot is relative to.
        sep: What stands between module and class, if it is no colon.
        default: What to return if there is no such module, or nothing of that name in it; `None` is no default.
        **kwargs: Passed on to `imp`.

    Raises:
        ImportError: If the module can't be imported, and there is no default.
        AttributeError: If the module has nothing of that name, and there is no default.
        ValueError: If it is no name of a module.
    """
    if not isinstance(name, str):
        return name
    full = (aliases or {}).get(name) or name
    module_name, attribute = _split(full, sep, package)
    try:
        module = _import(full, imp, module_name, package, kwargs)
        return attrgetter(attribute)(module) if attribute else module
    except (ImportError, AttributeError):
        if default is None:
            raise
        return default


def _split(name: str, sep: str, package: str | None) -> tuple[str, str]:
    """Take a name apart: the module, and what is in it, if anything."""
    if ":" in name:
        module, _, attribute = name.partition(":")
        return module or package or "", attribute
    module, _, attribute = name.rpartition(sep)
    if module.strip("."):
        return module, attribute
    # There is one part only: a module, or one of a package.
    return name, ""


def _import(
    full: str,
    imp: Callable[..., Any] | None,
    module: str,
    package: str | None,
    kwargs: Mapping[str, Any],
) -> Any:
    if not module or (module.startswith(".") and not package):
        problem = "a relative name needs package=" if module else "there is no module in it"
        raise ValueError(
            f"cannot import {full!r}: {problem}; write it as 'package.module:name', or name the package"
        )
    try:
        return (imp or importlib.import_module)(module, package=package, **kwargs)
    except ValueError as error:
        raise ValueError(f"cannot import {full!r}: {error}") from error


def load_extension_classes(namespace: str) -> Iterable[EntrypointExtension]:
    """Load the plugins that installed packages offer under a name, and iterate over them.

    One that can't be loaded, whatever it raises, is left out with a warning that says which it is, and of which package.

    Differs from mode, where only errors of imports and syntax count.

    Args:
        namespace: The group of entry points.
    """
    for point in entry_points(group=namespace):
        try:
            loaded = point.load()
        except Exception as error:  # noqa: BLE001 - it is somebody else's code, and may raise anything
            warnings.warn(
                f"cannot load {namespace} extension {_describe(point)}: {error!r}", stacklevel=2
            )
        else:
            yield EntrypointExtension(point.name, loaded)


def load_extension_class_names(namespace: str) -> Iterable[RawEntrypointExtension]:
    """Iterate over the plugins that installed packages offer under a name; none is loaded.

    Args:
        namespace: The group of entry points.
    """
    for point in entry_points(group=namespace):
        target = point.value.partition("[")[0]  # without the extras, which an entry point may have
        yield RawEntrypointExtension(point.name, target.replace(" ", ""))


def _describe(point: EntryPoint) -> str:
    package = "" if point.dist is None else f" of {point.dist.name}"
    return f"{point.name!r} ({point.value}){package}"


@contextmanager
def cwd_in_path() -> Generator[None]:
    """Have modules of the current directory found first, for the time of a `with` block.

    `sys.path` is that of the whole process: all threads see the change.
    """
    directory = None
    with suppress(FileNotFoundError):  # it has been deleted
        directory = os.getcwd()
    if directory is None:
        yield  # not where the error is being handled: what the block raises has nothing to do with it
        return
    # Also if it is there already: it may be behind others.
    sys.path.insert(0, directory)
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.path.remove(directory)


def import_from_cwd(
    module: str, *, imp: Callable[..., Any] | None = None, package: str | None = None
) -> ModuleType:
    """Import a module, one of the current directory rather than any other.

    Args:
        module: Its name.
        imp: What imports it, called with the name and ``package=``; `importlib.import_module` by default.
        package: What a name that begins with a dot is relative to.

    Raises:
        ImportError: If it can't be imported.
    """
    with cwd_in_path():
        return cast("ModuleType", (imp or importlib.import_module)(module, package=package))


def smart_import(path: str, imp: Callable[..., Any] | None = None) -> Any:
    """Import a module, or what is in one: whichever the name means.

    Differs from mode: if the module is there and fails in its own imports, that is the error.

    Args:
        path: The name of a module, or a name as `symbol_by_name` takes it.
        imp: What imports a module; `importlib.import_module` by default.

    Raises:
        ImportError: If a module can't be imported.
        AttributeError: If a module has nothing of that name.
    """
    if ":" in path:
        return symbol_by_name(path, imp=imp)
    try:
        return (imp or importlib.import_module)(path)
    except ImportError as error:
        if not _is_no_module(path, error, says_little=imp is not None):
            raise
    return symbol_by_name(path, imp=imp)


def _is_no_module(path: str, error: ImportError, *, says_little: bool) -> bool:
    """Whether an import failed because there is no such module, and not in one that is there."""
    if error.name is None:
        return says_little
    return isinstance(error, ModuleNotFoundError) and f"{path}.".startswith(f"{error.name}.")
