"""What is to be done when something has ended that should run: decisions only.

Theory
------
A supervisor has four questions to answer, in this order, and none of them needs an event loop:

- *Is it to be started again?* (`wants_restart`) Permanent: whenever it ends. Transient: when it failed. Temporary: never.
- *How many are concerned?* (`Reach`) Those that depend on what broke have lost what they relied on. One alone; all; or the
  rest: what was started after it, which is what may rely on it.
- *May it go on like this?* (`Budget`) Restarting cures what is transient. What keeps failing is not, and restarting it for
  ever hides that. More than so many restarts within so many seconds, and the supervisor gives up, so that the next one up
  decides: it has more to throw away, and more to build anew.
- *When?* (`Backoff`) What fails at once when it is started again is given time, more each time; and not the same time to
  everybody, so that many that have lost the same thing do not all come back in the same instant.

All times are seconds on one clock that never goes back; all chances are numbers from 0 up to 1. So each answer depends on
nothing but its arguments and, for a budget, on what has been spent.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal, TypeAlias, get_args

__all__ = ("RESTART_TYPES", "Backoff", "Budget", "Reach", "RestartType", "wants_restart")

RestartType: TypeAlias = Literal["permanent", "transient", "temporary"]
RESTART_TYPES: tuple[RestartType, ...] = get_args(RestartType)


def wants_restart(kind: RestartType, *, failed: bool) -> bool:
    """Whether something of this kind is to be started again, now that it has ended.

    Args:
        kind: When it is to be started again at all.
        failed: Whether it ended by a failure.
    """
    match kind:
        case "permanent":
            return True
        case "transient":
            return failed
        case "temporary":  # pragma: no branch - there is no other
            return False


class Reach(Enum):
    """Who is restarted with those that broke."""

    #: Those that broke, and no others.
    ONE = auto()
    #: All.
    ALL = auto()
    #: The first that broke, and all that were started after it.
    REST = auto()

    def of(self, broken: Collection[int], count: int) -> list[int]:
        """Return the places of those concerned, in order.

        Args:
            broken: The places of those that broke, among `count`.
            count: How many there are.
        """
        if not broken:
            return []
        match self:
            case Reach.ONE:
                return sorted(broken)
            case Reach.ALL:
                return list(range(count))
            case Reach.REST:  # pragma: no branch - there is no other
                return list(range(min(broken), count))


class Budget:
    """So many restarts within so many seconds: in no window of that length are there more.

    Args:
        limit: How many; a fraction counts as nothing, infinity as no limit.
        window: Within how many seconds.
    """

    def __init__(self, limit: float, window: float) -> None:
        self.limit = limit
        self.window = window
        self._spent: deque[float] = deque()

    def spend(self, now: float) -> bool:
        """Take one restart; returns False, and takes none, if the window has no more.

        Args:
            now: The time; never before that of the last call.
        """
        if math.isinf(self.limit):
            return True
        while self._spent and self._spent[0] <= now - self.window:
            self._spent.popleft()
        if len(self._spent) + 1 > self.limit:
            return False
        self._spent.append(now)
        return True


@dataclass(frozen=True)
class Backoff:
    """How long to wait before a restart: longer each time, until what is restarted has been well for a while.

    Args:
        initial: The longest wait before the first restart, in seconds.
        factor: By how much it grows with each restart; at least 1.
        maximum: What it does not grow beyond, in seconds.
        jitter: The share of the wait that is left to chance, from 0 (none of it) to 1 (all of it).
        reset_after: After how many seconds of running it begins again with `initial`.
        random: What chance says: a function that returns a number from 0 up to 1, called once for each service that broke,
            before it is restarted. None for `random.random`; with ``random.Random(7).random`` a test can foretell the waits.

    Raises:
        TypeError: If one of them is no number, or `random` is no function.
        ValueError: If one of them is out of its range.
    """

    initial: float = 0.1
    factor: float = 2.0
    maximum: float = 30.0
    jitter: float = 0.25
    reset_after: float = 60.0
    random: Callable[[], float] | None = None

    def __post_init__(self) -> None:
        self._check("initial", 0.0)
        self._check("factor", 1.0)
        self._check("maximum", 0.0)
        self._check("jitter", 0.0, 1.0)
        self._check("reset_after", 0.0, math.inf)
        if self.random is not None and not callable(self.random):
            raise TypeError(
                f"Backoff(random=...) takes a function that returns a number from 0 up to 1, not {self.random!r}"
            )

    def _check(self, name: str, lowest: float, highest: float | None = None) -> None:
        value: object = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"Backoff({name}=...) takes a number, not {value!r}")
        if highest is None and lowest <= value < math.inf:
            return
        if highest is not None and lowest <= value <= highest:
            return
        most = "" if highest in {None, math.inf} else f", at most {highest:g}"
        finite = " and finite" if highest is None else ""
        raise ValueError(
            f"Backoff({name}=...) must be at least {lowest:g}{most}{finite}, not {value!r}"
        )

    def chance(self) -> float:
        """Ask chance for a number from 0 up to 1."""
        if self.random is not None:
            return self.random()
        import random

        return random.random()  # noqa: S311 - nobody gains by guessing it

    def delay(self, attempts: int, chance: float) -> float:
        """Return the seconds to wait before the next restart.

        Args:
            attempts: How many restarts there have been since it was well.
            chance: A number from 0 up to 1, by chance.

        Raises:
            ValueError: If it is another number.
        """
        if not 0.0 <= chance <= 1.0:
            raise ValueError(
                f"Backoff(random=...) takes a function that returns numbers from 0 up to 1, and it returned {chance!r}"
            )
        longest = self._longest(attempts)
        return longest - longest * self.jitter * chance

    def _longest(self, attempts: int) -> float:
        if self.initial == 0.0:
            return 0.0
        try:
            return min(self.maximum, self.initial * self.factor**attempts)
        except OverflowError:
            return self.maximum

    def attempts_left(self, attempts: int, healthy: float) -> int:
        """Return how many restarts still count, of something that has run for `healthy` seconds since the last."""
        return 0 if healthy >= self.reset_after else attempts


Backoff.__module__ = "structmode.supervisors"
