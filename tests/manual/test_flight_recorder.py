"""The flight recorder of mode's manual: what is logged is written only if a block takes too long, in whatever it calls."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

import structmode as mode
from structmode.testing import VirtualClock
from structmode.utils import _watchdog
from structmode.utils.logging import flight_recorder, on_timeout

from .here import virtual_time

logger = mode.get_logger("structmode.manual.recorder")


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    """Have everything logged."""
    caplog.set_level(logging.DEBUG, logger.name)


def written(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what has been written so far, without names of recorders and dates."""
    assert _watchdog._reports.join(30.0)
    texts = [record.getMessage() for record in caplog.records if record.name == logger.name]
    return [text.partition("] ")[2].rpartition(") ")[2] or text for text in texts]


class Client:
    """Stands for a client of a database in which one key takes long to get."""

    def __init__(self, **seconds: float) -> None:
        self.seconds = seconds

    async def get(self, key: str) -> str:
        await anyio.sleep(self.seconds.get(key, 0.0))
        return f"the {key}"


class Cache(mode.Service):
    """Gets two things from a database now and then."""

    mundane_level = "debug"

    def __init__(self, client: Client) -> None:
        self.client = client
        self.got: list[str] = []
        super().__init__()


class Plain(Cache):
    """Does so without a recorder."""

    @mode.timer(1.0)
    async def refresh(self) -> None:
        self.got.append(await self.client.get("users"))
        self.got.append(await self.client.get("posts"))


class Recorded(Cache):
    """Does so with one."""

    @mode.timer(1.0)
    async def refresh(self) -> None:
        with mode.flight_recorder(logger, timeout=10.0) as recorder:
            for key in ("users", "posts"):
                recorder.info(f"+get({key!r})")
                self.got.append(await self.client.get(key))
                recorder.info(f"-get({key!r})")


@virtual_time
async def test_without_a_recorder(
    virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A timer that hangs in its second step tells nobody where."""
    async with Plain(Client(posts=100.0)) as cache:
        await anyio.sleep(50.0)
        assert cache.got == ["the users"]
    assert written(caplog) == []


@virtual_time
async def test_in_time(virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    """As long as the block takes less than the timeout, nothing is written."""
    async with Recorded(Client(users=4.0, posts=4.0)) as cache:
        await anyio.sleep(10.0)
        assert cache.got == ["the users", "the posts"]
    assert written(caplog) == []


@virtual_time
async def test_what_is_written_if_it_takes_too_long(
    virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """When the timeout has passed, two warnings and all that was logged are written: the last line tells what hangs."""
    async with Recorded(Client(users=4.0, posts=20.0)):
        await anyio.sleep(30.0)
    lines = written(caplog)
    assert lines[:7] == [
        "Warning: Task timed out!",
        "Please make sure it is hanging before restarting.",
        "Replaying logs...",
        "+get('users')",
        "-get('users')",
        "+get('posts')",
        "-get('posts')",
    ]
    levels = [record.levelname for record in caplog.records if record.name == logger.name]
    assert levels[:4] == ["WARNING", "WARNING", "INFO", "INFO"]
    assert any(line.endswith("-End of log-") for line in lines)


async def test_the_last_line_is_what_hangs(caplog: pytest.LogCaptureFixture) -> None:
    """In real time it is written while it hangs, so that the last step that has begun is the last line of the log."""
    hanging = anyio.Event()

    async def hang() -> None:
        await hanging.wait()

    async def look() -> None:
        while not any("-End of log-" in text for text in caplog.messages):
            await anyio.sleep(0.002)
        lines = written(caplog)
        assert lines[lines.index("-End of log-") - 1] == "+hang()"
        hanging.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        with mode.flight_recorder(logger, timeout=0.02) as recorder:
            recorder.info("+hang()")
            await hang()
            recorder.info("-hang()")


@virtual_time
async def test_on_timeout(virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    """`on_timeout` logs to the recorder that the caller is in, wherever that was made; recorders may be nested."""

    async def fetch() -> None:
        on_timeout.error("fetching")
        with flight_recorder(logger, timeout=300.0):
            on_timeout.error("forgotten with the inner one")
            await anyio.sleep(200.0)
        on_timeout.error("processing")
        await anyio.sleep(200.0)

    with flight_recorder(logger, timeout=300.0):
        await fetch()
    on_timeout.error("nobody records this")
    lines = written(caplog)
    assert lines[3:5] == ["fetching", "processing"]
    assert "forgotten with the inner one" not in lines
    assert "nobody records this" not in lines


@virtual_time
async def test_a_wrapped_object(
    virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrapped object has each call logged, with its arguments, at the level that was asked for."""
    client = Client(slow=20.0)
    with flight_recorder(logger, timeout=10.0) as recorder:
        wrapped: Any = recorder.wrap_info(client)
        assert await wrapped.get("slow") == "the slow"
        for severity, other in (
            (logging.DEBUG, recorder.wrap_debug(client)),
            (logging.WARNING, recorder.wrap_warn(client)),
            (logging.ERROR, recorder.wrap_error(client)),
            (logging.CRITICAL, recorder.wrap(logging.CRITICAL, client)),
        ):
            await other.get(logging.getLevelName(severity))
    assert _watchdog._reports.join(30.0)
    calls = [
        (record.levelname, record.getMessage().rpartition("get(")[2])
        for record in caplog.records
        if "get(" in record.getMessage()
    ]
    assert calls[0][0] == "INFO"
    assert "slow" in calls[0][1]
    assert [(level, level in text) for level, text in calls[1:]] == [
        (level, True) for level in ("DEBUG", "WARNING", "ERROR", "CRITICAL")
    ]


@virtual_time
async def test_extra_data(virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    """What a recorder is given as extra data is in its records, and in those of recorders inside of it."""
    with flight_recorder(logger, timeout=1000.0) as outer:
        outer.extra_context["database"] = "one"
        with flight_recorder(logger, timeout=10.0) as inner:
            inner.info("a step")
            await anyio.sleep(20.0)
    assert _watchdog._reports.join(30.0)
    [record] = [one for one in caplog.records if one.getMessage().endswith("a step")]
    assert record.__dict__["data"]["database"] == "one"
