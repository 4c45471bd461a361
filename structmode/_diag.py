"""What a service says of itself: flags that are set while it does something."""

from __future__ import annotations

import time

from structmode.types.services import DiagT, ServiceT

__all__ = ("Diag",)


class Diag(DiagT):
    """What a service is doing at the moment, as flags that it sets and unsets itself.

    A flag that was set twice has to be unset twice, so that two tasks may be in the same section at a time.

    Args:
        service: The service it is about.
    """

    def __init__(self, service: ServiceT) -> None:
        self.service = service
        #: The flags that are set now.
        self.flags: set[str] = set()
        #: When each flag was last set or unset, on the clock of `time.monotonic`, in seconds.
        self.last_transition: dict[str, float] = {}
        self._depth: dict[str, int] = {}

    def set_flag(self, flag: str) -> None:
        """Note that the service is doing what `flag` says."""
        self._depth[flag] = self._depth.get(flag, 0) + 1
        self.flags.add(flag)
        self.last_transition[flag] = time.monotonic()

    def unset_flag(self, flag: str) -> None:
        """Note that it is doing so one time less; a flag that is not set stays so."""
        depth = self._depth.get(flag, 0) - 1
        self.last_transition[flag] = time.monotonic()
        if depth > 0:
            self._depth[flag] = depth
            return
        self._depth.pop(flag, None)
        self.flags.discard(flag)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {', '.join(sorted(self.flags)) or 'idle'}>"


Diag.__module__ = "structmode.services"
