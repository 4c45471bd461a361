"""The chapters "FAQ" and `mode.loop` of mode's manual: which event loop a program runs on, and what is left at its end."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from structmode import Service

PROGRAM = Path(__file__).parent / "programs" / "loops.py"

#: The choice, and what the program says that it runs on.
CHOICES = {
    "aio": "on asyncio, sockets are of socket",
    "eventlet": "on asyncio, sockets are of eventlet",
    "gevent": "on asyncio, sockets are of gevent",
    "uvloop": "on uvloop, sockets are of socket",
    "trio": "on trio, sockets are of socket",
}


@pytest.mark.process
@pytest.mark.parametrize("loop", CHOICES)
def test_the_first_lines_choose_the_event_loop(loop: str) -> None:
    """`loop.use(...)` in the first lines of a program chooses what its worker runs on, and patches what has to be."""
    if loop not in {"aio", "trio"} and importlib.util.find_spec(loop) is None:
        pytest.skip(f"there is no {loop} here")  # pragma: no cover - here there are all
    # What counts the lines of a process is not made for greenlets.
    environ = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(PROGRAM), loop],
        env=environ if loop in {"gevent", "eventlet"} else None,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"[^-Asking]: {CHOICES[loop]}" in done.stderr


def test_a_service_that_is_not_stopped_before_the_end(
    anyio_backend: tuple[str, dict[str, Any]],
) -> None:
    """A service that somebody forgot to stop is stopped in order when the event loop ends, and one warning names it."""
    told: list[str] = []

    class Forgotten(Service):
        @Service.task
        async def work(self) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                told.append("task")

        async def on_shutdown(self) -> None:
            told.append("shutdown")

    async def main() -> None:
        await Forgotten().start()
        await anyio.wait_all_tasks_blocked()

    backend, options = anyio_backend
    with pytest.warns(ResourceWarning, match="Forgotten was started and never stopped") as warned:
        anyio.run(main, backend=backend, backend_options=options)
    assert told == ["task", "shutdown"]
    assert len(warned) == 1
