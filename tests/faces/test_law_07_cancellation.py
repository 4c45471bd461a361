"""Law 7, cancellation from outside is an orderly stop, and then it goes on: it is bounded, and never swallowed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from structmode import Service, ShutdownTimeout

FULL = ["on_start", "on_started", "on_stop", "task", "context", "on_shutdown"]


async def a_while() -> None:
    """Wait for a few rounds of the event loop."""
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


class Orderly(Service):
    """Waits in each step of its stop."""

    def __init__(self) -> None:
        self.journal: list[str] = []
        self.nearly_up = anyio.Event()
        super().__init__()

    @asynccontextmanager
    async def context(self) -> AsyncIterator[None]:
        """Take some time to be left."""
        yield
        await a_while()
        self.journal.append("context")

    async def on_start(self) -> None:
        self.journal.append("on_start")
        await self.add_async_context(self.context())

    @Service.task
    async def work(self) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            self.journal.append("task")

    async def on_started(self) -> None:
        self.nearly_up.set()
        await a_while()
        self.journal.append("on_started")

    async def on_stop(self) -> None:
        await a_while()
        self.journal.append("on_stop")

    async def on_shutdown(self) -> None:
        await a_while()
        self.journal.append("on_shutdown")


async def test_a_timeout_around_a_block() -> None:
    """A timeout around a block stops the service in order, and then leaves the block."""
    service = Orderly()
    with anyio.CancelScope() as scope:
        async with service:
            scope.deadline = anyio.current_time() + 0.01  # not before: the start may take its time
            await anyio.sleep_forever()
        pytest.fail("went on")
    assert scope.cancelled_caught
    assert service.journal == FULL
    assert (service.state, service.crashed, service.failures) == ("shutdown", False, ())


async def test_fail_after_around_a_block() -> None:
    """A timeout that raises does so, after the stop."""
    service = Orderly()
    with pytest.raises(TimeoutError):
        with anyio.fail_after(5) as scope:
            async with service:
                scope.deadline = anyio.current_time() + 0.01
                await anyio.sleep_forever()
    assert service.journal == FULL


async def test_a_cancelled_task_group() -> None:
    """A block in a task of a group that is cancelled stops in order before the group ends."""
    services = [Orderly() for _ in range(3)]

    async def run(service: Service) -> None:
        async with service:
            await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        for service in services:
            group.start_soon(run, service)
        while any(service.state != "running" for service in services):
            await anyio.sleep(0.001)
        group.cancel_scope.cancel()
    assert [service.journal for service in services] == [FULL] * 3


async def test_a_failing_task_group() -> None:
    """If a group fails because of another task, the block in it stops in order, and the group raises that failure."""
    service = Orderly()

    async def fail() -> None:
        while service.state != "running":
            await anyio.sleep(0.001)
        raise EOFError("another")

    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            async with service:
                await anyio.sleep_forever()
    assert [type(exc) for exc in caught.value.exceptions] == [EOFError]
    assert service.journal == FULL


async def test_cancelled_in_the_entry() -> None:
    """Cancelled while the service starts, the block undoes the start, and the cancellation goes on."""
    service = Orderly()
    with anyio.CancelScope() as scope:

        async def cancel() -> None:
            await service.nearly_up.wait()
            scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(cancel)
            async with service:
                pytest.fail("the body ran")
    assert scope.cancelled_caught
    assert service.state == "init"
    assert [step for step in service.journal if step in {"on_stop", "context", "on_shutdown"}] == [
        "on_stop",
        "context",
        "on_shutdown",
    ]


async def test_cancelled_in_the_exit() -> None:
    """Cancelled while the block is left, the stop is completed, and the cancellation goes on."""
    service = Orderly()
    with anyio.CancelScope() as scope:

        async def cancel() -> None:
            while "on_stop" not in service.journal:
                await anyio.lowlevel.checkpoint()
            scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(cancel)
            async with service:
                pass
            await anyio.lowlevel.checkpoint()
            pytest.fail("went on")
    assert scope.cancelled_caught
    assert service.journal == FULL


async def test_cancelled_before_the_entry() -> None:
    """In a scope that is cancelled already, a block does not get to its body."""
    service = Orderly()
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with service:
            pytest.fail("the body ran")
    assert scope.cancelled_caught
    assert service.state == "init"


async def test_cancelled_again_and_again() -> None:
    """Several nested scopes that are all cancelled change nothing about the order."""
    service = Orderly()
    with anyio.CancelScope() as outer:
        with anyio.CancelScope() as inner:
            async with service:
                inner.cancel()
                outer.cancel()
                await anyio.sleep_forever()
    assert service.journal == FULL


async def test_a_body_that_answers_its_cancellation() -> None:
    """A body may do something when it is cancelled: the service still runs then."""
    states: list[str] = []
    service = Orderly()
    with anyio.CancelScope() as scope:
        async with service:
            scope.cancel()
            try:
                await anyio.sleep_forever()
            finally:
                states.append(service.state)
                with anyio.CancelScope(shield=True):
                    await a_while()
                states.append(service.state)
    assert states == ["running", "running"]
    assert service.journal == FULL


async def test_a_body_that_fails_when_cancelled() -> None:
    """What a body raises when it is cancelled leaves the block."""
    boom = EOFError("in the body")
    with pytest.raises(EOFError, match="in the body") as caught:
        with anyio.CancelScope() as scope:
            async with Orderly():
                scope.cancel()
                try:
                    await anyio.sleep_forever()
                finally:
                    raise boom
    assert caught.value is boom


async def test_nested_blocks() -> None:
    """Nested blocks are left one by one, from the inside out."""
    order: list[str] = []

    class Noted(Service):
        def __init__(self, name: str) -> None:
            self.name = name
            super().__init__()

        async def on_stop(self) -> None:
            await a_while()
            order.append(f"{self.name} stops")

        async def on_shutdown(self) -> None:
            order.append(f"{self.name} has stopped")

    with anyio.CancelScope() as scope:
        async with Noted("outer"):
            async with Noted("inner"):
                scope.cancel()
                await anyio.sleep_forever()
    assert order == ["inner stops", "inner has stopped", "outer stops", "outer has stopped"]


async def test_a_stop_that_hangs_is_bounded_here_too() -> None:
    """A service that hangs in its stop does not hold up a cancellation for ever; its error is not lost."""

    class Sticky(Service):
        shutdown_timeout = 0.05

        async def on_stop(self) -> None:
            await anyio.sleep_forever()

    service = Sticky()
    with pytest.raises(ShutdownTimeout, match="on_stop"):
        with anyio.CancelScope() as scope:
            async with service:
                scope.cancel()
                await anyio.sleep_forever()
    assert service.state == "shutdown"


async def test_an_error_of_the_stop_is_not_lost() -> None:
    """What goes wrong in the stop leaves the block in place of the cancellation."""

    class Bad(Service):
        async def on_stop(self) -> None:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        with anyio.CancelScope() as scope:
            async with Bad():
                scope.cancel()
                await anyio.sleep_forever()


@pytest.mark.parametrize("exc", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
async def test_an_interrupt_in_the_body(exc: BaseException) -> None:
    """Ctrl-C in the body stops the service in order, and leaves the block."""
    service = Orderly()
    with pytest.raises(type(exc)) as caught:
        async with service:
            raise exc
    assert caught.value is exc
    assert service.journal == FULL


async def test_a_service_that_is_only_used_is_not_stopped() -> None:
    """Cancelling a task that merely uses a service, and does not own it, leaves the service running."""
    async with Orderly() as service:
        for use in (
            service.sleep(100.0),
            service.wait(anyio.sleep_forever),
            service.wait_until_stopped(),
        ):
            with anyio.move_on_after(0.01):
                await use
        assert service.state == "running"


# --- asyncio's own cancellation -------------------------------------------------------------------


def run_natively(main: Callable[[], Awaitable[Any]]) -> Any:
    """Run on asyncio, where code may know nothing of anyio."""

    async def begin() -> Any:
        return await main()

    return asyncio.run(begin(), debug=True)


def test_a_native_cancellation_of_the_owner() -> None:
    """Cancelling the asyncio task that is in a block stops the service in order, and the task ends cancelled."""

    async def main() -> tuple[list[str], bool]:
        service = Orderly()

        async def run() -> None:
            async with service:
                await asyncio.sleep(1000.0)  # pragma: no cover - is ended before

        task = asyncio.create_task(run())
        while service.state != "running":
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return service.journal, task.cancelled()

    assert run_natively(main) == (FULL, True)


def test_a_native_timeout() -> None:
    """asyncio.timeout() around a block stops the service in order and raises TimeoutError."""

    async def main() -> list[str]:
        service = Orderly()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as timeout:
                async with service:
                    timeout.reschedule(asyncio.get_running_loop().time() + 0.01)
                    await asyncio.sleep(1000.0)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)
        return service.journal

    assert run_natively(main) == FULL


def test_a_native_task_group() -> None:
    """In an asyncio.TaskGroup that fails, a block stops in order."""

    async def main() -> list[str]:
        service = Orderly()

        async def run() -> None:
            async with service:
                await asyncio.sleep(1000.0)  # pragma: no cover - is ended before

        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(run())
                while service.state != "running":
                    await asyncio.sleep(0)
                raise EOFError("another")
        assert [type(exc) for exc in caught.value.exceptions] == [EOFError]
        return service.journal

    assert run_natively(main) == FULL


def test_a_native_cancellation_during_the_stop() -> None:
    """Cancelled again and again while it stops, a service still goes through all of its steps."""

    async def main() -> list[str]:
        service = Orderly()

        async def run() -> None:
            async with service:
                await asyncio.sleep(1000.0)  # pragma: no cover - is ended before

        task = asyncio.create_task(run())
        while service.state != "running":
            await asyncio.sleep(0)
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
        assert task.cancelled()
        return service.journal

    assert run_natively(main) == FULL


def test_a_native_cancellation_of_a_task_of_the_service() -> None:
    """Cancelling one of the service's own tasks from outside is an orderly stop of its tree, not a crash."""

    class Child(Service):
        async def on_start(self) -> None:
            self.add_future(anyio.sleep_forever, name="target")

    async def main() -> tuple[list[str], str, bool, str]:
        parent = Orderly()
        child = parent.add_dependency(Child())
        await parent.start()
        (target,) = (task for task in asyncio.all_tasks() if task.get_name() == "target")
        target.cancel()
        await parent.wait_until_stopped()
        await parent.stop()
        return parent.journal, parent.state, parent.crashed, child.state

    assert run_natively(main) == (FULL, "shutdown", False, "shutdown")


def test_the_end_of_asyncio_run() -> None:
    """asyncio.run() ends by cancelling all tasks at once; even so all hooks are called, in order, and may wait."""
    service = Orderly()
    held: list[Any] = []

    async def main() -> None:
        async def run() -> None:
            async with service:
                await asyncio.sleep(1000.0)

        held.append(asyncio.create_task(run()))
        while service.state != "running":
            await asyncio.sleep(0)

    run_natively(main)
    hooks = [step for step in service.journal if step.startswith("on_")]
    assert hooks == ["on_start", "on_started", "on_stop", "on_shutdown"]
    assert service.state == "shutdown"


@pytest.fixture
def ctrl_c_raises() -> Iterator[None]:
    """Have SIGINT raise KeyboardInterrupt, as in a shell, also where the tests run in the background and ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_raises")
def test_ctrl_c_on_asyncio() -> None:
    """Ctrl-C in asyncio.run() stops the service in order before KeyboardInterrupt leaves."""
    service = Orderly()

    async def main() -> None:
        async with service:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(1000.0)

    with pytest.raises(KeyboardInterrupt):
        run_natively(main)
    assert service.journal == FULL


@pytest.mark.usefixtures("ctrl_c_raises")
def test_ctrl_c_on_trio() -> None:
    """Ctrl-C in trio.run() stops the service in order before KeyboardInterrupt leaves."""
    service = Orderly()

    async def main() -> None:
        async with service:
            os.kill(os.getpid(), signal.SIGINT)
            await anyio.sleep_forever()  # pragma: no cover - is ended before

    with pytest.raises(KeyboardInterrupt):
        anyio.run(main, backend="trio")
    assert service.journal == FULL
