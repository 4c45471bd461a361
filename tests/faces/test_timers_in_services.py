"""Timers of a service: declared with `@Service.timer`, and `itertimer` in a loop of one's own."""

from __future__ import annotations

import gc
import inspect
import logging
import math
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

import anyio
import pytest
import trio
import trio.testing

from structmode import Service, services, timer
from structmode.events import LifecycleEvent, TickFailed, TicksSkipped, subscribe

T = TypeVar("T")


def run_virtually(main: Callable[[], Awaitable[T]]) -> T:
    """Run on a clock that jumps ahead whenever nothing is left to do but to wait."""
    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


class Ticking(Service):
    """Notes when its timer ticks, in seconds from when it was made."""

    def __post_init__(self) -> None:
        self.times: list[float] = []
        self.origin = anyio.current_time()

    def note(self) -> None:
        """Note the time."""
        self.times.append(round(anyio.current_time() - self.origin, 6))


# --- The schedule ---------------------------------------------------------------------------------


def test_a_virtual_day() -> None:
    """A timer ticks at every interval from the start on, and not at the start: 1440 minutes make a day."""

    class Minutely(Ticking):
        @Service.timer(60.0)
        async def tick(self) -> None:
            self.note()

    async def main() -> list[float]:
        async with Minutely() as service:
            await anyio.sleep(86400.5)
        return service.times

    assert run_virtually(main) == [60.0 * n for n in range(1, 1441)]


def test_the_body_does_not_shift_the_schedule() -> None:
    """The time that the body takes is no part of the interval."""

    class Slow(Ticking):
        @Service.timer(0.5)
        async def tick(self) -> None:
            self.note()
            await anyio.sleep(0.2)

    async def main() -> list[float]:
        async with Slow() as service:
            await anyio.sleep(2.6)
        return service.times

    assert run_virtually(main) == [0.5, 1.0, 1.5, 2.0, 2.5]


def test_ticks_that_a_body_overlaps_are_left_out() -> None:
    """A body that takes longer than the interval makes ticks be left out; they are told as an event, and no burst comes."""
    events: list[LifecycleEvent] = []

    class Slow(Ticking):
        @Service.timer(1.0)
        async def tick(self) -> None:
            self.note()
            await anyio.sleep(2.5)

    async def main() -> Slow:
        async with Slow() as service:
            await anyio.sleep(9.9)
        return service

    unsubscribe = subscribe(events.append)
    service = run_virtually(main)
    unsubscribe()
    assert service.times == [1.0, 4.0, 7.0]
    skipped = [event for event in events if isinstance(event, TicksSkipped)]
    assert [(event.subject, event.timer, event.count) for event in skipped] == [
        (service, "Slow.tick", 2),
        (service, "Slow.tick", 2),
    ]


def test_exec_first() -> None:
    """With exec_first the body runs at the start already; the schedule is the same, however long that takes."""

    class Eager(Ticking):
        @Service.timer(1.0, exec_first=True)
        async def tick(self) -> None:
            self.note()
            await anyio.sleep(0.25)

    async def main() -> list[float]:
        async with Eager() as service:
            await anyio.sleep(3.5)
        return service.times

    assert run_virtually(main) == [0.0, 1.0, 2.0, 3.0]


def test_late_ticks_come_back_into_phase() -> None:
    """After a late tick the next ones come early, by at most max_drift_correction, until they are in phase."""

    class Corrected(Ticking):
        @Service.timer(10.0, max_drift_correction=0.25)
        async def tick(self) -> None:
            self.note()

    clock = trio.testing.MockClock(autojump_threshold=0)

    async def main() -> list[float]:
        async with Corrected() as service:
            await anyio.sleep(9.5)
            clock.jump(1.0)
            await anyio.sleep(50.0)
        return service.times

    assert trio.run(main, clock=clock) == [10.5, 20.25, 30.0, 40.0, 50.0, 60.0]


@pytest.mark.parametrize("interval", [2.5, 5, "2.5", timedelta(seconds=2.5), timedelta(minutes=1)])
def test_intervals_in_all_their_forms(interval: float | str | timedelta) -> None:
    """An interval may be seconds, a timedelta or a string."""

    class Formed(Ticking):
        @Service.timer(interval)
        async def tick(self) -> None:
            self.note()

    async def main() -> list[float]:
        async with Formed() as service:
            await anyio.sleep(seconds * 2 + 0.1)
        return service.times

    seconds = interval.total_seconds() if isinstance(interval, timedelta) else float(interval)
    assert run_virtually(main) == [seconds, seconds * 2]


def test_each_timer_has_its_own_schedule() -> None:
    """Several timers of one service tick each by its own interval."""

    class Several(Ticking):
        def __post_init__(self) -> None:
            super().__post_init__()
            self.names: list[tuple[float, str]] = []

        @Service.timer(2.0)
        async def slow(self) -> None:
            self.names.append((anyio.current_time() - self.origin, "slow"))

        @Service.timer(0.75)
        async def quick(self) -> None:
            self.names.append((anyio.current_time() - self.origin, "quick"))

    async def main() -> list[tuple[float, str]]:
        async with Several() as service:
            await anyio.sleep(4.2)
        return service.names

    assert run_virtually(main) == [
        (0.75, "quick"),
        (1.5, "quick"),
        (2.0, "slow"),
        (2.25, "quick"),
        (3.0, "quick"),
        (3.75, "quick"),
        (4.0, "slow"),
    ]


def test_a_restart_begins_the_schedule_anew() -> None:
    """After a restart the first tick comes a full interval after the new start."""

    class Second(Service):
        def on_init(self) -> None:
            self.times: list[float] = []

        @Service.timer(1.0)
        async def tick(self) -> None:
            self.times.append(round(anyio.current_time() - origin, 6))

    origin = 0.0

    async def main() -> list[float]:
        nonlocal origin
        origin = anyio.current_time()
        async with Second() as service:
            await anyio.sleep(1.75)
            await service.restart()
            await anyio.sleep(1.5)
        return service.times

    assert run_virtually(main) == [1.0, 2.75]


# --- Name and log ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "shown"), [(None, "Named.tick"), ("flusher", "flusher")])
def test_the_name_of_a_timer(
    name: str | None, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In the log a timer is called as it is told to be, or after service and method."""
    caplog.set_level(logging.INFO, logger="structmode.timers")

    class Named(Service):
        @Service.timer(1.0, name=name)
        async def tick(self) -> None:
            await anyio.sleep(1.5)

    async def main() -> None:
        async with Named():
            await anyio.sleep(4.0)

    run_virtually(main)
    overlaps = [
        record.getMessage() for record in caplog.records if "overlaps" in record.getMessage()
    ]
    assert len(overlaps) == 1
    assert f"'{shown}'" in overlaps[0]


# --- Errors ---------------------------------------------------------------------------------------


async def test_what_leaves_a_timer_crashes_the_service() -> None:
    """By default an exception that leaves the body crashes the service, and leaves the block as it was raised."""
    boom = ValueError("boom")

    class Bad(Service):
        @Service.timer(0.001)
        async def tick(self) -> None:
            raise boom

    service = Bad()
    with pytest.raises(ValueError, match="boom") as caught:
        async with service:
            await anyio.sleep_forever()
    assert caught.value is boom
    assert service.crash_reason is boom


def test_errors_may_be_logged_instead(caplog: pytest.LogCaptureFixture) -> None:
    """With on_error="log" a failure is logged with its traceback and told as an event, and the schedule goes on."""
    events: list[LifecycleEvent] = []

    class Robust(Ticking):
        @Service.timer(1.0, exec_first=True, on_error="log")
        async def tick(self) -> None:
            self.note()
            if len(self.times) != 2:
                raise ValueError(f"tick {len(self.times)}")

    async def main() -> Robust:
        async with Robust() as service:
            await anyio.sleep(3.5)
            assert service.state == "running"
        return service

    unsubscribe = subscribe(events.append)
    service = run_virtually(main)
    unsubscribe()
    assert service.times == [0.0, 1.0, 2.0, 3.0]
    assert service.failures == ()
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [str(record.exc_info[1]) for record in errors if record.exc_info] == [
        "tick 1",
        "tick 3",
        "tick 4",
    ]
    assert all("Robust.tick" in record.getMessage() for record in errors)
    failed = [event for event in events if isinstance(event, TickFailed)]
    assert [(event.subject, event.timer, str(event.error)) for event in failed] == [
        (service, "Robust.tick", "tick 1"),
        (service, "Robust.tick", "tick 3"),
        (service, "Robust.tick", "tick 4"),
    ]


async def test_what_is_no_exception_is_never_only_logged() -> None:
    """With on_error="log" too, an interrupt crashes the service."""

    class Robust(Service):
        @Service.timer(0.001, on_error="log")
        async def tick(self) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        async with Robust():
            await anyio.sleep_forever()


# --- The end --------------------------------------------------------------------------------------


async def test_a_stop_ends_a_waiting_timer_at_once() -> None:
    """A timer that waits for its tick does not hold up a stop, and does not tick any more."""
    ticks: list[str] = []

    class Daily(Service):
        drain_timeout = 1000.0

        @Service.timer(timedelta(days=1))
        async def tick(self) -> None:
            ticks.append("tick")  # pragma: no cover - never due

    async with Daily():
        await anyio.wait_all_tasks_blocked()
    assert ticks == []


async def test_a_stop_cancels_a_running_body() -> None:
    """A body that is running when the service stops is cancelled, like a task."""
    running = anyio.Event()
    ends: list[str] = []

    class Busy(Service):
        @Service.timer(0.001)
        async def tick(self) -> None:
            running.set()
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                ends.append("cancelled")
                raise

    async with Busy():
        await running.wait()
    assert ends == ["cancelled"]


async def test_a_drain_lets_a_running_body_end() -> None:
    """Within drain_timeout a body that is running may end; no further tick begins."""
    running, gate = anyio.Event(), anyio.Event()
    ends: list[str] = []

    class Drained(Service):
        drain_timeout = 1000.0

        @Service.timer(0.001)
        async def tick(self) -> None:
            running.set()
            await gate.wait()
            ends.append("finished")

        async def on_stop(self) -> None:
            gate.set()

    async with Drained():
        await running.wait()
    assert ends == ["finished"]


async def test_a_body_may_stop_its_service() -> None:
    """A timer may stop the service that it belongs to."""

    class Once(Service):
        @Service.timer(0.001)
        async def tick(self) -> None:
            await self.stop()

    service = Once()
    await service.start()
    await service.wait_until_stopped()
    await service.stop()
    assert (service.state, service.failures) == ("shutdown", ())


# --- Declaring ------------------------------------------------------------------------------------


def test_overriding_a_timer() -> None:
    """A subclass may override a timer by one with another interval, or by a task; None switches it off."""

    class Base(Ticking):
        @Service.timer(1.0)
        async def tick(self) -> None:
            self.note()

    class Slower(Base):
        @Service.timer(2.0)
        async def tick(self) -> None:
            await super().tick()

    class Off(Base):
        tick = None  # type: ignore[assignment]

    async def main() -> list[list[float]]:
        base, slower, off = Base(), Slower(), Off()
        async with base, slower, off:
            await anyio.sleep(4.5)
        return [base.times, slower.times, off.times]

    assert run_virtually(main) == [[1.0, 2.0, 3.0, 4.0], [2.0, 4.0], []]


async def test_a_timer_is_a_method_too() -> None:
    """The body of a timer can be called by hand."""

    class Timed(Service):
        calls = 0

        @Service.timer(1000.0)
        async def tick(self) -> None:
            self.calls += 1

    service = Timed()
    await service.tick()
    assert service.calls == 1
    assert isinstance(Timed.tick, services.TimerTask)


async def test_the_module_level_decorator() -> None:
    """`structmode.timer` and `structmode.services.timer` are the same as `Service.timer`."""
    both = [anyio.Event(), anyio.Event()]

    class Decorated(Service):
        @timer(0.001)
        async def one(self) -> None:
            both[0].set()

        @services.timer(0.001, exec_first=True)
        async def two(self) -> None:
            both[1].set()

    async with Decorated():
        for event in both:
            await event.wait()


# --- itertimer ------------------------------------------------------------------------------------


def test_itertimer_ticks_on_schedule() -> None:
    """The loop runs first after a full interval, then by the schedule, and gets the seconds until the next tick."""

    async def main() -> list[tuple[float, float]]:
        ticks: list[tuple[float, float]] = []
        async with Ticking() as service:
            async for until_next in service.itertimer(1.0):  # pragma: no branch - left by break
                ticks.append((anyio.current_time() - service.origin, until_next))
                await anyio.sleep(0.3)
                if len(ticks) == 4:
                    break
        return ticks

    assert run_virtually(main) == [(1.0, 1.0), (2.0, 1.0), (3.0, 1.0), (4.0, 1.0)]


def test_itertimer_leaves_out_what_the_loop_overlaps() -> None:
    """Ticks that the loop's body takes too long for are left out."""

    async def main() -> list[float]:
        async with Ticking() as service:
            async for _ in service.itertimer(1.0):  # pragma: no branch - left by break
                service.note()
                await anyio.sleep(1.5)
                if len(service.times) == 3:
                    break
        return service.times

    assert run_virtually(main) == [1.0, 3.0, 5.0]


async def test_itertimer_ends_when_the_service_stops() -> None:
    """The loop ends, without another tick, when the service is told to stop."""
    ticks: list[float] = []
    ended = anyio.Event()

    class Looping(Service):
        drain_timeout = 1000.0

        @Service.task
        async def loop_(self) -> None:
            async for seconds in self.itertimer(3600.0):
                ticks.append(seconds)  # pragma: no cover - never due
            ended.set()

    async with Looping():
        await anyio.wait_all_tasks_blocked()
    assert ended.is_set()
    assert ticks == []


async def test_itertimer_ends_when_the_service_crashes() -> None:
    """A crash ends the loop too, also in a task that is not the service's own."""
    ended = anyio.Event()

    async def loop(service: Service) -> None:
        async for _ in service.itertimer(3600.0):
            pass  # pragma: no cover - never due
        ended.set()

    async with anyio.create_task_group() as group:
        with pytest.raises(ValueError, match="boom"):
            async with Ticking() as service:
                group.start_soon(loop, service)
                await anyio.wait_all_tasks_blocked()
                await service.crash(ValueError("boom"))
                await anyio.sleep_forever()
    assert ended.is_set()


async def test_itertimer_of_a_stopped_service() -> None:
    """After a stop the loop does not begin."""
    service = Ticking()
    async with service:
        pass
    async for _ in service.itertimer(0.001):
        pytest.fail("ticked")


async def test_itertimer_before_a_start() -> None:
    """Before a start the loop runs: it ends by the stop of the run that follows."""
    service = Ticking()
    async for _ in service.itertimer(0.001):  # pragma: no branch - left by break
        break
    looping = anyio.Event()

    async def loop() -> None:
        looping.set()
        async for _ in service.itertimer(3600.0):
            pytest.fail("ticked")

    async with anyio.create_task_group() as group:
        group.start_soon(loop)
        await looping.wait()
        await anyio.wait_all_tasks_blocked()
        async with service:
            await anyio.wait_all_tasks_blocked()


async def test_itertimer_leaves_nothing_behind() -> None:
    """A loop that is left early leaves nothing: it is no async generator, and no task is there."""
    async with Ticking() as service:
        ticks = service.itertimer(0.001)
        assert not inspect.isasyncgen(ticks)
        async for _ in ticks:  # pragma: no branch - left by break
            break
        del ticks
        gc.collect()
        assert service.tracebacks() == {}
        with pytest.raises(KeyError):
            async for _ in service.itertimer(0.001):  # pragma: no branch - left by the error
                raise KeyError("body")
        with anyio.move_on_after(0.01):
            async for _ in service.itertimer(3600.0):
                pass  # pragma: no cover - never due
        assert service.tracebacks() == {}


def test_itertimer_can_be_made_anywhere() -> None:
    """Making the iterator needs no event loop: only the first tick does."""
    service = Service.from_awaitable(anyio.sleep_forever)
    assert service.itertimer(1.0) is not None


def test_itertimer_goes_on_where_it_was_left() -> None:
    """An iterator that is used by a second loop goes on with the same schedule."""

    async def main() -> list[float]:
        async with Ticking() as service:
            ticks = service.itertimer(1.0)
            async for _ in ticks:  # pragma: no branch - left by break
                service.note()
                break
            await anyio.sleep(0.5)
            async for _ in ticks:  # pragma: no branch - left by break
                service.note()
                break
        return service.times

    assert run_virtually(main) == [1.0, 2.0]


async def test_itertimer_with_a_sleep_and_a_clock_of_ones_own() -> None:
    """The loop sleeps and tells the time with what it is given."""
    now = 1000.0
    sleeps: list[float] = []

    async def sleep(seconds: float) -> None:
        nonlocal now
        sleeps.append(seconds)
        now += seconds
        await anyio.lowlevel.checkpoint()

    async with Ticking() as service:
        ticks = service.itertimer(60.0, sleep=sleep, clock=lambda: now)
        async for _ in ticks:  # pragma: no branch - left by break
            now += 10.0
            if len(sleeps) == 3:
                break
    assert sleeps == [60.0, 50.0, 50.0]


async def test_itertimer_with_a_sleep_that_no_stop_ends() -> None:
    """Even if its own sleep outlasts the stop, the loop does not run once more."""
    sleeping, gate = anyio.Event(), anyio.Event()
    ticks: list[float] = []

    async def sleep(_seconds: float) -> None:
        sleeping.set()
        await gate.wait()

    async def loop(service: Service) -> None:
        async for seconds in service.itertimer(1.0, sleep=sleep):
            ticks.append(seconds)  # pragma: no cover - never due

    async with anyio.create_task_group() as group:
        async with Ticking() as service:
            group.start_soon(loop, service)
            await sleeping.wait()
        gate.set()
    assert ticks == []


def test_itertimer_corrects_its_drift() -> None:
    """max_drift_correction means the same as for a timer."""
    clock = trio.testing.MockClock(autojump_threshold=0)

    async def main() -> list[float]:
        async with Ticking() as service, anyio.create_task_group() as group:

            async def jump() -> None:
                await anyio.sleep(9.5)
                clock.jump(1.0)

            group.start_soon(jump)
            ticks = service.itertimer(10.0, max_drift_correction=0.25)
            async for _ in ticks:  # pragma: no branch - left by break
                service.note()
                if len(service.times) == 4:
                    break
        return service.times

    assert trio.run(main, clock=clock) == [10.5, 20.25, 30.0, 40.0]


@pytest.mark.parametrize(
    "interval", [0, -1.0, math.nan, math.inf, "soon", "1/fortnight", timedelta(0)]
)
async def test_itertimer_with_a_bad_interval(interval: float | str | timedelta) -> None:
    """A bad interval is refused by the call, before any loop runs, and the error shows it."""
    with pytest.raises(ValueError, match="interval"):
        Ticking().itertimer(interval)


@pytest.mark.parametrize("interval", [None, True, [1], b"1"])
async def test_itertimer_with_no_interval(interval: object) -> None:
    """What is no duration at all is refused by the call, and the error shows what may be given."""
    with pytest.raises(TypeError, match="seconds as a number"):
        Ticking().itertimer(interval)  # type: ignore[arg-type]
