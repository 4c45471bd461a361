"""Bad use gets a clear error: it names what was wrong, where, and the call that would have been right."""

from __future__ import annotations

import copy
import functools
import inspect
import math
import pickle
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from structmode import (
    EventLoopMismatch,
    LifecycleError,
    OneForOneSupervisor,
    Service,
    ServiceBase,
    ServiceThread,
    StructmodeError,
    Timer,
    Worker,
)
from structmode.facet import ServiceMixin
from structmode.proxy import ServiceProxy

HERE = Path(__file__).name
PLACE = rf"{re.escape(HERE)}:\d+"


class Plain(Service):
    """Does nothing by itself."""


class Parent(Service):
    """Does nothing by itself, under another name."""


class Proxied(ServiceProxy):
    """Stands for a service."""

    @functools.cached_property
    def _service(self) -> Service:
        return Plain()


async def give(value: int) -> int:
    """Return a value after a checkpoint."""
    await anyio.lowlevel.checkpoint()
    return value


# --- A second start -------------------------------------------------------------------------------


async def test_second_start() -> None:
    """A second start while it runs is refused: the error tells the state, the owner, and the other calls."""
    async with Plain() as service:
        with pytest.raises(
            LifecycleError,
            match=r"Plain can't be started: it is running already.*maybe_start\(\).*restart\(\).*stop\(\)",
        ):
            await service.start()
        assert service.state == "running"


async def test_second_block() -> None:
    """A service that runs can't be entered with `async with`, neither in its own block nor after a bare start."""
    service = Plain()
    await service.start()
    with pytest.raises(
        LifecycleError, match=r"Plain can't be entered with `async with`: it is running already"
    ):
        async with service:
            pytest.fail("entered")
    await service.stop()
    async with service:
        with pytest.raises(LifecycleError, match=r"can't be entered"):
            async with service:
                pytest.fail("entered")
        assert service.state == "running"


async def test_start_of_a_child_that_its_parent_runs() -> None:
    """The error for a child names the parent that runs it."""
    parent, child = Parent(), Plain()
    parent.add_dependency(child)
    async with parent:
        with pytest.raises(
            LifecycleError, match=r"Plain can't be started: it is running already, under Parent"
        ):
            await child.start()
        with pytest.raises(LifecycleError, match=r"already, under Parent"):
            async with child:
                pytest.fail("entered")


@pytest.mark.parametrize("hook", ["on_start", "on_started", "on_stop", "on_shutdown"])
async def test_second_start_in_a_hook(hook: str) -> None:
    """A hook can't start its own service: it gets the same error, and nothing hangs."""
    errors: list[str] = []

    class Twice(Service):
        async def again(self, here: str) -> None:
            if here == hook:
                try:
                    await self.start()
                except LifecycleError as exc:
                    errors.append(str(exc))

        async def on_start(self) -> None:
            await self.again("on_start")

        async def on_started(self) -> None:
            await self.again("on_started")

        async def on_stop(self) -> None:
            await self.again("on_stop")

        async def on_shutdown(self) -> None:
            await self.again("on_shutdown")

    async with Twice():
        pass
    assert len(errors) == 1
    assert "Twice can't be started" in errors[0]


async def test_second_start_while_it_starts() -> None:
    """A start while another task is starting it is refused too, and tells that it is starting."""
    gate = anyio.Event()

    class Slow(Service):
        async def on_start(self) -> None:
            await gate.wait()

    service = Slow()
    async with anyio.create_task_group() as group:
        group.start_soon(service.start)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(LifecycleError, match="Slow can't be started: it is starting already"):
            await service.start()
        gate.set()
    await service.stop()


async def test_start_while_the_block_is_left() -> None:
    """A service can't be started while the block that owns it is being left."""
    errors: list[str] = []
    gate, stopping = anyio.Event(), anyio.Event()

    class Slow(Service):
        async def on_shutdown(self) -> None:
            stopping.set()
            await gate.wait()

    child = Plain()

    async def start_child() -> None:
        await stopping.wait()
        try:
            await child.start()
        except LifecycleError as exc:
            errors.append(str(exc))
        gate.set()

    async with anyio.create_task_group() as group:
        async with Slow() as parent:
            parent.add_dependency(child)
            group.start_soon(start_child)
    assert errors == [
        "Plain can't be started: its parent Slow is stopping. Start it before that, or give it another owner"
    ]


# --- @Service.task --------------------------------------------------------------------------------


def test_task_on_a_plain_function() -> None:
    """A task that is no `async def` is refused while the class is made, with file, line and the right form."""
    with pytest.raises(
        TypeError, match=rf"{PLACE}: @Service\.task takes an `async def`"
    ) as caught:

        class Bad(Service):
            @Service.task  # type: ignore[arg-type]
            def work(self) -> None: ...

    assert "@Service.task\n    async def work(self) -> None: ..." in str(caught.value)


def test_task_on_an_async_generator() -> None:
    """An async generator is refused: it would never run."""
    with pytest.raises(
        TypeError, match=rf"(?s){PLACE}: .*this one yields.*async def work\(self\)"
    ) as caught:

        class Bad(Service):
            @Service.task
            async def work(self) -> Any:
                yield 1  # pragma: no cover - never called

    assert "coroutine function" in str(caught.value)


def test_task_with_parentheses() -> None:
    """@Service.task() is refused with the form without parentheses."""
    with pytest.raises(TypeError, match=r"(?s)@Service\.task\b.*async def"):

        class Bad(Service):
            @Service.task()
            async def work(self) -> None: ...


@pytest.mark.parametrize("argument", [1.0, "name", None])
def test_task_with_an_argument(argument: object) -> None:
    """@Service.task(1.0) is refused: the error shows what was given and the right form."""
    with pytest.raises(
        TypeError, match=r"(?s)@Service\.task takes an `async def`.*@Service\.task\n"
    ):
        Service.task(argument)  # type: ignore[call-overload]


def test_task_without_self() -> None:
    """A task that takes no self is refused while the class is made."""
    with pytest.raises(
        TypeError, match=rf"{PLACE}: a background task is called with nothing but self"
    ):

        class Bad(Service):
            @Service.task  # type: ignore[arg-type]
            async def work() -> None: ...


def test_task_with_more_parameters() -> None:
    """A task that needs more than self is refused while the class is made; the error names what is missing."""
    with pytest.raises(
        TypeError, match=rf"(?s){PLACE}: .*nothing but self.*'url'.*async def work\(self\)"
    ):

        class Bad(Service):
            @Service.task  # type: ignore[arg-type]
            async def work(self, url: str) -> None: ...


def test_task_decorated_twice() -> None:
    """A task that is decorated twice is refused, whichever the decorators are."""
    with pytest.raises(
        TypeError, match=rf"{PLACE}: work is a background task already; decorate it once"
    ):

        class Bad(Service):
            @Service.task
            @Service.task
            async def work(self) -> None: ...

    with pytest.raises(
        TypeError, match=rf"{PLACE}: work is a background task already; decorate it once"
    ):

        class Worse(Service):
            @Service.timer(1.0)
            @Service.task
            async def work(self) -> None: ...


@pytest.mark.parametrize("kind", [staticmethod, classmethod])
def test_task_on_a_static_or_class_method(kind: Callable[[Any], Any]) -> None:
    """A static or class method is refused with the right form."""

    async def work(self: object) -> None: ...

    with pytest.raises(
        TypeError, match=r"(?s)@Service\.task takes an `async def`.*async def work\(self\)"
    ):
        Service.task(kind(work))


def test_task_overridden_by_a_plain_method() -> None:
    """A method that overrides a task without being one is refused: the error tells how to switch it off."""

    class Base(Service):
        @Service.task
        async def work(self) -> None: ...

    with pytest.raises(
        TypeError, match=r"Bad\.work overrides a background task.*decorate it.*`work = None`"
    ):

        class Bad(Base):
            async def work(self) -> None: ...  # pyright: ignore[reportIncompatibleVariableOverride]

    with pytest.raises(TypeError, match=r"Worse\.work overrides a background task"):

        class Worse(Base):
            work = 42  # type: ignore[assignment]


def passing_on(function: Any) -> Any:
    """Decorate a function with what calls it."""

    @functools.wraps(function)
    async def called(*args: Any) -> Any:
        return await function(*args)

    return called


@pytest.mark.parametrize(
    "decorator",
    [
        passing_on,
        functools.lru_cache,
        staticmethod,
        classmethod,
        Service.transitions_to("busy"),
        lambda task: passing_on(staticmethod(passing_on(task))),
    ],
    ids=["wraps", "lru_cache", "staticmethod", "classmethod", "transitions_to", "several"],
)
def test_a_decorator_above_a_task(decorator: Callable[[Any], Any]) -> None:
    """The task would not be seen, in the class or in a mixin: the error says what belongs on top."""
    right = r"Bad\.tick is a background task .*put @Service\.timer\(interval\) on top"
    with pytest.raises(TypeError, match=rf"{PLACE}: .*{right}"):

        class Bad(Service):
            @decorator
            @Service.timer(1.0)
            async def tick(self) -> None: ...

    class Mixin:
        @decorator
        @Service.task
        async def work(self) -> None: ...

    with pytest.raises(TypeError, match=r"Mixin\.work is .*put @Service\.task on top"):

        class Worse(Mixin, Service):
            """Takes it over."""


async def test_what_is_made_of_a_task_beside_it() -> None:
    """A method that wraps a task hides nothing, if the task is there as well; nor does what wraps itself."""
    odd = passing_on(Plain.stop)
    odd.__wrapped__ = odd

    class Base(Service):
        other = odd

        @Service.task
        async def work(self) -> None:
            done.append("of the base")

        by_hand = passing_on(work)

    class Child(Base):
        @Service.task
        async def work(self) -> None:
            done.append("of the child")
            await self.by_hand()

    done: list[str] = []
    async with Child():
        await anyio.wait_all_tasks_blocked()
    assert done == ["of the child", "of the base"]


@pytest.mark.parametrize(
    "name", ["start", "stop", "sleep", "on_start", "on_init", "__post_init__", "state", "task"]
)
@pytest.mark.parametrize("declare", [Service.task, Service.timer(1.0)])
def test_a_task_by_the_name_of_what_every_service_has(
    name: str, declare: Callable[[Any], Any]
) -> None:
    """It would take the place of that: the error says so, for a mixin's as well."""

    async def work(self: object) -> None: ...

    wrong = (
        rf"{PLACE}: \w+\.{name} is a background task.* the place of Service\.{name}.*another name"
    )
    with pytest.raises(TypeError, match=wrong):
        type("Bad", (Service,), {name: declare(work)})
    with pytest.raises(TypeError, match=wrong):
        type("Worse", (type("Mixin", (), {name: declare(work)}), Service), {})


# --- Intervals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", [0, -1, -0.5, math.inf, timedelta(seconds=-1), "-3", "0"])
def test_timer_with_an_interval_that_is_not_above_zero(interval: Any) -> None:
    """A negative, zero or endless interval is refused while the class is made, and shown."""
    with pytest.raises(
        ValueError, match="interval: must be more than zero seconds and finite"
    ) as caught:

        class Bad(Service):
            @Service.timer(interval)
            async def tick(self) -> None: ...

    assert repr(interval) in str(caught.value)
    assert "@Service.timer" in str(caught.value)


@pytest.mark.parametrize("interval", [math.nan, "soon", "", "10/fortnight", "1 s"])
def test_timer_with_an_interval_that_cannot_be_read(interval: Any) -> None:
    """An interval that can't be read is refused while the class is made; the error tells what may be given."""
    with pytest.raises(
        ValueError, match=r"@Service\.timer interval: can't .*: give seconds as a number"
    ):

        class Bad(Service):
            @Service.timer(interval)
            async def tick(self) -> None: ...


@pytest.mark.parametrize("interval", [None, True, [1.0], {}])
def test_timer_with_what_is_no_interval(interval: Any) -> None:
    """What is no duration at all is refused as a TypeError."""
    with pytest.raises(
        TypeError, match=r"@Service\.timer interval: can't take .* as seconds: give"
    ):
        Service.timer(interval)


def test_timer_without_parentheses() -> None:
    """@Service.timer without an interval is refused, with file, line and the right form."""
    with pytest.raises(
        TypeError,
        match=rf"{PLACE}: @Service\.timer needs an interval: write @Service\.timer\(1\.0\)",
    ):

        class Bad(Service):
            @Service.timer  # type: ignore[arg-type]
            async def tick(self) -> None: ...  # type: ignore[misc]


def test_timer_on_a_plain_function() -> None:
    """The body of a timer is checked as that of a task, and the error shows the timer's form."""
    with pytest.raises(
        TypeError, match=rf"{PLACE}: @Service\.timer\(interval\) takes an `async def`"
    ):

        class Bad(Service):
            @Service.timer(1.0)  # type: ignore[arg-type]
            def tick(self) -> None: ...


@pytest.mark.parametrize("correction", ["0.1", None, timedelta(seconds=0.1)])
def test_timer_with_what_is_no_drift_correction(correction: Any) -> None:
    """It is named, in the class and of a timer by itself."""
    wrong = r"timer max_drift_correction: must be a number of seconds, not"
    with pytest.raises(TypeError, match=wrong):
        Service.timer(1.0, max_drift_correction=correction)
    with pytest.raises(TypeError, match=wrong):
        Timer(1.0, max_drift_correction=correction)


@pytest.mark.parametrize("correction", [-0.1, math.nan, math.inf])
def test_timer_with_a_bad_drift_correction(correction: float) -> None:
    """A drift correction that can't be used is refused while the class is made."""
    with pytest.raises(ValueError, match="max_drift_correction"):

        class Bad(Service):
            @Service.timer(1.0, max_drift_correction=correction)
            async def tick(self) -> None: ...


SKIP: Any = "skip"


@pytest.mark.parametrize(
    "decorate", [Service.timer(1.0, on_error=SKIP), Service.crontab("* * * * *", on_error=SKIP)]
)
def test_an_unknown_on_error(decorate: Callable[[Any], Any]) -> None:
    """An on_error that there is not is refused with file, line and those there are."""

    async def tick(self: object) -> None: ...

    with pytest.raises(
        ValueError, match=rf"""{PLACE}: on_error is "crash", "log" or "restart", not 'skip'"""
    ):
        decorate(tick)


@pytest.mark.parametrize("interval", [0, -1.0, math.nan, "soon"])
def test_itertimer_with_a_bad_interval(interval: float | str) -> None:
    """itertimer() refuses a bad interval at the call."""
    with pytest.raises(ValueError, match="interval"):
        Plain().itertimer(interval)


@pytest.mark.parametrize("attribute", ["shutdown_timeout", "drain_timeout"])
@pytest.mark.parametrize("value", ["soon", math.nan])
def test_a_class_with_a_bad_timeout(attribute: str, value: object) -> None:
    """A timeout of a class that can't be read is refused while the class is made, by its name."""
    with pytest.raises(ValueError, match=rf"Bad\.{attribute}.*give seconds as a number"):
        type("Bad", (Service,), {attribute: value})


@pytest.mark.parametrize("attribute", ["shutdown_timeout", "drain_timeout"])
@pytest.mark.parametrize("value", ["soon", None])
async def test_an_instance_with_a_bad_timeout(attribute: str, value: object) -> None:
    """A timeout of an instance that can't be read makes the start fail: it could not be stopped in order."""
    service = Plain()
    setattr(service, attribute, value)
    try:
        with pytest.raises(
            (ValueError, TypeError), match=rf"Plain\.{attribute}.*give seconds as a number"
        ):
            await service.start()
    finally:
        setattr(service, attribute, 1.0)
        await service.stop()
    assert service.state == "init"


# --- Cron lines -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", ["", "* * *", "61 * * * *", "* * 30 2 *", "every day", "* * * * * * * *"]
)
def test_a_bad_cron_line(line: str) -> None:
    """A cron line that can't be read is refused while the class is made, and shown with the right form."""
    with pytest.raises(ValueError, match=re.escape(repr(line))) as caught:

        class Bad(Service):
            @Service.crontab(line)
            async def tick(self) -> None: ...

    assert "cron line" in str(caught.value)
    assert "a right one is '30 18 * * mon-fri': minute, hour, day of the month" in str(
        caught.value
    )


@pytest.mark.parametrize("line", [None, 5, b"* * * * *"])
def test_a_cron_line_that_is_no_string(line: object) -> None:
    """A cron line that is no string is refused."""
    with pytest.raises(TypeError, match="a cron line is a string"):
        Service.crontab(line)  # type: ignore[arg-type]


def test_crontab_without_parentheses() -> None:
    """@Service.crontab without a line is refused, with file, line and the right form."""
    with pytest.raises(
        TypeError,
        match=rf"{PLACE}: @Service\.crontab needs a cron line: write @Service\.crontab\('",
    ):

        class Bad(Service):
            @Service.crontab  # type: ignore[arg-type]
            async def tick(self) -> None: ...  # type: ignore[misc]


def test_crontab_with_a_bad_time_zone() -> None:
    """A time zone that is none is refused while the class is made."""
    with pytest.raises(TypeError, match=r"the timezone of a crontab is .*, not 'Europe/Berlin'"):
        Service.crontab("* * * * *", timezone="Europe/Berlin")  # type: ignore[arg-type]
    assert Service.crontab("* * * * *", timezone=UTC) is not None


# --- super().__init__() forgotten -----------------------------------------------------------------


class Forgetful(Service):
    """Does not call super().__init__()."""

    def __init__(self) -> None:
        self.value = 42


USES: dict[str, Callable[[Any], Any]] = {
    "started": lambda s: s.started,
    "state": lambda s: s.state,
    "crashed": lambda s: s.crashed,
    "crash_reason": lambda s: s.crash_reason,
    "should_stop": lambda s: s.should_stop,
    "failures": lambda s: s.failures,
    "beacon": lambda s: s.beacon,
    "exit_stack": lambda s: s.exit_stack,
    "async_exit_stack": lambda s: s.async_exit_stack,
    "diag": lambda s: s.diag,
    "log": lambda s: s.log.info("hello"),
    "add_dependency": lambda s: s.add_dependency(Plain()),
    "be added": lambda s: Plain().add_dependency(s),
    "add_future": lambda s: s.add_future(anyio.sleep_forever),
    "add_context": lambda s: s.add_context(memoryview(b"")),
    "service_reset": lambda s: s.service_reset(),
    "set_shutdown": lambda s: s.set_shutdown(),
    "tracebacks": lambda s: s.tracebacks(),
    "human_tracebacks": lambda s: s.human_tracebacks(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_use_without_init(use: Callable[[Any], Any]) -> None:
    """Whatever is used of such a service, the error says which call was forgotten, and where."""
    with pytest.raises(
        LifecycleError, match=rf"Forgetful was not initialised.*super\(\)\.__init__\(.*{PLACE}"
    ):
        use(Forgetful())


ASYNC_USES: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "start": lambda s: s.start(),
    "maybe_start": lambda s: s.maybe_start(),
    "stop": lambda s: s.stop(),
    "restart": lambda s: s.restart(),
    "crash": lambda s: s.crash(ValueError()),
    "sleep": lambda s: s.sleep(0),
    "wait": lambda s: s.wait(anyio.Event()),
    "wait_first": lambda s: s.wait_first(anyio.Event()),
    "wait_many": lambda s: s.wait_many([anyio.Event()]),
    "wait_for_stopped": lambda s: s.wait_for_stopped(),
    "wait_until_stopped": lambda s: s.wait_until_stopped(),
    "join_services": lambda s: s.join_services([Plain()]),
    "add_runtime_dependency": lambda s: s.add_runtime_dependency(Plain()),
    "remove_dependency": lambda s: s.remove_dependency(Plain()),
    "async with": lambda s: s.__aenter__(),
}


@pytest.mark.parametrize("use", ASYNC_USES.values(), ids=ASYNC_USES)
async def test_async_use_without_init(use: Callable[[Any], Awaitable[Any]]) -> None:
    """The same for whatever is awaited."""
    with pytest.raises(
        LifecycleError, match=r"Forgetful was not initialised.*super\(\)\.__init__\("
    ):
        await use(Forgetful())


async def test_dataclasses() -> None:
    """The error says what works for a dataclass, and that does work; also where it comes from its `__post_init__`."""
    right = r"@dataclass\(init=False\).*super\(\)\.__init__\(\).*structmode\.facet\.ServiceMixin"

    @dataclass
    class Bare(Service):
        url: str

    with pytest.raises(LifecycleError, match=rf"Bare was not initialised.*{right}"):
        _ = Bare("x").started

    @dataclass
    class Mindful(Service):
        url: str

        def __post_init__(self) -> None:
            super().__init__()

    with pytest.raises(LifecycleError, match=rf"Mindful\.__init__ was called .*{right}"):
        Mindful("x")

    @dataclass(init=False)
    class Right(Service):
        url: str

        def __init__(self, url: str) -> None:
            self.url = url
            super().__init__()

    @dataclass
    class Facet(ServiceMixin):
        url: str

    async with Right("x") as service, Facet("y") as facet:
        assert (service.url, service.started) == ("x", True)
        assert (facet.url, facet.running) == ("y", True)


@pytest.mark.parametrize("hook", ["__post_init__", "on_init"])
def test_an_init_within_itself(hook: str) -> None:
    """A hook that calls the constructor that calls it is told to leave that out."""

    def call_again(self: Service) -> None:
        self.__init__()  # type: ignore[misc]

    with pytest.raises(LifecycleError, match=r"Odd\.__init__ was called .*Leave that out"):
        type("Odd", (Service,), {hook: call_again})()


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
@pytest.mark.parametrize("make", [Plain, Proxied, OneForOneSupervisor, ServiceThread, Worker])
def test_a_copy_of_a_service(
    make: Callable[[], Service], duplicate: Callable[[Any], object]
) -> None:
    """A service can be neither copied nor pickled, nor can what holds one as a part."""
    service = make()
    wrong = rf"{make.__name__} is a service, .*neither copied nor pickled: make another one"
    with pytest.raises(TypeError, match=wrong):
        duplicate(service)
    if duplicate is not copy.copy:
        with pytest.raises(TypeError, match=wrong):
            duplicate({"service": service})


def test_a_service_that_says_how_another_one_is_made() -> None:
    """What a class says of its copies holds."""

    class Known(Service):
        def __init__(self, name: str) -> None:
            self.name = name
            super().__init__()

        def __reduce__(self) -> Any:
            return Known, (self.name,)

    service = Known("one")
    for other in (copy.copy(service), copy.deepcopy(service)):
        assert (other.name, other.state) == ("one", "init")
        assert other.beacon is not service.beacon


def test_repr_without_init() -> None:
    """The repr works, so that the error can be looked into; what the service set itself is there."""
    service = Forgetful()
    assert repr(service) == "<Forgetful: not initialised>"
    assert service.value == 42


# --- Wrong places in the tree ---------------------------------------------------------------------


def test_a_service_as_its_own_child() -> None:
    """A service can't be its own child, nor that of one below it; the error names both."""
    top, middle, leaf = Parent(), Plain(), Plain()
    top.add_dependency(middle)
    middle.add_dependency(leaf)
    with pytest.raises(
        LifecycleError, match=r"Parent can't be a child of Parent: .*A service tree has no circles"
    ):
        top.add_dependency(top)
    with pytest.raises(
        LifecycleError,
        match=r"Parent can't be a child of Plain: it is that service itself or one above it",
    ):
        leaf.add_dependency(top)
    assert leaf.beacon.children == ()
    assert top.beacon.parent is None


async def test_a_running_service_as_its_own_ancestor() -> None:
    """The same at runtime, where the tree runs on."""
    top = Parent()
    child = top.add_dependency(Plain())
    async with top:
        with pytest.raises(LifecycleError, match="Parent can't be a child of Plain"):
            await child.add_runtime_dependency(top)
        with pytest.raises(LifecycleError, match="Plain can't be a child of Plain"):
            await child.add_runtime_dependency(child)
        assert (top.state, child.state) == ("running", "running")


async def test_a_child_of_two_running_parents() -> None:
    """A child that runs in one parent can't be added to another; the error names both and the way out."""
    first, second = Parent(), Plain()
    child = first.add_dependency(Plain())
    async with first, second:
        with pytest.raises(
            LifecycleError,
            match=r"Plain can't be added to Plain: .*Parent.*one owner.*remove_dependency\(service\)",
        ):
            second.add_dependency(child)
        with pytest.raises(LifecycleError, match=r"Plain can't be added to Plain: .*Parent"):
            await second.add_runtime_dependency(child)
        assert child.beacon.parent is first.beacon
        assert child.state == "running"
    assert child.state == "shutdown"


async def test_a_child_that_runs_on_its_own() -> None:
    """A service that runs on its own can't be added to another, be that running or not."""
    child, running, idle = Plain(), Parent(), Parent()
    async with child, running:
        for parent in (running, idle):
            with pytest.raises(
                LifecycleError, match=r"Plain can't be added to Parent: it already runs on its own"
            ):
                parent.add_dependency(child)
        with pytest.raises(
            LifecycleError, match=r"Plain can't be added to Parent: it already runs on its own"
        ):
            await running.add_runtime_dependency(child)
        assert child.beacon.parent is None


CALLS = ["add_dependency", "add_runtime_dependency", "remove_dependency"]


@pytest.mark.parametrize("call", CALLS)
async def test_a_class_instead_of_a_service(call: str) -> None:
    """A class in place of a service is refused, and the error shows the call with an instance."""
    with pytest.raises(
        TypeError, match=rf"{call}\(\) takes an instance, not the class: write {call}\(Plain\(\)\)"
    ):
        result = getattr(Parent(), call)(Plain)
        await result


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("wrong", [None, 42, "service", object])
async def test_something_else_instead_of_a_service(call: str, wrong: object) -> None:
    """What is no service is refused and shown."""
    with pytest.raises(
        TypeError, match=rf"{call}\(\) takes a Service, not {re.escape(repr(wrong))}"
    ):
        result = getattr(Parent(), call)(wrong)
        await result


async def test_on_init_dependencies_with_something_else() -> None:
    """What on_init_dependencies returns is checked likewise; the start fails with it."""

    class Bad(Service):
        def on_init_dependencies(self) -> Any:
            return [Plain]

    with pytest.raises(TypeError, match=r"takes an instance, not the class"):
        await Bad().start()


@pytest.mark.parametrize("alone", [Plain(), 3])
async def test_on_init_dependencies_without_a_list(alone: Any) -> None:
    """A service by itself, or something else, is refused; the error says what to return."""

    class Alone(Service):
        def on_init_dependencies(self) -> Any:
            return alone

    with pytest.raises(
        TypeError,
        match=r"Alone\.on_init_dependencies must return a list of services, .*it returned",
    ):
        await Alone().start()


async def test_remove_a_stranger() -> None:
    """Removing what was not added is refused; the error tells whose it is."""
    parent, other, child = Parent(), Plain(), Plain()
    with pytest.raises(
        LifecycleError, match=r"Plain can't be removed from Parent: .*It belongs to no service"
    ):
        await parent.remove_dependency(child)
    other.add_dependency(child)
    with pytest.raises(LifecycleError, match=r"not one of its dependencies.*It belongs to Plain"):
        await parent.remove_dependency(child)
    assert child.beacon.parent is other.beacon


# --- Hooks ----------------------------------------------------------------------------------------

ASYNC_HOOKS = ["on_first_start", "on_start", "on_started", "on_stop", "on_shutdown", "on_restart"]
SYNC_HOOKS = ["__post_init__", "on_init", "on_init_dependencies"]


def plain_hook(self: Service) -> None:
    """Be a hook that is not async."""


async def async_hook(self: Service) -> None:
    """Be a hook that is async."""


@pytest.mark.parametrize("hook", ASYNC_HOOKS)
def test_a_hook_that_is_not_async(hook: str) -> None:
    """A hook that must be async and is not is refused while the class is made, with the right form."""
    with pytest.raises(
        TypeError,
        match=rf"{PLACE}: Bad\.{hook} is awaited, so it must be async: write `async def {hook}\(self\)`",
    ):
        type("Bad", (Service,), {hook: plain_hook})


@pytest.mark.parametrize("hook", SYNC_HOOKS)
def test_a_hook_that_is_async_and_must_not_be(hook: str) -> None:
    """A hook that must not be async and is is refused while the class is made, with the right form."""
    with pytest.raises(
        TypeError,
        match=rf"{PLACE}: Bad\.{hook} is called, not awaited, so it must not be async: write `def {hook}\(self\)`",
    ):
        type("Bad", (Service,), {hook: async_hook})


@pytest.mark.parametrize("hook", ASYNC_HOOKS)
def test_a_hook_of_a_mixin_that_is_not_async(hook: str) -> None:
    """A wrong hook that a mixin brings is refused too, when it becomes part of a service class."""
    mixin = type("Mixin", (), {hook: plain_hook})
    with pytest.raises(TypeError, match=rf"{hook} is awaited, so it must be async"):
        type("Bad", (mixin, Service), {})


async def test_a_hook_of_an_instance_that_is_not_async() -> None:
    """A wrong hook set on an instance makes the step fail with an error that names it."""
    service = Plain()
    service.on_start = lambda: None  # type: ignore[method-assign,assignment,return-value]
    with pytest.raises(TypeError, match=r"Plain\.on_start must be async; it returned None"):
        await service.start()
    assert service.state == "init"


async def test_a_hook_that_is_an_async_generator() -> None:
    """A hook that yields is refused while the class is made: it would never run."""
    with pytest.raises(
        TypeError, match=r"Bad\.on_start yields, .*`async def on_start\(self\)` without `yield`"
    ):

        class Bad(Service):
            async def on_start(self) -> Any:
                yield 1  # pragma: no cover - never called


@pytest.mark.parametrize("hook", ["__post_init__", "on_init"])
def test_a_plain_hook_that_yields(hook: str) -> None:
    """So is a plain one; what a service depends on may be yielded one by one, but not by an async generator."""

    def yields(self: object) -> Any:
        yield 1  # pragma: no cover - never called

    async def yields_too(self: object) -> Any:
        yield 1  # pragma: no cover - never called

    with pytest.raises(TypeError, match=rf"Bad\.{hook} yields, .*`def {hook}\(self\)` without"):
        type("Bad", (Service,), {hook: yields})
    with pytest.raises(TypeError, match=r"Bad\.on_init_dependencies yields, "):
        type("Bad", (Service,), {"on_init_dependencies": yields_too})
    type("Good", (Service,), {"on_init_dependencies": yields})


@pytest.mark.parametrize("kind", [staticmethod, classmethod])
@pytest.mark.parametrize("hook", ["__post_init__", "on_init", "on_start"])
def test_a_hook_that_is_a_static_or_class_method(hook: str, kind: Callable[[Any], Any]) -> None:
    """Whether it is async is looked at all the same."""

    async def waits(*args: object) -> None: ...

    def does_not(*args: object) -> None: ...

    wrong, right = (does_not, waits) if hook == "on_start" else (waits, does_not)
    with pytest.raises(TypeError, match=rf"{PLACE}: Bad\.{hook} is .* must "):
        type("Bad", (Service,), {hook: kind(wrong)})
    type("Good", (Service,), {hook: kind(right)})


# --- Log levels -----------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["loud", "", "infoo"])
def test_an_unknown_log_level(level: str) -> None:
    """A mundane_level that there is not is refused while the class is made, by the name of the class."""
    with pytest.raises(ValueError, match=rf"Bad\.mundane_level.*{level!r}.*DEBUG"):
        type("Bad", (Service,), {"mundane_level": level})


@pytest.mark.parametrize("level", [None, 1.5, True])
def test_a_log_level_that_is_none(level: object) -> None:
    """A mundane_level of a wrong type is refused likewise."""
    with pytest.raises(TypeError, match=rf"Bad\.mundane_level.*{level!r}"):
        type("Bad", (Service,), {"mundane_level": level})


def test_an_unknown_level_in_a_log_call() -> None:
    """A level that there is not is refused by log() too."""
    with pytest.raises(ValueError, match="no log level is named 'loud'"):
        Plain().log.log("loud", "message")


# --- Coroutines -----------------------------------------------------------------------------------


async def test_a_coroutine_passed_twice_to_add_future() -> None:
    """A coroutine that was passed to a service can't be passed again, neither to it nor to another."""
    async with Plain() as service, Plain() as other:
        coroutine = give(42)
        handle = service.add_future(coroutine)
        for again in (service, other, Plain()):
            with pytest.raises(
                ValueError,
                match=r"give.* was passed to a service before.*runs only once.*make another",
            ):
                again.add_future(coroutine)
        assert await handle == 42


@pytest.mark.parametrize("wait", [False, True])
async def test_a_coroutine_among_very_many(wait: bool) -> None:
    """However many have been passed meanwhile, and are gone or have ended: one that still waits for its turn is known."""
    waiting, service = Plain(), Plain()
    coroutine = give(42)
    handle = waiting.add_future(coroutine)
    async with service:
        for _ in range(1000):
            await service.add_future(give(1))
        with pytest.raises(ValueError, match=r"give.* was passed to a service before"):
            if wait:
                await service.wait(coroutine)
            else:
                service.add_future(coroutine)
    async with waiting:
        assert await handle == 42


async def test_a_coroutine_passed_twice_to_wait() -> None:
    """A coroutine that is passed twice to one wait is refused."""
    coroutine = give(42)
    async with Plain() as service:
        with pytest.raises(
            ValueError, match=r"same coroutine was passed twice.*runs only once.*make another"
        ):
            await service.wait_many([coroutine, coroutine])
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


async def test_what_to_wait_for_in_the_wrong_form() -> None:
    """One thing to `wait_many`, or a list to the others: the error says what to write, and no coroutine is left."""

    def broken() -> Iterator[Any]:
        yield give(1)
        raise OSError("no more")

    async with Plain() as service:
        for wrong in (give(1), None, anyio.Event()):
            with pytest.raises(TypeError, match=r"wait_many\(\) takes a list .*wait\(\.\.\.\)"):
                await service.wait_many(wrong)  # type: ignore[call-overload]
        with pytest.raises(OSError, match="no more"):
            await service.wait_many(broken())
        waits: list[Any] = [service.wait, service.wait_first, service.wait_for_stopped]
        for wait in waits:
            for kind in (list, tuple):
                with pytest.raises(TypeError, match=r"one by one, or that alone to wait_many\(\)"):
                    await wait(give(1), kind([give(2), give(3)]))
        with pytest.raises(TypeError, match=r"one by one, or that alone to wait_many\(\)"):
            await service.wait([give(1), give(2)])  # type: ignore[call-overload]
        assert await service.wait_many(give(number) for number in (1, 2)) == ([1, 2], False)


async def test_a_coroutine_that_a_service_runs_passed_to_wait() -> None:
    """A coroutine that a service runs already can't be waited for: its handle can."""
    async with Plain() as service:
        coroutine = anyio.sleep_forever()
        service.add_future(coroutine)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(ValueError, match="runs only once"):
            await service.wait(coroutine)
        assert service.state == "running"


async def test_a_coroutine_that_a_service_is_going_to_run_passed_to_wait() -> None:
    """The same before the service has begun to run it."""
    service = Plain()
    coroutine = give(42)
    handle = service.add_future(coroutine)
    with pytest.raises(ValueError, match="runs only once"):
        await service.wait(coroutine)
    async with service:
        assert await handle == 42


async def test_add_future_of_a_coroutine_that_has_run() -> None:
    """A coroutine that has run is refused."""
    coroutine = give(42)
    await coroutine
    async with Plain() as service:
        with pytest.raises(ValueError, match="runs only once"):
            service.add_future(coroutine)
        assert service.tracebacks() == {}


@pytest.mark.parametrize("wrong", [None, 42, "text", Plain, object()])
async def test_add_future_of_something_else(wrong: Any) -> None:
    """What can't be run is refused; the error shows it and what may be passed."""
    async with Plain() as service:
        with pytest.raises(TypeError, match="pass a coroutine, an awaitable, an async function"):
            service.add_future(wrong)
        assert service.state == "running"


async def test_add_future_of_a_plain_function() -> None:
    """A function that is not async is refused with what it returned."""

    def work() -> int:
        return 42

    async with Plain() as service:
        with pytest.raises(
            TypeError, match=r"work.*gave 42, which is not awaitable; is it async\?"
        ):
            service.add_future(work)  # type: ignore[arg-type]


# --- crash() --------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [None, "boom", 42, ValueError])
async def test_crash_without_an_exception(wrong: object) -> None:
    """A crash needs an exception as its reason: anything else, an exception class too, is refused."""
    async with Plain() as service:
        with pytest.raises(
            TypeError, match=r"crash\(\) takes the exception .*crash\(RuntimeError\('\.\.\.'\)\)"
        ):
            await service.crash(wrong)  # type: ignore[arg-type]
        assert (service.state, service.crashed) == ("running", False)


async def test_crash_without_anything() -> None:
    """crash() without a reason is a TypeError, and no crash."""
    async with Plain() as service:
        with pytest.raises(TypeError, match="reason"):
            await service.crash()  # type: ignore[call-arg]
        assert service.state == "running"


# --- Abstract classes -----------------------------------------------------------------------------


def test_an_abstract_class() -> None:
    """A class that says it is abstract can't be made; the error says to make a subclass."""

    class Base(Service):
        abstract = True

    with pytest.raises(TypeError, match=r"Base is abstract: make a subclass of it"):
        Base()
    with pytest.raises(TypeError, match=r"ServiceBase is abstract|abstract class ServiceBase"):
        ServiceBase()  # type: ignore[abstract]


# --- Leaving what was not entered -----------------------------------------------------------------


async def test_leaving_a_block_that_was_not_entered() -> None:
    """__aexit__ without __aenter__ is refused with the right form."""
    with pytest.raises(
        LifecycleError, match=r"Plain is not in an `async with` block.*async with service"
    ):
        await Plain().__aexit__(None, None, None)


# --- Another event loop ---------------------------------------------------------------------------

OTHER_LOOP_CALLS: dict[str, Callable[[Service], Awaitable[Any]]] = {
    "start": lambda s: s.start(),
    "maybe_start": lambda s: s.maybe_start(),
    "stop": lambda s: s.stop(),
    "restart": lambda s: s.restart(),
    "crash": lambda s: s.crash(ValueError("boom")),
    "async with": lambda s: s.__aenter__(),
    "add_runtime_dependency": lambda s: s.add_runtime_dependency(Plain()),
    "add_async_context": lambda s: s.add_async_context(nullcontext()),
    "enter_async_context": lambda s: s.async_exit_stack.enter_async_context(nullcontext()),
    "sleep": lambda s: s.sleep(0.01),
    "wait": lambda s: s.wait(anyio.Event(), timeout=0.01),
    "wait_first": lambda s: s.wait_first(anyio.Event(), timeout=0.01),
    "wait_until_stopped": lambda s: s.wait_until_stopped(),
}


@pytest.mark.parametrize("call", OTHER_LOOP_CALLS.values(), ids=OTHER_LOOP_CALLS)
async def test_calls_from_another_event_loop(call: Callable[[Service], Awaitable[Any]]) -> None:
    """What is started on one event loop can't be used on another: the error names the service and the way to its loop."""

    async def elsewhere() -> None:
        with anyio.fail_after(5.0):
            await call(service)

    async with Plain() as service:
        with pytest.raises(
            EventLoopMismatch,
            match=r"Plain was called outside the event loop.*anyio\.from_thread\.run",
        ):
            await anyio.to_thread.run_sync(anyio.run, elsewhere)
        assert (service.state, service.crashed) == ("running", False)


async def test_add_future_from_another_event_loop() -> None:
    """add_future() from another event loop, or from a thread without one, is refused; the coroutine stays the caller's."""

    async def elsewhere() -> None:
        coroutine = give(42)
        try:
            service.add_future(coroutine)
        finally:
            coroutine.close()

    def in_a_thread() -> None:
        coroutine = give(42)
        try:
            service.add_future(coroutine)
        finally:
            coroutine.close()

    async with Plain() as service:
        with pytest.raises(EventLoopMismatch, match=r"add_future\(\) of Plain"):
            await anyio.to_thread.run_sync(anyio.run, elsewhere)
        with pytest.raises(EventLoopMismatch, match=r"add_future\(\) of Plain"):
            await anyio.to_thread.run_sync(in_a_thread)
        assert service.tracebacks() == {}


async def test_the_way_to_the_event_loop_of_a_service() -> None:
    """From another thread a service can be used as the error says: through its own loop."""
    token = anyio.lowlevel.current_token()

    def in_a_thread() -> None:
        anyio.from_thread.run(service.stop, token=token)

    service = Plain()
    await service.start()
    await anyio.to_thread.run_sync(in_a_thread)
    assert service.state == "shutdown"


def test_a_service_on_one_event_loop_after_another(
    anyio_backend: tuple[str, dict[str, Any]],
) -> None:
    """A service that has stopped may be started on another event loop later."""
    service = Plain()

    async def main() -> None:
        async with service:
            await service.sleep(0)
            assert service.state == "running"

    backend, options = anyio_backend
    for _ in range(2):
        anyio.run(main, backend=backend, backend_options=options)
    assert service.state == "shutdown"


# --- loop -----------------------------------------------------------------------------------------


async def test_the_loop_of_a_service(anyio_backend: tuple[str, dict[str, Any]]) -> None:
    """`loop` is the running asyncio loop; where there is none, the error tells what to use instead."""
    service = Plain()
    if anyio_backend[0] == "trio":
        with pytest.raises(
            RuntimeError, match=r"Plain\.loop is the running asyncio event loop.*add_future\(\)"
        ):
            _ = service.loop
        return
    assert service.loop.is_running()


def test_the_loop_of_a_service_where_none_runs() -> None:
    """Where no event loop runs, the error is the same."""
    with pytest.raises(
        RuntimeError,
        match=r"Plain\.loop is the running asyncio event loop, and there is none here",
    ):
        _ = Plain(loop=object()).loop


class Passing(Service):
    """Passes its loop on to others, from each hook that says what it is made of."""

    mundane_level = "debug"

    def on_init(self) -> None:
        self.loops: list[Any] = [self.loop]

    def __post_init__(self) -> None:
        self.loops.append(self.loop)
        self.add_dependency(Plain(loop=self.loop))

    def on_init_dependencies(self) -> list[Plain]:
        self.loops.append(self.loop)
        return [Plain(loop=self.loop)]


async def test_a_loop_that_is_passed_on(anyio_backend: tuple[str, dict[str, Any]]) -> None:
    """What a service is made of may be given its loop, also on trio, where the error comes if it is used."""
    async with Passing() as service:
        await service.restart()
    assert len(service.loops) == 4  # three hooks in the first start, one more in the restart
    for loop in service.loops:
        if anyio_backend[0] == "trio":
            assert repr(loop) == "<no event loop>"
            with pytest.raises(RuntimeError, match=r"Passing\.loop is .*may be left out"):
                loop.time()
        else:
            assert loop.is_running()


def test_a_loop_that_is_passed_on_where_none_runs() -> None:
    """A service that is made at the top of a module may pass its loop on; it has none to use for all that."""
    service = Passing()
    with pytest.raises(RuntimeError, match=r"Passing\.loop is the running asyncio event loop"):
        service.loops[0].create_task(None)
    with pytest.raises(RuntimeError, match=r"Passing\.loop is the running asyncio event loop"):
        _ = service.loop


def test_a_loop_after_a_hook_that_failed() -> None:
    """A hook that fails is over: the loop can't be passed on after it."""
    made: list[Service] = []

    class Failing(Service):
        def __post_init__(self) -> None:
            made.append(self)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Failing()
    with pytest.raises(RuntimeError, match="none here"):
        _ = made[0].loop


# --- The errors themselves ------------------------------------------------------------------------


def test_the_errors_have_a_base() -> None:
    """structmode's own errors have one base, and are what Python programs expect them to be."""
    assert issubclass(LifecycleError, StructmodeError)
    assert issubclass(LifecycleError, RuntimeError)
    assert issubclass(EventLoopMismatch, LifecycleError)
