"""Each benchmark does its work at a tiny size, for every contender that is installed; and the processes take turns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import structmode
from benchmarks import rounds
from benchmarks.contenders import (
    ANYIO,
    BARE_TRIO,
    CONTENDERS,
    ON_ASYNCIO,
    ON_TRIO,
    VARIABLE,
    Contender,
)
from benchmarks.growth import CURVES
from benchmarks.rounds import Failed, Process, measure
from benchmarks.rows import ROWS, rows_named
from benchmarks.topics import depth
from benchmarks.topics.spawning import batches
from benchmarks.topics.timers import lateness
from benchmarks.topics.trees import Count

#: Of what a row does: enough for more than one of everything.
TINY = 4

#: A process for each of these would take long, so each contender has one for all rows; and what starts processes itself, as
#: rows of few units do, starts one. What ends with a signal does not work everywhere.
ONE_BY_ONE = r"""
import json, math, sys
from benchmarks.child import sample
from benchmarks.contenders import contender
from benchmarks.growth import CURVES
from benchmarks.rows import ROWS

who = contender(sys.argv[1])
for row in (*ROWS, *CURVES):
    if who not in row.contenders or (row.name == "end-of-worker" and sys.platform == "win32"):
        continue
    found = sample(row.name, who.name, 1 if 0 < row.size < 10 else int(sys.argv[2]))
    parts = found if isinstance(found, tuple) else (found,)
    print(row.name, all(math.isfinite(part) and part > 0 for part in parts), flush=True)
"""


def home() -> str:
    """Return a path on which there are the structmode under test, and the benchmarks."""
    parts = [Path(structmode.__file__).parents[1], rounds.ROOT]
    return os.pathsep.join(map(str, parts))


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(180)
@pytest.mark.parametrize("one", CONTENDERS, ids=lambda one: one.name)
def test_every_benchmark_gives_a_positive_figure(one: Contender) -> None:
    """At a tiny size, whoever does it; nothing is said of how fast that is."""
    if one.missing is not None:  # pragma: no branch - where nothing of others is installed
        pytest.skip(f"{one.missing} is not installed; nox -s bench installs it")
    wanted = [row.name for row in (*ROWS, *CURVES) if one in row.contenders]
    done = subprocess.run(
        [sys.executable, "-P", "-c", ONE_BY_ONE, one.name, str(TINY)],
        env={**os.environ, "PYTHONPATH": home(), VARIABLE: one.name},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert set(told.values()) <= {"True"}, told
    assert set(wanted) - told.keys() <= ({"end-of-worker"} if sys.platform == "win32" else set())


# --- Turns ----------------------------------------------------------------------------------------


@pytest.fixture
def with_structmode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the processes find the structmode under test."""
    monkeypatch.setenv("PYTHONPATH", home())


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.usefixtures("with_structmode")
def test_contenders_take_turns() -> None:
    """Each is measured once in each turn, and there are as many as the row has, in each round."""
    (row,) = rows_named(["signal-send"])
    said: list[str] = []
    who = [ANYIO, ON_TRIO]
    found = measure(row, who, TINY, 2, said.append)
    assert found.keys() == {one.name for one in who}
    assert all(len(costs) == 2 * row.turns and min(costs) > 0 for costs in found.values())
    assert not said


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.usefixtures("with_structmode")
def test_a_process_takes_samples_when_it_is_asked() -> None:
    """It is warm before, and idle between."""
    process = Process("sleep-zero", BARE_TRIO, TINY)
    try:
        process.wait_until_warm()
        assert process.ask() > 0
        assert process.ask() > 0
    finally:
        process.end()


@pytest.mark.process
@pytest.mark.usefixtures("with_structmode")
def test_a_process_that_has_ended_says_why() -> None:
    """Whenever it is asked."""
    process = Process("nonsense", BARE_TRIO, TINY)
    try:
        with pytest.raises(Failed, match=r"nonsense of bare trio ended with 1: .*no benchmark"):
            process.wait_until_warm()
        with pytest.raises(Failed, match="no benchmark 'nonsense'"):
            process.ask()
    finally:
        process.end()


class FakeProcess:
    """Stands for a process: notes who is asked, and fails for some.

    Args:
        name: The benchmark.
        who: The contender.
        size: How much it is to do.
    """

    asked: list[str]
    fails: set[str]

    def __init__(self, name: str, who: Contender, size: int) -> None:
        self._name = who.name

    def wait_until_warm(self) -> None:
        """Fail if it is to fail."""
        if self._name in self.fails:
            raise Failed(f"{self._name} can't")

    def ask(self) -> float:
        """Note it."""
        self.asked.append(self._name)
        return 1.0

    def end(self) -> None:
        """Note that, too."""
        self.asked.append("end")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeProcess]:
    """Have no processes."""
    FakeProcess.asked, FakeProcess.fails = [], set()
    monkeypatch.setattr(rounds, "Process", FakeProcess)
    return FakeProcess


def test_every_other_turn_goes_backwards(fake: type[FakeProcess]) -> None:
    """So that a machine that becomes slower favours nobody; and each round ends its processes."""
    (row,) = rows_named(["first-use"])
    measure(row, [ANYIO, ON_ASYNCIO], 1, 2, print)
    there = [ANYIO.name, ON_ASYNCIO.name]
    one_round = [*there, *reversed(there), *there, "end", "end"]
    assert fake.asked == one_round * 2


def test_who_fails_has_no_figures_and_keeps_nobody_from_having_theirs(
    fake: type[FakeProcess],
) -> None:
    """It is told once, and not asked again, in later rounds neither; yet its turns are there, empty."""
    fake.fails = {ANYIO.name}
    (row,) = rows_named(["first-use"])
    said: list[str] = []
    found = measure(row, [ANYIO, ON_ASYNCIO], 1, 2, said.append)
    assert found == {ANYIO.name: [None] * 6, ON_ASYNCIO.name: [1.0] * 6}
    assert said == [f"{ANYIO.name} can't"]


def test_what_is_always_the_same_is_measured_once(fake: type[FakeProcess]) -> None:
    """However many rounds there are."""
    (row,) = rows_named(["deepest-chain"])
    assert measure(row, [ON_ASYNCIO], 1, 7, print) == {ON_ASYNCIO.name: [1.0]}


# --- Parts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [0, 1, 7, 24, 25, 26, 99, 244, 3000])
def test_the_deepest_chain_is_found_to_two_per_cent(most: int) -> None:
    """It is not overstated: a chain as long as that was tried, and worked."""
    tried: list[int] = []

    def works(length: int) -> bool:
        tried.append(length)
        return length <= most

    found = depth.longest(10_000, works)
    assert found <= most
    if most >= depth.SHORTEST:
        assert found in tried
        assert found >= most - max(1, most // 50) - 1


def test_a_chain_as_long_as_the_goal_is_enough() -> None:
    """Nothing longer is tried."""
    tried: list[int] = []

    def works(length: int) -> bool:
        tried.append(length)
        return True

    assert depth.longest(1000, works) == 1000
    assert max(tried) == 1000


def test_a_chain_of_which_a_part_did_not_stop_does_not_count() -> None:
    """Some libraries only log that."""
    count = Count()
    count.started, count.stopped = 3, 2
    with pytest.raises(RuntimeError, match="of 3 services, 3 were started and 2 stopped"):
        count.check(3)


def test_lateness_counts_from_the_start_of_the_schedule() -> None:
    """So what is a little late each time is later and later, unless it keeps to the schedule."""
    assert lateness(5.0, [5.01, 5.02]) == pytest.approx([0, 0])
    assert lateness(5.0, [5.011, 5.022]) == pytest.approx([0.001, 0.002])


def test_coroutines_are_spawned_by_the_hundred() -> None:
    """The last ones are fewer."""
    assert batches(250) == [100, 100, 50]
    assert batches(5) == [5]
