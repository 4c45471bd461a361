"""Containers that stand in front of a built-in one, tell of changes, or keep to a size or an order.

- `FastUserDict`, `FastUserSet`, `FastUserList` have all that the built-in ones have, and pass it on to their `data`,
  which a subclass may choose.
- `ManagedUserDict`, `ManagedUserSet` call a method of theirs before each change.
- `LRUCache` keeps what was used last; `Heap` has its smallest item first.
- `AttributeDict` has keys that are attributes as well; `DictAttribute` makes keys of the attributes of any object.
"""

from __future__ import annotations

from structmode.utils.collections._attributes import (
    AttributeDict as AttributeDict,
    AttributeDictMixin as AttributeDictMixin,
    DictAttribute as DictAttribute,
    force_mapping as force_mapping,
)
from structmode.utils.collections._heap import Heap as Heap
from structmode.utils.collections._lru import LRUCache as LRUCache
from structmode.utils.collections._managed import (
    ManagedUserDict as ManagedUserDict,
    ManagedUserSet as ManagedUserSet,
)
from structmode.utils.collections._proxies import (
    FastUserDict as FastUserDict,
    FastUserList as FastUserList,
    FastUserSet as FastUserSet,
)

__all__ = (
    "AttributeDict",
    "AttributeDictMixin",
    "DictAttribute",
    "FastUserDict",
    "FastUserList",
    "FastUserSet",
    "Heap",
    "LRUCache",
    "ManagedUserDict",
    "ManagedUserSet",
    "force_mapping",
)

for _name in __all__:
    # Known, and pickled, by the public path. So what a class body annotates is no text there: it would be looked for here.
    globals()[_name].__module__ = __name__
