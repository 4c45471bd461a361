"""What is left behind is named; what is not, is not."""

from __future__ import annotations

import gc
import threading
import time

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from structmode import Service
from structmode.testing import LeftBehind, nothing_left_behind


class App(Service):
    """Does nothing."""


async def test_nothing_is_left() -> None:
    """Tasks that have ended, services that have stopped and idle workers are no leaks."""
    async with nothing_left_behind():
        async with App() as app:
            app.add_future(anyio.sleep(0.001))
            await anyio.to_thread.run_sync(time.sleep, 0.0)
        app = App()
        await app.start()
        await app.stop()
        thread = threading.Thread(target=time.sleep, args=(0.05,))
        thread.start()  # is given time to end


async def test_a_task_left() -> None:
    """A task that goes on is named."""
    async with anyio.create_task_group() as group:
        with pytest.raises(LeftBehind, match=r"left behind: task the sleeper$"):
            async with nothing_left_behind():
                group.start_soon(anyio.sleep_forever, name="the sleeper")
        group.cancel_scope.cancel()


async def test_a_task_from_before() -> None:
    """A task that was there before is not taken for a leak."""
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep_forever)
        async with nothing_left_behind():
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()


async def test_a_service_left() -> None:
    """A service that still runs is named."""
    app = App()
    with pytest.raises(LeftBehind, match=r"service <App: running, 0 tasks>, task "):
        async with nothing_left_behind():
            await app.start()
    await app.stop()


async def test_a_thread_left() -> None:
    """A thread that goes on is named."""
    event = threading.Event()
    thread = threading.Thread(target=event.wait, name="the waiter")
    with pytest.raises(LeftBehind, match=r"left behind: thread the waiter$"):
        async with nothing_left_behind():
            thread.start()
    event.set()
    thread.join()


async def test_a_coroutine_dropped() -> None:
    """A coroutine that nobody awaited is named."""
    gc.collect()
    with pytest.raises(LeftBehind, match="coroutine 'sleep' was never awaited"):
        async with nothing_left_behind():
            cycle: list[object] = [anyio.sleep(1.0)]
            cycle.append(cycle)
            del cycle


async def test_the_error_of_the_block_goes_first() -> None:
    """What the block raises leaves it, whatever is left."""
    async with anyio.create_task_group() as group:
        with pytest.raises(ValueError, match=r"^mine$"):
            async with nothing_left_behind():
                group.start_soon(anyio.sleep_forever)
                raise ValueError("mine")
        group.cancel_scope.cancel()


async def test_it_is_an_assertion() -> None:
    """A leak is a failure of the test, not an error in it."""
    assert issubclass(LeftBehind, AssertionError)
