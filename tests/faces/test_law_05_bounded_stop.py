"""Law 5, a stop is soft, then hard, and bounded: who waits is woken, who works may end, who hangs is named."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from structmode import Service, ShutdownTimeout, StuckTask

# --- Soft -----------------------------------------------------------------------------------------


async def sleeps(service: Service) -> None:
    """Wait by sleep()."""
    await service.sleep(3600.0)


async def waits(service: Service) -> None:
    """Wait by wait()."""
    await service.wait(anyio.sleep_forever)


async def waits_for_many(service: Service) -> None:
    """Wait by wait_many()."""
    await service.wait_many([anyio.sleep_forever, anyio.sleep_forever])


async def waits_for_the_first(service: Service) -> None:
    """Wait by wait_first()."""
    await service.wait_first(anyio.sleep_forever, anyio.Event())


async def waits_for_stopped(service: Service) -> None:
    """Wait by wait_for_stopped()."""
    await service.wait_for_stopped()


async def waits_until_stopped(service: Service) -> None:
    """Wait by wait_until_stopped()."""
    await service.wait_until_stopped()


async def iterates(service: Service) -> None:
    """Wait by itertimer()."""
    async for _ in service.itertimer(3600.0):
        pass  # pragma: no cover - never due


SOFT_WAITS = [
    sleeps,
    waits,
    waits_for_many,
    waits_for_the_first,
    waits_for_stopped,
    waits_until_stopped,
    iterates,
]


class Softly(Service):
    """Waits in a task, and notes that it was woken."""

    def __init__(self, wait: Callable[[Service], Awaitable[None]]) -> None:
        self.wait_softly = wait
        self.journal: list[str] = []
        super().__init__()

    @Service.task
    async def work(self) -> None:
        await self.wait_softly(self)
        self.journal.append("woken" if self.should_stop else "?")


@pytest.mark.parametrize("wait", SOFT_WAITS)
async def test_waits_return_before_tasks_are_cancelled(
    wait: Callable[[Service], Awaitable[None]],
) -> None:
    """In a stop, each wait of a service returns to its task before that is cancelled, even without a drain."""
    parent, child = Softly(wait), Softly(wait)
    parent.add_dependency(child)
    async with parent:
        await anyio.wait_all_tasks_blocked()
    assert (parent.journal, child.journal) == (["woken"], ["woken"])


@pytest.mark.parametrize("wait", SOFT_WAITS)
async def test_waits_return_in_a_crash(wait: Callable[[Service], Awaitable[None]]) -> None:
    """The same in a crash, for services above, below and beside."""
    parent, child, other = Softly(wait), Softly(wait), Softly(wait)
    parent.add_dependency(child)
    parent.add_dependency(other)
    with pytest.raises(EOFError, match="crash"):
        async with parent:
            await anyio.wait_all_tasks_blocked()
            await child.crash(EOFError("crash"))
            await anyio.sleep_forever()
    assert [service.journal for service in (parent, child, other)] == [["woken"]] * 3


async def test_the_loop_of_the_manual_runs_to_its_end() -> None:
    """`while not self.should_stop: await self.sleep(...)` ends, and the line after the loop is reached."""
    journal: list[str] = []

    class Looping(Service):
        @Service.task
        async def loop_(self) -> None:
            while not self.should_stop:
                await self.sleep(3600.0)
            journal.append("after the loop")

    async with Looping():
        await anyio.wait_all_tasks_blocked()
    assert journal == ["after the loop"]


# --- Drain ----------------------------------------------------------------------------------------


async def test_a_drain_lets_tasks_end() -> None:
    """Within drain_timeout tasks and futures end by themselves, however many waits that takes."""
    ended: list[str] = []

    class Drained(Service):
        drain_timeout = 60.0

        @Service.task
        async def work(self) -> None:
            await self.wait_until_stopped()
            for _ in range(10):
                await anyio.sleep(0.001)
            ended.append("task")

        async def on_start(self) -> None:
            self.add_future(self.finish())

        async def finish(self) -> None:
            await self.sleep(3600.0)
            await anyio.sleep(0.001)
            ended.append("future")

    async with Drained():
        await anyio.wait_all_tasks_blocked()
    assert sorted(ended) == ["future", "task"]


async def test_a_drain_ends_with_the_last_task() -> None:
    """A stop does not wait for the whole drain_timeout when nothing is left to drain."""

    class Drained(Service):
        drain_timeout = 3600.0

    with anyio.fail_after(10.0):
        async with Drained():
            pass


async def test_a_failure_in_the_drain() -> None:
    """A task that fails while it is drained fails the stop, which goes on."""
    boom = OSError("flush")

    class Drained(Service):
        drain_timeout = 60.0

        @Service.task
        async def work(self) -> None:
            await self.wait_until_stopped()
            raise boom

    service = Drained()
    await service.start()
    await anyio.wait_all_tasks_blocked()
    with pytest.raises(OSError, match="flush") as caught:
        await service.stop()
    assert caught.value is boom


async def test_each_service_has_its_own_drain() -> None:
    """A parent with a drain may finish; its child without one does not."""
    ended: list[str] = []

    class Working(Service):
        def __init__(self, name: str, drain: float) -> None:
            self.name = name
            self.drain_timeout = drain
            super().__init__()

        @Service.task
        async def work(self) -> None:
            await self.wait_until_stopped()
            await anyio.sleep(0.01)
            ended.append(self.name)

    parent, child = Working("parent", 60.0), Working("child", 0.0)
    parent.add_dependency(child)
    async with parent:
        await anyio.wait_all_tasks_blocked()
    assert ended == ["parent"]


# --- Bounded --------------------------------------------------------------------------------------


async def hang_in_a_place_of_its_own() -> None:
    """Hang."""
    await anyio.sleep_forever()


@asynccontextmanager
async def sticky_context() -> AsyncIterator[None]:
    """Hang on being left."""
    yield
    await hang_in_a_place_of_its_own()


class Sticky(Service):
    """Hangs somewhere in its stop."""

    shutdown_timeout = 0.05

    def __init__(self, where: str = "") -> None:
        self.where = where
        self.journal: list[str] = []
        super().__init__()

    async def hang(self, where: str) -> None:
        """Hang, if here is the place."""
        self.journal.append(where)
        if self.where == where:
            await hang_in_a_place_of_its_own()

    async def on_start(self) -> None:
        if self.where == "context":
            await self.add_async_context(sticky_context())
        if self.where == "drain":
            self.drain_timeout = 60.0
            self.add_future(hang_in_a_place_of_its_own())

    async def on_stop(self) -> None:
        await self.hang("on_stop")

    async def on_shutdown(self) -> None:
        await self.hang("on_shutdown")


@pytest.mark.parametrize("where", ["on_stop", "context", "on_shutdown"])
async def test_what_hangs_is_named_with_its_stack(where: str) -> None:
    """A stop that takes too long is cut short, and the error names what hung and shows where."""
    service = Sticky(where)
    await service.start()
    with pytest.raises(ShutdownTimeout) as caught:
        await service.stop()
    assert (caught.value.label, caught.value.timeout) == ("Sticky", 0.05)
    assert isinstance(caught.value, TimeoutError)
    (stuck,) = caught.value.stuck
    assert isinstance(stuck, StuckTask)
    assert (stuck.owner, where in stuck.task) == ("Sticky", True)
    assert "hang_in_a_place_of_its_own" in stuck.stack
    assert "test_law_05_bounded_stop.py" in stuck.stack
    assert stuck.stack.strip() in str(caught.value)
    assert service.journal == ["on_stop", "on_shutdown"]
    assert (service.state, service.failures) == ("shutdown", (caught.value,))


async def test_a_drain_never_outlasts_the_stop() -> None:
    """A drain longer than shutdown_timeout is cut short by it."""
    service = Sticky("drain")
    await service.start()
    with anyio.fail_after(20.0):
        try:
            await service.stop()
        except ShutdownTimeout as exc:  # pragma: no cover - both outcomes are right
            assert "hang_in_a_place_of_its_own" in str(exc)
    assert (service.state, service.tracebacks()) == ("shutdown", {})


async def test_what_hangs_keeps_no_sibling_from_stopping() -> None:
    """One child that hangs does not keep the others from their own orderly stop."""
    parent = Sticky()
    parent.shutdown_timeout = 60.0
    first, sticky, last = Sticky(), Sticky("on_stop"), Sticky()
    for child in (first, sticky, last):
        parent.add_dependency(child)
    await parent.start()
    with pytest.raises(ShutdownTimeout) as caught:
        await parent.stop()
    assert caught.value.label == "Sticky"
    assert caught.value.timeout == 0.05
    for service in (parent, first, sticky, last):
        assert service.journal == ["on_stop", "on_shutdown"]
        assert service.state == "shutdown"
    assert parent.failures == (caught.value,)


async def test_the_limit_of_a_parent_counts_for_its_children() -> None:
    """shutdown_timeout bounds a stop with all below it: past it, children are cut short whatever their own limit is."""
    parent, child, grandchild = Sticky(), Sticky(), Sticky("on_stop")
    child.shutdown_timeout = grandchild.shutdown_timeout = 3600.0
    parent.add_dependency(child)
    child.add_dependency(grandchild)
    await parent.start()
    with pytest.raises(ShutdownTimeout) as caught:
        await parent.stop()
    assert caught.value.timeout == 0.05
    assert any("hang_in_a_place_of_its_own" in stuck.stack for stuck in caught.value.stuck)
    assert [service.state for service in (parent, child, grandchild)] == ["shutdown"] * 3
    assert grandchild.journal == ["on_stop", "on_shutdown"]


async def test_hooks_after_the_limit_may_still_do_what_needs_no_waiting() -> None:
    """Past the limit the remaining hooks are called, in a scope that is cancelled."""
    journal: list[str] = []

    class Late(Service):
        shutdown_timeout = 0.05

        async def on_stop(self) -> None:
            await anyio.sleep_forever()

        async def on_shutdown(self) -> None:
            journal.append("saved")
            await anyio.sleep_forever()

    service = Late()
    await service.start()
    with pytest.raises(ShutdownTimeout):
        await service.stop()
    assert journal == ["saved"]


async def test_a_task_that_ignores_its_cancellation() -> None:
    """A task that ignores even the hard cancel does not hold stop() for ever; it is named, and the run ends with it."""
    release = anyio.Event()

    class Deaf(Service):
        shutdown_timeout = 0.05

        @Service.task
        async def ignore(self) -> None:
            with anyio.CancelScope(shield=True):
                await release.wait()

    service = Deaf()
    await service.start()
    await anyio.wait_all_tasks_blocked()
    with pytest.raises(ShutdownTimeout, match=r"Deaf\.ignore") as caught:
        await service.stop()
    (stuck,) = caught.value.stuck
    assert stuck.task == "Deaf.ignore"
    assert "await release.wait()" in stuck.stack
    assert service.state == "stopping"
    release.set()
    while service.started:
        await anyio.lowlevel.checkpoint()
    assert service.state == "shutdown"


async def test_several_that_hang_are_all_named() -> None:
    """All tasks that were stuck are named."""
    release = anyio.Event()

    class Deaf(Service):
        shutdown_timeout = 0.05

        @Service.task
        async def one(self) -> None:
            with anyio.CancelScope(shield=True):
                await release.wait()

        @Service.task
        async def two(self) -> None:
            with anyio.CancelScope(shield=True):
                await release.wait()

        @Service.task
        async def good(self) -> None:
            await anyio.sleep_forever()

    service = Deaf()
    await service.start()
    await anyio.wait_all_tasks_blocked()
    with pytest.raises(ShutdownTimeout) as caught:
        await service.stop()
    assert sorted(stuck.task for stuck in caught.value.stuck) == ["Deaf.one", "Deaf.two"]
    release.set()
    while service.started:
        await anyio.lowlevel.checkpoint()


async def test_a_hanging_stop_at_the_end_of_a_block() -> None:
    """A block whose service hangs in its stop ends after the limit, with the error."""
    service = Sticky("on_stop")
    with pytest.raises(ShutdownTimeout, match="on_stop"):
        async with service:
            pass
    assert service.state == "shutdown"


async def test_a_hanging_stop_after_a_crash() -> None:
    """After a crash the stop is bounded too: the crash leaves, with a note of the timeout."""
    service = Sticky("on_stop")
    with pytest.raises(EOFError, match="crash") as caught:
        async with service:
            await service.crash(EOFError("crash"))
            await anyio.sleep_forever()
    assert any("did not stop within 0.05 s" in note for note in caught.value.__notes__)
    assert [type(exc) for exc in service.failures] == [EOFError, ShutdownTimeout]


async def test_a_hanging_stop_in_a_restart() -> None:
    """A restart whose stop hangs raises the timeout, and does not start again."""
    async with Sticky("on_stop") as service:
        with pytest.raises(ShutdownTimeout):
            await service.restart()
        assert (service.started, service.restart_count) == (False, 0)


@pytest.mark.parametrize("timeout", [0, 0.0, -1.0])
async def test_a_limit_of_nothing(timeout: float) -> None:
    """With a shutdown_timeout of zero all is cut short at once: hooks are called, but may not wait."""
    service = Sticky()
    service.shutdown_timeout = timeout
    await service.start()
    service.add_future(anyio.sleep_forever)
    try:
        await service.stop()
    except ShutdownTimeout:  # pragma: no cover - both outcomes are right
        pass
    assert service.journal == ["on_stop", "on_shutdown"]
    assert service.state == "shutdown"


async def test_a_stop_without_a_limit() -> None:
    """shutdown_timeout may be infinite."""
    service = Sticky()
    service.shutdown_timeout = float("inf")
    async with service:
        pass
    assert service.failures == ()
