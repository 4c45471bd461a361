"""The violence: all the ways in which a life of the program is brought to its end, and how each should end.

The codes are those that the documentation of `Worker` names. A signal that comes before Python has got to the program, or
after the program has given the signals back, does what it does to any Python process.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Self, TypeAlias

from .ledger import Ledger
from .load import Load
from .program import Program

CLEAN, CRASHED = 0, 1
KILLED = (
    -9
)  # SIGKILL, which not every platform has; on one that does not, this can still be imported
TERMINATED = -signal.SIGTERM
INTERRUPTED = -signal.SIGINT
FORCED = 128 + signal.SIGINT

#: How long a stop may take: the Worker's `shutdown_timeout` of 60 s, its second of grace, and the end of the interpreter.
LIMIT = 66.0
#: For how long the database may be locked without harm: the counter's patience of 3 s, less one wait of the store of 1 s.
HARMLESS = 2.0


class Life:
    """One life of the program, in the hands of a way to end it.

    Args:
        backend: Its event loop.
        database: Where it keeps its counts.
        log: The file to put its log in.
        ledger: Where its clients keep account.
        rng: Whatever is random.
        usual_start: How long a start takes, in seconds.
        under_load: How long it may be under load at most before its end begins, in seconds.
    """

    def __init__(
        self,
        backend: str,
        database: Path,
        log: Path,
        ledger: Ledger,
        rng: random.Random,
        usual_start: float,
        under_load: float,
    ) -> None:
        self._backend = backend
        self._database = database
        self._log = log
        self._ledger = ledger
        self.rng = rng
        self.usual_start = usual_start
        self._under_load = under_load
        #: For how long the database was locked.
        self.locked_for = 0.0
        self._left = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._left.close()

    def start(self) -> Program:
        """Start the program."""
        self._began = time.monotonic()
        self.program = self._left.enter_context(Program(self._backend, self._database, self._log))
        return self.program

    def start_and_load(self) -> Program:
        """Start the program, put it under load, and let it live for a while."""
        program = self.start()
        port = program.wait_until_it_serves()
        self.usual_start = time.monotonic() - self._began
        self._left.enter_context(Load(port, self._ledger, self.rng))
        self.pause(0.1, self._under_load)
        return program

    def end(self) -> int:
        """Wait for the end of the program, then of its clients; returns its exit code."""
        code = self.program.wait(LIMIT)
        self._left.close()
        return code

    def pause(self, least: float, most: float) -> None:
        """Let some time pass, in seconds."""
        time.sleep(self.rng.uniform(least, most))

    @contextlib.contextmanager
    def locked(self) -> Generator[None]:
        """Hold the database, as another program that writes to it would."""
        with contextlib.closing(
            sqlite3.connect(self._database, isolation_level=None, timeout=30)
        ) as db:
            since = time.monotonic()
            db.execute("BEGIN IMMEDIATE")
            yield
            db.execute("ROLLBACK")
            self.locked_for = time.monotonic() - since


#: Ends a life, and returns the exit codes that it may have.
Way: TypeAlias = Callable[[Life], set[int]]


def kill(life: Life) -> set[int]:
    """SIGKILL"""
    life.start_and_load().tell(signal.SIGKILL)
    return {KILLED}


def kill_in_start(life: Life) -> set[int]:
    """SIGKILL in the start"""
    program = life.start()
    life.pause(0, 1.2 * life.usual_start)
    program.tell(signal.SIGKILL)
    return {KILLED}


def kill_while_stopping(life: Life) -> set[int]:
    """SIGKILL while stopping"""
    program = life.start_and_load()
    program.tell(signal.SIGTERM)
    life.pause(0, 0.3)
    program.tell(signal.SIGKILL)
    return {KILLED, CLEAN}


def terminate(life: Life) -> set[int]:
    """SIGTERM"""
    life.start_and_load().tell(signal.SIGTERM)
    return {CLEAN}


def terminate_in_start(life: Life) -> set[int]:
    """SIGTERM in the start"""
    program = life.start()
    life.pause(0, 1.2 * life.usual_start)
    program.tell(signal.SIGTERM)
    return {CLEAN, TERMINATED}


def interrupt(life: Life) -> set[int]:
    """SIGINT"""
    life.start_and_load().tell(signal.SIGINT)
    return {CLEAN}


def interrupt_twice(life: Life) -> set[int]:
    """SIGINT twice"""
    return _interrupt(life, 2)


def interrupt_thrice(life: Life) -> set[int]:
    """SIGINT three times"""
    return _interrupt(life, 3)


def _interrupt(life: Life, times: int) -> set[int]:
    program = life.start_and_load()
    for _ in range(times):
        program.tell(signal.SIGINT)
        life.pause(0, 0.06 / times)
    return {CLEAN, FORCED, INTERRUPTED}


def starve(life: Life) -> set[int]:
    """SIGSTOP and SIGCONT"""
    program = life.start_and_load()
    for _ in range(life.rng.randint(1, 2)):
        program.tell(signal.SIGSTOP)
        life.pause(0.1, 1.2)
        program.tell(signal.SIGCONT)
        life.pause(0.1, 0.5)
    if life.rng.random() < 0.3:
        program.tell(signal.SIGKILL)
        return {KILLED}
    program.tell(signal.SIGSTOP)
    program.tell(signal.SIGTERM)
    life.pause(0, 0.3)
    program.tell(signal.SIGCONT)
    return {CLEAN}


def lock_for_a_while(life: Life) -> set[int]:
    """database locked for a while"""
    program = life.start_and_load()
    with life.locked():
        life.pause(0.2, 1.2)
        program.tell(signal.SIGTERM)
        life.pause(0, 0.5)
    return {CLEAN} if life.locked_for < HARMLESS else {CLEAN, CRASHED}


def lock_for_good(life: Life) -> set[int]:
    """database locked for good"""
    program = life.start_and_load()
    with life.locked():
        life.pause(0, 0.5)  # so that there is something that can't be saved
        if life.rng.random() < 0.5:
            program.tell(signal.SIGTERM)
        program.wait(LIMIT)
    return {CRASHED}


def lock_at_start(life: Life) -> set[int]:
    """database locked at the start"""
    with life.locked():
        life.start().wait(LIMIT)
    return {CRASHED}


WAYS: tuple[Way, ...] = (
    kill,
    kill_in_start,
    kill_while_stopping,
    terminate,
    terminate_in_start,
    interrupt,
    interrupt_twice,
    interrupt_thrice,
    starve,
    lock_for_a_while,
    lock_for_good,
    lock_at_start,
)
#: What comes more often than the others.
FAVOURITES: tuple[Way, ...] = (kill, kill, kill, kill_while_stopping)


def name_of(way: Way) -> str:
    """Return the name of a way."""
    return way.__doc__ or ""


def deal(rng: random.Random) -> Generator[Way]:
    """Return ways without end: each of them first, in some order, then all again with the favourites among them."""
    hand = list(WAYS)
    while True:
        rng.shuffle(hand)
        yield from hand
        hand = [*WAYS, *FAVOURITES]
