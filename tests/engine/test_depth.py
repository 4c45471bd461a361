"""Trees thousands deep, and thousands wide: nothing recurses along the tree, and nothing costs more than it must.

Work is counted, not timed: each function call counts one. A tree four times as large may take some four times the work.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

import anyio
import pytest

from structmode.exceptions import ShutdownTimeout

from .unit import Unit, hanging, raising, settle

MANY = 3000
Shape = Callable[[int, list[str]], Unit]
CountCalls = Callable[[], AbstractContextManager[list[int]]]


@pytest.fixture(scope="module")
def anyio_backend(anyio_backend: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """The backend, but without the debug mode of asyncio, which would make all this take three times as long."""
    name, options = anyio_backend
    return name, {key: value for key, value in options.items() if key != "debug"}


class Boom(Exception):
    """The crash of these tests."""


class Patient(Unit):
    """A unit that is given all the time that its stop takes: a busy machine may take long over thousands."""

    stop_timeout = 1e6


def deep(size: int, log: list[str]) -> Unit:
    """Make a chain of units; returns its top."""
    unit = Patient(f"{size}", log)
    for n in range(size - 1, 0, -1):
        unit = Patient(f"{n}", log, unit)
    return unit


def wide(size: int, log: list[str]) -> Unit:
    """Make a unit with many children."""
    return Patient("1", log, *[Patient(f"{n}", log) for n in range(2, size + 1)])


def bushy(size: int, log: list[str]) -> Unit:
    """Make a tree in which every unit has three children."""
    units = [Patient(f"{n}", log) for n in range(1, size + 1)]
    for n, unit in enumerate(units[1:], 1):
        units[(n - 1) // 3].life.add_child(unit.life)
    return units[0]


def last(unit: Unit) -> Unit:
    """Return the unit at the end of the last branch."""
    while unit.life.children:
        unit = unit.life.children[-1].unit  # type: ignore[assignment]
    return unit


# --- What is done to them -------------------------------------------------------------------------


async def start_and_stop(unit: Unit) -> None:
    """Start and stop it."""
    await unit.life.start()
    await unit.life.stop()


async def crash_below(unit: Unit) -> None:
    """Crash it at its end."""
    with pytest.raises(Boom):
        async with unit.life.block():
            last(unit).begin(raising(Boom()))
            await anyio.sleep_forever()


async def crash_above(unit: Unit) -> None:
    """Crash it at its top."""
    with pytest.raises(Boom):
        async with unit.life.block():
            unit.begin(raising(Boom()))
            await anyio.sleep_forever()


async def crash_everywhere(unit: Unit) -> None:
    """Have every unit crash in the same instant."""
    now = anyio.Event()

    async def crash(unit: Unit) -> None:
        await now.wait()
        raise Boom(unit.label)

    with pytest.raises(Boom):
        async with unit.life.block():
            runs = unit.run.subtree()
            for run in runs:
                assert isinstance(run.unit, Unit)
                run.unit.begin(crash)
            await settle()
            now.set()
            await anyio.sleep_forever()
    assert len(unit.run.failures) == len(runs)


async def fail_in_every_stop(unit: Unit) -> None:
    """Have every unit fail in the stop, as does a task of each on its cancellation."""

    async def fail(unit: Unit) -> None:
        raise Boom(unit.label)

    async def fail_late(unit: Unit) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise Boom(unit.label)

    await unit.life.start()
    runs = unit.run.subtree()
    for run in runs:
        assert isinstance(run.unit, Unit)
        run.unit.begin(fail_late)
        run.unit.steps["tear_down"] = fail
    await settle()
    with pytest.raises(Boom) as raised:
        await unit.life.stop()
    assert raised.value.args == ("1",)
    assert len(unit.run.failures) == 2 * len(runs)


async def fail_to_start(unit: Unit) -> None:
    """Fail in the last step of its start."""
    last(unit).steps["ready"] = raising(Boom())
    with pytest.raises(Boom):
        await unit.life.start()


async def call_off(unit: Unit) -> None:
    """Cancel its start when it hangs at its end."""
    reached = anyio.Event()

    async def reach(unit: Unit) -> None:
        reached.set()
        await anyio.sleep_forever()

    last(unit).steps["ready"] = reach
    async with anyio.create_task_group() as group:
        group.start_soon(unit.life.start)
        await reached.wait()
        group.cancel_scope.cancel()


async def cancel(unit: Unit) -> None:
    """Cancel its block."""
    with anyio.CancelScope() as scope:
        async with unit.life.block():
            scope.cancel()
            await anyio.sleep_forever()


async def kill(unit: Unit) -> None:
    """Kill it."""
    await unit.life.start()
    unit.life.kill()
    await unit.run.finished.wait()


async def time_out(unit: Unit) -> None:
    """Let its stop hang at its end, until time is up for its top."""
    last(unit).steps["tear_down"] = hanging
    await unit.life.start()
    unit.stop_timeout = 0.05
    with pytest.raises(ShutdownTimeout):
        await unit.life.stop()
    await unit.run.finished.wait()  # a large tree may take longer to end than stop() waits


async def restart(unit: Unit) -> None:
    """Restart it."""
    async with unit.life.block():
        await unit.life.restart()


DEEDS: list[Callable[[Unit], Awaitable[None]]] = [
    start_and_stop,
    crash_below,
    crash_above,
    crash_everywhere,
    fail_in_every_stop,
    fail_to_start,
    call_off,
    cancel,
    kill,
    time_out,
    restart,
]


def check(size: int, log: list[str]) -> None:
    """See that all that was set up was torn down."""
    for step in ("tear_down", "farewell"):
        assert len([line for line in log if line.endswith(step)]) == len(
            [line for line in log if line.endswith("set_up")]
        )
    assert len(log) >= 4 * size


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("shape", [deep, wide])
async def test_thousands(shape: Shape, deed: Callable[[Unit], Awaitable[None]]) -> None:
    """A tree of thousands of units, however shaped, comes through whatever is done to it."""
    log: list[str] = []
    unit = shape(MANY, log)
    await deed(unit)
    check(MANY - 1, log)
    assert unit.state == "stopped"


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("shape", [deep, wide, bushy])
async def test_growth(
    shape: Shape, deed: Callable[[Unit], Awaitable[None]], count_calls: CountCalls
) -> None:
    """A tree four times as large costs four times the work, and some; not sixteen times."""
    counts: list[int] = []
    for size in (30, 100, 400):  # the first is for what happens once only
        unit = shape(size, [])
        with count_calls() as calls:
            await deed(unit)
        counts.append(calls[0])
        await settle()
    _, small, large = counts
    assert large < 6 * small, f"{small} calls for 100 units, {large} for 400"
