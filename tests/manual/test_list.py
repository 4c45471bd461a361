"""The list of what the manual shows, `examples.toml`, is complete in itself: each has its tests, and these exist."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
EXAMPLES: list[dict[str, Any]] = tomllib.loads(
    (HERE / "examples.toml").read_text(encoding="utf-8")
)["example"]
#: The files of tests that stand for no chapter.
OTHERS = {"test_list.py", "test_move_from_mode.py"}


def names_in(path: Path) -> list[str]:
    """Return the names of the tests in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        node.name
        for node in tree.body
        if isinstance(node, functions) and node.name.startswith("test_")
    ]


def test_each_has_its_tests_or_a_reason() -> None:
    """What no test stands for says why."""
    for example in EXAMPLES:
        assert example.get("tests") or example.get("note"), example
        assert set(example) <= {"chapter", "shows", "tests", "places", "note"}, example
    told = [(example["chapter"], example["shows"]) for example in EXAMPLES]
    assert len(set(told)) == len(told)


def test_the_tests_exist() -> None:
    """Each test that the list names is there."""
    there = {f"{path.name}::{name}" for path in HERE.glob("test_*.py") for name in names_in(path)}
    named = {test for example in EXAMPLES for test in example.get("tests", [])}
    assert named <= there, sorted(named - there)


def test_the_files_are_those_of_the_list() -> None:
    """No file is left that stands for no chapter; supervisors, threads and timers have sentences and no code."""
    named = {test.partition("::")[0] for example in EXAMPLES for test in example.get("tests", [])}
    sentences = {"test_supervisors.py", "test_timers.py"}
    assert named | sentences | OTHERS == {path.name for path in HERE.glob("test_*.py")}
