"""Law 12, no event loop is touched in a constructor or at import: services may be made at module level."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest

from structmode import Service

Backend = tuple[str, dict[str, Any]]

LEFT: list[str] = []


@contextmanager
def held(name: str) -> Iterator[None]:
    """Note that it is left."""
    yield
    LEFT.append(name)


class Cache(Service):
    """Has one of everything that a class may declare."""

    def on_init(self) -> None:
        self.ran: list[str] = []

    def on_init_dependencies(self) -> list[Service]:
        return [Service.from_awaitable(self.run_child, name="child")]

    async def run_child(self) -> None:
        """Be a child."""
        self.ran.append("child")

    async def run_future(self) -> None:
        """Be a future."""
        self.ran.append("future")

    @Service.task
    async def work(self) -> None:
        self.ran.append("task")

    @Service.timer(3600.0, exec_first=True)
    async def tick(self) -> None:
        self.ran.append("timer")

    @Service.crontab("0 0 1 1 *")
    async def yearly(self) -> None:
        self.ran.append("crontab")  # pragma: no cover - never due


# Made while this module is imported, where no event loop runs.
CACHE = Cache()
APP = Service.from_awaitable(anyio.sleep_forever, name="app")
APP.add_dependency(CACHE)
APP.add_dependency(Cache(beacon=APP.beacon, loop=None))
CACHE.add_context(held("context"))
CACHE.add_future(CACHE.run_future)
CACHE.set_shutdown()
CACHE.service_reset()
CACHE.diag.set_flag("made")
LOOKED_AT = (
    repr(CACHE),
    CACHE.state,
    CACHE.should_stop,
    CACHE.failures,
    CACHE.tracebacks(),
    CACHE.itertimer(1.0),
    CACHE.exit_stack,
    CACHE.async_exit_stack,
)


def test_services_of_a_module(anyio_backend: Backend) -> None:
    """Services made at module level run on one event loop after another, of any kind."""

    async def main() -> tuple[str, str]:
        async with APP:
            await anyio.wait_all_tasks_blocked()
            return APP.state, CACHE.state

    CACHE.ran.clear()
    assert anyio.run(main, backend=anyio_backend[0], backend_options=anyio_backend[1]) == (
        "running",
        "running",
    )
    assert {"child", "task", "timer"} <= set(CACHE.ran)
    assert "context" in LEFT
    assert (APP.state, CACHE.state) == ("shutdown", "shutdown")


def test_one_service_on_all_kinds_of_loops() -> None:
    """The same service may run on asyncio, then on trio, and on asyncio again."""
    service = Cache()

    async def main() -> str:
        async with service:
            await service.sleep(0)
            await service.wait(anyio.lowlevel.checkpoint)
            return service.state

    for backend in ("asyncio", "trio", "asyncio", "trio"):
        assert anyio.run(main, backend=backend) == "running"


def test_waiting_before_and_after_a_loop() -> None:
    """A service that was waited on in one loop, without running there, can be started in another."""
    service = Cache()

    async def wait() -> bool:
        with anyio.move_on_after(0.01):
            await service.wait_until_stopped()
        return (await service.wait(anyio.sleep_forever, timeout=0.001)).timed_out

    async def main() -> str:
        async with anyio.create_task_group() as group:
            async with service:
                group.start_soon(service.wait_until_stopped)
                await anyio.wait_all_tasks_blocked()
        return service.state

    for backend in ("asyncio", "trio"):
        assert anyio.run(wait, backend=backend) is True
        assert anyio.run(main, backend=backend) == "shutdown"
        service.service_reset()


@pytest.mark.process
def test_making_services_loads_no_event_loop() -> None:
    """Importing structmode and making a service with all there is loads neither asyncio's nor trio's backend."""
    program = """
        import sys
        from structmode import Service

        class Cache(Service):
            @Service.task
            async def work(self): ...
            @Service.timer(1.0)
            async def tick(self): ...
            @Service.crontab("* * * * *")
            async def minutely(self): ...

        cache = Cache()
        cache.add_dependency(Cache())
        repr(cache), cache.state, cache.tracebacks(), cache.itertimer(1.0)
        loaded = {"trio", "asyncio.events", "anyio._backends._asyncio", "anyio._backends._trio", "uvloop"}
        print(sorted(loaded & set(sys.modules)))
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
