"""The page-view counter as a real process, over HTTP, on every backend.

The promise it is held to: a view that was answered with 200 is in the database when the process has ended, however it was
told to end; one that could not be saved until the very end is named in the log; and one that was answered with 200 when
it was saved is there even if the process was killed.
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import importlib.util
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

import pytest

import structmode

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(30),
    pytest.mark.skipif(sys.platform == "win32", reason="a process there gets no SIGTERM"),
]

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = ["asyncio", "uvloop", "trio"]
#: The services, in the order in which they start.
SERVICES = ["Store", "Counter", "Visitors", "History", "Live", "Web"]


# --- The process ----------------------------------------------------------------------------------


class Program:
    """The program as a process of its own, and what it has logged."""

    def __init__(self, backend: str, database: Path, *options: str) -> None:
        # -P: Python must not put the directory first on sys.path, or it would run the structmode that lies there
        # instead of the one under test.
        command = [sys.executable, "-P", "-X", "dev", "-m", "examples.pageviews"]
        home = Path(structmode.__file__).parents[1]
        self.database = database
        self.log: list[str] = []
        self.process = subprocess.Popen(
            [*command, "--backend", backend, "--database", str(database), *options],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(home), str(ROOT)])},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, text: str) -> str:
        """Read the log up to a line with some text in it; return that."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.rstrip())
            if text in line:
                return line
        pytest.fail(f"no {text!r} in its log:\n" + "\n".join(self.log))

    @property
    def port(self) -> int:
        """The port that it serves on; waits until it does."""
        served = [line for line in self.log if "Serving on" in line]
        line = served[0] if served else self.wait_for("Serving on")
        return int(line.rsplit(":", 1)[1])

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait until it has ended; return its exit code."""
        _, rest = self.process.communicate()
        self.log.extend(rest.splitlines())
        assert not re.search(r"\w+Warning: ", "\n".join(self.log)), "\n".join(self.log)
        return self.process.returncode

    def messages(self) -> list[tuple[str, str]]:
        """Return what its services have said: who, and what."""
        found = [re.search(r"\[\^(-*\w+)\]: (.*)", line) for line in self.log]
        return [(match[1], match[2]) for match in found if match]

    def post(self, path: str, until: str = "") -> int:
        """Send a view; return the status of the answer."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port)) as connection:
            return post(connection, path, until)

    def get_json(self, path: str) -> object:
        """Get what is there."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port)) as connection:
            connection.request("GET", path)
            return json.load(connection.getresponse())


def post(connection: http.client.HTTPConnection, path: str, until: str = "") -> int:
    """Send a view over a connection; return the status of the answer."""
    connection.request("POST", f"/view?path={quote(path)}&until={until}")
    answer = connection.getresponse()
    answer.read()
    return answer.status


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """The event loop that the process runs on."""
    name: str = request.param
    if name == "uvloop" and importlib.util.find_spec("uvloop") is None:
        pytest.skip("there is no uvloop here")  # pragma: no cover - there is
    return name


class Launcher:
    """Starts programs, and sees to it that none outlives its test."""

    def __init__(self, backend: str, database: Path) -> None:
        self.backend = backend
        self.database = database
        self._started: list[Program] = []

    def __call__(self, *options: str) -> Program:
        program = Program(self.backend, self.database, *(options or ("--port", "0")))
        self._started.append(program)
        return program

    def close(self) -> None:
        for program in self._started:
            program.process.kill()
            program.process.wait()
            if program.process.stderr is not None:  # pragma: no branch - it is a pipe
                program.process.stderr.close()


@pytest.fixture
def launch(backend: str, database: Path) -> Iterator[Launcher]:
    """Start the program."""
    with contextlib.closing(Launcher(backend, database)) as launcher:
        yield launcher


# --- The database ---------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where the counts are to be."""
    return tmp_path / "pageviews.db"


def stored(database: Path) -> collections.Counter[str]:
    """Read the counts out of the database."""
    with contextlib.closing(sqlite3.connect(database)) as db:
        return collections.Counter(dict(db.execute("SELECT path, views FROM counts")))


@contextlib.contextmanager
def locked(
    database: Path, how: Literal["IMMEDIATE", "EXCLUSIVE"] = "IMMEDIATE"
) -> Generator[None]:
    """Lock the database, as another program that writes to it would."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute(f"BEGIN {how}")
        yield


# --- In order -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_starts_and_stops_in_order(launch: Launcher, number: signal.Signals) -> None:
    """SIGTERM and Ctrl-C stop each service before those that it uses; the exit code is 0."""
    program = launch()
    assert program.post("/a") == 200
    program.wait_for("[^Worker]: Started.")
    program.tell(number)
    assert program.wait() == 0
    starts = [(f"--{name}", word) for name in SERVICES for word in ("Starting...", "Started.")]
    web = ("--Web", f"Serving on http://127.0.0.1:{program.port}")
    stops = [
        (f"--{name}", word)
        for name in reversed(SERVICES)
        for word in ("Stopping...", "-Stopped!", "-Shutdown complete!")
    ]
    ends = [
        (name, word)
        for name in ("-PageViews", "Worker")
        for word in ("-Stopped!", "-Shutdown complete!")
    ]
    assert [message for message in program.messages() if "signal" not in message[1]] == [
        ("Worker", "Starting..."),
        ("-PageViews", "Starting..."),
        *starts,
        web,
        ("-PageViews", "Started."),
        ("Worker", "Started."),
        ("Worker", "Stopping..."),
        ("-PageViews", "Stopping..."),
        *stops,
        *ends,
    ]
    assert stored(launch.database) == {"/a": 1}


def test_second_start_goes_on(launch: Launcher) -> None:
    """A second start shows the stored counts, and adds to them."""
    first = launch()
    assert [first.post("/a"), first.post("/a"), first.post("/b")] == [200, 200, 200]
    first.tell(signal.SIGTERM)
    assert first.wait() == 0
    second = launch()
    assert second.get_json("/counts") == {"total": 3, "views": {"/a": 2, "/b": 1}}
    assert second.post("/a") == 200
    second.tell(signal.SIGTERM)
    assert second.wait() == 0
    assert stored(launch.database) == {"/a": 3, "/b": 1}


def test_saved_view_survives_a_kill(launch: Launcher) -> None:
    """What was to be answered when it is saved, and was, is in the database after SIGKILL; so is what came before."""
    program = launch()
    assert [program.post("/a"), program.post("/b"), program.post("/a", until="saved")] == [200] * 3
    program.tell(signal.SIGKILL)
    assert program.wait() == -signal.SIGKILL
    assert stored(launch.database) == {"/a": 2, "/b": 1}


class Load:
    """Clients in threads, that send views for as long as they are answered, and keep account.

    Half of them keep their connection; half make a new one for each view.
    """

    CLIENTS = 8
    MOST = 5000  # views of one client: a server that doesn't stop must not keep a test for ever

    def __init__(self, program: Program, *, enough: int) -> None:
        self._port = program.port
        self._enough = enough
        self.under_way = threading.Event()
        self.sent: collections.Counter[str] = collections.Counter()
        self.counted: collections.Counter[str] = collections.Counter()
        self.refused: set[int] = set()
        self._threads = [
            threading.Thread(target=self._run, args=(f"/client/{number}", number % 2 == 0))
            for number in range(self.CLIENTS)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        for thread in self._threads:
            thread.join()

    def _run(self, path: str, keep: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        # What a server that has stopped does to a client: it refuses, resets, or closes without an answer.
        with contextlib.suppress(OSError, http.client.HTTPException):
            while self.sent[path] < self.MOST:  # pragma: no branch - the program stops before
                self.sent[path] += 1
                self._account(path, post(connection, path))
                if not keep:
                    connection.close()
        connection.close()

    def _account(self, path: str, status: int) -> None:
        if status != 200:  # pragma: no cover - only if the request comes at a certain moment
            self.refused.add(status)
            return
        self.counted[path] += 1
        if self.counted.total() >= self._enough:
            self.under_way.set()


def test_no_acknowledged_view_is_lost_under_load(launch: Launcher) -> None:
    """SIGTERM in the middle of many requests: what was answered with 200 is stored, and nothing is stored twice."""
    program = launch()
    with Load(program, enough=300) as load:
        assert load.under_way.wait(20)
        program.tell(signal.SIGTERM)
    assert program.wait() == 0
    counts = stored(launch.database)
    assert load.counted.total() >= 300
    assert load.refused <= {503}
    assert load.sent.total() < Load.CLIENTS * Load.MOST, "it was over before the signal"
    assert set(counts) <= set(load.sent)
    for path, sent in load.sent.items():
        assert load.counted[path] <= counts[path] <= sent
    again = launch()
    assert again.get_json("/counts") == {"total": counts.total(), "views": dict(counts)}
    again.tell(signal.SIGTERM)
    assert again.wait() == 0
    assert stored(launch.database) == counts


# --- Who looks on ---------------------------------------------------------------------------------


def test_stream_shows_views_and_ends_with_the_server(launch: Launcher) -> None:
    """A live page sees views as they come, and its stream is ended in order by SIGTERM."""
    program = launch()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", program.port)) as connection:
        connection.request("GET", "/events")
        stream = connection.getresponse()
        assert stream.headers["content-type"] == "text/event-stream"
        assert program.post("/a") == 200
        snapshot = next_snapshot(stream)
        while not snapshot["total"]:
            snapshot = next_snapshot(stream)
        assert snapshot["top"] == [["/a", 1]]
        program.tell(signal.SIGTERM)
        stream.read()  # raises IncompleteRead if the connection was merely cut
    assert program.wait() == 0


def next_snapshot(stream: http.client.HTTPResponse) -> dict[str, object]:
    """Read the next event of a stream."""
    line = b""
    while not line.startswith(b"data: "):
        line = stream.readline()
        assert line, "the stream has ended"
    snapshot: dict[str, object] = json.loads(line.removeprefix(b"data: "))
    return snapshot


def test_client_that_goes_away_leaves_its_place(launch: Launcher) -> None:
    """Looking on and leaving again, more often than there are places, ends in no refusal and no error."""
    program = launch()
    for _ in range(120):
        with socket.create_connection(("127.0.0.1", program.port)) as client:
            client.sendall(b"GET /events HTTP/1.1\r\nHost: here\r\n\r\n")
            assert b" 200 " in client.recv(1000)
    program.tell(signal.SIGTERM)
    assert program.wait() == 0
    assert not [line for line in program.log if "ERROR" in line]


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"GET /counts HT",
        b"POST /view?path=/a HTTP/1.1\r\nHost: here\r\nContent-Length: 99\r\n\r\n...",
    ],
    ids=["nothing", "half a head", "half a body"],
)
def test_half_a_request_does_not_keep_it(launch: Launcher, request_: bytes) -> None:
    """A client that has sent nothing, or half of something, does not keep the server from stopping."""
    program = launch()
    with socket.create_connection(("127.0.0.1", program.port)) as client:
        client.sendall(request_)
        assert program.post("/a") == 200
        program.tell(signal.SIGTERM)
        assert program.wait() == 0


def test_body_is_ignored(launch: Launcher) -> None:
    """A body that nobody asked for, however long, is not read: the answer comes at once, and the server is well."""
    head = b"POST /view?path=/a HTTP/1.1\r\nHost: here\r\nContent-Length: 9999999\r\n\r\n"
    program = launch()
    with socket.create_connection(("127.0.0.1", program.port)) as client:
        client.sendall(head)
        with contextlib.suppress(OSError):  # it need not wait for what it does not want
            client.sendall(bytes(9_000_000))
        assert client.recv(12) == b"HTTP/1.1 200"
    assert program.post("/a") == 200
    program.tell(signal.SIGTERM)
    assert program.wait() == 0
    assert stored(launch.database) == {"/a": 2}


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux drops such a client"
)
def test_client_that_stops_reading_does_not_keep_it(launch: Launcher) -> None:
    """A client that looks on without reading is dropped in the end; it does not keep the server from stopping."""
    program = launch()
    for number in range(10):  # long names make long events, which fill the buffers sooner
        assert program.post(f"/{'€' * 190}{number}") == 200
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", program.port))
        client.sendall(b"GET /events HTTP/1.1\r\nHost: here\r\n\r\n")
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", program.port)
        ) as connection:
            connection.request("GET", "/events")
            stream = connection.getresponse()
            for _ in range(12):  # three seconds of events: more than the buffers hold
                next_snapshot(stream)
        program.tell(signal.SIGTERM)
        assert program.wait() == 0
    assert sum(stored(launch.database).values()) == 10


# --- When something it needs is not there ---------------------------------------------------------


def test_port_in_use(launch: Launcher) -> None:
    """A port in use fails the start: the error names host and port, the exit code is 1, and all is undone."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        program = launch("--port", str(port))
        assert program.wait() == 1
    assert any(
        f"can't serve on 127.0.0.1:{port}: " in line and "in use" in line for line in program.log
    )
    assert ("--Store", "-Shutdown complete!") in program.messages()
    assert ("Worker", "Started.") not in program.messages()


@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
def test_database_locked_at_start(
    launch: Launcher, how: Literal["IMMEDIATE", "EXCLUSIVE"]
) -> None:
    """A locked database fails the start: the error names it, the exit code is 1, and no port was taken."""
    with locked(launch.database, how):
        program = launch()
        assert program.wait() == 1
    assert any(
        f"The database {launch.database} can't be used: database is locked" in line
        for line in program.log
    )
    assert not any("Serving" in line for line in program.log)


def test_database_locked_for_a_while(launch: Launcher) -> None:
    """While the database is locked views are kept; they are stored when it is free again."""
    program = launch()
    assert program.post("/before") == 200
    program.wait_for("[^Worker]: Started.")
    with locked(launch.database):
        assert [program.post("/a") for _ in range(5)] == [200] * 5
        program.wait_for("views kept")
        assert program.post("/a") == 200
    program.tell(signal.SIGTERM)
    assert program.wait() == 0
    assert stored(launch.database) == {"/before": 1, "/a": 6}


@pytest.mark.slow
@pytest.mark.parametrize("by", ["crash", "SIGTERM"])
def test_database_locked_for_good(launch: Launcher, by: str) -> None:
    """Locked until the very end: exit code 1, and each view is either stored or named in the log as lost."""
    program = launch()
    assert program.post("/before") == 200
    until_stored(launch.database, {"/before": 1})
    with locked(launch.database):
        assert [program.post(path) for path in ("/a", "/a", "/before")] == [200] * 3
        if by == "SIGTERM":
            program.tell(signal.SIGTERM)
        assert program.wait() == 1
    assert any("CRITICAL" in line and "database is locked" in line for line in program.log)
    lost = [what for _, what in program.messages() if what.startswith("Lost views: ")]
    assert lost == ["Lost views: 2 of /a", "Lost views: 1 of /before"]
    assert stored(launch.database) == {"/before": 1}


def until_stored(database: Path, views: dict[str, int]) -> None:
    """Wait until the database holds these views; the limit of the test ends a wait that is in vain."""
    wait = threading.Event()
    while stored(database) != views:
        wait.wait(0.02)


# --- The command line -----------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--port", "65536"], "65536 is no port"),
        (["--port", "http"], "invalid port value: 'http'"),
        (["--loglevel", "loud"], "invalid choice: 'loud'"),
    ],
)
def test_bad_options(launch: Launcher, options: list[str], problem: str) -> None:
    """An option that makes no sense is refused with exit code 2, and nothing is started."""
    program = launch(*options)
    assert program.wait() == 2
    assert problem in "\n".join(program.log)
    assert not launch.database.exists()
