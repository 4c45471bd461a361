"""Calls that race with stops, restarts, crashes and cancellations: each has an end, and nothing is left behind.

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

from structmode import LifecycleError, ShutdownTimeout
from structmode.threads import QueueServiceThread

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
                case "crash":
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
