"""The corners of timers, crontabs and declared work: rounding, counts, and settings that are passed on."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any, Literal, TypeAlias

import anyio
import pytest

from structmode import Service, services
from structmode.events import LifecycleEvent, TicksSkipped, subscribe
from structmode.testing import VirtualClock, virtual_backend
from structmode.timers import Timer

Backend: TypeAlias = Literal["asyncio", "trio"]


def run_virtually(main: Callable[[], Awaitable[None]], backend: Backend) -> None:
    """Run on a virtual clock."""

    async def virtual() -> None:
        with VirtualClock():
            await main()

    anyio.run(virtual, **virtual_backend(backend))


class Clock:
    """A clock that shows what it is set to."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


# --- Rounding -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "interval", "number"), [(1.485, 2.31, 3), (2.619, 0.82, 5), (0.857, 1.52, 5)]
)
def test_a_division_that_rounds_down(origin: float, interval: float, number: int) -> None:
    """A tick that is exactly due, though the division says otherwise, is followed by the very next one."""
    clock = Clock(origin)
    timer = Timer(interval, clock=clock)
    timer.start()
    clock.now = origin + number * interval
    just_after = math.nextafter(clock.now, math.inf)
    assert math.ceil((just_after - origin) / interval) == number  # so it rounds
    assert timer.tick() == pytest.approx(interval)
    assert timer.skipped == number - 1


@pytest.mark.parametrize("number", range(1, 200))
def test_every_tick_in_phase(number: int) -> None:
    """Whatever the rounding: a wake-up at a tick is that tick, and one just after it, too."""
    clock = Clock(0.3)
    for moment in (0.3 + number * 0.1, math.nextafter(0.3 + number * 0.1, math.inf)):
        timer = Timer(0.1, clock=clock)
        clock.now = 0.3
        timer.start()
        clock.now = moment
        assert timer.tick() == pytest.approx(0.1)
        assert (timer.iteration, timer.skipped) == (1, number - 1)


# --- Counts -----------------------------------------------------------------------------------------


@pytest.fixture
def skipped() -> Iterator[list[tuple[str, int]]]:
    """What is told of ticks that were left out: the name of the timer, and how many."""
    told: list[tuple[str, int]] = []

    def listen(event: LifecycleEvent) -> None:
        if isinstance(event, TicksSkipped):
            told.append((event.timer, event.count))

    unsubscribe = subscribe(listen)
    yield told
    unsubscribe()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_crontab_that_is_late_again_and_again(
    backend: Backend, skipped: list[tuple[str, int]]
) -> None:
    """Each time it tells how many of its times have passed, not how many in all."""

    class Slow(Service):
        """Takes longer than its line allows."""

        def on_init(self) -> None:
            self.naps = [150.0, 255.0]

        @Service.crontab("* * * * *")
        async def work(self) -> None:
            await anyio.sleep(self.naps.pop(0) if self.naps else 0.0)

    async def main() -> None:
        async with Slow():
            await anyio.sleep(660)

    run_virtually(main, backend)
    assert [name for name, _ in skipped] == ["Slow.work"] * 2
    assert [count for _, count in skipped] == [1, 3]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_timer_that_is_late_again_and_again(
    backend: Backend, skipped: list[tuple[str, int]]
) -> None:
    """As for a crontab."""

    class Slow(Service):
        """Takes longer than its interval."""

        def on_init(self) -> None:
            self.naps = [2.5, 4.5]

        @Service.timer(1.0)
        async def work(self) -> None:
            await anyio.sleep(self.naps.pop(0) if self.naps else 0.0)

    async def main() -> None:
        async with Slow():
            await anyio.sleep(20)

    run_virtually(main, backend)
    assert skipped == [("Slow.work", 2), ("Slow.work", 4)]


@pytest.mark.parametrize(("drift", "lines"), [(0.5, 0), (0.75, 1), (-0.5, 0), (-0.75, 1)])
def test_how_much_drift_is_told(
    caplog: pytest.LogCaptureFixture, drift: float, lines: int
) -> None:
    """A drift of more than `max_drift` is told, not one of just as much."""
    clock = Clock(0.0)
    timer = Timer(4.0, name="x", clock=clock)
    timer.max_drift = 0.5
    timer.start()
    clock.now = 4.0 + drift
    with caplog.at_level("DEBUG", "structmode.timers"):
        timer.tick()
    assert len(caplog.records) == lines
    assert timer.drift == drift
    assert timer.late == max(drift, 0.0)


# --- Settings that are passed on ----------------------------------------------------------------------


def test_the_defaults_of_a_declared_timer() -> None:
    """As a method of the class, or as a function of the module, a timer has the same defaults, and passes all on."""

    async def body(self: Service) -> None:
        """Do nothing."""

    for declare in (Service.timer, services.timer):
        plain = declare(5.0)(body)
        assert (plain.interval, plain.exec_first, plain.timer_name) == (5.0, False, None)
        assert (plain.max_drift_correction, plain.on_error) == (0.1, "crash")
        full = declare(
            timedelta(seconds=5),
            exec_first=True,
            name="x",
            max_drift_correction=0.5,
            on_error="log",
        )(body)
        assert (full.interval, full.exec_first) == (timedelta(seconds=5), True)
        assert (full.timer_name, full.max_drift_correction) == ("x", 0.5)
        assert full.on_error == "log"


def test_the_defaults_of_a_declared_crontab() -> None:
    """So it is with a crontab."""

    async def body(self: Service) -> None:
        """Do nothing."""

    for declare in (Service.crontab, services.crontab):
        assert declare("* * * * *")(body).on_error == "crash"
        assert declare("* * * * *", on_error="log")(body).on_error == "log"


async def test_the_settings_of_itertimer() -> None:
    """What is given to `itertimer` is what the timer works with; else the service's own sleep, name and clock."""
    slept: list[float] = []
    clock = Clock(100.0)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.now += seconds + 0.5

    async with Service() as service:
        seconds: list[float] = []
        async for left in service.itertimer(
            10.0, max_drift_correction=0.2, sleep=sleep, clock=clock, name="mine"
        ):
            seconds.append(left)
            if len(seconds) == 3:
                break
    # Half a second late each time; it catches up by a fifth of a second at the most.
    assert slept == pytest.approx([10.0, 9.8, 9.8])
    assert seconds == pytest.approx([9.8, 9.8, 9.8])


@pytest.mark.parametrize("name", ["", "mine"])
async def test_the_name_of_an_itertimer(name: str, skipped: list[tuple[str, int]]) -> None:
    """By default it is called by its service."""
    clock = Clock(100.0)

    async def sleep(seconds: float) -> None:
        clock.now += seconds

    async with Service() as service:
        given: dict[str, Any] = {"name": name} if name else {}
        turns = 0
        async for _ in service.itertimer(1.0, sleep=sleep, clock=clock, **given):
            turns += 1
            if turns == 2:
                break
            clock.now += 6.5
    assert skipped == [(name or "Service", 6)]


async def test_the_defaults_of_itertimer() -> None:
    """By default it catches up by a tenth of a second at the most."""
    clock = Clock(100.0)

    async def sleep(seconds: float) -> None:
        clock.now += seconds + 0.5

    async with Service() as service:
        async for seconds in service.itertimer(10.0, sleep=sleep, clock=clock):
            assert seconds == pytest.approx(9.9)
            break


def test_the_repr_of_declared_work() -> None:
    """It tells the kind and the name."""

    class Working(Service):
        """Has one of each."""

        @Service.task
        async def once(self) -> None:
            """Do nothing."""

        @Service.timer(1.0)
        async def often(self) -> None:
            """Do nothing."""

        @Service.crontab("* * * * *")
        async def daily(self) -> None:
            """Do nothing."""

    shown = [repr(vars(Working)[name]) for name in ("once", "often", "daily")]
    assert shown == ["<ServiceTask 'once'>", "<TimerTask 'often'>", "<CrontabTask 'daily'>"]


async def test_a_flagged_method_gets_its_arguments() -> None:
    """`transitions_to` passes on positions and keywords, and unsets its flag whatever happens."""

    class Flagged(Service):
        """Has a method that sets a flag."""

        @Service.transitions_to("busy")
        async def work(self, *args: int, **kwargs: int) -> tuple[object, ...]:
            return args, kwargs, "busy" in self.diag.flags

    service = Flagged()
    assert await service.work(1, 2, three=3) == ((1, 2), {"three": 3}, True)
    assert "busy" not in service.diag.flags
