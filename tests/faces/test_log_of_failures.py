"""What a service logs of its failures: each in one line, with its place, and with its traceback if nobody will receive it."""

from __future__ import annotations

import logging

import anyio
import pytest

from structmode import Service
from structmode.exceptions import ShutdownTimeout


class Plain(Service):
    """Does nothing by itself."""


def errors(caplog: pytest.LogCaptureFixture) -> list[tuple[str, BaseException | None]]:
    """Return the lines that were logged as errors, each with the exception whose traceback goes with it."""
    return [
        (record.getMessage(), record.exc_info[1] if record.exc_info else None)
        for record in caplog.records
        if record.levelno == logging.ERROR
    ]


async def test_a_crash_by_hand(caplog: pytest.LogCaptureFixture) -> None:
    """The place of a crash that was called for is that call."""
    with pytest.raises(ValueError, match="boom"):
        async with Plain() as service:
            await service.crash(ValueError("boom"))
            await anyio.sleep_forever()
    assert errors(caplog) == [("[^Plain]: Crashed in crash(): ValueError('boom')", None)]


async def test_failures_after_the_first(caplog: pytest.LogCaptureFixture) -> None:
    """Only the first leaves the block; so the others come with their tracebacks."""
    later = OSError("disk full")

    class Failing(Plain):
        """Fails twice."""

        async def on_stop(self) -> None:
            raise later

    with pytest.raises(ValueError, match="boom"):
        async with Failing() as service:
            await service.crash(ValueError("boom"))
            await anyio.sleep_forever()
    assert errors(caplog) == [
        ("[^Failing]: Crashed in crash(): ValueError('boom')", None),
        ("[^Failing]: One more failure, in on_stop: OSError('disk full')", later),
    ]


async def test_a_failure_in_the_stop(caplog: pytest.LogCaptureFixture) -> None:
    """It is no crash, and whoever stops the service receives it."""

    class Failing(Plain):
        """Fails as it stops."""

        async def on_shutdown(self) -> None:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        async with Failing():
            pass
    assert errors(caplog) == [
        ("[^Failing]: Failed while stopping, in on_shutdown: OSError('disk full')", None)
    ]


async def test_a_failure_that_nobody_receives(caplog: pytest.LogCaptureFixture) -> None:
    """Of a service that nobody owns, a crash comes with its traceback, too."""
    error = ValueError("boom")
    service = Plain()
    await service.start()
    await service.crash(error)
    with anyio.fail_after(5):
        await service.wait_until_stopped()
        while service.started:
            await anyio.sleep(0.001)
    assert errors(caplog) == [
        ("[^Plain]: Crashed in crash(): ValueError('boom')", None),
        ("[^Plain]: A failure that nobody receives, in Plain: ValueError('boom')", error),
    ]


async def test_errors_of_structmode_itself(caplog: pytest.LogCaptureFixture) -> None:
    """They are told by name and in their own words, which have several lines, and not as Python would write them."""

    class Slow(Plain):
        """Never ends its stop by itself."""

        shutdown_timeout = 0.01

        async def on_stop(self) -> None:
            await anyio.sleep_forever()

    with pytest.raises(ShutdownTimeout) as caught:
        async with Slow():
            pass
    assert errors(caplog) == [
        (f"[^Slow]: Failed while stopping, in stop: ShutdownTimeout: {caught.value}", None)
    ]
    assert "\n" in str(caught.value)
