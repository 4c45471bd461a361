"""`mode.worker`, with what programs reach for beyond its manual."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import IO, Any

from structmode import _engine as engine
from structmode._process import Execution, write_at_once
from structmode.loop import chosen
from structmode.utils.logging import level_number
from structmode.worker import Worker as PublicWorker

from ._asyncio import begin, new_event_loop
from .services import Service

__all__ = ("Worker", "exiting")

EX_OK = getattr(os, "EX_OK", 0)
EX_FAILURE = 1
EX_OSERR = getattr(os, "EX_OSERR", 71)


@contextmanager
def exiting(*, print_exception: bool = False, file: IO[str] | None = None) -> Generator[None]:
    """End the program when the block is left: with 0, or with 1 if an exception leaves it."""
    try:
        yield
    except MemoryError:
        write_at_once("Out of memory!", sys.stderr)
        sys.exit(EX_OSERR)
    except Exception as exc:  # noqa: BLE001 - it becomes an exit code
        if print_exception:
            stream = sys.stderr if file is None else file
            write_at_once(f"Command raised exception: {exc!r}\n", stream)
            traceback.print_tb(exc.__traceback__, file=stream)
        sys.exit(EX_FAILURE)
    sys.exit(EX_OK)


class _ModeExecution(Execution):
    """Runs in the event loop that the worker was given, and leaves signals to the worker's methods."""

    def _run_arguments(self) -> dict[str, Any]:
        arguments = super()._run_arguments()
        if arguments["backend"] != "asyncio":  # then the worker has no loop, and needs none
            return arguments
        worker: Any = self._program
        options = arguments.get("backend_options", {})
        loop = worker._loop_to_run_in(options.get("loop_factory"))
        return {**arguments, "backend_options": {**options, "loop_factory": lambda: loop}}

    def _run_with(self, taken: ExitStack) -> None:
        super()._run_with(taken)
        try:
            self._program.stop_and_shutdown()  # in mode it is this that ends a program, whatever came before
        except BaseException as exc:  # noqa: ASYNC103, BLE001 - it becomes an exit code
            self._outcome.take(exc)

    async def _live_awake(self) -> None:
        await super()._live_awake()
        # It leaves no block in mode, and ends the program all the same.
        self._outcome.take(self._crash_reason)

    @property
    def _crash_reason(self) -> BaseException | None:
        worker: Any = self._program
        reason: BaseException | None = worker.crash_reason
        return reason

    def _what_failed(self, failure: BaseException) -> str:
        return "Crashed" if failure is self._crash_reason else super()._what_failed(failure)

    def _stop(self) -> None:
        worker: Any = self._program
        (worker._on_sigint if self._signals.stops[0] == signal.SIGINT else worker._on_sigterm)()


class Worker(Service, PublicWorker):
    """A worker as mode has it: in the event loop that it was given, with the methods that handle signals."""

    _signal_stop_future: Any = None

    def __init__(
        self,
        *services: Any,
        redirect_stdouts_level: Any = None,
        blocking_timeout: Any = 10.0,
        loop: Any = None,
        **kwargs: Any,
    ) -> None:
        self._take(
            *services,
            blocking_timeout=blocking_timeout or 0.0,
            redirect_stdouts_level=level_number(redirect_stdouts_level or "WARN"),
        )
        super().__init__(loop=loop, **kwargs)
        self._execution = _ModeExecution(self)
        for service in self.services:
            service.beacon.reattach(self.beacon)

    def _loop_to_run_in(self, factory: Callable[[], Any] | None) -> Any:
        """Return the event loop that it was given or has been asked for, or else one of the kind that it is to run on."""
        if self._loop is None and self.backend != chosen():
            self._loop = (factory or new_event_loop)()
        return self.loop

    async def default_on_first_start(self) -> None:
        """Do what a worker does when it starts for the first time; block detection is left to `debug`."""
        await self.on_execute()
        if self.debug:
            await self.maybe_start_blockdetection()

    def _receive_failure(self, exc: BaseException) -> bool:
        is_told_at_the_end = self._execution.under_way and exc is self.crash_reason
        return super()._receive_failure(exc) or is_told_at_the_end

    # -- Words

    def say(self, msg: str) -> None:
        """Write a message to standard output, unless the worker is quiet."""
        self._say(msg)

    def carp(self, msg: str) -> None:
        """Write a warning to standard error, unless the worker is quiet."""
        self._say(msg, file=self.stderr)

    def _say(self, msg: str, file: Any = None, end: str = "\n", **kwargs: Any) -> None:
        if not self.quiet:
            write_at_once(f"{msg}{end}", self.stdout if file is None else file)

    # -- Signals

    def _on_sigint(self) -> None:
        self._schedule_shutdown(signal.SIGINT)

    def _on_sigterm(self) -> None:
        self._schedule_shutdown(signal.SIGTERM)

    def _schedule_shutdown(self, number: signal.Signals) -> None:
        if engine.on_trio():  # on which the worker runs as structmode's does
            self._tell_signal(number)
            self._life.request_stop()
        elif self._signal_stop_future is None:
            self._signal_stop_future = begin(self._stop_on_signal(number), self.loop)

    async def _stop_on_signal(self, number: signal.Signals) -> None:
        self._tell_signal(number)
        await self.stop()

    def _tell_signal(self, number: signal.Signals) -> None:
        self.log.info("Signal received: %s (%s)", number, number.value)
