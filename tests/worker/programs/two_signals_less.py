"""A worker on a platform without SIGUSR1 and SIGUSR2, such as Windows; it ends by itself."""

from __future__ import annotations

import signal
import sys

from structmode import Service, Worker

del signal.SIGUSR1, signal.SIGUSR2

Worker(Service(), loglevel="info", daemon=False, backend=sys.argv[1]).execute_from_commandline()
