"""The one file that names asyncio and trio.

Theory: anyio is the same on every event loop, and nearly all of structmode is written on anyio alone. A few things it
does not offer, because they have no common form, are here and nowhere else:

- a task that belongs to the event loop run itself, for a start that nobody owns (`spawn_in_loop`);
- the cheapest way to have a task wait until another wakes it, and to tell the time (`bed`, `clock_here`), and which events
  are waited for at a checkpoint, be they set or not (`waits_at_checkpoint`);
- taking back a cancellation that came from outside every cancel scope, which only asyncio knows, and telling whom a
  cancellation was meant for (`absorb_cancellation`, `being_cancelled`);
- waking the loop from a signal handler, even while it is busy (`signal_safe_caller`);
- the names under which a user asks for a loop, and what `anyio.run` needs for each (`run_arguments`);
- making asyncio's own loop on a selector that somebody else has made (`new_loop_on`), and a policy for code that asks
  asyncio for a loop by itself (`loop_policy`).

Both libraries are imported inside the functions: importing structmode loads neither.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from functools import lru_cache, partial
from selectors import BaseSelector
from typing import Any, Literal, TypeVar, cast

import anyio
from anyio.lowlevel import EventLoopToken, current_token

T = TypeVar("T")
BackendName = Literal["asyncio", "asyncio+uvloop", "trio"]
BACKENDS: tuple[BackendName, ...] = ("asyncio", "asyncio+uvloop", "trio")

# The event loop holds its tasks weakly; what nobody else owns must be held here until it ends.
_held: set[Any] = set()


def token_here() -> EventLoopToken | None:
    """Return what identifies the running event loop; None where there is none."""
    try:
        return current_token()
    except anyio.NoEventLoopError:
        return None


def runs_here(token: EventLoopToken | None) -> bool:
    """Whether the caller is on an event loop: in a task of it, or in a callback of asyncio's, which is in none."""
    if token is None:
        return token_here() is None
    if on_trio():
        import trio

        return token.native_token is trio.lowlevel.current_trio_token()
    return token.native_token is asyncio_loop_here()


def in_callback(function: Callable[[], T]) -> T:
    """Call what needs to know its event loop in a callback of asyncio's, where anyio would ask sniffio, which does not know."""
    context, sniffio = copy_context(), sys.modules.get("sniffio")
    if sniffio is not None:  # pragma: no branch - trio brings it; without it, anyio asks asyncio
        context.run(sniffio.current_async_library_cvar.set, "asyncio")
    return context.run(function)


def on_trio() -> bool:
    """Whether the caller runs on trio."""
    # Nobody does who has not imported it; while another thread is about to, it may be there in part.
    lowlevel = sys.modules.get("trio.lowlevel")
    in_trio_run = getattr(lowlevel, "in_trio_run", None)
    if lowlevel is None or in_trio_run is None or not in_trio_run():
        return False
    # As a guest it shares its thread with asyncio, whose own tasks are in its run, too.
    return lowlevel.in_trio_task() or asyncio_loop_here() is None


def clock_here() -> Callable[[], float]:
    """Return what tells the time of the running event loop, in seconds."""
    if on_trio():
        import trio

        return trio.current_time
    time: Callable[[], float] = running_asyncio_loop().time
    return time


def bed(seconds: float = math.inf) -> tuple[Callable[[], object], Awaitable[object]]:
    """Return what wakes one task, once, and what that task awaits until then, or for so many seconds.

    Both are for the running event loop. An event of anyio does the same for any number of tasks, and a cancel scope of anyio's
    can end any wait; either costs several times as much.
    """
    if on_trio():
        import trio

        if seconds != math.inf:
            scope = trio.CancelScope(deadline=trio.current_time() + seconds)
            return scope.cancel, _asleep_on_trio(scope)
        event = trio.Event()
        return event.set, event.wait()
    future = running_asyncio_loop().create_future()
    return partial(_wake, future), (
        future if seconds == math.inf else _woken_on_asyncio(future, seconds)
    )


@lru_cache
def waits_at_checkpoint(kind: type[Any]) -> bool:
    """Whether a class is one of events whose ``wait`` is a checkpoint in any case; asyncio's returns at once if it is set."""
    return (
        f"{kind.__module__}.".startswith(("anyio.", "trio.", "structmode."))
        and callable(getattr(kind, "is_set", None))
        and inspect.iscoroutinefunction(getattr(kind, "wait", None))
    )


async def _asleep_on_trio(scope: Any) -> None:
    import trio

    with scope:
        await trio.sleep_forever()


async def _woken_on_asyncio(future: Any, seconds: float) -> None:
    alarm = future.get_loop().call_later(seconds, _wake, future)
    try:
        await future
    finally:
        alarm.cancel()


def _wake(future: Any) -> None:
    if not future.done():  # its task may have been cancelled
        future.set_result(None)


def spawn_in_loop(function: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    """Run `function` in a task that belongs to the event loop run itself.

    When the loop ends, the task is cancelled, and waited for. `function` must not raise.
    """
    if on_trio():
        import trio

        # As on asyncio: the task sees the context variables of its caller.
        trio.lowlevel.spawn_system_task(function, name=name, context=copy_context())
        return
    import asyncio

    task = asyncio.get_running_loop().create_task(function(), name=name)
    _held.add(task)
    task.add_done_callback(_held.discard)


def absorb_cancellation() -> None:
    """Take back a cancellation that no scope of ours asked for, so that the task may go on.

    asyncio cancels every task when its run ends, shields or not; a task that means to end in order says so here.
    trio has no such thing.
    """
    if on_trio():
        return
    import asyncio

    task = asyncio.current_task()
    if task is not None:
        task.uncancel()


def being_cancelled() -> bool:
    """Whether the cancellation that the calling task has just met was asked of the task itself.

    On asyncio it may as well have been asked of what the task awaits, and look the same.
    """
    if on_trio():
        return True
    import asyncio

    task = asyncio.current_task()
    if task is None or task.cancelling() > 0:
        return True
    # A thread of anyio's that has found its caller cancelled says so, which that waits for behind a shield.
    return anyio.current_effective_deadline() == -math.inf


def asyncio_loop_here() -> Any:
    """Return the running asyncio loop; None where there is none."""
    try:
        return running_asyncio_loop()
    except RuntimeError:
        return None


def running_asyncio_loop() -> Any:
    """Return the running asyncio loop, or raise `RuntimeError` where there is none."""
    import asyncio

    return asyncio.get_running_loop()


def asyncio_if_loaded() -> Any:
    """Return the module asyncio if somebody has imported it, as all who know the names in it have; else None."""
    return sys.modules.get("asyncio")


def signal_safe_caller() -> Callable[[Callable[[], object]], None]:
    """Return a function that has the current loop call something soon, callable from a signal handler."""
    if on_trio():
        import trio

        token = trio.lowlevel.current_trio_token()
        return lambda function: token.run_sync_soon(function, idempotent=True)
    import asyncio

    # The context of the caller: a handler interrupts whatever runs, which may be a greenlet without anyio's variables.
    loop, context = asyncio.get_running_loop(), copy_context()

    def call(function: Callable[[], object]) -> None:
        loop.call_soon_threadsafe(function, context=context)

    return call


def new_loop_on(selector: BaseSelector) -> Any:
    """Return a new event loop of asyncio's own that waits by means of `selector`."""
    import asyncio

    return asyncio.SelectorEventLoop(selector)


def loop_policy(new_event_loop: Callable[[], Any]) -> type[Any]:
    """Return a class of asyncio's event loop policies that makes its loops so, and one wherever one is asked for.

    Raises:
        AttributeError: If there are no policies in this Python: 3.16 has none.
    """
    import asyncio

    class Policy(cast(Any, asyncio).DefaultEventLoopPolicy):  # type: ignore[misc]
        """An event loop policy; it makes a loop for each thread that asks for one."""

        def new_event_loop(self) -> Any:
            return new_event_loop()

        def get_event_loop(self) -> Any:
            if self._local._loop is None:
                self.set_event_loop(self.new_event_loop())
            return self._local._loop

    return Policy


def run_arguments(backend: str) -> dict[str, Any]:
    """Translate the name of a backend into the arguments of `anyio.run`.

    Raises:
        TypeError: If it is no name.
        ValueError: If there is no such backend.
        ModuleNotFoundError: If the backend needs a package that is not installed; the error names the extra.
    """
    if not isinstance(backend, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"backend is a name, such as 'trio', not {backend!r}")
    name, _, flavour = ("asyncio+uvloop" if backend == "uvloop" else backend).partition("+")
    if backend not in {*BACKENDS, "uvloop"}:
        known = ", ".join(repr(one) for one in BACKENDS)
        raise ValueError(f"there is no backend {backend!r}; it is one of {known}")
    if not flavour:
        return {"backend": name}
    try:
        import uvloop
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"backend {backend!r} needs uvloop, which is not installed; install it with: pip install 'structmode[uvloop]'",
            name="uvloop",
        ) from None
    return {"backend": name, "backend_options": {"loop_factory": cast(Any, uvloop).new_event_loop}}
