"""Docstrings are written to be read in an editor; this makes them ready for Sphinx.

It reads them as napoleon does, with these differences:

- an indented block after a blank line is Python code;
- the first line of a property is a sentence, whatever colons it has, and sections may follow; napoleon takes what
  stands before a colon for a type;
- so is the first line of "Returns:" and "Yields:": the types stand in the signature.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config
from sphinx.ext.napoleon.docstring import GoogleDocstring
from sphinx.util.typing import ExtensionMetadata


class Docstring(GoogleDocstring):
    """A docstring of structmode's."""

    def _consume_returns_section(
        self, preprocess_types: bool = False
    ) -> list[tuple[str, str, list[str]]]:
        lines = self._dedent(self._consume_to_next_section())
        return [("", "", lines)] if lines else []


def process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Rewrite a docstring in place, as the markup that Sphinx reads."""
    kind: Any = what if what in {"module", "class", "exception"} else "method"
    marked = with_code_marked(lines)
    lines[:] = Docstring(marked, app.config, app, kind, name, obj, options).lines()


def with_code_marked(lines: list[str]) -> list[str]:
    """Put a code block's directive before each indented block that follows text and a blank line."""
    marked: list[str] = []
    below_text = False
    for number, line in enumerate(lines):
        indented = line.startswith("    ")
        if indented and below_text and not lines[number - 1].strip():
            marked += [".. code-block:: python", ""]
        if line.strip():
            below_text = not indented
        marked.append(line)
    return marked


def skip(
    app: Sphinx, what: str, name: str, obj: Any, would_skip: bool, options: Any
) -> bool | None:
    """Leave out the fields of named tuples: their docstrings are made up, and the class tells of them."""
    made_up = (getattr(obj, "__doc__", None) or "").startswith("Alias for field number")
    return True if made_up else None


def setup(app: Sphinx) -> ExtensionMetadata:
    """Listen to autodoc, in napoleon's place."""
    app.setup_extension("sphinx.ext.autodoc")
    for name, default, rebuild, types in Config._config_values:
        app.add_config_value(name, default, rebuild, types=types)
    app.connect("autodoc-process-docstring", process)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
