"""When all work is done: nothing is left in a run or below that comes to an end by itself.

Theory: some programs are a batch, and end when there is nothing left to do. What is left can't be counted once: a task that
ends may have added another, in another place. So all is looked through again until a look finds nothing.

- Finite tasks are waited for; timers and what else goes on for ever are not, but for what they are busy with.
- So is whatever is starting or stopping: what that leads to, such as a restart, is to be done too.
- What lives on another event loop can only be asked. While the answer is on its way there may be more to do here, so an answer
  counts only if nothing was found here after it.
"""

from __future__ import annotations

import anyio.lowlevel

from ._flag import Flag
from ._run import Run
from ._state import State


async def work_done(run: Run) -> bool:
    """Wait until nothing is left in a run or below that comes to an end by itself; returns whether there was any."""
    await anyio.lowlevel.checkpoint()
    was_busy = False
    while True:
        while flags := await _unfinished(run):
            was_busy = True
            for flag in flags:
                await flag.wait()
        if await _busy_elsewhere(run):
            was_busy = True
        elif not await _unfinished(run):
            return was_busy


async def _busy_elsewhere(run: Run) -> bool:
    """Wait until all is done that tasks stand for and can only be asked; returns whether there was any."""
    found_busy = False
    for task in [task for one in run.tree() for task in one.tasks.alive()]:
        if task.until_idle is not None and not task.done():
            found_busy = await task.until_idle() or found_busy
    return found_busy


async def _unfinished(run: Run) -> list[Flag]:
    """Return what is set when that has ended which comes to an end by itself."""
    found: list[Flag] = []
    for one in run.tree():
        if one is not run and one.state.alive and one.stop_requested:
            found.append(one.let_be)
        elif one is not run and one.state is State.STARTING:
            found.append(one.settled)
        for task in one.tasks.alive():
            if task.finite:
                await one.tasks.settle(task)
                found.append(task.ended)
            elif task.busy is not None and (flag := task.busy()) is not None:
                found.append(flag)
    return [flag for flag in found if not flag.is_set()]
