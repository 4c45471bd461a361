"""How a wait of a service ended: mode's tuples, with a timeout told from a stop.

mode has two fields, and says "stopped" also after a timeout. The two fields stay, so that programs may go on unpacking
them; `timed_out` is a third fact, carried by the type of the tuple.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from structmode import _engine as engine

__all__ = ("WaitResult", "WaitResults", "wait_result", "wait_results")

T = TypeVar("T")

if TYPE_CHECKING:
    # Python 3.13 has it; type checkers need no newer one to read it.
    from typing_extensions import TypeVar as TypeVarWithDefault

    R = TypeVarWithDefault("R", default=Any)
else:
    R = TypeVar("R")


class WaitResult(NamedTuple, Generic[T]):
    """How a wait ended: a pair, with one more fact as an attribute.

    Attributes:
        result: What the awaited thing returned; None if the wait was cut short.
        stopped: Whether the wait was cut short because the service stops.
    """

    result: T | None
    stopped: bool

    @property
    def timed_out(self) -> bool:
        """Whether the wait was given up because its timeout had passed."""
        return False


class WaitResults(NamedTuple, Generic[R]):
    """How a wait for the first of several ended: a triple, with one more fact as an attribute.

    Attributes:
        done: Those of the awaited things that had ended, as they were passed.
        results: What each of them returned.
        stopped: Whether the wait was cut short because the service stops.
    """

    done: list[Any]
    results: list[R]
    stopped: bool

    @property
    def timed_out(self) -> bool:
        """Whether the wait was given up because its timeout had passed."""
        return False


class _TimedOutResult(WaitResult[T]):
    def __repr__(self) -> str:
        return f"WaitResult(result={self.result!r}, stopped={self.stopped!r}, timed_out=True)"

    @property
    def timed_out(self) -> bool:
        return True


class _TimedOutResults(WaitResults[R]):
    def __repr__(self) -> str:
        return (
            f"WaitResults(done={self.done!r}, results={self.results!r}, "
            f"stopped={self.stopped!r}, timed_out=True)"
        )

    @property
    def timed_out(self) -> bool:
        return True


def wait_result(outcome: engine.Outcome, result: T | None) -> WaitResult[T]:
    """Make the pair that `Service.wait` returns."""
    # Without its parameter: to give it one here would take longer than all else.
    kind: Any = _TimedOutResult if outcome.timed_out else WaitResult
    ended: WaitResult[T] = kind(result, outcome.stopped)
    return ended


def wait_results(outcome: engine.Outcome, things: tuple[Any, ...]) -> WaitResults[Any]:
    """Make the triple that `Service.wait_first` returns."""
    positions = sorted(outcome.done)
    kind: type[WaitResults[Any]] = _TimedOutResults if outcome.timed_out else WaitResults
    return kind(
        [things[i] for i in positions], [outcome.done[i] for i in positions], outcome.stopped
    )


for _public in (WaitResult, WaitResults):
    _public.__module__ = "structmode.services"
