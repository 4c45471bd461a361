"""What the probes of a program are told."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import anyio
import httpx
import pytest

from structmode import Service
from structmode.contrib.probes import Probes


class App(Service):
    """A service with one below it."""

    def __post_init__(self) -> None:
        self.below = self.add_dependency(Below())


class Below(Service):
    """Has nothing to do."""


def client(probes: Probes, **more: Any) -> httpx.AsyncClient:
    """Return what asks as over HTTP."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=probes, **more), base_url="http://test"
    )


async def test_ready() -> None:
    """A tree that can be given work is answered 200, and any other 503, with one word on why."""
    app = App()
    async with client(Probes(app)) as http:

        async def ready() -> tuple[int, str]:
            answer = await http.get("/ready")
            return answer.status_code, answer.text

        assert await ready() == (503, "not ready: stopped")
        async with app:
            assert await ready() == (200, "ready")
            app.below.health.degrade("slow")
            assert await ready() == (200, "degraded")
            app.below.health.degrade("no disk", able=False)
            assert await ready() == (503, "not ready: degraded")
        assert await ready() == (503, "not ready: stopped")
        with pytest.raises(OSError, match="lost"):
            async with app:
                await app.below.crash(OSError("lost"))
                await anyio.sleep_forever()
        assert await ready() == (503, "not ready: failed")


async def test_live() -> None:
    """Whatever the services are, the event loop answers; no answer is kept by anybody on the way."""
    async with client(Probes(App())) as http:
        answer = await http.get("/live")
        assert (answer.status_code, answer.text) == (200, "live")
        assert answer.headers["cache-control"] == "no-store"


async def test_details() -> None:
    """They are told only where that was asked for, as JSON of a bounded size."""
    app = App()
    for _ in range(150):
        app.add_dependency(Below())
    async with client(Probes(app)) as http:
        assert (await http.get("/health")).status_code == 404
    async with client(Probes(app, details="/health")) as http:
        assert (await http.get("/health")).status_code == 503
        async with app:
            app.below.health.degrade("slow")
            answer = await http.get("/health")
            assert answer.status_code == 200
            told = answer.json()
            assert (told["status"], told["ready"], told["more"]) == ("degraded", True, 52)
            assert told["services"][1] == {
                "label": "Below",
                "depth": 1,
                "status": "degraded",
                "reasons": ["slow"],
            }


async def test_other_requests() -> None:
    """HEAD has the headers alone; other methods, other paths and other protocols are turned away."""
    probes = Probes(App(), ready="/readyz", live="/livez")
    async with client(probes) as http:
        head = await http.head("/livez")
        assert (head.status_code, head.text, head.headers["content-length"]) == (200, "", "4")
        assert (await http.post("/livez")).status_code == 405
        assert (await http.get("/ready")).status_code == 404
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("nothing is read")  # pragma: no cover - nothing is

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await probes({"type": "websocket"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1000}]


async def test_mounted() -> None:
    """In another application its paths are below that it is mounted at."""
    async with client(Probes(App()), root_path="/status") as http:
        assert (await http.get("/status/live")).status_code == 200


async def test_lifespan() -> None:
    """A server may start it and stop it."""
    received = iter(["lifespan.startup", "lifespan.shutdown"])
    sent: list[str] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": next(received)}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message["type"])

    await Probes(App())({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.parametrize(
    ("paths", "error"),
    [
        ({"ready": "ready"}, "begins with a slash"),
        ({"ready": "/live"}, "two things"),
        ({"details": "/ready"}, "two things"),
    ],
)
def test_bad_paths(paths: dict[str, str], error: str) -> None:
    """A path that can't be meant is refused, with what is wrong."""
    with pytest.raises(ValueError, match=error):
        Probes(App(), **paths)


def test_no_service() -> None:
    """What is no service is refused."""
    no_service: Any = "App"
    with pytest.raises(TypeError, match="'App' is no service"):
        Probes(no_service)
