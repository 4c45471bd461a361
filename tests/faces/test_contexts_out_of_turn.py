"""Async contexts that are asked for when the service takes no more of them, or from a loop that is not its own."""

from __future__ import annotations

from contextlib import nullcontext

import anyio
import anyio.to_thread
import pytest

from structmode import EventLoopMismatch, LifecycleError, Service


class Plain(Service):
    """Does nothing by itself."""


REFUSED = "Plain is stopping: it can't enter an async context now"


async def test_between_a_crash_and_its_turn_to_stop() -> None:
    """What a crash beside it is about to stop takes no context any more, though its own stop has not begun."""
    states: list[str] = []
    problems: list[str] = []

    class Parent(Service):
        """Asks a child for a context while it takes its leave of it."""

        async def on_stop(self) -> None:
            states.append(child.state)
            with pytest.raises(LifecycleError) as caught:
                await child.add_async_context(nullcontext())
            problems.append(caught.value.problem)

    parent, child, sibling = Parent(), Plain(), Plain()
    parent.add_dependency(child)
    parent.add_dependency(sibling)
    with pytest.raises(OSError, match="beside"):
        async with parent:
            await sibling.crash(OSError("beside"))
            await anyio.sleep_forever()
    assert states == ["running"]
    assert problems == [REFUSED]


async def test_in_a_hook_that_has_called_the_start_off() -> None:
    """A hook of the start that has asked for the stop itself takes no context any more."""
    problems: list[str] = []

    async def give_up(service: Service) -> None:
        await service.stop()
        with pytest.raises(LifecycleError) as caught:
            await service.add_async_context(nullcontext())
        problems.append(caught.value.problem)

    class Plain(Service):
        """Gives its start up."""

        async def on_start(self) -> None:
            await give_up(self)

    with pytest.raises(LifecycleError, match="stopped"):
        await Plain().start()
    assert problems == [REFUSED]


async def test_by_the_stack_from_another_loop() -> None:
    """Also on the stack itself, the error names the call by which a service takes a context."""
    async with Plain() as service:
        stack = service.async_exit_stack

        async def elsewhere() -> None:
            await stack.enter_async_context(nullcontext())

        with pytest.raises(EventLoopMismatch) as caught:
            await anyio.to_thread.run_sync(anyio.run, elsewhere)
    assert caught.value.problem.startswith("add_async_context() of Plain was called outside")
