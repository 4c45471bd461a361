"""`lifespan` in the frameworks that it is for, each served by an `AsgiServer`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from fastapi import FastAPI
from litestar import Litestar, Request as LitestarRequest, get
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from structmode.contrib.asgi import AsgiServer, WithServices, lifespan

from .things import Broken, Noting, get as ask


class Site:
    """An application, and the notes of its services.

    Args:
        make: Makes the application; called with its lifespan.
    """

    def __init__(self, make: Callable[[Site], Any]) -> None:
        self.notes: list[str] = []
        self.feeds: list[Noting] = []
        self.app = make(self)

    def services(self, app: Any) -> list[Noting]:
        """Make the services of one life; the application knows the first."""
        app.state.feed = Noting("feed", self.notes)
        self.feeds.append(app.state.feed)
        return [app.state.feed, Noting("mailer", self.notes)]

    @asynccontextmanager
    async def other(self, app: Any) -> AsyncIterator[None]:
        """Be another part of the lifespan."""
        self.notes.append("pool opens")
        try:
            yield
        finally:
            self.notes.append("pool closes")


def starlette(site: Site) -> Any:
    """Return an application of Starlette's that yields state."""

    async def hello(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{request.app.state.feed.state} {request.state.feed.label}")

    alive = lifespan(site.services, state=lambda app: {"feed": app.state.feed})
    return Starlette(routes=[Route("/", hello)], lifespan=alive)


def fastapi(site: Site) -> Any:
    """Return an application of FastAPI's, with a router that has a lifespan too."""
    app = FastAPI(lifespan=lifespan(site.services))

    async def hello() -> str:
        return f"{app.state.feed.state} feed"

    app.get("/", response_class=PlainTextResponse)(hello)
    return app


def litestar(site: Site) -> Any:
    """Return an application of Litestar's, with another lifespan beside."""

    @get("/", media_type="text/plain")
    async def hello(request: LitestarRequest[Any, Any, Any]) -> str:
        return f"{request.app.state.feed.state} feed"

    both = [site.other, lifespan(site.services)]
    # Its own logging starts a thread that outlives it.
    return Litestar([hello], lifespan=both, logging_config=None)


def wrapped(site: Site) -> Any:
    """Return an application whose services are its wrapper's."""

    async def hello(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{request.app.state.feed.state} feed")

    return WithServices(Starlette(routes=[Route("/", hello)]), site.services)


@pytest.fixture(params=[starlette, fastapi, litestar, wrapped])
def site(request: pytest.FixtureRequest) -> Site:
    """An application of each framework."""
    return Site(request.param)


async def test_services_live_as_long_as_the_application(site: Site) -> None:
    """In each of its lives the application has services, made for that, which requests find."""
    server = AsgiServer(site.app)
    for _ in range(2):
        async with server:
            assert (await ask(server)).text == "running feed"
    life = ["feed starts", "mailer starts", "mailer stops", "feed stops"]
    if isinstance(site.app, Litestar):
        life = ["pool opens", *life, "pool closes"]
    assert site.notes == life * 2
    assert len(site.feeds) == 2


async def test_a_crash_takes_the_server_down(site: Site) -> None:
    """When a service crashes, the server does, with the same failure, after the other parts of the lifespan have ended."""
    server = AsgiServer(site.app)
    with pytest.raises(Broken) as caught:
        async with server:
            site.feeds[0].break_down()
            await anyio.sleep_forever()
    assert caught.value is site.feeds[0].crash_reason
    assert server.failures == (caught.value,)  # once, also where the framework puts it in a group
    assert isinstance(site.app, Litestar) == (site.notes[-1] == "pool closes")
