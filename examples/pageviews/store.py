"""The store: SQLite, in a thread of its own.

SQLite blocks, so it gets a thread, which has one worker: the connection is made, used and closed in that thread, by one call
at a time. A call that has begun is waited for even when its caller is cancelled, and its result is not lost: a transaction
is either refused before it began, or its outcome is known.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, contextmanager
from typing import Any, TypeVar

from structmode import LifecycleError, QueueServiceThread

T = TypeVar("T")

SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS counts (path TEXT PRIMARY KEY, views INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS minutes (minute INTEGER PRIMARY KEY, views INTEGER NOT NULL);
COMMIT;
"""
ADD_VIEWS = """
INSERT INTO counts (path, views) VALUES (?, ?)
ON CONFLICT (path) DO UPDATE SET views = views + excluded.views
"""
ADD_MINUTE = """
INSERT INTO minutes (minute, views) VALUES (?, ?)
ON CONFLICT (minute) DO UPDATE SET views = views + excluded.views
"""


class StoreError(Exception):
    """The database could not be read or written; what was to be written has not been."""


class Store(QueueServiceThread):
    """The counts, and the views of each minute, in a file.

    Args:
        path: The file; made if it is not there.
        patience: How long to wait for another program that has locked the file, in seconds.
    """

    num_workers = 1

    def __init__(self, path: str, *, patience: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.patience = patience

    async def on_start(self) -> None:
        """Open the database, and write to it: what can't be written must not look as if it had started."""
        with self._explained():
            # No isolation level: transactions begin where this file says so, and nowhere else.
            db = sqlite3.connect(self.path, timeout=self.patience, isolation_level=None)
            self._db = self.add_context(closing(db))
            db.execute("PRAGMA journal_mode = WAL")  # others may read while we write
            db.executescript(SCHEMA)

    async def counts(self) -> dict[str, int]:
        """Return the views of each path."""
        return dict(await self._query("SELECT path, views FROM counts"))

    async def add_views(self, views: Mapping[str, int]) -> None:
        """Add to the views of each path: all of them, or none and an error."""
        await self._write(ADD_VIEWS, views.items())

    async def minutes(self, since: int) -> dict[int, int]:
        """Return the views of each minute from `since` on, in minutes of the Unix clock."""
        return dict(
            await self._query("SELECT minute, views FROM minutes WHERE minute >= ?", since)
        )

    async def add_minute(self, minute: int, views: int) -> None:
        """Add to the views of a minute."""
        await self._write(ADD_MINUTE, [(minute, views)])

    async def forget_minutes(self, before: int) -> None:
        """Drop the minutes before `before`."""
        await self._write("DELETE FROM minutes WHERE minute < ?", [(before,)])

    async def _query(self, sql: str, *values: object) -> list[Any]:
        return await self._call(lambda: self._db.execute(sql, values).fetchall())

    async def _write(self, sql: str, rows: Any) -> None:
        def transaction() -> None:
            with self._db:  # commits, or rolls back
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany(sql, rows)

        await self._call(transaction)

    async def _call(self, function: Callable[[], T]) -> T:
        with self._explained():
            return await self.call_thread(function)

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, LifecycleError) as error:  # the latter if the store has stopped
            raise StoreError(self._explain(error)) from error

    def _explain(self, error: Exception) -> str:
        problem = f"The database {self.path} can't be used: {error}"
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
            return f"{problem}; another program has held it for {self.patience:g} s"
        return problem
