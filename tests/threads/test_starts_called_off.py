"""A start that a hook in the thread calls off, or wants done again: what fails after that is what went wrong in it."""

from __future__ import annotations

from typing import Literal

import anyio
import pytest

from structmode import Service, ServiceThread
from structmode.exceptions import ShutdownTimeout, StartAborted
from structmode.testing import VirtualClock, virtual_backend

from .things import Noting, threads_of, until


class Leaving(Noting):
    """Calls off its own start."""

    async def on_start(self) -> None:
        await super().on_start()
        await self.stop()


class Again(Noting):
    """Has its own start done again, and fails in a hook after that: once."""

    def __init__(self, error: BaseException, fails_in: str, *, backend: str) -> None:
        super().__init__(backend=backend)
        self._error = error
        self._fails_in = fails_in
        self.fails = True

    async def on_start(self) -> None:
        await super().on_start()
        if self.fails:
            await self.restart()
        self._perhaps_fail("on_start")

    async def on_stop(self) -> None:
        await super().on_stop()
        self._perhaps_fail("on_stop")

    async def on_shutdown(self) -> None:
        await super().on_shutdown()
        self._perhaps_fail("on_shutdown")

    def _perhaps_fail(self, hook: str) -> None:
        if self.fails and hook == self._fails_in:
            raise self._error


async def test_called_off(inside: str) -> None:
    """start() says that it was called off; the service has not failed, nor crashed, and may be started again."""
    service = Leaving(backend=inside)
    for _ in range(2):
        with pytest.raises(StartAborted, match="Leaving was stopped before it had started"):
            await service.start()
        assert list(service.failures) == []
        assert service.crash_reason is None
        assert service.state == "init"
    assert service.calls.count("on_start") == 2
    assert not threads_of(service)


@pytest.mark.parametrize("fails_in", ["on_start", "on_stop", "on_shutdown"])
async def test_wanted_again_and_failed(inside: str, fails_in: str) -> None:
    """There is no second start; what failed is kept, and leaves start() if it was the start; it may be started again."""
    error = OSError("bad end")
    service = Again(error, fails_in, backend=inside)
    with pytest.raises((OSError, StartAborted)) as caught:
        await service.start()
    assert (caught.value is error) == (fails_in == "on_start")
    assert list(service.failures) == [error]
    assert service.crash_reason is None
    assert service.state == "init"
    assert service.calls.count("on_start") == 1
    assert not threads_of(service)
    service.fails = False
    async with service:
        assert service.state == "running"
        assert list(service.failures) == []


class Undone(Noting):
    """Is called off while it starts, and fails while that is undone."""

    def __init__(self, error: BaseException, *, by_itself: bool, backend: str) -> None:
        super().__init__(backend=backend)
        self._error = error
        self._by_itself = by_itself

    async def on_start(self) -> None:
        await super().on_start()
        if self._by_itself:
            await self.stop()

    async def on_started(self) -> None:
        await super().on_started()
        await anyio.sleep_forever()

    async def on_stop(self) -> None:
        raise self._error


async def test_what_fails_while_a_start_is_undone(inside: str) -> None:
    """Who starts it learns that it was called off, and who has called it off, what went wrong; it has not crashed."""
    error = OSError("bad end")
    service = Undone(error, by_itself=False, backend=inside)

    async def start() -> None:
        with pytest.raises(StartAborted):
            await service.start()

    async with anyio.create_task_group() as group:
        _ = group.start_soon(start)
        await until(lambda: "on_started" in service.calls)
        with pytest.raises(OSError, match="bad end") as caught:
            await service.stop()
    assert caught.value is error
    assert service.failures == (error,)
    assert (service.state, service.crashed) == ("init", False)
    assert not threads_of(service)


async def test_what_fails_while_its_own_undoing_is_left_to_its_block(
    inside: str, caplog: pytest.LogCaptureFixture
) -> None:
    """If it calls off its own start, the block around it raises what went wrong, and it is told once."""
    error = OSError("bad end")
    service = Undone(error, by_itself=True, backend=inside)
    with pytest.raises(OSError, match="bad end") as caught:
        async with service:
            raise AssertionError("not started")
    assert caught.value is error
    assert service.failures == (error,)
    assert (service.state, service.crashed) == ("init", False)
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert told == ["[^Undone]: Failed while stopping, in on_stop: OSError('bad end')"]


class Holding(Service):
    """Has its stop wait for a permission that never comes."""

    wait_for_shutdown = True


class Hanging(ServiceThread):
    """Never comes up."""

    async def on_started(self) -> None:
        await anyio.sleep_forever()


def hanging_below_another(backend: str) -> tuple[Service, Hanging]:
    """Return a service whose child never comes up, in a thread, where it is not undone by itself either."""
    parent, thread = Service(), Hanging(backend=backend)
    parent.add_dependency(thread)
    thread.add_dependency(Holding())
    return parent, thread


async def start_in_vain(service: Service) -> None:
    """Start what is stopped before it has come up."""
    with pytest.raises(StartAborted):
        await service.start()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_undoing_of_a_start_ends_with_the_time_of_those_above(
    backend: Literal["asyncio", "trio"],
) -> None:
    """A start in a thread has failed, and is being undone there; the parent's stop, which came later, still is bounded."""

    async def main() -> None:
        parent, thread = hanging_below_another(backend)
        parent.shutdown_timeout = 2.0
        with VirtualClock():
            async with anyio.create_task_group() as group:
                group.start_soon(start_in_vain, parent)
                await anyio.sleep(1.0)
                await thread.crash(OSError("bad start"))
                await anyio.sleep(1.0)
                began = anyio.current_time()
                with pytest.raises(ShutdownTimeout):
                    await parent.stop()
                assert anyio.current_time() - began == pytest.approx(2.0)
                assert not threads_of(thread)

    anyio.run(main, **virtual_backend(backend))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_undoing_of_a_start_that_is_cancelled_hard_at_once(
    backend: Literal["asyncio", "trio"],
) -> None:
    """The hard cancel comes before the undoing in the thread has begun: then that does not take the time it might have."""

    async def main() -> None:
        parent, thread = hanging_below_another(backend)
        with VirtualClock():
            async with anyio.create_task_group() as group:
                group.start_soon(start_in_vain, parent)
                await anyio.sleep(1.0)
                began = anyio.current_time()
                parent._life.kill()  # as a worker does when it is told to end a second time
                await parent.wait_until_stopped()
            assert anyio.current_time() - began == pytest.approx(0.0)
            assert not threads_of(thread)

    anyio.run(main, **virtual_backend(backend))
