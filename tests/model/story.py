"""What the model tells: a log with times, how the services were left, and what went wrong in between."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from .plan import Then, raises
from .simulation import Simulation


class Fault(Exception):
    """What goes wrong: a failure of the script, or an error that structmode has to raise.

    Args:
        name: How the log calls it.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Aborted(Fault):
    """A start that ended in a stop."""

    def __init__(self, label: str) -> None:
        super().__init__(f"StartAborted({label})")


class Overdue(Fault):
    """A stop that took too long."""

    def __init__(self, label: str) -> None:
        super().__init__(f"ShutdownTimeout({label})")


class Misuse(Fault):
    """A call that makes no sense now."""

    def __init__(self) -> None:
        super().__init__("LifecycleError")


@dataclass
class Line:
    """A line of the log.

    Attributes:
        at: When.
        text: What.
        after: The positions of lines that must come before it.
    """

    at: int
    text: str
    after: set[int] = field(default_factory=set[int])


@dataclass
class Story:
    """What the laws make of a plan.

    Attributes:
        lines: The log.
        left: By label, how each service was left: its state, the reason of its crash, its failures.
        steps: How many scripted things were carried out: hooks, tasks, contexts, calls.
        started: Whether the root has been up.
        mendings: How often a supervisor has set to work on what broke.
        revived: How many services supervisors have started again.
        meets: The known faults of structmode that the plan meets; what it does then is not compared.
    """

    lines: list[Line]
    left: dict[str, str]
    steps: int
    started: bool = False
    mendings: int = 0
    revived: int = 0
    meets: set[str] = field(default_factory=set[str])


def standing(state: str, reason: str | None, failures: list[str]) -> str:
    """Say how a service stands; the failures but the first in no order.

    Left out is a start that was called off because of the first one, in the same instant: whether it came to be told of
    is nobody's law.
    """
    first = failures[0] if failures else None
    later = sorted(name for name in failures[1:] if not name.startswith("StartAborted"))
    return f"{state}, reason {reason}, first {first}, later {later}"


class Log:
    """The lines so far, on tracks: on one track, each line comes after the one before."""

    def __init__(self, simulation: Simulation) -> None:
        self.lines: list[Line] = []
        self.steps = 0
        self._simulation = simulation
        self._last: dict[str, set[int]] = {}
        self._counts: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()

    def add(self, text: str, track: str) -> None:
        """Write a line on a track."""
        before = self.last(track)
        self._last[track] = {len(self.lines)}
        self.lines.append(Line(self._simulation.now, text, before))

    def follow(self, track: str, other: str) -> None:
        """What comes on a track comes after what is on another by now."""
        self.come_after(track, self.last(other))

    def last(self, track: str) -> set[int]:
        """Return the last lines of a track, by their positions."""
        return self._last.get(track, set())

    def come_after(self, track: str, lines: set[int]) -> None:
        """What comes on a track comes after some lines."""
        self._last[track] = self.last(track) | lines

    def ends(self, where: str, then: Then) -> bool:
        """Note that a place ends once more; returns whether it fails."""
        self._ended[where] += 1
        return raises(then, self._ended[where] - 1)

    def end(self, where: str, then: Then, track: str) -> None:
        """Write whether a place returns or raises, and do so."""
        if not self.ends(where, then):
            self.add(f"{where} returns", track)
            return
        fault = self.fault(where)
        self.add(f"{where} raises", track)
        raise fault

    def fault(self, where: str) -> Fault:
        """Make the next failure of a place."""
        self._counts[where] += 1
        return Fault(f"{where} #{self._counts[where]}")
