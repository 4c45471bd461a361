"""What a benchmark is: a row of the table, with the codes that are compared, and the goals that structmode has in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .contenders import (
    ANYIO,
    BARE_TRIO,
    CONTENDERS,
    MODE,
    ON_ASYNCIO,
    ON_TRIO,
    ON_UVLOOP,
    Code,
    Contender,
)

#: Does so many units of work, and returns what one cost: seconds, or what the row is about. With more than one figure in
#: it, each is a curve of `growth`.
Measure: TypeAlias = (
    Callable[[int], Awaitable[float | tuple[float, ...]]]
    | Callable[[int], float | tuple[float, ...]]
)

#: How a figure is told: as how many times faster than mode it is; as its share of what it costs with mode; by itself, as
#: the more the better; or as what it costs more than with a bare interpreter.
Kind: TypeAlias = Literal["times", "share", "count", "excess"]

#: What on uvloop is taken for no slower than on asyncio: the median of a few turns is no better than that.
NOISE = 1.05


@dataclass(frozen=True)
class Goal:
    """What is to be reached.

    Attributes:
        contender: By whom.
        at_least: The figure, or more of it.
        at_most: The figure, or less of it.
        against: Who it is compared with; None if it is compared with nobody.
    """

    contender: Contender
    at_least: float | None = None
    at_most: float | None = None
    against: Contender | None = None

    @property
    def bound(self) -> float:
        """The figure that is to be reached."""
        return self.at_least if self.at_least is not None else self.at_most or 0.0

    def is_met_by(self, figure: float) -> bool:
        """Tell whether a figure is good enough."""
        if self.at_least is not None:
            return figure >= self.at_least
        return figure <= self.bound


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table.

    Attributes:
        name: What it is called on the command line.
        work: What is done, in words.
        codes: The functions that do it, by whose code it is.
        size: How many units of work make one sample.
        kind: How its figures are told.
        unit: What it is measured in: "s" for seconds.
        goals: What structmode is to reach.
        turns: How often each contender is measured in a round.
        most_rounds: How many rounds are enough.
        warm: Whether a sample is taken before, and thrown away.
    """

    name: str
    work: str
    codes: Mapping[Code, Measure]
    size: int
    kind: Kind = "times"
    unit: str = "s"
    goals: tuple[Goal, ...] = ()
    turns: int = 5
    most_rounds: int = 1000
    warm: bool = True

    @property
    def contenders(self) -> list[Contender]:
        """Those who can do it, whether they are installed or not."""
        return [one for one in CONTENDERS if not self.codes.keys().isdisjoint(one.codes)]

    def code_of(self, contender: Contender) -> Measure:
        """Return the function that does the work for a contender."""
        return next(self.codes[code] for code in contender.codes if code in self.codes)


def times_mode(figure: float) -> Goal:
    """Be so many times as fast as mode, on asyncio."""
    return Goal(ON_ASYNCIO, at_least=figure, against=MODE)


def share_of_mode(figure: float) -> Goal:
    """Cost no more than that share of what it costs with mode, on asyncio."""
    return Goal(ON_ASYNCIO, at_most=figure, against=MODE)


def times_by_hand(figure: float) -> Goal:
    """Be so many times as fast as what is written by hand, on asyncio."""
    return Goal(ON_ASYNCIO, at_least=figure, against=ANYIO)


#: The same everywhere: near to bare trio on trio, and no slower on uvloop than on asyncio.
ELSEWHERE = (
    Goal(ON_TRIO, at_most=1.5, against=BARE_TRIO),
    Goal(ON_UVLOOP, at_most=NOISE, against=ON_ASYNCIO),
)
