"""What older Pythons did not have, or had in other places; today it is the standard library's, by mode's names."""

from __future__ import annotations

from collections import (
    ChainMap as ChainMap,
    Counter as Counter,
    deque as Deque,  # noqa: N812 - the name it has in `typing`
)
from contextlib import AbstractAsyncContextManager as AsyncContextManager, nullcontext
from typing import NoReturn as NoReturn, TypeVar

from structmode.utils.futures import current_task as current_task
from structmode.utils.text import (
    isatty as isatty,
    want_bytes as want_bytes,
    want_str as want_str,
)

__all__ = (
    "AsyncContextManager",
    "ChainMap",
    "Counter",
    "Deque",
    "DummyContext",
    "NoReturn",
    "OrderedDict",
    "current_task",
    "isatty",
    "want_bytes",
    "want_str",
)

_T = TypeVar("_T")

#: A dictionary keeps the order of its keys.
OrderedDict = dict


class DummyContext(nullcontext[_T]):
    """Does nothing in a ``with`` or ``async with`` statement: `contextlib.nullcontext` by mode's name.

    Args:
        enter_result: What the statement gets from it.
    """
