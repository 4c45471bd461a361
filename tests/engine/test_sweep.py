"""One thing goes wrong, exactly once, at each checkpoint of each hook of a tree of ten units in turn.

Whatever it is and wherever it strikes, the laws must hold: every unit that was set up is torn down once, parents take
their leave before those they own and end after them, contexts are left once, no task is left, the first failure leaves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from structmode.exceptions import LifecycleError, StartAborted

from .laws import check
from .unit import Unit, doing, hanging, settle

PARENTS = {
    "b": "a",
    "c": "b",
    "d": "c",
    "e": "b",
    "f": "a",
    "g": "f",
    "h": "g",
    "i": "a",
    "j": "i",
}
STEPS = ("renew", "first", "set_up", "ready", "tear_down", "hold", "farewell")


@pytest.fixture(scope="module")
def anyio_backend(anyio_backend: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """The backend, but without the debug mode of asyncio, which would make all this take three times as long."""
    name, options = anyio_backend
    return name, {key: value for key, value in options.items() if key != "debug"}


class Fault(Exception):
    """What goes wrong in these tests."""


class Scenario:
    """A tree of ten units, and what is to happen at one of the checkpoints of its hooks.

    Args:
        strike: What is to happen; it is told the unit whose hook it is.
        position: At which checkpoint, counted from the first.
    """

    def __init__(
        self, strike: Callable[[Scenario, Unit], Awaitable[object]], position: int
    ) -> None:
        self.log: list[str] = []
        self.strike, self.position = strike, position
        self.count = 0
        self.struck: tuple[str, str] | None = None
        self.units: dict[str, Unit] = {}
        for label in "abcdefghij":
            self.units[label] = Unit(
                label, self.log, **doing({step: self._hook(step) for step in STEPS})
            )
            if label in "adh":
                self.units[label].tasks["work"] = hanging
        for child, parent in PARENTS.items():
            if child != "j":  # added in a hook
                self.units[parent].life.add_child(self.units[child].life)
        self.root = self.units["a"]
        self.scope = anyio.CancelScope()

    def _hook(self, step: str) -> Callable[[Unit], Awaitable[None]]:
        async def hook(unit: Unit) -> None:
            await self._checkpoint(unit, step)
            if step == "set_up" and unit.label in "bdgi" and not unit.run.stop_requested:
                unit.run.contexts.sync.enter_context(self._sync_context(unit.label))
                await unit.run.contexts.enter_async_context(self._context(unit.label))
            if step == "set_up" and unit.label == "i":
                unit.life.add_child(self.units["j"].life)
            self.log.append(f"{unit.label}!{step}")

        return hook

    async def _checkpoint(self, unit: Unit, step: str) -> None:
        self.count += 1
        if self.count == self.position:
            self.struck = (unit.label, step)
            await self.strike(self, unit)
        await anyio.lowlevel.checkpoint()

    @asynccontextmanager
    async def _context(self, label: str) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            self.log.append(f"{label}+async")
            try:
                yield
            finally:
                self.log.append(f"{label}-async")
                group.cancel_scope.cancel()

    @contextmanager
    def _sync_context(self, label: str) -> Generator[None]:
        self.log.append(f"{label}+sync")
        try:
            yield
        finally:
            self.log.append(f"{label}-sync")

    # -- The laws

    def check(self) -> None:
        """See that every law was kept."""
        steps = [line for line in self.log if line[1] == "."]
        check(self.units.values(), steps)
        self._check_order()
        for label in self.units:
            for kind in ("async", "sync"):
                entered, left = (
                    self.log.count(f"{label}+{kind}"),
                    self.log.count(f"{label}-{kind}"),
                )
                assert entered == left, (
                    f"{label}: {kind} entered {entered}, left {left}: {self.log}"
                )
            own = [line[1:] for line in self.log if line[0] == label and line[1] in "+-"]
            assert own.count("-async") == "".join(own).count("-async-sync"), (
                f"not LIFO: {self.log}"
            )

    def _check_order(self) -> None:
        for child, parent in PARENTS.items():
            for begin, leave, end in self._spans(child):
                owners = [span for span in self._spans(parent) if span[0] < begin <= span[2]]
                assert len(owners) == 1, f"{child} began outside of {parent}: {self.log}"
                ((_, parent_leave, parent_end),) = owners
                assert end < parent_end, f"{child} outlived {parent}: {self.log}"
                if leave > 0 and not self._alone(child):
                    assert parent_leave < leave, f"{child} left before {parent}: {self.log}"

    def _spans(self, label: str) -> list[tuple[int, int, int]]:
        """Return of each run of a unit where it began, where it took its leave if it was up, and where it ended."""
        spans: list[tuple[int, int, int]] = []
        last = len(STEPS)
        for position, line in enumerate(self.log):
            if line[0] != label or line[1] not in ".!":
                continue
            step = line[2:]
            if line[1] == "." and STEPS.index(step) <= last:
                spans.append((position, -1, position))
                was_up = False
            last = STEPS.index(step)
            begin, leave, _ = spans[-1]
            was_up = was_up or line[1:] == "!ready"
            if was_up and line[1:] == ".tear_down":
                leave = position
            spans[-1] = (begin, leave, position)
        return spans

    def _alone(self, label: str) -> bool:
        """Whether the unit may have stopped by itself: it, and not the tree, was told to."""
        return self.struck is not None and self.struck[0] == label


# --- What may go wrong ----------------------------------------------------------------------------


async def cancel(scenario: Scenario, unit: Unit) -> None:
    """Cancel the owner."""
    scenario.scope.cancel()


async def fail(scenario: Scenario, unit: Unit) -> None:
    """Raise in the hook."""
    raise Fault(unit.label)


async def crash(scenario: Scenario, unit: Unit) -> None:
    """Report a failure."""
    unit.life.fail(Fault(unit.label), "sweep")


async def stop_root(scenario: Scenario, unit: Unit) -> None:
    """Ask for the stop of the tree."""
    scenario.root.run.request_stop()


async def stop_self(scenario: Scenario, unit: Unit) -> None:
    """Stop this unit alone."""
    await unit.life.stop()


async def restart_root(scenario: Scenario, unit: Unit) -> None:
    """Restart the tree."""
    await scenario.root.life.restart()


async def restart_self(scenario: Scenario, unit: Unit) -> None:
    """Restart this unit alone."""
    await unit.life.restart()


async def nothing(scenario: Scenario, unit: Unit) -> None:
    """Do nothing."""


STRIKES = [cancel, fail, crash, stop_root, stop_self, restart_root, restart_self]


# --- How the tree is owned ------------------------------------------------------------------------


async def in_a_block(scenario: Scenario) -> BaseException | None:
    """Run the tree in a block, and return what left it."""
    try:
        with scenario.scope:
            async with scenario.root.life.block():
                await settle()
    except Exception as exc:
        return exc
    return None


async def bare(scenario: Scenario) -> BaseException | None:
    """Run the tree without an owner, and return what start() or stop() raised first."""
    first: list[BaseException] = []
    with scenario.scope:
        try:
            await scenario.root.life.start()
        except Exception as exc:
            first.append(exc)
    for _ in range(2):  # a restart may follow a start that was called off, or a stop
        await settle()
        try:
            await scenario.root.life.stop()
        except Exception as exc:
            first.append(exc)
    await settle()
    return first[0] if first else None


async def checkpoints_of(own: Callable[[Scenario], Awaitable[Any]]) -> int:
    """Return the number of checkpoints of a run in which nothing goes wrong, each of a hook of one unit."""
    scenario = Scenario(nothing, 0)
    assert await own(scenario) is None
    scenario.check()
    assert [line for line in scenario.log if line.endswith("!ready")][-1] == "a!ready"
    assert len(scenario.units) * 6 == scenario.count
    return scenario.count


def check_outcome(scenario: Scenario, left: BaseException | None) -> None:
    """See that what came out is what went wrong."""
    name = scenario.strike.__name__
    where = f"{name} at {scenario.struck}: {left!r}"
    if name in ("fail", "crash"):
        assert scenario.struck is not None
        assert isinstance(left, Fault), where
        assert str(left) == scenario.struck[0], where
    elif name == "cancel":
        assert left is None, where
    else:
        assert left is None or isinstance(left, (StartAborted, LifecycleError)), where
    told = [exc for unit in scenario.units.values() for exc, _, _ in unit.failed]
    assert {type(exc) for exc in told} <= {Fault, StartAborted}, f"{where}: {told}"


@pytest.mark.parametrize("strike", STRIKES, ids=lambda strike: strike.__name__)
@pytest.mark.parametrize("own", [in_a_block, bare], ids=lambda own: own.__name__)
async def test_sweep(
    own: Callable[[Scenario], Awaitable[BaseException | None]],
    strike: Callable[[Scenario, Unit], Awaitable[object]],
) -> None:
    """Whatever strikes at whichever checkpoint, every law is kept."""
    tasks = len(anyio.get_running_tasks())
    stride = 1 if own is in_a_block else 2
    for position in range(1, await checkpoints_of(own) + 1, stride):
        scenario = Scenario(strike, position)
        left = await own(scenario)
        scenario.check()
        assert scenario.struck is not None
        if own is in_a_block or strike in (fail, crash):
            check_outcome(scenario, left)
        await anyio.lowlevel.checkpoint()
        assert len(anyio.get_running_tasks()) == tasks, f"left at {scenario.struck}"
