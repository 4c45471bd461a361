"""A console: look into a running tree of services, and stop or restart one of them, over a line of text.

Theory: whoever debugs a program that hangs has a terminal and no time, so the other end is ``nc 127.0.0.1 50101``, and a
command is a line: ``tree``, ``stacks Web``, ``restart Web``.
The program, however, must not suffer from having a console. So:

- *It says and does a fixed list of things.* No text is ever evaluated; `_commands` is all there is.
- *Everything is bounded*: the length of a line, the lines of an answer, connections, how long one may be idle, and how
  long it may take to read an answer. Whoever exceeds one is let go. What goes wrong in a conversation ends that
  conversation and nothing else.
- *It is for people on this machine.* It listens on a loopback address. A browser reaches that too, on behalf of any web
  page, but it can't speak lines: what it sends begins with an HTTP request or a TLS handshake, and a line that looks
  like either ends the connection before anything behind it is read (`_lines`). There is no password: every user of the
  machine may connect. That is why nobody has a console who did not ask for it.
- *It is a service*, in the tree that it shows. In a `Worker` it starts first and stops last, so a start or a stop that
  hangs can be looked at. A line is read, obeyed and answered in one task of its own; an answer waits for nothing but
  what the command is about.
"""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import anyio
from anyio.abc import SocketAttribute, SocketStream

from structmode import _engine as engine
from structmode.console._answers import Answer, TooSlow
from structmode.console._commands import Commands
from structmode.console._history import History
from structmode.console._levels import Levels
from structmode.console._lines import Lines, NotALine
from structmode.console._places import Places
from structmode.services import Service, ServiceTask
from structmode.utils._told import told
from structmode.utils.logging import get_logger

__all__ = ("Console",)

#: How many seconds a last word gets to arrive.
_LINGER = 1.0
#: How many seconds to wait before the next try, when a connection could not be taken.
_PAUSE = 1.0
#: What a connection that is over may raise.
_OVER = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, OSError)


class _Endless(ServiceTask):
    """A task that a program need not wait for when its work is done."""

    finite = False


class Console(Service):
    """Listens for people who want to look into the tree that this service is in.

        class App(Service):
            def __post_init__(self) -> None:
                self.add_dependency(Console(port=50101))

    Then ``nc 127.0.0.1 50101``, and `help` lists the commands. A `Worker` with ``debug=True`` has one. Every user of the
    machine may connect.

    Args:
        port: The TCP port; 0 for any that is free, which the log then tells.
        host: The IP address to listen on.
        **kwargs: Arguments of `Service`.

    Raises:
        TypeError: If the port is no number.
        ValueError: If there is no such port, or `host` is no IP address.
    """

    logger: logging.Logger = get_logger(__name__)
    mundane_level: str = "debug"

    #: How many may be connected at a time.
    max_connections: int = 8
    #: How many seconds a connection may be without a line before it is closed.
    idle_timeout: float = 600.0
    #: How many seconds it may take to take up a part of an answer.
    write_timeout: float = 10.0
    #: How many bytes a line may have.
    max_line: int = 1000
    #: How many lines an answer may have; of a long line, its beginning is shown.
    max_answer: int = 5000

    def __init__(self, port: int = 50101, host: str = "127.0.0.1", **kwargs: Any) -> None:
        self._wanted_port = _checked_port(port)
        self._host = _checked_host(host)
        self._port: int | None = None
        self._connections: set[SocketStream] = set()
        super().__init__(**kwargs)

    @property
    def port(self) -> int | None:
        """The port that it listens on; None while it does not."""
        return self._port

    async def on_start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: If it can't listen there; the text says why, and what to do.
        """
        history = self.add_context(History())
        levels = self.add_context(Levels())
        self._commands = Commands(Places(self), history, levels)
        listener = await self.add_async_context(await self._listen())
        self._listener = listener.listeners[0]
        self.add_context(self._known_port(listener.extra(SocketAttribute.local_port)))
        whom = "every user of this machine" if self._is_local() else "everyone who reaches it"
        self.log.warning("A console is there for %s: nc %s %d", whom, self._host, self._port)

    def _is_local(self) -> bool:
        return ipaddress.ip_address(self._host).is_loopback

    async def _listen(self) -> Any:
        try:
            return await anyio.create_tcp_listener(
                local_host=self._host, local_port=self._wanted_port
            )
        except OSError as exc:
            raise OSError(
                exc.errno,
                f"the console can't listen on {self._host}, port {self._wanted_port}: {exc.strerror or exc}. "
                "Choose another port (console_port=0 takes any that is free), or none "
                "(console_port=None)",
            ) from exc

    @contextmanager
    def _known_port(self, port: int) -> Generator[None]:
        self._port = port
        try:
            yield
        finally:
            self._port = None

    @_Endless
    async def _serve(self) -> None:
        """Take connections; none of them can end this."""
        while True:
            try:
                stream = await self._listener.accept()
            # No more files may be open, for instance.
            except (OSError, anyio.BrokenResourceError) as exc:
                self.log.warning("Can't take a connection: %r", exc)
                await anyio.sleep(_PAUSE)
                continue
            self._connections.add(stream)
            # Like all that a service runs; and a program need not wait for its end when the work is done.
            talk = partial(self._talk, stream)
            self._life.current.spawn(engine.Task(talk, "console connection", finite=False))

    async def on_shutdown(self) -> None:
        """Close the connections whose task was cancelled before its first step."""
        while self._connections:
            await anyio.aclose_forcefully(self._connections.pop())

    async def _talk(self, stream: SocketStream) -> None:
        try:
            async with stream:
                await self._converse(stream)
        except _OVER:
            pass
        except TooSlow:
            self.log.info("Someone did not take up an answer, and was let go")
        except Exception:
            self.log.exception("A conversation has failed")
        finally:
            self._connections.discard(stream)

    async def _converse(self, stream: SocketStream) -> None:
        lines = Lines(stream, self.max_line)
        if len(self._connections) > self.max_connections:
            await self._part(stream, f"There are {self.max_connections} others here.\n")
            return
        await self._answer(
            stream, f"structmode, process {os.getpid()}: `help` lists the commands.\n> "
        )
        while True:
            line = None
            with anyio.move_on_after(self.idle_timeout) as idle:
                try:
                    line = await lines.next()
                except NotALine as exc:
                    self.log.info("Someone was let go: %s", exc)
                    await self._part(stream, f"Let go: {exc}.\n")
                    return
            if idle.cancelled_caught:
                await self._part(stream, f"\nNothing for {self.idle_timeout:g} s: good bye.\n")
                return
            if line is None or line.lower() == "quit":
                await self._part(stream, "")
                return
            answer = Answer(stream, self.max_answer, self.write_timeout)
            await self._obey(line, answer)
            await answer.end("> ")

    async def _obey(self, line: str, answer: Answer) -> None:
        try:
            await self._commands.obey(line, answer)
        except (TooSlow, *_OVER):
            raise
        except Exception as exc:  # noqa: BLE001 - a label of somebody else's, for instance
            await answer.lines([f"that failed: {told(exc)}"])

    async def _answer(self, stream: SocketStream, text: str) -> None:
        await Answer(stream, self.max_answer, self.write_timeout).end(text)

    async def _part(self, stream: SocketStream, text: str) -> None:
        """Say a last word, and give it time to arrive: to close at once could take it back."""
        await self._answer(stream, text)
        with suppress(RuntimeError):  # uvloop, if the other end has left
            await stream.send_eof()
        with anyio.move_on_after(_LINGER), suppress(anyio.EndOfStream):
            while True:
                await stream.receive(65536)


def _checked_port(port: int) -> int:
    if isinstance(port, bool) or not isinstance(port, int):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"the port of a console is a number, such as 50101, not {port!r}")
    if not 0 <= port <= 65535:
        raise ValueError(f"the port of a console is a number from 0 to 65535, not {port}")
    return port


def _checked_host(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        raise ValueError(
            f"a console listens on an IP address, such as '127.0.0.1', not on {host!r}"
        ) from None
