"""The example of a web application: its services survive a crash, and take it down when there are too many."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import anyio
import pytest

from examples.weather_desk import app, ask
from structmode import MaxRestartsExceeded
from structmode.contrib.asgi import AsgiServer


async def report(server: AsgiServer) -> dict[str, Any]:
    """Return what the application reports."""
    found: dict[str, Any] = json.loads(await ask(server.port, "GET /"))
    return found


async def test_a_strike_is_survived() -> None:
    """After a strike the station is repaired, and the application has answered all the while."""
    async with AsgiServer(app) as server:
        now = await report(server)
        assert (now["station"], now["repaired"]) == ("running", 0)
        assert await ask(server.port, "POST /lightning") == '{"struck":true}'
        while now["repaired"] < 1 or now["station"] != "running" or now["average"] is None:
            now = await report(server)


async def test_too_many_strikes_take_it_down() -> None:
    """When the supervisor gives up, the server comes down with what it gave up for."""
    with pytest.raises(MaxRestartsExceeded):
        async with AsgiServer(app) as server:
            while True:
                with suppress(OSError, anyio.BrokenResourceError):
                    await ask(server.port, "POST /lightning")
