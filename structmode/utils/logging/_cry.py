"""The stacks of all tasks and all threads, for the moment when a program hangs.

It is called from a signal handler more often than not, and so in the middle of anything the main
thread may be doing. Hence it takes no locks but reentrant ones, calls no code of the program (it
shows no local variables, whose `repr` may do anything), and makes the whole text before it writes
it.

The tasks are those of the event loop that runs in the calling thread: there they stand still while
they are looked at, and another thread's event loop can't be asked from outside.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from types import FrameType
from typing import IO, NamedTuple

import anyio

from structmode.utils._stacks import as_text, is_running, snapshot, task_frames, thread_frames
from structmode.utils._writing import write_at_once

__all__ = ("cry", "cry_threads")


class _Lines(NamedTuple):
    """The lines between the parts of the text."""

    above: str
    between: str
    below: str


def cry(
    file: IO[str], *, sep1: str = "=", sep2: str = "-", sep3: str = "~", seplen: int = 49
) -> None:
    """Write the stacks of all threads to a stream, and of all tasks of the event loop of the calling one.

    May be called from any thread and from a signal handler, also from one that interrupted a write
    to the same file. In a thread without an event loop there are no tasks to tell. What the file has no code for is
    written as an escape.

    Differs from mode: tasks are shown as well, on every event loop. Local variables are not shown,
    as they may hold secrets.

    Args:
        file: The stream.
        sep1: Character of the line above the name of a task or a thread.
        sep2: Character of the line between the name and the stack.
        sep3: Character of the line below the stack.
        seplen: Length of these lines in characters.
    """
    lines = _Lines(sep1 * seplen, sep2 * seplen, sep3 * seplen)
    caller = sys._getframe(1)
    write_at_once("\n".join([*_tasks(lines), *_threads(lines, caller)]) + "\n", file)


def cry_threads(file: IO[str]) -> None:
    """Write the stacks of all threads only, as `cry` does."""
    lines = _Lines("=" * 49, "-" * 49, "~" * 49)
    write_at_once("\n".join(_threads(lines, sys._getframe(1))) + "\n", file)


def _tasks(lines: _Lines) -> Iterator[str]:
    tasks: Sequence[anyio.TaskInfo] = ()
    with suppress(RuntimeError):  # no event loop runs here
        tasks = anyio.get_running_tasks()
    for task in tasks:
        current = ", current" if is_running(task.coro) else ""
        yield from _part(
            lines,
            f"Task {task.name} ({task.id}{current})",
            task_frames(task.coro, threading.get_ident()),
        )


def _threads(lines: _Lines, caller: FrameType) -> Iterator[str]:
    known = {thread.ident: thread for thread in threading.enumerate()}
    for ident in sys._current_frames():
        frames = thread_frames(ident)
        if ident == threading.get_ident():
            # The caller is of interest, this module is not.
            frames = frames[: frames.index(caller) + 1]
        if frames:  # pragma: no branch - unless the thread has just ended
            yield from _part(lines, _title(ident, known.get(ident)), frames)


def _part(lines: _Lines, title: str, frames: Sequence[FrameType]) -> Iterator[str]:
    yield lines.above
    yield title
    yield lines.between
    yield as_text(snapshot(frames)) if frames else "  (it has no frame)"
    yield lines.below


def _title(ident: int, thread: threading.Thread | None) -> str:
    if thread is None:
        return f"Thread {ident} (not started by Python)"
    marks = [str(ident)]
    if thread.daemon:
        marks.append("daemon")
    if ident == threading.get_ident():
        marks.append("current")
    return f"{thread.name} ({', '.join(marks)})"
