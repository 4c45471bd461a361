"""Every error of structmode; each builds its text from its parts.

`LifecycleError` is what a wrong call gets: it names what was wrong, where, and the call that would have been right.
The others report what happened to a service.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = (
    "AsyncioRequired",
    "CallAborted",
    "EventLoopMismatch",
    "LifecycleError",
    "MaxRestartsExceeded",
    "ShutdownTimeout",
    "StartAborted",
    "StructmodeError",
    "StuckTask",
)


class StructmodeError(Exception):
    """Base of all errors that structmode itself raises."""


class LifecycleError(StructmodeError, RuntimeError):
    """A call that the current state of a service does not allow.

    Args:
        problem: What was wrong and with which service.
        remedy: The call that would have been right, as a sentence.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem}. {remedy}" if remedy else f"{problem}.")
        self.problem = problem
        self.remedy = remedy


class EventLoopMismatch(LifecycleError):
    """A running service was called from another event loop than the one it runs on."""


class AsyncioRequired(StructmodeError, RuntimeError):
    """Something that only asyncio has was asked for where asyncio does not run.

    Args:
        what: What was asked for.
        instead: What works on every backend, as the object of a sentence.
    """

    def __init__(self, what: str, instead: str) -> None:
        super().__init__(
            f"{what} needs asyncio, which does not run here. What works on every backend: {instead}"
        )
        self.what = what
        self.instead = instead


class StartAborted(LifecycleError):
    """A start that ended in a stop: the service was stopped before it had started.

    Args:
        label: The name of the service.
    """

    def __init__(self, label: str) -> None:
        super().__init__(
            f"{label} was stopped before it had started",
            "Everything done for this start has been undone; it may be started again.",
        )
        self.label = label


class CallAborted(LifecycleError):
    """A call into another event loop that ended without a result, because of what happened there.

    Args:
        label: What was called, or who was.
        problem: What happened.
    """

    def __init__(self, label: str, problem: str) -> None:
        super().__init__(
            f"the call of {label} came to no end: {problem}",
            "Make calls while the service runs, and before you stop it",
        )
        self.label = label


class MaxRestartsExceeded(StructmodeError):
    """A supervisor gave up: more restarts within its time window than its budget allows."""


@dataclass(frozen=True)
class StuckTask:
    """One task that kept a stop waiting.

    Attributes:
        owner: The name of the service the task belongs to.
        task: The name of the task, or of the hook that hung.
        stack: Where it hung: its stack as text, outermost call first.
    """

    owner: str
    task: str
    stack: str

    def __str__(self) -> str:
        return f"{self.owner}: {self.task}\n{self.stack.rstrip()}"


class ShutdownTimeout(StructmodeError, TimeoutError):
    """A stop took longer than ``shutdown_timeout``; what was left has been cancelled.

    Args:
        label: The name of the service whose stop it was.
        timeout: The limit that passed, in seconds.
        stuck: The tasks that were still there when it passed, with their stacks.
    """

    def __init__(self, label: str, timeout: float, stuck: Sequence[StuckTask]) -> None:
        self.label = label
        self.timeout = timeout
        self.stuck: tuple[StuckTask, ...] = tuple(stuck)
        culprits = "\n".join(str(task) for task in self.stuck) or "(nothing is left of it)"
        super().__init__(f"{label} did not stop within {timeout:g} s; still there:\n{culprits}")
