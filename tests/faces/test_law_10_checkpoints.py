"""Law 10, every public async function is a checkpoint: a loop that calls it can be cancelled and starves no one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import trio.testing

from structmode import Service


class Plain(Service):
    """Does nothing by itself."""


@asynccontextmanager
async def quick_context() -> AsyncIterator[None]:
    """Be entered and left without waiting."""
    yield


async def quick() -> int:
    """Return without waiting."""
    return 42


async def enter_and_leave(service: Service) -> None:
    """Use a block."""
    async with service:
        pass


async def next_tick(service: Service) -> None:
    """Wait for a tick, or for there to be none."""
    async for _ in service.itertimer(1e-9):
        break


Call = Callable[[Service], Awaitable[Any]]

# What may be called at any time of a service's life.
ANYTIME: dict[str, Call] = {
    "sleep(0)": lambda s: s.sleep(0),
    "sleep(-1)": lambda s: s.sleep(-1),
    "sleep": lambda s: s.sleep(1e-9),
    "wait": lambda s: s.wait(quick()),
    "wait for two": lambda s: s.wait(quick(), quick()),
    "wait with timeout": lambda s: s.wait(quick(), timeout=10.0),
    "wait with no time": lambda s: s.wait(quick(), timeout=0),
    "wait for an event": lambda s: s.wait(set_event()),
    "wait_many": lambda s: s.wait_many([quick()]),
    "wait_many of none": lambda s: s.wait_many([]),
    "wait_first": lambda s: s.wait_first(quick()),
    "wait_first of two": lambda s: s.wait_first(quick(), quick()),
    "wait_first of none": lambda s: s.wait_first(),
    "wait_for_stopped": lambda s: s.wait_for_stopped(quick()),
    "itertimer": next_tick,
    "transition_with": lambda s: s.transition_with("flag", quick()),
    "transition_with a callable": lambda s: s.transition_with("flag", quick),
    "add_runtime_dependency": lambda s: s.add_runtime_dependency(Plain()),
    "remove_dependency": lambda s: s.remove_dependency(s.add_dependency(Plain())),
}

# What may be called of one that runs, and leaves it running.
RUNNING: dict[str, Call] = {
    **ANYTIME,
    "maybe_start": lambda s: s.maybe_start(),
    "restart": lambda s: s.restart(),
    "add_async_context": lambda s: s.add_async_context(quick_context()),
    "handle": lambda s: s.add_future(quick()),
}

# What may be called of one that does not run.
IDLE: dict[str, Call] = {
    **ANYTIME,
    "stop": lambda s: s.stop(),
    "crash": lambda s: s.crash(EOFError("nobody cares")),
    "async with": enter_and_leave,
}

STOPPED: dict[str, Call] = {
    **IDLE,
    "wait_until_stopped": lambda s: s.wait_until_stopped(),
    "wait_for_stopped without": lambda s: s.wait_for_stopped(),
    "wait without": lambda s: s.wait(),
    "join_services": lambda s: s.join_services([]),
    "join_services of one": lambda s: s.join_services([Plain()]),
}


def set_event() -> anyio.Event:
    """Return an event that is set."""
    event = anyio.Event()
    event.set()
    return event


async def lets_others_run(call: Callable[[], Awaitable[Any]]) -> bool:
    """Tell whether another task runs while something is called again and again."""
    rounds = before = 0

    async def count() -> None:
        nonlocal rounds
        while True:
            await anyio.lowlevel.checkpoint()
            rounds += 1

    async with anyio.create_task_group() as group:
        group.start_soon(count)
        while not rounds:
            await anyio.lowlevel.checkpoint()
        before = rounds
        # Which of two tasks runs first in a round is random on trio.
        for _ in range(20):  # pragma: no branch - left by break
            await call()
            if rounds > before:
                break
        group.cancel_scope.cancel()
    return rounds > before


async def check(call: Call, service: Service) -> None:
    """Check that a call lets other tasks run, and that it can be cancelled before it has begun."""
    assert await lets_others_run(lambda: call(service))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await call(service)
    assert scope.cancelled_caught, "it could not be cancelled"


@pytest.mark.parametrize("call", RUNNING.values(), ids=RUNNING)
async def test_calls_of_a_running_service(call: Call) -> None:
    """What is awaited of a running service is a checkpoint."""
    async with Plain() as service:
        await check(call, service)


@pytest.mark.parametrize("call", IDLE.values(), ids=IDLE)
async def test_calls_of_a_new_service(call: Call) -> None:
    """What is awaited of a service that never ran is a checkpoint."""
    await check(call, Plain())


@pytest.mark.parametrize("call", STOPPED.values(), ids=STOPPED)
async def test_calls_of_a_stopped_service(call: Call) -> None:
    """What is awaited of a service that has stopped is a checkpoint, also where there is nothing to wait for."""
    service = Plain()
    async with service:
        pass
    await check(call, service)


async def test_start_and_stop_are_checkpoints() -> None:
    """start(), stop() and crash() of a service without any work of its own are checkpoints."""
    service = Plain()

    async def start_and_stop(service: Service) -> None:
        await service.start()
        await service.stop()

    await check(start_and_stop, service)
    await service.start()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await service.stop()
    assert scope.cancelled_caught
    await service.stop()
    assert service.state == "shutdown"


async def test_crash_is_a_checkpoint() -> None:
    """crash() is a checkpoint; called in a cancelled scope, it does not crash."""
    with pytest.raises(EOFError, match="boom"):
        async with Plain() as service:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await service.crash(EOFError("cancelled"))
            assert scope.cancelled_caught
            assert service.state == "running"
            await service.crash(EOFError("boom"))
            await anyio.sleep_forever()


@pytest.mark.parametrize("call", RUNNING.values(), ids=RUNNING)
async def test_checkpoints_as_trio_means_them(
    call: Call, anyio_backend: tuple[str, dict[str, Any]]
) -> None:
    """On trio each of these calls is what trio calls a checkpoint: it schedules, and looks for cancellation."""
    async with Plain() as service:
        if anyio_backend[0] == "trio":
            with trio.testing.assert_checkpoints():
                await call(service)
        else:
            await call(service)


async def test_calls_in_hooks_are_checkpoints() -> None:
    """stop() and maybe_start() in a hook return at once, and are checkpoints all the same."""
    seen: list[bool] = []

    class Calling(Service):
        async def on_stop(self) -> None:
            seen.extend(
                [await lets_others_run(self.stop), await lets_others_run(self.maybe_start)]
            )

    async with Calling():
        pass
    assert seen == [True, True]


async def test_a_busy_loop_can_be_cancelled() -> None:
    """A loop that does nothing but call the service can be cancelled from another task."""
    loops = 0
    service = Plain()

    async def spin() -> None:
        nonlocal loops
        while True:
            loops += 1
            await service.stop()
            await service.sleep(0)
            await service.wait(quick())

    async with anyio.create_task_group() as group:
        group.start_soon(spin)
        while loops < 3:
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    assert loops >= 3
