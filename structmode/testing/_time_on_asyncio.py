"""Virtual time on asyncio: an event loop whose clock can be taken over.

Theory: asyncio asks its selector to wait for input and output until the next deadline. So the selector is where it is
known that every task is blocked, and for how long; one that does not wait, but moves the loop's clock, makes time virtual.
Everything else of the loop is asyncio's own.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple

from ._deadlock import a_task_waits_for_a_thread, somebody_may_call

__all__ = ("AsyncioTime", "VirtualTimeLoop", "backend_options", "find_driver")

# How long to wait at a time, in seconds, for what takes real time.
_PAUSE = 0.05
# What is registered by the loop itself: the pipe that wakes it.
_OWN = 1

Events = list[tuple[selectors.SelectorKey, int]]
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """asyncio's selector event loop. Its time is real until a virtual clock takes it over."""

    def __init__(self) -> None:
        self._selector_of_ours = _Selector()
        self._offset = 0.0
        self._in_executor = 0
        super().__init__(self._selector_of_ours)

    def time(self) -> float:
        """Return the time in seconds: real, or that of the virtual clock."""
        driver = self._selector_of_ours.driver
        return super().time() + self._offset if driver is None else driver.now

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call something at a time of this clock. What is due at infinity is not kept: it is no deadline to jump to."""
        if when == math.inf:
            return asyncio.TimerHandle(when, callback, args, self, context)
        return super().call_at(when, callback, *args, context=context)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run `func` in a thread; until it has ended, a virtual clock waits for it in real time."""
        future = super().run_in_executor(executor, func, *args)
        self._in_executor += 1
        future.add_done_callback(self._out_of_executor)
        return future

    def _out_of_executor(self, _: asyncio.Future[Any]) -> None:
        self._in_executor -= 1

    @property
    def is_virtual(self) -> bool:
        """Whether its clock has been taken over."""
        return self._selector_of_ours.driver is not None

    def take_over(self, driver: AsyncioTime) -> None:
        """Have `driver` decide what time it is."""
        self._selector_of_ours.driver = driver

    def give_back(self) -> None:
        """Go on in real time, from where the clock is now."""
        now = self.time()
        self._selector_of_ours.driver = None
        self._offset = now - super().time()


class _Selector(selectors.DefaultSelector):
    """The selector of the platform, which leaves waiting to a driver while there is one."""

    driver: AsyncioTime | None = None

    def select(self, timeout: float | None = None) -> Events:
        """Wait as asyncio asks for, or have the driver do it."""
        if self.driver is None:
            return super().select(timeout)
        return self.driver.select(super().select, timeout)


class AsyncioTime:
    """Moves the clock of a `VirtualTimeLoop` whenever every task is blocked.

    Args:
        loop: The loop.
        io_patience: The real seconds to wait for input and output before the clock is moved, if there is any to wait for.
        on_deadlock: Called when nothing can happen any more; what it raises leaves the event loop run.
    """

    def __init__(
        self, loop: VirtualTimeLoop, io_patience: float, on_deadlock: Callable[[], object]
    ) -> None:
        self._loop = loop
        self._io_patience = io_patience
        self._on_deadlock = on_deadlock
        self.now: float = loop.time()

    def start(self) -> None:
        """Take the loop's clock over."""
        self._loop.take_over(self)

    def stop(self) -> None:
        """Give it back."""
        self._loop.give_back()

    def select(self, wait: Callable[[float], Events], timeout: float | None) -> Events:
        """Take part in the loop in the place of its selector; see the head of this file."""
        events = wait(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if self._loop._in_executor or a_task_waits_for_a_thread():
            return wait(_PAUSE)
        if self._waits_for_io() and (events := wait(self._io_patience)):
            return events
        if timeout is not None:
            self.now += timeout
            return []
        if self._waits_for_io() or somebody_may_call():
            return wait(_PAUSE)
        self._on_deadlock()  # raises, out of the whole loop, if whoever is stuck does not listen to being cancelled
        return []

    def _waits_for_io(self) -> bool:
        return len(self._loop._selector_of_ours.get_map()) > _OWN


def backend_options() -> dict[str, Any]:
    """Return the options of anyio for a loop whose time can be virtual."""
    return {"loop_factory": VirtualTimeLoop}


def find_driver(io_patience: float, on_deadlock: Callable[[], object]) -> AsyncioTime | None:
    """Return what moves the clock of the running loop; None if that can't be done."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualTimeLoop) or loop.is_virtual:
        return None
    return AsyncioTime(loop, io_patience, on_deadlock)
