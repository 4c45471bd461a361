"""Virtual time on trio: its own MockClock, moved by a task that waits until every other one is blocked.

Theory: trio knows when all tasks are blocked, and wakes who asks for that (`wait_all_tasks_blocked`). MockClock can move
itself then, but it moves over a thread that works for a task, as if nobody waited for it. So a task of ours decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import trio
from trio.lowlevel import RunStatistics, checkpoint, current_statistics
from trio.testing import MockClock, wait_all_tasks_blocked

from ._deadlock import Deadlock, a_task_waits_for_a_thread, somebody_may_call

__all__ = ("TrioTime", "backend_options", "find_driver")

# How long to wait at a time, in seconds, for what takes real time.
_PAUSE = 0.05
# Whoever waits for input by itself: what wakes the loop from other threads and from signal handlers.
_OWN = 1

_in_use: set[MockClock] = set()


class TrioTime:
    """Moves a MockClock whenever every task is blocked.

    Args:
        clock: The clock of the running loop.
        io_patience: The real seconds to wait for input and output before the clock is moved, if there is any to wait for.
        on_deadlock: Called, in a task of the loop, when nothing can happen any more; what it raises leaves the event loop
            run, as the cause of trio's own error.
    """

    def __init__(
        self, clock: MockClock, io_patience: float, on_deadlock: Callable[[], object]
    ) -> None:
        self._clock = clock
        self._io_patience = io_patience
        self._on_deadlock = on_deadlock
        self._rate = clock.rate
        self._scope = trio.CancelScope()

    def start(self) -> None:
        """Stop the clock, and begin to move it."""
        _in_use.add(self._clock)
        self._clock.rate = 0.0
        trio.lowlevel.spawn_system_task(self._drive, name="virtual clock")

    def stop(self) -> None:
        """Have the clock run again as it did before."""
        self._scope.cancel()
        self._clock.rate = self._rate
        _in_use.discard(self._clock)

    async def _drive(self) -> None:
        with self._scope:
            watch = _Watch()
            trio.lowlevel.add_instrument(watch)
            try:
                while True:
                    await wait_all_tasks_blocked()
                    # Others who waited for the same are resumed in the same pass, and may set others going.
                    before = watch.steps_before_pass
                    await checkpoint()
                    if watch.steps == before:
                        await self._move_on(current_statistics())
            finally:
                trio.lowlevel.remove_instrument(watch)

    async def _move_on(self, state: RunStatistics) -> None:
        if a_task_waits_for_a_thread():
            await wait_all_tasks_blocked(_PAUSE)
            return
        waits_for_io = _somebody_waits_for_io(state)
        if waits_for_io and self._io_patience > 0:
            await wait_all_tasks_blocked(self._io_patience)
            state = current_statistics()
        if state.seconds_to_next_deadline < math.inf:
            self._clock.jump(max(0.0, state.seconds_to_next_deadline))
        elif waits_for_io or somebody_may_call():
            await wait_all_tasks_blocked(_PAUSE)
        else:
            self._give_up()

    def _give_up(self) -> None:
        try:
            self._on_deadlock()
        except Deadlock as exc:
            # Whoever is stuck does not listen, and trio waits for it for ever. But it asks the clock for how long.
            self._clock.deadline_to_sleep_time = partial(_fail, exc)  # type: ignore[method-assign]


class _Watch(trio.abc.Instrument):
    """Counts the steps that all tasks but the current one make."""

    def __init__(self) -> None:
        self.steps = 0
        #: How many there had been when the event loop began its present pass over the tasks that can run.
        self.steps_before_pass = 0
        self._own = trio.lowlevel.current_task()

    def after_io_wait(self, timeout: float) -> None:
        self.steps_before_pass = self.steps

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is not self._own:
            self.steps += 1


def _fail(exc: Exception, deadline: float) -> float:
    raise exc


def _somebody_waits_for_io(state: RunStatistics) -> bool:
    # Which counts there are depends on the platform.
    counts: Any = state.io_statistics
    waiting = getattr(counts, "tasks_waiting_read", 0) + getattr(counts, "tasks_waiting_write", 0)
    return waiting + getattr(counts, "tasks_waiting", 0) > _OWN


def backend_options() -> dict[str, Any]:
    """Return the options of anyio for a loop whose time can be virtual."""
    return {"clock": MockClock(rate=1.0)}


def find_driver(io_patience: float, on_deadlock: Callable[[], object]) -> TrioTime | None:
    """Return what moves the clock of the running loop; None if that can't be done."""
    clock: Any = trio.lowlevel.current_clock()
    if not isinstance(clock, MockClock) or clock in _in_use:
        return None
    return TrioTime(clock, io_patience, on_deadlock)
