"""The laws across threads: a service in a thread of its own lives as any other, and all that differs is what may be asked where."""

from __future__ import annotations

from dataclasses import replace

import pytest

from . import reality
from .machine import THREADS, UNITS, check, tell
from .model import play
from .plan import SECOND, Call, Hook, Op, Plan, Policy, Script, Verb, Work
from .test_model import LAWS as LAWS_OF_SERVICES, told

MILLI = SECOND // 1000
BACKENDS: list[reality.Backend] = ["asyncio", "trio"]


def op(at: int, verb: Verb, target: str) -> Op:
    """Return a call from outside at so many milliseconds, which are its number, too."""
    return Op(at * MILLI, Call(at, verb, target))


def in_thread(script: Script, label: str, kind: str) -> Script:
    """Put a service of a tree in a thread of its own."""
    children = tuple(in_thread(child, label, kind) for child in script.children)
    return replace(script, kind=kind if script.label == label else script.kind, children=children)


def threaded(label: str, kind: str) -> dict[str, Plan]:
    """Return the plans of the laws that can be told with this service in a thread."""
    plans = {
        law: replace(plan, root=in_thread(plan.root, label, kind))
        for law, (plan, _) in LAWS_OF_SERVICES.items()
        if any(script.label == label for script in plan.root.all())
    }
    return {law: plan for law, plan in plans.items() if tell(plan) is not None}


ROOT, CHILD = threaded("a", "other thread"), threaded("b", "thread")


@pytest.mark.parametrize("law", ROOT)
def test_a_tree_in_a_thread(law: str) -> None:
    """It does what the laws say of a tree, in a thread of the other backend."""
    check(ROOT[law], "trio")


@pytest.mark.parametrize("law", CHILD)
def test_a_child_in_a_thread(law: str) -> None:
    """So does one in the middle of a tree."""
    check(CHILD[law], "asyncio")


def test_most_laws_can_be_told() -> None:
    """What is left out is what the caller's thread may not ask for, and what is left behind."""
    assert {*LAWS_OF_SERVICES} - {*ROOT} <= {"5 left behind", "added and removed"}
    assert {"4 the order", "5 bounded", "8 a crash", "9 restarts"} <= {*CHILD}


# --- By hand --------------------------------------------------------------------------------------


def holding(kind: str, **hooks: Hook) -> Script:
    """Return a supervisor that gives up what fails, with a service in a thread, and one below that."""
    below = Script("c", hooks={"on_stop": Hook(20 * MILLI)})
    ward = Script("b", kind, hooks={"on_stop": Hook(10 * MILLI), **hooks}, children=(below,))  # type: ignore[dict-item]
    return Script("a", "forfeit one for one", children=(ward,))


CRASHED_FROM_OUTSIDE = """
    0 block entered
    100 call 100, crash(b) which is running
    100 call 100 returned
    100 b.on_stop begins
    110 b.on_stop returns
    110 c.on_stop begins
    130 c.on_stop returns
    1000 body ends
    1000 block returned
"""

REFUSED = """
    0 block entered
    100 call 100, stop(c) which is running
    100 call 100 raised LifecycleError
    200 call 200, crash(c) which is running
    200 call 200 raised LifecycleError
    1000 body ends
    1000 b.on_stop begins
    1010 b.on_stop returns
    1010 c.on_stop begins
    1030 c.on_stop returns
    1030 block returned
"""

# What comes later is not what leaves.
FAILS_IN_STOP = """
    0 block entered
    100 call 100, stop(b) which is running
    100 b.on_stop begins
    110 b.on_stop raises
    110 c.on_stop begins
    115 call 115, crash(b) which is stopping, and should stop
    115 call 115 returned
    130 c.on_stop returns
    130 call 100 raised b.on_stop #1
    1000 body ends
    1000 block returned
"""

RESTARTED_BY_A_HOOK = """
    0 block entered
    100 call 100, stop(b) which is running
    100 b.on_stop begins
    110 call 7, restart(b) which is stopping, and should stop
    110 call 7 returned
    115 b.on_stop returns
    115 c.on_stop begins
    135 c.on_stop returns
    135 call 100 returned
    200 call 200, allow(b) which is running
    200 call 200 returned
    1000 body ends
    1000 b.on_stop begins
    1010 call 7, restart(b) which is stopping, and should stop
    1010 call 7 returned
    1015 b.on_stop returns
    1015 c.on_stop begins
    1035 c.on_stop returns
    1035 block returned
"""

# The task of a service in the thread may ask for the end of the whole.
ENDED_FROM_INSIDE = """
    0 c.task 0 begins
    0 block entered
    100 call 7, stop(b) which is running
    100 b.on_stop begins
    110 b.on_stop returns
    110 call 7 cancelled
    110 c.task 0 is cancelled
    110 c.task 0 returns
    1000 body ends
    1000 block returned
"""


# The start that is cut short has not failed: the next one takes its place.
RESTARTED_WHILE_IT_STARTS = """
    0 b.on_started begins
    50 call 50, restart(b) which is starting
    50 b.on_started cut
    50 b.on_stop begins
    60 b.on_stop returns
    60 c.on_stop begins
    80 c.on_stop returns
    80 b.on_started begins
    180 b.on_started returns
    180 call 50 returned
    180 block entered
    1000 body ends
    1000 b.on_stop begins
    1010 b.on_stop returns
    1010 c.on_stop begins
    1030 c.on_stop returns
    1030 block returned
"""


# The hook that asks goes on; so the first start is complete, and the second one fails before its run can be followed.
FAILS_AFTER_ASKING = """
    0 b.on_started begins
    100 call 7, restart(b) which is starting
    100 call 7 returned
    150 b.on_started returns
    150 b.on_stop begins
    150 block entered
    160 b.on_stop returns
    160 c.on_stop begins
    180 c.on_stop returns
    180 b.on_started begins
    280 call 7, restart(b) which is restarting
    280 call 7 returned
    330 b.on_started raises
    330 b.on_stop begins
    340 b.on_stop returns
    340 c.on_stop begins
    360 c.on_stop returns
    1000 body ends
    1000 block returned
"""

# What fails in a stop that the service has asked for itself is no crash of it.
ENDS_BADLY_AFTER_ASKING = """
    0 b.on_started begins
    100 call 7, restart(b) which is starting
    100 call 7 returned
    150 b.on_started returns
    150 b.on_stop begins
    150 block entered
    160 b.on_stop returns
    160 c.on_stop begins
    180 c.on_stop returns
    180 b.on_started begins
    280 call 7, restart(b) which is restarting
    280 call 7 returned
    330 b.on_started returns
    330 b.on_stop begins
    340 b.on_stop raises
    340 c.on_stop begins
    360 c.on_stop returns
    1000 body ends
    1000 block returned
"""

# All that there is has crashed, also what was being undone.
CRASHED_WHILE_UNDONE = """
    0 a.task 0 begins
    0 b.on_started begins
    100 b.on_started returns
    100 block entered
    200 call 200, restart(b) which is running
    200 b.on_stop begins
    210 b.on_stop returns
    210 c.on_stop begins
    230 c.on_stop returns
    230 b.on_started begins
    250 call 250, crash(b) which is restarting
    250 call 250 returned
    250 b.on_started cut
    250 b.on_stop begins
    260 b.on_stop returns
    260 c.on_stop begins
    265 a.task 0 raises
    265 body cancelled
    280 c.on_stop returns
    280 call 200 raised call 250
    280 block raised a.task 0 #1
"""


def plan(root: Script, *ops: Op) -> Plan:
    """Return a plan of one second."""
    return Plan(root, body=1000 * MILLI, ops=ops, end=2000 * MILLI)


# One that is being undone holds up nobody who would start it.
LEFT_OUT = """
    0 d.on_start begins
    10 call 10, start(b) which is init
    10 b.on_started begins
    60 call 60, stop(b) which is starting
    60 b.on_started cut
    60 b.on_stop begins
    65 d.on_start returns
    65 block entered
    70 b.on_stop returns
    70 c.on_stop begins
    90 c.on_stop returns
    90 call 60 returned
    90 call 10 raised StartAborted(b)
    1000 body ends
    1000 block returned
"""

# Also those beside the one that has failed, in threads below the thread.
ALL_CRASHED = """
    0 d.task 0 begins
    0 block entered
    100 d.task 0 raises
    100 b.on_stop begins
    100 body cancelled
    110 b.on_stop returns
    110 block raised MaxRestartsExceeded(a)
"""


# Nothing stops here before the one that was added last has: what fails until then comes after what has failed before.
FAILS_BEFORE_ITS_TURN = """
    0 b.task 0 begins
    0 d.task 0 begins
    0 block entered
    100 d.task 0 raises
    100 body cancelled
    100 d.on_stop begins
    200 b.task 0 raises
    300 call 300, crash(b) which is crashed, and should stop
    300 call 300 returned
    600 d.on_stop returns
    600 block raised d.task 0 #1
"""


def by_hand(kind: str) -> dict[str, tuple[Plan, str]]:
    """Return plans with a service in a thread of this kind, and their logs."""
    root = holding(kind)
    fails = holding(kind, on_stop=Hook(10 * MILLI, "raise"))
    asks = holding(kind, on_stop=Hook(10 * MILLI, call=Call(7, "restart", "b"), rest=5 * MILLI))
    worker = Script("c", work=(Work(100 * MILLI, call=Call(7, "stop", "b")),))
    ended = replace(root, children=(replace(root.children[0], children=(worker,)),))
    failing = Script("d", kind, work=(Work(100 * MILLI, then="raise"),))
    beside = replace(root.children[0], children=(Script("c", kind), failing))
    later = Script(
        "d", work=(Work(100 * MILLI, then="raise"),), hooks={"on_stop": Hook(500 * MILLI)}
    )
    fails_late = Script("b", kind, work=(Work(200 * MILLI, then="raise"),))
    waiting = Script("a", children=(fails_late, later))
    giving_up = replace(
        root, kind="one for one", children=(beside,), policy=Policy(max_restarts=0)
    )

    return {
        "crashed from outside": (plan(root, op(100, "crash", "b")), CRASHED_FROM_OUTSIDE),
        "refused": (plan(root, op(100, "stop", "c"), op(200, "crash", "c")), REFUSED),
        "fails in its stop": (
            plan(fails, op(100, "stop", "b"), op(115, "crash", "b")),
            FAILS_IN_STOP,
        ),
        "restarted by a hook": (
            plan(asks, op(100, "stop", "b"), op(200, "allow", "b")),
            RESTARTED_BY_A_HOOK,
        ),
        "ended from inside": (plan(ended), ENDED_FROM_INSIDE),
        "all crashed": (plan(giving_up), ALL_CRASHED),
        "fails before its turn": (plan(waiting, op(300, "crash", "b")), FAILS_BEFORE_ITS_TURN),
        "restarted while it starts": (
            plan(holding(kind, on_started=Hook(100 * MILLI)), op(50, "restart", "b")),
            RESTARTED_WHILE_IT_STARTS,
        ),
    }


def of_starts(kind: str) -> dict[str, tuple[Plan, str]]:
    """Return the same of what happens while such a service is being started again."""
    asks = Hook(100 * MILLI, call=Call(7, "restart", "b"), rest=50 * MILLI)
    fails = replace(asks, then="raise later")
    ends_badly = Hook(10 * MILLI, "raise later")
    undone = holding(kind, on_started=Hook(100 * MILLI))
    crashing = replace(undone, kind="service", work=(Work(265 * MILLI, then="raise"),))
    late = replace(
        undone, children=(Script("d", hooks={"on_start": Hook(65 * MILLI)}), *undone.children)
    )
    crash = (op(200, "restart", "b"), op(250, "crash", "b"))
    return {
        "fails after asking": (plan(holding(kind, on_started=fails)), FAILS_AFTER_ASKING),
        "ends badly after asking": (
            plan(holding(kind, on_started=asks, on_stop=ends_badly)),
            ENDS_BADLY_AFTER_ASKING,
        ),
        "crashed while undone": (plan(crashing, *crash), CRASHED_WHILE_UNDONE),
        "left out": (plan(late, op(10, "start", "b"), op(60, "stop", "b")), LEFT_OUT),
    }


def all_by_hand(kind: str) -> dict[str, tuple[Plan, str]]:
    """Return all plans by hand."""
    return {**by_hand(kind), **of_starts(kind)}


@pytest.mark.parametrize("law", all_by_hand("thread"))
def test_the_model_keeps(law: str) -> None:
    """The model tells of a plan, line by line, what was worked out by hand."""
    plan, log = all_by_hand("thread")[law]
    lines = [(line.at, line.text) for line in play(plan, UNITS).lines]
    assert sorted(lines) == sorted(told(log))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", THREADS)
@pytest.mark.parametrize("law", all_by_hand("thread"))
def test_structmode_keeps(law: str, kind: str, backend: reality.Backend) -> None:
    """structmode does with the same plans what the model says."""
    check(all_by_hand(kind)[law][0], backend)
