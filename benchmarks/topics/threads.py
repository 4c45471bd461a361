"""Threads: a function is called in the event loop of a service in another thread, and its result comes back."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Self

import anyio
import anyio.from_thread
import anyio.to_thread

from benchmarks.clock import per_unit
from benchmarks.contenders import run_arguments
from benchmarks.library import HERE, QueueServiceThread, hand
from benchmarks.model import ELSEWHERE, Row, times_mode

if TYPE_CHECKING:
    import trio
else:
    trio = hand  # which it is in the process that is there for it, and no other has to hold it


class Remote(QueueServiceThread):
    """A service in a thread, which has an event loop of the same kind."""

    backend = HERE.backend


async def nothing() -> None:
    """Do nothing."""


async def call_thread(units: int) -> float:
    """Call into the thread of a service."""
    async with Remote() as remote:
        return await per_unit(units, partial(remote.call_thread, nothing))


async def call_portal(units: int) -> float:
    """Call into another event loop through a portal of anyio's."""
    starting = anyio.from_thread.start_blocking_portal(**run_arguments(HERE.backend))
    # Neither is done in an event loop: the portal could not be told to end from one of its own kind.
    portal = await anyio.to_thread.run_sync(starting.__enter__)
    try:
        return await per_unit(units, partial(portal.call_async, nothing))
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(starting.__exit__, None, None, None)


class TrioThread:
    """A thread with a trio loop in it, by hand."""

    def __init__(self) -> None:
        self._is_ready = threading.Event()
        self._token: trio.lowlevel.TrioToken
        self._nursery: trio.Nursery
        self._thread = threading.Thread(target=trio.run, args=(self._main,))

    async def _main(self) -> None:
        async with trio.open_nursery() as self._nursery:
            self._token = trio.lowlevel.current_trio_token()
            self._is_ready.set()
            await trio.sleep_forever()

    def __enter__(self) -> Self:
        self._thread.start()
        self._is_ready.wait()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._token.run_sync_soon(self._nursery.cancel_scope.cancel)
        self._thread.join()

    async def call(self) -> None:
        """Call into the thread, and wait for the answer."""
        home, answered = trio.lowlevel.current_trio_token(), trio.Event()

        async def work() -> None:
            await nothing()
            home.run_sync_soon(answered.set)

        self._token.run_sync_soon(self._nursery.start_soon, work)
        await answered.wait()


async def call_trio_thread(units: int) -> float:
    """Call into another trio loop, with what trio has for that."""
    with TrioThread() as thread:
        return await per_unit(units, thread.call)


ROWS: Sequence[Row] = (
    Row(
        name="call-thread",
        work="`call_thread` round trip",
        codes={"services": call_thread, "hand": call_portal, "trio": call_trio_thread},
        size=500,
        goals=(times_mode(1.5), *ELSEWHERE),
    ),
)
