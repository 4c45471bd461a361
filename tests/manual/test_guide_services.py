"""The chapter "Services" of mode's manual: how dependencies are added, what comes in which order, and the log."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import anyio
import pytest

from structmode import Service, ServiceT, get_logger

logger = get_logger("structmode.manual.own")


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    """Have everything logged."""
    caplog.set_level(logging.DEBUG, __name__)


class Told(Service):
    """Notes its hooks, and what it runs, in a list that may be shared with others."""

    def __init__(self, name: str = "child", story: list[str] | None = None) -> None:
        self.name = name
        self.story: list[str] = [] if story is None else story
        super().__init__()

    def note(self, what: str) -> None:
        self.story.append(f"{self.name} {what}")

    @property
    def shortlabel(self) -> str:
        return self.name

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


# --- Adding child services ------------------------------------------------------------------------


async def test_add_dependency_in_post_init() -> None:
    """A dependency that `__post_init__` adds starts and stops with the service."""

    class Parent(Service):
        def __post_init__(self) -> None:
            self.child = self.add_dependency(Told())

    async with Parent() as parent:
        assert parent.child.started
    assert parent.child.state == "shutdown"


async def test_add_dependency_in_on_start() -> None:
    """So does one that `on_start` adds; it is started after that hook."""

    class Parent(Service):
        async def on_start(self) -> None:
            self.child = self.add_dependency(Told())
            assert not self.child.started

    async with Parent() as parent:
        assert parent.child.started
    assert parent.child.state == "shutdown"


async def test_on_init_dependencies() -> None:
    """So do those that `on_init_dependencies` returns, in order, and in reverse order."""
    story: list[str] = []

    class Parent(Service):
        def on_init_dependencies(self) -> Iterable[ServiceT]:
            return [Told("A", story), Told("B", story)]

    async with Parent():
        assert [line for line in story if "started" in line] == ["A on_started", "B on_started"]
    assert [line for line in story if "on_stop" in line] == ["B on_stop", "A on_stop"]


# --- Ordering -------------------------------------------------------------------------------------


class Whole(Told):
    """A service with tasks, futures and dependencies, whose story has its log lines too."""

    def __post_init__(self) -> None:
        self.add_dependency(Told("first", self.story))
        self.add_dependency(Told("second", self.story))

    def _format_log(self, severity: int, message: str, *args: object, **kwargs: object) -> str:
        self.note(f"logs {message!r}")
        return super()._format_log(severity, message, *args, **kwargs)

    async def on_start(self) -> None:
        await super().on_start()
        for name in ("early", "late"):
            begun = anyio.Event()
            self.add_future(self.lasting(name, begun))

    async def lasting(self, name: str, begun: anyio.Event) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.note(f"future {name} ends")

    @Service.task
    async def one(self) -> None:
        self.note("task one")

    @Service.task
    async def two(self) -> None:
        self.note("task two")


def of_whole(story: list[str]) -> list[str]:
    """Return what the service itself told, without its name."""
    return [line.removeprefix("whole ") for line in story if line.startswith("whole ")]


async def test_order_at_start() -> None:
    """on_first_start, "Starting", on_start, tasks in the order of definition, dependencies, "Started", on_started."""
    async with Whole("whole") as whole:
        await anyio.wait_all_tasks_blocked()
        story = whole.story
        assert [line for line in of_whole(story) if "task" not in line] == [
            "on_first_start",
            "logs 'Starting...'",
            "on_start",
            "logs 'Started.'",
            "on_started",
        ]
        assert story.index("whole on_start") < story.index("first on_first_start")
        assert story.index("first on_started") < story.index("second on_first_start")
        assert story.index("second on_started") < story.index("whole logs 'Started.'")
        assert [line for line in of_whole(story) if "task" in line] == ["task one", "task two"]


async def test_order_at_stop() -> None:
    """ "Stopping", on_stop, dependencies in reverse, futures in reverse, "Stopped", on_shutdown, "Shutdown complete"."""
    async with Whole("whole") as whole:
        await anyio.wait_all_tasks_blocked()
        whole.story.clear()
    assert whole.story == [
        "whole logs 'Stopping...'",
        "whole on_stop",
        "second on_stop",
        "second on_shutdown",
        "first on_stop",
        "first on_shutdown",
        "whole future late ends",
        "whole future early ends",
        "whole logs '-Stopped!'",
        "whole on_shutdown",
        "whole logs '-Shutdown complete!'",
    ]


async def test_order_at_stop_with_a_shutdown_flag() -> None:
    """A service that waits for its shutdown flag says "Stopped", waits, and calls on_shutdown when the flag is set."""

    class Patient(Whole):
        wait_for_shutdown = True

        def _format_log(self, severity: int, message: str, *args: object, **kwargs: object) -> str:
            if "Stopped" in message:
                stopped.set()
            return super()._format_log(severity, message, *args, **kwargs)

    stopped = anyio.Event()
    service = Patient("whole")

    async def allow() -> None:
        await stopped.wait()
        await anyio.wait_all_tasks_blocked()
        assert "whole on_shutdown" not in service.story
        service.set_shutdown()

    async with anyio.create_task_group() as tasks, service:
        tasks.start_soon(allow)
    assert service.story[-2:] == ["whole on_shutdown", "whole logs '-Shutdown complete!'"]


async def test_order_at_restart() -> None:
    """A restart stops the service, calls `__post_init__` again, and starts it; it is no first start."""

    class Remade(Told):
        def __post_init__(self) -> None:
            self.note("__post_init__")

    async with Remade("whole") as service:
        service.story.clear()
        await service.restart()
        assert of_whole(service.story) == [
            "on_stop",
            "on_shutdown",
            "__post_init__",
            "on_restart",
            "on_start",
            "on_started",
        ]


# --- Logging --------------------------------------------------------------------------------------


async def test_the_log_of_a_service(caplog: pytest.LogCaptureFixture) -> None:
    """`self.log` has a method for each level; they put the service before the text, and take arguments for it."""

    class Logging(Service):
        async def on_start(self) -> None:
            self.log.debug("for developers")
            self.log.info("for users")
            self.log.warn("be careful")  # noqa: G010 - mode has that name
            self.log.error("it broke")
            self.log.exception("it broke here")  # noqa: LOG004 - it may be called anywhere
            self.log.critical("all is lost")
            self.log.debug("parts: %r %d %s", [1, 2], 3, "four")

    async with Logging():
        pass
    told = [
        (record.levelname, record.getMessage().removeprefix("[^Logging]: "), record.name)
        for record in caplog.records
        if record.getMessage().startswith("[^Logging]: ")
    ]
    assert told[1:8] == [
        ("DEBUG", "for developers", __name__),
        ("INFO", "for users", __name__),
        ("WARNING", "be careful", __name__),
        ("ERROR", "it broke", __name__),
        ("ERROR", "it broke here", __name__),
        ("CRITICAL", "all is lost", __name__),
        ("DEBUG", "parts: [1, 2] 3 four", __name__),
    ]


async def test_a_logger_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """A class may say which logger its services use."""
    chosen = logger

    class Logging(Service):
        logger = chosen

        async def on_start(self) -> None:
            self.log.info("hello")

    caplog.set_level(logging.INFO, logger.name)
    async with Logging():
        pass
    assert {record.name for record in caplog.records if "[^Logging]" in record.getMessage()} == {
        "structmode.manual.own"
    }
    assert "[^Logging]: hello" in caplog.messages
