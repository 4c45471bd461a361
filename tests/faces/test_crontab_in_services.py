"""Crontabs of a service: at which times they run, what happens when clocks change, and how they end."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TypeVar

import anyio
import pytest
import trio
import trio.testing

from structmode import Service, crontab, services
from structmode.events import LifecycleEvent, TickFailed, TicksSkipped, subscribe

T = TypeVar("T")

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def run_virtually(main: Callable[[], Awaitable[T]]) -> T:
    """Run on a clock that jumps ahead whenever nothing is left to do but to wait."""
    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


class ChangingZone(tzinfo):
    """A time zone whose offset changes once: two days after the tests began, at 02:00 UTC.

    Args:
        before: The offset until then.
        after: The offset from then on.
    """

    def __init__(self, before: timedelta, after: timedelta) -> None:
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        self.at = today + 2 * DAY + 2 * HOUR
        self.before = before
        self.after = after

    def fromutc(self, dt: datetime) -> datetime:
        utc = dt.replace(tzinfo=None)
        local = utc + (self.before if utc < self.at else self.after)
        again = utc >= self.at and local < self.at + self.before
        return local.replace(tzinfo=self, fold=int(again))

    def utcoffset(self, dt: datetime | None) -> timedelta:
        assert dt is not None
        local = dt.replace(tzinfo=None, fold=0)
        old, new = self.at + self.before, self.at + self.after
        if local < min(old, new):
            return self.before
        if local >= max(old, new):
            return self.after
        return self.after if dt.fold and new < old else self.before

    def dst(self, dt: datetime | None) -> timedelta:
        return timedelta(0)  # pragma: no cover - never called

    def tzname(self, dt: datetime | None) -> str:
        return "Changing"  # pragma: no cover - never called


SPRING = ChangingZone(timedelta(0), HOUR)
AUTUMN = ChangingZone(HOUR, timedelta(0))


class Noting(Service):
    """Notes at which times its crontab runs, on the wall clock that belongs to the virtual one."""

    def on_init(self) -> None:
        self.runs: list[datetime] = []
        self.wall = datetime.now(UTC)
        self.clock = anyio.current_time()

    def now(self) -> datetime:
        """Return the time, rounded to seconds: a few of its milliseconds are real."""
        passed = anyio.current_time() - self.clock
        moment = self.wall + timedelta(seconds=passed + 0.5)
        return moment.replace(microsecond=0)

    def note(self) -> None:
        """Note the time."""
        self.runs.append(self.now())


def run_for(service_class: type[Noting], duration: timedelta) -> Noting:
    """Run a service of the class for some virtual time."""

    async def main() -> Noting:
        async with service_class() as service:
            await anyio.sleep(duration.total_seconds())
        return service

    return run_virtually(main)


# --- Times ----------------------------------------------------------------------------------------


def test_every_ten_minutes() -> None:
    """A line runs at each of its times, once, and not at the start."""

    class Often(Noting):
        @Service.crontab("*/10 * * * *")
        async def tick(self) -> None:
            self.note()

    service = run_for(Often, 2 * HOUR)
    assert len(service.runs) == 12
    assert {(run.minute % 10, run.second) for run in service.runs} == {(0, 0)}
    assert {b - a for a, b in zip(service.runs, service.runs[1:], strict=False)} == {
        timedelta(minutes=10)
    }


def test_a_week_of_days() -> None:
    """A line with a fixed time runs once a day: in UTC if no zone is given."""

    class Daily(Noting):
        @Service.crontab("30 18 * * *")
        async def tick(self) -> None:
            self.note()

    service = run_for(Daily, 7 * DAY)
    assert len(service.runs) == 7
    assert {(run.hour, run.minute, run.second) for run in service.runs} == {(18, 30, 0)}
    assert len({run.date() for run in service.runs}) == 7


def test_a_time_zone() -> None:
    """With a zone, the line speaks of the clock there."""
    india = timezone(timedelta(hours=5, minutes=30))

    class Daily(Noting):
        @Service.crontab("30 18 * * *", timezone=india)
        async def tick(self) -> None:
            self.note()

    service = run_for(Daily, 3 * DAY)
    assert [(run.hour, run.minute) for run in service.runs] == [(13, 0)] * 3


async def test_every_second_on_a_real_clock() -> None:
    """On a real clock a crontab runs when the wall clock shows its time, and not before."""
    ran = anyio.Event()
    times: list[datetime] = []

    class Secondly(Service):
        @Service.crontab("* * * * * *")
        async def tick(self) -> None:
            times.append(datetime.now(UTC))
            ran.set()

    began = datetime.now(UTC)
    async with Secondly():
        await ran.wait()
    assert times[0] >= began.replace(microsecond=0) + timedelta(seconds=1)


# --- Daylight saving ------------------------------------------------------------------------------


def test_a_fixed_time_that_a_change_leaves_out() -> None:
    """When clocks go forward, a time that no clock shows is made up for at the change: no day is skipped."""

    class Nightly(Noting):
        @Service.crontab("30 2 * * *", timezone=SPRING)
        async def tick(self) -> None:
            self.note()

    service = run_for(Nightly, 6 * DAY)
    change = SPRING.at.replace(tzinfo=UTC)
    near = [run - change for run in service.runs if abs(run - change) < 2.5 * DAY]
    assert near[-4:] == [
        -DAY + HOUR / 2,
        timedelta(0),
        DAY - HOUR / 2,
        2 * DAY - HOUR / 2,
    ]


def test_a_fixed_time_that_a_change_repeats() -> None:
    """When clocks go back, a time that comes twice is run for the first time only."""

    class Nightly(Noting):
        @Service.crontab("30 2 * * *", timezone=AUTUMN)
        async def tick(self) -> None:
            self.note()

    service = run_for(Nightly, 6 * DAY)
    change = AUTUMN.at.replace(tzinfo=UTC)
    near = [run - change for run in service.runs if abs(run - change) < 2.5 * DAY]
    assert near[-4:] == [
        -DAY - HOUR / 2,
        -HOUR / 2,
        DAY + HOUR / 2,
        2 * DAY + HOUR / 2,
    ]


@pytest.mark.parametrize("zone", [SPRING, AUTUMN], ids=["spring", "autumn"])
def test_an_even_pace_goes_by_elapsed_time(zone: ChangingZone) -> None:
    """A line that runs every hour runs every hour of elapsed time, also across a change."""

    class Hourly(Noting):
        @Service.crontab("0 * * * *", timezone=zone)
        async def tick(self) -> None:
            self.note()

    service = run_for(Hourly, 4 * DAY)
    assert len(service.runs) == 96
    assert {b - a for a, b in zip(service.runs, service.runs[1:], strict=False)} == {HOUR}


# --- Busy -----------------------------------------------------------------------------------------


def test_times_that_pass_while_it_is_busy(caplog: pytest.LogCaptureFixture) -> None:
    """Times that a long run overlaps are made up for by one run, at once; the others are told in log and events."""
    events: list[LifecycleEvent] = []

    class Slow(Noting):
        @Service.crontab("*/10 * * * *")
        async def tick(self) -> None:
            self.note()
            if len(self.runs) == 1:
                await anyio.sleep(35 * 60.0)

    unsubscribe = subscribe(events.append)
    service = run_for(Slow, timedelta(minutes=75))
    unsubscribe()
    minutes = [(run - service.runs[0]).total_seconds() / 60 for run in service.runs]
    assert minutes[:4] == [0.0, 35.0, 40.0, 50.0]
    skipped = [event for event in events if isinstance(event, TicksSkipped)]
    assert [(event.subject, event.timer, event.count) for event in skipped] == [
        (service, "Slow.tick", 2)
    ]
    warned = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1
    assert "'Slow.tick' missed 2 of its times" in warned[0].getMessage()


# --- Errors ---------------------------------------------------------------------------------------


def test_what_leaves_a_crontab_crashes_the_service() -> None:
    """By default an exception that leaves the body crashes the service."""
    boom = ValueError("boom")

    class Bad(Noting):
        @Service.crontab("* * * * *")
        async def tick(self) -> None:
            raise boom

    with pytest.raises(ValueError, match="boom") as caught:
        run_for(Bad, HOUR)
    assert caught.value is boom


def test_errors_may_be_logged_instead(caplog: pytest.LogCaptureFixture) -> None:
    """With on_error="log" a failure is logged and told as an event, and the next time comes."""
    events: list[LifecycleEvent] = []

    class Robust(Noting):
        @Service.crontab("0 * * * *", on_error="log")
        async def tick(self) -> None:
            self.note()
            raise ValueError(f"run {len(self.runs)}")

    unsubscribe = subscribe(events.append)
    service = run_for(Robust, 3 * HOUR)
    unsubscribe()
    expected = ["run 1", "run 2", "run 3"]
    assert service.failures == ()
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [str(record.exc_info[1]) for record in errors if record.exc_info] == expected
    assert [str(event.error) for event in events if isinstance(event, TickFailed)] == expected


# --- The end --------------------------------------------------------------------------------------


async def test_a_stop_ends_a_waiting_crontab_at_once() -> None:
    """A crontab that waits for its time does not hold up a stop, even with a drain."""

    class Yearly(Service):
        drain_timeout = 1000.0

        @Service.crontab("0 0 1 1 *")
        async def tick(self) -> None:
            pass  # pragma: no cover - never due

    service = Yearly()
    async with service:
        await anyio.wait_all_tasks_blocked()
        assert "Yearly.tick" in service.tracebacks()
    assert service.state == "shutdown"


async def test_a_crash_ends_a_waiting_crontab() -> None:
    """A crash of the service ends the wait too."""

    class Yearly(Service):
        drain_timeout = 1000.0

        @Service.crontab("0 0 1 1 *")
        async def tick(self) -> None:
            pass  # pragma: no cover - never due

    with pytest.raises(ValueError, match="boom"):
        async with Yearly() as service:
            await anyio.wait_all_tasks_blocked()
            await service.crash(ValueError("boom"))
            await anyio.sleep_forever()
    assert service.tracebacks() == {}


def test_a_line_whose_times_are_over() -> None:
    """A line of which no time is left just waits for the stop."""

    class Past(Noting):
        @Service.crontab("0 0 1 1 * 0 2020")
        async def tick(self) -> None:
            self.note()  # pragma: no cover - never due

    assert run_for(Past, DAY).runs == []


# --- Declaring ------------------------------------------------------------------------------------


def test_overriding_a_crontab() -> None:
    """A subclass may override a crontab by another line, or switch it off with None."""

    class Base(Noting):
        @Service.crontab("0 * * * *")
        async def tick(self) -> None:
            self.note()

    class Half(Base):
        @Service.crontab("*/30 * * * *")
        async def tick(self) -> None:
            await super().tick()

    class Off(Base):
        tick = None  # type: ignore[assignment]

    assert len(run_for(Base, 5 * HOUR).runs) == 5
    assert len(run_for(Half, 5 * HOUR).runs) == 10
    assert run_for(Off, 5 * HOUR).runs == []


async def test_a_crontab_is_a_method_too() -> None:
    """The body of a crontab can be called by hand."""

    class Rare(Service):
        calls = 0

        @Service.crontab("0 0 1 1 *")
        async def tick(self) -> None:
            self.calls += 1

    service = Rare()
    await service.tick()
    assert service.calls == 1
    assert isinstance(Rare.tick, services.CrontabTask)


def test_the_module_level_decorator() -> None:
    """`structmode.crontab` and `structmode.services.crontab` are the same as `Service.crontab`."""

    class Decorated(Noting):
        @crontab("0 * * * *")
        async def one(self) -> None:
            self.note()

        @services.crontab("30 * * * *", timezone=UTC)
        async def two(self) -> None:
            self.note()

    service = run_for(Decorated, 2 * HOUR)
    assert sorted(run.minute for run in service.runs) == [0, 0, 30, 30]
