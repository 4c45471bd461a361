"""Tools to test programs with: a virtual clock, on asyncio and on trio; leaks, orders of events, and a pytest plugin.

Nothing here needs a service, but what is about services: any program that is written on anyio can be tested with it. The
plugin is in ``structmode.testing.pytest_plugin``; pytest finds it by itself.
"""

from __future__ import annotations

from typing import get_type_hints

from ._clock import VirtualClock, virtual_backend
from ._deadlock import Deadlock
from ._faults import FAULTS, Fault, InjectedError, Moment, Scenario
from ._leaks import LeftBehind, nothing_left_behind
from ._recorder import Recorder, wait_for_event, wait_for_state
from ._sweep import LawBroken, Sweep, inject_faults
from ._taps import Answer
from ._witness import SERVICE, SUPERVISOR, THREAD, Kind

__all__ = (
    "FAULTS",
    "SERVICE",
    "SUPERVISOR",
    "THREAD",
    "Answer",
    "Deadlock",
    "Fault",
    "InjectedError",
    "Kind",
    "LawBroken",
    "LeftBehind",
    "Moment",
    "Recorder",
    "Scenario",
    "Sweep",
    "VirtualClock",
    "inject_faults",
    "nothing_left_behind",
    "virtual_backend",
    "wait_for_event",
    "wait_for_state",
)

for _public in [globals()[_name] for _name in __all__]:
    if isinstance(_public, type) and "__annotations__" in vars(_public):
        _public.__annotations__ = get_type_hints(
            _public
        )  # while it is known where they were written
    if callable(_public):
        _public.__module__ = __name__
