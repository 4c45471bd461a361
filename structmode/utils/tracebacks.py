"""Where a task, a coroutine or an async generator stands, as text or as a traceback, on every event loop.

    print_task_stack(task)

They may be looked at from anywhere, from another thread too. Nothing is stopped for that, so of one that goes on meanwhile, a
frame may be newer than the one outside of it.
"""

from __future__ import annotations

import inspect
import itertools
import sys
import threading
import traceback
from collections.abc import AsyncGenerator, Coroutine, Generator
from pathlib import Path
from types import FrameType
from typing import IO, Any

from structmode import _engine as engine

from ._shown import shown
from ._stacks import is_running, thread_frames
from ._writing import write

__all__ = (
    "Traceback",
    "format_agen_stack",
    "format_coro_stack",
    "format_task_stack",
    "print_agen_stack",
    "print_coro_stack",
    "print_task_stack",
)

# Nobody reads more; a recursion gone wrong would otherwise fill the log.
_LIMIT = 125

# Who looks, and is at the end of the stack of a task that looks at itself.
_LOOKERS = {__file__, str(Path(__file__).with_name("_stacks.py"))}


class Traceback:
    """A traceback of something that has not failed: it has what tracebacks have, and can be given to `traceback.walk_tb`.

    It keeps the frames alive, and with them all local variables: let go of it when it has been shown.

    Args:
        frame: The frame of one call.
        lineno: The line in it; by default the one where it is now.
        lasti: The instruction in it; by default the one where it is now.

    Attributes:
        tb_frame: The frame.
        tb_lineno: The line.
        tb_lasti: The instruction.
        tb_next: The call that was made from there, or None.
    """

    def __init__(
        self, frame: FrameType, lineno: int | None = None, lasti: int | None = None
    ) -> None:
        self.tb_frame: FrameType = frame
        self.tb_lineno: int = frame.f_lineno if lineno is None else lineno
        self.tb_lasti: int = frame.f_lasti if lasti is None else lasti
        self.tb_next: Traceback | None = None

    @classmethod
    def from_task(cls, task: Any, *, limit: int | None = _LIMIT) -> Traceback:
        """Return where a task stands, the outermost call first.

        Args:
            task: A task of asyncio, trio or anyio, or the handle that `add_future` gave.
            limit: The number of calls at the most, from the outermost one on, which is there in any case; None: all.

        Raises:
            TypeError: If it is no task.
            RuntimeError: If it has ended, or has not begun.
        """
        return cls._from_frames(_frames_of(_work_of(task)), task, limit)

    @classmethod
    def from_coroutine(
        cls,
        coro: Coroutine[Any, Any, Any] | Generator[Any, Any, Any],
        *,
        depth: int = 0,
        limit: int | None = _LIMIT,
    ) -> Traceback:
        """Return where a coroutine or a generator stands, the outermost call first.

        Args:
            coro: The coroutine or generator.
            depth: How many calls of the limit have been used up already.
            limit: The number of calls at the most, from the outermost one on, which is there in any case; None: all.

        Raises:
            RuntimeError: If it has ended, or has not begun.
        """
        left = None if limit is None else limit - depth
        return cls._from_frames(_frames_of(coro), coro, left)

    @classmethod
    def from_agen(cls, agen: AsyncGenerator[Any, Any], *, limit: int | None = _LIMIT) -> Traceback:
        """Return where an async generator stands, the outermost call first.

        Args:
            agen: The async generator.
            limit: The number of calls at the most, from the outermost one on, which is there in any case; None: all.

        Raises:
            RuntimeError: If it has ended, or has not begun.
        """
        return cls._from_frames(_frames_of(agen), agen, limit)

    @classmethod
    def _from_frames(cls, frames: list[FrameType], what: object, limit: int | None) -> Traceback:
        if not frames:
            raise RuntimeError(f"{what!r} stands nowhere: it has ended, or has not begun")
        steps = [cls(frame) for frame in frames[: None if limit is None else max(limit, 1)]]
        for step, following in itertools.pairwise(steps):
            step.tb_next = following
        return steps[0]


def format_task_stack(task: Any, *, limit: int = _LIMIT, capture_locals: bool = False) -> str:
    """Return where a task stands, as text, the outermost call first.

    Args:
        task: A task of asyncio, trio or anyio, or the handle that `add_future` gave.
        limit: The number of calls at the most, from the outermost one on.
        capture_locals: Whether to show local variables, which may hold secrets.

    Raises:
        TypeError: If it is no task.
    """
    return _as_text(task, _work_of(task), limit, capture_locals)


def print_task_stack(
    task: Any,
    *,
    file: IO[str] | None = None,
    limit: int = _LIMIT,
    capture_locals: bool = False,
) -> None:
    """Write where a task stands.

    Args:
        task: As in `format_task_stack`.
        file: Where to; by default standard error.
        limit: As in `format_task_stack`.
        capture_locals: As in `format_task_stack`.

    Raises:
        TypeError: If it is no task.
    """
    _write(format_task_stack(task, limit=limit, capture_locals=capture_locals), file)


def format_coro_stack(
    coro: Coroutine[Any, Any, Any] | Generator[Any, Any, Any],
    *,
    limit: int = _LIMIT,
    capture_locals: bool = False,
) -> str:
    """Return where a coroutine stands, as text, the outermost call first.

    Args:
        coro: The coroutine, or a generator.
        limit: As in `format_task_stack`.
        capture_locals: As in `format_task_stack`.
    """
    return _as_text(coro, coro, limit, capture_locals)


def print_coro_stack(
    coro: Coroutine[Any, Any, Any] | Generator[Any, Any, Any],
    *,
    file: IO[str] | None = None,
    limit: int = _LIMIT,
    capture_locals: bool = False,
) -> None:
    """Write where a coroutine stands.

    Args:
        coro: The coroutine, or a generator.
        file: Where to; by default standard error.
        limit: As in `format_task_stack`.
        capture_locals: As in `format_task_stack`.
    """
    _write(format_coro_stack(coro, limit=limit, capture_locals=capture_locals), file)


def format_agen_stack(
    agen: AsyncGenerator[Any, Any], *, limit: int = _LIMIT, capture_locals: bool = False
) -> str:
    """Return where an async generator stands, as text, the outermost call first.

    Args:
        agen: The async generator.
        limit: As in `format_task_stack`.
        capture_locals: As in `format_task_stack`.
    """
    return _as_text(agen, agen, limit, capture_locals)


def print_agen_stack(
    agen: AsyncGenerator[Any, Any],
    *,
    file: IO[str] | None = None,
    limit: int = _LIMIT,
    capture_locals: bool = False,
) -> None:
    """Write where an async generator stands.

    Args:
        agen: The async generator.
        file: Where to; by default standard error.
        limit: As in `format_task_stack`.
        capture_locals: As in `format_task_stack`.
    """
    _write(format_agen_stack(agen, limit=limit, capture_locals=capture_locals), file)


def _as_text(what: object, work: Any, limit: int, capture_locals: bool) -> str:
    frames = _frames_of(work)
    if not frames:
        return f"Stack for {what!r}: it stands nowhere; it has ended, or has not begun\n"
    kept = frames[: max(limit, 0)]
    summary = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in kept)
    if capture_locals:
        _add_locals(summary, kept)
    left_out = len(frames) - len(summary)
    rest = f"  (and {left_out} more)\n" if left_out else ""
    return f"Stack for {what!r} (most recent call last):\n{''.join(summary.format())}{rest}"


def _add_locals(summary: traceback.StackSummary, frames: list[FrameType]) -> None:
    # `extract` does so itself, but fails with the repr of any of them before Python 3.12. It may have cut the stack short.
    for call, frame in zip(summary, frames, strict=False):
        call.locals = {name: shown(value) for name, value in frame.f_locals.items()}


def _write(text: str, file: IO[str] | None) -> None:
    write(text, sys.stderr if file is None else file)


def _work_of(task: Any) -> Any:
    """Return what a task runs.

    Raises:
        TypeError: If it is no task.
    """
    if issubclass(type(task), engine.Task):
        return task._work
    get_coro = getattr(task, "get_coro", None)  # asyncio's tasks
    work = get_coro() if callable(get_coro) else getattr(task, "coro", None)
    if inspect.isawaitable(work):  # a task of asyncio may run a generator that can be awaited
        return work
    raise TypeError(
        f"{task!r} is no task: pass a task of asyncio, trio or anyio, or the handle that add_future() gave; "
        "format_coro_stack() takes a coroutine"
    )


def _frames_of(work: Any) -> list[FrameType]:
    """Return the calls that something is in, the outermost first; none, if it has ended."""
    frames = engine.frames_of(work, limit=sys.maxsize)
    # An async generator calls itself running while it waits, too.
    if not frames or not (is_running(work) or getattr(work, "ag_running", False)):
        return frames
    for thread in (threading.get_ident(), *sys._current_frames()):
        calls = thread_frames(thread)
        if frames[0] in calls:
            while calls[-1].f_code.co_filename in _LOOKERS:
                calls.pop()
            return calls[calls.index(frames[0]) :]
    return frames
