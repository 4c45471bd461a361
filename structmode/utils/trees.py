"""A tree of nodes that know their parent and their children.

Two rules make it hard to break. A node has one parent at most, and is in that parent's children
exactly once; and what follows from the parent links - the root, the depth, the path - is worked
out by walking up when it is asked for, so it can't be out of date after a subtree was moved. All
walks are loops: a tree may be thousands of nodes deep.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Self, TypeVar, cast

from structmode.utils.graphs.graph import DependencyGraph
from structmode.utils.types.trees import NodeT

__all__ = ("Node", "NodeT")

_T = TypeVar("_T")


class Node(NodeT[_T]):
    """A node in a tree, and at the same time the tree below it.

    Differs from mode: children are always nodes (bare data is wrapped in one as it is added) and
    `children` is a tuple, so that links can't be changed on one side only; a node that is added
    elsewhere leaves its old parent; and a `root` that contradicts the parents is refused.

    A copy stands alone, for the same data; a deep copy is one of the whole tree, however deep that is. Pickling goes down step by
    step, so a tree that is some hundred nodes deep needs a higher `sys.setrecursionlimit` for it.

    Args:
        data: What the node stands for.
        root: Only checked, as the root follows from `parent`.
        parent: The node below which to add this one.
        children: Nodes, or data for new nodes, to add below this one.

    Raises:
        ValueError: If `root` is not the topmost node above `parent`, or a child is this node's own
            ancestor.
    """

    def __init__(
        self,
        data: _T,
        *,
        root: NodeT[_T] | None = None,
        parent: NodeT[_T] | None = None,
        children: Iterable[_T | NodeT[_T]] | None = None,
    ) -> None:
        self.data: _T = data
        self._parent: Node[_T] | None = None
        # Keyed by id: keeps the order, finds and removes at once, and asks nothing of a subclass's
        # `__eq__`.
        self._children: dict[int, Node[_T]] = {}
        _check_root(data, root, parent)
        if parent is not None:
            self.reattach(parent)
        for child in children or ():
            self.add(child)

    def __copy__(self) -> Self:
        """Return a node for the same data that stands alone: there is one place in a tree for each node."""
        alone = type(self).__new__(type(self))
        alone.__setstate__(self.__getstate__())
        alone._parent, alone._children = None, {}
        return alone

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the node in this one's place in a copy of the whole tree."""
        whole = (self.root or self).traverse()
        nodes = [node for node in whole if id(node) not in memo]
        # All are there before any is filled, so what leads from one to another leads no deeper.
        for node in nodes:
            memo[id(node)] = type(node).__new__(type(node))
        for node in nodes:
            duplicate: Self = memo[id(node)]
            duplicate.__setstate__(copy.deepcopy(node.__getstate__(), memo))
        mine: Self = memo[id(self)]
        return mine

    def __setstate__(self, state: Any) -> None:
        """Be part of a whole tree that is copied or unpickled; the children have other ids there."""
        attributes: dict[str, Any] = state
        slots: dict[str, Any] = {}
        if isinstance(state, tuple):  # a subclass has some
            attributes, slots = cast("tuple[dict[str, Any], dict[str, Any]]", state)
        vars(self).update(attributes)
        for name, value in slots.items():
            setattr(self, name, value)
        self._children = {id(child): child for child in self._children.values()}

    @property
    def children(self) -> tuple[Node[_T], ...]:
        """The nodes right below this one, as they are now, in the order of adding."""
        return tuple(self._children.values())

    @property
    def parent(self) -> Node[_T] | None:
        """The node right above this one; `None` for the topmost.

        It is changed by `reattach` and `detach`.
        """
        return self._parent

    @property
    def root(self) -> Node[_T] | None:
        """The topmost node above this one; `None` for the topmost itself."""
        top = self
        while top._parent is not None:
            top = top._parent
        return None if top is self else top

    @property
    def depth(self) -> int:
        """How many nodes there are from the topmost to this one: 1 for the topmost."""
        return sum(1 for _ in self.walk())

    @property
    def path(self) -> str:
        """The labels from the topmost node to this one: `"app/web/cache"`.

        The label of a node is its data if that is a string, the `shortlabel` or the class name if
        it has one, and else what `str` makes of it.
        """
        labels = [_label(node.data) for node in self.walk()]
        return "/".join(reversed(labels))

    def new(self, data: _T) -> Node[_T]:
        """Make a node for `data` and add it below this one.

        Returns:
            The new node.
        """
        return type(self)(data, parent=self)

    def add(self, data: _T | NodeT[_T]) -> None:
        """Add a node, or data for which a new node is made, below this one.

        A node leaves its old place then; one that is a child of this one already keeps it.

        Raises:
            TypeError: If `data` is a node of another kind than `Node`.
            ValueError: If `data` is this node or one above it.
        """
        if isinstance(data, NodeT):
            _own_kind(cast("NodeT[_T]", data)).reattach(self)
        else:
            self.new(data)

    def add_deduplicate(self, data: _T | NodeT[_T]) -> None:
        """Add as `add` does, unless there is a child for the same or equal data already.

        Raises:
            TypeError: As `add`.
            ValueError: As `add`.
        """
        if isinstance(data, NodeT):
            self.add(cast("NodeT[_T]", data))
        elif not self._children_for(data):
            self.new(data)

    def discard(self, data: _T | NodeT[_T]) -> None:
        """Take away from below this node: a node, or all children for the same or equal data.

        Does nothing if there is none.
        """
        if isinstance(data, NodeT):
            cast("NodeT[_T]", data).detach(self)
            return
        for child in self._children_for(data):
            child.detach(self)

    def reattach(self, parent: NodeT[_T]) -> Node[_T]:
        """Move this node, and all below it, to be the last child of `parent`.

        If `parent` is its parent already, it keeps its place.

        Returns:
            This node.

        Raises:
            TypeError: If `parent` is not a `Node`.
            ValueError: If `parent` is this node or one below it.
        """
        above = _own_kind(parent)
        if above is self._parent:
            return self
        self._check_not_above(above)
        self._leave()
        above._children[id(self)] = self
        self._parent = above
        return self

    def detach(self, parent: NodeT[_T]) -> Node[_T]:
        """Take this node, and all below it, away from `parent`.

        It becomes the topmost of its own tree. Does nothing if `parent` is not its parent.

        Returns:
            This node.
        """
        if parent is self._parent:
            self._leave()
        return self

    def traverse(self) -> Iterator[Node[_T]]:
        """Iterate over this node and all below it, level by level.

        The tree may change meanwhile: the children of a node are taken when the node has been
        passed.
        """
        waiting: deque[Node[_T]] = deque([self])
        while waiting:
            node = waiting.popleft()
            yield node
            waiting.extend(node.children)

    def walk(self) -> Iterator[Node[_T]]:
        """Iterate over this node and those above it, up to the topmost."""
        node: Node[_T] | None = self
        while node is not None:
            yield node
            node = node._parent

    def as_graph(self) -> DependencyGraph[Node[_T]]:
        """Return this node and all below it as a graph, in which each node needs its children.

        Differs from mode: the graph has the nodes in it and not their data, so that equal data at
        two places stays two, and a lone node is in it too.
        """
        return DependencyGraph((node, node.children) for node in self.traverse())

    def __repr__(self) -> str:
        name = f"{type(self).__name__} {_label(self.data)!r}"
        return f"<{name} depth={self.depth} children={len(self._children)}>"

    def _leave(self) -> None:
        if self._parent is not None:
            del self._parent._children[id(self)]
            self._parent = None

    def _children_for(self, data: _T) -> list[Node[_T]]:
        return [child for child in self.children if child.data is data or child.data == data]

    def _check_not_above(self, node: Node[_T]) -> None:
        # A leaf is above nothing: without the walk, a chain is built leaf by leaf in time linear
        # to its length.
        if node is not self and not self._children:
            return
        if not any(above is self for above in node.walk()):
            return
        place = "itself" if node is self else f"{_label(node.data)!r}, which is below it"
        raise ValueError(
            f"can't attach node {_label(self.data)!r} to {place}: "
            "a node can't be its own ancestor. "
            "To turn the two around, detach the lower one first."
        )


def _own_kind(node: NodeT[_T]) -> Node[_T]:
    if not isinstance(node, Node):
        raise TypeError(f"a tree of Node can only hold Node, not {node!r} ({type(node).__name__})")
    return node


def _check_root(data: object, root: NodeT[Any] | None, parent: NodeT[Any] | None) -> None:
    if root is None:
        return
    if parent is None:
        raise ValueError(
            f"node {_label(data)!r}: the root follows from the parent, so pass parent= instead"
        )
    actual = parent.root or parent
    if actual is not root:
        raise ValueError(
            f"node {_label(data)!r}: the root of parent {_label(parent.data)!r} is "
            f"{_label(actual.data)!r} and not {_label(root.data)!r}; leave root= out"
        )


def _label(data: object) -> str:
    if isinstance(data, str):
        return data
    if isinstance(data, type):
        return data.__name__
    label = getattr(data, "shortlabel", None)
    return label if isinstance(label, str) else str(data)
