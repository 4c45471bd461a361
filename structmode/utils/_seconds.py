"""How long something took, in a line of the log."""

from __future__ import annotations

__all__ = ("Took",)


class Took(float):
    """A time in seconds that is shown as one: "0.0123 s", "1235 s". Who reads the arguments of a record has the number.

    Three figures, which is all that means something, but never fewer than there are before the point: no "1.23e+03".
    """

    def __str__(self) -> str:
        return f"{float(self):.3g} s" if abs(self) < 999.5 else f"{float(self):.0f} s"
