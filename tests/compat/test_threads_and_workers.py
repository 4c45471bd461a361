"""Threads and workers of mode's: what programs reach for in them beyond its manual."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import anyio
import pytest

from structmode.compat.faces import _asyncio
from structmode.compat.faces.services import Service
from structmode.compat.faces.supervisors import OneForOneSupervisor
from structmode.compat.faces.threads import MethodQueue, QueueServiceThread, ServiceThread
from structmode.compat.faces.utils.logging import LOG_ISATTY
from structmode.compat.faces.utils.loops import get_event_loop
from structmode.compat.faces.utils.queues import FlowControlEvent
from structmode.compat.faces.worker import EX_FAILURE, EX_OK, EX_OSERR, Worker, exiting
from structmode.testing import wait_for_state
from structmode.utils import loops


class Quiet(Service):
    """Says nothing of its life."""

    mundane_level = "debug"


class Thread(QueueServiceThread):
    """Notes in which thread, and in which event loop, it has been started."""

    mundane_level = "debug"

    async def on_start(self) -> None:
        self.started_in = threading.current_thread()
        self.started_on = asyncio.get_running_loop()

    async def who(self) -> threading.Thread:
        return threading.current_thread()


@pytest.fixture
def no_loop() -> Iterator[None]:
    """Have no event loop be known to this thread, and leave none behind."""
    kept = getattr(loops._current_loop, "loop", None)
    loops._current_loop.loop = None
    with patch("asyncio.set_event_loop"), patch("asyncio.get_event_loop_policy") as policy:
        policy.return_value.get_event_loop.side_effect = RuntimeError("there is none")
        yield
    made = loops._current_loop.loop
    if made is not None and not made.is_closed():  # pragma: no branch - only where a test left one
        made.close()
    loops._current_loop.loop = kept


# --- Event loops ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_loop")
def test_an_event_loop_is_made_where_there_is_none() -> None:
    """And kept, until it is closed."""
    loop = get_event_loop()
    assert get_event_loop() is loop
    assert Quiet().loop is loop
    loop.close()
    assert get_event_loop() is not loop


def test_the_event_loop_that_is_set_for_the_thread_is_taken() -> None:
    """Programs and test tools set one before they make services."""
    kept = getattr(loops._current_loop, "loop", None)
    loops._current_loop.loop = None
    loop = asyncio.new_event_loop()
    try:
        with patch("asyncio.get_event_loop_policy") as policy:
            policy.return_value.get_event_loop.return_value = loop
            assert get_event_loop() is loop
    finally:
        loop.close()
        loops._current_loop.loop = kept


def test_a_python_that_warns_of_making_an_event_loop_is_not_heard() -> None:
    """From 3.12 on asyncio does so where none is set; the user has asked for nothing that is deprecated."""
    kept = getattr(loops._current_loop, "loop", None)
    loops._current_loop.loop = None
    loop = asyncio.new_event_loop()

    def make() -> asyncio.AbstractEventLoop:
        warnings.warn("There is no current event loop", DeprecationWarning, stacklevel=2)
        return loop

    try:
        with patch("asyncio.get_event_loop_policy") as policy:
            policy.return_value.get_event_loop.side_effect = make
            assert get_event_loop() is loop
    finally:
        loop.close()
        loops._current_loop.loop = kept


def test_importing_the_faces_does_not_set_anything() -> None:
    """What the log goes to is told as far as it can be."""
    assert LOG_ISATTY in {True, False}


async def test_a_flow_that_is_active_is_acquired_in_the_same_step() -> None:
    """And one that is suspended is waited for."""
    flow = FlowControlEvent(initially_suspended=False)
    acquiring = flow.acquire()
    with pytest.raises(StopIteration):
        acquiring.send(None)
    flow.suspend()
    async with anyio.create_task_group() as group:
        group.start_soon(flow.acquire)
        await anyio.sleep(0)
        flow.resume()


# --- Threads --------------------------------------------------------------------------------------


async def test_the_event_loop_of_a_thread_is_there_before_the_thread() -> None:
    """As in mode, and it is the one that then runs there; what is called there runs in the thread."""
    service = Thread()
    loop = service.thread_loop
    assert service.loop is loop
    assert service._thread is None
    await service.start()
    assert service._thread is service.started_in is await service.call_thread(service.who)
    assert service.started_on is loop is service.thread_loop
    await service.stop()
    assert loop.is_closed()
    assert service.thread_loop is not loop
    service.thread_loop.close()


async def test_the_event_loop_of_a_thread_can_be_set() -> None:
    """Tests of programs put a mock there."""
    service = ServiceThread()
    other = object()
    service.loop = other
    assert service.thread_loop is other
    service.thread_loop = None


async def test_an_event_loop_can_be_given_to_a_thread() -> None:
    """It runs there, and is closed with it."""
    loop = asyncio.new_event_loop()
    service = Thread(thread_loop=loop)
    async with service:
        assert service.started_on is loop
    assert loop.is_closed()


@pytest.mark.usefixtures("no_loop")
def test_a_thread_knows_the_event_loop_of_its_owner() -> None:
    """It is given, or found when it is asked for."""
    loop = object()
    assert ServiceThread(loop=loop).parent_loop is loop
    service = ServiceThread()
    assert service.parent_loop is service.parent_loop is get_event_loop()


async def test_a_crash_tells_whoever_waits_for_the_start(anyio_backend_name: str) -> None:
    """Through the future that mode has for that, if there is one."""
    if anyio_backend_name == "trio":
        pytest.skip("there are no futures of asyncio's on trio")
    service = ServiceThread()
    running = service._thread_running = asyncio.get_running_loop().create_future()
    error = ValueError("broken")
    await service.crash(error)
    assert running.exception() is error
    await service.crash(error)  # it has been told
    service._thread_running = None
    await service.crash(error)
    assert service.crash_reason is error


async def test_a_thread_that_nobody_owns_crashes_those_above() -> None:
    """Started bare in a hook of a service, it is below that in the tree."""

    class Starter(Quiet):
        async def on_start(self) -> None:
            self.thread = Thread(beacon=self.beacon)
            await self.thread.start()

        async def on_stop(self) -> None:
            await self.thread.stop()

    starter = Starter()
    await starter.start()
    error = ValueError("broken")
    await starter.thread.call_thread(starter.thread.crash, error)
    await wait_for_state(starter, "crashed")
    assert starter.crash_reason is error
    await starter.stop()


async def test_a_thread_that_has_nobody_above_has_its_crash_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As one that nobody receives."""
    service = Thread()
    await service.start()
    await service.call_thread(service.crash, ValueError("broken"))
    await wait_for_state(service, "crashed")
    await service.stop()
    assert "nobody receives" in caplog.text


class Brittle(Quiet):
    """Has a task that fails when it is told to; takes notes of where it is started."""

    def __post_init__(self) -> None:
        self.fails = threading.Event()
        self.notes: list[object] = []

    async def on_start(self) -> None:
        self.fails.clear()
        self.notes.append(threading.current_thread())

    async def on_stop(self) -> None:
        self.notes.append("stop")

    async def on_restart(self) -> None:
        self.notes.append("restart")

    @Service.task
    async def fail(self) -> None:
        while not self.fails.is_set():
            await self.sleep(0.001)
        raise ValueError("broken")


class BrittleThread(Brittle, ServiceThread):
    """The same in a thread of its own."""

    mundane_level = "debug"


async def break_down(service: Brittle) -> None:
    """Have the task of a service fail, and wait until that is known."""
    service.fails.set()
    with anyio.fail_after(20):
        while not service.crashed:
            await anyio.sleep(0.001)


async def test_a_thread_restarts_after_its_task_has_failed() -> None:
    """Any number of times, each in a thread of its own; the crash is forgotten then, and the next one is recorded."""
    async with BrittleThread() as service:
        for number in (1, 2):
            await break_down(service)
            assert (service.state, repr(service.crash_reason)) == (
                "crashed",
                "ValueError('broken')",
            )
            await service.restart()
            assert (service.state, service.crash_reason) == ("running", None)
            assert service.restart_count == number
        first, *rest = service.notes
        assert rest[:2] == rest[3:5] == ["stop", "restart"]
        assert len({first, rest[2], rest[5]}) == 3
        await break_down(service)
    assert (service.state, service.started, service.crashed) == ("init", False, True)


@pytest.mark.parametrize("call", ["restart", "stop", "restart above", "stop above"])
async def test_a_crash_on_its_way_out_of_a_thread_fails_nothing(call: str) -> None:
    """It is recorded; the stop or the restart that its owner begins before it has heard of the crash goes on."""
    above, service = Quiet(), BrittleThread()
    above.add_dependency(service)
    await above.start()
    service.fails.set()
    while not service.crashed:
        time.sleep(0.001)  # noqa: ASYNC251 - so that the owner's event loop hears of nothing
    who = above if "above" in call else service
    await (who.restart() if "restart" in call else who.stop())
    assert (service.state, service.crashed) == (
        ("running", False) if "restart" in call else ("crashed", True)
    )
    await above.stop()


async def test_a_restart_that_fails_is_raised() -> None:
    """It is no crash, but a start that was asked for."""

    class Once(Quiet):
        async def on_restart(self) -> None:
            raise ValueError("not again")

    service = Once()
    await service.start()
    with pytest.raises(ValueError, match="not again"):
        await service.restart()
    assert not service.crashed


async def test_a_restart_may_come_while_a_thread_fails() -> None:
    """Whichever comes first: there is a new run, and nothing of the crash in it."""
    async with BrittleThread() as service:
        service.fails.set()
        await service.restart()
        assert (service.state, service.crashed) == ("running", False)
    assert not service.crashed


async def test_a_thread_that_fails_is_restarted_by_its_supervisor() -> None:
    """And its crash is no one else's."""
    service = BrittleThread()
    async with OneForOneSupervisor(service) as supervisor:
        for number in (1, 2):
            service.fails.set()
            with anyio.fail_after(20):
                while (service.state, service.restart_count) != ("running", number):
                    await anyio.sleep(0.001)
        assert not supervisor.crashed


async def test_a_service_in_a_thread_that_fails_is_restarted_with_it() -> None:
    """Its crash is that of the thread, and so is its restart."""
    brittle = Brittle()

    class Above(Thread):
        def __post_init__(self) -> None:
            self.add_dependency(brittle)

    async with Above() as service:
        await break_down(brittle)
        await wait_for_state(service, "crashed")
        await service.restart()
        assert (service.state, brittle.state) == ("running", "running")
        assert (service.crashed, brittle.crashed) == (False, False)
        assert len({note for note in brittle.notes if note != "stop"}) == 2


async def test_calls_can_be_made_into_a_queue_of_modes() -> None:
    """It is a service of mode's, too."""
    queue = MethodQueue(num_workers=1)
    async with queue:
        assert queue.started
        assert await queue.perform(os.getpid) == os.getpid()


# --- Workers --------------------------------------------------------------------------------------


def make_worker(*services: Any, **settings: Any) -> Worker:
    """Make a worker that writes nowhere, and leaves logging alone."""
    streams = {"stdout": io.StringIO(), "stderr": io.StringIO(), "override_logging": False}
    return Worker(*services, **{**streams, **settings})


def test_what_a_worker_is_told_is_as_in_mode() -> None:
    """The level of what is printed is a number; a timeout that is None is none; services are below it in the tree."""
    job = Quiet()
    worker = make_worker(job, redirect_stdouts_level="DEBUG", blocking_timeout=None)
    assert worker.redirect_stdouts_level == 10
    assert make_worker().redirect_stdouts_level == 30
    assert worker.blocking_timeout == 0.0
    assert job.beacon.root is worker.beacon


def test_a_worker_says_things() -> None:
    """To one stream or the other, with an end of one's own; not if it is quiet."""
    worker = make_worker()
    worker.say("yes")
    worker._say("no", end="!", flush=True)
    worker.carp("careful")
    assert worker.stdout.getvalue() == "yes\nno!"  # type: ignore[attr-defined]
    assert worker.stderr.getvalue() == "careful\n"  # type: ignore[attr-defined]
    quiet = make_worker(quiet=True)
    quiet.say("yes")
    assert quiet.stdout.getvalue() == ""  # type: ignore[attr-defined]


@pytest.mark.parametrize("debug", [False, True])
async def test_a_worker_looks_out_for_blocking_only_if_it_is_to(debug: bool) -> None:
    """An override of `maybe_start_blockdetection` is called at the first start only with `debug`."""
    asked: list[bool] = []

    class Looking(Worker):
        async def maybe_start_blockdetection(self) -> None:
            asked.append(self.debug)

    worker = Looking(debug=debug, console_port=None, override_logging=False)
    async with worker:
        pass
    assert asked == [True] * debug


@pytest.mark.skipif(sys.platform == "win32", reason="there is no os.kill for oneself")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_handles_signals_by_methods(number: signal.Signals) -> None:
    """Which may be overridden, as Faust does; the worker runs in the event loop that it was given, and ends with 0."""
    seen: list[Any] = []

    class Job(Quiet):
        async def on_started(self) -> None:
            seen.append(asyncio.get_running_loop())
            os.kill(os.getpid(), number)

    class Handling(Worker):
        def _on_sigint(self) -> None:
            seen.append(signal.SIGINT)
            super()._on_sigint()

        def _on_sigterm(self) -> None:
            seen.append(signal.SIGTERM)
            super()._on_sigterm()

    loop = asyncio.new_event_loop()
    worker = Handling(Job(), loop=loop, override_logging=False)
    with pytest.raises(SystemExit) as caught:
        worker.execute_from_commandline()
    assert caught.value.code == 0
    assert seen == [loop, number]
    assert loop.is_closed()


async def test_a_second_call_to_shut_down_begins_no_second_stop(anyio_backend_name: str) -> None:
    """The first is under way."""
    if anyio_backend_name == "trio":
        pytest.skip("it begins a task of asyncio's")
    worker = make_worker(loop=asyncio.get_running_loop())
    worker._on_sigterm()
    first = worker._signal_stop_future
    worker._on_sigint()
    assert worker._signal_stop_future is first
    await first


def test_what_is_begun_for_a_loop_belongs_to_no_service() -> None:
    """It runs in the loop that it was begun for."""
    loop = asyncio.new_event_loop()

    async def answer() -> int:
        return 42

    assert loop.run_until_complete(_asyncio.begin(answer(), loop)) == 42
    loop.close()


@pytest.mark.parametrize(
    ("error", "code"),
    [(None, EX_OK), (ValueError("no"), EX_FAILURE), (MemoryError(), EX_OSERR), (SystemExit(3), 3)],
)
def test_exiting_ends_the_program(error: BaseException | None, code: int) -> None:
    """With a code for how the block was left."""
    with patch("sys.stderr", io.StringIO()) as stderr:
        with pytest.raises(SystemExit) as caught:
            with exiting():
                if error is not None:
                    raise error
    assert caught.value.code == code
    assert ("Out of memory!" in stderr.getvalue()) == isinstance(error, MemoryError)


def test_exiting_prints_the_exception_if_it_is_to() -> None:
    """To the stream that it is given, or standard error."""
    file = io.StringIO()
    with patch("sys.stderr", io.StringIO()) as stderr:
        for stream in (file, None):
            with pytest.raises(SystemExit):
                with exiting(print_exception=True, file=stream):
                    raise ValueError("no")
    for written in (file, stderr):
        assert "ValueError('no')" in written.getvalue()
        assert __file__ in written.getvalue()
