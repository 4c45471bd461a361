"""The faults of mode's supervisors, by their numbers in the survey: each test states the opposite of one."""

from __future__ import annotations

import logging
from typing import Any, Literal

import anyio
import pytest

from structmode import MaxRestartsExceeded, Service
from structmode.supervisors import (
    Backoff,
    CrashingSupervisor,
    ForfeitOneForAllSupervisor,
    ForfeitOneForOneSupervisor,
    OneForAllSupervisor,
    OneForOneSupervisor,
    SupervisorStrategy,
)
from structmode.testing import VirtualClock, virtual_backend
from structmode.types.services import ServiceT


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The event loops whose time can be virtual: none of this takes any."""
    name: Literal["asyncio", "trio"] = request.param
    return name, virtual_backend(name)["backend_options"]


class Brittle(Service):
    """Fails when it is told to, and in its next starts, if it is told so."""

    starts = 0
    bad_starts = 0

    async def on_start(self) -> None:
        self.starts += 1
        if self.bad_starts:
            self.bad_starts -= 1
            raise OSError("does not start")


async def until_quiet() -> None:
    """Let things happen, but no time pass."""
    for _ in range(200):
        await anyio.sleep(0)


async def crash(service: Service) -> None:
    """Crash a service, and let its supervisor do what it does without a wait."""
    await service.crash(ValueError("broken"))
    await until_quiet()


@pytest.mark.fault("B1")
async def test_b1_services_of_the_constructor_are_supervised() -> None:
    """At once, and their failures go no further."""
    brittle = Brittle()
    with VirtualClock() as clock:
        async with OneForOneSupervisor(brittle) as supervisor:
            await crash(brittle)
            assert (brittle.state, brittle.starts) == ("running", 2)
            assert not supervisor.crashed
        assert clock.elapsed < 0.1


@pytest.mark.fault("B2")
async def test_b2_a_replacement_of_a_service_of_the_constructor() -> None:
    """It takes the place of the broken one."""
    places: list[int] = []

    async def another(broken: ServiceT, place: int) -> ServiceT:
        places.append(place)
        return Brittle()

    first, second = Brittle(), Brittle()
    with VirtualClock():
        async with OneForOneSupervisor(first, second, replacement=another) as supervisor:
            await crash(second)
            assert places == [1]
            assert supervisor.services[0] is first
            new = supervisor.services[1]
            assert isinstance(new, Brittle)
            assert new is not second
            assert new.state == "running"
            assert second.supervisor is None


@pytest.mark.fault("B3")
async def test_b3_a_failure_during_a_restart_is_not_lost() -> None:
    """Both run again, without a wait."""
    gate = anyio.Event()

    class Slow(Brittle):
        async def on_start(self) -> None:
            await super().on_start()
            if self.starts > 1:
                await gate.wait()

    slow, other = Slow(), Brittle()
    with VirtualClock() as clock:
        async with OneForOneSupervisor(slow, other):
            await crash(slow)
            await crash(other)
            assert other.state == "running"
            gate.set()
            await until_quiet()
            assert slow.state == "running"
        assert clock.elapsed < 0.1


@pytest.mark.fault("B4")
@pytest.mark.parametrize(("limit", "window"), [(3, 60.0), (100, 1.0), (2, 0.5)])
async def test_b4_the_budget_is_in_its_units(limit: int, window: float) -> None:
    """So many restarts within so many seconds, and not one more."""
    brittle = Brittle()
    supervisor = OneForOneSupervisor(brittle, max_restarts=limit, over=window)
    with VirtualClock(), pytest.raises(MaxRestartsExceeded):
        async with supervisor:
            for _ in range(limit):
                await crash(brittle)
            assert brittle.starts == limit + 1
            await brittle.crash(ValueError("once too often"))
            await anyio.sleep_forever()


@pytest.mark.fault("B5")
async def test_b5_there_is_a_back_off() -> None:
    """What fails at once is given time."""
    brittle = Brittle()
    backoff = Backoff(initial=10.0, jitter=0.0)
    with VirtualClock():
        async with OneForOneSupervisor(brittle, backoff=backoff):
            await crash(brittle)
            await anyio.sleep(9.0)
            assert brittle.starts == 1
            await anyio.sleep(2.0)
            assert brittle.starts == 2


@pytest.mark.fault("B6")
async def test_b6_a_restart_that_fails() -> None:
    """It is tried again, and the supervisor goes on."""
    brittle = Brittle()
    with VirtualClock():
        async with OneForOneSupervisor(brittle) as supervisor:
            brittle.bad_starts = 2
            await crash(brittle)
            assert (brittle.state, brittle.starts) == ("running", 4)
            assert supervisor.state == "running"


@pytest.mark.fault("B7")
@pytest.mark.parametrize("raises", [None, LookupError])
async def test_b7_giving_up_is_an_exception(raises: type[Exception] | None) -> None:
    """It leaves the block as what it is, and is no SystemExit."""
    brittle = Brittle()
    supervisor = OneForOneSupervisor(brittle, max_restarts=0, raises=raises)
    with VirtualClock():
        with pytest.raises(raises or MaxRestartsExceeded) as caught:
            async with supervisor:
                await brittle.crash(ValueError("broken"))
                await anyio.sleep_forever()
        assert isinstance(caught.value, Exception)
        assert supervisor.crash_reason is caught.value


@pytest.mark.fault("B8")
async def test_b8_a_crashing_supervisor_crashes() -> None:
    """At once, and restarts nothing."""
    brittle = Brittle()
    with VirtualClock() as clock:
        with pytest.raises(ValueError, match="broken"):
            async with CrashingSupervisor(brittle):
                await brittle.crash(ValueError("broken"))
                await anyio.sleep_forever()
        assert clock.elapsed < 0.1
    assert brittle.starts == 1


@pytest.mark.fault("B9")
@pytest.mark.parametrize("strategy", [ForfeitOneForOneSupervisor, ForfeitOneForAllSupervisor])
async def test_b9_giving_up_on_a_service_is_told_once(
    strategy: type[SupervisorStrategy], caplog: pytest.LogCaptureFixture
) -> None:
    """And not every few seconds."""
    brittle = Brittle()
    with VirtualClock(), caplog.at_level(logging.INFO):
        async with strategy(brittle) as supervisor:
            await crash(brittle)
            await anyio.sleep(60.0)
            supervisor.wakeup()
            await until_quiet()
    assert sum("Giving up" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.fault("B10")
async def test_b10_places_after_a_discard() -> None:
    """They are those of what is left."""
    places: list[int] = []

    async def another(broken: ServiceT, place: int) -> ServiceT:
        places.append(place)
        return broken

    those = [Brittle() for _ in range(3)]
    with VirtualClock():
        async with OneForOneSupervisor(*those, replacement=another) as supervisor:
            supervisor.discard(those[0])
            await crash(those[2])
            assert places == [1]
            assert supervisor.services == (those[1], those[2])
            assert those[2].state == "running"


@pytest.mark.fault("B11")
async def test_b11_all_for_one_is_one_restart() -> None:
    """However many services it takes along."""
    those = [Brittle() for _ in range(10)]
    with VirtualClock():
        async with OneForAllSupervisor(*those, max_restarts=2, over=5.0):
            await crash(those[3])
            await crash(those[7])
            assert [one.state for one in those] == ["running"] * 10


@pytest.mark.fault("B12")
async def test_b12_adding_and_discarding_at_run_time() -> None:
    """What is added starts at once, and what is discarded stops at once."""
    first, second, third = Brittle(), Brittle(), Brittle()
    with VirtualClock() as clock:
        async with OneForOneSupervisor(first) as supervisor:
            supervisor.add(second)
            supervisor.insert(0, third)
            await until_quiet()
            assert (second.state, third.state) == ("running", "running")
            supervisor.discard(second)
            await until_quiet()
            assert second.state == "shutdown"
        assert clock.elapsed < 0.1
