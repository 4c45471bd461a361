"""Threads that do something at the same time, and fall into each other's words as often as they can."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def taking_turns_often() -> Iterator[None]:
    """Have a thread lose the GIL, where there is one, as soon as another wants it."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def at_once(*functions: Callable[[], object]) -> None:
    """Call each function in a thread of its own, all at the same time; raise what one of them raises."""
    ready = threading.Barrier(len(functions))

    def call(function: Callable[[], object]) -> None:
        ready.wait()
        function()

    with ThreadPoolExecutor(len(functions)) as pool:
        for called in [pool.submit(call, function) for function in functions]:
            called.result()
