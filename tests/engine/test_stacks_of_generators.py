"""Stacks through generators, and of generators, that hold more than what they wait for."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from types import coroutine
from typing import Any

import anyio
import pytest

from structmode._engine import frames_of, stack_of

from .unit import settle


async def awaited() -> None:
    """Wait for ever."""
    await anyio.sleep_forever()


async def other() -> None:
    """Held by somebody, and never awaited."""


def names_in(text: str) -> list[str]:
    """Return the names of the functions in a stack."""
    return [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith("  File")]


async def stack_while_waiting(waiting: Any) -> str:
    """Run a coroutine until it waits, and return its stack."""
    async with anyio.create_task_group() as group:

        async def run() -> None:
            await waiting

        group.start_soon(run)
        await settle()
        text = stack_of(waiting)
        group.cancel_scope.cancel()
    return text


async def test_a_generator_that_holds_another_coroutine() -> None:
    """The stack follows what an async generator waits for, not what else it holds."""
    spare = other()

    async def numbers(held: Any) -> AsyncGenerator[int]:
        also_held = held
        await awaited()
        yield also_held  # pragma: no cover - it is cancelled before

    async def loop() -> None:
        async for _ in numbers(spare):
            raise AssertionError

    text = await stack_while_waiting(loop())
    spare.close()
    assert names_in(text)[:3] == ["loop", "numbers", "awaited"]
    assert "other" not in names_in(text)


async def test_an_old_generator_that_holds_another_coroutine() -> None:
    """So it does with a coroutine that is made of a generator."""
    spare = other()

    @coroutine
    def old_style(held: Any) -> Generator[Any, Any, Any]:
        also_held = held
        yield from awaited().__await__()
        return also_held  # pragma: no cover - it is cancelled before

    async def outer() -> None:
        await old_style(spare)

    text = await stack_while_waiting(outer())
    spare.close()
    assert "in old_style" in text
    assert "in awaited" in text
    assert "in other" not in text


async def test_a_coroutine_that_holds_another() -> None:
    """Nor is a coroutine taken for waiting for what it holds."""
    spare = other()

    async def holder(held: Any) -> Any:
        await awaited()
        return held  # pragma: no cover - it is cancelled before

    text = await stack_while_waiting(holder(spare))
    spare.close()
    assert [line.rpartition(" ")[2] for line in text.splitlines() if "File" in line][:2] == [
        "holder",
        "awaited",
    ]
    assert "in other" not in text


async def test_a_generator_that_looks_at_itself() -> None:
    """A coroutine in the old style, made of a generator, sees its own frames down to the look."""
    texts: list[str] = []

    @coroutine
    def look() -> Generator[Any, Any, None]:
        def inside() -> None:
            texts.append(stack_of(looking))

        inside()
        yield from anyio.lowlevel.checkpoint().__await__()

    looking: Any = look()
    await looking
    lines = [line for line in texts[0].splitlines() if line.startswith("  File")]
    assert [line.rpartition(" ")[2] for line in lines] == ["look", "inside"]


@pytest.mark.parametrize("limit", [1, 5])
async def test_the_limit_of_a_running_coroutine(limit: int) -> None:
    """Of a deep recursion that looks at itself, the innermost calls are shown."""
    texts: list[str] = []

    def look() -> None:
        texts.append(stack_of(running, limit=limit))

    async def descend(depth: int) -> None:
        if depth:
            await descend(depth - 1)
        else:
            look()

    running = descend(20)
    await running
    lines = [line for line in texts[0].splitlines() if line.startswith("  File")]
    assert lines[-1].endswith("in look")
    shown = len(lines) + texts[0].count("Previous line repeated")
    assert shown == min(limit, 5)  # Python shows a line three times, and counts the others
    assert "in test_the_limit" not in texts[0]


async def test_the_frames_of_a_coroutine() -> None:
    """The frames come outermost first, at most as many as anybody reads."""

    async def descend(depth: int) -> None:
        if depth:
            await descend(depth - 1)
        await awaited()

    waiting = descend(300)
    async with anyio.create_task_group() as group:

        async def run() -> None:
            await waiting

        group.start_soon(run)
        await settle()
        frames = frames_of(waiting)
        group.cancel_scope.cancel()
    assert len(frames) == 125
    assert [frame.f_locals["depth"] for frame in frames[:3]] == [300, 299, 298]


class Holder:
    """Holds a coroutine, and waits for nothing."""

    __slots__ = ("held",)

    def __init__(self, held: Any) -> None:
        self.held = held


def test_what_is_no_awaitable() -> None:
    """What an object holds is not what it waits for."""
    spare = other()
    assert stack_of(Holder(spare)).startswith("  (no frame left in <")
    assert frames_of(Holder(spare)) == []
    spare.close()
