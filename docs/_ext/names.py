"""Inline code that names something of structmode links to it.

In a docstring, one pair of backticks is a promise: what is a name must be one that the reference has, or the build
fails. Three kinds of names are none of the reference's and stay code: parameters of what the page documents, Python's
own words, and what the module has imported from other projects. What can't be a name (`*/10 * * * *`) is code anyway.

In a Markdown page a name links if there is one, and is code otherwise.
"""

from __future__ import annotations

import builtins
import inspect
import keyword
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, cast

from docutils import nodes
from docutils.parsers.rst.states import Inliner
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.typing import ExtensionMetadata

#: A name, and what may stand around it in prose: `self.log`, `await service.stop()`, `@Service.task`.
NAME = re.compile(
    r"@?(?:await )?(?:(?P<subject>self|service|worker)\.)?(?P<name>[A-Za-z_]\w*(?:\.\w+)*)(?:\(.*\))?"
)
#: Where a name without a place of its own is looked for, in this order.
PLACES = (
    "structmode.services.Service",
    "structmode.worker.Worker",
    "structmode.services",
    "structmode",
)
SCOPE = "structmode-scope"
OF_A_MODULE = {"class", "exception", "function", "module"}


def in_docstring(
    role: str,
    rawtext: str,
    text: str,
    lineno: int,
    inliner: Inliner,
    options: dict[str, Any] | None = None,
    content: Sequence[str] = (),
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """Be the default role: code that remembers where it stood, for `LinkNames` to look at."""
    document = cast("Any", inliner).document
    context = document.settings.env.ref_context
    literal = nodes.literal(rawtext, text, classes=["py"])
    literal[SCOPE] = (context.get("py:module"), context.get("py:class"))
    # The reader can't know the name's line later: docstrings have none of their own.
    literal.source, literal.line = inliner.reporter.get_source_and_line(lineno)
    return [literal], []


class LinkNames(SphinxPostTransform):
    """Turns inline code that is a name into a reference, which the resolver then follows and checks."""

    default_priority = 5  # before references are resolved, at 10

    def run(self, **kwargs: Any) -> None:
        """Look at each piece of inline code of the document."""
        for literal in list(self.document.findall(nodes.literal)):
            if self._is_free(literal):
                self._link(literal)

    def _is_free(self, literal: nodes.literal) -> bool:
        """Return whether it may become a link: titles may not, and what is in a link already."""
        return not any(
            isinstance(above, nodes.title | nodes.reference | addnodes.pending_xref)
            for above in _ancestors(literal)
        )

    def _link(self, literal: nodes.literal) -> None:
        match = NAME.fullmatch(literal.astext())
        if match is None:
            return
        promised = SCOPE in literal and not literal.astext().startswith("@")
        name, attribute = match["name"], match["subject"] is not None
        module, cls = literal.get(SCOPE) or (None, None)
        target = None if attribute else self._find_in_scope(name, module, cls)
        if target is None and promised and self._stays_code(name, module):
            return
        target = (
            target
            or self._find_in_classes(name, module)
            or self._find_anywhere(name, attribute=attribute)
        )
        if target is None and not promised:
            return
        reference = addnodes.pending_xref(
            "",
            refdomain="py",
            reftype="obj",
            reftarget=target or name,
            refdoc=self.env.current_document.docname,
            refwarn=promised,
        )
        reference.source, reference.line = literal.source, literal.line
        literal.replace_self(reference)
        reference += literal

    def _find_in_scope(self, name: str, module: str | None, cls: str | None) -> str | None:
        """Return the full name of what a name means in what is being documented."""
        candidates = [f"{module}.{cls}.{name}", f"{module}.{name}", name]
        return next((full for full in candidates if full in self._known), None)

    def _find_in_classes(self, name: str, module: str | None) -> str | None:
        """Return the full name of an attribute of one class of a module: of a base, or of the only one that has it."""
        known = [f for f in self._known if f.startswith(f"{module}.") and f.endswith(f".{name}")]
        return known[0] if len(known) == 1 else None

    def _find_anywhere(self, name: str, *, attribute: bool) -> str | None:
        """Return the full name of what a name means without a scope, as in prose."""
        for place in PLACES:
            if f"{place}.{name}" in self._known:
                return f"{place}.{name}"
        first, _, rest = name.partition(".")
        homes = [
            full
            for full, entry in self._known.items()
            if full.endswith(f".{first}") and entry.objtype in OF_A_MODULE
        ]
        full = f"{homes[0]}.{rest}".rstrip(".") if len(homes) == 1 else ""
        return full if full in self._known and not attribute else None

    def _stays_code(self, name: str, module: str | None) -> bool:
        """Return whether a name in a docstring may be none of the reference's."""
        first = name.partition(".")[0]
        if keyword.iskeyword(first) or hasattr(builtins, first) or _is_foreign(first, module):
            return True
        return any(
            first == parameter.astext()
            for parameter in self.document.findall(addnodes.desc_sig_name)
            if isinstance(parameter.parent, addnodes.desc_parameter)
        )

    @property
    def _known(self) -> dict[str, Any]:
        """All that the reference has, by its full name."""
        objects: dict[str, Any] = self.env.domains.python_domain.objects
        return objects


def _is_foreign(name: str, module: str | None) -> bool:
    """Return whether a module has imported a name from another project."""
    thing = getattr(sys.modules.get(module or ""), name, None)
    home = thing.__name__ if inspect.ismodule(thing) else getattr(thing, "__module__", None)
    return thing is not None and not str(home).startswith("structmode")


def _ancestors(node: nodes.Node) -> Iterator[nodes.Node]:
    above = node.parent
    while above is not None:
        yield above
        above = above.parent


def setup(app: Sphinx) -> ExtensionMetadata:
    """Add the role and the transform."""
    app.add_role("name", in_docstring)
    app.add_post_transform(LinkNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
