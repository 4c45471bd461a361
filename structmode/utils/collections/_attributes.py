"""Keys that are attributes, and attributes that are keys."""

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, TypeVar, cast

__all__ = ("AttributeDict", "AttributeDictMixin", "DictAttribute", "force_mapping")

_VT = TypeVar("_VT")


def _refuse_what_typing_sets(key: str) -> None:
    """Say that there is no such attribute: ``AttributeDict[int](...)`` would set it, and takes this for an answer."""
    if key == "__orig_class__":
        raise AttributeError(key)


class AttributeDictMixin:
    """Has keys that can be read, set and deleted as attributes: ``d.key`` is ``d["key"]``.

    For a class that is a mutable mapping. A name that the class itself has, such as ``items``, is read as what it is there,
    and set as a key.

    Differs from mode, where ``del d.key`` deletes nothing.
    """

    def __getattr__(self, key: str) -> Any:
        try:
            return cast("Mapping[str, Any]", self)[key]
        except KeyError:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {key!r}", name=key, obj=self
            ) from None

    def __setattr__(self, key: str, value: Any) -> None:
        _refuse_what_typing_sets(key)
        cast("MutableMapping[str, Any]", self)[key] = value

    def __delattr__(self, key: str) -> None:
        try:
            del cast("MutableMapping[str, Any]", self)[key]
        except KeyError:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {key!r}", name=key, obj=self
            ) from None


class AttributeDict(dict[str, _VT], AttributeDictMixin):
    """A `dict` with keys that are attributes as well."""


class DictAttribute(MutableMapping[str, _VT]):
    """The attributes of an object as a dictionary: ``d["key"]`` is ``obj.key``.

    It has all the attributes that `dir` lists and that can be read, those of the class too. Its own attributes are those of
    the object, but for the methods of a dictionary and for names with two underscores on either side.

    Differs from mode, where iteration lists attributes that can't be read, the length is 0, and nothing can be deleted.

    Args:
        obj: The object.
    """

    #: The object.
    obj: Any

    def __init__(self, obj: Any) -> None:
        object.__setattr__(self, "obj", obj)

    def __getattr__(self, key: str) -> Any:
        # Special names are asked for by `copy` and `pickle`, and mean this object; `obj` is not there while it is restored.
        if key == "obj" or (key.startswith("__") and key.endswith("__")):
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {key!r}", name=key, obj=self
            )
        return getattr(self.obj, key)

    def __setattr__(self, key: str, value: Any) -> None:
        _refuse_what_typing_sets(key)
        setattr(self.obj, key, value)

    def __getitem__(self, key: str) -> _VT:
        if key not in self:
            raise KeyError(key)
        value: _VT = getattr(self.obj, key)
        return value

    def __setitem__(self, key: str, value: _VT) -> None:
        setattr(self.obj, key, value)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        delattr(self.obj, key)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and hasattr(self.obj, key)

    def __iter__(self) -> Iterator[str]:
        return (key for key in dir(self.obj) if key in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.obj!r}>"


def force_mapping(m: Any) -> Mapping[Any, Any]:
    """Return a mapping as it is, and anything else as a `DictAttribute` of it.

    Args:
        m: The mapping or the object.
    """
    thing: object = m
    if isinstance(thing, Mapping):
        return m  # type: ignore[no-any-return]
    attributes: DictAttribute[Any] = DictAttribute(m)
    return attributes
