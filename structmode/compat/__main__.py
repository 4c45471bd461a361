"""Run a program in which `import mode` means structmode, without a line in it being changed.

    python -m structmode.compat program.py ...
    python -m structmode.compat -m package ...

The program is run as Python runs it: as ``__main__``, with its own arguments in `sys.argv`, and its directory, or the current
one for a module, first in `sys.path`. Processes that it starts are not told.
"""

from __future__ import annotations

import builtins
import errno
import os
import runpy
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder, SourceFileLoader
from importlib.util import find_spec
from pkgutil import get_importer
from types import ModuleType

from structmode.compat import install_as_mode

__all__ = ("main",)

USAGE = """usage: python -m structmode.compat program.py [arguments]
       python -m structmode.compat -m module [arguments]

Runs the program with `import mode` meaning structmode."""


def main(arguments: Sequence[str]) -> None:
    """Run what the arguments name.

    Args:
        arguments: A file or ``-m`` and a module, and what the program is to have as its own arguments.

    Raises:
        SystemExit: If they name nothing, or nothing that is there; otherwise whatever the program raises.
    """
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(USAGE, file=sys.stdout if arguments else sys.stderr)
        raise SystemExit(0 if arguments else 2)
    if arguments[0] == "-m" and len(arguments) == 1:
        raise SystemExit(f"-m takes the name of a module\n\n{USAGE}")
    install_as_mode()
    if arguments[0] == "-m":
        sys.argv = list(arguments[1:])
        _refuse(_problem_of_module(arguments[1]), 1)
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(arguments)
        if not sys.flags.safe_path:  # else Python would add nothing
            sys.path[0] = os.path.dirname(os.path.realpath(arguments[0]))
        _run_path(arguments[0])


def _run_path(path: str) -> None:
    if not os.path.exists(path):
        _refuse(
            f"can't open file {os.path.abspath(path)!r}: [Errno {errno.ENOENT}] No such file or directory",
            2,
        )
    if get_importer(path) is None and not path.endswith(".pyc"):
        _run_file(os.path.abspath(path))
        return
    if os.path.isdir(path) and not os.path.exists(os.path.join(path, "__main__.py")):
        _refuse(f"can't find '__main__' module in {os.path.abspath(path)!r}", 1)
    runpy.run_path(path, run_name="__main__")


def _run_file(path: str) -> None:
    """Run a file as Python does; `runpy` would say of it that it is in a package without a name."""
    loader = SourceFileLoader("__main__", path)
    code = loader.source_to_code(loader.get_data(path), path)
    program = sys.modules["__main__"] = ModuleType("__main__")
    program.__file__, program.__loader__ = path, loader
    vars(program).update(__builtins__=builtins, __cached__=None)
    exec(code, vars(program))  # noqa: S102 - what it was called for


def _problem_of_module(name: str) -> str | None:
    """Return what Python says of a module that can't be run, if it is none; what an import on the way to it raises is raised."""
    try:
        spec = find_spec(name)
    except ModuleNotFoundError as exc:
        if not f"{name}.".startswith(f"{exc.name}."):
            raise
        return (
            f"Error while finding module specification for {name!r} ({type(exc).__name__}: {exc})"
        )
    if spec is None:
        return f"No module named {name}"
    inside = spec.submodule_search_locations
    # Without importing the package, which may put something else in its own place, as Faust does.
    if inside is not None and PathFinder.find_spec(f"{name}.__main__", inside) is None:
        return f"No module named {name}.__main__; {name!r} is a package and cannot be directly executed"
    return None


def _refuse(problem: str | None, exit_code: int) -> None:
    if problem is not None:
        print(f"{sys.executable}: {problem}", file=sys.stderr)  # noqa: T201 - as Python says it
        raise SystemExit(exit_code)


if __name__ == "__main__":
    main(sys.argv[1:])
