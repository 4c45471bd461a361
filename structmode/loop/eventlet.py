"""asyncio's event loop in a program of eventlet's; `structmode.loop.use` says how to choose it.

It takes eventlet alone, which has a selector that switches to other greenlets while it waits. (mode needs aioeventlet,
which can't be installed any more.) eventlet itself asks its users to move on to asyncio, and warns when it is imported.
"""

from __future__ import annotations

from typing import Any

from structmode.loop._green import require

__all__ = ("new_event_loop", "patch")


def patch() -> None:
    """Replace what blocks in the standard library, for the whole process, as ``eventlet.monkey_patch()`` does.

    Raises:
        ModuleNotFoundError: If eventlet is not installed.
    """
    require("eventlet").monkey_patch()


def new_event_loop() -> Any:
    """Return a new event loop of asyncio's that lets other green threads run while it waits.

    Raises:
        ModuleNotFoundError: If eventlet is not installed.
    """
    from structmode import _engine as engine  # loads what patch() must come before

    return engine.new_loop_on(require("eventlet.green.selectors").SelectSelector())
