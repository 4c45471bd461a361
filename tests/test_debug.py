"""What blocks an event loop is reported, by whom and where; on every event loop, and in any thread.

A test that blocks the loop does so until it has seen what it waits for: no test asks how long anything took.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from structmode import Service, debug
from structmode.debug import Blocking, BlockingDetector
from structmode.events import LifecycleEvent, Stopping, subscribe
from structmode.exceptions import StructmodeError
from structmode.testing import Deadlock, VirtualClock, virtual_backend
from structmode.utils import _watchdog

pytestmark = pytest.mark.usefixtures("blocking_allowed")

#: A timeout so short that a test can wait for several of them, in seconds.
SHORT = 0.05
#: Longer than anything that a test waits for may take, in seconds.
PATIENCE = 30.0


class Reports(logging.Handler):
    """What the detectors have said."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "locked" in str(record.msg):
            self.records.append(record)

    def texts(self, part: str = "locked") -> list[str]:
        """Return the messages that have `part` in them, in order."""
        return [text for text in (record.getMessage() for record in self.records) if part in text]

    def block_until(self, part: str, count: int = 1) -> None:
        """Block the calling thread until as many such messages are there."""
        block_until(lambda: len(self.texts(part)) >= count)

    async def wait_for(self, part: str) -> None:
        """Wait until there is such a message, without blocking."""
        while not self.texts(part):  # noqa: ASYNC110 - it comes from a thread that knows no event loop
            await anyio.sleep(0.005)


def block_until(done: Callable[[], bool]) -> None:
    """Block the calling thread until something has come about."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.002)


@contextmanager
def untraced() -> Iterator[None]:  # pragma: no cover - not traced
    """Have no tracer look at what is called inside: a detector raises nothing under one, and coverage is one."""
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracer)


def compute() -> None:  # pragma: no cover - not traced
    """Block the calling thread in Python code that never waits."""
    with untraced():
        compute_for(PATIENCE)


def compute_for(seconds: float) -> None:  # pragma: no cover - not traced
    """Compute without end, unless something is raised here."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pass


@pytest.fixture
def reports() -> Iterator[Reports]:
    """What the detectors say in a test."""
    handler = Reports()
    logging.root.addHandler(handler)
    yield handler
    assert _watchdog._reports.join(PATIENCE)
    logging.root.removeHandler(handler)


class Blocker(Service):
    """Blocks the event loop in a task, or in a hook."""

    def __init__(self, block: Callable[[], object], *, hook: bool = False) -> None:
        self.block = block
        self.hook = hook
        self.done = anyio.Event()
        super().__init__()

    async def on_started(self) -> None:
        if self.hook:
            self.block()

    @Service.task
    async def work(self) -> None:
        if not self.hook:
            await self.call_it()
        self.done.set()

    async def call_it(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.block()


class House(Service):
    """Has a detector, and whatever else."""

    def __init__(
        self, *others: Service, timeout: Any = SHORT, raises: type[BaseException] | None = None
    ) -> None:
        self.others = others
        self.detector = BlockingDetector(timeout, raises)
        super().__init__()

    def __post_init__(self) -> None:
        for service in (self.detector, *self.others):
            self.add_dependency(service)


# --- Who, and where -------------------------------------------------------------------------------


async def test_a_task_that_blocks_is_reported_with_its_name_and_its_stack(
    reports: Reports,
) -> None:
    """The report names the thread, and the task; the stack goes from the task to the line that blocks."""
    blocker = Blocker(lambda: reports.block_until("Blocked for"))
    async with House(blocker):
        await blocker.done.wait()
        await reports.wait_for("No longer blocked")
    first = reports.texts("Blocked for")[0]
    thread = threading.current_thread().name
    assert f"the event loop of thread {thread} is busy in Blocker.work, here:\n" in first
    calls = [line.rsplit(" in ", 1)[-1] for line in first.splitlines() if "File " in line]
    assert calls[:2] == ["work", "call_it"]
    assert "block_until" in calls
    assert calls.index("call_it") < calls.index("block_until")
    assert {record.levelname for record in reports.records} == {"WARNING"}


async def test_a_hook_that_blocks_is_named(reports: Reports) -> None:
    """What blocks in a hook is reported as that hook of that service."""
    async with House(Blocker(lambda: reports.block_until("Blocked for"), hook=True)):
        pass
    assert "is busy in Blocker.on_started, here:\n" in reports.texts("Blocked for")[0]


async def test_a_loop_that_is_blocked_at_once_is_reported(reports: Reports) -> None:
    """Nothing has to turn between the start of the detector and the blocking."""

    class Hasty(BlockingDetector):
        async def on_start(self) -> None:
            await super().on_start()
            reports.block_until("Blocked for")

    async with Hasty(SHORT):
        pass
    assert "is busy in Hasty.on_start, here:\n" in reports.texts("Blocked for")[0]


async def test_code_outside_of_services_is_reported_without_a_name(reports: Reports) -> None:
    """What is no service's is there with its stack."""
    async with BlockingDetector(SHORT):
        reports.block_until("Blocked for")
    first = reports.texts("Blocked for")[0]
    assert "is busy, here:\n" in first
    assert "test_code_outside_of_services_is_reported_without_a_name" in first


async def test_a_callback_of_the_loop_is_reported(reports: Reports) -> None:
    """What blocks in no task at all, but in something that a thread has the loop call, is reported, too."""

    def called_by_a_thread() -> None:
        reports.block_until("Blocked for")

    async with BlockingDetector(SHORT, raises=Blocking):
        await anyio.to_thread.run_sync(anyio.from_thread.run_sync, called_by_a_thread)
    assert "called_by_a_thread" in reports.texts("Blocked for")[0]


def test_any_thread_will_do(reports: Reports, backend_name: str) -> None:
    """An event loop beside the main thread is looked after just as well, and its thread is named."""

    async def main() -> None:
        async with House(Blocker(lambda: reports.block_until("Blocked for"))) as house:
            await house.others[0].done.wait()  # type: ignore[attr-defined]

    run = functools.partial(anyio.run, main, backend=backend_name)
    thread = threading.Thread(target=run, name="a thread of its own")
    thread.start()
    thread.join(PATIENCE)
    assert "the event loop of thread a thread of its own is busy in Blocker.work" in "".join(
        reports.texts("Blocked for")
    )


@pytest.fixture(params=["asyncio", "trio"])
def backend_name(request: pytest.FixtureRequest) -> str:
    """Name of the backend that a test runs itself."""
    name: str = request.param
    return name


# --- How often ------------------------------------------------------------------------------------


async def test_one_blocking_is_reported_less_and_less_often(reports: Reports) -> None:
    """Each report comes when twice the time of the one before has passed; then one line says how long it was."""
    async with House(Blocker(lambda: reports.block_until("Blocked for", 4))):
        await reports.wait_for("No longer blocked")
    args: list[Any] = [record.args for record in reports.records]
    seconds = [arg[0] for arg in args]
    assert all(after > before for before, after in itertools.pairwise(seconds))
    for count, passed in enumerate(seconds[:4]):
        assert passed >= SHORT * 2**count
    *earlier, last = reports.texts()
    assert all(text.startswith("[^-BlockingDetector]: Blocked for ") for text in earlier)
    assert last.startswith("[^-BlockingDetector]: No longer blocked: it took ")


async def test_a_long_time_is_told_in_whole_seconds(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads 1.23e+03."""
    ahead = 0.0
    monkeypatch.setattr(debug, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + ahead))

    def block() -> None:
        nonlocal ahead
        reports.block_until("Blocked for")
        ahead = 1234.0
        reports.block_until("Blocked for 12")

    async with House(blocker := Blocker(block)):
        await blocker.done.wait()
        await reports.wait_for("No longer blocked")
    *_, told, last = reports.texts()
    assert re.search(r"Blocked for 12\d\d s: ", told)
    assert re.search(r"it took 12\d\d s$", last)


async def test_each_blocking_is_reported_anew(reports: Reports) -> None:
    """After one is over, the next is told of from the beginning."""

    class Twice(Service):
        @Service.task
        async def work(self) -> None:
            reports.block_until("Blocked for", 5)
            await reports.wait_for("No longer blocked")
            reports.records.clear()
            reports.block_until("Blocked for")
            await reports.wait_for("No longer blocked")
            ended.set()

    ended = anyio.Event()
    async with House(Twice()):
        await ended.wait()
    first: Any = reports.records[0].args
    assert first[0] < SHORT * 2**4  # when the fifth of the other one came
    assert reports.texts()[-1].startswith("[^-BlockingDetector]: No longer blocked: it took ")


async def test_a_detector_works_again_after_a_restart(reports: Reports) -> None:
    """A restarted detector looks out as the first one did."""
    detector = BlockingDetector(SHORT)
    async with detector:
        await detector.restart()
        reports.block_until("Blocked for")
        await reports.wait_for("No longer blocked")


async def test_a_stopped_detector_says_nothing(reports: Reports) -> None:
    """What blocks after the stop is nobody's business: a second detector sees it, the first does not."""
    first, second = BlockingDetector(SHORT), BlockingDetector(2 * SHORT)
    async with first:
        pass
    assert first.state == "shutdown"
    async with second:
        reports.block_until("Blocked for", 2)
    assert all(f"Blocked for {SHORT}" not in text for text in reports.texts())
    seconds: list[Any] = [record.args for record in reports.records if "Blocked" in record.msg]
    assert min(arg[0] for arg in seconds) >= 2 * SHORT


@pytest.mark.slow
async def test_an_idle_loop_is_not_reported(reports: Reports) -> None:
    """A loop with nothing to do answers, however long it has nothing to do."""
    async with House(timeout=1.0):
        await anyio.sleep(2.5)
    assert not reports.texts()


@pytest.mark.slow
async def test_code_in_c_that_lets_no_thread_run_is_reported_when_it_is_over(
    reports: Reports,
) -> None:
    """The watchdog can't run meanwhile either, but finds out."""
    many = 2_000_000
    async with House(timeout=0.15):
        began = time.monotonic()
        while time.monotonic() - began < 0.5:  # as many as take long enough on this machine
            many, began = 2 * many, time.monotonic()
            sum(range(many))
        await reports.wait_for("locked for")
    assert reports.texts()


@pytest.mark.slow
async def test_what_the_watchdog_could_not_see_is_reported_when_it_is_over(
    reports: Reports,
) -> None:
    """If the watchdog itself did not run while the loop was blocked, it says how long that was, and that it saw nothing."""
    began, free = threading.Event(), threading.Event()

    def hold_the_watchdog() -> None:
        began.set()
        while not free.is_set():  # one that waits would seem to have been suspended
            pass

    async with House(timeout=1.0):
        time.sleep(0.5)  # noqa: ASYNC251 - it is to block, so that a question is not answered
        _watchdog.alarms.call_soon(hold_the_watchdog)
        block_until(began.is_set)
        time.sleep(1.0)  # noqa: ASYNC251
        await anyio.sleep(SHORT)  # the loop answers
        free.set()
        await reports.wait_for("Was blocked for")
    [text] = reports.texts()
    assert "by something that let no other thread run, so nobody saw what it was" in text


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="there is no SIGSTOP")
def test_a_process_that_was_suspended_is_not_taken_for_blocked(
    backend_name: str, tmp_path: Path
) -> None:
    """While the process is stopped by SIGSTOP, neither a loop is blocked nor does a recorder's time pass; later they do."""
    program = tmp_path / "suspended.py"
    program.write_text(SUSPENDED, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, str(program), backend_name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for _ in range(2):
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(2.0)  # longer than the timeouts: it is the time of the suspension itself
            os.kill(process.pid, signal.SIGCONT)
            process.stdin.write("answer\n")
            process.stdin.flush()
            assert process.stdout.readline() == "it is well\n"
        process.stdin.write("block\n")
        process.stdin.flush()
        assert "Blocked for" in process.stdout.readline()
        process.kill()


SUSPENDED = """
import logging, sys, time
import anyio, anyio.to_thread
from structmode import flight_recorder
from structmode.debug import BlockingDetector

logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.WARNING)

async def main():
    async with BlockingDetector(0.5):
        print("ready", flush=True)
        while True:
            with flight_recorder(logging.root, timeout=1.0):
                if await anyio.to_thread.run_sync(sys.stdin.readline) != "answer\\n":
                    time.sleep(30)
                await anyio.sleep(0.1)
            print("it is well", flush=True)

anyio.run(main, backend=sys.argv[1])
"""


virtual_time = pytest.mark.parametrize(
    "anyio_backend",
    [
        pytest.param(tuple(virtual_backend("asyncio").values()), id="asyncio"),
        pytest.param(tuple(virtual_backend("trio").values()), id="trio"),
    ],
)


@virtual_time
async def test_a_virtual_clock_makes_no_difference(reports: Reports) -> None:
    """A virtual day in which nothing blocks is not reported; what blocks in real time is."""
    with VirtualClock():
        async with House(timeout=5 * SHORT):
            await anyio.sleep(86400.0)
            assert not reports.texts()
            reports.block_until("Blocked for")


@virtual_time
async def test_a_deadlock_under_a_virtual_clock_is_found_all_the_same() -> None:
    """The detector's questions wake no task, and are taken for nothing that might."""
    with pytest.raises(Deadlock):
        with VirtualClock():
            async with House():
                await anyio.sleep_forever()


@pytest.mark.slow
async def test_a_debugger_is_left_in_peace(reports: Reports) -> None:
    """While somebody debugs, the loop is blocked by him: that is no news, and a bad moment for an exception."""
    debugger: dict[str, Any] = {"__name__": "pdb", "wait": time.sleep}
    exec("def interact(): wait(0.4)", debugger)  # noqa: S102
    async with House(raises=Blocking) as house:
        debugger["interact"]()
        await anyio.sleep(2 * SHORT)
        assert house.state == "running"
    assert not reports.texts()


def test_a_loop_that_ends_without_a_stop_is_not_reported(
    backend_name: str, reports: Reports
) -> None:
    """Nobody turns any more, and nothing is blocked: the detector gives up."""
    pulses: list[Any] = []

    class Forgotten(BlockingDetector):
        async def on_start(self) -> None:
            pulses.append(self._make_pulse())
            pulses[0].begin()

    async def main() -> None:
        async with Forgotten(SHORT):
            pass

    anyio.run(main, backend=backend_name)
    block_until(lambda: pulses[0].is_over)
    assert not reports.texts()


# --- Raising --------------------------------------------------------------------------------------


async def test_nothing_is_raised_unless_asked_for(reports: Reports) -> None:
    """The blocking code goes on, to its end."""
    blocker = Blocker(lambda: reports.block_until("Blocked for", 2))
    async with House(blocker):
        await blocker.done.wait()
        assert blocker.state == "running"
    assert not any("raising" in text for text in reports.texts())


async def test_an_exception_is_raised_in_what_blocks(reports: Reports) -> None:
    """It ends Python code that would not end, and is then a crash like any other."""
    house = House(Blocker(compute), raises=Blocking)
    with pytest.raises(Blocking, match=r"^The event loop was blocked for too long\.$"):
        async with house:
            await anyio.sleep_forever()  # pragma: no cover - it may have crashed before
    await reports.wait_for("Blocked for")
    assert "is busy in Blocker.work (raising Blocking there), here:\n" in reports.texts()[0]


async def test_the_exception_can_be_chosen_and_caught(reports: Reports) -> None:
    """Whatever class it is, the code that blocks may catch it, and go on."""

    class Enough(Exception):
        pass

    caught: list[BaseException] = []

    def block() -> None:
        try:
            compute()
        except Enough as exc:
            caught.append(exc)

    blocker = Blocker(block)
    async with House(blocker, raises=Enough):
        await blocker.done.wait()
        assert blocker.state == "running"
    assert [type(exc) for exc in caught] == [Enough]


def test_a_callback_of_the_event_loop_is_not_interrupted(reports: Reports) -> None:
    """Where no coroutine runs, an exception would end the event loop: what blocks is reported, and no more."""

    def block() -> None:  # pragma: no cover - not traced
        with untraced():
            reports.block_until("Blocked for")

    async def main() -> None:
        async with House(raises=Blocking):
            asyncio.get_running_loop().call_soon(block)
            await reports.wait_for("Blocked for")

    anyio.run(main)


async def test_what_waits_in_c_gets_it_when_it_returns(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that waits outside of Python is not interrupted; the exception is there right after it."""
    went_on: list[str] = []
    lock = threading.Lock()
    lock.acquire()
    raise_in_thread = debug._raise_in_thread

    def raise_and_release(ident: int, exception: type[BaseException]) -> None:
        # Without a call of a Python function in between: CPython 3.11 can't make one in a thread that is traced, as long as
        # an exception waits for another.
        raise_in_thread(ident, exception)
        lock.release()

    monkeypatch.setattr(debug, "_raise_in_thread", raise_and_release)

    def wait() -> None:  # pragma: no cover - not traced
        lock.acquire()
        went_on.append("after the lock")

    def block() -> None:  # pragma: no cover - not traced
        with untraced():
            wait()

    with pytest.raises(Blocking):
        async with House(Blocker(block), raises=Blocking):
            await anyio.sleep_forever()  # pragma: no cover - it may have crashed before
    assert not went_on


async def test_nothing_is_raised_in_structmode_or_the_event_loop(reports: Reports) -> None:
    """What blocks in a function that structmode or the loop calls, in no coroutine of the program, is only reported."""

    def listen(event: LifecycleEvent) -> None:
        if isinstance(event, Stopping) and isinstance(event.subject, House):
            reports.block_until("Blocked for")

    unsubscribe = subscribe(listen)
    async with House(raises=Blocking):
        await anyio.to_thread.run_sync(
            anyio.from_thread.run_sync, lambda: reports.block_until("Blocked for")
        )
        reports.records.clear()
    unsubscribe()
    assert reports.texts("Blocked for")
    assert not any("raising" in text for text in reports.texts())


async def test_a_log_that_hangs_keeps_nobody_from_being_interrupted(reports: Reports) -> None:
    """Reports are written beside the watchdog, so it goes on when a log handler waits for ever."""
    free = threading.Event()

    class Hanging(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            free.wait(PATIENCE)

    hanging = Hanging()
    logger = logging.getLogger("structmode.debug")

    def block() -> None:
        logger.addHandler(hanging)
        try:
            compute()
        finally:
            logger.removeHandler(hanging)
            free.set()

    with pytest.raises(Blocking):
        async with House(Blocker(block), raises=Blocking):
            await anyio.sleep_forever()  # pragma: no cover - it may have crashed before
    await reports.wait_for("raising Blocking")


async def test_nothing_is_raised_under_a_tracer(reports: Reports) -> None:
    """Debuggers and coverage run code of their own between two lines: it is left alone, and the blocking is reported."""

    def trace(frame: object, event: str, argument: object) -> Any:  # pragma: no cover - a tracer
        return trace

    def block() -> None:
        tracer = sys.gettrace()
        sys.settrace(trace)
        try:
            reports.block_until("Blocked for")
        finally:
            sys.settrace(tracer)

    blocker = Blocker(block)
    async with House(blocker, raises=Blocking):
        await blocker.done.wait()
    assert not any("raising" in text for text in reports.texts())


# --- Arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "soon", None, True])
def test_a_timeout_that_is_none_is_refused(timeout: Any) -> None:
    """The timeout is a time above zero that ends, and the error says so when the detector is made."""
    with pytest.raises((TypeError, ValueError)):
        BlockingDetector(timeout)


def test_a_timeout_in_any_form_will_do() -> None:
    """As everywhere, a time may be a number, a timedelta or a string."""
    assert BlockingDetector(timeout="2.5").timeout == 2.5
    assert repr(BlockingDetector(10)) == "<BlockingDetector: init, timeout 10 s>"


class Demanding(Exception):
    """Can't be made without an argument."""

    def __init__(self, argument: object) -> None:  # pragma: no cover - it is not made
        super().__init__(argument)


@pytest.mark.parametrize(
    ("raises", "message"),
    [
        (Blocking("now"), "takes a class of exceptions, as in BlockingDetector"),
        (int, "takes a class of exceptions"),
        ("Blocking", "takes a class of exceptions"),
        (Demanding, r"can be made without arguments; Demanding\(\) says"),
    ],
)
def test_what_can_not_be_raised_is_refused(raises: Any, message: str) -> None:
    """The error says what would have been right when the detector is made."""
    with pytest.raises(TypeError, match=message):
        BlockingDetector(1.0, raises=raises)


def test_blocking_is_an_error_of_ours_and_of_mode() -> None:
    """Who catches RuntimeError, as it is in mode, catches it; and so does who catches all errors of structmode."""
    assert issubclass(Blocking, RuntimeError)
    assert issubclass(Blocking, StructmodeError)
    assert str(Blocking("for long")) == "for long"
