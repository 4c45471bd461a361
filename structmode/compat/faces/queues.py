"""`mode.utils.queues`: queues of asyncio's, as they are in mode, for code that reaches into them.

structmode's own queues work on every event loop, and call those who wait one after the other. Faust knows the queue to be
asyncio's: it takes an item past those who wait, counts on all of them being woken in one pass of the event loop, so that the
instances of an agent take turns, and reads ``_queue`` and ``_errors``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from structmode.utils import queues as public

__all__ = ("FlowControlEvent", "FlowControlQueue", "ThrowableQueue")


class FlowControlEvent(public.FlowControlEvent):
    """Holds up the producers of any number of queues; as in mode, who need not wait goes on in the same step."""

    async def acquire(self) -> None:
        """Wait until it is active; no checkpoint if it is."""
        if not self.is_active():
            await super().acquire()


class FlowControlQueue(asyncio.Queue[Any]):
    """A queue of asyncio's whose producers wait while its flow is suspended.

    Args:
        maxsize: How many items there is room for; zero or less: any number.
        flow_control: What holds up and lets go its producers.
        clear_on_resume: Whether it is emptied when the flow is resumed.
        loop: Accepted, and ignored.
    """

    pressure_high_ratio = public.FlowControlQueue.pressure_high_ratio
    pressure_drop_ratio = public.FlowControlQueue.pressure_drop_ratio
    pressure_high_size = public.FlowControlQueue.pressure_high_size
    pressure_drop_size = public.FlowControlQueue.pressure_drop_size
    in_pressure_high_state = public.FlowControlQueue.in_pressure_high_state
    maybe_endorse_pressure_drop = public.FlowControlQueue.maybe_endorse_pressure_drop
    on_pressure_high = public.FlowControlQueue.on_pressure_high
    on_pressure_drop = public.FlowControlQueue.on_pressure_drop

    def __init__(
        self,
        maxsize: int = 0,
        *,
        flow_control: public.FlowControlEvent,
        clear_on_resume: bool = False,
        loop: Any = None,
    ) -> None:
        super().__init__(maxsize)
        self._flow_control = flow_control
        self._pressed: dict[Callable[[], object], None] = {}
        if clear_on_resume:
            flow_control.manage_queue(self)

    async def put(self, item: Any) -> None:
        """Put an item at the end, as soon as the flow is active and there is room."""
        await self._flow_control.acquire()
        await super().put(item)

    def force_put_nowait(self, item: Any) -> None:
        """Put an item at the end, whether there is room for it or not."""
        self._put(item)
        self._unfinished_tasks += 1
        self._finished.clear()
        self._wakeup_next(self._getters)

    def put_nowait_enhanced(
        self,
        value: Any,
        *,
        on_pressure_high: Callable[[], object],
        on_pressure_drop: Callable[[], object],
    ) -> bool:
        """Put an item at the end, and tell the producer when there are too many; see structmode's queue."""
        high = self.in_pressure_high_state(on_pressure_drop)
        if high:
            on_pressure_high()
        self.force_put_nowait(value)
        return high

    def _get(self) -> Any:
        item = super()._get()
        self.maybe_endorse_pressure_drop()
        return item

    def clear(self) -> None:
        """Drop all items; who waits to put something goes on."""
        while self._queue:
            self._queue.popleft()
            self._wakeup_next(self._putters)
        self.maybe_endorse_pressure_drop()


class ThrowableQueue(FlowControlQueue):
    """A queue of asyncio's whose consumers can be told of errors.

    Args:
        *args: As for `FlowControlQueue`.
        **kwargs: As for `FlowControlQueue`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._errors: deque[BaseException] = deque()

    def empty(self) -> bool:
        """Whether there is neither an item nor an error."""
        return not self._errors and super().empty()

    def clear(self) -> None:
        """Drop all items and errors."""
        self._errors.clear()
        super().clear()

    async def throw(self, exc: BaseException) -> None:
        """Have the next `get` or `get_nowait` raise an error."""
        self._throw(exc)

    def _throw(self, exc: BaseException) -> None:
        self._errors.append(exc)
        self._wakeup_next(self._getters)

    def _get(self) -> Any:
        if self._errors:
            raise self._errors.popleft()
        return super()._get()
