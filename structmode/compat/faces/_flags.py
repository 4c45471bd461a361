"""The events that a service of mode's is made of, as views of what the engine knows.

mode keeps the state of a service in four events, and code that reaches into one sets, clears and awaits them. The engine
keeps that state itself, and never resets it: a run is over, and another takes its place. So these are no events of their
own. Each asks the engine, and says to it what setting it would have meant.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from structmode import _engine as engine

if TYPE_CHECKING:
    from ._members import ModeMembers

__all__ = ("CrashedFlag", "ServiceFlag", "ShutdownFlag", "StartedFlag", "StoppedFlag")


class ServiceFlag(ABC):
    """One of the four: what they have in common.

    Args:
        service: Whose state it shows.
    """

    name = ""

    def __init__(self, service: ModeMembers) -> None:
        self._service = service

    @abstractmethod
    def is_set(self) -> bool:
        """Whether it is so."""

    @abstractmethod
    def set(self) -> None:
        """Have it be so from now on."""

    @abstractmethod
    def clear(self) -> None:
        """Have it be so no more."""

    async def wait(self) -> bool:
        """Wait until it is so; returns True, as asyncio's events do."""
        await anyio.lowlevel.checkpoint()
        while not self.is_set():
            await self._change()
        return True

    @abstractmethod
    async def _change(self) -> None:
        """Wait until it may have changed."""

    @property
    def loop(self) -> Any:
        """The event loop of the service."""
        return self._service.loop

    def __repr__(self) -> str:
        state = "set" if self.is_set() else "unset"
        return f"<{self.name} of {self._service.shortlabel}: {state}>"


class StartedFlag(ServiceFlag):
    """Set from the first step of a start until the service is reset, whatever becomes of the start."""

    name = "_started"

    def is_set(self) -> bool:
        return self._service._has_been_started or self._service._outer.alive

    def set(self) -> None:
        self._service._has_been_started = True

    def clear(self) -> None:
        self._service._has_been_started = False

    async def _change(self) -> None:
        run = self._service._outer.current
        await (run.settled.wait() if run.state.alive else anyio.sleep(_LOOK_EVERY))


class StoppedFlag(ServiceFlag):
    """Set when the service has been told to stop; setting it tells its tasks so, and stops nothing."""

    name = "_stopped"

    def is_set(self) -> bool:
        run = self._service._outer.current
        if run.stop_requested or run.state is engine.State.STOPPED:
            return True
        return self._service.should_stop and not self._service.crashed

    def set(self) -> None:
        self._service._life.current.signal.set()

    def clear(self) -> None:
        for life in {self._service._outer, self._service._life}:
            if life.current.signal.is_set():  # or who waits for it would never be told
                life.current.signal = engine.StopSignal()

    async def _change(self) -> None:
        signal = self._service._life.signal
        await (anyio.sleep(_LOOK_EVERY) if signal.is_set() else signal.wait())


class CrashedFlag(ServiceFlag):
    """Set when a crash has reached the service."""

    name = "_crashed"

    def is_set(self) -> bool:
        return self._service.crashed

    def set(self) -> None:
        if not self.is_set():
            self._service._mark_crashed(RuntimeError("marked as crashed, without a reason"))

    def clear(self) -> None:
        self._service._forget_crash()

    async def _change(self) -> None:
        signal = self._service._life.signal
        await (anyio.sleep(_LOOK_EVERY) if signal.is_set() else signal.wait())


class ShutdownFlag(ServiceFlag):
    """Set when a stop may be completed: see `Service.set_shutdown`."""

    name = "_shutdown"

    def is_set(self) -> bool:
        return self._service._life.current.permission.is_set()

    def set(self) -> None:
        self._service.set_shutdown()

    def clear(self) -> None:
        run = self._service._life.current
        if run.permission.is_set():  # or who waits for it would never be told
            run.permission = engine.Flag()

    async def _change(self) -> None:
        with anyio.move_on_after(_LOOK_EVERY):  # the next run has another one
            await self._service._life.current.permission.wait()


# Where nothing tells of a change, because mode's users set flags by hand. In seconds.
_LOOK_EVERY = 0.05
