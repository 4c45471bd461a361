"""One does it, and the others share what came of it.

Theory: of those who ask for the same thing at the same time, the first leads: it does the work in its own task, and what comes
of it, a result or an error, is for all who have come by then. If the leader is cancelled, that is its own affair: nothing has
come of the work, so the others begin anew, and one of them leads. So a timeout around one call never ends another call.

What is kept lasts as long as the work does. It is found by the identity of the object whose method is called; that object can't
go meanwhile, since the leader's frame holds it. So nothing is written into the object, and nothing is left.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from types import TracebackType
from typing import Any, Generic, TypeVar, overload

import anyio
import anyio.lowlevel

from structmode import _engine as engine
from structmode.exceptions import EventLoopMismatch, LifecycleError

from .locks import Event

__all__ = ("StampedeWrapper", "stampede")

_T = TypeVar("_T")


class _Flight(Generic[_T]):
    """Work that somebody does for all who wait for it."""

    __slots__ = ("error", "landed", "leader", "results", "token", "traceback")

    def __init__(self) -> None:
        self.landed = Event()
        self.token = engine.token_here()
        self.leader = anyio.get_current_task()
        self.results: tuple[_T, ...] = ()
        self.error: BaseException | None = None
        self.traceback: TracebackType | None = None

    def fail(self, exc: BaseException, what: str) -> BaseException | None:
        """Keep what the work failed of; return it, if it is another error than what was raised."""
        # Who closes the coroutine, or cancels its task, means the leader alone.
        error = None if isinstance(exc, GeneratorExit) else engine.as_failure(exc, what)
        if error is None:
            return None
        self.error, self.traceback = error, error.__traceback__
        return None if error is exc else error

    async def join(self, what: str) -> None:
        """Wait until the work is over, or given up."""
        if self.token != engine.token_here():
            raise EventLoopMismatch(
                f"{what} is being called on another event loop already",
                "Call it on one event loop at a time, or make one object for each",
            )
        if self.leader == anyio.get_current_task():
            raise LifecycleError(
                f"{what} calls itself, and would wait for itself for ever",
                "Call the function that does the work, without the stampede protection",
            )
        await self.landed.wait()


class StampedeWrapper(Generic[_T]):
    """An async function with its arguments; calls at the same time are one call.

    See `stampede` for what that means. This is for functions and arguments that are known later only.

    Args:
        fun: The async function.
        args: What it is called with.
        loop: Accepted for programs written for mode, and ignored.
        kwargs: What it is called with by name.
    """

    def __init__(
        self, fun: Callable[..., Awaitable[_T]], *args: Any, loop: Any = None, **kwargs: Any
    ) -> None:
        self.fun: Callable[..., Awaitable[_T]] = fun
        self.args: tuple[Any, ...] = args
        self.kwargs: dict[str, Any] = kwargs
        self._key: Hashable = None
        self._flights: dict[Hashable, _Flight[_T]] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {_name_of(self.fun)}>"

    async def __call__(self) -> _T:
        """Call the function, or share the outcome of the call that is being made.

        Returns:
            What the function returned.

        Raises:
            BaseException: What the function raised.
            EventLoopMismatch: If another event loop is making the call.
            LifecycleError: If the function calls itself in this way.
        """
        while (flight := self._flights.get(self._key)) is not None:
            await flight.join(_name_of(self.fun))
            try:
                if flight.error is not None:
                    # As it was raised: not with the frames of those who were told before.
                    raise flight.error.with_traceback(flight.traceback)
                if flight.results:
                    return flight.results[0]
            finally:  # or the error would hold this frame, and the frame the error
                del flight
        return await self._lead()

    async def _lead(self) -> _T:
        flight = self._flights[self._key] = _Flight[_T]()
        try:
            await anyio.lowlevel.checkpoint()
            result = await self.fun(*self.args, **self.kwargs)
        except BaseException as exc:
            other = flight.fail(exc, _name_of(self.fun))
            if other is None:
                raise
            raise other from exc  # noqa: ASYNC104 - nobody asked this task to end
        else:
            flight.results = (result,)
            return result
        finally:
            del self._flights[self._key]
            flight.landed.set()
            del flight  # as above


class stampede(Generic[_T]):  # noqa: N801 - a decorator, with mode's name
    """Let calls of an async method that are made at the same time be one call.

        class Client:
            @stampede
            async def maybe_connect(self) -> Connection:
                return await connect()

    The first caller does the work, in its own task. Those who call while it does wait for it, and get the same result, or the
    same error. A call made afterwards does the work again: nothing is remembered. Objects don't share with one another.

    If the caller who does the work is cancelled, one of the others begins it anew; so a caller's timeout is nobody else's. If
    one of the others is cancelled, that ends its own call alone. Differs from mode, where the cancellation of the first caller
    cancels all, and a reference cycle is left in each object.

    For methods without arguments, and, as in mode, for none with: those who share a call must mean the same thing. A function
    outside of a class may be decorated too.

    Args:
        fget: The async method, or function.
        doc: Its docstring; by default the method's own.
    """

    def __init__(self, fget: Callable[..., Awaitable[_T]], *, doc: str | None = None) -> None:
        self._fget = fget
        self._flights: dict[Hashable, _Flight[_T]] = {}
        self.__doc__ = doc or fget.__doc__
        self.__name__: str = fget.__name__
        self.__qualname__ = fget.__qualname__
        self.__module__ = fget.__module__
        self.__wrapped__ = fget

    @overload
    def __get__(self, obj: None, objtype: type[Any] | None = None) -> stampede[_T]: ...
    @overload
    def __get__(self, obj: object, objtype: type[Any] | None = None) -> StampedeWrapper[_T]: ...

    def __get__(
        self, obj: object | None, objtype: type[Any] | None = None
    ) -> stampede[_T] | StampedeWrapper[_T]:
        return self if obj is None else self._of(obj)

    async def __call__(self, *owner: Any) -> _T:
        """Call the function, or the method of an object: ``Client.maybe_connect(client)``.

        Args:
            owner: The object, if it is a method.

        Returns:
            What the function returned.

        Raises:
            BaseException: As `StampedeWrapper`.
        """
        return await self._of(*owner)()

    def _of(self, *owner: object) -> StampedeWrapper[_T]:
        """Return what makes the call for an object; all of one object know of each other."""
        wrapper = StampedeWrapper(self._fget, *owner)
        wrapper._flights = self._flights
        wrapper._key = tuple(map(id, owner))
        return wrapper


def _name_of(function: Callable[..., object]) -> str:
    return getattr(function, "__qualname__", None) or repr(function)


for _public in (StampedeWrapper, stampede):
    _public.__module__ = "structmode.utils.futures"
