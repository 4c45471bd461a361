"""`drain_timeout` in all its forms: that it grants time, and no more than it says."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from structmode import Service


class Drained(Service):
    """Has a task that needs a moment when it is told to stop."""

    needs = 0.005

    def on_init(self) -> None:
        self.ends: list[str] = []

    @Service.task
    async def work(self) -> None:
        try:
            await self.wait_until_stopped()
            await anyio.sleep(self.needs)
        except anyio.get_cancelled_exc_class():
            self.ends.append("cancelled")
            raise
        self.ends.append("finished")


@pytest.mark.parametrize("timeout", [10, 10.0, "10", timedelta(seconds=10)])
async def test_a_drain_grants_time(timeout: float | str | timedelta) -> None:
    """Seconds, a string or a timedelta: within that time a task may end by itself."""
    service = Drained()
    service.drain_timeout = timeout  # type: ignore[assignment]
    async with service:
        await anyio.wait_all_tasks_blocked()
    assert service.ends == ["finished"]


@pytest.mark.parametrize("timeout", [0, 0.0, "0", timedelta(0), 0.01, timedelta(milliseconds=10)])
async def test_a_drain_is_not_longer_than_it_says(timeout: float | str | timedelta) -> None:
    """When the time has passed, or there was none, what is left is cancelled."""
    service = Drained()
    service.needs = 1000.0
    service.drain_timeout = timeout  # type: ignore[assignment]
    with anyio.fail_after(10.0):
        async with service:
            await anyio.wait_all_tasks_blocked()
    assert service.ends == ["cancelled"]


async def test_a_drain_may_be_a_property() -> None:
    """A class may work it out for each instance."""

    class Computed(Drained):
        @property
        def drain_timeout(self) -> float:  # type: ignore[override]
            return self.needs + 10.0

    async with Computed() as service:
        await anyio.wait_all_tasks_blocked()
    assert service.ends == ["finished"]
