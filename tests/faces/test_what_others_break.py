"""What is not the engine's, and is in its way: a log that raises, a listener that exits, a name that can't be read any more.

None of them may keep a stop from taking its course: each hook is called, in order, and all that is held is left.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

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


@contextmanager
def unwell_log(level: int) -> Iterator[None]:
    """Have the log raise while the block runs, as if a handler that all of it goes to had a bug."""
    bug, handlers = Unwell(level), list(logging.root.handlers)
    for handler in handlers:
        handler.addFilter(bug)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(bug)


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


# --- A listener that exits -----------------------------------------------------------------------


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=["exit", "interrupt"])
@pytest.mark.parametrize("kind", [Starting, Started, Crashed, Stopping, Stopped])
@pytest.mark.parametrize("below", [True, False])
async def test_a_listener_that_ends_the_program(
    kind: type[LifecycleEvent], error: BaseException, below: bool
) -> None:
    """What it raises leaves, after an orderly stop; other listeners have been told as well."""
    notes: list[str] = []
    app = App("app", notes)
    told: list[type[LifecycleEvent]] = []

    def leave(event: LifecycleEvent) -> None:
        if type(event) is kind and event.subject is (app.child if below else app):
            raise error

    ends = [subscribe(leave), subscribe(lambda event: told.append(type(event)))]
    try:
        with pytest.raises(type(error)) as caught:
            async with app:
                if kind is Crashed:
                    (app.child if below else app)._life.fail(OSError("first"), "test")
                if kind not in (Stopping, Stopped):
                    await anyio.sleep_forever()
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
    assert app.failures == app.failures[: int(crash)]
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


@pytest.mark.parametrize("step", ["_start", "_stop", "_stop_tasks"])
async def test_a_fault_of_the_engine(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is raised between two steps of a run leaves it, and nothing below is left; not in order, but at once."""
    notes: list[str] = []
    app = App("app", notes)
    original = getattr(Run, step)

    async def broken(run: Run) -> None:
        if run.unit.subject is app:
            if step == "_start":
                await original(run)
            raise ZeroDivisionError("a fault")
        await original(run)

    monkeypatch.setattr(Run, step, broken)
    with pytest.raises(ZeroDivisionError):
        async with app:
            pass
    assert not app.child._life.alive
    assert "child on_shutdown" in notes
