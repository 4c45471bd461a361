"""Services of other kinds under supervision: in threads of their own, behind proxies."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Any

import anyio
import pytest

from structmode import EventLoopMismatch, Service
from structmode.proxy import ServiceProxy
from structmode.supervisors import (
    CrashingSupervisor,
    OneForAllSupervisor,
    OneForOneSupervisor,
    RestForOneSupervisor,
    SupervisorStrategy,
)
from structmode.threads import QueueServiceThread

from .worker import Worker, failing, quiet, workers


class Threaded(QueueServiceThread):
    """Fails in its thread when it is told to."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.threads: list[int] = []
        self.bad_starts = 0

    async def on_start(self) -> None:
        self.threads.append(threading.get_ident())
        if self.bad_starts:
            self.bad_starts -= 1
            raise OSError("does not start")
        self.go_wrong = anyio.Event()

    @Service.task
    async def work(self) -> None:
        await self.go_wrong.wait()
        raise ValueError("gone wrong")

    async def fail(self) -> None:
        """Have the task fail; to be called in the thread."""
        self.go_wrong.set()


async def until_running(service: Service, starts: int, threaded: Threaded) -> None:
    """Wait until a service has been started so often, and runs."""
    while service.state != "running" or len(threaded.threads) < starts:
        await anyio.sleep(0.001)


@pytest.mark.parametrize("inside", ["asyncio", "trio"])
@pytest.mark.parametrize(
    "strategy", [OneForOneSupervisor, OneForAllSupervisor, RestForOneSupervisor]
)
async def test_a_thread_that_crashes(strategy: type[SupervisorStrategy], inside: str) -> None:
    """It is restarted, in a new run, and answers again."""
    threaded = Threaded(backend=inside)
    beside = Worker("beside")
    async with strategy(threaded, beside) as supervisor:
        await threaded.call_thread(threaded.fail)
        await until_running(threaded, 2, threaded)
        assert await threaded.call_thread(threading.get_ident) == threaded.threads[-1]
        assert supervisor.failures == ()
        assert threaded.supervisor is supervisor
        while beside.state != "running":
            await anyio.sleep(0.001)
    assert threaded.state == "shutdown"


async def test_a_thread_whose_restart_fails() -> None:
    """It is tried again."""
    threaded = Threaded()
    async with OneForOneSupervisor(threaded, max_restarts=5):
        threaded.bad_starts = 2
        await threaded.call_thread(threaded.fail)
        await until_running(threaded, 4, threaded)
        assert threaded.restart_count == 3


@pytest.mark.parametrize("inside", ["asyncio", "trio"])
async def test_a_thread_that_calls_its_supervisor(inside: str) -> None:
    """The supervisor lives on another event loop: the call is refused, which is a failure of the thread like others."""
    refused: list[EventLoopMismatch] = []

    class Asking(Threaded):
        @Service.task
        async def work(self) -> None:
            await self.go_wrong.wait()
            assert self.supervisor is not None
            try:
                await self.supervisor.restart_service(self)
            except EventLoopMismatch as exc:
                refused.append(exc)
            self.supervisor.wakeup()

    asking, beside = Asking(backend=inside), Worker("beside")
    async with OneForOneSupervisor(asking, beside) as supervisor:
        await asking.call_thread(asking.fail)
        await until_running(asking, 2, asking)
        assert [exc.problem.split()[0] for exc in refused] == ["restart_service()"]
        assert supervisor.failures == ()
        beside.fail()
        while beside.starts < 2:
            await anyio.sleep(0.001)


async def test_a_thread_under_a_crashing_supervisor() -> None:
    """Its failure leaves the block, as it was raised."""
    threaded = Threaded()
    with pytest.raises(ValueError, match="gone wrong"):
        async with CrashingSupervisor(threaded):
            await threaded.call_thread(threaded.fail)
            await anyio.sleep_forever()


async def test_a_thread_that_is_discarded() -> None:
    """Its thread ends."""
    threaded = Threaded()
    async with OneForOneSupervisor(threaded) as supervisor:
        supervisor.discard(threaded)
        while threaded.started:
            await anyio.sleep(0.001)
        assert supervisor.services == ()
        assert threaded.state == "shutdown"


async def test_a_proxy() -> None:
    """The service behind it is supervised."""
    log, (behind,) = workers("b")

    class Standing(ServiceProxy):
        @cached_property
        def _service(self) -> Service:
            return behind

    proxy = Standing()
    async with OneForOneSupervisor(proxy) as supervisor:
        assert behind.supervisor is supervisor
        await failing(behind)
        assert (behind.state, behind.starts) == ("running", 2)
        assert supervisor.service_operational(proxy)
        await supervisor.restart_services([behind])
        assert behind.starts == 3
        behind.stop_failures.append(OSError("nobody waits"))
        supervisor.discard(proxy)
        await quiet()
        assert supervisor.services == ()
    assert log[-1] == "stop b"


async def test_a_proxy_of_a_thread() -> None:
    """It is the thread's owner's side that is supervised."""
    threaded = Threaded()

    class Standing(ServiceProxy):
        @cached_property
        def _service(self) -> Service:
            return threaded

    async with OneForOneSupervisor(Standing()):
        await threaded.call_thread(threaded.fail)
        await until_running(threaded, 2, threaded)
    assert threaded.state == "shutdown"
