"""What the mixin is: its methods, its readme's promises, and where it is stricter than facet."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextvars import Context, copy_context
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from structmode import Service
from structmode.exceptions import LifecycleError, ShutdownTimeout
from structmode.facet import BlockingServiceMixin, ServiceMixin
from structmode.threads import ServiceThread


class Part(ServiceMixin):
    """Notes what is done to it."""

    def __init__(self, name: str, log: list[str], *dependencies: Any) -> None:
        self.name = name
        self.log = log
        self.parts = dependencies

    @property
    def dependencies(self) -> Iterable[Any]:
        return self.parts

    async def start(self) -> None:
        assert not self.running
        self.log.append(f"{self.name} started")

    async def stop(self) -> None:
        assert not self.running
        self.log.append(f"{self.name} stopped")


class ModePart(Service):
    """The same of the other face."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.journal = log
        super().__init__()

    @property
    def label(self) -> str:
        return self.name

    async def on_start(self) -> None:
        self.journal.append(f"{self.name} started")

    async def on_shutdown(self) -> None:
        self.journal.append(f"{self.name} stopped")


# --- Dependencies ---------------------------------------------------------------------------------


async def test_in_sequence_and_in_parallel() -> None:
    """The first level is in sequence, the second in parallel; a stop is the reverse."""
    log: list[str] = []
    together = anyio.Event()

    class Meeting(Part):
        async def start(self) -> None:
            await super().start()
            if len(log) == 3:
                together.set()
            await together.wait()

    a = Part("a", log, Part("z", log), [Meeting("b", log), Meeting("c", log)], Part("d", log))
    async with a:
        assert log == ["z started", "b started", "c started", "d started", "a started"]
        log.clear()
    assert log[:2] == ["a stopped", "d stopped"]
    assert set(log[2:4]) == {"b stopped", "c stopped"}
    assert log[4:] == ["z stopped"]


@pytest.mark.parametrize("form", [list, tuple, iter, lambda parts: (part for part in parts)])
async def test_any_iterable(form: Any) -> None:
    """Dependencies may be any iterable, of services and of iterables of them."""
    log: list[str] = []
    b, c, d = (Part(name, log) for name in "bcd")
    async with Part("a", log, *form([b, form([c, d])])):
        assert b.running
        assert c.running
        assert d.running
    assert not b.running


@pytest.mark.fault("G1")
async def test_shared() -> None:
    """What two depend on starts once and stops with the last of them, also after a start that failed."""
    log: list[str] = []
    pool = Part("pool", log)
    one, two = Part("one", log, pool), Part("two", log, pool)
    bad = Part("bad", log)

    async def fail() -> None:
        raise OSError("bad")

    bad.start = fail  # type: ignore[method-assign]
    with pytest.raises(OSError, match="bad"):
        async with Part("top", log, [one, two], bad):
            raise AssertionError("was entered")
    assert log.count("pool started") == log.count("pool stopped") == 1
    log.clear()
    async with Part("top", log, [one, two]):
        assert log.count("pool started") == 1
    assert log.count("pool stopped") == 1
    assert log[-1] == "pool stopped"


BAD_DEPENDENCIES: list[tuple[Any, str]] = [
    (None, r"Bad\.dependencies must be a list of services"),
    (Part("x", []), r"Bad\.dependencies must be a list of services"),
    ("text", r"Bad\.dependencies must be a list of services"),
    (list, r"Bad\.dependencies is a method: put @property before it"),
    ([Part], r"names the class Part: it must name an instance"),
    ([[[Part("x", [])]]], r"nested too deep"),
    ([3], r"names 3, which is no service"),
    ([["text"]], r"names 'text', which is no service"),
    ([BlockingServiceMixin()], r"is a blocking service: this one is async"),
]


@pytest.mark.parametrize(("declared", "problem"), BAD_DEPENDENCIES)
async def test_bad_dependencies(declared: Any, problem: str) -> None:
    """What is no list of services or of lists of them makes the start fail; the error says what is wrong."""

    class Bad(ServiceMixin):
        @property
        def dependencies(self) -> Any:
            return declared

        async def start(self) -> None:
            raise AssertionError("was started")

    with pytest.raises(TypeError, match=problem):
        await Bad().run()


async def test_circle() -> None:
    """Services that depend on each other can't be started."""
    log: list[str] = []
    a, b = Part("a", log), Part("b", log)
    a.parts, b.parts = (b,), (a,)
    with pytest.raises(LifecycleError, match="no circles"):
        await a.run()
    assert log == []


# --- Tasks ----------------------------------------------------------------------------------------


async def test_tasks_end_with_the_service() -> None:
    """Tasks are cancelled and waited for after `stop`, and before the dependencies stop."""
    log: list[str] = []

    class Working(Part):
        async def work(self) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                self.log.append("task cancelled")
                with anyio.CancelScope(shield=True):
                    await anyio.lowlevel.checkpoint()
                self.log.append("task ended")

        async def start(self) -> None:
            await super().start()
            self.handle = self.add_task(self.work())

    async with Working("a", log, Part("b", log)) as a:
        await anyio.lowlevel.checkpoint()
        log.clear()
    assert log == ["a stopped", "task cancelled", "task ended", "b stopped"]
    assert a.handle.cancelled()


async def test_result_of_a_task() -> None:
    """A task has a handle, which has the result."""

    async def answer() -> int:
        return 42

    async with ServiceMixin() as service:
        for work in (answer(), answer):
            assert await service.add_task(work, name="the answer") == 42


@pytest.mark.fault("G2")
async def test_a_task_that_fails_cancels_the_body() -> None:
    """A failed task ends the body of the block, and its exception leaves as it was raised, when all has been stopped."""
    log: list[str] = []
    error = OSError("lost")

    async def fail() -> None:
        raise error

    a = Part("a", log, Part("b", log))
    with pytest.raises(OSError, match="lost") as caught:
        async with a:
            a.add_task(fail())
            await anyio.sleep_forever()
    assert caught.value is error
    assert log == ["b started", "a started", "a stopped", "b stopped"]


@pytest.mark.fault("G2")
async def test_a_task_of_a_dependency_that_fails() -> None:
    """So does one of a dependency, however far down."""
    log: list[str] = []

    async def fail() -> None:
        raise OSError("lost")

    c = Part("c", log)
    with pytest.raises(OSError, match="lost"):
        async with Part("a", log, [Part("b", log, c)]):
            c.add_task(fail())
            await anyio.sleep_forever()
    assert log[-3:] == ["a stopped", "b stopped", "c stopped"]


async def test_add_task_at_the_wrong_time() -> None:
    """Before the start and after the stop it is an error, and the coroutine is closed; in the stop it is cancelled."""

    class Late(ServiceMixin):
        async def stop(self) -> None:
            self.handle = self.add_task(anyio.sleep_forever())

    service = Late()
    with pytest.raises(
        LifecycleError, match=r"add_task\(\) of Late was called while it does not run"
    ):
        service.add_task(anyio.sleep_forever())
    async with service:
        pass
    assert service.handle.cancelled()
    with pytest.raises(LifecycleError, match="Call it in its start"):
        service.add_task(anyio.sleep_forever())


async def test_add_task_of_what_can_not_run() -> None:
    """What is no coroutine, or one that was passed before, is refused."""
    async with ServiceMixin() as service:
        with pytest.raises(TypeError, match="can't wait for 3"):
            service.add_task(3)  # type: ignore[arg-type]
        coro = anyio.sleep_forever()
        service.add_task(coro)
        with pytest.raises(ValueError, match="passed to a service before"):
            service.add_task(coro)


# --- run and wait ---------------------------------------------------------------------------------


async def test_run() -> None:
    """`run` starts it and waits; a cancellation stops it in order, and goes on."""
    log: list[str] = []
    a = Part("a", log, Part("b", log))
    with anyio.move_on_after(0.05) as scope:
        await a.run()
    assert scope.cancelled_caught
    assert log == ["b started", "a started", "a stopped", "b stopped"]


@pytest.mark.parametrize("hook", ["start", "stop"])
async def test_what_leaves_run(hook: str) -> None:
    """What leaves `start` or `stop` leaves `run`."""

    class Bad(ServiceMixin):
        async def start(self) -> None:
            if hook == "start":
                raise OSError("start")
            self.add_task(self.fail())

        async def fail(self) -> None:
            raise ValueError("task")

        async def stop(self) -> None:
            raise OSError("stop")

    expected: type[Exception] = OSError if hook == "start" else ValueError
    with pytest.raises(expected) as caught:
        await Bad().run()
    if hook == "stop":
        assert "OSError('stop')" in "".join(caught.value.__notes__)


async def test_wait_in_another_task() -> None:
    """Whoever waits for a service returns when it has stopped, or gets what it crashed of."""
    log: list[str] = []
    told: list[BaseException | None] = []
    error = OSError("lost")

    async def wait(service: ServiceMixin) -> None:
        try:
            await service.wait()
        except OSError as exc:
            told.append(exc)
        else:
            told.append(None)

    async def fail() -> None:
        raise error

    for crash in (False, True):
        a = Part("a", log)
        async with anyio.create_task_group() as group:
            try:
                async with a:
                    group.start_soon(wait, a)
                    await anyio.wait_all_tasks_blocked()
                    if crash:
                        a.add_task(fail())
                        await anyio.sleep_forever()
            except OSError:
                assert crash
    assert told == [None, error]


async def test_wait_inside() -> None:
    """In a task of the service, `wait` returns when it is told to stop."""
    log: list[str] = []

    class Waiting(Part):
        async def start(self) -> None:
            self.add_task(self.watch())

        async def watch(self) -> None:
            with anyio.CancelScope(shield=True):
                await self.wait()
            self.log.append("told")

    async with Waiting("a", log):
        await anyio.wait_all_tasks_blocked()
    assert sorted(log) == ["a stopped", "told"]


async def test_wait_without_a_run() -> None:
    """A service that does not run can't be waited for."""
    with pytest.raises(
        LifecycleError, match=r"wait\(\) of ServiceMixin was called while it does not run"
    ):
        await ServiceMixin().wait()


async def test_leaving_what_was_not_entered() -> None:
    """Leaving a block that was not entered is an error."""
    with pytest.raises(LifecycleError, match="not in an `async with` block"):
        await ServiceMixin().__aexit__(None, None, None)


# --- One owner ------------------------------------------------------------------------------------


async def test_entered_twice() -> None:
    """A service that runs, or is in a block, can't be entered; the error says what to do. It may be entered again later."""
    log: list[str] = []
    b = Part("b", log)
    a = Part("a", log, b)
    for _ in range(2):
        async with a:
            for service in (a, b):
                with pytest.raises(LifecycleError, match="it runs already, and has one owner"):
                    async with service:
                        raise AssertionError("was entered")
    async with b:
        with pytest.raises(LifecycleError, match=r"Part can't be started for Part.*on its own"):
            await a.run()
        assert b.running


async def test_the_end_of_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    """A later failure is logged, and the first is not: that leaves the block."""

    class Bad(ServiceMixin):
        async def stop(self) -> None:
            raise ValueError("later")

    async def fail() -> None:
        raise OSError("first")

    caplog.set_level(logging.DEBUG, "structmode")
    with pytest.raises(OSError, match="first"):
        async with Bad() as bad:
            bad.add_task(fail())
            await anyio.sleep_forever()
    assert [record.getMessage() for record in caplog.records] == [
        "One more failure, in stop of Bad: ValueError('later')"
    ]


async def test_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A service that starts and stops writes no log."""
    caplog.set_level(logging.DEBUG)
    async with Part("a", [], Part("b", [])):
        pass
    assert [record for record in caplog.records if record.name.startswith("structmode")] == []


# --- The time of a stop ---------------------------------------------------------------------------


class Hanging(ServiceMixin):
    graceful_shutdown_timeout: float = 0.05

    async def stop(self) -> None:
        await anyio.sleep_forever()


class HangingToo(ServiceMixin):
    @property
    def graceful_shutdown_timeout(self) -> float:
        return 0.05

    @property
    def dependencies(self) -> list[Hanging]:
        return [hanging_long]


class HangingAsSaid(ServiceMixin):
    def __init__(self) -> None:
        self.graceful_shutdown_timeout = 0.05

    async def stop(self) -> None:
        await anyio.sleep_forever()


hanging_long = Hanging()
hanging_long.graceful_shutdown_timeout = 10.0


@pytest.mark.parametrize("make", [Hanging, HangingToo, HangingAsSaid])
async def test_graceful_shutdown_timeout(make: type[ServiceMixin]) -> None:
    """Attribute of the class or of the service, or property, it bounds the stop with its dependencies; what hung is named, with where it hung."""
    with pytest.raises(ShutdownTimeout) as caught:
        async with make():
            pass
    (owner,) = (stuck.owner for stuck in caught.value.stuck)
    assert owner == ("Hanging" if make is HangingToo else make.__name__)
    assert "sleep_forever" in caught.value.stuck[0].stack


async def test_a_timeout_that_is_none() -> None:
    """A timeout that can't be read makes the start fail; the error names it."""

    class Bad(ServiceMixin):
        graceful_shutdown_timeout: Any = "soon"

    with pytest.raises(ValueError, match=r"Bad\.graceful_shutdown_timeout"):
        await Bad().run()


# --- Mixed ----------------------------------------------------------------------------------------


async def test_depends_on_a_service() -> None:
    """A mixin may depend on services of the other face, shared or not."""
    log: list[str] = []
    shared = ModePart("shared", log)
    b = Part("b", log, shared)
    async with Part("a", log, b, [shared, ModePart("c", log)]):
        assert log == ["shared started", "b started", "c started", "a started"]
        assert shared.state == "running"
        log.clear()
    assert log == ["a stopped", "c stopped", "b stopped", "shared stopped"]


async def test_a_service_owns_mixins() -> None:
    """A service may own mixins, alone and in groups, with what those depend on."""
    log: list[str] = []
    shared = Part("shared", log)
    parent, b, c, d = ModePart("a", log), *(Part(name, log, shared) for name in "bcd")
    assert parent.add_dependency(b) is b
    parent.add_dependency_group(c)
    async with parent:
        assert await parent.add_runtime_dependency(d) is d
        assert d.running
        assert log == ["a started", "shared started", "b started", "c started", "d started"]
        log.clear()
        assert await parent.remove_dependency(d) is d
        assert not d.running
        with pytest.raises(LifecycleError, match="Part can't be removed from a"):
            await parent.remove_dependency(d)
    assert log == ["d stopped", "c stopped", "b stopped", "shared stopped", "a stopped"]


async def test_a_crash_goes_through_both() -> None:
    """A failure of a service crashes the mixins that depend on it, and the services that own those."""
    log: list[str] = []
    error = OSError("lost")
    deep = ModePart("deep", log)
    parent = ModePart("a", log)
    parent.add_dependency(Part("b", log, deep))
    with pytest.raises(OSError, match="lost") as caught:
        async with parent:
            await deep.crash(error)
            await anyio.sleep_forever()
    assert caught.value is error
    assert parent.crash_reason is error
    assert log[-3:] == ["b stopped", "deep stopped", "a stopped"]


async def test_a_restart_of_the_parent() -> None:
    """A service that restarts takes along the mixins that it owns, and what they depend on."""
    log: list[str] = []
    parent = ModePart("a", log)
    parent.add_dependency(Part("b", log, Part("c", log)))
    async with parent:
        log.clear()
        await parent.restart()
        assert log == [
            *("b stopped", "c stopped", "a stopped"),
            *("a started", "c started", "b started"),
        ]


async def test_depends_on_a_service_in_a_thread() -> None:
    """A mixin may depend on a service that has a thread of its own; and in that thread mixins may be owned."""
    log: list[str] = []

    class Threaded(ServiceThread):
        async def on_first_start(self) -> None:
            self.part = self.add_dependency(Part("inside", log, Part("deep inside", log)))

    thread = Threaded()
    async with Part("a", log, thread):
        assert thread.state == "running"
        assert log == ["deep inside started", "inside started", "a started"]
        log.clear()
    assert log == ["a stopped", "inside stopped", "deep inside stopped"]


@pytest.mark.parametrize("child", [Part, BlockingServiceMixin(), object()])
def test_what_a_service_can_not_own(child: Any) -> None:
    """A class, a blocking service, and what is no service can't be added to a service."""
    with pytest.raises(TypeError, match=r"add_dependency\(\) takes"):
        ModePart("a", []).add_dependency(child)


async def test_from_a_former_run() -> None:
    """What is left of a former run adds no task to the next, and waits for nothing."""
    log: list[str] = []
    handles: list[Any] = []

    class Restarted(Part):
        async def start(self) -> None:
            await super().start()
            contexts.append(copy_context())

    async def linger() -> None:
        handles.append(part.add_task(anyio.sleep_forever()))
        await part.wait()

    contexts: list[Context] = []
    parent, part = ModePart("a", log), Restarted("b", log)
    parent.add_dependency(part)
    async with parent:
        log.clear()
        await part._structmode_life().restart()
        assert log == ["b stopped", "b started"]
        for context in contexts:
            async with anyio.create_task_group() as group:
                context.run(group.start_soon, linger)
                await anyio.wait_all_tasks_blocked()
                group.cancel_scope.cancel()
        assert [handle.cancelled() for handle in handles] == [True, False]


@pytest.mark.parametrize("call", ["start", "maybe_start", "restart"])
async def test_what_is_needed_and_is_started_again_by_hand(call: str) -> None:
    """It belongs to those who need it as before: they fail with it, and it is stopped with the last of them."""
    log: list[str] = []
    pool = ModePart("pool", log)
    user = Part("user", log, pool)
    with pytest.raises(OSError, match="lost"):
        async with user:
            await pool.stop()
            await getattr(pool, call)()
            await pool.crash(OSError("lost"))
            await anyio.sleep_forever()
    assert log == [
        *("pool started", "user started", "pool stopped"),
        *("pool started", "user stopped", "pool stopped"),
    ]


async def test_what_was_needed_and_is_started_by_hand() -> None:
    """Without anybody who needs it, it is one like any other."""
    log: list[str] = []
    pool = ModePart("pool", log)
    async with Part("user", log, pool):
        pass
    async with pool:
        assert pool.started
    assert log[-2:] == ["pool started", "pool stopped"]
