"""A request and its answer, as the application has them.

Theory: Hypercorn keeps what a client sends in a queue of ten parts until the application takes them, and puts into the same queue,
as the last of all, that the answer is complete. An application that answers without having read a long body would so wait, in
the last of its sending, for itself. So what nobody has read by then is thrown away meanwhile.
"""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel

from structmode.contrib.asgi._types import Receive, Send

__all__ = ("Exchange",)


class Exchange:
    """Both directions of one request.

    Args:
        receive: Hypercorn's, which gives what the client sends.
        send: Hypercorn's, which takes the answer.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._all_read = False
        self._gone = False

    async def receive(self) -> Any:
        """Return what comes next of the request; once it is over, that, as often as it is asked for."""
        if self._gone:
            await anyio.lowlevel.checkpoint()
            return {"type": "http.disconnect"}
        message = await self._next()
        self._all_read = self._all_read or not message.get("more_body", False)
        return message

    async def send(self, message: Any) -> None:
        """Send what comes next of the answer; nothing, if the request has been cut: no error can follow half an answer."""
        await anyio.lowlevel.checkpoint_if_cancelled()
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if not is_last or self._all_read:
            await self._send(message)
            return
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._throw_away)
            try:
                await self._send(message)
            except Exception as exc:  # noqa: BLE001 - raised below, as it is: no part of a group
                failure = exc
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _throw_away(self) -> None:
        while not self._gone:
            await self._next()

    async def _next(self) -> Any:
        message = await self._receive()
        self._gone = message["type"] == "http.disconnect"
        return message
