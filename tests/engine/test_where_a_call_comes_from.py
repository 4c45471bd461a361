"""Whether a call comes from the event loop that something belongs to; what belongs to none is used where none runs."""

from __future__ import annotations

import asyncio

import anyio
import anyio.to_thread
from anyio.lowlevel import EventLoopToken, current_token

from structmode._engine import runs_here


async def token_of_this_loop() -> EventLoopToken:
    """Return what identifies the running event loop."""
    return current_token()


def test_where_no_loop_runs() -> None:
    """That is at home what belongs to no loop, and nothing else."""
    assert runs_here(None)
    assert not runs_here(anyio.run(token_of_this_loop, backend="asyncio"))


async def test_in_a_task() -> None:
    """At home there is what belongs to this very loop."""
    assert runs_here(current_token())
    assert not runs_here(None)
    other = await anyio.to_thread.run_sync(lambda: anyio.run(token_of_this_loop))
    assert not runs_here(other)
    assert not await anyio.to_thread.run_sync(runs_here, current_token())


def test_in_a_callback() -> None:
    """A callback of asyncio's is in no task, and on its loop all the same."""

    async def main() -> bool:
        loop, token = asyncio.get_running_loop(), current_token()
        answer: asyncio.Future[bool] = loop.create_future()
        loop.call_soon(lambda: answer.set_result(runs_here(token)))
        return await answer

    assert asyncio.run(main())
