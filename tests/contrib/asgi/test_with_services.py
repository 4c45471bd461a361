"""`WithServices`: an application with services, made of one that has none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from structmode import LifecycleError
from structmode.contrib.asgi import WithServices, lifespan

from .things import Broken, Noting, answers, conversation, greet, until

COMPLETE = {"type": "lifespan.startup.complete"}
CLOSED = {"type": "lifespan.shutdown.complete"}


async def test_it_speaks_the_protocol() -> None:
    """The server is told that the application is up when the services are, and that it is down when they have stopped."""
    notes: list[str] = []
    app = WithServices(greet, Noting("a", notes), Noting("b", notes))
    async with conversation(app) as talk:
        assert await talk.ask("startup") == COMPLETE
        assert notes == ["a starts", "b starts"]
        assert await talk.ask("shutdown") == CLOSED
        assert notes[2:] == ["b stops", "a stops"]
        await talk.over.wait()
    assert talk.error is None


async def test_requests_are_passed_on() -> None:
    """While the services run, requests reach the application as they are."""
    app = WithServices(greet, lambda app: Noting(app.__name__, []))
    async with conversation(app) as talk:
        await talk.ask("startup")
        start, body = await answers(app)
        assert (start["status"], body["body"]) == (200, b"hello")
        await talk.ask("shutdown")


async def test_a_failed_start_is_told() -> None:
    """If a service can't start, the server hears why, and the error leaves the call."""
    notes: list[str] = []
    app = WithServices(greet, Noting("a", notes), Noting("b", notes, refuses=True))
    async with conversation(app) as talk:
        answer = await talk.ask("startup")
        assert answer is not None
        assert answer["type"] == "lifespan.startup.failed"
        assert "Broken: b" in answer["message"]
        await talk.over.wait()
    assert isinstance(talk.error, Broken)
    assert notes == ["a starts", "a stops"]


async def test_after_a_crash_requests_get_503(sigterms: list[int]) -> None:
    """When a service has crashed, requests are refused until the server has come down, which is told why."""
    a = Noting("a", [])
    app = WithServices(greet, a)
    async with conversation(app) as talk:
        await talk.ask("startup")
        a.break_down()
        await until(lambda: sigterms)
        start, body = await answers(app)
        assert (start["status"], body["body"]) == (503, b"Out of service\n")
        assert (b"connection", b"close") in start["headers"]
        [close] = await answers(app, "websocket")
        assert close["type"] == "websocket.close"
        answer = await talk.ask("shutdown")
        assert answer is not None
        assert answer["type"] == "lifespan.shutdown.failed"
        assert "Broken: a" in answer["message"]
        await talk.over.wait()
    assert talk.error is a.crash_reason


async def test_an_application_may_live_again() -> None:
    """After a shut-down requests are refused; in the next life they are answered again."""
    app = WithServices(greet, lambda _: Noting("a", []))
    for _ in range(2):
        async with conversation(app) as talk:
            await talk.ask("startup")
            assert (await answers(app))[0]["status"] == 200
            await talk.ask("shutdown")
        assert (await answers(app))[0]["status"] == 503


async def test_without_a_lifespan_there_are_no_services() -> None:
    """A server that runs no lifespan gets an error that says so, and no answer from an application without services."""
    app = WithServices(greet, Noting("a", []))
    with pytest.raises(LifecycleError, match="have not been started"):
        await answers(app)


async def test_cancellation_stops_the_services() -> None:
    """If the server cancels the lifespan, the services stop, and nobody is told anything."""
    notes: list[str] = []
    async with conversation(WithServices(greet, Noting("a", notes))) as talk:
        await talk.ask("startup")
    assert notes == ["a starts", "a stops"]
    assert talk.sent == [COMPLETE]


# --- The application has a lifespan of its own -----------------------------------------------------


class Inner:
    """An application with a lifespan of its own.

    Args:
        notes: Where it notes what it does.
        alive: Its lifespan; by default one that does nothing.
    """

    def __init__(self, notes: list[str], alive: Callable[[Any], Any] | None = None) -> None:
        self.notes = notes
        self.alive = alive

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a server as frameworks do."""
        if scope["type"] == "http":
            await greet(scope, receive, send)
            return
        stage = "startup"
        await receive()
        try:
            async with (self.alive or self._life)(self):
                scope["state"]["inner"] = True
                await send({"type": "lifespan.startup.complete"})
                stage = "shutdown"
                await receive()
        except Exception as exc:
            await send({"type": f"lifespan.{stage}.failed", "message": str(exc)})  # noqa: ASYNC120
            raise
        await send({"type": "lifespan.shutdown.complete"})

    @asynccontextmanager
    async def _life(self, app: object) -> AsyncIterator[None]:
        self.notes.append("inner starts")
        yield
        self.notes.append("inner stops")


async def test_the_inner_lifespan_is_inside() -> None:
    """The application's own lifespan begins after the services have started, shares the state, and ends before them."""
    notes: list[str] = []
    app = WithServices(Inner(notes), Noting("a", notes))
    state: dict[str, Any] = {}
    async with conversation(app, state=state) as talk:
        assert await talk.ask("startup") == COMPLETE
        assert state == {"inner": True}
        assert await talk.ask("shutdown") == CLOSED
    assert notes == ["a starts", "inner starts", "inner stops", "a stops"]


async def test_a_failed_start_of_the_inner_lifespan() -> None:
    """If the application itself can't start up, the services are stopped, and its error is what is told."""

    @asynccontextmanager
    async def refuse(app: object) -> AsyncIterator[None]:
        raise Broken("inner")
        yield

    notes: list[str] = []
    async with conversation(WithServices(Inner(notes, refuse), Noting("a", notes))) as talk:
        answer = await talk.ask("startup")
        assert answer is not None
        assert answer["type"] == "lifespan.startup.failed"
        await talk.over.wait()
    assert isinstance(talk.error, Broken)
    assert notes == ["a starts", "a stops"]


async def test_an_inner_lifespan_that_fails_in_mid_life(sigterms: list[int]) -> None:
    """What the application's own lifespan raises in mid-life is a crash like that of a service."""
    go = anyio.Event()

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(COMPLETE)
        await go.wait()
        raise Broken("inner")

    async with conversation(WithServices(inner, Noting("a", []))) as talk:
        await talk.ask("startup")
        go.set()
        await until(lambda: sigterms)
        await talk.ask("shutdown")
        await talk.over.wait()
    assert isinstance(talk.error, Broken)


async def test_services_of_the_inner_lifespan_ask_the_server_too(sigterms: list[int]) -> None:
    """Services that the application owns by `lifespan` take the server down as they do without a wrapper."""
    notes: list[str] = []
    a = Noting("a", notes)
    app = WithServices(Inner(notes, lifespan(a)), Noting("b", notes))
    async with conversation(app) as talk:
        await talk.ask("startup")
        a.break_down()
        await until(lambda: sigterms)
        assert (await answers(app))[0]["status"] == 200  # those of the wrapper are well
        answer = await talk.ask("shutdown")
        assert answer is not None
        assert answer["type"] == "lifespan.shutdown.failed"
        await talk.over.wait()
    assert talk.error is a.crash_reason


def test_what_is_no_application() -> None:
    """What can't be called is refused, and so is what is no service."""
    with pytest.raises(TypeError, match="takes an ASGI application"):
        WithServices(Noting("a", []))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="WithServices takes services"):
        WithServices(greet, 7)  # type: ignore[arg-type]
