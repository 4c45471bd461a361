"""A class that is a service and something else besides: both are initialised, and both get what the class was given."""

from __future__ import annotations

from typing import Any

from structmode import Service
from structmode.types.services import ServiceT


class Placed(ServiceT):
    """Something of the kind of a service, that wants to know what it was given."""

    def __init__(self, *, beacon: Any = None, loop: Any = None) -> None:
        super().__init__(beacon=beacon, loop=loop)
        self.given = (beacon, loop)


class PlacedService(Service, Placed):
    """A whole service, and `Placed` besides."""


def test_what_the_other_base_is_given() -> None:
    """It is initialised with the very beacon and loop that the service was made with."""
    beacon, loop = Service().beacon, object()
    assert PlacedService(beacon=beacon, loop=loop).given == (beacon, loop)
    assert PlacedService(beacon=beacon).given == (beacon, None)
    assert PlacedService(loop=loop).given == (None, loop)
    assert PlacedService().given == (None, None)
