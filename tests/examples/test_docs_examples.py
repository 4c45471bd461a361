"""What the documents show is true: their code runs, prints what they say, and so do the programs they point to."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest
from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.myst import CodeBlockParser, SkipParser

from structmode import Service

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
PAGES = [
    path
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if "```python\n" in path.read_text(encoding="utf-8")
]
#: The programs that end by themselves; the tutorial's serves until it is told to stop.
PROGRAMS = sorted(path for path in EXAMPLES.glob("*.py") if path.stem != "counter")
BACKENDS = ["asyncio", "asyncio+uvloop", "trio"]
#: A reader has no other async plugins than anyio's; they are here for the tests of our own plugin.
ONLY_ANYIO = ("-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "no:trio")

Backend = tuple[str, dict[str, Any]]


# --- The code of the pages


class _Page:
    """A page: its blocks of Python run one by one, and a block of output is what the last one printed."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._path = path
        self._capsys = capsys
        self._evaluate = PythonEvaluator()

    def check(self) -> None:
        parsers: list[Any] = [
            CodeBlockParser("python", self._run),
            CodeBlockParser("output", self._compare),
            SkipParser(),
        ]
        document = Sybil(parsers=parsers, pattern="*.md", path=str(ROOT)).parse(self._path)
        for example in document.examples():
            example.evaluate()

    def _run(self, example: Example) -> None:
        self._capsys.readouterr()
        self._evaluate(example)

    def _compare(self, example: Example) -> None:
        printed, said = self._capsys.readouterr().out.strip(), str(example.parsed).strip()
        assert printed == said, f"{example.path}:{example.line}"


def _run_on(backend: Backend) -> Callable[..., Any]:
    """Return an `anyio.run` that takes this backend where the caller names none."""
    real = anyio.run

    def run(func: Callable[..., Any], *args: Any, **given: Any) -> Any:
        name, options = backend
        return real(func, *args, **(given or {"backend": name, "backend_options": options}))

    return run


@pytest.fixture
def basic_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let `logging.basicConfig` do what it does in a program: in a test, pytest is there first."""
    root, level = logging.getLogger(), logging.root.level
    handlers: list[logging.Handler] = []

    def install(**options: Any) -> None:
        if not handlers:  # pragma: no branch - no page sets logging up twice
            handlers.append(logging.StreamHandler(sys.stdout))
            handlers[0].setFormatter(logging.Formatter(options.get("format")))
            root.addHandler(handlers[0])
            root.setLevel(options.get("level", logging.WARNING))

    monkeypatch.setattr(logging, "basicConfig", install)
    yield
    for handler in handlers:
        root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def mode_taken_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let `import mode` mean nothing again, after a page on which it means structmode."""
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    yield
    for name in [name for name in sys.modules if name == "mode" or name.startswith("mode.")]:
        del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_code_of_a_page_runs_and_prints_what_the_page_says(
    page: Path,
    anyio_backend: Backend,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    basic_logging: None,
    mode_taken_back: None,
) -> None:
    """Whoever types a page in, on whatever backend, sees what the page shows."""
    monkeypatch.setattr(anyio, "run", _run_on(anyio_backend))
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    monkeypatch.chdir(tmp_path)
    _Page(page, capsys).check()


# --- The programs


class Program(NamedTuple):
    """A program that runs as a user runs it."""

    process: subprocess.Popen[str]

    def end(self) -> tuple[int, str]:
        """Wait for its end; return its exit code, and all that it wrote."""
        out, _ = self.process.communicate(timeout=30)
        return self.process.returncode, out


@contextmanager
def _running(directory: Path, *command: str) -> Generator[Program]:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "error"}
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=directory,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield Program(process)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.process
@pytest.mark.parametrize("backend", [*BACKENDS, "uvloop"])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_ends_by_itself_and_well(program: Path, backend: str, tmp_path: Path) -> None:
    """Each of examples/*.py does what its first lines say, ends by itself, and exits with 0, by each name of a backend."""
    with _running(tmp_path, str(program), backend) as running:
        code, out = running.end()
    assert code == 0, out


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _ask(port: int, page: str, *, patience: float = 20.0) -> str:
    """Ask the tutorial's server; one that is starting is given time."""
    deadline = time.monotonic() + patience
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(f"GET {page} HTTP/1.0\r\n\r\n".encode())
                return connection.makefile("rb").read().decode().splitlines()[-1]
        except ConnectionRefusedError:
            if time.monotonic() > deadline:  # pragma: no cover - only if the test fails
                raise
            time.sleep(0.05)


@pytest.mark.process
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_tutorials_program_counts_stops_in_order_and_goes_on(
    backend: str, tmp_path: Path
) -> None:
    """The counter answers, ends well on SIGTERM, and its next run knows what the last one counted."""
    for views in (1, 2):
        port = _free_port()
        with _running(tmp_path, str(EXAMPLES / "counter.py"), backend, str(port)) as running:
            assert _ask(port, "/home") == f"/home: {views}"
            running.process.send_signal(signal.SIGTERM)
            code, out = running.end()
        assert code == 0, out
        assert out.index("[^--Server]: -Stopped!") < out.index("[^--Counter]: Stopping...")


@pytest.mark.process
def test_the_program_of_the_readme_runs_and_stops_as_it_says(tmp_path: Path) -> None:
    """The first program that a newcomer copies works as it is, and logs what the README shows."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    program, log = (readme.split(f"```{kind}\n")[1].split("```")[0] for kind in ("python", "text"))
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    with _running(tmp_path, "program.py") as running:
        out = _read_until(running, "Beat 2")
        running.process.send_signal(signal.SIGINT)
        code, rest = running.end()
    assert code == 0
    assert [line[line.index("[^") :] for line in (out + rest).splitlines()] == log.splitlines()


def _read_until(running: Program, text: str) -> str:
    """Return what a program writes, up to and including the line that has the text in it."""
    assert running.process.stdout is not None
    lines: list[str] = []
    for line in running.process.stdout:  # pragma: no branch - left by break
        lines.append(line)
        if text in line:
            break
    return "".join(lines)


@pytest.mark.process
def test_the_tutorials_tests_pass_as_they_are_told_to_be_run(tmp_path: Path) -> None:
    """The test file of the tutorial, saved beside its program, passes under plain pytest."""
    page = (ROOT / "docs" / "tutorial" / "tests.md").read_text(encoding="utf-8")
    tests = page.split("```python\n")[1].split("```")[0]
    (tmp_path / "test_counter.py").write_text(tests, encoding="utf-8")
    program = (EXAMPLES / "counter.py").read_text(encoding="utf-8")
    (tmp_path / "counter.py").write_text(program, encoding="utf-8")
    with _running(tmp_path, "-m", "pytest", *ONLY_ANYIO) as running:
        code, out = running.end()
    assert code == 0, out
    assert "8 passed" in out


@pytest.mark.process
def test_the_files_of_the_page_on_tests_pass_as_they_are_shown(tmp_path: Path) -> None:
    """Each file on the page "Test services", put together from its blocks, has all that it needs."""
    pytest.importorskip("uvloop")
    page = (ROOT / "docs" / "how-to" / "test-services.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```(?:python|toml)\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        name = block.removeprefix("# ").splitlines()[0].partition(",")[0]
        with (tmp_path / name).open("a", encoding="utf-8") as file:
            file.write(block)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["conftest.py", "pyproject.toml", "test_cleaner.py", "test_queue.py"]
    with _running(tmp_path, "-m", "pytest", *ONLY_ANYIO) as running:
        code, out = running.end()
    assert code == 0, out
    assert "16 passed" in out


# --- The reference


def test_the_reference_has_every_public_name_of_service() -> None:
    """No public attribute or hook of `Service` is missing in its page, which lists them by hand."""
    page = (ROOT / "docs" / "reference" / "services.md").read_text(encoding="utf-8")
    public = {
        name
        for cls in Service.__mro__
        if cls.__module__.startswith("structmode")
        for name in [*vars(cls), *vars(cls).get("__annotations__", {})]
        if not name.startswith("_")
    }
    missing = sorted(name for name in public if f"Service.{name}" not in page)
    assert not missing
