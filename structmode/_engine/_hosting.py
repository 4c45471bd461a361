"""Who owns a run.

Theory: a task must live somewhere, and the place decides what ends it. There are three places for a run's task, and a
fourth, in `_needs`, for what several runs need:

- a *block*: the task group that ``async with`` opens around its body;
- a *parent*: the task group of a run that is starting or running;
- the *loop*: a task of the event loop run itself, for a bare `start` that nobody else owns.

The owner's duty is always the same: cancellation that reaches it becomes an orderly stop, and it waits, shielded, for
the end before it passes the cancellation on. What a crash means to it differs: a block cancels its body and raises the
reason; a parent deals with it, if its unit is made for that, and suffers it otherwise; the loop can only have it logged.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import anyio
import anyio.abc

from ._backend import spawn_in_loop
from ._cancellation import has_begun, through
from ._flag import Flag
from ._protocols import Child, Host, Unit, tell
from ._run import Run


class Outermost:
    """What owners that are no run have in common: nothing is above what they own."""

    parent: Run | None = None
    above: Sequence[Run] = ()
    is_need = False
    is_border = False

    def took_in(self, place: object, run: Run) -> None:
        """Nothing to keep: the life itself knows its run."""

    def let_out(self, place: object, run: Run) -> None:
        """Nothing to forget."""

    def deals_with(self, run: Run, exc: BaseException) -> bool:
        """Leave it to who looks after the owner."""
        return False


class Block(Outermost):
    """The owner that ``async with`` makes: a task group around its body."""

    def __init__(self, group: anyio.abc.TaskGroup) -> None:
        self._group = group
        self.body = anyio.CancelScope()
        self.open = True
        self.failure: BaseException | None = None

    @property
    def accepts(self) -> bool:
        """Whether the block is not being left yet."""
        return self.open

    def spawn(
        self, function: Callable[[], Coroutine[Any, Any, None]], name: str
    ) -> anyio.TaskHandle[None]:
        """Begin a run's task in the group."""
        return self._group.start_soon(function, name=name)

    def crashed(self, run: Run, exc: BaseException) -> None:
        """Cancel the body; the block raises the reason when the stop is over."""
        if self.failure is None:
            self.failure = exc
        self.body.cancel()


class Parent:
    """The owner that a run is to the runs of its children."""

    is_need = False
    is_border = False

    def __init__(self, run: Run) -> None:
        self.parent: Run | None = run
        self.above: Sequence[Run] = (run,)
        self._run = run

    @property
    def accepts(self) -> bool:
        """Whether the parent is not stopping."""
        return self._run.accepts

    def spawn(
        self, function: Callable[[], Coroutine[Any, Any, None]], name: str
    ) -> anyio.TaskHandle[None]:
        """Begin a run's task in the parent's task group."""
        return self._run.spawn_child(function, name)

    def took_in(self, place: Child[Run], run: Run) -> None:
        """Know the run as that of the child; a restarted one keeps its place."""
        self._run.child_runs[place] = run

    def let_out(self, place: Child[Run], run: Run) -> None:
        """Forget the run, and have the parent told."""
        # Nobody else has taken its place, as long as nothing is wrong.
        if self._run.child_runs.get(place) is run:  # pragma: no branch - see above
            del self._run.child_runs[place]
            self._run.child_ended(run)

    def deals_with(self, run: Run, exc: BaseException) -> bool:
        """Ask the parent's unit."""
        return self._run.unit.on_child_failed(run.unit, exc)

    def crashed(self, run: Run, exc: BaseException) -> None:
        """Have the parent deal with what its child did, or suffer it."""
        if not self.deals_with(run, exc):
            self._run.fail(exc, run.label)


def host_in(run: Run) -> Host[Run]:
    """Return what the runs of a run's children belong to."""
    if run.as_host is None:
        run.as_host = Parent(run)
    return run.as_host


def close_unbegun(task: anyio.TaskHandle[None] | None) -> None:
    """Close the coroutine of a task that will never make its first step."""
    if task is not None:
        task.coro.close()


class Loop(Outermost):
    """The owner of last resort: the event loop run itself.

    Beside the run's task stands a sentinel, outside the run's shield, so that the loop's end reaches it.

    Args:
        unit: Whose runs it owns.
        on_loop_end: Begins the stop when the event loop ends; returns whether nobody had asked for it before.
    """

    def __init__(self, unit: Unit, on_loop_end: Callable[[], bool]) -> None:
        self._unit = unit
        self._on_loop_end = on_loop_end
        self._ended = False

    @property
    def accepts(self) -> bool:
        """Whether the event loop is not ending."""
        return not self._ended

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Begin a run's task as one of the loop's own."""
        spawn_in_loop(lambda: self._watch(function, name), f"owner of {name}")

    async def _watch(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        begun, over = Flag(), Flag()

        async def resident() -> None:
            begun.set()
            await function()
            over.set()

        async with anyio.create_task_group() as group:
            task = group.start_soon(resident, name=name)
            try:
                await over.wait()
            except anyio.get_cancelled_exc_class():
                if not await has_begun(begun.is_set):  # noqa: ASYNC102 - the wait shields itself
                    close_unbegun(task)
                    raise
                self._ended = True
                forgotten = self._on_loop_end()
                await through(over)  # noqa: ASYNC102 - the wait shields itself
                if forgotten:
                    self._warn(name)
                raise

    def _warn(self, name: str) -> None:
        message = f"{name} was started and never stopped; it has been stopped now, as the event loop ends"
        try:
            warnings.warn(message, ResourceWarning, stacklevel=2)
        except Exception as warning:
            # Warnings may be errors, and whoever shows them may fail, but here nobody could catch that.
            _ = tell(self._unit, warning, name, "unreceived")

    def crashed(self, run: Run, exc: BaseException) -> None:
        """Nobody will receive the failure: have it logged whole."""
        _ = run.tell(exc, run.label, "unreceived")
