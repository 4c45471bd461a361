"""The ledger: what clients know of their views, held against what is in the database.

A view goes through three hands. It is *sent*; the program answers that it is *counted*, or does not answer any more; and
if the client asked for that, it answers that it is *saved*. What has been said to be saved is in the database whatever
happens. What has been said to be counted is there when the program has ended by itself, or the log names it as lost.
What was never sent is never there.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Mapping
from pathlib import Path


class Account:
    """The views of one path, sent by one client, one after the other; its methods are called by that client only.

    Args:
        path: The path.
        before: How many were in the database before.
    """

    def __init__(self, path: str, before: int = 0) -> None:
        self.path = path
        self.before = before
        self.sent = 0
        self.counted = 0
        self.saved = 0
        self.faults: list[str] = []

    def send(self) -> None:
        """Note that a view is about to be sent."""
        self.sent += 1

    def answered(self, views: int, *, saved: bool) -> None:
        """Note the answer that the view is counted.

        Args:
            views: How many views of the path there are, says the answer.
            saved: Whether the view was to be answered when it is saved; so were all that were counted before it.
        """
        self.counted += 1
        if saved:
            self.saved = self.counted
        if not self.before + self.counted <= views <= self.before + self.sent:
            self.faults.append(f"{self} was answered with {views} views")

    def missing(self, stored: int, *, counted: bool) -> int:
        """Return how many are not stored that should be.

        Args:
            stored: How many are, or are named as lost.
            counted: Whether all that were counted should be, or only those said to be saved.
        """
        return max(0, self.before + (self.counted if counted else self.saved) - stored)

    def invented(self, stored: int) -> int:
        """Return how many are stored that were never sent."""
        return max(0, stored - self.before - self.sent)

    def __str__(self) -> str:
        words = (
            f"{self.before} before, {self.sent} sent, {self.counted} counted, {self.saved} saved"
        )
        return f"{self.path} ({words})"


class Ledger:
    """The accounts of all clients, from one look at the database to the next.

    Args:
        before: What is in the database at the beginning.
    """

    def __init__(self, before: Mapping[str, int] | None = None) -> None:
        self._before = dict(before or {})
        self._accounts: dict[str, Account] = {}
        self.lost = 0
        self.invented = 0

    def account(self, path: str) -> Account:
        """Return the account of a path; a client asks for it once, at its beginning."""
        if path not in self._accounts:
            self._accounts[path] = Account(path, self._before.get(path, 0))
        return self._accounts[path]

    @property
    def acknowledged(self) -> int:
        """How many views have been answered."""
        return sum(account.counted for account in self._accounts.values())

    @property
    def saved(self) -> int:
        """How many views have been answered as saved."""
        return sum(account.saved for account in self._accounts.values())

    def check(
        self, stored: Mapping[str, int], *, counted: bool, lost: Mapping[str, int] | None = None
    ) -> list[str]:
        """Hold the accounts against the database; returns what is wrong.

        Args:
            stored: What is in the database now.
            counted: Whether all views should be there that were counted, or only those said to be saved.
            lost: Views that the log names as lost; they count as accounted for, and must not be stored as well.
        """
        lost = lost or {}
        faults: list[str] = []
        for path in sorted({*self._before, *self._accounts, *stored, *lost}):
            account = self.account(path)
            found = stored.get(path, 0) + lost.get(path, 0)
            missing, invented = account.missing(found, counted=counted), account.invented(found)
            self.lost += missing
            self.invented += invented
            faults += account.faults
            if missing or invented:
                named = f", {lost[path]} named as lost" if path in lost else ""
                told = f"{stored.get(path, 0)} stored{named}"
                faults.append(f"{missing} lost, {invented} invented: {account}; {told}")
        return faults


class Damaged(Exception):
    """The database has been damaged."""


def read_copy(database: Path) -> dict[str, int]:
    """Return what a database holds that nobody writes to at the moment.

    It is read from a copy, so that the next life of the program finds it as its last life left it, and repairs it itself.

    Raises:
        Damaged: If SQLite finds fault with it.
    """
    if not database.exists():
        return {}
    with tempfile.TemporaryDirectory() as room:
        copy = Path(room, database.name)
        for suffix in ("", "-wal", "-journal"):  # -shm is made anew
            file = database.with_name(database.name + suffix)
            if file.exists():
                shutil.copy(file, copy.with_name(copy.name + suffix))
        return _read(copy)


def _read(database: Path) -> dict[str, int]:
    with contextlib.closing(sqlite3.connect(database)) as db:
        verdict = db.execute("PRAGMA integrity_check").fetchall()
        if verdict != [("ok",)]:
            raise Damaged(f"{database.name}: {verdict}")
        if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'counts'").fetchall():
            return {}
        return dict(db.execute("SELECT path, views FROM counts"))
