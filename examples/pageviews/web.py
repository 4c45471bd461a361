"""The web server: Hypercorn, on whichever event loop runs, in the hands of a service."""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import closing
from importlib import import_module
from typing import Any

import trio
from hypercorn.config import Config, Sockets

from structmode import Service

from .site import Site

hypercorn_log = logging.getLogger("hypercorn")
#: How long a client may take to read what it was sent, in seconds.
STALLED = 3.0


class Web(Service):
    """Serves the site.

    The socket is bound in `on_start`, so that a port in use makes the start fail. A stop is graceful: no new
    connection is taken, requests in flight are finished, streams end.

    Args:
        site: What to serve.
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.
    """

    # Hypercorn ends by itself, within its own limit of 3 s; only what is left then is cancelled.
    drain_timeout = 5.0
    shutdown_timeout = 10.0

    def __init__(self, site: Site, host: str, port: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.site = site
        self.host = host
        self.port = port

    @property
    def url(self) -> str:
        """Where the site is."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def on_start(self) -> None:
        """Take the port."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            listener = socket.create_server((self.host, self.port), family=family)
        except OSError as error:
            raise OSError(f"Can't serve on {self.url}: {error}") from error
        limit_clients(listener)
        self._listener = self.add_context(closing(listener))
        self.port = listener.getsockname()[1]
        self.site.server = self

    async def on_started(self) -> None:
        """Say where the site is."""
        self.log.info("Serving on %s", self.url)

    @Service.task
    async def serve(self) -> None:
        """Serve until the service stops."""
        serve = hypercorn_server()
        config = ListenerConfig(self._listener)
        await serve(self.site, config, shutdown_trigger=self.wait_until_stopped)


def hypercorn_server() -> Callable[..., Awaitable[None]]:
    """Return Hypercorn's server for the event loop that runs: it has one for each async library."""
    library = "trio" if trio.lowlevel.in_trio_run() else "asyncio"
    serve: Callable[..., Awaitable[None]] = import_module(f"hypercorn.{library}").serve
    return serve


def limit_clients(listener: socket.socket) -> None:
    """Have the kernel drop a client that has stopped reading, and keep little for it until then.

    Hypercorn waits for such a client without end, and can't be interrupted in that. Connections take these options over
    from the listener.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * STALLED))


class ListenerConfig(Config):
    """Has Hypercorn serve on a socket that is open already, and log where everything else is logged."""

    errorlog = hypercorn_log
    include_server_header = False

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        hypercorn_log.setLevel(logging.WARNING)  # where it serves, we have said ourselves

    def create_sockets(self) -> Sockets:
        """Return the sockets to serve on."""
        return Sockets([], [self._listener], [])
