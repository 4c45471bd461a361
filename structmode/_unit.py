"""A service as the engine sees it.

The engine knows a face only through its `Unit` protocol. Here the steps of a run become the hooks that a service has and
the lines that it logs, in mode's order and mode's words.
"""

from __future__ import annotations

import inspect
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, cast

from structmode import _engine as engine
from structmode._declare import Doer, ServiceTask
from structmode._hooks import is_empty
from structmode.exceptions import StructmodeError
from structmode.utils.logging import CompositeLogger
from structmode.utils.times import want_seconds
from structmode.utils.trees import Node

__all__ = ("HOOKS", "ServiceUnit", "service_of")

#: What the steps of a run are for a service, and for who reads of it.
HOOKS: Mapping[str, str] = MappingProxyType(
    {
        "renew": "on_restart",
        "first_set_up": "on_first_start",
        "set_up": "on_start",
        "ready": "on_started",
        "tear_down": "on_stop",
        "hold": "wait for set_shutdown()",
        "farewell": "on_shutdown",
    }
)


class Face(Doer, Protocol):
    """What the unit needs of its service."""

    log: CompositeLogger
    restart_count: int
    wait_for_shutdown: bool
    start_timeout: float
    shutdown_timeout: float
    drain_timeout: float
    _life: engine.Life
    _declared: ClassVar[tuple[ServiceTask, ...]]
    _composing: bool

    @property
    def _outer(self) -> engine.Life: ...
    @property
    def beacon(self) -> Node[Any]: ...
    def __post_init__(self) -> None: ...
    def on_init_dependencies(self) -> Iterable[Any]: ...
    def add_dependency(self, service: Any) -> Any: ...
    def add_dependency_group(self, *services: Any) -> None: ...
    def _log_mundane(self, message: str) -> None: ...


def service_of(unit: engine.Unit) -> Any:
    """Return the service that a unit is, or that it holds."""
    return getattr(unit, "service", unit.subject)


def label_in(service: Any) -> str:
    """Return how a service is called.

    Raises:
        TypeError: If that is no text.
        BaseException: What the service raises.
    """
    label: object = service.shortlabel
    if isinstance(label, str):
        return label
    # Without its repr, which may ask for the label in turn.
    what = type(label).__name__
    remedy = "put @property before it" if callable(label) else "return a str"
    raise TypeError(f"the label of {type(service).__qualname__} is no str, but a {what}: {remedy}")


class ServiceUnit:
    """A service as the engine sees it: the steps of its life, each with its hook and its log line."""

    step_names = HOOKS

    # The dependencies that __post_init__ added, to be dropped before it is called again.
    _initial: list[engine.Life] | None = None
    _noting: bool = False

    def __init__(self, service: Face) -> None:
        self._service = service
        #: For others than the engine: whose unit this is.
        self.service: Any = service

    @property
    def label(self) -> str:
        return label_in(self._service)

    @property
    def stop_timeout(self) -> float:
        return self._seconds("shutdown_timeout")

    @property
    def start_timeout(self) -> float:
        return self._seconds("start_timeout")

    @property
    def drain_timeout(self) -> float:
        return self._seconds("drain_timeout")

    def _seconds(self, setting: str) -> float:
        try:
            return want_seconds(getattr(self._service, setting))
        except (TypeError, ValueError) as exc:
            raise type(exc)(f"{type(self._service).__qualname__}.{setting}: {exc}") from None

    @property
    def subject(self) -> Face:
        return self._service

    async def renew(self) -> None:
        service = self._service
        service.restart_count += 1
        initial, self._initial = self._initial, None
        for child in initial or ():
            if child.parent is service._life:
                service._life.drop_child(child)
        with self.composing():
            service.__post_init__()
        await self._hook("on_restart")

    def first_set_up(self) -> Coroutine[Any, Any, None] | None:
        if self._is_written("on_init_dependencies") or self._is_written("on_first_start"):
            return self._first_set_up()
        return None

    async def _first_set_up(self) -> None:
        service = self._service
        with self.composing():
            children = self._wanted_at_first()
        for child in children:
            if isinstance(child, list | tuple | set | frozenset):
                service.add_dependency_group(*cast("Iterable[Any]", child))
            else:
                service.add_dependency(child)
        await self._hook("on_first_start")

    def _wanted_at_first(self) -> list[Any]:
        children: object = self._service.on_init_dependencies() or ()
        if isinstance(children, Iterable):
            return [*cast("Any", children)]
        raise TypeError(
            f"{type(self._service).__qualname__}.on_init_dependencies must return a list of services, as in "
            f"`return [self.first, self.second]`; it returned {children!r}"
        )

    def needs(self) -> Sequence[Sequence[engine.Life]]:
        return ()

    def set_up(self) -> Coroutine[Any, Any, None] | None:
        self._service._log_mundane("Starting...")
        return self._hook_if_written("on_start")

    def work(self) -> list[engine.Task[Any]]:
        service = self._service
        return [
            engine.Task(
                declared.work(service),
                f"{service.shortlabel}.{declared.name}",
                finite=declared.finite,
            )
            for declared in service._declared
        ]

    def ready(self) -> Coroutine[Any, Any, None] | None:
        self._service._log_mundane("Started.")
        return self._hook_if_written("on_started")

    def tear_down(self) -> Coroutine[Any, Any, None] | None:
        return self._log_and_then("Stopping...", self._hook_if_written("on_stop"))

    def hold(self) -> Coroutine[Any, Any, None] | None:
        service = self._service
        permission = service._life.current.permission if service.wait_for_shutdown else None
        return self._log_and_then("-Stopped!", permission.wait() if permission else None)

    def farewell(self) -> Coroutine[Any, Any, None] | None:
        if self._is_written("on_shutdown"):
            return self._farewell()
        self._service._log_mundane("-Shutdown complete!")
        return None

    async def _farewell(self) -> None:
        await self._hook("on_shutdown")
        self._service._log_mundane("-Shutdown complete!")

    def _log_and_then(
        self, message: str, rest: Coroutine[Any, Any, None] | None
    ) -> Coroutine[Any, Any, None] | None:
        """Log, and return what then has to be waited for: a log that fails is no reason to skip that."""
        if rest is not None:
            return self._waited_for(message, rest)
        self._service._log_mundane(message)
        return None

    async def _waited_for(self, message: str, rest: Coroutine[Any, Any, None]) -> None:
        try:
            self._service._log_mundane(message)
        finally:
            await rest  # noqa: ASYNC102 - the wait shields itself

    def _is_written(self, name: str) -> bool:
        """Whether the service has such a hook, in its class or set on itself, and not the empty one that all have."""
        return not is_empty(getattr(self._service, name))

    def _hook_if_written(self, name: str) -> Coroutine[Any, Any, None] | None:
        return self._hook(name) if self._is_written(name) else None

    async def _hook(self, name: str) -> None:
        awaitable = getattr(self._service, name)()
        if not inspect.isawaitable(awaitable):
            raise TypeError(
                f"{type(self._service).__qualname__}.{name} must be async; it returned {awaitable!r}"
            )
        await awaitable

    def on_failure(self, exc: BaseException, origin: str, fate: engine.Fate) -> None:
        log = self._service.log
        what = f"{type(exc).__name__}: {exc}" if isinstance(exc, StructmodeError) else repr(exc)
        match fate:
            case "crash":
                log.error("Crashed in %s: %s", origin, what)
            case "stop":
                log.error("Failed while stopping, in %s: %s", origin, what)
            case "later":
                log.error("One more failure, in %s: %s", origin, what, exc_info=exc)
            case "unreceived":  # pragma: no branch - there is no other
                log.error("A failure that nobody receives, in %s: %s", origin, what, exc_info=exc)

    def on_child_failed(self, child: engine.Unit, exc: BaseException) -> bool:
        return False

    def on_child_ended(self, child: engine.Unit) -> None:
        pass

    def on_child_released(self, child: engine.Unit) -> None:
        beacon = getattr(service_of(child), "beacon", None)
        if beacon is not None:  # the other face has none
            beacon.detach(self._service.beacon)

    def composing(self) -> AbstractContextManager[None]:
        """Let the service pass on what there may not be yet, while it says what it is made of."""
        return _Set(self._service, "_composing")

    def noting_children(self) -> AbstractContextManager[None]:
        """Note what is added inside as what `__post_init__` adds."""
        return _Set(self, "_noting")

    def note_child(self, child: engine.Life) -> None:
        if not self._noting:
            return
        if self._initial is None:
            self._initial = []
        self._initial.append(child)


async def rest_of(step: Coroutine[Any, Any, None] | None) -> None:
    """Await what a step has left to wait for, if anything."""
    if step is not None:
        await step


class _Set(AbstractContextManager[None]):
    """Inside, a flag of something is set."""

    def __init__(self, owner: object, flag: str) -> None:
        self._owner = owner
        self._flag = flag

    def __enter__(self) -> None:
        setattr(self._owner, self._flag, True)

    def __exit__(self, *exc_info: object) -> None:
        setattr(self._owner, self._flag, False)
