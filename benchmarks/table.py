"""The table: a figure for each row and contender, and each goal beside the figure that structmode has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .contenders import (
    ANYIO,
    ANYIO_ON_TRIO,
    BARE_ASYNCIO,
    BARE_TRIO,
    FACET,
    FLOOR,
    FLOOR_ON_TRIO,
    INTERPRETER,
    MODE,
    ON_ASYNCIO,
    ON_TRIO,
    ON_UVLOOP,
    Contender,
)
from .figures import Costs, Spread, bend, difference, of_costs, ratio
from .growth import PANELS
from .model import Goal, Kind, Row
from .rows import ROWS

#: The contenders in the order of the columns.
COLUMNS: Sequence[Contender] = (
    MODE,
    FACET,
    ANYIO,
    ANYIO_ON_TRIO,
    FLOOR,
    FLOOR_ON_TRIO,
    BARE_ASYNCIO,
    BARE_TRIO,
    ON_ASYNCIO,
    ON_UVLOOP,
    ON_TRIO,
)
#: Who shows the least that keeps the laws, on the event loop of a contender; where nobody has written that, who does it by hand.
LEAST: Mapping[Contender, Sequence[Contender]] = {
    ON_ASYNCIO: (FLOOR, ANYIO),
    ON_TRIO: (FLOOR_ON_TRIO, ANYIO_ON_TRIO),
}
#: A rise of the cost of each by more than that, as there are more of them, is a finding.
MAY_BEND = 2.0

Measured = Mapping[str, Costs]


class Verdict(NamedTuple):
    """A goal, and what has come of it.

    Attributes:
        row: The row.
        goal: The goal.
        figure: What was measured; None if that could not be.
        floor: The same of the least that keeps the laws; None if there is no such thing.
    """

    row: Row
    goal: Goal
    figure: Spread | None
    floor: Spread | None = None

    @property
    def is_met(self) -> bool:
        """Whether the goal is reached."""
        return self.figure is not None and self.goal.is_met_by(self.figure.median)

    @property
    def is_below_the_floor(self) -> bool:
        """Whether not even the least that keeps the laws reaches it."""
        return self.floor is not None and not self.goal.is_met_by(self.floor.median)


def figure_of(row: Row, contender: Contender, costs: Measured) -> Spread | None:
    """Return the figure of a contender in the table: what mode's is divided by it, its share of mode's, or itself."""
    own = costs.get(contender.name, ())
    base = costs.get((INTERPRETER if row.kind == "excess" else MODE).name, ())
    if row.kind == "count":
        return of_costs(own)
    if not own or not base:
        return None
    if row.kind == "times":
        return ratio(base, own)
    return ratio(own, base) if row.kind == "share" else difference(own, base)


def verdict_of(row: Row, goal: Goal, costs: Measured) -> Verdict:
    """Return what has come of a goal."""
    floor = None
    if goal.against is not None:
        candidates = [one for one in LEAST.get(goal.contender, ()) if one is not goal.against]
        least = next((one for one in candidates if costs.get(one.name)), None)
        floor = None if least is None else _reached(row, goal, least, costs)
    return Verdict(row, goal, _reached(row, goal, goal.contender, costs), floor)


def _reached(row: Row, goal: Goal, who: Contender, costs: Measured) -> Spread | None:
    """Return the figure that a contender has where the goal is set."""
    own = costs.get(who.name, ())
    if goal.against is None:
        return of_costs(own)
    other = costs.get(goal.against.name, ())
    if not own or not other:
        return None
    if row.kind == "excess":
        return difference(own, other)
    return ratio(other, own) if goal.at_least else ratio(own, other)


def verdicts(results: Mapping[str, Any]) -> list[Verdict]:
    """Return what has come of all goals of the rows that were measured."""
    measured: Mapping[str, Measured] = results["rows"]
    return [
        verdict_of(row, goal, measured[row.name])
        for row in ROWS
        if row.name in measured
        for goal in row.goals
    ]


# --- In words -------------------------------------------------------------------------------------


def amount(value: float, unit: str) -> str:
    """Return a cost in the unit that reads best."""
    if unit == "B":
        return f"{value / 1000:.3g} kB"
    if unit != "s":
        return f"{value:,.0f}"
    for factor, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= factor:
            return f"{value / factor:.3g} {name}"
    return f"{value / 1e-9:.3g} ns"


def number(value: float) -> str:
    """Return a ratio with as many digits as it is good for."""
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def figure_text(kind: Kind, figure: Spread | None, *, with_spread: bool = False) -> str:
    """Return a figure as it stands in the table."""
    if figure is None:
        return "-"
    if kind == "count":
        return f"{figure.median:,.0f}"
    if kind == "excess":
        texts = [f"{value * 1000:.0f}" for value in figure]
        return f"{texts[0]} ms" + (f" ({texts[1]}-{texts[2]})" if with_spread else "")
    texts = [number(value) for value in figure]
    return texts[0] + (f" ({texts[1]}-{texts[2]})" if with_spread else "")


def goal_text(row: Row, goal: Goal) -> str:
    """Return a goal in words."""
    sign = "≥" if goal.at_least is not None else "≤"
    who = goal.contender.name
    if goal.against is None:
        return f"{who}: {sign} {goal.bound:,.0f}"
    if row.kind == "excess":
        return f"{who}: {sign} {goal.bound * 1000:.0f} ms over {goal.against.name}"
    if goal.at_least is not None:
        return f"{who}: {sign} {goal.bound:g} times as fast as {goal.against.name}"
    return f"{who}: {sign} {goal.bound:g} times the cost of {goal.against.name}"


def cells(row: Row, costs: Measured) -> list[str]:
    """Return a line of the table: the work, what it costs with mode, and the figures of the others."""
    base = INTERPRETER if row.kind == "excess" else MODE
    absolute = of_costs(costs.get(base.name, ()))
    line = [row.work]
    for column in COLUMNS:
        figure = figure_of(row, column, costs)
        if column is MODE and row.kind in {"times", "share"}:
            line.append("-" if absolute is None else f"1 ({amount(absolute.median, row.unit)})")
        else:
            own = column in (ON_ASYNCIO, ON_UVLOOP, ON_TRIO)
            line.append(figure_text(row.kind, figure, with_spread=own))
    return line


def marks(row: Row, costs: Measured) -> str:
    """Return how many of a row's goals are met."""
    met = [verdict_of(row, goal, costs).is_met for goal in row.goals]
    return f"{sum(met)} of {len(met)}"


HEAD = ("work", *(column.name for column in COLUMNS), "goals met")


def lines_of(results: Mapping[str, Any]) -> list[list[str]]:
    """Return the lines of the table, without its head."""
    measured: Mapping[str, Measured] = results["rows"]
    return [
        [*cells(row, measured[row.name]), marks(row, measured[row.name])]
        for row in ROWS
        if row.name in measured
    ]


def as_text(results: Mapping[str, Any]) -> str:
    """Return all that is printed: the table, the goals, what bends, and the totals as the last line."""
    table = [list(HEAD), *lines_of(results)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    parts = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    ]
    found = verdicts(results)
    parts += ["", *map(goal_line, found), *bends(results), "", totals(found)]
    return "\n".join(parts)


def goal_line(verdict: Verdict) -> str:
    """Return a goal, with its figure, and whether it is met."""
    row, goal = verdict.row, verdict.goal
    mark = "met    " if verdict.is_met else "NOT MET"
    floor = f"; the floor: {_told(row, verdict.floor)}" if verdict.floor is not None else ""
    return f"{mark}  {row.name}: {goal_text(row, goal)}: {_told(row, verdict.figure)}{floor}"


def _told(row: Row, figure: Spread | None) -> str:
    if figure is None:
        return "not measured"
    kind: Kind = row.kind if row.kind in {"count", "excess"} else "times"
    return figure_text(kind, figure, with_spread=True)


def totals(found: Sequence[Verdict]) -> str:
    """Return the last line."""
    met = sum(verdict.is_met for verdict in found)
    by_loop = ", ".join(
        f"{sum(one.is_met for one in theirs)} of {len(theirs)} on {loop}"
        for loop, who in (("asyncio", ON_ASYNCIO), ("uvloop", ON_UVLOOP), ("trio", ON_TRIO))
        if (theirs := [one for one in found if one.goal.contender is who])
    )
    below = sum(one.is_below_the_floor and not one.is_met for one in found)
    rest = f"; of the other {len(found) - met}, below the floor: {below}" if below else ""
    return f"{met} of {len(found)} goals met: {by_loop}{rest}" if found else "no goals"


def bends(results: Mapping[str, Any]) -> list[str]:
    """Return a line for each curve that bends."""
    curves: Mapping[str, Mapping[str, Costs]] = results.get("growth", {})
    return [
        f"bends: {panel.title}: {who}: what one costs rises {rise:.1f}-fold"
        for panel in PANELS
        for who, costs in curves.get(panel.name, {}).items()
        if (rise := bend(panel.sizes[: len(costs)], costs)) > MAY_BEND
    ]


# --- For the docs ---------------------------------------------------------------------------------


def as_markdown(results: Mapping[str, Any]) -> str:
    """Return the table, the goals, and what bends, for a page of the docs; with what they were measured on."""
    found = verdicts(results)
    how = (
        "small samples, which show that it runs and no more"
        if results["quick"]
        else "full samples"
    )
    rounds = f"{results['rounds']} round{'s' * (results['rounds'] != 1)}"
    parts = [
        f"Measured on {results['machine']}; {rounds}, {how}. **{totals(found)}.**",
        "",
        *_markdown_table(HEAD, lines_of(results)),
        "",
        "| row | goal | figure | the floor | |",
        "|---|---|---|---|---|",
        *map(_markdown_goal, found),
        "",
        *(
            bends(results)
            or ["No curve bends by more than a factor of 2."] * ("growth" in results)
        ),
    ]
    curves_on = results.get("growth_on", results["machine"])
    if curves_on != results["machine"]:
        parts += ["", f"The curves were measured on {curves_on}."]
    return "\n".join(parts).rstrip() + "\n"


def _markdown_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines)]


def _markdown_goal(verdict: Verdict) -> str:
    row, floor = verdict.row, verdict.floor
    met = "**not met**"
    if verdict.is_met:
        met = "met"
    elif verdict.is_below_the_floor:
        met = "not met, and below the floor"
    columns = (
        row.name,
        goal_text(row, verdict.goal),
        _told(row, verdict.figure),
        "-" if floor is None else _told(row, floor),
        met,
    )
    return f"| {' | '.join(columns)} |"
