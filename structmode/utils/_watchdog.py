"""Alarms that need no event loop: a thread that calls back when a time has come, and one that writes reports.

Theory: what looks after an event loop can't live in it. A blocked loop runs no task, not even the one that was to say so.
So there is one thread beside all loops, which sleeps until the next alarm is due. It belongs to nobody: there is one for
the whole process, begun with the first alarm, and gone a little after the last one. It keeps no process alive.

What is guaranteed:

- An alarm rings once, in that thread, in real time: no event loop and no virtual clock has a say. It may still be ringing
  while it is cancelled, so whoever must not hear it then has to say so himself.
- Setting and cancelling an alarm takes a few microseconds, wakes nobody in the usual case, and raises nothing. Where no
  thread can be begun (at the very end of the process) it never rings.
- Time in which the process could not run does not count: that of a suspended machine, of SIGSTOP, of a machine with too
  much to do. The thread knows it by itself: it was late at its work, and the process used hardly any
  time of the processor meanwhile. If it did use it, then something kept all other threads from running (a function in C that holds
  the GIL), and that time counts.
- Who writes to a log may hang: behind a full pipe, or a lock that the blocked loop holds. So reports are written by a
  second such thread, one after the other, and the alarms go on ringing. When the process ends it is given a second, and
  so it is when the log does.

A process that forks leaves the threads and all alarms behind, as it does the event loops.
"""

from __future__ import annotations

import atexit
import heapq
import itertools
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable

__all__ = ("Alarm", "Watchdog", "alarms", "wait_for_reports", "write_soon")

#: What the names of the threads begin with; who looks for threads that were left behind may leave these out.
THREADS = "structmode watchdog"
#: How long a thread stays when there is nothing to do, in seconds: so that not every alarm begins one.
LINGER = 5.0
# From what lateness on it is asked whether the process could run, in seconds.
_LATE = 0.1
# What part of that it must have used a processor to have been running.
_BUSY = 0.05
# From how many alarms on, at the least, cancelled ones are thrown away.
_FEW = 64
# How long reports may take that are not written yet when the process or its log ends, in seconds.
_LAST_WORDS = 1.0

_logger = logging.getLogger("structmode.debug")


class Alarm:
    """Something to be called when its time has come.

    Args:
        watchdog: Whose alarm it is.
        callback: What to call.
    """

    __slots__ = ("_watchdog", "callback", "off")

    def __init__(self, watchdog: Watchdog, callback: Callable[[], object]) -> None:
        self._watchdog = watchdog
        self.callback = callback
        #: Whether it has rung, is ringing, or was cancelled.
        self.off = False

    def cancel(self) -> None:
        """Let it not ring; from any thread, and as often as you like."""
        self._watchdog.cancel(self)


class Watchdog:
    """A thread that rings alarms; it exists while there are any, and a little longer.

    All methods may be called from any thread.

    Args:
        name: The name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._numbers = itertools.count()
        self._suspended = 0.0
        # Since when the thread should be awake, and how much of the processor had been used when that was looked at.
        self._awake_at = self._used = 0.0
        self._registered = False
        self._forget()

    def _forget(self) -> None:
        """Begin anew, in a process that has just been forked as well."""
        # Reentrant: garbage may be collected, and what that closes may ask for a report, in the middle of anything.
        self._changed = threading.Condition(threading.RLock())
        self._alarms: list[tuple[float, int, Alarm]] = []
        # From how many alarms on those that have been cancelled are looked for.
        self._crowded = _FEW
        self._ringing = False
        self._thread: threading.Thread | None = None

    @property
    def suspended(self) -> float:
        """The seconds in which the process could not run, as far as that is known."""
        return self._suspended

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Alarm:
        """Call something in so many seconds; at once, but still in the thread, if they are none."""
        return self._set(self._now() + max(0.0, seconds), callback)

    def call_soon(self, callback: Callable[[], object]) -> Alarm:
        """Call something before all that `call_later` was asked for, and after what `call_soon` was."""
        return self._set(-math.inf, callback)

    def cancel(self, alarm: Alarm) -> None:
        """Let an alarm not ring."""
        # Without the lock, which whoever is interrupted by garbage collection may hold.
        alarm.off = True

    def join(self, seconds: float) -> bool:
        """Wait until no alarm is left, but not longer than `seconds`; return whether none is. An alarm does not wait."""
        if threading.current_thread() is self._thread:
            return False
        with self._changed:
            return self._changed.wait_for(lambda: not (self._alarms or self._ringing), seconds)

    def _now(self) -> float:
        return time.monotonic() - self._suspended

    def _set(self, due: float, callback: Callable[[], object]) -> Alarm:
        alarm = Alarm(self, callback)
        entry = (due, next(self._numbers), alarm)
        with self._changed:
            if len(self._alarms) >= self._crowded:
                self._drop_cancelled()
            heapq.heappush(self._alarms, entry)
            if self._thread is None:
                self._begin()
            elif self._alarms[0] is entry:
                self._changed.notify_all()
        return alarm

    def _drop_cancelled(self) -> None:
        """Keep none of the alarms that were cancelled; and look again when there are twice as many as are left."""
        self._alarms = [entry for entry in self._alarms if not entry[2].off]
        heapq.heapify(self._alarms)
        self._crowded = max(_FEW, 2 * len(self._alarms))

    def _begin(self) -> None:
        if not self._registered and hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)
        self._registered = True
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        if self._thread is not None:  # begun by what was interrupted here
            return
        self._thread = thread
        try:
            thread.start()
        except RuntimeError:  # pragma: no cover - at the very end of a process
            self._thread = None

    # -- In the thread

    def _run(self) -> None:
        if hasattr(signal, "pthread_sigmask"):  # pragma: no branch - not on Windows
            # A signal that came here would not wake the main thread.
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._awake_at, self._used = time.monotonic(), time.process_time()
        while (alarm := self._next()) is not None:
            try:
                alarm.callback()
            except Exception:
                _logger.exception("An alarm failed: %r", alarm.callback)

    def _next(self) -> Alarm | None:
        """Wait for the next alarm; None if there is none and the thread is to end."""
        with self._changed:
            self._ringing = False
            self._changed.notify_all()  # to `join`
            while True:
                self._notice_suspension()
                alarm = self._take_due()
                if alarm is not None:
                    self._ringing = True
                    return alarm
                if self._alarms:
                    self._sleep(self._alarms[0][0] - self._now())
                elif not self._sleep(LINGER) and not self._alarms:
                    self._thread = None
                    return None

    def _take_due(self) -> Alarm | None:
        while self._alarms and (self._alarms[0][2].off or self._alarms[0][0] <= self._now()):
            alarm = heapq.heappop(self._alarms)[2]
            if not alarm.off:
                alarm.off = True
                return alarm
        return None

    def _sleep(self, seconds: float) -> bool:
        """Sleep until then, or until something changes; return whether something did."""
        seconds = min(max(0.0, seconds), threading.TIMEOUT_MAX)
        self._awake_at += seconds
        return self._changed.wait(seconds)

    def _notice_suspension(self) -> None:
        """See what time has passed in which the process could not run: in the sleep, and since."""
        now, used = time.monotonic(), time.process_time()
        late = now - self._awake_at
        if late > _LATE and used - self._used < late * _BUSY:
            self._suspended += late
        self._awake_at, self._used = now, used


#: The one watchdog of the process.
alarms = Watchdog(THREADS)
_reports = Watchdog(f"{THREADS}: reports")


def write_soon(report: Callable[[], object]) -> None:
    """Have a report written, after those that are to be written already, in a thread that may hang over it."""
    if not _reports._registered:
        atexit.register(wait_for_reports)
    _reports.call_soon(report)


def wait_for_reports() -> None:
    """Wait until all reports are written, but not longer than a second; for whoever takes the log away."""
    _reports.join(_LAST_WORDS)
