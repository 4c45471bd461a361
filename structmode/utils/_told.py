"""What went wrong, for people, in one line."""

from __future__ import annotations

__all__ = ("told",)

_LONGEST = 500


def told(reason: BaseException) -> str:
    """Return what went wrong in one line that is not too long, even if the exception can't say it."""
    try:
        text = repr(reason)
    except Exception:  # noqa: BLE001 - a class of somebody else
        text = f"{type(reason).__name__}, which can't be shown"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
