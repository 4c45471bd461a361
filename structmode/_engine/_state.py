"""The life of a run as one table.

Theory: whoever reads a lifecycle spread over five flags can't say which combinations are possible. Here a run is in
exactly one state, every change of state is a row of `TRANSITIONS`, and what has no row can't happen. Everything that
affects transitions lives in this file; it is pure, so it can be tested without an event loop, and the diagram in the
docs is drawn from it.

A run is never reset. What was stopped stays stopped, and a restart is a new run.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType


class State(enum.Enum):
    """Where a run is between its start and its stop."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"

    # Members are compared by identity: so may they be hashed, which is done often.
    __hash__ = object.__hash__

    def __init__(self, value: str) -> None:
        #: Whether a task of the run exists: it has begun and has not ended.
        self.alive = value in {"starting", "running", "stopping"}


class Trigger(enum.Enum):
    """What moves a run from one state to the next."""

    START = "start"
    READY = "ready"
    STOP = "stop"
    END = "end"

    __hash__ = object.__hash__


TRANSITIONS: Mapping[tuple[State, Trigger], State] = MappingProxyType(
    {
        (State.NEW, Trigger.START): State.STARTING,
        (State.STARTING, Trigger.READY): State.RUNNING,
        # A start that fails or is called off is undone by the very steps of a stop.
        (State.STARTING, Trigger.STOP): State.STOPPING,
        (State.RUNNING, Trigger.STOP): State.STOPPING,
        (State.STOPPING, Trigger.END): State.STOPPED,
    }
)


class IllegalTransitionError(RuntimeError):
    """A row that the table does not have: a fault of the engine, never of its user."""


def advance(state: State, trigger: Trigger) -> State:
    """Return the state that follows, or raise `IllegalTransitionError`."""
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        raise IllegalTransitionError(
            f"a run that is {state.value} can't {trigger.value}"
        ) from None
