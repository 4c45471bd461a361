"""Permanent, transient, temporary, significant: who is restarted after which end, and whose end ends the supervisor."""

from __future__ import annotations

from contextlib import suppress

import anyio
import pytest

from structmode import MaxRestartsExceeded
from structmode.supervisors import (
    AutoShutdown,
    OneForAllSupervisor,
    OneForOneSupervisor,
    RestartType,
    RestForOneSupervisor,
    Supervised,
    SupervisorStrategy,
)

from .worker import Worker, failing, quiet, workers


@pytest.mark.parametrize(
    ("restart", "after_failure", "after_end"),
    [("permanent", True, True), ("transient", True, False), ("temporary", False, False)],
)
async def test_who_is_restarted(
    restart: RestartType, after_failure: bool, after_end: bool
) -> None:
    """By how it ended."""
    _, (fails, ends) = workers("fe")
    async with OneForOneSupervisor(fails, ends, restart=restart):
        await failing(fails)
        assert fails.starts == 1 + after_failure
        ends.end()
        await quiet()
        assert ends.starts == 1 + after_end


async def test_transient_is_what_services_are() -> None:
    """As in mode: what fails is restarted, what ends is not."""
    _, (fails, ends) = workers("fe")
    async with OneForOneSupervisor(fails, ends) as supervisor:
        ends.end()
        await failing(fails)
        assert (fails.state, ends.state) == ("running", "shutdown")
        assert ends in supervisor.services


async def test_a_stop_by_hand_is_an_end() -> None:
    """A permanent one comes back, a transient one does not."""
    _, (permanent, transient) = workers("pt")
    async with OneForOneSupervisor(Supervised(permanent, restart="permanent"), transient):
        await permanent.stop()
        await transient.stop()
        await quiet()
        assert (permanent.state, transient.state) == ("running", "shutdown")


async def test_a_restart_by_hand_is_no_end() -> None:
    """The supervisor has nothing to do with it, and counts nothing."""
    _, those = workers("a")
    async with OneForOneSupervisor(*those, restart="permanent", max_restarts=0):
        for _ in range(3):
            await those[0].restart()
        await quiet()
        assert those[0].state == "running"
        assert those[0].starts == 4


async def test_a_restart_by_hand_that_fails() -> None:
    """Its caller is told, and the supervisor goes on with it."""
    _, those = workers("a")
    async with OneForOneSupervisor(*those):
        those[0].start_failures.append(OSError("not now"))
        with pytest.raises(OSError, match="not now"):
            await those[0].restart()
        await quiet()
        assert those[0].state == "running"
        assert those[0].starts == 3


async def test_temporary_ones_are_forgotten() -> None:
    """When they have ended, however that was; until then they are looked after like others."""
    _, (fails, ends, stays) = workers("fes")
    async with OneForOneSupervisor(restart="temporary") as supervisor:
        supervisor.add(fails, ends, stays)
        await quiet()
        assert supervisor.services == (fails, ends, stays)
        ends.end()
        await failing(fails)
        assert list(supervisor.services) == [stays]
        assert fails.supervisor is ends.supervisor is None
        assert [node.data for node in supervisor.beacon.children] == [stays]


async def test_a_temporary_one_may_be_supervised_again() -> None:
    """It belongs to nobody once it has ended."""
    _, (once,) = workers("o")
    async with OneForOneSupervisor(restart="temporary") as supervisor:
        for _ in range(3):
            supervisor.add(once)
            await quiet()
            assert once.state == "running"
            once.end()
            await quiet()
        assert once.starts == 3


@pytest.mark.parametrize("strategy", [OneForAllSupervisor, RestForOneSupervisor])
async def test_what_is_at_rest_stays_at_rest(strategy: type[SupervisorStrategy]) -> None:
    """A service that has done its work is not started again because another failed."""
    _, (fails, done, busy) = workers("fdb")
    async with strategy(fails, done, busy):
        done.end()
        await quiet()
        await failing(fails)
        assert [one.starts for one in (fails, done, busy)] == [2, 1, 2]
        assert done.state == "shutdown"


# --- Significant ones -----------------------------------------------------------------------------


async def _ended(supervisor: SupervisorStrategy) -> None:
    while supervisor.started:
        await anyio.sleep(0)


@pytest.mark.parametrize("fails", [True, False])
async def test_a_significant_temporary_one(fails: bool) -> None:
    """Its end ends the supervisor, in order and without a failure, however it ended."""
    log, (other, main) = workers("om")
    async with OneForOneSupervisor(
        other, Supervised(main, restart="temporary", significant=True)
    ) as supervisor:
        log.clear()
        if fails:
            main.fail()
        else:
            main.end()
        await _ended(supervisor)
        assert log == ["stop m", "stop o"]
        assert not supervisor.crashed
        assert supervisor.state == "shutdown"


async def test_a_significant_transient_one() -> None:
    """When it fails it is restarted; when it ends, the supervisor does."""
    _, (other, main) = workers("om")
    async with OneForOneSupervisor(other) as supervisor:
        supervisor.add(main, significant=True)
        await quiet()
        await failing(main)
        assert (main.starts, supervisor.state) == (2, "running")
        main.end()
        await _ended(supervisor)
        assert (main.state, other.state) == ("shutdown", "shutdown")


@pytest.mark.parametrize("auto_shutdown", ["any", "all"])
async def test_any_or_all(auto_shutdown: AutoShutdown) -> None:
    """The first of them to end, or the last."""
    _, (first, second, other) = workers("fso")
    supervisor = OneForOneSupervisor(auto_shutdown=auto_shutdown)
    supervisor.add(first, second, significant=True)
    supervisor.add(other)
    async with supervisor:
        other.end()
        await quiet()
        assert supervisor.state == "running"
        first.end()
        await quiet()
        assert supervisor.started is (auto_shutdown == "all")
        second.end()
        await _ended(supervisor)


async def test_an_insignificant_end_with_all() -> None:
    """Where none is significant, none of them ends the supervisor."""
    _, those = workers("a")
    async with OneForOneSupervisor(*those, auto_shutdown="all") as supervisor:
        those[0].end()
        await quiet()
        assert supervisor.state == "running"


async def test_the_end_of_a_supervisor_is_an_end() -> None:
    """What is above it sees a service that has ended, and a permanent one is begun anew, with all it has."""
    _, (main,) = workers("m")
    inner = OneForOneSupervisor(Supervised(main, significant=True))
    async with OneForOneSupervisor(inner, restart="permanent"):
        main.end()
        await quiet()
        assert (inner.state, main.state, main.starts) == ("running", "running", 2)


async def test_a_significant_permanent_one() -> None:
    """It never ends for good, so that makes no sense."""
    with pytest.raises(ValueError, match="can't be significant and permanent"):
        Supervised(Worker("a"), restart="permanent", significant=True)
    with pytest.raises(ValueError, match="can't be significant and permanent"):
        OneForOneSupervisor(Supervised(Worker("a"), significant=True), restart="permanent")
    with pytest.raises(ValueError, match="can't be significant and permanent"):
        OneForOneSupervisor(Supervised(Worker("a"), restart="permanent", significant=True))
    with pytest.raises(ValueError, match="can't be significant and permanent"):
        OneForOneSupervisor(restart="permanent").add(Worker("a"), significant=True)


# --- Until all is done ----------------------------------------------------------------------------


async def test_run_until_complete() -> None:
    """It goes on as long as a service runs or is to run, and then stops the supervisor."""
    _, (first, second) = workers("fs")
    supervisor = OneForOneSupervisor(first, second)
    done = anyio.Event()

    async def run() -> None:
        await supervisor.run_until_complete()
        done.set()

    async with anyio.create_task_group() as group:
        _ = group.start_soon(run)
        await quiet()
        first.end()
        await failing(second)
        assert not done.is_set()
        assert second.starts == 2
        second.end()
        await done.wait()
    assert supervisor.state == "shutdown"


async def test_run_until_complete_of_nothing() -> None:
    """There is nothing to wait for."""
    supervisor = OneForOneSupervisor()
    await supervisor.run_until_complete()
    assert supervisor.state == "shutdown"


async def test_run_until_complete_and_a_stop() -> None:
    """A stop from elsewhere ends it."""
    _, those = workers("a")
    supervisor = OneForOneSupervisor(*those)
    async with anyio.create_task_group() as group:
        _ = group.start_soon(supervisor.run_until_complete)
        await quiet()
        await supervisor.stop()
    assert those[0].state == "shutdown"


async def test_run_until_complete_and_a_crash() -> None:
    """It raises what the supervisor crashes with."""
    _, those = workers("a")
    supervisor = OneForOneSupervisor(*those, max_restarts=0, raises=LookupError)

    async def fail() -> None:
        await quiet()
        those[0].fail()

    async with anyio.create_task_group() as group:
        _ = group.start_soon(fail)
        with pytest.raises(LookupError, match="would have to be restarted"):
            await supervisor.run_until_complete()


async def test_a_significant_one_ends_while_all_are_restarted() -> None:
    """Then the supervisor ends, and those after it are not started first."""
    log, (first, main, last) = workers("abc")
    main.gate = anyio.Event()
    main.gate.set()
    supervisor = OneForAllSupervisor(first, Supervised(main, significant=True), last)
    async with supervisor:
        main.gate = anyio.Event()
        await failing(first)
        log.clear()
        await main.stop()
        await quiet()
        assert not supervisor.started
    assert log == ["stop a"]


async def test_a_significant_one_ends_as_another_fails() -> None:
    """The supervisor ends, and does not give up for the failure that it can't deal with any more."""
    _, (main, other) = workers("ab")
    supervisor = OneForOneSupervisor(Supervised(main, significant=True), other, max_restarts=0)
    with suppress(ValueError):  # if it comes when the other one has been told to stop
        async with supervisor:
            await main.stop()
            await other.crash(ValueError("too late"))
            await quiet()
            assert not supervisor.started
    assert supervisor.crash_reason is None
    assert not any(isinstance(exc, MaxRestartsExceeded) for exc in supervisor.failures)
