"""Policies and the limit of a start on every event loop, uvloop too, on which time can't be virtual."""

from __future__ import annotations

import anyio
import pytest

from structmode import Service, StartTimeout
from structmode.exceptions import TaskReturned
from structmode.services import task, timer
from structmode.supervisors import Backoff

AT_ONCE = Backoff(initial=0.001, jitter=0.0)


async def test_restart() -> None:
    """Work that fails is begun again, and the service goes on."""

    class Again(Service):
        tries = 0

        async def on_start(self) -> None:
            self.done = anyio.Event()

        @task(on_error="restart", backoff=AT_ONCE)
        async def work(self) -> None:
            """Fail twice."""
            self.tries += 1
            if self.tries < 3:
                raise OSError("again")
            self.done.set()

    async with Again() as service:
        await service.done.wait()
        assert service.tries == 3
        assert service.failures == ()


async def test_log() -> None:
    """A tick that fails is told, and the next one comes."""

    class Ticks(Service):
        ticks = 0

        async def on_start(self) -> None:
            self.done = anyio.Event()

        @timer(0.001, on_error="log")
        async def tick(self) -> None:
            """Fail each time."""
            self.ticks += 1
            if self.ticks == 3:
                self.done.set()
            raise OSError("tick")

    async with Ticks() as service:
        await service.done.wait()
        assert service.crash_reason is None


async def test_forever() -> None:
    """A task that must not return, and does, is a crash."""

    class Short(Service):
        @task(forever=True)
        async def work(self) -> None:
            """Return at once."""

    with pytest.raises(TaskReturned):
        async with Short():
            await anyio.sleep_forever()  # pragma: no cover - it may have ended before


async def test_start_timeout() -> None:
    """A start that takes too long fails, and shows where it hangs."""

    class Slow(Service):
        start_timeout = 0.01

        async def on_start(self) -> None:
            await anyio.sleep_forever()

    with pytest.raises(StartTimeout, match="Slow: on_start"):
        await Slow().start()
