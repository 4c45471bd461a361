"""The example of a web application: its services survive a crash, and take it down when there are too many."""

from __future__ import annotations

import anyio
import httpx
import pytest

from examples.weather_desk import app
from structmode import MaxRestartsExceeded
from structmode.contrib.asgi import AsgiServer


async def test_a_strike_is_survived() -> None:
    """After a strike the station is repaired, and the application has answered all the while."""
    async with AsgiServer(app) as server:
        async with httpx.AsyncClient(base_url=server.url, verify=False, trust_env=False) as client:  # noqa: S501
            report = (await client.get("/")).json()
            assert (report["station"], report["repaired"]) == ("running", 0)
            assert (await client.post("/lightning")).json() == {"struck": True}
            while report["repaired"] < 1 or report["station"] != "running":
                report = (await client.get("/")).json()
            while (await client.get("/")).json()["average"] is None:
                await anyio.sleep(0)


async def test_too_many_strikes_take_it_down() -> None:
    """When the supervisor gives up, the server comes down with what it gave up for."""
    with pytest.raises(MaxRestartsExceeded):
        async with AsgiServer(app) as server:
            async with httpx.AsyncClient(
                base_url=server.url,
                verify=False,  # noqa: S501
                trust_env=False,
            ) as client:
                while True:
                    await client.post("/lightning")
                    while app.state.station.state not in ("running", "crashed"):
                        await anyio.sleep(0)
