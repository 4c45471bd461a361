"""The chapter `mode.utils.queues` of mode's manual: queues whose producers can be held up."""

from __future__ import annotations

import anyio
import pytest

from structmode.utils.queues import FlowControlEvent, FlowControlQueue, ThrowableQueue


async def test_flow_control() -> None:
    """While flow is suspended producers hang; when it is resumed they go on, and queues that ask for it are emptied."""
    flow_control = FlowControlEvent()
    bounded: FlowControlQueue[int] = FlowControlQueue(maxsize=1, flow_control=flow_control)
    unbounded: FlowControlQueue[int] = FlowControlQueue(flow_control=flow_control)
    emptied: FlowControlQueue[int] = FlowControlQueue(
        clear_on_resume=True, flow_control=flow_control
    )
    flow_control.resume()
    await emptied.put(0)
    flow_control.suspend()
    assert not flow_control.is_active()
    async with anyio.create_task_group() as tasks:
        for queue in (bounded, unbounded, emptied):
            tasks.start_soon(queue.put, 1)
        await anyio.wait_all_tasks_blocked()
        assert (bounded.qsize(), unbounded.qsize(), emptied.qsize()) == (0, 0, 1)
        flow_control.resume()
    assert [await queue.get() for queue in (bounded, unbounded, emptied)] == [1, 1, 1]
    assert emptied.empty()


async def test_it_is_suspended_at_first() -> None:
    """Flow is suspended to begin with, unless it is told not to be."""
    assert not FlowControlEvent().is_active()
    assert FlowControlEvent(initially_suspended=False).is_active()


async def test_a_queue_that_is_told_of_errors() -> None:
    """Whoever waits for the next item gets what was thrown."""
    queue: ThrowableQueue[int] = ThrowableQueue(
        flow_control=FlowControlEvent(initially_suspended=False)
    )
    await queue.throw(ValueError("lost"))
    with pytest.raises(ValueError, match="lost"):
        await queue.get()
