"""The site: which request gets which answer.

A plain ASGI application, as small as the site is:

- `GET /` is the live page;
- `POST /view?path=/blog` counts a view; 200 means that it is counted, and will be saved;
- `POST /view?path=/blog&until=saved` counts a view; 200 means that it is saved, and all that were counted before it;
- `GET /counts` is everything as JSON;
- `GET /events` is what the page shows, again and again, as server-sent events.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from structmode import Service

from .counter import Counter, NotCounted, NotSaved
from .http import EVENTS, HTML, JSON, Refused, Request
from .live import Live
from .visitors import Visitors

PAGE = Path(__file__).with_name("page.html")
#: How long a path may be.
MAX_PATH = 200
#: How many may look on at a time.
MAX_STREAMS = 100


class Site:
    """What the server answers.

    Args:
        counter: Who counts the views.
        visitors: Who remembers the visitors.
        live: Who knows what the page shows.
    """

    def __init__(self, counter: Counter, visitors: Visitors, live: Live) -> None:
        self.counter = counter
        self.visitors = visitors
        self.live = live
        #: The service whose stop ends the streams; `Web` puts itself here.
        self.server: Service = live
        self._streams = 0
        self._page = PAGE.read_text()
        self._policy = page_policy(self._page)
        self._routes: dict[str, tuple[set[str], Callable[[Request], Awaitable[None]]]] = {
            "/": ({"GET", "HEAD"}, self.page),
            "/view": ({"POST"}, self.view),
            "/counts": ({"GET", "HEAD"}, self.counts),
            "/events": ({"GET"}, self.events),
        }

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Answer one request; what the ASGI server calls."""
        if scope["type"] == "http":
            await self._answer(Request(scope, receive, send))
        elif (
            scope["type"] == "websocket"
        ):  # and no lifespan: the services are there before the server, and after it
            await send({"type": "websocket.close", "code": 1008, "reason": None})

    async def _answer(self, request: Request) -> None:
        visitor = request.visitor
        if visitor is not None:
            self.visitors.see(visitor)
        try:
            await self._route(request)(request)
        except Refused as refused:
            await request.answer(f"{refused}\n", status=refused.status, headers=refused.headers)
        except TimeoutError:
            pass  # the client has stopped reading, and the kernel has dropped it: see web.py

    def _route(self, request: Request) -> Callable[[Request], Awaitable[None]]:
        path, method = request.scope["path"], request.scope["method"]
        if path not in self._routes:
            raise Refused(HTTPStatus.NOT_FOUND, "There is nothing here")
        methods, handler = self._routes[path]
        if method not in methods:
            allow = [(b"allow", ", ".join(sorted(methods)).encode())]
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} is not for {path}", allow)
        return handler

    async def page(self, request: Request) -> None:
        """Answer with the page, and give a visitor who is new a cookie to be known by."""
        cookie = f"visitor={secrets.token_urlsafe(16)}; Path=/; HttpOnly; SameSite=Strict"
        headers = [] if request.visitor else [(b"set-cookie", cookie.encode())]
        await request.answer(self._page, HTML, headers=headers, policy=self._policy)

    async def view(self, request: Request) -> None:
        """Count a view."""
        path = request.query("path")
        if not path.startswith("/") or not path.isprintable():
            raise Refused(HTTPStatus.BAD_REQUEST, "Say which path: POST /view?path=/blog")
        if len(path) > MAX_PATH:
            raise Refused(HTTPStatus.BAD_REQUEST, f"A path has at most {MAX_PATH} characters")
        until = request.query("until")
        if until not in ("", "saved"):
            raise Refused(HTTPStatus.BAD_REQUEST, "What can be waited for is until=saved")
        try:
            views = self.counter.count(path)
            if until == "saved":
                await self.counter.wait_until_saved()
        except NotCounted as error:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, f"Not counted: {error}") from error
        except NotSaved as error:
            reason = f"Counted, but not yet saved: {error}"
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, reason) from error
        await request.answer(json.dumps({"path": path, "views": views}), JSON)

    async def counts(self, request: Request) -> None:
        """Answer with the views of each path."""
        answer = {"total": self.counter.total, "views": dict(self.counter.views.most_common())}
        await request.answer(json.dumps(answer), JSON)

    async def events(self, request: Request) -> None:
        """Send each new snapshot, until the client has gone or the server stops."""
        if self._streams >= MAX_STREAMS:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_STREAMS} are looking on already")
        self._streams += 1
        try:
            await request.begin(EVENTS)
            await request.write(b"retry: 1000\n\n")  # come back a second after the end
            await self._stream(request)
            await request.write(b"", more=False)
        finally:
            self._streams -= 1

    async def _stream(self, request: Request) -> None:
        while not self.server.should_stop:
            if request.visitor is not None:
                self.visitors.see(request.visitor)  # still there
            await request.write(f"data: {self.live.snapshot}\n\n".encode())
            ended = await self.server.wait_first(self.live.renewed, request.gone)
            if request.gone in ended.done:
                return


def page_policy(page: str) -> bytes:
    """Return the policy that lets the page run its own script and style, and talk to us, and nothing else."""

    def hashes(tag: str) -> str:
        blocks = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digests = [hashlib.sha256(block.encode()).digest() for block in blocks]
        return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)

    return (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ).encode()
