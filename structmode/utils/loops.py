"""asyncio's event loops, for programs written for mode.

What is here is asyncio's by nature, and needs asyncio. On every backend: `anyio.lowlevel.current_token` names the running event
loop, `anyio.run` makes one, and `structmode.loop.use` chooses its kind.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any

from . import _asyncio_only

__all__ = ("call_asap", "clone_loop", "get_event_loop")

# The loop that this thread has been given while none ran: its attribute `loop`. The name is mode's, and known to Faust's tests.
_current_loop = threading.local()


def get_event_loop() -> Any:
    """Return the running asyncio event loop; where none runs, one that this thread keeps for later.

    The one that is kept is made when it is first asked for, and another one when it has been closed. Whoever runs it closes it.

    Raises:
        AsyncioRequired: On trio.
    """
    _asyncio_only.refuse_trio("get_event_loop()", "anyio.lowlevel.current_token()")
    running = _asyncio_only.running_loop_or_none()
    if running is not None:
        return running
    kept = getattr(_current_loop, "loop", None)
    if kept is None or kept.is_closed():
        kept = _current_loop.loop = _asyncio_only.new_loop()
    return kept


def clone_loop(loop: Any) -> Any:
    """Return a new event loop of the same kind, with the same signal handlers.

    From then on, signals go to the new loop. uvloop does not tell which handlers a loop has: there, add them again.

    Args:
        loop: The asyncio event loop to copy. It is left as it is.

    Raises:
        AsyncioRequired: On trio.
        ValueError: If it has signal handlers, and the caller is not in the main thread, where alone they can be set.
    """
    _asyncio_only.refuse_trio("clone_loop()", "anyio.run() in another thread")
    clone = type(loop)()
    for number, handle in getattr(loop, "_signal_handlers", {}).items():
        clone.add_signal_handler(number, handle._callback, *handle._args)
    return clone


def call_asap(
    callback: Callable[..., object],
    *args: Any,
    context: Context | None = None,
    loop: Any = None,
) -> Any:
    """Have an event loop call a function next, before what it has to do already.

    uvloop lets nobody jump the queue: there, the function is called in its turn.

    Args:
        callback: The function.
        args: What it is called with.
        context: The context that it is called in; by default a copy of the caller's.
        loop: The asyncio event loop, which must be the caller's own if it runs; by default the running one.

    Returns:
        A handle, with a ``cancel()``.

    Raises:
        AsyncioRequired: On trio, and where no event loop runs and none is given.
    """
    if loop is None:
        loop = _asyncio_only.running_loop(
            "call_asap()", "anyio.from_thread.run_sync(..., token=...), or a task that is started"
        )
    handle = loop.call_soon(callback, *args, context=context)
    ready: object = getattr(loop, "_ready", None)
    if isinstance(ready, deque):
        ready.rotate(1)  # the one that has just been put last is first now
    return handle
