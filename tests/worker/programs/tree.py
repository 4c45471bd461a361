"""A worker with the tree of services that the manual shows, and work that ends when it is told to."""

from __future__ import annotations

import sys

from structmode import Service, Worker


class Websockets(Service):
    pass


class UserCache(Service):
    @Service.task
    async def expire(self) -> None:
        while not self.should_stop:
            await self.sleep(0.05)


class Webserver(Service):
    pass


class AppService(Service):
    def __post_init__(self) -> None:
        for child in (Websockets(), UserCache(), Webserver()):
            self.add_dependency(child)


Worker(AppService(), loglevel="info", backend=sys.argv[1]).execute_from_commandline()
