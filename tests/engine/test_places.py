"""Stop, restart, crash and kill from every place: own hooks and tasks, those of parents, children and siblings, and outside.

The laws ask the same of all of them: no deadlock, nothing lost, nothing half done. So there is one test, for each
place and call, and each unit that may be meant.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from structmode._engine import Task
from structmode.exceptions import LifecycleError, StartAborted

from .laws import check
from .unit import Unit, doing, family, hanging, settle, yielding

Call = Callable[[Unit], Awaitable[object]]
Place = Callable[[dict[str, Unit], Call], object]


@pytest.fixture(scope="module")
def anyio_backend(anyio_backend: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """The backend, but without the debug mode of asyncio, which would make all this take three times as long."""
    name, options = anyio_backend
    return name, {key: value for key, value in options.items() if key != "debug"}


class Boom(Exception):
    """The crash of these tests."""


# --- Calls ----------------------------------------------------------------------------------------


async def stop(unit: Unit) -> None:
    """Stop it."""
    await unit.life.stop()


async def restart(unit: Unit) -> None:
    """Restart it."""
    await unit.life.restart()


async def crash(unit: Unit) -> None:
    """Crash it."""
    unit.life.fail(Boom(unit.label), "test")
    await anyio.lowlevel.checkpoint()


async def kill(unit: Unit) -> None:
    """Kill it."""
    unit.life.kill()
    await anyio.lowlevel.checkpoint()


CALLS: dict[str, Call] = {"stop": stop, "restart": restart, "crash": crash, "kill": kill}


# --- Places ---------------------------------------------------------------------------------------
# Each arranges that the call is made, once, on what it is given.


def once(call: Call, target: Unit) -> Callable[[Unit], Coroutine[Any, Any, None]]:
    """Make an act that does the call the first time only, and notes whether it met anything alive."""
    calls = iter([call])

    async def act(unit: Unit) -> None:
        for now in calls:
            if target.life.alive:
                target.returned.append("met alive")
            await now(target)

    return act


def hook(owner: str, step: str) -> Callable[[dict[str, Unit], Call, Unit], None]:
    """In a hook."""

    def place(units: dict[str, Unit], call: Call, target: Unit) -> None:
        units[owner].steps[step] = once(call, target)

    return place


def task(owner: str) -> Callable[[dict[str, Unit], Call, Unit], None]:
    """In a task, at its very first step."""

    def place(units: dict[str, Unit], call: Call, target: Unit) -> None:
        units[owner].tasks["task"] = once(call, target)

    return place


def later_task(owner: str) -> Callable[[dict[str, Unit], Call, Unit], None]:
    """In a task, when all is running."""

    def place(units: dict[str, Unit], call: Call, target: Unit) -> None:
        act = once(call, target)

        async def wait(unit: Unit) -> None:
            await units["a"].run.settled.wait()
            await act(unit)
            await anyio.sleep_forever()

        units[owner].tasks["task"] = wait

    return place


def nested(owner: str) -> Callable[[dict[str, Unit], Call, Unit], None]:
    """In a task group that a hook has opened."""

    def place(units: dict[str, Unit], call: Call, target: Unit) -> None:
        act = once(call, target)

        async def hook(unit: Unit) -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(act, unit)
                await anyio.lowlevel.checkpoint()

        units[owner].steps["ready"] = hook

    return place


def task_of_a_hook(owner: str) -> Callable[[dict[str, Unit], Call, Unit], None]:
    """In a task that a hook has begun, while that hook waits for ever."""

    def place(units: dict[str, Unit], call: Call, target: Unit) -> None:
        act = once(call, target)

        async def hook(unit: Unit) -> None:
            if "a.renew" in unit.log or f"{owner}.renew" in unit.log:
                return
            unit.begin(act)
            await settle()

        units[owner].steps["set_up"] = hook

    return place


def context(owner: str, *, leaving: bool) -> Callable[[dict[str, Unit], Call, Unit], None]:
    """In an async context, when it is entered or left."""

    def place(units: dict[str, Unit], call: Call, target: Unit) -> None:
        act = once(call, target)

        @asynccontextmanager
        async def calling() -> AsyncIterator[None]:
            if not leaving:
                await act(target)
            yield
            if leaving:
                await act(target)

        async def hook(unit: Unit) -> None:
            await unit.run.contexts.enter_async_context(calling())

        units[owner].steps["set_up"] = hook

    return place


def nowhere(units: dict[str, Unit], call: Call, target: Unit) -> None:
    """Nowhere: the body of the block does it."""


PLACES: dict[str, Callable[[dict[str, Unit], Call, Unit], None]] = {
    **{
        f"{owner}.{step}": hook(owner, step)
        for owner in "abc"
        for step in ("set_up", "ready", "tear_down", "farewell")
    },
    "b.first": hook("b", "first"),
    "b.hold": hook("b", "hold"),
    "task of a": task("a"),
    "task of c": task("c"),
    "later task of a": later_task("a"),
    "later task of c": later_task("c"),
    "later task of d": later_task("d"),
    "nested in c.ready": nested("c"),
    "task begun by b.set_up": task_of_a_hook("b"),
    "entering a context of b": context("b", leaving=False),
    "leaving a context of b": context("b", leaving=True),
    "body": nowhere,
}
PAIRS = [
    (place, name)
    for place in PLACES
    for name in CALLS
    if name != "kill" or place.startswith(("later", "b.", "body"))
]


# --- The test -------------------------------------------------------------------------------------


def tree(log: list[str]) -> dict[str, Unit]:
    """Make a tree of which no step takes long; a deadlock would last until the test is given up."""
    units = family(log)
    for unit in units.values():
        unit.stop_timeout = 1e6
        unit.tasks["work"] = hanging
    return units


async def own(units: dict[str, Unit], place: str, call: Call, target: Unit) -> None:
    """Own the tree for a while, as a block does."""
    async with units["a"].life.block():
        if place == "body":
            await call(target)
        await settle()


@pytest.mark.parametrize(("place", "name"), PAIRS)
async def test_in_a_block(place: str, name: str) -> None:
    """Wherever the call comes from, the tree ends in order, and the crash, and nothing else, leaves the block."""
    for meant in "abcd":
        log: list[str] = []
        units = tree(log)
        target, call = units[meant], CALLS[name]
        PLACES[place](units, call, target)
        left: BaseException | None = None
        try:
            await own(units, place, call, target)
        except (Boom, LifecycleError) as exc:
            left = exc
        for unit in units.values():  # one that was restarted without its parent is on its own
            await unit.life.stop()
        check(units.values(), [line for line in log if ":" not in line])
        told = [exc for unit in units.values() for exc, _, _ in unit.failed]
        assert all(isinstance(exc, (Boom, LifecycleError)) for exc in told)
        match name:
            case "crash":
                assert [exc for exc in told if isinstance(exc, Boom)]
                assert isinstance(left, Boom) or "met alive" not in target.returned
            case "restart":
                assert left is None or isinstance(left, LifecycleError)
            case _:
                assert left is None or isinstance(left, StartAborted)
                assert left is None or "ready" not in units["a"].returned


@pytest.mark.parametrize("name", ["stop", "restart", "crash"])
@pytest.mark.parametrize(
    "place",
    ["a.ready", "c.ready", "later task of a", "later task of c", "b.tear_down", "c.farewell"],
)
async def test_bare(place: str, name: str) -> None:
    """The same holds when nobody but the event loop owns the tree."""
    for meant in "abd":
        log: list[str] = []
        units = tree(log)
        PLACES[place](units, CALLS[name], units[meant])
        try:
            await units["a"].life.start()
        except (Boom, StartAborted):
            pass  # a restart may follow
        await settle()
        for _ in range(2):  # a hook may restart it on its way
            try:
                await units["a"].life.stop()
            except (Boom, LifecycleError):
                pass
            await settle()
        check(units.values(), [line for line in log if ":" not in line])
        told = [exc for unit in units.values() for exc, _, _ in unit.failed]
        assert any(isinstance(exc, Boom) for exc in told) is (name == "crash")


# --- What the caller sees -------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["stop", "restart"])
async def test_own_hook_goes_on(call: str) -> None:
    """In a hook the call returns at once, and the hook goes on to its end before the stop begins."""
    log: list[str] = []

    async def act(unit: Unit) -> None:
        if "a.renew" not in log:
            await getattr(unit.life, call)()
            log.append("returned")
            await yielding(unit)
            log.append("went on")

    for step in ("first", "set_up", "ready"):
        log.clear()
        unit = Unit("a", log, **doing({step: act}))
        try:
            await unit.life.start()
        except StartAborted:
            assert step != "ready" or call == "stop"
        await settle()
        await unit.life.stop()
        assert log[log.index("returned") + 1] == "went on"
        assert unit.state == "stopped"


@pytest.mark.parametrize("call", ["stop", "restart"])
async def test_own_task_is_cancelled(call: str) -> None:
    """In a task the call does not return: the caller is cancelled as part of the stop."""
    seen: list[str] = []

    async def act() -> None:
        try:
            await getattr(units["b"].life, call)()
        except anyio.get_cancelled_exc_class():
            seen.append("cancelled")
            raise
        seen.append("returned")  # pragma: no cover - must not be reached

    units = family([])
    await units["a"].life.start()
    for name in ("b", "c"):
        task = units[name].run.spawn(Task(act(), "act"))
        await task.ended.wait()
        await settle()
        if call == "stop":
            await units["b"].life.start()
        assert {unit.state for unit in units.values()} == {"running"}
    assert seen == ["cancelled", "cancelled"]
    await units["a"].life.stop()


@pytest.mark.parametrize("call", ["stop", "restart"])
async def test_sibling_and_parent_wait(call: str) -> None:
    """From a sibling, or from above, the call returns when it is done."""
    seen: list[str] = []

    async def act() -> None:
        await getattr(units["b"].life, call)()
        seen.append(units["b"].state)

    units = family([])
    await units["a"].life.start()
    for name in ("a", "d"):
        await units[name].run.spawn(Task(act(), "act"))
        await units["b"].life.maybe_start()
    assert seen == ["stopped" if call == "stop" else "running"] * 2
    await units["a"].life.stop()


async def test_hooks_that_stop_each_other() -> None:
    """Two siblings that stop each other while they tear down do not wait for each other until time is up."""
    units = family([])
    b, d = units["b"], units["d"]
    b.steps["tear_down"] = lambda _: d.life.stop()
    d.steps["tear_down"] = lambda _: b.life.stop()
    b.stop_timeout = d.stop_timeout = 0.05
    units["a"].stop_timeout = 5.0
    await units["a"].life.start()
    with anyio.move_on_after(3) as scope:
        try:
            await units["a"].life.stop()
        except TimeoutError:
            pass  # a knot of the user's own; but it must come undone
    assert not scope.cancelled_caught
    assert {unit.state for unit in units.values()} == {"stopped"}


async def test_many_callers_in_many_places() -> None:
    """Everybody at once: hooks, tasks, siblings and outsiders ask for stops of everything, and it is one stop each."""
    log: list[str] = []
    units = tree(log)

    async def stop_all(unit: Unit) -> None:
        async with anyio.create_task_group() as group:
            for other in units.values():
                group.start_soon(other.life.stop)

    for unit in units.values():
        unit.steps["tear_down"] = once(lambda target: target.life.stop(), units["a"])
    await units["a"].life.start()
    for unit in units.values():
        unit.begin(stop_all, "stopper")
    await stop_all(units["a"])
    check(units.values(), [line for line in log if ":" not in line])
    assert all(log.count(f"{name}.tear_down") == 1 for name in "abcd")
