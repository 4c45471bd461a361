"""How long each waits for what ignores even the hard cancel, to the tenth of a second, on a virtual clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
import pytest

from structmode.exceptions import ShutdownTimeout
from structmode.testing import VirtualClock, virtual_backend

from .unit import Act, Unit, raising

NEVER = 1000.0


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The event loops whose time can be virtual."""
    name: Literal["asyncio", "trio"] = request.param
    return name, virtual_backend(name)["backend_options"]


def ignoring(seconds: float) -> Act:
    """Make an act that takes so long, whatever is cancelled."""

    async def act(unit: Unit) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(seconds)

    return act


def lingering(seconds: float) -> Act:
    """Make an act that waits to be cancelled, and takes so long then."""

    async def act(unit: Unit) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            await ignoring(seconds)(unit)

    return act


@asynccontextmanager
async def slowly_left(seconds: float) -> AsyncIterator[None]:
    """Take so long to be left."""
    yield
    with anyio.CancelScope(shield=True):
        await anyio.sleep(seconds)


class Noting:
    """Notes when it happens, in seconds since the clock was made."""

    def __init__(self, clock: VirtualClock) -> None:
        self.times: list[float] = []
        self._clock = clock

    async def __call__(self, unit: Unit) -> None:
        self.times.append(round(self._clock.elapsed, 2))


async def stopped_to_the_end(unit: Unit) -> BaseException | None:
    """Stop a unit and wait until nothing of it is left; return what went wrong."""
    run = unit.run
    run.request_stop()
    await run.finished.wait()
    return run.stop_error


@pytest.mark.parametrize("depth", [1, 2])
async def test_for_a_child_whose_context_is_not_left(depth: int) -> None:
    """A child that has given up the last of its own has its parent go on at once, and so has one above it."""
    with VirtualClock() as clock:

        async def enter(unit: Unit) -> None:
            await unit.run.contexts.enter_async_context(slowly_left(10.0))

        child = Unit("child", [], set_up=enter)
        child.stop_timeout = 0.5
        for _ in range(depth - 1):
            child = Unit("between", [], child)
            child.stop_timeout = NEVER
        next_in_turn = Noting(clock)
        top = Unit("top", [], Unit("other", [], tear_down=next_in_turn), child)
        top.stop_timeout = NEVER
        await top.life.start()
        assert isinstance(await stopped_to_the_end(top), ShutdownTimeout)
        assert next_in_turn.times == [1.5]  # the time of the child, and the grace
        assert clock.elapsed == pytest.approx(10.0, abs=0.1)


async def test_for_a_child_when_all_are_killed() -> None:
    """A parent that is killed itself waits longer for a hook below it than that one's own grace is."""
    with VirtualClock() as clock:
        farewell = Noting(clock)
        child = Unit("child", [], tear_down=ignoring(10.0))
        top = Unit("top", [], child, farewell=farewell)
        child.stop_timeout, top.stop_timeout = NEVER, 0.5
        await top.life.start()
        assert isinstance(await stopped_to_the_end(top), ShutdownTimeout)
        assert farewell.times == [2.0]


async def test_for_a_child_that_gets_on_late() -> None:
    """A parent that asks whether a child is stuck learns that it has got to another step just before, and waits on."""
    with VirtualClock() as clock:
        farewell = Noting(clock)
        # Killed at 0.5, it is through with its hook at 1.7, is asked at 2.0, and gives up its task at 2.7.
        child = Unit("child", [], tear_down=ignoring(1.7), work={"work": lingering(10.0)})
        top = Unit("top", [], child, farewell=farewell)
        child.stop_timeout, top.stop_timeout = NEVER, 0.5
        await top.life.start()
        assert isinstance(await stopped_to_the_end(top), ShutdownTimeout)
        assert farewell.times == [2.7]


async def test_for_a_context_that_is_being_entered() -> None:
    """What somebody outside is entering, deaf to its cancellation, is waited for as long as the stop may take, and named."""
    with VirtualClock() as clock:

        @asynccontextmanager
        async def slowly_entered() -> AsyncIterator[None]:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(10.0)
            yield

        farewell = Noting(clock)
        unit = Unit("a", [], farewell=farewell)
        unit.stop_timeout = 3.0
        await unit.life.start()

        async def outsider() -> None:
            with pytest.raises(anyio.TaskCancelled):
                await unit.run.contexts.enter_async_context(slowly_entered())

        async with anyio.create_task_group() as group:
            group.start_soon(outsider)
            await anyio.sleep(0.5)
            error = await stopped_to_the_end(unit)
        assert isinstance(error, ShutdownTimeout)
        assert [(one.owner, one.task.rpartition(".")[2]) for one in error.stuck] == [
            ("a", "slowly_entered")
        ]
        assert unit.run.failures == [error]
        assert farewell.times == [4.5]


async def test_by_a_caller_of_stop_for_what_ends_in_the_grace() -> None:
    """What ends within the grace has ended when stop() raises."""
    unit = Unit("a", [], work={"work": lingering(1.4)})
    unit.stop_timeout = 0.5
    with VirtualClock() as clock:
        await unit.life.start()
        with pytest.raises(ShutdownTimeout):
            await unit.life.stop()
        assert unit.state == "stopped"
        assert clock.elapsed == pytest.approx(1.4, abs=0.05)


async def test_by_a_caller_of_stop_for_what_does_not_end() -> None:
    """stop() raises a little after the grace, since until then it can't know."""
    unit = Unit("a", [], work={"work": lingering(10.0)})
    unit.stop_timeout = 0.5
    with VirtualClock() as clock:
        await unit.life.start()
        with pytest.raises(ShutdownTimeout):
            await unit.life.stop()
        assert unit.state == "stopping"
        assert clock.elapsed == pytest.approx(1.75, abs=0.05)
        await unit.run.finished.wait()


async def test_for_what_is_undone_after_a_start_that_failed() -> None:
    """Undoing is bounded by the same time as any stop, also if nobody has asked for it."""
    error = ValueError("no")
    child = Unit("child", [], tear_down=lambda _: anyio.sleep_forever())
    top = Unit("top", [], child, ready=raising(error))
    child.stop_timeout, top.stop_timeout = NEVER, 0.5
    with VirtualClock() as clock:
        with pytest.raises(ValueError, match="no") as caught:
            await top.life.start()
        assert clock.elapsed == pytest.approx(0.5, abs=0.05)
    assert caught.value is error


async def test_for_a_stop_that_a_hook_of_the_start_asked_for() -> None:
    """The time counts from the call on: what the hook takes after it is no longer there for the rest."""

    async def ask(unit: Unit) -> None:
        await unit.life.stop()
        await anyio.sleep(0.3)

    child = Unit("child", [], tear_down=lambda _: anyio.sleep_forever())
    top = Unit("top", [], child, ready=ask)
    child.stop_timeout, top.stop_timeout = NEVER, 0.5
    with VirtualClock() as clock:
        await top.life.start()
        await top.run.finished.wait()
        assert clock.elapsed == pytest.approx(0.5, abs=0.05)
    assert isinstance(top.run.stop_error, ShutdownTimeout)
