"""What passes between event loops: calls one way, answers the other.

Theory: nothing that belongs to an event loop may be touched from another thread, but for one thing, to have it call a
function soon. And even that may come too late: a loop that is about to close takes the request, and never gets to it. So
whoever waits for an answer from another loop must not rely on the loop alone. Here each loop that takes calls has a
`Mailbox`, guarded by a lock that is held for an instant. A letter is either refused at once, because the box is closed; or
it is in the box, and whoever closes the box answers it. An answer (`Reply`) is given once, by whoever comes first, and wakes
who waits for it, in the loop where it was asked for. So there is no moment at which a question can get lost, and no
thread ever waits for another while its loop has something to do.

A call is cancelled where it is done. Who has made it waits for its end also then: what was begun for somebody is over when
he goes on. It is done in a task of its own, with the context variables of who has made it; what it calls in turn, there or
in a third loop and back, belongs to it, and needs no turn of its own.
"""

from __future__ import annotations

import inspect
import math
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from typing import Any, Generic, TypeVar
from weakref import WeakSet

import anyio
import anyio.abc

from structmode.exceptions import CallAborted

from ._backend import signal_safe_caller
from ._callers import belongs_to_the_engine
from ._cancellation import as_failure, through
from ._flag import Flag

T = TypeVar("T")

# Says which library runs the loop; known by its name, as sniffio need not be installed.
_SNIFFIO = "current_async_library_cvar"

# The calls on whose behalf the present code runs, each with those that it was made by.
_served: ContextVar[tuple[Call, ...]] = ContextVar("structmode_served", default=())


def in_call() -> bool:
    """Whether the calling code does what somebody else has called for, and waits for."""
    return any(call.active for call in _served.get())


def adopt(context: Context) -> None:
    """Take over the context variables of somebody else, but for those that say where the code itself runs."""
    for variable, value in context.items():
        if not belongs_to_the_engine(variable) and variable.name != _SNIFFIO:
            variable.set(value)


class Reply(Generic[T]):
    """One answer from elsewhere: given once, in any thread; awaited in the event loop in which it was made.

    If who awaits it is cancelled, the work is told, and its end is waited for before the cancellation goes on.
    """

    def __init__(self) -> None:
        self._ring = signal_safe_caller()
        self._lock = threading.Lock()
        self._answered = False
        self._value: T
        self._error: BaseException | None = None
        #: Set in the event loop in which it was made, when it has been given.
        self.arrived = Flag()
        #: Told, in whatever thread, when it has been answered.
        self.on_answer: Callable[[], object] = _nothing
        #: Has the work cancelled for which this is the answer.
        self.cancel: Callable[[], object] = _nothing

    def __await__(self) -> Generator[Any, Any, T]:
        return self.receive().__await__()

    def done(self) -> bool:
        """Whether it has been given."""
        return self._answered

    def give(self, value: T) -> None:
        """Answer with a value, unless there is an answer already."""
        self._answer(value, None)

    def fail(self, error: BaseException) -> None:
        """Answer with an error, unless there is an answer already."""
        self._answer(None, error)

    def _answer(self, value: Any, error: BaseException | None) -> None:
        with self._lock:
            if self._answered:
                return
            self._value, self._error = value, error
            self._answered = True
        self.on_answer()
        self._deliver()

    def _deliver(self) -> None:
        with suppress(RuntimeError):  # that event loop is over, and with it whoever waited
            self._ring(self.arrived.set)

    async def until_answered(self) -> None:
        """Wait until there is an answer, of whatever kind; being cancelled meanwhile changes nothing about it.

        Whoever makes time virtual knows by this that a task waits for another thread.
        """
        await self.arrived.wait()

    async def receive(self) -> T:
        """Wait for the answer; a value that is there although the work was cancelled is not thrown away.

        Raises:
            BaseException: The error, if it is one.
        """
        try:
            await self.until_answered()
        except BaseException:
            self.cancel()
            # A scope that is cancelled goes on cancelling; who cancels a task of asyncio does so once.
            once_more = anyio.current_effective_deadline() == -math.inf
            came_through = await through(self.arrived)  # noqa: ASYNC102 - the wait shields itself
            if self._error is not None and not isinstance(self._error, CallAborted):
                raise self._error from None  # noqa: ASYNC104 - it says more than that the work was cancelled
            if self._error is None and once_more and came_through is None:
                return self._value  # noqa: ASYNC104 - the cancellation comes again, at the next checkpoint
            raise
        return self.result()

    def result(self) -> T:
        """Return the answer, or raise it, if it is an error."""
        if self._error is not None:
            raise self._error
        return self._value


def _nothing() -> None:
    """Do nothing."""


class Call:
    """Something to be done in another event loop.

    Args:
        name: How it is called in reports.
        function: What to call there. If that gives an awaitable, it is awaited.
        reply: Who is told of the outcome; if nobody is, a failure leaves `perform`.
    """

    def __init__(
        self, name: str, function: Callable[[], object], reply: Reply[Any] | None
    ) -> None:
        self.name = name
        self._function = function
        self._reply = reply
        self._context = copy_context()
        self._made_by = _served.get()
        self._group: anyio.abc.TaskGroup | None = None
        # How many tasks of the group have not come to their end; after the last, the group takes no more.
        self._parts = 0
        self._cancelled = False
        self._failure: BaseException | None = None
        #: Where it is done.
        self.place: object = None
        #: The call that is to begin before this one.
        self.after: Call | None = None
        self._begun = Flag()

    def served_at(self, place: object) -> Call | None:
        """The call which is being done at `place` and on whose behalf this one was made, if there is one."""
        return next((call for call in self._made_by if call.place is place and call.active), None)

    @property
    def active(self) -> bool:
        """Whether it is being done now, so that others can be done as parts of it."""
        return self._parts > 0

    def cancel(self) -> None:
        """Cancel it, in the loop where it is done; if it has not begun, it never will."""
        self._cancelled = True
        if self._group is not None:
            self._group.cancel_scope.cancel()

    def refuse(self, problem: str) -> None:
        """Give it up, from whatever thread: nobody will do it, or end it."""
        if self._reply is not None:
            self._reply.fail(CallAborted(self.name, problem))

    async def perform(self) -> None:
        """Do it, in a task of its own; returns when that has ended.

        Raises:
            BaseException: What it raised, if nobody waits for its outcome.
        """
        try:
            if not self._cancelled:
                await self._in_group()
        finally:
            self._begun.set()
            self.refuse("it was cancelled there")
        if self._failure is not None:
            raise self._failure

    async def _in_group(self) -> None:
        try:
            async with anyio.create_task_group() as self._group:
                self._begin_part(self._work, self.name)
        finally:
            self._group, self._parts = None, 0

    def _begin_part(self, part: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        async def count_and_do() -> None:
            try:
                await part()
            finally:
                self._parts -= 1

        if self._group is not None:  # pragma: no branch - its parts begin while it is active
            self._parts += 1
            self._group.start_soon(count_and_do, name=name)

    def perform_within(self, outer: Call) -> None:
        """Do it at once, as a part of another call, which is active, and waits for it."""
        self.place = outer.place

        async def part() -> None:
            try:
                await self.perform()
            except Exception as exc:  # a cast: its failure is that of the call which made it
                outer._fail(exc)

        outer._begin_part(part, self.name)

    async def _work(self) -> None:
        adopt(self._context)
        _served.set((*self._made_by, self))
        try:
            before, self.after = self.after, None
            if (
                before is not None
            ):  # what is begun at the same time may run in any order, as on trio
                await before._begun.wait()
            self._begun.set()
            result = self._function()
            if inspect.isawaitable(result):
                result = await result
        except BaseException as exc:  # noqa: ASYNC103 - handed over to who has called
            failure = as_failure(exc, self.name)
            if failure is None:
                raise
            self._fail(failure)
        else:
            if self._reply is not None:
                self._reply.give(result)

    def _fail(self, failure: BaseException) -> None:
        if self._reply is not None:
            self._reply.fail(failure)
        elif self._failure is None:
            self._failure = failure


# The boxes of each thread, by the number of the thread.
_boxes: dict[int, WeakSet[Mailbox]] = {}


class Mailbox:
    """Takes the calls that others make into one event loop; must be made there.

    Args:
        label: Whose it is, in errors.
        outlasts: Whether it stays open when its thread is given up, in case that comes back.
    """

    def __init__(self, label: str, *, outlasts: bool = False) -> None:
        self.label = label
        self._ring = signal_safe_caller()
        # What is called soon would else run in the context of the thread that has asked for it.
        self._context = copy_context()
        self._lock = threading.Lock()
        self._calls: deque[Call] = deque()
        # Those made on behalf of a call that is being done here: they need no turn.
        self._nested: deque[Call] = deque()
        self._unanswered: dict[Reply[Any], None] = {}
        self._last: Call | None = None
        self._shut = False
        self._news = Flag()
        if not outlasts:
            _boxes.setdefault(threading.get_ident(), WeakSet()).add(self)

    def post(self, call: Call, reply: Reply[Any] | None = None) -> bool:
        """Put a call into the box, from any thread; returns False if it takes no more."""
        nested = call.served_at(self) is not None
        with self._lock:
            if self._shut and not nested:
                return False
            (self._nested if nested else self._calls).append(call)
            if reply is not None:
                self._unanswered[reply] = None
                reply.on_answer = lambda: self._forget(reply)
                reply.cancel = lambda: self.ring(lambda: self._cancel(call))
        return self.ring(self._announce) or not self._pull(call)

    def ring(self, function: Callable[[], object]) -> bool:
        """Have the loop call something soon, from any thread; returns False if it is over."""
        try:
            self._ring(lambda: self._context.copy().run(function))
        except RuntimeError:
            return False
        return True

    def _forget(self, reply: Reply[Any]) -> None:
        with self._lock:
            self._unanswered.pop(reply, None)

    def _pull(self, call: Call) -> bool:
        """Take a call out again; returns False if it is not here any more."""
        with self._lock:
            for calls in (self._calls, self._nested):
                if call in calls:
                    calls.remove(call)
                    return True
        return False

    def _cancel(self, call: Call) -> None:
        if self._pull(call):
            call.refuse("it was cancelled before its turn")
        else:
            call.cancel()

    def _announce(self) -> None:
        while (call := self._take_from(self._nested)) is not None:
            outer = call.served_at(self)
            if outer is not None:
                call.perform_within(outer)
            else:  # what has made it did not wait for it, and is over
                with self._lock:
                    self._calls.append(call)
        news, self._news = self._news, Flag()
        news.set()

    def _take_from(self, calls: deque[Call]) -> Call | None:
        with self._lock:
            return calls.popleft() if calls else None

    def take(self) -> Call | None:
        """Take the call that has waited longest, if there is one; in the loop of this box."""
        call = self._take_from(self._calls)
        if call is not None:
            call.place = self
            call.after, self._last = self._last, call
        return call

    @property
    def is_shut(self) -> bool:
        """Whether it takes no more."""
        return self._shut

    async def until_news(self) -> None:
        """Wait until there may be something to take, or the box is shut."""
        await self._news.wait()

    def shut(self) -> None:
        """Take no more; what is in the box can still be taken. In the loop of this box."""
        with self._lock:
            self._shut = True
        self._announce()

    def close(self, problem: str = "it stopped first") -> None:
        """Take no more, and give up all that has not been answered; from whatever thread."""
        with self._lock:
            self._shut = True
            self._calls.clear()
            self._nested.clear()
            unanswered, self._unanswered = list(self._unanswered), {}
        for reply in unanswered:
            reply.fail(CallAborted(self.label, problem))


def close_boxes(thread: int, problem: str) -> None:
    """Close all boxes of a thread whose event loop is over, or will never answer again."""
    for box in tuple(_boxes.pop(thread, ())):
        box.close(problem)
