"""What is told to Hypercorn: the one module that imports it, when a server starts."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from importlib import import_module
from socket import socket
from typing import Any

import anyio.lowlevel
from hypercorn.config import Config, Sockets
from hypercorn.logging import Logger

from structmode import _engine as engine

__all__ = ("bound_config", "checked_config", "serve", "stop_accepting")


class _Log(Logger):
    """Hypercorn's log, in the hands of whoever has set logging up; where it serves, our own log says."""

    async def info(self, message: str, *args: Any, **kwargs: Any) -> None:
        await self.debug(message, *args, **kwargs)


def bound_config(
    base: Config,
    listeners: Sequence[socket],
    graceful_timeout: float,
    on_serving: Callable[[], object],
) -> Config:
    """Return a configuration whose sockets are bound already.

    Args:
        base: The configuration that it takes everything else from; may be of a class with settings of its own.
        listeners: The sockets.
        graceful_timeout: How long Hypercorn gives to connections when it stops, in seconds.
        on_serving: Called when all that Hypercorn needs is there, and it is about to accept connections.
    """

    def sockets() -> Sockets:
        on_serving()
        found = list(listeners)
        return Sockets(found, [], []) if base.ssl_enabled else Sockets([], found, [])

    config = copy(base)
    config.create_sockets = sockets  # type: ignore[method-assign]
    config.graceful_timeout = graceful_timeout
    if config.errorlog == "-":  # its default: a handler of its own
        config.errorlog = logging.getLogger("hypercorn.error")
        config.logger_class = _Log
    return config


async def serve(
    app: Callable[..., Awaitable[None]], config: Config, until: Callable[[], Awaitable[None]]
) -> None:
    """Serve until `until` has returned; with the server that Hypercorn has for the event loop that runs."""
    library = "trio" if engine.on_trio() else "asyncio"
    server: Any = import_module(f"hypercorn.{library}")
    try:
        await server.serve(app, config, shutdown_trigger=until, mode="asgi")
    except Exception as exc:
        cancellation = _replaced_cancellation(exc)
        if cancellation is None:
            raise
        raise cancellation from None


def _replaced_cancellation(exc: Exception) -> BaseException | None:
    """Return the cancellation that an error of Hypercorn's has taken the place of, if there is one.

    Cancelled on asyncio while it waits for its connections, it asks what they have ended with; that they have not is an
    error of its own, which would hide that it was cancelled.
    """
    asyncio, before = engine.asyncio_if_loaded(), exc.__context__
    replaced = (
        asyncio is not None
        and isinstance(exc, asyncio.InvalidStateError)
        and isinstance(before, asyncio.CancelledError)
    )
    return before if replaced else None


async def stop_accepting(listeners: Sequence[socket]) -> None:
    """Have asyncio accept no more connections, and take up those that it has accepted.

    A connection that is accepted in the very step before its server is closed is lost with an error
    (python/cpython#109564). uvloop and trio do without.
    """
    if engine.on_trio():
        return
    loop = engine.running_asyncio_loop()
    for listener in listeners:
        loop.remove_reader(listener)
    for _ in range(2):
        await anyio.lowlevel.checkpoint()


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
