"""Where a waiting coroutine stands, on any event loop.

Theory: a coroutine that waits holds the frame it stopped in and the thing it waits for; that thing is often a
coroutine again. Following the chain gives the stack that a debugger would show, with no help from the event loop, so
it is the same on all of them. The chain ends where the loop's own primitives begin.
"""

from __future__ import annotations

import gc
import inspect
import itertools
import sys
import traceback
from os.path import dirname
from types import FrameType
from typing import Any

# Nobody reads more; a recursion gone wrong would otherwise fill the log.
_LIMIT = 125

# Where structmode's own files are.
_OURS = dirname(dirname(__file__))


def stack_of(awaited: Any, *, limit: int = _LIMIT) -> str:
    """Return the stack of a coroutine (or another awaitable) as text, outermost call first.

    Args:
        awaited: What to look into; one that has ended, or is no coroutine, gives a line that says so.
        limit: The number of frames at the most.
    """
    if getattr(awaited, "cr_running", False) or getattr(awaited, "gi_running", False):
        frames = _running_frames(_frame_of(awaited), limit)
    else:
        frames = _waiting_frames(awaited, limit)
    if not frames:
        return f"  (no frame left in {awaited!r})\n"
    return _as_text(traceback.StackSummary.extract((f, f.f_lineno) for f in frames))


def frames_of(awaited: Any, *, limit: int = _LIMIT) -> list[FrameType]:
    """Return the frames of a coroutine that waits, outermost call first, and `limit` of them at the most."""
    return _waiting_frames(awaited, limit)


def stack_of_thread(ident: int | None) -> str:
    """Return where a thread stands now, as text."""
    frame = sys._current_frames().get(ident or 0)
    if frame is None:
        return "  (the thread has ended since)\n"
    return "".join(traceback.format_stack(frame, _LIMIT))


def stack_of_exception(exc: BaseException) -> str:
    """Return where `exc` came from, outermost call first, without the exception itself."""
    return _as_text(traceback.extract_tb(exc.__traceback__, _LIMIT))


def _as_text(summary: traceback.StackSummary) -> str:
    """Format a stack, without the frames of structmode's own that it begins with, if there are others."""
    theirs = list(itertools.dropwhile(lambda frame: frame.filename.startswith(_OURS), summary))
    return "".join(traceback.format_list(theirs or summary))


def _waiting_frames(awaited: Any, limit: int) -> list[FrameType]:
    frames: list[FrameType] = []
    while awaited is not None and len(frames) < limit:
        frame = _frame_of(awaited)
        if frame is not None:
            frames.append(frame)
        awaited = _awaited_by(awaited)
    return frames


def _frame_of(awaited: Any) -> FrameType | None:
    for attribute in ("cr_frame", "gi_frame", "ag_frame"):
        frame = getattr(awaited, attribute, None)
        if isinstance(frame, FrameType):
            return frame
    return None


def _awaited_by(awaited: Any) -> Any:
    for attribute in (
        "cr_await",
        "ag_await",
        "gi_yieldfrom",
    ):  # or what looks like one, and is around it
        if hasattr(awaited, attribute):
            return getattr(awaited, attribute)
    return _hidden_in(awaited)


def _hidden_in(awaited: Any) -> Any:
    """Return what a step of an async generator, or of an `__await__`, is about; Python hides it."""
    if type(awaited).__module__ != "builtins":
        return None
    hidden = gc.get_referents(awaited)
    return next(
        (one for one in hidden if inspect.isasyncgen(one) or inspect.iscoroutine(one)), None
    )


def _running_frames(outermost: FrameType | None, limit: int) -> list[FrameType]:
    """Walk out from the caller to the coroutine that is running now."""
    frames: list[FrameType] = []
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and len(frames) < limit:
        frames.append(frame)
        if frame is outermost:
            break
        frame = frame.f_back
    return frames[::-1]
