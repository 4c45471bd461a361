"""Where tasks, coroutines and async generators stand, on every event loop."""

from __future__ import annotations

import asyncio
import io
import threading
import traceback
from collections.abc import AsyncGenerator, Generator
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
import trio

from structmode import Service
from structmode.utils.queues import FlowControlEvent, FlowControlQueue
from structmode.utils.tracebacks import (
    Traceback,
    format_agen_stack,
    format_coro_stack,
    format_task_stack,
    print_agen_stack,
    print_coro_stack,
    print_task_stack,
)


async def outer() -> None:
    """Wait, two calls deep."""
    await inner()


async def inner() -> None:
    """Wait."""
    secret = "hunter2"  # noqa: S105 - to be looked for
    await anyio.sleep_forever()
    del secret  # pragma: no cover - it waits for ever


def names(trace: Traceback | None) -> list[str]:
    """Return the names of the calls in a traceback."""
    found: list[str] = []
    while trace is not None:
        found.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    return found


async def native_tasks() -> list[Any]:
    """Return all tasks, as their event loop has them."""
    if anyio.lowlevel.current_token().backend_class.__module__.endswith("_trio"):
        root = trio.lowlevel.current_root_task()
        assert root is not None
        found, tasks = [root], list[Any]()
        while found:
            task = found.pop()
            tasks.append(task)
            found += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        return tasks
    return list(asyncio.all_tasks())


# --- Tasks ----------------------------------------------------------------------------------------


async def test_a_task_that_waits() -> None:
    """The calls it is in, outermost first, for each form of a task: the handle, anyio's info, the event loop's own."""
    async with anyio.create_task_group() as group:
        handle = group.start_soon(outer, name="waiting")
        await anyio.wait_all_tasks_blocked()
        infos = [info for info in anyio.get_running_tasks() if info.name == "waiting"]
        native = [task for task in await native_tasks() if "waiting" in repr(task)]
        assert (len(infos), len(native)) == (1, 1)
        for task in (handle, infos[0], native[0]):
            text = format_task_stack(task)
            assert text.startswith(f"Stack for {task!r}")
            assert "(most recent call last):\n  File " in text
            assert text.index("in outer") < text.index("in inner") < text.index("sleep_forever")
            calls = names(Traceback.from_task(task))
            assert calls[calls.index("outer") :][:3] == ["outer", "inner", "sleep_forever"]
        group.cancel_scope.cancel()


async def test_a_task_of_a_service() -> None:
    """The handle that `add_future` gives, before it has begun, while it waits, and after it has ended."""
    service = Service()
    service.mundane_level = "debug"
    async with service:
        handle = service.add_future(outer)
        assert "has not begun" in format_task_stack(handle)
        await anyio.wait_all_tasks_blocked()
        assert "in inner" in format_task_stack(handle)
    assert "it has ended" in format_task_stack(handle)
    with pytest.raises(RuntimeError, match="stands nowhere"):
        Traceback.from_task(handle)


async def test_a_task_that_looks_at_itself() -> None:
    """The last call is where it asks, not who answers."""
    me = anyio.get_current_task().id

    def look() -> tuple[str, list[str]]:
        (task,) = (task for task in anyio.get_running_tasks() if task.id == me)
        return format_task_stack(task), names(Traceback.from_task(task))

    text, calls = look()
    assert calls[-1] == "look"
    assert "return format_task_stack(task)" in text.splitlines()[-1]
    assert "test_a_task_that_looks_at_itself" in calls


async def test_a_task_seen_from_another_thread() -> None:
    """One that runs there, and one that waits."""
    go, there = threading.Event(), threading.Event()

    def block() -> None:
        there.set()
        go.wait(10)

    async def busy() -> None:
        block()

    coroutine = busy()
    thread = threading.Thread(target=lambda: anyio.run(lambda: coroutine))
    thread.start()
    try:
        await anyio.to_thread.run_sync(there.wait)
        assert names(Traceback.from_coroutine(coroutine))[:2] == ["busy", "block"]
    finally:
        go.set()
        await anyio.to_thread.run_sync(thread.join)


async def test_a_task_that_waits_for_a_queue() -> None:
    """The queue's own frames are part of where it stands."""
    queue: FlowControlQueue[int] = FlowControlQueue(flow_control=FlowControlEvent())
    async with anyio.create_task_group() as group:
        handle = group.start_soon(queue.get)
        await anyio.wait_all_tasks_blocked()
        assert names(Traceback.from_task(handle))[:2] == ["get", "wait"]
        group.cancel_scope.cancel()


async def test_a_task_is_written_to_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    """To standard error, as it is then, if no other is given."""
    async with anyio.create_task_group() as group:
        handle = group.start_soon(outer)
        await anyio.wait_all_tasks_blocked()
        file = io.StringIO()
        print_task_stack(handle, file=file)
        print_task_stack(handle)
        assert file.getvalue() == capsys.readouterr().err == format_task_stack(handle)
        group.cancel_scope.cancel()


async def test_local_variables_are_shown_on_request_only() -> None:
    """They may hold secrets."""
    async with anyio.create_task_group() as group:
        handle = group.start_soon(outer)
        await anyio.wait_all_tasks_blocked()
        assert "hunter2" not in format_task_stack(handle).replace('secret = "hunter2"', "")
        assert "secret = 'hunter2'" in format_task_stack(handle, capture_locals=True)
        group.cancel_scope.cancel()


async def test_a_local_variable_that_fails_to_be_shown_harms_nobody() -> None:
    """The others are there, and so is the stack."""

    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    async def wait(mute: Mute, number: int) -> None:
        await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        handle = group.start_soon(wait, Mute(), 42)
        await anyio.wait_all_tasks_blocked()
        text = format_task_stack(handle, capture_locals=True)
        assert "number = 42" in text
        assert "Mute: repr() failed with RuntimeError>" in text
        group.cancel_scope.cancel()


async def test_a_file_that_has_not_all_characters_gets_escapes() -> None:
    """What is lost would be what somebody looks for."""

    async def wait_für_käse() -> None:
        await anyio.sleep_forever()

    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    async with anyio.create_task_group() as group:
        handle = group.start_soon(wait_für_käse)
        await anyio.wait_all_tasks_blocked()
        print_task_stack(handle, file=file)
        group.cancel_scope.cancel()
    file.seek(0)
    assert "wait_f\\xfcr_k\\xe4se" in file.read()


@pytest.mark.parametrize("wrong", [None, "task", outer, object()])
def test_what_is_no_task_is_refused(wrong: Any) -> None:
    """The error shows what may be passed."""
    with pytest.raises(TypeError, match=r"no task: pass.*format_coro_stack"):
        format_task_stack(wrong)
    with pytest.raises(TypeError, match="no task"):
        Traceback.from_task(wrong)


# --- Coroutines and generators --------------------------------------------------------------------


def test_a_coroutine_at_each_moment(capsys: pytest.CaptureFixture[str]) -> None:
    """Before it begins, it stands at its beginning; when it has ended, nowhere."""

    class Pause:
        def __await__(self) -> Generator[None]:
            yield

    async def pause() -> None:
        await Pause()

    coroutine = pause()
    assert "in pause" in format_coro_stack(coroutine)
    coroutine.send(None)
    assert names(Traceback.from_coroutine(coroutine)) == ["pause", "__await__"]
    print_coro_stack(coroutine)
    assert capsys.readouterr().err == format_coro_stack(coroutine)
    coroutine.close()
    assert "it has ended" in format_coro_stack(coroutine)
    with pytest.raises(RuntimeError, match="stands nowhere"):
        Traceback.from_coroutine(coroutine)


def test_a_generator() -> None:
    """It stands at its ``yield``, and in what it delegates to."""

    def below() -> Generator[int]:
        yield 1

    def above() -> Generator[int]:
        yield from below()

    generator = above()
    next(generator)
    assert names(Traceback.from_coroutine(generator)) == ["above", "below"]


async def test_an_async_generator_at_each_moment(capsys: pytest.CaptureFixture[str]) -> None:
    """At its ``yield``, where it waits, where it looks at itself, and nowhere when it has ended."""
    looks: list[list[str]] = []

    async def generate() -> AsyncGenerator[int]:
        yield 1
        looks.append(names(Traceback.from_agen(agen)))
        await anyio.sleep_forever()

    agen = generate()
    await anext(agen)
    assert names(Traceback.from_agen(agen)) == ["generate"]
    print_agen_stack(agen)
    assert capsys.readouterr().err == format_agen_stack(agen)
    async with anyio.create_task_group() as group:
        group.start_soon(anext, agen)
        await anyio.wait_all_tasks_blocked()
        assert names(Traceback.from_agen(agen))[:2] == ["generate", "sleep_forever"]
        group.cancel_scope.cancel()
    assert looks == [["generate"]]
    assert "it has ended" in format_agen_stack(agen)
    with pytest.raises(RuntimeError, match="stands nowhere"):
        Traceback.from_agen(agen)


# --- Limits, and what a traceback is good for -----------------------------------------------------


async def deep(depth: int) -> None:
    """Wait, so many calls deep."""
    if depth:
        await deep(depth - 1)
    await anyio.sleep_forever()


async def test_limits_count_from_the_outermost_call() -> None:
    """The text says how many are left out; None is no limit; `depth` has been used up."""
    coroutine = deep(200)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: coroutine)
        await anyio.wait_all_tasks_blocked()
        calls = names(Traceback.from_coroutine(coroutine, limit=None))
        assert calls.count("deep") == 201
        assert len(names(Traceback.from_coroutine(coroutine))) == 125
        assert f"(and {len(calls) - 3} more)" in format_coro_stack(coroutine, limit=3)
        assert "more)" not in format_coro_stack(coroutine, limit=500)
        assert len(names(Traceback.from_coroutine(coroutine, limit=3))) == 3
        assert len(names(Traceback.from_coroutine(coroutine, depth=1, limit=3))) == 2
        assert len(names(Traceback.from_coroutine(coroutine, depth=9, limit=3))) == 1
        group.cancel_scope.cancel()


def test_a_traceback_can_be_given_to_who_knows_tracebacks() -> None:
    """`traceback.walk_tb` and what is built on it read it; line and instruction can be given."""
    coroutine = outer()
    trace = Traceback.from_coroutine(coroutine)
    summary = traceback.StackSummary.extract(traceback.walk_tb(trace))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert [frame.name for frame in summary] == ["outer"]
    given = Traceback(trace.tb_frame, 3, 4)
    assert (given.tb_lineno, given.tb_lasti, given.tb_next) == (3, 4, None)
    assert trace.tb_lasti == trace.tb_frame.f_lasti
    coroutine.close()


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_limit_of_nothing_leaves_the_outermost_call(limit: int) -> None:
    """A traceback is one of something; and a text says how much is missing."""
    async with anyio.create_task_group() as group:
        task = group.start_soon(outer)
        await anyio.wait_all_tasks_blocked()
        assert len(names(Traceback.from_task(task, limit=limit))) == 1
        everything = len(names(Traceback.from_task(task)))
        assert f"(and {everything} more)" in format_task_stack(task, limit=limit)
        group.cancel_scope.cancel()
