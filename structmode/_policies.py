"""What becomes of background work that fails, where that is not to be the end of its service.

Theory: to crash is right for what nobody has thought of. But there is work of which it is known that it fails now and then
and that another try cures it: a poll of something far away, a subscription that is cut. To restart the whole service for
that throws away too much. So a policy stands between the work and its service:

- *crash*: what leaves the work leaves the service;
- *log*: it is told, and the work is over, or waits for its next tick;
- *restart*: it is told, and the work is begun again after a back-off, which grows until the work has been well for a while.

Only an `Exception` is dealt with so. What ends a program, such as KeyboardInterrupt, crashes, and a cancellation of the work
is none of its business; that something was cancelled which the work awaits is a failure like any other. Nothing is begun
again once the service has been told to stop.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, get_args

import anyio

from structmode import _engine as engine
from structmode._engine import Backoff
from structmode.utils.times import Seconds

__all__ = ("OnError", "Policy", "Worker")

OnError: TypeAlias = Literal["crash", "log", "restart"]


class Worker(Protocol):
    """What a policy needs of the service whose work it is."""

    @property
    def should_stop(self) -> bool:
        """Whether the work should end."""
        ...

    async def sleep(self, n: Seconds) -> None:
        """Sleep, or until the service stops."""


@dataclass(frozen=True)
class Policy:
    """What becomes of work that fails.

    Attributes:
        on_error: "crash", "log" or "restart".
        backoff: How long to wait before it is begun again.
    """

    on_error: OnError
    backoff: Backoff

    @classmethod
    def of(cls, on_error: OnError, backoff: Backoff | None) -> Policy:
        """Make the policy that a declaration asks for.

        Raises:
            TypeError: If the back-off is none.
            ValueError: If there is no such policy, or it has no use for a back-off.
        """
        if on_error not in get_args(OnError):
            raise ValueError(f'on_error is "crash", "log" or "restart", not {on_error!r}')
        if backoff is None:
            return cls(on_error, Backoff())
        if on_error != "restart":
            raise ValueError(
                f'backoff= is for on_error="restart", and this is on_error={on_error!r}'
            )
        if not isinstance(backoff, Backoff):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"backoff= takes a Backoff, not {backoff!r}")
        return cls(on_error, backoff)

    def do(
        self,
        service: Worker,
        name: str,
        work: Callable[[], Coroutine[Any, Any, object]],
        tell: Callable[[Exception, float | None], None],
    ) -> Coroutine[Any, Any, object]:
        """Return what does the work, as often as it takes.

        Args:
            service: Whose work it is.
            name: What it is called.
            work: Makes one try.
            tell: Told of each failure that is dealt with, and of the seconds to the next try, if there will be one.

        Raises:
            BaseException: When it is awaited: what leaves the work, if it is to crash the service.
        """
        return work() if self.on_error == "crash" else self._insist(service, name, work, tell)

    async def _insist(
        self,
        service: Worker,
        name: str,
        work: Callable[[], Coroutine[Any, Any, object]],
        tell: Callable[[Exception, float | None], None],
    ) -> None:
        attempts = 0
        while True:
            began = anyio.current_time()
            try:
                await engine.result_of(work(), name)
            except Exception as exc:
                if service.should_stop and engine.without_stopped(exc) is None:
                    raise  # the stop is what has ended it
                if self.on_error == "log" or service.should_stop:
                    tell(exc, None)
                    return
                attempts = self.backoff.attempts_left(attempts, anyio.current_time() - began)
                delay = self.backoff.delay(attempts, self.backoff.chance())
                tell(exc, delay)
            else:
                return
            attempts += 1
            await service.sleep(delay)
            if service.should_stop:
                return
