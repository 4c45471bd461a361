"""The named tasks of one run: who is there, where each stands, how each ended.

Theory: a task group that fails takes all its tasks with it, in an order nobody chose, and wraps what went wrong in a
group. A run wants the opposite: the failure as it was raised, told to the run, which then stops its tasks in the order
the laws ask for. So no exception ever leaves a task towards the group. Each task catches what its work raises, keeps
it for whoever asks, and reports it; the group is there only to make sure that nothing is left.

Each task has a cancel scope of its own, so that tasks can be cancelled one by one.

A stop cancels them one after the other, and in one run after the other. So a task that awaits another one may learn that
this has been cancelled before its own turn has come. That is no failure of the task: the same stop was about to cancel it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any, Generic, Protocol, TypeVar, cast

import anyio
import anyio.abc
import anyio.lowlevel

from structmode.exceptions import EventLoopMismatch

from ._backend import absorb_cancellation, in_callback, runs_here
from ._callers import enter_run
from ._cancellation import as_failure, first_step
from ._flag import Flag
from ._last_words import report
from ._stacks import stack_of
from ._waiting import close_all

_logger = logging.getLogger("structmode.engine")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Owner(Protocol):
    """What a task needs to know of the run that it belongs to."""

    def is_ending(self) -> bool:
        """Whether it has been told to stop, or will be, as one above it has."""
        ...


class TaskStopped(anyio.TaskCancelled):
    """What was awaited is a task that its run has ended, in its stop."""


def without_stopped(exc: BaseException) -> BaseException | None:
    """Return what is left of `exc` when tasks that a stop has ended are taken out: itself, a part of a group, or None."""
    if not isinstance(exc, BaseExceptionGroup):
        return None if isinstance(exc, TaskStopped) else exc
    group = cast("BaseExceptionGroup[BaseException]", exc)
    stopped, rest = group.split(TaskStopped)
    return group if stopped is None else rest


class Task(Generic[T_co]):
    """One piece of work of a run, and the handle to it.

    It can be awaited for its result, from any task, any number of times. An awaiter that is cancelled does not cancel
    the task. Awaiting or asking for the result of a cancelled task raises `anyio.TaskCancelled`; asking before it has
    ended raises `anyio.TaskNotFinished`. Where a stop has cancelled it, and ends who awaits it as well, that is no failure
    of the latter.

    Args:
        work: A coroutine, or what makes one when the task begins.

    Attributes:
        name: How the task is called in logs, reports and stacks.
        finite: Whether the work comes to an end by itself (a timer's does not).
        busy: Of work that does not, but has something to do at times: returns what is set when that is done, or None.
        until_idle: The same of what can only be asked, elsewhere: waits until it is done, and returns whether there was any.
        arrived: Whether the event loop has taken the task up.
        begun: Whether the work has made its first step.
        ended: Set when the task has ended.
    """

    __slots__ = ("_callbacks", "_cancel_requested", "_error", "_handle", "_result", "_token", "_was_cancelled",
                 "_with_run", "_work", "arrived", "begun", "busy", "ended", "finite", "name", "until_idle")  # fmt: skip

    def __init__(
        self,
        work: Coroutine[Any, Any, T_co] | Callable[[], Coroutine[Any, Any, T_co]],
        name: str,
        *,
        finite: bool = True,
    ) -> None:
        self.name: str = name
        self.finite: bool = finite
        self.busy: Callable[[], Flag | None] | None = None
        self.until_idle: Callable[[], Coroutine[Any, Any, bool]] | None = None
        self._work = work
        # What runs it, for as long as it does.
        self._handle: anyio.TaskHandle[None] | None = None
        self._token: anyio.lowlevel.EventLoopToken | None = None
        self.ended: Flag = Flag()
        self._result: T_co
        self._error: BaseException | None = None
        self.arrived: bool = False
        self.begun: bool = False
        self._cancel_requested = False
        self._was_cancelled = False
        # Whether it was its run that has ended it.
        self._with_run = False
        self._callbacks: list[Callable[[Task[T_co]], object]] = []

    def __repr__(self) -> str:
        return f"<Task {self.name!r} {self._status()}>"

    def _status(self) -> str:
        if not self.done():
            return "cancelling" if self._cancel_requested else "pending"
        if self._was_cancelled:
            return "cancelled"
        return f"failed: {self._error!r}" if self._error else "finished"

    def __await__(self) -> Generator[Any, Any, T_co]:
        yield from self.ended.wait().__await__()
        return self.result()

    @property
    def cancelling(self) -> bool:
        """Whether it has been asked to end and has not ended yet."""
        return self._cancel_requested and not self.done()

    def done(self) -> bool:
        """Whether the task has ended, in whatever way."""
        return self.ended.is_set()

    def cancelled(self) -> bool:
        """Whether the task has ended by being cancelled."""
        return self._was_cancelled

    def cancel(self) -> bool:
        """Ask the task to end; returns False if it has ended already.

        One that has not begun will not begin.

        Raises:
            EventLoopMismatch: If the task runs on another event loop than the caller's.
        """
        if self.done():
            return False
        if self._token is not None and not runs_here(self._token):
            raise EventLoopMismatch(
                f"cancel() of the task {self.name} was called outside the event loop that it runs on",
                "Call it there, for example through anyio.from_thread.run_sync(..., token=...)",
            )
        self._cancel_requested = True
        if self.begun and self._handle is not None:
            self._handle.cancel()
        return True

    def end_with_run(self) -> None:
        """Cancel it as its run ends; one that has been cancelled before ends of that."""
        self._with_run = self._with_run or not self._cancel_requested
        self.cancel()

    def discard_with_run(self) -> None:
        """Discard it, as its run takes no more."""
        self._with_run = True
        self.discard()

    def result(self) -> T_co:
        """Return what the work returned, or raise what it raised.

        Raises:
            anyio.TaskNotFinished: If it has not ended yet.
            anyio.TaskCancelled: If it was cancelled.
        """
        error = self.exception()
        if error is not None:
            raise error
        return self._result

    def exception(self) -> BaseException | None:
        """Return what the work raised, or None if it returned.

        Raises:
            anyio.TaskNotFinished: If it has not ended yet.
            anyio.TaskCancelled: If it was cancelled.
        """
        if not self.done():
            raise anyio.TaskNotFinished(f"{self.name} has not ended yet")
        if self._was_cancelled:
            kind = TaskStopped if self._with_run else anyio.TaskCancelled
            raise kind(f"{self.name} was cancelled")
        return self._error

    def add_done_callback(self, callback: Callable[[Task[T_co]], object]) -> None:
        """Call `callback` with this handle when the task has ended; at once if it has."""
        if self.done():
            callback(self)
        else:
            self._callbacks.append(callback)

    def remove_done_callback(self, callback: Callable[[Task[T_co]], object]) -> int:
        """Forget a callback; returns how many times it had been added."""
        before = len(self._callbacks)
        self._callbacks = [one for one in self._callbacks if one != callback]
        return before - len(self._callbacks)

    async def has_begun(self) -> None:
        """Wait until the work has made its first step, or it is clear that it never will."""
        await self._has_begun(shield=True)

    async def _has_begun(self, *, shield: bool) -> None:
        if await first_step(lambda: self.arrived or self.done(), shield=shield):
            while not (self.begun or self.done()):
                await anyio.lowlevel.cancel_shielded_checkpoint()

    def stack(self) -> str:
        """Return where the task stands, as text."""
        return "" if callable(self._work) else stack_of(self._work)

    def bind(
        self, handle: anyio.TaskHandle[None], token: anyio.lowlevel.EventLoopToken | None
    ) -> None:
        """Know what cancels it. An eager event loop may have begun it before; anyio takes care that the known ones don't."""
        if self.done():  # pragma: no cover - see above
            return
        self._handle, self._token = handle, token
        if self.begun and self._cancel_requested:  # pragma: no cover - see above
            handle.cancel()

    def discard(self) -> BaseException | None:
        """End a task that will never run: its coroutine is closed and it counts as cancelled.

        Returns what a done-callback raised that is no `Exception`.
        """
        close_all([self._work])
        if self._handle is not None and not self.arrived:
            self._handle.coro.close()
        self._was_cancelled = True
        return self._end(None)

    async def run(self, owner: Owner | None = None) -> BaseException | None:
        """Do the work; returns what it raised. Never raises, and takes back foreign cancellation.

        Returns None also when it was cancelled; `cancelled_from_outside` then tells by whom.
        """
        self.begun = True
        if self._cancel_requested:
            return self.discard()
        failure: BaseException | None = None
        try:
            self._work = work = self._work() if callable(self._work) else self._work
            self._result = await work
        except BaseException as exc:  # noqa: ASYNC103 - kept, and passed on when the duty is done
            failure = as_failure(exc, self.name)
            rest = None if failure is None else without_stopped(failure)
            # Whether the run ends is asked last: it may be deep down, and all above it be asked.
            if rest is not failure and owner is not None and owner.is_ending():
                failure, self._with_run = rest, rest is None
            self._was_cancelled = failure is None
        if self.cancelled_from_outside():
            absorb_cancellation()
        return self._end(failure)

    def cancelled_from_outside(self) -> bool:
        """Whether it was cancelled though nobody called `cancel` (asyncio lets anyone do so)."""
        return self._was_cancelled and not (self._cancel_requested or self._with_run)

    def _end(self, failure: BaseException | None) -> BaseException | None:
        self._error = failure
        self._handle = None
        self.ended.set()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback(self)
            except Exception:
                to_end = report(_logger, "A done-callback of the task %r failed", self.name)
                failure = to_end if failure is None else failure
            except BaseException as exc:  # noqa: ASYNC103 - kept, and passed on when the duty is done
                failure = exc if failure is None else failure
        return failure


class TaskSet:
    """The tasks of one run, in the order they were begun.

    Each makes its first step after the one before has, on loops too that run what is new in random order, as trio does.

    Args:
        run: The run.
        on_end: Called in each task after its work, with what it raised.
    """

    __slots__ = ("_alive", "_idle", "_on_end", "_run", "_youngest")

    def __init__(
        self,
        run: Owner | None,
        on_end: Callable[[Task[Any], BaseException | None], None],
    ) -> None:
        self._alive: dict[Task[Any], None] = {}
        self._run = run
        self._youngest: Task[Any] | None = None
        # Set when no task is left, and made by who waits for that.
        self._idle: Flag | None = None
        self._on_end = on_end

    def __len__(self) -> int:
        return len(self._alive)

    def empty(self) -> bool:
        """Whether no task is left."""
        return not self._alive

    def alive(self) -> list[Task[Any]]:
        """Return the tasks that have not ended, oldest first."""
        return list(self._alive)

    def spawn(
        self,
        group: anyio.abc.TaskGroup,
        task: Task[T],
        token: anyio.lowlevel.EventLoopToken | None,
    ) -> Task[T]:
        """Begin a task in `group`, which runs on the event loop that `token` identifies."""
        self._alive[task] = None
        previous, self._youngest = self._youngest, task
        coroutine = self._look_after(task, previous)
        try:
            handle = group.create_task(coroutine, name=task.name)
        except anyio.NoEventLoopError:
            handle = in_callback(partial(group.create_task, coroutine, name=task.name))
        task.bind(handle, token)
        return task

    async def _look_after(self, task: Task[Any], previous: Task[Any] | None) -> None:
        enter_run(self._run)
        task.arrived = True
        try:
            if previous is not None and not (previous.begun or previous.done()):
                await self.settle(previous)
            del previous
            failure = await task.run(self._run)
        except anyio.get_cancelled_exc_class():  # noqa: ASYNC103 - kept, and passed on when the duty is done
            absorb_cancellation()
            failure = task.discard()
        del self._alive[task]
        try:
            self._on_end(task, failure)
        finally:
            if self._idle is not None and not self._alive:
                self._idle.set()

    async def cancel_all(self) -> None:
        """Cancel every task, youngest first, each woken in its turn.

        The checkpoint between two of them is what keeps the order on a loop that runs the tasks woken together in
        random order, as trio does.
        """
        for task in reversed(self.alive()):
            task.end_with_run()
            await anyio.lowlevel.cancel_shielded_checkpoint()
        if self._alive:  # the last of them, too, has its turn before this returns
            await anyio.lowlevel.cancel_shielded_checkpoint()

    def cancel_now(self) -> None:
        """Cancel every task at once, in no order."""
        for task in self.alive():
            task.end_with_run()

    async def settle(self, task: Task[Any], *, shield: bool = True) -> None:
        """Wait until a task has made its first step, or give it up as one that never will."""
        await task._has_begun(shield=shield)
        if not task.arrived and task in self._alive:
            self._bury(task)

    def _bury(self, task: Task[Any]) -> None:
        """Give up a task that was cancelled before its first step, as asyncio does when its run ends."""
        del self._alive[task]
        self._on_end(task, task.discard())

    async def join(self) -> None:
        """Wait until no task is left."""
        for task in self.alive():
            if not task.arrived:
                await self.settle(task)
        while self._alive:
            if self._idle is None or self._idle.is_set():
                self._idle = Flag()
            await self._idle.wait()


#: What all have that have begun no task; it takes none.
NO_TASKS = TaskSet(None, lambda task, failure: None)

Task.__module__ = "structmode.services"
