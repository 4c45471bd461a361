"""The laws across threads: a service in a thread of its own lives as any other, and all that differs is what may be asked where."""

from __future__ import annotations

from dataclasses import replace

import pytest

from . import reality
from .machine import THREADS, UNITS, check, tell
from .model import play
from .plan import SECOND, Call, Hook, Op, Plan, Script, Verb, Work
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


def by_hand(kind: str) -> dict[str, tuple[Plan, str]]:
    """Return plans with a service in a thread of this kind, and their logs."""
    root = holding(kind)
    fails = holding(kind, on_stop=Hook(10 * MILLI, "raise"))
    asks = holding(kind, on_stop=Hook(10 * MILLI, call=Call(7, "restart", "b"), rest=5 * MILLI))
    worker = Script("c", work=(Work(100 * MILLI, call=Call(7, "stop", "b")),))
    ended = replace(root, children=(replace(root.children[0], children=(worker,)),))

    def plan(root: Script, *ops: Op) -> Plan:
        return Plan(root, body=1000 * MILLI, ops=ops, end=2000 * MILLI)

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
        "restarted while it starts": (
            plan(holding(kind, on_started=Hook(100 * MILLI)), op(50, "restart", "b")),
            RESTARTED_WHILE_IT_STARTS,
        ),
    }


@pytest.mark.parametrize("law", by_hand("thread"))
def test_the_model_keeps(law: str) -> None:
    """The model tells of a plan, line by line, what was worked out by hand."""
    plan, log = by_hand("thread")[law]
    lines = [(line.at, line.text) for line in play(plan, UNITS).lines]
    assert sorted(lines) == sorted(told(log))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", THREADS)
@pytest.mark.parametrize("law", by_hand("thread"))
def test_structmode_keeps(law: str, kind: str, backend: reality.Backend) -> None:
    """structmode does with the same plans what the model says."""
    check(by_hand(kind)[law][0], backend)
