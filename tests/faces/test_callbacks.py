"""What callbacks of asyncio's may ask of a service: they run on its event loop, though in no task."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import anyio

from structmode import Service


class Asking(Service):
    """Waits for a permission, and notes what has been done."""

    wait_for_shutdown = True

    def __init__(self) -> None:
        super().__init__()
        self.done = anyio.Event()

    async def work(self) -> None:
        """Be done."""
        self.done.set()


def from_elsewhere(call: Callable[[], object]) -> None:
    """Have the running loop call something, as asked by a thread that knows nothing of anyio."""
    loop = asyncio.get_running_loop()
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=[call])
    thread.start()
    thread.join()


def test_callbacks() -> None:
    """They may give it work, cancel that, and allow its stop to be completed."""

    async def main() -> None:
        service = Asking()
        async with service:
            from_elsewhere(lambda: service.add_future(service.work))
            await service.done.wait()
            task = service.add_future(anyio.sleep_forever)
            from_elsewhere(task.cancel)
            while not task.done():
                await asyncio.sleep(0)
            assert task.cancelled()
            from_elsewhere(service.set_shutdown)

    asyncio.run(main())
