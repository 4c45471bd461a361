"""What a class body declares to be background work: tasks, timers and crontabs.

A declaration is a descriptor. It knows its place in the class by its name alone, so it is inherited, overridden and
switched off as any attribute is: the order is that of the definitions, base classes first, and what a subclass
overrides keeps its place. Everything that can be wrong about a declaration - a plain function, a signature that does not
fit, an interval or a cron line that can't be read - is said while the class is made.
"""

from __future__ import annotations

import datetime
import inspect
from collections.abc import AsyncIterator, Callable, Container, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeAlias, cast, overload

from structmode._engine import Backoff
from structmode._policies import OnError, Policy
from structmode.exceptions import TaskReturned
from structmode.utils.cron import CronSchedule, CronTicks
from structmode.utils.times import Seconds, want_interval

__all__ = ("CrontabTask", "ServiceTask", "TimerTask", "declared_tasks")

if TYPE_CHECKING:
    # Python 3.13 has it; type checkers need no newer one to read it.
    from typing_extensions import TypeVar

    T_co = TypeVar("T_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    T_co = TypeVar("T_co", covariant=True)

R = TypeVar("R")

Body: TypeAlias = Callable[[Any], Coroutine[Any, Any, R]]


class Doer(Protocol):
    """What a declaration needs of the service whose work it is."""

    @property
    def should_stop(self) -> bool:
        """Whether the work should end."""
        ...

    @property
    def shortlabel(self) -> str:
        """The name of the service."""
        ...

    async def sleep(self, n: Seconds) -> None:
        """Sleep, or until the service stops."""

    def itertimer(
        self, interval: Seconds, *, max_drift_correction: float = 0.1, name: str = ""
    ) -> AsyncIterator[float]:
        """Iterate over the ticks of a timer."""
        ...

    def _keep_in_sight(self, schedule: Any) -> None: ...
    def _ticks_skipped(self, name: str, count: int) -> None: ...
    def _tick_failed(self, name: str, error: Exception, again_in: float | None) -> None: ...
    def _task_failed(self, name: str, error: Exception, again_in: float | None) -> None: ...


class ServiceTask(Generic[T_co]):
    """A method that a service runs in the background, from its start to its stop.

    Accessed on an instance it is the method, so that it can be called and awaited by hand, in a test for instance; type
    checkers know what it returns.

    Args:
        fun: An ``async def`` that takes nothing but ``self``.
        on_error: What an exception that leaves the method does: "crash" the service, or be told in the log and as an
            event, after which the task is over ("log") or begun again ("restart").
        backoff: How long to wait before it is begun again.
        forever: Whether the method must not return before the service is told to stop.

    Raises:
        TypeError: If `fun` or `backoff` is anything else.
        ValueError: If `on_error` is anything else, or does not go with `backoff`.
    """

    #: Whether the work comes to an end by itself.
    finite: bool = True
    decorator: str = "@Service.task"

    def __init__(
        self,
        fun: Body[T_co],
        *,
        on_error: OnError = "crash",
        backoff: Backoff | None = None,
        forever: bool = False,
    ) -> None:
        check_body(fun, self.decorator)
        self.fun = fun
        self.policy: Policy = _policy_of(fun, on_error, backoff)
        self.forever: bool = forever
        self.finite: bool = self.finite and not forever
        self.name: str = fun.__name__
        self.__doc__ = fun.__doc__
        self.__wrapped__ = fun

    @property
    def on_error(self) -> OnError:
        """What an exception that leaves the method does."""
        return self.policy.on_error

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(
        self, instance: object, owner: type
    ) -> Callable[[], Coroutine[Any, Any, T_co]]: ...
    def __get__(
        self, instance: object, owner: type
    ) -> Self | Callable[[], Coroutine[Any, Any, T_co]]:
        if instance is None:
            return self
        return self.fun.__get__(instance, owner)  # type: ignore[no-any-return]

    def __call__(self, service: Any) -> Coroutine[Any, Any, T_co]:
        """Call the method for `service`."""
        return self.fun(service)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    async def work(self, service: Doer) -> None:
        """Do the work for `service`, until it is done or the service stops."""
        name = f"{service.shortlabel}.{self.name}"
        await self.policy.do(
            service,
            name,
            partial(self._run_to_end, service, name),
            partial(service._task_failed, name),
        )

    async def _run_to_end(self, service: Doer, name: str) -> None:
        await self.fun(service)
        if self.forever and not service.should_stop:
            raise TaskReturned(name)


class PeriodicTask(ServiceTask[T_co]):
    """A method that a service runs again and again.

    What an exception that leaves the method does is as in `ServiceTask`; but the schedule goes on.
    """

    finite = False

    def run_once(self, service: Doer, name: str) -> Coroutine[Any, Any, object]:
        """Return what runs the method once, or as often as its policy says."""
        return self.policy.do(
            service, name, partial(self.fun, service), partial(service._tick_failed, name)
        )


class TimerTask(PeriodicTask[T_co]):
    """A method that a service runs every so many seconds; see `Service.timer` for the arguments."""

    decorator = "@Service.timer(interval)"

    def __init__(
        self,
        fun: Body[T_co],
        *,
        interval: Seconds,
        exec_first: bool,
        name: str | None,
        max_drift_correction: float,
        on_error: OnError,
        backoff: Backoff | None,
    ) -> None:
        super().__init__(fun, on_error=on_error, backoff=backoff)
        self.interval = interval
        self.exec_first = exec_first
        self.timer_name = name
        self.max_drift_correction = max_drift_correction

    async def work(self, service: Doer) -> None:
        """Run the method at each tick, until the service stops."""
        name = self.timer_name or f"{service.shortlabel}.{self.name}"
        ticks = aiter(
            service.itertimer(
                self.interval, name=name, max_drift_correction=self.max_drift_correction
            )
        )
        if self.exec_first and not service.should_stop:
            await self.run_once(service, name)
        async for _ in ticks:
            await self.run_once(service, name)


class CrontabTask(PeriodicTask[T_co]):
    """A method that a service runs when a cron line says; see `Service.crontab` for the arguments."""

    decorator = "@Service.crontab(cron_format)"

    def __init__(
        self,
        fun: Body[T_co],
        *,
        schedule: CronSchedule,
        on_error: OnError,
        backoff: Backoff | None,
    ) -> None:
        super().__init__(fun, on_error=on_error, backoff=backoff)
        self.schedule = schedule

    async def work(self, service: Doer) -> None:
        """Run the method at each time of the schedule, until the service stops."""
        ticks = CronTicks(self.schedule, name=f"{service.shortlabel}.{self.name}")
        service._keep_in_sight(ticks)
        ticks.start()
        while True:
            await service.sleep(ticks.delay())
            if service.should_stop:
                return
            if ticks.due():
                self._begin_run(service, ticks)
                await self.run_once(service, ticks.name)

    def _begin_run(self, service: Doer, ticks: CronTicks) -> None:
        missed = ticks.missed
        ticks.tick()
        if ticks.missed > missed:
            service._ticks_skipped(ticks.name, ticks.missed - missed)


def timer_declaration(interval: Seconds, **settings: Any) -> Callable[[Body[R]], TimerTask[R]]:
    """Return the decorator that `Service.timer` is; the interval is read now, while the class is made."""
    if callable(interval):
        raise TypeError(
            f"{where(interval)}: @Service.timer needs an interval: write @Service.timer(1.0)"
        )
    want_interval(interval, "@Service.timer interval")
    declare: Any = TimerTask
    return partial(declare, interval=interval, **settings)


def crontab_declaration(
    cron_format: str, timezone: datetime.tzinfo | None, **settings: Any
) -> Callable[[Body[R]], CrontabTask[R]]:
    """Return the decorator that `Service.crontab` is; the line is read now, while the class is made."""
    if callable(cron_format):
        raise TypeError(
            f"{where(cron_format)}: @Service.crontab needs a cron line: "
            "write @Service.crontab('0 * * * *')"
        )
    schedule = CronSchedule(cron_format, timezone=timezone)
    declare: Any = CrontabTask
    return partial(declare, schedule=schedule, **settings)


def _policy_of(fun: Body[Any], on_error: OnError, backoff: Backoff | None) -> Policy:
    try:
        return Policy.of(on_error, backoff)
    except (TypeError, ValueError) as exc:
        raise type(exc)(f"{where(fun)}: {exc}") from None


def check_body(fun: object, decorator: str) -> None:
    """Refuse what can't be the body of a background task, and show what can.

    Raises:
        TypeError: With the file and line of the function.
    """
    right = f"write\n    {decorator}\n    async def {getattr(fun, '__name__', 'work')}(self) -> None: ..."
    declared: Any = fun
    if isinstance(fun, ServiceTask):
        raise TypeError(
            f"{where(declared.fun)}: {declared.name} is a background task already; decorate it once"
        )
    if inspect.isasyncgenfunction(fun):
        raise TypeError(
            f"{where(fun)}: {decorator} takes a coroutine function, but this one yields; {right}"
        )
    if not inspect.iscoroutinefunction(fun):
        raise TypeError(
            f"{where(fun)}: {decorator} takes an `async def`, but this is {fun!r}; {right}"
        )
    try:
        inspect.signature(fun).bind("self")
    except TypeError as exc:
        raise TypeError(
            f"{where(fun)}: a background task is called with nothing but self, which does not fit ({exc}); {right}"
        ) from None


def where(fun: object) -> str:
    """Return file and line of a function, or else its repr."""
    code = getattr(inspect.unwrap(fun) if callable(fun) else fun, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else repr(fun)


def declared_tasks(cls: type, taken: Container[str] = ()) -> tuple[ServiceTask, ...]:
    """Return what `cls` and its bases declare, in order of definition, base classes first.

    An attribute set to None switches a task off.

    Args:
        cls: The class.
        taken: The names that mean something else in all such classes.

    Raises:
        TypeError: If a task is overridden by something that is neither a task nor None, is below another decorator, or has a
            name that is taken.
    """
    found: dict[str, ServiceTask] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, ServiceTask):
                found[name] = value
                _refuse_if_taken(base, name, found[name], taken)
            elif name in found and value is None:
                del found[name]
            elif name in found:
                raise TypeError(
                    f"{base.__qualname__}.{name} overrides a background task with {value!r}: decorate it as the task was, "
                    f"or switch the task off with `{name} = None`"
                )
            elif (hidden := _hidden_task(value)) is not None:
                _refuse_if_hidden(cls, base, name, hidden)
    return tuple(found.values())


def _refuse_if_taken(base: type, name: str, task: ServiceTask, taken: Container[str]) -> None:
    if name in taken:
        raise TypeError(
            f"{where(task.fun)}: {base.__qualname__}.{name} is a background task, and would take the place of Service.{name}, "
            "which every service needs: give the task another name"
        )


def _refuse_if_hidden(cls: type, base: type, name: str, task: ServiceTask) -> None:
    if not any(value is task for base in cls.__mro__ for value in vars(base).values()):
        raise TypeError(
            f"{where(task.fun)}: {base.__qualname__}.{name} is a background task with another decorator above it, below which "
            f"the service does not see it: put {task.decorator} on top"
        )


def _hidden_task(value: object) -> ServiceTask | None:
    """Return the task that a decorator has been given, as far as that says what it wraps."""
    met: set[int] = set()
    while value is not None and id(value) not in met:
        if isinstance(value, ServiceTask):
            return cast("Any", value)  # type: ignore[no-any-return]
        met.add(id(value))
        value = _wrapped_by(value)
    return None


def _wrapped_by(value: Any) -> object:
    if isinstance(value, staticmethod | classmethod):
        return cast("Any", value).__func__
    try:  # what it has been given: asked themselves, stubs and proxies may answer anything
        return object.__getattribute__(value, "__dict__").get("__wrapped__")
    except AttributeError:
        return None


for _public in (ServiceTask, PeriodicTask, TimerTask, CrontabTask):
    _public.__module__ = "structmode.services"
