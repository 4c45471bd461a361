"""Thread services under supervisors, and supervisors in threads."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from structmode import MaxRestartsExceeded, Service
from structmode.supervisors import (
    CrashingSupervisor,
    ForfeitOneForOneSupervisor,
    OneForAllSupervisor,
    OneForOneSupervisor,
    RestForOneSupervisor,
)

from .things import START, STOP, Noting, threads_of, until


async def fail() -> None:
    raise ValueError("in the thread")


async def test_restarted(inside: str) -> None:
    """A crash in the thread is mended by the supervisor: a new thread; nobody above is told."""
    service = Noting(backend=inside)
    supervisor = OneForOneSupervisor(service, max_restarts=10, over=60)
    root = Service()
    root.add_dependency(supervisor)
    async with root:
        for _ in range(3):
            (old,) = threads_of(service)
            await service.cast_thread(fail)
            await until(lambda: service.state == "running" and threads_of(service) != [old])  # noqa: B023
            assert await service.call_thread(lambda: 1) == 1
        assert root.state == "running"
        assert not root.crashed
    assert service.restart_count == 3
    assert service.calls[-6:] == [*START, *STOP]
    assert not threads_of(service)


class Undone(Noting):
    """Fails to start the second time, and takes its time to undo that."""

    def __init__(self, **kwargs: Any) -> None:
        self.starts = 0
        self.begun, self.released = threading.Event(), threading.Event()
        super().__init__(**kwargs)

    async def on_start(self) -> None:
        await super().on_start()
        self.starts += 1
        if self.starts == 2:
            await self.add_async_context(self.slow())
            raise OSError("no such host")

    @asynccontextmanager
    async def slow(self) -> AsyncGenerator[None]:
        yield
        self.begun.set()
        with anyio.CancelScope(shield=True):
            while not self.released.is_set():  # noqa: ASYNC110 - set in another thread
                await anyio.sleep(0.001)


async def test_started_while_a_start_in_the_thread_is_being_undone(inside: str) -> None:
    """It is started when that is over, and not taken for one that comes up."""
    service = Undone(backend=inside)
    async with OneForOneSupervisor(service, restart="permanent") as supervisor:
        async with anyio.create_task_group() as group:

            async def restart() -> None:
                with pytest.raises(OSError, match="no such host"):
                    await service.restart()

            async def start() -> None:
                await supervisor.start_services([service])
                assert service.state == "running"

            group.start_soon(restart)
            await until(service.begun.is_set)
            group.start_soon(start)
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            service.released.set()
        assert service.state == "running"
        assert service.starts == 3


@pytest.mark.parametrize("kind", [OneForAllSupervisor, RestForOneSupervisor])
async def test_others_with_it(inside: str, kind: type[OneForAllSupervisor]) -> None:
    """Strategies that restart others with it do so, each in its own thread."""
    first, second = Noting(backend=inside), Noting(backend="trio")
    async with kind(first, second, max_restarts=10, over=60):
        await first.cast_thread(fail)
        await until(lambda: second.restart_count == 1 and second.state == "running")
        await until(lambda: first.restart_count == 1 and first.state == "running")
        assert await first.call_thread(lambda: 1) == await second.call_thread(lambda: 1)


async def test_gives_up(inside: str) -> None:
    """When the budget is spent, the supervisor crashes, and the thread has ended."""
    service = Noting(backend=inside)
    with pytest.raises(MaxRestartsExceeded):
        async with OneForOneSupervisor(service, max_restarts=2, over=60):
            while True:
                await until(lambda: service.state == "running")
                await service.cast_thread(fail)
                await until(lambda: service.state != "running")
    assert not threads_of(service)


async def test_crashing_supervisor(inside: str) -> None:
    """A supervisor that crashes with its services does so with what was raised in the thread."""
    service = Noting(backend=inside)
    with pytest.raises(ValueError, match="in the thread"):
        async with CrashingSupervisor(service):
            await service.cast_thread(fail)
            await anyio.sleep_forever()


async def test_start_that_fails_is_tried_again(inside: str) -> None:
    """A restart that fails in the thread is tried again."""

    class Moody(Noting):
        async def on_restart(self) -> None:
            self.note("on_restart")
            if self.calls.count("on_restart") == 1:
                raise ValueError("not in the mood")

    service = Moody(backend=inside)
    async with OneForOneSupervisor(service, max_restarts=10, over=60):
        await service.cast_thread(fail)
        await until(lambda: service.calls.count("on_restart") == 2 and service.state == "running")
        assert await service.call_thread(lambda: 1) == 1


async def test_supervisor_in_a_thread(inside: str) -> None:
    """A supervisor may run in a thread, and mend there what fails in it."""

    class Fragile(Service):
        pass

    thread, fragile = Noting(backend=inside), Fragile()
    thread.add_dependency(OneForOneSupervisor(fragile, max_restarts=10, over=60))
    async with thread:
        await thread.call_thread(fragile.crash, ValueError("fragile"))
        await until(lambda: fragile.restart_count == 1 and fragile.state == "running")
        assert thread.state == "running"


async def test_crashed_from_outside_with_all_inside(inside: str) -> None:
    """A crash that the supervisor deals with is told in the thread before the stop: those inside have crashed, too."""
    child, service = Service(), Noting(backend=inside)
    service.add_dependency(child)
    async with ForfeitOneForOneSupervisor(service):
        for _ in range(10):  # on trio, the order of what happens at once is a matter of chance
            await service.maybe_start()
            error = ValueError("outside")
            await service.crash(error)
            await until(lambda: not service.started)
            assert child.crash_reason is error
