"""Durations and rates: reading them from what people write, and showing them to people.

Everything inside structmode counts in float seconds. The functions here stand at the border:
`want_seconds` and `want_interval` turn what a caller may pass into that float, `humanize_seconds`
turns it into words.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TypeAlias

__all__ = (
    "Seconds",
    "humanize_seconds",
    "humanize_seconds_ago",
    "rate",
    "want_interval",
    "want_seconds",
)

#: A duration: seconds as a number, a `timedelta`, a number in a string (`"2.5"`), or a rate
#: (`"100/m"`).
Seconds: TypeAlias = timedelta | float | int | str

_SECONDS_PER_UNIT = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

#: From large to small, each with the size in seconds of the unit below it.
_SHOWN_UNITS = (
    ("day", 86400.0, 3600.0),
    ("hour", 3600.0, 60.0),
    ("minute", 60.0, 1.0),
)

_RATE_FORMS = "a rate per second, minute, hour or day ('10/s', '100/m', '2/h', '10/d')"
_FORMS = f"seconds as a number (2.5), a timedelta, a number in a string ('2.5'), or {_RATE_FORMS}"


def want_seconds(s: Seconds) -> float:
    """Convert a duration in any of its forms to float seconds.

    A rate string gives the number per second, so that `want_seconds("10/s")` is `10.0` and
    `want_seconds("60/h")` is `0.016...`: it suits an argument that is a rate, not one that is a
    duration.

    Infinity is a duration ("for ever") and negative ones are passed on: see `want_interval` for a
    stricter reading.

    Args:
        s: The duration.

    Returns:
        The seconds as a float.

    Raises:
        TypeError: If `s` is of another type. `None` and booleans are refused too, unlike in mode.
        ValueError: If `s` is NaN, a string that can't be read, or an integer too large for a
            float.
    """
    return _read_seconds(s, "")


def want_interval(s: Seconds, what: str) -> float:
    """Convert a duration that must be positive and finite, such as the interval of a timer.

    Args:
        s: The duration, in any form that `want_seconds` takes.
        what: What the duration is for, to be named in an error: "timer interval".

    Returns:
        The seconds as a float, larger than zero and finite.

    Raises:
        TypeError: As `want_seconds`.
        ValueError: As `want_seconds`, and if the duration is zero, negative or infinite.
    """
    seconds = _read_seconds(s, f"{what}: ")
    if seconds <= 0.0 or math.isinf(seconds):
        raise ValueError(f"{what}: must be more than zero seconds and finite, not {s!r}")
    return seconds


def rate(r: float | str) -> float:
    """Convert a rate to a number per second.

    Args:
        r: A rate string (`"100/m"`, `"2/h"`, `"0.5/s"`, `"10/d"`), or a number that is one per
            second already.

    Returns:
        How many per second.

    Raises:
        TypeError: If `r` is of another type, a `timedelta` included: a duration is not a rate.
        ValueError: If `r` is NaN, a string that can't be read, or an integer too large for a
            float.
    """
    if isinstance(r, timedelta):
        raise TypeError(
            f"a timedelta is not a rate: give a number per second or {_RATE_FORMS}, not {r!r}"
        )
    return _read_seconds(r, "")


def _read_seconds(s: object, prefix: str) -> float:
    if isinstance(s, timedelta):
        return s.total_seconds()
    if isinstance(s, bool) or not isinstance(s, int | float | str):
        raise TypeError(f"{prefix}can't take {s!r} ({type(s).__name__}) as seconds: give {_FORMS}")
    try:
        seconds = _read_string(s) if isinstance(s, str) else float(s)
    except (ValueError, OverflowError):
        # An integer that is too large may have thousands of digits, which nobody wants in an
        # error.
        shown = repr(s) if isinstance(s, str) else "so large an integer"
        raise ValueError(f"{prefix}can't read {shown} as seconds: give {_FORMS}") from None
    if math.isnan(seconds):
        raise ValueError(f"{prefix}can't take NaN as seconds: give {_FORMS}")
    return seconds


def _read_string(text: str) -> float:
    count, slash, unit = text.partition("/")
    if not slash:
        return float(count)
    try:
        return float(count) / _SECONDS_PER_UNIT[unit.strip()]
    except KeyError:
        raise ValueError(text) from None


def humanize_seconds(
    secs: Seconds,
    *,
    prefix: str = "",
    suffix: str = "",
    sep: str = "",
    now: str = "now",
    microseconds: bool = False,
) -> str:
    """Show a duration in words, in the largest unit that fits it.

    `60` is "1 minute" and `5400` is "1.5 hours".

    Args:
        secs: The duration, in seconds or any other form that `want_seconds` takes.
        prefix: Put in front, but not of `now`. "in" gives "in 1 second": a space is added after a
            word.
        suffix: Put behind, but not behind `now`, in the same manner.
        sep: Put between the prefix and the number.
        now: What to show for less than a second, and for a time in the past.
        microseconds: Show parts of a second too (in two significant digits) instead of `now`, down
            to a microsecond.

    Returns:
        The words. An infinite duration is shown as "forever", without prefix and suffix.

    Raises:
        TypeError: As `want_seconds`.
        ValueError: As `want_seconds`.
    """
    seconds = want_seconds(secs)
    if seconds == math.inf:
        return "forever"
    shown = _words(seconds, microseconds=microseconds)
    if shown is None:
        return now
    lead = prefix + sep
    if lead[-1:].isalnum():
        lead += " "
    if suffix[:1].isalnum():
        suffix = " " + suffix
    return f"{lead}{shown}{suffix}"


def humanize_seconds_ago(
    secs: Seconds,
    *,
    prefix: str = "",
    suffix: str = " ago",
    sep: str = "",
    now: str = "just now",
    microseconds: bool = False,
) -> str:
    """Show how long ago something was: "3.33 seconds ago", or "just now" for less than a second.

    Args:
        secs: Seconds that have passed since, or any other form that `want_seconds` takes.
        prefix: As in `humanize_seconds`.
        suffix: As in `humanize_seconds`.
        sep: As in `humanize_seconds`.
        now: As in `humanize_seconds`.
        microseconds: As in `humanize_seconds`.

    Returns:
        The words.

    Raises:
        TypeError: As `want_seconds`.
        ValueError: As `want_seconds`.
    """
    return humanize_seconds(
        secs, prefix=prefix, suffix=suffix, sep=sep, now=now, microseconds=microseconds
    )


def _words(seconds: float, *, microseconds: bool) -> str | None:
    for unit, size, size_below in _SHOWN_UNITS:
        # 3599.99 seconds would be "60 minutes" after rounding, so the unit is chosen by what the
        # one below would show.
        if round(seconds / size_below, 2) * size_below >= size:
            return _counted(f"{seconds / size:.2f}", unit)
    if seconds >= 1.0:
        return _counted(f"{seconds:.2f}", "second")
    if microseconds and seconds >= 0.000_001:
        digits = 1 - math.floor(math.log10(seconds))
        return _counted(f"{seconds:.{digits}f}", "second")
    return None


def _counted(number: str, unit: str) -> str:
    number = number.rstrip("0").rstrip(".")
    return f"{number} {unit}" if number == "1" else f"{number} {unit}s"
