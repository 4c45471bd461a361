"""Durations and rates: reading them from what people write, showing them to people, and keeping to them.

Everything inside structmode counts in float seconds. The functions here stand at the border:
`want_seconds` and `want_interval` turn what a caller may pass into that float, `humanize_seconds`
turns it into words.

`rate_limit` makes a bucket of tokens: what costs a token each can't be done more often than the
bucket fills.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from datetime import timedelta
from functools import cached_property
from types import TracebackType
from typing import Any, Self, TypeAlias

import anyio
import anyio.lowlevel

from structmode import _engine as engine

from ._asyncio_only import running_loop_or_none

__all__ = (
    "Bucket",
    "Seconds",
    "TokenBucket",
    "humanize_seconds",
    "humanize_seconds_ago",
    "rate",
    "rate_limit",
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
    # What nearly all are, and what is read on every wait.
    return s if type(s) is float and s == s else _read_seconds(s, "")


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


class Bucket(ABC):
    """A bucket of tokens, which fills at a steady rate: the base of `TokenBucket`.

    Something that may be done so often and no more costs a token each time:

        bucket = rate_limit(100, over=60.0)  # a hundred a minute

        async with bucket:  # waits for a token, and takes it
            await send()

    or, where waiting is no answer:

        if not bucket.pour():
            raise TooMany(f"try again in {bucket.expected_time():.1f} s")

    `async with` takes tokens for tasks in the order in which they came. It takes the token when it begins, and does nothing when
    it ends. A task that is cancelled while it waits takes none.

    A bucket belongs to one event loop at a time; it may be made anywhere. Time is that of the event loop, or, where none runs,
    that of `time.monotonic`; in another event loop than before, it goes on with what it had.

    Differs from mode in what the numbers mean. There, the bucket holds `over` tokens instead of as many as are allowed in that
    time, and `async with` waits for a token without taking it.

    Args:
        rate: How many tokens in the time `over`; a string (`"100/m"`) is a number per second.
        over: The time that `rate` is for.
        fill_rate: How many tokens a second are filled in; by default `rate` divided by `over`.
        capacity: How many tokens there is room for, and are there at the beginning: how much may be done at once. By default
            `rate`, but one at least.
        raises: What `async with` raises instead of waiting, if there is no token.
        loop: Accepted for programs written for mode, and ignored.

    Attributes:
        rate: How many tokens in the time `over`.
        over: The time that `rate` is for, in seconds.
        capacity: How many tokens there is room for.
        raises: What `async with` raises instead of waiting.

    Raises:
        TypeError: As `want_seconds`.
        ValueError: If one of the numbers is not positive, or there is no room for a whole token.
    """

    def __init__(
        self,
        rate: Seconds,
        over: Seconds = 1.0,
        *,
        fill_rate: Seconds | None = None,
        capacity: Seconds | None = None,
        raises: type[BaseException] | None = None,
        loop: Any = None,
    ) -> None:
        self.rate: float = want_interval(rate, "rate of a bucket")
        self.over: float = want_interval(over, "time of a bucket")
        self._fill_rate = (
            self.rate / self.over
            if fill_rate is None
            else want_interval(fill_rate, "fill rate of a bucket")
        )
        self.capacity: float = (
            max(self.rate, 1.0)
            if capacity is None
            else want_interval(capacity, "capacity of a bucket")
        )
        if self.capacity < 1.0:
            raise ValueError(
                f"capacity of a bucket: there must be room for one token, not for {self.capacity:g}"
            )
        self.raises: type[BaseException] | None = raises
        self._queue: anyio.Lock | None = None
        self._home: anyio.lowlevel.EventLoopToken | None = None

    @abstractmethod
    def pour(self, tokens: int = 1) -> bool:
        """Take tokens, if there are enough.

        Args:
            tokens: How many.

        Returns:
            Whether they have been taken.
        """

    @abstractmethod
    def expected_time(self, tokens: int = 1) -> float:
        """Return in how many seconds there will be enough tokens, if nobody else takes any; zero: now.

        Args:
            tokens: How many.
        """

    @property
    @abstractmethod
    def tokens(self) -> float:
        """How many tokens there are now."""

    @property
    def fill_rate(self) -> float:
        """How many tokens a second are filled in."""
        return self._fill_rate

    async def __aenter__(self) -> Self:
        async with self._turn():
            while not self.pour():
                if self.raises is not None:
                    raise self.raises
                await anyio.sleep(self.expected_time())
        return self

    async def __aexit__(  # noqa: B027 - for subclasses that have something to do there
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Do nothing."""

    def _turn(self) -> anyio.Lock:
        """Return what gives tasks their turn; one event loop's lock is no good for the next."""
        here = engine.token_here()
        if self._queue is None or here != self._home:
            self._queue, self._home = anyio.Lock(), here
        return self._queue


class TokenBucket(Bucket):
    """A bucket that is full at the beginning, so that as much as it holds may be done at once.

    Args:
        rate: As in `Bucket`.
        over: As in `Bucket`.
        fill_rate: As in `Bucket`.
        capacity: As in `Bucket`.
        raises: As in `Bucket`.
        loop: As in `Bucket`.
    """

    # When it was last looked at, and on whose clock; not on any so far.
    _looked_at: float = 0.0
    _clock: object = None

    @cached_property
    def _tokens(self) -> float:
        return self.capacity

    def pour(self, tokens: int = 1) -> bool:
        """Take tokens, if there are enough.

        Args:
            tokens: How many.

        Returns:
            Whether they have been taken.

        Raises:
            ValueError: If there is no room for so many, so that there will never be enough; or if it is less than zero.
        """
        if self.expected_time(tokens) > 0.0:
            return False
        self._tokens = max(self._tokens - tokens, 0.0)
        return True

    def expected_time(self, tokens: int = 1) -> float:
        """Return in how many seconds there will be enough tokens, if nobody else takes any; zero: now.

        After that time `pour` will take them.

        Args:
            tokens: How many.

        Raises:
            ValueError: As `pour`.
        """
        if not 0 <= tokens <= self.capacity:
            raise ValueError(
                f"a bucket with room for {self.capacity:g} tokens can't pour {tokens!r} at once"
            )
        seconds = (tokens - self.tokens) / self.fill_rate
        # What is less than the clock can tell apart is rounding: nobody could wait for it.
        return 0.0 if seconds <= 2.0 * math.ulp(self._looked_at) else seconds

    @property
    def tokens(self) -> float:
        """How many tokens there are now, parts of one included."""
        clock, now = _clock_here()
        if clock is self._clock:
            filled = max(now - self._looked_at, 0.0) * self.fill_rate
            self._tokens = min(self._tokens + filled, self.capacity)
        self._looked_at, self._clock = now, clock
        return self._tokens


def _clock_here() -> tuple[object, float]:
    """Return whose clock counts where the caller is, and the time on it."""
    token = engine.token_here()
    if token is not None:
        return token.native_token, anyio.current_time()
    loop = running_loop_or_none()  # for a callback of asyncio's, which is in no task
    return (time, time.monotonic()) if loop is None else (loop, loop.time())


def rate_limit(
    rate: Seconds,
    over: Seconds = 1.0,
    *,
    bucket_type: type[Bucket] = TokenBucket,
    raises: type[BaseException] | None = None,
    loop: Any = None,
) -> Bucket:
    """Return a bucket, for things that may be done so often and no more: see `Bucket`.

    Args:
        rate: How many in the time `over`; a string (`"100/m"`) is a number per second.
        over: The time that `rate` is for.
        bucket_type: The class of the bucket.
        raises: What `async with` raises instead of waiting.
        loop: Accepted for programs written for mode, and ignored.
    """
    return bucket_type(rate, over, raises=raises, loop=loop)
