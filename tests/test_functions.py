"""Services without classes: jobs, what is held, and scripts."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Self

import anyio
import anyio.lowlevel
import pytest

from structmode import (
    Held,
    Job,
    LifecycleError,
    OneForOneSupervisor,
    Service,
    ShutdownTimeout,
    hold,
    run,
    service,
)
from structmode.facet import ServiceMixin

log: list[str] = []
# For what a type checker would not let pass.
service_of: Any = service
hold_of: Any = hold


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    log.clear()


@service
async def add(a: int, b: int = 2) -> int:
    """Add two numbers, in no hurry."""
    await anyio.lowlevel.checkpoint()
    return a + b


@service
async def pool(size: int) -> AsyncIterator[list[int]]:
    """Hold some numbers."""
    log.append("open")
    async with anyio.create_task_group() as group:
        yield list(range(size))  # noqa: ASYNC101, ASYNC119 - service makes a context manager of it
        group.cancel_scope.cancel()
    log.append("close")


@asynccontextmanager
async def door() -> AsyncGenerator[str]:
    """Be opened and closed."""
    log.append("open")
    with anyio.CancelScope():
        yield "a door"
    log.append("close")


class Door:
    """The same as a class."""

    async def __aenter__(self) -> str:
        log.append("open")
        return "a door"

    async def __aexit__(self, *exc: object) -> None:
        log.append("close")


# --- Jobs -----------------------------------------------------------------------------------------


async def test_a_job_ends_when_its_function_returns() -> None:
    """The service stops then, and has the result."""
    async with add(1) as job:
        await job.wait_until_stopped()
        assert job.result == 3
        await job.stop()
        assert job.state == "shutdown"


async def test_nothing_is_called_before_the_start() -> None:
    """Making a service calls nothing, and there is no result yet; the error says what to wait for."""
    job = add(1, b="no number")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(LifecycleError, match=r"add has no result: it is init.*wait_until_stopped"):
        _ = job.result


async def test_a_job_that_fails_is_a_crash() -> None:
    """What leaves the function leaves the block, as it was raised."""
    boom = ValueError("boom")

    @service
    async def fails() -> None:
        raise boom

    with pytest.raises(ValueError, match="boom") as caught:
        async with fails():
            await anyio.sleep_forever()
    assert caught.value is boom


async def test_the_result_of_a_job_that_has_failed() -> None:
    """There is none, and the error says of what it has crashed, not to wait for it."""

    @service
    async def fails() -> None:
        raise ValueError("boom")

    job = fails()
    with pytest.raises(ValueError, match="boom"):
        async with job:
            await anyio.sleep_forever()
    with pytest.raises(LifecycleError, match=r"It has crashed with ValueError\('boom'\)$"):
        _ = job.result


async def test_a_job_that_is_stopped_has_no_result() -> None:
    """Also when it had one in the run before."""
    quick = True

    @service
    async def sometimes() -> str:
        if not quick:
            await anyio.sleep_forever()
        return "done"

    async with sometimes() as job:
        await job.wait_until_stopped()
        await job.stop()
        assert job.result == "done"
        quick = False
        await job.start()
    with pytest.raises(
        LifecycleError, match=r"sometimes has no result: it is shutdown.*start it again"
    ):
        _ = job.result


async def test_a_job_may_drain() -> None:
    """Told to stop, it has the time that it was given to end by itself."""

    @service(drain_timeout=60.0, name="the last word")
    async def work() -> str:
        await job.wait_until_stopped()
        await anyio.lowlevel.checkpoint()
        return "said"

    job = work()
    async with job:
        pass
    assert (job.result, job.label) == ("said", "the last word")


async def test_a_job_may_be_supervised() -> None:
    """Its function is called anew in each run, with the same arguments."""
    calls: list[int] = []

    @service
    async def flaky(number: int) -> int:
        calls.append(number)
        if len(calls) < 3:
            raise OSError("not yet")
        return number

    job = flaky(7)
    async with OneForOneSupervisor(job) as supervisor:
        with anyio.fail_after(5):
            while job.state != "shutdown":
                await anyio.sleep(0.01)
        assert supervisor.state == "running"
    assert (job.result, calls) == (7, [7, 7, 7])


class Caller:
    """Something that is called like a function."""

    def __init__(self, by: int) -> None:
        self.by = by

    async def __call__(self, number: int) -> int:
        return number * self.by

    @service
    async def method(self, number: int) -> int:
        """Be a method."""
        return number + self.by


async def test_whatever_is_called_like_an_async_function() -> None:
    """A partial, an instance and a method are as good."""
    for job in (service(Caller(3))(4), service(partial(Caller(3), 4))(), Caller(8).method(4)):
        async with job:
            await job.wait_until_stopped()
        assert job.result == 12


# --- What is held ---------------------------------------------------------------------------------


async def test_a_generator_is_held() -> None:
    """From the start to the stop, in a task of its own; again in a restart."""
    async with pool(3) as held:
        assert held.value == [0, 1, 2]
        assert log == ["open"]
        await held.restart()
        assert held.value == [0, 1, 2]
    assert log == ["open", "close"] * 2
    with pytest.raises(LifecycleError, match="pool holds nothing now: it is shutdown"):
        _ = held.value


@pytest.mark.parametrize("maker", [door, Door])
async def test_whatever_makes_a_context(maker: Any) -> None:
    """A function that is decorated already, and a class."""
    make = service_of(maker)
    async with make() as held:
        assert (held.value, log) == ("a door", ["open"])
    assert log == ["open", "close"]


async def test_a_class_whose_instances_are_called() -> None:
    """A class makes what is held, also if what it makes can be called like an async function."""

    class Pool:
        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *exc_info: object) -> None:
            log.append("close")

        async def __call__(self, query: str) -> str:
            return query

    for maker in (service(Pool), service(partial(Pool))):
        async with maker() as held:
            assert isinstance(held, Held)
            assert await held.value("select") == "select"
    assert log == ["close", "close"]


async def test_others_depend_on_what_is_held() -> None:
    """It is there before they start, and as long as they run."""

    class User(Service):
        """Uses what another service holds."""

        def __post_init__(self) -> None:
            self.pool = self.add_dependency(pool(2))

        async def on_started(self) -> None:
            log.append(f"uses {self.pool.value}")

        async def on_stop(self) -> None:
            log.append(f"used {self.pool.value}")

    async with User():
        pass
    assert log == ["open", "uses [0, 1]", "used [0, 1]", "close"]


async def test_what_fails_inside_is_a_crash() -> None:
    """Something that the context runs for itself, as a task group in it."""

    async def fail() -> None:
        raise OSError("lost the connection")

    @service
    async def connection() -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            _ = group.start_soon(fail)
            yield  # noqa: ASYNC101, ASYNC119 - service makes a context manager of it

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - a group, as anyio raises it
        async with connection():
            await anyio.sleep_forever()
    assert "lost the connection" in repr(caught.value.exceptions)  # type: ignore[attr-defined]


async def test_opened_in_one_task_and_closed_in_another() -> None:
    """A context with a cancel scope inside, which no two tasks could share."""
    held = hold(door())
    async with anyio.create_task_group() as group:
        await group.start_soon(held.start)
    assert held.value == "a door"
    async with anyio.create_task_group() as group:
        await group.start_soon(held.stop)
    assert log == ["open", "close"]


async def test_a_context_is_entered_once() -> None:
    """Then the error says how to hold one that is to be entered again."""
    held = hold(door())
    async with held:
        pass
    with pytest.raises(LifecycleError, match=r"door can't be started again.*hold\(door\)"):
        await held.start()
    again = hold(door, name="the door")
    for _ in range(2):
        async with again:
            assert again.value == "a door"
    assert again.label == "the door"


async def test_an_instance_of_a_class_is_named_by_it() -> None:
    """Whatever it is made by."""
    assert (hold(Door()).label, hold(Door).label) == ("Door", "Door")
    assert hold(contextlib.nullcontext(3)).label == "nullcontext"


async def test_leaving_takes_no_longer_than_it_may() -> None:
    """A context that does not let go is cancelled, and named."""

    @service(shutdown_timeout=0.01)
    async def sticky() -> AsyncIterator[None]:
        yield
        await anyio.sleep_forever()

    with pytest.raises(ShutdownTimeout, match="sticky"):
        async with sticky():
            pass
    with pytest.raises(ShutdownTimeout, match="door"):
        async with hold(_sticky(), name="door", shutdown_timeout=0.01):
            pass


@asynccontextmanager
async def _sticky() -> AsyncGenerator[None]:
    yield
    await anyio.sleep_forever()


async def test_a_context_that_does_not_open() -> None:
    """Its failure is that of the start, and nothing is held."""

    @service
    async def shut() -> AsyncIterator[None]:
        raise OSError("no key")
        yield

    held = shut()
    with pytest.raises(OSError, match="no key"):
        await held.start()
    assert held.state == "init"


# --- Scripts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["asyncio", "trio", "asyncio+uvloop"])
def test_run(backend: str) -> None:
    """It runs a service until that stops, on any backend; a job's result comes back."""
    if backend == "asyncio+uvloop":
        pytest.importorskip("uvloop", reason="needs uvloop, which does not exist for Windows")
    assert run(add(1), backend=backend) == 3

    class Short(Service):
        """Ends by itself."""

        @Service.task
        async def end(self) -> None:
            await self.sleep(0.01)
            await self.stop()

    short = Short()
    assert run(short, backend=backend) is None
    assert short.state == "shutdown"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_run_of_facets_face(backend: str) -> None:
    """The other face's services may be run as well, and may depend on what is held."""

    class Mixed(ServiceMixin):
        """Raises what ends it."""

        def __init__(self) -> None:
            self.pool = pool(2)

        @property
        def dependencies(self) -> list[Held[list[int]]]:
            return [self.pool]

        async def start(self) -> None:
            _ = self.add_task(self.end())

        async def end(self) -> None:
            log.append(f"uses {self.pool.value}")
            raise OSError("enough")

    with pytest.raises(OSError, match="enough"):
        run(Mixed(), backend=backend)
    assert log == ["open", "uses [0, 1]", "close"]


def test_run_passes_options() -> None:
    """As `anyio.run` takes them."""
    assert run(add(1), backend_options={"debug": True}) == 3


def test_run_raises_what_crashed_it() -> None:
    """As it was raised."""

    @service
    async def fails() -> None:
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        run(fails(), backend="trio")


@pytest.mark.parametrize(
    ("what", "arguments", "error", "text"),
    [
        (add, {}, TypeError, "run() takes a service, not <function"),
        (add(1), {"backend": "twisted"}, ValueError, "there is no backend 'twisted'"),
    ],
)
def test_run_of_something_else(
    what: Any, arguments: Any, error: type[Exception], text: str
) -> None:
    """The error names what it takes."""
    with pytest.raises(error) as caught:
        run(what, **arguments)
    assert text in str(caught.value)


async def test_run_where_a_loop_runs() -> None:
    """That is refused, as by `anyio.run`."""
    with pytest.raises(RuntimeError):
        run(add(1))


@pytest.mark.process
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.skipif(sys.platform == "win32", reason="a console's Ctrl-C is no signal to a process")
def test_ctrl_c(backend: str) -> None:
    """It is an orderly stop, and KeyboardInterrupt then."""
    program = f"""
import os, signal, threading
from structmode import run, service
@service
async def held():
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        yield
    finally:
        print("closed", flush=True)
try:
    run(held(), backend={backend!r})
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["closed", "interrupted"], done.stderr


# --- What they are called, and misuse -------------------------------------------------------------


async def test_their_log_is_that_of_the_function(caplog: pytest.LogCaptureFixture) -> None:
    """The lines are written for the module and with the name of the function."""
    caplog.set_level(logging.INFO)
    async with pool(1):
        pass
    loggers = {record.name for record in caplog.records if "pool" in record.getMessage()}
    assert loggers == {__name__}
    assert "[^pool]: Starting..." in caplog.messages


def test_they_keep_what_is_written_of_the_function() -> None:
    """Name, docstring and signature."""
    made: Any = add
    assert (made.__name__, made.__doc__) == ("add", "Add two numbers, in no hurry.")
    assert isinstance(add(1), Job)
    assert isinstance(pool(1), Held)


@contextmanager
def _sync() -> Iterator[None]:
    yield  # pragma: no cover - it is not entered


async def _nothing() -> None: ...


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: service_of(door()), "write hold(door(...))"),
        (lambda: service_of(_nothing()), "write service(function)(arguments)"),
        (lambda: service_of(3), "service() takes an async function, not 3"),
        (lambda: service_of(Service), "Service is a class of services already"),
        (lambda: service_of(add, name="a", colour="red"), "colour"),
        (lambda: hold_of(3), "hold(): 3 is no async context manager"),
        (lambda: hold_of(_sync()), "self.add_context(...)"),
        (lambda: hold_of(_nothing()), "is no async context manager"),
        (lambda: hold_of(_yields), "with @asynccontextmanager"),
        (lambda: hold_of(_yields()), "with @asynccontextmanager"),
        (lambda: hold_of(partial(_yields)), "with @asynccontextmanager"),
    ],
)
def test_misuse(make: Any, text: str) -> None:
    """The error says what was passed, and what to write."""
    with pytest.raises(TypeError) as caught:
        make()
    assert text in str(caught.value)


async def _yields() -> AsyncIterator[None]:  # pragma: no cover - it is not run
    yield


def _generates() -> Iterator[None]:  # pragma: no cover - it is not run
    yield


@pytest.mark.parametrize(
    ("maker", "text"),
    [
        (_sync, "_sync: <contextlib._GeneratorContextManager"),
        (_generates, "a generator function must be async"),
        (lambda: 3, "<lambda>: 3 is no async context manager"),
        (lambda: _nothing(), "is no async context manager"),
    ],
)
async def test_what_makes_no_context(maker: Any, text: str) -> None:
    """That is known when it starts, and the start raises it."""
    for held in (hold(maker), service_of(maker)()):
        with pytest.raises(TypeError) as caught:
            await held.start()
        assert text in str(caught.value)


async def test_settings_are_checked() -> None:
    """A time that is none is refused when the service is made."""
    with pytest.raises((TypeError, ValueError), match="door: shutdown_timeout: "):
        hold(door, shutdown_timeout="soon")
