"""Rounds: every contender gets a process, and the processes take turns.

A process of its own for each: mode and structmode may be imported under one name in the same code, a crash of one says
nothing of the others, and none is slowed by the objects that another has left on the heap. All processes of a round are
there, warm, and asleep; then one at a time is asked for a sample, A B C, then C B A, so that samples that are compared are
as close in time as can be, and a machine that becomes slower meanwhile favours nobody. A new round has new processes: how
things lie in memory is chance, and is drawn anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, cast

from .contenders import VARIABLE, Contender
from .model import Row

ROOT = Path(__file__).resolve().parents[1]
#: How long a sample may take, in seconds.
PATIENCE = 1800.0


def path_with(directory: Path) -> str:
    """Return the path on which a process finds what is in a directory, besides what it finds anyway."""
    return os.pathsep.join([str(directory), *filter(None, [os.environ.get("PYTHONPATH")])])


class Failed(Exception):
    """A contender did not do the work; the text says why."""


class Process:
    """The process of a contender.

    Args:
        name: The benchmark.
        who: The contender.
        size: How many units of work make a sample.
    """

    def __init__(self, name: str, who: Contender, size: int) -> None:
        self._what = f"{name} of {who.name}"
        # -P: what is installed, and not what lies in the current directory, unless PYTHONPATH says so.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "benchmarks.child", name, who.name, str(size)],
            env={**os.environ, VARIABLE: who.name, "PYTHONPATH": path_with(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        # What Popen has, it calls optional.
        self._stdin = cast("IO[str]", self._process.stdin)
        self._stdout = cast("IO[str]", self._process.stdout)
        self._stderr = cast("IO[str]", self._process.stderr)
        self._complaints: list[str] = []
        self._reader = threading.Thread(target=self._read_complaints, daemon=True)
        self._reader.start()

    def _read_complaints(self) -> None:
        for line in self._stderr:
            self._complaints = [*self._complaints[-20:], line]

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._reader.join(1.0)
        for pipe in (self._stdin, self._stdout, self._stderr):
            with contextlib.suppress(OSError):
                pipe.close()

    def wait_until_warm(self) -> None:
        """Wait until it can be asked.

        Raises:
            Failed: If it never can.
        """
        self._read()

    def ask(self) -> Any:
        """Take a sample.

        Raises:
            Failed: If it failed, or took too long.
        """
        try:
            self._stdin.write("\n")
            self._stdin.flush()
        except OSError:  # it has ended; what it said tells why
            pass
        return self._read()

    def _read(self) -> Any:
        alarm = threading.Timer(PATIENCE, self._process.kill)
        alarm.start()
        try:
            line = self._stdout.readline()
        finally:
            alarm.cancel()
        if line:
            return json.loads(line)
        self._process.wait()
        self._reader.join(1.0)
        why = self._complaints[-1].strip() if self._complaints else "it said nothing"
        raise Failed(f"{self._what} ended with {self._process.returncode}: {why}")


def measure(
    row: Row,
    contenders: Sequence[Contender],
    size: int,
    rounds: int,
    tell: Callable[[str], object],
) -> dict[str, list[Any]]:
    """Return the samples of each contender, by its name, one of each turn; None where it failed.

    Args:
        row: The benchmark.
        contenders: Who is measured.
        size: How many units of work make a sample.
        rounds: How many rounds there are, with new processes each, if the row does not need fewer.
        tell: Called with the reason if a contender fails; it is not asked again.
    """
    samples: dict[str, list[Any]] = {one.name: [] for one in contenders}
    failed: set[str] = set()
    for _ in range(min(rounds, row.most_rounds)):
        taking_part = [one for one in contenders if one.name not in failed]
        processes = {one.name: Process(row.name, one, size) for one in taking_part}
        try:
            _take_turns(processes, row.turns, samples, failed, tell)
        finally:
            for process in processes.values():
                process.end()
    return samples


def _take_turns(
    processes: dict[str, Process],
    turns: int,
    samples: dict[str, list[Any]],
    failed: set[str],
    tell: Callable[[str], object],
) -> None:
    def attempt(name: str, action: Callable[[], Any]) -> Any:
        if name in failed:
            return None
        try:
            return action()
        except Failed as exc:
            failed.add(name)
            tell(str(exc))
            return None

    for name, process in processes.items():
        attempt(name, process.wait_until_warm)
    for turn in range(turns):
        order = list(processes)[:: -1 if turn % 2 else 1]
        for name in order:
            samples[name].append(attempt(name, processes[name].ask))
        for name in samples.keys() - processes.keys():
            samples[name].append(None)
