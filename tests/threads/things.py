"""What the tests of threads have in common."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import anyio
import pytest

from structmode.threads import QueueServiceThread, ServiceThread

#: For tests of what only asyncio has, in the thread.
ON_ASYNCIO = pytest.mark.parametrize(
    "inside", ["asyncio"] + ["asyncio+uvloop"] * (find_spec("uvloop") is not None)
)


def here() -> int:
    """Return the number of the thread that runs this."""
    return threading.get_ident()


async def until(condition: Callable[[], object]) -> None:
    """Look again and again until something has come about."""
    while not condition():
        await anyio.sleep(0.001)


class Noting(QueueServiceThread):
    """Writes down its hooks, and the thread of each."""

    def __init__(self, **kwargs: Any) -> None:
        self.calls: list[str] = []
        self.threads: set[int] = set()
        super().__init__(**kwargs)

    def note(self, what: str) -> None:
        self.calls.append(what)
        self.threads.add(here())

    async def on_first_start(self) -> None:
        self.note("on_first_start")

    async def on_start(self) -> None:
        self.note("on_start")

    async def on_started(self) -> None:
        self.note("on_started")

    async def on_thread_started(self) -> None:
        self.note("on_thread_started")

    async def on_stop(self) -> None:
        self.note("on_stop")

    async def on_thread_stop(self) -> None:
        await super().on_thread_stop()
        self.note("on_thread_stop")

    async def on_shutdown(self) -> None:
        self.note("on_shutdown")

    async def on_restart(self) -> None:
        self.note("on_restart")


START = ["on_start", "on_started", "on_thread_started"]
STOP = ["on_stop", "on_thread_stop", "on_shutdown"]


class Plain(ServiceThread):
    """Does nothing."""


def threads_of(service: ServiceThread) -> list[threading.Thread]:
    """Return the threads of a service that exist now."""
    return [
        thread
        for thread in threading.enumerate()
        if getattr(thread, "service", None) is service and thread.is_alive()
    ]
