"""The abstract type of trees."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from structmode.utils.types.graphs import DependencyGraphT

__all__ = ("NodeT",)

_T = TypeVar("_T")


class NodeT(abc.ABC, Generic[_T]):
    """What a node in a tree can do, for annotations.

    `structmode.utils.trees.Node` is the one that does it.
    """

    #: What the node stands for.
    data: _T

    @property
    @abc.abstractmethod
    def children(self) -> tuple[NodeT[_T], ...]:
        """The nodes right below this one, in the order in which they were added."""

    @abc.abstractmethod
    def as_graph(self) -> DependencyGraphT[Any]:
        """Return this node and all below it as a graph, in which each node needs its children."""

    @property
    @abc.abstractmethod
    def parent(self) -> NodeT[_T] | None:
        """The node right above this one; `None` for the topmost."""

    @property
    @abc.abstractmethod
    def root(self) -> NodeT[_T] | None:
        """The topmost node above this one; `None` for the topmost itself."""

    @property
    @abc.abstractmethod
    def depth(self) -> int:
        """How many nodes there are from the topmost to this one, both counted."""

    @property
    @abc.abstractmethod
    def path(self) -> str:
        """The labels from the topmost node to this one, with slashes between them."""

    @abc.abstractmethod
    def new(self, data: _T) -> NodeT[_T]:
        """Make a node for `data` and add it below this one."""

    @abc.abstractmethod
    def add(self, data: _T | NodeT[_T]) -> None:
        """Add a node, or a new node for `data`, below this one."""

    @abc.abstractmethod
    def add_deduplicate(self, data: _T | NodeT[_T]) -> None:
        """Add as `add` does, unless there is such a child already."""

    @abc.abstractmethod
    def discard(self, data: _T | NodeT[_T]) -> None:
        """Take a node, or the nodes for `data`, away from below this one."""

    @abc.abstractmethod
    def reattach(self, parent: NodeT[_T]) -> NodeT[_T]:
        """Move this node, and all below it, to a place below `parent`."""

    @abc.abstractmethod
    def detach(self, parent: NodeT[_T]) -> NodeT[_T]:
        """Take this node, and all below it, away from `parent`."""

    @abc.abstractmethod
    def traverse(self) -> Iterator[NodeT[_T]]:
        """Iterate over this node and all below it, level by level."""

    @abc.abstractmethod
    def walk(self) -> Iterator[NodeT[_T]]:
        """Iterate over this node and those above it, up to the topmost."""
