"""The ends of what chance may say about a wait: both are allowed, and nothing beyond them is."""

from __future__ import annotations

import math

import pytest

from structmode.supervisors import Backoff


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 4.0), (1.0, 1.0)])
def test_both_ends(chance: float, seconds: float) -> None:
    """At the one end nothing is taken off the longest wait, and at the other all that is left to chance."""
    assert Backoff(initial=4.0, jitter=0.75).delay(0, chance) == seconds


@pytest.mark.parametrize("chance", [math.nextafter(0.0, -1.0), math.nextafter(1.0, 2.0), math.nan])
def test_beyond_them(chance: float) -> None:
    """What is beyond them by ever so little is refused."""
    with pytest.raises(ValueError, match="numbers from 0 up to 1, and it returned"):
        Backoff().delay(0, chance)
