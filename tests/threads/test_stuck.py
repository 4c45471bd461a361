"""Threads that do not listen: they are reported with their stack, given up, and keep nobody from ending."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import anyio
import pytest

from structmode import LifecycleError, Service, ShutdownTimeout, StartAborted
from structmode.events import LifecycleEvent, StopOverdue, subscribe
from structmode.exceptions import CallAborted
from structmode.threads import WorkerThread

from .things import STOP, Noting, threads_of, until

pytestmark = pytest.mark.slow  # each waits for the grace, in real time

ROOT = Path(__file__).resolve().parents[2]


class Stuck(Noting):
    shutdown_timeout = 0.05
    go: threading.Event

    def block_the_thread(self) -> None:
        self.note("blocked")
        self.go.wait()


async def test_blocked_thread(inside: str, go: threading.Event) -> None:
    """A thread whose event loop is blocked is given up: the error has its stack, and so has the event."""
    told: list[LifecycleEvent] = []
    end = subscribe(told.append)
    service = Stuck(backend=inside)
    service.go = go
    await service.start()
    await service.cast_thread(service.block_the_thread)
    await until(lambda: "blocked" in service.calls)
    with pytest.raises(ShutdownTimeout) as caught:
        await service.stop()
    end()
    (stuck,) = caught.value.stuck
    assert stuck.owner == "Stuck"
    assert stuck.task == "thread Stuck-thread"
    assert "block_the_thread" in stuck.stack
    assert "self.go.wait()" in stuck.stack
    overdue = [event for event in told if isinstance(event, StopOverdue)]
    assert [event.subject for event in overdue] == [service]
    assert overdue[0].stuck == (stuck,)
    assert service.state == "shutdown"
    assert not service.started
    (thread,) = threads_of(service)
    assert thread.daemon


async def test_calls_into_a_blocked_thread(inside: str, go: threading.Event) -> None:
    """Whoever waits for a thread that is given up gets an error, those in line too; later calls are refused at once."""
    service = Stuck(backend=inside, num_workers=1)
    service.go = go
    await service.start()
    told: list[str] = []

    async def call() -> None:
        with pytest.raises(CallAborted, match="hangs, and has been given up"):
            await service.call_thread(service.block_the_thread)
        told.append("told")

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(call)
        await until(lambda: service.calls.count("blocked") == 1)
        with pytest.raises(ShutdownTimeout):
            await service.stop()
    assert told == ["told"] * 3
    with pytest.raises(LifecycleError, match="takes no calls"):
        await service.call_thread(lambda: 1)


async def test_start_again_after_giving_up(inside: str, go: threading.Event) -> None:
    """As long as its thread hangs, it can't be started again, and says so; afterwards it can."""
    service = Stuck(backend=inside)
    service.go = go
    await service.start()
    await service.cast_thread(service.block_the_thread)
    await until(lambda: "blocked" in service.calls)
    with pytest.raises(ShutdownTimeout):
        await service.stop()
    with pytest.raises(LifecycleError, match="still hangs"):
        await service.start()
    assert service.state == "init"
    go.set()
    await until(lambda: not threads_of(service))
    service.calls.clear()
    async with service:
        assert await service.call_thread(lambda: 1) == 1
    assert service.calls[-3:] == STOP


async def test_task_that_ignores_cancellation(inside: str, go: threading.Event) -> None:
    """A task in the thread that ignores the hard cancel is named, with its own stack."""

    class Deaf(Stuck):
        async def on_started(self) -> None:
            self.add_future(self.ignore())

        async def ignore(self) -> None:
            with anyio.CancelScope(shield=True):
                while not self.go.is_set():
                    await anyio.sleep(0.001)

    service = Deaf(backend=inside)
    service.go = go
    await service.start()
    with pytest.raises(ShutdownTimeout) as caught:
        await service.stop()
    assert any("ignore" in stuck.stack for stuck in caught.value.stuck)
    assert any(stuck.task == "thread Deaf-thread" for stuck in caught.value.stuck)


async def test_overdue_in_time(inside: str) -> None:
    """A task in the thread that only takes too long is cancelled hard, and named; the thread ends."""

    class Slow(Noting):
        shutdown_timeout = 0.05

        async def on_stop(self) -> None:
            await anyio.sleep_forever()

    service = Slow(backend=inside)
    await service.start()
    with pytest.raises(ShutdownTimeout, match=r"Slow did not stop within 0\.05 s") as caught:
        await service.stop()
    assert caught.value.stuck[0].task == "on_stop"
    assert not threads_of(service)
    assert service.calls[-1] == STOP[-1]


async def test_stuck_start(inside: str, go: threading.Event) -> None:
    """A start that blocks its thread can be called off; the thread is given up: error and event say whose it is."""

    class Blocking(Stuck):
        async def on_start(self) -> None:
            self.block_the_thread()

    service = Blocking(backend=inside)
    service.go = go
    told: list[LifecycleEvent] = []
    end = subscribe(told.append)
    async with anyio.create_task_group() as group:

        async def stop() -> None:
            await until(lambda: "blocked" in service.calls)
            with pytest.raises(ShutdownTimeout):
                await service.stop()

        group.start_soon(stop)
        with pytest.raises(ShutdownTimeout, match="Blocking did not stop") as caught:
            await service.start()
    end()
    assert [event.subject for event in told if isinstance(event, StopOverdue)] == [service]
    assert "block_the_thread" in caught.value.stuck[0].stack
    assert service.state in {"init", "shutdown"}


async def test_siblings_of_a_stuck_thread(inside: str, go: threading.Event) -> None:
    """One thread that hangs does not keep the rest of the tree from stopping in order."""
    root = Service()
    before = root.add_dependency(Noting(backend=inside))
    stuck = root.add_dependency(Stuck(backend=inside))
    after = root.add_dependency(Noting(backend=inside))
    stuck.go = go
    await root.start()
    await stuck.cast_thread(stuck.block_the_thread)
    await until(lambda: "blocked" in stuck.calls)
    with pytest.raises(ShutdownTimeout, match="Stuck did not stop"):
        await root.stop()
    assert before.calls[-3:] == after.calls[-3:] == STOP
    assert root.state == "shutdown"


async def test_parent_with_less_time(inside: str, go: threading.Event) -> None:
    """The time of the parent counts, if that is shorter: the thread is killed and given up with it."""
    root = Service()
    root.shutdown_timeout = 0.05
    stuck = root.add_dependency(Stuck(backend=inside))
    stuck.shutdown_timeout = 60.0
    stuck.go = go
    await root.start()
    await stuck.cast_thread(stuck.block_the_thread)
    await until(lambda: "blocked" in stuck.calls)
    with anyio.fail_after(10):
        with pytest.raises(ShutdownTimeout):
            await root.stop()
    timeouts = [exc for exc in root.failures if isinstance(exc, ShutdownTimeout)]
    assert any("block_the_thread" in one.stack for exc in timeouts for one in exc.stuck)


async def test_start_of_a_child_with_less_time(inside: str, go: threading.Event) -> None:
    """A start that blocks its thread is given up in the time of the parent: its owner can say where it stands."""

    class Blocking(Stuck):
        shutdown_timeout = 60.0

        async def on_start(self) -> None:
            self.block_the_thread()

    root = Service()
    root.shutdown_timeout = 0.05
    stuck = root.add_dependency(Blocking(backend=inside))
    stuck.go = go
    async with anyio.create_task_group() as group:

        async def stop() -> None:
            await until(lambda: "blocked" in stuck.calls)
            with pytest.raises(ShutdownTimeout):
                await root.stop()

        group.start_soon(stop)
        with pytest.raises((ShutdownTimeout, StartAborted)):
            await root.start()
    timeouts = [exc for exc in root.failures if isinstance(exc, ShutdownTimeout)]
    assert any("block_the_thread" in one.stack for exc in timeouts for one in exc.stuck)


async def test_thread_that_goes_on(inside: str, go: threading.Event) -> None:
    """A thread that does something more after its event loop is over, and does not end it, is given up too."""

    class GoingOn(WorkerThread):
        def run(self) -> None:
            super().run()
            go.wait()

    service = Stuck(backend=inside, Worker=GoingOn)
    await service.start()
    with pytest.raises(ShutdownTimeout) as caught:
        await service.stop()
    (stuck,) = caught.value.stuck
    assert stuck.task == "thread Stuck-thread"
    assert "go.wait()" in stuck.stack
    assert service.calls[-3:] == STOP


async def test_thread_of_a_thread_that_hangs(inside: str, go: threading.Event) -> None:
    """What runs below a thread that is given up waits for its turn: if the thread comes back, it stops top down."""
    order: list[str] = []
    below = Noting(backend=inside)

    class Above(Stuck):
        async def on_stop(self) -> None:
            order.append(f"above stops, below has come to {below.calls[-1]}")

    async def fail() -> None:
        raise ValueError("below")

    service = Above(backend=inside)
    service.go = go
    service.add_dependency(below)
    await service.start()
    await service.cast_thread(service.block_the_thread)
    await until(lambda: "blocked" in service.calls)
    with pytest.raises(ShutdownTimeout):
        await service.stop()
    await below.cast_thread(fail)
    await until(lambda: below.crashed)
    await anyio.sleep(0.05)
    go.set()
    await until(lambda: not threads_of(below) and not threads_of(service))
    assert order == ["above stops, below has come to on_thread_started"]
    assert below.calls[-3:] == STOP


@pytest.mark.fault("D5")
@pytest.mark.timeout(120)
@pytest.mark.process
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_process_can_end(inside: str, backend: str) -> None:
    """A process whose thread service hangs ends all the same, and says where it hung."""
    program = textwrap.dedent(f"""
        import time, anyio
        from structmode.threads import QueueServiceThread

        class Stuck(QueueServiceThread):
            shutdown_timeout = 0.1
            def hang(self):
                time.sleep(3600)

        async def main():
            async with Stuck(backend={inside!r}) as service:
                await service.cast_thread(service.hang)
                await anyio.sleep(0.1)

        anyio.run(main, backend={backend!r})
    """)
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
        check=False,
    )
    assert ended.returncode == 1
    assert "ShutdownTimeout: Stuck did not stop within 0.1 s" in ended.stderr
    assert "time.sleep(3600)" in ended.stderr or "in hang" in ended.stderr
