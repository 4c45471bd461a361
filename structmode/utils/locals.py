"""A stack of one's own for every task and thread.

What is pushed is seen by the code that runs in the same context: the task or thread itself, and the tasks that it
starts from then on. Contexts are those of ``contextvars``, which asyncio and trio both copy for each new task.

    request_stack: LocalStack[str] = LocalStack()
    with request_stack.push("GET /"):
        assert request_stack.top == "GET /"
    assert request_stack.top is None

How it is kept:

- *One context variable for all stacks*, since a context holds a variable, and its value, for good. The value says
  what each stack has in this context, and is never changed in place: what contexts hold is shared by their copies. It
  refers weakly to the stacks. What one left behind goes with the next push or pop of any stack in that context.
- *No variable is set where a generator ends by being closed*. Garbage collection closes generators too, wherever it
  happens to run: in another context than the one that has the item, and up to CPython 3.11 even in the middle of
  setting a variable, which then crashes the interpreter (https://github.com/python/cpython/issues/148891). So there
  the item itself is ended, for all contexts that have it, and what reads and sets passes over it.

So a ``with`` block is safe around the `yield` of a generator that may be dropped. To push or pop in a finaliser is not
safe on CPython 3.11: nothing there that sets a context variable is.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Generic, TypeAlias, TypeVar
from weakref import ref

__all__ = ("LocalStack",)

_T = TypeVar("_T")


class _Item(Generic[_T]):
    """What was pushed once: a thing that is pushed twice is two items."""

    __slots__ = ("values",)

    def __init__(self, value: _T) -> None:
        #: The one thing that was pushed; nothing once the item has ended.
        self.values: tuple[_T, ...] = (value,)


class _Name:
    """Stands for a stack in contexts, and goes with it."""

    __slots__ = ("__weakref__",)


_Stacks: TypeAlias = Mapping[ref[_Name], tuple[_Item[Any], ...]]

_stacks: ContextVar[_Stacks] = ContextVar("structmode.locals", default=MappingProxyType({}))


class LocalStack(Generic[_T]):
    """A stack that each task and each thread has for itself.

    A new task begins with what its parent had pushed by then. From then on the two don't see each other's pushes and
    pops. A thread of `anyio.to_thread.run_sync` begins with what its caller had pushed; one made in other ways, as
    `threading.Thread` does it, usually with nothing.

    Differs from mode, where the items are one list, which a task shares with its children, so that pushes leak in
    both directions.
    """

    def __init__(self) -> None:
        self._name = _Name()
        self._key = ref(self._name)

    @contextmanager
    def push(self, obj: _T) -> Generator[None]:
        """Have an item on top of the stack for the time of a `with` block.

        The end of the block takes away this very item, if it is still there, and no other. Nothing is pushed until the
        block begins: outside of `with`, call `push_without_automatic_cleanup`. A generator that is closed, or dropped,
        inside of the block takes the item away from the tasks, too, that were started there.

        Differs from mode, where the end of the block pops whatever is on top.

        Args:
            obj: The item.

        Returns:
            A context manager, which gives `None`.
        """
        item = _Item(obj)
        self._set((*self._items(), item))
        try:
            yield
        except GeneratorExit:
            item.values = ()
            raise
        finally:
            if item.values:
                self._set(tuple(other for other in self._items() if other is not item))

    def push_without_automatic_cleanup(self, obj: _T) -> None:
        """Put an item on top of the stack; it stays until `pop` takes it, or the task or thread ends.

        Args:
            obj: The item.
        """
        self._set((*self._items(), _Item(obj)))

    def pop(self) -> _T | None:
        """Take the topmost item away.

        Returns:
            The item; `None` if the stack was empty.
        """
        items = self._items()
        if not items:
            return None
        self._set(items[:-1])
        return next(iter(items[-1].values), None)

    def __len__(self) -> int:
        """Return how many items there are now; so an empty stack is false."""
        return len(self.stack)

    @property
    def stack(self) -> Sequence[_T]:
        """The items as they are now, the topmost last.

        Differs from mode, where this is the list itself: changes come by `push` and `pop` only.
        """
        return tuple(value for item in self._items() for value in item.values)

    @property
    def top(self) -> _T | None:
        """The topmost item, which stays where it is; `None` if the stack is empty."""
        stack = self.stack
        return stack[-1] if stack else None

    def _items(self) -> tuple[_Item[_T], ...]:
        """Return what this stack has in the current context."""
        return tuple(item for item in _stacks.get().get(self._key, ()) if item.values)

    def _set(self, items: tuple[_Item[_T], ...]) -> None:
        """Let the stack have these items in the current context, and let go of stacks that are gone."""
        stacks = {
            key: theirs
            for key, theirs in _stacks.get().items()
            if key() is not None and key is not self._key
        }
        if items:
            stacks[self._key] = items
        _stacks.set(stacks)
