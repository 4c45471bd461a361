"""Who is calling: which run the calling code belongs to, and whether it is in a hook.

Theory: whether a call may wait depends on where it comes from. A hook that waited for the end of its own run would wait
for itself; a task may wait, since the end of the run cancels it. And a call from what is left of a former run must not
reach the present one. Context variables answer both, because they are inherited by whatever the code calls or begins.
A hook's mark is an object that is switched off when the hook returns, so that a task which the hook has begun, and
which outlives it, is not taken for the hook.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any


class Hook:
    """The mark of code that runs inside a hook: that of a ``with`` block.

    A hook may also end by being dropped, with its event loop: then it is closed by whoever drops it, maybe by garbage
    collection, in another context. No context variable can be set there, so the mark is switched off and left.

    Attributes:
        run: The run whose hook it is.
        name: How the hook is called.
        active: Whether the hook has not returned yet.
    """

    __slots__ = ("_before", "active", "name", "run")

    def __init__(self, run: object, name: str) -> None:
        self.run = run
        self.name = name
        self.active = True
        self._before: Token[Hook | None]

    def __enter__(self) -> None:
        self._before = _hook.set(self)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.active = False
        if exc_type is not GeneratorExit:
            _hook.reset(self._before)


_run: ContextVar[object] = ContextVar("structmode_run", default=None)
_hook: ContextVar[Hook | None] = ContextVar("structmode_hook", default=None)


def belongs_to_the_engine(variable: ContextVar[Any]) -> bool:
    """Whether a context variable is one of those above, which say where code runs."""
    return variable is _run or variable is _hook


def calling_run() -> object:
    """Return the run that the calling code belongs to, or None."""
    return _run.get()


def calling_hook() -> Hook | None:
    """Return the hook that the calling code is in, or None."""
    hook = _hook.get()
    return hook if hook is not None and hook.active else None


def enter_run(run: object) -> None:
    """Make the current task, and all that it begins from now on, part of `run`."""
    _run.set(run)
    _hook.set(None)
