"""Operating system signals, as messages to a worker.

Theory: a signal comes at any moment - before the event loop runs, while it is blocked, while it is being closed - and its
handler runs between any two instructions of the main thread, with whatever locks that holds. So a handler here does no
more than is safe there: it notes the signal in a list, has the time of the stop begin, asks the loop to look at the list
soon, and if it is the third one, leaves the process itself.

A process that is forked has the handlers too, and no part in the program: what was there before them takes the signals that
ask it to end.

The system hands a signal to any thread it likes, but Python runs the handler in the main thread, when that next does
something. An event loop that is asleep must be woken for it: Python writes a byte to a file that the loop watches
(`keep_awake`).

`anyio.open_signal_receiver` would need none of this, but it hands signals over in the loop only: one that came before the
loop runs would end the process, and the third of a user who gives up on a blocked loop would wait in line for ever.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TypeAlias

import anyio

__all__ = ("OsSignals", "keep_awake", "signal_name", "signals_held_back")

Handler: TypeAlias = Callable[[int, FrameType | None], Any]

#: Those that ask a program to end; SIGBREAK is Ctrl-Break on Windows.
STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGBREAK")
#: The one of them at which the process is left at once.
LAST_STOP = 3


class OsSignals:
    """The handlers of one worker: put in, connected to its event loop, and given back.

    Args:
        on_stop: Called by each signal that asks for a stop, in the handler.
        on_news: Called in the event loop, soon after there is something new to look at.
        report: Called by SIGUSR1, in the handler.
        debug: Called by SIGUSR2, in the handler.

    Attributes:
        stops: The signals that asked for a stop, in order.
    """

    def __init__(
        self,
        on_stop: Callable[[], object],
        on_news: Callable[[], object],
        report: Callable[[], object],
        debug: Callable[[], object],
    ) -> None:
        self.stops: list[int] = []
        self._on_stop_asked = on_stop
        self._on_news = on_news
        self._report = report
        self._debug = debug
        self._call_soon: Callable[[Callable[[], object]], object] | None = None
        self._replaced: dict[int, Any] = {}
        self._process = os.getpid()

    def install(self) -> list[str]:
        """Put the handlers in place, and keep the previous ones; again, it does nothing.

        A SIGINT that is ignored stays so.

        Returns:
            The names of the signals that this platform does not have.

        Raises:
            ValueError: If this is not the main thread.
        """
        self._process = os.getpid()
        missing: list[str] = []
        for name, handler in self._handlers().items():
            number = getattr(signal, name, None)
            if number is None:
                missing.append(name)
            elif number not in self._replaced and not _is_meant_for_others(name, number):
                self._replaced[number] = _take(number, handler)
        return [name for name in missing if name != "SIGBREAK"]

    def give_back(self) -> None:
        """Put the previous handlers back."""
        while self._replaced:
            number, previous = self._replaced.popitem()
            # One that was not set from Python can't be set from Python again.
            signal.signal(number, signal.SIG_DFL if previous is None else previous)

    @contextmanager
    def connected(self, call_soon: Callable[[Callable[[], object]], object]) -> Generator[None]:
        """Wake an event loop when there is news, for the length of a block.

        Args:
            call_soon: Has the loop call something soon; safe in signal handlers.
        """
        self._call_soon = call_soon
        try:
            yield
        finally:
            self._call_soon = None

    def _handlers(self) -> dict[str, Handler]:
        stops: dict[str, Handler] = dict.fromkeys(STOP_SIGNALS, self._on_stop)
        return {**stops, "SIGUSR1": self._on_report, "SIGUSR2": self._on_debug}

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            self.give_back()
            os.kill(os.getpid(), number)
            return
        self.stops.append(number)
        if len(self.stops) >= LAST_STOP:
            os._exit(128 + number)
        self.wake()
        self._on_stop_asked()

    def _on_report(self, number: int, frame: FrameType | None) -> None:
        self._report()

    def _on_debug(self, number: int, frame: FrameType | None) -> None:
        self._debug()

    def wake(self) -> None:
        """Have the event loop look at what is new, if there is one."""
        if self._call_soon is not None:
            with suppress(RuntimeError):  # the loop has just ended
                self._call_soon(self._on_news)


async def keep_awake() -> None:
    """Have the event loop wake at each signal, until cancelled; returns where it does so by itself.

    trio and uvloop do, and asyncio on Windows.
    """
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        if not _set_wakeup_fd(writer.fileno(), instead_of=-1):
            return
        try:
            while True:
                await anyio.wait_readable(reader)
                with suppress(BlockingIOError):
                    reader.recv(4096)
        finally:
            _set_wakeup_fd(-1, instead_of=writer.fileno())


def _is_meant_for_others(name: str, number: int) -> bool:
    """Whether a signal is one that the terminal sends to all programs of a script, and that those in the background ignore.

    A shell has them do so, for Ctrl-C to end what is in the foreground.
    """
    return name == "SIGINT" and signal.getsignal(number) is signal.SIG_IGN


def _take(number: int, handler: Handler) -> Any:
    # Not asked of `threading`, which gevent and eventlet replace: then no thread is the main one.
    try:
        return signal.signal(number, handler)
    except ValueError:
        raise ValueError("that takes the main thread") from None


def _set_wakeup_fd(number: int, *, instead_of: int) -> bool:
    """Set the file that signals are written to, unless there is another than is expected, or this is no main thread."""
    try:
        found = signal.set_wakeup_fd(number, warn_on_full_buffer=False)
    except ValueError:
        return False
    if found == instead_of:
        return True
    signal.set_wakeup_fd(found)
    return False


@contextmanager
def signals_held_back() -> Generator[None]:
    """For the length of a block, take no signals in this thread; nor does a thread that is begun in it, from its first instant.

    A signal that another thread takes does not wake the main one.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def signal_name(number: int) -> str:
    """Return the name of a signal, such as SIGINT."""
    return signal.Signals(number).name
