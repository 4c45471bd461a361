"""A tree as text, as Mermaid, and as DOT, with the states that its nodes have right now."""

from __future__ import annotations

import io
import itertools
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from structmode.utils.graphs._things import label_of, lines_of, replace_unprintable, state_of
from structmode.utils.graphs.formatter import StateFormatter
from structmode.utils.graphs.graph import CycleError, DependencyGraph

__all__ = ("HasBeacon", "HasChildren", "as_dot", "as_mermaid", "as_text")

_BRANCH, _LAST_BRANCH = "├── ", "└── "
_PAST_BRANCH, _PAST_LAST = "│   ", "    "
# What Mermaid may read as more than a character: quotes, and the signs of HTML and of Markdown,
# which also makes links of addresses.
_SPECIAL = re.compile(r"""["#&'*;<>@\[\\\]^`{|}~!$%]|\b_|_\b|:(?=//)|(?<=www)\.""")
# What begins an item of a list, or is a line across.
_MARK_AT_START = re.compile(r"^(\d*)([-+.)=])(?=[-=\s]|$)")


class HasChildren(Protocol):
    """A node of any tree, as `structmode.utils.trees.Node` is one."""

    @property
    def children(self) -> Iterable[Any]:
        """What is right below it: nodes, or anything else as leaves."""
        ...


class HasBeacon(Protocol):
    """What stands in a tree at its beacon, as a service does."""

    @property
    def beacon(self) -> HasChildren:
        """Its node."""
        ...


@dataclass(frozen=True, eq=False)
class _Spot:
    """A place in a tree that is drawn, with what it shows; the same thing may be at several."""

    thing: object
    number: int
    above: _Spot | None
    depth: int
    is_last: bool

    @property
    def name(self) -> str:
        return f"n{self.number}"

    @cached_property
    def label(self) -> str:
        return label_of(self.thing)

    @cached_property
    def state(self) -> str | None:
        return state_of(self.thing)


def as_text(tree: HasChildren | HasBeacon) -> str:
    """Return a tree as lines of text, with the states as they are now.

    Args:
        tree: A node, or a service: what is at it and below it is drawn.

    Returns:
        One line for each node, in the order of a walk that goes down first. Line breaks and
        control characters in a label are written as in a Python string.

    Raises:
        CycleError: If a node is below itself.
        TypeError: If `tree` is no tree.
    """
    lines: list[str] = []
    indents = [""]  # by depth: what stands before the branches of the nodes there
    for spot in _spots(tree):
        state = f" ({spot.state})" if spot.state else ""
        branch = (_LAST_BRANCH if spot.is_last else _BRANCH) if spot.above else ""
        lines.append(f"{indents[spot.depth]}{branch}{_in_one_line(spot.label + state)}")
        past = (_PAST_LAST if spot.is_last else _PAST_BRANCH) if spot.above else ""
        indents[spot.depth + 1 :] = [indents[spot.depth] + past]
    return "\n".join(lines)


def as_mermaid(tree: HasChildren | HasBeacon) -> str:
    """Return a tree as a flowchart of Mermaid, coloured by the states as they are now.

    GitHub, GitLab and many editors draw it where it stands in a Markdown file as a block of code
    in the language ``mermaid``.

    Args:
        tree: A node, or a service: what is at it and below it is drawn.

    Returns:
        The flowchart, without a line break at its end.

    Raises:
        CycleError: If a node is below itself.
        TypeError: If `tree` is no tree.
    """
    nodes: list[str] = []
    edges: list[str] = []
    states: set[str | None] = set()
    for spot in _spots(tree):
        nodes.append(_mermaid_node(spot))
        states.add(spot.state)
        if spot.above:
            edges.append(f"    {spot.above.name} --> {spot.name}")
    classes = [
        f"    classDef {state} fill:{fill},stroke:{border},color:#212121"
        for state, (fill, border) in StateFormatter.colors.items()
        if state in states
    ]
    return "\n".join(["flowchart TD", *nodes, *edges, *classes])


def as_dot(tree: HasChildren | HasBeacon) -> str:
    """Return a tree in the DOT language of Graphviz, coloured by the states as they are now.

    Args:
        tree: A node, or a service: what is at it and below it is drawn.

    Returns:
        The graph, ready for `write_picture`.

    Raises:
        CycleError: If a node is below itself.
        TypeError: If `tree` is no tree.
    """
    graph = DependencyGraph[_Spot]()
    for spot in _spots(tree):
        graph.add_arc(spot)
        if spot.above:
            graph.add_edge(spot.above, spot)
    out = io.StringIO()
    graph.to_dot(out, formatter=StateFormatter(id="tree"))
    return out.getvalue()


def _mermaid_node(spot: _Spot) -> str:
    lines = [_mermaid_text(line) for line in lines_of(spot.label)]
    if spot.state:
        lines += [_mermaid_text(line) for line in lines_of(spot.state)]
    color = f":::{spot.state}" if spot.state in StateFormatter.colors else ""
    # Mermaid takes no empty label.
    return f'    {spot.name}["{"<br/>".join(lines) or " "}"]{color}'


def _mermaid_text(line: str) -> str:
    text = _SPECIAL.sub(lambda found: f"#{ord(found[0])};", line.strip())
    return _MARK_AT_START.sub(lambda found: f"{found[1]}#{ord(found[2])};", text)


def _in_one_line(text: str) -> str:
    return replace_unprintable(
        text, lambda character: character.encode("unicode_escape").decode("ascii")
    )


def _spots(tree: HasChildren | HasBeacon) -> Iterator[_Spot]:
    """Walk over a tree, first down and then on, each node before what is below it."""
    top = _node_of(tree)
    if not hasattr(top, "children"):
        raise TypeError(
            f"{tree!r} is no tree: pass a service, or a node that has `children`, "
            "as structmode.utils.trees.Node does"
        )
    spot = _Spot(top, number=0, above=None, depth=0, is_last=True)
    yield spot
    numbers = itertools.count(1)
    path, waiting, above = [spot], [_children_of(top)], {id(top)}
    while waiting:
        if not waiting[-1]:
            waiting.pop()
            above.remove(id(path.pop().thing))
            continue
        thing = _node_of(waiting[-1].popleft())
        spot = _Spot(thing, next(numbers), path[-1], len(path), is_last=not waiting[-1])
        yield spot
        children = _children_of(thing)
        if not children:
            continue
        path.append(spot)
        if id(thing) in above:
            raise CycleError(_circle(path))
        waiting.append(children)
        above.add(id(thing))


def _node_of(thing: object) -> object:
    return getattr(thing, "beacon", thing)


def _children_of(node: object) -> deque[object]:
    return deque(getattr(node, "children", ()))


def _circle(path: list[_Spot]) -> list[object]:
    """Return what lies between the last thing of a path and where it was before, both included."""
    things = [spot.thing for spot in path]
    first = next(place for place, thing in enumerate(things) if thing is things[-1])
    return things[first:]
