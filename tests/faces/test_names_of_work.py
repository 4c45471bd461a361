"""How work is called, and shown, to the people who look at a service."""

from __future__ import annotations

import inspect
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest

from structmode import LifecycleError, Service
from structmode._engine import work_done
from structmode.timers import Timer


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


class Named:
    """An async callable that has a name, but not a qualified one."""

    def __init__(self, name: Any) -> None:
        self.__name__ = name

    async def __call__(self) -> None:
        """Do nothing."""


async def module_function() -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("work", "name"),
    [
        (module_function, "module_function"),
        (Named("given"), "given"),
        (Named(42), "Named"),
        (partial(module_function), "partial"),
    ],
)
async def test_the_name_of_a_future(work: Callable[[], Awaitable[None]], name: str) -> None:
    """It is the qualified name of what runs, or its name, or that of its type."""

    async def local() -> None:
        """Do nothing."""

    async with Service() as service:
        assert service.add_future(local).name == local.__qualname__
        assert service.add_future(work).name == name
        assert service.add_future(work, name="chosen").name == "chosen"
        assert Service.from_awaitable(work).label == name
        assert Service.from_awaitable(work, name="chosen").label == "chosen"


def test_a_declared_task_shows_its_function() -> None:
    """Tools that look behind decorators find the function, with its signature and its words."""

    class Working(Service):
        """Has one task."""

        @Service.task
        async def work(self) -> None:
            """Do the work."""

    function = inspect.unwrap(Working.work)
    assert function.__name__ == "work"
    assert inspect.getsource(function).strip().startswith("@Service.task")
    assert Working.work.__doc__ == "Do the work."
    assert str(inspect.signature(function)) == "(self) -> 'None'"


async def test_tracebacks_begin_with_the_users_own_code() -> None:
    """The stack of a task does not show the way through structmode that led to it."""

    class Working(Service):
        """Has a task, a timer and a context."""

        @Service.task
        async def work(self) -> None:
            await anyio.sleep_forever()

        @Service.timer(1.0, exec_first=True)
        async def tick(self) -> None:
            await anyio.sleep_forever()

        async def on_start(self) -> None:
            await self.add_async_context(self.held())

        @asynccontextmanager
        async def held(self) -> AsyncIterator[None]:
            yield

    async with Working() as service:
        await settled()
        stacks = service.tracebacks()
        text = service.human_tracebacks()
    qualname = Working.held.__qualname__
    assert list(stacks) == ["Working.work", "Working.tick", f"context {qualname}"]
    for name in ("work", "tick"):
        first = stacks[f"Working.{name}"].splitlines()[0]
        assert first.startswith(f'  File "{__file__}"')
        assert first.endswith(f"in {name}")
    expected = [f"Working: {name}\n{stack.rstrip()}\n" for name, stack in stacks.items()]
    assert text == "\n".join(expected)


async def test_tracebacks_without_a_task() -> None:
    """A service with nothing to show says so."""
    async with Service() as service:
        assert service.human_tracebacks() == "Service: no tasks\n"


async def test_tracebacks_of_the_same_name() -> None:
    """What has the same name is told apart by a number."""
    async with Service() as service:
        for _ in range(3):
            service.add_future(anyio.sleep_forever, name="same")
        service.add_future(anyio.sleep_forever, name="same but other")
        await settled()
        assert list(service.tracebacks()) == ["same", "same (2)", "same (3)", "same but other"]


async def test_work_that_comes_to_an_end() -> None:
    """A program waits for its tasks, and not for its timers, which never end."""
    gate = anyio.Event()
    done: list[str] = []

    class Working(Service):
        """Has a task that ends, and work that does not."""

        @Service.task
        async def work(self) -> None:
            await gate.wait()
            done.append("work")

        @Service.timer(1e6)
        async def tick(self) -> None:
            raise AssertionError

        @Service.crontab("0 0 1 1 *")
        async def yearly(self) -> None:
            raise AssertionError

    async with Working() as service, anyio.create_task_group() as group:

        async def wait() -> None:
            await work_done(service._life.current)
            done.append("all")

        group.start_soon(wait)
        await settled()
        assert done == []
        gate.set()
    assert done == ["work", "all"]


def test_a_new_timer() -> None:
    """Before its first tick nothing has been late, skipped or counted."""
    timer = Timer(10.0)
    assert (timer.drift, timer.late) == (0.0, 0.0)
    assert (timer.iteration, timer.skipped, timer.overlaps) == (0, 0, 0)
    assert (timer.last_wakeup_at, timer.last_yield_at) == (0.0, 0.0)
    assert (timer.max_drift, timer.min_interval_s, timer.max_interval_s) == (1.2, 9.9, 10.1)
    assert (timer.max_drift_correction, Timer(1.0, max_drift_correction=0.3).name) == (0.1, "")
    assert Timer(1.0).max_drift == 0.3
    assert Timer(0.05).min_interval_s == 0.0


@pytest.mark.parametrize("interval", [0, -1.0, math.nan, math.inf])
def test_an_interval_that_is_none(interval: float) -> None:
    """The error says first what can't be used."""
    with pytest.raises(ValueError, match=r"^timer interval\b"):
        Timer(interval)


async def test_a_callback_gets_its_arguments() -> None:
    """What is put on the stack of contexts is called with what was given."""
    called: list[object] = []

    def callback(*args: int, **kwargs: int) -> None:
        called.append((args, kwargs))

    async with Service() as service:
        assert service.exit_stack.callback(callback, 1, 2, three=3) is callback
        service.async_exit_stack.callback(callback, 4, five=5)
    assert called == [((4,), {"five": 5}), ((1, 2), {"three": 3})]


async def test_a_context_without_a_name() -> None:
    """What made a context need not have a name; then it is called by what it is."""

    @asynccontextmanager
    async def held(number: int) -> AsyncIterator[None]:
        yield

    function = partial(held.__wrapped__, 1)  # type: ignore[attr-defined]
    async with Service() as service:
        await service.add_async_context(asynccontextmanager(function)())
        (name,) = service.tracebacks()
    assert name == f"context {function}"


async def test_a_context_of_a_class() -> None:
    """A context that no function made is called by its class."""

    class Held:
        """Holds nothing."""

        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *exc_info: object) -> None: ...

    held: Any = Held()
    async with Service() as service:
        await service.add_async_context(held)
        (name,) = service.tracebacks()
    assert name == f"context {Held.__qualname__}"


async def test_a_wait_for_two() -> None:
    """A wait for one thing gives its result; for two, the list of theirs."""
    async with Service() as service:
        assert await service.wait(number(1)) == (1, False)
        assert await service.wait(number(1), number(2)) == ([1, 2], False)
        assert await service.wait(number(1), number(2), number(3)) == ([1, 2, 3], False)
        assert await service.wait_many([number(1)]) == ([1], False)


async def number(value: int) -> int:
    """Return a number."""
    await anyio.lowlevel.checkpoint()
    return value


async def test_what_the_log_says_of_failures(caplog: pytest.LogCaptureFixture) -> None:
    """A line for each failure: what it was, where it happened, and what became of it."""

    class Failing(Service):
        """Fails in more than one way."""

        async def on_stop(self) -> None:
            raise KeyError("in the stop")

    with pytest.raises(ValueError, match="boom"):
        async with Failing() as service:
            await service.crash(ValueError("boom"))
            await anyio.sleep_forever()
    await service.start()
    with pytest.raises(KeyError):
        await service.stop()
    await service.crash(OSError("too late"))
    await service.crash(LifecycleError("far too late"))
    lines = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert lines == [
        "[^Failing]: Crashed in crash(): ValueError('boom')",
        "[^Failing]: One more failure, in on_stop: KeyError('in the stop')",
        "[^Failing]: Failed while stopping, in on_stop: KeyError('in the stop')",
        "[^Failing]: A failure that nobody receives, in crash(): OSError('too late')",
        "[^Failing]: A failure that nobody receives, in crash(): LifecycleError: far too late.",
    ]
    with_traceback = [bool(r.exc_info) for r in caplog.records if r.levelname == "ERROR"]
    assert with_traceback == [False, True, False, True, True]


async def test_what_the_log_says_of_a_tick(caplog: pytest.LogCaptureFixture) -> None:
    """A tick that fails, and is only to be logged, is logged by its timer's name, with what it raised."""
    failed = anyio.Event()

    class Failing(Service):
        """Fails at each tick."""

        @Service.timer(1e6, exec_first=True, on_error="log")
        async def tick(self) -> None:
            failed.set()
            raise ValueError("boom")

    async with Failing():
        await failed.wait()
        await settled()
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.getMessage() == (
        "[^Failing]: Failing.tick failed, and goes on: ValueError('boom')"
    )
    assert record.exc_info


async def test_what_is_added_when_and_for_how_long() -> None:
    """What `on_init` adds is there for good; what `__post_init__` adds is added anew in each restart."""
    made: list[str] = []

    class Child(Service):
        """Notes when it is made and started."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name
            made.append(name)

        async def on_start(self) -> None:
            made.append(f"{self.name} starts")

    class Parent(Service):
        """Adds services early."""

        def on_init(self) -> None:
            self.early = self.add_dependency(Child("early"))

        def __post_init__(self) -> None:
            self.late = self.add_dependency(Child("late"))

    async with Parent() as parent:
        before = parent.early, parent.late
        after_init = parent.add_dependency(Child("after"))
        await parent.restart()
        assert parent.early is before[0]
        assert parent.late is not before[1]
        assert (parent.early.started, parent.late.started) == (True, True)
        assert (before[1].started, after_init.started) == (False, True)
    assert made == [
        *("early", "late", "early starts", "late starts", "after"),
        *("late", "early starts", "after starts", "late starts"),
    ]


async def test_contexts_that_were_taken_over() -> None:
    """What `pop_all` gives is a plain stack, which takes more, and is closed by whoever has taken it."""
    log: list[str] = []

    @asynccontextmanager
    async def held(name: str) -> AsyncIterator[str]:
        yield name
        log.append(name)

    async with Service() as service:
        await service.add_async_context(held("first"))
        taken = service.async_exit_stack.pop_all()
        assert await taken.enter_async_context(held("second")) == "second"
        await taken.aclose()
        assert log == ["second", "first"]
    assert log == ["second", "first"]


async def test_tracebacks_in_a_hook() -> None:
    """A hook that is running is shown by its name, beside the tasks."""
    seen: list[dict[str, str]] = []

    class Looking(Service):
        """Looks at itself in each hook."""

        async def on_start(self) -> None:
            self.look()

        async def on_stop(self) -> None:
            self.look()

        def look(self) -> None:
            seen.append(dict(self.tracebacks()))

    async with Looking():
        pass
    assert [list(stacks) for stacks in seen] == [["on_start"], ["on_stop"]]
    for stacks, name in zip(seen, ("on_start", "on_stop"), strict=True):
        assert f"in {name}" in stacks[name]
        assert "in look" in stacks[name]
