"""The chapter `mode.supervisors` of mode's manual: what each strategy does when one of its services crashes."""

from __future__ import annotations

import anyio
import pytest

from structmode import (
    CrashingSupervisor,
    ForfeitOneForAllSupervisor,
    ForfeitOneForOneSupervisor,
    MaxRestartsExceeded,
    OneForAllSupervisor,
    OneForOneSupervisor,
    Service,
    ServiceT,
    SupervisorStrategy,
)


class Fragile(Service):
    """Fails when it is told to."""

    def __init__(self) -> None:
        self.starts = 0
        super().__init__()

    async def on_start(self) -> None:
        self.starts += 1
        self.told = anyio.Event()

    @Service.task
    async def work(self) -> None:
        await self.told.wait()
        raise ValueError("broken")

    async def fail(self) -> None:
        self.told.set()
        await anyio.wait_all_tasks_blocked()


@pytest.mark.parametrize(
    ("strategy", "starts", "states"),
    [
        (OneForOneSupervisor, [2, 1], ["running", "running"]),
        (OneForAllSupervisor, [2, 2], ["running", "running"]),
        (ForfeitOneForOneSupervisor, [1, 1], ["crashed", "running"]),
        (ForfeitOneForAllSupervisor, [1, 1], ["crashed", "shutdown"]),
    ],
)
async def test_a_crash(
    strategy: type[SupervisorStrategy], starts: list[int], states: list[str]
) -> None:
    """The one that crashed is restarted, or all are; or it is given up, or all are."""
    services = Fragile(), Fragile()
    async with strategy(*services) as supervisor:
        assert [service.starts for service in services] == [1, 1]
        await services[0].fail()
        assert [service.starts for service in services] == starts
        assert [service.state for service in services] == states
        assert supervisor.started
    assert not any(service.started for service in services)


async def test_crashing_the_whole_program() -> None:
    """A `CrashingSupervisor` crashes with its service."""
    service = Fragile()
    with pytest.raises(ValueError, match="broken"):
        async with CrashingSupervisor(service) as supervisor:
            await service.fail()
            await anyio.sleep_forever()  # pragma: no cover - the crash is there already
    assert supervisor.crashed


async def test_too_many_restarts() -> None:
    """A supervisor that would have to restart too often gives up."""
    service = Fragile()
    with pytest.raises(MaxRestartsExceeded):
        async with OneForOneSupervisor(service, max_restarts=2, over=3600.0):
            for _ in range(3):
                await service.fail()
            await anyio.sleep_forever()  # pragma: no cover - the crash is there already
    assert service.starts == 3


async def test_adding_and_discarding() -> None:
    """Any number of services may be added to a supervisor that runs, and discarded from it."""
    first, second = Fragile(), Fragile()
    async with OneForOneSupervisor() as supervisor:
        supervisor.add(first, second)
        await anyio.wait_all_tasks_blocked()
        assert (first.started, second.started) == (True, True)
        await second.fail()
        assert second.starts == 2
        supervisor.discard(first, second)
        await anyio.wait_all_tasks_blocked()
        assert (first.started, second.started) == (False, False)


async def test_a_replacement() -> None:
    """A function may make the service that takes the place of one that crashed."""
    made: list[Fragile] = []

    async def replace(old: ServiceT, index: int) -> ServiceT:
        made.append(Fragile())
        return made[-1]

    service = Fragile()
    async with OneForOneSupervisor(service, replacement=replace):
        await service.fail()
        assert made[0].started
        assert not service.started
