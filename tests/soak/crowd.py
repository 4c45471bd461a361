"""The crowd: clients in the event loop of the program itself, who can be asked to leave while something is measured."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from .ledger import Account, Ledger

#: How many clients count views. Every third waits for each of its views to be saved, but for the times when all are hasty.
CLIENTS = 6
HASTY = 0.4
#: How many views a client sends over one connection, at most.
AT_ONCE = 30
_PAUSE = 0.01

#: What a server that stops or crashes does to a client.
GONE = (OSError, anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError)


class Crowd:
    """The clients.

    Args:
        port: Returns where to connect to, and None while there is nobody there.
        ledger: Where to keep account.
        rng: Whatever is random.
    """

    def __init__(self, port: Callable[[], int | None], ledger: Ledger, rng: random.Random) -> None:
        self._port = port
        self._ledger = ledger
        self._rng = rng
        self._admitted = self._hasty = False
        self._inside = 0

    def gather(self, group: anyio.abc.TaskGroup) -> None:
        """Have the clients come, and wait to be admitted."""
        for number in range(CLIENTS):
            group.start_soon(self._view, self._ledger.account(f"/client/{number}"), number)
        group.start_soon(self._look_on)

    def admit(self) -> None:
        """Let the clients connect."""
        self._admitted = True
        self._hasty = self._rng.random() < HASTY

    async def dismiss(self) -> None:
        """Have the clients finish what they do, and wait until none is connected."""
        self._admitted = False
        while self._inside:
            await anyio.sleep(_PAUSE)

    @asynccontextmanager
    async def _connection(self, port: int) -> AsyncGenerator[anyio.abc.SocketStream]:
        self._inside += 1
        try:
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                yield stream
        finally:
            self._inside -= 1

    async def _view(self, account: Account, number: int) -> None:
        while True:
            await anyio.sleep(_PAUSE)
            port = self._port()
            if not self._admitted or port is None:
                continue
            try:
                async with self._connection(port) as stream:
                    await self._send_views(stream, account, patient=number % 3 == 0)
            except GONE:
                pass

    async def _send_views(
        self, stream: anyio.abc.SocketStream, account: Account, *, patient: bool
    ) -> None:
        answers = BufferedByteReceiveStream(stream)
        cookie = f"visitor={account.path.replace('/', '-'):-<22}"
        for _ in range(self._rng.randint(1, AT_ONCE)):
            if not self._admitted:
                return
            wait = not self._hasty and (patient or self._rng.random() < 0.05)
            query = f"path={account.path}{'&until=saved' if wait else ''}"
            account.send()
            await stream.send(
                f"POST /view?{query} HTTP/1.1\r\nHost: here\r\nCookie: {cookie}\r\n\r\n".encode()
            )
            status, body = await read_answer(answers)
            if status == 200:
                account.answered(json.loads(body)["views"], saved=wait)
            await anyio.sleep(self._rng.uniform(0, _PAUSE))

    async def _look_on(self) -> None:
        while True:
            await anyio.sleep(_PAUSE)
            port = self._port()
            if not self._admitted or port is None:
                continue
            try:
                async with self._connection(port) as stream:
                    await stream.send(b"GET /events HTTP/1.1\r\nHost: here\r\n\r\n")
                    with anyio.move_on_after(self._rng.uniform(0, 0.5)):
                        while True:
                            await stream.receive()
            except GONE:
                pass


async def read_answer(stream: BufferedByteReceiveStream) -> tuple[int, bytes]:
    """Return the status and the body of an answer that says how long it is."""
    head = await stream.receive_until(b"\r\n\r\n", 4096)
    status, *headers = head.decode().split("\r\n")
    lengths = [line.split(":")[1] for line in headers if line.startswith("content-length:")]
    return int(status.split()[1]), await stream.receive_exactly(int(lengths[0]))
