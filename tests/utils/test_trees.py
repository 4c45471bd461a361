"""Trees: links that agree with each other, whatever is done to them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from structmode.utils.trees import Node
from structmode.utils.types.trees import NodeT

DEEP = 3_000
NONE: tuple[Node[Any], ...] = ()


def chain(length: int) -> Node[int]:
    """Build a chain of nodes; returns the lowest."""
    node = Node(0)
    for number in range(1, length):
        node = node.new(number)
    return node


def test_a_lone_node_is_the_top_of_its_tree() -> None:
    """A new node has no parent, no root above it, depth 1, and only itself to walk over."""
    node = Node("app")
    assert node.data == "app"
    assert node.parent is None
    assert node.root is None
    assert node.depth == 1
    assert node.path == "app"
    assert node.children == NONE
    assert list(node.walk()) == list(node.traverse()) == [node]


def test_new_adds_a_node_below() -> None:
    """`new` returns a node that is the last child and knows its place."""
    app = Node("app")
    web, db = app.new("web"), app.new("db")
    cache = web.new("cache")
    assert app.children == (web, db)
    assert cache.parent is web
    assert cache.root is app
    assert cache.depth == 3
    assert cache.path == "app/web/cache"


def test_walks_go_up_and_level_by_level() -> None:
    """`walk` goes from a node to the top; `traverse` covers all below, level by level."""
    app = Node("app")
    web, db = app.new("web"), app.new("db")
    cache, pool = web.new("cache"), db.new("pool")
    assert list(cache.walk()) == [cache, web, app]
    assert list(app.traverse()) == [app, web, db, cache, pool]
    assert list(web.traverse()) == [web, cache]


def test_the_tree_may_change_while_it_is_traversed() -> None:
    """What is added below nodes that were not passed yet is visited; what left is not."""
    app = Node("app")
    web, db = app.new("web"), app.new("db")
    seen: list[str] = []
    for node in app.traverse():
        seen.append(node.data)
        if node is web:
            db.new("pool")
            web.new("cache")
    assert seen == ["app", "web", "db", "cache", "pool"]


def test_the_constructor_links_both_ways() -> None:
    """A parent given to the constructor gets the node as a child, and children get a parent."""
    app = Node("app")
    pool = Node("pool")
    db = Node[str]("db", parent=app, children=[pool, "log"])
    assert app.children == (db,)
    assert [child.data for child in db.children] == ["pool", "log"]
    assert {child.parent for child in db.children} == {db}
    assert pool.root is app


def test_a_root_given_to_the_constructor_must_be_true() -> None:
    """`root` is accepted if it is what the parent says, and refused with the names if not."""
    app = Node("app")
    web = Node("web", parent=app, root=app)
    assert Node("cache", parent=web, root=app).root is app
    with pytest.raises(ValueError, match=r"'x'.*'web' is 'app' and not 'other'"):
        Node("x", parent=web, root=Node("other"))
    with pytest.raises(ValueError, match=r"'x'.*pass parent="):
        Node("x", root=app)
    assert [child.data for child in web.children] == ["cache"]


def test_the_root_is_never_stale() -> None:
    """Nodes of a ready-made subtree see the new root, depth and path once it is attached."""
    web = Node("web")
    cache = web.new("cache")
    assert cache.root is web
    app = Node("app")
    app.add(web)
    assert cache.root is app
    assert cache.depth == 3
    web.detach(app)
    assert cache.root is web
    assert cache.path == "web/cache"


def test_add_takes_nodes_and_data() -> None:
    """`add` links a node as it is, and wraps data in a new node each time."""
    app = Node("app")
    web = Node("web")
    app.add(web)
    app.add("db")
    app.add("db")
    assert app.children[0] is web
    assert [child.data for child in app.children] == ["web", "db", "db"]
    assert all(child.parent is app for child in app.children)


def test_adding_a_child_again_changes_nothing() -> None:
    """A node that is a child already is there once, in its old place."""
    app = Node("app")
    web, db = app.new("web"), app.new("db")
    app.add(web)
    web.reattach(app)
    assert app.children == (web, db)


def test_a_node_has_one_parent() -> None:
    """A node that is added or reattached elsewhere has left its old parent, with all below it."""
    app, other = Node("app"), Node("other")
    web = app.new("web")
    cache = web.new("cache")
    other.add(web)
    assert app.children == NONE
    assert other.children == (web,)
    assert cache.root is other
    assert web.reattach(app) is web
    assert other.children == NONE
    assert web.parent is app


def test_add_deduplicate_keeps_one_child_for_equal_data() -> None:
    """Data that is there already is not added again; a node for it is, as it has its own below."""
    app = Node("app")
    app.add_deduplicate("db")
    app.add_deduplicate("db")
    assert [child.data for child in app.children] == ["db"]
    web = Node("web")
    app.add_deduplicate(web)
    app.add_deduplicate(web)
    assert app.children[1:] == (web,)


def test_discard_takes_away_nodes_or_all_with_the_data() -> None:
    """`discard` cuts the links on both sides, and ignores what is not there."""
    app = Node("app")
    web, first, second = app.new("web"), app.new("db"), app.new("db")
    app.discard("db")
    assert app.children == (web,)
    assert first.parent is None
    assert second.parent is None
    app.discard(web)
    assert app.children == NONE
    assert web.parent is None
    app.discard("web")
    app.discard(web)
    assert app.children == NONE


def test_discard_finds_data_that_equals_nothing() -> None:
    """Data is found by identity too, for data that does not even equal itself."""
    nan = float("nan")
    app = Node(1.0)
    app.add(nan)
    app.discard(nan)
    assert app.children == NONE


def test_detach_only_leaves_the_parent_that_is_named() -> None:
    """`detach` returns the node, and does nothing if the named node is not its parent."""
    app, other = Node("app"), Node("other")
    web = app.new("web")
    assert web.detach(other) is web
    assert web.parent is app
    assert web.detach(app) is web
    assert web.parent is None
    assert app.children == NONE


@pytest.mark.parametrize("below", [1, 2])
def test_a_node_can_not_become_its_own_ancestor(below: int) -> None:
    """Attaching a node below one of its descendants is refused with both names, unchanged."""
    app = Node("app")
    web = app.new("web")
    cache = web.new("cache")
    target = list(cache.walk())[2 - below]
    with pytest.raises(ValueError, match=f"'app' to '{target.data}'.*own ancestor"):
        app.reattach(target)
    with pytest.raises(ValueError, match="own ancestor"):
        target.add(app)
    assert list(app.traverse()) == [app, web, cache]
    assert app.parent is None


@pytest.mark.parametrize("with_children", [False, True])
def test_a_node_can_not_be_attached_to_itself(with_children: bool) -> None:
    """Attaching a node to itself is refused, whether or not it has children."""
    app = Node("app")
    if with_children:
        app.new("web")
    with pytest.raises(ValueError, match=r"'app' to itself.*own ancestor"):
        app.reattach(app)
    assert app.parent is None


def test_nodes_of_another_kind_are_refused() -> None:
    """A node that keeps its links in its own way can't be part of a tree of `Node`."""
    foreign_type = type("ForeignNode", (NodeT,), dict.fromkeys(NodeT.__abstractmethods__))
    foreign: Any = foreign_type()
    app = Node("app")
    with pytest.raises(TypeError, match="ForeignNode"):
        app.add(foreign)
    with pytest.raises(TypeError, match="ForeignNode"):
        app.reattach(foreign)
    assert app.children == NONE


def test_children_can_not_be_changed_on_one_side() -> None:
    """`children` is a tuple: what it was taken as stays, and it can't be appended to."""
    app = Node("app")
    web = app.new("web")
    before = app.children
    app.new("db")
    assert before == (web,)


class Labelled:
    """Data with a label, as services have."""

    shortlabel = "short"


def test_the_path_uses_labels() -> None:
    """A path shows strings, short labels, the names of classes, and `str` of the rest."""
    top: Node[Any] = Node(Labelled())
    assert top.new(Labelled).new("text").new(303).path == "short/Labelled/text/303"


def test_repr_tells_name_and_place() -> None:
    """The repr shows the label, the depth and the number of children."""
    app = Node("app")
    web = app.new("web")
    web.new("cache")
    assert repr(web) == "<Node 'web' depth=2 children=1>"


def test_a_subclass_makes_nodes_of_its_kind() -> None:
    """`new` and `add` make nodes of the class of the node."""

    class Special(Node[str]):
        pass

    top = Special("top")
    top.add("data")
    assert type(top.new("x")) is Special
    assert type(top.children[0]) is Special


def test_nodes_need_no_hash() -> None:
    """Nodes of a subclass that defines equality, and so has no hash, can be linked."""

    class Equal(Node[str]):
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Equal)  # pragma: no cover - nothing asks, which is the point

        __hash__ = None  # type: ignore[assignment]

    top = Equal("top")
    first, second = top.new("a"), top.new("b")
    top.discard(second)
    assert len(top.children) == 1
    assert top.children[0] is first


def test_trees_may_be_very_deep() -> None:
    """Nothing recurses: a tree 3,000 deep can be measured, walked, moved and checked."""
    lowest = chain(DEEP)
    top = lowest.root
    assert top is not None
    assert lowest.depth == DEEP
    assert len(list(top.traverse())) == DEEP
    assert lowest.path.endswith(f"/{DEEP - 1}")
    with pytest.raises(ValueError, match="own ancestor"):
        top.reattach(lowest)
    above = Node(-1)
    above.add(top)
    assert lowest.root is above
    assert lowest.depth == DEEP + 1


class TreeMachine(RuleBasedStateMachine):
    """Compares trees with a model of two dicts: the parent and the children of each number."""

    nodes = Bundle("nodes")

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Node[int]] = []
        self.parents: dict[int, int | None] = {}
        self.below: dict[int, list[int]] = {}

    def _record(self, node: Node[int], parent: int | None) -> Node[int]:
        self.all.append(node)
        self.below[node.data] = []
        self.parents[node.data] = None
        self._move(node.data, parent)
        return node

    def _move(self, number: int, parent: int | None) -> None:
        old = self.parents[number]
        if old == parent:
            return
        if old is not None:
            self.below[old].remove(number)
        if parent is not None:
            self.below[parent].append(number)
        self.parents[number] = parent

    def _way_up(self, number: int) -> list[int]:
        way = [number]
        while (parent := self.parents[way[-1]]) is not None:
            way.append(parent)
        return way

    @rule(target=nodes)
    def start_tree(self) -> Node[int]:
        """A new tree."""
        return self._record(Node(len(self.all)), None)

    @rule(target=nodes, parent=nodes)
    def grow(self, parent: Node[int]) -> Node[int]:
        """A new node below another."""
        return self._record(parent.new(len(self.all)), parent.data)

    @rule(node=nodes, parent=nodes, by_add=st.booleans())
    def attach(self, node: Node[int], parent: Node[int], by_add: bool) -> None:
        """A node goes below another, or is refused if it is above it."""
        forbidden = node.data in self._way_up(parent.data)
        try:
            if by_add:
                parent.add(node)
            else:
                node.reattach(parent)
        except ValueError:
            assert forbidden
        else:
            assert not forbidden
            self._move(node.data, parent.data)

    @rule(node=nodes, parent=nodes)
    def detach(self, node: Node[int], parent: Node[int]) -> None:
        """A node leaves a parent, which may not be its own."""
        node.detach(parent)
        if self.parents[node.data] == parent.data:
            self._move(node.data, None)

    @rule(node=nodes, parent=nodes, by_data=st.booleans())
    def discard(self, node: Node[int], parent: Node[int], by_data: bool) -> None:
        """A parent lets go of a node, which may not be its child."""
        parent.discard(node.data if by_data else node)
        if self.parents[node.data] == parent.data:
            self._move(node.data, None)

    @invariant()
    def agrees_with_the_model(self) -> None:
        """Every node has the parent, children, root, depth, path and subtree of the model."""
        for node in self.all:
            way = self._way_up(node.data)
            assert [up.data for up in node.walk()] == way
            assert node.depth == len(way)
            assert node.path == "/".join(str(number) for number in reversed(way))
            assert (node.root is None) == (len(way) == 1)
            assert node.root is None or node.root.data == way[-1]
            assert [child.data for child in node.children] == self.below[node.data]
            assert [each.data for each in node.traverse()] == self._levels(node.data)

    def _levels(self, top: int) -> list[int]:
        found = [top]
        for number in found:
            found.extend(self.below[number])
        return found


TestTreeAgainstModel = TreeMachine.TestCase
TestTreeAgainstModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def pickled(node: Any) -> Any:
    """Return what is read back of a pickled node."""
    return pickle.loads(pickle.dumps(node))  # noqa: S301 - our own


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled])
@pytest.mark.parametrize("part", ["top", "middle", "leaf"])
def test_a_deep_copy_is_one_of_the_whole_tree(
    part: str, duplicate: Callable[[Node[str]], Node[str]]
) -> None:
    """Its links agree as those of the original do, which knows nothing of it; whichever node is copied."""
    top = Node("top")
    nodes = {"top": top, "middle": top.new("middle"), "leaf": top.children[0].new("leaf")}
    twin = duplicate(nodes[part])
    other_top = twin.root or twin
    assert [node.data for node in other_top.traverse()] == ["top", "middle", "leaf"]
    (middle,) = other_top.children
    middle.detach(other_top)
    assert other_top.children == NONE
    assert middle.parent is None
    Node("new").add(middle)
    assert [node.path for node in top.traverse()] == ["top", "top/middle", "top/middle/leaf"]
    middle.discard("leaf")
    assert middle.children == NONE


class Slotted(Node[str]):
    """Has more than a dictionary."""

    __slots__ = ("mark",)

    mark: str


class Careful(Node[str]):
    """Leaves something out where it is copied."""

    lock: object = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "lock"}


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
def test_copies_of_other_classes(duplicate: Callable[[Any], Any]) -> None:
    """What a class says of its state holds."""
    slotted = Slotted("data")
    slotted.mark = "x"
    assert duplicate(slotted).mark == "x"
    careful = Careful("data", children=["below"])
    careful.lock = object()
    assert duplicate(careful).lock is None
    assert careful.lock is not None
    assert len(careful.children) == 1


def test_a_deep_copy_goes_as_deep_as_the_tree() -> None:
    """Also where that is more than Python's calls may be; and whatever node it is asked of."""
    top = node = Node("0")
    for number in range(1, 3000):
        node = node.new(str(number))
    other = copy.deepcopy(node)
    assert other.path == node.path
    assert [one.data for one in (other.root or other).traverse()] == [*map(str, range(3000))]
    assert not {*map(id, other.walk())} & {*map(id, top.traverse())}


def test_a_deep_copy_takes_what_the_caller_has_copied_already() -> None:
    """As of anything."""
    top = Node("top")
    child, known = top.new("child"), Node("known")
    other = copy.deepcopy(top, {id(child): known})
    assert other.children == (known,)


def test_a_copy_stands_alone() -> None:
    """There is one place in a tree for each node, so a shallow copy has none."""

    class Marked(Node[str]):
        mark = ""

    top = Node("top")
    node = Marked("node", parent=top, children=["below"])
    node.mark = "x"
    twin = copy.copy(node)
    assert (twin.data, twin.mark, twin.parent, twin.children) == ("node", "x", None, NONE)
    assert top.children == (node,)
    assert len(node.children) == 1


def test_as_graph() -> None:
    """The tree as a graph: each node needs its children, and equal data at two places stays two."""
    tree = Node("app")
    for _ in range(2):
        tree.new("web").new("socket")
    graph = tree.as_graph()
    assert len(graph) == 5
    assert [(above.data, below.data) for above, below in graph.edges()] == [
        ("app", "web"),
        ("app", "web"),
        ("web", "socket"),
        ("web", "socket"),
    ]
    assert list(Node("alone").as_graph()) != []
