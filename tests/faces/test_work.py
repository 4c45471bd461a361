"""What a service runs in the background: declared tasks, futures and their handles, services made of an awaitable."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import anyio
import pytest

from structmode import Service, services, task


class Plain(Service):
    """Does nothing by itself."""


async def give(value: int) -> int:
    """Return a value after a checkpoint."""
    await anyio.lowlevel.checkpoint()
    return value


async def fail(exc: BaseException) -> None:
    """Raise after a checkpoint."""
    await anyio.lowlevel.checkpoint()
    raise exc


async def run_tasks(service: Service) -> None:
    """Run a service until its tasks have all begun."""
    async with service:
        await anyio.wait_all_tasks_blocked()


# --- Declared tasks -------------------------------------------------------------------------------


class Ordered(Service):
    """Has tasks that note that they begin, in an order that no alphabet has."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        super().__init__()

    @Service.task
    async def zebra(self) -> None:
        self.begun.append("zebra")

    @Service.task
    async def apple(self) -> None:
        self.begun.append("apple")

    @Service.task
    async def mango(self) -> None:
        self.begun.append("mango")


async def test_tasks_begin_in_definition_order() -> None:
    """Tasks begin in the order in which the class defines them."""
    service = Ordered()
    await run_tasks(service)
    assert service.begun == ["zebra", "apple", "mango"]


async def test_inherited_tasks_begin_first() -> None:
    """The tasks of base classes begin before those that a subclass adds."""

    class More(Ordered):
        @Service.task
        async def aaa(self) -> None:
            self.begun.append("aaa")

    service = More()
    await run_tasks(service)
    assert service.begun == ["zebra", "apple", "mango", "aaa"]


async def test_an_overridden_task_keeps_its_place() -> None:
    """A task that a subclass overrides runs instead of the original, at its place."""

    class Other(Ordered):
        @Service.task
        async def extra(self) -> None:
            self.begun.append("extra")

        @Service.task
        async def apple(self) -> None:
            self.begun.append("other apple")

    service = Other()
    await run_tasks(service)
    assert service.begun == ["zebra", "other apple", "mango", "extra"]


async def test_an_overridden_task_may_call_the_original() -> None:
    """What overrides a task can call it through super(), as any method."""

    class Other(Ordered):
        @Service.task
        async def apple(self) -> None:
            await super().apple()
            self.begun.append("and more")

    service = Other()
    await run_tasks(service)
    assert service.begun == ["zebra", "apple", "and more", "mango"]


async def test_none_switches_a_task_off() -> None:
    """A subclass switches a task off by setting it to None; a class below may switch it on again."""

    class Less(Ordered):
        apple = None  # type: ignore[assignment]

    class Again(Less):
        @Service.task
        async def apple(self) -> None:  # type: ignore[override]
            self.begun.append("apple again")

    less, again = Less(), Again()
    await run_tasks(less)
    await run_tasks(again)
    assert less.begun == ["zebra", "mango"]
    assert again.begun == ["zebra", "mango", "apple again"]


async def test_a_task_may_be_overridden_by_a_timer() -> None:
    """A task may be replaced by another kind of background work, a timer for instance."""
    ticked = anyio.Event()

    class Timed(Ordered):
        @Service.timer(0.001)
        async def apple(self) -> None:
            ticked.set()

    async with Timed() as service:
        await ticked.wait()
        assert "apple" not in service.begun


async def test_tasks_of_several_bases() -> None:
    """With several base classes the order is that of Python's own, the farthest base first."""

    class Base(Ordered):
        pass

    class Left(Base):
        @Service.task
        async def left(self) -> None:
            self.begun.append("left")

    class Right(Base):
        @Service.task
        async def right(self) -> None:
            self.begun.append("right")

    class Both(Left, Right):
        pass

    service = Both()
    await run_tasks(service)
    assert service.begun == ["zebra", "apple", "mango", "right", "left"]


async def test_tasks_of_a_mixin() -> None:
    """A mixin that is no service may bring tasks."""
    begun: list[str] = []

    class Mixin:
        @Service.task
        async def mixed(self) -> None:
            begun.append(type(self).__name__)

    class Mixed(Mixin, Service):
        pass

    await run_tasks(Mixed())
    assert begun == ["Mixed"]


async def test_classes_of_the_same_name() -> None:
    """Two classes of the same name in one module have each their own tasks."""
    begun: list[str] = []

    def make(name: str) -> Service:
        class Same(Service):
            @Service.task
            async def work(self) -> None:
                begun.append(name)

        return Same()

    first, second = make("first"), make("second")
    await run_tasks(first)
    await run_tasks(second)
    assert begun == ["first", "second"]


async def test_each_instance_has_its_own_tasks() -> None:
    """Two instances of a class run the same tasks, each for itself."""
    one, two = Ordered(), Ordered()
    async with one, two:
        await anyio.wait_all_tasks_blocked()
    assert one.begun == two.begun == ["zebra", "apple", "mango"]


async def test_start_does_not_wait_for_tasks() -> None:
    """start() returns though a task has not ended."""

    class Endless(Service):
        @Service.task
        async def work(self) -> None:
            await anyio.sleep_forever()

    async with Endless() as service:
        assert service.state == "running"


async def test_a_task_may_return() -> None:
    """A task that returns is done: the service runs on."""
    service = Ordered()
    async with service:
        await anyio.wait_all_tasks_blocked()
        assert (service.state, service.tracebacks()) == ("running", {})


async def test_tasks_run_again_in_each_run() -> None:
    """Each run has tasks of its own."""
    service = Ordered()
    async with service:
        await anyio.wait_all_tasks_blocked()
        await service.restart()
        await anyio.wait_all_tasks_blocked()
    assert service.begun == ["zebra", "apple", "mango"] * 2


async def test_what_leaves_a_task_crashes_the_service() -> None:
    """An exception that leaves a task cancels the body and leaves the block as it was raised."""
    boom = ValueError("boom")

    class Bad(Service):
        @Service.task
        async def work(self) -> None:
            await up.wait()
            raise boom

    up = anyio.Event()
    with pytest.raises(ValueError, match="boom") as caught:
        async with Bad() as service:
            up.set()
            await anyio.sleep_forever()
    assert caught.value is boom
    assert (service.state, service.crash_reason) == ("crashed", boom)


@pytest.mark.parametrize("exc", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
async def test_what_leaves_a_task_may_be_anything(exc: BaseException) -> None:
    """Exceptions that are no Exception crash the service too, and leave the block."""
    with pytest.raises(type(exc)) as caught:
        async with Plain() as service:
            service.add_future(fail(exc))
            await anyio.sleep_forever()
    assert caught.value is exc


async def test_a_task_that_raises_a_group() -> None:
    """An exception group that leaves a task leaves the block as that very group."""
    group = ExceptionGroup("two", [ValueError(1), TypeError(2)])
    with pytest.raises(ExceptionGroup) as caught:
        async with Plain() as service:
            service.add_future(fail(group))
            await anyio.sleep_forever()
    assert caught.value is group


async def test_a_task_that_fails_before_the_service_has_started() -> None:
    """If a task fails while the service starts, the start fails with that."""
    boom = ValueError("boom")

    class Bad(Service):
        @Service.task
        async def work(self) -> None:
            raise boom

        async def on_started(self) -> None:
            await anyio.sleep_forever()  # pragma: no cover - is ended before

    service = Bad()
    with pytest.raises(ValueError, match="boom") as caught:
        await service.start()
    assert caught.value is boom
    assert service.state == "init"


async def test_a_task_that_fails_while_it_is_cancelled() -> None:
    """What a task raises as the stop cancels it leaves the stop, and no cancellation is wrapped with it."""
    boom = OSError("while closing")

    class Bad(Service):
        @Service.task
        async def work(self) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                raise boom

    service = Bad()
    await service.start()
    await anyio.wait_all_tasks_blocked()
    with pytest.raises(OSError, match="while closing") as caught:
        await service.stop()
    assert caught.value is boom
    assert service.failures == (boom,)


async def test_a_task_that_ends_well_when_cancelled() -> None:
    """A task that answers its cancellation by returning has ended well."""

    class Calm(Service):
        @Service.task
        async def work(self) -> None:
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                return

    async with Calm() as service:
        await anyio.wait_all_tasks_blocked()
    assert (service.state, service.failures) == ("shutdown", ())


async def test_a_task_is_a_method_too() -> None:
    """On an instance a task is the method itself: it can be called and awaited by hand, in a test."""
    service = Ordered()
    await service.apple()
    assert service.begun == ["apple"]
    await Ordered.apple(service)
    assert service.begun == ["apple", "apple"]


def test_a_task_of_a_class() -> None:
    """On the class a task is its declaration, which knows its name and its docstring."""

    class Documented(Service):
        @Service.task
        async def work(self) -> None:
            """Do the work."""

    assert isinstance(Documented.work, services.ServiceTask)
    assert Documented.work.name == "work"
    assert inspect.getdoc(Documented.work) == "Do the work."
    assert "work" in repr(Documented.work)


async def test_the_module_level_decorator() -> None:
    """`structmode.task` and `structmode.services.task` are the same as `Service.task`."""
    begun: list[str] = []

    class Decorated(Service):
        @task
        async def one(self) -> None:
            begun.append("one")

        @services.task
        async def two(self) -> None:
            begun.append("two")

    await run_tasks(Decorated())
    assert begun == ["one", "two"]


async def test_a_task_under_another_decorator() -> None:
    """What is decorated may be the result of another decorator, and may have optional parameters."""
    begun: list[str] = []

    def noted(
        fun: Callable[[Any], Coroutine[Any, Any, None]],
    ) -> Callable[[Any], Coroutine[Any, Any, None]]:
        @functools.wraps(fun)
        async def wrapper(self: Any) -> None:
            begun.append(fun.__name__)
            await fun(self)

        return wrapper

    class Decorated(Service):
        @Service.task
        @noted
        async def wrapped(self) -> None:
            begun.append("body")

        @Service.task
        async def optional(self, n: int = 3, *more: int, flag: bool = False) -> None:
            begun.append(f"{n}{more}{flag}")

    await run_tasks(Decorated())
    assert begun == ["wrapped", "body", "3()False"]


# --- add_future: what it takes, and when ----------------------------------------------------------


class Waitable:
    """An awaitable that is no coroutine."""

    def __await__(self) -> Generator[Any, Any, int]:
        return give(42).__await__()


class Callee:
    """An object that is called like an async function."""

    async def __call__(self) -> int:
        return await give(42)

    async def method(self) -> int:
        """Be a bound async method."""
        return await give(42)


async def plain() -> int:
    """Be an async function without parameters."""
    return await give(42)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: give(42), id="coroutine"),
        pytest.param(Waitable, id="awaitable"),
        pytest.param(lambda: plain, id="async function"),
        pytest.param(lambda: Callee().method, id="bound method"),
        pytest.param(lambda: functools.partial(give, 42), id="partial"),
        pytest.param(Callee, id="async callable"),
        pytest.param(lambda: lambda: give(42), id="lambda"),
    ],
)
async def test_what_add_future_takes(make: Callable[[], Any]) -> None:
    """add_future() takes a coroutine, an awaitable or an async callable; the handle gives the result."""
    async with Plain() as service:
        assert await service.add_future(make()) == 42


async def test_add_future_takes_an_event() -> None:
    """add_future() takes what has an async wait(), such as an event."""
    event = anyio.Event()
    async with Plain() as service:
        handle = service.add_future(event)
        await anyio.wait_all_tasks_blocked()
        assert not handle.done()
        event.set()
        await handle


def test_add_future_takes_an_asyncio_future() -> None:
    """On asyncio, add_future() takes its futures and tasks too."""

    async def main() -> list[int]:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(give(2))
        async with Plain() as service:
            handles = [service.add_future(future), service.add_future(running)]
            future.set_result(1)
            return [await handle for handle in handles]

    assert asyncio.run(main()) == [1, 2]


async def test_add_future_before_the_start() -> None:
    """What is added before the start begins with it, after the tasks of the class."""
    service = Ordered()
    handle = service.add_future(give(42))

    async def note() -> None:
        service.begun.append("future")

    service.add_future(note)
    await anyio.wait_all_tasks_blocked()
    assert not handle.done()
    async with service:
        assert await handle == 42
    assert service.begun == ["zebra", "apple", "mango", "future"]


async def test_add_future_in_hooks() -> None:
    """In the hooks up to on_started what is added runs; in those of the stop it is cancelled at once."""
    handles: dict[str, Any] = {}

    class Hooked(Service):
        def add(self, where: str) -> None:
            handles[where] = self.add_future(give(42))

        def on_init(self) -> None:
            self.add("on_init")

        def __post_init__(self) -> None:
            self.add("__post_init__")

        async def on_first_start(self) -> None:
            self.add("on_first_start")

        async def on_start(self) -> None:
            self.add("on_start")

        async def on_started(self) -> None:
            self.add("on_started")

        async def on_stop(self) -> None:
            self.add("on_stop")

        async def on_shutdown(self) -> None:
            self.add("on_shutdown")

    async with Hooked():
        assert [await handle for handle in list(handles.values())] == [42] * 5
    late = [handles["on_stop"], handles["on_shutdown"]]
    assert [(handle.done(), handle.cancelled()) for handle in late] == [(True, True)] * 2


async def test_add_future_in_on_start_runs_at_once() -> None:
    """What on_start adds runs while on_start goes on: it may wait for the result."""
    results: list[int] = []

    class Early(Service):
        async def on_start(self) -> None:
            results.append(await self.add_future(give(42)))

    async with Early():
        assert results == [42]


async def test_futures_begin_in_order() -> None:
    """Futures begin in the order in which they were added."""
    begun: list[int] = []

    async def note(n: int) -> None:
        begun.append(n)

    async with Plain() as service:
        handles = [service.add_future(note(n)) for n in range(10)]
        for handle in handles:
            await handle
    assert begun == list(range(10))


async def test_add_future_in_a_task_and_from_outside() -> None:
    """Tasks of the service, and any other task, may add futures; they may do so from within futures too."""
    results: list[int] = []

    class Adding(Service):
        @Service.task
        async def work(self) -> None:
            results.append(await self.add_future(self.nested(3)))

        async def nested(self, depth: int) -> int:
            return depth if depth == 0 else 1 + await self.add_future(self.nested(depth - 1))

    async with Adding() as service:
        results.append(await service.add_future(service.nested(5)))
        await anyio.wait_all_tasks_blocked()
    assert sorted(results) == [3, 5]


async def test_add_future_on_a_stopping_service() -> None:
    """On a service that is stopping the coroutine is closed and the handle is cancelled."""
    gate, reached = anyio.Event(), anyio.Event()

    class Slow(Service):
        async def on_stop(self) -> None:
            reached.set()
            await gate.wait()

    service = Slow()
    await service.start()
    async with anyio.create_task_group() as group:
        group.start_soon(service.stop)
        await reached.wait()
        coroutine = give(42)
        handle = service.add_future(coroutine)
        assert (handle.done(), handle.cancelled()) == (True, True)
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
        assert handle.cancel() is False
        gate.set()


async def test_add_future_on_a_crashed_service() -> None:
    """Once a service has crashed no new work begins."""
    gate = anyio.Event()
    begun: list[str] = []

    class Slow(Service):
        async def on_stop(self) -> None:
            await gate.wait()

    async def note() -> None:
        begun.append("begun")  # pragma: no cover - must not be reached

    async with anyio.create_task_group() as group:

        async def add() -> None:
            await service.wait_until_stopped()
            handle = service.add_future(note)
            gate.set()
            assert handle.cancelled()

        with pytest.raises(ValueError, match="boom"):
            async with Slow() as service:
                group.start_soon(add)
                await anyio.wait_all_tasks_blocked()
                await service.crash(ValueError("boom"))
                await anyio.sleep_forever()
    assert begun == []


async def test_add_future_on_a_stopped_service() -> None:
    """What is added after a stop is kept for the next start."""
    service = Plain()
    async with service:
        pass
    handle = service.add_future(give(42))
    await anyio.wait_all_tasks_blocked()
    assert not handle.done()
    async with service:
        assert await handle == 42


async def test_futures_added_before_a_start_that_fails() -> None:
    """If the start fails before they could begin, coroutines are closed and their handles cancelled."""

    class Bad(Service):
        async def on_start(self) -> None:
            raise OSError("port in use")

    service = Bad()
    coroutine = give(42)
    handle = service.add_future(coroutine)
    with pytest.raises(OSError, match="port in use"):
        await service.start()
    assert (handle.done(), handle.cancelled()) == (True, True)
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


async def test_futures_are_cancelled_in_reverse_order() -> None:
    """A stop cancels futures and tasks, the newest first."""
    ended: list[int] = []

    async def work(n: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(n)

    async with Plain() as service:
        for n in range(10):
            service.add_future(work(n))
        await anyio.wait_all_tasks_blocked()
    assert ended == sorted(ended, reverse=True)
    assert len(ended) == 10


async def test_finished_futures_leave_nothing() -> None:
    """Thousands of short futures leave no trace in a service."""
    async with Plain() as service:
        for _ in range(2000):
            await service.add_future(give(1))
        assert service.tracebacks() == {}
        assert "0 tasks" in repr(service)


async def test_a_future_that_fails_crashes_the_service() -> None:
    """What leaves a future is kept by its handle, and crashes the service."""
    boom = ValueError("boom")
    with pytest.raises(ValueError, match="boom") as caught:
        async with Plain() as service:
            handle = service.add_future(fail(boom))
            await anyio.sleep_forever()
    assert caught.value is boom
    assert handle.exception() is boom


# --- The handle -----------------------------------------------------------------------------------


async def test_awaiting_a_handle() -> None:
    """A handle may be awaited by many, before the end and after it, and always gives the same result."""
    gate = anyio.Event()
    results: list[int] = []

    async def work() -> int:
        await gate.wait()
        return 42

    async def wait() -> None:
        results.append(await handle)

    async with Plain() as service:
        handle = service.add_future(work)
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            gate.set()
        await wait()
    await wait()
    assert results == [42] * 5


async def test_who_awaits_a_handle_may_give_up() -> None:
    """The task goes on when somebody who awaits it is cancelled."""
    gate = anyio.Event()

    async def work() -> int:
        await gate.wait()
        return 42

    async with Plain() as service:
        handle = service.add_future(work)
        with anyio.move_on_after(0.01) as scope:
            await handle
        assert scope.cancelled_caught
        assert not handle.done()
        gate.set()
        assert await handle == 42


async def test_awaiting_a_handle_is_a_checkpoint() -> None:
    """A loop that awaits finished handles can be cancelled."""
    async with Plain() as service:
        handle = service.add_future(give(42))
        await handle
        with anyio.CancelScope() as scope:
            scope.cancel()
            await handle
        assert scope.cancelled_caught


async def test_awaiting_a_handle_whose_task_failed() -> None:
    """Awaiting a task that failed raises what it raised."""
    boom = ValueError("boom")
    seen: list[BaseException] = []

    async def wait() -> None:
        try:
            await handle
        except ValueError as exc:
            seen.append(exc)

    async with anyio.create_task_group() as group:
        with pytest.raises(ValueError, match="boom"):
            async with Plain() as service:
                handle = service.add_future(fail(boom))
                group.start_soon(wait)
                await anyio.sleep_forever()
    assert seen == [boom]
    with pytest.raises(ValueError, match="boom"):
        handle.result()


async def test_cancelling_a_handle() -> None:
    """cancel() ends one task, and that is no failure of the service; awaiting it tells that it was cancelled."""
    async with Plain() as service:
        handle = service.add_future(anyio.sleep_forever)
        await anyio.wait_all_tasks_blocked()
        assert handle.cancel() is True
        with pytest.raises(anyio.TaskCancelled):
            await handle
        assert (handle.done(), handle.cancelled()) == (True, True)
        assert handle.cancel() is False
        with pytest.raises(anyio.TaskCancelled):
            handle.result()
        with pytest.raises(anyio.TaskCancelled):
            handle.exception()
        assert service.state == "running"
    assert service.failures == ()


async def test_cancelling_a_handle_before_the_start() -> None:
    """A future that is cancelled before the start never begins, and its coroutine is closed."""
    service = Plain()
    coroutine = give(42)
    handle = service.add_future(coroutine)
    assert handle.cancel() is True
    async with service:
        with pytest.raises(anyio.TaskCancelled):
            await handle
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


async def test_cancelling_a_handle_twice() -> None:
    """Asking a task to end twice is the same as once."""
    async with Plain() as service:
        handle = service.add_future(anyio.sleep_forever)
        assert (handle.cancel(), handle.cancel()) == (True, True)
        with pytest.raises(anyio.TaskCancelled):
            await handle


async def test_a_cancelled_task_that_returns_all_the_same() -> None:
    """A task that answers cancel() by returning a value has that as its result."""

    async def work() -> int:
        with contextlib.suppress(anyio.get_cancelled_exc_class()):
            await anyio.sleep_forever()
        return 42

    async with Plain() as service:
        handle = service.add_future(work)
        await anyio.wait_all_tasks_blocked()
        handle.cancel()
        assert await handle == 42
        assert not handle.cancelled()


async def test_a_handle_before_the_end() -> None:
    """Asked too early a handle says that the task has not ended."""
    async with Plain() as service:
        handle = service.add_future(anyio.sleep_forever, name="napping")
        assert (handle.done(), handle.cancelled()) == (False, False)
        with pytest.raises(anyio.TaskNotFinished, match="napping has not ended yet"):
            handle.result()
        with pytest.raises(anyio.TaskNotFinished, match="napping has not ended yet"):
            handle.exception()


async def test_a_handle_after_the_end() -> None:
    """Afterwards a handle gives the result, and None for the exception."""
    async with Plain() as service:
        handle = service.add_future(give(42))
        await handle
        assert (handle.done(), handle.cancelled(), handle.result()) == (True, False, 42)
        assert handle.exception() is None


async def test_done_callbacks() -> None:
    """Callbacks are called with the handle when the task has ended, in order; at once if it has ended before."""
    calls: list[tuple[str, int]] = []

    def first(done: Any) -> None:
        calls.append(("first", done.result()))

    def second(done: Any) -> None:
        calls.append(("second", done.result()))

    async with Plain() as service:
        handle = service.add_future(give(42))
        for callback in (first, second, second):
            handle.add_done_callback(callback)
        assert handle.remove_done_callback(second) == 2
        assert handle.remove_done_callback(second) == 0
        handle.add_done_callback(second)
        assert calls == []
        await handle
        await anyio.wait_all_tasks_blocked()
        assert calls == [("first", 42), ("second", 42)]
        handle.add_done_callback(first)
        assert calls[-1] == ("first", 42)
        assert len(calls) == 3


async def test_done_callback_of_what_never_ran() -> None:
    """A callback is called also for a future that was cancelled before it began."""
    calls: list[bool] = []
    service = Plain()
    handle = service.add_future(give(42))
    handle.add_done_callback(lambda done: calls.append(done.cancelled()))
    handle.cancel()
    async with service:
        await anyio.wait_all_tasks_blocked()
    assert calls == [True]


async def test_a_done_callback_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """What a callback raises is logged and harms nobody else; added to a done task, it raises to who added it."""
    calls: list[int] = []
    boom = ValueError("in a callback")

    def bad(done: Any) -> None:
        raise boom

    async with Plain() as service:
        handle = service.add_future(give(1))
        handle.add_done_callback(bad)
        handle.add_done_callback(lambda done: calls.append(done.result()))
        await handle
        await anyio.wait_all_tasks_blocked()
        assert (calls, service.state) == ([1], "running")
        with pytest.raises(ValueError, match="in a callback"):
            handle.add_done_callback(bad)
    assert (service.state, service.failures) == ("shutdown", ())
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [boom]


async def test_the_name_of_a_handle() -> None:
    """A handle is named after what it runs, or as its caller says; its repr tells name and state."""
    async with Plain() as service:
        named = service.add_future(anyio.sleep_forever(), name="napping")
        unnamed = service.add_future(give(42))
        assert (named.name, unnamed.name) == ("napping", "give")
        assert repr(named) == "<Task 'napping' pending>"
        await unnamed
        assert repr(unnamed) == "<Task 'give' finished>"
        await anyio.wait_all_tasks_blocked()
        named.cancel()
        assert repr(named) == "<Task 'napping' cancelling>"
    assert repr(named) == "<Task 'napping' cancelled>"


async def test_waiting_for_a_handle() -> None:
    """A handle is an awaitable like others: wait() takes it, and giving up the wait leaves the task alone."""
    async with Plain() as service:
        assert (await service.wait(service.add_future(give(42)))).result == 42
        handle = service.add_future(anyio.sleep_forever)
        assert (await service.wait(handle, timeout=0.001)).timed_out
        assert not handle.done()


# --- from_awaitable -------------------------------------------------------------------------------


async def test_from_awaitable_runs_in_the_background() -> None:
    """A service made of an awaitable starts without waiting for it, and runs it until it ends or is stopped."""
    gate = anyio.Event()
    steps: list[str] = []

    async def work() -> None:
        steps.append("begins")
        await gate.wait()
        steps.append("ends")
        await anyio.sleep_forever()

    async with Service.from_awaitable(work()) as service:
        assert service.state == "running"
        await anyio.wait_all_tasks_blocked()
        assert steps == ["begins"]
        gate.set()
        await anyio.wait_all_tasks_blocked()
        assert steps == ["begins", "ends"]
    assert service.state == "shutdown"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: give(42), id="coroutine"),
        pytest.param(Waitable, id="awaitable"),
        pytest.param(lambda: plain, id="async function"),
        pytest.param(anyio.Event, id="event"),
    ],
)
async def test_what_from_awaitable_takes(make: Callable[[], Any]) -> None:
    """from_awaitable() takes what add_future() takes."""
    async with Service.from_awaitable(make()) as service:
        await anyio.wait_all_tasks_blocked()
        assert service.state == "running"


async def test_the_name_of_from_awaitable() -> None:
    """It is called as it is told to be, or after what it runs, in the log, in graphs and in its repr."""
    named = Service.from_awaitable(plain, name="worker")
    unnamed = Service.from_awaitable(plain)
    assert (named.label, named.shortlabel) == ("worker", "worker")
    assert unnamed.label == "plain"
    assert repr(named) == "<worker: init>"


async def test_what_leaves_a_service_made_of_an_awaitable() -> None:
    """An exception of the awaitable crashes the service, as that of a task does."""
    boom = ValueError("boom")
    with pytest.raises(ValueError, match="boom") as caught:
        async with Service.from_awaitable(fail(boom)):
            await anyio.sleep_forever()
    assert caught.value is boom


async def test_from_awaitable_as_a_child() -> None:
    """A service made of an awaitable may be a child; its arguments go to the service class."""
    parent = Plain()
    child = Service.from_awaitable(anyio.sleep_forever, beacon=parent.beacon)
    assert child.beacon.parent is parent.beacon
    parent.add_dependency(child)
    async with parent:
        assert child.state == "running"
    assert child.state == "shutdown"


async def test_from_awaitable_with_an_async_callable_restarts() -> None:
    """Made of an async callable it can run again and again."""
    runs: list[int] = []

    async def work() -> None:
        runs.append(len(runs))

    async with Service.from_awaitable(work) as service:
        await anyio.wait_all_tasks_blocked()
        await service.restart()
        await anyio.wait_all_tasks_blocked()
    assert runs == [0, 1]


async def test_from_awaitable_with_a_coroutine_does_not_restart() -> None:
    """Made of a coroutine it can run only once; a second run fails with an error that says so."""
    service = Service.from_awaitable(give(42))
    async with service:
        await anyio.wait_all_tasks_blocked()
    with pytest.raises(ValueError, match="a coroutine runs only once"):
        async with service:
            await anyio.sleep_forever()  # pragma: no cover - is ended before


@pytest.mark.parametrize("wrong", [42, None, "text", Plain])
def test_from_awaitable_of_something_else(wrong: Any) -> None:
    """What can't be awaited is refused when the service is made, not when it runs."""
    with pytest.raises(TypeError, match="pass a coroutine, an awaitable, an async function"):
        Service.from_awaitable(wrong)


def test_from_awaitable_of_a_coroutine_that_was_passed_before() -> None:
    """A coroutine can be the work of one service only."""
    coroutine = give(42)
    Plain().add_future(coroutine)
    try:
        with pytest.raises(ValueError, match="a coroutine runs only once"):
            Service.from_awaitable(coroutine)
    finally:
        coroutine.close()
