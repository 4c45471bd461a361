"""The contexts of one run: sync and async ones on one stack, closed last-in first-out.

Theory: a cancel scope or task group belongs to the task that entered it, and must be left there, in the order of a
stack. An async context may hold either, without saying so. Entered in one task and left in another, or entered under
one scope and left under another, it corrupts the scopes of the task. So each async context gets a task of its own, its
*keeper*, that enters it, waits, and leaves it; whoever asked for it only waits for the value. That makes it safe to add
a context from a hook, a background task or anywhere else.

A stack that is closed in a hurry is closed in the same order: each keeper is cancelled when its turn has come, and waited
for before the next one's.

Whoever is cancelled on its way into a context has, with a plain ``async with``, entered what needs no waiting, and left it. So
has who asks here: what was open before it was to be entered, such as a socket, is closed in any case.

What a keeper's context does by itself while it is held (a task group inside it fails, a timeout inside it expires) ends
the keeper, and what it raises reaches the run like the failure of any task.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
)
from typing import Any, Generic, TypeVar

import anyio

from structmode.exceptions import LifecycleError

from ._cancellation import through, without_cancellation
from ._flag import Flag
from ._tasks import Task

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Keeper(Generic[T]):
    """Holds one async context open in a task of its own."""

    def __init__(self, context: AbstractAsyncContextManager[T, bool | None]) -> None:
        self.name = f"context {_name_of(context)}"
        self._context = context
        self._entered = Flag()
        self._release = Flag()
        self.ended = Flag()
        self._value: T
        self._error: BaseException | None = None
        self._never_entered = False
        #: Set when the keeper's task is begun.
        self.task: Task[None]

    async def hold(self) -> None:
        """The keeper's task: enter, wait to be released, leave."""
        if not self._release.is_set():
            await self._hold(self._release.wait)
            return
        with anyio.CancelScope() as scope:  # given up before its first step
            scope.cancel()
            await self._hold(anyio.sleep_forever)

    async def _hold(self, until_released: Callable[[], Awaitable[None]]) -> None:
        try:
            async with self._context as self._value:
                self._entered.set()
                await until_released()
        except BaseException as exc:  # noqa: ASYNC103 - kept, and passed on when the duty is done
            if self._entered.is_set():
                raise
            self._error = exc  # belongs to whoever is waiting in `entered`

    def gone(self) -> None:
        """The keeper's task is over, or was cancelled before its first step."""
        self._never_entered = not self._entered.is_set()
        self._entered.set()
        self.ended.set()

    async def entered(self) -> T:
        """Wait until the context has been entered; return its value, or raise what entering raised.

        If the caller is cancelled while it waits, so is the keeper.
        """
        try:
            await self._entered.wait()
        except BaseException:
            self.give_up()
            await through(self.ended)  # noqa: ASYNC102 - the wait shields itself
            failure = self._failure()
            if failure is not None:
                raise failure from None  # noqa: ASYNC104 - it passes on what entering raised instead
            raise
        given_up = self._never_entered or self._release.is_set()
        if self._error is None and not given_up:
            return self._value
        failure = self._failure()
        if failure is not None:
            raise failure
        raise anyio.TaskCancelled(f"{self.name} was cancelled while it was being entered")

    def _failure(self) -> BaseException | None:
        return without_cancellation(self._error) if self._error is not None else None

    def release(self) -> None:
        """Have the context left."""
        self._release.set()

    def give_up(self) -> None:
        """Have it left while it is being entered."""
        if self.task.begun:  # one that has not will see that it was released
            self.task.cancel()
        self.release()


def _name_of(context: object) -> str:
    # What @asynccontextmanager makes knows the function it was made of.
    function = getattr(context, "func", type(context))
    return str(getattr(function, "__qualname__", function))


class Contexts(AsyncExitStack):
    """An exit stack whose async contexts are each entered and left in a task of their own.

    Args:
        keep: Begins a keeper's task, and returns it. Without it, this is a plain exit stack, such as `pop_all` makes to
            move what was entered.
        until_left: Waits until a keeper that has been released has ended, or is given up.
        closed: Whether it takes nothing, from the beginning.
    """

    def __init__(
        self,
        keep: Callable[[Keeper[Any]], Task[None]] | None = None,
        until_left: Callable[[Keeper[Any]], Awaitable[None]] | None = None,
        *,
        closed: bool = False,
    ) -> None:
        super().__init__()
        self._keep = keep
        self._until_left = until_left
        self.sync = SyncContexts(self)
        self._entering: set[Keeper[Any]] = set()
        self._leaving: list[Keeper[Any]] = []
        self._closed = closed
        self._killed = False
        # The task that closes the stack.
        self._closer: int | None = None

    async def enter_async_context(self, cm: AbstractAsyncContextManager[T, bool | None]) -> T:
        """Enter `cm` in a task of its own and have it left when the stack is closed; returns its value."""
        if not isinstance(cm, AbstractAsyncContextManager):
            raise TypeError(
                f"{cm!r} is not an async context manager; for one used with plain `with`, call add_context()"
            )
        if self._keep is None:
            return await super().enter_async_context(cm)
        keeper = Keeper(cm)
        keeper.task = self._keep(keeper)
        self._entering.add(keeper)
        try:
            value = await keeper.entered()
        finally:
            self._entering.discard(keeper)
        if self._closed:
            raise anyio.TaskCancelled(
                f"{keeper.name} was left at once, as the stack has been closed meanwhile"
            )
        self.push_async_callback(self._leave, keeper)
        return value

    async def _leave(self, keeper: Keeper[Any]) -> None:
        """Have a context left, and wait until it has been; only then is it the turn of the one below."""
        keeper.release()
        if self._until_left is None or self._closer != anyio.get_current_task().id:
            await keeper.ended.wait()  # closed by somebody else, who has taken it with `pop_all`
            return
        self._leaving.append(keeper)
        if self._killed:
            keeper.task.cancel()
        with anyio.CancelScope(shield=True):
            await self._until_left(keeper)

    @property
    def leaving(self) -> list[Keeper[Any]]:
        """Those that are being left; all but the last have ignored even the hard cancel, and are given up."""
        return [keeper for keeper in self._leaving if not keeper.ended.is_set()]

    def kill(self) -> None:
        """Cut short what is being entered and what is being left, now and from now on; the order stays."""
        self._killed = True
        for keeper in self._entering:
            keeper.give_up()
        for keeper in self.leaving:
            keeper.task.cancel()

    def open(self) -> Contexts:
        """Return the stack itself, if it takes more.

        Raises:
            LifecycleError: If it is being closed, or has been.
        """
        if self._closed:
            raise LifecycleError(
                "this stack of contexts has been closed: its service has stopped, or is stopping",
                "Ask the service for its stack anew, before each use",
            )
        return self

    async def close_all(self) -> None:
        """Leave what was entered, last-in first-out; what is still being entered is given up."""
        self._closed = True
        self._closer = anyio.get_current_task().id
        for keeper in tuple(self._entering):
            keeper.give_up()
        await self.aclose()


class SyncContexts(ExitStack):
    """The face of `Contexts` for code that knows a plain `ExitStack`: what it adds goes on the common stack."""

    def __init__(self, stack: Contexts) -> None:
        super().__init__()
        self._stack = stack

    def enter_context(self, cm: AbstractContextManager[T, bool | None]) -> T:
        """Enter `cm` and have it left when the stack is closed; returns its value."""
        if not isinstance(cm, AbstractContextManager):
            raise TypeError(
                f"{cm!r} is not a context manager; for one used with `async with`, await add_async_context()"
            )
        # Of mocks one can get any attribute.
        if isinstance(getattr(cm, "cancel_called", None), bool):
            raise TypeError(
                f"{cm!r} is a cancel scope, and belongs to the task that enters it: use it with a plain `with`; an async "
                "context that holds one has a task of its own, if it is added with add_async_context()"
            )
        return self._stack.open().enter_context(cm)

    def push(self, exit: Any) -> Any:  # noqa: A002 - the name that ExitStack has
        """Have `exit` called as an ``__exit__`` when the stack is closed."""
        return self._stack.open().push(exit)

    def callback(self, callback: Any, /, *args: Any, **kwds: Any) -> Any:
        """Have `callback` called when the stack is closed."""
        return self._stack.open().callback(callback, *args, **kwds)

    def pop_all(self) -> ExitStack:  # type: ignore[override]
        """Refused: what was added here lies between async contexts.

        Raises:
            LifecycleError: Always; it names the call to use instead.
        """
        raise LifecycleError(
            "sync and async contexts lie on one stack, so the sync ones can't be taken from it alone",
            "Take all of them: async_exit_stack.pop_all()",
        )

    def close(self) -> None:
        """Refused: what was added here lies between async contexts.

        Raises:
            LifecycleError: Always; it names the call to use instead.
        """
        raise LifecycleError(
            "sync and async contexts lie on one stack, so the sync ones can't be closed alone",
            "Close all of them: await async_exit_stack.aclose()",
        )
