"""Thread services in trees: as children, with children of their own, within each other, restarted, and removed."""

from __future__ import annotations

import anyio
import pytest

from structmode import LifecycleError, Service
from structmode._engine import work_done
from structmode.threads import QueueServiceThread
from structmode.utils.graphs import as_text

from .things import ON_ASYNCIO, START, STOP, Noting, Plain, here, threads_of, until


class Named(Service):
    """Writes its hooks into a log that it shares."""

    def __init__(self, name: str, log: list[str]) -> None:
        super().__init__()
        self.name = name
        self.log_ = log

    async def on_start(self) -> None:
        self.thread = here()
        self.log_.append(f"{self.name} starts")

    async def on_stop(self) -> None:
        self.log_.append(f"{self.name} stops")


async def test_order_in_a_tree(inside: str) -> None:
    """A thread service starts and stops in its place among its siblings, and its children in theirs, in its thread."""
    log: list[str] = []

    class Thread(QueueServiceThread):
        async def on_start(self) -> None:
            log.append("thread starts")
            self.thread = here()

        async def on_stop(self) -> None:
            log.append("thread stops")

    root, thread = Named("root", log), Thread(backend=inside)
    first, last = Named("first", log), Named("last", log)
    one, two = Named("one", log), Named("two", log)
    root.add_dependency(first)
    root.add_dependency(thread)
    root.add_dependency(last)
    thread.add_dependency(one)
    thread.add_dependency(two)
    async with root:
        assert one.thread == two.thread == thread.thread
        assert root.thread == first.thread == last.thread == here() != thread.thread
    names = ["root", "first", "thread", "one", "two", "last"]
    assert log[:6] == [f"{name} starts" for name in names]
    assert log[6:] == [
        f"{name} stops" for name in ("root", "last", "thread", "two", "one", "first")
    ]


async def test_parent_uses_it_while_it_stops(inside: str) -> None:
    """A parent's `on_stop` may still call into the thread."""

    class Root(Service):
        def __post_init__(self) -> None:
            self.store = self.add_dependency(Noting(backend=inside))

        async def on_stop(self) -> None:
            self.last = await self.store.call_thread(lambda: "still there")

    root = Root()
    async with root:
        pass
    assert root.last == "still there"


async def test_thread_within_a_thread(inside: str) -> None:
    """A thread service may be the child of another; each has a thread of its own, and they end inside out."""
    inner, outer = Noting(backend="trio"), Noting(backend=inside)
    outer.add_dependency(inner)
    async with outer:
        assert await inner.call_thread(here) not in {here(), await outer.call_thread(here)}
        assert await outer.call_thread(inner.call_thread, lambda: 7) == 7
        await outer.restart()
        assert await inner.call_thread(lambda: 8) == 8
    assert inner.calls == ["on_first_start", *START, *STOP, *START, *STOP]
    assert not threads_of(inner)
    assert not threads_of(outer)


async def test_crash_two_threads_down(inside: str) -> None:
    """A crash in a thread within a thread comes out as it was raised."""
    error = ValueError("deep")
    inner, outer = Noting(backend="trio"), Noting(backend=inside)
    outer.add_dependency(inner)

    async def fail() -> None:
        raise error

    with pytest.raises(ValueError, match="deep") as caught:
        async with outer:
            await inner.cast_thread(fail)
            await anyio.sleep_forever()
    assert caught.value is error
    assert outer.crash_reason is inner.crash_reason is error


async def test_added_and_removed_at_run_time(inside: str) -> None:
    """It can be added to a service that runs, and removed from it again."""
    async with Service() as root:
        thread = await root.add_runtime_dependency(Noting(backend=inside))
        assert await thread.call_thread(lambda: 1) == 1
        assert thread.beacon.parent is root.beacon
        await root.remove_dependency(thread)
        assert thread.state == "shutdown"
        assert not threads_of(thread)
        assert thread.beacon.parent is None
        await root.add_runtime_dependency(thread)
        assert await thread.call_thread(lambda: 1) == 1


async def test_children_added_in_the_thread(inside: str) -> None:
    """The thread's own code may add services at run time; they run in the thread."""
    async with Noting(backend=inside) as thread:
        child = Named("child", [])
        await thread.call_thread(thread.add_runtime_dependency, child)
        assert child.thread in thread.threads
        with pytest.raises(LifecycleError):
            await child.stop()
        await thread.call_thread(child.stop)
        assert child.state == "shutdown"


async def test_no_circles(inside: str) -> None:
    """A service can't be below itself, through a thread neither."""
    thread, child = Plain(backend=inside), Service()
    thread.add_dependency(child)
    for service in (thread, child):
        with pytest.raises(LifecycleError, match="no circles"):
            service.add_dependency(thread)


async def test_one_owner(inside: str) -> None:
    """One that runs can't be added to another."""
    async with Plain(backend=inside) as thread:
        with pytest.raises(LifecycleError, match="has one owner"):
            Service().add_dependency(thread)


async def test_restart_of_a_child(inside: str) -> None:
    """Restarted alone, it keeps its place in the order of the stop."""
    root = Service()
    first, thread, last = Noting(backend=inside), Noting(backend=inside), Noting(backend=inside)
    for service in (first, thread, last):
        root.add_dependency(service)
    order: list[str] = []
    for name, service in {"first": first, "thread": thread, "last": last}.items():
        service.note = lambda what, name=name: order.append(f"{name} {what}")  # type: ignore[method-assign, misc]
    async with root:
        await thread.restart()
        assert thread.state == "running"
    stops = [line for line in order if line.endswith("on_shutdown")]
    assert stops == [f"{name} on_shutdown" for name in ("thread", "last", "thread", "first")]


async def test_restart_of_the_parent(inside: str) -> None:
    """Restarted with its parent, it has a new thread, too; `on_first_start` is not called again."""
    root = Service()
    thread = root.add_dependency(Noting(backend=inside))
    async with root:
        await root.restart()
        assert await thread.call_thread(lambda: 1) == 1
    assert thread.calls == ["on_first_start", *START, *STOP, *START, *STOP]


async def test_in_the_tree_picture(inside: str) -> None:
    """It is shown in the tree with what runs in it."""
    root = Service()
    thread = root.add_dependency(Noting(backend=inside))
    thread.add_dependency(Plain(backend=inside))
    async with root:
        picture = as_text(root)
    assert "Noting" in picture
    assert "MethodQueue" in picture
    assert "Plain" in picture


async def test_bare_start(inside: str) -> None:
    """Started bare, below a parent that runs it belongs to that parent, and else to the event loop."""
    root = Service()
    thread = Noting(backend=inside)
    async with root:
        root.add_dependency(thread)
        await thread.start()
        assert await thread.call_thread(lambda: 1) == 1
    assert thread.state == "shutdown"
    await thread.start()
    await thread.stop()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_forgotten(inside: str, backend: str) -> None:
    """Started bare and never stopped, it is stopped when the owner's event loop ends, with a warning."""
    service = Noting(backend=inside)
    with pytest.warns(ResourceWarning, match="Noting was started and never stopped"):
        anyio.run(service.start, backend=backend)
    assert service.state == "shutdown"
    assert service.calls == ["on_first_start", *START, *STOP]
    assert not threads_of(service)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_from_one_loop_to_the_next(inside: str, backend: str) -> None:
    """One service may run in one event loop after the other, and be asked in between."""
    service = Noting(backend=inside)

    async def main() -> None:
        async with service:
            assert await service.call_thread(lambda: 1) == 1

    for other in (backend, "trio", "asyncio"):
        anyio.run(main, backend=other)
        assert service.state == "shutdown"
        assert service.should_stop


async def test_work_in_the_thread_is_work(inside: str) -> None:
    """Whoever waits until all work is done, as a worker does, waits for that in the thread."""
    done: list[str] = []

    class Working(Plain):
        @Service.task
        async def work(self) -> None:
            await anyio.sleep(0.02)
            done.append("work")

        @Service.timer(1000.0)
        async def tick(self) -> None:
            pass  # pragma: no cover - it is stopped before the first tick

    root = Service()
    root.add_dependency(Working(backend=inside))
    async with root:
        await work_done(root._life.current)
        assert done == ["work"]


@ON_ASYNCIO
async def test_tasks_cancelled_from_within(inside: str) -> None:
    """Whoever cancels all tasks of the thread's asyncio event loop stops the service in order."""

    import asyncio

    service = Noting(backend=inside)
    await service.start()

    def cancel_all() -> None:
        for task in asyncio.all_tasks():
            task.cancel()

    service.thread_loop.call_soon_threadsafe(cancel_all)
    await until(lambda: not service.started)
    assert service.calls[-3:] == STOP
    assert service.state == "shutdown"


@ON_ASYNCIO
async def test_loop_stopped_from_within(inside: str) -> None:
    """Whoever stops the thread's asyncio event loop itself crashes the service, with what that says."""
    service = Noting(backend=inside)
    with pytest.raises(RuntimeError, match="Event loop stopped"):
        async with service:
            service.thread_loop.call_soon_threadsafe(service.thread_loop.stop)
            await anyio.sleep_forever()
    assert not threads_of(service)
