"""Services without classes: made of a function, of a generator, or of a context.

Theory: most services are one of two things. A *job* does something and is done; a *held* thing is there from its start to
its stop. Python has a form for each: an async function that returns, and an async context manager that is entered and
left. So `service` makes services of these forms, and `hold` of a context that somebody else has written.

What makes the coroutine or the context is called anew for each run, in the service's own task, so such a service may be
restarted and supervised like any other. A context is entered and left in a task of its own: it may be opened by one
task and closed by another, though it holds cancel scopes inside.

Nothing here lives otherwise than other services do: a job is a service with one task, which asks for the stop when it
has returned; a held thing is a service with one context.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from functools import partial, wraps
from typing import Any, Generic, NoReturn, ParamSpec, Protocol, TypeVar, cast, overload

import anyio

from structmode import _engine as engine
from structmode.exceptions import LifecycleError
from structmode.facet import ServiceMixin
from structmode.services import Service, seconds_for
from structmode.utils.logging import get_logger
from structmode.utils.times import Seconds

__all__ = ("Held", "Job", "hold", "run", "service")

T = TypeVar("T")
P = ParamSpec("P")


class _Made(Service):
    """What services without classes have in common: their name and their log are those of what they are made of.

    Args:
        maker: What is called for each run.
        name: The name; by default that of `maker`.
        **limits: Settings of services that are seconds; None for what they are by default.
    """

    abstract = True

    def __init__(
        self,
        maker: Callable[..., Any],
        *,
        name: str | None,
        **limits: Seconds | None,
    ) -> None:
        self._maker = maker
        self._name = name or _name_of(maker)
        self.logger: logging.Logger = get_logger(_module_of(maker))
        super().__init__()
        for setting, limit in limits.items():
            if limit is not None:
                setattr(self, setting, seconds_for(f"{self._name}: {setting}", limit))

    @property
    def label(self) -> str:
        """Its name in graphs, reports and the log."""
        return self._name

    def _returned(self) -> object:
        """What `run` is to return."""


class Job(_Made, Generic[T]):
    """A service that is one piece of work, and ends when that does; made by `service` of an async function.

    What leaves the function is a crash of the service, as of any other.
    """

    _outcome: tuple[T] | None = None

    @property
    def result(self) -> T:
        """What the function has returned in the last run.

        Raises:
            LifecycleError: If it has not returned, or was stopped before.
        """
        if self._outcome is None:
            raise LifecycleError(
                f"{self.label} has no result: it is {self.state}, and its function has not returned",
                self._how_to_get_a_result(),
            )
        return self._outcome[0]

    def _how_to_get_a_result(self) -> str:
        if self.crash_reason is not None:
            return f"It has crashed with {self.crash_reason!r}"
        if self.state in {"stopping", "shutdown"}:
            return "It was told to stop before that: start it again, and let it end by itself"
        return "Wait for that: await job.wait_until_stopped()"

    def _returned(self) -> object:
        return self.result

    async def on_started(self) -> None:
        """Begin the work: not before, or what ends at once would call its own start off."""
        self._outcome = None
        _ = self.add_future(self._work, name=self._name)

    async def _work(self) -> None:
        self._outcome = (await self._maker(),)
        self._life.request_stop()


class Held(_Made, Generic[T]):
    """A service that holds something from its start to its stop; made by `service` of a generator, and by `hold`."""

    _held: tuple[T] | None = None

    @property
    def value(self) -> T:
        """What is held: what entering the context gave.

        Raises:
            LifecycleError: If the service has not been started, or has stopped.
        """
        if self._held is None:
            raise LifecycleError(
                f"{self.label} holds nothing now: it is {self.state}",
                "Start it first: async with held, await held.start(), or add_dependency(held) of a service that runs",
            )
        return self._held[0]

    async def on_start(self) -> None:
        """Enter the context, in a task of its own."""
        self._held = (await self.add_async_context(self._kept()),)

    @asynccontextmanager
    async def _kept(self) -> AsyncGenerator[T]:
        context = self._maker()
        _check_context(context, self._maker)
        try:
            async with context as value:
                yield value
        finally:
            self._held = None


class _Decorator(Protocol):
    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, T]], /
    ) -> Callable[P, Job[T]]: ...
    @overload
    def __call__(self, function: Callable[P, AsyncIterator[T]], /) -> Callable[P, Held[T]]: ...
    @overload
    def __call__(
        self, function: Callable[P, AbstractAsyncContextManager[T, bool | None]], /
    ) -> Callable[P, Held[T]]: ...


@overload
def service(function: Callable[P, Coroutine[Any, Any, T]], /) -> Callable[P, Job[T]]: ...
@overload
def service(function: Callable[P, AsyncIterator[T]], /) -> Callable[P, Held[T]]: ...
@overload
def service(
    function: Callable[P, AbstractAsyncContextManager[T, bool | None]], /
) -> Callable[P, Held[T]]: ...
@overload
def service(
    *,
    name: str | None = None,
    start_timeout: Seconds | None = None,
    shutdown_timeout: Seconds | None = None,
    drain_timeout: Seconds | None = None,
) -> _Decorator: ...


def service(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    start_timeout: Seconds | None = None,
    shutdown_timeout: Seconds | None = None,
    drain_timeout: Seconds | None = None,
) -> Any:
    """Make services of a function: a decorator, with parentheses or without, or a plain call.

        @service
        async def fetch(url: str) -> bytes:         # a job: ends when it returns
            ...

        @service(shutdown_timeout=5.0)
        async def pool(size: int) -> AsyncIterator[Pool]:
            async with open_pool(size) as it:       # held from the start to the stop
                yield it

        client = service(httpx.AsyncClient)         # whatever returns an async context manager

    The function is not called when a service is made - ``pool(3)`` - but when that starts, and again in a restart. A job
    may be awaited for: ``await job.wait_until_stopped()``, and then `Job.result`; what is held is `Held.value`.

    Args:
        function: An async function, an async generator function that yields once, or what returns an async context
            manager: a function or a class.
        name: The name of the services in the log; by default that of the function.
        start_timeout: How long the start of such a service may take, in seconds; by default as long as it likes.
        shutdown_timeout: How long the stop of such a service may take, in seconds; by default as in any service.
        drain_timeout: How long a job may take to end by itself when it is told to stop, in seconds; by default 0.

    Returns:
        What makes the services: it takes the arguments of the function.

    Raises:
        TypeError: If it is not such a function. If it returns no context manager, the start of the service raises that.
    """
    settings = {
        "name": name,
        "start_timeout": start_timeout,
        "shutdown_timeout": shutdown_timeout,
        "drain_timeout": drain_timeout,
    }
    if function is None:
        return partial(_maker_of, settings)
    return _maker_of(settings, function)


def _maker_of(settings: dict[str, Any], function: Callable[..., Any]) -> Callable[..., _Made]:
    _check_function(function)
    is_job = _is_async_function(function)
    call = asynccontextmanager(function) if inspect.isasyncgenfunction(function) else function

    @wraps(function, updated=())
    def make(*args: Any, **kwargs: Any) -> _Made:
        maker = partial(call, *args, **kwargs)
        made: Job[Any] | Held[Any] = Job(maker, **settings) if is_job else Held(maker, **settings)
        return made

    return make


@overload
def hold(
    context: AbstractAsyncContextManager[T, bool | None],
    *,
    name: str | None = None,
    start_timeout: Seconds | None = None,
    shutdown_timeout: Seconds | None = None,
) -> Held[T]: ...
@overload
def hold(
    context: Callable[[], AbstractAsyncContextManager[T, bool | None]],
    *,
    name: str | None = None,
    start_timeout: Seconds | None = None,
    shutdown_timeout: Seconds | None = None,
) -> Held[T]: ...


def hold(
    context: Any,
    *,
    name: str | None = None,
    start_timeout: Seconds | None = None,
    shutdown_timeout: Seconds | None = None,
) -> Any:
    """Make a service of an async context manager: its start enters it, its stop leaves it, whoever asks for these.

        held = hold(open_pool())
        await held.start()          # in one task
        await held.value.fetch()
        await held.stop()           # in another one

    The context is entered and left in a task of its own, so it may hold cancel scopes and task groups. If something
    inside it fails, the service crashes.

    Args:
        context: The context manager, which can be entered once as a rule; or a function or class that makes one, called
            without arguments at each start, for services that are to be restarted.
        name: The name of the service in the log; by default that of what makes the context.
        start_timeout: How long entering it may take, in seconds; by default as long as it likes.
        shutdown_timeout: How long leaving it may take, in seconds; by default as in any service.

    Returns:
        The service; what entering the context gave is its `Held.value`, while it runs.

    Raises:
        TypeError: If it is neither.
    """
    if _is_context(context):
        maker: Callable[[], Any] = _Once(context)
    elif _makes_contexts(context):
        maker = context
    else:
        _refuse_context(context, "hold()")
    held: Held[Any] = Held(
        maker, name=name, start_timeout=start_timeout, shutdown_timeout=shutdown_timeout
    )
    return held


class _Once:
    """Gives a context manager for one run."""

    def __init__(self, context: object) -> None:
        self.__wrapped__ = _maker_of_context(context)
        self._contexts = [context]

    def __call__(self) -> object:
        if not self._contexts:
            name = _name_of(self)
            raise LifecycleError(
                f"{name} can't be started again: the context that was passed to hold() has been used",
                f"Pass what makes it, to be called at each start: hold({name}), or hold(lambda: {name}(...))",
            )
        return self._contexts.pop()


@overload
def run(
    service: Job[T], *, backend: str = ..., backend_options: dict[str, Any] | None = ...
) -> T: ...
@overload
def run(
    service: Service | ServiceMixin,
    *,
    backend: str = ...,
    backend_options: dict[str, Any] | None = ...,
) -> object: ...


def run(
    service: Service | ServiceMixin,
    *,
    backend: str = "asyncio",
    backend_options: dict[str, Any] | None = None,
) -> Any:
    """Run a service until it stops, in an event loop of its own: for scripts.

    It is `anyio.run` around ``async with``: Ctrl-C stops the service in order and then raises KeyboardInterrupt. Logging
    and other signals are left alone; for these, exit codes and the command line, see `Worker`.

    Args:
        service: The service, of whichever face.
        backend: "asyncio", "asyncio+uvloop" or "trio".
        backend_options: Options for that, as `anyio.run` takes them.

    Returns:
        The result of a `Job`; None for other services.

    Raises:
        TypeError: If it is no service.
        ValueError: If there is no such backend.
        RuntimeError: If an event loop runs in this thread: use ``async with`` there.
        LifecycleError: If a job was stopped before its function had returned.
        BaseException: What the service crashed with, or could not start for, as it was raised.
    """
    if not isinstance(cast(object, service), Service | ServiceMixin):
        raise TypeError(f"run() takes a service, not {service!r}")
    arguments = engine.run_arguments(backend)
    options = {**arguments.pop("backend_options", {}), **(backend_options or {})}
    anyio.run(partial(_until_stopped, service), **arguments, backend_options=options)
    return service._returned() if isinstance(service, _Made) else None


async def _until_stopped(service: Service | ServiceMixin) -> None:
    if isinstance(service, ServiceMixin):
        await service.run()
    else:
        async with service:
            await service.wait_until_stopped()


# --- What is passed -------------------------------------------------------------------------------


def _is_async_function(function: Callable[..., Any]) -> bool:
    plain = function
    while isinstance(plain, partial):
        plain = plain.func
    if isinstance(
        plain, type
    ):  # what is called is the class; its `__call__` is that of what it makes
        return False
    called = getattr(plain, "__call__", None)  # noqa: B004 - of an instance that is called
    return inspect.iscoroutinefunction(plain) or inspect.iscoroutinefunction(called)


def _is_context(candidate: object) -> bool:
    return isinstance(candidate, AbstractAsyncContextManager)


def _is_sync_context(candidate: object) -> bool:
    return isinstance(candidate, AbstractContextManager)


def _makes_contexts(candidate: object) -> bool:
    if _is_sync_context(candidate) or inspect.isasyncgenfunction(candidate):
        return False
    return callable(candidate)


def _check_function(function: object) -> None:
    if _is_context(function) and not inspect.iscoroutinefunction(function):  # mocks may be both
        raise TypeError(
            f"service() takes a function, not the context {function!r}: write hold({_name_of(_maker_of_context(function))}(...))"
        )
    if inspect.iscoroutine(function):
        function.close()
        raise TypeError(
            "service() takes the function, not a coroutine of it: write service(function)(arguments)"
        )
    if not callable(function):
        raise TypeError(f"service() takes an async function, not {function!r}")
    if isinstance(function, type) and issubclass(function, Service):
        raise TypeError(f"{function.__name__} is a class of services already")


def _check_context(context: object, maker: Callable[..., Any]) -> None:
    if _is_context(context):
        return
    _refuse_context(context, _name_of(maker))


def _refuse_context(context: object, call: str) -> NoReturn:
    engine.close_all([context])
    message = f"{call}: {context!r} is no async context manager"
    if _is_sync_context(context):
        message += ", but one for plain `with`: a service holds it by self.add_context(...)"
    elif inspect.isasyncgen(context) or inspect.isasyncgenfunction(context):
        message += "; decorate the async generator function with @asynccontextmanager"
    elif inspect.isgenerator(context) or inspect.isgeneratorfunction(context):
        message += "; a generator function must be async, or decorated with @asynccontextmanager"
    raise TypeError(message)


def _maker_of_context(context: object) -> Callable[..., Any]:
    made_by = _own(context, "func")  # of @asynccontextmanager
    return made_by if callable(made_by) else type(context)


def _own(thing: object, attribute: str) -> Any:
    """An attribute that the object itself has been given, or None: of mocks and stubs one can get any."""
    return getattr(thing, "__dict__", {}).get(attribute)


def _plain(function: object) -> Any:
    """What a partial or a wrapper is made of."""
    plain: Any = function
    while (inner := _inner(plain)) is not None:
        plain = inner
    return plain


def _inner(function: object) -> Any:
    return function.func if isinstance(function, partial) else _own(function, "__wrapped__")


def _name_of(function: object) -> str:
    plain = _plain(function)
    name = getattr(plain, "__qualname__", None) or type(plain).__qualname__
    return str(name).rpartition("<locals>.")[2]


def _module_of(function: object) -> str:
    plain = _plain(function)
    return str(getattr(plain, "__module__", None) or __name__)
