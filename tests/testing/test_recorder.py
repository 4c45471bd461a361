"""Events recorded, put in order, waited for."""

from __future__ import annotations

import anyio
import pytest

from structmode import Service
from structmode.events import Crashed, Started, Stopped
from structmode.exceptions import LifecycleError
from structmode.testing import Recorder, VirtualClock, wait_for_event, wait_for_state


class Cache(Service):
    """A child."""


class App(Service):
    """A service with a child."""

    def __post_init__(self) -> None:
        self.cache = self.add_dependency(Cache())


async def test_recorded_lines() -> None:
    """What happens in the block is recorded, in order, and nothing after it."""
    app = App()
    with Recorder() as record:
        async with app:
            pass
    async with app:
        pass
    assert record.lines() == [
        *("Starting App", "Starting Cache", "Started Cache", "Started App"),
        *("Stopping App", "Stopping Cache", "Stopped Cache", "Stopped App"),
    ]
    assert record.lines(app.cache) == [
        *("Starting Cache", "Started Cache", "Stopping Cache", "Stopped Cache"),
    ]
    assert [event.subject for event in record.events][:2] == [app, app.cache]


async def test_entered_twice() -> None:
    """A recorder that records can't be entered; when it has been left, it can, and goes on with what it has."""
    with Recorder() as record:
        with pytest.raises(LifecycleError, match=r"records already\. Enter another Recorder\(\)"):
            record.__enter__()
        async with Cache():
            pass
    async with Cache():
        pass
    lines = ["Starting Cache", "Started Cache", "Stopping Cache", "Stopped Cache"]
    assert record.lines() == lines
    with record:
        async with Cache():
            pass
    assert record.lines() == lines * 2


async def test_assert_order() -> None:
    """An order holds if the lines come one after the other, whatever comes between them."""
    with Recorder() as record:
        async with App():
            pass
    record.assert_order()
    record.assert_order("Started Cache", "Started App", "Stopping App", "Stopped Cache")
    with pytest.raises(
        AssertionError, match=r"'Started Cache' came too early; recorded was:\n    Starting App\n"
    ):
        record.assert_order("Started App", "Started Cache")
    with pytest.raises(AssertionError, match="'Crashed App' was not recorded"):
        record.assert_order("Started App", "Crashed App")
    with pytest.raises(AssertionError, match="came too early"):
        record.assert_order("Started App", "Started App")


async def test_assert_order_of_nothing() -> None:
    """Without any event, the text says so."""
    with Recorder() as record:
        pass
    with pytest.raises(AssertionError, match=r"recorded was:\n    \(nothing\)"):
        record.assert_order("Started App")


async def test_wait_for_event() -> None:
    """A wait for an event ends with the event, of the service that was asked for."""
    app = App()
    async with anyio.create_task_group() as group:
        group.start_soon(app.start)
        event = await wait_for_event(Started, app)
        assert event == Started(app)
        assert app.started
        group.start_soon(app.stop)
        assert (await wait_for_event(Stopped)).subject is app.cache
        await wait_for_event(Stopped, app)


async def test_wait_for_a_crash() -> None:
    """What an event carries comes with it."""
    app = App()
    reason = ValueError("reason")
    await app.start()
    async with anyio.create_task_group() as group:
        group.start_soon(app.crash, reason)
        assert (await wait_for_event(Crashed, app)).reason is reason
    await wait_for_state(app, "crashed")


async def test_wait_for_state() -> None:
    """A wait for a state ends when the service is in it, or at once."""
    app = App()
    await wait_for_state(app, "init")
    async with anyio.create_task_group() as group:
        group.start_soon(app.start)
        await wait_for_state(app, "running")
        await wait_for_state(app, "running")
        group.start_soon(app.stop)
        await wait_for_state(app, "shutdown")
    assert app.state == "shutdown"


async def test_waits_that_are_given_up() -> None:
    """A wait that takes too long says for what."""
    app = App()
    with VirtualClock() as clock:
        with pytest.raises(TimeoutError, match="App was not 'running' within 5 s; it is 'init'"):
            await wait_for_state(app, "running")
        assert clock.elapsed == pytest.approx(5.0)
        with pytest.raises(TimeoutError, match="no Started of <App: init> within 60 s"):
            await wait_for_event(Started, app, timeout=60.0)
        with pytest.raises(TimeoutError, match="no Stopped of any service within 1 s"):
            await wait_for_event(Stopped, timeout=1.0)
        assert clock.elapsed == pytest.approx(66.0)


async def test_left_without_being_entered() -> None:
    """A recorder or a clock in an exit stack may be left though it was never entered, or once more: nothing happens."""
    recorder, clock = Recorder(), VirtualClock()
    for block in (recorder, clock):
        block.__exit__(None, None, None)
    with recorder:
        pass
    recorder.__exit__(None, None, None)
    async with App():
        pass
    assert recorder.events == []
