"""Code as users write it, for the type checkers: it is checked, and never run.

mypy and pyright read it, both strictly. `assert_type` says what they must infer where that matters to a user; a comment
`type: ignore[...]` marks what must be an error: both complain if it is none.
"""

from __future__ import annotations

# An ignored error that is none would be a hole in the types.
# pyright: reportUnnecessaryTypeIgnoreComment=true
import datetime
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable, Sequence
from contextlib import (
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from functools import cached_property
from typing import Any, assert_type
from zoneinfo import ZoneInfo

import anyio
import anyio.lowlevel

import structmode
from structmode import (
    Diag,
    DiagT,
    LifecycleError,
    MaxRestartsExceeded,
    Service,
    ServiceT,
    ShutdownTimeout,
    StartAborted,
    StuckTask,
    Timer,
    WaitResult,
    WaitResults,
    Worker,
    crontab,
    task,
    timer,
    want_seconds,
)
from structmode.events import (
    Crashed,
    LifecycleEvent,
    StopOverdue,
    TaskEnded,
    TickFailed,
    TicksSkipped,
    subscribe,
)
from structmode.facet import BlockingServiceMixin, HasLife, ServiceMixin
from structmode.proxy import ServiceProxy
from structmode.utils.cron import CronSchedule, CronTicks, secs_for_next
from structmode.utils.trees import Node


def use(*values: object) -> None:
    """Take what would be unused."""


# --- A service with everything --------------------------------------------------------------------


class Connection:
    """What a service may hold."""

    async def send(self, line: str) -> int:
        """Send a line; return its length."""
        await anyio.lowlevel.checkpoint()
        return len(line)


@asynccontextmanager
async def connect(host: str) -> AsyncGenerator[Connection]:
    """Hold a connection open."""
    await anyio.lowlevel.checkpoint()
    yield Connection()


@contextmanager
def lock(path: str) -> Generator[str]:
    """Hold a lock."""
    yield path


class Cache(Service):
    """A child."""

    wait_for_shutdown = True
    shutdown_timeout = 10.0
    drain_timeout = 1.0
    mundane_level = "debug"
    logger = logging.getLogger("cache")

    size: int = 0

    def get(self, key: str) -> bytes | None:
        """Return what is cached."""
        return key.encode() or None


class MyDiag(Diag):
    """A subclass of the diagnostics."""


class App(Service):
    """A service that uses what there is."""

    Diag = MyDiag

    def __init__(self, name: str, *, port: int = 80, **kwargs: Any) -> None:
        self.name = name
        self.port = port
        super().__init__(**kwargs)

    def __post_init__(self) -> None:
        self.cache = self.add_dependency(Cache())
        assert_type(self.cache, Cache)
        self.log.info("made %s", self.name)

    def on_init(self) -> None:
        self.connections: list[Connection] = []

    def on_init_dependencies(self) -> Iterable[ServiceT]:
        return [Cache()]

    async def on_first_start(self) -> None:
        path = self.add_context(lock("app.lock"))
        assert_type(path, str)
        connection = await self.add_async_context(connect("localhost"))
        assert_type(connection, Connection)
        assert_type(self.add_context(nullcontext(1)), int)
        assert_type(await self.add_async_context(nullcontext("x")), str)

    async def on_start(self) -> None:
        other = await self.add_runtime_dependency(Cache())
        assert_type(other, Cache)
        assert_type(await self.remove_dependency(other), Cache)

    async def on_started(self) -> None:
        await super().on_started()

    async def on_stop(self) -> None:
        self.set_shutdown()

    async def on_shutdown(self) -> None:
        assert_type(self.failures, Sequence[BaseException])

    async def on_restart(self) -> None:
        assert_type(self.restart_count, int)

    @property
    def label(self) -> str:
        return f"App({self.name})"

    @Service.task
    async def work(self) -> None:
        while not self.should_stop:
            await self.sleep(1.0)
            await self.sleep(datetime.timedelta(seconds=1))
            await self.sleep("10/m")

    @task
    async def more_work(self) -> int:
        return 1

    @Service.timer(1.0)
    async def tick(self) -> None:
        await self.transition_with("ticking", self.more_work())

    @timer("1/s", exec_first=True, name="second", max_drift_correction=0.5, on_error="log")
    async def tock(self) -> None:
        pass

    @Service.timer(datetime.timedelta(minutes=1))
    async def each_minute(self) -> None:
        pass

    @Service.crontab("30 18 * * *", timezone=ZoneInfo("Europe/Berlin"))
    async def each_day(self) -> None:
        pass

    @crontab("* * * * *", on_error="crash")
    async def each_minute_of_the_clock(self) -> None:
        pass

    @Service.transitions_to("sending")
    async def send(self, line: str, *, to: Connection) -> int:
        return await to.send(line)

    @Service.transitions_with("resting")
    async def rest(self) -> None:
        await self.sleep(1)


class Special(App):
    """A subclass of a user's own."""

    @Service.task
    async def work(self) -> None:
        await self.more_work()


# --- Life -----------------------------------------------------------------------------------------


async def return_from_the_block() -> int:
    """A block swallows nothing, so that what follows a `return` in it is known not to be reached."""
    async with App("one", port=8080) as app:
        return len(app.label)


async def use_blocks(special: Special) -> None:
    """`async with` gives the service as what it is."""
    async with App("one", port=8080) as app, special as same:
        assert_type(app, App)
        assert_type(same, Special)
        assert_type(app.cache.get("key"), bytes | None)
        assert_type(app.cache.size, int)


async def control(app: App) -> None:
    """The messages to a service, and what it tells of itself."""
    assert_type(await app.maybe_start(), bool)
    await app.start()
    await app.restart()
    await app.crash(KeyboardInterrupt())
    await app.stop()
    await app.wait_until_stopped()
    await app.join_services([Cache(), App("two")])
    app.service_reset()
    assert_type(app.started, bool)
    assert_type(app.crashed, bool)
    assert_type(app.crash_reason, BaseException | None)
    assert_type(app.should_stop, bool)
    assert_type(app.state, str)
    assert_type(app.label, str)
    assert_type(app.shortlabel, str)
    assert_type(app.human_tracebacks(), str)
    assert_type(app.exit_stack, ExitStack)
    assert_type(app.async_exit_stack, AsyncExitStack)
    for name, stack in app.tracebacks().items():
        assert_type(name, str)
        assert_type(stack, str)


async def call_declared(app: App, connection: Connection) -> None:
    """What is declared as work can be called by hand; what a transition decorates keeps its signature."""
    await app.work()
    await app.tick()
    await app.each_day()
    assert_type(await app.send("line", to=connection), int)
    assert_type(await app.rest(), None)


def use_diag(app: App) -> None:
    """Flags."""
    diag: DiagT = app.diag
    diag.set_flag("busy")
    assert_type(diag.flags, set[str])
    assert_type(diag.last_transition, dict[str, float])
    own: Diag = MyDiag(app)
    own.unset_flag("busy")


def use_tree(app: App) -> None:
    """The tree of services, and trees of other things."""
    for node in app.beacon.traverse():
        assert_type(node.depth, int)
        assert_type(node.path, str)
    root: Node[int] = Node(1)
    child = root.new(2)
    assert_type(child, Node[int])
    assert_type(child.data, int)
    assert_type(child.parent, Node[int] | None)
    assert_type(child.root, Node[int] | None)
    assert_type(root.children, tuple[Node[int], ...])


def general(service: ServiceT) -> str:
    """Code that only knows that something is a service."""
    service.add_dependency(Cache())
    return service.label


def make_general() -> list[str]:
    """Every service is a ServiceT."""
    return [general(App("three")), general(Cache()), general(Worker())]


# --- Work and waits -------------------------------------------------------------------------------


async def fetch(number: int = 1) -> int:
    """Something to wait for."""
    await anyio.lowlevel.checkpoint()
    return number


async def add_futures(app: App) -> None:
    """Coroutines, awaitables and async callables run in the background, and give their results."""
    handle = app.add_future(fetch(2), name="fetch")
    result: int = await handle
    assert_type(handle.done(), bool)
    assert_type(handle.cancelled(), bool)
    assert_type(handle.cancel(), bool)
    assert_type(handle.exception(), BaseException | None)
    assert_type(handle.name, str)
    again: int = handle.result() + result
    handle.add_done_callback(lambda ended: use(ended.name, again))
    app.add_future(fetch)
    app.add_future(handle)
    app.add_future(connect("host").__aenter__)


async def wait_for_things(app: App, event: anyio.Event) -> None:
    """The tuples that waits give can be unpacked, and tell of a timeout."""
    result, stopped = await app.wait(fetch(), timeout=1.0)
    number: int | None = result
    assert_type(stopped, bool)
    outcome = await app.wait(event, timeout=datetime.timedelta(seconds=1))
    assert_type(outcome.stopped, bool)
    assert_type(outcome.timed_out, bool)
    await app.wait(fetch, event, anyio.sleep(1), timeout="1/s")
    await app.wait()
    everything, stopped = await app.wait_many([fetch(), fetch], timeout=1)
    if everything is not None:
        numbers: list[int] = everything
        use(numbers)
    done, results, stopped = await app.wait_first(fetch(), event, timeout=1)
    assert_type(done, list[Any])
    assert_type(results, list[int | None])
    assert_type(await app.wait_for_stopped(event, timeout=None), bool)
    use(number)


def make_results() -> tuple[WaitResult[int], WaitResults]:
    """The results can be made by hand, for a test with a fake service."""
    result = WaitResult(1, stopped=False)
    assert_type(result, WaitResult[int])
    assert_type(result.result, int | None)
    return result, WaitResults([], [], stopped=True)


async def make_of_awaitables() -> None:
    """A service can be made of an awaitable."""
    service = Service.from_awaitable(fetch(), name="fetch")
    assert_type(service, Service)
    Service.from_awaitable(fetch, beacon=service.beacon)
    async with service as same:
        assert_type(same, Service)


# --- Timers and crontabs --------------------------------------------------------------------------


async def use_timers(app: App) -> None:
    """Timers give the seconds to the next tick."""
    ticks = app.itertimer(
        "1/s", max_drift_correction=0.2, name="ticks", sleep=anyio.sleep, clock=anyio.current_time
    )
    assert_type(ticks, AsyncIterator[float])
    async for seconds in app.itertimer(1.0, sleep=app.sleep):
        assert_type(seconds, float)
    timer = Timer(1.0, name="timer")
    async for seconds in timer:
        assert_type(seconds, float)
    timer.start()
    assert_type(timer.delay(), float)
    assert_type(timer.tick(), float)
    assert_type(timer.iteration, int)
    assert_type(timer.skipped, int)
    assert_type(want_seconds("1/m"), float)
    assert_type(secs_for_next("* * * * *", ZoneInfo("UTC")), float)


def use_crontabs() -> None:
    """The times of a cron line."""
    schedule = CronSchedule("* * * * *", timezone=datetime.UTC)
    assert_type(schedule.next_after(datetime.datetime.now(datetime.UTC)), datetime.datetime)
    ticks = CronTicks(schedule, name="cron")
    assert_type(ticks.delay(), float)
    assert_type(ticks.due(), bool)
    assert_type(ticks.tick(), datetime.datetime)
    assert_type(ticks.target, datetime.datetime | None)


# --- Errors, events, workers ----------------------------------------------------------------------


async def handle_errors(app: App) -> None:
    """Errors carry their parts."""
    try:
        await app.stop()
    except ShutdownTimeout as exc:
        assert_type(exc.timeout, float)
        assert_type(exc.stuck, tuple[StuckTask, ...])
        assert_type([stuck.stack for stuck in exc.stuck], list[str])
        timeout: TimeoutError = exc
        use(timeout)
    except StartAborted as exc:
        assert_type(exc.label, str)
    except LifecycleError as exc:
        assert_type(exc.problem, str)
        assert_type(exc.remedy, str)
        error: RuntimeError = exc
        use(error)
    except MaxRestartsExceeded as exc:
        any_of_ours: structmode.StructmodeError = exc
        use(any_of_ours)


def listen(event: LifecycleEvent) -> str:
    """Events are told apart by their types."""
    match event:
        case Crashed(reason=reason):
            assert_type(reason, BaseException)
            return str(reason)
        case TaskEnded():
            assert_type(event.error, BaseException | None)
            return event.task
        case TickFailed() | TicksSkipped():
            return event.timer
        case StopOverdue():
            return str(len(event.stuck))
        case _:
            label: str = event.subject.label
            return label


def subscribe_to_events() -> None:
    """Who subscribes gets a function that ends that."""

    def on_event(event: LifecycleEvent) -> None:
        use(listen(event))

    unsubscribe = subscribe(on_event)
    unsubscribe()


class MyWorker(Worker):
    """A worker of a user's own."""

    def on_setup_root_logger(self, logger: logging.Logger, level: int) -> None:
        logger.setLevel(level)

    async def on_execute(self) -> None:
        self.say("here we go")

    def on_worker_shutdown(self) -> None:
        self.carp("that was it")


def run_worker() -> None:
    """Runs for ever: what follows is never reached, and the checkers know."""
    worker = MyWorker(App("four"), Cache(), loglevel="info", backend="trio", daemon=True)
    assert_type(worker.services, Sequence[ServiceT])
    worker.execute_from_commandline()


async def embed_worker() -> None:
    """A worker is a service."""
    async with MyWorker(App("five"), override_logging=False) as worker:
        assert_type(worker, MyWorker)


# --- What must be an error ------------------------------------------------------------------------


async def mistakes(app: App) -> None:
    """Each line is a mistake that the types tell of, before anything runs."""
    app.add_dependency(Cache)  # type: ignore[type-var]
    await app.crash("text")  # type: ignore[arg-type]
    app.add_context(connect("host"))  # type: ignore[arg-type]
    await app.add_async_context(lock("path"))  # type: ignore[arg-type]
    await app.sleep(None)  # type: ignore[arg-type]
    app.state = "running"  # type: ignore[misc]
    await app.send(1, to=Connection())  # type: ignore[arg-type]
    Timer(None)  # type: ignore[arg-type]
    Worker("service")  # type: ignore[arg-type]
    Worker(backend=1)  # type: ignore[arg-type]


def declare_mistakes() -> None:
    """So are these declarations."""

    class Mistaken(Service):
        @Service.task  # type: ignore[arg-type]
        def plain(self) -> None:
            pass

        @Service.task  # type: ignore[arg-type]
        async def with_argument(self, argument: int) -> None:
            pass

        @Service.timer(1.0, on_error="ignore")  # type: ignore[arg-type]
        async def tick(self) -> None:
            pass

        def on_start(self) -> None:  # type: ignore[override]
            pass

    use(Mistaken)


# --- A proxy --------------------------------------------------------------------------------------


class CacheProxy(ServiceProxy):
    """A service that is made when it is first needed."""

    @cached_property
    def _service(self) -> Cache:
        return Cache()


class VagueProxy(ServiceProxy):
    """One that says as little of the service as mode's manual does."""

    @cached_property
    def _service(self) -> ServiceT:
        return Cache()


async def use_proxies(app: App) -> None:
    """A proxy has all that a service has, with the same types."""
    async with CacheProxy() as proxy:
        assert_type(proxy, CacheProxy)
        assert_type(app.add_dependency(proxy), CacheProxy)
        assert_type(proxy.add_dependency(Cache()), Cache)
        assert_type(await proxy.maybe_start(), bool)
        assert_type(await proxy.wait(Connection().send("line")), WaitResult[int])
        assert_type(proxy.crash_reason, BaseException | None)
        proxy.shutdown_timeout = 1.0
        use(proxy.size)  # type: ignore[attr-defined]
    use(VagueProxy().state, Worker(CacheProxy()))


# --- Services as mixins ---------------------------------------------------------------------------


class Pool(ServiceMixin):
    """A dependency."""

    @property
    def graceful_shutdown_timeout(self) -> float:
        return 3.0


class Shop(ServiceMixin):
    """Depends on services of both faces."""

    def __init__(self) -> None:
        self.pool = Pool()
        self.cache = Cache()

    @property
    def dependencies(self) -> Iterable[HasLife | Iterable[HasLife]]:
        return [self.pool, [self.cache, self.pool]]

    async def start(self) -> None:
        handle = self.add_task(self.count())
        assert_type(await handle, int)
        assert_type(handle.result(), int)
        self.add_task(3)  # type: ignore[arg-type]

    async def count(self) -> int:
        """Return a number."""
        await anyio.lowlevel.checkpoint()
        return 1


class Narrow(ServiceMixin):
    """Says more precisely what it depends on."""

    @property
    def dependencies(self) -> tuple[Pool, list[Cache]]:
        return (Pool(), [Cache()])


class Archive(BlockingServiceMixin):
    """A blocking one."""

    @property
    def dependencies(self) -> list[BlockingServiceMixin]:
        return []


async def facets() -> None:
    """Use them."""
    async with Shop() as shop:
        assert_type(shop, Shop)
        assert_type(shop.running, bool)
        assert_type(await shop.wait(), None)
    with Archive() as archive:
        assert_type(archive, Archive)
    parent = Service()
    assert_type(parent.add_dependency(shop), Shop)
    assert_type(await parent.add_runtime_dependency(shop), Shop)
    parent.add_dependency_group(shop, Cache(), Narrow())
    parent.add_dependency(archive)  # type: ignore[type-var]
