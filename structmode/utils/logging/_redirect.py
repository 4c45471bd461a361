"""Streams that end in a logger: what is printed becomes log records.

Two things make this harder than it looks. Logging itself may write to the stream that was
redirected - a handler that was bound to it, or the report about a handler that failed - which
would log, and so write, for ever. So while a thread is logging for a stream here, what it writes
to any of them goes straight to a real stream. And `print` in several threads writes text and
newline separately, so unfinished lines are kept per thread. A thread that ends leaves its own behind, and its ident to a later
thread: that one logs it before it begins a line.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import logging
import sys
import threading
from collections.abc import Generator
from typing import TYPE_CHECKING, TextIO, cast

from structmode.utils._writing import write
from structmode.utils.logging._levels import Severity, level_number

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ("FileLogProxy", "redirect_logger", "redirect_stdouts")

#: Where redirected output goes by default.
redirect_logger: logging.Logger = logging.getLogger("structmode.redirect")

# The frames from `Logger.log` up to the one that called `write` or `flush` of a stream here.
_FRAMES_TO_CALLER = 4


class _Emitting(threading.local):
    """Whether the current thread is logging for one of the streams here."""

    now = False


_emitting = _Emitting()


class _ThisThread(threading.local):
    """The current thread; its ident may have been that of another one before."""

    def __init__(self) -> None:
        self.mark = object()


_this_thread = _ThisThread()


class _UnfinishedLine(io.StringIO):
    """What the current thread has written of a line that has no end yet."""

    def __init__(self) -> None:
        super().__init__()
        self._mark = _this_thread.mark

    @property
    def is_ours(self) -> bool:
        """Whether the current thread has written it."""
        return self._mark is _this_thread.mark


class FileLogProxy(io.TextIOBase):
    """A text stream, to be written only, that logs each line written to it.

    A line is logged when its newline comes, at `flush`, or when it has grown past `limit`. Spaces
    at its end are left away, and so are lines without anything else. May be used by several
    threads. An unfinished line is lost if the stream is dropped without `flush` or `close`.

    Differs from mode: a line that is written in parts is one record, and the record shows who
    wrote it.

    Args:
        logger: Where the lines go.
        severity: Number or name of their level; WARNING by default.
        fallback: The stream for what the handlers of the logger themselves write to this one; by
            default the original stderr of the process, `sys.__stderr__`.
        limit: How many characters of an unfinished line are kept.

    Raises:
        ValueError: If no level has that name.
    """

    #: The level of the records.
    severity: int = logging.WARNING

    def __init__(
        self,
        logger: logging.Logger,
        *,
        severity: Severity | None = None,
        fallback: TextIO | None = None,
        limit: int = 65_536,
    ) -> None:
        self.logger = logger
        if severity is not None:
            self.severity = level_number(severity)
        self._fallback = fallback
        self._limit = limit
        # Reentrant: a signal handler may print while the same thread is in here.
        self._lock = threading.RLock()
        self._unfinished: dict[int, _UnfinishedLine] = {}
        self._buffer = _ByteLogProxy(self)

    @property
    def buffer(self) -> io.BufferedIOBase:
        """A stream of bytes, which are decoded as UTF-8 and written to this one."""
        return self._buffer

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Always "utf-8"."""
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """What happens to bytes that are not UTF-8: "backslashreplace"."""
        return "backslashreplace"

    @property
    def newlines(self) -> None:  # type: ignore[override]
        """Always `None`, as nothing is translated."""
        return

    @property
    def line_buffering(self) -> bool:
        """Always true."""
        return True

    @property
    def mode(self) -> str:
        """Always "w"."""
        return "w"

    @property
    def name(self) -> str:
        """The name of the logger in angle brackets."""
        return f"<{self.logger.name}>"

    def writable(self) -> bool:
        """Tell whether the stream can be written to, which it can."""
        return True

    def fileno(self) -> int:
        """There is no file, so what writes to one by its number can't be given this stream.

        Raises:
            OSError: `io.UnsupportedOperation`, always.
        """
        raise io.UnsupportedOperation(
            f"what is printed goes to the logger {self.logger.name!r}, and there is no file of which this could be the "
            "number. Give sys.__stdout__ or sys.__stderr__ to what needs one, such as faulthandler or a subprocess, or "
            "do not redirect what is printed: Worker(..., redirect_stdouts=False)"
        )

    def write(self, s: str) -> int:
        """Write text; every line that is finished by it is logged.

        Args:
            s: The text.

        Returns:
            The length of the text.

        Raises:
            TypeError: If it is not a string.
            ValueError: If the stream was closed.
        """
        if not isinstance(s, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"write() takes a string, not {type(s).__name__}; bytes go to .buffer")
        self._accept(s)
        return len(s)

    def flush(self) -> None:
        """Log the unfinished line of the current thread, if there is one.

        Raises:
            ValueError: If the stream was closed.
        """
        self._check_open()
        if not _emitting.now:
            self._emit_unfinished([threading.get_ident()])
        elif (stream := self._real_stream()) is not None:
            stream.flush()

    def close(self) -> None:
        """Log the unfinished lines of all threads, and take no more. May be called again."""
        if not self.closed:
            self._drain()
        super().close()

    def __del__(self) -> None:
        # The base class would close the stream, and so log. But garbage is collected in the middle
        # of anything, perhaps of a handler that holds a lock which is not reentrant.
        pass

    def _drain(self) -> None:
        self._emit_unfinished(list(self._unfinished))

    def _accept(self, text: str) -> None:
        self._check_open()
        if not _emitting.now:
            self._emit(self._finished_lines(text))
        elif (stream := self._real_stream()) is not None:
            write(text, stream)

    def _finished_lines(self, text: str) -> list[str]:
        *lines, rest = text.split("\n")
        thread = threading.get_ident()
        with self._lock:
            before = self._take_left_behind(thread)
            if lines:
                lines[0] = self._take_unfinished(thread) + lines[0]
            if rest:
                unfinished = self._unfinished.setdefault(thread, _UnfinishedLine())
                unfinished.write(rest)
                if unfinished.tell() > self._limit:
                    lines.append(self._take_unfinished(thread))
        return before + lines

    def _take_left_behind(self, thread: int) -> list[str]:
        """Return the line of a thread that has ended and had the ident of this one, if there is such a line."""
        unfinished = self._unfinished.get(thread)
        if unfinished is None or unfinished.is_ours:
            return []
        return [self._take_unfinished(thread)]

    def _take_unfinished(self, thread: int) -> str:
        unfinished = self._unfinished.pop(thread, None)
        return "" if unfinished is None else unfinished.getvalue()

    def _emit_unfinished(self, threads: list[int]) -> None:
        with self._lock:
            lines = [self._take_unfinished(thread) for thread in threads]
        self._emit(lines)

    def _emit(self, lines: list[str]) -> None:
        # Not under the lock: handlers have locks of their own, and may be waiting for ours.
        # The flag may be set already: a handler may close another such stream.
        before, _emitting.now = _emitting.now, True
        try:
            for line in lines:
                shown = line.rstrip()
                if shown:
                    self.logger.log(self.severity, shown, stacklevel=_FRAMES_TO_CALLER)
        finally:
            _emitting.now = before

    def _real_stream(self) -> TextIO | None:
        return sys.__stderr__ if self._fallback is None else self._fallback

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file.")


class _ByteLogProxy(io.BufferedIOBase):
    """The bytes side of a `FileLogProxy`, for programs that write to `sys.stdout.buffer`."""

    def __init__(self, text: FileLogProxy) -> None:
        self._text = text
        self._decoder = codecs.getincrementaldecoder(text.encoding)(text.errors)

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        raw = bytes(data)
        self._text._accept(self._decoder.decode(raw))
        return len(raw)

    def fileno(self) -> int:
        return self._text.fileno()

    def flush(self) -> None:
        if not self._text.closed:
            self._text.flush()

    def __del__(self) -> None:
        pass  # for the same reason


@contextlib.contextmanager
def redirect_stdouts(
    logger: logging.Logger = redirect_logger,
    *,
    severity: Severity | None = None,
    stdout: bool = True,
    stderr: bool = True,
) -> Generator[FileLogProxy, None, None]:
    """Send what the program prints to a logger, for the length of a `with` block.

    Afterwards `sys.stdout` and `sys.stderr` are again what they were; one that somebody else
    replaced meanwhile is left alone. Such blocks in several threads may overlap as they like.
    Set logging up before: a handler for `sys.stderr` that is made in the block would be bound to
    the redirected stream, so that its lines are shown twice.

    Args:
        logger: Where the lines go.
        severity: Number or name of their level; WARNING by default.
        stdout: Whether to redirect `sys.stdout`.
        stderr: Whether to redirect `sys.stderr`.

    Yields:
        The stream that took their place.

    Raises:
        ValueError: If no level has that name.
    """
    old_stdout, old_stderr = sys.stdout, sys.stderr
    proxy = FileLogProxy(
        logger, severity=severity, fallback=old_stderr if stderr or not stdout else old_stdout
    )
    stream = cast("TextIO", proxy)
    names = [name for name, wanted in (("stdout", stdout), ("stderr", stderr)) if wanted]
    replacements = [_Replacement(name, stream) for name in names]
    try:
        yield proxy
    finally:
        for replacement in replacements:
            replacement.undo()
        # Not closed: someone may have kept it, and it is better that it still logs than that it
        # fails.
        proxy._drain()


class _Replacement:
    """A stream in the place of one of `sys`.

    Threads may redirect what is printed for a while each, and need not end in the reverse order. So who leaves takes out his
    own stream, wherever it is: in `sys`, or among what another is going to restore.

    Args:
        name: Of the one in `sys`.
        stream: What takes its place.
    """

    def __init__(self, name: str, stream: TextIO) -> None:
        self._name = name
        self._stream = stream
        with _replacing:
            self._before = getattr(sys, name)
            setattr(sys, name, stream)
            _replacements.append(self)

    def undo(self) -> None:
        with _replacing:
            _replacements.remove(self)
            for other in _replacements:
                if other._before is self._stream and other._name == self._name:
                    other._before = self._before
            if getattr(sys, self._name) is self._stream:
                setattr(sys, self._name, self._before)


_replacements: list[_Replacement] = []
_replacing = threading.Lock()
