"""What all proxies have in common: an object, its attributes, and the operators on it.

Python looks special methods up on the class. So there is one here for each operator: written out, since type checkers
take what a factory makes for a variable, and a variable for no operator.

A role need not write out what an abstract class has types for. It names what is passed on to the object:
``class MappingRole(Delegate, Mapping[K, V], passes_on=("get", "items"))``.
"""

from __future__ import annotations

import copy
import functools
import math
import operator
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from structmode._engine import note

#: Attributes that every class has, so that they would be found before those of the object.
_ASKED_OF_THE_OBJECT = frozenset(
    {"__annotations__", "__class__", "__dict__", "__doc__", "__module__"}
)

#: What Python asks in the place of a special method, which the object need not have.
_BY_PYTHON: Mapping[str, Callable[..., Any]] = {
    "__contains__": operator.contains,
    "__iter__": iter,
    "__reversed__": reversed,
}

_NOTHING: Any = object()

#: typeshed leaves the parameters of some operators without types.
_op: Any = operator
_pow: Any = pow


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
        """Call all; what the first to fail raises leaves, with notes on the others."""
        with self._lock:
            pending, self._pending = self._pending, []
        failures: list[Exception] = []
        for call in pending:
            try:
                call()
            except Exception as exc:  # noqa: BLE001 - raised below, when the others have been called
                failures.append(exc)
        for later in failures[1:]:
            note(failures[0], "also raised by another callback", later)
        if failures:
            raise failures[0]


def now(proxy: Delegate) -> Any:
    """Return a proxy's object, by the proxy's own class: `proxy.__class__` is the object's."""
    return type(proxy)._get_current_object(proxy)


# --- What is passed on ----------------------------------------------------------------------------


def _in_place(proxy: Delegate, change: Callable[[Any, Any], Any], other: Any) -> Any:
    """Return what a name stands for after ``name += other``: still the proxy, if the object itself was changed."""
    mine = now(proxy)
    result = change(mine, other)
    return proxy if result is mine else result


def _passed_on(cls: type[Any], name: str) -> Callable[..., Any]:
    """Return the method that passes on what an abstract class has by that name."""
    ask, stated = _BY_PYTHON.get(name), getattr(cls, name)

    @functools.wraps(stated)
    def delegated(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        mine = now(self)
        return getattr(mine, name)(*args, **kwargs) if ask is None else ask(mine, *args)

    delegated.__doc__ = f"Let the object do what ``{stated.__qualname__}`` says."
    return delegated


class Delegate:
    """What `Proxy` and all roles have in common: an object, its attributes, and the operators on it."""

    __slots__ = ("__source", "__weakref__")

    def __init_subclass__(
        cls, *, source: type[Any] | None = None, passes_on: Iterable[str] = (), **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)
        for name in passes_on:
            setattr(cls, name, _passed_on(cls, name))
        if source is None:
            source = vars(cls).get("__proxy_source__")
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
        return now(self)

    def __maybe_evaluate__(self) -> Any:
        """Return the object, as `maybe_evaluate` does."""
        return now(self)

    def __then__(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function once the object is there: at once if it is kept, or else when it is next made."""
        return _source_of(self).then(lambda: fun(*args, **kwargs))

    # --- Attributes

    def __getattribute__(self, name: str) -> Any:
        if name not in _ASKED_OF_THE_OBJECT:
            return object.__getattribute__(self, name)
        given = _source_of(self).given
        return given[name] if name in given else getattr(now(self), name)

    def __getattr__(self, name: str) -> Any:
        if name == "__name__" and name in _source_of(self).given:
            return _source_of(self).given[name]
        return getattr(now(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        # `Proxy[int](...)` sets it, and takes this for an answer; it is no reason to make the object.
        if name == "__orig_class__":
            raise AttributeError(name)
        setattr(now(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(now(self), name)

    def __dir__(self) -> Iterable[str]:
        return dir(now(self))

    # --- As text, and as a truth value

    def __repr__(self) -> str:
        try:
            mine = now(self)
        except (LookupError, RuntimeError) as exc:
            return f"<{type(self).__name__} without an object: {exc!r}>"
        return repr(mine)

    def __str__(self) -> str:
        return str(now(self))

    def __hash__(self) -> int:
        return hash(now(self))

    def __bytes__(self) -> bytes:
        return bytes(now(self))

    def __format__(self, format_spec: str, /) -> str:
        return format(now(self), format_spec)

    def __bool__(self) -> bool:
        return bool(now(self))

    # --- Comparing

    # What it gives need not be a bool; that is how `object` is typed.
    def __eq__(self, other: object, /) -> bool:
        result: bool = now(self) == other
        return result

    def __ne__(self, other: object, /) -> bool:
        result: bool = now(self) != other
        return result

    def __lt__(self, other: Any) -> Any:
        return now(self) < other

    def __le__(self, other: Any) -> Any:
        return now(self) <= other

    def __gt__(self, other: Any) -> Any:
        return now(self) > other

    def __ge__(self, other: Any) -> Any:
        return now(self) >= other

    # --- Numbers

    def __int__(self) -> int:
        return int(now(self))

    def __float__(self) -> float:
        return float(now(self))

    def __complex__(self) -> complex:
        return complex(now(self))

    def __index__(self) -> int:
        return operator.index(now(self))

    def __trunc__(self) -> Any:
        return math.trunc(now(self))

    def __floor__(self) -> Any:
        return math.floor(now(self))

    def __ceil__(self) -> Any:
        return math.ceil(now(self))

    def __neg__(self) -> Any:
        return -now(self)

    def __pos__(self) -> Any:
        return +now(self)

    def __abs__(self) -> Any:
        return abs(now(self))

    def __invert__(self) -> Any:
        return ~now(self)

    def __round__(self, *digits: Any) -> Any:
        return round(now(self), *digits)

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        return _pow(now(self), other, modulo)

    def __rpow__(self, other: Any, modulo: Any = None) -> Any:
        return _pow(other, now(self), modulo)

    def __add__(self, other: Any) -> Any:
        return now(self) + other

    def __sub__(self, other: Any) -> Any:
        return now(self) - other

    def __mul__(self, other: Any) -> Any:
        return now(self) * other

    def __matmul__(self, other: Any) -> Any:
        return now(self) @ other

    def __truediv__(self, other: Any) -> Any:
        return now(self) / other

    def __floordiv__(self, other: Any) -> Any:
        return now(self) // other

    def __mod__(self, other: Any) -> Any:
        return now(self) % other

    def __divmod__(self, other: Any) -> Any:
        return divmod(now(self), other)

    def __lshift__(self, other: Any) -> Any:
        return now(self) << other

    def __rshift__(self, other: Any) -> Any:
        return now(self) >> other

    def __and__(self, other: Any) -> Any:
        return now(self) & other

    def __or__(self, other: Any) -> Any:
        return now(self) | other

    def __xor__(self, other: Any) -> Any:
        return now(self) ^ other

    def __radd__(self, other: Any) -> Any:
        return other + now(self)

    def __rsub__(self, other: Any) -> Any:
        return other - now(self)

    def __rmul__(self, other: Any) -> Any:
        return other * now(self)

    def __rmatmul__(self, other: Any) -> Any:
        return other @ now(self)

    def __rtruediv__(self, other: Any) -> Any:
        return other / now(self)

    def __rfloordiv__(self, other: Any) -> Any:
        return other // now(self)

    def __rmod__(self, other: Any) -> Any:
        return other % now(self)

    def __rdivmod__(self, other: Any) -> Any:
        return divmod(other, now(self))

    def __rlshift__(self, other: Any) -> Any:
        return other << now(self)

    def __rrshift__(self, other: Any) -> Any:
        return other >> now(self)

    def __rand__(self, other: Any) -> Any:
        return other & now(self)

    def __ror__(self, other: Any) -> Any:
        return other | now(self)

    def __rxor__(self, other: Any) -> Any:
        return other ^ now(self)

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
        return isinstance(instance, now(self))

    def __subclasscheck__(self, subclass: Any) -> bool:
        return issubclass(subclass, now(self))

    # --- Copies and pickles are those of the object: where the copy is, the function may mean nothing

    def __copy__(self) -> Any:
        return copy.copy(now(self))

    def __deepcopy__(self, other: Any) -> Any:
        return copy.deepcopy(now(self), other)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # The object in a tuple, and how to take it out: a pickle that needs nothing of ours to be read.
        return operator.getitem, ((now(self),), 0)


_source_of: Callable[[Delegate], _Source] = vars(Delegate)["_Delegate__source"].__get__


def _stand_in_for(cls: type[Delegate], source: type[Any]) -> None:
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


def _is_lacking(cls: type[Delegate], name: str) -> bool:
    found = getattr(cls, name, None)
    return found is None or getattr(found, "__isabstractmethod__", False)


def _attribute(name: str) -> Callable[[Any], Any]:
    return lambda self: getattr(now(self), name)
