"""The last resort of a process that does not end: a thread that ends it.

Theory: all that bounds a stop from inside an event loop - deadlines, cancellation - needs a loop that turns and tasks that
listen. A task that swallows its cancellation, or a hook that blocks the loop, beats it. What is left is to leave the
process from another thread, after saying who was stuck.

The thread exists only while a stop is under way, so a program that forks before that does so without it. It may have to be
begun in a signal handler, as a loop that is blocked will not do it: between any two instructions of the main thread, with
whatever locks that holds. There it is begun by yet another thread, since the start of one takes a lock and waits.
"""

from __future__ import annotations

import _thread
import math
import os
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from ._signals import signals_held_back

__all__ = ("ForcedExit", "speak")

# How long the last words may take, in seconds: whoever hangs may hold the locks they need, but stacks are formatted from
# source files, and a busy machine may take its time to read those.
_LAST_WORDS = 5.0


class ForcedExit:
    """Ends the process when a limit passes.

    Not thread-safe: its methods must be called in one thread, which `arm` may interrupt as a part of a signal handler.

    Args:
        last_words: Called, in another thread, right before the exit; told what had a limit, and which.
    """

    def __init__(self, last_words: Callable[[float], object]) -> None:
        self._last_words = last_words
        #: When the process is going to be left, in the time of `time.monotonic`.
        self.deadline = math.inf

    def arm(self, seconds: float, code: int, *, in_handler: bool = False) -> None:
        """Leave the process with `code` in so many seconds; of several limits the earliest counts."""
        mine = _Watch(self._leave)
        # In one step: a signal handler that comes right after it finds a watch that will be begun.
        watch = vars(self).setdefault("_watch", mine)
        deadline = time.monotonic() + seconds
        self.deadline = min(self.deadline, deadline)
        watch.orders.put((deadline, seconds, code))
        if watch is mine:
            with suppress(
                RuntimeError
            ):  # no thread can be had: nothing but the engine bounds the stop then
                mine.begin(in_handler=in_handler)

    def disarm(self) -> None:
        """Forget all limits, and leave no thread behind."""
        watch = vars(self).pop("_watch", None)
        self.deadline = math.inf
        if watch is not None:
            watch.end()

    def _leave(self, seconds: float, code: int) -> None:
        speak(lambda: self._last_words(seconds))
        os._exit(code)


def speak(words: Callable[[], object]) -> None:
    """Call something that may never return, and wait for it for a while."""
    speaker = threading.Thread(target=words, daemon=True)
    try:
        speaker.start()
    except RuntimeError:  # no thread can be had
        words()
    else:
        speaker.join(_LAST_WORDS)


class _Watch:
    """A thread that waits for the earliest of several limits, or to be told to end.

    Args:
        leave: Called when that limit passes, with its seconds and its exit code.
    """

    def __init__(self, leave: Callable[[float, int], object]) -> None:
        self.orders: queue.SimpleQueue[tuple[float, float, int] | None] = queue.SimpleQueue()
        self._leave = leave
        self._thread = threading.Thread(target=self._wait, name="forced exit", daemon=True)
        self._has_ended = threading.Lock()
        self._process = os.getpid()

    def begin(self, *, in_handler: bool) -> None:
        """Begin to wait."""
        _ = self._has_ended.acquire()
        try:
            with signals_held_back():
                if in_handler:
                    _ = _thread.start_new_thread(self._start_beside, ())
                else:
                    self._thread.start()
        except BaseException:
            self._has_ended.release()
            raise

    def _start_beside(self) -> None:
        try:
            self._thread.start()
        except RuntimeError:  # there is none to be had
            self._has_ended.release()

    def end(self) -> None:
        """Wait no longer; returns when the thread has ended."""
        if os.getpid() != self._process:  # it was forked, and the thread is not in it
            return
        self.orders.put(None)
        with self._has_ended:
            if self._thread.ident is not None:
                self._thread.join()

    def _wait(self) -> None:
        try:
            earliest = (math.inf, math.inf, 0)
            while time.monotonic() < earliest[0]:
                with suppress(queue.Empty):
                    order = self.orders.get(timeout=_bounded(earliest[0] - time.monotonic()))
                    if order is None:
                        return
                    earliest = min(earliest, order)
            self._leave(earliest[1], earliest[2])
        finally:
            self._has_ended.release()


def _bounded(seconds: float) -> float:
    return min(max(0.0, seconds), threading.TIMEOUT_MAX)
