"""Programs written for mode, run by its `Worker` as processes of their own: exit codes, and the event loops they run on."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

PROGRAM = """
import asyncio, os, signal, sys
import mode
import mode.loop

mode.loop.use(sys.argv[1])
way = sys.argv[2]


class Child(mode.Service):
    @mode.Service.task
    async def work(self):
        if way == "child":
            raise ValueError("of the child")


class App(mode.Service):
    def on_init_dependencies(self):
        return [Child()]

    async def on_start(self):
        if way == "start":
            raise ValueError("of the start")

    async def on_started(self):
        if sys.argv[1] != "trio":
            loop = asyncio.get_running_loop()
            print(type(loop).__module__.partition(".")[0], self.loop is loop, flush=True)
        if way == "signal":
            os.kill(os.getpid(), signal.SIGTERM)

    async def on_stop(self):
        print("stopped", flush=True)
        if way == "stop":
            raise ValueError("of the stop")

    @mode.Service.task
    async def work(self):
        if way == "task":
            raise ValueError("of the task")
        if way == "exit":
            raise SystemExit(3)
        if way == "stop":
            os.kill(os.getpid(), signal.SIGTERM)


options = {} if way != "batch" else {"daemon": False}
mode.Worker(App(), loglevel="ERROR", redirect_stdouts=False, **options).execute_from_commandline()
"""

LOOPS = ["aio", "trio"] + ["uvloop"] * (importlib.util.find_spec("uvloop") is not None)


def run_program(*arguments: str, path: Path, program: str = PROGRAM) -> tuple[int, str, str]:
    """Run a program as it is, with mode's names being structmode's."""
    file = path / "program.py"
    file.write_text(textwrap.dedent(program))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "structmode.compat", str(file), *arguments],
        cwd=path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there is no os.kill for oneself")
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("way", "code", "told"),
    [
        ("signal", 0, ""),
        ("batch", 0, ""),
        ("task", 1, "Crashed: ValueError('of the task')"),
        ("child", 1, "Crashed: ValueError('of the child')"),
        ("exit", 3, ""),
        ("start", 1, "Could not start: ValueError('of the start')"),
    ],
)
def test_how_it_ends(loop: str, way: str, code: int, told: str, tmp_path: Path) -> None:
    """A program that has crashed does not end as if all were well, whoever restarts it must know."""
    found, printed, log = run_program(loop, way, path=tmp_path)
    assert found == code, log
    assert ("stopped" in printed) == (way != "start")
    assert told in log
    assert ("[CRITICAL]" in log) == bool(told)
    assert "nobody receives" not in log


@pytest.mark.skipif(sys.platform == "win32", reason="there is no os.kill for oneself")
@pytest.mark.parametrize("loop", [one for one in LOOPS if one != "trio"])
def test_the_loop_that_was_chosen(loop: str, tmp_path: Path) -> None:
    """It is the one that all runs on, and that services find."""
    code, printed, log = run_program(loop, "signal", path=tmp_path)
    kind = "uvloop" if loop == "uvloop" else "asyncio"
    assert (code, printed.splitlines()[0]) == (0, f"{kind} True"), log


BY_THE_WORKER = """
import asyncio, sys
import mode
import mode.loop

if len(sys.argv) > 2:
    mode.loop.use(sys.argv[2])


class App(mode.Service):
    async def on_started(self):
        kind = type(asyncio.get_running_loop()) if sys.argv[1] != "trio" else None
        print(kind and kind.__module__.partition(".")[0], worker.loop is asyncio.get_running_loop() if kind else None)


worker = mode.Worker(App(), backend=sys.argv[1], daemon=False, loglevel="CRITICAL", redirect_stdouts=False)
worker.execute_from_commandline()
"""


@pytest.mark.parametrize("loop", LOOPS)
def test_the_loop_that_the_worker_is_to_run_on(loop: str, tmp_path: Path) -> None:
    """A worker may be told, too."""
    backend = "asyncio" if loop == "aio" else loop
    code, printed, log = run_program(backend, path=tmp_path, program=BY_THE_WORKER)
    assert (code, printed.strip()) == (
        0,
        "None None" if loop == "trio" else f"{backend.partition('+')[0]} True",
    ), log


@pytest.mark.skipif("uvloop" not in LOOPS, reason="there is no uvloop here")
@pytest.mark.parametrize(("told", "chosen"), [("asyncio", "uvloop"), ("uvloop", "trio")])
def test_what_the_worker_is_told_comes_first(told: str, chosen: str, tmp_path: Path) -> None:
    """Before what was chosen for all workers of the program."""
    code, printed, log = run_program(told, chosen, path=tmp_path, program=BY_THE_WORKER)
    assert (code, printed.strip()) == (0, f"{told} True"), log


LAST_CALL = """
import sys
import mode
import mode.loop

mode.loop.use(sys.argv[1])


class App(mode.Service):
    async def on_started(self):
        if sys.argv[2] == "start":
            raise ValueError("of the start")

    @mode.Service.task
    async def work(self):
        await self.worker.stop()


class Worker(mode.Worker):
    def on_worker_shutdown(self):
        print("on_worker_shutdown", flush=True)

    def stop_and_shutdown(self):
        print("stop_and_shutdown", flush=True)
        super().stop_and_shutdown()
        if sys.argv[2] == "call":
            raise ValueError("of the call")


app = App()
app.worker = Worker(app, loglevel="ERROR", redirect_stdouts=False)
app.worker.execute_from_commandline()
"""


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("way", "code"), [("stop", 0), ("start", 1), ("call", 1)])
def test_the_end_of_a_program_calls_stop_and_shutdown(
    loop: str, way: str, code: int, tmp_path: Path
) -> None:
    """As in mode, once, whatever came before; a worker that is stopped in the first step of a task ends well."""
    found, printed, log = run_program(loop, way, path=tmp_path, program=LAST_CALL)
    assert printed.splitlines() == ["on_worker_shutdown", "stop_and_shutdown"], log
    assert found == code, log
    assert (f"of the {way}" in log) == bool(code)


def test_what_could_not_be_run(tmp_path: Path) -> None:
    """What fails before the event loop has run is told as such."""
    program = """
    import mode

    class Broken:
        def __getattr__(self, name):
            raise OSError("no loop")

    mode.Worker(loop=Broken(), loglevel="CRITICAL").execute_from_commandline()
    """
    code, _, log = run_program(path=tmp_path, program=program)
    assert code == 1
    assert "Could not run: OSError('no loop')" in log
