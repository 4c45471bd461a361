"""What random plans hold once in a hundred or once in ten thousand, if ever: plans that a search has found, and made small."""

from __future__ import annotations

import pytest

from . import reality
from .machine import check, tell
from .plan import FOREVER, SECOND, Call, Context, Hook, Op, Plan, Script, Work

MILLI = SECOND // 1000

RARE: dict[str, Plan] = {
    "the time of a stop is up while tasks drain": Plan(
        root=Script(
            "a",
            work=(Work(takes=1734790, then="raise"), Work(takes=6158054, cleans_up=287613)),
            shutdown_timeout=816014,
            drain_timeout=998262,
        ),
        owner="nobody",
        ops=(Op(853035, Call(11, "start", "a")),),
    ),
    "a permission that never comes": Plan(Script("a", asks=True)),
    "a hook of a child hangs, and the time of its parent's stop is up": Plan(
        root=Script(
            "a",
            hooks={"on_stop": Hook(207493)},
            children=(
                Script(
                    "b",
                    children=(
                        Script(
                            "c",
                            hooks={
                                "on_shutdown": Hook(
                                    565022, call=Call(48, "restart", "b"), rest=FOREVER
                                )
                            },
                        ),
                    ),
                ),
            ),
        ),
        owner="nobody",
        ops=(Op(455085, Call(10, "start", "a")),),
    ),
    "a child that is late, but goes on": Plan(
        Script(
            "a",
            children=(
                Script(
                    "d",
                    hooks={"on_shutdown": Hook(1694020, deaf=True)},
                    shutdown_timeout=2690809,
                    asks=True,
                ),
            ),
        )
    ),
    "a hook that calls its own start off, and hangs": Plan(
        Script(
            "a",
            children=(
                Script(
                    "b",
                    hooks={
                        "on_first_start": Hook(888773, call=Call(22, "stop", "b"), rest=FOREVER)
                    },
                    shutdown_timeout=3914687,
                ),
            ),
        )
    ),
    "a context that is not left in time": Plan(
        Script("a", hooks={"on_start": Hook(434790)}, contexts=(Context(leaving=FOREVER),))
    ),
    "a child that the first start adds for good": Plan(
        root=Script(
            "a",
            children=(
                Script(
                    "b",
                    hooks={
                        "on_first_start": Hook(163281, call=Call(64, "add", "b", "c"), rest=934630)
                    },
                ),
            ),
        ),
        spares=(Script("c"),),
    ),
    "a child that a run has added, and the next knows nothing of": Plan(
        root=Script(
            "a",
            hooks={"on_started": Hook(524528, "raise")},
            children=(
                Script(
                    "c",
                    hooks={"on_start": Hook(569318, call=Call(53, "add", "c", "e"), rest=144912)},
                ),
            ),
        ),
        spares=(Script("e"),),
        owner="nobody",
        ops=(Op(16222059, Call(45, "start", "a")), Op(2834630, Call(66, "restart", "a"))),
    ),
    "a kill of what has partly ended": Plan(
        root=Script(
            "a",
            work=(Work(3406108, call=Call(68, "crash", "e"), rest=472663),),
            children=(
                Script(
                    "c",
                    hooks={"on_first_start": Hook(404040), "on_start": Hook(377798)},
                    work=(Work(2201898, call=Call(42, "add", "d", "b"), rest=122059),),
                    children=(Script("d"),),
                ),
                Script("e", asks=True),
            ),
            shutdown_timeout=2806399,
        ),
        spares=(
            Script(
                "b",
                hooks={
                    "on_first_start": Hook(224333, call=Call(106, "add", "b", "b"), rest=597645),
                    "on_start": Hook(559501, call=Call(78, "stop", "b"), rest=798168),
                    "on_stop": Hook(453035),
                    "on_shutdown": Hook(929982),
                },
            ),
        ),
    ),
    "tasks that do not begin, because a crash far above has been told": Plan(
        root=Script(
            "a",
            hooks={"on_stop": Hook(500 * MILLI)},
            children=(
                Script(
                    "b",
                    children=(Script("c", hooks={"on_start": Hook(200 * MILLI)}, work=(Work(),)),),
                ),
            ),
        ),
        ops=(
            Op(500 * MILLI, Call(1, "restart", "c")),
            Op(600 * MILLI, Call(2, "crash", "a")),
        ),
    ),
    "a child is added while its restart fails": Plan(
        root=Script(
            "a",
            children=(Script("b", hooks={"on_restart": Hook(200 * MILLI, "raise")}),),
        ),
        ops=(
            Op(500 * MILLI, Call(1, "restart", "b")),
            Op(600 * MILLI, Call(2, "add", "a", "b")),
        ),
    ),
    "an owner is cancelled that is not there": Plan(
        root=Script("a"),
        owner="nobody",
        ops=(Op(100 * MILLI, Call(1, "start", "a")), Op(500 * MILLI, Call(2, "cancel owner"))),
    ),
    "a thread fails after a crash above, and before its own stop": Plan(
        root=Script(
            "a",
            children=(
                Script(
                    "b",
                    hooks={"on_stop": Hook(600 * MILLI)},
                    children=(Script("c", kind="thread", hooks={"on_stop": Hook(300 * MILLI)}),),
                ),
            ),
        ),
        ops=(
            Op(500 * MILLI, Call(1, "crash", "b")),
            Op(700 * MILLI, Call(2, "crash", "c")),
            Op(1250 * MILLI, Call(3, "stop", "c")),
        ),
    ),
    "a service is added again, twice, while it ends since it was discarded": Plan(
        root=Script(
            "a",
            kind="one for one",
            children=(
                Script(
                    "b",
                    hooks={"on_start": Hook(10 * MILLI), "on_stop": Hook(300 * MILLI)},
                ),
                Script("c"),
            ),
        ),
        ops=(
            Op(500 * MILLI, Call(1, "discard", "a", "b")),
            Op(600 * MILLI, Call(2, "add", "a", "b")),
            Op(650 * MILLI, Call(3, "discard", "a", "b")),
            Op(700 * MILLI, Call(4, "add", "a", "b")),
        ),
    ),
    "a hook fails when its time is up, above a task that listens": Plan(
        root=Script(
            "a",
            hooks={"on_stop": Hook(700 * MILLI, "raise", deaf=True)},
            children=(Script("b", work=(Work(5 * SECOND, listens=True),)),),
            shutdown_timeout=500 * MILLI,
        ),
        ops=(Op(500 * MILLI, Call(1, "stop", "a")),),
    ),
}

#: What no law says anything of: told apart, not compared.
LEFT_OPEN: dict[str, Plan] = {
    "a thread that nobody has in its tree ignores its kill": Plan(
        root=Script("a"),
        spares=(
            Script(
                "c",
                kind="thread",
                hooks={"on_stop": Hook(2400 * MILLI, deaf=True)},
                shutdown_timeout=300 * MILLI,
            ),
        ),
        ops=(Op(500 * MILLI, Call(1, "start", "c")),),
    ),
}


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("what", RARE)
def test_what_is_rare(what: str, backend: reality.Backend) -> None:
    """structmode does what the laws say in these, too."""
    assert tell(RARE[what]) is not None
    check(RARE[what], backend)


@pytest.mark.parametrize("what", LEFT_OPEN)
def test_what_is_left_open(what: str) -> None:
    """Such a plan is passed over."""
    assert tell(LEFT_OPEN[what]) is None
