"""A service in a thread of its own: the face.

A `ServiceThread` has two lives of the engine. `_life` is the one inside, in the thread: all that a service does for itself
goes there. `_outer` is the one that its owner holds. Calls that are about the whole - start, stop, restart, crash - go to
the outer one from wherever they come, and what can be asked of a service is answered from both.
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, ClassVar, TypeVar

import anyio
import anyio.lowlevel

from structmode import _engine as engine
from structmode._hooks import check_hooks
from structmode._mixing import HasLife
from structmode._unit import ServiceUnit
from structmode.exceptions import EventLoopMismatch, LifecycleError
from structmode.services import Service, ServiceTX, _Uninitialised as Uninitialised
from structmode.types.services import ServiceT

from ._units import InsideUnit, OutsideLife, OutsideUnit

__all__ = ("ServiceThread", "WorkerThread")

T = TypeVar("T")


class WorkerThread(threading.Thread):
    """The thread of a `ServiceThread`; a daemon, so that it never keeps the process from ending.

    Args:
        service: The service that runs in it.
        **kwargs: Arguments of `threading.Thread`; by default the name is that of the service.

    Attributes:
        service: The service that runs in it.
        is_stopped: Set when its event loop is over.
    """

    def __init__(self, service: ServiceThread, **kwargs: Any) -> None:
        kwargs.setdefault("name", f"{service.shortlabel}-thread")
        kwargs.setdefault("daemon", True)
        super().__init__(**kwargs)
        self.service = service
        self.is_stopped: threading.Event = threading.Event()
        self._serve = service._home_to_serve()

    def run(self) -> None:
        """Run the event loop of the service, until that has stopped."""
        try:
            self._serve()
        finally:
            self.is_stopped.set()

    def stop(self) -> None:
        """Wait until the thread has ended. It blocks the calling thread: not for use in an event loop."""
        self.is_stopped.wait()
        self.join()


class ServiceThread(Service):
    """A service that runs in a thread of its own, with an event loop of its own.

    All its hooks, tasks, timers, futures, contexts and dependencies run there. It is started, stopped, restarted and owned
    in the event loop of whoever owns it, which may be of another kind, and never blocks.

        class Feed(ServiceThread):
            async def on_start(self) -> None:
                self.client = await asyncio_only_library.connect()

        feed = Feed(backend="asyncio")      # in a program on trio, for instance

    `start`, `stop`, `restart`, `crash` and `set_shutdown` may be called in the owner's event loop and in the thread's;
    what can be asked (`state`, `started`, `should_stop`, `crashed`...) may be asked anywhere. All else belongs to the thread's
    event loop, and raises `EventLoopMismatch` elsewhere: see `QueueServiceThread` for calls from outside.

    Differs from mode: every hook runs in the thread, `on_stop` too; a restart works, and takes a new thread; nothing polls;
    the thread is a daemon, and `stop` does not block. `wait_for_shutdown` has the meaning that it has in any service: a
    stop waits for the thread in any case.

    Args:
        backend: The event loop of the thread: "asyncio", "asyncio+uvloop" or "trio"; by default the class attribute.
        backend_options: Options for it, as `anyio.run` takes them.
        executor: Accepted as None for programs written for mode.
        loop: Accepted for programs written for mode, and ignored.
        thread_loop: A new asyncio event loop to run in the thread, which is closed with it. A restart takes another.
        Worker: The class of the thread; by default the class attribute.
        **kwargs: Arguments of `Service`.

    Raises:
        TypeError: If there is an executor, or the backend is no name.
        ValueError: If there is no such backend, or `thread_loop` is to be used on a backend that has none.
    """

    abstract: ClassVar[bool] = False

    #: The event loop of the thread, unless the instance is given another: "asyncio", "asyncio+uvloop" or "trio".
    backend: str = "asyncio"

    #: The class of the thread.
    Worker: type[WorkerThread] = WorkerThread

    #: Whether `start` waits until all has started in the thread. If not, a start that fails is a crash.
    wait_for_thread: bool = True

    #: Whether a stop waits, in the thread, after everything was told to end, until `set_shutdown` is called.
    wait_for_shutdown: bool = False

    #: When the thread last began, or took a message from outside, on the clock of `time.monotonic`, in seconds.
    last_wakeup_at: float = 0.0

    _outside: OutsideUnit = Uninitialised()  # type: ignore[assignment]
    _outer_life: engine.Life = Uninitialised()  # type: ignore[assignment]

    def __init__(
        self,
        *,
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
        executor: Any = None,
        loop: Any = None,
        thread_loop: Any = None,
        Worker: type[WorkerThread] | None = None,  # noqa: N803 - mode's name
        **kwargs: Any,
    ) -> None:
        if executor is not None:
            raise TypeError(
                f"{type(self).__qualname__} takes no executor: it has a thread of its own; pass Worker=, a subclass of WorkerThread"
            )
        if backend is not None:
            self.backend = backend
        if Worker is not None:
            self.Worker = Worker
        with suppress(ModuleNotFoundError):  # what is not installed is said when it is to run
            engine.run_arguments(self.backend)
        self._backend_options = backend_options
        self._given_loop = thread_loop
        if thread_loop is not None and not self.backend.startswith("asyncio"):
            raise ValueError(
                f"{type(self).__qualname__}: thread_loop is an event loop of asyncio, and the backend is {self.backend!r}"
            )
        self._outside = self._make_outside_unit()
        self._outer_life = self._make_outside_life()
        super().__init__(loop=loop, **kwargs)
        self._outer_life.stand_above(self._life)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_hooks(cls, ("on_thread_started", "on_thread_stop"), ())

    def _make_unit(self) -> ServiceUnit:
        return InsideUnit(self)

    def _make_outside_unit(self) -> OutsideUnit:
        """Make what the owner's engine sees of the service."""
        return OutsideUnit(self)

    def _make_outside_life(self) -> OutsideLife:
        """Make what the owner of the service holds of it."""
        return OutsideLife(self._outside)

    @property
    def _outer(self) -> engine.Life:
        return self._outer_life

    # -- Hooks

    async def on_thread_started(self) -> None:
        """The thread is up: called in it, after `on_started`, as the last step of the start."""

    async def on_thread_stop(self) -> None:
        """The thread is about to stop: called in it, after `on_stop`; tasks and children are still there."""

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:
        """Something in the thread has crashed: logs that.

        Unlike in mode, it writes to the log and not to stderr.

        Args:
            msg: The message, for `str.format`.
            *fmt: Its positional arguments.
            **kwargs: Its keyword arguments.
        """
        self.log.error("%s", msg.format(*fmt, **kwargs))

    # -- What it is

    @property
    def thread_loop(self) -> Any:
        """The asyncio event loop of the thread, while that runs.

        Raises:
            LifecycleError: If the thread does not run, or is not on asyncio.
        """
        home = self._outside.home
        loop = home.native_loop if home is not None else None
        if loop is None and self._given_loop is not None and not self._given_loop.is_closed():
            loop = self._given_loop
        if loop is None:
            raise LifecycleError(
                f"{self.label} has no asyncio event loop in a thread now",
                "It has one while it runs, on a backend of asyncio; in the thread, self.loop is the same",
            )
        return loop

    @property
    def parent_loop(self) -> Any:
        """The asyncio event loop of its owner, in which it was started, while it runs.

        Differs from mode: before the start there is none, since it may be started in any.

        Raises:
            LifecycleError: If it does not run, or its owner is not on asyncio.
        """
        loop = self._outside.owner_loop
        if loop is None:
            raise LifecycleError(
                f"{self.label} has no asyncio event loop of an owner now",
                "It has one while it runs, started on asyncio. What works on every backend: a MethodQueue of the owner, and "
                "await queue.call(None, fun) here",
            )
        return loop

    @property
    def crash_reason(self) -> BaseException | None:
        """The exception that it crashed with; None if it did not, or has been started or reset since."""
        inside = self._outside.inside
        reason = inside.crash_reason if inside is not None else None
        return reason if reason is not None else self._outer.current.crash_reason

    @property
    def failures(self) -> Sequence[BaseException]:
        """All that went wrong in the current run, or the last one, in order; the first is what leaves it."""
        return tuple(self._all_failures())

    def _all_failures(self) -> Iterator[BaseException]:
        seen: set[int] = set()
        runs = (self._outer.current, self._outside.inside)
        for failure in [exc for run in runs if run is not None for exc in run.failures]:
            if id(failure) not in seen:
                seen.add(id(failure))
                yield failure

    @property
    def should_stop(self) -> bool:
        """Whether it must stop: it has been told to, or something in its tree has crashed, or it has stopped."""
        if self._outer.signal.is_set():
            return True
        inside = self._outside.inside
        return inside is not None and self._life.signal.is_set()

    @property
    def state(self) -> str:
        """Its state: init, starting, running, stopping, shutdown, restarting or crashed."""
        state, inside = super().state, self._outside.inside
        if self._is_undone_inside(inside):
            state = "stopping"  # the owner is told of it when it is over
        if state == "init" and inside is not None and inside.was_up:
            state = "shutdown"  # it was called off, but had come up by then
        if state != "restarting" and self.crashed:
            return "crashed"
        if state == "running" and (inside is None or inside.state is engine.State.STARTING):
            return "starting"
        return state

    def _is_undone_inside(self, inside: engine.Run | None) -> bool:
        if inside is None or self._outer.restarting:
            return False
        if inside.state is engine.State.STARTING and inside.restarting:
            return False
        return self._is_ending_inside(inside)

    def _is_ending_inside(self, inside: engine.Run | None) -> bool:
        if inside is None or not inside.state.alive:
            return False
        return inside.state is engine.State.STOPPING or inside.stop_requested

    # -- Life

    async def start(self) -> None:
        """Start the service in a new thread; returns when `on_thread_started` has returned there.

        Otherwise as in any service. With `wait_for_thread` off, it returns when the thread has been begun.

        Raises:
            LifecycleError: If it runs already, its parent is stopping, or its last thread still hangs.
            StartAborted: If it was told to stop before it had started.
            BaseException: What made the start fail in the thread, as it was raised there; no thread is left.
        """
        if self._is_inside():
            self._refuse_second_start()
        await super().start()

    async def maybe_start(self) -> bool:
        """Start the service, unless it runs; as in any service, and as `start`."""
        if self._is_inside():
            await anyio.lowlevel.checkpoint()
            return False
        return await super().maybe_start()

    async def stop(self) -> None:
        """Stop the service, and end its thread; as in any service.

        May be called in the thread, too; what was called from outside goes on then, and the stop follows.

        Raises:
            ShutdownTimeout: If it took longer than `shutdown_timeout`. If the thread does not end, it has been given up.
            BaseException: What else went wrong in the stop of a service that had been well until then.
        """
        if not self._is_inside():
            await super().stop()
            return
        async with self._own_end() as run:
            if run is not None and run.was_up:
                self._tell_owner(self._outer.request_stop)
            elif run is not None:  # pragma: no branch - undone; the owner is told of that
                self._tell_owner(self._outer.call_off_restart)
                self._end_start(run)

    async def restart(self) -> None:
        """Stop the service and start it again, in a new thread; as in any service.

        May be called in the thread, too; what was called from outside goes on then, and the restart follows.
        """
        if not self._is_inside():
            await super().restart()
            return
        async with self._own_end() as run:
            if run is not None and run.was_up:
                self._tell_owner(self._outer.request_restart)
            elif run is not None:  # pragma: no branch - as in stop()
                self._tell_owner(self._outer.expect_restart)
                self._end_start(run)

    def _end_start(self, run: engine.Run) -> None:
        if not run.failures:
            self._tell_owner(self._outer.expect_stop)
        self._life.request_stop()

    async def crash(self, reason: BaseException) -> None:
        """Crash the service, its children and all services above it; as in any service. May be called in the thread, too."""
        is_failure = isinstance(reason, BaseException)  # what is none, is refused below
        if is_failure and self._is_inside():
            await anyio.lowlevel.checkpoint()
            self._life.fail(reason, "crash()")
        elif not (is_failure and await self._fail_inside(reason)):
            await super().crash(reason)

    async def _fail_inside(self, reason: BaseException) -> bool:
        """Pass on into the thread what fails when that is on its way out: there it is known what has failed before.

        Returns False if it is not on its way out.
        """
        run, home = self._outer.addressed(), self._outside.home
        if run is None or home is None or not run.state.alive:
            return False
        leaving = run.stop_requested or run.alarm is not None
        if not leaving and not self._is_ending_inside(self._outside.inside):
            return False
        run.check_loop("crash()")
        if not home.fail_inside(reason, "crash()"):
            return False
        await anyio.lowlevel.checkpoint()
        return True

    def service_reset(self) -> None:
        """Make a stopped service as new; as in any service."""
        super().service_reset()
        self._life.forget()

    def set_shutdown(self) -> None:
        """Allow a stop to be completed, where `wait_for_shutdown` asks for that; from the owner's event loop or the thread's."""
        run = self._outer.addressed_or_current()
        home = self._outside.home
        if self._is_inside() or run is None or not run.state.alive or home is None:
            super().set_shutdown()
            return
        run.check_loop("set_shutdown()")
        home.set_permission()

    # -- What belongs to the thread

    def add_dependency(self, service: ServiceTX) -> ServiceTX:
        """Make `service` start and stop with this one, in its thread; as in any service."""
        self._check_inside("add_dependency()")
        return super().add_dependency(service)

    def add_dependency_group(self, *services: ServiceT | HasLife) -> None:
        """Make `services` start and stop with this one, in its thread, at the same time; as in any service."""
        self._check_inside("add_dependency_group()")
        super().add_dependency_group(*services)

    def add_future(self, coro: engine.WaitArg[T], *, name: str | None = None) -> engine.Task[T]:
        """Run something in the background, in the thread; as in any service."""
        try:
            self._check_inside("add_future()")
        except EventLoopMismatch:
            engine.close_all([coro])
            raise
        return super().add_future(coro, name=name)

    def _contexts(self, call: str) -> engine.Contexts:
        self._check_inside(call)
        return super()._contexts(call)

    def _check_inside(self, call: str) -> None:
        """Refuse what belongs to the thread while it is not yet known there that it runs."""
        if self._outer.alive and not self._is_inside():
            raise EventLoopMismatch(
                f"{call} of {self.label} was called outside the event loop of its thread",
                "Call it in a hook, a task or a call of the service: await service.call_thread(...) of a QueueServiceThread",
            )

    # -- The two sides

    def _is_inside(self) -> bool:
        home = self._outside.home
        return home is not None and home.token is not None and engine.runs_here(home.token)

    def _refuse_second_start(self) -> None:
        raise LifecycleError(
            f"{self.label} can't be started: it is {self.state} already, in this thread",
            "Call maybe_start() if it may be running, restart() for a new run, or await stop() first",
        )

    def _tell_owner(self, message: Callable[[], object]) -> None:
        if self._outside.home is not None:  # pragma: no branch - who is inside has one
            self._outside.home.tell_owner(message)

    @asynccontextmanager
    async def _own_end(self) -> AsyncGenerator[engine.Run | None]:
        """Around what ends the run of the caller: from a hook or a call, go on; from elsewhere, wait to be cancelled by it."""
        run = self._life.addressed()
        if (
            run is not None
            and run.state.alive
            and not (run.called_from_hook() or engine.in_call())
        ):
            yield run
            await run.finished.wait()
        else:
            await anyio.lowlevel.checkpoint()  # before: what follows may cut the caller short
            yield run

    def _run_arguments(self) -> dict[str, Any]:
        arguments = engine.run_arguments(self.backend)
        options = {**arguments.pop("backend_options", {}), **(self._backend_options or {})}
        given, self._given_loop = self._given_loop, None
        if given is not None and not given.is_closed():
            options["loop_factory"] = lambda: given
        return {**arguments, "backend_options": options}

    def _home_to_serve(self) -> Callable[[], None]:
        """What a new thread of this service has to do."""
        home = self._outside.home
        if home is None or home.thread is not None:
            raise LifecycleError(
                f"a thread of {self.label} is made by its start, and by nobody else",
                "Call: await service.start()",
            )
        return home.serve

    def _woken(self) -> None:
        self.last_wakeup_at = time.monotonic()
