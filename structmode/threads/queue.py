"""A thread service that takes calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, ParamSpec, TypeVar, overload

from .methods import MethodQueue
from .service import ServiceThread

__all__ = ("QueueServiceThread",)

T = TypeVar("T")
P = ParamSpec("P")


class QueueServiceThread(ServiceThread):
    """A service in a thread of its own that does there what it is asked to from elsewhere.

        class Store(QueueServiceThread):
            num_workers = 1

            async def on_start(self) -> None:
                self._db = self.add_context(closing(sqlite3.connect("data.db")))

            async def add(self, value: str) -> None:
                await self.call_thread(self._db.execute, "INSERT INTO t VALUES (?)", (value,))

    A plain function blocks the thread's event loop while it runs, and with it all else in the thread; nothing else.

    Differs from mode: calls that were taken before a stop are done first; a plain function may be called; calls within
    calls need no worker of their own; a failed `cast_thread` crashes the service.

    Args:
        num_workers: How many calls may be done at the same time; by default the class attribute.
        **kwargs: Arguments of `ServiceThread`.
    """

    abstract: ClassVar[bool] = False

    #: How many calls may be done at the same time; with 1, they are done one after the other.
    num_workers: int = 2

    #: How long calls that have been taken may go on when the service stops, in seconds; then they are cancelled.
    call_drain_timeout: float = MethodQueue.drain_timeout

    def __init__(self, *, num_workers: int | None = None, **kwargs: Any) -> None:
        if num_workers is not None:
            self.num_workers = num_workers
        super().__init__(**kwargs)
        self._method_queue = MethodQueue(self.num_workers, name=self.label)
        self._method_queue.drain_timeout = self.call_drain_timeout
        self.add_dependency(self._method_queue)

    @property
    def method_queue(self) -> MethodQueue:
        """The queue of its calls: a dependency, which runs in the thread."""
        return self._method_queue

    async def on_thread_started(self) -> None:
        """The thread is up, and takes calls."""

    async def on_thread_stop(self) -> None:
        """Take no more calls, and wait until those that were taken are done.

        What overrides it calls ``await super().on_thread_stop()`` first, and then puts away what the calls need. Without
        that, the calls are done a little later: when the dependencies stop.
        """
        await self._method_queue.stop()

    @overload
    async def call_thread(
        self, fun: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    async def call_thread(self, fun: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    async def call_thread(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Have ``fun`` called in the thread, and wait for its result; from any event loop.

        If the caller is cancelled, so is the call, and its end is waited for; a plain function can't be interrupted, and
        is waited for. If it returns all the same, so does this, and the cancellation follows at the next checkpoint. It
        sees the context variables of the caller.

        Args:
            fun: An async function, or a plain one.
            *args: Its arguments.
            **kwargs: Its keyword arguments.

        Raises:
            LifecycleError: If the service does not run, at once.
            CallAborted: If it stopped before the call was done.
            BaseException: What ``fun`` raised, with its traceback.
        """
        return await self._method_queue.perform(fun, *args, **kwargs)

    async def cast_thread(
        self, fun: Callable[P, object], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Have ``fun`` called in the thread, and do not wait for it. If it fails, the service crashes.

        Args:
            fun: An async function, or a plain one.
            *args: Its arguments.
            **kwargs: Its keyword arguments.

        Raises:
            LifecycleError: If the service does not run, at once.
        """
        await self._method_queue.cast(fun, *args, **kwargs)
