"""Services that come and go while the supervisor runs, or before."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.to_thread
import pytest

from structmode import EventLoopMismatch, LifecycleError, Service, ShutdownTimeout
from structmode.facet import ServiceMixin
from structmode.supervisors import (
    OneForAllSupervisor,
    OneForOneSupervisor,
    RestartType,
    RestForOneSupervisor,
    Supervised,
)

from .worker import SlowToStop, Worker, failing, quiet, workers


async def test_added_before_the_start() -> None:
    """It starts with the supervisor, in its place."""
    log, (first, second, third) = workers("fst")
    supervisor = OneForOneSupervisor(first)
    supervisor.add(third)
    supervisor.insert(1, second)
    assert supervisor.services == (first, second, third)
    async with supervisor:
        assert log == ["start f", "start s", "start t"]


async def test_added_to_a_running_one() -> None:
    """It is started at once, and looked after like the others."""
    log, (first, second) = workers("fs")
    async with OneForOneSupervisor(first) as supervisor:
        supervisor.add(second)
        await quiet()
        assert second.state == "running"
        await failing(second)
        assert second.starts == 2
        log.clear()
    assert log == ["stop s", "stop f"]


async def test_added_from_another_thread() -> None:
    """It is refused, and the error says which call it was."""
    _, (first, second) = workers("fs")
    async with OneForOneSupervisor(first) as supervisor:
        with pytest.raises(EventLoopMismatch, match=r"^add\(\) of .*OneForOneSupervisor"):
            await anyio.to_thread.run_sync(supervisor.add, second)
        assert supervisor.services == (first,)


async def test_inserted_into_a_running_one() -> None:
    """Its place counts for what is restarted with what, and for the order of the stop and of the next start."""
    log, (first, between, last) = workers("fbl")
    async with RestForOneSupervisor(first, last) as supervisor:
        supervisor.insert(1, between)
        await quiet()
        assert supervisor.services == (first, between, last)
        await failing(between)
        assert [one.starts for one in (first, between, last)] == [1, 2, 2]
        log.clear()
        await supervisor.restart()
        stops, starts = ["stop l", "stop b", "stop f"], ["start f", "start b", "start l"]
        assert log == [*stops, *starts]
        log.clear()
    assert log == stops


async def test_inserted_at_odd_places() -> None:
    """As for a list: negative places count from the end, and too large ones are the end."""
    _, (a, b, c, d) = workers("abcd")
    supervisor = OneForOneSupervisor(a, b)
    supervisor.insert(-1, c)
    supervisor.insert(99, d)
    assert supervisor.services == (a, c, b, d)
    log = a.history
    async with supervisor:
        assert log == ["start a", "start c", "start b", "start d"]


async def test_added_by_the_supervisor_itself() -> None:
    """In its hooks; what `__post_init__` adds is added anew in a restart, and not twice."""
    made: list[Worker] = []

    class Own(OneForOneSupervisor):
        def __post_init__(self) -> None:
            made.append(Worker(f"w{len(made)}"))
            self.add(made[-1])

        async def on_started(self) -> None:
            if len(self.services) == 1:
                self.add(self.extra)

        extra = Worker("extra")

    async with Own() as supervisor:
        await quiet()
        assert supervisor.services == (made[0], supervisor.extra)
        await supervisor.restart()
        await quiet()
        assert made[0].supervisor is None
        assert set(supervisor.services) == {made[1], supervisor.extra}
        assert [one.state for one in supervisor.services] == ["running", "running"]


async def test_added_twice() -> None:
    """The second time it is left as it is."""
    _, (one,) = workers("a")
    async with OneForOneSupervisor(one, one) as supervisor:
        supervisor.add(one)
        supervisor.insert(0, one)
        await quiet()
        assert supervisor.services == (one,)
        assert one.starts == 1


async def test_an_added_one_that_does_not_start() -> None:
    """That is a failure: it is tried again, within the budget."""
    _, (first, second) = workers("fs")
    second.start_failures.append(OSError("not now"))
    async with OneForOneSupervisor(first, max_restarts=1) as supervisor:
        supervisor.add(second)
        await quiet()
        assert (second.state, second.starts) == ("running", 2)


async def test_one_that_does_not_start_with_the_supervisor() -> None:
    """Then the supervisor does not start; what has started is undone, and all may be started again."""
    log, (first, second) = workers("fs")
    second.start_failures.append(OSError("not now"))
    supervisor = OneForOneSupervisor(first, second)
    with pytest.raises(OSError, match="not now"):
        await supervisor.start()
    assert log == ["start f", "s fails to start", "stop f"]
    assert (supervisor.state, first.state, second.state) == ("init", "shutdown", "init")
    async with supervisor:
        assert second.state == "running"


async def test_one_that_fails_while_the_supervisor_starts() -> None:
    """It is restarted when the supervisor has started: a start is not disturbed."""
    gate = anyio.Event()
    log, (first, second) = workers("fs")
    second.gate = gate
    supervisor = OneForOneSupervisor(first, second)
    async with anyio.create_task_group() as group:
        _ = group.start_soon(supervisor.start)
        await quiet()
        await failing(first)
        assert (first.state, supervisor.state) == ("crashed", "starting")
        gate.set()
        await quiet()
        assert (first.state, supervisor.state) == ("running", "running")
        await supervisor.stop()
    assert log == ["start f", "stop f", "start s", "start f", "stop s", "stop f"]


async def test_discarded() -> None:
    """It is supervised no more, and stopped; it belongs to nobody then."""
    log, (first, second) = workers("fs")
    async with OneForOneSupervisor(first, second, restart="permanent") as supervisor:
        log.clear()
        supervisor.discard(first)
        assert supervisor.services == (second,)
        assert first.supervisor is None
        await quiet()
        assert log == ["stop f"]
        assert first.starts == 1
        async with first:  # its own master again
            assert first.state == "running"
        assert [node.data for node in supervisor.beacon.children] == [second]


async def test_discarded_before_the_start() -> None:
    """It does not start with the supervisor."""
    log, (first, second) = workers("fs")
    supervisor = OneForOneSupervisor(first, second)
    supervisor.discard(first)
    async with supervisor:
        assert log == ["start s"]


async def test_discarded_by_strangers() -> None:
    """What is not supervised here is passed over."""
    _, (one, other) = workers("ao")
    async with other, OneForOneSupervisor(one) as supervisor:
        supervisor.discard(other)
        await quiet()
        assert other.state == "running"


async def test_discarded_while_it_is_being_restarted() -> None:
    """The start is undone, and the supervisor comes to no harm."""
    _, (first, second) = workers("fs")
    async with OneForAllSupervisor(first, second, max_restarts=1) as supervisor:
        first.gate = anyio.Event()
        await failing(first)
        assert first.state == "restarting"
        supervisor.discard(first)
        await quiet()
        assert first.state == "init"
        assert (second.state, second.starts) == ("running", 2)
        assert supervisor.services == (second,)


async def test_a_discarded_one_that_fails_in_its_stop(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for it, so it is logged."""
    _, (first, second) = workers("fs")
    async with OneForOneSupervisor(first, second) as supervisor:
        first.stop_failures.append(OSError("too late"))
        supervisor.discard(first)
        await quiet()
        assert supervisor.state == "running"
    assert "A failure that nobody receives, in f: OSError('too late')" in caplog.text


@pytest.mark.parametrize("how", ["discard", "remove"])
async def test_removed_while_it_wants_to_be_restarted(how: str) -> None:
    """It is gone all the same: nobody looks after it any more."""
    log, (first, other) = workers("ab")
    slow = SlowToStop("c", log)
    async with OneForOneSupervisor(first, slow, other) as supervisor:
        async with anyio.create_task_group() as group:
            if how == "discard":
                supervisor.discard(slow)
            else:
                group.start_soon(supervisor.remove_dependency, slow)
            await quiet()
            slow._life.expect_restart()  # as one of its own tasks may ask for
            slow.released.set()
        await quiet()
        assert slow.state == "shutdown"
        assert slow.starts == 1
        assert supervisor.services == (first, other)
        assert [node.data for node in supervisor.beacon.children] == [first, other]


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_discarded_added_again_and_restarted(restart: RestartType) -> None:
    """It is restarted when its stop is over."""
    log: list[str] = []
    slow = SlowToStop("a", log)
    async with OneForOneSupervisor(Supervised(slow, restart=restart)) as supervisor:
        supervisor.discard(slow)
        await quiet()
        supervisor.add(slow, restart=restart)
        async with anyio.create_task_group() as group:
            group.start_soon(supervisor.restart_service, slow)
            await quiet()
            assert slow.starts == 1
            slow.released.set()
        await quiet()
        assert slow.state == "running"
        assert supervisor.services == (slow,)


async def test_removed_as_a_dependency() -> None:
    """`remove_dependency` discards it, and waits for its end."""
    _, (first, second) = workers("fs")
    async with OneForOneSupervisor(first, second, restart="permanent") as supervisor:
        await supervisor.remove_dependency(first)
        assert first.state == "shutdown"
        await quiet()
        assert first.starts == 1
        assert supervisor.services == (second,)
        assert first.supervisor is None


async def test_moved_to_another_supervisor() -> None:
    """While the one it belongs to does not run."""
    _, (one,) = workers("a")
    first, second = OneForOneSupervisor(one), OneForOneSupervisor()
    async with second:
        second.add(one)
        await quiet()
        assert first.services == ()
        assert one.supervisor is second
        assert one.state == "running"


async def test_not_moved_away_from_a_running_one() -> None:
    """A service has one owner."""
    _, (one,) = workers("a")
    second = OneForOneSupervisor()
    async with OneForOneSupervisor(one):
        with pytest.raises(LifecycleError, match="can't be added to OneForOneSupervisor"):
            second.add(one)
        assert second.services == ()


async def test_stopped_for_good() -> None:
    """`stop_services` stops, in reverse order, and even permanent ones stay stopped until they are started."""
    log, those = workers("abc")
    async with OneForOneSupervisor(*those, restart="permanent") as supervisor:
        log.clear()
        await supervisor.stop_services(those[:2])
        await quiet()
        assert log == ["stop b", "stop a"]
        assert [one.state for one in those] == ["shutdown", "shutdown", "running"]
        assert supervisor.services == tuple(those)
        await supervisor.start_services(those)
        assert log == ["stop b", "stop a", "start a", "start b"]
        await failing(those[0])
        assert those[0].state == "running"


async def test_a_stop_for_good_that_fails() -> None:
    """All are stopped; the first failure is raised, and the others are noted on it."""
    _, those = workers("abc")
    async with OneForOneSupervisor(*those) as supervisor:
        those[0].stop_failures.append(OSError("a can't"))
        those[2].stop_failures.append(OSError("c can't"))
        with pytest.raises(OSError, match="c can't") as caught:
            await supervisor.stop_services(those)
        assert "a can't" in "".join(caught.value.__notes__)
        assert [one.state for one in those] == ["shutdown"] * 3


async def test_a_stop_for_good_whose_caller_is_cancelled() -> None:
    """What was to stop stops, and stays stopped."""
    release = anyio.Event()

    class Slow(Worker):
        async def on_stop(self) -> None:
            await release.wait()

    slow = Slow("slow")
    async with OneForOneSupervisor(slow, restart="permanent") as supervisor:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                _ = group.start_soon(supervisor.stop_services, [slow])
                await quiet()
                scope.cancel()
        release.set()
        await quiet()
        assert (slow.state, slow.starts) == ("shutdown", 1)


async def test_started_while_it_is_still_stopping() -> None:
    """The start waits for the end of the stop."""
    release = anyio.Event()

    class Slow(Worker):
        async def on_stop(self) -> None:
            await release.wait()

    slow = Slow("slow")
    async with OneForOneSupervisor(slow) as supervisor:
        async with anyio.create_task_group() as group:
            _ = group.start_soon(slow.stop)
            await quiet()
            _ = group.start_soon(supervisor.start_service, slow)
            await quiet()
            assert slow.state == "stopping"
            release.set()
        assert (slow.state, slow.starts) == ("running", 2)


async def test_restarted_by_hand() -> None:
    """`restart_service` restarts one, whatever the strategy, and counts nothing."""
    _, those = workers("ab")
    async with OneForAllSupervisor(*those, max_restarts=0) as supervisor:
        await supervisor.restart_service(those[0])
        assert [one.starts for one in those] == [2, 1]
        await supervisor.restart_services([those[0]])
        assert [one.starts for one in those] == [3, 2]


async def test_restarted_by_hand_in_vain() -> None:
    """The caller is told, and the supervisor goes on with it."""
    _, those = workers("a")
    async with OneForOneSupervisor(*those) as supervisor:
        those[0].start_failures.append(OSError("not now"))
        with pytest.raises(OSError, match="not now"):
            await supervisor.restart_service(those[0])
        await quiet()
        assert (those[0].state, those[0].starts) == ("running", 3)


async def test_started_without_their_supervisor() -> None:
    """They would belong to nobody, so that is refused."""
    _, (one,) = workers("a")
    supervisor = OneForOneSupervisor(one)
    for call in (supervisor.start_service, supervisor.restart_service):
        with pytest.raises(
            LifecycleError, match=r"(?s)is not running itself.*Start the supervisor"
        ):
            await call(one)
    with pytest.raises(LifecycleError, match="is not running itself"):
        await supervisor.start_services([one])
    assert one.starts == 0


async def test_its_time_to_stop() -> None:
    """A supervisor may say how long each service may take to stop."""

    class Stubborn(Service):
        @Service.task
        async def work(self) -> None:
            with anyio.CancelScope(shield=True):
                await self._released.wait()

        async def on_start(self) -> None:
            self._released = anyio.Event()

        async def on_shutdown(self) -> None:
            self._released.set()

    stubborn, other = Stubborn(), Worker("other")
    supervisor = OneForOneSupervisor(Supervised(stubborn, shutdown_timeout=0.05), other)
    assert (stubborn.shutdown_timeout, other.shutdown_timeout) == (0.05, 60.0)
    with pytest.raises(ShutdownTimeout, match=r"Stubborn did not stop within 0\.05 s"):
        async with supervisor:
            pass
    supervisor.add(third := Worker("third"), shutdown_timeout="2.5")
    assert third.shutdown_timeout == 2.5


async def test_strangers() -> None:
    """What is not supervised here is refused, by name."""
    stranger = Worker("stranger")
    async with OneForOneSupervisor() as supervisor:
        for call in (supervisor.start_service, supervisor.restart_service):
            with pytest.raises(LifecycleError, match=r"(?s)not supervised by.*Give it to add\(\)"):
                await call(stranger)
        for calls in (supervisor.start_services, supervisor.stop_services):
            with pytest.raises(LifecycleError, match="not supervised by"):
                await calls([stranger])
        with pytest.raises(LifecycleError, match="service_operational"):
            supervisor.service_operational(stranger)
    assert stranger.starts == 0


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"max_restarts": -1}, ValueError, r"OneForOneSupervisor\(max_restarts=.*at least 0"),
        ({"over": 0}, ValueError, r"over=.*more than 0 seconds"),
        ({"over": None}, TypeError, "can't take None"),
        ({"raises": ValueError("x")}, TypeError, "raises= takes a class of exceptions"),
        ({"raises": 3}, TypeError, "raises= takes a class of exceptions, not 3"),
        ({"replacement": 3}, TypeError, "takes an async function of a service and its place"),
        ({"backoff": 3}, TypeError, r"backoff=.*takes a Backoff\(...\), not 3"),
        ({"restart": "always"}, ValueError, "'permanent', 'transient', 'temporary', not 'always'"),
        ({"auto_shutdown": "never"}, ValueError, "takes 'any' or 'all', not 'never'"),
    ],
)
def test_arguments_that_make_no_sense(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    """Each is refused when the supervisor is made."""
    with pytest.raises(error, match=text):
        OneForOneSupervisor(**arguments)


@pytest.mark.parametrize("what", [None, 3, Worker, "worker"])
def test_what_is_no_service(what: Any) -> None:
    """It is refused, and nothing of the call is done."""
    supervisor = OneForOneSupervisor()
    for call in (supervisor.add, OneForOneSupervisor, Supervised):
        with pytest.raises(TypeError, match="takes services, not"):
            call(what)
    with pytest.raises(TypeError, match="takes services, not"):
        supervisor.add(Worker("fine"), what)
    assert supervisor.services == ()


def test_what_has_to_be_another_thing() -> None:
    """A class, and a service of the other face: the error says what to write, and which argument is no number of seconds."""
    with pytest.raises(TypeError, match=r"not the class Worker: write Worker\(\)"):
        OneForOneSupervisor(Worker)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"which is a ServiceMixin: put it below a Service"):
        OneForOneSupervisor(ServiceMixin())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^OneForOneSupervisor\(max_restarts=...\): .*None"):
        OneForOneSupervisor(max_restarts=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^OneForOneSupervisor\(over=...\): .*'x'"):
        OneForOneSupervisor(over="x")
    with pytest.raises(ValueError, match=r"^Supervised\(shutdown_timeout=...\): .*'x'"):
        Supervised(Worker("a"), shutdown_timeout="x")


def test_specifications_that_make_no_sense() -> None:
    """Each is refused where it is made."""
    with pytest.raises(ValueError, match="restart= takes one of"):
        Supervised(Worker("a"), restart="often")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="as seconds"):
        Supervised(Worker("a"), shutdown_timeout=[])  # type: ignore[arg-type]


def test_circles() -> None:
    """A supervisor does not supervise itself, nor what is above it."""
    outer, inner = OneForOneSupervisor(), OneForOneSupervisor()
    outer.add(inner)
    with pytest.raises(LifecycleError, match="no circles"):
        inner.add(outer)
    with pytest.raises(LifecycleError, match="no circles"):
        outer.add(outer)
    assert inner.services == ()


def test_what_it_is_called() -> None:
    """The label says what it allows."""
    supervisor = OneForAllSupervisor(max_restarts=3, over=60.0)
    assert supervisor.label == "OneForAllSupervisor: 3 in 60 s"
    assert supervisor.shortlabel == "OneForAllSupervisor"
    assert (supervisor.max_restarts, supervisor.over) == (3.0, 60.0)
