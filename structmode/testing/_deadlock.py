"""Nothing can ever happen again: how that is known, and how it is told.

Theory: when every task is blocked, four things can still wake one: a deadline, a thread that works for a task, input or
output, and another thread that calls into the event loop. If none of them is there, waiting longer is of no use. A
program that runs in real time would hang then; here it can be known, and the stack of every task says why.
"""

from __future__ import annotations

import threading
from collections.abc import Collection

import anyio

from structmode import _engine as engine
from structmode.exceptions import StructmodeError
from structmode.utils._watchdog import THREADS

__all__ = (
    "WORKERS",
    "Deadlock",
    "a_task_waits_for_a_thread",
    "describe_tasks",
    "somebody_may_call",
)

# How threads are called that wait for work: idle, they wake nobody. The watchdog only asks whether the loop turns.
WORKERS = ("Trio thread", "AnyIO worker thread", "asyncio_", "ThreadPoolExecutor", THREADS)


class Deadlock(StructmodeError):
    """Every task waits, and nothing is left that could wake one; the text has the stack of each."""


def a_task_waits_for_a_thread(known: Collection[threading.Thread]) -> bool:
    """Whether a thread works for a task of the running event loop.

    One that has called back into the loop, and waits for what it asked for there, does not work.

    Args:
        known: Threads of which it is known whether they work; the current one among them.
    """
    if threading.active_count() <= len(known):  # the usual case: no task needs to be looked at
        return False
    foreign = somebody_may_call(known)
    tasks = anyio.get_running_tasks()
    return sum(_threads_at_work_for(task, foreign=foreign) for task in tasks) > 0


def _threads_at_work_for(task: anyio.TaskInfo, *, foreign: bool) -> int:
    """Return 1 if a task waits for a thread, and -1 if it does what a thread waits for, by where it stands."""
    calls = [frame.f_code.co_name for frame in engine.frames_of(task.coro)]
    if "until_answered" in calls:  # by the event loop of another thread
        return int(foreign)
    if "to_thread_run_sync" in calls:  # trio: the same task does what its thread asks for
        return calls[calls.index("to_thread_run_sync") + 1] == "wait_task_rescheduled"
    if calls[-1:] == ["run_sync_in_worker_thread"]:  # asyncio: another task does
        return 1
    return -1 if calls[:1] == ["task_wrapper"] else 0


def somebody_may_call(known: Collection[threading.Thread]) -> bool:
    """Whether there is a thread that may call into the event loop, besides those that are known; as far as can be told."""
    return any(
        thread not in known
        and not isinstance(thread, threading.Timer)
        and not thread.name.startswith(WORKERS)
        for thread in threading.enumerate()
    )


def describe_tasks() -> str:
    """Return the name and the stack of every task."""
    return "\n".join(
        f"{task.name}\n{engine.stack_of(task.coro)}" for task in anyio.get_running_tasks()
    )
