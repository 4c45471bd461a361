"""Writing a report to a stream of somebody else's, which may not take every character, nor be ready to be written to.

What is lost here is what somebody needs who looks for a fault. So a character that the stream has no code for is written as an
escape, as it is on standard error.
"""

from __future__ import annotations

import os
from typing import IO

__all__ = ("write", "write_at_once")


def write(text: str, file: IO[str]) -> None:
    """Write to a stream; what its encoding does not have is written as an escape."""
    try:
        file.write(text)
    except UnicodeEncodeError:
        # One that does not say what it takes may take no more than this.
        encoding = getattr(file, "encoding", None) or "ascii"
        file.write(text.encode(encoding, "backslashreplace").decode(encoding))


def write_at_once(text: str, file: IO[str]) -> None:
    """Write to a stream and flush it, also from a signal handler that interrupted a write to it."""
    try:
        write(text, file)
        file.flush()
    except RuntimeError:  # a buffered file refuses a handler that interrupted its write
        data = text.encode(getattr(file, "encoding", None) or "utf-8", "backslashreplace")
        while data:
            data = data[os.write(file.fileno(), data) :]
