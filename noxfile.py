"""The full loop: `nox` runs every session below; `nox --session quick` is the loop while writing.

Needs nox alone (`pip install nox`). Interpreters are taken from PATH and from pyenv; one that is
absent is skipped.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import nox

RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
PYTHONS = sorted({"3.11", "3.12", "3.13", "3.14", RUNNING}, key=lambda version: int(version[2:]))
PYPROJECT = nox.project.load_toml("pyproject.toml")
DIST = Path(".nox", "dist")
FAUST = "0.15.3"
MODE = "0.7.1"

nox.needs_version = ">=2025.10"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["lint", "typing", "tests", "coverage", "docs", "examples"]

# flake8-async takes no directories, and reads no configuration.
ASYNC_ROOMS = ("structmode", "examples", "benchmarks")
ASYNC_OFF = [
    "ASYNC109",  # mode's API has timeout=
    "ASYNC114",  # task_status is handed on by design
    "ASYNC9",  # opt-in: that public functions are checkpoints is shown by tests, for all of them
]
# What tests do on purpose, to see what comes of it, or because hooks must be async.
ASYNC_OFF_IN_TESTS = [
    *ASYNC_OFF,
    *("ASYNC100", "ASYNC102", "ASYNC103", "ASYNC104", "ASYNC110", "ASYNC111", "ASYNC112"),
    *("ASYNC115", "ASYNC116", "ASYNC124", "ASYNC401"),
]

# Each of these costs it a walk of its own through a file, as does `noqa`, and it takes minutes as it is: so a rule is
# off for the files without the word that it looks for.
ASYNC_WORDS = {"ASYNC101": "yield", "ASYNC124": "async", "ASYNC300": "create_task"}


def _find_pyenv_interpreters() -> None:
    """Put pyenv's interpreters on PATH: its shims fail for versions that are not switched on."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [
        str(path) for version in PYTHONS for path in sorted(root.glob(f"versions/{version}.*/bin"))
    ]
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), *found])


_find_pyenv_interpreters()


def _needs(*groups: str) -> tuple[str, ...]:
    """Return the requirements of dependency groups, as any pip understands them."""
    return nox.project.dependency_groups(PYPROJECT, *groups)


class _Check(NamedTuple):
    """A linter or a type checker, and what it is to look at.

    Attributes:
        title: What it is called in what is printed.
        command: The program with its arguments.
    """

    title: str
    command: tuple[str, ...]


def _ruff_and_contracts() -> list[_Check]:
    return [
        _Check("ruff check", ("ruff", "check")),
        _Check("ruff format", ("ruff", "format", "--check")),
        _Check("lint-imports", ("lint-imports",)),
    ]


def _flake8_async() -> list[_Check]:
    """Return the runs of flake8-async, the longest first: all of its rules but those that are off; ruff has only some."""
    batches: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    for off, rooms in ((ASYNC_OFF, ASYNC_ROOMS), (ASYNC_OFF_IN_TESTS, ("tests",))):
        for path in (path for room in rooms for path in sorted(Path(room).rglob("*.py"))):
            batches[_async_options(off, path)].append(path)
    sizes = {options: sum(path.stat().st_size for path in batches[options]) for options in batches}
    return [
        _Check(
            f"flake8-async on {len(batches[options])} files",
            ("flake8-async", "--anyio", *options, *map(str, batches[options])),
        )
        for options in sorted(batches, key=lambda options: -sizes[options])
    ]


def _async_options(off: list[str], path: Path) -> tuple[str, ...]:
    """Return the options of flake8-async for a file, without what could not find anything there."""
    words = set(re.findall(r"\w+", path.read_text(encoding="utf-8")))
    idle = [rule for rule, word in ASYNC_WORDS.items() if word not in words]
    silenced = () if "noqa" in words else ("--disable-noqa",)
    return ("--disable", ",".join(dict.fromkeys([*off, *idle])), *silenced)


def _type_checkers() -> list[_Check]:
    """Return the type checkers, the slowest first."""
    verify = ("pyright", "--verifytypes", "structmode", "--ignoreexternal")
    return [
        _Check("pyright", ("pyright",)),
        _Check("mypy", ("mypy",)),
        _Check("pyright, of the public names", verify),
    ]


def _side_by_side(session: nox.Session, checks: Iterable[_Check]) -> None:
    """Run checks, as many at a time as there are processors; then fail if one of them did, and what they said is shown."""
    # Without this, pyright asks the network whether a newer pyright exists.
    env = {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}

    def run(check: _Check) -> None:
        session.run(*check.command, env=env, silent=True, log=False)
        session.log(f"{check.title}: passed")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = [pool.submit(run, check) for check in checks]
    for one in running:
        one.result()


@nox.session
def lint(session: nox.Session) -> None:
    """Style, likely bugs, async mistakes, import contracts."""
    session.install(*_needs("lint"))
    _side_by_side(session, [*_ruff_and_contracts(), *_flake8_async()])


@nox.session
def typing(session: nox.Session) -> None:
    """Two type checkers; and every public name fully typed, or the session fails."""
    session.install("--editable", ".", *_needs("typing", "docs"))
    # The gate has these among its tests; the sessions for tests install no type checkers.
    mistakes = ("pytest", "-q", "-n", "0", "tests/typing/test_checkers.py")
    _side_by_side(session, [*_type_checkers(), _Check("what they say of mistakes", mistakes)])


@nox.session
def check(session: nox.Session) -> None:
    """Both of them at once, for the gate."""
    session.install("--editable", ".", *_needs("lint", "typing", "docs"))
    _side_by_side(session, [*_ruff_and_contracts(), *_type_checkers(), *_flake8_async()])


@nox.session
def package(session: nox.Session) -> None:
    """Build the sdist, and from it the wheel that the tests install."""
    session.install("build")
    shutil.rmtree(DIST, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(DIST))


@nox.session(python=PYTHONS, requires=["package"])
def tests(session: nox.Session) -> None:
    """All tests on the wheel, with coverage; options after `--` go to pytest."""
    (wheel,) = DIST.glob("*.whl")
    session.install(str(wheel), *_needs("test"))
    # The script, by its path: `python -m pytest` and `coverage run -m pytest` would put this
    # directory first on sys.path, and test the checkout instead of the wheel.
    session.run("coverage", "run", str(Path(session.bin, "pytest")), *session.posargs)


@nox.session(reuse_venv=True)
def quick(session: nox.Session) -> None:
    """One backend, no slow tests, on the checkout; options after `--` go to pytest."""
    session.install("--editable", ".", *_needs("test"))
    session.run(
        "pytest",
        "tests",
        "--backend",
        "asyncio",
        "-m",
        "not slow and not process",
        *session.posargs,
    )


@nox.session(reuse_venv=True)
def faults(session: nox.Session) -> None:
    """Each fault at each checkpoint of each scenario; options after `--` go to tests/faults/sweep.py."""
    session.install("--editable", ".", *_needs("test"))
    session.run("python", "tests/faults/sweep.py", *session.posargs)


@nox.session(reuse_venv=True)
def model(session: nox.Session) -> None:
    """Random plans compared with the model of the laws, as many as the tests have, in another order each time."""
    session.install("--editable", ".", *_needs("test"))
    backends = ("--backend", "asyncio", "--backend", "trio")
    session.run("python", "tests/model/soak.py", "--steps", "5000", *backends, *session.posargs)


@nox.session(reuse_venv=True)
def soak(session: nox.Session) -> None:
    """The long runs: 100,000 steps of the model on each backend, then 200 violent ends of the main example."""
    session.install("--editable", ".", *_needs("test"))
    backends = ("--backend", "asyncio", "--backend", "trio")
    session.run("python", "tests/model/soak.py", "--steps", "100000", *backends)
    session.run("python", "-m", "tests.soak.soak", *session.posargs)


@nox.session(python="3.11", reuse_venv=True)
def faust(session: nox.Session) -> None:
    """Faust on structmode: its own tests, then an application against a broker; prints the figures of both."""
    session.install(".", *_needs("faust"))
    room = Path(session.create_tmp())
    source = room / f"faust_streaming-{FAUST}"
    if not source.exists():
        # The source archive, for its tests; its own requirements would bring mode.
        pip = ("python", "-m", "pip", "download", "--no-deps", "--no-binary", "faust-streaming")
        session.run(*pip, "--dest", str(room), f"faust-streaming=={FAUST}")
        shutil.unpack_archive(f"{source}.tar.gz", room, filter="data")
    pure = {"NO_CYTHON": "1"}
    session.run(
        *("python", "-m", "pip", "install", "--no-deps", "--no-build-isolation", str(source)),
        env=pure,
    )
    session.run("python", "tests/faust/suite.py", str(source), *session.posargs)
    session.run("python", "tests/faust/drive.py")
    session.run("python", "tests/faust/drive.py", "--orders", "500", "--threaded-producer")


@nox.session(reuse_venv=True)
def mutation(session: nox.Session) -> None:
    """Break the engine, Service and timers in more than five thousand ways; the tests must notice. Takes more than an hour."""
    session.install("--editable", ".", *_needs("mutation"))
    session.run("python", "tests/mutation/run.py", *session.posargs)


@nox.session(reuse_venv=True)
def bench(session: nox.Session) -> None:
    """Measure structmode beside mode, facet and what is written by hand, and print each goal beside its figure; takes an hour."""
    session.install("--editable", ".", *_needs("bench"))
    # Without its requirements: it wants an older croniter than structmode, which no benchmark uses.
    session.install("--no-deps", f"mode-streaming=={MODE}")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(reuse_venv=True)
def instructions(session: nox.Session) -> None:
    """Hold what the hot paths take in instructions against what is on record; `-- --update` writes it down."""
    session.install("--editable", ".", *_needs("bench"))
    session.run("python", "-m", "benchmarks.instructions", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Put together what the tests on all interpreters covered."""
    session.install(*_needs("test"))
    session.run("coverage", "combine")
    session.run("coverage", "report")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the docs, where a warning is an error, and run their code."""
    session.install("--editable", ".", *_needs("docs", "test"))
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-q", "docs", "docs/_build/html")
    session.run("pytest", "tests/examples/test_docs_examples.py", *session.posargs)


@nox.session
def examples(session: nox.Session) -> None:
    """Run the examples, as their tests do."""
    session.install("--editable", ".", *_needs("test"))
    session.run("pytest", "tests/examples", *session.posargs)
