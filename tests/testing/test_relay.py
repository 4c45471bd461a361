"""One virtual clock for the event loops of several threads: they run one at a time, and time moves for all of them at once."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
from typing import Any, Literal

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from trio.testing import MockClock

from structmode import Service, ShutdownTimeout
from structmode.testing import Deadlock, VirtualClock, virtual_backend
from structmode.testing._relay import Rest, Setting
from structmode.testing._taps_on_trio import _settle_chance
from structmode.threads import QueueServiceThread, ServiceThread, WorkerThread

DAY = 86400.0


@pytest.fixture(params=["asyncio", "trio"])
def inside(request: pytest.FixtureRequest) -> str:
    """What the event loop of the thread is."""
    name: str = request.param
    return name


class Log:
    """What has happened, in order, each with its time and its thread."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.lines: list[str] = []

    def note(self, what: str) -> None:
        thread = threading.current_thread().name.removeprefix("MainThread")
        self.lines.append(f"{self._clock.elapsed:.6f} {thread} {what}")


class Ticking(QueueServiceThread):
    """Ticks in its thread, and answers."""

    mundane_level = "debug"

    def __init__(self, name: str, log: Log, **kwargs: Any) -> None:
        self._name = name
        self._log = log
        super().__init__(**kwargs)

    @property
    def label(self) -> str:
        return self._name

    async def on_start(self) -> None:
        self._log.note("starts")
        await anyio.sleep(0.25)

    @Service.timer(1.0)
    async def tick(self) -> None:
        self._log.note("ticks")
        await anyio.sleep(0.25)
        self._log.note("has ticked")

    async def answer(self, question: int) -> int:
        self._log.note(f"is asked {question}")
        await anyio.sleep(question / 10)
        self._log.note(f"answers {question}")
        return question

    async def on_stop(self) -> None:
        self._log.note("stops")


async def ask(service: Ticking, log: Log, question: int) -> None:
    """Ask a service in another thread."""
    answer = await service.call_thread(service.answer, question)
    log.note(f"is told {answer}")


async def converse(inside: str, setting: Setting) -> list[str]:
    """Have two threads work for a while, and be asked things; returns what happened."""
    clock = VirtualClock()
    clock._setting = setting
    _settle_chance(0)
    with clock:
        log = Log(clock)
        first, second = Ticking("a", log, backend=inside), Ticking("b", log, backend="asyncio")
        async with first, second, anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(ask, (first, second)[number % 2], log, number)
            await first.restart()
            await anyio.sleep(3.0)
        log.note("is done")
    return log.lines


@pytest.mark.parametrize("outside", ["asyncio", "trio"])
def test_the_same_each_time(outside: Literal["asyncio", "trio"], inside: str) -> None:
    """What several threads do, they do in the same order each time, whatever the machine does meanwhile."""
    setting = Setting(begins_at=1024.0)
    lines, *others = (
        anyio.run(converse, inside, setting, **virtual_backend(outside)) for _ in range(3)
    )
    assert lines[-1].endswith("is done")
    assert len({line.split()[1] for line in lines}) == 3
    assert others == [lines, lines]


def test_turns_that_are_cut_short(inside: str) -> None:
    """Other orders can be asked for, by a seed, and each is the same each time."""
    seen: list[list[str]] = []
    for seed in (1, 2, 3):
        once, again = (
            anyio.run(
                converse,
                inside,
                Setting(begins_at=1024.0, seed=seed),
                **virtual_backend("asyncio"),
            )
            for _ in range(2)
        )
        assert once == again
        seen.append(once)
    assert len({tuple(lines) for lines in seen}) > 1


async def test_time_is_one(inside: str) -> None:
    """Sleeps in several loops end in the order of their deadlines, and all see the same time."""
    with VirtualClock() as clock:
        log = Log(clock)
        service = Ticking("a", log, backend=inside, num_workers=3)
        async with service:
            began = clock.elapsed

            async def sleeper(place: str, seconds: float) -> None:
                await anyio.sleep(seconds)
                log.lines.append(f"{place} {clock.elapsed - began:.3f}")

            async def sleeper_there(seconds: float) -> None:
                await service.call_thread(sleeper, "there", seconds)

            log.lines.clear()
            async with anyio.create_task_group() as group:
                for seconds in (0.9, 0.3, 0.6):
                    group.start_soon(sleeper, "here", seconds)
                    group.start_soon(sleeper_there, seconds - 0.1)
        slept = [line for line in log.lines if line.startswith(("here", "there"))]
    assert slept == [
        *("there 0.200", "here 0.300", "there 0.500"),
        *("here 0.600", "there 0.800", "here 0.900"),
    ]


async def test_a_day_in_a_thread(inside: str) -> None:
    """A timer in a thread ticks for a day at once, and the thread's owner sees the day pass."""
    ticks: list[float] = []

    class Hourly(ServiceThread):
        @Service.timer(3600.0)
        async def tick(self) -> None:
            ticks.append(anyio.current_time() - began)

    real = time.monotonic()
    with VirtualClock() as clock:
        async with Hourly(backend=inside):
            began = anyio.current_time()
            await anyio.sleep(DAY + 1.0)
        assert clock.elapsed == pytest.approx(DAY + 1.0)
    assert time.monotonic() - real < DAY / 1000
    assert ticks == pytest.approx([3600.0 * n for n in range(1, 25)], abs=1e-3)


async def test_a_thread_in_a_thread(inside: str) -> None:
    """Threads that are begun in a thread go by the same clock."""

    class Outer(ServiceThread):
        def __post_init__(self) -> None:
            self.inner = self.add_dependency(Ticking("inner", log, backend=inside))

        async def on_started(self) -> None:
            await ask(self.inner, log, 5)

    with VirtualClock() as clock:
        log = Log(clock)
        async with Outer(backend="trio"):
            assert clock.elapsed == pytest.approx(0.75)
            await anyio.sleep(10.0)
        assert clock.elapsed == pytest.approx(10.75)
    assert log.lines.count("0.750000 inner-thread answers 5") == 1


async def test_a_stop_that_takes_too_long(inside: str) -> None:
    """A thread that does not end in time, in virtual time, is given up in virtual time."""

    class Stuck(ServiceThread):
        shutdown_timeout = 60.0

        @Service.task
        async def stay(self) -> None:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(DAY)

    with VirtualClock() as clock:
        with pytest.raises(ShutdownTimeout, match="stay"):
            async with Stuck(backend=inside):
                await anyio.sleep(1.0)
        assert 60.0 < clock.elapsed < 70.0
        await anyio.sleep(DAY)  # it ends


async def test_a_loop_that_never_rests(inside: str) -> None:
    """A loop that always has something to do does not keep the others from running; time stands still."""

    class Busy(ServiceThread):
        async def on_started(self) -> None:
            self.add_future(self.turn())

        async def turn(self) -> None:
            while not said:
                await anyio.lowlevel.checkpoint()

    said: list[float] = []
    with VirtualClock() as clock:
        async with Busy(backend=inside):
            while len(said) < 1:
                for _ in range(1000):
                    await anyio.lowlevel.checkpoint()
                said.append(clock.elapsed)
            await anyio.sleep(1.0)
        assert said == [0.0]


# --- What takes real time -------------------------------------------------------------------------


async def test_a_thread_that_blocks(inside: str) -> None:
    """A loop that blocks, and a worker thread that it waits for, are waited for in real time."""

    async def block() -> None:
        time.sleep(0.1)  # noqa: ASYNC251 - that is what is tested
        await anyio.to_thread.run_sync(time.sleep, 0.1)

    with VirtualClock() as clock, anyio.move_on_after(1.0) as scope:
        async with QueueServiceThread(backend=inside) as service:
            await service.call_thread(block)
            assert clock.elapsed == 0.0
        await anyio.to_thread.run_sync(time.sleep, 0.1)
        assert clock.elapsed == 0.0
    assert not scope.cancel_called


async def test_others_go_on_while_one_waits_for_a_worker(inside: str) -> None:
    """A loop that waits for a worker thread does not hold the others up for long, nor does time go on."""
    go = threading.Event()

    async def wait_for_a_worker() -> None:
        await anyio.to_thread.run_sync(go.wait)

    with VirtualClock() as clock:
        first, second = (QueueServiceThread(backend=inside) for _ in range(2))
        async with first, second, anyio.create_task_group() as group:
            group.start_soon(first.call_thread, wait_for_a_worker)
            for _ in range(3):
                assert await second.call_thread(lambda: 1) == 1
            go.set()
        assert clock.elapsed == 0.0


async def test_io_in_a_thread(inside: str) -> None:
    """A thread that waits for input gets the patience, and time goes on after it."""
    here, there = socket.socketpair()
    here.setblocking(False)

    async def wait(service: QueueServiceThread) -> None:
        await service.call_thread(anyio.wait_readable, here)

    with here, there, VirtualClock(io_patience=0.02) as clock:
        async with QueueServiceThread(backend=inside) as service:
            async with anyio.create_task_group() as group:
                group.start_soon(wait, service)
                await anyio.sleep(DAY)
                there.send(b"x")
        assert clock.elapsed == pytest.approx(DAY)


async def test_io_alone(inside: str) -> None:
    """That all loops wait, and one of them for input, is no deadlock."""
    here, there = socket.socketpair()
    here.setblocking(False)
    sender = threading.Timer(0.1, there.send, (b"x",))
    with here, there, VirtualClock(io_patience=0.0):
        async with QueueServiceThread(backend=inside) as service:
            sender.start()
            await service.call_thread(anyio.wait_readable, here)
            sender.join()


async def test_a_thread_that_was_there_before(inside: str) -> None:
    """A thread that has been begun before the clock goes on in real time, and who waits for it waits in real time."""
    async with QueueServiceThread(backend=inside) as service:
        with VirtualClock() as clock, anyio.fail_after(3600):
            await service.call_thread(anyio.sleep, 0.05)
            assert clock.elapsed == 0.0


@pytest.mark.parametrize(
    "how", [{"backend": "asyncio+uvloop"}, {"backend_options": {"use_uvloop": True}}], ids=repr
)
async def test_a_loop_that_cannot_be_virtual(how: dict[str, Any]) -> None:
    """It goes by real time, and who waits for it waits in real time."""
    pytest.importorskip("uvloop")
    with VirtualClock() as clock, anyio.fail_after(3600):
        async with QueueServiceThread(**how) as service:
            await service.call_thread(anyio.sleep, 0.05)
            assert clock.elapsed == 0.0
        await anyio.sleep(10.0)
        assert clock.elapsed == pytest.approx(10.0)


async def test_a_clock_of_its_own() -> None:
    """A thread on trio may have another clock: a MockClock goes along, any other goes by real time."""
    ahead = MockClock()
    ahead.jump(1e6)
    with VirtualClock() as clock:
        for mock in (MockClock(rate=1.0), ahead):
            before = clock.elapsed
            service = QueueServiceThread(backend="trio", backend_options={"clock": mock})
            async with service:
                await service.call_thread(anyio.sleep, DAY)
            assert clock.elapsed - before == pytest.approx(DAY)


async def test_the_block_is_left(inside: str) -> None:
    """A thread that still runs then goes on in real time, and its clock does not go back."""
    service = QueueServiceThread(backend=inside)
    with VirtualClock():
        await service.start()
        await anyio.sleep(DAY)
        virtual = await service.call_thread(anyio.current_time)
    real = time.monotonic()
    await service.call_thread(anyio.sleep, 0.02)
    assert time.monotonic() - real >= 0.015
    assert virtual <= await service.call_thread(anyio.current_time) < virtual + 3600.0
    inner = QueueServiceThread(backend=inside)  # begun in a loop that has had its clock given back
    await service.call_thread(inner.start)
    assert await inner.call_thread(lambda: 1) == 1
    await service.call_thread(inner.stop)
    await service.restart()
    await service.stop()


async def test_the_block_is_left_by_busy_threads(inside: str) -> None:
    """A thread that always has something to do goes on in real time as well."""

    class Busy(ServiceThread):
        async def on_started(self) -> None:
            self.add_future(self.turn())

        async def turn(self) -> None:
            while not self.should_stop:
                await anyio.lowlevel.checkpoint()

    service = Busy(backend=inside)
    with VirtualClock():
        await service.start()
    await service.stop()


async def test_a_loop_that_is_stopped_from_within() -> None:
    """An event loop that ends in disorder leaves the others to go on; the error comes out."""
    service = QueueServiceThread(backend="asyncio")
    with VirtualClock() as clock:
        with pytest.raises(RuntimeError, match="Event loop stopped"):
            async with service:
                service.thread_loop.call_soon_threadsafe(service.thread_loop.stop)
                await anyio.sleep(DAY)
        await anyio.sleep(DAY)
        assert clock.elapsed >= DAY


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_a_loop_that_fails(backend: str) -> None:
    """What it raises comes out as it is; time goes on for the others."""
    raised: list[BaseException] = []

    async def main() -> None:
        await anyio.sleep(DAY)
        raise OSError("no more")

    with VirtualClock() as clock:
        seat = clock._relay.seat()

        def work() -> None:
            try:
                seat.run(main, {"backend": backend})
            except OSError as exc:
                raised.append(exc)

        thread = threading.Thread(target=seat.serve, args=(work,))
        thread.start()
        seat.begun(thread)
        await anyio.sleep(DAY / 2)
        assert not raised
        await anyio.sleep(DAY)
        assert [str(exc) for exc in raised] == ["no more"]
        assert clock.elapsed == pytest.approx(1.5 * DAY)
    assert not thread.is_alive()


async def test_a_worker_that_is_done_soon(inside: str) -> None:
    """While one event loop waits for a worker thread, the others have their turn, and time stands still."""
    with VirtualClock() as clock:
        async with ServiceThread(backend=inside):
            await anyio.to_thread.run_sync(time.sleep, 0.005)
        assert clock.elapsed == 0.0


async def test_a_thread_that_has_just_come() -> None:
    """It has no tasks that could be described; when nobody is left to have a turn, it goes on at once."""
    done: list[str] = []
    with VirtualClock() as clock:
        seat, late = clock._relay.seat(), clock._relay.seat()
        thread = threading.Thread(target=seat.serve, args=(lambda: done.append("first"),))
        thread.start()
        seat.begun(thread)
        assert "test_a_thread_that_has_just_come" in clock._relay.describe()
        assert not done
        await anyio.sleep(1.0)
        assert done == ["first"]
    late.serve(lambda: done.append("late"))
    assert done == ["first", "late"]
    clock._relay.dissolve()  # it has no effect any more
    assert clock._relay.founder.hand_on(Rest(), quiet=True).over
    assert not thread.is_alive()


async def test_a_thread_that_comes_late(inside: str) -> None:
    """Whoever has begun a thread waits until it has come."""

    class Late(WorkerThread):
        def run(self) -> None:
            time.sleep(0.12)
            super().run()
            time.sleep(0.12)

    with VirtualClock() as clock, anyio.move_on_after(1.0) as scope:
        async with ServiceThread(backend=inside, Worker=Late):
            assert clock.elapsed == 0.0
    assert not scope.cancel_called


# --- Deadlocks ------------------------------------------------------------------------------------


async def test_deadlock_across_threads(inside: str) -> None:
    """When nothing can happen any more in any loop, the block is cancelled, and the stacks of all loops are told."""

    async def waits_there() -> None:
        await anyio.Event().wait()

    with pytest.raises(Deadlock, match="Every task waits for ever") as caught:
        with VirtualClock():
            async with QueueServiceThread(backend=inside) as service:
                await service.call_thread(waits_there)
    said = str(caught.value)
    assert "in waits_there" in said
    assert "in test_deadlock_across_threads" in said
    assert re.search("^porter$", said, re.MULTILINE)


async def test_a_thread_that_never_comes(inside: str) -> None:
    """A thread that ends before it has come to its event loop leaves a deadlock, which is told."""

    class Absent(WorkerThread):
        def run(self) -> None:
            pass

    with pytest.raises(Deadlock, match="until_started"):
        with VirtualClock():
            await ServiceThread(backend=inside, Worker=Absent).start()


@pytest.mark.process
@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_a_deadlock_across_threads_that_does_not_listen(name: str, inside: str) -> None:
    """Even if one is shielded from being cancelled, it does not make the others hang or spin."""
    program = f"""
import anyio
from structmode.testing import VirtualClock, virtual_backend
from structmode.threads import ServiceThread

async def main():
    with VirtualClock():
        async with ServiceThread(backend={inside!r}):
            with anyio.CancelScope(shield=True):
                await anyio.Event().wait()

anyio.run(main, **virtual_backend({name!r}))
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "Deadlock: Every task waits for ever" in done.stderr
