"""A notebook without a browser: runs the cells that come in by standard input, in IPython; says what each raised.

The argument is what IPython is to run `await` with: "asyncio" or "trio". A line ``# %%`` begins a new cell.
"""

from __future__ import annotations

import sys
from typing import Any, cast

from IPython.core.interactiveshell import InteractiveShell

shell: Any = cast("Any", InteractiveShell)()
shell.run_line_magic("autoawait", sys.argv[1])
for cell in sys.stdin.read().split("# %%\n"):
    error = shell.run_cell(cell, silent=True).error_in_exec
    print("cell:", "done" if error is None else repr(error), flush=True)  # noqa: T201
