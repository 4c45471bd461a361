"""The hooks of a service: which are called, when, how often, and in what order with log lines, tasks and children."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
import pytest

from structmode import Service


class Journal(logging.Handler):
    """Holds what services log and what the tests note, in one order."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def note(self, line: str) -> None:
        """Note a line."""
        self.lines.append(line)

    def take(self) -> list[str]:
        """Return the lines, and begin anew."""
        lines, self.lines = self.lines, []
        return lines


@pytest.fixture
def journal() -> Iterator[Journal]:
    """A journal of what services of this file log."""
    journal = Journal()
    logger = logging.getLogger(__name__)
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(journal)
    yield journal
    logger.removeHandler(journal)
    logger.setLevel(level)


class Noted(Service):
    """Notes each of its hooks and tasks."""

    failing = ""

    def __init__(self, journal: Journal, name: str = "it", *children: Service) -> None:
        self.journal = journal
        self.name = name
        self.given = children
        super().__init__()
        for child in children:
            self.add_dependency(child)

    @property
    def label(self) -> str:
        return self.name

    def note(self, what: str) -> None:
        """Note what happens, and fail if that is asked for."""
        self.journal.note(f"{self.name}.{what}")
        if what == self.failing:
            raise ValueError(what)

    def on_init(self) -> None:
        self.note("on_init")

    def __post_init__(self) -> None:
        self.note("__post_init__")

    async def on_first_start(self) -> None:
        self.note("on_first_start")

    async def on_start(self) -> None:
        self.note("on_start")

    async def on_started(self) -> None:
        self.note("on_started")

    async def on_stop(self) -> None:
        self.note("on_stop")

    async def on_shutdown(self) -> None:
        self.note("on_shutdown")

    async def on_restart(self) -> None:
        self.note("on_restart")

    async def work(self, name: str) -> None:
        """Work until cancelled."""
        self.note(f"{name} begins")
        try:
            await anyio.sleep_forever()
        finally:
            self.note(f"{name} ends")


class Busy(Noted):
    """Has tasks, a future and contexts too."""

    @Service.task
    async def zebra(self) -> None:
        await self.work("zebra")

    @Service.task
    async def apple(self) -> None:
        await self.work("apple")

    async def on_start(self) -> None:
        self.note("on_start")
        self.add_context(self.context("sync"))
        await self.add_async_context(self.async_context("async"))
        self.add_future(self.work("future"))

    @contextmanager
    def context(self, name: str) -> Iterator[None]:
        """Be a context."""
        self.note(f"{name} enters")
        yield
        self.note(f"{name} exits")

    @asynccontextmanager
    async def async_context(self, name: str) -> AsyncIterator[None]:
        """Be an async context."""
        self.note(f"{name} enters")
        yield
        self.note(f"{name} exits")


# --- The order tables of the manual ---------------------------------------------------------------


async def test_order_of_start_and_stop(journal: Journal) -> None:
    """Start and stop follow mode's tables: hooks, log lines, tasks in definition order, a child between."""
    service = Busy(journal, "top", Noted(journal, "kid"))
    journal.take()
    await service.start()
    starting = journal.take()
    await service.stop()
    stopping = journal.take()
    assert starting == [
        "top.on_first_start",
        "[^top]: Starting...",
        "top.on_start",
        "top.sync enters",
        "top.async enters",
        "top.future begins",
        "top.zebra begins",
        "top.apple begins",
        "kid.on_first_start",
        "[^-kid]: Starting...",
        "kid.on_start",
        "[^-kid]: Started.",
        "kid.on_started",
        "[^top]: Started.",
        "top.on_started",
    ]
    assert stopping == [
        "[^top]: Stopping...",
        "top.on_stop",
        "[^-kid]: Stopping...",
        "kid.on_stop",
        "[^-kid]: -Stopped!",
        "kid.on_shutdown",
        "[^-kid]: -Shutdown complete!",
        "top.apple ends",
        "top.zebra ends",
        "top.future ends",
        "[^top]: -Stopped!",
        "top.async exits",
        "top.sync exits",
        "top.on_shutdown",
        "[^top]: -Shutdown complete!",
    ]


async def test_order_in_a_tree(journal: Journal) -> None:
    """Children start in the order added, each with all below it; they stop in reverse, from the top down."""
    tree = Noted(
        journal,
        "a",
        Noted(journal, "b", Noted(journal, "c"), Noted(journal, "d")),
        Noted(journal, "e"),
    )
    journal.take()
    async with tree:
        started = [line for line in journal.take() if "on_start" in line]
    assert started == [
        "a.on_start",
        "b.on_start",
        "c.on_start",
        "c.on_started",
        "d.on_start",
        "d.on_started",
        "b.on_started",
        "e.on_start",
        "e.on_started",
        "a.on_started",
    ]
    assert [line for line in journal.take() if "on_s" in line] == [
        "a.on_stop",
        "e.on_stop",
        "e.on_shutdown",
        "b.on_stop",
        "d.on_stop",
        "d.on_shutdown",
        "c.on_stop",
        "c.on_shutdown",
        "b.on_shutdown",
        "a.on_shutdown",
    ]


async def test_a_crash_stops_in_the_same_order(journal: Journal) -> None:
    """A crash deep in the tree stops it in the order of a stop: from the top down, in reverse."""
    leaf = Noted(journal, "c")
    tree = Noted(journal, "a", Noted(journal, "b", leaf), Noted(journal, "d"))
    with pytest.raises(ValueError, match="boom"):
        async with tree:
            journal.take()
            await leaf.crash(ValueError("boom"))
            await anyio.sleep_forever()
    assert [line for line in journal.take() if "on_s" in line] == [
        "a.on_stop",
        "d.on_stop",
        "d.on_shutdown",
        "b.on_stop",
        "c.on_stop",
        "c.on_shutdown",
        "b.on_shutdown",
        "a.on_shutdown",
    ]


async def test_a_cancellation_stops_in_the_same_order(journal: Journal) -> None:
    """Cancellation from outside stops the tree in the order of a stop."""
    tree = Noted(journal, "a", Noted(journal, "b"), Noted(journal, "c"))
    with anyio.CancelScope() as scope:
        async with tree:
            journal.take()
            scope.cancel()
            await anyio.sleep_forever()
    assert [line for line in journal.take() if "on_s" in line] == [
        "a.on_stop",
        "c.on_stop",
        "c.on_shutdown",
        "b.on_stop",
        "b.on_shutdown",
        "a.on_shutdown",
    ]


async def test_order_of_a_restart(journal: Journal) -> None:
    """A restart is a whole stop, then __post_init__ and on_restart, then a whole start but on_first_start."""
    service = Noted(journal)
    async with service:
        journal.take()
        await service.restart()
        assert journal.take() == [
            "[^it]: Stopping...",
            "it.on_stop",
            "[^it]: -Stopped!",
            "it.on_shutdown",
            "[^it]: -Shutdown complete!",
            "it.__post_init__",
            "it.on_restart",
            "[^it]: Starting...",
            "it.on_start",
            "[^it]: Started.",
            "it.on_started",
        ]


async def test_a_restarted_child_keeps_its_place(journal: Journal) -> None:
    """A child that was restarted stops in the place among its siblings that it had before."""
    middle = Noted(journal, "c")
    tree = Noted(journal, "a", Noted(journal, "b"), middle, Noted(journal, "d"))
    async with tree:
        await middle.restart()
        journal.take()
    assert [line for line in journal.take() if "on_stop" in line] == [
        "a.on_stop",
        "d.on_stop",
        "c.on_stop",
        "b.on_stop",
    ]


async def test_restart_of_a_parent_takes_its_children_along(journal: Journal) -> None:
    """When a parent restarts, its children stop and start with it: for them that is no restart."""
    child = Noted(journal, "b")
    async with Noted(journal, "a", child) as parent:
        journal.take()
        await parent.restart()
        assert [line for line in journal.take() if "^" not in line] == [
            "a.on_stop",
            "b.on_stop",
            "b.on_shutdown",
            "a.on_shutdown",
            "a.__post_init__",
            "a.on_restart",
            "a.on_start",
            "b.on_start",
            "b.on_started",
            "a.on_started",
        ]
        assert (parent.restart_count, child.restart_count) == (1, 0)


# --- Each once ------------------------------------------------------------------------------------


def test_the_hooks_of_making_one(journal: Journal) -> None:
    """Making a service calls on_init and then __post_init__, and nothing else."""
    Noted(journal)
    assert journal.take() == ["it.on_init", "it.__post_init__"]


async def test_on_first_start_once(journal: Journal) -> None:
    """on_first_start is called in the first start that succeeds, and never again in the service's life."""
    service = Noted(journal)
    await service.start()
    await service.restart()
    await service.stop()
    await service.start()
    await service.stop()
    service.service_reset()
    async with service:
        pass
    assert journal.take().count("it.on_first_start") == 1


async def test_on_first_start_again_after_a_failed_start(journal: Journal) -> None:
    """A start that failed does not count: on_first_start comes again."""
    service = Noted(journal)
    service.failing = "on_started"
    with pytest.raises(ValueError, match="on_started"):
        await service.start()
    service.failing = ""
    await service.start()
    await service.restart()
    await service.stop()
    assert journal.take().count("it.on_first_start") == 2


async def test_on_init_and_on_init_dependencies_once(journal: Journal) -> None:
    """on_init is called by the constructor alone, on_init_dependencies by the first start alone."""
    calls: list[str] = []

    class Counted(Service):
        def on_init(self) -> None:
            calls.append("on_init")

        def on_init_dependencies(self) -> Iterable[Service]:
            calls.append("on_init_dependencies")
            yield Noted(journal, "one")
            yield Noted(journal, "two")

    service = Counted()
    assert calls == ["on_init"]
    await service.start()
    await service.restart()
    await service.stop()
    await service.start()
    await service.stop()
    assert calls == ["on_init", "on_init_dependencies"]
    lines = journal.take()
    assert (lines.count("one.on_start"), lines.count("two.on_start")) == (3, 3)


async def test_post_init_in_every_restart(journal: Journal) -> None:
    """__post_init__ is called when the service is made, and in each restart; not in a plain second start."""
    service = Noted(journal)
    async with service:
        await service.restart()
        await service.restart()
    async with service:
        pass
    lines = journal.take()
    assert (lines.count("it.__post_init__"), lines.count("it.on_restart")) == (3, 2)


# --- Hooks that fail ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failing", "hooks"),
    [
        ("on_first_start", []),
        ("on_start", ["on_start"]),
        ("on_started", ["on_start", "on_started", "on_stop", "on_shutdown"]),
    ],
)
async def test_hooks_after_a_failed_start(
    journal: Journal, failing: str, hooks: list[str]
) -> None:
    """on_stop and on_shutdown undo a failed start if and only if on_start had returned."""
    service = Noted(journal)
    service.failing = failing
    with pytest.raises(ValueError, match=failing):
        await service.start()
    assert [line for line in journal.take() if "on_s" in line] == [f"it.{hook}" for hook in hooks]


async def test_a_failed_start_of_a_child_undoes_the_tree(journal: Journal) -> None:
    """If a child can't start, what has started is stopped in reverse; what has not is not touched."""
    bad = Noted(journal, "c")
    bad.failing = "on_start"
    tree = Noted(journal, "a", Noted(journal, "b"), bad, Noted(journal, "d"))
    with pytest.raises(ValueError, match="on_start"):
        await tree.start()
    assert [line for line in journal.take() if "on_s" in line] == [
        "a.on_start",
        "b.on_start",
        "b.on_started",
        "c.on_start",
        "a.on_stop",
        "b.on_stop",
        "b.on_shutdown",
        "a.on_shutdown",
    ]
    assert tree.state == "init"


def test_a_failing_post_init_leaves_the_constructor(journal: Journal) -> None:
    """What __post_init__ raises leaves the constructor as it is."""

    class Bad(Noted):
        failing = "__post_init__"

    with pytest.raises(ValueError, match="__post_init__"):
        Bad(journal)


@pytest.mark.parametrize("failing", ["__post_init__", "on_restart", "on_start", "on_started"])
async def test_hooks_that_fail_in_a_restart(journal: Journal, failing: str) -> None:
    """What a hook raises in a restart leaves restart() as it was raised, and the run is undone."""
    async with Noted(journal) as service:
        service.failing = failing
        with pytest.raises(ValueError, match=failing):
            await service.restart()
        assert (service.started, service.crashed) == (False, False)
        service.failing = ""
        await service.restart()
        assert service.state == "running"


@pytest.mark.parametrize("failing", ["on_stop", "on_shutdown"])
async def test_hooks_that_fail_in_a_stop(journal: Journal, failing: str) -> None:
    """A hook that fails in a stop keeps nothing else from stopping: children, tasks, contexts, other hooks."""
    service = Busy(journal, "top", Noted(journal, "kid"))
    service.failing = failing
    await service.start()
    journal.take()
    with pytest.raises(ValueError, match=failing):
        await service.stop()
    assert [line for line in journal.take() if "^" not in line] == [
        "top.on_stop",
        "kid.on_stop",
        "kid.on_shutdown",
        "top.apple ends",
        "top.zebra ends",
        "top.future ends",
        "top.async exits",
        "top.sync exits",
        "top.on_shutdown",
    ]


async def test_contexts_of_a_failed_first_start_are_closed(journal: Journal) -> None:
    """What on_first_start has entered is left again if it fails, though no other hook is called."""

    class Bad(Busy):
        async def on_first_start(self) -> None:
            self.add_context(self.context("sync"))
            await self.add_async_context(self.async_context("async"))
            raise ValueError("later")

    service = Bad(journal)
    journal.take()
    with pytest.raises(ValueError, match="later"):
        await service.start()
    assert journal.take() == [
        "it.sync enters",
        "it.async enters",
        "it.async exits",
        "it.sync exits",
    ]


# --- What may be a hook ---------------------------------------------------------------------------


async def test_hooks_need_no_super(journal: Journal) -> None:
    """Hooks may be overridden without a call of super(), and with one."""

    class Deaf(Noted):
        async def on_start(self) -> None:
            self.note("deaf")

        async def on_started(self) -> None:
            await super().on_started()
            await Service.on_started(self)

    async with Deaf(journal):
        pass
    lines = journal.take()
    assert "it.deaf" in lines
    assert "it.on_start" not in lines
    assert "it.on_started" in lines


async def test_a_hook_may_be_any_async_callable(journal: Journal) -> None:
    """A hook may come from elsewhere: an async function assigned in the class, or set on the instance."""

    async def begin(self: Service) -> None:
        journal.note("begin")

    class Assigned(Service):
        on_start = begin

    async def ready() -> None:
        journal.note("ready")

    service = Assigned()
    service.on_started = ready  # type: ignore[method-assign]
    async with service:
        pass
    lines = journal.take()
    assert [line for line in lines if "^" not in line] == ["begin", "ready"]


async def test_a_hook_from_a_mixin(journal: Journal) -> None:
    """A mixin that is no service may bring hooks."""

    class Mixin:
        async def on_start(self) -> None:
            journal.note("mixin")

    class Mixed(Mixin, Service):
        pass

    async with Mixed():
        assert "mixin" in journal.take()


async def test_hooks_may_wait(journal: Journal) -> None:
    """Every hook may wait, and the next step comes only after it."""

    class Slow(Noted):
        async def on_start(self) -> None:
            await anyio.wait_all_tasks_blocked()
            self.note("on_start")

        async def on_stop(self) -> None:
            await anyio.wait_all_tasks_blocked()
            self.note("on_stop")

    async with Slow(journal, "a", Noted(journal, "b")):
        pass
    assert [line for line in journal.take() if "on_s" in line] == [
        "a.on_start",
        "b.on_start",
        "b.on_started",
        "a.on_started",
        "a.on_stop",
        "b.on_stop",
        "b.on_shutdown",
        "a.on_shutdown",
    ]


async def test_a_stop_during_a_start_undoes_what_was_done(journal: Journal) -> None:
    """Cancelling the caller of start() undoes it: first the child that was starting, then the rest, from the top."""
    reached = anyio.Event()

    class Slow(Noted):
        async def on_started(self) -> None:
            self.note("on_started")
            reached.set()
            await anyio.sleep_forever()

    tree = Noted(journal, "a", Noted(journal, "b"), Slow(journal, "c"), Noted(journal, "d"))
    journal.take()
    async with anyio.create_task_group() as group:
        group.start_soon(tree.start)
        await reached.wait()
        journal.take()
        group.cancel_scope.cancel()
    assert [line for line in journal.take() if "on_s" in line] == [
        "c.on_stop",
        "c.on_shutdown",
        "a.on_stop",
        "b.on_stop",
        "b.on_shutdown",
        "a.on_shutdown",
    ]
    assert tree.state == "init"
