"""Services where ``await`` stands at the top: in IPython, as in a notebook, and in asyncio's own prompt."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import structmode

pytestmark = [pytest.mark.slow, pytest.mark.process]

PROGRAMS = Path(__file__).with_name("programs")

SERVICE = """
import anyio
from structmode import Service

class Counter(Service):
    count = 0
    limit = 1000

    @Service.timer(0.001)
    async def tick(self):
        self.count += 1
        if self.count >= self.limit:
            raise RuntimeError("it has counted enough")

    async def counted(self):
        while self.count < 3:
            await anyio.sleep(0.001)

    async def on_stop(self):
        print("stops")

counter = Counter()
"""


def run(command: list[str], text: str, home: Path) -> list[str]:
    """Run Python with something to read; return what it says, after all has gone well."""
    path = str(Path(structmode.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-P", *command],
        input=text,
        env={
            **os.environ,
            "PYTHONPATH": path,
            "IPYTHONDIR": str(home),
            "PYTHONWARNINGS": "always::ResourceWarning",
        },
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    return [*done.stdout.splitlines(), *done.stderr.splitlines()]


def cells(runner: str, home: Path, *texts: str) -> list[str]:
    """Run cells in IPython; return what is said."""
    return run([str(PROGRAMS / "cells.py"), runner], "# %%\n".join(texts), home)


def test_start_use_and_stop_in_three_cells(tmp_path: Path) -> None:
    """On asyncio a service that one cell starts goes on in the next ones, until one stops it."""
    said = cells(
        "asyncio",
        tmp_path,
        SERVICE + "await counter.start()\n",
        "await counter.counted(); print(counter.state)\n",
        "await counter.stop(); print(counter.state)\n",
    )
    assert said == ["cell: done", "running", "cell: done", "stops", "shutdown", "cell: done"]


def test_a_crash_between_cells_is_logged(tmp_path: Path) -> None:
    """A service that crashes while other cells run has that logged, and says so when it is asked."""
    said = cells(
        "asyncio",
        tmp_path,
        SERVICE + "counter.limit = 5\nawait counter.start()\n",
        "while counter.started: await anyio.sleep(0.001)\n",
        "print(counter.state, counter.crash_reason)\n",
    )
    assert "crashed it has counted enough" in said
    assert any("A failure that nobody receives" in line for line in said)


@pytest.mark.parametrize("runner", ["asyncio", "trio"])
def test_a_whole_life_in_one_cell(tmp_path: Path, runner: str) -> None:
    """``async with`` in one cell works on every event loop, again and again."""
    cell = "async with counter: await counter.counted()\nprint(counter.state)\n"
    said = cells(runner, tmp_path, SERVICE + cell, cell)
    assert said == ["stops", "shutdown", "cell: done"] * 2


@pytest.mark.parametrize("runner", ["asyncio", "trio"])
def test_a_crash_in_a_cell(tmp_path: Path, runner: str) -> None:
    """A crash leaves the cell as it is."""
    cell = "counter.limit = 5\nasync with counter: await anyio.sleep_forever()\n"
    said = cells(runner, tmp_path, SERVICE + cell)
    assert "cell: RuntimeError('it has counted enough')" in said


def test_on_trio_a_cell_is_a_run_of_its_own(tmp_path: Path) -> None:
    """On trio what a cell starts bare is stopped at its end, with a warning; the next cell may start it again."""
    said = cells(
        "trio",
        tmp_path,
        SERVICE + "await counter.start(); await counter.counted()\n",
        "print(counter.state)\nawait counter.start(); await counter.stop(); print(counter.state)\n",
    )
    outcome = [line for line in said if "Warning" not in line and "_warn(name)" not in line]
    assert outcome == ["stops", "cell: done", "shutdown", "stops", "shutdown", "cell: done"]
    assert any("ResourceWarning: Counter was started and never stopped" in line for line in said)


def test_in_the_prompt_of_asyncio(tmp_path: Path) -> None:
    """``python -m asyncio`` runs what was started while it waits for the next line."""
    module = tmp_path / "service.py"
    module.write_text(SERVICE)
    lines = [
        # Python 3.13.0 reads no blocks of several lines there.
        f"exec(open({str(module)!r}).read())",
        "await counter.start()",
        "await counter.counted(); print(counter.state)",
        "await counter.stop(); print(counter.state)",
        "exit()",
    ]
    said = " ".join(run(["-m", "asyncio"], "\n".join(lines), tmp_path))
    assert "running" in said
    assert said.index("running") < said.index("stops") < said.index("shutdown")
    assert "Error" not in said
