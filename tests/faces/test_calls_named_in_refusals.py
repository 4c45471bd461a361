"""A call that is refused is named in the error, as its user wrote it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

import anyio
import anyio.to_thread
import pytest

from structmode import EventLoopMismatch, LifecycleError, Service

Call = Callable[[Service], Awaitable[Any]]


class Plain(Service):
    """Does nothing by itself."""


# What is called from another event loop, and how the error is to name it.
ELSEWHERE: dict[str, Call] = {
    "start()": lambda s: s.start(),
    "maybe_start()": lambda s: s.maybe_start(),
    "stop()": lambda s: s.stop(),
    "restart()": lambda s: s.restart(),
    "crash()": lambda s: s.crash(ValueError("boom")),
    "sleep()": lambda s: s.sleep(0.01),
    "wait()": lambda s: s.wait(anyio.sleep_forever),
    "wait_until_stopped()": lambda s: s.wait_until_stopped(),
    "add_runtime_dependency()": lambda s: s.add_runtime_dependency(Plain()),
    "add_async_context()": lambda s: s.add_async_context(nullcontext()),
}


async def refusal_elsewhere(call: Callable[[], Awaitable[Any]]) -> str:
    """Call from the event loop of another thread, and return how the error begins."""

    async def elsewhere() -> None:
        with anyio.fail_after(5.0):
            await call()

    with pytest.raises(EventLoopMismatch) as caught:
        await anyio.to_thread.run_sync(anyio.run, elsewhere)
    return caught.value.problem


@pytest.mark.parametrize(("name", "call"), ELSEWHERE.items(), ids=ELSEWHERE)
async def test_from_another_loop(name: str, call: Call) -> None:
    """The error names the call, and nothing else before it."""
    async with Plain() as service:
        problem = await refusal_elsewhere(lambda: call(service))
    assert problem.startswith(f"{name} of Plain was called outside the event loop")


async def test_wait_for_the_stop_from_another_loop() -> None:
    """A wait for nothing but the stop is a wait all the same."""
    async with Plain() as service:
        problem = await refusal_elsewhere(lambda: service.wait(timeout=0.01))
    assert problem.startswith("wait() of Plain was called")


async def test_start_of_a_child_from_another_loop() -> None:
    """A child is started in its parent, so it is the parent's loop that counts, and the parent that is named."""

    class Child(Service):
        """Does nothing by itself."""

    async with Plain() as parent:
        child = parent.add_dependency(Child())
        problem = await refusal_elsewhere(child.start)
    assert problem.startswith("start() of a child of Plain was called")


async def test_a_second_block_from_another_loop() -> None:
    """Also `async with` needs the loop that the service runs on."""
    async with Plain() as service:
        problem = await refusal_elsewhere(service.__aenter__)
    assert problem.startswith("start() of Plain was called")


@pytest.mark.parametrize("state", ["not running yet", "stopped"])
async def test_a_context_out_of_time(state: str) -> None:
    """The error tells what can't be done, and in which state the service is."""
    service = Plain()
    stack = service.async_exit_stack
    if state == "stopped":
        await service.start()
        stack = service.async_exit_stack
        await service.stop()
    with pytest.raises(LifecycleError) as caught:
        await stack.enter_async_context(nullcontext())
    assert caught.value.problem == f"Plain is {state}: it can't enter an async context now"


async def test_a_context_while_it_stops() -> None:
    """In the last hooks the state is told as that of a service that stops."""
    problems: list[str] = []

    class Late(Service):
        """Asks for a context when it is too late."""

        async def on_stop(self) -> None:
            await self.ask()

        async def on_shutdown(self) -> None:
            await self.ask()

        async def ask(self) -> None:
            with pytest.raises(LifecycleError) as caught:
                await self.add_async_context(nullcontext())
            problems.append(caught.value.problem)

    async with Late():
        pass
    assert problems == ["Late is stopping: it can't enter an async context now"] * 2


async def test_started_by_two() -> None:
    """A service that runs on its own, and is then a child of one that starts, is refused with that one's name."""
    parent, child = Plain(), Plain()
    parent.add_dependency(child)
    async with child:
        with pytest.raises(LifecycleError) as caught:
            await parent.start()
    assert caught.value.problem == (
        "Plain can't be started by Plain: it is running already, on its own"
    )


async def test_entered_twice() -> None:
    """The error says what was tried, and who owns the run that is in the way."""

    class Child(Service):
        """Does nothing by itself."""

    child = Child()
    parent = Plain()
    parent.add_dependency(child)
    async with parent:
        for what, attempt in {
            "entered with `async with`": child.__aenter__,
            "started": child.start,
        }.items():
            expected = f"Child can't be {what}: it is running already, under Plain"
            with pytest.raises(LifecycleError, match=f"^{re.escape(expected)}"):
                await attempt()
