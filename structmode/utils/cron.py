"""Cron lines: which instants a line names, and how to wait for them by the wall clock.

`CronSchedule` is the pure part. A line names *local times*; which instants these are is decided here, for the time
zones of the real world are no smooth clocks. Daylight saving neither skips nor doubles a run, by two rules:

- *A time that a line names is due at the first moment at which the zone's clock shows it, or a later one.* A time
  that a change leaves out (02:30, when the clock goes from 02:00 to 03:00) is thus due at the change itself, and all
  that the line names in the gap are due together, once. A time that comes twice is due the first time only.
- *A change that the line can't see is no change.* A line sees it unless its times of day, moved by the change, are
  the same times of day again. Every ten minutes is every ten minutes on both sides of a change by an hour: such a line
  simply runs whenever the clock shows one of its times, and that is by elapsed time. What a line can see is decided
  for each change: `0 * * * *` does not see a change by an hour, but sees the half hour of Australia/Lord_Howe; no
  line of fixed hours is blind to either. A whole day that a zone leaves out (Pacific/Apia had no 30 December 2011) is
  not seen by the lines that name every day; one that names certain days runs as the next day begins.

Of croniter only the arithmetic on local times without a zone is used. With a zone it runs fixed hours twice in
autumn, and skips an hourly run in Lord Howe's spring.

`CronClock` is the wall clock of a crontab, and `CronTicks` tells the one who waits by it how long, and for which of
the named instants a run is. croniter is imported with the first schedule.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cached_property, partial
from importlib import import_module
from typing import Protocol, cast, final

import anyio

__all__ = ("CronClock", "CronSchedule", "CronTicks", "secs_for_next")

logger: logging.Logger = logging.getLogger(__name__)

_RIGHT_LINE = (
    "a right one is '30 18 * * mon-fri': minute, hour, day of the month, month, day of the week"
)
_RIGHT_ZONE = "a tzinfo, such as zoneinfo.ZoneInfo('Europe/Berlin') or datetime.UTC"

#: One range, with or without a step, of a field that may be a list.
_RANGE = re.compile(r"(?<![^\s,])(\d+|[a-z]{3})-(\d+|[a-z]{3})(?:/\d+)?(?![^\s,])", re.IGNORECASE)
#: By the place of a field, the names that may stand for numbers in it, from 0.
_NAMES: Mapping[int, Sequence[str]] = {
    3: ["-", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    4: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
}
# croniter notes down where it has got to, and schedules are shared: by the services of a class, in whatever threads.
_reading = threading.RLock()

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_DAY_S = 86400
#: How far apart (years) two times of a line may be; croniter's own limit would refuse a year that is far away.
_YEARS_BETWEEN = 200
#: Where the search for a line's first time begins: the lowest year that a line may name.
_FIRST_TIME = datetime(1969, 12, 31, 23, 59, 59)  # noqa: DTZ001 - a local time of any zone

#: Differences (seconds) between the system's clocks that mean nothing.
_CLOCK_NOISE = 0.001
#: How many missed times are counted one by one; a clock that was decades wrong has missed millions.
_MOST_COUNTED = 1000
#: A wall clock that is set back by more than this many seconds was wrong before: see `CronTicks`.
_LARGEST_SET_BACK = 86400.0


class _Croniter(Protocol):
    """What we use of croniter, which comes without types."""

    #: Per field its values, in croniter's order: minute, hour, day, month, day of the week, second, year.
    expanded: list[list[int | str]]

    def get_next(self, ret_type: type[datetime], start_time: datetime) -> datetime: ...


def _parse(line: str) -> list[_Croniter]:
    """Read a line; the times that it names are those of each one that is returned."""
    read = partial(
        import_module("croniter").croniter,
        start_time=_FIRST_TIME,
        max_years_between_matches=_YEARS_BETWEEN,
    )
    try:
        read(line)  # as it was given: what is wrong is told of that
        parsed: list[_Croniter] = [
            read(part) for part in _either_day(_without_ranges_of_one(line))
        ]
    except ValueError as exc:
        raise ValueError(f"cron line {line!r} can't be read: {exc}; {_RIGHT_LINE}") from exc
    found = [one for one in parsed if _next_of(one, _FIRST_TIME) is not None]
    if not found:
        raise ValueError(f"cron line {line!r} names no date there is; {_RIGHT_LINE}")
    return found


def _next_of(parsed: _Croniter, wall: datetime) -> datetime | None:
    try:
        with _reading:
            return parsed.get_next(datetime, wall)
    except ValueError:
        return None


def _without_ranges_of_one(line: str) -> str:
    """Write "5-5" as "5": croniter reads it as the whole field."""
    fields = line.split()
    for place, field in enumerate(fields):
        names = _NAMES.get(place, ())
        fields[place] = _RANGE.sub(partial(_without_range_of_one, names), field)
    return " ".join(fields)


def _without_range_of_one(names: Sequence[str], found: re.Match[str]) -> str:
    first, last = (_number_of(end.lower(), names) for end in found.group(1, 2))
    return found.group(1) if first is not None and first == last else found.group()


def _number_of(end: str, names: Sequence[str]) -> int | None:
    if end.isdigit():
        return int(end)
    return names.index(end) if end in names else None


def _either_day(line: str) -> list[str]:
    """Split a line that names days of the month and also the n-th or last weekday: croniter takes those that are both."""
    fields = line.split()
    if len(fields) < 5 or fields[2] in {"*", "?"} or not set(fields[4].lower()) & set("#l"):
        return [line]
    by_day, by_weekday = [*fields], [*fields]
    by_day[4] = by_weekday[2] = "*"
    return [" ".join(by_day), " ".join(by_weekday)]


@dataclass(frozen=True, slots=True)
class _Change:
    """A moment at which a zone's offset from UTC changes. Times are without tzinfo."""

    at: datetime  #: in UTC
    before: timedelta  #: the offset until then
    after: timedelta  #: the offset from then on

    @property
    def old(self) -> datetime:
        """What the local clock would show at the change, had there been none."""
        return self.at + self.before

    @property
    def new(self) -> datetime:
        """What the local clock shows at the change."""
        return self.at + self.after

    @property
    def seconds(self) -> int:
        """By how much the clock is changed, forward or back."""
        return abs(round((self.after - self.before).total_seconds()))


class _Zone:
    """A time zone, asked only from UTC to local time: the direction in which all kinds of tzinfo agree.

    (pytz's have no answer to the opposite question but through their own `localize`.)
    """

    def __init__(self, tz: tzinfo) -> None:
        self._tz = tz

    def offset(self, utc: datetime) -> timedelta:
        """Return local time minus UTC, at a moment given in UTC without tzinfo."""
        local = utc.replace(tzinfo=UTC).astimezone(self._tz)
        return local.utcoffset() or timedelta()

    def change_near(self, wall: datetime) -> _Change | None:
        """Return the change within a day of a local time, if there is one.

        No offset is larger than a day, so it is found if it leaves the local time out or repeats it. No zone has
        ever had two changes so close together.
        """
        low, high = wall - _DAY, wall + _DAY
        before, after = self.offset(low), self.offset(high)
        if before == after:
            return None
        while high - low > _SECOND:
            middle = low + (high - low) // 2 // _SECOND * _SECOND
            if self.offset(middle) == before:
                low = middle
            else:
                high = middle
        return _Change(high, before, after)


@final
class CronSchedule:
    """The instants that a cron line names in a time zone.

    A line has five fields, `minute hour day month weekday`, or six with the second as the *last*, or seven with the
    year after that. Lines are read by croniter: lists, ranges, steps, names (``mon``, ``jan``), the last day (``l``), the
    n-th weekday (`fri#2`, ``l5``), `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly`. A random part (``r``) is
    drawn anew by each schedule. If both day and weekday are restricted, either is enough.

    What happens when the zone's clock is changed is told at the top of this module, and in short: a line that runs at
    an even pace (`*/10 * * * *`) keeps it in elapsed time; any other runs once for each local time that it names.

    Args:
        line: The cron line.
        timezone: The zone whose clock the line speaks of: a `zoneinfo.ZoneInfo`, a fixed `datetime.timezone`, or
            any other tzinfo (pytz's too). UTC if not given.

    Raises:
        TypeError: If the line is no string or the timezone no tzinfo.
        ValueError: If the line can't be read, or names no date that exists (30 February).
    """

    #: The line as it was given.
    line: str
    #: The zone of the line, and of the instants.
    timezone: tzinfo

    def __init__(self, line: str, *, timezone: tzinfo | None = None) -> None:
        # Both are checked for those who are not helped by a type checker.
        given_line, given_zone = cast(object, line), cast(object, timezone)
        if not isinstance(given_line, str):
            raise TypeError(f"a cron line is a string, not {given_line!r}; {_RIGHT_LINE}")
        if given_zone is not None and not isinstance(given_zone, tzinfo):
            raise TypeError(f"the timezone of a crontab is {_RIGHT_ZONE}, not {given_zone!r}")
        self.line = line
        self.timezone = UTC if timezone is None else timezone
        self._zone = _Zone(self.timezone)
        self._parsed = _parse(line)
        self._unseen: dict[int, bool] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.line!r} {self.timezone}>"

    def next_after(self, instant: datetime) -> datetime:
        """Return the first instant that the line names after another.

        Args:
            instant: An aware datetime, in any zone.

        Returns:
            A strictly later instant, in the schedule's zone.

        Raises:
            ValueError: If `instant` has no timezone.
            LookupError: If the line names nothing later: its years have passed.
        """
        if instant.utcoffset() is None:
            raise ValueError(
                f"next_after() needs to know the zone of {instant!r}: give an aware datetime, "
                "such as datetime.now(UTC)"
            )
        try:
            following = self._following(instant.astimezone(UTC).replace(tzinfo=None))
        except OverflowError:  # Python's last year has ended.
            following = None
        if following is None:
            raise LookupError(f"cron line {self.line!r} names no time after {instant}")
        return following.replace(tzinfo=UTC).astimezone(self.timezone)

    # From here on: UTC and local times are both without tzinfo.

    def _following(self, utc: datetime) -> datetime | None:
        wall = (utc + self._zone.offset(utc)).replace(microsecond=0)
        ahead = self._ahead(wall, utc)
        again = self._again(wall, utc)
        if ahead is None or again is None:
            return ahead or again
        return min(ahead, again)

    def _ahead(self, wall: datetime, utc: datetime) -> datetime | None:
        """Return the first instant after `utc` among those of the local times after `wall`."""
        while (named := self._named_after(wall)) is not None:
            instants, wall = self._instants(named)
            for instant in instants:
                if instant > utc:
                    return instant
        return None

    def _again(self, wall: datetime, utc: datetime) -> datetime | None:
        """Return the first instant of the second pass, if `wall` is in the first of two that both count."""
        change = self._zone.change_near(wall)
        if change is None or not change.new <= wall < change.old or utc >= change.at:
            return None
        if not self._blind_to(change):
            return None
        named = self._named_after(change.new - _SECOND)
        if named is None or named >= change.old:
            return None
        return named - change.after

    def _instants(self, named: datetime) -> tuple[tuple[datetime, ...], datetime]:
        """Return the instants at which a named local time is due, and the local time to search on from."""
        change = self._zone.change_near(named)
        if change is None:
            return (named - self._zone.offset(named),), named
        old, new = change.old, change.new
        if named < min(old, new):
            return (named - change.before,), named
        if named >= max(old, new):
            return (named - change.after,), named
        blind = self._blind_to(change)
        if new > old:  # The clock never shows it.
            return (() if blind else (change.at,)), new - _SECOND
        first, second = named - change.before, named - change.after
        return ((first, second), named) if blind else ((first,), old - _SECOND)

    def _named_after(self, wall: datetime) -> datetime | None:
        """Return the first local time after another, in whole seconds, that the line names."""
        named = (_next_of(one, wall) for one in self._parsed)
        return min((time for time in named if time is not None), default=None)

    def _blind_to(self, change: _Change) -> bool:
        """Tell whether the line's times, moved by the change, are its times again."""
        seconds = change.seconds
        if seconds not in self._unseen:
            times, turn = self._times_of_day, seconds % _DAY_S
            turned = (times << turn | times >> (_DAY_S - turn)) & ((1 << _DAY_S) - 1)
            self._unseen[seconds] = turned == times and (seconds < _DAY_S or self._every_day)
        return self._unseen[seconds]

    @cached_property
    def _every_day(self) -> bool:
        days = [values for n, values in enumerate(self._parsed[0].expanded) if n in (2, 3, 4, 6)]
        return all(values == ["*"] for values in days)

    @cached_property
    def _times_of_day(self) -> int:
        """The times of day that the line names, one bit for each second of the day."""
        minute, hour, _day, _month, _weekday, *more = self._parsed[0].expanded
        one_minute = _bits(more[0] if more else [0], 60, 1)
        one_hour = one_minute * _bits(minute, 60, 60)
        return one_hour * _bits(hour, 24, 3600)


def _bits(values: Iterable[int | str], size: int, width: int) -> int:
    """Return a number with one bit for each value of a cron field, `width` places apart."""
    numbers = {n for value in values for n in ([value] if isinstance(value, int) else range(size))}
    return sum(1 << n * width for n in numbers)


@final
class CronClock:
    """The wall time that a crontab waits by.

    It is the system's wall clock when the event loop's clock is a real one: steps of it (NTP, an administrator) and
    the time that the machine has slept are followed. Under a virtual clock, which jumps ahead of real time, it jumps
    along. In numbers: the wall time at the start, plus what the event loop's clock has advanced since, plus what the
    system's wall clock has advanced more than its monotonic one.

    Args:
        wall: The system's wall clock, in POSIX seconds.
        monotonic: The system's monotonic clock, in seconds.
        now: The event loop's clock, in seconds. First called by the start, not by the constructor.
    """

    def __init__(
        self,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = anyio.current_time,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._now = now
        #: The readings of the three clocks at the start, in the order above.
        self._anchors: tuple[float, float, float] | None = None
        self._step = 0.0

    def start(self) -> None:
        """Note where the clocks stand. Only the first call counts; the first reading makes it if no one did."""
        self._anchored()

    @property
    def step(self) -> float:
        """How far, in seconds, the system's wall clock has been set since the start, or the machine has slept.

        True to a millisecond: less is noise, for the two clocks can't be read at once.
        """
        wall, monotonic, _now = self._anchored()
        # Were the task suspended between the two, the time would seem earlier and a run come late: better than early.
        step = (self._wall() - wall) - (self._monotonic() - monotonic)
        if abs(step - self._step) > _CLOCK_NOISE:
            self._step = step
        return self._step

    def time(self) -> float:
        """Return the wall time in POSIX seconds."""
        wall, _monotonic, now = self._anchored()
        return wall + (self._now() - now) + self.step

    def now(self) -> datetime:
        """Return the wall time as an aware datetime in UTC."""
        return datetime.fromtimestamp(self.time(), UTC)

    def _anchored(self) -> tuple[float, float, float]:
        if self._anchors is None:
            self._anchors = (self._wall(), self._monotonic(), self._now())
        return self._anchors


@final
class CronTicks:
    """The waits and runs of one crontab.

    The order of calls:

        ticks = CronTicks(CronSchedule("30 18 * * *"), name="Shop.close_books")
        ticks.start()
        while True:
            await sleep(ticks.delay())
            if ticks.due():
                ticks.tick()
                await body()

    What it promises:

    - Each run is for one instant of the schedule, and the next is looked for from that instant, never from the
      clock's reading: a wall clock that lags never makes two runs of one.
    - Instants that pass unseen (the machine slept, the wall clock was set forward, the body took too long) are made
      up by one run, at once, for the newest of them. The others are counted in `missed`, and a warning tells of them.
    - When the wall clock is set back, nothing runs for a time that it has run for: the crontab waits until the clock
      is there again. Only if it was set back by more than a day does it begin anew from the clock's reading, with a
      warning: such a clock was wrong before.

    It belongs to one task. It is not thread-safe.

    Args:
        schedule: What to run by.
        clock: The wall clock. A new `CronClock` if not given.
        name: What the log calls the crontab; the cron line if not given.
        max_wait: The longest wait in seconds, so that a step of the wall clock is noticed.

    Raises:
        ValueError: If `max_wait` is not positive.
    """

    #: The instant that is waited for; `None` before the start, and when the schedule has no more.
    target: datetime | None
    #: The instant of the last run.
    last_target: datetime | None
    #: How many runs there have been.
    iteration: int
    #: How many instants have had no run. Beyond a thousand at a time they are no longer counted.
    missed: int
    #: How long after its instant the last run began, in seconds.
    late: float

    def __init__(
        self,
        schedule: CronSchedule,
        clock: CronClock | None = None,
        *,
        name: str = "",
        max_wait: float = 60.0,
    ) -> None:
        if not max_wait > 0.0:
            raise ValueError(f"crontab max_wait: must be more than zero seconds, not {max_wait!r}")
        self.schedule = schedule
        self.clock: CronClock = CronClock() if clock is None else clock
        self.name: str = name or schedule.line
        self.max_wait = max_wait
        self.target = self.last_target = None
        self.iteration = self.missed = 0
        self.late = 0.0
        self._started = False
        #: The latest time that the clock has shown.
        self._latest = 0.0

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.name!r} next {self.target}, "
            f"{self.iteration} runs, {self.missed} missed>"
        )

    def start(self) -> None:
        """Turn to the first instant after now. Only the first call counts; the others make it if no one did."""
        if self._started:
            return
        self._started = True
        self._turn_to(self.clock.time())

    def delay(self) -> float:
        """Return how long to wait from now: until the next instant, but not longer than `max_wait`.

        Returns:
            Seconds, zero or more.
        """
        now = self._read()
        if self.target is None:
            return self.max_wait
        return min(max(self.target.timestamp() - now, 0.0), self.max_wait)

    def due(self) -> bool:
        """Tell whether the time for a run has come."""
        now = self._read()
        return self.target is not None and now >= self.target.timestamp()

    def tick(self) -> datetime:
        """Begin a run: call it once when `due` says so, and then run the body.

        Returns:
            The instant that the run is for, in the schedule's zone.

        Raises:
            LookupError: If the schedule has no more instants.
        """
        now = self._read()
        if self.target is None:
            raise LookupError(f"cron line {self.schedule.line!r} names no more times to run at")
        instant, missed = self._newest(self.target, now)
        if missed:
            self._log_missed(self.target, instant, missed)
        self.missed += missed
        self.iteration += 1
        self.late = max(now - instant.timestamp(), 0.0)
        self.last_target = instant
        self.target = self._next_or_none(instant)
        return instant

    def _read(self) -> float:
        self.start()
        now = self.clock.time()
        if now < self._latest - _LARGEST_SET_BACK:
            logger.warning(
                "Crontab %r: the wall clock was set back by %.1f days; it begins anew from %s",
                self.name,
                (self._latest - now) / _DAY_S,
                self.clock.now(),
            )
            self._turn_to(now)
        self._latest = max(self._latest, now)
        return now

    def _turn_to(self, now: float) -> None:
        self._latest = now
        self.target = self._next_or_none(datetime.fromtimestamp(now, UTC))

    def _next_or_none(self, instant: datetime) -> datetime | None:
        try:
            return self.schedule.next_after(instant)
        except LookupError:
            return None

    def _newest(self, target: datetime, now: float) -> tuple[datetime, int]:
        """Return the last instant from the target on that has come by now, and how many it leaves behind."""
        for missed in range(_MOST_COUNTED):
            following = self._next_or_none(target)
            if following is None or following.timestamp() > now:
                return target, missed
            target = following
        return self._search_newest(target, now), _MOST_COUNTED

    def _search_newest(self, target: datetime, now: float) -> datetime:
        # All in UTC: Python subtracts datetimes of one zone without regard to its changes.
        low, high = target.astimezone(UTC), datetime.fromtimestamp(now, UTC)
        while high - low >= _SECOND:
            middle = low + (high - low) / 2
            following = self._next_or_none(middle)
            if following is None or following > high:
                high = middle
            else:
                low = following.astimezone(UTC)
        return low.astimezone(self.schedule.timezone)

    def _log_missed(self, since: datetime, instant: datetime, missed: int) -> None:
        logger.warning(
            "Crontab %r missed %s%d of its times, from %s on; it makes up for them by one run, now, for %s",
            self.name,
            "more than " if missed == _MOST_COUNTED else "",
            missed,
            since,
            instant,
        )


def secs_for_next(cron_format: str, tz: tzinfo | None = None) -> float:
    """Return how long it is until a cron line's next time, by the system's clock.

    Kept from mode. It asks the clock anew each time; what runs something by it should use `CronTicks`.

    Args:
        cron_format: The cron line.
        tz: The zone whose clock the line speaks of, UTC if not given.

    Returns:
        Seconds, more than zero.

    Raises:
        TypeError: As `CronSchedule`.
        ValueError: As `CronSchedule`.
        LookupError: If the line names no time any more.
    """
    now = datetime.now(UTC)
    following = CronSchedule(cron_format, timezone=tz).next_after(now)
    return (following - now).total_seconds()
