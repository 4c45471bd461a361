"""What a test leaves behind: tasks, threads, services, coroutines that were never awaited.

Theory: a leak harms the test after the one that is at fault, if it is noticed at all. So what is there is counted before
and after each test, in its own event loop, and what is left is named.
"""

from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel

from structmode.events import LifecycleEvent, Started, Stopped, subscribe

from ._deadlock import WORKERS

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
    dropped, or part of a cycle, when the block is left.

    Raises:
        LeftBehind: If something is left. Not if the block itself raises.
    """
    tasks = {task.id for task in anyio.get_running_tasks()}
    threads = set(threading.enumerate())
    services: dict[int, object] = {}

    def listen(event: LifecycleEvent) -> None:
        if isinstance(event, Started):
            services[id(event.subject)] = event.subject
        elif isinstance(event, Stopped):
            services.pop(id(event.subject), None)

    unsubscribe = subscribe(listen)
    try:
        yield
    finally:
        unsubscribe()
    left = [f"service {service!r}" for service in services.values()]
    left += await tasks_left(tasks)
    left += [
        f"thread {thread.name}" for thread in threading.enumerate() if _is_left(thread, threads)
    ]
    left += _coroutines_dropped()
    if left:
        raise LeftBehind("left behind: " + ", ".join(left))


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


def _coroutines_dropped() -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.collect()
    texts = [str(warning.message) for warning in caught if warning.category is RuntimeWarning]
    return [text for text in texts if "never awaited" in text]
