"""What is left behind is named; what is not, is not."""

from __future__ import annotations

import gc
import sys
import threading
import time
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from structmode import Service
from structmode.testing import LeftBehind, nothing_left_behind


class App(Service):
    """Does nothing."""


@contextmanager
def as_errors_nobody_can_catch() -> Generator[list[object]]:
    """Collect errors that are raised where nobody can catch them."""
    errors: list[object] = []
    before, sys.unraisablehook = sys.unraisablehook, lambda error: errors.append(error.exc_type)
    try:
        yield errors
    finally:
        sys.unraisablehook = before


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


async def nobody_awaits_it() -> None:
    """Do nothing; the tests drop its coroutine."""


NAMED = r"coroutine 'nobody_awaits_it' was never awaited"


@contextmanager
def cycles_stay() -> Generator[None]:
    """Have nobody look for cycles but who does it by himself."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def drop_in_a_cycle() -> None:
    """Drop a coroutine that stays until somebody looks for cycles."""
    cycle: list[object] = [nobody_awaits_it()]
    cycle.append(cycle)


@pytest.mark.parametrize("what_to_do", ["error", "ignore", "always"])
async def test_a_coroutine_dropped(what_to_do: Literal["error", "ignore", "always"]) -> None:
    """A coroutine that nobody awaited is named, whatever is done with warnings; the warning comes as it does elsewhere."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter(what_to_do)
        # As an error it goes to whoever is told of errors that nobody can catch, and that is pytest.
        with as_errors_nobody_can_catch() as errors:
            with pytest.raises(LeftBehind, match=rf"left behind: {NAMED}[^,]*(, made in .*)?$"):
                async with nothing_left_behind():
                    nobody_awaits_it()  # type: ignore[unused-coroutine] # pyright: ignore[reportUnusedCoroutine]
    assert len(warned) == (what_to_do == "always")
    assert len(errors) == (what_to_do == "error")


async def test_a_coroutine_dropped_in_a_cycle() -> None:
    """One that is part of a cycle is named, too; that is told once, and not by a warning as well."""
    with cycles_stay(), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(LeftBehind, match=NAMED):
            async with nothing_left_behind():
                drop_in_a_cycle()
    assert warned == []


@pytest.mark.parametrize("what_to_do", ["error", "always"])
async def test_a_coroutine_dropped_before(what_to_do: Literal["error", "always"]) -> None:
    """What others have dropped before is no fault of the block; there is a warning of it."""
    with cycles_stay(), warnings.catch_warnings(record=True) as warned:
        drop_in_a_cycle()
        warnings.simplefilter(what_to_do)
        async with nothing_left_behind():
            pass
    assert [str(one.message).splitlines()[0] for one in warned] == [
        "coroutine 'nobody_awaits_it' was never awaited"
    ]


async def test_a_coroutine_dropped_in_the_inner_of_two_blocks() -> None:
    """Blocks in blocks each see what is dropped in them, and nothing after them."""
    with pytest.raises(LeftBehind, match=NAMED):
        async with nothing_left_behind():
            with pytest.raises(LeftBehind, match=NAMED):
                async with nothing_left_behind():
                    drop_in_a_cycle()
            async with nothing_left_behind():
                pass
    with pytest.warns(RuntimeWarning, match=NAMED):
        nobody_awaits_it()  # type: ignore[unused-coroutine] # pyright: ignore[reportUnusedCoroutine]


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
