"""Futures, tasks, and calls that are shared.

Those who hand over results in structmode use what anyio has: `anyio.Future`, and the handles of tasks. What is here is for
programs that were written for mode. `stampede`, `maybe_async` and the functions that begin with ``maybe_`` work on every event
loop; `all_tasks`, `current_task` and `done_future` are about asyncio's own tasks and futures, and need asyncio.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from concurrent.futures import InvalidStateError
from typing import Any, Literal, TypeVar, overload

import anyio
import anyio.lowlevel

from structmode import _engine as engine
from structmode.exceptions import EventLoopMismatch

from . import _asyncio_only
from ._stampede import StampedeWrapper, stampede

__all__ = (
    "StampedeWrapper",
    "all_tasks",
    "current_task",
    "done_future",
    "maybe_async",
    "maybe_cancel",
    "maybe_set_exception",
    "maybe_set_result",
    "notify",
    "stampede",
)

_T = TypeVar("_T")


def all_tasks(loop: Any = None) -> set[Any]:
    """Return the tasks of an asyncio event loop that have not ended.

    Args:
        loop: The event loop; by default the running one.

    Raises:
        AsyncioRequired: On trio, and where no event loop runs and none is given.
    """
    if loop is None:
        loop = _asyncio_only.running_loop("all_tasks()", "anyio.get_running_tasks()")
    return _asyncio_only.tasks_of(loop)


def current_task(loop: Any = None) -> Any:
    """Return the running asyncio task, or None where there is none.

    Args:
        loop: The event loop; by default the running one.

    Raises:
        AsyncioRequired: On trio.
    """
    if loop is None:
        _asyncio_only.refuse_trio("current_task()", "anyio.get_current_task()")
    return _asyncio_only.current_task(loop)


def done_future(result: Any = None, *, loop: Any = None) -> Any:
    """Return an asyncio future that has its result already.

    Args:
        result: The result.
        loop: The event loop that the future is for; by default the running one.

    Raises:
        AsyncioRequired: On trio, and where no event loop runs and none is given.
    """
    if loop is None:
        loop = _asyncio_only.running_loop(
            "done_future()", "an async function that returns the result, or anyio.Future"
        )
    future = loop.create_future()
    future.set_result(result)
    return future


@overload
async def maybe_async(res: Awaitable[_T]) -> _T: ...
@overload
async def maybe_async(res: _T) -> _T: ...


async def maybe_async(res: Any) -> Any:
    """Await something if it can be awaited; a checkpoint in any case.

    ``await maybe_async(callback())`` calls a function that may or may not be async. A call that is cancelled before the
    awaitable has begun closes it.

    Args:
        res: What to await, or any other object.

    Returns:
        What the awaitable gave, or the object.
    """
    try:
        await anyio.lowlevel.checkpoint()
    except BaseException:
        engine.close_all([res])
        raise
    return await res if inspect.isawaitable(res) else res


def maybe_cancel(fut: Any) -> bool:
    """Cancel a future or a task, if there is one and it has not ended.

    Args:
        fut: A future of asyncio, anyio or ``concurrent.futures``, a task or the handle of one; or None.

    Returns:
        Whether it was asked to end.

    Raises:
        EventLoopMismatch: If it is an asyncio future of a loop that runs elsewhere.
    """
    if _is_done(fut):
        return False
    _check_loop(fut, "maybe_cancel")
    return fut.cancel() is not False


def maybe_set_exception(fut: Any, exc: BaseException) -> bool:
    """Let a future fail, if there is one and it has no outcome yet.

    Args:
        fut: A future of asyncio, anyio or ``concurrent.futures``; or None.
        exc: The error.

    Returns:
        Whether it was set.

    Raises:
        EventLoopMismatch: If it is an asyncio future of a loop that runs elsewhere.
    """
    return _give(fut, "maybe_set_exception", "exception", exc)


def maybe_set_result(fut: Any, result: Any) -> bool:
    """Give a future its result, if there is one and it has no outcome yet.

    Args:
        fut: A future of asyncio, anyio or ``concurrent.futures``; or None.
        result: The result.

    Returns:
        Whether it was set.

    Raises:
        EventLoopMismatch: If it is an asyncio future of a loop that runs elsewhere.
    """
    return _give(fut, "maybe_set_result", "result", result)


def notify(fut: Any, result: Any = None) -> None:
    """Wake who waits for a future, if there is one and it has no outcome yet.

    Args:
        fut: A future of asyncio, anyio or ``concurrent.futures``; or None.
        result: What they get.

    Raises:
        EventLoopMismatch: If it is an asyncio future of a loop that runs elsewhere.
    """
    maybe_set_result(fut, result)


def _give(fut: Any, call: str, kind: Literal["exception", "result"], outcome: Any) -> bool:
    """Give a future its outcome, if there is one and it has none yet; return whether it was given."""
    if _is_done(fut):
        return False
    _check_loop(fut, call)
    future: Any = fut
    if isinstance(fut, anyio.Future):
        setattr(future, "exception" if kind == "exception" else "return_value", outcome)
        return True
    set_it = future.set_exception if kind == "exception" else future.set_result
    try:
        set_it(outcome)
    except InvalidStateError:  # of ``concurrent.futures``: another thread has just been faster
        return False
    return True


def _is_done(fut: Any) -> bool:
    """Whether there is nothing to be done about a future: there is none, or it has ended."""
    if fut is None:
        return True
    if isinstance(fut, anyio.Future):
        return fut.status is not anyio.Future.Status.PENDING
    if isinstance(fut, anyio.TaskHandle):
        return fut.status not in {
            anyio.TaskHandle.Status.PENDING,
            anyio.TaskHandle.Status.CANCELLING,
        }
    return bool(fut.done())


def _check_loop(fut: Any, call: str) -> None:
    """Refuse an asyncio future whose loop runs, but not here: its waiters would sleep on until something else woke the loop."""
    get_loop = getattr(fut, "get_loop", None)
    loop: Any = get_loop() if callable(get_loop) else None
    if loop is None or not loop.is_running():
        return
    if _asyncio_only.running_loop_or_none() is not loop:
        raise EventLoopMismatch(
            f"{call}() of {fut!r} was called outside the event loop that it belongs to",
            f"Call loop.call_soon_threadsafe({call}, ...) with that loop",
        )
