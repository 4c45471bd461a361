"""Hooks that nobody has written are not called, and those that somebody has are, wherever they come from."""

from __future__ import annotations

from typing import Any

import pytest

from structmode import OneForOneSupervisor, Service
from structmode._unit import ServiceUnit
from structmode.threads import ServiceThread

HOOKS = ("on_first_start", "on_start", "on_started", "on_stop", "on_shutdown")


class Mixin:
    """What brings a hook along, and is no service."""

    called: list[str]

    async def on_start(self) -> None:
        self.called.append("on_start")


class OfMixin(Mixin, Service):
    """A service that has its hook of a mixin."""


class Passing(Service):
    """A service whose hooks do nothing but call those above."""

    called: list[str]

    async def on_stop(self) -> None:
        self.called.append("on_stop")
        await super().on_stop()


@pytest.mark.parametrize("kind", [Service, OneForOneSupervisor])
async def test_none_is_written(kind: type[Service], monkeypatch: pytest.MonkeyPatch) -> None:
    """Then no call of a hook is made."""
    called: list[str] = []
    hook = ServiceUnit._hook

    async def noting(unit: ServiceUnit, name: str) -> None:
        called.append(name)
        await hook(unit, name)

    monkeypatch.setattr(ServiceUnit, "_hook", noting)
    async with kind():
        pass
    assert called == []


async def test_in_a_thread() -> None:
    """There, too, a service without hooks of its own starts and stops."""
    async with ServiceThread() as service:
        assert service.state == "running"
    assert service.state == "shutdown"


@pytest.mark.parametrize(("kind", "expected"), [(OfMixin, "on_start"), (Passing, "on_stop")])
async def test_of_another_class(kind: Any, expected: str) -> None:
    """It is called, be it of a mixin or of a class that leaves the rest to its base."""
    service = kind()
    service.called = []
    async with service:
        pass
    assert service.called == [expected]


@pytest.mark.parametrize("name", HOOKS)
async def test_of_the_object_alone(name: str) -> None:
    """A hook that is set on a service is called, though its class has none."""
    called: list[str] = []

    async def hook() -> None:
        called.append(name)

    service = Service()
    setattr(service, name, hook)
    async with service:
        pass
    assert called == [name]


@pytest.mark.parametrize("line", ["Stopping...", "-Stopped!", "-Shutdown complete!"])
async def test_log_that_fails_where_there_is_no_hook(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stop goes on, in order, and raises what the log has raised."""
    child, told = Service(), list[str]()

    class Parent(Service):
        @Service.task
        async def work(self) -> None:
            await self.sleep(3600)

    parent = Parent()
    parent.add_dependency(child)
    log = parent.log.log

    def failing(severity: Any, message: str, *args: Any, **kwargs: Any) -> None:
        log(severity, message, *args, **kwargs)
        if message == line:
            told.append(message)
            raise OSError("disk full")

    monkeypatch.setattr(parent.log, "log", failing)
    await parent.start()
    with pytest.raises(OSError, match="disk full"):
        await parent.stop()
    assert told == [line]
    assert (parent.state, child.state) == ("shutdown", "shutdown")
