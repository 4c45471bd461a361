"""Failures across the border: up from the thread, and down into it."""

from __future__ import annotations

import re
import threading
from typing import Any

import anyio
import pytest

from structmode import Service
from structmode.events import Crashed, LifecycleEvent, subscribe

from .things import START, STOP, Noting, Plain, threads_of, until


def crashing(error: BaseException, how: str, backend: str) -> Any:
    """Make a service that crashes in its thread by itself, once its `go` is true."""

    class Crashing(Noting):
        go = False

        async def on_thread_started(self) -> None:
            if how == "future":
                self.add_future(self.fail())
            elif how == "crash()":
                self.add_future(self.crash_later())
            elif how == "child":
                self.add_future(self.fail_in_child())

        async def fail(self) -> None:
            await until(lambda: self.go)
            raise error

        async def crash_later(self) -> None:
            await until(lambda: self.go)
            await self.crash(error)

        async def fail_in_child(self) -> None:
            child = await self.add_runtime_dependency(Service())
            child.add_future(self.fail())

    class WithTimer(Crashing):
        @Service.timer(0.001)
        async def tick(self) -> None:
            if self.go:
                raise error

    class WithTask(Crashing):
        @Service.task
        async def work(self) -> None:
            await self.fail()

    kind = {"timer": WithTimer, "task": WithTask}.get(how, Crashing)
    return kind(backend=backend)


@pytest.mark.parametrize("how", ["task", "timer", "future", "crash()", "child"])
async def test_crash_leaves_the_block(inside: str, how: str) -> None:
    """Whatever fails in the thread leaves the owner's block as it was raised; the thread has ended by then."""
    error = ValueError(how)
    service = crashing(error, how, inside)
    with pytest.raises(ValueError, match=re.escape(how)) as caught:
        async with service:
            service.go = True
            await anyio.sleep_forever()
    assert caught.value is error
    assert service.crash_reason is error
    assert service.failures == (error,)
    assert service.state == "crashed"
    assert not threads_of(service)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_exits(inside: str, kind: type[BaseException]) -> None:
    """A KeyboardInterrupt or SystemExit in the thread's work is a crash like others."""
    error = kind()
    service = crashing(error, "future", inside)
    with pytest.raises(kind) as caught:
        async with service:
            service.go = True
            await anyio.sleep_forever()
    assert caught.value is error
    assert not threads_of(service)


async def test_crash_crashes_the_parent(inside: str) -> None:
    """A crash in the thread marks the tree up to the root, and the tree stops from the top, the thread in its turn."""
    error = ValueError("in the thread")
    log: list[str] = []

    class Named(Service):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        async def on_stop(self) -> None:
            log.append(f"{self.name} stops, thread {thread.calls[-1]}")

    thread = crashing(error, "future", inside)
    root, before, after = Named("root"), Named("before"), Named("after")
    for service in (before, thread, after):
        root.add_dependency(service)
    with pytest.raises(ValueError, match="in the thread") as caught:
        async with root:
            thread.go = True
            await anyio.sleep_forever()
    assert caught.value is error
    assert root.crash_reason is error
    assert log == [
        "root stops, thread on_started",
        "after stops, thread on_started",
        "before stops, thread on_shutdown",
    ]
    assert isinstance(thread, Noting)
    assert thread.calls[-3:] == STOP


async def test_crash_while_starting(inside: str) -> None:
    """A failure that comes while the owner's start is not complete makes that fail, as it was raised."""
    error = ValueError("early")

    class Early(Noting):
        moment: str

        @Service.task
        async def fail(self) -> None:
            await until(lambda: self.moment in self.calls)
            raise error

        async def on_thread_started(self) -> None:
            self.note("on_thread_started")
            await anyio.sleep(0.002)

    for moment in START:
        service = Early(backend=inside)
        service.moment = moment
        with pytest.raises(ValueError, match="early") as caught:
            async with service:
                await anyio.sleep_forever()  # pragma: no cover - it may have crashed before
        assert caught.value is error
        assert not threads_of(service)


async def test_told_once(inside: str, caplog: pytest.LogCaptureFixture) -> None:
    """The crash is told once, in the log and as an event of each service it reaches."""
    error = ValueError("in the thread")
    told: list[LifecycleEvent] = []
    end = subscribe(told.append)
    thread, root = crashing(error, "future", inside), Service()
    root.add_dependency(thread)
    with pytest.raises(ValueError, match="in the thread"):
        async with root:
            thread.go = True
            await anyio.sleep_forever()
    end()
    crashes = [event for event in told if isinstance(event, Crashed)]
    assert {event.reason for event in crashes} == {error}
    assert [event.subject for event in crashes].count(thread) == 1
    assert [event.subject for event in crashes].count(root) == 1
    about = [record for record in caplog.records if "in the thread" in record.getMessage()]
    assert len(about) == 1, about


async def test_on_crash(inside: str) -> None:
    """`on_crash` is called in the thread, with a message for people."""
    said: list[tuple[str, int]] = []

    class Telling(Plain):
        def on_crash(self, msg: str, *fmt: object, **kwargs: object) -> None:
            said.append((msg.format(*fmt, **kwargs), threading.get_ident()))

        @Service.task
        async def work(self) -> None:
            raise ValueError("in the thread")

    with pytest.raises(ValueError, match="in the thread"):
        async with Telling(backend=inside):
            await anyio.sleep_forever()  # pragma: no cover - it may have crashed before
    ((text, where),) = said
    assert "Telling.work" in text
    assert "in the thread" in text
    assert where != threading.get_ident()


@pytest.mark.parametrize("how", ["crash()", "sibling"])
async def test_crash_from_above(inside: str, how: str) -> None:
    """A failure outside tells those in the thread to stop at once, and is their crash reason if they are below it."""
    error = ValueError("outside")
    seen: list[str] = []

    class Listening(Noting):
        @Service.task
        async def listen(self) -> None:
            await self.wait_until_stopped()
            seen.append(f"told, {'on_stop' in self.calls}")

    class Root(Service):
        async def on_stop(self) -> None:
            await until(lambda: seen)  # before the thread's own stop

    thread, child = Listening(backend=inside), Plain(backend=inside)
    thread.add_dependency(child)
    root = Root()
    root.add_dependency(thread)
    sibling = root.add_dependency(Service())
    with pytest.raises(ValueError, match="outside") as caught:
        async with root:
            failing = root if how == "crash()" else sibling
            await failing.crash(error)
            await anyio.sleep_forever()
    assert caught.value is error
    assert seen == ["told, False"]
    assert thread.crashed == child.crashed == (how == "crash()")
    assert thread.failures == ()
    assert not threads_of(thread)


@pytest.mark.parametrize("who", ["root", "other", "user"])
async def test_calls_in_a_tree_that_crashes(inside: str, who: str) -> None:
    """After a crash, those that stop before the thread does may still call into it, and put away there what they have."""
    saved: list[str] = []

    class User(Service):
        def __init__(self, store: Noting) -> None:
            super().__init__()
            self.store = store

        async def on_shutdown(self) -> None:
            await anyio.sleep(0.005)  # the thread knows of the crash by now
            await self.store.call_thread(saved.append, "the rest")

    root, store = Service(), Noting(backend=inside)
    user, other = User(store), Service()
    for service in (store, user, other):
        root.add_dependency(service)
    with pytest.raises(ValueError, match="crash"):
        async with root:
            await {"root": root, "other": other, "user": user}[who].crash(ValueError("crash"))
            await anyio.sleep_forever()
    assert saved == ["the rest"]
    assert store.calls[-3:] == STOP


async def test_crash_from_outside(inside: str) -> None:
    """The owner's side may crash the service: those in the thread know the reason."""
    error = ValueError("outside")
    reasons: list[BaseException | None] = []

    class Looking(Noting):
        async def on_stop(self) -> None:
            reasons.append(self.crash_reason)

    service = Looking(backend=inside)
    with pytest.raises(ValueError, match="outside") as caught:
        async with service:
            await service.crash(error)
            await anyio.sleep_forever()
    assert caught.value is error
    assert reasons == [error]


async def test_crash_of_what_does_not_run(inside: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, as of any service; what is no exception is refused."""
    service = Plain(backend=inside)
    await service.crash(ValueError("nobody"))
    assert "nobody" in caplog.text
    assert not service.crashed
    with pytest.raises(TypeError, match="crash"):
        await service.crash("reason")  # type: ignore[arg-type]


async def test_first_failure_leaves(inside: str) -> None:
    """Of several failures the first leaves; the later ones are kept, and noted on it."""
    first, later = ValueError("first"), ValueError("later")

    class Failing(Noting):
        async def on_stop(self) -> None:
            raise later

    with pytest.raises(ValueError, match="first") as caught:
        async with Failing(backend=inside) as service:
            await service.crash(first)
            await anyio.sleep_forever()
    assert caught.value is first
    assert service.failures == (first, later)
    assert any("later" in note for note in first.__notes__)


async def test_bare_crash_is_logged(inside: str, caplog: pytest.LogCaptureFixture) -> None:
    """A crash with no owner to receive it is logged whole."""
    service = crashing(ValueError("in the thread"), "future", inside)
    await service.start()
    service.go = True
    await until(lambda: service.state == "crashed" and not service.started)
    assert "A failure that nobody receives" in caplog.text
    assert not threads_of(service)


async def test_restart_after_crash(inside: str) -> None:
    """A crashed service can be started again, and is as new."""
    service = Noting(backend=inside)
    with pytest.raises(ValueError, match="once"):
        async with service:
            await service.crash(ValueError("once"))
            await anyio.sleep_forever()
    async with service:
        assert service.state == "running"
        assert service.crash_reason is None
        assert await service.call_thread(lambda: 1) == 1
