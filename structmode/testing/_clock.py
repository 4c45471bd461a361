"""A clock for tests: when every task is blocked, time jumps to the next deadline.

What is guaranteed:

- Time moves only while every task is blocked, and then to the next deadline at once: a day of timers takes as long as the
  work in it.
- A thread that works for a task, and input or output that a task waits for, are waited for in real time. A thread takes as
  long as it takes. For input and output the clock stands still for `io_patience` real seconds, since nobody can know
  whether anything will come.
- A deadlock neither hangs nor spins: the block is cancelled, and `Deadlock` leaves it, with the stack of every task.
- When the block is left, time goes on as before. It never goes back.
- Services in threads that are begun meanwhile go by the same clock, and one event loop runs at a time (`_relay`).

How: on each event loop, whatever decides how long to wait is asked to move the clock instead (`_time_on_asyncio`,
`_time_on_trio`); this file knows neither.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Literal, Self

import anyio

from structmode import _engine as engine
from structmode.exceptions import StructmodeError

from ._deadlock import Deadlock
from ._relay import Driver, Relay, Setting, time_module

__all__ = ("VirtualClock", "virtual_backend")


class VirtualClock:
    """Make time virtual for the length of a block: it jumps to the next deadline when every task is blocked.

    The event loop must be one whose time can be virtual: see `virtual_backend`. Blocks can't be nested. It is the time of each
    `~structmode.threads.ServiceThread`, too, that is started in the block; but for those on uvloop, or with an event loop or clock of their own,
    which go by real time.

        async def main() -> None:
            with VirtualClock() as clock:
                await anyio.sleep(86400.0)
                print(clock.elapsed)

        anyio.run(main, **virtual_backend("trio"))

    Entering it raises `StructmodeError` if the time of the running event loop can't be virtual. `Deadlock` leaves the
    block if nothing can happen any more; the block has been cancelled then.

    Args:
        io_patience: The real seconds for which the clock stands still, whenever every task is blocked and one of them
            waits for input or output, or for the end of a process.

    Raises:
        TypeError: If `io_patience` is no number.
        ValueError: If it is negative, infinite or NaN.
    """

    def __init__(self, *, io_patience: float = 0.01) -> None:
        self._io_patience = _want_patience(io_patience)
        self._setting = Setting()
        # Whether the time is to be virtual up to the end of the event loop, although the block is left.
        self._is_left_to_loop = False
        self._relay: Relay
        self._block: AbstractContextManager[None] | None = None
        self._began = math.nan

    @property
    def elapsed(self) -> float:
        """The seconds that have passed on it since the block was entered, in virtual time."""
        return anyio.current_time() - self._began

    def __enter__(self) -> Self:
        if self._block is not None:
            raise StructmodeError("this clock is in use: enter another VirtualClock()")
        block = self._hold()
        block.__enter__()
        self._block = block
        self._began = anyio.current_time()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        block, self._block = self._block, None
        if block is not None:
            block.__exit__(exc_type, exc, traceback)

    @contextmanager
    def _hold(self) -> Generator[None]:
        deadlocks: list[Deadlock] = []
        with anyio.CancelScope() as scope:

            def give_up(stacks: str) -> None:
                if deadlocks:  # whoever is stuck does not listen to being cancelled
                    raise deadlocks[0]
                deadlocks.append(Deadlock(f"Every task waits for ever:\n{stacks}"))
                scope.cancel()

            relay, driver = self._begin()
            self._relay = relay
            relay.founder.on_deadlock = give_up
            driver.start()
            restore = engine.run_threads_by(relay.seat)
            try:
                yield
            except Exception as exc:
                if deadlocks:
                    raise deadlocks[0] from exc
                raise
            finally:
                if not self._is_left_to_loop:
                    restore()
                    driver.stop()
                    relay.dissolve()
        if deadlocks:
            raise deadlocks[0]

    def _begin(self) -> tuple[Relay, Driver]:
        name = "trio" if engine.on_trio() else "asyncio"
        module = time_module(name)
        now = module.now()
        if now is None:
            raise StructmodeError(
                f"the time of this event loop can't be virtual, or is so already; run it with "
                f"anyio.run(main, **virtual_backend({name!r}))"
            )
        begins_at = self._setting.begins_at
        relay = Relay(now if begins_at is None else begins_at, self._io_patience, self._setting)
        return relay, module.driver_of(relay.founder)


def _want_patience(seconds: object) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(
            f"io_patience: can't take {seconds!r} ({type(seconds).__name__}) as seconds: give a number"
        )
    if not 0.0 <= seconds < math.inf:  # NaN is none of these
        raise ValueError(f"io_patience: must be zero seconds or more, and finite, not {seconds!r}")
    return float(seconds)


def virtual_backend(name: Literal["asyncio", "trio"]) -> dict[str, Any]:
    """Return the arguments of `anyio.run` for an event loop whose time can be virtual; until it is, it is real.

    For anyio's pytest plugin, the fixture ``anyio_backend`` returns them as a pair:
    ``tuple(virtual_backend("trio").values())``.

    Args:
        name: "asyncio" or "trio". uvloop keeps its own time, which can't be virtual.

    Raises:
        ValueError: If it is another name.
    """
    if name not in {"asyncio", "trio"}:
        raise ValueError(f"time can be virtual on 'asyncio' and on 'trio', not on {name!r}")
    return {"backend": name, "backend_options": time_module(name).backend_options()}
