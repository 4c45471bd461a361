"""Names that mode had before the standard library: they are the standard library's."""

from __future__ import annotations

import collections
import collections.abc
import contextlib
import typing
from types import ModuleType
from typing import Any

import pytest

from structmode.utils import compat, contexts, futures, typing as our_typing

SAME: list[tuple[ModuleType, str, Any]] = [
    (compat, "AsyncContextManager", contextlib.AbstractAsyncContextManager),
    (compat, "ChainMap", collections.ChainMap),
    (compat, "Counter", collections.Counter),
    (compat, "Deque", collections.deque),
    (compat, "NoReturn", typing.NoReturn),
    (compat, "OrderedDict", dict),
    (compat, "current_task", futures.current_task),
    (our_typing, "AsyncContextManager", contextlib.AbstractAsyncContextManager),
    (our_typing, "AsyncGenerator", collections.abc.AsyncGenerator),
    (our_typing, "ChainMap", collections.ChainMap),
    (our_typing, "Counter", collections.Counter),
    (our_typing, "Deque", collections.deque),
    (our_typing, "NoReturn", typing.NoReturn),
    (our_typing, "Protocol", typing.Protocol),
    (contexts, "AbstractAsyncContextManager", contextlib.AbstractAsyncContextManager),
    (contexts, "AsyncExitStack", contextlib.AsyncExitStack),
    (contexts, "ExitStack", contextlib.ExitStack),
    (contexts, "asynccontextmanager", contextlib.asynccontextmanager),
    (contexts, "asyncnullcontext", contextlib.nullcontext),
    (contexts, "nullcontext", contextlib.nullcontext),
]


@pytest.mark.parametrize(
    ("module", "name", "thing"),
    SAME,
    ids=[f"{module.__name__}.{name}" for module, name, _ in SAME],
)
def test_it_is_what_has_its_name_today(module: ModuleType, name: str, thing: Any) -> None:
    """Each name is there, and means what it means in the standard library, or in another module of ours."""
    assert getattr(module, name) is thing
    assert name in module.__all__


@pytest.mark.parametrize("context", [compat.DummyContext, contexts.asyncnullcontext])
async def test_contexts_that_do_nothing(context: Any) -> None:
    """They give what they were made with, in `with` and in `async with`, and let errors through."""
    with context("result") as result:
        assert result == "result"
    async with context("result") as result:
        assert result == "result"
    async with context() as result:
        assert result is None
    assert context(enter_result=5).enter_result == 5
    with pytest.raises(ValueError, match="through"):
        async with context():
            raise ValueError("through")
