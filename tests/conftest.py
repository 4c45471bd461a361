"""What every test gets: each backend in turn, and guards that let nothing be left behind.

A plain `async def test_...` runs once per backend below. These guards stand around the tests:

- what a test left running, a task or a thread, fails it by name;
- what it dropped, a coroutine never awaited or an exception no one saw, is collected before the
  next test begins, so that the test at fault fails and not a later one;
- what waits for ever is cancelled in time, and the report shows where each task was;
- what blocks asyncio's event loop raises where it blocks.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib.util
import inspect
import logging
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any, TypeAlias

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest
from blockbuster import BlockBuster, blockbuster_ctx

Backend: TypeAlias = tuple[str, dict[str, Any]]

BACKENDS: dict[str, Backend] = {
    "asyncio": ("asyncio", {"debug": True}),
    "asyncio+uvloop": ("asyncio", {"debug": True, "use_uvloop": True}),
    "trio": ("trio", {}),
}

if sys.version_info >= (3, 12):  # pragma: no branch - some runs are on 3.11, others not

    def eager_loop() -> asyncio.AbstractEventLoop:
        """Make an event loop whose tasks run at once until they first wait."""
        loop = asyncio.new_event_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        return loop

    BACKENDS["asyncio+eager"] = ("asyncio", {"debug": True, "loop_factory": eager_loop})


# --- Backends -------------------------------------------------------------------------------------


def _backend_params() -> Iterator[Any]:
    for name, backend in BACKENDS.items():
        absent = name == "asyncio+uvloop" and importlib.util.find_spec("uvloop") is None
        marks = [pytest.mark.skip(reason="there is no uvloop here")] if absent else []
        yield pytest.param(backend, id=name, marks=marks)


# Of module scope, so that fixtures of that scope can be async, and so that hypothesis sees that it
# is not the state of a single example.
@pytest.fixture(scope="module", params=list(_backend_params()))
def anyio_backend(request: pytest.FixtureRequest) -> Backend:
    """Name and options of the backend that an async test runs on."""
    backend: Backend = request.param
    return backend


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--backend`."""
    parser.addoption(
        "--backend", choices=sorted(BACKENDS), help="run the async tests on this backend only"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what runs on another backend than `--backend`; tests without a backend stay."""
    for item in items:
        _end_run_on_timeout(item)
    wanted = config.getoption("--backend")
    if wanted is not None:  # pragma: no cover - coverage is for all backends together
        others = [item for item in items if _backend_of(item) not in {None, wanted}]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if _backend_of(item) in {None, wanted}]


def _backend_of(item: pytest.Item) -> str | None:
    """Return the name of a test's backend, also of one that the test itself made."""
    params: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    value: str | Backend | None = params.get("anyio_backend")
    for name, backend in BACKENDS.items():
        if value == backend:
            return name
    return value[0] if isinstance(value, tuple) else value


@pytest.fixture(scope="session", autouse=True)
def shallow_debug_stacks() -> Iterator[None]:
    """Have asyncio's debug mode keep one line of where each task was made: ten take half of all the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asyncio.constants.DEBUG_STACK_DEPTH", 1)
        yield


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_taken() -> Iterator[None]:
    """Take SIGINT, also where the tests run in the background of a script, which ignores it: so would workers, and programs."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def count_calls() -> Callable[[], AbstractContextManager[list[int]]]:
    """Count the function calls made in a `with` block: work, on whatever machine; the count is the one item."""
    return _counting


@contextmanager
def _counting() -> Generator[list[int]]:
    calls = [0]

    def called(  # pragma: no cover - a profiler is not traced itself
        frame: FrameType, event: str, argument: object
    ) -> None:
        if event in ("call", "c_call"):
            calls[0] += 1

    sys.setprofile(called)
    try:
        yield calls
    finally:
        sys.setprofile(None)


# --- Guards ---------------------------------------------------------------------------------------


def _end_run_on_timeout(item: pytest.Item) -> None:
    """Let pytest-timeout end the whole run, with all stacks, if it strikes in an async test.

    To fail the test alone would leave its event loop with a task that never ends, and the first
    async fixture to be torn down would wait for it for ever.
    """
    if _backend_of(item) is not None:
        limit = pytest.mark.timeout(_seconds_of(item), method="thread")
        item.add_marker(limit, append=False)


def _seconds_of(item: pytest.Item) -> float:
    """Return the seconds that pytest-timeout grants a test."""
    marker = item.get_closest_marker("timeout")
    sources = [item.config.getoption("--timeout"), item.config.getini("timeout")]
    if marker is not None:
        sources = [*marker.args, marker.kwargs.get("timeout"), *sources]
    return float(next(seconds for seconds in sources if seconds is not None) or 0)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Cancel an async test before pytest-timeout strikes: then it fails, and the run goes on."""
    test, limit = pyfuncitem.obj, 0.8 * _seconds_of(pyfuncitem)
    if inspect.iscoroutinefunction(test) and limit:
        pyfuncitem.obj = _within(limit, test)
    try:
        return (yield)
    finally:
        pyfuncitem.obj = test


def _within(limit: float, test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Return the test with a limit in seconds of real time, whatever its clock says."""

    @functools.wraps(test)
    async def limited(**fixtures: Any) -> None:
        with anyio.CancelScope() as scope:

            def give_up() -> None:  # pragma: no cover - no test hangs
                places = "\n".join(map(_whereabouts, anyio.get_running_tasks()))
                sys.stderr.write(f"Where each task is:\n{places}\n")
                scope.cancel()

            token = anyio.lowlevel.current_token()
            in_loop = functools.partial(anyio.from_thread.run_sync, give_up, token=token)
            watchdog = threading.Timer(limit, in_loop)
            watchdog.start()
            try:
                await test(**fixtures)
            finally:
                watchdog.cancel()
                # Nobody else cancels it; whatever leaves the test came of that.
                if scope.cancel_called:  # pragma: no cover - no test hangs
                    raise TimeoutError(f"not done after {limit:g} s")

    return limited


def _whereabouts(task: anyio.TaskInfo) -> str:  # pragma: no cover - no test hangs
    """Return a task's name, and where it and what it awaits stand."""
    lines = [f"- {task.name}"]
    awaited: Any = task.coro
    while awaited is not None:
        kind = next(
            (kind for kind in ("cr", "gi", "ag") if hasattr(awaited, f"{kind}_frame")), None
        )
        frame = kind and getattr(awaited, f"{kind}_frame")
        if not frame:
            break
        lines.append(f"    {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}")
        awaited = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
    return "\n".join(lines)


@pytest.fixture(scope="session", autouse=True)
def frozen_heap() -> Iterator[None]:
    """Set aside what exists before the first test, and then what each test leaves: so a collection takes no time."""
    # structmode imports it with the first cron line, which may be in the event loop of a test.
    importlib.import_module("croniter")
    gc.collect()
    gc.freeze()
    # After all that was set aside, what a large test makes would be gone through again and again: it is enough to
    # collect at the end of each test.
    before = gc.get_threshold()
    gc.set_threshold(10_000, 20, 100)
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


class _Dropped(logging.Handler):
    """Keeps what asyncio says, in its log only, about tasks and futures that no one waited for."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:  # pragma: no cover - nothing is dropped
        text = record.getMessage()
        if "never retrieved" in text or "was destroyed" in text:
            self.messages.append(text)


@pytest.fixture(autouse=True)
def nothing_dropped(frozen_heap: None) -> Iterator[None]:
    """Fail the test that left a thread, or dropped a coroutine or an exception."""
    threads = set(threading.enumerate())
    dropped = _Dropped()
    logging.getLogger("asyncio").addHandler(dropped)
    yield
    gc.collect()  # pytest turns the warnings that come of it into a failure of this test
    gc.freeze()  # what is left now, pytest keeps: some thousand tests later, it would take the most of the time
    logging.getLogger("asyncio").removeHandler(dropped)
    left = [thread.name for thread in threading.enumerate() if _is_left(thread, threads)]
    assert not left, f"threads left running: {left}"
    assert not dropped.messages, "\n".join(dropped.messages)


def _is_left(thread: threading.Thread, before: set[threading.Thread]) -> bool:
    # trio and asyncio's executor keep idle threads for later use, and so does structmode its
    # watchdog; anyio's are told to end, but are not joined.
    if thread in before or thread.name.startswith(
        ("Trio thread", "asyncio_", "structmode watchdog")
    ):
        return False
    thread.join(1.0)
    return thread.is_alive()


@pytest.fixture(autouse=True)
def no_task_left(request: pytest.FixtureRequest, nothing_dropped: None) -> None:
    """Fail the async test that left a task running in its event loop."""
    test = getattr(request.node, "obj", None)
    is_async = inspect.iscoroutinefunction(test) or hasattr(test, "hypothesis")
    if is_async and "anyio_backend" in request.fixturenames:
        request.getfixturevalue("_no_task_left")


@pytest.fixture
async def _no_task_left(anyio_backend: Backend) -> AsyncIterator[None]:
    before = [task.coro for task in anyio.get_running_tasks()]
    yield
    gc.collect()  # anyio's plugin raises what asyncio then reports, as long as there is a loop
    left: list[str] = []
    for _ in range(10):  # a task that is about to end may do so
        tasks = [task for task in anyio.get_running_tasks() if task.coro not in before]
        left = [f"{task.name}: {task.coro}" for task in tasks if not _is_runner(task)]
        if not left:
            return
        await anyio.lowlevel.checkpoint()
    pytest.fail(f"tasks left running: {left}")


def _is_runner(task: anyio.TaskInfo) -> bool:
    """Tell whether a task belongs to anyio's pytest plugin."""
    return getattr(task.coro, "__qualname__", "").startswith("TestRunner.")


@pytest.fixture(scope="session", autouse=True)
def blocking_raises() -> Iterator[BlockBuster]:
    """Raise `BlockingError` where structmode, or what it runs, blocks asyncio's event loop."""
    with blockbuster_ctx("structmode") as blockbuster:
        # A lock that another thread holds for an instant is no fault: tests would fail at random.
        for name in ("threading.Lock.acquire", "threading.Lock.acquire_lock"):
            blockbuster.functions[name].deactivate()
        for function in blockbuster.functions.values():
            # The thread of a service is there for what blocks.
            function.can_block_in("structmode/_engine/_thread.py", "_serve")
        yield blockbuster


@pytest.fixture
def blocking_allowed(blocking_raises: BlockBuster) -> Iterator[None]:
    """Let a test block the event loop: for what is to be found out about blocking."""
    active = [function for function in blocking_raises.functions.values() if function.activated]
    blocking_raises.deactivate()
    yield
    for function in active:
        function.activate()
