"""The abstract types of graphs and of what writes them down."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any, Generic, TypeVar

__all__ = ("DependencyGraphT", "GraphFormatterT")

_T = TypeVar("_T")


class GraphFormatterT(abc.ABC, Generic[_T]):
    """What writes a graph in the DOT language, for annotations.

    `structmode.utils.graphs.GraphFormatter` is the one that does it. Differs from mode: the
    constructor is no part of the type.
    """

    #: Attributes of all nodes and edges.
    scheme: Mapping[str, Any]
    #: Attributes of edges.
    edge_scheme: Mapping[str, Any]
    #: Attributes of nodes that need others.
    node_scheme: Mapping[str, Any]
    #: Attributes of nodes that need nothing.
    term_scheme: Mapping[str, Any]
    #: Attributes of the graph as a whole.
    graph_scheme: Mapping[str, Any]

    @abc.abstractmethod
    def attr(self, name: str, value: Any) -> str:
        """Return one attribute."""

    @abc.abstractmethod
    def attrs(
        self, d: Mapping[str, Any] | None = None, scheme: Mapping[str, Any] | None = None
    ) -> str:
        """Return the attributes of one node or edge."""

    @abc.abstractmethod
    def head(self, **attrs: Any) -> str:
        """Return how the graph begins."""

    @abc.abstractmethod
    def tail(self) -> str:
        """Return how the graph ends."""

    @abc.abstractmethod
    def label(self, obj: _T) -> str:
        """Return what the picture calls an object."""

    @abc.abstractmethod
    def node(self, obj: _T, **attrs: Any) -> str:
        """Return the line of an object that needs others."""

    @abc.abstractmethod
    def terminal_node(self, obj: _T, **attrs: Any) -> str:
        """Return the line of an object that needs nothing."""

    @abc.abstractmethod
    def edge(self, a: _T, b: _T, **attrs: Any) -> str:
        """Return the line of an edge from `a` to `b`."""

    @abc.abstractmethod
    def FMT(self, fmt: str, *args: Any, **kwargs: Any) -> str:  # noqa: N802 - mode's name
        """Fill in a template."""

    @abc.abstractmethod
    def draw_edge(
        self,
        a: _T,
        b: _T,
        scheme: Mapping[str, Any] | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the line of an edge, drawn by a scheme."""

    @abc.abstractmethod
    def draw_node(
        self,
        obj: _T,
        scheme: Mapping[str, Any] | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the line of a node, drawn by a scheme."""


class DependencyGraphT(Mapping[_T, tuple[_T, ...]]):
    """A graph of objects that need each other, for annotations.

    `structmode.utils.graphs.DependencyGraph` is the one that does it. Differs from mode: the
    constructor is no part of the type, and what an object needs is a tuple.
    """

    @property
    @abc.abstractmethod
    def adjacent(self) -> Mapping[_T, tuple[_T, ...]]:
        """What each object needs."""

    @abc.abstractmethod
    def add_arc(self, obj: _T) -> None:
        """Add an object."""

    @abc.abstractmethod
    def add_edge(self, A: _T, B: _T) -> None:  # noqa: N803 - mode's names
        """Say that `A` needs `B`."""

    @abc.abstractmethod
    def connect(self, graph: DependencyGraphT[_T]) -> None:
        """Add all of another graph."""

    @abc.abstractmethod
    def topsort(self) -> list[_T]:
        """Return all objects, each after what it needs."""

    @abc.abstractmethod
    def valency_of(self, obj: _T) -> int:
        """Return how much an object needs, directly or not."""

    @abc.abstractmethod
    def update(self, it: Mapping[_T, Iterable[_T]] | Iterable[tuple[_T, Iterable[_T]]]) -> None:
        """Add objects with what they need."""

    @abc.abstractmethod
    def edges(self) -> Iterator[tuple[_T, _T]]:
        """Iterate over the pairs of an object and one that it needs."""

    @abc.abstractmethod
    def to_dot(self, fh: IO[str], *, formatter: GraphFormatterT[_T] | None = None) -> None:
        """Write the graph to a text file in the DOT language."""
