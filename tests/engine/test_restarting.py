"""What is decided about restarts: pure answers, compared with what was asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given, strategies as st

from structmode._engine import Backoff, Budget, Reach, RestartType, wants_restart

TIMES = st.lists(st.integers(0, 400).map(lambda tenths: tenths / 10), max_size=40).map(sorted)


@pytest.mark.parametrize(
    ("kind", "failed", "wanted"),
    [
        ("permanent", True, True),
        ("permanent", False, True),
        ("transient", True, True),
        ("transient", False, False),
        ("temporary", True, False),
        ("temporary", False, False),
    ],
)
def test_who_is_restarted(kind: RestartType, failed: bool, wanted: bool) -> None:
    """OTP's table."""
    assert wants_restart(kind, failed=failed) is wanted


# --- Budget ---------------------------------------------------------------------------------------


@given(limit=st.integers(0, 5), window=st.integers(1, 100).map(lambda t: t / 10), times=TIMES)
def test_budget_means_exactly_that(limit: int, window: float, times: list[float]) -> None:
    """No window has more than it allows, and nothing is refused but what would make it so."""
    budget = Budget(limit, window)
    granted: list[float] = []
    for now in times:
        recent = [past for past in granted if past > now - window]
        assert budget.spend(now) is (len(recent) < limit)
        if len(recent) < limit:
            granted.append(now)
    for first in granted:
        assert sum(first <= time < first + window for time in granted) <= limit


def test_a_window_is_open_at_its_end() -> None:
    """What was spent exactly one window ago counts no longer."""
    budget = Budget(1, 10.0)
    assert budget.spend(5.0)
    assert not budget.spend(14.999)
    assert budget.spend(15.0)


def test_a_refusal_spends_nothing() -> None:
    """However often it is asked for in vain."""
    budget = Budget(2, 10.0)
    assert [budget.spend(0.0) for _ in range(5)] == [True, True, False, False, False]
    assert [budget.spend(10.0) for _ in range(3)] == [True, True, False]


def test_no_limit_and_parts_of_one() -> None:
    """Infinity never ends; half a restart is none."""
    assert all(Budget(math.inf, 1.0).spend(0.0) for _ in range(1000))
    assert not Budget(0.5, 1.0).spend(0.0)
    half = Budget(1.5, 1.0)
    assert [half.spend(0.0), half.spend(0.0)] == [True, False]


# --- Back-off -------------------------------------------------------------------------------------

BACKOFFS = st.builds(
    Backoff,
    initial=st.floats(0.0, 1e3),
    factor=st.floats(1.0, 1e3),
    maximum=st.floats(0.0, 1e6),
    jitter=st.floats(0.0, 1.0),
    reset_after=st.floats(0.0, 1e6),
)
CHANCES = st.floats(0.0, 1.0, exclude_max=True)


@given(backoff=BACKOFFS, attempts=st.integers(0, 10**9), chance=CHANCES)
def test_delays_are_bounded(backoff: Backoff, attempts: int, chance: float) -> None:
    """Never below zero, never above the maximum, never less than jitter leaves; also after a thousand million."""
    delay = backoff.delay(attempts, chance)
    longest = backoff.delay(attempts, 0.0)
    assert 0.0 <= delay <= longest <= backoff.maximum * (1 + 1e-9)
    assert delay >= longest * (1.0 - backoff.jitter) - 1e-9 * longest


@given(backoff=BACKOFFS, attempts=st.integers(0, 1000), chance=CHANCES)
def test_delays_grow(backoff: Backoff, attempts: int, chance: float) -> None:
    """With each attempt, as long as chance is the same; jitter only ever shortens."""
    more = backoff.delay(attempts + 1, chance)
    assert more >= backoff.delay(attempts, chance) * (1 - 1e-9)
    assert backoff.delay(attempts, chance) <= backoff.delay(attempts, 0.0)


def test_delays_by_the_numbers() -> None:
    """Doubled each time, up to the maximum; half of it by chance."""
    backoff = Backoff(initial=1.0, factor=2.0, maximum=10.0, jitter=0.5)
    assert [backoff.delay(n, 0.0) for n in range(6)] == pytest.approx([1, 2, 4, 8, 10, 10])
    assert backoff.delay(2, 0.5) == pytest.approx(3.0)
    assert backoff.delay(2, 0.999999) == pytest.approx(2.0, abs=1e-4)
    assert Backoff(initial=3.0, factor=1.0, jitter=0.0).delay(7, 0.9) == 3.0
    assert Backoff(initial=0.0).delay(5, 0.0) == 0.0
    assert Backoff(initial=5.0, maximum=2.0, jitter=0.0).delay(0, 0.0) == 2.0


def test_what_is_well_begins_anew() -> None:
    """Once it has run for as long as asked for."""
    backoff = Backoff(reset_after=60.0)
    assert backoff.attempts_left(7, 59.9) == 7
    assert backoff.attempts_left(7, 60.0) == 0


def test_the_ends_of_what_is_allowed() -> None:
    """The least and the most of each are allowed; whoever wants it never to begin anew says infinity."""
    least = Backoff(initial=0.0, factor=1.0, maximum=0.0, jitter=0.0, reset_after=0.0)
    assert least.delay(3, 0.5) == 0.0
    assert least.attempts_left(3, 0.0) == 0
    most = Backoff(initial=1.0, jitter=1.0, reset_after=math.inf)
    assert most.delay(0, 0.75) == 0.25
    assert most.attempts_left(3, 1e300) == 3


def test_defaults() -> None:
    """A tenth of a second, doubled up to half a minute, a quarter of it by chance, and well after a minute."""
    assert Backoff() == Backoff(0.1, 2.0, 30.0, 0.25, 60.0)
    assert Backoff.__module__ == "structmode.supervisors"


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Backoff(initial=-1.0), ValueError, r"Backoff\(initial=.*at least 0 and finite"),
        (lambda: Backoff(factor=0.5), ValueError, r"factor=.*at least 1 and finite, not 0.5"),
        (lambda: Backoff(maximum=math.inf), ValueError, "maximum=.*finite"),
        (lambda: Backoff(jitter=1.5), ValueError, r"jitter=.*at least 0, at most 1, not 1.5"),
        (lambda: Backoff(jitter=math.nan), ValueError, "jitter="),
        (lambda: Backoff(initial=math.nan), ValueError, "initial="),
        (lambda: Backoff(reset_after=-1.0), ValueError, r"reset_after=.*at least 0, not -1"),
        (
            lambda: Backoff(initial=cast("float", "1")),
            TypeError,
            "initial=.*takes a number, not '1'",
        ),
        (lambda: Backoff(factor=True), TypeError, "factor=.*takes a number, not True"),
        (
            lambda: Backoff(random=cast("Callable[[], float]", 0.5)),
            TypeError,
            r"random=.*takes a function that returns a number from 0 up to 1, not 0.5",
        ),
        (lambda: Backoff().delay(0, 1.5), ValueError, r"random=.*numbers from 0 up to 1.*1\.5"),
    ],
)
def test_what_makes_no_sense(
    make: Callable[[], object], error: type[Exception], text: str
) -> None:
    """It is refused, by name."""
    with pytest.raises(error, match=text):
        make()


# --- Reach ----------------------------------------------------------------------------------------


@given(count=st.integers(1, 20), data=st.data())
def test_reach(count: int, data: st.DataObject) -> None:
    """One: themselves. All: all. The rest: from the first of them on. Always in order, always those that broke."""
    broken = data.draw(st.sets(st.integers(0, count - 1), min_size=1))
    assert Reach.ONE.of(broken, count) == sorted(broken)
    assert Reach.ALL.of(broken, count) == list(range(count))
    assert Reach.REST.of(broken, count) == list(range(min(broken), count))


@pytest.mark.parametrize("reach", list(Reach))
def test_nothing_broke(reach: Reach) -> None:
    """Then nobody is concerned."""
    assert reach.of([], 5) == []
