"""What happens in the lives of services, told as it happens: for logs, metrics, probes and live views.

    def on_event(event: LifecycleEvent) -> None:
        print(type(event).__name__, event.subject)

    unsubscribe = subscribe(on_event)

Every event carries its `subject`, the service it happened to, and what else there is to know. Listeners are called at
once, in the task where it happened, in the order they subscribed; they must not wait. Without a listener, nothing is
even made.
"""

from __future__ import annotations

from dataclasses import dataclass

# For who asks for the types of the events: they say that they are from here.
from typing import Any as Any

from structmode._engine import (
    Crashed as Crashed,
    LifecycleEvent as LifecycleEvent,
    Listener as Listener,
    Restarting as Restarting,
    Started as Started,
    StartFailed as StartFailed,
    Starting as Starting,
    StopOverdue as StopOverdue,
    Stopped as Stopped,
    Stopping as Stopping,
    TaskEnded as TaskEnded,
    TaskFailed as TaskFailed,
    TickFailed as TickFailed,
    TicksSkipped as TicksSkipped,
    subscribe as subscribe,
)

__all__ = (
    "Crashed",
    "Degraded",
    "LifecycleEvent",
    "Recovered",
    "Restarting",
    "StartFailed",
    "Started",
    "Starting",
    "StopOverdue",
    "Stopped",
    "Stopping",
    "TaskEnded",
    "TaskFailed",
    "TickFailed",
    "TicksSkipped",
    "subscribe",
)


@dataclass(frozen=True)
class Degraded(LifecycleEvent):
    """It runs, and has said that something is amiss."""

    reason: str


@dataclass(frozen=True)
class Recovered(LifecycleEvent):
    """It has taken back what it said was amiss."""

    reason: str
