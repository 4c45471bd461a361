"""Who runs the event loop of a thread: anybody can have a say in it, for as long as he likes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from typing import Any

import anyio

from structmode._engine import run_threads_by

from .things import Plain


class Runner:
    """Runs an event loop as anybody would, and writes that down."""

    def __init__(self, name: str, log: list[str]) -> None:
        self._name = name
        self._log = log

    def begun(self, thread: threading.Thread) -> None:
        assert thread.is_alive()

    def serve(self, work: Callable[[], None]) -> None:
        work()

    def run(self, main: Callable[[], Coroutine[Any, Any, None]], options: dict[str, Any]) -> None:
        self._log.append(self._name)
        anyio.run(main, **options)


async def test_for_a_while(inside: str) -> None:
    """Threads begun meanwhile are run as was said last; when that is ended, as before; in the end, as without."""
    log: list[str] = []

    async def begin_a_thread() -> None:
        async with Plain(backend=inside):
            assert threading.active_count() > 1
        log.append("left")

    end_outer = run_threads_by(lambda: Runner("outer", log))
    await begin_a_thread()
    end_inner = run_threads_by(lambda: Runner("inner", log))
    await begin_a_thread()
    end_inner()
    await begin_a_thread()
    end_outer()
    await begin_a_thread()
    assert log == ["outer", "left", "inner", "left", "outer", "left", "left"]
