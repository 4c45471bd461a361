"""Under which names services, their tasks and timers appear in reports, errors, events and the log."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from structmode import OneForOneSupervisor, Service, ServiceThread, ShutdownTimeout
from structmode.events import LifecycleEvent, TaskEnded, TicksSkipped, subscribe


class Named(Service):
    """Has a long name for graphs, and a short one for the log."""

    shutdown_timeout = 0.02

    @property
    def label(self) -> str:
        return "Named: a long one"

    @property
    def shortlabel(self) -> str:
        return "Short"


async def do_nothing(service: Service) -> None:
    """Be the body of a task, under its own name."""
    await anyio.sleep_forever()


class Assigned(Service):
    """Has a task whose function has another name than the attribute."""

    watch = Service.task(do_nothing)


async def test_the_name_of_a_task_is_that_of_the_attribute() -> None:
    """A task is called as the class calls it, whatever its function is called."""
    async with Assigned() as service:
        await anyio.wait_all_tasks_blocked()
        assert list(service.tracebacks()) == ["Assigned.watch"]
    assert Assigned.watch.name == "watch"


async def test_the_short_name_is_in_reports() -> None:
    """Tasks are called after the shortlabel, in tracebacks and in the error of a stop that took too long."""

    class Stuck(Named):
        @Service.task
        async def work(self) -> None:
            await anyio.sleep_forever()

        async def on_stop(self) -> None:
            await anyio.sleep_forever()

    service = Stuck()
    await service.start()
    await anyio.wait_all_tasks_blocked()
    assert list(service.tracebacks()) == ["Short.work"]
    assert service.human_tracebacks().startswith("Short: Short.work\n")
    with pytest.raises(ShutdownTimeout, match=r"Short did not stop within 0\.02 s") as caught:
        await service.stop()
    assert [stuck.owner for stuck in caught.value.stuck] == ["Short"]
    assert caught.value.label == "Short"


async def test_the_long_name_is_in_the_repr() -> None:
    """The repr has the label."""
    assert repr(Named()) == "<Named: a long one: init>"


async def test_the_name_of_an_itertimer_is_that_of_its_service() -> None:
    """A loop over ticks is called after its service, or as it is told to be."""
    told: list[LifecycleEvent] = []
    names: list[str] = []

    async def overrun(service: Service, name: str) -> None:
        told.clear()
        async for _ in service.itertimer(0.005, name=name):  # pragma: no branch - left by break
            if any(isinstance(event, TicksSkipped) for event in told):
                break
            await anyio.sleep(0.012)
        names.extend(event.timer for event in told if isinstance(event, TicksSkipped))

    unsubscribe = subscribe(told.append)
    try:
        async with Named() as service:
            with anyio.fail_after(10.0):
                await overrun(service, "")
                await overrun(service, "polling")
    finally:
        unsubscribe()
    assert names == ["Short", "polling"]


async def test_the_names_of_tasks_in_events() -> None:
    """The end of a task is told under the name that reports have for it."""
    told: list[LifecycleEvent] = []

    class Quick(Named):
        @Service.task
        async def work(self) -> None:
            """End at once."""

    unsubscribe = subscribe(told.append)
    try:
        async with Quick() as service:
            service.add_future(anyio.sleep(0), name="nap")
            await anyio.wait_all_tasks_blocked()
    finally:
        unsubscribe()
    ended = {event.task for event in told if isinstance(event, TaskEnded)}
    assert ended == {"Short.work", "nap"}


class Unreadable:
    """Can't be made text."""

    def __str__(self) -> str:
        raise ValueError("no text")


class Forgetful(Service):
    """Its label lacks a @property."""

    def label(self) -> str:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return "forgetful"


class Strange(Service):
    """Its label is no text."""

    @property
    def label(self) -> Any:
        return Unreadable()


class ForgetfulThread(Forgetful, ServiceThread):  # pyright: ignore[reportIncompatibleVariableOverride]
    """The same in a thread."""


@pytest.mark.parametrize("how", ["block", "start", "child", "group", "add", "supervised"])
@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        (Forgetful, "put @property before it"),
        (Strange, "return a str"),
        (ForgetfulThread, "put @"),
    ],
)
async def test_a_label_that_is_no_text(kind: type[Service], remedy: str, how: str) -> None:
    """It makes the start fail, at once, and the error says what to do."""
    with pytest.raises(TypeError, match=f"the label of {kind.__qualname__} is no str.*{remedy}"):
        await start_somehow(kind(), how)


async def start_somehow(service: Service, how: str) -> None:
    """Start a service alone, or under another one."""
    if how == "start":
        await service.start()
        return
    if how == "supervised":
        async with OneForOneSupervisor(service):
            return
    owner = service if how == "block" else Service()
    if how == "child":
        owner.add_dependency(service)
    if how == "group":
        owner.add_dependency_group(service, Service())
    async with owner:
        if how == "add":
            await owner.add_runtime_dependency(service)
