"""An application for a real server: /break has its service crash. With REFUSE set, it can't start."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from structmode import Service
from structmode.contrib.asgi import lifespan


def say(line: str) -> None:
    """Write a line at once, in one piece: other processes write to the same place."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Feed(Service):
    """Works until it is broken."""

    async def on_start(self) -> None:
        """Say that it starts, or refuse to."""
        if os.environ.get("REFUSE"):
            raise ValueError("the feed refuses")
        self.broken = anyio.Event()
        say("feed starts")

    @Service.task
    async def work(self) -> None:
        """Wait until it is broken."""
        await self.broken.wait()
        raise ValueError("the feed is broken")

    async def on_stop(self) -> None:
        """Say that it stops."""
        say("feed stops")


def feed(app: Starlette) -> Feed:
    """Make the service of one life."""
    made = app.state.feed = Feed()
    return made


@asynccontextmanager
async def life(app: Starlette) -> AsyncIterator[None]:
    """Hold something besides the service."""
    async with lifespan(feed)(app):
        say("pool opens")
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
            say("pool closes")


async def hello(request: Request) -> PlainTextResponse:
    """Answer with the state of the service."""
    return PlainTextResponse(request.app.state.feed.state)


async def break_down(request: Request) -> PlainTextResponse:
    """Break the service, and answer when it has stopped."""
    request.app.state.feed.broken.set()
    while request.app.state.feed.started:
        await anyio.sleep(0.01)
    return PlainTextResponse(request.app.state.feed.state)


app = Starlette(routes=[Route("/", hello), Route("/break", break_down)], lifespan=life)
