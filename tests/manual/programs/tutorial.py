"""The program of the manual's introduction: an app made of three services, one of which has work to do."""

from __future__ import annotations

import sys

from structmode import Service, Worker


class Websockets(Service):
    async def on_start(self) -> None:
        self.log.info("Opening the socket")


class UserCache(Service):
    @Service.timer(0.02)
    async def expire(self) -> None:
        self.log.info("Expiring users")


class Webserver(Service):
    async def on_started(self) -> None:
        self.log.info("Serving on port %d", 8000)

    async def on_stop(self) -> None:
        self.log.info("Closing server")


class AppService(Service):
    def on_init_dependencies(self) -> list[Service]:
        return [Websockets(), UserCache(), Webserver()]


Worker(AppService(), loglevel="info", backend=sys.argv[1]).execute_from_commandline()
