"""The engine: structured lifecycles on the standard library and anyio.

It knows no service, no worker and no log; it runs *units* (see `Unit`). Read its files in this order, each opens with
the theory it implements: `_last_words`, `_state`, `_events`, `_backend`, `_stacks`, `_callers`, `_flag`, `_failures`, `_cancellation`,
`_loops`, `_waiting`, `_border`, `_tasks`, `_contexts`, `_protocols`, `_steps`, `_starts`, `_run`, `_hosting`, `_needs`, `_idle`,
`_life`, `_restarting`, `_thread`.
What faces may use of it is exactly what stands here. What only threads and batches need is loaded when it is asked
for: most programs are neither a batch nor have a service in a thread of its own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._backend import (
    BACKENDS,
    BackendName,
    asyncio_if_loaded,
    being_cancelled,
    clock_here,
    loop_policy,
    new_loop_on,
    on_trio,
    run_arguments,
    running_asyncio_loop,
    runs_here,
    signal_safe_caller,
    token_here,
)
from ._cancellation import as_failure, result_of, shielded
from ._contexts import Contexts
from ._events import (
    Crashed,
    LifecycleEvent,
    Listener,
    Restarting,
    Started,
    StartFailed,
    Starting,
    StopOverdue,
    Stopped,
    Stopping,
    TaskEnded,
    TaskFailed,
    TickFailed,
    TicksSkipped,
    emit,
    subscribe,
)
from ._failures import note
from ._flag import Flag
from ._life import Life, OwnedBlock
from ._protocols import Fate, Unit
from ._restarting import RESTART_TYPES, Backoff, Budget, Reach, RestartType, wants_restart
from ._run import Run, current_run
from ._stacks import frames_of, stack_of
from ._state import TRANSITIONS, State, Trigger, advance
from ._tasks import Task, without_stopped
from ._waiting import (
    Outcome,
    StopSignal,
    WaitArg,
    all_of,
    as_coroutine,
    as_work,
    check_awaitable,
    close_all,
    first_of,
    sleep,
)

if TYPE_CHECKING:
    from ._border import Call, Mailbox, Reply, in_call
    from ._idle import work_done
    from ._loops import LoopRunner, run_threads_by
    from ._thread import MARGIN, ThreadHome

# What few programs need, and where it is.
_LATE = {
    "Call": "_border",
    "Mailbox": "_border",
    "Reply": "_border",
    "in_call": "_border",
    "LoopRunner": "_loops",
    "run_threads_by": "_loops",
    "MARGIN": "_thread",
    "ThreadHome": "_thread",
    "work_done": "_idle",
}

__all__ = (
    "BACKENDS",
    "MARGIN",
    "RESTART_TYPES",
    "TRANSITIONS",
    "BackendName",
    "Backoff",
    "Budget",
    "Call",
    "Contexts",
    "Crashed",
    "Fate",
    "Flag",
    "Life",
    "LifecycleEvent",
    "Listener",
    "LoopRunner",
    "Mailbox",
    "Outcome",
    "OwnedBlock",
    "Reach",
    "Reply",
    "RestartType",
    "Restarting",
    "Run",
    "StartFailed",
    "Started",
    "Starting",
    "State",
    "StopOverdue",
    "StopSignal",
    "Stopped",
    "Stopping",
    "Task",
    "TaskEnded",
    "TaskFailed",
    "ThreadHome",
    "TickFailed",
    "TicksSkipped",
    "Trigger",
    "Unit",
    "WaitArg",
    "advance",
    "all_of",
    "as_coroutine",
    "as_failure",
    "as_work",
    "asyncio_if_loaded",
    "being_cancelled",
    "check_awaitable",
    "clock_here",
    "close_all",
    "current_run",
    "emit",
    "first_of",
    "frames_of",
    "in_call",
    "loop_policy",
    "new_loop_on",
    "note",
    "on_trio",
    "result_of",
    "run_arguments",
    "run_threads_by",
    "running_asyncio_loop",
    "runs_here",
    "shielded",
    "signal_safe_caller",
    "sleep",
    "stack_of",
    "subscribe",
    "token_here",
    "wants_restart",
    "without_stopped",
    "work_done",
)


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_LATE[name]}", __name__), name)
    globals()[name] = value
    return value
