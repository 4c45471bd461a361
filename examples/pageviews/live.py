"""Live: what the page shows, put together four times a second, once for however many look on."""

from __future__ import annotations

import json
from typing import Any

import anyio

from structmode import Service

from .counter import Counter
from .history import History
from .visitors import Visitors

#: How many paths are shown, those with the most views.
TOP = 10


class Live(Service):
    """Tells all who wait for it when there is something new to show.

    Args:
        counter: Who counts the views.
        visitors: Who remembers the visitors.
        history: Who knows the past.
    """

    def __init__(
        self, counter: Counter, visitors: Visitors, history: History, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.counter = counter
        self.visitors = visitors
        self.history = history
        #: The latest snapshot, as JSON.
        self.snapshot = "{}"
        #: Set when there is a newer snapshot, and replaced.
        self.renewed = anyio.Event()

    async def on_start(self) -> None:
        """Note the time."""
        self._since = anyio.current_time()

    @Service.timer(0.25, exec_first=True)
    async def renew(self) -> None:
        """Make a new snapshot, and wake all who wait for it."""
        self.snapshot = json.dumps(self.describe())
        renewed, self.renewed = self.renewed, anyio.Event()
        renewed.set()

    def describe(self) -> dict[str, Any]:
        """Return all that the page shows."""
        return {
            "uptime": round(anyio.current_time() - self._since, 1),
            "total": self.counter.total,
            "paths": len(self.counter.views),
            "top": self.counter.views.most_common(TOP),
            "visitors": self.visitors.now,
            "seconds": list(self.history.seconds),
            "minutes": self.history.minutes,
            "services": [
                {"name": node.data.label, "state": node.data.state, "depth": node.depth}
                for node in (self.beacon.root or self.beacon).traverse()
            ],
        }
