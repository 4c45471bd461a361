"""The lifecycle events of services, as those who subscribe are told: which, of whom, in which order, and with what."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import anyio
import pytest

from structmode import Service, ShutdownTimeout, StuckTask, events


@pytest.fixture
def told() -> Iterator[list[events.LifecycleEvent]]:
    """All events of the test, in order."""
    found: list[events.LifecycleEvent] = []
    unsubscribe = events.subscribe(found.append)
    yield found
    unsubscribe()


def named(told: list[events.LifecycleEvent]) -> list[str]:
    """Return each event as "Service Kind"."""
    return [f"{type(event.subject).__name__} {type(event).__name__}" for event in told]


class Leaf(Service):
    """Has a task that never ends."""

    @Service.task
    async def work(self) -> None:
        await anyio.sleep_forever()


class Top(Service):
    """Has a child."""

    def on_init(self) -> None:
        self.leaf = self.add_dependency(Leaf())


START = ["Top Starting", "Leaf Starting", "Leaf Started", "Top Started"]
STOP = ["Top Stopping", "Leaf Stopping", "Leaf TaskEnded", "Leaf Stopped", "Top Stopped"]


async def test_a_life(told: list[events.LifecycleEvent]) -> None:
    """A start and a stop are told of each service, from the top down and back, with the service itself as subject."""
    top = Top()
    async with top:
        await anyio.wait_all_tasks_blocked()
    assert named(told) == START + STOP
    assert {event.subject for event in told} == {top, top.leaf}
    ended = next(event for event in told if isinstance(event, events.TaskEnded))
    assert (ended.subject, ended.task, ended.error) == (top.leaf, "Leaf.work", None)


async def test_a_restart(told: list[events.LifecycleEvent]) -> None:
    """A restart is told of the service that restarts, between its stop and its start."""
    async with Top() as top:
        await anyio.wait_all_tasks_blocked()
        told.clear()
        await top.restart()
        assert named(told) == [*STOP, "Top Restarting", *START]
        await anyio.wait_all_tasks_blocked()


async def test_a_crash(told: list[events.LifecycleEvent]) -> None:
    """A crash is told of each service that it reaches, with the reason, before any of them stops."""
    boom = ValueError("boom")
    with pytest.raises(ValueError, match="boom"):
        async with Top() as top:
            await anyio.wait_all_tasks_blocked()
            told.clear()
            await top.leaf.crash(boom)
            await anyio.sleep_forever()
    assert named(told) == ["Leaf Crashed", "Top Crashed", *STOP]
    reasons = [event.reason for event in told if isinstance(event, events.Crashed)]
    assert len(reasons) == 2
    assert all(reason is boom for reason in reasons)


async def test_a_start_that_fails(told: list[events.LifecycleEvent]) -> None:
    """A start that fails is told of each service that does not come up, with the error; of no other is it told."""
    boom = OSError("port in use")

    class Bad(Service):
        async def on_start(self) -> None:
            raise boom

    class Parent(Service):
        def on_init(self) -> None:
            self.add_dependency(Leaf())
            self.add_dependency(Bad())
            self.add_dependency(Top())

    with pytest.raises(OSError, match="port in use"):
        await Parent().start()
    assert [line for line in named(told) if "TaskEnded" not in line] == [
        "Parent Starting",
        "Leaf Starting",
        "Leaf Started",
        "Bad Starting",
        "Bad Stopping",
        "Bad StartFailed",
        "Parent Stopping",
        "Leaf Stopping",
        "Leaf Stopped",
        "Parent StartFailed",
    ]
    failed = [event for event in told if isinstance(event, events.StartFailed)]
    assert all(event.reason is boom for event in failed)


async def test_a_stop_that_takes_too_long(told: list[events.LifecycleEvent]) -> None:
    """A stop that is forced is told with those who were stuck: whose task, which, and where."""

    class Slow(Service):
        shutdown_timeout = 0.02

        async def on_stop(self) -> None:
            await anyio.sleep_forever()

    service = Slow()
    await service.start()
    with suppress(ShutdownTimeout):
        await service.stop()
    (overdue,) = [event for event in told if isinstance(event, events.StopOverdue)]
    assert overdue.subject is service
    (stuck,) = overdue.stuck
    assert isinstance(stuck, StuckTask)
    assert (stuck.owner, stuck.task) == ("Slow", "on_stop")
    assert "test_events_of_services.py" in stuck.stack


async def test_the_end_of_a_subscription(told: list[events.LifecycleEvent]) -> None:
    """Who has ended the subscription is told nothing more; the others are."""
    mine: list[events.LifecycleEvent] = []
    unsubscribe = events.subscribe(mine.append)
    service = Leaf()
    await service.start()
    unsubscribe()
    await service.stop()
    assert named(mine) == ["Leaf Starting", "Leaf Started"]
    assert named(told)[-1] == "Leaf Stopped"


async def test_a_listener_that_fails(
    told: list[events.LifecycleEvent], caplog: pytest.LogCaptureFixture
) -> None:
    """What a listener raises is logged, and harms neither the service nor other listeners."""

    def bad(event: events.LifecycleEvent) -> None:
        raise ValueError("a bad listener")

    unsubscribe = events.subscribe(bad)
    try:
        async with Leaf() as service:
            await anyio.wait_all_tasks_blocked()
    finally:
        unsubscribe()
    assert (service.state, service.failures) == ("shutdown", ())
    assert named(told)[-1] == "Leaf Stopped"
    failed = [record for record in caplog.records if record.name == "structmode.events"]
    assert len(failed) == len(told)
    assert all(record.exc_info for record in failed)
