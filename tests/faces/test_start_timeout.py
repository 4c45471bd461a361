"""A start that takes too long fails, tells what is still being started and where that stands, and is undone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
import pytest

from structmode import Service
from structmode.events import LifecycleEvent, StartFailed, subscribe
from structmode.exceptions import StartAborted, StartTimeout
from structmode.facet import ServiceMixin
from structmode.functions import hold, service
from structmode.supervisors import Backoff, OneForOneSupervisor
from structmode.testing import VirtualClock, virtual_backend
from structmode.threads import ServiceThread


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """A loop whose time can be virtual."""
    name: Literal["asyncio", "trio"] = request.param
    return name, virtual_backend(name)["backend_options"]


class Part(Service):
    """Takes its time in one hook, and notes which hooks were called."""

    def __init__(
        self, name: str, *parts: Any, waits_in: str = "", for_s: float = 100.0, limit: float = 0.0
    ) -> None:
        self.name = name
        self.parts = parts
        self.waits_in = waits_in
        self.for_s = for_s
        self.hooks: list[str] = []
        if limit:
            self.start_timeout = limit
        super().__init__()

    @property
    def label(self) -> str:
        return self.name

    def on_init_dependencies(self) -> Iterable[Any]:
        return self.parts

    async def take_time(self, hook: str) -> None:
        """Note a hook, and wait in it if it is the one."""
        self.hooks.append(hook)
        if hook == self.waits_in:
            await anyio.sleep(self.for_s)

    async def on_first_start(self) -> None:
        await self.take_time("on_first_start")

    async def on_start(self) -> None:
        await self.take_time("on_start")

    async def on_started(self) -> None:
        await self.take_time("on_started")

    async def on_stop(self) -> None:
        await self.take_time("on_stop")

    async def on_shutdown(self) -> None:
        await self.take_time("on_shutdown")

    async def on_restart(self) -> None:
        await self.take_time("on_restart")


@pytest.mark.parametrize("hook", ["on_first_start", "on_start", "on_started"])
async def test_a_hook_that_hangs(hook: str) -> None:
    """The start fails when its time is over, is undone, and what was raised names the hook and shows its stack."""
    part = Part("slow", waits_in=hook, limit=2.5)
    with VirtualClock():
        began = anyio.current_time()
        with pytest.raises(StartTimeout, match=r"slow did not start within 2\.5 s") as caught:
            await part.start()
        assert anyio.current_time() - began == pytest.approx(2.5)
    assert part.state == "init"
    assert part.hooks[-1] == ("on_shutdown" if hook == "on_started" else hook)
    (only,) = caught.value.starting
    (where,) = only.where
    assert (only.label, only.depth, where.owner, where.task) == ("slow", 0, "slow", hook)
    assert "await self.take_time(" in where.stack
    assert f"slow: {hook}\n" in str(caught.value)
    assert isinstance(caught.value, TimeoutError)


async def test_the_tree_of_what_is_still_starting() -> None:
    """Each service that is being started is named below the one that starts it; what is up is not, and all is undone."""
    up, hangs, later = Part("up"), Part("hangs", waits_in="on_start"), Part("later")
    middle = Part("middle", up, hangs, later)
    top = Part("top", middle, limit=1.0)
    with VirtualClock(), pytest.raises(StartTimeout) as caught:
        await top.start()
    found = [(one.label, one.depth, len(one.where)) for one in caught.value.starting]
    assert found == [("top", 0, 0), ("middle", 1, 0), ("hangs", 2, 1)]
    _, *lines = str(caught.value).splitlines()
    assert lines[:3] == [
        "top: starts what it is made of",
        "  middle: starts what it is made of",
        "    hangs: on_start",
    ]
    assert all(line.startswith("    ") for line in lines[3:])
    assert up.hooks == ["on_first_start", "on_start", "on_started", "on_stop", "on_shutdown"]
    assert later.hooks == []
    assert {one.state for one in (top, middle, hangs, later)} == {"init"}
    assert up.state == "shutdown"


async def test_several_at_the_same_time() -> None:
    """Of a group that starts at the same time, all that have not started are named."""
    group = [Part("a", waits_in="on_start"), Part("b"), Part("c", waits_in="on_started")]
    top = Part("top", group, limit=1.0)
    with VirtualClock(), pytest.raises(StartTimeout) as caught:
        await top.start()
    found = [(one.label, [where.task for where in one.where]) for one in caught.value.starting]
    assert found == [("top", []), ("a", ["on_start"]), ("c", ["on_started"])]


async def test_the_smaller_limit_counts() -> None:
    """Each service has a limit of its own; that of a child makes the start of all above fail, with the child's error."""
    child = Part("child", waits_in="on_start", limit=1.0)
    top = Part("top", child, limit=5.0)
    with VirtualClock(), pytest.raises(StartTimeout) as caught:
        await top.start()
    assert caught.value.label == "child"
    assert top.hooks[-1] == "on_shutdown"


async def test_a_context_that_hangs() -> None:
    """What is being entered is shown with the stack of where it hangs."""

    @asynccontextmanager
    async def door() -> AsyncGenerator[None]:
        await anyio.sleep(100)
        yield  # pragma: no cover - never comes to that

    held = hold(door, name="door", start_timeout=1.0)
    with VirtualClock(), pytest.raises(StartTimeout) as caught:
        await held.start()
    (only,) = caught.value.starting
    assert any("await anyio.sleep(100)" in where.stack for where in only.where)


async def test_a_function() -> None:
    """Services made of functions take the limit as an argument."""

    @service(start_timeout="1000/s")
    async def slow() -> AsyncGenerator[None]:
        await anyio.sleep(2000)
        yield  # pragma: no cover - never comes to that

    made = slow()
    assert made.start_timeout == 1000.0
    with VirtualClock(), pytest.raises(StartTimeout):
        await made.start()


async def test_in_time() -> None:
    """A start that is over in time is not bothered later, nor is a stop that takes longer."""
    part = Part("in time", waits_in="on_stop", for_s=5.0, limit=1.0)
    with VirtualClock():
        async with part:
            await anyio.sleep(3)
            assert part.state == "running"
    assert part.crash_reason is None


async def test_a_restart() -> None:
    """The limit is the same in a restart, whose failure leaves `restart` and the block."""
    part = Part("again", waits_in="on_restart", limit=1.0)
    with VirtualClock(), pytest.raises(StartTimeout, match="again: on_restart"):
        async with part:
            await part.restart()
    assert part.state == "init"


async def test_a_block() -> None:
    """It leaves an ``async with`` as it was raised, and the body does not run."""
    with VirtualClock(), pytest.raises(StartTimeout):
        async with Part("block", waits_in="on_start", limit=1.0):
            pytest.fail("the body runs")  # pragma: no cover - it does not


async def test_a_start_that_is_called_off() -> None:
    """One that is stopped first is called off, and not late, also if its hook takes up the rest of the time."""

    class Stubborn(Part):
        async def on_start(self) -> None:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(2)

    part = Stubborn("stubborn", limit=1.0)
    with VirtualClock():
        async with anyio.create_task_group() as tasks:

            async def begin() -> None:
                with pytest.raises(StartAborted):
                    await part.start()

            tasks.start_soon(begin)
            await anyio.sleep(0.5)
            await part.stop()
    assert part.failures == ()


async def test_one_that_fails_first() -> None:
    """A start that has failed already, and is slow to be undone, tells that failure alone."""

    class Fails(Part):
        @Service.task
        async def work(self) -> None:
            """Fail at once."""
            raise OSError("first")

        async def on_stop(self) -> None:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(2)

    part = Fails("fails", limit=1.0)
    with VirtualClock(), pytest.raises(OSError, match="first") as caught:
        await part.start()
    assert not hasattr(caught.value, "__notes__")
    assert list(part.failures) == [caught.value]


async def test_events() -> None:
    """It is told as any start that failed."""
    events: list[LifecycleEvent] = []
    unsubscribe = subscribe(events.append)
    try:
        with VirtualClock(), pytest.raises(StartTimeout) as caught:
            await Part("told", waits_in="on_start", limit=1.0).start()
    finally:
        unsubscribe()
    (failed,) = [event for event in events if isinstance(event, StartFailed)]
    assert failed.reason is caught.value


async def test_under_a_supervisor() -> None:
    """A restart that takes too long is one that failed: it is tried again."""
    part = Part("patient", limit=1.0)
    supervisor = OneForOneSupervisor(part, backoff=Backoff(initial=0.5, jitter=0.0))
    with VirtualClock():
        async with supervisor:
            part.waits_in = "on_restart"
            await part.crash(OSError("boom"))
            await anyio.sleep(1.2)
            assert part.hooks.count("on_restart") == 1
            part.waits_in = ""
            await anyio.sleep(10)
            assert part.state == "running"
            assert part.hooks.count("on_restart") == 2


async def test_in_a_thread() -> None:
    """A service in a thread has the limit too, and what hangs there is shown."""

    class Apart(ServiceThread):
        start_timeout = 0.05

        async def on_start(self) -> None:
            await anyio.sleep(100)

    with pytest.raises(StartTimeout, match="Apart: on_start"):
        await Apart().start()


async def test_what_is_needed() -> None:
    """A service of facet's face that something needs is named with what needs it."""

    class Base(ServiceMixin):
        async def start(self) -> None:
            await anyio.sleep(100)

    class User(ServiceMixin):
        def __init__(self) -> None:
            self.base = Base()

        @property
        def dependencies(self) -> list[Base]:
            return [self.base]

    with VirtualClock(), pytest.raises(StartTimeout) as caught:
        await Part("top", User(), limit=1.0).start()
    found = [(one.label, one.depth) for one in caught.value.starting]
    assert found == [("top", 0), ("User", 1), ("Base", 2)]


@pytest.mark.parametrize("limit", [None, "soon", float("nan")])
def test_no_limit_at_all(limit: Any) -> None:
    """What is no time is refused while the class is made."""
    with pytest.raises((TypeError, ValueError), match=r"Odd\.start_timeout"):
        type("Odd", (Service,), {"start_timeout": limit})


async def test_zero() -> None:
    """No time at all is enough for a start that waits for nothing but its turn, or it fails in time; it never hangs."""
    part = Part("hasty", waits_in="on_start", limit=1e-9)
    with VirtualClock(), pytest.raises(StartTimeout):
        await part.start()
    assert part.state == "init"
