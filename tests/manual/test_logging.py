"""The chapter `mode.utils.logging` of mode's manual: loggers for classes, formats, and what is printed."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest

from structmode import Service
from structmode.utils.logging import (
    CompositeLogger,
    DefaultFormatter,
    LogSeverityMixin,
    get_logger,
    redirect_stdouts,
)


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    """Have everything logged."""
    caplog.set_level(logging.DEBUG, "structmode.manual")
    caplog.set_level(logging.DEBUG, __name__)


class Reporter(LogSeverityMixin):
    """Has the methods of a logger, because it has the one that they call."""

    logger = get_logger("structmode.manual.reporter")

    def log(self, severity: int, message: str, *args: Any, **kwargs: Any) -> None:
        self.logger.log(severity, message, *args, **kwargs)


def test_a_class_with_log_methods(caplog: pytest.LogCaptureFixture) -> None:
    """A class that has the mixin and a method `log` has one method for each level."""
    reporter = Reporter()
    reporter.debug("a %s", 1)
    reporter.info("b")
    reporter.warn("c")
    reporter.warning("d")
    reporter.error("e")
    reporter.crit("f")
    reporter.critical("g")
    reporter.exception("h")
    reporter.dev("i")
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert told[:8] == [
        ("DEBUG", "a 1"),
        ("INFO", "b"),
        ("WARNING", "c"),
        ("WARNING", "d"),
        ("ERROR", "e"),
        ("CRITICAL", "f"),
        ("CRITICAL", "g"),
        ("ERROR", "h"),
    ]


class Part:
    """Something whose messages say what it is."""

    logger = get_logger("structmode.manual.part")

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.log = CompositeLogger(logger=self.logger, formatter=self._format_log)

    def _format_log(self, severity: int, message: str, *args: Any, **kwargs: Any) -> str:
        return f"[^{'-' * (self.depth - 1)}{type(self).__name__}]: {message}"


def test_a_class_with_a_log(caplog: pytest.LogCaptureFixture) -> None:
    """A composite logger reformats each message in the way that its owner says."""
    Part(3).log.info("something happened to %s", "it")
    assert caplog.messages == ["[^--Part]: something happened to it"]


async def test_the_log_of_a_service_for_others(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever has a service may log with it, and the message says which one it is."""
    service = Service()
    service.log.warning("something happened")
    assert caplog.messages == ["[^Service]: something happened"]


def test_what_is_printed(caplog: pytest.LogCaptureFixture) -> None:
    """What is printed in the block is logged; afterwards it is printed again."""
    logger = get_logger("structmode.manual.printed")
    before = sys.stdout, sys.stderr
    with redirect_stdouts(logger, severity="INFO"):
        print("to stdout")  # noqa: T201 - that is what is tested
        print("to stderr", file=sys.stderr)  # noqa: T201
    assert (sys.stdout, sys.stderr) == before
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "to stdout"),
        ("INFO", "to stderr"),
    ]


def test_extra_data(caplog: pytest.LogCaptureFixture) -> None:
    """What a message is given as extra data is shown where the format says so."""
    get_logger("structmode.manual").error("lost", extra={"data": {"database": "one"}})
    [record] = caplog.records
    shown = DefaultFormatter("%(message)s%(extra)s").format(record)
    assert shown.startswith("lost")
    assert "database=" in shown
    assert "one" in shown
