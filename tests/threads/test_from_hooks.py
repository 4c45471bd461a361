"""What hooks in the thread ask for, and what fails there in a stop: the owner's side must come to the same as any service's."""

from __future__ import annotations

from typing import Any, Literal

import anyio
import pytest

from structmode import Service, StartAborted
from structmode.supervisors import ForfeitOneForOneSupervisor

from .things import Noting, until

Verb = Literal["restart", "stop"]


class Asking(Noting):
    """Asks for a restart, or a stop, of itself in one hook of its first run.

    Args:
        where: The hook.
        verb: What it asks for.
        fails: Whether its first start fails.
    """

    def __init__(self, where: str, verb: Verb, *, fails: bool = False, **kwargs: Any) -> None:
        self.where = where
        self.verb: Verb = verb
        self.fails = fails
        super().__init__(**kwargs)

    async def ask(self, where: str) -> None:
        if where != self.where:
            return
        self.where = ""
        await (self.restart() if self.verb == "restart" else self.stop())
        expected = "restarting" if self.verb == "restart" else "stopping"
        await until(lambda: self.state == expected)  # the hook goes on: it is not cut short
        await anyio.sleep(0.01)
        self.note("has asked")

    async def on_start(self) -> None:
        await super().on_start()
        await self.ask("on_start")

    async def on_started(self) -> None:
        await super().on_started()
        if self.fails:
            self.fails = False
            raise ValueError("not at first")
        await self.ask("on_started")

    async def on_stop(self) -> None:
        await super().on_stop()
        await self.ask("on_stop")


@pytest.mark.parametrize("where", ["on_start", "on_started", "on_stop"])
async def test_a_hook_asks_for_a_restart(inside: str, where: str) -> None:
    """The hook goes on, and another run comes when this one has ended: in a start, and in a stop as well."""
    service = Asking(where, "restart", backend=inside)
    async with Service() as owner:
        owner.add_dependency(service)
        await service.start()  # if it is called off by a restart, the other run is waited for
        if where == "on_stop":
            await service.stop()
        await until(lambda: service.restart_count == 1 and service.state == "running")
        assert service.calls.count("has asked") == 1


async def test_a_restart_while_a_start_is_undone(inside: str) -> None:
    """The start fails with its reason, and the other run comes."""
    service = Asking("on_stop", "restart", fails=True, backend=inside)
    async with Service() as owner:
        owner.add_dependency(service)
        with pytest.raises(ValueError, match="not at first"):
            await service.start()
        await until(lambda: service.state == "running")
        assert service.restart_count == 1


async def test_a_stop_while_a_start_is_undone(inside: str) -> None:
    """That changes nothing: the start fails with its reason, and the state tells meanwhile that it is being undone."""
    service = Asking("on_stop", "stop", fails=True, backend=inside)
    async with Service() as owner:
        owner.add_dependency(service)
        with pytest.raises(ValueError, match="not at first"):
            await service.start()
        assert "has asked" in service.calls
        assert owner.state == "running"


class Deaf(Noting):
    """Does not listen when its start is called off."""

    async def on_started(self) -> None:
        with anyio.CancelScope(shield=True):
            await super().on_started()
            await until(lambda: self.should_stop)


async def test_a_start_that_is_called_off_and_completed(inside: str) -> None:
    """It is not as if never started: all that has come up has been stopped."""
    service = Deaf(backend=inside)
    async with Service() as owner, anyio.create_task_group() as group:
        owner.add_dependency(service)

        async def start() -> None:
            with pytest.raises(StartAborted):
                await service.start()

        _ = group.start_soon(start)
        await until(lambda: "on_started" in service.calls)
        await service.stop()
        assert service.state == "shutdown"
        assert service.calls.count("on_shutdown") == 1


async def test_failures_in_a_stop(inside: str) -> None:
    """The first one leaves, also if a crash from outside comes later; the owner keeps them all."""
    first, later, last = ValueError("first"), ValueError("later"), ValueError("last")

    class Failing(Noting):
        async def on_stop(self) -> None:
            await super().on_stop()
            raise first

        async def on_shutdown(self) -> None:
            await super().on_shutdown()
            await until(lambda: self.crashed_by_hand)
            raise last

        crashed_by_hand = False

    service = Failing(backend=inside)
    supervisor = ForfeitOneForOneSupervisor(service)
    async with Service() as owner:
        owner.add_dependency(supervisor)
        await supervisor.start()
        async with anyio.create_task_group() as group:

            async def crash() -> None:
                await until(lambda: "on_shutdown" in service.calls)
                await service.crash(later)
                await until(lambda: later in service.failures)
                service.crashed_by_hand = True

            _ = group.start_soon(crash)
            with pytest.raises(ValueError, match="first") as caught:
                await supervisor.stop()
    assert caught.value is first
    assert service.failures == (first, later, last)
    assert supervisor.failures == (first, later, last)


async def test_a_crash_above_while_it_stops(inside: str) -> None:
    """Those in the thread that have not stopped yet have crashed with the others."""
    child = Service()

    class Slow(Noting):
        async def on_stop(self) -> None:
            await super().on_stop()
            await until(lambda: child.crash_reason is not None)

    error = ValueError("above")
    service = Slow(backend=inside)
    service.add_dependency(child)
    with pytest.raises(ValueError, match="above"):
        async with Service() as owner:
            await owner.add_runtime_dependency(service)
            async with anyio.create_task_group() as group:
                _ = group.start_soon(service.stop)
                await until(lambda: "on_stop" in service.calls)
                await owner.crash(error)
    assert child.crash_reason is error
    assert service.failures == ()
