"""The shapes of ASGI, as wide as they have to be for applications that are typed by different frameworks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

__all__ = ("AsgiApp", "Message", "Receive", "Scope", "Send")

Message: TypeAlias = dict[str, Any]
Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]

#: An ASGI 3 application. Each framework has classes of its own for what it takes.
AsgiApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
