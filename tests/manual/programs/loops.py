"""A program whose first lines choose the event loop, as the manual's FAQ has it; it prints what it runs on."""

from __future__ import annotations

import sys

import structmode.loop

structmode.loop.use(sys.argv[1])

import socket  # noqa: E402 - what comes before the choice keeps some of what it took

import anyio  # noqa: E402

from structmode import Service, Worker  # noqa: E402


class Asking(Service):
    @Service.task
    async def ask(self) -> None:
        await anyio.sleep(0)
        patched = socket.socket.__module__.partition(".")[0].removeprefix("_")
        kind = anyio.lowlevel.current_token().backend_class.__module__.rpartition("_")[2]
        loop = kind if kind == "trio" else type(self.loop).__module__.partition(".")[0]
        self.log.warning("on %s, sockets are of %s", loop, patched)


Worker(Asking(), daemon=False).execute_from_commandline()
