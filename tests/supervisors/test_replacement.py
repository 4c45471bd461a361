"""Another service in the place of the one that broke."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from structmode import LifecycleError, MaxRestartsExceeded
from structmode.supervisors import (
    OneForAllSupervisor,
    OneForOneSupervisor,
    RestartType,
    Supervised,
)
from structmode.types.services import ServiceT

from .worker import SlowToStop, Worker, failing, quiet, workers


class Factory:
    """Makes replacements, and notes for whom."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.made: list[Worker] = []
        self.failures: list[BaseException] = []
        self.result: Any = None

    async def __call__(self, broken: ServiceT, place: int) -> ServiceT:
        self.log.append(f"replace {broken.shortlabel} at {place}")
        await anyio.lowlevel.checkpoint()
        if self.failures:
            raise self.failures.pop(0)
        if self.result is not None:
            result: ServiceT = self.result
            return result
        self.made.append(Worker(f"{broken.shortlabel}'", self.log))
        return self.made[-1]


async def test_it_takes_the_place() -> None:
    """Of one that has stopped; it is supervised like it, and in its order."""
    log, (a, b, c) = workers("abc")
    factory = Factory(log)
    async with OneForOneSupervisor(a, b, c, replacement=factory) as supervisor:
        log.clear()
        await failing(b)
        (new,) = factory.made
        assert log == ["stop b", "replace b at 1", "start b'"]
        assert supervisor.services == (a, new, c)
        assert (new.supervisor, b.supervisor) == (supervisor, None)
        assert [node.data for node in supervisor.beacon.children if node.data is b] == []
        await failing(new)
        assert supervisor.services[1] is factory.made[1]
        log.clear()
    assert log == ["stop c", "stop b''", "stop a"]


async def test_all_are_replaced_together() -> None:
    """Each in its turn."""
    log, (a, b) = workers("ab")
    async with OneForAllSupervisor(a, b, replacement=Factory(log)):
        log.clear()
        await failing(b)
        assert log[-4:] == ["replace a at 0", "start a'", "replace b at 1", "start b'"]


async def test_the_same_one_is_restarted() -> None:
    """A replacement may say that the broken one will do."""
    log, (a,) = workers("a")
    factory = Factory(log)
    factory.result = a
    async with OneForOneSupervisor(a, replacement=factory) as supervisor:
        await failing(a)
        assert (a.state, a.starts, a.restart_count) == ("running", 2, 1)
        assert supervisor.services == (a,)


@pytest.mark.parametrize("failure", [OSError("no more of them"), None])
async def test_one_that_fails(failure: BaseException | None) -> None:
    """That is a restart that failed, whether nothing came of it or something that does not start."""
    log, (a,) = workers("a")
    factory = Factory(log)
    if failure is not None:
        factory.failures.append(failure)
    else:
        factory.result = Worker("bad", log)
        factory.result.start_failures.append(OSError("not now"))
    async with OneForOneSupervisor(a, replacement=factory, max_restarts=2) as supervisor:
        await failing(a)
        assert [one.state for one in supervisor.services] == ["running"]
        assert sum(line.startswith("replace") for line in log) == 2


async def test_one_that_makes_no_service() -> None:
    """It is told what it should have made, and the budget bounds it."""
    log, (a,) = workers("a")
    factory = Factory(log)
    factory.result = "a string"
    with pytest.raises(MaxRestartsExceeded) as caught:
        async with OneForOneSupervisor(a, replacement=factory, max_restarts=2, over=60.0):
            a.fail()
            await anyio.sleep_forever()
    assert isinstance(caught.value.__cause__, TypeError)
    assert "not 'a string'" in str(caught.value.__cause__)


async def test_one_that_is_supervised_already() -> None:
    """Nothing can stand in two places: it is told what is wrong, and goes on as it was until the supervisor gives up."""
    log, (a, b) = workers("ab")
    factory = Factory(log)
    factory.result = b
    with pytest.raises(MaxRestartsExceeded) as caught:
        async with OneForOneSupervisor(a, b, replacement=factory, max_restarts=2, over=60.0):
            a.fail()
            await anyio.sleep_forever()
    assert isinstance(caught.value.__cause__, LifecycleError)
    assert "b can't replace a" in str(caught.value.__cause__)
    assert (b.starts, log.count("stop b")) == (1, 1)


async def test_how_it_was_supervised() -> None:
    """What was said of the first counts for all that come after it."""
    log, (a,) = workers("a")
    factory = Factory(log)
    spec = Supervised(a, restart="permanent", shutdown_timeout=7.0)
    async with OneForOneSupervisor(spec, replacement=factory):
        await failing(a)
        new = factory.made[0]
        assert new.shutdown_timeout == 7.0
        new.end()
        await quiet()
        assert factory.made[1].state == "running"


async def test_discarded_while_another_is_made() -> None:
    """Then it is not needed any more."""
    _, (a, b) = workers("ab")
    gate = anyio.Event()

    async def slowly(broken: ServiceT, place: int) -> ServiceT:
        await gate.wait()
        return b

    async with OneForOneSupervisor(a, replacement=slowly) as supervisor:
        await failing(a)
        supervisor.discard(a)
        gate.set()
        await quiet()
        assert supervisor.services == ()
        assert b.starts == 0
        assert supervisor.state == "running"


async def test_a_supervisor_that_starts_again() -> None:
    """It goes on with the replacement, which is one of its services now."""
    log, (a,) = workers("a")
    factory = Factory(log)
    async with OneForOneSupervisor(a, replacement=factory) as supervisor:
        await failing(a)
        await supervisor.restart()
        assert factory.made[0].state == "running"
        assert a.starts == 1


@pytest.mark.parametrize("other", [True, False])
async def test_stopped_for_good_while_another_is_made(other: bool) -> None:
    """What is made then is not needed: neither it nor the broken one is started, until somebody does."""
    _, (a, b) = workers("ab")
    gate = anyio.Event()

    async def slowly(broken: ServiceT, place: int) -> ServiceT:
        await gate.wait()
        return b if other else broken

    async with OneForOneSupervisor(a, replacement=slowly) as supervisor:
        await failing(a)
        await supervisor.stop_services([a])
        gate.set()
        await quiet()
        assert supervisor.services == (a,)
        assert (a.starts, b.starts) == (1, 0)
        await a.start()
        assert a.started


async def test_discarded_while_the_same_one_is_chosen() -> None:
    """It belongs to nobody then, and is not started."""
    _, (a,) = workers("a")
    gate = anyio.Event()

    async def slowly(broken: ServiceT, place: int) -> ServiceT:
        await gate.wait()
        return broken

    async with OneForOneSupervisor(a, replacement=slowly) as supervisor:
        await failing(a)
        supervisor.discard(a)
        gate.set()
        await quiet()
        assert (a.starts, a.started) == (1, False)


async def test_stopped_for_good_while_it_stops_for_that() -> None:
    """Then none is made."""
    log: list[str] = []
    slow, factory = SlowToStop("a", log), Factory(log)
    async with OneForOneSupervisor(slow, replacement=factory) as supervisor:
        async with anyio.create_task_group() as group:
            _ = group.start_soon(supervisor.restart_service, slow)
            await quiet()
            _ = group.start_soon(supervisor.stop_services, [slow])
            await quiet()
            slow.released.set()
        assert factory.made == []
        assert (supervisor.services, slow.started) == ((slow,), False)


@pytest.mark.parametrize("restart", ["transient", "temporary"])
async def test_one_that_runs_is_replaced(restart: RestartType) -> None:
    """The stop for that is no end for good, which would end the supervisor if the service is significant."""
    log, (a, b) = workers("ab")
    factory = Factory(log)
    significant = Supervised(b, restart=restart, significant=True)
    async with OneForOneSupervisor(a, significant, replacement=factory) as supervisor:
        await supervisor.restart_service(b)
        await quiet()
        assert supervisor.started
        assert supervisor.services == (a, factory.made[0])
        assert factory.made[0].started


@pytest.mark.slow
async def test_the_one_that_was_replaced_comes_again() -> None:
    """While it is still ending, which it does not do in time; it is started when it has ended."""
    log, (a,) = workers("a")
    deaf = SlowToStop("b", log, deaf=True)
    deaf.shutdown_timeout = 0.01
    factory = Factory(log)
    async with OneForOneSupervisor(a, deaf, replacement=factory) as supervisor:
        deaf.fail()
        while not factory.made:
            await anyio.sleep(0.05)
        await quiet()
        assert supervisor.services[1] is factory.made[0]
        supervisor.add(deaf)
        deaf.released.set()
        deaf.shutdown_timeout = 60.0  # from now on it stops in time, on a busy machine too
        await quiet()
        assert supervisor.services[1:] == (factory.made[0], deaf)
        assert (deaf.started, deaf.starts) == (True, 2)
