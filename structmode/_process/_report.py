"""What a process is doing at the moment, as text: each task of each service, and each thread.

It is made and written in signal handlers, so it takes no locks, waits for nothing and calls no code of the program.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from typing import IO

from structmode import _engine as engine
from structmode.utils import _writing
from structmode.utils.logging._cry import cry_threads

__all__ = ("process_report", "threads_report", "write_at_once")

_WIDTH = 49


def process_report(root: engine.Run | None) -> str:
    """Return the stack of each task of each service at and below `root`, and of each thread."""
    return "\n".join([*_services(root), ""]) + threads_report()


def threads_report() -> str:
    """Return the stack of each thread."""
    threads = io.StringIO()
    cry_threads(threads)
    return threads.getvalue()


def _services(root: engine.Run | None) -> Iterator[str]:
    pending = [(root, 0)] if root is not None else []
    if root is not None and root.needs is not None:
        pending = [*((run, 1) for run in reversed(root.needs.hosted)), *pending]
    while pending:
        run, depth = pending.pop()
        pending.extend((child, depth + 1) for child in reversed(run.child_runs.values()))
        yield "=" * _WIDTH
        yield f"[^{'-' * depth}{run.unit.label}] {run.state.value}"
        yield "-" * _WIDTH
        stacks = run.stacks()
        for name, stack in stacks:
            yield f"{name}\n{stack.rstrip()}"
        if not stacks:
            yield "(no tasks)"


def write_at_once(text: str, file: IO[str] | None) -> None:
    """Write to a stream, also from a signal handler that interrupted a write to it.

    Where nothing can be written - it is closed, or a pipe that nobody reads - the text is dropped: there is nobody left to tell.
    """
    if file is None:
        return
    with suppress(OSError, ValueError):
        _writing.write_at_once(text, file)
