"""What is told to Hypercorn: the one module that imports it, when a server starts."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from copy import copy
from importlib import import_module
from socket import socket
from types import FunctionType
from typing import Any, cast

import anyio
import anyio.lowlevel
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config, Sockets
from hypercorn.events import Closed, Event, RawData
from hypercorn.logging import Logger

from structmode import _engine as engine
from structmode.utils.logging import get_logger

__all__ = ("bound_config", "checked_config", "serve", "stop_accepting")


_logger = get_logger("structmode.contrib.asgi")


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
    app: Callable[..., Awaitable[None]],
    config: Config,
    until: Callable[[], Awaitable[None]],
    connections: set[Any],
) -> None:
    """Serve until `until` has returned; with the server that Hypercorn has for the event loop that runs.

    Args:
        app: The application.
        config: Hypercorn's configuration.
        until: What to wait for.
        connections: Holds the connections there are, each of which can be cut by its ``cancel()``.

    Raises:
        BaseException: What the server failed with; a connection that fails is no failure of the server.
    """
    failure: BaseException | None = None
    library = "trio" if engine.on_trio() else "asyncio"
    worker_serve = _server_of_isolated_connections(library, connections)
    try:
        await worker_serve(ASGIWrapper(app), config, shutdown_trigger=until)
    except Exception as exc:  # noqa: BLE001 - raised below
        failure = _replaced_cancellation(exc) or _without_nurseries(exc)
    except BaseExceptionGroup as group:  # noqa: ASYNC103 - raised below
        failure = _without_nurseries(group)
    if failure is not None:
        raise failure


def _server_of_isolated_connections(
    library: str, connections: set[Any]
) -> Callable[..., Awaitable[None]]:
    """Return Hypercorn's function that serves, but for what becomes of a connection that fails.

    On trio Hypercorn keeps all connections in one nursery, so that what it raises over the bytes of one client would end them
    all; on asyncio each would fill the log with tracebacks. It finds what serves a connection by its name, so we call its
    function with names of our own. Whoever else uses Hypercorn in this process has it as it is.
    """
    theirs: Any = import_module(f"hypercorn.{library}.run")
    names: dict[str, Any] = {**vars(theirs), "TCPServer": _isolated(theirs.TCPServer, connections)}
    original = theirs.worker_serve
    serving = FunctionType(original.__code__, names, closure=original.__closure__)
    serving.__kwdefaults__ = original.__kwdefaults__
    return serving


def _isolated(server: Any, connections: set[Any]) -> type[Any]:
    """Return what serves a connection, logs what is raised over it, and can be cut."""

    class Connection(server):  # type: ignore[misc]
        async def run(self) -> None:
            with anyio.CancelScope() as self._scope:
                connections.add(self)
                try:
                    await self._run_logged()
                finally:
                    connections.discard(self)

        async def _run_logged(self) -> None:
            try:
                await server.run(self)
            except Exception as exc:  # noqa: BLE001 - all that Hypercorn raises over what a client sends
                _log_failed_connection(exc)
            except BaseExceptionGroup as group:
                cancelled, failed = group.split(anyio.get_cancelled_exc_class())
                if cancelled is None or not isinstance(failed, Exception):
                    raise
                _log_failed_connection(failed)
                raise cancelled from None

        async def protocol_send(self, event: Event) -> None:
            try:
                if isinstance(event, RawData) and _is_gone(self):
                    await (
                        anyio.lowlevel.checkpoint()
                    )  # who goes on sending must let others have their turn
                    raise BrokenPipeError
                await server.protocol_send(self, event)
            except (
                OSError
            ):  # as when the kernel has dropped a client that does not read: asyncio's ETIMEDOUT
                await self.protocol.handle(Closed())

        async def _close(self) -> None:
            with suppress(OSError):  # the same, once more
                await server._close(self)

        async def _read_data(self) -> None:
            try:
                await server._read_data(self)
            finally:
                # However it ends: who is cancelled next, and on asyncio only once, must not try to send a last word.
                await self.protocol.handle(Closed())  # noqa: ASYNC102 - nothing of it is owed to one who is cancelled again

        def cancel(self) -> None:
            _drop(self)
            self._scope.cancel()

    return Connection


def _is_gone(connection: Any) -> bool:
    """Whether nothing can be sent any more; asyncio logs each attempt."""
    return not engine.on_trio() and connection.writer.transport.is_closing()


def _drop(connection: Any) -> None:
    """Close the socket of a connection without a word: what waits for the client, shielded or not, does so no longer."""
    if engine.on_trio():
        stream = connection.stream
        getattr(stream, "transport_stream", stream).socket.close()
    else:
        connection.writer.transport.abort()


def _log_failed_connection(failure: Exception) -> None:
    # Clients can bring that about, as often as they like: one line each.
    told = dict.fromkeys(f"{type(one).__name__}: {one}" for one in _parts(failure))
    with_traceback = failure if _logger.isEnabledFor(logging.DEBUG) else None
    _logger.warning("A connection has failed: %s", "; ".join(told), exc_info=with_traceback)


def _parts(failure: BaseException) -> Iterator[BaseException]:
    if not isinstance(failure, BaseExceptionGroup):
        yield failure
        return
    for part in cast("BaseExceptionGroup[BaseException]", failure).exceptions:
        yield from _parts(part)


def _without_nurseries(failure: BaseException) -> BaseException:
    """Return what failed, without the groups that nurseries have made of it."""
    if not isinstance(failure, BaseExceptionGroup):
        return failure
    group = cast("BaseExceptionGroup[BaseException]", failure)
    first, *others = group.exceptions
    return group if others else _without_nurseries(first)


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
