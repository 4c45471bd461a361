"""The virtual clock: time moves when every task is blocked, and only then; what takes real time gets it."""

from __future__ import annotations

import asyncio
import math
import re
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest
import trio

from structmode import Service, StructmodeError
from structmode.testing import Deadlock, VirtualClock, virtual_backend

DAY = 86400.0


async def test_sleep_takes_no_time() -> None:
    """A day of sleep is over at once, and is a day on the loop's clock."""
    real, before = time.monotonic(), anyio.current_time()
    with VirtualClock() as clock:
        await anyio.sleep(DAY)
        assert clock.elapsed == pytest.approx(DAY, abs=1e-6)
    assert anyio.current_time() - before >= DAY
    assert time.monotonic() - real < DAY / 1000


async def test_deadlines_come_in_order() -> None:
    """Tasks wake in the order of their deadlines, each at its time."""
    woken: list[tuple[float, float]] = []

    async def sleeper(seconds: float) -> None:
        await anyio.sleep(seconds)
        woken.append((seconds, round(clock.elapsed, 6)))

    with VirtualClock() as clock:
        async with anyio.create_task_group() as group:
            for seconds in (3600.0, 0.5, 7.25, 60.0):
                group.start_soon(sleeper, seconds)
    assert woken == [(n, n) for n in (0.5, 7.25, 60.0, 3600.0)]


async def test_time_stands_still_while_a_task_works() -> None:
    """As long as one task has something to do, no deadline passes."""
    with VirtualClock() as clock, anyio.move_on_after(0.001) as scope:
        for _ in range(1000):
            await anyio.lowlevel.checkpoint()
        assert clock.elapsed == 0.0
        assert not scope.cancel_called
        await anyio.sleep_forever()
    assert scope.cancelled_caught


async def test_timeouts() -> None:
    """A timeout strikes when its time has come, and not one that comes later."""
    with VirtualClock() as clock:
        with pytest.raises(TimeoutError):
            with anyio.fail_after(10.0):
                await anyio.sleep_forever()
        assert clock.elapsed == pytest.approx(10.0)
        with anyio.fail_after(10.0):
            await anyio.sleep(9.0)


async def tick_for(seconds: float) -> None:
    """Let a timer of a service tick each second."""
    ticks: list[float] = []

    class Ticking(Service):
        @Service.timer(1.0)
        async def tick(self) -> None:
            ticks.append(clock.elapsed)

    with VirtualClock() as clock:
        async with Ticking():
            await anyio.sleep(seconds + 0.5)
    assert len(ticks) == seconds
    assert ticks[-1] == pytest.approx(seconds, abs=1e-3)


async def test_timer_of_a_service() -> None:
    """A timer of a service ticks each second of a virtual hour, without drift."""
    await tick_for(3600)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_timer_of_a_service_for_a_day(name: Literal["asyncio", "trio"]) -> None:
    """So it does for a day; here without asyncio's debug mode, which would take most of the time."""
    anyio.run(tick_for, DAY, **virtual_backend(name))


@pytest.mark.parametrize("late", [2.0**24, 1e10, 1e15])
@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_deadlines_come_however_late_it_is(name: Literal["asyncio", "trio"], late: float) -> None:
    """A deadline comes at any time that can be told, and so does the one after it; they may be seconds or years away."""

    async def main() -> None:
        with VirtualClock() as clock:
            with anyio.move_on_after(late) as scope:
                await anyio.sleep_forever()
            assert scope.cancelled_caught
            for seconds in (1.0, 1.0, 1.0, 1 / 3, 400 * DAY):
                await anyio.sleep(seconds)
            assert clock.elapsed == pytest.approx(late + 400 * DAY + 3.0, abs=2.0)

    # A loop of its own: the time of one that others share would be as late for them.
    anyio.run(main, **virtual_backend(name))


async def test_real_time_before_and_after() -> None:
    """Outside the block time is real, and it never goes back."""
    before = anyio.current_time()
    with VirtualClock():
        await anyio.sleep(100.0)
    after = anyio.current_time()
    assert after >= before + 100.0
    real = time.monotonic()
    await anyio.sleep(0.02)
    assert time.monotonic() - real >= 0.015
    with VirtualClock() as clock:
        await anyio.sleep(100.0)
        assert clock.elapsed == pytest.approx(100.0)
    assert anyio.current_time() >= after + 100.0


# --- What takes real time -------------------------------------------------------------------------


async def test_a_thread_is_waited_for() -> None:
    """While a thread works for a task, the clock stands still, whatever deadlines there are."""
    with VirtualClock() as clock, anyio.move_on_after(0.001) as scope:
        await anyio.to_thread.run_sync(time.sleep, 0.1)
        assert clock.elapsed == 0.0
        assert not scope.cancel_called


async def test_idle_threads_are_not_waited_for() -> None:
    """A worker thread that has nothing to do any more does not hold the clock."""
    with VirtualClock() as clock:
        await anyio.to_thread.run_sync(time.sleep, 0.0)
        await anyio.sleep(DAY)
        assert clock.elapsed == pytest.approx(DAY)


async def test_a_thread_that_calls_back() -> None:
    """What a thread has the event loop do counts as what any task does: a sleep there takes no real time."""

    def work() -> None:
        time.sleep(0.02)
        anyio.from_thread.run(anyio.sleep, DAY)
        time.sleep(0.02)

    with VirtualClock() as clock:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, DAY / 2)
            await anyio.to_thread.run_sync(work)
        assert clock.elapsed == pytest.approx(DAY)


async def test_a_thread_that_calls_back_for_another_thread() -> None:
    """What a thread has the event loop do may itself wait for a thread, and time stands still for that one."""

    async def work_in_another() -> None:
        await anyio.to_thread.run_sync(time.sleep, 0.05)

    with VirtualClock() as clock, anyio.move_on_after(0.001) as scope:
        await anyio.to_thread.run_sync(anyio.from_thread.run, work_in_another)
        assert clock.elapsed == 0.0
        assert not scope.cancel_called


async def test_a_thread_of_nobody_that_calls() -> None:
    """A thread that works for no task, and waits for the event loop, does not stand for one that works."""
    token, called = anyio.lowlevel.current_token(), anyio.Event()

    async def answer() -> None:
        called.set()
        await anyio.sleep(DAY)

    with VirtualClock() as clock:
        caller = threading.Thread(target=lambda: anyio.from_thread.run(answer, token=token))
        caller.start()
        await called.wait()
        with anyio.move_on_after(0.001) as scope:
            await anyio.to_thread.run_sync(time.sleep, 0.05)
        assert not scope.cancelled_caught
        assert clock.elapsed == 0.0
        await anyio.sleep(DAY + 1.0)
        await anyio.to_thread.run_sync(caller.join)


def ask_portal(portal: anyio.from_thread.BlockingPortal) -> None:
    """Have a portal do what takes time, and wait for that."""
    portal.call(anyio.sleep, DAY)
    portal.start_task_soon(anyio.sleep, DAY).result()


async def test_a_thread_that_calls_through_a_portal() -> None:
    """A thread that waits for what a portal does in the event loop does not work meanwhile."""
    with VirtualClock() as clock:
        async with anyio.from_thread.BlockingPortal() as portal:
            await anyio.to_thread.run_sync(ask_portal, portal)
        assert clock.elapsed == pytest.approx(2 * DAY)


async def test_a_thread_that_may_be_abandoned_and_calls() -> None:
    """It is the same for one whose task does not wait for it when it is cancelled."""
    with VirtualClock() as clock:
        await anyio.to_thread.run_sync(
            anyio.from_thread.run, anyio.sleep, DAY, abandon_on_cancel=True
        )
        assert clock.elapsed == pytest.approx(DAY)


def test_a_thread_that_calls_as_asyncio_has_it() -> None:
    """It is the same with asyncio's own means to use threads and to call from them."""

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def ask() -> None:
            asyncio.run_coroutine_threadsafe(asyncio.sleep(DAY), loop).result()

        with VirtualClock() as clock:
            await asyncio.to_thread(ask)
            await anyio.to_thread.run_sync(ask)
            assert clock.elapsed == pytest.approx(2 * DAY)

    anyio.run(main, **virtual_backend("asyncio"))


def test_a_pool_whose_futures_are_awaited() -> None:
    """What is run in a pool by itself is waited for, if its future is awaited on asyncio; what waits in the pool's queue, too."""

    async def main() -> None:
        done: list[object] = []
        with (
            ThreadPoolExecutor(1) as pool,
            VirtualClock() as clock,
            anyio.move_on_after(0.001) as scope,
        ):
            work = [pool.submit(time.sleep, 0.02) for _ in range(3)]
            for future in work:
                future.add_done_callback(done.append)  # is of no account
            await asyncio.gather(*map(asyncio.wrap_future, work))
            assert done == work
            await asyncio.wait([asyncio.wrap_future(pool.submit(time.sleep, 0.02))])
            assert clock.elapsed == 0.0
            assert not scope.cancel_called
            await anyio.sleep(DAY)  # the pool's thread is idle now
        assert scope.cancel_called

    anyio.run(main, **virtual_backend("asyncio"))


def test_executor_of_asyncio() -> None:
    """What asyncio runs in its executor is waited for, too."""

    async def main() -> None:
        with VirtualClock() as clock, anyio.move_on_after(0.001) as scope:
            assert await asyncio.to_thread(round, 1.2) == 1
            await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.05)
            assert clock.elapsed == 0.0
            assert not scope.cancel_called
            await anyio.sleep(DAY)
        assert scope.cancel_called

    anyio.run(main, **virtual_backend("asyncio"))


async def test_io_is_waited_for() -> None:
    """The clock stands still for what comes over a socket, if it comes within the patience."""
    here, there = socket.socketpair()
    here.setblocking(False)

    def send() -> None:
        time.sleep(0.05)
        there.send(b"x")

    sender = threading.Thread(target=send)
    with here, there, VirtualClock(io_patience=5.0) as clock, anyio.move_on_after(1.0) as scope:
        sender.start()
        await anyio.wait_readable(here)
        assert here.recv(1) == b"x"
        assert clock.elapsed == 0.0
        sender.join()
    assert not scope.cancel_called


async def test_io_that_does_not_come() -> None:
    """When nothing comes within the patience, the clock goes on."""
    here, there = socket.socketpair()
    here.setblocking(False)
    with here, there, VirtualClock(io_patience=0.01) as clock:
        with anyio.move_on_after(DAY) as scope:
            await anyio.wait_readable(here)
        assert scope.cancelled_caught
        assert clock.elapsed == pytest.approx(DAY)


async def test_io_without_any_deadline() -> None:
    """A wait for input alone is no deadlock: something may come at any time."""
    here, there = socket.socketpair()
    here.setblocking(False)
    sender = threading.Timer(0.1, there.send, (b"x",))
    with here, there, VirtualClock(io_patience=0.0):
        sender.start()
        await anyio.wait_readable(here)
        sender.join()


class _Sender(trio.abc.Instrument):
    """Sends something when the event loop asks for input for the n-th time."""

    def __init__(self, there: socket.socket, n: int) -> None:
        self._there = there
        self._left = n

    def before_io_wait(self, timeout: float) -> None:
        self._left -= 1
        if not self._left:
            self._there.send(b"x")


def test_io_that_comes_as_the_clock_looks() -> None:
    """Whoever has just been woken by input is not taken for one that waits, whenever it comes, and whoever runs first then."""

    async def main() -> None:
        for n in [*range(1, 9)] * 4:
            here, there = socket.socketpair()
            here.setblocking(False)
            sender = _Sender(there, n)
            with here, there, VirtualClock(io_patience=0.0):
                trio.lowlevel.add_instrument(sender)
                await anyio.wait_readable(here)
            trio.lowlevel.remove_instrument(sender)

    anyio.run(main, **virtual_backend("trio"))


async def test_another_thread_may_call() -> None:
    """While there is a thread that may call into the loop, waiting for ever is no deadlock."""
    event = anyio.Event()
    token = anyio.lowlevel.current_token()

    def call() -> None:
        time.sleep(0.1)
        anyio.from_thread.run_sync(event.set, token=token)

    caller = threading.Thread(target=call)
    with VirtualClock():
        caller.start()
        await event.wait()
    caller.join()


@pytest.mark.parametrize("how", ["timer", "pool"])
async def test_a_timer_or_a_pool_may_call(how: str) -> None:
    """So it is with a timer that will call, and with a thread of a pool that has something to do."""
    event = anyio.Event()
    call = partial(anyio.from_thread.run_sync, event.set, token=anyio.lowlevel.current_token())

    def call_later() -> None:
        time.sleep(0.1)
        call()

    with ThreadPoolExecutor(1) as pool, VirtualClock():
        if how == "timer":
            threading.Timer(0.1, call).start()
        else:
            pool.submit(call_later)
        await event.wait()


@pytest.mark.process
async def test_a_process_is_waited_for() -> None:
    """The end of a process is waited for as input is, on each event loop."""
    command = [sys.executable, "-S", "-c", "pass"]
    streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    with VirtualClock(io_patience=30.0) as clock, anyio.move_on_after(1.0) as scope:
        async with await anyio.open_process(command, **streams) as process:
            assert await process.wait() == 0
        assert clock.elapsed == 0.0
    assert not scope.cancel_called


# --- Deadlocks ------------------------------------------------------------------------------------


async def test_deadlock() -> None:
    """When nothing can happen any more, the block is cancelled, and the error has the stack of every task."""

    async def waits_for_ever() -> None:
        await anyio.Event().wait()

    async def waits_for_a_lock() -> None:
        async with lock:
            await anyio.sleep_forever()

    lock = anyio.Lock()
    with pytest.raises(Deadlock, match="Every task waits for ever") as caught:
        with VirtualClock():
            async with anyio.create_task_group() as group:
                group.start_soon(waits_for_ever, name="the first")
                group.start_soon(waits_for_a_lock, name="the second")
                group.start_soon(waits_for_a_lock, name="the third")
    said = str(caught.value)
    for name in ("the first", "the second", "the third"):
        assert re.search(f"^{name}$", said, re.MULTILINE)
    assert "in waits_for_ever" in said
    assert "in waits_for_a_lock" in said


async def test_deadlock_names_the_tasks_of_the_program_alone() -> None:
    """Tasks of the event loop, and that which moves the clock, are not among those that wait."""
    with pytest.raises(Deadlock) as caught:
        with VirtualClock():
            await anyio.sleep_forever()
    said = str(caught.value)
    assert "<init>" not in said
    assert "run_sync_soon" not in said
    assert "virtual clock" not in said
    assert "in test_deadlock_names_the_tasks_of_the_program_alone" in said


async def test_deadlock_beside_threads_that_do_nothing() -> None:
    """Idle threads of pools wake nobody, nor does a timer that was there before the clock, to end what hangs."""
    watch = threading.Timer(DAY, sys.exit)
    watch.start()
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(Deadlock):
            with VirtualClock():
                await anyio.to_thread.run_sync(pool.submit(int).result)
                await anyio.sleep_forever()
    watch.cancel()
    watch.join()


@pytest.mark.parametrize("abandon", [False, True])
async def test_deadlock_of_a_thread_that_calls(abandon: bool) -> None:
    """A task that waits for a thread, which waits for the event loop for ever, is one that waits for ever."""
    event = anyio.Event()
    with pytest.raises(Deadlock):
        with VirtualClock():
            await anyio.to_thread.run_sync(
                anyio.from_thread.run, event.wait, abandon_on_cancel=abandon
            )
    event.set()  # whoever has been abandoned still waits for it


async def test_deadlock_after_some_time() -> None:
    """A deadlock is found when the last deadline has passed."""
    with pytest.raises(Deadlock):
        with VirtualClock() as clock:
            await anyio.sleep(DAY)
            assert clock.elapsed == pytest.approx(DAY)
            await anyio.sleep_forever()


async def test_deadlock_whose_cancellation_fails() -> None:
    """What fails as the block is cancelled does not hide the deadlock; it is what the deadlock came with."""
    with pytest.raises(Deadlock) as caught:
        with VirtualClock():
            try:
                await anyio.sleep_forever()
            finally:
                raise ValueError("on the way out")
    assert isinstance(caught.value.__cause__, ValueError)


async def test_waiting_until_nothing_happens() -> None:
    """Whoever waits until all tasks are blocked does not wait for ever, though nobody else will do anything."""
    with VirtualClock() as clock:
        async with anyio.create_task_group() as group:
            event = anyio.Event()
            _ = group.start_soon(event.wait)
            for _ in range(20):
                await anyio.wait_all_tasks_blocked()
                await anyio.wait_all_tasks_blocked()
                await anyio.lowlevel.checkpoint()
            event.set()
    assert clock.elapsed < 20.0


async def test_time_stands_still_for_those_set_going_when_all_was_quiet() -> None:
    """Who waits until all tasks are blocked, and then sets another going, does that before time goes on."""
    for _ in range(20):
        with VirtualClock() as clock:
            go, seen = anyio.Event(), list[float]()

            async def work(go: anyio.Event, seen: list[float], clock: VirtualClock) -> None:
                await go.wait()
                seen.append(clock.elapsed)

            async with anyio.create_task_group() as group:
                _ = group.start_soon(anyio.sleep, 10.0)
                _ = group.start_soon(work, go, seen, clock)
                await anyio.wait_all_tasks_blocked()
                go.set()
        assert seen[0] < 10.0


async def test_no_deadlock_when_the_block_fails() -> None:
    """An error leaves the block as it was raised."""
    with pytest.raises(ValueError, match=r"^mine$"):
        with VirtualClock():
            await anyio.sleep(DAY)
            raise ValueError("mine")


async def test_cancelled_from_outside() -> None:
    """A cancellation goes through the block, and the clock is given back."""
    with anyio.CancelScope() as scope:
        with VirtualClock():
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    real = time.monotonic()
    await anyio.sleep(0.02)
    assert time.monotonic() - real >= 0.015


# --- Wrong use ------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_loop_without_virtual_time(backend: str) -> None:
    """A loop whose time can't be virtual is refused, and the error shows how to get one that can."""

    async def main() -> None:
        with pytest.raises(StructmodeError, match=re.escape(f"**virtual_backend({backend!r})")):
            with VirtualClock():
                pytest.fail("entered")
        await anyio.sleep(0)

    anyio.run(main, backend=backend)


async def test_two_clocks() -> None:
    """There is one clock to a loop, and a clock is for one block at a time."""
    with VirtualClock() as clock:
        with pytest.raises(StructmodeError, match="or is so already"):
            with VirtualClock():
                pytest.fail("entered")
        with pytest.raises(StructmodeError, match="in use"):
            with clock:
                pytest.fail("entered")
        await anyio.sleep(1.0)
        assert clock.elapsed == pytest.approx(1.0)


@pytest.mark.parametrize("patience", ["0.01", None, True])
def test_a_patience_that_is_no_number(patience: Any) -> None:
    """It is refused where it is given, and not when it is used."""
    with pytest.raises(TypeError, match=rf"^io_patience: can't take {patience!r} \("):
        VirtualClock(io_patience=patience)


@pytest.mark.parametrize("patience", [-1, math.nan, math.inf])
def test_a_patience_that_is_no_duration(patience: float) -> None:
    """So is a number that nobody can wait for."""
    with pytest.raises(
        ValueError, match=r"^io_patience: must be zero seconds or more, and finite"
    ):
        VirtualClock(io_patience=patience)


def test_unknown_backend() -> None:
    """uvloop's time can't be virtual."""
    name: Any = "uvloop"
    with pytest.raises(ValueError, match="not on 'uvloop'"):
        virtual_backend(name)


@pytest.mark.process
@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_a_deadlock_that_does_not_listen(name: str) -> None:
    """Even what is shielded from being cancelled does not make a deadlock hang or spin."""
    program = f"""
import anyio
from structmode.testing import VirtualClock, virtual_backend

async def main():
    with VirtualClock(), anyio.CancelScope(shield=True):
        await anyio.Event().wait()

anyio.run(main, **virtual_backend({name!r}))
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "Deadlock: Every task waits for ever" in done.stderr
