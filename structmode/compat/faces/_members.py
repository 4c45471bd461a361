"""What programs reach for in a service of mode's beyond its manual: the private names, and what they do.

`ModeMembers` is mixed into every face that is a service. It holds no state of a service's life; that is the engine's, and
each name here is a view of it or a message to it. Where mode and structmode mean different things by the same name, this
is where mode's meaning is.
"""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, ClassVar, Self, cast

import anyio
import anyio.lowlevel

from structmode import _engine as engine, services
from structmode._claims import name_of
from structmode._declare import Body, CrontabTask, ServiceTask, TimerTask
from structmode._unit import ServiceUnit, rest_of, service_of
from structmode.timers import Timer
from structmode.utils.times import Seconds, want_seconds
from structmode.utils.trees import Node

from ._asyncio import EarlyWork, future_of, get_event_loop
from ._flags import CrashedFlag, ShutdownFlag, StartedFlag, StoppedFlag
from ._lives import ModeLife, is_overridden
from ._tasks import decorator_of_mode, of_mode

PublicService = services.Service

__all__ = ("Guest", "ModeMembers", "ModeUnit")


class ModeUnit(ServiceUnit):
    """A service of mode's as the engine sees it."""

    of_mode = True

    _service: Any

    def set_up(self) -> Coroutine[Any, Any, None] | None:
        self._service._has_been_started = True
        self._service._told_to_stop = False
        self._service._last_crash = None
        return super().set_up()

    async def renew(self) -> None:
        # mode makes nothing anew in a restart, but for what a reset does: what __post_init__ made is still there.
        self._service.service_reset()
        await self._hook("on_restart")

    def work(self) -> list[engine.Task[Any]]:
        service = self._service
        begun_early: list[engine.Task[Any]] = [
            engine.Task(partial(service._carry_early, early), early.name)
            for early in service._begun_early
        ]
        return begun_early + [
            engine.Task(
                partial(service._carry_declared, declared),
                f"{service.shortlabel}.{declared.name}",
                finite=declared.finite,
            )
            for declared in service._declared
        ]

    async def ready(self) -> None:
        service = self._service
        service._is_coming_up = True
        # Nobody goes on waiting; until now that would have kept children from being started.
        if service.crashed or service._stop_awaits_start:
            service._life.current.signal.set()
        try:
            await rest_of(super().ready())
        finally:
            service._is_coming_up = False

    async def tear_down(self) -> None:
        if self._service._will_be_replaced:
            return
        if not self._service._told_to_stop and is_overridden(self._service, "stop"):
            await self._service.stop()  # of mode's parents each calls that of its children
        await rest_of(super().tear_down())

    def on_failure(self, exc: BaseException, origin: str, fate: engine.Fate) -> None:
        if fate == "unreceived" and self._service._receive_failure(exc):
            return
        super().on_failure(exc, origin, fate)


def _upwards(run: engine.Run) -> Iterator[engine.Run]:
    """Yield a run and those above it that are of mode's services, from below, and out of threads."""
    above: engine.Run | None = run
    while above is not None and getattr(above.unit, "of_mode", False):
        yield above
        service = service_of(above.unit)
        leaves_thread = above is not service._outer.current and above is service._life.current
        above = service._outer.current if leaves_thread else above.parent


def _would_crash(run: engine.Run) -> Iterator[engine.Run]:
    """Yield the runs that a crash in a run would reach, from below: those above, up to a supervisor that deals with it."""
    for one in _upwards(run):
        if one is not run and getattr(one.unit, "_deals_with_failures", False):
            return
        yield one


def _note(runs: Iterable[engine.Run], reason: BaseException) -> None:
    """Have the services of runs know of a crash, if they know of none."""
    for one in runs:
        service = service_of(one.unit)
        if service._last_crash is None:
            service._last_crash = reason


def _starting(run: engine.Run) -> engine.Run | None:
    """Return the first run that is starting, of those that a crash would reach."""
    return next((one for one in _would_crash(run) if one.state is engine.State.STARTING), None)


def _foresee(run: engine.Run, reason: BaseException) -> None:
    """Have all that a crash in a run will reach know of it, and end their waits."""
    reached = list(_would_crash(run))
    _note(reached, reason)
    for one in reached:
        is_up = service_of(one.unit)._is_coming_up or one.state is engine.State.RUNNING
        if is_up and _is_here(one):
            one.signal.set()


def _is_here(run: engine.Run) -> bool:
    """Whether a run is one of the event loop that runs here."""
    return run._token == engine.token_here()


async def _until_settled(run: engine.Run) -> None:
    """Wait for a start to end; in a thread it may be a little longer, as nothing tells it when what is outside of it is up."""
    await (run.settled.wait() if _is_here(run) else anyio.sleep(_LOOK_EVERY))


def _as_service(thing: Any) -> Any:
    """Return a service as it is, and for what only behaves like one, a service that starts and stops it."""
    is_service = isinstance(thing, type) or issubclass(type(thing), PublicService)
    behaves_like_one = hasattr(thing, "maybe_start") and hasattr(thing, "stop")
    return Guest(thing) if behaves_like_one and not is_service else thing


def _node_or_none(beacon: object) -> Node[Any] | None:
    return beacon if isinstance(beacon, Node) else None  # pyright: ignore[reportUnknownVariableType]


class ModeMembers(PublicService):
    """Gives a face the private names of mode's, and mode's own meaning of some that are not.

    Args:
        beacon: As in mode: a node below which the service is put in the tree.
        loop: The event loop that the service is for; by default the one that is current when it is asked for.
        **kwargs: Arguments of the face.
    """

    abstract: ClassVar[bool] = True

    # Names that mode does not have are free in its programs, and of its own they may have replaced any.
    _names_taken: ClassVar[frozenset[str]] = frozenset()

    restart_count: int = 0
    _loop: Any = None
    _has_been_started: bool = False
    _told_to_stop: bool = False
    _last_crash: BaseException | None = None
    _is_coming_up: bool = False
    # Whether work of its own has told it to stop, and waits for the end of the start.
    _stop_awaits_start: bool = False
    _begun_early: tuple[EarlyWork, ...] = ()
    # What the class of structmode's behind a face takes beside the arguments that all take.
    _taken: tuple[tuple[Any, ...], Mapping[str, Any]] = ((), {})
    # What work has failed of, while `crash` is called for it.
    _failed_work: tuple[BaseException, ...] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.abstract = False  # in mode that is so for every subclass, whatever it says of itself

    def __init__(self, *, beacon: Any = None, loop: Any = None, **kwargs: Any) -> None:
        self._loop = loop
        place = _node_or_none(beacon)
        positional, named = self._taken
        super().__init__(*positional, beacon=place, loop=loop, **{**kwargs, **named})
        if beacon is not None and place is None:
            self._beacon = beacon.new(self)  # something that behaves like a node

    def _take(self, *positional: Any, **named: Any) -> None:
        """Keep what a face takes for the class behind it: classes of a program may come in between, and know nothing of it."""
        self._taken = (positional, named)

    def _init_other_bases(self, beacon: Any, loop: Any) -> None:
        """Do nothing: classes that were written for mode initialise their other bases themselves, if at all."""

    def _make_unit(self) -> ServiceUnit:
        return ModeUnit(self)

    def _make_life(self) -> engine.Life:
        return ModeLife(self._unit)

    # -- The event loop, which in mode each service holds

    @property
    def loop(self) -> Any:
        """The event loop that the service is for; found when it is first asked for, and then kept."""
        if engine.token_here() is not None and engine.on_trio():
            return super().loop  # which says what to use instead
        if self._loop is None:
            self._loop = get_event_loop()
        return self._loop

    @loop.setter
    def loop(self, loop: Any) -> None:
        self._loop = loop

    # -- The tree

    @property
    def beacon(self) -> Any:
        """Its place in the tree of services."""
        return self._beacon

    @beacon.setter
    def beacon(self, beacon: Any) -> None:
        self._beacon = beacon

    def add_dependency(self, service: Any) -> Any:
        """Make a service start and stop with this one; also one that only behaves like a service."""
        super().add_dependency(_as_service(service))
        return service

    def _show_below(self, child: Any) -> None:
        if _node_or_none(self._beacon) and _node_or_none(child._beacon):
            super()._show_below(child)

    async def add_runtime_dependency(self, service: Any) -> Any:
        """Make a service start and stop with this one, and start it now, if this one runs."""
        await super().add_runtime_dependency(_as_service(service))
        return service

    @property
    def _children(self) -> list[Any]:
        lives = cast("Iterable[Any]", self._life.current.children or self._life.children)
        return [service_of(life.unit) for life in lives]

    # -- Its name

    @property
    def label(self) -> str:
        """Its name in graphs and reports."""
        return self._repr_name()

    def _repr_name(self) -> str:
        return super().label

    # -- State

    @property
    def _started(self) -> StartedFlag:
        return StartedFlag(self)

    @property
    def _stopped(self) -> StoppedFlag:
        return StoppedFlag(self)

    @property
    def _crashed(self) -> CrashedFlag:
        return CrashedFlag(self)

    @property
    def _shutdown(self) -> ShutdownFlag:
        return ShutdownFlag(self)

    @property
    def started(self) -> bool:
        """Whether it has been started, and not been reset since; also when it has stopped."""
        return self._started.is_set()

    # -- Life

    async def start(self) -> None:
        """Start the service; as in structmode. One that was told to stop before, and not reset since, does not start."""
        if not self._outer.alive:
            self._told_to_stop = False
            self._last_crash = None
        if self._is_called_off:
            self._has_been_started = True
            await anyio.lowlevel.checkpoint()
            return
        try:
            await super().start()
        except BaseException:
            self._has_been_started = self._outer.alive
            if not self._outer.alive:
                self._cancel_early()
            raise

    start.of_mode = True  # type: ignore[attr-defined]

    async def maybe_start(self) -> bool:
        """Start the service, unless it has been started, and not been reset since."""
        if self._outer.alive:
            return await super().maybe_start()
        if self._has_been_started:
            await anyio.lowlevel.checkpoint()
            return False
        await self.start()
        return True

    maybe_start.of_mode = True  # type: ignore[attr-defined]

    @property
    def _is_called_off(self) -> bool:
        """Whether it was told to stop, or crashed, before it was started."""
        run = self._outer.current
        return run.state is engine.State.NEW and self.should_stop

    async def stop(self) -> None:
        """Stop the service; as in structmode. The hooks of one that was never started are called all the same."""
        self._told_to_stop = True
        # In on_stop it says nothing new, nor that a restart is called off.
        if self._life.current.called_from_own_hook("tear_down"):
            await anyio.lowlevel.checkpoint()
            return
        if self._outer.current.state is engine.State.NEW and not self._stopped.is_set():
            self._stopped.set()
            await self.on_stop()
            await self._default_stop_children()
            for early in self._begun_early:
                await early.end()
            await self.on_shutdown()
        await self._let_own_start_end()
        try:
            await super().stop()
        except BaseException as exc:  # noqa: ASYNC103 - no cancellation is a crash
            if not self._has_recorded(exc):
                raise
        for child in self._started_anew():
            await child.stop()

    async def _let_own_start_end(self) -> None:
        """In work of the service, wait for a start to end: in mode that goes on, whoever tells the service to stop."""
        if not self._is_called_by_own_work():
            return
        while (run := self._own_start()) is not None:
            self._stop_awaits_start = True
            if self._is_coming_up:
                self._life.current.signal.set()
            try:
                await _until_settled(run)
            finally:
                self._stop_awaits_start = False

    def _is_called_by_own_work(self) -> bool:
        runs = {self._outer.current, self._life.current}
        return any(run.contains_caller() and not run.called_from_hook() for run in runs)

    def _own_start(self) -> engine.Run | None:
        """Return its run that is starting: the one inside, or that of the thread that it is in."""
        runs = (self._life.current, self._outer.current)
        return next((run for run in runs if run.state is engine.State.STARTING), None)

    def _has_recorded(self, failure: BaseException) -> bool:
        """Whether what a stop or a restart failed of is a crash that is known already, and so no failure of that.

        It may have been on its way out of a thread when the other began.
        """
        return failure is self._last_crash or failure is self.crash_reason

    def _started_anew(self) -> list[Any]:
        """Return what was restarted below after a crash had stopped all: it is nobody's then, but in mode it is still here."""
        return [
            child
            for child in reversed(self._children)
            if child._outer.alive and child._outer.current.parent is None
        ]

    stop.of_mode = True  # type: ignore[attr-defined]

    async def restart(self) -> None:
        """Restart the service; as in structmode. One that does not run is told to stop all the same, and started."""
        if not self._outer.alive or self._restarts_by_its_start:
            await self.stop()
            self.service_reset()
            await self.on_restart()
            await self.start()
            return
        try:
            await super().restart()
        except BaseException as exc:  # noqa: ASYNC103 - no cancellation is a crash
            if self._outer.alive or not self._has_recorded(exc):
                raise
        else:
            return
        await super().restart()  # it has ended, and can be started

    @property
    def _restarts_by_its_start(self) -> bool:
        """Whether its `start`, which a class overrides, is to be called in a restart; one from inside would not outlast that."""
        runs = {self._outer.current, self._life.current}
        is_inside = any(run.called_from_hook() or run.contains_caller() for run in runs)
        return is_overridden(self, "start") and not is_inside

    def service_reset(self) -> None:
        """Have the service, and those it is made of, be as if never started; one that runs goes on."""
        self._has_been_started = self._told_to_stop = False
        self.restart_count += 1
        if not self._outer.alive:
            super().service_reset()
            self._forget_crash()
            self._stopped.clear()
        for child in self._children:
            if isinstance(child, ModeMembers) or (
                isinstance(child, PublicService) and not child.started
            ):
                child.service_reset()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await engine.shielded(self.stop)  # noqa: ASYNC102 - it is bounded by shutdown_timeout
        finally:
            reason = self.crash_reason
            self.service_reset()
            self._last_crash = reason

    # -- Crashes

    @property
    def _will_be_replaced(self) -> bool:
        """Whether it has crashed, and its supervisor puts another in its place.

        In mode it is left behind then, and not stopped: the other one may go on with what it had, as Faust's agents do with
        a stream.
        """
        replacement = getattr(self.supervisor, "replacement", None)
        return replacement is not None and self._outer.current.failure_dealt_with

    @property
    def crash_reason(self) -> BaseException | None:
        """What it crashed of, if it did; after an ``async with`` block, what it crashed of there, until the next start."""
        reason = super().crash_reason
        return self._last_crash if reason is None else reason

    @crash_reason.setter
    def crash_reason(self, reason: BaseException | None) -> None:
        if reason is None:
            self._forget_crash()
        else:
            self._mark_crashed(reason)

    @property
    def _crash_reason(self) -> BaseException | None:
        return self.crash_reason

    def _crash(self, reason: Any) -> None:
        """Crash, whether it runs or not."""
        error: BaseException = reason() if isinstance(reason, type) else reason
        if not self._outer.alive:
            self._mark_crashed(error)
        elif not self._crash_later(error):
            self._outer.fail(error, "_crash()")

    async def crash(self, reason: BaseException) -> None:
        """Crash the service; as in structmode, but no start fails of it."""
        if any(reason is failure for failure in self._failed_work):
            if not await self._is_only_recorded(reason):
                engine.current_run().fail(reason, "crash()")  # type: ignore[union-attr]
        elif self._crash_later(reason):
            await anyio.lowlevel.checkpoint()
        else:
            await super().crash(reason)

    crash.of_mode = True  # type: ignore[attr-defined]

    def _crash_later(self, reason: object) -> bool:
        """Crash when all has been started that a crash would keep from it; return whether there is such a thing."""
        run = self._life.current
        if not run.accepts or not _is_here(run) or _starting(run) is None:
            return False
        if not isinstance(reason, BaseException):  # refused by those who are called then
            return False

        async def crash() -> None:  # noqa: ASYNC124 - it is to be a task
            raise reason

        super().add_future(self._carry(crash(), told=True), name="crash()")
        _foresee(run, reason)
        return True

    def _mark_crashed(self, reason: BaseException) -> None:
        """Record a crash of a service that does not run, and of those that it is made of."""
        marked: list[Any] = [self]
        for service in marked:  # grows while it is walked
            if service.crashed:
                continue
            for life in {service._outer, service._life}:
                life.current.crash_reason = reason
                life.current.signal.set()
            marked.extend(service._children)

    def _forget_crash(self) -> None:
        self._last_crash = None
        for life in {self._outer, self._life}:
            run = life.current
            if run.crash_reason is not None:
                run.crash_reason = None
                run.signal = engine.StopSignal()

    def _receive_failure(self, exc: BaseException) -> bool:
        """Deal with a failure that no owner receives: it crashes the services above, as the tree shows them.

        Returns whether there was anybody.
        """
        if not self._outer.alive:
            self._mark_crashed(exc)
        if self.supervisor is not None:
            self.supervisor.wakeup()
            return True
        above = list(self._above())
        for service in above:
            if service._outer.alive:
                service._outer.fail(exc, self.label)
                return True
            service._mark_crashed(exc)
        return bool(above)

    def _above(self) -> Iterator[Any]:
        place = _node_or_none(self._beacon)
        while place is not None and (place := place.parent) is not None:
            if isinstance(place.data, ModeMembers):
                yield place.data

    # -- Work

    @classmethod
    def task(cls, fun: Any = None, **settings: Any) -> Any:
        """Declare a method to be run in the background; as in structmode."""
        declared: Any = super().task(fun, **settings)
        change: Any = of_mode if isinstance(declared, ServiceTask) else decorator_of_mode
        return change(declared)

    @classmethod
    def timer(cls, *args: Any, **kwargs: Any) -> Callable[[Body[Any]], TimerTask]:
        """Declare a method to be run every so many seconds; as in structmode."""
        return decorator_of_mode(super().timer(*args, **kwargs))

    @classmethod
    def crontab(cls, *args: Any, **kwargs: Any) -> Callable[[Body[Any]], CrontabTask]:
        """Declare a method to be run at the times of a cron line; as in structmode."""
        return decorator_of_mode(super().crontab(*args, **kwargs))

    def add_future(self, coro: Any, *, name: str | None = None) -> Any:
        """Run something in the background; as in structmode, but what is returned is a future of asyncio.

        Before the start it is kept until then only where the service's event loop does not run; else it begins at once.
        """
        work = engine.as_coroutine(coro)
        name = name or name_of(coro)
        if self._may_begin_now():
            return future_of(self._begin_early(work, name), name, coro, self.loop)
        try:
            handle = super().add_future(partial(self._carry, work), name=name)
        except BaseException:
            engine.close_all([work])
            raise
        handle.add_done_callback(lambda _: engine.close_all([work]))  # if it has not begun
        if engine.token_here() is not None and engine.on_trio():
            return handle
        return future_of(handle, name, coro, self.loop)

    def _may_begin_now(self) -> bool:
        """Whether it has not been started, and its event loop runs here, and is asyncio's."""
        here = engine.token_here()
        is_new = self._life.current.state is engine.State.NEW
        return (
            is_new and here is not None and not engine.on_trio() and get_event_loop() is self.loop
        )

    def _begin_early(self, work: Coroutine[Any, Any, Any], name: str) -> Any:
        """Begin work before the start, and return its task, which belongs to the service from its start on."""
        early = EarlyWork(work, self._crash, self.loop, name)
        self._begun_early += (early,)

        def forget(_: object) -> None:
            self._begun_early = tuple(other for other in self._begun_early if other is not early)

        early.task.add_done_callback(forget)
        return early.task

    def _cancel_early(self) -> None:
        for early in self._begun_early:
            early.task.cancel()

    async def _carry_early(self, early: EarlyWork) -> None:
        await self._carry(early.take_over())

    async def _carry_declared(self, declared: ServiceTask) -> None:
        await self._carry(declared.work(self))

    async def _carry(self, work: Awaitable[Any], *, told: bool = False) -> Any:
        """Do work in which it is no failure if somebody cancels what it waits for, and whose failure fails no start or stop.

        Args:
            work: What to do.
            told: Whether a `crash` that a class overrides has been called for its failure.
        """
        try:
            return await work
        except anyio.get_cancelled_exc_class():  # noqa: ASYNC103 - it was what is waited for that was cancelled
            if engine.on_trio() or engine.being_cancelled():
                raise
            self._log_mundane(f"Terminating cancelled task: {work!r}")
        except BaseException as exc:
            if is_overridden(self, "crash") and not told:
                await self._call_crash(exc)  # noqa: ASYNC120 - as in mode: the task has ended
            elif not await self._is_only_recorded(exc):  # noqa: ASYNC120 - it holds cancellations off
                raise

    async def _call_crash(self, reason: BaseException) -> None:
        """Have `crash` deal with a failure of work: in mode it is called for each."""
        self._failed_work += (reason,)
        try:
            await self.crash(reason)
        finally:
            self._failed_work = tuple(one for one in self._failed_work if one is not reason)

    async def _is_only_recorded(self, reason: BaseException) -> bool:
        """Wait until a failure of work fails no start, and return whether it is recorded, as it came in a stop."""
        await self._until_all_are_up(reason)
        return self._record_in_stop(reason)

    def _record_in_stop(self, reason: BaseException) -> bool:
        """Record a failure of work, and return whether that is all, as all was well until a stop: no stop fails of it."""
        run: Any = engine.current_run()  # work is always part of one
        reached = list(_would_crash(run))
        _note(reached, reason)
        is_in_stop = any(one.stop_requested for one in _upwards(run))
        if not is_in_stop or any(one.alarm is not None for one in reached):
            return False
        self.log.error("Crashed while stopping: %r", reason, exc_info=reason)
        return True

    async def _until_all_are_up(self, reason: BaseException) -> None:
        """Wait for the starts that a crash would fail: in mode it is recorded at once, and they go on."""
        run: Any = engine.current_run()  # work is always part of one
        with suppress(anyio.get_cancelled_exc_class()):  # what is raised then is the reason
            while (starting := _starting(run)) is not None:
                _foresee(run, reason)
                await _until_settled(starting)

    @property
    def _futures(self) -> set[Any]:
        return {*self._life.current.tasks.alive()} or {early.task for early in self._begun_early}

    async def sleep(self, n: Seconds, *, loop: Any = None) -> None:
        """Sleep, or until the service stops; as in structmode."""
        seconds = want_seconds(n)
        if seconds <= 0.0:
            for _ in range(_TURNS_OF_OTHERS):
                await anyio.lowlevel.checkpoint()
        else:
            await super().sleep(seconds)

    def itertimer(self, interval: Seconds, **kwargs: Any) -> Any:
        """Iterate over the ticks of a timer; as in structmode, or over what stands in the place of ``mode.services.Timer``.

        Tests of programs put something there that gives ticks without waiting for them.
        """
        make: Any = vars(services)["Timer"]
        if make is Timer:
            return super().itertimer(interval, **kwargs)
        kwargs.setdefault("sleep", self.sleep)
        return self._ticks_of(make(interval, **kwargs))

    async def _ticks_of(self, timer: Any) -> AsyncIterator[float]:
        if self.should_stop:
            return
        ticks = aiter(timer)
        try:
            async for seconds in ticks:
                if self.should_stop:
                    return
                yield seconds
                if self.should_stop:
                    return
        finally:
            if isinstance(
                ticks, AsyncGenerator
            ):  # or the event loop would close it later, in a task
                await ticks.aclose()  # noqa: ASYNC102 - it is at a yield

    # -- Steps that mode has as methods

    async def _wait_stopped(self, timeout: Seconds | None = None) -> None:
        await self.wait(timeout=timeout)

    async def _default_stop_children(self) -> None:
        for child in reversed(self._children):
            await child.stop()


# In seconds.
_LOOK_EVERY = 0.01

# What takes turns by way of sleep(0), as Faust's agents do at a queue that they share, has to let the others come first
# who are woken in the same instant. In mode sleep(0) takes so many passes of the event loop.
_TURNS_OF_OTHERS = 3


class Guest(ModeMembers):
    """Starts and stops something that behaves like a service, and is none of structmode's.

    Args:
        thing: What has ``maybe_start`` and ``stop``.
    """

    abstract = False

    def __init__(self, thing: Any) -> None:
        self._thing = thing
        super().__init__()

    @property
    def label(self) -> str:
        """The name of the thing."""
        return str(getattr(self._thing, "label", self._thing))

    async def on_start(self) -> None:
        """Start it."""
        await self._thing.maybe_start()

    async def on_stop(self) -> None:
        """Stop it."""
        await self._thing.stop()
