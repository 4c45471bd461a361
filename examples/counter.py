"""A page-view counter: the program that the tutorial builds.

python counter.py                      counts on http://127.0.0.1:8000, until Ctrl-C
python counter.py trio 8123            the same on trio, on another port
"""

from __future__ import annotations

import json
import sys
from typing import Any

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from structmode import Service, Worker

HOST = "127.0.0.1"


class Counter(Service):
    """Counts views, and keeps the counts in a file."""

    def __init__(self, path: str = "views.json") -> None:
        super().__init__()
        self.path = anyio.Path(path)
        self.views: dict[str, int] = {}
        self.unsaved = False

    async def on_start(self) -> None:
        if await self.path.exists():
            self.views = json.loads(await self.path.read_text())
            self.log.info("Going on with %d pages", len(self.views))

    async def on_shutdown(self) -> None:
        await self.save()

    @Service.timer(1.0)
    async def save_now_and_then(self) -> None:
        await self.save()

    async def save(self) -> None:
        if self.unsaved:
            self.unsaved = False
            await self.path.write_text(json.dumps(self.views))

    def count(self, page: str) -> int:
        self.views[page] = self.views.get(page, 0) + 1
        self.unsaved = True
        return self.views[page]


class Server(Service):
    """Answers each request with the number of views of its page."""

    drain_timeout = 5.0

    def __init__(self, counter: Counter, port: int = 8000) -> None:
        super().__init__()
        self.counter = counter
        self.port = port

    async def on_start(self) -> None:
        tcp = await anyio.create_tcp_listener(local_host=HOST, local_port=self.port)
        await self.add_async_context(tcp)
        self.listener: Any = tcp.listeners[0]

    async def on_started(self) -> None:
        self.port = self.listener.extra(anyio.abc.SocketAttribute.local_port)
        self.log.info("Counting on http://%s:%d", HOST, self.port)

    @Service.task
    async def accept(self) -> None:
        while not self.should_stop:
            connection, _ = await self.wait(self.listener.accept)
            if connection is not None and not self.should_stop:
                self.add_future(self.answer(connection))
            elif connection is not None:  # it came together with the stop
                await self.answer(connection)

    async def answer(self, connection: anyio.abc.SocketStream) -> None:
        async with connection:
            try:
                request = BufferedByteReceiveStream(connection)
                line = await request.receive_until(b"\r\n\r\n", 65536)
                _, page, _ = line.decode().split(maxsplit=2)
                answer = f"{page}: {self.counter.count(page)}\n"
                await connection.send(f"HTTP/1.0 200 OK\r\n\r\n{answer}".encode())
            except (anyio.IncompleteRead, anyio.BrokenResourceError, ValueError) as exc:
                self.log.warning("A request came to nothing: %r", exc)


class App(Service):
    """The counter and its server."""

    def __init__(self, path: str = "views.json", port: int = 8000) -> None:
        super().__init__()
        self.counter = self.add_dependency(Counter(path))
        self.server = self.add_dependency(Server(self.counter, port))


if __name__ == "__main__":
    backend, port = [*sys.argv[1:], "asyncio", "8000"][:2]
    Worker(App(port=int(port)), backend=backend, loglevel="info").execute_from_commandline()
