"""Names of objects, types of fields, cached properties, and two small classes to derive from or to wrap with.

- `label`, `shortlabel`, `qualname`, `shortname`, `canoname`, `canonshortname`: what to call something.
- `annotations`, `eval_type`, `is_optional`, `guess_polymorphic_type` and the like: what the fields of a class are.
- `cached_property`: a property that remembers.
- `KeywordReduce`: pickled by the keywords of the constructor. `Unordered`: equal in rank to all others.
"""

from structmode.utils.objects._annotations import (
    DefaultsMapping as DefaultsMapping,
    FieldMapping as FieldMapping,
    InvalidAnnotation as InvalidAnnotation,
    annotations as annotations,
    eval_type as eval_type,
    iter_mro_reversed as iter_mro_reversed,
    local_annotations as local_annotations,
)
from structmode.utils.objects._cached_property import cached_property as cached_property
from structmode.utils.objects._kinds import (
    DICT_TYPES as DICT_TYPES,
    LIST_TYPES as LIST_TYPES,
    SET_TYPES as SET_TYPES,
    TUPLE_TYPES as TUPLE_TYPES,
    guess_polymorphic_type as guess_polymorphic_type,
    is_optional as is_optional,
    is_union as is_union,
    remove_optional as remove_optional,
)
from structmode.utils.objects._names import (
    canoname as canoname,
    canonshortname as canonshortname,
    label as label,
    qualname as qualname,
    shortlabel as shortlabel,
    shortname as shortname,
)
from structmode.utils.objects._small import (
    KeywordReduce as KeywordReduce,
    Unordered as Unordered,
    _restore_from_keywords as _restore_from_keywords,
)

__all__ = (
    "DICT_TYPES",
    "LIST_TYPES",
    "SET_TYPES",
    "TUPLE_TYPES",
    "DefaultsMapping",
    "FieldMapping",
    "InvalidAnnotation",
    "KeywordReduce",
    "Unordered",
    "abc_compatible_with_init_subclass",
    "annotations",
    "cached_property",
    "canoname",
    "canonshortname",
    "eval_type",
    "guess_polymorphic_type",
    "is_optional",
    "is_union",
    "iter_mro_reversed",
    "label",
    "local_annotations",
    "qualname",
    "remove_optional",
    "shortlabel",
    "shortname",
)

#: Whether an abstract class may take keywords when it is derived from: so it is in every Python from 3.7 on.
abc_compatible_with_init_subclass = True

for _public in (
    *(InvalidAnnotation, annotations, eval_type, iter_mro_reversed, local_annotations),
    *(guess_polymorphic_type, is_optional, is_union, remove_optional),
    *(canoname, canonshortname, label, qualname, shortlabel, shortname),
    # What is pickled names this one, and so does what mode has pickled.
    *(KeywordReduce, Unordered, _restore_from_keywords, cached_property),
):
    _public.__module__ = __name__
