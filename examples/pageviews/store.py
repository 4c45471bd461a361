"""The store: SQLite, kept away from the event loop.

SQLite blocks, so every call runs in a thread; and the connection must be used by one thread at a time, so all of them
pass a limiter that has one token. A thread that has begun is waited for even when its caller is cancelled: a
transaction is either refused before it began, or its outcome is known.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from structmode import Service

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


class Store(Service):
    """The counts, and the views of each minute, in a file.

    Args:
        path: The file; made if it is not there.
        patience: How long to wait for another program that has locked the file, in seconds.
    """

    def __init__(self, path: str, *, patience: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.patience = patience

    async def on_start(self) -> None:
        """Open the database, and write to it: what can't be written must not look as if it had started."""
        self._turn = anyio.CapacityLimiter(1)
        self._db = await self.add_async_context(self._connection())
        await self._in_thread(self._db.executescript, SCHEMA)

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[sqlite3.Connection]:
        db = await self._in_thread(self._connect)
        try:
            yield db
        finally:
            with anyio.CancelScope(shield=True):
                await self._in_thread(db.close)

    def _connect(self) -> sqlite3.Connection:
        # No isolation level: transactions begin where this file says so, and nowhere else.
        db = sqlite3.connect(
            self.path, timeout=self.patience, isolation_level=None, check_same_thread=False
        )
        try:
            db.execute("PRAGMA journal_mode = WAL")  # others may read while we write
        except sqlite3.Error:
            db.close()
            raise
        return db

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
        return await self._in_thread(lambda: self._db.execute(sql, values).fetchall())

    async def _write(self, sql: str, rows: Any) -> None:
        def transaction() -> None:
            with self._db:  # commits, or rolls back
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany(sql, rows)

        await self._in_thread(transaction)

    async def _in_thread(self, function: Callable[..., T], *args: Any) -> T:
        try:
            return await anyio.to_thread.run_sync(function, *args, limiter=self._turn)
        except sqlite3.Error as error:
            raise StoreError(self._explain(error)) from error

    def _explain(self, error: sqlite3.Error) -> str:
        problem = f"The database {self.path} can't be used: {error}"
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
            return f"{problem}; another program has held it for {self.patience:g} s"
        return problem
