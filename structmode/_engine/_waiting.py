"""Waits that also end when the run is told to stop.

Theory: "should stop" is a level, not an edge. Who asks after it was set must see it, who waits must be woken, and
neither may leave anything behind. Who sleeps is woken by the signal as by the clock. A wait for one thing needs no second
task: it runs in the caller's own task, inside a cancel scope that the signal cancels. So does the first of several things;
only the others need tasks. Those live in a task group whose own scope is the one that the signal cancels, so that the losers
have been cancelled *and awaited* before the call returns.

A result that has been computed is never thrown away: if the awaited thing ended, that counts, even when the stop came
in the same instant.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Protocol, TypeAlias, TypeVar, cast

import anyio
import anyio.lowlevel

from ._backend import bed, waits_at_checkpoint
from ._callers import calling_run
from ._cancellation import as_failure, result_of
from ._failures import note
from ._flag import Flag

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Waitable(Protocol[T_co]):
    """Anything with an async `wait()`, such as an event."""

    async def wait(self) -> T_co:
        """Wait."""
        ...


#: What can be waited for, or run in the background: a coroutine or another awaitable, an async callable, or anything
#: with an async `wait()`.
WaitArg: TypeAlias = Awaitable[T] | Callable[[], Awaitable[T]] | Waitable[T]


class StopSignal(Flag):
    """A level that turns true once, and the waits that it cuts short."""

    __slots__ = ("_quiet", "_waits")

    def __init__(self) -> None:
        super().__init__()
        # What ends each, with the run whose task waits.
        self._waits: dict[Callable[[], object], object] = {}
        self._quiet: Flag | None = None

    def set(self) -> None:
        """Give the signal: every wait that is known ends."""
        if self._set:
            return
        super().set()
        for end in tuple(self._waits):
            end()

    async def heard(self, run: object) -> None:
        """Wait until every wait of the run's own tasks that the given signal cuts short has returned."""
        while run in self._waits.values():
            self._quiet = Flag()
            await self._quiet.wait()
        # Those who wait for the signal itself are woken by now; two passes let them run, in whatever order.
        for _ in range(2):
            await anyio.lowlevel.checkpoint()

    def interrupts(self, timeout: float = math.inf) -> Interruptible:
        """Open a scope that the signal cancels, and that ends after `timeout` seconds."""
        return Interruptible(self, _deadline_in(timeout))

    def note(self, end: Callable[[], object]) -> None:
        """Know a wait of the calling task, by what ends it when the signal is given."""
        self._waits[end] = calling_run()
        if self._set:
            end()

    def forget(self, end: Callable[[], object]) -> None:
        """Know it no more: it has returned."""
        del self._waits[end]
        if self._quiet is not None:
            self._quiet.set()


def _deadline_in(seconds: float) -> float:
    return math.inf if seconds == math.inf else anyio.current_time() + seconds


class Interruptible:
    """The scope that a stop signal cancels, for the length of a ``with`` block.

    Args:
        signal: The signal.
        deadline: When the scope ends by itself, on the event loop's clock.
    """

    __slots__ = ("_scope", "_signal")

    def __init__(self, signal: StopSignal, deadline: float) -> None:
        self._signal = signal
        self._scope = anyio.move_on_at(deadline)

    def __enter__(self) -> anyio.CancelScope:
        scope = self._scope.__enter__()
        self._signal.note(scope.cancel)
        return scope

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._signal.forget(self._scope.cancel)
        return bool(self._scope.__exit__(exc_type, exc, traceback))


async def sleep(signal: StopSignal, seconds: float) -> None:
    """Sleep, or until the signal is given; a checkpoint in any case."""
    if signal.is_set() or seconds <= 0:
        await anyio.lowlevel.checkpoint()
        return
    wake, woken = bed(seconds)
    signal.note(wake)
    try:
        await woken
    finally:
        signal.forget(wake)


@dataclass
class Outcome:
    """How a wait ended.

    Attributes:
        done: Which of the awaited things had ended, by position, with the result of each.
        stopped: Whether the wait was cut short by the stop signal.
        timed_out: Whether it was given up after the timeout.
    """

    done: dict[int, Any]
    stopped: bool = False
    timed_out: bool = False


async def all_of(
    signal: StopSignal, things: Sequence[object], timeout: float = math.inf
) -> Outcome:
    """Wait for all of `things`, the stop signal or the timeout, whichever comes first.

    The first exception that leaves one of them leaves here as it was raised, after the others have been cancelled.
    """
    return await _race(signal, things, timeout, enough=len(things))


async def first_of(
    signal: StopSignal, things: Sequence[object], timeout: float = math.inf
) -> Outcome:
    """Wait for the first of `things`, the stop signal or the timeout; what has not ended by then is cancelled."""
    return await _race(signal, things, timeout, enough=min(1, len(things)))


async def _race(
    signal: StopSignal, things: Sequence[object], timeout: float, enough: int
) -> Outcome:
    if len(things) == 1 and _is_set_event(things[0]) and not signal.is_set():
        return Outcome({0: await cast("Waitable[Any]", things[0]).wait()})
    coroutines = as_coroutines(things)
    if signal.is_set():
        close_all(coroutines)
        await anyio.lowlevel.checkpoint()
        return Outcome({}, stopped=True)
    outcome = Outcome({})
    try:
        # A checkpoint also if none of the things waits; and what they return is not lost to it.
        await anyio.lowlevel.checkpoint_if_cancelled()
        if len(coroutines) > 1:
            await _run_side_by_side(signal, coroutines, timeout, outcome, enough)
        else:
            with signal.interrupts(timeout):
                if coroutines:
                    outcome.done[0] = await result_of(coroutines[0], "a wait")
                else:
                    await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.cancel_shielded_checkpoint()
    finally:
        close_all(coroutines)
    if len(outcome.done) < enough:
        outcome.stopped = signal.is_set()
        outcome.timed_out = not outcome.stopped
    return outcome


async def _run_side_by_side(
    signal: StopSignal,
    coroutines: Sequence[Coroutine[Any, Any, Any]],
    timeout: float,
    outcome: Outcome,
    enough: int,
) -> None:
    """Run coroutines until enough have ended, one has failed, the signal is given or time is up.

    The first runs in this task, each other in one of its own.
    """
    errors: list[BaseException] = []

    async def contestant(position: int) -> None:
        try:
            outcome.done[position] = await coroutines[position]
        except BaseException as exc:  # noqa: ASYNC103 - kept, and passed on when the duty is done
            failure = as_failure(exc, "a wait")
            if failure is None:
                raise
            errors.append(failure)
        if errors or len(outcome.done) >= enough:
            group.cancel_scope.cancel()

    group, deadline = anyio.create_task_group(), _deadline_in(timeout)
    try:
        async with group:
            signal.note(group.cancel_scope.cancel)
            group.cancel_scope.deadline = deadline
            for position in range(1, len(coroutines)):
                group.start_soon(contestant, position)
            await contestant(0)
    except anyio.get_cancelled_exc_class():  # noqa: ASYNC103 - kept, and passed on when the duty is done
        if not errors:  # what a loser raised on its way out says more than that it was cancelled
            raise
    finally:
        signal.forget(group.cancel_scope.cancel)
    if errors:
        first, *later = errors
        for exc in later:
            note(first, "also raised while this wait was being given up", exc)
        raise first
    ended = signal.is_set() or anyio.current_time() >= deadline
    if len(outcome.done) < enough and not ended:  # asyncio lets anybody cancel one of these tasks
        raise anyio.TaskCancelled("a part of this wait was cancelled")


def _is_set_event(thing: object) -> bool:
    """Whether it is an event that is set, and of a kind whose `wait` is a checkpoint then as well."""
    return waits_at_checkpoint(cast("Any", type(thing))) and bool(cast("Any", thing).is_set())


def as_coroutines(things: Sequence[object]) -> list[Coroutine[Any, Any, Any]]:
    """Make a coroutine of each thing; if one can't be awaited, close the others and say so."""
    coroutines: list[Coroutine[Any, Any, Any]] = []
    try:
        _refuse_twins(things)
        coroutines.extend(map(as_coroutine, things))
    except BaseException:
        close_all([*coroutines, *things])
        raise
    return coroutines


def _refuse_twins(things: Sequence[object]) -> None:
    if len(things) < 2:
        return
    seen: set[int] = set()
    for coroutine in filter(inspect.iscoroutine, things):
        if id(coroutine) in seen:
            raise ValueError(
                f"the same coroutine was passed twice: {coroutine!r}; it runs only once, so make another"
            )
        seen.add(id(coroutine))


def as_coroutine(thing: object) -> Coroutine[Any, Any, Any]:
    """Make a coroutine of a coroutine, an awaitable, an event or an async callable.

    Raises:
        TypeError: If it is none of these; the error shows what may be passed.
        ValueError: If it is a coroutine that has been awaited before.
    """
    check_awaitable(thing)
    if inspect.iscoroutine(thing):
        return thing
    if inspect.isawaitable(thing):
        return _awaiting(thing)
    return _coroutine_from(_async_wait_of(thing) or thing, thing)


def as_work(thing: WaitArg[T]) -> Coroutine[Any, Any, T] | Callable[[], Coroutine[Any, Any, T]]:
    """Make work for a task of a thing; an async function is not called before its turn, which may never come.

    Raises:
        TypeError: As `as_coroutine`.
        ValueError: As `as_coroutine`.
    """
    check_awaitable(thing)
    if inspect.iscoroutine(thing):
        return thing
    function = _async_wait_of(thing) or thing
    if inspect.isawaitable(thing):
        return partial(as_coroutine, thing)
    return (
        partial(as_coroutine, thing)
        if inspect.iscoroutinefunction(function)
        else as_coroutine(thing)
    )


def check_awaitable(thing: object) -> None:
    """Refuse what `as_coroutine` can't make a coroutine of, without making one.

    Raises:
        TypeError: As `as_coroutine`.
        ValueError: As `as_coroutine`.
    """
    if inspect.iscoroutine(thing):
        if inspect.getcoroutinestate(thing) != inspect.CORO_CREATED:
            raise ValueError(
                f"{thing!r} is running already, or has run; a coroutine runs only once"
            )
        return
    is_async = inspect.isawaitable(thing) or _async_wait_of(thing) is not None
    if is_async or (callable(thing) and not isinstance(thing, type)):
        return
    raise TypeError(
        f"can't wait for {thing!r}: pass a coroutine, an awaitable, an async function, "
        "or an object with an async wait()"
    )


def _async_wait_of(thing: object) -> Callable[[], object] | None:
    wait = None if isinstance(thing, type) else getattr(thing, "wait", None)
    if not inspect.iscoroutinefunction(wait):
        return None
    # An async function that has any attribute one asks for, as mocks have, is still one to be called.
    is_made_up = inspect.iscoroutinefunction(thing) and not hasattr(thing.__class__, "wait")
    return None if is_made_up else wait


def _coroutine_from(function: Any, thing: object) -> Coroutine[Any, Any, Any]:
    made = function()
    if inspect.iscoroutine(made):
        return made
    if inspect.isawaitable(made):
        return _awaiting(made)
    raise TypeError(
        f"can't wait for {thing!r}: calling it gave {made!r}, which is not awaitable; is it async?"
    )


async def _awaiting(awaitable: Awaitable[T]) -> T:
    return await awaitable


def close_all(things: Sequence[object]) -> None:
    """Close the coroutines among `things` that have not begun, so that none is dropped silently."""
    for thing in things:
        if inspect.iscoroutine(thing) and inspect.getcoroutinestate(thing) == inspect.CORO_CREATED:
            thing.close()
