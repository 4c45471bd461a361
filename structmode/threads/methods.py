"""The calls into one event loop, from others and from its own: done by workers, in the order in which they came.

A `MethodQueue` is a service, and lives in the event loop in which it is started; calls come from any other, and from any
thread. It takes calls from its start to its stop. What it has taken by then it still does, for as long as `drain_timeout`
allows; what is left after that is cancelled, and who waits for it gets an error.

A call that is made while another is being done here, on behalf of that one, is done at once, as a part of it: no number of
workers is too small for calls within calls.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from functools import partial
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar, cast, overload

import anyio.lowlevel

from structmode import _engine as engine
from structmode.exceptions import CallAborted, LifecycleError
from structmode.services import Service

__all__ = ("MethodQueue", "Promise", "QueuedMethod")

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
F = TypeVar("F")
P = ParamSpec("P")


class Promise(Protocol[T_co]):
    """The answer to a call that is on its way: it may be awaited in the event loop that made the call, as often as need be."""

    def __await__(self) -> Generator[Any, Any, T_co]:
        """Wait for the result, or for what the call raised."""
        ...

    def done(self) -> bool:
        """Whether the call has been answered."""
        ...


class QueuedMethod(NamedTuple):
    """A call that is on its way.

    Attributes:
        promise: What gets the result; None if nobody waits for it.
        method: What to call: an async function, or a plain one.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
    """

    promise: Any
    method: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


class MethodQueue(Service):
    """Does in its own event loop what is asked of it from elsewhere.

    Each worker does one call at a time, from its first step to its last, before it takes the next; the calls are begun in
    the order in which they came. With one worker, none begins before the last one has ended.

    Unlike in mode, what it has taken is done before it stops, and a failed `cast` is a crash.

    Args:
        num_workers: How many calls may be done at the same time.
        name: Who takes the calls, in errors; by default the queue itself.
        **kwargs: Arguments of `Service`.

    Raises:
        TypeError: If the number of workers is no whole number.
        ValueError: If there is to be no worker.
    """

    mundane_level = "debug"

    #: How long the calls that have been taken may go on when the queue stops, in seconds.
    drain_timeout: float = 10.0

    def __init__(self, num_workers: int = 2, *, name: str = "", **kwargs: Any) -> None:
        if not isinstance(num_workers, int):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"a MethodQueue takes a whole number of workers, not {num_workers!r}")
        if num_workers < 1:
            raise ValueError(f"a MethodQueue needs at least one worker, not {num_workers}")
        self.num_workers = num_workers
        self._name = name
        self._box: engine.Mailbox | None = None
        super().__init__(**kwargs)

    async def on_start(self) -> None:
        """Open for calls."""
        self._box = box = engine.Mailbox(self._taker)
        for number in range(self.num_workers):
            work = partial(self._work, box)
            name = f"{self.shortlabel}.worker {number + 1}"
            self._life.current.spawn(engine.Task(work, name, finite=False))

    async def on_stop(self) -> None:
        """Take no more calls; what has been taken is done."""
        if self._box is not None:
            self._box.shut()

    async def on_shutdown(self) -> None:
        """Tell those who still wait that nothing will come."""
        if self._box is not None:
            self._box.close()

    async def _work(self, box: engine.Mailbox) -> None:
        while True:
            call = box.take()
            if call is not None:
                await call.perform()
            elif (
                box.is_shut
            ):  # not before: after a crash, those that stop earlier may still need us
                return
            else:
                await box.until_news()

    @property
    def _taker(self) -> str:
        return self._name or self.label

    @overload
    async def perform(
        self, fun: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    async def perform(self, fun: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    async def perform(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Have ``fun`` called in the queue's event loop, and wait for its result.

        May be called in any event loop. If the caller is cancelled, so is the call, and its end is waited for; a plain
        function can't be interrupted, and is waited for. If it returns all the same, so does this, and the cancellation
        follows at the next checkpoint. It sees the context variables of the caller.

        Args:
            fun: An async function, or a plain one.
            *args: Its arguments.
            **kwargs: Its keyword arguments.

        Raises:
            LifecycleError: If the queue does not run, at once.
            CallAborted: If it stopped before the call was done.
            BaseException: What ``fun`` raised, with its traceback.
        """
        reply: engine.Reply[Any] = engine.Reply()
        call = self._call_of(QueuedMethod(reply, fun, args, kwargs))
        await anyio.lowlevel.checkpoint_if_cancelled()  # to wait for the answer is a checkpoint
        self._post(call, reply)
        return await reply.receive()

    @overload
    async def call(
        self,
        promise: None,
        fun: Callable[P, Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Promise[T]: ...
    @overload
    async def call(
        self, promise: None, fun: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> Promise[T]: ...
    @overload
    async def call(
        self, promise: F, fun: Callable[P, object], *args: P.args, **kwargs: P.kwargs
    ) -> F: ...
    async def call(self, promise: Any, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Have ``fun`` called in the queue's event loop, and return at once what will have its result.

        Args:
            promise: A future of asyncio, of the event loop that runs here, which gets the result; or None.
            fun: An async function, or a plain one.
            *args: Its arguments.
            **kwargs: Its keyword arguments.

        Returns:
            The future, or else a promise that can be awaited here, as often as need be. If who awaits it is cancelled,
            so is the call. If the call fails, and the promise is dropped without having been awaited, that is logged.

        Raises:
            LifecycleError: If the queue does not run.
        """
        reply = _Answer(self) if promise is None else _FutureReply(self, promise)
        call = self._call_of(QueuedMethod(reply, fun, args, kwargs))
        await anyio.lowlevel.checkpoint()
        self._post(call, reply)
        return _Promise(reply) if promise is None else promise

    async def cast(self, fun: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Have ``fun`` called in the queue's event loop, and do not wait for it. If it fails, the queue crashes.

        Args:
            fun: An async function, or a plain one.
            *args: Its arguments.
            **kwargs: Its keyword arguments.

        Raises:
            LifecycleError: If the queue does not run.
        """
        call = self._call_of(QueuedMethod(None, fun, args, kwargs))
        await anyio.lowlevel.checkpoint()
        self._post(call, None)

    async def flush(self) -> None:
        """Do the calls that wait for their turn, here, beside the workers; returns when none is left that has not begun.

        To be called in the queue's event loop. Where the queue does not run, there is nothing to do. Who cancels it lets the call
        that is being done end.

        Differs from mode: it is not needed for a stop, which does them in any case.

        Raises:
            EventLoopMismatch: If it is called outside of the queue's event loop.
            Exception: What a `cast` among them raised; those after it still wait for their turn.
        """
        run, box = self._life.run, self._box
        if run is not None:
            run.check_loop("flush()")
        await anyio.lowlevel.checkpoint()
        while box is not None and (call := box.take()) is not None:
            with anyio.CancelScope(shield=True):  # it is somebody else's
                await call.perform()
            await anyio.lowlevel.checkpoint_if_cancelled()

    @staticmethod
    def _call_of(method: QueuedMethod) -> engine.Call:
        if not callable(method.method):
            engine.close_all([method.method])
            raise TypeError(
                f"a call takes a function and its arguments, as in call_thread(fun, 1, 2); not {method.method!r}"
            )
        reply = cast("engine.Reply[Any] | None", method.promise)
        name = getattr(method.method, "__qualname__", None) or repr(method.method)
        return engine.Call(name, partial(method.method, *method.args, **method.kwargs), reply)

    def _post(self, call: engine.Call, reply: engine.Reply[Any] | None) -> None:
        box = self._box
        if box is None or not box.post(call, reply):
            raise LifecycleError(
                f"{self._taker} takes no calls: it is {self._condition()}",
                "Start it first (await service.start()), and make calls before you stop it",
            )

    def _condition(self) -> str:
        if self._box is None:
            return "not started"
        return "stopping" if self.started else "stopped"


class _Answer(engine.Reply[Any]):
    """An answer that may never be asked for: then a failure is logged, where nobody else can learn of it.

    Args:
        queue: Who does the call.
    """

    def __init__(self, queue: MethodQueue) -> None:
        super().__init__()
        self._queue = queue
        self._forgotten = False
        # Emptied by the first who tells: it may be forgotten in one thread while it is given in another.
        self._untold = [True]

    def forget(self) -> None:
        """Know that nobody will ask for it; from whatever thread, in the middle of anything. Never raises."""
        self._forgotten = True
        if self.done():
            self._tell()

    def _deliver(self) -> None:
        super()._deliver()
        if self._forgotten:
            self._tell()

    def _tell(self) -> None:
        try:
            error = self._error
            if error is None or _was_given_up(error):
                return
            self._untold.pop()
            self._queue._unit.on_failure(error, "a call", "unreceived")
        except Exception:  # noqa: BLE001, S110 - told already; or the interpreter is about to end
            pass


def _was_given_up(error: BaseException) -> bool:
    """Whether an error says that a call was cancelled, or not begun; what another call has raised in it, has a traceback."""
    return isinstance(error, CallAborted) and error.__traceback__ is None


class _Promise:
    """What the caller has of an answer; nobody else holds it, so that its end is known."""

    _awaited = True  # until it has an answer, there is nothing to forget

    def __init__(self, answer: _Answer) -> None:
        self._answer = answer
        self._awaited = False

    def __await__(self) -> Generator[Any, Any, Any]:
        self._awaited = True
        return self._answer.__await__()

    def done(self) -> bool:
        """Whether the call has been answered."""
        return self._answer.done()

    def __del__(self) -> None:
        if not self._awaited:
            self._answer.forget()


class _FutureReply(_Answer):
    """An answer that goes into a future of asyncio.

    Args:
        queue: Who does the call.
        future: The future, which complains itself if nobody asks for the error that it got.
    """

    def __init__(self, queue: MethodQueue, future: Any) -> None:
        super().__init__(queue)
        self._future = future
        future.add_done_callback(self._cancelled)

    def _cancelled(self, future: Any) -> None:
        if future.cancelled():
            self.cancel()

    def _deliver(self) -> None:
        try:
            self._future.get_loop().call_soon_threadsafe(self._resolve)
        except RuntimeError:  # that event loop is over, and with it whoever waited
            if not self._future.done():
                self._tell()

    def _resolve(self) -> None:
        if self._future.done():
            return
        if self._error is not None:
            self._future.set_exception(self._error)
        else:
            self._future.set_result(self._value)
