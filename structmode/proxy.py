"""A service that stands for another one, which is made when it is first needed.

Theory: whoever forwards a class member by member forgets one in the end. So nothing here is written out: a `ServiceProxy`
is a `Service` as types go, and at run time each name that `Service` has - methods, properties, settings, hooks, and the
few private ones by which services know each other - is replaced by a descriptor that looks the name up in the service
behind the proxy. A name that `Service` gets tomorrow is forwarded tomorrow.

Descriptors, and no ``__getattribute__``, so that the rest is Python's: what a subclass overrides is its own, ``super()``
in it leads to the service behind, and what is asked of the class is answered by the class.

A proxy has no life, no log and no place in the tree. Where a service is asked for, it may be passed: who takes it - a
parent, a worker - finds the life of the service behind it, and in the tree stands that service.
"""

from __future__ import annotations

from functools import cached_property
from inspect import getattr_static
from types import FunctionType, TracebackType
from typing import Any, ClassVar, NoReturn, Self

from structmode._declare import declared_tasks, where
from structmode.services import Service, ServiceBase
from structmode.types.services import ServiceT
from structmode.utils.objects import cached_property as ModesCachedProperty  # noqa: N812 - a class

__all__ = ("ServiceProxy",)

#: By which services, and what runs them, know each other.
_PRIVATE = ("__post_init__", "_life", "_log_mundane", "_outer", "_schedules_in_use", "_unit")
#: Settings that are read from the service that runs: in the class of a proxy they would say nothing.
_SETTINGS = (
    "Diag",
    "drain_timeout",
    "mundane_level",
    "shutdown_timeout",
    "start_timeout",
    "wait_for_shutdown",
)


class ServiceProxy(Service):
    """Stands for another service: whatever is asked of the proxy is asked of that one.

    A subclass says how it is made. That happens when it is first needed, so a proxy can stand at the top of a module
    whose import should cost nothing:

        class App(ServiceProxy):
            @cached_property
            def _service(self) -> Service:
                return RealApp()

        app = App()

    All public members of `Service` are forwarded, attributes that are set as well. It may be started, entered with
    ``async with``, added to a service and given to a `Worker`; in the tree stands the service behind it. What a subclass
    overrides is its own, and ``super()`` leads to the service behind. A proxy has no work and no settings of its own.

    Unlike in mode, it forwards all of `Service`, and not a part of it, and it is a `Service` to ``isinstance``. Its
    methods are as thread-safe, and may be cancelled in the same way, as those of the service behind it.

    Args:
        loop: Accepted for programs written for mode, and ignored.

    Raises:
        TypeError: If the class does not say what `_service` is.
    """

    abstract: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _refuse_method(cls)
        _refuse_what_would_not_count(cls)

    def __init__(self, *, loop: Any = None) -> None:
        if getattr_static(type(self), "_service") is vars(ServiceProxy)["_service"]:
            raise _says_nothing(type(self))
        # Past `Service`, whose place in this object is taken by the service behind it.
        super(ServiceBase, self).__init__(loop=loop)

    @cached_property
    def _service(self) -> ServiceT:
        """The service behind the proxy; to be overridden, as a `functools.cached_property`."""
        raise _says_nothing(type(self))

    def __repr__(self) -> str:
        own = getattr_static(type(self), "_service")
        cached = isinstance(own, (cached_property, ModesCachedProperty))
        if cached and "_service" not in vars(self):
            return f"<{type(self).__name__}: not made yet>"
        return f"<{type(self).__name__} of {_behind(self)!r}>"

    async def __aenter__(self) -> Self:
        await _behind(self).__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await _behind(self).__aexit__(exc_type, exc, traceback)  # noqa: ASYNC102 - the wait shields itself

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied or pickled, as a service does: copies would share the one behind, or make one each."""
        Service.__reduce__(self)


class _Forwarded:
    """One name of `Service`, in proxies: that of the service behind; in the class, what the class has."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, proxy: ServiceProxy | None, owner: type[ServiceProxy]) -> Any:
        if proxy is None:
            return getattr(super(ServiceProxy, owner), self._name)
        return getattr(_behind(proxy), self._name)

    def __set__(self, proxy: ServiceProxy, value: object) -> None:
        setattr(_behind(proxy), self._name, value)

    def __delete__(self, proxy: ServiceProxy) -> None:
        delattr(_behind(proxy), self._name)


def _says_nothing(cls: type[ServiceProxy]) -> TypeError:
    return TypeError(
        f"{cls.__qualname__} does not say which service it stands for: write\n"
        "    @cached_property\n    def _service(self) -> Service:\n        return ActualService()"
    )


def _behind(proxy: ServiceProxy) -> Service:
    service: object = proxy._service
    if service is proxy:
        raise TypeError(f"{type(proxy).__qualname__}._service is the proxy itself")
    if isinstance(service, Service):
        return service
    # By its type: what it is may be shown by way of the proxy, as a method of that is.
    kind = "the class" if isinstance(service, type) else "one of type"
    name = (service if isinstance(service, type) else type(service)).__qualname__
    raise TypeError(
        f"{type(proxy).__qualname__}._service must return an instance of Service, not {kind} {name}"
    )


def _refuse_method(cls: type[ServiceProxy]) -> None:
    """Refuse a method in the place of the service, which every use of the proxy would stumble over."""
    own: Any = getattr_static(cls, "_service")
    function: Any = getattr(own, "__func__", own)
    if isinstance(function, FunctionType):
        raise TypeError(
            f"{where(function)}: {cls.__qualname__}._service is a method: put @cached_property before it"
        )


def _refuse_what_would_not_count(cls: type[ServiceProxy]) -> None:
    """Refuse work and settings in the class of a proxy, which nobody would ever look at."""
    tasks = [declared.name for declared in declared_tasks(cls)]
    settings = [name for name in _SETTINGS if not hasattr(getattr_static(cls, name), "__get__")]
    for name in (*tasks, *settings):
        raise TypeError(
            f"{cls.__qualname__}.{name} would have no effect: a proxy has no work and no settings of its own; write it in the "
            "class of the service behind it"
        )


def _forward_all() -> None:
    public = (name for name in dir(Service) if not name.startswith("_"))
    for name in (*public, *_PRIVATE):
        if name != "abstract":  # it says something of the class
            setattr(ServiceProxy, name, _Forwarded(name))


_forward_all()
