"""A worker whose signal reaches another thread than the main one, while its event loop is asleep."""

from __future__ import annotations

import signal
import sys
import threading
import time

from structmode import Service, Worker


class Idle(Service):
    @Service.task
    async def begin(self) -> None:
        threading.Thread(target=send, daemon=True).start()


def send() -> None:
    time.sleep(0.1)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    threading.Event().wait()


Worker(Idle(), loglevel="info", backend=sys.argv[1]).execute_from_commandline()
