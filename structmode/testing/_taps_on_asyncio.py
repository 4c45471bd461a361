"""Taps on asyncio: the event loop has a factory for its tasks, and what that makes may run any coroutine."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from typing import Any

from ._taps import Say, Tap

__all__ = ("cancel_current_task", "tapped_tasks")


@contextmanager
def tapped_tasks(say: Say, seed: int) -> Generator[None]:
    """Tap each task that begins inside; asyncio leaves nothing to chance that a seed could settle."""
    loop = asyncio.get_running_loop()

    def make(
        loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        tap = Tap(work, say, give_way=None, is_failure=lambda value: False)
        return asyncio.Task(tap, loop=loop, **options)

    before = loop.get_task_factory()
    loop.set_task_factory(make)  # type: ignore[arg-type] # the stubs leave out the options
    try:
        yield
    finally:
        loop.set_task_factory(before)


def cancel_current_task() -> bool:
    """Cancel the task that is being resumed: it learns of it when it is resumed the next time."""
    task = asyncio.current_task()
    return task is not None and task.cancel()
