"""`install_as_mode` makes `import mode` mean structmode, in programs that call it, and changes nothing in others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from structmode.exceptions import ModeAlreadyImported

from .parity_rules import read

pytestmark = pytest.mark.process

INSTALL = "import structmode; structmode.install_as_mode()\n"


def run(code: str, *, path: Path | None = None) -> str:
    """Run code in a new interpreter, as in a script, and return what it prints; it must end well, and without warnings."""
    environ = dict(os.environ)
    if path is not None:
        places = [str(path), environ.get("PYTHONPATH", "")]
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, places))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environ,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def installed(code: str, *, path: Path | None = None) -> str:
    """Run code after the call."""
    return run(INSTALL + dedent(code), path=path)


def test_all_of_mode_can_be_imported_in_every_way() -> None:
    """By statements, by functions, and by strings, in whatever order; and all ways lead to one module."""
    installed(
        """
        import importlib, importlib.util, sys

        import mode.utils.queues
        from mode import Service, label
        from mode.utils import times
        from mode.utils.times import *
        from structmode.utils.imports import symbol_by_name

        threads = importlib.import_module("mode.threads")
        assert threads is mode.threads is sys.modules["mode.threads"] is __import__("mode.threads").threads
        assert __import__("mode.threads", None, None, ["ServiceThread"]) is threads
        assert times is mode.utils.times and times.want_seconds is want_seconds
        assert symbol_by_name("mode.supervisors.OneForOneSupervisor") is mode.OneForOneSupervisor
        assert symbol_by_name("mode.supervisors:OneForOneSupervisor") is mode.OneForOneSupervisor
        assert importlib.util.find_spec("mode.utils.text").name == "mode.utils.text"
        assert importlib.util.find_spec("mode.utils.nothing") is None
        assert importlib.reload(mode.utils.times) is times
        assert mode.Service is mode.services.Service is Service
        assert mode.__version__ == structmode.__version__
        """
    )


def test_every_module_of_modes_is_there() -> None:
    """Whatever the record of mode's names lists, under mode's own names."""
    record = Path(__file__).with_name("parity.toml")
    installed(
        f"""
        import importlib, pathlib, tomllib

        record = tomllib.loads(pathlib.Path({str(record)!r}).read_text(encoding="utf-8"))
        for name, names in record.items():
            module = importlib.import_module(name)
            assert module.__name__ == module.__spec__.name == name, module
            assert module.__package__ == (name if hasattr(module, "__path__") else name.rpartition(".")[0])
            assert f"module {{name!r}}" in repr(module), repr(module)
            public = {{each.partition(".")[0] for kind in names.values() for each in kind}}
            assert public <= set(dir(module)), public - set(dir(module))
            for each in public:
                getattr(module, each)
            for each in (*module.__all__, *dir(module)):  # some look at all that there is, as freezegun does
                getattr(module, each)
        """
    )


def test_modules_are_real_ones() -> None:
    """They have names, specs, files and texts of their own; only what is public of structmode is there."""
    installed(
        """
        import inspect, types
        import mode.services

        assert isinstance(mode.services, types.ModuleType)
        assert mode.services.__name__ == "mode.services"
        assert mode.services.__doc__ == structmode.services.__doc__
        assert mode.services.__file__ == structmode.services.__file__
        assert inspect.getsource(mode.services) == inspect.getsource(structmode.services)
        assert not hasattr(mode.services, "__path__")
        for missing in ("mode._engine", "mode.nothing", "mode.services.nothing", "mode.utils._line"):
            try:
                __import__(missing)
            except ModuleNotFoundError as exc:
                assert exc.name == missing, exc.name
            else:
                raise AssertionError(missing)
        try:
            mode.services.nothing
        except AttributeError as exc:
            assert str(exc) == "module 'mode.services' has no attribute 'nothing'", exc
        else:
            raise AssertionError
        """
    )


def test_a_star_brings_the_names_of_modes() -> None:
    """And no others, which would hide those that a program has from elsewhere."""
    recorded = {entry.module for entry in read() if not entry.module.startswith("mode.loop.")}
    names = {
        module: sorted({e.name for e in read() if e.module == module and "." not in e.name})
        for module in recorded
    }
    installed(
        f"""
        import importlib
        from asyncio import *
        from mode import *
        import asyncio, mode

        assert run is asyncio.run and Service is mode.Service
        for module, names in {names!r}.items():
            here = {{}}
            exec(f"from {{module}} import *", here)
            del here["__builtins__"]
            assert sorted(here) == names, (module, set(here) ^ set(names))
        """
    )


def test_a_module_of_modes_can_be_patched() -> None:
    """In mode only: structmode's of the same name stays what it is."""
    installed(
        """
        from unittest import mock
        import mode.timers, structmode.timers

        mine, theirs = mode.timers, structmode.timers
        with mock.patch("mode.timers") as patched:
            assert mode.timers is patched
            assert structmode.timers is theirs
        assert mode.timers is mine and structmode.timers is theirs
        import mode.timers
        assert mode.timers is mine
        """
    )


def test_what_is_patched_in_the_one_is_patched_in_the_other() -> None:
    """Tests patch names in mode's modules, and mean what the code uses; afterwards all is as before."""
    installed(
        """
        from unittest import mock
        import mode.services, mode.utils.logging, mode.worker, structmode.worker

        timer, service = structmode.services.Timer, mode.Service
        with mock.patch("mode.services.Timer") as patched:
            assert structmode.services.Timer is mode.services.Timer is patched
        assert structmode.services.Timer is mode.services.Timer is timer
        with mock.patch.object(structmode.services, "Timer") as patched:
            assert mode.services.Timer is patched
        with mock.patch("mode.services.added", 1, create=True):
            assert structmode.services.added == 1
        assert not hasattr(structmode.services, "added")

        # Also where a name means something else in mode than in structmode.
        with mock.patch("mode.services.Service") as patched:
            assert mode.services.Service is patched
        assert mode.services.Service is mode.Service is service is not structmode.Service
        with mock.patch("mode.worker.Service") as patched:
            assert structmode.worker.Service is patched
        assert structmode.worker.Service is structmode.Service
        assert mode.worker.Service is service
        with mock.patch("mode.utils.logging.get_logger"), mock.patch.dict("sys.modules"):
            del mode.utils.logging
            import mode.utils.logging
        """
    )


def test_names_have_modes_meaning_wherever_they_are() -> None:
    """A class with a meaning of mode's is that also where it is exported again; structmode's names stay what they are."""
    installed(
        """
        import mode.proxy, mode.supervisors, mode.threads, mode.worker

        for cls in (mode.Service, mode.Worker, mode.OneForOneSupervisor, mode.threads.ServiceThread, mode.proxy.ServiceProxy):
            assert cls.__module__.startswith("structmode.compat.faces."), cls
            assert issubclass(cls, structmode.Service)
        assert mode.worker.Service is mode.Service
        assert mode.ServiceT is structmode.ServiceT
        assert structmode.Service.__module__ == "structmode.services"
        """
    )


def test_a_program_of_modes_runs_as_it_is() -> None:
    """A crash is recorded, and the program goes on, as mode's manual has it."""
    printed = installed(
        """
        import asyncio
        import mode

        class Brittle(mode.Service):
            async def on_start(self):
                print("starting")

            @mode.Service.task
            async def fail(self):
                raise ValueError("broken")

        async def main():
            async with Brittle() as service:
                await service.wait_until_stopped()
                await asyncio.sleep(0)
                print(service.crashed, repr(service.crash_reason), service.state)
            print("after", service.crashed)

        asyncio.run(main())
        """
    )
    assert printed.splitlines() == [
        "starting",
        "True ValueError('broken') crashed",
        "after True",
    ]


def test_a_service_in_a_thread_restarts_after_its_task_has_failed() -> None:
    """The crash is recorded; a restart has it forgotten, in another thread, and what fails then is recorded anew."""
    printed = installed(
        """
        import asyncio, threading
        from mode import Service
        from mode.threads import ServiceThread

        class Brittle(Service):
            async def on_start(self):
                threads.append(threading.current_thread())

            @Service.task
            async def fail(self):
                await self.sleep(0.0)
                raise ValueError("broken")

        class Thread(ServiceThread):
            def __post_init__(self):
                self.inside = self.add_dependency(Brittle())

        threads = []

        async def crash(service):
            while not (service.crashed and service.inside.crashed):
                await asyncio.sleep(0.001)
            print(service.state, repr(service.crash_reason), repr(service.inside.crash_reason))

        async def main():
            async with Thread() as service:
                await crash(service)
                await service.restart()
                print(len(threads), threads[1] is not threads[0], service.restart_count)
                await crash(service)
            print("after", service.state, service.crashed, threading.active_count())

        asyncio.run(main())
        """
    )
    crash = "crashed ValueError('broken') ValueError('broken')"
    assert printed.splitlines() == [crash, "2 True 1", crash, "after init True 1"]


def test_it_may_be_called_again_and_from_many_threads() -> None:
    """There is one finder, however often and from wherever it is called, and also when mode has been imported meanwhile."""
    run(
        """
import sys, threading
import structmode

def work():
    barrier.wait()
    structmode.install_as_mode()
    import mode.utils.times
    found.append(mode.utils.times)
    structmode.install_as_mode()

sys.setswitchinterval(1e-6)
barrier, found = threading.Barrier(8), []
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(found) == 8 and len({id(module) for module in found}) == 1
assert sum(type(finder).__name__ == "ModeFinder" for finder in sys.meta_path) == 1
"""
    )


def test_an_installed_mode_is_passed_over(tmp_path: Path) -> None:
    """Whether the real mode is there too makes no difference."""
    (tmp_path / "mode").mkdir()
    (tmp_path / "mode" / "__init__.py").write_text("real = True\n")
    (tmp_path / "mode" / "services.py").write_text("real = True\n")
    installed(
        """
        import mode.services
        assert not hasattr(mode, "real") and not hasattr(mode.services, "real")
        """,
        path=tmp_path,
    )


@pytest.mark.parametrize("first", ["mode", "mode.services"])
def test_it_comes_too_late_once_mode_is_imported(tmp_path: Path, first: str) -> None:
    """The error names the module and its file, and says what to do; nothing has been changed then."""
    (tmp_path / "mode").mkdir()
    (tmp_path / "mode" / "__init__.py").write_text("")
    (tmp_path / "mode" / "services.py").write_text("real = True\n")
    printed = run(
        f"""
import sys
import {first}
import structmode
before = list(sys.meta_path)
try:
    structmode.install_as_mode()
except structmode.ModeAlreadyImported as exc:
    print(exc.name, exc.path)
    print(exc)
assert sys.meta_path == before
import mode.services
assert mode.services.real
""",
        path=tmp_path,
    )
    where, text = printed.splitlines()
    assert where == f"mode {tmp_path / 'mode' / '__init__.py'}"
    assert text == str(ModeAlreadyImported("mode", str(tmp_path / "mode" / "__init__.py")))
    assert "Call structmode.install_as_mode() before anything imports mode" in text


def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command that runs programs."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "structmode.compat", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_a_program_can_be_run_unchanged(tmp_path: Path) -> None:
    """As a file and as a module: it is __main__, has its own arguments, and finds the modules beside it."""
    program = tmp_path / "programs" / "program.py"
    program.parent.mkdir()
    program.write_text(
        "import sys, beside, mode\n"
        "print(__name__, sys.argv[1:], mode.Service.__module__)\n"
        "sys.exit(3)\n"
    )
    (program.parent / "beside.py").touch()
    told = "__main__ ['-m', 'x'] structmode.compat.faces.services\n"
    done = command(str(program.relative_to(tmp_path)), "-m", "x", cwd=tmp_path)
    assert (done.stdout, done.returncode) == (told, 3), done.stderr
    done = command("-m", "program", "-m", "x", cwd=program.parent)
    assert (done.stdout, done.returncode) == (told, 3), done.stderr


def test_a_program_finds_its_modules_where_python_would(tmp_path: Path) -> None:
    """Beside the file that a link leads to; and nowhere, if Python is told to add no such place."""
    program = tmp_path / "programs" / "program.py"
    program.parent.mkdir()
    program.write_text("import json, beside\nprint(beside.__name__)\n")
    (program.parent / "beside.py").touch()
    link = tmp_path / "link.py"
    link.symlink_to(program)
    done = command("link.py", cwd=tmp_path)
    assert done.stdout == "beside\n", done.stderr
    done = subprocess.run(
        [sys.executable, "-P", "-m", "structmode.compat", str(program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert "No module named 'beside'" in done.stderr


def test_a_program_is_told_of_itself_what_python_tells(tmp_path: Path) -> None:
    """Where it is, in which package, and how it was called; as a file, as a directory, and as what a link leads to."""
    told = (
        "import sys, pickle\n"
        "class Thing: pass\n"
        "pickle.loads(pickle.dumps(Thing()))\n"
        "print(__file__, repr(__package__), __spec__, __name__, __doc__, type(__loader__).__name__, sys.argv)\n"
    )
    (tmp_path / "program.py").write_text(told)
    (tmp_path / "link.py").symlink_to(tmp_path / "program.py")
    for path in ("program.py", "link.py", str(tmp_path / "program.py")):
        plain = subprocess.run(
            [sys.executable, path, "-x"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=50,
            check=True,
        )
        done = command(path, "-x", cwd=tmp_path)
        assert (done.stdout, done.returncode) == (plain.stdout, 0), done.stderr
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "__main__.py").write_text("print(__name__)\n")
    done = command("packed", cwd=tmp_path)
    assert done.stdout == "__main__\n", done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing.py"],
        ["empty"],
        ["-m", "nothing"],
        ["-m", "empty"],
        ["-m", "empty.nothing"],
        ["-m", "nothing.at.all"],
        ["-m", "json.decoder.nothing"],
    ],
)
def test_what_is_not_there_is_said_in_one_line(arguments: list[str], tmp_path: Path) -> None:
    """As Python says it, with its exit code."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "__init__.py").touch()
    plain = subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    done = command(*arguments, cwd=tmp_path)
    assert (done.stderr.splitlines()[:1], done.returncode) == (
        plain.stderr.splitlines()[:1],
        plain.returncode,
    )
    assert len(done.stderr.splitlines()) == 1


def test_a_package_that_puts_something_else_in_its_own_place(tmp_path: Path) -> None:
    """As Faust does: such a one is run, too, and is not imported before its turn."""
    (tmp_path / "lazy").mkdir()
    (tmp_path / "lazy" / "__init__.py").write_text(
        "import sys, types\n"
        "print('imported')\n"
        "lazy = types.ModuleType(__name__)\n"
        "lazy.__path__ = __path__\n"
        "sys.modules[__name__] = lazy\n"
    )
    (tmp_path / "lazy" / "__main__.py").write_text("print('run')\n")
    done = command("-m", "lazy", cwd=tmp_path)
    assert done.stdout == "imported\nrun\n", done.stderr


def test_what_fails_on_the_way_to_a_module_is_raised(tmp_path: Path) -> None:
    """It is no module that is not there."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "__init__.py").write_text("import nothing_of_that_name\n")
    (tmp_path / "broken" / "part.py").touch()
    done = command("-m", "broken.part", cwd=tmp_path)
    assert "No module named 'nothing_of_that_name'" in done.stderr
    assert "Traceback" in done.stderr


def test_the_command_says_how_it_is_used(tmp_path: Path) -> None:
    """When it is asked, and when it does not know what to run."""
    done = command("--help", cwd=tmp_path)
    assert "usage: python -m structmode.compat" in done.stdout
    assert done.returncode == 0
    done = command(cwd=tmp_path)
    assert "usage: python -m structmode.compat" in done.stderr
    assert done.returncode == 2
    done = command("-m", cwd=tmp_path)
    assert "-m takes the name of a module" in done.stderr
    assert done.returncode == 1


def test_nothing_changes_for_those_who_do_not_call_it() -> None:
    """Importing structmode, all of it, makes no module called mode, and services keep structmode's laws."""
    run(
        """
import importlib, pkgutil, sys
import anyio
import structmode, structmode.compat

before = list(sys.meta_path)
for name in structmode.__all__:
    getattr(structmode, name)
for module in pkgutil.walk_packages(structmode.compat.__path__, "structmode.compat."):
    importlib.import_module(module.name)
assert sys.meta_path == before
assert importlib.util.find_spec("mode") is None
assert not [name for name in sys.modules if name == "mode" or name.startswith("mode.")]

class Brittle(structmode.Service):
    @structmode.Service.task
    async def fail(self):
        raise ValueError("broken")

async def main():
    async with Brittle():
        await anyio.sleep_forever()

try:
    anyio.run(main)
except ValueError:
    pass
else:
    raise AssertionError
"""
    )
