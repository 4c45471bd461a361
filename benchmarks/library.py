"""The names that the services of the benchmarks are made of: mode's, or structmode's, one of them in each process.

To the type checkers it is structmode. In a process that is there for somebody else there are stand-ins, so that the heap
of a measured process holds what its contender needs, and not another library beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .contenders import contender_here

HERE = contender_here()

if TYPE_CHECKING:
    import anyio

    hand = anyio
    open_group = anyio.create_task_group
    sleep = anyio.sleep

    from structmode import (
        OneForOneSupervisor as OneForOneSupervisor,
        Service as Service,
        Signal as Signal,
    )
    from structmode.facet import ServiceMixin as ServiceMixin
    from structmode.threads import QueueServiceThread as QueueServiceThread
    from structmode.utils.locks import Event as Event
else:

    class _Nobody:
        """Stands for a class of a library that this process is not there for."""

        @staticmethod
        def task(function: Any) -> Any:
            return function

        @staticmethod
        def timer(interval: float) -> Callable[[Any], Any]:
            return lambda function: function

    def _its(library: str, module: str, name: str) -> Any:
        if HERE.library != library:
            return _Nobody
        return getattr(import_module(module), name)

    _services = "mode" if HERE.library == "mode" else "structmode"
    Service = _its(_services, _services, "Service")
    Signal = _its(_services, _services, "Signal")
    OneForOneSupervisor = _its(_services, _services, "OneForOneSupervisor")
    QueueServiceThread = _its(_services, f"{_services}.threads", "QueueServiceThread")
    Event = _its(_services, f"{_services}.utils.locks", "Event")
    ServiceMixin = _its("facet", "facet", "ServiceMixin")

    hand = import_module("trio" if HERE.library == "trio" else "anyio")
    # What users of the library write: mode and facet are for asyncio alone.
    sleep = import_module("asyncio" if HERE.library in {"mode", "facet"} else hand.__name__).sleep
    open_group = getattr(hand, "open_nursery", None) or hand.create_task_group

__all__ = (
    "HERE",
    "Event",
    "OneForOneSupervisor",
    "QueueServiceThread",
    "Service",
    "ServiceMixin",
    "Signal",
    "hand",
    "open_group",
    "sleep",
)
