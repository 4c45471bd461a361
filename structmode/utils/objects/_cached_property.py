"""A property that is computed once per object.

`functools.cached_property` is this, too, as long as nothing is to happen when the value is set or deleted. This is the one
where something can.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

__all__ = ("cached_property",)

_RT = TypeVar("_RT")


class cached_property(Generic[_RT]):  # noqa: N801 - a decorator
    """A property whose value is computed when it is first read, and kept in the ``__dict__`` of the object.

        class Client:
            @cached_property
            def connection(self) -> Connection:
                return Connection()

    Whoever sets or deletes it sets or deletes what is kept. `setter` and `deleter` add to that:

        def _check(self, value: Connection) -> Connection:
            if value.closed:
                raise ValueError("the connection is closed")
            return value

        connection = connection.setter(_check)

    If several threads read it first at the same time, it may be computed by each, and all get the same value.

    Differs from mode: it goes by the name of the attribute and not of the function, so that two lambdas are two properties;
    `setter` and `deleter` keep the other arguments.

    Args:
        fget: Called with the object, computes the value.
        fset: Called with the object and a value that is being set, returns the value to keep.
        fdel: Called with the object and the value that has been deleted; not if there was none.
        doc: The docstring; by default that of `fget`.
        class_attribute: The name of a class attribute to read instead when the property is read from the class.
    """

    def __init__(
        self,
        fget: Callable[[Any], _RT],
        fset: Callable[[Any, _RT], _RT] | None = None,
        fdel: Callable[[Any, _RT], None] | None = None,
        doc: str | None = None,
        class_attribute: str | None = None,
    ) -> None:
        self.fget = fget
        self.fset = fset
        self.fdel = fdel
        self.class_attribute = class_attribute
        self.__doc__ = doc or fget.__doc__
        self.__name__: str = getattr(fget, "__name__", "")
        self.__module__ = fget.__module__

    def __set_name__(self, owner: type, name: str) -> None:
        self.__name__ = name

    def is_set(self, obj: Any) -> bool:
        """Return whether the property of an object has a value: has been read or set, and not been deleted since.

        The property is `obj`'s class's: ``Client.connection.is_set(client)``.
        """
        return self.__name__ in self._kept_by(obj)

    @overload
    def __get__(self, obj: None, type: type | None = None) -> Self: ...
    @overload
    def __get__(self, obj: object, type: type | None = None) -> _RT: ...

    def __get__(self, obj: Any, type: type | None = None) -> Any:  # noqa: A002 - mode's name
        if obj is None:
            return getattr(type, self.class_attribute) if self.class_attribute else self
        kept = self._kept_by(obj)
        if self.__name__ in kept:
            return kept[self.__name__]
        value = self.fget(obj)
        if self._is_overridden_in(obj.__class__):  # what that makes of it is the value
            return value
        # The first that is stored stays: other threads may have read that one.
        return kept.setdefault(self.__name__, value)

    def __set__(self, obj: Any, value: _RT) -> None:
        kept = self._kept_by(obj)
        kept[self.__name__] = value if self.fset is None else self.fset(obj, value)

    def __delete__(self, obj: Any) -> None:
        kept = self._kept_by(obj)
        if self.__name__ not in kept:
            return
        value = kept.pop(self.__name__)
        if self.fdel is not None:
            self.fdel(obj, value)

    def setter(self, fset: Callable[[Any, _RT], _RT]) -> Self:
        """Return the property with another `fset`."""
        return self._copy(fset, self.fdel)

    def deleter(self, fdel: Callable[[Any, _RT], None]) -> Self:
        """Return the property with another `fdel`."""
        return self._copy(self.fset, fdel)

    def _is_overridden_in(self, cls: type) -> bool:
        """Whether objects of a class have another property of this kind and name, which asks this one by ``super()``."""
        theirs = next(
            (vars(one)[self.__name__] for one in cls.__mro__ if self.__name__ in vars(one)), self
        )
        return theirs is not self and isinstance(theirs, cached_property)

    def _kept_by(self, obj: Any) -> dict[str, Any]:
        try:
            kept: dict[str, Any] = obj.__dict__
        except AttributeError:
            raise TypeError(
                f"{obj.__class__.__qualname__} has no __dict__ in which {self.__name__!r} could be kept: "
                "add '__dict__' to its __slots__"
            ) from None
        return kept

    def _copy(
        self,
        fset: Callable[[Any, _RT], _RT] | None,
        fdel: Callable[[Any, _RT], None] | None,
    ) -> Self:
        return type(self)(self.fget, fset, fdel, self.__doc__, self.class_attribute)
