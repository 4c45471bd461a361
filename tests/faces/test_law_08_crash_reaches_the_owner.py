"""Law 8, a crash reaches the owner: the first failure leaves as it was raised, whatever else happens."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from structmode import Service

ORIGINS = [
    "task",
    "timer",
    "crontab",
    "future",
    "context",
    "from_awaitable",
    "crash()",
    "callable",
]


class Crashing(Service):
    """Crashes of something when the gate is opened."""

    def __init__(self, origin: str, reason: BaseException) -> None:
        self.origin = origin
        self.reason = reason
        self.gate = anyio.Event()
        super().__init__()

    async def break_here(self, origin: str) -> None:
        """Raise when the gate is open, if this is where to."""
        if origin == self.origin:
            await self.gate.wait()
            raise self.reason

    def on_init_dependencies(self) -> list[Service]:
        return [Service.from_awaitable(self.break_here("from_awaitable"))]

    async def on_start(self) -> None:
        self.add_future(self.break_here("future"))
        self.add_future(lambda: self.break_here("callable"))
        await self.add_async_context(self.context())

    @asynccontextmanager
    async def context(self) -> AsyncIterator[None]:
        """Fail while held, in a scope that tells so to nobody but who holds it."""
        failed = False

        async def fail() -> None:
            nonlocal failed
            await self.gate.wait()
            failed = self.origin == "context"
            if failed:
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            yield
            group.cancel_scope.cancel()
        if failed:
            raise self.reason

    @Service.task
    async def work(self) -> None:
        await self.break_here("task")

    @Service.timer(0.01)
    async def tick(self) -> None:
        await self.break_here("timer")

    @Service.crontab("* * * * * *")
    async def secondly(self) -> None:
        await self.break_here("crontab")

    async def crash_by_call(self) -> None:
        """Crash by crash()."""
        if self.origin == "crash()":
            await self.crash(self.reason)


@pytest.mark.parametrize("origin", ORIGINS)
async def test_whatever_fails(origin: str) -> None:
    """Whatever of a service fails, the body of its block is cancelled, and the reason leaves as it was raised."""
    boom = EOFError("boom")
    body: list[str] = []
    service = Crashing(origin, boom)
    with pytest.raises(EOFError, match="boom") as caught:
        async with service:
            service.gate.set()
            await service.crash_by_call()
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                body.append("cancelled")
                raise
    assert caught.value is boom
    # A context that fails was being left because of a cancellation: Python notes that on what it raises.
    assert boom.__context__ is None or origin == "context"
    assert body == ["cancelled"]
    assert (service.state, service.crash_reason, service.failures) == ("crashed", boom, (boom,))


async def test_the_traceback_of_a_crash() -> None:
    """The traceback of what leaves shows where it was raised."""

    async def deep() -> None:
        raise EOFError("boom")

    service = Crashing("", EOFError())
    with pytest.raises(EOFError, match="boom") as caught:
        async with service:
            service.add_future(deep)
            await anyio.sleep_forever()
    names = [entry.name for entry in caught.traceback]
    assert names[-1] == "deep"


async def test_who_is_crashed() -> None:
    """A crash marks the service, all below and all above it; those beside it are stopped, and not crashed."""
    root, middle, failing, below, sibling, cousin = (Crashing("", EOFError()) for _ in range(6))
    root.add_dependency(middle)
    middle.add_dependency(failing)
    failing.add_dependency(below)
    middle.add_dependency(sibling)
    root.add_dependency(cousin)
    boom = EOFError("boom")
    with pytest.raises(EOFError, match="boom"):
        async with root:
            await failing.crash(boom)
            assert {
                service.should_stop for service in (root, middle, failing, below, sibling, cousin)
            } == {True}
            await anyio.sleep_forever()
    for service in (root, middle, failing, below):
        assert (service.state, service.crash_reason) == ("crashed", boom)
    for service in (sibling, cousin):
        assert (service.state, service.crash_reason, service.failures) == ("shutdown", None, ())


async def test_the_first_failure_leaves() -> None:
    """If much goes wrong at once, the first failure leaves; the others are noted on it, kept, and logged."""
    first = EOFError("first")
    journal: list[BaseException] = []

    class Wretched(Service):
        def fail(self, what: str) -> OSError:
            journal.append(exc := OSError(what))
            return exc

        @Service.task
        async def one(self) -> None:
            await up.wait()
            raise first

        @Service.task
        async def two(self) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                raise self.fail("task")

        async def on_start(self) -> None:
            await self.add_async_context(self.context())

        @asynccontextmanager
        async def context(self) -> AsyncIterator[None]:
            yield
            raise self.fail("context")

        async def on_stop(self) -> None:
            raise self.fail("on_stop")

        async def on_shutdown(self) -> None:
            raise self.fail("on_shutdown")

    up = anyio.Event()
    with pytest.raises(EOFError, match="first") as caught:
        async with Wretched() as service:
            await anyio.wait_all_tasks_blocked()
            up.set()
            await anyio.sleep_forever()
    assert caught.value is first
    assert [str(exc) for exc in journal] == ["on_stop", "task", "context", "on_shutdown"]
    assert service.failures == (first, *journal)
    assert [note.rpartition(": ")[2] for note in first.__notes__] == [repr(exc) for exc in journal]
    assert service.crash_reason is first


async def test_failures_of_the_whole_tree() -> None:
    """Failures of children in the stop after a crash are noted on the crash too."""
    first = EOFError("first")

    class Bad(Service):
        async def on_stop(self) -> None:
            raise OSError("child")

    parent = Crashing("task", first)
    parent.add_dependency(Bad())
    with pytest.raises(EOFError, match="first") as caught:
        async with parent:
            parent.gate.set()
            await anyio.sleep_forever()
    assert caught.value is first
    assert [type(exc) for exc in parent.failures] == [EOFError, OSError]
    assert any("OSError('child')" in note for note in first.__notes__)


async def test_a_body_that_fails_after_the_crash() -> None:
    """If the body fails as the crash cancels it, the crash leaves, with a note of that."""
    first = EOFError("first")
    with pytest.raises(EOFError, match="first") as caught:
        async with Crashing("task", first) as service:
            service.gate.set()
            try:
                await anyio.sleep_forever()
            finally:
                raise OSError("in the body")
    assert caught.value is first
    assert any("OSError('in the body')" in note for note in first.__notes__)


async def test_a_body_that_fails_before_a_crash() -> None:
    """If the body fails, and then the stop, the body's failure leaves."""
    first = EOFError("first")

    class Bad(Service):
        async def on_stop(self) -> None:
            raise OSError("later")

    with pytest.raises(EOFError, match="first") as caught:
        async with Bad():
            raise first
    assert caught.value is first


async def test_a_body_that_swallows_its_cancellation() -> None:
    """A body that carries on after the crash, and ends well, does not hide it."""
    boom = EOFError("boom")
    with pytest.raises(EOFError, match="boom") as caught:
        async with Crashing("task", boom) as service:
            service.gate.set()
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                pass
    assert caught.value is boom


async def test_a_body_that_is_shielded() -> None:
    """A shielded body is not torn from its work; the crash leaves when it is done."""
    done: list[str] = []
    boom = EOFError("boom")
    with pytest.raises(EOFError, match="boom"):
        async with Crashing("task", boom) as service:
            with anyio.CancelScope(shield=True):
                service.gate.set()
                await service.wait_until_stopped()
                await anyio.wait_all_tasks_blocked()
                done.append("body")
    assert done == ["body"]


async def test_a_body_that_ends_as_the_service_crashes() -> None:
    """A crash that comes while the block is being left still leaves it."""
    boom = EOFError("boom")

    class Last(Service):
        async def on_stop(self) -> None:
            await self.crash(boom)

    with pytest.raises(EOFError, match="boom") as caught:
        async with Last():
            pass
    assert caught.value is boom


async def test_a_crash_of_an_inner_block() -> None:
    """The crash of a service in an inner block goes through the outer ones like any exception."""
    boom = EOFError("boom")
    outer = Crashing("", EOFError())
    with pytest.raises(EOFError, match="boom") as caught:
        async with outer:
            async with Crashing("task", boom) as inner:
                inner.gate.set()
                await anyio.sleep_forever()
    assert caught.value is boom
    assert (outer.state, outer.crashed) == ("shutdown", False)


async def test_a_crash_of_an_outer_block() -> None:
    """The crash of a service in an outer block stops the inner ones first, in order."""
    boom = EOFError("boom")
    order: list[str] = []

    class Noted(Crashing):
        async def on_shutdown(self) -> None:
            order.append(self.origin or "inner")

    with pytest.raises(EOFError, match="boom") as caught:
        async with Noted("task", boom) as outer:
            async with Noted("", boom) as inner:
                outer.gate.set()
                await anyio.sleep_forever()
    assert caught.value is boom
    assert (outer.state, inner.state) == ("crashed", "shutdown")
    assert sorted(order) == ["inner", "task"]


async def test_a_crash_of_a_service_in_a_task() -> None:
    """The crash of a service that another's task owns crashes that one too."""
    boom = EOFError("boom")

    class Outer(Service):
        @Service.task
        async def work(self) -> None:
            async with Crashing("task", boom) as inner:
                inner.gate.set()
                await anyio.sleep_forever()

    outer = Outer()
    with pytest.raises(EOFError, match="boom") as caught:
        async with outer:
            await anyio.sleep_forever()
    assert caught.value is boom


async def test_a_crash_after_a_bare_start(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody receives the crash of a bare start: it stops the service in order, and is logged with its traceback."""
    boom = EOFError("boom")
    service = Crashing("task", boom)
    await service.start()
    service.gate.set()
    await service.wait_until_stopped()
    await service.stop()
    assert (service.state, service.crash_reason) == ("crashed", boom)
    logged = [
        record for record in caplog.records if record.levelno >= logging.ERROR and record.exc_info
    ]
    assert [record.exc_info[1] for record in logged if record.exc_info] == [boom]


async def test_a_crash_does_not_reach_who_merely_uses_the_service() -> None:
    """Tasks beside the owner that use the service go on: they only see that it stops."""
    boom = EOFError("boom")
    seen: list[bool] = []

    async def use(service: Service) -> None:
        seen.append(await service.wait_for_stopped(anyio.sleep_forever))

    async with anyio.create_task_group() as group:
        with pytest.raises(EOFError, match="boom"):
            async with Crashing("task", boom) as service:
                group.start_soon(use, service)
                await anyio.wait_all_tasks_blocked()
                service.gate.set()
                await anyio.sleep_forever()
    assert seen == [True]


@pytest.mark.parametrize(
    "reason",
    [
        KeyboardInterrupt(),
        SystemExit(3),
        GeneratorExit(),
        StopAsyncIteration(),
        ExceptionGroup("many", [ValueError(1)]),
        BaseExceptionGroup("many", [KeyboardInterrupt()]),
        RuntimeError("Event loop is closed"),
        TimeoutError(),
        AssertionError(),
    ],
    ids=repr,
)
async def test_any_reason(reason: BaseException) -> None:
    """The reason may be any exception: it is neither swallowed nor changed on its way."""
    service = Crashing("crash()", reason)
    with pytest.raises(type(reason)) as caught:
        async with service:
            await service.crash_by_call()
            await anyio.sleep_forever()
    assert caught.value is reason
    assert service.crash_reason is reason


async def test_the_reason_keeps_its_context() -> None:
    """What the reason says of its own cause and context stays."""
    cause, context = KeyError("cause"), LookupError("context")

    async def fail() -> None:
        try:
            raise context
        except LookupError:
            raise EOFError("boom") from cause

    with pytest.raises(EOFError, match="boom") as caught:
        async with Crashing("", EOFError()) as service:
            service.add_future(fail)
            await anyio.sleep_forever()
    assert caught.value.__cause__ is cause
    assert caught.value.__context__ is context
