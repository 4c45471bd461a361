"""The faults of mode's blocking detector, by their numbers in the survey: each test states the opposite of one."""

from __future__ import annotations

import functools
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest

from structmode import Service, Worker
from structmode.debug import Blocking, BlockingDetector
from structmode.utils import _watchdog

pytestmark = pytest.mark.usefixtures("blocking_allowed")

#: A timeout so short that a test can wait for several of them, in seconds.
SHORT = 0.05
#: Longer than anything that a test waits for may take, in seconds.
PATIENCE = 30.0


class Reported(logging.Handler):
    """Knows how often it was reported that a loop is blocked."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "Blocked for" in record.getMessage():
            self.texts.append(record.getMessage())

    def block(self, count: int = 1) -> None:
        """Block the calling thread until there are so many reports."""
        deadline = time.monotonic() + PATIENCE
        while len(self.texts) < count:
            assert time.monotonic() < deadline, "it is not reported"
            time.sleep(0.002)


@pytest.fixture
def reported() -> Iterator[Reported]:
    """What is reported in a test."""
    handler = Reported()
    logging.root.addHandler(handler)
    yield handler
    assert _watchdog._reports.join(PATIENCE)
    logging.root.removeHandler(handler)


def compute_for(seconds: float) -> None:  # pragma: no cover - not traced
    """Compute without end, unless something is raised here."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pass


class Job(Service):
    """Blocks, and ends."""

    def __init__(self, block: Callable[[], object]) -> None:
        self.block = block
        self.went_on = False
        super().__init__()

    @Service.task
    async def work(self) -> None:
        self.block()
        self.went_on = True


@pytest.mark.fault("E3")
@pytest.mark.parametrize("backend", ["asyncio", "asyncio+uvloop", "trio"])
def test_e03_a_worker_starts_its_detector(backend: str, reported: Reported) -> None:
    """A worker with debug looks out for a blocked loop, without anybody calling anything."""
    job = Job(reported.block)
    settings: dict[str, Any] = {"debug": True, "blocking_timeout": SHORT, "daemon": False}
    with pytest.raises(SystemExit) as caught:
        Worker(job, override_logging=False, backend=backend, **settings).execute_from_commandline()
    assert caught.value.code == 0
    assert "busy in Job.work, here:" in reported.texts[0]


@pytest.mark.fault("E4")
async def test_e04_no_signal_and_no_timer_of_the_process_is_taken(reported: Reported) -> None:
    """What the program does with SIGALRM is its own business, while a detector runs and reports."""
    if not hasattr(signal, "setitimer"):  # pragma: no cover - on Windows
        pytest.skip("Windows has no interval timer that a detector could take")
    began = time.monotonic()
    handler, (left, interval) = (
        signal.getsignal(signal.SIGALRM),
        signal.getitimer(signal.ITIMER_REAL),
    )
    async with BlockingDetector(SHORT):
        reported.block()
        assert signal.getsignal(signal.SIGALRM) == handler
        left_now, interval_now = signal.getitimer(signal.ITIMER_REAL)
    assert interval_now == interval
    # The test runner may have set a timer, which goes on; where it has set none, there is none.
    assert max(0.0, left - (time.monotonic() - began)) <= left_now <= left


@pytest.mark.fault("E4")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_e04_it_works_outside_of_the_main_thread(backend: str, reported: Reported) -> None:
    """The event loop may run in any thread, also to be interrupted there."""
    crashed: list[BaseException] = []

    def compute() -> None:  # pragma: no cover - not traced
        sys.settrace(None)  # nothing is raised under coverage; the thread is the test's own
        compute_for(PATIENCE)

    async def main() -> None:
        try:
            async with BlockingDetector(SHORT, raises=Blocking) as detector:
                await detector.add_runtime_dependency(Job(compute))
                await anyio.sleep_forever()  # pragma: no cover - it may have crashed before
        except Blocking as exc:  # pragma: no cover - not traced
            crashed.append(exc)

    thread = threading.Thread(target=functools.partial(anyio.run, main, backend=backend))
    thread.start()
    thread.join(PATIENCE)
    assert [type(exc) for exc in crashed] == [Blocking]


@pytest.mark.fault("E4")
async def test_e04_nothing_is_raised_into_code_that_did_not_ask_for_it(
    reported: Reported,
) -> None:
    """By default what blocks is reported, and goes on to its end."""
    job = Job(lambda: reported.block(2))
    detector = BlockingDetector(SHORT)
    assert detector.raises is None
    async with detector:
        await detector.add_runtime_dependency(job)
        while not job.went_on:
            await anyio.sleep(0.002)  # pragma: no cover - it is over, most often
        assert job.state == "running"
