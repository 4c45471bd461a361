"""An event that can be cleared again, on every event loop."""

from __future__ import annotations

import asyncio
import contextvars

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from structmode import Service
from structmode.exceptions import AsyncioRequired, EventLoopMismatch
from structmode.utils.locks import Event

SHARED = Event()


def test_an_event_needs_no_loop() -> None:
    """It may be made, set, cleared and asked anywhere."""
    event = Event(loop=None)
    assert not event.is_set()
    event.set()
    event.set()
    assert event.is_set()
    event.clear()
    assert not event.is_set()


async def test_all_who_wait_are_woken() -> None:
    """`wait` returns True to each of them, and at once if the event is set."""
    event = Event()
    async with anyio.create_task_group() as group:
        handles = [group.start_soon(event.wait) for _ in range(5)]
        await anyio.wait_all_tasks_blocked()
        event.set()
        assert [await handle for handle in handles] == [True] * 5
    assert await event.wait()


async def test_who_has_been_woken_goes_on_though_the_event_is_cleared() -> None:
    """As with asyncio's: `set` and `clear` together let those go who wait then, and nobody else."""
    event = Event()
    async with anyio.create_task_group() as group:
        before = group.start_soon(event.wait)
        await anyio.wait_all_tasks_blocked()
        event.set()
        event.clear()
        after = group.start_soon(event.wait)
        assert await before
        await anyio.wait_all_tasks_blocked()
        assert after.status is anyio.TaskHandle.Status.PENDING
        event.set()
        assert await after


async def test_who_comes_while_it_is_set_goes_on() -> None:
    """Also when it is cleared before that task has its turn."""
    event = Event()
    event.set()
    async with anyio.create_task_group() as group:
        handles = [group.start_soon(event.wait) for _ in range(3)]
        while len(event._line) < 3:
            await anyio.lowlevel.checkpoint()
            if any(handle.status.name == "FINISHED" for handle in handles):
                break
        event.clear()
        await anyio.wait_all_tasks_blocked()
        done = [handle.status.name for handle in handles]
        event.set()
    assert "FINISHED" in done


async def test_wait_is_a_checkpoint() -> None:
    """It can be cancelled, set or not, and leaves nothing behind."""
    event = Event()
    for _ in range(2):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await event.wait()
        assert scope.cancelled_caught
        event.set()
    assert repr(event) == "<Event set, waited for by 0>"


async def test_services_can_wait_for_it() -> None:
    """`Service.wait` takes it as it takes other events."""
    event = Event()
    service = Service()
    service.mundane_level = "debug"
    async with service:
        event.set()
        outcome = await service.wait(event)
        assert outcome.result is True


async def test_another_thread_is_refused_while_somebody_waits() -> None:
    """It would set the flag and wake nobody; through the loop, it works."""
    event = Event()
    token = anyio.lowlevel.current_token()
    async with anyio.create_task_group() as group:
        group.start_soon(event.wait)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(EventLoopMismatch, match=r"set\(\) of an event"):
            await anyio.to_thread.run_sync(event.set)
        assert not event.is_set()
        await anyio.to_thread.run_sync(lambda: anyio.from_thread.run_sync(event.set, token=token))


async def test_one_event_serves_one_loop_after_another() -> None:
    """One made at module level is used on every backend."""
    SHARED.clear()
    async with anyio.create_task_group() as group:
        group.start_soon(SHARED.wait)
        await anyio.wait_all_tasks_blocked()
        SHARED.set()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_its_loop_is_the_running_one() -> None:
    """As in mode."""
    assert Event().loop is asyncio.get_running_loop()


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_there_is_no_such_loop_on_trio() -> None:
    """The error names what there is."""
    with pytest.raises(AsyncioRequired, match=r"Event.loop needs asyncio.*current_token"):
        _ = Event().loop


async def test_a_callback_of_the_event_loop_may_set_it(anyio_backend_name: str) -> None:
    """It runs in no task, and on the loop all the same: what ``call_soon_threadsafe`` was given, or the handler of a signal."""
    if anyio_backend_name == "trio":
        pytest.skip("it has no such callbacks")
    event = Event()
    async with anyio.create_task_group() as group:
        group.start_soon(event.wait)
        await anyio.wait_all_tasks_blocked()
        asyncio.get_running_loop().call_soon_threadsafe(event.set, context=contextvars.Context())


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_callback_of_another_event_loop_may_not() -> None:
    """It is as far away as a task there is."""
    event = Event()
    refused: list[BaseException] = []

    def set_it() -> None:
        try:
            event.set()
        except EventLoopMismatch as exc:
            refused.append(exc)

    async def elsewhere() -> None:
        asyncio.get_running_loop().call_soon(set_it, context=contextvars.Context())
        await asyncio.sleep(0.01)

    async with anyio.create_task_group() as group:
        group.start_soon(event.wait)
        await anyio.wait_all_tasks_blocked()
        await anyio.to_thread.run_sync(asyncio.run, elsewhere())
        assert len(refused) == 1
        event.set()
