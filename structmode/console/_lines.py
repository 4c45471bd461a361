"""What comes in: one line at a time, and nothing that is no line.

Theory: who types into a console sends short lines of printable text. Whatever else arrives - a browser's request, a TLS
handshake, another protocol, garbage - was not meant for it, and may have been sent on purpose by one who can choose a part
of it. So the first thing that is no such line ends the matter: nothing after it is looked at, even if it would be a
command. And a line counts only when its end has come: half a name could be the name of another.
"""

from __future__ import annotations

import re

import anyio
from anyio.abc import ByteReceiveStream

__all__ = ("Lines", "NotALine")

_HTTP = re.compile(r"\bHTTP/\d", re.IGNORECASE)


class NotALine(Exception):
    """Something came that is no line for a console; the text says what."""


class Lines:
    """The lines that a stream brings.

    Args:
        stream: Where they come from.
        limit: How many bytes a line may have.
    """

    def __init__(self, stream: ByteReceiveStream, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._buffer = bytearray()

    async def next(self) -> str | None:
        """Wait for the next line; None if there are no more.

        If it is cancelled, nothing is lost.

        Raises:
            NotALine: If what comes is no line.
        """
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > self._limit:
                raise NotALine(f"a line of more than {self._limit} bytes")
            try:
                self._buffer += await self._stream.receive(4096)
            except anyio.EndOfStream:
                return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return _checked(line, self._limit)


def _checked(line: bytes, limit: int) -> str:
    if len(line) > limit:
        raise NotALine(f"a line of more than {limit} bytes")
    try:
        text = line.removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        raise NotALine("a line that is no text") from None
    if not text.replace("\t", " ").isprintable():
        raise NotALine("a line with characters that can't be typed")
    if _HTTP.search(text):
        raise NotALine("an HTTP request, and this is no web server")
    return " ".join(text.split())
