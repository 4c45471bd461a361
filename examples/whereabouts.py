"""Where each task and each thread of a program stands: what SIGUSR1 prints.

python whereabouts.py           sends itself the signal, and ends
python whereabouts.py trio      the same on trio
"""

from __future__ import annotations

import os
import signal
import sys

import anyio
import anyio.to_thread

from structmode import Service, Worker


class Postman(Service):
    """Waits for a letter that comes late."""

    def __post_init__(self) -> None:
        self.letter = anyio.Event()

    @Service.task
    async def deliver(self) -> None:
        await self.open_the_letterbox()

    async def open_the_letterbox(self) -> None:
        await self.letter.wait()


class Street(Service):
    """Has one postman, and somebody who wants to know what he is doing."""

    def __post_init__(self) -> None:
        self.postman = self.add_dependency(Postman())

    async def on_started(self) -> None:
        self.add_future(self.ask())

    async def ask(self) -> None:
        await anyio.sleep(0.1)
        if hasattr(signal, "SIGUSR1"):  # not on Windows
            await anyio.to_thread.run_sync(os.kill, os.getpid(), signal.SIGUSR1)
        self.postman.letter.set()


if __name__ == "__main__":
    backend = sys.argv[1] if len(sys.argv) > 1 else "asyncio"
    Worker(Street(), daemon=False, backend=backend).execute_from_commandline()
