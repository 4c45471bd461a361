"""How services log: `self.log`, the loggers behind it, the lines of starting and stopping, and failures."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from structmode import Service, get_logger

LEVELS = {
    "dev": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "exception": logging.ERROR,
    "crit": logging.CRITICAL,
    "critical": logging.CRITICAL,
}


class Plain(Service):
    """Does nothing by itself."""


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged by services."""
    return [
        record.getMessage() for record in caplog.records if record.getMessage().startswith("[^")
    ]


def this_line() -> int:
    """Return the number of the line that calls."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


# --- self.log -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "level"), LEVELS.items())
def test_the_methods_of_log(method: str, level: int, caplog: pytest.LogCaptureFixture) -> None:
    """Each method logs at its level, with the service before the message and arguments put in."""
    getattr(Plain().log, method)("%r %d %s", [1, 2, 3], 303, "string")
    (record,) = caplog.records
    assert record.levelno == level
    assert record.getMessage() == "[^Plain]: [1, 2, 3] 303 string"


@pytest.mark.parametrize("method", LEVELS)
def test_the_caller_of_log(method: str, caplog: pytest.LogCaptureFixture) -> None:
    """A record names file, line and function of the code that logged, not structmode's."""
    log = getattr(Plain().log, method)
    log("here")
    line = this_line() - 1
    (record,) = caplog.records
    assert (record.filename, record.lineno, record.funcName) == (
        "test_logging.py",
        line,
        "test_the_caller_of_log",
    )


def test_log_with_a_level(caplog: pytest.LogCaptureFixture) -> None:
    """log() takes the level, as number or name; the record names the caller."""
    service = Plain()
    service.log.log(logging.WARNING, "number %d", 1)
    service.log.log("warn", "name")
    line = this_line() - 1
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, "[^Plain]: number 1"),
        (logging.WARNING, "[^Plain]: name"),
    ]
    assert caplog.records[1].lineno == line


def test_log_exception(caplog: pytest.LogCaptureFixture) -> None:
    """exception() adds the traceback of the exception that is being handled."""
    boom = ValueError("boom")
    try:
        raise boom
    except ValueError:
        Plain().log.exception("failed")
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is boom


def test_log_with_the_keywords_of_logging(caplog: pytest.LogCaptureFixture) -> None:
    """The keywords that logging knows work: extra, exc_info, stack_info, stacklevel."""

    def helper(service: Service) -> None:
        service.log.info("message", extra={"colour": "green"}, stack_info=True, stacklevel=2)

    helper(Plain())
    line = this_line() - 1
    (record,) = caplog.records
    assert record.__dict__["colour"] == "green"
    assert record.stack_info is not None
    assert (record.lineno, record.funcName) == (line, "test_log_with_the_keywords_of_logging")


def test_percent_signs(caplog: pytest.LogCaptureFixture) -> None:
    """Percent signs in messages and in names of services do no harm."""

    class Odd(Service):
        @property
        def label(self) -> str:
            return "50%s"

    service = Odd()
    service.log.info("100% done")
    service.log.info("%d%% done", 100)
    assert lines(caplog) == ["[^50%s]: 100% done", "[^50%s]: 100% done"]


def test_what_is_not_enabled_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A message below the level of the logger is not put together."""
    asked: list[str] = []

    class Costly(Service):
        @property
        def shortlabel(self) -> str:  # pragma: no cover - must not be asked
            asked.append("label")
            return "Costly"

    service = Costly()
    asked.clear()
    caplog.set_level(logging.WARNING, logger=Costly.logger.name)
    service.log.debug("quiet")
    assert asked == []
    assert caplog.records == []


async def test_log_in_every_hook(caplog: pytest.LogCaptureFixture) -> None:
    """self.log works in every hook, on_init and __post_init__ included, and in tasks and timers."""
    ticked = anyio.Event()

    class Talkative(Service):
        mundane_level = "debug"

        def on_init(self) -> None:
            self.log.warning("on_init")

        def __post_init__(self) -> None:
            self.log.warning("__post_init__")

        def on_init_dependencies(self) -> list[Service]:
            self.log.warning("on_init_dependencies")
            return []

        async def on_first_start(self) -> None:
            self.log.warning("on_first_start")

        async def on_start(self) -> None:
            self.log.warning("on_start")

        @Service.task
        async def work(self) -> None:
            self.log.warning("task")

        @Service.timer(0.001)
        async def tick(self) -> None:
            if not ticked.is_set():  # pragma: no branch - there may be a second tick
                self.log.warning("timer")
            ticked.set()

        async def on_started(self) -> None:
            self.log.warning("on_started")

        async def on_stop(self) -> None:
            self.log.warning("on_stop")

        async def on_shutdown(self) -> None:
            self.log.warning("on_shutdown")

        async def on_restart(self) -> None:
            self.log.warning("on_restart")

    async with Talkative() as service:
        await ticked.wait()
        await service.restart()
    told = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert {record.filename for record in told} == {"test_logging.py"}
    assert {record.getMessage() for record in told} == {
        f"[^Talkative]: {where}"
        for where in (
            "on_init",
            "__post_init__",
            "on_init_dependencies",
            "on_first_start",
            "on_start",
            "task",
            "timer",
            "on_started",
            "on_stop",
            "on_shutdown",
            "on_restart",
        )
    }


# --- Depth ----------------------------------------------------------------------------------------


def test_the_prefix_tells_the_depth(caplog: pytest.LogCaptureFixture) -> None:
    """The prefix has one dash for each service above, and follows when a service is moved."""
    top, middle, leaf = Plain(), Plain(), Plain()
    leaf.log.info("alone")
    middle.add_dependency(leaf)
    leaf.log.info("below one")
    top.add_dependency(middle)
    leaf.log.info("below two")
    top.log.info("on top")
    assert lines(caplog) == [
        "[^Plain]: alone",
        "[^-Plain]: below one",
        "[^--Plain]: below two",
        "[^Plain]: on top",
    ]


async def test_the_prefix_after_a_removal(caplog: pytest.LogCaptureFixture) -> None:
    """A service that was removed from another is on top again."""
    async with Plain() as parent:
        child = await parent.add_runtime_dependency(Plain())
        await parent.remove_dependency(child)
        caplog.clear()
        child.log.info("alone")
    assert "[^Plain]: alone" in lines(caplog)


# --- Loggers --------------------------------------------------------------------------------------


def test_the_logger_of_a_module() -> None:
    """By default a service logs to the logger of the module that its class is defined in."""
    assert Plain.logger is logging.getLogger(__name__)
    assert Plain().log.logger is logging.getLogger(__name__)
    assert Service.logger.name == "structmode.services"


def test_the_logger_of_a_subclass_in_another_module() -> None:
    """A subclass logs to the logger of its own module, not to that of its base."""
    namespace = {"__module__": "other.module", "__qualname__": "Other"}
    other: Any = type("Other", (Plain,), namespace)
    assert other.logger is logging.getLogger("other.module")
    assert Plain.logger is logging.getLogger(__name__)


def test_a_logger_that_a_class_names() -> None:
    """A class may name its logger; its subclasses use it too, in whichever module, until one names another."""

    class Chosen(Service):
        logger = get_logger("chosen")

    class Below(Chosen):
        pass

    elsewhere: Any = type("Elsewhere", (Below,), {"__module__": "other.module"})
    other: Any = type("Other", (Below,), {"logger": get_logger("another")})
    assert (Chosen.logger.name, Below.logger.name, elsewhere.logger.name) == ("chosen",) * 3
    assert other.logger.name == "another"


def test_a_logger_from_a_mixin() -> None:
    """A mixin that is no service may name the logger."""

    class Mixin:
        logger = get_logger("mixin")

    class Mixed(Mixin, Service):
        pass

    assert Mixed.logger.name == "mixin"


def test_a_logger_of_one_instance(caplog: pytest.LogCaptureFixture) -> None:
    """The logger of a single service may be replaced through its log."""
    service = Plain()
    service.log.logger = get_logger("special")
    service.log.info("here")
    assert caplog.records[0].name == "special"


def test_services_touch_no_logging_setup() -> None:
    """Making services adds no handler and sets no level, neither to the root logger nor to their own."""
    before = (list(logging.root.handlers), logging.root.level)

    class Fresh(Service):
        logger = get_logger("tests.fresh")

    Fresh()
    assert (list(logging.root.handlers), logging.root.level) == before
    assert Fresh.logger.level == logging.NOTSET
    assert all(isinstance(handler, logging.NullHandler) for handler in Fresh.logger.handlers)


# --- What services log by themselves --------------------------------------------------------------


async def test_the_lines_of_a_life(caplog: pytest.LogCaptureFixture) -> None:
    """A start and a stop log five lines, at level INFO, to the logger of the service."""
    async with Plain():
        pass
    assert lines(caplog) == [
        "[^Plain]: Starting...",
        "[^Plain]: Started.",
        "[^Plain]: Stopping...",
        "[^Plain]: -Stopped!",
        "[^Plain]: -Shutdown complete!",
    ]
    records = [record for record in caplog.records if record.getMessage().startswith("[^")]
    assert {(record.name, record.levelno) for record in records} == {(__name__, logging.INFO)}


async def test_the_lines_of_a_start_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A start that fails before on_start has returned logs no stop, since there was none."""

    class Bad(Service):
        async def on_start(self) -> None:
            raise OSError("port in use")

    with pytest.raises(OSError, match="port in use"):
        await Bad().start()
    mundane = [line for line in lines(caplog) if "port in use" not in line]
    assert mundane == ["[^Bad]: Starting..."]


async def test_a_crash_is_logged_where_it_happens(caplog: pytest.LogCaptureFixture) -> None:
    """A crash is logged once as an error, by the service that failed, with the task and the exception."""

    class Bad(Service):
        @Service.task
        async def work(self) -> None:
            await up.wait()
            raise ValueError("boom")

    up = anyio.Event()
    parent = Plain()
    parent.add_dependency(Bad())
    with pytest.raises(ValueError, match="boom"):
        async with parent:
            up.set()
            await anyio.sleep_forever()
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert errors[0].startswith("[^-Bad]: ")
    assert "Bad.work" in errors[0]
    assert "ValueError('boom')" in errors[0]


async def test_a_failing_stop_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What goes wrong in a stop is logged as an error that names the hook."""

    class Bad(Service):
        async def on_stop(self) -> None:
            raise OSError("disk full")

    service = Bad()
    await service.start()
    with pytest.raises(OSError, match="disk full"):
        await service.stop()
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert "[^Bad]: " in errors[0]
    assert "on_stop" in errors[0]
    assert "disk full" in errors[0]


async def test_a_stop_that_takes_too_long_is_logged_readably(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log of a stop that took too long shows the stacks of who was stuck, line by line."""

    class Slow(Service):
        shutdown_timeout = 0.05

        async def on_stop(self) -> None:
            await anyio.sleep_forever()

    service = Slow()
    await service.start()
    with pytest.raises(TimeoutError):
        await service.stop()
    (error,) = [
        record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR
    ]
    assert "did not stop within 0.05 s" in error
    assert any("in on_stop" in line for line in error.splitlines())


# --- A log that fails -----------------------------------------------------------------------------


class Broken(logging.Handler):
    """Fails on every record with a certain text."""

    text = ""

    def emit(self, record: logging.LogRecord) -> None:
        if self.text in record.getMessage():
            raise RuntimeError(f"can't log {self.text}")


@pytest.fixture
def broken() -> Iterator[Broken]:
    """A log handler that fails."""
    handler = Broken()
    logger = logging.getLogger("tests.broken")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


class Logged(Service):
    """Notes its hooks, and logs to what may be broken."""

    logger = get_logger("tests.broken")

    def on_init(self) -> None:
        self.hooks: list[str] = []

    async def on_start(self) -> None:
        self.hooks.append("on_start")

    async def on_stop(self) -> None:
        self.hooks.append("on_stop")

    async def on_shutdown(self) -> None:
        self.hooks.append("on_shutdown")


@pytest.mark.parametrize("text", ["Starting...", "Started."])
async def test_a_log_that_fails_in_a_start(text: str, broken: Broken) -> None:
    """A log handler that raises makes the start fail, like a hook that does, and the start is undone."""
    service = Logged()
    broken.text = text
    with pytest.raises(RuntimeError, match="can't log Start"):
        await service.start()
    assert service.state == "init"
    assert service.hooks in ([], ["on_start", "on_stop", "on_shutdown"])


@pytest.mark.parametrize("text", ["Stopping...", "-Stopped!", "-Shutdown complete!"])
async def test_a_log_that_fails_in_a_stop(text: str, broken: Broken) -> None:
    """A log handler that raises is told by stop(), but keeps no hook from being called."""
    service = Logged()
    broken.text = text
    await service.start()
    with pytest.raises(RuntimeError, match="can't log"):
        await service.stop()
    assert service.hooks == ["on_start", "on_stop", "on_shutdown"]
    assert service.state == "shutdown"
