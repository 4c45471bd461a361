"""Timers: when the next tick of something periodic is due.

`Timer` is arithmetic on a clock. It waits for nothing itself, except as an async iterator, and then through the
`sleep` it was given. What it promises:

- *An absolute schedule.* Tick n is due at `start + n * interval`, where start is the moment the timer was first
  started. It is computed from n each time and never summed up, so that neither the run time of the body nor the
  rounding of floats moves tick one million.
- *Back into phase in small steps.* If a wake-up is late (something blocked the event loop), the ticks that follow
  come early by at most `max_drift_correction` each until the timer is in phase again:
  `next = max(start + n * interval, last wake-up + interval - max_drift_correction)`.
- *No bursts.* Ticks whose time has passed, because a body overran or the event loop was blocked through them, are
  skipped and counted in `skipped`. The phase is kept: the next tick is the next one of the schedule.

All times come from one clock, anyio's unless another is given, so that a virtual clock drives timers too.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from numbers import Real
from typing import Self, cast

import anyio

from structmode.utils.times import Seconds, want_interval

__all__ = ("Timer",)

logger: logging.Logger = logging.getLogger(__name__)

#: Lateness is normal up to this share of the interval...
_NORMAL_DRIFT_SHARE = 0.3
#: ...and up to this many seconds at most.
_NORMAL_DRIFT_CEILING = 1.2
#: Timers faster than this (seconds) do not log: what is a large drift for them is small for the event loop.
_SHORTEST_LOGGED_INTERVAL = 1.0


class Timer:
    """The schedule of one periodic activity, and how well it has been kept.

    The order of calls for one who waits by other means than `async for`:

        timer = Timer(1.0, name="Mailer.flush")
        timer.start()
        while True:
            await sleep(timer.delay())
            timer.tick()
            timer.on_before_yield()
            await body()

    Calling nothing but `tick()`, after each sleep of the seconds that the last one returned, works as well; but then
    the timer takes time that the body has used for a late wake-up, and corrects it only step by step.

    As an async iterator (`async for seconds in Timer(1.0): ...`) it does all this itself, and waits a full interval
    before the first iteration. It is an object and no async generator: leaving the loop early leaves nothing behind.
    Cancelling the loop is safe at any time.

    One timer belongs to one task. It is not thread-safe.

    Unlike in mode, the time between two ticks does not grow with the run time of the body, overrun ticks are
    skipped, and the clock is the event loop's.

    Args:
        interval: Seconds from tick to tick; also a ``timedelta`` or a string. More than zero.
        max_drift_correction: How many seconds earlier than an interval after the last one a tick may come, to make
            up for a late wake-up. With zero, a timer that was late stays late until it skips a tick.
        name: What the log calls the timer.
        clock: Gives the time in seconds. Called only from the start on, never by the constructor.
        sleep: Waits for a number of seconds. Used by `async for` only.

    Raises:
        TypeError: If the interval is no duration, or the correction no number.
        ValueError: If the interval or the correction can't be used.
    """

    #: The interval as it was given.
    interval: Seconds
    #: The interval in seconds.
    interval_s: float
    #: A drift of more seconds than this is logged: 30% of the interval, at most 1.2 seconds.
    max_drift: float
    #: The shortest wait that `adjust_interval` gives, in seconds.
    min_interval_s: float
    #: The longest wait that `adjust_interval` gives, in seconds.
    max_interval_s: float
    #: When the last tick was, on the timer's clock. Until then: the start, and before that zero.
    last_wakeup_at: float
    #: When the body was last entered (see `on_before_yield`). Until then as `last_wakeup_at`.
    last_yield_at: float
    #: How many ticks there have been.
    iteration: int
    #: How many ticks were left out because their time had passed: a body overran, or the event loop was blocked.
    skipped: int
    #: How many bodies were still running when the next tick was due.
    overlaps: int
    #: How far the last tick was from where it was waited for, in seconds: more than zero is late, less is early.
    drift: float
    #: How far the last tick was behind the absolute schedule, in seconds; zero if in phase.
    late: float

    def __init__(
        self,
        interval: Seconds,
        *,
        max_drift_correction: float = 0.1,
        name: str = "",
        clock: Callable[[], float] = anyio.current_time,
        sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
    ) -> None:
        self.interval = interval
        self.interval_s = want_interval(interval, "timer interval")
        if not isinstance(cast(object, max_drift_correction), Real):
            raise TypeError(
                f"timer max_drift_correction: must be a number of seconds, not {max_drift_correction!r}"
            )
        if not 0.0 <= max_drift_correction < math.inf:
            raise ValueError(
                "timer max_drift_correction: must be zero or more seconds and finite, "
                f"not {max_drift_correction!r}"
            )
        self.max_drift_correction = max_drift_correction
        self.name = name
        self.clock = clock
        self.sleep = sleep
        self.max_drift = min(self.interval_s * _NORMAL_DRIFT_SHARE, _NORMAL_DRIFT_CEILING)
        self.min_interval_s = max(self.interval_s - max_drift_correction, 0.0)
        self.max_interval_s = self.interval_s + max_drift_correction
        self.last_wakeup_at = self.last_yield_at = 0.0
        self.iteration = self.skipped = self.overlaps = 0
        self.drift = self.late = 0.0
        # The schedule: when it began, the number of the pending tick, and when that is waited for.
        self._started = False
        self._origin = 0.0
        self._pending = 1
        self._due = 0.0
        # When `delay` was last asked, that is when the body ended; None if it was not asked since the last tick.
        self._asleep_since: float | None = None

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return (
            f"<{type(self).__name__}{name} every {self.interval_s:g} s, "
            f"{self.iteration} ticks, {self.skipped} skipped>"
        )

    def start(self) -> None:
        """Note the time: the first tick is due an interval from now.

        Only the first call counts.
        """
        if not self._started:
            self._begin(self.clock())

    def delay(self) -> float:
        """Return how long to wait from now for the next tick.

        Ask when the body has ended: ticks whose time has passed are skipped here. The first call starts the timer.

        Returns:
            Seconds, zero or more.
        """
        self.start()
        now = self.clock()
        self._asleep_since = now
        if now > self._due:
            self._skip_overrun(now)
        return self._due - now

    def tick(self) -> float:
        """Count a wake-up: notes how late it is, and turns to the next tick.

        Called on a timer that was not started, it takes the first interval to have just passed.

        Returns:
            The seconds from now until the next tick.
        """
        now = self.clock()
        if not self._started:
            self._begin(now - self.interval_s)
        self.drift = now - self._due
        self.late = max(now - self._planned(self._pending), 0.0)
        if abs(self.drift) > self.max_drift:
            self._log_drift(now)
        self._turn_to_next(now)
        self.iteration += 1
        self.last_wakeup_at = now
        self._asleep_since = None
        return self._due - now

    def adjust_interval(self, drift: float) -> float:
        """Return the interval that makes up for a drift, as far as one interval may.

        Args:
            drift: Seconds; more than zero if the last wake-up was late, less if it was early.

        Returns:
            Seconds, between `min_interval_s` and `max_interval_s`.
        """
        return min(max(self.interval_s - drift, self.min_interval_s), self.max_interval_s)

    def on_before_yield(self) -> None:
        """Note that the body is entered now."""
        self.last_yield_at = self.clock()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> float:
        await self.sleep(self.delay())
        seconds = self.tick()
        self.on_before_yield()
        return seconds

    def _begin(self, origin: float) -> None:
        self._started = True
        self._origin = self.last_wakeup_at = self.last_yield_at = origin
        self._due = self._planned(self._pending)

    def _planned(self, number: int) -> float:
        return self._origin + number * self.interval_s

    def _first_from(self, moment: float) -> int:
        """Return the number of the first tick that is planned at the moment or later."""
        origin, interval = self._origin, self.interval_s
        number = max(math.ceil((moment - origin) / interval), 1)
        # The division rounds; the product, as in `_planned`, decides.
        while origin + number * interval < moment:
            number += 1
        while number > 1 and origin + (number - 1) * interval >= moment:
            number -= 1
        return number

    def _skip_overrun(self, now: float) -> None:
        following = self._first_from(now)
        missed = following - self._pending
        self.skipped += missed
        self._pending = following
        # An interval has passed since the last wake-up, so the limit on corrections does not bind here.
        self._due = self._planned(following)
        if self.iteration:
            self.overlaps += 1
            self._log_overlap(now, missed)

    def _turn_to_next(self, now: float) -> None:
        # This tick stands for all that were planned up to now.
        following = self._pending + 1
        if self._planned(following) <= now:
            following = self._first_from(math.nextafter(now, math.inf))
            self.skipped += following - self._pending - 1
        self._pending = following
        self._due = max(self._planned(following), now + self.min_interval_s)

    def _log_drift(self, now: float) -> None:
        if self.interval_s < _SHORTEST_LOGGED_INTERVAL:
            return
        body_from = max(self.last_wakeup_at, self.last_yield_at)
        body_until = body_from if self._asleep_since is None else self._asleep_since
        # A sleep that ends early is most often one that a stop has ended.
        level, how, sign = (
            (logging.INFO, "late", "+") if self.drift > 0 else (logging.DEBUG, "early", "-")
        )
        logger.log(
            level,
            "Timer %r woke up too %s, with a drift of %s%.3f seconds runtime=%.3f sleeptime=%.3f",
            self.name,
            how,
            sign,
            abs(self.drift),
            body_until - body_from,
            now - body_until,
        )

    def _log_overlap(self, now: float, missed: int) -> None:
        # A body that is always too slow would fill the log: tell of the 1st, 2nd, 4th, 8th... time.
        if self.interval_s < _SHORTEST_LOGGED_INTERVAL or self.overlaps & (self.overlaps - 1):
            return
        logger.info(
            "Timer %r overlaps: its body took %.3f seconds of an interval of %.3f; ticks skipped: %d "
            "(so far: overlaps %d, skipped %d)",
            self.name,
            now - max(self.last_wakeup_at, self.last_yield_at),
            self.interval_s,
            missed,
            self.overlaps,
            self.skipped,
        )
