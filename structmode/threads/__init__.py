"""Services in a thread of their own, with an event loop of their own, and calls into them.

What is guaranteed, on each pair of event loops, that of the owner and that of the thread:

- *The thread is a place, not another kind of life.* All hooks, tasks, timers, futures, contexts and children of a
  `ServiceThread` run in its own event loop, as those of any service run in theirs, and by the same laws. To its owner - a
  parent, an ``async with`` block, a worker - it is a service like any other.
- *The owner's event loop never blocks*: not while the thread starts, works, or ends.
- *Starting is a transaction.* `start` raises what failed in the thread, as it was raised, and no thread is left then.
- *A crash in the thread is a crash of the owner*, at once; a failure of the owner's tree tells those in the thread to stop,
  at once; and the tree stops from the top down, through the thread.
- *Calls cross whole*: result, error with its traceback, context variables, cancellation. A call that the thread can't take
  is an error at once, and one that it will never answer is an error as soon as that is known; none waits for ever.
- *A stop is bounded.* A thread that does not end in `shutdown_timeout` seconds, and a moment more, is given up:
  `ShutdownTimeout` has its stack, and it does not keep the process from ending.
- *A restart is a new thread* with a new event loop. What is left of the old one can do nothing any more.

How: ``service`` has a unit of the engine outside and one inside, and ``structmode._engine._thread`` between them; ``methods``
has the calls of one event loop, done by its workers in order; ``queue`` has both together.
"""

from __future__ import annotations

from .methods import MethodQueue as MethodQueue, Promise as Promise, QueuedMethod as QueuedMethod
from .queue import QueueServiceThread
from .service import ServiceThread, WorkerThread

__all__ = (
    "MethodQueue",
    "Promise",
    "QueueServiceThread",
    "QueuedMethod",
    "ServiceThread",
    "WorkerThread",
)
