"""A worker whose service forks a child, which sleeps: backend, and the signal that the child is sent, or "none".

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
    async def on_started(self) -> None:
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


Worker(Forking(), loglevel="info", backend=backend).execute_from_commandline()
