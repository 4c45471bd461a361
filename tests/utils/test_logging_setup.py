"""Setting logging up, and that afterwards everything is as before."""

from __future__ import annotations

import io
import itertools
import logging
import os
import signal
import sys
import threading
import time
from _thread import interrupt_main
from collections.abc import Generator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import anyio
import pytest

from structmode.testing import VirtualClock, virtual_backend
from structmode.utils.logging import flight_recorder, get_logger, logging_setup, setup_logging

FULL = Path("/dev/full")


class Kept(logging.Handler):
    """A handler that keeps messages, and notes when it is closed."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.messages: list[str] = []
        self.closed = False

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())

    def close(self) -> None:
        self.closed = True
        super().close()


def enter_logging_setup(**kwargs: Any) -> None:
    """Call `logging_setup` so that it can be used in place of `setup_logging`."""
    with logging_setup(**kwargs):
        raise AssertionError("this must not be reached")


@pytest.fixture(autouse=True)
def root() -> Generator[logging.Logger, None, None]:
    """The root logger with a `Kept` as its first handler; pytest adds some for each test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = [Kept()]
    root.setLevel(logging.ERROR)
    yield root
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_get_logger_sets_nothing_up(root: logging.Logger) -> None:
    """`get_logger` returns the logger of that name and gives it neither handler nor level."""
    before = root.handlers[:]
    logger = get_logger("tests.setup.new")
    assert logger is logging.getLogger("tests.setup.new")
    assert (logger.handlers, logger.level, root.handlers) == ([], logging.NOTSET, before)


def test_an_error_is_seen_while_logging_is_not_set_up(
    capsys: pytest.CaptureFixture[str], root: logging.Logger
) -> None:
    """Without any set-up, what is serious reaches stderr, and the rest does not."""
    root.handlers.clear()
    root.setLevel(logging.NOTSET)
    get_logger("tests.setup.new").info("unseen")
    get_logger("tests.setup.new").error("seen")
    assert capsys.readouterr() == ("", "seen\n")


def test_logging_goes_to_stderr(capsys: pytest.CaptureFixture[str], root: logging.Logger) -> None:
    """By default, warnings go to stderr in place of where they went, and nothing below."""
    before = root.handlers[0]
    assert isinstance(before, Kept)
    with logging_setup() as level:
        logging.getLogger("tests").warning("seen")
        logging.getLogger("tests").info("unseen")
    out, err = capsys.readouterr()
    assert level == logging.WARNING
    assert out == ""
    assert err.count("\n") == 1
    assert err.endswith("[WARNING] seen\n")
    assert before.messages == []


def test_the_level_can_be_given(root: logging.Logger) -> None:
    """The level may be a name or a number, and is returned as a number."""
    for given_level in ("info", logging.INFO):
        stream = io.StringIO()
        with logging_setup(loglevel=given_level, logfile=stream) as level:
            assert level == root.level == logging.INFO
            logging.getLogger("tests").info("seen")
        assert "seen" in stream.getvalue()


def test_everything_is_as_before_afterwards(root: logging.Logger) -> None:
    """After the block, also one that failed, the root has its handlers and level back."""
    before = root.handlers[:]
    with pytest.raises(KeyError), logging_setup(loglevel="debug", logfile=io.StringIO()):
        root.setLevel(1)
        raise KeyError
    assert root.handlers == before
    assert root.level == logging.ERROR
    assert isinstance(before[0], Kept)
    assert not before[0].closed


def test_the_level_is_restored_when_only_that_was_changed_meanwhile(root: logging.Logger) -> None:
    """The level is put back even if the set-up itself had left it as it was."""
    root.handlers.clear()
    with logging_setup(loglevel="error", logfile=io.StringIO()):
        root.setLevel(1)
    assert root.level == logging.ERROR


def test_handlers_that_others_add_meanwhile_stay(root: logging.Logger) -> None:
    """Undoing takes away what was set up, and not what others have added since."""
    before = root.handlers[:]
    theirs = Kept()
    with logging_setup(logfile=io.StringIO()):
        root.addHandler(theirs)
    assert root.handlers == [*before, theirs]


def test_a_log_file_is_appended_to_and_closed(tmp_path: Path) -> None:
    """A path is a file in UTF-8, to which lines are added without colours; closed afterwards."""
    path = tmp_path / "app.log"
    path.write_text("before\n")
    with logging_setup(logfile=str(path)):
        logging.getLogger("tests").warning("größer", extra={"data": {"n": 1}})
        handler = logging.getLogger().handlers[0]
        assert isinstance(handler, logging.FileHandler)
        stream = handler.stream
    assert stream is not None
    assert stream.closed
    first, second = path.read_text("utf-8").splitlines()
    assert first == "before"
    assert second.endswith("[WARNING] größer n=1")
    assert "\x1b" not in second


@pytest.mark.skipif(not FULL.exists(), reason="there is no disk here that is always full")
def test_a_log_file_on_a_full_disk_is_closed(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """A log file that could not be written to is closed all the same, and so is the next one; logging is as it was."""
    before, kept = root.handlers[:], Kept()
    config = {"handlers": {"kept": {"()": lambda: kept}}}
    with logging_setup(logfile=FULL, logging_config=config):
        logging.getLogger("tests").warning("x")
    assert kept.closed
    assert root.handlers == before
    setup_logging(logfile=FULL)
    [handler] = root.handlers
    assert isinstance(handler, logging.FileHandler)
    opened = handler.stream
    logging.getLogger("tests").warning("y")
    setup_logging(logfile=io.StringIO())
    assert opened is not None
    assert opened.closed
    assert "No space left on device" in capsys.readouterr().err


def test_a_path_object_is_a_path(tmp_path: Path) -> None:
    """A `pathlib.Path` is taken for a path too."""
    with logging_setup(logfile=tmp_path / "app.log"):
        logging.getLogger("tests").warning("x")
    assert (tmp_path / "app.log").read_text().endswith("x\n")


def test_a_character_without_a_code_costs_no_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a log file or stream has no code for is written as an escape, as on stderr: a name of a file, for instance."""
    name, path = os.fsdecode(b"caf\xe9.txt"), tmp_path / "app.log"
    with logging_setup(logfile=path):
        logging.getLogger("tests").warning("größer: %s", name)
    assert path.read_text("utf-8").endswith("größer: caf\\udce9.txt\n")
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with logging_setup(logfile=stream):
        logging.getLogger("tests").warning("größer: %s", name)
    stream.seek(0)
    assert stream.read().endswith("gr\\xf6\\xdfer: caf\\udce9.txt\n")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [RecursionError, ZeroDivisionError])
def test_a_stream_that_raises(error: type[Exception], capsys: pytest.CaptureFixture[str]) -> None:
    """What goes wrong in writing a line is told on stderr, as the standard library has it, unless the stack is at its end."""

    class Broken(io.StringIO):
        def write(self, text: str, /) -> int:
            raise error

    leaves = pytest.raises(error) if error is RecursionError else nullcontext()
    with logging_setup(logfile=Broken()), leaves:
        logging.getLogger("tests").warning("x")
    assert (error.__name__ in capsys.readouterr().err) is (error is not RecursionError)


def test_a_stream_is_left_open_and_may_be_closed() -> None:
    """A stream belongs to the caller: it is not closed, and it is no error if it was."""
    stream = io.StringIO()
    with logging_setup(logfile=stream):
        pass
    assert not stream.closed
    with logging_setup(logfile=stream):
        stream.close()


def test_a_program_without_stderr_logs_nowhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there is no stderr, as in a Windows program without a console, nothing fails, in no handler either."""
    failed: list[logging.LogRecord] = []
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(logging.Handler, "handleError", lambda _, record: failed.append(record))
    with logging_setup():
        logging.getLogger("tests").warning("x")
    assert failed == []
    assert capsys.readouterr().out == ""


def test_further_handlers_are_used_and_not_closed(root: logging.Logger) -> None:
    """`loghandlers` get the messages besides, and belong to the caller afterwards."""
    extra, stream = Kept(), io.StringIO()
    with logging_setup(logfile=stream, loghandlers=[extra]):
        logging.getLogger("tests").warning("x")
    assert extra.messages == ["x"]
    assert stream.getvalue().endswith("x\n")
    assert not extra.closed
    assert extra not in root.handlers


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"loglevel": "loud"}, ValueError),
        ({"logfile": 5}, TypeError),
        ({"logfile": "/nowhere/at/all/x.log"}, OSError),
        ({"logging_config": {"handlers": {"x": {"class": "no.such.Class"}}}}, ValueError),
        ({"logging_config": {"root": {"handlers": ["unknown"]}}}, ValueError),
        ({"logging_config": {"incremental": True, "root": {"level": 10}}}, ValueError),
        ({"logging_config": {"handlers": None}}, ValueError),
        ({"logging_config": {"loggers": None}}, ValueError),
        ({"logging_config": {"formatters": []}}, ValueError),
        ({"logging_config": {"filters": 5}}, ValueError),
        ({"logging_config": {"loggers": {"a": None}}}, ValueError),
        ({"logging_config": {"loggers": {"": None}}}, ValueError),
        ({"logging_config": {"version": 1, "loggers": {"a": None}}}, ValueError),
        ({"logging_config": "x.ini"}, TypeError),
        ({"loghandlers": 5}, TypeError),
        ({"loghandlers": [1]}, TypeError),
    ],
)
@pytest.mark.parametrize("setup", [setup_logging, enter_logging_setup])
def test_a_set_up_that_fails_changes_nothing(
    wrong: dict[str, Any], error: type[Exception], setup: Any, root: logging.Logger
) -> None:
    """If something is wrong, the error says so, and the root logger is as it was."""
    before = root.handlers[:]
    with pytest.raises(error):
        setup(**wrong)
    assert root.handlers == before
    assert root.level == logging.ERROR


def test_a_wrong_log_file_is_named() -> None:
    """What is neither a path nor a stream is named in the error."""
    with pytest.raises(TypeError, match=r"path or an open text stream, not 5 \(int\)"):
        setup_logging(logfile=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            {"logging_config": {"handlers": None}},
            "'handlers' in a logging_config must be a mapping",
        ),
        (
            {"logging_config": {"loggers": {"a": None}}},
            "the logger 'a' in a logging_config must be",
        ),
        ({"logging_config": "x.ini"}, r"mapping, as .* not 'x.ini'; for a file, .*fileConfig\(\)"),
        ({"loghandlers": [1]}, "loghandlers takes instances of logging.Handler, not 1"),
    ],
)
def test_what_is_wrong_is_named(wrong: dict[str, Any], told: str) -> None:
    """A part that has not the form that it must have is named in the error, and what to do about it."""
    with pytest.raises((TypeError, ValueError), match=told):
        setup_logging(**wrong)


def test_setup_logging_replaces_what_it_did_before(tmp_path: Path, root: logging.Logger) -> None:
    """`setup_logging` stays in force, and closes its own log file, alone, when called again."""
    theirs, stream = root.handlers[0], io.StringIO()
    assert setup_logging(loglevel="info", logfile=tmp_path / "app.log") == logging.INFO
    [first] = root.handlers
    assert isinstance(first, logging.FileHandler)
    opened = first.stream
    assert setup_logging(logfile=stream) == root.level == logging.WARNING
    assert opened is not None
    assert opened.closed
    assert len(root.handlers) == 1
    logging.getLogger("tests").warning("x")
    assert stream.getvalue().endswith("x\n")
    assert isinstance(theirs, Kept)
    assert not theirs.closed


def test_a_set_up_inside_another(tmp_path: Path, root: logging.Logger) -> None:
    """An inner block takes over for its length, and leaves the outer one's log file open."""
    before = root.handlers[:]
    outer, inner = tmp_path / "outer.log", tmp_path / "inner.log"
    with logging_setup(logfile=outer):
        logging.getLogger("tests").warning("a")
        with logging_setup(logfile=inner):
            logging.getLogger("tests").warning("b")
        logging.getLogger("tests").warning("c")
    assert [line[-1] for line in outer.read_text().splitlines()] == ["a", "c"]
    assert [line[-1] for line in inner.read_text().splitlines()] == ["b"]
    assert root.handlers == before


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_set_ups_may_end_in_any_order(order: tuple[int, ...], root: logging.Logger) -> None:
    """As those of several threads do: the newest that is left is in force, and after the last one all is as it was."""
    other = logging.getLogger("tests.setup.overlap")
    before = (root.handlers[:], root.level, other.handlers[:], other.level)
    streams, theirs = [io.StringIO() for _ in order], Kept()
    config = {
        "handlers": {"other": {"()": Kept}},
        "loggers": {other.name: {"handlers": ["other"]}},
    }
    blocks = [
        logging_setup(
            loglevel=level, logfile=stream, logging_config=config if level == 20 else None
        )
        for level, stream in zip((10, 20, 30), streams, strict=True)
    ]
    for block in blocks:
        block.__enter__()
    root.addHandler(theirs)
    there = list(range(3))
    for leaving in order:
        assert root.level == (10, 20, 30)[there[-1]]
        assert len(other.handlers) == (1 in there)
        logging.getLogger("tests").warning("x")
        assert [bool(stream.getvalue()) for stream in streams] == [
            n == there[-1] for n in range(3)
        ]
        streams[there[-1]].truncate(0)
        blocks[leaving].__exit__(None, None, None)
        there.remove(leaving)
    root.removeHandler(theirs)
    assert theirs.messages == ["x"] * 3
    assert (root.handlers, root.level, other.handlers, other.level) == before


def test_a_configuration_completes_the_default_one(root: logging.Logger) -> None:
    """What a configuration leaves out is as without it, and existing loggers are not disabled."""
    stream = io.StringIO()
    existing = logging.getLogger("tests.setup.existing")
    with logging_setup(loglevel="info", logfile=stream, logging_config={}) as level:
        assert level == logging.INFO
        existing.info("x", extra={"data": {"n": 1}})
    assert stream.getvalue().endswith("[INFO] x n=1\n")
    with logging_setup(loglevel="info", logging_config={"root": {"level": "ERROR"}}) as level:
        assert level == root.level == logging.ERROR
        assert len(root.handlers) == 1


def test_a_configuration_may_complete_and_replace_parts(tmp_path: Path) -> None:
    """Settings are merged into a default part; one that names a class replaces it."""
    stream, other = io.StringIO(), io.StringIO()
    config: dict[str, Any] = {
        "formatters": {"default": {"format": "%(levelname)s: %(message)s%(extra)s"}},
        "handlers": {"default": {"level": "ERROR", "formatter": "default"}},
    }
    with logging_setup(logfile=stream, logging_config=config):
        logging.getLogger("tests").warning("no")
        logging.getLogger("tests").error("yes", extra={"data": {"n": 1}})
    assert stream.getvalue() == "ERROR: yes n=1\n"
    assert config["handlers"] == {"default": {"level": "ERROR", "formatter": "default"}}

    config = {
        "formatters": {"colored": {"format": "%(log_color)s%(message)s"}},
        "handlers": {
            "default": {"class": "logging.StreamHandler", "stream": other, "formatter": "colored"},
        },
    }
    with logging_setup(logfile=stream, logging_config=config):
        logging.getLogger("tests").error("other")
    assert other.getvalue() == "other\n"
    assert "other" not in stream.getvalue()


def test_the_default_handler_may_have_another_stream(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is given as any handler's, and comes before the log file; what else it does not take is an error that says what it does."""
    config: dict[str, Any] = {"handlers": {"default": {"stream": "ext://sys.stdout"}}}
    other = io.StringIO()
    with logging_setup(logfile=other, logging_config=config):
        logging.getLogger("tests").error("x")
    assert capsys.readouterr().out.endswith("[ERROR] x\n")
    assert other.getvalue() == ""
    with pytest.raises(ValueError, match="'default'") as caught:
        setup_logging(logging_config={"handlers": {"default": {"mode": "w"}}})
    assert 'takes "stream", "level", "formatter" and "filters", not mode;' in str(
        caught.value.__cause__
    )


ALONE: dict[str, Any] = {
    "version": 1,
    "formatters": {"own": {"format": "own: %(message)s"}},
    "handlers": {"own": {"class": "logging.StreamHandler", "formatter": "own"}},
    "loggers": {"tests.setup.alone": {"handlers": ["own"], "level": "INFO"}},
}


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        pytest.param({}, ["own: x"], id="alone"),
        pytest.param({"merge": True}, ["own: x", "[INFO] x"], id="merged"),
        pytest.param({"root": {}}, ["own: x", "[INFO] x"], id="with a root"),
        pytest.param({"version": None}, ["own: x", "[INFO] x"], id="without a version"),
        pytest.param(
            {"loggers": {"tests.setup.alone": {"level": "INFO"}}}, ["[INFO] x"], id="no handlers"
        ),
        pytest.param(
            {"loggers": {"tests.setup.alone": {"level": "INFO", "handlers": []}}},
            ["[INFO] x"],
            id="no handler in it",
        ),
        pytest.param(
            {"loggers": {"tests.setup.other": {"handlers": ["own"], "propagate": False}}},
            ["[INFO] x"],
            id="nothing twice",
        ),
    ],
)
def test_a_configuration_that_could_be_used_alone_has_no_line_written_twice(
    change: dict[str, Any], lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The root has no handler there; but one that completes the default has it."""
    config = {key: value for key, value in {**ALONE, **change}.items() if value is not None}
    before = repr(config)
    with logging_setup(logging_config=config, loglevel="INFO") as level:
        assert level == logging.INFO
        logging.getLogger("tests.setup.alone").info("x")
    written = capsys.readouterr().err.splitlines()
    assert [line[-len(end) :] for line, end in zip(written, lines, strict=True)] == lines
    assert repr(config) == before


@pytest.mark.parametrize("name", ["", "root"])
def test_the_root_may_be_one_of_the_loggers(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What it has there is not overwritten by the default; "root" itself comes first."""
    loggers = {name: {"handlers": ["own"], "level": "INFO"}}
    with logging_setup(logging_config={**ALONE, "loggers": loggers}) as level:
        assert level == logging.INFO
        logging.getLogger("tests").info("x")
    assert capsys.readouterr().err == "own: x\n"
    config = {**ALONE, "loggers": loggers, "root": {"level": "ERROR"}}
    with logging_setup(logging_config=config) as level:
        assert level == logging.ERROR
        logging.getLogger("tests").error("x")
    assert capsys.readouterr().err == "own: x\n"


def test_a_configuration_of_other_loggers_is_undone_too(tmp_path: Path) -> None:
    """Loggers that a configuration names, makes or disables are afterwards as they were."""
    named, disabled = (
        logging.getLogger("tests.setup.named"),
        logging.getLogger("tests.setup.disabled"),
    )
    own = Kept()
    named.addHandler(own)
    named.setLevel(logging.INFO)
    path = tmp_path / "named.log"
    config = {
        "disable_existing_loggers": True,
        "handlers": {
            "file": {"class": "logging.FileHandler", "filename": str(path)},
            "memory": {"class": "logging.handlers.MemoryHandler", "capacity": 1, "target": "file"},
        },
        "loggers": {
            "tests.setup.named": {"level": "DEBUG", "handlers": ["file"], "propagate": False},
            "tests.setup.made": {"level": "DEBUG", "handlers": ["memory"]},
        },
    }
    with logging_setup(logfile=io.StringIO(), logging_config=config):
        assert disabled.disabled
        named.debug("x")
        [file] = named.handlers
        assert isinstance(file, logging.FileHandler)
        stream = file.stream
    made = logging.getLogger("tests.setup.made")
    assert stream is not None
    assert stream.closed
    assert path.read_text() == "x\n"
    assert not disabled.disabled
    assert (named.handlers, named.level, named.propagate) == ([own], logging.INFO, True)
    assert (made.handlers, made.level) == ([], logging.NOTSET)
    named.removeHandler(own)


def test_a_configuration_that_opened_a_log_file_and_failed_has_closed_it(tmp_path: Path) -> None:
    """A log file that was opened before the configuration turned out wrong is not left open."""
    path = tmp_path / "app.log"
    with pytest.raises(ValueError, match="root logger"):
        setup_logging(logfile=path, logging_config={"root": {"handlers": ["default", "unknown"]}})
    assert path.exists()  # and a file left open would be a ResourceWarning, hence an error


# --- Reports that other threads write -------------------------------------------------------------


class Slow(Kept):
    """A handler that takes its time."""

    def emit(self, record: logging.LogRecord) -> None:
        time.sleep(0.02)
        super().emit(record)


async def take_too_long() -> None:
    """Be recorded for an hour that passes at once."""
    with VirtualClock(), flight_recorder(get_logger("tests.setup"), timeout=10.0) as recorder:
        recorder.info("a step")
        await anyio.sleep(3600.0)


@pytest.fixture
def interruptible() -> Generator[None, None, None]:
    """Ctrl-C interrupts, also where the tests were started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_while_reports_are_waited_for(root: logging.Logger) -> None:
    """Logging is put back all the same."""
    leaving = threading.Event()

    class Interrupting(Kept):
        def emit(self, record: logging.LogRecord) -> None:
            if not self.messages:
                leaving.wait(30.0)
                time.sleep(0.02)  # so that it is waited for, most likely
                interrupt_main()
            super().emit(record)

    before = root.handlers[:]
    with (
        pytest.raises(KeyboardInterrupt),
        logging_setup(loglevel="INFO", loghandlers=[Interrupting()]),
    ):
        anyio.run(take_too_long, **virtual_backend("asyncio"))
        leaving.set()
    assert root.handlers == before


@pytest.mark.parametrize("change", ["the end of the block", "another setup"])
def test_reports_are_written_before_the_log_is_another(change: str) -> None:
    """What a recorder says at the end of a program comes from a thread, and is in the log to the last line."""
    kept = Slow()
    with ExitStack() as taken:
        taken.enter_context(logging_setup(loglevel="INFO", loghandlers=[kept]))
        anyio.run(take_too_long, **virtual_backend("asyncio"))
        if change == "another setup":
            setup_logging(loglevel="ERROR")
        else:
            taken.close()
        seen = kept.messages[:]
    assert len(seen) == 6, seen
    assert seen[-1].endswith("Ended after 3600 s")
