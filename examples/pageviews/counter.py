"""The counter: the cache between the requests, which come often, and the database, which takes its time.

A view is counted in memory at once. Twice a second a timer hands all that is new to the store, in one transaction.
What is on its way there has left `_unsaved`, so that a view which arrives meanwhile is neither lost nor written twice;
if the store fails, it comes back. Views have numbers: whoever must be sure waits until those up to his own are stored.
"""

from __future__ import annotations

import collections
from typing import Any

import anyio

from structmode import Service

from .store import Store, StoreError

#: How many different paths are counted, so that nobody can fill the memory.
MAX_PATHS = 1000


class NotCounted(Exception):
    """A view could not be counted."""


class NotSaved(Exception):
    """A view has been counted, and it is not known whether it will be saved."""


class Counter(Service):
    """Counts views, and sees to it that they are saved.

    Args:
        store: Where they are saved.
        patience: For how long the store may fail before this crashes, in seconds.
    """

    def __init__(self, store: Store, *, patience: float = 3.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.store = store
        self.patience = patience
        self.views: collections.Counter[str] = collections.Counter()
        self._unsaved: collections.Counter[str] = collections.Counter()
        self._open = False
        self._number = 0  # of the last view
        self._saved = 0  # the views up to this number have been saved
        self._progress = anyio.Event()  # set when more of them are, and replaced
        self._turn = anyio.Lock()

    @property
    def total(self) -> int:
        """All views of all paths."""
        return self.views.total()

    async def on_start(self) -> None:
        """Go on from the stored counts."""
        self.views = collections.Counter(await self.store.counts())
        self._open = True

    def count(self, path: str) -> int:
        """Count a view of `path`; returns how many that makes.

        Raises:
            NotCounted: If there are too many paths, or the counter has stopped.
        """
        if not self._open:
            raise NotCounted("the counter has stopped")
        if path not in self.views and len(self.views) >= MAX_PATHS:
            raise NotCounted(f"there are {MAX_PATHS} different paths already")
        self.views[path] += 1
        self._unsaved[path] += 1
        self._number += 1
        return self.views[path]

    async def wait_until_saved(self) -> None:
        """Wait until all that has been counted by now is in the database.

        Raises:
            NotSaved: If the counter stops before that; it may be saved all the same, as the last thing done.
        """
        number = self._number
        while self._saved < number:
            if await self.wait_for_stopped(self._progress):
                raise NotSaved("the counter stops")

    @Service.timer(0.5)
    async def save_regularly(self) -> None:
        """Save what is new."""
        await self.save()

    async def save(self) -> None:
        """Save all that is new by now; if the store fails, keep it and try again.

        Raises:
            StoreError: If the store has failed for as long as there is patience.
        """
        give_up = anyio.current_time() + self.patience
        while True:
            try:
                return await self._save_once()
            except StoreError as error:
                if anyio.current_time() >= give_up:
                    raise
                self.log.warning("%s; views kept: %d", error, self._unsaved.total())
                await anyio.sleep(0.1)

    async def _save_once(self) -> None:
        async with self._turn:  # one after the other, or a view could be passed by those after it
            if not self._unsaved:
                return
            batch, self._unsaved = self._unsaved, collections.Counter()
            number = self._number
            try:
                await self.store.add_views(batch)
            except BaseException:  # cancelled before it began, too
                self._unsaved.update(batch)
                raise
            self._saved = number
        progress, self._progress = self._progress, anyio.Event()
        progress.set()

    async def on_shutdown(self) -> None:
        """Save the rest: all who count have stopped before us, and the timer has ended."""
        self._open = False  # nobody must be told of a view that would come too late
        try:
            await self.save()
        finally:
            for path, views in self._unsaved.items():
                self.log.critical("Lost views: %d of %s", views, path)
