"""A clock for tests: when every task is blocked, time jumps to the next deadline.

What is guaranteed:

- Time moves only while every task is blocked, and then to the next deadline at once: a day of timers takes as long as the
  work in it.
- A thread that works for a task, and input or output that a task waits for, are waited for in real time. A thread takes as
  long as it takes. For input and output the clock stands still for `io_patience` real seconds, since nobody can know
  whether anything will come.
- A deadlock neither hangs nor spins: the block is cancelled, and `Deadlock` leaves it, with the stack of every task.
- When the block is left, time goes on as before. It never goes back.

How: on each event loop, whatever decides how long to wait is asked to move the clock instead (`_time_on_asyncio`,
`_time_on_trio`); this file knows neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import anyio

from structmode import _engine as engine
from structmode.exceptions import StructmodeError

from ._deadlock import Deadlock, describe_tasks

__all__ = ("VirtualClock", "virtual_backend")


class _Driver(Protocol):
    def start(self) -> None: ...
    def stop(self) -> None: ...


class VirtualClock:
    """Make time virtual for the length of a block: it jumps to the next deadline when every task is blocked.

    The event loop must be one whose time can be virtual: see `virtual_backend`. Blocks can't be nested.

        async def main() -> None:
            with VirtualClock() as clock:
                await anyio.sleep(86400.0)
                print(clock.elapsed)

        anyio.run(main, **virtual_backend("trio"))

    Entering it raises `StructmodeError` if the time of the running event loop can't be virtual. `Deadlock` leaves the
    block if nothing can happen any more; the block has been cancelled then.

    Args:
        io_patience: The real seconds for which the clock stands still, whenever every task is blocked and one of them
            waits for input or output.
    """

    def __init__(self, *, io_patience: float = 0.01) -> None:
        self._io_patience = io_patience
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

            def give_up() -> None:
                if deadlocks:  # whoever is stuck does not listen to being cancelled
                    raise deadlocks[0]
                deadlocks.append(Deadlock(f"Every task waits for ever:\n{describe_tasks()}"))
                scope.cancel()

            driver = _find_driver(self._io_patience, give_up)
            driver.start()
            try:
                yield
            except Exception as exc:
                if deadlocks:
                    raise deadlocks[0] from exc
                raise
            finally:
                driver.stop()
        if deadlocks:
            raise deadlocks[0]


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
    return {"backend": name, "backend_options": _module_for(name).backend_options()}


def _module_for(name: str) -> Any:
    return import_module(f"{__package__}._time_on_{name}")


def _find_driver(io_patience: float, on_deadlock: Callable[[], object]) -> _Driver:
    name = "trio" if engine.on_trio() else "asyncio"
    driver: _Driver | None = _module_for(name).find_driver(io_patience, on_deadlock)
    if driver is None:
        raise StructmodeError(
            f"the time of this event loop can't be virtual, or is so already; run it with "
            f"anyio.run(main, **virtual_backend({name!r}))"
        )
    return driver
