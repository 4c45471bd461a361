"""What the probes of a program are told."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from typing import Any, NamedTuple

import anyio
import pytest

from structmode import Service
from structmode.contrib.probes import Probes


class App(Service):
    """A service with one below it."""

    def __post_init__(self) -> None:
        self.below = self.add_dependency(Below())


class Below(Service):
    """Has nothing to do."""


class Answer(NamedTuple):
    """What was answered."""

    status: int
    headers: dict[str, str]
    text: str


async def ask(probes: Probes, path: str, method: str = "GET", mounted_at: str = "") -> Answer:
    """Ask, as a server does for its client."""
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("nothing is read")  # pragma: no cover - nothing is

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "root_path": mounted_at}
    await probes(scope, receive, send)
    start, body = sent
    assert (start["type"], body["type"]) == ("http.response.start", "http.response.body")
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], headers, body["body"].decode())


async def test_ready() -> None:
    """A tree that can be given work is answered 200, and any other 503, with one word on why."""
    app = App()
    probes = Probes(app)

    async def ready() -> tuple[int, str]:
        answer = await ask(probes, "/ready")
        return answer.status, answer.text

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
    answer = await ask(Probes(App()), "/live")
    assert (answer.status, answer.text) == (200, "live")
    assert answer.headers["cache-control"] == "no-store"


async def test_details() -> None:
    """They are told only where that was asked for, as JSON of a bounded size."""
    app = App()
    for _ in range(150):
        app.add_dependency(Below())
    assert (await ask(Probes(app), "/health")).status == 404
    probes = Probes(app, details="/health")
    assert (await ask(probes, "/health")).status == 503
    async with app:
        app.below.health.degrade("slow")
        answer = await ask(probes, "/health")
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        told = json.loads(answer.text)
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
    head = await ask(probes, "/livez", "HEAD")
    assert (head.status, head.text, head.headers["content-length"]) == (200, "", "4")
    assert (await ask(probes, "/livez", "POST")).status == 405
    assert (await ask(probes, "/ready")).status == 404
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("nothing is read")  # pragma: no cover - nothing is

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await probes({"type": "websocket"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1000}]


async def test_mounted() -> None:
    """In another application its paths are below that it is mounted at."""
    assert (await ask(Probes(App()), "/status/live", mounted_at="/status")).status == 200


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
