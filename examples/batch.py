"""Finite work under a Worker, which ends when the work is done.

python batch.py                 checksums of the files beside this one
python batch.py trio            the same on trio
"""

from __future__ import annotations

import hashlib
import sys

import anyio

from structmode import Service, Worker


class Checksums(Service):
    """Reads files side by side, and logs a checksum of each."""

    def __post_init__(self) -> None:
        self.done = 0

    @Service.task
    async def begin(self) -> None:
        async for path in anyio.Path(__file__).parent.glob("*.py"):
            self.add_future(self.check(path))

    async def check(self, path: anyio.Path) -> None:
        checksum = hashlib.sha256(await path.read_bytes()).hexdigest()
        self.log.info("%s %s", checksum[:12], path.name)
        self.done += 1

    async def on_stop(self) -> None:
        self.log.info("%d files", self.done)


if __name__ == "__main__":
    backend = sys.argv[1] if len(sys.argv) > 1 else "asyncio"
    worker = Worker(Checksums(), daemon=False, backend=backend, loglevel="info")
    worker.execute_from_commandline()
