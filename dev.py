"""Run structmode's example, tests and checks; all it needs is Python 3.11 or later, with pip.

    python dev.py example --backend trio    the main example; the options after the verb go to it
    python dev.py test -k supervisor        the tests; the options go to pytest
    python dev.py check                     linters, import contracts, type checkers

A verb's first run makes the environment `.venv` beside this file and installs there what the
verb needs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import NamedTuple, NoReturn

ROOT = Path(__file__).resolve().parent
ENV = ROOT / ".venv"
BIN = ENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")


class Verb(NamedTuple):
    """What a verb installs and runs.

    Attributes:
        group: The dependency group of pyproject.toml that it needs.
        command: What it runs, in the environment and in this directory.
    """

    group: str
    command: tuple[str, ...]


VERBS = {
    "example": Verb("examples", ("python", "-m", "examples.pageviews")),
    # In three processes, as some wait for time to pass, and who is done first takes over from the others; `-n 0` for one,
    # to look into a test with a debugger.
    "test": Verb("test", ("pytest", "--numprocesses", "3", "--dist", "worksteal")),
    # The commands stand in noxfile.py alone; here they run in the environment at hand.
    "check": Verb("dev", ("nox", "--no-venv", "--no-install", "--session", "check")),
}


def main(args: list[str]) -> NoReturn:
    """Run the verb that the first argument names.

    Raises:
        SystemExit: With 2, and the help, for an unknown verb; else with the exit code of what ran.
    """
    if sys.version_info < (3, 11):
        sys.exit(f"structmode needs Python 3.11 or later; this is {sys.version.split()[0]}.")
    verb = VERBS.get(args[0]) if args else None
    if verb is None:
        print(__doc__)
        sys.exit(0 if args in (["-h"], ["--help"]) else 2)
    install(verb.group)
    run([*verb.command, *args[1:]])


def install(group: str) -> None:
    """Install structmode, editable, and a group, unless that was done for this pyproject.toml."""
    if not PYTHON.exists():
        print(f"Making {ENV.name} ...", flush=True)
        make_environment()
    stamp = ENV / f"installed-{group}"
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"Installing the group {group!r} in {ENV.name} ...", flush=True)
    pip([str(PYTHON), "-m", "pip"], "--editable", ".", "--group", group)
    stamp.write_text(wanted)


def make_environment() -> None:
    """Make the environment, with a pip in it that knows dependency groups (25.1 or later)."""
    # Some systems ship pip, but not the ensurepip that venv takes it from: so pip installs pip.
    has_pip = importlib.util.find_spec("pip") is not None
    venv.create(ENV, clear=True, with_pip=not has_pip)
    outer = [sys.executable, "-m", "pip", "--python", str(PYTHON)]
    pip(outer if has_pip else [str(PYTHON), "-m", "pip"], "--upgrade", "pip>=25.1")


def pip(program: list[str], *what: str) -> None:
    """Install with pip, quietly; on failure pip has told why."""
    command = [*program, "--disable-pip-version-check", "install", "--quiet", *what]
    code = subprocess.call(command, cwd=ROOT)
    if code:
        sys.exit(code)


def run(command: list[str]) -> NoReturn:
    """Become the command, in the activated environment: signals and the exit code are its own."""
    os.chdir(ROOT)
    os.environ["PATH"] = os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)])
    os.environ["VIRTUAL_ENV"] = str(ENV)
    os.environ.pop("PYTHONHOME", None)
    sys.stdout.flush()
    program = str(BIN / command[0])
    if os.name == "posix":
        os.execv(program, command)
    # Windows has no exec: both get Ctrl-C there, and the command is the one to act on it.
    with subprocess.Popen([program, *command[1:]]) as process:
        while True:
            try:
                sys.exit(process.wait())
            except KeyboardInterrupt:
                continue


if __name__ == "__main__":
    main(sys.argv[1:])
