"""What a worker is told when it is made: that it keeps it, what it has if it is told nothing, and which loop it runs."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import logging
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest
import trio

from structmode import Service, Worker


class Job(Service):
    """Does something in its task, and ends."""

    def __init__(self, *does: Callable[[], object]) -> None:
        self.does = does
        super().__init__()

    @Service.task
    async def work(self) -> None:
        await anyio.lowlevel.checkpoint()
        for do in self.does:
            do()


def execute(worker: Worker) -> object:
    """Run a worker as the program; return its exit code."""
    with pytest.raises(SystemExit) as caught:
        worker.execute_from_commandline()
    return caught.value.code


def test_what_a_worker_is_told_is_kept() -> None:
    """Each argument is an attribute of the same name; a duration is kept in seconds."""
    job, handler = Job(), logging.NullHandler()
    parent = Job()
    streams = {name: io.StringIO() for name in ("logfile", "stdout", "stderr")}
    settings: dict[str, Any] = {
        "debug": True,
        "quiet": True,
        "logging_config": {"version": 1},
        "loglevel": "info",
        "redirect_stdouts": False,
        "redirect_stdouts_level": "error",
        "console_port": 1234,
        "override_logging": False,
        "daemon": False,
        "backend": "trio",
        **streams,
    }
    worker = Worker(
        job,
        loghandlers=[handler],
        blocking_timeout=timedelta(minutes=1),
        loop=object(),
        beacon=parent.beacon,
        **settings,
    )
    assert {name: getattr(worker, name) for name in settings} == settings
    assert list(worker.services) == [job]
    assert list(worker.loghandlers) == [handler]
    assert worker.blocking_timeout == 60.0
    assert worker.beacon.parent is parent.beacon


def test_what_a_worker_has_if_it_is_told_nothing() -> None:
    """What is not said has mode's value; streams are those of the moment when the worker is made."""
    worker = Worker()
    defaults: dict[str, Any] = {
        "debug": False,
        "quiet": False,
        "logging_config": None,
        "loglevel": None,
        "logfile": None,
        "redirect_stdouts": True,
        "redirect_stdouts_level": None,
        "console_port": 50101,
        "blocking_timeout": 10.0,
        "override_logging": True,
        "daemon": True,
        "backend": "asyncio",
    }
    assert {name: getattr(worker, name) for name in defaults} == defaults
    assert not list(worker.services)
    assert not list(worker.loghandlers)
    assert worker.stdout is sys.stdout
    assert worker.stderr is sys.stderr
    assert worker.logger.name == "structmode.worker"


def kind_of_loop() -> str:
    """Return whose event loop the caller runs on."""
    if trio.lowlevel.in_trio_run():
        return "trio"
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


@pytest.mark.parametrize(
    ("backend", "kind"),
    [("asyncio", "asyncio"), ("asyncio+uvloop", "uvloop"), ("uvloop", "uvloop"), ("trio", "trio")],
)
def test_the_backend_decides_on_the_event_loop(backend: str, kind: str) -> None:
    """A worker runs its services on the event loop that `backend` names."""
    if kind == "uvloop" and importlib.util.find_spec("uvloop") is None:
        pytest.skip("there is no uvloop here")  # pragma: no cover - it is
    kinds: list[str] = []
    job = Job(lambda: kinds.append(kind_of_loop()))
    assert execute(Worker(job, daemon=False, backend=backend, stderr=io.StringIO())) == 0
    assert kinds == [kind]


@pytest.mark.fault("E4")
@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="there are no alarms here")
@pytest.mark.usefixtures("blocking_allowed")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_e4_nothing_is_raised_into_code_that_blocks(backend: str) -> None:
    """E4: with debug, code that blocks the loop past blocking_timeout goes on, and no alarm of the process is taken."""
    seen: list[object] = []

    def block() -> None:
        time.sleep(0.03)
        seen.extend([signal.getsignal(signal.SIGALRM), "went on"])

    before = signal.getsignal(signal.SIGALRM)
    worker = Worker(
        Job(block),
        debug=True,
        console_port=None,
        blocking_timeout=0.01,
        daemon=False,
        backend=backend,
        stderr=io.StringIO(),
    )
    assert execute(worker) == 0
    assert seen == [before, "went on"]
