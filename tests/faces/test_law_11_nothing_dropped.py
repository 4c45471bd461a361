"""Law 11, nothing is dropped silently: neither coroutines, nor services that were never stopped, nor failures."""

from __future__ import annotations

import gc
import inspect
import logging
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from structmode import Service

Backend = tuple[str, dict[str, Any]]


class Plain(Service):
    """Does nothing by itself."""


async def work() -> None:
    """Be a coroutine."""
    await anyio.lowlevel.checkpoint()


# --- Coroutines -----------------------------------------------------------------------------------


async def added_to_a_stopping_service(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Add it in on_stop."""

    class Late(Service):
        async def on_stop(self) -> None:
            self.add_future(coroutine)

    async with Late():
        pass


async def added_before_a_start_that_fails(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Add it before a start that fails at once."""

    class Bad(Service):
        async def on_first_start(self) -> None:
            raise OSError("no")

    service = Bad()
    service.add_future(coroutine)
    with pytest.raises(OSError, match="no"):
        await service.start()


async def added_before_a_start_that_is_cancelled(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Add it before a start that is cancelled."""

    class Slow(Service):
        async def on_start(self) -> None:
            await anyio.sleep_forever()

    service = Slow()
    service.add_future(coroutine)
    with anyio.move_on_after(0.01):
        await service.start()


async def added_behind_a_task_that_fails(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Add it, where it is to begin after a task that crashes the start."""

    class Bad(Service):
        @Service.task
        async def fail(self) -> None:
            raise OSError("no")

    service = Bad()
    service.add_future(coroutine)
    with pytest.raises(OSError, match="no"):
        await service.start()


async def cancelled_before_it_began(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Cancel its handle at once."""
    async with Plain() as service:
        service.add_future(coroutine).cancel()


async def waited_for_after_the_stop(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Wait for it with a service that has stopped."""
    service = Plain()
    async with service:
        pass
    await service.wait(coroutine)


async def waited_for_with_something_wrong(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Wait for it together with what can't be waited for."""
    wrong: Any = 42
    with pytest.raises(TypeError):
        await Plain().wait(coroutine, wrong)


async def waited_for_in_a_cancelled_scope(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Wait for it in a scope that is cancelled already, among others."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        await Plain().wait(coroutine, work(), work())


async def waited_for_with_no_time(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Wait for it, with a timeout that has passed."""
    await Plain().wait_first(coroutine, work(), timeout=-1)


WAYS = [
    added_to_a_stopping_service,
    added_before_a_start_that_fails,
    added_before_a_start_that_is_cancelled,
    added_behind_a_task_that_fails,
    cancelled_before_it_began,
    waited_for_after_the_stop,
    waited_for_with_something_wrong,
    waited_for_in_a_cancelled_scope,
    waited_for_with_no_time,
]


@pytest.mark.parametrize("way", WAYS)
async def test_coroutines_that_do_not_run_are_closed(
    way: Callable[[Any], Awaitable[None]],
) -> None:
    """A coroutine that was handed over and did not run is closed, or has run to its end: it is never just dropped."""
    coroutine = work()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await way(coroutine)
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
        del coroutine
        gc.collect()


def test_a_callable_of_a_service_that_never_starts() -> None:
    """An async callable that was added to a service that is never started leaves no coroutine behind."""
    service = Plain()
    service.add_future(work)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del service
        gc.collect()


# --- The end of the event loop --------------------------------------------------------------------


class Forgotten(Service):
    """Notes how it ends."""

    def __init__(self, name: str, journal: list[str]) -> None:
        self.name = name
        self.journal = journal
        super().__init__()

    @property
    def label(self) -> str:
        return self.name

    @asynccontextmanager
    async def context(self) -> AsyncIterator[None]:
        """Note that it is left."""
        try:
            yield
        finally:
            self.journal.append(f"{self.name} context")

    async def on_start(self) -> None:
        await self.add_async_context(self.context())

    async def on_stop(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.journal.append(f"{self.name} on_stop")

    async def on_shutdown(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.journal.append(f"{self.name} on_shutdown")


def run(main: Callable[[], Awaitable[Any]], backend: Backend) -> Any:
    """Run an event loop from beginning to end."""

    async def begin() -> Any:
        return await main()

    return anyio.run(begin, backend=backend[0], backend_options=backend[1])


def test_a_forgotten_service_is_stopped_with_a_warning(anyio_backend: Backend) -> None:
    """A service that was started bare and never stopped is stopped when the loop ends, in order, with a ResourceWarning."""
    journal: list[str] = []
    service, child = Forgotten("top", journal), Forgotten("child", journal)
    service.add_dependency(child)

    async def main() -> None:
        await service.start()

    with pytest.warns(ResourceWarning, match="top was started and never stopped") as caught:
        run(main, anyio_backend)
    assert len(caught) == 1
    hooks = [line for line in journal if "context" not in line]
    assert hooks == ["top on_stop", "child on_stop", "child on_shutdown", "top on_shutdown"]
    assert "top context" in journal
    assert (service.state, child.state) == ("shutdown", "shutdown")


def test_each_forgotten_service_is_told(anyio_backend: Backend) -> None:
    """Several forgotten services are all stopped, and each is warned of."""
    journal: list[str] = []
    services = [Forgotten(name, journal) for name in "abc"]

    async def main() -> None:
        for service in services:
            await service.start()

    with pytest.warns(ResourceWarning) as caught:
        run(main, anyio_backend)
    assert sorted(str(warning.message)[0] for warning in caught) == ["a", "b", "c"]
    assert [service.state for service in services] == ["shutdown"] * 3


def test_a_forgotten_service_may_be_started_again(anyio_backend: Backend) -> None:
    """After that the service can be started on the next loop."""
    service = Forgotten("top", [])

    async def forget() -> None:
        await service.start()

    async def again() -> str:
        async with service:
            return service.state

    with pytest.warns(ResourceWarning, match="top was started"):
        run(forget, anyio_backend)
    assert run(again, anyio_backend) == "running"


def test_a_forgotten_service_when_the_program_fails(anyio_backend: Backend) -> None:
    """If main() fails, forgotten services are stopped all the same, and main's error leaves."""
    service = Forgotten("top", [])

    async def main() -> None:
        await service.start()
        raise EOFError("main")

    with pytest.warns(ResourceWarning, match="top was started"):
        with pytest.raises(EOFError, match="main"):
            run(main, anyio_backend)
    assert service.state == "shutdown"


def test_a_service_that_was_stopped_gives_no_warning(anyio_backend: Backend) -> None:
    """A service that was stopped, or is being stopped as the loop ends, was not forgotten."""
    stopped, stopping = Forgotten("stopped", []), Forgotten("stopping", [])

    async def main() -> None:
        await stopped.start()
        await stopped.stop()
        await stopping.start()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await stopping.stop()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(stopping.stop)
                await stopping.wait_until_stopped()
                scope.cancel()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(main, anyio_backend)
    assert (stopped.state, stopping.state) == ("shutdown", "shutdown")


def test_a_crashed_service_gives_no_warning(
    anyio_backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    """A bare service that has crashed was logged, and is not warned of as forgotten."""
    service = Forgotten("top", [])
    boom = EOFError("boom")

    async def main() -> None:
        await service.start()
        await service.crash(boom)
        await service.wait_until_stopped()
        while service.started:
            await anyio.lowlevel.checkpoint()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(main, anyio_backend)
    logged = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert logged == [boom]


def test_a_warning_that_is_an_error_is_logged(
    anyio_backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    """Where warnings are errors, the one about a forgotten service is logged: nobody could catch it."""
    service = Forgotten("top", [])

    async def main() -> None:
        await service.start()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(main, anyio_backend)
    assert service.state == "shutdown"
    logged = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert [type(exc) for exc in logged] == [ResourceWarning]


def test_a_forgotten_service_that_hangs(anyio_backend: Backend) -> None:
    """A forgotten service that hangs in its stop does not hold up the end of the loop for longer than its limit."""

    class Sticky(Forgotten):
        shutdown_timeout = 0.05

        async def on_stop(self) -> None:
            await anyio.sleep_forever()

    service = Sticky("top", [])

    async def main() -> None:
        await service.start()

    with pytest.warns(ResourceWarning, match="top was started"):
        run(main, anyio_backend)
    assert service.state == "shutdown"
    assert service.failures


# --- Failures -------------------------------------------------------------------------------------


def errors(caplog: pytest.LogCaptureFixture) -> list[BaseException | None]:
    """Return the exceptions that were logged with their tracebacks."""
    return [
        record.exc_info[1]
        for record in caplog.records
        if record.levelno >= logging.ERROR and record.exc_info
    ]


async def test_a_stop_error_that_nobody_waits_for_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What goes wrong in the stop of a bare service, with nobody waiting for it, is logged with its traceback."""
    boom = OSError("disk full")

    class Bad(Service):
        @Service.task
        async def quit(self) -> None:
            await up.wait()
            await self.stop()

        async def on_stop(self) -> None:
            raise boom

    up = anyio.Event()
    service = Bad()
    await service.start()
    up.set()
    while service.started:
        await anyio.lowlevel.checkpoint()
    assert boom in errors(caplog)


async def test_a_restart_error_that_nobody_waits_for_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What goes wrong in the restart of a bare service, asked for by itself, is logged with its traceback."""
    boom = OSError("port in use")

    class Bad(Service):
        @Service.task
        async def again(self) -> None:
            await up.wait()
            await self.restart()

        async def on_restart(self) -> None:
            raise boom

    up = anyio.Event()
    service = Bad()
    await service.start()
    up.set()
    while service.started:
        await anyio.lowlevel.checkpoint()
    await anyio.wait_all_tasks_blocked()
    assert boom in errors(caplog)


async def test_a_failure_of_a_future_that_nobody_awaits() -> None:
    """A failed future is a crash whether or not anybody looks at its handle."""
    with pytest.raises(OSError, match="disk full"):
        async with Plain() as service:

            async def fail() -> None:
                raise OSError("disk full")

            service.add_future(fail)
            await anyio.sleep_forever()


async def test_errors_of_what_a_wait_gave_up_are_not_lost() -> None:
    """What a loser of a race raises while it is cancelled leaves the wait."""

    async def bad_loser() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise OSError("while closing")

    with pytest.raises(OSError, match="while closing"):
        await Plain().wait_first(bad_loser(), work())


async def test_a_handle_whose_awaiter_is_gone() -> None:
    """A result or failure that nobody fetches causes no warning, on any loop."""
    async with Plain() as service:
        service.add_future(work)
        service.add_future(anyio.sleep_forever).cancel()
        await anyio.wait_all_tasks_blocked()
    gc.collect()
