"""What threads do for the tasks of an event loop of trio.

Theory: a task that has given work to a thread stands in `to_thread_run_sync`. What the thread asks for is done there, by the
same task, which may give work to another thread then, and so on. So a task waits for one that works if it has given work to
more threads than ask.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from types import FrameType
from typing import Any

import anyio

from structmode import _engine as engine

from ._threads import (
    NO_THREADS,
    Foreign,
    Threads,
    foreign_threads,
    somebody_may_call,
    waits_for_another_loop,
)

__all__ = ("threads_of",)

_HERE = "trio._threads"
# What a task does in `to_thread_run_sync` once the thread has its work: it waits, or does what it is asked for.
_GIVEN = ("wait_task_rescheduled", "run")


def threads_of(known: Collection[threading.Thread]) -> Threads:
    """Return what the threads do that have to do with the running event loop.

    Args:
        known: Threads of which it is known what they do; the current one among them.
    """
    if threading.active_count() <= len(known):  # the usual case: no task needs to be looked at
        return NO_THREADS
    stacks = {task.id: engine.frames_of(task.coro) for task in anyio.get_running_tasks()}
    questions = list(_questions(itertools.chain.from_iterable(stacks.values())))
    asking = [thread for thread in foreign_threads(known) if _asks(thread, questions)]
    askers = frozenset(thread.thread for thread in asking)
    asked = Counter(map(_employer, asking))
    at_work = any(_given(frames) > asked[task] for task, frames in stacks.items()) or (
        waits_for_another_loop(stacks.values()) and somebody_may_call({*known, *askers})
    )
    return Threads(at_work, askers)


def _questions(frames: Iterable[FrameType]) -> Iterable[Any]:
    """Return what tasks do that threads have asked for."""
    for frame in frames:
        if frame.f_code.co_qualname in {"Run.run", "Run.run_system"} and (
            frame.f_globals.get("__name__") == _HERE
        ):
            yield frame.f_locals["self"]


def _asks(thread: Foreign, questions: Sequence[Any]) -> bool:
    its = thread.variables_in(_HERE, "_send_message_to_trio")
    question = None if its is None else its["message_to_trio"]
    return thread.asks_through_portal() or any(one is question for one in questions)


def _employer(thread: Foreign) -> int | None:
    """Return the id of the task that a thread works for."""
    its = thread.variables_in(_HERE, "to_thread_run_sync.<locals>.worker_fn")
    return None if its is None else id(its["task_register"][0])


def _given(frames: Sequence[FrameType]) -> int:
    """Return to how many threads a task has given work, which is not done."""
    calls = [frame.f_code.co_name for frame in frames]
    return sum(
        outer == "to_thread_run_sync" and inner in _GIVEN
        for outer, inner in itertools.pairwise(calls)
    )
