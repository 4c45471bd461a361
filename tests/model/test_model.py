"""structmode does what the model of its laws says: on plans that Hypothesis writes, and on some written by hand.

The plans by hand have their logs written by hand, too: they keep the model honest, one law each.
"""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest
from hypothesis.stateful import run_state_machine_as_test

from structmode import Service

from . import kinds, reality
from .comparison import Difference, compare
from .machine import Machine, budget, check
from .model import play
from .plan import (
    FOREVER,
    SECOND,
    Call,
    Context,
    Hook,
    HookName,
    Op,
    Plan,
    Policy,
    Script,
    Verb,
    Work,
    code,
)
from .reduction import reduce
from .simulation import Tie

BACKENDS: list[reality.Backend] = ["asyncio", "trio"]
MILLI = SECOND // 1000


def machine(backend: reality.Backend) -> type[Machine]:
    """Return the machine for a backend."""
    name = f"MachineOn{backend.title()}"
    return type(name, (Machine,), {"backend": backend})


@pytest.mark.parametrize("backend", BACKENDS)
def test_some_plans(backend: reality.Backend) -> None:
    """structmode does what the laws say of a few plans."""
    run_state_machine_as_test(machine(backend), settings=budget(25, derandomize=True))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", BACKENDS)
def test_many_plans(backend: reality.Backend) -> None:
    """structmode does what the laws say of many plans."""
    run_state_machine_as_test(machine(backend), settings=budget(250, derandomize=True))


# --- The laws, by hand ----------------------------------------------------------------------------


def hooks(takes: int, *names: HookName) -> dict[HookName, Hook]:
    """Return hooks that each take so many milliseconds."""
    return {name: Hook(takes * MILLI) for name in names}


def op(at: int, verb: Verb, target: str = "", other: str = "") -> Op:
    """Return a call from outside at so many milliseconds, which are its number, too."""
    return Op(at * MILLI, Call(at, verb, target, other))


def told(log: str) -> list[tuple[int, str]]:
    """Read a log: on each line milliseconds, and what."""
    lines = [line.strip().partition(" ") for line in log.strip().splitlines()]
    return [(int(at) * MILLI, text) for at, _, text in lines]


TREE = Script(
    "a",
    hooks=hooks(10, "on_first_start", "on_start", "on_started", "on_stop", "on_shutdown"),
    work=(Work(), Work()),
    contexts=(Context(leaving=3 * MILLI), Context(is_async=False)),
    children=(
        Script("b", hooks=hooks(100, "on_start", "on_stop")),
        Script("c", hooks=hooks(200, "on_start", "on_stop"), work=(Work(),)),
    ),
)

ORDER = """
    0 a.on_first_start begins
    10 a.on_first_start returns
    10 a.on_start begins
    10 a.context 0 entered
    10 a.context 1 entered
    20 a.on_start returns
    20 a.task 0 begins
    20 a.task 1 begins
    20 b.on_start begins
    120 b.on_start returns
    120 c.on_start begins
    320 c.on_start returns
    320 c.task 0 begins
    320 a.on_started begins
    330 a.on_started returns
    330 block entered
    1000 body ends
    1000 a.on_stop begins
    1010 a.on_stop returns
    1010 c.on_stop begins
    1210 c.on_stop returns
    1210 c.task 0 is cancelled
    1210 c.task 0 returns
    1210 b.on_stop begins
    1310 b.on_stop returns
    1310 a.task 1 is cancelled
    1310 a.task 1 returns
    1310 a.task 0 is cancelled
    1310 a.task 0 returns
    1310 a.context 1 leaving
    1310 a.context 0 leaving
    1313 a.context 0 returns
    1313 a.on_shutdown begins
    1323 a.on_shutdown returns
    1323 block returned
"""

FAILING = replace(
    TREE,
    children=(
        TREE.children[0],
        Script("c", hooks={"on_start": Hook(200 * MILLI, "raise")}),
    ),
)

TRANSACTION = """
    0 call 0, start(a) which is init
    0 a.on_first_start begins
    10 a.on_first_start returns
    10 a.on_start begins
    10 a.context 0 entered
    10 a.context 1 entered
    20 a.on_start returns
    20 a.task 0 begins
    20 a.task 1 begins
    20 b.on_start begins
    120 b.on_start returns
    120 c.on_start begins
    320 c.on_start raises
    320 a.on_stop begins
    330 a.on_stop returns
    330 b.on_stop begins
    430 b.on_stop returns
    430 a.task 1 is cancelled
    430 a.task 1 returns
    430 a.task 0 is cancelled
    430 a.task 0 returns
    430 a.context 1 leaving
    430 a.context 0 leaving
    433 a.context 0 returns
    433 a.on_shutdown begins
    443 a.on_shutdown returns
    443 call 0 raised c.on_start #1
"""

SOFT = Script(
    "a",
    hooks=hooks(10, "on_stop"),
    work=(
        Work(listens=True, winds_up=30 * MILLI),
        Work(listens=True, winds_up=70 * MILLI, cleans_up=5 * MILLI),
        Work(),
    ),
    drain_timeout=50 * MILLI,
)

SOFT_THEN_HARD = """
    0 a.task 0 begins
    0 a.task 1 begins
    0 a.task 2 begins
    0 block entered
    100 call 100, stop(a) which is running
    100 a.task 0 is told
    100 a.task 1 is told
    100 a.on_stop begins
    110 a.on_stop returns
    130 a.task 0 returns
    160 a.task 2 is cancelled
    160 a.task 2 returns
    160 a.task 1 is cancelled
    165 a.task 1 returns
    165 call 100 returned
    1000 body ends
    1000 block returned
"""

BOUNDED = """
    0 block entered
    100 call 100, stop(a) which is running
    100 a.on_stop begins
    300 a.on_stop cut
    300 b.on_stop begins
    300 b.on_stop cut
    300 a.on_shutdown begins
    300 a.on_shutdown cut
    300 call 100 raised ShutdownTimeout(a)
    1000 body ends
    1000 block returned
"""

LATE = """
    0 block entered
    100 call 100, stop(a) which is running
    100 a.on_stop begins
    600 a.on_stop returns
    600 call 100 raised ShutdownTimeout(a)
    1000 body ends
    1000 block returned
"""

LEFT_BEHIND = """
    0 a.on_start begins
    0 a.context 0 entered
    0 a.context 1 entered
    0 a.context 2 entered
    10 a.on_start returns
    10 a.task 0 begins
    10 b.task 0 begins
    10 block entered
    100 call 100, stop(a) which is running
    100 b.task 0 is cancelled
    150 b.task 0 returns
    150 b.on_shutdown begins
    155 b.on_shutdown returns
    155 a.task 0 is cancelled
    1300 a.context 2 leaving
    1300 a.context 2 cut
    1300 a.context 1 leaving
    1300 a.context 0 leaving
    1300 a.context 0 cut
    2550 call 100 raised ShutdownTimeout(a)
    5155 a.task 0 returns
    10000 body ends
    10000 block returned
"""

SHARED = """
    0 block entered
    100 call 100, stop(a) which is running
    100 a.on_stop begins
    110 call 110, stop(a) which is stopping, and should stop
    120 call 120, stop(a) which is stopping, and should stop
    130 call 130, cancel call(110)
    130 call 130 returned
    130 call 110 cancelled
    200 a.on_stop raises
    200 call 100 raised a.on_stop #1
    200 call 120 raised a.on_stop #1
    300 call 300, stop(a) which is shutdown, and should stop
    300 call 300 returned
    1000 body ends
    1000 block returned
"""

CANCELLED = """
    0 block entered
    100 call 100, cancel owner()
    100 call 100 returned
    100 body cancelled
    100 a.on_stop begins
    110 a.on_stop returns
    110 b.on_stop begins
    120 b.on_stop returns
    120 block cancelled
"""

CRASHED = """
    0 c.task 0 begins
    0 d.task 0 begins
    0 block entered
    100 c.task 0 raises
    100 d.task 0 is told
    100 body cancelled
    100 a.on_stop begins
    110 a.on_stop returns
    110 d.on_stop begins
    107 d.task 0 returns
    120 d.on_stop returns
    120 b.on_stop begins
    130 b.on_stop returns
    130 c.on_stop begins
    140 c.on_stop returns
    140 block raised c.task 0 #1
"""

RESTARTED = """
    0 b.on_first_start begins
    10 b.on_first_start returns
    10 b.task 0 begins
    10 block entered
    100 call 100, restart(b) which is running
    100 b.task 0 is cancelled
    100 b.task 0 returns
    100 b.on_restart begins
    110 b.on_restart returns
    110 b.task 0 begins
    110 call 100 returned
    200 call 200, restart(b) which is running
    200 b.task 0 is cancelled
    200 b.task 0 returns
    200 b.on_restart begins
    205 call 205, stop(b) which is restarting
    205 b.on_restart cut
    205 call 200 raised StartAborted(b)
    205 call 205 returned
    1000 body ends
    1000 block returned
"""

ADDED = """
    0 block entered
    100 call 100, add(a, b) which is running
    100 b.on_start begins
    110 b.on_start returns
    110 call 100 returned
    200 call 200, add(a, c) which is running
    200 c.on_start begins
    210 c.on_start raises
    210 call 200 raised c.on_start #1
    300 call 300, remove(a, b) which is running
    300 b.on_stop begins
    310 b.on_stop returns
    310 call 300 returned
    400 call 400, remove(a, b) which is running
    400 call 400 raised LifecycleError
    1000 body ends
    1000 a.on_stop begins
    1010 a.on_stop returns
    1010 block returned
"""

OWNER_OF_A_STOP_FAILURE = """
    0 block entered
    100 call 100, stop(b) which is running
    100 b.on_stop begins
    105 call 105, cancel call(100)
    105 call 105 returned
    105 call 100 cancelled
    110 b.on_stop raises
    110 body cancelled
    110 a.on_stop begins
    120 a.on_stop returns
    120 block raised b.on_stop #1
"""

HOOK_STOPS = """
    0 call 0, start(a) which is init
    0 a.on_started begins
    10 call 7, stop(a) which is starting
    10 call 7 returned
    15 a.on_started returns
    15 call 0 returned
    15 a.on_stop begins
    25 a.on_stop returns
"""


def stopping(label: str, *children: Script, **said: object) -> Script:
    """Return a service whose `on_stop` takes ten milliseconds."""
    script = Script(label, hooks=hooks(10, "on_stop"), children=children)
    return replace(script, **said)  # type: ignore[arg-type]


BLOCK = Plan(TREE, body=1000 * MILLI, end=2000 * MILLI)
NOBODY = replace(BLOCK, owner="nobody")

LAWS: dict[str, tuple[Plan, str]] = {
    "3 a start that fails is undone": (
        replace(NOBODY, root=FAILING, ops=(op(0, "start", "a"),)),
        TRANSACTION,
    ),
    "4 the order": (BLOCK, ORDER),
    "5 soft, then hard": (replace(BLOCK, root=SOFT, ops=(op(100, "stop", "a"),)), SOFT_THEN_HARD),
    "5 bounded": (
        replace(
            BLOCK,
            root=Script(
                "a",
                hooks={"on_stop": Hook(FOREVER), "on_shutdown": Hook(10 * MILLI)},
                children=(stopping("b"),),
                shutdown_timeout=200 * MILLI,
            ),
            ops=(op(100, "stop", "a"),),
        ),
        BOUNDED,
    ),
    "5 late, though it ends by itself": (
        replace(
            BLOCK,
            root=Script(
                "a",
                hooks={"on_stop": Hook(500 * MILLI, deaf=True)},
                shutdown_timeout=200 * MILLI,
            ),
            ops=(op(100, "stop", "a"),),
        ),
        LATE,
    ),
    "5 left behind": (
        replace(
            BLOCK,
            root=Script(
                "a",
                hooks=hooks(10, "on_start"),
                contexts=(
                    Context(leaving=7 * MILLI),
                    Context(is_async=False),
                    Context(leaving=8 * MILLI),
                ),
                work=(Work(cleans_up=5000 * MILLI),),
                children=(
                    Script("b", hooks=hooks(5, "on_shutdown"), work=(Work(cleans_up=50 * MILLI),)),
                ),
                shutdown_timeout=200 * MILLI,
            ),
            ops=(op(100, "stop", "a"),),
            body=10_000 * MILLI,
            end=20_000 * MILLI,
        ),
        LEFT_BEHIND,
    ),
    "6 one stop for all": (
        replace(
            BLOCK,
            root=Script("a", hooks={"on_stop": Hook(100 * MILLI, "raise")}),
            ops=(
                op(100, "stop", "a"),
                op(110, "stop", "a"),
                op(120, "stop", "a"),
                op(130, "cancel call", "110"),
                op(300, "stop", "a"),
            ),
        ),
        SHARED,
    ),
    "6 a hook stops its service": (
        replace(
            NOBODY,
            root=Script(
                "a",
                hooks={
                    "on_started": Hook(10 * MILLI, call=Call(7, "stop", "a"), rest=5 * MILLI),
                    "on_stop": Hook(10 * MILLI),
                },
            ),
            ops=(op(0, "start", "a"),),
        ),
        HOOK_STOPS,
    ),
    "7 cancelled from outside": (
        replace(BLOCK, root=stopping("a", stopping("b")), ops=(op(100, "cancel owner"),)),
        CANCELLED,
    ),
    "8 a crash": (
        replace(
            BLOCK,
            root=stopping(
                "a",
                stopping("b", stopping("c", work=(Work(100 * MILLI, then="raise"),))),
                stopping("d", work=(Work(listens=True, winds_up=7 * MILLI),)),
            ),
        ),
        CRASHED,
    ),
    "8 a stop's failure that nobody waits for": (
        replace(
            BLOCK,
            root=stopping("a", Script("b", hooks={"on_stop": Hook(10 * MILLI, "raise")})),
            ops=(op(100, "stop", "b"), op(105, "cancel call", "100")),
        ),
        OWNER_OF_A_STOP_FAILURE,
    ),
    "9 restarts": (
        replace(
            BLOCK,
            root=Script(
                "a",
                children=(
                    Script("b", hooks=hooks(10, "on_first_start", "on_restart"), work=(Work(),)),
                ),
            ),
            ops=(op(100, "restart", "b"), op(200, "restart", "b"), op(205, "stop", "b")),
        ),
        RESTARTED,
    ),
    "added and removed": (
        replace(
            BLOCK,
            root=stopping("a"),
            spares=(
                Script("b", hooks=hooks(10, "on_start", "on_stop")),
                Script("c", hooks={"on_start": Hook(10 * MILLI, "raise")}),
            ),
            ops=(
                op(100, "add", "a", "b"),
                op(200, "add", "a", "c"),
                op(300, "remove", "a", "b"),
                op(400, "remove", "a", "b"),
            ),
        ),
        ADDED,
    ),
}


@pytest.mark.parametrize("law", LAWS)
def test_the_model_keeps(law: str) -> None:
    """The model tells of a plan, line by line, what was worked out by hand."""
    plan, log = LAWS[law]
    lines = [(line.at, line.text) for line in play(plan).lines]
    assert sorted(lines) == sorted(told(log))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("law", LAWS)
def test_structmode_keeps(law: str, backend: reality.Backend) -> None:
    """structmode does with the same plans what the model says."""
    check(LAWS[law][0], backend)


def test_crash_marks() -> None:
    """The model marks as crashed the failing service, those below and those above it, and no sibling."""
    left = play(LAWS["8 a crash"][0]).left
    assert {label: state.split(",")[0] for label, state in left.items()} == {
        "a": "crashed",
        "b": "crashed",
        "c": "crashed",
        "d": "shutdown",
    }


def test_the_order_in_one_instant() -> None:
    """The model orders what happens at once where a law does: the youngest task is cancelled first."""
    story = play(BLOCK)
    texts = [line.text for line in story.lines]
    oldest, youngest = (texts.index(f"a.task {number} is cancelled") for number in (0, 1))
    assert youngest in story.lines[oldest].after


# --- The comparison, by hand ----------------------------------------------------------------------


class Hasty(kinds.ScriptedService):
    """A service that does its two last hooks in the wrong order."""

    async def on_stop(self) -> None:
        await self.acting.hook(self, "on_shutdown")

    async def on_shutdown(self) -> None:
        await self.acting.hook(self, "on_stop")


class Lazy(kinds.ScriptedService):
    """A service that does not stop when it should, but a while later."""

    async def on_stop(self) -> None:
        await anyio.sleep(0.001)
        await super().on_stop()


class Forgetful(kinds.ScriptedService):
    """A service that crashes without anybody's doing."""

    async def on_shutdown(self) -> None:
        await super().on_shutdown()
        await self.crash(OSError("nobody expects this"))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("faulty", [Hasty, Lazy, Forgetful])
def test_differences_are_noticed(
    faulty: type[kinds.ScriptedService], backend: reality.Backend
) -> None:
    """A service that breaks a law is found out, and the report has the plan as code and both logs."""
    script = Script("a", hooks=hooks(10, "on_start", "on_stop", "on_shutdown"))
    plan = replace(BLOCK, root=script)

    def make(script: Script, running: reality.RealPlay) -> Service:
        return faulty(script, running)

    with pytest.raises(Difference) as caught:
        compare(plan, play(plan), reality.play(plan, backend, make), backend)
    report = str(caught.value)
    assert code(plan) in report
    assert "by the laws" in report
    assert "a.on_stop begins" in report


def test_order_is_compared() -> None:
    """Lines of one instant that come in the wrong order are noticed."""
    story = play(BLOCK)
    lines = [(line.at, line.text) for line in story.lines]
    compare(BLOCK, story, (lines, story.left), "paper")
    place = next(place for place, (_, text) in enumerate(lines) if text == "b.on_start begins")
    lines[place - 1], lines[place] = lines[place], lines[place - 1]
    with pytest.raises(Difference, match="came before"):
        compare(BLOCK, story, (lines, story.left), "paper")


def test_what_is_left_is_compared() -> None:
    """A service that is not in the state in which the laws leave it is named, with both states."""
    story = play(BLOCK)
    lines = [(line.at, line.text) for line in story.lines]
    left = {**story.left, "b": "on fire"}
    with pytest.raises(Difference) as caught:
        compare(BLOCK, story, (lines, left), "paper")
    assert f"b was left as on fire; by the laws: {story.left['b']}\n" in str(caught.value)


def test_plans_are_made_small() -> None:
    """What has no part in a failure is left out of the plan that is reported."""

    def fails(plan: Plan) -> bool:
        return any("on_stop" in script.hooks for script in plan.root.children)

    smallest = reduce(replace(BLOCK, ops=(op(100, "stop", "c"),)), fails)
    assert smallest.ops == ()
    assert [script.label for script in smallest.scripts()] == ["a", "c"]
    assert list(smallest.root.children[0].hooks) == ["on_stop"]


RICH = Plan(
    root=replace(
        TREE,
        hooks={
            **hooks(10, "on_first_start", "on_start"),
            "on_started": Hook(10 * MILLI, call=Call(1, "restart", "b"), rest=5 * MILLI),
            "on_stop": Hook(FOREVER, deaf=True),
            "on_shutdown": Hook(10 * MILLI, "raise"),
        },
        work=(
            Work(10 * MILLI, True, "raise", Call(2, "stop", "c"), 1, 2, "raise", 3, "raise"),
            Work(10 * MILLI),
        ),
        contexts=(Context(True, 3 * MILLI, "raise", 2 * MILLI, "raise"), Context(is_async=False)),
        shutdown_timeout=SECOND,
        drain_timeout=SECOND,
        asks=True,
    ),
    spares=(Script("d", work=(Work(then="raise"),)),),
    ops=(
        op(100, "crash", "b"),
        op(200, "add", "a", "d"),
        op(300, "cancel call", "100"),
        op(400, "cancel owner"),
    ),
)


def test_what_is_needed_is_made_simple() -> None:
    """Where nothing of a plan can be left out, each part of it becomes as calm as it can be."""

    def shape(plan: Plan) -> object:
        scripts = [
            (one.label, list(one.hooks), len(one.work), len(one.contexts))
            for one in plan.scripts()
        ]
        return scripts, plan.ops

    smallest = reduce(RICH, lambda plan: shape(plan) == shape(RICH))
    assert smallest == replace(
        RICH,
        root=replace(
            RICH.root,
            hooks={
                **RICH.root.hooks,
                "on_started": Hook(10 * MILLI),
                "on_stop": Hook(FOREVER),
                "on_shutdown": Hook(10 * MILLI),
            },
            work=(Work(10 * MILLI), Work(10 * MILLI)),
            contexts=(Context(leaving=3 * MILLI), Context(is_async=False)),
            shutdown_timeout=60 * SECOND,
            drain_timeout=0,
            asks=False,
        ),
        spares=(Script("d", work=(Work(),)),),
    )


SUPERVISED = Plan(
    root=Script(
        "a",
        kind="one for one",
        policy=Policy(
            delay=SECOND,
            jitter=2,
            chances=(1, 5),
            replacement=Hook(3 * MILLI, "raise"),
            auto_shutdown="all",
        ),
        children=(
            Script(
                "b",
                restart="permanent",
                significant=True,
                substitute=Script("c", work=(Work(then="raise"),)),
            ),
        ),
    )
)


@pytest.mark.parametrize("replaced", [False, True])
def test_what_concerns_supervisors_is_made_simple(*, replaced: bool) -> None:
    """It becomes what it is where nothing is said; another service in the place of one stays if it is needed."""

    def fails(plan: Plan) -> bool:
        if not plan.root.children:
            return False
        (ward,) = plan.root.children
        hook, another = plan.root.policy.replacement, ward.substitute
        return not replaced or (hook is not None and another is not None and bool(another.work))

    another = Script("c", work=(Work(),)) if replaced else None
    policy = Policy(replacement=Hook(3 * MILLI)) if replaced else Policy()
    assert reduce(SUPERVISED, fails) == Plan(
        root=Script(
            "a",
            kind=SUPERVISED.root.kind,
            policy=policy,
            children=(Script("b", substitute=another),),
        )
    )


@pytest.mark.parametrize(
    ("last", "numbers", "labels"),
    [
        (300, [100, 300], ["a", "b"]),  # it cancels a call, which crashes b
        (200, [200], ["a", "d"]),  # it adds d
        (400, [400], ["a"]),  # it needs nothing
    ],
)
def test_what_calls_name_stays(last: int, numbers: list[int], labels: list[str]) -> None:
    """As long as a call is needed, so is what it names, be it a service or another call."""

    def fails(plan: Plan) -> bool:
        return any(op.call.number == last for op in plan.ops)

    smallest = reduce(RICH, fails)
    assert [op.call.number for op in smallest.ops] == numbers
    assert [script.label for script in smallest.scripts()] == labels


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_reported(backend: reality.Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan with which the two differ is reported with the smallest one that still shows it."""
    on_stop = kinds.ScriptedService.on_stop

    async def lazily(service: kinds.ScriptedService) -> None:
        if service.acting.script.label == "c":
            await anyio.sleep(0.001)
        await on_stop(service)

    monkeypatch.setattr(kinds.ScriptedService, "on_stop", lazily)
    with pytest.raises(Difference) as caught:
        check(BLOCK, backend)
    report = str(caught.value)
    assert f"on {backend}: they part at" in report
    smallest = replace(BLOCK, root=Script("a", children=(Script("c"),)))
    assert f"plan = {code(smallest)}\n" in report


def test_what_fails_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a plan leaves behind, or raises, is a difference too."""

    def fail(plan: Plan, backend: reality.Backend) -> reality.Told:
        raise RuntimeError("two tasks are left")

    monkeypatch.setattr(reality, "play", fail)
    with pytest.raises(Difference, match="on trio: RuntimeError\\('two tasks are left'\\)"):
        check(BLOCK, "trio")


def test_what_has_no_order_is_not_reported() -> None:
    """A plan in which two things meet by chance is neither right nor wrong, so its reduction passes over it."""
    check(replace(BLOCK, ops=(op(1000, "stop", "a"),)), "trio")


def test_code_can_be_pasted() -> None:
    """The code of a plan makes that plan."""
    for plan, _ in LAWS.values():
        assert eval(code(plan)) == plan  # noqa: S307 - our own text


def test_ties_are_refused() -> None:
    """A plan in which two things fall in one instant by chance has no story."""
    with pytest.raises(Tie):
        play(replace(BLOCK, ops=(op(1000, "stop", "a"),)))
