"""What is told to Hypercorn: the one module that imports it, when a server starts."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from socket import socket
from typing import Any

from hypercorn.config import Config, Sockets
from hypercorn.logging import Logger

from structmode import _engine as engine

__all__ = ("ServerConfig", "serve")


class _Log(Logger):
    """Hypercorn's log, in the hands of whoever has set logging up; where it serves, our own log says."""

    async def info(self, message: str, *args: Any, **kwargs: Any) -> None:
        await self.debug(message, *args, **kwargs)


class ServerConfig(Config):
    """A configuration whose sockets are bound already.

    Args:
        base: The configuration that it takes everything else from.
        listeners: The sockets.
        graceful_timeout: How long Hypercorn gives to connections when it stops, in seconds.
        on_serving: Called when all that Hypercorn needs is there, and it is about to accept connections.
    """

    def __init__(
        self,
        base: Config,
        listeners: Sequence[socket],
        graceful_timeout: float,
        on_serving: Callable[[], object],
    ) -> None:
        vars(self).update(vars(base))
        self._listeners = listeners
        self._on_serving = on_serving
        self.graceful_timeout = graceful_timeout
        if self.errorlog == "-":  # its default: a handler of its own
            self.errorlog = logging.getLogger("hypercorn.error")
            self.logger_class = _Log

    def create_sockets(self) -> Sockets:
        """Return the sockets to serve on."""
        self._on_serving()
        listeners = list(self._listeners)
        return Sockets(listeners, [], []) if self.ssl_enabled else Sockets([], listeners, [])


async def serve(
    app: Callable[..., Awaitable[None]], config: Config, until: Callable[[], Awaitable[None]]
) -> None:
    """Serve until `until` has returned; with the server that Hypercorn has for the event loop that runs."""
    library = "trio" if engine.on_trio() else "asyncio"
    server: Any = import_module(f"hypercorn.{library}")
    await server.serve(app, config, shutdown_trigger=until, mode="asgi")


def checked_config(config: object) -> Config:
    """Return the configuration to begin with.

    Raises:
        TypeError: If it is none of Hypercorn's.
    """
    if config is None:
        return Config()
    if not isinstance(config, Config):
        raise TypeError(f"config is a hypercorn.Config, not {config!r}")
    return config
