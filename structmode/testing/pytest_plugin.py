"""The pytest plugin: services, virtual time and a check for leaks around a test.

Theory: an async fixture runs beside the test, not around it. A service that it holds can crash, and the test does not
learn of it; a cancel scope that it holds does not reach the test at all. And each async plugin has fixtures of its own
kind. So these fixtures are plain ones, that only say what is to be put around the test; the test function itself is then
wrapped, whichever plugin runs it: anyio's, pytest-asyncio or pytest-trio.

It is found by pytest by itself, and does nothing until one of its fixtures is asked for.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from typing import Any, TypeVar

import pytest

from structmode.services import Service
from structmode.testing import Recorder, VirtualClock, nothing_left_behind

__all__ = ("nothing_left", "record", "run_service", "virtual_clock")

ServiceT = TypeVar("ServiceT", bound=Service)
Surrounding = Callable[[], AbstractContextManager[object] | AbstractAsyncContextManager[object]]

_AROUND = pytest.StashKey[list[Surrounding]]()


@pytest.fixture
def run_service(request: pytest.FixtureRequest) -> Callable[[ServiceT], ServiceT]:
    """Run a service around the test: `run_service(service)` returns it, and it runs when the test begins.

        @pytest.fixture
        def app(run_service, tmp_path):
            return run_service(App(tmp_path))

    It is started right before the test, in the test's own task and event loop, and stopped right after; several in the
    order given, and in reverse. If it crashes, the test is cancelled, and fails with the reason.
    """

    def run(service: ServiceT) -> ServiceT:
        _put_around(request, lambda: service)
        return service

    return run


@pytest.fixture
def virtual_clock(request: pytest.FixtureRequest) -> VirtualClock:
    """Make time virtual in the test, and in what `run_service` is asked to run after this.

    The event loop must be one whose time can be virtual: see `structmode.testing.virtual_backend`.
    """
    clock = VirtualClock()
    _put_around(request, lambda: clock)
    return clock


@pytest.fixture
def nothing_left(request: pytest.FixtureRequest) -> None:
    """Fail the test if it leaves a task, a thread, a running service, or a coroutine that was never awaited."""
    _put_around(request, nothing_left_behind, outermost=True)


@pytest.fixture
def record() -> Generator[Recorder]:
    """Record the lifecycle events of all services, from now until the test is over."""
    with Recorder() as recorder:
        yield recorder


def _put_around(
    request: pytest.FixtureRequest, surrounding: Surrounding, *, outermost: bool = False
) -> None:
    item: pytest.Item = request.node
    around = item.stash.setdefault(_AROUND, [])
    around.insert(0 if outermost else len(around), surrounding)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Put around an async test what its fixtures have asked for."""
    around = item.stash.get(_AROUND, None)
    if around is None:
        return (yield)
    test = item.obj if isinstance(item, pytest.Function) else None
    if not isinstance(item, pytest.Function) or not inspect.iscoroutinefunction(test):
        raise pytest.UsageError(
            f"{item.name} must be `async def`: its fixtures put something around it that needs an event loop"
        )
    item.obj = _surrounded(test, around)
    try:
        return (yield)
    finally:
        item.obj = test


def _surrounded(
    test: Callable[..., Awaitable[None]], around: list[Surrounding]
) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def surrounded(*args: Any, **kwargs: Any) -> None:
        async with AsyncExitStack() as stack:
            for surrounding in around:
                context = surrounding()
                if isinstance(context, AbstractAsyncContextManager):
                    await stack.enter_async_context(context)
                else:
                    stack.enter_context(context)
            await test(*args, **kwargs)

    return surrounded
