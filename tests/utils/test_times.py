"""Reading durations and rates, and showing durations in words."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st

from structmode.utils.times import (
    Seconds,
    humanize_seconds,
    humanize_seconds_ago,
    rate,
    want_interval,
    want_seconds,
)

finite = st.floats(allow_nan=False, allow_infinity=False)
UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
WORD_SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        (3, 3.0),
        (0, 0.0),
        (-1.5, -1.5),
        (math.inf, math.inf),
        (timedelta(minutes=2, milliseconds=500), 120.5),
        ("2.5", 2.5),
        (" 2.5 ", 2.5),
        ("1e3", 1000.0),
        ("10/s", 10.0),
        ("0.5/s", 0.5),
        ("100/m", 100 / 60),
        ("2/h", 2 / 3600),
        ("10/d", 10 / 86400),
        (" 100 / m ", 100 / 60),
    ],
)
def test_every_form_of_seconds_is_read(given_value: Seconds, expected: float) -> None:
    """A number, a timedelta, a number in a string and a rate all become float seconds."""
    seconds = want_seconds(given_value)
    assert type(seconds) is float
    assert seconds == pytest.approx(expected)


@pytest.mark.parametrize("wrong", [True, None, [1], b"2.5", Decimal("2.5"), object()])
def test_another_type_is_refused_and_the_right_forms_are_shown(wrong: Any) -> None:
    """What is no duration is a TypeError that names the type and shows each form that works."""
    with pytest.raises(TypeError) as caught:
        want_seconds(wrong)
    text = str(caught.value)
    assert type(wrong).__name__ in text
    assert all(
        form in text for form in ["2.5", "timedelta", "'2.5'", "'10/s'", "'100/m'", "'10/d'"]
    )


@pytest.mark.parametrize(
    "wrong", ["", "soon", "2.5 s", "/m", "100/", "100/w", "100/M", "1/2/m", "x/m"]
)
def test_an_unreadable_string_is_refused_and_the_right_forms_are_shown(wrong: str) -> None:
    """A string that can't be read is a ValueError that repeats it and shows a form that works."""
    with pytest.raises(ValueError, match=re.escape(repr(wrong))) as caught:
        want_seconds(wrong)
    assert "'100/m'" in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("wrong", [math.nan, "nan", "nan/m"])
def test_nan_is_refused(wrong: Seconds) -> None:
    """NaN is no duration, as a number or in a string: no comparison with it would hold."""
    with pytest.raises(ValueError, match="NaN"):
        want_seconds(wrong)


def test_an_integer_too_large_is_refused_in_few_words() -> None:
    """An integer beyond the range of floats is a ValueError that does not print its digits."""
    with pytest.raises(ValueError, match="so large an integer") as caught:
        want_seconds(10**400)
    assert "0" * 50 not in str(caught.value)


@given(finite)
def test_a_number_and_its_string_are_the_same_duration(number: float) -> None:
    """The string of a number is read as that number."""
    assert want_seconds(str(number)) == want_seconds(number) == number


@given(finite, st.sampled_from("smhd"))
def test_a_rate_is_its_number_divided_by_its_unit(number: float, unit: str) -> None:
    """A rate string is the number per second, for `rate` and for `want_seconds`."""
    text = f"{number}/{unit}"
    assert rate(text) == want_seconds(text) == number / UNIT_SECONDS[unit]


@given(st.timedeltas())
def test_a_timedelta_is_its_total_seconds(duration: timedelta) -> None:
    """A timedelta of any size and sign is read as its total seconds."""
    assert want_seconds(duration) == duration.total_seconds()


def test_rate_takes_a_number_per_second() -> None:
    """A number given to `rate` is one per second already."""
    assert rate(3) == 3.0
    assert rate("0.25") == 0.25


def test_rate_refuses_a_duration() -> None:
    """A timedelta is no rate, and `rate` says what one looks like."""
    with pytest.raises(TypeError, match=r"not a rate.*'100/m'"):
        rate(timedelta(seconds=1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@given(st.floats(min_value=0, exclude_min=True, allow_infinity=False))
def test_an_interval_may_be_any_positive_number(number: float) -> None:
    """`want_interval` takes every positive finite number as it is."""
    assert want_interval(number, "interval") == number


@pytest.mark.parametrize("wrong", [0, -0.0, -1, "-1", math.inf, -math.inf, "inf", timedelta(0)])
def test_an_interval_is_positive_and_finite(wrong: Seconds) -> None:
    """Zero, negative and infinite intervals are ValueErrors that name what they are for."""
    with pytest.raises(ValueError, match=r"^timer interval: .*more than zero.*finite"):
        want_interval(wrong, "timer interval")


@pytest.mark.parametrize(
    ("wrong", "error"), [("x", ValueError), (math.nan, ValueError), (None, TypeError)]
)
def test_an_unreadable_interval_names_what_it_is_for(wrong: Any, error: type[Exception]) -> None:
    """An interval that is no duration at all is refused in the name of what it is for, too."""
    with pytest.raises(error, match=r"^timer interval: can't"):
        want_interval(wrong, "timer interval")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "now"),
        (0, "now"),
        (0.999, "now"),
        (1, "1 second"),
        (4, "4 seconds"),
        (10, "10 seconds"),
        (3.333, "3.33 seconds"),
        (59.7, "59.7 seconds"),
        (59.999, "1 minute"),
        (60, "1 minute"),
        (90, "1.5 minutes"),
        (3599.99, "1 hour"),
        (7200, "2 hours"),
        (86399, "1 day"),
        (86400, "1 day"),
        (8640000, "100 days"),
        (math.inf, "forever"),
        (timedelta(hours=2), "2 hours"),
    ],
)
def test_seconds_in_words(seconds: Seconds, words: str) -> None:
    """A duration is shown in the largest unit that fits, with two decimals at most."""
    assert humanize_seconds(seconds) == words


def test_prefix_suffix_and_separator_surround_the_words() -> None:
    """Prefix and suffix are set apart from the words by a space if they are words themselves."""
    assert humanize_seconds(1, prefix="in") == "in 1 second"
    assert humanize_seconds(1, prefix="in ") == "in 1 second"
    assert humanize_seconds(2, prefix="~") == "~2 seconds"
    assert humanize_seconds(2, prefix="in", sep=": ") == "in: 2 seconds"
    assert humanize_seconds(2, suffix="left") == "2 seconds left"
    assert humanize_seconds(2, suffix=" left") == "2 seconds left"
    assert humanize_seconds(2, suffix="!") == "2 seconds!"


def test_now_stands_alone() -> None:
    """What is shown for less than a second gets neither prefix nor suffix."""
    assert humanize_seconds(0, prefix="in", suffix="left", now="at once") == "at once"
    assert humanize_seconds(math.inf, prefix="in", suffix="left") == "forever"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "now"),
        (0.000_000_4, "now"),
        (0.000_001, "0.000001 seconds"),
        (0.001_234, "0.0012 seconds"),
        (0.366_66, "0.37 seconds"),
        (0.999_9, "1 second"),
        (1.5, "1.5 seconds"),
    ],
)
def test_parts_of_a_second_in_words(seconds: float, words: str) -> None:
    """With `microseconds`, what is below a second is shown in two significant digits."""
    assert humanize_seconds(seconds, microseconds=True) == words


def test_how_long_ago() -> None:
    """`humanize_seconds_ago` says "ago", or "just now" for less than a second."""
    assert humanize_seconds_ago(3.333) == "3.33 seconds ago"
    assert humanize_seconds_ago(0.5) == "just now"
    assert humanize_seconds_ago(0.5, microseconds=True) == "0.5 seconds ago"
    assert humanize_seconds_ago(2, prefix="seen", suffix="back", now="-") == "seen 2 seconds back"
    assert humanize_seconds_ago(0, now="-") == "-"


def test_nan_has_no_words() -> None:
    """NaN is refused, instead of being shown as "now"."""
    with pytest.raises(ValueError, match="NaN"):
        humanize_seconds(math.nan)


@given(st.floats(min_value=1, max_value=1e12))
def test_words_say_the_duration_and_never_a_full_larger_unit(seconds: float) -> None:
    """The words can be read back to within their rounding, and are never "60 minutes"."""
    number, unit = humanize_seconds(seconds).split()
    size = WORD_SECONDS[unit.removesuffix("s")]
    assert abs(float(number) * size - seconds) <= 0.0051 * size
    assert unit.endswith("s") == (number != "1")
    larger = [other / size for other in WORD_SECONDS.values() if other > size]
    assert all(float(number) < other for other in larger)
