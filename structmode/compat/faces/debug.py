"""`mode.debug`, with what programs reach for beyond its manual."""

from __future__ import annotations

from structmode.debug import BlockingDetector as PublicBlockingDetector

from ._members import ModeMembers

__all__ = ("BlockingDetector",)


class BlockingDetector(ModeMembers, PublicBlockingDetector):
    """Reports what blocks the event loop."""

    abstract = False
