"""What happened to the services of a program, seen from outside: their events, hooks, contexts, and who told them to stop.

Theory: whether the laws of the lifecycle were kept can be read from what happened, in order, if all of it was written
down; how the services work inside does not matter then. So a witness stands between a service and its hooks, and takes
notes. It knows a service from the first event about it, so nobody has to say which services there are.

A `Kind` tells the witness what a kind of services has: its hooks, and the order in which they are legal. Another kind
needs another `Kind`, and nothing else here changes.
"""

from __future__ import annotations

import functools
import inspect
import re
import threading
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, cast

import anyio

from structmode import _engine as engine
from structmode._mixing import life_of
from structmode.events import (
    Crashed,
    LifecycleEvent,
    Started,
    StartFailed,
    Starting,
    Stopped,
    Stopping,
    subscribe,
)
from structmode.facet import ServiceMixin
from structmode.services import Service
from structmode.supervisors import SupervisorStrategy
from structmode.threads import ServiceThread
from structmode.utils.times import want_seconds

__all__ = (
    "FACET",
    "KINDS",
    "SERVICE",
    "SUPERVISOR",
    "THREAD",
    "Call",
    "Entry",
    "Kind",
    "RunRecord",
    "Witness",
    "kind_of",
    "label_of",
    "life_in",
    "owners_of",
)


def _itself(service: Any) -> Any:
    """Return the service."""
    return service


@dataclass(frozen=True)
class Kind:
    """What a witness has to know of a kind of services.

    Args:
        type: The class of the services; the first kind that fits is taken.
        hooks: The names of the async methods to watch.
        legal: A regular expression for the hooks of one run, in the order in which they began, each followed by a space.
        undone: For a hook, those that must be called if it returned, and must not be called otherwise.
        leave: The hook with which a stop begins.
        farewell: The hook with which it ends, when nothing is left that the service owned.
        timeout: Tells the seconds that the whole stop of a service may take.
        told: The names of the methods by which a service itself is told to stop or to restart; what takes an
            argument tells that one.
        starts: The names of the async methods by which a service itself is started, in the same way; if such a call is
            cancelled, the start is undone.
        contexts: The names of the methods, plain or async, that enter a context and have the service hold it.
        deals_with_failures: Whether failures of the services that it owns go no further.
        handle: Returns what has the methods by which a service is told to stop and to start, if that is not the service.
    """

    type: type
    hooks: tuple[str, ...]
    legal: str
    undone: dict[str, tuple[str, ...]]
    leave: str
    farewell: str
    timeout: Callable[[Any], float]
    told: tuple[str, ...] = ("stop", "restart", "remove_dependency")
    starts: tuple[str, ...] = ("start", "maybe_start", "restart", "add_runtime_dependency")
    contexts: tuple[str, ...] = ()
    deals_with_failures: bool = False
    handle: Callable[[Any], Any] = _itself


SERVICE = Kind(
    type=Service,
    hooks=("on_restart", "on_first_start", "on_start", "on_started", "on_stop", "on_shutdown"),
    legal=r"(on_restart )?(on_first_start )?(on_start (on_started )?)?(on_stop on_shutdown )?",
    undone={"on_start": ("on_stop", "on_shutdown")},
    leave="on_stop",
    farewell="on_shutdown",
    timeout=lambda service: want_seconds(service.shutdown_timeout),
    contexts=("add_context", "add_async_context"),
)
SUPERVISOR = replace(
    SERVICE,
    type=SupervisorStrategy,
    told=(*SERVICE.told, "discard"),
    # A service is watched from its first start on, and that call may be the supervisor's.
    starts=(*SERVICE.starts, "start_service", "restart_service"),
    deals_with_failures=True,
)
THREAD = replace(
    SERVICE,
    type=ServiceThread,
    hooks=(*SERVICE.hooks, "on_thread_started", "on_thread_stop"),
    legal=(
        r"(on_restart )?(on_first_start )?(on_start (on_started (on_thread_started )?)?)?"
        r"(on_stop on_thread_stop on_shutdown )?"
    ),
    undone={"on_start": ("on_stop", "on_thread_stop", "on_shutdown")},
)
FACET = Kind(
    type=ServiceMixin,
    hooks=("start", "stop"),
    legal=r"(start )?(stop )?",
    undone={"start": ("stop",)},
    leave="stop",
    farewell="stop",
    timeout=lambda service: want_seconds(service.graceful_shutdown_timeout),
    told=("stop", "restart"),
    starts=("start", "restart"),
    handle=life_of,
)
#: The kinds of services that structmode has; the first that fits is taken.
KINDS = (SUPERVISOR, THREAD, SERVICE, FACET)


def kind_of(service: object, kinds: Sequence[Kind] = KINDS) -> Kind | None:
    """Return the kind of a service; None if it is of none of them."""
    return next((kind for kind in kinds if isinstance(service, kind.type)), None)


@dataclass(frozen=True)
class Entry:
    """One thing that happened.

    Attributes:
        time: When, on the event loop's clock.
        what: What, and to whom, as text.
    """

    time: float
    what: str


@dataclass
class Call:
    """One call by which a service itself was told to stop, to restart or to start; the numbers are places in the entries.

    Attributes:
        service: The service.
        starts: Whether it was to start.
        began: Where the call began.
        ended: Where it ended.
    """

    service: Any
    starts: bool
    began: int
    ended: int | None = None

    def explains_stop_of(self, run: RunRecord) -> bool:
        """Whether it is a reason for the stop of a run; if it is not, the stop came from above, or from a failure."""
        if run.service is not self.service or run.stopping is None:
            return False
        if self.starts:  # cancelled when the start was complete, and the caller did not know yet
            return self.began < run.began and (self.ended is None or self.ended > run.stopping)
        return run.began < self.began < run.stopping


@dataclass
class RunRecord:
    """What happened in one run of one service; the numbers are places in the witness's entries.

    Attributes:
        service: Whose run it is.
        kind: Its kind.
        owner: The service above it, when it began; None also if that is of no known kind, so that nothing is known of it.
        began: Where it began.
        up: Where its start was complete.
        known: Whether its owner knew that, when its stop began; from a thread it takes a little to get there.
        crashed: Where it crashed.
        stopping: Where its stop began.
        foreign: Whether it stopped because somebody has cancelled what runs in its thread, past all scopes.
        over: Where it was over.
        hooks: Where each hook began, by its name, in order.
        returned: Where each hook that returned did so.
        twice: The hooks that were called more than once.
        entered: Where each context was entered, in order, by its number.
        left: Where each context was left, in order, by its number.
        needs: The services that it held when its start was complete, for which it is no owner.
    """

    service: Any
    kind: Kind
    owner: Any
    began: int
    began_at: float
    up: int | None = None
    known: bool = False
    crashed: int | None = None
    stopping: int | None = None
    foreign: bool = False
    over: int | None = None
    over_at: float | None = None
    stopping_at: float | None = None
    hooks: dict[str, int] = field(default_factory=dict[str, int])
    returned: dict[str, int] = field(default_factory=dict[str, int])
    twice: list[str] = field(default_factory=list[str])
    entered: dict[int, int] = field(default_factory=dict[int, int])
    left: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    needs: list[Any] = field(default_factory=list[Any])

    def stops_of_itself(self, owner: RunRecord) -> bool:
        """Whether it crashed, and its owner deals with that; or its thread has come to an end by itself."""
        return self.foreign or (self.crashed is not None and owner.kind.deals_with_failures)

    def ends_before(self, user: RunRecord) -> bool:
        """Whether it began to stop before the last hook of one who needs it was called."""
        last = max(user.hooks.values(), default=user.began)
        return self.stopping is not None and self.stopping < last

    @property
    def legal(self) -> bool:
        """Whether its hooks were called in a legal order."""
        text = "".join(f"{name} " for name in self.hooks)
        return re.fullmatch(self.kind.legal, text) is not None


class Witness:
    """Takes notes of all that happens to services, while it listens.

    Args:
        kinds: The kinds of services that it knows; of others it sees the events alone.

    Attributes:
        entries: All that happened, in order.
        runs: Each run of each service, in the order in which they began.
        calls: The calls by which a service itself was told to stop, to restart or to start.
        order_of_contexts_is_lost: Whether contexts may be left in any order: asyncio ends its run by cancelling all tasks in
            no order at all, those that hold contexts among them.
    """

    def __init__(self, kinds: Sequence[Kind] = KINDS) -> None:
        self._kinds = kinds
        self.entries: list[Entry] = []
        self.runs: list[RunRecord] = []
        self.calls: list[Call] = []
        self.order_of_contexts_is_lost = False
        self._current: dict[int, RunRecord] = {}
        self._watched: dict[int, Any] = {}
        # Event loops of several threads tell of what happens; at the same time, if they go by real time.
        self._lock = threading.Lock()

    @contextmanager
    def listening(self) -> Generator[None]:
        """Take notes for the length of a block."""
        unsubscribe = subscribe(self._hear)
        try:
            yield
        finally:
            unsubscribe()

    def note(self, what: str) -> int:
        """Write down what happened; returns its place."""
        with self._lock:
            self.entries.append(Entry(anyio.current_time(), what))
            return len(self.entries) - 1

    def text(self, last: int | None = None) -> str:
        """Return what happened as text, a line for each entry; of the last ones only, if so many are asked for."""
        entries = self.entries if last is None else self.entries[-last:]
        start = self.entries[0].time if self.entries else 0.0
        return "\n".join(f"    {entry.time - start:9.3f}  {entry.what}" for entry in entries)

    # -- Events

    def _hear(self, event: LifecycleEvent) -> None:
        service = event.subject
        place = self.note(f"{type(event).__name__} {label_of(service)}")
        if isinstance(event, Starting):
            self._begin(service, place)
        record = self._current.get(id(service))
        if record is None:
            return
        now = self.entries[place].time
        if isinstance(event, Started):
            record.up = place
            record.needs = _needs_of(service)
        elif isinstance(event, Crashed):
            record.crashed = place
        elif isinstance(event, Stopping):
            record.stopping, record.stopping_at = place, now
            record.known = _is_known_to_be_up(service)
            record.foreign = _is_stopped_in_thread(service)
        elif isinstance(event, Stopped | StartFailed):
            record.over, record.over_at = place, now

    def _begin(self, service: object, place: int) -> None:
        kind = kind_of(service, self._kinds)
        if kind is None:
            return
        if id(service) not in self._watched:
            # The handle too: it may be one that exists only as long as it is used.
            self._watched[id(service)] = (service, kind.handle(service))
            self._watch(service, kind)
        now = self.entries[place].time
        owner = _owner_of(service)
        known = owner if kind_of(owner, self._kinds) is not None else None
        record = RunRecord(service, kind, known, place, now)
        self._current[id(service)] = record
        self.runs.append(record)

    # -- Standing between a service and what it calls

    def _watch(self, service: Any, kind: Kind) -> None:
        for name in kind.hooks:
            setattr(service, name, self._watched_hook(service, name, getattr(service, name)))
        handle = kind.handle(service)
        for name in dict.fromkeys((*kind.told, *kind.starts)):
            method = getattr(handle, name)
            watched = (
                self._watched_call
                if inspect.iscoroutinefunction(method)
                else self._watched_plain_call
            )
            setattr(handle, name, watched(service, name, method, kind))
        for name in kind.contexts:
            method = getattr(service, name)
            entering = (
                self._async_entering if inspect.iscoroutinefunction(method) else self._entering
            )
            setattr(service, name, entering(service, method))

    def _watched_hook(
        self, service: Any, name: str, hook: Callable[[], Awaitable[None]]
    ) -> Callable[[], Awaitable[None]]:
        @functools.wraps(hook)
        async def watched() -> None:
            record = self._current[id(service)]
            place = self.note(f"{label_of(service)}.{name} begins")
            if name in record.hooks:
                record.twice.append(name)
            record.hooks.setdefault(name, place)
            try:
                await hook()
            except BaseException as exc:
                self.note(f"{label_of(service)}.{name} ends: {type(exc).__name__}")
                raise
            record.returned[name] = self.note(f"{label_of(service)}.{name} returns")

        return watched

    def _watched_call(
        self, service: Any, name: str, method: Callable[..., Awaitable[Any]], kind: Kind
    ) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(method)
        async def watched(*told: Any, **how: Any) -> Any:
            with self._calling(service, name, told, kind):
                return await method(*told, **how)

        return watched

    def _watched_plain_call(
        self, service: Any, name: str, method: Callable[..., Any], kind: Kind
    ) -> Callable[..., Any]:
        @functools.wraps(method)
        def watched(*told: Any) -> Any:
            with self._calling(service, name, told, kind):
                return method(*told)

        return watched

    @contextmanager
    def _calling(
        self, service: Any, name: str, told: tuple[Any, ...], kind: Kind
    ) -> Generator[None]:
        args = ", ".join(map(label_of, told))
        place = self.note(f"{label_of(service)}.{name}({args}) is called")
        ways = [
            starts for starts in (False, True) if name in (kind.starts if starts else kind.told)
        ]
        calls = [Call(one, starts, place) for one in told or (service,) for starts in ways]
        self.calls += calls
        try:
            yield
        finally:
            for call in calls:
                call.ended = len(self.entries)

    def _entering(self, service: Any, method: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @functools.wraps(method)
        def watched(context: AbstractContextManager[Any]) -> Any:
            return method(_Context(self, service, self._current[id(service)], context))

        return watched

    def _async_entering(
        self, service: Any, method: Callable[[Any], Awaitable[Any]]
    ) -> Callable[[Any], Awaitable[Any]]:
        @functools.wraps(method)
        async def watched(context: AbstractAsyncContextManager[Any]) -> Any:
            return await method(_AsyncContext(self, service, self._current[id(service)], context))

        return watched


class _Watched:
    def __init__(self, witness: Witness, service: Any, record: RunRecord, context: Any) -> None:
        self._witness = witness
        self._label = label_of(service)
        self._record = record
        self._context = context
        self._number = 0

    def _note_entered(self) -> None:
        self._number = len(self._record.entered) + 1
        place = self._witness.note(f"{self._label} enters context {self._number}")
        self._record.entered[self._number] = place

    def _note_left(self) -> None:
        place = self._witness.note(f"{self._label} leaves context {self._number}")
        self._record.left.append((self._number, place))


class _Context(_Watched):
    def __enter__(self) -> Any:
        entered = self._context.__enter__()
        self._note_entered()
        return entered

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        self._note_left()
        suppressed: bool | None = self._context.__exit__(exc_type, exc, traceback)
        return suppressed


class _AsyncContext(_Watched):
    async def __aenter__(self) -> Any:
        entered = await self._context.__aenter__()
        self._note_entered()
        return entered

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        self._note_left()
        suppressed: bool | None = await self._context.__aexit__(exc_type, exc, traceback)  # noqa: ASYNC102 - passed on
        return suppressed


def label_of(service: object) -> str:
    """Return how a service is called in texts."""
    return str(getattr(service, "shortlabel", service))


def life_in(service: Any) -> engine.Life:
    """Return the life in which a service works: of one in a thread, the one inside."""
    inside = service._life if isinstance(service, Service) else life_of(service)
    return cast("engine.Life", inside)


def _owner_of(service: Any) -> Any:
    run = life_in(service).run
    # What is needed by several is owned by none of them; it outlives them all.
    return None if run is not None and run.is_needed else next(owners_of(run), None)


def _needs_of(service: Any) -> list[Any]:
    needs = life_in(service).current.needs
    return [run.unit.subject for run in needs.acquired] if needs is not None else []


def _is_known_to_be_up(service: Any) -> bool:
    life = life_of(service)
    return life is not None and life.run is not None and life.run.was_up


def _is_stopped_in_thread(service: Any) -> bool:
    """Whether a cancellation that no scope has asked for has stopped a thread; elsewhere it stops all, from the root."""
    run = life_in(service).run
    return isinstance(service, ServiceThread) and run is not None and run.stopped_from_outside


def owners_of(run: engine.Run | None) -> Iterator[Any]:
    """Yield the services above that of a run, from the nearest up to the root; through the threads that they are in."""
    while run is not None:
        service: Any = run.unit.subject
        run = service._outer.run if isinstance(service, ServiceThread) else run.parent
        if run is not None and run.unit.subject is not None:
            yield run.unit.subject
