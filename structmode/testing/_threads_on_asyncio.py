"""What threads do for the tasks of an event loop of asyncio.

Theory: whoever waits for a thread waits for a future of the loop that the thread is to fill. The thread has it, or what is
chained to it, among the variables of its pool. So the futures are looked for that are not done, but those of threads that
ask. Some are known before a thread has taken them on: what the loop was asked to run in an executor, and what a task waits for
that has given work to a thread of anyio's.
"""

from __future__ import annotations

import concurrent.futures.thread
import threading
from collections.abc import Collection, Sequence
from types import FrameType
from typing import Any, Protocol

import anyio

from structmode import _engine as engine

from ._threads import (
    NO_THREADS,
    Foreign,
    Threads,
    callbacks_of,
    cell,
    foreign_threads,
    somebody_may_call,
    waits_for_another_loop,
)

__all__ = ("a_child_is_waited_for", "threads_of")

_POOL = "concurrent.futures.thread"
# The function that is run by threads of the standard library's pools.
_pool_worker: Any = getattr(concurrent.futures.thread, "_worker")  # noqa: B009 - no type checker knows of it


class _Future(Protocol):
    """A future of asyncio's."""

    def done(self) -> bool: ...


def threads_of(
    loop: object,
    in_executor: Collection[_Future],
    known: Collection[threading.Thread],
) -> Threads:
    """Return what the threads do that have to do with the running event loop.

    Args:
        loop: The loop.
        in_executor: What it has been asked to run in executors.
        known: Threads of which it is known what they do; the current one among them.
    """
    if threading.active_count() <= len(known):  # the usual case: no task needs to be looked at
        return NO_THREADS
    stacks = [engine.frames_of(task.coro) for task in anyio.get_running_tasks()]
    threads = foreign_threads(known)
    asking = [thread for thread in threads if _asks(thread, loop)]
    filled = {_filled_by(thread, loop) for thread in threads}
    filled.update(in_executor, _given_to_workers(stacks))
    filled.difference_update(_filled_by(thread, loop) for thread in asking)
    askers = frozenset(thread.thread for thread in asking)
    at_work = (
        any(future is not None and not future.done() for future in filled)
        or any(map(_is_about_to_take_work, threads))
        or (waits_for_another_loop(stacks) and somebody_may_call({*known, *askers}))
    )
    return Threads(at_work, askers)


def _asks(thread: Foreign, loop: object) -> bool:
    return thread.asks_through_portal() or any(
        callback.__qualname__ == "_chain_future.<locals>._call_check_cancel"
        and cell(callback, "source_loop") is loop
        for callback in callbacks_of(thread.asked_future())
    )


def _filled_by(thread: Foreign, loop: object) -> _Future | None:
    """Return the future of the loop that a thread is to fill."""
    worker = thread.variables_in("anyio._backends._asyncio", "WorkerThread.run")
    if worker is not None:
        return worker.get("future") if worker["self"].loop is loop else None
    item = thread.variables_in(_POOL, "_WorkItem.run")
    for callback in callbacks_of(getattr(item and item["self"], "future", None)):
        if (
            callback.__qualname__ == "_chain_future.<locals>._call_set_state"
            and cell(callback, "dest_loop") is loop
        ):
            future: _Future = cell(callback, "destination")
            return future
    return None


def _given_to_workers(stacks: Sequence[Sequence[FrameType]]) -> list[_Future | None]:
    """Return the futures of tasks that wait for a thread of anyio's, which may not have looked for its work yet."""
    return [
        frames[-1].f_locals.get("future")
        for frames in stacks
        if frames and frames[-1].f_code.co_name == "run_sync_in_worker_thread"
    ]


def _is_about_to_take_work(thread: Foreign) -> bool:
    """Whether it belongs to a pool, and nobody can tell yet for whom it will work."""
    return (
        getattr(thread.thread, "_target", None) is _pool_worker
        and thread.variables_in(_POOL, "_WorkItem.run") is None
        and not thread.is_idle()
    )


def a_child_is_waited_for(loop: object) -> bool:
    """Whether a thread waits for the end of a process that the loop has begun, where asyncio has no better way to know it."""
    return any(
        getattr(getattr(thread, "_target", None), "__name__", "") == "_do_waitpid"
        and getattr(thread, "_args", ())[:1] == (loop,)
        for thread in threading.enumerate()
    )
