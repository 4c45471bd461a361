"""Faults at each checkpoint: what a sweep tries, and that it notices each law that is broken."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar, Literal

import anyio
import pytest

from structmode import Service
from structmode._engine import ThreadHome, frames_of, on_trio
from structmode._engine._run import Run
from structmode._unit import ServiceUnit, rest_of
from structmode.testing import (
    FAULTS,
    SERVICE,
    Answer,
    Fault,
    InjectedError,
    Kind,
    LawBroken,
    Moment,
    Scenario,
    inject_faults,
)
from structmode.threads import ServiceThread
from structmode.threads._units import InsideUnit

Backend = Literal["asyncio", "trio"]

OPERATION_FAILS = [fault for fault in FAULTS if fault.name == "the operation fails"]


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """What the sweeps of a test run on."""
    name: Backend = request.param
    return name


class Child(Service):
    """Holds a context, and works in a task."""

    async def on_start(self) -> None:
        await self.add_async_context(self._context())

    @asynccontextmanager
    async def _context(self) -> AsyncIterator[None]:
        yield
        await anyio.sleep(0.01)

    @Service.task
    async def work(self) -> None:
        while not self.should_stop:
            await self.sleep(1.0)


class Parent(Service):
    """Has one child, and hooks that take their time."""

    def __post_init__(self) -> None:
        self.child = self.add_dependency(Child())

    async def on_start(self) -> None:
        await anyio.sleep(0.01)

    async def on_started(self) -> None:
        await anyio.sleep(0.01)

    async def on_stop(self) -> None:
        await anyio.sleep(0.01)


class Pair(Scenario):
    """A parent and a child, for two seconds."""

    def make(self) -> Service:
        return Parent()

    async def use(self, service: Service) -> None:
        await anyio.sleep(2.0)


def test_a_program_that_keeps_the_laws(backend: Backend) -> None:
    """Each fault is tried at each moment, in both ownerships; the result says so."""
    sweep = inject_faults(Pair(), backend)
    block, bare = sweep.moments["block"], sweep.moments["bare"]
    assert block > 20
    assert bare > 20
    for fault in FAULTS:
        tried = sweep.runs[fault.name] + sweep.skipped[fault.name]
        assert tried == {"block": block, "bare": bare, None: block + bare}[fault.ownership]
        by_force = fault.name == "the task is cancelled by force"
        assert sweep.runs[fault.name] > (-1 if by_force and backend == "trio" else 10), fault
    assert str(sweep) == (
        f"Pair on {backend}: {sweep.runs.total():,} faults at {block} (block) and {bare} (bare) moments"
    )


def test_thinned_out(backend: Backend) -> None:
    """Sweeps of each n-th moment, each with another offset, are a whole one together."""
    stop = [fault for fault in FAULTS if fault.name == "a stop"]
    whole = inject_faults(Pair(), backend, faults=stop, ownerships=["block"])
    parts = [
        inject_faults(Pair(), backend, faults=stop, ownerships=["block"], every=3, offset=offset)
        for offset in range(3)
    ]
    assert sum(part.runs.total() for part in parts) == whole.runs.total() == whole.moments["block"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"every": 0}, "every is to be 1 or more; not 0"),
        ({"every": 3, "offset": 3}, "offset is to be from 0 to 2; not 3"),
        ({"only": ("block", "a stpo", 1)}, "there is no fault 'a stpo'"),
        ({"only": ("block", "a stop", 10_000)}, "there is no moment 10000"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], text: str) -> None:
    """A sweep that would try nothing is an error, not a success."""
    with pytest.raises(ValueError, match=text):
        inject_faults(Pair(), "trio", **arguments)


def test_another_backend() -> None:
    """Time can be virtual on two event loops only."""
    with pytest.raises(ValueError, match="uvloop"):
        inject_faults(Pair(), "uvloop")  # type: ignore[arg-type]


async def test_inside_an_event_loop() -> None:
    """A sweep makes event loops of its own, so it can't be called in one."""
    with pytest.raises(RuntimeError, match="plain function"):
        inject_faults(Pair(), "asyncio")


def test_a_scenario_without_services() -> None:
    """`make` is to be defined."""
    with pytest.raises(LawBroken, match=r"Scenario\.make\(\) is to return a new service"):
        inject_faults(Scenario(), "trio")


# --- What a sweep notices -------------------------------------------------------------------------


class Leaking(Service):
    """Leaves a task on asyncio, that belongs to nobody."""

    async def on_start(self) -> None:
        self.lost = asyncio.get_running_loop().create_task(asyncio.sleep(1e6))


class Swallowing(Service):
    """Does not let go of failures."""

    @Service.task
    async def work(self) -> None:
        while not self.should_stop:
            try:
                await anyio.sleep(1.0)
            except InjectedError:
                pass


class Raising(Service):
    """Fails by itself, in its own way."""

    @Service.task
    async def work(self) -> None:
        try:
            await anyio.sleep(1.0)
        except InjectedError:
            raise KeyError("lost") from None


class Forgetting(Service):
    """Drops a coroutine."""

    async def on_stop(self) -> None:
        _ = self.sleep(1.0)


def scenario_of(service: Callable[[], Service]) -> Scenario:
    """Make a scenario of one service."""

    class Single(Pair):
        def make(self) -> Service:
            return service()

    return Single()


def test_a_task_that_is_left() -> None:
    """It is named."""
    with pytest.raises(LawBroken, match="left behind: task"):
        inject_faults(scenario_of(Leaking), "asyncio")


@pytest.mark.parametrize(
    ("service", "text"),
    [
        (Swallowing, "did not come out: InjectedError"),
        (Raising, r"came out, and nobody put it in: KeyError\('lost'\)"),
        (Forgetting, "was never awaited"),
    ],
)
def test_what_becomes_of_a_failure(service: type[Service], text: str, backend: Backend) -> None:
    """A failure that is lost or changed, and a coroutine that is dropped."""
    with pytest.raises(LawBroken, match=text):
        inject_faults(scenario_of(service), backend, faults=OPERATION_FAILS)


class Endless(Pair):
    """A program that waits for ever, while a task of it does not."""

    limit: ClassVar[float] = 60.0

    async def use(self, service: Service) -> None:
        await anyio.Event().wait()


def test_no_end(backend: Backend) -> None:
    """What does not end is given up, and told of, with its stack."""
    with pytest.raises(LawBroken, match=r"(?s)has not ended after 60 s.*in use"):
        inject_faults(Endless(), backend)


def test_a_failure_that_is_handled(backend: Backend) -> None:
    """A scenario may say that it deals with a failure itself."""

    class Handled(Pair):
        def make(self) -> Service:
            return Swallowing()

        def handles(self, error: InjectedError) -> bool:
            return True

    inject_faults(Handled(), backend, faults=OPERATION_FAILS)


def test_an_error_that_is_expected(backend: Backend) -> None:
    """A scenario may say what its program raises by itself."""

    class Expected(Pair):
        expected: ClassVar[tuple[type[BaseException], ...]] = (*Scenario.expected, KeyError)

        def make(self) -> Service:
            return Raising()

    with pytest.raises(LawBroken, match="neither came out nor was logged"):
        inject_faults(Expected(), backend, faults=OPERATION_FAILS)


class Following(Service):
    """Fails in the course of a failure, as a `finally` does."""

    @Service.task
    async def work(self) -> None:
        try:
            await anyio.sleep(1.0)
        except InjectedError:
            raise KeyError("followed")  # noqa: B904 - the traceback shows both


def test_an_error_in_the_course_of_another(backend: Backend) -> None:
    """What is seen in the traceback of what came out has come out, too."""

    class Expected(Pair):
        expected: ClassVar[tuple[type[BaseException], ...]] = (*Scenario.expected, KeyError)

        def make(self) -> Service:
            return Following()

    inject_faults(Expected(), backend, faults=OPERATION_FAILS)


Patch = Callable[[pytest.MonkeyPatch], object]


def tear_down_twice(patch: pytest.MonkeyPatch) -> None:
    """Call a hook twice."""
    tear_down = ServiceUnit.tear_down

    async def twice(unit: ServiceUnit) -> None:
        await rest_of(tear_down(unit))
        await rest_of(tear_down(unit))

    patch.setattr(ServiceUnit, "tear_down", twice)


def no_farewell(patch: pytest.MonkeyPatch) -> None:
    """Leave a hook out."""

    async def nothing(unit: ServiceUnit) -> None:
        pass

    patch.setattr(ServiceUnit, "farewell", nothing)


def farewell_without_set_up(patch: pytest.MonkeyPatch) -> None:
    """Tear down what was not set up."""
    stop = Run._stop

    async def as_if_set_up(run: Run) -> None:
        run._set_up_done = True
        await stop(run)

    patch.setattr(Run, "_stop", as_if_set_up)


def ready_before_set_up(patch: pytest.MonkeyPatch) -> None:
    """Call hooks in the wrong order."""
    first, second = ServiceUnit.set_up, ServiceUnit.ready
    patch.setattr(ServiceUnit, "set_up", second)
    patch.setattr(ServiceUnit, "ready", first)


def contexts_after_farewell(patch: pytest.MonkeyPatch) -> None:
    """Close contexts too late."""
    close, farewell = Run._close_contexts, ServiceUnit.farewell
    patch.setattr(Run, "_close_contexts", nothing_to_close)
    patch.setattr(ServiceUnit, "farewell", and_then(farewell, close))


async def nothing_to_close(run: Run) -> None:
    """Close no contexts."""


def and_then(
    farewell: Callable[[ServiceUnit], Coroutine[Any, Any, None] | None],
    close: Callable[[Run], Coroutine[Any, Any, None]],
) -> Callable[[ServiceUnit], Coroutine[Any, Any, None]]:
    """Return a farewell that closes the contexts afterwards."""

    async def both(unit: ServiceUnit) -> None:
        await rest_of(farewell(unit))
        run = unit.subject._life.run
        assert run is not None
        await close(run)

    return both


def children_first(patch: pytest.MonkeyPatch) -> None:
    """Stop from the bottom up."""
    stop = Run._stop

    async def upside_down(run: Run) -> None:
        for child in list(run.child_runs.values()):
            child.request_stop()
            await child.finished.wait()
        await stop(run)

    patch.setattr(Run, "_stop", upside_down)


def children_last(patch: pytest.MonkeyPatch) -> None:
    """Take the farewell before the children have stopped."""
    stop_children = Run._stop_children

    async def later(run: Run, left: Any, which: Callable[[Run], bool] | None = None) -> None:
        if which is None:  # all that are up
            await rest_of(run.unit.farewell())
        await stop_children(run, left, which)

    patch.setattr(Run, "_stop_children", later)


def no_deadline(patch: pytest.MonkeyPatch) -> None:
    """Let a stop take as long as it likes."""
    patch.setattr(Run, "_time_to_stop", lambda run: 1000.0)


class Slow(Parent):
    """A parent that takes a minute to stop, and may take one second."""

    shutdown_timeout = 1.0

    async def on_shutdown(self) -> None:
        await anyio.sleep(60.0)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (tear_down_twice, "Parent called more than once: on_stop"),
        (no_farewell, "Parent.on_start returned, but on_shutdown was not called"),
        (farewell_without_set_up, "on_start did not return, but on_stop was called"),
        (ready_before_set_up, "Parent called in this order: on_first_start, on_started"),
        (contexts_after_farewell, "Child left context 1 after on_shutdown had begun"),
        (children_first, "Child began to stop before Parent, which owns it"),
        (children_last, "Child ended after on_shutdown of Parent had begun, which owns it"),
        (no_deadline, "Slow took 60.* s to stop, and may take 3 s"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_broken_laws(
    spoil: Patch, text: str, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that breaks a law is found out, and told which one it was."""
    spoil(monkeypatch)
    with pytest.raises(LawBroken, match=text):
        inject_faults(scenario_of(Slow if spoil is no_deadline else Parent), backend)


class Fragile(Child):
    """Has a method that fails."""

    async def lose(self) -> None:
        raise LookupError("lost")


def lose_it(moment: Moment) -> Answer | None:
    """Call the method that fails, where it is there."""
    service = moment.service
    return moment.call(service.lose) if isinstance(service, Fragile) else None


def test_a_fault_of_ones_own(backend: Backend) -> None:
    """A fault is a name and a function of the moment; one that breaks a law can be repeated from what is told of it."""
    fault = Fault("a loss", lose_it)
    assert repr(fault) == "<Fault 'a loss'>"
    sweep = inject_faults(Pair(), backend, faults=[fault])
    assert sweep.runs["a loss"] == 0
    assert sweep.skipped["a loss"] == sum(sweep.moments.values())
    with pytest.raises(LawBroken, match=r"LookupError\('lost'\)") as caught:
        inject_faults(scenario_of(Fragile), backend, faults=[fault])
    told = str(caught.value)
    assert told.count("repeat it with") == 5
    line = next(line for line in told.splitlines() if "repeat it with only=" in line)
    position = int(line.rpartition(" ")[2].rstrip(")"))
    assert "about to be resumed was:\n  File " in told
    with pytest.raises(LawBroken) as again:
        inject_faults(
            scenario_of(Fragile), backend, faults=[fault], only=("block", "a loss", position)
        )
    assert str(again.value).count("repeat it with") == 1


def test_a_kind_of_ones_own(backend: Backend) -> None:
    """A kind says what hooks there are and in what order they are legal; what is against it is told."""

    class Strict(Scenario):
        kinds: ClassVar[tuple[Kind, ...]] = (
            Kind(
                type=Child,
                hooks=("on_start", "on_stop"),
                legal="on_start ",
                undone={},
                leave="on_stop",
                farewell="on_shutdown",
                timeout=lambda service: 10.0,
            ),
            SERVICE,
        )

        def make(self) -> Service:
            return Parent()

    with pytest.raises(LawBroken, match="Child called in this order: on_start, on_stop"):
        inject_faults(Strict(), backend)


def test_services_of_no_kind(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Services of a kind that a scenario does not name are held to no laws; the others are, though they own them."""

    class Children(Pair):
        kinds: ClassVar[tuple[Kind, ...]] = (replace(SERVICE, type=Child),)

    tear_down = ServiceUnit.tear_down

    async def parents_twice(unit: ServiceUnit) -> None:
        await rest_of(tear_down(unit))
        if isinstance(unit.subject, Parent):
            await rest_of(tear_down(unit))

    monkeypatch.setattr(ServiceUnit, "tear_down", parents_twice)
    inject_faults(Children(), backend, faults=[])
    tear_down_twice(monkeypatch)
    with pytest.raises(LawBroken, match="Child called more than once: on_stop"):
        inject_faults(Children(), backend, faults=[])


def test_an_operation_that_is_all_of_a_task(backend: Backend) -> None:
    """In a task that runs nothing but a library's function there is nothing of the program's that could fail."""

    class Bare(Pair):
        async def use(self, service: Service) -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep, 1.0)
                group.start_soon(anyio.sleep, 2.0)

    seen: list[str] = []

    def fail(moment: Moment) -> Answer | None:
        answer = moment.fail_operation()
        innermost = list(frames_of(moment._coroutine))
        if {frame.f_globals["__name__"].partition(".")[0] for frame in innermost} <= {
            "anyio",
            "asyncio",
            "trio",
        }:
            seen.append("fails" if answer else "goes on")
        return answer

    inject_faults(Bare(), backend, faults=[Fault("a failure", fail)])
    assert set(seen) == {"goes on"}


# --- Threads --------------------------------------------------------------------------------------


class Remote(ServiceThread):
    """A service in a thread, on the other event loop, with a child and a task there."""

    def __init__(self) -> None:
        super().__init__(backend="asyncio" if on_trio() else "trio")
        self.child = self.add_dependency(Child())

    async def on_start(self) -> None:
        await anyio.sleep(0.01)

    async def on_stop(self) -> None:
        await anyio.sleep(0.01)

    @Service.task
    async def work(self) -> None:
        while not self.should_stop:
            await anyio.sleep(0.3)


class Above(Service):
    """Has a service in a thread."""

    def __post_init__(self) -> None:
        self.remote = self.add_dependency(Remote())

    async def on_start(self) -> None:
        await anyio.sleep(0.01)

    async def on_stop(self) -> None:
        await anyio.sleep(0.01)


class Threads(Pair):
    """A parent, and a child in a thread."""

    def make(self) -> Service:
        return Above()

    async def use(self, service: Service) -> None:
        await anyio.sleep(0.5)


@pytest.mark.slow
def test_a_program_with_a_thread(backend: Backend) -> None:
    """There are moments in the thread as well, and each fault is tried there; with the same moments each time."""
    places: set[str] = set()

    def look(moment: Moment) -> Answer | None:
        places.add(threading.current_thread().name)
        return None

    looked = inject_faults(Threads(), backend, faults=[Fault("a look", look)], every=10)
    assert places == {"MainThread", "Remote-thread"}
    sweep = inject_faults(Threads(), backend, every=20, offset=10)
    assert sweep.moments == looked.moments
    assert sum(sweep.moments.values()) > 100
    for fault in FAULTS:
        assert sweep.runs[fault.name] + sweep.skipped[fault.name] > 1, fault


def in_thread_of(moment: Moment) -> bool:
    """Whether a moment is in the thread."""
    return isinstance(moment.service, Remote | Child) and threading.current_thread().name != (
        "MainThread"
    )


def test_where_calls_are_made(backend: Backend) -> None:
    """A call is made in the event loop of the scenario; or, if that is asked for, in that of the moment."""
    made: list[tuple[bool, str]] = []

    def call(moment: Moment, *, here: bool) -> Answer | None:
        async def note() -> None:
            made.append((here, threading.current_thread().name))

        return moment.call(note, here=here) if in_thread_of(moment) else None

    faults = [
        Fault("there", lambda moment: call(moment, here=False)),
        Fault("here", lambda moment: call(moment, here=True)),
    ]
    sweep = inject_faults(Threads(), backend, faults=faults, every=15)
    assert set(made) == {(False, "MainThread"), (True, "Remote-thread")}
    assert len(made) == sweep.runs.total()


def test_a_call_that_does_not_end(backend: Backend) -> None:
    """One that is made in a thread ends before the thread does, or is told of."""

    def call(moment: Moment) -> Answer | None:
        return moment.call(anyio.sleep_forever, here=True) if in_thread_of(moment) else None

    with pytest.raises(LawBroken, match="call that was made in a thread had not ended"):
        inject_faults(Threads(), backend, faults=[Fault("a call", call)], every=9)


def test_a_thread_that_cannot_be_virtual(backend: Backend) -> None:
    """Runs with such a thread would not be alike: it is refused, and the error says what to do."""

    class Real(Pair):
        def make(self) -> Service:
            return ServiceThread(backend="asyncio", backend_options={"use_uvloop": True})

    with pytest.raises(LawBroken, match=r"(?s)time of this thread.*'asyncio' or 'trio'"):
        inject_faults(Real(), backend)


def forget_children(patch: pytest.MonkeyPatch) -> None:
    """Let a service in a thread stop without its children: they go on until they are killed."""
    stop_children = Run._stop_children

    async def forget(run: Run, left: Any, which: Callable[[Run], bool] | None = None) -> None:
        if not isinstance(run.unit, InsideUnit):
            await stop_children(run, left, which)

    patch.setattr(Run, "_stop_children", forget)


def no_farewell_of_the_thread(patch: pytest.MonkeyPatch) -> None:
    """Leave out the hook with which a thread takes its leave."""
    patch.setattr(InsideUnit, "tear_down", ServiceUnit.tear_down)


def thread_not_waited_for(patch: pytest.MonkeyPatch) -> None:
    """Let the owner go on before the thread has ended."""

    async def nothing(home: ThreadHome, *told: object) -> None:
        home._send_down(home._take_turn)

    patch.setattr(ThreadHome, "_end", nothing)


def thread_out_of_turn(patch: pytest.MonkeyPatch) -> None:
    """Let a thread that has crashed stop before it is its turn."""

    async def nothing(home: ThreadHome) -> None:
        pass

    patch.setattr(ThreadHome, "until_turn", nothing)


def crash_not_passed_up(patch: pytest.MonkeyPatch) -> None:
    """Keep a crash from the owner."""

    def stop(home: ThreadHome, exc: BaseException) -> None:
        home.told_inside.append(exc)
        home.tell_owner(home._outside.request_stop)

    patch.setattr(ThreadHome, "pass_up_crash", stop)


A_CRASH = "a crash of this service"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "fault", "text"),
    [
        (forget_children, "", "Child ended after on_shutdown of Remote had begun, which owns it"),
        (no_farewell_of_the_thread, "", "Remote.on_start returned, but on_thread_stop was not"),
        (thread_not_waited_for, "", "Remote (has not ended|ended after )"),
        (thread_out_of_turn, A_CRASH, "Remote began to stop before Above, which owns it"),
        (crash_not_passed_up, A_CRASH, "Remote began to stop before Above, which owns it"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_broken_borders(
    spoil: Patch, fault: str, text: str, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A border between threads that breaks a law is found out."""
    spoil(monkeypatch)
    faults = [one for one in FAULTS if one.name == fault]
    with pytest.raises(LawBroken, match=text):
        inject_faults(Threads(), backend, faults=faults, ownerships=["block"])
