"""What the tests of facet's face share: a program that is interrupted."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import anyio


def interrupted(
    run: Callable[[], Awaitable[None]],
    backend: tuple[str, dict[str, Any]],
    *,
    when: Callable[[], bool],
) -> None:
    """Run it as a program, and send it a SIGINT when it is time."""

    async def watch() -> None:
        while not when():
            await anyio.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            await run()

    name, options = backend
    try:
        anyio.run(main, backend=name, backend_options=options)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None  # noqa: ASYNC123 - it is shown to nobody
