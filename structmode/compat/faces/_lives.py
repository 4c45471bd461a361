"""What the owner of a service of mode's holds of it: a life that is begun by the service's own methods.

In mode whoever owns a service calls its `maybe_start`, which calls its `start`; so what a class does there is done for a
child as well. The engine starts children without asking them. Here they are asked, if a class overrides either method,
and what they pass on to the engine is again the start that their owner meant.
"""

from __future__ import annotations

from typing import Any

from structmode import _engine as engine
from structmode._unit import service_of
from structmode.threads._units import OutsideLife

__all__ = ("ModeLife", "ModeOutsideLife", "is_overridden")


def is_overridden(service: object, name: str) -> bool:
    """Whether the class of a service has a method of its own in the place of mode's."""
    return not hasattr(getattr(type(service), name), "of_mode")


class _StartedByItsService(engine.Life):
    # The run that is starting it, until the service has passed that on.
    _starter: engine.Run | None = None

    async def start_under(self, parent: engine.Run) -> None:
        if self.alive or not self._has_own_start:
            await super().start_under(parent)
            return
        self._starter = parent
        self._service._has_been_started = False  # an owner starts it again without a reset
        try:
            await self._service.maybe_start()
        finally:
            self._starter = None

    async def start_as_child(self) -> None:
        if self.alive or not self._has_own_start:
            await super().start_as_child()
        else:
            await self._service.maybe_start()

    async def start(self, *, restarting: bool = False) -> None:
        starter, self._starter = self._starter, None
        if starter is None:
            await super().start(restarting=restarting)
        else:
            await super().start_under(starter)

    @property
    def _service(self) -> Any:
        return service_of(self.unit)

    @property
    def _has_own_start(self) -> bool:
        return is_overridden(self._service, "start") or is_overridden(self._service, "maybe_start")


class ModeLife(_StartedByItsService):
    """That of a service."""


class ModeOutsideLife(_StartedByItsService, OutsideLife):
    """That of a service in a thread of its own, as its owner has it."""
