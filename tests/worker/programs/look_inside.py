"""A worker to look into, by SIGUSR1 and SIGUSR2: backend, and "debug" or "plain", and "blocked" or "idle"."""

from __future__ import annotations

import sys
import threading
import time

import anyio

from structmode import Service, Worker

_, backend, mode, state = sys.argv
started = anyio.Event()


class Deep(Service):
    @Service.task
    async def dig(self) -> None:
        await self.deeper()

    async def deeper(self) -> None:
        await anyio.sleep_forever()


class Busy(Service):
    def __post_init__(self) -> None:
        self.add_dependency(Deep())

    @Service.task
    async def block(self) -> None:
        await started.wait()
        self.log.info("look inside now")
        if state == "blocked":
            time.sleep(1000)  # noqa: ASYNC251 - that is the point  # pragma: no cover - is killed in it
        await anyio.sleep_forever()


class Started(Worker):
    async def on_started(self) -> None:
        started.set()


threading.Thread(target=threading.Event().wait, name="bystander", daemon=True).start()
Started(
    Busy(), loglevel="info", backend=backend, debug=mode == "debug", console_port=None
).execute_from_commandline()
