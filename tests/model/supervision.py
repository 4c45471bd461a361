"""The laws of supervisors, as a simulation: what `docs/explanation/supervision.md` promises, written as plainly as possible.

A supervisor is a service in all but this:

- A failure of a service that it looks after ends with it (`child_failed`): that one crashes and stops, and no others.
- One that has failed, or has ended and should not have, is *broken*. What is done about it is a *mending*: those concerned
  are stopped, the last one first, and after a while started again, the first one first. Mendings of different services go on
  side by side; one that concerns services in another calls that one off, and takes up what it left.
- Each mending counts as one restart; if there were too many, the supervisor crashes instead.
- When it is told to stop, nothing is mended any more.

What it does, it does in tasks of its own, which end with its other tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Enum, auto
from typing import ClassVar

from .model import Caller, Labour, Run, Unit, World, until_started
from .plan import Hook, RestartType, Script
from .simulation import Cut, Doing, Gate, Tie, Wait
from .story import Aborted, Fault, Misuse


class Place(Enum):
    """How a supervisor stands to a service."""

    UP = auto()  # it is left alone: it runs, or somebody else starts it
    BROKEN = auto()  # something is to be done about it
    DOWN = auto()  # it is to be started, or has been stopped to be started again
    STARTING = auto()  # the supervisor is starting it
    LEAVING = auto()  # it is given up, or nearly
    AT_REST = auto()  # it has ended, and that is all right


class Ward:
    """A service that is looked after."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        #: When it is restarted; what is said of the first counts for those that take its place, too.
        self.restart: RestartType = unit.script.restart
        self.significant = unit.script.significant
        self.place = Place.UP
        self.has_failed = False
        #: How often it has been restarted since it was last well.
        self.attempts = 0
        #: The run that is its last, if it is given up.
        self.last: Run | None = None
        #: Whether it has ended while it was being started, without a failure: if that was called off, it was undone.
        self.undone = False

    @property
    def is_at_rest(self) -> bool:
        """Whether it did its work and has ended; nobody has started it again since."""
        return self.place is Place.AT_REST and not self.unit.alive

    @property
    def is_leaving(self) -> bool:
        """Whether its run is to be its last."""
        return self.last is not None and self.last is self.unit.run

    @property
    def is_done(self) -> bool:
        """Whether it is at rest, or on its way there."""
        return self.is_at_rest or (self.place is Place.LEAVING and self.is_leaving)

    def has_ended(self) -> None:
        """Decide what its end means."""
        again = self.restart == "permanent" or (self.restart == "transient" and self.has_failed)
        self.place = Place.BROKEN if again else Place.AT_REST

    def give_up(self) -> None:
        """Let it end for good."""
        self.last = self.unit.run if self.unit.alive else None
        self.place = Place.LEAVING if self.unit.alive else Place.AT_REST


class Mending:
    """One act of restarting services, or of starting one that was added."""

    def __init__(self, wards: Collection[Ward], since: int) -> None:
        self.wards = set(wards)
        self.since = since
        self.over = Gate()
        self.labour: Labour | None = None


class Supervisor(Unit):
    """Looks after its services, and restarts those that fail; by itself, each for itself."""

    #: Whether what it does about a failure is a restart, of which there may be so many.
    counts: ClassVar[bool] = True

    def __init__(self, script: Script, world: World, parent: Unit | None = None) -> None:
        self.wards: list[Ward] = []
        super().__init__(script, world, parent)
        self.wards = [Ward(child) for child in self.children]
        self._woken = Gate()
        self._mendings: list[Mending] = []
        self._restarts: list[int] = []
        self._released: list[Unit] = []
        self._number = 0
        # How often chance has been asked, and for what the last time.
        self._chances = 0
        self._last_chance: tuple[int, list[Ward]] = (-1, [])

    # -- Which are concerned; other strategies say something else

    def affected_by(self, broken: Collection[Ward]) -> list[Ward]:
        """Return those that are restarted with the ones that broke, in order."""
        return [ward for ward in self.wards if ward in broken]

    # -- What it is told

    def begins(self) -> None:
        """Know nothing of former runs."""
        for ward in self.wards:
            ward.place, ward.has_failed, ward.attempts, ward.last = Place.UP, False, 0, None
        self._mendings, self._restarts = [], []

    def is_set_up(self, run: Run) -> None:
        """From now on, do something about what breaks, and has broken."""
        self._woken = Gate()
        self._woken.open()
        if run.takes_work():
            _ = Labour(run, self._oversee(run))

    def has_its_turn(self) -> None:
        """Do nothing more about what breaks: the drain does not wait for that."""
        self._woken.open()

    def child_failed(self, child: Unit, fault: Fault) -> bool:
        """Deal with it later, in the same instant; what was to end anyway is not mended."""
        if child in self._released:
            return True
        ward = self._ward_of(child)
        if ward is None:
            return False
        if ward.is_leaving:
            return True
        ward.has_failed = True
        if ward.restart != "temporary":
            ward.place = Place.BROKEN
        self._woken.open()
        return True

    def child_ended(self, child: Unit) -> None:
        """See whether that was all right."""
        ward = self._ward_of(child)
        run = child.run
        if ward is None or run is None or child in self._released:
            return
        self._woken.open()
        if ward.is_leaving:
            ward.place = Place.AT_REST
            return
        if ward.place in {Place.BROKEN, Place.DOWN}:
            return
        if not run.was_up and ward.place in {Place.STARTING, Place.AT_REST}:
            return  # whoever starts it is told
        if run.start_fault is not None and not _was_called_off(child, run.start_fault):
            ward.has_failed = True
        ward.undone = ward.place is Place.STARTING and not ward.has_failed
        ward.has_ended()

    def drop(self, child: Unit) -> None:
        """Forget it."""
        super().drop(child)
        ward = self._ward_of(child)
        if child in self._released:
            self._released.remove(child)
            if ward is not None:  # it has been added again while it was ending
                self._take_back(ward)
        elif ward is not None:
            self._forget(ward, Caller("nobody"))

    # -- Who it looks after

    def supervise(self, child: Unit, place: int | None = None) -> None:
        """Look after one more; if it runs itself, it starts that."""
        if self._ward_of(child) is not None:
            return
        place = len(self.wards) if place is None else place
        self._take_in(child, self.wards[place:])
        ward = Ward(child)
        ward.place = Place.DOWN if self.alive else Place.UP
        self.wards.insert(place, ward)
        self._woken.open()

    def _take_in(self, child: Unit, later: list[Ward]) -> None:
        """Make it a child, before the first of those that come later."""
        self._check_adoptable(child)
        if child.parent is self:
            return  # pragma: no cover - only in very long runs, if ever
        if child.parent is not None:
            child.parent.drop(child)
        child.parent, run = self, self.run
        following = later[0].unit if later else None
        _ = _put_before(self.children, child, following)
        if (
            run is not None
            and run.alive
            and _put_before(run.wanted, child, following) < run.reached
        ):
            run.reached += 1

    def _take_back(self, ward: Ward) -> None:
        """Give it its place among the others again."""
        self._take_in(ward.unit, self.wards[self.wards.index(ward) + 1 :])
        self._woken.open()

    def discard(self, child: Unit, caller: Caller) -> None:
        """Have one stop, and look after it no more."""
        ward = self._ward_of(child)
        if ward is not None:
            if child not in self._released:
                self._released.append(child)
            self._forget(ward, caller)

    def dismiss(self, child: Unit, caller: Caller) -> Doing[None]:
        """Stop one for good; it is not restarted until somebody starts it."""
        ward = self._ward_of(child)
        if ward is None:
            raise Misuse
        ward.give_up()
        self._woken.open()
        yield from child.stop(caller)
        if (
            self.run is not None
            and caller.is_within(self.run)
            and self._ends_with_the_significant()
        ):
            raise Tie  # whether the call has returned before the end that it leads to is cut short by that, no law says

    def _forget(self, ward: Ward, caller: Caller) -> None:
        self.wards.remove(ward)
        child = ward.unit
        if child.parent is self:
            child.leave(caller)
        self._woken.open()

    def _ward_of(self, unit: Unit) -> Ward | None:
        return next((ward for ward in self.wards if ward.unit is unit), None)

    # -- What it does

    def _oversee(self, run: Run) -> Doing[None]:
        """Do something about what is broken, whenever something has happened."""
        while True:
            yield Wait(self._woken)
            self._woken = Gate()
            if run.told.is_open:
                return
            self._let_go(run)
            if run.told.is_open:
                return
            for broken in self._groups():
                yield from self._answer(run, broken)
            for ward in self.wards:
                if ward.place is Place.DOWN and not self._in_mending(ward):
                    self._begin(run, [ward], self._start_one, ward)

    def _let_go(self, run: Run) -> None:
        """Forget the temporary ones that have ended; end with the significant ones."""
        ends = self._ends_with_the_significant()
        for ward in tuple(self.wards):
            if ward.restart == "temporary" and ward.is_at_rest:
                self._forget(ward, Caller("nobody"))
        if ends:
            self.call_off_restart()
            run.request_stop()

    def _ends_with_the_significant(self) -> bool:
        ended = [ward.is_at_rest for ward in self.wards if ward.significant]
        every = self.script.policy.auto_shutdown == "all"
        return bool(ended) and (all(ended) if every else any(ended))

    def _groups(self) -> list[list[Ward]]:
        """Return those that are broken; those that concern the same services are mended together."""
        groups: list[list[Ward]] = []
        for ward in self.wards:
            if ward.place is not Place.BROKEN:
                continue
            concerned = set(self.affected_by([ward]))
            same = [group for group in groups if concerned & set(self.affected_by(group))]
            groups = [group for group in groups if group not in same]
            groups.append([one for group in same for one in group] + [ward])
        return groups

    def _answer(self, run: Run, broken: list[Ward]) -> Doing[None]:
        now = run.unit.world.simulation.now
        if self.counts:
            self._restarts = [at for at in self._restarts if at > now - self.script.policy.over]
            if len(self._restarts) + 1 > self.script.policy.max_restarts:
                run.fail(Fault(f"MaxRestartsExceeded({self.script.label})"))
                return
            self._restarts.append(now)
        affected = set(self.affected_by(broken))
        for mending in [one for one in self._mendings if one.wards & affected]:
            assert mending.labour is not None
            if mending.since == now:  # pragma: no cover - only in very long runs, if ever
                raise Tie  # how far it has come in the instant in which it is called off, no law says
            mending.labour.cancel()
            yield Wait(mending.over)
            broken += [ward for ward in mending.wards if ward.place is Place.DOWN]
            affected |= mending.wards
        broken = [ward for ward in self.wards if ward in broken]
        self.world.mendings += 1
        self._begin(run, affected, self._mend, broken)

    def _in_mending(self, ward: Ward) -> bool:
        return any(ward in mending.wards for mending in self._mendings)

    def _begin(
        self,
        run: Run,
        wards: Collection[Ward],
        do: Callable[..., Doing[None]],
        what: Ward | list[Ward],
    ) -> None:
        if not run.takes_work():
            return
        mending = Mending(wards, self.world.simulation.now)
        self._mendings.append(mending)
        mending.labour = Labour(run, self._until_over(run, mending, do, what))

    def _until_over(
        self,
        run: Run,
        mending: Mending,
        do: Callable[..., Doing[None]],
        what: Ward | list[Ward],
    ) -> Doing[None]:
        self._number += 1
        caller = Caller(f"{self.script.label}.mending {self._number}", run)
        try:
            yield from do(run, caller, what)
        except Fault:
            pass  # of a start: that is a failure like others, and dealt with as they are
        finally:
            self._mendings.remove(mending)
            mending.over.open()
            self._woken.open()

    def _mend(self, run: Run, caller: Caller, broken: list[Ward]) -> Doing[None]:
        """Stop those concerned, wait, and start them again."""
        concerned = self._at_work(broken)
        self._check_chance(broken)
        delay = max((self._delay(ward) for ward in broken), default=0)
        for ward in concerned:
            ward.place, ward.has_failed = Place.DOWN, False
        for ward in reversed(concerned):
            yield from self._stop_one(caller, ward)
        if delay:
            yield Wait(run.told, self.world.simulation.now + delay)
        for ward in concerned:
            if run.told.is_open or self._ends_with_the_significant():
                return
            if self._is_wanted(ward):
                yield from self._start_again(run, caller, ward)

    def _start_again(self, run: Run, caller: Caller, ward: Ward) -> Doing[None]:
        """Start one of several; if it does not come up, and need not, the others are started all the same."""
        try:
            yield from self._start_one(run, caller, ward, again=True)
        except Fault:
            if ward in self.wards and ward.place is Place.BROKEN:
                raise

    def _at_work(self, broken: list[Ward]) -> list[Ward]:
        return [ward for ward in self.affected_by(broken) if ward in broken or not ward.is_done]

    def _delay(self, ward: Ward) -> int:
        """How long to wait before the restart: each time twice as long, until it has been well for a while."""
        policy, run = self.script.policy, ward.unit.run
        up_since = run.up_since if run is not None else None
        if up_since is not None and self.world.simulation.now - up_since >= policy.healthy:
            ward.attempts = 0
        ward.attempts += 1
        longest = policy.delay << (ward.attempts - 1)
        chance = policy.chances[self._chances % len(policy.chances)]
        self._chances += 1
        shorter, rest = divmod(longest * policy.jitter * chance, 64)
        if rest:  # pragma: no cover - only in very long runs, if ever
            raise Tie  # the wait is no whole number of microseconds
        return longest - shorter

    def _check_chance(self, broken: list[Ward]) -> None:
        """See that no two mendings begin in one instant, and ask chance: in which order, no law says."""
        now = self.world.simulation.now
        if self.script.policy.jitter and self._last_chance[0] == now:
            raise Tie
        self._last_chance = now, broken

    def _stop_one(self, caller: Caller, ward: Ward) -> Doing[None]:
        unit = ward.unit
        if unit.run is not None and unit.run.alive and not unit.run.turn.is_open:
            self.world.log.follow(unit.script.label, caller.track)
        try:
            yield from unit.stop(caller)
        except Fault:
            return  # nobody waits for this stop alone, and the start comes next

    def _start_one(
        self, run: Run, caller: Caller, ward: Ward, *, again: bool = False
    ) -> Doing[None]:
        unit = ward.unit
        if not again and unit.run is not None and unit.run.turn.is_open:
            yield Wait(unit.run.stopped)  # it is on its way out
        ward.place, ward.has_failed, ward.undone = Place.STARTING, False, False
        if not unit.alive:
            self.world.log.follow(unit.script.label, caller.track)
        try:
            if again and not (yield from self._replace(ward, caller)):
                yield from unit.restart(caller)
            elif not again:
                yield from self._start_unless_up(unit)
        except Cut:
            if ward.place is Place.STARTING or ward.undone:
                ward.place = Place.DOWN
            raise
        except Fault as fault:
            if ward.place is Place.STARTING or ward.undone:  # or its restart failed in the stop
                ward.has_failed = not _was_called_off(ward.unit, fault)
                ward.has_ended()
                self._woken.open()
            raise
        self.world.revived += again
        if ward.place is Place.STARTING:
            ward.place = Place.UP
        self.world.log.follow(caller.track, ward.unit.script.label)

    def _start_unless_up(self, unit: Unit) -> Doing[None]:
        if not unit.alive:
            yield from unit.start()
        elif unit.run is not None:  # pragma: no branch - it is alive, so there is one
            begun = yield from until_started(unit.run)
            if begun.start_fault is not None:
                raise begun.start_fault  # pragma: no cover - only in very long runs, if ever

    # -- Another one in the place of one that broke

    def _replace(self, ward: Ward, caller: Caller) -> Doing[bool]:
        """Put another one in the place of one, and start that; returns whether there is another one."""
        hook, old = self.script.policy.replacement, ward.unit
        if hook is None:
            return False
        ward.place = Place.DOWN  # this is no end of its own
        yield from self._stop_one(caller, ward)
        if ward.place is Place.DOWN:
            ward.place = Place.STARTING
        if not self._is_wanted(ward):
            return True
        yield from self._make_another(hook, ward, caller)
        new, old.substitute = old.substitute, None
        if not self._is_wanted(ward):
            return True
        if new is None:
            return False
        if self._ward_of(new) is not None:
            raise Tie  # it is refused: no law says how the error is worded
        self._take_in(new, [ward])
        ward.unit = new
        self._released.append(old)
        old.leave()
        self.world.log.follow(new.script.label, caller.track)
        yield from self._start_unless_up(new)
        return True

    def _is_wanted(self, ward: Ward) -> bool:
        """Whether one that is to be started still is."""
        return ward in self.wards and not ward.is_done

    def _make_another(self, hook: Hook, ward: Ward, caller: Caller) -> Doing[None]:
        log, track = self.world.log, caller.track
        where = f"{self.script.label}.replacement of {ward.unit.script.label}"
        log.steps += 1
        log.add(f"{where} begins", track)
        try:
            yield Wait(until=self.world.simulation.now + hook.takes)
        except Cut:
            log.add(f"{where} cut", track)
            raise
        log.end(where, hook.then, track)


def _put_before(units: list[Unit], unit: Unit, following: Unit | None) -> int:
    """Put a unit in the place of another, or last; returns its place."""
    place = units.index(following) if following in units else len(units)
    units.insert(place, unit)
    return place


def _was_called_off(unit: Unit, fault: Fault) -> bool:
    """Whether a start ended because the service itself was told to stop; that one below it was is a failure."""
    return isinstance(fault, Aborted) and fault.name == Aborted(unit.script.label).name


class OneForOne(Supervisor):
    """Restarts each service that fails, and no others."""


class OneForAll(Supervisor):
    """Restarts all when one fails."""

    def affected_by(self, broken: Collection[Ward]) -> list[Ward]:
        """All."""
        return list(self.wards) if broken else []


class RestForOne(Supervisor):
    """Restarts the one that fails, and those that were added after it."""

    def affected_by(self, broken: Collection[Ward]) -> list[Ward]:
        """The first that broke, and all after it."""
        first = next((place for place, ward in enumerate(self.wards) if ward in broken), None)
        return self.wards[first:] if first is not None else []


class ForfeitOneForOne(Supervisor):
    """Leaves one that fails stopped."""

    counts = False

    def _mend(self, run: Run, caller: Caller, broken: list[Ward]) -> Doing[None]:
        """Stop those concerned for good."""
        concerned = [ward for ward in self.affected_by(broken) if not ward.is_at_rest]
        for ward in concerned:
            ward.give_up()
        self._woken.open()
        for ward in reversed(self.affected_by(broken)):
            if ward.is_leaving:  # what somebody has started by hand since then goes on
                yield from self._stop_one(caller, ward)


class ForfeitOneForAll(ForfeitOneForOne):
    """Stops all for good when one fails."""

    def affected_by(self, broken: Collection[Ward]) -> list[Ward]:
        """All."""
        return list(self.wards) if broken else []


class Crashing(Supervisor):
    """Crashes when one fails, as any parent does; and when one ends that should not."""

    counts = False

    def child_failed(self, child: Unit, fault: Fault) -> bool:
        """Deal with nothing, but what was to go anyway."""
        return child in self._released

    def _mend(self, run: Run, caller: Caller, broken: list[Ward]) -> Doing[None]:
        """Crash."""
        yield from ()
        run.fail(Fault(f"MaxRestartsExceeded({broken[0].unit.script.label})"))
