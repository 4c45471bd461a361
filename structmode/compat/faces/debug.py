"""`mode.debug`, with what programs reach for beyond its manual."""

from __future__ import annotations

from typing import Any

from structmode.debug import BlockingDetector as PublicBlockingDetector
from structmode.utils.times import Seconds

from .services import Service

__all__ = ("BlockingDetector",)


class BlockingDetector(Service, PublicBlockingDetector):
    """Reports what blocks the event loop."""

    def __init__(
        self, timeout: Seconds, raises: type[BaseException] | None = None, **kwargs: Any
    ) -> None:
        self._take(timeout, raises)
        super().__init__(**kwargs)
