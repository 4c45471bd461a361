"""The laws of supervision, each in a plan and a log written by hand: they keep the model honest, and structmode too."""

from __future__ import annotations

import pytest

from . import reality
from .comparison import Difference, compare
from .machine import UNITS, check
from .model import Unit, play
from .plan import SECOND, Call, Hook, Op, Plan, Policy, Script, Verb

MILLI = SECOND // 1000


def op(at: int, verb: Verb, target: str, other: str = "") -> Op:
    """Return a call from outside at so many milliseconds, which are its number, too."""
    return Op(at * MILLI, Call(at, verb, target, other))


def told(log: str) -> list[tuple[int, str]]:
    """Read a log: on each line milliseconds, and what."""
    lines = [line.strip().partition(" ") for line in log.splitlines() if line.strip()]
    return [(int(at) * MILLI, text) for at, _, text in lines]


def supervised(kind: str, *ops: Op, delay: int = 0, most: int = 3) -> Plan:
    """Return a plan of a supervisor with three services that take 1, 2 and 3 ms to start, and 10, 20 and 30 to stop."""
    wards = tuple(
        Script(label, hooks={"on_start": Hook(n * MILLI), "on_stop": Hook(n * 10 * MILLI)})
        for n, label in enumerate("abc", 1)
    )
    policy = Policy(max_restarts=most, delay=delay * MILLI)
    root = Script("s", kind, children=wards, policy=policy)
    return Plan(root, body=1000 * MILLI, ops=ops, end=3000 * MILLI)


UP = """
    0 a.on_start begins
    1 a.on_start returns
    1 b.on_start begins
    3 b.on_start returns
    3 c.on_start begins
    6 c.on_start returns
    6 block entered
"""

CRASH_OF_B = """
    100 call 100, crash(b) which is running
    100 call 100 returned
    100 b.on_stop begins
    120 b.on_stop returns
"""

DOWN = """
    1000 body ends
    1000 c.on_stop begins
    1030 c.on_stop returns
    1030 b.on_stop begins
    1050 b.on_stop returns
    1050 a.on_stop begins
    1060 a.on_stop returns
    1060 block returned
"""

ONE_FOR_ONE = """
    120 b.on_start begins
    122 b.on_start returns
"""

DELAYED = """
    170 b.on_start begins
    172 b.on_start returns
    200 call 200, crash(b) which is running
    200 call 200 returned
    200 b.on_stop begins
    220 b.on_stop returns
    320 b.on_start begins
    322 b.on_start returns
"""

# All are stopped, the last one first, but the one that failed has begun to stop by itself.
ONE_FOR_ALL = """
    100 c.on_stop begins
    130 c.on_stop returns
    130 a.on_stop begins
    140 a.on_stop returns
    140 a.on_start begins
    141 a.on_start returns
    141 b.on_start begins
    143 b.on_start returns
    143 c.on_start begins
    146 c.on_start returns
"""

REST_FOR_ONE = """
    100 c.on_stop begins
    130 c.on_stop returns
    130 b.on_start begins
    132 b.on_start returns
    132 c.on_start begins
    135 c.on_start returns
"""

# The one that is stopped while it starts again is passed over.
STOPPED = """
    100 c.on_stop begins
    130 c.on_stop returns
    130 b.on_start begins
    131 call 131, stop(b) which is restarting
    131 b.on_start cut
    131 call 131 returned
    131 c.on_start begins
    134 c.on_start returns
"""

WITHOUT_B = """
    1000 body ends
    1000 c.on_stop begins
    1030 c.on_stop returns
    1030 a.on_stop begins
    1040 a.on_stop returns
    1040 block returned
"""

ALL_GIVEN_UP = """
    100 c.on_stop begins
    115 call 115, crash(a) which is running
    115 call 115 returned
    115 a.on_stop begins
    125 a.on_stop returns
    130 c.on_stop returns
    1000 body ends
    1000 block returned
"""

GIVES_UP = """
    100 body cancelled
    100 c.on_stop begins
    130 c.on_stop returns
    130 a.on_stop begins
    140 a.on_stop returns
    140 block raised MaxRestartsExceeded(s)
"""

# As any parent does.
CRASHES = """
    100 call 100, crash(b) which is running
    100 call 100 returned
    100 body cancelled
    100 c.on_stop begins
    130 c.on_stop returns
    130 b.on_stop begins
    150 b.on_stop returns
    150 a.on_stop begins
    160 a.on_stop returns
    160 block raised call 100
"""

FAILS = op(100, "crash", "b")

LAWS: dict[str, tuple[Plan, str]] = {
    "one for one": (supervised("one for one", FAILS), UP + CRASH_OF_B + ONE_FOR_ONE + DOWN),
    "back-off": (
        supervised("one for one", FAILS, op(200, "crash", "b"), delay=50),
        UP + CRASH_OF_B + DELAYED + DOWN,
    ),
    "one for all": (supervised("one for all", FAILS), UP + CRASH_OF_B + ONE_FOR_ALL + DOWN),
    "rest for one": (supervised("rest for one", FAILS), UP + CRASH_OF_B + REST_FOR_ONE + DOWN),
    "stopped in the middle": (
        supervised("rest for one", FAILS, op(131, "stop", "b")),
        UP + CRASH_OF_B + STOPPED + WITHOUT_B,
    ),
    "forfeit one": (supervised("forfeit one for one", FAILS), UP + CRASH_OF_B + WITHOUT_B),
    "forfeit all": (
        supervised("forfeit one for all", FAILS, op(115, "crash", "a")),
        UP + CRASH_OF_B + ALL_GIVEN_UP,
    ),
    "too many": (supervised("one for one", FAILS, most=0), UP + CRASH_OF_B + GIVES_UP),
    "crashing": (supervised("crashing", FAILS), UP + CRASHES),
}


@pytest.mark.parametrize("law", LAWS)
def test_the_model_keeps(law: str) -> None:
    """The model tells of a plan, line by line, what was worked out by hand."""
    plan, log = LAWS[law]
    lines = [(line.at, line.text) for line in play(plan, UNITS).lines]
    assert sorted(lines) == sorted(told(log))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("law", LAWS)
def test_structmode_keeps(law: str, backend: reality.Backend) -> None:
    """structmode does with the same plans what the model says."""
    check(LAWS[law][0], backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_another_strategy_is_noticed(backend: reality.Backend) -> None:
    """A model in which all are restarted does not agree with structmode that restarts one."""
    plan, _ = LAWS["one for one"]
    wrong: dict[str, type[Unit]] = {**UNITS, "one for one": UNITS["one for all"]}
    with pytest.raises(Difference):
        compare(plan, play(plan, wrong), reality.play(plan, backend), backend)
