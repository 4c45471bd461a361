"""Makes tables of the known faults of mode and of what users ask for, from the records that the tests are held against.

Two directives: ```{faults} A```, a table of the faults whose numbers begin with a letter, each with the tests that bear its
mark; and ```{demands}```, a table of the demands with what answers them. In the latter, a name in backticks that the reference
does not have is an error, as it is in a docstring.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from marks import Marked, marked
from names import SCOPE
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

TESTS = Path(__file__).parents[2] / "tests"
FAULTS = TESTS / "regressions" / "faults.toml"
DEMANDS = TESTS / "regressions" / "demands.toml"


class Table(Directive):
    """A table that is written in Markdown when the documentation is made."""

    has_content: ClassVar[bool] = False
    record: ClassVar[Path]

    def lines(self, record: Mapping[str, Any]) -> Iterator[str]:
        """Yield the lines of the table."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        self.depend_on(self.record)
        record = tomllib.loads(self.record.read_text(encoding="utf-8"))
        holder = nodes.Element()
        lines = StringList(list(self.lines(record)), source=str(self.record))
        self.state.nested_parse(lines, self.content_offset, holder)
        self.look_after(holder)
        return list(holder.children)

    def depend_on(self, file: Path) -> None:
        """Have the page made again when a file changes."""
        self.state.document.settings.env.note_dependency(str(file))

    def look_after(self, table: nodes.Element) -> None:
        """Do with the finished table what is to be done."""


class Faults(Table):
    """The faults of one series: what goes wrong in mode, what structmode does, and the tests of that."""

    required_arguments: ClassVar[int] = 1
    record = FAULTS

    def lines(self, record: Mapping[str, Any]) -> Iterator[str]:
        """Yield a row for each fault."""
        tests = list(marked(TESTS, "fault"))
        for file in {test.file for test in tests}:
            self.depend_on(TESTS / file)
        yield "| | The fault | structmode | Tests |"
        yield "|---|---|---|---|"
        for number, entry in record.items():
            if number.rstrip("0123456789") == self.arguments[0]:
                own = [test for test in tests if test.value == number]
                yield row(number, entry["fault"], entry["instead"], by_files(own))


class Demands(Table):
    """What users ask for, what answers it, what is missing, and the tests that show it."""

    record = DEMANDS

    def lines(self, record: Mapping[str, Any]) -> Iterator[str]:
        """Yield a row for each demand."""
        yield "| | What is asked for | Answered | By what | Not yet, and why | Tests |"
        yield "|---|---|---|---|---|---|"
        for number, entry in enumerate(record["demand"], 1):
            tests = ", ".join(f"`{file}`" for file in entry["tests"])
            missing = entry.get("missing", "")
            yield row(number, entry["asked"], entry["answered"], entry["by"], missing, tests)

    def look_after(self, table: nodes.Element) -> None:
        """Let names be promises: what is none of the reference's fails the build."""
        for literal in table.findall(nodes.literal):
            literal[SCOPE] = (None, None)


def by_files(tests: Sequence[Marked]) -> str:
    """Return the names of tests, with the file of each where it changes."""
    files = dict.fromkeys(test.file for test in tests)
    return "; ".join(
        f"`{file}`: " + ", ".join(f"`{test.name}`" for test in tests if test.file == file)
        for file in files
    )


def row(*cells: object) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def setup(app: Sphinx) -> ExtensionMetadata:
    """Add the directives."""
    app.add_directive("faults", Faults)
    app.add_directive("demands", Demands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
