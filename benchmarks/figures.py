"""What can be said of costs that were measured in turns: medians of paired ratios, and their spread.

Theory: the times that a shared machine gives drift by tens of per cent within a minute, so the time of one program says
nothing beside the time that another took a minute ago. But two that were measured one right after the other met the same
machine. So costs come in turns, in each of which every contender is measured once; two contenders are compared within a
turn, and the median over all turns is the figure. Half of the turns lie between the quartiles: that is its spread.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

#: What a contender cost in each turn; None in one that it did not finish.
Costs: TypeAlias = Sequence[float | None]


class Spread(NamedTuple):
    """A figure.

    Attributes:
        median: The figure itself.
        low: The lower quartile.
        high: The upper quartile.
    """

    median: float
    low: float
    high: float


def spread(values: Iterable[float]) -> Spread | None:
    """Return the median of some values and their quartiles; None if there are none."""
    known = sorted(values)
    if not known:
        return None
    if len(known) == 1:
        return Spread(known[0], known[0], known[0])
    low, median, high = statistics.quantiles(known, n=4, method="inclusive")
    return Spread(median, low, high)


def of_costs(costs: Costs) -> Spread | None:
    """Return the cost itself, of the turns in which there is one."""
    return spread(cost for cost in costs if cost is not None)


def ratio(above: Costs, below: Costs) -> Spread | None:
    """Return the median of the ratios within each turn; turns that only one of both finished are left out."""
    return _paired(above, [cost or None for cost in below], lambda one, other: one / other)


def difference(more: Costs, less: Costs) -> Spread | None:
    """Return the median of the differences within each turn; turns that only one of both finished are left out."""
    return _paired(more, less, lambda one, other: one - other)


def _paired(
    first: Costs, second: Costs, function: Callable[[float, float], float]
) -> Spread | None:
    pairs = zip(first, second, strict=True)
    return spread(function(a, b) for a, b in pairs if a is not None and b is not None)


def bend(sizes: Sequence[int], costs: Sequence[float | None]) -> float:
    """Return by how much the cost of one rises as there are more of them: the worst, from any size to a larger one.

    A cost that falls, as what is the same for any size is shared by more, is no bend: then it is 1 at most.
    """
    known = [cost for _, cost in sorted(zip(sizes, costs, strict=True)) if cost is not None]
    worst, least = 1.0, float("inf")
    for cost in known:
        least = min(least, cost)
        if least > 0:
            worst = max(worst, cost / least)
    return worst
