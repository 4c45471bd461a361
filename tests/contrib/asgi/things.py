"""Services and applications for the tests, and the two ends of a conversation in ASGI."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import anyio

from structmode import Service
from structmode.contrib.asgi import AsgiServer
from structmode.contrib.asgi._types import AsgiApp


class Broken(Exception):
    """What the services of the tests crash with."""


class Noting(Service):
    """A service that notes when it starts and stops, and crashes when it is told to.

    Args:
        name: Its name in the notes.
        notes: The notes.
        refuses: Whether its start fails.
    """

    def __init__(self, name: str, notes: list[str], *, refuses: bool = False) -> None:
        self._name = name
        self._notes = notes
        self._refuses = refuses
        super().__init__()

    @property
    def label(self) -> str:
        """Its name in the log."""
        return self._name

    async def on_start(self) -> None:
        self._break = anyio.Event()
        if self._refuses:
            raise Broken(self._name)
        self._notes.append(f"{self._name} starts")

    async def on_stop(self) -> None:
        self._notes.append(f"{self._name} stops")

    @Service.task
    async def work(self) -> None:
        await self._break.wait()
        raise Broken(self._name)

    def break_down(self) -> None:
        """Have it crash."""
        self._break.set()


class Answer(NamedTuple):
    """What a server answers; the status is 0 if the connection ended before."""

    status: int
    head: str
    text: str


async def get(server: AsgiServer, path: str = "/") -> Answer:
    """Send a request over a connection of its own; return the answer."""
    received = b""
    async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
        request = f"GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n"
        await stream.send(request.encode())
        with suppress(anyio.BrokenResourceError):
            async for chunk in stream:
                received += chunk
    head, _, text = received.decode().partition("\r\n\r\n")
    return Answer(int(head.split()[1]) if head else 0, head.lower(), text)


class Conversation:
    """What a server sees of an application's lifespan.

    Args:
        app: The application, which is called by `run`.
        state: The state of the lifespan.
    """

    def __init__(self, app: AsgiApp, state: dict[str, Any] | None = None) -> None:
        self.app = app
        self.scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0"},
            "state": {} if state is None else state,
        }
        self.sent: list[dict[str, Any]] = []
        self.error: BaseException | None = None
        self._to_app, self._for_app = anyio.create_memory_object_stream[dict[str, Any]](2)
        self._news = anyio.Event()
        self.over = anyio.Event()

    async def run(self) -> None:
        """Call the application; note what leaves it."""
        try:
            await self.app(self.scope, self._for_app.receive, self._send)
        except Exception as exc:
            self.error = exc
        finally:
            self._to_app.close()
            self._for_app.close()
            self.over.set()
            self._news.set()

    async def _send(self, message: dict[str, Any]) -> None:
        await anyio.lowlevel.checkpoint()
        self.sent.append(message)
        self._news.set()

    async def ask(self, stage: str) -> dict[str, Any] | None:
        """Tell the application something; return its answer, or None if there was none."""
        await self._to_app.send({"type": f"lifespan.{stage}"})
        return await self.answer()

    async def answer(self) -> dict[str, Any] | None:
        """Wait for the next thing that it says."""
        known = len(self.sent)
        while len(self.sent) == known and not self.over.is_set():
            self._news = anyio.Event()
            await self._news.wait()
        return self.sent[-1] if len(self.sent) > known else None


@asynccontextmanager
async def conversation(app: AsgiApp, **kwargs: Any) -> AsyncIterator[Conversation]:
    """Call an application for its lifespan while the block runs."""
    talk = Conversation(app, **kwargs)
    async with anyio.create_task_group() as group:
        group.start_soon(talk.run)
        yield talk
        group.cancel_scope.cancel()


async def answers(app: AsgiApp, kind: str = "http") -> list[dict[str, Any]]:
    """Send a request without a body; return what the application answers."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:  # pragma: no cover - nobody asks
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        await anyio.lowlevel.checkpoint()
        sent.append(message)

    await app({"type": kind}, receive, send)
    return sent


async def greet(scope: Any, receive: Any, send: Any) -> None:
    """Be an application that knows nothing but requests."""
    if scope["type"] != "http":
        raise ValueError(f"this application has no {scope['type']}")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


async def until(condition: Callable[[], object]) -> None:
    """Wait until something has come about."""
    while not condition():
        await anyio.sleep(0)
