"""Calls from signal handlers, which interrupt whatever runs: what they see does not depend on that."""

from __future__ import annotations

import contextvars
import threading
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.to_thread
import pytest

from structmode._engine import signal_safe_caller

variable: ContextVar[str] = ContextVar("variable", default="default")


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Where a callback has context variables of somebody; on trio it has those of the loop."""
    return "asyncio", {"debug": True}


@pytest.mark.parametrize("in_thread", [False, True])
async def test_the_context_of_a_call(in_thread: bool) -> None:
    """It is that of whoever made ready for signals, not that of what was interrupted."""
    seen: list[str] = []
    called = anyio.Event()

    def call() -> None:
        seen.append(variable.get())
        called.set()

    token = variable.set("ready for signals")
    try:
        call_soon = signal_safe_caller()
    finally:
        variable.reset(token)
    if in_thread:
        thread = threading.Thread(target=call_soon, args=(call,))
        thread.start()
        await anyio.to_thread.run_sync(thread.join)
    else:
        contextvars.Context().run(call_soon, call)
    await called.wait()
    assert seen == ["ready for signals"]
