"""The chapter `mode.utils.times` of mode's manual: durations, rates, and how they are said."""

from __future__ import annotations

from datetime import timedelta

import pytest

from structmode import want_seconds
from structmode.utils.times import humanize_seconds, humanize_seconds_ago, rate


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
