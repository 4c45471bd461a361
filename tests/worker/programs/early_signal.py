"""A worker that gets signals before its event loop runs."""

from __future__ import annotations

import signal
import sys

from structmode import Service, Worker


class Eager(Service):
    async def on_start(self) -> None:
        self.log.info("should never start")  # pragma: no cover - must not be reached


class Early(Worker):
    def install_signal_handlers(self) -> None:
        super().install_signal_handlers()
        for name in sys.argv[2:]:
            signal.raise_signal(signal.Signals[name])
        self.log.info("all raised")


Early(Eager(), loglevel="info", backend=sys.argv[1]).execute_from_commandline()
