"""What is printed becomes log records: whole lines, of the right caller, and without a loop."""

from __future__ import annotations

import gc
import io
import itertools
import logging
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import IO, Any, cast

import pytest
from hypothesis import given, strategies as st

from structmode.utils.logging import FileLogProxy, _redirect, redirect_logger, redirect_stdouts


class Kept(logging.Handler):
    """A handler that keeps records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def messages(self) -> list[str]:
        """The messages of the records."""
        return [record.getMessage() for record in self.records]


def make_logger(*handlers: logging.Handler) -> logging.Logger:
    """Make a logger of its own, that hands nothing on."""
    logger = logging.Logger("tests.redirect", logging.DEBUG)  # noqa: LOG001
    for handler in handlers:
        logger.addHandler(handler)
    return logger


@pytest.fixture
def kept() -> Kept:
    """The handler of the test's logger."""
    return Kept()


@pytest.fixture
def proxy(kept: Kept) -> FileLogProxy:
    """A stream that ends in the test's logger."""
    return FileLogProxy(make_logger(kept))


def test_whole_lines_become_records(proxy: FileLogProxy, kept: Kept) -> None:
    """Each line is a record once its newline was written, in however many parts."""
    assert proxy.write("one\ntw") == 6
    assert kept.messages == ["one"]
    proxy.write("o\n")
    proxy.writelines(["thr", "ee\nfour\n"])
    assert kept.messages == ["one", "two", "three", "four"]


def test_print_makes_one_record(proxy: FileLogProxy, kept: Kept) -> None:
    """A `print` of several values is one record, at level WARNING, of the line that printed."""
    print("a", 1, "%s", file=proxy)
    [record] = kept.records
    assert record.getMessage() == "a 1 %s"
    assert record.levelno == logging.WARNING
    assert (record.pathname, record.funcName) == (__file__, "test_print_makes_one_record")


WAYS_TO_WRITE: list[Callable[[FileLogProxy], object]] = [
    lambda proxy: proxy.write("x\n"),
    lambda proxy: proxy.writelines(["x\n"]),
    lambda proxy: proxy.buffer.write(b"x\n"),
    lambda proxy: proxy.write("x") and proxy.flush(),  # type: ignore[func-returns-value]
]


@pytest.mark.parametrize("use", WAYS_TO_WRITE)
def test_a_record_is_of_the_line_that_wrote(
    use: Callable[[FileLogProxy], object], proxy: FileLogProxy, kept: Kept
) -> None:
    """By whatever way a line comes, its record has the file and function of who wrote it."""
    use(proxy)
    [record] = kept.records
    assert (record.pathname, record.funcName) == (__file__, "<lambda>")


def test_spaces_at_the_end_and_empty_lines_are_left_away(proxy: FileLogProxy, kept: Kept) -> None:
    """A record has no spaces at its end but those at its beginning, and empty lines are none."""
    proxy.write("\n  indented \r\n   \n\n")
    proxy.flush()
    assert kept.messages == ["  indented"]


def test_flush_logs_the_unfinished_line(proxy: FileLogProxy, kept: Kept) -> None:
    """What was written without a newline is a record at `flush`, and only once."""
    proxy.write("loading...")
    assert kept.messages == []
    proxy.flush()
    proxy.flush()
    proxy.write("done\n")
    assert kept.messages == ["loading...", "done"]


def test_an_unfinished_line_is_bounded(kept: Kept) -> None:
    """Text that never has a newline is logged in pieces, and nothing of it is lost."""
    proxy = FileLogProxy(make_logger(kept), limit=10)
    for _ in range(12):
        proxy.write("abc")
    proxy.flush()
    assert kept.messages == ["abc" * 4] * 3


@given(st.lists(st.text("ab \n", max_size=8)))
def test_however_text_is_cut_its_lines_are_the_same(pieces: list[str]) -> None:
    """The records of a text do not depend on how it was cut into writes."""
    kept = Kept()
    proxy = FileLogProxy(make_logger(kept))
    for piece in pieces:
        proxy.write(piece)
    proxy.flush()
    lines = [line.rstrip() for line in "".join(pieces).split("\n")]
    assert kept.messages == [line for line in lines if line]


@pytest.mark.parametrize("severity", ["error", logging.ERROR])
def test_the_severity_can_be_given(severity: int | str, kept: Kept) -> None:
    """The level of the records is given by number or name."""
    proxy = FileLogProxy(make_logger(kept), severity=severity)
    proxy.write("x\n")
    assert proxy.severity == kept.records[0].levelno == logging.ERROR
    with pytest.raises(ValueError, match="'loud'"):
        FileLogProxy(make_logger(), severity="loud")


def test_threads_do_not_mix_their_lines(proxy: FileLogProxy, kept: Kept) -> None:
    """Lines that are written in parts by two threads at once stay two lines."""
    began, other_done = threading.Event(), threading.Event()

    def write_in_two_parts() -> None:
        proxy.write("left-")
        began.set()
        other_done.wait(30)
        proxy.write("right\n")

    thread = threading.Thread(target=write_in_two_parts)
    thread.start()
    assert began.wait(30)
    proxy.write("whole\n")
    proxy.flush()
    other_done.set()
    thread.join(30)
    assert kept.messages == ["whole", "left-right"]


def test_a_thread_does_not_go_on_with_the_line_of_one_that_has_ended(
    proxy: FileLogProxy, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have its ident; what the other has left unfinished is a line of its own, and comes first."""
    monkeypatch.setattr(_redirect, "threading", SimpleNamespace(get_ident=lambda: 1))
    for text in ("first", "second, ", "third\n"):
        thread = threading.Thread(target=proxy.write, args=(text,))
        thread.start()
        thread.join()
    assert kept.messages == ["first", "second,", "third"]
    proxy.write("mine, ")
    proxy.write("still mine\n")
    proxy.write("the end")
    proxy.close()
    assert kept.messages[3:] == ["mine, still mine", "the end"]


def test_close_logs_what_is_unfinished_in_all_threads(proxy: FileLogProxy, kept: Kept) -> None:
    """Closing logs every unfinished line; then the stream takes nothing more."""
    began, closed = threading.Event(), threading.Event()

    def write_unfinished() -> None:
        proxy.write("theirs")
        began.set()
        closed.wait(30)

    thread = threading.Thread(target=write_unfinished)
    thread.start()
    assert began.wait(30)
    proxy.write("ours")
    proxy.close()
    proxy.close()
    closed.set()
    thread.join(30)
    assert sorted(kept.messages) == ["ours", "theirs"]
    assert proxy.closed
    for use in (lambda: proxy.write("x"), proxy.flush):
        with pytest.raises(ValueError, match="closed file"):
            use()


def test_only_strings_can_be_written(proxy: FileLogProxy) -> None:
    """Bytes are refused with the name of where they can be written."""
    wrong: Any = b"x"
    with pytest.raises(TypeError, match=r"string, not bytes.*\.buffer"):
        proxy.write(wrong)


def test_bytes_can_be_written_to_the_buffer(proxy: FileLogProxy, kept: Kept) -> None:
    """`buffer` takes bytes, cut anywhere, and shows those that are no UTF-8 escaped."""
    data = "größe\n".encode()
    assert proxy.buffer.write(data[:3]) == 3
    proxy.buffer.write(memoryview(data)[3:])
    proxy.buffer.write(b"\xff bad\nrest")
    proxy.buffer.flush()
    assert kept.messages == ["größe", "\\xff bad", "rest"]
    assert proxy.buffer.writable()
    proxy.close()
    proxy.buffer.close()


def test_it_is_a_text_stream_that_can_only_be_written(proxy: FileLogProxy) -> None:
    """The stream tells what it is, and refuses to be read, moved in, or used as a descriptor."""
    assert isinstance(proxy, io.TextIOBase)
    assert proxy.writable()
    assert not proxy.readable()
    assert not proxy.seekable()
    assert not proxy.isatty()
    assert proxy.line_buffering
    assert (proxy.encoding, proxy.errors, proxy.newlines) == ("utf-8", "backslashreplace", None)
    assert (proxy.mode, proxy.name) == ("w", "<tests.redirect>")
    refused: list[Callable[[], object]] = [
        proxy.read,
        proxy.readline,
        proxy.readlines,
        proxy.fileno,
        proxy.tell,
        proxy.truncate,
        lambda: proxy.seek(0),
    ]
    for use in refused:
        with pytest.raises(io.UnsupportedOperation):
            use()


@pytest.mark.parametrize("way", ["text", "bytes"])
def test_who_needs_a_file_is_told_where_there_is_one(proxy: FileLogProxy, way: str) -> None:
    """What writes to a file by its number, such as a subprocess, can't write to the log; the error says what to do."""
    stream = cast("IO[Any]", proxy if way == "text" else proxy.buffer)
    with pytest.raises(io.UnsupportedOperation, match=r"sys.__stdout__ .*redirect_stdouts=False"):
        subprocess.run([sys.executable, "--version"], stdout=stream, check=True)


def test_a_handler_that_writes_to_the_stream_makes_no_loop() -> None:
    """What a handler writes to the stream that logs goes to the fallback, and is flushed there."""
    real = io.StringIO()
    logger = make_logger()
    proxy = FileLogProxy(logger, fallback=real)
    logger.addHandler(logging.StreamHandler(proxy))
    proxy.write("hello\n")
    assert real.getvalue() == "hello\n"
    logger.error("direct")
    assert real.getvalue() == "hello\ndirect\n"


def test_what_a_handler_writes_costs_no_character() -> None:
    """What the stream to fall back on has no code for is written to it as an escape."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    logger = make_logger()
    proxy = FileLogProxy(logger, fallback=stream)
    logger.addHandler(logging.StreamHandler(proxy))
    print("größer", file=proxy)
    stream.seek(0)
    assert stream.read() == "gr\\xf6\\xdfer\n"


def test_a_handler_that_closes_another_stream_makes_no_loop_either(kept: Kept) -> None:
    """A handler may use up another such stream; what it writes then is still not logged again."""

    class Closing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            FileLogProxy(make_logger(kept)).close()
            stream.write(f"handled {record.getMessage()}\n")

    real = io.StringIO()
    stream = FileLogProxy(make_logger(Closing(), kept), fallback=real)
    stream.write("hello\n")
    assert real.getvalue() == "handled hello\n"
    assert kept.messages == ["hello"]


def test_a_stream_that_is_dropped_logs_nothing(kept: Kept) -> None:
    """Garbage is collected at any moment, also within a handler, so nothing is logged by it."""
    proxy: FileLogProxy | None = FileLogProxy(make_logger(kept))
    assert proxy is not None
    proxy.write("unfinished")
    gone = weakref.ref(proxy)
    proxy = None
    gc.collect()
    assert gone() is None
    assert kept.messages == []


def test_the_report_about_a_broken_handler_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """`logging` reports a handler that fails on stderr; redirected, this reaches the real one."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                raise RuntimeError("broken handler")
            except RuntimeError:
                self.handleError(record)

    real = io.StringIO()
    monkeypatch.setattr(sys, "stderr", real)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    with redirect_stdouts(make_logger(Broken())):
        print("hello")  # noqa: T201
    assert "RuntimeError: broken handler" in real.getvalue()
    assert "'hello'" in real.getvalue()


def test_a_handler_without_a_stream_to_fall_back_on_is_silent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kept: Kept
) -> None:
    """Where the process has no stderr, what a handler writes to the stream is left away, and others get it all the same."""
    monkeypatch.setattr(sys, "__stderr__", None)
    monkeypatch.setattr(logging.Handler, "handleError", refuse)
    logger = make_logger()
    proxy = FileLogProxy(logger)
    logger.addHandler(logging.StreamHandler(proxy))
    logger.addHandler(kept)
    proxy.write("hello\n")
    assert kept.messages == ["hello"]
    assert capsys.readouterr() == ("", "")


def refuse(
    handler: logging.Handler, record: logging.LogRecord
) -> None:  # pragma: no cover - it is not to be called
    """Take the place of what keeps silent about the errors of handlers."""
    raise AssertionError(record.getMessage())


def test_logging_goes_on_after_a_handler_raised(kept: Kept) -> None:
    """An error that leaves a handler leaves the write, and the next line is logged as ever."""

    class Once(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == "bad":
                raise KeyboardInterrupt

    proxy = FileLogProxy(make_logger(kept, Once()), fallback=io.StringIO())
    with pytest.raises(KeyboardInterrupt):
        proxy.write("bad\n")
    proxy.write("good\n")
    assert kept.messages == ["bad", "good"]


def test_stdout_and_stderr_are_redirected_and_restored(kept: Kept) -> None:
    """In the block both streams are the one that is yielded, after it what they were."""
    stdout, stderr = sys.stdout, sys.stderr
    with pytest.raises(KeyError), redirect_stdouts(make_logger(kept), severity="info") as proxy:
        assert sys.stdout is sys.stderr is proxy
        print("out")  # noqa: T201
        sys.stderr.write("err\n")
        raise KeyError
    assert kept.messages == ["out", "err"]
    assert {record.levelname for record in kept.records} == {"INFO"}
    assert (sys.stdout, sys.stderr) == (stdout, stderr)


@pytest.mark.parametrize(("stdout", "stderr"), [(True, False), (False, True), (False, False)])
def test_either_stream_can_be_left_alone(stdout: bool, stderr: bool, kept: Kept) -> None:
    """Only the streams that were asked for are redirected."""
    old = sys.stdout, sys.stderr
    with redirect_stdouts(make_logger(kept), stdout=stdout, stderr=stderr) as proxy:
        assert (sys.stdout is proxy, sys.stderr is proxy) == (stdout, stderr)
    assert (sys.stdout, sys.stderr) == old


def test_the_rest_is_logged_when_the_block_ends(kept: Kept) -> None:
    """A line without a newline is not lost, and who kept the stream can still write to it."""
    with redirect_stdouts(make_logger(kept)) as proxy:
        print("rest", end="")  # noqa: T201
        assert kept.messages == []
    assert kept.messages == ["rest"]
    proxy.write("late\n")
    assert kept.messages == ["rest", "late"]


def test_a_stream_that_someone_else_replaced_is_left_alone(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who replaced stdout in the block keeps it; stderr is restored all the same."""
    stderr, theirs = sys.stderr, io.StringIO()
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with redirect_stdouts(make_logger(kept)):
        sys.stdout = theirs
    assert sys.stdout is theirs
    assert sys.stderr is stderr


def test_redirections_can_be_nested(kept: Kept) -> None:
    """The inner block takes the output, and after it the outer one does again."""
    inner = Kept()
    with redirect_stdouts(make_logger(kept)):
        with redirect_stdouts(make_logger(inner)):
            print("in")  # noqa: T201
        print("out")  # noqa: T201
    assert (kept.messages, inner.messages) == (["out"], ["in"])


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_redirections_may_end_in_any_order(order: tuple[int, ...]) -> None:
    """The newest that is left takes the output, and after the last one the streams are what they were."""
    before = sys.stdout, sys.stderr
    everyone = [Kept() for _ in order]
    blocks = [redirect_stdouts(make_logger(kept)) for kept in everyone]
    for block in blocks:
        block.__enter__()
    there = list(range(3))
    expected: list[list[str]] = [[] for _ in order]
    for leaving in order:
        print(leaving)  # noqa: T201
        expected[there[-1]].append(str(leaving))
        blocks[leaving].__exit__(None, None, None)
        there.remove(leaving)
    assert (sys.stdout, sys.stderr) == before
    assert [kept.messages for kept in everyone] == expected


def test_what_handlers_write_goes_to_the_redirected_stream_s_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a handler prints ends up on the stream that was there before the block."""

    class Printing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print("handled", record.getMessage())  # noqa: T201

    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with redirect_stdouts(make_logger(Printing()), stderr=False):
        print("a")  # noqa: T201
    with redirect_stdouts(make_logger(Printing())):
        print("b")  # noqa: T201
    assert (out.getvalue(), err.getvalue()) == ("handled a\n", "handled b\n")


def test_there_is_a_logger_for_redirected_output(caplog: pytest.LogCaptureFixture) -> None:
    """Without a logger, output goes to the one named after what it is for."""
    with redirect_stdouts():
        print("x")  # noqa: T201
    assert redirect_logger.name == "structmode.redirect"
    assert caplog.record_tuples == [("structmode.redirect", logging.WARNING, "x")]
