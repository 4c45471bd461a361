"""What a service tells of itself: flags, tracebacks, names, its place in the tree, its repr."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

import anyio
import pytest

from structmode import Diag, Service, ShutdownTimeout, StartAborted
from structmode.testing import VirtualClock, virtual_backend
from structmode.types.services import DiagT
from tests.meanwhile import is_one_for_all


class Plain(Service):
    """Does nothing by itself."""


# --- Diag -----------------------------------------------------------------------------------------


def test_there_is_one_diag() -> None:
    """Also if two ask for it for the first time in the same instant, as threads may."""
    assert is_one_for_all(Plain, lambda service: service.diag)


def test_flags() -> None:
    """A flag is there from set_flag() to unset_flag()."""
    diag = Plain().diag
    assert isinstance(diag, Diag)
    assert diag.flags == set()
    diag.set_flag("writing")
    diag.set_flag("reading")
    assert diag.flags == {"writing", "reading"}
    diag.unset_flag("writing")
    assert diag.flags == {"reading"}


def test_flags_are_reentrant() -> None:
    """A flag that was set twice has to be unset twice, so that two tasks may have it at a time."""
    diag = Plain().diag
    diag.set_flag("writing")
    diag.set_flag("writing")
    diag.unset_flag("writing")
    assert diag.flags == {"writing"}
    diag.unset_flag("writing")
    assert diag.flags == set()


def test_unsetting_what_is_not_set() -> None:
    """Unsetting a flag that is not set does nothing, and the next set_flag() counts as ever."""
    diag = Plain().diag
    diag.unset_flag("writing")
    diag.unset_flag("writing")
    diag.set_flag("writing")
    assert diag.flags == {"writing"}
    diag.unset_flag("writing")
    assert diag.flags == set()


def test_last_transition() -> None:
    """When a flag was last set or unset is kept."""
    diag = Plain().diag
    assert diag.last_transition == {}
    diag.set_flag("writing")
    first = diag.last_transition["writing"]
    diag.unset_flag("writing")
    assert diag.last_transition["writing"] >= first > 0.0
    assert set(diag.last_transition) == {"writing"}


def test_each_service_has_its_own_flags() -> None:
    """Flags belong to one service."""
    one, two = Plain(), Plain()
    one.diag.set_flag("writing")
    assert two.diag.flags == set()


def test_the_repr_of_diag() -> None:
    """The repr tells the flags, or that there are none."""
    diag = Plain().diag
    assert repr(diag) == "<Diag: idle>"
    diag.set_flag("writing")
    diag.set_flag("reading")
    assert repr(diag) == "<Diag: reading, writing>"


def test_a_diag_class_of_ones_own() -> None:
    """A service class may name another class for its diagnostics; it is given the service."""
    made: list[object] = []

    class Loud(Diag):
        def __init__(self, service: Service) -> None:
            made.append(service)
            super().__init__(service)

    class Watched(Service):
        Diag: type[DiagT] = Loud

        def __post_init__(self) -> None:
            self.diag.set_flag("made")

    service = Watched()
    assert isinstance(service.diag, Loud)
    assert made == [service]
    assert service.diag.flags == {"made"}


class Flagged(Service):
    """Has methods that set flags."""

    @Service.transitions_to("working")
    async def work(self, value: int, *, more: int = 0) -> int:
        """Do some work."""
        assert "working" in self.diag.flags
        await anyio.lowlevel.checkpoint()
        return value + more

    @Service.transitions_with("failing")
    async def fail(self) -> None:
        assert "failing" in self.diag.flags
        await anyio.lowlevel.checkpoint()
        raise ValueError("failed")


async def test_transitions_to() -> None:
    """The decorated method has its flag set while it runs; arguments, result and docstring are its own."""
    service = Flagged()
    assert await service.work(40, more=2) == 42
    assert service.diag.flags == set()
    assert Flagged.work.__name__ == "work"
    assert Flagged.work.__doc__ == "Do some work."


async def test_transitions_to_of_what_fails() -> None:
    """The flag is unset though the method raises, and so it is if it is cancelled."""
    service = Flagged()
    with pytest.raises(ValueError, match="failed"):
        await service.fail()
    assert service.diag.flags == set()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await service.work(1)
    assert service.diag.flags == set()


async def test_transitions_to_in_two_tasks() -> None:
    """While one of two tasks is still in the method, the flag stays."""
    gates = [anyio.Event(), anyio.Event()]

    class Shared(Service):
        @Service.transitions_to("waiting")
        async def wait_for_gate(self, n: int) -> None:
            await gates[n].wait()

    service = Shared()
    async with anyio.create_task_group() as group:
        group.start_soon(service.wait_for_gate, 0)
        group.start_soon(service.wait_for_gate, 1)
        await anyio.wait_all_tasks_blocked()
        gates[0].set()
        await anyio.wait_all_tasks_blocked()
        assert service.diag.flags == {"waiting"}
        gates[1].set()
    assert service.diag.flags == set()


async def test_a_task_that_transitions() -> None:
    """A background task may be decorated with its flag."""
    flags: list[set[str]] = []

    class Committing(Service):
        @Service.task
        @Service.transitions_to("committing")
        async def commit(self) -> None:
            flags.append(set(self.diag.flags))

    async with Committing() as service:
        await anyio.wait_all_tasks_blocked()
        assert service.diag.flags == set()
    assert flags == [{"committing"}]


async def test_transition_with() -> None:
    """transition_with() awaits something with the flag set: an awaitable, or an async callable with its arguments."""
    service = Plain()
    seen: list[set[str]] = []

    async def work(value: int, *, more: int = 0) -> int:
        seen.append(set(service.diag.flags))
        return value + more

    assert await service.transition_with("working", work(42)) == 42
    assert await service.transition_with("working", work, 40, more=2) == 42
    assert seen == [{"working"}, {"working"}]
    assert service.diag.flags == set()


async def test_transition_with_what_fails() -> None:
    """The flag is unset though what is awaited raises."""
    service = Plain()

    async def fail() -> None:
        raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        await service.transition_with("failing", fail())
    assert service.diag.flags == set()


# --- Tracebacks -----------------------------------------------------------------------------------


class Sleepy(Service):
    """Has tasks that sleep in various ways."""

    @Service.task
    async def deeply(self) -> None:
        await self.nested_one()

    async def nested_one(self) -> None:
        """Be a frame in between."""
        await self.nested_two()

    async def nested_two(self) -> None:
        """Be the innermost frame of this file."""
        await self.sleep(1000.0)

    @Service.timer(1000.0)
    async def tick(self) -> None:
        """Never come to this."""


async def test_tracebacks_of_sleeping_tasks() -> None:
    """Each task is told by its name, with file and function of where it sleeps, outermost call first."""
    async with Sleepy() as service:
        await anyio.wait_all_tasks_blocked()
        stacks = service.tracebacks()
    assert list(stacks) == ["Sleepy.deeply", "Sleepy.tick"]
    stack = stacks["Sleepy.deeply"]
    places = [
        stack.index(f"in {name}\n") for name in ("deeply", "nested_one", "nested_two", "sleep")
    ]
    assert places == sorted(places)
    assert "test_diagnosis.py" in stack
    assert "await self.nested_two()" in stack


async def test_tracebacks_of_futures() -> None:
    """Futures are told too, by the name they were given."""

    async def napping() -> None:
        await anyio.sleep_forever()

    async with Plain() as service:
        service.add_future(napping(), name="nap")
        service.add_future(napping)
        await anyio.wait_all_tasks_blocked()
        stacks = service.tracebacks()
    assert len(stacks) == 2
    assert "in napping\n" in stacks["nap"]


async def test_tracebacks_of_the_same_name() -> None:
    """Tasks of the same name are all told."""
    async with Plain() as service:
        for _ in range(3):
            service.add_future(anyio.sleep_forever, name="nap")
        await anyio.wait_all_tasks_blocked()
        stacks = service.tracebacks()
    assert list(stacks) == ["nap", "nap (2)", "nap (3)"]


async def test_tracebacks_from_within() -> None:
    """A task may ask for its own traceback: it tells the line that asks."""
    asked: dict[str, str] = {}

    class Curious(Service):
        @Service.task
        async def ask(self) -> None:
            self.look()

        def look(self) -> None:
            asked.update(self.tracebacks())

    async with Curious():
        await anyio.wait_all_tasks_blocked()
    assert "in ask\n" in asked["Curious.ask"]
    assert "in look\n" in asked["Curious.ask"]


async def test_tracebacks_of_a_hook() -> None:
    """A hook that hangs is told by its name and with its stack."""
    reached = anyio.Event()

    class Slow(Service):
        async def on_start(self) -> None:
            await self.connect()

        async def connect(self) -> None:
            reached.set()
            await anyio.sleep_forever()

    service = Slow()
    async with anyio.create_task_group() as group:
        group.start_soon(service.start)
        await reached.wait()
        await anyio.wait_all_tasks_blocked()
        stacks = service.tracebacks()
        group.cancel_scope.cancel()
    assert "in connect\n" in stacks["on_start"]
    assert "test_diagnosis.py" in stacks["on_start"]


async def test_tracebacks_of_what_does_not_run() -> None:
    """Before the start and after the stop there are none."""
    service = Sleepy()
    assert service.tracebacks() == {}
    async with service:
        pass
    assert service.tracebacks() == {}
    assert service.human_tracebacks() == "Sleepy: no tasks\n"


async def test_human_tracebacks() -> None:
    """human_tracebacks() is one text with all of it, each under the name of service and task."""
    async with Sleepy() as service:
        await anyio.wait_all_tasks_blocked()
        text = service.human_tracebacks()
    assert "Sleepy: Sleepy.deeply\n" in text
    assert "Sleepy: Sleepy.tick\n" in text
    assert "in nested_two\n" in text
    assert text.index("nested_one") < text.index("Sleepy.tick")


# --- Names ----------------------------------------------------------------------------------------


def test_labels() -> None:
    """A service is called after its class; a subclass may say otherwise."""

    class Cache(Service):
        pass

    class Named(Service):
        @property
        def label(self) -> str:
            return "Named: a long one"

        @property
        def shortlabel(self) -> str:
            return "Named"

    assert (Cache().label, Cache().shortlabel) == ("Cache", "Cache")
    assert (Named().label, Named().shortlabel) == ("Named: a long one", "Named")


def test_the_shortlabel_follows_the_label() -> None:
    """Where only the label is set, the log uses it too."""

    class Named(Service):
        @property
        def label(self) -> str:
            return "other"

    assert Named().shortlabel == "other"


def test_the_beacon() -> None:
    """A service is the data of its own beacon, at the top of its tree."""
    service = Plain()
    assert service.beacon.data is service
    assert service.beacon.depth == 1
    assert service.beacon.parent is None
    assert service.beacon is service.beacon


# --- repr -----------------------------------------------------------------------------------------


async def test_the_repr_in_each_state() -> None:
    """The repr tells name and state, and how many tasks there are while it runs."""
    seen: list[str] = []

    class Told(Service):
        def __post_init__(self) -> None:
            seen.append(repr(self))

        async def on_start(self) -> None:
            seen.append(repr(self))

        @Service.task
        async def work(self) -> None:
            await anyio.sleep_forever()

        async def on_started(self) -> None:
            seen.append(repr(self))

        async def on_stop(self) -> None:
            seen.append(repr(self))

        async def on_shutdown(self) -> None:
            seen.append(repr(self))

    service = Told()
    await service.start()
    seen.append(repr(service))
    service.add_future(anyio.sleep_forever)
    seen.append(repr(service))
    await service.restart()
    await service.stop()
    seen.append(repr(service))
    assert seen == [
        "<Told: init>",
        "<Told: starting, 0 tasks>",
        "<Told: starting, 1 task>",
        "<Told: running, 1 task>",
        "<Told: running, 2 tasks>",
        "<Told: restarting, 2 tasks>",
        "<Told: restarting, 0 tasks>",
        "<Told: restarting, 0 tasks>",
        "<Told: restarting, 0 tasks>",
        "<Told: restarting, 1 task>",
        "<Told: stopping, 1 task>",
        "<Told: stopping, 0 tasks>",
        "<Told: shutdown>",
    ]


async def test_the_repr_of_a_crashed_service() -> None:
    """The repr tells a crash."""
    with pytest.raises(ValueError, match="boom"):
        async with Plain() as service:
            await service.crash(ValueError("boom"))
            assert repr(service).startswith("<Plain: crashed")
            await anyio.sleep_forever()
    assert repr(service) == "<Plain: crashed>"


def test_more_in_the_repr() -> None:
    """A subclass may say more of itself in its repr."""

    class Listening(Service):
        def _repr_info(self) -> str:
            return ", port 8000"

    assert repr(Listening()) == "<Listening: init, port 8000>"


async def test_what_a_subclass_says_in_the_repr_comes_after_the_state() -> None:
    """It may be more of that, as in mode, or something else after a comma."""

    class Connected(Plain):
        info = "to pg://"

        def _repr_info(self) -> str:
            return self.info

    async with Connected() as service:
        assert repr(service) == "<Connected: running to pg://, 0 tasks>"
        service.info = ", port 8000"
        assert repr(service) == "<Connected: running, port 8000, 0 tasks>"
    assert repr(Connected()) == "<Connected: init to pg://>"


def test_the_repr_while_it_is_made() -> None:
    """The repr works at any time: before super().__init__(), in on_init and in __post_init__."""
    seen: list[str] = []

    class Made(Service):
        def __init__(self) -> None:
            seen.append(repr(self))
            super().__init__()
            seen.append(repr(self))

        def on_init(self) -> None:
            seen.append(repr(self))

    Made()
    assert seen == ["<Made: not initialised>", "<Made: init>", "<Made: init>"]


# --- Odd programs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["tracebacks", "human_tracebacks", "__repr__"])
def test_diagnosis_needs_no_event_loop(method: str) -> None:
    """A service may be looked at where no event loop runs."""
    look: Callable[[], object] = getattr(Sleepy(), method)
    assert look() is not None


async def test_a_crash_and_its_tree() -> None:
    """From the beacon of any service one finds the state of all."""
    top, child, sibling = Plain(), Sleepy(), Plain()
    top.add_dependency(child)
    top.add_dependency(sibling)
    with pytest.raises(ValueError, match="boom"):
        async with top:
            await child.crash(ValueError("boom"))
            await anyio.sleep_forever()
    root = child.beacon.root
    assert root is not None
    states = {node.data: node.data.state for node in root.traverse()}
    assert states == {top: "crashed", child: "crashed", sibling: "shutdown"}


def test_service_classes_can_be_looked_into() -> None:
    """Tools that look at a class, as help() and inspect do, find all its attributes without a complaint."""
    names = {name for name, _ in inspect.getmembers(Plain)}
    assert {"start", "stop", "beacon", "crash_reason"} <= names


def test_a_service_has_no_supervisor() -> None:
    """By default nobody looks after a service but its owner."""
    assert Plain().supervisor is None


async def test_what_it_waits_for_at_the_end() -> None:
    """If nobody calls set_shutdown(), the error of the stop says that it was waited for."""

    class Held(Plain):
        wait_for_shutdown = True
        shutdown_timeout = 0.01

    service = Held()
    await service.start()
    with pytest.raises(ShutdownTimeout) as caught:
        await service.stop()
    assert [(one.owner, one.task) for one in caught.value.stuck] == [
        ("Held", "wait for set_shutdown()")
    ]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    "hook", ["on_first_start", "on_start", "on_started", "on_stop", "on_shutdown", "on_restart"]
)
def test_the_hook_that_hangs(hook: str, backend: Literal["asyncio", "trio"]) -> None:
    """A hook that ignores its cancellation is named as it is written."""

    async def main() -> None:
        go_on = anyio.Event()

        async def hang(self: Service) -> None:
            with anyio.CancelScope(shield=True):
                await go_on.wait()

        service = type("Hanging", (Plain,), {hook: hang, "shutdown_timeout": 0.01})()

        async def begin() -> None:
            with suppress(StartAborted, ShutdownTimeout):
                await service.start()
                if hook == "on_restart":
                    await service.restart()

        with VirtualClock():
            async with anyio.create_task_group() as group:
                _ = group.start_soon(begin)
                await anyio.sleep(1.0)  # it runs by now, or hangs
                with pytest.raises(ShutdownTimeout) as caught:
                    await service.stop()
                go_on.set()
        assert [(one.owner, one.task) for one in caught.value.stuck] == [("Hanging", hook)]

    anyio.run(main, **virtual_backend(backend))
