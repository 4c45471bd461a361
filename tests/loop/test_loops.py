"""What a program runs on, chosen by name."""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import anyio
import anyio.lowlevel
import pytest

import structmode.loop
from structmode import Service, Worker
from structmode.loop import LOOPS, run_arguments, use

PROGRAMS = Path(__file__).parent / "programs"
GREEN = ["gevent", "eventlet"]


@pytest.fixture(autouse=True)
def choice_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put back what was chosen."""
    monkeypatch.setattr(structmode.loop, "_chosen", structmode.loop.chosen())


def executed(worker: Worker) -> object:
    """Run a worker as the program; return its exit code."""
    with pytest.raises(SystemExit) as caught:
        worker.execute_from_commandline()
    return caught.value.code


# --- The choice -----------------------------------------------------------------------------------


class Asking(Service):
    """Finds out what it runs on."""

    answer: str = ""

    @Service.task
    async def ask(self) -> None:
        backend = anyio.lowlevel.current_token().backend_class.__module__
        loop = "" if backend.endswith("_trio") else type(self.loop).__module__
        self.answer = loop.partition(".")[0] or "trio"


@pytest.mark.parametrize(
    ("name", "runs_on"),
    [
        ("aio", "asyncio"),
        ("asyncio", "asyncio"),
        pytest.param("uvloop", "uvloop", marks=pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not run on Windows")),
        ("trio", "trio"),
    ],
)  # fmt: skip
def test_a_worker_runs_on_what_was_chosen(name: str, runs_on: str) -> None:
    """A worker made after `use` runs on what that chose, unless it has a backend of its own."""
    before = Worker()
    use(name)
    service = Asking()
    worker = Worker(service, daemon=False, override_logging=False)
    assert (worker.backend, executed(worker)) == (LOOPS[name], 0)
    assert service.answer == runs_on
    assert before.backend == "asyncio"
    assert Worker(backend="trio").backend == "trio"


def test_names() -> None:
    """All of mode's names are there, and trio."""
    assert set(LOOPS) == {"aio", "asyncio", "uvloop", "trio", "gevent", "eventlet"}


@pytest.mark.parametrize("name", ["curio", "", "asyncio+uvloop", None])
def test_an_unknown_name(name: str) -> None:
    """A name that there is not is refused, with those that there are; what was chosen stays chosen."""
    use("trio")
    with pytest.raises(ValueError, match=r"no event loop .*; it is one of 'aio', .*'eventlet'"):
        use(name)
    assert Worker().backend == "trio"


def test_uvloop_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A choice that can't be had is refused at once, with the command that installs it."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'structmode\[uvloop\]'"):
        use("uvloop")
    assert Worker().backend == "asyncio"


def test_a_loop_of_uvloop() -> None:
    """`structmode.loop.uvloop` makes loops as `structmode.loop.gevent` does."""
    pytest.importorskip("uvloop")
    from structmode.loop.uvloop import new_event_loop

    loop = new_event_loop()
    assert type(loop).__module__.startswith("uvloop")
    loop.close()


# --- gevent and eventlet, as packages that may not be there ---------------------------------------


class Packages:
    """A directory to import packages from that hide those that are installed."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def add(self, path: str, text: str) -> None:
        """Write a module."""
        (self._root / path).parent.mkdir(parents=True, exist_ok=True)
        (self._root / path).write_text(text)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    """Import gevent and eventlet from a directory of the test."""
    monkeypatch.syspath_prepend(tmp_path)
    known: dict[str, ModuleType] = {}

    def forget() -> None:
        for name in list(sys.modules):
            if name.partition(".")[0] in GREEN:
                known.setdefault(name, sys.modules.pop(name))

    forget()
    kept = dict(known)
    yield Packages(tmp_path)
    forget()
    sys.modules.update(kept)


@pytest.mark.parametrize("name", GREEN)
def test_a_package_that_is_not_installed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the package and the command that installs it; nothing is chosen."""
    monkeypatch.setitem(sys.modules, name, None)
    message = rf"loop '{name}' needs {name}, .* pip install 'structmode\[{name}\]'"
    with pytest.raises(ModuleNotFoundError, match=message):
        use(name)
    assert Worker().backend == "asyncio"


@pytest.mark.parametrize("name", GREEN)
@pytest.mark.parametrize("fault", ["raise AttributeError('ssl.wrap_socket')", "import no_such_module"])  # fmt: skip
def test_a_package_that_does_not_work_here(name: str, fault: str, packages: Packages) -> None:
    """One that fails on this Python is told with what was tried, what came of it, and what to do."""
    packages.add(f"{name}/__init__.py", fault)
    with pytest.raises(ImportError, match=rf"`import {name}.*` failed on Python 3\..* with ") as e:
        use(name)
    assert "structmode.loop.use('asyncio')" in str(e.value)
    assert e.value.__cause__ is not None
    assert Worker().backend == "asyncio"


def test_gevent_patches_once_it_is_chosen(packages: Packages) -> None:
    """`use("gevent")` patches the standard library; importing the module does not."""
    packages.add("gevent/__init__.py", "")
    packages.add("gevent/selectors.py", "from selectors import DefaultSelector")
    packages.add("gevent/monkey.py", "calls = []\ndef patch_all(): calls.append('patched')")
    importlib.import_module("structmode.loop.gevent")
    assert "gevent" not in sys.modules
    use("gevent")
    assert sys.modules["gevent.monkey"].calls == ["patched"]
    assert Worker().backend == "asyncio+gevent"


def test_eventlet_patches_once_it_is_chosen(packages: Packages) -> None:
    """`use("eventlet")` patches the standard library; importing the module does not."""
    packages.add("eventlet/__init__.py", "calls = []\ndef monkey_patch(): calls.append('patched')")
    importlib.import_module("structmode.loop.eventlet")
    assert "eventlet" not in sys.modules
    use("eventlet")
    assert sys.modules["eventlet"].calls == ["patched"]
    assert Worker().backend == "asyncio+eventlet"


@pytest.mark.parametrize("name", GREEN)
def test_the_loop_waits_on_the_selector_of_the_package(name: str, packages: Packages) -> None:
    """The event loop is asyncio's own, on the selector that the package has."""
    packages.add(f"{name}/__init__.py", "")
    selector = "from selectors import SelectSelector\nclass DefaultSelector(SelectSelector): ..."
    packages.add("gevent/selectors.py", selector)
    packages.add("eventlet/green/selectors.py", selector)
    service = Asking()
    worker = Worker(service, daemon=False, override_logging=False, backend=f"asyncio+{name}")
    assert (executed(worker), service.answer) == (0, "asyncio")


@pytest.mark.parametrize("name", GREEN)
def test_a_program_without_the_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is asked for such a backend ends with exit code 1 and says what to install."""
    monkeypatch.setitem(sys.modules, name, None)
    log = io.StringIO()
    assert executed(Worker(backend=f"asyncio+{name}", stderr=log)) == 1
    assert f"pip install 'structmode[{name}]'" in log.getvalue()


def test_a_policy_for_code_that_asks_asyncio(packages: Packages) -> None:
    """`structmode.loop.gevent.Policy` makes loops of gevent's, and one wherever one is asked for."""
    packages.add("gevent/__init__.py", "")
    packages.add("gevent/selectors.py", "from selectors import DefaultSelector")
    import structmode.loop.gevent as module

    if sys.version_info >= (3, 14):  # pragma: no cover - only on some Pythons
        pytest.skip("asyncio deprecates policies from 3.14 on, and warnings are errors here")
    policy = module.Policy()
    loop = policy.get_event_loop()
    assert loop is policy.get_event_loop()
    loop.close()
    with pytest.raises(AttributeError, match="no attribute 'Polizei'"):
        _ = module.Polizei


# --- gevent and eventlet, for real ----------------------------------------------------------------


@pytest.mark.process
@pytest.mark.parametrize("name", GREEN)
def test_a_program_on_greenlets(name: str) -> None:
    """Services run on gevent and eventlet: what blocks elsewhere leaves them running, and signals stop them."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(
            f"{name} is not installed; the test group has it"
        )  # pragma: no cover - both are in the test group
    environ = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(PROGRAMS / "green.py"), name],
        env={**environ, "PYTHONUNBUFFERED": "1"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.stdout.splitlines() == [
        f"backend: asyncio+{name}",
        "sleeping in a thread: ticks meanwhile",
        "waiting for a thread: ticks meanwhile",
        "socket: hello",
        "waiting for a socket: ticks meanwhile",
        "echo: hello",
    ], done.stderr
    messages = [line.split("] ", 3)[-1] for line in done.stderr.splitlines()]
    assert messages[-7:] == [
        "[^Worker]: Stopping on signal received...",
        "[^Worker]: Stopping...",
        "[^-Green]: Stopping...",
        "[^-Green]: -Stopped!",
        "[^-Green]: -Shutdown complete!",
        "[^Worker]: -Stopped!",
        "[^Worker]: -Shutdown complete!",
    ], done.stderr
    assert done.returncode == 0


async def test_arguments_for_anyio() -> None:
    """The other backends are as ever."""
    assert run_arguments("trio") == {"backend": "trio"}
    with pytest.raises(ValueError, match="no backend 'curio'"):
        run_arguments("curio")
    await anyio.lowlevel.checkpoint()
