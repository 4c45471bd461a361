"""Timers and crontabs on the real clock of each event loop, and their decorators outside the class `Service`.

What takes minutes or days is tested on a virtual clock elsewhere, which is trio's. Here it is only a few hundredths of a
second.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import anyio
import pytest

from structmode import Service, crontab, services, timer
from structmode.events import LifecycleEvent, TickFailed, TicksSkipped, subscribe

Decorator = Callable[[Any], Any]

# The first cron line that is read makes a library be imported, which reads files: that must not be in an event loop.
HOURLY = Service.crontab("0 * * * *")


async def test_exec_first() -> None:
    """With exec_first the body runs at the start, without a wait; the others wait their interval first."""
    runs: list[str] = []

    class Eager(Service):
        @Service.timer(1000.0, exec_first=True)
        async def early(self) -> None:
            runs.append("early")

        @Service.timer(1000.0)
        async def late(self) -> None:
            runs.append("late")  # pragma: no cover - never due

    async with Eager():
        await anyio.wait_all_tasks_blocked()
        assert runs == ["early"]


async def test_ticks_are_not_run_in_a_burst() -> None:
    """Ticks that pass while the body runs are left out and told of, rather than run one after the other."""
    interval, runs = 0.01, 3
    told: list[LifecycleEvent] = []
    begun = 0
    done = anyio.Event()

    class Slow(Service):
        @Service.timer(interval)
        async def tick(self) -> None:
            nonlocal begun
            begun += 1
            if begun == runs:
                done.set()
            await anyio.sleep(3.5 * interval)

    unsubscribe = subscribe(told.append)
    try:
        async with Slow():
            with anyio.fail_after(10.0):
                await done.wait()
    finally:
        unsubscribe()
    skipped = [event.count for event in told if isinstance(event, TicksSkipped)]
    assert sum(skipped) >= 3 * (runs - 1)


async def test_itertimer_waits_before_its_first_turn() -> None:
    """The loop runs first after a full interval, and is given the seconds until the next tick."""
    interval = 0.02
    seconds: list[float] = []

    class Plain(Service):
        """Does nothing by itself."""

    async with Plain() as service:
        began = anyio.current_time()
        async for until_next in service.itertimer(interval):  # pragma: no branch - left by break
            seconds.append(until_next)
            if len(seconds) == 3:
                break
        assert anyio.current_time() - began > 2.5 * interval
    assert all(0.0 <= one <= interval + 0.001 for one in seconds)


# --- Crontabs -------------------------------------------------------------------------------------


def zone_where_it_soon_is(hour: int, minute: int, *, seconds: float) -> tzinfo:
    """Return a time zone whose clocks will show that time in so many seconds."""
    now = datetime.now(UTC)
    there = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    offset = there - now - timedelta(seconds=seconds)
    if abs(offset) < timedelta(minutes=30):  # it must not be that time in UTC as well
        offset -= timedelta(hours=1)  # pragma: no cover - depends on the time of day
    return timezone(offset)


def soon(*, seconds: float) -> tuple[str, tzinfo]:
    """Return a cron line that names one time a day, and a zone where that is in so many seconds."""
    zone = zone_where_it_soon_is(12, 30, seconds=seconds)
    then = datetime.now(UTC) + timedelta(seconds=seconds + 1.0)
    there = then.astimezone(zone)
    return f"{there.minute} {there.hour} * * *", zone


async def run_when_it_is_time(make: Callable[[str, tzinfo], Service], ran: anyio.Event) -> None:
    """Run services until their crontab has run; another, with more time, if a loaded machine was too late."""
    for seconds in (0.05, 0.25, 1.5):
        async with make(*soon(seconds=seconds)) as service:
            with anyio.move_on_after(seconds + 1.0):
                await ran.wait()
                await anyio.sleep(0.02)
                assert service.state == "running"
                return
    pytest.fail("it did not run")


async def test_a_crontab_in_a_time_zone() -> None:
    """A line runs when the clocks of its zone show the time, once, while the same line in UTC still waits."""
    runs: list[str] = []
    ran = anyio.Event()

    def make(line: str, zone: tzinfo) -> Service:
        class Daily(Service):
            @Service.crontab(line, timezone=zone)
            async def there(self) -> None:
                runs.append("there")
                ran.set()

            @Service.crontab(line)
            async def in_utc(self) -> None:
                runs.append("in UTC")  # pragma: no cover - never due

        return Daily()

    await run_when_it_is_time(make, ran)
    assert runs == ["there"]


# --- The decorators of the module -----------------------------------------------------------------


@pytest.mark.parametrize("decorate", [Service.timer, services.timer, timer])
def test_the_arguments_of_a_timer(decorate: Callable[..., Decorator]) -> None:
    """Each way to declare a timer takes all arguments, and keeps them."""

    async def tick(service: Service) -> None:
        """Tick."""

    declared = decorate(
        2.5, exec_first=True, name="flusher", max_drift_correction=0.5, on_error="log"
    )(tick)
    assert isinstance(declared, services.TimerTask)
    kept = (declared.interval, declared.exec_first, declared.timer_name)
    assert kept == (2.5, True, "flusher")
    assert (declared.max_drift_correction, declared.on_error) == (0.5, "log")
    plain = decorate(2.5)(tick)
    kept = (plain.interval, plain.exec_first, plain.timer_name)
    assert kept == (2.5, False, None)
    assert (plain.max_drift_correction, plain.on_error) == (0.1, "crash")


@pytest.mark.parametrize("decorate", [services.timer, timer])
async def test_a_timer_of_the_module(
    decorate: Callable[..., Decorator], caplog: pytest.LogCaptureFixture
) -> None:
    """A timer that is declared by the function of the module runs first, and only logs its errors, if it is to."""
    told: list[LifecycleEvent] = []

    class Eager(Service):
        @decorate(1000.0, exec_first=True, name="flusher", on_error="log")
        async def tick(self) -> None:
            raise OSError("disk full")

    unsubscribe = subscribe(told.append)
    try:
        async with Eager() as service:
            await anyio.wait_all_tasks_blocked()
            assert service.state == "running"
    finally:
        unsubscribe()
    assert [event.timer for event in told if isinstance(event, TickFailed)] == ["flusher"]
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert ["flusher" in record.getMessage() for record in errors] == [True]


@pytest.mark.parametrize("decorate", [Service.crontab, services.crontab, crontab])
async def test_a_crontab_of_the_module(decorate: Callable[..., Decorator]) -> None:
    """A crontab keeps its zone and what to do about errors, whichever way it is declared."""
    told: list[LifecycleEvent] = []
    failed = anyio.Event()

    def listen(event: LifecycleEvent) -> None:
        if isinstance(event, TickFailed):
            told.append(event)
            failed.set()

    def make(line: str, zone: tzinfo) -> Service:
        class Daily(Service):
            @decorate(line, timezone=zone, on_error="log")
            async def tick(self) -> None:
                raise OSError("disk full")

        return Daily()

    unsubscribe = subscribe(listen)
    try:
        await run_when_it_is_time(make, failed)
    finally:
        unsubscribe()
    assert len(told) == 1
