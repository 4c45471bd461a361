"""A worker as a mere service, in a program of somebody else."""

from __future__ import annotations

import os
import signal
import threading

import anyio
import anyio.to_thread
import pytest

from structmode import LifecycleError, Worker

from .here import Job, handlers, root_state


@pytest.mark.fault("E6")
async def test_async_with_takes_nothing() -> None:
    """Under `async with` a worker runs its services, and touches neither signals nor logging nor stdout."""
    job = Job()
    before = (handlers(), root_state())
    async with Worker(job, loglevel="debug") as worker:
        assert (handlers(), root_state()) == before
        assert job.state == worker.state == "running"
    assert job.events == ["stop"]


async def test_bare_start() -> None:
    """A worker that is started bare is a service like any other: `start` returns when it has started."""
    worker = Worker(Job())
    await worker.start()
    assert worker.state == "running"
    await worker.stop()


async def test_signals_in_a_program_of_somebody_else() -> None:
    """A worker that is a mere service takes signals if a hook asks for it, and gives them back when it stops."""

    class Taking(Worker):
        async def on_start(self) -> None:
            self.install_signal_handlers()

    before = handlers()
    async with Taking() as worker:
        assert set(map(repr, handlers())).isdisjoint(map(repr, before))
        os.kill(os.getpid(), signal.SIGTERM)
        await worker.wait_until_stopped()
    assert handlers() == before
    assert worker.state == "shutdown"


def test_signals_before_there_is_an_event_loop() -> None:
    """A mere service can take signals only while an event loop runs."""
    with pytest.raises(LifecycleError, match="in a hook of the running worker"):
        Worker().install_signal_handlers()


async def test_signal_that_another_thread_gets() -> None:
    """A signal that the system hands to another thread wakes the event loop there too."""

    class Taking(Worker):
        async def on_start(self) -> None:
            self.install_signal_handlers()

    def send() -> None:
        sleeping.wait(0.05)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    sleeping = threading.Event()
    thread = threading.Thread(target=send)
    async with Taking() as worker:
        thread.start()
        await worker.wait_until_stopped()
    await anyio.to_thread.run_sync(thread.join)
    assert worker.state == "shutdown"


async def test_second_signal_in_a_program_of_somebody_else() -> None:
    """The second signal cancels hard there too, but does not end a process that is not the worker's."""

    class Taking(Worker):
        async def on_start(self) -> None:
            self.install_signal_handlers()

        async def on_stop(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            await anyio.sleep_forever()

    async with Taking() as worker:
        os.kill(os.getpid(), signal.SIGTERM)
        await worker.wait_until_stopped()
    assert worker.state == "shutdown"
    assert "forced exit" not in [thread.name for thread in threading.enumerate()]


async def test_signals_are_counted_from_the_start() -> None:
    """A worker that runs again takes the next signal as the first."""

    class Taking(Worker):
        async def on_start(self) -> None:
            self.install_signal_handlers()

        async def on_stop(self) -> None:
            await anyio.sleep(0.01)
            stopped_in_order.append(True)

    stopped_in_order: list[bool] = []
    worker = Taking()
    for _ in range(4):
        async with worker:
            os.kill(os.getpid(), signal.SIGTERM)
            await worker.wait_until_stopped()
    assert len(stopped_in_order) == 4
