"""What is asyncio's by nature: its loops, its tasks, its futures.

Theory: these things have no counterpart on trio, so there is nothing to translate. They are here for programs that were written
for mode and run on asyncio. Elsewhere they say so, and name what works on every backend. It is the second file, after the
engine's `_backend`, that may name asyncio: what the engine needs, and nobody but these few functions needs, are two things.

asyncio is imported inside the functions: importing structmode does not load it.
"""

from __future__ import annotations

from typing import Any

from structmode import _engine as engine
from structmode.exceptions import AsyncioRequired

__all__ = (
    "current_task",
    "new_loop",
    "refuse_trio",
    "running_loop",
    "running_loop_or_none",
    "tasks_of",
)


def refuse_trio(what: str, instead: str) -> None:
    """Refuse something on trio.

    Raises:
        AsyncioRequired: If the caller runs on trio; it names what works there.
    """
    if engine.token_here() is not None and engine.on_trio():
        raise AsyncioRequired(what, instead)


def running_loop(what: str, instead: str) -> Any:
    """Return the running asyncio loop.

    Args:
        what: What needs it, to be named in the error.
        instead: What works on every backend.

    Raises:
        AsyncioRequired: On trio, and where no event loop runs.
    """
    loop = running_loop_or_none()
    if loop is None:
        raise AsyncioRequired(what, instead)
    return loop


def running_loop_or_none() -> Any:
    """Return the running asyncio loop; None where there is none."""
    try:
        return engine.running_asyncio_loop()
    except RuntimeError:
        return None


def current_task(loop: Any) -> Any:
    """Return the task that runs in a loop; None if there is none, or no loop."""
    import asyncio

    if loop is None and engine.token_here() is None:
        return None
    return asyncio.current_task(loop)


def tasks_of(loop: Any) -> set[Any]:
    """Return the tasks of a loop that have not ended."""
    import asyncio

    return asyncio.all_tasks(loop)


def new_loop() -> Any:
    """Return a new event loop of the kind that asyncio makes by default here."""
    import asyncio

    return asyncio.new_event_loop()
