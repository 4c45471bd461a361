"""Tools to test programs with: a virtual clock, on asyncio and on trio; leaks, orders of events, and a pytest plugin.

Nothing here needs a service, but what is about services: any program that is written on anyio can be tested with it. The
plugin is in ``structmode.testing.pytest_plugin``; pytest finds it by itself.
"""

from __future__ import annotations

from ._clock import VirtualClock, virtual_backend
from ._deadlock import Deadlock
from ._leaks import LeftBehind, nothing_left_behind
from ._recorder import Recorder, wait_for_event, wait_for_state

__all__ = (
    "Deadlock",
    "LeftBehind",
    "Recorder",
    "VirtualClock",
    "nothing_left_behind",
    "virtual_backend",
    "wait_for_event",
    "wait_for_state",
)

for _name in __all__:
    globals()[_name].__module__ = __name__
