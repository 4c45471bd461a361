"""One contender's process: it takes samples of one benchmark whenever it is told to.

    python -m benchmarks.child NAME CONTENDER SIZE [--once]

It says "ready" once it is warm. For each line that it then reads it takes a sample, and writes it as JSON; between samples
nothing of it runs, so it does not disturb the others. It ends with its input. With ``--once`` it takes one sample at once.
"""

from __future__ import annotations

import gc
import inspect
import json
import logging
import os
import sys
from typing import cast

from .contenders import VARIABLE, contender, run_arguments
from .model import Row

#: The share of a sample that is run to get warm.
WARM_UP = 0.2


def main(arguments: list[str]) -> None:
    """Serve until there is no more to read."""
    name, who, size, *options = arguments
    os.environ[VARIABLE] = who  # before what reads it is imported
    # Records of crashes are made, as in production, and written nowhere.
    logging.getLogger().addHandler(logging.NullHandler())
    if "--once" in options:
        _say(sample(name, who, int(size)))
        return
    if _row_named(name).warm:
        sample(name, who, max(1, int(int(size) * WARM_UP)))
    _say("ready")
    for _ in sys.stdin:
        _say(sample(name, who, int(size)))


def sample(name: str, who: str, size: int) -> float | tuple[float, ...]:
    """Take one sample: in an event loop of its own, if the benchmark is async."""
    one = contender(who)
    measure = _row_named(name).code_of(one)
    gc.collect()  # of what the last sample has left; while it measures, collections come as they do
    if not inspect.iscoroutinefunction(measure):
        return cast("float | tuple[float, ...]", measure(size))
    if one.library == "trio":
        import trio

        return cast("float | tuple[float, ...]", trio.run(measure, size))
    import anyio

    return cast(
        "float | tuple[float, ...]", anyio.run(measure, size, **run_arguments(one.backend))
    )


def _row_named(name: str) -> Row:
    """Return a row, or a curve; what it is made of is imported now, when it is known whose process this is."""
    from .growth import CURVES
    from .rows import ROWS

    for row in (*ROWS, *CURVES):
        if row.name == name:
            return row
    raise ValueError(f"there is no benchmark {name!r}")


def _say(thing: object) -> None:
    # Not print: mode's worker takes over what is printed.
    os.write(1, json.dumps(thing).encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1:])
