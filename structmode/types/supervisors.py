"""The abstract type of supervisors."""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from structmode.types.services import ServiceT
from structmode.utils.times import Seconds

__all__ = ("ReplacementT", "SupervisorStrategyT")

#: Makes the service that takes the place of one that broke: called with that one and its place, it returns the new one. It may ask
#: for a class of services, and is called with those only that were given to its supervisor.
ReplacementT: TypeAlias = Callable[[Any, int], Awaitable[ServiceT]]


class SupervisorStrategyT(ServiceT):
    """A service that looks after other services, and decides what is done when one of them fails."""

    #: How many restarts there may be within `over` seconds.
    max_restarts: float

    #: The length of the window in which restarts are counted, in seconds.
    over: float

    #: What the supervisor crashes with when there would be more.
    raises: type[BaseException]

    @abc.abstractmethod
    def __init__(
        self,
        *services: Any,
        max_restarts: Seconds = 100.0,
        over: Seconds = 1.0,
        raises: type[BaseException] | None = None,
        replacement: ReplacementT | None = None,
        **kwargs: Any,
    ) -> None:
        """Supervise `services`.

        Args:
            *services: The services, in the order in which they are started.
            max_restarts: How many restarts there may be within `over` seconds.
            over: The length of that window.
            raises: What to crash with when there would be more.
            replacement: Makes the service that takes the place of one that broke.
            **kwargs: Arguments of the service class.
        """

    @property
    @abc.abstractmethod
    def services(self) -> Sequence[ServiceT]:
        """The supervised services, in the order in which they are started."""

    @abc.abstractmethod
    def wakeup(self) -> None:
        """Have the supervisor look after its services now."""

    @abc.abstractmethod
    def add(self, *services: Any) -> None:
        """Supervise more services.

        Args:
            *services: The services.
        """

    @abc.abstractmethod
    def discard(self, *services: ServiceT) -> None:
        """Stop services, and supervise them no more.

        Args:
            *services: The services.
        """

    @abc.abstractmethod
    def service_operational(self, service: ServiceT) -> bool:
        """Whether there is nothing to be done about a service.

        Args:
            service: One of the supervised services.
        """

    @abc.abstractmethod
    async def restart_service(self, service: ServiceT) -> None:
        """Restart one service, or put its replacement in its place.

        Args:
            service: One of the supervised services.
        """
