"""What `add_future` returns in mode: a future of asyncio."""

from __future__ import annotations

import asyncio
from typing import Any

from structmode._engine import Task

__all__ = ("HandleFuture",)


class HandleFuture(asyncio.Future[Any]):
    """A future that follows a task of a service, and cancels it when it is cancelled.

    As in mode it has no exception: what leaves the task is a crash of the service, and the future's result is None then.

    Args:
        handle: The task.
        wrapped: What was given to `add_future`.
        loop: The event loop of the future.
    """

    def __init__(self, handle: Task[Any], wrapped: object, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._handle = handle
        self.__wrapped__ = wrapped
        handle.add_done_callback(self._follow)

    def cancel(self, msg: Any = None) -> bool:
        """Cancel the task; the future is cancelled when that has ended."""
        return not self.done() and self._handle.cancel()

    def get_name(self) -> str:
        """Return the name of the task."""
        return self._handle.name

    def _follow(self, handle: Task[Any]) -> None:
        if self.done() or self.get_loop().is_closed():
            return
        if handle.cancelled():
            super().cancel()
        else:
            self.set_result(None if handle.exception() is not None else handle.result())
