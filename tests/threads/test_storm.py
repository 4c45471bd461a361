"""Calls and lives that race with stops, restarts, crashes and cancellations: each has an end, and nothing is left behind.

A plan is a list of what many tasks do at about the same time, made by Hypothesis. Whatever it is, each call returns its own
result, or is refused, or is told that it came to no end, or was cancelled; what it had begun has ended by then; and when all
is over there is no thread, and the service can be started again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import anyio
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from structmode import LifecycleError, Service, ShutdownTimeout
from structmode.threads import QueueServiceThread, ServiceThread

from .things import threads_of

Deed = Literal[
    "call", "cancelled call", "failing call", "cast", "stop", "restart", "stop inside", "crash"
]


@pytest.fixture(scope="module")
def anyio_backend(anyio_backend: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """The backend, but without the debug mode of asyncio, which would make all this take three times as long."""
    name, options = anyio_backend
    return name, {key: value for key, value in options.items() if key != "debug"}


class Thunder(Exception):
    """What fails in a storm."""


@dataclass(frozen=True)
class Plan:
    """What happens: each deed with the time of its beginning, and that of its work, in half milliseconds."""

    deeds: list[tuple[Deed, int, int]]
    workers: int
    drain: float


deeds = st.tuples(
    st.sampled_from(
        [
            *("call", "call", "cancelled call", "failing call", "cast"),
            *("stop", "restart", "stop inside", "crash"),
        ]
    ),
    st.integers(0, 8),
    st.integers(0, 4),
)
plans = st.builds(
    Plan,
    deeds=st.lists(deeds, min_size=1, max_size=14),
    workers=st.integers(1, 3),
    drain=st.sampled_from([0.0, 0.001, 1.0]),
)


class Storm:
    """Plays a plan.

    Args:
        plan: What happens.
        inside: The backend of the thread.
    """

    def __init__(self, plan: Plan, inside: str) -> None:
        self.plan = plan
        self.service = QueueServiceThread(backend=inside, num_workers=plan.workers)
        self.service.method_queue.drain_timeout = plan.drain
        self.begun: Counter[int] = Counter()
        self.ended: Counter[int] = Counter()
        self.at_work = 0
        self.most_at_work = 0
        self.told: dict[int, str] = {}

    async def work(self, number: int, time: int, fails: bool) -> int:
        self.begun[number] += 1
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            await anyio.sleep(time / 2000)
            if fails:
                raise Thunder(number)
            return number
        finally:
            self.at_work -= 1
            self.ended[number] += 1

    async def play(self) -> None:
        service = self.service
        try:
            async with service, anyio.create_task_group() as group:
                for number, (deed, when, time) in enumerate(self.plan.deeds):
                    group.start_soon(self._do, number, deed, when, time)
        except* (Thunder, LifecycleError):
            pass
        assert not threads_of(service)
        assert not service.started
        assert self.begun == self.ended
        assert max(self.begun.values(), default=0) <= 1
        assert self.most_at_work <= self.plan.workers
        async with service:
            assert await service.call_thread(self.work, -1, 0, False) == -1

    async def _do(self, number: int, deed: Deed, when: int, time: int) -> None:
        await anyio.sleep(when / 2000)
        service = self.service
        try:
            match deed:
                case "call" | "cancelled call" | "failing call":
                    await self._call(number, deed, time)
                case "cast":
                    await service.cast_thread(self.work, number, time, False)
                case "stop":
                    await service.stop()
                case "restart":
                    await service.restart()
                case "stop inside":
                    await service.call_thread(service.stop)
                case "crash":  # pragma: no branch - there are no others
                    await service.crash(Thunder("crash"))
        except (LifecycleError, Thunder, ShutdownTimeout) as exc:
            self.told[number] = repr(exc)

    async def _call(self, number: int, deed: Deed, time: int) -> None:
        try:
            with anyio.CancelScope() as scope:
                if deed == "cancelled call":
                    scope.deadline = anyio.current_time() + 0.001
                fails = deed == "failing call"
                result = await self.service.call_thread(self.work, number, time, fails)
                assert result == number
                assert not fails
        finally:
            # In whatever way the call has ended: what it has begun is over.
            assert self.begun[number] == self.ended[number]


@pytest.mark.slow
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(plan=plans)
async def test_storm(inside: str, plan: Plan) -> None:
    """Whatever is planned, the storm ends, and all is as it should be."""
    with anyio.fail_after(30):
        await Storm(plan, inside).play()


# --- Lives ----------------------------------------------------------------------------------------

HOOKS = ("on_start", "on_started", "on_thread_started", "on_stop", "on_thread_stop", "on_shutdown")


@dataclass(frozen=True)
class Life:
    """What happens in a life: which hooks take their time or fail, and what others do meanwhile.

    Attributes:
        slow: For each hook that takes time, how long, in half milliseconds.
        failing: The hooks that fail, once each.
        deeds: What others do: what, when, and after what time they lose patience, in half milliseconds.
    """

    slow: dict[str, int]
    failing: frozenset[str]
    deeds: list[tuple[str, int, int]]


lives = st.builds(
    Life,
    slow=st.dictionaries(st.sampled_from(HOOKS), st.integers(0, 4), max_size=4),
    failing=st.frozensets(st.sampled_from(HOOKS), max_size=2),
    deeds=st.lists(
        st.tuples(
            st.sampled_from(["start", "stop", "restart", "crash", "stop inside", "crash inside"]),
            st.integers(0, 8),
            st.integers(0, 8) | st.none(),
        ),
        max_size=6,
    ),
)


class Mortal(ServiceThread):
    """Lives as it is told, and writes it down.

    Args:
        life: How.
        backend: The event loop of its thread.
    """

    def __init__(self, life: Life, backend: str) -> None:
        self.life = life
        self.will_fail = set(life.failing)
        self.begun: list[str] = []
        self.returned: list[str] = []
        self.overlap = False
        self.deeds_inside: list[Any] = []
        super().__init__(backend=backend)
        self.child = self.add_dependency(Service())

    async def _hook(self, name: str) -> None:
        if name == "on_start":
            self.overlap |= self.begun.count("on_stop") != self.returned.count("on_start")
        self.begun.append(name)
        await anyio.sleep(self.life.slow.get(name, 0) / 2000)
        if name in self.will_fail:
            self.will_fail.discard(name)
            raise Thunder(name)
        self.returned.append(name)

    async def on_start(self) -> None:
        await self._hook("on_start")

    async def on_started(self) -> None:
        await self._hook("on_started")

    async def on_thread_started(self) -> None:
        await self._hook("on_thread_started")
        self.add_future(self.act())

    async def on_stop(self) -> None:
        await self._hook("on_stop")

    async def on_thread_stop(self) -> None:
        await self._hook("on_thread_stop")

    async def on_shutdown(self) -> None:
        await self._hook("on_shutdown")

    async def act(self) -> None:
        """Do what is to be done inside."""
        for deed, when, _ in self.life.deeds:
            if deed.endswith("inside"):
                await anyio.sleep(when / 2000)
                await (self.stop() if deed == "stop inside" else self.crash(Thunder(deed)))


async def live(service: Mortal) -> None:
    """Have a life go by, in a block that is owned by one, and disturbed by others."""

    async def disturb(deed: str, when: int, patience: int | None) -> None:
        await anyio.sleep(when / 2000)
        with anyio.CancelScope() as scope:
            if patience is not None:
                scope.deadline = anyio.current_time() + patience / 2000
            try:
                match deed:
                    case "start":
                        await service.start()
                    case "stop":
                        await service.stop()
                    case "restart":
                        await service.restart()
                    case "crash":
                        await service.crash(Thunder(deed))
                    case _:
                        pass
            except (LifecycleError, Thunder):
                pass

    try:
        async with service, anyio.create_task_group() as group:
            for deed in service.life.deeds:
                group.start_soon(disturb, *deed)
    except* (Thunder, LifecycleError):
        pass


@pytest.mark.slow
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(life=lives)
async def test_storm_of_lives(inside: str, life: Life) -> None:
    """Whatever happens, what was set up has been put away, no run overlaps the next, and no thread is left."""
    service = Mortal(life, inside)
    with anyio.fail_after(30):
        await live(service)
    assert not threads_of(service)
    assert not service.started
    assert not service.child.started
    assert not service.overlap
    for name in ("on_stop", "on_thread_stop", "on_shutdown"):
        assert service.begun.count(name) == service.returned.count("on_start"), name
    service.will_fail.clear()
    service.life = Life({}, frozenset(), [])
    async with service:
        assert service.state == "running"
        assert service.child.state == "running"
    assert service.state == "shutdown"
