"""Services made of other services: adding them, starting them later, removing them, and who owns whom."""

from __future__ import annotations

from collections.abc import Iterable

import anyio
import anyio.to_thread
import pytest

from structmode import EventLoopMismatch, LifecycleError, Service, StartAborted


class Child(Service):
    """Notes its starts and stops."""

    def __init__(self, name: str = "child", journal: list[str] | None = None) -> None:
        self.name = name
        self.journal = journal if journal is not None else []
        self.start_fails: Exception | None = None
        self.stop_fails: Exception | None = None
        super().__init__()

    @property
    def label(self) -> str:
        return self.name

    async def on_start(self) -> None:
        self.journal.append(f"{self.name} starts")
        if self.start_fails:
            raise self.start_fails

    async def on_stop(self) -> None:
        self.journal.append(f"{self.name} stops")
        if self.stop_fails:
            raise self.stop_fails


class Parent(Service):
    """Has no children of its own making."""


# --- add_dependency -------------------------------------------------------------------------------


async def test_added_before_the_start() -> None:
    """What is added before the start is started and stopped with the parent; add_dependency() returns it."""
    parent, child = Parent(), Child()
    assert parent.add_dependency(child) is child
    async with parent:
        assert child.state == "running"
    assert child.state == "shutdown"


async def test_added_in_post_init() -> None:
    """A child added in __post_init__ starts with its parent; a restart makes a new one in place of it."""
    made: list[Child] = []

    class Owner(Service):
        def __post_init__(self) -> None:
            made.append(self.add_dependency(Child()))

    async with Owner() as owner:
        assert [child.state for child in made] == ["running"]
        await owner.restart()
        assert [child.state for child in made] == ["shutdown", "running"]
        assert [node.data for node in owner.beacon.children] == [made[1]]


@pytest.mark.parametrize("hook", ["on_first_start", "on_start"])
async def test_added_in_a_hook(hook: str) -> None:
    """A child added in a hook up to on_start starts in that same start, when its turn comes."""
    journal: list[str] = []

    class Owner(Service):
        async def on_first_start(self) -> None:
            if hook == "on_first_start":
                self.add_dependency(Child("late", journal))

        async def on_start(self) -> None:
            if hook == "on_start":
                self.add_dependency(Child("late", journal))
            journal.append("owner starts")

        async def on_started(self) -> None:
            journal.append("owner started")

    owner = Owner()
    owner.add_dependency(Child("early", journal))
    async with owner:
        pass
    assert journal == [
        "owner starts",
        "early starts",
        "late starts",
        "owner started",
        "late stops",
        "early stops",
    ]


async def test_added_by_on_init_dependencies() -> None:
    """What on_init_dependencies returns are children for good: the same ones in each run."""
    journal: list[str] = []

    class Owner(Service):
        def on_init_dependencies(self) -> Iterable[Service]:
            return [Child("a", journal), Child("b", journal)]

    owner = Owner()
    for _ in range(2):
        async with owner:
            pass
    assert journal == ["a starts", "b starts", "b stops", "a stops"] * 2


async def test_on_init_dependencies_may_return_none() -> None:
    """A program written for mode may return nothing from on_init_dependencies."""

    class Owner(Service):
        def on_init_dependencies(self) -> Iterable[Service]:
            return None  # type: ignore[return-value]

    async with Owner() as owner:
        assert owner.state == "running"


async def test_added_to_a_running_service() -> None:
    """A child added to a running service is only registered: it starts with the next start."""
    parent, child = Parent(), Child()
    async with parent:
        parent.add_dependency(child)
        assert child.state == "init"
        assert child.beacon.parent is parent.beacon
    assert child.journal == []
    async with parent:
        assert child.state == "running"


async def test_added_twice() -> None:
    """Adding a child again changes nothing: it starts once, and keeps its place."""
    journal: list[str] = []
    parent = Parent()
    first, second = Child("a", journal), Child("b", journal)
    for child in (first, second, first):
        parent.add_dependency(child)
    async with parent:
        parent.add_dependency(first)
    assert journal == ["a starts", "b starts", "b stops", "a stops"]


async def test_added_to_another_parent() -> None:
    """A child that does not run moves to the parent that adds it last."""
    old, new, child = Parent(), Parent(), Child()
    old.add_dependency(child)
    new.add_dependency(child)
    async with old:
        assert child.state == "init"
        async with new:
            assert child.state == "running"
    assert child.beacon.parent is new.beacon
    assert old.beacon.children == ()


async def test_a_child_may_change_parents_between_runs() -> None:
    """A child that has stopped may be added to another parent, which starts it again."""
    first, second, child = Parent(), Parent(), Child()
    first.add_dependency(child)
    async with first:
        pass
    second.add_dependency(child)
    async with first, second:
        assert child.state == "running"
    assert child.journal == ["child starts", "child stops"] * 2


async def test_what_own_code_adds_is_dropped_when_the_run_ends() -> None:
    """What a service's code adds while it runs is dropped at its end, since that code will run again."""
    made: list[Child] = []

    class Owner(Service):
        async def on_start(self) -> None:
            made.append(self.add_dependency(Child("in on_start")))

        async def on_started(self) -> None:
            made.append(await self.add_runtime_dependency(Child("in on_started")))

        async def in_a_task(self) -> None:
            made.append(await self.add_runtime_dependency(Child("in a task")))

    owner = Owner()
    for run in range(1, 4):
        async with owner:
            await owner.add_future(owner.in_a_task())
            assert [child.started for child in made[-3:]] == [True] * 3
            assert len(owner.beacon.children) == 3
        assert len(made) == 3 * run
    await owner.start()
    await owner.restart()
    await owner.stop()
    assert [child.journal for child in made if "task" not in child.name] == [
        [f"{child.name} starts", f"{child.name} stops"]
        for child in made
        if "task" not in child.name
    ]


async def test_what_on_first_start_adds_stays() -> None:
    """on_first_start runs only once, so what it adds stays in the runs that follow."""
    child = Child()

    class Owner(Service):
        async def on_first_start(self) -> None:
            self.add_dependency(child)

    owner = Owner()
    await owner.start()
    await owner.restart()
    await owner.stop()
    async with owner:
        assert child.state == "running"
    assert child.journal == ["child starts", "child stops"] * 3


async def test_what_a_failed_on_first_start_added_is_dropped() -> None:
    """If the first start fails it comes again, and then adds its children again: each only once."""
    made: list[Child] = []

    class Owner(Service):
        ready = False

        async def on_first_start(self) -> None:
            made.append(self.add_dependency(Child()))

        async def on_start(self) -> None:
            if not self.ready:
                raise OSError("not ready")

    owner = Owner()
    with pytest.raises(OSError, match="not ready"):
        await owner.start()
    owner.ready = True
    async with owner:
        assert [child.state for child in made] == ["init", "running"]


async def test_what_others_add_stays() -> None:
    """What code outside adds to a running service stays when the run ends."""
    parent, child = Parent(), Child()
    async with parent:
        await parent.add_runtime_dependency(child)
        await parent.restart()
        assert child.state == "running"
    async with parent:
        assert child.state == "running"
    assert child.journal == ["child starts", "child stops"] * 3


# --- add_runtime_dependency -----------------------------------------------------------------------


async def test_runtime_dependency_of_a_running_service() -> None:
    """A running service starts what is added at runtime, and returns it when it has started."""
    async with Parent() as parent:
        child = Child()
        assert await parent.add_runtime_dependency(child) is child
        assert child.state == "running"
    assert child.state == "shutdown"


async def test_runtime_dependency_of_a_service_that_does_not_run() -> None:
    """Added to a service that does not run, a child starts when that does."""
    parent, child = Parent(), Child()
    assert await parent.add_runtime_dependency(child) is child
    assert child.state == "init"
    async with parent:
        assert child.state == "running"


@pytest.mark.parametrize("hook", ["on_first_start", "on_start", "on_started"])
async def test_runtime_dependency_in_a_hook(hook: str) -> None:
    """Added at runtime in a hook, a child runs when the call returns: the hook may use it."""
    states: list[str] = []

    class Owner(Service):
        async def add(self, where: str) -> None:
            if where == hook:
                states.append((await self.add_runtime_dependency(Child())).state)

        async def on_first_start(self) -> None:
            await self.add("on_first_start")

        async def on_start(self) -> None:
            await self.add("on_start")

        async def on_started(self) -> None:
            await self.add("on_started")

    async with Owner():
        assert states == ["running"]


async def test_runtime_dependency_that_fails_to_start() -> None:
    """If it can't start, the error leaves the call as it was raised, and it is no child any more."""
    boom = OSError("port in use")
    async with Parent() as parent:
        child = Child()
        child.start_fails = boom
        with pytest.raises(OSError, match="port in use") as caught:
            await parent.add_runtime_dependency(child)
        assert caught.value is boom
        assert (parent.state, child.state) == ("running", "init")
        assert parent.beacon.children == ()
        child.start_fails = None
        await parent.add_runtime_dependency(child)
        assert child.state == "running"


async def test_runtime_dependency_whose_adding_is_cancelled() -> None:
    """If the caller is cancelled while the child starts, that start is undone and the child removed."""
    entered = anyio.Event()

    class Slow(Child):
        async def on_started(self) -> None:
            entered.set()
            await anyio.sleep_forever()

    async with Parent() as parent:
        child = Slow()
        async with anyio.create_task_group() as group:
            group.start_soon(parent.add_runtime_dependency, child)
            await entered.wait()
            group.cancel_scope.cancel()
        assert (parent.state, child.state) == ("running", "init")
        assert parent.beacon.children == ()
        assert child.journal == ["child starts", "child stops"]


async def test_runtime_dependency_of_a_stopping_service() -> None:
    """A service that is stopping takes no child any more, and starts no orphan."""
    child = Child()
    refused: list[str] = []

    class Owner(Service):
        async def on_stop(self) -> None:
            try:
                await self.add_runtime_dependency(child)
            except LifecycleError as exc:
                refused.append(str(exc))

    async with Owner() as owner:
        pass
    assert child.journal == []
    assert owner.beacon.children == ()
    assert len(refused) == 1
    assert "child can't be started: its parent Owner is stopping" in refused[0]


async def test_runtime_dependency_added_by_two_at_once() -> None:
    """Two tasks that add the same child both return when it has started, and it starts once."""
    gate = anyio.Event()
    states: list[str] = []

    class Slow(Child):
        async def on_started(self) -> None:
            await gate.wait()

    async with Parent() as parent:
        child = Slow()

        async def add() -> None:
            await parent.add_runtime_dependency(child)
            states.append(child.state)

        async with anyio.create_task_group() as group:
            group.start_soon(add)
            group.start_soon(add)
            await anyio.wait_all_tasks_blocked()
            assert states == []
            gate.set()
        assert states == ["running", "running"]
    assert child.journal == ["child starts", "child stops"]


async def test_runtime_dependency_that_runs_already() -> None:
    """Adding a child that runs in this service already does nothing."""
    parent, child = Parent(), Child()
    parent.add_dependency(child)
    async with parent:
        assert await parent.add_runtime_dependency(child) is child
    assert child.journal == ["child starts", "child stops"]


async def test_crash_of_a_runtime_dependency() -> None:
    """What was added at runtime is a child like others: its crash crashes its parent."""
    boom = ValueError("boom")
    with pytest.raises(ValueError, match="boom") as caught:
        async with Parent() as parent:
            child = await parent.add_runtime_dependency(Child())
            await child.crash(boom)
            await anyio.sleep_forever()
    assert caught.value is boom
    assert (parent.state, child.state) == ("crashed", "crashed")


async def test_children_added_at_runtime_stop_in_reverse() -> None:
    """Children stop in the reverse order of their start, those added at runtime first."""
    journal: list[str] = []
    parent = Parent()
    parent.add_dependency(Child("a", journal))
    async with parent:
        await parent.add_runtime_dependency(Child("b", journal))
        await parent.add_runtime_dependency(Child("c", journal))
        journal.clear()
    assert journal == ["c stops", "b stops", "a stops"]


# --- remove_dependency ----------------------------------------------------------------------------


async def test_removed_while_it_runs() -> None:
    """Removing a child stops it and returns it; it does not start with its former parent any more."""
    parent, child = Parent(), Child()
    parent.add_dependency(child)
    async with parent:
        assert await parent.remove_dependency(child) is child
        assert (child.state, parent.state) == ("shutdown", "running")
        assert child.beacon.parent is None
        await parent.restart()
    assert child.journal == ["child starts", "child stops"]


async def test_removed_before_it_runs() -> None:
    """A child may be removed before any start."""
    parent, child = Parent(), Child()
    parent.add_dependency(child)
    await parent.remove_dependency(child)
    async with parent:
        assert child.state == "init"
    assert parent.beacon.children == ()


async def test_removed_and_used_elsewhere() -> None:
    """A child that was removed may run on its own or be added to another service, and crash there."""
    first, second, child = Parent(), Parent(), Child()
    first.add_dependency(child)
    async with first:
        await first.remove_dependency(child)
        with pytest.raises(ValueError, match="boom"):
            async with second:
                await second.add_runtime_dependency(child)
                await child.crash(ValueError("boom"))
                await anyio.sleep_forever()
        assert (first.state, second.state) == ("running", "crashed")
        async with child:
            assert child.state == "running"


@pytest.mark.parametrize("runs", [True, False])
async def test_removed_from_another_event_loop(*, runs: bool) -> None:
    """It is refused, and the child stays what it was: it may be restarted, and starts with its parent."""
    parent, child = Parent(), Child()
    parent.add_dependency(child)
    async with parent:
        if not runs:
            await child.stop()
        with pytest.raises(EventLoopMismatch, match=r"^remove_dependency\(\) of Parent"):
            await anyio.to_thread.run_sync(anyio.run, parent.remove_dependency, child)
        await child.restart()
        assert child.state == "running"
        await parent.restart()
        assert child.state == "running"


async def test_removed_though_its_stop_fails() -> None:
    """If the stop goes wrong, the error leaves remove_dependency(), and the child is removed all the same."""
    boom = OSError("disk full")
    async with Parent() as parent:
        child = await parent.add_runtime_dependency(Child())
        child.stop_fails = boom
        with pytest.raises(OSError, match="disk full") as caught:
            await parent.remove_dependency(child)
        assert caught.value is boom
        assert parent.beacon.children == ()
        await parent.restart()
    assert child.journal == ["child starts", "child stops"]


async def test_removed_by_a_caller_that_gives_up() -> None:
    """If the caller is cancelled, the stop goes on, and the child is removed when it is over."""
    gate, reached = anyio.Event(), anyio.Event()

    class Slow(Child):
        async def on_shutdown(self) -> None:
            reached.set()
            await gate.wait()

    async with Parent() as parent:
        child = await parent.add_runtime_dependency(Slow())
        async with anyio.create_task_group() as group:
            group.start_soon(parent.remove_dependency, child)
            await reached.wait()
            group.cancel_scope.cancel()
        gate.set()
        await child.stop()
        assert parent.beacon.children == ()
        await parent.restart()
        assert child.state == "shutdown"
    assert child.journal == ["child starts", "child stops"]


class SlowChild(Child):
    """Stops when it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.released = anyio.Event()

    async def on_stop(self) -> None:
        await super().on_stop()
        await self.released.wait()


async def test_removed_while_it_wants_to_be_restarted() -> None:
    """It is gone all the same, and who waits for the restart is told."""
    parent, child = Parent(), SlowChild()
    parent.add_dependency(child)
    async with parent:
        async with anyio.create_task_group() as group:

            async def restart() -> None:
                with pytest.raises(StartAborted):
                    await child.restart()

            group.start_soon(parent.remove_dependency, child)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(restart)
            await anyio.wait_all_tasks_blocked()
            child.released.set()
        assert child.state == "shutdown"
        assert child.beacon.parent is None
    assert child.journal == ["child starts", "child stops"]


async def test_removed_and_added_again_while_it_stops() -> None:
    """It is a child again, that may be restarted, and that is there when the parent starts anew."""
    parent, child = Parent(), SlowChild()
    parent.add_dependency(child)
    async with parent:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await parent.remove_dependency(child)
        parent.add_dependency(child)
        child.released.set()
        await child.restart()
        assert child.state == "running"
        assert child.beacon.parent is parent.beacon
    async with parent:
        assert child.state == "running"


async def test_a_child_may_remove_itself() -> None:
    """A child's own task may have it removed: it stops, and does not come back in the parent's next run."""
    over = anyio.Event()

    class Leaving(Child):
        async def leave(self, parent: Service) -> None:
            await parent.remove_dependency(self)

        async def on_shutdown(self) -> None:
            over.set()

    async with Parent() as parent:
        child = await parent.add_runtime_dependency(Leaving())
        child.add_future(child.leave(parent))
        await over.wait()
        await child.stop()
        assert (child.state, parent.state) == ("shutdown", "running")
        await parent.restart()
        assert child.state == "shutdown"
    assert child.journal == ["child starts", "child stops"]


async def test_what_was_removed_does_not_concern_its_former_parent() -> None:
    """A crash of a service that was removed, and runs alone, leaves its former parent as it is."""
    async with Parent() as parent:
        child = await parent.add_runtime_dependency(Child())
        await parent.remove_dependency(child)
        with pytest.raises(ValueError, match="boom"):
            async with child:
                await child.crash(ValueError("boom"))
                await anyio.sleep_forever()
        assert (parent.state, parent.failures) == ("running", ())


# --- join_services --------------------------------------------------------------------------------


async def test_join_services() -> None:
    """join_services() starts services in order, waits until the stop, and they stop in reverse order."""
    journal: list[str] = []
    services = [Child("a", journal), Child("b", journal)]

    class Joining(Service):
        @Service.task
        async def join(self) -> None:
            await self.join_services(services)

    async with Joining() as owner:
        while services[-1].state != "running":
            await anyio.lowlevel.checkpoint()  # pragma: no cover - it runs at once, most often
        assert len(owner.beacon.children) == 2
    assert journal == ["a starts", "b starts", "b stops", "a stops"]


async def test_join_services_returns_when_told_to_stop() -> None:
    """join_services() returns as soon as the service is told to stop."""
    journal: list[str] = []
    async with anyio.create_task_group() as group:

        async def join() -> None:
            await owner.join_services([Child("a", journal)])
            journal.append("joined")

        async with Parent() as owner:
            group.start_soon(join)
            await anyio.wait_all_tasks_blocked()
            assert journal == ["a starts"]
    assert sorted(journal) == ["a starts", "a stops", "joined"]


async def test_join_services_of_which_one_fails() -> None:
    """If one of the services can't start, its error leaves join_services(); those before it run on as children."""
    async with Parent() as owner:
        good, bad, never = Child("good"), Child("bad"), Child("never")
        bad.start_fails = OSError("port in use")
        with pytest.raises(OSError, match="port in use"):
            await owner.join_services([good, bad, never])
        assert (good.state, bad.state, never.state) == ("running", "init", "init")
        assert [node.data for node in owner.beacon.children] == [good]
    assert good.state == "shutdown"


async def test_join_no_services() -> None:
    """Without services join_services() just waits for the stop."""
    async with anyio.create_task_group() as group:
        async with Parent() as owner:
            group.start_soon(owner.join_services, [])
            await anyio.wait_all_tasks_blocked()


# --- Children on their own ------------------------------------------------------------------------


async def test_a_child_may_stop_alone() -> None:
    """A child may be stopped, and started again, while its parent runs on."""
    parent, child = Parent(), Child()
    parent.add_dependency(child)
    async with parent:
        await child.stop()
        assert (parent.state, child.state) == ("running", "shutdown")
        await child.start()
        assert child.state == "running"
    assert child.journal == ["child starts", "child stops"] * 2


async def test_a_child_may_restart_alone() -> None:
    """A child may be restarted while its parent and siblings run on."""
    parent, child, sibling = Parent(), Child("a"), Child("b")
    parent.add_dependency(child)
    parent.add_dependency(sibling)
    async with parent:
        await child.restart()
        assert (child.restart_count, sibling.restart_count, parent.restart_count) == (1, 0, 0)
    assert child.journal == ["a starts", "a stops"] * 2
    assert sibling.journal == ["b starts", "b stops"]


async def test_a_stopped_child_starts_with_its_parents_next_run() -> None:
    """A child that was stopped by hand is still a child: the parent's next run starts it."""
    parent, child = Parent(), Child()
    parent.add_dependency(child)
    async with parent:
        await child.stop()
        await parent.restart()
        assert child.state == "running"


async def test_the_stop_error_of_a_child_leaves_its_parents_stop() -> None:
    """What goes wrong in a child's stop leaves the stop of its parent, when all has stopped."""
    boom = OSError("disk full")
    journal: list[str] = []
    parent = Parent()
    bad, good = Child("bad", journal), Child("good", journal)
    parent.add_dependency(good)
    parent.add_dependency(bad)
    bad.stop_fails = boom
    await parent.start()
    with pytest.raises(OSError, match="disk full") as caught:
        await parent.stop()
    assert caught.value is boom
    assert parent.failures == (boom,)
    assert journal == ["good starts", "bad starts", "bad stops", "good stops"]
    assert (parent.state, bad.state, good.state) == ("shutdown", "shutdown", "shutdown")


async def test_the_failed_start_of_a_child_leaves_its_parents_start() -> None:
    """A child's error in the parent's start leaves that start as it was raised, in no group."""
    boom = OSError("port in use")
    parent, good, bad = Parent(), Child("good"), Child("bad")
    parent.add_dependency(good)
    parent.add_dependency(bad)
    bad.start_fails = boom
    with pytest.raises(OSError, match="port in use") as caught:
        await parent.start()
    assert caught.value is boom
    assert (parent.state, good.state, bad.state) == ("init", "shutdown", "init")
    assert good.journal == ["good starts", "good stops"]


async def test_beacons_tell_the_tree() -> None:
    """The beacons of a tree of services give parents, children, depth, root and path."""
    top, middle, leaf = Child("top"), Child("middle"), Child("leaf")
    middle.add_dependency(leaf)
    top.add_dependency(middle)
    assert (top.beacon.depth, middle.beacon.depth, leaf.beacon.depth) == (1, 2, 3)
    assert leaf.beacon.root is top.beacon
    assert leaf.beacon.path == "top/middle/leaf"
    assert [node.data for node in top.beacon.traverse()] == [top, middle, leaf]
    async with top:
        await top.remove_dependency(middle)
        assert (middle.beacon.depth, leaf.beacon.depth) == (1, 2)
        assert leaf.beacon.root is middle.beacon


def test_a_beacon_given_to_the_constructor() -> None:
    """A service made with a beacon is shown below it, until it is added to a service."""
    app, service, parent = Parent(), Parent(), Parent()
    shown = Parent(beacon=app.beacon)
    assert shown.beacon.parent is app.beacon
    parent.add_dependency(shown)
    assert shown.beacon.parent is parent.beacon
    assert app.beacon.children == ()
    assert service.beacon.parent is None


async def test_a_beacon_does_not_make_a_child() -> None:
    """A beacon only shows a place: the service above does not start what is shown below it."""
    app = Parent()
    shown = Parent(beacon=app.beacon)
    async with app:
        assert shown.state == "init"


async def test_a_deep_tree() -> None:
    """A chain of services hundreds deep starts, crashes at its end, and stops."""
    top = leaf = Parent()
    for _ in range(400):
        leaf = leaf.add_dependency(Parent())
    boom = ValueError("boom")
    with pytest.raises(ValueError, match="boom") as caught:
        async with top:
            assert leaf.state == "running"
            await leaf.crash(boom)
            await anyio.sleep_forever()
    assert caught.value is boom
    assert (top.state, leaf.state) == ("crashed", "crashed")


async def test_a_wide_tree() -> None:
    """A service with hundreds of children starts and stops them all in order."""
    journal: list[str] = []
    parent = Parent()
    for n in range(400):
        parent.add_dependency(Child(str(n), journal))
    async with parent:
        pass
    assert journal == [
        *(f"{n} starts" for n in range(400)),
        *(f"{n} stops" for n in reversed(range(400))),
    ]


async def test_who_joins_services_may_give_up() -> None:
    """If the caller of join_services() is cancelled, what it has started runs on, as children of the service."""
    async with Parent() as owner:
        child, caller = Child(), anyio.CancelScope()

        async def join() -> None:
            with caller:
                await owner.join_services([child])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(join)
            await anyio.wait_all_tasks_blocked()
            assert child.state == "running"
            caller.cancel()
        assert caller.cancelled_caught
        assert child.state == "running"
    assert child.state == "shutdown"


async def test_who_only_waits_for_a_childs_start_may_give_up() -> None:
    """Of two that add the same child, the one that did not start it may be cancelled: the start goes on."""
    gate, starting = anyio.Event(), anyio.Event()

    class Slow(Child):
        async def on_started(self) -> None:
            starting.set()
            await gate.wait()

    async with Parent() as parent, anyio.create_task_group() as group:
        child = Slow()
        group.start_soon(parent.add_runtime_dependency, child)
        await starting.wait()
        with anyio.move_on_after(0.01) as scope:
            await parent.add_runtime_dependency(child)
        assert scope.cancelled_caught
        assert child.started
        gate.set()
        while child.state != "running":
            await anyio.lowlevel.checkpoint()
        assert [node.data for node in parent.beacon.children] == [child]


async def test_what_post_init_added_and_others_removed() -> None:
    """A child of __post_init__ that was removed meanwhile is left alone by a restart, wherever it is then."""
    made: list[Child] = []

    class Owner(Service):
        def __post_init__(self) -> None:
            made.append(self.add_dependency(Child()))

    other = Parent()
    async with Owner() as owner, other:
        await owner.remove_dependency(made[0])
        await other.add_runtime_dependency(made[0])
        await owner.restart()
        assert [child.state for child in made] == ["running", "running"]
        assert made[0].beacon.parent is other.beacon
