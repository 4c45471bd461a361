"""A plan: a tree of services, what each of them will do, and what is done to them, as plain data.

A plan has no behaviour. It is played twice: by the model (`model.py`), which says what the laws make of it, and by
structmode (`reality.py`). All times are whole microseconds.

No two things in a plan may fall in the same instant by chance, or the laws would not say which comes first. So all
durations are made by `span`, which gives each item of a plan an offset of its own; and the model refuses a plan in which
two things do meet (`model.Tie`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

#: One second.
SECOND = 1_000_000
#: How long the end waits for what stop() has left behind; longer than anything ignores its cancellation.
PATIENCE = 60 * SECOND
#: How often a hook or a task makes its call, in however many runs: else a plan might restart for ever.
MOST_CALLS = 2
#: Longer than any plan: who waits as long as this waits for being told or cancelled.
FOREVER = 10_000_000 * SECOND

HookName = Literal[
    "on_first_start", "on_start", "on_started", "on_stop", "on_shutdown", "on_restart"
]
HOOKS: tuple[HookName, ...] = (
    "on_first_start",
    "on_start",
    "on_started",
    "on_stop",
    "on_shutdown",
    "on_restart",
)
#: How something ends: "raise once" is the first time only, and "raise later" each time but the first.
Then = Literal["return", "raise", "raise once", "raise later"]
RestartType = Literal["permanent", "transient", "temporary"]
AutoShutdown = Literal["any", "all"]
Verb = Literal[
    "start",
    "stop",
    "restart",
    "crash",
    "add",
    "remove",
    "supervise",
    "insert",
    "discard",
    "dismiss",
    "allow",
    "cancel call",
    "cancel owner",
]


def raises(then: Then, times: int) -> bool:
    """Whether something raises that has ended so many times before."""
    return {
        "return": False,
        "raise": True,
        "raise once": times == 0,
        "raise later": times > 0,
    }[then]


def span(tenths: int, item: int) -> int:
    """Return a duration of so many tenths of a second, and a little more that no other item of the plan has."""
    return tenths * (SECOND // 10) + (item * 7919 + item * item * 104_729) % 99_991


@dataclass(frozen=True)
class Call:
    """One operation on a service.

    Attributes:
        number: By which the logs name it.
        verb: What is done.
        target: The label of the service; for "cancel call", the number of another call; unused for "cancel owner".
            "allow" is set_shutdown().
        other: For "add" and "remove", and for what only supervisors are told ("supervise", "insert", "discard", "dismiss"):
            the label of the service that becomes, or was, a child of the target. "supervise" is their add(), "dismiss" is
            stop_services().
        place: For "insert": the place among the services.
    """

    number: int
    verb: Verb
    target: str = ""
    other: str = ""
    place: int = 0

    def __str__(self) -> str:
        place = str(self.place) if self.verb == "insert" else ""
        names = ", ".join(name for name in (self.target, place, self.other) if name)
        return f"call {self.number}, {self.verb}({names})"


@dataclass(frozen=True)
class Hook:
    """What a hook does: wait, make a call if it has one, wait again, and return or raise.

    A hook that hangs has `FOREVER` for one of its times. A deaf one ignores cancellation; it makes no call.
    """

    takes: int
    then: Then = "return"
    call: Call | None = None
    rest: int = 0
    deaf: bool = False


@dataclass(frozen=True)
class Work:
    """What a task of a service does.

    It waits; if it listens, the soft stop ends that wait. Not told, it makes a call if it has one, rests, and returns or
    raises. Told, it winds up, and returns or raises. Cancelled in any of that, it cleans up under a shield, and then lets
    the cancellation go on, or raises.

    Attributes:
        takes: How long it waits.
        listens: Whether the wait is one that the soft stop ends.
        then: How it ends when it has waited.
        call: What it calls when it has waited.
        rest: How long it goes on after the call, deaf.
        winds_up: How long it goes on when it has been told, deaf.
        told_then: How it ends when it has been told.
        cleans_up: How long its clean-up takes, shielded, when it is cancelled.
        cancelled_then: Whether its clean-up fails.
    """

    takes: int = FOREVER
    listens: bool = False
    then: Then = "return"
    call: Call | None = None
    rest: int = 0
    winds_up: int = 0
    told_then: Then = "return"
    cleans_up: int = 0
    cancelled_then: Then = "return"


@dataclass(frozen=True)
class Context:
    """A context that `on_start` enters, first of all it does.

    Attributes:
        is_async: Whether it is an async one. A sync one takes no time.
        entering: How long it takes to enter it.
        entered_then: How entering it ends; a sync one returns.
        leaving: How long it takes to leave it.
        then: How leaving it ends; a sync one returns.
    """

    is_async: bool = True
    leaving: int = 0
    then: Then = "return"
    entering: int = 0
    entered_then: Then = "return"


@dataclass(frozen=True)
class Policy:
    """How a supervisor deals with failures.

    Attributes:
        max_restarts: How many restarts it may make within `over`.
        over: The length of that window.
        delay: How long it waits before a restart; each further one takes twice as long.
        healthy: After how long a run the waits begin with `delay` again.
        jitter: How many eighths of a wait are left to chance.
        chances: What chance says, one after the other, again and again: in eighths, from 0 to 7.
        replacement: What makes another service in the place of one that broke, if something does: how long that takes, and
            how it ends. It makes that of the `Script.substitute`, once; else it says that the broken one will do.
        auto_shutdown: Whether it ends with "any" significant service, or with "all".
    """

    max_restarts: int = 3
    over: int = 10 * SECOND
    delay: int = 0
    healthy: int = 5 * SECOND
    jitter: int = 0
    chances: tuple[int, ...] = (0,)
    replacement: Hook | None = None
    auto_shutdown: AutoShutdown = "any"


@dataclass(frozen=True)
class Script:
    """A service: what it does in its life, and what it is made of.

    Attributes:
        label: Its name.
        kind: What sort of service it is; see `kinds`.
        hooks: What its hooks do; those that are not here do nothing, in no time.
        work: Its tasks, in order.
        contexts: The contexts that it enters, in order; needs an "on_start" among the hooks.
        children: The services that it is made of, in order.
        shutdown_timeout: How long its stop may take.
        drain_timeout: How long its tasks may take to end by themselves.
        asks: Whether its stop waits for a permission, `set_shutdown`.
        restart: When it is restarted, if a supervisor has it.
        significant: Whether a supervisor that has it ends when it does.
        substitute: What comes in its place when it is replaced.
        policy: How it deals with failures, if it is a supervisor.
    """

    label: str
    kind: str = "service"
    hooks: dict[HookName, Hook] = field(default_factory=dict[HookName, Hook])
    work: tuple[Work, ...] = ()
    contexts: tuple[Context, ...] = ()
    children: tuple[Script, ...] = ()
    shutdown_timeout: int = 60 * SECOND
    drain_timeout: int = 0
    asks: bool = False
    restart: RestartType = "transient"
    significant: bool = False
    substitute: Script | None = None
    policy: Policy = Policy()

    def all(self) -> list[Script]:
        """Return this script and all below it, each before its children and its substitute."""
        found: list[Script] = [self]
        for script in found:  # grows while it is walked
            found.extend(script.children)
            found += [script.substitute] if script.substitute is not None else []
        return found


@dataclass(frozen=True)
class Op:
    """A call from outside: from a task of its own, at a time of its own."""

    at: int
    call: Call


@dataclass(frozen=True)
class Plan:
    """All of it.

    Attributes:
        root: The service at the top.
        spares: Services that belong to nobody, for calls to add.
        owner: Who owns the root: an ``async with`` block that is entered at once, or nobody (calls start it).
        body: When the body of the block ends.
        ops: The calls from outside.
        end: When the plan is over: then every service that runs is stopped.
    """

    root: Script
    spares: tuple[Script, ...] = ()
    owner: Literal["block", "nobody"] = "block"
    body: int = 20 * SECOND
    ops: tuple[Op, ...] = ()
    end: int = 30 * SECOND

    def scripts(self) -> list[Script]:
        """Return the scripts of all services."""
        return self.root.all() + [script for spare in self.spares for script in spare.all()]

    def calls(self) -> list[Call]:
        """Return all calls, from wherever they come."""
        found = [op.call for op in self.ops]
        for script in self.scripts():
            hooks = [hook.call for hook in script.hooks.values()]
            found += [call for call in hooks if call is not None]
            found += [work.call for work in script.work if work.call is not None]
        return found


def code(thing: Any, indent: str = "") -> str:
    """Return a plan as Python code to paste into a test; what is as usual is left out."""
    if isinstance(thing, tuple):
        items = [code(item, indent + "    ") for item in thing]
        return _lines("(", [f"{item}," for item in items], ")", indent)
    if isinstance(thing, dict):
        pairs = [f"{key!r}: {code(value, indent + '    ')}," for key, value in thing.items()]
        return _lines("{", pairs, "}", indent)
    if not dataclasses.is_dataclass(thing):
        return "FOREVER" if thing == FOREVER else repr(thing)
    said = [
        f"{one.name}={code(getattr(thing, one.name), indent + '    ')},"
        for one in dataclasses.fields(thing)
        if getattr(thing, one.name) != _usual(one)
    ]
    return _lines(f"{type(thing).__name__}(", said, ")", indent)


def _usual(one: dataclasses.Field[Any]) -> object:
    make: Any = one.default_factory
    return one.default if make is dataclasses.MISSING else make()


def _lines(begin: str, items: list[str], end: str, indent: str) -> str:
    short = f"{begin}{' '.join(items)}{end}"
    if len(indent) + len(short) < 90 and "\n" not in short:
        if len(items) == 1 and begin == "(":
            return short
        return short.removesuffix(f",{end}") + end if short.endswith(f",{end}") else short
    return "\n".join([begin, *(f"{indent}    {item}" for item in items), f"{indent}{end}"])
