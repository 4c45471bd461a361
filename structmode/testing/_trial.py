"""One run of a scenario, with one thing that goes wrong, and what is to be said of it afterwards.

What is asked of a run:

- the laws (`_laws`), of all services that the witness has seen;
- no task, thread or coroutine is left;
- an exception that was put in comes out: as it was raised, or in the log if nobody was there to receive it; and no other
  exception does, but those that the scenario expects;
- it has come to an end.

A program may have event loops in threads (`_relay`). Then there are moments in each of them, and a *place* in each for calls
that come from elsewhere.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterator,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, Literal, cast

import anyio
import anyio.abc

from structmode import _engine as engine

from ._clock import VirtualClock, virtual_backend
from ._faults import Fault, InjectedError, Moment, Ownership, Scenario
from ._laws import breaches
from ._leaks import tasks_left
from ._relay import Setting
from ._taps import GO_ON, Answer, tapped_tasks
from ._threads import WORKERS
from ._witness import Witness

__all__ = ("Trial",)

# Whether the code belongs to this kit, and not to the program that is disturbed.
_ours: ContextVar[bool] = ContextVar("structmode_testing_ours", default=False)

# For how many passes of the event loop a task is held back, so that another one makes its first step before.
_FIRST = 2
# When each trial begins, in seconds: then all sums of times are the same, to the last bit.
_BEGINNING = 1024.0
# How long a call from elsewhere may last that is made in the event loop of a thread, when that has nothing else to do.
_GRACE = 1.0
# How long a thread that has nothing left to do may take to end, in seconds of real time.
_THREAD_PATIENCE = 1.0
# The states of a service that has something to stop.
_ALIVE = frozenset({"starting", "running", "stopping", "restarting"})


class Trial:
    """One run of a scenario, in which at most one thing goes wrong.

    Args:
        scenario: The program.
        ownership: How its service is owned.
        fault: What is to go wrong, if anything.
        position: At which moment, counted from 1.

    Attributes:
        moments: How many moments there were.
        struck: Whether the fault applied to its moment.
        where: The stack of the task that was about to be resumed.
        seed: What settled the order of tasks and of turns.
        witness: What happened to the services.
    """

    def __init__(
        self,
        scenario: Scenario,
        ownership: Ownership,
        fault: Fault | None = None,
        position: int = 0,
    ) -> None:
        self.scenario = scenario
        self.ownership = ownership
        self.fault = fault
        self.position = position
        self.moments = 0
        self.struck = False
        self.where = ""
        self.witness = Witness(scenario.kinds)
        self.root: Any = None
        self.scope: anyio.CancelScope
        self._over = False
        self._abandoned = False
        self._put: InjectedError | None = None
        self._must_come_out = False
        # What came out of the program, and what of the calls that came from elsewhere.
        self._out: list[BaseException] = []
        self._out_of_calls: list[BaseException] = []
        self._left: list[str] = []
        self.seed = 0
        self._clock: VirtualClock
        self._place: _Place
        # Those of the threads, by their event loops.
        self._places: dict[object, _Place] = {}
        self._program: anyio.abc.TaskGroup

    def run(self, backend: Literal["asyncio", "trio"], seed: int) -> list[str]:
        """Run it in an event loop of its own; returns what was wrong with it, as text."""
        threads = set(threading.enumerate())
        self.seed = seed
        self._clock = VirtualClock()
        self._clock._setting = Setting(
            begins_at=_BEGINNING, seed=seed, strict=True, around=self._in_thread
        )
        with warnings.catch_warnings(record=True) as warned, _logging() as log:
            warnings.simplefilter("always")
            with self.witness.listening():
                failure = self._run_loop(backend)
        return [
            *([f"the program did not end well: {failure!r}"] if failure else []),
            *self._left,
            *breaches(self.witness),
            *self._misdirected(log),
            *self._dropped(warned),
            *(f"left behind: thread {name}" for name in _threads_left(threads)),
        ]

    def _run_loop(self, backend: Literal["asyncio", "trio"]) -> Exception | None:
        try:
            anyio.run(self._main, **virtual_backend(backend))
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is told of
            return exc
        return None

    # -- In the event loop

    async def _main(self) -> None:
        before = {task.id for task in anyio.get_running_tasks()}
        self.scope = anyio.CancelScope()
        _ours.set(True)
        with self._clock:
            async with anyio.create_task_group() as calls:
                self._place = _Place(calls)
                limit = calls.start_soon(self._give_up)
                with tapped_tasks(self._say, seed=self.seed):
                    async with anyio.create_task_group() as self._program:
                        self._program.start_soon(self._play)
                self._over = True
                limit.cancel()
            while self.root.state in _ALIVE and not self._abandoned:  # a late restart
                await self._noting_what_comes_out(self.root.stop)
            self.witness.note("the program has ended")
            self._clock._is_left_to_loop = self._abandoned
        if not self._abandoned:
            self._left += [f"left behind: {left}" for left in await tasks_left(before)]

    @asynccontextmanager
    async def _in_thread(self) -> AsyncGenerator[None]:
        """Tap the tasks of the event loop of a thread."""
        before = {task.id for task in anyio.get_running_tasks()}
        here = engine.token_here()
        async with anyio.create_task_group() as calls:
            self._places[here] = _Place(calls)
            with tapped_tasks(self._say, seed=self.seed):
                yield
            del self._places[here]
            calls.cancel_scope.deadline = anyio.current_time() + _GRACE
        if calls.cancel_scope.cancelled_caught:
            self._left.append("a call that was made in a thread had not ended when all else had")
        self._left += [f"left behind: {left}" for left in await tasks_left(before)]

    async def _play(self) -> None:
        _ours.set(False)
        self.root = self.scenario.make()
        with self.scope:
            await self._noting_what_comes_out(
                self._in_block if self.ownership == "block" else self._bare
            )
        if self.ownership == "bare" and not self._abandoned:
            await self._noting_what_comes_out(self.root.stop)

    async def _give_up(self) -> None:
        await anyio.sleep(self.scenario.limit)
        tasks = self._clock._relay.describe()
        self._left.append(f"has not ended after {self.scenario.limit:g} s:\n{tasks}")
        self._program.cancel_scope.cancel()

    async def _in_block(self) -> None:
        async with self.root:
            await self.scenario.use(self.root)

    async def _bare(self) -> None:
        await self.root.start()
        await self.scenario.use(self.root)

    async def _call(self, function: Callable[[], Awaitable[object]]) -> None:
        await self._noting(function, self._out_of_calls)

    async def _noting_what_comes_out(self, function: Callable[[], Awaitable[object]]) -> None:
        await self._noting(function, self._out)

    async def _noting(
        self, function: Callable[[], Awaitable[object]], out: list[BaseException]
    ) -> None:
        try:
            await function()
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as exc:  # noqa: BLE001 - whatever it is, it is looked at
            self.witness.note(f"comes out: {exc!r}")
            out += _leaves_of(exc)

    # -- What goes wrong

    def _say(self, coroutine: Coroutine[Any, Any, Any], has_failed: bool) -> Answer:
        if _ours.get() or self._over:
            return GO_ON
        self.moments += 1
        if self.fault is None or self.moments != self.position:
            return GO_ON
        self.where = engine.stack_of(coroutine)
        answer = self.fault.strike(Moment(self, coroutine, has_failed=has_failed))
        if answer is None:
            return GO_ON
        self.struck = True
        self.witness.note(f"moment {self.position}: {self.fault.name}")
        return answer

    def call(self, function: Callable[[], Awaitable[object]], *, here: bool) -> Answer:
        """Call something from another task, which is nobody's in particular."""
        place = self._places.get(engine.token_here(), self._place) if here else self._place
        begun: list[bool] = []

        async def make() -> None:
            begun.append(True)
            await self._call(function)

        return self._do_first(partial(place.begin, make), place, begun)

    def cancel_owner(self) -> Answer:
        """Cancel whoever owns the service, or called it."""
        done: list[bool] = []

        def cancel() -> None:
            self.scope.cancel()
            done.append(True)

        return self._do_first(cancel, self._place, done)

    def _do_first(
        self, function: Callable[[], object], place: _Place, done: Sequence[bool]
    ) -> Answer:
        """Call a function in a place, and hold the present task back until something is done."""
        if place.is_here:
            function()
            return Answer(passes=0 if done else _FIRST)
        place.ring(function)
        relay = self._clock._relay

        def until() -> bool:
            if not done and not relay.over:
                relay.give_way_to(relay.founder)
            return bool(done) or relay.over

        return Answer(until=until)

    def put_in(self, error: InjectedError, *, taken: bool) -> None:
        """Remember an exception that was put in; if something has taken it, it must leave the block that owns that."""
        self._put = error
        self._must_come_out = taken and self.ownership == "block"

    def abandon(self) -> Answer:
        """End the event loop run, and leave all as it is."""
        self._abandoned = True
        self.witness.order_of_contexts_is_lost = self._place.is_on_asyncio
        return self.cancel_owner()

    # -- What is to be said of it

    def _misdirected(self, log: _Log) -> Iterator[str]:
        put = self._put
        for exc in (*self._out, *self._out_of_calls):
            if exc is not put and not isinstance(exc, self.scenario.expected):
                yield f"came out, and nobody put it in: {exc!r}"
        if put is None or self.scenario.handles(put):
            return
        if any(_leads_to(exc, put) for exc in (*self._out, *self._out_of_calls)):
            return
        if self._must_come_out and not self._out:  # else it came later than what came out
            yield f"did not come out: {put!r}"
        elif not log.tells_of(put):
            yield f"neither came out nor was logged: {put!r}"

    def _dropped(self, warned: list[warnings.WarningMessage]) -> Iterator[str]:
        for warning in warned:
            if not (self._abandoned and warning.category is ResourceWarning):
                yield f"warning: {warning.message}"


class _Place:
    """Where calls come from that are nobody's in particular: in one event loop, in which it must be made.

    Args:
        calls: Where they run.
    """

    def __init__(self, calls: anyio.abc.TaskGroup) -> None:
        self.is_on_asyncio = not engine.on_trio()
        self._calls = calls
        self._token = engine.token_here()
        self._outside = copy_context()
        self._outside.run(_ours.set, True)
        #: Has the loop call something soon, from any thread.
        self.ring = engine.signal_safe_caller()

    @property
    def is_here(self) -> bool:
        """Whether its event loop is that of the caller."""
        return self._token == engine.token_here()

    def begin(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Call something; in the place's event loop."""
        self._outside.copy().run(self._begin, function)

    def _begin(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        _ = self._calls.start_soon(function)


class _Log(logging.Handler):
    """Keeps what is logged as a warning or worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)

    def tells_of(self, error: BaseException) -> bool:
        """Whether an exception was logged, by itself or as text."""
        return any(
            str(error) in record.getMessage()
            or (record.exc_info is not None and _leads_to(record.exc_info[1], error))
            for record in self._records
        )


@contextmanager
def _logging() -> Generator[_Log]:
    """Keep what is logged from all other handlers: a thousand runs would drown whoever reads it."""
    root, log = logging.getLogger(), _Log()
    others = root.handlers
    root.handlers = [log]
    try:
        yield log
    finally:
        root.handlers = others


def _leads_to(exc: BaseException | None, error: BaseException) -> bool:
    """Whether an exception is `error`, or was raised in the course of handling it: whoever reads its traceback sees both."""
    seen: set[BaseException] = set()
    while exc is not None and exc not in seen:
        if exc is error:
            return True
        seen.add(exc)
        exc = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    return False


def _leaves_of(exc: BaseException) -> list[BaseException]:
    """Return what is in a group of exceptions: a task group of the program's own makes one."""
    if not isinstance(exc, BaseExceptionGroup):
        return [exc]
    group = cast("BaseExceptionGroup[BaseException]", exc)
    return [leaf for one in group.exceptions for leaf in _leaves_of(one)]


def _threads_left(before: set[threading.Thread]) -> list[str]:
    left = [
        thread
        for thread in threading.enumerate()
        if thread not in before and not thread.name.startswith(WORKERS)
    ]
    for thread in left:
        thread.join(_THREAD_PATIENCE)
    return [thread.name for thread in left if thread.is_alive()]
