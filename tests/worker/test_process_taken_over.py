"""What a worker takes over of its process - signals, logging, printing - and that it gives all of it back."""

from __future__ import annotations

import io
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from structmode import Service, Worker
from structmode._process._report import process_report

from .here import SIGNALS, Job, Log, execute, handlers, raising, root_state

# --- Signals


def some_handler() -> Callable[[int, object], None]:
    """Return a handler that is like no other."""

    def handler(number: int, frame: object) -> None:
        """Do nothing."""

    return handler


@pytest.mark.fault("E5")
@pytest.mark.parametrize("error", [None, ValueError(), SystemExit(2)])
def test_e5_handlers_are_given_back(backend: str, error: BaseException | None) -> None:
    """E5: the handlers of signals are a worker's own while it runs, and afterwards what they were, in any case."""
    during: list[list[object]] = []
    job = Job(lambda: during.append(handlers()), *([raising(error)] if error else []))
    before = [some_handler() for _ in SIGNALS]
    originals = [signal.signal(*pair) for pair in zip(SIGNALS, before, strict=True)]
    try:
        execute(Worker(job, daemon=False, backend=backend, stderr=Log()))
        assert handlers() == before
    finally:
        for pair in zip(SIGNALS, originals, strict=True):
            signal.signal(*pair)
    assert set(during[0]).isdisjoint(before)


def test_ctrl_c_that_is_ignored(backend: str) -> None:
    """A SIGINT that is ignored, as in the background of a script, stays so; the other signals are taken."""
    during: list[list[object]] = []
    job = Job(lambda: during.append(handlers()), lambda: signal.raise_signal(signal.SIGINT))
    original = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert execute(Worker(job, daemon=False, backend=backend, stderr=Log())) == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, original)
    [[sigint, *others]] = during
    assert sigint is signal.SIG_IGN
    assert signal.SIG_IGN not in others


def test_handler_that_was_not_set_from_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that Python can't put back becomes the default one, rather than staying a worker's."""
    original = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    take = signal.signal

    def take_from_c(number: int, handler: Any) -> Any:
        previous = take(number, handler)
        return None if previous is signal.SIG_IGN else previous

    monkeypatch.setattr(signal, "signal", take_from_c)
    try:
        execute(Worker(daemon=False, stderr=Log()))
        assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL
    finally:
        take(signal.SIGUSR2, original)


def test_worker_that_leaves_signals_alone(backend: str) -> None:
    """A worker whose `install_signal_handlers` does nothing takes no signals."""

    class Aloof(Worker):
        def install_signal_handlers(self) -> None:
            """Leave them alone."""

    during: list[list[object]] = []
    before = handlers()
    worker = Aloof(Job(lambda: during.append(handlers())), daemon=False, backend=backend)
    assert execute(worker) == 0
    assert during[0][1:] == before[1:]
    assert getattr(during[0][0], "__self__", None).__class__.__name__ != "OsSignals"


def test_ctrl_c_without_handlers_of_its_own(backend: str) -> None:
    """A worker that takes no signals still stops in order at Ctrl-C, as its event loop does, with exit code 130."""

    class Aloof(Worker):
        def install_signal_handlers(self) -> None:
            """Leave them alone."""

    original = signal.signal(signal.SIGINT, signal.default_int_handler)
    job = Job(lambda: signal.raise_signal(signal.SIGINT))
    try:
        assert execute(Aloof(job, backend=backend, stderr=Log())) == 130
    finally:
        signal.signal(signal.SIGINT, original)
    assert job.events == ["stop"]


def test_report_without_services() -> None:
    """Before there are any, it tells of the threads alone."""
    report = process_report(None)
    assert re.search(r"^(MainThread|Thread \d+) \(", report, re.MULTILINE)
    assert "\n[^" not in report


def test_report_while_nothing_is_written(backend: str) -> None:
    """What SIGUSR1 prints goes to the worker's stderr, in the middle of a log line too."""

    class Reporting(Log):
        def write(self, text: str, /) -> int:
            if "Started" in text and not self.reported:
                self.reported = True
                signal.raise_signal(signal.SIGUSR1)
            return super().write(text)

        reported = False

    log = Reporting()
    execute(Worker(Job(), loglevel="info", daemon=False, backend=backend, stderr=log))
    assert "[^-Job]" in log.getvalue()
    assert "MainThread" in log.getvalue()


@pytest.mark.parametrize(
    ("override_logging", "redirect"), [(True, True), (True, False), (False, True)]
)
def test_debugger_is_opened_where_the_signal_came(
    backend: str, override_logging: bool, redirect: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With debug, SIGUSR2 calls the breakpoint hook at once, with the streams as they were before the worker."""
    streams = (sys.stdout, sys.stderr)
    seen: list[object] = []
    monkeypatch.setattr(sys, "breakpointhook", lambda: seen.append((sys.stdout, sys.stderr)))

    def look() -> None:
        signal.raise_signal(signal.SIGUSR2)
        seen.append("went on")

    worker = Worker(
        Job(look),
        debug=True,
        console_port=None,
        daemon=False,
        override_logging=override_logging,
        redirect_stdouts=redirect,
        backend=backend,
        stderr=Log(),
    )
    assert execute(worker) == 0
    assert seen == [streams, "went on"]
    assert (sys.stdout, sys.stderr) == streams


def test_handlers_that_are_installed_again(backend: str) -> None:
    """Installing the handlers again, as an override may do in a hook, changes nothing."""

    class Twice(Worker):
        async def on_first_start(self) -> None:
            self.install_signal_handlers()
            await self.default_on_first_start()

    before = handlers()
    assert execute(Twice(daemon=False, backend=backend, stderr=Log())) == 0
    assert handlers() == before


@pytest.mark.fault("E5")
def test_platform_without_signal_masks(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform whose threads can't refuse signals, such as Windows, will do."""
    monkeypatch.delattr(signal, "pthread_sigmask")
    assert execute(Worker(Job(), daemon=False, backend=backend, stderr=Log())) == 0


# --- Logging and printing


@pytest.mark.fault("E6")
@pytest.mark.parametrize("error", [None, ValueError()])
def test_e6_logging_and_stdout_are_given_back(backend: str, error: BaseException | None) -> None:
    """E6: logging and stdout are taken over for as long as the worker runs, and are then what they were."""
    during: list[tuple[object, ...]] = []
    job = Job(lambda: during.append(root_state()), *([raising(error)] if error else []))
    before = root_state()
    execute(Worker(job, loglevel="debug", daemon=False, backend=backend, stderr=Log()))
    assert root_state() == before
    assert all(one != other for one, other in zip(during[0], before, strict=True))


@pytest.mark.fault("E6")
def test_e6_override_logging_false_touches_nothing(backend: str) -> None:
    """E6: with override_logging=False neither logging nor stdout is touched."""
    during: list[tuple[object, ...]] = []
    job = Job(lambda: during.append(root_state()))
    before = root_state()
    worker = Worker(job, override_logging=False, loglevel="debug", daemon=False, backend=backend)
    assert execute(worker) == 0
    assert during == [before]


def test_workers_in_threads_that_overlap(backend: str) -> None:
    """The one that started first may end first: after both, logging and stdout are what they were before both."""
    before = root_state()
    both_run, first_is_done = threading.Event(), threading.Event()

    class Waiting(Service):
        def __init__(self, event: threading.Event) -> None:
            self.event = event
            super().__init__()

        @Service.task
        async def wait_for_event(self) -> None:
            running.set()
            await anyio.to_thread.run_sync(self.event.wait)

    codes: list[object] = []
    threads: list[threading.Thread] = []
    for event in (both_run, first_is_done):
        running = threading.Event()
        worker = Worker(Waiting(event), daemon=False, backend=backend, stderr=Log())
        threads.append(threading.Thread(target=lambda w=worker: codes.append(execute(w))))
        threads[-1].start()
        running.wait()
    both_run.set()
    threads[0].join()
    first_is_done.set()
    threads[1].join()
    assert codes == [0, 0]
    assert root_state() == before


def test_crash_is_told_without_logging(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash is written to stderr where nobody has set logging up, rather than to nowhere."""
    monkeypatch.setattr(logging.root, "handlers", [])
    err = io.StringIO()
    worker = Worker(
        Job(raising(ValueError("unheard"))), override_logging=False, backend=backend, stderr=err
    )
    assert execute(worker) == 1
    assert err.getvalue().startswith("Worker: Traceback")
    assert err.getvalue().endswith("\nValueError: unheard\n")


def test_printed_text_is_logged(backend: str) -> None:
    """What is printed becomes log messages, at the level asked for; `say` still writes to stdout."""
    log, out = Log(), io.StringIO()

    def speak() -> None:
        print("printed")  # noqa: T201
        print("as error", file=sys.stderr)  # noqa: T201
        worker.say("said")

    worker = Worker(
        Job(speak),
        redirect_stdouts_level="error",
        daemon=False,
        backend=backend,
        stdout=out,
        stderr=log,
    )
    assert execute(worker) == 0
    assert log.lines() == ["printed", "as error"]
    assert "[ERROR] printed" in log.getvalue()
    assert out.getvalue() == "said\n"


def test_printed_text_is_not_logged(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With redirect_stdouts=False what is printed goes where it went before."""
    log = Log()
    job = Job(lambda: print("printed"))  # noqa: T201
    worker = Worker(job, redirect_stdouts=False, daemon=False, backend=backend, stderr=log)
    assert execute(worker) == 0
    assert capsys.readouterr().out == "printed\n"
    assert log.getvalue() == ""


def test_loglevel() -> None:
    """Only messages at the log level and above are logged; by default at WARNING."""

    def speak() -> None:
        logger = logging.getLogger("speaker")
        logger.info("quiet")
        logger.warning("loud")

    for level, expected in ((None, ["loud"]), ("ERROR", []), (logging.INFO, ["quiet", "loud"])):
        log = Log()
        assert execute(Worker(Job(speak), loglevel=level, daemon=False, stderr=log)) == 0
        assert [line for line in log.lines() if not line.startswith("[^")] == expected


@pytest.mark.usefixtures("blocking_allowed")
def test_logfile(tmp_path: Path) -> None:
    """The log goes to a file, by its path, or to an open stream, instead of stderr."""
    err, stream, path = Log(), Log(), tmp_path / "worker.log"
    for logfile in (str(path), stream):
        worker = Worker(loglevel="info", logfile=logfile, daemon=False, stderr=err)
        assert execute(worker) == 0
    for text in (path.read_text(), stream.getvalue()):
        assert "[INFO] [^Worker]: Starting..." in text
    assert err.getvalue() == ""


@pytest.mark.skipif(
    not os.path.exists("/dev/full"), reason="there is no disk here that is always full"
)
@pytest.mark.usefixtures("blocking_allowed")
@pytest.mark.parametrize(("error", "code"), [(None, 0), (SystemExit(3), 3), (ValueError(), 1)])
def test_logfile_on_a_full_disk(backend: str, error: BaseException | None, code: int) -> None:
    """A log that can't be written makes no difference to how the program ends, and all is given back."""
    job = Job(lambda: job.log.warning("x"), *([raising(error)] if error else []))
    before = (root_state(), handlers())
    worker = Worker(job, logfile="/dev/full", daemon=False, backend=backend, stderr=Log())
    assert execute(worker) == code
    assert (root_state(), handlers()) == before


def test_logfile_that_can_not_be_opened(tmp_path: Path) -> None:
    """A log file that can't be opened ends the program with a clear word, exit code 1, and no traceback."""
    err, path = Log(), tmp_path / "missing" / "worker.log"
    job = Job()
    before = (root_state(), handlers())
    assert execute(Worker(job, logfile=str(path), stderr=err)) == 1
    assert "can't set logging up: " in err.getvalue()
    assert str(path) in err.getvalue()
    assert "Traceback" not in err.getvalue()
    assert not job.events
    assert (root_state(), handlers()) == before


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (
            {"handlers": {"default": {"class": "no.such.Handler"}}},
            "Unable to configure handler 'default': ",
        ),
        ({"handlers": None}, "'handlers' in a logging_config must be a mapping, not None"),
        ("x.ini", "logging_config must be a mapping"),
    ],
)
def test_logging_config_that_is_wrong(config: Any, told: str) -> None:
    """A wrong logging configuration is told with its cause, and without a traceback."""
    err = Log()
    assert execute(Worker(logging_config=config, stderr=err)) == 1
    assert f"can't set logging up: {told}" in err.getvalue()
    assert "Traceback" not in err.getvalue()


def test_logging_config(backend: str) -> None:
    """A logging configuration is used, completed by the default one."""
    log = Log()
    config = {
        "formatters": {"mine": {"format": "mine: %(message)s"}},
        "handlers": {
            "default": {"class": "logging.StreamHandler", "stream": log, "formatter": "mine"}
        },
    }
    worker = Worker(
        logging_config=config, loglevel="info", daemon=False, backend=backend, stderr=Log()
    )
    assert execute(worker) == 0
    assert log.lines()[0] == "mine: [^Worker]: Starting..."


class Remembering(logging.Handler):
    """Keeps the messages."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def test_loghandlers(backend: str) -> None:
    """Further handlers get what is logged too."""
    log, handler = Log(), Remembering()
    worker = Worker(
        loglevel="info", loghandlers=[handler], daemon=False, backend=backend, stderr=log
    )
    assert execute(worker) == 0
    assert handler.messages == log.lines()
    assert handler.messages[0] == "[^Worker]: Starting..."


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no terminals here")
@pytest.mark.usefixtures("blocking_allowed")
def test_colours_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is in colours on a terminal, and not elsewhere."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    leader, follower = os.openpty()
    with os.fdopen(follower, "w") as terminal:
        assert execute(Worker(loglevel="info", daemon=False, stderr=terminal)) == 0
        shown = os.read(leader, 10_000).decode()
    os.close(leader)
    assert "\x1b[" in shown
    log = Log()
    assert execute(Worker(loglevel="info", daemon=False, stderr=log)) == 0
    assert "\x1b[" not in log.getvalue()


def test_say_and_carp() -> None:
    """`say` writes to stdout and `carp` to stderr; a quiet worker does neither."""
    for quiet, expected in ((False, ("hello\n", "careful\n")), (True, ("", ""))):
        out, err = io.StringIO(), io.StringIO()
        worker = Worker(quiet=quiet, stdout=out, stderr=err)
        worker.say("hello")
        worker.carp("careful")
        assert (out.getvalue(), err.getvalue()) == expected


class Interrupted(io.StringIO):
    """A stream whose write has been interrupted by a signal: a buffered one refuses another then."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, text: str, /) -> int:
        raise RuntimeError("reentrant call")

    def fileno(self) -> int:
        return self.number


def test_carp_while_the_stream_is_being_written_to() -> None:
    """What is said while a signal handler has interrupted a write to the same stream is written all the same."""
    read, write = os.pipe()
    Worker(stderr=Interrupted(write)).carp("käse")
    os.close(write)
    with open(read, encoding="utf-8") as stream:
        assert stream.read() == "käse\n"


def test_a_stream_that_has_not_all_characters_gets_escapes(backend: str) -> None:
    """What is said, and what a signal asks for, is written all the same."""

    class Käse(Job):
        """Something that has to be written with other characters than ASCII's."""

    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2))
    service = Käse(lambda: signal.raise_signal(signal.SIGUSR1))
    worker = Worker(service, daemon=False, backend=backend, logfile=Log(), stdout=out, stderr=err)
    worker.say("Käse ✓")
    assert execute(worker) == 0
    out.seek(0)
    err.seek(0)
    assert out.read() == "K\\xe4se \\u2713\n"
    assert "K\\xe4se] running" in err.read()


def test_say_without_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program without a console, as on Windows, has no stdout and stderr; nothing fails then."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    worker = Worker(loglevel="info", daemon=False)
    worker.say("hello")
    worker.carp("careful")
    assert execute(worker) == 0


def test_say_where_nobody_listens() -> None:
    """What can't be written, as after the reader of a pipe has gone, is dropped."""
    read, write = os.pipe()
    os.close(read)
    with open(write, "w", buffering=1, closefd=False) as stream:
        Worker(stdout=stream).say("hello")
        os.dup2(os.open(os.devnull, os.O_WRONLY), write)
    os.close(write)
