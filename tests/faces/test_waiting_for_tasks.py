"""Waiting for the handle of a task, which is no event, by itself and beside others."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from structmode import Service
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
