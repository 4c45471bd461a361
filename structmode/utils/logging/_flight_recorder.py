"""Flight recorders: log messages that are written only if something takes too long.

Theory: what hangs now and then is found by a log of every step, but such a log is too long to read, and writing it changes
how fast the program is, so that the fault may stay away. So the messages are kept, which costs next to nothing, and thrown
away if all goes well.

*Who waits for the timeout.* No task does: a task needs an owner, and an event loop that turns. The watchdog of the process
does (`structmode.utils._watchdog`), a thread beside all loops. So a recorder works the same on every event loop, without
any, and while the loop is blocked; it costs an alarm that is set and cancelled again, and it can be made where no loop runs.

*Whose time it is.* The timeout passes in real time, as a hang does. A virtual clock jumps over the time in which the body
waits, so nothing would ever take too long for the watchdog then. Therefore a body that took longer than the timeout by the
clock of its event loop, and not in real time, is reported when it is left. That is so under a virtual clock only, and then
it is certain; the stack is missing, as the body is over.

*What is written.* When the timeout has passed: two warnings, the messages so far, each with its time and at its own level,
and where the task or the thread stands that is being recorded. What it logs after that is written as it comes, and at
the end how long it took. All of that is in order, and written in a thread that may hang over it (see the watchdog).

*Which recorder is the current one* is a context variable: the innermost block that the caller is in, also in the tasks
that are begun there, and in a thread that somebody has taken the context to. One that has ended since is passed over for the one around it.
"""

import copy
import itertools
import logging
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, suppress
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import Any, Generic, NamedTuple, Self, TypeVar

import anyio
import anyio.lowlevel

from structmode.exceptions import LifecycleError
from structmode.utils._seconds import Took
from structmode.utils._shown import shown
from structmode.utils._stacks import as_text, snapshot, task_frames, thread_frames
from structmode.utils._watchdog import Alarm, alarms, write_soon
from structmode.utils.logging._composite import LogSeverityMixin
from structmode.utils.logging._levels import Severity, level_number
from structmode.utils.times import Seconds, want_seconds

__all__ = ("Logwrapped", "flight_recorder", "on_timeout")

T = TypeVar("T")

# How many messages a recorder keeps; of more, the last.
_KEPT = 10_000

_numbers = itertools.count(1)
_innermost: ContextVar["flight_recorder | None"] = ContextVar(
    "structmode_flight_recorder", default=None
)


class _Entry(NamedTuple):
    """One message, as it was logged."""

    severity: int
    text: str
    at: float
    keywords: dict[str, Any]


class _Wrapping(LogSeverityMixin):
    """Log methods, and the means to have all calls of an object logged."""

    # `log` here counts no frames: what is written is written elsewhere.
    def wrap(self, severity: int, obj: T) -> T:
        """Return an object like `obj` whose calls are logged first, with their arguments.

        Args:
            severity: The number of the level.
            obj: The object; functions, too.

        Returns:
            A `Logwrapped`. To type checkers it is what it wraps.
        """
        wrapped: Any = Logwrapped(obj, self, severity)
        return wrapped  # type: ignore[no-any-return]

    def wrap_debug(self, obj: T) -> T:
        """Log the calls of `obj` at level DEBUG; see `wrap`."""
        return self.wrap(logging.DEBUG, obj)

    def wrap_info(self, obj: T) -> T:
        """Log the calls of `obj` at level INFO; see `wrap`."""
        return self.wrap(logging.INFO, obj)

    def wrap_warn(self, obj: T) -> T:
        """Log the calls of `obj` at level WARNING; see `wrap`."""
        return self.wrap(logging.WARNING, obj)

    def wrap_error(self, obj: T) -> T:
        """Log the calls of `obj` at level ERROR; see `wrap`."""
        return self.wrap(logging.ERROR, obj)


class flight_recorder(  # noqa: N801 - mode's name; it is used as a function
    AbstractContextManager["flight_recorder", None],
    AbstractAsyncContextManager["flight_recorder", None],
    _Wrapping,
):
    """Keeps log messages, and writes them only if a block takes too long.

        with flight_recorder(logger, timeout=10.0) as on_timeout:
            on_timeout.info("+get the user")
            await redis.get(USER)
            on_timeout.info("-get the user")

    When the block is left in time, nothing is written. If it is not, the messages are written, and where the task that runs
    it stands, or the thread, if there is no event loop. It has all the methods of a logger, which may be called from any
    thread. A message is put together when it is logged, so it says what was so then; of more than 10,000 the last
    are kept.

    ``async with`` does the same. Recorders can be nested, and one may be used again after its block. The timeout passes in
    real time; under a virtual clock, what took longer by that clock is reported when the block is left.

    Unlike in mode, it needs no event loop, what is logged after the timeout is written as well, and so is how long the
    block took.

    Args:
        logger: Where to write; anything with the methods of a logger, such as the ``log`` of a service.
        timeout: How long the block may take: seconds, a timedelta, or a string.
        loop: Accepted for programs written for mode, and ignored.

    Raises:
        TypeError: If the timeout is of another type.
        ValueError: If the timeout can't be read.
    """

    #: Its number, which is in each line that it writes.
    id: int

    #: Where to write.
    logger: Any

    #: How long the block may take, in seconds.
    timeout: float

    #: What was given; it has no meaning.
    loop: Any = None

    #: When it was activated, as text.
    started_at_date: str | None = None

    #: The task that activated it; None outside of tasks.
    enabled_by: anyio.TaskInfo | None = None

    #: What each message it writes has in its record as ``data``; recorders inside of its block have it, too.
    extra_context: dict[str, Any]

    def __init__(self, logger: Any, *, timeout: Seconds, loop: Any = None) -> None:
        self.logger = logger
        self.timeout = want_seconds(timeout)
        self.loop = loop
        self.extra_context = {}
        self.id = next(_numbers)
        self._ident = f"Flight Recorder-{self.id}"
        self._lock = threading.Lock()
        self._entries: deque[_Entry] = deque(maxlen=_KEPT)
        self._dropped = 0
        self._alarm: Alarm | None = None
        self._timed_out = False
        # The recorders of the blocks that its own is in, the innermost first.
        self._around: tuple[flight_recorder, ...] = ()
        self._thread = 0
        self._began = 0.0
        self._began_in_loop: float | None = None

    def __repr__(self) -> str:
        state = "active" if self.is_active else "not active"
        return f"<{self._ident}: {state}, {len(self._entries)} messages>"

    @property
    def is_active(self) -> bool:
        """Whether it waits for the timeout, or is in a block that has gone on after that."""
        return self._alarm is not None

    # -- Its life

    def __enter__(self) -> Self:
        self.activate()
        _innermost.set(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if _innermost.get() is self:
            _innermost.set(next(iter(self._around), None))
        self.cancel()

    async def __aenter__(self) -> Self:
        await anyio.lowlevel.checkpoint()
        return self.__enter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(exc_type, exc, traceback)
        await anyio.lowlevel.checkpoint()  # noqa: ASYNC102 - nothing is left to do

    def activate(self) -> None:
        """Begin to wait for the timeout, as ``with`` does; but `on_timeout` knows nothing of it.

        Raises:
            LifecycleError: If it waits already.
        """
        if self._alarm is not None:
            raise LifecycleError(
                f"{self._ident} is active already, and records one block at a time",
                "Make one for each block: with flight_recorder(logger, timeout=...)",
            )
        self._forget()
        self._around = tuple(one for one in _nested() if one is not self and one.is_active)
        self.enabled_by = _current_task()
        self.started_at_date = time.asctime()
        self._thread = threading.get_ident()
        self._began, self._began_in_loop = time.monotonic(), _loop_time()
        self._timed_out = False
        self._alarm = alarms.call_later(self.timeout, self._ring)

    def cancel(self) -> None:
        """Wait for the timeout no longer, and forget what was logged, as the end of the block does.

        If the timeout has passed, how long it took is written. Calling it again does nothing.
        """
        alarm = self._alarm
        if alarm is None:
            return
        alarm.cancel()
        took = self._took_too_long_in_loop()
        with self._lock:
            self._alarm = None
            if took is not None and not self._timed_out:
                self._timed_out = True
                write_soon(partial(self._report, self._take(), None))
            if self._timed_out:
                seconds = time.monotonic() - self._began if took is None else took
                write_soon(partial(self._write_end, seconds))
        self._forget()
        self.enabled_by = None

    def _forget(self) -> None:
        with self._lock:
            self._entries.clear()
            self._dropped = 0

    def _took_too_long_in_loop(self) -> float | None:
        """Return the seconds that it took by a virtual clock, if those were too many and the real ones were not."""
        now = _loop_time()
        if now is None or self._began_in_loop is None:
            return None
        took = now - self._began_in_loop
        return took if took >= self.timeout > time.monotonic() - self._began else None

    # -- Messages

    def log(self, severity: int, message: str, *args: Any, **kwargs: Any) -> None:
        """Keep a message; after the timeout, write it. Where it is not active, it is dropped.

        Args:
            severity: The number of the level.
            message: The message, a %-format for `args` if there are any.
            *args: What to put into the message.
            **kwargs: Keywords of `logging.Logger.log`.
        """
        if self._alarm is None:
            return
        text = _put_together(message, args)
        if kwargs.pop("stack_info", False):
            text += f"\nStack (most recent call last):\n{_stack_here()}"
        entry = _Entry(severity, text, time.time(), _keywords(kwargs))
        with self._lock:
            if self._timed_out:
                write_soon(partial(self._write, entry, self._ident))
                return
            if len(self._entries) == _KEPT:
                self._dropped += 1
            self._entries.append(entry)

    def blush(self) -> None:
        """Write now what is written when the timeout passes; it goes on waiting for that."""
        with self._lock:
            entries = self._take()
        self._report(entries, self._where())

    def flush_logs(self, ident: str | None = None) -> None:
        """Write the messages that are kept, and keep them no longer.

        Args:
            ident: What each line begins with, in brackets; by default the name of the recorder.
        """
        with self._lock:
            entries = self._take()
        for entry in entries:
            self._write(entry, ident or self._ident)

    def _take(self) -> list[_Entry]:
        entries = list(self._entries)
        self._entries.clear()
        if self._dropped:
            text = f"({self._dropped} messages before this one are lost)"
            entries.insert(0, _Entry(logging.WARNING, text, entries[0].at, {}))
            self._dropped = 0
        return entries

    # -- The report

    def _ring(self) -> None:
        """The timeout has passed; called by the watchdog."""
        where = self._where()
        with self._lock:
            if self._alarm is not None:  # pragma: no branch - it has been cancelled just now
                self._timed_out = True
                write_soon(partial(self._report, self._take(), where))

    def _where(self) -> tuple[str, traceback.StackSummary]:
        task = self.enabled_by
        if task is not None and (frames := task_frames(task.coro, self._thread)):
            return f"task {task.name}", snapshot(frames)
        name = next((t.name for t in threading.enumerate() if t.ident == self._thread), "?")
        return f"thread {name}", snapshot(thread_frames(self._thread))

    def _report(
        self, entries: list[_Entry], where: tuple[str, traceback.StackSummary] | None
    ) -> None:
        tell = partial(self._tell, {})
        tell(logging.WARNING, "Warning: Task timed out!")
        tell(logging.WARNING, "Please make sure it is hanging before restarting.")
        started = f"(started at {self.started_at_date})"
        tell(logging.INFO, f"[{self._ident}] {started} Replaying logs...")
        for entry in entries:
            self._write(entry, self._ident)
        tell(logging.INFO, f"[{self._ident}] -End of log-")
        if where is not None:
            name, stack = where
            tell(logging.WARNING, f"[{self._ident}] Where {name} is:\n{as_text(stack)}")

    def _write(self, entry: _Entry, ident: str) -> None:
        date = time.asctime(time.localtime(entry.at))
        self._tell(entry.keywords, entry.severity, f"[{ident}] ({date}) {entry.text}")

    def _write_end(self, seconds: float) -> None:
        self._tell({}, logging.WARNING, f"[{self._ident}] Ended after {Took(seconds)}")

    def _tell(self, keywords: dict[str, Any], severity: int, text: str) -> None:
        try:
            self.logger.log(severity, "%s", text, **self._in_context(keywords))
        except Exception as exc:  # noqa: BLE001 - a mistake in one message must not cost those after it
            self.logger.log(
                logging.WARNING, "%s", f"{text} (can't be logged as it was: {shown(exc)})"
            )

    def _in_context(self, keywords: dict[str, Any]) -> dict[str, Any]:
        """Return the keywords of a log call, with what all records of this recorder have in them."""
        context = self._context()
        if not context:
            return keywords
        extra = dict(keywords.get("extra") or {})
        data: Any = extra.get("data") or {}
        extra["data"] = {**context, **(data if isinstance(data, Mapping) else {"data": data})}
        return {**keywords, "extra": extra}

    def _context(self) -> dict[str, Any]:
        inward = (*reversed(self._around), self)
        return {key: value for one in inward for key, value in one.extra_context.items()}


class _OnTimeout(_Wrapping):
    """Logs to the current flight recorder: that of the innermost block that the caller is in.

    It has all the methods of a logger. Where there is no recorder, what is logged is dropped.
    """

    def log(self, severity: int, message: str, *args: Any, **kwargs: Any) -> None:
        """Log a message to the current flight recorder; see `flight_recorder.log`."""
        recorder = next((one for one in _nested() if one.is_active), None)
        if recorder is not None:
            recorder.log(severity, message, *args, **kwargs)

    def __repr__(self) -> str:
        return "on_timeout"


#: Logs to the current flight recorder: that of the innermost block that the caller is in, in whatever module it stands.
on_timeout: _OnTimeout = _OnTimeout()


class Logwrapped(Generic[T]):
    """An object whose calls are logged before they are made, with their arguments.

    Everything else goes to the object as it is; its special methods, but for a call, are missing.

    Args:
        obj: The object.
        logger: Where to log: a flight recorder, or a logger; by default the logger "structmode.utils.logging".
        severity: Number or name of the level; WARNING by default.
        ident: What the object is called in the log; its class, or the name of a function, by default.

    Raises:
        ValueError: If no level has that name.
    """

    #: The object.
    obj: T

    #: Where its calls are logged.
    logger: Any

    #: The number of the level.
    severity: int

    #: What the object is called in the log.
    ident: str

    def __init__(
        self, obj: T, logger: Any = None, severity: Severity | None = None, ident: str = ""
    ) -> None:
        vars(self).update(
            obj=obj,
            logger=logging.getLogger("structmode.utils.logging") if logger is None else logger,
            severity=logging.WARNING if severity is None else level_number(severity),
            ident=ident or _name_of(obj),
        )

    def __getattr__(self, name: str) -> Any:
        if "obj" not in vars(self):  # it is being copied or unpickled
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r} yet")
        value = getattr(self.obj, name)
        if not callable(value):
            return value
        return Logwrapped(value, self.logger, self.severity, f"{self.ident}.{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.obj, name, value)

    # Else it would be the object that says how it is copied.
    def __deepcopy__(self, memo: dict[int, Any]) -> "Logwrapped[T]":
        """Return a wrapped copy of the object, whose calls are logged to the same logger."""
        return type(self)(copy.deepcopy(self.obj, memo), self.logger, self.severity, self.ident)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        named = (f"{name}={shown(value)}" for name, value in kwargs.items())
        arguments = ", ".join([*map(shown, args), *named])
        self.logger.log(self.severity, "%s", f"{self.ident}({arguments})")
        function: Any = self.obj
        return function(*args, **kwargs)

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *dir(self.obj)})

    def __repr__(self) -> str:
        return f"<Logwrapped {self.obj!r}>"


def _nested() -> tuple[flight_recorder, ...]:
    """Return the recorders of the blocks that the caller is in, or was begun in, the innermost first."""
    innermost = _innermost.get()
    return () if innermost is None else (innermost, *innermost._around)


def _current_task() -> anyio.TaskInfo | None:
    with suppress(RuntimeError):  # there is no event loop, or it is not running a task
        return anyio.get_current_task()
    return None


def _loop_time() -> float | None:
    with suppress(RuntimeError):
        return anyio.current_time()
    return None


def _put_together(message: str, args: tuple[Any, ...]) -> str:
    """Return the text of a message; a mistake in it must not harm the program, just as in `logging`."""
    text = shown(message, str)
    if not args:
        return text
    try:
        values: Any = args
        if len(args) == 1 and isinstance(args[0], Mapping) and args[0]:
            values = args[0]  # pyright: ignore[reportUnknownVariableType]
        return f"{text % values}"
    except Exception as exc:  # noqa: BLE001 - whatever an argument may do
        return f"{text} (its arguments can't be put in: {shown(exc)})"


def _keywords(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the keywords of a log call as they are to be used later, in another thread."""
    kwargs.pop("stacklevel", None)
    exc_info = kwargs.get("exc_info")
    if exc_info and not isinstance(exc_info, tuple | BaseException):
        kwargs["exc_info"] = sys.exc_info()
    return kwargs


def _stack_here() -> str:
    return as_text(snapshot(thread_frames(threading.get_ident())))


def _name_of(thing: object) -> str:
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None)
    return name if isinstance(name, str) else type(thing).__name__
