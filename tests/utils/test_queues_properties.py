"""Queues against a model of what a queue is, and under cancellation at any moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings, strategies as st

from structmode.utils.queues import FlowControlEvent, QueueEmpty, QueueFull, ThrowableQueue
from tests.engine.unit import settle

# What can be done to a queue, and how often each is tried.
STEPS = st.sampled_from(
    ["put"] * 4 + ["get"] * 4 + ["put_nowait"] * 2 + ["get_nowait"] * 2
    + ["suspend", "resume", "clear", "throw", "cancel", "task_done", "join"]
)  # fmt: skip


class Thrown(Exception):
    """An error that was thrown into a queue."""


class Model:
    """What a queue is: items, errors, and two lines of those who wait; nobody waits who need not."""

    def __init__(self, maxsize: int, *, clear_on_resume: bool) -> None:
        self.maxsize = maxsize
        self.clear_on_resume = clear_on_resume
        self.active = True
        self.items: deque[int] = deque()
        self.errors: deque[int] = deque()
        self.unfinished = 0
        self.getters: list[int] = []
        self.putters: list[tuple[int, int]] = []
        self.joiners: list[int] = []
        #: What came of those who are done: the item, "raised" with the number of the error, or None.
        self.outcomes: dict[int, object] = {}

    @property
    def full(self) -> bool:
        """Whether there is no room."""
        return 0 < self.maxsize <= len(self.items)

    def take(self) -> object:
        """Take the first error, or else the first item."""
        return ("raised", self.errors.popleft()) if self.errors else self.items.popleft()

    def add(self, value: int) -> None:
        """Put an item."""
        self.items.append(value)
        self.unfinished += 1

    def clear(self) -> None:
        """Drop everything."""
        self.unfinished -= min(len(self.items), self.unfinished)
        self.items.clear()
        self.errors.clear()
        self.look_at_joiners()

    def look_at_joiners(self) -> None:
        """Let those go who wait for all to be done, if it is."""
        if not self.unfinished:
            self.outcomes |= dict.fromkeys(self.joiners)
            self.joiners.clear()

    def settle(self) -> None:
        """Let everybody go on who can."""
        while True:
            if self.getters and (self.items or self.errors):
                self.outcomes[self.getters.pop(0)] = self.take()
            elif self.putters and self.active and not self.full:
                name, value = self.putters.pop(0)
                self.add(value)
                self.outcomes[name] = None
            else:
                return


class Comparison:
    """The queue and its model, to both of which the same is done."""

    def __init__(self, group: anyio.abc.TaskGroup, maxsize: int, *, clear_on_resume: bool) -> None:
        self.group = group
        self.model = Model(maxsize, clear_on_resume=clear_on_resume)
        self.flow = FlowControlEvent(initially_suspended=False)
        self.queue: ThrowableQueue[int] = ThrowableQueue(
            maxsize, flow_control=self.flow, clear_on_resume=clear_on_resume
        )
        self.outcomes: dict[int, object] = {}
        self.scopes: dict[int, anyio.CancelScope] = {}
        self.names = iter(range(10_000))

    async def do(self, step: str, choice: int) -> None:
        """Take a step, let everything come to rest, and compare."""
        getattr(self, step)(choice)
        self.model.settle()
        await settle()
        model, queue = self.model, self.queue
        assert self.outcomes == model.outcomes
        assert queue.qsize() == len(model.items)
        assert queue.empty() == (not model.items and not model.errors)
        assert queue.full() == model.full
        assert self.flow.is_active() == model.active

    def _spawn(self, call: Callable[[], Any]) -> int:
        name = next(self.names)

        async def run() -> None:
            with anyio.CancelScope() as self.scopes[name]:
                try:
                    self.outcomes[name] = await call()
                except Thrown as exc:
                    self.outcomes[name] = ("raised", exc.args[0])

        self.group.start_soon(run)
        return name

    def put(self, _: int) -> None:
        value = next(self.names)
        self.model.putters.append((self._spawn(lambda: self.queue.put(value)), value))

    def get(self, _: int) -> None:
        self.model.getters.append(self._spawn(self.queue.get))

    def join(self, _: int) -> None:
        self.model.joiners.append(self._spawn(self.queue.join))
        self.model.look_at_joiners()

    def put_nowait(self, _: int) -> None:
        value = next(self.names)
        if self.model.full:
            with pytest.raises(QueueFull):
                self.queue.put_nowait(value)
        else:
            self.queue.put_nowait(value)
            self.model.add(value)

    def get_nowait(self, _: int) -> None:
        if not self.model.items and not self.model.errors:
            with pytest.raises(QueueEmpty):
                self.queue.get_nowait()
            return
        try:
            got: object = self.queue.get_nowait()
        except Thrown as exc:
            got = ("raised", exc.args[0])
        assert got == self.model.take()

    def throw(self, _: int) -> None:
        number = next(self.names)
        self.queue._throw(Thrown(number))
        self.model.errors.append(number)

    def task_done(self, _: int) -> None:
        if self.model.unfinished:
            self.queue.task_done()
            self.model.unfinished -= 1
            self.model.look_at_joiners()
        else:
            with pytest.raises(ValueError, match="task_done"):
                self.queue.task_done()

    def suspend(self, _: int) -> None:
        self.flow.suspend()
        self.model.active = False

    def resume(self, _: int) -> None:
        self.flow.resume()
        if not self.model.active and self.model.clear_on_resume:
            self.model.clear()
        self.model.active = True

    def clear(self, _: int) -> None:
        self.queue.clear()
        self.model.clear()

    def cancel(self, choice: int) -> None:
        model = self.model
        waiting = [*model.getters, *(name for name, _ in model.putters), *model.joiners]
        if waiting:
            name = waiting[choice % len(waiting)]
            self.scopes[name].cancel()
            model.getters = [one for one in model.getters if one != name]
            model.putters = [one for one in model.putters if one[0] != name]
            model.joiners = [one for one in model.joiners if one != name]


@pytest.mark.slow
@given(
    plan=st.lists(st.tuples(STEPS, st.integers(0, 20)), max_size=40),
    maxsize=st.integers(0, 3),
    clear_on_resume=st.booleans(),
)
@settings(max_examples=60, deadline=None)
async def test_a_queue_does_what_its_model_does(
    plan: list[tuple[str, int]], maxsize: int, clear_on_resume: bool
) -> None:
    """Whatever is done to it, in whatever order, the same comes of it as of the model, to the same tasks."""
    async with anyio.create_task_group() as group:
        comparison = Comparison(group, maxsize, clear_on_resume=clear_on_resume)
        for step, choice in plan:
            await comparison.do(step, choice)
        group.cancel_scope.cancel()


@pytest.mark.slow
@given(
    maxsize=st.integers(0, 3),
    victims=st.lists(
        st.tuples(st.sampled_from(["put", "get"]), st.integers(0, 6)), min_size=1, max_size=8
    ),
    pauses=st.lists(st.sampled_from(["suspend", "resume", "", ""]), max_size=8),
)
@settings(max_examples=100, deadline=None)
async def test_nothing_is_lost_by_cancellation_at_any_moment(
    maxsize: int, victims: list[tuple[str, int]], pauses: list[str]
) -> None:
    """Each item that was put is got once, in that order, whoever is cancelled after however many steps."""
    flow = FlowControlEvent(initially_suspended=False)
    queue: ThrowableQueue[int] = ThrowableQueue(maxsize, flow_control=flow)
    was_put: list[int] = []
    was_got: list[int] = []
    sent = iter(range(10_000))

    async def put() -> None:
        value = next(sent)
        await queue.put(value)
        was_put.append(value)

    async def get() -> None:
        was_got.append(await queue.get())

    async def victim(call: Callable[[], Any], steps: int) -> None:
        async with anyio.create_task_group() as inner:
            inner.start_soon(call)
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            inner.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for kind, steps in victims:
            group.start_soon(victim, {"put": put, "get": get}[kind], steps)
            group.start_soon({"put": put, "get": get}[kind])
        for pause in pauses:
            getattr(flow, pause or "is_active")()
            await anyio.lowlevel.checkpoint()
        await settle()
        flow.resume()
        await settle()
        # Nobody waits for what is there.
        assert not (len(queue._getters) and queue.qsize())
        assert not (len(queue._putters) and not queue.full())
        while len(queue._putters) or queue.qsize():
            await get()
        assert was_got == was_put
        group.cancel_scope.cancel()
    assert (len(queue._getters), len(queue._putters)) == (0, 0)
