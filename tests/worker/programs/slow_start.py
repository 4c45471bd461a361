"""A worker whose last service never gets to have started."""

from __future__ import annotations

import sys

import anyio

from structmode import Service, Worker


class First(Service):
    async def on_shutdown(self) -> None:
        self.log.info("first is down")


class Slow(Service):
    async def on_start(self) -> None:
        self.log.info("starting for ever")
        try:
            await anyio.sleep_forever()
        finally:
            self.log.info("start given up")


Worker(First(), Slow(), loglevel="info", backend=sys.argv[1]).execute_from_commandline()
