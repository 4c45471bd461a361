"""Contexts of ``contextlib``, by the names under which mode had them before the standard library did."""

from __future__ import annotations

from contextlib import (
    AbstractAsyncContextManager as AbstractAsyncContextManager,
    AsyncExitStack as AsyncExitStack,
    ExitStack as ExitStack,
    asynccontextmanager as asynccontextmanager,
    nullcontext as nullcontext,
)

__all__ = (
    "AbstractAsyncContextManager",
    "AsyncExitStack",
    "ExitStack",
    "asynccontextmanager",
    "asyncnullcontext",
    "nullcontext",
)

#: Does nothing in an ``async with`` statement, and gives its ``enter_result``: what `contextlib.nullcontext` does today.
asyncnullcontext = nullcontext
