"""The services of the tree, each by a name that means it and no other.

A label may be there twice, and a path of labels as well. So where a label is not unique in the tree, its services are
numbered: ``Postman#1``, ``Postman#2``. A number stays with its service, and is not given again: who has read a name off a
tree may rely on it, whatever has come and gone since.
"""

from __future__ import annotations

import itertools
import weakref
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from structmode.services import Service
from structmode.utils.graphs._things import label_of
from structmode.utils.trees import Node

__all__ = ("Place", "Places", "Unknown")


class Unknown(Exception):
    """A name that means no service, or several; the text says what to do."""


@dataclass(eq=False)
class Place:
    """A place in the tree.

    Attributes:
        name: Its name, which is unique in the tree.
        label: What its name is made of.
        thing: What is there: a service, or, in the tree of somebody else, anything.
        above: The place right above.
        below: The places right below.
    """

    name: str
    label: str
    thing: Any
    above: Place | None
    below: list[Place] = field(default_factory=list["Place"])

    @property
    def path(self) -> str:
        """The names from the top of the tree to it."""
        names: list[str] = []
        place: Place | None = self
        while place is not None:
            names.append(place.name)
            place = place.above
        return "/".join(reversed(names))

    def all(self) -> Iterator[Place]:
        """Iterate over this place and all below it, first down."""
        waiting: list[Place] = [self]
        while waiting:
            place = waiting.pop()
            yield place
            waiting.extend(reversed(place.below))

    def services(self) -> Iterator[tuple[Place, Service]]:
        """Iterate over the services here and below."""
        for place in self.all():
            if isinstance(place.thing, Service):
                yield place, place.thing


class Places:
    """Gives names to what is in a tree.

    Args:
        member: A service in that tree.
    """

    def __init__(self, member: Service) -> None:
        self._member = member
        self._numbers: dict[tuple[int, str], tuple[Callable[[], object], int]] = {}
        self._counters: defaultdict[str, Iterator[int]] = defaultdict(lambda: itertools.count(1))

    def root(self) -> Place:
        """Return the top of the tree, with all below it, as it is now."""
        beacon = self._member.beacon
        top = beacon.root or beacon
        labels = {id(node): label_of(node) for node in top.traverse()}
        counts = Counter(labels.values())
        known = {key: value for key, value in self._numbers.items() if value[0]() is not None}
        self._numbers = known

        def place(node: Node[Any], above: Place | None) -> Place:
            label = name = labels.get(id(node)) or label_of(node)
            number = self._number(node.data, label)
            if counts[label] > 1:
                name = f"{label}#{number}"
            return Place(name, label, node.data, above)

        root = place(top, None)
        waiting = [(top, root)]
        for node, here in waiting:  # grows while it is walked
            for child in node.children:
                here.below.append(place(child, here))
                waiting.append((child, here.below[-1]))
        return root

    def _number(self, thing: object, label: str) -> int:
        found = self._numbers.get((id(thing), label))
        if found is not None and found[0]() is thing:
            return found[1]
        number = next(self._counters[label])
        with suppress(TypeError):  # no service, and nothing that a command could be about
            self._numbers[id(thing), label] = weakref.ref(thing), number
        return number

    def find(self, name: str) -> Place:
        """Return the place of a name: a name as in the tree, or a path, or the end of one.

        Raises:
            Unknown: If there is none, or more than one.
        """
        everything = list(self.root().all())
        last = name.rpartition("/")[2]
        found = [place for place in everything if place.name == name]
        found = found or [
            place
            for place in everything
            if place.label == name
            or (place.name == last and f"/{place.path}".endswith(f"/{name}"))
        ]
        if not found:
            raise Unknown(f"there is no {name} in the tree; `tree` shows what there is")
        if len(found) > 1:
            listed = ", ".join(place.path for place in found[:10])
            more = f" and {len(found) - 10} more" if len(found) > 10 else ""
            raise Unknown(f"{name} may be any of these: {listed}{more}")
        return found[0]

    def service(self, name: str) -> tuple[Place, Service]:
        """Return the place and the service of a name.

        Raises:
            Unknown: If it is no name of one service.
        """
        place = self.find(name)
        if not isinstance(place.thing, Service):
            raise Unknown(f"{place.path} is no service")
        return place, place.thing
