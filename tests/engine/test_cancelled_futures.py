"""What asyncio raises in who awaits a future that somebody cancelled: to a unit that is a failure like any other."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from structmode._engine import StopSignal, Task, all_of, first_of
from structmode.exceptions import ShutdownTimeout
from structmode.testing import virtual_backend

from .unit import Unit, doing, settle


@pytest.fixture(scope="module", params=["asyncio", "asyncio+uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The backends that have such a thing."""
    return "asyncio", {"debug": True, "use_uvloop": request.param == "asyncio+uvloop"}


async def await_cancelled(unit: object = None) -> None:
    """Await a future that is cancelled."""
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


HOOKS = {
    "renew": "on_restart",
    "first": "on_first_start",
    "set_up": "on_start",
    "ready": "on_started",
}


@pytest.mark.parametrize(("step", "name"), HOOKS.items())
async def test_in_a_hook_of_the_start(step: str, name: str) -> None:
    """The start fails, and the error names the hook."""
    unit = Unit("a", [], **doing({step: await_cancelled}))
    with pytest.raises(anyio.TaskCancelled) as caught:
        await unit.life.start(restarting=step == "renew")
    assert str(caught.value) == f"{name} awaited something that was cancelled"
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert unit.state == "stopped"


@pytest.mark.parametrize(("step", "name"), [("tear_down", "on_stop"), ("farewell", "on_shutdown")])
async def test_in_a_hook_of_the_stop(step: str, name: str) -> None:
    """The stop goes on to its end, and raises an error that names the hook."""
    unit = Unit("a", [], **doing({step: await_cancelled}))
    await unit.life.start()
    with pytest.raises(anyio.TaskCancelled) as caught:
        await unit.life.stop()
    assert str(caught.value) == f"{name} awaited something that was cancelled"
    assert unit.log[-1] == "a.farewell"


async def test_in_a_callback() -> None:
    """A callback on the stack of contexts: the error names the step."""
    unit = Unit("a", [])
    await unit.life.start()
    unit.run.contexts.push_async_callback(await_cancelled)
    with pytest.raises(anyio.TaskCancelled) as caught:
        await unit.life.stop()
    assert str(caught.value) == "close contexts awaited something that was cancelled"


def test_in_a_callback_as_time_is_up() -> None:
    """What a callback awaits is cancelled in the very instant in which its time ends: it was late, and has not failed."""

    async def main() -> None:
        unit = Unit("a", [])
        await unit.life.start()
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        async def callback() -> None:
            await future

        unit.run.contexts.push_async_callback(callback)
        # Before the deadline, and in the same pass of the event loop.
        loop.call_at(loop.time() + unit.stop_timeout - 1e-10, future.cancel)
        with pytest.raises(ShutdownTimeout, match="a: close contexts"):
            await unit.life.stop()
        assert [type(exc) for exc in unit.run.failures] == [ShutdownTimeout]

    anyio.run(main, **virtual_backend("asyncio"))


async def test_in_a_task() -> None:
    """The unit crashes, and the error names the task."""
    unit = Unit("a", [])
    with pytest.raises(anyio.TaskCancelled) as caught:
        async with unit.life.block():
            unit.begin(await_cancelled, "work")
            await anyio.sleep_forever()
    assert str(caught.value) == "work awaited something that was cancelled"


@pytest.mark.parametrize("wait", [all_of, first_of])
@pytest.mark.parametrize("others", [0, 1])
async def test_in_a_wait(wait: Any, others: int) -> None:
    """The wait raises it, and says that a wait was what met it."""
    things = [await_cancelled, *[anyio.sleep_forever] * others]
    with pytest.raises(anyio.TaskCancelled) as caught:
        await wait(StopSignal(), things)
    assert str(caught.value) == "a wait awaited something that was cancelled"


async def test_part_of_a_wait_cancelled() -> None:
    """Anybody may cancel a task of a wait for several things; the wait can't be complete then."""

    async def wait() -> None:
        await all_of(StopSignal(), [anyio.sleep_forever, anyio.sleep_forever])

    before = asyncio.all_tasks()
    waiting = asyncio.create_task(wait())
    await settle()
    part = next(iter(asyncio.all_tasks() - before - {waiting}))
    part.cancel()
    with pytest.raises((anyio.TaskCancelled, asyncio.CancelledError)):
        await waiting


async def test_in_a_task_by_hand() -> None:
    """A task says so itself, to whoever asks it."""
    task: Task[None] = Task(await_cancelled(), "by hand")
    failure = await task.run()
    assert isinstance(failure, anyio.TaskCancelled)
    assert str(failure) == "by hand awaited something that was cancelled"
    assert (task.cancelled(), task.exception()) == (False, failure)


async def test_a_block_whose_task_is_cancelled_while_it_is_left() -> None:
    """The stop is completed, and then the cancellation goes on: it is not swallowed."""
    gate = anyio.Event()
    unit = Unit("a", [], tear_down=lambda _: gate.wait())
    after: list[str] = []

    async def main() -> None:
        async with unit.life.block():
            pass
        after.append("went on")  # pragma: no cover - must not be reached

    task = asyncio.create_task(main())
    await settle()
    assert unit.log[-1] == "a.tear_down"
    task.cancel()
    await settle()
    assert not task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert unit.log[-1] == "a.farewell"
    assert after == []
