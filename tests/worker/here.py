"""What the tests of a worker share that runs in this process: a job for it, and ways to look at what it does."""

from __future__ import annotations

import io
import logging
import signal
import sys
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from structmode import Service, Worker

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")]


class Log(io.StringIO):
    """The log of a worker in this process."""

    def lines(self) -> list[str]:
        """Return the messages, without time, process and level; other lines as they are."""
        lines = self.getvalue().splitlines()
        return [line.split("] ", 3)[-1] if line.startswith("[") else line for line in lines]


def execute(worker: Worker) -> object:
    """Run a worker as the program; return its exit code."""
    with pytest.raises(SystemExit) as caught:
        worker.execute_from_commandline()
    return caught.value.code


async def all_started(service: Service) -> None:
    """Wait until the worker that runs the service has started."""
    *_, root = service.beacon.walk()
    while root.data.state != "running":  # noqa: ASYNC110 - a worker tells nobody but its hooks
        await anyio.lowlevel.checkpoint()


class Job(Service):
    """Does something once, when all has started, and ends."""

    def __init__(self, *does: Callable[[], object], **kwargs: Any) -> None:
        self.does = does
        self.events: list[str] = []
        super().__init__(**kwargs)

    @Service.task
    async def work(self) -> None:
        await all_started(self)
        for do in self.does:
            do()

    async def on_stop(self) -> None:
        self.events.append("stop")


def raising(exc: BaseException) -> Callable[[], object]:
    """Return a function that raises `exc`."""

    def do() -> None:
        raise exc

    return do


def handlers() -> list[object]:
    """Return the handlers of all signals that a worker takes."""
    return [signal.getsignal(number) for number in SIGNALS]


def root_state() -> tuple[object, ...]:
    """Return what a worker may change of logging and printing."""
    return (logging.root.level, tuple(logging.root.handlers), sys.stdout, sys.stderr)
