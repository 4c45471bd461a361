"""Finds the tests that bear a mark by reading them: nothing of theirs is imported, and pytest need not be installed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Marked:
    """A test that bears a mark.

    Attributes:
        value: What the mark says, its one argument.
        file: The path of the test's file, below the directory of all tests.
        name: The test's name.
    """

    value: str
    file: str
    name: str


def marked(tests: Path, mark: str) -> Iterator[Marked]:
    """Yield the tests below a directory that bear a mark, by files and then from top to bottom.

    Args:
        tests: The directory.
        mark: The name of the mark, which takes one text.

    Raises:
        ValueError: If the mark is used otherwise, which would be overlooked.
    """
    for path in sorted(tests.rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if f"mark.{mark}" in text:
            yield from _marked_in(ast.parse(text), path.relative_to(tests).as_posix(), mark)


def _marked_in(module: ast.Module, file: str, mark: str) -> Iterator[Marked]:
    seen: set[ast.AST] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                value = _value(decorator, mark)
                if value is not None and node.name.startswith("test_"):
                    seen.update(ast.walk(decorator))
                    yield Marked(value, file, node.name)
    for node in ast.walk(module):
        if _is_mark(node, mark) and node not in seen:
            raise ValueError(
                f'{file}:{getattr(node, "lineno", "?")}: write @pytest.mark.{mark}("...") above a test function'
            )


def _value(decorator: ast.expr, mark: str) -> str | None:
    """Return what a decorator says, if it is the mark, with one text and nothing else."""
    match decorator:
        case ast.Call(func=func, args=[ast.Constant(value=str(value))], keywords=[]):
            return value if _is_mark(func, mark) else None
        case _:
            return None


def _is_mark(node: ast.AST, mark: str) -> bool:
    match node:
        case ast.Attribute(value=ast.Attribute(attr="mark"), attr=name):
            return name == mark
        case _:
            return False
