"""A worker: services as a program, with signals, logging and an exit code.

A `Service` leaves the process alone. A `Worker` takes it over because it was asked to: as long as
`execute_from_commandline` runs it owns the signal handlers, the root logger, and what is printed. All of it is given back
afterwards. As a mere service, under ``async with``, it takes nothing.
"""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import IO, Any, ClassVar, NoReturn

import anyio
import anyio.lowlevel

from structmode import _engine as engine
from structmode._mixing import life_of
from structmode._process import Execution, LoggingPlan, keep_awake, write_at_once
from structmode.console import Console
from structmode.exceptions import LifecycleError
from structmode.loop import chosen, run_arguments
from structmode.services import Service
from structmode.types.services import ServiceT
from structmode.utils.logging import Severity, get_logger, level_number
from structmode.utils.times import Seconds, want_seconds

__all__ = ("Worker",)


class Worker(Service):
    """Runs services as a program: with signals, logging and an exit code.

        if __name__ == "__main__":
            Worker(MyService(), loglevel="info").execute_from_commandline()

    The services start in the order given and stop in reverse. The first SIGINT or SIGTERM stops them in order, the second
    cancels what is left, the third ends the process at once. SIGUSR1 prints where each task and each thread stands;
    SIGUSR2 opens a debugger, if `debug` is set. A SIGINT that is ignored when the worker begins, as a shell has it for programs in
    the background of a script, stays ignored.

    A worker is a service too: ``async with Worker(...)`` runs the services in a program that has signals, logging and an
    event loop of its own, and touches none of them; `daemon` and `backend` mean nothing then.

    Unlike in mode, `start` returns when all has started, also in a daemon, and `shutdown_timeout` bounds the whole stop of
    the program: raise it where a service may take longer than that.

    Args:
        *services: The services to run. Without any, the worker waits for a signal.
        debug: Whether SIGUSR2 opens a debugger, whether a blocked event loop is looked out for, and whether there is a
            `structmode.console.Console`.
        quiet: Whether `say` and `carp` say nothing.
        logging_config: A configuration for `logging.config.dictConfig`, as `setup_logging` takes it.
        loglevel: Number or name of the log level; WARNING by default.
        logfile: Path of the log file, or an open stream; `stderr` by default, in colours if it is a terminal.
        redirect_stdouts: Whether what is printed becomes log messages.
        redirect_stdouts_level: Number or name of their level; WARNING by default.
        stdout: Where `say` writes; `sys.stdout` by default.
        stderr: Where `carp`, the log and the reports are written; `sys.stderr` by default.
        console_port: TCP port of the console that there is if `debug` is set; 0 for any that is free, None for no console.
        console_ip: The IP address that the console listens on.
        loghandlers: Further handlers for the root logger.
        blocking_timeout: How long the event loop may be blocked before that is reported, in seconds; looked out for with
            `debug` only, and not at all if it is 0.
        loop: Accepted for programs written for mode, and ignored.
        override_logging: Whether to set logging up, and to redirect what is printed. If not, neither is touched.
        daemon: Whether to run until told to stop. If not, the worker ends when its services have started and their tasks
            and futures are done, and what comes of these: a service that is starting, stopping or to be restarted is
            waited for. Timers and crontabs don't count.
        backend: The event loop to run on: "asyncio", "asyncio+uvloop" (or "uvloop"), or "trio"; by default what
            `structmode.loop.use` has chosen, which is "asyncio" if nobody has called it.
        **kwargs: Arguments of `Service`.

    Raises:
        TypeError: If one of the services is none.
        ValueError: If there is no such log level or backend, or the time can't be read.
    """

    logger: logging.Logger = get_logger(__name__)

    #: The class of `blocking_detector`, as "module:name"; called with the timeout, and ``beacon=``.
    BLOCK_DETECTOR: ClassVar[str] = "structmode.debug:BlockingDetector"

    services: Sequence[ServiceT]
    debug: bool
    quiet: bool
    logging_config: Mapping[str, Any] | None
    loglevel: Severity | None
    logfile: str | os.PathLike[str] | IO[str] | None
    loghandlers: Sequence[logging.Handler]
    redirect_stdouts: bool
    redirect_stdouts_level: Severity | None
    stdout: IO[str]
    stderr: IO[str]
    console_port: int | None
    console_ip: str
    blocking_timeout: float
    override_logging: bool
    daemon: bool
    backend: str

    def __init__(
        self,
        *services: ServiceT,
        debug: bool = False,
        quiet: bool = False,
        logging_config: Mapping[str, Any] | None = None,
        loglevel: Severity | None = None,
        logfile: str | os.PathLike[str] | IO[str] | None = None,
        redirect_stdouts: bool = True,
        redirect_stdouts_level: Severity | None = None,
        stdout: IO[str] | None = None,
        stderr: IO[str] | None = None,
        console_port: int | None = 50101,
        loghandlers: Iterable[logging.Handler] | None = None,
        blocking_timeout: Seconds = 10.0,
        loop: Any = None,
        override_logging: bool = True,
        daemon: bool = True,
        backend: str | None = None,
        console_ip: str = "127.0.0.1",
        **kwargs: Any,
    ) -> None:
        self.services = tuple(_want_services(services))
        self.debug = debug
        self.quiet = quiet
        self.logging_config = logging_config
        self.loglevel = _checked_level(loglevel)
        self.logfile = logfile
        self.loghandlers = tuple(loghandlers or ())
        self.redirect_stdouts = redirect_stdouts
        self.redirect_stdouts_level = _checked_level(redirect_stdouts_level)
        self.stdout = sys.stdout if stdout is None else stdout
        self.stderr = sys.stderr if stderr is None else stderr
        self.console_port = console_port
        self.console_ip = console_ip
        self.blocking_timeout = want_seconds(blocking_timeout)
        self.override_logging = override_logging
        self.daemon = daemon
        self.backend = _checked_backend(chosen() if backend is None else backend)
        self._detector: ServiceT | None = None
        self._execution = Execution(self)
        super().__init__(loop=loop, **kwargs)
        if debug and console_port is not None:
            # Before all else, so that it starts first and stops last.
            self.add_dependency(Console(console_port, console_ip))

    def _repr_info(self) -> str:
        return "".join(f", {service.label}" for service in self.services)

    # -- Hooks

    def on_init_dependencies(self) -> Iterable[ServiceT]:
        """Return the services of the worker, in the order in which they start."""
        return self.services

    async def on_first_start(self) -> None:
        """The worker starts for the first time; an override should await `default_on_first_start`."""
        await self.default_on_first_start()

    async def default_on_first_start(self) -> None:
        """Do what a worker does when it starts for the first time: `on_execute`, then look out for blocking."""
        await self.on_execute()
        await self.maybe_start_blockdetection()

    async def on_execute(self) -> None:
        """The worker is about to start its services for the first time; to be overridden."""

    def on_setup_root_logger(self, logger: logging.Logger, level: int) -> None:
        """Logging has been set up, nothing runs yet; to be overridden.

        Args:
            logger: The root logger.
            level: Its level.
        """

    async def on_started(self) -> None:
        """The worker and its services have started; to be overridden."""

    def on_worker_shutdown(self) -> None:
        """All has ended, the event loop too, but logging is still set up; to be overridden.

        Called by `execute_from_commandline` only, however the program ended.
        """

    # -- Words to whoever started the program

    def say(self, msg: str) -> None:
        """Write a message to standard output, unless the worker is quiet."""
        if not self.quiet:
            write_at_once(f"{msg}\n", self.stdout)

    def carp(self, msg: str) -> None:
        """Write a warning to standard error, unless the worker is quiet."""
        if not self.quiet:
            write_at_once(f"{msg}\n", self.stderr)

    # -- Running as a program

    def execute_from_commandline(self) -> NoReturn:
        """Run the worker as a program, to its end; to be called where no event loop runs.

        The exit code is 0 after a clean stop; 1 after a crash, a failed start or a failed stop, whose exception has been
        logged; 70 if the stop took longer than `shutdown_timeout` and was forced; 128 and the number of the signal if a
        second signal forced it. A `SystemExit` from a service stops all services in order, and its code is the exit code;
        a `KeyboardInterrupt` gives 130.

        What ignores even being cancelled does not keep the process: about a second later who is stuck is logged, and the
        process is left as it is; five seconds after that, where the log takes nothing, being a pipe that nobody reads. Nor do
        threads that were begun meanwhile: when the process ends, those that are no daemons have what is left of
        `shutdown_timeout`, and who is waited for longer than a second is written to `stderr`.

        Raises:
            SystemExit: Always, with the exit code.
            LifecycleError: If it was called in an event loop, or in a process that was forked in one, or if the worker runs
                already.
        """
        self._refuse_execution_now()
        raise SystemExit(self._execution.run(self._logging_plan()))

    def stop_and_shutdown(self) -> None:
        """Have the worker stop in order, as the first signal does; returns at once.

        To be called in the worker's event loop. From another thread, have the loop call it:
        ``anyio.from_thread.run_sync(worker.stop_and_shutdown, token=...)``.
        """
        self._life.request_stop()

    def install_signal_handlers(self) -> None:
        """Handle the signals of the process.

        `execute_from_commandline` calls it before the event loop runs, and gives the handlers back at its end; an override
        may leave signals alone. In a program that runs the worker as a mere service, it may be called in a hook; the
        handlers are given back when the worker stops.

        Where signals can't be handled (not in the main thread), or not all of them (on Windows), the log says so.

        Raises:
            LifecycleError: If no event loop runs, unless `execute_from_commandline` calls it.
        """
        if self._execution.under_way:
            self._execution.install_signals()
        else:
            self.add_context(self._execution.lent_signals())
            self.add_future(keep_awake, name="wake at signals")

    def _refuse_execution_now(self) -> None:
        if self._life.alive:
            raise LifecycleError(
                f"{self.label} can't be executed: it is {self.state} already",
                "Call execute_from_commandline() once, or run the worker with `async with`",
            )
        if _is_in_event_loop():
            raise LifecycleError(
                f"{self.label}.execute_from_commandline() was called inside an event loop, or in a process that was "
                "forked inside one, and runs one of its own",
                "Call it from plain code, or write `async with worker: ...` here; a child process that runs a worker is to be "
                'started with multiprocessing.get_context("spawn"), or before the event loop runs',
            )

    def _logging_plan(self) -> LoggingPlan | None:
        if not self.override_logging:
            return None
        return LoggingPlan(
            loglevel=self.loglevel,
            logfile=self.stderr if self.logfile is None else self.logfile,
            loghandlers=self.loghandlers,
            logging_config=self.logging_config,
            redirect=self.redirect_stdouts,
            redirect_level=self.redirect_stdouts_level,
        )

    # -- Looking out for a blocked event loop

    @property
    def blocking_detector(self) -> ServiceT:
        """The service that looks out for a blocked event loop: an instance of `BLOCK_DETECTOR`.

        It reports what takes longer than `blocking_timeout`, and raises nothing.

        Raises:
            LifecycleError: If there is no such class.
        """
        if self._detector is None:
            make = self._find_block_detector()
            detector: ServiceT = make(self.blocking_timeout, beacon=self.beacon)
            self._detector = detector
        return self._detector

    async def maybe_start_blockdetection(self) -> None:
        """Start `blocking_detector`, if `debug` is set; if its class does not exist, say so in the log."""
        if not (self.debug and 0 < self.blocking_timeout < math.inf):
            return
        try:
            detector = self.blocking_detector
        except LifecycleError as exc:
            self.log.warning("A blocked event loop is not looked out for: %s", exc.problem)
            return
        await self.add_runtime_dependency(detector)

    def _find_block_detector(self) -> Any:
        module, _, name = self.BLOCK_DETECTOR.partition(":")
        try:
            return getattr(import_module(module), name)
        except ModuleNotFoundError as exc:
            if exc.name != module:  # it is there, and lacks something itself
                raise
        raise LifecycleError(
            f"there is no {self.BLOCK_DETECTOR}",
            "Set BLOCK_DETECTOR to 'module:name' of a service class that takes a timeout",
        )


def _want_services(services: Sequence[object]) -> Iterator[ServiceT]:
    for service in services:
        if isinstance(service, ServiceT):
            yield service
        elif isinstance(life_of(service), engine.Life):
            raise TypeError(
                f"Worker takes instances of Service, and {service!r} is a ServiceMixin: put it below a Service, "
                "with self.add_dependency(...) in its __post_init__, and give that to the Worker"
            )
        elif isinstance(service, type) and issubclass(service, ServiceT):
            name = service.__name__
            raise TypeError(f"Worker takes instances, not the class: write Worker({name}())")
        else:
            raise TypeError(
                f"Worker takes services, as in Worker(First(), Second()); not {service!r}"
            )


def _checked_level(level: Severity | None) -> Severity | None:
    if level is not None:
        level_number(level)
    return level


def _checked_backend(backend: str) -> str:
    if not isinstance(backend, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"backend is a name, such as 'trio', not {backend!r}")
    with suppress(ModuleNotFoundError):  # what is not installed is said when it is to run
        run_arguments(backend)
    return backend


def _is_in_event_loop() -> bool:
    """Whether the caller is inside an event loop, be it that of the process which this one was forked from."""
    try:
        anyio.lowlevel.current_token()
    except anyio.NoEventLoopError:
        return False
    except (
        RuntimeError
    ):  # anyio goes by the context, which a fork keeps, and asyncio by the process
        return True
    return True
