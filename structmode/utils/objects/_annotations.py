"""The fields of a class: their types and their defaults.

Theory: an annotation is a type, or the text of one, or has such texts in it; and the text means what it means in the class
that it was written in. `typing.get_type_hints` knows all that, but for a whole class, with all its bases, or for nothing. So
each annotation goes to it on a class of its own: then one that can't be evaluated can be named, and those of the bases that
nobody asked for are left alone.
"""

import inspect
import sys
import typing
from collections.abc import Container, Iterable, Iterator, Mapping
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, ClassVar, ForwardRef, TypeAlias, get_origin, get_type_hints

from structmode.utils.objects._kinds import without_alias, without_annotated

__all__ = (
    "DefaultsMapping",
    "FieldMapping",
    "InvalidAnnotation",
    "annotations",
    "eval_type",
    "iter_mro_reversed",
    "local_annotations",
)

#: The types of fields by their names.
FieldMapping: TypeAlias = Mapping[str, Any]
#: The defaults of fields by their names.
DefaultsMapping: TypeAlias = Mapping[str, Any]


class InvalidAnnotation(Exception):
    """A field has a type that was ruled out; the type is the one argument."""


def annotations(
    cls: type,
    *,
    stop: type = object,
    invalid_types: Container[Any] | None = None,
    alias_types: Mapping[Any, Any] | None = None,
    skip_classvar: bool = False,
    globalns: dict[str, Any] | None = None,
    localns: dict[str, Any] | None = None,
) -> tuple[FieldMapping, DefaultsMapping]:
    """Return the fields of a class, those of its bases first.

        class Point:
            x: float
            y: float

        class Point3D(Point):
            z: float = 0.0

        fields, defaults = annotations(Point3D)
        # {"x": float, "y": float, "z": float} and {"z": 0.0}

    Differs from mode: what is no field is no default.

    Args:
        cls: The class.
        stop: The base at which to stop: its own fields and those of its bases are left out.
        invalid_types: Types that no field may have; subclasses of them do not count.
        alias_types: Types to replace, by what.
        skip_classvar: Whether to leave out what is annotated as ``ClassVar``.
        globalns: The names that texts may use; by default those of the module and of the class that the field is in.
        localns: More of them, which come first.

    Returns:
        The types of the fields, and the defaults of those that have one.

    Raises:
        InvalidAnnotation: If a field has one of the invalid types.
        NameError: If a text names something that is not there; a note says of which field it is.
        ValueError: If `stop` is no base of the class.
    """
    fields: dict[str, Any] = {}
    classes = list(iter_mro_reversed(cls, stop))
    for one in classes:
        fields.update(
            local_annotations(
                one,
                invalid_types=invalid_types,
                alias_types=alias_types,
                skip_classvar=skip_classvar,
                globalns=globalns,
                localns=localns,
            )
        )
    defaults = {
        name: value for one in classes for name, value in _values(one).items() if name in fields
    }
    return fields, defaults


def local_annotations(
    cls: type,
    *,
    invalid_types: Container[Any] | None = None,
    alias_types: Mapping[Any, Any] | None = None,
    skip_classvar: bool = False,
    globalns: dict[str, Any] | None = None,
    localns: dict[str, Any] | None = None,
) -> Iterable[tuple[str, Any]]:
    """Iterate over the fields that a class itself has, and their types; the arguments are those of `annotations`."""
    names = _names_in(cls) if globalns is None else globalns
    more = {**_type_parameters(cls), **(localns or {})}
    for field, annotation in _own_annotations(cls).items():
        try:
            typ = eval_type(annotation, names, more, invalid_types, alias_types)
        except Exception as error:
            error.add_note(
                f"This is about field {field!r} of {cls.__qualname__}, annotated as {annotation!r}."
            )
            raise
        if not (skip_classvar and _is_class_var(typ)):
            yield field, typ


def eval_type(
    typ: Any,
    globalns: dict[str, Any] | None = None,
    localns: dict[str, Any] | None = None,
    invalid_types: Container[Any] | None = None,
    alias_types: Mapping[Any, Any] | None = None,
) -> Any:
    """Return the type that an annotation means.

    Texts and forward references are evaluated, those inside of other types, too. A name of a ``type`` statement is replaced by
    what it stands for, in which a text means what it means in that name's module; inside of other types such a name stays,
    and so does ``Annotated``.

    Args:
        typ: The annotation: a type, or the text of one, such as ``"List[int]"``.
        globalns: The names that texts may use; by default those of `typing`.
        localns: More of them, which come first.
        invalid_types: Types that it must not be; subclasses of them do not count.
        alias_types: Types to replace, by what.

    Raises:
        InvalidAnnotation: If it is one of the invalid types.
        NameError: If a text names something that is not there.
        SyntaxError: If a text is no expression.
    """
    evaluated = _evaluate(typ, globalns, localns)
    meant = without_alias(evaluated)
    if meant is not evaluated:
        meant = _evaluate(meant, _names_in_module(evaluated), localns)
    # Who rules out or replaces a name means the name, and who does so with a type means the type by any name.
    for candidate in (evaluated, meant):
        if _is_in(candidate, invalid_types):
            raise InvalidAnnotation(candidate)
        if alias_types is not None and _is_in(candidate, alias_types):
            return alias_types[candidate]
    return meant


def iter_mro_reversed(cls: type, stop: type) -> Iterable[type]:
    """Iterate over the bases of a class, the most general first; the last is the class itself.

    Args:
        cls: The class.
        stop: The base after which to begin: with a class ``C(B)`` and its base ``B(A)``, and ``stop=A``, it is ``B``, ``C``.

    Raises:
        ValueError: If it is no base of the class.
    """
    if stop not in cls.__mro__:
        raise ValueError(
            f"stop={stop.__qualname__} is no base of {cls.__qualname__}; "
            f"its bases are {', '.join(base.__qualname__ for base in cls.__mro__[1:])}"
        )
    return _iter_after(cls, stop)


def _iter_after(cls: type, stop: type) -> Iterator[type]:
    classes = reversed(cls.__mro__)
    next(base for base in classes if base is stop)
    yield from classes


def _own_annotations(cls: type) -> dict[str, Any]:
    if sys.version_info >= (3, 14):  # pragma: no cover - on 3.14 only
        import annotationlib

        # What can't be evaluated yet comes as a forward reference, which knows where it is from.
        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(cls)


def _names_in(cls: type) -> dict[str, Any]:
    """Return the names that the texts of a class may use.

    Those of the module win: a field that is called like its type would hide it otherwise.
    """
    return {**vars(cls), **_names_in_module(cls)}


def _names_in_module(thing: Any) -> dict[str, Any]:
    module = sys.modules.get(thing.__module__)
    return vars(module) if module is not None else {}


def _type_parameters(cls: type) -> dict[str, Any]:
    return {parameter.__name__: parameter for parameter in getattr(cls, "__type_params__", ())}


def _evaluate(
    annotation: Any, globalns: dict[str, Any] | None, localns: dict[str, Any] | None
) -> Any:
    if isinstance(annotation, type):  # the most frequent, and it is what it is
        return annotation
    if sys.version_info < (3, 14) and isinstance(annotation, ForwardRef):
        # As a text it may be ClassVar, which a forward reference may not.
        module = annotation.__forward_module__
        annotation = annotation if module is not None else annotation.__forward_arg__
    if isinstance(annotation, str) and not annotation:
        # Said here, since Python 3.11 and 3.12 look for the first character of it.
        raise SyntaxError("an annotation is empty: it has to be a type, or the text of one")
    # Copies: to evaluate something adds the built-ins to them.
    names = dict(vars(typing) if globalns is None else globalns)
    holder = type("_Holder", (), {"__annotations__": {"it": annotation}})
    return get_type_hints(holder, names, dict(localns or {}), include_extras=True)["it"]


def _is_class_var(typ: Any) -> bool:
    bare = without_annotated(typ)
    return bare is ClassVar or get_origin(bare) is ClassVar


def _values(cls: type) -> dict[str, Any]:
    """Return what a class has for its fields: not what stands in it only to read them from its objects."""
    slots = MemberDescriptorType | GetSetDescriptorType
    values = {name: value for name, value in vars(cls).items() if not isinstance(value, slots)}
    if "_field_defaults" not in values:
        return values
    # A named tuple.
    names: Container[str] = values["_fields"]
    others = {name: value for name, value in values.items() if name not in names}
    return {**others, **values["_field_defaults"]}


def _is_in(typ: Any, types: Container[Any] | None) -> bool:
    if types is None:
        return False
    try:
        return typ in types
    except TypeError:  # metadata of Annotated, for instance, need not be hashable
        return False
