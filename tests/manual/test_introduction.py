"""The chapter "Introduction" of mode's manual: what a service is, the worker, beacons, and what a service may start."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

import structmode as mode
from structmode import Service, ServiceT, Worker
from structmode.testing import VirtualClock

from .here import Log, execute, virtual_time

TUTORIAL = Path(__file__).parent / "programs" / "tutorial.py"


class Shelf:
    """Stands for a database that a client connects to."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    async def incr(self, key: str, n: int) -> int:
        await anyio.sleep(0)
        self.counts[key] = self.counts.get(key, 0) + n
        return self.counts[key]

    async def get(self, key: str) -> int:
        await anyio.sleep(0)
        return self.counts.get(key, 0)


class Tally(Service):
    """Counts words in a database that it opens when it starts."""

    shelf: Shelf | None = None

    async def on_start(self) -> None:
        self.shelf = Shelf()

    async def add(self, word: str, n: int = 1) -> int:
        assert self.shelf is not None
        return await self.shelf.incr(word, n)

    async def count(self, word: str) -> int:
        assert self.shelf is not None
        return await self.shelf.get(word)


class Quiet(Service):
    """A service that others start."""

    mundane_level = "debug"


# --- What a service is ----------------------------------------------------------------------------


async def test_a_service_is_a_class() -> None:
    """A class with a start hook and methods of its own is a service, and its methods may be called while it runs."""
    async with Tally() as tally:
        assert await tally.add("tea") == 1
        assert await tally.add("tea", 2) == 3
        assert await tally.count("tea") == 3


async def test_a_service_starts_another() -> None:
    """A service that is made when it is first asked for, and added in `on_start`, starts and stops with its parent."""

    class App(Service):
        @cached_property
        def tally(self) -> Tally:
            return Tally()

        async def on_start(self) -> None:
            await self.add_runtime_dependency(self.tally)

    async with App() as app:
        assert app.tally.started
        assert await app.tally.add("tea") == 1
    assert app.tally.state == "shutdown"


@virtual_time
async def test_a_service_with_a_timer(virtual_clock: VirtualClock) -> None:
    """A method that is declared to be a timer of one second runs every second."""

    class Refreshed(Service):
        data = 0

        @Service.timer(1.0)
        async def refresh(self) -> None:
            self.data += 1

    async with Refreshed() as service:
        await anyio.sleep(3.5)
        assert service.data == 3


# --- Worker ---------------------------------------------------------------------------------------


def test_a_worker_starts_a_service(backend: str) -> None:
    """A worker around a service is a program: it runs until a signal comes, and then exits."""

    class Signalled(Service):
        @Service.task
        async def end_it(self) -> None:
            signal.raise_signal(signal.SIGTERM)
            await self.wait_until_stopped()

    log = Log()
    worker = mode.Worker(Signalled(), loglevel="info", backend=backend, stderr=log)
    assert execute(worker) == 0
    assert "[^-Signalled]: Starting..." in log.lines()
    assert log.lines()[-1] == "[^Worker]: -Shutdown complete!"


@pytest.fixture(scope="module", params=["asyncio", "asyncio+uvloop", "trio"])
def tutorial_log(request: pytest.FixtureRequest) -> list[str]:
    """The messages of the tutorial's program, which runs until Control-C; without those of the timer."""
    process = subprocess.Popen(
        [sys.executable, str(TUTORIAL), request.param],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[str] = []
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            if "Expiring users" in line and not any("Stopping" in one for one in lines):
                process.send_signal(signal.SIGINT)
    assert process.returncode == 0
    messages = [line.split("] ", 3)[-1] for line in lines]
    assert "[^--UserCache]: Expiring users" in messages
    return [line for line in messages if "Expiring" not in line]


@pytest.mark.process
def test_the_log_of_a_start(tutorial_log: list[str]) -> None:
    """Services start from the top down, in order, and each is logged with its depth in the tree."""
    assert [line for line in tutorial_log if "Starting" in line] == [
        "[^Worker]: Starting...",
        "[^-AppService]: Starting...",
        "[^--Websockets]: Starting...",
        "[^--UserCache]: Starting...",
        "[^--Webserver]: Starting...",
    ]
    assert "[^--Webserver]: Serving on port 8000" in tutorial_log
    assert "[^--Websockets]: Opening the socket" in tutorial_log


@pytest.mark.process
def test_the_log_of_control_c(tutorial_log: list[str]) -> None:
    """Control-C stops all from the top down; each says that it is stopping, and that it has stopped, the top one last."""
    stop = tutorial_log[tutorial_log.index("[^Worker]: Stopping on signal received...") :]
    assert [line for line in stop if "Shutdown" not in line] == [
        "[^Worker]: Stopping on signal received...",
        "[^Worker]: Stopping...",
        "[^-AppService]: Stopping...",
        "[^--Webserver]: Stopping...",
        "[^--Webserver]: Closing server",
        "[^--Webserver]: -Stopped!",
        "[^--UserCache]: Stopping...",
        "[^--UserCache]: -Stopped!",
        "[^--Websockets]: Stopping...",
        "[^--Websockets]: -Stopped!",
        "[^-AppService]: -Stopped!",
        "[^Worker]: -Stopped!",
    ]


# --- Beacons --------------------------------------------------------------------------------------


class Pydot:
    """Stands for the library that draws: it takes the text of a graph."""

    def __init__(self) -> None:
        self.dot = ""

    def graph_from_dot_data(self, dot: str) -> list[Any]:
        assert dot.startswith("digraph")
        assert dot.rstrip().endswith("}")
        self.dot = dot
        return [SimpleNamespace(create_png=lambda: b"picture")]


async def test_the_graph_of_a_program(tmp_path: Path, blocking_allowed: None) -> None:
    """A service can have the graph of the whole program written, from its beacon or the root above it."""
    pydot = Pydot()
    image = tmp_path / "image.png"

    class Drawing(Quiet):
        app: Service

        async def on_started(self) -> None:
            out = io.StringIO()
            beacon = self.app.beacon.root or self.app.beacon
            beacon.as_graph().to_dot(out)
            (graph,) = pydot.graph_from_dot_data(out.getvalue())
            image.write_bytes(graph.create_png())

    class App(Quiet):
        def __post_init__(self) -> None:
            self.add_dependency(Tally())
            self.add_dependency(Drawing()).app = self

    async with App():
        assert image.read_bytes() == b"picture"
    assert all(name in pydot.dot for name in ("App", "Tally", "Drawing"))
    assert pydot.dot.count("->") == 2


# --- Creating a service ---------------------------------------------------------------------------


class Talking(Service):
    """Says what happens to it."""

    def __post_init__(self) -> None:
        self.said: list[str] = []

    async def on_start(self) -> None:
        self.said.append("starting")

    async def on_started(self) -> None:
        self.said.append("ready")

    async def on_stop(self) -> None:
        self.said.append("stopping")


async def test_a_service_with_hooks() -> None:
    """The hooks of a service are called when it starts, when it has started, and when it stops."""
    async with Talking() as service:
        assert service.said == ["starting", "ready"]
    assert service.said == ["starting", "ready", "stopping"]


async def test_starting_a_service() -> None:
    """`await service.start()` starts it, and `await service.stop()` ends that."""
    service = Talking()
    await service.start()
    assert service.said == ["starting", "ready"]
    await service.stop()
    assert service.said == ["starting", "ready", "stopping"]


def test_a_worker_that_is_no_daemon(
    backend: str, capfd: pytest.CaptureFixture[str], blocking_allowed: None
) -> None:
    """A worker takes a log level and no log file, which is stderr; without daemon, it ends with its services' work."""
    service = Talking()
    worker = mode.Worker(service, loglevel="INFO", logfile=None, daemon=False, backend=backend)
    assert execute(worker) == 0
    assert service.said == ["starting", "ready", "stopping"]


# --- It's a graph ---------------------------------------------------------------------------------


async def test_add_dependency_with_the_loop_of_the_parent() -> None:
    """A dependency may be added when the service has been made, and be given the loop of its parent."""

    class Parent(Service):
        def __post_init__(self) -> None:
            self.other = self.add_dependency(Quiet(loop=self.loop))

    async with Parent() as parent:
        assert parent.other.started
    assert not parent.other.started


def test_add_dependency_with_a_loop_before_there_is_one(backend: str) -> None:
    """So may one that is made for a worker, where no event loop runs yet."""

    class Parent(Service):
        def __post_init__(self) -> None:
            self.other = self.add_dependency(Talking(loop=self.loop))

    parent = Parent()
    assert execute(Worker(parent, daemon=False, backend=backend, stderr=Log())) == 0
    assert parent.other.said == ["starting", "ready", "stopping"]


async def test_a_list_of_dependencies() -> None:
    """`on_init_dependencies` returns a list of services, which are started in order."""
    order: list[str] = []

    class Named(Quiet):
        def __init__(self, name: str, **kwargs: Any) -> None:
            self.name = name
            super().__init__(**kwargs)

        async def on_start(self) -> None:
            order.append(self.name)

    class Parent(Service):
        def on_init_dependencies(self) -> Iterable[ServiceT]:
            return [Named(name, loop=self.loop) for name in "ABC"]

    async with Parent():
        assert order == ["A", "B", "C"]


@virtual_time
async def test_a_future(virtual_clock: VirtualClock) -> None:
    """A coroutine that is added runs in the background, and has ended when the service has stopped."""
    told: list[str] = []

    class Adding(Service):
        async def on_start(self) -> None:
            self.add_future(self.brief())
            self.add_future(self.endless())

        async def brief(self) -> None:
            told.append("done")

        async def endless(self) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                told.append("ended")

    async with Adding():
        await anyio.sleep(1)
        assert told == ["done"]
    assert told == ["done", "ended"]


async def test_a_task() -> None:
    """A method that is declared to be a task runs in the background from the start on."""

    class Busy(Service):
        def __post_init__(self) -> None:
            self.done = anyio.Event()

        @Service.task
        async def work(self) -> None:
            self.done.set()

    async with Busy() as service:
        await service.done.wait()


@virtual_time
async def test_a_task_that_goes_on(virtual_clock: VirtualClock) -> None:
    """A task may go on until the service must stop; `sleep` is over at once when that is so."""

    class Waking(Service):
        drain_timeout = 1.0
        woken = 0
        left_loop = False

        @Service.task
        async def wake(self) -> None:
            while not self.should_stop:
                await self.sleep(1.0)
                self.woken += 1
            self.left_loop = True

    async with Waking() as service:
        await anyio.sleep(3.5)
        assert service.woken == 3
    assert service.left_loop
    assert virtual_clock.elapsed == pytest.approx(3.5)
