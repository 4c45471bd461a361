"""The faults of mode's queues and buckets, by their numbers in the survey: each test states the opposite of one."""

from __future__ import annotations

import anyio
import pytest

from structmode.utils.queues import FlowControlEvent, FlowControlQueue
from structmode.utils.times import rate_limit


@pytest.mark.fault("F4")
async def test_f4_clear_lets_putters_go_on() -> None:
    """Who waited for room in a full queue has it when the queue is emptied."""
    queue: FlowControlQueue[int] = FlowControlQueue(
        1, flow_control=FlowControlEvent(initially_suspended=False)
    )
    await queue.put(1)
    async with anyio.create_task_group() as group:
        putter = group.start_soon(queue.put, 2)
        await anyio.wait_all_tasks_blocked()
        queue.clear()
        await putter
    assert await queue.get() == 2


@pytest.mark.fault("F4")
async def test_f4_clear_counts_what_it_drops_as_done() -> None:
    """`join` does not wait for what nobody will ever get."""
    queue: FlowControlQueue[int] = FlowControlQueue(
        flow_control=FlowControlEvent(initially_suspended=False)
    )
    await queue.put(1)
    queue.clear()
    await queue.join()


@pytest.mark.fault("B4")
async def test_b4_a_bucket_holds_what_is_allowed_in_its_time() -> None:
    """Three in a minute are three at once, and not sixty; a hundred in a second are a hundred, and not one."""
    for allowed, over in ((3, 60.0), (100, 1.0)):
        bucket = rate_limit(allowed, over)
        poured = 0
        while bucket.pour():
            poured += 1
            assert poured < 1000
        assert (
            allowed <= poured <= 2 * allowed
        )  # a slow machine lets the second one fill meanwhile


@pytest.mark.fault("B4")
async def test_b4_less_than_one_a_second_is_possible() -> None:
    """In mode, a bucket for less than a second never pours anything."""
    assert rate_limit(1, 0.5).pour()
    assert rate_limit("6/h").pour()
