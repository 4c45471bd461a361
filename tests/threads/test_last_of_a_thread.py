"""What a thread does last, after its event loop is over: the owner waits for it, and does not stand still."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import anyio.to_thread

from structmode.threads import WorkerThread

from .things import Noting, threads_of, until


async def test_the_owner_goes_on_while_a_thread_ends(inside: str) -> None:
    """A thread may even wait for what the owner's event loop has still to do."""
    go = threading.Event()
    came: list[bool] = []

    class Lasting(WorkerThread):
        def run(self) -> None:
            super().run()
            came.append(go.wait(0.9))

    service: Any = Noting(backend=inside, Worker=Lasting)
    await service.start()
    (thread,) = (one for one in threading.enumerate() if isinstance(one, Lasting))

    async def let_it_go() -> None:
        await until(thread.is_stopped.is_set)
        await anyio.sleep(0.05)  # the stop waits for the thread by now
        go.set()

    async with anyio.create_task_group() as group:
        _ = group.start_soon(let_it_go)
        await service.stop()
    assert came == [True]
    assert not thread.is_alive()


async def test_no_turn_for_a_thread_that_lasts(inside: str) -> None:
    """To wait for it takes no place among what the owner does in threads."""
    go = threading.Event()

    class Lasting(WorkerThread):
        def run(self) -> None:
            super().run()
            threading.Event().wait(0.05)

    def wait() -> None:
        go.wait()

    service = Noting(backend=inside, Worker=Lasting)
    await service.start()
    limiter = anyio.to_thread.current_default_thread_limiter()
    before, limiter.total_tokens = limiter.total_tokens, 1
    async with anyio.create_task_group() as group:
        _ = group.start_soon(anyio.to_thread.run_sync, wait)
        await until(lambda: limiter.available_tokens <= 0)
        try:
            with anyio.move_on_after(5) as scope:
                await service.stop()
        finally:
            go.set()
    limiter.total_tokens = before
    assert not scope.cancel_called
    assert service.failures == ()
    assert not threads_of(service)
