"""A stack of one's own for every task and thread.

What is pushed is seen by the code that runs in the same context: the task or thread itself, and the tasks that it
starts from then on. Contexts are those of ``contextvars``, which asyncio and trio both copy for each new task.

    request_stack: LocalStack[str] = LocalStack()
    with request_stack.push("GET /"):
        assert request_stack.top == "GET /"
    assert request_stack.top is None
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar

__all__ = ("LocalStack",)

_T = TypeVar("_T")


class _Item(Generic[_T]):
    """What was pushed once: a thing that is pushed twice is two items."""

    __slots__ = ("value",)

    def __init__(self, value: _T) -> None:
        self.value = value


class LocalStack(Generic[_T]):
    """A stack that each task and each thread has for itself.

    A new task begins with what its parent had pushed by then. From then on the two don't see each other's pushes and
    pops. A thread of `anyio.to_thread.run_sync` begins with what its caller had pushed; one made in other ways, as
    `threading.Thread` does it, usually with nothing.

    Make one per purpose, at module level: what has been pushed may outlive the stack itself, in the contexts of tasks.

    Differs from mode, where the items are one list, which a task shares with its children, so that pushes leak in
    both directions.
    """

    def __init__(self) -> None:
        # The items are never changed in place: contexts are copied, and what they hold is shared.
        self._items: ContextVar[tuple[_Item[_T], ...]] = ContextVar("LocalStack", default=())

    @contextmanager
    def push(self, obj: _T) -> Generator[None]:
        """Have an item on top of the stack for the time of a `with` block.

        The end of the block takes away this very item, if it is still there, and no other. Nothing is pushed until the
        block begins: outside of `with`, call `push_without_automatic_cleanup`.

        Differs from mode, where the end of the block pops whatever is on top.

        Args:
            obj: The item.

        Returns:
            A context manager, which gives `None`.
        """
        item = _Item(obj)
        self._items.set((*self._items.get(), item))
        try:
            yield
        finally:
            self._items.set(tuple(other for other in self._items.get() if other is not item))

    def push_without_automatic_cleanup(self, obj: _T) -> None:
        """Put an item on top of the stack; it stays until `pop` takes it, or the task or thread ends.

        Args:
            obj: The item.
        """
        self._items.set((*self._items.get(), _Item(obj)))

    def pop(self) -> _T | None:
        """Take the topmost item away.

        Returns:
            The item; `None` if the stack was empty.
        """
        items = self._items.get()
        if not items:
            return None
        self._items.set(items[:-1])
        return items[-1].value

    @property
    def stack(self) -> Sequence[_T]:
        """The items as they are now, the topmost last.

        Differs from mode, where this is the list itself: changes come by `push` and `pop` only.
        """
        return tuple(item.value for item in self._items.get())

    @property
    def top(self) -> _T | None:
        """The topmost item, which stays where it is; `None` if the stack is empty."""
        items = self._items.get()
        return items[-1].value if items else None
