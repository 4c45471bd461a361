"""`mode.supervisors`, with what programs reach for beyond its manual."""

from __future__ import annotations

from typing import Any

from structmode import supervisors as public
from structmode._supervision import SupervisorUnit

from ._members import ModeUnit
from .services import Service

__all__ = (
    "CrashingSupervisor",
    "ForfeitOneForAllSupervisor",
    "ForfeitOneForOneSupervisor",
    "OneForAllSupervisor",
    "OneForOneSupervisor",
    "SupervisorStrategy",
)


class _ModeSupervisorUnit(ModeUnit, SupervisorUnit):
    async def renew(self) -> None:
        await SupervisorUnit.renew(self)

    def work(self) -> list[Any]:
        return SupervisorUnit.work(self)


class SupervisorStrategy(Service, public.SupervisorStrategy):
    """The base of all strategies."""

    def __init__(self, *services: Any, **kwargs: Any) -> None:
        self._take(*services)
        super().__init__(**kwargs)

    def _make_unit(self) -> SupervisorUnit:
        return _ModeSupervisorUnit(self, deals_with_failures=self._deals_with_failures)


class OneForOneSupervisor(SupervisorStrategy, public.OneForOneSupervisor):
    """Restarts each service that fails."""


class OneForAllSupervisor(SupervisorStrategy, public.OneForAllSupervisor):
    """Restarts all when one fails."""


class ForfeitOneForOneSupervisor(SupervisorStrategy, public.ForfeitOneForOneSupervisor):
    """Gives up on each service that fails."""


class ForfeitOneForAllSupervisor(SupervisorStrategy, public.ForfeitOneForAllSupervisor):
    """Gives up on all when one fails."""


class CrashingSupervisor(SupervisorStrategy, public.CrashingSupervisor):
    """Crashes when a service does."""
