"""What passes between event loops, by itself: what becomes of a call, and who is told what."""

from __future__ import annotations

import asyncio
import gc
import re
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from structmode._engine import Call, Mailbox, Reply, in_call, on_trio
from structmode.exceptions import CallAborted


class Thing:
    """Something that a call may give back."""


async def work(box: Mailbox) -> None:
    """Do what comes, one after the other, until the box is shut."""
    while (call := box.take()) is not None or not box.is_shut:
        if call is None:
            await box.until_news()
        else:
            await call.perform()


@asynccontextmanager
async def working(label: str = "box", workers: int = 1) -> AsyncIterator[Mailbox]:
    """A box, and those who work for it."""
    async with anyio.create_task_group() as group:
        box = Mailbox(label)
        for _ in range(workers):
            group.start_soon(work, box)
        yield box
        box.shut()


def post(box: Mailbox, function: Callable[[], Any], name: str = "call") -> Reply[Any]:
    """Have a function called by those who work for a box."""
    reply = Reply[Any]()
    assert box.post(Call(name, function, reply), reply)
    return reply


def aborted(label: str, problem: str) -> str:
    """Return what an error has to say, as a pattern."""
    return "^" + re.escape(f"the call of {label} came to no end: {problem}")


# --- Who is told what -----------------------------------------------------------------------------


async def test_cancelled_before_it_begins() -> None:
    """A call that is cancelled between its turn and its beginning never begins, and who waits is told."""
    done: list[str] = []
    reply = Reply[Any]()
    call = Call("early", lambda: done.append("done"), reply)
    call.cancel()
    await call.perform()
    with pytest.raises(CallAborted, match=aborted("early", "it was cancelled there")):
        await reply
    assert done == []


async def test_cancelled_before_its_turn() -> None:
    """A call that is cancelled in the box is taken out of it, and who waits is told."""
    box = Mailbox("box")
    first, second = post(box, Thing, "first"), post(box, Thing, "second")
    first.cancel()
    with pytest.raises(CallAborted, match=aborted("first", "it was cancelled before its turn")):
        await first
    call = box.take()
    assert call is not None
    assert call.name == "second"
    assert box.take() is None
    await call.perform()
    assert isinstance(await second, Thing)


async def test_cancelled_in_the_middle() -> None:
    """A call that is cancelled while it is done ends, and who waits is told."""
    async with working() as box:
        reply = post(box, anyio.sleep_forever, "work")
        await anyio.wait_all_tasks_blocked()
        reply.cancel()
        with pytest.raises(CallAborted, match=aborted("work", "it was cancelled there")):
            await reply


async def test_closed_box() -> None:
    """Who waits for a box that closes is told whose it was, and why; nothing is left in it."""
    box = Mailbox("the box")
    reply = post(box, Thing)
    box.close()
    with pytest.raises(CallAborted, match=aborted("the box", "it stopped first")) as caught:
        await reply
    assert caught.value.label == "the box"
    assert box.take() is None
    assert not box.post(Call("late", Thing, None))
    other = Mailbox("other")
    replies = [post(other, Thing) for _ in range(3)]
    other.close("it has burnt down")
    for one in replies:
        with pytest.raises(CallAborted, match=aborted("other", "it has burnt down")):
            await one


async def test_shut_box() -> None:
    """A box that is shut takes no more, and what is in it is done."""
    box = Mailbox("box")
    reply = post(box, Thing)
    assert not box.is_shut
    box.shut()
    assert box.is_shut
    assert not box.post(Call("late", Thing, None))
    await work(box)
    assert isinstance(await reply, Thing)


async def test_answered_once() -> None:
    """The first answer is the answer."""
    given, failed = Reply[int](), Reply[int]()
    assert not given.done()
    given.give(1)
    given.give(2)
    given.fail(ValueError("late"))
    assert given.done()
    assert await given == given.result() == 1
    failed.fail(ValueError("early"))
    failed.give(3)
    with pytest.raises(ValueError, match="early"):
        await failed


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_loop_that_is_over(backend: str) -> None:
    """A box whose event loop is over takes nothing, and whoever posts is told so, also while the box is not closed."""

    async def make() -> Mailbox:
        return Mailbox("box")

    box = anyio.run(make, backend=backend)
    assert not box.ring(Thing)
    assert not box.post(Call("late", Thing, None))
    assert box.take() is None


async def test_failure_that_nobody_waits_for() -> None:
    """It leaves who does the call, the first one of several, as it was raised."""
    box = Mailbox("box")
    first, second = ValueError("first"), ValueError("second")

    def fail(error: Exception) -> None:
        raise error

    async def cast_and_fail() -> None:
        assert box.post(Call("inner", lambda: fail(first), None))
        await anyio.wait_all_tasks_blocked()
        raise second

    assert box.post(Call("outer", cast_and_fail, None))
    call = box.take()
    assert call is not None
    with pytest.raises(ValueError, match="first") as caught:
        await call.perform()
    assert caught.value is first


# --- What is left behind --------------------------------------------------------------------------


async def test_nothing_is_kept() -> None:
    """What a call has given back is not kept once the next one has been done, nor is the call itself."""
    async with working() as box:
        results = [weakref.ref(await post(box, Thing)) for _ in range(3)]
        await post(box, anyio.lowlevel.checkpoint)
        gc.collect()
        assert [one() for one in results] == [None] * 3


# --- How it is done -------------------------------------------------------------------------------


async def test_named() -> None:
    """A call is done in a task of its name, also one within another."""
    names: list[str | None] = []

    async with working() as box:

        async def inner() -> None:
            names.append(anyio.get_current_task().name)

        async def outer() -> None:
            names.append(anyio.get_current_task().name)
            await post(box, inner, "inner")

        await post(box, outer, "outer")
    assert names == ["outer", "inner"]


async def test_begun_in_order() -> None:
    """Calls are begun in the order in which they came, however many do them."""
    begun: list[int] = []

    async with working(workers=3) as box:
        replies = [post(box, partial(begun.append, number)) for number in range(20)]
        for reply in replies:
            await reply
    assert begun == list(range(20))


async def test_parts() -> None:
    """As long as a call is done, others can be done as parts of it, after some of them have ended too."""
    done: list[str] = []

    async with working() as box:

        async def part(name: str, wait: anyio.Event) -> None:
            await wait.wait()
            done.append(name)

        async def outer() -> None:
            first, second, third = anyio.Event(), anyio.Event(), anyio.Event()
            one = post(box, lambda: part("one", first))
            two = post(box, lambda: part("two", second))
            await anyio.wait_all_tasks_blocked()
            first.set()
            await one
            three = post(box, lambda: part("three", third))
            await anyio.wait_all_tasks_blocked()
            third.set()
            await three
            await post(box, lambda: done.append("four"))
            second.set()
            await two

        await post(box, outer)
    assert done == ["one", "three", "four", "two"]


async def test_end_of_a_call() -> None:
    """What a call leaves behind is no part of it once it has come to its end: whatever that asks for waits for its turn."""
    seen: list[bool] = []
    done: list[str] = []

    async with working() as box, anyio.create_task_group() as group:
        go, later = anyio.Event(), anyio.Event()

        async def straggler() -> None:
            seen.append(in_call())
            await go.wait()
            seen.append(in_call())
            await later.wait()
            await post(box, lambda: done.append("straggler"))

        async def outer() -> None:
            group.start_soon(straggler)
            await anyio.wait_all_tasks_blocked()
            go.set()  # and in the same instant it is over

        async def occupy() -> None:
            later.set()
            await anyio.wait_all_tasks_blocked()
            done.append("occupied")

        assert not in_call()
        await post(box, outer)
        await post(box, occupy)
    assert seen == [True, False]
    assert done == ["occupied", "straggler"]


async def test_awaiting_what_is_cancelled() -> None:
    """A call that awaits a future of asyncio which somebody cancels has failed, and the error says which call."""
    if on_trio():
        return

    async def wait() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    async with working() as box:
        with pytest.raises(anyio.TaskCancelled, match=r"^work awaited something that was cancel"):
            await post(box, wait, "work")
