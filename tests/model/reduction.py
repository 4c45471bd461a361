"""Makes a plan that fails as small as it can be while it still fails.

Hypothesis can do that too, on the choices that made the plan; but a plan is data, so leaving out what is in it is quicker
by far, and ends with a plan that shows the fault and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

from .plan import SECOND, Context, Hook, Plan, Policy, Script, Work

T = TypeVar("T")


def reduce(plan: Plan, fails: Callable[[Plan], bool]) -> Plan:
    """Return the smallest plan that can be made of `plan` by leaving things out, and that still fails."""
    smaller: Plan | None = plan
    while smaller is not None:
        plan = smaller
        candidates = (one for one in _smaller_plans(plan) if _is_whole(one))
        smaller = next((one for one in candidates if fails(one)), None)
    return plan


def _is_whole(plan: Plan) -> bool:
    """Whether all that calls name is there."""
    labels = {script.label for script in plan.scripts()}
    numbers = {str(op.call.number) for op in plan.ops}
    for call in plan.calls():
        if call.verb == "cancel call" and call.target not in numbers:
            return False
        if call.verb not in {"cancel call", "cancel owner"} and call.target not in labels:
            return False
        if call.other and call.other not in labels:
            return False
    return True


def _smaller_plans(plan: Plan) -> Iterator[Plan]:
    for place in range(len(plan.ops)):
        yield replace(plan, ops=_without(plan.ops, place))
    for place, spare in enumerate(plan.spares):
        yield replace(plan, spares=_without(plan.spares, place))
        for smaller in _smaller_scripts(spare):
            yield replace(plan, spares=_with(plan.spares, place, smaller))
    for smaller in _smaller_scripts(plan.root):
        yield replace(plan, root=smaller)


def _smaller_scripts(script: Script) -> Iterator[Script]:
    for place in range(len(script.children)):
        yield replace(script, children=_without(script.children, place))
    for place in range(len(script.work)):
        yield replace(script, work=_without(script.work, place))
    for place in range(len(script.contexts)):
        yield replace(script, contexts=_without(script.contexts, place))
    for name in script.hooks:
        if name != "on_start" or not script.contexts:
            hooks = {other: hook for other, hook in script.hooks.items() if other != name}
            yield replace(script, hooks=hooks)
    if script.shutdown_timeout != 60 * SECOND:
        yield replace(script, shutdown_timeout=60 * SECOND)
    if script.drain_timeout:
        yield replace(script, drain_timeout=0)
    if script.restart != "transient":
        yield replace(script, restart="transient")
    if script.significant:
        yield replace(script, significant=False)
    if script.substitute is not None:
        yield replace(script, substitute=None)
        for smaller in _smaller_scripts(script.substitute):
            yield replace(script, substitute=smaller)
    for policy in _simpler_policies(script.policy):
        yield replace(script, policy=policy)
    if script.asks:
        yield replace(script, asks=False)
    yield from _simpler_scripts(script)


def _simpler_scripts(script: Script) -> Iterator[Script]:
    for name, hook in script.hooks.items():
        for simpler in _simpler_hooks(hook):
            yield replace(script, hooks={**script.hooks, name: simpler})
    for place, work in enumerate(script.work):
        for simple in _simpler_work(work):
            yield replace(script, work=_with(script.work, place, simple))
    for place, context in enumerate(script.contexts):
        calm = Context(context.is_async, context.leaving)
        if context != calm:
            yield replace(script, contexts=_with(script.contexts, place, calm))
    for place, child in enumerate(script.children):
        for smaller in _smaller_scripts(child):
            yield replace(script, children=_with(script.children, place, smaller))


def _simpler_policies(policy: Policy) -> Iterator[Policy]:
    if policy.delay:
        yield replace(policy, delay=0)
    if policy.jitter:
        yield replace(policy, jitter=0, chances=(0,))
    if policy.auto_shutdown != "any":
        yield replace(policy, auto_shutdown="any")
    if policy.replacement is not None:
        yield replace(policy, replacement=None)
        if policy.replacement.then != "return":
            yield replace(policy, replacement=replace(policy.replacement, then="return"))


def _simpler_hooks(hook: Hook) -> Iterator[Hook]:
    if hook.call is not None:
        yield replace(hook, call=None, rest=0)
    if hook.deaf:
        yield replace(hook, deaf=False)
    if hook.then != "return":
        yield replace(hook, then="return")


def _simpler_work(work: Work) -> Iterator[Work]:
    for simpler in (
        replace(work, call=None, rest=0),
        replace(work, listens=False),
        replace(work, cleans_up=0, cancelled_then="return"),
        replace(work, winds_up=0, told_then="return"),
        replace(work, then="return"),
    ):
        if simpler != work:
            yield simpler


def _without(items: tuple[T, ...], place: int) -> tuple[T, ...]:
    return (*items[:place], *items[place + 1 :])


def _with(items: tuple[T, ...], place: int, item: T) -> tuple[T, ...]:
    return (*items[:place], item, *items[place + 1 :])
