"""Timers: how late the ticks of one every 10 ms are, and how far it is off its schedule after three seconds.

The schedule is that of a clock: the n-th tick is due n intervals after the service has started. So a timer that counts each
interval from the end of the last tick is later and later.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.clock import now
from benchmarks.library import Event, Service, hand
from benchmarks.model import ELSEWHERE, Row, times_mode

#: In seconds.
INTERVAL = 0.01


class Ticker(Service):
    """A service with a timer, and the times of its ticks.

    Args:
        ticks: After how many ticks it is done.
    """

    def __init__(self, ticks: int) -> None:
        super().__init__()
        self.ticks = ticks
        self.began = 0.0
        self.times: list[float] = []
        self.done = Event()

    async def on_start(self) -> None:
        """Note when the schedule begins."""
        self.began = now()

    @Service.timer(INTERVAL)
    async def tick(self) -> None:
        """Note when it came."""
        self.times.append(now())
        if len(self.times) == self.ticks:
            self.done.set()


async def ticks(count: int) -> list[float]:
    """Return how late each tick of a service's timer was, in seconds."""
    async with Ticker(count) as ticker:
        await ticker.done.wait()
        return lateness(ticker.began, ticker.times[:count])


async def ticks_by_hand(count: int) -> list[float]:
    """Return how late each pass of a loop was that sleeps until the time of the next."""
    times: list[float] = []
    began, schedule = now(), hand.current_time()
    for number in range(1, count + 1):
        await hand.sleep_until(schedule + number * INTERVAL)
        times.append(now())
    return lateness(began, times)


def lateness(began: float, times: Sequence[float]) -> list[float]:
    """Return by how much each time is off its place in the schedule."""
    return [abs(time - began - number * INTERVAL) for number, time in enumerate(times, 1)]


async def mean_lateness(count: int) -> float:
    """Return how late a service's timer is in the mean."""
    return statistics.fmean(await ticks(count))


async def mean_lateness_by_hand(count: int) -> float:
    """Return how late the loop is in the mean."""
    return statistics.fmean(await ticks_by_hand(count))


async def drift(count: int) -> float:
    """Return how late the last tick of a service's timer is."""
    return (await ticks(count))[-1]


async def drift_by_hand(count: int) -> float:
    """Return how late the last pass of the loop is."""
    return (await ticks_by_hand(count))[-1]


ROWS: Sequence[Row] = (
    Row(
        name="timer-lateness",
        work="timer at 10 ms: mean lateness",
        codes={"services": mean_lateness, "hand": mean_lateness_by_hand},
        size=300,
        goals=(times_mode(50), *ELSEWHERE),
        turns=1,
        warm=False,
    ),
    Row(
        name="timer-drift",
        work="timer at 10 ms: drift after 3 s",
        codes={"services": drift, "hand": drift_by_hand},
        size=300,
        goals=(times_mode(100), *ELSEWHERE),
        turns=1,
        warm=False,
    ),
)
