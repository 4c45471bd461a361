"""What to show of a thing that may not want to be shown: it is somebody else's code that says what its text is."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ("shown",)


def shown(thing: object, how: Callable[[object], str] = repr) -> str:
    """Return the text of a thing; where making it fails, what kind of thing it is, and how that failed. Never fails itself.

    Args:
        thing: Anything.
        how: Makes the text: `repr` or `str`.
    """
    try:
        return how(thing)
    except Exception as exc:  # noqa: BLE001 - whatever a program may do there
        failure = type(exc).__qualname__
        return f"<{type(thing).__qualname__}: {how.__name__}() failed with {failure}>"
