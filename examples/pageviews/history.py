"""The history: views per second for a minute, in memory; views per minute for a week, in the database."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from structmode import Service

from .counter import Counter
from .store import Store, StoreError

#: How much of the past is shown: seconds, and minutes.
SHOWN = 60
#: How much of it is kept, in minutes.
KEPT = 7 * 24 * 60


def this_minute() -> int:
    """Return the current minute of the Unix clock."""
    return int(time.time()) // 60


class History(Service):
    """Notes how many views there were, each second and each minute.

    Args:
        store: Where the minutes are kept.
        counter: Who counts the views.
    """

    def __init__(self, store: Store, counter: Counter, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.store = store
        self.counter = counter
        self.seconds: deque[int] = deque([0] * SHOWN, SHOWN)
        self._minutes: dict[int, int] = {}

    async def on_start(self) -> None:
        """Go on from the stored minutes."""
        self._minutes = await self.store.minutes(since=this_minute() - SHOWN)
        self._last_second = self._last_minute = self.counter.total

    @property
    def minutes(self) -> list[int]:
        """The views of each of the last minutes, the current one last."""
        now = this_minute()
        past = [self._minutes.get(minute, 0) for minute in range(now - SHOWN + 1, now)]
        current = self._minutes.get(now, 0) + self.counter.total - self._last_minute
        return [*past, current]

    @Service.timer(1.0)
    async def note_second(self) -> None:
        """Note the views of the second that has passed."""
        self.seconds.append(self.counter.total - self._last_second)
        self._last_second = self.counter.total

    @Service.crontab("* * * * *", on_error="log")
    async def note_minute(self) -> None:
        """Note the views of the minute that has passed; if the store fails, the next note holds them."""
        await self._note(this_minute() - 1)

    @Service.crontab("0 * * * *", on_error="log")
    async def forget(self) -> None:
        """Drop what is too old."""
        self._minutes = await self.store.minutes(since=this_minute() - SHOWN)
        await self.store.forget_minutes(before=this_minute() - KEPT)

    async def on_shutdown(self) -> None:
        """Note the minute that is not yet over; a new start adds to it."""
        try:
            await self._note(this_minute())
        except StoreError as error:  # no reason to fail: the promise is about the counts
            self.log.warning("%s. The history has a gap", error)

    async def _note(self, minute: int) -> None:
        total = self.counter.total
        views = total - self._last_minute
        if views:
            await self.store.add_minute(minute, views)
        self._minutes[minute] = self._minutes.get(minute, 0) + views
        self._last_minute = total
