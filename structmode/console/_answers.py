"""What goes out: lines, in parts, bounded in number, in length, and in the time that each part may take."""

from __future__ import annotations

from collections.abc import Iterable

import anyio
from anyio.abc import ByteSendStream

from structmode.utils.graphs._things import replace_unprintable

__all__ = ("Answer", "TooSlow")

#: How many characters are sent at a time.
_PART = 16384
#: How many characters of a line are shown.
_LONGEST = 1000


class TooSlow(Exception):
    """Nobody reads at the other end."""


class Answer:
    """One answer.

    Args:
        stream: Where it goes.
        limit: How many lines it may have.
        patience: How many seconds the other end may take for a part of it.

    Attributes:
        left: How many lines it may still have.
    """

    def __init__(self, stream: ByteSendStream, limit: int, patience: float) -> None:
        self._stream = stream
        self.left = limit
        self._patience = patience
        self._parts: list[str] = []
        self._length = 0

    async def lines(self, lines: Iterable[str]) -> None:
        """Say lines; what a terminal could take for a command to itself is written out.

        Of an iterator, no more is taken than may be said.

        Raises:
            TooSlow: If nobody reads.
        """
        for line in lines:
            if self.left <= 0:
                self._add("... and more: name a service to see less at a time\n")
                return
            self.left -= 1
            self._add(f"{_shown(line)}\n")
            if self._length > _PART:
                await self.flush()

    async def line(self, line: str) -> None:
        """Say one line, at once.

        Raises:
            TooSlow: If nobody reads.
        """
        await self.lines([line])
        await self.flush()

    async def end(self, text: str) -> None:
        """Say a last text, as it is, and have all sent.

        Raises:
            TooSlow: If nobody reads.
        """
        self._add(text)
        await self.flush()

    async def flush(self) -> None:
        """Have sent what was said.

        Raises:
            TooSlow: If nobody reads.
        """
        data = "".join(self._parts).encode(errors="backslashreplace")
        self._parts, self._length = [], 0
        with anyio.move_on_after(self._patience) as limit:
            await self._stream.send(data)
        if limit.cancelled_caught:
            raise TooSlow

    def _add(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)


def _shown(line: str) -> str:
    shown = line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
    return replace_unprintable(shown, lambda one: one.encode("unicode_escape").decode("ascii"))
