"""What the decorators `task`, `timer` and `crontab` make in mode: objects that take the service when they are called."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from structmode._declare import Body, CrontabTask, ServiceTask, TimerTask

DeclaredT = TypeVar("DeclaredT", bound=ServiceTask)

__all__ = ("ModeCrontab", "ModeTask", "ModeTimer", "TaskOfInstance")


class TaskOfInstance:
    """A declared task as it is found on an instance.

    In mode that is the declaration itself, to be called with the service; in structmode it is a method. This is both.

    Args:
        declaration: What the class declares.
        service: The instance.
    """

    def __init__(self, declaration: ServiceTask, service: object) -> None:
        #: What does the work, called with a service: for a timer, all that it does from the start to the stop.
        self.fun = declaration.work
        self._service = service
        self._once = declaration.fun
        self.__wrapped__ = declaration.fun

    def __call__(self, service: Any = None) -> Coroutine[Any, Any, Any]:
        """Call the method; or, if a service is given, do the work for it as mode does."""
        return self._once(self._service) if service is None else self.fun(service)

    def __repr__(self) -> str:
        return repr(self._once)


class _OfInstance(ServiceTask):
    def __get__(self, instance: object, owner: type) -> Any:
        return self if instance is None else TaskOfInstance(self, instance)


class ModeTask(_OfInstance, ServiceTask):
    """What `task` makes."""


class ModeTimer(_OfInstance, TimerTask):
    """What `timer` makes."""


class ModeCrontab(_OfInstance, CrontabTask):
    """What `crontab` makes."""


_OF_MODE: dict[type[ServiceTask], type[ServiceTask]] = {
    ServiceTask: ModeTask,
    TimerTask: ModeTimer,
    CrontabTask: ModeCrontab,
}


def of_mode(declaration: DeclaredT) -> DeclaredT:
    """Have a declaration be what mode has."""
    declaration.__class__ = _OF_MODE[type(declaration)]  # type: ignore[assignment]
    return declaration


def decorator_of_mode(
    decorate: Callable[[Body[Any]], DeclaredT],
) -> Callable[[Body[Any]], DeclaredT]:
    """Have a decorator make what mode has."""
    return lambda body: of_mode(decorate(body))
