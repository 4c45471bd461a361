"""asyncio's event loop in a program of gevent's; `structmode.loop.use` says how to choose it.

It takes gevent alone, which has a selector that switches to other greenlets while it waits. (mode needs aiogevent, which
can't be had any more.)
"""

from __future__ import annotations

from typing import Any

from structmode.loop._green import require

__all__ = ("new_event_loop", "patch")


def patch() -> None:
    """Replace what blocks in the standard library, for the whole process, as ``gevent.monkey.patch_all()`` does.

    Raises:
        ModuleNotFoundError: If gevent is not installed.
    """
    require("gevent.selectors")
    require("gevent.monkey").patch_all()


def new_event_loop() -> Any:
    """Return a new event loop of asyncio's that lets other greenlets run while it waits.

    Raises:
        ModuleNotFoundError: If gevent is not installed.
    """
    from structmode import _engine as engine  # loads what patch() must come before

    return engine.new_loop_on(require("gevent.selectors").DefaultSelector())


def __getattr__(name: str) -> Any:
    if (
        name == "Policy"
    ):  # for code that asks asyncio for a loop by itself; made when asked for, as 3.14 warns of policies
        from structmode import _engine as engine

        return engine.loop_policy(new_event_loop)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), "Policy"})
