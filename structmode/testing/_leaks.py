"""What a test leaves behind: tasks, threads, services, coroutines that were never awaited.

Theory: a leak harms the test after the one that is at fault, if it is noticed at all. So what is there is counted before
and after each test, in its own event loop, and what is left is named. Coroutines that are dropped are none that are there,
so they are listened for meanwhile (`_dropped`).
"""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

import anyio
import anyio.lowlevel

from structmode.events import LifecycleEvent, Started, Stopped, subscribe

from ._dropped import dropped_coroutines
from ._threads import WORKERS

__all__ = ("LeftBehind", "nothing_left_behind")

# How often what is about to end gets the chance to: in passes of the event loop.
_PASSES = 10
# How long a thread may take to end, in seconds of real time.
_THREAD_PATIENCE = 1.0


class LeftBehind(AssertionError):
    """A block of code has left something running, or has dropped something; the text names it."""


@asynccontextmanager
async def nothing_left_behind() -> AsyncGenerator[None]:
    """Check that a block leaves no task, no thread, no running service and no coroutine that was never awaited.

    Tasks are looked for in the running event loop. Idle worker threads do not count; a coroutine is noticed if it is
    dropped in the block, or part of a cycle that nobody can reach when the block is left.

    Raises:
        LeftBehind: If something is left. Not if the block itself raises.
    """
    tasks = {task.id for task in anyio.get_running_tasks()}
    threads = set(threading.enumerate())
    with dropped_coroutines() as dropped:
        with _services_that_run() as services:
            yield
        left = [f"service {service!r}" for service in services.values()]
        left += await tasks_left(tasks)
        left += [
            f"thread {thread.name}"
            for thread in threading.enumerate()
            if _is_left(thread, threads)
        ]
        dropped.look_into_cycles()
        left += dropped.texts
    if left:
        raise LeftBehind("left behind: " + ", ".join(left))


@contextmanager
def _services_that_run() -> Generator[dict[int, object]]:
    """Know which services have been started in a block, and not stopped."""
    services: dict[int, object] = {}

    def listen(event: LifecycleEvent) -> None:
        if isinstance(event, Started):
            services[id(event.subject)] = event.subject
        elif isinstance(event, Stopped):
            services.pop(id(event.subject), None)

    unsubscribe = subscribe(listen)
    try:
        yield services
    finally:
        unsubscribe()


async def tasks_left(before: set[int]) -> list[str]:
    left: list[str] = []
    for _ in range(_PASSES):
        left = [f"task {task.name}" for task in anyio.get_running_tasks() if task.id not in before]
        if not left:
            break
        await anyio.lowlevel.checkpoint()
    return left


def _is_left(thread: threading.Thread, before: set[threading.Thread]) -> bool:
    if thread in before or thread.name.startswith(WORKERS):
        return False
    thread.join(_THREAD_PATIENCE)
    return thread.is_alive()
