"""The statistics are right on made-up figures."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given, strategies as st

from benchmarks.figures import Spread, bend, difference, of_costs, ratio, spread

positive = st.floats(1e-9, 1e9)


def test_a_figure_is_the_median_and_its_spread_the_quartiles() -> None:
    """Of any number of values, in any order."""
    assert spread([5, 1, 3, 2, 4]) == Spread(3, 2, 4)
    assert spread([1, 2]) == Spread(1.5, 1.25, 1.75)
    assert spread([7]) == Spread(7, 7, 7)
    assert spread([]) is None


def test_ratios_are_taken_within_a_turn() -> None:
    """A machine that becomes ten times slower from one turn to the next changes nothing."""
    assert ratio([2, 20, 200], [1, 10, 100]) == Spread(2, 2, 2)
    assert difference([3, 30], [1, 28]) == Spread(2, 2, 2)


def test_the_median_of_ratios_is_not_the_ratio_of_medians() -> None:
    """What one of both met alone counts in that turn only."""
    assert ratio([1, 8, 9], [1, 2, 9]) == Spread(1, 1, 2.5)


def test_a_turn_that_was_not_finished_is_left_out() -> None:
    """Whoever it was that did not finish; and one that cost nothing at all can't be divided by."""
    assert ratio([2, None, 6, 1], [1, 5, None, 0]) == Spread(2, 2, 2)
    assert difference([None], [1]) is None
    assert of_costs([None, 3]) == Spread(3, 3, 3)
    assert of_costs([None]) is None


def test_turns_must_be_the_same_for_both() -> None:
    """Figures of different lengths are of different runs, and are refused."""
    with pytest.raises(ValueError, match="shorter"):
        ratio([1, 2], [1])


@given(st.lists(positive, min_size=1))
def test_a_median_lies_between_its_quartiles(values: list[float]) -> None:
    """And these between the least and the greatest."""
    found = spread(values)
    assert found is not None
    least, most = min(values) * (1 - 1e-9), max(values) * (1 + 1e-9)
    assert least <= found.low <= found.median * (1 + 1e-9)
    assert found.median * (1 - 1e-9) <= found.high <= most
    assert math.isclose(found.median, statistics.median(values))


@given(st.lists(st.tuples(positive, positive), min_size=1))
def test_who_is_compared_with_itself_is_as_fast(pairs: list[tuple[float, float]]) -> None:
    """And the ratio the other way round is the inverse, where one of the turns is the median."""
    first, second = [one for one, _ in pairs], [other for _, other in pairs]
    assert ratio(first, first) == Spread(1, 1, 1)
    there, back = ratio(first, second), ratio(second, first)
    assert there is not None
    assert back is not None
    if len(pairs) % 2:
        assert math.isclose(there.median * back.median, 1)


def test_a_bend_is_a_cost_that_rises_with_size() -> None:
    """Whatever the order they are given in, and also after it has fallen; what falls is none."""
    assert bend([10, 100, 1000], [5, 4, 3]) == 1
    assert bend([10, 100, 1000], [5, 2, 6]) == 3
    assert bend([1000, 10, 100], [6, 5, 2]) == 3
    assert bend([10, 100, 1000], [None, 2, 5]) == 2.5
    assert bend([10, 100], [0, 2]) == 1
    assert bend([], []) == 1
