"""The one file that names asyncio and trio.

Theory: anyio is the same on every event loop, and nearly all of structmode is written on anyio alone. A few things it
does not offer, because they have no common form, are here and nowhere else:

- a task that belongs to the event loop run itself, for a start that nobody owns (`spawn_in_loop`);
- taking back a cancellation that came from outside every cancel scope, which only asyncio knows, and telling whom a
  cancellation was meant for (`absorb_cancellation`, `being_cancelled`);
- waking the loop from a signal handler, even while it is busy (`signal_safe_caller`);
- the names under which a user asks for a loop, and what `anyio.run` needs for each (`run_arguments`).

Both libraries are imported inside the functions: importing structmode loads neither.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, Literal, cast

import anyio
from anyio.lowlevel import EventLoopToken, current_token

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


def on_trio() -> bool:
    """Whether the caller runs on trio."""
    return current_token().backend_class.__module__.endswith("._trio")


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
    return task is None or task.cancelling() > 0


def running_asyncio_loop() -> Any:
    """Return the running asyncio loop, or raise `RuntimeError` where there is none."""
    import asyncio

    return asyncio.get_running_loop()


def signal_safe_caller() -> Callable[[Callable[[], object]], None]:
    """Return a function that has the current loop call something soon, callable from a signal handler."""
    if on_trio():
        import trio

        token = trio.lowlevel.current_trio_token()
        return lambda function: token.run_sync_soon(function, idempotent=True)
    import asyncio

    loop = asyncio.get_running_loop()

    def call(function: Callable[[], object]) -> None:
        loop.call_soon_threadsafe(function)

    return call


def run_arguments(backend: str) -> dict[str, Any]:
    """Translate the name of a backend into the arguments of `anyio.run`.

    Raises:
        ValueError: If there is no such backend.
        ModuleNotFoundError: If the backend needs a package that is not installed; the error names the extra.
    """
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
            f"backend {backend!r} needs uvloop, which is not installed; install it with: pip install structmode[uvloop]",
            name="uvloop",
        ) from None
    return {"backend": name, "backend_options": {"loop_factory": cast(Any, uvloop).new_event_loop}}
