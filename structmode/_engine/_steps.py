"""The steps of a run's own task, each of which can be cut short.

Theory: the task that runs a unit must survive whatever its steps meet, because it owes the steps that come after. So
each step is done inside a cancel scope of its own. Three things cut it short: somebody calls it off (`interrupt`), the
deadline of the stop passes, or the run is killed; a killed run does all further steps in scopes that are cancelled from
the beginning. What a step raises is kept, not passed on, and a cancellation that none of these asked for - asyncio lets
anybody cancel a task - is taken back and told, so that it can become a stop.

Nothing else reaches a step: each scope is a shield.

Opening a scope costs more than most steps do. So the scope of a step that was completed stays open for the next one, with
the deadline of that; between two steps nobody can cut anything short, and nothing may be awaited there: see `close`.

A step that was cut short says where: the cancellation has passed through every frame it was stuck in, so its traceback
is the stack.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Protocol

import anyio

from ._backend import absorb_cancellation
from ._callers import Hook
from ._cancellation import as_failure, insist, result_of, without_cancellation
from ._protocols import UnitStep
from ._stacks import stack_of, stack_of_exception

# How long a stop waits, after the hard cancel, for what ignores even that. In seconds.
GRACE = 1.0
# How long a run waits, after that, for one below it: longer, so that the one below has given up its own wait before.
PATIENCE = 1.5 * GRACE
# How long a task is at one step, after that, before it is taken for stuck: between the two, so that no two waits tie.
_STUCK_AFTER = 1.25 * GRACE

# Where a step hangs that took too long, and does not hang any more.
_NOWHERE = "  (it has ended since)\n"

#: Does at once what needs no waiting, and returns what is to be awaited, if anything.
Step = Callable[[], Awaitable[object] | None]
Wait = Callable[[], Awaitable[object]]


class HasSteps(Protocol):
    """Whose steps they are."""

    def step_failed(self, exc: BaseException, name: str) -> None:
        """Learn what a step raised."""

    def pass_on_foreign_stop(self) -> None:
        """Learn that somebody outside has cancelled the task."""


class Ending(enum.Enum):
    """How a step ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CUT_SHORT = "cut short"
    OVERDUE = "overdue"


class Steps:
    """Does the steps of one run, in its own task.

    Args:
        run: The run: it is told what goes wrong, and its hooks are marked.
        names: How hooks are called in reports, where that is not as by the engine.
    """

    def __init__(self, run: HasSteps, names: Mapping[str, str]) -> None:
        self._run = run
        self._names = names
        # Of the present step, and of those that it is part of.
        self._scopes: list[anyio.CancelScope] = []
        # That of the last step, if it was completed, and its deadline.
        self._open: anyio.CancelScope | None = None
        self._open_until = math.inf
        self._hook: tuple[str, Coroutine[Any, Any, None]] | None = None
        #: What tells the time on the run's event loop.
        self.now: Callable[[], float] = anyio.current_time
        #: When the stop must be over, on that clock.
        self.deadline = math.inf
        self.killed = False
        self._began_at = -math.inf
        #: The hook that was awaited last.
        self.last_hook = ""
        #: Where the last step that was cut short hung, as text.
        self.where = ""

    def interrupt(self) -> None:
        """Cut the present step short."""
        for scope in self._scopes:
            scope.cancel()

    def bound(self) -> None:
        """Have the present step end by the deadline of the stop."""
        for scope in self._scopes:
            scope.deadline = min(scope.deadline, self.deadline)
        self._open_until = min(self._open_until, self.deadline)

    def kill(self) -> None:
        """Cut the present step short, and all that follow."""
        self.killed = True
        self.interrupt()

    async def do(self, name: str, step: Step, *, until: float | None = None) -> Ending:
        """Do one step; never raises.

        Args:
            name: How the step is called in reports.
            step: What to do.
            until: A deadline of its own, on the event loop's clock; by default that of the stop.
        """
        ending = Ending.CUT_SHORT
        self._began_at = self.now()
        try:
            work = step()
        except BaseException as exc:  # noqa: ASYNC103 - kept, and passed on when the duty is done
            self.where = _NOWHERE
            self._run.step_failed(as_failure(exc, name) or exc, name)
            return Ending.FAILED  # noqa: ASYNC104 - nothing here has waited
        if work is None:  # as most hooks are written by nobody: that needs no scope
            self.where = _NOWHERE
            return Ending.COMPLETED
        del step  # it may be held for long otherwise
        scope = self._open_scope(self.deadline if until is None else until)
        self._scopes.append(scope)
        if self.killed:
            scope.cancel()
        try:
            await work
            ending = Ending.COMPLETED
            self.where = _NOWHERE
        except BaseException as exc:  # noqa: ASYNC103 - kept, and passed on when the duty is done
            failure = without_cancellation(exc) if scope.cancel_called else as_failure(exc, name)
            if failure is not None:
                ending = Ending.FAILED
                self.where = _NOWHERE
                self._run.step_failed(failure, name)
            else:
                self.where = stack_of_exception(exc)
        _ = self._scopes.pop()
        if scope is not self._open or ending is not Ending.COMPLETED or scope.cancel_called:
            self._close_scope(scope)
        if ending is not Ending.CUT_SHORT:
            return ending
        if not scope.cancel_called:
            absorb_cancellation()
            self._run.pass_on_foreign_stop()
        elif not self.killed and self.now() >= scope.deadline:
            return Ending.OVERDUE
        return Ending.CUT_SHORT

    def _open_scope(self, deadline: float) -> anyio.CancelScope:
        """Return a scope that is open: that of the last step, if it will do, and if this step is not part of another."""
        scope = self._open
        if scope is not None and not self._scopes:
            if not self.killed:
                if self._open_until != deadline:
                    scope.deadline = self._open_until = deadline
                return scope
            self.close()
        scope = anyio.move_on_at(deadline, shield=True)
        scope.__enter__()
        if not self._scopes:
            self._open, self._open_until = scope, deadline
        return scope

    def _close_scope(self, scope: anyio.CancelScope) -> None:
        if scope is self._open:
            self._open = None
        scope.__exit__(None, None, None)

    def close(self) -> None:
        """Close the scope of the last step, unless this is part of that: what comes now is no step, or comes much later."""
        if self._open is not None and not self._scopes:
            self._close_scope(self._open)

    def hook(self, name: str, hook: UnitStep) -> Coroutine[Any, Any, None] | None:
        """Call a hook; returns what is to be awaited of it within a step, marked as such, if anything."""
        coroutine = hook()
        return None if coroutine is None else self._marked_hook(name, coroutine)

    async def _marked_hook(self, name: str, coroutine: Coroutine[Any, Any, None]) -> None:
        self.last_hook = self.name_of(name)
        self._hook = (self.last_hook, coroutine)
        try:
            with Hook(self._run, name):
                await result_of(coroutine, self.last_hook)
        finally:
            self._hook = None

    def name_of(self, hook: str) -> str:
        """Return how a hook is called in reports."""
        return self._names.get(hook, hook)

    async def marked(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do in another task what counts as a hook: it must not wait for the run's end."""
        with Hook(self._run, name):
            await work()

    async def until(
        self,
        wait: Wait,
        done: Callable[[], bool],
        on_overdue: Callable[[], object],
        *,
        limit: float = math.inf,
        patience: float | None = None,
        stuck: Callable[[], bool] = lambda: True,
    ) -> None:
        """Wait for what must come; when the deadline of the stop passes, tell, and wait a little more.

        What ignores even the hard cancel is then left behind, so that it can't keep the rest from ending in order. It is
        still in the run's task group, and waited for there in the very end.

        Args:
            wait: Waits for it.
            done: Whether it has come.
            on_overdue: Begins the hard cancel.
            limit: When to ask whether it is stuck, on the event loop's clock, if that is before the deadline.
            patience: How long to wait after that, each time before asking again, in seconds; by default the grace.
            stuck: Whether waiting longer is of no use.
        """
        patience = GRACE if patience is None else patience
        while not done():
            if self.killed:
                self.close()
                self._began_at = self.now()
                await insist(wait, done, self._run.pass_on_foreign_stop, seconds=patience)
            else:
                ending = await self.do("wait", wait, until=min(self.deadline, limit))
                # Waiting itself does not work: more of it won't help.
                if ending is Ending.FAILED:  # pragma: no cover - no such fault is known
                    return
                if ending is not Ending.OVERDUE:
                    continue
                if self.now() >= self.deadline:
                    on_overdue()
                    continue
                limit = self.now() + patience
            if not done() and stuck():
                return

    @property
    def overdue(self) -> bool:
        """Whether the stop should be over, and nobody has seen to that yet."""
        return not self.killed and self.now() >= self.deadline

    @property
    def stuck(self) -> bool:
        """Whether the task has been at its present step, which is its own, for so long that it won't end it."""
        return self.now() >= self._began_at + _STUCK_AFTER

    def stack(self) -> list[tuple[str, str]]:
        """Return the name and the stack of the hook that is running, if one is."""
        if self._hook is None:
            return []
        name, coroutine = self._hook
        return [(name, stack_of(coroutine))]
