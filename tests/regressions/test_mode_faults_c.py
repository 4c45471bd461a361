"""The faults of mode's timers and crontabs, by their numbers in the survey: each test states the opposite of one."""

from __future__ import annotations

import asyncio
import logging
import selectors
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio.testing

from structmode import Service, Timer
from structmode.events import LifecycleEvent, TickFailed, subscribe
from structmode.utils.cron import CronClock, CronSchedule, CronTicks

# --- Clocks ---------------------------------------------------------------------------------------


class JumpingSelector(selectors.SelectSelector):
    """Lets time pass where others would wait for it."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0 if timeout else timeout)
        if timeout and not ready:
            self.passed += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's event loop on a clock that jumps to the next thing to do."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.passed


#: Backends on which hours pass in no time.
virtual_time = pytest.mark.parametrize(
    "anyio_backend",
    [
        pytest.param(("asyncio", {"loop_factory": VirtualLoop}), id="asyncio"),
        pytest.param(("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}), id="trio"),
    ],
)


class FakeTime:
    """A clock for one timer, which stands still but for `sleep`."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        """Tell the time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await anyio.lowlevel.checkpoint()
        self.now += seconds


class Ticking(Service):
    """Ticks every half a second of its own clock, with a body that takes some time; five times."""

    def __init__(self, body: float) -> None:
        self.fake = FakeTime()
        self.body = body
        self.ticks: list[float] = []
        self.running = self.most_running = 0
        self.done = anyio.Event()
        super().__init__()

    def itertimer(self, interval: Any, **kwargs: Any) -> AsyncIterator[float]:
        return super().itertimer(interval, clock=self.fake.clock, sleep=self.fake.sleep, **kwargs)

    @Service.timer(0.5)
    async def tick(self) -> None:
        self.ticks.append(self.fake.now)
        if len(self.ticks) == 5:
            self.done.set()
            await anyio.sleep_forever()
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        await self.fake.sleep(self.body)
        self.running -= 1


# --- C1 -------------------------------------------------------------------------------------------


@pytest.mark.fault("C1")
async def test_c01_period_has_no_run_time_in_it() -> None:
    """A timer whose body takes time ticks at its interval, and not at its interval plus that time."""
    async with Ticking(body=0.2) as service:
        await service.done.wait()
    assert service.ticks == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.5])


@pytest.mark.fault("C1")
@virtual_time
async def test_c01_period_of_itertimer_on_the_loops_clock() -> None:
    """The same holds for `itertimer`, on the event loop's own clock, after a thousand ticks."""
    async with Service() as service:
        start = anyio.current_time()
        ticks = 0
        async for _ in service.itertimer(0.5):  # pragma: no branch - left by break
            ticks += 1
            if ticks == 1000:
                break
            await anyio.sleep(0.2)
        assert anyio.current_time() - start == pytest.approx(500.0)


# --- C2 -------------------------------------------------------------------------------------------


@pytest.mark.fault("C2")
async def test_c02_overrun_ticks_are_left_out() -> None:
    """A body that overruns never runs twice at a time, nor in a burst after it; the phase is kept."""
    async with Ticking(body=1.2) as service:
        await service.done.wait()
    assert service.ticks == pytest.approx([0.5, 2.0, 3.5, 5.0, 6.5])
    assert service.most_running == 1


@pytest.mark.fault("C2")
async def test_c02_overrun_ticks_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """What an overrun leaves out is counted by the timer, and told in the log."""
    caplog.set_level(logging.INFO)
    fake = FakeTime()
    timer = Timer(1.0, name="slow", clock=fake.clock, sleep=fake.sleep)
    async for _ in timer:  # pragma: no branch - left by break
        if timer.iteration == 3:
            break
        await fake.sleep(2.5)
    assert (timer.iteration, timer.overlaps, timer.skipped) == (3, 2, 4)
    assert "'slow' overlaps" in caplog.text


# --- C3 -------------------------------------------------------------------------------------------


class LaggingClocks:
    """The system's clocks, of which the wall clock loses a part of each second."""

    def __init__(self, lag: float) -> None:
        self.lag = lag
        self.wall = datetime(2026, 1, 15, 12, tzinfo=UTC).timestamp()
        self.monotonic = 0.0

    def pass_(self, seconds: float) -> None:
        """Let time pass, as the event loop measures it."""
        self.monotonic += seconds
        self.wall += seconds * (1.0 - self.lag)


@pytest.mark.fault("C3")
@pytest.mark.parametrize("lag", [0.0, 0.00001, 0.001, 0.05])
def test_c03_one_run_for_each_time(lag: float) -> None:
    """However the wall clock lags behind the event loop's, each time has one run, and none comes early."""
    clocks = LaggingClocks(lag)
    clock = CronClock(
        wall=lambda: clocks.wall,
        monotonic=lambda: clocks.monotonic,
        now=lambda: clocks.monotonic,
    )
    ticks = CronTicks(CronSchedule("*/10 * * * *"), clock)
    ticks.start()
    runs: list[datetime] = []
    while len(runs) < 100:
        clocks.pass_(ticks.delay())
        if ticks.due():
            runs.append(ticks.tick())
            assert clocks.wall >= runs[-1].timestamp() - 0.001
    assert {later - earlier for earlier, later in pairwise(runs)} == {timedelta(minutes=10)}
    assert ticks.missed == 0


class EveryTenMinutes(Service):
    """Notes when it runs, on the event loop's clock, and how long it is to take."""

    def __init__(self, bodies: list[float]) -> None:
        self.runs: list[float] = []
        self.bodies = bodies
        super().__init__()

    @Service.crontab("*/10 * * * *")
    async def run(self) -> None:
        self.runs.append(anyio.current_time())
        await anyio.sleep(self.bodies.pop() if self.bodies else 0.0)


@pytest.mark.fault("C3")
@virtual_time
async def test_c03_one_run_for_each_time_in_a_service() -> None:
    """A crontab of a service runs once for each of its times."""
    async with EveryTenMinutes([]) as service:
        await anyio.sleep(6 * 3600.0)
    assert len(service.runs) in {35, 36}  # who ends first, if the last one is due just then?
    gaps = [later - earlier for earlier, later in pairwise(service.runs)]
    assert gaps == pytest.approx([600.0] * len(gaps), abs=1.0)


# --- C4 -------------------------------------------------------------------------------------------


@pytest.mark.fault("C4")
@virtual_time
async def test_c04_missed_runs_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """Times that a crontab's body overruns are made up for by one run, and the log tells of the others."""
    async with EveryTenMinutes([2400.0 - 1.0]) as service:
        await anyio.sleep(6 * 3600.0)
    gaps = [later - earlier for earlier, later in pairwise(service.runs)]
    assert gaps[0] == pytest.approx(2399.0, abs=1.0)
    assert gaps[1] < 601.0
    (line,) = [record.getMessage() for record in caplog.records if "missed" in record.getMessage()]
    assert "EveryTenMinutes.run" in line
    assert "missed 2 of its times" in line


@pytest.mark.fault("C4")
def test_c04_missed_runs_are_counted() -> None:
    """Each time is run for or counted as missed, so that none is lost."""
    clocks = LaggingClocks(0.0)
    clock = CronClock(
        wall=lambda: clocks.wall,
        monotonic=lambda: clocks.monotonic,
        now=lambda: clocks.monotonic,
    )
    ticks = CronTicks(CronSchedule("*/10 * * * *"), clock)
    ticks.start()
    clocks.pass_(3 * 3600.0)
    assert ticks.due()
    assert ticks.tick() == datetime(2026, 1, 15, 15, tzinfo=UTC)
    assert (ticks.iteration, ticks.missed) == (1, 17)


# --- C5 -------------------------------------------------------------------------------------------


class Stopping(Service):
    """Notes its stop."""

    def __init__(self, name: str, events: list[str]) -> None:
        self.name = name
        self.events = events
        super().__init__()

    @property
    def label(self) -> str:
        return self.name

    async def on_stop(self) -> None:
        self.events.append(f"{self.name} on_stop")

    async def on_shutdown(self) -> None:
        self.events.append(f"{self.name} on_shutdown")


class FailingTimer(Stopping):
    """Fails at its second tick."""

    ticks = 0

    @Service.timer(0.001)
    async def tick(self) -> None:
        self.ticks += 1
        if self.ticks == 2:
            raise ValueError("tick")


class FailingCrontab(Stopping):
    """Fails at its second time."""

    ticks = 0

    @Service.crontab("* * * * *")
    async def tick(self) -> None:
        self.ticks += 1
        if self.ticks == 2:
            raise ValueError("tick")


class Tough(Stopping):
    """Fails at every other tick, and goes on."""

    def __init__(self, name: str, events: list[str]) -> None:
        self.ticks = 0
        self.enough = anyio.Event()
        super().__init__(name, events)

    async def fail_sometimes(self) -> None:
        """Fail at every other tick."""
        self.ticks += 1
        if self.ticks == 5:
            self.enough.set()
        if self.ticks % 2 == 0:
            raise ValueError(f"tick {self.ticks}")


class ToughTimer(Tough):
    """By a timer."""

    @Service.timer(0.001, on_error="log", name="its name")
    async def tick(self) -> None:
        await self.fail_sometimes()


class ToughCrontab(Tough):
    """By a crontab."""

    @Service.crontab("* * * * *", on_error="log")
    async def tick(self) -> None:
        await self.fail_sometimes()


async def _survive(make: type[Tough], name: str, caplog: pytest.LogCaptureFixture) -> None:
    root, tough = Stopping("root", []), make("tough", [])
    root.add_dependency(tough)
    told: list[LifecycleEvent] = []
    unsubscribe = subscribe(told.append)
    async with root:
        await tough.enough.wait()
        assert (root.state, tough.state) == ("running", "running")
    unsubscribe()
    failures = [event for event in told if isinstance(event, TickFailed)]
    assert [str(event.error) for event in failures[:2]] == ["tick 2", "tick 4"]
    assert {(event.subject, event.timer) for event in failures} == {(tough, name)}
    logged = [record for record in caplog.records if record.exc_info]
    assert [record.exc_info[1] for record in logged if record.exc_info] == [
        event.error for event in failures
    ]
    assert not root.failures


@pytest.mark.fault("C5")
async def test_c05_failing_tick_need_not_crash_the_tree(caplog: pytest.LogCaptureFixture) -> None:
    """With `on_error="log"` a timer goes on after a failure, which is logged with its traceback and told."""
    await _survive(ToughTimer, "its name", caplog)


@pytest.mark.fault("C5")
@virtual_time
async def test_c05_failing_crontab_need_not_crash_the_tree(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With `on_error="log"` a crontab does so, too."""
    await _survive(ToughCrontab, "tough.tick", caplog)


async def _crash_of(make: type[FailingTimer | FailingCrontab]) -> None:
    events: list[str] = []
    root, failing = Stopping("root", events), make("failing", events)
    root.add_dependency(failing)
    with pytest.raises(ValueError, match="tick"):
        async with root:
            await anyio.sleep_forever()
    assert failing.ticks == 2
    assert (root.state, failing.state) == ("crashed", "crashed")
    assert events == [
        "root on_stop",
        "failing on_stop",
        "failing on_shutdown",
        "root on_shutdown",
    ]


@pytest.mark.fault("C5")
async def test_c05_failure_of_a_timer_is_not_lost() -> None:
    """Without that, what leaves a timer's body reaches the owner as it was raised, after a stop in order."""
    await _crash_of(FailingTimer)


@pytest.mark.fault("C5")
@virtual_time
async def test_c05_failure_of_a_crontab_is_not_lost() -> None:
    """Without that, what leaves a crontab's body reaches the owner as it was raised, after a stop in order."""
    await _crash_of(FailingCrontab)


# --- C6 -------------------------------------------------------------------------------------------


class Hourly(Service):
    """Counts hours."""

    hours = 0

    @Service.timer(3600.0)
    async def tick(self) -> None:
        self.hours += 1


@pytest.mark.fault("C6")
@virtual_time
async def test_c06_virtual_clock_drives_everything() -> None:
    """Timers, sleeps and timeouts of a service go by the event loop's clock, also by one that jumps ahead."""
    async with Hourly() as service:
        start = anyio.current_time()
        await service.sleep(86400.0)
        assert anyio.current_time() - start == pytest.approx(86400.0)
        assert service.hours in {23, 24}  # both are due at the end
        result = await service.wait(anyio.Event(), timeout=86400.0)
        assert result.timed_out
        assert anyio.current_time() - start == pytest.approx(2 * 86400.0)
        async for _ in service.itertimer(3600.0):  # pragma: no branch - left by break
            break
        assert service.hours in {48, 49}


@pytest.mark.fault("C6")
async def test_c06_timer_reads_the_loops_clock() -> None:
    """A timer made without a clock reads the event loop's."""
    timer = Timer(3600.0)
    before = anyio.current_time()
    timer.start()
    await anyio.lowlevel.checkpoint()
    assert before <= timer.last_wakeup_at <= anyio.current_time()
