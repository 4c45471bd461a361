"""A worker whose service forks a child, which runs a worker of its own: the backends of the two."""

from __future__ import annotations

import os
import sys

from structmode import LifecycleError, Service, Worker

_, backend, backend_of_child = sys.argv


class Forking(Service):
    async def on_started(self) -> None:
        child = os.fork()
        if not child:
            try:
                Worker(backend=backend_of_child).execute_from_commandline()
            except LifecycleError as exc:
                os.write(2, f"{exc}\n".encode())
            finally:
                os._exit(3)
        os.waitpid(child, 0)  # noqa: ASYNC222 - it ends at once


Worker(Forking(), daemon=False, backend=backend).execute_from_commandline()
