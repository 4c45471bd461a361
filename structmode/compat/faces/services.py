"""`mode.services`, with what programs reach for beyond its manual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from structmode._claims import claim, name_of
from structmode._declare import Body, CrontabTask, TimerTask
from structmode._engine import WaitArg, check_awaitable
from structmode.services import _AwaitableService as _PublicAwaitable

from ._members import ModeMembers
from ._tasks import ModeTask as ServiceTask

__all__ = ("Service", "ServiceTask", "WaitArgT", "crontab", "task", "timer")

#: What can be waited for, under the name that mode's users import for typing.
WaitArgT = WaitArg[Any]


class Service(ModeMembers):
    """A service as mode has it, on structmode's engine."""

    @classmethod
    def from_awaitable(cls, coro: Any, *, name: str | None = None, **kwargs: Any) -> Any:
        """Make a service whose work is `coro`."""
        check_awaitable(coro)
        claim(coro)
        return _AwaitableService(coro, name or name_of(coro), **kwargs)


class _AwaitableService(Service, _PublicAwaitable):
    """What `from_awaitable` makes."""

    def __init__(self, coro: Any, name: str, **kwargs: Any) -> None:
        self.coro = coro
        self.name = name
        self._take(coro, name)
        super().__init__(**kwargs)


def task(fun: Any = None) -> Any:
    """Declare a method to be run in the background; see `Service.task`."""
    return Service.task(fun)


def timer(*args: Any, **kwargs: Any) -> Callable[[Body[Any]], TimerTask]:
    """Declare a method to be run every so many seconds; see `Service.timer`."""
    return Service.timer(*args, **kwargs)


def crontab(*args: Any, **kwargs: Any) -> Callable[[Body[Any]], CrontabTask]:
    """Declare a method to be run at the times of a cron line; see `Service.crontab`."""
    return Service.crontab(*args, **kwargs)


ServiceTask.__module__ = __name__
ServiceTask.__name__ = ServiceTask.__qualname__ = "ServiceTask"
