"""A library that knows only asyncio, in a program on trio: it gets a thread of its own, with an event loop that it knows.

python asyncio_in_trio.py               the program on trio, the library on asyncio
python asyncio_in_trio.py asyncio       both on asyncio, in two threads
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import anyio.abc

from structmode import QueueServiceThread, Service, run, service


class Library:
    """Stands for a client library made for asyncio: it could not be used on trio."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, question: str) -> str:
        """Send a line, and return the one that comes back."""
        self._writer.write(f"{question}\n".encode())
        await self._writer.drain()
        return (await asyncio.wait_for(self._reader.readline(), 5)).decode().strip()

    def close(self) -> None:
        """Say goodbye."""
        self._writer.close()


class Client(QueueServiceThread):
    """The library, in a thread of its own; its methods can be called in any event loop."""

    backend = "asyncio"
    num_workers = 1  # the library can't do two things at a time

    async def dial(self, port: int) -> None:
        """Connect."""
        await self.call_thread(self._dial, port)

    async def _dial(self, port: int) -> None:
        self._library = await self.add_async_context(connection(port))

    async def ask(self, question: str) -> str:
        """Ask a question."""
        return await self.call_thread(self._library.ask, question)


@asynccontextmanager
async def connection(port: int) -> AsyncGenerator[Library]:
    """Connect with the library, and disconnect in the end."""
    library = Library(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield library
    finally:
        library.close()


class Oracle(Service):
    """Answers questions, on whatever event loop the program runs on."""

    async def on_start(self) -> None:
        self._listener = await self.add_async_context(
            await anyio.create_tcp_listener(local_host="127.0.0.1")
        )
        self.port: int = self._listener.extra(anyio.abc.SocketAttribute.local_port)

    async def on_started(self) -> None:
        self.add_future(self._listener.serve(self.answer))

    async def answer(self, client: anyio.abc.SocketStream) -> None:
        """Answer one client."""
        async with client:
            async for question in client:
                await client.send(question.upper())


@service
async def main() -> None:
    """Ask three questions, and end."""
    async with Oracle() as oracle, Client() as client:
        await client.dial(oracle.port)
        for question in ("who", "where", "why"):
            print(f"{question}? {await client.ask(question)}!")


if __name__ == "__main__":
    backend = sys.argv[1] if len(sys.argv) > 1 else "trio"
    run(main(), backend=backend)
