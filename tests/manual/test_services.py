"""The chapter `mode.services` of mode's manual: diagnostic flags, tasks, timers and crontabs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, TypeAlias

import anyio
import pytest

import structmode
from structmode import Service, services
from structmode.testing import VirtualClock

from .here import virtual_time

SAVING = "saving"

Declare: TypeAlias = Callable[[Callable[[Any], Coroutine[Any, Any, None]]], services.ServiceTask]


class Disk:
    """Stands for something that takes a second to be written to."""

    def __init__(self, owner: Service) -> None:
        self.owner = owner
        self.seen: list[set[str]] = []

    async def save(self) -> None:
        self.seen.append(set(self.owner.diag.flags))
        await anyio.sleep(1.0)
        self.seen.append(set(self.owner.diag.flags))


@virtual_time
async def test_a_flag_that_is_set_by_hand(virtual_clock: VirtualClock) -> None:
    """A task that sets a flag before what it does, and unsets it after it, lets others see what it is doing."""

    class Saver(Service):
        def __post_init__(self) -> None:
            self.disk = Disk(self)

        @Service.task
        async def save_now_and_then(self) -> None:
            while not self.should_stop:  # pragma: no branch - cancelled in the body
                await self.sleep(30.0)
                self.diag.set_flag(SAVING)
                try:
                    await self.disk.save()
                finally:
                    self.diag.unset_flag(SAVING)

    async with Saver() as saver:
        await anyio.sleep(30.5)
        assert saver.diag.flags == {SAVING}
        assert SAVING in saver.diag.last_transition
        await anyio.sleep(1.0)
        assert saver.diag.flags == set()
    assert saver.disk.seen[:2] == [{SAVING}, {SAVING}]  # a stop wakes it, and it saves once more


class Declared(Service):
    """Has a method during which a flag is set, and a timer that calls it."""

    def __post_init__(self) -> None:
        self.disk = Disk(self)

    @Service.timer(30.0)
    async def save_now_and_then(self) -> None:
        await self.save()

    @Service.transitions_with(SAVING)
    async def save(self) -> None:
        await self.disk.save()


@virtual_time
async def test_a_flag_that_is_declared(virtual_clock: VirtualClock) -> None:
    """A decorator does the same for a method."""
    async with Declared() as saver:
        await anyio.sleep(30.5)
        assert saver.diag.flags == {SAVING}
        await anyio.sleep(1.0)
        assert saver.diag.flags == set()
    assert saver.disk.seen == [{SAVING}, {SAVING}]


def test_the_names_of_the_decorator() -> None:
    """`transitions_with`, as the manual's examples have it, is `transitions_to`, as its reference has it."""
    assert Service.transitions_with == Service.transitions_to


async def test_transition_with() -> None:
    """A flag may be set while something is awaited, whose result is returned."""
    service = Service()

    async def look() -> set[str]:
        return set(service.diag.flags)

    assert await service.transition_with(SAVING, look()) == {SAVING}
    assert service.diag.flags == set()


#: The same decorators are methods of the class, and functions in two modules.
HOMES = ["class", "top", "module"]


@pytest.mark.parametrize("task", [Service.task, structmode.task, services.task], ids=HOMES)
@virtual_time
async def test_a_task(task: Declare, virtual_clock: VirtualClock) -> None:
    """A declared task runs from the start on, and may go on until the service must stop."""

    class Waking(Service):
        woken = 0

        @task
        async def background_task(self) -> None:
            while not self.should_stop:
                await self.sleep(1.0)
                self.woken += 1

    async with Waking() as service:
        await anyio.sleep(4.5)
        assert service.woken == 4


@pytest.mark.parametrize("timer", [Service.timer, structmode.timer, services.timer], ids=HOMES)
@virtual_time
async def test_a_timer(timer: Callable[..., Declare], virtual_clock: VirtualClock) -> None:
    """A declared timer runs every so many seconds; the first time after one interval."""

    class Waking(Service):
        woken = 0

        @timer(1.0)
        async def background_timer(self) -> None:
            self.woken += 1

    async with Waking() as service:
        await anyio.sleep(0.5)
        assert service.woken == 0
        await anyio.sleep(4.0)
        assert service.woken == 4


@virtual_time
async def test_itertimer(virtual_clock: VirtualClock) -> None:
    """`async for` over `itertimer` waits a full interval before each round, and ends when the service stops."""

    class Requesting(Service):
        drain_timeout = 1.0

        def __post_init__(self) -> None:
            self.at: list[float] = []
            self.ended = False

        async def request(self) -> None:
            self.at.append(round(virtual_clock.elapsed, 3))
            await anyio.sleep(0.25)

        @Service.task
        async def poll(self) -> None:
            async for _ in self.itertimer(1.0):
                await self.request()
            self.ended = True

    async with Requesting() as service:
        await anyio.sleep(3.5)
    assert service.at == [1.0, 2.0, 3.0]
    assert service.ended
    assert virtual_clock.elapsed == pytest.approx(3.5)


#: Eight hours behind UTC, all the year.
PACIFIC = timezone(timedelta(hours=-8))


@pytest.mark.slow
@pytest.mark.parametrize(
    "crontab", [Service.crontab, structmode.crontab, services.crontab], ids=HOMES
)
@virtual_time
async def test_a_crontab(crontab: Callable[..., Declare], virtual_clock: VirtualClock) -> None:
    """A crontab runs at half past six, once a day: in the zone that it names, or else in UTC."""
    pacific: list[float] = []
    utc: list[float] = []

    class Evening(Service):
        @crontab(cron_format="30 18 * * *", timezone=PACIFIC)
        async def in_california(self) -> None:
            pacific.append(virtual_clock.elapsed)

        @crontab(cron_format="30 18 * * *")
        async def in_greenwich(self) -> None:
            utc.append(virtual_clock.elapsed)

    began = datetime.now(UTC)
    async with Evening():
        await anyio.sleep(24 * 3600)
    assert len(pacific) == len(utc) == 1
    # What is compared is which minute of the day it was, by the wall clock that the virtual one drives.
    for [elapsed], zone in ((pacific, PACIFIC), (utc, UTC)):
        at = (began + timedelta(seconds=elapsed + 30)).astimezone(zone)
        assert (at.hour, at.minute) == (18, 30)
