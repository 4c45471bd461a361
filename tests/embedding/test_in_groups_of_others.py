"""Services inside the task groups and timeouts of anyio, trio and asyncio: each gives what it always gives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, TypeAlias

import anyio
import anyio.abc
import pytest
import trio

from structmode import Service

Work: TypeAlias = Callable[[], Coroutine[Any, Any, Any]]


class Group(Protocol):
    """What the groups of all three have in common here."""

    def spawn(self, work: Work) -> None:
        """Begin a task."""
        ...

    def cancel(self) -> None:
        """Cancel the group from outside of its tasks, as its owner does."""
        ...


class OfAnyio:
    """``anyio.create_task_group``."""

    def __init__(self, group: anyio.abc.TaskGroup) -> None:
        self._group = group

    def spawn(self, work: Work) -> None:
        self._group.start_soon(work)

    def cancel(self) -> None:
        self._group.cancel_scope.cancel()


class OfTrio:
    """``trio.open_nursery``."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def spawn(self, work: Work) -> None:
        self._nursery.start_soon(work)

    def cancel(self) -> None:
        self._nursery.cancel_scope.cancel()


class OfAsyncio:
    """``asyncio.TaskGroup``."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks: list[asyncio.Task[Any]] = []

    def spawn(self, work: Work) -> None:
        self._tasks.append(self._group.create_task(work()))

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()


@asynccontextmanager
async def anyio_group() -> AsyncIterator[Group]:
    """Open a group of anyio's."""
    async with anyio.create_task_group() as group:
        yield OfAnyio(group)


@asynccontextmanager
async def own_group() -> AsyncIterator[Group]:
    """Open a group of the library that runs the event loop."""
    if on_trio():
        async with trio.open_nursery() as nursery:
            yield OfTrio(nursery)
    else:
        async with asyncio.TaskGroup() as group:
            yield OfAsyncio(group)


@pytest.fixture(params=[anyio_group, own_group])
def open_group(request: pytest.FixtureRequest) -> Callable[[], AbstractAsyncContextManager[Group]]:
    """What opens a task group: anyio's, and then trio's nursery or asyncio's TaskGroup."""
    opener: Callable[[], AbstractAsyncContextManager[Group]] = request.param
    return opener


Opener: TypeAlias = Callable[[], AbstractAsyncContextManager[Group]]


def on_trio() -> bool:
    """Tell whether this runs on trio."""
    return trio.lowlevel.in_trio_run()


class Broken(Exception):
    """What the tests raise."""


class Child(Service):
    """A part of the service of the tests."""

    async def on_stop(self) -> None:
        self.beacon.root.data.notes.append("child stops")  # type: ignore[union-attr]


class Noting(Service):
    """A service with a part, that notes how it lives."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        super().__init__()
        self.add_dependency(Child())

    async def on_start(self) -> None:
        self.broken = anyio.Event()

    @Service.task
    async def work(self) -> None:
        await self.broken.wait()
        raise Broken("service")

    async def on_stop(self) -> None:
        self.notes.append("stops")

    async def on_shutdown(self) -> None:
        self.notes.append("has stopped")


IN_ORDER = ["stops", "child stops", "has stopped"]


async def until(condition: Callable[[], object]) -> None:
    """Wait until something has come about."""
    while not condition():
        await anyio.sleep(0)


# --- `async with` in a task of a group ------------------------------------------------------------


async def test_a_block_around_a_group(open_group: Opener) -> None:
    """A service may be around a group: it stops after the tasks of that."""
    notes = []
    async with Noting() as service, open_group() as group:

        async def use() -> None:
            await anyio.sleep(0)
            notes.append(service.state)

        group.spawn(use)
        group.spawn(use)
    assert notes == ["running", "running"]
    assert service.notes == IN_ORDER


async def test_a_block_in_a_task(open_group: Opener) -> None:
    """A service may be in a task of a group, be used by another, and end by being told to."""
    service = Noting()

    async def own() -> None:
        async with service:
            await service.wait_until_stopped()

    async def use() -> None:
        await until(lambda: service.state == "running")
        await service.stop()

    async with open_group() as group:
        group.spawn(own)
        group.spawn(use)
    assert service.notes == IN_ORDER


async def test_a_crash_in_a_task_of_a_group(open_group: Opener) -> None:
    """A crash leaves its block as it is; the group cancels the other tasks, and raises it in a group of its own kind."""
    service = Noting()
    cancelled = []

    async def own() -> None:
        async with service:
            service.broken.set()
            await anyio.sleep_forever()

    async def other() -> None:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            cancelled.append(True)
            raise

    with pytest.raises(ExceptionGroup) as caught:
        async with open_group() as group:
            group.spawn(other)
            group.spawn(own)
    assert caught.value.exceptions == (service.crash_reason,)
    assert cancelled == [True]
    assert service.notes == IN_ORDER


async def test_a_crash_around_a_group(open_group: Opener) -> None:
    """A crash of a service around a group cancels its tasks, and leaves the block as it is, in no group."""
    service = Noting()
    with pytest.raises(Broken) as caught:
        async with service, open_group() as group:
            group.spawn(anyio.sleep_forever)
            service.broken.set()
    assert caught.value is service.crash_reason


async def test_another_task_fails(open_group: Opener) -> None:
    """If another task of the group fails, the service stops in order before the group ends, and adds nothing."""
    service = Noting()

    async def own() -> None:
        async with service:
            await anyio.sleep_forever()

    async def fail() -> None:
        await until(lambda: service.state == "running")
        raise Broken("other")

    with pytest.raises(ExceptionGroup) as caught:
        async with open_group() as group:
            group.spawn(own)
            group.spawn(fail)
    [error] = caught.value.exceptions
    assert str(error) == "other"
    assert service.notes == IN_ORDER
    assert not service.crashed


async def test_both_fail(open_group: Opener) -> None:
    """If a service can't stop after another task has failed, the group has both errors."""

    class Stuck(Noting):
        async def on_stop(self) -> None:
            raise Broken("stop")

    service = Stuck()

    async def own() -> None:
        async with service:
            await anyio.sleep_forever()

    async def fail() -> None:
        await until(lambda: service.state == "running")
        raise Broken("other")

    with pytest.raises(ExceptionGroup) as caught:
        async with open_group() as group:
            group.spawn(own)
            group.spawn(fail)
    assert {str(error) for error in caught.value.exceptions} == {"other", "stop"}


async def test_the_group_is_cancelled(open_group: Opener) -> None:
    """A group that is cancelled ends when its service has stopped in order."""
    service = Noting()

    async def own() -> None:
        async with service:
            await anyio.sleep_forever()

    async with open_group() as group:
        group.spawn(own)
        await until(lambda: service.state == "running")
        group.cancel()
    assert service.notes == IN_ORDER


# --- A bare start ---------------------------------------------------------------------------------


async def test_a_bare_start_in_a_task_outlives_its_group(open_group: Opener) -> None:
    """What a task starts bare belongs to the event loop: it goes on after the group, until somebody stops it."""
    service = Noting()
    async with open_group() as group:
        group.spawn(service.start)
    assert service.state == "running"
    await service.stop()
    assert service.notes == IN_ORDER


async def test_a_bare_start_is_undone_with_its_task(open_group: Opener) -> None:
    """A start whose task is cancelled, as the group is, is undone before the group ends."""

    class Slow(Noting):
        async def on_started(self) -> None:
            self.notes.append("waits")
            await anyio.sleep_forever()

    service = Slow()
    async with open_group() as group:
        group.spawn(service.start)
        await until(lambda: service.notes)
        group.cancel()
    assert service.state == "init"
    assert service.notes == ["waits", *IN_ORDER]


async def test_a_start_that_fails_in_a_group(open_group: Opener) -> None:
    """What a start fails with comes out in the group's exception group, and the service has been undone."""

    class Refusing(Noting):
        async def on_started(self) -> None:
            raise Broken("start")

    service = Refusing()
    with pytest.raises(ExceptionGroup) as caught:
        async with open_group() as group:
            group.spawn(service.start)
            group.spawn(anyio.sleep_forever)
    assert [str(error) for error in caught.value.exceptions] == ["start"]
    assert service.state == "init"


async def test_a_crash_of_what_was_started_bare(
    open_group: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    """A service that was started bare is no part of the group: its crash is logged, and cancels nothing."""
    service = Noting()
    async with open_group() as group:
        group.spawn(service.start)
        await until(lambda: service.state == "running")
        service.broken.set()
        await until(lambda: "has stopped" in service.notes)
        await anyio.sleep(0)
    assert service.state == "crashed"
    assert "A failure that nobody receives" in caplog.text


async def test_start_and_stop_in_different_tasks(open_group: Opener) -> None:
    """One task may start, another restart, and a third stop a service."""
    service = Noting()
    async with open_group() as group:
        group.spawn(service.start)
        await until(lambda: service.state == "running")
    async with open_group() as group:
        group.spawn(service.restart)
    assert service.restart_count == 1
    async with open_group() as group:
        group.spawn(service.stop)
        group.spawn(service.stop)
    assert service.notes == IN_ORDER * 2


# --- Timeouts -------------------------------------------------------------------------------------


@asynccontextmanager
async def anyio_limit(seconds: float) -> AsyncIterator[None]:
    """Limit what is inside by anyio."""
    with anyio.fail_after(seconds):
        yield


@asynccontextmanager
async def own_limit(seconds: float) -> AsyncIterator[None]:
    """Limit what is inside by trio, or by asyncio."""
    if on_trio():
        with trio.fail_after(seconds):
            yield
    else:
        async with asyncio.timeout(seconds):
            yield


Limit: TypeAlias = Callable[[float], AbstractAsyncContextManager[None]]


@pytest.fixture(params=[anyio_limit, own_limit])
def limit(request: pytest.FixtureRequest) -> Limit:
    """What limits the time of a block: anyio, and then trio or asyncio."""
    one: Limit = request.param
    return one


def too_slow(limit: Limit) -> type[Exception]:
    """Return what a limit raises."""
    return trio.TooSlowError if on_trio() and limit is own_limit else TimeoutError


async def test_a_timeout_around_a_block(limit: Limit) -> None:
    """A timeout around ``async with`` stops the service in order, and is what leaves."""
    service = Noting()
    with pytest.raises(too_slow(limit)):
        async with limit(0.02):
            async with service:
                await anyio.sleep_forever()
    assert service.notes == IN_ORDER
    assert not service.crashed


async def test_a_timeout_around_a_start(limit: Limit) -> None:
    """A timeout around a start has it undone, and is what leaves; the service may be started again."""

    class Slow(Noting):
        patience = 3600.0

        async def on_started(self) -> None:
            await anyio.sleep(self.patience)

    service = Slow()
    with pytest.raises(too_slow(limit)):
        async with limit(0.02):
            await service.start()
    assert service.state == "init"
    service.patience = 0
    await service.start()
    await service.stop()


async def test_a_timeout_around_a_stop(limit: Limit) -> None:
    """A timeout around a stop gives up the wait for it, and not the stop."""

    class Slow(Noting):
        async def on_stop(self) -> None:
            await released.wait()

    released = anyio.Event()
    service = Slow()
    await service.start()
    with pytest.raises(too_slow(limit)):
        async with limit(0.02):
            await service.stop()
    assert service.state == "stopping"
    released.set()
    await service.stop()
    assert service.state == "shutdown"


async def test_a_crash_inside_a_timeout(limit: Limit) -> None:
    """A crash inside of a timeout that has not passed leaves as it is."""
    service = Noting()
    with pytest.raises(Broken):
        async with limit(3600):
            async with service:
                service.broken.set()
                await anyio.sleep_forever()


async def test_a_timeout_inside_a_block(limit: Limit) -> None:
    """A timeout inside a block is none of the service's business."""
    async with Noting() as service:
        with pytest.raises(too_slow(limit)):
            async with limit(0):
                await anyio.sleep_forever()
        assert service.state == "running"


# --- asyncio's own tasks --------------------------------------------------------------------------


on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])


@on_asyncio
async def test_an_asyncio_task_that_is_cancelled() -> None:
    """A task of asyncio's that owns a service, and is cancelled, ends as cancelled after the service has stopped."""
    service = Noting()

    async def own() -> None:
        async with service:
            await anyio.sleep_forever()  # pragma: no cover - it comes as far as the block begins

    task = asyncio.create_task(own())
    await until(lambda: service.state == "running")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert service.notes == IN_ORDER
    assert task.cancelled()


@on_asyncio
async def test_gather_and_wait_for() -> None:
    """Services may be started by ``asyncio.gather``, and waited for by ``asyncio.wait_for``."""
    first, second = Noting(), Noting()
    await asyncio.gather(first.start(), second.start())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(first.wait_until_stopped(), 0.01)
    await asyncio.gather(first.stop(), second.stop())
    assert first.notes == second.notes == IN_ORDER
