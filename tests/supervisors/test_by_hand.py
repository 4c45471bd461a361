"""Supervised services that are stopped and started by hand, or given up, while their supervisor is at work on them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from structmode import EventLoopMismatch
from structmode.events import LifecycleEvent, Started, subscribe
from structmode.supervisors import (
    ForfeitOneForAllSupervisor,
    ForfeitOneForOneSupervisor,
    OneForAllSupervisor,
    OneForOneSupervisor,
    RestartType,
    RestForOneSupervisor,
    Supervised,
    SupervisorStrategy,
)
from structmode.types import ServiceT

from .worker import SlowToStop, Worker, failing, quiet, workers

# --- Given up, and not stopped yet ----------------------------------------------------------------


async def test_one_more_fails_when_all_are_being_given_up() -> None:
    """The others are stopped all the same, in their turn."""
    log, (first, second) = workers("ab")
    slow = SlowToStop("c", log)
    async with ForfeitOneForAllSupervisor(first, second, slow) as supervisor:
        await failing(slow)
        await failing(first)
        slow.released.set()
        await quiet()
        assert not any(service.started for service in (first, second, slow))
        assert supervisor.started
    assert log[3:] == ["stop c", "stop a", "stop b"]


async def test_one_is_added_and_fails_when_all_are_being_given_up() -> None:
    """What was to stop the others is called off, and what takes its place stops them too."""
    log, (first, second) = workers("ab")
    slow, added = SlowToStop("c", log), Worker("d", log)
    added.start_failures.append(ValueError())
    async with ForfeitOneForAllSupervisor(first, second, slow) as supervisor:
        await failing(slow)
        supervisor.add(added)
        await quiet()
        slow.released.set()
        await quiet()
        assert not any(service.started for service in (first, second, slow, added))


@pytest.mark.parametrize("restart", ["permanent", "transient"])
async def test_one_fails_before_stop_services_comes_to_it(restart: RestartType) -> None:
    """It was to be stopped for good, so it is not restarted."""
    first, slow = Worker("a"), SlowToStop("b")
    async with OneForOneSupervisor(first, slow, restart=restart) as supervisor:
        async with anyio.create_task_group() as group:
            _ = group.start_soon(supervisor.stop_services, [first, slow])
            await quiet()
            await failing(first)
            slow.released.set()
        await quiet()
        assert (first.starts, first.started) == (1, False)
        assert (slow.starts, slow.started) == (1, False)


# --- Stopped and started by others ----------------------------------------------------------------


@pytest.mark.parametrize("strategy", [OneForAllSupervisor, RestForOneSupervisor])
async def test_started_again_by_hand(strategy: type[SupervisorStrategy]) -> None:
    """It is restarted with the others again."""
    log, (first, second) = workers("ab")
    async with strategy(first, second):
        await second.stop()
        await quiet()
        await second.start()
        log.clear()
        await failing(first)
        assert sorted(log[:2]) == ["stop a", "stop b"]
        assert log[2:] == ["start a", "start b"]


async def test_a_strategy_that_restarts_by_itself() -> None:
    """What its own code has started again is looked after as before."""

    class ByItself(OneForOneSupervisor):
        async def restart_services(self, services: Sequence[ServiceT]) -> None:
            for one in services:
                await one.restart()

    worker = Worker("a")
    async with ByItself(worker, max_restarts=10.0):
        for starts in (2, 3, 4):
            await failing(worker)
            assert (worker.starts, worker.started) == (starts, True)


@pytest.mark.parametrize("discarded", [False, True])
async def test_stopped_while_it_starts_again_with_others(*, discarded: bool) -> None:
    """The others are started again, in order, one after the other."""
    log, (first, second, third) = workers("abc")
    async with OneForAllSupervisor(first, second, third) as supervisor:
        first.gate, second.gate = anyio.Event(), anyio.Event()
        await failing(first)
        if discarded:
            supervisor.discard(first)
        else:
            await first.stop()
        await quiet()
        log.clear()
        assert second.state == "restarting"
        assert not third.started
        second.gate.set()
        await quiet()
        assert log == ["start b", "start c"]
        assert not first.started


async def test_a_service_below_is_stopped_while_it_starts_again() -> None:
    """The start has failed for want of it, and nobody has stopped the service itself: that is a failure like others."""
    above, below = Worker("above"), Worker("below")
    _ = above.add_dependency(below)
    async with OneForOneSupervisor(above) as supervisor:
        below.gate = anyio.Event()
        await failing(above)
        assert below.state == "starting"
        gate, below.gate = below.gate, None
        await below.stop()
        gate.set()
        await quiet()
        assert above.started
        assert below.started
        assert supervisor.started
    assert above.starts == 3


@pytest.mark.parametrize("steps", range(5))
async def test_discarded_as_it_is_begun(steps: int) -> None:
    """However far the supervisor has come with it, nothing fails, and it does not run."""
    added = Worker("a")
    async with OneForOneSupervisor(Worker("b")) as supervisor:
        await quiet()
        supervisor.add(added)
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()
        supervisor.discard(added)
        await quiet()
        assert supervisor.state == "running"
        assert not added.started


@pytest.mark.parametrize("strategy", [OneForOneSupervisor, OneForAllSupervisor])
@pytest.mark.parametrize("steps", range(5))
async def test_discarded_as_it_is_restarted(
    strategy: type[SupervisorStrategy], steps: int
) -> None:
    """However far the supervisor has come with it, nothing fails, and the others run."""
    first, second = Worker("a"), Worker("b")
    async with strategy(first, second) as supervisor:
        await quiet()
        first.fail()
        await anyio.lowlevel.checkpoint()
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()
        supervisor.discard(first)
        await quiet()
        assert supervisor.state == "running"
        assert (first.started, second.started) == (False, True)


async def test_added_again_while_it_is_ending() -> None:
    """It is started again when it has ended, in its place, and is supervised like any other."""
    log, (other,) = workers("b")
    slow = SlowToStop("a", log)
    async with OneForOneSupervisor(slow, other) as supervisor:
        supervisor.discard(slow)
        await quiet()
        supervisor.insert(0, slow)
        await quiet()
        assert slow.starts == 1
        slow.released.set()
        await quiet()
        assert (slow.starts, slow.started) == (2, True)
        assert supervisor.services == (slow, other)
        await failing(slow)
        assert (slow.starts, slow.started) == (3, True)
    assert log[-2:] == ["stop b", "stop a"]


async def test_discarded_once_more_while_it_is_ending() -> None:
    """The last word counts."""
    slow = SlowToStop("a")
    async with OneForOneSupervisor(slow, Worker("b")) as supervisor:
        supervisor.discard(slow)
        await quiet()
        supervisor.add(slow)
        await quiet()
        supervisor.discard(slow)
        slow.released.set()
        await quiet()
        assert (slow.starts, slow.started) == (1, False)
        assert slow not in supervisor.services
        assert supervisor.state == "running"


@pytest.mark.parametrize("call", ["stop_services", "discard"])
async def test_not_wanted_while_a_failed_start_is_undone(call: str) -> None:
    """The start has failed for nobody then, and the supervisor comes to no harm."""
    leaving = anyio.Event()

    class Lingering(Worker):
        async def on_start(self) -> None:
            await self.add_async_context(self._context())
            await super().on_start()

        @asynccontextmanager
        async def _context(self) -> AsyncIterator[None]:
            yield
            if self.starts == 2:
                await leaving.wait()

    lingering, other = Lingering("lingering"), Worker("other")
    async with OneForOneSupervisor(lingering, other) as supervisor:
        lingering.start_failures.append(OSError("does not start"))
        await failing(lingering)
        assert (lingering.started, lingering.starts) == (True, 2)
        async with anyio.create_task_group() as group:
            if call == "discard":
                supervisor.discard(lingering)
            else:
                _ = group.start_soon(supervisor.stop_services, [lingering])
            await quiet()
            leaving.set()
        await quiet()
        assert (lingering.started, lingering.starts) == (False, 2)
        assert (supervisor.state, other.state) == ("running", "running")
        assert supervisor.failures == ()


async def test_started_by_hand_while_others_are_being_given_up() -> None:
    """What had ended before, and is started while the others are still stopping, was not given up, and goes on."""
    log, (first,) = workers("a")
    slow = SlowToStop("b", log)
    async with ForfeitOneForAllSupervisor(first, slow) as supervisor:
        first.end()
        await quiet()
        await failing(slow)
        await first.start()
        slow.released.set()
        await quiet()
        assert first.started
        assert not slow.started
        assert supervisor.services == (first, slow)


async def test_a_temporary_one_does_not_start_with_the_others() -> None:
    """It is not restarted, so nothing of it is waited for: those after it come in their turn, each as restarted."""
    log, (first, last) = workers("ac")
    temporary = Worker("b", log)
    supervisor = OneForAllSupervisor(first, Supervised(temporary, restart="temporary"), last)
    async with supervisor:
        log.clear()
        temporary.start_failures.append(OSError("not again"))
        await failing(first)
        assert log == ["stop a", "stop c", "stop b", "start a", "b fails to start", "start c"]
        assert last.restart_count == 1
        assert supervisor.services == (first, last)


@pytest.mark.parametrize("reason", [OSError("no such thing"), None])
async def test_a_strategy_that_fails_to_restart(reason: Exception | None) -> None:
    """That is its own failure and makes it crash, even if the service is not to be restarted."""

    class Failing(OneForAllSupervisor):
        async def restart_service(self, service: Any) -> None:
            if reason is not None:
                raise reason
            await super().restart_service(service)

    _, (first, last) = workers("ab")
    supervisor = Failing(first, last)
    try:
        async with supervisor:
            await failing(first)
            assert reason is None
            assert first.started
    except OSError as exc:
        assert exc is reason


@pytest.mark.parametrize("restart", ["permanent", "transient"])
async def test_a_restart_by_hand_whose_stop_fails(restart: RestartType) -> None:
    """The caller is told, and the supervisor restarts it, as its docs say."""
    _, (service,) = workers("a")
    async with OneForOneSupervisor(service, restart=restart) as supervisor:
        service.stop_failures.append(error := OSError("no goodbye"))
        with pytest.raises(OSError, match="no goodbye") as caught:
            await supervisor.restart_service(service)
        assert caught.value is error
        await quiet()
        assert (service.state, service.starts) == ("running", 2)
        assert supervisor.service_operational(service)


async def test_a_restart_by_hand_of_a_temporary_one_whose_stop_fails() -> None:
    """It is not restarted."""
    _, (service,) = workers("a")
    async with OneForOneSupervisor(Supervised(service, restart="temporary")) as supervisor:
        service.stop_failures.append(OSError("no goodbye"))
        with pytest.raises(OSError, match="no goodbye"):
            await supervisor.restart_service(service)
        await quiet()
        assert (service.started, service.starts) == (False, 1)
        assert supervisor.services == ()


@pytest.mark.parametrize("strategy", [OneForOneSupervisor, RestForOneSupervisor])
async def test_a_start_that_is_called_off_when_it_was_complete(
    strategy: type[SupervisorStrategy],
) -> None:
    """A start that is cancelled in the very moment in which it was complete is undone, and begun anew."""
    _, those = workers("ab")
    async with strategy(*those) as supervisor:
        await supervisor.stop_services([those[1]])
        with anyio.CancelScope() as scope:

            def cancel(event: LifecycleEvent) -> None:
                if isinstance(event, Started) and event.subject is those[1]:
                    scope.cancel()

            unsubscribe = subscribe(cancel)
            try:
                await supervisor.start_service(those[1])
            finally:
                unsubscribe()
        await quiet()
        assert [one.state for one in those] == ["running", "running"]


@pytest.mark.parametrize("hook", ["on_stop", "on_shutdown"])
@pytest.mark.parametrize("call", ["start_service", "start_services"])
@pytest.mark.parametrize("ending", ["stop", "stop_services", "failure"])
async def test_started_from_a_hook_of_its_own_stop(hook: str, call: str, ending: str) -> None:
    """The call returns at once, and the start follows the stop; what broke is restarted as what breaks is."""

    class Asking(Worker):
        async def on_stop(self) -> None:
            await self.ask("on_stop")

        async def on_shutdown(self) -> None:
            await self.ask("on_shutdown")

        async def ask(self, where: str) -> None:
            if where == hook and self.starts == 1:
                assert isinstance(self.supervisor, SupervisorStrategy)
                if call == "start_service":
                    await self.supervisor.start_service(self)
                else:
                    await self.supervisor.start_services([self])

    asking = Asking("a")
    async with OneForOneSupervisor(asking) as supervisor:
        match ending:
            case "stop":
                await asking.stop()
            case "stop_services":
                await supervisor.stop_services([asking])
            case _:
                asking.fail()
        await quiet()
        assert (asking.state, asking.starts) == ("running", 2)
        assert asking.restart_count == (ending == "failure")
        await failing(asking)
        assert (asking.state, asking.starts) == ("running", 3)


# --- At rest, and started by hand in vain ---------------------------------------------------------


async def test_one_at_rest_is_started_by_hand_and_fails() -> None:
    """It is at rest again then, and if all are, the supervisor has done its work."""
    first, second = Worker("a"), Worker("b")
    supervisor = OneForOneSupervisor(first, second)

    async def start_in_vain() -> None:
        with pytest.raises(ValueError, match="not today"):
            await first.start()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            _ = group.start_soon(supervisor.run_until_complete)
            await quiet()
            first.end()
            await quiet()
            first.gate = anyio.Event()
            first.start_failures.append(ValueError("not today"))
            _ = group.start_soon(start_in_vain)
            await quiet()
            second.end()
            await quiet()
            assert supervisor.started
            first.gate.set()
    assert not supervisor.started
    assert (first.starts, second.starts) == (2, 1)


# --- From another event loop ----------------------------------------------------------------------

Call = Callable[[SupervisorStrategy, Worker], Awaitable[object]]


async def wake(supervisor: SupervisorStrategy, service: Worker) -> None:
    """Call what is no async function from a task."""
    supervisor.wakeup()


async def discard(supervisor: SupervisorStrategy, service: Worker) -> None:
    """Call what is no async function from a task."""
    supervisor.discard(service)


ELSEWHERE: dict[str, Call] = {
    "wakeup()": wake,
    "start_service()": lambda supervisor, service: supervisor.start_service(service),
    "restart_service()": lambda supervisor, service: supervisor.restart_service(service),
    "restart_services()": lambda supervisor, service: supervisor.restart_services([service]),
    "stop_services()": lambda supervisor, service: supervisor.stop_services([service]),
    "discard()": discard,
    "remove_dependency()": lambda supervisor, service: supervisor.remove_dependency(service),
}


@pytest.mark.parametrize("name", ELSEWHERE)
async def test_called_from_another_event_loop(name: str) -> None:
    """It is refused before anything is done, and the supervisor looks after all of them as before."""
    log, (service, other) = workers("ab")
    async with OneForOneSupervisor(service, other) as supervisor:
        with pytest.raises(EventLoopMismatch) as caught:
            await anyio.to_thread.run_sync(anyio.run, ELSEWHERE[name], supervisor, service)
        assert caught.value.problem.startswith(f"{name} of OneForOneSupervisor was called outside")
        await quiet()
        assert log == ["start a", "start b"]
        await failing(service)
        await failing(other)
        assert [(one.state, one.restart_count) for one in (service, other)] == [("running", 1)] * 2
        await service.restart()
        assert (service.state, supervisor.services) == ("running", (service, other))


async def test_given_up_from_another_event_loop() -> None:
    """Neither is anybody given up."""
    _, (service,) = workers("a")
    async with ForfeitOneForOneSupervisor(service) as supervisor:
        with pytest.raises(EventLoopMismatch, match=r"^restart_services\(\) of"):
            await anyio.to_thread.run_sync(anyio.run, supervisor.restart_services, [service])
        await quiet()
        assert service.state == "running"


@pytest.mark.parametrize("name", ["stop_services()", "discard()", "remove_dependency()"])
async def test_one_that_runs_by_itself_is_told_to_end_from_another_event_loop(name: str) -> None:
    """It counts on which event loop the service runs, too, though the supervisor does not run."""
    _, (service,) = workers("a")
    supervisor = OneForOneSupervisor(service)
    async with service:
        with pytest.raises(EventLoopMismatch) as caught:
            await anyio.to_thread.run_sync(anyio.run, ELSEWHERE[name], supervisor, service)
        assert caught.value.problem.startswith(f"{name} of a was called outside")
        await service.restart()
        assert (service.state, supervisor.services) == ("running", (service,))
