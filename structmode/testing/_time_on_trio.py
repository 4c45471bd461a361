"""Virtual time on trio: its own MockClock, moved by a task that waits until every other one is blocked.

Theory: trio knows when all tasks are blocked, and wakes who asks for that (`wait_all_tasks_blocked`). MockClock can move
itself then, but it moves over a thread that works for a task, as if nobody waited for it. So a task of ours decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, cast

import trio
from trio.lowlevel import RunStatistics, checkpoint, current_statistics
from trio.testing import MockClock, wait_all_tasks_blocked

from ._deadlock import Deadlock
from ._relay import PAUSES, Member, Rest, Turn
from ._threads_on_trio import threads_of

__all__ = ("TrioTime", "backend_options", "driver_of", "now", "virtual_options")

# Whoever waits for input by itself: what wakes the loop from other threads and from signal handlers.
_OWN = 1

_in_use: set[MockClock] = set()


class TrioTime:
    """Has an event loop that goes by a MockClock take part in a relay.

    Args:
        clock: The clock of the running loop.
        member: Its place in the relay.
    """

    def __init__(self, clock: MockClock, member: Member) -> None:
        self._clock = clock
        self._member = member
        self._rate = clock.rate or 1.0
        # How much the clock is ahead of the relay: it can't be put back.
        self._ahead = 0.0
        # Time must go on while all tasks of the loop are cancelled, as they are at its end.
        self._scope = trio.CancelScope(shield=True)

    def start(self) -> None:
        """Stop the clock, and begin to move it."""
        _in_use.add(self._clock)
        self._clock.rate = 0.0
        now, relay = self._clock.current_time(), self._member.relay
        if self._member is relay.founder:
            relay.now = max(relay.now, now)
        self._ahead = max(0.0, now - relay.now)
        self._catch_up()
        trio.lowlevel.spawn_system_task(self._drive, name="virtual clock")

    def stop(self) -> None:
        """Have the clock run again as it did before."""
        self._scope.cancel()
        self._clock.rate = self._rate
        _in_use.discard(self._clock)

    def _catch_up(self) -> None:
        """Have it be as late as the relay says."""
        target = self._member.relay.now + self._ahead
        while self._clock.current_time() < target:  # twice, where the sum has been rounded
            self._clock.jump(target - self._clock.current_time())

    async def _drive(self) -> None:
        with self._scope:
            watch = _Watch(self._member, self._take)
            trio.lowlevel.add_instrument(watch)
            try:
                while not _is_all_that_is_left(watch.own):
                    await wait_all_tasks_blocked()
                    # Others who waited for the same are resumed in the same pass, and may set others going.
                    before = watch.steps_before_pass
                    await checkpoint()
                    if watch.steps == before and not watch.about_to_run:
                        await self._rest(watch, current_statistics())
                self._member.loop_has_ended()
            finally:
                trio.lowlevel.remove_instrument(watch)

    async def _rest(self, watch: _Watch, state: RunStatistics) -> None:
        relay = self._member.relay
        rest = Rest(
            deadline=relay.now + max(0.0, state.seconds_to_next_deadline),
            threads=threads_of(relay.threads()),
            io=_somebody_waits_for_io(state),
        )
        steps = watch.steps
        for pause in () if relay.is_alone else PAUSES:
            if not rest.threads.at_work:
                break
            await wait_all_tasks_blocked(pause)
            if watch.steps != steps:
                return
            rest = replace(rest, threads=threads_of(relay.threads()))
        turn = self._member.hand_on(rest, quiet=watch.is_quiet())
        self._take(turn)
        if turn.pause:
            await wait_all_tasks_blocked(turn.pause)

    def _take(self, turn: Turn) -> None:
        if turn.over:
            self.stop()
            return
        self._catch_up()
        if turn.stuck:
            self._give_up(turn.stuck)

    def _give_up(self, stacks: str) -> None:
        try:
            self._member.on_deadlock(stacks)
        except Deadlock as exc:
            # Whoever is stuck does not listen, and trio waits for it for ever. But it asks the clock for how long.
            self._clock.deadline_to_sleep_time = partial(_fail, exc)  # type: ignore[method-assign]


class _Watch(trio.abc.Instrument):
    """Counts the steps that all tasks but the current one make, and ends turns that are too long.

    Args:
        member: Whose turns.
        take: Called with the next turn, when one has been ended.
    """

    def __init__(self, member: Member, take: Callable[[Turn], object]) -> None:
        self.steps = 0
        #: How many there had been when the event loop began its present pass over the tasks that can run.
        self.steps_before_pass = 0
        #: Other tasks that have been woken, by input that has just come for instance, and have made no step since.
        self.about_to_run = set[trio.lowlevel.Task]()
        self._steps_told = -1
        self._member = member
        self._take = take
        self.own = trio.lowlevel.current_task()

    def is_quiet(self) -> bool:
        """Whether there has been no step since this was asked for the last time."""
        before, self._steps_told = self._steps_told, self.steps
        return self.steps == before

    def before_io_wait(self, timeout: float) -> None:
        # Passes in which nobody has done anything are those in which we see whether somebody will.
        if self.steps == self.steps_before_pass or timeout > 0 or self._member.may_go_on():
            return
        self._steps_told = -1
        self._take(self._member.hand_on(Rest(ready=True)))

    def after_io_wait(self, timeout: float) -> None:
        self.steps_before_pass = self.steps

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        if task is not self.own:
            self.about_to_run.add(task)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is not self.own:
            self.about_to_run.discard(task)
            self.steps += 1

    def after_run(self) -> None:
        self._member.loop_has_ended()


def _is_all_that_is_left(task: trio.lowlevel.Task) -> bool:
    """Whether the event loop is ending, and waits for this task of its own alone."""
    nursery = cast(trio.Nursery, task.parent_nursery)
    return nursery.cancel_scope.cancel_called and len(nursery.child_tasks) == 1


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


def virtual_options(given: dict[str, Any]) -> dict[str, Any] | None:
    """Return options that make such a loop, and are otherwise like those given; None if they ask for another clock."""
    clock = given.get("clock")
    if clock is None:
        return {**given, "clock": MockClock()}  # it stands still until it is moved
    return given if isinstance(clock, MockClock) else None


def now() -> float | None:
    """Return the time of the running loop, in seconds; None if it can't be virtual, or is so already."""
    clock: Any = trio.lowlevel.current_clock()
    if not isinstance(clock, MockClock) or clock in _in_use:
        return None
    return clock.current_time()


def driver_of(member: Member) -> TrioTime:
    """Return what has the running loop, which must go by a `MockClock`, take part in a relay."""
    return TrioTime(cast(MockClock, trio.lowlevel.current_clock()), member)
