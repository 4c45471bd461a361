"""The same scenarios over both faces, on their own and mixed: what they share, they share in each detail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import anyio
import pytest

from structmode import Service
from structmode.exceptions import ShutdownTimeout
from structmode.facet import ServiceMixin

Act = Callable[[], Awaitable[object]]


async def nothing() -> None:
    """Do nothing."""


class Face(Protocol):
    """How a face makes a service: with parts that are up before it starts, and until it has stopped."""

    def __call__(
        self,
        name: str,
        journal: list[str],
        *parts: Any,
        start: Act = nothing,
        stop: Act = nothing,
        timeout: float = 10.0,
    ) -> Any:
        """Make it; parts in a list start and stop at the same time."""
        ...


class OfMode(Service):
    def __init__(
        self, name: str, journal: list[str], *parts: Any, start: Act, stop: Act, timeout: float
    ) -> None:
        self.name, self.journal = name, journal
        self.do_start, self.do_stop = start, stop
        self.shutdown_timeout = timeout
        super().__init__()
        for part in parts:
            if isinstance(part, list):
                self.add_dependency_group(*part)
            else:
                self.add_dependency(part)

    @property
    def label(self) -> str:
        return self.name

    async def on_started(self) -> None:  # its parts are up by then
        self.journal.append(f"{self.name} start")
        await self.do_start()

    async def on_stop(self) -> None:
        self.journal.append(f"{self.name} stop")
        await self.do_stop()

    def add_task(self, work: Act) -> Any:
        """Run something in the background."""
        return self.add_future(work)


class OfFacet(ServiceMixin):
    def __init__(
        self, name: str, journal: list[str], *parts: Any, start: Act, stop: Act, timeout: float
    ) -> None:
        self.name, self.journal = name, journal
        self.do_start, self.do_stop = start, stop
        self.dependencies = parts
        self.timeout = timeout

    dependencies: Any = ()

    @property
    def graceful_shutdown_timeout(self) -> float:
        return self.timeout

    async def start(self) -> None:
        self.journal.append(f"{self.name} start")
        await self.do_start()

    async def stop(self) -> None:
        self.journal.append(f"{self.name} stop")
        await self.do_stop()


def mode(
    name: str,
    journal: list[str],
    *parts: Any,
    start: Act = nothing,
    stop: Act = nothing,
    timeout: float = 10.0,
) -> Any:
    """Make a service of mode's face."""
    return OfMode(name, journal, *parts, start=start, stop=stop, timeout=timeout)


def facet(
    name: str,
    journal: list[str],
    *parts: Any,
    start: Act = nothing,
    stop: Act = nothing,
    timeout: float = 10.0,
) -> Any:
    """Make a service of facet's face."""
    return OfFacet(name, journal, *parts, start=start, stop=stop, timeout=timeout)


def alternating(first: Face, second: Face) -> Face:
    """Return what makes services of both faces in turn, by the names that they have."""

    def make(name: str, journal: list[str], *parts: Any, **what: Any) -> Any:
        return (first if ord(name[0]) % 2 else second)(name, journal, *parts, **what)

    return make


FACES = {
    "mode": mode,
    "facet": facet,
    "mode above facet": alternating(mode, facet),
    "facet above mode": alternating(facet, mode),
}


@pytest.fixture(params=FACES)
def face(request: pytest.FixtureRequest) -> Face:
    """What makes services."""
    made: Face = FACES[request.param]
    return made


def raising(exc: BaseException) -> Act:
    """Return what raises `exc`."""

    async def act() -> None:
        raise exc

    return act


def family(face: Face, journal: list[str], **what: Any) -> dict[str, Any]:
    """Make a(b(d, e), c), with arguments by name."""
    made: dict[str, Any] = {}
    for name, parts in {"e": "", "d": "", "c": "", "b": "de", "a": "bc"}.items():
        made[name] = face(name, journal, *(made[part] for part in parts), **what.get(name, {}))
    return made


UP = [f"{name} start" for name in "debca"]
DOWN = [f"{name} stop" for name in "acbed"]


async def test_order(face: Face) -> None:
    """What a service is made of starts before it and stops after it, in reverse; each time anew."""
    journal: list[str] = []
    a = family(face, journal)["a"]
    for _ in range(2):
        async with a:
            assert journal == UP
            journal.clear()
        assert journal == DOWN
        journal.clear()


@pytest.mark.parametrize("name", list("debca"))
async def test_a_start_that_fails(face: Face, name: str) -> None:
    """What was started is stopped in reverse, the error leaves as it was raised, and the next start is as the first."""
    journal: list[str] = []
    error = OSError(name)
    made = family(face, journal, **{name: {"start": raising(error)}})
    with pytest.raises(OSError, match=name) as caught:
        async with made["a"]:
            raise AssertionError("was entered")
    assert caught.value is error
    begun = [line[0] for line in journal if line.endswith("start")]
    assert begun == list("debca")[: len(begun)]
    expected = [one for one in reversed(begun) if one != name]
    stopped = [line[0] for line in journal if line.endswith("stop")]
    assert [one for one in stopped if one in expected] == expected
    for service in made.values():
        service.do_start = nothing
    journal.clear()
    async with made["a"]:
        assert journal == UP


@pytest.mark.parametrize("name", list("abcde"))
async def test_a_crash(face: Face, name: str) -> None:
    """A failure anywhere cancels the body, stops all in order, and leaves the block as it was raised."""
    journal: list[str] = []
    error = OSError(name)
    made = family(face, journal)
    with pytest.raises(OSError, match=name) as caught:
        async with made["a"]:
            journal.clear()
            made[name].add_task(raising(error))
            await anyio.sleep_forever()
    assert caught.value is error
    assert journal == DOWN


@pytest.mark.parametrize("name", list("abcde"))
async def test_a_stop_that_fails(face: Face, name: str) -> None:
    """A failure in a stop keeps nobody else from stopping, and leaves the block as it was raised."""
    journal: list[str] = []
    error = OSError(name)
    made = family(face, journal, **{name: {"stop": raising(error)}})
    with pytest.raises(OSError, match=name) as caught:
        async with made["a"]:
            journal.clear()
    assert caught.value is error
    assert journal == DOWN


async def test_the_first_failure_leaves(face: Face) -> None:
    """The first failure leaves, the later ones are noted on it."""
    journal: list[str] = []
    first = OSError("first")
    made = family(face, journal, d={"stop": raising(ValueError("later"))})
    with pytest.raises(OSError, match="first") as caught:
        async with made["a"]:
            made["c"].add_task(raising(first))
            await anyio.sleep_forever()
    assert caught.value is first
    assert any("ValueError('later')" in note for note in first.__notes__)


async def test_the_body_fails(face: Face) -> None:
    """What leaves the body leaves the block, when all has stopped."""
    journal: list[str] = []
    with pytest.raises(KeyError, match="body"):
        async with family(face, journal)["a"]:
            journal.clear()
            raise KeyError("body")
    assert journal == DOWN


async def test_cancelled(face: Face) -> None:
    """A cancellation from outside is an orderly stop, and goes on."""
    journal: list[str] = []
    slow = {"stop": lambda: anyio.sleep(0.01)}
    made = family(face, journal, b=slow, d=slow)
    with anyio.move_on_after(0.05) as scope:
        async with made["a"]:
            journal.clear()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert journal == DOWN


@pytest.mark.parametrize("name", list("abcde"))
async def test_cancelled_while_it_starts(face: Face, name: str) -> None:
    """A start that is cancelled is undone; what had started is stopped."""
    journal: list[str] = []
    made = family(face, journal, **{name: {"start": anyio.sleep_forever}})
    with anyio.move_on_after(0.05) as scope:
        async with made["a"]:
            raise AssertionError("was entered")
    assert scope.cancelled_caught
    started = {line[0] for line in journal if line.endswith("start")} - {name}
    stopped = {line[0] for line in journal if line.endswith("stop")}
    assert started <= stopped


async def test_bounded(face: Face) -> None:
    """A stop that takes too long is cut short, tells where it hung, and the rest stops in order."""
    journal: list[str] = []
    made = family(face, journal, d={"stop": anyio.sleep_forever}, a={"timeout": 0.05})
    with pytest.raises(ShutdownTimeout) as caught:
        async with made["a"]:
            journal.clear()
    assert "sleep_forever" in str(caught.value)
    assert journal == DOWN


async def test_tasks_end_with_their_service(face: Face) -> None:
    """Tasks are cancelled after the stop of their service, and have ended before the block is left."""
    journal: list[str] = []
    made = family(face, journal)

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            journal.append("task ends")

    async with made["a"]:
        handle = made["b"].add_task(work)
        await anyio.wait_all_tasks_blocked()
        journal.clear()
    assert journal.index("b stop") < journal.index("task ends")
    assert handle.cancelled()


async def test_at_the_same_time(face: Face) -> None:
    """Parts in a list start and stop at the same time; one that fails calls off the others."""
    journal: list[str] = []
    arrived: list[anyio.Event] = [anyio.Event() for _ in range(4)]

    def meeting(number: int) -> Act:
        async def meet() -> None:
            arrived[number].set()
            for event in arrived[number // 2 * 2 :][:2]:
                await event.wait()

        return meet

    parts = [
        face(name, journal, start=meeting(n), stop=meeting(2 + n)) for n, name in enumerate("ik")
    ]
    a = face("a", journal, parts)
    async with a:
        assert journal == ["i start", "k start", "a start"]
        journal.clear()
    assert journal == ["a stop", "k stop", "i stop"]
    error = parts[1].do_start = OSError("k")
    parts[0].do_start, parts[1].do_start = anyio.sleep_forever, raising(error)
    with pytest.raises(OSError, match="k") as caught:
        async with a:
            raise AssertionError("was entered")
    assert caught.value is error


def test_a_class_of_both_faces() -> None:
    """Nobody could say which of its two starts counts, so it is refused while it is made, in either order."""
    for bases in ((ServiceMixin, Service), (Service, ServiceMixin)):
        with pytest.raises(TypeError, match="Both has both Service and ServiceMixin as bases"):
            type("Both", bases, {})
