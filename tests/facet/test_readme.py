"""What facet's readme shows, as programs of the same shape, with the import changed; on every backend."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from structmode.facet import ServiceMixin

from .here import interrupted

log: list[str] = []


@pytest.fixture(autouse=True)
def clean_log() -> None:
    """Begin with an empty log."""
    log.clear()


class B(ServiceMixin):
    def __init__(self) -> None:
        self.value = 0

    async def start(self) -> None:
        self.value += 1
        log.append("b started")

    async def stop(self) -> None:
        self.value -= 1
        log.append("b stopped")


class A(ServiceMixin):
    def __init__(self) -> None:
        self.b = B()

    @property
    def dependencies(self) -> list[B]:
        return [self.b]

    async def start(self) -> None:
        log.append("a started")

    async def stop(self) -> None:
        log.append("a stopped")


def test_run_and_interrupt(anyio_backend: tuple[str, dict[str, Any]]) -> None:
    """A program that runs a service is stopped in order by Ctrl-C, and ends with a KeyboardInterrupt."""
    with pytest.raises(KeyboardInterrupt):
        interrupted(A().run, anyio_backend, when=lambda: "a started" in log)
    assert log == ["b started", "a started", "a stopped", "b stopped"]


async def test_as_a_context_manager() -> None:
    """A service is entered, and waited for in the block."""
    with anyio.move_on_after(0.05):
        async with A() as a:
            assert a.b.value == 1
            await a.wait()
    assert a.b.value == 0
    assert log == ["b started", "a started", "a stopped", "b stopped"]


async def test_background_task() -> None:
    """A task that is added in the start begins after that, and ends by itself."""

    class Tasked(ServiceMixin):
        async def task(self) -> None:
            await anyio.sleep(0.01)
            log.append("task done")

        async def start(self) -> None:
            self.add_task(self.task())
            log.append("start done")

    with anyio.move_on_after(0.1):
        await Tasked().run()
    assert log == ["start done", "task done"]


async def test_sequence_and_parallel() -> None:
    """Two start at the same time, then a third, then the service; and stop the other way round."""

    class Named(ServiceMixin):
        def __init__(self, name: str) -> None:
            self.name = name

        async def start(self) -> None:
            log.append(f"{self.name} starts")
            await anyio.sleep(0.01)
            log.append(f"{self.name} started")

        async def stop(self) -> None:
            log.append(f"{self.name} stops")
            await anyio.sleep(0.01)
            log.append(f"{self.name} stopped")

    class Mixed(ServiceMixin):
        def __init__(self) -> None:
            self.b, self.c, self.d = map(Named, "bcd")

        @property
        def dependencies(self) -> list[Named | list[Named]]:
            return [[self.b, self.c], self.d]

    async with Mixed():
        assert log[:2] == ["b starts", "c starts"]
        assert log[4:] == ["d starts", "d started"]
        log.clear()
    assert log[:2] == ["d stops", "d stopped"]
    assert log[2:4] == ["c stops", "b stops"]


async def test_configured_by_inheritance() -> None:
    """The timeout is a property of the class."""

    class Patient(ServiceMixin):
        @property
        def graceful_shutdown_timeout(self) -> float:
            return 60

    assert A().graceful_shutdown_timeout == 10
    assert Patient().graceful_shutdown_timeout == 60
