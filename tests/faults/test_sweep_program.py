"""The program that makes the whole sweep: what it tries, what it tells, and how it exits."""

from __future__ import annotations

import sys
from collections import Counter
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest

from structmode.testing import LawBroken, Scenario


class Swept:
    """A sweep that has been made."""

    def __init__(self) -> None:
        self.moments = {"block": 20, "bare": 10}
        self.runs = Counter({"a stop": 1000})

    def __str__(self) -> str:
        return "a sweep"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, which changes where modules are looked for, as it may when it runs by itself."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    return import_module(f"{__package__}.sweep")


def told(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, *options: str, broken: str = ""
) -> tuple[int, list[tuple[str, str, int, int]]]:
    """Run it, with one scenario in which a law is broken; returns the exit code, and what it has tried."""
    tried: list[tuple[str, str, int, int]] = []

    def inject(scenario: Scenario, backend: str, **how: Any) -> Swept:
        name = type(scenario).__name__
        tried.append((name, backend, how["every"], how["seed"]))
        if name == broken:
            raise LawBroken(f"a law, in {name}")
        return Swept()

    monkeypatch.setattr(program, "inject_faults", inject)
    monkeypatch.setattr(sys, "argv", ["sweep", *options])
    return program.main(), tried


def test_all_of_it(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All scenarios on both backends, each moment; a broken law is told, and the rest goes on."""
    code, tried = told(program, monkeypatch, broken="Tree")
    names = [type(one).__name__ for one in program.SCENARIOS]
    assert tried == [(name, backend, 1, 0) for backend in ("asyncio", "trio") for name in names]
    assert code == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("a law, in Tree") == 2
    rest = 2 * (len(names) - 1)
    assert lines[-1] == (
        f"faults: {rest * 1000:,} at {rest * 30:,} moments of {len(names)} scenarios, 2 broken"
    )


def test_a_part_of_it(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """One scenario, one backend, some moments, another order."""
    options = ("--backend", "trio", "--scenario", "Changing", "--every", "10", "--seed", "3")
    assert told(program, monkeypatch, *options) == (0, [("Changing", "trio", 10, 3)])


def test_a_scenario_that_is_not_there(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """To have tried nothing is no success."""
    assert told(program, monkeypatch, "--scenario", "Treee") == (2, [])
    assert capsys.readouterr().out == "there is no scenario Treee\n"
