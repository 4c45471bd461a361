"""One request, and how to answer it: the few parts of HTTP over ASGI that the site needs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qs

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope

Headers = Iterable[tuple[bytes, bytes]]

TEXT = b"text/plain; charset=utf-8"
JSON = b"application/json"
HTML = b"text/html; charset=utf-8"
EVENTS = b"text/event-stream"

#: What an answer may load and run, unless it says otherwise: nothing.
LOCKED = b"default-src 'none'; frame-ancestors 'none'"
VISITOR = re.compile(rb"(?:^|; ?)visitor=([A-Za-z0-9_-]{22})(?:;|$)")


class Refused(Exception):
    """A request that gets an error for an answer.

    Args:
        status: The status of the answer.
        reason: What was wrong; its text.
        headers: More headers.
    """

    def __init__(self, status: HTTPStatus, reason: str, headers: Headers = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers


@dataclass(frozen=True)
class Request:
    """One HTTP request. Its body is never read: no request of ours has one."""

    scope: HTTPScope
    receive: ASGIReceiveCallable
    send: ASGISendCallable

    @property
    def visitor(self) -> str | None:
        """What our cookie says."""
        cookies = [value for name, value in self.scope["headers"] if name == b"cookie"]
        found = VISITOR.search(b"; ".join(cookies))
        return found[1].decode() if found else None

    def query(self, name: str) -> str:
        """Return a field of the query; "" if it is not there.

        Raises:
            Refused: If the query can't be read.
        """
        try:
            fields = parse_qs(self.scope["query_string"].decode(), errors="strict")
        except ValueError as error:
            raise Refused(HTTPStatus.BAD_REQUEST, "The query can't be read") from error
        return fields.get(name, [""])[0]

    async def gone(self) -> None:
        """Wait until the client has gone."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def answer(
        self,
        text: str,
        kind: bytes = TEXT,
        status: HTTPStatus = HTTPStatus.OK,
        headers: Headers = (),
        policy: bytes = LOCKED,
    ) -> None:
        """Send a whole answer."""
        body = text.encode()
        length = (b"content-length", str(len(body)).encode())
        await self.begin(kind, status, (length, *headers), policy)
        await self.write(body, more=False)

    async def begin(
        self,
        kind: bytes,
        status: HTTPStatus = HTTPStatus.OK,
        headers: Headers = (),
        policy: bytes = LOCKED,
    ) -> None:
        """Send the head of an answer."""
        head = [
            (b"content-type", kind),
            (b"content-security-policy", policy),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cache-control", b"no-store"),
            *headers,
        ]
        await self.send({"type": "http.response.start", "status": status, "headers": head})

    async def write(self, body: bytes, *, more: bool = True) -> None:
        """Send a part of the body."""
        await self.send({"type": "http.response.body", "body": body, "more_body": more})
