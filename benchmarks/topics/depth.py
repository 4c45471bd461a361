"""Depth: how long a chain of services may be until it fails, or hangs.

Each length is tried in a process of its own, since some fail by running out of the interpreter's stack. Twice as long each
time, until one fails or the goal is reached; then in halves.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence

from benchmarks.contenders import ON_ASYNCIO, ON_TRIO, ON_UVLOOP
from benchmarks.library import HERE
from benchmarks.model import Goal, Row

SHORTEST = 25
#: How long a chain is given that is as long as the goal, in seconds; one that takes longer hangs.
PATIENCE = 60.0


def deepest(limit: int) -> float:
    """Return the longest chain that works for this process's contender, to 2 %; `limit` if one as long as that does."""
    return float(longest(limit, works))


def longest(limit: int, works: Callable[[int], bool]) -> int:
    """Return the greatest number, to 2 %, up to which something works; 0 if it never does."""
    good, bad = 0, min(SHORTEST, limit)
    while works(bad):
        good = bad
        if good == limit:
            return limit
        bad = min(2 * bad, limit)
    while good and bad - good > max(1, good // 50):
        middle = (good + bad) // 2
        good, bad = (middle, bad) if works(middle) else (good, middle)
    return good


def works(depth: int) -> bool:
    """Try a chain of this process's contender."""
    trial = [sys.executable, "-m", "benchmarks.child", "chain", HERE.name, str(depth), "--once"]
    try:
        done = subprocess.run(trial, capture_output=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


ROWS: Sequence[Row] = (
    Row(
        name="deepest-chain",
        work="deepest chain that works",
        codes=dict.fromkeys(("services", "facet", "hand"), deepest),
        size=10_000,
        kind="count",
        unit="",
        goals=tuple(Goal(who, at_least=10_000) for who in (ON_ASYNCIO, ON_UVLOOP, ON_TRIO)),
        turns=1,
        most_rounds=1,
        warm=False,
    ),
)
