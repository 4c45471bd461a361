"""The web server: a service of the ASGI adapter, which has Hypercorn serve on whichever event loop runs."""

from __future__ import annotations

from typing import Any

from hypercorn.config import Config

from structmode.contrib.asgi import AsgiServer

from .site import Site

#: How long a client may take to read what it was sent, in seconds.
STALLED = 3.0


class Settings(Config):
    """What Hypercorn is told."""

    include_server_header = False


class Web(AsgiServer):
    """Serves the site.

    A port in use makes the start fail. A stop is graceful: no new connection is taken, requests in flight are finished,
    streams end.

    Args:
        site: What to serve.
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.
    """

    shutdown_timeout = 10.0

    def __init__(self, site: Site, host: str, port: int, **kwargs: Any) -> None:
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        super().__init__(
            site,
            address,
            graceful_timeout=Settings.graceful_timeout,
            stall_timeout=STALLED,
            config=Settings(),
            **kwargs,
        )
        site.server = self
