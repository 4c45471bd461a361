"""LocalStack: every task and every thread has its own, and begins with what its parent had pushed."""

from __future__ import annotations

import contextvars
import gc
import os
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import ExitStack, aclosing

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import structmode.locals
from structmode.utils.locals import LocalStack


@pytest.fixture
def stack() -> LocalStack[str]:
    """An empty stack."""
    return LocalStack()


def test_the_same_stack_is_known_by_both_names() -> None:
    """`structmode.locals` has it as well."""
    assert structmode.locals.LocalStack is LocalStack


def test_an_empty_stack_has_nothing(stack: LocalStack[str]) -> None:
    """There is no top, nothing to pop, and popping is no error."""
    assert stack.top is None
    assert stack.pop() is None
    assert stack.pop() is None
    assert list(stack.stack) == []


def test_a_stack_is_as_long_as_it_has_items(stack: LocalStack[str]) -> None:
    """An empty one is false, as in mode, and one with an item is not, whatever that is."""
    assert len(stack) == 0
    assert not stack
    stack.push_without_automatic_cleanup("")
    with stack.push("one"):
        assert len(stack) == 2
    assert len(stack) == 1
    assert stack


def test_an_item_is_there_for_the_time_of_the_block(stack: LocalStack[str]) -> None:
    """`push` pushes as the block begins, and takes away as it ends, also by an exception."""
    with stack.push("a") as given:
        assert given is None
        with pytest.raises(ValueError, match="b"), stack.push("b"):
            assert stack.top == "b"
            assert list(stack.stack) == ["a", "b"]
            raise ValueError("b")
        assert stack.top == "a"
    assert list(stack.stack) == []


def test_nothing_is_pushed_before_the_block(stack: LocalStack[str]) -> None:
    """A context manager that is not entered changes nothing."""
    block = stack.push("a")
    assert stack.top is None
    with block:
        assert stack.top == "a"


def test_what_is_pushed_without_cleanup_stays(stack: LocalStack[str]) -> None:
    """It stays until it is popped, last in first out."""
    stack.push_without_automatic_cleanup("a")
    stack.push_without_automatic_cleanup("b")
    assert list(stack.stack) == ["a", "b"]
    assert stack.pop() == "b"
    assert stack.top == "a"
    assert stack.pop() == "a"
    assert stack.top is None


def test_a_block_takes_its_own_item_away_and_no_other(stack: LocalStack[str]) -> None:
    """What was pushed inside stays on top; what was popped inside is not popped once more."""
    stack.push_without_automatic_cleanup("below")
    with stack.push("own"):
        stack.push_without_automatic_cleanup("inside")
    assert list(stack.stack) == ["below", "inside"]
    with stack.push("own"):
        assert stack.pop() == "own"
    assert list(stack.stack) == ["below", "inside"]


def test_the_same_thing_pushed_twice_is_two_items(stack: LocalStack[str]) -> None:
    """Blocks that end in another order than they began still leave what is theirs to the others."""
    first, second, third = ExitStack(), ExitStack(), ExitStack()
    first.enter_context(stack.push("x"))
    second.enter_context(stack.push("y"))
    third.enter_context(stack.push("x"))
    first.close()
    assert list(stack.stack) == ["y", "x"]
    third.close()
    assert list(stack.stack) == ["y"]
    second.close()
    assert list(stack.stack) == []


def test_none_and_false_can_be_pushed() -> None:
    """What is pushed is not asked whether it is true."""
    stack: LocalStack[int | None] = LocalStack()
    with stack.push(0), stack.push(None):
        assert list(stack.stack) == [0, None]
        assert stack.pop() is None
        assert stack.top == 0


def test_what_stack_returned_does_not_change(stack: LocalStack[str]) -> None:
    """It tells of one moment."""
    stack.push_without_automatic_cleanup("a")
    before = stack.stack
    stack.push_without_automatic_cleanup("b")
    assert list(before) == ["a"]


def test_stacks_are_apart(stack: LocalStack[str]) -> None:
    """Two stacks know nothing of each other."""
    other: LocalStack[str] = LocalStack()
    with stack.push("a"):
        assert other.top is None


def test_a_thread_has_its_own(stack: LocalStack[str]) -> None:
    """Threads push at the same time, and each pops what it has pushed."""
    popped: dict[str, list[str | None]] = {}
    barrier = threading.Barrier(4)

    def work(name: str) -> None:
        stack.push_without_automatic_cleanup(name)
        barrier.wait(10)
        popped[name] = [stack.pop(), stack.pop()]

    names = "a b c d".split()
    # Since 3.14, a thread may begin with a copy of its maker's context; here each begins with none.
    threads = [
        threading.Thread(target=contextvars.Context().run, args=(work, name)) for name in names
    ]
    with stack.push("main"):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert list(stack.stack) == ["main"]
    assert popped == {name: [name, None] for name in names}


async def test_tasks_do_not_see_each_others_pushes(stack: LocalStack[str]) -> None:
    """However tasks take turns, each sees what it has pushed itself, and only that."""
    seen: dict[str, list[str | None]] = {}

    async def work(name: str) -> None:
        with stack.push(f"{name}1"):
            await anyio.lowlevel.checkpoint()
            with stack.push(f"{name}2"):
                await anyio.lowlevel.checkpoint()
                inner = stack.top
            await anyio.lowlevel.checkpoint()
            seen[name] = [inner, stack.top, *stack.stack]

    async with anyio.create_task_group() as tasks:
        for name in "abc":
            tasks.start_soon(work, name)
    assert seen == {name: [f"{name}2", f"{name}1", f"{name}1"] for name in "abc"}
    assert stack.top is None


async def test_a_child_begins_with_what_its_parent_had_pushed(stack: LocalStack[str]) -> None:
    """What the parent pushes or pops later does not reach the child, and nothing comes back."""
    go_on, pushed = anyio.Event(), anyio.Event()
    seen: list[list[str]] = []

    async def child() -> None:
        seen.append(list(stack.stack))
        stack.push_without_automatic_cleanup("child's")
        pushed.set()
        await go_on.wait()
        seen.append(list(stack.stack))
        assert stack.pop() == "child's"
        assert stack.pop() == "parent's"
        seen.append(list(stack.stack))

    async with anyio.create_task_group() as tasks:
        with stack.push("parent's"):
            tasks.start_soon(child)
            await pushed.wait()
            assert list(stack.stack) == ["parent's"]
            stack.push_without_automatic_cleanup("later")
        go_on.set()
    assert seen == [["parent's"], ["parent's", "child's"], []]
    assert list(stack.stack) == ["later"]
    assert stack.pop() == "later"


async def test_a_worker_thread_sees_its_callers_items(stack: LocalStack[str]) -> None:
    """It begins with a copy, and its own pushes stay in the thread."""

    def work() -> list[str]:
        stack.push_without_automatic_cleanup("thread's")
        return list(stack.stack)

    with stack.push("caller's"):
        assert await anyio.to_thread.run_sync(work) == ["caller's", "thread's"]
        assert list(stack.stack) == ["caller's"]


async def test_a_cancelled_block_takes_its_item_away(stack: LocalStack[str]) -> None:
    """Cancellation ends the block as any exception does."""
    with anyio.CancelScope() as scope, stack.push("a"):
        scope.cancel()
        await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert stack.top is None


async def test_generators_that_take_turns_keep_what_is_theirs(stack: LocalStack[str]) -> None:
    """Two async generators, whose blocks don't nest, each take away their own item."""

    async def pushing(name: str) -> AsyncGenerator[str | None]:
        with stack.push(name):
            yield stack.top  # noqa: ASYNC119 - whether that does harm is what is tested
            await anyio.lowlevel.checkpoint()

    async with aclosing(pushing("a")) as first, aclosing(pushing("b")) as second:
        assert await anext(first) == "a"
        assert await anext(second) == "b"
        assert await anext(first, "end") == "end"
        assert list(stack.stack) == ["b"]
        assert await anext(second, "end") == "end"
    assert stack.top is None


async def test_a_block_that_ends_in_another_task_harms_no_one(stack: LocalStack[str]) -> None:
    """There, its item was never pushed: nothing is taken away."""
    block = ExitStack()
    entered = anyio.Event()

    async def enter() -> None:
        block.enter_context(stack.push("a"))
        entered.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(enter)
        await entered.wait()
        with stack.push("b"):
            block.close()
            assert list(stack.stack) == ["b"]


# --- Stacks and blocks that are dropped -----------------------------------------------------------


class Thing:
    """Something that can be referred to weakly."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What goes must go by itself, not with a collection that happens to come."""
    gc.disable()
    yield
    gc.enable()


def test_what_a_dropped_stack_held_goes_with_the_next_push(
    stack: LocalStack[str], no_collector: None
) -> None:
    """Or with the next pop: whatever stack it is of, nothing stays in the context of the one that is gone."""

    def leave_behind() -> weakref.ref[Thing]:
        dropped, thing = LocalStack[Thing](), Thing()
        dropped.push_without_automatic_cleanup(thing)
        return weakref.ref(thing)

    def use() -> None:
        gone = leave_behind()
        stack.push_without_automatic_cleanup("a")
        assert gone() is None
        gone = leave_behind()
        assert stack.pop() == "a"
        assert gone() is None

    contextvars.Context().run(use)


def test_what_a_dropped_stack_held_goes_with_the_context(no_collector: None) -> None:
    """A context that nothing is pushed in any more keeps it no longer than itself."""
    dropped, thing = LocalStack[Thing](), Thing()
    gone, context = weakref.ref(thing), contextvars.Context()
    context.run(dropped.push_without_automatic_cleanup, thing)
    del dropped, thing
    assert gone() is not None
    del context
    assert gone() is None


def test_stacks_by_the_thousand_leave_nothing(stack: LocalStack[str]) -> None:
    """A context has room for as many stacks as there are, not for as many as there were."""

    def use() -> None:
        for _ in range(3000):
            LocalStack[str]().push_without_automatic_cleanup("left")

    context = contextvars.Context()
    context.run(use)
    context.run(stack.push_without_automatic_cleanup, "a")
    gc.collect()
    before = sys.getallocatedblocks()
    context.run(use)
    gc.collect()
    assert sys.getallocatedblocks() - before < 500
    assert len(context) == 1


def pushing(stack: LocalStack[str], item: str) -> Generator[str | None]:
    """Push an item for as long as the generator is alive."""
    with stack.push(item):
        yield stack.top


@pytest.mark.parametrize("in_another", [False, True])
def test_a_generator_that_is_closed_takes_its_item_away(
    stack: LocalStack[str], in_another: bool
) -> None:
    """Also where another context is the current one: it is gone from the one where it was pushed."""
    context = contextvars.Context()
    context.run(stack.push_without_automatic_cleanup, "below")
    generator = pushing(stack, "own")
    assert context.run(next, generator) == "own"
    if in_another:
        generator.close()
    else:
        context.run(generator.close)
    assert context.run(lambda: (stack.top, list(stack.stack), stack.pop())) == (
        "below",
        ["below"],
        "below",
    )
    assert context.run(stack.pop) is None


def test_a_dropped_generator_takes_its_item_away(
    stack: LocalStack[str], no_collector: None
) -> None:
    """And lets go of it."""
    things = LocalStack[Thing]()

    def hold() -> Generator[weakref.ref[Thing]]:
        thing = Thing()
        with things.push(thing):
            yield weakref.ref(thing)

    generator = hold()
    gone = next(generator)
    del generator
    assert gone() is None
    assert things.top is None


def test_a_dropped_block_takes_its_item_away(stack: LocalStack[str], no_collector: None) -> None:
    """One that was entered by hand, and never left."""
    block = ExitStack()
    block.enter_context(stack.push("a"))
    stack.push_without_automatic_cleanup("b")
    del block
    assert list(stack.stack) == ["b"]
    assert stack.pop() == "b"


def test_a_generator_that_fails_inside_takes_its_item_away_here_only(
    stack: LocalStack[str],
) -> None:
    """Any other end than by being closed is one of this context: a copy keeps what it began with."""
    generator = pushing(stack, "own")
    next(generator)
    copied = contextvars.copy_context()
    with pytest.raises(ValueError, match="no"):
        generator.throw(ValueError("no"))
    assert stack.top is None
    assert copied.run(lambda: stack.top) == "own"


def test_a_finaliser_may_push_while_a_stack_is_let_go(stack: LocalStack[str]) -> None:
    """What the old value alone has held is destroyed after the new one is in place, and sees it."""

    class Last:
        def __del__(self) -> None:
            stack.push_without_automatic_cleanup(f"after {stack.top}")

    def use() -> list[str]:
        dropped = LocalStack[Last]()
        dropped.push_without_automatic_cleanup(Last())
        del dropped
        stack.push_without_automatic_cleanup("a")
        return list(stack.stack)

    assert contextvars.Context().run(use) == ["a", "after a"]


COLLECTED_AT_ANY_MOMENT = """
    import contextlib, contextvars, gc
    from structmode.locals import ContextManagerProxy, LocalStack

    stack = LocalStack()
    context = ContextManagerProxy(contextlib.nullcontext)

    def pushing():
        with stack.push("dropped"), context:
            yield

    class Cycle:
        def __init__(self):
            self.me, self.generator, self.block = self, pushing(), contextlib.ExitStack()
            next(self.generator)
            self.block.enter_context(LocalStack().push("dropped"))

    others = [contextvars.ContextVar(str(number)) for number in range(50)]
    for other in others:
        other.set(None)
    stack.push_without_automatic_cleanup("kept")
    for number in range(3_000):
        gc.set_threshold(1 + number % 17)
        Cycle()
        others[number % 50].set(number)
        with stack.push(number), context:
            assert stack.top == number
    gc.collect()
    assert list(stack.stack) == ["kept"], stack.stack
"""


@pytest.mark.process
def test_collections_may_close_generators_at_any_moment() -> None:
    """On CPython 3.11 they do so while a context variable is being set, and that must not set one as well."""
    program = [
        sys.executable,
        "-X",
        "faulthandler",
        "-c",
        textwrap.dedent(COLLECTED_AT_ANY_MOMENT),
    ]
    environment = {**os.environ, "PYTHONMALLOC": "debug"}  # what is freed becomes unusable at once
    done = subprocess.run(program, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")


# --- Any sequence of calls ------------------------------------------------------------------------


class StackMachine(RuleBasedStateMachine):
    """Random pushes, pops and blocks, compared with a list; blocks end in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: LocalStack[int] = LocalStack()
        self.model: list[list[int]] = []  # each item in a list of its own, to be told apart
        self.blocks: list[tuple[ExitStack, list[int]]] = []

    @rule(value=st.integers(0, 3))
    def push(self, value: int) -> None:
        self.stack.push_without_automatic_cleanup(value)
        self.model.append([value])

    @rule()
    def pop(self) -> None:
        expected = self.model.pop()[0] if self.model else None
        assert self.stack.pop() == expected

    @rule(value=st.integers(0, 3))
    def begin_block(self, value: int) -> None:
        block, item = ExitStack(), [value]
        block.enter_context(self.stack.push(value))
        self.model.append(item)
        self.blocks.append((block, item))

    @precondition(lambda self: self.blocks)
    @rule(data=st.data())
    def end_block(self, data: st.DataObject) -> None:
        block, item = self.blocks.pop(data.draw(st.integers(0, len(self.blocks) - 1)))
        block.close()
        self.model = [other for other in self.model if other is not item]

    @invariant()
    def is_as_the_list(self) -> None:
        values = [value for (value,) in self.model]
        assert list(self.stack.stack) == values
        assert self.stack.top == (values[-1] if values else None)


TestStackMachine = StackMachine.TestCase
TestStackMachine.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
