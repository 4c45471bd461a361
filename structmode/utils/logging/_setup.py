"""Setting the process's logging up, and putting it back as it was."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import IO, Any, TypeAlias, cast

from structmode.utils._watchdog import wait_for_reports
from structmode.utils._writing import write
from structmode.utils.logging._config import check, completed
from structmode.utils.logging._formatters import DefaultFormatter, ExtensionFormatter
from structmode.utils.logging._levels import Severity, level_number

__all__ = ("logging_setup", "setup_logging")

LogFile: TypeAlias = str | os.PathLike[str] | IO[str]


def setup_logging(
    *,
    loglevel: Severity | None = None,
    logfile: LogFile | None = None,
    loghandlers: Iterable[logging.Handler] | None = None,
    logging_config: Mapping[str, Any] | None = None,
) -> int:
    """Set the root logger up: its level, and one handler in place of those it has.

    Called again, it replaces what it did before and closes the log file that it opened. Reports that
    another thread is writing (of flight recorders, and of what blocks the loop) are waited for first,
    for a second at the most.
    `logging_setup` does the same for the length of a `with` block. If something is wrong, logging
    is left as it was.

    Args:
        loglevel: Number or name of the level; WARNING by default.
        logfile: Path of a file to append to in UTF-8, or an open text stream; `sys.stderr` by
            default. Streams get colours if they are terminals. What either has no code for, such as a
            lone surrogate, is written as an escape.
        loghandlers: Handlers to use besides.
        logging_config: A configuration for `logging.config.dictConfig`. What it leaves out is
            taken from the default configuration: version 1, existing loggers not disabled,
            formatters named "default" and "colored", and a handler named "default" at the root,
            made from `logfile`, or from a "stream" in it. A level for the root in it outweighs `loglevel`. A part with a
            "class" or "()" replaces the default part of that name instead of completing it. One that
            could be used alone - it has a "version", and loggers with "handlers" - leaves nothing out: the
            root has no handler then, unless "root" names some, or "merge" is true.

    Returns:
        The level that the root logger has then.

    Raises:
        OSError: If the log file can't be opened.
        TypeError: If `logfile` is neither a path nor a stream, `logging_config` no mapping, or one of
            `loghandlers` no handler.
        ValueError: If no level has that name, or the configuration is invalid or incremental.
    """
    wait_for_reports()
    replaced = logging.root.handlers[:]
    installed = _install(loglevel, logfile, loghandlers, logging_config)
    installed.stay()
    for handler in replaced:
        if isinstance(handler, _LogFileHandler):
            _close(handler)
    return installed.level


@contextlib.contextmanager
def logging_setup(
    *,
    loglevel: Severity | None = None,
    logfile: LogFile | None = None,
    loghandlers: Iterable[logging.Handler] | None = None,
    logging_config: Mapping[str, Any] | None = None,
) -> Generator[int, None, None]:
    """Set the root logger up as `setup_logging` does, for the length of a `with` block.

    At its end, reports that another thread is writing are waited for, for a second at the most.
    Afterwards the loggers have the handlers and levels they had before, except that handlers which
    others added meanwhile stay; and the handlers made here are closed, those in `loghandlers` are
    not. Such blocks in several threads may overlap as they like: the newest one is in force, and
    after the last one all is as before the first. With `logging_config`, the standard library
    closes the handlers of the process first. Its own kinds open again when they are used.

    Args:
        loglevel: As in `setup_logging`.
        logfile: As in `setup_logging`.
        loghandlers: As in `setup_logging`.
        logging_config: As in `setup_logging`.

    Yields:
        The level that the root logger has in the block.

    Raises:
        OSError: As `setup_logging`.
        TypeError: As `setup_logging`.
        ValueError: As `setup_logging`.
    """
    installed = _install(loglevel, logfile, loghandlers, logging_config)
    try:
        yield installed.level
    finally:
        try:
            wait_for_reports()
        finally:
            installed.undo()


class _LogFileHandler(logging.FileHandler):
    """A log file that was opened here, and so is closed here."""


class _LogStreamHandler(logging.StreamHandler[IO[str]]):
    """A log that loses no line for a character which its stream has no code for."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            write(self.format(record) + self.terminator, self.stream)
            self.flush()
        except RecursionError:  # as in the base class: to tell of it would take more of the stack
            raise
        except Exception:  # noqa: BLE001 - that is for this method to say
            self.handleError(record)


@dataclass(frozen=True)
class _LoggerState:
    """What a configuration may change of one logger."""

    logger: logging.Logger
    handlers: tuple[logging.Handler, ...]
    level: int
    propagate: bool
    disabled: bool

    @classmethod
    def of(cls, logger: logging.Logger) -> _LoggerState:
        return cls(logger, tuple(logger.handlers), logger.level, logger.propagate, logger.disabled)

    def put_in_force(self) -> None:
        _replace_handlers(self.logger, self.handlers)
        self.logger.setLevel(self.level)
        self.logger.propagate = self.propagate
        self.logger.disabled = self.disabled


@dataclass
class _Change:
    """What a set-up has made of one logger.

    Attributes:
        before: What it was; once a set-up from before this one has been undone, what it would have been without that.
        after: What it was then.
    """

    before: _LoggerState
    after: _LoggerState

    def undone_in(self, later: _LoggerState) -> _LoggerState:
        """Return a later state of the logger as it is without this change: with the handlers that came after it."""
        known = self.before.handlers + self.after.handlers
        added_since = tuple(handler for handler in later.handlers if handler not in known)
        return replace(self.before, handlers=self.before.handlers + added_since)


@dataclass(eq=False)
class _Installed:
    """A set-up that was made, and how to undo it.

    Threads may set logging up for a while each, and need not end in the reverse order. So what one has changed is taken out of
    what the next one after it is going to restore, where there is one.
    """

    before: list[_LoggerState]
    changes: dict[logging.Logger, _Change] = field(default_factory=dict[logging.Logger, _Change])
    owned: list[logging.Handler] = field(default_factory=list[logging.Handler])

    @property
    def level(self) -> int:
        return logging.root.level

    def complete(self) -> None:
        for before in self.before:
            after = _LoggerState.of(before.logger)
            if before.logger is logging.root or before != after:
                self.changes[before.logger] = _Change(before, after)
        _in_force.append(self)

    def stay(self) -> None:
        """Forget how to undo it."""
        with _changing:
            _in_force.remove(self)

    def undo(self) -> None:
        with _changing:
            later = _in_force[_in_force.index(self) + 1 :]
            _in_force.remove(self)
            for logger, change in self.changes.items():
                above = next((one.changes[logger] for one in later if logger in one.changes), None)
                if above is None:
                    change.undone_in(_LoggerState.of(logger)).put_in_force()
                else:
                    above.before = change.undone_in(above.before)
        with contextlib.ExitStack() as closing:  # each of them, whatever another one raises
            for handler in reversed(self.owned):
                closing.callback(_close, handler)


# The set-ups that are to be undone, in the order in which they were made. A handler that is made may set logging up itself.
_in_force: list[_Installed] = []
_changing = threading.RLock()


def _close(handler: logging.Handler) -> None:
    """Close a handler; what it can't write any more is lost, as the standard library has it at the end of the process.

    Its stream may be closed by now, which is the business of the stream's owner, or the disk be full.
    """
    with contextlib.suppress(OSError, ValueError):
        handler.flush()
    with contextlib.suppress(OSError, ValueError):
        handler.close()


def _install(
    loglevel: Severity | None,
    logfile: LogFile | None,
    loghandlers: Iterable[logging.Handler] | None,
    logging_config: Mapping[str, Any] | None,
) -> _Installed:
    level = logging.WARNING if loglevel is None else level_number(loglevel)
    further = tuple(_want_handlers(loghandlers or ()))
    if logging_config is not None:
        check(logging_config)
    with _changing:
        installed = _Installed(
            [_LoggerState.of(logger) for logger in _loggers_to_change(logging_config)]
        )
        try:
            if logging_config is None:
                _use_default(installed, level, logfile)
            else:
                _use_config(installed, level, logfile, logging_config)
            for handler in further:
                logging.root.addHandler(handler)
        except BaseException:
            installed.complete()
            installed.undo()
            raise
        installed.complete()
        return installed


def _want_handlers(handlers: Iterable[logging.Handler]) -> Iterator[logging.Handler]:
    for handler in handlers:
        if not isinstance(handler, logging.Handler):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"loghandlers takes instances of logging.Handler, not {handler!r}")
        yield handler


def _use_default(installed: _Installed, level: int, logfile: LogFile | None) -> None:
    handler = _default_handler(logfile)
    installed.owned.append(handler)
    _replace_handlers(logging.root, [handler])
    logging.root.setLevel(level)


def _use_config(
    installed: _Installed, level: int, logfile: LogFile | None, config: Mapping[str, Any]
) -> None:
    # Takes longer to import than all the rest of this package, and few programs come here.
    import logging.config

    made: list[logging.Handler] = []

    def default_handler(stream: IO[str] | None = None, **settings: object) -> logging.Handler:
        _check_no_settings(settings)
        made.append(_default_handler(logfile if stream is None else stream))
        return made[0]

    configurator = logging.config.dictConfigClass(completed(config, level, default_handler))
    try:
        configurator.configure()
    finally:
        # The configurator leaves each handler in the place of its description.
        described = cast("dict[str, object]", configurator.config.get("handlers", {}))
        handlers = [h for h in described.values() if isinstance(h, logging.Handler)]
        installed.owned.extend({id(h): h for h in [*handlers, *made]}.values())


def _check_no_settings(settings: Mapping[str, object]) -> None:
    if settings:
        raise TypeError(
            'the handler "default" of a logging_config takes "stream", "level", "formatter" and "filters", not '
            f'{", ".join(settings)}; with a "class" in it, it is a handler of that class, and takes what that does'
        )


def _default_handler(logfile: LogFile | None) -> logging.Handler:
    if isinstance(logfile, str | os.PathLike):
        handler: logging.Handler = _LogFileHandler(
            logfile, encoding="utf-8", errors="backslashreplace"
        )
        handler.setFormatter(DefaultFormatter())
        return handler
    stream = cast("IO[str] | None", sys.stderr) if logfile is None else logfile
    if stream is None:  # a Windows program without a console
        return logging.NullHandler()
    if not hasattr(stream, "write"):
        raise TypeError(
            f"logfile must be a path or an open text stream, not {stream!r} "
            f"({type(stream).__name__})"
        )
    handler = _LogStreamHandler(stream)
    handler.setFormatter(ExtensionFormatter(stream=stream))
    return handler


def _replace_handlers(logger: logging.Logger, handlers: Iterable[logging.Handler]) -> None:
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
    for handler in handlers:
        logger.addHandler(handler)


def _loggers_to_change(config: Mapping[str, Any] | None) -> list[logging.Logger]:
    if config is None:
        return [logging.root]
    # A logger that the configuration will bring into being is made now, to know it without its
    # handlers.
    for name in config.get("loggers", ()):
        logging.getLogger(name)
    existing = list(logging.root.manager.loggerDict.values())
    return [logging.root, *(logger for logger in existing if isinstance(logger, logging.Logger))]
