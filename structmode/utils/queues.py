"""Queues whose producers can be held up, and into which errors can be thrown.

    flow = FlowControlEvent(initially_suspended=False)
    queue: ThrowableQueue[str] = ThrowableQueue(maxsize=100, flow_control=flow)

They have the API of ``asyncio.Queue`` and work on every event loop. What they promise:

- *Nothing is lost.* A `get` that is cancelled takes nothing, a `put` that is cancelled has put nothing, and whoever waits
  behind it is served in its place.
- *First come, first served.* Items leave in the order in which they were put; tasks that wait, on either side, have their turn
  in the order in which they came, on every backend. What does not wait (`get_nowait` and `put_nowait`) takes what is there.
- *No event loop is touched by a constructor.* A queue can be made at module level, and used by one loop after another.

A queue belongs to the event loop whose tasks wait for it, as long as they do. It is not for passing things between threads: a
call from another thread is refused with `EventLoopMismatch` when somebody waits, which is when it would do harm; otherwise it
can't be told from a right one.

Differs from mode, where the queues are subclasses of ``asyncio.Queue``: these are not, and have no ``shutdown``.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import anyio
import anyio.lowlevel

from structmode import _engine as engine

from ._line import Line
from .locks import Event

__all__ = (
    "FlowControlEvent",
    "FlowControlQueue",
    "QueueEmpty",
    "QueueFull",
    "ThrowableQueue",
)

_T = TypeVar("_T")


class QueueEmpty(anyio.WouldBlock):
    """There is nothing to be got without waiting.

    In a program that has imported asyncio, it is an ``asyncio.QueueEmpty`` too.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return QueueEmpty, self.args


class QueueFull(anyio.WouldBlock):
    """There is no room for another item without waiting.

    In a program that has imported asyncio, it is an ``asyncio.QueueFull`` too.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return QueueFull, self.args


# What has been made below: an error of ours and one of asyncio's in one.
_joined: dict[type[Exception], type[Exception]] = {}


def _would_block(ours: type[Exception], text: str) -> Exception:
    """Make an error that is both ours and asyncio's of the same name, if anybody here can know of the latter."""
    theirs = getattr(engine.asyncio_if_loaded(), ours.__name__, None)
    if theirs is None:
        return ours(text)
    if theirs not in _joined:
        named = {"__doc__": ours.__doc__, "__module__": ours.__module__}
        _joined[theirs] = type(ours.__name__, (ours, theirs), named)
    return _joined[theirs](text)


def _call_each(functions: Sequence[Callable[[], object]]) -> None:
    """Call all functions, and raise what the first failing one raised, with notes on the others."""
    failures: list[Exception] = []
    for function in functions:
        try:
            function()
        except Exception as exc:  # noqa: BLE001 - raised below, when the others have been called
            failures.append(exc)
    for later in failures[1:]:
        engine.note(failures[0], "also raised by another callback", later)
    if failures:
        raise failures[0]


class FlowControlEvent:
    """Holds up the producers of any number of queues, and lets them go on.

    It is suspended to begin with, unless told otherwise: nothing can be put before the first `resume`. It knows its queues
    without keeping them alive.

    Args:
        initially_suspended: Whether producers are held up from the beginning.
        loop: Accepted for programs written for mode, and ignored.
    """

    def __init__(self, *, initially_suspended: bool = True, loop: Any = None) -> None:
        self._suspended = initially_suspended
        # Dictionaries, not sets: queues are dealt with in the order in which they came.
        self._queues: WeakKeyDictionary[FlowControlQueue[Any], None] = WeakKeyDictionary()
        self._cleared: WeakKeyDictionary[FlowControlQueue[Any], None] = WeakKeyDictionary()
        self._line = Line("a FlowControlEvent", lambda: 0 if self._suspended else 1, together=True)

    def __repr__(self) -> str:
        state = "suspended" if self._suspended else "active"
        return f"<{type(self).__name__} {state}, {len(self._queues)} queues>"

    def manage_queue(self, queue: FlowControlQueue[Any]) -> None:
        """Have a queue emptied on `resume` and on `clear`; ``clear_on_resume=True`` does this for it."""
        self._cleared[queue] = None

    def suspend(self) -> None:
        """Hold up whoever puts something into one of the queues, from now on."""
        self._suspended = True

    def resume(self) -> None:
        """Let producers go on; the queues that ask for it are emptied before.

        Nothing happens if it is active already. Differs from mode, where the queues are emptied then too.

        Raises:
            EventLoopMismatch: If tasks of another event loop than the caller's wait for it, or for one of its queues.
        """
        if not self._suspended:
            return
        self._check_loop("resume()")
        try:
            self.clear()
        finally:
            self._suspended = False
            self._line.call_all()
            for queue in tuple(self._queues):
                queue._settle()

    def is_active(self) -> bool:
        """Whether producers may go on."""
        return not self._suspended

    def clear(self) -> None:
        """Empty the queues that are managed, all of them, even if one fails: see `manage_queue`.

        Raises:
            EventLoopMismatch: If tasks of another event loop than the caller's wait for it, or for one of its queues.
            Exception: What the first failing callback of a queue raised, as in `FlowControlQueue.clear`.
        """
        self._check_loop("clear()")
        _call_each([queue.clear for queue in self._cleared])

    async def acquire(self) -> None:
        """Wait until it is active; a checkpoint in any case.

        It is active when this returns. Differs from mode, where it may have been suspended again by then.

        Raises:
            EventLoopMismatch: If tasks of another event loop than the caller's wait for it already.
        """
        await self._line.wait("acquire()")

    def _attach(self, queue: FlowControlQueue[Any]) -> None:
        self._queues[queue] = None

    def _check_loop(self, call: str) -> None:
        self._line.check_loop(call)
        for queue in tuple(self._queues):
            queue._check_loop(call)


class FlowControlQueue(Generic[_T]):
    """A queue whose producers wait while its flow is suspended.

    Only `put` waits for the flow: `put_nowait` and `put_nowait_enhanced` do not, as in mode.

    A queue with a `maxsize` also knows *pressure*, for producers that must not wait: see `put_nowait_enhanced`.

    Args:
        maxsize: How many items there is room for; zero or less: any number.
        flow_control: What holds up and lets go its producers.
        clear_on_resume: Whether it is emptied when the flow is resumed.
        loop: Accepted for programs written for mode, and ignored.

    Attributes:
        pressure_high_ratio: Pressure is high from `maxsize` divided by this on.
        pressure_drop_ratio: Pressure has dropped from `maxsize` times this downwards.
    """

    pressure_high_ratio: float = 1.25
    pressure_drop_ratio: float = 0.40

    def __init__(
        self,
        maxsize: int = 0,
        *,
        flow_control: FlowControlEvent,
        clear_on_resume: bool = False,
        loop: Any = None,
    ) -> None:
        self._maxsize = maxsize
        self._flow_control = flow_control
        self._queue: deque[_T] = deque()
        self._unfinished = 0
        self._finished = Event()
        self._finished.set()
        # Who is told when the pressure drops, in the order in which they came under it.
        self._pressed: dict[Callable[[], object], None] = {}
        self._getters = Line("a queue", self._stock)
        self._putters = Line("a queue", self._room)
        flow_control._attach(self)
        if clear_on_resume:
            flow_control.manage_queue(self)

    def __repr__(self) -> str:
        limit = f" of {self._maxsize}" if self._maxsize > 0 else ""
        waiting = f"{len(self._getters)} getting, {len(self._putters)} putting"
        return f"<{type(self).__name__} {self.qsize()}{limit} items, {waiting}>"

    @property
    def maxsize(self) -> int:
        """How many items there is room for; zero or less: any number."""
        return self._maxsize

    def qsize(self) -> int:
        """Return the number of items in the queue."""
        return len(self._queue)

    def empty(self) -> bool:
        """Whether there is nothing to be got."""
        return not self._queue

    def full(self) -> bool:
        """Whether there is no room for another item."""
        return 0 < self._maxsize <= len(self._queue)

    async def put(self, value: _T) -> None:
        """Put an item at the end, as soon as the flow is active and there is room; a checkpoint in any case.

        A call that is cancelled has put nothing.

        Args:
            value: The item.

        Raises:
            EventLoopMismatch: If tasks of another event loop than the caller's wait for the queue.
        """
        self._getters.check_loop("put()")
        await self._putters.wait("put()")
        self._append(value)

    def put_nowait(self, item: _T) -> None:
        """Put an item at the end, whether the flow is suspended or not.

        Args:
            item: The item.

        Raises:
            QueueFull: If there is no room for it.
            EventLoopMismatch: If tasks of another event loop than the caller's wait for the queue.
        """
        if self.full():
            raise _would_block(QueueFull, f"the queue has its {self._maxsize} items already")
        self.force_put_nowait(item)

    def force_put_nowait(self, item: _T) -> None:
        """Put an item at the end, whether there is room for it or not, and whether the flow is suspended or not.

        Args:
            item: The item.

        Raises:
            EventLoopMismatch: If tasks of another event loop than the caller's wait for the queue.
        """
        self._check_loop("a put")
        self._append(item)

    def put_nowait_enhanced(
        self,
        value: _T,
        *,
        on_pressure_high: Callable[[], object],
        on_pressure_drop: Callable[[], object],
    ) -> bool:
        """Put an item at the end, whether there is room for it or not, and tell the producer when there are too many.

        The producer should pause what feeds it when it is told that the pressure is high, and go on when it is told that the
        pressure has dropped. Each is told once, then the other one.

        Args:
            value: The item.
            on_pressure_high: Called before the item is put if the queue is nearly full (`pressure_high_size`), and
                `on_pressure_drop` is not waiting to be called already.
            on_pressure_drop: Called once, when so much has been taken that there is ample room (`pressure_drop_size`).
                It also tells producers apart: pass the same one every time.

        Returns:
            Whether `on_pressure_high` was called.

        Raises:
            EventLoopMismatch: If tasks of another event loop than the caller's wait for the queue.
        """
        self._check_loop("put_nowait_enhanced()")
        high = self.in_pressure_high_state(on_pressure_drop)
        if high:
            on_pressure_high()
        self._append(value)
        return high

    def in_pressure_high_state(self, callback: Callable[[], object]) -> bool:
        """Whether the pressure is high, and a producer is not under it already; if so, it is from now on.

        A queue without a `maxsize` knows no pressure. Differs from mode, where it is always under pressure.

        Args:
            callback: What is to be called when the pressure has dropped.
        """
        if (
            self._maxsize <= 0
            or callback in self._pressed
            or self.qsize() < self.pressure_high_size
        ):
            return False
        self._pressed[callback] = None
        self.on_pressure_high()
        return True

    def maybe_endorse_pressure_drop(self) -> None:
        """Call those who wait for the pressure to drop, if it has dropped; all of them, even if one fails.

        Raises:
            Exception: What the first failing one raised.
        """
        if not self._pressed or self.qsize() > self.pressure_drop_size:
            return
        pressed, self._pressed = self._pressed, {}
        _call_each([self.on_pressure_drop, *pressed])

    def on_pressure_high(self) -> None:
        """Be told that a producer has come under pressure; for subclasses."""

    def on_pressure_drop(self) -> None:
        """Be told that the pressure has dropped; for subclasses."""

    @property
    def pressure_high_size(self) -> int:
        """From how many items on the pressure is high: one at least, as there is none on an empty queue."""
        return max(int(self._maxsize / self.pressure_high_ratio), 1) if self._maxsize > 0 else 0

    @property
    def pressure_drop_size(self) -> int:
        """From how many items downwards the pressure has dropped."""
        return int(max(self._maxsize, 0) * self.pressure_drop_ratio)

    async def get(self) -> _T:
        """Take the item that was put first, as soon as there is one; a checkpoint in any case.

        A call that is cancelled has taken nothing.

        Returns:
            The item.

        Raises:
            Exception: What an ``on_pressure_drop`` raised; the item is still in the queue then.
            EventLoopMismatch: If tasks of another event loop than the caller's wait for the queue.
        """
        self._putters.check_loop("get()")
        await self._getters.wait("get()")
        return self._take()

    def get_nowait(self) -> _T:
        """Take the item that was put first.

        Returns:
            The item.

        Raises:
            QueueEmpty: If there is none.
            Exception: What an ``on_pressure_drop`` raised; the item is still in the queue then.
            EventLoopMismatch: If tasks of another event loop than the caller's wait for the queue.
        """
        self._check_loop("get_nowait()")
        if self.empty():
            raise _would_block(QueueEmpty, "there is nothing in the queue")
        return self._take()

    def clear(self) -> None:
        """Drop all items; they count as done for `join`. Who waits to put something goes on.

        Differs from mode, where who waits to put something waits for ever, and so does `join`.

        Raises:
            EventLoopMismatch: If tasks of another event loop than the caller's wait for the queue.
            Exception: What an ``on_pressure_drop`` raised; the queue has been emptied all the same.
        """
        self._check_loop("clear()")
        dropped = len(self._queue)
        self._queue.clear()
        self._count_done(min(dropped, self._unfinished))
        try:
            self.maybe_endorse_pressure_drop()
        finally:
            self._settle()

    def task_done(self) -> None:
        """Say that the work on an item, which was got before, is done.

        Raises:
            ValueError: If it is called more often than items were put.
        """
        if not self._unfinished:
            raise ValueError(
                "task_done() was called more often than there were items; call it once for each item that you got"
            )
        self._count_done(1)

    async def join(self) -> None:
        """Wait until `task_done` has been called for each item, those still in the queue included; a checkpoint."""
        await self._finished.wait()

    def _append(self, item: _T) -> None:
        self._queue.append(item)
        self._unfinished += 1
        self._finished.clear()
        self._settle()

    def _take(self) -> _T:
        """Take the first item; it stays if a callback fails."""
        item = self._queue.popleft()
        try:
            self.maybe_endorse_pressure_drop()
        except BaseException:
            self._queue.appendleft(item)
            raise
        finally:
            self._settle()
        return item

    def _count_done(self, number: int) -> None:
        self._unfinished -= number
        if not self._unfinished:
            self._finished.set()

    def _stock(self) -> float:
        """Return how many may get something now."""
        return len(self._queue)

    def _room(self) -> float:
        """Return how many may put something now."""
        if not self._flow_control.is_active():
            return 0
        return self._maxsize - len(self._queue) if self._maxsize > 0 else math.inf

    def _settle(self) -> None:
        """Call whoever is next on either side; to be called after every change."""
        self._getters.settle()
        self._putters.settle()

    def _check_loop(self, call: str) -> None:
        self._getters.check_loop(call)
        self._putters.check_loop(call)


class ThrowableQueue(FlowControlQueue[_T]):
    """A queue whose consumers can be told of errors.

    An error that was thrown is raised by the next `get` or `get_nowait`, before any item is got, and once. It takes up no
    room, and does not count for `qsize` and `join`.

    Args:
        maxsize: As in `FlowControlQueue`.
        flow_control: As in `FlowControlQueue`.
        clear_on_resume: As in `FlowControlQueue`.
        loop: As in `FlowControlQueue`.
    """

    def __init__(
        self,
        maxsize: int = 0,
        *,
        flow_control: FlowControlEvent,
        clear_on_resume: bool = False,
        loop: Any = None,
    ) -> None:
        self._errors: deque[BaseException] = deque()
        super().__init__(maxsize, flow_control=flow_control, clear_on_resume=clear_on_resume)

    def empty(self) -> bool:
        """Whether there is nothing to be got, neither an item nor an error."""
        return not self._queue and not self._errors

    def clear(self) -> None:
        """Drop all items and errors: see `FlowControlQueue.clear`.

        Raises:
            EventLoopMismatch: If tasks of another event loop than the caller's wait for the queue.
            Exception: As `FlowControlQueue.clear`.
        """
        self._check_loop("clear()")
        self._errors.clear()
        super().clear()

    async def throw(self, exc: BaseException) -> None:
        """Have the next `get` or `get_nowait` raise an error; a checkpoint.

        Args:
            exc: The error. It has been thrown also if the call is cancelled.

        Raises:
            TypeError: If it is no exception.
            EventLoopMismatch: If tasks of another event loop than the caller's wait for the queue.
        """
        self._throw(exc)
        await anyio.lowlevel.checkpoint()

    def _throw(self, exc: BaseException) -> None:
        if not isinstance(exc, BaseException):
            raise TypeError(f"can't throw {exc!r} into a queue: pass an exception, made already")
        self._check_loop("throw()")
        self._errors.append(exc)
        self._settle()

    def _take(self) -> _T:
        if self._errors:
            error = self._errors.popleft()
            self._settle()
            raise error
        return super()._take()

    def _stock(self) -> float:
        return len(self._queue) + len(self._errors)
