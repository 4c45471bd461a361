"""structmode: services that start, stop and restart each other, on structured concurrency.

General layout, from the bottom up; imports go down only, and import-linter holds it:

- `exceptions`: every error, its text made here from its parts.
- `_engine`: structured lifecycles on the standard library and anyio; not one of a service's words in it.
- `utils`: times, trees, logging, cron lines, containers, names and types; the engine knows none of them.
- `types`: the abstract surface of services, for `isinstance` and for typing.
- `timers`, `_declare`: the schedule of something periodic; what a class body declares to be background work.
- `loop`: what workers run on, chosen by name.
- `signals`, `locals`: who wants to know is told, in order; what stands for an object until it is asked for, of which
  `_delegate` has what all such stand-ins have in common.
- `health`: how well services are, for probes and for people.
- `services`: the face, `Service`.
- `supervisors`: services that restart others; `_supervision`: what they know, and the task in which they act.
- `console`: a look into a running tree, over a line of text.
- `functions`: services made of functions and contexts, without classes.
- `proxy`: a service that stands for another one.
- `threads`: services in threads with event loops of their own, and calls into them.
- `worker`: a process around services: signals, logging, exit codes.
- `contrib`: optional layers, of which none knows another.
- `compat`: mode's own name, and mode's own meaning, for programs that are not to be edited.

What a program needs stands here. It is loaded when it is first asked for, so that `import structmode` costs little,
touches no event loop and loads neither asyncio nor trio.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from structmode.compat import (
        install_as_mode as install_as_mode,
    )
    from structmode.exceptions import (
        AsyncioRequired as AsyncioRequired,
        CallAborted as CallAborted,
        EventLoopMismatch as EventLoopMismatch,
        LifecycleError as LifecycleError,
        MaxRestartsExceeded as MaxRestartsExceeded,
        ModeAlreadyImported as ModeAlreadyImported,
        ShutdownTimeout as ShutdownTimeout,
        StartAborted as StartAborted,
        StartTimeout as StartTimeout,
        StillStarting as StillStarting,
        StructmodeError as StructmodeError,
        StuckTask as StuckTask,
        TaskReturned as TaskReturned,
    )
    from structmode.functions import (
        Held as Held,
        Job as Job,
        hold as hold,
        run as run,
        service as service,
    )
    from structmode.services import (
        Diag as Diag,
        Service as Service,
        ServiceBase as ServiceBase,
        WaitResult as WaitResult,
        WaitResults as WaitResults,
        crontab as crontab,
        task as task,
        timer as timer,
    )
    from structmode.signals import (
        BaseSignal as BaseSignal,
        Signal as Signal,
        SyncSignal as SyncSignal,
    )
    from structmode.supervisors import (
        Backoff as Backoff,
        CrashingSupervisor as CrashingSupervisor,
        ForfeitOneForAllSupervisor as ForfeitOneForAllSupervisor,
        ForfeitOneForOneSupervisor as ForfeitOneForOneSupervisor,
        OneForAllSupervisor as OneForAllSupervisor,
        OneForOneSupervisor as OneForOneSupervisor,
        RestForOneSupervisor as RestForOneSupervisor,
        Supervised as Supervised,
        SupervisorStrategy as SupervisorStrategy,
    )
    from structmode.threads import (
        MethodQueue as MethodQueue,
        QueueServiceThread as QueueServiceThread,
        ServiceThread as ServiceThread,
    )
    from structmode.timers import (
        Timer as Timer,
    )
    from structmode.types.services import (
        DiagT as DiagT,
        ServiceT as ServiceT,
    )
    from structmode.types.signals import (
        BaseSignalT as BaseSignalT,
        SignalT as SignalT,
        SyncSignalT as SyncSignalT,
    )
    from structmode.types.supervisors import (
        SupervisorStrategyT as SupervisorStrategyT,
    )
    from structmode.utils.logging import (
        flight_recorder as flight_recorder,
        get_logger as get_logger,
        setup_logging as setup_logging,
    )
    from structmode.utils.objects import (
        label as label,
        shortlabel as shortlabel,
    )
    from structmode.utils.times import (
        Seconds as Seconds,
        want_seconds as want_seconds,
    )
    from structmode.worker import (
        Worker as Worker,
    )

_HOME = {
    "install_as_mode": "structmode.compat",
    "AsyncioRequired": "structmode.exceptions",
    "CallAborted": "structmode.exceptions",
    "EventLoopMismatch": "structmode.exceptions",
    "LifecycleError": "structmode.exceptions",
    "MaxRestartsExceeded": "structmode.exceptions",
    "ModeAlreadyImported": "structmode.exceptions",
    "ShutdownTimeout": "structmode.exceptions",
    "StartAborted": "structmode.exceptions",
    "StartTimeout": "structmode.exceptions",
    "StillStarting": "structmode.exceptions",
    "StructmodeError": "structmode.exceptions",
    "StuckTask": "structmode.exceptions",
    "TaskReturned": "structmode.exceptions",
    "Held": "structmode.functions",
    "Job": "structmode.functions",
    "hold": "structmode.functions",
    "run": "structmode.functions",
    "service": "structmode.functions",
    "Diag": "structmode.services",
    "Service": "structmode.services",
    "ServiceBase": "structmode.services",
    "WaitResult": "structmode.services",
    "WaitResults": "structmode.services",
    "crontab": "structmode.services",
    "task": "structmode.services",
    "timer": "structmode.services",
    "BaseSignal": "structmode.signals",
    "Signal": "structmode.signals",
    "SyncSignal": "structmode.signals",
    "Backoff": "structmode.supervisors",
    "CrashingSupervisor": "structmode.supervisors",
    "ForfeitOneForAllSupervisor": "structmode.supervisors",
    "ForfeitOneForOneSupervisor": "structmode.supervisors",
    "OneForAllSupervisor": "structmode.supervisors",
    "OneForOneSupervisor": "structmode.supervisors",
    "RestForOneSupervisor": "structmode.supervisors",
    "Supervised": "structmode.supervisors",
    "SupervisorStrategy": "structmode.supervisors",
    "SupervisorStrategyT": "structmode.types.supervisors",
    "MethodQueue": "structmode.threads",
    "QueueServiceThread": "structmode.threads",
    "ServiceThread": "structmode.threads",
    "Timer": "structmode.timers",
    "DiagT": "structmode.types.services",
    "ServiceT": "structmode.types.services",
    "BaseSignalT": "structmode.types.signals",
    "SignalT": "structmode.types.signals",
    "SyncSignalT": "structmode.types.signals",
    "flight_recorder": "structmode.utils.logging",
    "get_logger": "structmode.utils.logging",
    "setup_logging": "structmode.utils.logging",
    "label": "structmode.utils.objects",
    "shortlabel": "structmode.utils.objects",
    "Seconds": "structmode.utils.times",
    "want_seconds": "structmode.utils.times",
    "Worker": "structmode.worker",
}

__all__ = (
    "AsyncioRequired",
    "Backoff",
    "BaseSignal",
    "BaseSignalT",
    "CallAborted",
    "CrashingSupervisor",
    "Diag",
    "DiagT",
    "EventLoopMismatch",
    "ForfeitOneForAllSupervisor",
    "ForfeitOneForOneSupervisor",
    "Held",
    "Job",
    "LifecycleError",
    "MaxRestartsExceeded",
    "MethodQueue",
    "ModeAlreadyImported",
    "OneForAllSupervisor",
    "OneForOneSupervisor",
    "QueueServiceThread",
    "RestForOneSupervisor",
    "Seconds",
    "Service",
    "ServiceBase",
    "ServiceT",
    "ServiceThread",
    "ShutdownTimeout",
    "Signal",
    "SignalT",
    "StartAborted",
    "StartTimeout",
    "StillStarting",
    "StructmodeError",
    "StuckTask",
    "Supervised",
    "SupervisorStrategy",
    "SupervisorStrategyT",
    "SyncSignal",
    "SyncSignalT",
    "TaskReturned",
    "Timer",
    "WaitResult",
    "WaitResults",
    "Worker",
    "crontab",
    "flight_recorder",
    "get_logger",
    "hold",
    "install_as_mode",
    "label",
    "run",
    "service",
    "setup_logging",
    "shortlabel",
    "task",
    "timer",
    "want_seconds",
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("structmode")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, "__version__"})
