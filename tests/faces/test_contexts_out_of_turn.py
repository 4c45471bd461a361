"""Async contexts that are asked for when the service takes no more of them, or from a loop that is not its own."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Self

import anyio
import anyio.to_thread
import pytest

from structmode import EventLoopMismatch, LifecycleError, Service, ShutdownTimeout, StartAborted


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


class Resource:
    """Something that is open from the beginning, and is closed when it is left, as with a socket.

    Args:
        slow: Whether entering it takes time.
    """

    def __init__(self, *, slow: bool = False) -> None:
        self.open = True
        self._slow = slow

    async def __aenter__(self) -> Self:
        try:
            if self._slow:
                await anyio.sleep_forever()
        except BaseException:
            self.open = False
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.open = False


@pytest.mark.parametrize("who", ["itself", "somebody", "a crash above", "force"])
@pytest.mark.parametrize("slow", [False, True])
async def test_what_a_start_that_is_called_off_has_made(who: str, slow: bool) -> None:
    """What its hook has made by then is entered and left, as by `async with` in a task that is cancelled."""
    made = Resource(slow=slow)
    inside, go = anyio.Event(), anyio.Event()
    held: list[bool] = []

    class Plain(Service):
        """Makes something while its start is called off."""

        shutdown_timeout = 0.1

        async def on_start(self) -> None:
            if who == "itself":
                await self.stop()
            inside.set()
            with anyio.CancelScope(shield=True):  # as while a name is looked up
                await go.wait()
            await self.add_async_context(made)
            held.append(made.open)
            await anyio.sleep_forever()

    class Above(Service):
        """Has a failing child beside."""

        def __post_init__(self) -> None:
            self.add_dependency(service)

    service = Plain()
    above = Above()

    async def begin() -> None:
        with pytest.raises((StartAborted, ShutdownTimeout, OSError)) as caught:
            await above.start()
        errors.append(caught.value)

    errors: list[BaseException] = []
    async with anyio.create_task_group() as group:
        group.start_soon(begin)
        await inside.wait()
        if who == "somebody":
            service._life.request_stop()
        elif who == "a crash above":
            await above.crash(OSError("above"))
        elif who == "force":
            service._life.kill()
        go.set()
    assert not made.open
    # Who has called it off itself goes on with what it has made; others are cut short.
    assert held == [True] * (who == "itself" and not slow)
    assert len(errors) == 1
    assert not above._life.alive


async def test_a_context_given_up_before_its_first_step() -> None:
    """Whoever is cancelled as it asks has entered what needs no waiting, and left it."""
    made = Resource()
    async with Plain() as service:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await service.add_async_context(made)
        assert scope.cancelled_caught
        assert not made.open


async def test_by_the_stack_from_another_loop() -> None:
    """Also on the stack itself, the error names the call by which a service takes a context."""
    async with Plain() as service:
        stack = service.async_exit_stack

        async def elsewhere() -> None:
            await stack.enter_async_context(nullcontext())

        with pytest.raises(EventLoopMismatch) as caught:
            await anyio.to_thread.run_sync(anyio.run, elsewhere)
    assert caught.value.problem.startswith("add_async_context() of Plain was called outside")
