"""The utils as users write them, for the type checkers: as `test_public_types`, this is checked, and never run."""

from __future__ import annotations

# An ignored error that is none would be a hole in the types.
# pyright: reportUnnecessaryTypeIgnoreComment=true
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, assert_type

from structmode.utils.aiter import (
    aenumerate,
    aiter,  # noqa: A004 - mode's name
    alist,
    anext,  # noqa: A004 - mode's name
    arange,
    aslice,
    chunks,
)
from structmode.utils.futures import StampedeWrapper, maybe_async, maybe_cancel, stampede
from structmode.utils.locks import Event
from structmode.utils.queues import FlowControlEvent, FlowControlQueue, ThrowableQueue
from structmode.utils.times import Bucket, TokenBucket, rate_limit
from structmode.utils.tracebacks import Traceback, format_coro_stack


class Client:
    """With a call that is shared."""

    @stampede
    async def connect(self) -> int:
        """Connect."""
        return 1


async def numbers() -> AsyncGenerator[int]:
    """An async generator."""
    yield 1


async def use_futures(client: Client) -> None:
    """A shared call has the type of the method's result."""
    assert_type(await client.connect(), int)
    assert_type(client.connect, StampedeWrapper[int])
    assert_type(Client.connect, stampede[int])
    assert_type(await maybe_async(client.connect()), int)
    assert_type(await maybe_async(1), int)
    assert_type(maybe_cancel(None), bool)
    await client.connect(1)  # type: ignore[call-arg]


async def use_queues(flow: FlowControlEvent) -> None:
    """A queue has the type of its items."""
    queue: FlowControlQueue[int] = FlowControlQueue(10, flow_control=flow)
    errors = ThrowableQueue[str](flow_control=flow, clear_on_resume=True)
    assert_type(await queue.get(), int)
    assert_type(errors.get_nowait(), str)
    assert_type(await Event().wait(), bool)
    await errors.throw(ValueError())
    await queue.put("a")  # type: ignore[arg-type]
    FlowControlQueue[int](10)  # type: ignore[call-arg]


async def use_iterators() -> None:
    """Each passes on the type of the items."""
    assert_type(aiter([1]), AsyncIterator[int])
    assert_type(aiter(numbers()), AsyncIterator[int])
    assert_type(await anext(numbers()), int)
    assert_type(await anext(numbers(), None), int | None)
    assert_type(await alist(aslice(numbers(), 1, None)), list[int])
    assert_type(await alist(chunks(arange(3), 2)), list[list[int]])
    async for pair in aenumerate(numbers()):
        assert_type(pair, tuple[int, int])


async def use_buckets(coroutine: Any) -> None:
    """A bucket is used as a context, and gives itself."""
    async with rate_limit("10/s") as bucket:
        assert_type(bucket, Bucket)
    async with TokenBucket(3, 60) as tokens:
        assert_type(tokens, TokenBucket)
    assert_type(format_coro_stack(coroutine), str)
    assert_type(Traceback.from_coroutine(coroutine).tb_next, Traceback | None)
