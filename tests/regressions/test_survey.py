"""The list of known faults and that of demands are whole, and the tests that they speak of exist."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
TESTS = HERE.parent
#: How many faults each series has.
SERIES = {"A": 31, "B": 12, "C": 6, "D": 5, "E": 6, "F": 4, "G": 2}
#: How many demands there are.
DEMANDS = 25


def read(name: str) -> dict[str, Any]:
    """Return what a record says."""
    return tomllib.loads(HERE.joinpath(name).read_text(encoding="utf-8"))


@cache
def reader() -> Any:
    """Return the module that finds marked tests, which the documentation is made with."""
    path = TESTS.parent / "docs" / "_ext" / "marks.py"
    spec = importlib.util.spec_from_file_location("marks_of_the_docs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(importlib.import_module("sys").modules, spec.name, module)
        spec.loader.exec_module(module)
    return module


def is_sentence(text: str) -> bool:
    """Tell whether a text has a beginning and an end."""
    return bool(re.fullmatch(r"[A-Z`].*[.]", text)) and "|" not in text


# --- Faults ---------------------------------------------------------------------------------------


def test_no_fault_is_missing() -> None:
    """The list has each number of each series, in order, and nothing else."""
    numbers = [f"{letter}{n}" for letter, last in SERIES.items() for n in range(1, last + 1)]
    assert list(read("faults.toml")) == numbers


def test_each_fault_is_told() -> None:
    """For each there is a sentence or two about what goes wrong, and about what structmode does."""
    for number, entry in read("faults.toml").items():
        assert set(entry) == {"fault", "instead"}, number
        assert is_sentence(entry["fault"]), number
        assert is_sentence(entry["instead"]), number


def test_each_fault_has_a_test() -> None:
    """Each number of the list is the mark of a test, and each mark is a number of the list."""
    tests = defaultdict(list)
    for test in reader().marked(TESTS, "fault"):
        tests[test.value].append(test)
    assert sorted(tests) == sorted(read("faults.toml"))


def test_each_series_is_on_the_page() -> None:
    """The page of the documentation has a table of each series."""
    page = TESTS.parent / "docs" / "explanation" / "faults-of-mode.md"
    assert re.findall(r"^```\{faults\} (\w+)$", page.read_text(), re.MULTILINE) == list(SERIES)


def marked(tests: Path, *lines: str) -> list[tuple[str, str, str]]:
    """Return what is found in a directory, with a file of these lines in it."""
    tests.joinpath("test_one.py").write_text("\n".join(lines), encoding="utf-8")
    found: Iterable[Any] = reader().marked(tests, "fault")
    return [(test.value, test.file, test.name) for test in found]


def test_marks_are_found(tmp_path: Path) -> None:
    """Functions and methods with one mark or several are found by reading their file, which is not imported."""
    assert marked(
        tmp_path,
        "raise SystemExit",
        "@pytest.mark.slow",
        '@pytest.mark.fault("A1")',
        '@pytest.mark.fault("A2")',
        "async def test_a(): pass",
        "@pytest.mark.slow",
        "def test_b(): pass",
        "class TestC:",
        '    @pytest.mark.fault("A3")',
        "    def test_c(self): pass",
    ) == [
        ("A1", "test_one.py", "test_a"),
        ("A2", "test_one.py", "test_a"),
        ("A3", "test_one.py", "test_c"),
    ]


@pytest.mark.parametrize(
    "lines",
    [
        ['pytestmark = pytest.mark.fault("A1")'],
        ['@pytest.mark.fault("A1")', "class TestA: pass"],
        ['@pytest.mark.fault("A1")', "def helper(): pass"],
        ["@pytest.mark.fault", "def test_a(): pass"],
        ["@pytest.mark.fault(1)", "def test_a(): pass"],
        ["@pytest.mark.fault(number='A1')", "def test_a(): pass"],
    ],
)
def test_marks_that_would_be_overlooked_are_refused(tmp_path: Path, lines: list[str]) -> None:
    """A mark that is not above a test, or says something else than one text, is an error that names its place."""
    with pytest.raises(
        ValueError, match=r"test_one\.py:1: write @pytest\.mark\.fault\("
    ) as caught:
        marked(tmp_path, *lines)
    assert "above a test function" in str(caught.value)


# --- Demands --------------------------------------------------------------------------------------


def test_no_demand_is_missing() -> None:
    """There are as many as were found, each a different one."""
    asked = [entry["asked"] for entry in read("demands.toml")["demand"]]
    assert len(set(asked)) == len(asked) == DEMANDS


def test_each_demand_is_answered_or_has_a_reason() -> None:
    """What is answered says by what, and has a test that exists; what is not, or not wholly, says why."""
    for entry in read("demands.toml")["demand"]:
        asked, answered = entry["asked"], entry["answered"]
        assert answered in {"yes", "partly", "no"}, asked
        assert is_sentence(asked), asked
        assert ("by" in entry) == bool(entry.get("tests")) == (answered != "no"), asked
        assert ("missing" in entry) == (answered != "yes"), asked
        for text in (entry.get("by"), entry.get("missing")):
            assert text is None or is_sentence(text), asked
        for file in entry.get("tests", []):
            assert TESTS.joinpath(file).is_file(), f"{asked}: {file}"
