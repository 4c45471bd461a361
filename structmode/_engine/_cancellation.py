"""What to do about a cancellation that is not one's own.

Theory: a cancel scope answers for the cancellations it asked for, and absorbs them. Two others remain. asyncio lets
anybody cancel a task past all scopes and shields, and does so to every task when its run ends. And work that fails
while it is being cancelled raises both at once, in a group. The engine has to finish what it owes (a stop, a rollback)
before it passes either of them on.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, cast

import anyio
import anyio.lowlevel

from ._backend import absorb_cancellation, being_cancelled, on_trio
from ._flag import Flag

T = TypeVar("T")


def without_cancellation(exc: BaseException) -> BaseException | None:
    """Return what is left of `exc` when cancellations are taken out: itself, a part of a group, or None."""
    if isinstance(exc, anyio.get_cancelled_exc_class()):
        return None
    if not isinstance(exc, BaseExceptionGroup):
        return exc
    group = cast("BaseExceptionGroup[BaseException]", exc)
    cancellations, rest = group.split(anyio.get_cancelled_exc_class())
    return rest if cancellations is not None else group


def as_failure(exc: BaseException, where: str) -> BaseException | None:
    """Return the failure that the calling task has met in `exc`: as `without_cancellation`, with one case more.

    A cancellation that nobody has asked the task for comes from what it awaited: asyncio raises it in who awaits a
    future that somebody cancels. To the task that is a failure like any other, and it is called `anyio.TaskCancelled`.
    """
    if not isinstance(exc, anyio.get_cancelled_exc_class()) or being_cancelled():
        return without_cancellation(exc)
    failure = anyio.TaskCancelled(f"{where} awaited something that was cancelled")
    failure.__cause__ = exc
    return failure


async def result_of(coroutine: Coroutine[Any, Any, T], where: str) -> T:
    """Await `coroutine`; that something it awaited was cancelled is an error then, as in `as_failure`."""
    try:
        return await coroutine
    except anyio.get_cancelled_exc_class() as exc:
        failure = as_failure(exc, where)
        if failure is None:
            raise
        raise failure from exc  # noqa: ASYNC104 - nobody asked this task to end


async def through(event: Flag) -> BaseException | None:
    """Wait for an event that must come, whatever is cancelled meanwhile.

    Returns:
        The cancellation that came past the shield (asyncio's own `Task.cancel()` does), for the caller to pass on
        once its duty is done; None if there was none.
    """
    came_through: BaseException | None = None
    with anyio.CancelScope(shield=True):
        while not event.is_set():
            try:
                await event.wait()
            except anyio.get_cancelled_exc_class() as exc:  # noqa: ASYNC103 - kept, and passed on when the duty is done
                came_through = exc
    return came_through


async def shielded(work: Callable[[], Awaitable[None]]) -> None:
    """Do what is owed before a cancellation goes on: no scope around the caller cancels it."""
    with anyio.CancelScope(shield=True):
        await work()


async def first_step(begun: Callable[[], bool], *, shield: bool) -> bool:
    """Whether a task that has been spawned has made its first step; if not by now, it never will.

    asyncio may cancel a task before its first step, as it does to all when its run ends; then nothing of the task's
    code is ever run. It takes the tasks in the order of their spawning, so two passes of the event loop are enough to
    know, also for the owner that puts a task of its own between. trio drops no task.

    Args:
        begun: Whether it has.
        shield: Whether scopes around the caller must not keep it from knowing. A step of a run needs no such shield, being
            one itself, and is cheaper without.
    """
    give_way = anyio.lowlevel.cancel_shielded_checkpoint if shield else anyio.lowlevel.checkpoint
    for _ in itertools.count() if on_trio() else range(2):
        if begun():
            break
        await give_way()
    return begun()


async def has_begun(begun: Callable[[], bool]) -> bool:
    """As `first_step`, for one who has to know: a cancellation past the shield is taken back."""
    for _ in range(2):
        try:
            return await first_step(begun, shield=True)
        except anyio.get_cancelled_exc_class():  # noqa: ASYNC103 - kept, and passed on when the duty is done
            absorb_cancellation()
    return begun()


async def insist(
    wait: Callable[[], Awaitable[object]],
    done: Callable[[], bool],
    when_cancelled: Callable[[], object],
    *,
    seconds: float = math.inf,
) -> None:
    """Wait, under a shield, until `done` or so many seconds; take back each foreign cancellation, and tell of it."""
    deadline = math.inf if seconds == math.inf else anyio.current_time() + seconds
    with anyio.CancelScope(deadline=deadline, shield=True) as scope:
        while not done():
            try:
                await wait()
            except anyio.get_cancelled_exc_class():  # noqa: ASYNC103 - passed on when the duty is done
                if scope.cancel_called:  # time is up
                    raise
                absorb_cancellation()
                when_cancelled()
