"""A server for ASGI applications, as a service.

Theory: Hypercorn serves on asyncio and on trio, and is only asked to do that. What it would do besides is done here, since its
answers to failures depend on the event loop, and since it has to be in order:

- the sockets are bound by us, so that an address in use makes the start fail;
- the application's lifespan is held as a context: entered before the first connection is accepted, and left after the
  last has ended, whatever happens to the server in between. Hypercorn gets a lifespan that does nothing;
- a connection that fails is closed and logged, whatever it failed with;
- requests that are not done in time are cancelled by us, and so are connections that do not end with them. Hypercorn would do
  it too, but on Python 3.12 and later it waits before that, without limit, for all connections to be closed; and on
  asyncio its cancellation goes through shields, and leaves threads behind;
- a hard stop cancels the requests first, and Hypercorn only if it does not end with them: on asyncio it leaves its tasks
  behind when it is cancelled itself.

Each request is a task of the service; what Hypercorn has in its place only waits for it. So whatever becomes of the
connection, a request is cancelled by its scope and by nothing else; the application is shut down after the last one has
ended; and one that never ends is what the report of the stop names.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import anyio
import anyio.lowlevel

from structmode import _engine as engine
from structmode.contrib.asgi._binding import Address, bound, read_addresses
from structmode.contrib.asgi._conversation import AppLifespan
from structmode.contrib.asgi._exchange import Exchange
from structmode.contrib.asgi._refusal import refuse
from structmode.contrib.asgi._types import AsgiApp, Receive, Scope, Send
from structmode.exceptions import LifecycleError
from structmode.services import Service, Task
from structmode.utils.logging import get_logger
from structmode.utils.times import Seconds, want_seconds

__all__ = ("AsgiServer",)

#: What Hypercorn needs to end when there are no requests any more, at the most, in seconds; half of it by itself, and half after
#: its connections have been cut.
MARGIN = 2.0
#: The same in a hard stop, in seconds: less than the engine waits for what it has cancelled.
HURRY = 0.5


class AsgiServer(Service):
    """Serves an ASGI application, on asyncio and on trio.

        async with AsgiServer(app, "127.0.0.1:8000") as server:
            print(server.url)
            await server.wait_until_stopped()

    It needs ``pip install 'structmode[asgi]'``. It has started when it takes connections; the application's lifespan has been
    run before. In a stop it takes no new connections; requests in flight have `graceful_timeout` to end and are cancelled
    then; after them the application is shut down. Requests that go on, in a thread or under a shield, are waited for within
    `shutdown_timeout`, and named in the error if they take longer.

    If the server fails, or the application's lifespan in mid-life, or services that `lifespan` owns in there, the service
    crashes with what they failed with. It may be restarted; the port stays what it was. Signals are not touched.

    Args:
        app: The application.
        bind: Where to listen: "127.0.0.1:8000", "[::1]:8000", "unix:/path/of/socket", or several. Port 0 takes one that is
            free. A unix socket is private to the user.
        graceful_timeout: How long requests may take to end when the server stops, in seconds.
        stall_timeout: How long a client may leave unread what it was sent, in seconds; then the kernel drops the connection.
            Only for TCP, and on Linux; on trio it is what limits how long such a client can hold a stop up.
        config: A ``hypercorn.Config`` for everything else, such as TLS. Where to listen, and the graceful timeout, are taken
            from the arguments.
        **kwargs: Arguments of `Service`.

    Raises:
        TypeError: If the application can't be called, or `config` is something else.
        ValueError: If an address or a time can't be read.
        ModuleNotFoundError: If Hypercorn is not installed.
    """

    def __init__(
        self,
        app: AsgiApp,
        bind: str | Sequence[str] = "127.0.0.1:0",
        *,
        graceful_timeout: Seconds = 3.0,
        stall_timeout: Seconds = 10.0,
        config: Any = None,
        **kwargs: Any,
    ) -> None:
        if not callable(app):
            raise TypeError(f"AsgiServer serves an ASGI application, not {app!r}")
        self.app: AsgiApp = app
        self.graceful_timeout: float = want_seconds(graceful_timeout)
        self.stall_timeout: float = want_seconds(stall_timeout)
        self._addresses = read_addresses(bind)
        self.logger: logging.Logger = get_logger("structmode.contrib.asgi")
        self._config = _hypercorn().checked_config(config)
        super().__init__(**kwargs)
        self.drain_timeout: float = self.graceful_timeout + MARGIN

    # -- Where it is

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, as in `bind`; with the ports that it has got, once it has been started."""
        return tuple(str(address) for address in self._addresses)

    @property
    def port(self) -> int:
        """The first TCP port that it listens on.

        Raises:
            LifecycleError: If it listens on unix sockets only, or on any free port and has not been started.
        """
        return self._first_tcp().port

    @property
    def url(self) -> str:
        """Its address for clients, by the first TCP port that it listens on.

        Raises:
            LifecycleError: If it listens on unix sockets only, or on any free port and has not been started.
        """
        return f"{self._scheme}://{self._first_tcp()}"

    @property
    def _scheme(self) -> str:
        return "https" if self._config.ssl_enabled else "http"

    def _first_tcp(self) -> Address:
        for address in self._addresses:
            if not address.path:
                if address.port == 0:
                    raise LifecycleError(
                        f"{self.label} has no port yet: it is to take one that is free",
                        "Start it first",
                    )
                return address
        raise LifecycleError(
            f"{self.label} has no TCP port: it listens on {', '.join(self.addresses)}",
            'Add an address such as "127.0.0.1:8000" to bind, or connect to the unix socket',
        )

    def _repr_info(self) -> str:
        return "".join(f", {address}" for address in self.addresses)

    # -- Its life

    async def on_start(self) -> None:
        """Take the addresses, and start the application up.

        Raises:
            OSError: If an address can't be had.
            BaseException: What the start-up of the application failed with.
        """
        self._serving, self._served = anyio.Event(), anyio.Event()
        self._requests: set[Task[Any]] = set()
        self._connections: set[Any] = set()
        self._lifespan = anyio.CancelScope()
        self._hold = anyio.CancelScope(shield=True)  # around Hypercorn
        self._state: dict[str, Any] = {}
        self._listeners = [await self._bind(index) for index in range(len(self._addresses))]
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self._state,
        }
        lifespan = AppLifespan(self.app, scope, self.crash)
        lifespan.shutdown_timeout = self.shutdown_timeout
        await self.add_async_context(lifespan)

    async def on_started(self) -> None:
        """Wait until connections are accepted."""
        await self.wait(self._serving)
        places = [str(one) if one.path else f"{self._scheme}://{one}" for one in self._addresses]
        self.log.info("Serving on %s", ", ".join(places))

    async def _bind(self, index: int) -> Any:
        binding = await self.add_async_context(bound(self._addresses[index], self.stall_timeout))
        self._addresses[index] = binding.address
        return binding.listener

    @Service.task  # begun before the next, whose end is in its hands
    async def _limit(self) -> None:
        """Cancel the requests that have not ended in time, and the connections that stay on; in a hard stop all at once."""
        try:
            await self.wait_until_stopped()
            with anyio.move_on_after(self.graceful_timeout):
                await self._served.wait()
            _cancel_all(self._requests)
            with anyio.move_on_after(MARGIN / 2):
                await self._served.wait()
            _cancel_all(self._connections)
            await self._served.wait()
        except anyio.get_cancelled_exc_class():
            _cancel_all(self._requests)
            _cancel_all(self._connections)
            self._hold.deadline = anyio.current_time() + HURRY
            raise

    @Service.task(forever=True)
    async def _serve(self) -> None:
        hypercorn = _hypercorn()
        patience = self.graceful_timeout + MARGIN
        config = hypercorn.bound_config(self._config, self._listeners, patience, self._serving.set)
        try:
            with self._hold:
                await hypercorn.serve(
                    self._answer, config, self._until_to_close, self._connections
                )
        finally:
            self._served.set()
            self._lifespan.cancel()  # it may have been left behind
        if not self.should_stop:
            raise RuntimeError(_ended_by_itself(config.max_requests))

    async def _until_to_close(self) -> None:
        await self.wait_until_stopped()
        await _hypercorn().stop_accepting(self._listeners)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        # With eager tasks this runs inside the call that makes it; Hypercorn takes no answer before that has returned.
        await anyio.lowlevel.checkpoint()
        if scope["type"] == "lifespan":
            with self._lifespan:
                await _pretend(receive, send)
            return
        exchange = Exchange(receive, send)
        if self.should_stop:  # Hypercorn does not know yet
            await refuse(scope, exchange.send)
            return
        request = self.add_future(
            self._respond(scope, exchange), name=f"request for {scope['path']!r}"
        )
        self._requests.add(request)
        try:
            await request.ended.wait()
        finally:
            self._requests.discard(request)
            request.cancel()  # if the connection has ended before it
        failure = None if request.cancelled() else request.result()
        if failure is not None:
            raise failure

    async def _respond(self, scope: Scope, exchange: Exchange) -> BaseException | None:
        """Have the application answer a request; returns what it failed with, which is for Hypercorn to deal with."""
        try:
            state = self._state.copy()
            await self.app({**scope, "state": state}, exchange.receive, exchange.send)
        except BaseException as exc:  # noqa: ASYNC103, BLE001 - that a request is cancelled, by whomever, concerns nobody else
            return engine.as_failure(exc, "The request")  # noqa: ASYNC104 - the same
        return None


def _cancel_all(what: Iterable[Any]) -> None:
    for one in tuple(what):
        one.cancel()


def _ended_by_itself(max_requests: int | None) -> str:
    text = "Hypercorn has ended by itself, and nobody had asked it to"
    if max_requests is None:
        return text
    return f"{text}: its config says max_requests={max_requests}; leave that out, or restart the server by a supervisor"


async def _pretend(receive: Receive, send: Send) -> None:
    """Be an application whose lifespan does nothing."""
    for stage in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{stage}.complete"})


def _hypercorn() -> Any:
    try:
        from structmode.contrib.asgi import _hypercorn as found
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] != "hypercorn":
            raise
        raise ModuleNotFoundError(
            "AsgiServer needs Hypercorn, which is not installed; install it with: pip install 'structmode[asgi]'",
            name="hypercorn",
        ) from None
    return found


AsgiServer.__module__ = "structmode.contrib.asgi"
