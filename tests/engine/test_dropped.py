"""A hook that is dropped in the middle, with the event loop that it ran in."""

from __future__ import annotations

from collections.abc import Generator
from contextvars import Context
from types import coroutine

from structmode._engine._callers import Hook, calling_hook


@coroutine
def wait_for_ever() -> Generator[None]:
    yield


def test_a_dropped_hook_ends_quietly_in_another_context() -> None:
    """What is dropped is closed wherever the collector happens to run, and nobody is there to receive an error."""
    home = Context()

    async def hook() -> None:
        with Hook(object(), "on_start"):
            await wait_for_ever()

    running = hook()
    home.run(running.send, None)
    assert home.run(calling_hook) is not None
    running.close()
    assert home.run(calling_hook) is None
