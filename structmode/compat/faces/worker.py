"""`mode.worker`, with what programs reach for beyond its manual."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from typing import IO, Any

from structmode._process import Execution, write_at_once
from structmode.utils.logging import level_number
from structmode.worker import Worker as PublicWorker

from ._asyncio import begin
from ._members import ModeMembers

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
        worker: Any = self._program
        loop = worker.loop
        options = {**arguments.get("backend_options", {}), "loop_factory": lambda: loop}
        return {**arguments, "backend_options": options}

    def _stop(self) -> None:
        worker: Any = self._program
        (worker._on_sigint if self._signals.stops[0] == signal.SIGINT else worker._on_sigterm)()


class Worker(ModeMembers, PublicWorker):
    """A worker as mode has it: in the event loop that it was given, with the methods that handle signals."""

    abstract = False

    _signal_stop_future: Any = None

    def __init__(
        self,
        *services: Any,
        redirect_stdouts_level: Any = None,
        blocking_timeout: Any = 10.0,
        loop: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            *services,
            blocking_timeout=blocking_timeout or 0.0,
            redirect_stdouts_level=level_number(redirect_stdouts_level or "WARN"),
            loop=loop,
            **kwargs,
        )
        self._execution = _ModeExecution(self)
        for service in self.services:
            service.beacon.reattach(self.beacon)

    async def default_on_first_start(self) -> None:
        """Do what a worker does when it starts for the first time; block detection is left to `debug`."""
        await self.on_execute()
        if self.debug:
            await self.maybe_start_blockdetection()

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
        if self._signal_stop_future is None:
            self._signal_stop_future = begin(self._stop_on_signal(number), self.loop)

    async def _stop_on_signal(self, number: signal.Signals) -> None:
        self.log.info("Signal received: %s (%s)", number, number.value)
        await self.stop()
