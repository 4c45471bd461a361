"""A worker whose service hangs, in the way that is asked for: backend, way, and how long a stop may take.

- on_stop: its on_stop waits for ever, but can be cancelled
- on_start: so does its on_start, and it shields itself from being cancelled
- deaf: its task ignores being cancelled
- deaf_at_once: so does this one, which sends the process SIGINT and SIGTERM first
- busy: its task keeps the processor and the event loop
- asleep: its task blocks the event loop
- blocked_stop: its on_stop blocks the event loop
- blocked_at_once: its tasks do so, as soon as they are told to stop
- own on_start and the like: a hook of the worker itself waits for ever, and shields itself from being cancelled
"""

from __future__ import annotations

import signal
import sys
import time

import anyio

from structmode import Service, Worker as PublicWorker

_, backend, way, timeout = sys.argv


def keep_busy() -> None:  # pragma: no cover - is killed in it
    while True:
        pass


async def ignore_cancellation() -> None:
    with anyio.CancelScope(shield=True):
        await anyio.sleep_forever()


class Hung(Service):
    shutdown_timeout = float(timeout)

    async def on_start(self) -> None:
        if way == "on_start":
            self.log.info("hangs in on_start")
            await ignore_cancellation()

    @Service.task
    async def work(self) -> None:
        if way == "deaf":
            self.log.info("works for ever")
            await ignore_cancellation()
        elif way == "deaf_at_once":
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            await ignore_cancellation()
        elif way == "busy":
            self.log.info("blocks the loop")
            keep_busy()  # pragma: no cover - is killed in it
        elif way == "asleep":
            self.log.info("blocks the loop")
            time.sleep(1000)  # pragma: no cover - is killed in it  # noqa: ASYNC251 - that is the point

    async def on_started(self) -> None:
        if way == "blocked_at_once":
            for _ in range(20):
                self.add_future(self.block_at_once())

    async def block_at_once(self) -> None:
        await self.wait_until_stopped()
        time.sleep(1000)  # noqa: ASYNC251 - that is the point

    async def on_stop(self) -> None:
        if way == "on_stop":
            self.log.info("hangs in on_stop")
            await anyio.sleep_forever()
        elif way == "blocked_stop":
            self.log.info("blocks the loop in on_stop")
            time.sleep(1000)  # noqa: ASYNC251 - that is the point


class Worker(PublicWorker):
    async def on_execute(self) -> None:
        await self.hang_in("own on_execute")

    async def on_start(self) -> None:
        await self.hang_in("own on_start")

    async def on_started(self) -> None:
        await self.hang_in("own on_started")

    async def hang_in(self, hook: str) -> None:
        if way == hook:
            self.log.info("hangs in %s", hook)
            await ignore_cancellation()


worker = Worker(Hung(), loglevel="info", backend=backend)
worker.shutdown_timeout = float(timeout)
worker.execute_from_commandline()
