"""A worker whose service forks a child, which sleeps: backend, and the signal that the child is sent, or "none".

With "stop" it forks one in its stop instead, which leaves the program as it has come to it.

The child is a daemon of multiprocessing's, which sends SIGTERM to those that are left when the program ends, and waits.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from typing import Any

import anyio.to_thread

from structmode import Service, Worker

_, backend, name = sys.argv


def sleep(ready: Any) -> None:
    ready.send(
        "ready"
    )  # a process that has just been forked forgets the signals that have come by then
    time.sleep(1000)


class Forking(Service):
    async def on_stop(self) -> None:
        if name == "stop":
            child = os.fork()
            if not child:
                worker._execution._forced_exit.disarm()  # as in the end
                os._exit(3)
            _, status = os.waitpid(child, 0)  # noqa: ASYNC222 - it ends at once
            self.log.info("the child ended with %s", os.waitstatus_to_exitcode(status))

    async def on_started(self) -> None:
        if name == "stop":
            return
        fork = multiprocessing.get_context("fork")
        ours, its = fork.Pipe()
        child = fork.Process(target=sleep, args=(its,), daemon=True)
        child.start()
        await anyio.to_thread.run_sync(ours.recv)
        self.log.info("has a child")
        if name != "none" and child.pid is not None:
            os.kill(child.pid, getattr(signal, name))
            await anyio.to_thread.run_sync(child.join)
            self.log.info("the child ended with %s", child.exitcode)


worker = Worker(Forking(), loglevel="info", backend=backend)
worker.execute_from_commandline()
