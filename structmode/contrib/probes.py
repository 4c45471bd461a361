"""Health over HTTP: an ASGI application that answers the probes of orchestrators and load balancers.

    app = Probes(service)

Theory: a probe is asked often, by whoever can reach the port, and decides about the program. So an answer costs little, waits
for nothing, and says no more than it has to: a word, and a status code. What is the matter in detail, with names of
services and texts of errors, is for people who may see it, and is told only where a path for it was asked for.

*Ready* (``/ready``) is `structmode.health.Report.ready`: 200, or 503. *Live* (``/live``) is that this code runs at all: 200. A service
that fails ends its program by itself, and one that can't reach its database would not do better after being killed; what a
probe of liveness is there to find is an event loop that answers no more, and then this one does not answer either.

It may be mounted in any application, or be served by itself: on another port than the program's own, as a rule.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

from structmode._mixing import HasLife
from structmode.health import health_of

__all__ = ("Probes",)

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

#: How many services the details name.
_MOST = 100


class Probes:
    """An ASGI application that tells how well a service is. It only looks at it: whoever has the service starts it.

    Args:
        service: The service, with all below it. One that is not started yet is not ready.
        ready: The path that answers whether it can be given work.
        live: The path that answers that the event loop does.
        details: The path that answers with the report as JSON; None for no such path. It shows the names of services and
            what they failed of.

    Raises:
        TypeError: If `service` is no service.
        ValueError: If a path does not begin with a slash, or is there twice.
    """

    def __init__(
        self,
        service: HasLife,
        *,
        ready: str = "/ready",
        live: str = "/live",
        details: str | None = None,
    ) -> None:
        self._health = health_of(service)
        pages = {ready: self._ready, live: self._live}
        paths = [ready, live]
        if details is not None:
            pages[details] = self._details
            paths.append(details)
        _check(paths)
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or a server that starts or stops: what ASGI calls."""
        if scope["type"] == "lifespan":
            await _live_and_end(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _answer(self, scope: Scope, send: Send) -> None:
        # Mounted in another application, the path has what that is mounted at before it.
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        page = self._pages.get(path)
        if page is None:
            await _send(send, scope, 404, "text/plain; charset=utf-8", "not found")
        elif scope["method"] not in {"GET", "HEAD"}:
            await _send(send, scope, 405, "text/plain; charset=utf-8", "only GET and HEAD")
        else:
            await _send(send, scope, *page())

    def _ready(self) -> tuple[int, str, str]:
        report = self._health.report()
        return (
            200 if report.ready else 503,
            "text/plain; charset=utf-8",
            report.status.value if report.ready else f"not ready: {report.status.value}",
        )

    def _live(self) -> tuple[int, str, str]:
        return 200, "text/plain; charset=utf-8", "live"

    def _details(self) -> tuple[int, str, str]:
        report = self._health.report()
        text = json.dumps(report.as_dict(limit=_MOST))
        return (200 if report.ready else 503), "application/json", text


def _check(paths: Iterable[str]) -> None:
    seen: set[str] = set()
    for path in paths:
        if not path.startswith("/"):
            raise ValueError(f"a path of Probes begins with a slash; {path!r} does not")
        if path in seen:
            raise ValueError(f"Probes has {path!r} for two things: each needs a path of its own")
        seen.add(path)


async def _live_and_end(receive: Receive, send: Send) -> None:
    """Have nothing to do when a server starts, and when it stops."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _send(send: Send, scope: Scope, status: int, kind: str, text: str) -> None:
    body = text.encode(errors="backslashreplace")
    headers = [
        (b"content-type", kind.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
