"""Lifecycle events: who is told what, in which order, and that a bad listener harms nobody."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from structmode._engine import (
    Crashed,
    LifecycleEvent,
    Restarting,
    Started,
    StartFailed,
    Starting,
    StopOverdue,
    Stopped,
    Stopping,
    Task,
    TaskEnded,
    emit,
    subscribe,
)
from structmode.exceptions import ShutdownTimeout, StartAborted, StuckTask

from .unit import Unit, hanging, raising, settle, yielding

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def told() -> Iterator[list[LifecycleEvent]]:
    """All events of the test, in order."""
    events: list[LifecycleEvent] = []
    unsubscribe = subscribe(events.append)
    yield events
    unsubscribe()


def short(events: list[LifecycleEvent]) -> list[str]:
    """Return each event as "label Kind"."""
    return [f"{getattr(event.subject, 'label', '')} {type(event).__name__}" for event in events]


def test_made_for_listeners_only() -> None:
    """Without a listener an event is not even made."""

    def kind(unit: object) -> LifecycleEvent:
        raise AssertionError("made")

    emit(kind, "unit")


def test_told_in_order_of_subscription() -> None:
    """Listeners are told in the order they subscribed, each event as one value made of its parts."""
    told: list[tuple[str, LifecycleEvent]] = []
    first = subscribe(lambda event: told.append(("first", event)))
    second = subscribe(lambda event: told.append(("second", event)))
    error = ValueError()
    emit(TaskEnded, "unit", "task", error)
    first()
    second()
    emit(Started, "unit")
    assert told == [
        ("first", TaskEnded("unit", "task", error)),
        ("second", TaskEnded("unit", "task", error)),
    ]
    assert told[0][1] is told[1][1]


def test_same_listener_twice() -> None:
    """A listener that subscribes twice is told twice, and each subscription ends by itself."""
    told: list[LifecycleEvent] = []
    first, second = subscribe(told.append), subscribe(told.append)
    emit(Started, 1)
    first()
    first()
    emit(Started, 2)
    second()
    emit(Started, 3)
    assert [event.subject for event in told] == [1, 1, 2]


async def waits(event: LifecycleEvent) -> None:  # pragma: no cover - it is not called
    """Be a listener that would have to be awaited."""


@pytest.mark.parametrize("listener", [None, "log", waits])
def test_a_listener_that_can_not_be_told(listener: Any) -> None:
    """What can't be called, or is async, is refused when it subscribes."""
    with pytest.raises(TypeError, match=r"subscribe\(\) takes a plain function of one event"):
        subscribe(listener)


def test_unsubscribing_while_told() -> None:
    """A listener that ends its own subscription, or another's, makes no one miss the event, and hears no more."""
    told: list[str] = []

    def once(event: LifecycleEvent) -> None:
        told.append(f"once {event.subject}")
        end_once()
        end_last()

    end_once = subscribe(once)
    end_middle = subscribe(lambda event: told.append(f"middle {event.subject}"))
    end_last = subscribe(lambda event: told.append(f"last {event.subject}"))
    emit(Started, 1)
    del told[3:]  # whether the last one still hears of this event is not promised
    emit(Started, 2)
    end_middle()
    assert [line for line in told if not line.startswith("last")] == [
        "once 1",
        "middle 1",
        "middle 2",
    ]
    assert "last 2" not in told


def test_subscribing_while_told() -> None:
    """Who subscribes while an event is being told hears of the next one."""
    told: list[object] = []
    ends = []

    def recruit(event: LifecycleEvent) -> None:
        ends.append(subscribe(lambda event: told.append(event.subject)))

    ends.append(subscribe(recruit))
    emit(Started, 1)
    assert told == []
    ends[0]()
    emit(Started, 2)
    for end in ends:
        end()
    assert told == [2]


def test_failing_listener(caplog: pytest.LogCaptureFixture) -> None:
    """A listener that raises is logged with its traceback; the others are told all the same."""

    def bad(event: LifecycleEvent) -> None:
        raise KeyError("bad listener")

    told: list[LifecycleEvent] = []
    ends = [subscribe(bad), subscribe(told.append)]
    with caplog.at_level(logging.ERROR):
        emit(Started, "unit")
    for end in ends:
        end()
    assert told == [Started("unit")]
    (record,) = caplog.records
    assert record.name == "structmode.events"
    assert "Started" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)


def test_events_are_values() -> None:
    """An event can't be changed, and equals another of the same kind and parts."""
    event = Starting("unit")
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.subject = "other"  # type: ignore[misc]
    assert event == Starting("unit") != Stopping("unit")  # type: ignore[comparison-overlap]


async def test_start_and_stop(told: list[LifecycleEvent]) -> None:
    """A start and a stop tell of themselves, parents around children, tasks where they end."""
    unit = Unit("a", [], Unit("b", []), work={"t": hanging})
    await unit.life.start()
    await unit.life.stop()
    assert short(told) == [
        "a Starting",
        "b Starting",
        "b Started",
        "a Started",
        "a Stopping",
        "b Stopping",
        "b Stopped",
        "a TaskEnded",
        "a Stopped",
    ]
    assert told[7] == TaskEnded(unit, "t", None)


async def test_failing_start(told: list[LifecycleEvent]) -> None:
    """A start that fails tells so, with the reason, in place of "stopped"."""
    error = ValueError("no")
    unit = Unit("a", [], Unit("b", [], ready=raising(error)))
    with pytest.raises(ValueError, match="no"):
        await unit.life.start()
    assert short(told) == [
        "a Starting",
        "b Starting",
        "b Stopping",
        "b StartFailed",
        "a Stopping",
        "a StartFailed",
    ]
    reasons = [event.reason for event in told if isinstance(event, StartFailed)]
    assert reasons == [error, error]


async def test_start_called_off(told: list[LifecycleEvent]) -> None:
    """A start that is stopped tells of a start that failed, since it never was complete."""
    unit = Unit("a", [], set_up=hanging)
    async with anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises(StartAborted):
                await unit.life.start()

        group.start_soon(start)
        await settle()
        await unit.life.stop()
    assert short(told) == ["a Starting", "a Stopping", "a StartFailed"]
    (failed,) = [event for event in told if isinstance(event, StartFailed)]
    assert isinstance(failed.reason, StartAborted)


async def test_crash(told: list[LifecycleEvent]) -> None:
    """A crash is told once of each unit that it marks, with the reason, before anything stops."""
    error = ValueError("boom")
    middle = Unit("b", [], Unit("c", []))
    with pytest.raises(ValueError, match="boom"):
        async with Unit("a", [], middle).life.block():
            middle.begin(raising(error))
            await anyio.sleep_forever()
    crashes = [event for event in told if isinstance(event, Crashed)]
    assert sorted(short([*crashes])) == ["a Crashed", "b Crashed", "c Crashed"]
    assert all(event.reason is error for event in crashes)
    assert short(told).index("a Stopping") > max(told.index(crash) for crash in crashes)
    assert TaskEnded(middle, "task", error) in told


async def test_restart(told: list[LifecycleEvent]) -> None:
    """A restart is told between the end of the old run and the begin of the new."""
    unit = Unit("a", [])
    async with unit.life.block():
        told.clear()
        await unit.life.restart()
        assert short(told) == [
            "a Stopping",
            "a Stopped",
            "a Restarting",
            "a Starting",
            "a Started",
        ]


async def test_restart_of_what_does_not_run(told: list[LifecycleEvent]) -> None:
    """A restart of what does not run is told as one, and then as a start."""
    unit = Unit("a", [])
    await unit.life.restart()
    assert short(told) == ["a Restarting", "a Starting", "a Started"]
    await unit.life.stop()


async def test_overdue(told: list[LifecycleEvent]) -> None:
    """A stop that takes too long tells who is stuck."""
    unit = Unit("a", [], tear_down=hanging)
    unit.stop_timeout = 0.02
    await unit.life.start()
    with pytest.raises(ShutdownTimeout):
        await unit.life.stop()
    (overdue,) = [event for event in told if isinstance(event, StopOverdue)]
    (stuck,) = overdue.stuck
    assert isinstance(stuck, StuckTask)
    assert stuck.owner == "a"


async def test_listener_that_fails_in_a_run(caplog: pytest.LogCaptureFixture) -> None:
    """A listener that raises at every event keeps no run from its way."""

    def bad(event: LifecycleEvent) -> None:
        raise KeyError("bad listener")

    log: list[str] = []
    unit = Unit("a", log, work={"t": yielding})
    end = subscribe(bad)
    await unit.life.start()
    await unit.life.restart()
    await unit.life.stop()
    end()
    assert unit.state == "stopped"
    assert unit.run.failures == []
    assert {record.name for record in caplog.records} == {"structmode.events"}


@pytest.mark.parametrize("kind", [Starting, Started])
async def test_listener_that_stops_the_unit(kind: type[LifecycleEvent]) -> None:
    """A listener may ask for a stop at any moment; the run ends in order, whatever its state."""
    unit = Unit("a", [])

    def stopper(event: LifecycleEvent) -> None:
        if isinstance(event, kind):
            unit.run.request_stop()

    end = subscribe(stopper)
    try:
        await unit.life.start()
    except StartAborted:
        pass
    end()
    await settle()
    assert unit.state == "stopped"


@pytest.mark.parametrize("kind", [Starting, Started, Stopping])
async def test_listener_that_fails_the_unit(kind: type[LifecycleEvent]) -> None:
    """A listener may report a failure at any moment; it leaves the block and is not lost."""
    unit, error = Unit("a", []), ValueError("from a listener")

    def critic(event: LifecycleEvent) -> None:
        if isinstance(event, kind):
            unit.life.fail(error, "listener")

    end = subscribe(critic)
    with pytest.raises(ValueError, match="from a listener") as caught:
        async with unit.life.block():
            await unit.life.stop()
    assert callable(end)
    end()
    assert caught.value is error
    assert unit.state == "stopped"


async def test_task_ended_tells_how(told: list[LifecycleEvent]) -> None:
    """The end of a task is told with its error, or without one if it returned or was cancelled."""
    unit = Unit("a", [])
    await unit.life.start()
    await unit.run.spawn(Task(anyio.sleep(0), "returned"))
    unit.run.spawn(Task(anyio.sleep_forever(), "cancelled")).cancel()
    await settle()
    ends = [event for event in told if isinstance(event, TaskEnded)]
    assert ends == [TaskEnded(unit, "returned", None), TaskEnded(unit, "cancelled", None)]
    await unit.life.stop()
    assert Stopped(unit) in told
    assert Restarting(unit) not in told
