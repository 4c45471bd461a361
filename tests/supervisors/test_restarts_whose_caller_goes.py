"""Restarts of several that somebody asks for, and whose caller is cancelled before they are complete, perhaps by them."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from structmode import Service
from structmode.supervisors import (
    OneForAllSupervisor,
    OneForOneSupervisor,
    RestForOneSupervisor,
    SupervisorStrategy,
)
from structmode.types import ServiceT

from .worker import SlowToStop, Worker, failing, quiet, workers

TOGETHER = [OneForAllSupervisor, RestForOneSupervisor]


class Asking(SlowToStop):
    """Asks for the restart of its group when it is told to, in a task of its own; its first stop takes until it is released."""

    async def on_first_start(self) -> None:
        self.asked = anyio.Event()

    @Service.task
    async def ask(self) -> None:
        if self.restart_count:
            return
        await self.asked.wait()
        assert isinstance(self.supervisor, SupervisorStrategy)
        await self.supervisor.restart_services([self])


def restarts(*those: Worker) -> list[tuple[str, int, int]]:
    """Return how each is, how often it was restarted, and how often it was started at all."""
    return [(one.state, one.restart_count, one.starts) for one in those]


@pytest.mark.parametrize("strategy", TOGETHER)
async def test_asked_for_by_the_first(strategy: type[SupervisorStrategy]) -> None:
    """It is as if somebody else had asked: all are stopped before one is started, and each is started in its turn, as restarted."""
    log: list[str] = []
    asking, other = Asking("a", log), Worker("b", log)
    async with strategy(asking, other):
        log.clear()
        asking.asked.set()
        await quiet()
        assert log == ["stop b", "stop a"]
        assert not other.started
        asking.released.set()
        await quiet()
        assert log[2:] == ["start a", "start b"]
        assert restarts(asking, other) == [("running", 1, 2)] * 2


async def test_asked_for_by_the_last() -> None:
    """Those before it had not been stopped yet when its own stop cancelled the caller. They are."""
    log: list[str] = []
    other, asking = Worker("a", log), Asking("b", log)
    async with OneForAllSupervisor(other, asking):
        log.clear()
        asking.asked.set()
        await quiet()
        assert log == ["stop b"]
        asking.released.set()
        await quiet()
        assert log[1:] == ["stop a", "start a", "start b"]
        assert restarts(other, asking) == [("running", 1, 2)] * 2


async def test_asked_for_by_one_that_stands_alone() -> None:
    """It alone is restarted, once."""
    log: list[str] = []
    asking, other = Asking("a", log), Worker("b", log)
    asking.released.set()
    async with OneForOneSupervisor(asking, other):
        asking.asked.set()
        await quiet()
        assert restarts(asking, other) == [("running", 1, 2), ("running", 0, 1)]


@pytest.mark.parametrize("strategy", TOGETHER)
async def test_cancelled_while_the_first_starts_again(strategy: type[SupervisorStrategy]) -> None:
    """What was being started is undone, and begun anew; the others wait for their turn."""
    log, those = workers("abc")
    first = those[0]
    async with strategy(*those) as supervisor:
        log.clear()
        first.gate = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(supervisor.restart_services, [first])
            await quiet()
            group.cancel_scope.cancel()
        await quiet()
        assert log == ["stop c", "stop b", "stop a"]
        assert first.starts == 3
        first.gate.set()
        await quiet()
        assert log[3:] == ["start a", "start b", "start c"]
        assert [one.restart_count for one in those[1:]] == [1, 1]


async def test_one_fails_while_the_rest_is_done() -> None:
    """What is left to do is taken up with what follows from the failure."""
    log, those = workers("abc")
    slow = SlowToStop("s", log)
    async with OneForAllSupervisor(*those, slow) as supervisor:
        async with anyio.create_task_group() as group:
            group.start_soon(supervisor.restart_services, [slow])
            await quiet()
            group.cancel_scope.cancel()
        await failing(those[0])
        slow.released.set()
        await quiet()
        assert restarts(*those, slow) == [("running", 1, 2)] * 4
        assert log[-4:] == ["start a", "start b", "start c", "start s"]


@pytest.mark.parametrize("call", ["stop_services", "discard", "stop"])
async def test_not_wanted_any_more(call: str) -> None:
    """What is stopped for good meanwhile stays so, and the others are started."""
    log: list[str] = []
    asking, other, last = Asking("a", log), Worker("b", log), Worker("c", log)
    async with OneForAllSupervisor(asking, other, last) as supervisor:
        asking.asked.set()
        await quiet()
        match call:
            case "stop_services":
                await supervisor.stop_services([other])
            case "discard":
                supervisor.discard(other)
            case _:
                supervisor.add_future(supervisor.stop())
        await quiet()
        asking.released.set()
        await quiet()
        assert (other.started, other.starts) == (False, 1)
        assert asking.started == last.started == (call != "stop")


async def test_a_strategy_with_a_way_of_its_own_to_restart_one() -> None:
    """What it has restarted is not restarted once more, and what it has left alone is started."""

    class Own(OneForAllSupervisor):
        async def restart_service(self, service: ServiceT) -> None:
            if service is not those[1]:
                await service.restart()

    _, those = workers("ab")
    async with Own(*those) as supervisor:
        await supervisor.restart_services(those)
        await quiet()
        assert restarts(*those) == [("running", 1, 2), ("running", 0, 2)]


async def test_cancelled_before_there_is_a_replacement() -> None:
    """One that was being stopped to be replaced is replaced."""

    async def replacement(broken: Any, place: int) -> Worker:
        return new

    slow, new = SlowToStop("a"), Worker("b")
    async with OneForOneSupervisor(slow, replacement=replacement) as supervisor:
        async with anyio.create_task_group() as group:
            group.start_soon(supervisor.restart_service, slow)
            await quiet()
            group.cancel_scope.cancel()
        await quiet()
        slow.released.set()
        await quiet()
        assert supervisor.services == (new,)
        assert restarts(new) == [("running", 0, 1)]


async def test_a_start_that_is_cancelled() -> None:
    """It is begun anew as a start: that is no restart."""
    _, those = workers("ab")
    first = those[0]
    async with OneForAllSupervisor(*those) as supervisor:
        await supervisor.stop_services([first])
        first.gate = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(supervisor.start_service, first)
            await quiet()
            group.cancel_scope.cancel()
        first.gate.set()
        await quiet()
        assert restarts(*those) == [("running", 0, 3), ("running", 0, 1)]
