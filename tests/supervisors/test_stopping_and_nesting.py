"""Supervisors that are stopped in the middle of their work, that give up, and that are supervised themselves."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from structmode import MaxRestartsExceeded, Service, ShutdownTimeout
from structmode.events import LifecycleEvent, Restarting, Started, subscribe
from structmode.supervisors import (
    CrashingSupervisor,
    ForfeitOneForAllSupervisor,
    ForfeitOneForOneSupervisor,
    OneForAllSupervisor,
    OneForOneSupervisor,
    RestForOneSupervisor,
    Supervised,
    SupervisorStrategy,
)

from .worker import Worker, failing, quiet, workers

RESTARTING = [OneForOneSupervisor, OneForAllSupervisor, RestForOneSupervisor]

# --- In the middle of a restart -------------------------------------------------------------------


@pytest.mark.parametrize("strategy", RESTARTING)
async def test_stopped_while_a_service_starts_again(strategy: type[SupervisorStrategy]) -> None:
    """The start is undone, nothing is left behind, and nothing fails."""
    log, (one, other) = workers("ao")
    async with strategy(one, other) as supervisor:
        one.gate = anyio.Event()
        await failing(one)
        assert one.state == "restarting"
        await supervisor.stop()
        assert supervisor.state == "shutdown"
        assert not one.started
        assert not other.started
    assert supervisor.failures == ()
    assert log.count("start a") == 1


@pytest.mark.parametrize("strategy", RESTARTING)
async def test_stopped_while_a_service_stops(strategy: type[SupervisorStrategy]) -> None:
    """The stop goes on, and the start does not follow."""
    release = anyio.Event()

    class Slow(Worker):
        async def on_stop(self) -> None:
            await release.wait()

    slow, other = Slow("slow"), Worker("other")
    async with strategy(slow, other) as supervisor:
        await failing(slow)
        async with anyio.create_task_group() as group:
            _ = group.start_soon(supervisor.stop)
            await quiet()
            release.set()
        assert (slow.starts, slow.started) == (1, False)


@pytest.mark.parametrize("strategy", RESTARTING)
async def test_cancelled_in_the_middle(strategy: type[SupervisorStrategy]) -> None:
    """A cancellation from outside stops all in order."""
    _, (one, other) = workers("ao")
    with anyio.CancelScope() as scope:
        async with strategy(one, other):
            one.gate = anyio.Event()
            await failing(one)
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert not one.started
    assert not other.started


async def test_a_failure_while_the_supervisor_stops(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and is no failure of the stop: nobody would have had to do anything about it."""
    release = anyio.Event()

    class Slow(Worker):
        async def on_stop(self) -> None:
            await release.wait()

    one, slow = Worker("one"), Slow("slow")
    async with OneForOneSupervisor(one, slow) as supervisor:
        async with anyio.create_task_group() as group:
            _ = group.start_soon(supervisor.stop)
            await quiet()
            one.fail()
            await quiet()
            release.set()
    assert supervisor.failures == ()
    assert "Crashed in one.work: ValueError('one failed')" in caplog.text
    assert one.starts == 1


async def test_a_failure_in_a_stop() -> None:
    """What fails in its own stop when the supervisor stops is raised by that, as with any child."""
    _, (one, other) = workers("ao")
    with pytest.raises(OSError, match="stuck door"):
        async with OneForOneSupervisor(one, other):
            one.stop_failures.append(OSError("stuck door"))


async def test_a_failure_in_the_stop_before_a_restart(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the restart goes on."""
    _, (one, other) = workers("ao")
    async with OneForAllSupervisor(one, other) as supervisor:
        other.stop_failures.append(OSError("stuck door"))
        await failing(one)
        assert (one.state, other.state) == ("running", "running")
        assert supervisor.failures == ()
    assert "o failed to stop: OSError('stuck door')" in caplog.text


async def test_a_crash_that_hangs_in_its_stop() -> None:
    """It is cut short when its time is up, and then restarted."""

    class Stubborn(Worker):
        shutdown_timeout = 0.05

        async def on_stop(self) -> None:
            await super().on_stop()
            if self.starts == 1:
                await anyio.sleep_forever()

    stubborn = Stubborn("stubborn")
    started = anyio.Event()

    def watch(event: LifecycleEvent) -> None:
        if isinstance(event, Started) and event.subject is stubborn:
            started.set()

    async with OneForOneSupervisor(stubborn) as supervisor:
        unsubscribe = subscribe(watch)
        stubborn.fail()
        await started.wait()
        unsubscribe()
        assert stubborn.state == "running"
        assert supervisor.failures == ()


# --- Another failure in the middle of a restart ---------------------------------------------------


async def test_it_fails_again_while_others_wait_for_it() -> None:
    """The restart begins anew, with all of them, each time."""
    log, (a, b, c) = workers("abc")
    async with OneForAllSupervisor(a, b, c):
        c.gate = anyio.Event()
        await failing(a)
        assert [one.state for one in (a, b, c)] == ["running", "running", "restarting"]
        log.clear()
        a.fail()
        await quiet()
        c.gate.set()
        await quiet()
        assert [one.state for one in (a, b, c)] == ["running"] * 3
        assert log[-3:] == ["start a", "start b", "start c"]


async def test_one_before_fails_while_the_rest_is_restarted() -> None:
    """What depends on it is taken along."""
    _, (a, b, c) = workers("abc")
    async with RestForOneSupervisor(a, b, c):
        b.gate = anyio.Event()
        await failing(b)
        assert (b.state, c.state) == ("restarting", "shutdown")
        await failing(a)
        b.gate.set()
        await quiet()
        assert [one.state for one in (a, b, c)] == ["running"] * 3
        assert [one.starts for one in (a, b, c)] == [2, 3, 2]


async def test_nobody_waits_for_one_that_takes_long() -> None:
    """One that hangs in its start keeps no other from being restarted."""
    _, (slow, quick) = workers("sq")
    async with OneForOneSupervisor(slow, quick):
        slow.gate = anyio.Event()
        await failing(slow)
        assert slow.state == "restarting"
        await failing(quick)
        assert quick.state == "running"
        slow.gate.set()
        await quiet()
        assert slow.state == "running"


async def test_stopped_by_hand_while_it_starts_again() -> None:
    """Somebody does not want it: it rests, and the others are started all the same."""
    _, (a, b, c) = workers("abc")
    async with OneForAllSupervisor(a, b, c) as supervisor:
        b.gate = anyio.Event()
        await failing(a)
        await b.stop()
        await quiet()
        assert [one.state for one in (a, b, c)] == ["running", "init", "running"]
        assert supervisor.state == "running"


# --- Giving up, and those above -------------------------------------------------------------------


async def test_giving_up() -> None:
    """The supervisor crashes: all below it stops in order, and the reason tells who and why."""
    log, (a, b) = workers("ab")
    with pytest.raises(MaxRestartsExceeded) as caught:
        async with OneForOneSupervisor(a, b, max_restarts=1, over=60.0) as supervisor:
            await failing(b)
            reason = b.fail()
            await anyio.sleep_forever()
    assert caught.value.__cause__ is reason
    assert supervisor.crash_reason is caught.value
    assert str(caught.value) == (
        "OneForOneSupervisor gives up: b would have to be restarted once more (it failed with ValueError('b failed')), "
        "and there may be 1 restarts within 60 s"
    )
    assert log[-2:] == ["stop b", "stop a"]


async def test_giving_up_on_what_only_ends() -> None:
    """A permanent one that ends too often."""
    _, (one,) = workers("a")
    with pytest.raises(MaxRestartsExceeded, match=r"\(it ended\)") as caught:
        async with OneForOneSupervisor(one, restart="permanent", max_restarts=0):
            one.end()
            await anyio.sleep_forever()
    assert caught.value.__cause__ is None


async def test_with_what_it_gives_up() -> None:
    """`raises=` is what it crashes with; one that is no Exception ends the program."""
    _, (one,) = workers("a")
    inner = OneForOneSupervisor(one, max_restarts=0, raises=SystemExit)
    with pytest.raises(SystemExit):
        async with OneForOneSupervisor(inner):
            one.fail()
            await anyio.sleep_forever()


async def test_the_next_one_up_decides() -> None:
    """It restarts the supervisor that gave up, with a new budget and all that belongs to it."""
    log, (a, b, beside) = workers("abx")
    inner = OneForOneSupervisor(a, b, max_restarts=1, over=1000.0)
    async with OneForOneSupervisor(inner, beside) as outer:
        log.clear()
        await failing(a)
        assert inner.restart_count == 0
        await failing(a)
        assert inner.restart_count == 1
        assert [one.state for one in (inner, a, b)] == ["running"] * 3
        assert beside.starts == 1
        await failing(b)
        assert inner.restart_count == 1
        assert outer.failures == ()
        assert log.count("start b") == 2


async def test_a_tower_of_supervisors() -> None:
    """Each gives up in its turn, up to the top."""
    _, (one,) = workers("a")
    tower: Service = one
    for _ in range(5):
        tower = OneForOneSupervisor(tower, max_restarts=1, over=1000.0)
    with pytest.raises(MaxRestartsExceeded, match="OneForOneSupervisor would have to be"):
        async with tower:
            while True:
                one.fail()
                await quiet()
    assert one.starts == 2**5


async def test_supervisors_all_the_way_down() -> None:
    """They nest as deep as services do."""
    _, (one,) = workers("a")
    tower: Service = one
    for _ in range(200):
        tower = OneForOneSupervisor(tower)
    async with tower:
        await failing(one)
        assert (one.state, one.starts) == ("running", 2)
        assert tower.restart_count == 0


async def test_a_crashing_one_below() -> None:
    """Crashes cross a crashing supervisor, and end at the next one up, which restarts it whole."""
    _, (a, b) = workers("ab")
    inner = CrashingSupervisor(a, b)
    async with OneForOneSupervisor(inner):
        await failing(a)
        assert [one.starts for one in (a, b)] == [2, 2]
        assert inner.restart_count == 1


async def test_a_forfeiting_one_below() -> None:
    """Nothing crosses it."""
    _, (a, b) = workers("ab")
    inner = ForfeitOneForAllSupervisor(a, b)
    async with OneForOneSupervisor(inner):
        await failing(a)
        assert (inner.restart_count, inner.state) == (0, "running")


async def test_a_supervisor_within_a_service() -> None:
    """What it gives up with crashes its parent, as any child's failure does."""
    _, (one,) = workers("a")

    class App(Service):
        def __post_init__(self) -> None:
            self.workers = self.add_dependency(OneForOneSupervisor(one, max_restarts=0))

    app = App()
    with pytest.raises(MaxRestartsExceeded) as caught:
        async with app:
            one.fail()
            await anyio.sleep_forever()
    assert app.crash_reason is caught.value


async def test_restarts_of_a_supervisor_itself() -> None:
    """All that it supervises is stopped and started with it, and it goes on looking after them."""
    log, (a, b) = workers("ab")
    async with OneForOneSupervisor(a, b) as supervisor:
        log.clear()
        await supervisor.restart()
        assert log == ["stop b", "stop a", "start a", "start b"]
        await failing(a)
        assert a.state == "running"


async def test_what_was_stopped_for_good_starts_with_the_next_run() -> None:
    """A new run of the supervisor knows nothing of the former."""
    _, (a, b) = workers("ab")
    async with OneForOneSupervisor(a, b) as supervisor:
        await supervisor.stop_services([a])
        await failing(b)
        assert a.state == "shutdown"
        await supervisor.restart()
        assert (a.state, b.state) == ("running", "running")


async def test_a_supervisor_that_hangs_in_a_stop() -> None:
    """A service that ignores its stop is named, and the deadline of the supervisor holds."""

    class Deaf(Worker):
        released: anyio.Event

        async def on_stop(self) -> None:
            with anyio.CancelScope(shield=True):
                await self.released.wait()

        async def on_shutdown(self) -> None:
            pass

    deaf = Deaf("deaf")
    deaf.released = anyio.Event()
    supervisor = OneForOneSupervisor(deaf)
    supervisor.shutdown_timeout = 0.05
    await supervisor.start()
    with pytest.raises(ShutdownTimeout, match="deaf"):
        await supervisor.stop()
    deaf.released.set()
    while deaf.started or supervisor.started:
        await anyio.sleep(0.01)


# --- What others see ------------------------------------------------------------------------------


async def test_events() -> None:
    """A restart is told of as such."""
    told: list[Any] = []
    _, (one,) = workers("a")
    async with OneForOneSupervisor(one):
        unsubscribe = subscribe(told.append)
        await failing(one)
        unsubscribe()
    kinds = [type(event) for event in told if event.subject is one]
    assert kinds.index(Restarting) < kinds.index(Started)


async def test_what_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Who is restarted and why, with the traceback."""
    caplog.set_level("INFO")
    _, (one,) = workers("a")
    async with OneForOneSupervisor(one):
        reason = one.fail()
        await quiet()
    records = [r for r in caplog.records if "Restarting" in r.getMessage()]
    assert len(records) == 1
    assert "Restarting a: ValueError('a failed')" in records[0].getMessage()
    assert records[0].exc_info is not None
    assert records[0].exc_info[1] is reason


async def test_a_stop_does_not_wait_for_the_supervisor_itself() -> None:
    """Once it has given up its last service, nothing but itself is left that the drain could wait for."""

    class Below(ForfeitOneForOneSupervisor):
        @Service.task
        async def fail(self) -> None:
            await up.wait()
            raise OSError("below")

    up = anyio.Event()
    supervisor = ForfeitOneForOneSupervisor(Supervised(Below(), significant=True))
    supervisor.drain_timeout = 30.0
    with anyio.move_on_after(10.0) as limit:
        async with supervisor:
            up.set()
            await supervisor.wait_until_stopped()
    assert supervisor.state == "shutdown"
    assert not limit.cancel_called
