"""`mode.supervisors`, with what programs reach for beyond its manual."""

from __future__ import annotations

from typing import Any

from structmode import supervisors as public
from structmode._supervision import SupervisorUnit

from ._members import ModeMembers, ModeUnit

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


class SupervisorStrategy(ModeMembers, public.SupervisorStrategy):
    """The base of all strategies."""

    abstract = False

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
