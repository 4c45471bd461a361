"""What the servers that people use do with `lifespan`, when all goes well and when it does not: as real processes."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import structmode

pytestmark = [
    pytest.mark.slow,
    pytest.mark.process,
    pytest.mark.skipif(sys.platform == "win32", reason="a process there gets no SIGTERM"),
]

PROGRAMS = Path(__file__).with_name("programs")

UVICORN = ["uvicorn", "--port", "0", "--loop"]
HYPERCORN = ["hypercorn", "--bind", "127.0.0.1:0"]
#: Servers that handle signals in the process that serves.
ASKED = {
    "uvicorn": [*UVICORN, "asyncio"],
    "uvicorn-uvloop": [*UVICORN, "uvloop"],
    "hypercorn": [*HYPERCORN, "-w", "0", "-k", "asyncio"],
    "hypercorn-uvloop": [*HYPERCORN, "-w", "0", "-k", "uvloop"],
}
#: Servers that do not.
LEFT = {
    "hypercorn-worker": [*HYPERCORN, "-w", "1", "-k", "asyncio"],
    "hypercorn-uvloop-worker": [*HYPERCORN, "-w", "1", "-k", "uvloop"],
    "hypercorn-trio": [*HYPERCORN, "-w", "0", "-k", "trio"],
    "hypercorn-trio-worker": [*HYPERCORN, "-w", "1", "-k", "trio"],
}


class Server:
    """A server process, and what it has said.

    Args:
        command: The module to run, and its arguments.
        environ: More environment variables.
    """

    def __init__(self, command: list[str], **environ: str) -> None:
        home = Path(structmode.__file__).parents[1]
        paths = os.pathsep.join([str(home), str(PROGRAMS)])
        self.said: list[str] = []
        self.process = subprocess.Popen(
            # -P: Python must not put the current directory first on sys.path, where another structmode may lie.
            [sys.executable, "-P", "-m", *command, "breaking:app"],
            env={**os.environ, "PYTHONPATH": paths, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def port(self) -> int:
        """Wait until it serves; return where."""
        return int(self.wait_for(r"running on http://127\.0\.0\.1:(\d+)")[1])

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read on until a line matches."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.rstrip())
            found = re.search(pattern, line, re.IGNORECASE)
            if found:
                return found
        pytest.fail(f"it did not say {pattern!r}, but:\n" + "\n".join(self.said))

    def end(self) -> int:
        """Wait until it has ended; return its exit code."""
        rest, _ = self.process.communicate(timeout=30)
        self.said += rest.splitlines()
        assert not [line for line in self.said if re.search(r"\w+Warning: ", line)]
        return self.process.returncode


def connect(to: http.client.HTTPConnection) -> None:
    """Connect to a server that has said that it is up; uvicorn says so before its worker listens."""
    patience = time.monotonic() + 20
    while True:
        try:
            return to.connect()
        except ConnectionRefusedError:  # pragma: no cover - as luck has it
            if time.monotonic() > patience:
                raise
            time.sleep(0.01)


@contextlib.contextmanager
def serving(command: list[str], **environ: str) -> Iterator[Server]:
    """Run a server; it must have ended when the block does."""
    server = Server(command, **environ)
    try:
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):  # with all its workers, if a test has failed
            os.killpg(server.process.pid, signal.SIGKILL)
        server.process.communicate()


def get(port: int, path: str) -> str | None:
    """Return the answer to a request; None if the connection ends before."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as one:
        connect(one)
        one.request("GET", path)
        try:
            answer = one.getresponse()
            return answer.read().decode() or None
        except (http.client.HTTPException, ConnectionError):  # pragma: no cover - as luck has it
            return None


@pytest.mark.parametrize("name", ASKED)
def test_a_crash_has_the_server_stop(name: str) -> None:
    """When a service crashes, the server finishes what it answers, shuts the rest down, and ends with a code that is not 0."""
    with serving(ASKED[name]) as server:
        port = server.port()
        assert get(port, "/") == "running"
        assert get(port, "/break") == "crashed"
        assert server.end() != 0
    assert "ValueError: the feed is broken" in server.said
    own = [line for line in server.said if re.fullmatch(r"(feed|pool) \w+", line)]
    assert own == ["feed starts", "pool opens", "feed stops", "pool closes"]


def test_another_worker_takes_the_place_of_a_crashed_one() -> None:
    """With several workers, uvicorn ends the one whose services have crashed, and starts another."""
    with serving([*UVICORN, "asyncio", "--workers", "2"]) as server:
        port = server.port()
        for _ in range(2):
            server.wait_for("Application startup complete")
        assert get(port, "/break") == "crashed"
        server.wait_for("Application startup complete")
        assert get(port, "/") == "running"
        server.process.send_signal(signal.SIGTERM)
        server.end()
    assert "ValueError: the feed is broken" in server.said
    assert server.said.count("feed starts") == server.said.count("pool closes") == 3


@pytest.mark.parametrize("name", LEFT)
def test_a_crash_ends_a_server_that_cannot_be_asked(name: str) -> None:
    """When a service crashes, such a server ends at once, but not before the rest has been shut down."""
    with serving(LEFT[name]) as server:
        port = server.port()
        assert get(port, "/") == "running"
        get(port, "/break")
        code = server.end()
        # Hypercorn's main process forgets the exit code of the worker, and ends with 0.
        assert code != 0 or name.endswith("worker")
    assert "ValueError: the feed is broken" in server.said
    own = [line for line in server.said if re.fullmatch(r"(feed|pool) \w+", line)]
    assert sorted(own) == ["feed starts", "feed stops", "pool closes", "pool opens"]


@pytest.mark.parametrize("name", [*ASKED, *LEFT])
def test_a_failed_start_ends_the_server(name: str) -> None:
    """If a service can't start, the server says why and ends."""
    with serving({**ASKED, **LEFT}[name], REFUSE="1") as server:
        code = server.end()
        assert code != 0 or name.endswith("worker")
    assert any("ValueError: the feed refuses" in line for line in server.said)


@pytest.mark.parametrize("name", ["uvicorn", "uvicorn-uvloop", "hypercorn", "hypercorn-worker"])
def test_a_signal_stops_the_server(name: str) -> None:
    """Signals are the server's: at its own it stops as it would without services, and they stop with it."""
    with serving({**ASKED, **LEFT}[name]) as server:
        assert get(server.port(), "/") == "running"
        server.process.send_signal(signal.SIGTERM)
        code = server.end()
        assert code in {0, -signal.SIGTERM}
    own = [line for line in server.said if re.fullmatch(r"(feed|pool) \w+", line)]
    assert own == ["feed starts", "pool opens", "pool closes", "feed stops"]
    assert not any("Traceback" in line for line in server.said)
