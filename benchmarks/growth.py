"""Cost as work grows: what one service costs among 10 and among 100,000, and one waiter among 1 and among 10,000.

What costs the same for each, however many there are, is a flat line. A line that rises is work that grows faster than what
is asked for, and a finding.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from typing import NamedTuple

from .clock import now, settle
from .library import Event, Service, hand, open_group, sleep
from .model import Row
from .topics.trees import LONG, Empty

#: Of the timers, in seconds; and for so long it is watched how services idle.
INTERVAL = 10.0

SIZES = (10, 100, 1_000, 10_000, 100_000)
#: From so many on, what has started is frozen, as a program should do that has so many: Python's garbage collector would look
#: through all of them again and again, and be what is measured.
FROZEN = 100_000
WAITERS = (1, 10, 100, 1_000, 10_000)


class Ticking(Service):
    """A service with a slow timer."""

    @Service.timer(INTERVAL)
    async def tick(self) -> None:
        """Do nothing."""


async def _tick_by_hand() -> None:
    due = hand.current_time()
    while True:
        due += INTERVAL
        await hand.sleep_until(due)


async def _idle(count: int) -> float:
    """Return the time of the processor that each takes in a second."""
    if count >= FROZEN:
        gc.freeze()
    # As long as an interval, so that every timer ticks once; unless it is but tried whether this works.
    seconds = INTERVAL if count >= SIZES[0] else count / 10
    before, began = time.process_time(), now()
    await sleep(seconds)
    return (time.process_time() - before) / (now() - began) / count


async def services(count: int) -> tuple[float, float, float]:
    """Return what a service costs to start, to have for a second, and to stop."""
    root = Empty()
    root.shutdown_timeout = LONG
    for _ in range(count):
        root.add_dependency(Ticking())
    began = now()
    async with root:
        started = now() - began
        idle = await _idle(count)
        stopping = now()
    return started / count, idle, (now() - stopping) / count


async def services_by_hand(count: int) -> tuple[float, float, float]:
    """Return what a task costs to start, to have for a second, and to stop."""
    began = now()
    async with open_group() as group:
        for _ in range(count):
            group.start_soon(_tick_by_hand)
        await settle()
        started = now() - began
        idle = await _idle(count)
        stopping = now()
        group.cancel_scope.cancel()
    return started / count, idle, (now() - stopping) / count


class _Crowd:
    """Those who wait for one event, and the time when the last of them has woken."""

    def __init__(self, count: int) -> None:
        self._asleep = count
        self.last_woken = 0.0

    def wake(self) -> None:
        """Count one who has woken."""
        self._asleep -= 1
        if not self._asleep:
            self.last_woken = now()


async def waiters(count: int) -> float:
    """Return what it costs to wake each task of a service that waits for one event."""
    event, crowd = Event(), _Crowd(count)

    async def wait(service: Service) -> None:
        await service.wait(event)
        crowd.wake()

    async with Empty() as service:
        futures = [service.add_future(wait(service)) for _ in range(count)]
        await settle()
        began = now()
        event.set()
        for future in futures:
            await future
    return (crowd.last_woken - began) / count


async def waiters_by_hand(count: int) -> float:
    """Return what it costs to wake each task that waits for one event."""
    event, crowd = hand.Event(), _Crowd(count)

    async def wait() -> None:
        with hand.CancelScope():
            await event.wait()
        crowd.wake()

    async with open_group() as group:
        for _ in range(count):
            group.start_soon(wait)
        await settle()
        began = now()
        event.set()
    return (crowd.last_woken - began) / count


CURVES: Sequence[Row] = (
    Row(
        name="services",
        work="services",
        codes={"services": services, "hand": services_by_hand},
        size=0,
        turns=1,
        warm=False,
    ),
    Row(
        name="waiters",
        work="waiters",
        codes={"services": waiters, "hand": waiters_by_hand},
        size=0,
        turns=1,
        warm=False,
    ),
)


class Panel(NamedTuple):
    """A curve for each contender.

    Attributes:
        name: What it is called in what is kept.
        title: What it shows.
        curve: The benchmark that it comes from.
        part: Which of its figures it is.
        sizes: How many there are of what it counts.
    """

    name: str
    title: str
    curve: Row
    part: int
    sizes: Sequence[int]


PANELS: Sequence[Panel] = (
    Panel("start", "start, per service", CURVES[0], 0, SIZES),
    Panel("idle", "idle with a timer at 10 s, per service and second", CURVES[0], 1, SIZES),
    Panel("stop", "stop, per service", CURVES[0], 2, SIZES),
    Panel("wake", "wake who waits for one event, per waiter", CURVES[1], 0, WAITERS),
)
