"""What is answered to a request that comes when it is too late for it."""

from __future__ import annotations

from structmode.contrib.asgi._types import Scope, Send

__all__ = ("refuse",)


async def refuse(scope: Scope, send: Send) -> None:
    """Answer that the service is not available, and that the connection is to be closed."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1013, "reason": "Out of service"})
        return
    body = b"Out of service\n"
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
