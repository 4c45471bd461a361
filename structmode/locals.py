"""Stand-ins for objects that are looked up, or made, when they are needed.

A `Proxy` is made from a function. Whatever is done to the proxy is done to what the function returns: attributes are
read and set there, operators and `repr` apply to it, `isinstance` takes the proxy for it.

Special methods that say what *kind* of thing an object is (`len` works, it can be called, awaited, entered by `with`)
come in roles, one for each kind. A plain proxy has none of them: it would be callable, iterable and awaitable in the
eyes of `callable` and `isinstance`, whatever it stands for. The proxies below have one role each, and a class may
combine several:

    class SessionProxy(MutableMappingRole[str, str], AsyncContextManagerRole[None]):
        pass

What a role delegates and the object does not have raises what it would raise without a proxy, as a rule a `TypeError`.

Python asks the right operand before it changes a list in place: `items += proxy` makes a new list.

A few special methods are never delegated, since Python asks for them where a class is made, or takes their mere
existence for a property of the object: those of descriptors and of subclassing, `__fspath__` and `__buffer__`. Pass on
what `_get_current_object()` returns there.
"""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Sequence,
    Set as AbstractSet,
)
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Generic, TypeVar, overload

from structmode._delegate import Delegate, now
from structmode.utils.locals import LocalStack

__all__ = (
    "AsyncContextManagerProxy",
    "AsyncContextManagerRole",
    "AsyncGeneratorProxy",
    "AsyncGeneratorRole",
    "AsyncIterableProxy",
    "AsyncIterableRole",
    "AsyncIteratorProxy",
    "AsyncIteratorRole",
    "AwaitableProxy",
    "AwaitableRole",
    "CallableProxy",
    "CallableRole",
    "ContextManagerProxy",
    "ContextManagerRole",
    "CoroutineProxy",
    "CoroutineRole",
    "LocalStack",
    "MappingProxy",
    "MappingRole",
    "MutableMappingProxy",
    "MutableMappingRole",
    "MutableSequenceProxy",
    "MutableSequenceRole",
    "MutableSetProxy",
    "MutableSetRole",
    "Proxy",
    "SequenceProxy",
    "SequenceRole",
    "SetProxy",
    "SetRole",
    "maybe_evaluate",
)

_K = TypeVar("_K")
_R_co = TypeVar("_R_co", covariant=True)
_S_contra = TypeVar("_S_contra", contravariant=True)
_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_V = TypeVar("_V")
_V_co = TypeVar("_V_co", covariant=True)

_class_of: Callable[[Any], type[Any]] = type


class Proxy(Delegate, Generic[_T_co]):
    """A stand-in for the object that a function returns.

    The function is called each time that the object is needed, or once only, with `cache`. What is done to the proxy is
    done to the object; see the top of this module for what needs a role besides. A subclass may have methods of its
    own; attributes that it sets are set on the object. Copies and pickles are copies and pickles of the object.

    `class RequestProxy(Proxy[Request], source=Request):` has all that the abstract class ``Request`` demands, and
    `issubclass(RequestProxy, Request)` is true. A class attribute ``__proxy_source__ = Request`` does the same.

    These have names that no object will have:

    - `proxy._get_current_object()` returns the object itself, as does `proxy.__evaluate__()`;
    - `proxy.__evaluated__()` tells whether the object has been made, and is kept;
    - `proxy.__then__(fun, *args, **kwargs)` calls a function at once if the object is kept, and otherwise one time,
      when the object is next made.

    Differs from mode: all operators are delegated, also the reflected ones; several threads that need a kept object at
    the same time get the same one; the roles are proxies by themselves, as mode's manual has it; and what a `with`
    block has entered is what it leaves, also if the function returns something else by then.

    Args:
        local: Returns the object. What it raises is raised by whatever needed the object.
        args: Positional arguments for `local`.
        kwargs: Keyword arguments for `local`.
        name: The `__name__` of the proxy, if not the object's.
        cache: Keep the first object for good. If `local` raises, it is asked again next time.
        __doc__: The `__doc__` of the proxy, if not the object's.

    Raises:
        TypeError: If `local` can't be called.
    """

    __slots__ = ()

    def __init__(
        self,
        local: Callable[..., _T_co],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        cache: bool = False,
        __doc__: str | None = None,  # noqa: A002 - mode's name for it
    ) -> None:
        super().__init__(local, args, kwargs, name, cache, __doc__)

    def _get_current_object(self) -> _T_co:
        """Return the object itself."""
        found: _T_co = super()._get_current_object()
        return found


def maybe_evaluate(obj: Any) -> Any:
    """Return what a proxy stands for, and anything else as it is.

    Args:
        obj: A proxy, of whatever role, or another object.

    Returns:
        The object.
    """
    return now(obj) if issubclass(type(obj), Delegate) else obj


# --- Awaiting -------------------------------------------------------------------------------------


async def _result_of(awaitable: Any) -> Any:
    return await awaitable


class AwaitableRole(Delegate, Awaitable[_T_co]):
    """For what can be awaited."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, _T_co]:
        return _result_of(now(self)).__await__()


class AwaitableProxy(Proxy[Awaitable[_T_co]], AwaitableRole[_T_co]):
    """A proxy to something that can be awaited."""

    __slots__ = ()


class CoroutineRole(
    AwaitableRole[_R_co],
    Coroutine[_T_co, _S_contra, _R_co],
    Generic[_T_co, _S_contra, _R_co],
):
    """For coroutines."""

    __slots__ = ()

    def send(self, value: _S_contra) -> _T_co:
        """Let the coroutine go on with a value.

        Returns:
            What it yields next.

        Raises:
            StopIteration: If it returns.
        """
        yielded: _T_co = now(self).send(value)
        return yielded

    def throw(self, typ: Any, val: Any = None, tb: TracebackType | None = None) -> _T_co:
        """Raise an exception where the coroutine stands.

        Args:
            typ: The exception, or its class.
            val: An instance of the class, or the argument for one.
            tb: A traceback for the exception.

        Returns:
            What it yields next.

        Raises:
            StopIteration: If it returns.
        """
        yielded: _T_co = now(self).throw(_exception(typ, val, tb))
        return yielded

    def close(self) -> None:
        """Raise `GeneratorExit` where the coroutine stands, so that it ends."""
        now(self).close()


class CoroutineProxy(
    Proxy[Coroutine[_T_co, _S_contra, _R_co]], CoroutineRole[_T_co, _S_contra, _R_co]
):
    """A proxy to a coroutine."""

    __slots__ = ()


def _exception(typ: Any, val: Any, tb: TracebackType | None) -> Any:
    """Make one exception out of three arguments, which Python 3.12 and later no longer want."""
    if val is None and tb is None:
        return typ
    exc = typ
    if isinstance(val, BaseException):
        exc = val
    elif not isinstance(typ, BaseException):
        exc = typ() if val is None else typ(val)
    return exc if tb is None else exc.with_traceback(tb)


# --- Async iteration ------------------------------------------------------------------------------


class AsyncIterableRole(Delegate, AsyncIterable[_T_co]):
    """For what `async for` can go over."""

    __slots__ = ()

    def __aiter__(self) -> AsyncIterator[_T_co]:
        iterator: AsyncIterator[_T_co] = aiter(now(self))
        return iterator


class AsyncIterableProxy(Proxy[AsyncIterable[_T_co]], AsyncIterableRole[_T_co]):
    """A proxy to something that `async for` can go over."""

    __slots__ = ()


class AsyncIteratorRole(AsyncIterableRole[_T_co], AsyncIterator[_T_co]):
    """For async iterators."""

    __slots__ = ()

    def __anext__(self) -> Awaitable[_T_co]:
        item: Awaitable[_T_co] = anext(now(self))
        return item


class AsyncIteratorProxy(Proxy[AsyncIterator[_T_co]], AsyncIteratorRole[_T_co]):
    """A proxy to an async iterator."""

    __slots__ = ()


class AsyncGeneratorRole(
    AsyncIteratorRole[_T_co], AsyncGenerator[_T_co, _S_contra], passes_on=("aclose",)
):
    """For async generators."""

    __slots__ = ()

    def __anext__(self) -> Coroutine[Any, Any, _T_co]:
        item: Coroutine[Any, Any, _T_co] = anext(now(self))
        return item

    def asend(self, value: _S_contra) -> Coroutine[Any, Any, _T_co]:
        """Let the generator go on with a value.

        Returns:
            To be awaited: what it yields next.

        Raises:
            StopAsyncIteration: When awaited, if the generator ends.
        """
        item: Coroutine[Any, Any, _T_co] = now(self).asend(value)
        return item

    def athrow(
        self, typ: Any, val: Any = None, tb: TracebackType | None = None
    ) -> Coroutine[Any, Any, _T_co]:
        """Raise an exception where the generator stands.

        Args:
            typ: The exception, or its class.
            val: An instance of the class, or the argument for one.
            tb: A traceback for the exception.

        Returns:
            To be awaited: what it yields next.

        Raises:
            StopAsyncIteration: When awaited, if the generator ends.
        """
        item: Coroutine[Any, Any, _T_co] = now(self).athrow(_exception(typ, val, tb))
        return item


class AsyncGeneratorProxy(
    Proxy[AsyncGenerator[_T_co, _S_contra]], AsyncGeneratorRole[_T_co, _S_contra]
):
    """A proxy to an async generator."""

    __slots__ = ()


# --- Sequences ------------------------------------------------------------------------------------


class SequenceRole(
    Delegate,
    Sequence[_T_co],
    passes_on=("__contains__", "__iter__", "__reversed__", "index", "count"),
):
    """For sequences."""

    __slots__ = ()

    @overload
    def __getitem__(self, index: int) -> _T_co: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[_T_co]: ...
    def __getitem__(self, index: Any) -> Any:
        return now(self)[index]

    def __len__(self) -> int:
        return len(now(self))


class SequenceProxy(Proxy[Sequence[_T_co]], SequenceRole[_T_co]):
    """A proxy to a sequence."""

    __slots__ = ()


class MutableSequenceRole(
    SequenceRole[_T],
    MutableSequence[_T],
    passes_on=("append", "extend", "reverse", "pop", "remove", "clear"),
):
    """For sequences that can be changed."""

    __slots__ = ()

    @overload
    def __getitem__(self, index: int) -> _T: ...
    @overload
    def __getitem__(self, index: slice) -> MutableSequence[_T]: ...
    def __getitem__(self, index: Any) -> Any:
        return now(self)[index]

    @overload
    def __setitem__(self, index: int, value: _T) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[_T]) -> None: ...
    def __setitem__(self, index: Any, value: Any) -> None:
        now(self)[index] = value

    @overload
    def __delitem__(self, index: int) -> None: ...
    @overload
    def __delitem__(self, index: slice) -> None: ...
    def __delitem__(self, index: Any) -> None:
        del now(self)[index]

    def insert(self, index: int, value: _T) -> None:
        """Put a value in before the one at an index."""
        now(self).insert(index, value)


class MutableSequenceProxy(Proxy[MutableSequence[_T]], MutableSequenceRole[_T]):
    """A proxy to a sequence that can be changed."""

    __slots__ = ()


# --- Sets -----------------------------------------------------------------------------------------


class SetRole(Delegate, AbstractSet[_T_co], passes_on=("isdisjoint",)):
    """For sets. Their operators give what the object's do: a plain set, as a rule."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(now(self))

    def __contains__(self, value: object) -> bool:
        return value in now(self)

    def __iter__(self) -> Iterator[_T_co]:
        return iter(now(self))


class SetProxy(Proxy[AbstractSet[_T_co]], SetRole[_T_co]):
    """A proxy to a set."""

    __slots__ = ()


class MutableSetRole(SetRole[_T], MutableSet[_T], passes_on=("clear", "pop", "remove")):
    """For sets that can be changed."""

    __slots__ = ()

    def add(self, value: _T) -> None:
        """Put a value in."""
        now(self).add(value)

    def discard(self, value: _T) -> None:
        """Take a value out, if it is there."""
        now(self).discard(value)


class MutableSetProxy(Proxy[MutableSet[_T]], MutableSetRole[_T]):
    """A proxy to a set that can be changed."""

    __slots__ = ()


# --- Mappings -------------------------------------------------------------------------------------


class MappingRole(
    Delegate,
    Mapping[_K, _V_co],
    passes_on=("__contains__", "get", "items", "keys", "values"),
):
    """For mappings."""

    __slots__ = ()

    def __getitem__(self, key: _K) -> _V_co:
        value: _V_co = now(self)[key]
        return value

    def __len__(self) -> int:
        return len(now(self))

    def __iter__(self) -> Iterator[_K]:
        return iter(now(self))

    def __reversed__(self) -> Iterator[_K]:
        backwards: Iterator[_K] = reversed(now(self))
        return backwards


class MappingProxy(Proxy[Mapping[_K, _V_co]], MappingRole[_K, _V_co]):
    """A proxy to a mapping."""

    __slots__ = ()


class MutableMappingRole(
    MappingRole[_K, _V],
    MutableMapping[_K, _V],
    passes_on=("clear", "pop", "popitem", "setdefault", "update"),
):
    """For mappings that can be changed."""

    __slots__ = ()

    def __setitem__(self, key: _K, value: _V) -> None:
        now(self)[key] = value

    def __delitem__(self, key: _K) -> None:
        del now(self)[key]


class MutableMappingProxy(Proxy[MutableMapping[_K, _V]], MutableMappingRole[_K, _V]):
    """A proxy to a mapping that can be changed."""

    __slots__ = ()


# --- Contexts -------------------------------------------------------------------------------------


class _Entered:
    """What a block has entered through a proxy, until a block leaves it."""

    __slots__ = ("context", "proxy")

    def __init__(self, proxy: Delegate, context: Any) -> None:
        self.proxy: Delegate | None = proxy
        self.context = context


# What blocks have entered, the innermost first. The variable is set when one is entered, and never when it is left: that
# may be in a generator that garbage collection closes. The top of `structmode.utils.locals` tells what happens then.
_entered: ContextVar[tuple[_Entered, ...]] = ContextVar("structmode_entered", default=())


def _method_of(context: Any, name: str, protocol: str) -> Callable[..., Any]:
    """Return a method as `with` looks it up: on the class."""
    cls = _class_of(context)
    method = getattr(cls, name, None)
    if method is None:
        raise TypeError(f"{cls.__name__!r} object does not support the {protocol} protocol")
    return lambda *args: method(context, *args)


def _note_entered(proxy: Delegate, context: Any) -> None:
    still = (block for block in _entered.get() if block.proxy is not None)
    _entered.set((_Entered(proxy, context), *still))


def _take_entered(proxy: Delegate) -> Any:
    """Return what the innermost block entered; the object of now if that was in another task."""
    for block in _entered.get():
        if block.proxy is proxy:
            context, block.proxy, block.context = block.context, None, None
            return context
    return now(proxy)


class ContextManagerRole(Delegate, AbstractContextManager[_T_co]):
    """For what `with` can enter. What a block has entered is what it leaves."""

    __slots__ = ()

    def __enter__(self) -> _T_co:
        context = now(self)
        value: _T_co = _method_of(context, "__enter__", "context manager")()
        _note_entered(self, context)
        return value

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> bool | None:
        leave = _method_of(_take_entered(self), "__exit__", "context manager")
        handled: bool | None = leave(exc_type, exc_value, traceback)
        return handled


class ContextManagerProxy(Proxy[AbstractContextManager[_T_co]], ContextManagerRole[_T_co]):
    """A proxy to something that `with` can enter."""

    __slots__ = ()


class AsyncContextManagerRole(Delegate, AbstractAsyncContextManager[_T_co]):
    """For what `async with` can enter. What a block has entered is what it leaves."""

    __slots__ = ()

    async def __aenter__(self) -> _T_co:
        context = now(self)
        enter = _method_of(context, "__aenter__", "asynchronous context manager")
        value: _T_co = await enter()
        _note_entered(self, context)
        return value

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> bool | None:
        leave = _method_of(_take_entered(self), "__aexit__", "asynchronous context manager")
        # Whether to shield is for the object to say.
        handled: bool | None = await leave(exc_type, exc_value, traceback)  # noqa: ASYNC102
        return handled


class AsyncContextManagerProxy(
    Proxy[AbstractAsyncContextManager[_T_co]], AsyncContextManagerRole[_T_co]
):
    """A proxy to something that `async with` can enter."""

    __slots__ = ()


# --- Calling --------------------------------------------------------------------------------------


class CallableRole(Delegate):
    """For what can be called."""

    __slots__ = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return now(self)(*args, **kwargs)


class CallableProxy(Proxy[Callable[..., Any]], CallableRole):
    """A proxy to something that can be called."""

    __slots__ = ()
