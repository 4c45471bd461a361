"""What a timer sleeps with, and whom it asks whether it is to go on: a class of services may have a say in both."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from structmode import Service
from structmode.testing import VirtualClock, virtual_backend

pytestmark = pytest.mark.parametrize(
    "anyio_backend",
    [
        pytest.param(tuple(virtual_backend("asyncio").values()), id="asyncio"),
        pytest.param(tuple(virtual_backend("trio").values()), id="trio"),
    ],
)


class Ticking(Service):
    """Counts the ticks of a timer."""

    def __init__(self, **kwargs: Any) -> None:
        self.ticks = 0
        super().__init__(**kwargs)

    @Service.timer(10.0)
    async def tick(self) -> None:
        self.ticks += 1


async def test_a_class_that_sleeps_in_its_own_way() -> None:
    """The timer sleeps as the class says."""
    sleeps: list[object] = []

    class Counting(Ticking):
        async def sleep(self, n: Any, *, loop: Any = None) -> None:
            sleeps.append(n)
            await super().sleep(n)

    with VirtualClock():
        async with Counting() as service:
            await anyio.sleep(25.0)
    assert (service.ticks, sleeps) == (2, [10.0, 10.0, 10.0])


async def test_one_service_that_sleeps_in_its_own_way() -> None:
    """So does it if only the instance says so."""
    service, sleeps = Ticking(), list[float]()

    async def sleep(n: float) -> None:
        sleeps.append(n)
        await anyio.sleep(n)

    service.sleep = sleep  # type: ignore[assignment, method-assign]
    with VirtualClock():
        async with service:
            await anyio.sleep(25.0)
    assert (service.ticks, sleeps) == (2, [10.0, 10.0, 10.0])


async def test_the_sleep_of_another_service() -> None:
    """A child that counts the ticks of its parent with a sleep of its own is woken by its own stop, and not only cancelled."""
    seen: list[str] = []

    class Child(Service):
        def __init__(self, parent: Service) -> None:
            super().__init__()
            self.parent = parent

        @Service.task
        async def count(self) -> None:
            async for _ in self.parent.itertimer(1000.0, sleep=self.sleep):
                seen.append("woken")
                break

    parent = Service()
    child = parent.add_dependency(Child(parent))
    with VirtualClock():
        async with parent:
            await anyio.sleep(5.0)
            await child.stop()
            assert seen == ["woken"]


async def test_a_sleep_that_a_test_has_put_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the one that the timer sleeps with."""
    sleeps: list[float] = []

    async def sleep(self: Service, n: float) -> None:
        sleeps.append(n)
        await anyio.sleep(n)

    monkeypatch.setattr(Service, "sleep", sleep)
    with VirtualClock():
        async with Ticking() as service:
            await anyio.sleep(25.0)
    assert (service.ticks, sleeps) == (2, [10.0, 10.0, 10.0])


async def test_a_class_that_stops_of_its_own_accord() -> None:
    """The timer ends when the class says that it should, though nobody has told the service to stop."""

    class Tired(Ticking):
        @property
        def should_stop(self) -> bool:
            return self.ticks >= 3 or super().should_stop

    with VirtualClock():
        async with Tired() as service:
            await anyio.sleep(1000.0)
            assert service.started
    assert service.ticks == 3


async def test_the_ticks_of_a_former_run() -> None:
    """What is left of a former run ticks no more, though its service runs again."""
    told: list[str] = []

    class Stubborn(Service):
        shutdown_timeout = 1.0

        @Service.task
        async def go_on(self) -> None:
            if self.restart_count:
                return
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    async for _ in self.itertimer(10.0):
                        told.append("tick")  # pragma: no cover - its run is over
                    told.append("end")

    with VirtualClock():
        async with Stubborn() as service:
            await service.restart()
            await anyio.sleep(100.0)
    assert told == ["end"]


async def test_ticks_for_somebody_else() -> None:
    """Who is no part of the service counts its ticks until it stops, run after run."""
    counts: list[int] = []

    async def count(service: Service) -> None:
        number = 0
        async for _ in service.itertimer(10.0):
            number += 1
        counts.append(number)

    with VirtualClock():
        async with anyio.create_task_group() as group:
            service = Service()
            for _ in range(2):
                async with service:
                    group.start_soon(count, service)
                    await anyio.sleep(35.0)
                await anyio.lowlevel.checkpoint()
    assert counts == [3, 3]


async def test_ticks_that_another_service_counts() -> None:
    """A task of one service that counts the ticks of another goes by the other one's stop."""
    clock = Ticking()

    class Counter(Service):
        counted = 0
        done = False

        @Service.task
        async def count(self) -> None:
            async for _ in clock.itertimer(10.0):
                self.counted += 1
            self.done = True

    with VirtualClock():
        async with Counter() as counter:
            async with clock:
                await anyio.sleep(35.0)
            await anyio.sleep(1.0)
            assert (counter.counted, counter.done) == (3, True)
            assert not counter.should_stop
