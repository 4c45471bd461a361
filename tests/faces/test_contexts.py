"""Contexts that a service holds while it runs: sync and async, on one stack, each entered and left where it belongs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import anyio.abc
import pytest

from structmode import LifecycleError, Service, ShutdownTimeout


class Plain(Service):
    """Does nothing by itself."""


class Contexts:
    """Makes contexts that note how they are entered and left, in one journal."""

    def __init__(self) -> None:
        self.journal: list[str] = []

    @contextmanager
    def sync(self, name: str) -> Iterator[str]:
        """Be a sync context."""
        self.journal.append(f"+{name}")
        try:
            yield name
        finally:
            self.journal.append(f"-{name}")

    @asynccontextmanager
    async def async_(self, name: str) -> AsyncIterator[str]:
        """Be an async context."""
        self.journal.append(f"+{name}")
        await anyio.lowlevel.checkpoint()
        try:
            yield name
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
            self.journal.append(f"-{name}")


@pytest.fixture
def contexts() -> Contexts:
    """Contexts with an empty journal."""
    return Contexts()


# --- Entering and leaving -------------------------------------------------------------------------


async def test_entered_at_once_and_left_at_the_stop(contexts: Contexts) -> None:
    """Contexts are entered by the call, which gives what they give, and left when the service stops."""
    async with Plain() as service:
        assert service.add_context(contexts.sync("a")) == "a"
        assert await service.add_async_context(contexts.async_("b")) == "b"
        assert contexts.journal == ["+a", "+b"]
    assert contexts.journal == ["+a", "+b", "-b", "-a"]


async def test_last_in_first_out(contexts: Contexts) -> None:
    """Sync and async contexts are left in the reverse order in which they were entered, together."""
    async with Plain() as service:
        service.add_context(contexts.sync("1"))
        await service.add_async_context(contexts.async_("2"))
        service.add_context(contexts.sync("3"))
        await service.add_async_context(contexts.async_("4"))
        contexts.journal.clear()
    assert contexts.journal == ["-4", "-3", "-2", "-1"]


async def test_what_the_hooks_of_a_stop_may_add(contexts: Contexts) -> None:
    """In `on_stop` a plain context, and no async one and no service; in `on_shutdown` none at all."""

    class Ending(Service):
        async def on_stop(self) -> None:
            self.add_context(contexts.sync("late"))
            with pytest.raises(LifecycleError, match="can't enter an async context now"):
                await self.add_async_context(contexts.async_("too late"))
            with pytest.raises(LifecycleError, match="is stopping"):
                await self.add_runtime_dependency(Plain())

        async def on_shutdown(self) -> None:
            contexts.journal.append("on_shutdown")
            with pytest.raises(LifecycleError, match="its service has stopped"):
                self.add_context(contexts.sync("too late"))

    async with Ending():
        pass
    assert contexts.journal == ["+late", "-late", "on_shutdown"]


async def test_left_after_tasks_and_children_and_before_on_shutdown(contexts: Contexts) -> None:
    """Tasks and children may use the contexts to their end; on_shutdown comes when they have been left."""

    class Child(Service):
        async def on_shutdown(self) -> None:
            contexts.journal.append("child")

    class Parent(Service):
        async def on_start(self) -> None:
            self.add_context(contexts.sync("sync"))
            await self.add_async_context(contexts.async_("async"))
            self.add_dependency(Child())
            contexts.journal.clear()

        @Service.task
        async def work(self) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                contexts.journal.append("task")

        async def on_stop(self) -> None:
            contexts.journal.append("on_stop")

        async def on_shutdown(self) -> None:
            contexts.journal.append("on_shutdown")

    async with Parent():
        await anyio.wait_all_tasks_blocked()
    assert contexts.journal == ["on_stop", "child", "task", "-async", "-sync", "on_shutdown"]


async def test_each_run_has_its_own_contexts(contexts: Contexts) -> None:
    """A restart leaves the contexts of the old run before the new one enters its own."""

    class Holder(Service):
        async def on_start(self) -> None:
            await self.add_async_context(contexts.async_(f"run {self.restart_count}"))

    async with Holder() as service:
        await service.restart()
    assert contexts.journal == ["+run 0", "-run 0", "+run 1", "-run 1"]


async def test_a_sync_context_before_the_start(contexts: Contexts) -> None:
    """A sync context added before the start is entered at once and left when the run that follows stops."""
    service = Plain()
    service.add_context(contexts.sync("early"))
    assert contexts.journal == ["+early"]
    async with service:
        assert contexts.journal == ["+early"]
    assert contexts.journal == ["+early", "-early"]


async def test_a_sync_context_before_a_start_that_fails(contexts: Contexts) -> None:
    """If that run does not come up, the context is left all the same."""

    class Bad(Service):
        async def on_first_start(self) -> None:
            raise OSError("no")

    service = Bad()
    service.add_context(contexts.sync("early"))
    with pytest.raises(OSError, match="no"):
        await service.start()
    assert contexts.journal == ["+early", "-early"]


@pytest.mark.parametrize("where", ["on_first_start", "on_start", "on_started", "task", "outside"])
async def test_from_anywhere(where: str, contexts: Contexts) -> None:
    """An async context that holds a task group and a cancel scope may be added from any hook or task."""

    @asynccontextmanager
    async def group() -> AsyncIterator[anyio.abc.TaskGroup]:
        with anyio.CancelScope():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.sleep_forever)
                yield tasks
                tasks.cancel_scope.cancel()
        contexts.journal.append("left")

    class Anywhere(Service):
        async def add(self, here: str) -> None:
            if here == where:
                contexts.journal.append("entered")
                await self.add_async_context(group())

        async def on_first_start(self) -> None:
            await self.add("on_first_start")

        async def on_start(self) -> None:
            await self.add("on_start")

        async def on_started(self) -> None:
            await self.add("on_started")

    async with Anywhere() as service:
        if where == "task":
            await service.add_future(service.add("task"))
        await service.add("outside")
        assert contexts.journal == ["entered"]
    assert contexts.journal == ["entered", "left"]


async def test_a_context_is_left_in_the_task_that_entered_it() -> None:
    """An async context is entered and left in one and the same task, whoever added it."""
    tasks: list[int] = []

    @asynccontextmanager
    async def note() -> AsyncIterator[None]:
        tasks.append(anyio.get_current_task().id)
        yield
        tasks.append(anyio.get_current_task().id)

    async with Plain() as service:
        await service.add_async_context(note())
        await service.add_future(service.add_async_context(note()))
    first, second, second_left, first_left = tasks
    assert (first, second) == (first_left, second_left)


async def test_services_as_contexts() -> None:
    """A service may be held as a context of another: it starts and stops there."""
    inner = Plain()
    async with Plain() as outer:
        assert await outer.add_async_context(inner) is inner
        assert inner.state == "running"
    assert inner.state == "shutdown"


async def test_many_contexts(contexts: Contexts) -> None:
    """Hundreds of contexts are left in order."""
    async with Plain() as service:
        for n in range(200):
            await service.add_async_context(contexts.async_(str(n)))
        contexts.journal.clear()
    assert contexts.journal == [f"-{n}" for n in reversed(range(200))]


# --- Failures -------------------------------------------------------------------------------------


async def test_a_context_that_cannot_be_entered(contexts: Contexts) -> None:
    """What entering raises leaves the call as it was raised; the service runs on."""
    boom = OSError("no disk")

    @asynccontextmanager
    async def bad() -> AsyncIterator[None]:
        raise boom
        yield

    @contextmanager
    def bad_sync() -> Iterator[None]:
        raise boom
        yield

    async with Plain() as service:
        with pytest.raises(OSError, match="no disk") as caught:
            await service.add_async_context(bad())
        assert caught.value is boom
        with pytest.raises(OSError, match="no disk") as caught:
            service.add_context(bad_sync())
        assert caught.value is boom
        assert service.state == "running"
    assert service.failures == ()


async def test_a_context_that_fails_to_be_left(contexts: Contexts) -> None:
    """What leaving raises leaves the stop; the other contexts are left, and on_shutdown is called."""
    boom = OSError("disk full")
    ended: list[str] = []

    @asynccontextmanager
    async def bad() -> AsyncIterator[None]:
        yield
        raise boom

    class Holder(Service):
        async def on_shutdown(self) -> None:
            ended.append("on_shutdown")

    service = Holder()
    await service.start()
    service.add_context(contexts.sync("first"))
    await service.add_async_context(bad())
    await service.add_async_context(contexts.async_("last"))
    with pytest.raises(OSError, match="disk full") as caught:
        await service.stop()
    assert caught.value is boom
    assert contexts.journal == ["+first", "+last", "-last", "-first"]
    assert (ended, service.failures) == (["on_shutdown"], (boom,))


async def test_a_sync_context_that_fails_to_be_left(contexts: Contexts) -> None:
    """What a sync context raises on being left leaves the stop too, after the others have been left."""
    boom = OSError("disk full")

    @contextmanager
    def bad() -> Iterator[None]:
        yield
        raise boom

    service = Plain()
    await service.start()
    await service.add_async_context(contexts.async_("first"))
    service.add_context(bad())
    with pytest.raises(OSError, match="disk full") as caught:
        await service.stop()
    assert caught.value is boom
    assert contexts.journal == ["+first", "-first"]


async def test_a_context_that_fails_while_it_is_held() -> None:
    """If something inside an async context fails, the service crashes with that."""
    boom = ValueError("boom")
    gate = anyio.Event()

    async def fail() -> None:
        await gate.wait()
        raise boom

    @asynccontextmanager
    async def group() -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail)
            yield

    with pytest.raises(ExceptionGroup) as caught:
        async with Plain() as service:
            await service.add_async_context(group())
            gate.set()
            await anyio.sleep_forever()
    assert caught.value.exceptions == (boom,)
    assert service.crash_reason is caught.value


async def test_a_context_that_would_swallow_errors() -> None:
    """A context can't swallow a crash: what crashed the service leaves all the same."""

    @contextmanager
    def swallow() -> Iterator[None]:
        try:
            yield
        except BaseException:  # pragma: no cover - it is not given one
            pytest.fail("was given an exception")

    with pytest.raises(ValueError, match="boom"):
        async with Plain() as service:
            service.add_context(swallow())
            await service.crash(ValueError("boom"))
            await anyio.sleep_forever()


async def test_contexts_are_left_after_a_crash(contexts: Contexts) -> None:
    """A crash leaves the contexts in order, as a stop does."""
    with pytest.raises(ValueError, match="boom"):
        async with Plain() as service:
            service.add_context(contexts.sync("a"))
            await service.add_async_context(contexts.async_("b"))
            await service.crash(ValueError("boom"))
            await anyio.sleep_forever()
    assert contexts.journal == ["+a", "+b", "-b", "-a"]


async def test_contexts_are_left_after_a_cancellation(contexts: Contexts) -> None:
    """Cancelled from outside, contexts may still wait while they are left."""
    with anyio.CancelScope() as scope:
        async with Plain() as service:
            await service.add_async_context(contexts.async_("a"))
            scope.cancel()
            await anyio.sleep_forever()
    assert contexts.journal == ["+a", "-a"]


async def test_a_caller_that_is_cancelled_while_a_context_is_entered() -> None:
    """If the caller is cancelled, entering is cancelled too, and nothing is left to be left."""
    journal: list[str] = []

    @asynccontextmanager
    async def slow() -> AsyncIterator[None]:
        journal.append("entering")
        try:
            await anyio.sleep_forever()
            yield  # pragma: no cover - must not be reached
        finally:
            journal.append("gave up")

    async with Plain() as service:
        with anyio.move_on_after(0.01) as scope:
            await service.add_async_context(slow())
        assert scope.cancelled_caught
        assert journal == ["entering", "gave up"]
        assert service.state == "running"
    assert service.failures == ()


async def test_a_stop_while_a_context_is_entered() -> None:
    """A stop during the entering of a context cancels that, and leaves nothing."""
    journal: list[str] = []
    entering = anyio.Event()

    @asynccontextmanager
    async def slow() -> AsyncIterator[None]:
        entering.set()
        try:
            await anyio.sleep_forever()
            yield  # pragma: no cover - must not be reached
        finally:
            journal.append("gave up")

    async def add(service: Service) -> None:
        try:
            await service.add_async_context(slow())
        except anyio.TaskCancelled:
            journal.append("told")

    async with anyio.create_task_group() as group:
        async with Plain() as service:
            group.start_soon(add, service)
            await entering.wait()
    assert journal == ["gave up", "told"]
    assert (service.state, service.failures) == ("shutdown", ())


async def test_a_context_that_hangs_on_being_left() -> None:
    """A context that hangs as it is left is cut short after shutdown_timeout, and named with its stack."""

    @asynccontextmanager
    async def sticky() -> AsyncIterator[None]:
        yield
        await anyio.sleep_forever()

    service = Plain()
    service.shutdown_timeout = 0.05
    await service.start()
    await service.add_async_context(sticky())
    with pytest.raises(TimeoutError, match="sticky"):
        await service.stop()
    assert service.state == "shutdown"


async def test_entered_in_a_start_that_outlives_a_failure_above(contexts: Contexts) -> None:
    """What something above has failed of is no business of a start that has not been told to end: it gets its contexts."""
    begun, failed = anyio.Event(), anyio.Event()

    class Again(Service):
        """Enters a context in its second start, after the failure."""

        async def on_start(self) -> None:
            if self.restart_count:
                begun.set()
                await failed.wait()
            await self.add_async_context(contexts.async_("a"))

    class Beside(Service):
        """Stops before the start is told to end, and lets it come to its end."""

        async def on_stop(self) -> None:
            failed.set()
            await anyio.wait_all_tasks_blocked()

    boom, child, above = ValueError("boom"), Again(), Plain()
    above.add_dependency(Plain()).add_dependency(child)
    above.add_dependency(Beside())
    with pytest.raises(ValueError, match="boom"):
        async with above, anyio.create_task_group() as group:
            _ = group.start_soon(child.restart)
            await begun.wait()
            await above.crash(boom)
    assert contexts.journal == ["+a", "-a"] * 2
    assert list(child.failures) == []


# --- Misuse ---------------------------------------------------------------------------------------


async def test_an_async_context_needs_a_running_service(contexts: Contexts) -> None:
    """Before the start, and after the stop, an async context is refused: nobody could leave it."""
    service = Plain()
    with pytest.raises(
        LifecycleError, match=r"Plain is not running yet: it can't enter an async context now"
    ):
        await service.add_async_context(contexts.async_("early"))
    async with service:
        pass
    with pytest.raises(
        LifecycleError, match=r"it can't enter an async context now\. Call it in a hook or a task"
    ):
        await service.add_async_context(contexts.async_("late"))
    assert contexts.journal == []


async def test_an_async_context_on_a_stopping_service(contexts: Contexts) -> None:
    """A service that is stopping takes no async context any more."""
    refused: list[str] = []

    class Late(Service):
        async def on_stop(self) -> None:
            try:
                await self.add_async_context(contexts.async_("late"))
            except LifecycleError as exc:
                refused.append(str(exc))

    async with Late():
        pass
    assert len(refused) == 1
    assert "Late is stopping" in refused[0]
    assert contexts.journal == []


async def test_a_sync_context_on_a_stopping_service(contexts: Contexts) -> None:
    """A sync context that on_stop adds is left in the same stop."""

    class Late(Service):
        async def on_stop(self) -> None:
            self.add_context(contexts.sync("late"))

    async with Late():
        pass
    assert contexts.journal == ["+late", "-late"]


async def test_contexts_mixed_up(contexts: Contexts) -> None:
    """A context of the other kind is refused with the call that would have been right."""
    async with Plain() as service:
        with pytest.raises(
            TypeError, match=r"for one used with plain `with`, call add_context\(\)"
        ):
            await service.add_async_context(contexts.sync("a"))  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"`async with`, await add_async_context\(\)"):
            service.add_context(contexts.async_("b"))  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="42 is not an async context manager"):
            await service.add_async_context(42)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="42 is not a context manager"):
            service.add_context(42)  # type: ignore[arg-type]
    assert contexts.journal == []


# --- exit_stack and async_exit_stack --------------------------------------------------------------


async def test_the_exit_stacks(contexts: Contexts) -> None:
    """Code written for mode may use the stacks themselves: all goes on one stack, closed last-in first-out."""

    def note(*what: Any) -> None:
        contexts.journal.append(" ".join(map(str, what)))

    def note_exit(*exc_info: Any) -> None:
        contexts.journal.append("exit")

    async def note_async(what: str) -> None:
        await anyio.lowlevel.checkpoint()
        contexts.journal.append(what)

    async with Plain() as service:
        assert service.exit_stack.enter_context(contexts.sync("a")) == "a"
        assert await service.async_exit_stack.enter_async_context(contexts.async_("b")) == "b"
        service.exit_stack.callback(note, "callback", 1)
        service.exit_stack.push(note_exit)
        service.async_exit_stack.push_async_callback(note_async, "async callback")
        assert service.async_exit_stack.enter_context(contexts.sync("c")) == "c"
        contexts.journal.clear()
    assert contexts.journal == ["-c", "async callback", "exit", "callback 1", "-b", "-a"]


async def test_the_exit_stacks_belong_to_a_run() -> None:
    """Each run has stacks of its own, and they are the same object for the length of it."""
    service = Plain()
    async with service:
        first = service.exit_stack, service.async_exit_stack
        assert service.exit_stack is first[0]
        assert service.async_exit_stack is first[1]
        await service.restart()
        assert service.exit_stack is not first[0]
        assert service.async_exit_stack is not first[1]


async def test_an_async_context_on_the_stack_may_hold_scopes() -> None:
    """What enter_async_context of the stack enters is left in the task that entered it, too."""

    @asynccontextmanager
    async def scoped() -> AsyncIterator[None]:
        async with anyio.create_task_group():
            with anyio.CancelScope():
                yield

    class Holder(Service):
        async def on_start(self) -> None:
            await self.async_exit_stack.enter_async_context(scoped())

        @Service.task
        async def work(self) -> None:
            await self.async_exit_stack.enter_async_context(scoped())

    async with Holder() as service:
        await anyio.wait_all_tasks_blocked()
        assert service.state == "running"
    assert (service.state, service.failures) == ("shutdown", ())


async def test_pop_all_takes_contexts_over(contexts: Contexts) -> None:
    """A stack may be taken over with pop_all(), as of any ExitStack: the service does not close it then."""
    async with Plain() as service:
        service.add_context(contexts.sync("a"))
        taken = service.async_exit_stack.pop_all()
    assert contexts.journal == ["+a"]
    await taken.aclose()
    assert contexts.journal == ["+a", "-a"]


@pytest.mark.parametrize("make", [anyio.CancelScope, lambda: anyio.move_on_after(60.0)])  # noqa: ASYNC122 - it is refused in any case
async def test_a_cancel_scope_is_no_context(make: Callable[[], anyio.CancelScope]) -> None:
    """A cancel scope is refused: it belongs to the task that enters it, and can't be held by a service."""
    service = Plain()
    try:
        with pytest.raises(TypeError, match=r"add_async_context\(\)"):
            service.add_context(make())
    finally:
        await service.async_exit_stack.aclose()


@pytest.mark.parametrize("where", ["enter", "exit"])
async def test_a_context_that_stops_its_service(where: str) -> None:
    """A context may stop the service that holds it, as it is entered and as it is left, without waiting for itself."""
    steps: list[str] = []

    @asynccontextmanager
    async def stopping(service: Service) -> AsyncIterator[None]:
        if where == "enter":
            await service.stop()
        steps.append("entered")
        yield
        if where == "exit":
            await service.stop()
        steps.append("left")

    service = Plain()
    async with service:
        await service.add_async_context(stopping(service))
    assert steps == ["entered", "left"]
    assert (service.state, service.failures) == ("shutdown", ())


@pytest.mark.parametrize("below", [False, True])
async def test_what_has_been_taken_and_is_not_closed(contexts: Contexts, below: bool) -> None:
    """The stop waits for it until its time is over; then it is named, and left."""
    holder = Plain()
    holder.shutdown_timeout = 60.0 if below else 0.05
    service = Plain() if below else holder
    service.shutdown_timeout = 0.05
    if below:
        service.add_dependency(holder)
    with pytest.raises(ShutdownTimeout) as caught:
        async with service:
            await holder.add_async_context(contexts.async_("a"))
            _ = holder.async_exit_stack.pop_all()
    assert contexts.journal == ["+a", "-a"]
    assert [stuck.owner for stuck in caught.value.stuck] == [holder.label]
    assert caught.value.stuck[0].task.startswith("context ")
    assert service.state == "shutdown"
