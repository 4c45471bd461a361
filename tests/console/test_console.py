"""The console: what it answers, what it does, and that nobody who connects can disturb the program."""

from __future__ import annotations

import contextlib
import io
import logging
import random
import re
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import SocketStream

from structmode import Service, Worker
from structmode.console import Console
from structmode.utils.trees import Node

PROGRAM = Path(__file__).parent / "programs" / "app.py"


class Web(Service):
    """Has some work."""

    async def on_start(self) -> None:
        self.ticked = anyio.Event()

    @Service.timer(0.001)
    async def tick(self) -> None:
        self.ticked.set()

    @Service.crontab("30 18 * * *")
    async def close_books(self) -> None: ...

    @Service.task
    async def serve(self) -> None:
        await self.wait_for_visitors()

    async def wait_for_visitors(self) -> None:
        await anyio.sleep_forever()


class Postman(Service):
    """One of several."""


class App(Service):
    """A tree with a console."""

    def __init__(self, console: Console | None = None, **kwargs: Any) -> None:
        self.console = Console(port=0) if console is None else console
        super().__init__(**kwargs)
        self.add_dependency(self.console)
        self.web = self.add_dependency(Web())
        self.north = self.add_dependency(Postman())
        self.south = self.add_dependency(Postman())


class Client:
    """Someone at a console."""

    def __init__(self, stream: SocketStream) -> None:
        self.stream = stream

    async def say(self, line: str) -> None:
        """Send a line."""
        await self.stream.send(f"{line}\n".encode())

    async def prompt(self) -> str:
        """Read up to the next prompt; return what came before it."""
        said = b""
        while not said.endswith(b"> "):
            said += await self.stream.receive()
        return said.removesuffix(b"> ").decode()

    async def ask(self, line: str) -> str:
        """Send a line; return the answer."""
        await self.say(line)
        return await self.prompt()

    async def rest(self) -> str:
        """Read until the console has closed the connection."""
        said = b""
        while True:
            try:
                said += await self.stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return said.decode()


@asynccontextmanager
async def client(console: Console) -> AsyncGenerator[Client]:
    """Connect to a console, and wait for its prompt."""
    async with await connected(console) as stream:
        one = Client(stream)
        assert "`help`" in await one.prompt()
        yield one


async def connected(console: Console) -> SocketStream:
    """Connect to a console."""
    assert console.port is not None
    return await anyio.connect_tcp("127.0.0.1", console.port)


def plain_socket(console: Console) -> socket.socket:
    """Connect to a console without an event loop."""
    assert console.port is not None
    return socket.create_connection(("127.0.0.1", console.port))


# --- Looking --------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["quit", "QUIT"])
async def test_help_and_quit(word: str) -> None:
    """`help` lists all commands; `quit`, or the end of the input, ends the conversation."""
    async with App() as app:
        async with client(app.console) as one:
            words = [line.partition(" ")[0] for line in (await one.ask("help")).splitlines()]
            assert words[:-1] == [
                *("help", "tree", "health", "tasks", "stacks", "timers", "failures"),
                *("level", "stop", "restart", "quit"),
            ]
            await one.say(word)
            assert await one.rest() == ""
        async with client(app.console) as one:
            await one.say("tree Web")
            await one.stream.send_eof()
            assert (await one.rest()).startswith("Web (running")


async def test_tree() -> None:
    """`tree` draws the tree, or a part of it, with unique names, states, uptimes, restarts and crash reasons."""
    async with App() as app, client(app.console) as one:
        await app.web.restart()
        await app.south.stop()
        tree = re.sub(r"up (just now|\d+ seconds?)", "up", await one.ask("tree"))
        assert tree.splitlines() == [
            "App (running, up)",
            "├── Console (running, up)",
            "├── Web (running, up, restarts: 1)",
            "├── Postman#1 (running, up)",
            "└── Postman#2 (shutdown)",
        ]
        assert (await one.ask("  TREE   App/Web\r")).startswith("Web (running")
        assert await one.ask("tree Postman#2") == "Postman#2 (shutdown)\n"


async def test_health() -> None:
    """`health` tells whether a tree can be given work, and who is not well and why; so does `tree`, of each service."""
    async with App() as app, client(app.console) as one:
        assert await one.ask("health") == "App is ready: it can be given work\n"
        app.web.health.degrade("slow disk")
        assert (await one.ask("health")).startswith("App is degraded: it can be given work\n")
        app.web.health.degrade("no peers", able=False)
        assert (await one.ask("health")).splitlines() == [
            "App is degraded: it can't be given work",
            "Web: degraded (slow disk; no peers)",
        ]
        assert (
            await one.ask("health Postman#1") == "App/Postman#1 is ready: it can be given work\n"
        )
        assert "degraded: slow disk; no peers)" in await one.ask("tree Web")


async def test_tree_of_what_was_there_before() -> None:
    """A console that is added late does not know since when the others are up, and says nothing of it."""
    async with Web() as web:
        console = await web.add_runtime_dependency(Console(port=0))
        async with client(console) as one:
            assert (await one.ask("tree")).startswith("Web (running)\n└── Console (running, up")


async def test_tasks_and_stacks() -> None:
    """`tasks` tells where each task stands; `stacks` has the whole stacks of one service."""
    async with App() as app, client(app.console) as one:
        tasks = await one.ask("tasks Web")
        assert "App/Web\n" in tasks
        assert re.search(
            r'  Web\.serve: ".*test_console.py", line \d+, in wait_for_visitors', tasks
        )
        stacks = await one.ask("stacks Web")
        assert "Web: Web.serve\n" in stacks
        assert "await self.wait_for_visitors()" in stacks
        assert await one.ask("tasks Postman#1") == "none\n"
        assert await one.ask("stacks") == "write: stacks SERVICE\n"


async def test_timers() -> None:
    """`timers` tells of timers and crontabs, and how late they were."""
    async with App() as app, client(app.console) as one:
        await app.web.ticked.wait()
        head, cron, timer = (await one.ask("timers")).splitlines()
        assert head == "App/Web"
        assert re.fullmatch(
            r"  Web.close_books: 30 18 \* \* \*, next .* 18:30:00\+00:00, runs: 0, last late by 0.000 s, missed: 0",
            cron,
        )
        assert re.fullmatch(
            r"  Web.tick: every 0.001 s, ticks: [1-9]\d*, last late by \d+.\d{3} s, skipped: \d+, overlaps: \d+",
            timer,
        )
        assert await one.ask("timers Postman#1") == "none\n"
        await app.web.restart()
        assert (await one.ask("timers")).count("Web.tick") == 1
        await app.web.stop()
        assert await one.ask("timers") == "none\n"


async def test_timers_of_a_former_run() -> None:
    """A timer that somebody still has is not shown when its run is over."""
    async with App() as app, client(app.console) as one:
        kept = app.web.itertimer(1.0, name="kept")
        assert (await one.ask("timers")).count("kept") == 1
        await app.web.restart()
        assert (await one.ask("timers")).count("kept") == 0
        del kept


class Failing(Service):
    """Fails in one way or another."""

    broken = False

    async def on_start(self) -> None:
        self.failed = anyio.Event()
        if self.broken:
            raise OSError("no such cable")

    @Service.timer(0.001, on_error="log")
    async def tick(self) -> None:
        if not self.failed.is_set():
            self.failed.set()
            raise ValueError("bad tick")

    async def on_stop(self) -> None:
        raise KeyError("lost")


async def test_failures() -> None:
    """`failures` tells what went wrong of late; with a service, what went wrong in it, with tracebacks."""
    async with App() as app, client(app.console) as one:
        assert await one.ask("failures") == "nothing has gone wrong\n"
        failing = await app.add_runtime_dependency(Failing())
        await failing.failed.wait()
        while "Failing.tick failed: ValueError('bad tick')" not in await one.ask("failures"):
            pass  # pragma: no cover - it was told in the instant of the failure, most often
        assert "nothing has gone wrong" in await one.ask("failures Failing")
        failing.broken = True
        answer = (await one.ask("restart Failing")).splitlines()
        assert answer[0] == "restart App/Failing..."
        assert re.fullmatch(r"App/Failing could not restart: .*", answer[1])
        await one.ask("restart Failing")
        assert "Failing: did not start: OSError('no such cable')" in await one.ask("failures")
        told = await one.ask("failures Failing")
        assert "App/Failing, 1 of 1: OSError('no such cable')" in told
        assert 'raise OSError("no such cable")' in told
        assert await one.ask("tree Failing") == "Failing (init, restarts: 1)\n"


async def test_failures_of_tasks() -> None:
    """A task that fails and is begun again is told of, too."""

    class Unlucky(Service):
        @Service.task(on_error="restart")
        async def work(self) -> None:
            raise OSError("no luck")

    async with App() as app, client(app.console) as one:
        await app.add_runtime_dependency(Unlucky())
        while "Unlucky.work failed: OSError('no luck')" not in await one.ask("failures"):
            pass  # pragma: no cover - it was told in the instant of the failure, most often


async def test_crashes_are_remembered() -> None:
    """A crash anywhere in the process is told, once for all that it has reached, also if it can't be shown."""

    class Unspeakable(Exception):
        def __repr__(self) -> str:
            raise ValueError("no words")

    async with App() as app, client(app.console) as one:
        for reason in (ValueError("x" * 1000), Unspeakable()):
            with pytest.raises(type(reason)):
                async with App(Console(port=0)) as other:
                    await other.web.crash(reason)
                    await anyio.sleep_forever()
        first, second = (await one.ask("failures")).splitlines()
        assert re.fullmatch(r"\d\d:\d\d:\d\d Web: crashed: ValueError\('x{400,}\.\.\.", first)
        assert second.endswith(" Web: crashed: Unspeakable, which can't be shown")


async def test_a_service_that_crashed_stays_to_be_looked_at() -> None:
    """`tree` and `failures` tell why a service has crashed, and that it did so because its owner has."""
    async with App() as app, client(app.console) as one:
        with pytest.raises(OSError, match="no cable"):
            async with App(Console(port=0)) as other:
                await other.crash(OSError("no cable"))
                await anyio.sleep_forever()
        await app.remove_dependency(app.web)
        app.add_dependency(other)
        assert "(crashed, OSError('no cable'))" in await one.ask("tree App#2")
        assert "1 of 1: OSError('no cable')" in await one.ask("failures App#2")
        assert "1 of 1: OSError('no cable')" in await one.ask("failures Web")


async def test_a_tree_that_holds_more_than_services() -> None:
    """What is no service in a tree of somebody else is shown, and no command is about it."""
    root = Node[Any]("program")
    root.new(("a", "pair"))
    async with App(beacon=root) as app, client(app.console) as one:
        assert (await one.ask("tree")).startswith("program\n├── ('a', 'pair')\n└── App (running")
        assert await one.ask("stop program") == "program is no service\n"
        assert await one.ask("health program") == "program is no service\n"
        assert "program/App/Web\n" in await one.ask("tasks")


async def test_levels() -> None:
    """`level` shows and sets log levels, of loggers that there are, until the console stops."""
    logger, name = logging.getLogger("tests.console"), "tests.console"
    before = logging.root.level
    async with App() as app, client(app.console) as one:
        assert f"{name} " not in await one.ask("level")
        assert await one.ask(f"level {name} debug") == f"{name} DEBUG, until the console stops\n"
        assert await one.ask(f"level {name} error") == f"{name} ERROR, until the console stops\n"
        assert f"{name} ERROR\n" in await one.ask("level")
        assert await one.ask("level 35") == "root Level 35, until the console stops\n"
        assert (logger.level, logging.root.level) == (logging.ERROR, 35)
        assert await one.ask("level tests.no.such.logger info") == "there is no logger tests.no.such.logger\n"  # fmt: skip
        assert "tests.no.such.logger" not in logging.root.manager.loggerDict
        assert "noisy" in await one.ask("level noisy")
    assert (logger.level, logging.root.level) == (logging.NOTSET, before)


async def test_a_level_that_somebody_else_has_set_since_stays() -> None:
    """What is put back in the end is what the console has set, and nothing else."""
    logger = logging.getLogger("tests.console")
    async with App() as app, client(app.console) as one:
        await one.ask("level tests.console debug")
        logger.setLevel(logging.CRITICAL)
    assert logger.level == logging.CRITICAL
    logger.setLevel(logging.NOTSET)


# --- Doing ----------------------------------------------------------------------------------------


async def test_stop_and_restart_of_one_service() -> None:
    """`stop` and `restart` are about one service, and those beside it notice nothing."""
    async with App() as app, client(app.console) as one:
        assert await one.ask("stop Postman#2") == (
            "stop App/Postman#2...\nApp/Postman#2 is shutdown\n"
        )
        assert (app.north.state, app.south.state) == ("running", "shutdown")
        assert (await one.ask("restart App/Postman#2")).endswith("App/Postman#2 is running\n")
        assert (await one.ask("restart Web")).endswith("App/Web is running\n")
        assert (app.web.restart_count, app.south.state) == (1, "running")


async def test_names_that_mean_no_one_service() -> None:
    """A name of several services, or of none, is answered with what to write; nothing is stopped."""
    async with App() as app, client(app.console) as one:
        assert await one.ask("stop Postman") == (
            "Postman may be any of these: App/Postman#1, App/Postman#2\n"
        )
        for name in ("Mailman", "Postman#3", "App/App", "Postman#"):
            assert f"there is no {name} in the tree" in await one.ask(f"stop {name}")
        assert await one.ask("restart") == "write: restart SERVICE\n"
        assert app.north.started
        assert app.south.started


async def test_a_number_stays_with_its_service() -> None:
    """Who has read a number may rely on it: it is never that of another service."""
    async with App() as app, client(app.console) as one:
        assert "Postman#2" in await one.ask("tree")
        await app.remove_dependency(app.north)
        west = await app.add_runtime_dependency(Postman())
        tree = await one.ask("tree")
        assert "Postman#1" not in tree
        assert "Postman#3" in tree
        assert "there is no Postman#1" in await one.ask("stop Postman#1")
        await one.ask("stop Postman#2")
        assert (app.south.state, west.state) == ("shutdown", "running")


async def test_to_stop_what_the_console_is_a_part_of() -> None:
    """`stop` of the whole tree is begun, said, and ends the conversation."""
    app = App()
    await app.start()
    async with client(app.console) as one:
        await one.say("stop App")
        assert (await one.rest()).startswith("stop App...\n")
    await app.stop()
    assert (app.state, app.console.port) == ("shutdown", None)


async def test_a_console_that_is_restarted() -> None:
    """`restart` of the console itself ends all conversations, and begins to listen anew."""
    async with App() as app:
        async with client(app.console) as one:
            await one.say("restart Console")
            await one.rest()
        while app.console.state != "running":  # noqa: ASYNC110 - nobody waits for it but the console
            await anyio.lowlevel.checkpoint()
        async with client(app.console) as one:
            assert "restarts: 1" in await one.ask("tree Console")


async def test_a_stop_that_hangs_can_be_looked_at() -> None:
    """The console of a worker is the last to stop: what hangs in a stop can be seen, and named."""

    class Slow(Service):
        async def on_stop(self) -> None:
            stopping.set()
            await go_on.wait()

    stopping, go_on = anyio.Event(), anyio.Event()
    worker = Worker(Slow(), debug=True, console_port=0)
    [console] = [node.data for node in worker.beacon.children]
    await worker.start()
    async with anyio.create_task_group() as group:
        group.start_soon(worker.stop)
        await stopping.wait()
        async with client(console) as one:
            assert "Slow (stopping" in await one.ask("tree")
            assert "await go_on.wait()" in await one.ask("stacks Slow")
            go_on.set()
            await one.rest()
    assert worker.state == "shutdown"


async def test_nothing_is_evaluated() -> None:
    """Text that is code is no command."""
    async with App() as app, client(app.console) as one:
        for line in (
            "__import__('os').abort()",
            "1 + 1",
            "!ls",
            "exec",
            "tree;stop App",
            "help()",
        ):
            word = line.partition(" ")[0]
            assert await one.ask(line) == (
                f"there is no command {word}; `help` lists those that there are\n"
            )
        assert await one.ask("") == ""
        assert app.started


# --- Guests who were not meant --------------------------------------------------------------------

LONG = b"tree" + b" " * 1000
UNINVITED = {
    "GET": (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "an HTTP request"),
    "POST": (b"POST /x HTTP/1.0\r\nContent-Length: 9\r\n\r\n", "an HTTP request"),
    "a method of choice": (b"stop Postman#1 HTTP/1.1\r\n", "an HTTP request"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", "no text"),
    "telnet": (b"\xff\xf4\xff\xfd\x06\n", "no text"),
    "zeros": (b"\0" * 100 + b"\n", "can't be typed"),
    "a terminal's command": (b"\x1b[2J\n", "can't be typed"),
    "a long line": (LONG + b"\n", "more than 1000 bytes"),
    "a line without an end": (b"x" * 100_000, "more than 1000 bytes"),
}


@pytest.mark.parametrize("what", UNINVITED)
async def test_what_is_no_line_ends_the_connection(what: str) -> None:
    """A browser, another protocol or garbage is let go, and no command behind it is obeyed."""
    sent, why = UNINVITED[what]
    async with App() as app:
        async with client(app.console) as one:
            await one.stream.send(sent + b"\nstop Postman#1\nstop Web\n")
            said = await one.rest()
            assert said == "" or re.fullmatch(f"Let go: .*{why}.*\n", said)
        async with client(app.console) as one:
            assert "Postman#1 (running" in await one.ask("tree")
        assert app.web.started


async def test_a_line_counts_when_it_is_complete() -> None:
    """Who disconnects in the middle of a line has said nothing: half a name may be another's."""
    async with App() as app:
        async with client(app.console) as one:
            await one.stream.send(b"tree Web\nstop Web")
            await one.stream.send_eof()
            assert (await one.rest()).startswith("Web (running")
        assert app.web.started
        async with client(app.console) as one:
            for part in (b"st", b"op W", b"eb", b"\r", b"\n"):
                await one.stream.send(part)
            assert (await one.prompt()).endswith("is shutdown\n")


async def test_guests_who_leave_at_any_moment(caplog: pytest.LogCaptureFixture) -> None:
    """Connections that are reset at once, or before an answer, harm nobody."""
    async with App() as app, client(app.console) as one:
        for sent in (
            b"",
            b"tree\n",
            b"stacks Web\n" * 100,
            b"restart Web\n",
            b"GET / HTTP/1.1\n",
            b"quit\n",
        ):
            guest = plain_socket(app.console)
            guest.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            guest.sendall(sent)
            guest.close()  # with a reset
            assert "Console (running" in await one.ask("tree")
    assert app.failures == ()
    assert "A conversation has failed" not in caplog.text


@pytest.mark.parametrize("seed", range(3))
async def test_a_crowd(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever comes, in whatever mix and however it ends: the program goes on, and the next one is answered."""
    dice = random.Random(seed)
    whims: list[Callable[[], bytes]] = [
        lambda: dice.randbytes(dice.randrange(1, 5000)),
        lambda: b"tree\n" * dice.randrange(1, 50),
        lambda: b"restart Web\n" * dice.randrange(1, 5),
        lambda: b"GET / HTTP/1.1\r\n\r\nstop App\n",
        lambda: b"stacks Web\ntimers\ntasks\nfailures\nlevel\n",
        lambda: b"stop Ap",
    ]
    async with App() as app:
        for _ in range(60):
            guest = plain_socket(app.console)
            with contextlib.suppress(OSError):
                guest.sendall(dice.choice(whims)())
            if dice.random() < 0.5:
                guest.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            for _ in range(dice.randrange(5)):
                await anyio.lowlevel.checkpoint()
            guest.close()
        while app.console._connections:  # noqa: ASYNC110 - it tells nobody
            await anyio.sleep(0.01)
        async with client(app.console) as one:
            assert "App (running" in await one.ask("tree")
    assert app.failures == ()
    assert "A conversation has failed" not in caplog.text


async def test_connections_that_can_not_be_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If no more files may be open, for instance, the console waits a while, and goes on."""
    monkeypatch.setattr("structmode.console._PAUSE", 0.001)
    async with App() as app:
        real: Callable[[], Awaitable[SocketStream]] = app.console._listener.accept
        troubles = [OSError("too many open files"), anyio.BrokenResourceError()]

        async def accept() -> SocketStream:
            if troubles:
                raise troubles.pop(0)
            return await real()

        monkeypatch.setattr(app.console._listener, "accept", accept)
        for _ in range(2):
            async with client(app.console) as one:
                assert "running" in await one.ask("tree App")
        assert not troubles
    assert caplog.text.count("Can't take a connection") == 2


async def test_what_nobody_foresaw(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Even a fault of the console's own ends one conversation, and is logged; the tree knows nothing of it."""

    class Faulty:
        def __init__(self, *args: object) -> None:
            raise ZeroDivisionError("a fault")

    async with App() as app:
        with monkeypatch.context() as patch:
            patch.setattr("structmode.console.Lines", Faulty)
            async with await connected(app.console) as stream:
                assert await Client(stream).rest() == ""
        async with client(app.console) as one:
            assert "running" in await one.ask("tree App")
    assert "ZeroDivisionError: a fault" in caplog.text


async def test_a_guest_who_never_reads() -> None:
    """Who asks and does not read is let go; others are answered meanwhile."""

    class Verbose(Service):
        @property
        def label(self) -> str:
            return "verbose" * 100

    class Impatient(Console):
        write_timeout = 0.05

    async with App(Impatient(port=0)) as app:
        for _ in range(100):
            app.add_dependency(Verbose())
        with plain_socket(app.console) as guest:
            guest.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            guest.sendall(b"tree\n" * 200)
            async with client(app.console) as one:
                for _ in range(3):
                    assert "running" in await one.ask("tree Web")
            while app.console._connections:  # noqa: ASYNC110 - it tells nobody
                await anyio.sleep(0.01)
        assert app.console.started


async def test_connections_are_counted() -> None:
    """More than so many are told to come later; when one has left, there is room again."""

    class Small(Console):
        max_connections = 2

    async with App(Small(port=0)) as app:
        async with client(app.console), client(app.console) as two:
            async with await connected(app.console) as stream:
                assert await Client(stream).rest() == "There are 2 others here.\n"
            assert "running" in await two.ask("tree Web")
        while len(app.console._connections) > 1:  # noqa: ASYNC110 - it tells nobody
            await anyio.sleep(0.001)
        async with client(app.console) as one:
            assert "running" in await one.ask("tree Web")


async def test_an_answer_has_so_many_lines() -> None:
    """A long answer is cut off, and says so."""

    class Brief(Console):
        max_answer = 3

    async with App(Brief(port=0)) as app, client(app.console) as one:
        *_, third, more = (await one.ask("tree")).splitlines()
        assert third.startswith("├── Web")
        assert more == "... and more: name a service to see less at a time"
        assert "more" not in await one.ask("tree Web")


async def test_deep_trees() -> None:
    """A tree that is a thousand deep is shown, line by line as much as fits, and its services are found."""
    top = bottom = Service()
    for _ in range(1000):
        bottom = bottom.add_dependency(Service())
    console = bottom.add_dependency(Console(port=0))
    await console.start()
    async with client(console) as one:
        lines = (await one.ask("tree")).splitlines()
        assert len(lines) == 1002
        assert max(map(len, lines)) == 1003
        assert (await one.ask("tree Console")).startswith("Console (running")
        assert "Service#1001 (init)" in await one.ask("tree Service#1001")
        assert (await one.ask("stop Service")).count("/Service#") > 10
    await console.stop()
    assert top.state == "init"


async def test_who_says_nothing_is_let_go() -> None:
    """A connection without a line for `idle_timeout` is closed, also if parts of one come now and then."""

    class Strict(Console):
        idle_timeout = 0.05

    async with App(Strict(port=0)) as app, await connected(app.console) as stream:
        await stream.send(b"tr")
        assert (await Client(stream).rest()).endswith("\nNothing for 0.05 s: good bye.\n")


async def test_labels_of_all_kinds() -> None:
    """What a label holds is shown, and can't command a terminal; one that can't be told is an answer."""

    class Odd(Service):
        @property
        def label(self) -> str:
            return "o\x1b[2Jd\nd"

    class Broken(Service):
        angry = False

        @property
        def label(self) -> str:
            if self.angry:
                raise RuntimeError("no label today")
            return "Broken"

    async with App() as app, client(app.console) as one:
        broken = app.add_dependency(Broken())
        await app.add_runtime_dependency(Odd())
        assert r"o\x1b[2Jd\nd (running" in await one.ask("tree")
        broken.angry = True
        assert await one.ask("tree") == "that failed: RuntimeError('no label today')\n"
        broken.angry = False
        assert "Broken (init)" in await one.ask("tree")


# --- Where it listens -----------------------------------------------------------------------------


async def test_a_port_in_use() -> None:
    """A port that is taken is a start that fails, with what to do; nothing is left of it."""
    async with App() as app:
        other = App(Console(port=app.console.port or 0))
        message = rf"the console can't listen on 127.0.0.1, port {app.console.port}: .*in use.*console_port=0"
        with pytest.raises(OSError, match=message):
            await other.start()
        assert (other.state, other.console.port) == ("init", None)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Console(port=70_000), ValueError, "from 0 to 65535, not 70000"),
        (lambda: Console(port=-1), ValueError, "from 0 to 65535, not -1"),
        (lambda: Console(port=cast("int", "50101")), TypeError, "is a number, such as 50101, not '50101'"),
        (lambda: Console(port=True), TypeError, "is a number"),
        (lambda: Console(host="localhost"), ValueError, "such as '127.0.0.1', not on 'localhost'"),
        (lambda: Worker(debug=True, console_port=70_000), ValueError, "not 70000"),
        (lambda: Worker(debug=True, console_ip="here"), ValueError, "not on 'here'"),
    ],
)  # fmt: skip
def test_wrong_addresses(make: Callable[[], object], error: type[Exception], message: str) -> None:
    """Ports and addresses that can't be are refused in the constructor."""
    with pytest.raises(error, match=message):
        make()


async def test_the_log_says_where(caplog: pytest.LogCaptureFixture) -> None:
    """The port that was chosen is in the log, and for whom the console is there."""
    async with Console(port=0) as console:
        assert f"for every user of this machine: nc 127.0.0.1 {console.port}" in caplog.text
    async with Console(port=0, host="0.0.0.0") as console:  # noqa: S104 - that is what it is about
        assert f"for everyone who reaches it: nc 0.0.0.0 {console.port}" in caplog.text


# --- In a worker ----------------------------------------------------------------------------------


def test_without_debug_there_is_none() -> None:
    """Only a worker with `debug`, and with a port, has a console."""
    assert Worker().beacon.children == ()
    assert Worker(debug=True, console_port=None).beacon.children == ()
    worker = Worker(debug=True, console_port=0)
    assert [type(node.data) for node in worker.beacon.children] == [Console]


@pytest.mark.parametrize("backend", ["asyncio", "asyncio+uvloop", "trio"])
def test_a_worker_does_not_wait_for_its_console(backend: str) -> None:
    """With `daemon=False`, a worker ends when its work is done, console or not."""
    worker = Worker(
        Postman(), debug=True, console_port=0, daemon=False, backend=backend, stderr=io.StringIO()
    )
    with pytest.raises(SystemExit) as caught:
        worker.execute_from_commandline()
    assert caught.value.code == 0


async def test_a_connection_that_comes_as_the_console_stops() -> None:
    """It is closed, though no task of the console can be begun for it any more."""

    class Stopping(Console):
        """Is told to stop while it takes a connection."""

        async def on_start(self) -> None:
            await super().on_start()
            self._real, self._listener = self._listener, self

        async def accept(self) -> Any:
            stream = await self._real.accept()
            self._life.request_stop()
            return stream

    async with Stopping(port=0) as console:
        async with await anyio.connect_tcp("127.0.0.1", console.port or 0) as guest:
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await guest.receive()


@pytest.mark.process
@pytest.mark.parametrize("backend", ["asyncio", "asyncio+uvloop", "trio"])
def test_a_program_seen_through_its_console(backend: str) -> None:
    """What a user does: read the port off the log, connect, look around, and stop the program."""
    program = subprocess.Popen(
        [sys.executable, str(PROGRAM), backend], stderr=subprocess.PIPE, text=True
    )
    with program:
        try:
            assert program.stderr is not None
            port = next(
                int(found[1]) for line in program.stderr if (found := re.search(r"nc 127\S+ (\d+)", line))
            )  # fmt: skip
            with socket.create_connection(("127.0.0.1", port), timeout=20) as guest:
                guest.sendall(b"tree\nrestart Web\ntimers\nstop Worker\n")
                said = guest.makefile("rb").read().decode()
            program.stderr.read()  # to its end
            program.wait()
        finally:
            program.kill()  # which does nothing to one that has ended
    assert program.returncode == 0
    assert "── App (" in said
    assert "Worker/App/Web is running" in said
    assert "Web.tick: every 0.01 s" in said
    assert said.endswith("> stop Worker...\n")
