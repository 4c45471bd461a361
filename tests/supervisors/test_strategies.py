"""What each strategy does when a service fails: who is stopped, who is started, in which order, who is left alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from structmode import MaxRestartsExceeded, Service
from structmode.supervisors import (
    CrashingSupervisor,
    ForfeitOneForAllSupervisor,
    ForfeitOneForOneSupervisor,
    OneForAllSupervisor,
    OneForOneSupervisor,
    RestForOneSupervisor,
    SupervisorStrategy,
)
from structmode.types.services import ServiceT

from .worker import Worker, failing, quiet, workers

RESTARTING = [OneForOneSupervisor, OneForAllSupervisor, RestForOneSupervisor, SupervisorStrategy]
DEALING = [*RESTARTING, ForfeitOneForOneSupervisor, ForfeitOneForAllSupervisor]


@pytest.mark.parametrize("strategy", [*DEALING, CrashingSupervisor])
async def test_they_live_with_their_supervisor(strategy: type[SupervisorStrategy]) -> None:
    """Services given to the constructor start in order, and stop in reverse order, as children do."""
    log, those = workers("abc")
    async with strategy(*those) as supervisor:
        assert [one.state for one in those] == ["running"] * 3
        assert supervisor.services == tuple(those)
        assert [one.supervisor for one in those] == [supervisor] * 3
        assert [node.data for node in supervisor.beacon.children] == those
    assert log == ["start a", "start b", "start c", "stop c", "stop b", "stop a"]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (OneForOneSupervisor, ["stop b", "start b"]),
        (SupervisorStrategy, ["stop b", "start b"]),
        (
            OneForAllSupervisor,
            ["stop b", "stop c", "stop a", "start a", "start b", "start c"],
        ),
        (RestForOneSupervisor, ["stop b", "stop c", "start b", "start c"]),
        (ForfeitOneForOneSupervisor, ["stop b"]),
        (ForfeitOneForAllSupervisor, ["stop b", "stop c", "stop a"]),
    ],
)
async def test_one_fails(strategy: type[SupervisorStrategy], expected: list[str]) -> None:
    """What a crash stops at once is the service that crashed; the others follow in reverse order."""
    log, those = workers("abc")
    async with strategy(*those) as supervisor:
        log.clear()
        await failing(those[1])
        assert sorted(log) == sorted(expected)
        without = [line for line in log if line != "stop b"]  # it begins by itself, at once
        assert without == [line for line in expected if line != "stop b"]
        assert not supervisor.crashed
        assert supervisor.failures == ()


@pytest.mark.parametrize("strategy", RESTARTING)
async def test_what_failed_runs_again(strategy: type[SupervisorStrategy]) -> None:
    """As a new run of the same service: no crash is left of the old one."""
    _, those = workers("ab")
    async with strategy(*those):
        await failing(those[1])
        assert [one.state for one in those] == ["running", "running"]
        assert those[1].starts == 2
        assert those[1].restart_count == 1
        assert not those[1].crashed


@pytest.mark.parametrize(
    ("strategy", "count"),
    [(OneForOneSupervisor, 2), (OneForAllSupervisor, 1), (RestForOneSupervisor, 1)],
)
async def test_several_fail_in_one_instant(strategy: type[SupervisorStrategy], count: int) -> None:
    """All of them run again; where they are restarted together, that is one restart."""
    _, those = workers("abcd")
    async with strategy(*those, max_restarts=count, over=1000.0):
        await failing(those[1], those[3])
        assert [one.state for one in those] == ["running"] * 4
        assert [one.starts for one in (those[1], those[3])] == [2, 2]


async def test_rest_for_one_leaves_those_before_alone() -> None:
    """They do not depend on what failed."""
    _, those = workers("abcd")
    async with RestForOneSupervisor(*those):
        await failing(those[2])
        assert [one.starts for one in those] == [1, 1, 2, 2]


async def test_forfeiting_one(caplog: pytest.LogCaptureFixture) -> None:
    """The one that failed stays stopped, is told of once, and the others go on."""
    _, those = workers("ab")
    async with ForfeitOneForOneSupervisor(*those) as supervisor:
        await failing(those[0])
        supervisor.wakeup()
        await quiet()
        assert [one.state for one in those] == ["crashed", "running"]
        told = [r.getMessage() for r in caplog.records if "Giving up" in r.getMessage()]
        assert len(told) == 1
        assert "Giving up on a: it failed with ValueError('a failed')" in told[0]
        await failing(those[1])
        assert [one.state for one in those] == ["crashed", "crashed"]


async def test_forfeiting_all() -> None:
    """When one fails, all stay stopped; the supervisor itself goes on."""
    _, those = workers("abc")
    async with ForfeitOneForAllSupervisor(*those) as supervisor:
        await failing(those[1])
        assert [one.state for one in those] == ["shutdown", "crashed", "shutdown"]
        assert supervisor.state == "running"


async def test_what_was_forfeited_can_be_started_again() -> None:
    """By hand; and it is looked after as before."""
    _, those = workers("a")
    async with ForfeitOneForOneSupervisor(*those) as supervisor:
        await failing(those[0])
        await supervisor.start_service(those[0])
        assert those[0].state == "running"
        await failing(those[0])
        assert those[0].state == "crashed"


async def test_crashing() -> None:
    """A crashing supervisor crashes, with the failure as it was raised, and so does what owns it."""
    log, those = workers("ab")

    class Owner(Service):
        def __post_init__(self) -> None:
            self.supervisor_below = self.add_dependency(CrashingSupervisor(*those))

    owner = Owner()
    reason = OSError("gone")
    with pytest.raises(OSError, match="gone") as caught:
        async with owner:
            those[0].fail(reason)
            await anyio.sleep_forever()
    assert caught.value is reason
    assert owner.crash_reason is owner.supervisor_below.crash_reason is reason
    assert log == ["start a", "start b", "stop b", "stop a"]


async def test_crashing_over_what_should_not_have_ended() -> None:
    """A permanent service that ends without a failure is one to a crashing supervisor."""
    _, those = workers("a")
    with pytest.raises(LookupError, match="a is permanent, and has ended"):
        async with CrashingSupervisor(*those, restart="permanent", raises=LookupError):
            those[0].end()
            await anyio.sleep_forever()


@pytest.mark.parametrize("strategy", DEALING)
async def test_what_ends_programs_is_not_dealt_with(strategy: type[SupervisorStrategy]) -> None:
    """A KeyboardInterrupt crosses supervisors."""
    _, those = workers("a")
    with pytest.raises(KeyboardInterrupt):
        async with strategy(*those):
            those[0].fail(KeyboardInterrupt())
            await anyio.sleep_forever()
    assert those[0].starts == 1


async def test_a_strategy_of_ones_own_reach() -> None:
    """`affected_by` says who is restarted together."""

    class Pairs(SupervisorStrategy):
        """Restarts the one that failed, and the one beside it."""

        def affected_by(self, services: Sequence[ServiceT]) -> Sequence[ServiceT]:
            places = {self.services.index(service) // 2 for service in services}
            return [one for i, one in enumerate(self.services) if i // 2 in places]

    log, those = workers("abcd")
    async with Pairs(*those):
        log.clear()
        await failing(those[2])
        assert [one.starts for one in those] == [1, 1, 2, 2]


async def test_failures_in_one_instant_that_concern_the_same() -> None:
    """Those of a pair are dealt with together, and count once; each pair by itself, in order."""
    told: list[list[str]] = []

    class Pairs(SupervisorStrategy):
        def affected_by(self, services: Sequence[ServiceT]) -> Sequence[ServiceT]:
            places = {self.services.index(service) // 2 for service in services}
            return [one for i, one in enumerate(self.services) if i // 2 in places]

        async def restart_services(self, services: Sequence[ServiceT]) -> None:
            told.append([service.shortlabel for service in services])
            await super().restart_services(services)

    _, those = workers("abcdef")
    async with Pairs(*those, max_restarts=3, over=3600):
        await failing(those[5], those[1], those[2], those[0])
        assert told == [["a", "b"], ["c"], ["f"]]
        assert [one.starts for one in those] == [2] * 6


@pytest.mark.parametrize("strategy", [OneForAllSupervisor, RestForOneSupervisor])
async def test_how_often_a_strategy_is_asked(strategy: type[SupervisorStrategy]) -> None:
    """Where one failure concerns all the others, it is not asked about each of them: with many, that would be very often."""
    asked: list[list[str]] = []

    class Asked(strategy):  # type: ignore[misc, valid-type]
        def affected_by(self, services: Sequence[ServiceT]) -> Sequence[ServiceT]:
            asked.append([service.shortlabel for service in services])
            return super().affected_by(services)  # type: ignore[no-any-return]

    _, those = workers("abcdef")
    async with Asked(*those):
        await failing(*those[1:])
        assert [one for one in asked if one != list("bcdef")] == [["b"]]
        assert len(asked) <= 4
        assert [one.starts for one in those[1:]] == [2] * 5


async def test_a_strategy_that_affects_nobody() -> None:
    """It is asked what to do all the same, and what it does counts."""
    told: list[list[ServiceT]] = []

    class Watching(SupervisorStrategy):
        def affected_by(self, services: Sequence[ServiceT]) -> Sequence[ServiceT]:
            return []

        async def restart_services(self, services: Sequence[ServiceT]) -> None:
            told.append(list(services))

    _, those = workers("ab")
    with pytest.raises(MaxRestartsExceeded):
        async with Watching(*those, max_restarts=1, over=3600):
            await failing(those[0])
            assert told == [[those[0]]]
            await failing(those[1])
            await anyio.sleep_forever()
    assert told == [[those[0]]]


async def test_a_strategy_of_ones_own_action() -> None:
    """`restart_services` is what is done; the supervisor comes to no harm by what it leaves undone."""
    told: list[list[ServiceT]] = []

    class Telling(SupervisorStrategy):
        async def restart_services(self, services: Sequence[ServiceT]) -> None:
            told.append(list(services))
            for service in services:
                await self.restart_service(service)

    _, those = workers("ab")
    async with Telling(*those):
        await failing(those[0])
        assert told == [[those[0]]]
        assert those[0].state == "running"


async def test_a_strategy_that_fails_itself() -> None:
    """It is its own failure, and crashes the supervisor as any failure in a task does."""

    class Broken(SupervisorStrategy):
        async def restart_services(self, services: Sequence[ServiceT]) -> None:
            raise KeyError("no such plan")

    _, those = workers("a")
    with pytest.raises(KeyError, match="no such plan"):
        async with Broken(*those):
            those[0].fail()
            await anyio.sleep_forever()


async def test_the_health_of_a_service() -> None:
    """A strategy may look for more than failures; wakeup() has it look."""

    class Checking(OneForOneSupervisor):
        ill: ServiceT | None = None

        def service_operational(self, service: ServiceT) -> bool:
            return service is not self.ill and super().service_operational(service)

        async def restart_service(self, service: ServiceT) -> None:
            self.ill = None
            await super().restart_service(service)

    _, those = workers("ab")
    async with Checking(*those) as supervisor:
        await quiet()
        supervisor.ill = those[1]
        supervisor.wakeup()
        await quiet()
        assert [one.starts for one in those] == [1, 2]
        assert those[1].state == "running"


@pytest.mark.parametrize("strategy", RESTARTING)
async def test_children_of_what_failed_are_started_again(
    strategy: type[SupervisorStrategy],
) -> None:
    """A supervised service is restarted with all that belongs to it."""
    below = Worker("below")

    class Above(Worker):
        def on_init_dependencies(self) -> list[Any]:
            return [below]

    above = Above("above")
    async with strategy(above):
        below.fail()
        await quiet()
        assert (above.starts, below.starts) == (2, 2)
        assert (above.state, below.state) == ("running", "running")


async def test_plain_dependencies_are_not_supervised() -> None:
    """What is added to a supervisor as a dependency is its child like any other: it crashes its parent."""
    _, (supervised, plain) = workers("sp")
    supervisor = OneForOneSupervisor(supervised)
    supervisor.add_dependency(plain)
    with pytest.raises(ValueError, match="p failed"):
        async with supervisor:
            plain.fail()
            await anyio.sleep_forever()
    assert supervisor.services == (supervised,)
