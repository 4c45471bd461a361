"""Graphs in the DOT language: what each of their lines looks like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, TypeVar

from structmode.utils.graphs._things import label_of, lines_of, state_of
from structmode.utils.types.graphs import GraphFormatterT

__all__ = ("DOT", "GraphFormatter", "StateFormatter", "dedent", "dedent_initial")

_T = TypeVar("_T")


def dedent_initial(s: str, n: int = 4) -> str:
    """Take an indentation away from the beginning of a text.

    Args:
        s: The text.
        n: The width of the indentation, in spaces; a smaller one stays.

    Returns:
        The text without it.
    """
    return s.removeprefix(" " * n)


def dedent(s: str, n: int = 4, sep: str = "\n") -> str:
    """Take an indentation away from each line of a text.

    Args:
        s: The text.
        n: The width of the indentation, in spaces; a smaller one stays.
        sep: What stands between the lines.

    Returns:
        The text without it.
    """
    return sep.join(dedent_initial(line, n) for line in s.split(sep))


class DOT:
    """The templates from which `GraphFormatter` makes its lines.

    Differs from mode: names and values come into them quoted already, so they contain no quotes.
    """

    #: The beginning of a graph.
    HEAD: Final = "{IN}{type} {id} {{\n{INp}graph [{attrs}];"
    #: One attribute.
    ATTR: Final = "{name}={value}"
    #: What stands between attributes.
    ATTRSEP: Final = ", "
    #: The arrow of each type of graph.
    DIRS: Final[Mapping[str, str]] = {"graph": "--", "digraph": "->"}
    #: An edge between two nodes.
    EDGE: Final = "{INp}{0} {dir} {1} [{attrs}];"
    #: A node.
    NODE: Final = "{INp}{0} [{attrs}];"
    #: The end of a graph.
    TAIL: Final = "{IN}}}"


class GraphFormatter(GraphFormatterT[_T]):
    """Writes a graph line by line in the DOT language of Graphviz.

    To change what graphs look like, override the schemes, `label`, or any other method.

    Differs from mode: a node is named by a number and only labelled by its label, so two objects
    with the same label stay two; whatever is in a label or an attribute is shown as it is, quotes,
    backslashes and line breaks included; `node`, `terminal_node` and `edge` do take attributes;
    and "arrowcolor", which Graphviz does not know, is not in `edge_scheme`.

    Args:
        root: The object to put in the centre, for the layouts that have one.
        type: "digraph", with arrows, or "graph", with lines.
        id: The name of the graph.
        indent: How many steps the graph as a whole is indented.
        inw: One step of indentation.
        **scheme: Attributes of all nodes and edges, over those in `scheme`.

    Raises:
        ValueError: If `type` is another word.
    """

    scheme: Mapping[str, Any] = {
        "shape": "box",
        "arrowhead": "vee",
        "style": "filled",
        "fontname": "HelveticaNeue",
    }
    edge_scheme: Mapping[str, Any] = {"color": "darkseagreen4", "arrowsize": 0.7}
    node_scheme: Mapping[str, Any] = {"fillcolor": "palegreen3", "color": "palegreen4"}
    term_scheme: Mapping[str, Any] = {"fillcolor": "palegreen1", "color": "palegreen2"}
    graph_scheme: Mapping[str, Any] = {"bgcolor": "mintcream"}

    def __init__(
        self,
        root: _T | None = None,
        type: str | None = None,  # noqa: A002 - mode's name
        id: str | None = None,  # noqa: A002 - mode's name
        indent: int = 0,
        inw: str = " " * 4,
        **scheme: Any,
    ) -> None:
        self.type: str = "digraph" if type is None else type
        if self.type not in DOT.DIRS:
            raise ValueError(f'a graph is of type "digraph" or "graph", not {type!r}')
        self.id: str = "dependencies" if id is None else id
        self.root = root
        self.direction: str = DOT.DIRS[self.type]
        self.IN: str = inw * indent
        self.INp: str = self.IN + inw
        self.scheme = {**self.scheme, **scheme}
        self._names: dict[_T, str] = {}

    def attr(self, name: str, value: Any) -> str:
        """Return one attribute, with its value quoted.

        Args:
            name: The name of the attribute.
            value: Its value; what `str` makes of it is what Graphviz will show.
        """
        text = str(value)
        if name.endswith("label"):  # there, and only there, Graphviz knows the entities of HTML
            text = text.replace("&", "&amp;")
        return self.FMT(DOT.ATTR, name=name, value=_quoted(text))

    def attrs(
        self, d: Mapping[str, Any] | None = None, scheme: Mapping[str, Any] | None = None
    ) -> str:
        """Return the attributes of one node or edge.

        Args:
            d: Its own attributes, over those of both schemes.
            scheme: Attributes of its kind, over those of `GraphFormatter.scheme`.
        """
        return self._joined({**self.scheme, **(scheme or {}), **(d or {})})

    def head(self, **attrs: Any) -> str:
        """Return how the graph begins.

        Nodes are numbered anew from here on. Differs from mode: attributes of nodes and edges are
        left out here.

        Args:
            **attrs: Attributes of the graph, over those in `graph_scheme`.
        """
        self._names.clear()
        centre = {} if self.root is None else {"root": self._name(self.root)}
        joined = self._joined({**self.graph_scheme, **centre, **attrs})
        return self.FMT(DOT.HEAD, type=self.type, id=_quoted(self.id), attrs=joined)

    def tail(self) -> str:
        """Return how the graph ends."""
        return self.FMT(DOT.TAIL)

    def label(self, obj: _T) -> str:
        """Return what the picture calls an object.

        Args:
            obj: The object; of a node in a tree, it is its data that is named.

        Returns:
            Its `label` if it has one, as services do, or else its `str`. It need not be escaped.
        """
        return label_of(obj)

    def node(self, obj: _T, **attrs: Any) -> str:
        """Return the line of an object that needs others.

        Args:
            obj: The object.
            **attrs: Attributes of this one, over those in `node_scheme`.
        """
        return self.draw_node(obj, self.node_scheme, attrs)

    def terminal_node(self, obj: _T, **attrs: Any) -> str:
        """Return the line of an object that needs nothing.

        Args:
            obj: The object.
            **attrs: Attributes of this one, over those in `term_scheme`.
        """
        return self.draw_node(obj, self.term_scheme, attrs)

    def edge(self, a: _T, b: _T, **attrs: Any) -> str:
        """Return the line of an edge.

        Args:
            a: The object where the edge begins.
            b: The object where it ends.
            **attrs: Attributes of this one, over those in `edge_scheme`.
        """
        return self.draw_edge(a, b, self.edge_scheme, attrs)

    def FMT(self, fmt: str, *args: Any, **kwargs: Any) -> str:  # noqa: N802 - mode's name
        """Fill in a template of `DOT`.

        Args:
            fmt: The template, for `str.format`.
            *args: What goes into its numbered fields.
            **kwargs: What goes into its named ones, besides the indentations IN and INp.
        """
        return fmt.format(*args, **{"IN": self.IN, "INp": self.INp, **kwargs})

    def draw_edge(
        self,
        a: _T,
        b: _T,
        scheme: Mapping[str, Any] | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the line of an edge, drawn by a scheme.

        Args:
            a: The object where the edge begins.
            b: The object where it ends.
            scheme: Attributes of its kind; none unless given.
            attrs: Its own attributes.
        """
        ends = self._name(a), self._name(b)
        return self.FMT(DOT.EDGE, *ends, dir=self.direction, attrs=self.attrs(attrs, scheme))

    def draw_node(
        self,
        obj: _T,
        scheme: Mapping[str, Any] | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the line of a node, drawn by a scheme.

        Args:
            obj: The object.
            scheme: Attributes of its kind; none unless given.
            attrs: Its own attributes; a "label" among them is shown instead of its label.
        """
        own = {"label": self.label(obj), **(attrs or {})}
        return self.FMT(DOT.NODE, self._name(obj), attrs=self.attrs(own, scheme))

    def _joined(self, attrs: Mapping[str, Any]) -> str:
        return DOT.ATTRSEP.join(self.attr(name, value) for name, value in attrs.items())

    def _name(self, obj: _T) -> str:
        return self._names.setdefault(obj, f"n{len(self._names)}")


class StateFormatter(GraphFormatter[_T]):
    """Writes each state in a word below the label, and fills the box with the colour of the state.

    It takes the states as they are when it is asked. What has no state looks as `GraphFormatter`
    has it.
    """

    graph_scheme: Mapping[str, Any] = {"bgcolor": "white"}
    node_scheme: Mapping[str, Any] = {"fillcolor": "white", "color": "gray40"}
    term_scheme: Mapping[str, Any] = node_scheme
    edge_scheme: Mapping[str, Any] = {"color": "gray40", "arrowsize": 0.7}

    #: By state, the colour of the box and the colour of its border.
    colors: ClassVar[Mapping[str, tuple[str, str]]] = {
        "init": ("#eceff1", "#78909c"),
        "starting": ("#fff9c4", "#b7791f"),
        "running": ("#c8e6c9", "#2e7d32"),
        "stopping": ("#ffe0b2", "#e65100"),
        "shutdown": ("#cfd8dc", "#455a64"),
        "restarting": ("#bbdefb", "#1565c0"),
        "crashed": ("#ffcdd2", "#c62828"),
    }

    def draw_node(
        self,
        obj: _T,
        scheme: Mapping[str, Any] | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the line of a node, with its state.

        Args:
            obj: The object.
            scheme: Attributes of its kind; the colours of a state are over them.
            attrs: Its own attributes, over the colours of its state too.
        """
        state = state_of(obj)
        if state is None:
            return super().draw_node(obj, scheme, attrs)
        own: dict[str, Any] = {"label": f"{self.label(obj)}\n{state}"}
        if state in self.colors:
            own["fillcolor"], own["color"] = self.colors[state]
        return super().draw_node(obj, scheme, {**own, **(attrs or {})})


def _quoted(text: str) -> str:
    r"""Return a string of DOT that shows the text as it is.

    Between quotes, DOT knows ``\"`` only; the backslash means more in labels (``\n``, ``\N``), so
    it is doubled, and a line break becomes such a ``\n``.
    """
    inside = "\\n".join(line.replace("\\", r"\\").replace('"', r"\"") for line in lines_of(text))
    return f'"{inside}"'
