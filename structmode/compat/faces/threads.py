"""`mode.threads`, with what programs reach for beyond its manual."""

from __future__ import annotations

from typing import Any

from structmode import _engine as engine
from structmode.threads import (
    MethodQueue as PublicMethodQueue,
    QueueServiceThread as PublicQueueServiceThread,
    ServiceThread as PublicServiceThread,
)
from structmode.threads._units import InsideUnit, OutsideLife, OutsideUnit

from ._asyncio import get_event_loop, new_event_loop
from ._lives import ModeOutsideLife
from ._members import ModeUnit
from .services import Service

__all__ = ("MethodQueue", "QueueServiceThread", "ServiceThread")


class _ModeInsideUnit(ModeUnit, InsideUnit):
    def on_failure(self, exc: BaseException, origin: str, fate: engine.Fate) -> None:
        InsideUnit.on_failure(self, exc, origin, fate)  # those above are told outside


class _ModeOutsideUnit(OutsideUnit):
    of_mode = True

    def on_failure(self, exc: BaseException, origin: str, fate: engine.Fate) -> None:
        service: Any = self.service
        if fate == "unreceived" and service._receive_failure(exc):
            return
        super().on_failure(exc, origin, fate)


class MethodQueue(Service, PublicMethodQueue):
    """Does in its own event loop what is asked of it from elsewhere."""

    def __init__(self, num_workers: int = 2, **kwargs: Any) -> None:
        self._take(num_workers)
        super().__init__(**kwargs)


class ServiceThread(Service, PublicServiceThread):
    """A service in a thread of its own; as in mode, its event loop is there before the thread is."""

    #: The future that a start waits for; there for code that looks at it.
    _thread_running: Any = None

    _set_thread_loop: Any = None

    def __init__(self, *, loop: Any = None, **kwargs: Any) -> None:
        self._parent_loop = loop
        super().__init__(loop=loop, **kwargs)

    def _make_unit(self) -> Any:
        return _ModeInsideUnit(self)

    def _make_outside_unit(self) -> OutsideUnit:
        return _ModeOutsideUnit(self)

    def _make_outside_life(self) -> OutsideLife:
        return ModeOutsideLife(self._outside)

    @property
    def thread_loop(self) -> Any:
        """The event loop of the thread."""
        if self._set_thread_loop is not None:
            return self._set_thread_loop
        home = self._outside.home
        if home is not None and home.native_loop is not None:
            return home.native_loop
        if self._given_loop is None or self._given_loop.is_closed():
            self._given_loop = new_event_loop()
        return self._given_loop

    @thread_loop.setter
    def thread_loop(self, loop: Any) -> None:
        self._set_thread_loop = loop

    @property
    def loop(self) -> Any:
        """The event loop of the thread."""
        return self.thread_loop

    @loop.setter
    def loop(self, loop: Any) -> None:
        self.thread_loop = loop

    @property
    def parent_loop(self) -> Any:
        """The event loop of whoever owns the service."""
        if self._parent_loop is None:
            self._parent_loop = get_event_loop()
        return self._parent_loop

    @property
    def state(self) -> str:
        """Its state; as in structmode. What it crashed of before it was reset is remembered, and is no part of it."""
        run = self._outer.current
        is_as_new = run.state is engine.State.NEW and run.crash_reason is None
        return "init" if is_as_new else super().state

    @property
    def _thread(self) -> Any:
        home = self._outside.home
        return home.thread if home is not None else None

    async def crash(self, reason: BaseException) -> None:
        """Crash the service; as in structmode."""
        running = self._thread_running
        if running is not None and not running.done():
            running.set_exception(reason)
        await super().crash(reason)

    crash.of_mode = True  # type: ignore[attr-defined]


class QueueServiceThread(ServiceThread, PublicQueueServiceThread):
    """A service in a thread of its own that takes calls."""
