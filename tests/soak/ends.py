"""Violent ends: one life of the program after the other, on the same database, and what each leaves is held to account."""

from __future__ import annotations

import collections
import itertools
import random
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from .ledger import Damaged, Ledger, read_copy
from .program import TooLate
from .violence import CLEAN, CRASHED, Life, Way, deal, name_of


class Failed(Exception):
    """The program did what it must not do; the text says what."""


class Ends:
    """Lives of the program, and their ends.

    Args:
        room: The directory for the database and the log.
        rng: Whatever is random.
        under_load: How long a life is under load at most before its end begins, in seconds.
    """

    def __init__(self, room: Path, rng: random.Random, under_load: float) -> None:
        self._database = room / "pageviews.db"
        self._log = room / "last-life.log"
        self._rng = rng
        self._under_load = under_load
        self._usual_start = 1.0
        self.ways: collections.Counter[str] = collections.Counter()
        self.codes: collections.Counter[int] = collections.Counter()
        self.acknowledged = self.saved = self.lost = self.invented = 0

    def live(self, backends: Sequence[str], ends: int) -> Iterator[str]:
        """Live and end so many times; after each end, returns which it was.

        Raises:
            Failed: If the program did what it must not do.
        """
        for way, backend in itertools.islice(
            zip(deal(self._rng), itertools.cycle(backends), strict=False), ends
        ):
            what = f"{name_of(way)} on {backend}"
            try:
                code = self._live_once(way, backend)
            except (Failed, TooLate, Damaged, sqlite3.Error) as error:
                raise Failed(f"{what}: {error}") from error
            self.ways[name_of(way)] += 1
            self.codes[code] += 1
            yield what

    def _live_once(self, way: Way, backend: str) -> int:
        ledger = Ledger(read_copy(self._database))
        with Life(
            backend,
            self._database,
            self._log,
            ledger,
            self._rng,
            self._usual_start,
            self._under_load,
        ) as life:
            expected = way(life)
            code = life.end()
            self._usual_start = life.usual_start
        self._judge(code, expected, life, ledger)
        return code

    def _judge(self, code: int, expected: set[int], life: Life, ledger: Ledger) -> None:
        program = life.program
        ended = code in (CLEAN, CRASHED) or program.stopped_in_order
        faults = ledger.check(
            read_copy(self._database), counted=ended, lost=program.named_as_lost()
        )
        self.acknowledged += ledger.acknowledged
        self.saved += ledger.saved
        self.lost += ledger.lost
        self.invented += ledger.invented
        if code not in expected:
            faults.append(f"exit code {code} is none of {sorted(expected)}")
        if code == CLEAN and not life.locked_for:
            faults += program.complaints()
        if faults:
            raise Failed("\n  ".join(faults))

    def __str__(self) -> str:
        ways = ", ".join(f"{count} {name}" for name, count in self.ways.most_common())
        codes = ", ".join(f"{code}: {count}" for code, count in sorted(self.codes.items()))
        return (
            f"{self.ways.total()} violent ends ({ways}; exit codes {codes}), {self.acknowledged:,} views acknowledged, "
            f"{self.saved:,} of them as saved, {self.lost} lost, {self.invented} invented"
        )
