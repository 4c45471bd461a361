"""The chapter `mode.timers` of mode's manual: the state of a timer, and how it keeps to its schedule."""

from __future__ import annotations

import anyio
import pytest

from structmode.testing import VirtualClock
from structmode.timers import Timer

from .here import virtual_time


@virtual_time
async def test_a_timer_is_iterated_over(virtual_clock: VirtualClock) -> None:
    """A timer waits for its interval before each round, and counts them."""
    timer = Timer(1.0, name="manual")
    at: list[float] = []
    async for _ in timer:  # pragma: no branch - left by break
        at.append(round(virtual_clock.elapsed, 6))
        await anyio.sleep(0.25)  # is no part of the interval
        if timer.iteration == 3:
            break
    assert at == [1.0, 2.0, 3.0]
    assert (timer.interval, timer.interval_s) == (1.0, 1.0)


def test_a_timer_by_hand() -> None:
    """`tick` tells how long to wait; one that comes late is made up for, by no more than the correction at a time."""
    now = 100.0
    timer = Timer(10.0, max_drift_correction=0.1, clock=lambda: now)
    now += timer.tick()
    timer.on_before_yield()
    assert now == pytest.approx(110.0)
    now += 0.3
    assert timer.tick() == pytest.approx(9.9)
    assert timer.drift == pytest.approx(0.3)


def test_the_bounds_of_a_correction() -> None:
    """The interval is adjusted to drift within the bounds of the timer."""
    timer = Timer(10.0, max_drift_correction=0.5)
    assert (timer.min_interval_s, timer.max_interval_s) == (9.5, 10.5)
    assert timer.adjust_interval(0.2) == pytest.approx(9.8)
    assert timer.adjust_interval(5.0) == pytest.approx(9.5)
    assert timer.adjust_interval(-5.0) == pytest.approx(10.5)
