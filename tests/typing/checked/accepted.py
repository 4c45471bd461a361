"""Code as users write it, which both type checkers must accept: `assert_type` says what they must infer.

`test_checkers.py` has them read it, and the checks of the whole project do, too. It is never run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from datetime import timedelta
from functools import cached_property
from typing import Any, assert_type

import anyio
import anyio.lowlevel

from structmode import (
    LifecycleError,
    MaxRestartsExceeded,
    Service,
    ServiceT,
    ShutdownTimeout,
    Signal,
    StartAborted,
    SupervisorStrategyT,
    SyncSignal,
    WaitResult,
    WaitResults,
    crontab,
    task,
    timer,
)
from structmode.exceptions import TaskReturned
from structmode.facet import AsyncioServiceMixin, BlockingServiceMixin, ServiceMixin
from structmode.functions import Held, Job, hold, run, service
from structmode.locals import LocalStack
from structmode.proxy import ServiceProxy
from structmode.services import CrontabTask, ServiceTask, Task, TimerTask
from structmode.supervisors import Backoff, OneForOneSupervisor, Supervised
from structmode.threads import MethodQueue, Promise, QueueServiceThread, ServiceThread


class Connection:
    """What is held."""


class Pool(Service):
    """A service."""

    size: int = 3

    @Service.task
    async def count(self) -> int:
        return self.size

    @task
    async def name_it(self) -> str:
        return "pool"

    @Service.task(on_error="restart", backoff=Backoff(initial=1.0), forever=True)
    async def forever(self) -> None:
        await self.wait_until_stopped()

    @Service.timer(1.0)
    async def tick(self) -> bool:
        return True

    @timer(timedelta(seconds=1), on_error="log")
    async def tock(self) -> None:
        pass

    @Service.crontab("* * * * *")
    async def at_noon(self) -> bytes:
        return b""

    @crontab("* * * * *")
    async def at_night(self) -> None:
        pass


class Special(Pool):
    """Overrides work, and switches some off."""

    @Service.task
    async def count(self) -> int:
        return await super().count()

    def general(self) -> ServiceTask:
        """Who does not care what a task returns need not say it."""
        return type(self).count


class Parallel(ServiceThread):
    """In a thread."""


class Computing(QueueServiceThread):
    """In a thread, and takes calls."""

    async def square(self, number: int, *, twice: bool = False) -> int:
        return await self.call_thread(self.square_now, number, twice=twice)

    def square_now(self, number: int, *, twice: bool = False) -> int:
        return number**2 * (1 + twice)


class Mixed(ServiceMixin):
    """Of facet's face; its time for a stop is an attribute."""

    graceful_shutdown_timeout = 3.0


class MixedAnnotated(AsyncioServiceMixin):
    """Of facet's face; its time for a stop is an attribute with a type."""

    graceful_shutdown_timeout: float = 3.0


class MixedProperty(ServiceMixin):
    """Of facet's face; its time for a stop is a property."""

    @property
    def graceful_shutdown_timeout(self) -> float:
        return 3.0


class MixedInstance(ServiceMixin):
    """Of facet's face; its time for a stop is set when it is made."""

    def __init__(self, timeout: float) -> None:
        self.graceful_shutdown_timeout = timeout


class Blocking(BlockingServiceMixin):
    """Of facet's face, and blocking."""


class PoolProxy(ServiceProxy):
    """Stands for a pool."""

    @cached_property
    def _service(self) -> Pool:
        return Pool()


@asynccontextmanager
async def connect(host: str) -> AsyncGenerator[Connection]:
    """A context, async."""
    await anyio.lowlevel.checkpoint()
    yield Connection()


@contextmanager
def lock() -> Generator[str]:
    """A context, plain."""
    yield "locked"


async def fetch(number: int = 1) -> int:
    """Give a number."""
    await anyio.lowlevel.checkpoint()
    return number


async def tell() -> str:
    """Give a text."""
    await anyio.lowlevel.checkpoint()
    return "told"


# --- async with: it knows whom it gives -----------------------------------------------------------


async def enter() -> None:
    """Of each face and kind, `async with` gives what was entered, as what it is."""
    async with Pool() as pool, Special() as special, Parallel() as parallel:
        assert_type(pool, Pool)
        assert_type(pool.size, int)
        assert_type(special, Special)
        assert_type(parallel, Parallel)
    async with Computing(num_workers=1) as computing, MethodQueue() as queue:
        assert_type(computing, Computing)
        assert_type(queue, MethodQueue)
    async with Mixed() as mixed, MixedInstance(1.0) as instance, MixedAnnotated() as annotated:
        assert_type(mixed, Mixed)
        assert_type(instance, MixedInstance)
        assert_type(annotated, MixedAnnotated)
    async with PoolProxy() as proxy:
        assert_type(proxy, PoolProxy)
        assert_type(proxy.started, bool)
    async with OneForOneSupervisor(Pool()) as supervisor:
        assert_type(supervisor, OneForOneSupervisor)
    with Blocking() as blocking:
        assert_type(blocking, Blocking)


async def leave() -> int:
    """A block swallows nothing: there need not be a `return` behind it."""
    async with Pool() as pool:
        return pool.size


# --- What is added, is returned as what it is -----------------------------------------------------


async def add(parent: Service, general: ServiceT) -> None:
    """Services of all faces, before and while it runs."""
    assert_type(parent.add_dependency(Special()), Special)
    assert_type(parent.add_dependency(Parallel()), Parallel)
    assert_type(parent.add_dependency(Mixed()), Mixed)
    assert_type(parent.add_dependency(PoolProxy()), PoolProxy)
    assert_type(parent.add_dependency(hold(connect("host"))), Held[Connection])
    assert_type(await parent.add_runtime_dependency(Special()), Special)
    assert_type(await parent.add_runtime_dependency(Mixed()), Mixed)
    assert_type(await parent.remove_dependency(Special()), Special)
    assert_type(parent.add_dependency(general), ServiceT)
    assert_type(general.add_dependency(Special()), Special)
    assert_type(await general.add_runtime_dependency(Special()), Special)
    parent.add_dependency_group(Pool(), Parallel(), Mixed(), PoolProxy(), general)
    # The service that is returned may be used at once.
    assert_type(parent.add_dependency(Pool()).add_dependency(Special()).size, int)


async def add_contexts(parent: Service) -> None:
    """Contexts give what entering them gives."""
    assert_type(parent.add_context(lock()), str)
    assert_type(parent.add_context(nullcontext(1)), int)
    assert_type(await parent.add_async_context(connect("host")), Connection)
    assert_type(await parent.add_async_context(Pool()), Pool)
    assert_type(await parent.add_async_context(Mixed()), Mixed)
    assert_type(await parent.add_async_context(nullcontext(b"")), bytes)


# --- Results --------------------------------------------------------------------------------------


async def add_futures(parent: Service, mixed: Mixed) -> None:
    """The handle of work knows its result, whatever form the work has."""
    handle = parent.add_future(fetch(1))
    assert_type(handle, Task[int])
    assert_type(await handle, int)
    assert_type(handle.result(), int)
    assert_type(handle.exception(), BaseException | None)
    assert_type(parent.add_future(tell), Task[str])
    assert_type(parent.add_future(lambda: fetch(2)), Task[int])
    assert_type(parent.add_future(handle), Task[int])
    assert_type(parent.add_future(connect("host").__aenter__()), Task[Connection])
    assert_type(parent.add_future(anyio.sleep_forever), Task[None])
    assert_type(mixed.add_task(fetch(1)), Task[int])
    assert_type(await mixed.add_task(tell, name="tell"), str)
    handle.add_done_callback(lambda done: assert_type(done, Task[int]))


async def call_threads(computing: Computing, queue: MethodQueue) -> None:
    """A call into a thread has the arguments and the result of what is called."""
    assert_type(await computing.call_thread(computing.square, 2), int)
    assert_type(await computing.call_thread(computing.square, 2, twice=True), int)
    assert_type(await computing.call_thread(computing.square_now, number=2), int)
    assert_type(await computing.call_thread(str.upper, "text"), str)
    assert_type(await computing.call_thread(tell), str)
    assert_type(await queue.perform(fetch, 3), int)
    assert_type(await queue.perform(len, "text"), int)
    promise = await queue.call(None, fetch, 3)
    assert_type(promise, Promise[int])
    assert_type(await promise, int)
    assert_type(await (await queue.call(None, len, "text")), int)
    future: asyncio.Future[int] = asyncio.Future()
    assert_type(await queue.call(future, fetch, 3), asyncio.Future[int])
    assert_type(await computing.cast_thread(computing.square, 2, twice=True), None)
    assert_type(await queue.cast(print, "text"), None)


async def wait(parent: Service, event: anyio.Event, ready: asyncio.Event) -> None:
    """A wait for one thing has its result; one for several of a kind has a list of that kind."""
    assert_type(await parent.wait(fetch()), WaitResult[int])
    assert_type(await parent.wait(tell, timeout=1.0), WaitResult[str])
    assert_type(await parent.wait(event), WaitResult[None])
    assert_type((await parent.wait(fetch())).result, int | None)
    assert_type(await parent.wait(timeout=1.0), WaitResult[None])
    number, stopped = await parent.wait(fetch())
    assert_type(number, int | None)
    assert_type(stopped, bool)

    assert_type(await parent.wait_many([fetch(), fetch()]), WaitResult[list[int]])
    assert_type(await parent.wait_many(fetch(n) for n in range(3)), WaitResult[list[int]])
    numbers, _ = await parent.wait_many([fetch])
    assert_type(numbers, list[int] | None)

    one = await parent.wait_first(fetch())
    assert_type(one, WaitResults[int])
    assert_type(one.timed_out, bool)
    assert_type((await parent.wait_first(fetch(), tell())).results, list[int | str])
    assert_type((await parent.wait_first(fetch, event, timeout=1)).results, list[int | None])
    done, results, _ = await parent.wait_first(fetch(), tell(), event, ready)
    assert_type(done, list[Any])
    assert_type(results, list[Any])
    assert_type(await parent.wait_for_stopped(event, ready), bool)


def general_results() -> tuple[WaitResult[int], WaitResults]:
    """Who does not care what was waited for need not say it."""
    return WaitResult(1, stopped=False), WaitResults([], [], stopped=True)


# --- Declared work is a method --------------------------------------------------------------------


async def call_declared(pool: Pool, special: Special) -> None:
    """Tasks, timers and crontabs can be called by hand, and return what they return."""
    assert_type(await pool.count(), int)
    assert_type(await special.count(), int)
    assert_type(await pool.name_it(), str)
    assert_type(await pool.forever(), None)
    assert_type(await pool.tick(), bool)
    assert_type(await pool.tock(), None)
    assert_type(await pool.at_noon(), bytes)
    assert_type(await pool.at_night(), None)
    assert_type(pool.add_future(pool.count), Task[int])


def look_at_declared() -> None:
    """In the class they are declarations."""
    assert_type(Pool.count, ServiceTask[int])
    assert_type(Pool.tick, TimerTask[bool])
    assert_type(Pool.tock, TimerTask[None])
    assert_type(Pool.at_noon, CrontabTask[bytes])
    assert_type(Pool.count.name, str)


async def transition(pool: Pool) -> None:
    """What is awaited under a flag has its result."""
    assert_type(await pool.transition_with("busy", fetch(1)), int)
    assert_type(await pool.transition_with("busy", fetch, 1), int)
    assert_type(await pool.transition_with("busy", tell), str)
    await pool.transition_with("busy", anyio.sleep, 1.0)


async def iterate(parent: Service) -> None:
    """A timer gives seconds."""
    async for seconds in parent.itertimer(1.0):
        assert_type(seconds, float)


# --- Services of functions ------------------------------------------------------------------------


@service
async def job(number: int) -> int:
    """A job."""
    return await fetch(number)


@service(name="pool", shutdown_timeout=1.0)
async def held(size: int) -> AsyncIterator[Connection]:
    """Something held."""
    await anyio.lowlevel.checkpoint()
    yield Connection()


made = service(connect)


async def functions() -> None:
    """Jobs know their results, and what holds something knows what."""
    async with job(1) as working, held(size=2) as holding, made("host") as connected:
        assert_type(working, Job[int])
        assert_type(working.result, int)
        assert_type(holding, Held[Connection])
        assert_type(holding.value, Connection)
        assert_type(connected.value, Connection)
    assert_type(hold(connect("host")), Held[Connection])
    assert_type(hold(lambda: connect("host")).value, Connection)


def scripts() -> None:
    """What a script runs, returns."""
    assert_type(run(job(1)), int)
    run(Pool(), backend="trio")
    run(Mixed())


# --- Supervisors, signals, stacks, errors ---------------------------------------------------------


async def supervise() -> None:
    """Supervisors take services, alone or with how they are to be supervised."""

    async def another(broken: ServiceT, place: int) -> ServiceT:
        await anyio.lowlevel.checkpoint()
        return Pool()

    async def another_pool(broken: Pool, place: int) -> Pool:
        await anyio.lowlevel.checkpoint()
        return broken

    supervisor = OneForOneSupervisor(Pool(), replacement=another, backoff=Backoff())
    OneForOneSupervisor(Pool(), replacement=another_pool)
    supervisor.add(Pool(), Parallel(), PoolProxy(), restart="transient", shutdown_timeout="1/s")
    supervisor.add(Supervised(Pool(), restart="temporary", significant=True))
    supervisor.insert(0, Special())
    supervisor.discard(Pool())
    assert_type(supervisor.services, Sequence[Service])
    assert_type(supervisor.services[0].health.ready, bool)
    async with supervisor.services[0] as service:
        assert_type(service.supervisor, SupervisorStrategyT | None)
    if service.supervisor is not None:
        assert_type(service.supervisor.services, Sequence[ServiceT])
    assert_type(supervisor.add_dependency(Special()), Special)


class Inbox:
    """Sends signals."""

    arrived: Signal[Inbox] = Signal()
    full: SyncSignal[Inbox] = SyncSignal()


@Inbox.arrived.connect
async def on_arrival(sender: Inbox, mail: str, **kwargs: Any) -> int:
    """A receiver."""
    await anyio.lowlevel.checkpoint()
    return len(mail)


@Inbox.full.connect(weak=True)
def on_full(sender: Inbox, **kwargs: Any) -> None:
    """Another."""


async def use_signals(inbox: Inbox) -> None:
    """What is connected keeps its type; a signal knows its sender."""
    assert_type(await on_arrival(inbox, "mail"), int)
    assert_type(inbox.arrived, Signal[Inbox])
    assert_type(await inbox.arrived.send(inbox, "mail"), None)
    assert_type(inbox.full.send(inbox), None)
    assert_type(inbox.arrived.with_default_sender(inbox), Signal[Inbox])
    assert_type(inbox.arrived.clone(), Signal[Inbox])


def use_stacks() -> None:
    """A stack knows its items."""
    stack: LocalStack[Connection] = LocalStack()
    with stack.push(Connection()):
        assert_type(stack.top, Connection | None)
    assert_type(stack.stack, Sequence[Connection])
    assert_type(stack.pop(), Connection | None)


async def errors(pool: Pool) -> None:
    """Errors have parts, and are of the kinds that one would look for."""
    try:
        await pool.start()
    except ShutdownTimeout as exc:
        timeout: TimeoutError = exc
        assert_type([stuck.stack for stuck in exc.stuck], list[str])
        raise timeout from None
    except StartAborted as exc:
        assert_type(exc.label, str)
    except TaskReturned as exc:
        assert_type(exc.task, str)
    except (LifecycleError, MaxRestartsExceeded) as exc:
        assert_type(exc, LifecycleError | MaxRestartsExceeded)
    assert_type(pool.crash_reason, BaseException | None)
    assert_type(pool.failures, Sequence[BaseException])
