"""A worker that is no daemon ends when all is done that comes to an end by itself, also what comes of what went wrong."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import pytest

from structmode import QueueServiceThread, Service, ServiceThread, ShutdownTimeout, Worker
from structmode.supervisors import OneForOneSupervisor, SupervisorStrategy
from structmode.types import ServiceT

from .here import Log, all_started, execute


def run_batch(*services: Any, backend: str) -> object:
    """Run services until their work is done; return the exit code."""
    return execute(Worker(*services, daemon=False, backend=backend, stderr=Log()))


class Counting(Service):
    """Counts the runs of its job, which fails in the first ones."""

    fails = 2

    def __init__(self) -> None:
        super().__init__()
        self.begun = 0
        self.done = 0

    @Service.task
    async def work(self) -> None:
        self.begun += 1
        await anyio.sleep(0.001)
        if self.begun <= self.fails:
            await self.fail()
        self.done += 1

    async def fail(self) -> None:
        raise ValueError(f"run {self.begun}")


class Restarting(Counting):
    """Has itself restarted where the other fails."""

    async def fail(self) -> None:
        await self.restart()


@pytest.mark.parametrize("backoff", [False, True])
def test_a_job_that_a_supervisor_restarts(backend: str, backoff: bool) -> None:
    """It is done when it has been restarted as often as it takes, after back-offs too."""
    job = Counting()
    settings: dict[str, Any] = {} if backoff else {"backoff": None}
    assert run_batch(OneForOneSupervisor(job, max_restarts=5, **settings), backend=backend) == 0
    assert (job.begun, job.done) == (3, 1)


def test_a_job_that_a_supervisor_gives_up(backend: str) -> None:
    """It is no success if it never succeeds."""
    job = Counting()
    job.fails = 100
    assert run_batch(OneForOneSupervisor(job, max_restarts=2, over=60.0), backend=backend) == 1
    assert (job.begun, job.done) == (3, 0)


def test_a_job_in_the_care_of_one_who_is_in_the_care_of_another(backend: str) -> None:
    """The inner supervisor gives up, and is restarted by the outer one."""
    job = Counting()
    inner = OneForOneSupervisor(job, max_restarts=0)
    assert run_batch(OneForOneSupervisor(inner, max_restarts=5), backend=backend) == 0
    assert (job.begun, job.done) == (3, 1)


def test_a_job_that_is_replaced(backend: str) -> None:
    """What takes its place does the work."""
    jobs: list[Counting] = []

    async def replacement(service: ServiceT, index: int) -> ServiceT:
        await anyio.sleep(0.001)
        jobs.append(Counting())
        jobs[-1].fails = 0
        return jobs[-1]

    supervisor: SupervisorStrategy = OneForOneSupervisor(
        Counting(), max_restarts=5, replacement=replacement
    )
    assert run_batch(supervisor, backend=backend) == 0
    assert [job.done for job in jobs] == [1]


@pytest.mark.parametrize("is_child", [False, True])
def test_a_job_that_restarts_itself(backend: str, is_child: bool) -> None:
    """The restart belongs to what is to be done."""
    job = Restarting()
    app = Service()
    app.add_dependency(job)
    assert run_batch(app if is_child else job, backend=backend) == 0
    assert (job.begun, job.done) == (3, 1)


def test_a_job_in_a_thread_that_restarts_itself(backend: str) -> None:
    """So it is in a thread, and the next one."""

    class InThread(ServiceThread):
        begun = 0
        done = 0

        @Service.task
        async def work(self) -> None:
            self.begun += 1
            if self.begun < 3:
                await self.restart()
            self.done += 1

    job = InThread()
    assert run_batch(job, backend=backend) == 0
    assert (job.begun, job.done) == (3, 1)


def test_work_that_is_given_to_a_thread_that_had_none(backend: str) -> None:
    """A thread is asked each time, and not once."""
    done: list[str] = []

    async def work() -> None:
        await anyio.sleep(0.01)
        done.append("in the thread")

    thread = QueueServiceThread()

    class Giving(Service):
        @Service.task
        async def give(self) -> None:
            await anyio.sleep(0.01)  # the thread has nothing to do by then
            await thread.call_thread(give)
            done.append("here")

    async def give() -> None:
        thread.add_future(work())

    assert run_batch(thread, Giving(), backend=backend) == 0
    assert done == ["here", "in the thread"]


def test_a_thread_that_ends_while_it_is_asked(backend: str) -> None:
    """Nobody waits for its answer then."""

    class Ending(ServiceThread):
        async def on_started(self) -> None:
            self.add_future(self._end())

        async def _end(self) -> None:
            await anyio.sleep(0.01)
            await self.stop()

    assert run_batch(Ending(), backend=backend) == 0


def test_what_the_last_act_adds_to_a_supervisor(backend: str) -> None:
    """It is to be started, and done."""
    job, supervisor = Counting(), OneForOneSupervisor()
    job.fails = 0

    class Adding(Service):
        @Service.task
        async def add(self) -> None:
            supervisor.add(job)

    for _ in range(3):  # trio takes tasks in an order of its own
        job.begun = job.done = 0
        assert run_batch(supervisor, Adding(), backend=backend) == 0
        assert job.done == 1
        supervisor = OneForOneSupervisor()
        job = Counting()
        job.fails = 0


def test_what_stops_by_and_by(backend: str) -> None:
    """A service that is being stopped when all else is done is waited for."""
    log: list[str] = []

    class Slow(Service):
        async def on_stop(self) -> None:
            await anyio.sleep(0.01)
            log.append("stopped")

    class Main(Service):
        def __post_init__(self) -> None:
            self.slow = self.add_dependency(Slow())

        @Service.task
        async def work(self) -> None:
            await all_started(self)
            self.add_future(self.remove_dependency(self.slow))

        async def on_stop(self) -> None:
            log.append("main")

    assert run_batch(Main(), backend=backend) == 0
    assert log == ["stopped", "main"]


def test_a_thread_that_is_not_waited_for(backend: str) -> None:
    """Its start belongs to what is to be done, and then its work."""
    done: list[str] = []

    class Starting(ServiceThread):
        wait_for_thread = False

        async def on_start(self) -> None:
            await anyio.sleep(0.02)

        @Service.task
        async def work(self) -> None:
            await anyio.sleep(0.01)
            done.append("work")

    assert run_batch(Starting(), backend=backend) == 0
    assert done == ["work"]


class InThread(ServiceThread):
    """Works in a thread, until it is released."""

    shutdown_timeout = 0.05

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.released = threading.Event(), threading.Event()
        self.is_to_block, self.blocks = threading.Event(), threading.Event()

    @Service.task
    async def work(self) -> None:
        self.begun.set()
        while not self.released.is_set():  # set in another thread, as the others are
            await anyio.sleep(0.001)
            if self.is_to_block.is_set():
                self.blocks.set()
                _ = self.released.wait(50.0)


def test_a_supervisor_that_ends_while_a_thread_is_asked(backend: str) -> None:
    """Nobody waits for it then."""

    class Main(Service):
        def __post_init__(self) -> None:
            self.thread = self.add_dependency(InThread())
            self.care = self.add_dependency(OneForOneSupervisor(Service()))

        @Service.timer(0.01)
        async def tick(self) -> None:
            if self.thread.begun.is_set() and self.care.started:
                await self.remove_dependency(self.care)
                self.thread.released.set()

    assert run_batch(Main(), backend=backend) == 0


def test_a_thread_that_is_given_up_while_it_is_asked(backend: str) -> None:
    """So it is with one that does not answer any more."""
    thread, failures = InThread(), list[BaseException]()

    class Main(Service):
        def __post_init__(self) -> None:
            self.add_dependency(thread)

        @Service.timer(0.01)
        async def tick(self) -> None:
            if thread.state == "running":
                thread.is_to_block.set()
            if thread.blocks.is_set() and not failures:
                try:
                    await self.remove_dependency(thread)
                except ShutdownTimeout as exc:
                    failures.append(exc)

    try:
        assert run_batch(Main(), backend=backend) == 0
        assert len(failures) == 1
    finally:
        thread.released.set()
