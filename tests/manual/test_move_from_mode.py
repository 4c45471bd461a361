"""The page "Move a program over from mode": the program on it runs after each of its steps, on each event loop."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest

from structmode.testing import VirtualClock

from .here import virtual_time

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to"
IN_MODE = HOW_TO / "programs" / "kitchen-in-mode.txt"
IN_STRUCTMODE = HOW_TO / "programs" / "kitchen-in-structmode.txt"

LOOPS = ("aio", "uvloop", "trio")


@pytest.fixture(scope="module")
def command() -> str:
    """The search and replace that the page shows."""
    if sys.platform == "win32":  # pragma: no cover - only there
        pytest.skip("the page shows a command for POSIX")
    if shutil.which("git") is None:  # pragma: no cover - only where it is not
        pytest.skip("the page shows a command for a checkout of git")
    page = (HOW_TO / "move-from-mode.md").read_text(encoding="utf-8")
    return page.split("```shell\n")[1].split("```")[0]


def run_in_checkout(command: str, directory: Path, *tracked: str) -> None:
    """Make a directory a checkout in which these files are known to git, and run a command of the page in it."""
    # Variables of git name another checkout, if the tests are run by one of its hooks.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    for line in (["git", "init", "-q"], ["git", "add", *tracked], ["/bin/sh", "-ec", command]):
        subprocess.run(line, cwd=directory, env=environ, check=True)


@pytest.fixture(scope="module")
def replaced(command: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of the page, as it looks in mode, after the search and replace."""
    directory = tmp_path_factory.mktemp("moved")
    program = directory / "kitchen.py"
    program.write_text(IN_MODE.read_text(encoding="utf-8"), encoding="utf-8")
    run_in_checkout(command, directory, "kitchen.py")
    return program


@pytest.fixture(scope="module", params=["replaced", "revised"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program after the search and replace, and as it is when it has been gone through."""
    if request.param == "replaced":
        path: Path = request.getfixturevalue("replaced")
        return path
    path = tmp_path_factory.mktemp("revised") / "kitchen.py"
    path.write_text(IN_STRUCTMODE.read_text(encoding="utf-8"), encoding="utf-8")
    return path


def without_mode(line: str) -> str:
    """Return a line as it is when the name of the library is no part of it."""
    return line.replace("structmode", "mode")


@pytest.mark.process
def test_the_search_and_replace_changes_the_name_of_the_library_only(replaced: Path) -> None:
    """Each line that it changes is changed in that name, and no use of mode is left."""
    old = IN_MODE.read_text(encoding="utf-8").splitlines()
    new = replaced.read_text(encoding="utf-8").splitlines()
    changed = [pair for pair in zip(old, new, strict=True) if pair[0] != pair[1]]
    assert len(changed) == 8
    assert [without_mode(line) for line in new] == old
    assert not any(line.startswith(("import mode", "from mode")) for line in new)


@pytest.mark.process
def test_the_search_and_replace_leaves_other_words_alone(command: str, tmp_path: Path) -> None:
    """What is called mode but is not the library stays."""
    text = 'fast_mode = self.mode.value  # in debug mode\nopen(path, mode="r")\nmodel.fit()\n'
    (tmp_path / "other.py").write_text(text, encoding="utf-8")
    run_in_checkout(command, tmp_path, "other.py")
    assert (tmp_path / "other.py").read_text(encoding="utf-8") == text


@pytest.mark.process
def test_the_search_and_replace_touches_what_git_knows_only(command: str, tmp_path: Path) -> None:
    """Files in an environment stay; those in the checkout are changed, whatever their names, and no copies are left."""
    for name in ("my tasks.py", 'a package/it\'s "one".py', ".venv/mode/other.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("import mode\n", encoding="utf-8")
    run_in_checkout(command, tmp_path, "my tasks.py", "a package")
    files = [path for path in tmp_path.rglob("*.py*") if path.is_file()]
    texts = {
        path.relative_to(tmp_path).as_posix(): path.read_text(encoding="utf-8") for path in files
    }
    assert texts == {
        "my tasks.py": "import structmode\n",
        'a package/it\'s "one".py': "import structmode\n",
        ".venv/mode/other.py": "import mode\n",
    }


@pytest.mark.process
def test_what_the_search_and_replace_leaves_is_found(command: str, tmp_path: Path) -> None:
    """What it does not replace is shown by the command that the page names for it."""
    left = 'import os, mode\nlog = logging.getLogger("mode")\n'
    text = f"import mode.utils\n{left}fast_mode = mode.Service\n"
    (tmp_path / "some.py").write_text(text, encoding="utf-8")
    page = (HOW_TO / "move-from-mode.md").read_text(encoding="utf-8")
    grep = re.findall(r"`(git grep [^`]+)`", page)
    assert len(grep) == 1
    run_in_checkout(f"{command}\n{grep[0]} > left.txt", tmp_path, "some.py")
    found = (tmp_path / "left.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split(":", 2)[2] for line in found] == left.splitlines()


@pytest.mark.process
@pytest.mark.parametrize("loop", LOOPS)
def test_the_program_runs_and_stops(program: Path, loop: str) -> None:
    """It takes orders, restarts the printer that fails, and stops in order at Control-C, with exit code 0."""
    environ = {**os.environ, "KITCHEN_LOOP": loop, "KITCHEN_EVERY": "0.02"}
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(program)],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[str] = []
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip().split("] ", 3)[-1])
            if line.rstrip().endswith("Slip 12: soup"):
                process.send_signal(signal.SIGINT)
    assert process.returncode == 0, "\n".join(lines)
    printer = [line for line in lines if "Printer]" in line]
    failed = next(n for n, line in enumerate(printer) if "PaperJam" in line)
    assert printer[failed - 1] == "[^---Printer]: Slip 10: soup"
    assert "[^---Printer]: Starting..." in printer[failed:]
    stopping = [line for line in lines if line.endswith(": Stopping...")]
    assert stopping[-5:] == [
        "[^Worker]: Stopping...",
        "[^-Kitchen]: Stopping...",
        "[^--OneForOneSupervisor]: Stopping...",
        "[^---Printer]: Stopping...",
        "[^--Ledger]: Stopping...",
    ]
    assert lines[-1] == "[^Worker]: -Shutdown complete!"


def kitchen_of(program: Path) -> Any:
    """Return the program as a module."""
    module = ModuleType("kitchen")
    exec(compile(program.read_text(encoding="utf-8"), program, "exec"), vars(module))  # noqa: S102 - the page's own program
    return module


@pytest.mark.slow
@pytest.mark.process
@virtual_time
async def test_a_day_of_the_program(
    program: Path, virtual_clock: VirtualClock, blocking_allowed: None
) -> None:
    """In a day, all that is ordered is printed and booked, however often the printer fails, and one report is made."""
    kitchen = kitchen_of(program).Kitchen(every="1800")
    async with kitchen:
        await anyio.sleep(24 * 3600 + 1)
        assert kitchen.taken == 48
        assert [order.number for order in kitchen.printer.printed] == list(range(1, 49))
        assert await kitchen.ledger.count() == 48
        assert kitchen.printer.restart_count == 4
        assert len(kitchen.reports) == 1
