"""The life of a unit, from one run to the next.

Theory: a run is never reset, so something must outlast it: what a unit holds, where others find it, and where its next
run comes from. A `Life` has at most one run at a time. It takes the messages - start, stop, restart, fail - from any
task, and passes them to the run that is meant. A message from what is left of a former run is meant for that one, which
is over; it does nothing.

It also keeps what must be there before a run is: what is added to a unit that does not run yet waits in the run that
will be started next.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType

import anyio
import anyio.lowlevel

from structmode.exceptions import LifecycleError, ShutdownTimeout, StartAborted

from ._cancellation import first_step, has_begun, through, without_cancellation
from ._events import Restarting, emit
from ._failures import note
from ._flag import Flag
from ._hosting import Block, Loop, close_unbegun, host_in
from ._needs import Needs
from ._protocols import Host, Unit, label_of
from ._run import Run, current_run, place_among, until_finished
from ._starts import until_settled
from ._state import State
from ._waiting import StopSignal


class _Succession:
    """A restart that has been asked for: who waits for it, and the run that it led to."""

    def __init__(self) -> None:
        self.made = Flag()
        self.run: Run | None = None
        self.error: BaseException | None = None
        self.waiting = 0

    def lead_to(self, run: Run) -> None:
        self.run = run
        self.made.set()

    def call_off(self, error: BaseException) -> None:
        self.error = error
        self.made.set()

    async def receive(self) -> None:
        """Wait for the new run to have started; raise what kept it from that."""
        self.waiting += 1
        try:
            await self.made.wait()
            if self.run is not None:
                self.run = await until_settled(self.run)
        except BaseException:
            self.waiting -= 1
            raise
        error = self.run.start_error if self.run is not None else self.error
        if error is not None:
            raise error


class OwnedBlock:
    """What ``async with`` around a unit is: it owns the unit's runs for the length of the block.

    Cancellation from outside becomes an orderly stop, and then goes on. A crash cancels the body, and the reason leaves
    the block as it was raised; otherwise what leaves the body does.

    The generator inside holds the scopes and never raises: some exceptions can't leave a generator unchanged, and the
    first failure is to leave as it was raised.
    """

    def __init__(self, life: Life) -> None:
        self._life = life
        self._scopes = self._hold()
        self._leaving: BaseException | None = None

    async def __aenter__(self) -> None:
        self._life.refuse_second_block()
        await self._scopes.__aenter__()
        if self._leaving is not None:
            await self._scopes.__aexit__(None, None, None)
            raise self._leaving

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._scopes.__aexit__(exc_type, exc, traceback)  # noqa: ASYNC102 - the wait shields itself
        leaving = self._leaving
        if leaving is not None and leaving is not exc:
            context = leaving.__context__
            try:
                raise leaving
            finally:
                # As it was raised: not in the course of the body's cancellation. Some exceptions can't be changed.
                with suppress(Exception):
                    leaving.__context__ = context

    @asynccontextmanager
    async def _hold(self) -> AsyncGenerator[None]:
        life = self._life
        try:
            async with anyio.create_task_group() as group:
                block = life.owner = Block(group)
                try:
                    await life.start_in(block)
                except BaseException as exc:  # noqa: ASYNC103 - kept, and passed on when the duty is done
                    self._leaving = exc
                try:
                    with block.body:
                        yield
                except BaseException as exc:  # noqa: ASYNC103 - kept, and passed on when the duty is done
                    self._leaving = exc
                self._leaving = await life.leave(block, self._leaving)
        finally:  # asyncio may cancel the task once more, as it leaves the group
            life.owner = None


class Life:
    """What a unit holds of the engine: its run, its place in the tree, and the messages it takes.

    Args:
        unit: The unit whose life it is.
    """

    # As in a run, only what changes takes room.

    children: Sequence[Life] = ()
    #: A mark that it shares with the children beside it with which it starts and stops as one.
    together: object = None
    #: The block that owns its runs, while there is one.
    owner: Block | None = None
    _next: Run | None = None
    _succession: _Succession | None = None
    _started_once: bool = False
    # Whether it has been the parent of any: one that never was is above nobody, which is known without a look.
    _has_been_above: bool = False
    # Whether its parent is to forget it when it has stopped.
    _removed: bool = False
    # What the first hook of a start adds stays, if the start succeeds: that hook does not run again.
    _lasting: list[Life] | None = None

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.parent: Life | None = None
        self.run: Run | None = None

    # -- What it is

    @property
    def label(self) -> str:
        """How its unit is called in errors and reports."""
        return label_of(self.unit)

    @property
    def alive(self) -> bool:
        """Whether a run exists that has begun and has not ended."""
        return self.run is not None and self.run.state.alive

    @property
    def current(self) -> Run:
        """The run that exists, or existed last; before the first start, the one that is to be started."""
        return self.run or self.upcoming

    @property
    def upcoming(self) -> Run:
        """The run that takes what is added now: the one that exists, or else the one to be started next."""
        if self.alive and self.run is not None:
            return self.run
        if self._next is None:
            self._next = Run(self.unit)
        return self._next

    @property
    def signal(self) -> StopSignal:
        """The stop signal of the current run; for what is left of a former run, that of its own."""
        caller = current_run()  # asked on every wait, and nearly always nobody, or the run itself
        if caller is None:
            return self.current.signal
        if caller is self.run:
            return caller.signal
        return (self.calling_run() or self.current).signal

    def calling_run(self) -> Run | None:
        """Return the run of the unit that the calling code belongs to, directly or further down; it may be a former one."""
        caller = current_run()
        if caller is self.run:
            return caller
        if caller is None or self.run is None:
            return None
        return next((run for run in caller.lineage() if run.unit is self.unit), None)

    @property
    def restarting(self) -> bool:
        """Whether a restart has been asked for and is not complete."""
        return self._succession is not None

    def addressed(self) -> Run | None:
        """The run that a message of the caller is meant for; None if the caller belongs to a former one."""
        return None if self.is_former(current_run()) else self.run

    def is_former(self, caller: Run | None) -> bool:
        """Whether a run belongs to a former run of this unit."""
        if caller is None or self.run is None or caller is self.run:
            return False
        return any(run.unit is self.unit and run is not self.run for run in caller.lineage())

    def addressed_or_upcoming(self) -> Run | None:
        """The run that takes new work of the caller; None if the caller belongs to a former run."""
        if self.run is not None and self.addressed() is None:
            return None
        return self.upcoming

    def addressed_or_current(self) -> Run | None:
        """The run that a message is about, be it not begun or over; None if the caller belongs to a former run."""
        return self.current if self.run is None else self.addressed()

    def forget(self) -> None:
        """Be as new: forget the last run, unless it still exists.

        Raises:
            LifecycleError: If it still exists.
        """
        if self.alive:
            raise LifecycleError(
                f"{self.label} can't be reset while it is {self.current.state.value}",
                "Stop it first: await service.stop()",
            )
        self._release_adopted()
        self.run = None

    # -- Its place in the tree

    def add_child(self, child: Life, together: object = None) -> None:
        """Make `child` start and stop with this unit; at the same time as those added before it with the same mark.

        What the unit's own code adds while it runs belongs to that run, since that code will run again; what others
        add, or the unit adds before it runs, stays. What is left of a former run adds nothing.

        Raises:
            LifecycleError: If it is the unit itself or one above it, or if it runs elsewhere.
        """
        self.current.check_loop("add_dependency()")
        self._check_adoptable(child)
        if self.is_former(current_run()):
            return
        if child.parent is self:
            # If it was to be forgotten when it has stopped, it is not any more.
            child._removed = False
            return
        if child.parent is not None:
            child.parent.drop_child(child)
        child.together = together
        self.stand_above(child)
        run = self.run
        if run is None or not run.state.alive:
            self._own_children().append(child)
            return
        run.adopt(child)
        if run.called_from_own_hook("first_set_up"):
            self._lasting = self._lasting or []
            self._lasting.append(child)
        elif not run.contains_caller():
            self._own_children().append(child)

    def _own_children(self) -> list[Life]:
        children = self.children
        if not isinstance(children, list):
            children = self.children = list(children)
        return children

    def place_child(self, child: Life, before: Life | None = None) -> None:
        """Make `child` start and stop with this unit from now on, whoever asks for it, and when.

        If the unit runs, the child is not started here.

        Args:
            child: The child.
            before: The child in whose place it comes, if not the last.

        Raises:
            LifecycleError: If it is the unit itself or one above it, or if it runs elsewhere.
        """
        self.current.check_loop("add()")
        self._check_adoptable(child)
        if child.parent is self:
            return
        if child.parent is not None:
            child.parent.drop_child(child)
        self.stand_above(child)
        place = place_among(self.children, before)
        self._own_children().insert(place, child)
        if self.run is not None and self.run.state.alive:
            self.run.place_child(child, before)

    def _check_adoptable(self, child: Life) -> None:
        if self is child or (child._has_been_above and self._is_below(child)):
            raise LifecycleError(
                f"{child.label} can't be a child of {self.label}: it is that service itself or one above it",
                "A service tree has no circles",
            )
        if child.parent is not None and child.parent is not self and child.parent.alive:
            raise LifecycleError(
                f"{child.label} can't be added to {self.label}: it belongs to {child.parent.label}, which runs",
                "A service has one owner: remove it there first (await remove_dependency(service)), or add another instance",
            )
        if child.alive and (
            child.current.is_needed or not self.alive or child.current.parent is not self.run
        ):
            whose = self._whose(child.current)
            raise LifecycleError(
                f"{child.label} can't be added to {self.label}: it already runs {whose}, and a service has one owner",
                "Stop it there first (await remove_dependency(service), or await service.stop()), or add another instance",
            )

    def stand_above(self, child: Life) -> None:
        """Be the parent of `child`."""
        child.parent = self
        self._has_been_above = True

    def _is_below(self, other: Life) -> bool:
        above = self.parent
        while above is not None and above is not other:
            above = above.parent
        return above is not None

    @staticmethod
    def _whose(run: Run) -> str:
        """Return to whom a run belongs, as the end of "it runs..."."""
        if not run.above:
            return "on its own"
        names = " and ".join(user.label for user in run.above)
        return f"for {names}" if run.is_needed else f"under {names}"

    def check_needable(self, user: Run, host: object) -> None:
        """Refuse to be needed by `user`, and hosted by `host`, if it has another place in the tree.

        Raises:
            EventLoopMismatch: If it runs on another event loop.
            LifecycleError: If it is above the user, is a child, or runs elsewhere.
        """
        problem = f"{self.label} can't be started for {user.label}, which needs it: "
        run = self.run if self.alive else None
        if run is not None:
            run.check_loop(f"a start for {user.label}, which needs it,")
            if run in user.lineage():
                raise LifecycleError(
                    f"{problem}it is that service itself, or needs it in turn",
                    "A service tree has no circles",
                )
        if self.parent is not None:
            raise LifecycleError(
                f"{problem}it was added to {self.parent.label}",
                "A service is added to one, or needed by any number: let that one need it too, or leave it with that one",
            )
        if self.owner is not None or (run is not None and run.host is not host):
            raise LifecycleError(
                f"{problem}it runs {self._whose(run) if run is not None else 'in a block of its own'} already",
                "What several need lives in the tree of those who need it: leave its start to them, and put them under one service",
            )

    async def remove_child(self, child: Life) -> None:
        """Stop a child and forget it; if the caller does not wait for its end, it is forgotten then.

        Raises:
            EventLoopMismatch: If either of the two runs on another event loop; nothing has been changed then.
            BaseException: What went wrong in its stop.
        """
        for life in (self, child):
            life.current.check_loop("remove_dependency()")
        child._removed = True
        try:
            await child.stop()
        finally:
            if not child.alive and child.parent is self:
                self.drop_child(child)

    def release_child(self, child: Life) -> None:
        """Ask a child to stop, and forget it when it has; does not wait."""
        child._removed = True
        child.request_stop()
        if not child.alive:
            self.drop_child(child)

    def drop_child(self, child: Life) -> None:
        """Forget a child; it must not be running."""
        child._removed, child.together = False, None
        if child in self.children:
            self._own_children().remove(child)
        if self._lasting and child in self._lasting:
            self._lasting.remove(child)
        if self.run is not None:
            self.run.drop_child(child)
        child.parent = None
        self.unit.on_child_released(child.unit)

    def _release_adopted(self) -> None:
        """Let go of the children that the last run adopted for itself."""
        adopted = self.run.children if self.run is not None else ()
        if not adopted:
            return
        kept = set(self.children)
        for child in tuple(adopted):
            if isinstance(child, Life) and child not in kept and child.parent is self:
                self.drop_child(child)

    # -- Start

    async def start(self, *, restarting: bool = False) -> None:
        """Start a run, and wait until its start is complete.

        If the caller is cancelled meanwhile, the start is undone before the cancellation goes on.

        Raises:
            LifecycleError: If a run exists, or its parent is stopping.
            BaseException: What made the start fail, as it was raised.
        """
        self.refuse_second_run("started")
        await self.start_in(self._choose_host(), restarting=restarting)

    async def maybe_start(self) -> bool:
        """Start it unless it runs; one that is starting is waited for. Returns whether this call started it."""
        run = self.run
        if run is None or not run.state.alive:
            await self.start()
            return True
        run.check_loop("maybe_start()")
        if self.is_coming_up(run) and not run.called_from_hook() and not run.contains_caller():
            run = await until_settled(run)
            if run.start_error is not None:
                raise run.start_error
            return False
        await anyio.lowlevel.checkpoint()
        return False

    def is_coming_up(self, run: Run) -> bool:
        """Whether a run is being started, and not undone."""
        return run.state is State.STARTING

    async def start_under(self, parent: Run) -> None:
        """Start it in `parent`, unless it runs there already; called by `parent` itself, as a step of its start.

        If that is interrupted, `parent` undoes this start as the first step of its own undoing.

        Raises:
            LifecycleError: If it runs elsewhere.
        """
        run = self.run
        if run is None or not run.state.alive:
            await self.start_in(host_in(parent), undo=False)
            return
        if run.parent is not parent:
            self.refuse_second_run(f"started by {parent.label}")
        await self.maybe_start()

    async def begin_under(self, parent: Run) -> Run:
        """As `start_under`, but only begin; returns the run that will have been started, or has failed to."""
        run = self.run
        if run is None or not run.state.alive:
            return await self.begin_in(host_in(parent))
        if run.parent is not parent:
            self.refuse_second_run(f"started by {parent.label}")
        return run

    async def begin_in(self, host: Host[Run]) -> Run:
        """Begin a run in `host`, and return it when its task has made its first step, or is given up.

        Raises:
            LifecycleError: If the host is stopping.
        """
        run, task = self._spawn_in(host, restarting=False)
        try:
            if not await first_step(lambda: run.begun, shield=True):
                self._bury(run, task)
        except BaseException:
            if not await has_begun(lambda: run.begun):  # noqa: ASYNC102 - the wait shields itself
                self._bury(run, task)
            raise
        return run

    async def start_as_child(self) -> None:
        """Start it in its parent, which runs; unless it runs there already.

        Raises:
            LifecycleError: If the parent is stopping.
        """
        parent = self.parent.run if self.parent is not None else None
        if parent is None:
            raise LifecycleError(f"{self.label} has no parent", "Add it to a service that runs")
        parent.check_loop("add_runtime_dependency()")
        if self.alive:
            await self.start_under(parent)
        else:
            await self.start_in(host_in(parent))

    def refuse_second_block(self) -> None:
        self.refuse_second_run("entered with `async with`")
        if self.owner is not None:
            raise LifecycleError(
                f"{self.label} can't be entered with `async with`: it is in such a block already",
                "Call start() for another run in that block, or leave it first",
            )

    def refuse_second_run(self, what: str) -> None:
        run = self.run
        if run is None or not run.state.alive:
            return
        run.check_loop("start()")
        raise LifecycleError(
            f"{self.label} can't be {what}: it is {run.state.value} already, {self._whose(run)}",
            "Call maybe_start() if it may be running, restart() for a new run, or await stop() first",
        )

    def _choose_host(self) -> Host[Run]:
        if self.owner is not None:
            return self.owner
        run = self.parent.run if self.parent is not None else None
        if run is not None and run.state.alive:
            run.check_loop("start() of a child")
            return host_in(run)
        last = self.run.host if self.run is not None and self.run.is_needed else None
        if last is not None and last.accepts:  # those who need it are there still
            return last
        return Loop(self.unit, self.end_with_loop)

    def _check_host(self, host: Host[Run]) -> None:
        if host.accepts:
            return
        owner = (
            "the block that owns it" if host.parent is None else f"its parent {host.parent.label}"
        )
        raise LifecycleError(
            f"{self.label} can't be started: {owner} is stopping",
            "Start it before that, or give it another owner",
        )

    async def start_in(
        self, host: Host[Run], *, restarting: bool = False, undo: bool = True
    ) -> None:
        """Start a run in `host`, and wait until its start is complete.

        Args:
            host: Who will own it.
            restarting: Whether it takes the place of a former run.
            undo: Whether to undo the start if the caller is cancelled; False if the caller is a step of the host's, which does.
        """
        run, task = self._spawn_in(host, restarting=restarting)
        try:
            if await first_step(lambda: run.begun, shield=undo):
                run = await until_settled(run)
            else:
                self._bury(run, task)
        except BaseException:
            if not await has_begun(lambda: run.begun):  # noqa: ASYNC102 - the wait shields itself
                self._bury(run, task)
            while run.successor is not None:
                run = run.successor
            if undo:
                run.request_stop()
                await through(run.finished)  # noqa: ASYNC102 - the wait shields itself
            raise
        if run.start_error is not None:
            raise run.start_error

    def _spawn_in(
        self, host: Host[Run], *, restarting: bool
    ) -> tuple[Run, anyio.TaskHandle[None] | None]:
        self._check_host(host)
        run = self._make_run(restarting=restarting)
        self._settle_in(run, host)
        try:
            return run, host.spawn(self._live, self.label)
        except LifecycleError:  # who listens to what starts has stopped the host
            self._bury(run, None)
            raise StartAborted(self.label) from None
        except BaseException:
            self._bury(run, None)
            raise

    def _bury(self, run: Run, task: anyio.TaskHandle[None] | None) -> None:
        """Give up a run whose task was cancelled before its first step, as asyncio does when its run ends."""
        close_unbegun(task)
        run.bury()
        self._leave_place(run)

    def _leave_place(self, run: Run) -> None:
        if run.host is not None:  # pragma: no branch - one that had a place has a host
            run.host.let_out(self, run)
        if self._removed and self.parent is not None:
            self.parent.drop_child(self)

    def _make_run(self, *, restarting: bool) -> Run:
        self._release_adopted()
        run = self._next or Run(self.unit)
        run.check_unit()
        self._next = None
        run.first = not self._started_once
        if restarting:
            run.restarting = True
        run.children = tuple(self.children)
        run.needs = Needs(run)
        return run

    def _settle_in(self, run: Run, host: Host[Run]) -> None:
        self.run = run
        host.took_in(self, run)
        run.settle_in(host)

    async def _live(self) -> None:
        """The task of the unit, in its owner: one run, and each that a restart puts in its place."""
        run, succession = self.run, None
        while run is not None:
            await run.live()
            if run.was_up and not self._started_once:
                self._started_once = True
                if self._lasting:
                    self._own_children().extend(self._lasting)
            self._lasting = None
            self._hand_over(run, succession)
            run, succession = self._succeed(run)

    def _hand_over(self, run: Run, succession: _Succession | None) -> None:
        """Give the owner what went wrong and nobody has received: a stop's failure, or that of a restart's start."""
        error, receivers = run.stop_error, run.receivers
        if self._succession is not None and error is not None:
            receivers += self._succession.waiting
            self.call_off_restart(error)
        if succession is not None and run.start_error is not None:
            error, receivers = run.start_error, succession.waiting
        if error is not None:
            self._tell_owner(run, error, receivers)

    def _tell_owner(self, run: Run, error: BaseException, receivers: int) -> None:
        if not receivers and not isinstance(error, StartAborted) and run.host is not None:
            run.host.crashed(run, error)

    def _succeed(self, run: Run) -> tuple[Run | None, _Succession | None]:
        """Put a new run in the place of one that has ended, if a restart was asked for; else leave the place."""
        host, succession = run.host, self._succession
        if host is None or succession is None or self._removed or not host.accepts:
            self.call_off_restart()
            self._leave_place(run)
            return None, None
        try:
            emit(Restarting, self.unit.subject)
            successor = self._make_run(restarting=True)
        except BaseException as exc:  # noqa: ASYNC103 - kept for who waits for the restart
            self.call_off_restart(exc)
            self._tell_owner(run, exc, succession.waiting)
            self._leave_place(run)
            return None, None  # noqa: ASYNC104 - nothing here waits
        run.successor = successor
        self._settle_in(successor, host)
        self._succession = None
        succession.lead_to(successor)
        return successor, succession

    # -- Stop

    async def stop(self) -> None:
        """Stop the run, if there is one, and wait until nothing of it is left.

        From a hook of the run, or of one below it, it returns at once, and the stop follows. From one of its tasks,
        the caller is cancelled as part of the stop.

        Raises:
            ShutdownTimeout: If the stop took too long; see `until_finished` for what ignores even the hard cancel.
            BaseException: What went wrong in the stop of a run that had been well until then.
        """
        run = self.addressed()
        if run is None or not run.state.alive:
            await anyio.lowlevel.checkpoint()
            return
        run.check_loop("stop()")
        self.call_off_restart()
        if run.called_from_hook():
            await anyio.lowlevel.checkpoint()
            run.request_stop()
            return
        run.request_stop()
        await self._receive_stop(run)

    async def _receive_stop(self, run: Run) -> None:
        run.receivers += 1
        try:
            await until_finished(run)
        except ShutdownTimeout:  # received, if not in full
            raise
        except BaseException:
            run.receivers -= 1
            if (
                run.finished.is_set() and run.stop_error is not None
            ):  # cancelled in the instant of the end
                self._tell_owner(run, run.stop_error, run.receivers)
            raise
        if run.stop_error is not None:
            raise run.stop_error

    def kill(self) -> None:
        """Cancel the run and all below it at once."""
        self.call_off_restart()
        if self.run is not None and self.run.state.alive:
            self.run.kill()

    def fail(self, exc: BaseException, origin: str) -> None:
        """Crash the run that the caller means; if there is none yet, the failure is logged."""
        run = self.addressed_or_current()
        if run is not None:
            run.fail(exc, origin)

    # -- Restart

    async def restart(self) -> None:
        """Stop the run and start a new one in the same owner; returns when that has started.

        Without a run, it starts one. From inside the run it behaves as `stop` does, and the restart follows.

        Raises:
            StartAborted: If it was stopped for good before the new run had started.
            BaseException: What made the start of the new run fail.
        """
        run = self.addressed()
        if run is None and self.run is not None:
            await anyio.lowlevel.checkpoint()
            return
        if run is None or not run.state.alive:
            emit(Restarting, self.unit.subject)
            await self.start(restarting=True)
            return
        run.check_loop("restart()")
        from_hook = run.called_from_hook()
        if from_hook:
            await anyio.lowlevel.checkpoint()
        self._succession = succession = self._succession or _Succession()
        run.request_stop()
        if from_hook:
            return
        if (
            run.contains_caller()
        ):  # to be cancelled as part of the stop, whatever becomes of the restart
            await run.finished.wait()
        await succession.receive()

    def expect_stop(self) -> None:
        """Know that the run, which has been well until now, ends by itself: what fails until then fails in its stop."""
        if self.run is not None:
            self.run.stop_expected = True

    def expect_restart(self) -> None:
        """Have another run come in the place of this one when it ends; does not wait, nor ask it to end."""
        if self.alive:
            self._succession = self._succession or _Succession()

    def request_restart(self) -> None:
        """Ask the run to stop, and have another one come in its place; does not wait. Without a run, nothing is done."""
        self.expect_restart()
        if self.alive and self.run is not None:
            self.run.request_stop()

    def call_off_restart(self, error: BaseException | None = None) -> None:
        """Have no other run come in the place of this one; who waits for that gets an error."""
        succession, self._succession = self._succession, None
        if succession is not None:
            succession.call_off(error if error is not None else StartAborted(self.label))

    # -- Owners

    def block(self) -> OwnedBlock:
        """Return what owns the unit's runs for the length of an ``async with`` block."""
        return OwnedBlock(self)

    async def leave(self, block: Block, leaving: BaseException | None) -> BaseException | None:
        """Stop what still runs, and decide what leaves the block: the first failure, or else a cancellation."""
        block.open = False
        self.call_off_restart()
        run = self.run
        came_through = stop_error = None
        if run is not None and run.state.alive:
            run.receivers += 1
            run.request_stop()
            came_through = await through(run.finished)
            stop_error = run.stop_error
        candidates = (block.failure, leaving, stop_error)
        failures = [
            exc for exc in candidates if exc is not None and without_cancellation(exc) is not None
        ]
        for later in failures[1:]:
            if later is not failures[0]:
                note(failures[0], f"later, in the block of {self.label}", later)
        if failures:
            return failures[0]
        return leaving if leaving is not None else came_through

    def request_stop(self) -> None:
        """Ask the run to stop, and do not wait; a restart that was asked for is called off."""
        self.call_off_restart()
        if self.run is not None and self.run.state.alive:
            self.run.request_stop()

    def end_with_loop(self) -> bool:
        """Stop, as the event loop ends; returns whether nobody had asked for it before."""
        run = self.run
        forgotten = (
            self.alive and run is not None and (not run.stop_requested or run.stopped_from_outside)
        )
        self.request_stop()
        return forgotten
