"""Storms: random trees whose hooks and tasks, and some outsiders, stop, start, restart, crash and cancel at random.

Whatever happens in it, a storm ends, leaves nothing behind, and keeps the laws that `laws.check` knows. Each is made of
a seed, so that one that fails can be looked at again.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from structmode._engine import Task, current_run
from structmode.exceptions import LifecycleError, ShutdownTimeout

from .laws import check
from .unit import Unit, doing, settle

SEEDS = 40
STEPS = ("renew", "first", "set_up", "ready", "tear_down", "hold", "farewell")


@pytest.fixture(scope="module")
def anyio_backend(anyio_backend: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """The backend, but without the debug mode of asyncio, which would make all this take three times as long."""
    name, options = anyio_backend
    return name, {key: value for key, value in options.items() if key != "debug"}


class Thunder(Exception):
    """What fails in a storm."""


# Who waits for a task or a context of a unit that another one kills is told by TaskCancelled.
EXPECTED = (Thunder, LifecycleError, ShutdownTimeout, anyio.TaskCancelled)


class Storm:
    """A tree in which much goes wrong.

    Args:
        seed: What it is made of.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.log: list[str] = []
        self.strikes = self.random.randint(1, 6)
        self.units = [self._unit(n) for n in range(self.random.randint(1, 7))]
        for n, unit in enumerate(self.units[1:], 1):
            self.units[self.random.randrange(n)].life.add_child(unit.life)
        self.root = self.units[0]

    def _unit(self, n: int) -> Unit:
        hooks = {step: self._hook(step) for step in STEPS if self.random.random() < 0.6}
        work = {f"work{k}": self._work for k in range(self.random.randint(0, 2))}
        unit = Unit("abcdefg"[n], self.log, work=work, **doing(hooks))
        unit.stop_timeout = self.random.choice([0.05, 0.2, 5.0])
        unit.drain_timeout = self.random.choice([0.0, 0.0, 0.01])
        return unit

    # -- What the units do

    def _hook(self, step: str) -> Callable[[Unit], Awaitable[None]]:
        async def hook(unit: Unit) -> None:
            await self._ticks(4)
            wanted = step in ("first", "set_up", "ready") and self.random.random() < 0.3
            if wanted and unit.run.accepts:
                await unit.run.contexts.enter_async_context(self._context())
            if step in ("set_up", "ready") and self.random.random() < 0.2:
                unit.begin(self._work)
            await self._maybe_strike(unit)
            await self._ticks(3)

        return hook

    async def _work(self, unit: Unit) -> None:
        try:
            await self._ticks(10)
            await self._maybe_strike(unit)
            await anyio.sleep_forever()
        finally:
            if self.random.random() < 0.3:  # pragma: no branch - a cancellation leaves here
                with anyio.CancelScope(shield=True):
                    await self._ticks(3)

    @asynccontextmanager
    async def _context(self) -> AsyncIterator[None]:
        await self._ticks(3)
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            yield
            group.cancel_scope.cancel()
        await self._ticks(3)

    async def _ticks(self, most: int) -> None:
        for _ in range(self.random.randint(0, most)):
            await anyio.lowlevel.checkpoint()

    async def _maybe_strike(self, unit: Unit) -> None:
        if self.random.random() < 0.15:
            await self.strike(unit)

    async def strike(self, unit: Unit) -> None:
        """Do something to a unit, most likely to the one that is struck itself."""
        if self.strikes <= 0:
            return
        self.strikes -= 1
        other = self.random.choice([unit, *self.units])
        match self.random.randrange(9):
            case 0 | 1:
                await other.life.stop()
            case 2 | 3:
                await other.life.restart()
            case 4:
                other.life.fail(Thunder("reported"), "storm")
            case 5:
                raise Thunder("raised")
            case 6 if current_run() is None:  # hooks that start each other wait for each other
                await other.life.maybe_start()
            case 7 if other.life.alive:
                other.run.spawn(Task(self._work(other), "struck"))
            case _:
                other.life.kill()

    # -- What others do

    async def outsider(self) -> None:
        """Strike from outside."""
        for _ in range(3):
            await self._ticks(40)
            try:
                await self.strike(self.random.choice(self.units))
            except EXPECTED:
                continue

    async def own(self) -> None:
        """Own the tree for a while."""
        scope = anyio.CancelScope()
        with scope:
            if self.random.random() < 0.7:
                async with self.root.life.block():
                    await self._ticks(60)
                    if self.random.random() < 0.3:
                        scope.cancel()
                    await self._ticks(10)
            else:
                await self.root.life.start()
                await self._ticks(60)

    async def run(self) -> None:
        """Let the storm pass."""
        async with anyio.create_task_group() as group:
            for _ in range(self.random.randint(0, 2)):
                group.start_soon(self.outsider)
            try:
                await self.own()
            except EXPECTED:
                pass
        self.strikes = 0
        for unit in self.units:
            await settle()
            try:
                await unit.life.stop()
            except EXPECTED:  # pragma: no cover - both outcomes are right
                pass

    def check(self) -> None:
        """See that the laws were kept."""
        check(self.units, [line for line in self.log if "." in line])
        for unit in self.units:
            for exc, origin, _ in unit.failed:
                assert isinstance(exc, EXPECTED), (exc, origin)
                assert origin != "run", exc


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_storm(seed: int) -> None:
    """A storm ends, and leaves nothing but a log that keeps the laws."""
    before: set[Any] = {task.id for task in anyio.get_running_tasks()}
    storm = Storm(seed)
    with anyio.move_on_after(20) as scope:
        await storm.run()
    assert not scope.cancelled_caught, storm.log
    storm.check()
    await settle()
    left = [task.name for task in anyio.get_running_tasks() if task.id not in before]
    assert not left, storm.log
