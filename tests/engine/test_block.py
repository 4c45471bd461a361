"""Blocks: what leaves `async with`, what becomes of its body, and that nothing is left when it is over."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import anyio
import anyio.lowlevel
import pytest

from structmode.exceptions import LifecycleError, StartAborted

from .unit import START, STOP, Unit, doing, family, hanging, raising, settle, yielding


class Boom(Exception):
    """The crash of these tests."""


async def assert_usable(unit: Unit) -> None:
    """See that a unit may be started again, with and without a block."""
    unit.steps.clear()
    await unit.life.start()
    await unit.life.stop()
    async with unit.life.block():
        assert unit.state == "running"
    assert unit.state == "stopped"


# --- The body -------------------------------------------------------------------------------------


async def test_order() -> None:
    """The body runs between the start and the stop."""
    log: list[str] = []
    units = family(log)
    async with units["a"].life.block():
        assert {unit.state for unit in units.values()} == {"running"}
        log.append("body")
    assert log == [*START, "body", *STOP]


async def test_body_raises() -> None:
    """What the body raises leaves as it was raised, after the stop."""
    log: list[str] = []
    units, error = family(log), ValueError("body")
    with pytest.raises(ValueError, match="body") as caught:
        async with units["a"].life.block():
            raise error
    assert caught.value is error
    assert log == [*START, *STOP]
    assert units["a"].run.crash_reason is None
    assert not getattr(error, "__notes__", ())


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), SystemExit(3), GeneratorExit(), ExceptionGroup("g", [KeyError()])],
)
async def test_body_raises_anything(error: BaseException) -> None:
    """Any exception of the body leaves as it was raised."""
    units = family([])
    with pytest.raises(type(error)) as caught:
        async with units["a"].life.block():
            raise error
    assert caught.value is error
    assert units["a"].state == "stopped"


async def test_body_returns_early() -> None:
    """Leaving the body by `return` or `break` stops as well."""
    unit = Unit("a", [])

    async def function() -> int:
        async with unit.life.block():
            return 3
        raise AssertionError("the return was swallowed")

    assert await function() == 3
    assert unit.state == "stopped"
    for _ in range(2):  # pragma: no branch - left by break
        async with unit.life.block():
            break
    assert unit.state == "stopped"


async def test_crash_cancels_the_body() -> None:
    """A crash cancels the body; the reason leaves the block as it was raised, after the stop."""
    log: list[str] = []
    units, error = family(log), Boom()
    with pytest.raises(Boom) as caught:
        async with units["a"].life.block():
            units["c"].begin(raising(error))
            try:
                await anyio.sleep_forever()
            finally:
                log.append("body ends")
    assert caught.value is error
    assert log == [*START, "c:task", "body ends", *STOP] or log.index("body ends") < log.index(
        "a.farewell"
    )


async def test_crash_while_the_body_does_not_wait() -> None:
    """A crash that finds the body without a checkpoint leaves the block all the same."""
    unit, error = Unit("a", []), Boom()
    with pytest.raises(Boom) as caught:
        async with unit.life.block():
            unit.life.fail(error, "test")
    assert caught.value is error


async def test_crash_and_body_raises() -> None:
    """If the body raises on its way out of a crash, the crash leaves, with the other noted on it."""
    unit, error = Unit("a", []), Boom()
    with pytest.raises(Boom) as caught:
        async with unit.life.block():
            unit.life.fail(error, "test")
            try:
                await anyio.sleep_forever()
            finally:
                raise KeyError("body")
    assert caught.value is error
    assert any("KeyError('body')" in note for note in error.__notes__)


async def test_body_raises_and_stop_fails() -> None:
    """If the stop fails after the body has raised, what the body raised leaves, with the other noted on it."""
    unit, error = Unit("a", [], tear_down=raising(KeyError("stop"))), ValueError("body")
    with pytest.raises(ValueError, match="body") as caught:
        async with unit.life.block():
            raise error
    assert caught.value is error
    assert any("KeyError('stop')" in note for note in error.__notes__)


async def test_body_raises_the_crash_reason() -> None:
    """If the body itself raises the very crash reason, it leaves once, and is not noted on itself."""
    unit, error = Unit("a", []), Boom()
    with pytest.raises(Boom) as caught:
        async with unit.life.block():
            task = unit.begin(raising(error))
            with anyio.CancelScope(shield=True):
                await task
    assert caught.value is error
    assert not getattr(error, "__notes__", ())


async def test_failing_stop() -> None:
    """What fails in the stop leaves the block."""
    unit, error = Unit("a", [], farewell=raising(error := Boom())), error
    with pytest.raises(Boom) as caught:
        async with unit.life.block():
            pass
    assert caught.value is error


async def test_crash_while_leaving() -> None:
    """What crashes while the block is being left, leaves it."""
    units, error = family([], a={"tear_down": yielding}), Boom()

    async def crash(unit: Unit) -> None:
        await unit.life.signal.wait()
        raise error

    with pytest.raises(Boom) as caught:
        async with units["a"].life.block():
            units["a"].begin(crash)
            await settle()
    assert caught.value is error
    await assert_usable(units["a"])


# --- Entering -------------------------------------------------------------------------------------


async def test_failing_start() -> None:
    """If the start fails, the body does not run, and the error leaves as it was raised."""
    unit, error = Unit("a", [], ready=raising(error := Boom())), error
    with pytest.raises(Boom) as caught:
        async with unit.life.block():
            raise AssertionError
    assert caught.value is error
    await assert_usable(unit)


async def test_crash_while_entering() -> None:
    """A crash while the block is being entered leaves as the failure of the start, never as a cancellation."""
    units, error = family([], a={"ready": hanging}), Boom()
    async with anyio.create_task_group() as group:

        async def crash() -> None:
            await settle()
            units["c"].life.fail(error, "test")

        group.start_soon(crash)
        with pytest.raises(Boom) as caught:
            async with units["a"].life.block():
                raise AssertionError
    assert caught.value is error


async def test_stopped_while_entering() -> None:
    """A stop while the block is being entered raises StartAborted from it."""
    unit = Unit("a", [], ready=hanging)
    async with anyio.create_task_group() as group:

        async def stop() -> None:
            await settle()
            await unit.life.stop()

        group.start_soon(stop)
        with pytest.raises(StartAborted):
            async with unit.life.block():
                raise AssertionError
    await assert_usable(unit)


async def test_entering_what_runs() -> None:
    """What runs can't be entered, and goes on."""
    unit = Unit("a", [])
    async with unit.life.block():
        with pytest.raises(LifecycleError, match="can't be entered"):
            async with unit.life.block():
                raise AssertionError
        assert unit.state == "running"
    assert unit.state == "stopped"


# --- Cancellation from outside --------------------------------------------------------------------


async def test_timeout_around() -> None:
    """A timeout around the block stops in order, and is not swallowed."""
    log: list[str] = []
    units = family(log, b={"tear_down": yielding}, a={"farewell": yielding})
    with anyio.CancelScope() as scope:
        async with units["a"].life.block():
            scope.deadline = anyio.current_time() + 0.01  # not before: the start may take its time
            await anyio.sleep_forever()
        raise AssertionError
    assert scope.cancelled_caught
    assert log == [*START, *STOP]
    await assert_usable(units["a"])


async def test_cancelled_task_group() -> None:
    """A block in a task group that is cancelled stops in order; its hooks may still wait."""
    log: list[str] = []
    units = family(log, c={"tear_down": lambda _: anyio.sleep(0.01)})

    async def service() -> None:
        async with units["a"].life.block():
            await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as group:
            group.start_soon(service)
            await settle()
            raise Boom
    assert caught.group_contains(Boom)
    assert log == [*START, *STOP]


async def test_cancelled_without_a_checkpoint_in_the_body() -> None:
    """A cancellation that finds the body without a checkpoint goes on when the block has been left."""
    log: list[str] = []
    units = family(log)
    with anyio.CancelScope() as scope:
        async with units["a"].life.block():
            scope.cancel()
        await anyio.lowlevel.checkpoint()
        raise AssertionError
    assert scope.cancelled_caught
    assert log == [*START, *STOP]
    await assert_usable(units["a"])


async def test_cancelled_and_crashed() -> None:
    """If there is a crash besides the cancellation, the crash leaves: a failure is not lost."""
    for order in (1, -1):
        unit, error = Unit("a", []), Boom()
        with pytest.raises(Boom) as caught, anyio.CancelScope() as scope:
            async with unit.life.block():
                calls: list[Callable[[], object]] = [
                    scope.cancel,
                    partial(unit.life.fail, error, "test"),
                ]
                for call in calls[::order]:
                    call()
                await anyio.sleep_forever()
        assert caught.value is error
        await assert_usable(unit)


async def test_cancelled_and_stop_fails() -> None:
    """If the stop that follows a cancellation fails, the failure leaves."""
    unit, error = Unit("a", [], tear_down=raising(error := Boom())), error
    with pytest.raises(Boom) as caught, anyio.CancelScope() as scope:
        async with unit.life.block():
            scope.cancel()
            await anyio.sleep_forever()
    assert caught.value is error
    await assert_usable(unit)


async def test_cancelled_and_body_raises() -> None:
    """If the body answers a cancellation with an error, the error leaves."""
    unit, error = Unit("a", []), KeyError("body")
    with pytest.raises(KeyError) as caught, anyio.CancelScope() as scope:
        async with unit.life.block():
            try:
                scope.cancel()
                await anyio.sleep_forever()
            finally:
                raise error
    assert caught.value is error
    await assert_usable(unit)


async def test_nested_blocks_cancelled() -> None:
    """Blocks inside each other are stopped from the inside out."""
    log: list[str] = []
    with anyio.CancelScope() as scope:
        async with Unit("a", log).life.block(), Unit("b", log).life.block():
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert log[-4:] == ["b.tear_down", "b.farewell", "a.tear_down", "a.farewell"]


async def test_inner_block_crashes() -> None:
    """The crash of an inner block is an exception in the body of the outer one."""
    log: list[str] = []
    outer, inner, error = Unit("a", log), Unit("b", log), Boom()
    with pytest.raises(Boom) as caught:
        async with outer.life.block(), inner.life.block():
            inner.life.fail(error, "test")
            await anyio.sleep_forever()
    assert caught.value is error
    assert outer.run.crash_reason is None
    assert inner.run.crash_reason is error


# --- Its own stops and starts ---------------------------------------------------------------------


async def test_body_stops() -> None:
    """The body may stop the run itself; it goes on, and leaves in peace."""
    log: list[str] = []
    unit = Unit("a", log)
    async with unit.life.block():
        await unit.life.stop()
        assert unit.state == "stopped"
        await anyio.lowlevel.checkpoint()
        log.append("body")
    assert log == ["a.first", "a.set_up", "a.ready", "a.tear_down", "a.farewell", "body"]


async def test_body_stops_and_starts() -> None:
    """The body may stop the run and start a new one, which belongs to the block too."""
    log: list[str] = []
    unit, error = Unit("a", log), Boom()
    with pytest.raises(Boom) as caught:
        async with unit.life.block():
            for _ in range(2):
                await unit.life.stop()
                await unit.life.start()
            await unit.life.stop()
            assert await unit.life.maybe_start() is True
            unit.life.fail(error, "test")
            await anyio.sleep_forever()
    assert caught.value is error
    assert log.count("a.set_up") == log.count("a.farewell") == 4


async def test_body_receives_the_error_of_its_stop() -> None:
    """A failure of the stop that the body asked for, received and dealt with, does not leave the block again."""
    unit, error = Unit("a", [], tear_down=raising(error := Boom())), error
    async with unit.life.block():
        with pytest.raises(Boom) as caught:
            await unit.life.stop()
    assert caught.value is error


async def test_error_of_a_stop_that_somebody_else_received() -> None:
    """A failure of a stop that another task asked for and received does not leave the block."""
    unit = Unit("a", [], tear_down=raising(Boom()))
    received: list[BaseException] = []

    async def stop() -> None:
        try:
            await unit.life.stop()
        except Boom as exc:
            received.append(exc)

    async with anyio.create_task_group() as group, unit.life.block():
        group.start_soon(stop)
        await settle()
    assert len(received) == 1


async def test_crash_of_a_former_run_of_the_block() -> None:
    """A crash that the body survived leaves the block, even if the body started again meanwhile."""
    unit, error = Unit("a", []), Boom()
    with pytest.raises(Boom) as caught:
        async with unit.life.block():
            with anyio.CancelScope(shield=True):
                unit.life.fail(error, "test")
                await unit.life.stop()
                unit.steps.clear()
                await unit.life.start()
                assert unit.state == "running"
    assert caught.value is error
    assert unit.state == "stopped"


async def test_stopped_from_inside() -> None:
    """When a task of the unit stops it, the body goes on, and may find out."""
    unit = Unit("a", [])
    async with unit.life.block():
        unit.begin(lambda unit: unit.life.stop())
        await unit.life.signal.wait()
        await settle()
        assert unit.state == "stopped"
    assert unit.run.failures == []


async def test_start_while_it_is_left() -> None:
    """While a block is being left, nothing can be started in it any more."""
    refused: list[LifecycleError] = []
    unit = Unit("a", [])

    async def start() -> None:
        await unit.run.finished.wait()
        try:
            await unit.life.start()
        except LifecycleError as exc:
            refused.append(exc)

    async with anyio.create_task_group() as group:
        async with unit.life.block():
            group.start_soon(start)
            await settle()
        await settle()
        if not refused:  # pragma: no cover - once the run is over, the block may be open or closed
            await unit.life.stop()
    assert unit.state == "stopped"
    await assert_usable(unit)


@pytest.mark.parametrize("step", ["tear_down", "farewell"])
async def test_restart_while_it_is_left(step: str) -> None:
    """A restart that is asked for while the block is being left comes too late: the block is left in bounded time."""
    log: list[str] = []

    async def again(unit: Unit) -> None:
        if len(log) < 20:  # pragma: no branch - a loop without end is cut short
            await unit.life.restart()

    unit = Unit("a", log, **doing({step: again}))
    async with unit.life.block():
        pass
    assert unit.state == "stopped"
    assert "a.renew" not in log
    await assert_usable(unit)


async def test_blocks_one_after_another() -> None:
    """The same unit may be entered again and again, also after a crash, a cancellation and a failing start."""
    log: list[str] = []
    unit = Unit("a", log)
    for n in range(6):
        unit.steps.clear()
        if n == 3:
            unit.steps["ready"] = raising(Boom())
        with anyio.move_on_after(0.01 if n == 2 else 5):
            try:
                async with unit.life.block():
                    if n == 1:
                        unit.life.fail(Boom(), "test")
                    if n in (1, 2):
                        await anyio.sleep_forever()
            except Boom:
                assert n in (1, 3)
    assert log.count("a.set_up") == log.count("a.farewell") == 6


async def test_child_in_a_block_of_its_own() -> None:
    """A child may be entered by itself while its parent does not run; then the parent can't start it."""
    log: list[str] = []
    child = Unit("b", log)
    parent = Unit("a", log, child)
    async with child.life.block():
        with pytest.raises(LifecycleError, match="b can't be started by a"):
            await parent.life.start()
        assert child.state == "running"
    await parent.life.start()
    assert child.run.parent is parent.run
    with pytest.raises(LifecycleError, match="under a"):
        async with child.life.block():
            raise AssertionError
    await parent.life.stop()


async def test_second_block_in_the_first() -> None:
    """Once its run has been stopped, a unit is still in its block: a second one is refused, and harms nothing."""
    unit = Unit("a", [])
    async with unit.life.block():
        await unit.life.stop()
        with pytest.raises(LifecycleError, match="it is in such a block already"):
            async with unit.life.block():
                pytest.fail("entered")
        await unit.life.start()
        assert unit.state == "running"
    assert unit.state == "stopped"
    async with unit.life.block():
        assert unit.state == "running"


async def test_second_crash_in_a_block() -> None:
    """A unit that crashes, is started again in the same block, and crashes again: the first failure leaves."""
    first, second = KeyError("first"), KeyError("second")
    unit = Unit("a", [])
    with pytest.raises(KeyError, match="first") as caught:
        async with unit.life.block():
            unit.begin(raising(first))
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await unit.life.stop()
                    await unit.life.start()
                    unit.begin(raising(second))
                    await unit.run.finished.wait()
    assert caught.value is first
    assert unit.run.failures == [second]
    await assert_usable(unit)
