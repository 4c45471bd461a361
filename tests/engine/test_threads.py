"""Event loops in several threads at once: what runs in one of them knows nothing of the others.

Nothing here is about Pythons without the GIL alone: threads may take turns anywhere on the others too.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeAlias

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from structmode._engine import (
    LifecycleEvent,
    Started,
    Starting,
    Stopped,
    Stopping,
    Task,
    current_run,
    emit,
    subscribe,
)
from structmode.exceptions import EventLoopMismatch, LifecycleError, StartAborted
from tests.at_once import at_once, taking_turns_often

from .unit import RESTART, START, STOP, Unit, family, hanging, raising

THREADS = 6

Main: TypeAlias = Callable[[], Awaitable[object]]


@pytest.fixture(autouse=True)
def threads_take_turns_often() -> Iterator[None]:
    """Have a thread lose the GIL, where there is one, as soon as another wants it."""
    with taking_turns_often():
        yield


def loops_at_once(mains: Sequence[Main], *options: dict[str, Any]) -> None:
    """Run each in an event loop of its own, of the given kinds by turns, all at the same time."""
    at_once(
        *(
            partial(anyio.run, main, **options[place % len(options)])
            for place, main in enumerate(mains)
        )
    )


def without_first(log: Sequence[str]) -> list[str]:
    """Return a log without what is done in the first start only."""
    return [line for line in log if not line.endswith(".first")]


# --- Runs of their own ----------------------------------------------------------------------------


def check_many_lives(*options: dict[str, Any]) -> None:
    logs: list[list[str]] = [[] for _ in range(THREADS)]

    async def live(log: list[str]) -> None:
        units = family(log)
        for _ in range(10):
            log.clear()
            async with units["a"].life.block():
                await units["a"].life.restart()
            # What is done in the first start only has been done in the first round.
            assert without_first(log) == [*without_first(START), *STOP, *RESTART, *STOP]
            assert current_run() is None

    loops_at_once([partial(live, log) for log in logs], *options)


def test_each_tree_in_order(fresh_loop: dict[str, Any]) -> None:
    """Trees that start, restart and stop at the same time, each on its own loop, keep each to its order."""
    check_many_lives(fresh_loop)


def test_loops_of_both_kinds(fresh_loop: dict[str, Any]) -> None:
    """So they do on loops of different kinds."""
    check_many_lives(fresh_loop, {"backend": "trio"}, {"backend": "asyncio"})


def test_crash_stays_on_its_loop(fresh_loop: dict[str, Any]) -> None:
    """Trees crash at the same time on their own loops: each block raises its own failure, and no other's."""
    bystander = THREADS - 1
    together = threading.Barrier(THREADS, timeout=20)
    crashed = threading.Barrier(THREADS, timeout=20)

    async def live(place: int) -> None:
        error = ValueError(f"in loop {place}")
        leaf = Unit("leaf", [], work={"t": hanging})
        root = Unit("root", [], Unit("middle", [], leaf))
        with pytest.raises(ValueError, match=f"^in loop {place}$") as caught:
            async with root.life.block():
                together.wait()
                if place != bystander:
                    leaf.begin(raising(error))
                    await anyio.sleep_forever()
                crashed.wait()
                assert [leaf.state, root.state] == ["running", "running"]
                assert leaf.run.failures == []
                raise error
        if place != bystander:
            crashed.wait()
            assert root.run.crash_reason is error
            assert leaf.run.failures == [error]
        assert caught.value is error

    loops_at_once([partial(live, place) for place in range(THREADS)], fresh_loop)


def test_bare_starts(fresh_loop: dict[str, Any]) -> None:
    """What nobody owns is held until it stops, on each loop, whatever other loops begin and end meanwhile."""

    async def live() -> None:
        for _ in range(10):
            units = [Unit(name, [], work={"t": hanging}) for name in "abc"]
            for unit in units:
                await unit.life.start()
            gc.collect()
            assert {unit.state for unit in units} == {"running"}
            for unit in units:
                await unit.life.stop()
            assert {unit.state for unit in units} == {"stopped"}

    loops_at_once([live] * THREADS, fresh_loop)


def test_unit_handed_on(fresh_loop: dict[str, Any]) -> None:
    """A unit may run in one thread, and later in another; who asks for its state in between may be anywhere."""
    log: list[str] = []
    units = family(log)
    life = units["a"].life

    async def main() -> None:
        async with life.block():
            with ThreadPoolExecutor(1) as pool:
                assert pool.submit(lambda: units["d"].state).result() == "running"
                assert not pool.submit(life.signal.is_set).result()

    for _ in range(3):
        at_once(partial(anyio.run, main, **fresh_loop))
        assert {unit.state for unit in units.values()} == {"stopped"}
    assert log == [*START, *STOP, *([*without_first(START), *STOP] * 2)]


# --- Events ---------------------------------------------------------------------------------------


def test_one_listener_hears_all(fresh_loop: dict[str, Any]) -> None:
    """A listener is told of what happens on every loop: once, in order, in the thread where it happened."""
    told: list[tuple[int, LifecycleEvent]] = []
    lived: dict[int, Unit] = {}
    end = subscribe(lambda event: told.append((threading.get_ident(), event)))

    async def live() -> None:
        unit = lived[threading.get_ident()] = Unit("a", [], Unit("b", []))
        for _ in range(20):
            async with unit.life.block():
                pass

    loops_at_once([live] * THREADS, fresh_loop)
    end()
    assert len(lived) == THREADS
    for thread, unit in lived.items():
        about = [event for where, event in told if where == thread and event.subject is unit]
        assert about == [Starting(unit), Started(unit), Stopping(unit), Stopped(unit)] * 20
    assert len(told) == THREADS * 20 * 8


def test_subscriptions_from_many_threads() -> None:
    """Whoever has subscribed is told, and whoever has unsubscribed is not, whatever other threads do to theirs."""
    lasting = [subscribe(lambda event: None) for _ in range(300)]
    together = threading.Barrier(THREADS, timeout=20)
    heard: dict[object, list[LifecycleEvent]] = {object(): [] for _ in range(THREADS)}

    def come_and_go(subject: object) -> None:
        told = heard[subject]
        end = subscribe(told.append)
        for _ in range(30):
            together.wait()
            end()
            end = subscribe(told.append)
            together.wait()
            emit(Started, subject)
        end()
        together.wait()
        emit(Stopped, subject)

    at_once(*(partial(come_and_go, subject) for subject in heard))
    for end in lasting:
        end()
    about = {
        subject: [event for event in told if event.subject is subject]
        for subject, told in heard.items()
    }
    assert about == {subject: [Started(subject)] * 30 for subject in heard}


# --- Calls from elsewhere -------------------------------------------------------------------------


async def test_calls_from_many_loops() -> None:
    """Calls from many other loops at once are all refused, and the unit goes on as if there were none."""
    unit = Unit("a", [], Unit("b", []), work={"t": hanging})

    async def elsewhere() -> None:
        for call in (unit.life.start, unit.life.maybe_start, unit.life.stop, unit.life.restart):
            with pytest.raises(EventLoopMismatch):
                await call()

    async with unit.life.block():
        first = unit.run
        kinds: list[dict[str, Any]] = [{"backend": "asyncio"}, {"backend": "trio"}]
        await anyio.to_thread.run_sync(loops_at_once, [elsewhere] * THREADS, *kinds)
        assert unit.run is first
        assert not first.stop_requested
        assert unit.state == "running"


@pytest.mark.parametrize("kind", [Starting, Started, Stopping])
async def test_call_from_another_loop_at_any_time(kind: type[LifecycleEvent]) -> None:
    """A call from another loop is refused from the first moment of a run to the last."""
    unit = Unit("a", [])
    refused: list[str] = []

    async def elsewhere() -> None:
        for call in (unit.life.start, unit.life.maybe_start, unit.life.stop, unit.life.restart):
            with pytest.raises(EventLoopMismatch) as caught:
                await call()
            refused.append(str(caught.value))

    def listen(event: LifecycleEvent) -> None:
        if isinstance(event, kind):
            at_once(partial(anyio.run, elsewhere))

    end = subscribe(listen)
    try:
        async with unit.life.block():
            assert unit.state == "running"
    finally:
        end()
    assert len(refused) == 4
    assert unit.log == ["a.first", "a.set_up", "a.ready", "a.tear_down", "a.farewell"]


async def test_task_cancelled_from_another_thread() -> None:
    """A task's handle can't be cancelled from elsewhere, be it from another loop or from none; it goes on."""
    unit = Unit("a", [])

    def call() -> None:
        with pytest.raises(EventLoopMismatch, match=r"cancel\(\)"):
            task.cancel()

    async def elsewhere() -> None:
        call()

    async with unit.life.block():
        task = unit.begin(hanging)
        await task.has_begun()
        with ThreadPoolExecutor(1) as pool:  # a thread that anyio does not know
            pool.submit(call).result()
            pool.submit(anyio.run, elsewhere).result()
        assert not task.done()
        assert not task.cancelling
        assert task.cancel()
    assert task.cancelled()


async def test_calls_through_the_loop() -> None:
    """Many threads may call at once through the unit's own loop: one stop serves all that ask for it."""
    unit = Unit("a", [], work={"t": hanging})
    token = anyio.lowlevel.current_token()

    def call() -> None:
        anyio.from_thread.run(unit.life.stop, token=token)

    async with unit.life.block():
        await anyio.to_thread.run_sync(at_once, *[call] * THREADS)
        assert unit.state == "stopped"
    assert unit.log.count("a.tear_down") == 1


async def test_starts_through_the_loop() -> None:
    """Of many threads that start it at once through one loop, one does; the others are told that it runs."""
    unit = Unit("a", [])
    token = anyio.lowlevel.current_token()
    refused: list[LifecycleError] = []

    def call() -> None:
        try:
            anyio.from_thread.run(unit.life.start, token=token)
        except LifecycleError as exc:
            refused.append(exc)

    await anyio.to_thread.run_sync(at_once, *[call] * THREADS)
    assert unit.state == "running"
    assert len(refused) == THREADS - 1
    assert not any(isinstance(exc, (EventLoopMismatch, StartAborted)) for exc in refused)
    await unit.life.stop()
    assert unit.log.count("a.set_up") == 1


async def test_work_through_the_loop() -> None:
    """Work that many threads hand in at once through the loop is all done, and each gets its own result."""
    unit = Unit("a", [])
    token = anyio.lowlevel.current_token()
    results: dict[int, int] = {}

    async def double(number: int) -> int:
        await anyio.lowlevel.checkpoint()
        return 2 * number

    async def hand_in(number: int) -> int:
        return await unit.run.spawn(Task(double(number), f"double {number}"))

    def call(number: int) -> None:
        results[number] = anyio.from_thread.run(hand_in, number, token=token)

    async with unit.life.block():
        calls = [partial(call, number) for number in range(THREADS)]
        await anyio.to_thread.run_sync(at_once, *calls)
    assert results == {number: 2 * number for number in range(THREADS)}
