"""Nothing can ever happen again: how that is told.

Theory: when every task is blocked, four things can still wake one: a deadline, a thread that works for a task, input or
output, and another thread that calls into the event loop (`_threads`). If none of them is there, waiting longer is of no use.
A program that runs in real time would hang then; here it can be known, and the stack of every task says why.
"""

from __future__ import annotations

import anyio

from structmode import _engine as engine
from structmode.exceptions import StructmodeError

__all__ = ("Deadlock", "describe_tasks")

# Tasks that are there whatever the program does: trio's own, and the one that moves its clock.
_OF_THE_LOOP = frozenset({"<init>", "<TrioToken.run_sync_soon task>", "virtual clock"})


class Deadlock(StructmodeError):
    """Every task waits, and nothing is left that could wake one; the text has the stack of each."""


def describe_tasks() -> str:
    """Return the name and the stack of every task of the program."""
    return "\n".join(
        f"{task.name}\n{engine.stack_of(task.coro)}"
        for task in anyio.get_running_tasks()
        if not (engine.on_trio() and task.name in _OF_THE_LOOP)
    )
