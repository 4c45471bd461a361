"""The chapter `mode.utils.contexts` of mode's manual: stacks of contexts, which are those of `contextlib`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio

from structmode.utils.contexts import (
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    asyncnullcontext,
    nullcontext,
)


async def test_a_stack_of_async_contexts() -> None:
    """What has been entered is left at the end, the last first, also if entering one more has failed."""
    left: list[int] = []

    @asynccontextmanager
    async def connect(number: int) -> AsyncIterator[int]:
        await anyio.sleep(0)
        yield number
        left.append(number)

    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(connect(n)) for n in range(5)]
        assert connections == list(range(5))
        assert left == []
    assert left == [4, 3, 2, 1, 0]


def test_a_stack_of_contexts(tmp_path: Path) -> None:
    """Files that have been opened are closed at the end."""
    with ExitStack() as stack:
        files = [
            stack.enter_context((tmp_path / name).open("w", encoding="utf-8")) for name in "abc"
        ]
        assert not any(file.closed for file in files)
    assert all(file.closed for file in files)


async def test_a_context_that_chooses() -> None:
    """A function with one `yield` on each way is a context, once it is decorated."""
    told: list[str] = []

    @asynccontextmanager
    async def acquire() -> AsyncIterator[str]:
        await anyio.sleep(0)
        yield "of the pool"
        told.append("back in the pool")

    @asynccontextmanager
    async def connection_or_default(given: str | None = None) -> AsyncIterator[str]:
        if given is None:
            async with acquire() as connection:
                yield connection
        else:
            yield given

    async with connection_or_default("mine") as connection:
        assert connection == "mine"
    async with connection_or_default() as connection:
        assert connection == "of the pool"
        assert told == []
    assert told == ["back in the pool"]


async def test_contexts_that_do_nothing() -> None:
    """They give what they were given."""
    with nullcontext(1) as one:
        assert one == 1
    async with asyncnullcontext(2) as two:
        assert two == 2
