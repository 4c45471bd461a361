"""A say at each resumption of each task.

Theory: between two checkpoints a task runs alone, and nothing can reach it. All that can happen to it happens at a
checkpoint: it gives way to the event loop, and when it is resumed the world has changed. So a coroutine that passes on
what another one yields, and stands where the event loop resumes it, has seen every moment at which anything could go
wrong, on any event loop; and it can make it go wrong, just there.

What the loop calls when it resumes a task is a `Tap`. It asks a `Say` what is to happen first. There are three answers:
go on; go on, but with this exception from what was awaited; or wait a little more, while others run.

How a loop is made to run taps instead of coroutines is in `_taps_on_asyncio` and `_taps_on_trio`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from types import CodeType, FrameType
from typing import Any, Protocol, cast

from structmode import _engine as engine

__all__ = ("GO_ON", "Answer", "Say", "Tap", "cancel_current_task", "tapped_tasks")


@dataclass(frozen=True)
class Answer:
    """What is to happen at a resumption.

    Attributes:
        error: What the awaited operation is to raise, in the place of its result.
        passes: For how many passes of the event loop to hold the task back.
        until: Holds the task back further, until it returns True; asked in each pass.
    """

    error: BaseException | None = None
    passes: int = 0
    until: Callable[[], bool] | None = None


GO_ON = Answer()

# Asked at each resumption: the coroutine, and whether what it awaited has failed or was cancelled.
Say = Callable[[Coroutine[Any, Any, Any], bool], Answer]


class _Inspectable(Protocol):
    __name__: str
    __qualname__: str
    cr_await: Any
    cr_code: CodeType
    cr_frame: FrameType | None
    cr_running: bool
    cr_suspended: bool


class Tap(Coroutine[Any, Any, Any]):
    """A coroutine around another one, with a say at each resumption.

    Args:
        coroutine: What the task is to run.
        say: Asked at each resumption, but not when the task begins.
        give_way: What a coroutine yields to be resumed in the next pass of this event loop.
        is_failure: Whether what the loop sends is a failure.
    """

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, Any],
        say: Say,
        give_way: object,
        is_failure: Callable[[object], bool],
    ) -> None:
        self._coroutine = coroutine
        self._say = say
        self._give_way = give_way
        self._is_failure = is_failure
        self._held: list[object] = []
        self._passes = 0
        self._until: Callable[[], bool] | None = None
        self.__name__: str = self._inner.__name__
        self.__qualname__: str = self._inner.__qualname__

    def send(self, value: object) -> object:
        """Resume the coroutine, or hold it back."""
        if self._is_held_back():
            return self._give_way
        if self._held:
            return self._coroutine.send(self._held.pop())
        if not self.cr_suspended:
            return self._coroutine.send(value)
        answer = self._say(self._coroutine, self._is_failure(value))
        if answer.error is not None:
            return self._coroutine.throw(answer.error)
        self._passes, self._until = answer.passes, answer.until
        if not self._is_held_back():
            return self._coroutine.send(value)
        self._held.append(value)
        return self._give_way

    def _is_held_back(self) -> bool:
        if self._passes:
            self._passes -= 1
            return True
        if self._until is not None and self._until():
            self._until = None
        return self._until is not None

    def throw(self, *exc_info: Any) -> object:
        """Resume the coroutine with an exception; it is not held back then, and what it awaited is forgotten."""
        self._passes, self._until = 0, None
        if not self._held and self.cr_suspended:
            self._say(self._coroutine, True)
        self._held.clear()
        return self._coroutine.throw(*exc_info)

    def close(self) -> None:
        """Close the coroutine."""
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coroutine.__await__()

    # What event loops and debuggers ask a coroutine.

    @property
    def _inner(self) -> _Inspectable:
        return cast(_Inspectable, self._coroutine)

    @property
    def cr_await(self) -> Any:
        return self._inner.cr_await

    @property
    def cr_code(self) -> CodeType:
        return self._inner.cr_code

    @property
    def cr_frame(self) -> FrameType | None:
        return self._inner.cr_frame

    @property
    def cr_running(self) -> bool:
        return self._inner.cr_running

    @property
    def cr_suspended(self) -> bool:
        return self._inner.cr_suspended


def tapped_tasks(say: Say, *, seed: int) -> AbstractContextManager[None]:
    """Tap each task of the running event loop that begins inside the block.

    Args:
        say: Asked at each resumption of each of them.
        seed: For the choices that the event loop leaves to chance: trio's order of tasks.
    """
    tapping: AbstractContextManager[None] = _module().tapped_tasks(say, seed)
    return tapping


def cancel_current_task() -> bool:
    """Cancel the task that is being resumed, from outside of all cancel scopes; False where that does not exist."""
    cancelled: bool = _module().cancel_current_task()
    return cancelled


def _module() -> Any:
    name = "trio" if engine.on_trio() else "asyncio"
    return import_module(f"{__package__}._taps_on_{name}")
