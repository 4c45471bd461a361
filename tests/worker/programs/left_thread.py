"""A worker whose service leaves a thread behind that the end of the process waits for: backend, and what kind of thread.

- abandoned: anyio has called a function in it, which goes on when who waited for it is cancelled
- plain: one of the program's own
- slow: such a one, which ends a while after the service
- pool: one of a pool, which is idle, and ends with the process
- caller: a plain one, where the caller of the worker goes on, with a thread of its own that ends later
"""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import anyio
import anyio.to_thread

from structmode import Service, Worker

_, backend, kind = sys.argv
pool = ThreadPoolExecutor()
stopped = threading.Event()


def take_a_while() -> None:
    stopped.wait()
    time.sleep(1.2)
    print("has taken a while")  # noqa: T201


def wait_for_ever() -> None:
    threading.Event().wait()  # pragma: no cover - is killed in it


class Leaving(Service):
    async def on_start(self) -> None:
        if kind == "pool":
            pool.submit(int).result()
        elif kind in ("plain", "caller"):
            threading.Thread(target=wait_for_ever, name="bystander").start()
        elif kind == "slow":
            threading.Thread(target=take_a_while, name="bystander").start()

    @Service.task
    async def leave(self) -> None:
        if kind == "abandoned":
            with anyio.move_on_after(0.05):
                await anyio.to_thread.run_sync(wait_for_ever, abandon_on_cancel=True)
        raise SystemExit(3)

    async def on_shutdown(self) -> None:
        stopped.set()


class Program(Worker):
    shutdown_timeout = 30.0 if kind == "slow" else 0.05


try:
    Program(Leaving(), loglevel="info", backend=backend).execute_from_commandline()
except SystemExit:
    if kind != "caller":
        raise
    threading.Thread(target=take_a_while).start()
