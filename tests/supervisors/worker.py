"""A service to be supervised: it logs its life, and fails when told to."""

from __future__ import annotations

from typing import Any

import anyio

from structmode import Service
from tests.engine.unit import settle


class Worker(Service):
    """Waits until it is told how to end.

    Args:
        name: How it is called.
        log: What becomes of it is written here; it may be shared.
    """

    def __init__(self, name: str, log: list[str] | None = None, **kwargs: Any) -> None:
        self.name = name
        self.history: list[str] = [] if log is None else log
        #: What its next starts raise.
        self.start_failures: list[BaseException] = []
        #: What its next stops raise.
        self.stop_failures: list[BaseException] = []
        #: Held open, if it is set to an event.
        self.gate: anyio.Event | None = None
        self.starts = 0
        super().__init__(**kwargs)

    @property
    def shortlabel(self) -> str:
        return self.name

    async def on_start(self) -> None:
        self.starts += 1
        self._told = anyio.Event()
        self._reason: BaseException | None = None
        if self.gate is not None:
            await self.gate.wait()
        if self.start_failures:
            self.history.append(f"{self.name} fails to start")
            raise self.start_failures.pop(0)
        self.history.append(f"start {self.name}")

    async def on_stop(self) -> None:
        self.history.append(f"stop {self.name}")
        if self.stop_failures:
            raise self.stop_failures.pop(0)

    @Service.task
    async def work(self) -> None:
        await self._told.wait()
        if self._reason is not None:
            raise self._reason
        await self.stop()

    def fail(self, reason: BaseException | None = None) -> BaseException:
        """Have its task raise; returns what it raises."""
        self._reason = ValueError(f"{self.name} failed") if reason is None else reason
        self._told.set()
        return self._reason

    def end(self) -> None:
        """Have it end by itself, without a failure."""
        self._told.set()


class SlowToStop(Worker):
    """Stops when it is released; a deaf one, not even when its time is up."""

    def __init__(
        self, name: str, log: list[str] | None = None, *, deaf: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(name, log, **kwargs)
        self.deaf = deaf
        self.released = anyio.Event()

    async def on_stop(self) -> None:
        await super().on_stop()
        with anyio.CancelScope(shield=self.deaf):
            await self.released.wait()


def workers(names: str) -> tuple[list[str], list[Worker]]:
    """Make workers of one letter each, and the log that they share."""
    log: list[str] = []
    return log, [Worker(name, log) for name in names]


async def quiet() -> None:
    """Wait until nothing happens any more."""
    await anyio.wait_all_tasks_blocked()
    await (
        settle()
    )  # on asyncio the other one may come back while what is due has not been called yet


async def failing(*those: Worker) -> None:
    """Have workers fail at once, and wait for what comes of it."""
    for worker in those:
        worker.fail()
    await quiet()
