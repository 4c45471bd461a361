"""Waiting for the handle of a task, which is no event, by itself and beside others."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from structmode import Service
from structmode.facet import ServiceMixin
from structmode.services import Task


async def give(value: str) -> str:
    """Return a value."""
    await anyio.lowlevel.checkpoint()
    return value


@pytest.mark.parametrize("over", [False, True])
async def test_a_task(over: bool) -> None:
    """The wait gives its result, be it over already or not."""
    async with Service() as service:
        task: Task[str] = service.add_future(give("done"))
        if over:
            await task
        assert await service.wait(task) == ("done", False)
        assert await service.wait_many([task]) == (["done"], False)
        assert await service.wait_first(task) == ([task], ["done"], False)
        assert await service.wait(task, service.add_future(give("too"))) == (
            ["done", "too"],
            False,
        )


async def test_a_task_that_goes_on() -> None:
    """A wait that is given up leaves the task alone."""
    event = anyio.Event()
    async with Service() as service:
        task = service.add_future(event.wait())
        assert (await service.wait(task, timeout=0.001)).timed_out
        assert not task.done()
        event.set()
        assert not (await service.wait(task, timeout=5)).timed_out


class Direct(Service):
    """A task awaits another one of the service."""

    @Service.task
    async def main(self) -> None:
        await self.add_future(anyio.sleep_forever())


class ThroughAnother(Service):
    """A task awaits one that awaits one."""

    @Service.task
    async def main(self) -> None:
        await self.add_future(self.middle())

    async def middle(self) -> None:
        await self.add_future(anyio.sleep_forever())


class InGroup(Service):
    """A task has a group, in which several await others."""

    @Service.task
    async def main(self) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(self.wait_for_one)

    async def wait_for_one(self) -> None:
        await self.add_future(anyio.sleep_forever())


class OfChild(Service):
    """A task awaits one of a child, which is stopped before it."""

    def __post_init__(self) -> None:
        self.child = self.add_dependency(Service())

    async def on_started(self) -> None:
        self.add_future(self.main())

    async def main(self) -> None:
        await self.child.add_future(anyio.sleep_forever())


class Insisting(Service):
    """A task that is to be begun again when it fails."""

    @Service.task(on_error="restart")
    async def main(self) -> None:
        await self.add_future(anyio.sleep_forever())


class Mixed(ServiceMixin):
    """The same with the other face."""

    async def start(self) -> None:
        self.add_task(self.main())

    async def main(self) -> None:
        await self.add_task(anyio.sleep_forever())


@pytest.mark.parametrize(
    "kind",
    [Direct, ThroughAnother, InGroup, OfChild, Insisting, Mixed],
    ids=lambda kind: kind.__name__,
)
async def test_a_stop_that_ends_what_is_awaited_first(
    kind: type[Service | ServiceMixin], caplog: pytest.LogCaptureFixture
) -> None:
    """It was about to end who awaits it as well: no failure, and nothing to tell."""
    async with kind() as service:
        await anyio.wait_all_tasks_blocked()
        if isinstance(service, Service):
            await service.restart()
            await anyio.wait_all_tasks_blocked()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_task_that_is_cancelled_by_hand_is_one_that_is_awaited_in_vain() -> None:
    """That is a failure of who awaits it, also if a stop follows."""

    class Vain(Direct):
        async def on_start(self) -> None:
            self.other = self.add_future(anyio.sleep_forever())

        @Service.task
        async def main(self) -> None:
            await self.other

    service = Vain()
    with pytest.raises(anyio.TaskCancelled):
        async with service:
            await anyio.wait_all_tasks_blocked()
            service.other.cancel()
    assert [type(exc) for exc in service.failures] == [anyio.TaskCancelled]


async def test_a_child_that_is_stopped_alone() -> None:
    """Who awaits a task of it, and is not about to stop, has failed."""
    service = OfChild()
    with pytest.raises(anyio.TaskCancelled):
        async with service:
            await anyio.wait_all_tasks_blocked()
            await service.child.stop()
            await anyio.sleep_forever()
    assert service.crashed
