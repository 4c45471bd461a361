"""One life of an application: its services start, it serves, they stop.

Theory: the services are the children of one service, the root, which is owned by the event loop run (a bare start) and not by a
block. A block would be cancelled in the instant of a crash, but here it is the server that has to end first, with the
requests that it is answering; until then the rest of the lifespan - pools, clients - has to stay.

The first thing that a crash of any of them does is to stop the root, from the top, and the first thing that does is to have
the server taken down (`_down`). When the lifespan has come to its end, the failure leaves it as it was raised.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import anyio

from structmode import _engine as engine
from structmode._mixing import HasLife, life_of
from structmode._unit import ServiceUnit
from structmode.contrib.asgi._down import OnCrash, TakeDown
from structmode.services import Service
from structmode.utils.logging import get_logger

__all__ = ("Maker", "Plan", "checked_services", "life")

#: Makes the services of one life of an application.
Maker: TypeAlias = Callable[[Any], HasLife | Iterable[HasLife]]


@dataclass(frozen=True)
class Plan:
    """How the lives of an application are to be.

    Args:
        services: The services, or what makes them, in the order in which they start.
        on_crash: What is done about the server if one crashes.
        state: Returns what requests find in their state.
        shutdown_timeout: How long the stop of all services may take, in seconds.
    """

    services: Sequence[HasLife | Maker]
    on_crash: OnCrash
    state: Callable[[Any], Mapping[str, Any]] | None
    shutdown_timeout: float

    def made(self, app: object) -> list[HasLife]:
        """Return the services of one life."""
        services: list[HasLife] = []
        for one in self.services:
            if life_of(one) is not None:
                services.append(one)  # type: ignore[arg-type]
            else:
                services += _made_by(one, app)
        return services


class AppServices(Service):
    """The root of the services of an application.

    Args:
        services: The services.
        take_down: Called if one crashes.
        shutdown_timeout: How long the stop may take, in seconds.
    """

    logger: logging.Logger = get_logger("structmode.contrib.asgi")

    def __init__(
        self, services: Sequence[HasLife], take_down: TakeDown, shutdown_timeout: float
    ) -> None:
        self._take_down = take_down
        super().__init__()
        self.shutdown_timeout: float = shutdown_timeout
        for service in services:
            self.add_dependency(service)

    def _make_unit(self) -> ServiceUnit:
        return _Unit(self)

    async def on_stop(self) -> None:
        """Have the server taken down, if this is because of a crash."""
        if self.crash_reason is not None:
            await self._take_down(self.crash_reason)


class _Unit(ServiceUnit):
    def on_failure(self, exc: BaseException, origin: str, fate: engine.Fate) -> None:
        if fate != "unreceived":
            super().on_failure(exc, origin, fate)
            return
        # The lifespan raises it at its end, if the server gets so far, and the server may not log what is raised there.
        self._service.log.error(
            "The server is to stop, as a service has crashed: %r", exc, exc_info=exc
        )


@asynccontextmanager
async def life(
    app: Any, plan: Plan, *inner: HasLife
) -> AsyncGenerator[tuple[AppServices, Mapping[str, Any] | None]]:
    """Run the services of `plan`, and `inner` after them, while the block runs."""
    body = anyio.CancelScope()
    root = AppServices(
        [*plan.made(app), *inner], TakeDown(plan.on_crash, body), plan.shutdown_timeout
    )
    await root.start()
    try:
        with body:
            yield root, None if plan.state is None else plan.state(app)
    finally:
        with anyio.CancelScope(shield=True):  # a stop is bounded by itself
            await root.stop()
    if root.crash_reason is not None:
        raise root.crash_reason


def checked_services(services: Sequence[object], call: str) -> None:
    """Refuse what neither is a service nor makes any."""
    for one in services:
        if isinstance(one, type) and hasattr(one, "_structmode_life"):
            raise TypeError(
                f"{call} takes services, not the class: write {one.__name__}(), or lambda app: {one.__name__}() to have one "
                "made for each life of the application"
            )
        if life_of(one) is None and not callable(one):
            raise TypeError(
                f"{call} takes services, or functions that are called with the application and make them; not {one!r}"
            )


def _made_by(maker: Any, app: object) -> list[HasLife]:
    made: Any = maker(app)
    if life_of(made) is not None:
        return [made]
    services: list[Any] = list(made) if hasattr(made, "__iter__") else [made]
    for one in services:
        if life_of(one) is None:
            raise TypeError(
                f"{getattr(maker, '__qualname__', maker)} has to return a service or several, and returned {made!r}"
            )
    return services
