"""The stand-ins behind `structmode.utils.mocks`; imported when one is asked for, as ``unittest.mock`` imports asyncio."""

from __future__ import annotations

import inspect
import itertools
import sys
import unittest.mock
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import ANY as ANY, DEFAULT, MagicMock as MagicMock, call as call, patch as patch

_calls = itertools.count(1)


class IN:
    """Equal to each of several things: ``assert status == IN("starting", "running")``.

    Args:
        alternatives: The things.
    """

    def __init__(self, *alternatives: Any) -> None:
        self.alternatives: tuple[Any, ...] = alternatives

    def __eq__(self, other: object) -> bool:
        return other in self.alternatives

    def __repr__(self) -> str:
        return f"<IN: {', '.join(map(repr, self.alternatives))}>"


class Mock(unittest.mock.Mock):
    """A `unittest.mock.Mock` that also knows the order of calls among all such mocks.

    Attributes:
        global_call_count: Which call its last one was, counted over all mocks of this class; None before the first.
        call_counts: The same for each of its calls; None before the first.
    """

    global_call_count: int | None = None
    call_counts: list[int] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # Into the dictionary: a mock with a spec_set refuses other attributes than those of the spec.
        known = self.__dict__
        known["global_call_count"] = next(_calls)
        known["call_counts"] = [*(self.call_counts or ()), known["global_call_count"]]
        return super().__call__(*args, **kwargs)

    def reset_mock(self, *args: Any, **kwargs: Any) -> None:
        """Forget all calls.

        Args:
            args: As in `unittest.mock.Mock`.
            kwargs: As in `unittest.mock.Mock`.
        """
        super().reset_mock(*args, **kwargs)
        self.__dict__.pop("global_call_count", None)
        self.__dict__.pop("call_counts", None)


class AsyncMock(unittest.mock.AsyncMock):
    """A `unittest.mock.AsyncMock`, which stands for an async function or method.

    It also has the name that mode gives to what records the calls, ``coro``: that is the mock itself.
    """

    @property
    def coro(self) -> AsyncMock:
        """The mock itself."""
        return self


class AsyncMagicMock(AsyncMock):
    """The same as `AsyncMock`, which has all magic methods already."""


def ContextMock(*args: Any, **kwargs: Any) -> MagicMock:  # noqa: N802 - mode's name
    """Return a mock that can be used in ``with``, which gives the mock itself and lets exceptions pass.

    Args:
        args: As in `unittest.mock.MagicMock`.
        kwargs: As in `unittest.mock.MagicMock`.
    """
    mock = MagicMock(*args, **kwargs)
    mock.__enter__.return_value = mock
    mock.__exit__.return_value = None
    return mock


def _is_exception(effect: Any) -> bool:
    return isinstance(effect, BaseException) or (
        isinstance(effect, type) and issubclass(effect, BaseException)
    )


class AsyncContextMock(unittest.mock.Mock):
    """A mock that can be used in ``async with``, for what returns an async context manager.

        session.get = Mock(return_value=AsyncContextMock(return_value=response))

        async with session.get(url) as answer:
            assert answer is response

    Args:
        args: As in `unittest.mock.Mock`.
        aenter_return: What ``async with`` gives; by default the ``return_value``.
        aexit_return: Whether an exception that leaves the block ends there.
        side_effect: An exception, or a class of exceptions, that ``async with`` raises when it begins; or something to
            iterate over, from which each ``async with`` takes the next: raises it, or gives it; or a function that is called
            then, and awaited if it is ``async def``, whose result is of no account.
        kwargs: As in `unittest.mock.Mock`.
    """

    def __init__(
        self,
        *args: Any,
        aenter_return: Any = None,
        aexit_return: Any = None,
        side_effect: Callable[[], object]
        | BaseException
        | type[BaseException]
        | Iterable[Any]
        | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.side_effect = side_effect
        self.aenter_return: Any = aenter_return
        self.aexit_return: Any = aexit_return

    async def __aenter__(self) -> Any:
        given = await self._effect()
        if given is not DEFAULT:
            return given
        return self.return_value if self.aenter_return is None else self.aenter_return

    async def _effect(self) -> Any:
        """Have the side effect, and return what it gives; DEFAULT if that is nothing."""
        effect: Any = self.side_effect
        if hasattr(effect, "__next__"):  # what mocks make of something to iterate over
            effect = next(effect, StopAsyncIteration)  # as an AsyncMock does at the end
            if not _is_exception(effect):
                return effect
        if _is_exception(effect):
            raise effect
        result: Any = None if effect is None else effect()
        if inspect.iscoroutine(result):
            await result
        return DEFAULT

    async def __aexit__(self, *exc_info: object) -> Any:
        return self.aexit_return


#: The same, by the name that mode's manual has for it.
AsyncContextManagerMock = AsyncContextMock


class FutureMock(unittest.mock.Mock):
    """A mock that can be awaited, as a future can, on any event loop; that gives what calling it gives.

    Args:
        args: As in `unittest.mock.Mock`.
        kwargs: As in `unittest.mock.Mock`: ``return_value`` is the result, ``side_effect`` may be an error.

    Attributes:
        awaited: Whether it has been awaited.
    """

    awaited: bool = False

    def __await__(self) -> Generator[Any, Any, Any]:
        self.__dict__["awaited"] = True
        yield from ()
        return self()

    def reset_mock(self, *args: Any, **kwargs: Any) -> None:
        """Forget all calls, and that it has been awaited.

        Args:
            args: As in `unittest.mock.Mock`.
            kwargs: As in `unittest.mock.Mock`.
        """
        super().reset_mock(*args, **kwargs)
        self.__dict__.pop("awaited", None)

    def assert_awaited(self) -> None:
        """Check that it has been awaited.

        Raises:
            AssertionError: If it has not.
        """
        if not self.awaited:
            raise AssertionError(f"{self!r} was not awaited, and should have been")

    def assert_not_awaited(self) -> None:
        """Check that it has not been awaited.

        Raises:
            AssertionError: If it has.
        """
        if self.awaited:
            raise AssertionError(f"{self!r} was awaited, and should not have been")


@contextmanager
def patch_module(*names: str, new_callable: Callable[[], Any] = Mock) -> Generator[list[Any]]:
    """Put modules in the place of others for a ``with`` block, in which every name is a mock.

        with patch_module("redis") as (redis,):
            import redis  # the same

    Args:
        names: The names of the modules; there need not be any such module.
        new_callable: What makes the mocks.

    Returns:
        A context manager, which gives a list of the modules.
    """

    class MockModule(ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):  # the import system looks for some, and a mock is no answer
                raise AttributeError(name)
            value = self.__dict__[name] = new_callable()
            return value

    modules = {name: MockModule(name) for name in names}
    with _in_place_of_modules(modules):
        yield list(modules.values())


@contextmanager
def mask_module(*modnames: str) -> Generator[None]:
    """Let modules, with all that is in them, not be importable for a ``with`` block.

    What has been imported before can still be used by whoever has it.

    Args:
        modnames: The names of the modules.

    Returns:
        A context manager.
    """
    inside = tuple(f"{name}." for name in modnames)
    loaded = [name for name in sys.modules if name.startswith(inside)]
    # Where None stands for a module, importing it raises ModuleNotFoundError.
    with _in_place_of_modules(dict.fromkeys([*modnames, *loaded])):
        yield


@contextmanager
def _in_place_of_modules(stand_ins: Mapping[str, ModuleType | None]) -> Generator[None]:
    modules: dict[str, Any] = sys.modules
    before = {name: modules[name] for name in stand_ins if name in modules}
    modules.update(stand_ins)
    try:
        with ExitStack() as attributes:
            for name, stand_in in stand_ins.items():
                package, _, last = name.rpartition(".")
                if modules.get(package) is not None:
                    attributes.enter_context(
                        _in_place_of_attribute(modules[package], last, stand_in)
                    )
            yield
    finally:
        for name in stand_ins:
            modules.pop(name, None)
        modules.update(before)


@contextmanager
def _in_place_of_attribute(
    package: ModuleType, name: str, stand_in: ModuleType | None
) -> Generator[None]:
    """Let a package have a stand-in for one of its modules; or none, where it would still give the module."""
    if stand_in is None and name not in vars(package):
        yield
        return
    with patch.object(package, name, stand_in, create=True):
        if stand_in is None:
            delattr(package, name)
        yield


_public: Any
for _public in (
    IN,
    Mock,
    AsyncMock,
    AsyncMagicMock,
    ContextMock,
    AsyncContextMock,
    FutureMock,
    patch_module,
    mask_module,
):
    _public.__module__ = "structmode.utils.mocks"
