"""The owner's event loop was closed, with all that it had still to do: what is left in the thread stops by itself."""

from __future__ import annotations

import asyncio
import threading

import anyio

from structmode import Service

from .things import START, STOP, Noting, threads_of


def test_a_crash_that_nobody_can_be_told_of(inside: str) -> None:
    """There is nobody whose turn would have to come first, so all in the thread stops, in order, and the thread ends."""
    go = threading.Event()

    class Failing(Noting):
        @Service.task
        async def fail(self) -> None:
            while not go.is_set():
                await anyio.sleep(0.001)
            raise ValueError("told to nobody")

    service = Failing(backend=inside)
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)  # its tasks are left as they are
    loop.run_until_complete(service.start())
    loop.close()
    (thread,) = threads_of(service)
    go.set()
    thread.join(5)
    assert not thread.is_alive()
    assert service.calls == ["on_first_start", *START, *STOP]
