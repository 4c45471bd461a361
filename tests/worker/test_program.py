"""A worker that runs as the program: from its start to the exit code."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio.testing

from structmode import Service, Worker, _engine as engine

from .here import Job, Log, all_started, execute, raising


def test_no_daemon_ends_when_the_work_is_done(backend: str) -> None:
    """Without `daemon`, a worker ends when tasks and futures are done, in children too; timers do not count."""
    done: list[str] = []

    class Part(Service):
        @Service.timer(1000.0)
        async def tick(self) -> None:
            """Not finite."""

        @Service.crontab("0 0 1 1 *")
        async def yearly(self) -> None:
            """Not finite either."""

        @Service.task
        async def work(self) -> None:
            await anyio.sleep(0.01)
            done.append("task")
            self.add_future(self.more())

        async def more(self) -> None:
            await anyio.sleep(0.01)
            done.append("future")

    class Whole(Service):
        def on_init_dependencies(self) -> list[Service]:
            return [Part()]

    assert execute(Worker(Whole(), daemon=False, backend=backend, stderr=Log())) == 0
    assert done == ["task", "future"]


def test_from_awaitable(backend: str) -> None:
    """A coroutine made a service runs to its end in a worker that is no daemon."""
    done: list[str] = []

    async def me() -> None:
        await anyio.lowlevel.checkpoint()
        done.append("me")

    worker = Worker(Service.from_awaitable(me()), daemon=False, backend=backend, stderr=Log())
    assert execute(worker) == 0
    assert done == ["me"]


def test_daemon_runs_until_stopped(backend: str) -> None:
    """A worker that is a daemon goes on when the work is done, until it is told to stop."""
    worker = Worker(Job(lambda: worker.stop_and_shutdown()), backend=backend, stderr=Log())
    assert execute(worker) == 0
    assert worker.state == "shutdown"


def test_without_services(backend: str) -> None:
    """A worker without services runs until a signal comes."""

    class Idle(Worker):
        async def on_started(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    log = Log()
    assert execute(Idle(loglevel="info", backend=backend, stderr=log)) == 0
    assert "[^Idle]: Stopping on signal received..." in log.lines()


def test_crash(backend: str) -> None:
    """After a crash the exit code is 1, all has been stopped, and the log has the original exception once, whole."""
    error = ValueError("out of cheese")
    bystander = Job()
    log = Log()
    worker = Worker(bystander, Job(raising(error)), backend=backend, stderr=log)
    assert execute(worker) == 1
    assert worker.crash_reason is error
    assert bystander.events == ["stop"]
    text = log.getvalue()
    assert text.count("Traceback") == 1
    assert text.count("\nValueError: out of cheese") == 1
    assert "in do\n    raise exc" in text
    assert "[^Worker]: Crashed: ValueError('out of cheese')" in log.lines()


def test_crash_of_a_worker_that_is_no_daemon(backend: str) -> None:
    """A crash ends a worker that is no daemon just so."""
    worker = Worker(Job(raising(ValueError())), daemon=False, backend=backend, stderr=Log())
    assert execute(worker) == 1


def test_failed_start(backend: str) -> None:
    """After a failed start the exit code is 1, what had started has been stopped, and the error is logged once."""

    class Broken(Service):
        async def on_start(self) -> None:
            raise OSError("no such port")

    first = Job()
    log = Log()
    assert execute(Worker(first, Broken(), backend=backend, stderr=log)) == 1
    assert first.events == ["stop"]
    assert log.getvalue().count("\nOSError: no such port") == 1
    assert "[^Worker]: Could not start: OSError('no such port')" in log.lines()


def test_start_that_takes_too_long(backend: str) -> None:
    """The exit code is 1, and the log shows what was still starting, as lines and without a traceback of the engine's."""

    class Slow(Service):
        start_timeout = 0.02

        async def on_start(self) -> None:
            await anyio.sleep_forever()

    log = Log()
    assert execute(Worker(Slow(), backend=backend, stderr=log)) == 1
    at = log.lines().index("[^Worker]: Slow did not start within 0.02 s; still starting:")
    assert log.lines()[at + 1] == "Slow: on_start"
    assert "Traceback" not in log.getvalue()


def test_failed_stop(backend: str) -> None:
    """An error in a stop makes the exit code 1, and is logged with its traceback."""

    class Clinging(Job):
        async def on_stop(self) -> None:
            raise OSError("still dirty")

    log = Log()
    assert execute(Worker(Clinging(), daemon=False, backend=backend, stderr=log)) == 1
    assert "[^Worker]: Failed while stopping: OSError('still dirty')" in log.lines()
    assert log.getvalue().count("\nOSError: still dirty") == 1


def test_start_of_a_child_that_was_aborted(backend: str) -> None:
    """A service that is stopped while it starts is a failed start, unless the worker itself was stopped."""

    class Hesitant(Service):
        async def on_start(self) -> None:
            await self.stop()

    log = Log()
    assert execute(Worker(Hesitant(), backend=backend, stderr=log)) == 1
    assert "Hesitant was stopped before it had started" in log.getvalue()


def test_stop_during_start_up(backend: str) -> None:
    """A worker that is stopped by its own service while it starts ends cleanly."""

    class Wrong(Service):
        async def on_start(self) -> None:
            worker.stop_and_shutdown()
            await anyio.sleep_forever()

    log = Log()
    worker = Worker(Wrong(), backend=backend, stderr=log)
    assert execute(worker) == 0
    assert log.getvalue() == ""


def test_failure_in_the_undoing_of_a_start(backend: str) -> None:
    """What goes wrong while a start that was called off is undone is a failure all the same."""

    class Clinging(Service):
        async def on_stop(self) -> None:
            raise OSError("still dirty")

    class Wrong(Service):
        async def on_start(self) -> None:
            worker.stop_and_shutdown()
            await anyio.sleep_forever()

    log = Log()
    worker = Worker(Clinging(), Wrong(), backend=backend, stderr=log)
    assert execute(worker) == 1
    assert log.getvalue().count("\nOSError: still dirty") == 1


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (SystemExit(3), 3, ""),
        (SystemExit(), 0, ""),
        (SystemExit("goodbye"), 1, "goodbye"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_exit_from_a_service(backend: str, raised: BaseException, code: int, said: str) -> None:
    """A SystemExit or KeyboardInterrupt from a service stops all in order, and decides on the exit code."""
    bystander, log = Job(), Log()
    worker = Worker(bystander, Job(raising(raised)), backend=backend, stderr=log)
    assert execute(worker) == code
    assert bystander.events == ["stop"]
    assert "Traceback" not in log.getvalue()
    assert (said in log.lines()) == bool(said)


def test_stop_that_takes_too_long(backend: str) -> None:
    """A stop that had to be forced makes the exit code 70, and the log shows who was stuck, and where."""

    class Slow(Service):
        shutdown_timeout = 0.01

        async def on_stop(self) -> None:
            await anyio.sleep_forever()

    log = Log()
    assert execute(Worker(Slow(), daemon=False, backend=backend, stderr=log)) == 70
    assert "[^Worker]: Slow did not stop within 0.01 s; still there:" in log.lines()
    assert "Slow: on_stop" in log.lines()
    assert "in on_stop" in log.getvalue()


def test_crash_whose_stop_takes_too_long(backend: str) -> None:
    """The crash is what counts, also if the stop that follows has to be forced."""

    class Slow(Job):
        shutdown_timeout = 0.01

        async def on_stop(self) -> None:
            await anyio.sleep_forever()

    worker = Worker(Slow(raising(ValueError())), backend=backend, stderr=Log())
    assert execute(worker) == 1


def test_second_signal_after_a_crash(backend: str) -> None:
    """The crash is what counts, also if the stop that follows is forced by signals."""

    class Slow(Job):
        async def on_stop(self) -> None:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            await anyio.sleep_forever()

    worker = Worker(Slow(raising(ValueError())), backend=backend, stderr=Log())
    assert execute(worker) == 1


def test_services_start_in_order_and_stop_in_reverse(backend: str) -> None:
    """Several services start in the order given and stop in reverse."""
    events: list[str] = []

    class Named(Service):
        def __init__(self, name: str) -> None:
            self.name = name
            super().__init__()

        async def on_start(self) -> None:
            events.append(f"+{self.name}")

        async def on_stop(self) -> None:
            events.append(f"-{self.name}")

    worker = Worker(
        Named("a"), Named("b"), Named("c"), daemon=False, backend=backend, stderr=Log()
    )
    assert execute(worker) == 0
    assert events == ["+a", "+b", "+c", "-c", "-b", "-a"]


def test_worker_that_restarts(backend: str) -> None:
    """A worker that restarts itself runs on, and ends with the run that is stopped."""
    starts: list[int] = []

    class Again(Service):
        @Service.task
        async def work(self) -> None:
            await all_started(self)
            starts.append(worker.restart_count)
            if worker.restart_count < 2:
                await worker.restart()
            await worker.stop()

    worker = Worker(Again(), backend=backend, stderr=Log())
    assert execute(worker) == 0
    assert starts == [0, 1, 2]


def test_worker_that_is_no_daemon_and_restarts(backend: str) -> None:
    """A worker that is no daemon ends when the work of its last run is done."""
    starts: list[int] = []

    class Again(Service):
        async def on_start(self) -> None:
            for _ in range(10):
                await anyio.lowlevel.checkpoint()

        @Service.task
        async def work(self) -> None:
            await all_started(self)
            starts.append(worker.restart_count)
            if worker.restart_count == 0:
                await worker.restart()

    worker = Worker(Again(), daemon=False, backend=backend, stderr=Log())
    assert execute(worker) == 0
    assert starts == [0, 1]


def test_signal_during_a_restart(backend: str) -> None:
    """A signal that comes while the worker restarts calls the restart off."""

    class Again(Service):
        @Service.task
        async def work(self) -> None:
            await all_started(self)
            await worker.restart()

        async def on_stop(self) -> None:
            signal.raise_signal(signal.SIGTERM)
            await anyio.sleep(0.01)

    worker = Worker(Again(), backend=backend, stderr=Log())
    assert execute(worker) == 0
    assert worker.restart_count == 0


def test_executed_twice(backend: str) -> None:
    """A worker that has ended, here by a signal, may be executed again, and knows nothing of that signal."""
    runs: list[int] = []
    job = Job(lambda: runs.append(1), lambda: signal.raise_signal(signal.SIGTERM))
    worker = Worker(job, backend=backend, stderr=Log())
    assert [execute(worker), execute(worker)] == [0, 0]
    assert len(runs) == 2


@pytest.mark.parametrize("native", ["asyncio", "asyncio+uvloop"])
def test_cancellation_of_all_tasks(native: str) -> None:
    """Cancelling all tasks of an asyncio loop, as some programs do to end, is an orderly stop and no failure."""

    def cancel_all() -> None:
        for task in asyncio.all_tasks():
            task.cancel()

    job, log = Job(cancel_all), Log()
    assert execute(Worker(job, backend=native, stderr=log)) == 0
    assert job.events == ["stop"]
    assert log.getvalue() == ""


def test_hooks_in_order(backend: str) -> None:
    """The hooks of a worker are called in their order, also when it is told to end at once."""
    calls: list[str] = []

    class Told(Worker):
        def on_setup_root_logger(self, logger: logging.Logger, level: int) -> None:
            assert (logger, level) == (logging.root, logging.ERROR)
            calls.append("on_setup_root_logger")

        async def on_first_start(self) -> None:
            calls.append("on_first_start")
            await self.default_on_first_start()

        async def on_execute(self) -> None:
            calls.append("on_execute")

        async def maybe_start_blockdetection(self) -> None:
            calls.append("maybe_start_blockdetection")

        async def on_start(self) -> None:
            calls.append("on_start")

        async def on_started(self) -> None:
            await super().on_started()
            calls.append("on_started")

        async def on_shutdown(self) -> None:
            calls.append("on_shutdown")

        def on_worker_shutdown(self) -> None:
            with pytest.raises(anyio.NoEventLoopError):
                anyio.lowlevel.current_token()
            assert logging.root.level == logging.ERROR
            calls.append("on_worker_shutdown")

    assert execute(Told(loglevel="error", daemon=False, backend=backend, stderr=Log())) == 0
    assert calls == [
        "on_setup_root_logger",
        "on_first_start",
        "on_execute",
        "maybe_start_blockdetection",
        "on_start",
        "on_started",
        "on_shutdown",
        "on_worker_shutdown",
    ]


def test_failure_in_on_worker_shutdown() -> None:
    """An error in the last hook makes the exit code 1, or is noted on the failure before it."""

    class Late(Worker):
        def on_worker_shutdown(self) -> None:
            raise OSError("too late")

    log = Log()
    assert execute(Late(daemon=False, stderr=log)) == 1
    assert "\nOSError: too late" in log.getvalue()
    log = Log()
    assert execute(Late(Job(raising(ValueError("first"))), stderr=log)) == 1
    assert (
        "\nValueError: first\nlater, when all had stopped: OSError('too late')" in log.getvalue()
    )


def test_shortlabel_of_a_subclass(backend: str) -> None:
    """A worker may go by another name in the log."""

    class Named(Worker):
        @property
        def shortlabel(self) -> str:
            return "Boss"

    log = Log()
    assert execute(Named(loglevel="info", daemon=False, backend=backend, stderr=log)) == 0
    assert log.lines()[0] == "[^Boss]: Starting..."


@pytest.mark.fault("E2")
@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_e2_a_stop_adds_no_delay(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """E2: a worker stops and ends on a clock that stands still, so nothing in it waits for time to pass."""

    class Still(asyncio.SelectorEventLoop):
        def time(self) -> float:
            return 0.0

    options: dict[str, Any] = {
        "asyncio": {"loop_factory": Still},
        "trio": {"clock": trio.testing.MockClock()},
    }
    arguments = {"backend": name, "backend_options": options[name]}

    def run_arguments(backend: str) -> dict[str, Any]:
        return arguments

    monkeypatch.setattr(engine, "run_arguments", run_arguments)

    class Signalled(Job):
        async def on_started(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    worker = Worker(Signalled(), backend=name, stderr=Log())
    assert execute(worker) == 0


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="there are no masks")
@pytest.mark.parametrize("by_signal", [False, True])
def test_the_thread_that_bounds_a_stop_takes_no_signals(
    backend: str, by_signal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its first instant: a signal that it took would not wake the main thread, which may be blocked."""
    start, inherited = threading.Thread.start, list[set[int]]()

    def look_and_start(thread: threading.Thread) -> None:
        if thread.name == "forced exit":
            inherited.append({int(one) for one in signal.pthread_sigmask(signal.SIG_BLOCK, [])})
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", look_and_start)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    job = Job(partial(signal.raise_signal, signal.SIGTERM)) if by_signal else Job()
    assert execute(Worker(job, daemon=by_signal, backend=backend, stderr=Log())) == 0
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    (mask,) = inherited
    assert mask >= {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1}


@pytest.mark.parametrize("by_signal", [False, True])
def test_no_thread_can_be_had(
    backend: str, by_signal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop that no thread can bound from outside is a stop all the same."""
    start = threading.Thread.start

    def fail(*args: Any) -> None:
        raise RuntimeError("can't start new thread")

    def start_others(thread: threading.Thread) -> None:
        if thread.name == "forced exit":
            fail()
        start(thread)

    def be_told_to_stop() -> None:
        with monkeypatch.context() as patch:
            patch.setattr("structmode._process._forced_exit._thread.start_new_thread", fail)
            signal.raise_signal(signal.SIGTERM)

    if not by_signal:
        monkeypatch.setattr(threading.Thread, "start", start_others)
    job = Job(be_told_to_stop) if by_signal else Job()
    assert execute(Worker(job, daemon=by_signal, backend=backend, stderr=Log())) == 0


def test_a_limit_that_can_not_be_read_any_more(backend: str) -> None:
    """A signal stops the worker all the same, and raises nothing where it happens to come."""
    came: list[str] = []

    class Unreadable(Worker):
        is_readable = True

        @property
        def shutdown_timeout(self) -> float:  # type: ignore[override]
            if not self.is_readable:
                raise OSError("no longer")
            return 5.0

    def be_told_to_stop() -> None:
        Unreadable.is_readable = False
        signal.raise_signal(signal.SIGTERM)
        came.append("here")

    assert execute(Unreadable(Job(be_told_to_stop), backend=backend, stderr=Log())) == 0
    assert came == ["here"]


def test_no_thread_is_left_behind(backend: str) -> None:
    """The thread that bounds a stop ends with it."""
    before = threading.active_count()
    assert execute(Worker(Job(), daemon=False, backend=backend, stderr=Log())) == 0
    names = [thread.name for thread in threading.enumerate()]
    assert "forced exit" not in names
    assert threading.active_count() <= before + sum(
        name.startswith("Trio thread") for name in names
    )


def test_restart_is_not_bounded_for_ever(backend: str) -> None:
    """The limit of the stop in a restart is lifted when the worker has started again."""
    limits: list[bool] = []

    class Again(Service):
        @Service.task
        async def work(self) -> None:
            await all_started(self)
            limits.append("forced exit" in [thread.name for thread in threading.enumerate()])
            if worker.restart_count == 0:
                await worker.restart()

        async def on_stop(self) -> None:
            limits.append("forced exit" in [thread.name for thread in threading.enumerate()])

    worker = Worker(Again(), daemon=False, backend=backend, stderr=Log())
    assert execute(worker) == 0
    assert limits == [False, True, False, True]
