"""Make the mutants of source files: `python mutants.py ROOT FILE...` writes them to stdout, a JSON object a line.

The operators are mutmut's. Its own runner is not used: it copies each mutated function beside the original and calls it
through a trampoline, which code that looks at frames, stacks and generators would see; and it leaves out all decorated
functions, properties among them.

What can't change what the code does is left out, and counted:

- `type`: protocols, type variables and aliases, overloads, the first argument of `cast`;
- `text`: the words of errors and logs; what a text says, its tests say by parts of it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import libcst as cst
import libcst.matchers as m
from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider

# By its name: mutmut is there for this run only, and not for those who check types.
mutation_operators: Any = import_module("mutmut.mutation.mutators").mutation_operators

# As in mutmut: to mutate these calls only makes a TypeError that any test finds.
CAST = m.Call(func=m.Name("cast"))
NEVER = m.Call(func=m.Name("len") | m.Name("isinstance"))
SIMPLE_DEFAULT = cst.Name | cst.BaseNumber | cst.BaseString
PROTOCOL = m.Name("Protocol") | m.Subscript(value=m.Name("Protocol"))
TYPE_MAKERS = {"TypeVar", "ParamSpec", "TypeVarTuple", "NewType"}
LOG_METHODS = {"debug", "info", "warning", "warn", "error", "exception", "critical", "crit", "log"}
STRINGS = (cst.SimpleString, cst.FormattedString, cst.ConcatenatedString)


@dataclass
class Mutation:
    """What replaces what, and where."""

    node: cst.CSTNode
    mutated: cst.CSTNode
    operator: str
    left_out: str
    #: The outermost function around it, and the first line of its code; 0 if there is none.
    qualname: str
    first_line: int
    #: The parameter of that function whose default is mutated, if one is.
    default: str
    span: tuple[int, int] | None


class Maker(cst.CSTVisitor):
    """Visits one module, and keeps every mutation of it."""

    METADATA_DEPENDENCIES = (PositionProvider, ParentNodeProvider)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Mutation] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        """Apply every operator to a node; whether to go on to the nodes inside."""
        if isinstance(node, cst.Annotation | cst.Decorator | cst.ImportFrom | cst.Import):
            return False
        if m.matches(node, NEVER) or _is_overload(node) or _is_export_list(node):
            return False
        if isinstance(node, cst.Param) and not isinstance(node.default, SIMPLE_DEFAULT | None):
            return False
        for kind, operator in mutation_operators:
            if isinstance(node, kind):
                name = operator.__name__.removeprefix("operator_")
                for index, mutated in enumerate(operator(node)):
                    self._keep(node, mutated, name, index)
        return True

    def _keep(self, node: cst.CSTNode, mutated: cst.CSTNode, operator: str, index: int) -> None:
        above = list(self._above(node))
        names: list[str] = []
        function: cst.FunctionDef | None = None
        for one in above:
            if isinstance(one, cst.FunctionDef):
                names, function = [one.name.value], one
            elif isinstance(one, cst.ClassDef):
                names.insert(0, one.name.value)
        # A default of a function inside another, or of a lambda, is part of the outer one's code.
        default = next((one for one in above if isinstance(one, cst.Param)), None)
        if default is not None and (function is None or default not in _parameters(function)):
            default = None
        span = self.get_metadata(PositionProvider, node, None)
        self.found.append(
            Mutation(
                node=node,
                mutated=mutated,
                operator=operator,
                left_out=self._left_out(above, operator, index),
                qualname=".".join(names),
                first_line=self._first_line(function),
                default="" if default is None else default.name.value,
                span=None if span is None else (span.start.line, span.end.line),
            )
        )

    def _first_line(self, function: cst.FunctionDef | None) -> int:
        """Return the line that the function's code object begins with, 0 if there is no function."""
        if function is None:
            return 0
        first = function.decorators[0] if function.decorators else function
        place = self.get_metadata(PositionProvider, first, None)
        return 0 if place is None else int(place.start.line)

    def _above(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        parent: cst.CSTNode | None = node
        while parent is not None:
            yield parent
            parent = self.get_metadata(ParentNodeProvider, parent, None)

    def _left_out(self, above: list[cst.CSTNode], operator: str, index: int) -> str:
        node = above[0]
        if any(_is_type(one) for one in above):
            return "type"
        if m.matches(node, CAST) and operator == "arg_removal" and index != 1:
            return "type"
        if any(_is_first_of_cast(one, call) for one, call in pairwise(above)):
            return "type"
        says = isinstance(node, STRINGS)
        if operator == "arg_removal" and isinstance(node, cst.Call):
            says = _speaks(node) and _takes_text(node, index)
        speech = any(_speaks(one) or isinstance(one, cst.Raise) for one in above)
        return "text" if says and speech else ""


def _parameters(function: cst.FunctionDef) -> list[cst.Param]:
    given = function.params
    return [*given.posonly_params, *given.params, *given.kwonly_params]


def _is_first_of_cast(node: cst.CSTNode, call: cst.CSTNode) -> bool:
    return m.matches(call, CAST) and isinstance(call, cst.Call) and call.args[0] is node


def _is_overload(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.FunctionDef) and any(
        m.matches(one.decorator, m.Name("overload")) for one in node.decorators
    )


def _is_export_list(node: cst.CSTNode) -> bool:
    return m.matches(node, m.Assign(targets=[m.AssignTarget(target=m.Name("__all__"))]))


def _is_type(node: cst.CSTNode) -> bool:
    if isinstance(node, cst.If):
        return m.matches(node.test, m.Name("TYPE_CHECKING"))
    if isinstance(node, cst.ClassDef):
        return any(m.matches(base.value, PROTOCOL) for base in node.bases)
    if isinstance(node, cst.AnnAssign):
        return m.matches(node.annotation.annotation, m.Name("TypeAlias"))
    if not isinstance(node, cst.Assign):
        return False
    if m.matches(node.value, m.Call(func=m.Name())):
        return node.value.func.value in TYPE_MAKERS  # type: ignore[attr-defined]
    return m.matches(node.value, m.Subscript(value=m.Name("Literal") | m.Name("Callable")))


def _speaks(node: cst.CSTNode) -> bool:
    """Whether a node is a call that logs, or makes an error."""
    if not isinstance(node, cst.Call):
        return False
    if isinstance(node.func, cst.Attribute):
        name = node.func.attr.value
        return name in LOG_METHODS or name.endswith(("Error", "Warning"))
    return isinstance(node.func, cst.Name) and node.func.value.endswith(("Error", "Warning"))


def _takes_text(call: cst.Call, index: int) -> bool:
    """Whether the argument that a mutation of a call's arguments takes away is a text."""
    replaced = [
        one for one in call.args if one.star == "" and not m.matches(one.value, m.Name("None"))
    ]
    if index < len(replaced):
        return isinstance(replaced[index].value, STRINGS)
    return isinstance(call.args[index - len(replaced)].value, STRINGS)


def _mutants_of(root: Path, file: str) -> Iterator[dict[str, Any]]:
    code = (root / file).read_text()
    wrapper = MetadataWrapper(cst.parse_module(code), unsafe_skip_copy=True)
    maker = Maker()
    wrapper.visit(maker)
    lines = code.splitlines()
    seen: Counter[str] = Counter()
    for one in maker.found:
        new = wrapper.module.deep_replace(one.node, one.mutated)
        new_lines = cast(cst.Module, new).code.splitlines()
        if new_lines == lines:
            continue
        start, end = _difference(lines, new_lines)
        was, becomes = lines[start : len(lines) - end], new_lines[start : len(new_lines) - end]
        before, after = (" ".join(line.strip() for line in part) for part in (was, becomes))
        key = f"{file}: {one.qualname}: {before} -> {after}"
        seen[key] += 1
        yield {
            "id": hashlib.sha256(f"{key} {seen[key]}".encode()).hexdigest()[:12],
            "file": file,
            "function": one.qualname,
            "operator": one.operator,
            "left_out": one.left_out,
            "was": before,
            "becomes": after,
            "start": start,
            "end": len(lines) - end,
            "lines": becomes,
            "first_line": one.first_line,
            "default": one.default,
            "span": one.span or (start + 1, len(lines) - end),
        }


def _difference(old: list[str], new: list[str]) -> tuple[int, int]:
    """Return how many lines are the same at the beginning, and at the end."""
    longest = min(len(old), len(new))
    start = next((index for index in range(longest) if old[index] != new[index]), longest)
    rest = longest - start
    end = next((index for index in range(rest) if old[-1 - index] != new[-1 - index]), rest)
    return start, end


def main() -> None:
    """Write the mutants of the files named."""
    for file in sys.argv[2:]:
        for mutant in _mutants_of(Path(sys.argv[1]), file):
            sys.stdout.write(json.dumps(mutant) + "\n")


if __name__ == "__main__":
    main()
