"""A Hypothesis machine whose rules write a plan, step by step; when it is done, structmode has to do what the model says.

The model has a say in the writing, too: a change after which two things would fall in the same instant is not made, and
a call is put where it means something, most of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import ClassVar, Literal

from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from . import reality
from .comparison import Difference, compare
from .kinds import KINDS
from .model import World
from .plan import (
    FOREVER,
    HOOKS,
    Call,
    Context,
    Hook,
    HookName,
    Op,
    Plan,
    Policy,
    RestartType,
    Script,
    Then,
    Verb,
    Work,
    code,
    span,
)
from .reduction import reduce
from .simulation import Stuck, Tie
from .story import Story
from .supervision import Supervisor

MOST_SERVICES = 6
MOST_OPS = 14
MOST_TASKS = 3
MOST_CONTEXTS = 3
LABELS = "abcdefghij"

STRATEGIES = sorted(name for name, kind in KINDS.items() if issubclass(kind.unit, Supervisor))
THREADS = sorted(name for name, kind in KINDS.items() if kind.unit.has_thread)
#: Which of them are drawn: those that mend something more often.
DRAWN = [name for name in STRATEGIES for _ in range(1 if name == "crashing" else 2)]

UNITS = {name: kind.unit for name, kind in KINDS.items()}

#: What a rule makes its choices with. Hypothesis likes small numbers, and the same ones again, in one plan and in the next;
#: so each depends on all before it, too.
choices = st.tuples(st.runner(), st.integers(0, 2**64 - 1)).map(
    lambda pair: pair[0].spread(pair[1])
)

#: How many of the plans have services in threads, and how many of the services of these plans are some.
THREADED, IN_THREADS = 0.25, 0.35
#: How many of the services are supervisors.
SUPERVISORS = 0.35
#: How many of the plans are about supervisors most of all.
SUPERVISED = 0.7
#: How many of these are calm: what they have come to, no change takes away; see `Machine._is_too_much`.
CALM = 0.85
#: How often a calm plan is tried to be given something that it shall come to.
ATTEMPTS = 10
FAILINGS: tuple[Then, ...] = ("raise", "raise", "raise once", "raise later", "return")
#: What a supervisor calls it when services come and go.
SUPERVISING: dict[Verb, tuple[Verb, ...]] = {
    "add": ("supervise", "supervise", "insert"),
    "remove": ("discard", "dismiss"),
}
#: When services are restarted; mode's way is the usual one.
RESTARTS: tuple[RestartType, ...] = (
    *("transient", "transient", "transient"),
    *("permanent", "permanent"),
    "temporary",
)

#: The hooks that a service of facet's face has.
FACETS: tuple[HookName, ...] = ("on_start", "on_stop")
STARTING: tuple[HookName, ...] = ("on_first_start", "on_start", "on_started")

VERBS: tuple[Verb, ...] = ("start", "stop", "stop", "restart", "restart", "crash", "add", "remove")
OF_HOOKS: tuple[Verb, ...] = ("stop", "restart", "crash")


@dataclass
class Totals:
    """How much has been compared.

    Attributes:
        plans: How many plans.
        steps: How many scripted things they have carried out.
        supervised: How many of the plans have a supervisor.
        mended: In how many of these one has set to work on what broke.
        revived: In how many it has also started something again.
    """

    plans: int = 0
    steps: int = 0
    supervised: int = 0
    mended: int = 0
    revived: int = 0

    def add(self, plan: Plan, story: Story) -> None:
        """Count one more."""
        self.plans += 1
        self.steps += story.steps
        self.supervised += any(script.kind in STRATEGIES for script in plan.scripts())
        self.mended += story.mendings > 0
        self.revived += story.revived > 0

    def share(self) -> str:
        """Say how much of it is about supervisors."""
        those = (
            f"of {self.supervised:,} plans with a supervisor, {self.mended:,} came to a mending"
        )
        return f"{those}, {self.revived:,} to a restart"


def budget(plans: int, *, rules: int = 40, derandomize: bool = False) -> settings:
    """Write so many plans, each with so many rules at most. Shrinking is left to `reduction`, which is quicker."""
    return settings(
        max_examples=plans,
        stateful_step_count=rules,
        derandomize=derandomize,
        deadline=None,
        database=None,
        print_blob=False,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


class Machine(RuleBasedStateMachine):
    """Writes one plan, and plays it on one backend."""

    backend: ClassVar[reality.Backend] = "asyncio"
    #: How many of the plans have services in threads.
    threaded: ClassVar[float] = THREADED
    #: How many of the plans are about supervisors most of all.
    supervised: ClassVar[float] = SUPERVISED
    #: How many of the services are of facet's face.
    facets: ClassVar[float] = 0.0
    totals: ClassVar[Totals] = Totals()

    def __init__(self) -> None:
        super().__init__()
        self.plan = Plan(Script("a"))
        self._items = 0
        self._salt = 0
        # Whether it is about what supervisors do: then most of it has to come up.
        self._supervised = False
        self._calm = False
        self._threaded = False
        # What the plan comes to so far.
        self._told = Story([], {}, 0)

    def spread(self, number: int) -> Random:
        """Return what a rule makes its choices with."""
        self._salt = (self._salt * 6_364_136_223_846_793_005 + number) % 2**64
        return Random(self._salt)

    @initialize(choose=choices)
    def begin(self, choose: Random) -> None:
        """Choose who owns the root, and plant a tree."""
        self._supervised = choose.random() < self.supervised
        self._calm = self._supervised and choose.random() < CALM
        self._threaded = choose.random() < self.threaded
        self._plant_root(choose)
        for _ in range(ATTEMPTS if self._calm else 0):
            if self._told.started:
                break
            self._plant_root(choose)
        for _ in range(ATTEMPTS if self._calm else 0):
            if self._told.mendings:
                break
            self._have_one_break(choose)
        for _ in range(4 if self._supervised else 0):
            self.have_one_fail(choose)
        for _ in range(choose.randint(0, 4)):
            if len(self.plan.scripts()) < MOST_SERVICES:
                self.add_service(choose)

    def _plant_root(self, choose: Random) -> None:
        owner: Literal["block", "nobody"] = choose.choice(["block", "block", "nobody"])
        if self._supervised:
            root = self._draw_supervisor(choose, 0)
        else:
            root = self._draw_script(choose, "a", self._draw_kind(choose))
        ops: tuple[Op, ...] = ()
        if owner == "nobody":
            call = Call(self._next(), "start", "a")
            ops = (Op(self._span(choose.randint(1, 9)), call),)
        plan = Plan(root, owner=owner, body=self._span(200), end=self._span(300), ops=ops)
        story = self._story(plan)
        if story is not None:  # pragma: no branch - only in very long runs
            self.plan, self._told = plan, story

    # -- The tree and its scripts

    @precondition(lambda self: len(self.plan.scripts()) < MOST_SERVICES)
    @rule(choose=choices)
    def add_service(self, choose: Random) -> None:
        """Put one more service in the tree, or beside it, as one that calls may add."""
        kind = self._draw_kind(choose)
        script = self._draw_script(choose, LABELS[len(self.plan.scripts())], kind)
        if not KINDS[kind].fits(script):
            return  # pragma: no cover - only in very long runs, if ever
        if choose.random() < 0.2:
            self._accept(replace(self.plan, spares=(*self.plan.spares, script)))
            return
        above = self._label(choose)
        self._change(above, lambda old: replace(old, children=(*old.children, script)))

    @precondition(lambda self: len(self.plan.scripts()) <= MOST_SERVICES - 2)
    @rule(choose=choices)
    def plant_supervisor(self, choose: Random) -> None:
        """Put a supervisor in the tree, with some services to look after."""
        script = self._draw_supervisor(choose, len(self.plan.scripts()))
        self._change(
            self._label(choose), lambda old: replace(old, children=(*old.children, script))
        )

    @rule(choose=choices)
    def have_one_fail(self, choose: Random) -> None:
        """Have a service that is supervised fail, or end, while it runs, or while it starts again."""
        wards = self._wards()
        if not wards:
            return
        above, ward = choose.choice(wards)
        label, then = ward.label, choose.choice(FAILINGS)
        match choose.choice(["task", "task", "task", "call", "call", "start", "stop"]):
            case "task":
                work = Work(self._span(choose.randint(15, 90)), then=then)
                self._change(label, lambda old: replace(old, work=(work, *old.work[1:])))
            case "call" if len(self.plan.ops) < MOST_OPS:
                self._call_on_ward(choose, above.label, label)
            case "start":
                self._set_hook(label, "on_start", Hook(self._tenths(choose), "raise later"))
            case _:
                self._set_hook(label, "on_stop", Hook(self._tenths(choose), then))

    def _have_one_break(self, choose: Random) -> None:
        """Have a service that is supervised fail when all has started, where something will be done about it."""
        wards = [(above, ward) for above, ward in self._wards() if above.kind != "crashing"]
        if not wards:
            return  # pragma: no cover - only in very long runs, if ever
        above, ward = choose.choice(wards)
        if above.policy.max_restarts == 0:
            policy = replace(above.policy, max_restarts=1)
            self._change(above.label, lambda old: replace(old, policy=policy))
        if ward.restart == "temporary":
            self._change(ward.label, lambda old: replace(old, restart="transient"))
        time = self._span(choose.randint(30, 150))
        if choose.random() < 0.5:
            self._put_op("crash", time, ward.label)
            return
        work = Work(time, then=choose.choice(["raise", "raise once", "raise once"]))
        self._change(ward.label, lambda old: replace(old, work=(work, *old.work[1:])))

    def _call_on_ward(self, choose: Random, above: str, label: str) -> None:
        """Have it fail, or have somebody interfere; often soon after something else was done to one beside it."""
        verb: Verb = choose.choice(["crash", "crash", "stop", "restart", "start", "dismiss"])
        times = [op.at for op in self.plan.ops] or [0]
        soon = choose.choice(times) + self._span(choose.randint(0, 8))
        time = soon if choose.random() < 0.5 else self._span(choose.randint(1, 200))
        if verb != "dismiss":
            self._put_op(verb, time, label)
            return
        call = Call(self._next(), verb, above, label)
        self._accept(replace(self.plan, ops=(*self.plan.ops, Op(time, call))))

    @precondition(lambda self: len(self.plan.scripts()) < MOST_SERVICES)
    @rule(choose=choices)
    def have_one_replaced(self, choose: Random) -> None:
        """Have another service come in the place of one that breaks."""
        wards = [(above, ward) for above, ward in self._wards() if ward.substitute is None]
        if not wards:
            return
        above, ward = choose.choice(wards)
        kind = self._draw_kind(choose)
        substitute = self._draw_script(choose, LABELS[len(self.plan.scripts())], kind)
        hook = above.policy.replacement or Hook(self._tenths(choose), _then(choose))
        policy = replace(above.policy, replacement=hook)
        self._change(above.label, lambda old: replace(old, policy=policy))
        self._change(ward.label, lambda old: replace(old, substitute=substitute))

    @rule(choose=choices)
    def have_one_be_significant(self, choose: Random) -> None:
        """Have a supervisor end with a service, and have that come to an end for good."""
        wards = self._wards()
        if not wards:
            return
        above, ward = choose.choice(wards)
        restart: RestartType = choose.choice(["transient", "temporary"])
        policy = replace(above.policy, auto_shutdown=choose.choice(["any", "any", "all"]))
        self._change(above.label, lambda old: replace(old, policy=policy))
        self._change(ward.label, lambda old: replace(old, restart=restart, significant=True))
        time = self._span(choose.randint(40, 200))
        match choose.choice(["stop", "dismiss", "crash"]):
            case "dismiss":
                call = Call(self._next(), "dismiss", above.label, ward.label)
                self._accept(replace(self.plan, ops=(*self.plan.ops, Op(time, call))))
            case "stop":
                self._put_op("stop", time, ward.label)
            case _:
                self._put_op("crash", time, ward.label)

    @rule(choose=choices)
    def script_hook(self, choose: Random) -> None:
        """Say what a hook does; one that hangs, or ignores its cancellation, is rare."""
        hook = Hook(FOREVER if choose.random() < 0.1 else self._tenths(choose), _then(choose))
        if choose.random() < 0.15:
            hook = Hook(self._span(choose.randint(1, 30)), hook.then, deaf=True)
        self._set_hook(self._label(choose), choose.choice(HOOKS), hook)

    @rule(choose=choices)
    def call_in_hook(self, choose: Random) -> None:
        """Have a hook make a call, most of the time on its own service or on one above."""
        label = self._label(choose)
        if choose.random() < 0.3:
            call = self._draw_call(choose)
        else:
            call = Call(self._next(), choose.choice(OF_HOOKS), choose.choice(self._near(label)))
        rest = FOREVER if choose.random() < 0.1 else self._tenths(choose)
        hook = Hook(self._tenths(choose), _then(choose), call, rest)
        self._set_hook(label, choose.choice(HOOKS), hook)

    @rule(choose=choices)
    def script_work(self, choose: Random) -> None:
        """Give a service one more task."""
        self._add_work(self._label(choose), self._draw_work(choose))

    @rule(choose=choices)
    def call_in_work(self, choose: Random) -> None:
        """Give a service a task that makes a call."""
        label = self._label(choose)
        call = self._draw_call(choose)
        if self._threaded and choose.random() < 0.6:
            call = Call(self._next(), choose.choice(OF_HOOKS), choose.choice(self._near(label)))
        work = Work(
            takes=self._span(choose.randint(1, 60)),
            call=call,
            rest=self._tenths(choose),
            cleans_up=self._tenths(choose),
        )
        self._add_work(label, work)

    @rule(choose=choices)
    def add_context(self, choose: Random) -> None:
        """Have a service enter one more context."""
        label = self._label(choose)
        script = self._script(label)
        if len(script.contexts) >= MOST_CONTEXTS or "on_start" not in script.hooks:
            return
        takes = FOREVER if choose.random() < 0.1 else self._tenths(choose)
        is_async = choose.random() < 0.6
        entering = self._tenths(choose) if choose.random() < 0.3 else 0
        entered = _later(_then(choose)) if self._supervised else _then(choose)
        context = Context(True, takes, _then(choose), entering, entered)
        context = context if is_async else Context(False)
        self._change(label, lambda old: replace(old, contexts=(*old.contexts, context)))

    @rule(choose=choices)
    def set_timeouts(self, choose: Random) -> None:
        """Give a service less time to stop, and its tasks some time to end."""
        stop = self._span(choose.randint(2, 40))
        drain = self._tenths(choose) if choose.random() < 0.5 else 0
        self._change(
            self._label(choose),
            lambda old: replace(old, shutdown_timeout=stop, drain_timeout=drain),
        )

    @rule(choose=choices)
    def ask_for_permission(self, choose: Random) -> None:
        """Have the stop of a service wait for a permission, which somebody gives most of the time."""
        label = self._label(choose)
        self._change(label, lambda old: replace(old, asks=True))
        if choose.random() < 0.8 and len(self.plan.ops) < MOST_OPS:
            self._put_op("allow", self._span(choose.randint(1, 250)), label)

    # -- What is done to it

    @precondition(lambda self: len(self.plan.ops) < MOST_OPS)
    @rule(choose=choices)
    def call_from_outside(self, choose: Random) -> None:
        """Put in a call; most of the time, one that means something then."""
        time = self._span(choose.randint(1, 200))
        call = self._draw_call(choose)
        if choose.random() < 0.15 or self._means_something(call, time):
            self._accept(replace(self.plan, ops=(*self.plan.ops, Op(time, call))))

    @precondition(lambda self: 0 < len(self.plan.ops) < MOST_OPS)
    @rule(choose=choices)
    def cancel_a_call(self, choose: Random) -> None:
        """Cancel the caller of a call, while it waits if it does."""
        ops = [op for op in self.plan.ops if not op.call.verb.startswith("cancel")]
        op = choose.choice(ops) if ops else None
        if op is not None:
            later = self._span(choose.choice([0, 0, 1, 2, 4, 8]))
            self._put_op("cancel call", op.at + later, str(op.call.number))

    @precondition(lambda self: self.plan.owner == "block" and not self._owner_is_cancelled())
    @rule(choose=choices)
    def cancel_the_owner(self, choose: Random) -> None:
        """Cancel the task that owns the block."""
        if choose.random() < 0.3:
            self._put_op("cancel owner", self._span(choose.randint(1, 200)), "")

    def teardown(self) -> None:
        """Play the plan, and compare."""
        self.totals.add(self.plan, self._told)
        check(self.plan, self.backend)

    # -- Helpers

    def _next(self) -> int:
        self._items += 1
        return self._items

    def _accept(self, plan: Plan) -> None:
        story = self._story(plan)
        if story is not None and not self._is_too_much(story):
            self.plan, self._told = plan, story

    def _is_too_much(self, story: Story) -> bool:
        """Whether a change takes away from a calm plan what it has come to: a start, a mending, a restart."""
        before, after = self._told, story
        return self._calm and (
            (before.started and not after.started)
            or (before.mendings > 0 and not after.mendings)
            or (before.revived > 0 and not after.revived)
        )

    def _story(self, plan: Plan) -> Story | None:
        return tell(plan) if not self.facets or _can_be_played(plan) else None

    def _span(self, tenths: int) -> int:
        return span(tenths, self._next())

    def _tenths(self, choose: Random) -> int:
        return self._span(choose.randint(1, 9))

    def _draw_script(self, choose: Random, label: str, kind: str) -> Script:
        hooks: dict[HookName, Hook] = {
            name: Hook(self._span(choose.randint(1, 4))) for name in HOOKS if choose.random() < 0.6
        }
        if kind == "facet":
            hooks = {name: hook for name, hook in hooks.items() if name in FACETS}
        work = tuple(self._draw_work(choose) for _ in range(choose.randint(0, 2)))
        script = Script(label, kind, hooks=hooks, work=work, restart=choose.choice(RESTARTS))
        return (
            script if kind not in STRATEGIES else replace(script, policy=self._draw_policy(choose))
        )

    def _draw_supervisor(self, choose: Random, place: int) -> Script:
        """Draw a supervisor with some services to look after; it gets the label in this place, and they those after it."""
        kinds = [kind for kind in DRAWN if kind != "crashing" or not self._calm]
        script = self._draw_script(choose, LABELS[place], choose.choice(kinds))
        count = choose.randint(1, min(3, MOST_SERVICES - place - 1))
        kinds = [
            self._draw_plain_kind(choose) if choose.random() < 0.8 else self._draw_kind(choose)
            for _ in range(count)
        ]
        wards = [
            self._draw_script(choose, LABELS[place + 1 + number], kind)
            for number, kind in enumerate(kinds)
        ]
        return replace(script, children=tuple(wards))

    def _draw_kind(self, choose: Random) -> str:
        if choose.random() < SUPERVISORS:
            return choose.choice(DRAWN)
        return self._draw_plain_kind(choose)

    def _draw_plain_kind(self, choose: Random) -> str:
        if self.facets and not self._threaded and choose.random() < self.facets:
            return "facet"
        threaded = self._threaded and choose.random() < IN_THREADS
        return choose.choice(THREADS) if threaded else "service"

    def _draw_policy(self, choose: Random) -> Policy:
        delay = self._tenths(choose) if choose.random() < 0.5 else 0
        return Policy(
            max_restarts=choose.choice([0, 1, 2, 3, 5, 8]),
            over=self._span(choose.randint(10, 100)),
            delay=delay // 64 * 64,  # or what chance leaves of it may be no whole number
            healthy=self._span(choose.randint(10, 50)),
            jitter=choose.randint(1, 8) if choose.random() < 0.4 else 0,
            chances=tuple(choose.randint(0, 7) for _ in range(5)),
        )

    def _draw_work(self, choose: Random) -> Work:
        return Work(
            takes=FOREVER if choose.random() < 0.7 else self._span(choose.randint(1, 100)),
            listens=choose.random() < 0.5,
            then=_then(choose),
            told_then=_then(choose),
            cancelled_then=_then(choose),
            winds_up=self._tenths(choose),
            cleans_up=self._span(choose.randint(1, 9 if choose.random() < 0.7 else 25)),
        )

    def _owner_is_cancelled(self) -> bool:
        return any(op.call.verb == "cancel owner" for op in self.plan.ops)

    def _label(self, choose: Random) -> str:
        scripts = self.plan.scripts()
        if self._supervised and choose.random() < 0.8:
            scripts = [one for one in scripts if one is not self.plan.root]
        return choose.choice(scripts).label

    def _script(self, label: str) -> Script:
        return next(script for script in self.plan.scripts() if script.label == label)

    def _wards(self) -> list[tuple[Script, Script]]:
        """Return the services that are supervised, or may come to be, each with its supervisor."""
        above = [one for one in self.plan.scripts() if one.kind in STRATEGIES]
        found = [(one, ward) for one in above for ward in one.children]
        for one, ward in found:  # grows while it is walked
            found += [(one, ward.substitute)] if ward.substitute is not None else []
        return found

    def _lineage(self, label: str) -> list[str]:
        """Return a label and those above it."""
        for script in self.plan.scripts():
            if any(child.label == label for child in script.children):
                return [label, *self._lineage(script.label)]
        return [label]

    def _near(self, label: str) -> list[str]:
        """Return a label and those above it, up to the first that has a thread, and beyond that only now and then."""
        found = self._lineage(label)
        for place, one in enumerate(found):
            if self._script(one).kind in THREADS and self._next() % 8:
                return found[: place + 1]
        return found

    def _change(self, label: str, change: Callable[[Script], Script]) -> None:
        root = _changed(self.plan.root, label, change)
        spares = tuple(_changed(spare, label, change) for spare in self.plan.spares)
        self._accept(replace(self.plan, root=root, spares=spares))

    def _set_hook(self, label: str, name: HookName, hook: Hook) -> None:
        if self._supervised and name in STARTING:
            if FOREVER in {hook.takes, hook.rest}:
                return
            hook = replace(hook, then=_later(hook.then))
        self._change(label, lambda old: replace(old, hooks={**old.hooks, name: hook}))

    def _add_work(self, label: str, work: Work) -> None:
        if len(self._script(label).work) < MOST_TASKS:
            self._change(label, lambda old: replace(old, work=(*old.work, work)))

    def _draw_call(self, choose: Random) -> Call:
        verb, label = choose.choice(VERBS), self._label(choose)
        spares = [spare.label for spare in self.plan.spares]
        children = [child.label for child in self._script(label).children]
        if self._script(label).kind in STRATEGIES and verb in {"add", "remove"}:
            verb = choose.choice((verb, *SUPERVISING[verb]))
        if verb in {"remove", "discard", "dismiss"}:
            other = choose.choice(children + spares or [self._label(choose)])
            return Call(self._next(), verb, label, other)
        if verb in {"add", "supervise", "insert"}:
            other = choose.choice(
                spares if choose.random() < 0.8 and spares else [self._label(choose)]
            )
            place = choose.randint(-1, 2) if verb == "insert" else 0
            return Call(self._next(), verb, label, other, place)
        return Call(self._next(), verb, label)

    def _means_something(self, call: Call, time: int) -> bool:
        world = World(self.plan, UNITS)
        world.play(until=time)
        target = world.units[call.target]
        match call.verb:
            case "start":
                return not target.alive
            case "add" | "supervise" | "insert":
                return target.alive and not world.units[call.other].alive
            case "remove" | "discard" | "dismiss":
                return world.units[call.other].parent is target
            case _:
                return target.alive

    def _put_op(self, verb: Verb, at: int, target: str) -> None:
        call = Call(self._next(), verb, target)
        self._accept(replace(self.plan, ops=(*self.plan.ops, Op(at, call))))


def _can_be_played(plan: Plan) -> bool:
    """Whether a plan with services of facet's face asks nothing of them that they don't have."""
    scripts = plan.scripts()
    facets = {script.label for script in scripts if script.kind == "facet"}
    needs = {child.label for one in scripts if one.label in facets for child in one.children}
    wards = {child.label for one in scripts if one.kind in STRATEGIES for child in one.children}
    substitutes = {one.substitute.label for one in scripts if one.substitute is not None}
    if facets & (wards | substitutes) or not all(KINDS[one.kind].fits(one) for one in scripts):
        return False
    calls = [call for call in plan.calls() if call.other]
    return not any(call.target in facets or call.other in facets | needs for call in calls)


def _then(choose: Random) -> Then:
    return choose.choice(FAILINGS) if choose.random() < 0.15 else "return"


def _later(then: Then) -> Then:
    return "return" if then == "return" else "raise later"


def tell(plan: Plan) -> Story | None:
    """Return what the laws make of a plan; None if that can't be compared."""
    try:
        story = World(plan, UNITS).play()
    except (Tie, Stuck):
        return None
    return None if story.meets else story


def check(plan: Plan, backend: reality.Backend) -> None:
    """Play a plan by the laws and for real.

    Raises:
        Difference: If these differ; then the plan is made as small as it can be before.
    """
    difference = _difference(plan, backend)
    if difference is None:
        return
    smallest = reduce(plan, lambda smaller: _difference(smaller, backend) is not None)
    raise _difference(smallest, backend) or difference


def _difference(plan: Plan, backend: reality.Backend) -> AssertionError | None:
    story = tell(plan)
    if story is None:
        return None
    try:
        compare(plan, story, reality.play(plan, backend), backend)
    except Difference as difference:
        return difference
    except Exception as exc:
        return Difference(f"on {backend}: {exc!r}\n\nplan = {code(plan)}")
    return None


def _changed(script: Script, label: str, change: Callable[[Script], Script]) -> Script:
    if script.label == label:
        return change(script)
    children = tuple(_changed(child, label, change) for child in script.children)
    other = script.substitute
    substitute = _changed(other, label, change) if other is not None else None
    return replace(script, children=children, substitute=substitute)
