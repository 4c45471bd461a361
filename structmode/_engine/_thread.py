"""A run in a thread of its own, with an event loop of its own.

Theory
------
*Two ends.* What owns the run lives in one event loop, the run in another, and nothing of the one may be touched by the
other. So there is a unit at each end. Outside, the owner's tree has a unit like any other: its start spawns the thread and
waits until all has started inside; its stop passes the stop on and waits for the end. Inside, the *floor* is the root of all
that runs in the thread. Between them pass messages: down go "stop, it is your turn", "something above you has failed" and
"time is up"; up go "started", "crashed" and "over".

*The laws hold across.* A failure inside is passed up at once, as it was raised, and nobody inside goes on working; but the
floor does not stop by itself then: it waits for its turn, as the owner's tree stops from the top down. A failure above marks
all inside, at once too. The start is undone inside before the owner's start fails.

*Nobody waits for ever.* Python can't end a thread that does not listen. When the time of the stop is over, and the grace
after it, the thread is given up: whoever waits for something from it gets an error, the stop goes on with a
`ShutdownTimeout` that shows where the thread stands, and as the thread is a daemon, it does not keep the process from
ending.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextvars import Context, copy_context
from functools import partial
from types import MappingProxyType
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import anyio.to_thread

from structmode.exceptions import ShutdownTimeout, StartAborted, StuckTask

from ._backend import on_trio, running_asyncio_loop, token_here
from ._border import Call, Mailbox, Reply, adopt, close_boxes
from ._callers import enter_run
from ._cancellation import through, without_cancellation
from ._events import StopOverdue, emit
from ._flag import Flag
from ._hosting import Outermost, host_in
from ._idle import work_done
from ._life import Life
from ._loops import runner_for_thread
from ._protocols import Fate, Unit
from ._run import Run
from ._stacks import stack_of_thread
from ._steps import GRACE
from ._tasks import Task

#: How much longer than the stop of what is inside that of the unit outside may take, in seconds.
MARGIN = 3 * GRACE
# How long after the time of the stop the thread is given up, in seconds: what is inside has given up its own waits by then.
_PATIENCE = 1.75 * GRACE
# For how long the owner's loop itself waits for the last instant of a thread, in seconds: no longer than for a lock.
_LAST_MOMENT = 0.005


def _told(message: Callable[[], object]) -> Call:
    """Make a call that nobody waits for."""
    return Call("a message", message, None)


class _Floor:
    """The root of what runs in a thread."""

    subject = None
    step_names: Mapping[str, str] = MappingProxyType({})
    stop_timeout = float(
        "inf"
    )  # what stands on it has a timeout of its own, and so has the unit outside
    start_timeout = float("inf")
    drain_timeout = 0.0

    def __init__(self, home: ThreadHome) -> None:
        self._home = home
        self.label = f"the thread of {home.life.label}"

    def renew(self) -> None:
        """Never restarted: each thread has a floor of its own."""

    def first_set_up(self) -> None:
        """Nothing to do."""

    def needs(self) -> Sequence[Sequence[Life]]:
        """Return nothing: the life has its own."""
        return ()

    async def set_up(self) -> None:
        """Start the life that the thread is for."""
        await self._home.start_life()

    def work(self) -> Sequence[Task[Any]]:
        """Return what watches the life."""
        return [Task(self._home.watch_life, f"{self.label}: watch_life", finite=False)]

    def ready(self) -> None:
        """Nothing to do."""

    async def tear_down(self) -> None:
        """Wait until it is this thread's turn to stop."""
        await self._home.until_turn()

    def hold(self) -> None:
        """Nothing to do."""

    def farewell(self) -> None:
        """Nothing to do."""

    def on_failure(self, exc: BaseException, origin: str, fate: Fate) -> None:
        """Tell the unit that people know."""
        self._home.life.unit.on_failure(exc, origin, fate)

    def on_child_failed(self, child: Unit, exc: BaseException) -> bool:
        """Leave it to those above; what went wrong in a stop that nobody waits for here is for them alone."""
        if self._home.start_was_called_off:
            return True  # they learn at the end what went wrong while it was undone
        if not self._home.has_ended_uncrashed:
            return False
        self._home.pass_up_crash(exc)
        return True

    def on_child_ended(self, child: Unit) -> None:
        """What watches the life knows."""

    def on_child_released(self, child: Unit) -> None:
        """Never: the life stays where it is."""


class _Tenancy(Outermost):
    """The owner of the floor: the thread, and whoever owns that."""

    accepts = True
    is_border = True

    def __init__(self, group: anyio.abc.TaskGroup, home: ThreadHome) -> None:
        self._group = group
        self._home = home

    def spawn(
        self, function: Callable[[], Coroutine[Any, Any, None]], name: str
    ) -> anyio.TaskHandle[None]:
        """Begin the floor's task."""
        return self._group.start_soon(function, name=name)

    def crashed(self, run: Run, exc: BaseException) -> None:
        """Pass the failure on to the owner's end, who waits for the stop, and will be told there what goes wrong in it."""
        if run.state.alive:
            self._home.pass_up_crash(exc)


class ThreadHome:
    """One thread for one run of a life, and the two ends of what passes between it and its owner.

    To be made in the owner's event loop.

    Args:
        outside: The life that the owner's tree knows.
        life: The life that is to run in the thread.
        options: The arguments of `anyio.run`.
        restarting: Whether the run takes the place of a former one.
    """

    def __init__(
        self, outside: Life, life: Life, options: dict[str, Any], *, restarting: bool
    ) -> None:
        self.life = life
        #: The thread, once it has been begun.
        self.thread: threading.Thread | None = None
        #: The event loop of the thread, while it runs.
        self.token: anyio.lowlevel.EventLoopToken | None = None
        #: The event loop of asyncio that runs in the thread, if it is one.
        self.native_loop: Any = None
        #: Answered when the start inside is over; with an error if it failed.
        self.started: Reply[None] = Reply()
        #: What came from inside, and has been told there.
        self.told_inside: list[BaseException] = []
        #: Called in the thread when a message from outside has arrived.
        self.on_wakeup: Callable[[], object] = lambda: None
        self._outside = outside
        self._options = options
        self._restarting = restarting
        self._context: Context = copy_context()
        self._runner = runner_for_thread()
        # Answered when the event loop of the thread is over, or if it is known that it never will be.
        self._over: Reply[Sequence[StuckTask]] = Reply()
        # Who asks whether there is any work, and has no answer yet.
        self._asked: dict[Reply[bool], None] = {}
        self._up = Mailbox(life.label, outlasts=True)
        self._lock = threading.Lock()
        self._down: Mailbox | None = None
        self._stop_asked = False
        # Set when it is this thread's turn to stop.
        self._turn = Flag()
        # Whether the stop inside may be completed.
        self._permitted = False
        self._floor = Life(_Floor(self))
        self._passed_down: list[tuple[str, BaseException]] = []
        self._former = life.run
        self._failure: BaseException | None = None
        self._owner_waits_for_start = True

    @property
    def alive(self) -> bool:
        """Whether the thread exists."""
        return self.thread is not None and self.thread.is_alive()

    # -- Outside: in the owner's loop

    def begin(self, thread: threading.Thread) -> None:
        """Start the thread, which is to call `serve`."""
        self.thread = thread
        try:
            thread.start()
        except BaseException:
            self.thread = None
            raise
        self._runner.begun(thread)

    async def attend(self) -> None:
        """Do what is asked for from inside; a task of the unit outside.

        It is the last to know: of a start that was called off, it tells what went wrong while that was undone.
        """
        try:
            while True:
                call = self._up.take()
                if call is None:
                    await self._up.until_news()
                else:
                    await call.perform()
        finally:
            if self.start_was_called_off:
                self._raise_failure()

    async def pass_down_afflictions(self) -> None:
        """Tell those inside of failures above; a task of the unit outside."""
        while True:
            await self._outside.current.afflicted.wait()
            self._tell_afflictions()

    def _tell_afflictions(self) -> None:
        run = self._outside.current
        alarm = self._if_news("alarm", run.alarm)
        crash = self._if_news("crash", run.crash_spread)
        if alarm is not None or crash is not None:
            self._send_down(partial(self._afflict, alarm, crash))

    def _if_news(self, what: str, exc: BaseException | None) -> BaseException | None:
        if exc is None or self.has_told(exc):
            return None
        if any(what == kind and exc is passed for kind, passed in self._passed_down):
            return None
        self._passed_down.append((what, exc))
        return exc

    def has_told(self, exc: BaseException) -> bool:
        """Whether a failure came from inside, where it has been told of."""
        return any(exc is told for told in self.told_inside)

    async def until_idle(self) -> bool:
        """Wait until what comes to an end by itself inside has done so; returns whether there was any."""
        if not self.started.done():
            await self.started.until_answered()
            return True
        reply: Reply[bool] = Reply()
        # Before it is sent: if the thread ends meanwhile, or is given up, what is found here is answered.
        self._asked[reply] = None
        try:
            if not self._send_down(partial(self._answer_when_idle, reply)):
                reply.give(False)
            await reply.until_answered()
        finally:
            self._asked.pop(reply, None)
        return reply.result()

    def _answer_whom_it_concerns(self) -> None:
        """Have nobody wait in vain for what only the thread could have told."""
        for reply in tuple(self._asked):
            reply.give(False)
        self.started.fail(self._failure or StartAborted(self.life.label))

    async def until_started(self) -> None:
        """Wait for the start inside.

        Raises:
            BaseException: What made it fail, as it was raised.
        """
        await self.started.until_answered()
        self.started.result()

    def do_not_wait_for_start(self) -> None:
        """Have a start that fails be a crash."""
        self._owner_waits_for_start = False

    async def end(self, label: str, subject: object, timeout: float) -> None:
        """Have all inside stop, and wait for the end of the thread.

        If the caller is cancelled, those inside are hurried, and the wait is short.

        Args:
            label: Who stops, in the error.
            subject: About whom the event of being overdue is.
            timeout: The seconds that the stop may take.

        Raises:
            ShutdownTimeout: If the thread has been given up.
            BaseException: What went wrong inside.
        """
        cancelled = await self._end(label, subject, timeout)
        self._raise_failure()
        if cancelled is not None:
            raise cancelled

    async def _end(
        self, label: str, subject: object, timeout: float, run: Run | None = None
    ) -> BaseException | None:
        """Do so; returns the cancellation that has come meanwhile, for the caller to pass on.

        If `run` is given, its hard cancel hurries what is inside.
        """
        if self.thread is None:
            return None
        with self._lock:
            self._stop_asked = True
        self._tell_afflictions()  # before the turn: in a crash that is the order for those inside as for all
        self._send_down(self._take_turn)
        cancelled: BaseException | None = None
        hurried = False
        try:
            with anyio.move_on_after(timeout + _PATIENCE) as patience:

                def hurry() -> None:
                    nonlocal hurried
                    hurried = True
                    patience.cancel()

                if run is not None:
                    run.when_killed = hurry
                    if run.killed:
                        hurry()
                await self._until_over()
        except anyio.get_cancelled_exc_class() as exc:  # noqa: ASYNC103 - passed on below
            cancelled = exc
        if run is not None:
            run.when_killed = None
        if self.alive and (cancelled is not None or hurried):
            self._send_down(self._floor.kill)
            with anyio.move_on_after(GRACE, shield=True):
                await self._until_over()
        if self.alive:
            raise self._give_up(label, subject, timeout)
        self._hand_over_failures()
        return cancelled

    def _hand_over_failures(self) -> None:
        """Have the owner keep all that went wrong inside; but a start that was called off ends as such."""
        run = self.life.run
        if run is None or run is self._former or isinstance(run.start_error, StartAborted):
            return
        self._outside.current.take_up(run)

    async def undo(self, label: str, subject: object, timeout: float) -> None:
        """As `end`, for a start that has failed or was called off; what made it fail is known, and not raised again.

        Raises:
            ShutdownTimeout: If the thread has been given up.
        """
        with anyio.CancelScope(shield=True):
            # A hard cancel from above does not come through the shield: those above must not have to wait for us.
            await self._end(label, subject, timeout, self._outside.current)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _until_over(self) -> None:
        await self._over.until_answered()
        thread = self.thread
        if self._over.result() or thread is None:
            return
        # It has nothing left to do but to return, and has its turn for that while it is waited for here...
        thread.join(_LAST_MOMENT)
        if thread.is_alive():
            # ...unless somebody has added to what a thread does last. What waits for it then is a thread that lives on.
            limiter = anyio.CapacityLimiter(1)
            await anyio.to_thread.run_sync(thread.join, abandon_on_cancel=True, limiter=limiter)

    def _give_up(self, label: str, subject: object, timeout: float) -> ShutdownTimeout:
        thread = self.thread
        name, ident = (thread.name, thread.ident) if thread is not None else ("", None)
        stuck = [StuckTask(label, f"thread {name}", stack_of_thread(ident))]
        if self._over.done():
            stuck += self._over.result()
        close_boxes(ident or 0, f"its thread {name} hangs, and has been given up")
        self._answer_whom_it_concerns()
        emit(StopOverdue, subject, tuple(stuck))
        return ShutdownTimeout(label, timeout, stuck)

    def _send_down(self, message: Callable[[], object]) -> bool:
        with self._lock:
            down = self._down
        return down is not None and down.post(_told(message))

    def fail_inside(self, exc: BaseException, origin: str) -> bool:
        """Tell what is inside of a failure; returns False if it is over."""
        return self._send_down(partial(self.life.fail, exc, origin))

    def set_permission(self) -> None:
        """Allow the stop inside to be completed, also if there is no run inside yet."""
        self._permitted = True
        self._send_down(self._permit)

    # -- Inside: in the thread

    def serve(self) -> None:
        """Run the event loop; what the thread does. Never raises."""
        Context().run(self._runner.serve, self._serve)

    def _serve(self) -> None:
        try:
            self._runner.run(self._main, self._options)
        except BaseException as exc:  # noqa: ASYNC103 - handed over to the owner
            self._fail(exc)
        finally:
            with self._lock:
                self._down = None
            close_boxes(threading.get_ident(), "its thread has ended")
            self._answer_whom_it_concerns()
            self._over.give(())
            if self._floor.current.was_up and not self._stop_asked:
                self.ask_owner(self._stop_outside)

    def _fail(self, exc: BaseException) -> None:
        """The event loop itself has failed, or could not be made: nobody inside can tell of it."""
        failures = [exc] if self._failure is None else [self._failure, exc]
        self._failure = failures[0]
        if self.started.done() or not self._owner_waits_for_start:
            for failure in failures:  # what came first is to be known first
                self.ask_owner(partial(self._fail_outside, failure))

    async def _main(self) -> None:
        adopt(self._context)
        enter_run(None)
        down = Mailbox(self.life.label, outlasts=True)
        with self._lock:
            self._down = down
            stop_asked = self._stop_asked
        self.token = token_here()
        self.native_loop = None if on_trio() else running_asyncio_loop()
        self.on_wakeup()
        try:
            async with anyio.create_task_group() as group:
                porter = group.start_soon(self._carry, down, name="porter")
                if not stop_asked:
                    await self._run_floor(_Tenancy(group, self))
                porter.cancel()
        finally:
            self.token = self.native_loop = None

    async def _carry(self, down: Mailbox) -> None:
        """Take what is sent down."""
        try:
            while True:
                call = down.take()
                if call is None:
                    await down.until_news()
                else:
                    self.on_wakeup()
                    await call.perform()
        finally:  # if somebody ends this, nothing from outside would arrive any more
            self._take_turn()

    async def _run_floor(self, tenancy: _Tenancy) -> None:
        try:
            await self._floor.start_in(tenancy)
        except BaseException as exc:  # noqa: ASYNC103 - handed over to the owner
            self._start_failed(without_cancellation(exc) or StartAborted(self.life.label))
            return  # noqa: ASYNC104 - this is the end of the event loop
        self.started.give(None)
        run = self._floor.current
        await through(run.unwound)
        if not run.finished.is_set():
            self._over.give(run.stuck())
            await through(run.finished)
        self._fails_at_its_end(run.stop_error)  # who is to know of a crash has been told

    async def watch_life(self) -> None:
        """If the life ends by itself, tell the owner, who has nothing left to hold."""
        run = self.life.run
        if run is None:  # pragma: no cover - it has been started
            return
        await run.finished.wait()
        if not self._floor.current.stop_requested:
            self.ask_owner(self._stop_outside)

    async def _fail_outside(self, failure: BaseException) -> None:
        """Crash the unit outside, which has not waited for the start in the thread."""
        await self._outside.current.settled.wait()
        self._outside.fail(failure, self.life.label)

    async def _stop_outside(self) -> None:
        """Stop the unit outside, which may not know yet that all has started."""
        await self._outside.current.settled.wait()
        self._outside.current.request_stop()

    def _start_failed(self, failure: BaseException) -> None:
        if isinstance(failure, StartAborted):
            self._fails_at_its_end(self.life.run.stop_error if self.life.run is not None else None)
            self.tell_owner(self._outside.current.request_stop)
        else:
            self._failure = failure
            if not self._owner_waits_for_start:
                self.ask_owner(partial(self._fail_outside, failure))
        self.started.fail(failure)

    def _fails_at_its_end(self, failure: BaseException | None) -> None:
        """Raise a failure, which has been told of inside, where the end is waited for."""
        self._failure = failure
        if failure is not None:
            self.told_inside.append(failure)

    async def start_life(self) -> None:
        """Start what the thread is for, on its floor."""
        if self._permitted:
            self.life.upcoming.permission.set()
        await self.life.start_in(host_in(self._floor.current), restarting=self._restarting)

    @property
    def has_ended_uncrashed(self) -> bool:
        """Whether the life has come to an end that was asked for."""
        run = self.life.run
        return run is not None and run.was_up and not run.state.alive and run.crash_reason is None

    @property
    def start_was_called_off(self) -> bool:
        """Whether the life was told to stop before it had started."""
        return self.life.run is not None and isinstance(self.life.run.start_error, StartAborted)

    async def until_turn(self) -> None:
        """Wait until the owner has said that it is this thread's turn to stop."""
        floor = self._floor.current
        if not floor.was_up:  # a start is undone at once
            return
        by_itself = not self._turn.is_set() and floor.crash_reason is None
        if by_itself:  # somebody has cancelled all tasks
            self.ask_owner(self._stop_outside)
        await self._turn.wait()

    def pass_up_crash(self, exc: BaseException) -> None:
        """Tell the owner that something inside has failed."""
        self.told_inside.append(exc)
        self.tell_owner(partial(self._outside.fail, exc, self.life.label))

    def tell_owner(self, message: Callable[[], object]) -> None:
        """Have the owner's end do something at once, before whatever it is told or asked later, or learns from an answer.

        If its event loop is over, nobody is left to wait for.
        """
        if not self._up.ring(message):
            self._turn.set()

    def ask_owner(self, message: Callable[[], Awaitable[object]]) -> None:
        """As `tell_owner`, for what may take a while."""
        if not self._up.post(_told(message)):
            self._turn.set()

    # What is sent down

    def _answer_when_idle(self, reply: Reply[bool]) -> None:
        run = self.life.run
        if run is None or not self._floor.current.accepts:
            reply.give(False)
            return
        work = partial(self._watch_work, run, reply)
        self._floor.current.spawn(Task(work, f"{self._floor.label}: work", finite=False))

    @staticmethod
    async def _watch_work(run: Run, reply: Reply[bool]) -> None:
        try:
            was_busy = await work_done(run)
        except BaseException:
            reply.give(True)  # as the thread stops, which is to be waited for
            raise
        reply.give(was_busy)

    def _take_turn(self) -> None:
        self._turn.set()
        self._floor.request_stop()

    def _permit(self) -> None:
        run = self.life.run
        # One that is still to come gets it as it begins.
        if run is not None and run is not self._former:  # pragma: no branch - as luck has it
            run.permission.set()

    def _afflict(self, alarm: BaseException | None, crash: BaseException | None) -> None:
        floor = self._floor.current
        if crash is not None:
            floor.spread_crash(crash)
        if alarm is not None:
            floor.spread_alarm(alarm)
