"""The order of a stop holds whatever happened before and however it is forced, on a virtual clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal

import anyio
import pytest

from structmode._engine import sleep
from structmode.exceptions import ShutdownTimeout
from structmode.testing import VirtualClock, virtual_backend

from .unit import Unit, raising


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The event loops whose time can be virtual."""
    name: Literal["asyncio", "trio"] = request.param
    return name, virtual_backend(name)["backend_options"]


class Timed:
    """A log whose lines say when they were written."""

    def __init__(self, clock: VirtualClock) -> None:
        self.lines: list[tuple[float, str]] = []
        self._clock = clock

    def note(self, line: str) -> None:
        self.lines.append((round(self._clock.elapsed, 3), line))

    @asynccontextmanager
    async def context(self, name: str, seconds: float) -> AsyncIterator[None]:
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(seconds)
            self.note(f"{name} left")

    @contextmanager
    def plain_context(self, name: str) -> Iterator[None]:
        yield
        self.note(f"{name} left")


async def test_contexts_of_a_killed_run() -> None:
    """Contexts are left when the tasks that use them have ended, one after the other, also by a hard cancel."""
    with VirtualClock() as clock:
        log = Timed(clock)

        async def set_up(unit: Unit) -> None:
            await unit.run.contexts.enter_async_context(log.context("lower", 0.3))
            unit.run.contexts.sync.enter_context(log.plain_context("middle"))
            await unit.run.contexts.enter_async_context(log.context("upper", 0.2))

        async def use(unit: Unit) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.9)
                log.note("task ended")

        async def farewell(unit: Unit) -> None:
            log.note("farewell")

        unit = Unit("a", [], set_up=set_up, farewell=farewell, work={"use": use})
        unit.stop_timeout = 0.5
        await unit.life.start()
        with pytest.raises(ShutdownTimeout) as caught:
            await unit.life.stop()
        assert log.lines == [
            (0.9, "task ended"),
            (1.1, "upper left"),
            (1.1, "middle left"),
            (1.4, "lower left"),
            (1.4, "farewell"),
        ]
    assert [one.task for one in caught.value.stuck] == ["use"]


async def test_a_context_that_takes_too_long() -> None:
    """It is cancelled at the deadline, and named; those below it are left in their turn."""
    with VirtualClock() as clock:
        log = Timed(clock)

        @asynccontextmanager
        async def slow() -> AsyncIterator[None]:
            yield
            try:
                await anyio.sleep(60.0)
            finally:
                log.note("slow cut short")

        async def set_up(unit: Unit) -> None:
            await unit.run.contexts.enter_async_context(log.context("lower", 0.3))
            await unit.run.contexts.enter_async_context(slow())

        unit = Unit("a", [], set_up=set_up)
        unit.stop_timeout = 2.0
        await unit.life.start()
        with pytest.raises(ShutdownTimeout) as caught:
            await unit.life.stop()
        assert log.lines == [(2.0, "slow cut short"), (2.3, "lower left")]
    (stuck,) = caught.value.stuck
    assert stuck.task.endswith("slow")
    assert "sleep(60.0)" in stuck.stack


async def test_contexts_that_all_take_too_long() -> None:
    """The one that is being left at the deadline is cut short then, and each below it as soon as its turn has come."""
    with VirtualClock() as clock:
        log = Timed(clock)

        @asynccontextmanager
        async def slow(name: str) -> AsyncIterator[None]:
            yield
            try:
                await anyio.sleep(60.0)
            finally:
                log.note(f"{name} cut short")

        async def set_up(unit: Unit) -> None:
            for name in "cba":
                await unit.run.contexts.enter_async_context(slow(name))

        unit = Unit("u", [], set_up=set_up)
        unit.stop_timeout = 2.0
        await unit.life.start()
        with pytest.raises(ShutdownTimeout):
            await unit.life.stop()
        assert log.lines == [(2.0, f"{name} cut short") for name in "abc"]


async def test_contexts_that_ignore_everything() -> None:
    """Each is given up after the grace, and the next one has its turn; the run waits for them in the end."""
    with VirtualClock() as clock:
        log = Timed(clock)

        async def set_up(unit: Unit) -> None:
            for name, seconds in (("c", 0.1), ("b", 10.0), ("a", 20.0)):
                await unit.run.contexts.enter_async_context(log.context(name, seconds))

        async def farewell(unit: Unit) -> None:
            log.note("farewell")

        unit = Unit("u", [], set_up=set_up, farewell=farewell)
        unit.stop_timeout = 1.0
        await unit.life.start()
        run = unit.run
        run.request_stop()
        await run.finished.wait()
        assert isinstance(run.stop_error, ShutdownTimeout)
        assert log.lines == [
            (3.1, "c left"),
            (3.1, "farewell"),
            (12.0, "b left"),
            (20.0, "a left"),
        ]


async def test_a_callback_that_hangs() -> None:
    """What else lies on the stack is bounded too, also when the kill comes while a context is being left."""
    with VirtualClock() as clock:
        log = Timed(clock)

        async def hang() -> None:
            try:
                await anyio.sleep(60.0)
            finally:
                log.note("callback cut short")

        async def set_up(unit: Unit) -> None:
            unit.run.contexts.push_async_callback(hang)
            await unit.run.contexts.enter_async_context(log.context("upper", 0.5))

        unit = Unit("a", [], set_up=set_up)
        unit.stop_timeout = 0.2
        await unit.life.start()
        with pytest.raises(ShutdownTimeout):
            await unit.life.stop()
        assert log.lines == [(0.5, "upper left"), (0.5, "callback cut short")]


@pytest.mark.parametrize("again", range(5))
async def test_a_child_that_ignores_its_kill(again: int) -> None:
    """It is given up when its own wait is over: its last hook has been called, and only then it is the turn of the next."""
    with VirtualClock() as clock:
        log = Timed(clock)

        async def ignore(unit: Unit) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(5.0)

        def noting(line: str) -> Any:
            async def step(unit: Unit) -> None:
                log.note(line)

            return step

        first = Unit("x", [], tear_down=noting("x.tear_down"))
        second = Unit("b", [], farewell=noting("b.farewell"), work={"ignore": ignore})
        second.stop_timeout = 0.5
        top = Unit("a", [], first, second)
        await top.life.start()
        run = top.run
        run.request_stop()
        await run.finished.wait()
        assert log.lines == [(1.5, "b.farewell"), (1.5, "x.tear_down")]
        assert clock.elapsed == pytest.approx(5.0)
    assert [type(exc) for exc, _, _ in second.failed] == [ShutdownTimeout]  # told once, by itself


async def test_a_child_whose_hook_ignores_its_kill() -> None:
    """Nobody can end its wait for it, so its parent gives it up by itself, a little later."""
    with VirtualClock() as clock:
        log = Timed(clock)

        async def ignore(unit: Unit) -> None:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(5.0)
            log.note("b.tear_down ends")

        async def tear_down(unit: Unit) -> None:
            log.note("x.tear_down")

        second = Unit("b", [], tear_down=ignore)
        second.stop_timeout = 0.5
        top = Unit("a", [], Unit("x", [], tear_down=tear_down), second)
        await top.life.start()
        run = top.run
        run.request_stop()
        await run.finished.wait()
        assert log.lines == [(2.0, "x.tear_down"), (5.0, "b.tear_down ends")]
    # It is told of, though nothing of it was cut short, and it has ended since.
    error = run.stop_error
    assert isinstance(error, ShutdownTimeout)
    assert [(one.owner, one.task) for one in error.stuck] == [("b", "on_stop")]
    assert "in ignore" in error.stuck[0].stack
    assert [exc for exc, _, _ in second.failed] == [error]
    assert [fate for _, _, fate in top.failed] == ["unreceived"]  # nobody waits for the stop here


async def test_a_hook_that_ignores_its_cancellation() -> None:
    """A stop that took too long says so, also if nothing is left to cut short when that is noticed."""

    async def ignore(unit: Unit) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.5)

    with VirtualClock():
        unit = Unit("a", [], tear_down=ignore)
        unit.stop_timeout = 0.2
        await unit.life.start()
        with pytest.raises(ShutdownTimeout, match=r"a did not stop within 0\.2 s") as caught:
            await unit.life.stop()
    (stuck,) = caught.value.stuck
    assert (stuck.task, stuck.stack) == ("on_stop", "  (it has ended since)\n")


@pytest.mark.parametrize("how", ["stop and start", "restart", "started early"])
async def test_order_of_children(how: str) -> None:
    """Children stop in the reverse of the order in which they were added, whenever each was started."""
    log: list[str] = []
    first, second, third = (Unit(label, log) for label in "xyz")

    async def set_up(unit: Unit) -> None:
        if how == "started early":
            await third.life.start()
            await second.life.start()

    top = Unit("a", log, first, second, third, set_up=set_up)
    async with top.life.block():
        if how == "restart":
            await first.life.restart()
        elif how == "stop and start":
            await first.life.stop()
            await first.life.start()
        log.clear()
    assert [line for line in log if line.endswith("tear_down")] == [
        "a.tear_down",
        "z.tear_down",
        "y.tear_down",
        "x.tear_down",
    ]


@pytest.mark.parametrize("again", range(3))
async def test_a_failure_of_a_child_that_ends_out_of_turn(again: int) -> None:
    """What went wrong in a child is kept above it, also if the hard cancel ended it before its turn had come."""
    with VirtualClock():

        async def linger(unit: Unit) -> None:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.5)

        async def hang(unit: Unit) -> None:
            await anyio.sleep_forever()

        first, last = Unit("b", []), Unit("c", [], farewell=linger)
        top = Unit("a", [], first, last, tear_down=hang)
        top.stop_timeout = 2.0
        crash, later = ValueError("first"), ValueError("later")
        with pytest.raises(ValueError, match="first"):
            async with top.life.block():
                last.life.fail(crash, "test")
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(1.0)
                    first.life.fail(later, "test")
        assert top.run.failures[0] is crash
        assert isinstance(top.run.failures[1], ShutdownTimeout)
        assert top.run.failures[2:] == [later]


async def test_a_failure_of_a_child_that_is_ended_in_its_turn() -> None:
    """What went wrong in a child that the hard cancel ends, while it is waited for, is kept and noted once."""
    with VirtualClock():

        async def hang(unit: Unit) -> None:
            await anyio.sleep_forever()

        error = ValueError("early")
        child = Unit("b", [], tear_down=raising(error), farewell=hang)
        top = Unit("a", [], child)
        top.stop_timeout = 0.5
        await top.life.start()
        with pytest.raises(ShutdownTimeout) as caught:
            await top.life.stop()
    assert top.run.failures[0] is caught.value
    assert top.run.failures.count(error) == 1
    assert sum("ValueError('early')" in note for note in caught.value.__notes__) == 1


async def test_a_hook_that_fails_when_its_time_is_up() -> None:
    """Those below are cancelled before they hear of the failure: they do not go on as if they had been told to stop."""
    error = OSError("late")
    with VirtualClock() as clock:
        log = Timed(clock)

        async def fail_late(unit: Unit) -> None:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.7)
            raise error

        async def listen(unit: Unit) -> None:
            try:
                await sleep(unit.run.signal, 100.0)
            except anyio.get_cancelled_exc_class():
                log.note("cancelled")
                raise
            log.note("told")

        top = Unit("top", [], Unit("below", [], work={"listen": listen}), tear_down=fail_late)
        top.stop_timeout = 0.5
        await top.life.start()
        with pytest.raises(OSError, match="late") as caught:
            await top.life.stop()
    assert caught.value is error
    assert log.lines == [(0.7, "cancelled")]
    first, second = top.run.failures
    assert first is error
    assert isinstance(second, ShutdownTimeout)
    (late,) = second.stuck
    assert (late.owner, late.task, late.stack) == ("top", "on_stop", "  (it has ended since)\n")
