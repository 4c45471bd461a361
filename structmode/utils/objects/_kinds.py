"""What kind of type an annotation is: a union, an optional one, a container of what.

Theory: a type can be written in several ways that mean the same. ``Optional[int]``, ``Union[int, None]`` and ``int | None``
are one; ``Annotated`` adds what is none of ours; and a ``type`` statement of Python 3.12 gives a type a name, under which
the type itself has to be looked for. What is here looks through all of them.
"""

from __future__ import annotations

import collections.abc
import typing
from types import NoneType, UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

__all__ = (
    "DICT_TYPES",
    "LIST_TYPES",
    "SET_TYPES",
    "TUPLE_TYPES",
    "guess_polymorphic_type",
    "is_optional",
    "is_union",
    "remove_optional",
    "without_alias",
    "without_annotated",
)

#: What counts as a set for `guess_polymorphic_type`.
SET_TYPES: tuple[type, ...] = (
    collections.abc.Set,
    collections.abc.MutableSet,
    frozenset,
    set,
)
#: What counts as a list.
LIST_TYPES: tuple[type, ...] = (
    collections.abc.Sequence,
    collections.abc.MutableSequence,
    list,
)
#: What counts as a tuple.
TUPLE_TYPES: tuple[type, ...] = (tuple,)
#: What counts as a dictionary.
DICT_TYPES: tuple[type, ...] = (
    collections.abc.Mapping,
    collections.abc.MutableMapping,
    dict,
)
# What a `type` statement makes; Python 3.11 has none.
_ALIAS: Any = getattr(typing, "TypeAliasType", ())
# Sequences that nobody means by a list.
_NO_CONTAINERS = (str, bytes, bytearray, memoryview)


def without_alias(typ: Any) -> Any:
    """Return the type that a name of a ``type`` statement stands for, with its parameters; others as they are.

    Raises:
        TypeError: If the name stands for itself.
    """
    seen: list[Any] = []
    while (alias := _alias_of(typ)) is not None:
        if any(typ is other for other in seen):
            raise TypeError(f"type alias {alias.__name__} stands for nothing but itself")
        seen.append(typ)
        typ = alias.__value__ if typ is alias else _fill_in(alias, typ)
    return typ


def _alias_of(typ: Any) -> Any:
    origin: Any = get_origin(typ)
    if isinstance(origin, _ALIAS):
        return origin
    return typ if isinstance(typ, _ALIAS) else None


def _fill_in(alias: Any, typ: Any) -> Any:
    """Return what an alias stands for, with the type's arguments in place of the alias's parameters."""
    value, parameters, arguments = alias.__value__, alias.__type_params__, get_args(typ)
    if value in parameters:
        return arguments[parameters.index(value)]
    wanted = getattr(value, "__parameters__", ())
    if not wanted:
        return value
    if wanted == parameters:
        return value[arguments]
    given = dict(zip(parameters, arguments, strict=True))
    return value[tuple(given[parameter] for parameter in wanted)]


def without_annotated(typ: Any) -> Any:
    """Return a type without ``Annotated`` around it, and not by a name of a ``type`` statement."""
    typ = without_alias(typ)
    while get_origin(typ) is Annotated:
        typ = without_alias(typ.__origin__)
    return typ


def is_union(typ: Any) -> bool:
    """Return whether a type is a union: ``Union[...]``, ``Optional[...]`` or ``A | B``.

    Args:
        typ: The type.
    """
    return get_origin(without_annotated(typ)) in {Union, UnionType}


def is_optional(typ: Any) -> bool:
    """Return whether a type is a union that has `None` in it.

    Args:
        typ: The type.
    """
    return is_union(typ) and any(
        _is_none(arg) or is_optional(arg) for arg in get_args(without_annotated(typ))
    )


def _is_none(typ: Any) -> bool:
    return without_annotated(typ) in (None, NoneType)


def remove_optional(typ: Any) -> Any:
    """Return a type without `None`: ``int`` for ``int | None``.

    Args:
        typ: The type; one that is not optional is returned as it is, and one that is nothing but `None` as the type of that.
    """
    if not is_optional(typ):
        return typ
    arguments = get_args(without_annotated(typ))
    without = (remove_optional(arg) for arg in arguments)
    rest = tuple(arg for arg in without if not _is_none(arg))
    return cast(Any, Union)[rest] if rest else NoneType


def guess_polymorphic_type(
    typ: Any,
    *,
    set_types: tuple[type, ...] = SET_TYPES,
    list_types: tuple[type, ...] = LIST_TYPES,
    tuple_types: tuple[type, ...] = TUPLE_TYPES,
    dict_types: tuple[type, ...] = DICT_TYPES,
) -> tuple[type, Any]:
    """Return the built-in container for a type, and the type of what is in it.

    ``Sequence[int]`` is ``(list, int)``, ``Mapping[str, int] | None`` is ``(dict, int)``, and ``set`` is ``(set, Any)``. Of a
    tuple it is the type of its first item.

    Args:
        typ: The type; `None` in it does not count.
        set_types: What counts as a set.
        list_types: What counts as a list.
        tuple_types: What counts as a tuple.
        dict_types: What counts as a dictionary.

    Raises:
        TypeError: If it is no container.
    """
    bare = without_annotated(remove_optional(typ))
    origin, arguments = get_origin(bare) or bare, get_args(bare)
    if isinstance(origin, type) and not issubclass(origin, _NO_CONTAINERS):
        for kind, types in ((tuple, tuple_types), (set, set_types), (list, list_types)):
            if issubclass(origin, types):
                return kind, arguments[0] if arguments else Any
        if issubclass(origin, dict_types):
            return dict, arguments[1] if len(arguments) > 1 else Any
    raise TypeError(f"{typ!r} is no set, list, tuple or dict")
