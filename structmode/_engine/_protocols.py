"""What the parts of the engine need to know of each other, and of those who use it.

The engine runs *units*. A unit is whatever has these steps; the engine asks no more of a service than `Unit`. A run
belongs to a `Host`, may have to start a `Child`, and may have `Needs`; it knows none of their kinds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import anyio

from ._last_words import report
from ._tasks import Task

_logger = logging.getLogger("structmode.engine")

#: One step of a unit: a coroutine function; or it does at once what there is to do, and returns what to wait for, if anything.
UnitStep: TypeAlias = Callable[[], Coroutine[Any, Any, None] | None]
Fate: TypeAlias = Literal["crash", "stop", "later", "unreceived"]
RunT = TypeVar("RunT")


class Unit(Protocol):
    """What the engine asks of the thing it runs: the steps of its life, and a few facts.

    Steps are called in the order in which they stand here, each at most once a run, all in the run's own task.
    `set_up`, `ready`, `tear_down` and `farewell` may be user code, and may do anything in what they return to be awaited.
    Most services have hardly any hooks, and a step that returns None costs next to nothing.
    """

    @property
    def label(self) -> str:
        """How the unit is called in errors and reports."""
        ...

    @property
    def step_names(self) -> Mapping[str, str]:
        """How its steps are called in reports, where that is not as here."""
        ...

    @property
    def subject(self) -> object:
        """What events about the unit carry: the object that its users know."""
        ...

    @property
    def stop_timeout(self) -> float:
        """The seconds that its whole stop may take."""
        ...

    @property
    def start_timeout(self) -> float:
        """The seconds that its whole start may take; infinity for no limit."""
        ...

    @property
    def drain_timeout(self) -> float:
        """The seconds that its tasks get to end by themselves before they are cancelled."""
        ...

    def renew(self) -> Coroutine[Any, Any, None] | None:
        """A restart only: before anything else of the new run."""

    def first_set_up(self) -> Coroutine[Any, Any, None] | None:
        """Not in a restart, and not when a former start was complete."""

    def needs(self) -> Iterable[Iterable[Needed[Any]]]:
        """Return what must run before `set_up` and until after `farewell`: groups, in order, each started as one."""
        ...

    def set_up(self) -> Coroutine[Any, Any, None] | None:
        """Get ready; once this has returned, `tear_down` and `farewell` will be called."""

    def work(self) -> Sequence[Task[Any]]:
        """Return the tasks that make up the unit's own work, in order, not yet begun."""
        ...

    def ready(self) -> Coroutine[Any, Any, None] | None:
        """All is running; `start` returns when this does."""

    def tear_down(self) -> Coroutine[Any, Any, None] | None:
        """Take leave; children and tasks are still there."""

    def hold(self) -> Coroutine[Any, Any, None] | None:
        """Wait for a permission to go on stopping, if one is needed."""

    def farewell(self) -> Coroutine[Any, Any, None] | None:
        """The last step: nothing that the unit owned is left."""

    def on_failure(self, exc: BaseException, origin: str, fate: Fate) -> None:
        """A failure happened in `origin`: the first of a crash or of a stop, a later one, or one nobody will receive."""

    def on_child_failed(self, child: Unit, exc: BaseException) -> bool:
        """A failure has left a child; returns whether this unit deals with it, or else it suffers the failure itself."""
        ...

    def on_child_ended(self, child: Unit) -> None:
        """The run of a child is over, and no other has taken its place."""

    def on_child_released(self, child: Unit) -> None:
        """A child has been let go: it no longer starts and stops with this unit."""


def tell(unit: Unit, exc: BaseException, origin: str, fate: Fate) -> BaseException | None:
    """Tell a unit of a failure; one that fails over it must not harm who tells.

    Returns:
        What was raised meanwhile to end the program, such as SystemExit, by a log for instance.
    """
    try:
        unit.on_failure(exc, origin, fate)
    except Exception:
        what = "A %s could not be told of what failed in %s: %r"
        return report(_logger, what, type(unit).__name__, origin, exc)
    except BaseException as to_end:  # noqa: ASYNC103 - returned
        return to_end  # noqa: ASYNC104 - nothing here waits
    return None


def label_of(unit: Unit) -> str:
    """Return how a unit is called; one that can't say that any more must not harm who reports about it."""
    try:
        return unit.label
    except Exception:
        return type(unit.subject).__name__


class Child(Protocol[RunT]):
    """What a run needs to know of a unit that it is to start as its child."""

    @property
    def together(self) -> object:
        """A mark that it shares with those beside it with which it starts and stops as one; None if alone."""
        ...

    async def start_under(self, parent: RunT) -> None:
        """Start it in `parent`'s task group, unless it runs there already; raise what makes the start fail."""

    async def begin_under(self, parent: RunT) -> RunT:
        """As `start_under`, but only begin; returns the run that will have been started, or has failed to."""
        ...


class Needed(Protocol[RunT]):
    """What needs to be known of a unit that others need."""

    @property
    def unit(self) -> Unit:
        """The unit."""
        ...

    @property
    def label(self) -> str:
        """How the unit is called in errors and reports."""
        ...

    @property
    def run(self) -> RunT | None:
        """The run that exists, or existed last."""
        ...

    def check_needable(self, user: RunT, host: object) -> None:
        """Refuse to be needed by `user`, and hosted by `host`, if it has another place in the tree."""

    async def begin_in(self, host: Host[RunT]) -> RunT:
        """Begin a run in `host`; returns it when its task has made its first step, or is given up."""
        ...


class Needs(Protocol[RunT]):
    """What a run needs; and, if the run is the root of its tree, all that is needed there."""

    @property
    def ending(self) -> Sequence[RunT]:
        """The needed runs that this run has asked to stop, and that have not ended."""
        ...

    @property
    def acquired(self) -> Sequence[RunT]:
        """The needed runs that exist and that the run uses, in order."""
        ...

    @property
    def hosted(self) -> Sequence[RunT]:
        """The needed runs that exist in the tree, if this is its root; in the order in which they were begun."""
        ...

    async def acquire(self, groups: Iterable[Iterable[Needed[RunT]]]) -> None:
        """Have all of them run, group after group; raise what keeps one from that."""

    async def release(self) -> None:
        """Let go of them, in reverse order; what nobody else needs is stopped, and waited for."""

    async def clear(self) -> None:
        """Stop what is still hosted: those who needed it have been given up."""


class Host(Protocol[RunT]):
    """Whoever a run belongs to: a block, a parent run, or the event loop."""

    @property
    def parent(self) -> RunT | None:
        """The run that owns it, if a run does."""
        ...

    @property
    def is_need(self) -> bool:
        """Whether what it owns is there for those who need it."""
        ...

    @property
    def is_border(self) -> bool:
        """Whether it stands for an owner on another event loop."""
        ...

    @property
    def above(self) -> Sequence[RunT]:
        """The runs that rely on what it owns, and suffer if that fails: a parent, or all who need it."""
        ...

    @property
    def accepts(self) -> bool:
        """Whether a run can be begun in what it owns now."""
        ...

    def spawn(
        self, function: Callable[[], Coroutine[Any, Any, None]], name: str
    ) -> anyio.TaskHandle[None] | None:
        """Begin the run's task in what the host owns; returns the task, if it is in a group."""
        ...

    def took_in(self, place: Any, run: RunT) -> None:
        """Learn that `run` belongs to it now, in the place of `place`."""

    def let_out(self, place: Any, run: RunT) -> None:
        """Learn that `run` is over, and no other has taken its place."""

    def deals_with(self, run: RunT, exc: BaseException) -> bool:
        """Whether it deals with a failure of `run`, which then goes no further."""
        ...

    def crashed(self, run: RunT, exc: BaseException) -> None:
        """Learn that a failure of `run` has reached the host."""
