"""What a `Worker` runs on, chosen once for the whole program.

    import structmode.loop

    structmode.loop.use("gevent")

A service does not know what it runs on, so the choice belongs to the program, and to its first lines: a worker that is
made later, without a ``backend=`` of its own, runs on what was chosen.

gevent and eventlet are no event loops of their own here. Both replace what blocks in the standard library by what
switches to another greenlet. So asyncio's own loop runs, in the main greenlet, on a selector that switches as well
(theirs; `structmode.loop.gevent` and `structmode.loop.eventlet` have no more to do than ask for it), and code that blocks
in a greenlet, or in what then takes the place of a thread, no longer blocks the loop. For that they must come first: what
has been imported before keeps some of what it took from the standard library. That is why this module imports so little.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

__all__ = ("LOOPS", "use")

#: What may be asked for, and the ``backend`` of a `Worker` that it stands for.
LOOPS: Mapping[str, str] = MappingProxyType(
    {
        "aio": "asyncio",
        "asyncio": "asyncio",
        "uvloop": "asyncio+uvloop",
        "trio": "trio",
        "gevent": "asyncio+gevent",
        "eventlet": "asyncio+eventlet",
    }
)
_GREEN = ("gevent", "eventlet")

_chosen = "asyncio"


def use(loop: str) -> None:
    """Choose what workers run on that are made without a ``backend=`` of their own.

    To be called in the first lines of a program, before other imports: "gevent" and "eventlet" replace much of the
    standard library for the whole process, and that can't be undone. The others change nothing but the choice.

    Unlike in mode, it sets no event loop policy of asyncio, importing `structmode.loop.gevent` and the like has no
    effect, and "trio" is a choice.

    Args:
        loop: "aio" or "asyncio", "uvloop", "trio", "gevent", or "eventlet".

    Raises:
        ValueError: If there is no such event loop.
        ModuleNotFoundError: If it needs a package that is not installed; the error says how to get it.
        ImportError: If that package does not work on this Python.
    """
    global _chosen
    if loop not in LOOPS:
        raise ValueError(
            f"there is no event loop {loop!r}; it is one of {', '.join(map(repr, LOOPS))}"
        )
    if loop in _GREEN:
        import_module(f"structmode.loop.{loop}").patch()
    else:
        run_arguments(LOOPS[loop])
    _chosen = LOOPS[loop]


def chosen() -> str:
    """Return the backend that was chosen; "asyncio" if none was."""
    return _chosen


def run_arguments(backend: str) -> dict[str, Any]:
    """Translate the name of a backend into the arguments of `anyio.run`.

    Raises:
        ValueError: If there is no such backend.
        ModuleNotFoundError: If the backend needs a package that is not installed.
    """
    from structmode import _engine as engine  # loads what gevent and eventlet must come before

    name = backend.removeprefix("asyncio+")
    if name not in _GREEN:
        return engine.run_arguments(backend)
    green = import_module(f"structmode.loop.{name}")
    return {"backend": "asyncio", "backend_options": {"loop_factory": green.new_event_loop}}
