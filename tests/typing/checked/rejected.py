"""Mistakes that both type checkers must tell before anything runs, in the lines that end with "# error", and in no others.

`test_checkers.py` has them read it; the checks of the whole project leave it out. It is never run.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager

import anyio
import anyio.lowlevel

from structmode import Service, ServiceT, Signal, Timer, Worker, crontab, task, timer
from structmode.facet import BlockingServiceMixin, ServiceMixin
from structmode.functions import hold, run, service
from structmode.locals import LocalStack
from structmode.supervisors import Backoff, OneForOneSupervisor, Supervised
from structmode.threads import MethodQueue, QueueServiceThread


class Pool(Service):
    """A service."""

    size: int = 3

    @Service.task
    async def count(self) -> int:
        return self.size


class Computing(QueueServiceThread):
    """In a thread."""

    async def square(self, number: int, *, twice: bool = False) -> int:
        return await self.call_thread(self.square, number, twice=twice)


class Mixed(ServiceMixin):
    """Of facet's face."""


class Blocking(BlockingServiceMixin):
    """Of facet's face, and blocking."""


@asynccontextmanager
async def connect() -> AsyncGenerator[str]:
    """A context, async."""
    await anyio.lowlevel.checkpoint()
    yield "connection"


@contextmanager
def lock() -> Generator[bytes]:
    """A context, plain."""
    yield b""


async def fetch() -> int:
    """Give a number."""
    await anyio.lowlevel.checkpoint()
    return 1


# --- What is entered and added is what it is ------------------------------------------------------


async def enter() -> None:
    """And nothing else."""
    async with Pool() as pool:
        use(pool.sizes)  # error
    with Pool():  # error
        pass
    with Mixed():  # error
        pass
    async with Blocking():  # error
        pass


async def add(parent: Service, general: ServiceT) -> None:
    """What is no service can't be added, and what is added has no other members."""
    parent.add_dependency(Pool)  # error
    parent.add_dependency("pool")  # error
    parent.add_dependency(Blocking())  # error
    use(parent.add_dependency(Pool()).sizes)  # error
    mixed: Mixed = parent.add_dependency(Pool())  # error
    await parent.add_runtime_dependency(fetch())  # error
    other: Mixed = await parent.add_runtime_dependency(Pool())  # error
    parent.add_dependency_group([Pool(), Pool()])  # error
    parent.add_dependency_group(Pool(), Blocking())  # error
    general.add_dependency(3)  # error
    use(mixed, other)


async def add_contexts(parent: Service) -> None:
    """Each kind of context has its own call."""
    parent.add_context(connect())  # error
    await parent.add_async_context(lock())  # error
    text: bytes = await parent.add_async_context(connect())  # error
    data: str = parent.add_context(lock())  # error
    use(text, data)


# --- Results --------------------------------------------------------------------------------------


async def add_futures(parent: Service, mixed: Mixed) -> None:
    """A handle has the result of its work."""
    parent.add_future(3)  # error
    parent.add_future(len)  # error
    text: str = await parent.add_future(fetch())  # error
    other: str = mixed.add_task(fetch).result()  # error
    parent.add_future(fetch()).results()  # error
    use(text, other)


async def call_threads(computing: Computing, queue: MethodQueue) -> None:
    """A call has the arguments and the result of what is called."""
    await computing.call_thread(computing.square)  # error
    await computing.call_thread(computing.square, "2")  # error
    await computing.call_thread(computing.square, 2, thrice=True)  # error
    await computing.call_thread(computing.square(2))  # error
    text: str = await computing.call_thread(computing.square, 2)  # error
    await computing.cast_thread(computing.square, "2")  # error
    await queue.cast(computing.square)  # error
    await queue.perform(computing.square, "2")  # error
    await queue.call(None, computing.square, "2")  # error
    use(text)


async def wait(parent: Service) -> None:
    """The result of a wait is that of what was waited for, or None."""
    outcome = await parent.wait(fetch())
    number: int = outcome.result  # error
    text: str | None = outcome.result  # error
    texts: list[str] | None = (await parent.wait_many([fetch(), fetch()])).result  # error
    first: list[str] = (await parent.wait_first(fetch())).results  # error
    either: list[str] = (await parent.wait_first(fetch(), anyio.Event())).results  # error
    await parent.wait(3)  # error
    await parent.wait(fetch(), timeout=[1])  # error
    await parent.wait_many(3)  # error
    result, stopped, more = await parent.wait(fetch())  # error
    use(number, text, texts, first, either, result, stopped, more)


# --- Declarations ---------------------------------------------------------------------------------


class Declared(Service):
    """Declares what can't be run."""

    @Service.task  # error
    def plain(self) -> None:
        pass

    @task  # error
    async def with_argument(self, argument: int) -> None:
        pass

    @Service.timer  # error
    async def without_interval(self) -> None:
        pass

    @timer(1.0, on_error="ignore")  # error
    async def ignored(self) -> None:
        pass

    @Service.task(on_error="restart", backoff=1.0)  # error
    async def with_seconds(self) -> None:
        pass

    @crontab(5)  # error
    async def with_number(self) -> None:
        pass

    @Service.timer(1.0)  # error
    def plain_timer(self) -> None:
        pass

    def on_start(self) -> None:  # error
        pass


async def call_declared(pool: Pool) -> None:
    """What is declared takes no arguments, and returns what it returns."""
    await pool.count(1)  # error
    text: str = await pool.count()  # error
    await pool.transition_with("busy", fetch, 1)  # error
    other: str = await pool.transition_with("busy", fetch())  # error
    use(text, other)


# --- Functions, supervisors, signals, stacks ------------------------------------------------------


@service
async def job(number: int) -> int:
    """A job."""
    await anyio.lowlevel.checkpoint()
    return number


@service
async def held(size: int) -> AsyncIterator[str]:
    """Something held."""
    await anyio.lowlevel.checkpoint()
    yield "held"


@service  # error
def plain() -> int:
    """Neither."""
    return 1


def functions() -> None:
    """Services of functions take their arguments."""
    job("1")  # error
    job()  # error
    held(sizes=1)  # error
    use(job(1).value)  # error
    use(held(1).result)  # error
    text: str = job(1).result  # error
    number: int = held(1).value  # error
    other: str = run(job(1))  # error
    hold(lock())  # error
    run(Blocking())  # error
    use(text, number, other)


async def others(pool: Pool, supervisor: OneForOneSupervisor) -> None:
    """Other things that can't be."""
    await pool.crash("text")  # error
    await pool.sleep(None)  # error
    pool.state = "running"  # error
    supervisor.add(Pool)  # error
    supervisor.add(Pool(), restart="sometimes")  # error
    supervisor.insert(Pool(), 0)  # error
    Supervised(pool, restart=True)  # error
    OneForOneSupervisor(pool, backoff=3.0)  # error
    OneForOneSupervisor(pool, replacement=Pool)  # error
    Backoff(jitter="much")  # error
    Timer(None)  # error
    Worker("service")  # error
    signal: Signal[Pool] = Signal()
    signal.connect(3)  # error
    stack: LocalStack[int] = LocalStack()
    stack.push("text")  # error
    text: str | None = stack.top  # error
    use(text)


def use(*values: object) -> None:
    """Take what would be unused."""
