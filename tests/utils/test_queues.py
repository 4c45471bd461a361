"""Queues with flow control: what goes in comes out, in order, whoever waits, is cancelled or held up."""

from __future__ import annotations

import asyncio
import gc
import pickle
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread
import pytest

from structmode.exceptions import EventLoopMismatch
from structmode.utils.queues import (
    FlowControlEvent,
    FlowControlQueue,
    QueueEmpty,
    QueueFull,
    ThrowableQueue,
)


def flowing() -> FlowControlEvent:
    """An event that holds up nobody."""
    return FlowControlEvent(initially_suspended=False)


def make(maxsize: int = 0, **kwargs: Any) -> ThrowableQueue[Any]:
    """A queue that holds up nobody, unless it is full."""
    return ThrowableQueue(maxsize, flow_control=flowing(), **kwargs)


@pytest.fixture
async def group() -> AsyncIterator[anyio.abc.TaskGroup]:
    """A task group that is cancelled at the end of the test."""
    async with anyio.create_task_group() as group:
        yield group
        group.cancel_scope.cancel()


async def begin(
    group: anyio.abc.TaskGroup, function: Callable[..., Any], *args: Any
) -> anyio.TaskHandle[Any]:
    """Begin a task, and let it come to where it waits."""
    handle = group.start_soon(function, *args)
    await anyio.wait_all_tasks_blocked()
    return handle


def is_pending(handle: anyio.TaskHandle[Any]) -> bool:
    """Whether a task has not ended."""
    return handle.status is anyio.TaskHandle.Status.PENDING


def values(queue: FlowControlQueue[Any]) -> list[Any]:
    """Take all that is in a queue."""
    return [queue.get_nowait() for _ in range(queue.qsize())]


# --- What asyncio's queues do too -----------------------------------------------------------------


async def test_items_leave_in_the_order_in_which_they_were_put() -> None:
    """First in, first out, by whichever method."""
    queue = make()
    await queue.put(1)
    queue.put_nowait(2)
    queue.force_put_nowait(3)
    assert queue.qsize() == 3
    assert not queue.empty()
    assert [await queue.get(), queue.get_nowait(), await queue.get()] == [1, 2, 3]
    assert queue.empty()


def test_a_queue_is_made_and_used_without_an_event_loop() -> None:
    """What does not wait needs none, so a queue may be made and filled at module level."""
    queue = make(2, clear_on_resume=True)
    queue.put_nowait("a")
    queue._throw(KeyError("b"))
    with pytest.raises(KeyError):
        queue.get_nowait()
    assert queue.get_nowait() == "a"
    queue.clear()


def test_a_full_queue_refuses_what_must_not_wait() -> None:
    """`put_nowait` raises QueueFull at `maxsize`, which says how many there are; the queue stays as it is."""
    queue = make(2)
    assert not queue.full()
    queue.put_nowait(1)
    queue.put_nowait(2)
    assert queue.full()
    with pytest.raises(QueueFull, match="has its 2 items"):
        queue.put_nowait(3)
    assert values(queue) == [1, 2]


@pytest.mark.parametrize("maxsize", [0, -1])
def test_a_queue_without_a_limit_is_never_full(maxsize: int) -> None:
    """As asyncio has it: zero or less is any number."""
    queue = make(maxsize)
    for number in range(100):
        queue.put_nowait(number)
    assert not queue.full()
    assert queue.maxsize == maxsize


@pytest.mark.parametrize("kind", [asyncio.QueueEmpty, anyio.WouldBlock, QueueEmpty])
def test_who_finds_nothing_may_catch_it_by_any_name(kind: type[Exception]) -> None:
    """An empty queue raises what asyncio's users catch, and anyio's, in one."""
    with pytest.raises(kind, match="nothing in the queue") as caught:
        make().get_nowait()
    assert type(caught.value).__name__ == "QueueEmpty"
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), QueueEmpty)  # noqa: S301


@pytest.mark.parametrize("kind", [asyncio.QueueFull, anyio.WouldBlock, QueueFull])
def test_who_finds_no_room_may_catch_it_by_any_name(kind: type[Exception]) -> None:
    """The same for a full one; it is not the same class each time that it is raised anew."""
    queue = make(1)
    queue.put_nowait(1)
    with pytest.raises(kind) as caught:
        queue.put_nowait(2)
    with pytest.raises(kind) as again:
        queue.put_nowait(2)
    assert type(caught.value) is type(again.value)
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), QueueFull)  # noqa: S301


@pytest.mark.process
def test_a_program_without_asyncio_is_left_without_it() -> None:
    """On trio alone, raising and catching these errors loads no asyncio."""
    program = """
import sys, trio, anyio
from structmode.utils.queues import *
queue = FlowControlQueue(flow_control=FlowControlEvent())
async def main():
    try:
        queue.get_nowait()
    except QueueEmpty as exc:
        print(type(exc) is QueueEmpty, "asyncio" in sys.modules)
trio.run(main)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=50
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["True", "False"]


async def test_join_waits_until_all_is_done(group: anyio.abc.TaskGroup) -> None:
    """`join` returns when `task_done` was called once for each item, those in the queue included."""
    queue = make()
    await queue.join()
    queue.put_nowait(1)
    queue.put_nowait(2)
    joined = await begin(group, queue.join)
    values(queue)
    queue.task_done()
    await anyio.wait_all_tasks_blocked()
    assert is_pending(joined)
    queue.task_done()
    await joined


def test_too_much_done_is_an_error() -> None:
    """`task_done` without an item is a ValueError that says when to call it."""
    queue = make()
    with pytest.raises(ValueError, match="once for each item"):
        queue.task_done()
    queue.put_nowait(1)
    queue.task_done()
    with pytest.raises(ValueError, match="once for each item"):
        queue.task_done()


# --- Waiting --------------------------------------------------------------------------------------


async def test_getters_are_served_in_the_order_in_which_they_came(
    group: anyio.abc.TaskGroup,
) -> None:
    """Also on trio, which wakes tasks in random order."""
    queue = make()
    getters = [await begin(group, queue.get) for _ in range(20)]
    for number in range(20):
        queue.put_nowait(number)
    assert [await getter for getter in getters] == list(range(20))


async def test_putters_are_served_in_the_order_in_which_they_came(
    group: anyio.abc.TaskGroup,
) -> None:
    """The same for those who wait for room."""
    queue = make(3)
    for number in range(20):
        await begin(group, queue.put, number)
    assert queue.qsize() == 3
    assert [await queue.get() for _ in range(20)] == list(range(20))


async def test_who_comes_later_does_not_get_in_before(group: anyio.abc.TaskGroup) -> None:
    """A `get` that finds an item, and somebody who waits for it, waits behind him; again and again, as trio throws dice."""
    queue = make()
    for _ in range(20):
        first = await begin(group, queue.get)
        queue.put_nowait("a")
        queue.put_nowait("b")
        assert await queue.get() == "b"
        assert await first == "a"


async def test_who_does_not_wait_takes_what_is_there(group: anyio.abc.TaskGroup) -> None:
    """`get_nowait` takes an item that somebody has been woken for; he keeps his place, and waits on."""
    queue = make()
    first, second = await begin(group, queue.get), await begin(group, queue.get)
    queue.put_nowait("a")
    assert queue.get_nowait() == "a"
    await anyio.wait_all_tasks_blocked()
    assert is_pending(first)
    queue.put_nowait("b")
    queue.put_nowait("c")
    assert (await first, await second) == ("b", "c")


async def test_who_comes_back_at_once_does_not_take_all(group: anyio.abc.TaskGroup) -> None:
    """Tasks that share a queue take turns where the event loop lets them: as many are called as there is something for.

    On trio, which runs in random order what is woken together, only the first is called.
    """
    queue = make()
    got: list[tuple[int, int]] = []

    async def take(number: int) -> None:
        while True:
            item = await queue.get() if queue.empty() else queue.get_nowait()
            got.append((number, item))
            for _ in range(3):
                await anyio.lowlevel.checkpoint()

    for number in range(3):
        await begin(group, take, number)
    for item in range(9):
        queue.put_nowait(item)
    await anyio.wait_all_tasks_blocked()
    assert [item for _, item in got] == list(range(9))
    if anyio.lowlevel.current_token().backend_class.__module__.endswith("_asyncio"):
        assert [number for number, _ in got] == [0, 1, 2] * 3


async def test_a_put_that_finds_its_room_taken_waits_on(group: anyio.abc.TaskGroup) -> None:
    """The same on the other side."""
    queue = make(1)
    queue.put_nowait("a")
    putter = await begin(group, queue.put, "c")
    assert queue.get_nowait() == "a"
    queue.put_nowait("b")
    await anyio.wait_all_tasks_blocked()
    assert is_pending(putter)
    assert queue.get_nowait() == "b"
    await putter
    assert values(queue) == ["c"]


async def test_each_call_is_a_checkpoint() -> None:
    """Each of them lets others run, and is cancelled if it is to be, and then has done nothing."""
    flow = flowing()
    queue: ThrowableQueue[int] = ThrowableQueue(flow_control=flow)
    queue.put_nowait(1)
    with anyio.CancelScope() as scope:
        scope.cancel()
        for call in (queue.get, lambda: queue.put(2), queue.join, flow.acquire):
            with pytest.raises(anyio.get_cancelled_exc_class()):
                await call()
    assert values(queue) == [1]
    with anyio.CancelScope() as scope:
        scope.cancel()
        await queue.throw(ValueError("thrown"))
    assert scope.cancelled_caught
    with pytest.raises(ValueError, match="thrown"):
        queue.get_nowait()


# --- Cancellation ---------------------------------------------------------------------------------


async def test_a_getter_cancelled_as_it_is_woken_loses_nothing(
    group: anyio.abc.TaskGroup,
) -> None:
    """It has the item, as trio has it, or leaves it to the next in line, as asyncio has it; the order holds."""
    queue, got = make(), list[str]()

    async def get() -> None:
        got.append(await queue.get())

    first, second = await begin(group, get), await begin(group, get)
    queue.put_nowait("a")
    first.cancel()
    queue.put_nowait("b")
    await second
    assert got + values(queue) == ["a", "b"]
    assert len(queue._getters) == 0


async def test_a_putter_cancelled_as_it_is_woken_leaves_no_gap(
    group: anyio.abc.TaskGroup,
) -> None:
    """What it has put is there, and what it has not put is not; the room is used by the next in line."""
    queue, done = make(1), ["a"]
    queue.put_nowait("a")

    async def put(value: str) -> None:
        await queue.put(value)
        done.append(value)

    got: list[str] = []

    async def get() -> None:
        while True:
            got.append(await queue.get())

    first, second = await begin(group, put, "b"), await begin(group, put, "c")
    got.append(queue.get_nowait())
    first.cancel()
    await begin(group, get)
    await second
    assert got == done
    assert got[-1] == "c"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_native_cancellation_loses_nothing() -> None:
    """asyncio lets anybody cancel a task past all scopes; one that was just woken takes nothing with it."""
    queue = make(1)
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await anyio.wait_all_tasks_blocked()
    queue.put_nowait("a")
    first.cancel()
    assert await second == "a"
    assert first.cancelled()
    queue.put_nowait("b")
    putters = [asyncio.create_task(queue.put(value)) for value in "cd"]
    await anyio.wait_all_tasks_blocked()
    assert queue.get_nowait() == "b"
    putters[0].cancel()
    await putters[1]
    assert values(queue) == ["d"]
    assert putters[0].cancelled()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_wait_that_is_closed_leaves_its_place() -> None:
    """A coroutine that is closed, as garbage collection does it, stands in nobody's way."""
    queue = make()
    coroutine = queue.get()
    coroutine.send(None)
    waiting = asyncio.create_task(queue.get())
    await anyio.wait_all_tasks_blocked()
    queue.put_nowait("a")
    coroutine.close()
    assert await waiting == "a"


def test_a_wait_that_is_closed_outside_of_its_loop_touches_no_loop() -> None:
    """Garbage collection may come upon a coroutine when its event loop is long closed."""
    queue = make()

    async def leave_one() -> Any:
        coroutines = [queue.get(), queue.get()]
        for coroutine in coroutines:
            coroutine.send(None)
        return coroutines

    first, second = asyncio.run(leave_one())
    with pytest.raises(EventLoopMismatch):
        queue.put_nowait("a")
    first.close()
    second.close()
    queue.put_nowait("a")
    assert values(queue) == ["a"]


# --- Flow control ---------------------------------------------------------------------------------


async def test_producers_wait_while_the_flow_is_suspended(group: anyio.abc.TaskGroup) -> None:
    """It is suspended at first; `resume` lets them go on, in order; `suspend` holds up the next ones."""
    flow = FlowControlEvent()
    queues = [FlowControlQueue[str](maxsize, flow_control=flow) for maxsize in (0, 1)]
    assert not flow.is_active()
    for letter in "abc":
        for queue in queues:
            await begin(group, queue.put, letter)
    assert [queue.qsize() for queue in queues] == [0, 0]
    flow.resume()
    assert flow.is_active()
    await anyio.wait_all_tasks_blocked()
    assert values(queues[0]) == ["a", "b", "c"]
    assert queues[1].qsize() == 1
    flow.suspend()
    putter = await begin(group, queues[0].put, "d")
    assert queues[1].get_nowait() == "a"
    await anyio.wait_all_tasks_blocked()
    assert queues[1].empty()  # "b" waits for the flow now
    flow.resume()
    await putter
    assert [await queues[1].get(), await queues[1].get()] == ["b", "c"]


async def test_a_flow_that_is_suspended_again_at_once_lets_nobody_through(
    group: anyio.abc.TaskGroup,
) -> None:
    """Who has been woken looks again: in a queue, and in `acquire`."""
    flow = FlowControlEvent()
    queue: FlowControlQueue[str] = FlowControlQueue(flow_control=flow)
    waiting = [await begin(group, queue.put, "a"), await begin(group, flow.acquire)]
    flow.resume()
    flow.suspend()
    await anyio.wait_all_tasks_blocked()
    assert all(map(is_pending, waiting))
    flow.resume()
    for handle in waiting:
        await handle
    await flow.acquire()
    assert values(queue) == ["a"]


async def test_consumers_are_not_held_up() -> None:
    """What is in a queue can be got while the flow is suspended, and `put_nowait` puts something there."""
    queue: FlowControlQueue[str] = FlowControlQueue(flow_control=FlowControlEvent())
    queue.put_nowait("a")
    assert await queue.get() == "a"


async def test_queues_that_ask_for_it_are_emptied_on_resume(group: anyio.abc.TaskGroup) -> None:
    """What was there goes; what waited to be put comes in after that; the other queues keep what they have."""
    flow = FlowControlEvent()
    cleared: ThrowableQueue[str] = ThrowableQueue(flow_control=flow, clear_on_resume=True)
    kept: ThrowableQueue[str] = ThrowableQueue(flow_control=flow)
    for queue in (cleared, kept):
        queue.put_nowait("old")
        await begin(group, queue.put, "new")
    cleared._throw(KeyError("old"))
    flow.resume()
    await anyio.wait_all_tasks_blocked()
    assert values(cleared) == ["new"]
    assert values(kept) == ["old", "new"]


def test_resuming_what_flows_already_changes_nothing() -> None:
    """Only a flow that was suspended is resumed: nothing is dropped otherwise."""
    flow = FlowControlEvent(initially_suspended=False)
    queue: FlowControlQueue[str] = FlowControlQueue(flow_control=flow, clear_on_resume=True)
    queue.put_nowait("a")
    flow.resume()
    assert values(queue) == ["a"]


def test_all_managed_queues_can_be_emptied() -> None:
    """`clear` empties those that are emptied on resume, and those given to `manage_queue`."""
    flow = FlowControlEvent()
    by_flag: FlowControlQueue[str] = FlowControlQueue(flow_control=flow, clear_on_resume=True)
    by_hand: FlowControlQueue[str] = FlowControlQueue(flow_control=flow)
    kept: FlowControlQueue[str] = FlowControlQueue(flow_control=flow)
    flow.manage_queue(by_hand)
    for queue in (by_flag, by_hand, kept):
        queue.put_nowait("a")
    flow.clear()
    assert [queue.qsize() for queue in (by_flag, by_hand, kept)] == [0, 0, 1]
    assert not flow.is_active()


def test_an_event_does_not_keep_queues_alive() -> None:
    """A queue that nobody else has is gone."""
    flow = FlowControlEvent()
    queue: FlowControlQueue[str] = FlowControlQueue(flow_control=flow, clear_on_resume=True)
    gone = weakref.ref(queue)
    del queue
    gc.collect()
    assert gone() is None
    assert repr(flow) == "<FlowControlEvent suspended, 0 queues>"


# --- Clearing -------------------------------------------------------------------------------------


async def test_clear_lets_putters_and_join_go_on(group: anyio.abc.TaskGroup) -> None:
    """What is dropped counts as done, and leaves room."""
    queue = make(2)
    queue.put_nowait(1)
    queue.put_nowait(2)
    putters = [await begin(group, queue.put, number) for number in (3, 4)]
    joined = await begin(group, queue.join)
    queue.clear()
    await joined
    for putter in putters:
        await putter
    assert values(queue) == [3, 4]


async def test_clear_leaves_what_is_being_worked_on_to_be_done(
    group: anyio.abc.TaskGroup,
) -> None:
    """An item that was got before is not dropped, and `join` waits for it."""
    queue = make()
    for number in range(3):
        queue.put_nowait(number)
    assert await queue.get() == 0
    joined = await begin(group, queue.join)
    queue.clear()
    await anyio.wait_all_tasks_blocked()
    assert is_pending(joined)
    queue.task_done()
    await joined
    with pytest.raises(ValueError, match="once for each item"):
        queue.task_done()


async def test_getters_wait_on_after_a_clear(group: anyio.abc.TaskGroup) -> None:
    """One that was woken for an item that has been dropped since gets the next one."""
    queue = make()
    getter = await begin(group, queue.get)
    queue.put_nowait("a")
    queue._throw(KeyError("b"))
    queue.clear()
    await anyio.wait_all_tasks_blocked()
    assert is_pending(getter)
    queue.put_nowait("c")
    assert await getter == "c"


# --- Errors ---------------------------------------------------------------------------------------


async def test_errors_come_before_items_and_once() -> None:
    """Each is raised by one `get` or `get_nowait`, in the order in which they were thrown, as the very object."""
    queue = make(1)
    first, second = KeyError("first"), ValueError("second")
    queue.put_nowait("a")
    await queue.throw(first)
    await queue.throw(second)
    assert queue.qsize() == 1
    with pytest.raises(KeyError) as caught:
        await queue.get()
    assert caught.value is first
    with pytest.raises(ValueError, match="second"):
        queue.get_nowait()
    assert queue.get_nowait() == "a"
    assert queue.empty()


async def test_an_error_wakes_who_waits(group: anyio.abc.TaskGroup) -> None:
    """The first in line gets it, and the next one waits on."""
    queue = make()
    raised: list[BaseException] = []

    async def get() -> Any:
        try:
            return await queue.get()
        except KeyError as exc:
            raised.append(exc)

    first, second = await begin(group, get), await begin(group, get)
    error = KeyError("thrown")
    await queue.throw(error)
    await first
    assert raised == [error]
    assert is_pending(second)
    queue.put_nowait("a")
    assert await second == "a"


async def test_an_error_is_not_lost_with_who_was_woken_for_it(group: anyio.abc.TaskGroup) -> None:
    """If he is cancelled before he has it, it is raised by the next `get`."""
    queue, raised = make(), list[BaseException]()

    async def get() -> None:
        try:
            await queue.get()
        except KeyError as exc:
            raised.append(exc)

    first, second = await begin(group, get), await begin(group, get)
    error = KeyError("thrown")
    queue._throw(error)
    first.cancel()
    queue.put_nowait("a")
    await second
    assert raised == [error]
    assert len(values(queue)) in {0, 1}


async def test_who_looks_at_the_errors_may_take_one(group: anyio.abc.TaskGroup) -> None:
    """Faust takes errors from ``_errors`` itself; who was woken for it waits on."""
    queue = make()
    getter = await begin(group, queue.get)
    queue._throw(KeyError("thrown"))
    assert not queue.empty()
    assert isinstance(queue._errors.popleft(), KeyError)
    await anyio.wait_all_tasks_blocked()
    assert queue.empty()
    queue.put_nowait("a")
    assert await getter == "a"


@pytest.mark.parametrize("wrong", [None, "error", KeyError])
async def test_only_an_exception_can_be_thrown(wrong: Any) -> None:
    """Anything else, a class too, is a TypeError for who throws it, not for who gets it."""
    queue = make()
    with pytest.raises(TypeError, match="pass an exception"):
        await queue.throw(wrong)
    assert queue.empty()


# --- Pressure -------------------------------------------------------------------------------------


class Pressed:
    """A producer that notes what it is told."""

    def __init__(self, queue: FlowControlQueue[Any], told: list[Any] | None = None) -> None:
        self.queue = queue
        self.told: list[Any] = [] if told is None else told

    def high(self) -> None:
        """Be told to pause."""
        self.told.append(("high", self.queue.qsize()))

    def drop(self) -> None:
        """Be told to go on."""
        self.told.append(("drop", self.queue.qsize()))

    def put(self, value: object) -> bool:
        """Put something."""
        return self.queue.put_nowait_enhanced(
            value, on_pressure_high=self.high, on_pressure_drop=self.drop
        )


def test_a_producer_is_told_once_of_high_pressure_and_once_of_its_drop() -> None:
    """High from four fifths of `maxsize` on, dropped at two fifths; meanwhile everything is taken, beyond `maxsize` too."""
    queue = make(10)
    assert (queue.pressure_high_size, queue.pressure_drop_size) == (8, 4)
    producer = Pressed(queue)
    assert [producer.put(number) for number in range(14)] == [number == 8 for number in range(14)]
    assert queue.qsize() == 14
    assert values(queue) == list(range(14))
    assert producer.told == [("high", 8), ("drop", 4)]
    for number in range(9):
        producer.put(number)
    assert producer.told[2:] == [("high", 8)]


def test_each_producer_is_told() -> None:
    """Producers are told apart by `on_pressure_drop`, and told in the order in which they came under pressure."""
    queue, told = make(2), list[Any]()
    first, second = Pressed(queue, told), Pressed(queue, told)
    first.put(1)
    assert [first.put(2), second.put(3), first.put(4)] == [True, True, False]
    queue.clear()
    assert told == [("high", 1), ("high", 2), ("drop", 0), ("drop", 0)]


def test_a_small_queue_knows_when_the_pressure_has_dropped() -> None:
    """With room for one or two, that is when it is empty."""
    for maxsize in (1, 2):
        queue = make(maxsize)
        producer = Pressed(queue)
        for number in range(3):
            producer.put(number)
        values(queue)
        assert producer.told[-1] == ("drop", 0)


def test_a_queue_without_a_limit_knows_no_pressure() -> None:
    """There is room for any number."""
    queue = make()
    producer = Pressed(queue)
    assert {producer.put(number) for number in range(100)} == {False}
    assert producer.told == []


async def test_the_pressure_drops_whoever_takes(group: anyio.abc.TaskGroup) -> None:
    """`get` counts as `get_nowait` does, and who waited for an item is served by a producer of this kind too."""
    queue = make(1)
    producer = Pressed(queue)
    getter = await begin(group, queue.get)
    producer.put(1)
    assert await getter == 1
    producer.put(2)
    producer.put(3)
    assert [await queue.get(), await queue.get()] == [2, 3]
    assert producer.told[-1] == ("drop", 0)


def test_subclasses_are_told_too() -> None:
    """`on_pressure_high` and `on_pressure_drop` are called before the producers' callbacks."""
    told: list[str] = []

    class Mine(FlowControlQueue[int]):
        def on_pressure_high(self) -> None:
            told.append("high")

        def on_pressure_drop(self) -> None:
            told.append("drop")

    queue = Mine(1, flow_control=flowing())
    producer = Pressed(queue, told)
    producer.put(1)
    producer.put(2)
    values(queue)
    assert told == ["high", ("high", 1), "drop", ("drop", 0)]


async def test_a_failing_callback_loses_no_item() -> None:
    """The others are told too, the first error leaves with a note on the next, and the item can be got again."""
    queue = make(1)

    def fail(text: str) -> None:
        raise ValueError(text)

    told: list[str] = []
    drops: list[Callable[[], object]] = [
        lambda: fail("first"),
        lambda: told.append("told"),
        lambda: fail("second"),
    ]
    queue.put_nowait("item")
    for drop in drops:
        queue.put_nowait_enhanced("item", on_pressure_high=str, on_pressure_drop=drop)
    while queue.qsize() > 1:
        queue.get_nowait()
    with pytest.raises(ValueError, match="first") as caught:
        await queue.get()
    assert told == ["told"]
    assert "second" in caught.value.__notes__[0]
    assert await queue.get() == "item"


def test_a_failing_callback_does_not_keep_the_flow_suspended() -> None:
    """All queues are emptied and the flow is active, and then the error leaves `resume`."""
    flow = FlowControlEvent()
    queues = [FlowControlQueue[int](1, flow_control=flow, clear_on_resume=True) for _ in range(2)]

    def fail() -> None:
        raise ValueError("told")

    for queue in queues:
        queue.force_put_nowait(1)
        queue.put_nowait_enhanced(2, on_pressure_high=str, on_pressure_drop=fail)
    with pytest.raises(ValueError, match="told"):
        flow.resume()
    assert flow.is_active()
    assert all(queue.empty() for queue in queues)


# --- Threads and event loops ----------------------------------------------------------------------


async def test_another_thread_is_refused_while_somebody_waits(group: anyio.abc.TaskGroup) -> None:
    """It would change the queue, and the waiting task would sleep on; the error names the way to do it."""
    flow = flowing()
    queue: ThrowableQueue[int] = ThrowableQueue(1, flow_control=flow)
    await begin(group, queue.get)
    flow.suspend()
    await begin(group, flow.acquire)
    pressure = {"on_pressure_high": str, "on_pressure_drop": str}
    calls: list[Callable[[], object]] = [
        lambda: queue.put_nowait(1),
        lambda: queue.force_put_nowait(1),
        lambda: queue.put_nowait_enhanced(1, **pressure),
        queue.get_nowait,
        queue.clear,
        lambda: queue._throw(KeyError()),
        flow.resume,
        flow.clear,
    ]
    for call in calls:
        with pytest.raises(EventLoopMismatch, match="from_thread"):
            await anyio.to_thread.run_sync(call)
    assert queue.empty()
    assert not flow.is_active()


async def test_another_event_loop_is_refused_while_somebody_waits(
    group: anyio.abc.TaskGroup,
) -> None:
    """A queue serves one event loop at a time."""
    queue = make()
    await begin(group, queue.get)

    def elsewhere() -> None:
        anyio.run(queue.get)

    with pytest.raises(EventLoopMismatch, match=r"get\(\) of a queue"):
        await anyio.to_thread.run_sync(elsewhere)
    with pytest.raises(EventLoopMismatch, match=r"put\(\) of a queue"):
        await anyio.to_thread.run_sync(lambda: anyio.run(queue.put, 1))


def test_one_event_loop_after_another_may_use_a_queue() -> None:
    """Of whatever kind; what is in it stays."""
    queue = make()

    async def use(text: str) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(queue.get)
            await anyio.wait_all_tasks_blocked()
            for _ in range(3):
                queue.put_nowait(text)
        assert await queue.get() == text
        await queue.put(text)

    for backend in ("asyncio", "trio", "asyncio"):
        anyio.run(use, backend, backend=backend)
        assert values(queue) == [backend]


def test_a_thread_may_use_a_queue_that_nobody_waits_for() -> None:
    """That it is used by nobody else at the same time can't be known, and is not asked."""
    queue = make()
    thread = threading.Thread(target=queue.put_nowait, args=(1,))
    thread.start()
    thread.join()
    assert values(queue) == [1]


# --- Texts ----------------------------------------------------------------------------------------


async def test_reprs_say_what_is_there(group: anyio.abc.TaskGroup) -> None:
    """How many items, and who waits."""
    queue = make(1)
    assert repr(queue) == "<ThrowableQueue 0 of 1 items, 0 getting, 0 putting>"
    await begin(group, queue.get)
    assert repr(queue) == "<ThrowableQueue 0 of 1 items, 1 getting, 0 putting>"
    plain: FlowControlQueue[int] = FlowControlQueue(flow_control=FlowControlEvent())
    assert repr(plain) == "<FlowControlQueue 0 items, 0 getting, 0 putting>"
    assert repr(flowing()) == "<FlowControlEvent active, 0 queues>"


async def test_callbacks_of_the_event_loop_may_put_and_get(anyio_backend_name: str) -> None:
    """That is how items come from another thread, by ``call_soon_threadsafe``: such a callback runs in no task."""
    if anyio_backend_name == "trio":
        pytest.skip("it has no such callbacks")
    queue = make(1)
    loop = asyncio.get_running_loop()
    got: list[int] = []
    async with anyio.create_task_group() as group:
        first = group.start_soon(queue.get)
        await anyio.wait_all_tasks_blocked()
        await anyio.to_thread.run_sync(loop.call_soon_threadsafe, queue.put_nowait, 1)
        assert await first == 1
        await queue.put(2)
        group.start_soon(queue.put, 3)
        await anyio.wait_all_tasks_blocked()
        loop.call_soon(lambda: got.append(queue.get_nowait()))
    assert got == [2]
    assert queue.get_nowait() == 3
