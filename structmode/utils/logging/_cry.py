"""The stacks of all threads, for the moment when a program hangs.

It is called from a signal handler more often than not, and so in the middle of anything the main
thread may be doing. Hence it takes no locks but reentrant ones, calls no code of the program (it
shows no local variables, whose `repr` may do anything), and makes the whole text before it writes
it.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import IO

__all__ = ("cry",)


def cry(
    file: IO[str], *, sep1: str = "=", sep2: str = "-", sep3: str = "~", seplen: int = 49
) -> None:
    """Write the stacks of all threads to a stream.

    May be called from any thread and from a signal handler, also from one that interrupted a write
    to the same file.

    Differs from mode: local variables are not shown, as they may hold secrets.

    Args:
        file: The stream.
        sep1: Character of the line above the name of a thread.
        sep2: Character of the line between the name and the stack.
        sep3: Character of the line below the stack.
        seplen: Length of these lines in characters.
    """
    frames = sys._current_frames()
    # The caller is of interest, this function is not.
    frames[threading.get_ident()] = sys._getframe(1)
    known = {thread.ident: thread for thread in threading.enumerate()}
    lines: list[str] = []
    for ident, frame in frames.items():
        lines.append(sep1 * seplen)
        lines.append(_title(ident, known.get(ident)))
        lines.append(sep2 * seplen)
        lines.extend(_stack(frame))
        lines.append(sep3 * seplen)
    _write("\n".join(lines) + "\n", file)


def _title(ident: int, thread: threading.Thread | None) -> str:
    if thread is None:
        return f"Thread {ident} (not started by Python)"
    marks = [str(ident)]
    if thread.daemon:
        marks.append("daemon")
    if ident == threading.get_ident():
        marks.append("current")
    return f"{thread.name} ({', '.join(marks)})"


def _stack(frame: FrameType) -> Iterator[str]:
    for entry in traceback.format_stack(frame):
        yield entry.rstrip("\n")


def _write(text: str, file: IO[str]) -> None:
    try:
        file.write(text)
        file.flush()
    except RuntimeError:
        # A buffered file refuses to be written to by a signal handler that interrupted such a
        # write.
        data = text.encode(getattr(file, "encoding", None) or "utf-8", "backslashreplace")
        while data:
            data = data[os.write(file.fileno(), data) :]
