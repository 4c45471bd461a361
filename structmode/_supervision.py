"""What a supervisor knows of each service it looks after, and the task in which it looks after them.

Theory
------
*Who tells.* A run tells the unit that owns it when a failure leaves it, and when it is over (`on_child_failed`,
`on_child_ended`). So a supervisor is told in the instant of the crash and polls nothing. What it is told only changes what it
knows, its `Ward`; what is done about it is done by the `Overseer`, in a task of the supervisor's, and decided by the engine's
`_restarting` and the strategy.

*One thing at a time to each service, and to many services at once.* A `Mending` is one act of restarting what broke and
those that are restarted with it. Those that concern different services go on side by side: a service that takes long to
come up again, or that waits for its back-off, keeps nobody else waiting. When something breaks that concerns services in
a mending that is still going on, that one is called off - what it was starting is undone in order - and a new one begins
which takes up what the other has left.

*What is counted.* Each mending that answers a failure counts as one restart, however many services it takes along, and so
does one that answers a restart which failed. Beginning a service that was added is none, nor is going on with a restart that
somebody has asked for, and whose caller was cancelled: the end of that caller may have been a part of the restart.

*When the supervisor itself is told to stop*, it answers no more failures, but they still end with it: a service that fails
when it was about to be stopped anyway is logged, and no more. What fails in its own stop is what went wrong in the stop of
the supervisor, as with any other parent. What the supervisor was doing ends as all tasks do.
"""

from __future__ import annotations

from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from enum import Enum, auto
from typing import Any, Protocol, TypeVar

import anyio
import anyio.lowlevel

from structmode import _engine as engine
from structmode._unit import ServiceUnit, service_of
from structmode.exceptions import StartAborted
from structmode.utils.logging import CompositeLogger
from structmode.utils.times import Seconds

__all__ = ("Mending", "Overseer", "SupervisorUnit", "Ward", "Wards")


T = TypeVar("T")


class Phase(Enum):
    """How a supervisor stands to one of its services."""

    # Members are compared by identity: so may they be hashed, which is done often.
    __hash__ = object.__hash__

    WATCHED = auto()  # it runs, or is started by somebody else
    NEW = auto()  # it was added while the supervisor runs, and is to be started
    TO_START = auto()  # it was to be started by a call, which has not come to that
    BROKEN = (
        auto()
    )  # it failed, or ended and should not have, and nothing has been done about it yet
    ANSWERED = auto()  # the same, and the strategy has been told
    HELD = auto()  # it is being stopped to be started again, or was
    STARTING = auto()  # it is being started by the supervisor
    LEAVING = auto()  # it is being stopped for good
    AT_REST = auto()  # it has ended, and that is all right


class Ward:
    """What a supervisor knows of one service that it looks after.

    Args:
        service: The service.
        restart: When it is restarted at all.
        significant: Whether the supervisor ends when it does.
    """

    def __init__(self, service: Any, restart: engine.RestartType, *, significant: bool) -> None:
        self.service = service
        self.restart: engine.RestartType = restart
        self.significant = significant
        #: How long its stop may take, if the supervisor has a say in that.
        self.shutdown_timeout: Seconds | None = None
        #: The supervisor's, as long as it is one of them.
        self.wards: Wards | None = None
        self._phase = Phase.WATCHED
        #: What it failed with, if it failed, and nothing has been done about it yet.
        self.reason: BaseException | None = None
        #: What the last attempt of the supervisor to start it failed with.
        self.start_error: BaseException | None = None
        #: How often it has been restarted since it was last well.
        self.attempts = 0
        #: How long it is to wait, once it is stopped, before it is started again.
        self.delay = 0.0
        #: How many calls are about to stop it and start it again.
        self.in_hand = 0
        #: Whether its last run was complete, and has ended before who started it knew, without a failure.
        self.undone = False
        self._dismissed: engine.Run | None = None

    @property
    def phase(self) -> Phase:
        """How the supervisor stands to the service."""
        return self._phase

    @phase.setter
    def phase(self, phase: Phase) -> None:
        before, self._phase = self._phase, phase
        if self.wards is not None:
            self.wards.moved(self, before)

    @property
    def life(self) -> engine.Life:
        """What the service holds of the engine."""
        life: engine.Life = self.service._outer
        return life

    @property
    def at_rest(self) -> bool:
        """Whether it has ended, that is all right, and nobody has started it again since."""
        return self.phase is Phase.AT_REST and not self.life.alive

    @property
    def is_done(self) -> bool:
        """Whether it is at rest, or on its way there: it is not restarted with others."""
        return self.at_rest or (self.phase is Phase.LEAVING and self.is_dismissed)

    @property
    def is_dismissed(self) -> bool:
        """Whether its run is to be its last, or was."""
        return self._dismissed is not None and self.life.run is self._dismissed

    def reset(self) -> None:
        """Know nothing, as when the supervisor starts."""
        self.phase = Phase.WATCHED
        self.reason = self.start_error = self._dismissed = None
        self.attempts = 0

    def dismiss(self) -> None:
        """Let the end of its present run be its end for good."""
        alive = self.life.alive
        self._dismissed = self.life.run if alive else None
        self.phase = Phase.LEAVING if alive else Phase.AT_REST
        self.reason, self.undone = None, False

    def hold(self, delay: float = 0.0) -> None:
        """It is to be stopped, and started again so many seconds later."""
        self.phase, self.reason, self.delay = Phase.HELD, None, delay

    def start_later(self) -> None:
        """It is to be started when it has ended; of one that broke, or is held, that is decided already."""
        if self.phase not in {Phase.BROKEN, Phase.ANSWERED, Phase.HELD}:
            self.phase, self._dismissed = Phase.TO_START, None

    def leave_as_it_is(self) -> None:
        """The strategy has done nothing about it."""
        if self.life.alive and not self.life.current.stop_requested:
            self.phase, self.reason = Phase.WATCHED, None
        else:
            self.dismiss()

    def failed(self, exc: BaseException) -> None:
        """A failure has left it. One that was to end for good ends so all the same."""
        if self.is_dismissed:
            return
        self.reason = exc
        if engine.wants_restart(self.restart, failed=True):
            self.phase = Phase.BROKEN

    def did_not_start(self, exc: BaseException) -> None:
        """The supervisor has tried to start it, and it failed; or the attempt was called off."""
        if not isinstance(exc, Exception):
            self.phase = Phase.HELD if self.in_hand else Phase.TO_START
            return
        failed = not self._was_called_off(exc)
        self.reason = exc if failed else None
        again = engine.wants_restart(self.restart, failed=failed)
        self.phase = Phase.BROKEN if again else Phase.AT_REST

    def ended(self) -> bool:
        """Its run is over; returns whether there may be something to do about that, and nobody is doing it yet."""
        if self.is_dismissed:
            self.phase = Phase.AT_REST
            return True
        run = self.life.current
        if self.phase in {Phase.BROKEN, Phase.ANSWERED, Phase.HELD, Phase.TO_START}:
            return False
        if not run.was_up and self.phase is Phase.STARTING:
            return False  # who starts it is told why it could not start
        if not run.was_up and self.phase is Phase.AT_REST:
            return True  # somebody else has tried to start it, and it is at rest again
        if self.reason is None and not self._was_called_off(run.start_error):
            self.reason = run.start_error
        self.undone = self.phase is Phase.STARTING and self.reason is None
        again = engine.wants_restart(self.restart, failed=self.reason is not None)
        self.phase = Phase.BROKEN if again else Phase.AT_REST
        return True

    def _was_called_off(self, exc: BaseException | None) -> bool:
        """Whether a start ended because somebody has stopped the service itself; that one below it was is a failure."""
        failures = self.life.current.failures
        return isinstance(exc, StartAborted) and all(exc is not one for one in failures)

    def next_delay(self, backoff: engine.Backoff | None, now: float) -> float:
        """Count one more restart, and return how many seconds it should wait."""
        since = self.life.current.up_since
        if backoff is None:
            return 0.0
        if since is not None:
            self.attempts = backoff.attempts_left(self.attempts, now - since)
        self.attempts += 1
        return backoff.delay(self.attempts - 1, backoff.chance())


class Wards:
    """The wards of one supervisor, in the order of their services.

    There may be very many, and most of them are well. So what is done about a few looks at none of these: each is found by its
    service, and so are all that are in a certain phase.
    """

    def __init__(self) -> None:
        self._in_order: list[Ward] = []
        self._by_life: dict[engine.Life, Ward] = {}
        self._by_phase: dict[Phase, dict[Ward, None]] = {phase: {} for phase in Phase}
        #: Those with whose end the supervisor may end.
        self.significant: dict[Ward, None] = {}
        # Where each stands; made anew for the first who asks after a change.
        self._places: dict[Ward, int] | None = None

    def __iter__(self) -> Iterator[Ward]:
        return iter(self._in_order)

    def __len__(self) -> int:
        return len(self._in_order)

    def __getitem__(self, place: int) -> Ward:
        return self._in_order[place]

    def __contains__(self, ward: Ward) -> bool:
        return ward.wards is self

    def of(self, service: object) -> Ward | None:
        """Return that of a service, if it has one; of a proxy, that of the service behind it."""
        life = getattr(service, "_outer", None)
        return self._by_life.get(life) if isinstance(life, engine.Life) else None

    def place_of(self, ward: Ward) -> int:
        """Return where one stands, from 0."""
        if self._places is None:
            self._places = {ward: place for place, ward in enumerate(self._in_order)}
        return self._places[ward]

    def after(self, ward: Ward) -> Ward | None:
        """Return the one that follows, if one does."""
        place = self.place_of(ward) + 1
        return self[place] if place < len(self) else None

    def in_order(self, wards: Iterable[Ward]) -> list[Ward]:
        """Return these in order, each once, without those that are not, or no more, among them."""
        found = {ward for ward in wards if ward in self}
        return sorted(found, key=self.place_of) if len(found) > 1 else list(found)

    def at(self, phase: Phase) -> list[Ward]:
        """Return those that are in a certain phase, in the order in which they have come there."""
        return list(self._by_phase[phase])

    def are_all_at_rest(self) -> bool:
        """Whether nobody is left that runs, or is to run."""
        resting = self._by_phase[Phase.AT_REST]
        return len(resting) == len(self) and all(ward.at_rest for ward in resting)

    def insert(self, index: int, ward: Ward) -> None:
        """Take in one more, in a certain place."""
        self._in_order.insert(index, ward)
        self._places = None
        self._by_life[ward.life] = ward
        self._by_phase[ward.phase][ward] = None
        if ward.significant:
            self.significant[ward] = None
        ward.wards = self

    def remove(self, ward: Ward) -> None:
        """Forget one of them."""
        ward.wards = None
        self._in_order.remove(ward)
        self._places = None
        del self._by_life[ward.life]
        del self._by_phase[ward.phase][ward]
        self.significant.pop(ward, None)

    def give(self, ward: Ward, service: Any) -> None:
        """Have a ward be that of another service."""
        del self._by_life[ward.life]
        ward.service = service
        self._by_life[ward.life] = ward

    def moved(self, ward: Ward, before: Phase) -> None:
        """Know that one is in another phase than before."""
        del self._by_phase[before][ward]
        self._by_phase[ward.phase][ward] = None


class Mending:
    """One act of the overseer's: services that are being restarted, or begun, together."""

    def __init__(self, wards: Collection[Ward]) -> None:
        self.wards = set(wards)
        self.over = anyio.Event()
        self.called_off = False
        self.task: engine.Task[None] | None = None

    async def call_off(self) -> None:
        """Cancel it, and wait until nothing of it goes on."""
        self.called_off = True
        if self.task is not None:  # pragma: no branch - it is begun as it is made
            self.task.cancel()
        await self.over.wait()


class Strategy(Protocol):
    """What an overseer needs of its supervisor."""

    log: CompositeLogger
    max_restarts: float
    over: float
    _life: engine.Life
    _wards: Wards

    @property
    def should_stop(self) -> bool: ...
    @property
    def _ends_with_the_significant(self) -> bool: ...
    @property
    def _counts_restarts(self) -> bool: ...
    @property
    def _looks_for_more(self) -> bool: ...
    def service_operational(self, service: Any) -> bool: ...
    def affected_by(self, services: Sequence[Any]) -> Sequence[Any]: ...
    def _give_up(self, reason: BaseException | None, who: Ward) -> None: ...
    def _tell_start_failed(self, exc: Exception) -> None: ...
    def _forget(self, ward: Ward) -> None: ...
    async def restart_services(self, services: list[Any]) -> None: ...
    async def start_services(self, services: list[Any]) -> None: ...
    async def _resume(self, services: list[Any]) -> None: ...


class Overseer:
    """Looks after the services of one run of a supervisor.

    Args:
        strategy: The supervisor.
    """

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self._woken = anyio.Event()
        # Set when it has looked after them since it was woken, if it was.
        self._has_looked: engine.Flag | None = None
        self._budget = engine.Budget(strategy.max_restarts, strategy.over)
        self._mendings: dict[Mending, None] = {}
        # That in which each is, of those who are in one.
        self._in_mending: dict[Ward, Mending] = {}
        #: Set when no service is left that runs, or is to run.
        self.nothing_left = anyio.Event()

    def wake(self) -> None:
        """Have it look after the services now."""
        self._has_looked = self._has_looked or engine.Flag()
        self._woken.set()

    async def oversee(self) -> None:
        """Look after the services, each time that it is woken; ends when it is cancelled."""
        self.wake()
        try:
            while True:
                await self._woken.wait()
                self._woken = anyio.Event()
                if self._strategy.should_stop:
                    return
                await self._look()
                if not self._woken.is_set():
                    self._rest()
        finally:
            self._rest()

    def _rest(self) -> None:
        looked, self._has_looked = self._has_looked, None
        if looked is not None:
            looked.set()

    def busy(self) -> engine.Flag | None:
        """Return what is set when it has looked after the services, if it has been woken."""
        return self._has_looked

    async def _look(self) -> None:
        self._let_go()
        if self._strategy.should_stop:
            return
        if self._broken():  # what fails in the same instant is dealt with together
            await anyio.lowlevel.checkpoint()
        for broken in self._groups(self._broken()):
            await self._answer(broken)
        for ward in self._waiting(Phase.NEW, Phase.TO_START):
            self._begin([ward], self._strategy.start_services, [ward])
        for held in self._groups(self._waiting(Phase.HELD)):
            self._begin(held, self._strategy._resume, held)
        if not self._mendings and self._strategy._wards.are_all_at_rest():
            self.nothing_left.set()

    def _let_go(self) -> None:
        """Forget the temporary ones that have ended; end with the significant ones."""
        ends = self._strategy._ends_with_the_significant
        for ward in self._strategy._wards.at(Phase.AT_REST):
            if ward.restart == "temporary" and ward.at_rest:
                self._strategy._forget(ward)
        if ends:
            self._strategy._life.request_stop()

    # -- What broke

    def _broken(self) -> list[Ward]:
        wards = self._strategy._wards
        broken = wards.at(Phase.BROKEN)
        if self._strategy._looks_for_more:
            broken += [ward for ward in wards.at(Phase.WATCHED) if self._is_unwell(ward)]
        return wards.in_order(broken)

    def _is_unwell(self, ward: Ward) -> bool:
        """Whether the strategy says so of one that runs."""
        if ward in self._in_mending or not ward.life.alive:
            return False
        return not self._strategy.service_operational(ward.service)

    def _groups(self, broken: list[Ward]) -> list[list[Ward]]:
        """Put those together, of some that are to be restarted, that concern the same services."""
        groups: dict[Ward, tuple[set[Ward], list[Ward]]] = {}  # by each who is affected
        most = len(self._affected(broken)) if len(broken) > 1 else 0
        for ward in broken:
            if ward in groups and len(groups[ward][0]) >= most:
                groups[ward][1].append(ward)  # more than all together affect, it does not
                continue
            affected, members = self._affected([ward]) or {ward}, [ward]
            for others, more in _each_once(groups[one] for one in affected if one in groups):
                affected |= others
                members = more + members
            # It takes its place after those that it has nothing to do with.
            for one in affected:
                groups.pop(one, None)
            group = affected, self._strategy._wards.in_order(members)
            groups.update(dict.fromkeys(affected, group))
        return [members for _, members in _each_once(groups.values())]

    def _affected(self, wards: Iterable[Ward]) -> set[Ward]:
        services = self._strategy.affected_by([ward.service for ward in wards])
        found = (self._strategy._wards.of(service) for service in services)
        return {ward for ward in found if ward is not None}

    async def _answer(self, broken: list[Ward]) -> None:
        reasons = [ward.reason for ward in broken if ward.reason is not None]
        if self._strategy._counts_restarts and not self._budget.spend(anyio.current_time()):
            self._strategy._give_up(reasons[0] if reasons else None, broken[0])
            return
        affected = self._affected(broken)
        unfinished = {Phase.ANSWERED, Phase.HELD, Phase.TO_START}
        concerned = {self._in_mending[ward] for ward in affected if ward in self._in_mending}
        for mending in [one for one in self._mendings if one in concerned] if concerned else ():
            await mending.call_off()
            broken += [ward for ward in mending.wards if ward.phase in unfinished]
            affected |= mending.wards
        broken = self._strategy._wards.in_order(broken)  # some may be gone
        for ward in broken:
            ward.phase = Phase.ANSWERED
        self._begin(affected, self._strategy.restart_services, broken)

    # -- Doing something about it

    def _waiting(self, *phases: Phase) -> list[Ward]:
        """Return those in certain phases about whom nobody is doing anything."""
        wards = self._strategy._wards
        waiting = (ward for phase in phases for ward in wards.at(phase))
        return wards.in_order(
            ward for ward in waiting if not ward.in_hand and ward not in self._in_mending
        )

    def _begin(
        self,
        wards: Collection[Ward],
        do: Callable[[list[Any]], Awaitable[None]],
        whom: list[Ward],
    ) -> None:
        mending = Mending(wards)
        self._mendings[mending] = None
        self._in_mending.update(dict.fromkeys(mending.wards, mending))
        mending.task = engine.Task(self._mend(mending, do, whom), "supervision")
        mending.task.add_done_callback(lambda _: self._done(mending))
        self._strategy._life.current.spawn(mending.task)

    async def _mend(
        self, mending: Mending, do: Callable[[list[Any]], Awaitable[None]], whom: list[Ward]
    ) -> None:
        # Between the decision and the first step of this task, some may have been discarded.
        services = [ward.service for ward in whom if ward in self._strategy._wards]
        if not services:
            return
        try:
            await do(services)
        except Exception as exc:
            ward = next((ward for ward in mending.wards if ward.start_error is exc), None)
            if ward is None and not self._strategy.should_stop:
                raise  # not of a service: the strategy itself failed
            if (
                ward is None or ward.phase is not Phase.BROKEN
            ):  # or else it is told of when that is dealt with
                self._strategy._tell_start_failed(exc)

    def _done(self, mending: Mending) -> None:
        del self._mendings[mending]
        mending.over.set()
        for ward in mending.wards:
            del self._in_mending[ward]
            if ward.phase is Phase.ANSWERED and not mending.called_off:
                ward.leave_as_it_is()
        self.wake()


def _each_once(things: Iterable[T]) -> list[T]:
    """Return each thing the first time that it comes; by identity."""
    return list({id(one): one for one in things}.values())


class SupervisorUnit(ServiceUnit):
    """A supervisor as the engine sees it: a service that is told of what becomes of its children."""

    def __init__(self, supervisor: Any, *, deals_with_failures: bool) -> None:
        super().__init__(supervisor)
        self._supervisor = supervisor
        self._deals_with_failures = deals_with_failures
        self.overseer: Overseer | None = None
        # Of the services that have been told to go, and have not ended yet.
        self._leaving: set[engine.Unit] = set()

    def set_up(self) -> Coroutine[Any, Any, None] | None:
        for ward in self._supervisor._wards:
            ward.reset()
        self.overseer = Overseer(self._supervisor)
        return super().set_up()

    def ready(self) -> Coroutine[Any, Any, None] | None:
        if self.overseer is not None:  # pragma: no branch - set_up has made it
            overseer, name = self.overseer, f"{self.label}.oversee"
            task = engine.Task(overseer.oversee(), name, finite=False)
            task.busy = overseer.busy
            self._supervisor._life.current.spawn(task)
        return super().ready()

    def tear_down(self) -> Coroutine[Any, Any, None] | None:
        self.wake()  # it sees that its work is over; if it did not, the drain would wait for it
        return super().tear_down()

    def wake(self) -> None:
        """Have the overseer look, if there is one."""
        if self.overseer is not None:
            self.overseer.wake()

    def expect_end(self, life: engine.Life) -> None:
        """Know of a service that it is to go: what it does until then is no matter of those that are supervised."""
        self._leaving.add(life.unit)

    def is_letting_go(self, life: engine.Life) -> bool:
        """Whether a service is to go, and has not ended yet."""
        return life.unit in self._leaving

    def let_go(self, life: engine.Life) -> None:
        """Have a service that is supervised no more end, and forget it then."""
        self.expect_end(life)
        self._supervisor._life.release_child(life)

    def on_child_failed(self, child: engine.Unit, exc: BaseException) -> bool:
        if child in self._leaving:
            self.on_failure(exc, child.label, "unreceived")
            return True
        ward = self._supervisor._ward_of(service_of(child))
        # What ends a program, such as KeyboardInterrupt, is nothing that a restart would cure.
        if ward is None or not self._deals_with_failures or not isinstance(exc, Exception):
            return False
        ward.failed(exc)
        self.wake()
        return True

    def on_child_ended(self, child: engine.Unit) -> None:
        ward = self._supervisor._ward_of(service_of(child))
        if ward is not None and child not in self._leaving and ward.ended():
            self.wake()

    def on_child_released(self, child: engine.Unit) -> None:
        super().on_child_released(child)
        ward = self._supervisor._ward_of(service_of(child))
        if child in self._leaving:
            self._leaving.remove(child)
            if ward is not None:  # it has been added again while it was ending
                self._supervisor._take_back(ward)
        elif ward is not None:
            self._supervisor._forget(ward)
            self.wake()
