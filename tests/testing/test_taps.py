"""Taps: a say at each resumption, on each event loop."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio

from structmode._engine import frames_of
from structmode.testing import Answer, VirtualClock
from structmode.testing._taps import GO_ON, Tap, tapped_tasks


async def three_steps(log: list[str], name: str) -> str:
    """Give way to others twice."""
    for step in range(3):
        log.append(f"{name}{step}")
        await anyio.lowlevel.checkpoint()
    return name


async def test_each_resumption_is_asked_for() -> None:
    """Once for each, but not when the task begins; what began outside is left alone."""
    asked: list[str] = []

    def say(coroutine: Coroutine[Any, Any, Any], has_failed: bool) -> Answer:
        asked.append("failed" if has_failed else "resumed")
        return GO_ON

    async with anyio.create_task_group() as outside:
        outside.start_soon(three_steps, [], "a")
        with tapped_tasks(say, seed=0):
            async with anyio.create_task_group() as group:
                group.start_soon(three_steps, [], "b")
    assert asked.count("resumed") >= 3
    assert "failed" not in asked
    before = len(asked)
    async with anyio.create_task_group() as outside:
        outside.start_soon(three_steps, [], "c")
    assert len(asked) == before


async def test_a_task_that_is_held_back() -> None:
    """Others go on meanwhile; then it goes on with what it had got."""
    log: list[str] = []
    results: list[str] = []

    def say(coroutine: Coroutine[Any, Any, Any], has_failed: bool) -> Answer:
        return Answer(passes=10) if log.count("a0") and "a1" not in log else GO_ON

    async def keep(name: str) -> None:
        results.append(await three_steps(log, name))

    with tapped_tasks(say, seed=0):
        async with anyio.create_task_group() as group:
            group.start_soon(keep, "a")
    assert log == ["a0", "a1", "a2"]
    assert results == ["a"]


async def test_a_task_that_is_held_back_until_something_has_happened() -> None:
    """However many passes that takes; and it goes on in the pass after that."""
    log: list[str] = []

    def until() -> bool:
        log.append("asked")
        return log.count("asked") == 7

    def say(coroutine: Coroutine[Any, Any, Any], has_failed: bool) -> Answer:
        if log == ["a0"]:
            log.append("held")
            return Answer(until=until)
        return GO_ON

    with tapped_tasks(say, seed=0):
        async with anyio.create_task_group() as group:
            group.start_soon(three_steps, log, "a")
    assert log == ["a0", "held", *["asked"] * 7, "a1", "a2"]


async def test_an_operation_that_fails() -> None:
    """The task gets the error where it waits, in the place of a result."""
    caught: list[str] = []

    def say(coroutine: Coroutine[Any, Any, Any], has_failed: bool) -> Answer:
        return GO_ON if caught else Answer(error=OSError("lost"))

    async def work() -> None:
        try:
            await anyio.sleep(0.001)
        except OSError as exc:
            caught.append(str(exc))

    with tapped_tasks(say, seed=0):
        async with anyio.create_task_group() as group:
            group.start_soon(work)
    assert caught == ["lost"]


async def test_cancelled_while_held_back() -> None:
    """A task that is held back can be cancelled; it does not get what it had waited for."""
    log: list[str] = []

    def say(coroutine: Coroutine[Any, Any, Any], has_failed: bool) -> Answer:
        return GO_ON if has_failed else Answer(passes=3)

    async def work() -> None:
        try:
            while True:
                await anyio.sleep(0.001)
                log.append("resumed")
        finally:
            log.append("ended")

    with tapped_tasks(say, seed=0):
        async with anyio.create_task_group() as group:
            group.start_soon(work)
            await anyio.sleep(0.01)
            group.cancel_scope.cancel()
    assert log[-1] == "ended"
    assert log.count("ended") == 1


async def test_the_clock_is_left_alone() -> None:
    """What moves virtual time is no part of the program: nobody is asked about it."""
    asked: set[str] = set()

    def say(coroutine: Coroutine[Any, Any, Any], has_failed: bool) -> Answer:
        asked.update(frame.f_globals["__name__"] for frame in frames_of(coroutine))
        return GO_ON

    with tapped_tasks(say, seed=0), VirtualClock() as clock:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 1000.0)
    assert clock.elapsed == pytest.approx(1000.0)
    assert "anyio._core._eventloop" in asked
    assert not [module for module in asked if module.startswith("structmode.testing")]


def test_trio_without_a_source_of_chance_to_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """What trio draws from is not public: where it is not found, tasks are tapped all the same."""
    asked: list[bool] = []

    def say(coroutine: Coroutine[Any, Any, Any], has_failed: bool) -> Answer:
        asked.append(has_failed)
        return GO_ON

    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.delattr(trio, "_core")
            tapped = tapped_tasks(say, seed=0)
            tapped.__enter__()
        async with anyio.create_task_group() as group:
            group.start_soon(three_steps, [], "a")
        tapped.__exit__(None, None, None)

    anyio.run(main, backend="trio")
    assert asked


async def test_like_a_coroutine() -> None:
    """It can be awaited, closed and looked into as the coroutine it stands for."""

    def tap() -> Tap:
        return Tap(three_steps([], "t"), lambda *_: GO_ON, None, lambda _: False)

    assert await tap() == "t"
    unused = tap()
    assert unused.__name__ == "three_steps"
    assert unused.cr_frame is not None
    assert not unused.cr_running
    assert not unused.cr_suspended
    unused.close()
    assert unused.cr_frame is None
    with pytest.raises(RuntimeError, match="cannot reuse"):
        unused.send(None)
