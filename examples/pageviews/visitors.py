"""The visitors: who has been seen lately, by a random cookie; kept in memory only, and not for long."""

from __future__ import annotations

from typing import Any

import anyio

from structmode import Service

#: How many are remembered, so that nobody can fill the memory.
MAX_VISITORS = 10_000


class Visitors(Service):
    """Remembers visitors, and forgets those that have not been seen for some time.

    Args:
        memory: For how long a visitor is remembered, in seconds.
    """

    def __init__(self, *, memory: float = 30.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.memory = memory
        # In the order in which they were last seen: the first to be forgotten is always the first.
        self._seen: dict[str, float] = {}

    @property
    def now(self) -> int:
        """How many there are at the moment."""
        return len(self._seen)

    def see(self, visitor: str) -> None:
        """Note that a visitor is there."""
        self._seen.pop(visitor, None)
        self._seen[visitor] = anyio.current_time()
        if len(self._seen) > MAX_VISITORS:
            self._forget_first()

    @Service.timer(1.0)
    async def expire(self) -> None:
        """Forget those who have not been seen for too long."""
        oldest = anyio.current_time() - self.memory
        while self._seen and next(iter(self._seen.values())) < oldest:
            self._forget_first()

    def _forget_first(self) -> None:
        del self._seen[next(iter(self._seen))]
