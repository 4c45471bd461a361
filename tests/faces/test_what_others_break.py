"""What is not the engine's, and is in its way: a log that raises, a listener that exits, a name that can't be read any more.

None of them may keep a stop from taking its course: each hook is called, in order, and all that is held is left.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager

import anyio
import pytest

from structmode import Service, ServiceThread
from structmode._engine import Run
from structmode.events import (
    Crashed,
    LifecycleEvent,
    Restarting,
    Started,
    StartFailed,
    Starting,
    Stopped,
    Stopping,
    subscribe,
)
from structmode.facet import ServiceMixin

ORDER = [
    "app on_stop",
    "child on_stop",
    "child on_shutdown",
    "left a",
    "left b",
    "app on_shutdown",
]


class Noting(Service):
    """Writes down how it ends.

    Args:
        name: Its name.
        notes: Where.
    """

    def __init__(self, name: str, notes: list[str]) -> None:
        self._name, self._notes = name, notes
        super().__init__()

    @property
    def label(self) -> str:
        """Its name."""
        return self._name

    async def on_stop(self) -> None:
        self._notes.append(f"{self._name} on_stop")

    async def on_shutdown(self) -> None:
        self._notes.append(f"{self._name} on_shutdown")


class App(Noting):
    """A service with a child, which holds contexts, and can be told to crash."""

    def __post_init__(self) -> None:
        self.child = self.add_dependency(Noting("child", self._notes))

    async def on_start(self) -> None:
        self._break = anyio.Event()
        self.add_context(self._held("b"))
        await self.add_async_context(self._held_async("a"))

    @contextmanager
    def _held(self, name: str) -> Iterator[None]:
        yield
        self._notes.append(f"left {name}")

    @asynccontextmanager
    async def _held_async(self, name: str) -> AsyncIterator[None]:
        yield
        self._notes.append(f"left {name}")

    @Service.task
    async def work(self) -> None:
        await self._break.wait()
        raise OSError("disk full")


class Unwell(logging.Filter):
    """A filter with a bug.

    Args:
        level: From which level on.
    """

    def __init__(self, level: int) -> None:
        super().__init__()
        self._level = level

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= self._level:
            raise RuntimeError("a bug in a filter")
        return True


class Exits(logging.Filter):
    """Ends the program at the first error that is logged, as some programs like it."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            raise SystemExit(3)
        return True


@contextmanager
def filtered_log(added: logging.Filter) -> Iterator[None]:
    """Have all that is logged go through a filter while the block runs."""
    handlers = list(logging.root.handlers)
    for handler in handlers:
        handler.addFilter(added)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(added)


def unwell_log(level: int) -> AbstractContextManager[None]:
    """Have the log raise while the block runs, as if a handler that all of it goes to had a bug."""
    return filtered_log(Unwell(level))


# --- A log that raises ---------------------------------------------------------------------------


@pytest.mark.parametrize("level", [logging.INFO, logging.ERROR])
async def test_a_stop_with_a_log_that_raises(level: int, caplog: pytest.LogCaptureFixture) -> None:
    """The stop takes its course. If it was well otherwise, what the log raised is what leaves."""
    caplog.set_level(logging.INFO)
    notes: list[str] = []
    app = App("app", notes)
    await app.start()
    with unwell_log(level):
        if level == logging.INFO:
            with pytest.raises(RuntimeError, match="a bug in a filter"):
                await app.stop()
        else:
            await app.stop()
    assert notes == ORDER


@pytest.mark.parametrize("stderr", [True, False])
async def test_a_crash_with_a_log_that_raises(
    stderr: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash that can't be logged is passed on all the same, and written to stderr, if there is one."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", written if stderr else None)
    notes: list[str] = []
    with unwell_log(logging.ERROR), pytest.raises(OSError, match="disk full"):
        async with App("app", notes) as app:
            app._break.set()
            await anyio.sleep_forever()
    assert notes == ORDER
    assert ("disk full" in written.getvalue()) == stderr
    assert ("a bug in a filter" in written.getvalue()) == stderr


async def test_a_start_with_a_log_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """The start fails with that, and is undone."""
    caplog.set_level(logging.INFO)
    notes: list[str] = []
    with unwell_log(logging.INFO), pytest.raises(RuntimeError, match="a bug in a filter"):
        await App("app", notes).start()
    assert notes == []


async def test_a_log_that_exits() -> None:
    """What had been logged is what leaves, with a note of that; everything has taken its course."""
    notes: list[str] = []
    with filtered_log(Exits()), pytest.raises(OSError, match="disk full") as caught:
        async with App("app", notes) as app:
            app._break.set()
            await anyio.sleep_forever()
    assert notes == ORDER
    assert any("SystemExit" in note for note in caught.value.__notes__)


async def test_a_log_that_exits_at_the_failure_of_a_callback() -> None:
    """The task has ended all the same, and the exit is a failure of its service."""

    def fail(task: object) -> None:
        raise OSError("callback")

    with filtered_log(Exits()), pytest.raises(SystemExit):
        async with App("app", []) as app:
            app.add_future(anyio.lowlevel.checkpoint).add_done_callback(fail)
            await anyio.sleep_forever()


async def test_a_log_that_exits_at_the_failure_of_a_listener() -> None:
    """All others are told, and the exit is a failure of what the event is about."""
    told: list[LifecycleEvent] = []
    app = App("app", [])

    def fail(event: LifecycleEvent) -> None:
        if type(event) is Started and event.subject is app:
            raise OSError("listener")

    ends = [subscribe(fail), subscribe(told.append)]
    try:
        with filtered_log(Exits()), pytest.raises(SystemExit):
            async with app:
                await anyio.sleep_forever()
    finally:
        for end in ends:
            end()
    assert Started in {type(event) for event in told if event.subject is app}


# --- A listener that exits -----------------------------------------------------------------------


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=["exit", "interrupt"])
@pytest.mark.parametrize("kind", [Starting, Started, Crashed, Stopping, Stopped])
@pytest.mark.parametrize("below", [True, False])
async def test_a_listener_that_ends_the_program(
    kind: type[LifecycleEvent], error: BaseException, below: bool
) -> None:
    """What it raises leaves, after an orderly stop, if it is the first that went wrong; other listeners have been told as well."""
    notes: list[str] = []
    app = App("app", notes)
    told: list[type[LifecycleEvent]] = []
    first = OSError("first")

    def leave(event: LifecycleEvent) -> None:
        if type(event) is kind and event.subject is (app.child if below else app):
            raise error

    ends = [subscribe(leave), subscribe(lambda event: told.append(type(event)))]
    try:
        with pytest.raises((OSError, type(error))) as caught:
            async with app:
                if kind is Crashed:
                    (app.child if below else app)._life.fail(first, "test")
                if kind not in (Stopping, Stopped):
                    await anyio.sleep_forever()
        if kind is Crashed:  # what it crashed of came first
            assert caught.value is first
            assert list(app.failures) == [first, error]
            assert any(repr(error) in note for note in first.__notes__)
        else:
            assert caught.value is error
    finally:
        for end in ends:
            end()
    assert kind in told
    assert not app._life.alive
    if kind is not Starting:
        assert notes == ORDER
    elif below:  # who comes before it had set up
        assert notes == [note for note in ORDER if "child" not in note]
    else:
        assert notes == []


async def test_a_listener_that_ends_the_program_far_below() -> None:
    """However deep the tree, and however many are told of the crash: the first failure leaves."""

    class Link(Service):
        """Is above the next one."""

    def leave(event: LifecycleEvent) -> None:
        if isinstance(event, Crashed):
            raise SystemExit(3)

    top = last = Link()
    for _ in range(400):
        last = last.add_dependency(Link())
    end = subscribe(leave)
    try:
        with pytest.raises(OSError, match="first"):
            async with top:
                last._life.fail(OSError("first"), "test")
                await anyio.sleep_forever()
    finally:
        end()


async def test_a_restart_that_nobody_waits_for_and_a_listener_prevents() -> None:
    """What it raises leaves the block."""

    class Again(Service):
        """Restarts itself."""

        @Service.task
        async def work(self) -> None:
            await self.restart()

    def leave(event: LifecycleEvent) -> None:
        if isinstance(event, Restarting):
            raise SystemExit(3)

    end = subscribe(leave)
    try:
        with pytest.raises(SystemExit):
            async with Again():
                await anyio.sleep_forever()
    finally:
        end()


@pytest.mark.parametrize("kind", [Restarting, StartFailed])
async def test_a_listener_that_ends_the_program_at_rarer_events(
    kind: type[LifecycleEvent],
) -> None:
    """What it raises in a restart is what the restart fails with; in a failed start it comes second."""
    notes: list[str] = []
    app = App("app", notes)

    def leave(event: LifecycleEvent) -> None:
        if type(event) is kind and event.subject is app:
            raise SystemExit(3)

    end = subscribe(leave)
    try:
        if kind is Restarting:
            await app.start()
            with pytest.raises(SystemExit):
                await app.restart()
        else:

            class Refusing(App):
                async def on_start(self) -> None:
                    raise OSError("refused")

            app = Refusing("app", notes)
            with pytest.raises(OSError, match="refused"):
                await app.start()
            assert [type(one) for one in app.failures] == [OSError, SystemExit]
    finally:
        end()
    assert not app._life.alive
    await app.stop()


# --- A name that can't be read any more ----------------------------------------------------------


class Named(App):
    """Is called after a connection, which is gone after a while."""

    connection: App | None = None

    @property
    def label(self) -> str:
        """Its name."""
        assert self.connection is not None
        return f"Reader of {self.connection._name}"


@pytest.mark.parametrize("crash", [False, True])
async def test_a_stop_without_a_name(crash: bool, caplog: pytest.LogCaptureFixture) -> None:
    """It goes by the name of its class then; everything takes its course."""
    caplog.set_level(logging.INFO)
    notes: list[str] = []
    app = Named("app", notes)
    app.connection = app
    await app.start()
    app.connection = None
    if crash:
        app._break.set()
        await app.wait_until_stopped()
    await app.stop()
    assert notes == ORDER
    assert [type(one) for one in app.failures] == [OSError] * crash
    assert "[^Named]: Stopping..." in caplog.text


async def test_a_thread_without_a_name() -> None:
    """A service in a thread stops as well, and nobody waits for it longer than it takes."""

    class Reader(ServiceThread):
        connection: str | None = "db"

        @property
        def label(self) -> str:
            assert self.connection is not None
            return f"Reader of {self.connection}"

        async def on_stop(self) -> None:
            self.connection = None

    reader = Reader()

    class Owner(Service):
        def __post_init__(self) -> None:
            self.add_dependency(reader)

    async with Owner() as owner:
        pass
    assert owner.failures == ()
    assert reader.failures == ()


async def test_a_start_without_a_name() -> None:
    """What has no name from the beginning does not start."""
    with pytest.raises(AssertionError):
        await Named("app", []).start()


# --- The last line of defence ---------------------------------------------------------------------


class NeedsIt(ServiceMixin):
    """Needs another one.

    Args:
        it: What it needs.
    """

    def __init__(self, it: ServiceMixin) -> None:
        self._it = it

    @property
    def dependencies(self) -> list[ServiceMixin]:
        return [self._it]


class NotingMixin(ServiceMixin):
    """Writes down its stop.

    Args:
        notes: Where.
    """

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes

    async def stop(self) -> None:
        self._notes.append("need stops")


def break_step(
    monkeypatch: pytest.MonkeyPatch, step: str, subject: object, *, afterwards: bool = False
) -> None:
    """Have a step of the engine's own fail in the run of one service."""
    original = getattr(Run, step)

    async def broken(run: Run) -> None:
        if run.unit.subject is subject:
            if afterwards:
                await original(run)
            raise ZeroDivisionError("a fault")
        await original(run)

    monkeypatch.setattr(Run, step, broken)


@pytest.mark.parametrize("afterwards", [False, True])
async def test_a_fault_of_the_engine_in_a_start(
    afterwards: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start fails with it, or what was started crashes of it; and all is stopped in order."""
    notes: list[str] = []
    app = App("app", notes)
    break_step(monkeypatch, "_start", app, afterwards=afterwards)
    with pytest.raises(ZeroDivisionError):
        async with app:
            await anyio.sleep_forever()
    assert notes == (ORDER if afterwards else [])
    assert not app.child._life.alive


@pytest.mark.parametrize("step", ["_stop", "_stop_tasks", "_close_contexts"])
async def test_a_fault_of_the_engine_in_a_stop(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is raised between two steps leaves; all below is killed, and what is held is left if that is possible."""
    notes: list[str] = []
    app = App("app", notes)
    break_step(monkeypatch, step, app)
    with pytest.raises(ZeroDivisionError):
        async with app:
            pass
    assert not app.child._life.alive
    assert "child on_shutdown" in notes
    assert ("left b" in notes) == (step != "_close_contexts")


async def test_a_fault_of_the_engine_above_what_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What lives at the root for those who need it is told to end as well."""
    notes: list[str] = []
    top = NeedsIt(NotingMixin(notes))
    break_step(monkeypatch, "_stop", top)
    with pytest.raises(ZeroDivisionError):
        async with top:
            pass
    assert notes == ["need stops"]
