"""Law 3, starting is a transaction: it succeeds, or all is undone in reverse and the error leaves as it was raised."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import pytest

from structmode import Service

STEPS = [
    "on_init_dependencies",
    "on_first_start",
    "on_start",
    "task",
    "future",
    "child",
    "on_started",
]
HANGING_STEPS = ["on_first_start", "on_start", "child", "on_started"]


class Breaking(Service):
    """Acquires something in each step of its start, and fails or hangs in one of them."""

    def __init__(self, where: str, act: Callable[[], Any] | None, journal: list[str]) -> None:
        self.where = where
        self.act = act
        self.journal = journal
        self.hanging = anyio.Event()
        super().__init__()

    async def step(self, name: str) -> None:
        """Do what is asked for in this step."""
        if name != self.where or self.act is None:
            return
        self.hanging.set()
        await self.act()

    def sync_context(self, name: str) -> None:
        """Hold a sync context."""

        @contextmanager
        def hold() -> Iterator[None]:
            self.journal.append(f"+{name}")
            yield
            self.journal.append(f"-{name}")

        self.add_context(hold())

    async def async_context(self, name: str) -> None:
        """Hold an async context."""

        @asynccontextmanager
        async def hold() -> AsyncIterator[None]:
            self.journal.append(f"+{name}")
            async with anyio.create_task_group():
                yield
            self.journal.append(f"-{name}")

        await self.add_async_context(hold())

    def on_init_dependencies(self) -> list[Service]:
        if self.where == "on_init_dependencies":
            raise EOFError("broken")
        return [Sound("first", self.journal), Unsound(self), Sound("last", self.journal)]

    async def on_first_start(self) -> None:
        self.sync_context("sync")
        await self.async_context("async")
        await self.step("on_first_start")

    async def on_start(self) -> None:
        await self.async_context("more")
        self.add_future(self.step("future"))
        await self.step("on_start")

    @Service.task
    async def work(self) -> None:
        await self.step("task")
        self.journal.append("+task")
        try:
            await anyio.sleep_forever()
        finally:
            self.journal.append("-task")

    async def on_started(self) -> None:
        await self.step("on_started")
        if self.where in {"task", "future"} and self.act is not None:
            await anyio.sleep_forever()  # pragma: no cover - is ended before

    async def on_stop(self) -> None:
        self.journal.append("on_stop")

    async def on_shutdown(self) -> None:
        self.journal.append("on_shutdown")


class Sound(Service):
    """Starts and stops without trouble."""

    def __init__(self, name: str, journal: list[str]) -> None:
        self.name = name
        self.journal = journal
        super().__init__()

    async def on_start(self) -> None:
        self.journal.append(f"+{self.name}")

    async def on_stop(self) -> None:
        self.journal.append(f"-{self.name}")


class Unsound(Service):
    """A child that does what its parent says."""

    def __init__(self, parent: Breaking) -> None:
        self.parent = parent
        super().__init__()

    async def on_start(self) -> None:
        await self.parent.step("child")


CONTEXTS_1 = ["+sync", "+async"]
CONTEXTS_2 = ["+more"]
UNDO_1 = ["-async", "-sync"]
UNDO_2 = ["-more"]

# What a start has done, and how it is undone, if it ends in a certain step.
EXPECTED = {
    "on_init_dependencies": [],
    "on_first_start": [*CONTEXTS_1, *UNDO_1],
    "on_start": [*CONTEXTS_1, *CONTEXTS_2, *UNDO_2, *UNDO_1],
    "child": [
        *CONTEXTS_1,
        *CONTEXTS_2,
        "+task",
        "+first",
        "on_stop",
        "-first",
        "-task",
        *UNDO_2,
        *UNDO_1,
        "on_shutdown",
    ],
    "on_started": [
        *CONTEXTS_1,
        *CONTEXTS_2,
        "+task",
        "+first",
        "+last",
        "on_stop",
        "-last",
        "-first",
        "-task",
        *UNDO_2,
        *UNDO_1,
        "on_shutdown",
    ],
}


def raising(exc: BaseException) -> Callable[[], Any]:
    """Return an act that raises."""

    async def act() -> None:
        await anyio.lowlevel.checkpoint()
        raise exc

    return act


def check_undone(service: Service) -> None:
    """Check that nothing of a start is left."""
    assert (service.state, service.started, service.crashed, service.crash_reason) == (
        "init",
        False,
        False,
        None,
    )
    assert service.tracebacks() == {}
    assert all(not node.data.started for node in service.beacon.traverse())


@pytest.mark.parametrize("step", STEPS)
async def test_an_error_in_a_step(step: str) -> None:
    """Whatever step fails, its error leaves start() as it was raised, and all is undone in reverse."""
    boom = EOFError("broken")
    journal: list[str] = []
    service = Breaking(step, raising(boom), journal)
    with pytest.raises(EOFError, match="broken") as caught:
        await service.start()
    assert step == "on_init_dependencies" or caught.value is boom
    assert caught.value.__cause__ is None
    if step in EXPECTED:
        assert journal == EXPECTED[step]
    else:  # how far the start had come when a task failed differs from loop to loop
        held = [line for line in journal if line[1:] in {"sync", "async", "more"}]
        assert held == [*CONTEXTS_1, *CONTEXTS_2, *UNDO_2, *UNDO_1]
    check_undone(service)


@pytest.mark.parametrize("exc", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
@pytest.mark.parametrize("step", ["on_start", "child", "on_started"])
async def test_any_exception_in_a_step(step: str, exc: BaseException) -> None:
    """That is true of all exceptions, not only of errors."""
    journal: list[str] = []
    service = Breaking(step, raising(exc), journal)
    with pytest.raises(type(exc)) as caught:
        await service.start()
    assert caught.value is exc
    assert journal == EXPECTED[step]
    check_undone(service)


@pytest.mark.parametrize("step", ["on_first_start", "on_start", "child", "on_started"])
async def test_an_error_at_the_entry_of_a_block(step: str) -> None:
    """A block whose start fails raises the error at its entry, after all has been undone."""
    boom = EOFError("broken")
    journal: list[str] = []
    service = Breaking(step, raising(boom), journal)
    with pytest.raises(EOFError, match="broken") as caught:
        async with service:
            pytest.fail("the body ran")
    assert caught.value is boom
    assert journal == EXPECTED[step]
    check_undone(service)


@pytest.mark.parametrize("step", HANGING_STEPS)
async def test_a_cancelled_caller(step: str) -> None:
    """If the caller of start() is cancelled, all is undone before the cancellation goes on."""
    journal: list[str] = []
    service = Breaking(step, anyio.sleep_forever, journal)
    async with anyio.create_task_group() as group:

        async def start() -> None:
            try:
                await service.start()
            except anyio.get_cancelled_exc_class():
                journal.append("cancelled")
                raise

        group.start_soon(start)
        await service.hanging.wait()
        group.cancel_scope.cancel()
    assert journal == [*EXPECTED[step], "cancelled"]
    check_undone(service)


@pytest.mark.parametrize("step", HANGING_STEPS)
async def test_a_cancelled_block(step: str) -> None:
    """If the task that enters a block is cancelled, all is undone, and the body does not run."""
    journal: list[str] = []
    service = Breaking(step, anyio.sleep_forever, journal)
    with anyio.CancelScope() as scope:

        async def cancel() -> None:
            await service.hanging.wait()
            scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(cancel)
            async with service:
                pytest.fail("the body ran")
    assert scope.cancelled_caught
    assert journal == EXPECTED[step]
    check_undone(service)


@pytest.mark.parametrize("step", HANGING_STEPS)
async def test_a_crash_during_the_start(step: str) -> None:
    """A crash from outside during the start is why it fails."""
    boom = EOFError("broken")
    journal: list[str] = []
    service = Breaking(step, anyio.sleep_forever, journal)
    async with anyio.create_task_group() as group:

        async def crash() -> None:
            await service.hanging.wait()
            await service.crash(boom)

        group.start_soon(crash)
        with pytest.raises(EOFError, match="broken") as caught:
            await service.start()
    assert caught.value is boom
    assert journal == EXPECTED[step]
    check_undone(service)


@pytest.mark.parametrize("step", STEPS)
async def test_a_second_try(step: str) -> None:
    """After a failed start the very same service can be started, and has all that belongs to a first start."""
    journal: list[str] = []
    service = Breaking(step, raising(EOFError("broken")), journal)
    with pytest.raises(EOFError, match="broken"):
        await service.start()
    service.where, service.act = "", None
    journal.clear()
    async with service:
        assert service.state == "running"
        await anyio.wait_all_tasks_blocked()
    assert journal == EXPECTED["on_started"]
    assert service.failures == ()


async def test_undoing_takes_its_time() -> None:
    """The hooks and contexts that undo a start may wait, also when the caller was cancelled."""
    journal: list[str] = []

    @asynccontextmanager
    async def slow() -> AsyncIterator[None]:
        yield
        await anyio.wait_all_tasks_blocked()
        journal.append("context")

    class Slow(Service):
        async def on_start(self) -> None:
            await self.add_async_context(slow())

        async def on_started(self) -> None:
            await anyio.sleep_forever()

        async def on_stop(self) -> None:
            await anyio.wait_all_tasks_blocked()
            journal.append("on_stop")

        async def on_shutdown(self) -> None:
            await anyio.wait_all_tasks_blocked()
            journal.append("on_shutdown")

    with anyio.move_on_after(0.01):
        await Slow().start()
    assert journal == ["on_stop", "context", "on_shutdown"]


async def test_undoing_is_bounded() -> None:
    """A hook that hangs while a start is undone is cut short after shutdown_timeout; the first error leaves."""
    boom = EOFError("broken")

    class Hanging(Service):
        shutdown_timeout = 0.05

        async def on_started(self) -> None:
            raise boom

        async def on_stop(self) -> None:
            await anyio.sleep_forever()

    service = Hanging()
    with pytest.raises(EOFError, match="broken") as caught:
        await service.start()
    assert caught.value is boom
    assert any("did not stop within 0.05 s" in note for note in boom.__notes__)
    assert service.state == "init"


async def test_a_failed_start_at_runtime_leaves_the_parent_alone() -> None:
    """A child whose start fails at runtime is undone, and its parent and siblings run on."""
    journal: list[str] = []
    async with Sound("parent", journal) as parent:
        await parent.add_runtime_dependency(Sound("sibling", journal))
        for step in ("on_first_start", "on_start", "child", "on_started"):
            with pytest.raises(EOFError, match="broken"):
                await parent.add_runtime_dependency(
                    Breaking(step, raising(EOFError("broken")), [])
                )
        assert [node.data.state for node in parent.beacon.traverse()] == ["running", "running"]
    assert journal == ["+parent", "+sibling", "-parent", "-sibling"]


async def test_failed_starts_hold_no_memory() -> None:
    """A service that fails to start a hundred times keeps nothing of those tries."""
    service = Breaking("on_started", None, [])
    counts: list[int] = []
    for n in range(30):
        service.where, service.act = "on_started", raising(EOFError("broken"))
        with pytest.raises(EOFError, match="broken"):
            await service.start()
        service.journal.clear()
        if n in {9, 29}:
            gc.collect()
            counts.append(sum(1 for thing in gc.get_objects() if isinstance(thing, Service)))
    assert counts[0] == counts[1]
