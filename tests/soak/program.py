"""The program under the soak, as a process of its own: how it is started, told things, waited for, and read."""

from __future__ import annotations

import collections
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import structmode

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
#: How long a start may take on a machine that has other things to do, in seconds.
START = 60.0
#: How often to look whether something has come about, in seconds.
TICK = 0.01


class TooLate(Exception):
    """The program has not done in time what it should."""


class Program:
    """One life of the program.

    Args:
        backend: Its event loop.
        database: Where it keeps its counts.
        log: The file to put its log in.
    """

    def __init__(self, backend: str, database: Path, log: Path) -> None:
        # -P: Python must not put the directory first on sys.path, or it would run the structmode that lies there
        # instead of the one under test.
        command = [sys.executable, "-P", "-W", "default", "-m", "examples.pageviews"]
        home = Path(structmode.__file__).parents[1]
        self.log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [*command, "--backend", backend, "--database", str(database), "--port", "0"],
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(home), str(ROOT)])},
                stdout=file,
                stderr=file,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave nothing behind, whatever has happened."""
        self._process.kill()
        self._process.wait()

    @property
    def ended(self) -> bool:
        """Whether it is there no more."""
        return self._process.poll() is not None

    @property
    def stopped_in_order(self) -> bool:
        """Whether its log says that all of it has been stopped, be it in a hurry."""
        return "[^Worker]: -Shutdown complete!" in self.text()

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal; if it has ended, nothing happens."""
        self._process.send_signal(number)

    def wait_until_it_serves(self) -> int:
        """Return the port that it serves on, as soon as it does.

        Raises:
            TooLate: If it has ended, or does not.
        """
        found = self._until(lambda: re.search(r"Serving on http://\S+:(\d+)", self.text()))
        return int(found[1])

    def _until(self, look: Callable[[], T | None]) -> T:
        give_up = time.monotonic() + START
        while True:
            ended = self.ended
            found = look()
            if found:
                return found
            if ended:
                raise TooLate(f"it ended with {self._process.returncode} instead of serving")
            if time.monotonic() > give_up:
                raise TooLate(f"it does not serve within {START:g} s")
            time.sleep(TICK)

    def wait(self, limit: float) -> int:
        """Wait for its end, and return its exit code, or minus the number of the signal that ended it.

        Raises:
            TooLate: If it is still there after so many seconds; its log says then where it stands.
        """
        try:
            return self._process.wait(limit)
        except subprocess.TimeoutExpired:
            self.tell(signal.SIGUSR1)
            time.sleep(1)
            raise TooLate(f"it has not ended within {limit:g} s") from None

    def text(self) -> str:
        """Return its log so far."""
        return self.log.read_text(errors="replace")

    def complaints(self) -> list[str]:
        """Return the lines of the log that a program which was stopped in order has no reason for."""
        return [
            line
            for line in self.text().splitlines()
            if re.search(r"Warning: |Traceback|\[(ERROR|CRITICAL)\]", line)
        ]

    def named_as_lost(self) -> collections.Counter[str]:
        """Return the views that the log names as lost."""
        lost: collections.Counter[str] = collections.Counter()
        for number, path in re.findall(r"Lost views: (\d+) of (/\S*)", self.text()):
            lost[path] += int(number)
        return lost
