"""Graphs: what needs what, in which order; and pictures of trees that show what is there."""

from __future__ import annotations

import io
import os
import re
import shutil
import string
import sys
import textwrap
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import anyio
import anyio.to_thread
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from structmode import Service
from structmode.exceptions import StructmodeError
from structmode.utils.graphs import (
    CycleError,
    DependencyGraph,
    GraphFormatter,
    PictureError,
    StateFormatter,
    as_dot,
    as_mermaid,
    as_text,
    formatter as formatter_module,
    graph as graph_module,
    write_picture,
)
from structmode.utils.graphs.formatter import DOT, dedent, dedent_initial
from structmode.utils.trees import Node
from structmode.utils.types.graphs import DependencyGraphT, GraphFormatterT

DEEP = 3_000
STATES = ["init", "starting", "running", "stopping", "shutdown", "restarting", "crashed"]
#: Labels that break out of quotes, of a line, or of a language, where they are not escaped.
HOSTILE = [
    'say "hello"',
    "one\ntwo\r\nthree",
    "<b>bold</b>",
    "C:\\new\\name\\",
    '\\"',
    "\\N \\G \\l",
    "a && b &lt; c &amp; &#65;",
    "#35; #quot; %%",
    '"]:::crashed --> n9["',
    '"]; n9 [label="more',
    "`code` *bold* _under_ __init__ ~no~",
    "1. first",
    "- item",
    "---",
    "https://example.com/?a=b&c=d",
    "me@example.com",
    "$(id) ; | ${HOME}",
    "end",
    "tab\tand bell \a\x1b[31m\x00",
    "café 日本 🚀 👨‍👩‍👧",
    "\ud800 alone",
    "line\u2028separator",
    "www.example.com",
    "\ufffe no character \uffff",
    "",
    " ",
]


def app() -> DependencyGraph[str]:
    """Return a graph in which two need the same."""
    return DependencyGraph([("app", ["web", "db"]), ("web", ["log"]), ("db", ["log"])])


def chain(length: int) -> DependencyGraph[int]:
    """Return a graph in which each number needs the next."""
    return DependencyGraph((number, [number + 1]) for number in range(length - 1))


def dot_of(graph: DependencyGraph[Any], formatter: GraphFormatterT[Any] | None = None) -> str:
    """Return what `to_dot` writes."""
    out = io.StringIO()
    graph.to_dot(out, formatter=formatter)
    return out.getvalue()


# --- Readers of what is written, as strict as the languages are


class Drawing(NamedTuple):
    """What a graph in the DOT language says."""

    kind: str
    name: str
    attrs: dict[str, str]
    nodes: dict[str, dict[str, str]]
    edges: list[tuple[str, str, dict[str, str]]]

    @property
    def labels(self) -> list[str]:
        """The labels in the order of the nodes."""
        return [attrs["label"] for attrs in self.nodes.values()]

    @property
    def labelled_edges(self) -> list[tuple[str, str]]:
        """The edges, as pairs of labels."""
        labels = {name: attrs["label"] for name, attrs in self.nodes.items()}
        return [(labels[a], labels[b]) for a, b, _ in self.edges]


STRING = r'"(?:[^"\\\n]|\\.)*"'
ATTRS = rf"\[((?:\w+={STRING}(?:, )?)*)\];"


def shown(quoted: str) -> str:
    """Return what Graphviz shows for a quoted string."""
    # While it reads a graph, it takes the backslash from quotes only; the others mean something
    # when a label is drawn.
    read = re.sub(r"\\(.)", lambda found: '"' if found[1] == '"' else found[0], quoted[1:-1])
    return re.sub(r"\\(.)", lambda found: {"n": "\n"}.get(found[1], found[1]), read)


def read_attrs(text: str) -> dict[str, str]:
    """Return attributes of DOT by their names."""
    found = {name: shown(value) for name, value in re.findall(rf"(\w+)=({STRING})", text)}
    return {
        name: value.replace("&amp;", "&") if name == "label" else value
        for name, value in found.items()
    }


def read_dot(text: str) -> Drawing:
    """Read a graph in DOT, and fail where it is none."""
    first, second, *lines, last = text.splitlines()
    assert last == "}"
    assert text.endswith("}\n")
    head = re.fullmatch(rf"(graph|digraph) ({STRING}) {{", first)
    own = re.fullmatch(rf"    graph {ATTRS}", second)
    assert head is not None, first
    assert own is not None, second
    drawing = Drawing(head[1], shown(head[2]), read_attrs(own[1]), {}, [])
    arrow = {"graph": "--", "digraph": "->"}[head[1]]
    for line in lines:
        node = re.fullmatch(rf"    (n\d+) {ATTRS}", line)
        edge = re.fullmatch(rf"    (n\d+) {arrow} (n\d+) {ATTRS}", line)
        if node:
            assert node[1] not in drawing.nodes
            drawing.nodes[node[1]] = read_attrs(node[2])
        else:
            assert edge is not None, line
            assert {edge[1], edge[2]} <= set(drawing.nodes)
            drawing.edges.append((edge[1], edge[2], read_attrs(edge[3])))
    return drawing


class Chart(NamedTuple):
    """What a flowchart of Mermaid says: by node its label and its class; edges; and classes."""

    nodes: dict[str, tuple[str, str | None]]
    edges: list[tuple[str, str]]
    classes: list[str]


def read_mermaid(text: str) -> Chart:
    """Read a flowchart, and fail where it is none, or where a label could be read as more."""
    first, *lines = text.splitlines()
    assert first == "flowchart TD"
    chart = Chart({}, [], [])
    for line in lines:
        if node := re.fullmatch(r'    (n\d+)\["([^"]+)"\](?::::(\w+))?', line):
            words = re.sub(r"#\d+;", "x", node[2].replace("<br/>", "\n"))
            assert not set(words) & set("\"#&'*;<>@[\\]^`{|}~!$%"), line
            assert not re.search(r"://|www\.|\b_|_\b", words), line
            plain = node[2].replace("<br/>", "\n")
            label = re.sub(r"#(\d+);", lambda found: chr(int(found[1])), plain)
            assert node[1] not in chart.nodes
            chart.nodes[node[1]] = label, node[3]
        elif edge := re.fullmatch(r"    (n\d+) --> (n\d+)", line):
            chart.edges.append((edge[1], edge[2]))
        else:
            name = re.fullmatch(r"    classDef (\w+) fill:#\w+,stroke:#\w+,color:#\w+", line)
            assert name is not None, line
            chart.classes.append(name[1])
    return chart


def printable(text: str) -> str:
    """Return a label with what no picture can show replaced, as the pictures must."""
    broken = r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]"
    lines = text.expandtabs(4).splitlines()
    return "\n".join(re.sub(broken, "\ufffd", line) for line in lines)


# --- The graph


def test_a_graph_is_a_mapping_of_objects_to_what_they_need() -> None:
    """It answers like a mapping, in the order in which things were added."""
    graph = app()
    assert isinstance(graph, DependencyGraphT)
    assert list(graph) == ["app", "web", "db", "log"]
    assert len(graph) == 4
    assert graph["app"] == ("web", "db")
    assert graph["log"] == ()
    assert "log" in graph
    assert "mail" not in graph
    assert list(graph.items())[1] == ("web", ("log",))
    assert repr(graph) == "<DependencyGraph: 4 objects, 4 edges>"
    with pytest.raises(KeyError):
        graph["mail"]


def test_a_new_graph_is_empty() -> None:
    """Without anything in it, it has an order and a picture all the same."""
    graph = DependencyGraph[str]()
    assert (list(graph), graph.topsort(), list(graph.edges())) == ([], [], [])
    assert read_dot(dot_of(graph)).nodes == {}


def test_adding_again_changes_nothing() -> None:
    """An object or an edge that is there already stays where it is, once."""
    graph = app()
    graph.add_arc("app")
    graph.add_edge("app", "web")
    assert graph == app()
    assert list(graph) == list(app())


def test_an_edge_brings_its_ends_with_it() -> None:
    """Nothing needs to be added before it is named in an edge."""
    graph = DependencyGraph[str]()
    graph.add_edge("web", "log")
    assert dict(graph) == {"web": ("log",), "log": ()}


def test_update_adds_the_objects_before_what_only_others_need() -> None:
    """The given objects keep their order, whatever they need; also when all comes from iterators."""
    graph = DependencyGraph[str]()
    graph.update((obj, iter(needs)) for obj, needs in [("a", ["z", "b"]), ("b", ["y"])])
    assert list(graph) == ["a", "b", "z", "y"]
    graph.update([("a", ["y"])])
    assert graph["a"] == ("z", "b", "y")


def test_a_graph_can_be_made_of_a_mapping() -> None:
    """A mapping says what each of its keys needs; another graph is one, and a graph is made anew of it."""
    needs = {"ab": ["cd"], "cd": []}
    graph = DependencyGraph(needs)
    assert dict(graph) == {"ab": ("cd",), "cd": ()}
    copy = DependencyGraph(graph)
    copy.update({"cd": ["ef"]})
    assert copy["cd"] == ("ef",)
    assert graph["cd"] == ()


def test_connect_adds_all_of_another_graph() -> None:
    """What is in both needs then what it needs in either; the other does not change."""
    one, other = DependencyGraph([("a", ["b"])]), DependencyGraph([("a", ["c"]), ("d", [])])
    one.connect(other)
    assert dict(one) == {"a": ("b", "c"), "b": (), "d": (), "c": ()}
    one.add_edge("d", "a")
    assert dict(other) == {"a": ("c",), "d": (), "c": ()}


def test_what_a_graph_shows_of_itself_does_not_change_it() -> None:
    """`adjacent` says what there is, and takes nothing."""
    graph = app()
    adjacent: Any = graph.adjacent
    assert adjacent == {"app": ("web", "db"), "web": ("log",), "db": ("log",), "log": ()}
    with pytest.raises(TypeError):
        adjacent["mail"] = ()


def test_edges_are_pairs() -> None:
    """Each edge is told once, from what needs to what is needed."""
    edges = [("app", "web"), ("app", "db"), ("web", "log"), ("db", "log")]
    assert list(app().edges()) == edges


def test_the_order_has_each_after_what_it_needs() -> None:
    """First what needs nothing; what could be either way round keeps the order of adding."""
    assert app().topsort() == ["log", "web", "db", "app"]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30))))
def test_every_graph_without_a_circle_has_an_order(pairs: list[tuple[int, int]]) -> None:
    """All objects are in it once, after what they need, and it is the same each time."""
    edges = [(a, b) for a, b in pairs if a < b]
    graph = DependencyGraph((a, [b]) for a, b in edges)
    order = graph.topsort()
    assert sorted(order) == sorted({end for edge in edges for end in edge})
    assert all(order.index(b) < order.index(a) for a, b in edges)
    assert order == DependencyGraph((a, [b]) for a, b in edges).topsort()


def test_a_circle_is_named() -> None:
    """Whoever made it sees which edges to look at."""
    graph = DependencyGraph([("app", ["web"]), ("web", ["db"]), ("db", ["log", "web"])])
    with pytest.raises(CycleError) as caught:
        graph.topsort()
    assert set(caught.value.circle) == {"web", "db"}
    assert "web needs db" in str(caught.value)
    assert "db needs web" in str(caught.value)
    assert isinstance(caught.value, StructmodeError)
    with pytest.raises(CycleError):
        graph.valency_of("log")


def test_what_needs_itself_is_a_circle() -> None:
    """The smallest circle is told as well."""
    with pytest.raises(CycleError, match=r"app needs app$"):
        DependencyGraph([("app", ["app"])]).topsort()


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=7))
def test_a_circle_that_is_named_is_there(pairs: list[tuple[int, int]]) -> None:
    """Each step of it is an edge of the graph, and it ends where it began."""
    graph = DependencyGraph((a, [b]) for a, b in pairs)
    try:
        order = graph.topsort()
    except CycleError as error:
        circle = error.circle
        assert circle[0] == circle[-1]
        assert set(pairwise(circle)) <= set(graph.edges())
    else:
        assert all(order.index(b) < order.index(a) for a, b in graph.edges())


def test_valency_counts_what_leads_down() -> None:
    """Each edge counts once for each way to it; a stranger has none."""
    graph = app()
    assert [graph.valency_of(obj) for obj in (*graph, "stranger")] == [4, 1, 1, 0, 0]


def test_a_graph_may_be_thousands_deep() -> None:
    """Nothing recurses: not the order, not the valency, not the picture, and not a circle."""
    graph = chain(DEEP)
    assert graph.topsort() == list(reversed(range(DEEP)))
    assert graph.valency_of(0) == DEEP - 1
    assert len(read_dot(dot_of(graph)).edges) == DEEP - 1
    graph.add_edge(DEEP - 1, 0)
    with pytest.raises(CycleError) as caught:
        graph.topsort()
    assert len(caught.value.circle) == DEEP + 1


def test_what_is_in_a_graph_many_times_over_takes_no_longer() -> None:
    """A ladder of diamonds has more ways down than could ever be walked."""
    graph = DependencyGraph[str]()
    for step in range(200):
        for side in "ab":
            graph.add_edge(f"{step}", f"{step}{side}")
            graph.add_edge(f"{step}{side}", f"{step + 1}")
    assert graph.valency_of("0") == sum(2 ** (step + 1) * 2 for step in range(200))


# --- The formatter


def test_a_graph_is_drawn_with_all_it_has() -> None:
    """Every object and every edge is in the picture; what needs nothing looks different."""
    drawing = read_dot(dot_of(app()))
    assert (drawing.kind, drawing.name) == ("digraph", "dependencies")
    assert drawing.attrs == {"bgcolor": "mintcream"}
    assert drawing.labels == ["app", "web", "db", "log"]
    assert drawing.labelled_edges == list(app().edges())
    fills = [attrs["fillcolor"] for attrs in drawing.nodes.values()]
    assert fills == ["palegreen3", "palegreen3", "palegreen3", "palegreen1"]
    assert drawing.edges[0][2]["color"] == "darkseagreen4"
    assert drawing.edges[0][2]["arrowsize"] == "0.7"


def test_a_circle_can_be_drawn() -> None:
    """The picture is what one wants to see then."""
    graph = DependencyGraph([("a", ["b"]), ("b", ["a"])])
    assert read_dot(dot_of(graph)).labelled_edges == [("a", "b"), ("b", "a")]


class Named:
    """Has a label, as services do."""

    def __init__(self, label: str, state: object = None) -> None:
        self.label = label
        self.state = state


def test_two_of_the_same_name_stay_two() -> None:
    """A label names nothing: objects are told apart by what they are."""
    twins = Named("twin"), Named("twin")
    drawing = read_dot(dot_of(DependencyGraph([(twins[0], [twins[1]])])))
    assert drawing.labels == ["twin", "twin"]
    assert [(a, b) for a, b, _ in drawing.edges] == [("n0", "n1")]


@pytest.mark.parametrize(
    ("obj", "label"),
    [
        ("text", "text"),
        (7, "7"),
        (Named, "Named"),
        (Named("web"), "web"),
        (Node("cache"), "cache"),
        (Node(Named("db")), "db"),
        (Node(("a", 1)), "('a', 1)"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_an_object_is_called_by_its_label(obj: object, label: str) -> None:
    """By its own if it has one, and a node by that of its data."""
    assert GraphFormatter[Any]().label(obj) == label
    assert read_dot(dot_of(DependencyGraph([(obj, ())]))).labels == [label]


@pytest.mark.parametrize("label", HOSTILE, ids=ascii)
def test_a_label_is_shown_as_it_is(label: str) -> None:
    """Nothing in a label ends it, or means anything to Graphviz."""
    drawing = read_dot(dot_of(DependencyGraph([(label, ["other"])])))
    assert drawing.labels == [printable(label), "other"]
    assert len(drawing.edges) == 1


@given(st.text())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_text_is_shown_as_it_is(text: str) -> None:
    """Whatever the characters, in a label as well as in the name of the graph."""
    form = GraphFormatter[str](id=text)
    drawing = read_dot(dot_of(DependencyGraph([(text, ())]), form))
    assert drawing.labels == [printable(text)]
    assert drawing.name == printable(text)


def test_only_labels_know_entities() -> None:
    """An ampersand elsewhere, as in an address, stays one."""
    form = GraphFormatter[str]()
    assert form.attr("URL", "?a=1&b=2") == 'URL="?a=1&b=2"'
    assert form.attr("xlabel", "a&b") == 'xlabel="a&amp;b"'


def test_a_graph_uses_its_own_formatter_unless_it_is_given_another() -> None:
    """The one that is named last wins."""
    graph = DependencyGraph([("a", ["b"])], formatter=GraphFormatter(id="own"))
    assert read_dot(dot_of(graph)).name == "own"
    assert read_dot(dot_of(graph, GraphFormatter(id="other"))).name == "other"


def test_what_a_formatter_is_given_is_in_the_picture() -> None:
    """Type, name, root and scheme; a centre is named as its node is."""
    form = GraphFormatter[str](root="db", type="graph", id="needs", shape="oval", penwidth=2)
    drawing = read_dot(dot_of(app(), form))
    assert (drawing.kind, drawing.name) == ("graph", "needs")
    assert drawing.nodes[drawing.attrs["root"]]["label"] == "db"
    assert {attrs["shape"] for attrs in drawing.nodes.values()} == {"oval"}
    assert {attrs["penwidth"] for *_, attrs in drawing.edges} == {"2"}
    assert GraphFormatter.scheme["shape"] == "box"


def test_an_unknown_type_of_graph_is_refused() -> None:
    """The error says which there are."""
    with pytest.raises(ValueError, match='"digraph" or "graph", not \'tree\''):
        GraphFormatter[str](type="tree")


def test_a_graph_can_be_indented() -> None:
    """As it is written inside of something else."""
    form = GraphFormatter[str](indent=2, inw="..")
    lines = [form.head(), form.node("a"), form.edge("a", "b"), form.tail()]
    starts = [line[:6] for line in "\n".join(lines).splitlines()]
    assert starts == ["....di", "......", "......", "......", "....}"]
    assert form.FMT("{IN}{INp}{0}{x}", 1, x=2) == "..........12"


def test_attributes_win_over_schemes() -> None:
    """Those of one thing over those of its kind, and these over those of all."""
    form = GraphFormatter[str]()
    assert read_attrs(form.attrs()) == dict(GraphFormatter.scheme)
    attrs = read_attrs(form.attrs({"shape": "oval"}, {"shape": "star", "color": "red"}))
    assert attrs == {**GraphFormatter.scheme, "shape": "oval", "color": "red"}
    for line in (
        form.node("a", color="red", label="b"),
        form.terminal_node("a", color="red", label="b"),
        form.edge("a", "c", color="red", label="b"),
    ):
        assert read_attrs(line)["color"] == "red"
        assert read_attrs(line)["label"] == "b"
    assert 'bgcolor="red"' in form.head(bgcolor="red")
    assert read_attrs(form.draw_edge("a", "c")) == dict(GraphFormatter.scheme)
    assert read_attrs(form.draw_node("a")) == {**GraphFormatter.scheme, "label": "a"}


def test_a_formatter_draws_one_graph_after_another() -> None:
    """Each picture is as if it were the first, and is the same each time."""
    form = GraphFormatter[Any]()
    dot_of(chain(3), form)
    assert dot_of(app(), form) == dot_of(app(), form) == dot_of(app())


def test_a_formatter_of_ones_own() -> None:
    """What is overridden is used."""

    class Loud(GraphFormatter[str]):
        edge_scheme = {"color": "red"}  # noqa: RUF012 - as a user writes it

        def label(self, obj: str) -> str:
            return obj.upper()

    drawing = read_dot(dot_of(app(), Loud()))
    assert drawing.labels == ["APP", "WEB", "DB", "LOG"]
    assert "arrowsize" not in drawing.edges[0][2]
    assert drawing.edges[0][2]["color"] == "red"


def test_templates_and_helpers_of_the_formatter() -> None:
    """The names that mode has in these modules are there, and do what they say."""
    assert formatter_module.GraphFormatter is GraphFormatter
    assert graph_module.DependencyGraph is DependencyGraph
    assert issubclass(GraphFormatter, GraphFormatterT)
    assert dict(DOT.DIRS) == {"graph": "--", "digraph": "->"}
    assert DOT.ATTR.format(name="a", value="b") == "a=b"
    assert dedent_initial("        x") == "    x"
    assert dedent_initial("  x") == "  x"
    assert dedent_initial("  x", 2) == "x"
    assert dedent("    a\n      b\nc") == "a\n  b\nc"
    assert dedent("  a;  b", 2, ";") == "a;b"


# --- Trees


class Street(Service):
    """A service with two of the same kind below it."""

    def __post_init__(self) -> None:
        self.north = self.add_dependency(Postman())
        self.south = self.add_dependency(Postman())


class Postman(Service):
    """A service at the end of a branch."""


def tree() -> Node[Any]:
    """Return a tree with a branch that goes on, and one that is the last."""
    top = Node[Any](Named("app", "running"))
    web = top.new(Named("web", "stopping"))
    web.new(Named("cache", "crashed"))
    web.new("plain")
    top.new(Named("db", "on fire")).new(Named("pool", 7))
    return top


def test_a_tree_as_text() -> None:
    """Each node is a line below the one it belongs to, with its state if it has one in words."""
    assert as_text(tree()) == "\n".join(
        [
            "app (running)",
            "├── web (stopping)",
            "│   ├── cache (crashed)",
            "│   └── plain",
            "└── db (on fire)",
            "    └── pool",
        ]
    )


def test_a_tree_as_mermaid() -> None:
    """Each node is a box with its state below its label; states that are known have a colour."""
    chart = read_mermaid(as_mermaid(tree()))
    assert list(chart.nodes.values()) == [
        ("app\nrunning", "running"),
        ("web\nstopping", "stopping"),
        ("cache\ncrashed", "crashed"),
        ("plain", None),
        ("db\non fire", None),
        ("pool", None),
    ]
    assert sorted(chart.edges) == [
        ("n0", "n1"),
        ("n0", "n4"),
        ("n1", "n2"),
        ("n1", "n3"),
        ("n4", "n5"),
    ]
    assert chart.classes == ["running", "stopping", "crashed"]


def test_a_tree_as_dot() -> None:
    """The same in the language of Graphviz."""
    drawing = read_dot(as_dot(tree()))
    assert drawing.name == "tree"
    assert drawing.labels == [
        "app\nrunning",
        "web\nstopping",
        "cache\ncrashed",
        "plain",
        "db\non fire",
        "pool",
    ]
    assert sorted((a, b) for a, b, _ in drawing.edges) == sorted(
        read_mermaid(as_mermaid(tree())).edges
    )
    fills = [attrs["fillcolor"] for attrs in drawing.nodes.values()]
    known = [StateFormatter.colors[state][0] for state in ("running", "stopping", "crashed")]
    assert fills == [*known, "white", "white", "white"]


def test_a_state_without_a_word_is_none() -> None:
    """There is nothing to show of it."""
    top = Node(Named("app", ""))
    assert as_text(top) == "app"
    assert read_dot(as_dot(top)).labels == ["app"]


def test_each_state_has_a_colour_of_its_own() -> None:
    """In both languages, and the colour is the same in both."""
    top = Node[Any]("all")
    for state in STATES:
        top.new(Named(state, state))
    filled = [attrs["fillcolor"] for attrs in list(read_dot(as_dot(top)).nodes.values())[1:]]
    assert len(set(filled)) == len(STATES)
    chart = as_mermaid(top)
    assert read_mermaid(chart).classes == STATES
    assert re.findall(r"fill:(#\w+)", chart) == filled


def test_states_are_drawn_in_any_graph() -> None:
    """The formatter of states serves for a graph, too; what is passed to it wins."""
    web, db = Named("web", "running"), Named("db", "crashed")
    drawing = read_dot(dot_of(DependencyGraph([(web, [db])]), StateFormatter()))
    assert drawing.labels == ["web\nrunning", "db\ncrashed"]
    line = StateFormatter[Named]().node(web, fillcolor="blue", label="other")
    assert read_attrs(line)["fillcolor"] == "blue"
    assert read_attrs(line)["label"] == "other"


async def test_the_tree_of_running_services_shows_their_states_at_that_moment() -> None:
    """A service stands for its place in the tree, and what is drawn is how it is when asked."""
    street = Street()
    assert as_text(street) == "Street (init)\n├── Postman (init)\n└── Postman (init)"
    async with street:
        await street.south.stop()
        lines = ["Street (running)", "├── Postman (running)", "└── Postman (shutdown)"]
        assert as_text(street) == as_text(street.beacon) == "\n".join(lines)
        assert as_text(street.south) == "Postman (shutdown)"
        classes = [state for _, state in read_mermaid(as_mermaid(street)).nodes.values()]
        assert classes == ["running", "running", "shutdown"]
        labels = ["Street\nrunning", "Postman\nrunning", "Postman\nshutdown"]
        assert read_dot(as_dot(street)).labels == labels
    assert as_text(street) == "Street (shutdown)\n├── Postman (shutdown)\n└── Postman (shutdown)"


class Folder:
    """A tree that is not made of our nodes."""

    def __init__(self, name: str, *children: object) -> None:
        self.name = name
        self.children: list[object] = list(children)

    def __str__(self) -> str:
        return self.name


def test_anything_with_children_is_a_tree() -> None:
    """Whatever has none is a leaf; services may be among them; the same may be there twice."""
    shared = Folder("shared", "leaf", ["un", "hashable"])
    text = as_text(Folder("top", shared, 7, shared, Postman()))
    assert text.splitlines() == [
        "top",
        "├── shared",
        "│   ├── leaf",
        "│   └── ['un', 'hashable']",
        "├── 7",
        "├── shared",
        "│   ├── leaf",
        "│   └── ['un', 'hashable']",
        "└── Postman (init)",
    ]
    assert len(read_dot(as_dot(Folder("top", shared, shared))).nodes) == 7


RENDERINGS = [as_text, as_mermaid, as_dot]


@pytest.mark.parametrize("render", RENDERINGS)
def test_what_is_below_itself_is_refused(render: Callable[[Any], str]) -> None:
    """A tree that goes round in a circle would have no end; the error names the way round."""
    low = Folder("low")
    middle = Folder("middle", "leaf", low)
    low.children.append(middle)
    with pytest.raises(CycleError, match=r"middle needs low, low needs middle$") as caught:
        render(Folder("top", middle))
    assert caught.value.circle == (middle, low, middle)


@pytest.mark.parametrize("render", RENDERINGS)
def test_what_is_no_tree_is_refused(render: Callable[[Any], str]) -> None:
    """The error says what to pass."""
    with pytest.raises(TypeError, match="'app' is no tree: pass a service, or a node"):
        render("app")


@pytest.mark.parametrize("render", RENDERINGS)
def test_a_tree_may_be_thousands_deep(render: Callable[[Any], str]) -> None:
    """Walking down takes no recursion."""
    node = top = Node("0")
    for number in range(1, DEEP):
        node = node.new(str(number))
    text = render(top)
    assert text.count("\n") >= DEEP - 1
    assert str(DEEP - 1) in text


@pytest.mark.parametrize("label", HOSTILE, ids=ascii)
def test_no_label_breaks_a_view(label: str) -> None:
    """Whatever a label is, or a state, there is one line, one box, for it, and it says the same."""
    top = Node[Any](Named(label, label or "none"))
    top.new(label)
    expected = printable(label)
    assert read_dot(as_dot(top)).labels[1] == expected
    boxes = [text for text, _ in read_mermaid(as_mermaid(top)).nodes.values()]
    stripped = "\n".join(line.strip() for line in expected.split("\n"))
    assert boxes[1].strip() == stripped.strip()
    first, second = as_text(top).split("\n")
    assert second.startswith("└── ")
    written = second.removeprefix("└── ")
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", first + second)
    if "\\" not in label and label.isprintable():
        assert written == label


def test_what_no_line_can_hold_is_written_as_in_python() -> None:
    """Line breaks, escape sequences of terminals and lone surrogates do nothing."""
    assert as_text(Node("a\nb\x1b[31m\ud800\u2028\u2029")) == "a\\nb\\x1b[31m\\ud800\\u2028\\u2029"


@given(st.text(alphabet=string.printable))
def test_any_text_is_a_box_of_mermaid(text: str) -> None:
    """Nothing is left in it that means more than itself."""
    ((box, _),) = read_mermaid(as_mermaid(Node(text))).nodes.values()
    lines = [line.strip() for line in printable(text).split("\n")]
    assert box.strip() == "\n".join(lines).strip()


@pytest.mark.parametrize("label", ["- a", "1. a", "2) a", "+ a", "---", "===", "-", "12."])
def test_no_label_is_taken_for_a_list_or_a_line_across(label: str) -> None:
    """Mermaid reads Markdown in labels, and draws an error instead of a list."""
    line = as_mermaid(Node(label)).splitlines()[1]
    assert label not in line
    assert next(iter(read_mermaid(as_mermaid(Node(label))).nodes.values())) == (label, None)


# --- Pictures

#: Draws as Graphviz does, as far as it matters here: each line of a label becomes a text.
FAKE_DOT = r"""
import re, sys
(option,) = sys.argv[1:]
dot = sys.stdin.buffer.read().decode("utf-8")
def texts():
    for label in re.findall(r'\blabel="((?:[^"\\]|\\.)*)"', dot):
        for line in re.split(r"(?<!\\)(?:\\\\)*\\n", label):
            yield re.sub(r"\\(.)", r"\1", line).replace("<", "&lt;")
if option == "-Tsvg":
    lines = "".join(f"<text>{text}</text>" for text in texts())
    drawn = f'<svg xmlns="http://www.w3.org/2000/svg">{lines}</svg>'.encode("utf-8")
else:
    drawn = {"-Tpng": b"\x89PNG\r\n\x1a\n", "-Tpdf": b"%PDF-1.7\n"}[option]
sys.stdout.buffer.write(drawn)
"""


@pytest.fixture
def install_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return what puts a program in place of Graphviz's, and returns where it is."""

    def install(source: str) -> Path:
        programs = tmp_path / "programs"
        programs.mkdir()
        monkeypatch.setenv("PATH", str(programs))
        script = programs / "dot"
        if os.name == "nt":  # pragma: no cover - only there
            script = programs / "dot.bat"
            (programs / "drawing.py").write_text(source, encoding="utf-8")
            source = f'@"{sys.executable}" -S "{programs / "drawing.py"}" %*'
        else:
            source = f"#!{sys.executable} -S\n{source}"
        script.write_text(source, encoding="utf-8")
        script.chmod(0o755)
        return script

    return install


@pytest.fixture(params=["stand-in", *(["Graphviz"] if shutil.which("dot") else [])])
def graphviz(request: pytest.FixtureRequest, install_dot: Callable[[str], Path]) -> None:
    """Have a `dot` on the PATH: one of our own, and the real one where it is installed."""
    if request.param == "stand-in":  # pragma: no branch - where the real one is installed
        install_dot(FAKE_DOT)


def texts_of(svg: Path) -> set[str]:
    """Return the texts in a picture."""
    found = ET.fromstring(svg.read_text(encoding="utf-8"))  # noqa: S314 - made by ourselves
    return {text.text or "" for text in found.iter("{http://www.w3.org/2000/svg}text")}


def words(texts: Iterable[str]) -> set[str]:
    """Return texts without what spaces a picture may drop or add."""
    return {" ".join(text.split()) for text in texts} - {""}


@pytest.mark.process
@pytest.mark.usefixtures("graphviz")
def test_a_picture_has_all_labels_in_it(tmp_path: Path) -> None:
    """What Graphviz is given, it reads, and shows every line as it is."""
    top = Node[Any](Named("app", "running"))
    labels = [label for label in HOSTILE if "\ud800" not in label]
    for label in labels:
        top.new(label)
    target = tmp_path / "a tree; $(id) & co.svg"
    write_picture(top, target)
    expected = {line for label in labels for line in printable(label).split("\n")}
    assert words(texts_of(target)) == words({"app", "running", *expected})


@pytest.mark.process
@pytest.mark.usefixtures("graphviz")
@pytest.mark.parametrize(
    ("name", "beginning"),
    [("tree.png", b"\x89PNG\r\n"), ("tree.PDF", b"%PDF-"), ("tree.svg", b"<")],
)
def test_the_suffix_says_what_kind_of_picture_it_is(
    name: str, beginning: bytes, tmp_path: Path
) -> None:
    """The file is of that kind, and replaces what was there."""
    target = tmp_path / name
    target.write_text("what was there", encoding="utf-8")
    write_picture(tree(), os.fspath(target))
    assert target.read_bytes().startswith(beginning)


@pytest.mark.process
@pytest.mark.usefixtures("graphviz")
async def test_a_picture_of_running_services_is_drawn_in_a_thread(tmp_path: Path) -> None:
    """The states are taken in the event loop, and nothing blocks it."""
    target = tmp_path / "street.svg"
    async with Street() as street:
        await anyio.to_thread.run_sync(write_picture, as_dot(street), target)
    assert texts_of(target) == {"Street", "Postman", "running"}


@pytest.mark.process
@pytest.mark.usefixtures("graphviz")
def test_a_graph_of_ones_own_can_be_drawn(tmp_path: Path) -> None:
    """Whatever is in the language of Graphviz; a character that no file can hold harms nothing."""
    write_picture('digraph { a [label="one \ud800"]; b [label="two"]; }', tmp_path / "own.svg")
    assert texts_of(tmp_path / "own.svg") == {"one ?", "two"}


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    """The error says which there are, and how to write the other forms."""
    for name in ("tree.txt", "tree"):
        with pytest.raises(ValueError, match=r"named \.svg, \.png or \.pdf; for text, write"):
            write_picture(tree(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_without_graphviz_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to install, or what to use instead; and nothing is written."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PictureError, match=r"install Graphviz.*or use as_mermaid or as_text"):
        write_picture(tree(), tmp_path / "tree.svg")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import sys; sys.exit('no font')", "failed with exit code 1: no font"),
        ("import sys; sys.exit(3)", "failed with exit code 3: it does not say why"),
        ("import time; time.sleep(20)", "did not draw the graph within 0.2 s"),
    ],
    ids=["loudly", "silently", "late"],
)
def test_a_picture_that_fails_leaves_the_old_one(
    source: str, said: str, tmp_path: Path, install_dot: Callable[[str], Path]
) -> None:
    """The error has what Graphviz said, and the file is as it was."""
    install_dot(textwrap.dedent(source))
    target = tmp_path / "tree.svg"
    target.write_text("the old one", encoding="utf-8")
    with pytest.raises(PictureError, match=re.escape(said)):
        write_picture(tree(), target, timeout=0.2 if "sleep" in source else 20)
    assert target.read_text(encoding="utf-8") == "the old one"


@pytest.mark.process
def test_a_program_that_is_none_is_told(
    tmp_path: Path, install_dot: Callable[[str], Path]
) -> None:
    """What is found under the name may be no program at all."""
    install_dot("").write_bytes(b"\x00\x01")
    with pytest.raises(PictureError, match="Graphviz"):
        write_picture(tree(), tmp_path / "tree.svg")


@pytest.mark.process
@pytest.mark.usefixtures("graphviz")
def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """As any file that cannot be written."""
    with pytest.raises(FileNotFoundError):
        write_picture(tree(), tmp_path / "nowhere" / "tree.svg")
