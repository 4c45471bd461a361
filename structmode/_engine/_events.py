"""Typed lifecycle events, and those who listen to them.

Theory: logs, metrics, probes and live views all want to know the same few things, and none of them is the engine's
business. So the engine says what happened, once, as a typed value, and knows nobody who listens. Without a listener
an event is not even made: `emit` is given the type and the parts.

Listeners are called at once, in the order they subscribed, in the task where it happened. They must not wait. One
that raises an error is reported through `logging` and harms neither the engine nor the other listeners. One that means to
end the program, by SystemExit or the like, raises where the event is told of: of a run's own events it is a failure. Event loops in several threads tell the
same listeners, each in its own thread.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from ._last_words import report

_logger = logging.getLogger("structmode.events")


@dataclass(frozen=True)
class LifecycleEvent:
    """Something that happened in the life of something that is run.

    Attributes:
        subject: The object it happened to: a service, for instance. Of any type: those who listen know their services.
    """

    subject: Any


class Starting(LifecycleEvent):
    """Its start has begun."""


class Started(LifecycleEvent):
    """Its start is complete: all hooks have returned, all children have started."""


@dataclass(frozen=True)
class StartFailed(LifecycleEvent):
    """Its start failed or was called off, and has been undone."""

    reason: BaseException


class Stopping(LifecycleEvent):
    """Its stop has begun."""


class Stopped(LifecycleEvent):
    """Its stop is complete: nothing of it is left."""


class Restarting(LifecycleEvent):
    """A new run is about to begin in the same owner."""


@dataclass(frozen=True)
class Crashed(LifecycleEvent):
    """A failure has reached it: its own, or that of something it owns."""

    reason: BaseException


@dataclass(frozen=True)
class TaskEnded(LifecycleEvent):
    """One of its tasks is over: it returned, was cancelled, or failed."""

    task: str
    error: BaseException | None


@dataclass(frozen=True)
class StopOverdue(LifecycleEvent):
    """Its stop took too long, and is now being forced."""

    stuck: tuple[object, ...]


@dataclass(frozen=True)
class TicksSkipped(LifecycleEvent):
    """A timer or crontab was late and left out ticks, rather than running them in a burst."""

    timer: str
    count: int


@dataclass(frozen=True)
class TickFailed(LifecycleEvent):
    """A run of a timer or crontab failed, and its schedule goes on."""

    timer: str
    error: Exception


@dataclass(frozen=True)
class TaskFailed(LifecycleEvent):
    """A task failed, and its service goes on: the task is over, or is begun again in so many seconds."""

    task: str
    error: Exception
    again_in: float | None


Listener: TypeAlias = Callable[[LifecycleEvent], None]

# A dict, in order of subscription: each change is one step, which no other thread can fall into, with the GIL or without.
_listeners: dict[_Subscription, None] = {}


def subscribe(listener: Listener) -> Callable[[], None]:
    """Tell `listener` of every event from now on.

    Args:
        listener: Called with each event, in the task where it happened, and so in several threads at once if event loops
            run in several; it must neither wait nor raise.

    Returns:
        A function that ends the subscription; calling it again does nothing.

    Raises:
        TypeError: If `listener` can't be called, or is async.
    """
    if inspect.iscoroutinefunction(listener) or not callable(cast(object, listener)):
        raise TypeError(
            f"subscribe() takes a plain function of one event, as in subscribe(print), not {listener!r}"
        )
    subscription = _Subscription(listener)
    _listeners[subscription] = None

    def unsubscribe() -> None:
        _listeners.pop(subscription, None)

    return unsubscribe


class _Subscription:
    """One subscription; an object of its own, since the same listener may subscribe twice."""

    __slots__ = ("_listener",)

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def __call__(self, event: LifecycleEvent) -> None:
        self._listener(event)


def emit(kind: Callable[..., LifecycleEvent], subject: object, *parts: object) -> None:
    """Make an event of its parts and tell it, if anybody listens; what has no subject tells nothing.

    Raises:
        BaseException: What a listener, or the log of its error, has raised that is no `Exception`, such as SystemExit, when all
            others have been told.
    """
    if not _listeners or subject is None:
        return
    event = kind(subject, *parts)
    to_end: BaseException | None = None
    for listener in list(_listeners):
        if listener not in _listeners:  # one who was told before has ended this subscription
            continue
        try:
            listener(event)
        except Exception:
            raised = report(_logger, "A listener failed on %r", event)
        except BaseException as exc:  # noqa: ASYNC103 - raised below
            raised = exc
        else:
            continue
        to_end = raised if to_end is None else to_end
    if to_end is not None:
        raise to_end


for _public in (LifecycleEvent, *LifecycleEvent.__subclasses__()):
    _public.__module__ = "structmode.events"
subscribe.__module__ = "structmode.events"
