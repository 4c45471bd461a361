"""How the event loop of a thread is run, and who may have a say in it.

Theory: a thread with an event loop of its own runs it by `anyio.run`, and that is all there is to it; unless somebody has taken
over the time of the event loop in which the thread is begun. Then two loops would live in two times, and a second of the one
would be a day of the other. So whoever does such a thing to a loop can do it to those of the threads that are begun there, too:
it says who is to run them. What that is, the engine does not ask.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import anyio
from anyio.lowlevel import RunVar


class LoopRunner(Protocol):
    """Runs the event loop of one thread."""

    def begun(self, thread: threading.Thread) -> None:
        """Know that the thread has been started; called in the event loop where that was done."""

    def serve(self, work: Callable[[], None]) -> None:
        """Call `work`, which is all that the thread is for; called in the thread."""

    def run(self, main: Callable[[], Coroutine[Any, Any, None]], options: dict[str, Any]) -> None:
        """Run an event loop, as `anyio.run` does; called in the thread, by its work."""


class _PlainRunner:
    """Does it as anybody would."""

    def begun(self, thread: threading.Thread) -> None:
        """Nothing to do."""

    def serve(self, work: Callable[[], None]) -> None:
        """Call it."""
        work()

    def run(self, main: Callable[[], Coroutine[Any, Any, None]], options: dict[str, Any]) -> None:
        """Leave it to anyio."""
        anyio.run(main, **options)


_make_runner: RunVar[Callable[[], LoopRunner]] = RunVar("structmode_loop_runner", _PlainRunner)


def runner_for_thread() -> LoopRunner:
    """Return what is to run the event loop of a thread that is about to be begun in the running event loop."""
    return _make_runner.get()()


def run_threads_by(make: Callable[[], LoopRunner]) -> Callable[[], None]:
    """Have the event loops of threads that are begun in the running event loop from now on be run by what `make` returns.

    Returns:
        A function that ends this, to be called in the same event loop; what has been begun goes on as it is.
    """
    before = _make_runner.set(make)
    return lambda: _make_runner.reset(before)
