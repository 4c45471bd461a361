"""The life of a service: start, stop, restart, crash, and what it says of itself meanwhile."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

import anyio
import pytest

from structmode import LifecycleError, Service, ShutdownTimeout, StartAborted

Act = Callable[["Staged"], Awaitable[None]]


class Staged(Service):
    """Notes each hook in a journal, and does there what a test wants done."""

    def __init__(self, **acts: Act) -> None:
        self.acts = acts
        self.journal: list[str] = []
        super().__init__()

    async def _play(self, hook: str) -> None:
        self.journal.append(hook)
        if hook in self.acts:
            await self.acts[hook](self)

    async def on_first_start(self) -> None:
        await self._play("on_first_start")

    async def on_start(self) -> None:
        await self._play("on_start")

    async def on_started(self) -> None:
        await self._play("on_started")

    async def on_stop(self) -> None:
        await self._play("on_stop")

    async def on_shutdown(self) -> None:
        await self._play("on_shutdown")

    async def on_restart(self) -> None:
        await self._play("on_restart")


class Gate:
    """An act that tells that it has begun, and goes on when it may."""

    def __init__(self) -> None:
        self.reached = anyio.Event()
        self.open = anyio.Event()

    async def __call__(self, _service: Service) -> None:
        self.reached.set()
        await self.open.wait()


def failing(exc: BaseException) -> Act:
    """Return an act that raises."""

    async def fail(_service: Service) -> None:
        raise exc

    return fail


# --- start ----------------------------------------------------------------------------------------


async def test_start_returns_when_started() -> None:
    """start() returns when on_started has returned, not before."""
    gate = Gate()
    service = Staged(on_started=gate)
    returned = anyio.Event()

    async def start() -> None:
        await service.start()
        returned.set()

    async with anyio.create_task_group() as group:
        group.start_soon(start)
        await gate.reached.wait()
        await anyio.wait_all_tasks_blocked()
        assert not returned.is_set()
        gate.open.set()
        await returned.wait()
        assert service.state == "running"
        await service.stop()
    assert service.journal == [
        "on_first_start",
        "on_start",
        "on_started",
        "on_stop",
        "on_shutdown",
    ]


async def test_starts_again_after_a_stop() -> None:
    """A service that was stopped may be started again, with nothing of the first run left."""
    service = Staged()
    await service.start()
    await service.stop()
    service.journal.clear()
    await service.start()
    assert (service.state, service.started, service.should_stop) == ("running", True, False)
    await service.stop()
    assert service.journal == ["on_start", "on_started", "on_stop", "on_shutdown"]


async def test_failed_start_may_be_repeated() -> None:
    """After a failed start the service is as if never started, and a second start succeeds."""
    boom = ValueError("no database")
    service = Staged(on_start=failing(boom))
    with pytest.raises(ValueError, match="no database") as caught:
        await service.start()
    assert caught.value is boom
    assert (service.state, service.started, service.crashed) == ("init", False, False)
    del service.acts["on_start"]
    async with service:
        assert service.state == "running"
    assert service.journal.count("on_first_start") == 2


async def test_start_of_a_child_in_a_running_parent() -> None:
    """A child that was only registered may be started by hand, and then stops with its parent."""
    parent, child = Staged(), Staged()
    async with parent:
        parent.add_dependency(child)
        assert not child.started
        await child.start()
        assert child.started
    assert child.state == "shutdown"


async def test_start_of_a_child_whose_parent_does_not_run() -> None:
    """Without a running parent a child's start is a bare start, and the parent stays as it is."""
    parent, child = Staged(), Staged()
    parent.add_dependency(child)
    await child.start()
    assert (child.state, parent.state) == ("running", "init")
    await child.stop()
    assert child.state == "shutdown"


async def test_a_parent_refuses_a_child_that_runs_on_its_own() -> None:
    """A parent can't start if its child runs elsewhere by then, and says so; the child runs on."""
    parent, child = Staged(), Staged()
    parent.add_dependency(child)
    await child.start()
    with pytest.raises(LifecycleError, match=r"Staged can't be started by Staged"):
        await parent.start()
    assert (child.state, parent.state) == ("running", "init")
    await child.stop()


# --- maybe_start ----------------------------------------------------------------------------------


async def test_maybe_start_tells_who_started_it() -> None:
    """maybe_start() is True if that call started the service, and False if it ran already."""
    service = Staged()
    assert await service.maybe_start() is True
    assert await service.maybe_start() is False
    await service.stop()
    assert await service.maybe_start() is True
    await service.stop()


async def test_maybe_start_waits_for_another_start() -> None:
    """Of many that want it started one starts it, and all go on only when it is up."""
    gate = Gate()
    service = Staged(on_started=gate)
    results: list[tuple[bool, str]] = []

    async def want() -> None:
        started = await service.maybe_start()
        results.append((started, service.state))

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(want)
        await gate.reached.wait()
        await anyio.wait_all_tasks_blocked()
        assert results == []
        gate.open.set()
    assert sorted(results) == [(False, "running")] * 4 + [(True, "running")]
    assert service.journal.count("on_start") == 1
    await service.stop()


async def test_maybe_start_shares_a_failed_start() -> None:
    """All that wait for the same start get the error that made it fail."""
    gate = Gate()
    boom = OSError("port in use")

    async def wait_and_fail(service: Service) -> None:
        await gate(service)
        raise boom

    service = Staged(on_start=wait_and_fail)
    errors: list[BaseException] = []

    async def want() -> None:
        try:
            await service.maybe_start()
        except OSError as exc:
            errors.append(exc)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(want)
        await gate.reached.wait()
        await anyio.wait_all_tasks_blocked()
        gate.open.set()
    assert errors == [boom, boom, boom]
    assert service.state == "init"


async def test_maybe_start_that_only_waits_may_give_up() -> None:
    """A task that waits for somebody else's start may be cancelled without undoing that start."""
    gate = Gate()
    service = Staged(on_start=gate)
    async with anyio.create_task_group() as group:
        group.start_soon(service.start)
        await gate.reached.wait()
        with anyio.move_on_after(0.01) as scope:
            await service.maybe_start()
        assert scope.cancelled_caught
        assert service.state == "starting"
        gate.open.set()
    assert service.state == "running"
    await service.stop()


@pytest.mark.parametrize(
    "hook", ["on_first_start", "on_start", "on_started", "on_stop", "on_shutdown"]
)
async def test_maybe_start_in_a_hook(hook: str) -> None:
    """In a hook of its own a service runs already: maybe_start() returns False and never waits."""
    answers: list[bool] = []

    async def ask(service: Staged) -> None:
        answers.append(await service.maybe_start())

    async with Staged(**{hook: ask}):
        pass
    assert answers == [False]


async def test_maybe_start_in_a_task() -> None:
    """A task that runs before its service has started may call maybe_start() without waiting for itself."""
    answers: list[bool] = []

    class Eager(Service):
        @Service.task
        async def ask(self) -> None:
            answers.append(await self.maybe_start())

        async def on_started(self) -> None:
            while not answers:
                await anyio.lowlevel.checkpoint()

    async with Eager():
        pass
    assert answers == [False]


async def test_maybe_start_of_a_child_runs_it_in_its_parent() -> None:
    """maybe_start() of a child of a running service gives it that owner."""
    parent, child = Staged(), Staged()
    async with parent:
        parent.add_dependency(child)
        assert await child.maybe_start() is True
    assert child.state == "shutdown"


# --- stop -----------------------------------------------------------------------------------------


async def test_stop_before_a_start_does_nothing() -> None:
    """Stopping what does not run does nothing, and does not spoil a later start."""
    service = Staged()
    await service.stop()
    assert (service.state, service.should_stop, service.journal) == ("init", False, [])
    await service.start()
    assert service.state == "running"
    await service.stop()
    service.journal.clear()
    await service.stop()
    assert service.journal == []


async def test_stop_during_a_start_aborts_it() -> None:
    """A start that is stopped meanwhile raises StartAborted, is undone, and may be repeated."""
    gate = Gate()
    service = Staged(on_started=gate)
    aborted: list[StartAborted] = []

    async def start() -> None:
        try:
            await service.start()
        except StartAborted as exc:
            aborted.append(exc)

    async with anyio.create_task_group() as group:
        group.start_soon(start)
        await gate.reached.wait()
        await service.stop()
        assert service.state == "init"
    assert [exc.label for exc in aborted] == ["Staged"]
    assert "Staged was stopped before it had started" in str(aborted[0])
    assert service.journal == [
        "on_first_start",
        "on_start",
        "on_started",
        "on_stop",
        "on_shutdown",
    ]
    gate.open.set()
    await service.start()
    await service.stop()
    assert service.journal.count("on_first_start") == 2


@pytest.mark.parametrize("hook", ["on_first_start", "on_start"])
async def test_stop_in_a_starting_hook_aborts_the_start(hook: str) -> None:
    """A service may call off its own start: stop() in the hook returns, and the start raises StartAborted."""
    after: list[str] = []

    async def call_off(service: Staged) -> None:
        await service.stop()
        after.append(service.state)

    service = Staged(**{hook: call_off})
    with pytest.raises(StartAborted):
        await service.start()
    assert after == ["stopping"]
    assert (service.state, service.crashed, service.failures) == ("init", False, ())


async def test_stop_in_on_started_follows_the_start() -> None:
    """In on_started the start is as good as complete: stop() there lets start() return, and the stop follows."""

    async def stop(service: Staged) -> None:
        await service.stop()

    service = Staged(on_started=stop)
    await service.start()
    await service.stop()
    assert (service.state, service.failures) == ("shutdown", ())
    assert service.journal[-2:] == ["on_stop", "on_shutdown"]


async def test_what_stop_raises() -> None:
    """What goes wrong in the stop of a healthy service leaves stop(), after the stop was completed."""
    boom = OSError("disk full")
    service = Staged(on_stop=failing(boom))
    await service.start()
    with pytest.raises(OSError, match="disk full") as caught:
        await service.stop()
    assert caught.value is boom
    assert service.journal[-2:] == ["on_stop", "on_shutdown"]
    assert (service.state, service.crashed, service.failures) == ("shutdown", False, (boom,))
    await service.stop()


async def test_every_caller_gets_what_stop_raises() -> None:
    """All that wait for the same stop get its error."""
    boom = OSError("disk full")
    gate = Gate()

    async def wait_and_fail(service: Service) -> None:
        await gate(service)
        raise boom

    service = Staged(on_shutdown=wait_and_fail)
    await service.start()
    errors: list[BaseException] = []

    async def stop() -> None:
        try:
            await service.stop()
        except OSError as exc:
            errors.append(exc)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(stop)
        await gate.reached.wait()
        await anyio.wait_all_tasks_blocked()
        gate.open.set()
    assert errors == [boom, boom, boom]


async def test_a_stop_error_leaves_the_block() -> None:
    """What goes wrong in the stop at the end of a block leaves the block."""
    boom = OSError("disk full")
    with pytest.raises(OSError, match="disk full") as caught:
        async with Staged(on_stop=failing(boom)):
            pass
    assert caught.value is boom


async def test_a_stop_error_that_was_received_does_not_leave_the_block_again() -> None:
    """A block whose body has stopped the service, and seen the error, ends well."""
    async with Staged(on_stop=failing(OSError("disk full"))) as service:
        with pytest.raises(OSError, match="disk full"):
            await service.stop()
    assert service.state == "shutdown"


async def test_a_stop_error_that_nobody_waits_for_reaches_the_owner() -> None:
    """A service that stops itself, and fails at that, crashes its owner: the body is cancelled, the error leaves."""
    boom = OSError("disk full")

    class Quits(Staged):
        @Service.task
        async def quit_soon(self) -> None:
            await self.stop()

    with pytest.raises(OSError, match="disk full") as caught:
        async with Quits(on_stop=failing(boom)):
            await anyio.sleep_forever()  # pragma: no cover - is ended before
    assert caught.value is boom


async def test_stop_in_the_body_of_a_block() -> None:
    """A body may stop its service and go on: the block ends without a second stop."""
    async with Staged() as service:
        await service.stop()
        assert service.state == "shutdown"
        await anyio.lowlevel.checkpoint()
    assert service.journal.count("on_stop") == 1


async def test_start_again_in_the_body_of_a_block() -> None:
    """A service that is started again in the body of its block is owned by that block, and stopped with it."""
    async with Staged() as service:
        await service.stop()
        await service.start()
        assert service.state == "running"
    assert service.state == "shutdown"
    assert service.journal.count("on_stop") == 2


async def test_a_crash_after_a_second_start_leaves_the_block() -> None:
    """The block receives the crash of each run it owns, the second too."""
    with pytest.raises(ValueError, match="second run"):
        async with Staged() as service:
            await service.stop()
            await service.start()
            await service.crash(ValueError("second run"))
            await anyio.sleep_forever()


async def test_stop_after_a_crash_returns_quietly() -> None:
    """The crash leaves through the owner; whoever calls stop() meanwhile just waits for the end."""
    boom = ValueError("boom")
    with pytest.raises(ValueError, match="boom"):
        async with Staged() as service:
            await service.crash(boom)
            with anyio.CancelScope(shield=True):
                await service.stop()
            assert service.journal[-1] == "on_shutdown"
            await anyio.sleep_forever()
    await service.stop()


# --- async with -----------------------------------------------------------------------------------


async def test_the_block_gives_the_service() -> None:
    """`async with` gives the service itself, started; after the block it has stopped."""
    service = Staged()
    async with service as given:
        assert given is service
        assert service.state == "running"
    assert service.state == "shutdown"


async def test_a_service_may_have_one_block_after_another() -> None:
    """A service can be used in many blocks, one after the other."""
    service = Staged()
    for _ in range(3):
        async with service:
            assert service.state == "running"
    assert service.journal.count("on_start") == 3
    assert service.journal.count("on_first_start") == 1


async def test_what_leaves_the_body_leaves_the_block() -> None:
    """An exception in the body stops the service in order and leaves as it was raised, in no group."""
    boom = KeyError("body")
    service = Staged()
    with pytest.raises(KeyError) as caught:
        async with service:
            raise boom
    assert caught.value is boom
    assert service.journal[-2:] == ["on_stop", "on_shutdown"]
    assert (service.state, service.crashed) == ("shutdown", False)


async def test_an_exception_group_of_the_body_stays_as_it_is() -> None:
    """A group that the body raises is not unpacked, nor wrapped again."""
    group = ExceptionGroup("many", [ValueError(1), TypeError(2)])
    with pytest.raises(ExceptionGroup) as caught:
        async with Staged():
            raise group
    assert caught.value is group
    assert len(caught.value.exceptions) == 2


async def test_an_error_of_the_body_comes_before_that_of_the_stop() -> None:
    """If body and stop both fail, the body's error, the first, leaves, with a note of the other."""
    boom = KeyError("body")
    with pytest.raises(KeyError) as caught:
        async with Staged(on_stop=failing(OSError("disk full"))):
            raise boom
    assert caught.value is boom
    assert any("disk full" in note for note in boom.__notes__)


async def test_a_failed_start_leaves_the_block_at_its_beginning() -> None:
    """If the start fails the body does not run, and the error leaves as it was raised."""
    boom = OSError("port in use")
    service = Staged(on_start=failing(boom))
    with pytest.raises(OSError, match="port in use") as caught:
        async with service:
            pytest.fail("the body ran")
    assert caught.value is boom
    assert service.state == "init"


async def test_return_out_of_a_block() -> None:
    """Leaving the body by return, break or continue stops the service like its end does."""
    service = Staged()

    async def body() -> int:
        async with service:
            return 42

    assert await body() == 42
    assert service.state == "shutdown"
    for _ in range(2):
        async with service:
            continue
    assert service.state == "shutdown"


# --- crash ----------------------------------------------------------------------------------------


async def test_crash_leaves_the_block() -> None:
    """crash() makes the service stop in order, cancels the body, and its reason leaves the block."""
    boom = ValueError("boom")
    service = Staged()
    with pytest.raises(ValueError, match="boom") as caught:
        async with service:
            await service.crash(boom)
            assert (service.crashed, service.crash_reason, service.should_stop) == (
                True,
                boom,
                True,
            )
            assert service.state == "crashed"
            await anyio.sleep_forever()
    assert caught.value is boom
    assert service.journal[-2:] == ["on_stop", "on_shutdown"]
    assert (service.state, service.started, service.failures) == ("crashed", False, (boom,))


@pytest.mark.parametrize("reason", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
async def test_crash_with_any_exception(reason: BaseException) -> None:
    """The reason of a crash may be any exception, and leaves as it is."""
    with pytest.raises(type(reason)) as caught:
        async with Staged() as service:
            await service.crash(reason)
            await anyio.sleep_forever()
    assert caught.value is reason


async def test_the_first_crash_counts() -> None:
    """Of several crashes the first is the reason; the others are kept, and noted on it."""
    first, second = ValueError("first"), TypeError("second")

    async def crash(service: Service) -> None:
        for reason in (first, second, first):
            await service.crash(reason)
        gate.open.set()

    gate = Gate()
    async with anyio.create_task_group() as group:
        with pytest.raises(ValueError, match="first") as caught:
            async with Staged(on_stop=gate) as service:
                group.start_soon(crash, service)
                await anyio.sleep_forever()
    assert caught.value is first
    assert service.crash_reason is first
    assert service.failures == (first, second)
    assert len(first.__notes__) == 1
    assert "TypeError('second')" in first.__notes__[0]


async def test_crash_during_the_start_makes_it_fail() -> None:
    """A crash while it starts is why the start fails: no crash remains."""
    boom = ValueError("boom")
    gate = Gate()
    service = Staged(on_started=gate)
    async with anyio.create_task_group() as group:

        async def crash() -> None:
            await gate.reached.wait()
            await service.crash(boom)

        group.start_soon(crash)
        with pytest.raises(ValueError, match="boom") as caught:
            await service.start()
    assert caught.value is boom
    assert (service.state, service.crashed) == ("init", False)


async def test_crash_during_the_stop_leaves_stop() -> None:
    """A crash while it stops is what stop() raises; the stop goes on to its end."""
    boom = ValueError("boom")

    async def crash(service: Staged) -> None:
        await service.crash(boom)

    service = Staged(on_stop=crash)
    await service.start()
    with pytest.raises(ValueError, match="boom") as caught:
        await service.stop()
    assert caught.value is boom
    assert service.journal[-1] == "on_shutdown"
    assert service.failures == (boom,)


async def test_crash_of_what_does_not_run_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What does not run can't crash: the reason is logged with its traceback, and nothing changes."""
    service = Staged()
    await service.crash(ValueError("early"))
    assert (service.state, service.crashed, service.failures) == ("init", False, ())
    async with service:
        pass
    await service.crash(ValueError("late"))
    assert (service.state, service.crashed) == ("shutdown", False)
    records = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [
        record.exc_info[1].args for record in records if record.exc_info and record.exc_info[1]
    ] == [
        ("early",),
        ("late",),
    ]


async def test_crash_wakes_who_waits() -> None:
    """A crash sets should_stop before crash() has returned, so whoever looks next sees it."""
    seen: list[bool] = []
    with pytest.raises(ValueError, match="boom"):
        async with Staged() as service:
            await service.crash(ValueError("boom"))
            seen.append(service.should_stop)
            await anyio.sleep_forever()
    assert seen == [True]


@pytest.mark.parametrize("hook", ["on_first_start", "on_start", "on_started"])
async def test_crash_in_a_starting_hook(hook: str) -> None:
    """A service that crashes itself in a hook of its start fails to start, with that reason."""
    boom = ValueError("boom")

    async def crash(service: Staged) -> None:
        await service.crash(boom)

    service = Staged(**{hook: crash})
    try:
        with pytest.raises(ValueError, match="boom") as caught:
            await service.start()
    finally:
        await service.stop()
    assert caught.value is boom
    assert (service.state, service.crashed) == ("init", False)


# --- failures -------------------------------------------------------------------------------------


async def test_failures_in_order_with_notes() -> None:
    """All that went wrong is kept in order; the first leaves and bears a note on each of the others."""
    crash, stop, shutdown = ValueError("crash"), OSError("stop"), KeyError("shutdown")
    service = Staged(on_stop=failing(stop), on_shutdown=failing(shutdown))
    with pytest.raises(ValueError, match="crash") as caught:
        async with service:
            await service.crash(crash)
            await anyio.sleep_forever()
    assert caught.value is crash
    assert service.failures == (crash, stop, shutdown)
    notes = crash.__notes__
    assert len(notes) == 2
    assert "on_stop" in notes[0]
    assert "Staged" in notes[0]
    assert "OSError('stop')" in notes[0]
    assert "on_shutdown" in notes[1]
    assert "KeyError('shutdown')" in notes[1]


async def test_failures_of_a_failed_start() -> None:
    """What goes wrong while a failed start is undone is kept and noted on what made it fail."""
    start, stop = ValueError("start"), OSError("stop")
    service = Staged(on_started=failing(start), on_stop=failing(stop))
    with pytest.raises(ValueError, match="start") as caught:
        await service.start()
    assert caught.value is start
    assert service.failures == (start, stop)
    assert any("OSError('stop')" in note for note in start.__notes__)


async def test_failures_are_those_of_one_run() -> None:
    """A new run begins without failures."""
    service = Staged(on_stop=failing(OSError("disk full")))
    await service.start()
    with pytest.raises(OSError, match="disk full"):
        await service.stop()
    service.acts.clear()
    async with service:
        assert service.failures == ()
    assert service.failures == ()


def test_failures_before_a_start() -> None:
    """A service that was never started has no failures."""
    assert Staged().failures == ()


async def test_later_failures_are_logged_as_they_happen(caplog: pytest.LogCaptureFixture) -> None:
    """Each failure after the first is logged with its traceback when it happens."""
    with pytest.raises(ValueError, match="crash"):
        async with Staged(on_stop=failing(OSError("stop"))) as service:
            await service.crash(ValueError("crash"))
            await anyio.sleep_forever()
    later = [
        record for record in caplog.records if "stop" in record.getMessage() and record.exc_info
    ]
    assert len(later) == 1
    assert later[0].exc_info is not None
    assert later[0].exc_info[1] is service.failures[1]


# --- restart --------------------------------------------------------------------------------------


async def test_restart_stops_and_starts() -> None:
    """restart() stops the service, starts it again in the same owner, and returns when it has started."""
    async with Staged() as service:
        await service.restart()
        assert (service.state, service.restart_count) == ("running", 1)
        await service.restart()
        assert service.restart_count == 2
    again = ["on_stop", "on_shutdown", "on_restart", "on_start", "on_started"]
    assert service.journal == [
        "on_first_start",
        "on_start",
        "on_started",
        *again,
        *again,
        "on_stop",
        "on_shutdown",
    ]


async def test_restart_after_a_bare_start() -> None:
    """A service that was started bare restarts too, and stops when it is told to."""
    service = Staged()
    await service.start()
    await service.restart()
    assert (service.state, service.restart_count) == ("running", 1)
    await service.stop()
    assert service.state == "shutdown"


async def test_restart_of_a_stopped_service_starts_it() -> None:
    """restart() of a service that has stopped starts it, as a restart."""
    service = Staged()
    await service.start()
    await service.stop()
    service.journal.clear()
    await service.restart()
    assert (service.state, service.restart_count) == ("running", 1)
    assert service.journal == ["on_restart", "on_start", "on_started"]
    await service.stop()


async def test_restart_of_a_crashed_service() -> None:
    """restart() after a crash starts a run without the crash."""
    service = Staged()
    with pytest.raises(ValueError, match="boom"):
        async with service:
            await service.crash(ValueError("boom"))
            await anyio.sleep_forever()
    await service.restart()
    assert (service.state, service.crashed, service.failures) == ("running", False, ())
    await service.stop()


async def test_restart_of_what_was_never_started_is_a_first_start() -> None:
    """restart() of a service that never ran starts it for the first time, with all that belongs to that."""
    child = Staged()

    class Parent(Staged):
        def on_init_dependencies(self) -> list[Service]:
            return [child]

    service = Parent()
    await service.restart()
    states = (service.state, child.state)
    await service.restart()
    await service.stop()
    assert states == ("running", "running")
    assert service.journal.count("on_first_start") == 1


async def test_restart_that_fails_raises_to_its_caller() -> None:
    """If the new start fails, restart() raises that, and the owner's body goes on."""
    boom = OSError("port in use")
    async with Staged() as service:
        service.acts["on_start"] = failing(boom)
        with pytest.raises(OSError, match="port in use") as caught:
            await service.restart()
        assert caught.value is boom
        assert (service.state, service.started, service.crashed) == ("init", False, False)
        service.acts.clear()
        await service.start()
        assert service.state == "running"
    assert service.state == "shutdown"


async def test_restart_whose_stop_fails_raises_to_its_caller() -> None:
    """If the stop goes wrong, restart() raises that, and there is no new run."""
    boom = OSError("disk full")
    async with Staged(on_stop=failing(boom)) as service:
        with pytest.raises(OSError, match="disk full") as caught:
            await service.restart()
        assert caught.value is boom
        assert (service.started, service.restart_count) == (False, 0)


async def test_restart_from_a_hook_whose_start_fails_is_a_crash() -> None:
    """If nobody waits for the restart, the failure of the new start crashes the owner."""
    boom = OSError("port in use")

    async def restart(service: Staged) -> None:
        service.acts = {"on_start": failing(boom)}
        await service.restart()

    with pytest.raises(OSError, match="port in use") as caught:
        async with Staged(on_stop=restart) as service:
            await service.stop()
            await anyio.sleep_forever()
    assert caught.value is boom


async def test_restarts_at_the_same_time_are_one() -> None:
    """Tasks that restart a service at the same time share one restart."""
    async with Staged() as service:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(service.restart)
        assert (service.state, service.restart_count) == ("running", 1)


async def test_a_stop_calls_a_restart_off() -> None:
    """A stop asked while a restart is under way wins: restart() raises StartAborted."""
    gate = Gate()
    aborted: list[str] = []
    service = Staged(on_stop=gate)
    await service.start()

    async def restart() -> None:
        try:
            await service.restart()
        except StartAborted as exc:
            aborted.append(exc.label)

    async with anyio.create_task_group() as group:
        group.start_soon(restart)
        await gate.reached.wait()
        assert service.state == "restarting"
        group.start_soon(service.stop)
        await anyio.wait_all_tasks_blocked()
        gate.open.set()
    assert aborted == ["Staged"]
    assert (service.state, service.started, service.restart_count) == ("shutdown", False, 0)


async def test_the_end_of_the_block_calls_a_restart_off() -> None:
    """A restart that is under way when its block ends is called off: nothing is left running."""
    gate = Gate()
    aborted: list[str] = []

    async def restart(service: Service) -> None:
        try:
            await service.restart()
        except StartAborted as exc:
            aborted.append(exc.label)

    async with anyio.create_task_group() as group:
        async with Staged(on_stop=gate) as service:
            group.start_soon(restart, service)
            await gate.reached.wait()
            gate.open.set()
    assert aborted == ["Staged"]
    assert (service.state, service.restart_count) == ("shutdown", 0)


async def test_restart_from_a_task_of_the_service() -> None:
    """A task may restart its own service: the call ends the task, and the new run has new tasks."""
    runs: list[int] = []
    after: list[int] = []
    third = anyio.Event()

    class Restarts(Service):
        async def on_started(self) -> None:
            self.add_future(self.run_once())

        async def run_once(self) -> None:
            while self.state != "running":
                await anyio.lowlevel.checkpoint()  # pragma: no cover - it may run by then
            runs.append(self.restart_count)
            if self.restart_count == 2:
                third.set()
                return
            await self.restart()
            after.append(self.restart_count)  # pragma: no cover - must not be reached

    async with Restarts() as service:
        await third.wait()
        assert service.state == "running"
    assert (runs, after) == ([0, 1, 2], [])


async def test_restart_during_a_start() -> None:
    """Restarted while it starts, a service begins anew, and start() returns when that has succeeded."""
    gate = Gate()
    service = Staged(on_start=gate)
    states: list[str] = []

    async def start() -> None:
        await service.start()
        states.append(service.state)

    async with anyio.create_task_group() as group:
        group.start_soon(start)
        await gate.reached.wait()
        service.acts.clear()
        await service.restart()
        states.append(service.state)
    await service.stop()
    assert states == ["running", "running"]
    assert service.journal.count("on_started") == 1
    assert service.journal.count("on_first_start") == 2


async def test_restart_from_a_task_in_the_body_of_which_the_service_is_used() -> None:
    """The body of the block goes on through a restart: only a crash cancels it."""
    async with Staged() as service:
        service.add_future(service.restart())
        while service.restart_count == 0 or service.state != "running":
            await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
    assert service.state == "shutdown"


# --- service_reset --------------------------------------------------------------------------------


async def test_reset_forgets_a_crash() -> None:
    """service_reset() makes a crashed service as new."""
    service = Staged()
    with pytest.raises(ValueError, match="boom"):
        async with service:
            await service.crash(ValueError("boom"))
            await anyio.sleep_forever()
    service.service_reset()
    assert (service.state, service.crashed, service.crash_reason) == ("init", False, None)
    assert (service.failures, service.should_stop) == ((), False)
    async with service:
        assert service.state == "running"


async def test_reset_of_what_runs_is_refused() -> None:
    """A service that runs can't be reset; the error tells to stop it first."""
    async with Staged() as service:
        with pytest.raises(
            LifecycleError, match=r"Staged can't be reset while it is running.*stop\(\)"
        ):
            service.service_reset()
        assert service.state == "running"


def test_reset_of_what_never_ran_changes_nothing() -> None:
    """Resetting a new service does nothing."""
    service = Staged()
    service.service_reset()
    assert service.state == "init"


async def test_a_start_resets_by_itself() -> None:
    """After a crash a plain start is enough: the crash is forgotten."""
    service = Staged()
    with pytest.raises(ValueError, match="boom"):
        async with service:
            await service.crash(ValueError("boom"))
            await anyio.sleep_forever()
    async with service:
        assert (service.state, service.crashed, service.failures) == ("running", False, ())


# --- wait_for_shutdown and set_shutdown -----------------------------------------------------------


class Held(Staged):
    """Waits for the shutdown flag when it stops."""

    wait_for_shutdown = True


async def test_stop_waits_for_the_flag() -> None:
    """With wait_for_shutdown a stop is complete only after set_shutdown(); on_shutdown comes after it."""
    service = Held()
    await service.start()
    async with anyio.create_task_group() as group:
        group.start_soon(service.stop)
        await anyio.wait_all_tasks_blocked()
        assert service.state == "stopping"
        assert service.journal[-1] == "on_stop"
        service.set_shutdown()
    assert service.state == "shutdown"
    assert service.journal[-1] == "on_shutdown"


@pytest.mark.parametrize("hook", ["on_start", "on_started", "on_stop"])
async def test_the_flag_may_be_set_in_a_hook(hook: str) -> None:
    """set_shutdown() may come long before the stop has to wait for it."""

    async def permit(service: Staged) -> None:
        service.set_shutdown()

    async with Held(**{hook: permit}) as service:
        pass
    assert service.journal[-1] == "on_shutdown"


async def test_the_flag_set_before_the_start_counts() -> None:
    """set_shutdown() before the start is for the run that follows, and for that one alone."""
    service = Held()
    service.set_shutdown()
    async with service:
        pass
    async with anyio.create_task_group() as group:
        await service.start()
        group.start_soon(service.stop)
        await anyio.wait_all_tasks_blocked()
        assert service.state == "stopping"
        service.set_shutdown()


async def test_each_run_needs_the_flag_anew() -> None:
    """After a restart the flag has to be set again."""
    service = Held()
    await service.start()
    service.set_shutdown()
    await service.restart()
    async with anyio.create_task_group() as group:
        group.start_soon(service.stop)
        await anyio.wait_all_tasks_blocked()
        assert service.state == "stopping"
        service.set_shutdown()


async def test_a_flag_that_is_never_set_is_overdue() -> None:
    """The wait for the flag is bounded by shutdown_timeout, and the error names what was missing."""
    service = Held()
    service.shutdown_timeout = 0.05
    await service.start()
    with pytest.raises(ShutdownTimeout, match=r"set_shutdown\(\)"):
        await service.stop()
    assert service.journal[-1] == "on_shutdown"
    assert service.state == "shutdown"


async def test_the_flag_without_a_wait_means_nothing() -> None:
    """Where no stop waits for it set_shutdown() does nothing: it stops nothing either."""
    async with Staged() as service:
        service.set_shutdown()
        await anyio.wait_all_tasks_blocked()
        assert service.state == "running"


async def test_tasks_have_ended_before_the_flag_is_waited_for() -> None:
    """When the stop waits for the flag, children have stopped and tasks were cancelled."""
    ended: list[str] = []

    class Parent(Held):
        @Service.task
        async def work(self) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                ended.append("task")

    service = Parent()
    child = service.add_dependency(Staged())
    await service.start()
    async with anyio.create_task_group() as group:
        group.start_soon(service.stop)
        await anyio.wait_all_tasks_blocked()
        assert (service.state, child.state, ended) == ("stopping", "shutdown", ["task"])
        service.set_shutdown()


# --- wait_until_stopped and should_stop -----------------------------------------------------------


async def test_wait_until_stopped_returns_when_a_stop_is_asked_for() -> None:
    """Who waits until the service is told to stop is woken then, not when the stop is over."""
    gate = Gate()
    service = Staged(on_stop=gate)
    await service.start()
    states: list[str] = []

    async def wait() -> None:
        await service.wait_until_stopped()
        states.append(service.state)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(service.stop)
        await gate.reached.wait()
        await anyio.wait_all_tasks_blocked()
        assert states == ["stopping"] * 3
        gate.open.set()


async def test_wait_until_stopped_returns_on_a_crash() -> None:
    """A crash too ends the wait."""
    woken = anyio.Event()
    boom = ValueError("boom")

    async def wait(service: Service) -> None:
        await service.wait_until_stopped()
        woken.set()

    async with anyio.create_task_group() as group:
        with pytest.raises(ValueError, match="boom"):
            async with Staged() as service:
                group.start_soon(wait, service)
                await anyio.wait_all_tasks_blocked()
                await service.crash(boom)
                await anyio.sleep_forever()
    assert woken.is_set()


async def test_wait_until_stopped_before_a_start() -> None:
    """Before a start it waits for the stop of the run that follows."""
    service = Staged()
    async with anyio.create_task_group() as group:
        group.start_soon(service.wait_until_stopped)
        await anyio.wait_all_tasks_blocked()
        async with service:
            await anyio.wait_all_tasks_blocked()
    assert service.state == "shutdown"


async def test_wait_until_stopped_after_a_stop() -> None:
    """After a stop it returns at once."""
    service = Staged()
    async with service:
        pass
    await service.wait_until_stopped()


async def test_should_stop() -> None:
    """should_stop is false until a stop is asked for, true from then on, and false again in a new run."""
    seen: list[bool] = []

    async def note(service: Staged) -> None:
        seen.append(service.should_stop)

    service = Staged(on_start=note, on_started=note, on_stop=note, on_shutdown=note)
    assert service.should_stop is False
    await service.start()
    await service.restart()
    await service.stop()
    assert service.should_stop is True
    assert seen == [False, False, True, True] * 2


# --- started and state ----------------------------------------------------------------------------


async def test_started_and_state_in_each_hook() -> None:
    """In every hook of a run the service counts as started, and the state tells how far it is."""
    seen: list[tuple[str, bool, str]] = []

    class Watched(Service):
        def __post_init__(self) -> None:
            seen.append(("__post_init__", self.started, self.state))

        def on_init(self) -> None:
            seen.append(("on_init", self.started, self.state))

        def on_init_dependencies(self) -> list[Service]:
            seen.append(("on_init_dependencies", self.started, self.state))
            return []

        async def on_first_start(self) -> None:
            seen.append(("on_first_start", self.started, self.state))

        async def on_start(self) -> None:
            seen.append(("on_start", self.started, self.state))

        async def on_started(self) -> None:
            seen.append(("on_started", self.started, self.state))

        async def on_stop(self) -> None:
            seen.append(("on_stop", self.started, self.state))

        async def on_shutdown(self) -> None:
            seen.append(("on_shutdown", self.started, self.state))

        async def on_restart(self) -> None:
            seen.append(("on_restart", self.started, self.state))

    service = Watched()
    await service.start()
    assert service.state == "running"
    await service.restart()
    assert service.state == "running"
    await service.stop()
    assert service.state == "shutdown"
    assert seen == [
        ("on_init", False, "init"),
        ("__post_init__", False, "init"),
        ("on_init_dependencies", True, "starting"),
        ("on_first_start", True, "starting"),
        ("on_start", True, "starting"),
        ("on_started", True, "starting"),
        ("on_stop", True, "restarting"),
        ("on_shutdown", True, "restarting"),
        ("__post_init__", True, "restarting"),
        ("on_restart", True, "restarting"),
        ("on_start", True, "restarting"),
        ("on_started", True, "restarting"),
        ("on_stop", True, "stopping"),
        ("on_shutdown", True, "stopping"),
    ]


async def test_state_of_a_crashed_service_in_its_hooks() -> None:
    """A crashed service says so while it stops, and afterwards."""
    seen: list[str] = []

    async def note(service: Staged) -> None:
        seen.append(service.state)

    with pytest.raises(ValueError, match="boom"):
        async with Staged(on_stop=note, on_shutdown=note) as service:
            await service.crash(ValueError("boom"))
            await anyio.sleep_forever()
    assert seen == ["crashed", "crashed"]
    assert service.state == "crashed"


async def test_state_as_soon_as_a_stop_was_asked_for() -> None:
    """The state is "stopping" from the call of stop() on, and "shutdown" when it has returned."""
    gate = Gate()
    service = Staged(on_stop=gate)
    await service.start()
    async with anyio.create_task_group() as group:
        group.start_soon(service.stop)
        await gate.reached.wait()
        assert (service.state, service.started) == ("stopping", True)
        gate.open.set()
    assert (service.state, service.started) == ("shutdown", False)


# --- shutdown_timeout and drain_timeout -----------------------------------------------------------


async def test_a_hook_that_hangs_is_cut_short() -> None:
    """Past shutdown_timeout a hanging hook is cancelled, the others still come, and the error tells where it hung."""

    async def hang_here(_service: Service) -> None:
        await anyio.sleep_forever()

    service = Staged(on_stop=hang_here)
    service.shutdown_timeout = 0.05
    await service.start()
    with pytest.raises(ShutdownTimeout, match=r"Staged did not stop within 0\.05 s") as caught:
        await service.stop()
    assert isinstance(caught.value, TimeoutError)
    (stuck,) = caught.value.stuck
    assert (stuck.owner, stuck.task) == ("Staged", "on_stop")
    assert "hang_here" in stuck.stack
    assert "test_life.py" in stuck.stack
    assert "hang_here" in str(caught.value)
    assert service.journal[-2:] == ["on_stop", "on_shutdown"]
    assert service.state == "shutdown"


@pytest.mark.parametrize("timeout", [0.05, timedelta(milliseconds=50), "0.05"])
async def test_shutdown_timeout_in_all_its_forms(timeout: float | timedelta | str) -> None:
    """The limit may be given as any duration, by a class or on an instance."""

    async def hang(_service: Service) -> None:
        await anyio.sleep_forever()

    service = Staged(on_shutdown=hang)
    service.shutdown_timeout = timeout  # type: ignore[assignment]
    await service.start()
    with pytest.raises(ShutdownTimeout) as caught:
        await service.stop()
    assert caught.value.timeout == pytest.approx(0.05)


async def test_shutdown_timeout_may_be_a_property() -> None:
    """A class may work its limits out for each instance."""

    class Computed(Staged):
        limit = 0.05

        @property
        def shutdown_timeout(self) -> float:  # type: ignore[override]
            return self.limit

    async def hang(_service: Service) -> None:
        await anyio.sleep_forever()

    service = Computed(on_stop=hang)
    await service.start()
    with pytest.raises(ShutdownTimeout, match=r"within 0\.05 s"):
        await service.stop()


async def test_a_task_may_end_by_itself_while_it_is_drained() -> None:
    """Within drain_timeout a task that sees should_stop finishes what it does, without being cancelled."""
    ends: list[str] = []

    class Drained(Service):
        drain_timeout = 10.0

        @Service.task
        async def work(self) -> None:
            try:
                while not self.should_stop:
                    await self.sleep(100.0)
                await anyio.lowlevel.checkpoint()
            except anyio.get_cancelled_exc_class():  # pragma: no cover - must not be reached
                ends.append("cancelled")
                raise
            ends.append("finished")

    async with Drained():
        await anyio.wait_all_tasks_blocked()
    assert ends == ["finished"]


@pytest.mark.parametrize("timeout", [0.01, timedelta(milliseconds=10), "0.01"])
async def test_a_task_that_does_not_end_is_cancelled_after_the_drain(
    timeout: float | timedelta | str,
) -> None:
    """After drain_timeout what is left is cancelled: that is no failure."""
    ends: list[str] = []

    class Drained(Service):
        @Service.task
        async def work(self) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                ends.append("cancelled" if self.should_stop else "?")

    service = Drained()
    service.drain_timeout = timeout  # type: ignore[assignment]
    async with service:
        await anyio.wait_all_tasks_blocked()
    assert ends == ["cancelled"]
    assert service.failures == ()


async def test_without_a_drain_tasks_are_cancelled_at_once() -> None:
    """By default a stop gives tasks no time: what they wait for is cancelled."""
    ends: list[str] = []

    class Abrupt(Service):
        @Service.task
        async def work(self) -> None:
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                ends.append("cancelled")
                raise

    async with Abrupt():
        await anyio.wait_all_tasks_blocked()
    assert ends == ["cancelled"]


async def test_the_drain_is_part_of_the_shutdown_timeout() -> None:
    """A drain longer than shutdown_timeout does not prolong the stop."""

    class Stubborn(Service):
        drain_timeout = 1000.0
        shutdown_timeout = 0.05

        @Service.task
        async def work(self) -> None:
            await anyio.sleep_forever()

    service = Stubborn()
    await service.start()
    with anyio.fail_after(30.0):
        with contextlib.suppress(ShutdownTimeout):
            await service.stop()
    assert (service.state, service.tracebacks()) == ("shutdown", {})


# --- mundane_level, abstract ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "number"), [("debug", 10), ("info", 20), ("WARNING", 30), (15, 15)]
)
async def test_mundane_level(
    level: str | int, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The lines of starting and stopping are logged at mundane_level."""
    caplog.set_level(logging.DEBUG)
    service = Staged()
    service.mundane_level = level  # type: ignore[assignment]
    async with service:
        pass
    lines = {
        record.getMessage(): record.levelno
        for record in caplog.records
        if "Staged" in record.getMessage()
    }
    assert lines == {
        "[^Staged]: Starting...": number,
        "[^Staged]: Started.": number,
        "[^Staged]: Stopping...": number,
        "[^Staged]: -Stopped!": number,
        "[^Staged]: -Shutdown complete!": number,
    }


def test_mundane_level_of_a_class() -> None:
    """A class may set the level for all its instances and subclasses."""

    class Quiet(Service):
        mundane_level = "debug"

    class Quieter(Quiet):
        pass

    assert Quieter().mundane_level == "debug"
    assert Service.mundane_level == "info"


async def test_a_subclass_of_an_abstract_class_is_not_abstract() -> None:
    """`abstract` is not inherited: a subclass of an abstract class can be made and started."""

    class Base(Service):
        abstract = True

    class Real(Base):
        pass

    assert (Base.abstract, Real.abstract) == (True, False)
    async with Real() as service:
        assert service.state == "running"
