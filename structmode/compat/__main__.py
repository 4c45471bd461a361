"""Run a program in which `import mode` means structmode, without a line in it being changed.

    python -m structmode.compat program.py ...
    python -m structmode.compat -m package ...

The program is run as Python runs it: as ``__main__``, with its own arguments in `sys.argv`, and its directory, or the current
one for a module, first in `sys.path`. Processes that it starts are not told.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence

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
        SystemExit: If they name nothing; otherwise whatever the program raises.
    """
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(USAGE, file=sys.stdout if arguments else sys.stderr)
        raise SystemExit(0 if arguments else 2)
    if arguments[0] == "-m" and len(arguments) == 1:
        raise SystemExit(f"-m takes the name of a module\n\n{USAGE}")
    install_as_mode()
    if arguments[0] == "-m":
        sys.argv = list(arguments[1:])
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(arguments)
        if not sys.flags.safe_path:  # else Python would add nothing
            sys.path[0] = os.path.dirname(os.path.realpath(arguments[0]))
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
