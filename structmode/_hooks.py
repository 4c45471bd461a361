"""The hooks of a service: what they are, and the check that each is async or not, as it must be."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, NoReturn, TypeVar

from structmode._declare import where

__all__ = ("ServiceCallbacks", "check_hooks")


F = TypeVar("F", bound=Callable[..., object])
_empty: set[object] = set()


def empty(hook: F) -> F:
    """Mark a hook as one that does nothing: nobody need call it."""
    _empty.add(hook)
    return hook


def is_empty(hook: object) -> bool:
    """Whether a bound method is a hook that does nothing."""
    function = getattr(hook, "__func__", None)
    return isinstance(function, FunctionType) and function in _empty


class ServiceCallbacks:
    """The hooks of a service, to be overridden.

    All are called in the service's own task, in the order below, `on_restart` before all others of its run; any of them may raise
    and wait. All up to `on_started` may add contexts, futures and other services. In `on_stop` the service takes plain contexts
    only: an async one, and `Service.add_runtime_dependency`, raise a ``LifecycleError``, and futures are not run. In `on_shutdown`
    it takes none any more.
    """

    @empty
    async def on_first_start(self) -> None:
        """The service starts for the first time; not called in a restart."""

    @empty
    async def on_start(self) -> None:
        """The service is starting; its tasks and children are not there yet."""

    @empty
    async def on_started(self) -> None:
        """The service, its tasks and its children have started."""

    @empty
    async def on_stop(self) -> None:
        """The service is about to stop; its tasks and children are still there. Called if `on_start` returned."""

    @empty
    async def on_shutdown(self) -> None:
        """The service has stopped; nothing that it ran or held is left. Called if `on_start` returned."""

    async def on_restart(self) -> None:
        """The service is about to start again, in a restart."""


ASYNC_HOOKS = ("on_first_start", "on_start", "on_started", "on_stop", "on_shutdown", "on_restart")
SYNC_HOOKS = ("__post_init__", "on_init", "on_init_dependencies")


def check_hooks(
    cls: type, async_hooks: Sequence[str] = ASYNC_HOOKS, sync_hooks: Sequence[str] = SYNC_HOOKS
) -> None:
    """Refuse hooks that are async where they must not be, or the other way round, while the class is made."""
    for name in (*async_hooks, *sync_hooks):
        hook: Any = inspect.getattr_static(cls, name, None)  # a mixin's counts as well
        function: Any = getattr(hook, "__func__", hook)  # of a static or class method
        is_async = name in async_hooks
        if isinstance(function, FunctionType):
            _check_hook(cls, name, function, is_async)


def _check_hook(cls: type, name: str, hook: FunctionType, is_async: bool) -> None:
    # What is gone through may be yielded one by one.
    may_yield = name == "on_init_dependencies" and not inspect.isasyncgenfunction(hook)
    if not may_yield and _yields(hook):
        right = f"async def {name}" if is_async else f"def {name}"
        raise TypeError(
            f"{where(hook)}: {cls.__qualname__}.{name} yields, so a call runs nothing of it: write `{right}(self)` without `yield`"
        )
    if inspect.iscoroutinefunction(hook) != is_async:
        _refuse_hook(cls, name, hook, is_async)


def _yields(function: FunctionType) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _refuse_hook(cls: type, name: str, hook: FunctionType, is_async: bool) -> NoReturn:
    right = f"async def {name}(self)" if is_async else f"def {name}(self)"
    kind = (
        "is awaited, so it must be async"
        if is_async
        else "is called, not awaited, so it must not be async"
    )
    raise TypeError(f"{where(hook)}: {cls.__qualname__}.{name} {kind}: write `{right}`")


ServiceCallbacks.__module__ = "structmode.services"
