"""Tells what has become of mode's names, from the very record that the tests hold against the package.

Two directives without arguments: ```{parity-modules}```, a table of mode's modules with how many names each has and how many of
them are changed; and ```{parity-changes}```, a table of those that are, with the reasons.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

RECORD = Path(__file__).parents[2] / "tests" / "compat" / "parity.toml"


class Table(Directive):
    """A table that is written in Markdown when the documentation is made."""

    has_content: ClassVar[bool] = False

    def lines(self, record: Mapping[str, Any]) -> Iterator[str]:
        """Yield the lines of the table."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        self.state.document.settings.env.note_dependency(str(RECORD))
        record = tomllib.loads(RECORD.read_text(encoding="utf-8"))
        holder = nodes.Element()
        lines = StringList(list(self.lines(record)), source=str(RECORD))
        self.state.nested_parse(lines, self.content_offset, holder)
        return list(holder.children)


class Modules(Table):
    """How many names and members each module of mode's has, and how many of both are changed."""

    def lines(self, record: Mapping[str, Any]) -> Iterator[str]:
        """Yield a row for each module, and one for all."""
        yield "| Module of mode's | Names | Members of classes | Changed |"
        yield "|---|---|---|---|"
        total = [0, 0, 0]
        for module, names in record.items():
            found = counts(names)
            total = [a + b for a, b in zip(total, found, strict=True)]
            yield row(f"`{module}`", *found)
        yield row(f"All {len(record)}", *total)


class Changes(Table):
    """Each name that is changed, as it was and as it is, with the reason."""

    def lines(self, record: Mapping[str, Any]) -> Iterator[str]:
        """Yield a row for each of them; a reason that several in a row have stands in the first."""
        yield "| Name | In mode | In structmode | Why |"
        yield "|---|---|---|---|"
        last = ""
        for module, names in record.items():
            for name, change in names.get("changed", {}).items():
                why = "the same" if change["why"] == last else change["why"]
                last = change["why"]
                yield row(f"`{module}.{name}`", f"`{change['was']}`", f"`{change['now']}`", why)


def counts(names: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return how many names of a module there are, how many members of its classes, and how many of both are changed."""
    kept, changed = names.get("kept", {}), names.get("changed", {})
    members = sum("." in name for name in (*kept, *changed))
    return len(kept) + len(changed) - members, members, len(changed)


def row(*cells: object) -> str:
    """Return a row of a table; what is zero is left empty."""
    return f"| {' | '.join(str(cell) if cell else '' for cell in cells)} |"


def setup(app: Sphinx) -> ExtensionMetadata:
    """Add the directives."""
    app.add_directive("parity-modules", Modules)
    app.add_directive("parity-changes", Changes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
