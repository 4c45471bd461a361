"""The program that plays plans for long: how many, from which seed, what it tells, and how it exits."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from types import ModuleType

import pytest

from .comparison import Difference
from .machine import Totals


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, which changes where modules are looked for, as it may when it runs by itself."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    return import_module(f"{__package__}.soak")


def test_some_steps(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It plays plans until so many steps are done, and tells how many there were."""
    options = ["--steps", "1", "--backend", "trio", "--seed", "1", "--rules", "2"]
    monkeypatch.setattr(program, "PLANS_IN_A_ROUND", 2)
    assert program.main(options) == 0
    first, share, last = capsys.readouterr().out.splitlines()
    assert first == "seed 1"
    assert share.startswith("trio: of ")
    assert last.startswith("model: ")
    assert last.endswith(" steps in 2 plans on trio; 0 differences")


def test_the_round_in_which_something_differs(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The seed of that round is told, that backend is done with, and the other one is played all the same."""

    def play(backend: str, totals: Totals, number: int, rules: int) -> None:
        if (backend, number) == ("asyncio", 9):
            raise Difference("they part")
        totals.plans += 200
        totals.steps += 1000
        totals.supervised += 20
        totals.mended += 15
        totals.revived += 10

    monkeypatch.setattr(program, "_round", play)
    monkeypatch.setattr(program, "PROGRESS", -1.0)
    assert program.main(["--steps", "2000", "--seed", "8"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [re.sub(r" in \d+ s$", "", line) for line in lines] == [
        "seed 8",
        "asyncio: 1,000 steps",
        "they part",
        "",
        "round 9 on asyncio: repeat it with --seed 9",
        "asyncio: of 20 plans with a supervisor, 15 came to a mending, 10 to a restart",
        "trio: 1,000 steps",
        "trio: 2,000 steps",
        "trio: of 40 plans with a supervisor, 30 came to a mending, 20 to a restart",
        "model: 1,000 steps in 200 plans on asyncio, 2,000 steps in 400 plans on trio; 1 differences",
    ]
