"""What programs reach for in a service of mode's beyond its manual: private names, and what is done with them."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any
from unittest.mock import AsyncMock, Mock, patch

import anyio
import pytest

import structmode
from structmode.compat.faces._members import ModeMembers
from structmode.compat.faces.debug import BlockingDetector
from structmode.compat.faces.services import Service, ServiceTask, WaitArgT, crontab, task, timer
from structmode.compat.faces.supervisors import (
    CrashingSupervisor,
    ForfeitOneForAllSupervisor,
    ForfeitOneForOneSupervisor,
    OneForAllSupervisor,
    OneForOneSupervisor,
    SupervisorStrategy,
)
from structmode.compat.faces.threads import MethodQueue, QueueServiceThread, ServiceThread
from structmode.compat.faces.worker import Worker
from structmode.testing import wait_for_state
from structmode.utils.trees import Node


class Quiet(Service):
    """Says nothing of its life; takes notes."""

    mundane_level = "debug"

    def __init__(self, **kwargs: Any) -> None:
        self.notes: list[str] = []
        super().__init__(**kwargs)

    async def on_start(self) -> None:
        self.notes.append("start")

    async def on_stop(self) -> None:
        self.notes.append("stop")

    async def on_shutdown(self) -> None:
        self.notes.append("shutdown")

    async def on_restart(self) -> None:
        self.notes.append("restart")


# --- The tree -------------------------------------------------------------------------------------


async def test_children_are_those_that_were_added() -> None:
    """Before the start, while it runs, and after."""
    parent, child, later = Quiet(), Quiet(), Quiet()
    assert parent.add_dependency(child) is child
    assert parent._children == [child]
    await parent.start()
    assert await parent.add_runtime_dependency(later) is later
    assert parent._children == [child, later]
    await parent._default_stop_children()
    assert child.notes == later.notes == ["start", "stop", "shutdown"]
    await parent.stop()


async def test_a_service_can_be_given_another_place_in_the_tree() -> None:
    """In mode its beacon is an attribute that can be set."""
    service, above = Quiet(), Quiet()
    place = above.beacon.new(service)
    service.beacon = place
    assert service.beacon is service._beacon is place
    assert service.beacon.parent is above.beacon


async def test_a_beacon_may_be_something_that_only_behaves_like_one() -> None:
    """As in tests of programs: it is asked for a place below it, and nothing is done to it later."""
    beacon = Mock(name="beacon")
    service = Quiet(beacon=beacon)
    beacon.new.assert_called_once_with(service)
    assert service.beacon is beacon.new.return_value
    child = service.add_dependency(Quiet())
    assert child.beacon.parent is None
    assert Quiet(beacon=Node(None)).beacon.parent is not None


async def test_a_dependency_may_be_something_that_only_behaves_like_a_service() -> None:
    """It is started and stopped with the service, and is what is returned."""
    service = Quiet()
    thing = Mock(label="a thing", maybe_start=AsyncMock(), stop=AsyncMock())
    assert service.add_dependency(thing) is thing
    assert [child.label for child in service._children] == ["a thing"]
    await service.start()
    thing.maybe_start.assert_awaited_once_with()
    later = Mock(maybe_start=AsyncMock(), stop=AsyncMock())
    assert await service.add_runtime_dependency(later) is later
    later.maybe_start.assert_awaited_once_with()
    await service.stop()
    thing.stop.assert_awaited_once_with()
    later.stop.assert_awaited_once_with()


@pytest.mark.parametrize("thing", [None, 3, object()])
async def test_what_does_not_behave_like_a_service_is_refused(thing: Any) -> None:
    """At once, and not when it is to be started."""
    service = Quiet()
    with pytest.raises(TypeError, match="add_dependency"):
        service.add_dependency(thing)
    with pytest.raises(TypeError, match="add_runtime_dependency"):
        await service.add_runtime_dependency(thing)
    assert service._children == []


async def test_a_class_is_still_refused_as_a_dependency() -> None:
    """It is a mistake in mode, too."""
    with pytest.raises(TypeError, match="not the class"):
        Quiet().add_dependency(Quiet)


def test_other_bases_initialise_themselves() -> None:
    """A class that was written for mode calls them by name, if at all; so theirs may take what it likes."""

    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

    class Both(Quiet, Named):
        def __init__(self) -> None:
            Named.__init__(self, "both")
            super().__init__()

    assert Both().name == "both"


# --- Kinds ----------------------------------------------------------------------------------------


KINDS: list[Callable[[], Any]] = [
    Worker,
    ServiceThread,
    QueueServiceThread,
    MethodQueue,
    OneForOneSupervisor,
    CrashingSupervisor,
    lambda: BlockingDetector(10.0),
    lambda: Service.from_awaitable(Quiet().on_start),
]


@pytest.mark.parametrize("make", KINDS)
def test_every_service_of_modes_is_a_service(make: Callable[[], Any]) -> None:
    """Also for who asks for the type, and for defaults that a program sets for all."""
    service = make()
    with (
        patch.object(Service, "shutdown_timeout", 2.5),
        patch.object(Service, "greeting", "hello", create=True),
    ):
        assert (service.shutdown_timeout, service.greeting) == (2.5, "hello")
    assert isinstance(service, Service)


class Common(Service):
    """What all services of a program have."""

    mundane_level = "debug"

    def __init__(self, first: Any = None, **kwargs: Any) -> None:
        self.first = first
        super().__init__(**kwargs)


def test_a_service_of_modes_keeps_what_it_takes_by_position() -> None:
    """Classes of a program that come in between get what else there is, if anything."""
    service = Quiet()

    class MyWorker(Worker, Common):
        pass

    class MySupervisor(OneForAllSupervisor, Common):
        pass

    class MyQueue(MethodQueue, Common):
        pass

    class MyDetector(BlockingDetector, Common):
        pass

    worker = MyWorker(service, loglevel="error", redirect_stdouts_level="info")
    assert (worker.services, worker.loglevel) == ((service,), "error")
    supervisor = MySupervisor(service, max_restarts=3)
    assert (supervisor.services, supervisor.max_restarts) == ((service,), 3)
    queue = MyQueue(3)
    assert queue.num_workers == 3
    detector = MyDetector(2.5, ValueError)
    assert (detector.timeout, detector.raises) == (2.5, ValueError)
    assert {one.first for one in (worker, supervisor, queue, detector)} == {None}


def test_what_a_class_of_a_program_takes_may_come_first() -> None:
    """Then it is that which takes what is given by position."""

    class Guarded(Common, OneForOneSupervisor):
        pass

    guarded = Guarded("first", max_restarts=3)
    assert (guarded.first, guarded.services, guarded.max_restarts) == ("first", (), 3)


def test_a_service_is_called_as_its_class_says() -> None:
    """In mode by `_repr_name` also, where `label` says nothing else; and what it says of itself is apart from its state."""

    class Database(Service):
        def _repr_name(self) -> str:
            return f"Our{super()._repr_name()}"

        def _repr_info(self) -> str:
            return "pg://"

    assert repr(Database()) == "<OurDatabase: init pg://>"
    assert Database().shortlabel == "OurDatabase"
    assert Service.from_awaitable(Quiet().on_start, name="work").label == "work"
    assert repr(Worker()) == "<Worker: init>"


def test_no_class_of_a_program_is_abstract() -> None:
    """In mode that is taken back for each subclass, whatever it says of itself."""

    class Base(Service):
        abstract = True

    assert Base().state == "init"


# --- Life -----------------------------------------------------------------------------------------


async def test_a_stop_before_any_start_calls_the_hooks() -> None:
    """As in mode: once, and the services below are stopped; what is started then has to be reset before."""
    service, child = Quiet(), Quiet()
    service.add_dependency(child)
    await service.stop()
    await service.stop()
    assert service.notes == child.notes == ["stop", "shutdown"]
    assert service.should_stop
    await service.start()
    assert service.state == "init"


async def test_a_restart_makes_nothing_anew() -> None:
    """`__post_init__` is not called again, and what it has added stays; `on_restart` is called, and counted."""

    class Made(Quiet):
        made = 0

        def __post_init__(self) -> None:
            self.made += 1
            self.child = self.add_dependency(Quiet())

    service = Made()
    await service.start()
    await service.restart()
    assert (service.made, service.restart_count) == (1, 1)
    assert service._children == [service.child]
    assert service.notes == ["start", "stop", "shutdown", "restart", "start"]
    await service.stop()


async def test_what_does_not_run_is_told_to_stop_before_it_is_restarted() -> None:
    """As in mode, where a restart is a stop, a reset and a start."""
    service = Quiet()
    await service.restart()
    assert service.notes == ["stop", "shutdown", "restart", "start"]
    assert service.restart_count == 1
    await service.stop()


async def test_a_reset_reaches_the_services_below() -> None:
    """And one that runs goes on."""
    service, child = Quiet(), Quiet()
    service.add_dependency(child)
    await service.start()
    service.service_reset()
    assert service.state == "running"
    await service.stop()
    service.service_reset()
    assert (service.state, child.state) == ("init", "init")
    assert child.restart_count == 2


async def test_a_parent_calls_the_stop_of_its_children() -> None:
    """Where a class overrides it, once, and before `on_stop`; also if the stop comes from the override itself."""

    class Own(Quiet):
        async def stop(self) -> None:
            self.notes.append("own stop")
            await super().stop()

    parent, child = Quiet(), Own()
    parent.add_dependency(child)
    await parent.start()
    await parent.stop()
    assert child.notes == ["start", "own stop", "stop", "shutdown"]

    alone = Own()
    await alone.start()
    await alone.stop()
    assert alone.notes == ["start", "own stop", "stop", "shutdown"]


class Own(Quiet):
    """Has a stop of its own."""

    async def stop(self) -> None:
        self.notes.append("own stop")
        await super().stop()


async def test_a_restart_calls_the_stop_of_a_class_too() -> None:
    """In mode it is made of a stop and a start; whoever asks for it, and however often the service has stopped before."""
    service = Own()
    await service.start()
    await service.restart()
    assert service.notes == ["start", "own stop", "stop", "shutdown", "restart", "start"]
    await service.stop()
    assert service.notes[-3:] == ["own stop", "stop", "shutdown"]


async def test_a_parent_calls_the_stop_of_its_children_in_each_of_its_runs() -> None:
    """A stop of a former run does not count for the next."""
    parent, child = Quiet(), Own()
    parent.add_dependency(child)
    await parent.start()
    for _ in range(2):
        child.notes.clear()
        await parent.restart()
        assert child.notes == ["own stop", "stop", "shutdown", "start"]
    child.notes.clear()
    await child.restart()
    assert child.notes == ["own stop", "stop", "shutdown", "restart", "start"]
    child.notes.clear()
    await parent.stop()
    assert child.notes == ["own stop", "stop", "shutdown"]


class Opened(Quiet):
    """Has a start and a stop of its own."""

    async def maybe_start(self) -> bool:
        self.notes.append("own maybe_start")
        return await super().maybe_start()

    async def start(self) -> None:
        self.notes.append("own start")
        await super().start()
        self.notes.append(f"is {self.state}")

    async def stop(self) -> None:
        self.notes.append("own stop")
        await super().stop()


OPENS = ["own start", "start", "is running"]
CLOSES = ["own stop", "stop", "shutdown"]


@pytest.mark.parametrize("owner", ["parent", "running parent", "supervisor", "thread"])
async def test_an_owner_calls_the_start_of_what_it_owns(owner: str) -> None:
    """Where a class overrides it: in mode whoever owns a service calls its `maybe_start`, and that its `start`."""
    child = Opened()
    parent: Any = {"supervisor": OneForOneSupervisor, "thread": ServiceThread}.get(owner, Quiet)()
    if owner == "running parent":
        await parent.start()
        await parent.add_runtime_dependency(child)
    else:
        (parent.add if owner == "supervisor" else parent.add_dependency)(child)
        await parent.start()
    assert child.notes == ["own maybe_start", *OPENS]
    await parent.stop()
    assert child.notes == ["own maybe_start", *OPENS, *CLOSES]


async def test_the_start_of_a_thread_is_called_by_its_owner() -> None:
    """In the owner's event loop, as that of any service."""
    threads: list[bool] = []

    class Feed(ServiceThread):
        mundane_level = "debug"

        async def start(self) -> None:
            threads.append(threading.current_thread() is threading.main_thread())
            await super().start()

        async def on_start(self) -> None:
            threads.append(threading.current_thread() is threading.main_thread())

    parent = Quiet()
    parent.add_dependency(Feed())
    await parent.start()
    assert threads == [True, False]
    await parent.stop()


async def test_a_restart_calls_the_start_of_a_class_too() -> None:
    """That of the service, that of one above it, and that of its supervisor; and each further start of the parent."""
    parent, child = Quiet(), Opened()
    parent.add_dependency(child)
    await parent.start()
    child.notes.clear()
    await child.restart()
    assert child.notes == [*CLOSES, "restart", *OPENS]
    child.notes.clear()
    await parent.restart()
    assert child.notes == [*CLOSES, "own maybe_start", *OPENS]
    await parent.stop()
    child.notes.clear()
    await parent.start()
    assert child.notes == ["own maybe_start", *OPENS]
    await parent.stop()


async def test_a_start_that_does_not_start_is_left_at_that() -> None:
    """As in mode, where it is all that an owner calls."""

    class Reluctant(Quiet):
        async def start(self) -> None:
            self.notes.append("no")

    parent, child, later = Quiet(), Reluctant(), Reluctant()
    parent.add_dependency(child)
    await parent.start()
    await parent.add_runtime_dependency(later)
    assert child.notes == later.notes == ["no"]
    assert (parent.state, child.state, later.state) == ("running", "init", "init")
    await parent.stop()


async def test_a_start_that_fails_in_what_overrides_it_is_undone() -> None:
    """Whether the override raises, or what it calls does."""

    class Failing(Opened):
        async def on_started(self) -> None:
            raise OSError("no connection")

    parent, child = Quiet(), Failing()
    parent.add_dependency(child)
    with pytest.raises(OSError, match="no connection"):
        await parent.start()
    assert (parent.state, child.state) == ("init", "init")
    assert child.notes == ["own maybe_start", "own start", "start", *CLOSES]


async def test_a_start_that_is_called_off_in_what_overrides_it_is_undone() -> None:
    """The parent does that, as with any child."""

    class Slow(Opened):
        async def on_started(self) -> None:
            await anyio.sleep_forever()

    parent, child = Quiet(), Slow()
    parent.add_dependency(child)
    async with anyio.create_task_group() as group:
        group.start_soon(parent.start)
        await wait_for_state(child, "starting")
        group.cancel_scope.cancel()
    assert (parent.state, child.state) == ("init", "init")
    assert child.notes == ["own maybe_start", "own start", "start", *CLOSES]


async def test_a_restart_calls_the_reset_of_a_class() -> None:
    """And that of those below: in mode it is made of a stop, a reset and a start."""

    class Buffered(Quiet):
        def __post_init__(self) -> None:
            self.buffer: list[int] = []

        def service_reset(self) -> None:
            super().service_reset()
            self.buffer = []

        async def on_start(self) -> None:
            assert not self.buffer
            self.buffer.append(1)

    class Above(Buffered):
        def __post_init__(self) -> None:
            super().__post_init__()
            self.below = self.add_dependency(Buffered())
            self.other = self.add_dependency(structmode.Service())

    service = Above()
    await service.start()
    await service.restart()
    assert (service.buffer, service.below.buffer) == ([1], [1])
    assert (service.restart_count, service.below.restart_count) == (1, 1)
    await service.below.restart()
    assert (service.below.buffer, service.below.restart_count) == ([1], 2)
    await service.stop()


async def test_a_stop_in_on_stop_calls_off_no_restart() -> None:
    """The service is being stopped already, and in mode that is all that it says."""

    class Stopping(Quiet):
        async def on_stop(self) -> None:
            await self.stop()

    service = Stopping()
    await service.start()
    await service.restart()
    assert service.state == "running"
    await service.stop()
    assert service.state == "shutdown"


async def test_a_stop_reaches_what_was_restarted_below_after_a_crash() -> None:
    """A crash has stopped all; a service below that is started anew still is of the one above, and may be restarted with it."""
    parent, child = Quiet(), Quiet()
    parent.add_dependency(child)
    async with parent:
        await crash_and_stop(parent)
        await child.restart()
        assert child.state == "running"
        await parent.restart()
        assert (parent.state, child.state) == ("running", "running")
        await crash_and_stop(parent)
        await child.restart()
    assert child.state == "init"


async def crash_and_stop(service: Quiet) -> None:
    """Have a service crash, and wait until nothing of it is left."""
    service.notes.clear()
    await service.crash(ValueError("broken"))
    with anyio.fail_after(5):
        while "shutdown" not in service.notes:
            await anyio.sleep(0.001)
    await (
        anyio.wait_all_tasks_blocked()
    )  # its last hook may have returned a step before the service has ended


async def test_waiting_for_the_stop_has_a_private_name() -> None:
    """With a timeout, or without."""
    service = Quiet()
    await service.start()
    await service._wait_stopped(timeout=0.001)
    async with anyio.create_task_group() as group:
        group.start_soon(service._wait_stopped)
        await service.stop()


async def test_sleeping_for_no_time_lets_others_come_first() -> None:
    """Three that are woken in the same instant have all had their turn; and longer sleeps end with the service."""
    service = Quiet()
    turns: list[int] = []

    async def turn(number: int) -> None:
        turns.append(number)
        await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(turn, number)
        await service.sleep(0)
        assert sorted(turns) == [0, 1, 2]
    service._stopped.set()
    await service.sleep(60)


# --- Crashes --------------------------------------------------------------------------------------


async def test_what_does_not_run_can_crash() -> None:
    """It is recorded, of the services below, too, and of those above; a class will do as the reason."""
    above, service, below = Quiet(), Quiet(), Quiet()
    service.beacon.reattach(above.beacon)
    service.add_dependency(below)
    service._crash(RuntimeError)
    assert isinstance(service.crash_reason, RuntimeError)
    assert below._crash_reason is service._crash_reason
    assert not above.crashed
    other = Quiet(beacon=above.beacon)
    error = ValueError("broken")
    await other.crash(error)
    assert other.crash_reason is above.crash_reason is error
    assert above.should_stop


async def test_a_crash_that_is_forced_on_a_running_service_stops_it() -> None:
    """By its private name."""
    service = Quiet()
    await service.start()
    error = ValueError("broken")
    service._crash(error)
    assert service.crash_reason is error
    await service.stop()
    assert service.notes == ["start", "stop", "shutdown"]


async def test_the_reason_of_a_crash_can_be_set() -> None:
    """And taken away, which makes the service well again."""
    service = Quiet()
    error = ValueError("broken")
    service.crash_reason = error
    assert service.crashed
    assert service.crash_reason is error
    service.crash_reason = None
    assert not service.crashed
    assert not service.should_stop


async def test_a_crash_nobody_owns_reaches_those_above_in_the_tree() -> None:
    """A service that was started bare, in a hook of another one, has that for its place in the tree, and no owner."""

    class Starter(Quiet):
        async def on_start(self) -> None:
            between = self.beacon.new("no service")
            self.other = Quiet(beacon=between)
            await self.other.start()

        async def on_stop(self) -> None:
            await self.other.stop()

    starter = Starter()
    await starter.start()
    error = ValueError("broken")
    await starter.other.crash(error)
    await wait_for_state(starter, "crashed")
    assert starter.crash_reason is error
    await starter.stop()


async def test_a_crash_does_not_look_above_what_only_behaves_like_a_beacon() -> None:
    """A mock has no end."""
    service = Quiet()
    service.beacon = Mock(name="beacon")
    await service.crash(ValueError("broken"))
    assert service.crashed


async def test_a_supervisor_that_owns_nothing_is_woken_by_a_crash() -> None:
    """A service may be said to have one; then those above are not concerned."""
    above = Quiet()
    service = Quiet(beacon=above.beacon)
    supervisor: Any = Mock(name="supervisor")
    service.supervisor = supervisor
    await service.crash(ValueError("broken"))
    supervisor.wakeup.assert_called_once_with()
    assert not above.crashed


# --- Supervisors ----------------------------------------------------------------------------------


async def test_what_is_replaced_is_left_behind() -> None:
    """Its `on_stop` is not called, for the new one may go on with what it had."""
    first, second = Quiet(), Quiet()
    replaced = anyio.Event()

    async def replacement(service: Any, index: int) -> Any:
        assert (service, index) == (first, 0)
        replaced.set()
        return second

    supervisor = OneForOneSupervisor(first, replacement=replacement)
    await supervisor.start()
    await first.crash(ValueError("broken"))
    with anyio.fail_after(5):
        await replaced.wait()
    await wait_for_state(second, "running")
    assert "stop" not in first.notes
    await supervisor.stop()
    assert second.notes == ["start", "stop", "shutdown"]


async def test_what_is_restarted_itself_is_stopped() -> None:
    """Without a replacement the hooks are called as ever."""
    service = Quiet()
    supervisor = OneForOneSupervisor(service)
    await supervisor.start()
    await service.crash(ValueError("broken"))
    with anyio.fail_after(5):
        while service.notes.count("start") < 2:
            await anyio.sleep(0)
    assert service.notes == ["start", "stop", "shutdown", "restart", "start"]
    await supervisor.restart()
    await supervisor.stop()


def test_supervisors_of_modes_are_what_they_are_in_mode() -> None:
    """Each is a strategy of mode's, a service of mode's, and structmode's supervisor of that name."""
    for cls in (
        OneForOneSupervisor,
        OneForAllSupervisor,
        ForfeitOneForOneSupervisor,
        ForfeitOneForAllSupervisor,
        CrashingSupervisor,
    ):
        supervisor: Any = cls()
        assert isinstance(supervisor, SupervisorStrategy)
        assert isinstance(supervisor, ModeMembers)
        assert isinstance(supervisor, getattr(structmode, cls.__name__))


# --- Work -----------------------------------------------------------------------------------------


class Busy(Quiet):
    """Has one of each kind of background work."""

    async def note(self, what: str) -> None:
        self.notes.append(what)
        self._stopped.set()

    @Service.task
    async def once(self) -> None:
        await self.note("once")

    @Service.timer(1000.0)
    async def often(self) -> None:
        await self.note("often")

    @Service.crontab("0 0 1 1 *")
    async def yearly(self) -> None:
        await self.note("yearly")


async def test_a_declared_task_is_called_with_its_service() -> None:
    """On the class, on an instance, and by what it is made of; the instance's own method needs no argument."""
    busy: Any = Busy()
    declared: Any = Busy.once
    assert isinstance(declared, ServiceTask)
    for call in (declared, busy.once, busy.once.fun, declared.fun):
        await call(busy)
    await busy.once()
    assert busy.notes == ["once"] * 5
    assert "once" in repr(busy.once)


async def test_a_declared_timer_that_is_called_with_its_service_does_all_its_work() -> None:
    """As in mode it goes on until the service stops; called without, it is the method."""
    busy: Any = Busy()
    busy.sleep = AsyncMock()
    await busy.often(busy)
    assert busy.notes == ["often"]
    await busy.often()
    assert busy.notes == ["often"] * 2
    await busy.yearly()
    assert busy.notes[-1] == "yearly"


async def test_the_decorators_are_functions_too() -> None:
    """`mode.task` and the like."""

    class Decorated(Quiet):
        @task
        async def once(self) -> None:
            self.notes.append("once")

        @timer(1000.0, exec_first=True)
        async def often(self) -> None:
            self.notes.append("often")

        @crontab("0 0 1 1 *")
        async def yearly(self) -> None:
            raise AssertionError

    service = Decorated()
    async with service:
        pass
    assert service.notes == ["start", "once", "often", "stop", "shutdown"]


async def test_what_stands_in_the_place_of_timer_gives_the_ticks() -> None:
    """Tests of programs put something there that waits for nothing; it is left when the service should stop."""
    service = Quiet()
    seen: list[float] = []

    def ticking(stop_at: float) -> Any:
        async def ticks(*args: Any, **kwargs: Any) -> AsyncIterator[float]:
            for number in (0.1, 0.2, 0.3):
                if number == stop_at:
                    service._stopped.set()
                yield number
            raise AssertionError

        return ticks

    async def collect() -> None:
        async for seconds in service.itertimer(10.0, name="ticks"):
            seen.append(seconds)
            if seconds == 0.3:
                service._stopped.set()

    for stop_at, expected in ((0.2, [0.1]), (1.0, [0.1, 0.2, 0.3])):
        seen.clear()
        service._stopped.clear()
        with patch("structmode.services.Timer", ticking(stop_at)):
            await collect()
        assert seen == expected
        with patch("structmode.services.Timer", ticking(stop_at)):
            await collect()
        assert seen == expected  # it should stop, so there are none

    class Ticks:
        def __aiter__(self) -> Any:
            return self

        async def __anext__(self) -> float:
            raise StopAsyncIteration

    service._stopped.clear()
    with patch("structmode.services.Timer", lambda *args, **kwargs: Ticks()):
        await collect()
    assert seen == [0.1, 0.2, 0.3]


async def test_work_that_is_not_begun_is_closed() -> None:
    """A start that fails before its turn has come, and a service that takes no more: no coroutine is left unawaited."""

    class Failing(Busy):
        async def on_start(self) -> None:
            raise ValueError("no")

    service = Failing()
    future = service.add_future(anyio.sleep_forever())
    with pytest.raises(ValueError, match="no"):
        await service.start()
    with suppress(anyio.TaskCancelled, asyncio.CancelledError):
        await future
    assert future.cancelled()
    stopped = Quiet()
    await stopped.start()
    stopped._stopped.set()
    assert stopped.add_future(anyio.sleep_forever()).cancelled()
    await stopped.stop()


async def test_work_that_is_refused_is_closed() -> None:
    """In another event loop than that of the service."""
    service = Quiet()
    await service.start()

    async def add() -> None:
        with pytest.raises(structmode.EventLoopMismatch):
            service.add_future(anyio.sleep_forever())

    await anyio.to_thread.run_sync(anyio.run, add)
    await service.stop()


async def test_futures_are_the_tasks_that_there_are() -> None:
    """All that is going on in the service."""
    service = Quiet()
    await service.start()
    assert service._futures == set()
    service.add_future(anyio.sleep_forever())
    assert len(service._futures) == 1
    await service.stop()
    assert service._futures == set()


async def test_a_service_can_be_made_of_an_awaitable() -> None:
    """It is one of mode's, with the name that it is given, or else that of what it does."""
    done = anyio.Event()

    async def work() -> None:
        done.set()

    service = Service.from_awaitable(work, name="worker")
    assert isinstance(service, ModeMembers)
    assert service.label == "worker"
    async with service:
        await done.wait()
    assert "work" in Service.from_awaitable(work).label


def test_the_type_of_what_can_be_waited_for_has_a_name() -> None:
    """`mode.services.WaitArgT` is imported for typing."""
    assert WaitArgT is not None


# --- What is asyncio's ----------------------------------------------------------------------------


@pytest.fixture
def on_asyncio(anyio_backend_name: str) -> None:
    """Leave out trio, which has none of it."""
    if anyio_backend_name == "trio":
        pytest.skip("there are no futures of asyncio's on trio")


@pytest.mark.usefixtures("on_asyncio")
async def test_a_future_of_a_service_is_asyncios() -> None:
    """It can be waited for with what else there is, has the result, and cancels the task when it is cancelled."""
    service = Quiet()
    await service.start()

    async def answer() -> int:
        return 42

    future = service.add_future(answer(), name="answer")
    assert future.get_name() == "answer"
    assert isinstance(future, asyncio.Future)
    done, _ = await asyncio.wait({future})
    assert [one.result() for one in done] == [42]
    assert not future.cancel()
    endless = service.add_future(anyio.sleep_forever())
    endless.cancel()
    with pytest.raises(asyncio.CancelledError):
        await endless
    await service.stop()


@pytest.mark.usefixtures("on_asyncio")
async def test_a_future_has_no_exception() -> None:
    """What leaves the task is a crash, and the future's result is None, as in mode."""
    service = Quiet()
    await service.start()

    async def fail() -> None:
        raise ValueError("broken")

    future = service.add_future(fail())
    assert await future is None
    assert isinstance(service.crash_reason, ValueError)
    await service.stop()


@pytest.mark.usefixtures("on_asyncio")
async def test_a_future_that_has_a_result_already_keeps_it() -> None:
    """Whoever has given it one, the task ends for itself."""
    service = Quiet()
    await service.start()
    ended = anyio.Event()

    async def work() -> None:
        ended.set()

    future = service.add_future(work())
    future.set_result("mine")
    await ended.wait()
    await service.stop()
    assert await future == "mine"


@pytest.mark.usefixtures("on_asyncio")
async def test_work_that_meets_a_cancelled_future_is_no_crash() -> None:
    """In mode that is logged, and the service goes on without the work; in structmode it is a failure."""
    service = Quiet()
    await service.start()
    theirs: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future = service.add_future(theirs)
    await anyio.sleep(0)
    theirs.cancel()
    with suppress(asyncio.CancelledError):
        await future
    assert not service.crashed
    await service.stop()


class Courier(Quiet):
    """Has something to do."""

    async def work(self, until: anyio.Event | None = None) -> int:
        """Go on until something happens, or for ever."""
        self.notes.append("begun")
        try:
            await (anyio.Event() if until is None else until).wait()
            return 42
        finally:
            with anyio.CancelScope(shield=True):
                for _ in range(5):
                    await anyio.lowlevel.checkpoint()
            self.notes.append("ended")


@pytest.mark.usefixtures("on_asyncio")
async def test_what_is_added_before_a_start_begins_at_once() -> None:
    """Also if the service is never started: whoever waits for it gets its result, as in mode."""
    service, go_on = Courier(), anyio.Event()
    future = service.add_future(service.work(go_on), name="work")
    assert future.get_name() == "work"
    assert isinstance(future, asyncio.Future)
    assert len(service._futures) == 1
    await anyio.sleep(0)
    assert service.notes == ["begun"]
    go_on.set()
    assert await future == 42
    assert service._futures == set()
    assert service.state == "init"


@pytest.mark.usefixtures("on_asyncio")
async def test_what_has_begun_before_a_start_belongs_to_the_service_from_then_on() -> None:
    """It is cancelled when the service stops, and has ended when `stop` returns, and before `on_shutdown`."""
    service = Courier()
    future = service.add_future(service.work())
    await anyio.sleep(0)
    await service.start()
    assert len(service._futures) == 1
    await service.stop()
    assert service.notes == ["begun", "start", "stop", "ended", "shutdown"]
    assert future.cancelled()
    assert service._futures == set()


@pytest.mark.usefixtures("on_asyncio")
async def test_a_service_that_was_never_started_ends_what_it_has_begun() -> None:
    """Its `stop` cancels it, and waits for it."""
    service = Courier()
    future = service.add_future(service.work())
    await anyio.sleep(0)
    await service.stop()
    assert service.notes == ["begun", "stop", "ended", "shutdown"]
    assert future.cancelled()


@pytest.mark.usefixtures("on_asyncio")
async def test_a_child_takes_over_what_it_has_begun() -> None:
    """Whoever starts and stops it."""
    parent, child = Quiet(), Courier()
    parent.add_dependency(child)
    future = child.add_future(child.work())
    await anyio.sleep(0)
    async with parent:
        assert child.notes == ["begun", "start"]
    assert child.notes == ["begun", "start", "stop", "ended", "shutdown"]
    assert future.cancelled()


@pytest.mark.usefixtures("on_asyncio")
async def test_what_was_begun_and_has_ended_is_forgotten() -> None:
    """Nothing of it is kept for a start that may never come."""
    service = Quiet()

    async def work(held: object) -> None:
        assert held

    def add() -> tuple[Any, weakref.ref[anyio.Event]]:
        event = anyio.Event()
        return service.add_future(work(event)), weakref.ref(event)

    future, held = add()
    await future
    del future
    await anyio.wait_all_tasks_blocked()
    gc.collect()
    assert held() is None
    async with service:
        assert service._futures == set()


@pytest.mark.usefixtures("on_asyncio")
async def test_what_has_begun_before_a_start_can_be_cancelled() -> None:
    """By its future, before the start and after it; that is no crash."""
    for starts in (False, True):
        service = Courier()
        future = service.add_future(service.work())
        await anyio.sleep(0)
        if starts:
            await service.start()
        assert future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await future
        await anyio.wait_all_tasks_blocked()
        assert not service.crashed
        assert service._futures == set()
        await service.stop()


@pytest.mark.usefixtures("on_asyncio")
@pytest.mark.parametrize("starts", [False, True])
async def test_a_failure_of_what_has_begun_before_a_start_is_a_crash(starts: bool) -> None:
    """It is known at once; a service that has crashed before its start does not start until it is reset."""
    service, fails, reason = Courier(), anyio.Event(), ValueError("broken")

    async def work() -> None:
        await fails.wait()
        raise reason

    future = service.add_future(work())
    await anyio.sleep(0)
    if starts:
        await service.start()
    fails.set()
    assert await future is None
    await anyio.wait_all_tasks_blocked()
    assert service.crash_reason is reason
    if not starts:
        await service.start()
        assert service.notes == []
        service.service_reset()
        await service.start()
        assert not service.crashed
        assert service.notes == ["start"]
    await service.stop()


def test_what_is_added_where_no_loop_runs_begins_with_the_service() -> None:
    """It is kept until then, since there is nothing yet that it could run in."""
    service = Courier(loop=asyncio.new_event_loop())
    future = service.add_future(service.work())
    assert not future.done()

    async def main() -> None:
        async with service:
            await anyio.wait_all_tasks_blocked()
            assert service.notes == ["start", "begun"]

    anyio.run(main)
    service.loop.close()
    assert service.notes == ["start", "begun", "stop", "ended", "shutdown"]


@pytest.mark.parametrize("anyio_backend", [("trio", {})])
async def test_on_trio_what_is_added_before_a_start_begins_with_the_service() -> None:
    """There it has nobody to run it until the service does."""
    service, go_on = Quiet(), anyio.Event()
    handle = service.add_future(go_on.wait())
    await anyio.wait_all_tasks_blocked()
    assert not handle.done()
    go_on.set()
    async with service:
        await handle


@pytest.mark.usefixtures("on_asyncio")
async def test_the_event_loop_is_found_when_it_is_asked_for() -> None:
    """And kept; it can be set to another."""
    service = Quiet()
    assert service._loop is None
    assert service.loop is service._loop is asyncio.get_running_loop()
    other = object()
    service.loop = other
    assert service.loop is other


@pytest.mark.parametrize("anyio_backend", [("trio", {})])
async def test_there_is_no_event_loop_of_asyncios_on_trio() -> None:
    """The error says what to use instead, as structmode's does."""
    with pytest.raises(RuntimeError, match="works on every backend"):
        _ = Quiet().loop


async def test_a_task_by_a_name_that_mode_does_not_know() -> None:
    """A program of mode's may have one that is called as what structmode has beyond mode."""
    done = anyio.Event()

    class App(Service):
        @Service.task
        async def health(self) -> None:
            done.set()

    async with App():
        await done.wait()
