"""Logging and printing, taken over for as long as a program runs."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, Any, TextIO

from structmode.utils.logging import Severity, logging_setup, redirect_stdouts

from ._outcome import CannotRun

__all__ = ("LoggingPlan", "is_heard")


@dataclass
class LoggingPlan:
    """How logging is to be set up, and whether what is printed goes there too.

    Attributes:
        printed_to: Where `print` went before it was redirected, while it is redirected.
        is_in_force: Whether logging is set up so now.
    """

    loglevel: Severity | None
    logfile: str | os.PathLike[str] | IO[str] | None
    loghandlers: Iterable[logging.Handler]
    logging_config: Mapping[str, Any] | None
    redirect: bool
    redirect_level: Severity | None
    printed_to: tuple[TextIO, TextIO] | None = None
    is_in_force: bool = False

    @contextmanager
    def in_force(self, on_set_up: Callable[[logging.Logger, int], object]) -> Generator[None]:
        """Set logging up, and put it back in the end.

        Args:
            on_set_up: Called in between with the root logger and its level.

        Raises:
            CannotRun: If it can't be set up so.
        """
        with ExitStack() as taken:
            level = self._set_up(taken)
            self.is_in_force = True
            taken.callback(self._end)
            on_set_up(logging.root, level)
            if self.redirect:
                self.printed_to = sys.stdout, sys.stderr
                taken.enter_context(redirect_stdouts(severity=self.redirect_level))
            yield

    def stop_redirecting(self) -> None:
        """Let what is printed from now on go where it went before."""
        if self.printed_to is not None:
            sys.stdout, sys.stderr = self.printed_to

    def _end(self) -> None:
        self.printed_to = None
        self.is_in_force = False

    def _set_up(self, taken: ExitStack) -> int:
        try:
            return taken.enter_context(
                logging_setup(
                    loglevel=self.loglevel,
                    logfile=self.logfile,
                    loghandlers=self.loghandlers,
                    logging_config=self.logging_config,
                )
            )
        except (OSError, TypeError, ValueError) as exc:
            cause = f": {exc.__cause__}" if exc.__cause__ else ""
            raise CannotRun(f"can't set logging up: {exc}{cause}") from exc


def is_heard(logger: logging.Logger) -> bool:
    """Whether anything is done with what the logger is told."""
    here: logging.Logger | None = logger
    while here is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in here.handlers):
            return True
        here = here.parent if here.propagate else None
    return False
