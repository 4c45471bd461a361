"""Draws the states of a run, from the very table that the engine moves by.

A directive without arguments, ```{lifecycle}```, becomes an inline SVG: in the colours of the page, dark or light, and
without help from the network or from programs that may be absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

from structmode._engine import TRANSITIONS, State, Trigger

BOX_WIDTH, BOX_HEIGHT, GAP, MARGIN = 104, 44, 62, 2
ARC = 46  #: how much higher an arc goes for each state that it passes over


class Lifecycle(Directive):
    """The diagram, as a figure with the contents of the caption below it."""

    has_content: ClassVar[bool] = True

    def run(self) -> list[nodes.Node]:
        """Return the figure."""
        figure = nodes.figure(classes=["lifecycle"])
        figure += nodes.raw("", svg(), format="html")
        caption = nodes.caption()
        self.state.nested_parse(self.content, self.content_offset, caption)
        if caption.children and isinstance(caption[0], nodes.paragraph):
            caption[:1] = caption[0].children
            figure += caption
        return [figure]


def svg() -> str:
    """Return the diagram."""
    order = list(State)
    arcs = [place(order, source, target) for (source, _), target in TRANSITIONS.items()]
    passed = max(abs(end - begin) - 1 for begin, end in arcs)
    top = MARGIN + (passed * ARC + 14 if passed else 0)
    width = len(order) * BOX_WIDTH + (len(order) - 1) * GAP + 2 * MARGIN
    parts = [
        f'<svg viewBox="0 0 {width} {top + BOX_HEIGHT + MARGIN}" role="img"',
        f' aria-label="{escape(in_words())}">',
        '<defs><marker id="lifecycle-head" viewBox="0 0 8 8" refX="7" refY="4"',
        ' markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0.5 L8 4 L0 7.5 z"/></marker></defs>',
        *(box(state, left_of(order.index(state)), top) for state in order),
        *(
            arrow(*place(order, source, target), trigger, top)
            for (source, trigger), target in TRANSITIONS.items()
        ),
        "</svg>",
    ]
    return "\n".join(parts)


def place(order: list[State], source: State, target: State) -> tuple[int, int]:
    """Return where an arrow begins and ends, as positions in the row."""
    return order.index(source), order.index(target)


def left_of(position: int) -> float:
    """Return the left edge of a box."""
    return MARGIN + position * (BOX_WIDTH + GAP)


def box(state: State, left: float, top: float) -> str:
    """Return the box of a state; those in which tasks of the run exist are filled."""
    kind = "alive" if state.alive else "idle"
    return (
        f'<rect class="{kind}" x="{left}" y="{top}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="8"/>'
        f'<text x="{left + BOX_WIDTH / 2}" y="{top + BOX_HEIGHT / 2 + 5}">{escape(state.value)}</text>'
    )


def arrow(begin: int, end: int, trigger: Trigger, top: float) -> str:
    """Return the arrow of a transition: straight to the next box, in an arc to one further on."""
    passed = abs(end - begin) - 1
    if not passed:
        x1, x2, y = left_of(begin) + BOX_WIDTH, left_of(end), top + BOX_HEIGHT / 2
        path, label = f"M{x1 + 3} {y} H{x2 - 3}", ((x1 + x2) / 2, y - 8)
    else:
        x1, x2 = left_of(begin) + BOX_WIDTH / 2, left_of(end) + BOX_WIDTH / 2
        height = passed * ARC
        path = f"M{x1} {top - 3} C{x1} {top - height}, {x2} {top - height}, {x2} {top - 4}"
        label = ((x1 + x2) / 2, top - height * 0.75 - 8)
    return (
        f'<path class="arrow" d="{path}" marker-end="url(#lifecycle-head)"/>'
        f'<text class="trigger" x="{label[0]}" y="{label[1]}">{escape(trigger.value)}</text>'
    )


def in_words() -> str:
    """Return the diagram for those who can't see it."""
    return "States of a run. " + " ".join(_sentences())


def _sentences() -> Iterator[str]:
    for (source, trigger), target in TRANSITIONS.items():
        yield f"{source.value}, on {trigger.value}, becomes {target.value}."


def setup(app: Sphinx) -> ExtensionMetadata:
    """Add the directive."""
    app.add_directive("lifecycle", Lifecycle)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
