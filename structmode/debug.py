"""Looking out for a blocked event loop.

Theory
------
An event loop turns: it lets one task after the other make a step. A step that takes too long - a call that waits without
`await`, a long computation - blocks all others, and the program hangs without a failure. No task can notice that, since
no task runs then. So somebody outside the loop must ask it now and then whether it still turns.

*The question* is a function that the loop is asked to call soon. It comes from the watchdog of the process
(`structmode.utils._watchdog`), a thread beside all loops, and not from a signal: so it works on every platform, for
an event loop in any thread, on asyncio, uvloop and trio, and interrupts nothing. It does not go by the loop's clock, so a
virtual one changes nothing. The first one is asked when the detector starts, and a new one a quarter of the timeout after
the last: that is all that it costs, four wake-ups per timeout.

*Blocked* is a loop that has not answered for the timeout. So one that is idle is not: it answers at once. What blocks it for
less than the timeout is never reported, and what does for the timeout and a quarter always is. Time in which the process
could not run (a suspended machine, SIGSTOP) does not count, as far as the watchdog can tell.

*The reports* are lines of the log, with the stack of the thread that runs the loop, taken in that moment, from the task on
that it is in, and the name of that task, if it is one of a service. The first comes when the timeout has passed, then at twice that, at four times, and so
on: a stack that changes shows a loop that is busy, one that does not shows one that hangs. One more line says how long it
took in the end. They are written in a thread of their own, so a log that hangs harms nobody else.

A debugger that waits for its user blocks the loop, too, and is left in peace.

What can't be seen: code in C that holds the GIL keeps the watchdog from running, too. It is reported when it is over, in most cases
in the very moment, so that the stack is still there. If it used no time of the processor, it can't be told from a suspended process, and is not reported.

*raises* has an exception raised in the thread of the loop, with each report, and only if a coroutine of the program is the
innermost one there: not in the loop itself, in anyio's code, or in structmode's; and not under a tracer, such as coverage
or a debugger, whose own code it could hit, and leave with a lock. It comes between two steps of Python code;
so whatever waits in C (`time.sleep`, a socket, a lock) is not interrupted, and gets it on its return. And as no other thread
can be stopped to look at it, it may come when the code that was to get it has just gone on. So it is for development, and
off unless it is asked for.
"""

from __future__ import annotations

import inspect
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from structmode import _engine as engine
from structmode.exceptions import StructmodeError
from structmode.services import Service
from structmode.utils._seconds import Took
from structmode.utils._stacks import as_text, is_running, snapshot, thread_frames
from structmode.utils._watchdog import Alarm, alarms, write_soon
from structmode.utils.times import Seconds, want_interval

__all__ = ("Blocking", "BlockingDetector")

# How often the loop is asked whether it turns: so many times per timeout.
_QUESTIONS = 4
# Whose coroutines are not interrupted.
_MACHINERY = {"anyio", "asyncio", "structmode", "trio", "uvloop"}
# Who may block a loop for as long as it likes.
_DEBUGGERS = {"bdb", "pdb"}
_IN_COROUTINE = inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE | inspect.CO_ASYNC_GENERATOR


class Blocking(StructmodeError, RuntimeError):
    """Raised in what blocks the event loop, where a `BlockingDetector` was asked for that."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(args or ("The event loop was blocked for too long.",)))


class BlockingDetector(Service):
    """Reports in the log what blocks the event loop that it runs on, with the stack.

        class App(Service):
            def __post_init__(self) -> None:
                self.add_dependency(BlockingDetector(timeout=10.0))

    A `Worker` with ``debug=True`` has one. It works on every event loop and in any thread, and takes no signals. What blocks
    the loop for longer than `timeout` is reported once that has passed, or up to a quarter later; then again at twice, four
    times, eight times that; and when it is over, with the time that it took.

    Unlike in mode, nothing is raised in the blocking code unless `raises` says so: an exception may leave any code in a
    state that nobody has thought of. And then it is raised only where the innermost coroutine is one of the program's, not
    of an event loop or of structmode, and it interrupts Python code only: a call that waits outside of Python, such as
    `time.sleep`, gets it when it returns.

    Args:
        timeout: How long the event loop may be blocked: seconds, a timedelta, or a string.
        raises: The class of the exception to raise in what blocks it, such as `Blocking`; None raises nothing.
        **kwargs: Arguments of `Service`.

    Raises:
        TypeError: If the timeout can't be one, or if `raises` is no class of exceptions that takes no arguments.
        ValueError: If the timeout is not above zero and finite, or can't be read.
        StructmodeError: If `raises` is given, and this Python can't raise in another thread (all but CPython).
    """

    #: How long the event loop may be blocked, in seconds; read at the start.
    timeout: float

    #: The class of the exception to raise in what blocks it; None raises nothing.
    raises: type[BaseException] | None

    def __init__(
        self, timeout: Seconds, raises: type[BaseException] | None = None, **kwargs: Any
    ) -> None:
        self.timeout = want_interval(timeout, "timeout of BlockingDetector")
        self.raises = None if raises is None else _checked_exception(raises)
        super().__init__(**kwargs)

    def _repr_info(self) -> str:
        return f", timeout {self.timeout:g} s"

    async def on_start(self) -> None:
        """The detector starts: the loop is asked for the first time whether it turns."""
        self.add_context(self._watching())

    @contextmanager
    def _watching(self) -> Generator[None]:
        pulse = self._make_pulse()
        pulse.begin()
        try:
            yield
        finally:
            pulse.end()

    def _make_pulse(self) -> _Pulse:
        reporter = _Reporter(self, threading.current_thread())
        return _Pulse(self.timeout, reporter, engine.signal_safe_caller())


class _Pulse:
    """Asks an event loop again and again whether it turns.

    All but `begin`, `end` and the answer runs in the watchdog's thread. The answer takes no lock: an exception that is
    raised in the loop's thread at the wrong moment must not leave one locked.

    Args:
        timeout: From when on it is blocked, in seconds.
        reporter: Who is to tell of it.
        call_soon: Has the loop call something.
    """

    def __init__(
        self,
        timeout: float,
        reporter: _Reporter,
        call_soon: Callable[[Callable[[], object]], object],
    ) -> None:
        self._timeout = timeout
        self._reporter = reporter
        self._call_soon = call_soon
        self._lock = threading.Lock()
        #: Whether nothing is asked any more.
        self.is_over = False
        self._alarm: Alarm | None = None
        self._asked_at = self._suspended = 0.0
        self._answered_at: float | None = None
        # When to tell of it next, in seconds after the question.
        self._limit = timeout
        # Whether it has been told of; None if nobody has noticed.
        self._told: bool | None = None

    def begin(self) -> None:
        """Ask for the first time."""
        self._ask()

    def end(self) -> None:
        """Ask no longer; nothing is reported after this has returned, but what is being written already."""
        with self._lock:
            self.is_over = True
            if self._alarm is not None:  # pragma: no branch - it has begun
                self._alarm.cancel()

    def _ask(self) -> None:
        self._asked_at, self._suspended = time.monotonic(), alarms.suspended
        self._answered_at, self._limit, self._told = None, self._timeout, None
        self._look_later()
        self._reach_loop()

    def _reach_loop(self) -> bool:
        """Ask the loop for an answer; returns False if it has ended without a stop of the detector."""
        try:
            self._call_soon(self._answer)
        except RuntimeError:
            self.end()
            return False
        return True

    def _answer(self) -> None:
        self._answered_at = time.monotonic()

    def _look_later(self) -> None:
        with self._lock:
            if not self.is_over:  # pragma: no branch - it has ended just now
                self._alarm = alarms.call_later(self._timeout / _QUESTIONS, self._look)

    def _look(self) -> None:
        answered_at = self._answered_at
        until = time.monotonic() if answered_at is None else answered_at
        seconds = until - self._asked_at - (alarms.suspended - self._suspended)
        if answered_at is None:
            self._look_later()
            if seconds >= self._limit:
                self._tell(seconds)
            return
        if seconds >= self._timeout and self._told is not False:
            self._reporter.tell_end(seconds, told=self._told is not None)
        self._ask()

    def _tell(self, seconds: float) -> None:
        while self._limit <= seconds:
            self._limit *= 2
        if not self._reach_loop():  # pragma: no cover - the loop has ended since the question
            return
        with self._lock:
            if not self.is_over:  # pragma: no branch - it has ended just now
                told = self._reporter.tell(seconds, lambda: self._answered_at is None)
                self._told = told or bool(self._told)


class _Reporter:
    """Tells of a blocked event loop what is to be told; its methods run in the watchdog's thread.

    Args:
        detector: For whom.
        thread: The thread of the event loop.
    """

    def __init__(self, detector: BlockingDetector, thread: threading.Thread) -> None:
        self._detector = detector
        self._thread = thread
        self._ident = thread.ident or 0

    def tell(self, seconds: float, still_blocked: Callable[[], bool]) -> bool:
        """Tell that the loop is blocked, and by whom; return whether that is worth telling."""
        frames = thread_frames(self._ident)
        if any(_module_of(frame) in _DEBUGGERS for frame in frames):
            return False
        stack = snapshot(_in_task(frames))
        culprit = self._culprit()
        where = f" in {culprit}" if culprit else ""
        raised = self._raise(still_blocked)

        def report() -> None:
            self._detector.log.warning(
                "Blocked for %s: the event loop of thread %s is busy%s%s, here:\n%s",
                Took(seconds),
                self._thread.name,
                where,
                f" (raising {raised} there)" if raised else "",
                as_text(stack),
            )

        write_soon(report)
        return True

    def tell_end(self, seconds: float, *, told: bool) -> None:
        """Tell that the loop turns again."""
        log = self._detector.log
        if told:
            message = "No longer blocked: it took %s"
        else:
            message = (
                "Was blocked for %s, by something that let no other thread run, so nobody "
                "saw what it was: code in C that holds the GIL"
            )
        write_soon(lambda: log.warning(message, Took(seconds)))

    def _culprit(self) -> str | None:
        """Return the task or the hook of a service that the thread is in; None if it is in none of this tree."""
        run = self._detector._life.run
        # The loop may go on while its services are looked at.
        with suppress(RuntimeError):
            for one in run.root.tree() if run is not None else ():
                hook = one._steps._hook
                if hook is not None and is_running(hook[1]):
                    return f"{one.unit.label}.{hook[0]}"
                for task in one.tasks.alive():
                    if is_running(task._work):
                        return task.name
        return None

    def _raise(self, still_blocked: Callable[[], bool]) -> str | None:
        """Raise what is to be raised, if that may be; return what has been raised."""
        exception = self._detector.raises
        if exception is None or not _may_be_interrupted(thread_frames(self._ident)):
            return None
        if not still_blocked():  # pragma: no cover - it has gone on just now
            return None
        _raise_in_thread(self._ident, exception)
        return exception.__name__


def _in_task(frames: Sequence[FrameType]) -> Sequence[FrameType]:
    """Return the frames from the outermost coroutine on: what the loop itself does is always the same."""
    inward = (place for place, frame in enumerate(frames) if _is_coroutine(frame))
    return frames[next(inward, 0) :]


def _may_be_interrupted(frames: Sequence[FrameType]) -> bool:
    """Whether the innermost coroutine is one of the program's, and no tracer looks at what runs."""
    # coverage and debuggers run Python code in between, which must not be left with its locks held.
    if frames and frames[-1].f_trace is not None:
        return False
    innermost = next(filter(_is_coroutine, reversed(frames)), None)
    if innermost is None:
        return False
    package, _, _ = _module_of(innermost).partition(".")
    return package not in _MACHINERY


def _module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def _is_coroutine(frame: FrameType) -> bool:
    return bool(frame.f_code.co_flags & _IN_COROUTINE)


def _checked_exception(raises: object) -> type[BaseException]:
    if not (isinstance(raises, type) and issubclass(raises, BaseException)):
        raise TypeError(
            f"raises= takes a class of exceptions, as in BlockingDetector(10.0, raises=Blocking); not {raises!r}"
        )
    try:
        raises()
    except Exception as exc:  # noqa: BLE001 - whatever it is, it can't be made
        raise TypeError(
            f"raises= takes an exception that can be made without arguments; {raises.__name__}() says: {exc}"
        ) from None
    if sys.implementation.name != "cpython":  # pragma: no cover - on another Python only
        raise StructmodeError(
            "raises= needs CPython: leave it out, and the detector reports what blocks the loop"
        )
    return raises


def _raise_in_thread(ident: int, exception: type[BaseException]) -> None:
    import ctypes

    set_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc
    set_exception(ctypes.c_ulong(ident), ctypes.py_object(exception))
