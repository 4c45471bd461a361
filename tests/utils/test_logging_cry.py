"""The stacks of all tasks and all threads, also from within a signal handler."""

from __future__ import annotations

import _thread
import io
import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.to_thread
import pytest

from structmode import Service
from structmode.utils.logging import cry


@contextmanager
def waiting_thread(daemon: bool = False) -> Generator[threading.Thread, None, None]:
    """A thread that waits in a function of a telling name."""
    running, release = threading.Event(), threading.Event()

    def sit_and_wait() -> None:
        running.set()
        release.wait(30)

    thread = threading.Thread(target=sit_and_wait, name="the-waiting-one", daemon=daemon)
    thread.start()
    try:
        assert running.wait(30)
        yield thread
    finally:
        release.set()
        thread.join(30)


def cried(**kwargs: Any) -> str:
    """What `cry` writes."""
    file = io.StringIO()
    cry(file, **kwargs)
    return file.getvalue()


def part_of(text: str, name: str) -> str:
    """The part of the text about one thread."""
    [part] = [part for part in text.split("=" * 49 + "\n") if part.startswith(name)]
    return part


def test_every_thread_is_shown_with_its_stack() -> None:
    """The text has a part for each thread: its name, its ident, and where it is."""
    with waiting_thread() as thread:
        text = cried()
    waiting = part_of(text, "the-waiting-one")
    assert waiting.startswith(f"the-waiting-one ({thread.ident})\n" + "-" * 49)
    assert "in sit_and_wait" in waiting
    assert waiting.endswith("\n" + "~" * 49 + "\n")
    main = part_of(text, threading.current_thread().name)
    assert "test_every_thread_is_shown_with_its_stack" in main


def test_the_current_thread_ends_with_the_caller() -> None:
    """The stack of the calling thread ends where `cry` was called, and it is marked."""
    main = part_of(cried(), threading.current_thread().name)
    assert f"({threading.get_ident()}, current)" in main.splitlines()[0]
    calls = [line for line in main.splitlines() if line.startswith("  File")]
    assert calls[-1].endswith("in cried")


def test_a_daemon_thread_is_marked() -> None:
    """A thread that will not keep the process alive is shown as such."""
    with waiting_thread(daemon=True) as thread:
        assert f"the-waiting-one ({thread.ident}, daemon)" in cried()


def test_a_thread_unknown_to_threading_is_shown() -> None:
    """A thread that was not started through `threading` has a part too."""
    running, release, ended = threading.Event(), threading.Event(), threading.Event()

    def low_level() -> None:  # pragma: no cover - what threading has not started is not traced
        running.set()
        release.wait(30)
        ended.set()

    ident = _thread.start_new_thread(low_level, ())
    assert running.wait(30)
    text = cried()
    release.set()
    assert ended.wait(30)
    part = part_of(text, f"Thread {ident} (not started by Python)")
    assert "in low_level" in part


def test_the_separators_can_be_chosen() -> None:
    """The three separators and their length are those that were given."""
    lines = cried(sep1="A", sep2="B", sep3="C", seplen=3).splitlines()
    assert lines[0] == "AAA"
    assert lines[2] == "BBB"
    assert lines[-1] == "CCC"


def test_local_variables_are_not_shown() -> None:
    """Nothing but the lines of the program is shown: the value of a local may be secret."""

    class Secret:
        def __repr__(self) -> str:
            return "-".join(["very", "secret"])

    local = Secret()
    text = cried()
    assert "very-secret" not in text
    assert repr(local) == "very-secret"


@pytest.fixture
def cry_on_signal() -> Generator[list[Any], None, None]:
    """SIGINT makes the process cry to the file in the list."""
    files: list[Any] = []

    def handler(_number: int, _frame: object) -> None:
        cry(files[0])

    old = signal.signal(signal.SIGINT, handler)
    yield files
    signal.signal(signal.SIGINT, old)


def test_it_can_be_called_from_a_signal_handler(cry_on_signal: list[Any]) -> None:
    """In a signal handler, the stack shows what was interrupted."""
    file = io.StringIO()
    cry_on_signal.append(file)

    def interrupted() -> None:
        signal.raise_signal(signal.SIGINT)

    interrupted()
    assert "in interrupted" in file.getvalue()


def test_it_can_interrupt_a_write_to_the_same_file(cry_on_signal: list[Any]) -> None:
    """A handler that interrupts a write to its own file still gets the text out."""
    reader, writer = os.pipe()

    class Interrupted(io.RawIOBase):
        """A file whose write is interrupted by the signal, each time."""

        def writable(self) -> bool:
            return True

        def fileno(self) -> int:
            return writer

        def write(self, data: Any, /) -> int:
            signal.raise_signal(signal.SIGINT)
            return len(data)

    file = io.TextIOWrapper(io.BufferedWriter(Interrupted()), encoding="utf-8")
    cry_on_signal.append(file)
    file.write("something")
    file.flush()
    os.close(writer)
    with open(reader, encoding="utf-8") as end:
        text = end.read()
    assert "in test_it_can_interrupt_a_write_to_the_same_file" in text


@contextmanager
def called(name: str) -> Generator[None, None, None]:
    """Have the current thread go by a name."""
    thread = threading.current_thread()
    before, thread.name = thread.name, name
    try:
        yield
    finally:
        thread.name = before


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_the_file_has_no_code_for_is_escaped(encoding: str) -> None:
    """Whatever the names of threads have in them, the text gets out."""
    name = "Kühlung ✓ \udc80"
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    with called(name):
        cry(file)
    file.seek(0)
    assert name.encode(encoding, "backslashreplace").decode(encoding) in file.read()


def test_a_file_that_does_not_say_what_it_has_codes_for_gets_ascii() -> None:
    """Nothing else is sure to be taken."""

    class Teletype(io.StringIO):
        def write(self, text: str, /) -> int:
            return super().write(text.encode("ascii").decode())

    file = Teletype()
    with called("Kühlung"):
        cry(file)
    assert "K\\xfchlung" in file.getvalue()


def test_another_error_of_the_file_is_not_hidden() -> None:
    """A file that can't be written to at all is an error, as everywhere."""
    file = io.StringIO()
    file.close()
    with pytest.raises(ValueError, match="closed"):
        cry(file)


# --- Tasks ----------------------------------------------------------------------------------------


async def wait_in_a_function_of_a_telling_name(begun: anyio.Event) -> None:
    """Wait for ever."""
    begun.set()
    await anyio.sleep_forever()


async def test_tasks_are_shown_with_their_stacks() -> None:
    """On every event loop: each task that waits, where it waits, and the calling one, up to the call."""
    begun = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(wait_in_a_function_of_a_telling_name, begun, name="the waiting task")
        await begun.wait()
        text = cried()
        group.cancel_scope.cancel()
    waiting = part_of(text, "Task the waiting task (")
    assert "in wait_in_a_function_of_a_telling_name" in waiting
    assert waiting.endswith("\n" + "~" * 49 + "\n")
    [current] = [part for part in text.split("=" * 49 + "\n") if ", current)\n" in part][:1]
    assert current.startswith("Task ")
    assert "in test_tasks_are_shown_with_their_stacks" in current
    calls = [line for line in current.splitlines() if line.startswith("  File")]
    assert calls[-1].endswith("in cried")


class Sleeper(Service):
    """Has a task of its own."""

    def __init__(self) -> None:
        self.begun = anyio.Event()
        super().__init__()

    @Service.task
    async def sleep_well(self) -> None:
        await wait_in_a_function_of_a_telling_name(self.begun)


async def test_the_tasks_of_services_are_shown_without_what_runs_them() -> None:
    """The first line of the stack is the program's own."""
    async with Sleeper() as sleeper:
        await sleeper.begun.wait()
        part = part_of(cried(), "Task Sleeper.sleep_well (")
    first = next(line for line in part.splitlines() if line.startswith("  File"))
    assert first.endswith("in sleep_well")


async def test_a_thread_without_an_event_loop_tells_no_tasks() -> None:
    """They are those of an event loop that can't be looked at from there."""
    text = await anyio.to_thread.run_sync(cried)
    assert "\nTask " not in text
    assert threading.current_thread().name in text


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there is no interval timer")
async def test_tasks_are_shown_from_a_signal_handler_of_an_idle_loop() -> None:
    """The signal comes while the event loop waits, so that no task runs."""
    file, cried_out, begun = io.StringIO(), threading.Event(), anyio.Event()

    def handler(_number: int, _frame: object) -> None:
        cry(file)
        cried_out.set()

    old = signal.signal(signal.SIGALRM, handler)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(wait_in_a_function_of_a_telling_name, begun, name="the waiting task")
            await begun.wait()
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            while not cried_out.is_set():
                await anyio.sleep(0.05)
            group.cancel_scope.cancel()
    finally:
        signal.signal(signal.SIGALRM, old)
    assert "in wait_in_a_function_of_a_telling_name" in part_of(
        file.getvalue(), "Task the waiting task ("
    )
