"""All rows, in the order of the table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .model import Row
from .topics import (
    depth,
    ends,
    idling,
    signals,
    spawning,
    supervision,
    threads,
    timers,
    trees,
    waiting,
)

ROWS: Sequence[Row] = (
    *waiting.ROWS,
    *spawning.ROWS,
    *timers.ROWS,
    *signals.ROWS,
    *threads.ROWS,
    *supervision.ROWS,
    *trees.ROWS,
    *depth.ROWS,
    *idling.ROWS,
    *ends.ROWS,
)


def rows_named(names: Iterable[str]) -> list[Row]:
    """Return the rows of these names; all of them if there are no names.

    Raises:
        ValueError: If there is no such row.
    """
    wanted = set(names)
    unknown = wanted - {row.name for row in ROWS}
    if unknown:
        known = ", ".join(row.name for row in ROWS)
        raise ValueError(f"there is no row {', '.join(sorted(unknown))}; the rows are {known}")
    return [row for row in ROWS if row.name in wanted or not wanted]
