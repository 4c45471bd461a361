"""One virtual clock for several event loops, each in a thread of its own: they run one at a time, in a fixed order.

Theory: virtual time may move when every task is blocked, and with several event loops that means: every task of all of them.
No loop can know that of another one that runs meanwhile. So only one runs at a time, the one that holds the *baton*. It
runs until all its tasks are blocked, and hands the baton on, in the order in which the loops have joined. Who gets the
baton looks first whether the others have sent anything. When it has gone round once, and nobody had anything to do, all are
blocked, and time jumps for all of them, to the least of their deadlines.

So there are no races: a program of several event loops does the same in each run, step by step. To have it do something
else, the turns can be cut short at random (`Setting.seed`).

- A loop joins when its thread begins, before whoever has begun the thread goes on; it leaves when the thread ends, and who
  gets the baton then waits for that.
- A task that waits for a worker thread, or for input and output, is waited for in real time, as on a single loop.
- Nothing can happen any more: then each loop tells what its tasks wait for, and the loop of the clock is told.
- When the clock's block is left, all loops go on in real time, and at the same time.

Which libraries run the loops is not known here. Their part is a *driver* for each (`_time_on_asyncio`, `_time_on_trio`):
it knows when its loop is blocked, and calls `Member.hand_on` then, which blocks the thread.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from random import Random
from typing import Any, Protocol

import anyio

from structmode import _engine as engine
from structmode.exceptions import StructmodeError

from ._deadlock import describe_tasks
from ._threads import NO_THREADS, Threads, somebody_may_call, timers

__all__ = ("NEAR", "PAUSES", "Driver", "Member", "Relay", "Rest", "Setting", "Turn", "time_module")

#: How long to wait, in seconds, for what takes real time, before one looks again: short at first, as many a thread is about to
#: do something, and then the last one again and again.
PAUSES = (0.001, 0.003, 0.01, 0.04)
# How long to wait for another thread at a time.
_PAUSE = PAUSES[-1]
# How many passes of an event loop a turn has, if the loop is never blocked; and if turns are cut short, at most.
_LONG, _SHORT = 500, 4
#: A deadline that is so near, in seconds, may be taken for one that has come.
NEAR = 1e-6


class Driver(Protocol):
    """Has the time of the running event loop be that of the relay."""

    def start(self) -> None:
        """Take the loop's clock over."""

    def stop(self) -> None:
        """Give it back; time goes on from where it is, as before."""


@dataclass(frozen=True)
class Setting:
    """How the loops of threads are run.

    Attributes:
        begins_at: The time to begin at, in seconds, if it is not that of the event loop.
        seed: Settles how turns are cut short; 0 if they are not.
        strict: Whether a thread whose event loop can't be virtual is refused, and not left in real time.
        around: Entered in the event loop of each thread, and left when that has nothing left to do.
    """

    begins_at: float | None = None
    seed: int = 0
    strict: bool = False
    around: Callable[[], AbstractAsyncContextManager[object]] = nullcontext


@dataclass(frozen=True)
class Rest:
    """What an event loop waits for, when it hands the baton on.

    Attributes:
        deadline: Its next deadline, in the relay's time; infinity if there is none.
        threads: What threads do for it, and wait for, that are no members.
        io: Whether a task of it waits for input or output.
        ready: Whether it waits for nothing, and could go on.
    """

    deadline: float = math.inf
    threads: Threads = NO_THREADS
    io: bool = False
    ready: bool = False


@dataclass(frozen=True)
class Turn:
    """What an event loop is to do with the baton.

    Attributes:
        pause: How long it may wait for something to happen, in seconds of real time.
        stuck: What all tasks of all loops wait for, if nothing can happen any more.
        over: Whether there is no relay any more.
    """

    pause: float = 0.0
    stuck: str = ""
    over: bool = False


class Member:
    """One event loop of a relay."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.thread: threading.Thread | None = None
        self.rest = Rest(ready=True)
        self.arrived = threading.Event()
        #: Told, in the thread of the founder, when nothing can happen any more, with the stacks of all tasks.
        self.on_deadlock: Callable[[str], object] = _nothing
        # Held as long as another one has the baton.
        self._gate = threading.Lock()
        self._gate.acquire()
        self._turn = Turn()
        self._errand: Callable[[], object] | None = None
        self._passes = relay.length_of_turn()

    def may_go_on(self) -> bool:
        """Whether its turn is not over, although it is not blocked; to be asked once in each pass of its loop."""
        self._passes -= 1
        return self._passes > 0 or self.relay.is_alone

    def end_turn(self) -> None:
        """Have its turn be over with the present pass."""
        self._passes = 0

    def hand_on(self, rest: Rest, *, quiet: bool = False) -> Turn:
        """Give the baton to the next one, and wait for it to come again; blocks the thread.

        Args:
            rest: What its event loop waits for.
            quiet: Whether it had nothing to do in this turn.
        """
        self.rest = rest
        turn = self.relay.decide(self, quiet=quiet) or self.await_turn()
        self._passes = self.relay.length_of_turn()
        return turn

    def await_turn(self) -> Turn:
        """Wait for the baton."""
        while True:
            self._gate.acquire()
            errand, self._errand = self._errand, None
            if errand is None:
                break
            errand()
        self.relay.see_off_leavers()
        return self._turn

    def loop_has_ended(self) -> None:
        """Know that its event loop is over, and does not leave as it should."""
        # The loop of a thread gives its clock back first.
        if self is self.relay.founder:  # pragma: no branch - see above
            self.relay.dissolve()

    def give(self, turn: Turn, errand: Callable[[], object] | None = None) -> None:
        """Give it the baton, from another thread; or have it do something for who holds it."""
        self._turn, self._errand = turn, errand
        self._gate.release()


def _nothing(stacks: str) -> None:
    """Do nothing."""


class Relay:
    """The loops that share a clock, and the baton.

    Args:
        now: The time to begin at, in seconds.
        io_patience: How long to wait for input and output before time moves, in seconds of real time.
        setting: How the loops of threads are run.
    """

    def __init__(self, now: float, io_patience: float, setting: Setting) -> None:
        self.now = now
        self.setting = setting
        self._io_patience = io_patience
        self._chance = Random(setting.seed) if setting.seed else None  # noqa: S311 - of no use to an attacker
        self._lock = threading.Lock()
        self._over = False
        self._leavers: list[threading.Thread] = []
        self._timers = timers()
        # How many members, up to now and in a row, had nothing to do.
        self._quiet = 0
        # How often, up to now and in a row, there was only a thread to wait for.
        self._pauses = 0
        # Who is to have the next turn, out of order.
        self._wanted: Member | None = None
        # Who has waited for input and output since something has happened.
        self._patient: set[Member] = set()
        self.founder = Member(self)
        self.founder.thread = threading.current_thread()
        self._members = [self.founder]

    @property
    def is_alone(self) -> bool:
        """Whether there is one loop only."""
        return len(self._members) == 1

    @property
    def over(self) -> bool:
        """Whether the block has been left."""
        return self._over

    def length_of_turn(self) -> int:
        """Return how many passes the next turn of a loop has, if it does not end by itself."""
        return self._chance.randint(1, _SHORT) if self._chance is not None else _LONG

    def threads(self) -> set[threading.Thread]:
        """Return the threads of its members, and those that look after the program from outside."""
        members = {member.thread for member in tuple(self._members) if member.thread is not None}
        return members.union(timer for timer in self._timers if timer.is_alive())

    # -- Coming and going

    def await_arrival(self, member: Member, thread: threading.Thread) -> None:
        """Wait until a thread that has been begun has joined, so that the order is the same each time."""
        while not member.arrived.wait(_PAUSE) and thread.is_alive():
            pass

    def arrive(self, member: Member) -> None:
        """Join, in the thread of the new member, and wait for the baton."""
        member.thread = threading.current_thread()
        with self._lock:
            if not self._over:
                self._members.append(member)
            member.arrived.set()
        if not self._over:
            member.await_turn()

    def leave(self, member: Member, *, ends: bool) -> None:
        """Leave, holding the baton, for good.

        Args:
            member: Who leaves.
            ends: Whether its thread is about to end.
        """
        with self._lock:
            if self._over or member not in self._members:
                return
            after = self._after(member)
            self._members.remove(member)
            self._quiet = 0
            if ends and member.thread is not None:
                self._leavers.append(member.thread)
        after[0].give(Turn())

    def see_off_leavers(self) -> None:
        """Wait until those who have left have ended; a short while, as they have nothing left to do."""
        while self._leavers:
            self._leavers.pop().join(_PAUSE)

    def dissolve(self) -> None:
        """Have all loops go on in real time, and at the same time."""
        with self._lock:
            if self._over:
                return
            self._over = True
            others = [member for member in self._members if member is not self.founder]
        for member in others:
            member.give(Turn(over=True))

    # -- Who is next

    def decide(self, member: Member, *, quiet: bool) -> Turn | None:
        """Give the baton to who is next; returns the turn if that is the member itself."""
        if self._over:
            return Turn(over=True)
        if member.rest.ready:
            self._quiet = 0
        else:
            self._quiet = self._quiet + 1 if quiet else 1
        if not quiet:
            self._patient.clear()
            self._pauses = 0
        wanted, self._wanted = self._wanted, None
        if wanted is not None or self._quiet < len(self._members):
            target, turn = wanted or self._after(member)[0], Turn()
        else:
            self._quiet = 0
            target, turn = self._when_all_are_quiet(member)
        if target is member:
            return turn
        target.give(turn)
        return None

    def _after(self, member: Member) -> list[Member]:
        """Return all members in order, from the one that comes after this one."""
        place = self._members.index(member) + 1
        return self._members[place:] + self._members[:place]

    def _when_all_are_quiet(self, member: Member) -> tuple[Member, Turn]:
        order = self._after(member)
        for one in order:
            if one.rest.threads.at_work:
                return one, Turn(pause=self._next_pause())
        if self._io_patience > 0:
            for one in order:
                if one.rest.io and one not in self._patient:
                    self._patient.add(one)
                    return one, Turn(pause=self._io_patience)
        least = min(one.rest.deadline for one in order)
        if least < math.inf:
            self.now = max(self.now, least)
            self._patient.clear()
            return next(one for one in self._members if one.rest.deadline <= self.now), Turn()
        waiting = [one for one in order if one.rest.io]
        asking = {thread for one in order for thread in one.rest.threads.asking}
        if waiting or somebody_may_call(self.threads() | asking):
            return (waiting or order)[0], Turn(pause=self._next_pause())
        return self.founder, Turn(stuck=self.describe())

    def _next_pause(self) -> float:
        self._pauses += 1
        return PAUSES[min(self._pauses, len(PAUSES)) - 1]

    def give_way_to(self, wanted: Member) -> None:
        """Have the present turn end with the present pass, and that of another one follow."""
        self._wanted = wanted
        self.member_here().end_turn()

    def member_here(self) -> Member:
        """Return the member whose thread calls."""
        here = threading.current_thread()
        return next(member for member in self._members if member.thread is here)

    # -- What they are doing

    def describe(self) -> str:
        """Return the stacks of all tasks of all loops; to be called by who holds the baton."""
        member = self.member_here()
        texts = {member: describe_tasks()}
        for one in self._members:
            if one is not member:
                self._send(one, member, texts)
        return "\n".join(filter(None, (texts[one] for one in self._members)))

    def _send(self, one: Member, member: Member, texts: dict[Member, str]) -> None:
        done = threading.Event()

        def errand() -> None:
            try:
                texts[one] = describe_tasks()
            except RuntimeError:
                texts[one] = ""  # it has just joined
            finally:
                done.set()

        one.give(Turn(), errand)
        done.wait()

    # -- Threads that are begun in one of its loops

    def seat(self) -> Seat:
        """Return what runs the event loop of a thread as a part of the relay."""
        return Seat(self)


class Seat:
    """Runs the event loop of one thread as a part of a relay: see `LoopRunner` of the engine."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._member = Member(relay)

    def begun(self, thread: threading.Thread) -> None:
        """Wait until it has joined."""
        self._relay.await_arrival(self._member, thread)

    def serve(self, work: Callable[[], None]) -> None:
        """Join, work, and leave."""
        self._relay.arrive(self._member)
        try:
            work()
        finally:
            self._relay.leave(self._member, ends=True)

    def run(self, main: Callable[[], Coroutine[Any, Any, None]], options: dict[str, Any]) -> None:
        """Run an event loop in the relay's time; in real time, if that can't be."""
        module = time_module(options["backend"])
        virtual = module.virtual_options(options.get("backend_options") or {})
        if self._relay.over:
            anyio.run(main, **options)
        elif virtual is not None:
            anyio.run(
                self._main, main, module, backend=options["backend"], backend_options=virtual
            )
        elif self._relay.setting.strict:
            raise StructmodeError(
                f"the time of this thread's event loop can't be virtual: {options}",
                "Give the thread the backend 'asyncio' or 'trio', and no event loop or clock of its own",
            )
        else:
            self._relay.leave(self._member, ends=False)
            anyio.run(main, **options)

    async def _main(self, main: Callable[[], Coroutine[Any, Any, None]], module: Any) -> None:
        driver: Driver = module.driver_of(self._member)
        driver.start()
        restore = engine.run_threads_by(self._relay.seat)
        failure: BaseException | None = None
        try:
            async with self._relay.setting.around():
                try:
                    await main()
                except BaseException as exc:  # noqa: ASYNC103, BLE001 - raised below, as it is
                    failure = exc
        finally:
            restore()
            driver.stop()
        if failure is not None:
            raise failure


def time_module(backend: str) -> Any:
    """Return the module that makes time virtual on an event loop."""
    return import_module(f"{__package__}._time_on_{backend}")
