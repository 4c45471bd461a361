"""Cron: which instants a line names, through every change of a zone's clock, and the waits for them."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache, partial
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import pytest
import trio
import trio.testing
from hypothesis import given, settings, strategies as st

from structmode.utils.cron import CronClock, CronSchedule, CronTicks, secs_for_next
from tests.at_once import at_once, taking_turns_often

#: No time limit for an example: some search through centuries, on machines that have other things to do.
unhurried = settings(deadline=None)

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)

BERLIN = "Europe/Berlin"
NEW_YORK = "America/New_York"
LORD_HOWE = "Australia/Lord_Howe"
APIA = "Pacific/Apia"
SAO_PAULO = "America/Sao_Paulo"


def instants(line: str, zone: str, start: str) -> Iterator[datetime]:
    """Step through the instants of a line after a local time."""
    schedule = CronSchedule(line, timezone=ZoneInfo(zone))
    instant = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone))
    while True:
        instant = schedule.next_after(instant)
        yield instant


def shown(line: str, zone: str, start: str, count: int) -> list[str]:
    """Show the first instants of a line after a local time: day, time, and a star in the second pass."""
    found = islice(instants(line, zone, start), count)
    return [f"{i:%d %H:%M}{'*' if i.fold else ''}" for i in found]


def until(line: str, zone: str, start: str, end: str) -> list[datetime]:
    """Return the instants of a line between two local times, in UTC."""
    last = datetime.fromisoformat(end).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    found: list[datetime] = []
    for instant in instants(line, zone, start):
        if instant.astimezone(UTC) > last:
            return found
        found.append(instant.astimezone(UTC))
    raise AssertionError("a line that ends")


def at(text: str) -> datetime:
    """Read an instant in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# --- Lines and zones ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "following"),
    [
        ("30 18 * * *", "2026-01-15T18:30:00"),
        ("*/10 * * * *", "2026-01-15T12:10:00"),
        ("@hourly", "2026-01-15T13:00:00"),
        ("0 0 * * fri", "2026-01-16T00:00:00"),
        ("0 0 l feb *", "2026-02-28T00:00:00"),
        ("0 0 * * mon#1", "2026-02-02T00:00:00"),
        ("0 0 1 * mon", "2026-01-19T00:00:00"),
        ("* * * * * 15", "2026-01-15T12:00:15"),
        ("* * * * * */20", "2026-01-15T12:00:20"),
        ("0 0 1 1 * 30 2099", "2099-01-01T00:00:30"),
        ("0 0 29 2 *", "2028-02-29T00:00:00"),
        ("\t5  *   * * * ", "2026-01-15T12:05:00"),
    ],
)
def test_lines(line: str, following: str) -> None:
    """Each kind of line that the docs name is understood, in UTC unless told otherwise."""
    result = CronSchedule(line).next_after(at("2026-01-15T12:00:03"))
    assert result == at(following)
    assert result.tzinfo is UTC


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("", "columns"),
        ("* * * *", "columns"),
        ("@reboot", "columns"),
        ("61 * * * *", "out of range"),
        ("* * * * foo", "not acceptable"),
        ("*/0 * * * *", "can't be read"),
        ("0 0 30 2 *", "no date"),
        ("1-jan 5 * * *", "not acceptable"),
        ("0 0 5-fri * *", "not acceptable"),
    ],
)
def test_wrong_line(line: str, wrong: str) -> None:
    """A line that can't be read, or can never come true, is refused: by name, with the reason and a right one."""
    with pytest.raises(ValueError, match=wrong) as caught:
        CronSchedule(line)
    assert repr(line) in str(caught.value)
    assert "'30 18 * * mon-fri'" in str(caught.value)


@unhurried
@given(
    st.lists(st.sampled_from(["*", "0", "*/7", "1-5", "1,3"]), min_size=5, max_size=5)
    | st.lists(
        st.sampled_from(["*", "0", "*/7", "1-5", "1,3"])
        | st.text("*0123456789/-,#?lwhr monfeb", min_size=1, max_size=6),
        max_size=8,
    )
)
def test_any_line(fields: list[str]) -> None:
    """Whatever the line is, it is read or refused with a ValueError."""
    line = " ".join(fields)
    try:
        schedule = CronSchedule(line)
    except ValueError:
        return
    assert schedule.next_after(at("1969-12-31")) > at("1969-12-31")


@pytest.mark.parametrize(
    ("line", "same_as"),
    [
        ("0 5-5 * * *", "0 5 * * *"),
        ("7-07 0-0 * * *", "7 0 * * *"),
        ("0 12 3-3 * *", "0 12 3 * *"),
        ("0 0 1 apr-4 *", "0 0 1 4 *"),
        ("0 12 * * FRI-fri", "0 12 * * fri"),
        ("0 12 * * 7-7", "0 12 * * sun"),
        ("0 12 * * sun-0", "0 12 * * sun"),
        ("0 0 * * 00-0", "0 0 * * 0"),
        ("1,5-5,9-11 5-5/2 * * *", "1,5,9,10,11 5 * * *"),
        ("0 0 1 1 * 30-30 2099-2099", "0 0 1 1 * 30 2099"),
    ],
)
def test_a_range_of_one(line: str, same_as: str) -> None:
    """It is that one, and not all that there are."""
    line_itself, other = CronSchedule(line), CronSchedule(same_as)
    instant = at("2026-01-15T12:00:03")
    for _ in range(5):
        following = other.next_after(instant)
        assert line_itself.next_after(instant) == following
        if following.year == 2099:
            break
        instant = following
    assert line_itself.line == line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0 0 1 * fri#2", ["01 00:00", "09 00:00", "01 00:00", "13 00:00"]),
        ("0 0 9 * fri#2", ["09 00:00", "09 00:00", "13 00:00", "09 00:00"]),
        ("0 0 1,2 * l5", ["01 00:00", "02 00:00", "30 00:00", "01 00:00"]),
        ("0 0 30 feb fri#2", ["13 00:00", "12 00:00", "11 00:00"]),
        ("0 0 ? * fri#2", ["09 00:00", "13 00:00"]),
    ],
)
def test_a_day_of_the_month_or_the_nth_weekday(line: str, expected: list[str]) -> None:
    """If both are named, either is enough, as with any day of the week."""
    assert shown(line, "UTC", "2025-12-31T12:00", len(expected)) == expected


def test_it_is_asked_by_several_threads() -> None:
    """The services of a class share its schedules, and each thread gets its own answer."""
    schedule = CronSchedule("30 2 * * *")

    def ask(year: int) -> None:
        instant = datetime(year, 1, 1, 2, 30, tzinfo=UTC)
        for _ in range(300):
            following = schedule.next_after(instant)
            assert following == instant + DAY
            instant = following

    with taking_turns_often():
        at_once(*(partial(ask, year) for year in (1980, 2000, 2026)))


@pytest.mark.parametrize("line", [None, 5, b"* * * * *"])
def test_line_of_another_type(line: Any) -> None:
    """A line that is no string is refused by name."""
    with pytest.raises(TypeError, match="a cron line is a string"):
        CronSchedule(line)


@pytest.mark.parametrize("zone", ["Europe/Berlin", 1, timedelta(hours=1)])
def test_zone_of_another_type(zone: Any) -> None:
    """A timezone that is no tzinfo is refused, and the error shows a right one."""
    with pytest.raises(TypeError, match=r"zoneinfo\.ZoneInfo\('Europe/Berlin'\)"):
        CronSchedule("* * * * *", timezone=zone)


def test_attributes_and_repr() -> None:
    """A schedule keeps its line and zone, and shows them."""
    schedule = CronSchedule("0 5 * * *", timezone=ZoneInfo(BERLIN))
    assert (schedule.line, schedule.timezone) == ("0 5 * * *", ZoneInfo(BERLIN))
    assert repr(schedule) == "<CronSchedule '0 5 * * *' Europe/Berlin>"


def test_fixed_zone() -> None:
    """A fixed offset is a zone."""
    schedule = CronSchedule("0 5 * * *", timezone=timezone(timedelta(hours=5, minutes=30)))
    assert schedule.next_after(at("2026-01-15T00:00")) == at("2026-01-15T23:30")


def test_naive_instant() -> None:
    """An instant without a zone is refused, for it would be a guess."""
    with pytest.raises(ValueError, match="aware datetime"):
        CronSchedule("* * * * *").next_after(datetime(2026, 1, 1))  # noqa: DTZ001


def test_instant_of_any_zone() -> None:
    """The instant may be given in any zone, and the result is in the schedule's."""
    schedule = CronSchedule("0 12 * * *", timezone=ZoneInfo(NEW_YORK))
    result = schedule.next_after(datetime(2026, 7, 1, 17, 59, tzinfo=ZoneInfo(BERLIN)))
    assert result == at("2026-07-01T16:00")
    assert result.tzinfo == ZoneInfo(NEW_YORK)


def test_strictly_later() -> None:
    """An instant of the line itself leads to the one after it; parts of a second count."""
    schedule = CronSchedule("0 12 * * *")
    noon = at("2026-01-15T12:00")
    assert schedule.next_after(noon) == noon + DAY
    assert schedule.next_after(noon - timedelta(microseconds=1)) == noon
    assert schedule.next_after(noon + timedelta(microseconds=1)) == noon + DAY


def test_line_that_ends() -> None:
    """A line whose years have passed says so."""
    schedule = CronSchedule("0 0 1 1 * 0 2020")
    assert schedule.next_after(at("2019-06-01")) == at("2020-01-01")
    with pytest.raises(LookupError, match=r"'0 0 1 1 \* 0 2020' names no time after 2020-01-01"):
        schedule.next_after(at("2020-01-01"))


@pytest.mark.parametrize("line", ["0 0 1 1 *", "0 0 * * *", "* * * * *", "0 0 29 2 *"])
def test_end_of_time(line: str) -> None:
    """At the end of the last year that Python knows a line ends too."""
    with pytest.raises(LookupError, match="names no time after 9999-12-31"):
        CronSchedule(line).next_after(at("9999-12-31T23:59:30"))


@pytest.mark.process
def test_croniter_is_imported_late() -> None:
    """The import of this module does not import croniter; the first schedule does."""
    code = (
        "import sys, structmode.utils.cron as cron\n"
        "assert 'croniter' not in sys.modules\n"
        "cron.CronSchedule('* * * * *')\n"
        "assert 'croniter' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- Through the changes of the clock: examples ---------------------------------------------------


@pytest.mark.parametrize(
    ("line", "zone", "start", "expected"),
    [
        # 02:00 -> 03:00
        ("30 2 * * *", BERLIN, "2026-03-28T12:00", ["29 03:00", "30 02:30", "31 02:30"]),
        ("0,30 2 * * *", BERLIN, "2026-03-28T12:00", ["29 03:00", "30 02:00", "30 02:30"]),
        ("30 2,3 * * *", BERLIN, "2026-03-28T12:00", ["29 03:00", "29 03:30", "30 02:30"]),
        ("0 2,3 * * *", BERLIN, "2026-03-28T12:00", ["29 03:00", "30 02:00", "30 03:00"]),
        ("0 */2 * * *", BERLIN, "2026-03-28T23:00", ["29 00:00", "29 03:00", "29 04:00"]),
        ("30 2 * * *", NEW_YORK, "2026-03-07T12:00", ["08 03:00", "09 02:30", "10 02:30"]),
        # 03:00 -> 02:00
        ("30 2 * * *", BERLIN, "2026-10-24T12:00", ["25 02:30", "26 02:30", "27 02:30"]),
        ("0 3 * * *", BERLIN, "2026-10-24T12:00", ["25 03:00", "26 03:00", "27 03:00"]),
        ("0 */2 * * *", BERLIN, "2026-10-24T23:00", ["25 00:00", "25 02:00", "25 04:00"]),
        ("30 1 * * *", NEW_YORK, "2026-10-31T12:00", ["01 01:30", "02 01:30", "03 01:30"]),
        # 02:00 -> 02:30, and back
        ("15 2 * * *", LORD_HOWE, "2026-10-03T12:00", ["04 02:30", "05 02:15", "06 02:15"]),
        ("45 1 * * *", LORD_HOWE, "2026-04-04T12:00", ["05 01:45", "06 01:45", "07 01:45"]),
        ("0 * * * *", LORD_HOWE, "2026-10-04T00:30", ["04 01:00", "04 02:30", "04 03:00"]),
        ("45 * * * *", LORD_HOWE, "2026-04-05T00:30", ["05 00:45", "05 01:45", "05 02:45"]),
        # 24:00 -> 01:00, and 24:00 -> 23:00
        ("0 0 * * *", SAO_PAULO, "2017-10-14T12:00", ["15 01:00", "16 00:00", "17 00:00"]),
        ("30 0 15 * *", SAO_PAULO, "2017-10-14T12:00", ["15 01:00", "15 00:30", "15 00:30"]),
        ("30 23 * * *", SAO_PAULO, "2018-02-17T12:00", ["17 23:30", "18 23:30", "19 23:30"]),
        ("0 0 * * *", SAO_PAULO, "2018-02-17T12:00", ["18 00:00", "19 00:00", "20 00:00"]),
    ],
)
def test_fixed_hours_run_once(line: str, zone: str, start: str, expected: list[str]) -> None:
    """A line of fixed hours runs once per time it names: at the end of a gap, and in the first pass of two."""
    assert shown(line, zone, start, len(expected)) == expected


@pytest.mark.parametrize(
    ("line", "period"),
    [("*/10 * * * *", 600), ("* * * * *", 60), ("0-59/15 0-23 * * *", 900)],
)
@pytest.mark.parametrize(
    ("zone", "start", "end"),
    [
        (BERLIN, "2026-03-28T12:00", "2026-03-30T12:00"),
        (BERLIN, "2026-10-24T12:00", "2026-10-26T12:00"),
        (NEW_YORK, "2026-03-07T12:00", "2026-03-09T12:00"),
        (NEW_YORK, "2026-10-31T12:00", "2026-11-02T12:00"),
        (LORD_HOWE, "2026-04-04T12:00", "2026-04-06T12:00"),
        (LORD_HOWE, "2026-10-03T12:00", "2026-10-05T12:00"),
        (SAO_PAULO, "2017-10-14T12:00", "2017-10-16T12:00"),
        (SAO_PAULO, "2018-02-17T12:00", "2018-02-19T12:00"),
        (APIA, "2011-12-29T12:00", "2012-01-01T12:00"),
    ],
)
def test_even_lines_run_by_elapsed_time(
    line: str, period: int, zone: str, start: str, end: str
) -> None:
    """A line that runs at an even pace keeps it through each change, in elapsed time."""
    found = until(line, zone, start, end)
    assert {(b - a).total_seconds() for a, b in pairwise(found)} == {period}


def test_hourly_line_in_the_second_pass() -> None:
    """The second pass of an hour is shown as such."""
    assert shown("0 * * * *", BERLIN, "2026-10-25T01:30", 3) == [
        "25 02:00",
        "25 02:00*",
        "25 03:00",
    ]


def test_asked_from_the_second_pass() -> None:
    """Asked from within the second pass, a line of fixed hours does not run again; an even one runs on."""
    again = datetime(2026, 10, 25, 2, 10, tzinfo=ZoneInfo(BERLIN), fold=1)
    fixed = CronSchedule("30 2 * * *", timezone=ZoneInfo(BERLIN))
    hourly = CronSchedule("30 * * * *", timezone=ZoneInfo(BERLIN))
    assert fixed.next_after(again).isoformat() == "2026-10-26T02:30:00+01:00"
    assert hourly.next_after(again).isoformat() == "2026-10-25T02:30:00+01:00"


def test_asked_from_the_first_pass_on_another_day() -> None:
    """A line that would run in both passes, but not on that day, does not run in the second one."""
    first = datetime(2026, 10, 25, 2, 10, tzinfo=ZoneInfo(BERLIN), fold=0)
    line = CronSchedule("0 * 1 1 *", timezone=ZoneInfo(BERLIN))
    assert line.next_after(first).isoformat() == "2027-01-01T00:00:00+01:00"


def test_hourly_line_of_one_day() -> None:
    """A line that names a day runs through that day's changes, and on no other day."""
    spring = until("0 * 15 10 *", SAO_PAULO, "2017-10-14T12:00", "2017-10-16T12:00")
    autumn = until("0 * 17 2 *", SAO_PAULO, "2018-02-16T12:00", "2018-02-19T12:00")
    assert (len(spring), len(autumn)) == (23, 25)


def test_seconds_through_the_changes() -> None:
    """Lines with seconds follow the same rules."""
    assert shown("30 2 * * * 7", BERLIN, "2026-03-28T12:00", 2) == ["29 03:00", "30 02:30"]
    found = until("* * * * * */20", LORD_HOWE, "2026-04-05T01:00", "2026-04-05T03:00")
    assert {(b - a).total_seconds() for a, b in pairwise(found)} == {20}


def test_day_that_was_left_out() -> None:
    """Samoa had no 30 December 2011: daily lines run on, and lines that name the day run as the next begins."""
    assert shown("0 12 * * *", APIA, "2011-12-28T20:00", 3) == ["29 12:00", "31 12:00", "01 12:00"]
    assert shown("0 0 * * *", APIA, "2011-12-28T20:00", 3) == ["29 00:00", "31 00:00", "01 00:00"]
    assert shown("0 12 30 12 *", APIA, "2011-12-28T20:00", 2) == ["31 00:00", "30 12:00"]
    assert shown("0 12 * * fri", APIA, "2011-12-28T20:00", 2) == ["31 00:00", "06 12:00"]


class LocalizingZone(tzinfo):
    """A zone made as pytz makes them: itself it knows one offset only, and `fromutc` gives the right one."""

    def __init__(self, key: str, offset: timedelta = timedelta(minutes=53)) -> None:
        self.key = key
        self._offset = offset

    def utcoffset(self, dt: datetime | None, /) -> timedelta:
        """Return the one offset, whatever the time is."""
        return self._offset

    def dst(self, dt: datetime | None, /) -> timedelta:
        """Claim to know nothing of it."""
        return timedelta()  # pragma: no cover - never called

    def tzname(self, dt: datetime | None, /) -> str:
        """Return the name."""
        return self.key  # pragma: no cover - never called

    def fromutc(self, dt: datetime, /) -> datetime:
        """Return local time with a zone of the offset of that moment."""
        local = dt.replace(tzinfo=UTC).astimezone(ZoneInfo(self.key))
        offset = local.utcoffset()
        assert offset is not None
        return local.replace(tzinfo=LocalizingZone(self.key, offset))


@pytest.mark.parametrize("line", ["30 2 * * *", "*/20 * * * *"])
@pytest.mark.parametrize("start", ["2026-03-28T12:00", "2026-10-24T12:00"])
def test_zones_like_those_of_pytz(line: str, start: str) -> None:
    """A zone that is right only in its `fromutc` gives the same instants as any other."""
    schedule = CronSchedule(line, timezone=LocalizingZone(BERLIN))
    instant = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(BERLIN))
    for expected in islice(instants(line, BERLIN, start), 150):
        instant = schedule.next_after(instant)
        assert instant.astimezone(UTC) == expected.astimezone(UTC)
        assert instant.isoformat() == expected.isoformat()


# --- Through the changes of the clock: everywhere -------------------------------------------------

ZONES = (
    BERLIN,
    NEW_YORK,
    LORD_HOWE,
    APIA,
    SAO_PAULO,
    "Africa/Casablanca",  # winter time in Ramadan
    "America/Caracas",  # by half an hour
    "America/Nuuk",  # 23:00 -> 24:00
    "America/St_Johns",  # at 00:01
    "Antarctica/Troll",  # by two hours
    "Asia/Kathmandu",  # by a quarter of an hour
    "Asia/Pyongyang",  # by half an hour
    "Asia/Tehran",
    "Atlantic/Azores",
    "Pacific/Kwajalein",  # left out a day
)


@cache
def changes(zone: str) -> list[datetime]:
    """Find the moments from 1985 on at which the zone's offset becomes another."""
    tz = ZoneInfo(zone)
    days = [at("1985-01-01") + n * DAY for n in range(48 * 365)]
    found: list[datetime] = []
    for day, following in pairwise(days):
        offset = following.astimezone(tz).utcoffset()
        if day.astimezone(tz).utcoffset() != offset:
            minutes = (day + n * MINUTE for n in range(1, 1441))
            found.append(next(m for m in minutes if m.astimezone(tz).utcoffset() == offset))
    return found


#: Minutes from a change to look at it from: a day off, or near it.
DISTANCES = st.integers(-1600, 1600) | st.integers(-150, 150)


@dataclass(frozen=True)
class Fields:
    """A line of plain fields; `None` is a star."""

    minutes: frozenset[int]
    hours: frozenset[int] | None
    days: frozenset[int] | None = None
    weekdays: frozenset[int] | None = None

    @property
    def line(self) -> str:
        """The line in cron's words."""
        fields = (self.minutes, self.hours, self.days, None, self.weekdays)
        return " ".join("*" if f is None else ",".join(map(str, sorted(f))) for f in fields)

    @property
    def times(self) -> set[int]:
        """The minutes of the day."""
        hours = range(24) if self.hours is None else self.hours
        return {hour * 60 + minute for hour in hours for minute in self.minutes}

    def names(self, local: datetime) -> bool:
        """Tell whether the line names a local time."""
        if local.hour * 60 + local.minute not in self.times:
            return False
        chosen = (
            self.days is not None and local.day in self.days,
            self.weekdays is not None and local.isoweekday() % 7 in self.weekdays,
        )
        return any(chosen) or (self.days is None and self.weekdays is None)

    def sees(self, minutes: int) -> bool:
        """Tell whether a change by so many minutes maps the line onto another."""
        moved = {(t + minutes) % 1440 for t in self.times}
        every_day = self.days is None and self.weekdays is None
        return moved != self.times or (abs(minutes) >= 1440 and not every_day)


def by_the_minute(fields: Fields, zone: str, start: datetime, minutes: int) -> list[datetime]:
    """Say when a line is due by watching the zone's clock minute by minute, from a day earlier on."""
    tz = ZoneInfo(zone)
    due: list[datetime] = []
    utc = start - DAY - 60 * MINUTE
    last = utc.astimezone(tz).replace(tzinfo=None)
    suppressed_until = last
    while (utc := utc + MINUTE) <= start + minutes * MINUTE:
        local = utc.astimezone(tz).replace(tzinfo=None)
        expected = last + MINUTE
        change = (local - expected) // MINUTE
        runs = fields.names(local)
        if change and fields.sees(change):
            if change > 0:
                runs |= any(fields.names(expected + n * MINUTE) for n in range(change))
            else:
                suppressed_until = expected
        if runs and local >= suppressed_until:
            due.append(utc)
        last = local
    return [instant for instant in due if instant > start]


def subsets(top: int, *steps: int, low: int = 0) -> st.SearchStrategy[frozenset[int]]:
    """Choose values of a field: a few, or all in even steps."""
    few = st.frozensets(st.integers(low, top), min_size=1, max_size=3)
    even = st.sampled_from(steps).map(lambda step: frozenset(range(low, top + 1, step)))
    return few | even


LINES = st.builds(
    Fields,
    minutes=subsets(59, 10, 15, 30, 60),
    hours=st.none() | subsets(23, 1, 2, 3, 6),
    days=st.none() | subsets(31, 2, low=1),
    weekdays=st.none() | subsets(6, 2),
)


@pytest.mark.slow
@unhurried
@given(fields=LINES, zone=st.sampled_from(ZONES), data=st.data())
def test_agrees_with_watching_the_clock(fields: Fields, zone: str, data: st.DataObject) -> None:
    """Near each change of each zone, a line is due just when someone who watches the clock would say."""
    change = data.draw(st.sampled_from(changes(zone)))
    start = change + data.draw(DISTANCES) * MINUTE
    expected = by_the_minute(fields, zone, start, 2000)
    schedule = CronSchedule(fields.line, timezone=ZoneInfo(zone))
    found: list[datetime] = []
    instant = start
    while (instant := schedule.next_after(instant)).astimezone(UTC) <= start + 2000 * MINUTE:
        found.append(instant.astimezone(UTC))
    assert found == expected


@unhurried
@given(fields=LINES, zone=st.sampled_from(ZONES), data=st.data())
def test_instants_increase_and_exist(fields: Fields, zone: str, data: st.DataObject) -> None:
    """Each instant is later than the last, is one that the zone's clock shows, and is found from any in between."""
    change = data.draw(st.sampled_from(changes(zone)))
    instant = (
        change + data.draw(DISTANCES) * MINUTE + timedelta(seconds=data.draw(st.floats(0, 60)))
    )
    schedule = CronSchedule(fields.line, timezone=ZoneInfo(zone))
    for _ in range(20):
        following = schedule.next_after(instant)
        earlier, later = instant.astimezone(UTC), following.astimezone(UTC)
        assert earlier < later
        assert (following.second, following.microsecond) == (0, 0)
        again = later.astimezone(ZoneInfo(zone))
        assert (again.replace(tzinfo=None), again.fold) == (
            following.replace(tzinfo=None),
            following.fold,
        )
        between = earlier + (later - earlier) * data.draw(st.floats(0.0, 0.999))
        assert schedule.next_after(between).astimezone(UTC) == later
        instant = following


@settings(unhurried, max_examples=30)
@given(
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
    zone=st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, SAO_PAULO, "Antarctica/Troll"]),
    year=st.integers(2010, 2035),
)
def test_daily_lines_run_once_a_day(hour: int, minute: int, zone: str, year: int) -> None:
    """A line of one fixed time a day runs on each day of the year, once."""
    found = instants(f"{minute} {hour} * * *", zone, f"{year - 1}-12-31T23:59")
    days = [next(found).date() for _ in range(365)]
    assert days == [datetime(year, 1, 1).date() + n * DAY for n in range(365)]  # noqa: DTZ001


@unhurried
@given(
    day=st.none() | subsets(31, 2, low=1),
    month=st.none() | subsets(12, 3, low=1),
    weekday=st.none() | subsets(6, 2),
    start=st.datetimes(datetime(1980, 1, 1), datetime(2080, 1, 1)),  # noqa: DTZ001
)
def test_calendar(
    day: frozenset[int] | None,
    month: frozenset[int] | None,
    weekday: frozenset[int] | None,
    start: datetime,
) -> None:
    """Days, months and weekdays are those of the calendar; of day and weekday either is enough."""
    dates = Fields(frozenset([0]), frozenset([0]), day, weekday)
    minute, hour, days, _, weekdays = dates.line.split()
    months = "*" if month is None else ",".join(map(str, sorted(month)))
    line = f"{minute} {hour} {days} {months} {weekdays}"
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    midnights = (midnight + n * DAY for n in range(1, 3000))
    expected = (d for d in midnights if dates.names(d) and (month is None or d.month in month))
    first = next(expected, None)
    if first is None:  # pragma: no cover - the 31st of February, if hypothesis thinks of it
        return
    assert CronSchedule(line).next_after(start.replace(tzinfo=UTC)) == first.replace(tzinfo=UTC)


# --- The clock ------------------------------------------------------------------------------------


class FakeClocks:
    """The three clocks that a `CronClock` reads."""

    def __init__(self, wall: str = "2026-01-15T12:00:00") -> None:
        self.wall_s = at(wall).timestamp()
        self.monotonic_s = 50.0
        self.now_s = 7.0

    def make(self) -> CronClock:
        """Make the clock that reads them."""
        return CronClock(
            wall=lambda: self.wall_s,
            monotonic=lambda: self.monotonic_s,
            now=lambda: self.now_s,
        )

    def pass_(self, seconds: float) -> None:
        """Pass real time."""
        self.wall_s += seconds
        self.monotonic_s += seconds
        self.now_s += seconds

    def jump(self, seconds: float) -> None:
        """Pass virtual time."""
        self.now_s += seconds

    def set(self, seconds: float) -> None:
        """Set the wall clock, forward or back."""
        self.wall_s += seconds


@pytest.fixture
def clocks() -> FakeClocks:
    """Clocks at noon."""
    return FakeClocks()


def test_clock_is_read_by_the_start() -> None:
    """Making a clock reads none; outside an event loop the start fails and the constructor does not."""
    clock = CronClock()
    with pytest.raises(anyio.NoEventLoopError):
        clock.start()


def test_clock_follows_real_time(clocks: FakeClocks) -> None:
    """While real time passes, the clock shows the system's wall time."""
    clock = clocks.make()
    clock.start()
    clocks.pass_(3.5)
    assert clock.time() == clocks.wall_s
    assert clock.now() == at("2026-01-15T12:00:03.500")


def test_clock_follows_virtual_time(clocks: FakeClocks) -> None:
    """While the event loop's clock jumps ahead, the clock goes along."""
    clock = clocks.make()
    clock.start()
    clocks.jump(3600.0)
    clocks.pass_(1.0)
    assert clock.now() == at("2026-01-15T13:00:01")


@pytest.mark.parametrize("step", [30.0, -30.0, 0.25])
def test_clock_follows_steps(clocks: FakeClocks, step: float) -> None:
    """When the system's wall clock is set, the clock is set too."""
    clock = clocks.make()
    clock.start()
    clocks.pass_(1.0)
    clocks.set(step)
    assert clock.step == step
    assert clock.time() == clocks.wall_s


def test_clock_follows_sleep_of_the_machine(clocks: FakeClocks) -> None:
    """The time that the machine has slept passes on the wall clock only, and is followed."""
    clock = clocks.make()
    clock.start()
    clocks.set(8 * 3600.0)
    assert clock.now() == at("2026-01-15T20:00:00")


def test_clock_is_not_moved_by_noise(clocks: FakeClocks) -> None:
    """That two clocks can't be read at once does not make the time tremble; but small steps add up."""
    clock = clocks.make()
    clock.start()
    clocks.set(0.0005)
    assert clock.step == 0.0
    clocks.set(0.0005)
    clocks.set(0.0005)
    assert clock.step == pytest.approx(0.0015, abs=1e-6)


def test_clock_starts_once(clocks: FakeClocks) -> None:
    """The first start counts, and a reading starts it."""
    clock = clocks.make()
    clock.time()
    clocks.jump(60.0)
    clock.start()
    assert clock.now() == at("2026-01-15T12:01:00")


async def test_clock_in_an_event_loop() -> None:
    """With nothing given the clock shows the system's time."""
    clock = CronClock()
    clock.start()
    await anyio.sleep(0.001)
    assert clock.time() == pytest.approx(time.time(), abs=5.0)
    assert clock.now().tzinfo is UTC


# --- Waits and runs -------------------------------------------------------------------------------


def make_ticks(clocks: FakeClocks, line: str = "*/10 * * * *", **kwargs: float) -> CronTicks:
    """Make and start the ticks of a line."""
    ticks = CronTicks(CronSchedule(line), clocks.make(), name="T", **kwargs)
    ticks.start()
    return ticks


def wait(ticks: CronTicks, clocks: FakeClocks) -> datetime:
    """Wait as a crontab does until a run is due, and begin it."""
    for _ in range(10_000):
        clocks.pass_(ticks.delay())
        if ticks.due():
            return ticks.tick()
    raise AssertionError("never due")


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings of the module's logger."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "structmode.utils.cron" and record.levelno == logging.WARNING
    ]


def test_runs_on_time(clocks: FakeClocks, caplog: pytest.LogCaptureFixture) -> None:
    """Each run is for the next instant of the schedule, and begins then."""
    ticks = make_ticks(clocks)
    for minute in (10, 20, 30):
        assert wait(ticks, clocks) == at(f"2026-01-15T12:{minute}:00")
        assert ticks.clock.now() == ticks.last_target
        clocks.pass_(30.0)
    assert (ticks.iteration, ticks.missed, ticks.late) == (3, 0, 0.0)
    assert ticks.target == at("2026-01-15T12:40:00")
    assert warnings(caplog) == []


def test_an_instant_of_the_start_is_no_run(clocks: FakeClocks) -> None:
    """A crontab that starts just when it would be due waits for the next time."""
    assert wait(make_ticks(clocks, "0 12 * * *"), clocks) == at("2026-01-16T12:00:00")


def test_waits_are_short(clocks: FakeClocks) -> None:
    """No wait is longer than `max_wait`, so that a step of the wall clock is noticed."""
    assert make_ticks(clocks).delay() == 60.0
    assert make_ticks(clocks, max_wait=3600.0).delay() == 600.0


@pytest.mark.parametrize("max_wait", [0.0, -1.0, float("nan")])
def test_wrong_max_wait(max_wait: float) -> None:
    """A longest wait of nothing is refused by name."""
    with pytest.raises(ValueError, match="max_wait"):
        CronTicks(CronSchedule("* * * * *"), max_wait=max_wait)


def test_starts_by_itself(clocks: FakeClocks) -> None:
    """The constructor reads no clock; asking for the delay starts it, and later starts change nothing."""
    ticks = CronTicks(CronSchedule("*/10 * * * *"), clocks.make(), max_wait=3600.0)
    assert ticks.target is None
    assert ticks.delay() == 600.0
    clocks.pass_(700.0)
    ticks.start()
    assert ticks.due()


def test_names_and_repr(clocks: FakeClocks) -> None:
    """Ticks are called by their name or else their line, and show where they are."""
    ticks = CronTicks(CronSchedule("0 13 * * *"), clocks.make())
    assert repr(ticks) == "<CronTicks '0 13 * * *' next None, 0 runs, 0 missed>"
    ticks.start()
    assert "next 2026-01-15 13:00:00+00:00" in repr(ticks)


def test_lagging_wall_clock_fires_once(clocks: FakeClocks) -> None:
    """A wall clock that falls back behind the time it has just run for makes no second run of it."""
    ticks = make_ticks(clocks, "* * * * * */2")
    runs: list[datetime] = []
    for _ in range(5):
        runs.append(wait(ticks, clocks))
        clocks.set(-0.016)
    assert runs == [at(f"2026-01-15T12:00:{second:02}") for second in (2, 4, 6, 8, 10)]


def test_woken_too_early(clocks: FakeClocks) -> None:
    """A wait that ends early is no run."""
    ticks = make_ticks(clocks, max_wait=3600.0)
    clocks.pass_(ticks.delay() - 0.001)
    assert not ticks.due()
    assert ticks.delay() == pytest.approx(0.001, abs=1e-6)


def test_late_run(clocks: FakeClocks, caplog: pytest.LogCaptureFixture) -> None:
    """A run that begins late is for the instant it was due at, and tells how late it is."""
    ticks = make_ticks(clocks)
    clocks.pass_(603.0)
    assert ticks.delay() == 0.0
    assert ticks.due()
    assert ticks.tick() == at("2026-01-15T12:10:00")
    assert (ticks.late, ticks.missed) == (3.0, 0)
    assert warnings(caplog) == []


def test_slow_body(clocks: FakeClocks, caplog: pytest.LogCaptureFixture) -> None:
    """Instants that pass during a body are made up by one run, for the newest; the rest are counted and told."""
    ticks = make_ticks(clocks)
    wait(ticks, clocks)
    clocks.pass_(35 * 60.0)
    assert ticks.delay() == 0.0
    assert ticks.tick() == at("2026-01-15T12:40:00")
    assert (ticks.iteration, ticks.missed, ticks.late) == (2, 2, 300.0)
    assert not ticks.due()
    assert ticks.target == at("2026-01-15T12:50:00")
    (told,) = warnings(caplog)
    assert told == (
        "Crontab 'T' missed 2 of its times, from 2026-01-15 12:20:00+00:00 on; "
        "it makes up for them by one run, now, for 2026-01-15 12:40:00+00:00"
    )


def test_machine_slept(clocks: FakeClocks) -> None:
    """After a night of sleep a daily crontab runs at once, and an hourly one once."""
    daily, hourly = make_ticks(clocks, "0 20 * * *"), make_ticks(clocks, "0 * * * *")
    clocks.set(10 * 3600.0)
    assert daily.due()
    assert daily.tick() == at("2026-01-15T20:00:00")
    assert hourly.tick() == at("2026-01-15T22:00:00")
    assert (daily.missed, hourly.missed) == (0, 9)
    assert not hourly.due()


@pytest.mark.parametrize("line", ["* * * * *", "* * * jan,mar * *", "*/7 3 1-9 1 *"])
def test_clock_was_decades_wrong(line: str, caplog: pytest.LogCaptureFixture) -> None:
    """A clock that is set forward by half a century does not block anyone: the missed are no longer counted."""
    clocks = FakeClocks("1970-01-01T00:00:00")
    ticks = make_ticks(clocks, line)
    clocks.set(at("2026-02-01T12:34:56").timestamp() - clocks.wall_s)
    instant = ticks.tick()
    assert instant <= at("2026-02-01T12:34:56")
    assert ticks.target is not None
    assert ticks.target > at("2026-02-01T12:34:56")
    assert ticks.schedule.next_after(instant) == ticks.target
    assert ticks.missed == 1000
    assert "missed more than 1000 of its times" in warnings(caplog)[0]


@pytest.mark.parametrize("minutes", [1, 55, 23 * 60])
def test_set_back(clocks: FakeClocks, minutes: int, caplog: pytest.LogCaptureFixture) -> None:
    """A clock that is set back by up to a day: nothing runs twice for one time, and none is left out."""
    ticks = make_ticks(clocks)
    runs = [wait(ticks, clocks)]
    clocks.set(-minutes * 60.0)
    runs += [wait(ticks, clocks) for _ in range(3)]
    assert runs == [at(f"2026-01-15T12:{minute}:00") for minute in (10, 20, 30, 40)]
    assert ticks.clock.now() == runs[-1]
    assert (ticks.missed, warnings(caplog)) == (0, [])


def test_set_back_by_days(clocks: FakeClocks, caplog: pytest.LogCaptureFixture) -> None:
    """A clock that is set back by more than a day was wrong: the crontab begins anew, and says so."""
    ticks = make_ticks(clocks)
    wait(ticks, clocks)
    clocks.set(-3 * 86400.0)
    assert wait(ticks, clocks) == at("2026-01-12T12:20:00")
    assert wait(ticks, clocks) == at("2026-01-12T12:30:00")
    assert warnings(caplog) == [
        "Crontab 'T': the wall clock was set back by 3.0 days; it begins anew from 2026-01-12 12:10:00+00:00"
    ]


def test_set_back_by_days_in_steps(clocks: FakeClocks) -> None:
    """Small steps back add up to one that is too large."""
    ticks = make_ticks(clocks)
    for _ in range(2):
        clocks.set(-20 * 3600.0)
        assert not ticks.due()
    assert ticks.target == at("2026-01-13T20:10:00")


def test_set_back_between_due_and_tick(clocks: FakeClocks) -> None:
    """A run that was found due is for its instant, though the clock is set back as it begins."""
    ticks = make_ticks(clocks)
    clocks.pass_(600.0)
    assert ticks.due()
    clocks.set(-5.0)
    assert ticks.tick() == at("2026-01-15T12:10:00")
    assert (ticks.target, ticks.late) == (at("2026-01-15T12:20:00"), 0.0)


def test_set_back_before_the_first_run(clocks: FakeClocks) -> None:
    """A clock that started years ahead and is put right does not keep the crontab waiting for years."""
    clocks.set(4 * 365 * 86400.0)
    ticks = make_ticks(clocks)
    clocks.set(-4 * 365 * 86400.0)
    assert wait(ticks, clocks) == at("2026-01-15T12:10:00")


def test_schedule_that_ends(clocks: FakeClocks) -> None:
    """When the schedule has no more instants, nothing is due any more and the waits go on."""
    ticks = make_ticks(clocks, "0,30 13 15 1 * 0 2026")
    assert wait(ticks, clocks) == at("2026-01-15T13:00:00")
    clocks.pass_(3600.0)
    assert ticks.tick() == at("2026-01-15T13:30:00")
    clocks.pass_(86400.0)
    assert (ticks.target, ticks.due(), ticks.delay()) == (None, False, 60.0)
    with pytest.raises(LookupError, match="no more times"):
        ticks.tick()


@unhurried
@given(
    st.lists(st.tuples(st.sampled_from(["pass", "set"]), st.floats(-7200.0, 7200.0)), max_size=30)
)
def test_no_time_runs_twice(events: list[tuple[str, float]]) -> None:
    """Whatever the clocks do, within a day: runs are for ever later instants, and each is run or counted."""
    clocks = FakeClocks()
    ticks = make_ticks(clocks)
    runs: list[datetime] = []
    moved = 0.0
    for kind, seconds in events:
        if kind == "pass":
            clocks.pass_(abs(seconds))
        elif abs(moved + seconds) < 43200.0:  # pragma: no branch - hypothesis seldom goes so far
            moved += seconds
            clocks.set(seconds)
        if ticks.due():
            runs.append(ticks.tick())
    assert runs == sorted(set(runs))
    if runs:
        passed = (runs[-1] - at("2026-01-15T12:00:00")) // timedelta(minutes=10)
        assert passed == len(runs) + ticks.missed


def test_a_virtual_week() -> None:
    """Under a virtual clock a crontab runs through a week, and the end of summer time, in no time."""

    async def main() -> list[str]:
        start = at("2026-10-22T00:00:00").timestamp()
        clock = CronClock(wall=lambda: start, monotonic=lambda: 0.0)
        schedule = CronSchedule("30 2 * * *", timezone=ZoneInfo(BERLIN))
        ticks = CronTicks(schedule, clock)
        ticks.start()
        runs: list[str] = []
        while len(runs) < 5:
            await anyio.sleep(ticks.delay())
            if ticks.due():
                runs.append(f"{ticks.tick():%d %H:%M %z}")
                assert 0.0 <= ticks.late < 0.001
        return runs

    assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0)) == [
        "22 02:30 +0200",
        "23 02:30 +0200",
        "24 02:30 +0200",
        "25 02:30 +0200",
        "26 02:30 +0100",
    ]


# --- mode's function ------------------------------------------------------------------------------


def test_secs_for_next() -> None:
    """The seconds until the next minute are those that the system's clock has left of this one."""
    before = time.time()
    seconds = secs_for_next("* * * * *")
    after = time.time()
    left = 60.0 - before % 60.0
    assert 0.0 < seconds <= 60.0
    assert seconds == pytest.approx(left, abs=after - before + 0.001) or after // 60 > before // 60


def test_secs_for_next_in_a_zone() -> None:
    """The line speaks of the clock of the zone that is given."""
    west = datetime.now(UTC).astimezone(timezone(timedelta(hours=-8)))
    soon = west + timedelta(minutes=30)
    line = f"{soon.minute} {soon.hour} * * *"
    assert 28 * 60 < secs_for_next(line, west.tzinfo) <= 30 * 60
    assert secs_for_next(line) > 3600


def test_secs_for_next_of_a_wrong_line() -> None:
    """A wrong line is refused as by a schedule."""
    with pytest.raises(ValueError, match="'what' can't be read"):
        secs_for_next("what")
