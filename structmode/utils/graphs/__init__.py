"""Graphs of what needs what, and pictures of trees.

`DependencyGraph` keeps objects and what they need, finds an order for them, and is written down by
a `GraphFormatter`. `as_text`, `as_mermaid`, `as_dot` and `write_picture` draw a tree, such as that
of running services, with the states as they are at that moment.
"""

from __future__ import annotations

from structmode.utils.graphs.formatter import (
    GraphFormatter as GraphFormatter,
    StateFormatter as StateFormatter,
)
from structmode.utils.graphs.graph import (
    CycleError as CycleError,
    DependencyGraph as DependencyGraph,
)
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
