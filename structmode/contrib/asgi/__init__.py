"""Services in web applications, and web applications as services: an adapter for ASGI.

Theory: ASGI has two sides, and services may stand on each.

*On the application's side*, a server calls the application once for its whole life, the lifespan. `lifespan` owns services
there, for Starlette, FastAPI, Litestar and whoever else takes an async context manager; `WithServices` does so for an
application that does not. What both promise:

- The services start before the first request, in order. If one can't, the others are undone, and the server is told and
  does not serve.
- They stop after the last request, in reverse.
- *If one crashes, the server comes down*, and the failure is in the log at once. That an application goes on to answer while
  what it consists of is dead is the one thing that must not happen, and the protocol has no word for it: see `_down` for
  what is done with which server. A service that may fail now and then belongs under a supervisor, and then the server
  hears of it only if that gives up.
- Nothing is global: services may be made for each life, and an application may live several times, as it does in tests.

*On the server's side*, `AsgiServer` is a service that serves an application, on asyncio and on trio, with Hypercorn. It
has started when it takes connections, and the application's own lifespan has been started before. It stops gracefully,
within its limits. If the server fails, or the application's lifespan, or services inside of that, the service crashes with
what they failed with, for its supervisor or its owner to deal with. It touches no signals.
"""

from __future__ import annotations

import traceback
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio

from structmode._mixing import HasLife
from structmode.contrib.asgi._conversation import AppLifespan, LifespanFailed
from structmode.contrib.asgi._down import OnCrash, checked_on_crash
from structmode.contrib.asgi._life import AppServices, Maker, Plan, checked_services, life
from structmode.contrib.asgi._refusal import refuse
from structmode.contrib.asgi._server import AsgiServer
from structmode.contrib.asgi._types import AsgiApp, Receive, Scope, Send
from structmode.exceptions import LifecycleError
from structmode.utils.times import Seconds, want_seconds

__all__ = ("AsgiServer", "LifespanFailed", "WithServices", "lifespan")


def lifespan(
    *services: HasLife | Maker,
    on_crash: OnCrash = "signal",
    state: Callable[[Any], Mapping[str, Any]] | None = None,
    shutdown_timeout: Seconds = 60.0,
) -> Callable[[Any], AbstractAsyncContextManager[Any]]:
    """Own services for the life of an application; returns what frameworks take for their ``lifespan``.

        app = FastAPI(lifespan=lifespan(Feed(), Mailer()))
        app = Litestar(lifespan=[lifespan(Feed())])

    Services that are to be made anew for each life, or that the application's handlers need, come from a function:

        def services(app: Starlette) -> list[Service]:
            app.state.feed = Feed()
            return [app.state.feed, Mailer()]

        app = Starlette(lifespan=lifespan(services))

    They start before the application serves, in order, and stop afterwards in reverse. A failed start leaves the context
    manager as it was raised, and so does, at the end, what a service crashed with.

    If a service crashes, its server is taken down. "signal": by a SIGTERM to the own process, if that is handled there and
    this is the main thread; an `AsgiServer` is told directly, and a worker process of Hypercorn on asyncio, which handles no
    signals, is left by SystemExit. Where nobody is known to serve, the lifespan ends at once, by raising what the service
    crashed with. "raise": only that; for applications that are embedded in something else. A function is called, in the
    event loop, with the exception, and may be async: for a server that is stopped in another way, for instance.

    Args:
        *services: Services of either face, or functions that are called with the application and return one or several.
        on_crash: What is done about the server when one crashes; has no meaning under an `AsgiServer`.
        state: Called with the application when the services have started; what it returns is for frameworks that yield
            state to requests, such as Starlette.
        shutdown_timeout: How long the stop of all services may take, in seconds.

    Returns:
        A function that takes the application and returns an async context manager. That must be left by the task that has
        entered it, as frameworks do.

    Raises:
        TypeError: If something is neither a service nor a function.
        ValueError: If there is no such `on_crash`, or the time can't be read.
    """
    plan = _plan("lifespan()", services, on_crash, state, shutdown_timeout)

    @asynccontextmanager
    async def alive(app: Any) -> AsyncGenerator[Any]:
        async with life(app, plan) as (_, found):
            yield found

    return alive


class WithServices:
    """An ASGI application with services, made of one that has none.

        app = WithServices(app, Feed(), Mailer())

    It speaks the lifespan protocol itself, and passes everything else on. An application that has a lifespan keeps it, inside
    that of the services. When a service has crashed, requests are answered with 503 until the server has come down. It
    may be put around any application, also one of a framework.

    Args:
        app: The application.
        *services: As in `lifespan`; functions are called with `app`.
        on_crash: As in `lifespan`.
        shutdown_timeout: How long the stop of all services may take, in seconds.

    Raises:
        TypeError: If `app` can't be called, or something is neither a service nor a function.
        ValueError: If there is no such `on_crash`, or the time can't be read.
    """

    def __init__(
        self,
        app: AsgiApp,
        *services: HasLife | Maker,
        on_crash: OnCrash = "signal",
        shutdown_timeout: Seconds = 60.0,
    ) -> None:
        if not callable(app):
            raise TypeError(f"WithServices takes an ASGI application, and services; not {app!r}")
        self.app: AsgiApp = app
        self._plan = _plan("WithServices", services, on_crash, None, shutdown_timeout)
        self._root: AppServices | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a server: what ASGI calls.

        Raises:
            LifecycleError: If the server has not started the application up, so that there are no services.
        """
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif self._root is None:
            raise LifecycleError(
                "The services of the application have not been started, as nobody has called it for its lifespan",
                "Switch the lifespan on in the server; in a test, run it; where it is mounted in another application, give "
                "the services to that one",
            )
        elif self._root.should_stop:
            await refuse(scope, send)
        else:
            await self.app(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        stage = "startup"
        try:
            inner = AppLifespan(self.app, scope)
            async with life(self.app, self._plan, inner) as (self._root, _):
                await send({"type": "lifespan.startup.complete"})
                stage = "shutdown"
                await receive()
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException:
            message = traceback.format_exc()
            await send({"type": f"lifespan.{stage}.failed", "message": message})  # noqa: ASYNC120
            raise
        await send({"type": "lifespan.shutdown.complete"})


def _plan(
    call: str,
    services: Sequence[HasLife | Maker],
    on_crash: OnCrash,
    state: Callable[[Any], Mapping[str, Any]] | None,
    shutdown_timeout: Seconds,
) -> Plan:
    checked_services(services, call)
    checked_on_crash(on_crash)
    return Plan(services, on_crash, state, want_seconds(shutdown_timeout))
