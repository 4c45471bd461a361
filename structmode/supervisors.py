"""Supervisors: services that look after other services, and restart those that fail.

The words are Erlang's. A supervisor owns its services as any parent does: they start when it starts, in order, and stop
before it stops, in reverse order. But a failure of one of them ends with it: the supervisor deals with it. How is what the
strategies differ in:

- `OneForOneSupervisor` restarts the one that failed;
- `OneForAllSupervisor` stops all and starts all again;
- `RestForOneSupervisor` does so with the one that failed and those that were started after it;
- `ForfeitOneForOneSupervisor` leaves the one that failed stopped, `ForfeitOneForAllSupervisor` stops the others too;
- `CrashingSupervisor` deals with nothing, and crashes.

How often, and how soon after each other, is bounded; see `SupervisorStrategy`. The decisions are made in the engine's
`_restarting`, the work is done in `_supervision`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast, get_args

import anyio.lowlevel

from structmode import _engine as engine
from structmode._engine import Backoff, RestartType
from structmode._mixing import life_of
from structmode._supervision import Overseer, Phase, SupervisorUnit, Ward, Wards
from structmode.exceptions import LifecycleError, MaxRestartsExceeded, StartAborted
from structmode.services import Service, seconds_for
from structmode.types.services import ServiceT
from structmode.types.supervisors import ReplacementT, SupervisorStrategyT
from structmode.utils.times import Seconds, want_seconds

__all__ = (
    "AutoShutdown",
    "Backoff",
    "CrashingSupervisor",
    "ForfeitOneForAllSupervisor",
    "ForfeitOneForOneSupervisor",
    "OneForAllSupervisor",
    "OneForOneSupervisor",
    "RestForOneSupervisor",
    "RestartType",
    "Supervised",
    "SupervisorStrategy",
)

AutoShutdown = Literal["any", "all"]


@dataclass(frozen=True)
class Supervised:
    """A service together with how it is to be supervised, where that differs from what the supervisor does with others.

        OneForOneSupervisor(Database(), Supervised(Migration(), restart="temporary", significant=True))

    Args:
        service: The service.
        restart: When it is restarted: "permanent", whenever it ends; "transient", when it failed; "temporary", never, and
            it is forgotten when it has ended. None for what the supervisor's `restart` says.
        shutdown_timeout: How long its stop may take; sets its `shutdown_timeout`. None to leave it as it is.
        significant: Whether the supervisor stops when it has ended for good.

    Raises:
        TypeError: If `service` is no service.
        ValueError: If `restart` is something else, or for a permanent service that is significant: it never ends for good.
    """

    service: ServiceT
    restart: RestartType | None = None
    shutdown_timeout: Seconds | None = None
    significant: bool = False

    def __post_init__(self) -> None:
        _check_service(self.service, "Supervised")
        if self.restart is not None:
            _check_restart(self.restart)
        if self.shutdown_timeout is not None:
            seconds_for("Supervised(shutdown_timeout=...)", self.shutdown_timeout)
        if self.significant and self.restart == "permanent":
            raise ValueError(
                f"{self.service!r} can't be significant and permanent: it never ends for good, so its supervisor never would"
            )


class SupervisorStrategy(Service, SupervisorStrategyT):
    """The base of all strategies; by itself it restarts each service that fails, and no others.

    A supervised service is started and stopped with its supervisor, like a dependency. A failure of one of them while the
    supervisor starts makes the start fail; later it is dealt with, at once. All exceptions are dealt with but those that end
    programs (`KeyboardInterrupt`, `SystemExit` and others that are no `Exception`): these crash the supervisor too.

    A restart that fails counts as a restart, and is tried again. If there would be more than `max_restarts` within `over`
    seconds, the supervisor gives up: it crashes with `raises`, whose ``__cause__`` is the last failure. If it is supervised
    itself, the next one up deals with that; or else its owner is told, as of any crash.

    A strategy of your own overrides `affected_by`, or `restart_services`, or `service_operational`.

    Unlike in mode, services given here are supervised just like added ones; nothing is polled; ``max_restarts=3, over=60``
    means at most three in any minute; and a mending of several services counts as one restart.

    Args:
        *services: The services, in the order in which they are started; `Supervised` ones to say more about one.
        max_restarts: How many restarts there may be within `over` seconds; 0 for none, infinity for any number.
        over: The length of the window in which restarts are counted.
        raises: What to crash with when there would be more; called with a text.
        replacement: Makes the service that takes the place of one that broke: an async function that is called with that
            one, stopped, and with its place among the services, and that returns a new one.
        restart: When services are restarted that do not say so themselves: "transient", when they failed; "permanent",
            whenever they end; "temporary", never.
        backoff: How long to wait before a restart; None for not at all.
        auto_shutdown: Whether the supervisor stops when "any" of its significant services has ended for good, or "all".
        **kwargs: Arguments of `Service`.

    Raises:
        TypeError: If one of the services is none, or an argument is of another type.
        ValueError: If an argument is out of its range.
        LifecycleError: If one of the services has another owner, and runs.
    """

    abstract: ClassVar[bool] = False

    #: Who is restarted with what broke.
    _reach: ClassVar[engine.Reach] = engine.Reach.ONE

    #: Whether failures end here.
    _deals_with_failures: ClassVar[bool] = True

    #: Whether what is done about a failure is a restart.
    _counts_restarts: bool = True

    _unit: SupervisorUnit

    def __init__(
        self,
        *services: ServiceT | Supervised,
        max_restarts: Seconds = 100.0,
        over: Seconds = 1.0,
        raises: type[BaseException] | None = MaxRestartsExceeded,
        replacement: ReplacementT | None = None,
        restart: RestartType = "transient",
        backoff: Backoff | None = None,
        auto_shutdown: AutoShutdown = "any",
        **kwargs: Any,
    ) -> None:
        name = type(self).__name__
        self.max_restarts: float = seconds_for(f"{name}(max_restarts=...)", max_restarts)
        self.over: float = seconds_for(f"{name}(over=...)", over)
        self.raises: type[BaseException] = (
            MaxRestartsExceeded if raises is None else _check_exception_class(raises)
        )
        self.replacement: ReplacementT | None = replacement
        self.backoff: Backoff | None = backoff
        self.auto_shutdown: AutoShutdown = auto_shutdown
        self.default_restart: RestartType = _check_restart(restart)
        self._check_arguments()
        self._wards = Wards()
        super().__init__(**kwargs)
        self.add(*services)

    def _check_arguments(self) -> None:
        name = type(self).__name__
        if self.max_restarts < 0.0:
            raise ValueError(
                f"{name}(max_restarts=...) must be at least 0, not {self.max_restarts:g}"
            )
        if self.over <= 0.0:
            raise ValueError(
                f"{name}(over=...) must be more than 0 seconds, not {self.over:g}: restarts are counted within it"
            )
        if self.replacement is not None and not callable(self.replacement):
            raise TypeError(
                f"{name}(replacement=...) takes an async function of a service and its place, not {self.replacement!r}"
            )
        if self.backoff is not None and not isinstance(self.backoff, Backoff):
            raise TypeError(f"{name}(backoff=...) takes a Backoff(...), not {self.backoff!r}")
        if self.auto_shutdown not in get_args(AutoShutdown):
            raise ValueError(
                f"{name}(auto_shutdown=...) takes 'any' or 'all', not {self.auto_shutdown!r}"
            )

    def _make_unit(self) -> SupervisorUnit:
        return SupervisorUnit(self, deals_with_failures=self._deals_with_failures)

    # -- Which services

    @property
    def services(self) -> Sequence[Service]:
        """The supervised services, in the order in which they are started."""
        return tuple(ward.service for ward in self._wards)

    def add(
        self,
        *services: ServiceT | Supervised,
        restart: RestartType | None = None,
        shutdown_timeout: Seconds | None = None,
        significant: bool = False,
    ) -> None:
        """Supervise more services; if the supervisor runs, they are started at once, in the background.

        If one does not start then, that is a failure like others. One that is supervised here already is left as it is.

        Args:
            *services: The services, or `Supervised` ones.
            restart: When they are restarted, if they do not say so themselves; see `Supervised`.
            shutdown_timeout: How long the stop of each may take.
            significant: Whether the supervisor stops when one of them has ended for good.

        Raises:
            TypeError: If one of them is no service.
            ValueError: As `Supervised`.
            LifecycleError: If one of them has another owner, and runs; or is a service above this one.
        """
        wanted = [self._specify(one, restart, shutdown_timeout, significant) for one in services]
        for spec in wanted:
            self._supervise(spec, None)

    def insert(self, index: int, service: ServiceT | Supervised) -> None:
        """Supervise one more service, in a certain place; if the supervisor runs, it is started at once.

        Args:
            index: Its place among the services, as for ``list.insert``.
            service: The service, or a `Supervised` one.

        Raises:
            TypeError: If it is no service.
            ValueError: As `Supervised`.
            LifecycleError: If it has another owner, and runs; or is a service above this one.
        """
        self._supervise(self._specify(service, None, None, False), index)

    def _specify(
        self,
        service: ServiceT | Supervised,
        restart: RestartType | None,
        shutdown_timeout: Seconds | None,
        significant: bool,
    ) -> Supervised:
        spec = service if isinstance(service, Supervised) else Supervised(service)
        asked = restart if spec.restart is None else spec.restart
        return Supervised(
            spec.service,
            self.default_restart if asked is None else asked,
            shutdown_timeout if spec.shutdown_timeout is None else spec.shutdown_timeout,
            spec.significant or significant,
        )

    def _supervise(self, spec: Supervised, index: int | None) -> None:
        service = _as_service(spec.service)
        if self._ward_of(service) is not None:
            return
        ward = Ward(service, cast("RestartType", spec.restart), significant=spec.significant)
        ward.shutdown_timeout = spec.shutdown_timeout
        self._take_in(ward, index)

    def _take_in(self, ward: Ward, index: int | None) -> None:
        count = len(self._wards)
        place = count if index is None else slice(index, None).indices(count)[0]
        following = self._wards[place] if place < count else None
        self._life.place_child(ward.life, following.life if following else None)
        self._adopt(ward)
        self._unit.note_child(ward.life)
        ward.phase = Phase.NEW if self._life.alive else Phase.WATCHED
        self._wards.insert(place, ward)
        self.wakeup()

    def _take_back(self, ward: Ward) -> None:
        """Give one its place in the tree again, of which the end of its former membership has deprived it."""
        following = self._wards.after(ward)
        self._life.place_child(ward.life, following.life if following else None)
        self._adopt(ward)
        self.wakeup()

    def _adopt(self, ward: Ward) -> None:
        service = ward.service
        service.beacon.reattach(self.beacon)
        service.supervisor = self
        if ward.shutdown_timeout is not None:
            service.shutdown_timeout = want_seconds(ward.shutdown_timeout)

    def discard(self, *services: ServiceT) -> None:
        """Supervise services no more; those that run are stopped, in the background.

        `remove_dependency` does the same to one service, and waits for its end.

        Args:
            *services: The services; those that are not supervised here are passed over.
        """
        for service in services:
            ward = self._ward_of(service)
            if ward is not None:
                self._check_loop("discard", ward)
                self._unit.expect_end(ward.life)
                self._forget(ward)

    def _forget(self, ward: Ward) -> None:
        self._wards.remove(ward)
        ward.service.supervisor = None
        if ward.life.parent is self._life:
            self._life.release_child(ward.life)
        self.wakeup()

    def _ward_of(self, service: object) -> Ward | None:
        return self._wards.of(service)

    def _ward(self, service: ServiceT, call: str) -> Ward:
        ward = self._ward_of(service)
        if ward is None:
            raise LifecycleError(
                f"{call}({service!r}): it is not supervised by {self.label}",
                "Give it to add() first",
            )
        return ward

    def _check_loop(self, call: str, *wards: Ward) -> None:
        """Refuse a call from another event loop, before anything has been changed."""
        for life in (self._life, *(ward.life for ward in wards)):
            life.current.check_loop(f"{call}()")

    def _ward_to_start(self, service: ServiceT, call: str) -> Ward:
        self._check_loop(call)
        ward = self._ward(service, call)
        if not self._life.alive:
            raise LifecycleError(
                f"{call}({service!r}): {self.label} is not running itself",
                "Start the supervisor; its services start with it",
            )
        return ward

    # -- How they are

    def wakeup(self) -> None:
        """Have the supervisor look after its services now, and ask `service_operational` about each if that is overridden.

        Needed only where something else than the end of a service tells whether it is well. Like all that is asked of a
        supervisor that runs, it is to be called on its event loop: a service in a thread of its own may call its own `restart`
        or `crash` there, and what else it wants of its supervisor goes through a `~structmode.threads.MethodQueue` of the owner's.

        Raises:
            EventLoopMismatch: If it is called outside of the event loop that the supervisor was started on.
        """
        self._check_loop("wakeup")
        self._unit.wake()

    def service_operational(self, service: ServiceT) -> bool:
        """Whether there is nothing to be done about a service: it runs, or has ended and is not to be restarted.

        A strategy may override it, to look for more than that, and call `wakeup` to have it asked. It is asked about each
        service that runs then, whenever the supervisor looks after one of them, so it should be quick.

        Args:
            service: One of the supervised services.

        Returns:
            False if the service is to be restarted, or whatever else the strategy does.

        Raises:
            LifecycleError: If it is not supervised here.
        """
        return self._ward(service, "service_operational").phase is not Phase.BROKEN

    def affected_by(self, services: Sequence[ServiceT]) -> Sequence[ServiceT]:
        """Return all services that are to be restarted when these have failed, in order.

        Args:
            services: Some of the supervised services.
        """
        concerned = [ward for service in services if (ward := self._ward_of(service)) is not None]
        broken = [self._wards.place_of(ward) for ward in self._wards.in_order(concerned)]
        return [self._wards[place].service for place in self._reach.of(broken, len(self._wards))]

    @property
    def _looks_for_more(self) -> bool:
        """Whether a strategy tells by itself if a service is well: then it has to be asked of each."""
        return getattr(self.service_operational, "__func__", None) is not _OPERATIONAL

    @property
    def _ends_with_the_significant(self) -> bool:
        ended = [ward.at_rest for ward in self._wards.significant]
        return bool(ended) and all(ended) if self.auto_shutdown == "all" else any(ended)

    def _give_up(self, reason: BaseException | None, who: Ward) -> None:
        why = f"it failed with {reason!r}" if reason is not None else "it ended"
        text = (
            f"{self.shortlabel} gives up: {who.service.shortlabel} would have to be restarted once more ({why}), and there may be "
            f"{self.max_restarts:g} restarts within {self.over:g} s"
        )
        exc = self._to_raise(text)
        exc.__cause__ = reason
        self._life.fail(exc, "supervision")

    def _to_raise(self, text: str) -> BaseException:
        """Return what to crash with; if that can't be made, an error that says so, and says what was to be said."""
        try:
            return self.raises(text)
        except Exception as exc:  # noqa: BLE001 - the reason of the crash must not be lost for it
            return TypeError(
                f"raises={self.raises.__qualname__} is to be a class of exceptions that is called with a text, and that failed: "
                f"{exc!r}. The text: {text}"
            )

    # -- What is done

    async def start_services(self, services: Sequence[ServiceT]) -> None:
        """Start supervised services, in this order; those that run are left as they are.

        Args:
            services: The services.

        Raises:
            LifecycleError: If one is not supervised here, or the supervisor does not run.
            BaseException: What made a start fail; those after it have not been started.
        """
        for service in services:
            await self.start_service(service)

    async def start_service(self, service: ServiceT) -> None:
        """Start one supervised service, unless it runs.

        One that is stopping is started when it has stopped. From a hook of that stop it returns at once, and the start follows.

        Args:
            service: The service.

        Raises:
            LifecycleError: If it is not supervised here, or the supervisor does not run.
            BaseException: What made the start fail. The supervisor is going to restart it then.
        """
        ward = self._ward_to_start(service, "start_service")
        if not await self._is_there_when_it_has_ended(ward):
            return
        with _Starting(ward, self.wakeup):
            await ward.service.maybe_start()

    async def _is_there_when_it_has_ended(self, ward: Ward) -> bool:
        """If one is on its way out, wait for its end; returns whether it is supervised still.

        In a hook of what is on its way out nobody waits for that: the start follows.
        """
        life, run = ward.life, ward.life.current
        is_being_undone = run.state is engine.State.STARTING and not life.is_coming_up(run)
        if not life.alive or not (run.stop_requested or is_being_undone):
            return True
        if run.called_from_hook():
            ward.start_later()
            self.wakeup()
            await anyio.lowlevel.checkpoint()
            return False
        await run.finished.wait()
        return ward in self._wards

    async def restart_services(self, services: Sequence[ServiceT]) -> None:
        """Do what this strategy does when these services have failed.

        Here: all that are affected are stopped, in reverse order; after the back-off, they are started, in order. If the caller
        is cancelled, the restart goes on in the background; so one of the services may call it for itself and the others.

        Args:
            services: Those that failed.

        Raises:
            BaseException: What made a start fail, of a service that is to be restarted again; those after it have not been
                started.
        """
        self._check_loop("restart_services")
        affected = self._at_work(services)
        delay = self._next_delay(services)
        with _InHand(affected, self.wakeup):
            for ward in affected:
                self._log_restart(ward)
                ward.hold(delay)
            await self._restart_held(affected)

    async def _resume(self, services: Sequence[ServiceT]) -> None:
        """Do what is left of a restart of several whose caller was cancelled; some of them may run still."""
        held = [self._ward(service, "restart_services") for service in services]
        with _InHand(held, self.wakeup):
            await self._restart_held(held)

    async def _restart_held(self, wards: Sequence[Ward]) -> None:
        """Stop services, the last one first, and after the back-off start them again, the first one first."""
        for ward in reversed(wards):
            await self._stop(ward)
        delay = max((ward.delay for ward in wards), default=0.0)
        if delay > 0.0:
            await self.sleep(delay)
        for ward in wards:
            ward.delay = 0.0
        for ward in wards:
            if self.should_stop or self._ends_with_the_significant:
                return
            await self._start_again(ward)

    async def _start_again(self, ward: Ward) -> None:
        """Restart one of several, unless it has been discarded meanwhile, or stopped for good."""
        if not self._is_wanted(ward):
            return
        try:
            await self.restart_service(ward.service)
        except Exception as exc:
            if ward in self._wards and ward.phase is Phase.BROKEN:
                raise
            if exc is not ward.start_error and not isinstance(exc, StartAborted):
                raise  # not of the service
            # Somebody has stopped it while it was starting, or it is not to be restarted. The others are.
            self._tell_start_failed(exc)

    def _tell_start_failed(self, exc: Exception) -> None:
        if not isinstance(exc, StartAborted):
            self.log.error("A service did not start: %r", exc, exc_info=exc)

    def _at_work(self, services: Sequence[ServiceT]) -> list[Ward]:
        """Return the wards of those that are affected, without those that are at rest: these did their work, and have ended."""
        wards = self._affected(services)
        asked = {self._ward_of(service) for service in services}
        return [ward for ward in wards if not ward.is_done or ward in asked]

    def _affected(self, services: Sequence[ServiceT]) -> list[Ward]:
        return [self._ward(service, "restart_services") for service in self.affected_by(services)]

    def _next_delay(self, services: Sequence[ServiceT]) -> float:
        now = anyio.current_time()
        wards = [self._ward(service, "restart_services") for service in services]
        return max((ward.next_delay(self.backoff, now) for ward in wards), default=0.0)

    def _log_restart(self, ward: Ward) -> None:
        if ward.reason is not None:
            self.log.warning(
                "Restarting %s: %r", ward.service.shortlabel, ward.reason, exc_info=ward.reason
            )
        else:
            self.log.info("Restarting %s", ward.service.shortlabel)

    async def _stop(self, ward: Ward) -> None:
        try:
            await ward.service.stop()
        except Exception as exc:  # nobody waits for this stop alone, and the start comes next
            self.log.error("%s failed to stop: %r", ward.service.shortlabel, exc, exc_info=exc)  # noqa: TRY400

    async def restart_service(self, service: ServiceT) -> None:
        """Restart one supervised service alone, or put its replacement in its place and start that.

        Args:
            service: The service.

        Raises:
            LifecycleError: If it is not supervised here, or the supervisor does not run.
            BaseException: What made the start fail. The supervisor is going to restart it again then.
        """
        ward = self._ward_to_start(service, "restart_service")
        if self._unit.is_letting_go(ward.life) and not await self._is_there_when_it_has_ended(
            ward
        ):
            return
        with _Starting(ward, self.wakeup):
            if not await self._replace(ward):
                await ward.service.restart()

    async def _replace(self, ward: Ward) -> bool:
        """Put a new service in the place of one, and start it; returns False if it is to be restarted itself."""
        if self.replacement is None:
            return False
        await self._stop_to_replace(ward)
        if not self._is_wanted(ward):
            return True
        new = _as_service(await self.replacement(ward.service, self._wards.place_of(ward)))
        if not self._is_wanted(ward):
            return True
        if new is ward.service:
            return False
        self._check_new(ward, new)
        self._put_in_place(ward, new)
        await new.maybe_start()
        return True

    def _check_new(self, ward: Ward, new: Service) -> None:
        if self._ward_of(new) is not None:
            raise LifecycleError(
                f"{new.shortlabel} can't replace {ward.service.shortlabel}: {self.shortlabel} supervises it already",
                "Have `replacement` return a new instance, or the broken one to restart that",
            )

    async def _stop_to_replace(self, ward: Ward) -> None:
        with _InHand([ward], self.wakeup):
            ward.hold()  # this is no end of its own, which might be one for good
            await self._stop(ward)
            if ward.phase is Phase.HELD:
                ward.phase = Phase.STARTING

    def _is_wanted(self, ward: Ward) -> bool:
        """Whether one that is to be started still is: it may have been discarded meanwhile, or stopped for good."""
        return ward in self._wards and not ward.is_done

    def _put_in_place(self, ward: Ward, new: Service) -> None:
        old = ward.service
        self._life.place_child(new._outer, old._outer)
        self._wards.give(ward, new)
        old.supervisor = None
        self._adopt(ward)
        self._unit.let_go(old._outer)

    async def stop_services(self, services: Sequence[ServiceT]) -> None:
        """Stop supervised services for good, the last one first: they are not restarted until somebody starts them.

        Args:
            services: The services.

        Raises:
            LifecycleError: If one is not supervised here.
            BaseException: What went wrong in a stop, first; all have been stopped then.
        """
        wards = [self._ward(service, "stop_services") for service in services]
        self._check_loop("stop_services", *wards)
        failures: list[Exception] = []
        await anyio.lowlevel.checkpoint()  # before: the end of these may be that of the caller
        for ward in wards:
            ward.dismiss()
        self.wakeup()  # some may be at rest by that
        for ward in reversed(wards):
            try:
                await ward.service.stop()
            except Exception as exc:  # noqa: BLE001 - raised when all have been stopped
                failures.append(exc)
        for later in failures[1:]:
            engine.note(failures[0], "later, in stop_services()", later)
        if failures:
            raise failures[0]

    async def run_until_complete(self) -> None:
        """Start the supervisor, wait until all its services have ended and are not to be restarted, and stop it.

        Raises:
            BaseException: As ``async with`` on a service does: what makes the start fail, or it crash.
        """
        async with self:
            overseer = self._unit.overseer
            if isinstance(overseer, Overseer):  # pragma: no branch - it runs, so there is one
                await self.wait(overseer.nothing_left)

    # -- What it is called

    @property
    def label(self) -> str:
        """Its name in graphs and reports: with how many restarts it allows."""
        return f"{self.shortlabel}: {self.max_restarts:g} in {self.over:g} s"

    @property
    def shortlabel(self) -> str:
        """Its name in the log."""
        return type(self).__name__


# What a strategy has that does not say by itself how its services are.
_OPERATIONAL = SupervisorStrategy.service_operational


class OneForOneSupervisor(SupervisorStrategy):
    """Restarts each service that fails, and no others: for services that do not depend on each other."""


class OneForAllSupervisor(SupervisorStrategy):
    """When a service fails, stops all, and starts all again: for services that all depend on each other."""

    _reach = engine.Reach.ALL


class RestForOneSupervisor(SupervisorStrategy):
    """When a service fails, stops those that were added after it, and starts it and them again.

    For services that depend on those before them. mode has no such supervisor.
    """

    _reach = engine.Reach.REST


class ForfeitOneForOneSupervisor(SupervisorStrategy):
    """Does not restart a service that fails: it stays stopped, and the others go on."""

    _counts_restarts = False

    async def restart_services(self, services: Sequence[ServiceT]) -> None:
        """Give up on the services, and on those that are affected.

        Args:
            services: Those that failed.
        """
        self._check_loop("restart_services")
        for ward in self._at_work(services):
            self.log.error("Giving up on %s: %s", ward.service.shortlabel, _why(ward))
            ward.dismiss()
        self.wakeup()  # some may be at rest by that
        # Those too that were given up before: what was to stop them may have been called off. What somebody has started
        # since then by hand goes on.
        for ward in reversed(self._affected(services)):
            if ward.is_dismissed:
                await self._stop(ward)


class ForfeitOneForAllSupervisor(ForfeitOneForOneSupervisor):
    """When a service fails, stops all of them for good."""

    _reach = engine.Reach.ALL


class CrashingSupervisor(SupervisorStrategy):
    """Crashes when one of its services does, with the same failure, and so do the services above it.

    Unlike in mode, it really does, and at once.
    """

    _deals_with_failures = False
    _counts_restarts = False

    async def restart_services(self, services: Sequence[ServiceT]) -> None:
        """Crash.

        Args:
            services: Those that ended, and should not have.
        """
        ended = ", ".join(service.shortlabel for service in services)
        await self.crash(self._to_raise(f"{ended} is permanent, and has ended"))


class _Starting:
    """Around the start of a ward by its supervisor: what becomes of the start decides in which phase that leaves it."""

    def __init__(self, ward: Ward, over: Callable[[], None]) -> None:
        self._ward = ward
        self._over = over

    def __enter__(self) -> None:
        self._ward.phase, self._ward.reason = Phase.STARTING, None
        self._ward.undone = False

    def __exit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> None:
        ward = self._ward
        ward.start_error = exc
        # A caller that is cancelled takes down again what it has started, also if that had just been complete; and a restart
        # fails with what went wrong in the stop.
        has_come_to_nothing = exc is not None and ward.undone
        if ward.phase is not Phase.STARTING and not has_come_to_nothing:
            return  # it has ended again meanwhile, or failed, or somebody wants it no more
        if exc is None:
            ward.phase = Phase.WATCHED
        else:
            ward.did_not_start(exc)
            self._over()


class _InHand:
    """Around what stops services and starts them again: meanwhile the overseer does not start what it finds stopped.

    If it is broken off, the overseer goes on with those that are still held. If it ends, they are started, unless they run: the
    strategy restarts in its own way, of which nobody has told.
    """

    def __init__(self, wards: Sequence[Ward], over: Callable[[], None]) -> None:
        self._wards = wards
        self._over = over

    def __enter__(self) -> None:
        for ward in self._wards:
            ward.in_hand += 1

    def __exit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> None:
        for ward in self._wards:
            ward.in_hand -= 1
            if exc is None and ward.phase is Phase.HELD and not ward.in_hand:
                ward.phase = Phase.TO_START
        self._over()


def _why(ward: Ward) -> str:
    return f"it failed with {ward.reason!r}" if ward.reason is not None else "with the others"


def _check_service(service: Any, call: str) -> None:
    if isinstance(service, ServiceT):
        return
    if life_of(service) is not None:
        raise TypeError(
            f"{call} takes services, not {service!r}, which is a ServiceMixin: put it below a Service, "
            "with self.add_dependency(...) in its __post_init__, and give that to the supervisor"
        )
    if isinstance(service, type) and issubclass(service, ServiceT):
        name = service.__name__
        raise TypeError(f"{call} takes services, not the class {name}: write {name}()")
    raise TypeError(f"{call} takes services, not {service!r}")


def _as_service(service: object) -> Service:
    if not isinstance(service, Service):
        raise TypeError(f"a supervisor takes services (instances of Service), not {service!r}")
    return cast("Service", service._life.unit.subject)  # of a proxy, the service behind it


def _check_exception_class(raises: object) -> type[BaseException]:
    if isinstance(raises, type) and issubclass(raises, BaseException):
        return raises
    raise TypeError(f"raises= takes a class of exceptions, not {raises!r}")


def _check_restart(restart: object) -> RestartType:
    for kind in engine.RESTART_TYPES:
        if restart == kind:
            return kind
    kinds = ", ".join(repr(kind) for kind in engine.RESTART_TYPES)
    raise ValueError(f"restart= takes one of {kinds}, not {restart!r}")
