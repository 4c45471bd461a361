"""The last resort of a process that does not end: a thread that ends it.

Theory: all that bounds a stop from inside an event loop - deadlines, cancellation - needs a loop that turns and tasks that
listen. A task that swallows its cancellation, or a hook that blocks the loop, beats it. What is left is to leave the
process from another thread, after saying who was stuck.

The thread exists only while a stop is under way, so a program that forks before that does so without it.
"""

from __future__ import annotations

import math
import os
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from ._signals import take_no_signals

__all__ = ("ForcedExit",)

# How long the last words may take, in seconds: whoever hangs may hold the locks they need, but stacks are formatted from
# source files, and a busy machine may take its time to read those.
_LAST_WORDS = 5.0


class ForcedExit:
    """Ends the process when a limit passes.

    Not thread-safe: its methods must be called in one thread.

    Args:
        last_words: Called, in another thread, right before the exit; told what had a limit, and which.
    """

    def __init__(self, last_words: Callable[[float], object]) -> None:
        self._last_words = last_words
        self._orders: queue.SimpleQueue[tuple[float, float, int] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def arm(self, seconds: float, code: int) -> None:
        """Leave the process with `code` in so many seconds; of several limits the earliest counts."""
        self._orders.put((time.monotonic() + seconds, seconds, code))
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="forced exit", daemon=True)
            self._thread.start()

    def disarm(self) -> None:
        """Forget all limits, and leave no thread behind."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._orders.put(None)
            thread.join()

    def _watch(self) -> None:
        take_no_signals()  # they would not wake the main thread
        earliest = (math.inf, math.inf, 0)
        while time.monotonic() < earliest[0]:
            with suppress(queue.Empty):
                order = self._orders.get(timeout=_bounded(earliest[0] - time.monotonic()))
                if order is None:
                    return
                earliest = min(earliest, order)
        self._leave(earliest[1], earliest[2])

    def _leave(self, seconds: float, code: int) -> None:
        speaker = threading.Thread(target=self._last_words, args=(seconds,), daemon=True)
        speaker.start()
        speaker.join(_LAST_WORDS)
        os._exit(code)


def _bounded(seconds: float) -> float:
    return min(max(0.0, seconds), threading.TIMEOUT_MAX)
