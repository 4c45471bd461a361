"""A thread that was given up and comes back: what is below it, in a thread of its own, has waited for that."""

from __future__ import annotations

import asyncio
import threading

import anyio
import pytest

from structmode import ShutdownTimeout

from .things import ON_ASYNCIO, STOP, Noting, threads_of, until

pytestmark = pytest.mark.slow  # waits for the grace, in real time


@ON_ASYNCIO
async def test_stopped_below_a_thread_that_hangs(inside: str, go: threading.Event) -> None:
    """Whoever cancels a task below it stops what is there; but not before the thread above, which owns it, has come back."""
    order: list[str] = []
    tasks: list[asyncio.Task[object] | None] = []

    class Above(Noting):
        shutdown_timeout = 0.05

        def block_the_thread(self) -> None:
            self.note("blocked")
            go.wait()

        async def on_stop(self) -> None:
            order.append("above")

    class Below(Noting):
        async def on_started(self) -> None:
            self.note("on_started")
            self.add_future(self.work())

        async def work(self) -> None:
            tasks.append(asyncio.current_task())
            await anyio.sleep_forever()

        async def on_stop(self) -> None:
            self.note("on_stop")
            order.append("below")

    above, below = Above(backend=inside), Below(backend=inside)
    above.add_dependency(below)
    await above.start()
    await until(lambda: tasks)
    await above.cast_thread(above.block_the_thread)
    await until(lambda: "blocked" in above.calls)
    with pytest.raises(ShutdownTimeout):
        await above.stop()
    (task,) = tasks
    assert task is not None
    below.thread_loop.call_soon_threadsafe(task.cancel)
    await anyio.sleep(0.05)
    assert order == []
    go.set()
    await until(lambda: not threads_of(below) and not threads_of(above))
    assert sorted(order) == ["above", "below"]
    assert below.calls[-3:] == STOP
