"""What mode's code does and a port must not inherit: each test states the opposite of one such habit."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import math
import os
import selectors
import subprocess
import sys
import tomllib
import traceback
from collections.abc import Callable
from contextvars import Context
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVarTuple

import anyio
import anyio.lowlevel
import pytest
import trio
import trio.testing

import structmode
from structmode import LifecycleError, Service, ServiceT, StartAborted

Ts = TypeVarTuple("Ts")

#: Where structmode is imported from, installed or not.
HERE = Path(structmode.__file__).parents[1]

#: Longer than any test takes, in seconds: nothing here waits for it to pass.
FOREVER = 3600.0


async def settle() -> None:
    """Let all happen that can happen without time passing."""
    for _ in range(50):
        await anyio.lowlevel.checkpoint()


class Probe(Service):
    """A service with a task, that notes its hooks."""

    def __init__(self, events: list[str] | None = None, **kwargs: Any) -> None:
        self.events: list[str] = [] if events is None else events
        super().__init__(**kwargs)

    async def on_start(self) -> None:
        self.events.append("on_start")

    async def on_started(self) -> None:
        self.events.append("on_started")

    async def on_stop(self) -> None:
        self.events.append("on_stop")

    async def on_shutdown(self) -> None:
        self.events.append("on_shutdown")

    @Service.task
    async def work(self) -> None:
        await self.sleep(FOREVER)


# --- State, and what a restart does to it ---------------------------------------------------------


@pytest.mark.fault("A15")
async def test_state_after_stop_is_shutdown() -> None:
    """Once `stop` has returned, the service no longer reads as stopping, nor as started."""
    service = Probe()
    await service.start()
    await service.stop()
    assert (service.state, service.started, service.should_stop) == ("shutdown", False, True)
    assert repr(service) == "<Probe: shutdown>"


@pytest.mark.fault("A15")
async def test_state_after_each_way_to_stop() -> None:
    """However a service has stopped - by a block, its parent, a task or hook of its own - it reads shutdown."""

    up = anyio.Event()

    class StopsItself(Probe):
        @Service.task
        async def work(self) -> None:
            await up.wait()
            await self.stop()

    class StopsInHook(Probe):
        async def on_started(self) -> None:
            await self.stop()

    child, by_task, by_hook = Probe(), StopsItself(), StopsInHook()
    parent = Probe()
    parent.add_dependency(child)
    async with parent:
        pass
    for service in (by_task, by_hook):
        async with service:
            up.set()
            await service.wait_until_stopped()
    states = [service.state for service in (parent, child, by_task, by_hook)]
    assert states == ["shutdown"] * 4


async def test_restart_makes_a_new_run() -> None:
    """After a restart the service is as after a first start: running, not told to stop, not crashed."""
    async with Probe() as service:
        await service.restart()
        assert (service.state, service.should_stop, service.crashed) == ("running", False, False)
        assert service.restart_count == 1


async def test_who_waits_on_the_old_life_is_not_left_waiting_on_the_new() -> None:
    """Those who sleep, wait, or wait for the stop, when a service restarts, are done by the end of its old run."""
    done: list[str] = []
    service = Probe()

    async def wait(name: str, function: Callable[..., Any], *args: object) -> None:
        await function(*args)
        done.append(name)

    async with anyio.create_task_group() as group:
        async with service:
            group.start_soon(wait, "until stopped", service.wait_until_stopped)
            group.start_soon(wait, "sleep", service.sleep, FOREVER)
            group.start_soon(wait, "wait", service.wait, anyio.sleep_forever)
            await settle()
            await service.restart()
            await settle()
            assert sorted(done) == ["sleep", "until stopped", "wait"]
            assert service.state == "running"


async def test_late_calls_of_the_old_life_do_nothing_to_the_new() -> None:
    """What an old run's code does after a restart - stop, crash, add work - does nothing to the new run."""
    restarted = anyio.Event()
    late: list[str] = []

    async def straggler() -> None:
        await restarted.wait()
        await service.stop()
        await service.crash(ValueError("late"))
        handle = service.add_future(anyio.sleep_forever())
        late.append(f"cancelled: {handle.cancelled()}")
        await service.restart()

    class Sender(Probe):
        @Service.task
        async def work(self) -> None:
            if not self.restart_count:
                group.start_soon(straggler)
            await self.sleep(FOREVER)

    service = Sender()
    async with anyio.create_task_group() as group:
        async with service:
            await settle()
            await service.restart()
            restarted.set()
            await settle()
            assert late == ["cancelled: True"]
            assert (service.state, service.restart_count) == ("running", 1)
            assert len(service.tracebacks()) == 1


# --- Stops that meet trouble, or a start ----------------------------------------------------------


class Aborted(Probe):
    """Stops itself while it starts."""

    async def on_start(self) -> None:
        await super().on_start()
        await self.stop()


async def test_start_that_was_called_off_is_no_start(caplog: pytest.LogCaptureFixture) -> None:
    """A start that a stop calls off raises so; it neither calls `on_started` nor logs that it has started."""
    caplog.set_level(logging.INFO)
    service = Aborted()
    with pytest.raises(StartAborted, match="Aborted"):
        await service.start()
    assert "on_started" not in service.events
    assert "Started." not in caplog.text
    assert "Starting..." in caplog.text
    assert service.state == "init"


async def test_start_called_off_by_another_task(caplog: pytest.LogCaptureFixture) -> None:
    """So does a start that another task calls off while a child is starting."""
    caplog.set_level(logging.INFO)

    class Slow(Probe):
        async def on_start(self) -> None:
            await anyio.sleep_forever()

    parent = Probe()
    child = parent.add_dependency(Slow())
    async with anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises(StartAborted, match="Probe"):
                await parent.start()

        group.start_soon(start)
        await settle()
        await parent.stop()
    assert parent.events == ["on_start", "on_stop", "on_shutdown"]
    assert (parent.state, child.state) == ("init", "init")
    assert "Started." not in caplog.text


@pytest.mark.fault("A8")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_native_cancellation_is_not_eaten() -> None:
    """A task that asyncio cancels inside of `async with` ends as cancelled, after a stop in order."""
    service = Probe()

    async def own() -> None:
        async with service:
            await anyio.sleep_forever()

    task = asyncio.ensure_future(own())
    await settle()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert service.events[-2:] == ["on_stop", "on_shutdown"]


@pytest.mark.fault("A8")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_native_timeout_around_stop_works() -> None:
    """asyncio's own timeout around `stop` raises, and the stop goes on."""
    go_on = anyio.Event()

    class Slow(Probe):
        async def on_stop(self) -> None:
            await go_on.wait()

    service = Slow()
    await service.start()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await service.stop()
    assert service.state == "stopping"
    go_on.set()
    await service.stop()
    assert service.state == "shutdown"


# --- The way up of a failure ----------------------------------------------------------------------


async def test_way_up_of_a_crash_is_the_call_stack() -> None:
    """The failure of a grandchild's task leaves the root's block with the place where it was raised."""

    class Failing(Probe):
        @Service.task
        async def work(self) -> None:
            await self.fail_here()

        async def fail_here(self) -> None:
            await anyio.lowlevel.checkpoint()
            raise ValueError("crash")

    root, middle = Probe(), Probe()
    root.add_dependency(middle)
    middle.add_dependency(Failing())
    with pytest.raises(ValueError, match="crash") as caught:
        async with root:
            await anyio.sleep_forever()  # pragma: no cover - is ended before
    assert caught.value.__cause__ is None
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "fail_here"


# --- Order of definition --------------------------------------------------------------------------

ORDER = """
import anyio, sys
from structmode import Service

events = []

def note(name):
    async def work(self):
        events.append(name)
    return work

class Base(Service):
    for name in ("zebra", "apple", "mango", "kiwi"):
        vars()[name] = Service.task(note(name))

class Derived(Base):
    apple = Service.task(note("apple"))
    for name in ("banana", "aardvark", "lemon", "fig"):
        vars()[name] = Service.task(note(name))

async def main():
    async with Derived():
        await anyio.wait_all_tasks_blocked()

for backend in ("asyncio", "trio"):
    anyio.run(main, backend=backend)
print(*events)
"""


def python(*arguments: str, **environ: str) -> subprocess.Popen[str]:
    """Start a Python of its own, in which a warning is an error."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-P", *arguments],
        env={**os.environ, "PYTHONPATH": str(HERE), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process: subprocess.Popen[str]) -> str:
    """Wait for a process, and return what it printed."""
    printed, errors = process.communicate(timeout=50)
    assert process.returncode == 0, errors
    return printed


@pytest.mark.fault("A19")
@pytest.mark.process
def test_order_of_tasks_does_not_depend_on_the_hash_seed() -> None:
    """Tasks begin in order of definition, base classes first, whatever the seed of `hash` is."""
    processes = [python("-c", ORDER, PYTHONHASHSEED=seed) for seed in ("0", "1", "12345")]
    expected = "zebra apple mango kiwi banana aardvark lemon fig"
    assert {output(process) for process in processes} == {f"{expected} {expected}\n"}


# --- Errors of users ------------------------------------------------------------------------------

MISTAKES = """
import anyio, contextlib, json, sys
from structmode import Service

assert False, "not run under -O"

@contextlib.asynccontextmanager
async def async_context():
    yield

class Abstract(Service):
    abstract = True

class Forgetful(Service):
    def __init__(self):
        pass

class WithTask(Service):
    @Service.task
    async def work(self):
        pass

def plain_task():
    class Wrong(Service):
        @Service.task
        def work(self):
            pass

def task_with_argument():
    class Wrong(Service):
        @Service.task
        async def work(self, argument):
            pass

def overridden_task():
    class Wrong(WithTask):
        async def work(self):
            pass

def plain_hook():
    class Wrong(Service):
        def on_start(self):
            pass

def bare_timer():
    class Wrong(Service):
        @Service.timer
        async def work(self):
            pass

async def twice(service, running):
    coroutine = anyio.sleep(0)
    running.add_future(coroutine)
    running.add_future(coroutine)

MAKING = {
    "plain task": plain_task,
    "task with argument": task_with_argument,
    "overridden task": overridden_task,
    "plain hook": plain_hook,
    "bare timer": bare_timer,
    "timer of zero": lambda: Service.timer(0),
    "bad cron line": lambda: Service.crontab("every day"),
    "abstract": lambda: Abstract(),
    "no super().__init__": lambda: Forgetful().started,
}
CALLING = {
    "second start": lambda service, running: running.start(),
    "second block": lambda service, running: running.__aenter__(),
    "reset": lambda service, running: running.service_reset(),
    "class as child": lambda service, running: running.add_dependency(Service),
    "no service as child": lambda service, running: running.add_dependency(42),
    "child of itself": lambda service, running: running.add_dependency(running),
    "running child": lambda service, running: service.add_dependency(running),
    "stranger removed": lambda service, running: running.remove_dependency(service),
    "crash with text": lambda service, running: running.crash("text"),
    "number as future": lambda service, running: running.add_future(42),
    "coroutine twice": twice,
    "wait for a number": lambda service, running: running.wait(42),
    "async context as plain": lambda service, running: running.add_context(async_context()),
    "plain context as async": lambda service, running: running.add_async_context(contextlib.nullcontext),
    "async context too early": lambda service, running: service.add_async_context(async_context()),
}
seen = {}

def note(name, error):
    seen.setdefault(name, set()).add((type(error).__name__, str(error)))

async def main():
    for name, call in CALLING.items():
        async with Service() as running:
            try:
                result = call(Service(), running)
                if hasattr(result, "__await__"):
                    await result
                note(name, None)
            except BaseException as error:
                note(name, error)

for name, make in MAKING.items():
    try:
        note(name, make())
    except BaseException as error:
        note(name, error)
for backend in ("asyncio", "trio"):
    anyio.run(main, backend=backend)
print(json.dumps({name: sorted(errors) for name, errors in seen.items()}))
"""

#: What each mistake gets: the type, and a part of the text that shows the way.
EXPECTED = {
    "plain task": ("TypeError", "async def work(self)"),
    "task with argument": ("TypeError", "nothing but self"),
    "overridden task": ("TypeError", "work = None"),
    "plain hook": ("TypeError", "async def on_start(self)"),
    "bare timer": ("TypeError", "@Service.timer(1.0)"),
    "timer of zero": ("ValueError", "interval"),
    "bad cron line": ("ValueError", "every day"),
    "abstract": ("TypeError", "subclass"),
    "no super().__init__": ("LifecycleError", "super().__init__"),
    "second start": ("LifecycleError", "maybe_start()"),
    "second block": ("LifecycleError", "restart()"),
    "reset": ("LifecycleError", "stop()"),
    "class as child": ("TypeError", "add_dependency(Service())"),
    "no service as child": ("TypeError", "42"),
    "child of itself": ("LifecycleError", "circles"),
    "running child": ("LifecycleError", "stop()"),
    "stranger removed": ("LifecycleError", "not one of its dependencies"),
    "crash with text": ("TypeError", "crash(RuntimeError("),
    "number as future": ("TypeError", "42"),
    "coroutine twice": ("ValueError", "make another"),
    "wait for a number": ("TypeError", "42"),
    "async context as plain": ("TypeError", "add_async_context()"),
    "plain context as async": ("TypeError", "add_context()"),
    "async context too early": ("LifecycleError", "not running yet"),
}


@pytest.mark.process
def test_mistakes_are_told_also_under_optimisation() -> None:
    """Every wrong call raises an error that says what would be right, also under `python -O`, on each backend."""
    seen = json.loads(output(python("-O", "-c", MISTAKES)))
    assert sorted(seen) == sorted(EXPECTED)
    for name, (kind, part) in EXPECTED.items():
        assert {error[0] for error in seen[name]} == {kind}, (name, seen[name])
        assert all(part in error[1] for error in seen[name]), (name, seen[name])


# --- The event loop -------------------------------------------------------------------------------

LOOPLESS = """
import asyncio, contextlib, anyio, trio

def forbidden(*args, **kwargs):
    raise AssertionError("an event loop was touched")

kept = {name: getattr(asyncio, name) for name in ("new_event_loop", "get_event_loop", "set_event_loop")}
for name in kept:
    setattr(asyncio, name, forbidden)

from structmode import Service, Timer, WaitResult

results = []

class Child(Service):
    @Service.timer(0.001)
    async def tick(self):
        pass

class App(Service):
    def __post_init__(self):
        self.child = self.add_dependency(Child())

    @Service.task
    async def work(self):
        await self.sleep(3600)

async def answer():
    return 42

app = App(loop=object())
app.add_context(contextlib.nullcontext())
handle = app.add_future(answer)
other = Service.from_awaitable(answer)
Timer(1.0)
repr(app), app.state, app.should_stop, app.started, app.tracebacks(), app.failures
for name, value in kept.items():
    setattr(asyncio, name, value)

async def main():
    async with app, other:
        results.append(await app.add_future(answer))

anyio.run(main, backend="asyncio")
anyio.run(main, backend="trio")
anyio.run(main, backend="asyncio")
print(*results, handle.result())
"""


@pytest.mark.process
def test_no_loop_is_touched_before_the_start() -> None:
    """Services are imported, made and given work without an event loop; then they run on any, one after another."""
    assert output(python("-c", LOOPLESS)) == "42 42 42 42\n"


def test_loop_is_none_of_the_callers_business() -> None:
    """`loop` is accepted where mode had it, and has no effect; outside of a loop, asking for it says what to do."""
    service = Probe(loop=object())
    with pytest.raises(RuntimeError, match=r"Probe\.loop.*current_token"):
        _ = service.loop


async def test_loop_is_that_of_asyncio_or_an_error_that_helps() -> None:
    """`loop` is the running loop on asyncio; on trio it raises an error that says what to use instead."""
    service = Probe()
    await anyio.lowlevel.checkpoint()
    if anyio.lowlevel.current_token().backend_class.__module__.endswith("_asyncio"):
        assert service.loop is asyncio.get_running_loop()
        return
    with pytest.raises(RuntimeError, match=r"add_future.*current_time"):
        _ = service.loop


# --- No polling, no added delay -------------------------------------------------------------------


class JumpingSelector(selectors.SelectSelector):
    """Lets time pass where others would wait for it."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0 if timeout else timeout)
        if timeout and not ready:  # pragma: no cover - what is idle waits for no time
            self.passed += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's event loop on a clock that jumps to the next thing to do, and that tells when that is."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        self.timers: list[asyncio.TimerHandle] = []
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.passed

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self.timers.append(super().call_at(when, callback, *args, context=context))
        return self.timers[-1]


virtual_time = pytest.mark.parametrize(
    "anyio_backend",
    [
        pytest.param(("asyncio", {"loop_factory": VirtualLoop}), id="asyncio"),
        pytest.param(("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}), id="trio"),
    ],
)


def time_of_next_deadline() -> float:
    """Return when the event loop has something to do by itself, in seconds from now."""
    if anyio.lowlevel.current_token().backend_class.__module__.endswith("_trio"):
        return trio.lowlevel.current_statistics().seconds_to_next_deadline
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    now = loop.time()
    due = [timer.when() - now for timer in loop.timers if not timer.cancelled()]
    return min((seconds for seconds in due if seconds > 0), default=math.inf)


class Idle(Service):
    """Waits, in all the ways a service has."""

    @Service.task
    async def sleep_long(self) -> None:
        await self.sleep(FOREVER)

    @Service.task
    async def wait_long(self) -> None:
        await self.wait_first(anyio.sleep_forever, anyio.Event())

    @Service.task
    async def wait_for_the_stop(self) -> None:
        await self.wait_until_stopped()


@virtual_time
async def test_idle_services_do_not_poll() -> None:
    """A tree of services that all wait has nothing to do until one of their own waits is over."""
    root = Idle()
    root.add_dependency(Idle()).add_dependency(Idle())
    async with root:
        await settle()
        assert time_of_next_deadline() == pytest.approx(FOREVER)


@virtual_time
async def test_nothing_adds_a_delay() -> None:
    """To start, restart, crash and stop takes no time but that of the services' own code."""
    begin = anyio.current_time()
    root = Idle()
    child = root.add_dependency(Idle())
    with pytest.raises(ValueError, match="crash"):
        async with root:
            await child.restart()
            await root.restart()
            await child.crash(ValueError("crash"))
            await anyio.sleep_forever()
    await root.start()
    await root.stop()
    assert anyio.current_time() == begin


# --- Logging, and the face ------------------------------------------------------------------------


def surroundings() -> dict[str, object]:
    """Return what a library has no business to change."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith("structmode")]
    loggers = [logging.root, *map(logging.getLogger, names)]
    return {
        "handlers": [(logger.name, list(logger.handlers)) for logger in loggers],
        "levels": [(logger.name, logger.level) for logger in loggers],
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "hooks": (sys.excepthook, sys.unraisablehook),
    }


@pytest.mark.fault("E6")
async def test_services_leave_logging_and_stdout_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A life with a crash, of which log records tell, changes neither logging nor the streams, and prints nothing."""
    before = surroundings()
    service = Probe()
    with pytest.raises(ValueError, match="crash"):
        async with service:
            assert surroundings() == before
            await service.crash(ValueError("crash"))
            await anyio.sleep_forever()
    assert surroundings() == before
    assert tuple(capsys.readouterr()) == ("", "")


@pytest.mark.parametrize("name", sorted(ServiceT.__abstractmethods__))
def test_abstract_and_real_service_agree(name: str) -> None:
    """What `ServiceT` promises, `Service` has with the same parameters, and async where that is async."""
    promised, real = inspect.getattr_static(ServiceT, name), inspect.getattr_static(Service, name)
    if isinstance(promised, property):
        assert isinstance(real, property)
        return
    assert inspect.iscoroutinefunction(promised) == inspect.iscoroutinefunction(real)
    both = [inspect.signature(function).parameters.values() for function in (promised, real)]
    signatures = [[(one.name, one.kind, one.default) for one in each] for each in both]
    assert signatures[0] == signatures[1]


def test_package_tells_its_version_and_that_it_is_typed(pytestconfig: pytest.Config) -> None:
    """The package tells the version that it was released as, and its types are for all to use."""
    project = tomllib.loads(pytestconfig.rootpath.joinpath("pyproject.toml").read_text())
    assert structmode.__version__ == project["project"]["version"]
    assert files("structmode").joinpath("py.typed").is_file()


def test_lifecycle_errors_are_runtime_errors() -> None:
    """An error of use is no assertion: who catches RuntimeError gets it, with its parts."""
    error = LifecycleError("a problem", "A remedy")
    assert isinstance(error, RuntimeError)
    assert (error.problem, error.remedy, str(error)) == (
        "a problem",
        "A remedy",
        "a problem. A remedy",
    )
