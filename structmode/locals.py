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

import copy
import math
import operator
import threading
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Sequence,
    Set as AbstractSet,
    ValuesView,
)
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Generic, TypeVar, overload

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

_D = TypeVar("_D")
_K = TypeVar("_K")
_R_co = TypeVar("_R_co", covariant=True)
_S_contra = TypeVar("_S_contra", contravariant=True)
_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_V = TypeVar("_V")
_V_co = TypeVar("_V_co", covariant=True)

#: Attributes that every class has, so that they would be found before those of the object.
_ASKED_OF_THE_OBJECT = frozenset(
    {"__annotations__", "__class__", "__dict__", "__doc__", "__module__"}
)

_NOTHING: Any = object()

#: typeshed leaves the parameters of some operators without types.
_op: Any = operator
_pow: Any = pow
_class_of: Callable[[Any], type[Any]] = type


# --- Where the object comes from ------------------------------------------------------------------


class _Source:
    """What a proxy knows: how to get its object, the object if it is kept, and what it was given for a name."""

    __slots__ = ("_args", "_keep", "_kept", "_kwargs", "_local", "_lock", "_pending", "given")

    def __init__(
        self,
        local: Callable[..., Any],
        args: Iterable[Any],
        kwargs: Mapping[str, Any],
        *,
        keep: bool,
        given: dict[str, str],
    ) -> None:
        self._local = local
        self._args = tuple(args)
        self._kwargs = dict(kwargs)
        self._kept = _NOTHING
        self._keep = keep
        # Threads that need a kept object at the same time get the same one. One thread may enter
        # twice: what it then meets is its own recursion, and no deadlock.
        self._lock = threading.RLock()
        self._pending: list[Callable[[], object]] = []
        self.given = given

    @property
    def evaluated(self) -> bool:
        return self._kept is not _NOTHING

    def get(self) -> Any:
        if self._kept is not _NOTHING:
            return self._kept
        found = self._make_once() if self._keep else self._make()
        if self._pending:
            self._call_pending()
        return found

    def then(self, call: Callable[[], object]) -> Any:
        with self._lock:
            if not self.evaluated:
                self._pending.append(call)
                return None
        return call()

    def _make(self) -> Any:
        return self._local(*self._args, **self._kwargs)

    def _make_once(self) -> Any:
        with self._lock:
            if self._kept is _NOTHING:
                self._kept = self._make()
            return self._kept

    def _call_pending(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, []
        for call in pending:
            call()


def _now(proxy: _Delegate) -> Any:
    """Return a proxy's object, by the proxy's own class: `proxy.__class__` is the object's."""
    return type(proxy)._get_current_object(proxy)


def _in_place(proxy: _Delegate, change: Callable[[Any, Any], Any], other: Any) -> Any:
    """Return what a name stands for after ``name += other``: still the proxy, if the object itself was changed."""
    mine = _now(proxy)
    result = change(mine, other)
    return proxy if result is mine else result


class _Delegate:
    """What `Proxy` and all roles have in common: an object, its attributes, and the operators on it."""

    __slots__ = ("__source", "__weakref__")

    def __init_subclass__(cls, *, source: type[Any] | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if source is not None:
            _stand_in_for(cls, source)

    def __init__(
        self,
        local: Callable[..., Any],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        cache: bool = False,
        __doc__: str | None = None,  # noqa: A002 - mode's name for it
    ) -> None:
        if not callable(local):
            raise TypeError(
                f"a proxy needs a function that returns the object, not {local!r}; "
                f"for an object that exists already: {type(self).__name__}(lambda: obj)"
            )
        named = {"__name__": name, "__doc__": __doc__}
        given = {key: value for key, value in named.items() if value is not None}
        source = _Source(local, args or (), kwargs or {}, keep=cache, given=given)
        object.__setattr__(self, "_Delegate__source", source)

    # --- The object

    def _get_current_object(self) -> Any:
        return _source_of(self).get()

    def __evaluated__(self) -> bool:
        """Return whether the object has been made, and is kept."""
        return _source_of(self).evaluated

    def __evaluate__(self) -> Any:
        """Return the object, which is made now unless it is kept already."""
        return _now(self)

    def __maybe_evaluate__(self) -> Any:
        """Return the object, as `maybe_evaluate` does."""
        return _now(self)

    def __then__(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function once the object is there: at once if it is kept, or else when it is next made."""
        return _source_of(self).then(lambda: fun(*args, **kwargs))

    # --- Attributes

    def __getattribute__(self, name: str) -> Any:
        if name not in _ASKED_OF_THE_OBJECT:
            return object.__getattribute__(self, name)
        given = _source_of(self).given
        return given[name] if name in given else getattr(_now(self), name)

    def __getattr__(self, name: str) -> Any:
        if name == "__name__" and name in _source_of(self).given:
            return _source_of(self).given[name]
        return getattr(_now(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        # `Proxy[int](...)` sets it, and takes this for an answer; it is no reason to make the object.
        if name == "__orig_class__":
            raise AttributeError(name)
        setattr(_now(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_now(self), name)

    def __dir__(self) -> Iterable[str]:
        return dir(_now(self))

    # --- As text, and as a truth value

    def __repr__(self) -> str:
        try:
            mine = _now(self)
        except (LookupError, RuntimeError) as exc:
            return f"<{type(self).__name__} without an object: {exc!r}>"
        return repr(mine)

    def __str__(self) -> str:
        return str(_now(self))

    def __hash__(self) -> int:
        return hash(_now(self))

    def __bytes__(self) -> bytes:
        return bytes(_now(self))

    def __format__(self, format_spec: str, /) -> str:
        return format(_now(self), format_spec)

    def __bool__(self) -> bool:
        return bool(_now(self))

    # --- Comparing

    # What it gives need not be a bool; that is how `object` is typed.
    def __eq__(self, other: object, /) -> bool:
        result: bool = _now(self) == other
        return result

    def __ne__(self, other: object, /) -> bool:
        result: bool = _now(self) != other
        return result

    def __lt__(self, other: Any) -> Any:
        return _now(self) < other

    def __le__(self, other: Any) -> Any:
        return _now(self) <= other

    def __gt__(self, other: Any) -> Any:
        return _now(self) > other

    def __ge__(self, other: Any) -> Any:
        return _now(self) >= other

    # --- Numbers

    def __int__(self) -> int:
        return int(_now(self))

    def __float__(self) -> float:
        return float(_now(self))

    def __complex__(self) -> complex:
        return complex(_now(self))

    def __index__(self) -> int:
        return operator.index(_now(self))

    def __trunc__(self) -> Any:
        return math.trunc(_now(self))

    def __floor__(self) -> Any:
        return math.floor(_now(self))

    def __ceil__(self) -> Any:
        return math.ceil(_now(self))

    def __neg__(self) -> Any:
        return -_now(self)

    def __pos__(self) -> Any:
        return +_now(self)

    def __abs__(self) -> Any:
        return abs(_now(self))

    def __invert__(self) -> Any:
        return ~_now(self)

    def __round__(self, *digits: Any) -> Any:
        return round(_now(self), *digits)

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        return _pow(_now(self), other, modulo)

    def __rpow__(self, other: Any, modulo: Any = None) -> Any:
        return _pow(other, _now(self), modulo)

    def __add__(self, other: Any) -> Any:
        return _now(self) + other

    def __sub__(self, other: Any) -> Any:
        return _now(self) - other

    def __mul__(self, other: Any) -> Any:
        return _now(self) * other

    def __matmul__(self, other: Any) -> Any:
        return _now(self) @ other

    def __truediv__(self, other: Any) -> Any:
        return _now(self) / other

    def __floordiv__(self, other: Any) -> Any:
        return _now(self) // other

    def __mod__(self, other: Any) -> Any:
        return _now(self) % other

    def __divmod__(self, other: Any) -> Any:
        return divmod(_now(self), other)

    def __lshift__(self, other: Any) -> Any:
        return _now(self) << other

    def __rshift__(self, other: Any) -> Any:
        return _now(self) >> other

    def __and__(self, other: Any) -> Any:
        return _now(self) & other

    def __or__(self, other: Any) -> Any:
        return _now(self) | other

    def __xor__(self, other: Any) -> Any:
        return _now(self) ^ other

    def __radd__(self, other: Any) -> Any:
        return other + _now(self)

    def __rsub__(self, other: Any) -> Any:
        return other - _now(self)

    def __rmul__(self, other: Any) -> Any:
        return other * _now(self)

    def __rmatmul__(self, other: Any) -> Any:
        return other @ _now(self)

    def __rtruediv__(self, other: Any) -> Any:
        return other / _now(self)

    def __rfloordiv__(self, other: Any) -> Any:
        return other // _now(self)

    def __rmod__(self, other: Any) -> Any:
        return other % _now(self)

    def __rdivmod__(self, other: Any) -> Any:
        return divmod(other, _now(self))

    def __rlshift__(self, other: Any) -> Any:
        return other << _now(self)

    def __rrshift__(self, other: Any) -> Any:
        return other >> _now(self)

    def __rand__(self, other: Any) -> Any:
        return other & _now(self)

    def __ror__(self, other: Any) -> Any:
        return other | _now(self)

    def __rxor__(self, other: Any) -> Any:
        return other ^ _now(self)

    def __iadd__(self, other: Any) -> Any:
        return _in_place(self, _op.iadd, other)

    def __isub__(self, other: Any) -> Any:
        return _in_place(self, _op.isub, other)

    def __imul__(self, other: Any) -> Any:
        return _in_place(self, _op.imul, other)

    def __imatmul__(self, other: Any) -> Any:
        return _in_place(self, _op.imatmul, other)

    def __itruediv__(self, other: Any) -> Any:
        return _in_place(self, _op.itruediv, other)

    def __ifloordiv__(self, other: Any) -> Any:
        return _in_place(self, _op.ifloordiv, other)

    def __imod__(self, other: Any) -> Any:
        return _in_place(self, _op.imod, other)

    def __ipow__(self, other: Any, modulo: Any = None) -> Any:
        return _in_place(self, _op.ipow, other)

    def __ilshift__(self, other: Any) -> Any:
        return _in_place(self, _op.ilshift, other)

    def __irshift__(self, other: Any) -> Any:
        return _in_place(self, _op.irshift, other)

    def __iand__(self, other: Any) -> Any:
        return _in_place(self, _op.iand, other)

    def __ior__(self, other: Any) -> Any:
        return _in_place(self, _op.ior, other)

    def __ixor__(self, other: Any) -> Any:
        return _in_place(self, _op.ixor, other)

    # --- Classes: `isinstance(obj, proxy)`

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, _now(self))

    def __subclasscheck__(self, subclass: Any) -> bool:
        return issubclass(subclass, _now(self))

    # --- Copies and pickles are those of the object: where the copy is, the function may mean nothing

    def __copy__(self) -> Any:
        return copy.copy(_now(self))

    def __deepcopy__(self, other: Any) -> Any:
        return copy.deepcopy(_now(self), other)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # The object in a tuple, and how to take it out: a pickle that needs nothing of ours to be read.
        return operator.getitem, ((_now(self),), 0)


_source_of: Callable[[_Delegate], _Source] = vars(_Delegate)["_Delegate__source"].__get__


def _stand_in_for(cls: type[_Delegate], source: type[Any]) -> None:
    """Let a class of proxies have what an abstract class demands, and count as a subclass of it."""
    names: frozenset[str] | None = getattr(source, "__abstractmethods__", None)
    if names is None:
        raise TypeError(
            f"class {cls.__name__}: source= takes an abstract class, one that derives from abc.ABC, and not {source!r}"
        )
    for name in sorted(names):
        if _is_lacking(cls, name):
            setattr(cls, name, property(_attribute(name)))
    source.register(cls)


def _is_lacking(cls: type[_Delegate], name: str) -> bool:
    found = getattr(cls, name, None)
    return found is None or getattr(found, "__isabstractmethod__", False)


def _attribute(name: str) -> Callable[[Any], Any]:
    return lambda self: getattr(_now(self), name)


class Proxy(_Delegate, Generic[_T_co]):
    """A stand-in for the object that a function returns.

    The function is called each time that the object is needed, or once only, with `cache`. What is done to the proxy is
    done to the object; see the top of this module for what needs a role besides. A subclass may have methods of its
    own; attributes that it sets are set on the object. Copies and pickles are copies and pickles of the object.

    `class RequestProxy(Proxy[Request], source=Request):` has all that the abstract class ``Request`` demands, and
    `issubclass(RequestProxy, Request)` is true.

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
    return _now(obj) if issubclass(type(obj), _Delegate) else obj


# --- Awaiting -------------------------------------------------------------------------------------


async def _result_of(awaitable: Any) -> Any:
    return await awaitable


class AwaitableRole(_Delegate, Awaitable[_T_co]):
    """For what can be awaited."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, _T_co]:
        return _result_of(_now(self)).__await__()


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
        yielded: _T_co = _now(self).send(value)
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
        yielded: _T_co = _now(self).throw(_exception(typ, val, tb))
        return yielded

    def close(self) -> None:
        """Raise `GeneratorExit` where the coroutine stands, so that it ends."""
        _now(self).close()


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


class AsyncIterableRole(_Delegate, AsyncIterable[_T_co]):
    """For what `async for` can go over."""

    __slots__ = ()

    def __aiter__(self) -> AsyncIterator[_T_co]:
        iterator: AsyncIterator[_T_co] = aiter(_now(self))
        return iterator


class AsyncIterableProxy(Proxy[AsyncIterable[_T_co]], AsyncIterableRole[_T_co]):
    """A proxy to something that `async for` can go over."""

    __slots__ = ()


class AsyncIteratorRole(AsyncIterableRole[_T_co], AsyncIterator[_T_co]):
    """For async iterators."""

    __slots__ = ()

    def __anext__(self) -> Awaitable[_T_co]:
        item: Awaitable[_T_co] = anext(_now(self))
        return item


class AsyncIteratorProxy(Proxy[AsyncIterator[_T_co]], AsyncIteratorRole[_T_co]):
    """A proxy to an async iterator."""

    __slots__ = ()


class AsyncGeneratorRole(AsyncIteratorRole[_T_co], AsyncGenerator[_T_co, _S_contra]):
    """For async generators."""

    __slots__ = ()

    def __anext__(self) -> Coroutine[Any, Any, _T_co]:
        item: Coroutine[Any, Any, _T_co] = anext(_now(self))
        return item

    def asend(self, value: _S_contra) -> Coroutine[Any, Any, _T_co]:
        """Let the generator go on with a value.

        Returns:
            To be awaited: what it yields next.

        Raises:
            StopAsyncIteration: When awaited, if the generator ends.
        """
        item: Coroutine[Any, Any, _T_co] = _now(self).asend(value)
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
        item: Coroutine[Any, Any, _T_co] = _now(self).athrow(_exception(typ, val, tb))
        return item

    def aclose(self) -> Coroutine[Any, Any, None]:
        """Raise `GeneratorExit` where the generator stands, so that it ends.

        Returns:
            To be awaited.
        """
        closing: Coroutine[Any, Any, None] = _now(self).aclose()
        return closing


class AsyncGeneratorProxy(
    Proxy[AsyncGenerator[_T_co, _S_contra]], AsyncGeneratorRole[_T_co, _S_contra]
):
    """A proxy to an async generator."""

    __slots__ = ()


# --- Sequences ------------------------------------------------------------------------------------


class SequenceRole(_Delegate, Sequence[_T_co]):
    """For sequences."""

    __slots__ = ()

    @overload
    def __getitem__(self, index: int) -> _T_co: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[_T_co]: ...
    def __getitem__(self, index: Any) -> Any:
        return _now(self)[index]

    def __len__(self) -> int:
        return len(_now(self))

    def __contains__(self, value: object) -> bool:
        return value in _now(self)

    def __iter__(self) -> Iterator[_T_co]:
        return iter(_now(self))

    def __reversed__(self) -> Iterator[_T_co]:
        backwards: Iterator[_T_co] = reversed(_now(self))
        return backwards

    def index(self, value: Any, *args: Any, **kwargs: Any) -> int:
        """Return where a value stands first.

        Args:
            value: The value.
            args: Where to begin, and before what place to end.
            kwargs: More arguments, if the object takes any.

        Returns:
            The index.

        Raises:
            ValueError: If it isn't there.
        """
        place: int = _now(self).index(value, *args, **kwargs)
        return place

    def count(self, value: Any) -> int:
        """Return how many times a value is there."""
        times: int = _now(self).count(value)
        return times


class SequenceProxy(Proxy[Sequence[_T_co]], SequenceRole[_T_co]):
    """A proxy to a sequence."""

    __slots__ = ()


class MutableSequenceRole(SequenceRole[_T], MutableSequence[_T]):
    """For sequences that can be changed."""

    __slots__ = ()

    @overload
    def __getitem__(self, index: int) -> _T: ...
    @overload
    def __getitem__(self, index: slice) -> MutableSequence[_T]: ...
    def __getitem__(self, index: Any) -> Any:
        return _now(self)[index]

    @overload
    def __setitem__(self, index: int, value: _T) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[_T]) -> None: ...
    def __setitem__(self, index: Any, value: Any) -> None:
        _now(self)[index] = value

    @overload
    def __delitem__(self, index: int) -> None: ...
    @overload
    def __delitem__(self, index: slice) -> None: ...
    def __delitem__(self, index: Any) -> None:
        del _now(self)[index]

    def insert(self, index: int, value: _T) -> None:
        """Put a value in before the one at an index."""
        _now(self).insert(index, value)

    def append(self, value: _T) -> None:
        """Put a value at the end."""
        _now(self).append(value)

    def extend(self, values: Iterable[_T]) -> None:
        """Put several values at the end."""
        _now(self).extend(values)

    def reverse(self) -> None:
        """Turn the order around, in place."""
        _now(self).reverse()

    def pop(self, *index: Any) -> _T:
        """Take a value out: the last, or the one at an index.

        Returns:
            The value.

        Raises:
            IndexError: If there is none.
        """
        value: _T = _now(self).pop(*index)
        return value

    def remove(self, value: _T) -> None:
        """Take a value out where it stands first.

        Raises:
            ValueError: If it isn't there.
        """
        _now(self).remove(value)

    def clear(self) -> None:
        """Take all values out."""
        _now(self).clear()


class MutableSequenceProxy(Proxy[MutableSequence[_T]], MutableSequenceRole[_T]):
    """A proxy to a sequence that can be changed."""

    __slots__ = ()


# --- Sets -----------------------------------------------------------------------------------------


class SetRole(_Delegate, AbstractSet[_T_co]):
    """For sets. Their operators give what the object's do: a plain set, as a rule."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(_now(self))

    def __contains__(self, value: object) -> bool:
        return value in _now(self)

    def __iter__(self) -> Iterator[_T_co]:
        return iter(_now(self))

    def isdisjoint(self, other: Iterable[Any]) -> bool:
        """Return whether nothing is in both."""
        apart: bool = _now(self).isdisjoint(other)
        return apart


class SetProxy(Proxy[AbstractSet[_T_co]], SetRole[_T_co]):
    """A proxy to a set."""

    __slots__ = ()


class MutableSetRole(SetRole[_T], MutableSet[_T]):
    """For sets that can be changed."""

    __slots__ = ()

    def add(self, value: _T) -> None:
        """Put a value in."""
        _now(self).add(value)

    def discard(self, value: _T) -> None:
        """Take a value out, if it is there."""
        _now(self).discard(value)

    def clear(self) -> None:
        """Take all values out."""
        _now(self).clear()

    def pop(self) -> _T:
        """Take some value out.

        Returns:
            The value.

        Raises:
            KeyError: If the set is empty.
        """
        value: _T = _now(self).pop()
        return value

    def remove(self, value: _T) -> None:
        """Take a value out.

        Raises:
            KeyError: If it isn't there.
        """
        _now(self).remove(value)


class MutableSetProxy(Proxy[MutableSet[_T]], MutableSetRole[_T]):
    """A proxy to a set that can be changed."""

    __slots__ = ()


# --- Mappings -------------------------------------------------------------------------------------


class MappingRole(_Delegate, Mapping[_K, _V_co]):
    """For mappings."""

    __slots__ = ()

    def __getitem__(self, key: _K) -> _V_co:
        value: _V_co = _now(self)[key]
        return value

    def __len__(self) -> int:
        return len(_now(self))

    def __contains__(self, key: object) -> bool:
        return key in _now(self)

    def __iter__(self) -> Iterator[_K]:
        return iter(_now(self))

    def __reversed__(self) -> Iterator[_K]:
        backwards: Iterator[_K] = reversed(_now(self))
        return backwards

    @overload
    def get(self, key: _K, /) -> _V_co | None: ...
    @overload
    def get(self, key: _K, default: _V_co, /) -> _V_co: ...  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues] - as in typeshed
    @overload
    def get(self, key: _K, default: _D, /) -> _V_co | _D: ...
    def get(self, key: Any, default: Any = None, /) -> Any:
        """Return the value of a key, or the default if there is none."""
        return _now(self).get(key, default)

    def items(self) -> ItemsView[_K, _V_co]:
        """Return a view of the keys with their values."""
        view: ItemsView[_K, _V_co] = _now(self).items()
        return view

    def keys(self) -> KeysView[_K]:
        """Return a view of the keys."""
        view: KeysView[_K] = _now(self).keys()
        return view

    def values(self) -> ValuesView[_V_co]:
        """Return a view of the values."""
        view: ValuesView[_V_co] = _now(self).values()
        return view


class MappingProxy(Proxy[Mapping[_K, _V_co]], MappingRole[_K, _V_co]):
    """A proxy to a mapping."""

    __slots__ = ()


class MutableMappingRole(MappingRole[_K, _V], MutableMapping[_K, _V]):
    """For mappings that can be changed."""

    __slots__ = ()

    def __setitem__(self, key: _K, value: _V) -> None:
        _now(self)[key] = value

    def __delitem__(self, key: _K) -> None:
        del _now(self)[key]

    def clear(self) -> None:
        """Take all keys out."""
        _now(self).clear()

    @overload
    def pop(self, key: _K, /) -> _V: ...
    @overload
    def pop(self, key: _K, default: _V, /) -> _V: ...
    @overload
    def pop(self, key: _K, default: _D, /) -> _V | _D: ...
    def pop(self, key: Any, /, *default: Any) -> Any:
        """Take a key out.

        Returns:
            Its value, or the default if there is none.

        Raises:
            KeyError: If the key isn't there, and no default was given.
        """
        return _now(self).pop(key, *default)

    def popitem(self) -> tuple[_K, _V]:
        """Take some key out.

        Returns:
            The key and its value.

        Raises:
            KeyError: If the mapping is empty.
        """
        item: tuple[_K, _V] = _now(self).popitem()
        return item

    @overload
    def setdefault(
        self: MutableMapping[_K, _D | None], key: _K, default: None = None, /
    ) -> _D | None: ...
    @overload
    def setdefault(self, key: _K, default: _V, /) -> _V: ...
    def setdefault(self, key: Any, /, *default: Any) -> Any:
        """Return the value of a key, after giving it the default if it had none."""
        return _now(self).setdefault(key, *default)

    def update(self, *other: Any, **kwargs: Any) -> None:
        """Set keys to values: those of a mapping or of pairs, then those of keyword arguments."""
        _now(self).update(*other, **kwargs)


class MutableMappingProxy(Proxy[MutableMapping[_K, _V]], MutableMappingRole[_K, _V]):
    """A proxy to a mapping that can be changed."""

    __slots__ = ()


# --- Contexts -------------------------------------------------------------------------------------

# What has been entered through a proxy and not left yet, so that it is what is left.
_entered: ContextVar[tuple[tuple[_Delegate, Any], ...]] = ContextVar("entered", default=())


def _method_of(context: Any, name: str, protocol: str) -> Callable[..., Any]:
    """Return a method as `with` looks it up: on the class."""
    cls = _class_of(context)
    method = getattr(cls, name, None)
    if method is None:
        raise TypeError(f"{cls.__name__!r} object does not support the {protocol} protocol")
    return lambda *args: method(context, *args)


def _note_entered(proxy: _Delegate, context: Any) -> None:
    _entered.set(((proxy, context), *_entered.get()))


def _take_entered(proxy: _Delegate) -> Any:
    """Return what the innermost block entered; the object of now if that was in another task."""
    entered = _entered.get()
    for place, (owner, context) in enumerate(entered):
        if owner is proxy:
            _entered.set((*entered[:place], *entered[place + 1 :]))
            return context
    return _now(proxy)


class ContextManagerRole(_Delegate, AbstractContextManager[_T_co]):
    """For what `with` can enter. What a block has entered is what it leaves."""

    __slots__ = ()

    def __enter__(self) -> _T_co:
        context = _now(self)
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


class AsyncContextManagerRole(_Delegate, AbstractAsyncContextManager[_T_co]):
    """For what `async with` can enter. What a block has entered is what it leaves."""

    __slots__ = ()

    async def __aenter__(self) -> _T_co:
        context = _now(self)
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


class CallableRole(_Delegate):
    """For what can be called."""

    __slots__ = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _now(self)(*args, **kwargs)


class CallableProxy(Proxy[Callable[..., Any]], CallableRole):
    """A proxy to something that can be called."""

    __slots__ = ()
