"""Services of facet's face by the laws: alone, below services, and above them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest
from hypothesis.stateful import run_state_machine_as_test

from . import reality
from .machine import Machine, budget, check
from .plan import FOREVER, SECOND, Call, Hook, HookName, Op, Plan, Script, Verb, Work

MILLI = SECOND // 1000
BACKENDS: list[reality.Backend] = ["asyncio", "trio"]


def op(at: int, verb: Verb, target: str) -> Op:
    """Return a call from outside at so many milliseconds, which are its number, too."""
    return Op(at * MILLI, Call(at, verb, target))


def hook(takes: int, **more: Any) -> Hook:
    """Return a hook that takes so many milliseconds."""
    return replace(Hook(takes * MILLI), **more)


def part(label: str, at: int, *needs: Script, kind: str = "facet", **more: Any) -> Script:
    """Return a service that starts and stops in times of its own, and has a task."""
    hooks: dict[HookName, Hook] = {"on_start": hook(at), "on_stop": hook(at + 1)}
    script = Script(label, kind, hooks=hooks, work=(Work(cleans_up=7 * MILLI),), children=needs)
    return replace(script, **more)


def tree(**more: dict[str, Any]) -> Script:
    """Return a facet above a chain, and a service, each of which may be changed."""
    c = part("c", 31, **more.get("c", {}))
    b = part("b", 17, c, **more.get("b", {}))
    d = part("d", 53, kind="service", **more.get("d", {}))
    return part("a", 11, b, d, **more.get("a", {}))


PLANS: dict[str, Plan] = {
    "a life": Plan(tree()),
    "below a service": Plan(Script("r", children=(tree(),))),
    "bare": Plan(tree(), owner="nobody", ops=(op(100, "start", "a"), op(900, "stop", "a"))),
    "a stop while it starts": Plan(
        tree(), owner="nobody", ops=(op(100, "start", "a"), op(140, "stop", "a"))
    ),
    "a crash at the top": Plan(tree(), ops=(op(1000, "crash", "a"),)),
    "a crash in the middle": Plan(tree(), ops=(op(1000, "crash", "b"),)),
    "a crash at the bottom": Plan(tree(), ops=(op(1000, "crash", "c"),)),
    "a crash below a service": Plan(
        Script("r", children=(tree(),)), ops=(op(1000, "crash", "c"),)
    ),
    "a restart at the top": Plan(tree(), ops=(op(1000, "restart", "a"),)),
    "a restart in the middle": Plan(tree(), ops=(op(1000, "restart", "b"),)),
    "a restart at the bottom": Plan(tree(), ops=(op(1000, "restart", "c"),)),
    "a stop at the bottom": Plan(tree(), ops=(op(1000, "stop", "c"), op(2000, "restart", "b"))),
    "a start that fails": Plan(tree(a={"hooks": {"on_start": hook(11, then="raise")}})),
    "a start below that fails": Plan(tree(d={"hooks": {"on_start": hook(11, then="raise")}})),
    "a stop that fails": Plan(tree(b={"hooks": {"on_stop": hook(11, then="raise")}})),
    "a stop that hangs": Plan(
        tree(a={"shutdown_timeout": 300 * MILLI}, c={"hooks": {"on_stop": Hook(FOREVER)}}),
        ops=(op(1000, "stop", "a"),),
    ),
    "a stop in a task": Plan(tree(c={"work": (Work(500 * MILLI, call=Call(1, "stop", "a")),)})),
    "a task that fails": Plan(tree(c={"work": (Work(500 * MILLI, then="raise"),)})),
    "the owner is cancelled": Plan(tree(), ops=(Op(SECOND, Call(1, "cancel owner")),)),
    "the owner is cancelled while it starts": Plan(
        tree(), ops=(Op(60 * MILLI, Call(1, "cancel owner")),)
    ),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", PLANS)
def test_as_the_laws_say(name: str, backend: reality.Backend) -> None:
    """It does what the laws say, line by line."""
    check(PLANS[name], backend)


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKENDS)
def test_random_plans(name: reality.Backend) -> None:
    """Whatever is done to trees of both faces, they do what the laws say."""

    class OfFacets(Machine):
        backend: ClassVar[reality.Backend] = name
        threaded: ClassVar[float] = 0.0
        supervised: ClassVar[float] = 0.0
        facets: ClassVar[float] = 0.5

    run_state_machine_as_test(OfFacets, settings=budget(60, derandomize=True))
