"""Where in a stop the shutdown flag is waited for: tasks have been cancelled by then, but need not have ended."""

from __future__ import annotations

import anyio
import pytest

from structmode import Service


class Flushing(Service):
    """Has a task that takes its time to end, and waits for the flag when it stops."""

    wait_for_shutdown = True

    def on_init(self) -> None:
        self.journal: list[str] = []
        self.may_end = anyio.Event()

    @Service.task
    async def work(self) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            self.journal.append("task is cancelled")
            with anyio.CancelScope(shield=True):
                await self.may_end.wait()
            self.journal.append("task ends")

    async def on_stop(self) -> None:
        self.journal.append("on_stop")

    async def on_shutdown(self) -> None:
        self.journal.append("on_shutdown")


async def test_the_flag_is_waited_for_before_tasks_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log says "-Stopped!" when tasks have been cancelled, be they still busy; then comes the flag, then their end."""
    caplog.set_level("INFO")
    service = Flushing()
    await service.start()
    await anyio.wait_all_tasks_blocked()
    async with anyio.create_task_group() as group:
        group.start_soon(service.stop)
        await anyio.wait_all_tasks_blocked()
        try:
            assert service.journal == ["on_stop", "task is cancelled"]
            assert caplog.messages[-1] == "[^Flushing]: -Stopped!"
            service.set_shutdown()
            await anyio.wait_all_tasks_blocked()
            assert (service.state, service.journal[-1]) == ("stopping", "task is cancelled")
        finally:
            service.set_shutdown()
            service.may_end.set()
    assert service.journal[2:] == ["task ends", "on_shutdown"]
    assert caplog.messages[-1] == "[^Flushing]: -Shutdown complete!"


async def test_a_task_may_allow_the_stop_as_it_ends() -> None:
    """A task that is cancelled may call set_shutdown() when it has put its things away."""

    class Permitting(Flushing):
        @Service.task
        async def work(self) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.005)
                self.set_shutdown()
                self.journal.append("task ends")

    async with Permitting() as service:
        await anyio.wait_all_tasks_blocked()
    assert service.journal == ["on_stop", "task ends", "on_shutdown"]
