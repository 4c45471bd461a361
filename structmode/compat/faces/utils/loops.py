"""`mode.utils.loops`, where it means something else than `structmode.utils.loops`."""

from __future__ import annotations

from structmode.compat.faces._asyncio import get_event_loop

__all__ = ("get_event_loop",)

get_event_loop.__module__ = __name__
