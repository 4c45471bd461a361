"""A program on gevent or eventlet: what blocks in a greenlet, or in what then takes the place of a thread, blocks nobody."""

# ruff: noqa: E402, T201 - what comes first is what this is about
from __future__ import annotations

import sys

import structmode.loop

structmode.loop.use(sys.argv[1])

import os
import signal
import socket
import threading
import time
from collections.abc import Callable

import anyio
import anyio.abc
import anyio.to_thread

from structmode import Service, Worker


class Green(Service):
    """Waits in all ways at once."""

    async def on_start(self) -> None:
        self.ticks = 0
        self.done = anyio.Event()

    @Service.timer(0.005)
    async def tick(self) -> None:
        self.ticks += 1

    @Service.task
    async def work(self) -> None:
        await self.meanwhile("sleeping in a thread", lambda: time.sleep(0.05))
        await self.meanwhile("waiting for a thread", wait_for_a_thread)
        await self.meanwhile("waiting for a socket", wait_for_a_socket)
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        await self.add_async_context(listener)
        self.add_future(listener.serve(self.echo))
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"hello")
            print(f"echo: {(await stream.receive()).decode()}")
            await stream.send_eof()
        await self.done.wait()
        # Not from here, but from where only a signal wakes the loop.
        threading.Thread(target=kill_soon).start()

    async def meanwhile(self, what: str, block: Callable[[], object]) -> None:
        before = self.ticks
        await anyio.to_thread.run_sync(block)
        print(f"{what}: {'ticks' if self.ticks > before else 'nothing'} meanwhile")

    async def echo(self, stream: anyio.abc.SocketStream) -> None:
        async with stream:
            async for data in stream:
                await stream.send(data)
        self.done.set()


def wait_for_a_thread() -> None:
    thread = threading.Thread(target=time.sleep, args=(0.05,))
    thread.start()
    thread.join()


def wait_for_a_socket() -> None:
    near, far = socket.socketpair()
    with near, far:
        sender = threading.Thread(target=send_later, args=(far,))
        sender.start()
        print(f"socket: {near.recv(10).decode()}")
        sender.join()


def send_later(far: socket.socket) -> None:
    time.sleep(0.05)
    far.sendall(b"hello")


def kill_soon() -> None:
    time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)


worker = Worker(Green(), loglevel="info", redirect_stdouts=False, stdout=sys.stdout)
print(f"backend: {worker.backend}")
worker.execute_from_commandline()
