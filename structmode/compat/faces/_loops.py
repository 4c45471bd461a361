"""Which event loop a service of mode's is for, where it has not been told."""

from __future__ import annotations

import asyncio
import threading

__all__ = ("event_loop_of_mode",)

_of_thread = threading.local()


def event_loop_of_mode() -> asyncio.AbstractEventLoop:
    """Return the running event loop; where none runs, the one that is set for this thread, made if need be."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        pass
    loop: asyncio.AbstractEventLoop | None = getattr(_of_thread, "loop", None)
    if loop is None or loop.is_closed():
        loop = _set_loop()
        _of_thread.loop = loop
    return loop


def _set_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_event_loop_policy().get_event_loop()
    except RuntimeError:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        return loop
