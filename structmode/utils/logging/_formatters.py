"""Formatters: how log records look, and who may change how an argument looks in them."""

from __future__ import annotations

import copy
import logging
import os
import sys
from collections.abc import Callable, Mapping
from typing import IO, Any, TypeAlias, TypeVar, cast

import colorlog

from structmode.utils.text import isatty

__all__ = (
    "DefaultFormatter",
    "ExtensionFormatter",
    "FormatterHandler",
    "FormatterHandler2",
    "formatter",
    "formatter2",
)

#: Takes an argument of a log message; returns what to show instead, or `None` to leave it.
FormatterHandler: TypeAlias = Callable[[Any], Any]

#: Takes an argument of a log message and the record; returns what to show instead, or `None` to
#: leave it.
FormatterHandler2: TypeAlias = Callable[[Any, logging.LogRecord], Any]

_HandlerT = TypeVar("_HandlerT", bound=FormatterHandler)
_Handler2T = TypeVar("_Handler2T", bound=FormatterHandler2)

DEFAULT_FORMAT = "[%(asctime)s] [%(process)s] [%(levelname)s] %(message)s%(extra)s"
# The message itself keeps the terminal's colour, so that it can be read on any background.
COLOR_FORMAT = (
    "%(log_color)s[%(asctime)s] [%(process)s] [%(levelname)s]%(reset)s %(message)s%(extra)s"
)
LOG_COLORS = {
    "DEBUG": "blue",
    "INFO": "green",
    "WARNING": "yellow",
    "ERROR": "red",
    "CRITICAL": "bold_red",
}

_registered: list[FormatterHandler2] = []


def formatter(fun: _HandlerT) -> _HandlerT:
    """Register a function that changes how arguments look in log messages.

    To be used as a decorator. The function is called for every argument of every message that
    `DefaultFormatter` or `ExtensionFormatter` shows, in the order of registering. What it returns is what the next one
    gets, unless that is `None`.

    Args:
        fun: Takes the argument.

    Returns:
        The same function.
    """

    def without_record(arg: Any, _record: logging.LogRecord) -> Any:
        return fun(arg)

    _registered.append(without_record)
    return fun


def formatter2(fun: _Handler2T) -> _Handler2T:
    """Register a function that changes how arguments look, and that sees the log record too.

    Args:
        fun: Takes the argument and the record, and must not change the record. Otherwise as in
            `formatter`.

    Returns:
        The same function.
    """
    _registered.append(fun)
    return fun


class _ArgumentFormatting(logging.Formatter):
    """What the formatters share: registered functions for arguments, and `%(extra)s`."""

    def format(self, record: logging.LogRecord) -> str:
        """Make the text of a record, in which `%(extra)s` is the record's `data` if it has some.

        Args:
            record: The record; it is not changed, as other handlers will see it.

        Returns:
            The text.
        """
        # On a copy the text of the traceback, which may be coloured, isn't cached for other
        # formatters either.
        record = copy.copy(record)
        if record.args:
            record.args = self._formatted_args(record)
        if not hasattr(record, "extra"):
            record.extra = _shown_data(getattr(record, "data", None))
        return super().format(record)

    def format_arg(self, arg: Any, record: logging.LogRecord) -> Any:
        """Let the registered functions change one argument of a message.

        Args:
            arg: The argument.
            record: The record in which it is.

        Returns:
            What to show instead, which may be the argument itself.
        """
        for fun in _registered:
            shown = fun(arg, record)
            if shown is not None:
                arg = shown
        return arg

    def _formatted_args(
        self, record: logging.LogRecord
    ) -> tuple[object, ...] | Mapping[str, object]:
        args = record.args
        if isinstance(args, tuple):
            return tuple(self.format_arg(arg, record) for arg in args)
        named = cast("Mapping[str, object]", args)
        # `logging` unpacks a mapping that is the only argument, be it meant for %(name)s or for a
        # single %s.
        if "%(" not in str(record.msg):
            return (self.format_arg(named, record),)
        return {name: self.format_arg(arg, record) for name, arg in named.items()}


class DefaultFormatter(_ArgumentFormatting):
    """Plain formatter, as used for log files: `[2018-03-27 15:47:12,159] [303] [INFO] message`.

    Shows arguments as functions registered with `formatter` and `formatter2` want. In its formats
    `%(extra)s` stands for what was logged with `extra={"data": {...}}`: a space and `key=value`
    for each item, or nothing.

    Args:
        fmt: The format; the default is as shown above, with `%(extra)s` at the end.
        *args: As in `logging.Formatter`.
        **kwargs: As in `logging.Formatter`.
    """

    def __init__(self, fmt: str | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(DEFAULT_FORMAT if fmt is None else fmt, *args, **kwargs)


class ExtensionFormatter(_ArgumentFormatting, colorlog.ColoredFormatter):
    """Formatter for streams, in colours if the stream is a terminal.

    Otherwise as `DefaultFormatter`. There are no colours if the environment variable NO_COLOR is
    set to something; if not, and FORCE_COLOR is set to something, there are colours on every
    stream.

    Args:
        stream: Where the text will go; `sys.stderr` by default.
        **kwargs: As in `colorlog.ColoredFormatter`: ``fmt``, ``log_colors``, ``no_color``, ``force_color``
            and so on.
    """

    def __init__(self, stream: IO[str] | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("fmt", COLOR_FORMAT)
        kwargs.setdefault("log_colors", LOG_COLORS)
        target = sys.stderr if stream is None else stream
        # colorlog leaves the kind of stream open
        super().__init__(stream=target, **kwargs)  # pyright: ignore[reportUnknownMemberType]
        # Asked once: neither the stream nor the wish changes, and each record would ask the
        # system again.
        self._in_color = self._wants_color(target)

    def _colorize(self) -> bool:
        return self._in_color

    def _wants_color(self, stream: IO[str]) -> bool:
        if self.force_color:
            return True
        if self.no_color or os.environ.get("NO_COLOR"):
            return False
        return bool(os.environ.get("FORCE_COLOR")) or isatty(stream)


def _shown_data(data: object) -> str:
    if data is None:
        return ""
    if not isinstance(data, Mapping):
        return f" data={data!r}"
    items = cast("Mapping[object, object]", data).items()
    return "".join(f" {key}={value!r}" for key, value in items)
