"""uvloop, an event loop for asyncio; `structmode.loop.use` says how to choose it."""

from __future__ import annotations

from typing import Any

__all__ = ("new_event_loop",)


def new_event_loop() -> Any:
    """Return a new event loop of uvloop's.

    Raises:
        ModuleNotFoundError: If uvloop is not installed.
    """
    from structmode import _engine as engine

    return engine.run_arguments("uvloop")["backend_options"]["loop_factory"]()
