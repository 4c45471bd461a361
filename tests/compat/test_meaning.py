"""What is reached through mode's names has mode's own meaning where structmode's laws differ, on every backend."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property
from typing import Any

import anyio
import pytest

import structmode
from structmode.compat.faces.debug import BlockingDetector
from structmode.compat.faces.proxy import ServiceProxy
from structmode.compat.faces.services import Service
from structmode.compat.faces.supervisors import OneForOneSupervisor
from structmode.compat.faces.threads import ServiceThread
from structmode.testing import wait_for_state


class Base(Service):
    """Says nothing of its life."""

    mundane_level = "debug"


class Brittle(Base):
    """Fails in its task, once it is told to; takes notes."""

    def __init__(self, **kwargs: Any) -> None:
        self.notes: list[str] = []
        self.fails = anyio.Event()
        super().__init__(**kwargs)

    async def on_start(self) -> None:
        self.notes.append("start")

    async def on_stop(self) -> None:
        self.notes.append("stop")

    @Service.task
    async def fail(self) -> None:
        await self.fails.wait()
        self.fails = anyio.Event()
        raise ValueError("broken")


async def until(condition: Callable[[], object]) -> None:
    """Look again and again until something has come about."""
    while not condition():
        await anyio.sleep(0.001)


async def break_down(service: Any) -> None:
    """Have a service crash, and wait until it has."""
    service.fails.set()
    await until(lambda: service.crashed)


async def test_a_crash_is_recorded_and_not_raised(caplog: pytest.LogCaptureFixture) -> None:
    """The body goes on, the service says what happened, and the log does; the block ends as if all were well."""
    service = Brittle()
    async with service as entered:
        assert entered is service
        await break_down(service)
        assert service.crashed
        assert service.should_stop
        assert service.state == "crashed"
        assert repr(service.crash_reason) == "ValueError('broken')"
        await anyio.sleep(0)  # nothing cancels the body
        service.notes.append("body")
    assert service.notes.index("body") > 0
    assert "Crashed in Brittle.fail: ValueError('broken')" in caplog.text


async def test_the_record_outlasts_the_block() -> None:
    """Otherwise nobody could ask after it; the next start, and a reset, wipe it out."""
    service = Brittle()
    async with service:
        await break_down(service)
    assert service.crashed
    assert repr(service.crash_reason) == "ValueError('broken')"
    assert service.state == "init"
    assert not service.started
    assert not service.should_stop
    async with service:
        assert not service.crashed
        await break_down(service)
    service.service_reset()
    assert not service.crashed
    assert service.notes == ["start", "stop"] * 2


async def test_a_crash_reaches_those_above_and_is_raised_nowhere() -> None:
    """The whole tree knows of the crash of a child, up to the one in the block."""

    class Parent(Base):
        def __post_init__(self) -> None:
            self.child = self.add_dependency(Brittle())

    parent = Parent()
    async with parent:
        await break_down(parent.child)
        assert parent.crash_reason is parent.child.crash_reason
    assert parent.child.notes == ["start", "stop"]


async def test_what_leaves_the_body_leaves_the_block() -> None:
    """An exception of the body is raised as ever, also after a crash."""
    service = Brittle()
    with pytest.raises(KeyError, match="mine"):
        async with service:
            await break_down(service)
            raise KeyError("mine")
    assert service.notes == ["start", "stop"]


async def test_cancellation_from_outside_is_an_orderly_stop() -> None:
    """What is around the block may be cancelled: all is stopped in order when the block has been left."""
    service = Brittle()
    with anyio.CancelScope() as scope:
        async with service:
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert service.notes == ["start", "stop"]
    assert not service.started


async def test_a_failed_start_is_raised() -> None:
    """That is so in mode, too."""

    class Unable(Base):
        async def on_start(self) -> None:
            raise OSError("no")

    service = Unable()
    with pytest.raises(OSError, match="no"):
        async with service:
            raise AssertionError
    assert not service.started


async def test_a_task_that_fails_at_once_fails_no_start() -> None:
    """Only what a hook raises does that: the start goes on to its end, and the crash is recorded at once."""

    class Hasty(Base):
        def __post_init__(self) -> None:
            self.notes: list[object] = []
            self.child = self.add_dependency(Brittle())

        async def on_started(self) -> None:
            self.notes.append(self.crashed)
            await self.sleep(100.0)  # no longer than the crash allows
            self.notes.append(self.child.state)

        async def on_stop(self) -> None:
            self.notes.append("stop")

        @Service.task
        async def fail(self) -> None:
            raise ValueError("broken")

    service = Hasty()
    async with service:
        assert service.notes[:2] == [True, "running"]
        await service.wait_until_stopped()
        await wait_for_state(service, "crashed")
        assert repr(service.crash_reason) == "ValueError('broken')"
    assert service.notes == [True, "running", "stop"]
    assert service.child.notes == ["start", "stop"]


async def test_a_task_that_fails_at_once_fails_no_stop() -> None:
    """Not even if the block is left at once."""

    class Hasty(Base):
        @Service.task
        async def fail(self) -> None:
            raise ValueError("broken")

    service = Hasty()
    async with service:
        pass
    assert repr(service.crash_reason) == "ValueError('broken')"


class Brief(Base):
    """Has done its work in its first step."""

    def __post_init__(self) -> None:
        self.notes: list[object] = []

    async def on_started(self) -> None:
        await self.wait_until_stopped()
        self.notes.append("started")

    async def on_stop(self) -> None:
        self.notes.append("stop")

    @Service.task
    async def work(self) -> None:
        await self.stop()


class BriefThread(Brief, ServiceThread):
    """The same in a thread of its own."""


@pytest.mark.parametrize("cls", [Brief, BriefThread])
@pytest.mark.parametrize("how", ["start", "block", "child"])
async def test_a_task_that_stops_its_service_at_once_fails_no_start(
    cls: type[Brief], how: str
) -> None:
    """The start goes on to its end, and the stop follows."""
    service, above = cls(), Base()
    if how == "start":
        await service.start()
        assert service.should_stop
    elif how == "block":
        async with service:
            await until(lambda: service.should_stop)
    else:
        above.add_dependency(service)
        await above.start()
        assert above.state == "running"
    await until(lambda: service.state in {"shutdown", "init"})
    assert service.notes == ["started", "stop"]
    assert not service.crashed
    await above.stop()


async def test_a_task_below_that_stops_a_service_at_once_fails_no_start() -> None:
    """As one of a program that stops its worker."""

    class Below(Base):
        above: Service

        @Service.task
        async def work(self) -> None:
            await self.above.stop()

    above, below, later = Brief(), Below(), Base()
    below.above = above
    above.add_dependency(below)
    above.add_dependency(later)
    await above.start()
    assert later.started
    await until(lambda: above.state == "shutdown")
    assert above.notes == ["started", "stop"]


async def test_a_start_that_fails_meanwhile_fails() -> None:
    """A task that has told the service to stop is ended with what else was begun."""

    class Failing(Brief):
        async def on_started(self) -> None:
            raise OSError("no connection")

    service = Failing()
    with pytest.raises(OSError, match="no connection"):
        await service.start()
    assert service.state == "init"


async def test_a_task_that_fails_in_a_stop_fails_it_not(caplog: pytest.LogCaptureFixture) -> None:
    """That is a crash, too, which is recorded; what a hook raises leaves the block."""

    class Sore(Base):
        @Service.task
        async def fail(self) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                raise ValueError("broken")

    class Above(Base):
        def __post_init__(self) -> None:
            self.child = self.add_dependency(Sore())

        async def on_shutdown(self) -> None:
            if self.restart_count:
                raise OSError("in a hook")

    above = Above()
    async with above:
        assert not above.crashed
    assert repr(above.crash_reason) == "ValueError('broken')"
    assert "ValueError: broken" in caplog.text
    with pytest.raises(OSError, match="in a hook"):
        async with above:
            assert not above.crashed


class Alerting(Base):
    """Tells of its crashes."""

    def __post_init__(self) -> None:
        self.fails = threading.Event()
        self.alerts: list[object] = []

    async def on_start(self) -> None:
        self.fails.clear()

    async def crash(self, reason: BaseException) -> None:
        self.alerts.append(repr(reason))
        await super().crash(reason)
        self.alerts.append(self.crashed)

    @Service.task
    async def fail(self) -> None:
        while not self.fails.is_set():
            await anyio.sleep(0.001)
        raise ValueError("broken")


class AlertingThread(Alerting, ServiceThread):
    """The same in a thread of its own."""


@pytest.mark.parametrize("cls", [Alerting, AlertingThread])
async def test_a_crash_that_a_class_overrides_is_called_for_each_failure(
    cls: type[Alerting],
) -> None:
    """Of its own work only: what crashes those above is no call of theirs, in mode either."""
    above, service = Alerting(), cls()
    above.add_dependency(service)
    async with above:
        service.fails.set()
        await until(lambda: len(service.alerts) == 2)
        await until(lambda: above.crashed)
        assert repr(service.crash_reason) == "ValueError('broken')"
    assert service.alerts == ["ValueError('broken')", True]
    assert above.alerts == []


async def test_a_crash_that_a_class_overrides_fails_no_start_and_no_stop() -> None:
    """Nor does what it passes on."""

    class Hasty(Alerting):
        async def on_started(self) -> None:
            self.fails.set()
            await self.wait_until_stopped()

    class Sore(Alerting):
        @Service.task
        async def fail(self) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                raise ValueError("broken")

    for service in (Hasty(), Sore()):
        async with service:
            pass
        assert service.alerts == ["ValueError('broken')", True]
        assert repr(service.crash_reason) == "ValueError('broken')"


async def test_a_crash_that_a_class_overrides_may_be_none() -> None:
    """What it does not pass on is over; and what it raises is a crash."""

    class Lenient(Alerting):
        async def crash(self, reason: BaseException) -> None:
            self.alerts.append(repr(reason))

    class Clumsy(Alerting):
        async def crash(self, reason: BaseException) -> None:
            raise OSError("no operator")

    async with Lenient() as service:
        service.fails.set()
        await until(lambda: service.alerts)
        assert not service.crashed
        assert service.state == "running"
    async with Clumsy() as clumsy:
        clumsy.fails.set()
        await until(lambda: clumsy.crashed)
        assert repr(clumsy.crash_reason) == "OSError('no operator')"


async def test_a_crash_that_a_class_overrides_reaches_the_supervisor() -> None:
    """As any other does."""
    service = Alerting()
    async with OneForOneSupervisor(service):
        service.fails.set()
        await until(lambda: service.restart_count == 1)
    assert service.alerts[0] == "ValueError('broken')"


@pytest.mark.parametrize("call", ["crash", "_crash", "add_future"])
async def test_a_crash_in_a_hook_fails_no_start(call: str) -> None:
    """Nor does one in the start of a service above: they are up, and crash then."""

    class Failing(Base):
        async def on_started(self) -> None:
            reason = ValueError("broken")
            if call == "crash":
                await self.crash(reason)
            elif call == "_crash":
                self._crash(reason)
            else:
                self.add_future(self.raise_it(reason))
                await self.wait_until_stopped()
            assert self.crashed
            assert self.should_stop

        async def raise_it(self, reason: Exception) -> None:
            raise reason

    class Above(Base):
        def __post_init__(self) -> None:
            self.child = self.add_dependency(Failing())
            self.ready = False

        async def on_started(self) -> None:
            await self.sleep(100.0)
            self.ready = self.crashed and self.child.crashed

    service = Above()
    async with service:
        assert service.ready
        await wait_for_state(service, "crashed")
        assert repr(service.child.crash_reason) == "ValueError('broken')"
    assert service.crashed


async def test_a_crash_needs_a_reason() -> None:
    """What is no exception is refused in a start as ever."""
    wrong: Any = "text"

    class Failing(Base):
        async def on_started(self) -> None:
            await self.crash(wrong)

    with pytest.raises(TypeError, match="crash\\(\\) takes the exception"):
        await Failing().start()


async def test_a_service_has_a_loop_where_there_are_loops() -> None:
    """On asyncio, the running one; on trio an error says what to use instead, as in structmode."""
    async with Base() as service:
        try:
            loop = service.loop
        except RuntimeError as exc:
            assert "What works on every backend" in str(exc)
        else:
            assert loop.is_running()


async def test_a_start_that_is_undone_tells_what_crashed_meanwhile(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A crash that waits for the end of a start is not lost when the start fails for another reason."""

    class Failing(Base):
        async def on_started(self) -> None:
            await self.crash(ValueError("first"))
            await anyio.sleep(0)
            raise OSError("second")

    with pytest.raises(OSError, match="second"):
        await Failing().start()
    assert "ValueError('first')" in caplog.text


async def test_a_supervised_service_that_fails_at_once_is_restarted() -> None:
    """Its start is complete in mode's eyes, so that its supervisor deals with the crash, wherever that itself is."""

    class Hasty(Base):
        runs = 0

        @Service.task
        async def fail(self) -> None:
            self.runs += 1
            if self.runs == 1:
                raise ValueError("broken")

    class Above(Base):
        def __post_init__(self) -> None:
            self.service = Hasty()
            self.strategy = self.add_dependency(OneForOneSupervisor(self.service))

    async with Above() as above:
        await until(lambda: above.service.runs == 2)
        assert not above.crashed
        assert not above.strategy.crashed


async def test_what_add_future_returns_can_be_awaited() -> None:
    """On asyncio that is a future of asyncio's, as in mode; elsewhere, structmode's handle."""

    async def work() -> int:
        return 1

    async with Base() as service:
        assert await service.add_future(work()) == 1


async def test_a_crash_reaches_a_supervisor() -> None:
    """It restarts the service, and is not concerned itself."""
    service = Brittle()
    async with OneForOneSupervisor(service, max_restarts=3, over=60) as supervisor:
        service.fails.set()
        await until(lambda: service.restart_count)
        await wait_for_state(service, "running")
        assert not supervisor.crashed
    assert service.notes == ["start", "stop"] * 2


async def test_services_of_structmode_keep_its_laws() -> None:
    """Beside services of mode's, and above and below them: what is made of structmode's names raises its crashes."""

    class Own(structmode.Service):
        mundane_level = "debug"

        def __post_init__(self) -> None:
            self.child = self.add_dependency(Brittle())

    own = Own()
    with pytest.raises(ValueError, match="broken"):
        async with own:
            own.child.fails.set()
            await anyio.sleep_forever()


async def test_a_service_of_structmode_below_one_of_modes() -> None:
    """Its crash is recorded, for whoever owns a service decides what becomes of it."""

    class Own(structmode.Service):
        mundane_level = "debug"

        def __post_init__(self) -> None:
            self.fails = anyio.Event()

        @structmode.Service.task
        async def fail(self) -> None:
            await self.fails.wait()
            raise ValueError("broken")

    class Parent(Base):
        def __post_init__(self) -> None:
            self.child = self.add_dependency(Own())

    async with Parent() as parent:
        await break_down(parent.child)
        assert parent.crash_reason is parent.child.crash_reason


async def test_other_services_of_modes_have_its_meaning_too() -> None:
    """Such as the detector of what blocks."""
    async with BlockingDetector(timeout=10.0) as detector:
        await detector.crash(ValueError("broken"))
        assert detector.crashed
    assert detector.crashed


async def test_the_crash_of_a_thread_is_recorded_too() -> None:
    """On the owner's side, where the block is."""

    class Thread(ServiceThread):
        mundane_level = "debug"

        @Service.task
        async def fail(self) -> None:
            raise ValueError("broken")

    async with Thread() as service:
        await until(lambda: service.crashed)
        assert repr(service.crash_reason) == "ValueError('broken')"
    assert service.crashed


async def test_a_proxy_has_the_meaning_of_what_is_behind_it() -> None:
    """And lets reach its private names."""
    service = Brittle()

    class Proxy(ServiceProxy):
        @cached_property
        def _service(self) -> Service:
            return service

    proxy: Any = Proxy()
    async with proxy:
        proxy._crash(ValueError("broken"))
        assert proxy.crashed
        assert proxy._crash_reason is service.crash_reason
    with pytest.raises(AttributeError, match="'Proxy' object has no attribute '__nothing__'"):
        _ = proxy.__nothing__
    with pytest.raises(AttributeError, match="nothing"):
        _ = proxy.nothing
