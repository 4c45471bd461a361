"""The kinds of asyncio, for what only asyncio has: with its own loop, with uvloop, and with tasks that begin at once."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

KINDS = ["asyncio", "asyncio+uvloop"] + ["asyncio+eager"] * (sys.version_info >= (3, 12))


def backend_of(kind: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the options of the backend."""
    options: dict[str, Any] = {"debug": True}
    if kind == "asyncio+uvloop":
        options["use_uvloop"] = True
    if kind == "asyncio+eager":
        options["loop_factory"] = _eager_loop
    return "asyncio", options


def _eager_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009
    return loop
