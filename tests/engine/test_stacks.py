"""Where a coroutine stands, as text: whatever it waits for, and in whatever state it is."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager
from types import coroutine
from typing import Any

import anyio
import pytest

from structmode._engine import stack_of
from structmode._engine._stacks import stack_of_thread

from .unit import settle


async def innermost() -> None:
    """Wait for ever."""
    await anyio.sleep_forever()


async def outermost() -> None:
    """Wait for another coroutine."""
    await innermost()


class Awaitable:
    """An awaitable that is a generator inside."""

    def __await__(self) -> Generator[Any, Any, None]:
        yield from innermost().__await__()


async def through_an_awaitable() -> None:
    """Wait for an awaitable."""
    await Awaitable()


@coroutine
def old_style() -> Generator[Any, Any, None]:
    """Wait in the old style."""
    yield from innermost().__await__()


async def through_old_style() -> None:
    """Wait for a coroutine made of a generator."""
    await old_style()


async def numbers() -> AsyncGenerator[int]:
    """Yield nothing, for ever."""
    await innermost()
    yield 1  # pragma: no cover - must not be reached


async def through_a_loop() -> None:
    """Wait in an async for loop."""
    async for _ in numbers():
        raise AssertionError


@asynccontextmanager
async def context(*, late: bool) -> AsyncIterator[None]:
    """Hang while it is entered, or left."""
    if not late:
        await innermost()
    yield
    await innermost()


async def through_a_context() -> None:
    """Wait in a context that is being entered."""
    async with context(late=False):
        raise AssertionError


async def through_the_end_of_a_context() -> None:
    """Wait in a context that is being left."""
    async with context(late=True):
        pass


async def through_the_end_of_a_failing_context() -> None:
    """Wait in a context that is being left because of an error."""

    @asynccontextmanager
    async def careful() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await innermost()

    async with careful():
        raise KeyError


@pytest.mark.parametrize(
    "function",
    [
        outermost,
        through_an_awaitable,
        through_old_style,
        through_a_loop,
        through_a_context,
        through_the_end_of_a_context,
        through_the_end_of_a_failing_context,
    ],
)
async def test_waiting(function: Any) -> None:
    """The stack shows every frame, outermost first, down to where the coroutine waits, whatever is in between."""
    waiting = function()
    async with anyio.create_task_group() as group:

        async def run() -> None:
            await waiting

        group.start_soon(run)
        await settle()
        text = stack_of(waiting)
        group.cancel_scope.cancel()
    lines = [line for line in text.splitlines() if line.startswith("  File")]
    assert f"in {function.__name__}" in lines[0]
    assert any("in innermost" in line for line in lines[1:])
    assert "await anyio.sleep_forever()" in text


async def test_running() -> None:
    """A coroutine that looks at itself, or is looked at from below, sees its own frames down to the look."""
    texts: list[str] = []

    async def look() -> None:
        def inside() -> None:
            texts.append(stack_of(looking))

        inside()

    looking = look()
    await looking
    lines = [line for line in texts[0].splitlines() if line.startswith("  File")]
    assert [line.rpartition(" ")[2] for line in lines] == ["look", "inside"]


async def test_states() -> None:
    """A coroutine that has not begun shows its first line; one that has ended, or is none, says that it has no frame."""
    new = outermost()
    assert "in outermost" in stack_of(new)
    new.close()
    assert "no frame left in <coroutine object outermost" in stack_of(new)
    assert stack_of(None) == "  (no frame left in None)\n"
    assert "no frame left" in stack_of(object())


async def test_limit() -> None:
    """A deep recursion is cut."""

    async def recurse(depth: int) -> None:
        if depth:
            await recurse(depth - 1)
        await anyio.sleep_forever()

    waiting = recurse(300)
    async with anyio.create_task_group() as group:

        async def run() -> None:
            await waiting

        group.start_soon(run)
        await settle()
        texts = [stack_of(waiting), stack_of(waiting, limit=7)]
        group.cancel_scope.cancel()
    # Python shows the same line three times, and counts the others.
    assert "[Previous line repeated 122 more times]" in texts[0]
    assert "[Previous line repeated 4 more times]" in texts[1]
    assert "sleep_forever" not in texts[0]


# --- Threads --------------------------------------------------------------------------------------


def test_of_a_thread() -> None:
    """It ends where the thread waits, and is no longer than people read, however deep that is."""
    waiting, go = threading.Event(), threading.Event()

    def dive(depth: int) -> None:
        if depth:
            dive_on(depth - 1)
        else:
            waiting.set()
            go.wait()

    def dive_on(depth: int) -> None:  # or the same line, again and again, would be shown once
        dive(depth)

    thread = threading.Thread(target=dive, args=[300])
    thread.start()
    waiting.wait()
    stack = stack_of_thread(thread.ident)
    go.set()
    thread.join()
    assert "dive_on(depth - 1)" in stack
    assert "go.wait()" in stack
    assert stack.count("  File ") <= 130
    assert all(line.startswith("  ") for line in stack.splitlines())


@pytest.mark.parametrize("ident", [None, -1])
def test_of_a_thread_that_has_ended(ident: int | None) -> None:
    """There is no stack, and that is said."""
    assert stack_of_thread(ident) == "  (the thread has ended since)\n"
