"""Calls into a thread: what crosses, and what becomes of a call when either side ends."""

from __future__ import annotations

import contextvars
import threading
import traceback
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest

from structmode import LifecycleError, Service
from structmode.exceptions import CallAborted
from structmode.threads import QueueServiceThread

from .things import Noting, here, until

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def double(number: int, *, plus: int = 0) -> int:
    """Take a moment."""
    await anyio.sleep(0.001)
    return 2 * number + plus


def plain(number: int, *, plus: int = 0) -> int:
    """Take none."""
    return 2 * number + plus


# --- What crosses ---------------------------------------------------------------------------------


async def test_results(inside: str) -> None:
    """The result of an async and of a plain function, with positional and keyword arguments."""
    async with Noting(backend=inside) as service:
        assert await service.call_thread(double, 3, plus=1) == 7
        assert await service.call_thread(plain, 3, plus=1) == 7
        assert await service.call_thread(here) in service.threads


async def test_errors(inside: str) -> None:
    """An error is the very one that was raised, and its traceback leads to where."""
    error = ValueError("there")

    async def deep() -> None:
        await anyio.lowlevel.checkpoint()
        raise error

    async def fail() -> None:
        await deep()

    async with Noting(backend=inside) as service:
        with pytest.raises(ValueError, match="there") as caught:
            await service.call_thread(fail)
        assert caught.value is error
        names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        assert names[0] == "test_errors"
        assert names[-2:] == ["fail", "deep"]
        assert service.state == "running"
        with pytest.raises(ZeroDivisionError):
            await service.call_thread(lambda: 1 // 0)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
async def test_exits(inside: str, kind: type[BaseException]) -> None:
    """Whatever is raised reaches who has called, and nobody else."""

    def leave() -> None:
        raise kind

    async with Noting(backend=inside) as service:
        with pytest.raises(kind):
            await service.call_thread(leave)
        assert service.state == "running"


async def test_context_variables(inside: str) -> None:
    """The call sees the caller's context variables; what it sets does not come back, nor into the next call."""

    async def look_and_set() -> str:
        seen = variable.get()
        variable.set("from inside")
        return seen

    async with Noting(backend=inside, num_workers=1) as service:
        for value in ("first", "second"):
            token = variable.set(value)
            assert await service.call_thread(look_and_set) == value
            assert variable.get() == value
            variable.reset(token)
        assert await service.call_thread(variable.get) == "unset"


async def test_start_sees_context_variables(inside: str) -> None:
    """The hooks see the context variables of who has started the service."""

    class Looking(Noting):
        async def on_start(self) -> None:
            self.seen = variable.get()

    token = variable.set("of the owner")
    async with Looking(backend=inside) as service:
        assert service.seen == "of the owner"
    variable.reset(token)


async def test_not_callable(inside: str) -> None:
    """A coroutine in place of a function is refused in words, and closed."""
    async with Noting(backend=inside) as service:
        with pytest.raises(TypeError, match=r"takes a function"):
            await service.call_thread(double(1))  # type: ignore[call-overload]


async def test_arguments_that_do_not_fit(inside: str) -> None:
    """What calling the function raises is raised here."""
    async with Noting(backend=inside) as service:
        with pytest.raises(TypeError, match="plain"):
            await service.call_thread(plain)  # type: ignore[call-overload]


# --- Cancellation ---------------------------------------------------------------------------------


async def test_cancelled_call(inside: str) -> None:
    """A cancelled call cancels the work, and returns when that has ended; the service goes on."""
    log: list[str] = []

    async def work() -> None:
        log.append("begins")
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
            log.append("ends")

    async with Noting(backend=inside) as service:
        async with anyio.create_task_group() as group:
            group.start_soon(service.call_thread, work)
            await until(lambda: log)
            group.cancel_scope.cancel()
        assert log == ["begins", "ends"]
        assert await service.call_thread(double, 1) == 2


async def test_cancelled_before_its_turn(inside: str) -> None:
    """A call that is cancelled while it waits for a worker is never begun, and does not wait for one."""
    begun: list[str] = []
    go = anyio.Event()
    log: list[str] = []

    async def occupy() -> None:
        log.append("occupied")
        while not go.is_set():
            await anyio.sleep(0.001)

    async with (
        Noting(backend=inside, num_workers=1) as service,
        anyio.create_task_group() as group,
    ):
        group.start_soon(service.call_thread, occupy)
        await until(lambda: log)
        with anyio.move_on_after(0.02) as scope:
            await service.call_thread(begun.append, "late")
        assert scope.cancelled_caught
        go.set()
    assert begun == []


async def test_cancelled_plain_function(inside: str) -> None:
    """A plain function can't be interrupted: its end is waited for, and then the cancellation goes on."""
    go = threading.Event()
    log: list[str] = []

    def work() -> None:
        log.append("begins")
        go.wait()
        log.append("ends")

    async with Noting(backend=inside) as service:
        async with anyio.create_task_group() as group:
            group.start_soon(service.call_thread, work)
            await until(lambda: log)
            group.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
            go.set()
        assert log == ["begins", "ends"]


async def test_result_of_a_cancelled_call(inside: str) -> None:
    """What could not be interrupted, and has returned, is not lost; the cancellation comes at the next checkpoint."""
    go = threading.Event()
    log: list[str] = []

    def work() -> str:
        log.append("begins")
        go.wait()
        return "done"

    async def call() -> None:
        log.append(await service.call_thread(work))
        await anyio.lowlevel.checkpoint()
        log.append("not cancelled")  # pragma: no cover - it is cancelled before

    async with Noting(backend=inside) as service:
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await until(lambda: log)
            group.cancel_scope.cancel()
            go.set()
    assert log == ["begins", "done"]


async def test_failure_while_cancelled(inside: str) -> None:
    """What the work raises while it is being cancelled says more than the cancellation, and is raised."""
    log: list[str] = []

    async def work() -> None:
        log.append("begins")
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("while leaving")

    async with Noting(backend=inside) as service:

        async def call() -> None:
            with anyio.CancelScope() as scope:
                group.start_soon(cancel, scope)
                with pytest.raises(ValueError, match="while leaving"):
                    await service.call_thread(work)
                log.append("raised")

        async def cancel(scope: anyio.CancelScope) -> None:
            await until(lambda: log)
            scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(call)
    assert log == ["begins", "raised"]


# --- Before, after, meanwhile ---------------------------------------------------------------------


async def test_before_and_after(inside: str) -> None:
    """A call before the start or after the stop is an error at once, which says what to do."""
    service = Noting(backend=inside)
    for condition in ("not started", "stopped"):
        for call in (service.call_thread, service.cast_thread):
            with pytest.raises(LifecycleError, match=f"Noting takes no calls: it is {condition}"):
                await call(plain, 1)
        async with service:
            assert await service.call_thread(plain, 1) == 2


async def test_call_while_starting(inside: str) -> None:
    """A call from the service's own start, when nobody could do it yet, is an error at once."""

    class Early(QueueServiceThread):
        async def on_start(self) -> None:
            await self.call_thread(plain, 1)

    with pytest.raises(LifecycleError, match="takes no calls"):
        await Early(backend=inside).start()


async def test_calls_taken_are_done(inside: str) -> None:
    """What has been taken before the stop is done first, also what has not begun; what comes later is refused."""
    done: list[int] = []
    begun = threading.Event()

    async def work(number: int) -> int:
        begun.set()
        await anyio.sleep(0.01)
        done.append(number)
        return number

    results: list[int] = []
    service = Noting(backend=inside, num_workers=1)
    await service.start()

    async def call(number: int) -> None:
        results.append(await service.call_thread(work, number))

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(call, number)
        await until(begun.is_set)
        await anyio.sleep(0.005)
        await service.stop()
    assert sorted(results) == sorted(done) == list(range(5))


async def test_call_that_outlasts_the_stop(inside: str) -> None:
    """A call that does not end in `call_drain_timeout` is cancelled, and who waits gets an error."""

    class Hasty(Noting):
        call_drain_timeout = 0.01

    begun: list[str] = []

    async def work() -> None:
        begun.append("begun")
        await anyio.sleep_forever()

    service = Hasty(backend=inside)
    await service.start()
    async with anyio.create_task_group() as group:

        async def call() -> None:
            with pytest.raises(CallAborted, match="came to no end"):
                await service.call_thread(work)
            begun.append("told")

        group.start_soon(call)
        await until(lambda: begun)
        await service.stop()
    assert begun == ["begun", "told"]


async def test_calls_of_a_crashing_service(inside: str) -> None:
    """When the service crashes, those who wait for a call get an error, and none waits for ever."""
    told: list[str] = []
    service = Noting(backend=inside, num_workers=1)
    service.method_queue.drain_timeout = 0.01

    async def call() -> None:
        with pytest.raises(CallAborted):
            await service.call_thread(anyio.sleep_forever)
        told.append("told")

    async with anyio.create_task_group() as group:
        with pytest.raises(ValueError, match="crash"):
            async with service:
                for _ in range(3):
                    group.start_soon(call)
                await anyio.sleep(0.01)
                await service.crash(ValueError("crash"))
                await anyio.sleep_forever()
    assert told == ["told"] * 3


# --- Order and workers ----------------------------------------------------------------------------


async def test_order_with_one_worker(inside: str) -> None:
    """With one worker, calls are done one after the other, in the order in which they were made."""
    log: list[str] = []

    async def work(number: int) -> None:
        log.append(f"{number} begins")
        await anyio.sleep(0.0005)
        log.append(f"{number} ends")

    async with Noting(backend=inside, num_workers=1) as service:
        for number in range(20):
            await service.cast_thread(work, number)
    assert log == [f"{number} {what}" for number in range(20) for what in ("begins", "ends")]


@pytest.mark.parametrize("workers", [2, 3])
async def test_several_workers(inside: str, workers: int) -> None:
    """So many calls are done at the same time, and no more; they are begun in the order they were made."""
    begun: list[int] = []
    now, most = 0, 0
    go = threading.Event()

    async def work(number: int) -> None:
        nonlocal now, most
        begun.append(number)
        now += 1
        most = max(most, now)
        while not go.is_set():
            await anyio.sleep(0.001)
        now -= 1

    async with Noting(backend=inside, num_workers=workers) as service:
        for number in range(10):
            await service.cast_thread(work, number)
        await until(lambda: len(begun) == workers)
        await anyio.sleep(0.01)
        assert most == workers
        go.set()
    assert begun == list(range(10))
    assert most == workers


async def test_calls_within_calls(inside: str) -> None:
    """A call may make another, and that another, to any depth, with a single worker."""
    async with Noting(backend=inside, num_workers=1) as service:

        async def nest(depth: int) -> int:
            return depth and 1 + await service.call_thread(nest, depth - 1)

        assert await service.call_thread(nest, 10) == 10


async def test_calls_to_and_fro(inside: str) -> None:
    """Two threads may call each other in turn, each with a single worker, and both with context variables and errors."""
    async with (
        Noting(backend=inside, num_workers=1) as one,
        Noting(backend="trio", num_workers=1) as other,
    ):

        async def bounce(depth: int, here_: Noting, there: Noting) -> int:
            if not depth:
                raise ValueError(variable.get())
            return await there.call_thread(bounce, depth - 1, there, here_)

        token = variable.set("carried")
        with pytest.raises(ValueError, match="carried"):
            await one.call_thread(bounce, 7, one, other)
        with anyio.move_on_after(0.05) as scope:

            async def last(depth: int, here_: Noting, there: Noting) -> None:
                if depth:
                    await there.call_thread(last, depth - 1, there, here_)
                await anyio.sleep_forever()

            await one.call_thread(last, 7, one, other)
        assert scope.cancelled_caught
        variable.reset(token)


async def test_cast(inside: str) -> None:
    """A cast is not waited for; one that fails crashes the service, as any background work does."""
    done: list[int] = []
    async with Noting(backend=inside) as service:
        await service.cast_thread(done.append, 1)
        await until(lambda: done)
    with pytest.raises(ValueError, match="in a cast"):
        async with Noting(backend=inside) as service:

            async def fail() -> None:
                raise ValueError("in a cast")

            await service.cast_thread(fail)
            await anyio.sleep_forever()


async def test_cast_within_a_call(inside: str) -> None:
    """A cast made in a call is a part of it: the call ends when it has; its failure is that of the call."""
    async with Noting(backend=inside, num_workers=1) as service:
        log: list[str] = []

        async def later() -> None:
            await anyio.sleep(0.001)
            log.append("later")

        async def work() -> None:
            await service.cast_thread(later)
            log.append("work")

        await service.call_thread(work)
        await until(lambda: len(log) == 2)
        assert log == ["work", "later"]


# --- From elsewhere -------------------------------------------------------------------------------


async def test_from_other_loops(inside: str) -> None:
    """Calls may come from any event loop, of whatever kind, and through one from any thread."""
    service = Noting(backend=inside)
    async with service:

        async def elsewhere() -> int:
            return await service.call_thread(double, 21)

        for backend in ("asyncio", "trio"):

            def run(backend: str = backend) -> int:
                return anyio.run(elsewhere, backend=backend)

            assert await anyio.to_thread.run_sync(run) == 42

        def from_thread() -> Any:
            return anyio.from_thread.run(elsewhere)

        assert await anyio.to_thread.run_sync(from_thread) == 42


async def test_from_a_task_of_the_service(inside: str) -> None:
    """A task in the thread may use the same calls as those outside."""

    class Selfish(Noting):
        async def on_thread_started(self) -> None:
            self.add_future(self.work())

        async def work(self) -> None:
            self.result = await self.call_thread(double, 4)

    async with Selfish(backend=inside) as service:
        await until(lambda: hasattr(service, "result"))
        assert service.result == 8


async def test_parent_task_in_the_middle_of_a_call(inside: str) -> None:
    """A stop in the middle of a call of the parent's own task is no failure: the call is done."""
    calls: list[int] = []

    class Parent(Service):
        def __post_init__(self) -> None:
            self.store = self.add_dependency(Noting(backend=inside, num_workers=1))

        async def on_started(self) -> None:
            self.add_future(self.work())

        async def work(self) -> None:
            while not self.should_stop:
                calls.append(await self.store.call_thread(double, 1))

    async with Parent():
        await until(lambda: len(calls) > 3)
    assert set(calls) == {2}
