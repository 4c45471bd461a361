"""Threads beside the event loops: what can be expected of one is told by where it stands.

Theory: nobody can ask a thread what it is about to do, but its stack can be read. There are three kinds:

- One that is *idle* stands in the loop of its pool, and there is nothing for it to do. It will not do anything by itself.
- One that *asks* waits for what it has had an event loop do. It goes on when that has been done, and not before.
- Any other one *works*. If it does so for a task, time stands still until it has ended (`Threads.at_work`). If not, it may
  still call into an event loop, so nobody can say that nothing will happen any more (`somebody_may_call`).

A thread runs on while its stack is read. What is said of it must still hold then, so it is not believed to be idle while there
is something in the queue of its pool, nor to ask before the loop has got what it was asked for, or when it has answered: the
loop is that of who reads, and does nothing meanwhile. In between, a thread works. To be wrong in this way is no harm; one
looks again a moment later.

Each event loop has its own ways of having threads work for it: `_threads_on_asyncio`, `_threads_on_trio`.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from types import FrameType
from typing import Any

from structmode.utils._watchdog import THREADS

__all__ = (
    "NO_THREADS",
    "WORKERS",
    "Foreign",
    "Threads",
    "callbacks_of",
    "cell",
    "foreign_threads",
    "somebody_may_call",
    "timers",
    "waits_for_another_loop",
)

# What the names of threads begin with that wait for work, and may be left behind.
WORKERS = ("Trio thread", "AnyIO worker thread", "asyncio_", "ThreadPoolExecutor", THREADS)
# Where one stands who waits for a lock or for a queue; what is to be known is who has called that.
_WAITS = ("threading", "queue")

# The functions in which threads of pools wait for work: whether there is none, by what their variables are.
_IDLE: dict[tuple[str, str], Callable[[dict[str, Any]], bool]] = {
    ("concurrent.futures.thread", "_worker"): lambda its: its["work_queue"].empty(),
    ("anyio._backends._asyncio", "WorkerThread.run"): lambda its: (
        "func" not in its and its["self"].queue.empty()
    ),
    ("trio._core._thread_cache", "WorkerThread._work"): lambda its: its["self"]._job is None,
}


@dataclass(frozen=True)
class Threads:
    """What the threads do that have to do with one event loop.

    Attributes:
        at_work: Whether a task waits for one that works.
        asking: Those that wait for the event loop.
    """

    at_work: bool = False
    asking: frozenset[threading.Thread] = frozenset()


NO_THREADS = Threads()


class Foreign:
    """A thread that runs no event loop of ours, as it stood a moment ago.

    Args:
        thread: The thread.
        frame: The innermost one of its frames; None if it has just begun, or ended.
    """

    def __init__(self, thread: threading.Thread, frame: FrameType | None) -> None:
        self.thread = thread
        self._frames: list[FrameType] = []
        while frame is not None:
            self._frames.append(frame)
            frame = frame.f_back

    def variables_in(self, module: str, function: str) -> dict[str, Any] | None:
        """Return the variables of a function that it is in, the innermost if there are several; None if it is in none."""
        found = (frame for frame in self._frames if _place_of(frame) == (module, function))
        frame = next(found, None)
        return None if frame is None else frame.f_locals

    def is_idle(self) -> bool:
        """Whether it waits for work, and there is none."""
        frame = next(self._beyond_waits(), None)
        judge = None if frame is None else _IDLE.get(_place_of(frame))
        return frame is not None and judge is not None and judge(frame.f_locals)

    def asked_future(self) -> Future[Any] | None:
        """Return the future whose result it waits for, as long as that has none."""
        frame = next(self._beyond_waits(), None)
        if frame is None or _place_of(frame) != ("concurrent.futures._base", "Future.result"):
            return None
        future: Future[Any] | None = frame.f_locals.get("self")
        return None if future is None or future.done() else future

    def asks_through_portal(self) -> bool:
        """Whether it waits for what a portal of anyio's has the event loop of the caller do."""
        here = threading.get_ident()
        return any(
            callback.__qualname__ == "BlockingPortal._call_func.<locals>.callback"
            and cell(callback, "event_loop_thread_id") == here
            for callback in callbacks_of(self.asked_future())
        )

    def _beyond_waits(self) -> Iterator[FrameType]:
        return itertools.dropwhile(lambda frame: _place_of(frame)[0] in _WAITS, self._frames)


def _place_of(frame: FrameType) -> tuple[str, str]:
    return frame.f_globals.get("__name__", ""), frame.f_code.co_qualname


def callbacks_of(future: Future[Any] | None) -> list[Any]:
    """Return the functions that are called when a future is done."""
    known: list[Any] = getattr(future, "_done_callbacks", [])
    return [callback for callback in known if hasattr(callback, "__qualname__")]


def cell(function: Any, name: str) -> Any:
    """Return what a function has of a variable of the function around it."""
    names: tuple[str, ...] = function.__code__.co_freevars
    return function.__closure__[names.index(name)].cell_contents


def foreign_threads(known: Collection[threading.Thread]) -> list[Foreign]:
    """Return the threads that are not known; without the watchdog, which only asks whether the loop turns.

    Args:
        known: Those of which it is known what they do.
    """
    frames = sys._current_frames()
    return [
        Foreign(thread, frames.get(thread.ident or 0))
        for thread in threading.enumerate()
        if thread not in known and not thread.name.startswith(THREADS)
    ]


def waits_for_another_loop(stacks: Iterable[Sequence[FrameType]]) -> bool:
    """Whether a task waits for what it has asked the event loop of another thread."""
    return any(frame.f_code.co_name == "until_answered" for frames in stacks for frame in frames)


def timers() -> set[threading.Thread]:
    """Return all timers. Those that are there before a program begins are set to end it if it hangs, and won't call into it."""
    return {thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)}


def somebody_may_call(known: Collection[threading.Thread]) -> bool:
    """Whether there is a thread that may call into an event loop by itself, besides those that are known."""
    return any(not thread.is_idle() for thread in foreign_threads(known))
