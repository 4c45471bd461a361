"""What went wrong in one run, and in those it has stopped.

Theory: a tree may be thousands deep, and everything in it may fail at once. If each run kept a copy of what went wrong
below it, the copies would grow with the square of the depth. So a failure is kept once, where it happened; a run that
has stopped a child only takes up the child's record into its own. Who asks for all of it walks the records.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress


def note(first: BaseException, where: str, later: BaseException) -> None:
    """Note a later failure on the first one, if that takes notes: not every exception can be changed, or shown."""
    try:
        shown = repr(later)
    except Exception:
        shown = f"{type(later).__name__}, which can't be shown"
    with suppress(Exception):
        first.add_note(f"{where}: {shown}")


class Failures:
    """The failures of a run, in the order in which they came to it; iterating walks those below it too, each once."""

    __slots__ = ("_records", "first")

    def __init__(self) -> None:
        #: The one that leaves.
        self.first: BaseException | None = None
        # By identity, in order: an exception may be equal to another, or have no hash.
        self._records: dict[int, BaseException | Failures] = {}

    def __iter__(self) -> Iterator[BaseException]:
        seen: set[int] = set()
        walks = [iter(list(self._records.values()))]
        while walks:
            record = next(walks[-1], None)
            if record is None:
                walks.pop()
            elif id(record) not in seen:
                seen.add(id(record))
                if isinstance(record, Failures):
                    walks.append(iter(list(record._records.values())))
                else:
                    yield record

    def holds(self, exc: BaseException) -> bool:
        """Whether it is kept as a failure of the run itself."""
        return id(exc) in self._records

    def add(self, exc: BaseException) -> bool:
        """Keep a failure of the run itself; returns False if it is kept already."""
        if id(exc) in self._records:
            return False
        self._records[id(exc)] = exc
        self._come_first(exc)
        return True

    def take_up(self, below: Failures) -> bool:
        """Take up the record of a run below this one; what is added to it later counts too. False if it has been before."""
        if id(below) in self._records:
            return False
        self._records[id(below)] = below
        self._come_first(below.first)
        return True

    def _come_first(self, exc: BaseException | None) -> None:
        if self.first is None:  # an exception may be false in a test for truth
            self.first = exc


#: What all have to whom nothing has happened; it takes none.
NO_FAILURES = Failures()
