"""How records look: colours, extra data, and arguments that registered functions change."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from structmode.utils.logging import DefaultFormatter, ExtensionFormatter, formatter, formatter2


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Secret:
    """An argument that a registered function hides."""


class Where:
    """An argument for which a registered function shows the record's level."""


class Triangle:
    """An argument that a registered function draws."""


class Box:
    """An argument in whose place a registered function shows another."""

    content = Triangle()


class Table(dict[str, object]):
    """A mapping that a registered function draws."""


@formatter
def hide(arg: Any) -> str | None:
    """Show stars for a secret."""
    return "***" if isinstance(arg, Secret) else None


@formatter
def hide_again(arg: Any) -> str | None:
    """Never sees a secret, as the one before has hidden it."""
    return "too late" if isinstance(arg, Secret) else None


@formatter2
def show_level(arg: Any, record: logging.LogRecord) -> str | None:
    """Show the level of the record."""
    return record.levelname.lower() if isinstance(arg, Where) else None


@formatter
def open_box(arg: Any) -> Any:
    """Show what is in a box, whatever that is."""
    return arg.content if isinstance(arg, Box) else None


@formatter2
def draw_triangle(arg: Any, record: logging.LogRecord) -> str | None:
    """Draw a triangle."""
    return "/_\\" if isinstance(arg, Triangle) else None


@formatter2
def draw(arg: Any, record: logging.LogRecord) -> str | None:
    """Draw a table."""
    return f"<table of {len(arg)}>" if isinstance(arg, Table) else None


@pytest.fixture(autouse=True)
def no_wishes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment says nothing about colours."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)


def record(
    message: str, *args: object, level: int = logging.INFO, **extra: object
) -> logging.LogRecord:
    """Make a record as a logger does."""
    return logging.getLogger("tests").makeRecord(
        "tests", level, __file__, 1, message, args, None, extra=extra
    )


def plain(message: str, *args: object, **extra: Any) -> str:
    """Format a message with the plain formatter, without the header."""
    return DefaultFormatter("%(message)s%(extra)s").format(record(message, *args, **extra))


def test_the_default_format_has_time_process_and_level() -> None:
    """A line begins with the time, the process and the level in brackets."""
    line = DefaultFormatter().format(record("hello %s", "you"))
    assert re.fullmatch(
        r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\] \[\d+\] \[INFO\] hello you", line
    )


def test_extra_shows_the_data_of_the_record() -> None:
    """`extra={"data": ...}` is shown behind the message, and nothing if there is none."""
    assert plain("x") == "x"
    assert plain("x", data={"db": "one", "n": 2}) == "x db='one' n=2"
    assert plain("x", data=5) == "x data=5"
    assert plain("x", extra=" as it is") == "x as it is"


def test_registered_functions_change_arguments() -> None:
    """Each gets what those before it have made of an argument."""
    assert plain("%s and %s", Secret(), 1) == "*** and 1"
    assert plain("%s", Box()) == "/_\\"
    assert plain("at %s", Where(), level=logging.ERROR) == "at error"
    assert plain("%(who)s: %(n)d", {"who": Secret(), "n": 1}) == "***: 1"


def test_a_mapping_may_be_the_only_argument() -> None:
    """A mapping that is shown as a whole is one argument, though `logging` unpacks it."""
    assert plain("a %s", Table(x=1, y=2)) == "a <table of 2>"
    assert plain("a %r", {"x": 1}) == "a {'x': 1}"
    assert plain("a %s, %s", Table(x=1), Secret()) == "a <table of 1>, ***"


def test_format_arg_may_be_overridden() -> None:
    """A subclass may change arguments by a method of its own."""

    class Shouting(DefaultFormatter):
        def format_arg(self, arg: Any, record: logging.LogRecord) -> Any:
            return str(super().format_arg(arg, record)).upper()

    assert Shouting("%(message)s").format(record("%s %s", "a", Where())) == "A INFO"


def test_formatting_leaves_the_record_alone() -> None:
    """Another handler sees the record with its own arguments, and without a cached traceback."""
    secret = Secret()
    original = record("%s", secret)
    try:
        raise ValueError("x")
    except ValueError:
        original.exc_info = sys.exc_info()
    assert "ValueError" in ExtensionFormatter(Terminal()).format(original)
    assert original.args == (secret,)
    assert original.exc_text is None
    assert not hasattr(original, "extra")


def test_registering_returns_the_function() -> None:
    """The decorators hand the function back, so that it can be called by its name."""
    assert hide(Secret()) == "***"
    assert show_level(Where(), record("x")) == "info"


def shown(stream: io.StringIO | None, level: int = logging.INFO, **kwargs: Any) -> str:
    """Format a message for a stream."""
    return ExtensionFormatter(stream, **kwargs).format(record("hello %s", Secret(), level=level))


def test_a_terminal_gets_colours() -> None:
    """On a terminal the header is coloured by level and the message is not."""
    info, error = shown(Terminal()), shown(Terminal(), logging.ERROR)
    assert info.startswith("\x1b[32m[")
    assert error.startswith("\x1b[31m[")
    assert "\x1b[0m hello ***" in info


@pytest.mark.parametrize("stream", [io.StringIO(), object()])
def test_another_stream_gets_none(stream: Any) -> None:
    """A stream that is no terminal gets the plain line."""
    line = shown(stream)
    assert "\x1b" not in line
    assert line.endswith("[INFO] hello ***")


def test_a_closed_stream_gets_no_colours() -> None:
    """A stream that can't say what it is, because it is closed, is no terminal."""
    closed = Terminal()
    closed.isatty = io.StringIO.isatty.__get__(closed)  # type: ignore[method-assign]
    closed.close()
    assert "\x1b" not in shown(closed)


def test_stderr_is_the_stream_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a stream, stderr decides about colours."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert "\x1b" in shown(None)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert "\x1b" not in shown(None)


@pytest.mark.parametrize(
    ("environment", "stream", "colored"),
    [
        ({"NO_COLOR": "1"}, Terminal(), False),
        ({"NO_COLOR": ""}, Terminal(), True),
        ({"FORCE_COLOR": "1"}, io.StringIO(), True),
        ({"FORCE_COLOR": ""}, io.StringIO(), False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, Terminal(), False),
    ],
)
def test_the_environment_decides_about_colours(
    environment: Mapping[str, str],
    stream: io.StringIO,
    colored: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """NO_COLOR, if it is not empty, outweighs FORCE_COLOR, and that the kind of stream."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert ("\x1b" in shown(stream)) is colored


def test_the_program_decides_about_colours_first() -> None:
    """`no_color` and `force_color` outweigh the kind of stream."""
    assert "\x1b" not in shown(Terminal(), no_color=True)
    assert "\x1b" in shown(io.StringIO(), force_color=True)


def test_format_and_colours_can_be_given() -> None:
    """`fmt` and `log_colors` are those of colorlog."""
    line = shown(Terminal(), fmt="%(log_color)s%(message)s", log_colors={"INFO": "cyan"})
    assert line == "\x1b[36mhello ***\x1b[0m"
