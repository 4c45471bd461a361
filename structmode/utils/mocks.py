"""Stand-ins for tests.

What `unittest.mock` has is its own; the others are made of that, or stand beside it. They are loaded when they are first asked
for: ``unittest.mock`` imports asyncio, and structmode does not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # A type checker knows nothing of what a mock has, since it has anything; so it may take each for the one it is made of,
    # which alone has a complete type.
    from unittest.mock import (
        ANY as ANY,
        AsyncMock as AsyncMagicMock,
        AsyncMock as AsyncMock,
        MagicMock as MagicMock,
        Mock as AsyncContextManagerMock,
        Mock as AsyncContextMock,
        Mock as FutureMock,
        Mock as Mock,
        call as call,
        patch as patch,
    )

    from ._mocks import (
        IN as IN,
        ContextMock as ContextMock,
        mask_module as mask_module,
        patch_module as patch_module,
    )

__all__ = (
    "ANY",
    "IN",
    "AsyncContextManagerMock",
    "AsyncContextMock",
    "AsyncMagicMock",
    "AsyncMock",
    "ContextMock",
    "FutureMock",
    "MagicMock",
    "Mock",
    "call",
    "mask_module",
    "patch",
    "patch_module",
)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module("structmode.utils._mocks"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
