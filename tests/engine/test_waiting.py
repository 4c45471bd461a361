"""Waits that also end with the stop signal: what they return, what they raise, and that they leave nothing behind."""

from __future__ import annotations

import gc
import inspect
import math
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from structmode._engine import (
    Outcome,
    StopSignal,
    all_of,
    as_coroutine,
    close_all,
    first_of,
    sleep,
)

from .unit import settle

Wait = Callable[..., Awaitable[Outcome]]
both = pytest.mark.parametrize("wait", [all_of, first_of])


def given_signal() -> StopSignal:
    """Make a signal that has been given."""
    signal = StopSignal()
    signal.set()
    return signal


async def value(result: object, after: anyio.Event | None = None) -> object:
    """Return `result`, after an event if one is given."""
    if after is not None:
        await after.wait()
    return result


async def failing(exc: BaseException, after: anyio.Event | None = None) -> None:
    """Raise `exc`, after an event if one is given."""
    if after is not None:
        await after.wait()
    raise exc


class Witness:
    """Something to wait for, for ever, that notes whether it was begun, and left."""

    def __init__(self, on_exit: BaseException | None = None, result: object = None) -> None:
        self.begun = self.left = False
        self._on_exit = on_exit
        self._result = result

    async def __call__(self) -> object:
        self.begun = True
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            if self._result is not None:
                return self._result
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
            self.left = True
            if self._on_exit is not None:
                raise self._on_exit
        raise AssertionError


class Thenable:
    """An awaitable that is no coroutine."""

    def __init__(self, result: object) -> None:
        self._result = result

    def __await__(self) -> Generator[Any, Any, object]:
        yield from anyio.lowlevel.checkpoint().__await__()
        return self._result


# --- The signal -----------------------------------------------------------------------------------


async def test_signal_is_a_level() -> None:
    """Once given, a signal stays so, and lets everybody pass, early or late."""
    signal = StopSignal()
    passed: list[str] = []

    async def waiter(name: str) -> None:
        await signal.wait()
        passed.append(name)

    async with anyio.create_task_group() as group:
        group.start_soon(waiter, "early")
        await settle()
        assert not signal.is_set()
        assert passed == []
        signal.set()
        signal.set()
        group.start_soon(waiter, "late")
    assert signal.is_set()
    assert sorted(passed) == ["early", "late"]


def test_signal_outside_an_event_loop() -> None:
    """A signal can be made, given and asked where no event loop runs."""
    signal = StopSignal()
    assert not signal.is_set()
    signal.set()
    assert signal.is_set()


async def test_interrupts() -> None:
    """The signal ends what runs under `interrupts`, nested or not, and nothing else."""
    signal = StopSignal()
    async with anyio.create_task_group() as group:

        async def nested() -> None:
            with signal.interrupts() as outer:
                with signal.interrupts() as inner:
                    await anyio.sleep_forever()
                assert inner.cancelled_caught  # pragma: no cover - both end at once
                await anyio.sleep_forever()  # pragma: no cover - as above
            assert outer.cancelled_caught
            await anyio.lowlevel.checkpoint()  # out of their reach

        group.start_soon(nested)
        await settle()
        signal.set()


async def test_interrupts_when_given_already() -> None:
    """Under `interrupts` of a signal that has been given, the first checkpoint ends the wait."""
    with given_signal().interrupts() as scope:
        await anyio.sleep_forever()
    assert scope.cancelled_caught


async def test_interrupts_forgets_its_scopes() -> None:
    """A scope that has been left is not cancelled by a later signal."""
    signal = StopSignal()
    with signal.interrupts() as scope:
        await anyio.lowlevel.checkpoint()
    with pytest.raises(KeyError), signal.interrupts() as failed:
        raise KeyError
    signal.set()
    assert not scope.cancel_called
    assert not failed.cancel_called


async def test_interrupts_after_a_timeout() -> None:
    """A wait under `interrupts` also ends after the timeout."""
    with StopSignal().interrupts(0.01) as scope:
        await anyio.sleep_forever()
    assert scope.cancelled_caught


# --- Sleep ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.01, 0, -1])
async def test_sleep_ends_by_itself(seconds: float) -> None:
    """A sleep ends when its time is over, at once if it has none."""
    await sleep(StopSignal(), seconds)


async def test_sleep_ends_with_the_signal() -> None:
    """A sleep ends when the signal is given."""
    signal = StopSignal()
    async with anyio.create_task_group() as group:
        group.start_soon(sleep, signal, 1e6)
        group.start_soon(sleep, signal, math.inf)
        await settle()
        signal.set()
    await sleep(signal, 1e6)


@pytest.mark.parametrize("seconds", [0, -1, 1e6])
@pytest.mark.parametrize("given", [False, True])
async def test_sleep_is_a_checkpoint(seconds: float, given: bool) -> None:
    """A sleep can be cancelled, also when there is nothing to sleep for."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        await sleep(given_signal() if given else StopSignal(), seconds)
    assert scope.cancelled_caught


# --- Results --------------------------------------------------------------------------------------


async def test_all_of_results() -> None:
    """All results come back by position, whatever the kind of thing and the order of ending."""
    late = anyio.Event()

    async def release() -> str:
        await anyio.lowlevel.checkpoint()
        late.set()
        return "third"

    things = [value("first", late), Thenable("second"), release, late]
    outcome = await all_of(StopSignal(), things)
    assert outcome == Outcome({0: "first", 1: "second", 2: "third", 3: outcome.done[3]})


@both
async def test_nothing_to_wait_for(wait: Wait) -> None:
    """A wait for nothing returns, but is a checkpoint."""
    assert await wait(StopSignal(), []) == Outcome({})
    with anyio.CancelScope() as scope:
        scope.cancel()
        await wait(StopSignal(), [])
    assert scope.cancelled_caught


@both
async def test_one_thing_needs_no_task(wait: Wait) -> None:
    """A wait for one thing runs it in the caller's own task."""
    here = anyio.get_current_task()

    async def task() -> object:
        return anyio.get_current_task()

    assert (await wait(StopSignal(), [task])).done == {0: here}


@both
async def test_signal_given_already(wait: Wait) -> None:
    """A wait that comes after the signal begins nothing, closes its coroutines, and is a checkpoint."""
    witness, coroutine = Witness(), value(1)
    assert await wait(given_signal(), [witness, coroutine]) == Outcome({}, stopped=True)
    assert not witness.begun
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
    with anyio.CancelScope() as scope:
        scope.cancel()
        await wait(given_signal(), [value(1)])
    assert scope.cancelled_caught


@both
@pytest.mark.parametrize("count", [1, 3])
async def test_stopped(wait: Wait, count: int) -> None:
    """The signal ends a wait; what had not ended has been cancelled, and awaited, when the wait returns."""
    signal = StopSignal()
    witnesses = [Witness() for _ in range(count)]
    async with anyio.create_task_group() as group:

        async def waiter() -> None:
            assert await wait(signal, witnesses) == Outcome({}, stopped=True)
            assert all(witness.left for witness in witnesses)

        group.start_soon(waiter)
        await settle()
        assert all(witness.begun for witness in witnesses)
        signal.set()


@both
@pytest.mark.parametrize("count", [1, 3])
async def test_timed_out(wait: Wait, count: int) -> None:
    """A timeout gives up the wait, and is told from a stop."""
    witnesses = [Witness() for _ in range(count)]
    outcome = await wait(StopSignal(), witnesses, 0.01)
    assert outcome == Outcome({}, timed_out=True)
    assert all(witness.left for witness in witnesses)


@both
@pytest.mark.parametrize("timeout", [0, -1])
async def test_no_time(wait: Wait, timeout: float) -> None:
    """Without time, a thing that waits for nothing still ends; one that waits is given up."""

    async def at_once() -> int:
        return 1

    assert await wait(StopSignal(), [at_once], timeout) == Outcome({0: 1})
    assert await wait(StopSignal(), [Witness()], timeout) == Outcome({}, timed_out=True)


async def test_stop_before_timeout() -> None:
    """When both the signal and the timeout have come, the wait says that it was stopped."""
    signal = StopSignal()

    async def stop_late() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            signal.set()

    outcome = await all_of(signal, [stop_late, anyio.sleep_forever], 0.01)
    assert outcome == Outcome({}, stopped=True)


async def test_all_of_keeps_what_had_ended() -> None:
    """What had ended before the signal or the timeout is in the outcome."""
    signal = StopSignal()

    async def first_then_stop() -> str:
        await anyio.lowlevel.checkpoint()
        signal.set()
        return "ended"

    assert await all_of(signal, [first_then_stop, Witness()]) == Outcome(
        {0: "ended"}, stopped=True
    )
    outcome = await all_of(StopSignal(), [Witness(), value("ended")], 0.01)
    assert outcome == Outcome({1: "ended"}, timed_out=True)


async def test_first_of_winner() -> None:
    """The first to end wins; the losers have been cancelled, and awaited, when the wait returns."""
    event = anyio.Event()
    losers = [Witness(), Witness()]

    async def release() -> None:
        await settle()
        event.set()

    async with anyio.create_task_group() as group:
        group.start_soon(release)
        outcome = await first_of(StopSignal(), [losers[0], value("won", event), losers[1]])
    assert outcome == Outcome({1: "won"})
    assert all(loser.begun and loser.left for loser in losers)


async def test_first_of_all_that_had_ended() -> None:
    """A loser that ends all the same, because it can, is in the outcome too: no result is thrown away."""
    outcome = await first_of(StopSignal(), [value("won"), Witness(result="late")])
    assert outcome.done[0] == "won"
    assert outcome.done.get(1, "late") == "late"
    event = anyio.Event()
    async with anyio.create_task_group() as group:

        async def waiter() -> None:
            outcome = await first_of(StopSignal(), [value(1, event), value(2, event)])
            assert outcome.done.items() <= {(0, 1), (1, 2)}
            assert outcome.done
            assert not outcome.stopped

        group.start_soon(waiter)
        await settle()
        event.set()


@both
async def test_result_in_the_instant_of_the_stop(wait: Wait) -> None:
    """A result that was computed counts, even when the signal came in the same instant."""
    signal = StopSignal()

    async def ends_with_the_signal() -> str:
        await anyio.lowlevel.checkpoint()
        signal.set()
        return "computed"

    outcome = await wait(signal, [ends_with_the_signal])
    assert outcome == Outcome({0: "computed"})


async def test_first_of_result_in_the_instant_of_the_stop() -> None:
    """A winner in the instant of the stop is a winner."""
    signal = StopSignal()

    async def ends_with_the_signal() -> str:
        await anyio.lowlevel.checkpoint()
        signal.set()
        return "computed"

    outcome = await first_of(signal, [Witness(), ends_with_the_signal])
    assert outcome == Outcome({1: "computed"})


@both
async def test_result_despite_cancellation(wait: Wait) -> None:
    """A thing that answers its cancellation with a result has ended: the result counts."""
    signal = StopSignal()
    async with anyio.create_task_group() as group:

        async def waiter() -> None:
            assert await wait(signal, [Witness(result="saved")]) == Outcome({0: "saved"})

        group.start_soon(waiter)
        await settle()
        signal.set()


# --- Errors ---------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("alone", [True, False])
async def test_error(wait: Wait, error: BaseException, alone: bool) -> None:
    """The first error leaves as it was raised, after the others have been cancelled and awaited."""
    witness = Witness()
    things = [failing(error)] if alone else [witness, failing(error), witness]
    with pytest.raises(type(error)) as caught:
        await wait(StopSignal(), things)
    assert caught.value is error
    assert alone or not witness.begun or witness.left


async def test_error_before_result() -> None:
    """An error wins over results of the same wait, also in `first_of`."""
    error = ValueError()
    for wait in (all_of, first_of):
        event = anyio.Event()

        async def waiter(wait: Wait = wait, event: anyio.Event = event) -> None:
            with pytest.raises(ValueError) as caught:  # noqa: PT011
                await wait(StopSignal(), [failing(error, event), value(1, event), value(2, event)])
            assert caught.value is error

        async with anyio.create_task_group() as group:
            group.start_soon(waiter)
            await settle()
            event.set()


@both
async def test_error_of_a_loser(wait: Wait) -> None:
    """What a loser raises on its way out is not lost: it leaves if it is the only error, else it is noted."""
    loser_error = KeyError("on its way out")
    with pytest.raises(KeyError) as caught:
        await first_of(StopSignal(), [Witness(loser_error), value(1)])
    assert caught.value is loser_error

    error = ValueError("first")
    with pytest.raises(ValueError, match="first") as first:
        await wait(StopSignal(), [Witness(KeyError("on its way out")), failing(error)])
    assert first.value is error
    assert [note for note in error.__notes__ if "KeyError('on its way out')" in note]


@both
@pytest.mark.parametrize("count", [1, 2])
async def test_error_on_a_stop(wait: Wait, count: int) -> None:
    """What a thing raises when the signal cuts it short leaves the wait."""
    signal, error = StopSignal(), KeyError("cut short")
    async with anyio.create_task_group() as group:

        async def waiter() -> None:
            with pytest.raises(KeyError) as caught:
                await wait(signal, [Witness(error), anyio.sleep_forever][:count])
            assert caught.value is error

        group.start_soon(waiter)
        await settle()
        signal.set()


@both
@pytest.mark.parametrize("count", [1, 2])
async def test_error_mixed_with_cancellation(wait: Wait, count: int) -> None:
    """Of a group that mixes a cancellation and an error, the error leaves, and no cancellation does."""
    signal = StopSignal()

    async def mixed() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(Witness(KeyError("inside")))
            await anyio.sleep_forever()

    async def waiter() -> None:
        with pytest.raises(BaseExceptionGroup) as caught:
            await wait(signal, [mixed, anyio.sleep_forever][:count])
        assert caught.value.subgroup(anyio.get_cancelled_exc_class()) is None
        assert caught.group_contains(KeyError)

    async with anyio.create_task_group() as group:
        group.start_soon(waiter)
        await settle()
        signal.set()


# --- Cancellation from outside --------------------------------------------------------------------


@both
@pytest.mark.parametrize("count", [1, 3])
async def test_cancelled_from_outside(wait: Wait, count: int) -> None:
    """A cancellation from outside ends the wait and goes on, after all has been cancelled and awaited."""
    witnesses = [Witness() for _ in range(count)]
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def cancel() -> None:
                await settle()
                scope.cancel()

            group.start_soon(cancel)
            await wait(StopSignal(), witnesses)
            raise AssertionError
    assert scope.cancelled_caught
    assert all(witness.left for witness in witnesses)


@both
async def test_cancelled_with_an_error(wait: Wait) -> None:
    """What a thing raises while the wait is being cancelled from outside is not lost."""
    error = KeyError("on its way out")
    with pytest.raises(KeyError) as caught, anyio.move_on_after(0.01):
        await wait(StopSignal(), [Witness(error), Witness()])
    assert caught.value is error


@both
async def test_cancelled_before_it_began(wait: Wait) -> None:
    """A wait in a cancelled scope drops no coroutine."""
    coroutines = [value(1), value(2)]
    with anyio.CancelScope() as scope:
        scope.cancel()
        await wait(StopSignal(), [anyio.sleep_forever, *coroutines])
    assert scope.cancelled_caught
    assert {inspect.getcoroutinestate(coroutine) for coroutine in coroutines} == {
        inspect.CORO_CLOSED
    }


# --- What can be waited for -----------------------------------------------------------------------


@both
async def test_wrong_thing(wait: Wait) -> None:
    """What can't be awaited is refused with an error that says what can; the coroutines beside it are closed."""
    before, after = value(1), value(2)
    with pytest.raises(TypeError, match=r"can't wait for 17: pass a coroutine.*async wait"):
        await wait(StopSignal(), [before, 17, after])
    assert inspect.getcoroutinestate(before) == inspect.CORO_CLOSED
    assert inspect.getcoroutinestate(after) == inspect.CORO_CLOSED


def nothing() -> None:
    """A function that is not async."""


@pytest.mark.parametrize("thing", [None, "text", object(), [1], anyio.Event, dict])
def test_not_awaitable(thing: object) -> None:
    """A class, a plain object or None can't be waited for."""
    with pytest.raises(TypeError, match="can't wait for"):
        _ = as_coroutine(thing)


def test_function_that_is_not_async() -> None:
    """Of a function that is not async, the error says what calling it gave."""
    with pytest.raises(TypeError, match=r"gave None, which is not awaitable; is it async\?"):
        _ = as_coroutine(nothing)


@both
async def test_callable_that_raises(wait: Wait) -> None:
    """An error of a callable that should have made a coroutine leaves, and the others are closed."""
    coroutine = value(1)

    def bad() -> Coroutine[Any, Any, None]:
        raise KeyError("no coroutine")

    with pytest.raises(KeyError):
        await wait(StopSignal(), [coroutine, bad])
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


@both
async def test_same_coroutine_twice(wait: Wait) -> None:
    """The same coroutine twice is refused, and closed."""
    coroutine, other = value(1), value(2)
    with pytest.raises(ValueError, match="passed twice"):
        await wait(StopSignal(), [coroutine, other, coroutine])
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
    assert inspect.getcoroutinestate(other) == inspect.CORO_CLOSED


async def test_same_event_twice() -> None:
    """What may be awaited several times may be passed several times."""
    event = anyio.Event()
    event.set()
    outcome = await all_of(StopSignal(), [event, event, value, Thenable(3)][:2])
    assert set(outcome.done) == {0, 1}


@both
async def test_used_coroutine(wait: Wait) -> None:
    """A coroutine that has run is refused by name."""
    coroutine, other = value(1), value(2)
    await coroutine
    with pytest.raises(ValueError, match="has run"):
        await wait(StopSignal(), [other, coroutine])
    assert inspect.getcoroutinestate(other) == inspect.CORO_CLOSED


@both
async def test_running_coroutine(wait: Wait) -> None:
    """A coroutine that runs already is refused, and runs on."""
    event = anyio.Event()
    coroutine = value(1, event)
    async with anyio.create_task_group() as group:

        async def run() -> None:
            assert await coroutine == 1

        group.start_soon(run)
        await settle()
        with pytest.raises(ValueError, match="running already"):
            await wait(StopSignal(), [coroutine])
        event.set()


async def test_kinds_of_things() -> None:
    """Coroutines, awaitables, async functions, async methods and callables that make awaitables can be waited for."""

    class Callable_:  # noqa: N801
        async def method(self) -> str:
            return "method"

        def __call__(self) -> Thenable:
            return Thenable("called")

    async def function() -> str:
        return "function"

    for thing, result in [
        (value("coroutine"), "coroutine"),
        (Thenable("awaitable"), "awaitable"),
        (function, "function"),
        (Callable_().method, "method"),
        (Callable_(), "called"),
        (lambda: value("made"), "made"),
    ]:
        assert await as_coroutine(thing) == result


async def test_close_all() -> None:
    """Only coroutines that have not begun are closed; anything else is left alone."""
    event = anyio.Event()
    new, running = value(1), value(2, event)
    async with anyio.create_task_group() as group:

        async def run() -> None:
            assert await running == 2

        group.start_soon(run)
        await settle()
        close_all([new, running, event, 3, nothing])
        event.set()
    assert inspect.getcoroutinestate(new) == inspect.CORO_CLOSED


@both
async def test_leaves_no_garbage_warning(wait: Wait) -> None:
    """However a wait ends, no coroutine is dropped that was never awaited."""
    for things in ([value(1), Witness()], [failing(KeyError()), value(2), value(3)]):
        try:
            await wait(given_signal(), [value(0)])
            await wait(StopSignal(), things, 0.01)
        except KeyError:
            pass
    gc.collect()
