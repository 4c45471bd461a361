"""One run: a start-to-stop cycle of one unit, in one task.

Theory
------
*One task.* Everything a unit does about its own life - setting up, tearing down, entering and leaving what it holds -
happens in one task, the run's own. Everybody else sends messages, which are plain method calls that set an event or
cancel a scope: `request_stop`, `fail`, `kill`. So it does not matter who calls, from which task, or how often.

*One shield.* The run's task lives under a shielded scope, and in it the task group for all that the unit runs: its
tasks, the keepers of its contexts, and the runs of its children. A cancellation from outside never tears a run apart;
whoever owns the run turns it into a stop. So scopes nest exactly as units do, and nothing outlives its owner.

*Two signals.* "You should stop" (`signal`) and "it is your turn to tear down" (`_turn`) are different things. A crash
gives the first to the whole tree at once, so that nobody goes on working; the second travels from the top down, so that
the order holds and a parent may use its children while it takes its leave of them.

*What a failure means* depends on the state it meets. While starting, it is the reason why the start fails: all is
undone and the error leaves `start`. While running, it is a crash: the run and all that own it are told, up to the
root, or to a run whose unit deals with failures of its children, as a supervisor does; the topmost one that was told
then stops, with all below it. While stopping, it is kept until the stop is over, and then handed to whoever asked
for the stop. The first failure is the one that leaves; every later one is told to the unit as it happens, kept in
`failures`, and noted on the first.

*Bounded.* A start may have `start_timeout` seconds; when they have passed, the run notes what is still being started and
where, and then that is the failure of the start. From the moment a stop is asked for, the run has `stop_timeout`
seconds. When they have passed, the run notes who is stuck and where, and then kills what is left, from the leaves up.
Killed runs go through the same steps in the same order, but cut short: hooks are still called, as they may have
something to put away that needs no waiting.

Nothing here recurses along the tree: a tree may be thousands deep.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice, takewhile
from typing import Any, TypeVar

import anyio
import anyio.abc
import anyio.lowlevel

from structmode.exceptions import (
    EventLoopMismatch,
    LifecycleError,
    ShutdownTimeout,
    StartAborted,
    StartTimeout,
    StillStarting,
    StuckTask,
)

from ._backend import clock_here, runs_here
from ._callers import calling_hook, calling_run, enter_run
from ._cancellation import without_cancellation
from ._contexts import Contexts, Keeper
from ._events import (
    Crashed,
    LifecycleEvent,
    Started,
    StartFailed,
    Starting,
    StopOverdue,
    Stopped,
    Stopping,
    TaskEnded,
    emit,
)
from ._failures import NO_FAILURES, Failures, note
from ._flag import Flag
from ._protocols import Child, Fate, Host, Needs, Unit, UnitStep, label_of, tell
from ._starts import all_up
from ._state import State, Trigger, advance
from ._steps import GRACE, PATIENCE, Ending, Steps
from ._tasks import NO_TASKS, Task, TaskSet
from ._waiting import StopSignal

T = TypeVar("T")
# How long after the deadline of a stop its callers look for the first time at what is left. In seconds.
_FIRST_LOOK = 0.25 * GRACE
# Where a failure comes from that nobody would look for in the unit.
_LISTENER = "a listener to its events"
_LOG = "the log of its failure"


def current_run() -> Run | None:
    """Return the run that the calling code belongs to, if any."""
    run = calling_run()
    return run if isinstance(run, Run) else None


class Run:
    """One start-to-stop cycle of one unit.

    Args:
        unit: What is run.
    """

    # What a run begins with; only what changes takes room in it, as there may be very many.

    #: Whether no start of the unit has been complete before.
    first: bool = True
    #: Whether it takes the place of a former run.
    restarting: bool = False
    #: The run that a restart has put in its place.
    successor: Run | None = None
    state: State = State.NEW
    host: Host[Run] | None = None
    #: What it needs, and what is needed in its tree if it is the root; made by whoever makes the run.
    needs: Needs[Run] | None = None
    #: The first failure of the run or of one above it. From then on nobody in it goes on working.
    alarm: BaseException | None = None
    #: The last crash that all below it have been marked with.
    crash_spread: BaseException | None = None
    #: Why the start failed.
    start_error: BaseException | None = None
    #: What it crashed of.
    crash_reason: BaseException | None = None
    #: What went wrong in the stop of a run that had been well until then; for whoever asked for the stop.
    stop_error: BaseException | None = None
    #: How many will receive `stop_error`: callers of stop(), and a parent that stops it.
    receivers: int = 0
    #: When its start was complete, on the event loop's clock.
    up_since: float | None = None
    #: Whether the unit above deals with its failure, which then goes no further.
    failure_dealt_with: bool = False
    #: Whether it is known to end by itself, as if it had been asked to: what fails from then on fails in its stop.
    stop_expected: bool = False
    #: Whether it was asked to stop by a cancellation that no scope asked for.
    stopped_from_outside: bool = False
    #: Whether its task has made its first step.
    begun: bool = False
    #: How long its stop may take in all, in seconds.
    stop_timeout: float = math.inf
    _start_timeout: float = math.inf
    _drain_timeout: float = 0.0
    _group: anyio.abc.TaskGroup | None = None
    _token: anyio.lowlevel.EventLoopToken | None = None
    #: The children to start, and those that this run adopted on its way.
    children: Sequence[Child[Run]] = ()
    #: Its tasks, and those that hold its contexts open.
    tasks: TaskSet = NO_TASKS
    keepers: TaskSet = NO_TASKS
    #: Called by the hard cancel, for what is shielded from all else that could cut a step short.
    when_killed: Callable[[], object] | None = None
    #: What owns the runs of its children; made for the first of them.
    as_host: Host[Run] | None = None
    _failures: Failures = NO_FAILURES
    # Flags that few ask for.
    _decided: Flag | None = None
    _let_be: Flag | None = None
    _permission: Flag | None = None
    _afflicted: Flag | None = None
    # The tasks that are kept until it starts.
    _pending: list[Task[Any]] | None = None
    _contexts: Contexts | None = None
    # Whether it is past the closing of its contexts.
    _contexts_left: bool = False
    # Whether it holds no contexts any more but those that somebody has taken off its stack, and has not left.
    _holds_only_taken: bool = False
    _set_up_done: bool = False
    # Whether its stop has been waited for, by the run that owns it; if it is still there, it ignores its cancellation.
    _waited_for: bool = False
    _awaits_others: bool = False
    _told_from_outside: bool = False
    # Whether it has told what kept it from stopping in time.
    _forced: bool = False
    # How many of the children have been started, or are being started.
    _reached: int = 0

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.signal = StopSignal()
        #: Set when the start is over, one way or the other.
        self.settled = Flag()
        #: Set when nothing of the run is left.
        self.finished = Flag()
        #: Set when its steps are over: nothing of it is left, or only what ignores even the hard cancel.
        self.unwound = Flag()
        #: The runs of its children that exist now, in the order they were started. A restarted one keeps its place.
        self.child_runs: dict[Child[Run], Run] = {}
        self._steps = Steps(self, unit.step_names)
        self._turn = Flag()

    def __repr__(self) -> str:
        return f"<Run of {self.label} {self.state.value}>"

    # -- Flags that few ask for: each is made for the first who does

    @property
    def decided(self) -> Flag:
        """Set when it is known how the start ends; what was done for one that failed may not be undone yet."""
        if self._decided is None:
            self._decided = Flag()
            if self.was_up or self.start_error is not None:
                self._decided.set()
        return self._decided

    @property
    def let_be(self) -> Flag:
        """Set when nobody need wait for its end any more: nothing of it is left, or it has been given up."""
        if self._let_be is None:
            self._let_be = Flag()
            if self.finished.is_set():
                self._let_be.set()
        return self._let_be

    @property
    def permission(self) -> Flag:
        """Set by whoever may allow a stop to be completed; `Unit.hold` may wait for it."""
        if self._permission is None:  # others may ask for it in other threads
            return self.__dict__.setdefault("_permission", Flag())  # type: ignore[no-any-return]
        return self._permission

    @permission.setter
    def permission(self, permission: Flag) -> None:
        self._permission = permission

    @property
    def afflicted(self) -> Flag:
        """Set, and replaced by another, when the alarm sounds or a crash is spread: where that is to be passed on."""
        if self._afflicted is None:
            self._afflicted = Flag()
        return self._afflicted

    # -- Its name, its place in the tree, and that of the caller

    @property
    def label(self) -> str:
        """How its unit is called in errors and reports."""
        return label_of(self.unit)

    @property
    def parent(self) -> Run | None:
        """The run that owns this one, if a run does."""
        return self.host.parent if self.host is not None else None

    @property
    def failures(self) -> list[BaseException]:
        """All that went wrong in it, and in those below that it has stopped; the first comes first."""
        return list(self._failures)

    @property
    def killed(self) -> bool:
        """Whether the hard cancel has come."""
        return self._steps.killed

    @property
    def was_up(self) -> bool:
        """Whether its start was complete."""
        return self.up_since is not None

    @property
    def contexts(self) -> Contexts:
        """What it holds open until it stops; made for the first who asks."""
        if self._contexts is None:
            self._contexts = Contexts(self._keep, self._until_left, closed=self._contexts_left)
        return self._contexts

    @property
    def above(self) -> Sequence[Run]:
        """The runs that rely on this one: its parent, or all who need it; none at the root."""
        return self.host.above if self.host is not None else ()

    @property
    def is_needed(self) -> bool:
        """Whether it is there for those who need it, and is no child of the run that owns it."""
        return self.host is not None and self.host.is_need

    @property
    def root(self) -> Run:
        """The topmost run of its tree."""
        run = self
        while run.parent is not None:
            run = run.parent
        return run

    def lineage(self) -> Iterator[Run]:
        """Yield this run, then each one above it, up to the root, each once."""
        found: dict[Run, None] = {self: None}
        pending: list[Run] = [self]
        for run in pending:  # grows while it is walked
            yield run
            for above in run.above:
                if above not in found:
                    found[above] = None
                    pending.append(above)

    def subtree(self) -> list[Run]:
        """Return this run and all below it, each before those it owns; of what it needs, only what it is stopping."""
        found: list[Run] = [self]
        for run in found:  # grows while it is walked
            found.extend(run.child_runs.values())
            if run.needs is not None:
                found.extend(run.needs.ending)
        return found

    def tree(self) -> list[Run]:
        """Return this run and all below it, and, if it is the root, all that is needed there."""
        found: list[Run] = [self, *self._hosted()]
        for run in found:  # grows while it is walked
            found.extend(run.child_runs.values())
        return found

    def _hosted(self) -> Sequence[Run]:
        return self.needs.hosted if self.needs is not None else ()

    def called_from_hook(self) -> bool:
        """Whether the caller is in a hook of this run or of one that it owns: it must not wait for this run's end."""
        hook = calling_hook()
        return hook is not None and isinstance(hook.run, Run) and self in hook.run.lineage()

    def called_from_own_hook(self, name: str | None = None) -> bool:
        """Whether the caller is in a hook of this very run; in that of this name, if one is given."""
        hook = calling_hook()
        return hook is not None and hook.run is self and name in {None, hook.name}

    def contains_caller(self) -> bool:
        """Whether the calling code is run by this run, directly or further down."""
        run = current_run()
        return run is not None and self in run.lineage()

    def check_loop(self, call: str) -> None:
        """Refuse a message from another event loop than the run's own.

        Raises:
            EventLoopMismatch: If the caller runs on another loop, or on none.
        """
        if self.state.alive and not runs_here(self._token):
            raise EventLoopMismatch(
                f"{call} of {self.label} was called outside the event loop that it was started on",
                "A service lives on one loop: call it there, for example through anyio.from_thread.run(..., token=...)",
            )

    # -- Messages: what others ask of it

    @property
    def stop_requested(self) -> bool:
        """Whether it has been asked to stop: its turn to tear down has come."""
        return self._turn.is_set()

    @property
    def _is_to_end(self) -> bool:
        return self._turn.is_set() or self.stop_expected

    def is_ending(self) -> bool:
        """Whether it has been told to stop, or will be, as one above it has."""
        return any(run.stop_requested for run in self.lineage())

    @property
    def deadline(self) -> float:
        """When its stop must be over, on the event loop's clock; infinity if it has not been asked to stop."""
        return self._steps.deadline

    def request_stop(self) -> None:
        """Ask it to stop; asking again changes nothing, but that a start is interrupted at once.

        Asked by one of its own hooks, it lets that hook go on, within the time that the stop may take.
        """
        if self.state is State.STOPPED:
            return
        if not self._turn.is_set():
            self._steps.deadline = self._steps.now() + self._time_to_stop()
            self.signal.set()  # first: what it wakes may have ended when the run's own task looks for it
            self._turn.set()
        if self.state is State.STARTING and self.called_from_own_hook():
            self._steps.bound()
        elif self.state is State.STARTING:
            self._steps.interrupt()

    def _time_to_stop(self) -> float:
        """Ask the unit for its timeout; if it has become unreadable since the start, what it was then counts."""
        try:
            self.stop_timeout = max(0.0, self.unit.stop_timeout)
        except Exception as exc:
            _ = self.tell(exc, "stop_timeout", "unreceived")
        return self.stop_timeout

    def fail(self, exc: BaseException, origin: str) -> None:
        """Tell it of a failure; what that means depends on its state (see the head of this file)."""
        if self.state in {State.NEW, State.STOPPED}:
            _ = self.tell(exc, origin, "unreceived")
            return
        fate: Fate = "stop" if self._turn.is_set() else "crash"
        to_end = self.tell(exc, origin, fate if self.alarm is None else "later")
        self._suffer(exc, origin)
        if to_end is not None:
            self._suffer(to_end, _LOG)

    def _suffer(self, exc: BaseException, origin: str) -> None:
        self._note(exc, origin)
        crashed: list[Run] = []
        if self.state is State.RUNNING and not self._turn.is_set():
            crashed += self.mark_subtree_crashed(exc)
        reached: dict[Run, None] = {self: None}
        pending: list[Run] = [self]
        for run in pending:  # grows while it is walked
            for above in run._take(exc, crashed):
                if above not in reached:
                    reached[above] = None
                    pending.append(above)
        for run in crashed:  # only now: what a listener raises comes second
            run._emit(Crashed, exc)

    def take_up(self, run: Run) -> None:
        """Keep what went wrong in a run that has ended elsewhere, on behalf of this one; its first failure is told apart."""
        _ = self._own_failures().take_up(run._own_failures())

    def _emit(self, kind: Callable[..., LifecycleEvent], *parts: object) -> None:
        """Tell who listens; what a listener means to end the program with is a failure of the run."""
        try:
            emit(kind, self.unit.subject, *parts)
        except BaseException as exc:  # noqa: ASYNC103 - nothing here waits
            # In the very last moment whoever asked for the stop can still receive it.
            suffer = self._fail_in_stop if self.state is State.STOPPED else self.fail
            suffer(exc, _LISTENER)

    def tell(self, exc: BaseException, origin: str, fate: Fate) -> BaseException | None:
        """Tell the unit of a failure; one that fails over it must not harm the run. Returns what is to end the program."""
        return tell(self.unit, exc, origin, fate)

    def kill(self) -> None:
        """Cancel it and all that it owns without mercy, from the leaves up; its steps still come, cut short."""
        for run in reversed(self.subtree()):
            run.tasks.cancel_now()  # first: it is too late to be told, and to end by oneself
            if run._contexts is not None:
                run._contexts.kill()
            if run._holds_only_taken:
                run.keepers.cancel_now()
            run.request_stop()
            run._steps.kill()
            if run.when_killed is not None:
                run.when_killed()

    @property
    def accepts(self) -> bool:
        """Whether tasks and children can be begun in it now."""
        up = self._group is not None and self.state in {State.STARTING, State.RUNNING}
        return up and not self.signal.is_set()

    def spawn(self, task: Task[T]) -> Task[T]:
        """Begin a task in it, or, before its start, keep the task until then.

        A run that has been asked to stop takes no new work: the task is discarded, and counts as cancelled.
        """
        if self.state is State.NEW or self._about_to_start:
            self._pending = self._pending or []
            self._pending.append(task)
        elif self._group is not None and self.accepts:
            if self.tasks is NO_TASKS:
                self.tasks = TaskSet(self, self._task_ended)
            _ = self.tasks.spawn(self._group, task, self._token)
        else:
            task.discard_with_run()
        return task

    @property
    def _about_to_start(self) -> bool:
        """Whether it has been begun, and its task has not made its first step."""
        return self.state is State.STARTING and not self.begun and not self.signal.is_set()

    def spawn_child(
        self, function: Callable[[], Coroutine[Any, Any, None]], name: str
    ) -> anyio.TaskHandle[None]:
        """Begin the task of a child's run."""
        return self._group_if(self.accepts, "start a child").create_task(function(), name=name)

    def _group_if(self, open_now: bool, purpose: str) -> anyio.abc.TaskGroup:
        if self._group is None or not open_now:
            raise LifecycleError(
                f"{self.label} is {self._condition()}: it can't {purpose} now",
                "Call it in a hook or a task of the running service",
            )
        return self._group

    def _condition(self) -> str:
        if self.state is State.NEW:
            return "not running yet"
        return "stopping" if self.signal.is_set() and self.state.alive else self.state.value

    def adopt(self, child: Child[Run]) -> None:
        """Take a child, after the others; if its turn comes, the run starts it."""
        self._own_children().append(child)

    def _own_children(self) -> list[Child[Run]]:
        children = self.children
        if not isinstance(children, list):
            children = self.children = list(children)
        return children

    def place_child(self, child: Child[Run], before: Child[Run] | None) -> None:
        """Take a child, in the place of another if one is given; one whose turn has passed is not started by the run."""
        place = place_among(self.children, before)
        self._own_children().insert(place, child)
        if place < self._reached:
            self._reached += 1

    def drop_child(self, child: Child[Run]) -> None:
        """Forget a child, which must not be running."""
        if child not in self.children:
            return
        place = self.children.index(child)
        del self._own_children()[place]
        if place < self._reached:
            self._reached -= 1

    async def tasks_begun(self) -> None:
        """Wait until each task that it has now has made its first step, or it is clear that it never will."""
        for task in self.tasks.alive():
            await self.tasks.settle(task)
        # Those waits were shielded; who was told to stop meanwhile must not take the start for complete.
        await anyio.lowlevel.checkpoint_if_cancelled()

    # -- Its own task: from the first step to the last

    def settle_in(self, host: Host[Run]) -> None:
        """Belong to `host`, which will begin the run's task; from now on the run is starting, on the caller's loop."""
        self.host = host
        parent = host.parent
        if parent is not None:  # then this is its loop
            self._token, self._steps.now = parent._token, parent._steps.now
        else:
            self._token, self._steps.now = anyio.lowlevel.current_token(), clock_here()
        self.state = advance(self.state, Trigger.START)
        self._emit(Starting)

    def check_unit(self) -> None:
        """Read what the stop will need, so that what can't be read makes the start fail, and not the stop.

        Raises:
            BaseException: What the unit raises.
        """
        _ = self.unit.label
        self.stop_timeout = max(0.0, self.unit.stop_timeout)
        self._start_timeout = self.unit.start_timeout
        self._drain_timeout = self.unit.drain_timeout

    def bury(self) -> None:
        """End a run whose task never made its first step."""
        self._start_failed()
        self.state = advance(self.state, Trigger.STOP)
        self._finish()

    async def live(self) -> None:
        """The run's task. Never raises, and leaves nothing behind."""
        enter_run(self)
        self.begun = True
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                group.cancel_scope.shield = True
                # anyio cancels a whole group for one task in it that asyncio has cancelled: so each step is a shield too.
                try:
                    await self._up()
                    await self._down()
                finally:
                    self._steps.close()
                if self.tasks or self.keepers or self.child_runs or self._hosted():
                    self.unwound.set()
        except BaseException as exc:  # noqa: ASYNC103 - kept, and passed on when the duty is done
            # asyncio may cancel even the last checkpoint; anything else is a fault of ours.
            failure = without_cancellation(exc)
            if failure is not None:  # pragma: no cover - no such fault is known
                self._fail_in_stop(failure, "run")
        finally:
            self._finish()

    # What is raised between two steps is a fault of ours or of a unit, or a KeyboardInterrupt, which may be raised anywhere. All
    # below must be told to end even so: nobody else does it, and the task group waits for them.

    async def _up(self) -> None:
        """Start, and be there until its turn to stop."""
        try:
            await self._start()
        except BaseException as exc:  # noqa: ASYNC103 - kept, and passed on when the duty is done
            self._suffer_fault(exc)
            if self.state is State.STARTING:
                self._start_failed()
        while self.state is State.RUNNING and not self._turn.is_set():
            try:
                _ = await self._steps.do("run", self._turn.wait)
            except BaseException as exc:  # noqa: ASYNC103 - kept, and passed on when the duty is done
                self._suffer_fault(exc)
                await anyio.lowlevel.cancel_shielded_checkpoint()  # noqa: ASYNC102 - a shield

    def _suffer_fault(self, exc: BaseException) -> None:
        failure = without_cancellation(exc)
        if failure is None:
            self.pass_on_foreign_stop()
        else:
            self.fail(failure, "run")

    async def _down(self) -> None:
        """Stop; if that is not possible, kill all below, and leave what is held."""
        self.state = advance(self.state, Trigger.STOP)
        try:
            await self._stop()
        except BaseException as exc:  # noqa: ASYNC103 - kept, and passed on when the duty is done
            self.kill()
            for run in self._hosted():
                run.kill()
            failure = without_cancellation(exc)
            if failure is not None:
                self._fail_in_stop(failure, "run")
            try:
                await self._close_contexts()  # noqa: ASYNC102 - its steps shield themselves
            finally:
                self.keepers.cancel_now()

    def _start_failed(self) -> None:
        first = self._failures.first
        self.start_error = first if first is not None else StartAborted(self.label)
        self._tell_decided()

    async def _start(self) -> None:
        ending = Ending.CUT_SHORT
        if not self._turn.is_set() and self._failures.first is None:
            watch = None if self._start_timeout == math.inf else self._watch_for_start_timeout()
            ending = await self._steps.do("start", self._start_steps)
            if watch is not None:
                watch.cancel_now()
        if ending is Ending.OVERDUE:
            self._force(self._steps.last_hook)
        if ending is not Ending.COMPLETED:
            self._start_failed()
            return
        self.state = advance(self.state, Trigger.READY)
        self.up_since = self._steps.now()
        self._emit(Started)
        self._tell_decided()
        self.settled.set()
        if self.stop_expected:
            self.request_stop()

    def _watch_for_start_timeout(self) -> TaskSet:
        """Have the start fail if it takes too long: told by a task, which looks on while all that hangs still does."""
        watch = TaskSet(self, self._keeper_ended)
        group = self._group_if(self._group is not None, "watch its start")
        _ = watch.spawn(group, Task(self._watch_start, "start_timeout"), self._token)
        return watch

    async def _watch_start(self) -> None:
        await anyio.sleep(self._start_timeout)
        if not self._is_to_end and self.alarm is None:
            timeout = StartTimeout(self.label, self._start_timeout, self._still_starting())
            self.fail(timeout, "start_timeout")

    def _still_starting(self) -> list[StillStarting]:
        """Return what is being started: this run, and below each what it is starting in turn, and where that stands."""
        found: list[StillStarting] = []
        pending: list[tuple[Run, int]] = [(self, 0)]
        while pending:
            run, depth = pending.pop()
            where = [StuckTask(run.label, *one) for one in run._stacks_of(run.keepers.alive())]
            found.append(StillStarting(run.label, depth, tuple(where)))
            acquired = run.needs.acquired if run.needs is not None else ()
            below = [*acquired, *run.child_runs.values()]
            pending += [(one, depth + 1) for one in below[::-1] if one.state is State.STARTING]
        return found

    async def _start_steps(self) -> None:
        unit, steps = self.unit, self._steps
        if self.restarting:
            if hook := steps.hook("renew", unit.renew):
                await hook
            self.check_wanted()
        if self.first:
            if hook := steps.hook("first_set_up", unit.first_set_up):
                await hook
            self.check_wanted()
        if (
            self.needs is not None
        ):  # pragma: no branch - whoever makes a run to start it sees to that
            await self.needs.acquire(unit.needs())
            self.check_wanted()
        if hook := steps.hook("set_up", unit.set_up):
            await hook
        self._set_up_done = True
        self.check_wanted()
        await self._begin_work()
        while self._reached < len(self.children):  # may grow and shrink meanwhile
            self.check_wanted()
            await self._start_children(self._next_children())
        self.check_wanted()
        if hook := steps.hook("ready", unit.ready):
            await hook
        if self._failures.first is not None:
            raise self._failures.first

    def _next_children(self) -> list[Child[Run]]:
        """Return those whose turn it is: one, or those beside it that start together with it."""
        first = self.children[self._reached]
        batch = [first]
        if first.together is not None:
            rest = islice(self.children, self._reached + 1, None)
            batch += takewhile(lambda child: child.together is first.together, rest)
        self._reached += len(batch)
        return batch

    async def _start_children(self, batch: Sequence[Child[Run]]) -> None:
        if len(batch) == 1:
            await batch[0].start_under(self)
            return
        begun: list[Run] = []
        for child in batch:
            self.check_wanted()
            begun.append(await child.begin_under(self))
        await all_up(begun)

    def check_wanted(self) -> None:
        """Give up a start that one of its own hooks has called off; others interrupt the step, which a shield may not notice.

        Raises:
            StartAborted: If it has been called off.
            BaseException: If it has failed, what it failed of.
        """
        if self._failures.first is not None:
            raise self._failures.first
        if self._turn.is_set():
            raise StartAborted(self.label)

    async def _begin_work(self) -> None:
        # What is still there in the end has not begun, and is discarded.
        self._pending = [*self.unit.work(), *(self._pending or ())]
        while self._pending:
            task = self.spawn(self._pending.pop(0))
            await self.tasks.settle(task, shield=False)
        self._pending = None

    async def _stop(self) -> None:
        self.signal.set()
        self._discard_pending()
        if self._steps.deadline == math.inf:  # a start that failed by itself
            self._steps.deadline = self._steps.now() + self._time_to_stop()
        self._turn.set()
        self._emit(Stopping)
        if self.child_runs:
            self._put_children_in_order()
            # A child that has not come up yet was the last thing begun, and is the first to be undone.
            coming = [pair for pair in self.child_runs.items() if not pair[1].was_up]
            if coming:
                await self._stop_children(coming, lambda run: not run.was_up)
        if self._set_up_done:
            await self._teardown_hook("tear_down", self.unit.tear_down)
        if self.child_runs:
            await self._stop_children(list(self.child_runs.items()))
        await self._stop_tasks()
        await self._close_contexts()
        if self._set_up_done:
            await self._teardown_hook("farewell", self.unit.farewell)
        if self.needs is not None:  # pragma: no branch - one that lives was made with its needs
            await self.needs.release()
            await self.needs.clear()

    async def _teardown_hook(self, step_name: str, hook: UnitStep) -> None:
        name = self._steps.name_of(step_name)
        ending = await self._steps.do(name, partial(self._steps.hook, step_name, hook))
        if (
            ending is Ending.OVERDUE or self._steps.overdue
        ):  # it may have ignored that it was cut short
            self._force(name)

    async def _stop_children(
        self, left: list[tuple[Child[Run], Run]], which: Callable[[Run], bool] | None = None
    ) -> None:
        """Stop these, the youngest first; no other comes any more."""
        while batch := _take_youngest(left, which):
            await self.stop_together(batch, which)

    async def stop_together(
        self, runs: Sequence[Run], which: Callable[[Run], bool] | None = None
    ) -> None:
        """Stop runs that belong to this one, all at the same time, each asked in its turn; wait until all have ended.

        Args:
            runs: The runs.
            which: Tells, in the turn of each, whether it is to be stopped still: meanwhile it may have come up. By default
                all are.
        """
        asked: list[Run] = []
        for run in runs:
            if asked:
                await self.make_way()
            if which is not None and not which(run):
                continue
            asked.append(run)
            run.receivers += 1
            run.request_stop()
            if self._steps.killed and not run._steps.killed:
                run.kill()
        for run in asked:
            await self._until_ended(run)
            run._waited_for = True
            if not run.finished.is_set():
                run._be_left_behind()
            self._take_up(run)

    async def make_way(self) -> None:
        """As a step of its own, let all others have their turn."""
        await self._steps.do("wait", anyio.lowlevel.cancel_shielded_checkpoint)

    async def _until_ended(self, run: Run) -> None:
        """Wait for the end of a run that has been asked to stop, or give it up."""
        self._awaits_others = True
        await self._steps.until(
            run.unwound.wait,
            run.unwound.is_set,
            self._force,
            limit=run.deadline + PATIENCE,
            patience=PATIENCE,
            stuck=run._is_stuck,
        )
        self._awaits_others = False

    def _be_left_behind(self) -> None:
        """Have its owner go on without it: it is told what keeps it, unless it has told so itself."""
        self.let_be.set()
        if not self._forced:
            self._force()

    def _put_children_in_order(self) -> None:
        """Have children stop in the reverse of the order in which they were added, whenever each has been started."""
        if len(self.child_runs) < 2:
            return
        places = {child: place for place, child in enumerate(self.children)}

        def place_of(child: Child[Run]) -> int:
            return places.get(child, len(places))

        self.child_runs = {
            child: self.child_runs[child] for child in sorted(self.child_runs, key=place_of)
        }

    def _is_stuck(self) -> bool:
        """Whether it is itself what does not end; one that waits for what it stops is not."""
        return not self._awaits_others and self._steps.stuck

    async def _stop_tasks(self) -> None:
        if self.tasks or self.keepers:
            # Soft first: every wait that the signal ends has returned before anything is cancelled.
            await self._steps.do("soft stop", partial(self.signal.heard, self))
        if self._drain_timeout > 0 and self.tasks:
            drained_by = self._steps.now() + self._drain_timeout
            await self._steps.do("drain", self.tasks.join, until=min(self.deadline, drained_by))
        if self.tasks:
            await self._steps.do("cancel tasks", self.tasks.cancel_all)
            self.tasks.cancel_now()  # if that was cut short
        if self._set_up_done:
            await self._teardown_hook("hold", self.unit.hold)
        if self.tasks:
            await self._steps.until(self.tasks.join, self.tasks.empty, self._force)

    async def _close_contexts(self) -> None:
        self._contexts_left = True
        if self._contexts is None:
            return
        leave = partial(self._leave_contexts, self._contexts)
        if await self._steps.do("close contexts", leave) is Ending.OVERDUE:
            self._force("close contexts")
        self._holds_only_taken = True
        if self._steps.killed:
            self.keepers.cancel_now()
        await self._steps.until(
            self.keepers.join, lambda: len(self.keepers) <= len(self._being_left()), self._force
        )

    def _being_left(self) -> Sequence[Keeper[Any]]:
        return self._contexts.leaving if self._contexts is not None else ()

    async def _until_left(self, keeper: Keeper[Any]) -> None:
        await self._steps.until(keeper.ended.wait, keeper.ended.is_set, self._force)

    async def _leave_contexts(self, contexts: Contexts) -> None:
        await self._steps.marked("close contexts", contexts.close_all)

    def _discard_pending(self) -> None:
        """End the tasks that have not begun by now: who waits for one of them, such as a hook, must not wait in vain."""
        pending, self._pending = self._pending, None
        for task in pending or ():
            task.discard_with_run()

    def _finish(self) -> None:
        self._group = None
        self._discard_pending()
        # Only now: until its task group is closed, nobody may take it for over, and start another in its place.
        self.state = advance(self.state, Trigger.END)
        self.signal.set()
        if self.start_error is not None:
            self._emit(StartFailed, self.start_error)
        else:
            self._emit(Stopped)
        self._tell_decided()
        self.settled.set()
        self.unwound.set()
        self.finished.set()
        if self._let_be is not None:
            self._let_be.set()

    # -- Force: when a stop takes too long

    def _force(self, hook: str | None = None, failure: BaseException | None = None) -> None:
        """Begin the hard cancel: note who is stuck, then kill what is left.

        Args:
            hook: The step that took too long, if it is one of this run's own.
            failure: What that step has raised, late as it was.
        """
        self._forced = True
        stuck = self.stuck() or self._named_by_children()
        if hook is not None:
            stuck.insert(0, StuckTask(self.label, hook, self._steps.where))
        self.kill()  # before any failure is told to all below: they are not to end by themselves
        self._emit(StopOverdue, tuple(stuck))
        if failure is not None and hook is not None:
            self._fail_in_stop(failure, hook)
        self._fail_in_stop(ShutdownTimeout(self.label, self.stop_timeout, stuck), "stop")

    def _named_by_children(self) -> list[StuckTask]:
        """Return what was stuck in children whose own time was up in the same instant, and who have said so."""
        ending = self.needs.ending if self.needs is not None else ()
        below = [*self.child_runs.values(), *ending]
        failures = [exc for run in below for exc in run.failures]
        return [one for exc in failures if isinstance(exc, ShutdownTimeout) for one in exc.stuck]

    def stuck(self) -> list[StuckTask]:
        """Return what keeps this run, and those below it, from ending, with the stack of each."""
        return [
            StuckTask(run.label, name, stack)
            for run in self.subtree()
            if run._turn.is_set()
            for name, stack in run._stacks_of(run._asked_to_end())
        ]

    def stacks(self) -> list[tuple[str, str]]:
        """Return name and stack of each task of the run, and of its hook, if one is running."""
        return self._stacks_of([*self.tasks.alive(), *self.keepers.alive()])

    def _asked_to_end(self) -> list[Task[Any]]:
        tasks = [task for task in self.tasks.alive() if task.cancelling]
        keepers = self.keepers.alive()
        if self._holds_only_taken:
            return tasks + keepers
        leaving = {keeper.task for keeper in self._being_left()}
        return tasks + [task for task in keepers if task.cancelling or task in leaving]

    def _stacks_of(self, tasks: Iterable[Task[Any]]) -> list[tuple[str, str]]:
        return self._steps.stack() + [(task.name, task.stack()) for task in tasks]

    # -- Failures

    def _take(self, exc: BaseException, crashed: list[Run]) -> Sequence[Run]:
        """Suffer one failure; return the runs above that must suffer it too. It is added to those that have crashed of it."""
        told_before = self.alarm is not None
        self._record(exc)
        if self.state is State.STARTING:
            self._steps.interrupt()
            return ()
        if self._turn.is_set():
            return ()
        if self._mark_crashed(exc):
            crashed.append(self)
        host = self.host
        if host is None:  # pragma: no cover - a run that lives has one
            return ()
        if not told_before and host.deals_with(self, exc):
            self.failure_dealt_with = True
            self.request_stop()
            return ()
        if host.above:
            return [run for run in host.above if not run._comes_to_it(told_before=told_before)]
        host.crashed(self, exc)
        self.request_stop()
        return ()

    def _comes_to_it(self, *, told_before: bool) -> bool:
        """Whether it will come, in its turn, to a run below that has failed, and take up then what went wrong.

        Beyond a border nobody else would know before its end that it failed before its stop, and not in it.
        """
        at_border = self.host is not None and self.host.is_border
        in_its_turn = told_before and self.crash_reason is not None and not at_border
        return self.state is State.STOPPING or in_its_turn

    def spread_crash(self, exc: BaseException) -> None:
        """Mark the run and all below it as crashed, and tell who listens."""
        for run in self.mark_subtree_crashed(exc):
            run._emit(Crashed, exc)

    def mark_subtree_crashed(self, exc: BaseException) -> list[Run]:
        """Mark the run and all below it; those above are marked as it reaches them, those beside did not crash.

        Each keeps the first crash that it was marked with. Where all below are known to be marked, there is nothing to do;
        but one with nothing below it may stand for a tree elsewhere. Returns those that were not marked before.
        """
        crashed: list[Run] = []
        spreading: list[Run] = [self]
        for run in spreading:  # grows while it is walked
            if run.crash_spread is None or not run.child_runs:
                run.crash_spread = exc
                if run._mark_crashed(exc):
                    crashed.append(run)
                run._tell_affliction()
                spreading.extend(run.child_runs.values())
        return crashed

    def _mark_crashed(self, exc: BaseException) -> bool:
        """Mark it with its first crash; returns whether this is the first."""
        if self.crash_reason is not None:
            return False
        self.crash_reason = exc
        return True

    def _tell_affliction(self) -> None:
        told, self._afflicted = self._afflicted, None
        if told is not None:
            told.set()

    def _tell_decided(self) -> None:
        if self._decided is not None:
            self._decided.set()

    def step_failed(self, exc: BaseException, name: str) -> None:
        if isinstance(exc, StartAborted) and self.state is State.STARTING and self._is_to_end:
            return  # asked for, so no failure
        if self.state is State.STOPPING:
            if self._steps.overdue:  # it has ignored that it was cut short
                self._force(name, exc)
            else:
                self._fail_in_stop(exc, name)
            return
        if self.state is State.RUNNING:
            # At rest it does nothing but wait; but a KeyboardInterrupt may land in any task.
            self.fail(exc, name)
            return
        self._note(exc, name)
        self._record(exc)

    def _fail_in_stop(self, exc: BaseException, origin: str) -> None:
        if not self._failures.holds(exc):
            to_end = self.tell(exc, origin, "stop" if self.alarm is None else "later")
            self._note(exc, origin)
            self._record(exc)
            if to_end is not None:
                self._note(to_end, _LOG)
                self._record(to_end)

    def _note(self, exc: BaseException, origin: str, below: Run | None = None) -> None:
        """Note a failure on the one that will leave, if that is another."""
        first = self.alarm
        if first is not None and first is not exc and not self._failures.holds(exc):
            note(first, f"later, in {origin} of {(below or self).label}", exc)

    def _record(self, exc: BaseException) -> None:
        """Keep a failure: the first as the one that will leave."""
        failures = self._own_failures()
        if failures.add(exc) and failures.first is exc:
            self._sound_alarm(exc)

    def _own_failures(self) -> Failures:
        if self._failures is NO_FAILURES:
            self._failures = Failures()
        return self._failures

    def child_ended(self, child: Run) -> None:
        """A child has ended; if the hard cancel did that, before its turn had come, this run has still stopped it."""
        if self._steps.killed:
            self._take_up(child)
        self.unit.on_child_ended(child.unit)

    def _take_up(self, child: Run) -> None:
        """Keep what went wrong in a child that has been stopped."""
        first, before = child._failures.first, self._failures.first
        if first is None or self._is_dealt_with(child, first):
            return
        if not self._own_failures().take_up(child._failures):
            return
        if child.alarm is first:  # nothing above it had failed by then, so nobody has noted it
            self._note(first, "stop", child)
        if before is None:
            self._sound_alarm(first)

    def _is_dealt_with(self, child: Run, first: BaseException) -> bool:
        """Whether the unit has dealt with a crash of the child, or does so with a start of it that failed."""
        if child.was_up:
            return child.failure_dealt_with
        return child.host is not None and child.host.deals_with(child, first)

    def _sound_alarm(self, first: BaseException) -> None:
        """At the first failure of the run: from now on nobody goes on working in it or below."""
        if self._is_to_end:
            self.stop_error = first
        self.spread_alarm(first)

    def spread_alarm(self, first: BaseException) -> None:
        """Tell the run and all below it of a failure, of whomever."""
        alarmed: list[Run] = [self]
        for run in alarmed:  # grows while it is walked
            if run.alarm is None:
                run.alarm = first
                run.signal.set()
                run._tell_affliction()
                alarmed.extend(run.child_runs.values())
                alarmed.extend(run._hosted())

    def pass_on_foreign_stop(self) -> None:
        """A cancellation from outside reached a task of the tree: that is a stop of the tree, from its top."""
        pending: list[Run] = [self]
        for run in pending:  # grows while it is walked
            if run._told_from_outside:  # then all above it have been told
                continue
            run._told_from_outside = True
            run.stopped_from_outside = not run.stop_requested
            pending.extend(run.above)
            if not run.above:
                run.request_stop()

    # -- Its tasks and contexts

    def _task_ended(self, task: Task[Any], failure: BaseException | None) -> None:
        self._emit(TaskEnded, task.name, failure)
        if failure is not None:
            self.fail(failure, task.name)
        elif task.cancelled_from_outside():
            self.pass_on_foreign_stop()

    def _keeper_ended(self, task: Task[Any], failure: BaseException | None) -> None:
        if failure is not None:
            self.fail(failure, task.name)
        elif task.cancelled_from_outside():
            self.pass_on_foreign_stop()

    def _keep(self, keeper: Keeper[Any]) -> Task[None]:
        self.check_loop("add_async_context()")
        # Also a start that has been called off goes on until its hook ends, and what that has made is to be left by somebody.
        starting = self.state is State.STARTING
        group = self._group_if(self.accepts or starting, "enter an async context")
        task = Task(self._steps.marked(keeper.name, keeper.hold), keeper.name)
        task.add_done_callback(lambda _: keeper.gone())
        if self.keepers is NO_TASKS:
            self.keepers = TaskSet(self, self._keeper_ended)
        return self.keepers.spawn(group, task, self._token)


def place_among(children: Sequence[Child[Run]], before: Child[Run] | None) -> int:
    """Return the place of a child among others; that after the last, if there is none."""
    return len(children) if before is None or before not in children else children.index(before)


def _take_youngest(
    left: list[tuple[Child[Run], Run]], which: Callable[[Run], bool] | None
) -> list[Run]:
    """Take the child to be stopped next off the end of `left`, and those beside it that stop together with it."""
    batch: list[Run] = []
    together: object = None
    while left:
        child, run = left[-1]
        is_over = run.finished.is_set() or run._waited_for
        if is_over or (which is not None and not which(run)):
            _ = left.pop()
            continue
        if batch and (together is None or child.together is not together):
            break
        _ = left.pop()
        batch.append(run)
        together = child.together
    return batch


async def until_finished(run: Run) -> None:
    """Wait for the end of a run that has been asked to stop; raise if even the hard cancel does not bring it.

    Raises:
        ShutdownTimeout: If something of the run ignores its cancellation. The run goes on ending, in its owner.
    """
    # What ends by the hard cancel itself is no progress, so the first look is a little later.
    until, left = run.deadline + _FIRST_LOOK, math.inf
    while not run.finished.is_set():
        with anyio.move_on_at(until):
            await run.finished.wait()
            return
        # A large tree takes its time to unwind, but something of it ends all the time.
        parts = (1 + len(one.tasks) + len(one.keepers) for one in run.subtree())
        left, before = sum(parts), left
        if left >= before:
            run.let_be.set()
            raise ShutdownTimeout(run.label, run.stop_timeout, run.stuck())
        until = anyio.current_time() + GRACE
