"""What the console has seen happen: since when each service is up, and what went wrong lately.

It keeps texts and numbers, and neither services nor exceptions: to look at a program must not keep anything in it alive.
"""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType
from typing import Self

from structmode import events
from structmode.exceptions import StartAborted
from structmode.utils._told import told
from structmode.utils.graphs._things import label_of

__all__ = ("History",)

_FAILURES = 100


class History:
    """Listens to lifecycle events, as a context."""

    def __init__(self) -> None:
        #: What went wrong, oldest first.
        self.failures: deque[str] = deque(maxlen=_FAILURES)
        # By id. Services that run are alive, so no two have the same; the others are dropped.
        # Not on the event loop's clock: events come from the loops of other threads, too.
        self._up_since: dict[int, float] = {}
        self._last_reason = 0

    def __enter__(self) -> Self:
        self._unsubscribe = events.subscribe(self._on_event)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._unsubscribe()

    def uptime(self, service: object) -> float | None:
        """Return for how many seconds a service has been up; None if it was before the console was."""
        since = self._up_since.get(id(service))
        return None if since is None else time.monotonic() - since

    def _on_event(self, event: events.LifecycleEvent) -> None:
        match event:
            case events.Started(subject):
                self._up_since[id(subject)] = time.monotonic()
            case events.Stopped(subject):
                self._up_since.pop(id(subject), None)
            case events.Crashed(_, reason):
                # Told first of where it was, and then of those above.
                if id(reason) != self._last_reason:
                    self._last_reason = id(reason)
                    self._note(event, "crashed", reason)
            case events.StartFailed(subject, reason):
                self._up_since.pop(id(subject), None)
                if not isinstance(reason, StartAborted):  # that was asked for
                    self._note(event, "did not start", reason)
            case events.TickFailed(_, timer, error):
                self._note(event, f"{timer} failed", error)
            case events.TaskFailed(_, task, error):
                self._note(event, f"{task} failed", error)
            case _:
                pass

    def _note(self, event: events.LifecycleEvent, what: str, reason: BaseException) -> None:
        now = time.strftime("%H:%M:%S")
        self.failures.append(f"{now} {label_of(event.subject)}: {what}: {told(reason)}")
