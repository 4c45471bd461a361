"""Log methods for objects that put something of their own into each message.

A log record names the file and line from which it was made, and for a message that goes through
methods here it must be the line of the caller. The standard library's ``stacklevel`` says how many
frames lie between; each method here adds the frames that are its own.
"""

import logging
from collections.abc import Callable
from typing import Any, ClassVar

from structmode.utils.logging._levels import Severity, level_number

__all__ = ("CompositeLogger", "LogSeverityMixin")


class LogSeverityMixin:
    """The methods of a logger - `debug`, `info` and so on - for a class that defines `log`.

    `log` gets a severity, a message and its arguments, and the keywords of the call with a
    ``stacklevel`` in them. That is counted so that a `log` which hands all of them on to a logger
    makes records which show the caller:

        class Reporter(LogSeverityMixin):
            logger = get_logger(__name__)

            def log(self, severity: int, message: str, *args: Any, **kwargs: Any) -> None:
                self.logger.log(severity, f"report: {message}", *args, **kwargs)
    """

    # A method of this class and a `log` that doesn't count itself lie between the caller and the
    # logger.
    _frames_above_caller: ClassVar[int] = 2

    def log(self, severity: int, message: str, *args: Any, **kwargs: Any) -> None:
        """Log a message; to be defined by the class.

        Args:
            severity: The number of the level.
            message: The message, a %-format for `args` if there are any.
            *args: What to put into the message.
            **kwargs: Keywords of `logging.Logger.log`.

        Raises:
            NotImplementedError: If the class did not define it.
        """
        name = type(self).__name__
        raise NotImplementedError(
            f"{name} must define log(self, severity, message, *args, **kwargs)"
        )

    def dev(self, message: str, *args: Any, **kwargs: Any) -> None:
        """Log something for the developers of a program, at level DEBUG."""
        self.log(logging.DEBUG, message, *args, **self._above_caller(kwargs))

    def debug(self, message: str, *args: Any, **kwargs: Any) -> None:
        """Log at level DEBUG."""
        self.log(logging.DEBUG, message, *args, **self._above_caller(kwargs))

    def info(self, message: str, *args: Any, **kwargs: Any) -> None:
        """Log at level INFO."""
        self.log(logging.INFO, message, *args, **self._above_caller(kwargs))

    def warn(self, message: str, *args: Any, **kwargs: Any) -> None:
        """Log at level WARNING."""
        self.log(logging.WARNING, message, *args, **self._above_caller(kwargs))

    def warning(self, message: str, *args: Any, **kwargs: Any) -> None:
        """Log at level WARNING."""
        self.log(logging.WARNING, message, *args, **self._above_caller(kwargs))

    def error(self, message: str, *args: Any, **kwargs: Any) -> None:
        """Log at level ERROR."""
        self.log(logging.ERROR, message, *args, **self._above_caller(kwargs))

    def exception(self, message: str, *args: Any, **kwargs: Any) -> None:
        """Log at level ERROR, with the traceback of the exception that is being handled."""
        kwargs.setdefault("exc_info", True)
        self.log(logging.ERROR, message, *args, **self._above_caller(kwargs))

    def crit(self, message: str, *args: Any, **kwargs: Any) -> None:
        """Log at level CRITICAL."""
        self.log(logging.CRITICAL, message, *args, **self._above_caller(kwargs))

    def critical(self, message: str, *args: Any, **kwargs: Any) -> None:
        """Log at level CRITICAL."""
        self.log(logging.CRITICAL, message, *args, **self._above_caller(kwargs))

    def _above_caller(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + self._frames_above_caller
        return kwargs


class CompositeLogger(LogSeverityMixin):
    """A logger that rewrites each message before it is logged.

    To be used as it is, or as a base class.

    Differs from mode: `log` takes the name of a level too, and `dev` always logs (at level DEBUG),
    where mode asks an environment variable.

    Args:
        logger: Where the messages go.
        formatter: Called with the severity, the message, its arguments and keywords; returns the
            message to log. It is called only for messages that the logger will take. As the
            arguments are put in afterwards, a percent sign which it adds must be doubled if there
            are arguments.
    """

    # `log` counts itself, so that it can be called directly too.
    _frames_above_caller: ClassVar[int] = 1

    #: Where the messages go.
    logger: logging.Logger

    #: What rewrites the messages; may be a method of a subclass.
    formatter: Callable[..., str] | None = None

    def __init__(
        self, logger: logging.Logger, formatter: Callable[..., str] | None = None
    ) -> None:
        self.logger = logger
        if formatter is not None:
            self.formatter = formatter

    def log(self, severity: Severity, message: str, *args: Any, **kwargs: Any) -> None:
        """Log a message.

        Args:
            severity: The number or the name of the level.
            message: The message, a %-format for `args` if there are any.
            *args: What to put into the message.
            **kwargs: Keywords of `logging.Logger.log`: ``exc_info``, ``extra``, ``stack_info``,
                ``stacklevel``.

        Raises:
            ValueError: If no level has that name.
        """
        level = severity if isinstance(severity, int) else level_number(severity)
        if not self.logger.isEnabledFor(level):
            return
        stacklevel = kwargs.pop("stacklevel", 1) + 1
        text = self.format(level, message, *args, **kwargs)
        self.logger.log(level, text, *args, stacklevel=stacklevel, **kwargs)

    def format(self, severity: int, message: str, *args: Any, **kwargs: Any) -> str:
        """Rewrite a message with the formatter.

        Args:
            severity: The number of the level.
            message: The message.
            *args: The arguments of the message.
            **kwargs: The keywords of the log call.

        Returns:
            What the formatter made of the message, or the message if there is no formatter.
        """
        if self.formatter is None:
            return message
        return self.formatter(severity, message, *args, **kwargs)
