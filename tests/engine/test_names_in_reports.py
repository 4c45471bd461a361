"""How what the engine does by itself, and what a unit has no other name for, is called in reports."""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

import anyio
import pytest

from structmode.exceptions import ShutdownTimeout, StartTimeout

from .unit import Unit, hanging, raising, settle


class Unnamed(Unit):
    """Has no names of its own for its steps but for one."""

    step_names: Mapping[str, str] = MappingProxyType({"set_up": "begin"})


async def test_a_step_without_another_name() -> None:
    """It is called as the engine calls it: where it hangs, and where it fails."""
    unit = Unnamed("a", [], tear_down=hanging, farewell=raising(OSError("late")))
    unit.stop_timeout = 0.05
    await unit.life.start()
    with pytest.raises(ShutdownTimeout) as caught:
        await unit.life.stop()
    assert [(one.owner, one.task) for one in caught.value.stuck] == [("a", "tear_down")]
    assert [origin for _, origin, _ in unit.failed] == ["stop", "farewell"]


async def test_a_limited_start_is_watched_by_name() -> None:
    """As long as a start is watched, there is a task that is called after the limit; and then no more."""
    counts: list[int] = []

    async def count(unit: Unit) -> None:
        names = [task.name for task in anyio.get_running_tasks()]
        counts.append(names.count("start_timeout"))

    unit = Unit("a", [], ready=count)
    unit.start_timeout = 1e6
    async with unit.life.block():
        await settle()
        await count(unit)
    assert counts == [1, 0]


async def test_a_start_that_takes_too_long_is_told_by_the_limit() -> None:
    """The failure of such a start is told as one of the limit, and not of the hook that it met."""
    unit = Unit("a", [], set_up=hanging)
    unit.start_timeout = 0.05
    with pytest.raises(StartTimeout) as caught:
        await unit.life.start()
    assert unit.failed == [(caught.value, "start_timeout", "crash")]


@pytest.mark.parametrize("limit", [math.inf, 1e6])
async def test_a_later_failure_of_a_start(limit: float) -> None:
    """What a hook raises as its start is called off is noted as of the start, whether that has a limit or not."""
    first = OSError("first")

    async def clumsy(unit: Unit) -> None:
        _ = unit.begin(raising(first))
        try:
            await anyio.sleep_forever()
        finally:
            raise KeyError("clumsy")

    unit = Unit("a", [], ready=clumsy)
    unit.start_timeout = limit
    with pytest.raises(OSError, match="first") as caught:
        await unit.life.start()
    assert caught.value is first
    (note,) = first.__notes__
    assert note.startswith("later, in start of a: KeyError('clumsy')")


class Recording(asyncio.SelectorEventLoop):
    """An event loop that knows the last future that was made in each task."""

    def __init__(self) -> None:
        super().__init__()
        self.latest: dict[asyncio.Task[object] | None, asyncio.Future[object]] = {}

    def create_future(self) -> asyncio.Future[object]:
        future = super().create_future()
        self.latest[asyncio.current_task()] = future
        return future


def test_an_interrupt_of_a_run_at_rest() -> None:
    """What lands in a unit's own task while that waits to be stopped, as Ctrl-C may, is told as a crash of the run."""
    interrupt = KeyboardInterrupt()
    loop = Recording()
    tasks: list[asyncio.Task[object] | None] = []

    async def note_task(unit: Unit) -> None:
        tasks.append(asyncio.current_task())

    unit = Unit("a", [], ready=note_task)

    async def main() -> None:
        async with unit.life.block():
            await anyio.sleep(0)
            loop.latest[tasks[0]].set_exception(interrupt)
            await anyio.sleep_forever()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        with pytest.raises(KeyboardInterrupt) as caught:
            runner.run(main())
    assert caught.value is interrupt
    assert unit.failed == [(interrupt, "run", "crash")]


def test_a_task_that_a_callback_begins() -> None:
    """A task is called as who begins it says, also if that is a callback of asyncio's, which runs in no task itself."""

    async def main() -> None:
        unit = Unit("a", [])
        async with unit.life.block():
            # As a thread does that knows nothing of anyio.
            elsewhere = contextvars.Context()
            begin = partial(unit.begin, hanging, "chosen")
            asyncio.get_running_loop().call_soon(elsewhere.run, begin)
            await settle()
            assert "chosen" in [task.name for task in anyio.get_running_tasks()]

    asyncio.run(main())
