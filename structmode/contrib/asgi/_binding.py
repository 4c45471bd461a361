"""Where a server listens: addresses, read from text, and the sockets that are bound to them.

A unix socket is a file, and its mode says who may connect. It is made private to the user before it listens, so there is no
instant in which others could connect. One that a process has left behind is taken over; one that somebody listens on is not.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import anyio
import anyio.to_thread

__all__ = ("Address", "Binding", "bound", "read_addresses")

#: How many connections may wait to be accepted.
BACKLOG = 128
#: What the kernel keeps at most for a client that does not read, in bytes.
SEND_BUFFER = 64 * 1024


@dataclass(frozen=True)
class Address:
    """An address to listen on: a host and a port, or the path of a unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Binding:
    """A socket that listens.

    Args:
        address: Where.
        stall_timeout: How long a client may leave unread what it was sent, in seconds.

    Attributes:
        address: Where it is, with the port that it has got.
        listener: The socket.

    Raises:
        OSError: If that can't be had; the error names the address.
    """

    def __init__(self, address: Address, stall_timeout: float) -> None:
        # The socket's file, by its full path: who is told a relative one may go elsewhere.
        self._path = ""
        self._file: tuple[int, int] | None = None
        try:
            self.listener = (
                self._bound_path(address.path) if address.path else _bound_port(address)
            )
        except OSError as exc:
            text = f"can't serve on {address}: {exc.strerror or exc}"
            # Of some mistakes, such as a path that is too long, Python knows without the system, and gives no number.
            raise OSError(*([] if exc.errno is None else [exc.errno]), text) from exc
        self.address = address
        if not address.path:
            _limit_clients(self.listener, stall_timeout)
            self.address = Address(address.host, self.listener.getsockname()[1])

    def close(self) -> None:
        """Close the socket, and remove its file, unless that is somebody else's by now."""
        self.listener.close()
        if self._file is not None:
            with suppress(FileNotFoundError):
                if _identity(self._path) == self._file:
                    os.unlink(self._path)

    def _bound_path(self, path: str) -> socket.socket:
        self._path = os.path.abspath(path)
        _remove_left_behind(path)
        with ExitStack() as undo:
            listener = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            listener.bind(path)
            os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)
            self._file = _identity(path)
            listener.listen(BACKLOG)
            undo.pop_all()
        return listener


@asynccontextmanager
async def bound(address: Address, stall_timeout: float) -> AsyncGenerator[Binding]:
    """Listen at an address while the block runs."""
    # In a thread: a name may have to be looked up, and a file system may be slow.
    binding = await anyio.to_thread.run_sync(Binding, address, stall_timeout)
    try:
        yield binding
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(binding.close)


def read_addresses(bind: str | Sequence[str]) -> list[Address]:
    """Read where to listen.

    Raises:
        TypeError: If it is no text.
        ValueError: If it is no address, or none at all.
    """
    if not isinstance(bind, Iterable):
        raise _no_text(bind)
    texts = [bind] if isinstance(bind, str) else list(bind)
    if not texts:
        raise ValueError('bind is empty: say where to listen, such as bind="127.0.0.1:8000"')
    return [_address(text) for text in texts]


def _no_text(bind: object) -> TypeError:
    return TypeError(f'bind is a text, such as "127.0.0.1:8000", or several; not {bind!r}')


def _address(text: object) -> Address:
    if not isinstance(text, str):
        raise _no_text(text)
    if text.startswith("unix:") and len(text) > len("unix:"):
        if not hasattr(socket, "AF_UNIX"):
            raise ValueError(f"bind={text!r}: there are no unix sockets on this platform")
        return Address(path=text.removeprefix("unix:"))
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    readable = colon and host and (bracketed or ":" not in host)
    if not (readable and port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError(
            f'bind={text!r} is no address: write "127.0.0.1:8000", "[::1]:8000" or "unix:/path/of/socket"; port 0 takes any'
            " that is free"
        )
    return Address(host.strip("[]"), int(port))


def _bound_port(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return socket.create_server((address.host, address.port), family=family, backlog=BACKLOG)


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _remove_left_behind(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise FileExistsError(
                errno.EEXIST, "there is a file of that name, and it is no socket"
            )
    except FileNotFoundError:
        return
    if _is_listened_on(path):
        raise OSError(errno.EADDRINUSE, "somebody listens there already")
    os.unlink(path)


def _is_listened_on(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except BlockingIOError:  # too many others are waiting
            return True
    return True


def _limit_clients(listener: socket.socket, stall_timeout: float) -> None:
    """Have the kernel drop a client that has stopped reading, keep little for it until then, and hold nothing small back.

    Hypercorn waits for such a client without end, and on trio can't be interrupted in that. Connections take these options
    over from the listener.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    # asyncio sees to that itself, but only for sockets that name their protocol, and those from accept() need not.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # pragma: no branch - Linux has it
        milliseconds = max(1, int(1000 * min(stall_timeout, 86400.0)))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
