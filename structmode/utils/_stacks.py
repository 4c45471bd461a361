"""Where a thread or a task stands, seen from another thread.

Theory: a thread runs at most one task at a time. The frames of that one are on the stack of the thread; those of the
others hang on what they await. Which of the two it is can change while somebody else looks. So it is asked before and after,
and the answer is taken if it was the same. Nothing is stopped for that: of a task that goes on meanwhile, a frame may be
newer than the one outside of it.

What is taken of a stack is file, line and name of each call, and no local variables, as they may hold secrets. The text of
the lines is read from the files later, when the stack is written.
"""

from __future__ import annotations

import itertools
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import anyio

from structmode import _engine as engine

__all__ = ("as_text", "is_running", "snapshot", "task_frames", "thread_frames")

# Nobody reads more; a recursion gone wrong would otherwise fill the log.
_LIMIT = 125
# How often to look again at a task that goes on.
_TRIES = 3
# Who runs tasks. What they call first is of no interest to anybody else.
_RUNNERS = tuple(
    f"{directory}{os.sep}"
    for directory in (Path(engine.__file__).parent.parent, Path(anyio.__file__).parent)
)

# Who asks where it is itself.
_LOOKERS = f"{Path(__file__).parent}{os.sep}"


def thread_frames(ident: int) -> list[FrameType]:
    """Return the calls that a thread is in, the outermost first; none, if there is no such thread."""
    frames: list[FrameType] = []
    frame = sys._current_frames().get(ident)
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames[::-1]


def task_frames(coroutine: Any, ident: int) -> list[FrameType]:
    """Return the calls that a task is in, the outermost first.

    Args:
        coroutine: What the task runs.
        ident: The thread of its event loop.
    """
    frames: list[FrameType] = []
    for _ in range(_TRIES):  # pragma: no branch - a task that is never at rest
        running = is_running(coroutine)
        frames = engine.frames_of(coroutine)
        if running and frames:
            frames = _from(frames[0], thread_frames(ident))
        if is_running(coroutine) == running and frames:  # pragma: no branch - it moves meanwhile
            break
    return frames


def is_running(coroutine: Any) -> bool:
    """Whether a thread is in the code of a coroutine now."""
    return bool(getattr(coroutine, "cr_running", False) or getattr(coroutine, "gi_running", False))


def snapshot(frames: Sequence[FrameType]) -> traceback.StackSummary:
    """Return what is to be written of some frames: not who runs the task, at the beginning, nor who looks, at the end."""
    kept = list(itertools.dropwhile(lambda f: f.f_code.co_filename.startswith(_RUNNERS), frames))
    while kept and kept[-1].f_code.co_filename.startswith(_LOOKERS):
        kept.pop()
    shown = (kept or list(frames))[-_LIMIT:]
    return traceback.StackSummary.extract(((f, f.f_lineno) for f in shown), lookup_lines=False)


def as_text(stack: traceback.StackSummary) -> str:
    """Return a stack as text, without an end of line."""
    return "".join(stack.format()).rstrip("\n")


def _from(outermost: FrameType, frames: list[FrameType]) -> list[FrameType]:
    return frames[frames.index(outermost) :] if outermost in frames else []
