"""Types that mode had before `typing` did; they are those of the standard library."""

from __future__ import annotations

from collections import (
    ChainMap as ChainMap,
    Counter as Counter,
    deque as Deque,  # noqa: N812 - the name it has in `typing`
)
from collections.abc import AsyncGenerator as AsyncGenerator
from contextlib import AbstractAsyncContextManager as AsyncContextManager
from typing import NoReturn as NoReturn, Protocol as Protocol

__all__ = (
    "AsyncContextManager",
    "AsyncGenerator",
    "ChainMap",
    "Counter",
    "Deque",
    "NoReturn",
    "Protocol",
)
