"""The thread that rings alarms, and the one that writes reports: what holds whoever uses them."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from structmode.utils import _watchdog
from structmode.utils._watchdog import Alarm, Watchdog

#: Longer than anything that a test waits for may take, in seconds.
PATIENCE = 30.0
#: Longer than any test takes, in seconds: nothing here waits for it to pass.
FOREVER = 3600.0


@contextmanager
def ended(watchdog: Watchdog) -> Iterator[None]:
    """Wait for the end of the thread."""
    thread = watchdog._thread
    yield
    assert thread is not None
    thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.fixture
def watchdog(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watchdog]:
    """A watchdog of the test's own, which is gone at the end of it."""
    monkeypatch.setattr(_watchdog, "LINGER", 0.01)
    watchdog = Watchdog("structmode watchdog of a test")
    yield watchdog
    for _, _, alarm in list(watchdog._alarms):
        alarm.cancel()
    thread = watchdog._thread
    if thread is not None:
        watchdog.call_soon(lambda: None)  # what is cancelled wakes nobody
        thread.join(PATIENCE)
        assert not thread.is_alive()


class Rings(list[str]):
    """What has rung, in order."""

    def of(self, name: str) -> Callable[[], None]:
        """Return what an alarm calls."""
        return lambda: self.append(name)


def test_alarms_ring_in_the_order_of_their_times(watchdog: Watchdog) -> None:
    """Whatever order they were set in; those of one time in the order they were set."""
    rings = Rings()
    held = threading.Event()
    watchdog.call_soon(lambda: held.wait(PATIENCE))
    for name, seconds in (("c", 0.02), ("a", 0.0), ("d", 0.03), ("b", 0.01)):
        watchdog.call_later(seconds, rings.of(name))
    watchdog.call_later(-1.0, rings.of("a2"))
    watchdog.call_soon(rings.of("first"))
    watchdog.call_soon(rings.of("second"))
    held.set()
    assert watchdog.join(PATIENCE)
    assert rings == ["first", "second", "a", "a2", "b", "c", "d"]


def test_an_earlier_alarm_wakes_the_thread(watchdog: Watchdog) -> None:
    """The thread does not oversleep one that was set while it slept for a later one."""
    rang = threading.Event()
    watchdog.call_later(FOREVER, rang.set)
    watchdog.call_later(0.0, rang.set)
    assert rang.wait(PATIENCE)


def test_a_cancelled_alarm_does_not_ring(watchdog: Watchdog) -> None:
    """Not the first, not one in between; to cancel one again, or one that has rung, does nothing."""
    rings = Rings()
    held = threading.Event()
    watchdog.call_soon(lambda: held.wait(PATIENCE))
    alarms = [watchdog.call_later(0.0, rings.of(name)) for name in "abcd"]
    for alarm in (alarms[0], alarms[2], alarms[2]):
        alarm.cancel()
    held.set()
    assert watchdog.join(PATIENCE)
    alarms[1].cancel()
    assert rings == ["b", "d"]


def test_cancelled_alarms_are_not_kept(watchdog: Watchdog) -> None:
    """A program that sets and cancels one alarm after the other keeps none of them."""
    ringing: list[Alarm] = [watchdog.call_later(FOREVER, lambda: None)]
    for _ in range(10_000):
        watchdog.call_later(FOREVER, lambda: None).cancel()
    assert len(watchdog._alarms) < 200
    assert not ringing[0].off


def test_alarms_can_be_set_and_cancelled_in_the_middle_of_anything(
    watchdog: Watchdog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Garbage collection may close a generator in which one is set at any moment, also while the same thread sets another."""
    begin = threading.Thread
    rings = Rings()
    closed = watchdog.call_later(FOREVER, rings.of("closed"))
    finalisers = [lambda: watchdog.call_later(0.0, rings.of("report")), closed.cancel]

    def collecting(**kwargs: Any) -> threading.Thread:
        while finalisers:
            finalisers.pop()()
        return begin(**kwargs)

    with ended(watchdog):
        closed.cancel()
        watchdog.call_soon(lambda: None)
    closed.off = False
    monkeypatch.setattr(threading, "Thread", collecting)
    setting = begin(target=watchdog.call_later, args=(0.0, rings.of("rang")), daemon=True)
    setting.start()
    setting.join(PATIENCE / 10)
    assert not setting.is_alive()
    assert watchdog.join(PATIENCE)
    assert sorted(rings) == ["rang", "report"]


def test_an_alarm_at_infinity_never_rings(watchdog: Watchdog) -> None:
    """To wait for ever is no mistake."""
    rang = threading.Event()
    watchdog.call_later(float("inf"), rang.set)
    watchdog.call_soon(lambda: None)
    assert not watchdog.join(0.05)
    assert not rang.is_set()


def test_an_alarm_that_fails_harms_no_other(
    watchdog: Watchdog, caplog: pytest.LogCaptureFixture
) -> None:
    """What it raises is logged, with its traceback, and the next one rings."""
    rings = Rings()

    def fail() -> None:
        raise ValueError("an alarm")

    watchdog.call_soon(fail)
    watchdog.call_later(0.0, rings.of("next"))
    assert watchdog.join(PATIENCE)
    assert rings == ["next"]
    [record] = caplog.records
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "an alarm"


def test_the_thread_ends_when_nothing_is_left_and_begins_anew(watchdog: Watchdog) -> None:
    """It is there while there are alarms, and a little longer."""
    for _ in range(2):
        rang = threading.Event()
        watchdog.call_later(0.0, rang.set)
        with ended(watchdog):
            assert rang.wait(PATIENCE)


def test_any_thread_may_set_and_cancel(watchdog: Watchdog) -> None:
    """Of many alarms that many threads set and cancel at a time, each rings once, or was cancelled."""
    rings = Rings()

    def hammer(name: str) -> None:
        for number in range(200):
            alarm = watchdog.call_later(0.0001 * (number % 7), rings.of(f"{name}{number}"))
            if number % 3 == 0:
                alarm.cancel()

    threads = [threading.Thread(target=hammer, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert watchdog.join(PATIENCE)
    assert len(rings) == len(set(rings))
    expected = {f"{name}{number}" for name in "abcd" for number in range(200) if number % 3}
    assert expected <= set(rings)


class Clock:
    """Stands for `time`: an interval in which the process was suspended, or was busy."""

    def __init__(self, used: float) -> None:
        self.passed = 0.0
        self.used = used

    def monotonic(self) -> float:
        """Tell the time."""
        return time.monotonic() + self.passed

    def process_time(self) -> float:
        """Tell how much of the processor has been used."""
        return self.passed * self.used


@pytest.mark.slow
@pytest.mark.parametrize(("used", "counts"), [(0.0, False), (0.01, False), (0.5, True)])
def test_time_in_which_the_process_can_not_run_does_not_count(
    watchdog: Watchdog, monkeypatch: pytest.MonkeyPatch, used: float, counts: bool
) -> None:
    """A sleep that lasted too long, in which the process used hardly any processor, was a suspension."""
    clock, rang = Clock(used), threading.Event()
    monkeypatch.setattr(_watchdog, "time", clock)
    watchdog.call_later(FOREVER, rang.set)
    watchdog.call_later(0.5, lambda: None)  # in the sleep for this one, an age passes
    time.sleep(0.1)
    clock.passed = 2 * FOREVER
    assert rang.wait(PATIENCE if counts else 0.7) == counts
    assert (watchdog.suspended > FOREVER) != counts


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_has_a_thread_of_its_own(watchdog: Watchdog) -> None:
    """The child leaves the parent's alarms behind, also if the lock was held, and can set its own."""
    watchdog.call_later(FOREVER, lambda: None)
    with watchdog._changed:
        child = os.fork()
        if child == 0:  # pragma: no cover - it leaves without a word
            rang = threading.Event()
            only = len(watchdog._alarms) == 0
            watchdog.call_later(0.0, rang.set)
            os._exit(0 if rang.wait(PATIENCE) and only else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert len(watchdog._alarms) == 1


def test_reports_are_written_one_after_the_other(caplog: pytest.LogCaptureFixture) -> None:
    """In the order in which they were asked for, in a thread that is not the caller's."""
    caplog.set_level(logging.INFO)
    done = threading.Event()
    for number in range(20):
        _watchdog.write_soon(lambda number=number: logging.info("report %d", number))  # type: ignore[misc] # noqa: LOG015
    _watchdog.write_soon(done.set)
    assert done.wait(PATIENCE)
    assert caplog.messages == [f"report {number}" for number in range(20)]
    assert {record.threadName for record in caplog.records} == {"structmode watchdog: reports"}


def test_an_alarm_does_not_wait_for_itself(watchdog: Watchdog) -> None:
    """Who waits for all alarms in one of them is told at once that they are not over."""
    answers: list[bool] = []
    watchdog.call_soon(lambda: answers.append(watchdog.join(PATIENCE)))
    assert watchdog.join(PATIENCE / 2)
    assert answers == [False]
