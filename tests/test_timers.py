"""Timers: the absolute schedule, late wake-ups, overruns, and `async for` over a timer."""

from __future__ import annotations

import logging
import math
from datetime import timedelta

import anyio
import pytest
import trio
import trio.testing
from hypothesis import given, strategies as st

from structmode.timers import Timer

LATE = "woke up too late"
EARLY = "woke up too early"
OVERLAPS = "overlaps"


class FakeTime:
    """A clock that stands still but for `sleep` and `pass_`."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.late = 0.0

    def clock(self) -> float:
        """Tell the time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Pass the time, plus `late` once, as a blocked event loop would."""
        assert seconds >= 0.0
        self.pass_(seconds + self.late)
        self.late = 0.0

    def pass_(self, seconds: float) -> None:
        """Pass some time."""
        self.now += seconds


def make_timer(time: FakeTime, interval: float = 1.0, **kwargs: float) -> Timer:
    """Make a timer named "T" on a fake clock."""
    return Timer(interval, name="T", clock=time.clock, sleep=time.sleep, **kwargs)


def wait_and_tick(timer: Timer, time: FakeTime, late: float = 0.0) -> float:
    """Wait for the next tick, wake up late, and return when that was."""
    time.pass_(timer.delay() + late)
    timer.tick()
    timer.on_before_yield()
    return time.now


def messages(caplog: pytest.LogCaptureFixture, part: str, level: int = logging.DEBUG) -> list[str]:
    """Return what the timers' logger said with `part` in it, at the level or above."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "structmode.timers"
        and record.levelno >= level
        and part in record.getMessage()
    ]


@pytest.fixture
def time() -> FakeTime:
    """A fake clock."""
    return FakeTime()


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="structmode.timers")


# --- Making one -----------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", [2.5, "2.5", timedelta(seconds=2.5), "2.5/s"])
def test_interval_forms(interval: float | str | timedelta) -> None:
    """An interval may be a number, a timedelta or a string; both its forms are kept."""
    timer = Timer(interval)
    assert timer.interval == interval
    assert timer.interval_s == 2.5


@pytest.mark.parametrize("interval", [0, -1.0, math.inf, "soon"])
def test_bad_interval(interval: float | str) -> None:
    """An interval that is not a positive duration is refused by name."""
    with pytest.raises(ValueError, match="timer interval"):
        Timer(interval)


@pytest.mark.parametrize("correction", [-0.1, math.inf, math.nan])
def test_bad_correction(correction: float) -> None:
    """A drift correction that is negative or no number is refused by name."""
    with pytest.raises(ValueError, match="max_drift_correction"):
        Timer(1.0, max_drift_correction=correction)


def test_made_without_a_clock() -> None:
    """Making a timer reads no clock, so that it may be made where no event loop runs."""

    def clock() -> float:
        raise AssertionError("read")

    timer = Timer(1.0, clock=clock)
    assert (timer.iteration, timer.last_wakeup_at, timer.last_yield_at) == (0, 0.0, 0.0)


def test_default_clock_outside_an_event_loop() -> None:
    """The default clock is the event loop's, read by the start and not before."""
    timer = Timer(1.0)
    with pytest.raises(anyio.NoEventLoopError):
        timer.start()


def test_limits() -> None:
    """The limits follow from the interval and the correction."""
    timer = Timer(10.0, max_drift_correction=0.5)
    assert (timer.min_interval_s, timer.max_interval_s) == (9.5, 10.5)
    assert timer.max_drift == 1.2
    assert Timer(1.0).max_drift == pytest.approx(0.3)
    assert Timer(0.05).min_interval_s == 0.0


def test_repr(time: FakeTime) -> None:
    """The repr tells the name, the interval and how far it has come."""
    timer = make_timer(time, 0.5)
    wait_and_tick(timer, time)
    assert repr(timer) == "<Timer 'T' every 0.5 s, 1 ticks, 0 skipped>"
    assert repr(Timer("1.5")) == "<Timer every 1.5 s, 0 ticks, 0 skipped>"


# --- The absolute schedule ------------------------------------------------------------------------


def test_body_does_not_shift_the_schedule(time: FakeTime) -> None:
    """The run time of the body is no part of the period."""
    timer = make_timer(time, 0.5)
    timer.start()
    ticks: list[float] = []
    for _ in range(5):
        ticks.append(wait_and_tick(timer, time))
        time.pass_(0.25)
    assert ticks == [1000.5, 1001.0, 1001.5, 1002.0, 1002.5]
    assert (timer.skipped, timer.overlaps, timer.late) == (0, 0, 0.0)


def test_start_counts_once(time: FakeTime) -> None:
    """The schedule begins at the first start; further starts do not move it."""
    timer = make_timer(time)
    timer.start()
    time.pass_(0.25)
    timer.start()
    assert timer.delay() == 0.75
    assert timer.last_wakeup_at == timer.last_yield_at == 1000.0


def test_delay_starts(time: FakeTime) -> None:
    """Asking for the delay starts a timer that was not started."""
    timer = make_timer(time)
    assert timer.delay() == 1.0
    time.pass_(0.25)
    assert timer.delay() == 0.75


def test_attributes_after_a_tick(time: FakeTime) -> None:
    """A tick notes when it was, and `on_before_yield` when the body was entered."""
    timer = make_timer(time)
    time.pass_(timer.delay())
    assert timer.tick() == 1.0
    time.pass_(0.25)
    timer.on_before_yield()
    assert (timer.iteration, timer.last_wakeup_at, timer.last_yield_at) == (1, 1001.0, 1001.25)


@pytest.mark.parametrize(
    ("interval", "ticks"),
    [
        (0.1, 1_000_000),
        (1.0, 20_000),
        (1 / 3, 20_000),
        (7.7, 20_000),
    ],
)
def test_rounding_does_not_add_up(interval: float, ticks: int) -> None:
    """After any number of ticks the time is where start + ticks * interval is."""
    time = FakeTime(now=12345.678)
    timer = Timer(interval, clock=time.clock)
    for _ in range(ticks):
        time.pass_(timer.delay())
        timer.tick()
    assert (timer.iteration, timer.skipped) == (ticks, 0)
    assert math.isclose(time.now, 12345.678 + ticks * interval, rel_tol=4e-16)


def test_a_virtual_clock_drives_it() -> None:
    """Under a virtual clock a timer ticks at once and ends at just the time it should."""

    async def main() -> float:
        start = anyio.current_time()
        async for _ in (timer := Timer(3600.0)):  # pragma: no branch - left by break
            if timer.iteration == 1000:
                break
        return anyio.current_time() - start

    assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0)) == 3_600_000.0


# --- Late and early wake-ups ----------------------------------------------------------------------


def test_small_lateness_is_made_up_at_once(time: FakeTime) -> None:
    """A lateness below the correction is gone with the next tick."""
    timer = make_timer(time)
    wait_and_tick(timer, time, late=0.0625)
    assert (timer.drift, timer.late) == (0.0625, 0.0625)
    assert wait_and_tick(timer, time) == 1002.0
    assert (timer.drift, timer.late) == (0.0, 0.0)


def test_large_lateness_is_made_up_in_steps(time: FakeTime) -> None:
    """A larger lateness shrinks by the correction with each tick, until the timer is in phase."""
    timer = make_timer(time, max_drift_correction=0.25)
    ticks = [wait_and_tick(timer, time, late=0.875 if n == 0 else 0.0) for n in range(6)]
    assert ticks == [1001.875, 1002.625, 1003.375, 1004.125, 1005.0, 1006.0]
    assert (timer.iteration, timer.skipped) == (6, 0)


def test_no_correction(time: FakeTime) -> None:
    """With a correction of zero a late timer keeps its distance."""
    timer = make_timer(time, max_drift_correction=0.0)
    ticks = [wait_and_tick(timer, time, late=0.5 if n == 0 else 0.0) for n in range(3)]
    assert ticks == [1001.5, 1002.5, 1003.5]


def test_fast_timer_is_in_phase_at_once(time: FakeTime) -> None:
    """A timer with an interval below the correction does not collect lateness."""
    timer = make_timer(time, 0.0625)
    ticks = [wait_and_tick(timer, time, late=0.03125) for _ in range(4)]
    assert ticks == [1000.09375, 1000.15625, 1000.21875, 1000.28125]


def test_body_while_catching_up(time: FakeTime) -> None:
    """A body that ends before its tick is waited for is no overrun, though the planned time has passed."""
    timer = make_timer(time, max_drift_correction=0.125)
    wait_and_tick(timer, time, late=0.75)
    time.pass_(0.5)
    assert wait_and_tick(timer, time) == 1002.625
    assert (timer.skipped, timer.overlaps) == (0, 0)


def test_blocked_through_several_ticks(time: FakeTime) -> None:
    """A wake-up that comes after further ticks were due stands for them all, and they are counted."""
    timer = make_timer(time, max_drift_correction=0.25)
    ticks = [wait_and_tick(timer, time, late=2.75 if n == 0 else 0.0) for n in range(5)]
    assert ticks == [1003.75, 1004.5, 1005.25, 1006.0, 1007.0]
    assert (timer.iteration, timer.skipped, timer.overlaps) == (5, 2, 0)


def test_blocked_to_the_very_moment_of_a_later_tick(time: FakeTime) -> None:
    """A wake-up at the time of a later tick takes its place: the next is an interval away."""
    timer = make_timer(time)
    wait_and_tick(timer, time, late=2.0)
    assert timer.delay() == 1.0
    assert timer.skipped == 2


def test_early_wake_up(time: FakeTime) -> None:
    """A wake-up that is early counts as its tick and does not move the next."""
    timer = make_timer(time)
    time.pass_(timer.delay() - 0.25)
    assert timer.tick() == 1.25
    assert (timer.iteration, timer.drift, timer.late) == (1, -0.25, 0.0)


@pytest.mark.parametrize(
    ("drift", "interval"),
    [(0.0, 1.0), (0.0625, 0.9375), (5.0, 0.75), (-0.0625, 1.0625), (-5.0, 1.25)],
)
def test_adjust_interval(drift: float, interval: float) -> None:
    """A drift is taken off the interval, within the limits."""
    assert Timer(1.0, max_drift_correction=0.25).adjust_interval(drift) == interval


# --- Overruns -------------------------------------------------------------------------------------


def test_overrun_skips_and_keeps_the_phase(time: FakeTime) -> None:
    """Ticks that pass while a body runs are left out, and the next is on the old schedule."""
    timer = make_timer(time)
    wait_and_tick(timer, time)
    time.pass_(2.5)
    assert wait_and_tick(timer, time) == 1004.0
    assert (timer.iteration, timer.skipped, timer.overlaps) == (2, 2, 1)
    assert (timer.drift, timer.late) == (0.0, 0.0)


def test_body_of_just_an_interval(time: FakeTime) -> None:
    """A body that ends just as the next tick is due has not overrun it: the tick comes at once."""
    timer = make_timer(time)
    wait_and_tick(timer, time)
    time.pass_(1.0)
    assert timer.delay() == 0.0
    assert (timer.skipped, timer.overlaps) == (0, 0)


def test_overrun_of_a_late_tick(time: FakeTime) -> None:
    """A late tick whose body overruns: the next is in phase again, the limit on corrections being kept anyway."""
    timer = make_timer(time)
    wait_and_tick(timer, time, late=0.5)
    time.pass_(1.25)
    assert wait_and_tick(timer, time) == 1003.0
    assert (timer.skipped, timer.overlaps) == (1, 1)


def test_late_first_wait_is_no_overlap(time: FakeTime) -> None:
    """Ticks missed before there was any body are skipped, but no body overlapped."""
    timer = make_timer(time)
    timer.start()
    time.pass_(2.5)
    assert timer.delay() == 0.5
    assert (timer.skipped, timer.overlaps) == (2, 0)


@pytest.mark.parametrize("interval", [0.1, 1 / 3, 0.7])
@pytest.mark.parametrize("start", [0.0, 1000.7])
def test_overrun_to_the_very_moment(start: float, interval: float) -> None:
    """A tick whose planned time is just now is not skipped, however floats round; one just passed is."""
    for number in range(2, 1000):
        due = start + number * interval
        for now, skipped in ((due, number - 1), (math.nextafter(due, math.inf), number)):
            time = FakeTime(now=start)
            timer = make_timer(time, interval)
            timer.start()
            time.now = now
            assert timer.delay() == start + (skipped + 1) * interval - now
            assert timer.skipped == skipped


def test_overrun_of_ages(time: FakeTime) -> None:
    """Skipping takes no time that grows with the number of ticks."""
    timer = make_timer(time, 0.001)
    wait_and_tick(timer, time)
    time.pass_(1e9)
    assert 0.0 <= timer.delay() <= 0.001
    assert timer.skipped == pytest.approx(1e12, abs=2)


@given(
    interval=st.floats(0.01, 100.0),
    correction=st.floats(0.0, 1.0),
    steps=st.lists(st.tuples(st.floats(0.0, 300.0), st.floats(0.0, 300.0)), max_size=30),
)
def test_schedule_holds(
    interval: float, correction: float, steps: list[tuple[float, float]]
) -> None:
    """Whatever is late or overruns: every tick keeps its distance, and all ticks are accounted for."""
    time = FakeTime()
    timer = Timer(interval, max_drift_correction=correction, clock=time.clock)
    timer.start()
    last: float | None = None
    for late, body in steps:
        time.pass_(timer.delay())
        due = time.now
        number = timer.iteration + timer.skipped + 1
        assert due >= 1000.0 + number * interval - 1e-9
        assert last is None or due >= last + interval - correction - 1e-9
        time.pass_(late)
        last = time.now
        remaining = timer.tick()
        assert remaining >= 0.0
        planned = 1000.0 + (timer.iteration + timer.skipped + 1) * interval
        assert last + remaining == pytest.approx(
            max(planned, last + timer.min_interval_s), abs=1e-9
        )
        time.pass_(body)


# --- Calling nothing but tick(), as in mode -------------------------------------------------------


def test_ticks_alone(time: FakeTime) -> None:
    """Sleeping what the last tick returned keeps the schedule, with no other call."""
    timer = make_timer(time)
    seconds = timer.interval_s
    ticks: list[float] = []
    for late in (0.0, 0.0625, 0.0, 0.0):
        time.pass_(seconds + late)
        seconds = timer.tick()
        ticks.append(time.now)
    assert ticks == [1001.0, 1002.0625, 1003.0, 1004.0]
    assert timer.last_wakeup_at == 1004.0


def test_ticks_alone_with_a_body(time: FakeTime) -> None:
    """A body between tick and sleep delays the ticks once, and the period stays the interval."""
    timer = make_timer(time)
    seconds = timer.interval_s
    ticks: list[float] = []
    for _ in range(4):
        time.pass_(seconds)
        seconds = timer.tick()
        ticks.append(time.now)
        time.pass_(0.0625)
    assert ticks == [1001.0, 1002.0625, 1003.0625, 1004.0625]


def test_ticks_alone_after_a_delay(time: FakeTime, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever stops asking for the delay gets all the time since the last body logged as sleep."""
    timer = make_timer(time)
    wait_and_tick(timer, time)
    time.pass_(1.5)
    timer.tick()
    assert messages(caplog, LATE) == [
        "Timer 'T' woke up too late, with a drift of +0.500 seconds runtime=0.000 sleeptime=1.500"
    ]


# --- The log --------------------------------------------------------------------------------------


def test_logs_late(time: FakeTime, caplog: pytest.LogCaptureFixture) -> None:
    """A wake-up later than is normal is logged, with the run time of the body and of the sleep."""
    timer = make_timer(time)
    wait_and_tick(timer, time)
    time.pass_(0.25)
    wait_and_tick(timer, time, late=0.5)
    assert messages(caplog, LATE, logging.INFO) == [
        "Timer 'T' woke up too late, with a drift of +0.500 seconds runtime=0.250 sleeptime=1.250"
    ]


def test_logs_lateness_once(time: FakeTime, caplog: pytest.LogCaptureFixture) -> None:
    """The ticks on which a timer makes up for one late wake-up are not logged."""
    timer = make_timer(time)
    for n in range(8):
        wait_and_tick(timer, time, late=0.75 if n == 0 else 0.0)
    assert len(messages(caplog, LATE)) == 1


def test_logs_early_in_detail_only(time: FakeTime, caplog: pytest.LogCaptureFixture) -> None:
    """An early wake-up is logged for debugging: most often a stop has ended the sleep."""
    timer = make_timer(time)
    wait_and_tick(timer, time, late=-0.5)
    assert messages(caplog, EARLY) == [
        "Timer 'T' woke up too early, with a drift of -0.500 seconds runtime=0.000 sleeptime=0.500"
    ]
    assert messages(caplog, EARLY, logging.INFO) == []


def test_logs_nothing_normal(time: FakeTime, caplog: pytest.LogCaptureFixture) -> None:
    """A drift up to `max_drift` is not logged."""
    timer = make_timer(time)
    for drift in (0.25, -0.25, 0.0):
        wait_and_tick(timer, time, late=drift)
    assert messages(caplog, "") == []


def test_fast_timers_do_not_log(time: FakeTime, caplog: pytest.LogCaptureFixture) -> None:
    """A timer with an interval below a second logs neither drift nor overlap."""
    timer = make_timer(time, 0.5)
    wait_and_tick(timer, time, late=5.0)
    time.pass_(10.0)
    wait_and_tick(timer, time)
    assert timer.overlaps == 1
    assert messages(caplog, "") == []


def test_logs_overlaps_ever_more_rarely(time: FakeTime, caplog: pytest.LogCaptureFixture) -> None:
    """A body that always overruns is logged the 1st, 2nd, 4th, 8th... time."""
    timer = make_timer(time)
    for _ in range(11):
        wait_and_tick(timer, time)
        time.pass_(1.5)
    assert timer.overlaps == 10
    told = messages(caplog, OVERLAPS, logging.INFO)
    assert len(told) == 4
    assert told[0] == (
        "Timer 'T' overlaps: its body took 1.500 seconds of an interval of 1.000; ticks skipped: 1 "
        "(so far: overlaps 1, skipped 1)"
    )
    assert told[-1].endswith("(so far: overlaps 8, skipped 8)")


# --- As an async iterator -------------------------------------------------------------------------


async def test_async_for(time: FakeTime) -> None:
    """Iterating waits a full interval first, then ticks on schedule and gives what tick() returns."""
    timer = make_timer(time)
    ticks: list[tuple[float, float]] = []
    async for seconds in timer:  # pragma: no branch - left by break
        ticks.append((time.now, seconds))
        time.pass_(0.25)
        if timer.iteration == 3:
            break
    assert ticks == [(1001.0, 1.0), (1002.0, 1.0), (1003.0, 1.0)]
    assert timer.last_yield_at == 1003.0


async def test_async_for_skips(time: FakeTime) -> None:
    """Iterating too skips the ticks that the body of the loop has overrun."""
    ticks: list[float] = []
    async for _ in (timer := make_timer(time)):  # pragma: no branch - left by break
        ticks.append(time.now)
        time.pass_(1.5)
        if timer.iteration == 3:
            break
    assert ticks == [1001.0, 1003.0, 1005.0]
    assert timer.skipped == 2


async def test_async_for_goes_on(time: FakeTime) -> None:
    """A loop that is left leaves the timer as it is: a second loop goes on with the schedule."""
    timer = make_timer(time)
    async for _ in timer:  # pragma: no branch - left by break
        break
    time.pass_(0.25)
    async for _ in timer:  # pragma: no branch - left by break
        break
    assert (time.now, timer.iteration) == (1002.0, 2)


async def test_default_clock_and_sleep() -> None:
    """With nothing given a timer runs by the event loop's clock and sleeps in it."""
    timer = Timer(0.001)
    before = anyio.current_time()
    async for _ in timer:  # pragma: no branch - left by break
        if timer.iteration == 3:
            break
    assert before < timer.last_wakeup_at <= anyio.current_time()


async def test_iterating_is_a_checkpoint() -> None:
    """A loop that never waits otherwise can be cancelled in the timer's wait."""
    with anyio.CancelScope() as scope:
        async for _ in Timer(1e-9):
            scope.cancel()
    assert scope.cancelled_caught
