"""A worker that runs in another thread than the main one, and is stopped from the main one."""

from __future__ import annotations

import sys
import threading

import anyio.from_thread
import anyio.lowlevel

from structmode import Service, Worker

codes: list[object] = []
started = threading.Event()
tokens: list[anyio.lowlevel.EventLoopToken] = []


class Here(Service):
    async def on_started(self) -> None:
        tokens.append(anyio.lowlevel.current_token())
        started.set()


worker = Worker(Here(), loglevel="info", backend=sys.argv[1])


def run() -> None:
    try:
        worker.execute_from_commandline()
    except SystemExit as exc:
        codes.append(exc.code)


thread = threading.Thread(target=run)
thread.start()
started.wait()
anyio.from_thread.run_sync(worker.stop_and_shutdown, token=tokens[0])
thread.join()
print("exit code", codes)  # noqa: T201
