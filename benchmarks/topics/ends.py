"""The ends of a process: how long it takes until the first service has run, and from SIGTERM until nothing is left.

Each is the time of a whole process, with the interpreter's own share in it: that is what who starts or stops it waits for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.contenders import INTERPRETER, ON_ASYNCIO
from benchmarks.library import HERE
from benchmarks.model import Goal, Row, share_of_mode

#: How long a process idles before it is told to end, in seconds.
IDLE = 0.2

FIRST_USE = """\
from LIBRARY import Service

class First(Service):
    @Service.task
    async def work(self):
        pass

async def main():
    async with First():
        pass
"""

FIRST_USE_OF_FACET = """\
from facet import ServiceMixin

class First(ServiceMixin):
    async def start(self):
        self.add_task(self.work())

    async def work(self):
        pass

async def main():
    async with First():
        pass
"""

FIRST_USE_BY_HAND = """\
import anyio

async def work():
    pass

async def main():
    async with anyio.create_task_group() as group:
        group.start_soon(work)
"""

WORKER = """\
import os
from LIBRARY import Service, Worker

class Idle(Service):
    async def on_started(self):
        os.write(1, b"running")

Worker(Idle(), loglevel="ERROR", ARGUMENTS).execute_from_commandline()
"""

BARE = """\
import os, signal, sys

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
os.write(1, b"running")
signal.pause()
"""


def _run_main() -> str:
    """Return the lines that run `main` on the event loop of this process's contender."""
    if HERE.library in {"mode", "facet"}:
        return "import asyncio\nasyncio.run(main())\n"
    name, _, flavour = HERE.backend.partition("+")
    options = ", backend_options={'use_uvloop': True}" if flavour else ""
    return f"import anyio\nanyio.run(main, backend={name!r}{options})\n"


def first_use(units: int) -> float:
    """Run a program whose one service starts and stops."""
    return _run_program(units, FIRST_USE.replace("LIBRARY", HERE.library) + _run_main())


def first_use_of_facet(units: int) -> float:
    """Run a program whose one service of facet's starts and stops."""
    return _run_program(units, FIRST_USE_OF_FACET + _run_main())


def first_use_by_hand(units: int) -> float:
    """Run a program that runs one task."""
    return _run_program(units, FIRST_USE_BY_HAND + _run_main())


def _run_program(units: int, program: str) -> float:
    # What pip installs is compiled. Where it lies as it was written, the first run, which is not counted, compiles it.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    for _ in range(units):
        subprocess.run(_command(program), env=env, check=True)
    return (time.perf_counter() - began) / units


def end_of_worker(units: int) -> float:
    """Run a worker, and tell it to end."""
    arguments: dict[str, Any] = {} if HERE.library == "mode" else {"backend": HERE.backend}
    given = "".join(f"{name}={value!r}" for name, value in arguments.items())
    program = WORKER.replace("LIBRARY", HERE.library).replace("ARGUMENTS", given)
    return sum(_time_to_end(program) for _ in range(units)) / units


def end_of_interpreter(units: int) -> float:
    """Run the least there can be that ends in order, and tell it to end."""
    return sum(_time_to_end(BARE) for _ in range(units)) / units


def _time_to_end(program: str) -> float:
    """Return the seconds from SIGTERM to the end of a program, which has been idle for a while."""
    with subprocess.Popen(
        _command(program), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        if process.stdout is None or process.stdout.read(7) != b"running":
            raise RuntimeError("it ended before it had begun")
        time.sleep(IDLE)
        began = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        process.wait()
        return time.perf_counter() - began


def _command(program: str) -> list[str]:
    return [sys.executable, "-c", program]


ROWS: Sequence[Row] = (
    Row(
        name="first-use",
        work="import and first use",
        codes={
            "services": first_use,
            "facet": first_use_of_facet,
            "hand": first_use_by_hand,
        },
        size=3,
        kind="share",
        goals=(share_of_mode(0.85),),
        turns=3,
    ),
    Row(
        name="end-of-worker",
        work="SIGTERM to the end of an idle Worker's process, over a bare interpreter's end",
        codes={"services": end_of_worker, "interpreter": end_of_interpreter},
        size=1,
        kind="excess",
        goals=(Goal(ON_ASYNCIO, at_most=0.05, against=INTERPRETER),),
        turns=3,
        warm=False,
    ),
)
