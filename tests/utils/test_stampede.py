"""Calls that are shared: one does the work, all have what came of it, and nobody is cancelled with another."""

from __future__ import annotations

import asyncio
import gc
import inspect
import traceback
import weakref
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from structmode.exceptions import EventLoopMismatch, LifecycleError
from structmode.utils.futures import StampedeWrapper, stampede


class Client:
    """Connects, once it is let to, and counts how often it has begun to."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = anyio.Event()
        self.fails: BaseException | None = None

    @stampede
    async def connect(self) -> str:
        """Connect."""
        self.begun += 1
        number = self.begun
        await self.go.wait()
        if self.fails is not None:
            raise self.fails
        return f"connection {number}"


class Slotted:
    """An object without a dictionary, and without weak references."""

    __slots__ = ("begun",)

    def __init__(self) -> None:
        self.begun = 0

    def __eq__(self, other: object) -> bool:
        return True  # pragma: no cover - nobody asks

    __hash__ = None  # type: ignore[assignment]

    @stampede
    async def count(self) -> int:
        self.begun += 1
        await anyio.lowlevel.checkpoint()
        return self.begun


async def call_and_note(call: Callable[[], Any], notes: list[Any]) -> None:
    """Note what a call returns or raises."""
    try:
        notes.append(await call())
    except Exception as exc:
        notes.append(exc)


async def test_calls_at_the_same_time_are_one() -> None:
    """The method runs once, and all get its result; a later call runs it again."""
    client, notes = Client(), list[Any]()
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(call_and_note, client.connect, notes)
        await anyio.wait_all_tasks_blocked()
        assert client.begun == 1
        client.go.set()
    assert notes == ["connection 1"] * 5
    assert await client.connect() == "connection 2"


async def test_all_get_the_same_error() -> None:
    """As the very object that was raised; its traceback does not grow with those who are told."""
    client, notes = Client(), list[Any]()
    client.fails = ValueError("no")
    lengths: list[int] = []

    async def call() -> None:
        try:
            await client.connect()
        except ValueError as exc:
            lengths.append(len(traceback.extract_tb(exc.__traceback__)))
            raise

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(call_and_note, call, notes)
        await anyio.wait_all_tasks_blocked()
        client.go.set()
    assert notes == [client.fails] * 5
    assert max(lengths[1:]) - min(lengths[1:]) == 0
    client.fails = None
    assert await client.connect() == "connection 2"


async def test_a_cancelled_leader_does_not_take_the_others_down() -> None:
    """One of them begins anew, and all the others get what comes of that."""
    client, notes = Client(), list[Any]()
    async with anyio.create_task_group() as group:
        leader = group.start_soon(call_and_note, client.connect, notes)
        await anyio.wait_all_tasks_blocked()
        for _ in range(4):
            group.start_soon(call_and_note, client.connect, notes)
        await anyio.wait_all_tasks_blocked()
        leader.cancel()
        await anyio.wait_all_tasks_blocked()
        assert client.begun == 2
        client.go.set()
    assert notes == ["connection 2"] * 4


async def test_leaders_may_be_cancelled_one_after_another() -> None:
    """As long as somebody is left, it is begun anew."""
    client, notes = Client(), list[Any]()
    async with anyio.create_task_group() as group:
        for number in range(1, 6):
            group.start_soon(call_and_note, client.connect, notes)
            await anyio.wait_all_tasks_blocked()
            with anyio.move_on_after(0):
                await client.connect()
            assert client.begun == 1, number
        async with anyio.create_task_group() as inner:
            inner.start_soon(client.connect)
            inner.cancel_scope.cancel()
        client.go.set()
    assert notes == ["connection 1"] * 5


async def test_a_cancelled_follower_ends_alone() -> None:
    """The work goes on for the others."""
    client, notes = Client(), list[Any]()
    async with anyio.create_task_group() as group:
        group.start_soon(call_and_note, client.connect, notes)
        await anyio.wait_all_tasks_blocked()
        follower = group.start_soon(call_and_note, client.connect, notes)
        await anyio.wait_all_tasks_blocked()
        follower.cancel()
        await anyio.wait_all_tasks_blocked()
        client.go.set()
    assert notes == ["connection 1"]
    assert client.begun == 1


async def test_a_call_that_is_cancelled_before_it_begins_does_nothing() -> None:
    """It is a checkpoint before the work, also for who leads."""
    client = Client()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await client.connect()
    assert scope.cancelled_caught
    assert client.begun == 0
    client.go.set()
    assert await client.connect() == "connection 1"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_the_work_awaited_was_cancelled_is_its_failure() -> None:
    """asyncio lets anybody cancel a future: that is no cancellation of the leader, and the followers are told the same."""
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    notes: list[Any] = []

    @stampede
    async def wait() -> str:
        return await future

    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(call_and_note, wait, notes)
        await anyio.wait_all_tasks_blocked()
        future.cancel()
    assert [type(note) for note in notes] == [anyio.TaskCancelled] * 2
    assert notes[0] is notes[1]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_native_cancellation_of_the_leader_is_his_alone() -> None:
    """As one by a scope is."""
    client = Client()
    leader = asyncio.create_task(client.connect())
    await anyio.wait_all_tasks_blocked()
    follower = asyncio.create_task(client.connect())
    await anyio.wait_all_tasks_blocked()
    leader.cancel()
    client.go.set()
    assert await follower == "connection 2"
    assert leader.cancelled()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_an_exit_is_shared_as_an_error_is(kind: type[BaseException]) -> None:
    """Whatever is raised, it reaches everybody."""
    client = Client()
    client.fails = kind()
    client.go.set()
    seen: list[BaseException] = []

    async def call() -> None:
        try:
            await client.connect()
        except kind as exc:
            seen.append(exc)

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        group.start_soon(call)
    assert seen == [client.fails] * 2


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_leader_that_is_closed_leaves_the_work_to_the_others() -> None:
    """A coroutine that is dropped is no error for those who waited for it."""
    client = Client()
    coroutine = client.connect()
    coroutine.send(None)
    follower = asyncio.create_task(client.connect())
    await anyio.wait_all_tasks_blocked()
    coroutine.close()
    client.go.set()
    assert await follower == "connection 1"


async def test_objects_share_with_themselves_alone() -> None:
    """Two objects are two calls, also if they are equal, can't be hashed, and have no dictionary."""
    first, second = Slotted(), Slotted()
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(first.count)
            group.start_soon(second.count)
    assert (first.begun, second.begun) == (1, 1)


async def test_nothing_is_left_of_a_call() -> None:
    """The object is not kept, nothing is written into it, and there is no cycle for the collector to find."""
    client = Client()
    client.go.set()
    before = dict(vars(client))
    await client.connect()
    assert vars(client).keys() == before.keys()
    gone = weakref.ref(client)
    gc.collect()
    gc.disable()
    try:
        del client
        assert gone() is None
    finally:
        gc.enable()


async def test_nothing_is_left_of_a_call_that_fails() -> None:
    """The error is gone with those who were told of it, and with it all that its frames hold."""

    class Thing:
        pass

    things: list[weakref.ref[Thing]] = []

    async def fail() -> None:
        thing = Thing()
        things.append(weakref.ref(thing))
        await anyio.sleep(0)
        raise ValueError("no")

    wrapper = StampedeWrapper(fail)

    async def call() -> None:
        with pytest.raises(ValueError, match="no"):
            await wrapper()

    gc.collect()
    gc.disable()
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            group.start_soon(call)
        await anyio.sleep(0)
        assert [thing() for thing in things] == [None]
    finally:
        gc.enable()


async def test_a_call_from_within_itself_is_refused() -> None:
    """It would wait for itself for ever; the error says so."""

    class Loop:
        @stampede
        async def round(self) -> None:
            await self.round()

    with pytest.raises(LifecycleError, match=r"Loop\.round calls itself"):
        await Loop().round()


async def test_another_event_loop_is_refused_meanwhile() -> None:
    """A thread with an event loop of its own can't wait for this one in this way."""
    client = Client()
    async with anyio.create_task_group() as group:
        group.start_soon(client.connect)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(EventLoopMismatch, match=r"Client\.connect is being called on another"):
            await anyio.to_thread.run_sync(lambda: anyio.run(client.connect))
        client.go.set()


async def test_a_function_can_be_decorated_too() -> None:
    """As mode's changelog shows it, though its decorator refused."""
    count = 0

    @stampede
    async def update() -> int:
        nonlocal count
        count += 1
        return count

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(update)
    assert count == 1


async def test_a_method_can_be_called_through_its_class() -> None:
    """That call is shared with those through the object."""
    client, notes = Client(), list[Any]()
    async with anyio.create_task_group() as group:
        group.start_soon(call_and_note, client.connect, notes)
        group.start_soon(call_and_note, lambda: Client.connect(client), notes)
        await anyio.wait_all_tasks_blocked()
        client.go.set()
    assert notes == ["connection 1"] * 2


async def test_a_wrapper_has_its_function_and_arguments() -> None:
    """For functions and arguments that are known later only, with mode's `loop` accepted."""
    calls: list[Any] = []

    async def work(*args: object, **kwargs: object) -> str:
        calls.append((args, kwargs))
        await anyio.lowlevel.checkpoint()
        return "done"

    wrapper = StampedeWrapper(work, 1, 2, loop=None, three=3)
    async with anyio.create_task_group() as group:
        handles = [group.start_soon(wrapper) for _ in range(3)]
    assert [handle.return_value for handle in handles] == ["done"] * 3
    assert calls == [((1, 2), {"three": 3})]
    assert "work" in repr(wrapper)


def test_the_decorator_looks_like_the_method() -> None:
    """Name, docstring and signature are the method's, or those that were given."""
    assert isinstance(Client.connect, stampede)
    assert Client.connect.__name__ == "connect"
    assert Client.connect.__doc__ == "Connect."
    assert list(inspect.signature(Client.connect).parameters) == ["self"]

    async def silent() -> None:
        """Nothing."""

    assert stampede(silent, doc="Told.").__doc__ == "Told."
    assert "StampedeWrapper of Client.connect" in repr(Client.connect.__get__(object()))


def test_a_callable_object_is_named_by_its_repr() -> None:
    """What has no name is called by what it looks like."""

    class Work:
        async def __call__(self) -> None: ...

        def __repr__(self) -> str:
            return "<work>"

    assert repr(StampedeWrapper(Work())) == "<StampedeWrapper of <work>>"
