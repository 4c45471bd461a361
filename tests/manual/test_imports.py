"""The chapter `mode.utils.imports` of mode's manual: classes by name, by URL, and by entry point."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from structmode.utils.imports import (
    FactoryMapping,
    load_extension_class_names,
    load_extension_classes,
    symbol_by_name,
)

MODULE = """
class Driver:
    pass
"""


@pytest.fixture(autouse=True)
def drivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An installed distribution with three drivers, one of which is an extension of others; the module of that one."""
    package = tmp_path / "manual_drivers"
    package.mkdir()
    for name in ("__init__", "kafka", "rabbitmq", "redis"):
        (package / f"{name}.py").write_text(MODULE)
    info = tmp_path / "manual_drivers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: manual-drivers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[structmode.manual]\nredis = manual_drivers.redis:Driver\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import manual_drivers.redis as module  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]

    yield module
    for name in [name for name in sys.modules if name.startswith("manual_drivers")]:
        del sys.modules[name]


def test_a_mapping_of_factories(drivers: Any) -> None:
    """Classes are found by the name that they have in the mapping, and by the scheme of a URL."""
    factories: FactoryMapping[type[Any]] = FactoryMapping(
        {
            "rabbitmq": "manual_drivers.rabbitmq:Driver",
            "kafka": "manual_drivers.kafka:Driver",
            "redis": "manual_drivers.redis:Driver",
        }
    )
    found = factories.by_url("rabbitmq://localhost:9090")
    assert (found.__module__, found.__name__) == ("manual_drivers.rabbitmq", "Driver")
    assert factories.by_name("redis") is drivers.Driver


@pytest.mark.parametrize("name", ["manual_drivers.redis.Driver", "manual_drivers.redis:Driver"])
def test_a_symbol_by_its_name(name: str, drivers: Any) -> None:
    """The class is the last part of a name with dots, or what comes after the colon."""
    assert symbol_by_name(name) is drivers.Driver


def test_a_symbol_by_an_alias(drivers: Any) -> None:
    """Short names are looked up first."""
    assert symbol_by_name("default", {"default": "manual_drivers.redis:Driver"}) is drivers.Driver


def test_what_is_no_name(drivers: Any) -> None:
    """What is no string is returned as it is."""
    assert symbol_by_name(drivers.Driver) is drivers.Driver


def test_extensions(drivers: Any) -> None:
    """What distributions name as extensions is loaded."""
    [extension] = load_extension_classes("structmode.manual")
    assert (extension.name, extension.type) == ("redis", drivers.Driver)


def test_names_of_extensions() -> None:
    """Or only told, by name."""
    assert list(load_extension_class_names("structmode.manual")) == [
        ("redis", "manual_drivers.redis:Driver")
    ]
