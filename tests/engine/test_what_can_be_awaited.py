"""What a wait takes, told by what it is and not by what its attributes are called."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

import anyio
import pytest

from structmode._engine import StopSignal, Task, all_of, as_coroutine, as_work, check_awaitable

from .unit import Unit, settle


class WithPlainWait:
    """Has a `wait()` that blocks."""

    def wait(self) -> bool:
        """Wait as threads do."""
        raise AssertionError


class CallableWithPlainWait(WithPlainWait):
    """Is an async callable all the same."""

    async def __call__(self) -> str:
        return "called"


class CallableWithAsyncWait:
    """Its `wait()` is what is waited for: it is an event that can be called for something else."""

    async def wait(self) -> str:
        """Wait."""
        return "waited"

    async def __call__(self) -> str:
        raise AssertionError


@pytest.mark.parametrize("thing", [WithPlainWait(), threading.Event()])
@pytest.mark.parametrize("take", [check_awaitable, as_coroutine, as_work])
def test_a_wait_that_blocks(take: Any, thing: object) -> None:
    """A `wait()` that is not async is refused at once, before it could block the event loop."""
    with pytest.raises(TypeError, match=r"can't wait for .* an object with an async wait\(\)"):
        take(thing)


async def test_a_callable_with_a_wait_that_blocks() -> None:
    """An async callable is called, whatever else it has."""
    assert (await all_of(StopSignal(), [CallableWithPlainWait()])).done == {0: "called"}


async def test_a_callable_with_an_async_wait() -> None:
    """Of an async `wait()` and a call, it is the `wait()` that counts."""
    assert (await all_of(StopSignal(), [CallableWithAsyncWait()])).done == {0: "waited"}


async def test_work_begins_in_its_turn() -> None:
    """An async function that is handed over as work is not called before the work begins."""
    called: list[str] = []

    async def function() -> None:
        called.append("now")

    work = as_work(function)
    assert called == []
    assert callable(work)
    task: Task[None] = Task(work, "work")
    assert task.stack() == ""
    await task.run()
    assert called == ["now"]


async def test_an_event_is_waited_for_in_its_turn() -> None:
    """Nor is its `wait()` called before that."""
    called: list[str] = []

    class Event:
        """Notes when it is waited for."""

        async def wait(self) -> str:
            called.append("now")
            return "waited"

    work = as_work(Event())
    assert callable(work)
    assert await work() == "waited"
    assert called == ["now"]


async def test_an_awaitable_is_awaited_in_its_turn() -> None:
    """Of an awaitable no coroutine is made before that, which would have to be closed if its turn never comes."""

    class Awaitable:
        """Can be awaited."""

        def __await__(self) -> Generator[Any, Any, str]:
            yield from anyio.lowlevel.checkpoint().__await__()
            return "awaited"

    work = as_work(Awaitable())
    assert callable(work)
    assert await work() == "awaited"


async def test_a_task_in_its_states() -> None:
    """A handle tells in its repr, and where it can stand it tells its stack."""
    unit = Unit("a", [])
    event = anyio.Event()
    async with unit.life.block():
        task = unit.begin(lambda _: event.wait(), "work")
        assert repr(task) == "<Task 'work' pending>"
        assert not task.cancelling
        await settle()
        assert "event.wait()" in task.stack() or "in wait" in task.stack()
        task.cancel()
        assert task.cancelling
        assert repr(task) == "<Task 'work' cancelling>"
        await settle()
        assert not task.cancelling
        assert repr(task) == "<Task 'work' cancelled>"
        assert task.cancel() is False


# --- What a unit must be able to say ----------------------------------------------------------------


class Nameless(Unit):
    """Can't say its name, for now."""

    nameless = True

    @property
    def label(self) -> str:
        """The name, or an error."""
        if self.nameless:
            raise ValueError("no name")
        return "named"

    @label.setter
    def label(self, value: str) -> None:
        pass


async def test_a_unit_without_a_name() -> None:
    """A unit that can't say its name is not started; nothing of it exists then, and it may be started later."""
    unit = Nameless("", [])
    with pytest.raises(ValueError, match="no name"):
        await unit.life.start()
    assert not unit.life.alive
    assert unit.log == []
    unit.nameless = False
    await unit.life.start()
    assert unit.life.alive
    await unit.life.stop()
