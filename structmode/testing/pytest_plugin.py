"""The pytest plugin: services, virtual time and a check for leaks around a test.

Theory: an async fixture runs beside the test, not around it. A service that it holds can crash, and the test does not
learn of it; a cancel scope that it holds does not reach the test at all. And each async plugin has fixtures of its own
kind. So these fixtures are plain ones, that only say what is to be put around the test; the test function itself is then
wrapped, whichever plugin runs it: anyio's, pytest-asyncio or pytest-trio. With Hypothesis a test is many examples, each a
call of the function behind the test; so it is that one which is wrapped, and all is put around each example anew.

What is put around a test belongs to one try of it. When it is run again, its fixtures say so again.

It is found by pytest by itself, and does nothing until one of its fixtures is asked for.
"""

from __future__ import annotations

import functools
import inspect
import unittest
from collections.abc import Awaitable, Callable, Generator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    contextmanager,
)
from typing import Any, TypeVar, cast

import pytest

from structmode.exceptions import LifecycleError
from structmode.services import Service
from structmode.testing import Recorder, VirtualClock, nothing_left_behind

__all__ = ("nothing_left", "record", "run_service", "virtual_clock")

ServiceT = TypeVar("ServiceT", bound=Service)
TestFunction = Callable[..., Awaitable[None]]
Surrounding = Callable[[], AbstractContextManager[object] | AbstractAsyncContextManager[object]]

_AROUND = pytest.StashKey[list[Surrounding]]()
# There while the test itself runs, when it is too late to put anything around it.
_RUNS = pytest.StashKey[bool]()


@pytest.fixture
def run_service(request: pytest.FixtureRequest) -> Callable[[ServiceT], ServiceT]:
    """Run a service around the test: `run_service(service)` returns it, and it runs when the test begins.

        @pytest.fixture
        def app(run_service, tmp_path):
            return run_service(App(tmp_path))

    It is started right before the test, in the test's own task and event loop, and stopped right after; several in the
    order given, and in reverse. If it crashes, the test is cancelled, and fails with the reason. With Hypothesis, it is started
    and stopped for each example.
    """

    def run(service: ServiceT) -> ServiceT:
        _check_can_be_run(service)
        _put_around(request, lambda: service)
        return service

    return run


def _check_can_be_run(service: object) -> None:
    if isinstance(service, type):
        name = service.__name__
        raise TypeError(f"run_service() takes a service, not its class: run_service({name}(...))")
    if not isinstance(service, AbstractAsyncContextManager):
        raise TypeError(f"run_service() takes a service, not {service!r}")


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
    if item.stash.get(_RUNS, False):
        raise LifecycleError(
            f"{request.fixturename or 'run_service'} was asked for in {item.name}, which runs already: nothing can be put around it "
            "any more",
            "Ask for it in a fixture of the test that is a plain function; in the test itself, `async with service:` runs one",
        )
    around = item.stash.setdefault(_AROUND, [])
    around.insert(0 if outermost else len(around), surrounding)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Forget what was to be put around a try of the test that never began."""
    item.stash[_AROUND] = []


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Put around an async test what its fixtures have asked for."""
    item.stash[_RUNS] = True
    try:
        with _put_around_function(item, item.stash.get(_AROUND, list[Surrounding]())):
            return (yield)
    finally:
        del item.stash[_RUNS]
        item.stash[_AROUND] = []


@contextmanager
def _put_around_function(item: pytest.Item, around: list[Surrounding]) -> Generator[None]:
    if not around:
        yield
        return
    holder, name = _place_of_function(item)
    function = getattr(holder, name, None)
    _check_can_be_surrounded(item, function)
    setattr(holder, name, _surrounded(cast(TestFunction, function), around))
    try:
        yield
    finally:
        setattr(holder, name, function)


def _place_of_function(item: pytest.Item) -> tuple[object, str]:
    """Return what has the function that is the test, or one example of it, and by what name."""
    hypothesis = getattr(getattr(item, "obj", None), "hypothesis", None)
    return (item, "obj") if hypothesis is None else (hypothesis, "inner_test")


def _check_can_be_surrounded(item: pytest.Item, function: object) -> None:
    owner = getattr(item, "cls", None)
    if owner is not None and issubclass(owner, unittest.TestCase):
        raise pytest.UsageError(
            f"{item.nodeid} is a method of a unittest.TestCase, which runs its tests by itself, so the fixtures of structmode "
            "can put nothing around it. Let it be an `async def` function, or a method of a class that is no TestCase; "
            "or run the service in the test: `async with service:`"
        )
    if not isinstance(item, pytest.Function) or not inspect.iscoroutinefunction(function):
        raise pytest.UsageError(
            f"{item.name} must be `async def`: its fixtures put something around it that needs an event loop"
        )


def _surrounded(test: TestFunction, around: list[Surrounding]) -> TestFunction:
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
