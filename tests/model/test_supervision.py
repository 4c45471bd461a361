"""The laws of supervision, each in a plan and a log written by hand: they keep the model honest, and structmode too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from . import reality
from .comparison import Difference, compare
from .machine import UNITS, check
from .model import Unit, play
from .plan import SECOND, Call, Hook, HookName, Op, Plan, Policy, Script, Verb, Work

MILLI = SECOND // 1000


def op(at: int, verb: Verb, target: str, other: str = "", place: int = 0) -> Op:
    """Return a call from outside at so many milliseconds, which are its number, too."""
    return Op(at * MILLI, Call(at, verb, target, other, place))


def told(log: str) -> list[tuple[int, str]]:
    """Read a log: on each line milliseconds, and what."""
    lines = [line.strip().partition(" ") for line in log.splitlines() if line.strip()]
    return [(int(at) * MILLI, text) for at, _, text in lines]


def ward(label: str, n: int, **said: Any) -> Script:
    """Return a service that takes n ms to start, and ten times as long to stop."""
    hooks: dict[HookName, Hook] = {
        "on_start": Hook(n * MILLI),
        "on_stop": Hook(n * 10 * MILLI),
    }
    return replace(Script(label, hooks=hooks), **said)


def supervised(
    kind: str, *ops: Op, delay: int = 0, most: int = 3, spare: Script | None = None, **said: Any
) -> Plan:
    """Return a plan of a supervisor with three services that take 1, 2 and 3 ms to start, and 10, 20 and 30 to stop.

    What is said of `a`, `b` or `c`, as a dict, counts for that service; the rest for the policy of the supervisor.
    """
    of_wards = {label: said.pop(label, {}) for label in "abc"}
    wards = tuple(ward(label, n, **of_wards[label]) for n, label in enumerate("abc", 1))
    policy = Policy(max_restarts=most, delay=delay * MILLI, **said)
    root = Script("s", kind, children=wards, policy=policy)
    spares = (spare,) if spare is not None else ()
    return Plan(root, spares, body=1000 * MILLI, ops=ops, end=3000 * MILLI)


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

JITTERED = """
    152 b.on_start begins
    154 b.on_start returns
    200 call 200, crash(b) which is running
    200 call 200 returned
    200 b.on_stop begins
    220 b.on_stop returns
    316 b.on_start begins
    318 b.on_start returns
"""

# Anybody may end it; the supervisor stops the others, and nobody waits for that.
SIGNIFICANT = """
    100 call 100, stop(b) which is running
    100 b.on_stop begins
    120 b.on_stop returns
    120 call 100 returned
    120 c.on_stop begins
    150 c.on_stop returns
    150 a.on_stop begins
    160 a.on_stop returns
    1000 body ends
    1000 block returned
"""

ALL_SIGNIFICANT = """
    100 call 100, stop(b) which is running
    100 b.on_stop begins
    120 b.on_stop returns
    120 call 100 returned
    200 call 200, crash(c) which is running
    200 call 200 returned
    200 c.on_stop begins
    230 c.on_stop returns
    230 a.on_stop begins
    240 a.on_stop returns
    1000 body ends
    1000 block returned
"""

# It is stopped for good in the middle of the restart of all: so the others of that are not started any more.
SIGNIFICANT_IN_THE_MIDDLE = """
    100 c.on_stop begins
    130 c.on_stop returns
    130 a.on_stop begins
    140 a.on_stop returns
    140 a.on_start begins
    141 a.on_start returns
    141 b.on_start begins
    142 call 142, dismiss(s, b) which is running
    142 b.on_start cut
    142 call 142 returned
    142 a.on_stop begins
    152 a.on_stop returns
    1000 body ends
    1000 block returned
"""

REPLACED = """
    120 s.replacement of b begins
    125 s.replacement of b returns
    125 d.on_start begins
    129 d.on_start returns
    1000 body ends
    1000 c.on_stop begins
    1030 c.on_stop returns
    1030 d.on_stop begins
    1070 d.on_stop returns
    1070 a.on_stop begins
    1080 a.on_stop returns
    1080 block returned
"""

# The second time, the broken one has to do.
REPLACED_BY_ITSELF = """
    120 s.replacement of b begins
    125 s.replacement of b returns
    125 b.on_start begins
    127 b.on_start returns
"""

NOT_REPLACED = """
    120 s.replacement of b begins
    122 call 122, dismiss(s, b) which is running
    122 call 122 returned
    125 s.replacement of b returns
"""

# What fails to make another one has failed to restart the first.
REPLACED_IN_THE_END = """
    120 s.replacement of b begins
    125 s.replacement of b raises
    125 s.replacement of b begins
    130 s.replacement of b returns
    130 d.on_start begins
    134 d.on_start returns
    1000 body ends
    1000 c.on_stop begins
    1030 c.on_stop returns
    1030 d.on_stop begins
    1070 d.on_stop returns
    1070 a.on_stop begins
    1080 a.on_stop returns
    1080 block returned
"""

INSERTED = """
    50 call 50, insert(s, 1, d) which is running
    50 call 50 returned
    50 d.on_start begins
    54 d.on_start returns
"""

# It is one of those after the one that failed, and stops and starts in its place.
REST_WITH_D = """
    100 call 100, crash(d) which is running
    100 call 100 returned
    100 d.on_stop begins
    100 c.on_stop begins
    130 c.on_stop returns
    130 b.on_stop begins
    140 d.on_stop returns
    150 b.on_stop returns
    150 d.on_start begins
    154 d.on_start returns
    154 b.on_start begins
    156 b.on_start returns
    156 c.on_start begins
    159 c.on_start returns
    1000 body ends
    1000 c.on_stop begins
    1030 c.on_stop returns
    1030 b.on_stop begins
    1050 b.on_stop returns
    1050 d.on_stop begins
    1090 d.on_stop returns
    1090 a.on_stop begins
    1100 a.on_stop returns
    1100 block returned
"""

# a has been given up before; who starts it by hand has it, though c has not ended yet, with which it was given up.
STARTED_BY_HAND = """
    50 call 50, stop(a) which is running
    50 a.on_stop begins
    60 a.on_stop returns
    60 call 50 returned
    100 call 100, crash(b) which is running
    100 call 100 returned
    100 b.on_stop begins
    100 c.on_stop begins
    110 call 110, start(a) which is shutdown, and should stop
    110 a.on_start begins
    111 a.on_start returns
    111 call 110 returned
    120 b.on_stop returns
    130 c.on_stop returns
    1000 body ends
    1000 a.on_stop begins
    1010 a.on_stop returns
    1010 block returned
"""

# What a service begins for itself while it is given up is given up at once, and the supervisor ends with it, though the
# other one is still on its way out.
GIVEN_UP_TWICE = Script(
    "s",
    "forfeit one for all",
    hooks={"on_stop": Hook(5 * MILLI)},
    children=(
        Script(
            "b",
            hooks={
                "on_start": Hook(20 * MILLI, "raise later"),
                "on_shutdown": Hook(10 * MILLI, call=Call(7, "restart", "b")),
            },
            work=(Work(80 * MILLI, then="raise once"),),
            significant=True,
        ),
        Script("c", hooks={"on_stop": Hook(500 * MILLI)}),
    ),
)

ENDS_WITH_IT = """
    0 b.on_start begins
    20 b.on_start returns
    20 b.task 0 begins
    20 block entered
    100 b.task 0 raises
    100 c.on_stop begins
    100 b.on_shutdown begins
    110 call 7, restart(b) which is crashed, and should stop
    110 call 7 returned
    110 b.on_shutdown returns
    110 b.on_start begins
    130 b.on_start raises
    130 s.on_stop begins
    135 s.on_stop returns
    600 c.on_stop returns
    1000 body ends
    1000 block returned
"""

# b is temporary: that it does not start keeps c from nothing.
TEMPORARY_FAILS = """
    100 call 100, crash(a) which is running
    100 call 100 returned
    100 a.on_stop begins
    100 c.on_stop begins
    110 a.on_stop returns
    130 c.on_stop returns
    130 b.on_stop begins
    150 b.on_stop returns
    150 a.on_start begins
    151 a.on_start returns
    151 b.on_start begins
    153 b.on_start raises
    153 c.on_restart begins
    158 c.on_restart returns
    158 c.on_start begins
    161 c.on_start returns
"""

FAILS = op(100, "crash", "b")
IN_A_WHILE = Hook(5 * MILLI)
B, C, D = ward("b", 2).hooks, ward("c", 3).hooks, ward("d", 4)

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
    "jitter": (
        supervised(
            *("one for one", FAILS, op(200, "crash", "b")),
            delay=64,
            jitter=8,
            chances=(4, 2),
        ),
        UP + CRASH_OF_B + JITTERED + DOWN,
    ),
    "significant": (
        supervised("one for one", op(100, "stop", "b"), b={"significant": True}),
        UP + SIGNIFICANT,
    ),
    "all significant": (
        supervised(
            *("one for one", op(100, "stop", "b"), op(200, "crash", "c")),
            b={"significant": True},
            c={"significant": True, "restart": "temporary"},
            auto_shutdown="all",
        ),
        UP + ALL_SIGNIFICANT,
    ),
    "significant in the middle": (
        supervised("one for all", FAILS, op(142, "dismiss", "s", "b"), b={"significant": True}),
        UP + CRASH_OF_B + SIGNIFICANT_IN_THE_MIDDLE,
    ),
    "replaced": (
        supervised("one for one", FAILS, b={"substitute": D}, replacement=IN_A_WHILE),
        UP + CRASH_OF_B + REPLACED,
    ),
    "replaced by itself": (
        supervised("one for one", FAILS, replacement=IN_A_WHILE),
        UP + CRASH_OF_B + REPLACED_BY_ITSELF + DOWN,
    ),
    "dismissed while it is replaced": (
        supervised(
            *("one for one", FAILS, op(122, "dismiss", "s", "b")),
            b={"substitute": D},
            replacement=IN_A_WHILE,
        ),
        UP + CRASH_OF_B + NOT_REPLACED + WITHOUT_B,
    ),
    "a replacement that fails": (
        supervised(
            *("one for one", FAILS),
            b={"substitute": D},
            replacement=Hook(5 * MILLI, "raise once"),
        ),
        UP + CRASH_OF_B + REPLACED_IN_THE_END,
    ),
    "inserted": (
        supervised("rest for one", op(50, "insert", "s", "d", 1), op(100, "crash", "d"), spare=D),
        UP + INSERTED + REST_WITH_D,
    ),
    "temporary, and does not start": (
        supervised(
            *("one for all", op(100, "crash", "a")),
            b={"restart": "temporary", "hooks": {**B, "on_start": Hook(2 * MILLI, "raise later")}},
            c={"hooks": {**C, "on_restart": Hook(5 * MILLI)}},
        ),
        UP + TEMPORARY_FAILS + WITHOUT_B,
    ),
    "significant, and given up twice": (
        Plan(GIVEN_UP_TWICE, body=1000 * MILLI, end=2000 * MILLI),
        ENDS_WITH_IT,
    ),
    "started by hand": (
        supervised("forfeit one for all", op(50, "stop", "a"), FAILS, op(110, "start", "a")),
        UP + STARTED_BY_HAND,
    ),
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
