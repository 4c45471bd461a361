"""What a timer says of itself before anything has happened: numbers, as later."""

from __future__ import annotations

import pytest

from structmode.timers import Timer


@pytest.mark.parametrize("name", ["last_wakeup_at", "last_yield_at", "drift", "late"])
def test_times(name: str) -> None:
    """No time has passed yet; whoever shows or adds up the numbers need not ask whether there are any."""
    value = getattr(Timer(5.0), name)
    assert value == 0.0
    assert isinstance(value, float)


@pytest.mark.parametrize("name", ["iteration", "skipped", "overlaps"])
def test_counts(name: str) -> None:
    """Nothing has been counted yet."""
    value = getattr(Timer(5.0), name)
    assert value == 0
    assert isinstance(value, int)


@pytest.mark.parametrize("name", ["last_wakeup_at", "last_yield_at"])
def test_times_once_it_is_started(name: str) -> None:
    """From the start on it is the time of the start, until there is a tick."""
    timer = Timer(5.0, clock=lambda: 100.0)
    timer.start()
    assert getattr(timer, name) == 100.0
    assert (timer.iteration, timer.drift, timer.late) == (0, 0.0, 0.0)
