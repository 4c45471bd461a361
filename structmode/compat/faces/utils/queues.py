"""`mode.utils.queues`, where it means something else than `structmode.utils.queues`."""

from __future__ import annotations

from structmode.utils import queues as public

__all__ = ("FlowControlEvent",)


class FlowControlEvent(public.FlowControlEvent):
    """Holds up the producers of any number of queues; as in mode, who need not wait goes on in the same step."""

    async def acquire(self) -> None:
        """Wait until it is active; no checkpoint if it is."""
        if not self.is_active():
            await super().acquire()
