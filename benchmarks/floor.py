"""The floor: by hand, with anyio alone, the least that keeps the laws of a service's life.

What is kept: a service has a task of its own, and in it a task group for all that it runs; it is up before the next one is
begun; it is told to stop in its turn, its tasks are cancelled and have ended before it has; its stop is bounded; and no
cancellation from elsewhere tears it apart. There are no hooks, no states, no failures that are kept and told, nothing that
can be added while it runs, and no restart.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from benchmarks.library import hand, open_group

#: How long a stop may take, in seconds.
BOUND = 60.0

Work: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


class Kept:
    """A service by hand.

    Args:
        work: What it runs in a task, if anything.
        child: A service in it, which is up before it is, and stops before it does.
    """

    def __init__(self, work: Work | None = None, child: Kept | None = None) -> None:
        self._work = work
        self._child = child
        self._up, self._told, self._over = hand.Event(), hand.Event(), hand.Event()

    async def start(self, group: hand.abc.TaskGroup) -> None:
        """Begin it in a group, and wait until it is up."""
        group.start_soon(self._live)
        await self._up.wait()

    async def stop(self) -> None:
        """Tell it to stop, and wait until it has."""
        self._told.set()
        await self._over.wait()

    async def _live(self) -> None:
        async with open_group() as group:
            group.cancel_scope.shield = True
            if self._work is not None:
                group.start_soon(self._work)
            if self._child is not None:
                await self._child.start(group)
            self._up.set()
            await self._told.wait()
            with hand.move_on_after(BOUND):
                if self._child is not None:
                    await self._child.stop()
            group.cancel_scope.cancel()
        self._over.set()


class KeptTask:
    """A task by hand that keeps the laws: its failure goes to its owner, it can be cancelled alone, and its end is known.

    Args:
        work: What it does.
        owned: Those that have not ended.
        on_failure: Told what it raises.
    """

    def __init__(
        self,
        work: Work,
        owned: set[KeptTask],
        on_failure: Callable[[Exception], object],
    ) -> None:
        self._work = work
        self._owned = owned
        self._on_failure = on_failure
        self._scope = hand.CancelScope()
        self.ended = hand.Event()
        owned.add(self)

    def cancel(self) -> None:
        """Have it end."""
        self._scope.cancel()

    async def run(self) -> None:
        """Do the work."""
        try:
            with self._scope:
                await self._work()
        except Exception as exc:  # noqa: BLE001 - its owner is told
            self._on_failure(exc)
        finally:
            self._owned.discard(self)
            self.ended.set()


@asynccontextmanager
async def all_of(services: Sequence[Kept]) -> AsyncGenerator[None]:
    """Have services run, started one after the other and stopped in reverse."""
    async with open_group() as group:
        try:
            for service in services:
                await service.start(group)
            yield
        finally:
            with hand.CancelScope(shield=True):
                for service in reversed(services):
                    await service.stop()  # noqa: ASYNC102 - each bounds its stop
