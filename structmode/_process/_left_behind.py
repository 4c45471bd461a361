"""Threads that a program leaves behind, and that would keep its process for ever.

Theory: Python waits at its end for each thread that is no daemon, and no thread can be ended from outside. One that waits for
a line from a terminal keeps a process whose services have all stopped; those in which anyio calls functions on asyncio are no
daemons, whether somebody still waits for the function or not. So they get a limit, as all else has that a worker stops.

Before the process ends nothing can be told: the threads of an idle pool end then, and only then; and who has called the
worker may go on with something else. So nothing is done until it ends. Threads which that caller begins later are waited for.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from ._forced_exit import speak
from ._signals import signals_held_back

__all__ = ("bound_wait_for", "threads_that_stay")

# How long the threads may take before anything is said of them, in seconds; and how often they are looked at.
_PATIENCE = 1.0
_GLANCE = 0.02


def threads_that_stay(before: Collection[threading.Thread]) -> list[threading.Thread]:
    """Return the threads which the end of the process waits for, but for those that were there before, and the main one."""
    return [
        thread
        for thread in threading.enumerate()
        if not thread.daemon and thread not in before and thread is not threading.main_thread()
    ]


def bound_wait_for(
    threads: Sequence[threading.Thread],
    deadline: float,
    code: int,
    tell: Callable[[Sequence[threading.Thread], float], object],
    flush: Callable[[], object],
) -> None:
    """Have the end of the process wait no longer than that for threads that are there now.

    Args:
        threads: The threads.
        deadline: How long, in the time of `time.monotonic`.
        code: With what exit code the process is left then.
        tell: Called, in another thread, if they take their time: with those that do, and for how many seconds more.
        flush: Called, in another thread, right before the process is left.
    """
    # What calls back before Python waits for them; `atexit` does so after that.
    register = getattr(threading, "_register_atexit", None)
    if (
        not threads
        or register is None
        or threading.current_thread() is not threading.main_thread()
    ):
        return
    watch = _Watch(threads, deadline, code, tell, flush)
    with suppress(RuntimeError):  # the process is ending already, or no thread can be had
        register(watch.begin)
        with signals_held_back():
            watch.start()


class _Watch(threading.Thread):
    """Bounds the end of the process; see `bound_wait_for`. Started before that, as Python 3.12.1 starts no thread at the end."""

    def __init__(
        self,
        threads: Sequence[threading.Thread],
        deadline: float,
        code: int,
        tell: Callable[[Sequence[threading.Thread], float], object],
        flush: Callable[[], object],
    ) -> None:
        super().__init__(name="forced exit", daemon=True)
        self._process_ends = threading.Event()
        self._threads = threads
        self._deadline = deadline
        self._code = code
        self._tell = tell
        self._flush = flush

    def begin(self) -> None:
        """Begin to count: the process ends."""
        self._process_ends.set()

    def run(self) -> None:
        self._process_ends.wait()
        start = time.monotonic()
        deadline = max(self._deadline, start + _PATIENCE)
        if self._have_ended_by(start + _PATIENCE):
            return
        speak(lambda: self._tell(self._alive(), deadline - time.monotonic()))
        if self._have_ended_by(deadline):
            return
        while threads_that_stay(self._threads):
            time.sleep(_GLANCE)
        speak(self._flush)
        os._exit(self._code)

    def _have_ended_by(self, deadline: float) -> bool:
        while self._alive():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_GLANCE)
        return True

    def _alive(self) -> list[threading.Thread]:
        # Not by `is_alive`, nor by `join`: with what the end of the process does at the same time, both go wrong at times.
        running = sys._current_frames()
        return [thread for thread in self._threads if thread.ident in running]
