"""mypy and pyright, both strict, say of what users write what they are to say of it."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import structmode

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(600)]

HERE = Path(__file__).parent
CHECKED = HERE / "checked"
FILES = ("accepted.py", "rejected.py")
#: Where structmode is imported from, installed or not.
SOURCE = Path(structmode.__file__).parents[1]

#: What is reported: by file and line, the text of each report.
Reports = dict[tuple[str, int], list[str]]

MYPY = """
[mypy]
strict = true
warn_unreachable = false
explicit_package_bases = true
"""


def run(directory: Path, *command: str, **environ: str) -> str:
    """Run a checker in a directory of its own; return what it printed."""
    process = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=directory,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert process.returncode in {0, 1}, process.stdout + process.stderr
    return process.stdout


def report_of_mypy(directory: Path) -> Reports:
    """Return what mypy reports."""
    pytest.importorskip("mypy")
    directory.joinpath("mypy.ini").write_text(MYPY)
    # Where it is installed, mypy finds it by itself, and refuses to be told.
    path = {} if SOURCE.name.endswith("-packages") else {"MYPYPATH": str(SOURCE)}
    printed = run(directory, "mypy", "--no-pretty", *FILES, **path)
    reports: Reports = {}
    for line in printed.splitlines():
        if match := re.fullmatch(r"(.+?):(\d+)(?::\d+)?: error: (.*)", line):
            reports.setdefault((Path(match[1]).name, int(match[2])), []).append(match[3])
    return reports


def report_of_pyright(directory: Path) -> Reports:
    """Return what pyright reports."""
    pytest.importorskip("pyright")
    config = {
        "include": ["."],
        "extraPaths": [str(SOURCE)],
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        # Reported besides the mistake: what comes of it, and that a bare attribute is of no use.
        "reportUnknownVariableType": False,
        "reportUnknownMemberType": False,
        "reportUnknownArgumentType": False,
        "reportUnknownLambdaType": False,
        "reportUntypedFunctionDecorator": False,
        "reportUnusedExpression": False,
        "reportUnusedCoroutine": False,
    }
    directory.joinpath("pyrightconfig.json").write_text(json.dumps(config))
    python = ("--pythonpath", sys.executable)
    printed = run(
        directory, "pyright", "--outputjson", *python, PYRIGHT_PYTHON_IGNORE_WARNINGS="1"
    )
    reports: Reports = {}
    for one in json.loads(printed)["generalDiagnostics"]:
        place = Path(one["file"]).name, one["range"]["start"]["line"] + 1
        reports.setdefault(place, []).append(one["message"])
    return reports


def expected(file: Path) -> dict[int, tuple[int, int]]:
    """Return the lines of a file in which there must be an error, each with the first and last line of its statement."""
    source = file.read_text(encoding="utf-8")
    marked = {
        number for number, line in enumerate(source.splitlines(), 1) if line.endswith("# error")
    }
    spans = {number: (number, number) for number in marked}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                if decorator.lineno in marked:  # a checker may take the function for the culprit
                    spans[decorator.lineno] = (decorator.lineno, node.lineno)
    return spans


@pytest.mark.parametrize("read", [report_of_mypy, report_of_pyright], ids=["mypy", "pyright"])
def test_what_checkers_say(read: Callable[[Path], Reports], tmp_path: Path) -> None:
    """What is right is accepted, with the types that it says; of what is wrong each line is reported, and no other."""
    for file in FILES:
        shutil.copy(CHECKED / file, tmp_path)
    reports = read(tmp_path)
    spans = expected(CHECKED / "rejected.py")
    assert len(spans) > 50
    accounted = {
        place
        for place in reports
        if place[0] == "rejected.py"
        and any(first <= place[1] <= last for first, last in spans.values())
    }
    wrong = {place: texts for place, texts in reports.items() if place not in accounted}
    assert wrong == {}, "\n".join(f"{place}: {texts}" for place, texts in wrong.items())
    missed = [
        line
        for line, (first, last) in spans.items()
        if not any(("rejected.py", at) in reports for at in range(first, last + 1))
    ]
    assert missed == []


def test_checkers_are_there() -> None:
    """Where one of them is installed, as by the group "typing", both are."""
    found = {name for name in ("mypy", "pyright") if importlib.util.find_spec(name) is not None}
    assert found in (set(), {"mypy", "pyright"})
