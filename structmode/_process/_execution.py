"""One execution of a worker as the program of its process.

Theory: a process has one set of signal handlers, one root logger, one stdout and one exit code. Whoever runs as the
program may have them, if he gives back what can be given back. So an execution is a bracket around an event loop: take
logging, take signals, run the loop, say how it ended, give all back. Nothing in the loop ends the program by an exception:
what goes wrong is kept, told once logging is certain to work, and turned into the exit code last of all.

A stop is asked for by signals, and bounded twice: by the engine, inside the loop, and by a thread outside it, for what
beats the loop.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
import traceback
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from types import TracebackType
from typing import IO, Any, Protocol

import anyio

from structmode import _engine as engine
from structmode.exceptions import LifecycleError, ShutdownTimeout, StartTimeout
from structmode.loop import run_arguments
from structmode.utils.logging import CompositeLogger
from structmode.utils.times import want_seconds

from ._forced_exit import ForcedExit
from ._left_behind import bound_wait_for, threads_that_stay
from ._logging import LoggingPlan, is_heard
from ._outcome import EXIT_FORCED, CannotRun, Outcome
from ._report import process_report, threads_report, write_at_once
from ._signals import OsSignals, keep_awake, signal_name

__all__ = ("Execution", "Program")

# How long what has been cancelled hard may take to end before the process is left, in seconds.
_GRACE = 1.0


class Program(Protocol):
    """What an execution needs of a worker."""

    log: CompositeLogger
    logger: logging.Logger
    debug: bool
    daemon: bool
    backend: str
    stdout: IO[str]
    stderr: IO[str]
    shutdown_timeout: float
    _life: engine.Life

    @property
    def label(self) -> str: ...
    def install_signal_handlers(self) -> None: ...
    def on_setup_root_logger(self, logger: logging.Logger, level: int) -> None: ...
    def on_worker_shutdown(self) -> None: ...
    def stop_and_shutdown(self) -> None: ...
    def _log_mundane(self, message: str) -> None: ...
    async def __aenter__(self) -> Any: ...
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
        /,
    ) -> bool | None: ...


class Execution:
    """Runs a worker as the program of its process, from the command line to the exit code.

    Args:
        program: The worker.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._plan: LoggingPlan | None = None
        self._outcome = Outcome()
        bound_stop = partial(self._bound_stop, in_handler=True)
        self._signals = OsSignals(bound_stop, self._obey, self._print_report, self._open_debugger)
        self._obeyed = 0
        self._messages: list[str] = []
        self._forced_exit = ForcedExit(self._last_words)
        #: Whether the worker runs as the program now.
        self.under_way = False
        # Whether the event loop has run, as far as to the worker.
        self._has_lived = False

    def run(self, plan: LoggingPlan | None) -> int:
        """Run the program to its end.

        Args:
            plan: How to set logging up; None leaves it alone.

        Returns:
            The exit code.
        """
        self._plan, self._outcome, self._has_lived = plan, Outcome(), False
        self._forget_signals()
        self.under_way = True
        before = threading.enumerate()
        try:
            with ExitStack() as taken:
                self._run_with(taken)
                self._tell_failure()
                code = self._outcome.exit_code(self._program._life.current, self._signals.stops)
                self._bound_end_of_process(threads_that_stay(before), code)
                return code
        finally:
            self.under_way = False

    def _run_with(self, taken: ExitStack) -> None:
        """Take the process over and run in it; what has been taken is left on the stack."""
        program = self._program
        try:
            if self._plan is not None:
                taken.enter_context(self._plan.in_force(program.on_setup_root_logger))
            taken.callback(self._forced_exit.disarm)
            taken.callback(self._signals.give_back)  # before that, as a signal sets a limit
            program.install_signal_handlers()
            anyio.run(self._live, **self._run_arguments())
        except BaseException as exc:  # noqa: ASYNC103, BLE001 - it becomes an exit code
            self._outcome.take(exc)
        try:
            program.on_worker_shutdown()
        except BaseException as exc:  # noqa: ASYNC103, BLE001
            self._outcome.take(exc)

    def _run_arguments(self) -> dict[str, Any]:
        try:
            return run_arguments(self._program.backend)
        except ModuleNotFoundError as exc:
            raise CannotRun(str(exc)) from exc

    # -- In the event loop

    async def _live(self) -> None:
        """Run from start to stop; no exception but a cancellation may reach the event loop."""
        self._has_lived = True
        unsubscribe = engine.subscribe(self._on_lifecycle_event)
        try:
            async with anyio.create_task_group() as beside:
                beside.start_soon(keep_awake)
                await self._live_awake()
                beside.cancel_scope.cancel()
        finally:
            unsubscribe()

    async def _live_awake(self) -> None:
        program = self._program
        try:
            with self._signals.connected(engine.signal_safe_caller()):
                self._obey()
                if not self._signals.stops:
                    async with program:
                        await self._until_done()
        except anyio.get_cancelled_exc_class() as exc:
            self._outcome.cancellation = exc
            raise
        except BaseException as exc:  # noqa: BLE001
            self._outcome.take_from_run(exc, program._life.current)

    async def _until_done(self) -> None:
        life = self._program._life
        while True:
            run = life.current
            await run.settled.wait()
            await (run.signal.wait() if self._program.daemon else engine.work_done(run))
            if life.current is run and not life.restarting:
                return
            await run.finished.wait()  # another has taken its place, or is about to

    def _on_lifecycle_event(self, event: engine.LifecycleEvent) -> None:
        if event.subject is not self._program:
            return
        if isinstance(event, engine.Stopping):
            self._bound_stop()
        elif isinstance(event, engine.Restarting):
            self._forced_exit.disarm()

    # -- Signals

    def install_signals(self) -> None:
        """Take the signals, or say in the log why not."""
        try:
            missing = self._signals.install()
        except ValueError as exc:
            self._program.log.warning("Signals are not handled: %s; stop() stops the worker", exc)
            return
        if missing:
            names = ", ".join(missing)
            self._program.log.info("This platform has no %s; the other signals are handled", names)

    @contextmanager
    def lent_signals(self) -> Generator[None]:
        """Take the signals in an event loop of somebody else, for the length of a block."""
        try:
            call_soon = engine.signal_safe_caller()
        except RuntimeError:
            raise LifecycleError(
                f"{self._program.label} can't handle signals yet: no event loop runs",
                "Call install_signal_handlers() in a hook of the running worker",
            ) from None
        self._forget_signals()
        self.install_signals()
        try:
            with self._signals.connected(call_soon):
                yield
        finally:
            self._signals.give_back()

    def _forget_signals(self) -> None:
        self._signals.stops.clear()
        self._obeyed = 0

    def _obey(self) -> None:
        """Do what the signals that have come since ask for; called in the event loop."""
        while self._messages:
            self._program.log.warning(self._messages.pop(0))
        while self._obeyed < len(self._signals.stops):
            number = self._signals.stops[self._obeyed]
            self._obeyed += 1
            if self._obeyed == 1:
                self._bound_stop()  # again: that of a run before may have been lifted since
                self._stop()
            else:
                self._kill(number)

    def _bound_stop(self, *, in_handler: bool = False) -> None:
        """Have the process be left if it does not end in time; also called in signal handlers, as the loop may be blocked."""
        if self.under_way:
            limit = self._time_to_stop() + _GRACE
            self._forced_exit.arm(limit, EXIT_FORCED, in_handler=in_handler)

    def _time_to_stop(self) -> float:
        """Return the seconds that the stop may take; if that has become unreadable, what it was at the start counts."""
        try:
            return want_seconds(self._program.shutdown_timeout)
        except Exception:  # noqa: BLE001 - the engine tells of it, and a signal handler must not raise
            run = self._program._life.run
            return run.stop_timeout if run is not None else math.inf

    def _stop(self) -> None:
        self._program._log_mundane("Stopping on signal received...")
        self._program.stop_and_shutdown()

    def _kill(self, number: int) -> None:
        name = signal_name(number)
        self._program.log.warning("Second signal (%s): cancelling what is left...", name)
        if self.under_way:
            self._forced_exit.arm(_GRACE, 128 + number)
        self._program._life.kill()

    def _print_report(self) -> None:
        life = self._program._life
        write_at_once(process_report(life.run if life.alive else None), self._program.stderr)

    def _open_debugger(self) -> None:
        if not self._program.debug:
            self._log_soon("SIGUSR2 opens a debugger only in a worker with debug=True")
            return
        if self._plan is not None:
            # Not for this call only: a debugger goes on talking after it has returned.
            self._plan.stop_redirecting()
        if _debugger_was_quit():
            self._log_soon("The debugger was quit, or has no terminal; the program goes on")
        self._log_soon("A debugger was opened; what is printed no longer goes to the log")

    def _log_soon(self, message: str) -> None:
        """Log from a signal handler, which may have interrupted a log handler and its locks: have the loop do it."""
        self._messages.append(message)
        self._signals.wake()

    # -- How it ended

    def _tell_failure(self) -> None:
        failure = self._outcome.failure
        if failure is None or isinstance(failure, KeyboardInterrupt):
            return
        if isinstance(failure, SystemExit):
            if not isinstance(failure.code, int | None):
                write_at_once(f"{failure.code}\n", self._program.stderr)
        elif isinstance(failure, CannotRun | StartTimeout | ShutdownTimeout):
            self._tell("%s", failure)
        else:
            self._tell(f"{self._what_failed(failure)}: %r", failure, with_traceback=True)

    def _what_failed(self, failure: BaseException) -> str:
        if not self._has_lived:
            return "Could not run"
        run = self._program._life.current
        if failure is run.crash_reason:
            return "Crashed"
        return "Could not start" if failure is run.start_error else "Failed while stopping"

    def _tell(self, message: str, failure: BaseException, *, with_traceback: bool = False) -> None:
        program = self._program
        taken = self._plan is None or self._plan.is_in_force
        if taken and is_heard(program.logger):
            program.log.critical(message, failure, exc_info=failure if with_traceback else None)
            return
        # Nobody has set logging up, but a program must not die without a word.
        text = "".join(traceback.format_exception(failure)) if with_traceback else f"{failure}\n"
        write_at_once(f"{program.label}: {text}", program.stderr)

    def _bound_end_of_process(self, threads: Sequence[threading.Thread], code: int) -> None:
        """Have threads that are left not keep the process longer than the stop may take."""
        latest = time.monotonic() + self._time_to_stop() + _GRACE
        deadline = min(latest, self._forced_exit.deadline)
        bound_wait_for(threads, deadline, code, self._tell_of_threads, self._flush)

    def _tell_of_threads(self, threads: Sequence[threading.Thread], seconds: float) -> None:
        names = ", ".join(thread.name for thread in threads)
        waits = f"waits {seconds:.1f} s more" if seconds >= 0.1 else "waits no longer"
        self._tell(
            "%s",
            CannotRun(
                f"All has stopped, but threads that are no daemons have not ended ({names}), and the process {waits}; "
                f"all threads:\n{threads_report()}"
            ),
        )

    def _last_words(self, seconds: float) -> None:
        """Say who is stuck; called in a thread of its own, right before the process is left."""
        run = self._program._life.run
        stuck = "\n".join(map(str, run.stuck())) if run is not None else ""
        report = f"{stuck or '(no task of a service)'}\n{threads_report()}"
        self._tell(
            "%s",
            CannotRun(
                f"Not ended after {seconds:g} s, so the process is left; still there:\n{report}"
            ),
        )
        self._flush()

    def _flush(self) -> None:
        logging.shutdown()  # flushes all handlers
        for stream in (self._program.stdout, self._program.stderr, sys.stdout, sys.stderr):
            write_at_once("", stream)


def _debugger_was_quit() -> bool:
    """Open a debugger; return whether it was quit.

    That aborts a program: pdb raises something, from its prompt, which stands at the line after the call. From here it would
    leave a signal handler in the midst of the event loop, which is no end in order; and one who has no terminal has not
    asked for an end at all.
    """
    from bdb import BdbQuit

    was_quit = True
    with suppress(BdbQuit, SystemExit):  # the latter from Python 3.14 on
        breakpoint()
        was_quit = False
    return was_quit
