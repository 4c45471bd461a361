"""Services: what is started, stopped, restarted and made of other services.

This is mode's face of the engine. A `Service` holds a `Life` of the engine, and its methods are a few lines each onto it;
what the engine asks back goes through a `ServiceUnit`, which turns the steps of a run into the hooks and log lines that
services have. Neither scopes nor task groups are opened here.
"""

from __future__ import annotations

import datetime
import inspect
import logging
import math
import weakref
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
)
from functools import partial, wraps
from types import TracebackType
from typing import Any, ClassVar, NoReturn, ParamSpec, Self, TypeVar, cast, overload

import anyio
import anyio.lowlevel

from structmode import _engine as engine
from structmode._claims import claim, is_claimed, name_of, refuse_claimed
from structmode._declare import (
    Body,
    CrontabTask,
    ServiceTask,
    TimerTask,
    crontab_declaration,
    declared_tasks,
    timer_declaration,
    where,
)
from structmode._diag import Diag
from structmode._engine import Task, WaitArg
from structmode._hooks import ServiceCallbacks, check_hooks, empty
from structmode._mixing import HasLife, life_of
from structmode._policies import OnError
from structmode._unit import ServiceUnit, service_of
from structmode._waits import WaitResult, WaitResults, wait_result, wait_results
from structmode.exceptions import LifecycleError
from structmode.health import Health
from structmode.timers import Timer
from structmode.types.services import DiagT, ServiceT
from structmode.types.supervisors import SupervisorStrategyT
from structmode.utils._seconds import Took
from structmode.utils.logging import CompositeLogger, get_logger, level_number
from structmode.utils.times import Seconds, want_seconds
from structmode.utils.trees import Node
from structmode.utils.types.trees import NodeT

__all__ = (
    "CrontabTask",
    "Diag",
    "Service",
    "ServiceBase",
    "ServiceCallbacks",
    "ServiceTask",
    "Task",
    "TimerTask",
    "WaitResult",
    "WaitResults",
    "crontab",
    "task",
    "timer",
)

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")
S = TypeVar("S", bound="Service")


class _Uninitialised:
    """Stands for an attribute that ``Service.__init__`` makes; being asked for it means that was never called."""

    def __get__(self, instance: object, owner: type) -> Any:
        if instance is None:
            return self
        raise LifecycleError(
            f"{type(instance).__qualname__} was not initialised as a service",
            _how_to_initialise(type(instance)),
        )


def _how_to_initialise(cls: type) -> str:
    if _is_initialised_as_a_dataclass(cls):
        return (
            "The __init__ that @dataclass has written for it knows of no service. Write @dataclass(init=False), and an __init__ that "
            "sets the fields and calls super().__init__(); or derive it from structmode.facet.ServiceMixin, which needs no __init__"
        )
    return (
        "Its __init__ must call super().__init__(**kwargs) before it uses the service; or use __post_init__(self) instead"
        f" of __init__ (see {where(cls.__init__)})"  # type: ignore[misc]
    )


def _is_initialised_as_a_dataclass(cls: type) -> bool:
    maker = next(base for base in cls.__mro__ if "__init__" in vars(base))
    parameters = vars(maker).get("__dataclass_params__")
    return parameters is not None and bool(parameters.init)


class _DiagWhenAsked:
    """Makes `Service.diag` for the first who asks, in whichever thread, and leaves it with the service."""

    def __get__(self, instance: Service | None, owner: type) -> Any:
        if instance is None:
            return self
        _ = instance._life  # one that was not initialised says so
        return vars(instance).setdefault("diag", instance.Diag(instance))


def _check_settings(cls: type[Service]) -> None:
    """Refuse settings in a class body that can't be used, while the class is made."""
    _check_setting(cls, "mundane_level", level_number)
    for name in ("start_timeout", "shutdown_timeout", "drain_timeout"):
        _check_setting(cls, name, want_seconds)


def _check_setting(cls: type[Service], name: str, read: Callable[[Any], object]) -> None:
    value = inspect.getattr_static(cls, name)
    if hasattr(value, "__get__"):  # a property will be read when there is an instance
        return
    try:
        read(value)
    except (TypeError, ValueError) as exc:
        raise type(exc)(f"{cls.__qualname__}.{name}: {exc}") from None


def _has_own_logger(cls: type) -> bool:
    """Whether the logger in a class body is the one that every service class gets, and nobody's choice."""
    return vars(cls).get("_module_logger") is vars(cls)["logger"]


class _NoLoop:
    """Stands for the event loop that a service passes on where there is none; who takes it ignores it."""

    def __init__(self, problem: str) -> None:
        self._problem = problem

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(self._problem)

    def __repr__(self) -> str:
        return "<no event loop>"


class ServiceBase(ServiceT):
    """What services have apart from a life: a log of their own, and a place for class-level settings.

    Args:
        beacon: Accepted for subclasses.
        loop: Accepted for programs written for mode; a service finds its event loop when it is started.
    """

    #: Whether the class is only there to be a base of others. Not inherited.
    abstract: ClassVar[bool] = True

    #: The logger of the service; that of its module unless a class says otherwise.
    logger: logging.Logger = get_logger(__name__)

    #: Log methods that put the name and depth of the service before each message.
    log: CompositeLogger = _Uninitialised()  # type: ignore[assignment]

    _module_logger: ClassVar[logging.Logger] = logger

    #: Whether a hook is being called that says what the service is made of, and so passes things on to others.
    _composing: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "abstract" not in vars(cls):
            cls.abstract = False
        if not any("logger" in vars(base) and not _has_own_logger(base) for base in cls.__mro__):
            cls.logger = cls._module_logger = get_logger(cls.__module__)

    def __init__(self, *, beacon: NodeT[Any] | None = None, loop: Any = None) -> None:
        if type(self).abstract:
            raise TypeError(
                f"{type(self).__qualname__} is abstract: make a subclass of it, and an instance of that"
            )
        self.log = CompositeLogger(self.logger, self._format_log)
        self._init_other_bases(beacon, loop)

    def _init_other_bases(self, beacon: NodeT[Any] | None, loop: Any) -> None:
        """Initialise what a class has as bases besides a service; in mode that is left to the class."""
        super().__init__(beacon=beacon, loop=loop)

    def _format_log(self, severity: int, message: str, *args: Any, **kwargs: Any) -> str:
        # A name may be made of what is gone by now, such as a connection; that is no reason for a stop to fail.
        try:
            name = self.shortlabel
        except Exception:  # noqa: BLE001
            name = type(self).__name__
        prefix = f"[^{'-' * (self.beacon.depth - 1)}{name}]: "
        # The message may be anything, such as an exception, as for every logger.
        return f"{prefix.replace('%', '%%') if args else prefix}{message}"

    @property
    def loop(self) -> Any:
        """The running asyncio event loop.

        In `__post_init__`, `on_init` and `on_init_dependencies` it may be passed on, as in ``Other(loop=self.loop)``,
        where there is none as well: then it is a stand-in that raises when it is used.

        Raises:
            RuntimeError: On trio, and where no event loop runs.
        """
        try:
            return engine.running_asyncio_loop()
        except RuntimeError:
            problem = (
                f"{type(self).__qualname__}.loop is the running asyncio event loop, and there is none here. What works on every "
                "backend: anyio.lowlevel.current_token() to name the loop, self.add_future() to run something on it, "
                "anyio.current_time() for its clock. An argument loop=self.loop may be left out: services find their loop"
            )
            if self._composing:
                return _NoLoop(problem)
            raise RuntimeError(problem) from None

    @loop.setter
    def loop(self, loop: object) -> None:
        """Take a loop and ignore it, as the argument of the constructor is ignored; a service finds its loop."""


class Service(ServiceBase, ServiceCallbacks):
    """Something that is started, stopped and restarted, and that may be made of other such things.

    A service belongs to exactly one owner while it runs: an ``async with`` block, its parent service, a worker, or, after
    a bare `start`, the event loop. All that it runs - tasks, timers, futures, contexts, children - ends before it does.

        class Greeter(Service):
            @Service.timer(1.0)
            async def greet(self) -> None:
                print("hello")

        async def main() -> None:
            async with Greeter():
                await anyio.sleep(3)

        anyio.run(main)

    All methods that wait are checkpoints, may be called from any task of the event loop that the service runs on, and
    may be cancelled. Methods are not thread-safe.

    Unlike in mode, a crash leaves the ``async with`` block as the exception that it is, and a failed start is undone.

    Args:
        beacon: A node below which the service is shown in the tree, until it is added to another service.
        loop: Accepted for programs written for mode, and ignored.
    """

    abstract: ClassVar[bool] = False

    #: The class of `diag`.
    Diag: type[DiagT] = Diag

    #: Whether a stop waits, after everything was told to end, until `set_shutdown` is called.
    wait_for_shutdown: bool = False

    #: How long a start may take in all, children included, in seconds; by default as long as it likes. A start that takes
    #: longer fails with a `StartTimeout`, which names what is still being started and shows where that stands.
    start_timeout: float = math.inf

    #: How long a stop may take in all, children included, in seconds. What is left then is cancelled.
    shutdown_timeout: float = 60.0

    #: How long tasks may take to end by themselves when the service stops, before they are cancelled, in seconds.
    drain_timeout: float = 0.0

    #: How often this service has been restarted.
    restart_count: int = 0

    #: The log level for what is mundane, such as starting and stopping.
    mundane_level: str = "info"

    #: The supervisor that looks after this service, if one does.
    supervisor: SupervisorStrategyT | None = None

    #: What the service is doing at the moment; made for the first who asks.
    diag: DiagT = _DiagWhenAsked()  # type: ignore[assignment]

    _life: engine.Life = _Uninitialised()  # type: ignore[assignment]
    _beacon: Node[Any] = _Uninitialised()  # type: ignore[assignment]
    _declared: ClassVar[tuple[ServiceTask, ...]] = ()
    # What a task must not be called: it would take the place of that.
    _names_taken: ClassVar[frozenset[str]] = frozenset()
    _block: engine.OwnedBlock | None = None
    # The schedules that were made, timers and crontabs, each with its run; held weakly, as nobody says when one is no longer
    # used.
    _schedules: Sequence[tuple[weakref.ref[Any], engine.Run]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_hooks(cls)
        _check_settings(cls)
        cls._declared = declared_tasks(cls, cls._names_taken)

    def __init__(self, *, beacon: NodeT[Any] | None = None, loop: Any = None) -> None:
        if self._composing:
            raise LifecycleError(
                f"{type(self).__qualname__}.__init__ was called while the service was being made, by __post_init__ or on_init",
                _how_to_initialise(type(self))
                if _is_initialised_as_a_dataclass(type(self))
                else "Leave that out: the service has been initialised when these are called",
            )
        self._beacon = Node(self, parent=beacon)
        self._unit = self._make_unit()
        self._life = self._make_life()
        super().__init__(beacon=beacon, loop=loop)
        with self._unit.composing():
            self.on_init()
            with self._unit.noting_children():
                self.__post_init__()

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied or pickled: two objects would be one service. A subclass may say how another one is made.

        Raises:
            TypeError: In any case.
        """
        raise TypeError(
            f"{type(self).__qualname__} is a service, which can be neither copied nor pickled: make another one, "
            "with the arguments that this one was made with"
        )

    def _make_unit(self) -> ServiceUnit:
        """Make what the engine sees of the service; some kinds of services show it more."""
        return ServiceUnit(self)

    def _make_life(self) -> engine.Life:
        """Make what holds its runs; some kinds of services are begun in another way."""
        return engine.Life(self._unit)

    def _structmode_life(self) -> engine.Life:
        """Return the life by which others hold it; other faces ask for it."""
        return self._outer

    @property
    def _outer(self) -> engine.Life:
        """The life by which others hold the service: its own, unless that is in a thread of its own."""
        return self._life

    # -- Hooks that do not wait

    def __post_init__(self) -> None:
        """The service has been made, or is about to start again; add attributes and dependencies here.

        Called in a restart too, after the dependencies that it added the last time have been dropped.
        """

    def on_init(self) -> None:
        """The service has been made; called once, before `__post_init__`."""

    @empty
    def on_init_dependencies(self) -> Iterable[ServiceT | Iterable[ServiceT]]:
        """Return the services that start and stop with this one; called when it starts for the first time.

        Services in a list of their own start and stop at the same time; see `add_dependency_group`.
        """
        return ()

    # -- What it is

    @property
    def health(self) -> Health:
        """How well it is: what it says of itself with `Health.degrade`, and what probes and people read."""
        return Health(self)

    @property
    def started(self) -> bool:
        """Whether it has been started, and has not yet stopped.

        True in all its hooks but those of its constructor, `on_init` and the first `__post_init__`.
        """
        return self._outer.alive

    @property
    def crashed(self) -> bool:
        """Whether a failure has reached it: its own, that of a service it owns, or that of the service that owns it."""
        return self.crash_reason is not None

    @property
    def crash_reason(self) -> BaseException | None:
        """The exception that it crashed with; None if it did not, or has been started or reset since."""
        return self._life.current.crash_reason

    @property
    def failures(self) -> Sequence[BaseException]:
        """All that went wrong in the current run, or the last one, in order; the first is what leaves it."""
        return tuple(self._life.current.failures)

    @property
    def should_stop(self) -> bool:
        """Whether it must stop: it has been told to, or something in its tree has crashed, or it has stopped."""
        return self._life.signal.is_set()

    @property
    def state(self) -> str:
        """Its state: init, starting, running, stopping, shutdown, restarting or crashed.

        A start that failed leaves it in "init", as if it had never been started.
        """
        run = self._outer.current
        if self._outer.restarting or (run.restarting and run.state is engine.State.STARTING):
            return "restarting"
        if run.crash_reason is not None:
            return "crashed"
        if run.state is engine.State.STOPPED:
            return "shutdown" if run.was_up else "init"
        if run.state.alive:
            return "stopping" if run.stop_requested else run.state.value
        return "init"

    @property
    def label(self) -> str:
        """Its name in graphs and reports."""
        return type(self).__name__

    @property
    def shortlabel(self) -> str:
        """Its name in the log."""
        return self.label

    @property
    def beacon(self) -> Node[Any]:
        """Its place in the tree of services."""
        return self._beacon

    @property
    def exit_stack(self) -> ExitStack:
        """The stack of its contexts, for code that knows an `ExitStack`.

        What is added here is closed together with async contexts, last-in first-out, when the service stops.
        """
        return self._contexts("exit_stack").sync

    @property
    def async_exit_stack(self) -> AsyncExitStack:
        """The stack of its contexts, for code that knows an `AsyncExitStack`; closed when the service stops.

        ``enter_async_context`` enters and leaves the context in a task of its own, as `add_async_context` does. That task
        is one of the service's, so what ``pop_all`` takes over must be closed before the service has stopped: a stop waits
        for that, and when its time is over, it names what is still open, and leaves it by force.
        """
        return self._contexts("async_exit_stack")

    def __repr__(self) -> str:
        if "_life" not in vars(self):
            return f"<{type(self).__name__}: not initialised>"
        info = self._repr_info()
        gap = " " if info and not info.startswith(",") else ""
        return f"<{self.label}: {self.state}{gap}{info}{self._repr_tasks()}>"

    def _repr_tasks(self) -> str:
        count = len(self._life.current.tasks)
        return f", {count} task{'s' if count != 1 else ''}" if self._life.alive else ""

    def _repr_info(self) -> str:
        """Return what a subclass wants to say of itself in its `repr`: more of its state, or, after a comma, something else."""
        return ""

    # -- Life

    async def __aenter__(self) -> Self:
        block = self._outer.block()
        await block.__aenter__()
        self._block = block
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        block, self._block = self._block, None
        if block is None:
            raise LifecycleError(
                f"{self.label} is not in an `async with` block", "Write: async with service: ..."
            )
        await block.__aexit__(exc_type, exc, traceback)  # noqa: ASYNC102 - the wait shields itself

    async def start(self) -> None:
        """Start the service; returns when `on_started` has returned.

        Its owner is the ``async with`` block it is in, or else its parent, if that runs, or else the event loop run,
        which stops it at its end with a `ResourceWarning`. A start that fails, or whose caller is cancelled, is undone in
        reverse order before the error leaves; the service may then be started again.

        Raises:
            LifecycleError: If it runs already, or its parent is stopping.
            StartAborted: If it was told to stop before it had started.
            BaseException: What made the start fail, as it was raised.
        """
        await self._outer.start()

    async def maybe_start(self) -> bool:
        """Start the service, unless it runs.

        If another task is starting it, this waits until it has started.

        Returns:
            True if this call started it.

        Raises:
            BaseException: What made the start fail, as for `start`.
        """
        return await self._outer.maybe_start()

    async def stop(self) -> None:
        """Stop the service; returns when nothing of it is left.

        Any number of tasks may call it, of one stop: `on_stop` runs once, and all return after the one stop. From a hook
        of the service, or of one that it owns, it returns at once, and the stop follows. From one of the service's tasks
        the caller is cancelled as part of the stop. If the caller is cancelled, the stop goes on. Before a start, and
        after a stop, it does nothing.

        Raises:
            ShutdownTimeout: If it took longer than `shutdown_timeout`; what was left has been cancelled.
            BaseException: What else went wrong in the stop of a service that had been well until then.
        """
        await self._outer.stop()

    async def restart(self) -> None:
        """Stop the service and start it again, in the same owner; returns when it has started.

        The new run starts with fresh state: late calls from what is left of the old one do nothing. From inside the
        service it behaves as `stop` does, and the new start follows. If nobody waits for the new start and it fails, that
        is a crash.

        Raises:
            StartAborted: If it was stopped for good before it had started again.
            BaseException: What made the stop or the new start fail, as it was raised.
        """
        await self._outer.restart()

    async def crash(self, reason: BaseException) -> None:
        """Crash the service, its children and all services above it; returns at once, and the stop follows.

        A service that does not run can't crash: the reason is logged then.

        Args:
            reason: The exception that will leave the owner's block.

        Raises:
            TypeError: If it is no exception.
        """
        if not isinstance(reason, BaseException):
            raise TypeError(
                f"crash() takes the exception that is the reason, as in crash(RuntimeError('...')); not {reason!r}"
            )
        await anyio.lowlevel.checkpoint()
        self._outer.current.check_loop("crash()")
        self._outer.fail(reason, "crash()")

    def service_reset(self) -> None:
        """Make a stopped service as new: no crash, no failures, state "init". `start` does this by itself.

        Raises:
            LifecycleError: If it runs.
        """
        self._outer.forget()

    def set_shutdown(self) -> None:
        """Allow a stop to be completed, where `wait_for_shutdown` asks for that; counts for the current run.

        Raises:
            EventLoopMismatch: If it is called outside of the event loop that the service was started on.
        """
        run = self._life.addressed_or_current()
        if run is not None:
            run.check_loop("set_shutdown()")
            run.permission.set()

    # -- Other services

    def add_dependency(self, service: ServiceTX) -> ServiceTX:
        """Make `service`, of this face or of `structmode.facet`, start and stop with this one.

        Added before the start or in a hook up to `on_start`, it is started after this service's own tasks. Added to a
        service that runs, it is only registered: see `add_runtime_dependency`. What a service's own code adds while it
        runs is dropped when that run is over, since that code will run again; what `on_first_start` adds stays.

        Returns:
            The service.

        Raises:
            TypeError: If it is no service.
            LifecycleError: If it is this service or one above it, or if it runs elsewhere.
        """
        self._keep_child(_want_life(service, "add_dependency"))
        return service

    def add_dependency_group(self, *services: ServiceT | HasLife) -> None:
        """Make `services` start and stop with this one, all of them at the same time.

        They are begun in the order given, and do not wait for each other; what comes after them waits for all. The first
        that fails to start calls the others off, and that is undone as any start is. They stop at the same time, too.
        Otherwise as `add_dependency`; `on_init_dependencies` may return such groups as lists inside of its list. mode has
        nothing like it.

        Raises:
            TypeError: If one is no service.
            LifecycleError: If one is this service or one above it, or runs elsewhere.
        """
        together = object()
        for child in [_want_life(service, "add_dependency_group") for service in services]:
            self._keep_child(child, together)

    def _keep_child(self, child: engine.Life, together: object = None) -> None:
        self._life.add_child(child, together)
        if child.parent is self._life:  # not if what is left of a former run adds it
            service = service_of(child.unit)
            if isinstance(service, Service):  # the other face has no place in the tree of nodes
                self._show_below(service)
            self._unit.note_child(child)

    def _show_below(self, child: Service) -> None:
        if child.beacon.parent is not self.beacon:
            child.beacon.reattach(self.beacon)

    async def add_runtime_dependency(self, service: ServiceTX) -> ServiceTX:
        """Make `service` start and stop with this one, and start it now, if this one runs.

        Returns:
            The service.

        Raises:
            LifecycleError: As `add_dependency`; also if this service is stopping.
            BaseException: What made the start fail, as it was raised; the service has been removed again then.
        """
        child = _want_life(service, "add_runtime_dependency")
        self._life.current.check_loop("add_runtime_dependency()")
        self.add_dependency(service)
        if not self._life.alive:
            await anyio.lowlevel.checkpoint()
            return service
        try:
            if child.parent is self._life:  # not if what is left of a former run calls
                await child.start_as_child()
        except BaseException:
            if not child.alive:
                self._life.drop_child(child)
            raise
        return service

    async def remove_dependency(self, service: ServiceTX) -> ServiceTX:
        """Stop a service that was added to this one, and forget it.

        Returns:
            The service.

        Raises:
            LifecycleError: If it was not added to this one.
            BaseException: What went wrong in its stop; it has been removed then.
        """
        child = _want_life(service, "remove_dependency")
        if child.parent is not self._life:
            raise LifecycleError(
                f"{child.unit.label} can't be removed from {self.label}: it is not one of its dependencies",
                f"It belongs to {child.parent.unit.label}"
                if child.parent is not None
                else "It belongs to no service",
            )
        await self._life.remove_child(child)
        return service

    async def join_services(self, services: Sequence[ServiceT]) -> None:
        """Start `services` as dependencies of this one, and wait until this one is told to stop.

        They are stopped with it, in reverse order.
        """
        for service in services:
            await self.add_runtime_dependency(service)
        await self.wait_until_stopped()

    # -- Work

    @overload
    @classmethod
    def task(cls, fun: Body[R]) -> ServiceTask[R]: ...
    @overload
    @classmethod
    def task(
        cls, *, on_error: OnError = ..., backoff: engine.Backoff | None = ..., forever: bool = ...
    ) -> Callable[[Body[R]], ServiceTask[R]]: ...
    @classmethod
    def task(
        cls,
        fun: Body[R] | None = None,
        *,
        on_error: OnError = "crash",
        backoff: engine.Backoff | None = None,
        forever: bool = False,
    ) -> ServiceTask[R] | Callable[[Body[R]], ServiceTask[R]]:
        """Declare a method to be run in the background while the service runs.

        An exception that leaves it crashes the service, if `on_error` says nothing else; it may return. It is cancelled
        when the service stops, after `drain_timeout`. Overriding it in a subclass keeps its place; setting it to None there
        switches it off.

            @Service.task
            async def watch(self) -> None:
                while not self.should_stop:
                    await self.sleep(1.0)

            @Service.task(on_error="restart", forever=True)
            async def listen(self) -> None:
                async for message in self.subscription():
                    ...

        Args:
            fun: The method, if it is decorated without settings.
            on_error: What an exception that leaves the method does. "crash" the service; or it is logged with its traceback and
                told as an event, and the task is over ("log"), or begun again after a back-off ("restart").
            backoff: How long to wait before it is begun again; by default as in `Backoff`.
            forever: Whether the method is to go on as long as the service: if it returns before, that is an error, and
                ``TaskReturned`` is dealt with as `on_error` says.

        Raises:
            TypeError: If it is no ``async def`` that takes nothing but ``self``.
            ValueError: If there is no such `on_error`, or it has no use for a back-off.
        """
        settings = {"on_error": on_error, "backoff": backoff, "forever": forever}
        if fun is None and settings != {"on_error": "crash", "backoff": None, "forever": False}:
            return partial(ServiceTask, **settings)  # type: ignore[arg-type]
        # None, from parentheses with nothing in them, is refused there.
        return ServiceTask(
            cast("Body[R]", fun), on_error=on_error, backoff=backoff, forever=forever
        )

    @classmethod
    def timer(
        cls,
        interval: Seconds,
        *,
        exec_first: bool = False,
        name: str | None = None,
        max_drift_correction: float = 0.1,
        on_error: OnError = "crash",
        backoff: engine.Backoff | None = None,
    ) -> Callable[[Body[R]], TimerTask[R]]:
        """Declare a method to be run every so many seconds while the service runs.

        The schedule is absolute: it does not shift with the time that the method takes. Ticks that a run overlaps are
        left out.

        Args:
            interval: The time from tick to tick: seconds, a timedelta, or a string.
            exec_first: Whether it runs once at the start already.
            name: How the timer is called in the log; by default "Service.method".
            max_drift_correction: The seconds by which a tick may come early to make up for a late one.
            on_error: What an exception that leaves the method does. "crash" the service; or it is logged with its traceback
                and told as an event, and the schedule goes on ("log"), or the method is run again after a back-off, and the
                schedule goes on when it has succeeded ("restart").
            backoff: How long to wait before it is run again; by default as in `Backoff`.

        Raises:
            ValueError: If the interval is not above zero, or can't be read.
        """
        declare = timer_declaration(
            interval,
            exec_first=exec_first,
            name=name,
            max_drift_correction=max_drift_correction,
            on_error=on_error,
            backoff=backoff,
        )
        Timer(
            interval, max_drift_correction=max_drift_correction
        )  # refuses a correction it can't use
        return declare

    @classmethod
    def crontab(
        cls,
        cron_format: str,
        *,
        timezone: datetime.tzinfo | None = None,
        on_error: OnError = "crash",
        backoff: engine.Backoff | None = None,
    ) -> Callable[[Body[R]], CrontabTask[R]]:
        """Declare a method to be run at the times that a cron line names, while the service runs.

        It never runs twice for one time, unless the system's clock is set back by more than a day. Where clocks change, a
        line with a fixed hour runs once for each day it names, and one that runs every hour or more often goes by elapsed
        time. A time that has passed while the service was busy is made up for once, and logged.

        Args:
            cron_format: The line: minute, hour, day of month, month, day of week.
            timezone: The zone in which it is read; UTC by default.
            on_error: What an exception that leaves the method does; see `timer`.
            backoff: How long to wait before it is run again; see `timer`.

        Raises:
            ValueError: If the line can't be read.
        """
        return crontab_declaration(cron_format, timezone, on_error=on_error, backoff=backoff)

    def add_future(self, coro: WaitArg[T], *, name: str | None = None) -> Task[T]:
        """Run something in the background, as a task of this service.

        Before the start it is kept until then. On a service that is stopping it is not run at all: its handle counts as
        cancelled. An exception that leaves it crashes the service. It is cancelled when the service stops, after
        `drain_timeout`.

        Args:
            coro: A coroutine, an awaitable, or an async callable.
            name: How the task is called in reports.

        Returns:
            A handle: await it for the result; ``cancel()``, ``done()``, ``result()`` and so on work as on a future.
            Unlike an asyncio future, it is not cancelled when somebody who awaits it is.

        Raises:
            TypeError: If it can't be run.
            ValueError: If it is a coroutine that runs already, or was passed before.
        """
        run = self._life.addressed_or_upcoming()
        if run is not None:
            try:
                run.check_loop("add_future()")
            except LifecycleError:
                engine.close_all([coro])
                raise
        work = engine.as_work(coro)
        claim(coro)
        handle: Task[T] = Task(work, name or name_of(coro))
        if run is None:
            handle.discard_with_run()
            return handle
        return run.spawn(handle)

    @classmethod
    def from_awaitable(
        cls, coro: WaitArg[Any], *, name: str | None = None, **kwargs: Any
    ) -> Service:
        """Make a service whose work is `coro`: it runs in the background from start to stop.

        `start` does not wait for it. A coroutine can run only once, so a service that is to be restarted needs an async
        callable.

        Args:
            coro: A coroutine, an awaitable, or an async callable.
            name: The name of the service; by default that of `coro`.
            **kwargs: Arguments of the service class.

        Raises:
            TypeError: If it can't be run.
            ValueError: If it is a coroutine that runs already, or was passed before.
        """
        engine.check_awaitable(coro)
        claim(coro)
        return _AwaitableService(coro, name or name_of(coro), **kwargs)

    def itertimer(
        self,
        interval: Seconds,
        *,
        max_drift_correction: float = 0.1,
        sleep: Callable[[float], Awaitable[object]] | None = None,
        clock: Callable[[], float] | None = None,
        name: str = "",
        loop: Any = None,
    ) -> AsyncIterator[float]:
        """Iterate over the ticks of a timer, until the service stops.

        It waits a full interval before the first iteration, and gives the seconds until the next tick. The schedule is
        absolute, as for `timer`. It is no async generator: leaving the loop early leaves nothing behind.

        Args:
            interval: The time from tick to tick: seconds, a timedelta, or a string.
            max_drift_correction: The seconds by which a tick may come early to make up for a late one.
            sleep: What to sleep with; by default `Service.sleep`, which ends when the service stops.
            clock: What to tell the time by; by default the event loop's clock.
            name: How the timer is called in the log.
            loop: Accepted for programs written for mode, and ignored.

        Raises:
            ValueError: If the interval is not above zero, or can't be read.
        """
        ticking = Timer(
            interval,
            max_drift_correction=max_drift_correction,
            name=name or self.shortlabel,
            clock=clock or anyio.current_time,
            sleep=sleep or self.sleep,
        )
        self._keep_in_sight(ticking)
        return _ServiceTicks(self, ticking)

    def _keep_in_sight(self, schedule: Timer | Any) -> None:
        """Let those who look into the service find a schedule, as long as it is used."""
        known = [(which, its) for which, its in self._schedules if which() is not None]
        self._schedules = [*known, (weakref.ref(schedule), self._life.current)]

    def _schedules_in_use(self) -> list[Timer | Any]:
        """Return the schedules of the run that there is; what is left of a former one may outlast it."""
        run = self._life.current
        known = [(which(), its) for which, its in self._schedules]
        return [one for one, its in known if one is not None and its is run and run.state.alive]

    def _ticks_skipped(self, name: str, count: int) -> None:
        engine.emit(engine.TicksSkipped, self, name, count)

    def _tick_failed(self, name: str, error: Exception, again_in: float | None) -> None:
        self._log_failed(name, error, again_in, "goes on")
        engine.emit(engine.TickFailed, self, name, error)

    def _task_failed(self, name: str, error: Exception, again_in: float | None) -> None:
        self._log_failed(name, error, again_in, "is over")
        engine.emit(engine.TaskFailed, self, name, error, again_in)

    def _log_failed(self, name: str, error: Exception, again_in: float | None, then: str) -> None:
        if again_in is not None:
            then = f"is run again in {Took(again_in)}"
        self.log.error("%s failed, and %s: %r", name, then, error, exc_info=error)

    # -- Waiting

    async def sleep(self, n: Seconds, *, loop: Any = None) -> None:
        """Sleep for `n` seconds, or until the service stops or crashes.

        Args:
            n: Seconds, a timedelta, or a string; zero and less is a mere checkpoint.
            loop: Accepted for programs written for mode, and ignored.
        """
        await engine.sleep(self._signal("sleep()"), want_seconds(n))

    @overload
    async def wait(self, *, timeout: Seconds | None = None) -> WaitResult[None]: ...
    @overload
    async def wait(
        self, coro: WaitArg[T], /, *, timeout: Seconds | None = None
    ) -> WaitResult[T]: ...
    @overload
    async def wait(
        self,
        first: WaitArg[Any],
        second: WaitArg[Any],
        /,
        *more: WaitArg[Any],
        timeout: Seconds | None = None,
    ) -> WaitResult[list[Any]]: ...
    async def wait(self, *coros: WaitArg[Any], timeout: Seconds | None = None) -> WaitResult[Any]:
        """Wait for something to end, or until the service stops or crashes, or the timeout passes.

        What has not ended by then is cancelled, and has ended when this returns.

        Args:
            *coros: What to wait for: coroutines, awaitables, async callables, or events. With several, all of them; the
                result is a list then. With none, the stop itself.
            timeout: Seconds after which to give up.

        Returns:
            ``(result, stopped)``. After a timeout, ``stopped`` is False and ``.timed_out`` is True.

        Raises:
            anyio.TaskCancelled: If somebody cancels what is awaited, such as an asyncio future.
            BaseException: What leaves one of the awaited things.
        """
        if not coros:
            return await self._wait_for_stop(timeout)
        if len(coros) > 1:
            return await self.wait_many(coros, timeout=timeout)
        signal, limit = self._prepare_wait(coros, timeout)
        outcome = await engine.all_of(signal, coros, limit)
        return wait_result(outcome, outcome.done.get(0))

    @overload
    async def wait_many(
        self, coros: Iterable[WaitArg[T]], *, timeout: Seconds | None = None
    ) -> WaitResult[list[T]]: ...
    @overload
    async def wait_many(
        self, coros: Iterable[WaitArg[Any]], *, timeout: Seconds | None = None
    ) -> WaitResult[list[Any]]: ...
    async def wait_many(
        self, coros: Iterable[WaitArg[Any]], *, timeout: Seconds | None = None
    ) -> WaitResult[list[Any]]:
        """Wait for all of several things; otherwise as `wait`.

        The first of them is awaited in the calling task, each other in a task of its own.

        Returns:
            ``(results, stopped)``, the results in the order of the arguments.
        """
        things = _listed(coros)
        signal, limit = self._prepare_wait(things, timeout)
        outcome = await engine.all_of(signal, things, limit)
        complete = not (outcome.stopped or outcome.timed_out)
        return wait_result(
            outcome, [outcome.done[i] for i in range(len(things))] if complete else None
        )

    @overload
    async def wait_first(
        self, coro: WaitArg[T], /, *, timeout: Seconds | None = None
    ) -> WaitResults[T]: ...
    @overload
    async def wait_first(
        self, first: WaitArg[T], second: WaitArg[R], /, *, timeout: Seconds | None = None
    ) -> WaitResults[T | R]: ...
    @overload
    async def wait_first(
        self, *coros: WaitArg[Any], timeout: Seconds | None = None
    ) -> WaitResults[Any]: ...
    async def wait_first(
        self, *coros: WaitArg[Any], timeout: Seconds | None = None
    ) -> WaitResults[Any]:
        """Wait for the first of several things; the others are cancelled. Otherwise as `wait`.

        The first one that is passed is awaited in the calling task, each other in a task of its own.

        Returns:
            ``(done, results, stopped)``: what had ended, as it was passed, and the result of each.
        """
        signal, limit = self._prepare_wait(coros, timeout)
        outcome = await engine.first_of(signal, coros, limit)
        return wait_results(outcome, coros)

    async def wait_for_stopped(self, *coros: WaitArg[Any], timeout: Seconds | None = None) -> bool:
        """Wait as `wait` does, and tell only whether the service stops.

        Returns:
            True if the wait was cut short because the service stops; False also after a timeout.
        """
        return (await self.wait(*coros, timeout=timeout)).stopped

    async def wait_until_stopped(self) -> None:
        """Wait until the service is told to stop, or crashes; before a start, until that happens in its next run."""
        await self._signal("wait_until_stopped()").wait()

    def _signal(self, call: str) -> engine.StopSignal:
        self._life.current.check_loop(call)
        return self._life.signal

    def _prepare_wait(
        self, coros: Sequence[object], timeout: Seconds | None
    ) -> tuple[engine.StopSignal, float]:
        """Check the arguments of a wait; if they can't be used, the coroutines among them are closed."""
        claimed = [coro for coro in coros if is_claimed(coro)]
        try:
            refuse_claimed(claimed)
            if not _LISTS.isdisjoint(map(type, coros)):
                _refuse_lists(coros)
            return self._signal("wait()"), _timeout(timeout)
        except BaseException:
            engine.close_all([coro for coro in coros if coro not in claimed])
            raise

    async def _wait_for_stop(self, timeout: Seconds | None) -> WaitResult[Any]:
        signal = self._signal("wait()")
        await engine.sleep(signal, _timeout(timeout))
        stopped = signal.is_set()
        return wait_result(engine.Outcome({}, stopped=stopped, timed_out=not stopped), None)

    # -- Contexts

    def add_context(self, context: AbstractContextManager[T, bool | None]) -> T:
        """Enter a context now, and leave it when the service stops; last in, first out, together with async ones.

        Added before the start, it is left when the run that follows stops.

        Returns:
            What entering it gave.

        Raises:
            TypeError: If it is not a context manager for plain ``with``; or if it is a cancel scope, which belongs to the
                task that enters it.
            LifecycleError: If the contexts of the run have been left, as they have in `on_shutdown`.
        """
        return self._contexts("add_context()").sync.enter_context(context)

    async def add_async_context(self, context: AbstractAsyncContextManager[T, bool | None]) -> T:
        """Enter an async context now, and leave it when the service stops; last in, first out, together with sync ones.

        It is entered and left in a task of its own, so it may hold cancel scopes and task groups. If something inside it
        fails, the service crashes.

        Returns:
            What entering it gave.

        Raises:
            TypeError: If it is not a context manager for ``async with``.
            LifecycleError: If the service does not run, or is stopping.
            BaseException: What entering it raised.
        """
        return await self._contexts("add_async_context()").enter_async_context(context)

    def _contexts(self, call: str) -> engine.Contexts:
        run = self._life.addressed_or_upcoming()
        if run is None:
            raise LifecycleError(
                f"{call} of {self.label} was called by what is left of a former run, and a context belongs to one run",
                "Have tasks end when should_stop is true, or hold the context yourself",
            )
        run.check_loop(call)
        return run.contexts

    # -- Diagnosis

    @classmethod
    def transitions_to(
        cls, flag: str
    ) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Coroutine[Any, Any, R]]]:
        """Decorate an async method so that `diag` has `flag` set while it runs."""

        def decorate(method: Callable[P, Awaitable[R]]) -> Callable[P, Coroutine[Any, Any, R]]:
            @wraps(method)
            async def flagged(*args: P.args, **kwargs: P.kwargs) -> R:
                service: Any = args[0]
                service.diag.set_flag(flag)
                try:
                    return await method(*args, **kwargs)
                finally:
                    service.diag.unset_flag(flag)

            return flagged

        return decorate

    #: The name that the manual of mode has for `transitions_to` in its examples.
    transitions_with = transitions_to

    @overload
    async def transition_with(self, flag: str, fut: Awaitable[R]) -> R: ...
    @overload
    async def transition_with(
        self, flag: str, fut: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    async def transition_with(self, flag: str, fut: Any, *args: Any, **kwargs: Any) -> Any:
        """Await something while `diag` has `flag` set; returns its result.

        Args:
            flag: The flag.
            fut: An awaitable, or an async callable.
            *args: Arguments for an async callable.
            **kwargs: Keyword arguments for an async callable.
        """
        try:
            await anyio.lowlevel.checkpoint()
        except BaseException:
            engine.close_all([fut])
            raise
        self.diag.set_flag(flag)
        try:
            return await cast("Awaitable[Any]", fut(*args, **kwargs) if callable(fut) else fut)
        finally:
            self.diag.unset_flag(flag)

    def tracebacks(self) -> Mapping[str, str]:
        """Return where each task of the service stands: its stack as text, by its name."""
        stacks: dict[str, str] = {}
        for name, stack in self._life.current.stacks():
            count = 1 + sum(
                1 for known in stacks if known == name or known.startswith(f"{name} (")
            )
            stacks[name if count == 1 else f"{name} ({count})"] = stack
        return stacks

    def human_tracebacks(self) -> str:
        """Return the tracebacks as one text, for people to read."""
        parts = [
            f"{self.shortlabel}: {name}\n{stack.rstrip()}\n"
            for name, stack in self.tracebacks().items()
        ]
        return "\n".join(parts) or f"{self.shortlabel}: no tasks\n"

    def _log_mundane(self, message: str) -> None:
        self.log.log(self.mundane_level, message)


Service._names_taken = frozenset(
    name for name in dir(Service) if name == "__post_init__" or name[0] != "_"
)

ServiceTX = TypeVar("ServiceTX", bound="ServiceT | HasLife")


@overload
def task(fun: Body[R]) -> ServiceTask[R]: ...
@overload
def task(
    *, on_error: OnError = ..., backoff: engine.Backoff | None = ..., forever: bool = ...
) -> Callable[[Body[R]], ServiceTask[R]]: ...
def task(fun: Body[Any] | None = None, **settings: Any) -> Any:
    """Declare a method to be run in the background; see `Service.task`."""
    return Service.task(cast("Body[Any]", fun), **settings)


def timer(
    interval: Seconds,
    *,
    exec_first: bool = False,
    name: str | None = None,
    max_drift_correction: float = 0.1,
    on_error: OnError = "crash",
    backoff: engine.Backoff | None = None,
) -> Callable[[Body[R]], TimerTask[R]]:
    """Declare a method to be run every so many seconds; see `Service.timer`."""
    return Service.timer(
        interval,
        exec_first=exec_first,
        name=name,
        max_drift_correction=max_drift_correction,
        on_error=on_error,
        backoff=backoff,
    )


def crontab(
    cron_format: str,
    *,
    timezone: datetime.tzinfo | None = None,
    on_error: OnError = "crash",
    backoff: engine.Backoff | None = None,
) -> Callable[[Body[R]], CrontabTask[R]]:
    """Declare a method to be run at the times of a cron line; see `Service.crontab`."""
    return Service.crontab(cron_format, timezone=timezone, on_error=on_error, backoff=backoff)


# As they are written above, whatever a test puts in their places.
_SLEEP, _SHOULD_STOP = Service.sleep, Service.should_stop


class _ServiceTicks(AsyncIterator[float]):
    """The ticks of a timer, until the service stops; an object and no generator, so it leaves nothing behind."""

    # The run that the iterating task belongs to, if that is one of the service, and the service sleeps as all do: then its
    # signal is asked at once, and not by way of the service, each time anew.
    _run: engine.Run | None = None

    def __init__(self, service: Service, ticking: Timer) -> None:
        self._service = service
        self._timer = ticking

    def __aiter__(self) -> Self:
        if self._timer.clock is anyio.current_time:
            self._timer.clock = (
                engine.clock_here()
            )  # the same, without asking each time which loop this is
        self._run = self._service._life.calling_run() if self._waits_as_all_do() else None
        self._timer.start()  # the schedule counts from here, whatever is done before the first tick
        return self

    async def __anext__(self) -> float:
        service, ticking = self._service, self._timer
        if self._is_to_end():
            await anyio.lowlevel.checkpoint()
            raise StopAsyncIteration
        skipped, delay = ticking.skipped, ticking.delay()
        if self._run is not None:
            await engine.sleep(self._run.signal, delay)
        else:
            await ticking.sleep(delay)
        if self._is_to_end():
            raise StopAsyncIteration
        until_next = ticking.tick()
        if ticking.skipped > skipped:
            service._ticks_skipped(ticking.name, ticking.skipped - skipped)
        ticking.on_before_yield()
        return until_next

    def _waits_as_all_do(self) -> bool:
        service, sleep = self._service, self._timer.sleep
        return (
            getattr(sleep, "__func__", None) is _SLEEP
            and getattr(sleep, "__self__", None) is service
            and type(service).should_stop is _SHOULD_STOP
        )

    def _is_to_end(self) -> bool:
        return self._service.should_stop if self._run is None else self._run.signal.is_set()


def _want_life(candidate: object, call: str) -> engine.Life:
    if isinstance(candidate, Service):
        return candidate._outer
    life = life_of(candidate)
    if life is not None:
        return life
    if isinstance(candidate, type) and issubclass(candidate, Service):
        raise TypeError(
            f"{call}() takes an instance, not the class: write {call}({candidate.__name__}())"
        )
    raise TypeError(f"{call}() takes a Service, not {candidate!r}")


def _listed(coros: Iterable[WaitArg[Any]]) -> list[WaitArg[Any]]:
    """Return what is to be waited for as a list; if that can't be had, the coroutines that there are by then are closed."""
    things: list[WaitArg[Any]] = []
    try:
        things.extend(_iterable(coros))
    except BaseException:
        engine.close_all([coros, *things])
        raise
    return things


def _iterable(coros: Any) -> Iterable[Any]:
    if isinstance(coros, Iterable):
        return cast("Any", coros)  # type: ignore[no-any-return]
    raise TypeError(
        f"wait_many() takes a list of what to wait for, not {coros!r}: write wait(...) for one thing, or wait_many([...])"
    )


# Nobody waits for these, but for what is in them.
_LISTS = frozenset[type]({list, tuple, set, frozenset})


def _refuse_lists(coros: Iterable[object]) -> None:
    for coro in coros:
        if type(coro) in _LISTS:
            things = list(cast("Iterable[object]", coro))
            engine.close_all([thing for thing in things if not is_claimed(thing)])
            raise TypeError(
                f"can't wait for {coro!r}: pass the things in it one by one, or that alone to wait_many()"
            )


def seconds_for(what: str, value: Seconds) -> float:
    """Read the seconds of an argument; the error for one that can't be read says which it is."""
    try:
        return want_seconds(value)
    except (TypeError, ValueError) as exc:
        raise type(exc)(f"{what}: {exc}") from None


def _timeout(timeout: Seconds | None) -> float:
    return math.inf if timeout is None else max(0.0, want_seconds(timeout))


class _AwaitableService(Service):
    """What `Service.from_awaitable` makes."""

    def __init__(self, coro: WaitArg[Any], name: str, **kwargs: Any) -> None:
        self._coro = coro
        self._name = name
        super().__init__(**kwargs)

    @property
    def label(self) -> str:
        return self._name

    @Service.task
    async def _run_awaitable(self) -> None:
        await engine.as_coroutine(self._coro)
