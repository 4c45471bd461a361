"""Children that start and stop at the same time, because they were added as a group."""

from __future__ import annotations

from collections.abc import Iterable

import anyio
import anyio.lowlevel
import pytest

from structmode import Service
from structmode.exceptions import LifecycleError, StartAborted
from structmode.facet import ServiceMixin
from structmode.supervisors import OneForOneSupervisor
from structmode.threads import ServiceThread
from structmode.types.services import ServiceT


class Slow(Service):
    """Waits for leave in each hook that it is told to wait in; tells all others that it is there."""

    def __init__(self, name: str, journal: list[str], *, waits_in: str = "") -> None:
        self.name = name
        self.journal = journal
        self.waits_in = waits_in
        self.reached = anyio.Event()
        self.leave = anyio.Event()
        self.error: Exception | None = None
        super().__init__()

    @property
    def label(self) -> str:
        return self.name

    async def on_start(self) -> None:
        await self.step("on_start")

    async def on_started(self) -> None:
        await self.step("on_started")

    async def on_stop(self) -> None:
        await self.step("on_stop")

    async def on_shutdown(self) -> None:
        await self.step("on_shutdown")

    async def step(self, hook: str) -> None:
        """Note a hook."""
        self.journal.append(f"{self.name} {hook}")
        if hook == self.waits_in:
            self.reached.set()
            await self.leave.wait()
            if self.error is not None:
                raise self.error


def group_of(journal: list[str], waits_in: str = "") -> list[Slow]:
    """Make three services."""
    return [Slow(name, journal, waits_in=waits_in) for name in "bcd"]


async def test_they_start_at_the_same_time() -> None:
    """All of a group are starting before the first has started; what comes after them waits for all of them."""
    journal: list[str] = []
    parent, group, last = Slow("a", journal), group_of(journal, "on_start"), Slow("e", journal)
    parent.add_dependency_group(*group)
    parent.add_dependency(last)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parent.start)
        for service in group:
            await service.reached.wait()
        assert journal == ["a on_start", "b on_start", "c on_start", "d on_start"]
        for service in reversed(group):
            assert last.state == "init"
            service.leave.set()
            await anyio.wait_all_tasks_blocked()
    assert journal[-3:] == ["e on_start", "e on_started", "a on_started"]
    await parent.stop()


async def test_they_stop_at_the_same_time() -> None:
    """All of a group are asked to stop before the first has stopped, the last added first."""
    journal: list[str] = []
    parent, first, group = Slow("a", journal), Slow("f", journal), group_of(journal, "on_stop")
    parent.add_dependency(first)
    parent.add_dependency_group(*group)
    await parent.start()
    journal.clear()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parent.stop)
        for service in group:
            await service.reached.wait()
        assert journal == ["a on_stop", "d on_stop", "c on_stop", "b on_stop"]
        for service in group:
            assert first.state == "running"
            service.leave.set()
            await anyio.wait_all_tasks_blocked()
    assert journal[-3:] == ["f on_stop", "f on_shutdown", "a on_shutdown"]


async def test_the_first_failure_calls_off_the_others() -> None:
    """The first failure in a group leaves the start as it was raised; the others are called off, and all is undone."""
    journal: list[str] = []
    parent, group = Slow("a", journal), group_of(journal, "on_start")
    group[0].waits_in = ""
    error = group[2].error = OSError("d")
    parent.add_dependency_group(*group)
    async with anyio.create_task_group() as tasks:

        async def start() -> None:
            with pytest.raises(OSError, match="d") as caught:
                await parent.start()
            assert caught.value is error

        tasks.start_soon(start)
        for service in group[1:]:
            await service.reached.wait()
        group[2].leave.set()
    assert [service.state for service in (parent, *group)] == ["init", "shutdown", "init", "init"]
    assert "c on_started" not in journal
    assert journal[-3:] == ["b on_stop", "b on_shutdown", "a on_shutdown"]
    for service in group:
        service.waits_in = ""
    async with parent:
        assert {service.state for service in group} == {"running"}


async def test_cancelled_while_they_start() -> None:
    """A start that is cancelled while a group starts is undone."""
    journal: list[str] = []
    parent, group = Slow("a", journal), group_of(journal, "on_start")
    parent.add_dependency_group(*group)
    with anyio.move_on_after(0.01) as scope:
        await parent.start()
    assert scope.cancelled_caught
    assert {service.state for service in (parent, *group)} == {"init"}
    assert journal[-2:] == ["a on_stop", "a on_shutdown"]


@pytest.mark.parametrize("kind", [list, tuple])
async def test_from_on_init_dependencies(kind: type[list[Service]]) -> None:
    """A list within the list that on_init_dependencies returns is a group."""
    journal: list[str] = []
    group = group_of(journal)

    class Parent(Service):
        def on_init_dependencies(self) -> Iterable[ServiceT | Iterable[ServiceT]]:
            return [kind(group[:2]), group[2]]

    for service in group:
        service.waits_in = "on_start"
    async with anyio.create_task_group() as tasks:
        parent = Parent()
        tasks.start_soon(parent.start)
        await group[0].reached.wait()
        await group[1].reached.wait()
        assert group[2].state == "init"
        for service in group:
            service.leave.set()
    assert group[2].state == "running"
    await parent.stop()


async def test_two_groups_side_by_side() -> None:
    """Two groups that were added one after the other are two: the second waits for the first."""
    journal: list[str] = []
    parent, one, two = Slow("a", journal), group_of(journal, "on_start"), group_of(journal)
    parent.add_dependency_group(*one)
    parent.add_dependency_group(*two)
    parent.add_dependency_group()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parent.start)
        for service in one:
            await service.reached.wait()
        assert {service.state for service in two} == {"init"}
        for service in one:
            service.leave.set()
    await parent.stop()


async def test_a_restart_of_the_parent() -> None:
    """What was added as a group in __post_init__ is a group in each run."""

    class Parent(Service):
        def __post_init__(self) -> None:
            self.journal: list[str] = []
            self.group = group_of(self.journal)
            self.add_dependency_group(*self.group)

    async with Parent() as parent:
        former = parent.group
        await parent.restart()
        assert parent.group is not former
        assert {service.state for service in parent.group} == {"running"}
        assert parent.journal[:3] == ["b on_start", "b on_started", "c on_start"]


async def test_moved_out_of_its_group() -> None:
    """A service that is added alone to another one is in no group any more."""
    journal: list[str] = []
    old, new, group = Slow("old", journal), Slow("new", journal), group_of(journal, "on_start")
    old.add_dependency_group(*group)
    for service in group:
        new.add_dependency(service)
        service.leave.set()
    async with new:
        assert journal[1:5] == ["b on_start", "b on_started", "c on_start", "c on_started"]


async def test_one_that_runs_already() -> None:
    """One of a group that was started by hand under its parent is left alone, and the others start."""
    journal: list[str] = []
    group = group_of(journal)

    class Parent(Service):
        async def on_start(self) -> None:
            await group[1].start()

    parent = Parent()
    parent.add_dependency_group(*group)
    async with parent:
        assert [line for line in journal if line.endswith("on_start")] == [
            *("c on_start", "b on_start", "d on_start")
        ]


async def test_one_that_runs_elsewhere() -> None:
    """One of a group that runs on its own makes the start fail, and goes on."""
    journal: list[str] = []
    parent, group = Slow("a", journal), group_of(journal)
    parent.add_dependency_group(*group)
    async with group[1]:
        with pytest.raises(LifecycleError, match="can't be started by a"):
            await parent.start()
        assert group[1].state == "running"
        assert group[2].state == "init"


def test_no_service() -> None:
    """If one of a group is no service, none is added."""
    group = group_of([])
    parent = Slow("a", [])
    with pytest.raises(TypeError, match=r"add_dependency_group\(\) takes a Service"):
        parent.add_dependency_group(*group, "e")  # type: ignore[arg-type]
    assert list(parent._life.children) == []


async def test_in_a_thread() -> None:
    """A service in a thread has groups too, and they belong to the thread."""
    journal: list[str] = []
    thread = ServiceThread()
    thread.add_dependency_group(*(ServiceThread() for _ in range(2)))
    async with thread:
        with pytest.raises(LifecycleError, match=r"add_dependency_group\(\) .*outside"):
            thread.add_dependency_group(*group_of(journal))


async def test_below_a_supervisor() -> None:
    """A member of a group that is supervised otherwise is restarted alone, and stays in its group."""
    journal: list[str] = []
    group = group_of(journal)
    parent = Slow("a", journal)
    supervisor = OneForOneSupervisor(parent)
    parent.add_dependency_group(*group)
    async with supervisor:
        await group[0].restart()
        await parent.restart()
        assert {service.state for service in group} == {"running"}


class Part(Service):
    """One of many, with a start that takes a moment."""

    async def on_start(self) -> None:
        await anyio.lowlevel.checkpoint()


class Whole(Service):
    """Has so many parts that their start can be called off half-way."""

    def __post_init__(self) -> None:
        self.add_dependency_group(*[Part() for _ in range(20)])


class Needing(ServiceMixin):
    """The same, of parts that it needs."""

    def __init__(self) -> None:
        self.parts = [Part() for _ in range(20)]

    @property
    def dependencies(self) -> list[list[Part]]:
        return [self.parts]


async def some_have_begun() -> None:
    """Wait until the start of the parts goes on, and is not over."""
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


async def test_a_start_of_many_that_is_called_off() -> None:
    """It is undone as any other is, and nothing is a failure."""
    whole = Whole()
    async with anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises(StartAborted):
                await whole.start()

        group.start_soon(start)
        await some_have_begun()
        await whole.stop()
    assert (whole.state, whole.failures) == ("init", ())


@pytest.mark.parametrize("kind", [Whole, Needing])
async def test_a_start_of_many_that_is_cancelled(kind: type[Whole | Needing]) -> None:
    """The cancellation goes on."""
    async with anyio.create_task_group() as group:

        async def hold() -> None:
            async with kind():
                pytest.fail("it has started")

        group.start_soon(hold)
        await some_have_begun()
        group.cancel_scope.cancel()
    assert group.cancel_scope.cancelled_caught


async def test_a_supervised_start_of_many_that_is_called_off() -> None:
    """Who has been stopped by hand is not started again."""
    whole = Whole()
    async with OneForOneSupervisor(max_restarts=5, over=9.0) as supervisor:
        supervisor.add(whole)
        await some_have_begun()
        await whole.stop()
        await anyio.wait_all_tasks_blocked()
        assert not whole.started
