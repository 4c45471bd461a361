"""How well services are: for probes that ask every few seconds, and for people.

Theory: *Who knows what.* Whether a service starts, runs, stops or has crashed, the engine knows. Whether one that runs can do its
work, only the service itself knows; it says so with a reason, and takes that back. The two together are its `Status`.

*A tree is as well as its top.* A service that starts is not up before all that it is made of is, and a crash comes up to
the top unless a supervisor deals with it. So the top's own status says nearly all about the tree, and what is below can
only degrade it: a supervised service that has failed and is about to be restarted makes a tree degraded, and not failed,
since to mend that is what the supervisor is for.

*Not ready first.* A stop is told in the instant in which it is asked for, before anything is taken down. So whoever sends
work to a tree learns of its stop while all of it can still do that work; `Service.on_stop` of the top is the place to give
them the time to see it.

*Asking changes nothing.* A report is a value, made of what is there at the moment, in any thread, and nothing waits for it.
What a service has said of itself belongs to its run: it ends with the run, and what is left of a former run says nothing.
"""

from __future__ import annotations

import enum
import threading
import weakref
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from structmode import _engine as engine
from structmode._mixing import HasLife, life_of
from structmode._unit import service_of
from structmode.events import Degraded, Recovered
from structmode.exceptions import StartAborted
from structmode.utils._told import told

__all__ = ("Health", "Member", "Report", "Status", "health_of")


class Status(enum.Enum):
    """How a service is."""

    #: It does not run, and nothing is wrong: it has not been started, or has been stopped.
    STOPPED = "stopped"
    #: It is being started.
    STARTING = "starting"
    #: It runs, and has nothing to complain of.
    READY = "ready"
    #: It runs, and something is amiss, of which it has told the reason.
    DEGRADED = "degraded"
    #: It has been told to stop, and has not ended.
    STOPPING = "stopping"
    #: It has crashed, or its start has failed.
    FAILED = "failed"

    @property
    def up(self) -> bool:
        """Whether it runs: ready, or degraded."""
        return self in {Status.READY, Status.DEGRADED}


@dataclass(frozen=True)
class Member:
    """One service of a tree, at the time of a report.

    Attributes:
        label: Its name.
        depth: How many services it is below the top.
        status: How it is.
        reasons: Why it is degraded, or what it has failed of.
        able: Whether it can do its work in spite of what it is degraded by.
    """

    label: str
    depth: int
    status: Status
    reasons: tuple[str, ...] = ()
    able: bool = True

    def __str__(self) -> str:
        why = f" ({'; '.join(self.reasons)})" if self.reasons else ""
        return f"{self.label}: {self.status.value}{why}"


@dataclass(frozen=True)
class Report:
    """How a tree of services is, at one time. `str` of it is a tree for people.

    Attributes:
        members: The services, each before those below it, the top first.
    """

    members: tuple[Member, ...]

    @property
    def status(self) -> Status:
        """The status of the tree: that of its top, or degraded, if the top is ready and something below is not well."""
        top = self.members[0].status
        return Status.DEGRADED if top is Status.READY and self.unwell else top

    @property
    def ready(self) -> bool:
        """Whether the tree can be given work: its top runs, and nothing in it has said that it is unable to."""
        return self.status.up and all(member.able for member in self.members)

    @property
    def unwell(self) -> tuple[Member, ...]:
        """Those that are neither ready nor at rest."""
        well = {Status.READY, Status.STOPPED}
        return tuple(member for member in self.members if member.status not in well)

    def as_dict(self, limit: int = 1000) -> dict[str, Any]:
        """Return what there is to know as what JSON can say.

        Args:
            limit: How many services to name; those below them are counted only.
        """
        return {
            "status": self.status.value,
            "ready": self.ready,
            "services": [
                {
                    "label": member.label,
                    "depth": member.depth,
                    "status": member.status.value,
                    "reasons": list(member.reasons),
                }
                for member in self.members[:limit]
            ],
            "more": max(0, len(self.members) - limit),
        }

    def __str__(self) -> str:
        return "\n".join(f"{'  ' * member.depth}{member}" for member in self.members)


class _Complaints:
    """What one run has said of itself: each reason as often as it was given, and whether the service is able in spite of it."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.disabling: set[str] = set()


# What runs have said of themselves; they may do so in threads, in signal handlers, and in finalisers.
_complaints: weakref.WeakKeyDictionary[engine.Run, _Complaints] = weakref.WeakKeyDictionary()
_lock = threading.RLock()


class Health:
    """The health of one service: what the service says of itself, and what others read. `Service.health` is it.

    All methods may be called in any thread, and wait for nothing.

    Args:
        service: A `Service` or a `ServiceMixin`.

    Raises:
        TypeError: If it is neither.
    """

    def __init__(self, service: HasLife) -> None:
        life = life_of(service)
        if life is None:
            raise TypeError(f"{service!r} is no service: only services have a health")
        self._life = life

    def __repr__(self) -> str:
        return f"<Health of {self._life.unit.label}: {self.status.value}>"

    # -- To be read

    @property
    def status(self) -> Status:
        """How the service itself is, whatever is below it."""
        return _look_at(self._life.unit, self._life.run, 0).status

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is degraded, or what it has failed of."""
        return _look_at(self._life.unit, self._life.run, 0).reasons

    @property
    def ready(self) -> bool:
        """Whether the service and all below it can be given work: `Report.ready`."""
        return self.report().ready

    def report(self) -> Report:
        """Return how the service is, and all below it."""
        return Report(tuple(_walk(self._life)))

    # -- To be said by the service

    def degrade(self, reason: str, *, able: bool = True) -> None:
        """Say that something is amiss, until `recover` is called with the same reason, or the run ends.

        Said twice, it has to be taken back twice. Before a start it is said of the run to come.

        Args:
            reason: What is amiss, for people. Each reason is one entry: what changes all the time, such as a number,
                belongs in the log.
            able: Whether the service can do its work all the same. If not, the tree is not ready.

        Raises:
            TypeError: If the reason is no text.
        """
        run = _inner(self._life).addressed_or_upcoming()
        if run is not None:
            _complain(run, reason, able=able)

    def recover(self, reason: str | None = None) -> None:
        """Take a reason back; what was not said is no error.

        Args:
            reason: The reason; None for all of them, however often each was given.
        """
        run = _inner(self._life).addressed_or_current()
        if run is None:
            return
        if reason is not None:
            _take_back(run, reason)
            return
        for one in _said_of(run)[0]:
            _take_back(run, one, all_times=True)

    @contextmanager
    def degraded(self, reason: str, *, able: bool = True) -> Generator[None]:
        """Be degraded for the length of a ``with`` block.

            with self.health.degraded("no connection to the broker", able=False):
                await self.reconnect()

        Args:
            reason: What is amiss, for people.
            able: Whether the service can do its work all the same.

        Raises:
            TypeError: If the reason is no text.
        """
        run = _inner(self._life).addressed_or_upcoming()
        if run is None:  # what is left of a former run
            yield
            return
        _complain(run, reason, able=able)
        try:
            yield
        finally:
            _take_back(run, reason)


def health_of(service: HasLife) -> Health:
    """Return the health of a service of either face.

    Raises:
        TypeError: If it is no service.
    """
    return Health(service)


# --- What is said ---------------------------------------------------------------------------------


def _complain(run: engine.Run, reason: str, *, able: bool) -> None:
    if not isinstance(reason, str):
        raise TypeError(
            f"a reason to be degraded is a text for people, and not {reason!r}; for an exception that is str(exc)"
        )
    with _lock:
        complaints = _complaints.setdefault(run, _Complaints())
        complaints.counts[reason] += 1
        is_new = complaints.counts[reason] == 1
        if not able:
            complaints.disabling.add(reason)
    if is_new:
        _tell(run, Degraded, reason)


def _take_back(run: engine.Run, reason: str, *, all_times: bool = False) -> None:
    with _lock:
        complaints = _complaints.get(run)
        if complaints is None or reason not in complaints.counts:
            return
        complaints.counts[reason] -= 1
        if complaints.counts[reason] and not all_times:
            return
        del complaints.counts[reason]
        complaints.disabling.discard(reason)
    _tell(run, Recovered, reason)


def _tell(run: engine.Run, kind: type[Degraded | Recovered], reason: str) -> None:
    service = service_of(run.unit)
    engine.emit(kind, service, reason)
    log = getattr(service, "log", None)
    if log is None:  # the other face has no log of its own
        return
    if kind is Degraded:
        log.warning("Degraded: %s", reason)
    else:
        log.info("Recovered from: %s", reason)


def _said_of(run: engine.Run) -> tuple[tuple[str, ...], bool]:
    """Return the reasons, in the order in which they were given, and whether the service is able in spite of them."""
    with _lock:
        complaints = _complaints.get(run)
        if complaints is None:
            return (), True
        return tuple(complaints.counts), not complaints.disabling


# --- What is read ---------------------------------------------------------------------------------


def _inner(life: engine.Life) -> engine.Life:
    """Return the life that a service speaks of itself in: in a thread of its own that is another than its owner's."""
    inner: engine.Life = getattr(service_of(life.unit), "_life", life)
    return inner


def _walk(top: engine.Life) -> Iterator[Member]:
    """Yield the members of a tree; each once, however many need it."""
    pending: list[tuple[engine.Unit, engine.Run | None, int]] = [(top.unit, top.run, 0)]
    seen: set[int] = set()
    while pending:
        unit, run, depth = pending.pop()
        if id(unit) in seen:
            continue
        seen.add(id(unit))
        yield _look_at(unit, run, depth)
        below = [(one, of_it, depth + 1) for one, of_it in _below(unit, run)]
        pending.extend(reversed(below))


def _below(
    unit: engine.Unit, run: engine.Run | None
) -> Iterator[tuple[engine.Unit, engine.Run | None]]:
    inner: engine.Life | None = getattr(service_of(unit), "_life", None)
    run = run if inner is None else inner.run
    if run is not None and run.needs is not None:
        yield from ((need.unit, need) for need in run.needs.acquired)
    if run is not None and run.state.alive:
        children = cast("Sequence[engine.Life]", run.children)
    else:
        children = inner.children if inner is not None else ()
    yield from ((child.unit, child.run) for child in tuple(children))


def _look_at(unit: engine.Unit, run: engine.Run | None, depth: int) -> Member:
    inner: engine.Life | None = getattr(service_of(unit), "_life", None)
    speaking = run if inner is None else inner.run
    status = _status(run)
    if status is Status.READY and speaking is not run:  # its thread may not be as far
        status = _status(speaking)
        status = Status.STARTING if status is Status.STOPPED else status
    if status is Status.FAILED:
        return Member(unit.label, depth, status, _failure_of(run) or _failure_of(speaking))
    if status is not Status.READY or speaking is None:
        return Member(unit.label, depth, status)
    reasons, able = _said_of(speaking)
    return Member(unit.label, depth, Status.DEGRADED if reasons else status, reasons, able)


def _status(run: engine.Run | None) -> Status:
    if run is None:
        return Status.STOPPED
    if _what_it_failed_of(run) is not None:
        return Status.FAILED
    if not run.state.alive:
        return Status.STOPPED
    if run.signal.is_set():
        return Status.STOPPING
    return Status.STARTING if run.state is engine.State.STARTING else Status.READY


def _what_it_failed_of(run: engine.Run) -> BaseException | None:
    if run.crash_reason is not None:
        return run.crash_reason
    return None if isinstance(run.start_error, StartAborted) else run.start_error


def _failure_of(run: engine.Run | None) -> tuple[str, ...]:
    failure = None if run is None else _what_it_failed_of(run)
    return () if failure is None else (told(failure),)
