"""An event that can be cleared again, on every event loop.

`anyio.Event` cannot be cleared, and belongs to the event loop in which it was made; where that is enough, use it. The one here
is what programs written for mode use: it can be made anywhere, at module level too, and used by one event loop after another.
"""

from __future__ import annotations

from typing import Any

from ._asyncio_only import running_loop
from ._line import Line

__all__ = ("Event",)


class Event:
    """A flag that tasks can wait for.

    It is used by one event loop at a time. To set it from another thread, have the loop do it: through
    ``anyio.from_thread.run_sync(event.set, token=...)``.

    Differs from mode, where it is bound to asyncio: this one works on trio too.

    Args:
        loop: Accepted for programs written for mode, and ignored.
    """

    def __init__(self, *, loop: Any = None) -> None:
        self._is_set = False
        self._line = Line("an event", lambda: 1 if self._is_set else 0, together=True)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'set' if self._is_set else 'unset'}, waited for by {len(self._line)}>"

    def is_set(self) -> bool:
        """Whether the flag is true."""
        return self._is_set

    def set(self) -> None:
        """Make the flag true, and wake all who wait for it.

        Raises:
            EventLoopMismatch: If tasks of another event loop than the caller's wait for it.
        """
        self._line.check_loop("set()")
        self._is_set = True
        self._line.call_all()

    def clear(self) -> None:
        """Make the flag false: who waits from now on waits for the next `set`. Who has been woken before goes on."""
        self._is_set = False

    async def wait(self) -> bool:
        """Wait until the flag is true; a checkpoint in any case.

        Who waits when `set` is called has been woken, even if `clear` follows at once.

        Returns:
            True, always.

        Raises:
            EventLoopMismatch: If tasks of another event loop wait for it already.
        """
        await self._line.wait("wait()", until_called=True)
        return True

    @property
    def loop(self) -> Any:
        """The running asyncio event loop.

        Raises:
            AsyncioRequired: On trio, and where no event loop runs.
        """
        return running_loop(
            f"{type(self).__name__}.loop", "anyio.lowlevel.current_token() to name the loop"
        )
