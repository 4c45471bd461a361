"""A unit for the tests of the engine: it records its steps, and does in each what it is told to do."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel

from structmode._engine import Fate, Life, Run, Task
from structmode._unit import HOOKS

Act: TypeAlias = Callable[["Unit"], Awaitable[object]]


class Unit:
    """A unit whose steps are recorded in `log`, as "label.step".

    Args:
        label: Its name.
        log: Where the steps are recorded, shared by a tree.
        *children: What starts and stops with it.
        needs: What it needs, in groups.
        work: What its tasks do, by name.
        **steps: What to do in a step, by the step's name.
    """

    step_names: Mapping[str, str] = HOOKS
    start_timeout = math.inf
    stop_timeout = 5.0
    drain_timeout = 0.0

    def __init__(
        self,
        label: str,
        log: list[str],
        *children: Unit,
        needs: Iterable[Iterable[Unit]] = (),
        work: Mapping[str, Act] | None = None,
        **steps: Act,
    ) -> None:
        self.label = label
        self.log = log
        self.steps = steps
        self.needed = needs
        self.tasks = dict(work or {})
        self.failed: list[tuple[BaseException, str, Fate]] = []
        self.released: list[object] = []
        self.returned: list[str] = []
        self.life = Life(self)
        for child in children:
            self.life.add_child(child.life)

    def begin(self, act: Act, name: str = "task") -> Task[Any]:
        """Begin a task that does `act`."""
        return self.run.spawn(Task(self._work(name, act), name))

    @property
    def subject(self) -> Unit:
        """What events are about: the unit itself."""
        return self

    async def _step(self, name: str) -> None:
        self.log.append(f"{self.label}.{name}")
        if name in self.steps:
            await self.steps[name](self)
        self.returned.append(name)

    async def renew(self) -> None:
        await self._step("renew")

    async def first_set_up(self) -> None:
        await self._step("first")

    def needs(self) -> list[list[Life]]:
        return [[unit.life for unit in group] for group in self.needed]

    async def set_up(self) -> None:
        await self._step("set_up")

    def work(self) -> list[Task[Any]]:
        return [Task(self._work(name, act), name) for name, act in self.tasks.items()]

    async def _work(self, name: str, act: Act) -> None:
        self.log.append(f"{self.label}:{name}")
        await act(self)

    async def ready(self) -> None:
        await self._step("ready")

    async def tear_down(self) -> None:
        await self._step("tear_down")

    async def hold(self) -> None:
        if "hold" in self.steps:
            await self._step("hold")

    async def farewell(self) -> None:
        await self._step("farewell")

    def on_failure(self, exc: BaseException, origin: str, fate: Fate) -> None:
        self.failed.append((exc, origin, fate))

    def on_child_failed(self, child: object, exc: BaseException) -> bool:
        return False

    def on_child_ended(self, child: object) -> None:
        pass

    def on_child_released(self, child: object) -> None:
        self.released.append(child)

    @property
    def run(self) -> Run:
        """The run that exists, or existed last."""
        return self.life.current

    @property
    def state(self) -> str:
        return self.run.state.value


def doing(steps: Mapping[str, Act]) -> dict[str, Any]:
    """Make the arguments of a `Unit` of what to do in steps whose names only the running test knows."""
    return dict(steps)


def raising(exc: BaseException) -> Act:
    """Make an act that raises `exc`."""

    async def act(unit: Unit) -> None:
        raise exc

    return act


async def hanging(unit: Unit) -> None:
    """Wait for ever."""
    await anyio.sleep_forever()


async def yielding(unit: Unit) -> None:
    """Let the others run once."""
    await anyio.lowlevel.checkpoint()


async def stubborn(event: anyio.Event) -> None:
    """Wait for `event`, whatever is cancelled meanwhile."""
    with anyio.CancelScope(shield=True):
        while not event.is_set():
            try:
                await event.wait()
            except anyio.get_cancelled_exc_class():
                continue


_settling: set[object] = set()


async def settle() -> None:
    """Let everything run that can.

    `anyio.wait_all_tasks_blocked` does the same, but on asyncio it takes a tenth of a second.
    """
    try:
        this = asyncio.current_task()
    except RuntimeError:
        await anyio.wait_all_tasks_blocked()
        return
    _settling.add(this)
    try:
        quiet = 0
        while quiet < 5:  # what the loop is to call soon is in no task
            await anyio.lowlevel.checkpoint()
            quiet = quiet + 1 if all(map(_blocked, asyncio.all_tasks() - _settling)) else 0
    finally:
        _settling.discard(this)


def _blocked(task: asyncio.Task[Any]) -> bool:
    waiter: asyncio.Future[Any] | None = task._fut_waiter  # type: ignore[attr-defined]
    return waiter is not None and not waiter.done()


def family(log: list[str], **steps: Mapping[str, Act]) -> dict[str, Unit]:
    """Make a tree, a(b(c), d), with what to do in the steps of each; returns its units by name."""

    def make(label: str, *children: Unit) -> Unit:
        return Unit(label, log, *children, **doing(steps.get(label, {})))

    c, d = make("c"), make("d")
    b = make("b", c)
    return {"a": make("a", b, d), "b": b, "c": c, "d": d}


START = (
    "a.first a.set_up b.first b.set_up c.first c.set_up c.ready b.ready d.first d.set_up d.ready"
    " a.ready"
).split()
RESTART = "a.renew a.set_up b.set_up c.set_up c.ready b.ready d.set_up d.ready a.ready".split()
STOP = (
    "a.tear_down d.tear_down d.farewell b.tear_down c.tear_down c.farewell b.farewell a.farewell"
).split()
