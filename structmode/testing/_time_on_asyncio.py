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
from typing import Any, TypeVar, TypeVarTuple, cast

from ._relay import NEAR, PAUSES, Member, Rest
from ._threads_on_asyncio import a_child_is_waited_for, threads_of

__all__ = (
    "AsyncioTime",
    "VirtualTimeLoop",
    "backend_options",
    "driver_of",
    "now",
    "virtual_options",
)

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
        self.in_executor = set[asyncio.Future[Any]]()
        self._resolution = 0.0
        super().__init__(self._selector_of_ours)

    @property
    def _clock_resolution(self) -> float:
        """How much later than now may be taken for now, as asyncio has it; it grows with the distance of two numbers."""
        return max(self._resolution, math.ulp(self.time()))

    @_clock_resolution.setter
    def _clock_resolution(self, seconds: float) -> None:
        self._resolution = seconds

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
        self.in_executor.add(future)
        future.add_done_callback(self.in_executor.discard)
        return future

    def next_deadline(self) -> float:
        """Return when the next thing is due that has been put off, in seconds; infinity if there is nothing."""
        scheduled: list[asyncio.TimerHandle] = getattr(self, "_scheduled")  # noqa: B009 - no type checker knows of it
        return scheduled[0].when() if scheduled else math.inf

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

    def close(self) -> None:
        """Close it; if its time is virtual then, that has ended in disorder."""
        driver = self._selector_of_ours.driver
        if driver is not None:
            driver.end()
        super().close()


class _Selector(selectors.DefaultSelector):
    """The selector of the platform, which leaves waiting to a driver while there is one."""

    driver: AsyncioTime | None = None

    def select(self, timeout: float | None = None) -> Events:
        """Wait as asyncio asks for, or have the driver do it."""
        if self.driver is None:
            return super().select(timeout)
        return self.driver.select(super().select, timeout)


class AsyncioTime:
    """Has a `VirtualTimeLoop` take part in a relay.

    Args:
        loop: The loop.
        member: Its place in the relay.
    """

    def __init__(self, loop: VirtualTimeLoop, member: Member) -> None:
        self._loop = loop
        self._member = member
        # Whether the loop has done something since it handed the baton on.
        self._active = True

    @property
    def now(self) -> float:
        """The time, in seconds."""
        return self._member.relay.now

    def start(self) -> None:
        """Take the loop's clock over."""
        self._loop.take_over(self)

    def stop(self) -> None:
        """Give it back."""
        if self._loop.is_virtual:
            self._loop.give_back()

    def end(self) -> None:
        """Know that the loop is over, though nobody has given its clock back."""
        self.stop()
        self._member.loop_has_ended()

    def select(self, wait: Callable[[float | None], Events], timeout: float | None) -> Events:
        """Take part in the loop in the place of its selector; see the head of this file."""
        events = wait(0)
        if events or (timeout is not None and timeout <= 0):
            self._active = True
            if not self._member.may_go_on() and self._member.hand_on(Rest(ready=True)).over:
                self.stop()
            return events
        rest = self._rest()
        for pause in () if self._member.relay.is_alone else PAUSES:
            if not rest.threads.at_work:
                break
            if events := wait(pause):
                self._active = True
                return events
            rest = self._rest()
        return self._rest_until_something_happens(rest, wait, timeout)

    def _rest_until_something_happens(
        self, rest: Rest, wait: Callable[[float | None], Events], timeout: float | None
    ) -> Events:
        turn = self._member.hand_on(rest, quiet=not self._active)
        self._active = True
        if turn.over:
            self.stop()
            return wait(timeout)
        if turn.stuck:
            # It raises, out of the whole loop, if whoever is stuck does not listen to being cancelled.
            self._member.on_deadlock(turn.stuck)
            return []
        # What has come while others had their turns, or comes within the pause.
        events = [] if self._member.relay.is_alone and not turn.pause else wait(turn.pause)
        self._active = bool(events) or rest.deadline <= self.now + NEAR
        return events

    def _rest(self) -> Rest:
        loop = self._loop
        return Rest(
            deadline=loop.next_deadline(),
            threads=threads_of(loop, loop.in_executor, self._member.relay.threads()),
            io=len(loop._selector_of_ours.get_map()) > _OWN or a_child_is_waited_for(loop),
        )


def backend_options() -> dict[str, Any]:
    """Return the options of anyio for a loop whose time can be virtual."""
    return {"loop_factory": VirtualTimeLoop}


def virtual_options(given: dict[str, Any]) -> dict[str, Any] | None:
    """Return options that make such a loop, and are otherwise like those given; None if they ask for another loop."""
    other_loop = given.get("loop_factory", VirtualTimeLoop) is not VirtualTimeLoop
    if given.get("use_uvloop") or other_loop:
        return None
    return {**given, **backend_options()}


def now() -> float | None:
    """Return the time of the running loop, in seconds; None if it can't be virtual, or is so already."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualTimeLoop) or loop.is_virtual:
        return None
    return loop.time()


def driver_of(member: Member) -> AsyncioTime:
    """Return what has the running loop, which must be a `VirtualTimeLoop`, take part in a relay."""
    return AsyncioTime(cast(VirtualTimeLoop, asyncio.get_running_loop()), member)
