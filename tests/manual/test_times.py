"""The chapter `mode.utils.times` of mode's manual: durations, rates, and how they are said."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from structmode import want_seconds
from structmode.testing import VirtualClock
from structmode.utils.times import (
    TokenBucket,
    humanize_seconds,
    humanize_seconds_ago,
    rate,
    rate_limit,
)

from .here import virtual_time


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (1.203, 1.203),
        ("1.203", 1.203),
        (timedelta(seconds=1.203), 1.203),
        ("10/s", 10.0),
        ("10.3/h", 0.0028611111111111116),
        ("100/h", 0.02777777777777778),
        ("100/d", 0.0011574074074074076),
    ],
)
def test_durations_in_any_form(given: float | str | timedelta, seconds: float) -> None:
    """A duration may be a number, a timedelta, a number in a string, or a rate."""
    assert want_seconds(given) == pytest.approx(seconds, rel=1e-15)


def test_rates() -> None:
    """A rate string is a number per second."""
    assert rate("100/m") == pytest.approx(100 / 60)
    assert rate("2/h") == pytest.approx(2 / 3600)
    assert rate("0.5/s") == 0.5


def test_durations_in_words() -> None:
    """A duration is said in the largest unit that fits; a preposition is for those that are not "now"."""
    assert humanize_seconds(60) == "1 minute"
    assert humanize_seconds(7200) == "2 hours"
    assert humanize_seconds(1, prefix="in") == "in 1 second"
    assert humanize_seconds(0, prefix="in") == "now"
    assert humanize_seconds(0.5, now="this instant") == "this instant"


def test_how_long_ago() -> None:
    """What is less than a second ago was just now."""
    assert humanize_seconds_ago(3.33) == "3.33 seconds ago"
    assert humanize_seconds_ago(0.3) == "just now"


async def test_pouring_from_a_bucket() -> None:
    """`pour` takes tokens if there are enough; if not, `expected_time` tells for how long to wait."""
    bucket = TokenBucket(2, over=1000.0)
    assert bucket.pour()
    assert bucket.pour()
    assert not bucket.pour()
    assert 0 < bucket.expected_time() <= 500.0


@virtual_time
async def test_pouring_when_it_is_time(virtual_clock: VirtualClock) -> None:
    """After that time, there are as many tokens as were asked for."""
    bucket = TokenBucket(10, over=10.0)
    assert bucket.pour(10)
    assert not bucket.pour(10)
    await anyio.sleep(bucket.expected_time(10))
    assert virtual_clock.elapsed == pytest.approx(10.0)
    assert bucket.pour(10)


@virtual_time
async def test_a_bucket_as_a_context(virtual_clock: VirtualClock) -> None:
    """`async with` waits until there is a token."""
    bucket = rate_limit(1, over=10.0)
    async with bucket:
        assert virtual_clock.elapsed == 0.0
    async with bucket:
        assert virtual_clock.elapsed == pytest.approx(10.0)


async def test_a_bucket_that_raises() -> None:
    """With `raises`, it does not wait."""

    class TooFast(Exception):
        pass

    bucket = TokenBucket(100, over=1000.0, raises=TooFast)
    for _ in range(100):
        async with bucket:
            pass
    with pytest.raises(TooFast):
        async with bucket:
            raise AssertionError
