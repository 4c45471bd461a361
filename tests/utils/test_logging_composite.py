"""Log methods of objects: what is logged, at which level, and as whose line."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

import pytest

from structmode.utils.logging import CompositeLogger, LogSeverityMixin

logger = logging.getLogger("tests.composite")

METHODS = {
    "dev": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "exception": logging.ERROR,
    "crit": logging.CRITICAL,
    "critical": logging.CRITICAL,
}


class Forwarding(LogSeverityMixin):
    """Hands everything on to a logger, as the docstring of the mixin tells users to."""

    def log(self, severity: int, message: str, *args: Any, **kwargs: Any) -> None:
        logger.log(severity, message, *args, **kwargs)


def line_here() -> int:
    """The line from which this function is called."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


@pytest.fixture(autouse=True)
def every_level(caplog: pytest.LogCaptureFixture) -> None:
    """All levels of the test's logger are on."""
    caplog.set_level(logging.DEBUG, logger.name)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("make", [Forwarding, lambda: CompositeLogger(logger)])
def test_each_method_logs_at_its_level_as_the_line_of_its_caller(
    name: str, make: Callable[[], LogSeverityMixin], caplog: pytest.LogCaptureFixture
) -> None:
    """A record has the method's level, the finished message, and the caller's file and line."""
    method = getattr(make(), name)
    line = line_here() + 1
    method("%s and %d", "one", 2)
    [record] = caplog.records
    assert record.levelno == METHODS[name]
    assert record.getMessage() == "one and 2"
    assert (record.pathname, record.lineno) == (__file__, line)


def test_log_is_the_line_of_its_caller_too(caplog: pytest.LogCaptureFixture) -> None:
    """`CompositeLogger.log` can be called directly, with the number or the name of a level."""
    composite = CompositeLogger(logger)
    line = line_here() + 1
    composite.log(logging.INFO, "by number")
    composite.log("warn", "by name")
    assert [(r.levelname, r.message, r.lineno) for r in caplog.records] == [
        ("INFO", "by number", line),
        ("WARNING", "by name", line + 1),
    ]
    with pytest.raises(ValueError, match="'loud'"):
        composite.log("loud", "x")


@pytest.mark.parametrize("make", [Forwarding, lambda: CompositeLogger(logger)])
def test_stacklevel_counts_from_the_caller(
    make: Callable[[], LogSeverityMixin], caplog: pytest.LogCaptureFixture
) -> None:
    """With `stacklevel=2` a record is of the line that called the caller, as in `logging`."""

    def report() -> None:
        make().info("x", stacklevel=2)

    line = line_here() + 1
    report()
    assert (caplog.records[0].pathname, caplog.records[0].lineno) == (__file__, line)


def test_stacklevel_counts_from_the_caller_of_log(caplog: pytest.LogCaptureFixture) -> None:
    """`CompositeLogger.log` counts a `stacklevel` from its own caller."""

    def report() -> None:
        CompositeLogger(logger).log(logging.INFO, "x", stacklevel=2)

    line = line_here() + 1
    report()
    assert caplog.records[0].lineno == line


def test_exception_adds_the_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """`exception` logs the exception that is being handled, unless it is told another or none."""
    composite = CompositeLogger(logger)
    other = KeyError("other")
    try:
        raise ValueError("this")
    except ValueError as error:
        composite.exception("a")
        composite.exception("b", exc_info=other)
        composite.exception("c", exc_info=False)
        expected = [error, other, None]
    shown = [record.exc_info[1] if record.exc_info else None for record in caplog.records]
    assert shown == expected


def test_keywords_reach_the_record(caplog: pytest.LogCaptureFixture) -> None:
    """`extra` is handed on to the logger."""
    CompositeLogger(logger).info("x", extra={"data": {"db": 1}})
    assert caplog.records[0].__dict__["data"] == {"db": 1}


def test_the_formatter_rewrites_messages(caplog: pytest.LogCaptureFixture) -> None:
    """The formatter sees severity, message, arguments and keywords, and its text is logged."""
    calls: list[Any] = []

    def rewrite(severity: int, message: str, *args: Any, **kwargs: Any) -> str:
        calls.append((severity, message, args, kwargs))
        return f"[me]: {message}"

    composite = CompositeLogger(logger, formatter=rewrite)
    composite.info("%s!", "hello", extra={"data": 1})
    assert caplog.records[0].getMessage() == "[me]: hello!"
    assert calls == [(logging.INFO, "%s!", ("hello",), {"extra": {"data": 1}})]
    assert composite.format(logging.INFO, "x") == "[me]: x"
    assert CompositeLogger(logger).format(logging.INFO, "x") == "x"


def test_the_formatter_may_be_a_method_of_a_subclass(caplog: pytest.LogCaptureFixture) -> None:
    """A subclass may define `formatter`, and one given to the constructor outweighs it."""

    class Mine(CompositeLogger):
        def formatter(self, severity: int, message: str, *args: Any, **kwargs: Any) -> str:
            return f"mine: {message}"

    def given_one(_severity: int, message: str) -> str:
        return f"given: {message}"

    Mine(logger).info("x")
    Mine(logger, given_one).info("x")
    assert caplog.messages == ["mine: x", "given: x"]


def test_nothing_is_formatted_while_the_level_is_off(caplog: pytest.LogCaptureFixture) -> None:
    """The formatter is not called for a message that the logger will not take."""
    calls: list[str] = []

    def note(_severity: int, message: str, *_args: Any, **_kwargs: Any) -> str:
        calls.append(message)
        return message

    caplog.set_level(logging.WARNING, logger.name)
    composite = CompositeLogger(logger, note)
    composite.info("off")
    composite.dev("off")
    composite.warning("on")
    assert calls == caplog.messages == ["on"]


def test_a_log_that_overrides_the_composite_one_is_used(caplog: pytest.LogCaptureFixture) -> None:
    """The methods go through `log`, so that a subclass may take part by defining it."""

    class Loud(CompositeLogger):
        def log(self, severity: int | str, message: str, *args: Any, **kwargs: Any) -> None:
            super().log(severity, message.upper(), *args, **kwargs)

    Loud(logger).info("quiet")
    assert caplog.messages == ["QUIET"]


def test_a_class_without_log_is_told_to_define_it() -> None:
    """Using the mixin without a `log` method says what is missing and in which class."""

    class Bare(LogSeverityMixin):
        pass

    with pytest.raises(NotImplementedError, match=r"Bare must define log\(self, severity"):
        Bare().info("x")
