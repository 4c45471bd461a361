"""Every error of structmode; each builds its text from its parts.

`LifecycleError` is what a wrong call gets: it names what was wrong, where, and the call that would have been right.
The others report what happened to a service.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

__all__ = (
    "AsyncioRequired",
    "CallAborted",
    "EventLoopMismatch",
    "LifecycleError",
    "MaxRestartsExceeded",
    "ModeAlreadyImported",
    "ShutdownTimeout",
    "StartAborted",
    "StartTimeout",
    "StillStarting",
    "StructmodeError",
    "StuckTask",
    "TaskReturned",
)


class StructmodeError(Exception):
    """Base of all errors that structmode itself raises.

    They survive being copied and pickled, as between the processes of a pool.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        """Be made anew from text and attributes: what `__init__` takes is parts, and is not what is in `args`."""
        _, args, *state = cast("tuple[Any, ...]", super().__reduce__())
        return (_made_anew, (type(self), args), *state)


def _made_anew(cls: type[StructmodeError], args: tuple[object, ...]) -> StructmodeError:
    made = cls.__new__(cls, *args)
    made.args = args  # those of the standard library that are made from errno leave that to their own `__init__`
    return made


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


class TaskReturned(StructmodeError, RuntimeError):
    """A task has returned that was declared to go on as long as its service.

    Args:
        task: The task.
    """

    def __init__(self, task: str) -> None:
        super().__init__(
            f"{task} has returned, and was declared with forever=True: it may return when self.should_stop is true"
        )
        self.task = task


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


class ModeAlreadyImported(StructmodeError, ImportError):
    """``import mode`` can't be made to mean structmode any more: some module of that name has been imported.

    Args:
        module: The name of the module.
        file: Where it came from, if that is known.
    """

    def __init__(self, module: str, file: str | None) -> None:
        place = f" from {file}" if file else ""
        super().__init__(
            f"install_as_mode() comes too late: the module {module!r} has been imported already{place}. "
            "Call structmode.install_as_mode() before anything imports mode, as the first thing that the program does; or "
            "import structmode in mode's place",
            name=module,
            path=file,
        )


@dataclass(frozen=True)
class StuckTask:
    """One task that kept a stop or a start waiting.

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


@dataclass(frozen=True)
class StillStarting:
    """One service that was being started when the time for a start was over.

    Attributes:
        label: The name of the service.
        depth: How many services it is below the one whose start it was.
        where: Its hook and the contexts that it enters, with their stacks; nothing while it starts what is below it.
    """

    label: str
    depth: int
    where: tuple[StuckTask, ...]

    def __str__(self) -> str:
        if not self.where:
            return f"{self.label}: starts what it is made of"
        return "\n".join(map(str, self.where))


class StartTimeout(StructmodeError, TimeoutError):
    """A start took longer than ``start_timeout``; it has been undone.

    Args:
        label: The name of the service whose start it was.
        timeout: The limit that passed, in seconds.
        starting: What was still being started, each before what it was starting in turn.
    """

    def __init__(self, label: str, timeout: float, starting: Sequence[StillStarting]) -> None:
        self.label = label
        self.timeout = timeout
        self.starting: tuple[StillStarting, ...] = tuple(starting)
        tree = "\n".join(textwrap.indent(str(one), "  " * one.depth) for one in self.starting)
        super().__init__(f"{label} did not start within {timeout:g} s; still starting:\n{tree}")


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
        what = "nothing in it hung, but all of it was not done by then"
        if self.stuck:
            what = "still there:\n" + "\n".join(str(task) for task in self.stuck)
        super().__init__(f"{label} did not stop within {timeout:g} s; {what}")
