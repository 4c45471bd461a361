"""The chapter "Change history" of mode's manual: what its releases show in code, where no other chapter does."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import pytest

from structmode import Service, StartAborted, Worker
from structmode.locals import Proxy
from structmode.testing import VirtualClock

from .here import Log, execute, virtual_time

# --- Proxies with a source ------------------------------------------------------------------------


class BySource(Proxy[Mapping[str, int]], source=Mapping):
    """Says in its class line what it has the methods of."""


class ByAttribute(Proxy[Mapping[str, int]]):
    """Says so in its body."""

    __proxy_source__ = Mapping


@pytest.mark.parametrize("cls", [BySource, ByAttribute])
def test_a_proxy_with_a_source(cls: type[Proxy[Any]]) -> None:
    """A class of proxies may name an abstract class, and then counts as a kind of that."""
    proxy = cls(lambda: {"tea": 1})
    assert issubclass(cls, Mapping)
    assert isinstance(proxy, Mapping)
    assert proxy["tea"] == 1
    assert list(proxy.items()) == [("tea", 1)]


# --- Services of awaitables -----------------------------------------------------------------------


def test_a_coroutine_as_a_program(backend: str) -> None:
    """A worker may be given a coroutine in the form of a service; it goes on when that has ended, until a signal."""
    told: list[str] = []

    async def me(interval: float) -> None:
        told.append("starting")
        await anyio.sleep(interval)
        told.append("stopping")
        signal.raise_signal(signal.SIGTERM)

    service = Service.from_awaitable(me(interval=0.01))
    assert execute(Worker(service, backend=backend, stderr=Log())) == 0
    assert told == ["starting", "stopping"]


@virtual_time
async def test_a_coroutine_is_cancelled(virtual_clock: VirtualClock) -> None:
    """A service that was made of a coroutine cancels it when it stops, and waits until it has ended."""
    told: list[str] = []

    async def me() -> None:
        try:
            await anyio.sleep(10.0)
        finally:
            told.append("cancelled")

    async with Service.from_awaitable(me(), name="me") as service:
        assert service.label == "me"
        await anyio.sleep(1.0)
    assert told == ["cancelled"]
    assert virtual_clock.elapsed == pytest.approx(1.0)


@virtual_time
async def test_sleep_in_a_start(virtual_clock: VirtualClock) -> None:
    """A start that sleeps does not keep a stop waiting: the start is given up at once."""

    class Slow(Service):
        async def on_start(self) -> None:
            await self.sleep(10.0)

    service = Slow()

    async def start() -> None:
        with pytest.raises(StartAborted):
            await service.start()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(start)
        await anyio.sleep(1.0)
        await service.stop()
    assert virtual_clock.elapsed == pytest.approx(1.0)


# --- Logging and workers --------------------------------------------------------------------------


async def test_the_level_of_what_is_mundane(caplog: pytest.LogCaptureFixture) -> None:
    """`mundane_level` is the level at which starting and stopping are logged."""

    class Usual(Service):
        pass

    class Silent(Service):
        mundane_level = "debug"

    caplog.set_level(logging.DEBUG, __name__)
    for cls in (Usual, Silent):
        async with cls():
            pass
    # Only what services say: on a slow machine asyncio names their tasks, too.
    records = [record for record in caplog.records if record.name == __name__]
    levels = {
        name: {record.levelname for record in records if name in record.getMessage()}
        for name in ("Usual", "Silent")
    }
    assert levels == {"Usual": {"INFO"}, "Silent": {"DEBUG"}}


def test_a_worker_with_a_first_start_of_its_own(backend: str) -> None:
    """A worker that overrides `on_first_start` may call what it does by default."""
    told: list[str] = []

    class Own(Worker):
        async def on_first_start(self) -> None:
            told.append("first start")
            await self.default_on_first_start()

        async def on_execute(self) -> None:
            told.append("execute")

        def on_worker_shutdown(self) -> None:
            told.append("shutdown")

    assert execute(Own(daemon=False, backend=backend, stderr=Log())) == 0
    assert told == ["first start", "execute", "shutdown"]


class Printing(Service):
    """Prints."""

    async def on_start(self) -> None:
        print("hello")  # noqa: T201 - that is what is tested


@pytest.mark.parametrize(
    ("options", "logged"),
    [({}, "WARNING"), ({"redirect_stdouts_level": "INFO"}, "INFO"), ({"redirect_stdouts": False}, None)],
)  # fmt: skip
def test_what_a_service_prints(
    backend: str,
    options: dict[str, Any],
    logged: str | None,
    capfd: pytest.CaptureFixture[str],
    blocking_allowed: None,
) -> None:
    """A worker logs what is printed, at the level WARNING or another one, unless it is told not to."""
    log = Log()
    worker = Worker(
        Printing(), loglevel="INFO", daemon=False, backend=backend, stderr=log, **options
    )
    assert execute(worker) == 0
    lines = [line for line in log.getvalue().splitlines() if line.endswith("hello")]
    assert [f"[{logged}]" in line for line in lines] == ([] if logged is None else [True])
    assert ("hello" in capfd.readouterr().out) == (logged is None)


def test_a_worker_leaves_logging_alone(backend: str) -> None:
    """With `override_logging=False`, logging is as the program has set it up."""
    before = list(logging.root.handlers), logging.root.level
    seen: list[Any] = []

    class Looking(Service):
        async def on_start(self) -> None:
            seen.append((list(logging.root.handlers), logging.root.level))

    worker = Worker(Looking(), override_logging=False, daemon=False, backend=backend)
    assert execute(worker) == 0
    assert seen == [before]


# --- Contexts -------------------------------------------------------------------------------------


async def test_contexts() -> None:
    """Contexts that a service enters are left when it stops; async ones have a method of their own."""
    told: list[str] = []

    @contextmanager
    def plain() -> Iterator[str]:
        yield "plain"
        told.append("plain left")

    @asynccontextmanager
    async def awaited() -> AsyncIterator[str]:
        await anyio.sleep(0)
        yield "awaited"
        told.append("awaited left")

    class Holding(Service):
        async def on_start(self) -> None:
            self.first = self.add_context(plain())
            self.second = await self.add_async_context(awaited())

    async with Holding() as service:
        assert (service.first, service.second) == ("plain", "awaited")
        assert told == []
    assert told == ["awaited left", "plain left"]


# --- Waiting --------------------------------------------------------------------------------------


class Waiting(Service):
    """Waits for something, or for the stop, whichever comes first."""

    drain_timeout = 1.0
    flag: Any

    def __post_init__(self) -> None:
        self.told: list[str] = []


class ByCoroutine(Waiting):
    """Passes a coroutine."""

    @Service.task
    async def work(self) -> None:
        while not self.should_stop:
            _, stopped = await self.wait(self.flag.wait())
            self.told.append("stopped" if stopped else "set")
            await self.wait_until_stopped()


class ByEvent(Waiting):
    """Passes the event itself."""

    @Service.task
    async def work(self) -> None:
        while not self.should_stop:
            _result, stopped = await self.wait(self.flag)
            self.told.append("stopped" if stopped else "set")
            await self.wait_until_stopped()


class ByShortcut(Waiting):
    """Asks only whether the service stops."""

    @Service.task
    async def work(self) -> None:
        while not self.should_stop:
            if not await self.wait_for_stopped(self.flag):
                self.told.append("set")
                await self.wait_until_stopped()
            else:
                self.told.append("stopped")


@pytest.mark.parametrize("cls", [ByCoroutine, ByEvent, ByShortcut])
@pytest.mark.parametrize("kind", [anyio.Event, asyncio.Event])
async def test_waiting_for_a_flag(
    cls: type[Waiting], kind: type[Any], anyio_backend: tuple[str, dict[str, Any]]
) -> None:
    """A wait tells whether what was waited for has come, or the service stops; events of asyncio will do on asyncio."""
    if kind is asyncio.Event and anyio_backend[0] == "trio":
        kind = anyio.Event
    for is_set in (True, False):
        service = cls()
        service.flag = kind()
        async with service:
            if is_set:
                service.flag.set()
            await anyio.wait_all_tasks_blocked()
        assert service.told == ["set" if is_set else "stopped"]


async def test_waiting_for_the_first() -> None:
    """`wait_first` returns what is done, with the results in the same order, and whether the service stops."""

    async def soon() -> str:
        await anyio.sleep(0)
        return "soon"

    async with Service() as service:
        never = anyio.Event()
        done = soon()
        outcome = await service.wait_first(never, done)
        assert list(outcome.done) == [done]
        assert list(outcome.results) == ["soon"]
        assert outcome.stopped is False


async def test_waiting_for_many() -> None:
    """`wait_many` waits for all."""

    async def number(n: int) -> int:
        await anyio.sleep(0)
        return n

    async with Service() as service:
        outcome = await service.wait_many([number(1), number(2)])
        assert (outcome.result, outcome.stopped) == ([1, 2], False)


# --- Dependencies at run time ---------------------------------------------------------------------


async def test_removing_a_dependency() -> None:
    """A dependency may be added to a service that runs, and is started then; removed, it is stopped."""
    child = Service()
    async with Service() as parent:
        await parent.add_runtime_dependency(child)
        assert child.started
        await parent.remove_dependency(child)
        assert not child.started
