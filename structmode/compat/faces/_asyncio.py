"""What mode's users know to be asyncio's: the event loop that each service is for, and the futures of its tasks.

Beside the engine's `_backend` this is the one file of the faces that names asyncio. It does so inside its functions:
importing the faces does not load it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import cache
from typing import Any, cast

from structmode._engine import shielded
from structmode.loop import chosen, run_arguments
from structmode.utils import loops

__all__ = ("EarlyWork", "begin", "future_of", "get_event_loop", "new_event_loop")


def get_event_loop() -> Any:
    """Return the running event loop; where none runs, the one that is set for this thread, made and set if need be.

    structmode's own function of this name keeps a loop for itself instead, and leaves alone what is set for asyncio.
    """
    import asyncio

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        pass
    kept = loops._current_loop
    loop = getattr(kept, "loop", None)
    if loop is None or loop.is_closed():
        loop = kept.loop = _loop_that_was_chosen() or _loop_that_is_set()
    return loop


def _loop_that_was_chosen() -> Any:
    """Make and set a loop of the kind that `structmode.loop.use` was told; in mode that sets a policy, which does so."""
    import asyncio

    if chosen() in {"asyncio", "trio"}:  # what asyncio itself makes
        return None
    loop = run_arguments(chosen())["backend_options"]["loop_factory"]()
    asyncio.set_event_loop(loop)
    return loop


def _loop_that_is_set() -> Any:
    import asyncio
    import warnings

    try:
        with warnings.catch_warnings():
            # It makes one where none is set, up to Python 3.13; later Pythons deprecate the policy. Both are dealt with here.
            warnings.simplefilter("ignore", DeprecationWarning)
            return cast(Any, asyncio).get_event_loop_policy().get_event_loop()
    except RuntimeError:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        return loop


def new_event_loop() -> Any:
    """Return a new event loop."""
    import asyncio

    return asyncio.new_event_loop()


def begin(work: Coroutine[Any, Any, Any], loop: Any) -> Any:
    """Run a coroutine in a task of an event loop's own, which belongs to no service."""
    import asyncio

    return asyncio.ensure_future(work, loop=loop)


class EarlyWork:
    """Work of a service that has not been started: it runs in a task of the event loop's own until the service takes it over.

    Args:
        work: What it does.
        crash: What is called with its failure as long as no service waits for it.
        loop: The event loop, which runs here.
        name: How it is called in reports.
    """

    def __init__(
        self,
        work: Coroutine[Any, Any, Any],
        crash: Callable[[BaseException], object],
        loop: Any,
        name: str,
    ) -> None:
        self.name = name
        self._is_taken_over = False
        self._crash = crash
        self.task = begin(self._carry(work), loop)

    async def _carry(self, work: Coroutine[Any, Any, Any]) -> Any:
        import asyncio

        try:
            return await work
        except asyncio.CancelledError:
            raise
        except BaseException as exc:
            if self._is_taken_over:
                raise
            self._crash(exc)

    async def take_over(self) -> Any:
        """Have its failure be the caller's, and its end the caller's too: who cancels this waits until it has ended."""
        import asyncio

        self._is_taken_over = True
        try:
            await asyncio.wait({self.task})
        except asyncio.CancelledError:
            # Once: anyio would pass each of its own on, and what the work still has to do would not get far.
            await shielded(self.end)  # noqa: ASYNC102 - the wait shields itself
            raise
        return self.task.result()

    async def end(self) -> None:
        """Cancel it, and wait for it."""
        import asyncio

        self.task.cancel()
        await asyncio.wait({self.task})


def future_of(handle: Any, name: str, wrapped: object, loop: Any) -> Any:
    """Return a future of asyncio that follows a task of a service, and cancels it when it is cancelled.

    As in mode it has no exception: what leaves the task is a crash of the service, and the future's result is None then.

    Args:
        handle: The task: one of structmode's, or of asyncio's.
        name: The name of the future.
        wrapped: What was given to `add_future`.
        loop: The event loop of the future.
    """
    return _future_class()(handle, name, wrapped, loop)


@cache
def _future_class() -> type[Any]:
    import asyncio

    class HandleFuture(asyncio.Future[Any]):
        """A future that follows a task of a service."""

        def __init__(self, handle: Any, name: str, wrapped: object, loop: Any) -> None:
            super().__init__(loop=loop)
            self._handle = handle
            self._name = name
            self.__wrapped__ = wrapped
            handle.add_done_callback(self._follow)

        def cancel(self, msg: Any = None) -> bool:
            """Cancel the task; the future is cancelled when that has ended."""
            return not self.done() and bool(self._handle.cancel())

        def get_name(self) -> str:
            """Return the name of the task."""
            return self._name

        def _follow(self, handle: Any) -> None:
            if self.done() or self.get_loop().is_closed():
                return
            if handle.cancelled():
                super().cancel()
            else:
                self.set_result(None if handle.exception() is not None else handle.result())

    return HandleFuture
