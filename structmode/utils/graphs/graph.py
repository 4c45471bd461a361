"""Graphs of objects that need each other."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import IO, Any, TypeVar, cast

from structmode.exceptions import StructmodeError
from structmode.utils.graphs._things import label_of
from structmode.utils.graphs.formatter import GraphFormatter
from structmode.utils.types.graphs import DependencyGraphT, GraphFormatterT

__all__ = ("CycleError", "DependencyGraph")

_T = TypeVar("_T")


class CycleError(StructmodeError, ValueError):
    """Objects that need each other in a circle, so that none of them can be first.

    Differs from mode: it is raised for every circle, and names it.

    Args:
        circle: The objects in the circle; each needs the next, and the last is the first again.
    """

    def __init__(self, circle: Iterable[Any]) -> None:
        self.circle: tuple[Any, ...] = tuple(circle)
        steps = [f"{label_of(a)} needs {label_of(b)}" for a, b in pairwise(self.circle)]
        super().__init__(f"a circle, in which nothing can be first: {', '.join(steps)}")


class DependencyGraph(DependencyGraphT[_T]):
    """A graph of objects, and of what each of them needs.

    It is a mapping of each object to a tuple of what it needs, and keeps the order in which
    objects were added.

    Differs from mode: circles are found and named, everything mentioned is in the graph, what is
    said twice counts once, and nothing recurses, so a graph may be thousands of objects deep.

    Args:
        it: Pairs of an object and what it needs; or a mapping of objects to that, as another graph is.
        formatter: What `to_dot` uses unless it is given another.
    """

    def __init__(
        self,
        it: Mapping[_T, Iterable[_T]] | Iterable[tuple[_T, Iterable[_T]]] | None = None,
        formatter: GraphFormatterT[_T] | None = None,
    ) -> None:
        self.formatter = formatter
        # The inner dicts are sets that keep their order.
        self._needs: dict[_T, dict[_T, None]] = {}
        self.update(it or ())

    @property
    def adjacent(self) -> Mapping[_T, tuple[_T, ...]]:
        """What each object needs, as it is now.

        Differs from mode: it can't be changed, as the graph is changed by its methods.
        """
        return MappingProxyType({obj: tuple(needs) for obj, needs in self._needs.items()})

    def add_arc(self, obj: _T) -> None:
        """Add an object; one that is in the graph already stays as it is.

        Args:
            obj: Anything hashable.
        """
        self._needs.setdefault(obj, {})

    def add_edge(self, A: _T, B: _T) -> None:  # noqa: N803 - mode's names
        """Say that one object needs another.

        Differs from mode: objects that are not in the graph yet are added.

        Args:
            A: The object that needs the other.
            B: The object that it needs.
        """
        self.add_arc(A)
        self.add_arc(B)
        self._needs[A][B] = None

    def connect(self, graph: DependencyGraphT[_T]) -> None:
        """Add the objects and the edges of another graph.

        Differs from mode: an object that is in both then needs what it needs in either.

        Args:
            graph: The other graph; it does not change.
        """
        self.update(graph)

    def topsort(self) -> list[_T]:
        """Return all objects in the order in which to handle them: each after what it needs.

        First those that need nothing, then those that need only them, and so on; the same graph,
        built in the same order, always gives the same list.

        Raises:
            CycleError: If there is no such order, as there is a circle.
        """
        try:
            return list(graphlib.TopologicalSorter(self._needs).static_order())
        except graphlib.CycleError as error:
            # There each object comes before the one that needs it.
            raise CycleError(reversed(error.args[1])) from None

    def valency_of(self, obj: _T) -> int:
        """Return how many edges lead down from an object, directly or not.

        As in mode, an edge counts once for each way that leads to it.

        Args:
            obj: The object; one that is not in the graph has none.

        Raises:
            CycleError: If there is a circle in the graph.
        """
        below: dict[_T, int] = {}
        for each in self.topsort():
            below[each] = sum(1 + below[need] for need in self._needs[each])
        return below.get(obj, 0)

    def update(self, it: Mapping[_T, Iterable[_T]] | Iterable[tuple[_T, Iterable[_T]]]) -> None:
        """Add objects with what they need, to what they are known to need already.

        Args:
            it: Pairs of an object and what it needs, or a mapping of objects to that. First all
                these objects are added, in order, and then those that only others need.
        """
        given = cast(
            "Iterable[tuple[_T, Iterable[_T]]]", it.items() if isinstance(it, Mapping) else it
        )
        pairs = [(obj, tuple(needs)) for obj, needs in given]
        for obj, _ in pairs:
            self.add_arc(obj)
        for obj, needs in pairs:
            for need in needs:
                self.add_edge(obj, need)

    def edges(self) -> Iterator[tuple[_T, _T]]:
        """Iterate over the edges: pairs of an object and one that it needs.

        Differs from mode, which yields the objects that have edges instead.
        """
        for obj, needs in self._needs.items():
            for need in needs:
                yield obj, need

    def to_dot(self, fh: IO[str], *, formatter: GraphFormatterT[_T] | None = None) -> None:
        """Write the graph in the DOT language of Graphviz; circles may be in it.

        Args:
            fh: A text file, or what can be written to like one.
            formatter: What makes the lines; the graph's own unless given, or a `GraphFormatter`.
        """
        form = formatter or self.formatter or GraphFormatter[_T]()
        for line in self._drawn(form):
            fh.write(f"{line}\n")

    def __getitem__(self, obj: _T) -> tuple[_T, ...]:
        return tuple(self._needs[obj])

    def __iter__(self) -> Iterator[_T]:
        return iter(self._needs)

    def __len__(self) -> int:
        return len(self._needs)

    def __repr__(self) -> str:
        edges = sum(map(len, self._needs.values()))
        return f"<{type(self).__name__}: {len(self)} objects, {edges} edges>"

    def _drawn(self, form: GraphFormatterT[_T]) -> Iterator[str]:
        yield form.head()
        for obj, needs in self._needs.items():
            yield form.node(obj) if needs else form.terminal_node(obj)
        for a, b in self.edges():
            yield form.edge(a, b)
        yield form.tail()
