"""How a program ended, as the one number that a process may leave behind.

Theory: the first failure is the one that counts; what follows from it is worth a note. And a failure that is only the
consequence of force - a second signal, a deadline - does not count as a crash: the code then tells of the force.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence

from structmode import _engine as engine
from structmode.exceptions import ShutdownTimeout

__all__ = ("EXIT_FORCED", "CannotRun", "Outcome")

#: The exit code of a program whose stop took too long and was forced: EX_SOFTWARE of sysexits.h.
EXIT_FORCED = 70


class CannotRun(Exception):
    """Something outside the program keeps it from running; the text says all there is to say."""


class Outcome:
    """How a program ended.

    Attributes:
        failure: The first thing that went wrong.
        cancellation: A cancellation from outside. It has led to an orderly stop, and is no failure.
    """

    def __init__(self) -> None:
        self.failure: BaseException | None = None
        self.cancellation: BaseException | None = None

    def take(self, exc: BaseException | None) -> None:
        """Learn of something that went wrong; all but the first become notes on it."""
        if exc is None or exc is self.cancellation or exc is self.failure:
            return
        if self.failure is None:
            self.failure = exc
        else:
            engine.note(self.failure, "later, when all had stopped", exc)

    def take_from_run(self, exc: BaseException, run: engine.Run) -> None:
        """Learn what left a run; if a stop has called its start off, only what went wrong in that stop counts."""
        called_off = exc is run.start_error and not any(exc is known for known in run.failures)
        self.take(run.stop_error if called_off else exc)

    def exit_code(self, run: engine.Run, stop_signals: Sequence[int]) -> int:
        """Decide on the exit code.

        Args:
            run: The run that has ended.
            stop_signals: The signals that asked for its stop; the second one forced it.
        """
        failure = self.failure
        crashed = run.crash_reason is not None
        start_failed = failure is not None and failure is run.start_error
        if len(stop_signals) > 1 and not crashed and not start_failed:
            return 128 + stop_signals[1]
        if failure is None:
            return 0
        if isinstance(failure, SystemExit):
            return _code_of(failure)
        if isinstance(failure, KeyboardInterrupt):
            return 128 + signal.SIGINT
        timed_out = any(isinstance(exc, ShutdownTimeout) for exc in (failure, *run.failures))
        return EXIT_FORCED if timed_out and not crashed else 1


def _code_of(exc: SystemExit) -> int:
    if exc.code is None:
        return 0
    return exc.code if isinstance(exc.code, int) else 1
