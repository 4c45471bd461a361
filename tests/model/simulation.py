"""A clock that jumps, and processes that wait on it: what the model is written on.

A process is a generator. It yields `Wait`s, and is resumed when the gate it waits for has been opened or its time has come.
Cancelling it is level-triggered: from then on every wait that is not shielded raises `Cut`.

Things that happen one because of the other, in no time, are done one after the other in the order of their causes. Things
that happen in the same instant by chance have no order, so a plan that has such is refused with `Tie`.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

T = TypeVar("T")


# In how many instants something may happen, before this is taken for an endless play.
_MOST_INSTANTS = 5000


class Tie(Exception):
    """Two things fall in the same instant by chance."""


class Stuck(Exception):
    """Processes are left that nothing will wake, or that never end."""


class Cut(Exception):
    """The process was cancelled in its wait."""


class Gate:
    """Something that comes about once, and can be waited for."""

    def __init__(self) -> None:
        self.is_open = False
        self._waiting: list[Callable[[], None]] = []

    def open(self) -> None:
        """Let all go on that wait for it."""
        if not self.is_open:
            self.is_open = True
            waiting, self._waiting = self._waiting, []
            for wake in waiting:
                wake()

    def when_open(self, wake: Callable[[], None]) -> None:
        """Call something when it opens."""
        self._waiting.append(wake)


@dataclass
class Wait:
    """What a process waits for: a gate, a time, or whichever comes first.

    Attributes:
        gate: The gate.
        until: The time.
        cause: Whose time it is: what falls in one instant for the same cause is no tie.
        shielded: Whether it goes on in a process that is cancelled.
        gives_way: Whether it is cut short also if the process is cancelled in the very instant in which it ends.
    """

    gate: Gate | None = None
    until: int | None = None
    cause: Hashable = None
    shielded: bool = False
    gives_way: bool = False


#: What a process is made of. A wait tells whether its gate is open.
Doing: TypeAlias = Generator[Wait, bool, T]


@dataclass(order=True)
class Timer:
    """Something to be done at a time, unless it is dropped before."""

    at: int
    order: int
    action: Callable[[], None] = field(compare=False)
    cause: Hashable = field(compare=False)
    dropped: bool = field(default=False, compare=False)

    def drop(self) -> None:
        """Don't do it."""
        self.dropped = True


class Process:
    """A generator that is run by the simulation."""

    def __init__(self, simulation: Simulation, doing: Doing[None]) -> None:
        self._simulation = simulation
        self._doing = doing
        self.cancelled = False
        #: Opens when it is over.
        self.over = Gate()
        self._wait: Wait | None = None
        self._timer: Timer | None = None
        simulation.soon(lambda: self._resume(None))

    def cancel(self) -> None:
        """Cut this wait short, and all that follow."""
        self.cancelled = True
        if self._wait is not None and not self._wait.shielded:
            self._wake(self._wait, cut=True)

    def _wake(self, wait: Wait, *, cut: bool = False) -> None:
        """Have it go on; what woke it first counts, if more happens in the same instant."""
        if self._wait is wait:
            self._wait = None
            if self._timer is not None:
                self._timer.drop()
                self._timer = None
            self._simulation.soon(lambda: self._resume(wait, cut=cut))

    def _resume(self, wait: Wait | None, *, cut: bool = False) -> None:
        try:
            if wait is None:
                following = next(self._doing)
            elif cut or (wait.gives_way and self.cancelled):
                following = self._doing.throw(Cut())
            else:
                following = self._doing.send(wait.gate is not None and wait.gate.is_open)
        except StopIteration:
            self._simulation.alive.discard(self)
            self.over.open()
            return
        self._begin(following)

    def _begin(self, wait: Wait) -> None:
        self._wait = wait
        is_open = wait.gate is not None and wait.gate.is_open
        cut = self.cancelled and not wait.shielded
        if is_open or cut:
            self._wake(wait, cut=cut)
            return
        if wait.gate is not None:
            wait.gate.when_open(lambda: self._wake(wait))
        if wait.until is not None:
            cause = wait.cause if wait.cause is not None else id(wait)
            self._timer = self._simulation.at(wait.until, lambda: self._wake(wait), cause)


class Simulation:
    """Runs processes, in no real time."""

    def __init__(self) -> None:
        self.now = 0
        #: The processes that are not over.
        self.alive: set[Process] = set()
        self._ready: deque[Callable[[], None]] = deque()
        self._timers: list[Timer] = []
        self._order = itertools.count()

    def soon(self, action: Callable[[], None]) -> None:
        """Do something in this instant, after all that is to be done already."""
        self._ready.append(action)

    def at(self, time: int, action: Callable[[], None], cause: Hashable) -> Timer:
        """Do something at a time; at once, if that has passed."""
        timer = Timer(max(time, self.now), next(self._order), action, cause)
        heapq.heappush(self._timers, timer)
        return timer

    def spawn(self, doing: Doing[None]) -> Process:
        """Begin a process."""
        process = Process(self, doing)
        self.alive.add(process)
        return process

    def run(self, until: int | None = None) -> None:
        """Run until all processes are over, or until the last instant before a time.

        Raises:
            Tie: If two things fall in the same instant by chance.
            Stuck: If a process waits for what will not come, or there is no end.
        """
        for _ in range(_MOST_INSTANTS):
            self._do_ready()
            due = self._due()
            if not due:
                if self.alive:
                    raise Stuck
                return
            if until is not None and due[0].at >= until:
                return
            if len({timer.cause for timer in due}) > 1 and due[0].at > self.now:
                raise Tie
            self.now = due[0].at
            for timer in due:
                if not timer.dropped:
                    timer.action()
        raise Stuck

    def _do_ready(self) -> None:
        while self._ready:
            self._ready.popleft()()

    def _due(self) -> list[Timer]:
        due: list[Timer] = []
        while self._timers and (not due or self._timers[0].at == due[0].at):
            timer = heapq.heappop(self._timers)
            if not timer.dropped:
                due.append(timer)
        return due
