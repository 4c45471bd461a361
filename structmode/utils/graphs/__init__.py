"""Graphs of what needs what, and pictures of trees.

`DependencyGraph` keeps objects and what they need, finds an order for them, and is written down by
a `GraphFormatter`. `as_text`, `as_mermaid`, `as_dot` and `write_picture` draw a tree, such as that
of running services, with the states as they are at that moment.

What draws is loaded by who draws: every service has a node of a tree, and most are never drawn.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from structmode.utils.graphs.formatter import (
    GraphFormatter as GraphFormatter,
    StateFormatter as StateFormatter,
)
from structmode.utils.graphs.graph import (
    CycleError as CycleError,
    DependencyGraph as DependencyGraph,
)

if TYPE_CHECKING:
    from structmode.utils.graphs.pictures import (
        PictureError as PictureError,
        write_picture as write_picture,
    )
    from structmode.utils.graphs.views import (
        HasBeacon as HasBeacon,
        HasChildren as HasChildren,
        as_dot as as_dot,
        as_mermaid as as_mermaid,
        as_text as as_text,
    )

# Where that is.
_DRAWING = {
    "PictureError": "pictures",
    "write_picture": "pictures",
    "HasBeacon": "views",
    "HasChildren": "views",
    "as_dot": "views",
    "as_mermaid": "views",
    "as_text": "views",
}

__all__ = (
    "CycleError",
    "DependencyGraph",
    "GraphFormatter",
    "HasBeacon",
    "HasChildren",
    "PictureError",
    "StateFormatter",
    "as_dot",
    "as_mermaid",
    "as_text",
    "write_picture",
)


def __getattr__(name: str) -> Any:
    if name not in _DRAWING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_DRAWING[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_DRAWING})
