"""Things found by their names."""

from __future__ import annotations

import copy
import importlib
import json
import os.path
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from structmode.utils.imports import (
    EntrypointExtension,
    FactoryMapping,
    RawEntrypointExtension,
    cwd_in_path,
    import_from_cwd,
    load_extension_class_names,
    load_extension_classes,
    smart_import,
    symbol_by_name,
)

PLUGINS = """\
[kit.codecs]
json = json:loads
deep = json.decoder:JSONDecoder.decode [fast]
module = json

[kit.broken]
absent = kit_absent:thing
attribute = json:nothing
explodes = kit_explodes:thing
works = json:dumps
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty directory, which is the current one; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    importlib.invalidate_caches()
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def plugins(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package is installed that offers plugins."""
    info = directory / "kit-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kit\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(PLUGINS)
    (directory / "kit_explodes.py").write_text("raise RuntimeError('boom')\n")
    monkeypatch.syspath_prepend(directory)
    return directory


# --- symbol_by_name -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("json:loads", json.loads),
        ("json.loads", json.loads),
        ("json.decoder:JSONDecoder", json.JSONDecoder),
        ("json.decoder.JSONDecoder", json.JSONDecoder),
        ("json:JSONDecoder.decode", json.JSONDecoder.decode),
        ("json", json),
        ("json:", json),
        ("os.path:join", os.path.join),
    ],
)
def test_a_name_finds_the_thing(name: str, expected: object) -> None:
    """A module and something in it, with a colon or a dot between them, or a module alone."""
    assert symbol_by_name(name) is expected


def test_what_is_no_name_is_the_thing_itself() -> None:
    """What is no string is returned as it is."""
    assert symbol_by_name(json.loads) is json.loads
    assert symbol_by_name(None) is None


def test_short_names_are_looked_up_first() -> None:
    """A short name stands for the name that it is given; others are names as always."""
    aliases = {"default": "json:loads", "with-dash": "json:dumps", "json": "os.path"}
    assert symbol_by_name("default", aliases) is json.loads
    assert symbol_by_name("with-dash", aliases=aliases) is json.dumps
    assert symbol_by_name("json", aliases) is os.path
    assert symbol_by_name("json.loads", aliases) is json.loads


@pytest.mark.parametrize(
    "name", [".decoder:JSONDecoder", ".decoder.JSONDecoder", ":JSONDecoder", "json:JSONDecoder"]
)
def test_names_relative_to_a_package(name: str) -> None:
    """A name that begins with a dot, or has no module before its colon, is one of the package."""
    assert symbol_by_name(name, package="json") is json.JSONDecoder
    assert symbol_by_name(".decoder", package="json") is json.decoder


def test_another_separator() -> None:
    """`sep` is what stands between module and thing; a colon always does."""
    assert symbol_by_name("json/loads", sep="/") is json.loads
    assert symbol_by_name("json:loads", sep="/") is json.loads


def test_another_import() -> None:
    """`imp` is called with the module's name, the package and further keywords."""
    calls: list[Any] = []

    def imp(name: str, **kwargs: Any) -> Any:
        calls.append((name, kwargs))
        return SimpleNamespace(thing=5)

    assert symbol_by_name("a.b:thing", imp=imp, package="p", extra=1) == 5
    assert calls == [("a.b", {"package": "p", "extra": 1})]


def test_a_name_that_leads_nowhere() -> None:
    """It is the error of the import, or of the attribute; or the default, if there is one."""
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        symbol_by_name("nowhere.to:be")
    with pytest.raises(AttributeError, match="nothing"):
        symbol_by_name("json:nothing")
    assert symbol_by_name("nowhere.to:be", default=5) == 5
    assert symbol_by_name("json:nothing", default=5) == 5
    assert symbol_by_name("json:loads", default=5) is json.loads


@pytest.mark.parametrize("name", ["", ":thing", ".thing", "..thing", ".module:thing"])
def test_a_name_without_a_module(name: str) -> None:
    """Without a module, and without a package to look in, the error says what a name looks like."""
    with pytest.raises(ValueError, match=f"cannot import '{name}'.*package"):
        symbol_by_name(name, default=5)


def test_a_value_error_of_an_import_says_what_was_imported() -> None:
    """An import that raises `ValueError` raises it with the name."""

    def imp(*args: Any, **kwargs: Any) -> Any:
        raise ValueError("no")

    with pytest.raises(ValueError, match=r"cannot import 'a:b': no"):
        symbol_by_name("a:b", imp=imp)


# --- smart_import ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("json", json),
        ("json.decoder", json.decoder),
        ("os.path.join", os.path.join),
        ("json:loads", json.loads),
    ],
)
def test_a_path_is_a_module_or_what_is_in_one(path: str, expected: object) -> None:
    """`smart_import` finds out which it is."""
    assert smart_import(path) is expected
    assert smart_import(path, importlib.import_module) is expected


def test_a_path_that_leads_nowhere() -> None:
    """It is the error of what is not there."""
    with pytest.raises(ModuleNotFoundError, match="'nowhere'"):
        smart_import("nowhere.at.all")
    with pytest.raises(AttributeError, match="nothing"):
        smart_import("json.nothing")


def test_an_import_that_fails_inside_is_told(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the module is there and lacks something itself, that is the error, and not that it is no module."""
    monkeypatch.syspath_prepend(directory)
    (directory / "kit_pkg").mkdir()
    (directory / "kit_pkg" / "__init__.py").touch()
    (directory / "kit_pkg" / "lacking.py").write_text("import kit_what_it_lacks\n")
    with pytest.raises(ModuleNotFoundError, match="kit_what_it_lacks"):
        smart_import("kit_pkg.lacking")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("raise ImportError('install kit_extra')", ImportError),
        ("raise ModuleNotFoundError('install kit_extra')", ModuleNotFoundError),
        ("from kit_pkg import kit_extra", ImportError),
    ],
)
def test_an_import_that_is_refused_inside_is_told(
    directory: Path, monkeypatch: pytest.MonkeyPatch, body: str, error: type[ImportError]
) -> None:
    """Whatever the module says of it, and of whatever package: it is there, so it is looked for nowhere else."""
    monkeypatch.syspath_prepend(directory)
    (directory / "kit_pkg").mkdir()
    (directory / "kit_pkg" / "__init__.py").touch()
    (directory / "kit_pkg" / "lacking.py").write_text(f"{body}\n")
    with pytest.raises(error, match="kit_extra"):
        smart_import("kit_pkg.lacking")


def test_an_import_of_ones_own_may_say_little() -> None:
    """An `ImportError` that does not say of what is taken for: no module."""

    def imp(name: str, **kwargs: Any) -> ModuleType:
        if name == "json.loads":
            raise ImportError("no")
        return importlib.import_module(name)

    assert smart_import("json.loads", imp=imp) is json.loads


# --- The current directory ------------------------------------------------------------------------


def test_modules_of_the_current_directory_come_first(directory: Path) -> None:
    """In the block they are found before others, also if the directory is on the path already; then all is as before."""
    (directory / "kit_here.py").write_text("value = 'here'\n")
    other = directory / "other"
    other.mkdir()
    (other / "kit_here.py").write_text("value = 'other'\n")
    sys.path[:0] = [str(other), str(directory)]
    before = list(sys.path)
    try:
        with cwd_in_path():
            assert importlib.import_module("kit_here").value == "here"
        assert sys.path == before
    finally:
        del sys.path[:2]


def test_the_path_may_change_in_the_block(directory: Path) -> None:
    """The path is as it was but for what the block did to it, whatever that is."""
    before = list(sys.path)
    with cwd_in_path():
        sys.path.append("another")
        sys.path.remove(str(directory))
    assert sys.path == [*before, "another"]
    sys.path.remove("another")
    with pytest.raises(RuntimeError, match="inside"):
        with cwd_in_path():
            raise RuntimeError("inside")
    assert sys.path == before


def test_a_current_directory_that_is_gone(directory: Path) -> None:
    """If it has been deleted, nothing is on the path in its place."""
    gone = directory / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    before = list(sys.path)
    with cwd_in_path():
        assert sys.path == before


def test_import_from_the_current_directory(directory: Path) -> None:
    """A module of it is imported, by a given function if there is one."""
    (directory / "kit_mod.py").write_text("value = 1\n")
    assert import_from_cwd("kit_mod").value == 1
    assert str(directory) not in sys.path
    assert import_from_cwd(".decoder", package="json") is json.decoder
    seen: list[Any] = []
    import_from_cwd("any", imp=lambda *args, **kwargs: seen.append((args, kwargs, sys.path[0])))
    assert seen == [(("any",), {"package": None}, str(directory))]
    with pytest.raises(ModuleNotFoundError, match="kit_nothing"):
        import_from_cwd("kit_nothing")


# --- Plugins --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("plugins")
def test_plugins_are_loaded() -> None:
    """Each comes with the name that its package gives it, in order."""
    loaded = list(load_extension_classes("kit.codecs"))
    assert sorted(loaded) == [
        EntrypointExtension("deep", json.JSONDecoder.decode),
        EntrypointExtension("json", json.loads),
        EntrypointExtension("module", json),
    ]
    assert list(load_extension_classes("kit.nothing")) == []


@pytest.mark.usefixtures("plugins")
def test_names_of_plugins() -> None:
    """The names are those that `symbol_by_name` takes; nothing is loaded."""
    names = sorted(load_extension_class_names("kit.codecs"))
    assert names == [
        RawEntrypointExtension("deep", "json.decoder:JSONDecoder.decode"),
        RawEntrypointExtension("json", "json:loads"),
        RawEntrypointExtension("module", "json"),
    ]
    assert symbol_by_name(names[0].target) is json.JSONDecoder.decode
    assert len(list(load_extension_class_names("kit.broken"))) == 4
    assert "kit_explodes" not in sys.modules


@pytest.mark.usefixtures("plugins")
def test_broken_plugins_are_left_out_with_a_warning() -> None:
    """Whatever loading one raises, the others are loaded, and the warning says which it is, and whose."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = list(load_extension_classes("kit.broken"))
    assert loaded == [EntrypointExtension("works", json.dumps)]
    texts = sorted(str(warning.message) for warning in caught)
    assert [text.partition(":")[0] for text in texts] == [
        "cannot load kit.broken extension 'absent' (kit_absent",
        "cannot load kit.broken extension 'attribute' (json",
        "cannot load kit.broken extension 'explodes' (kit_explodes",
    ]
    assert all(" of kit: " in text for text in texts)
    assert texts[2].endswith("RuntimeError('boom')")
    assert {warning.filename for warning in caught} == {__file__}


def test_factories_by_name_and_by_url() -> None:
    """A short name stands for a class, as the scheme of a URL too, whether a string or an object."""
    drivers = FactoryMapping[Any]({"json": "json:loads"}, dump="json:dumps")
    assert drivers.by_name("json") is json.loads
    assert drivers.by_name("json.decoder:JSONDecoder") is json.JSONDecoder
    assert drivers.by_name(json.dumps) is json.dumps
    assert drivers.by_url("JSON://localhost:80/path") is json.loads
    url: Any = SimpleNamespace(scheme="dump")
    assert drivers.by_url(url) is json.dumps
    assert drivers.get_alias("json") == "json:loads"
    assert list(drivers.iterate()) == [json.loads, json.dumps]
    assert drivers.aliases == dict(drivers) == {"json": "json:loads", "dump": "json:dumps"}
    assert drivers.namespaces == set()


def test_factories_can_be_changed() -> None:
    """It is a dictionary of names: one can be added, and is found."""
    drivers = FactoryMapping[Any]()
    drivers["json"] = "json:loads"
    assert drivers.by_name("json") is json.loads
    assert [*drivers.iterate()] == [json.loads]
    del drivers["json"]
    assert len(drivers) == 0


def test_unknown_short_names() -> None:
    """The error says what may have been meant, even if there is a module that is called so."""
    drivers = FactoryMapping[Any](redis="json:loads", kafka="json:dumps")
    with pytest.raises(
        ModuleNotFoundError, match=r"no 'rediss' here\. Did you mean redis\?"
    ) as info:
        drivers.by_name("rediss")
    assert info.value.name == "rediss"
    with pytest.raises(ModuleNotFoundError, match=r"no 'json' here\. It is one of kafka, redis\."):
        drivers.by_url("json://")
    with pytest.raises(ModuleNotFoundError, match="It is one of none"):
        FactoryMapping[Any]().by_url("a+b://")
    with pytest.raises(KeyError, match="json"):
        drivers.get_alias("json")
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        drivers.by_name("nowhere.to:be")


def test_urls_without_a_scheme() -> None:
    """What has no scheme is no URL, and the error shows one."""
    with pytest.raises(ValueError, match=r"'localhost' is no URL.*redis://"):
        FactoryMapping[Any](redis="json:loads").by_url("localhost")
    url: Any = SimpleNamespace(scheme="")
    with pytest.raises(ValueError, match="name://"):
        FactoryMapping[Any]().by_url(url)
    with pytest.raises(ValueError, match=r"'://localhost' is no URL"):
        FactoryMapping[Any]().by_url("://localhost")


def test_a_name_that_is_a_keyword_may_be_a_scheme() -> None:
    """Such a name may have an underscore in it, which the schemes of URLs on the web have not."""
    drivers = FactoryMapping[Any](my_driver="json:loads")
    assert drivers.by_url("my_driver://localhost:80") is json.loads
    with pytest.raises(
        ModuleNotFoundError, match=r"no 'my_drive' here\. Did you mean my_driver\?"
    ):
        drivers.by_url("my_drive://")


@pytest.mark.usefixtures("plugins")
def test_factories_with_plugins() -> None:
    """Plugins are there as well, whenever their namespace was included; they win over what was given by hand."""
    codecs = FactoryMapping[Any](json="json:dumps", own="json:dump")
    assert codecs.by_name("json") is json.dumps
    codecs.include_setuptools_namespace("kit.codecs")
    assert codecs.by_name("json") is json.loads
    assert codecs.by_name("deep") is json.JSONDecoder.decode
    assert codecs.by_name("own") is json.dump
    assert set(codecs) == {"json", "own", "deep", "module"}
    assert codecs.get_alias("module") == "json"
    codecs.include_setuptools_namespace("kit.broken")
    assert codecs.by_name("works") is json.dumps
    assert codecs.namespaces == {"kit.codecs", "kit.broken"}
    codecs["json"] = "json:dump"
    assert codecs.by_name("json") is json.dump


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_copy_of_a_mapping_has_names_of_its_own(duplicate: Callable[[Any], Any]) -> None:
    """What is added to one is not in the other."""
    drivers = FactoryMapping[Any](json="json:loads")
    twin = duplicate(drivers)
    twin["own"] = "json:dumps"
    twin.include_setuptools_namespace("structmode.nobody")
    assert sorted(twin) == ["json", "own"]
    assert sorted(drivers) == ["json"]
    assert drivers.namespaces == set()
    assert twin.by_name("json") is drivers.by_name("json")
