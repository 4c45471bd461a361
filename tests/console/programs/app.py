"""A program with a console on a port that is free: its backend is the argument."""

from __future__ import annotations

import sys

from structmode import Service, Worker


class Web(Service):
    @Service.timer(0.01)
    async def tick(self) -> None:
        pass  # pragma: no cover - it may be ended before the first tick


class App(Service):
    def __post_init__(self) -> None:
        self.add_dependency(Web())


Worker(App(), debug=True, console_port=0, backend=sys.argv[1]).execute_from_commandline()
