"""Tasks in a line: who waits for something that there is only so much of, first come first.

Theory: what is waited for stays where it is until somebody takes it. It is not handed over to a task that still sleeps, since
that task may be cancelled before it runs, and would take the thing with it. A task is called instead. It looks, takes what it
finds in the same step, and lets the next be called. If there is nothing any more, because somebody did not stand in line,
it keeps its place and waits again; if it is cancelled, it leaves, and the next is called in its place. So nothing is lost, and no
call is lost. As many are called as there is something for, so that a task that comes back at once and does not stand in line can't
take it all; but only the first on trio, which runs what is woken together in random order.

A line belongs to no event loop but while somebody stands in it. So it can be made anywhere, and used by one loop after another.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice

import anyio
import anyio.lowlevel

from structmode import _engine as engine
from structmode.exceptions import EventLoopMismatch

__all__ = ("Line",)


class _Turn:
    """The place of one task in a line; what calls it, unless it is about to look by itself."""

    __slots__ = ("called",)

    def __init__(self) -> None:
        self.called: anyio.Event | None = None

    def call(self) -> None:
        """Have the task look."""
        if self.called is not None:
            self.called.set()

    async def wait(self) -> None:
        """Wait until the task is called."""
        self.called = anyio.Event()
        await self.called.wait()


class Line:
    """Tasks that wait, in the order in which they came.

    Args:
        label: Whose line it is, to be named in errors.
        supply: Tells how much there is to be had now; asked whenever somebody is to be called.
        together: What there is, is there for all: who comes while there is something need not wait for those before.
    """

    __slots__ = ("_called_together", "_home", "_label", "_supply", "_together", "_turns")

    def __init__(self, label: str, supply: Callable[[], float], *, together: bool = False) -> None:
        self._label = label
        self._supply = supply
        self._together = together
        self._turns: OrderedDict[_Turn, None] = OrderedDict()
        self._home: anyio.lowlevel.EventLoopToken | None = None
        # How many may be called at a time.
        self._called_together = 1.0

    def __len__(self) -> int:
        return len(self._turns)

    def check_loop(self, call: str) -> None:
        """Refuse a caller who is not on the event loop of those who wait.

        Raises:
            EventLoopMismatch: If somebody waits, on another event loop than the caller's.
        """
        if self._turns and not engine.runs_here(self._home):
            raise EventLoopMismatch(
                f"{call} of {self._label} was called outside the event loop whose tasks wait for it",
                "Call it there, for example through anyio.from_thread.run_sync(..., token=...)",
            )

    async def wait(self, call: str, *, until_called: bool = False) -> None:
        """Stand in line until it is one's turn and there is something to be had; a checkpoint in any case.

        Who returns from here must take what there is, without a checkpoint before, and then call `settle`.

        Args:
            call: What the task is about to do, to be named in errors.
            until_called: Having been called is enough, whatever there is then.

        Raises:
            EventLoopMismatch: As `check_loop`.
        """
        self.check_loop(call)
        here = engine.token_here()
        if here != self._home:
            self._home = here
            self._called_together = 1.0 if engine.on_trio() else math.inf
        turn = _Turn()
        goes_at_once = self._supply() > 0 and (self._together or not self._turns)
        self._turns[turn] = None
        try:
            await (anyio.lowlevel.checkpoint() if goes_at_once else turn.wait())
            while not until_called and self._supply() <= 0:
                await turn.wait()
        except BaseException:
            del self._turns[turn]
            # A coroutine that is closed by garbage collection is anywhere, and so is its line.
            if engine.runs_here(self._home):
                self.settle()
            raise
        del self._turns[turn]

    def settle(self) -> None:
        """Call those in line for whom there is something; to be called whenever there may be."""
        number = min(self._supply(), self._called_together, len(self._turns))
        for turn in islice(self._turns, max(0, int(number))):
            turn.call()

    def call_all(self) -> None:
        """Call all who are in line now."""
        for turn in self._turns:
            turn.call()
